// SPDX-License-Identifier: MIT
// A model, checked and compiled once at start: name lookups, codec plans, the layout fingerprint. Immutable after
// mim_compiled_new; borrowed by engine, server and tools. Owns nothing of the model itself (static for the process).
#ifndef MIM_MODEL_COMPILED_H
#define MIM_MODEL_COMPILED_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "memimage/model.h"

struct mim_compiled_event {
    const struct mim_event_type *type; /* NULL for a retired one */
    const struct mim_retired_event_type *retired;
    uint16_t aggregate;    /* index in the model */
    uint16_t index;        /* dense over all events of all aggregates (retired behind, in the same numbering) */
    const char *full_name; /* "account.Deposited", owned by the compiled model */
    uint32_t projection_count;
    bool ordered; /* to one that listens, the order of events of different aggregates has a meaning */
    const struct mim_compiled_projection_on *projections; /* who listens */
    uint64_t borrowing; /* a bit per field that borrows memory: strings, bytes, lists */
    uint32_t gap_count;
    const struct mim_compiled_gap
        *gaps; /* bytes of the struct that no field describes: not stored, so zero to evolve */
    void (*evolve)(struct mim_evolution *e, void *state, const void *event); /* the type's; NULL for a retired one */
    int32_t in_place; /* bytes of leading 8-byte fields that stand in the struct as in a payload; -1: a retired one */
    uint32_t blank;   /* where in `blanks` a struct with every field missing stands */
};

struct mim_compiled_gap {
    uint32_t offset;
    uint32_t size;
};

struct mim_compiled_projection_on {
    uint16_t projection; /* index in the model */
    void (*project)(struct mim_evolution *e, void *projection, const void *aggregate, const void *event);
};

struct mim_compiled_command {
    const struct mim_command_type *type;
    struct mim_slice name;
    uint16_t aggregate;
    uint16_t index; /* dense over all commands of all aggregates */
};

struct mim_compiled {
    const struct mim_model *model;
    uint64_t fingerprint; /* of the state layout: see mim_compiled_new */
    uint32_t event_count; /* of today and retired */
    uint32_t command_count;
    struct mim_compiled_event *events;
    struct mim_compiled_command *commands;
    struct mim_slice aggregate_names[MIM_AGGREGATE_TYPES_MAX];
    uint32_t first_event[MIM_AGGREGATE_TYPES_MAX]; /* index of an aggregate's first event / command */
    uint32_t first_command[MIM_AGGREGATE_TYPES_MAX];
    uint32_t slot_size
        [MIM_AGGREGATE_TYPES_MAX]; /* slot header (24 bytes) + state, rounded up to 8; 64 at most shares a line */
    uint8_t *blanks;               /* of all events, 8-aligned each */
    uint32_t blanks_size;
    uint32_t event_struct_size_max;
    uint32_t command_struct_size_max;
    void *storage; /* owned memory behind the arrays */
};

/** Checks descriptors (names: [A-Za-z][A-Za-z0-9_]*, sizes, offsets within the struct and aligned, no overlap, no
 *  duplicate names, types allowed in that place, min <= max, functions present, counts within limits, ABI) and
 *  compiles. MODEL with a sentence that names aggregate, table and field. The fingerprint covers model name and version,
 *  sizes, and name/type/offset/flags of every state field, projections' names and sizes, fallbacks of event fields that
 *  are not 0, and the image format. */
MIM_CHECKED int mim_compiled_new(const struct mim_model *model, struct mim_compiled **ret_compiled,
                                 struct mim_error *reterr);
struct mim_compiled *mim_compiled_free(struct mim_compiled *compiled);

/** Lookups by name; -1 / NULL when unknown. Few entries: a length-and-memcmp scan that stays in cache. */
int mim_compiled_aggregate(const struct mim_compiled *compiled, struct mim_slice name);
const struct mim_compiled_command *mim_compiled_command(const struct mim_compiled *compiled, unsigned aggregate,
                                                        struct mim_slice name);
/** By name and schema version; version 0: the highest version there is. Finds retired ones too. */
const struct mim_compiled_event *mim_compiled_event(const struct mim_compiled *compiled, unsigned aggregate,
                                                    struct mim_slice name, uint32_t version);
/** An event of today by its descriptor's place in the model's table: no scan over events. NULL: not one of the model, or of
 *  the aggregate type. */
const struct mim_compiled_event *mim_compiled_event_in(const struct mim_compiled *compiled, unsigned aggregate,
                                                       const struct mim_event_type *type);
const struct mim_compiled_event *mim_compiled_event_of(const struct mim_compiled *compiled,
                                                       const struct mim_event_type *type);
const struct mim_query_type *mim_compiled_query(const struct mim_compiled *compiled, unsigned aggregate,
                                                struct mim_slice name);
int mim_compiled_projection_of(const struct mim_compiled *compiled, const struct mim_projection_type *type);
int mim_compiled_aggregate_of(const struct mim_compiled *compiled, const struct mim_aggregate_type *type);

/** Loads a shared object by path (contains '/' or ends in .so) with dlopen and returns its model. The object stays loaded.
 *  (load_posix.c) USAGE with the loader's message. */
MIM_CHECKED int mim_model_load(const char *path, const struct mim_model **ret_model, struct mim_error *reterr);
/** Loads a second copy of the same file: other addresses of its code and constants, its own static memory. USAGE. */
MIM_CHECKED int mim_model_load_again(const char *path, const struct mim_model **ret_model, struct mim_error *reterr);

#endif
