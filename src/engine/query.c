// SPDX-License-Identifier: MIT
// Reading: the JSON of one aggregate, and the model's queries with what they may call.
#include <stdarg.h>
#include <stdio.h>

#include "engine/internal.h"

struct mim_query {
    struct mim_host host;
    struct mim_json json;
    char failure[256];
};

static int read_resolve(const struct mim_engine *engine, struct mim_slice type, struct mim_error *reterr) {
    int aggregate = mim_compiled_aggregate(engine->compiled, type);
    if (aggregate < 0) {
        return mim_error_set(reterr, MIM_E_INVALID, "unknown aggregate type '%.*s'",
                             (int)(type.size > 100 ? 100 : type.size), (const char *)type.data);
    }
    return aggregate;
}

int mim_engine_get(struct mim_engine *engine, const struct mim_appender *appender, struct mim_slice type,
                   struct mim_slice id, struct mim_buffer *out, mim_version_t *ret_version, mim_lsn_t *ret_gate,
                   struct mim_error *reterr) {
    int aggregate = read_resolve(engine, type, reterr);
    if (aggregate < 0) {
        return aggregate;
    }
    if (!mim_id_valid(id)) {
        return mim_error_set(reterr, MIM_E_INVALID,
                             "invalid id: 1 to %u bytes of UTF-8 without spaces and control characters",
                             MIM_ID_SIZE_MAX);
    }
    struct mim_slot *slot = mim_engine_find(engine, (unsigned)aggregate, id, mim_engine_id_hash(engine, id), NULL);
    if (slot == NULL) {
        return MIM_E_NOT_FOUND;
    }
    const struct mim_aggregate_type *described = &engine->compiled->model->aggregates[aggregate];
    struct mim_json json = mim_json_to(out);
    mim_json_image_state(&json, &engine->arena, described->fields, described->field_count, mim_slot_state(slot));
    if (ret_version != NULL) {
        *ret_version = slot->version;
    }
    if (ret_gate != NULL) {
        *ret_gate = mim_engine_gate_of(appender, slot->last_lsn);
    }
    return 0;
}

void mim_engine_state(struct mim_engine *engine, const struct mim_appender *appender, unsigned aggregate,
                      mim_stream_t stream, struct mim_buffer *out, mim_version_t *ret_version, mim_lsn_t *ret_gate) {
    MIM_ASSERT(stream < engine->aggregates[aggregate].slots.count);
    struct mim_slot *slot = mim_engine_slot(engine, aggregate, stream);
    const struct mim_aggregate_type *described = &engine->compiled->model->aggregates[aggregate];
    struct mim_json json = mim_json_to(out);
    mim_json_image_state(&json, &engine->arena, described->fields, described->field_count, mim_slot_state(slot));
    *ret_version = slot->version;
    *ret_gate = mim_engine_gate_of(appender, slot->last_lsn);
}

struct mim_slice mim_engine_id(const struct mim_engine *engine, unsigned aggregate, mim_stream_t stream) {
    return mim_text_slice(&engine->arena, &mim_engine_slot(engine, aggregate, stream)->id);
}

mim_lsn_t mim_engine_gate(const struct mim_engine *engine, const struct mim_appender *appender, unsigned aggregate,
                          mim_stream_t stream) {
    return mim_engine_gate_of(appender, mim_engine_slot(engine, aggregate, stream)->last_lsn);
}

int mim_engine_query(struct mim_engine *engine, const struct mim_appender *appender, struct mim_slice type,
                     struct mim_slice name, const struct mim_string *arguments, size_t count, struct mim_buffer *out,
                     mim_lsn_t *ret_gate, struct mim_error *reterr) {
    int aggregate = read_resolve(engine, type, reterr);
    if (aggregate < 0) {
        return aggregate;
    }
    const struct mim_query_type *query_type = mim_compiled_query(engine->compiled, (unsigned)aggregate, name);
    if (query_type == NULL) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "unknown query '%.*s' on type '%.*s'",
                             (int)(name.size > 100 ? 100 : name.size), (const char *)name.data, (int)type.size,
                             (const char *)type.data);
    }
    if (count < query_type->arguments_min || count > query_type->arguments_max) {
        return mim_error_set(reterr, MIM_E_INVALID, "usage: QUERY %.*s %s%s%s", (int)type.size, (const char *)type.data,
                             query_type->name, query_type->usage != NULL && query_type->usage[0] != '\0' ? " " : "",
                             query_type->usage != NULL ? query_type->usage : "");
    }
    struct mim_query query = {.host = engine->host, .json = mim_json_to(out)};
    size_t before = out->size;
    if (ret_gate != NULL) { /* of a failure too: it may rest on what the query has read */
        *ret_gate = mim_engine_gate_all(engine, appender);
    }
    if (query_type->query(&query, arguments, count) != 0) {
        out->size = before;
        return mim_error_set(reterr, MIM_E_INVALID, "%s", query.failure);
    }
    return 0;
}

/* ------------------------------------------------- what a query may call */

struct mim_json *mim_query_json(struct mim_query *q) {
    return &q->json;
}

const struct mim_host *mim_query_host(const struct mim_query *q) { return &q->host; }

int mim_query_fail(struct mim_query *q, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(q->failure, sizeof(q->failure), format, arguments);
    va_end(arguments);
    return 1;
}

static unsigned query_aggregate(const struct mim_query *q, const struct mim_aggregate_type *type) {
    int aggregate = mim_compiled_aggregate_of(q->host.engine->compiled, type);
    MIM_ASSERT(aggregate >= 0);
    return (unsigned)aggregate;
}

uint64_t mim_query_count(const struct mim_query *q, const struct mim_aggregate_type *type) {
    return q->host.engine->aggregates[query_aggregate(q, type)].slots.count;
}

const void *mim_query_at(const struct mim_query *q, const struct mim_aggregate_type *type, uint64_t n,
                         struct mim_string *ret_id, uint32_t *ret_version) {
    unsigned aggregate = query_aggregate(q, type);
    if (n >= q->host.engine->aggregates[aggregate].slots.count) {
        return NULL;
    }
    struct mim_slot *slot = mim_engine_slot(q->host.engine, aggregate, n);
    if (ret_id != NULL) {
        *ret_id = mim_text_get(&q->host, &slot->id);
    }
    if (ret_version != NULL) {
        *ret_version = slot->version;
    }
    return mim_slot_state(slot);
}

const void *mim_query_find(const struct mim_query *q, const struct mim_aggregate_type *type, struct mim_string id) {
    struct mim_engine *engine = q->host.engine;
    struct mim_slice key = mim_slice_of(id.data, id.size);
    struct mim_slot *slot =
        mim_engine_find(engine, query_aggregate(q, type), key, mim_engine_id_hash(engine, key), NULL);
    return slot == NULL ? NULL : mim_slot_state(slot);
}

const void *mim_query_projection(const struct mim_query *q, const struct mim_projection_type *projection) {
    int index = mim_compiled_projection_of(q->host.engine->compiled, projection);
    MIM_ASSERT(index >= 0);
    return mim_arena_at(q->host.arena, q->host.engine->root->projections[index]);
}

void mim_json_state(struct mim_json *j, const struct mim_query *q, const struct mim_aggregate_type *type,
                    const void *state) {
    mim_json_image_state(j, q->host.arena, type->fields, type->field_count, state);
}

/* --------------------------------------------------------------- digest */

uint64_t mim_engine_digest_projections(const struct mim_engine *engine) {
    struct mim_query query = {.host = engine->host};
    uint64_t sum = 0;
    for (uint32_t i = 0; i < engine->compiled->model->projection_count; i++) {
        const struct mim_projection_type *type = &engine->compiled->model->projections[i];
        if (type->digest != NULL) {
            const void *state = mim_arena_at(&engine->arena, engine->root->projections[i]);
            sum += type->digest(&query, state) * (2u * i + 1u);
        }
    }
    return sum;
}
