// SPDX-License-Identifier: MIT
// Nodes in one array, linked by indexes: parents, first children, siblings. See trace_tree.h.
#include "cli/trace_tree.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define NONE      SIZE_MAX
#define DRAWN_MAX 24u /* levels that are indented */

struct node {
    json_t *event;     /* owned; NULL: something outside, by its name */
    const char *cause; /* borrowed; NULL: not given. Of a name: the name */
    uint64_t position;
    int64_t time_ms;
    bool outside;
    size_t parent, first, last, next; /* children in order */
    unsigned depth;
};

struct mim_trace_tree {
    struct node *nodes; /* owned: events by position, then names */
    size_t count, capacity;
    size_t events; /* of them */
    size_t own;    /* of these: the operation's, which come first and in order */
    json_t *names; /* owned: name -> node */
    size_t first_root, last_root;
    int64_t begun_ms, ended_ms;
};

struct mim_trace_tree *mim_trace_tree_new(void) {
    struct mim_trace_tree *tree = calloc(1, sizeof(*tree));
    if (tree != NULL) {
        tree->names = json_object();
        tree->first_root = tree->last_root = NONE;
    }
    return tree;
}

struct mim_trace_tree *mim_trace_tree_free(struct mim_trace_tree *tree) {
    if (tree != NULL) {
        for (size_t i = 0; i < tree->count; i++) {
            json_decref(tree->nodes[i].event);
        }
        json_decref(tree->names);
        free(tree->nodes);
        free(tree);
    }
    return NULL;
}

static struct node *node_new(struct mim_trace_tree *tree, struct mim_error *reterr) {
    if (tree->count == tree->capacity) {
        size_t capacity = tree->capacity == 0 ? 64 : tree->capacity * 2;
        struct node *grown = realloc(tree->nodes, capacity * sizeof(*grown));
        if (grown == NULL) {
            (void)mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
            return NULL;
        }
        tree->nodes = grown;
        tree->capacity = capacity;
    }
    struct node *node = &tree->nodes[tree->count++];
    *node = (struct node){.parent = NONE, .first = NONE, .last = NONE, .next = NONE};
    return node;
}

static const char *text_of(const json_t *event, const char *key) {
    return json_string_value(json_object_get(event, key));
}

int mim_trace_tree_add(struct mim_trace_tree *tree, struct mim_slice json, bool outside, struct mim_error *reterr) {
    json_t *event = json_loadb((const char *)json.data, json.size, 0, NULL);
    const char *time = text_of(event, "time");
    json_t *position = json_object_get(event, "position");
    int64_t time_ms = 0;
    if (time == NULL || text_of(event, "type") == NULL || text_of(event, "subject") == NULL ||
        mim_rfc3339_parse(time, strlen(time), &time_ms) != 0 || !json_is_integer(position)) {
        json_decref(event);
        return mim_error_set(reterr, MIM_E_INVALID, "what was answered is no event");
    }
    struct node *node = node_new(tree, reterr);
    if (node == NULL) {
        json_decref(event);
        return MIM_E_MEMORY;
    }
    node->event = event;
    node->position = (uint64_t)json_integer_value(position);
    node->time_ms = time_ms;
    node->cause = text_of(event, "causationid");
    node->outside = outside;
    tree->events++;
    tree->own += !outside;
    return 0;
}

size_t mim_trace_tree_count(const struct mim_trace_tree *tree) { return tree->events; }

const char *mim_trace_tree_correlation(const struct mim_trace_tree *tree, size_t event) {
    return text_of(tree->nodes[event].event, "correlationid");
}

/** The position a causation id names, when it can have caused the event; 0: it names none. */
static uint64_t cause_position(const struct node *node) {
    const char *cause = node->cause;
    uint64_t position = 0;
    if (cause == NULL || cause[0] == '0' || strlen(cause) > 19 || strspn(cause, "0123456789") != strlen(cause)) {
        return 0;
    }
    position = strtoull(cause, NULL, 10);
    return position < node->position ? position : 0;
}

static int compare_nodes(const void *a, const void *b) {
    uint64_t left = ((const struct node *)a)->position;
    uint64_t right = ((const struct node *)b)->position;
    return (left > right) - (left < right);
}

/** The node of a position among the first `count`, which are in order; NONE. */
static size_t find_position(const struct mim_trace_tree *tree, uint64_t position, size_t count) {
    struct node key = {.position = position};
    struct node *found = bsearch(&key, tree->nodes, count, sizeof(key), compare_nodes);
    return found == NULL ? NONE : (size_t)(found - tree->nodes);
}

uint64_t mim_trace_tree_missing(const struct mim_trace_tree *tree, size_t *from) {
    for (; *from < tree->events; (*from)++) {
        uint64_t position = cause_position(&tree->nodes[*from]);
        bool there = position == 0 || find_position(tree, position, tree->own) != NONE;
        for (size_t i = tree->own; i < tree->events && !there; i++) {
            there = tree->nodes[i].position == position;
        }
        if (!there) {
            (*from)++;
            return position;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------------- link */

static void append_to(struct mim_trace_tree *tree, size_t *first, size_t *last, size_t child) {
    if (*last == NONE) {
        *first = child;
    } else {
        tree->nodes[*last].next = child;
    }
    *last = child;
}

/** The node of a name outside, made a root at its first use. */
static size_t name_node(struct mim_trace_tree *tree, size_t event, struct mim_error *reterr) {
    const char *name = tree->nodes[event].cause;
    const json_t *known = json_object_get(tree->names, name);
    if (known != NULL) {
        return (size_t)json_integer_value(known);
    }
    struct node *node = node_new(tree, reterr);
    if (node == NULL || json_object_set_new(tree->names, name, json_integer((json_int_t)(tree->count - 1))) != 0) {
        return NONE;
    }
    node->cause = name;
    node->time_ms = tree->nodes[event].time_ms;
    append_to(tree, &tree->first_root, &tree->last_root, tree->count - 1);
    return tree->count - 1;
}

int mim_trace_tree_link(struct mim_trace_tree *tree, struct mim_error *reterr) {
    if (tree->events == 0) {
        return 0;
    }
    bool any = false;
    qsort(tree->nodes, tree->events, sizeof(*tree->nodes), compare_nodes);
    for (size_t i = 0; i < tree->events; i++) {
        const struct node *node = &tree->nodes[i];
        uint64_t position = cause_position(node);
        size_t parent = position == 0 ? NONE : find_position(tree, position, tree->events);
        if (!node->outside) {
            tree->begun_ms = any && tree->begun_ms < node->time_ms ? tree->begun_ms : node->time_ms;
            tree->ended_ms = any && tree->ended_ms > node->time_ms ? tree->ended_ms : node->time_ms;
            any = true;
        }
        if (parent == NONE && node->cause == NULL) {
            append_to(tree, &tree->first_root, &tree->last_root, i);
            continue;
        }
        if (parent == NONE) {
            parent = name_node(tree, i, reterr);
        }
        if (parent == NONE) {
            return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
        }
        struct node *above = &tree->nodes[parent];
        tree->nodes[i].parent = parent;
        tree->nodes[i].depth = above->depth + 1;
        append_to(tree, &above->first, &above->last, i);
    }
    return 0;
}

/* --------------------------------------------------------------------- print */

/** The node after this one, parents first; no recursion: a chain of causes may be long. */
static size_t node_after(const struct mim_trace_tree *tree, size_t at) {
    if (tree->nodes[at].first != NONE) {
        return tree->nodes[at].first;
    }
    while (at != NONE && tree->nodes[at].next == NONE) {
        at = tree->nodes[at].parent;
    }
    return at == NONE ? NONE : tree->nodes[at].next;
}

/** The lines in front of a node: of its own branch, and of those that go on beside it. */
static void print_branch(const struct mim_trace_tree *tree, size_t at, FILE *to) {
    bool open[DRAWN_MAX];
    unsigned depth = tree->nodes[at].depth;
    unsigned drawn = depth < DRAWN_MAX ? depth : DRAWN_MAX;
    size_t above = at;
    for (unsigned level = drawn; level > 0; level--) {
        open[level - 1] = tree->nodes[above].next != NONE;
        above = tree->nodes[above].parent;
    }
    for (unsigned level = 0; level < drawn; level++) {
        bool own = level + 1 == drawn;
        (void)fputs(own ? (open[level] ? "├─ " : "└─ ") : (open[level] ? "│  " : "   "), to);
    }
    if (depth > drawn) {
        (void)fprintf(to, "(level %u) ", depth);
    }
}

static void print_event(const struct node *node, FILE *to) {
    char *data = json_dumps(json_object_get(node->event, "data"), JSON_COMPACT | JSON_ENCODE_ANY);
    const char *actor = text_of(node->event, "actor");
    const char *correlation = text_of(node->event, "correlationid");
    (void)fprintf(to, "%s %s %s  position %llu", text_of(node->event, "type"), text_of(node->event, "subject"),
                  data == NULL ? "" : data, (unsigned long long)node->position);
    if (actor != NULL) {
        (void)fprintf(to, "  by %s", actor);
    }
    if (node->outside) {
        (void)fprintf(to, "  (of %s%s)", correlation == NULL ? "no operation" : "operation ",
                      correlation == NULL ? "" : correlation);
    }
    (void)fputc('\n', to);
    free(data);
}

static size_t count_subjects(const struct mim_trace_tree *tree, size_t *ret_events) {
    json_t *subjects = json_object();
    *ret_events = 0;
    for (size_t i = 0; i < tree->events; i++) {
        if (!tree->nodes[i].outside) {
            (void)json_object_set_new(subjects, text_of(tree->nodes[i].event, "subject"), json_true());
            (*ret_events)++;
        }
    }
    size_t count = json_object_size(subjects);
    json_decref(subjects);
    return count;
}

void mim_trace_tree_print(const struct mim_trace_tree *tree, const char *name, FILE *to) {
    char begun[MIM_RFC3339_SIZE + 1];
    size_t events = 0;
    size_t subjects = count_subjects(tree, &events);
    mim_rfc3339_format(tree->begun_ms, begun);
    (void)fprintf(to, "%s: %zu event%s of %zu aggregate%s in %lld ms, from %s\n", name, events, events == 1 ? "" : "s",
                  subjects, subjects == 1 ? "" : "s", (long long)(tree->ended_ms - tree->begun_ms), begun);
    for (size_t at = tree->first_root; at != NONE; at = node_after(tree, at)) {
        const struct node *node = &tree->nodes[at];
        if (node->event == NULL) {
            (void)fprintf(to, "%13s  %s\n", "", node->cause);
            continue;
        }
        (void)fprintf(to, "%+10lld ms  ", (long long)(node->time_ms - tree->begun_ms));
        print_branch(tree, at, to);
        print_event(node, to);
    }
}

void mim_trace_tree_print_json(const struct mim_trace_tree *tree, FILE *to) {
    for (size_t at = tree->first_root; at != NONE; at = node_after(tree, at)) {
        const struct node *node = &tree->nodes[at];
        const struct node *above = node->parent == NONE ? NULL : &tree->nodes[node->parent];
        json_t *line = NULL;
        if (node->event == NULL) {
            line = json_pack("{s:i, s:s}", "depth", 0, "cause", node->cause);
        } else {
            line = json_pack(
                "{s:i, s:o?, s:I, s:b, s:O}", "depth", (int)node->depth, "parent",
                above == NULL ? NULL : json_string(above->event == NULL ? above->cause : text_of(above->event, "id")),
                "after_ms", (json_int_t)(node->time_ms - tree->begun_ms), "outside", node->outside ? 1 : 0, "event",
                node->event);
        }
        if (line != NULL) {
            (void)json_dumpf(line, to, JSON_COMPACT);
            (void)fputc('\n', to);
            json_decref(line);
        }
    }
}
