// SPDX-License-Identifier: MIT
// memimage trace: what one operation did, over all streams, and what caused what. From a server or from a directory.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/trace_source.h"
#include "cli/trace_tree.h"

#define OUTSIDE_MAX 1000u /* causes outside the operation that are looked up */

struct tracing {
    struct mim_trace_source *source;
    struct mim_trace_tree *tree;
    bool outside; /* what is added now */
};

static int tracing_add(void *context, struct mim_slice json, struct mim_error *reterr) {
    struct tracing *t = context;
    return mim_trace_tree_add(t->tree, json, t->outside, reterr);
}

/** Renews the tree with an operation's events. */
static int gather_correlated(struct tracing *t, const char *id, struct mim_error *reterr) {
    return mim_trace_source_correlated(t->source, id, tracing_add, t, reterr);
}

/** The event at a position, or the whole operation it belongs to; *ret_name: what it is the trace of. */
static int gather_position(struct tracing *t, uint64_t position, char ret_name[320], struct mim_error *reterr) {
    int rc = mim_trace_source_at(t->source, position, tracing_add, t, reterr);
    if (rc != 0 || mim_trace_tree_count(t->tree) == 0) {
        return rc;
    }
    const char *correlation = mim_trace_tree_correlation(t->tree, 0);
    (void)snprintf(ret_name, 320, "position %llu", (unsigned long long)position);
    if (correlation == NULL) {
        return 0; /* alone: nothing ties others to it */
    }
    (void)snprintf(ret_name, 320, "%s", correlation);
    (void)mim_trace_tree_free(t->tree);
    t->tree = mim_trace_tree_new();
    return t->tree == NULL ? mim_error_set(reterr, MIM_E_MEMORY, "out of memory")
                           : gather_correlated(t, ret_name, reterr);
}

/** Causes that are events of other operations, and their causes. */
static int gather_outside(struct tracing *t, struct mim_error *reterr) {
    size_t from = 0;
    uint64_t position;
    int rc = 0;
    t->outside = true;
    for (unsigned n = 0; rc == 0 && n < OUTSIDE_MAX && (position = mim_trace_tree_missing(t->tree, &from)) != 0; n++) {
        rc = mim_trace_source_at(t->source, position, tracing_add, t, reterr);
    }
    return rc;
}

static int trace_run(struct tracing *t, const char *id, bool by_position, bool json, struct mim_error *reterr) {
    char name[320];
    char *end = NULL;
    uint64_t position = id[0] >= '0' && id[0] <= '9' ? strtoull(id, &end, 10) : 0;
    bool number = end != NULL && *end == '\0';
    if (by_position && !number) {
        return mim_error_set(reterr, MIM_E_USAGE, "a position is a number");
    }
    (void)snprintf(name, sizeof(name), "%s", id);
    int rc = by_position ? 0 : gather_correlated(t, id, reterr);
    if (rc == 0 && number && mim_trace_tree_count(t->tree) == 0) {
        rc = gather_position(t, position, name, reterr);
    }
    if (rc == 0 && mim_trace_tree_count(t->tree) == 0) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "no event has the correlation id %s", id);
    }
    rc = rc != 0 ? rc : gather_outside(t, reterr);
    rc = rc != 0 ? rc : mim_trace_tree_link(t->tree, reterr);
    if (rc == 0 && json) {
        mim_trace_tree_print_json(t->tree, stdout);
    } else if (rc == 0) {
        mim_trace_tree_print(t->tree, name, stdout);
    }
    return rc;
}

int mim_cli_trace(int argc, char **argv) {
    struct mim_trace_options from = {.model = "ledger", .host = "127.0.0.1", .port = 7411};
    bool json = false;
    bool by_position = false;
    const struct mim_option items[] = {
        {"dir", MIM_OPTION_TEXT, &from.dir, "DIR", "read this data directory, without its server", 0, 0},
        {"model", MIM_OPTION_TEXT, &from.model, "NAME|FILE.so", "with --dir: the model (default ledger)", 0, 0},
        {"host", MIM_OPTION_TEXT, &from.host, "ADDRESS", "server (default 127.0.0.1)", 0, 0},
        {"port", MIM_OPTION_UNSIGNED, &from.port, "N", "port (default 7411)", 1, 65535},
        {"unixsocket", MIM_OPTION_TEXT, &from.unixsocket, "PATH", "unix socket instead", 0, 0},
        {"password", MIM_OPTION_TEXT, &from.password, "PASSWORD", "AUTH first", 0, 0},
        {"position", MIM_OPTION_FLAG, &by_position, NULL, "ID is a position, not a correlation id of digits", 0, 0},
        {"json", MIM_OPTION_FLAG, &json, NULL, "a line of JSON per event: depth, parent, after_ms, event", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage trace ID [option ...]",
        .about = "Prints what one operation did, over all streams, as the tree of its causes, with times. ID is a\n"
                 "correlation id (@corr), or the position of one of its events. An event whose causation id (@cause)\n"
                 "is the id of an event, its position, stands below that one; other causes are shown by their name.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    struct tracing t = {.tree = mim_trace_tree_new()};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    if (rc == 0 && positional != 1) {
        rc = mim_error_set(&error, MIM_E_USAGE, "one ID is wanted (see --help)");
    }
    if (rc == 0 && t.tree == NULL) {
        rc = mim_error_set(&error, MIM_E_MEMORY, "out of memory");
    }
    rc = rc != 0 ? rc : mim_trace_source_open(&from, &t.source, &error);
    rc = rc != 0 ? rc : trace_run(&t, argv[0], by_position, json, &error);
    (void)mim_trace_source_close(t.source);
    (void)mim_trace_tree_free(t.tree);
    return rc >= 0 ? 0 : mim_cli_fail("trace", &error);
}
