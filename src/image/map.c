// SPDX-License-Identifier: MIT
// Hash maps for models. A small map is a 32-byte head and one block of nodes that doubles, searched by comparing
// hashes in line: 8 nodes, or 32 small ones (a kilobyte, which is read faster than an index's two cache misses, and an
// index begins with a page). A larger one adds doubling chunks, in which nodes do not move, and a struct mim_index.
// An emptied map gives everything back.
#include "image/containers.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"

#define MAP_CHUNKS          30u
#define MAP_SCAN_MAX        8u  /* nodes searched without an index */
#define MAP_SCAN_MAX_SMALL  32u /* the same for small nodes */
#define MAP_NODE_SIZE_SMALL 32u

struct map_node {
    struct mim_text key;
    uint32_t hash;
    uint32_t reserved;
    uint64_t value[];
};

/** What a map has beyond MAP_SCAN_MAX nodes. Chunk k >= 1 holds scan_max << k nodes; chunk 0 is head->nodes. */
struct map_large {
    struct mim_ref chunks[MAP_CHUNKS];
    struct mim_index index;
};

struct map_head {
    uint32_t count;
    uint32_t value_size;
    uint32_t capacity; /* nodes in chunk 0 */
    uint32_t reserved;
    struct mim_ref nodes; /* chunk 0 */
    struct mim_ref large; /* null: no index */
};

_Static_assert(sizeof(struct map_head) == 32, "part of the format");
_Static_assert(sizeof(struct map_node) == 16, "part of the format");
_Static_assert(sizeof(struct map_large) == 240 + 256, "part of the format");
_Static_assert(((1ull << MAP_CHUNKS) - 1) * MAP_SCAN_MAX > UINT32_MAX, "chunks for every number");

static struct map_head *map_head(const struct mim_arena *arena, const struct mim_map *map) {
    return map->ref == 0 ? NULL : mim_arena_at(arena, (struct mim_ref){.offset = map->ref});
}

static struct map_large *map_large(const struct mim_arena *arena, const struct map_head *head) {
    return mim_ref_is_null(head->large) ? NULL : mim_arena_at(arena, head->large);
}

static uint64_t map_node_size(const struct map_head *head) {
    return sizeof(struct map_node) + mim_align8(head->value_size);
}

/** log2 of the nodes of chunk 0 at its largest. */
static unsigned map_scan_log(const struct map_head *head) {
    return map_node_size(head) <= MAP_NODE_SIZE_SMALL ? 5u : 3u;
}
_Static_assert(MAP_SCAN_MAX == 1u << 3 && MAP_SCAN_MAX_SMALL == 1u << 5, "map_scan_log");

static unsigned map_chunk_of(const struct map_head *head, uint64_t n) {
    unsigned log = map_scan_log(head);
    return 63u - (unsigned)__builtin_clzll(n + (1ull << log)) - log;
}

static struct map_node *map_node(const struct mim_arena *arena, const struct map_head *head, uint64_t n) {
    unsigned log = map_scan_log(head);
    uint64_t first = 1ull << log;
    if (n < first) {
        return (struct map_node *)(void *)(arena->base + head->nodes.offset + n * map_node_size(head));
    }
    unsigned chunk = map_chunk_of(head, n);
    uint64_t within = n + first - (first << chunk);
    const struct map_large *large = mim_arena_at(arena, head->large);
    return (struct map_node *)(void *)(arena->base + large->chunks[chunk].offset + within * map_node_size(head));
}

/** A key sought: the context of the index's match function. */
struct map_key {
    const struct mim_arena *arena;
    const struct map_head *head;
    struct mim_slice text;
    uint32_t hash;
};

static struct map_key map_key(const struct mim_arena *arena, const struct map_head *head, struct mim_string key) {
    return (struct map_key){
        .arena = arena,
        .head = head,
        .text = mim_slice_of(key.data, key.size),
        .hash = (uint32_t)mim_hash64(key.size > 0 ? key.data : "", key.size, 0),
    };
}

static bool map_match(const void *context, uint32_t number) {
    const struct map_key *key = context;
    const struct map_node *node = map_node(key->arena, key->head, number);
    return mim_slice_equal(mim_text_slice(key->arena, &node->key), key->text);
}

static bool map_find(const struct map_key *key, uint32_t *ret_number) {
    const struct map_large *large = map_large(key->arena, key->head);
    if (large != NULL) {
        return mim_index_find(key->arena, &large->index, key->hash, map_match, key, ret_number);
    }
    for (uint32_t n = 0; n < key->head->count; n++) {
        if (map_node(key->arena, key->head, n)->hash == key->hash && map_match(key, n)) {
            *ret_number = n;
            return true;
        }
    }
    return false;
}

void *mim_map_get_in(const struct mim_arena *arena, const struct mim_map *map, struct mim_string key) {
    const struct map_head *head = map_head(arena, map);
    if (head == NULL) {
        return NULL;
    }
    struct map_key sought = map_key(arena, head, key);
    uint32_t n = 0;
    return map_find(&sought, &n) ? map_node(arena, head, n)->value : NULL;
}

/** Doubles chunk 0 while it is all there is. */
static bool map_grow_small(struct mim_arena *arena, struct map_head *head) {
    uint32_t capacity = head->capacity == 0 ? 1 : 2 * head->capacity;
    uint64_t before = head->capacity * map_node_size(head);
    struct mim_ref ref = mim_arena_alloc(arena, capacity * map_node_size(head));
    if (mim_ref_is_null(ref)) {
        return false;
    }
    if (before > 0) {
        memcpy(mim_arena_at(arena, ref), mim_arena_at(arena, head->nodes), before);
    }
    mim_arena_release(arena, head->nodes, before);
    head->nodes = ref;
    head->capacity = capacity;
    return true;
}

/** Gives a map its index, with the nodes there are. */
static bool map_enlarge(struct mim_arena *arena, struct map_head *head) {
    struct mim_ref ref = mim_arena_alloc(arena, sizeof(struct map_large));
    if (mim_ref_is_null(ref)) {
        return false;
    }
    struct map_large *large = mim_arena_at(arena, ref);
    for (uint32_t n = 0; n < head->count; n++) {
        if (!mim_index_insert(arena, &large->index, map_node(arena, head, n)->hash, n)) {
            mim_index_clear(arena, &large->index);
            mim_arena_release(arena, ref, sizeof(struct map_large));
            return false;
        }
    }
    head->large = ref;
    return true;
}

/** Makes sure that node head->count has a place, and an index where one is due; false when the arena is full. */
static bool map_make_room(struct mim_arena *arena, struct map_head *head) {
    uint32_t first = 1u << map_scan_log(head);
    if (head->count < first) {
        return head->count < head->capacity || map_grow_small(arena, head);
    }
    if (head->count == UINT32_MAX || (mim_ref_is_null(head->large) && !map_enlarge(arena, head))) {
        return false;
    }
    struct map_large *large = map_large(arena, head);
    unsigned chunk = map_chunk_of(head, head->count);
    if (mim_ref_is_null(large->chunks[chunk])) {
        uint64_t size = 0;
        if (__builtin_mul_overflow((uint64_t)first << chunk, map_node_size(head), &size)) {
            return false;
        }
        large->chunks[chunk] = mim_arena_alloc(arena, size);
    }
    return !mim_ref_is_null(large->chunks[chunk]);
}

/** Adds a node for a key that is absent; NULL when the arena is full, with the map unchanged. */
static struct map_node *map_add(struct mim_arena *arena, struct map_head *head, const struct map_key *key) {
    if (!map_make_room(arena, head)) {
        return NULL;
    }
    uint32_t n = head->count;
    struct map_node *node = map_node(arena, head, n);
    if (!mim_text_assign(arena, &node->key, key->text)) {
        return NULL;
    }
    struct map_large *large = map_large(arena, head);
    if (large != NULL && !mim_index_insert(arena, &large->index, key->hash, n)) {
        mim_text_clear(arena, &node->key);
        return NULL;
    }
    node->hash = key->hash;
    head->count++;
    return node;
}

void *mim_map_put_in(struct mim_arena *arena, struct mim_map *map, uint32_t value_size, struct mim_string key) {
    struct map_head *head = map_head(arena, map);
    if (head == NULL) {
        struct mim_ref ref = mim_arena_alloc(arena, sizeof(struct map_head));
        if (mim_ref_is_null(ref)) {
            return NULL;
        }
        head = mim_arena_at(arena, ref);
        head->value_size = value_size;
        map->ref = ref.offset;
    }
    MIM_ASSERT(head->value_size == value_size);
    char copy[8];
    if (key.size > 0 && key.size < sizeof(copy)) {
        memcpy(copy, key.data, key.size); /* it may be part of an inline key of this map, whose nodes may move */
        key.data = copy;
    }
    struct map_key sought = map_key(arena, head, key);
    uint32_t n = 0;
    if (map_find(&sought, &n)) {
        return map_node(arena, head, n)->value;
    }
    struct map_node *node = map_add(arena, head, &sought);
    if (node == NULL && head->count == 0) {
        mim_map_clear_in(arena, map);
    }
    return node == NULL ? NULL : node->value;
}

bool mim_map_remove_in(struct mim_arena *arena, struct mim_map *map, struct mim_string key) {
    struct map_head *head = map_head(arena, map);
    if (head == NULL) {
        return false;
    }
    struct map_key sought = map_key(arena, head, key);
    uint32_t n = 0;
    if (!map_find(&sought, &n)) {
        return false;
    }
    uint32_t last = head->count - 1;
    struct map_node *hole = map_node(arena, head, n);
    struct map_node *moved = map_node(arena, head, last);
    struct map_large *large = map_large(arena, head);
    if (large != NULL) {
        bool done = mim_index_remove(arena, &large->index, sought.hash, n);
        if (n != last) {
            done = mim_index_renumber(arena, &large->index, moved->hash, last, n) && done;
        }
        MIM_ASSERT(done);
    }
    mim_text_clear(arena, &hole->key);
    if (n != last) {
        memcpy(hole, moved, map_node_size(head));
    }
    memset(moved, 0, map_node_size(head)); /* unused nodes are zero */
    head->count--;
    if (head->count == 0) {
        mim_map_clear_in(arena, map);
    }
    return true;
}

void *mim_map_at_in(const struct mim_arena *arena, const struct mim_map *map, uint64_t n, struct mim_string *ret_key) {
    const struct map_head *head = map_head(arena, map);
    if (head == NULL || n >= head->count) {
        return NULL;
    }
    struct map_node *node = map_node(arena, head, n);
    if (ret_key != NULL) {
        struct mim_slice key = mim_text_slice(arena, &node->key);
        *ret_key = (struct mim_string){.data = key.size > 0 ? (const char *)key.data : "", .size = key.size};
    }
    return node->value;
}

uint64_t mim_map_count_in(const struct mim_arena *arena, const struct mim_map *map) {
    const struct map_head *head = map_head(arena, map);
    return head == NULL ? 0 : head->count;
}

void mim_map_clear_in(struct mim_arena *arena, struct mim_map *map) {
    struct map_head *head = map_head(arena, map);
    if (head == NULL) {
        return;
    }
    for (uint32_t n = 0; n < head->count; n++) {
        mim_text_clear(arena, &map_node(arena, head, n)->key);
    }
    struct map_large *large = map_large(arena, head);
    if (large != NULL) {
        uint64_t first = 1ull << map_scan_log(head);
        for (unsigned chunk = 1; chunk < MAP_CHUNKS; chunk++) {
            if (!mim_ref_is_null(large->chunks[chunk])) {
                mim_arena_release(arena, large->chunks[chunk], (first << chunk) * map_node_size(head));
            }
        }
        mim_index_clear(arena, &large->index);
        mim_arena_release(arena, head->large, sizeof(struct map_large));
    }
    mim_arena_release(arena, head->nodes, head->capacity * map_node_size(head));
    mim_arena_release(arena, (struct mim_ref){.offset = map->ref}, sizeof(struct map_head));
    map->ref = 0;
}
