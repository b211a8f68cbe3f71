// SPDX-License-Identifier: MIT
// Where a trace's events come from: a running server, or a directory without one. As CloudEvents, as JOURNAL gives them.
#ifndef MIM_CLI_TRACE_SOURCE_H
#define MIM_CLI_TRACE_SOURCE_H

#include "base/bytes.h"
#include "base/error.h"

struct mim_trace_options {
    const char *dir; /* NULL: a server */
    const char *model;
    const char *host, *unixsocket, *password;
    uint64_t port;
};

/** Takes one event's JSON; a nonzero code ends the reading with it. */
typedef int mim_trace_each(void *context, struct mim_slice json, struct mim_error *reterr);

struct mim_trace_source; /* open/close */

MIM_CHECKED int mim_trace_source_open(const struct mim_trace_options *options, struct mim_trace_source **ret_source,
                                      struct mim_error *reterr);
struct mim_trace_source *mim_trace_source_close(struct mim_trace_source *source);

/** All events of one correlation id, in order. */
MIM_CHECKED int mim_trace_source_correlated(struct mim_trace_source *source, const char *id, mim_trace_each *each,
                                            void *context, struct mim_error *reterr);
/** The event at a position; no call when there is none. */
MIM_CHECKED int mim_trace_source_at(struct mim_trace_source *source, uint64_t position, mim_trace_each *each,
                                    void *context, struct mim_error *reterr);

#endif
