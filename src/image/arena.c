// SPDX-License-Identifier: MIT
// The allocator of the image: size classes with free lists in front of a bump pointer. Pure; arena_posix.c brings the
// memory. `used` only grows; small blocks come from runs of pages, blocks of a page and more straight from `used`.
// Whatever alignment or an abandoned run leaves over goes onto the free lists, so nothing is lost.
#include "image/arena.h"

#include <inttypes.h>
#include <string.h>

#include "base/assert.h"

#define ARENA_RUN           65536u /* bytes a run of small blocks grows by */
#define ARENA_LINE          64u
#define ARENA_HUGE          (2u << 20)   /* a huge page */
#define ARENA_REDZONE       65536u       /* poisoned behind `used` in sanitizer builds */
#define ARENA_SMALL_CLASSES 16u          /* 8, 16 ... 128 */
#define ARENA_SIZE_MAX      (1ull << 43) /* the largest class */

_Static_assert(sizeof(struct mim_arena_head) == 56 + 8 * MIM_ARENA_CLASSES, "part of the format");
_Static_assert(sizeof(struct mim_arena_head) <= MIM_IMAGE_PAGE, "the head fits the root page");
_Static_assert(128ull << ((MIM_ARENA_CLASSES - ARENA_SMALL_CLASSES) / 4) == ARENA_SIZE_MAX,
               "classes and the largest size agree");

/** A size class: its list and the bytes of its blocks. */
struct arena_class {
    uint32_t index;
    uint64_t size;
};

static uint64_t arena_round_up(uint64_t n, uint64_t unit) { return (n + unit - 1) & ~(unit - 1); }

/** The class that serves `size` <= ARENA_SIZE_MAX. */
static struct arena_class arena_class_of(uint64_t size) {
    if (size <= 128) {
        uint32_t index = size == 0 ? 0 : (uint32_t)((size + 7) / 8 - 1);
        return (struct arena_class){.index = index, .size = 8ull * (index + 1)};
    }
    if (size > MIM_IMAGE_PAGE) {
        size = arena_round_up(size, MIM_IMAGE_PAGE);
    }
    uint64_t below = size - 1;
    unsigned log = 63u - (unsigned)__builtin_clzll(below);
    uint64_t quarter = (below >> (log - 2)) & 3u;
    return (struct arena_class){
        .index = ARENA_SMALL_CLASSES + (log - 7) * 4 + (uint32_t)quarter,
        .size = (1ull << log) + ((quarter + 1) << (log - 2)),
    };
}

/** The largest class of at most `size` bytes; size is a multiple of 64 or of the page, or at most 128. */
static struct arena_class arena_class_within(uint64_t size) {
    struct arena_class class = arena_class_of(size);
    if (class.size > size) {
        uint64_t step = 1ull << (63u - (unsigned)__builtin_clzll(size) - 2);
        class = arena_class_of(size & ~(step - 1));
    }
    return class;
}

uint64_t mim_arena_class_size(uint64_t size) { return size > ARENA_SIZE_MAX ? UINT64_MAX : arena_class_of(size).size; }

uint64_t mim_arena_available(const struct mim_arena *arena) {
    const struct mim_arena_head *head = mim_arena_head(arena);
    uint64_t fresh = arena->limit > head->used ? arena->limit - head->used : 0;
    return fresh + (head->bump_end - head->bump);
}

static void arena_push_free(const struct mim_arena *arena, struct arena_class class, uint64_t offset) {
    struct mim_arena_head *head = mim_arena_head(arena);
    mim_unpoison(arena->base + offset, sizeof(uint64_t));
    mim_put64(arena->base + offset, head->free_lists[class.index]);
    head->free_lists[class.index] = offset;
    head->freed += class.size;
    mim_poison(arena->base + offset, class.size);
}

/** Puts unused bytes [offset, end), both multiples of 8, onto the free lists in blocks as large as alignment allows. */
static void arena_carve(const struct mim_arena *arena, uint64_t offset, uint64_t end) {
    while (offset < end) {
        uint64_t rest = end - offset;
        uint64_t to_line = arena_round_up(offset, ARENA_LINE) - offset;
        uint64_t to_page = arena_round_up(offset, MIM_IMAGE_PAGE) - offset;
        uint64_t size = rest;
        if (to_line > 0) {
            size = to_line < rest ? to_line : rest;
        } else if (to_page > 0 && to_page < rest) {
            size = to_page;
        } else if (to_page == 0 && rest >= MIM_IMAGE_PAGE) {
            size = rest & ~(uint64_t)(MIM_IMAGE_PAGE - 1);
        }
        if (to_line == 0 && size >= ARENA_LINE) {
            size &= ~(uint64_t)(ARENA_LINE - 1);
        }
        struct arena_class class = arena_class_within(size);
        arena_push_free(arena, class, offset);
        offset += class.size;
    }
}

/** Raises `used` by size, a multiple of the page. False: the limit. */
static bool arena_extend(const struct mim_arena *arena, uint64_t size, uint64_t *ret_offset) {
    struct mim_arena_head *head = mim_arena_head(arena);
    if (head->used > arena->limit || size > arena->limit - head->used) {
        return false;
    }
    *ret_offset = head->used;
    head->used += size;
    uint64_t behind = arena->capacity - head->used;
    mim_poison(arena->base + head->used, behind < ARENA_REDZONE ? behind : ARENA_REDZONE);
    return true;
}

/** Fresh pages. Beyond a huge page the block begins at one, where the gap is small; the gap is not lost. */
static uint64_t arena_take_pages(const struct mim_arena *arena, uint64_t size) {
    uint64_t used = mim_arena_head(arena)->used;
    uint64_t gap = size > ARENA_HUGE ? arena_round_up(used, ARENA_HUGE) - used : 0;
    uint64_t fresh = arena->limit > used ? arena->limit - used : 0;
    if (gap > size / 4 || size > fresh || gap > fresh - size) {
        gap = 0;
    }
    uint64_t offset = 0;
    if (!arena_extend(arena, gap + size, &offset)) {
        return 0;
    }
    arena_carve(arena, offset, offset + gap);
    return offset + gap;
}

/** Makes the run of small blocks `size` bytes long at least, behind what is there or anew. False: the limit. */
static bool arena_run_grow(const struct mim_arena *arena, uint64_t size) {
    struct mim_arena_head *head = mim_arena_head(arena);
    bool adjacent = head->bump_end == head->used;
    uint64_t missing = adjacent ? size - (head->bump_end - head->bump) : size;
    uint64_t offset = 0;
    uint64_t grown = ARENA_RUN;
    if (!arena_extend(arena, grown, &offset)) {
        grown = arena_round_up(missing, MIM_IMAGE_PAGE);
        if (!arena_extend(arena, grown, &offset)) {
            return false;
        }
    }
    mim_poison(arena->base + offset, grown);
    if (!adjacent) {
        arena_carve(arena, head->bump, head->bump_end);
        head->bump = offset;
    }
    head->bump_end = offset + grown;
    return true;
}

/** Fresh memory for a small block. */
static uint64_t arena_take_small(const struct mim_arena *arena, uint64_t size) {
    struct mim_arena_head *head = mim_arena_head(arena);
    bool lined = size % ARENA_LINE == 0;
    uint64_t gap = lined ? arena_round_up(head->bump, ARENA_LINE) - head->bump : 0;
    if (head->bump_end - head->bump < gap + size) {
        if (!arena_run_grow(arena, gap + size)) {
            return 0;
        }
        gap = lined ? arena_round_up(head->bump, ARENA_LINE) - head->bump : 0;
    }
    uint64_t offset = head->bump + gap;
    arena_carve(arena, head->bump, offset);
    head->bump = offset + size;
    return offset;
}

struct mim_ref mim_arena_alloc(struct mim_arena *arena, uint64_t size) {
    if (size > ARENA_SIZE_MAX) {
        return (struct mim_ref){0};
    }
    size = size == 0 ? 1 : size;
    struct mim_arena_head *head = mim_arena_head(arena);
    struct arena_class class = arena_class_of(size);
    uint64_t offset = head->free_lists[class.index];
    if (offset != 0) {
        MIM_ASSERT(offset < head->used);
        uint8_t *block = arena->base + offset;
        mim_unpoison(block, class.size);
        head->free_lists[class.index] = mim_get64(block);
        head->freed -= class.size;
        memset(block, 0, class.size);
    } else {
        offset =
            class.size < MIM_IMAGE_PAGE ? arena_take_small(arena, class.size) : arena_take_pages(arena, class.size);
        if (offset == 0) {
            return (struct mim_ref){0};
        }
        mim_unpoison(arena->base + offset, class.size);
    }
    mim_poison(arena->base + offset + size, class.size - size);
    return (struct mim_ref){.offset = offset};
}

void mim_arena_release(struct mim_arena *arena, struct mim_ref ref, uint64_t size) {
    if (mim_ref_is_null(ref)) {
        return;
    }
    struct mim_arena_head *head = mim_arena_head(arena);
    MIM_ASSERT(size <= ARENA_SIZE_MAX);
    MIM_ASSERT(ref.offset >= MIM_IMAGE_PAGE && ref.offset < head->used && ref.offset % 8 == 0);
    struct arena_class class = arena_class_of(size);
    MIM_ASSERT(class.size <= head->used - ref.offset);
    MIM_ASSERT(!mim_is_poisoned(mim_arena_at(arena, ref)));
    arena_push_free(arena, class, ref.offset);
}

void mim_arena_resize_block(const struct mim_arena *arena, struct mim_ref ref, uint64_t size) {
    uint64_t block = mim_arena_class_size(size);
    mim_unpoison(arena->base + ref.offset, block);
    mim_poison(arena->base + ref.offset + size, block - size);
}

void mim_arena_start(struct mim_arena *arena) {
    struct mim_arena_head *head = mim_arena_head(arena);
    *head = (struct mim_arena_head){
        .magic = MIM_ARENA_MAGIC,
        .format = MIM_ARENA_FORMAT,
        .used = MIM_IMAGE_PAGE,
        .bump = MIM_IMAGE_PAGE,
        .bump_end = MIM_IMAGE_PAGE,
    };
    mim_arena_poison_restore(arena);
}

int mim_arena_check(const struct mim_arena_head *head, uint64_t size, struct mim_error *reterr) {
    if (size < MIM_IMAGE_PAGE || head->magic != MIM_ARENA_MAGIC) {
        return mim_error_set(reterr, MIM_E_FORMAT, "not an image");
    }
    if (head->format != MIM_ARENA_FORMAT || head->reserved != 0) {
        return mim_error_set(reterr, MIM_E_FORMAT, "image format %u is not supported", head->format);
    }
    bool sane = head->used >= MIM_IMAGE_PAGE && head->used <= size && head->used % MIM_IMAGE_PAGE == 0 &&
                head->freed <= head->used && head->bump >= MIM_IMAGE_PAGE && head->bump <= head->bump_end &&
                head->bump_end <= head->used && (head->bump | head->bump_end) % 8 == 0;
    for (uint32_t i = 0; i < MIM_ARENA_CLASSES; i++) {
        sane = sane && head->free_lists[i] < head->used && head->free_lists[i] % 8 == 0;
    }
    if (!sane) {
        return mim_error_set(reterr, MIM_E_FORMAT, "the head of the image contradicts itself");
    }
    return 0;
}

int mim_arena_adopt(struct mim_arena *arena, uint64_t size, struct mim_error *reterr) {
    struct mim_arena_head *head = mim_arena_head(arena);
    int r = mim_arena_check(head, size, reterr);
    if (r == 0 && head->used != size) {
        r = mim_error_set(reterr, MIM_E_FORMAT, "the image has %" PRIu64 " bytes, the file says %" PRIu64, head->used,
                          size);
    }
    if (r < 0) {
        memset(arena->base, 0, MIM_IMAGE_PAGE);
        mim_arena_start(arena);
        return r;
    }
    mim_arena_poison_restore(arena);
    return 0;
}

/** Bytes of the arena that may carry poison. */
static uint64_t arena_poison_end(const struct mim_arena *arena) {
    uint64_t behind = arena->capacity - mim_arena_head(arena)->used;
    return mim_arena_head(arena)->used + (behind < ARENA_REDZONE ? behind : ARENA_REDZONE);
}

void mim_arena_poison_lift(const struct mim_arena *arena) { mim_unpoison(arena->base, arena_poison_end(arena)); }

void mim_arena_poison_restore(const struct mim_arena *arena) {
#ifdef MIM_ASAN
    const struct mim_arena_head *head = mim_arena_head(arena);
    mim_poison(arena->base + head->used, arena_poison_end(arena) - head->used);
    mim_poison(arena->base + head->bump, head->bump_end - head->bump);
    uint64_t size = 0;
    for (uint32_t i = 0; i < MIM_ARENA_CLASSES; i++) {
        if (head->free_lists[i] == 0) {
            continue;
        }
        size = i < ARENA_SMALL_CLASSES ? 8ull * (i + 1) : 32ull * ((i & 3u) + 5) << ((i - ARENA_SMALL_CLASSES) / 4);
        uint64_t next = 0;
        for (uint64_t offset = head->free_lists[i]; offset != 0; offset = next) {
            mim_unpoison(arena->base + offset, sizeof(uint64_t));
            next = mim_get64(arena->base + offset);
            mim_poison(arena->base + offset, size);
        }
    }
#else
    (void)arena;
#endif
}
