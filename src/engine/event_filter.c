// SPDX-License-Identifier: MIT
// Which events somebody wants: by type of aggregate, stream, event types, correlation; see cloudevent.h.
#include <stdlib.h>

#include "engine/cloudevent.h"
#include "engine/internal.h"

void mim_event_filter_deinit(struct mim_event_filter *filter) {
    free(filter->types);
    filter->types = NULL;
}

int mim_event_filter_type(struct mim_event_filter *filter, const struct mim_engine *engine, struct mim_slice type,
                          struct mim_error *reterr) {
    int aggregate = mim_compiled_aggregate(engine->compiled, type);
    if (aggregate < 0) {
        return mim_error_set(reterr, MIM_E_INVALID, "unknown aggregate type '%.*s'",
                             (int)(type.size > 100 ? 100 : type.size), (const char *)type.data);
    }
    filter->one_aggregate = true;
    filter->aggregate = (unsigned)aggregate;
    return 0;
}

int mim_event_filter_stream(struct mim_event_filter *filter, const struct mim_engine *engine, struct mim_slice type,
                            struct mim_slice id, struct mim_error *reterr) {
    int rc = mim_event_filter_type(filter, engine, type, reterr);
    if (rc != 0) {
        return rc;
    }
    if (!mim_id_valid(id)) {
        return mim_error_set(reterr, MIM_E_INVALID,
                             "invalid id: 1 to %u bytes of UTF-8 without spaces and control characters",
                             MIM_ID_SIZE_MAX);
    }
    filter->one_stream = true;
    filter->has_stream =
        mim_engine_find(engine, filter->aggregate, id, mim_engine_id_hash(engine, id), &filter->stream) != NULL;
    memcpy(filter->id, id.data, id.size);
    filter->id_size_less_1 = (uint8_t)(id.size - 1);
    return 0;
}

static bool event_named(const struct mim_compiled_event *event, struct mim_slice name) {
    struct mim_slice full = mim_slice_text(event->full_name);
    if (mim_slice_equal(full, name)) {
        return true;
    }
    const uint8_t *dot = memchr(full.data, '.', full.size);
    size_t prefix = dot == NULL ? 0 : (size_t)(dot - full.data) + 1;
    return mim_slice_equal(mim_slice_of(full.data + prefix, full.size - prefix), name);
}

static bool types_add(struct mim_event_filter *filter, const struct mim_compiled *compiled, struct mim_slice name) {
    bool found = false;
    for (uint32_t i = 0; i < compiled->event_count; i++) {
        if (event_named(&compiled->events[i], name)) {
            filter->types[i / 64] |= 1ull << (i % 64);
            found = true;
        }
    }
    return found;
}

int mim_event_filter_types(struct mim_event_filter *filter, const struct mim_engine *engine, struct mim_slice names,
                           struct mim_error *reterr) {
    const struct mim_compiled *compiled = engine->compiled;
    if (filter->types == NULL) {
        filter->types = calloc(compiled->event_count / 64 + 1, sizeof(uint64_t));
        if (filter->types == NULL) {
            return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
        }
    }
    size_t at = 0;
    while (at <= names.size) {
        const uint8_t *comma = names.size > at ? memchr(names.data + at, ',', names.size - at) : NULL;
        size_t end = comma == NULL ? names.size : (size_t)(comma - names.data);
        struct mim_slice name = mim_slice_of(names.data + at, end - at);
        if (!types_add(filter, compiled, name)) {
            return mim_error_set(reterr, MIM_E_INVALID, "unknown event type '%.*s'",
                                 (int)(name.size > 100 ? 100 : name.size), (const char *)name.data);
        }
        at = end + 1;
    }
    return 0;
}

int mim_event_filter_correlation(struct mim_event_filter *filter, struct mim_slice correlation,
                                 struct mim_error *reterr) {
    if (correlation.size == 0 || correlation.size > MIM_KEY_SIZE_MAX) {
        return mim_error_set(reterr, MIM_E_INVALID, "a correlation id has 1 to %u bytes", MIM_KEY_SIZE_MAX);
    }
    memcpy(filter->correlation, correlation.data, correlation.size);
    filter->correlation_size = (uint16_t)correlation.size;
    return 0;
}

static bool permitted(const struct mim_event_filter *filter, const struct mim_engine *engine, unsigned aggregate,
                      mim_stream_t stream) {
    if (stream >= engine->aggregates[aggregate].slots.count) {
        return true; /* let the encoder say so */
    }
    const struct mim_slot *slot = mim_engine_slot(engine, aggregate, stream);
    return filter->permits.permits(filter->permits.context,
                                   mim_slice_text(engine->compiled->model->aggregates[aggregate].name),
                                   mim_text_slice(&engine->arena, &slot->id));
}

bool mim_event_filter_wants(struct mim_event_filter *filter, const struct mim_engine *engine,
                            const struct mim_journal_event *event) {
    const struct mim_record *record = &event->record;
    const struct mim_compiled_event *compiled =
        record->type <= MIM_CATALOG_MAX ? engine->bound[record->type].event : NULL;
    if (compiled == NULL) {
        return true; /* let the encoder say so */
    }
    if (filter->one_aggregate && compiled->aggregate != filter->aggregate) {
        return false;
    }
    if (filter->types != NULL && (filter->types[compiled->index / 64] >> (compiled->index % 64) & 1u) == 0) {
        return false;
    }
    if (filter->one_stream) {
        struct mim_slice id = mim_slice_of(filter->id, (size_t)filter->id_size_less_1 + 1);
        if (!filter->has_stream) { /* it did not exist yet */
            filter->has_stream =
                mim_engine_find(engine, filter->aggregate, id, mim_engine_id_hash(engine, id), &filter->stream) != NULL;
        }
        if (!filter->has_stream || record->stream != filter->stream) {
            return false;
        }
    }
    if (filter->permits.permits != NULL && !permitted(filter, engine, compiled->aggregate, record->stream)) {
        return false;
    }
    return filter->correlation_size == 0 ||
           mim_slice_equal(event->correlation, mim_slice_of(filter->correlation, filter->correlation_size));
}
