// SPDX-License-Identifier: MIT
// Ordered maps for models: a B+ tree of 512-byte nodes. Leaves and inner nodes have one layout: sorted keys and a
// word for each, a value or the child that begins at that key. key[0] of an inner node is not compared; it is the
// key the parent has for the node (but on the left edge of the tree), so that entries may move to the left neighbour. A key put at the right edge splits off a node of its own, so that ascending keys, the
// usual case, fill nodes wholly; removal merges or evens out nodes that are less than half full.
#include "image/containers.h"

#include <string.h>

#include "base/assert.h"

#define NODE_ENTRIES 21u
#define NODE_LEAST   (NODE_ENTRIES / 2)
#define TREE_DEPTH   16u /* nodes are half full but on the right edge: 10^15 entries at least */

struct omap_node {
    uint16_t count;
    uint16_t level; /* 0: leaf */
    uint32_t reserved;
    struct mim_omap_key keys[NODE_ENTRIES];
    uint64_t words[NODE_ENTRIES];
};

_Static_assert(sizeof(struct omap_node) == 512, "part of the format");

/** A node on the way down, and which entry of it was taken. */
struct omap_step {
    struct omap_node *node;
    uint32_t taken;
};

/** The way from the root down, by level; the leaf is level 0. Steps of one structure: of two arrays side by
 *  side gcc 12.2 at -O2 believed that the loop of omap_descend leaves nodes[1] unwritten (not with -fno-ivopts, not
 *  clang, and the sanitizers found nothing to blame on the code). */
struct omap_path {
    uint32_t depth; /* levels */
    struct omap_step steps[TREE_DEPTH];
};

static bool key_less(struct mim_omap_key a, struct mim_omap_key b) {
    return a.major != b.major ? a.major < b.major : a.minor < b.minor;
}

static bool key_equal(struct mim_omap_key a, struct mim_omap_key b) { return a.major == b.major && a.minor == b.minor; }

static struct omap_node *node_at(const struct mim_arena *arena, uint64_t offset) {
    return mim_arena_at(arena, (struct mim_ref){.offset = offset});
}

/** Entries with a key below `key`, counting from entry `from`. */
static uint32_t node_lower_bound(const struct omap_node *node, struct mim_omap_key key, uint32_t from) {
    uint32_t low = from;
    uint32_t high = node->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (key_less(node->keys[middle], key)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/** The child under which `key` belongs. */
static uint32_t node_child(const struct omap_node *node, struct mim_omap_key key) {
    uint32_t n = node_lower_bound(node, key, 1);
    return n < node->count && key_equal(node->keys[n], key) ? n : n - 1;
}

/** Walks down to the leaf of a key; in the leaf, `taken` is the lower bound. The tree is not empty. */
static void omap_descend(const struct mim_arena *arena, const struct mim_omap *omap, struct mim_omap_key key,
                         struct omap_path *ret_path) {
    struct omap_node *node = node_at(arena, omap->ref);
    MIM_ASSERT(node->level < TREE_DEPTH);
    ret_path->depth = node->level + 1u;
    for (uint32_t level = node->level; level > 0; level--) {
        ret_path->steps[level].node = node;
        ret_path->steps[level].taken = node_child(node, key);
        node = node_at(arena, node->words[ret_path->steps[level].taken]);
    }
    ret_path->steps[0].node = node;
    ret_path->steps[0].taken = node_lower_bound(node, key, 0);
}

static bool path_found(const struct omap_path *path, struct mim_omap_key key) {
    const struct omap_node *leaf = path->steps[0].node;
    return path->steps[0].taken < leaf->count && key_equal(leaf->keys[path->steps[0].taken], key);
}

static void node_insert(struct omap_node *node, uint32_t at, struct mim_omap_key key, uint64_t word) {
    MIM_ASSERT(node->count < NODE_ENTRIES && at <= node->count);
    memmove(&node->keys[at + 1], &node->keys[at], (node->count - at) * sizeof(node->keys[0]));
    memmove(&node->words[at + 1], &node->words[at], (node->count - at) * sizeof(node->words[0]));
    node->keys[at] = key;
    node->words[at] = word;
    node->count++;
}

static void node_remove(struct omap_node *node, uint32_t at) {
    MIM_ASSERT(at < node->count);
    node->count--;
    memmove(&node->keys[at], &node->keys[at + 1], (node->count - at) * sizeof(node->keys[0]));
    memmove(&node->words[at], &node->words[at + 1], (node->count - at) * sizeof(node->words[0]));
    node->keys[node->count] = (struct mim_omap_key){0}; /* unused entries are zero */
    node->words[node->count] = 0;
}

/** Moves entries [from, count) of `left` to the front of `right`. */
static void node_move_right(struct omap_node *left, struct omap_node *right, uint32_t from) {
    uint32_t moved = left->count - from;
    memmove(&right->keys[moved], &right->keys[0], right->count * sizeof(right->keys[0]));
    memmove(&right->words[moved], &right->words[0], right->count * sizeof(right->words[0]));
    memcpy(&right->keys[0], &left->keys[from], moved * sizeof(left->keys[0]));
    memcpy(&right->words[0], &left->words[from], moved * sizeof(left->words[0]));
    memset(&left->keys[from], 0, moved * sizeof(left->keys[0]));
    memset(&left->words[from], 0, moved * sizeof(left->words[0]));
    right->count = (uint16_t)(right->count + moved);
    left->count = (uint16_t)from;
}

/** Moves the first `moved` entries of `right` to the end of `left`. */
static void node_move_left(struct omap_node *left, struct omap_node *right, uint32_t moved) {
    uint32_t rest = right->count - moved;
    memcpy(&left->keys[left->count], &right->keys[0], moved * sizeof(right->keys[0]));
    memcpy(&left->words[left->count], &right->words[0], moved * sizeof(right->words[0]));
    memmove(&right->keys[0], &right->keys[moved], rest * sizeof(right->keys[0]));
    memmove(&right->words[0], &right->words[moved], rest * sizeof(right->words[0]));
    memset(&right->keys[rest], 0, moved * sizeof(right->keys[0]));
    memset(&right->words[rest], 0, moved * sizeof(right->words[0]));
    left->count = (uint16_t)(left->count + moved);
    right->count = (uint16_t)rest;
}

/** Nodes that the insertion at the end of a path needs: one per full level, and a root when all are full. */
static uint32_t path_nodes_needed(const struct omap_path *path) {
    uint32_t full = 0;
    while (full < path->depth && path->steps[full].node->count == NODE_ENTRIES) {
        full++;
    }
    return full == path->depth ? full + 1 : full;
}

/** Takes all nodes an insertion needs before anything is changed; false, with none taken, when the arena is full. */
static bool omap_take_nodes(struct mim_arena *arena, uint32_t count, struct mim_ref *ret_refs) {
    for (uint32_t i = 0; i < count; i++) {
        ret_refs[i] = mim_arena_alloc(arena, sizeof(struct omap_node));
        if (mim_ref_is_null(ret_refs[i])) {
            while (i > 0) {
                mim_arena_release(arena, ret_refs[--i], sizeof(struct omap_node));
            }
            return false;
        }
    }
    return true;
}

/** Splits a full node and inserts into the half where `at` is. `edge`: nothing is to the right of the node. */
static void node_split_insert(struct omap_node *node, struct omap_node *right, bool edge, uint32_t at,
                              struct mim_omap_key key, uint64_t word) {
    right->level = node->level;
    if (edge && at == node->count) {
        /* an inner node keeps two children at least */
        node_move_right(node, right, node->level == 0 ? NODE_ENTRIES : NODE_ENTRIES - 1);
    } else {
        node_move_right(node, right, NODE_ENTRIES / 2 + 1);
    }
    if (at >= node->count) {
        node_insert(right, at - node->count, key, word);
    } else {
        node_insert(node, at, key, word);
    }
}

/** Inserts at the end of a path with the nodes taken for it. */
static void omap_insert(struct mim_arena *arena, struct mim_omap *omap, const struct omap_path *path,
                        struct mim_omap_key key, uint64_t word, const struct mim_ref *refs) {
    bool edges[TREE_DEPTH];
    bool edge = true;
    for (uint32_t level = path->depth; level-- > 0;) {
        edges[level] = edge;
        edge = edge && path->steps[level].taken + 1u == path->steps[level].node->count;
    }
    for (uint32_t level = 0; level < path->depth; level++) {
        struct omap_node *node = path->steps[level].node;
        uint32_t at = level == 0 ? path->steps[0].taken : path->steps[level].taken + 1;
        if (node->count < NODE_ENTRIES) {
            node_insert(node, at, key, word);
            return;
        }
        struct omap_node *right = mim_arena_at(arena, refs[level]);
        node_split_insert(node, right, edges[level], at, key, word);
        key = right->keys[0];
        word = refs[level].offset;
    }
    struct omap_node *old_root = path->steps[path->depth - 1].node;
    struct omap_node *root = mim_arena_at(arena, refs[path->depth]);
    root->level = (uint16_t)path->depth;
    node_insert(root, 0, old_root->keys[0], omap->ref);
    node_insert(root, 1, key, word);
    omap->ref = refs[path->depth].offset;
}

bool mim_omap_put_in(struct mim_arena *arena, struct mim_omap *omap, struct mim_omap_key key, uint64_t value) {
    struct mim_ref refs[TREE_DEPTH + 1] = {{0}};
    if (omap->ref == 0) {
        if (!omap_take_nodes(arena, 1, refs)) {
            return false;
        }
        omap->ref = refs[0].offset;
    }
    struct omap_path path;
    omap_descend(arena, omap, key, &path);
    if (path_found(&path, key)) {
        path.steps[0].node->words[path.steps[0].taken] = value;
        return true;
    }
    if (!omap_take_nodes(arena, path_nodes_needed(&path), refs)) {
        return false;
    }
    omap_insert(arena, omap, &path, key, value, refs);
    omap->count++;
    return true;
}

bool mim_omap_get_in(const struct mim_arena *arena, const struct mim_omap *omap, struct mim_omap_key key,
                     uint64_t *ret_value) {
    if (omap->ref == 0) {
        return false;
    }
    struct omap_path path;
    omap_descend(arena, omap, key, &path);
    if (!path_found(&path, key)) {
        return false;
    }
    *ret_value = path.steps[0].node->words[path.steps[0].taken];
    return true;
}

/** Child n of `parent` is less than half full: merges it with a neighbour, or evens the two out. */
static void omap_rebalance(struct mim_arena *arena, struct omap_node *parent, uint32_t n) {
    uint32_t at = n + 1u < parent->count ? n : n - 1; /* the left one of the two */
    struct mim_ref right_ref = {.offset = parent->words[at + 1]};
    struct omap_node *left = node_at(arena, parent->words[at]);
    struct omap_node *right = mim_arena_at(arena, right_ref);
    uint32_t total = (uint32_t)left->count + right->count;
    if (total <= NODE_ENTRIES) {
        node_move_left(left, right, right->count);
        mim_arena_release(arena, right_ref, sizeof(struct omap_node));
        node_remove(parent, at + 1);
        return;
    }
    if (left->count < total / 2) {
        node_move_left(left, right, total / 2 - left->count);
    } else {
        node_move_right(left, right, total / 2);
    }
    parent->keys[at + 1] = right->keys[0];
}

bool mim_omap_remove_in(struct mim_arena *arena, struct mim_omap *omap, struct mim_omap_key key) {
    if (omap->ref == 0) {
        return false;
    }
    struct omap_path path;
    omap_descend(arena, omap, key, &path);
    if (!path_found(&path, key)) {
        return false;
    }
    node_remove(path.steps[0].node, path.steps[0].taken);
    omap->count--;
    for (uint32_t level = 0; level + 1 < path.depth && path.steps[level].node->count < NODE_LEAST; level++) {
        omap_rebalance(arena, path.steps[level + 1].node, path.steps[level + 1].taken);
    }
    struct omap_node *root = path.steps[path.depth - 1].node;
    if (root->count == 0 || (root->level > 0 && root->count == 1)) {
        struct mim_ref old = {.offset = omap->ref};
        omap->ref = root->level > 0 ? root->words[0] : 0;
        mim_arena_release(arena, old, sizeof(struct omap_node));
    }
    return true;
}

/** The first or last leaf under a node. */
static const struct omap_node *omap_edge_leaf(const struct mim_arena *arena, const struct omap_node *node, bool last) {
    while (node->level > 0) {
        node = node_at(arena, node->words[last ? node->count - 1u : 0]);
    }
    return node;
}

bool mim_omap_seek_in(const struct mim_arena *arena, const struct mim_omap *omap, struct mim_omap_key from,
                      bool descending, struct mim_omap_key *ret_key, uint64_t *ret_value) {
    if (omap->ref == 0) {
        return false;
    }
    struct omap_path path = {0};
    omap_descend(arena, omap, from, &path);
    const struct omap_node *leaf = path.steps[0].node;
    uint32_t n = path.steps[0].taken;
    bool inside = descending ? n > 0 || path_found(&path, from) : n < leaf->count;
    if (inside) {
        n = descending && !path_found(&path, from) ? n - 1 : n;
    } else {
        uint32_t level = 1;
        while (level < path.depth && (descending ? path.steps[level].taken == 0
                                                 : path.steps[level].taken + 1u == path.steps[level].node->count)) {
            level++;
        }
        if (level == path.depth) {
            return false;
        }
        uint32_t neighbour = descending ? path.steps[level].taken - 1 : path.steps[level].taken + 1;
        leaf = omap_edge_leaf(arena, node_at(arena, path.steps[level].node->words[neighbour]), descending);
        n = descending ? leaf->count - 1u : 0;
    }
    *ret_key = leaf->keys[n];
    *ret_value = leaf->words[n];
    return true;
}

void mim_omap_clear_in(struct mim_arena *arena, struct mim_omap *omap) {
    struct mim_ref stack[TREE_DEPTH];
    uint32_t next[TREE_DEPTH] = {0};
    uint32_t depth = 0;
    if (omap->ref != 0) {
        stack[depth++] = (struct mim_ref){.offset = omap->ref};
    }
    while (depth > 0) {
        const struct omap_node *node = mim_arena_at(arena, stack[depth - 1]);
        if (node->level > 0 && next[depth - 1] < node->count) {
            MIM_ASSERT(depth < TREE_DEPTH);
            stack[depth] = (struct mim_ref){.offset = node->words[next[depth - 1]++]};
            next[depth++] = 0;
        } else {
            mim_arena_release(arena, stack[--depth], sizeof(struct omap_node));
        }
    }
    *omap = (struct mim_omap){0};
}

/** Order, bounds and level of one node. */
static bool node_valid(const struct mim_arena *arena, const struct omap_node *node) {
    uint32_t least = node->level > 0 ? 2 : 1;
    if (node->count > NODE_ENTRIES || node->count < least || node->reserved != 0) {
        return false;
    }
    for (uint32_t i = 1 + (node->level > 0); i < node->count; i++) {
        if (!key_less(node->keys[i - 1], node->keys[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; node->level > 0 && i < node->count; i++) {
        const struct omap_node *child = node_at(arena, node->words[i]);
        bool bounded = i == 0 || child->level == 0 || key_equal(child->keys[0], node->keys[i]);
        if (child->level + 1u != node->level || !bounded) {
            return false;
        }
    }
    return true;
}

bool mim_omap_valid_in(const struct mim_arena *arena, const struct mim_omap *omap) {
    struct omap_node *stack[TREE_DEPTH];
    uint32_t next[TREE_DEPTH] = {0};
    uint32_t depth = 0;
    uint64_t count = 0;
    const struct mim_omap_key *last = NULL;
    if (omap->ref != 0) {
        stack[depth++] = node_at(arena, omap->ref);
    }
    while (depth > 0) {
        struct omap_node *node = stack[depth - 1];
        uint32_t n = next[depth - 1]++;
        if (n == 0 && (depth >= TREE_DEPTH || !node_valid(arena, node))) {
            return false;
        }
        if (n == node->count || (node->level == 0 && n > 0)) {
            depth--;
            continue;
        }
        if (node->level > 0) {
            bool bounded = n == 0 || last == NULL || key_less(*last, node->keys[n]);
            if (!bounded) {
                return false;
            }
            stack[depth] = node_at(arena, node->words[n]);
            next[depth++] = 0;
            continue;
        }
        if (last != NULL && !key_less(*last, node->keys[0])) {
            return false;
        }
        last = &node->keys[node->count - 1];
        count += node->count;
    }
    return count == omap->count;
}
