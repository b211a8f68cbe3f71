// SPDX-License-Identifier: MIT
// Where the arena's memory comes from: one mmap of address space, never moved, never committed ahead of use; or the
// same with a snapshot file privately mapped at its front. The only file of this part that makes system calls.
#include "image/image.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/arena.h"

#define ARENA_HUGE_PAGE       (2ull << 20)
#define ARENA_HUGE_FROM       (1ull << 30) /* smaller reservations are tools and tests: small pages serve them better */
#define ARENA_RESERVATION_MAX (1ull << 46)
#define ARENA_HOLES_MAX       4096u /* mappings that a file may be split into; the kernel allows 65530 */

_Static_assert(MIM_IMAGE_RESERVATION_MIN % ARENA_HUGE_PAGE == 0, "a reservation is made of huge pages");

/** Reserves `size` bytes at a huge page's boundary; `spare` bytes more must be possible, but are given back. */
static uint8_t *arena_reserve(uint64_t size, uint64_t spare) {
    uint64_t length = size + spare + ARENA_HUGE_PAGE;
    uint8_t *start = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        return NULL;
    }
    uint64_t front = -(uint64_t)(uintptr_t)start & (ARENA_HUGE_PAGE - 1);
    uint8_t *base = start + front;
    uint64_t back = length - front - size;
    if (front > 0) {
        (void)munmap(start, front);
    }
    if (back > 0) {
        (void)munmap(base + size, back);
    }
    if (size >= ARENA_HUGE_FROM) {
        (void)madvise(base, size, MADV_HUGEPAGE); /* advice: a kernel without huge pages is fine */
    }
    return base;
}

/** Reserves, halving what is refused (RLIMIT_AS, strict overcommit), down to `least`. Having been refused once it
 *  leaves room for the rest of the process. */
static int arena_reserve_any(struct mim_arena *ret_arena, uint64_t reservation, uint64_t least,
                             struct mim_error *reterr) {
    uint64_t size = reservation == 0 ? MIM_IMAGE_RESERVATION_DEFAULT : reservation;
    size = size < least ? least : size;
    size = size > ARENA_RESERVATION_MAX ? ARENA_RESERVATION_MAX : size;
    size = (size + ARENA_HUGE_PAGE - 1) & ~(ARENA_HUGE_PAGE - 1);
    uint64_t asked = size;
    uint8_t *base = arena_reserve(size, 0);
    while (base == NULL && size > least) {
        size = (size / 2) & ~(ARENA_HUGE_PAGE - 1);
        size = size < least ? least : size;
        base = arena_reserve(size, size / 4);
    }
    if (base == NULL) {
        return mim_error_os(reterr, MIM_E_MEMORY, errno,
                            "cannot reserve between %" PRIu64 " and %" PRIu64 " bytes of address space", size, asked);
    }
    *ret_arena = (struct mim_arena){.base = base, .capacity = size, .limit = size};
    return 0;
}

int mim_arena_open(struct mim_arena *ret_arena, uint64_t reservation, struct mim_error *reterr) {
    struct mim_arena arena = {0};
    int r = arena_reserve_any(&arena, reservation, MIM_IMAGE_RESERVATION_MIN, reterr);
    if (r < 0) {
        return r;
    }
    mim_arena_start(&arena);
    *ret_arena = arena;
    return 0;
}

/** Checks that the file holds the bytes: a mapping beyond its end would be a signal later. */
static int arena_check_file(int fd, uint64_t offset, uint64_t size, struct mim_error *reterr) {
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return mim_error_os(reterr, MIM_E_IO, errno, "cannot stat the image's file");
    }
    if (size < MIM_IMAGE_PAGE || size % MIM_IMAGE_PAGE != 0 || offset % MIM_IMAGE_PAGE != 0 ||
        size > ARENA_RESERVATION_MAX / 2) {
        return mim_error_set(reterr, MIM_E_FORMAT, "an image is made of whole pages, not %" PRIu64 " bytes at %" PRIu64,
                             size, offset);
    }
    uint64_t end = status.st_size < 0 ? 0 : (uint64_t)status.st_size;
    if (offset > end || size > end - offset) {
        return mim_error_set(reterr, MIM_E_FORMAT, "the file ends at %" PRIu64 ", the image at %" PRIu64, end,
                             offset + size);
    }
    return 0;
}

/** Takes the file's holes out of the mapping: they are fresh memory. Where no page of the file is, a fault may have to
 *  make one (tmpfs does, and kills with SIGBUS when it is full); and what is fresh can be huge pages at once. */
static int arena_unmap_holes(struct mim_arena *arena, int fd, uint64_t offset, uint64_t size,
                             struct mim_error *reterr) {
    off_t end = (off_t)(offset + size);
    off_t at = (off_t)offset;
    for (unsigned holes = 0; at < end && holes < ARENA_HOLES_MAX; holes++) {
        off_t hole = lseek(fd, at, SEEK_HOLE);
        if (hole < 0 || hole >= end) { /* no more, or a file system that does not tell */
            return 0;
        }
        off_t data = lseek(fd, hole, SEEK_DATA);
        at = data < 0 || data > end ? end : data;
        uint64_t from = ((uint64_t)hole - offset + MIM_IMAGE_PAGE - 1) & ~((uint64_t)MIM_IMAGE_PAGE - 1);
        uint64_t to = ((uint64_t)at - offset) & ~((uint64_t)MIM_IMAGE_PAGE - 1);
        if (from >= to) {
            continue;
        }
        if (mmap(arena->base + from, to - from, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED) {
            return mim_error_os(reterr, MIM_E_MEMORY, errno, "cannot map the image's holes");
        }
        if (arena->capacity >= ARENA_HUGE_FROM) {
            (void)madvise(arena->base + from, to - from, MADV_HUGEPAGE);
        }
    }
    return 0;
}

int mim_arena_map(struct mim_arena *ret_arena, int fd, uint64_t offset, uint64_t size, uint64_t reservation,
                  struct mim_error *reterr) {
    int r = arena_check_file(fd, offset, size, reterr);
    if (r < 0) {
        return r;
    }
    struct mim_arena arena = {0};
    uint64_t least = (size + ARENA_HUGE_PAGE - 1) & ~(ARENA_HUGE_PAGE - 1);
    r = arena_reserve_any(&arena, reservation, least + MIM_IMAGE_RESERVATION_MIN, reterr);
    if (r < 0) {
        return r;
    }
    void *mapped =
        mmap(arena.base, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, (off_t)offset);
    if (mapped == MAP_FAILED) {
        r = mim_error_os(reterr, MIM_E_IO, errno, "cannot map the image's file");
    } else {
        r = arena_unmap_holes(&arena, fd, offset, size, reterr);
        r = r < 0 ? r : mim_arena_adopt(&arena, size, reterr);
    }
    if (r < 0) {
        mim_arena_poison_lift(&arena);
        (void)munmap(arena.base, arena.capacity);
        return r;
    }
    *ret_arena = arena;
    return 0;
}

void mim_arena_close(struct mim_arena *arena) {
    if (arena->base != NULL) {
        mim_arena_poison_lift(arena);
        (void)munmap(arena->base, arena->capacity);
    }
    *arena = (struct mim_arena){0};
}
