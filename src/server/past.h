// SPDX-License-Identifier: MIT
// Reading the past for clients: STATE ... AT, EVENTS, JOURNAL as jobs and FOLLOW as followers, all in slices between
// the turns of the loop, so that nobody waits for somebody's long read. Only what is durable is ever shown.
//
// A job belongs to its session: the command answers AGAIN until it is complete, so that replies keep their order. A
// follower is a cursor and a filter: it waits in the journal's files while its client does not read, and takes no memory.
#ifndef MIM_SERVER_PAST_H
#define MIM_SERVER_PAST_H

#include "engine/cloudevent.h"
#include "engine/timetravel.h"
#include "journal/correlation.h"
#include "server/internal.h"

#define MIM_PAST_SLICE_NS     200000ull   /* of one turn for all of it: what it may add to others' latency */
#define MIM_PAST_VISIT_EVENTS 256u        /* a follower's share before the next one's */
#define MIM_PAST_ENCODED      1024u       /* newest encoded events, shared by all followers; a power of two */
#define MIM_PAST_ENCODED_KEPT (16u << 10) /* bytes of one such that are kept for reuse */
#define MIM_JOURNAL_COUNT     1000u       /* of JOURNAL without COUNT */

enum mim_past_kind { MIM_PAST_STATE, MIM_PAST_EVENTS, MIM_PAST_JOURNAL };

/** One read on its way. Zeroed, filled in by the command, then run in slices. */
struct mim_past_job {
    enum mim_past_kind kind;
    bool linked, done, started, missing; /* missing: the answer is nil, or no events */
    struct mim_session *session;
    mim_lsn_t gate;            /* runs once this is durable: what stood before it is seen */
    struct mim_slice type, id; /* borrow `address` */
    uint8_t address[MIM_NAME_SIZE_MAX + MIM_ID_SIZE_MAX + 2];
    unsigned aggregate;
    mim_stream_t stream;
    struct mim_stream_tip tip;
    struct mim_stream_walk walk;
    /* STATE */
    enum mim_stream_measure measure;
    uint64_t value;
    struct mim_fold *fold; /* owned */
    mim_version_t version; /* of the answer */
    /* EVENTS and JOURNAL */
    uint64_t from, to, count, elements;
    bool reverse;
    mim_lsn_t back_lsn;
    struct mim_cursor cursor;
    struct mim_event_filter filter;
    struct mim_correlation_search search; /* JOURNAL CORR */
    struct mim_reply reply;               /* elements of the answer */
    int code;
    struct mim_error error;
    TAILQ_ENTRY(mim_past_job) link;
};
TAILQ_HEAD(mim_past_jobs, mim_past_job);

enum mim_follower_state { MIM_FOLLOWER_ACTIVE, MIM_FOLLOWER_LIVE, MIM_FOLLOWER_PAUSED, MIM_FOLLOWER_STATES };

struct mim_follower {
    enum mim_follower_state state;
    struct mim_session *session;
    struct mim_cursor cursor;
    struct mim_event_filter filter;
    uint64_t progress_ns; /* paused: when its client last took bytes */
    TAILQ_ENTRY(mim_follower) link;
};
TAILQ_HEAD(mim_followers, mim_follower);

/** What one session has to do with the past; NULL for most. */
struct mim_past_session {
    struct mim_past_job *job;
    struct mim_follower *follower;
};

/** An event as followers get it: "$5 event $N {json}", without the push's head. */
struct mim_encoded {
    mim_position_t position; /* 0: none */
    struct mim_buffer bytes;
};

struct mim_past {
    struct mim_access *access;
    struct mim_cloudevents *events;
    struct mim_correlations *correlations;
    struct mim_past_jobs jobs;
    struct mim_followers followers[MIM_FOLLOWER_STATES];
    struct mim_encoded encoded[MIM_PAST_ENCODED];
    struct mim_buffer json;
    uint64_t followed, dropped; /* events pushed; followers dropped */
    uint64_t jobs_done;
};

/* past.c: jobs and slices */
/** The server's, made at first use. MEMORY. */
MIM_CHECKED int mim_past_open(struct mim_server *server, struct mim_past **ret_past, struct mim_error *reterr);
/** Runs a new job for its first slice; the session owns it from here on. Answers DONE with the reply written, or AGAIN. */
enum mim_verdict_of_call mim_past_start(struct mim_call *call, struct mim_past_job *job);
/** The session's unfinished job goes on: true when there is one, then ret_verdict is the command's. */
bool mim_past_resumed(struct mim_call *call, enum mim_verdict_of_call *ret_verdict);
struct mim_past_job *mim_past_job_free(struct mim_past_job *job);
/** Lets the access see what is durable now. */
MIM_CHECKED int mim_past_limit(struct mim_server *server, struct mim_error *reterr);

/* past_job.c: what one job does */
/** Goes on until it is done or `deadline_ns` has passed. */
void mim_past_job_run(struct mim_server *server, struct mim_past_job *job, uint64_t deadline_ns);

/* follow.c */
/** Begins to push events from `position` on; takes the filter over. MEMORY. */
MIM_CHECKED int mim_follow_begin(struct mim_session *session, mim_position_t position,
                                 const struct mim_event_filter *filter, struct mim_error *reterr);
void mim_follow_turn(struct mim_server *server, bool gate_moved, uint64_t deadline_ns);
void mim_follow_tick(struct mim_server *server);

#endif
