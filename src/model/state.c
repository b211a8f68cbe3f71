// SPDX-License-Identifier: MIT
// States in the image: their JSON, and their canonical hash (names and values only: no offsets, no map order).
#include "base/hash.h"
#include "image/containers.h"
#include "model/field.h"

static struct mim_string text_of(const struct mim_arena *arena, const struct mim_text *text) {
    struct mim_slice slice = mim_text_slice(arena, text);
    return (struct mim_string){.data = (const char *)slice.data, .size = slice.size};
}

static uint32_t element_size(const struct mim_field *field) {
    return field->type == MIM_STRING || field->type == MIM_BYTES ? (uint32_t)sizeof(struct mim_text)
                                                                 : (uint32_t)mim_field_scalar_size(field->type);
}

/* ---------------------------------------------------------------- JSON */

static void value_json(struct mim_json *j, const struct mim_arena *arena, enum mim_field_type type, const void *at) {
    switch (type) {
    case MIM_BOOL:
        mim_json_bool(j, *(const bool *)at);
        break;
    case MIM_I32:
        mim_json_i64(j, *(const int32_t *)at);
        break;
    case MIM_I64:
        mim_json_i64(j, *(const int64_t *)at);
        break;
    case MIM_U64:
        mim_json_u64(j, *(const uint64_t *)at);
        break;
    case MIM_F64:
        mim_json_f64(j, *(const double *)at);
        break;
    case MIM_TIMESTAMP:
        mim_json_time(j, *(const int64_t *)at);
        break;
    case MIM_BYTES:
        mim_json_bytes(j, mim_text_slice(arena, at));
        break;
    default:
        mim_json_string(j, text_of(arena, at));
        break;
    }
}

static void list_json(struct mim_json *j, const struct mim_arena *arena, const struct mim_field *field,
                      const struct mim_vec *vec) {
    mim_json_array(j);
    for (uint32_t i = 0; i < vec->count; i++) {
        value_json(j, arena, field->type, mim_vec_get_in(arena, vec, element_size(field), i));
    }
    mim_json_array_end(j);
}

static void counts_json(struct mim_json *j, const struct mim_arena *arena, const struct mim_map *map) {
    mim_json_object(j);
    uint64_t count = mim_map_count_in(arena, map);
    for (uint64_t i = 0; i < count; i++) {
        struct mim_string key;
        const int64_t *value = mim_map_at_in(arena, map, i, &key);
        mim_json_key_string(j, key);
        mim_json_i64(j, *value);
    }
    mim_json_object_end(j);
}

void mim_json_image_state(struct mim_json *j, const struct mim_arena *arena, const struct mim_field *fields,
                          uint32_t field_count, const void *state) {
    mim_json_object(j);
    for (uint32_t i = 0; i < field_count; i++) {
        const struct mim_field *field = &fields[i];
        const void *at = mim_field_at_const(field, state);
        if ((field->flags & MIM_HIDDEN) != 0) {
            continue;
        }
        mim_json_name(j, field->name);
        if (field->type == MIM_COUNTS) {
            counts_json(j, arena, at);
        } else if ((field->flags & MIM_LIST) != 0) {
            list_json(j, arena, field, at);
        } else {
            value_json(j, arena, field->type, at);
        }
    }
    mim_json_object_end(j);
}

/* ---------------------------------------------------------------- hash */

static uint64_t value_hash(const struct mim_arena *arena, enum mim_field_type type, const void *at, uint64_t seed) {
    if (type == MIM_STRING || type == MIM_BYTES) {
        struct mim_slice slice = mim_text_slice(arena, at);
        return mim_hash64(slice.data, slice.size, seed);
    }
    return mim_hash64(at, mim_field_scalar_size(type), seed);
}

static uint64_t list_hash(const struct mim_arena *arena, const struct mim_field *field, const struct mim_vec *vec,
                          uint64_t seed) {
    uint64_t hash = mim_hash64(&vec->count, sizeof(vec->count), seed);
    for (uint32_t i = 0; i < vec->count; i++) {
        hash = value_hash(arena, field->type, mim_vec_get_in(arena, vec, element_size(field), i), hash);
    }
    return hash;
}

/** A sum over the entries, so that the map's own order is of no meaning. */
static uint64_t counts_hash(const struct mim_arena *arena, const struct mim_map *map, uint64_t seed) {
    uint64_t count = mim_map_count_in(arena, map);
    uint64_t sum = count;
    for (uint64_t i = 0; i < count; i++) {
        struct mim_string key;
        const int64_t *value = mim_map_at_in(arena, map, i, &key);
        sum += mim_hash64(value, sizeof(*value), mim_hash64(key.data, key.size, seed));
    }
    return mim_hash64(&sum, sizeof(sum), seed);
}

uint64_t mim_state_hash(const struct mim_arena *arena, const struct mim_field *fields, uint32_t field_count,
                        const void *state, uint64_t seed) {
    uint64_t hash = seed;
    for (uint32_t i = 0; i < field_count; i++) {
        const struct mim_field *field = &fields[i];
        const void *at = mim_field_at_const(field, state);
        if ((field->flags & MIM_HIDDEN) != 0) {
            continue;
        }
        hash = mim_hash64(field->name, strlen(field->name), hash);
        if (field->type == MIM_COUNTS) {
            hash = counts_hash(arena, at, hash);
        } else if ((field->flags & MIM_LIST) != 0) {
            hash = list_hash(arena, field, at, hash);
        } else {
            hash = value_hash(arena, field->type, at, hash);
        }
    }
    return hash;
}
