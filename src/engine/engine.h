// SPDX-License-Identifier: MIT
// The engine: decide -> frame -> evolve, and replay. The only door to a model's state. No sockets, no threads, no
// clock, no files: the server, the tests, the simulator, a standby and an embedding program all drive this.
//
// One file per verb: decide.c (a command against state), transaction.c (events into the open frame and the image),
// evolve.c (what model functions may do), apply.c (a journaled frame into the image), idempotency.c, catalog.c (the
// journal's numbers for types), digest.c, query.c, root.c (what stands in the image).
//
// Gates: everything that was read or written carries a gate LSN: it may be shown to the outside only once
// ring->gate_lsn >= gate. 0 means at once. Values of one frame are equal, so that waiters coalesce.
#ifndef MIM_ENGINE_ENGINE_H
#define MIM_ENGINE_ENGINE_H

#include "image/image.h"
#include "journal/appender.h"
#include "journal/reader.h"
#include "model/codec.h"
#include "model/compiled.h"

struct mim_engine;

struct mim_engine_options {
    const struct mim_compiled *compiled; /* borrowed for the life of the engine */
    uint32_t idempotency_window; /* keys remembered; 0: as the image had it, MIM_IDEMPOTENCY_WINDOW_DEFAULT at first */
    uint64_t memory_limit;       /* bytes of image; 0: none */
    uint64_t reservation;        /* bytes of address space; 0: default */
    bool keep_commands;          /* journal the fields of every command too */
};

/** Makes an engine over an empty image. MEMORY. */
MIM_CHECKED int mim_engine_new(const struct mim_engine_options *options, struct mim_engine **ret_engine,
                               struct mim_error *reterr);
/** Makes an engine over a restored image; takes the arena over (also on failure). MODEL when the layout fingerprint
 *  differs, FORMAT when the root is not one, MEMORY when a window of keys of another size finds no room. */
MIM_CHECKED int mim_engine_restore(const struct mim_engine_options *options, struct mim_arena *arena,
                                   struct mim_engine **ret_engine, struct mim_error *reterr);
struct mim_engine *mim_engine_free(struct mim_engine *engine);

/** Where the image stands: it is the fold of the journal up to here. */
struct mim_engine_point {
    struct mim_history history; /* zeros until a journal is known */
    mim_position_t position;
    mim_lsn_t lsn; /* end of the last frame applied (replay); commands do not move it */
    uint64_t chain;
    mim_epoch_t epoch;
    int64_t time_ms;
};
void mim_engine_point(const struct mim_engine *engine, struct mim_engine_point *ret_point);
/** A primary has become a standby: what its commands have appended counts as applied from now on. False: not all of it
 *  is written yet, try again. */
bool mim_engine_commands_applied(struct mim_engine *engine, const struct mim_appender *appender);
void mim_engine_set_history(struct mim_engine *engine, const struct mim_history *history);
const struct mim_compiled *mim_engine_compiled(const struct mim_engine *engine);
struct mim_arena *mim_engine_arena(struct mim_engine *engine);

/* ---------------------------------------------------------------- replay */

/** Applies a verified frame. DAMAGED when records contradict the image (wrong version, unknown number, malformed).
 *  An event type that the model does not know makes the engine unreadable: it goes on only collecting definitions, and
 *  mim_engine_missing tells them all. Allocates nothing on the heap, makes no system call. */
MIM_CHECKED int mim_engine_apply(struct mim_engine *engine, const struct mim_frame *frame, struct mim_error *reterr);
/** NULL, or the list of what the model cannot read, one per line (owned by the engine). */
const char *mim_engine_missing(const struct mim_engine *engine);

/* -------------------------------------------------------------- commands */

/** Says of a stream whether somebody may read or write it; `permits` NULL: everybody may. */
struct mim_permits {
    bool (*permits)(void *context, struct mim_slice type, struct mim_slice id);
    void *context;
};

/** Splits "type/id" at the first '/'. False: there is none. */
static inline bool mim_address_split(struct mim_slice address, struct mim_slice *ret_type, struct mim_slice *ret_id) {
    const uint8_t *slash = address.size == 0 ? NULL : memchr(address.data, '/', address.size);
    if (MIM_UNLIKELY(slash == NULL)) {
        return false;
    }
    size_t size = (size_t)(slash - address.data);
    *ret_type = mim_slice_of(address.data, size);
    *ret_id = mim_slice_of(slash + 1, address.size - size - 1);
    return true;
}

struct mim_ahead;

struct mim_request {
    struct mim_slice type; /* "account" */
    struct mim_slice id;
    const struct mim_ahead *ahead; /* what was looked up of type and id before, or NULL */
    struct mim_slice command;
    const struct mim_argument *arguments; /* field/value pairs */
    size_t argument_count;
    struct mim_slice json; /* instead of arguments when data is not NULL */
    bool has_expected;
    uint64_t expected_version; /* @if */
    struct mim_slice key;      /* @id; data NULL: none; likewise the next three */
    struct mim_slice correlation;
    struct mim_slice causation;
    struct mim_slice actor;
    int64_t wall_ms;
    struct mim_permits writes; /* asked for every stream of an accepted command: DENIED */
};

/** One of @id, @corr, @cause and @by stands there. */
static inline bool mim_request_has_options(const struct mim_request *request) {
    return ((uintptr_t)request->key.data | (uintptr_t)request->correlation.data | (uintptr_t)request->causation.data |
            (uintptr_t)request->actor.data) != 0;
}

enum mim_outcome_kind {
    MIM_OUTCOME_DONE,  /* accepted: version, position, gate */
    MIM_OUTCOME_AGAIN, /* nothing happened: the journal has no room this moment; try the same again later */
    MIM_OUTCOME_ERR,   /* unknown type or command, malformed id, option too long ... */
    MIM_OUTCOME_BADARG,
    MIM_OUTCOME_CONFLICT,
    MIM_OUTCOME_REJECTED,   /* text begins with the code */
    MIM_OUTCOME_READONLY,   /* the disk is full */
    MIM_OUTCOME_OVERLOADED, /* the memory limit is reached */
    MIM_OUTCOME_DENIED      /* the command would write a stream that its sender may not write */
};

struct mim_outcome {
    enum mim_outcome_kind kind;
    mim_version_t version;
    mim_position_t position;
    mim_lsn_t gate;
    bool repeated;  /* answered from the idempotency window */
    char text[320]; /* sentence after the error's prefix */
};

/** Decides and, when accepted, applies and appends one command. Checks in this order: type, id and command known;
 *  idempotency key; fields; expected version; the model's rejections. Does not seal: the caller does at the end of its
 *  batch. Never fails half-way: after AGAIN or any error nothing has happened. */
void mim_engine_execute(struct mim_engine *engine, struct mim_appender *appender, const struct mim_request *request,
                        struct mim_outcome *ret_outcome);

/** Journals an operator's decision, as text, without a position; at most MIM_NOTE_SIZE_MAX bytes. Does not seal. AGAIN,
 *  NO_SPACE, LIMIT. */
MIM_CHECKED int mim_engine_note(struct mim_engine *engine, struct mim_appender *appender, struct mim_slice text,
                                int64_t wall_ms);

/* ------------------------------------------------------------- looking ahead */

/** Several requests are there: what each will touch is fetched into the cache before the first is executed, in three
 *  steps, each for all of them, as each needs what the one before has fetched. Changes nothing; any address will do. What
 *  was found on the way need not be looked for again. */
struct mim_ahead {
    struct mim_slice type; /* of "type/id", borrowed */
    struct mim_slice id;   /* data NULL: it is no address */
    int aggregate;         /* -1: nothing to fetch */
    uint32_t id_hash;
    mim_stream_t stream; /* one of this hash */
};
void mim_engine_ahead_index(const struct mim_engine *engine, struct mim_slice address, struct mim_ahead *ret_ahead);
void mim_engine_ahead_slot(const struct mim_engine *engine, struct mim_ahead *ahead);
void mim_engine_ahead_id(const struct mim_engine *engine, const struct mim_ahead *ahead);
/** True when the stream that was found is the address's: then type and id are good ones, and it is there. */
bool mim_engine_ahead_found(const struct mim_engine *engine, const struct mim_ahead *ahead);

/* --------------------------------------------------------------- reading */

/** Appends the JSON of an aggregate's state. NOT_FOUND: it does not exist (no message); INVALID: unknown type or bad id.
 *  ret_version and ret_gate may be NULL. appender: NULL when nothing is being written (offline, standby). */
MIM_CHECKED int mim_engine_get(struct mim_engine *engine, const struct mim_appender *appender, struct mim_slice type,
                               struct mim_slice id, struct mim_buffer *out, mim_version_t *ret_version,
                               mim_lsn_t *ret_gate, struct mim_error *reterr);
/** The same of an aggregate that is there, by its type's index in the model and its dense number. */
void mim_engine_state(struct mim_engine *engine, const struct mim_appender *appender, unsigned aggregate,
                      mim_stream_t stream, struct mim_buffer *out, mim_version_t *ret_version, mim_lsn_t *ret_gate);
/** Its id, borrowed until the next command; and the gate of its newest event. */
struct mim_slice mim_engine_id(const struct mim_engine *engine, unsigned aggregate, mim_stream_t stream);
mim_lsn_t mim_engine_gate(const struct mim_engine *engine, const struct mim_appender *appender, unsigned aggregate,
                          mim_stream_t stream);
/** Answers a query with one JSON value. INVALID (BADARG; *ret_gate holds for the sentence too when the query itself
 *  failed) or NOT_FOUND (no such query). */
MIM_CHECKED int mim_engine_query(struct mim_engine *engine, const struct mim_appender *appender, struct mim_slice type,
                                 struct mim_slice name, const struct mim_string *arguments, size_t count,
                                 struct mim_buffer *out, mim_lsn_t *ret_gate, struct mim_error *reterr);
/** Gate of everything appended so far. */
mim_lsn_t mim_engine_gate_all(const struct mim_engine *engine, const struct mim_appender *appender);

/** Canonical digest of the state at the present position: independent of layout, insertion history and model build.
 *  Sum over aggregates of the hash of type, id, version and shown fields; projections' digests; the position. The
 *  idempotency window is left out: its size is an operator's choice. Cost: one pass over all slots. */
uint64_t mim_engine_digest(const struct mim_engine *engine);

/* The same digest at one position while commands go on: begin fixes the position; steps of at most `most` aggregates
 * follow in idle time; a command that changes an aggregate not yet scanned pays for hashing it first. One at a time;
 * begin drops an unfinished one. MEMORY: one bit per aggregate is needed meanwhile. */
MIM_CHECKED int mim_engine_scan_begin(struct mim_engine *engine, struct mim_error *reterr);
/** True when it is complete: position and digest are filled in and the scan is over. */
bool mim_engine_scan_step(struct mim_engine *engine, uint64_t most, mim_position_t *ret_position, uint64_t *ret_digest);
void mim_engine_scan_end(struct mim_engine *engine);
bool mim_engine_scanning(const struct mim_engine *engine);

/** Numbers for INFO. */
struct mim_engine_stats {
    uint64_t aggregates;
    uint64_t aggregates_of[MIM_AGGREGATE_TYPES_MAX];
    uint64_t image_used, image_free_lists, image_capacity;
    uint64_t keys, key_window;
    uint64_t commands_done, commands_repeated, commands_rejected, commands_conflicted, commands_badarg;
    uint64_t events;
};
void mim_engine_stats(const struct mim_engine *engine, struct mim_engine_stats *ret_stats);

#endif
