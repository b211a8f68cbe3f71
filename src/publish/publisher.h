// SPDX-License-Identifier: MIT
// Publication of durable events to a Redis stream, each exactly once and in order; and, where asked, to channels and as
// a read model. The journal is the outbox: a publisher is a cursor over its files, so that a Redis that is away costs no
// memory, and what Redis already has is what Redis itself says.
//
// How it cannot lie. Events go in batches, one Lua call each, many calls on their way at once. A call first compares the
// stream's owner and last id with what the publisher believes, and adds nothing when they differ: so a call that
// fails (OOM, READONLY, a flushed Redis, a second publisher) makes all calls behind it add nothing too, and no entry is ever
// left out. After any failure the publisher connects anew and begins with asking Redis for the last id.
//
// Everything here runs on the loop's thread, in slices that the server grants (mim_publisher_turn), and answers come as
// events of the loop; nothing ever waits. docs/PUBLISH.md tells keys, entries and policies.
#ifndef MIM_PUBLISH_PUBLISHER_H
#define MIM_PUBLISH_PUBLISHER_H

#include <event2/event.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "storage/storage.h"

/** What to do when Redis lost entries or the stream is not ours. */
enum mim_publish_on_gap { MIM_PUBLISH_STOP, MIM_PUBLISH_REFILL, MIM_PUBLISH_NEW_STREAM };

#define MIM_PUBLISH_STREAM         "memimage:events"
#define MIM_PUBLISH_STREAM_MAX     200u /* bytes of a stream's name */
#define MIM_PUBLISH_CHANNEL        "memimage:"
#define MIM_PUBLISH_AUDIENCE       "memimage:audience:"
#define MIM_PUBLISH_MEMORY         "publish.state" /* file in the data directory */
#define MIM_PUBLISH_SLICE_NS       60000ull /* of a turn: no call is begun behind it, none goes on for twice it */
#define MIM_PUBLISH_BACKOFF_MIN_MS 100u
#define MIM_PUBLISH_BACKOFF_MAX_MS 5000u
#define MIM_PUBLISH_PATIENCE_NS    5000000000ull /* for a connection, and for the next answer */

/** Strings are borrowed for the life of the publisher. `{0}` is off. */
struct mim_publish_options {
    const char *url; /* NULL: off */
    bool fat;        /* entries carry the whole CloudEvent too */
    const char *stream;
    uint64_t maxlen;        /* entries kept in the stream, about; 0: all */
    bool channels;          /* PUBLISH memimage:TYPE */
    bool audiences;         /* PUBLISH memimage:audience:ENTRY */
    bool states;            /* the read model */
    const char *types;      /* comma-separated event types; NULL: all */
    const char *aggregates; /* comma-separated aggregate types; NULL: all */
    enum mim_publish_on_gap on_gap;
};
/** Checks what can be checked before there is an engine. USAGE. */
MIM_CHECKED int mim_publish_options_check(const struct mim_publish_options *options, struct mim_error *reterr);

/** Something worth a line in the log. */
struct mim_publish_news {
    bool warning;
    const char *event;  /* "publish_live" */
    const char *target; /* without credentials */
    const char *stream;
    const char *reason; /* NULL: none */
    mim_position_t position;
};

/** What a publisher stands on; all borrowed. */
struct mim_publish_source {
    struct event_base *base;
    struct mim_engine *engine;
    const struct mim_appender *appender;
    struct mim_storage storage;
    struct mim_clock clock;
    void (*news)(void *context, const struct mim_publish_news *news);
    void *context;
};

struct mim_publisher;

/** A publisher that is off. USAGE (unknown types), MEMORY, IO. */
MIM_CHECKED int mim_publisher_new(const struct mim_publish_options *options, const struct mim_publish_source *source,
                                  struct mim_publisher **ret_publisher, struct mim_error *reterr);
/** Stops and frees. NULL is fine. Returns NULL. */
struct mim_publisher *mim_publisher_free(struct mim_publisher *publisher);

/** Begins (a primary, a promoted standby); again is nothing. After a stop by --publish-on-gap it tries anew. */
void mim_publisher_start(struct mim_publisher *publisher);
/** Ends: the connection is closed, what was not answered is asked for at the next start. A standby does not publish. */
void mim_publisher_stop(struct mim_publisher *publisher);

/** What is durable now. */
struct mim_publish_gate {
    mim_lsn_t lsn;
    mim_position_t position;
    mim_lsn_t segment_lsn; /* base of the newest segment */
};
/** One slice, at the end of a turn of the loop. Costs nothing, not even a look at the clock, when nothing is to do. */
void mim_publisher_turn(struct mim_publisher *publisher, const struct mim_publish_gate *gate);
/** True when another slice has something to do at once. */
bool mim_publisher_busy(const struct mim_publisher *publisher);
/** About ten times a second: back-off, patience, the memory file. */
void mim_publisher_tick(struct mim_publisher *publisher);

struct mim_publish_info {
    const char *state;  /* off, connecting, resuming, live, backing_off, stopped */
    const char *reason; /* why it is not live; "" when it is */
    const char *last_error;
    const char *target;
    const char *stream;              /* in use now */
    mim_position_t position;         /* everything up to here is in Redis, or was not wanted */
    mim_position_t last_id;          /* of the newest entry that Redis acknowledged */
    uint64_t lag;                    /* durable events behind that */
    mim_position_t states;           /* the read model is complete up to here */
    uint64_t events, states_written; /* acknowledged in this run */
    uint64_t connections, failures, refusals, gaps;
    uint32_t unanswered; /* calls on their way */
    uint64_t unanswered_bytes;
    uint64_t retry_ms; /* until the next attempt */
};
void mim_publisher_info(const struct mim_publisher *publisher, struct mim_publish_info *ret_info);

#endif
