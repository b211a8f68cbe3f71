// SPDX-License-Identifier: MIT
// Vectors for models: contiguous elements, capacity at least doubles and fills its block. Beyond the end is harmless:
// reading gives NULL, removing does nothing, so that a model's slip cannot break the image.
#include "image/containers.h"

#include <string.h>

#include "base/assert.h"

static uint8_t *vec_at(const struct mim_arena *arena, const struct mim_vec *vec, uint32_t element_size, uint64_t n) {
    return arena->base + vec->ref + n * element_size;
}

static uint64_t vec_block_size(const struct mim_vec *vec, uint32_t element_size) {
    return (uint64_t)vec->capacity * element_size;
}

/** Makes room for `count` elements; false when the arena is full. 32 bits times 32 bits do not overflow. */
static bool vec_reserve(struct mim_arena *arena, struct mim_vec *vec, uint32_t element_size, uint64_t count) {
    MIM_ASSERT(element_size > 0);
    if (count <= vec->capacity) {
        return true;
    }
    if (count > UINT32_MAX) {
        return false;
    }
    uint64_t wanted = 2 * (uint64_t)vec->capacity > count ? 2 * (uint64_t)vec->capacity : count;
    wanted = wanted > UINT32_MAX ? UINT32_MAX : wanted;
    uint64_t fitting = mim_arena_class_size(wanted * element_size) / element_size;
    fitting = fitting > UINT32_MAX ? UINT32_MAX : fitting;
    struct mim_ref ref = mim_arena_alloc(arena, fitting * element_size);
    if (mim_ref_is_null(ref)) {
        return false;
    }
    if (vec->count > 0) {
        memcpy(mim_arena_at(arena, ref), vec_at(arena, vec, element_size, 0), (uint64_t)vec->count * element_size);
    }
    mim_arena_release(arena, (struct mim_ref){.offset = vec->ref}, vec_block_size(vec, element_size));
    vec->ref = ref.offset;
    vec->capacity = (uint32_t)fitting;
    return true;
}

void *mim_vec_push_in(struct mim_arena *arena, struct mim_vec *vec, uint32_t element_size) {
    if (!vec_reserve(arena, vec, element_size, (uint64_t)vec->count + 1)) {
        return NULL;
    }
    return vec_at(arena, vec, element_size, vec->count++);
}

void *mim_vec_get_in(const struct mim_arena *arena, const struct mim_vec *vec, uint32_t element_size, uint64_t n) {
    return n < vec->count ? vec_at(arena, vec, element_size, n) : NULL;
}

void mim_vec_remove_in(struct mim_arena *arena, struct mim_vec *vec, uint32_t element_size, uint64_t n) {
    if (n >= vec->count) {
        return;
    }
    uint8_t *hole = vec_at(arena, vec, element_size, n);
    vec->count--;
    memmove(hole, hole + element_size, (vec->count - n) * element_size);
    memset(vec_at(arena, vec, element_size, vec->count), 0, element_size); /* unused elements are zero */
}

bool mim_vec_resize_in(struct mim_arena *arena, struct mim_vec *vec, uint32_t element_size, uint64_t count) {
    if (count == 0) {
        mim_vec_clear_in(arena, vec, element_size);
        return true;
    }
    if (!vec_reserve(arena, vec, element_size, count)) {
        return false;
    }
    if (count < vec->count) {
        memset(vec_at(arena, vec, element_size, count), 0, (vec->count - count) * element_size);
    }
    vec->count = (uint32_t)count;
    return true;
}

void mim_vec_clear_in(struct mim_arena *arena, struct mim_vec *vec, uint32_t element_size) {
    mim_arena_release(arena, (struct mim_ref){.offset = vec->ref}, vec_block_size(vec, element_size));
    *vec = (struct mim_vec){0};
}
