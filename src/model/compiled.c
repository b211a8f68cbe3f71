// SPDX-License-Identifier: MIT
// A model checked and compiled: dense numbers for events and commands, who listens to what, the layout fingerprint.
#include "model/compiled.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "image/image.h"
#include "model/check.h"
#include "model/field.h"

#define MIM_SLOT_HEAD_SIZE 24u /* the engine's head of every slot */

/* ------------------------------------------------------------- checks */

static int check_commands(const struct mim_aggregate_type *type, struct mim_error *reterr) {
    for (uint32_t i = 0; i < type->command_count; i++) {
        const struct mim_command_type *command = &type->commands[i];
        char where[2 * MIM_NAME_SIZE_MAX + 32];
        (void)snprintf(where, sizeof(where), "%s command %u", type->name, i + 1);
        struct mim_check_table table = {.where = where,
                                        .kind = "command",
                                        .name = command->name,
                                        .fields = command->fields,
                                        .count = command->field_count,
                                        .size = command->size};
        int rc = mim_check_fields(&table, reterr);
        rc = rc != 0 ? rc : mim_check_missing(where, "decide", command->decide != NULL, reterr);
        for (uint32_t k = 0; rc == 0 && k < i; k++) {
            if (strcmp(type->commands[k].name, command->name) == 0) {
                rc = mim_error_set(reterr, MIM_E_MODEL, "%s: command %s stands there twice", type->name, command->name);
            }
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int check_events(const struct mim_aggregate_type *type, struct mim_error *reterr) {
    for (uint32_t i = 0; i < type->event_count; i++) {
        const struct mim_event_type *event = &type->events[i];
        char where[2 * MIM_NAME_SIZE_MAX + 32];
        (void)snprintf(where, sizeof(where), "%s event %u", type->name, i + 1);
        struct mim_check_table table = {.where = where,
                                        .kind = "event",
                                        .name = event->name,
                                        .fields = event->fields,
                                        .count = event->field_count,
                                        .size = event->size};
        int rc = mim_check_fields(&table, reterr);
        rc = rc != 0 ? rc : mim_check_missing(where, "evolve", event->evolve != NULL, reterr);
        rc = rc != 0 ? rc : mim_check_missing(where, "its schema version (1 or more)", event->version > 0, reterr);
        for (uint32_t k = 0; rc == 0 && k < i; k++) {
            if (strcmp(type->events[k].name, event->name) == 0) {
                rc = mim_error_set(reterr, MIM_E_MODEL, "%s: event %s stands there twice", type->name, event->name);
            }
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int check_retired(const struct mim_aggregate_type *type, struct mim_error *reterr) {
    for (uint32_t i = 0; i < type->retired_count; i++) {
        const struct mim_retired_event_type *event = &type->retired[i];
        char where[2 * MIM_NAME_SIZE_MAX + 32];
        (void)snprintf(where, sizeof(where), "%s retired event %u", type->name, i + 1);
        struct mim_check_table table = {.where = where,
                                        .kind = "event",
                                        .name = event->name,
                                        .fields = event->fields,
                                        .count = event->field_count,
                                        .size = event->size};
        int rc = mim_check_fields(&table, reterr);
        rc = rc != 0 ? rc : mim_check_missing(where, "upcast", event->upcast != NULL, reterr);
        rc = rc != 0 ? rc : mim_check_missing(where, "its schema version (1 or more)", event->version > 0, reterr);
        for (uint32_t k = 0; rc == 0 && k < i; k++) {
            if (strcmp(type->retired[k].name, event->name) == 0 && type->retired[k].version == event->version) {
                rc = mim_error_set(reterr, MIM_E_MODEL, "%s: version %u of %s stands there twice", where,
                                   event->version, event->name);
            }
        }
        for (uint32_t k = 0; rc == 0 && k < type->event_count; k++) {
            if (strcmp(type->events[k].name, event->name) == 0 && type->events[k].version == event->version) {
                rc = mim_error_set(reterr, MIM_E_MODEL, "%s: version %u of %s is both of today and retired", where,
                                   event->version, event->name);
            }
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int check_queries(const struct mim_aggregate_type *type, struct mim_error *reterr) {
    for (uint32_t i = 0; i < type->query_count; i++) {
        const struct mim_query_type *query = &type->queries[i];
        struct mim_check_table table = {.where = type->name, .kind = "query", .name = query->name};
        int rc = mim_check_fields(&table, reterr);
        rc = rc != 0 ? rc : mim_check_missing(query->name, "query function", query->query != NULL, reterr);
        if (rc == 0 && query->arguments_min > query->arguments_max) {
            rc = mim_error_set(reterr, MIM_E_MODEL, "query %s: fewer arguments at most than at least", query->name);
        }
        for (uint32_t k = 0; rc == 0 && k < i; k++) {
            if (strcmp(type->queries[k].name, query->name) == 0) {
                rc = mim_error_set(reterr, MIM_E_MODEL, "%s: query %s stands there twice", type->name, query->name);
            }
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/** A table that is counted is there. */
static int check_tables(const struct mim_aggregate_type *type, struct mim_error *reterr) {
    const char *name = type->name;
    int rc =
        mim_check_missing(name, "the table of commands", type->commands != NULL || type->command_count == 0, reterr);
    rc = rc != 0
             ? rc
             : mim_check_missing(name, "the table of events", type->events != NULL || type->event_count == 0, reterr);
    rc = rc != 0 ? rc
                 : mim_check_missing(name, "the table of retired events",
                                     type->retired != NULL || type->retired_count == 0, reterr);
    rc = rc != 0
             ? rc
             : mim_check_missing(name, "the table of queries", type->queries != NULL || type->query_count == 0, reterr);
    if (rc == 0 && ((uint64_t)type->event_count + type->retired_count > MIM_CATALOG_MAX ||
                    type->command_count > MIM_CATALOG_MAX)) {
        rc = mim_error_set(reterr, MIM_E_MODEL, "%s: more than %u events or commands", name, MIM_CATALOG_MAX);
    }
    return rc;
}

static int check_aggregate(const struct mim_model *model, uint32_t n, struct mim_error *reterr) {
    const struct mim_aggregate_type *type = &model->aggregates[n];
    char where[MIM_NAME_SIZE_MAX + 32];
    (void)snprintf(where, sizeof(where), "aggregate %u", n + 1);
    struct mim_check_table table = {.where = where,
                                    .kind = "aggregate",
                                    .name = type->name,
                                    .fields = type->fields,
                                    .count = type->field_count,
                                    .size = type->state_size,
                                    .state = true};
    int rc = mim_check_fields(&table, reterr);
    if (rc == 0 && type->state_size == 0) {
        rc = mim_error_set(reterr, MIM_E_MODEL, "%s: a state has 1 to %u bytes", type->name, MIM_STRUCT_SIZE_MAX);
    }
    for (uint32_t k = 0; rc == 0 && k < n; k++) {
        if (strcmp(model->aggregates[k].name, type->name) == 0) {
            rc = mim_error_set(reterr, MIM_E_MODEL, "aggregate %s stands there twice", type->name);
        }
    }
    rc = rc != 0 ? rc : check_tables(type, reterr);
    rc = rc != 0 ? rc : check_commands(type, reterr);
    rc = rc != 0 ? rc : check_events(type, reterr);
    rc = rc != 0 ? rc : check_retired(type, reterr);
    return rc != 0 ? rc : check_queries(type, reterr);
}

static int check_model(const struct mim_model *model, struct mim_error *reterr) {
    if (model->abi != MIM_MODEL_ABI) {
        return mim_error_set(reterr, MIM_E_MODEL, "the model is built for interface version %u, this program has %u",
                             model->abi, MIM_MODEL_ABI);
    }
    if (model->aggregate_count == 0 || model->aggregate_count > MIM_AGGREGATE_TYPES_MAX ||
        model->projection_count > MIM_PROJECTIONS_MAX) {
        return mim_error_set(reterr, MIM_E_MODEL, "a model has 1 to %u aggregate types and at most %u projections",
                             MIM_AGGREGATE_TYPES_MAX, MIM_PROJECTIONS_MAX);
    }
    struct mim_check_table table = {.where = "model", .kind = "model", .name = model->name};
    int rc = mim_check_fields(&table, reterr);
    if (rc == 0 && model->aggregates == NULL) {
        return mim_error_set(reterr, MIM_E_MODEL, "model: the table of aggregates is missing");
    }
    rc = rc != 0 ? rc
                 : mim_check_missing("model", "the table of projections",
                                     model->projections != NULL || model->projection_count == 0, reterr);
    for (uint32_t i = 0; rc == 0 && i < model->aggregate_count; i++) {
        rc = check_aggregate(model, i, reterr);
    }
    for (uint32_t i = 0; rc == 0 && i < model->projection_count; i++) {
        table.where = "projection";
        table.kind = "projection";
        table.name = model->projections[i].name;
        rc = mim_check_fields(&table, reterr);
        if (rc == 0 && model->projections[i].state_size == 0) {
            rc = mim_error_set(reterr, MIM_E_MODEL, "projection %s: its state has no size", table.name);
        }
        if (rc == 0 && (model->projections[i].flags & ~MIM_COMMUTES) != 0) {
            rc = mim_error_set(reterr, MIM_E_MODEL, "projection %s: unknown flags", table.name);
        }
        bool listens = model->projections[i].on != NULL || model->projections[i].on_count == 0;
        rc = rc != 0 ? rc : mim_check_missing(table.name, "the projection's table of events", listens, reterr);
        for (uint32_t k = 0; rc == 0 && k < i; k++) {
            if (strcmp(model->projections[k].name, table.name) == 0) {
                rc = mim_error_set(reterr, MIM_E_MODEL, "projection %s stands there twice", table.name);
            }
        }
    }
    return rc;
}

/* ------------------------------------------------------------ compiling */

static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

struct counts {
    uint32_t events, commands, listeners, gaps, blank_bytes;
};

static uint32_t round_up8(uint32_t size) { return (size + 7u) & ~7u; }

static struct counts model_counts(const struct mim_model *model) {
    struct counts counts = {0};
    for (uint32_t i = 0; i < model->aggregate_count; i++) {
        for (uint32_t n = 0; n < model->aggregates[i].event_count; n++) {
            counts.blank_bytes += round_up8(model->aggregates[i].events[n].size);
        }
        for (uint32_t n = 0; n < model->aggregates[i].retired_count; n++) {
            counts.blank_bytes += round_up8(model->aggregates[i].retired[n].size);
        }
        counts.events += model->aggregates[i].event_count + model->aggregates[i].retired_count;
        counts.commands += model->aggregates[i].command_count;
        for (uint32_t k = 0; k < model->aggregates[i].event_count; k++) {
            counts.gaps += model->aggregates[i].events[k].field_count + 1; /* one before each field, one behind all */
        }
        for (uint32_t k = 0; k < model->aggregates[i].retired_count; k++) {
            counts.gaps += model->aggregates[i].retired[k].field_count + 1;
        }
    }
    for (uint32_t i = 0; i < model->projection_count; i++) {
        counts.listeners += model->projections[i].on_count;
    }
    return counts;
}

/** Where the arrays of a compiled model lie in its one block of memory. */
struct layout {
    struct mim_compiled_projection_on *listeners;
    struct mim_compiled_gap *gaps;
    char (*names)[2 * MIM_NAME_SIZE_MAX + 2];
};

/** What of an event's struct is described by fields, and which of them borrow. */
static void compile_struct(struct mim_compiled_event *event, struct layout *layout) {
    const struct mim_field *fields = event->type != NULL ? event->type->fields : event->retired->fields;
    uint32_t count = event->type != NULL ? event->type->field_count : event->retired->field_count;
    uint32_t size = event->type != NULL ? event->type->size : event->retired->size;
    event->gaps = layout->gaps;
    for (uint32_t at = 0; at < size;) {
        uint32_t next = size; /* where the nearest field behind `at` begins */
        uint32_t covered = 0; /* bytes of the field that begins here */
        for (uint32_t i = 0; i < count; i++) {
            if (fields[i].offset == at) {
                covered = mim_check_field_size(&fields[i], false);
            } else if (fields[i].offset > at && fields[i].offset < next) {
                next = fields[i].offset;
            }
        }
        if (covered == 0) {
            *layout->gaps++ = (struct mim_compiled_gap){.offset = at, .size = next - at};
            event->gap_count++;
        }
        at = covered == 0 ? next : at + covered;
    }
    for (uint32_t i = 0; i < count; i++) {
        bool borrows = (fields[i].flags & MIM_LIST) != 0 || fields[i].type == MIM_STRING || fields[i].type == MIM_BYTES;
        event->borrowing |= (uint64_t)borrows << i;
    }
}

/** What decoding needs: the default struct, and how much of a payload stands as in the struct. */
static void compile_decoding(struct mim_compiled *compiled, struct mim_compiled_event *event) {
    const struct mim_field *fields = event->type != NULL ? event->type->fields : event->retired->fields;
    uint32_t count = event->type != NULL ? event->type->field_count : event->retired->field_count;
    event->blank = compiled->blanks_size;
    compiled->blanks_size += round_up8(event->type != NULL ? event->type->size : event->retired->size);
    for (uint32_t i = 0; i < count; i++) {
        mim_field_fill_default(&fields[i], mim_field_at(&fields[i], compiled->blanks + event->blank));
    }
    event->in_place = event->type != NULL ? 0 : -1;
    for (uint32_t i = 0; event->type != NULL && i < count; i++) {
        enum mim_field_type type = fields[i].type;
        bool wide = type == MIM_I64 || type == MIM_U64 || type == MIM_F64 || type == MIM_TIMESTAMP;
        if (!wide || (fields[i].flags & MIM_LIST) != 0 || fields[i].offset != i * 8u) {
            break;
        }
        event->in_place += 8;
    }
}

static void compile_event(struct mim_compiled *compiled, struct layout *layout, unsigned aggregate, uint32_t n) {
    const struct mim_aggregate_type *type = &compiled->model->aggregates[aggregate];
    bool retired = n >= type->event_count;
    uint32_t index = compiled->event_count++;
    struct mim_compiled_event *event = &compiled->events[index];
    *event = (struct mim_compiled_event){
        .type = retired ? NULL : &type->events[n],
        .retired = retired ? &type->retired[n - type->event_count] : NULL,
        .aggregate = (uint16_t)aggregate,
        .index = (uint16_t)index,
        .full_name = layout->names[index],
        .projections = layout->listeners,
        .evolve = retired ? NULL : type->events[n].evolve,
    };
    compile_decoding(compiled, event);
    (void)snprintf(layout->names[index], sizeof(layout->names[index]), "%s.%s", type->name,
                   retired ? event->retired->name : event->type->name);
    compile_struct(event, layout);
    compiled->event_struct_size_max =
        larger(compiled->event_struct_size_max, retired ? event->retired->size : event->type->size);
    for (uint32_t p = 0; !retired && p < compiled->model->projection_count; p++) {
        const struct mim_projection_type *projection = &compiled->model->projections[p];
        for (uint32_t i = 0; i < projection->on_count; i++) {
            if (projection->on[i].event == event->type) {
                *layout->listeners++ = (struct mim_compiled_projection_on){.projection = (uint16_t)p,
                                                                           .project = projection->on[i].project};
                event->projection_count++;
                event->ordered |= (projection->flags & MIM_COMMUTES) == 0;
            }
        }
    }
}

static void compile_aggregate(struct mim_compiled *compiled, struct layout *layout, unsigned aggregate) {
    const struct mim_aggregate_type *type = &compiled->model->aggregates[aggregate];
    compiled->aggregate_names[aggregate] = mim_slice_text(type->name);
    compiled->slot_size[aggregate] = (MIM_SLOT_HEAD_SIZE + type->state_size + 7u) & ~7u;
    compiled->first_event[aggregate] = compiled->event_count;
    for (uint32_t i = 0; i < type->event_count + type->retired_count; i++) {
        compile_event(compiled, layout, aggregate, i);
    }
    compiled->first_command[aggregate] = compiled->command_count;
    for (uint32_t i = 0; i < type->command_count; i++) {
        uint32_t index = compiled->command_count++;
        compiled->commands[index] = (struct mim_compiled_command){.type = &type->commands[i],
                                                                  .name = mim_slice_text(type->commands[i].name),
                                                                  .aggregate = (uint16_t)aggregate,
                                                                  .index = (uint16_t)index};
        compiled->command_struct_size_max = larger(compiled->command_struct_size_max, type->commands[i].size);
    }
}

static uint64_t print_text(const char *text, uint64_t hash) { return mim_hash64(text, strlen(text), hash); }

static uint64_t print_number(uint64_t number, uint64_t hash) { return mim_hash64(&number, sizeof(number), hash); }

/** Fallbacks of event fields: another one gives old events another meaning, and the state another content. */
static uint64_t print_fallbacks(const char *name, const struct mim_field *fields, uint32_t count, uint64_t hash) {
    for (uint32_t i = 0; i < count; i++) {
        if (fields[i].fallback != 0) {
            hash = print_text(fields[i].name, print_text(name, hash));
            hash = print_number((uint64_t)fields[i].fallback, hash);
        }
    }
    return hash;
}

static uint64_t fingerprint_of(const struct mim_compiled *compiled) {
    const struct mim_model *model = compiled->model;
    uint64_t hash = print_text(model->name, MIM_ARENA_FORMAT);
    hash = print_number(model->version, hash);
    for (uint32_t i = 0; i < model->aggregate_count; i++) {
        const struct mim_aggregate_type *type = &model->aggregates[i];
        hash = print_number(compiled->slot_size[i], print_text(type->name, hash));
        for (uint32_t k = 0; k < type->field_count; k++) {
            const struct mim_field *field = &type->fields[k];
            hash = print_text(field->name, hash);
            hash = print_number(((uint64_t)field->type << 48) | ((uint64_t)field->flags << 32) | field->offset, hash);
        }
        for (uint32_t k = 0; k < type->event_count; k++) {
            hash = print_fallbacks(type->events[k].name, type->events[k].fields, type->events[k].field_count, hash);
        }
        for (uint32_t k = 0; k < type->retired_count; k++) {
            hash = print_fallbacks(type->retired[k].name, type->retired[k].fields, type->retired[k].field_count, hash);
        }
    }
    for (uint32_t i = 0; i < model->projection_count; i++) {
        hash = print_number(model->projections[i].state_size, print_text(model->projections[i].name, hash));
    }
    return hash;
}

static struct mim_compiled *compiled_allocate(const struct mim_model *model, struct layout *ret_layout) {
    struct counts counts = model_counts(model);
    size_t events = (counts.events + 1) * sizeof(struct mim_compiled_event);
    size_t commands = (counts.commands + 1) * sizeof(struct mim_compiled_command);
    size_t listeners = (counts.listeners + 1) * sizeof(struct mim_compiled_projection_on);
    size_t blanks = counts.blank_bytes;
    size_t gaps = counts.gaps * sizeof(struct mim_compiled_gap);
    size_t names = (counts.events + 1) * sizeof(*ret_layout->names);
    struct mim_compiled *compiled = calloc(1, sizeof(*compiled));
    uint8_t *storage = compiled == NULL ? NULL : calloc(1, events + commands + listeners + blanks + gaps + names);
    if (storage == NULL) {
        free(compiled);
        return NULL;
    }
    compiled->model = model;
    compiled->storage = storage;
    compiled->events = (void *)storage;
    compiled->commands = (void *)(storage + events);
    ret_layout->listeners = (void *)(storage + events + commands);
    compiled->blanks = storage + events + commands + listeners;
    ret_layout->gaps = (void *)(storage + events + commands + listeners + blanks);
    ret_layout->names = (void *)(storage + events + commands + listeners + blanks + gaps);
    return compiled;
}

/** Every event a projection names is one of the model's. */
static int check_listeners(const struct mim_compiled *compiled, struct mim_error *reterr) {
    for (uint32_t p = 0; p < compiled->model->projection_count; p++) {
        const struct mim_projection_type *projection = &compiled->model->projections[p];
        for (uint32_t i = 0; i < projection->on_count; i++) {
            if (mim_compiled_event_of(compiled, projection->on[i].event) == NULL || projection->on[i].project == NULL) {
                return mim_error_set(reterr, MIM_E_MODEL,
                                     "projection %s: entry %u names no event of the model, or has no function",
                                     projection->name, i + 1);
            }
        }
    }
    return 0;
}

int mim_compiled_new(const struct mim_model *model, struct mim_compiled **ret_compiled, struct mim_error *reterr) {
    int rc = check_model(model, reterr);
    if (rc != 0) {
        return mim_error_prefix(reterr, "model %s", model->name == NULL ? "?" : model->name);
    }
    struct layout layout;
    struct mim_compiled *compiled = compiled_allocate(model, &layout);
    if (compiled == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory to compile the model");
    }
    for (uint32_t i = 0; i < model->aggregate_count; i++) {
        compile_aggregate(compiled, &layout, i);
    }
    compiled->fingerprint = fingerprint_of(compiled);
    rc = check_listeners(compiled, reterr);
    if (rc != 0) {
        (void)mim_compiled_free(compiled);
        return rc;
    }
    *ret_compiled = compiled;
    return 0;
}

struct mim_compiled *mim_compiled_free(struct mim_compiled *compiled) {
    if (compiled != NULL) {
        free(compiled->storage);
        free(compiled);
    }
    return NULL;
}
