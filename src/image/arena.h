// SPDX-License-Identifier: MIT
// Inside the part only: how an arena is started and checked, and the one place that knows AddressSanitizer. What
// is not allocated is poisoned there, so that an overflow inside the one big mapping is found like one on the heap.
#ifndef MIM_IMAGE_ARENA_H
#define MIM_IMAGE_ARENA_H

#include "image/image.h"

#if defined(__SANITIZE_ADDRESS__)
#define MIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MIM_ASAN 1
#endif
#endif

#ifdef MIM_ASAN
#include <sanitizer/asan_interface.h>
#endif

/** Makes bytes unreadable in a sanitizer build; ends at a multiple of 8. */
static inline void mim_poison(const void *data, uint64_t size) {
#ifdef MIM_ASAN
    __asan_poison_memory_region(data, size);
#else
    (void)data;
    (void)size;
#endif
}

static inline void mim_unpoison(const void *data, uint64_t size) {
#ifdef MIM_ASAN
    __asan_unpoison_memory_region(data, size);
#else
    (void)data;
    (void)size;
#endif
}

/** Whether a sanitizer build holds a byte to be out of bounds: a block given back twice, for example. */
static inline bool mim_is_poisoned(const void *byte) {
#ifdef MIM_ASAN
    return __asan_address_is_poisoned(byte) != 0;
#else
    (void)byte;
    return false;
#endif
}

/** Writes the head of an empty image into zeroed memory; base and capacity are set. */
void mim_arena_start(struct mim_arena *arena);

/** Checks a head that came from outside against the bytes there are. Errors: FORMAT. */
MIM_CHECKED int mim_arena_check(const struct mim_arena_head *head, uint64_t size, struct mim_error *reterr);

/** Changes the size of a block within its class: the sanitizer's idea of its end moves, nothing else. */
void mim_arena_resize_block(const struct mim_arena *arena, struct mim_ref ref, uint64_t size);

#endif
