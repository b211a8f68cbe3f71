// SPDX-License-Identifier: MIT
// What the tests of src/image share: small arenas, copies and comparisons of whole images, filling an arena up.
#ifndef TESTS_UNIT_IMAGE_SUPPORT_H
#define TESTS_UNIT_IMAGE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "image/containers.h"
#include "image/image.h"

static inline struct mim_arena support_open(uint64_t reservation) {
    struct mim_arena arena = {0};
    struct mim_error error = {0};
    assert_int_equal(mim_arena_open(&arena, reservation, &error), 0);
    return arena;
}

/** Whether two images are the same bytes, wherever they are. */
static inline bool support_same(const struct mim_arena *a, const struct mim_arena *b) {
    uint64_t used = mim_arena_head(a)->used;
    if (used != mim_arena_head(b)->used) {
        return false;
    }
    mim_arena_poison_lift(a);
    mim_arena_poison_lift(b);
    bool same = memcmp(a->base, b->base, used) == 0;
    mim_arena_poison_restore(a);
    mim_arena_poison_restore(b);
    return same;
}

/** An image of the same bytes at another address. */
static inline struct mim_arena support_copy(const struct mim_arena *from) {
    struct mim_arena arena = support_open(from->capacity);
    mim_arena_poison_lift(from);
    mim_arena_poison_lift(&arena);
    memcpy(arena.base, from->base, mim_arena_head(from)->used);
    mim_arena_poison_restore(from);
    mim_arena_poison_restore(&arena);
    arena.limit = from->limit;
    return arena;
}

/** Lets `pages` more pages be used. */
static inline void support_limit(struct mim_arena *arena, uint64_t pages) {
    arena->limit = mim_arena_head(arena)->used + pages * MIM_IMAGE_PAGE;
}

/** Gives bytes of the arena that nobody holds: the free lists and the rest of the run of small blocks. */
static inline uint64_t support_unheld(const struct mim_arena *arena) {
    const struct mim_arena_head *head = mim_arena_head(arena);
    return head->freed + (head->bump_end - head->bump);
}

/** Everything but the root page has been given back. */
static inline bool support_all_released(const struct mim_arena *arena) {
    return support_unheld(arena) == mim_arena_head(arena)->used - MIM_IMAGE_PAGE;
}

#endif
