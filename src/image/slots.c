// SPDX-License-Identifier: MIT
// Dense arrays in doubling chunks: an element never moves, growth never copies. A chunk's pages are touched only
// when its elements are.
#include "image/image.h"

#include "base/assert.h"

_Static_assert(sizeof(struct mim_slots) == 16 + 8 * MIM_SLOTS_CHUNKS, "part of the format");

static unsigned slots_chunk_of(uint64_t n) { return 57u - (unsigned)__builtin_clzll(n + MIM_SLOTS_FIRST); }

/** Bytes of a chunk: at most 2^32 elements of less than 2^32 bytes, so this cannot overflow. */
static uint64_t slots_chunk_size(const struct mim_slots *slots, unsigned chunk) {
    return ((uint64_t)MIM_SLOTS_FIRST << chunk) * slots->element_size;
}
_Static_assert((uint64_t)MIM_SLOTS_FIRST << (MIM_SLOTS_CHUNKS - 1) <= 1ull << 32, "slots_chunk_size");

void *mim_slots_push(struct mim_arena *arena, struct mim_slots *slots) {
    MIM_ASSERT(slots->element_size != 0 && slots->element_size % 8 == 0);
    unsigned chunk = slots_chunk_of(slots->count);
    if (MIM_UNLIKELY(chunk >= MIM_SLOTS_CHUNKS)) {
        return NULL;
    }
    if (MIM_UNLIKELY(mim_ref_is_null(slots->chunks[chunk]))) {
        struct mim_ref ref = mim_arena_alloc(arena, slots_chunk_size(slots, chunk));
        if (mim_ref_is_null(ref)) {
            return NULL;
        }
        slots->chunks[chunk] = ref;
    }
    return mim_slots_at(arena, slots, slots->count++);
}

uint64_t mim_slots_growth(const struct mim_slots *slots) {
    unsigned chunk = slots_chunk_of(slots->count);
    if (chunk >= MIM_SLOTS_CHUNKS) {
        return UINT64_MAX;
    }
    return mim_ref_is_null(slots->chunks[chunk]) ? mim_arena_class_size(slots_chunk_size(slots, chunk)) : 0;
}

void mim_slots_clear(struct mim_arena *arena, struct mim_slots *slots) {
    for (unsigned chunk = 0; chunk < MIM_SLOTS_CHUNKS; chunk++) {
        mim_arena_release(arena, slots->chunks[chunk], slots_chunk_size(slots, chunk));
        slots->chunks[chunk] = (struct mim_ref){0};
    }
    slots->count = 0;
}
