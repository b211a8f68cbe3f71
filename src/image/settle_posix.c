// SPDX-License-Identifier: MIT
// Settling by copy and mremap: a page table move, atomic for the one thread that uses the image.
#include "image/settle.h"

#include <sys/mman.h>

/** Word by word: the sanitizer's memcpy would trip over the arena's own poisoned free blocks. */
__attribute__((no_sanitize("address"))) static void piece_copy(uint64_t *to, const uint64_t *from) {
    for (size_t i = 0; i < MIM_SETTLE_PIECE / sizeof(uint64_t); i++) {
        to[i] = from[i];
    }
}

/** A piece of zeros, an unused end of a chunk mostly, needs no memory. */
__attribute__((no_sanitize("address"))) static bool piece_is_zero(const uint64_t *piece) {
    for (size_t i = 0; i < MIM_SETTLE_PIECE / sizeof(uint64_t); i++) {
        if (piece[i] != 0) {
            return false;
        }
    }
    return true;
}

/** Fresh memory at `address`, huge pages when it is touched; false when the kernel refuses. */
static bool piece_map(void *address) {
    if (mmap(address, MIM_SETTLE_PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
             -1, 0) == MAP_FAILED) {
        return false;
    }
    (void)madvise(address, MIM_SETTLE_PIECE, MADV_HUGEPAGE);
    return true;
}

/** Finds aligned address space for one piece. */
static void *staging_reserve(void) {
    uint8_t *wide =
        mmap(NULL, 2 * (size_t)MIM_SETTLE_PIECE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (wide == MAP_FAILED) {
        return NULL;
    }
    uint64_t within = (uint64_t)(uintptr_t)wide % MIM_SETTLE_PIECE;
    uint64_t before = within == 0 ? 0 : MIM_SETTLE_PIECE - within;
    if (before > 0) {
        (void)munmap(wide, before);
    }
    (void)munmap(wide + before + MIM_SETTLE_PIECE, MIM_SETTLE_PIECE - before);
    return wide + before;
}

/** An anonymous piece at the staging address; false when the kernel refuses. */
static bool staging_fill(struct mim_settling *settling) {
    if (settling->staging == NULL) {
        settling->staging = staging_reserve();
    }
    return settling->staging != NULL && piece_map(settling->staging);
}

bool mim_arena_settle(struct mim_arena *arena, struct mim_settling *settling) {
    if (settling->cursor >= settling->end || settling->cursor + MIM_SETTLE_PIECE > arena->capacity) {
        return false;
    }
    uint8_t *target = arena->base + settling->cursor;
    if (piece_is_zero((const uint64_t *)(const void *)target) && piece_map(target)) {
        settling->cursor += MIM_SETTLE_PIECE;
        return settling->cursor < settling->end;
    }
    if (!staging_fill(settling)) {
        settling->cursor = settling->end;
        return false;
    }
    piece_copy(settling->staging, (const uint64_t *)(const void *)target);
    if (mremap(settling->staging, MIM_SETTLE_PIECE, MIM_SETTLE_PIECE, MREMAP_MAYMOVE | MREMAP_FIXED, target) ==
        MAP_FAILED) {
        settling->cursor = settling->end;
        return false;
    }
    /* The staging address is unmapped now; hold it for the next piece. */
    if (mmap(settling->staging, MIM_SETTLE_PIECE, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED) {
        settling->staging = NULL;
    }
    settling->cursor += MIM_SETTLE_PIECE;
    return settling->cursor < settling->end;
}

void mim_arena_settle_end(struct mim_settling *settling) {
    if (settling->staging != NULL) {
        (void)munmap(settling->staging, MIM_SETTLE_PIECE);
        settling->staging = NULL;
    }
}
