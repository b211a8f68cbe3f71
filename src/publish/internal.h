// SPDX-License-Identifier: MIT
// What the publisher's files share. Included by src/publish/*.c only.
//
// connection.c  from nothing to a connection and back: names, hiredis, patience, back-off
// resume.c      what Redis has, whether it is ours, where to go on; the policies for gaps
// script.c      the Lua that adds entries and states, all or nothing beyond the first doubt
// entries.c     events of the journal into calls, and their answers
// states.c      the read model
// memory.c      what was published, remembered beside the journal
#ifndef MIM_PUBLISH_INTERNAL_H
#define MIM_PUBLISH_INTERNAL_H

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <netdb.h>

#include "base/assert.h"
#include "base/prng.h"
#include "engine/cloudevent.h"
#include "journal/cursor.h"
#include "publish/publisher.h"
#include "publish/target.h"

#define MIM_PUBLISH_KEY_MAX       (MIM_PUBLISH_STREAM_MAX + 32u)
#define MIM_PUBLISH_CALL_EVENTS   256u /* of one call: what Redis does at a stretch */
#define MIM_PUBLISH_CALL_BYTES    (256u << 10)
#define MIM_PUBLISH_CALLS_MAX     8u          /* unanswered, of each kind */
#define MIM_PUBLISH_BYTES_MAX     (4u << 20)  /* unanswered; one call may exceed it by an event's size */
#define MIM_PUBLISH_ANSWER_MAX    (16u << 20) /* bytes of an answer that is not complete */
#define MIM_PUBLISH_PACE_US       1000        /* between two calls that are not full: Redis is on the same cores */
#define MIM_PUBLISH_ELEMENTS_MAX  65536       /* of an array in an answer */
#define MIM_PUBLISH_CAPTURES      256u        /* states that wait for durability */
#define MIM_PUBLISH_CAPTURE_BYTES (4u << 20)
#define MIM_PUBLISH_SHA           40u
#define MIM_PUBLISH_REASON_MAX    400u
#define MIM_PUBLISH_SETTLED_NS    1000000000ull /* live for so long without a failure: the reason is history */
#define MIM_PUBLISH_MEMORY_NS     1000000000ull

enum mim_publish_phase {
    MIM_PUBLISH_OFF,
    MIM_PUBLISH_CONNECTING,
    MIM_PUBLISH_RESUMING,
    MIM_PUBLISH_LIVE,
    MIM_PUBLISH_BACKING_OFF,
    MIM_PUBLISH_STOPPED,
};

/** One call on its way. */
struct mim_publish_call {
    uint32_t events;
    size_t bytes;
    mim_position_t last_id; /* of the last entry it adds */
    mim_position_t upto;    /* everything up to here is done with it */
};
struct mim_publish_calls {
    struct mim_publish_call items[MIM_PUBLISH_CALLS_MAX];
    uint32_t first, count;
};

/** What stands in publish.state. */
struct mim_publish_memory {
    uint64_t target; /* hash of where and which stream; 0: nothing known */
    char stream[MIM_PUBLISH_KEY_MAX];
    mim_position_t last_id;
    mim_position_t upto;
    uint64_t filter; /* hash of what was wanted: upto holds for that alone */
};

enum mim_publish_step {
    MIM_STEP_AUTH,
    MIM_STEP_SELECT,
    MIM_STEP_LOAD_ENTRIES,
    MIM_STEP_LOAD_STATES,
    MIM_STEP_ABOUT,
    MIM_STEP_STREAM,
    MIM_STEP_NEWEST,
    MIM_STEP_SEEK,      /* no question to Redis: finds its newest entry in the journal */
    MIM_STEP_FREE_NAME, /* new-stream: a key that is not there */
    MIM_STEP_FORGET,    /* refill: deletes what was there */
    MIM_STEP_TAKE,      /* writes that the stream is ours */
};

/** What Redis said while resuming. */
struct mim_publish_found {
    bool ours, owned; /* the stream's history is known; and is ours */
    bool exists;
    bool counted;           /* entries_added is known (Redis 7) */
    bool foreign_id;        /* its last id is no position */
    mim_position_t base;    /* the stream begins behind it */
    mim_position_t last_id; /* 0: no entry was ever added */
    uint64_t entries_added;
    mim_position_t states;
    bool newest; /* the entry with last_id is still there: */
    char newest_type[2 * MIM_NAME_SIZE_MAX + 2];
    char newest_subject[MIM_NAME_SIZE_MAX + MIM_ID_SIZE_MAX + 2];
    char newest_version[24];
};

/** A state that waits until what it shows is durable. */
struct mim_publish_capture {
    unsigned aggregate;
    mim_stream_t stream;
    mim_version_t version;
    mim_lsn_t gate;
    mim_position_t position; /* of the event that asked for it */
    struct mim_buffer json;
};

struct mim_publisher {
    struct mim_publish_options options;
    struct mim_publish_source source;
    struct mim_publish_target target;
    uint64_t target_hash, filter_hash;
    char history[33];
    struct mim_event_filter filter;
    uint64_t aggregates; /* bit per aggregate type */
    bool filtered;
    struct mim_prng prng;

    enum mim_publish_phase phase;
    uint64_t phase_ns; /* since when */
    struct mim_publish_gate gate;

    /* connection */
    redisAsyncContext *context;
    redisReplyObjectFunctions plain, guarded;
    struct gaicb *lookup; /* a name being resolved; NULL: none */
    uint32_t unanswered;
    uint64_t answered_ns; /* when the last answer came, or the first question went out */
    uint32_t backoff_ms;
    uint64_t retry_ns;
    char reason[MIM_PUBLISH_REASON_MAX];
    char last_error[MIM_PUBLISH_REASON_MAX];
    bool told_live, told_down;
    char told_reason[MIM_PUBLISH_REASON_MAX];

    /* resuming */
    enum mim_publish_step step;
    struct mim_publish_found found;
    char about[MIM_PUBLISH_KEY_MAX], versions[MIM_PUBLISH_KEY_MAX];
    char stream[MIM_PUBLISH_KEY_MAX]; /* in use */
    uint32_t root;                    /* 1; more: the streams of that name belong to other histories */
    uint32_t stream_number;           /* new-stream: the name being tried */
    mim_position_t next_base;         /* policies: the stream begins behind it */
    bool forget_states;
    char sha_entries[MIM_PUBLISH_SHA + 1], sha_states[MIM_PUBLISH_SHA + 1];

    struct event *pace_event;
    bool entries_paced, states_paced; /* the next call that is not full waits for the event */

    /* entries */
    struct mim_access *access;
    struct mim_cloudevents *events;
    struct mim_cursor cursor;
    mim_position_t last_id; /* of the last entry that was sent; 0: the stream is empty */
    mim_position_t acknowledged_id, acknowledged;
    struct mim_publish_calls calls;
    struct mim_buffer body, out, text, audience;

    /* states */
    struct mim_cursor state_cursor;
    struct mim_publish_calls state_calls;
    struct mim_publish_capture captures[MIM_PUBLISH_CAPTURES];
    uint32_t capture_count;
    size_t capture_bytes;
    mim_position_t states_sent, states_done;
    struct mim_buffer keys, values;

    /* memory */
    mim_file_t memory_file;
    struct mim_publish_memory memory, memory_written;
    uint64_t memory_ns;

    uint64_t events_done, states_done_count, connections, failures, refusals, gaps;
};

static inline uint64_t mim_publish_now(const struct mim_publisher *p) {
    return p->source.clock.monotonic_ns(p->source.clock.context);
}
static inline void mim_publish_phase_set(struct mim_publisher *p, enum mim_publish_phase phase) {
    p->phase = phase;
    p->phase_ns = mim_publish_now(p);
}
static inline size_t mim_publish_calls_bytes(const struct mim_publish_calls *calls) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < calls->count; i++) {
        bytes += calls->items[(calls->first + i) % MIM_PUBLISH_CALLS_MAX].bytes;
    }
    return bytes;
}
static inline bool mim_publish_calls_room(const struct mim_publish_calls *calls) {
    return calls->count < MIM_PUBLISH_CALLS_MAX && mim_publish_calls_bytes(calls) < MIM_PUBLISH_BYTES_MAX;
}
static inline void mim_publish_calls_push(struct mim_publish_calls *calls, const struct mim_publish_call *call) {
    calls->items[(calls->first + calls->count++) % MIM_PUBLISH_CALLS_MAX] = *call;
}
static inline struct mim_publish_call mim_publish_calls_pop(struct mim_publish_calls *calls) {
    struct mim_publish_call call = calls->items[calls->first];
    calls->first = (calls->first + 1) % MIM_PUBLISH_CALLS_MAX;
    calls->count--;
    return call;
}

/* publisher.c */
/** After a call that was not full: sets `paced` until MIM_PUBLISH_PACE_US have passed. */
void mim_publish_pace(struct mim_publisher *p, bool *paced);
void mim_publish_tell(struct mim_publisher *p, bool warning, const char *event, const char *reason);
/** The journal cannot be read, or the policy says stop: the server goes on, publication does not. */
__attribute__((format(printf, 2, 3))) void mim_publish_halt(struct mim_publisher *p, const char *format, ...);
/** A read of the journal has failed: for want of descriptors or memory it is tried again as a lost connection is. */
void mim_publish_unreadable(struct mim_publisher *p, mim_position_t position, const struct mim_error *error);

/* connection.c */
void mim_publish_connect(struct mim_publisher *p);
void mim_publish_connecting_tick(struct mim_publisher *p, uint64_t now_ns);
void mim_publish_disconnect(struct mim_publisher *p);
/** Something went wrong: closes, tells, tries again later. Safe within an answer's callback. */
__attribute__((format(printf, 2, 3))) void mim_publish_fail(struct mim_publisher *p, const char *format, ...);
/** The same with Redis' own error. */
void mim_publish_refused(struct mim_publisher *p, const redisReply *reply);
/** Sends bytes that are one whole request. */
void mim_publish_send(struct mim_publisher *p, redisCallbackFn *callback, const struct mim_buffer *request);
/** One answer came: the publisher it belongs to, or NULL when its connection is given up already. */
struct mim_publisher *mim_publish_answered(redisAsyncContext *context, const void *reply);
/** Redis took something: the way is free, the next failure begins with a short back-off. */
void mim_publish_proven(struct mim_publisher *p);

/* resume.c */
void mim_publish_resume(struct mim_publisher *p);
/** A slice of looking for Redis' newest entry in the journal. */
void mim_publish_seek(struct mim_publisher *p);

/* script.c */
/** Appends the Lua that adds entries, as the options want it; and the one that writes states. */
void mim_publish_script_entries(const struct mim_publish_options *options, struct mim_buffer *out);
void mim_publish_script_states(struct mim_buffer *out);

/* entries.c */
/** True when events are there and may be sent. */
bool mim_publish_entries_due(const struct mim_publisher *p);
void mim_publish_entries(struct mim_publisher *p, uint64_t deadline_ns);
/** Arguments that one event takes in the call. */
unsigned mim_publish_stride(const struct mim_publish_options *options);
/** Appends one event's arguments. MEMORY, DAMAGED. */
MIM_CHECKED int mim_publish_entry(struct mim_publisher *p, const struct mim_journal_event *event,
                                  const struct mim_event_about *about, struct mim_error *reterr);

/* states.c */
bool mim_publish_states_due(const struct mim_publisher *p);
void mim_publish_states(struct mim_publisher *p, uint64_t deadline_ns);
void mim_publish_states_reset(struct mim_publisher *p, mim_position_t done);

/* memory.c */
/** Reads publish.state. What is not there, not whole or about another target counts as nothing known. */
MIM_CHECKED int mim_publish_memory_open(struct mim_publisher *p, struct mim_error *reterr);
/** Remembers what Redis has acknowledged; before a connection is given up. */
void mim_publish_memory_take(struct mim_publisher *p);
/** The same, and writes it when it has changed. A failure only makes the memory older. */
void mim_publish_memory_save(struct mim_publisher *p);
void mim_publish_memory_close(struct mim_publisher *p);

#endif
