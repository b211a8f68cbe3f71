// SPDX-License-Identifier: MIT
// The causal tree of some events, and its printing. A causation id that is the id (the position) of an earlier event
// makes the event its child; another one is a name of something outside, and stands as a root with its events below.
#ifndef MIM_CLI_TRACE_TREE_H
#define MIM_CLI_TRACE_TREE_H

#include <stdio.h>

#include "base/bytes.h"
#include "base/error.h"

struct mim_trace_tree; /* new/free */

/** NULL when out of memory. */
struct mim_trace_tree *mim_trace_tree_new(void);
struct mim_trace_tree *mim_trace_tree_free(struct mim_trace_tree *tree);

/** Adds an event given as a CloudEvent. outside: it only caused one of the operation's. INVALID: not a CloudEvent of
 *  ours; MEMORY. */
MIM_CHECKED int mim_trace_tree_add(struct mim_trace_tree *tree, struct mim_slice json, bool outside,
                                   struct mim_error *reterr);
size_t mim_trace_tree_count(const struct mim_trace_tree *tree);
/** The correlation id of an event; NULL: it has none. */
const char *mim_trace_tree_correlation(const struct mim_trace_tree *tree, size_t event);
/** Position of an event that caused one of the tree's but is not in it; 0: there is none. Looks at `*from` and on, and
 *  moves it. */
uint64_t mim_trace_tree_missing(const struct mim_trace_tree *tree, size_t *from);
/** Orders and links all. MEMORY. No event may be added afterwards. */
MIM_CHECKED int mim_trace_tree_link(struct mim_trace_tree *tree, struct mim_error *reterr);
/** A head line, then a line per event: milliseconds after the operation's first event, the tree, what happened. */
void mim_trace_tree_print(const struct mim_trace_tree *tree, const char *name, FILE *to);
/** A line of JSON per node, parents first: depth, parent, after_ms, event; or depth, cause. */
void mim_trace_tree_print_json(const struct mim_trace_tree *tree, FILE *to);

#endif
