// SPDX-License-Identifier: MIT
// Finding things of a compiled model by name (short scans over arrays that stay in cache) or by descriptor (its place).
#include "model/compiled.h"

int mim_compiled_aggregate(const struct mim_compiled *compiled, struct mim_slice name) {
    for (uint32_t i = 0; i < compiled->model->aggregate_count; i++) {
        if (mim_slice_equal(compiled->aggregate_names[i], name)) {
            return (int)i;
        }
    }
    return -1;
}

const struct mim_compiled_command *mim_compiled_command(const struct mim_compiled *compiled, unsigned aggregate,
                                                        struct mim_slice name) {
    const struct mim_compiled_command *commands = &compiled->commands[compiled->first_command[aggregate]];
    for (uint32_t i = 0; i < compiled->model->aggregates[aggregate].command_count; i++) {
        if (mim_slice_equal(commands[i].name, name)) {
            return &commands[i];
        }
    }
    return NULL;
}

const struct mim_compiled_event *mim_compiled_event(const struct mim_compiled *compiled, unsigned aggregate,
                                                    struct mim_slice name, uint32_t version) {
    const struct mim_aggregate_type *type = &compiled->model->aggregates[aggregate];
    const struct mim_compiled_event *events = &compiled->events[compiled->first_event[aggregate]];
    const struct mim_compiled_event *newest = NULL;
    uint32_t newest_version = 0;
    for (uint32_t i = 0; i < type->event_count + type->retired_count; i++) {
        const char *own = events[i].type != NULL ? events[i].type->name : events[i].retired->name;
        uint32_t own_version = events[i].type != NULL ? events[i].type->version : events[i].retired->version;
        bool fits = version == 0 ? own_version > newest_version : own_version == version;
        if (fits && mim_slice_equal(mim_slice_text(own), name)) {
            newest = &events[i];
            newest_version = own_version;
        }
    }
    return newest;
}

/** The place of an entry in a table of `count` entries of `size` bytes; -1: it is none of them. */
static int64_t place_of(const void *entry, const void *table, uint32_t count, size_t size) {
    uintptr_t distance = (uintptr_t)entry - (uintptr_t)table;
    return distance < count * size && distance % size == 0 ? (int64_t)(distance / size) : -1;
}

const struct mim_compiled_event *mim_compiled_event_in(const struct mim_compiled *compiled, unsigned aggregate,
                                                       const struct mim_event_type *type) {
    /* An aggregate's events of today are one array in the model and, in the same order, one in the compiled model. */
    const struct mim_aggregate_type *described = &compiled->model->aggregates[aggregate];
    int64_t place = place_of(type, described->events, described->event_count, sizeof(*type));
    return place < 0 ? NULL : &compiled->events[compiled->first_event[aggregate] + (uint32_t)place];
}

const struct mim_compiled_event *mim_compiled_event_of(const struct mim_compiled *compiled,
                                                       const struct mim_event_type *type) {
    const struct mim_compiled_event *event = NULL;
    for (uint32_t i = 0; event == NULL && i < compiled->model->aggregate_count; i++) {
        event = mim_compiled_event_in(compiled, i, type);
    }
    return event;
}

const struct mim_query_type *mim_compiled_query(const struct mim_compiled *compiled, unsigned aggregate,
                                                struct mim_slice name) {
    const struct mim_aggregate_type *type = &compiled->model->aggregates[aggregate];
    for (uint32_t i = 0; i < type->query_count; i++) {
        if (mim_slice_equal(mim_slice_text(type->queries[i].name), name)) {
            return &type->queries[i];
        }
    }
    return NULL;
}

int mim_compiled_projection_of(const struct mim_compiled *compiled, const struct mim_projection_type *type) {
    const struct mim_model *model = compiled->model;
    return (int)place_of(type, model->projections, model->projection_count, sizeof(*type));
}

int mim_compiled_aggregate_of(const struct mim_compiled *compiled, const struct mim_aggregate_type *type) {
    const struct mim_model *model = compiled->model;
    return (int)place_of(type, model->aggregates, model->aggregate_count, sizeof(*type));
}
