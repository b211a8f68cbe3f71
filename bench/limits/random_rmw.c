// SPDX-License-Identifier: MIT
// The physical limit of changing state: random read-modify-write of 64-byte slots with prefetch 16 ahead, on pages of
// 4 KiB and on huge pages. Usage: random_rmw [SLOTS [OPERATIONS]] (default 1000000 and 50000000).
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define SLOT_SIZE 64u
#define AHEAD     16u
#define HUGE_PAGE ((size_t)2 << 20)

static uint64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/** The n-th number of a fixed sequence (splitmix64): no table, so that only the slots miss the caches. */
static inline uint64_t number(uint64_t n) {
    uint64_t z = n * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t slot_of(uint64_t n, uint64_t slots) {
    return (uint64_t)(((__uint128_t)number(n) * slots) >> 64);
}

static int measure(uint64_t slots, uint64_t operations, int advice, const char *name) {
    size_t size = (slots * SLOT_SIZE + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uint8_t *map = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        return -1;
    }
    uint8_t *base = map + (HUGE_PAGE - (uintptr_t)map % HUGE_PAGE) % HUGE_PAGE;
    (void)madvise(base, size, advice);
    for (size_t at = 0; at < size; at += 4096) {
        base[at] = 1;
    }
    uint64_t begun = now_ns();
    for (uint64_t i = 0; i < operations; i++) {
        __builtin_prefetch(base + slot_of(i + AHEAD, slots) * SLOT_SIZE, 1);
        uint64_t *slot = (uint64_t *)(void *)(base + slot_of(i, slots) * SLOT_SIZE);
        slot[0]++;
        slot[1] += i;
    }
    double ns = (double)(now_ns() - begun) / (double)operations;
    (void)printf("%llu slots, %s: %.1f ns, %.1f M/s\n", (unsigned long long)slots, name, ns, 1e3 / ns);
    (void)munmap(map, size + HUGE_PAGE);
    return 0;
}

int main(int argc, char **argv) {
    uint64_t slots = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    uint64_t operations = argc > 2 ? strtoull(argv[2], NULL, 10) : 50000000;
    if (slots == 0 || slots > (uint64_t)1 << 36 || operations == 0) {
        (void)fprintf(stderr, "Usage: random_rmw [SLOTS [OPERATIONS]]\n");
        return 1;
    }
    int rc = measure(slots, operations, MADV_NOHUGEPAGE, "pages of 4 KiB");
    rc = rc == 0 ? measure(slots, operations, MADV_HUGEPAGE, "huge pages") : rc;
    if (rc != 0) {
        (void)fprintf(stderr, "random_rmw: no memory for %llu slots\n", (unsigned long long)slots);
    }
    return rc == 0 ? 0 : 1;
}
