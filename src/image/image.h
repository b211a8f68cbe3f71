// SPDX-License-Identifier: MIT
// The image: all state of the process in one relocatable arena. One contiguous reservation of address space,
// addressed by offsets (struct mim_ref) only: written to a file as it stands, mapped at any address in any
// process, it is the same image. Inside: a root page, an allocator with size classes, dense arrays, indexes,
// containers. Pure memory: no files, no threads, no clock; the same calls in the same order give the same bytes.
//
// Growth never copies and never pauses: arrays are chains of chunks that double in size (a directory of 40
// offsets finds any element), hash tables split one bucket per insertion (linear hashing).
// Failure: only arena_alloc beyond the reservation, which returns the null ref; the engine keeps
// MIM_IMAGE_HEADROOM free before it decides a command, so that evolving cannot fail.
// Memory given back is zeroed on reuse, never on free; nothing is returned to the operating system.
#ifndef MIM_IMAGE_IMAGE_H
#define MIM_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/types.h"
#include "memimage/model.h"

/** Offset of something in the arena; 0 is null (the root page stands there). */
struct mim_ref {
    uint64_t offset;
};

#define MIM_IMAGE_PAGE    4096u
#define MIM_ARENA_CLASSES 160u /* 8-byte steps to 128, then four per doubling: 128 << 36 is beyond any address space */

/** Head of the arena at offset 0; part of the snapshot format. Explicit layout, reserved bytes zero. */
struct mim_arena_head {
    uint64_t magic;  /* MIM_ARENA_MAGIC */
    uint32_t format; /* MIM_ARENA_FORMAT */
    uint32_t reserved;
    uint64_t used;                          /* bytes of the image: [0, used) is all of it */
    uint64_t freed;                         /* bytes on the free lists */
    uint64_t free_lists[MIM_ARENA_CLASSES]; /* heads, by size class; a free block's first word is the next */
    uint64_t bump;                          /* next unused byte of the current small-object page run */
    uint64_t bump_end;
    struct mim_ref root; /* the owner's root object (the engine's); set by the owner */
};
#define MIM_ARENA_MAGIC  0x3130414d494d454dull /* "MEMIMA01" */
#define MIM_ARENA_FORMAT 1u

/** A process's view of an image. Copyable by the owner; `base` does not move for the life of the arena. */
struct mim_arena {
    uint8_t *base;
    uint64_t capacity; /* bytes reserved */
    uint64_t limit;    /* bytes that may be used: min(capacity, configured memory limit) */
};

/* ---- arena (arena.c, arena_posix.c) ---- */

/** Reserves address space and starts an empty image in it. reservation 0 = default; falls back to less where
 *  RLIMIT_AS does not allow it. Errors: MEMORY. */
MIM_CHECKED int mim_arena_open(struct mim_arena *ret_arena, uint64_t reservation, struct mim_error *reterr);
/** Reserves address space whose first bytes are a private mapping of [offset, offset+size) of fd (a snapshot).
 *  The file must stay unchanged while mapped. Errors: MEMORY, IO, FORMAT (not an arena). */
MIM_CHECKED int mim_arena_map(struct mim_arena *ret_arena, int fd, uint64_t offset, uint64_t size, uint64_t reservation,
                              struct mim_error *reterr);
void mim_arena_close(struct mim_arena *arena);

static inline struct mim_arena_head *mim_arena_head(const struct mim_arena *arena) {
    return (struct mim_arena_head *)(void *)arena->base;
}
static inline void *mim_arena_at(const struct mim_arena *arena, struct mim_ref ref) { return arena->base + ref.offset; }
static inline bool mim_ref_is_null(struct mim_ref ref) { return ref.offset == 0; }

/** Allocates zeroed bytes, 8-aligned (64-aligned when the block size is a multiple of 64, page-aligned from 4096 on,
 *  mostly 2 MiB-aligned beyond 2 MiB). Small sizes: classes of 8 bytes to 128, then four classes per doubling.
 *  Cost: one list pop and the zeroing of the block, or one bump; fresh memory is zero and stays untouched.
 *  Returns the null ref when the limit is reached. */
struct mim_ref mim_arena_alloc(struct mim_arena *arena, uint64_t size);
/** Gives back a block of mim_arena_alloc with the same size; the null ref is fine. */
void mim_arena_release(struct mim_arena *arena, struct mim_ref ref, uint64_t size);
/** Bytes of fresh memory still allocatable; what is on the free lists comes on top of it, block by block. */
uint64_t mim_arena_available(const struct mim_arena *arena);
/** The block size that serves a request of `size`. */
uint64_t mim_arena_class_size(uint64_t size);
/** AddressSanitizer builds poison what is not allocated; elsewhere these do nothing. Lift it before the image is read
 *  as plain bytes (copied, compared, written to a file), restore it afterwards and after bytes were put in place. */
void mim_arena_poison_lift(const struct mim_arena *arena);
/** Takes `size` bytes of an image that were read into an open arena (behind mim_arena_poison_lift) as its content, checked
 *  as mim_arena_map checks. FORMAT, also for 0 (reading failed): the arena is an empty image then. */
MIM_CHECKED int mim_arena_adopt(struct mim_arena *arena, uint64_t size, struct mim_error *reterr);
void mim_arena_poison_restore(const struct mim_arena *arena);

/* ---- slots (slots.c): dense array of fixed-size elements in doubling chunks ---- */

#define MIM_SLOTS_FIRST  64u /* elements of chunk 0; chunk k holds 64 << k */
#define MIM_SLOTS_CHUNKS 27u /* 64 * (2^27 - 1) elements: more than 2^32 */

/** In the image. `{0}` with element_size set is an empty array. */
struct mim_slots {
    uint64_t count;
    uint32_t element_size; /* multiple of 8 */
    uint32_t reserved;
    struct mim_ref chunks[MIM_SLOTS_CHUNKS];
};

/** Address of element n < count. Two shifts and one load from a directory that stays in L1. */
static inline void *mim_slots_at(const struct mim_arena *arena, const struct mim_slots *slots, uint64_t n) {
    uint64_t biased = n + MIM_SLOTS_FIRST;
    unsigned log = 63u ^ (unsigned)__builtin_clzll(biased);
    uint64_t within = biased - (1ull << log);
    return arena->base + slots->chunks[log - 6u].offset + within * slots->element_size; /* 6: log2(64) */
}
/** Appends a zeroed element and returns its address, NULL when the arena is full. */
void *mim_slots_push(struct mim_arena *arena, struct mim_slots *slots);
/** Bytes the next push allocates: 0 but when it begins a chunk, which may be far more than MIM_IMAGE_HEADROOM. */
uint64_t mim_slots_growth(const struct mim_slots *slots);
/** Releases all chunks: an empty array of the same element size. */
void mim_slots_clear(struct mim_arena *arena, struct mim_slots *slots);
/** Starts loading the first line of element n; any n is fine. */
static inline void mim_slots_prefetch(const struct mim_arena *arena, const struct mim_slots *slots, uint64_t n) {
    if (n < slots->count) {
        __builtin_prefetch(mim_slots_at(arena, slots, n));
    }
}

/* ---- text (text.c): a string of 8 bytes, up to 7 bytes inline ---- */

/* struct mim_text (memimage/model.h): `{0}` is empty. Low byte odd: inline, size << 1 | 1, bytes above it; else a
 * ref to {u32 size, bytes}. */
/** Borrowed until the text is changed. An inline text borrows the struct itself, hence the pointer. */
struct mim_slice mim_text_slice(const struct mim_arena *arena, const struct mim_text *text);
/** Fetches a text that stands in a block of its own into the cache. */
void mim_text_prefetch(const struct mim_arena *arena, const struct mim_text *text);
/** Replaces the content; false when the arena is full (unchanged then). */
MIM_CHECKED bool mim_text_assign(struct mim_arena *arena, struct mim_text *text, struct mim_slice value);
void mim_text_clear(struct mim_arena *arena, struct mim_text *text);

/* ---- index (index.c): hash32 -> number, linear hashing in 64-byte buckets ---- */

/** In the image. `{0}` is empty. A bucket: 7 entries {hash32, number} and a ref to an overflow bucket.
 *  One bucket is split per insertion beyond the load factor (6): no pause at any size. 13.7 bytes per entry, 0.13
 *  cache misses above 1. The table never shrinks. */
struct mim_index {
    uint64_t count;
    uint64_t buckets;             /* buckets in use, >= 1 once anything is in it */
    struct mim_slots table;       /* element_size 64 */
    struct mim_ref free_overflow; /* overflow buckets to reuse */
};
/** Says whether entry `number` has the key sought; NULL: any of the hash will do. */
typedef bool mim_index_match_fn(const void *context, uint32_t number);
/** Finds the number; false when absent. */
bool mim_index_find(const struct mim_arena *arena, const struct mim_index *index, uint32_t hash,
                    mim_index_match_fn *match, const void *context, uint32_t *ret_number);
/** Inserts without looking for a duplicate; false when the arena is full (unchanged then). A split that finds no
 *  memory is put off, not an error: chains get longer, and what fails is only an entry that finds no bucket. */
MIM_CHECKED bool mim_index_insert(struct mim_arena *arena, struct mim_index *index, uint32_t hash, uint32_t number);
/** Removes the entry {hash, number}; false when absent. */
bool mim_index_remove(struct mim_arena *arena, struct mim_index *index, uint32_t hash, uint32_t number);
/** Changes the number of an entry (an element moved); false when absent. */
bool mim_index_renumber(struct mim_arena *arena, struct mim_index *index, uint32_t hash, uint32_t from, uint32_t to);
/** Prefetches the bucket of a hash, and returns it for mim_index_prefetch_chain; NULL: the index has none yet. */
const void *mim_index_prefetch(const struct mim_arena *arena, const struct mim_index *index, uint32_t hash);
/** Some time after mim_index_prefetch: prefetches that bucket's overflow bucket, where it has one. The index may have
 *  changed meanwhile, but not have been cleared; NULL is fine. */
void mim_index_prefetch_chain(const struct mim_arena *arena, const void *bucket);
/** Releases everything: an empty index. */
void mim_index_clear(struct mim_arena *arena, struct mim_index *index);

#endif
