// SPDX-License-Identifier: MIT
// What the engine's files share: the root of the image, the bound model, one decision, one evolution. Included by
// src/engine/*.c only.
#ifndef MIM_ENGINE_INTERNAL_H
#define MIM_ENGINE_INTERNAL_H

#include "base/assert.h"
#include "engine/engine.h"
#include "journal/definition.h"

/* ------------------------------------------------------- in the image (part of the snapshot format) */

/** Head of every aggregate's slot; the model's state follows. 24 bytes. */
struct mim_slot {
    mim_lsn_t last_lsn; /* record of its newest event */
    struct mim_text id;
    mim_version_t version; /* 0: never (a slot is made with its first event) */
    uint32_t skip;         /* 1 + number of its skip node; 0: none yet */
};
_Static_assert(sizeof(struct mim_slot) == 24, "a 40-byte state shares one cache line with its head");

/** LSNs of the newest versions divisible by 64, 64^2 ...: only for streams that long. */
struct mim_skip_node {
    mim_lsn_t lsn[MIM_SKIP_LEVELS];
};

struct mim_aggregate_root {
    struct mim_slots slots;
    struct mim_index index;
};

/** One remembered idempotency key: 128 bits of hash seeded by the history stand for the key. */
struct mim_key_entry {
    struct mim_hash128_bits {
        uint64_t low;
        uint64_t high;
    } hash;
    mim_position_t position;
    mim_version_t version;
    uint32_t reserved;
};

/** One journaled definition, as its payload stands in the journal. */
struct mim_catalog_entry {
    struct mim_text payload;
};

#define MIM_ROOT_MAGIC 0x31304f4f524d494dull /* "MIMROO01" */

struct mim_root {
    uint64_t magic;
    uint64_t fingerprint;
    struct mim_history history;
    mim_position_t position;
    mim_lsn_t lsn;
    uint64_t chain;
    int64_t time_ms;
    mim_epoch_t epoch;
    uint32_t aggregate_count;
    uint32_t projection_count;
    uint32_t key_window;
    uint64_t key_next; /* entry that the next key takes */
    struct mim_slots keys;
    struct mim_index key_index;
    struct mim_slots skips;
    struct mim_slots catalog;
    struct mim_ref aggregates; /* struct mim_aggregate_root[aggregate_count] */
    struct mim_ref projections[MIM_PROJECTIONS_MAX];
};

/* ------------------------------------------------------------------------------ in the process */

struct mim_host {
    struct mim_engine *engine;
    struct mim_arena *arena;
};

/** Kinds of events that a replay tells apart to apply them one kind after the other. The last one is that of all events
 *  whose order has a meaning to some projection. */
#define MIM_KINDS        8u
#define MIM_KIND_ORDERED (MIM_KINDS - 1u)

/** What a journal number of an event type means for this model. */
struct mim_bound_event {
    const struct mim_compiled_event *event; /* NULL: unknown to the model */
    const struct mim_slots *slots;          /* of its aggregate's type */
    const struct mim_field *fields;
    uint32_t field_count;
    bool defined;
    uint8_t kind; /* events of different kinds are of different types, nearly always */
    /* Payloads that are only copied: those of the leading fields that stand in the struct as in a payload. */
    uint32_t copied_below;     /* sizes below it; 0: none */
    uint8_t *data;             /* the struct: its other fields always missing */
    const uint8_t *copied_end; /* of what is copied there */
    const uint8_t *missing;    /* the struct with every field missing */
};

struct mim_pending_event {
    const struct mim_compiled_event *event;
    struct mim_string id; /* data NULL: the command's own aggregate */
    void *data;
};

struct mim_evolution {
    struct mim_evolution_front front; /* first: see memimage/model.h */
    struct mim_host host;
    struct mim_slot *slot;
    mim_position_t position;
    int64_t time_ms;
};

struct mim_upcasting {
    struct mim_engine *engine;
    const struct mim_aggregate_type *type;
    struct mim_pending_event events[MIM_EVENTS_PER_TX_MAX];
    uint32_t count;
};

struct mim_decision {
    struct mim_host host;
    struct mim_appender *appender;
    const struct mim_request *request;
    const struct mim_compiled_command *command;
    struct mim_slot *slot; /* NULL: new */
    mim_stream_t stream;
    uint32_t id_hash;
    int64_t time_ms;
    mim_lsn_t read_gate; /* of everything that was read */
    bool too_much;       /* more events or bytes than a transaction may have */
    uint32_t count;
    struct mim_pending_event events[MIM_EVENTS_PER_TX_MAX];
    char rejection[320];
};

struct mim_digest_scan;
struct mim_observer;

struct mim_engine {
    struct mim_host host;
    struct mim_arena arena;
    struct mim_root *root;
    struct mim_aggregate_root *aggregates;
    const struct mim_compiled *compiled;
    bool keep_commands;
    bool unreadable;
    bool out_of_memory;
    mim_lsn_t last_gate;           /* of the newest commit */
    struct mim_bound_event *bound; /* by journal number of the event type */
    uint16_t *aggregate_numbers;   /* journal numbers by index in the model; 0: not journaled yet */
    uint16_t *event_numbers;       /* by compiled index */
    uint16_t *command_numbers;
    uint16_t next_aggregate_number;
    uint16_t next_event_number;
    uint16_t next_command_number;
    int aggregate_of_number[MIM_AGGREGATE_TYPES_MAX + 1]; /* index in the model; -1: unknown; -2: not defined */
    char *missing;                                        /* heap; NULL while readable */
    uint8_t *command_struct;
    uint8_t *event_struct; /* decoded event of replay */
    uint8_t
        *event_blanks; /* the same for events decoded by a copy: a struct per type, its other fields always missing */
    uint8_t *scratch;  /* MIM_TX_SCRATCH_SIZE: emitted events, decoded lists */
    size_t scratch_used;
    struct mim_buffer command_json;
    struct mim_decision *decision;
    struct mim_upcasting *upcasting;
    const struct mim_observer *observer; /* of replay; NULL: nobody */
    struct mim_digest_scan *scan;        /* a live digest in progress; NULL: none */
    struct mim_engine_stats stats;
};

/* root.c */
static inline struct mim_slot *mim_engine_slot(const struct mim_engine *engine, unsigned aggregate, uint64_t n) {
    return mim_slots_at(&engine->arena, &engine->aggregates[aggregate].slots, n);
}
static inline void *mim_slot_state(struct mim_slot *slot) { return slot + 1; }
static inline uint64_t mim_engine_seed(const struct mim_engine *engine) {
    return mim_get64(engine->root->history.uuid);
}
uint32_t mim_engine_id_hash(const struct mim_engine *engine, struct mim_slice id);
/** Finds an aggregate by id; NULL when it does not exist. */
struct mim_slot *mim_engine_find(const struct mim_engine *engine, unsigned aggregate, struct mim_slice id,
                                 uint32_t id_hash, mim_stream_t *ret_stream);
/** Makes slot and index entry of a new aggregate; NULL when out of memory. */
struct mim_slot *mim_engine_create(struct mim_engine *engine, unsigned aggregate, struct mim_slice id, uint32_t id_hash,
                                   mim_stream_t *ret_stream);
/** True when the next command surely finds the memory it may need. */
bool mim_engine_has_headroom(const struct mim_engine *engine);
/** Gate of a record already in the image. */
mim_lsn_t mim_engine_gate_of(const struct mim_appender *appender, mim_lsn_t record_lsn);
/** Takes aligned, zeroed memory from the engine's scratch; NULL when there is no more. */
void *mim_engine_scratch(struct mim_engine *engine, size_t size);

/* evolve.c */
/** Applies one event (today's, or a retired one by its upcaster) to the slot's state and the projections. Zeroes what no
 *  field of `data` describes. */
void mim_engine_evolve(struct mim_engine *engine, const struct mim_compiled_event *event, struct mim_slot *slot,
                       mim_stream_t number, mim_position_t position, int64_t time_ms, void *data);
/** Keeps the LSN of a version divisible by 64 in the stream's skip node. False: no memory. */
bool mim_engine_skip(struct mim_engine *engine, struct mim_slot *slot, mim_lsn_t lsn);
/** Moves version, LSNs and skip node of a stream to a new event. False: no memory for the skip node. */
static inline bool mim_engine_advance(struct mim_engine *engine, struct mim_slot *slot, mim_lsn_t lsn) {
    slot->version++;
    slot->last_lsn = lsn;
    return MIM_LIKELY(slot->version % MIM_SKIP_BASE != 0) || mim_engine_skip(engine, slot, lsn);
}
/** Applies an event of today to the state and the projections. */
static inline void mim_engine_evolve_today(struct mim_engine *engine, struct mim_evolution *evolution,
                                           const struct mim_compiled_event *event, const void *data) {
    void *state = mim_slot_state(evolution->slot);
    event->evolve(evolution, state, data);
    const struct mim_compiled_projection_on *end = event->projections + event->projection_count;
    for (const struct mim_compiled_projection_on *on = event->projections; on < end; on++) {
        void *projection = mim_arena_at(&engine->arena, engine->root->projections[on->projection]);
        on->project(evolution, projection, state, data);
    }
}

/* catalog.c */
/** Takes a definition in from the journal (payload kept in the image). */
MIM_CHECKED int mim_catalog_apply(struct mim_engine *engine, struct mim_slice payload, bool keep,
                                  struct mim_error *reterr);
/** Rebinds everything that the image's catalog holds (after restore). */
MIM_CHECKED int mim_catalog_rebind(struct mim_engine *engine, struct mim_error *reterr);
/** Makes sure event, its aggregate and command are defined in the journal. 0, AGAIN, NO_SPACE, LIMIT. */
int mim_catalog_ensure(struct mim_engine *engine, struct mim_appender *appender, const struct mim_compiled_event *event,
                       int64_t time_ms);
int mim_catalog_ensure_command(struct mim_engine *engine, struct mim_appender *appender,
                               const struct mim_compiled_command *command, int64_t time_ms);

/* idempotency.c */
/** Gives the window another size: the newest keys stay, as many as there are and fit. MEMORY: the image is of no use. */
MIM_CHECKED int mim_keys_resize(struct mim_engine *engine, uint32_t window, struct mim_error *reterr);
const struct mim_key_entry *mim_keys_find(const struct mim_engine *engine, struct mim_slice key);
/** Where remembering a key touches the index: buckets of it and of the key it takes the place of; NULL: none. */
struct mim_key_places {
    const void *comes;
    const void *goes;
};
/** Fetches what remembering this key will touch, `before` other keys being remembered first. */
struct mim_key_places mim_keys_prefetch(const struct mim_engine *engine, struct mim_slice key, uint32_t before);
/** Some time after it: fetches where these places go on. */
void mim_keys_prefetch_chains(const struct mim_engine *engine, const struct mim_key_places *places);
/** Remembers; forgets the oldest beyond the window. */
bool mim_keys_remember(struct mim_engine *engine, struct mim_slice key, mim_version_t version, mim_position_t position);

/* apply.c, for checks only. Told every event that a replay has applied. */
struct mim_observer {
    void (*applied)(void *context, const struct mim_compiled_event *event, mim_stream_t stream);
    void *context;
};
static inline void mim_engine_observe(struct mim_engine *engine, const struct mim_observer *observer) {
    engine->observer = observer;
}

/* digest.c */
/** One aggregate's share of the digest. */
uint64_t mim_engine_slot_digest(const struct mim_engine *engine, unsigned aggregate, struct mim_slot *slot);
/** Counts an aggregate as it is into the live digest before it changes. Call only when engine->scan is set. */
void mim_engine_scan_before(struct mim_engine *engine, unsigned aggregate, uint64_t number, struct mim_slot *slot);

/* query.c */
/** Sum of the projections' own digests. */
uint64_t mim_engine_digest_projections(const struct mim_engine *engine);

/* borrowed.c */
/** Copies what the events' structs borrow from the image into the scratch, because applying an event may change it under
 *  those behind it; returns in *ret_borrowed how many bytes of a journal they borrow. False: too much for a transaction. */
bool mim_transaction_own(struct mim_engine *engine, struct mim_decision *decision, size_t *ret_borrowed);

/* transaction.c */
/** Appends and applies the decision's events. Fills in the outcome. */
void mim_transaction_run(struct mim_engine *engine, struct mim_decision *decision, struct mim_outcome *ret_outcome);

#endif
