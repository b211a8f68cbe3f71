// SPDX-License-Identifier: MIT
/**
 * memimage/model.h — what the author of a model sees, and all of it.
 *
 * A model is your domain: aggregate types, their commands, events, queries and projections. You write plain
 * structs, one descriptor table for each (name, type, offset, per field), and small functions:
 *
 *     decide  command x state -> events, or a rejection.  May read any aggregate; runs once.
 *     evolve  state x event  -> state.                    Pure and deterministic; runs again at every replay.
 *     project projection x event -> projection.           As evolve, over the events of many streams.
 *     query   image -> JSON.                              Reads only.
 *
 * From the descriptors come the RESP and JSON codecs, the journaled schema, SCHEMA, the layout fingerprint and
 * the checks at start. Build a model as a shared object (see MIM_MODEL_EXPORT) or link it in.
 *
 * Rules, with what happens when they are broken
 * - evolve and project use no clock, no randomness, no I/O, no globals, no pointer values: what they need is in the
 *   event. A broken rule shows as a digest that differs between a server and its replay; the server says so
 *   loudly and discards the snapshot, and a standby stops serving.
 * - evolve cannot fail: what may not happen is rejected in decide. Money is i64 minor units; check overflow with
 *   __builtin_add_overflow in decide.
 * - State structs are plain memory in the image: integers, bool, double, struct mim_text, mim_vec, mim_map, mim_omap
 *   and nothing else. No pointers. A state starts as zeros. States are moved by nobody; pointers into the image are
 *   valid until the function returns, pointers into containers until the container changes.
 * - Command and event structs borrow their strings: valid until the function returns. What no field of an event's table
 *   describes is not stored: evolve finds zeros there, live and at replay.
 * - Lifetime of descriptors: static, for the life of the process.
 *
 * Threads: every function of a model is called from one thread at a time, never re-entered.
 */
#ifndef MEMIMAGE_MODEL_H
#define MEMIMAGE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MIM_MODEL_ABI 1u
#define MIM_PUBLIC    __attribute__((visibility("default")))

/* ------------------------------------------------------------------ values */

/** A borrowed string (UTF-8) or bytes. data NULL: absent (an optional field that was not given). */
struct mim_string {
    const char *data;
    size_t size;
};

/** A borrowed list: items are bool, int32_t, int64_t, uint64_t, double or struct mim_string, by the field's type. */
struct mim_list {
    const void *items;
    size_t count;
};

/** A string in the image: 8 bytes, up to 7 bytes of text inline. All zeros: empty. Never copy by assignment. */
struct mim_text {
    uint64_t bits;
};

/** A vector in the image. All zeros: empty. Elements of one size, zeroed when pushed. */
struct mim_vec {
    uint64_t ref;
    uint32_t count;
    uint32_t capacity;
};

/** A hash map in the image: text -> value of one size. All zeros: empty. Small maps are small. */
struct mim_map {
    uint64_t ref;
};

struct mim_omap_key {
    int64_t major;
    uint64_t minor;
};

/** An ordered map in the image: {i64, u64} -> u64, ascending. All zeros: empty. */
struct mim_omap {
    uint64_t ref;
    uint64_t count;
};

/* ------------------------------------------------------------- descriptors */

/** Field types. In command and event structs: bool, int32_t, int64_t, uint64_t, double, struct mim_string (STRING and
 *  BYTES), int64_t Unix milliseconds (TIMESTAMP); with MIM_LIST: struct mim_list. In state structs the same, but
 *  STRING and BYTES are struct mim_text, with MIM_LIST struct mim_vec (of the scalar, or of struct mim_text), and
 *  MIM_COUNTS is a struct mim_map with int64_t values, shown as a JSON object. */
enum mim_field_type {
    MIM_BOOL = 1,
    MIM_I32,
    MIM_I64,
    MIM_U64, /* a command as JSON takes at most 2^63-1, as field and value all */
    MIM_F64,
    MIM_STRING,
    MIM_BYTES,     /* base64 in JSON, raw in RESP */
    MIM_TIMESTAMP, /* RFC 3339 in JSON; RFC 3339 or Unix ms as input */
    MIM_COUNTS,    /* states only */
};

enum mim_field_flags {
    MIM_OPTIONAL = 1, /* may be missing: then `fallback` (integers), or absent */
    MIM_LIST = 2,     /* a list of the type; RESP: a JSON array, or the field repeated */
    MIM_LETTERS = 4,  /* a string of ASCII letters only */
    MIM_ID = 8,       /* a string that is a valid aggregate id */
    MIM_HIDDEN = 16,  /* states: neither in JSON nor in the digest (a derived value) */
};

/** One field. min and max bound integers by value and strings by bytes; both 0: no bound. */
struct mim_field {
    const char *name;
    enum mim_field_type type;
    uint32_t offset;
    uint32_t flags;
    int64_t min;
    int64_t max;
    int64_t fallback;
    const char *was; /* events: an earlier name of the same field, NULL for none */
};

/** MIM_FIELD(struct deposit, amount, MIM_I64, .min = 1, .max = INT64_MAX) */
#ifdef __cplusplus /* designators stand in the order of the members */
#define MIM_FIELD(structure, member, field_type, ...) \
    { .name = #member, .type = (field_type), .offset = (uint32_t)offsetof(structure, member), __VA_ARGS__ }
#else
#define MIM_FIELD(structure, member, ...) \
    { .name = #member, .offset = (uint32_t)offsetof(structure, member), .type = __VA_ARGS__ }
#endif
#define MIM_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
/** MIM_FIELDS(table): the two members `fields` and `field_count`. */
#define MIM_FIELDS(table) .fields = (table), .field_count = (uint32_t)MIM_COUNT_OF(table)
/** Likewise the tables of an aggregate type. */
#define MIM_COMMANDS(table) .commands = (table), .command_count = (uint32_t)MIM_COUNT_OF(table)
#define MIM_EVENTS(table)   .events = (table), .event_count = (uint32_t)MIM_COUNT_OF(table)
#define MIM_RETIRED(table)  .retired = (table), .retired_count = (uint32_t)MIM_COUNT_OF(table)
#define MIM_QUERIES(table)  .queries = (table), .query_count = (uint32_t)MIM_COUNT_OF(table)

struct mim_decision;  /* one command being decided */
struct mim_evolution; /* one event being applied */
struct mim_query;     /* one query being answered */
struct mim_upcasting; /* one old event being read */
struct mim_json;      /* a JSON document being written */

/** Result of decide: return mim_accept() or mim_reject(...). */
typedef int mim_verdict_t;

struct mim_command_type {
    const char *name; /* imperative: "Deposit" */
    uint32_t size;    /* sizeof the command struct */
    uint32_t field_count;
    const struct mim_field *fields;
    /** state: NULL when the aggregate does not exist yet. Emit events with mim_emit, or reject. */
    mim_verdict_t (*decide)(struct mim_decision *d, const void *state, const void *command);
    const char *doc; /* one sentence, shown by SCHEMA */
};

struct mim_event_type {
    const char *name; /* past tense: "Deposited"; the full type is "account.Deposited" */
    uint32_t version; /* schema version, 1 or more */
    uint32_t size;    /* sizeof the event struct */
    uint32_t field_count;
    const struct mim_field *fields; /* append only; a field missing in an old event reads as its fallback or absent */
    void (*evolve)(struct mim_evolution *e, void *state, const void *event);
    /** Optional: who may see it. Writes up to `capacity` entries ("users:7"), returns how many there are. Called once,
     *  after evolve; the answer is journaled with the event and shown as the CloudEvent extension `audience`, entries
     *  with commas between them: no commas within. */
    size_t (*audience)(const void *state, const void *event, struct mim_string *ret_entries, size_t capacity);
    const char *doc;
};

/** An event type as old journals have it, that the model no longer emits. */
struct mim_retired_event_type {
    const char *name;
    uint32_t version;
    uint32_t size;
    uint32_t field_count;
    const struct mim_field *fields;
    /** Calls mim_upcast_emit once for every event of today that it stands for (one, or several for a split). */
    void (*upcast)(struct mim_upcasting *u, const void *old);
};

struct mim_query_type {
    const char *name;
    const char *usage; /* "CURRENCY n" */
    uint32_t arguments_min;
    uint32_t arguments_max;
    /** Writes one JSON value to mim_query_json(q); returns 0, or mim_query_fail(...). */
    int (*query)(struct mim_query *q, const struct mim_string *arguments, size_t count);
    const char *doc;
};

struct mim_aggregate_type {
    const char *name;    /* "account" */
    uint32_t state_size; /* sizeof the state struct */
    uint32_t field_count;
    const struct mim_field *fields; /* of the state: what JSON and the digest show */
    const struct mim_command_type *commands;
    const struct mim_event_type *events;
    const struct mim_retired_event_type *retired;
    const struct mim_query_type *queries;
    uint32_t command_count;
    uint32_t event_count;
    uint32_t retired_count;
    uint32_t query_count;
};

/** One event type a projection listens to. */
struct mim_projection_on {
    const struct mim_event_type *event;
    /** aggregate: the state of the event's aggregate after evolve. */
    void (*project)(struct mim_evolution *e, void *projection, const void *aggregate, const void *event);
};

/** Flag of a projection: what it makes of events of different aggregates does not depend on which of them came first, as
 *  with sums, counts and maxima. A replay need not keep the order among them then, and takes events of one type together,
 *  which is faster where types alternate. An aggregate's own events, and the first ones of all aggregates, come in their
 *  order always. */
#define MIM_COMMUTES 1u

struct mim_projection_type {
    const char *name;
    uint32_t state_size;
    uint16_t on_count;
    uint16_t flags; /* 0 or MIM_COMMUTES */
    const struct mim_projection_on *on;
    /** Optional: a layout-independent number of the projection's content, part of the digest. */
    uint64_t (*digest)(const struct mim_query *q, const void *projection);
};

struct mim_model {
    uint32_t abi;     /* MIM_MODEL_ABI */
    uint32_t version; /* the model's own; any change of it gives a new layout fingerprint */
    const char *name;
    const struct mim_aggregate_type *aggregates;
    const struct mim_projection_type *projections;
    uint32_t aggregate_count;
    uint32_t projection_count;
};

/** In a shared object: MIM_MODEL_EXPORT(my_model) makes it loadable by --model FILE.so. */
#define MIM_MODEL_EXPORT(model_object)                        \
    MIM_PUBLIC const struct mim_model *mim_model_entry(void); \
    MIM_PUBLIC const struct mim_model *mim_model_entry(void) { return &(model_object); }

/* ------------------------------------------------------------------ decide */

/** The command is accepted with what was emitted (nothing emitted is fine too). */
#define mim_accept() 0

/** Rejects with a code ("INSUFFICIENT_FUNDS") and a sentence. Emitted events are dropped. `return mim_reject(...)`. */
MIM_PUBLIC mim_verdict_t mim_reject(struct mim_decision *d, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Emits an event on the command's own stream: returns its zeroed struct to fill in before decide returns.
 *  Never NULL (at most 256 events a transaction: the command is refused beyond, the struct is scratch then).
 *  Its strings and lists may borrow the command, the image and static memory, or what mim_decision_alloc gave: they
 *  are stored after decide has returned, so a local buffer is too short-lived. */
MIM_PUBLIC void *mim_emit(struct mim_decision *d, const struct mim_event_type *event);

/** The same on the stream type/id, which may be new (the id is copied). One transaction: all or nothing. */
MIM_PUBLIC void *mim_emit_to(struct mim_decision *d, const struct mim_aggregate_type *type, struct mim_string id,
                             const struct mim_event_type *event);

/** Zeroed memory, 8-aligned, for strings and lists of emitted events; it lives until they are stored. NULL beyond what
 *  one transaction may take (2 MiB at least). */
MIM_PUBLIC void *mim_decision_alloc(struct mim_decision *d, size_t size);

/** The state of any aggregate, NULL when it does not exist. Borrowed until decide returns. */
MIM_PUBLIC const void *mim_read(struct mim_decision *d, const struct mim_aggregate_type *type, struct mim_string id);

/** A projection's state. Borrowed until decide returns. */
MIM_PUBLIC const void *mim_read_projection(struct mim_decision *d, const struct mim_projection_type *projection);

/** The id of the command's aggregate; its version (0: new); the time its events will carry (Unix ms); the position
 *  its first event will have (make ids from it); who sent it (@by; data NULL when not said). */
MIM_PUBLIC struct mim_string mim_decision_id(const struct mim_decision *d);
MIM_PUBLIC uint32_t mim_decision_version(const struct mim_decision *d);
MIM_PUBLIC int64_t mim_decision_time_ms(const struct mim_decision *d);
MIM_PUBLIC uint64_t mim_decision_position(const struct mim_decision *d);
MIM_PUBLIC struct mim_string mim_decision_actor(const struct mim_decision *d);

/* Reading what is in the image, from decide (host = mim_decision_host(d)), query and evolve alike. */
struct mim_host;
MIM_PUBLIC const struct mim_host *mim_decision_host(const struct mim_decision *d);
MIM_PUBLIC const struct mim_host *mim_query_host(const struct mim_query *q);
MIM_PUBLIC const struct mim_host *mim_evolution_host(const struct mim_evolution *e);
MIM_PUBLIC struct mim_string mim_text_get(const struct mim_host *host, const struct mim_text *text);
MIM_PUBLIC const void *mim_vec_at(const struct mim_host *host, const struct mim_vec *vec, uint32_t element_size,
                                  uint32_t n); /* NULL beyond the end */
/** All elements, one behind the other, until the vector is changed; NULL when there are none. For loops. */
MIM_PUBLIC const void *mim_vec_items(const struct mim_host *host, const struct mim_vec *vec);
MIM_PUBLIC const void *mim_map_find(const struct mim_host *host, const struct mim_map *map, struct mim_string key);
MIM_PUBLIC uint64_t mim_map_count(const struct mim_host *host, const struct mim_map *map);
MIM_PUBLIC const void *mim_map_at(const struct mim_host *host, const struct mim_map *map, uint64_t n,
                                  struct mim_string *ret_key);
MIM_PUBLIC bool mim_omap_find(const struct mim_host *host, const struct mim_omap *omap, struct mim_omap_key key,
                              uint64_t *ret_value);
/** First entry with key >= from, or with `descending` the last with key <= from; false when there is none. */
MIM_PUBLIC bool mim_omap_seek(const struct mim_host *host, const struct mim_omap *omap, struct mim_omap_key from,
                              bool descending, struct mim_omap_key *ret_key, uint64_t *ret_value);

/* ------------------------------------------------------------------ evolve */

/** Facts of the event being applied: position, time (Unix ms), its aggregate's dense number and id, the aggregate's
 *  version after it, and in evolve and project only: changes of containers. Memory cannot run out here. */
struct mim_evolution_front { /* how every mim_evolution begins: for the inline functions here alone */
    unsigned char *image;
    uint32_t number;
};
MIM_PUBLIC uint64_t mim_evolution_position(const struct mim_evolution *e);
MIM_PUBLIC int64_t mim_evolution_time_ms(const struct mim_evolution *e);
static inline uint32_t mim_evolution_number(const struct mim_evolution *e) {
    return ((const struct mim_evolution_front *)(const void *)e)->number;
}
MIM_PUBLIC uint32_t mim_evolution_version(const struct mim_evolution *e);
MIM_PUBLIC struct mim_string mim_evolution_id(const struct mim_evolution *e);

MIM_PUBLIC void mim_text_set(struct mim_evolution *e, struct mim_text *text, struct mim_string value);
MIM_PUBLIC void *mim_vec_push(struct mim_evolution *e, struct mim_vec *vec, uint32_t element_size);
MIM_PUBLIC void *mim_vec_edit(struct mim_evolution *e, struct mim_vec *vec, uint32_t element_size, uint32_t n);
/** As mim_vec_items, to be changed in place: inline, for what every event does. */
static inline void *mim_vec_edit_items(struct mim_evolution *e, struct mim_vec *vec) {
    const struct mim_evolution_front *front = (const struct mim_evolution_front *)(const void *)e;
    return vec->count == 0 ? (void *)0 : front->image + vec->ref;
}
MIM_PUBLIC void mim_vec_resize(struct mim_evolution *e, struct mim_vec *vec, uint32_t element_size, uint32_t count);
MIM_PUBLIC void mim_vec_remove(struct mim_evolution *e, struct mim_vec *vec, uint32_t element_size, uint32_t n);
MIM_PUBLIC void mim_vec_clear(struct mim_evolution *e, struct mim_vec *vec, uint32_t element_size);
/** Finds or makes the entry; the value is zeroed when new. value_size is the same at every call on one map. */
MIM_PUBLIC void *mim_map_put(struct mim_evolution *e, struct mim_map *map, uint32_t value_size, struct mim_string key);
MIM_PUBLIC bool mim_map_remove(struct mim_evolution *e, struct mim_map *map, struct mim_string key);
MIM_PUBLIC void mim_map_clear(struct mim_evolution *e, struct mim_map *map);
MIM_PUBLIC void mim_omap_put(struct mim_evolution *e, struct mim_omap *omap, struct mim_omap_key key, uint64_t value);
MIM_PUBLIC bool mim_omap_remove(struct mim_evolution *e, struct mim_omap *omap, struct mim_omap_key key);
MIM_PUBLIC void mim_omap_clear(struct mim_evolution *e, struct mim_omap *omap);

/** In upcast: the zeroed struct of an event of today, applied when upcast returns, in order of the calls. */
MIM_PUBLIC void *mim_upcast_emit(struct mim_upcasting *u, const struct mim_event_type *event);

/* ------------------------------------------------------------------- query */

MIM_PUBLIC struct mim_json *mim_query_json(struct mim_query *q);
/** Fails the query with BADARG and a sentence. `return mim_query_fail(...)`. */
MIM_PUBLIC int mim_query_fail(struct mim_query *q, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** How many aggregates of a type there are; the n-th in order of creation (id and version may be NULL). */
MIM_PUBLIC uint64_t mim_query_count(const struct mim_query *q, const struct mim_aggregate_type *type);
MIM_PUBLIC const void *mim_query_at(const struct mim_query *q, const struct mim_aggregate_type *type, uint64_t n,
                                    struct mim_string *ret_id, uint32_t *ret_version);
MIM_PUBLIC const void *mim_query_find(const struct mim_query *q, const struct mim_aggregate_type *type,
                                      struct mim_string id);
MIM_PUBLIC const void *mim_query_projection(const struct mim_query *q, const struct mim_projection_type *projection);
/** Parses a decimal argument within [min, max]; false when it is not one. */
MIM_PUBLIC bool mim_parse_i64(struct mim_string text, int64_t min, int64_t max, int64_t *ret_value);

/* JSON is written in document order; keys and values alternate inside objects. */
MIM_PUBLIC void mim_json_object(struct mim_json *j);
MIM_PUBLIC void mim_json_object_end(struct mim_json *j);
MIM_PUBLIC void mim_json_array(struct mim_json *j);
MIM_PUBLIC void mim_json_array_end(struct mim_json *j);
MIM_PUBLIC void mim_json_key(struct mim_json *j, const char *key);
MIM_PUBLIC void mim_json_key_string(struct mim_json *j, struct mim_string key);
MIM_PUBLIC void mim_json_i64(struct mim_json *j, int64_t value);
MIM_PUBLIC void mim_json_u64(struct mim_json *j, uint64_t value);
MIM_PUBLIC void mim_json_f64(struct mim_json *j, double value);
MIM_PUBLIC void mim_json_bool(struct mim_json *j, bool value);
MIM_PUBLIC void mim_json_null(struct mim_json *j);
MIM_PUBLIC void mim_json_string(struct mim_json *j, struct mim_string value);
/** All shown fields of an aggregate's state as one object: what GET answers. */
MIM_PUBLIC void mim_json_state(struct mim_json *j, const struct mim_query *q, const struct mim_aggregate_type *type,
                               const void *state);

/** A string of a C literal or NUL-terminated text. */
static inline struct mim_string mim_string_of(const char *text) {
    struct mim_string s = {text, 0};
    if (text != NULL) {
        s.size = __builtin_strlen(text);
    }
    return s;
}

#ifdef __cplusplus
}
#endif

#endif
