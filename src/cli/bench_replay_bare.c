// SPDX-License-Identifier: MIT
// The limit of replay on this machine: a loop that reads records from memory and changes the slots they name.
#include <stdlib.h>
#include <sys/mman.h>

#include "base/hash.h"
#include "cli/bench_replay.h"

#define RECORDS_MAX   8000000u /* 512 MB: more than any cache holds; the loop goes over them as often as it takes */
#define RECORDS_BLOCK 1000u    /* hashed at once, as a frame is */
#define AHEAD         16u
#define HUGE_PAGE     ((size_t)2 << 20)

/** As large as a small event's record, and as the slot of an account. */
struct bare_line {
    uint64_t words[8];
};

/** Zeroed lines on huge pages, touched. *ret_size is for munmap. */
static struct bare_line *bare_lines(uint64_t count, size_t *ret_size) {
    size_t size = ((size_t)count * sizeof(struct bare_line) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *lines = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (lines == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(lines, size, MADV_HUGEPAGE); /* advice: a kernel without huge pages is fine */
    for (size_t at = 0; at < size; at += 4096) {
        ((volatile uint8_t *)lines)[at] = 0;
    }
    *ret_size = size;
    return lines;
}

/** One pass over a block of records. */
static void bare_block(const struct bare_line *records, uint64_t count, struct bare_line *slots) {
    for (uint64_t i = 0; i < count; i++) {
        __builtin_prefetch(&slots[records[i + AHEAD].words[0]], 1);
        struct bare_line *slot = &slots[records[i].words[0]];
        slot->words[0]++;
        slot->words[1] += records[i].words[1];
    }
}

/** ns per event; with the hash of every block folded into *ret_hash when that is wanted. */
static double bare_measure(const struct bare_line *records, uint64_t record_count, struct bare_line *slots,
                           uint64_t events, uint64_t *ret_hash) {
    uint64_t begun = mim_bench_now_ns();
    uint64_t done = 0;
    for (uint64_t at = 0; done < events; at = at + 2u * RECORDS_BLOCK <= record_count ? at + RECORDS_BLOCK : 0) {
        uint64_t count = events - done < RECORDS_BLOCK ? events - done : RECORDS_BLOCK;
        if (ret_hash != NULL) {
            *ret_hash = mim_hash64(&records[at], count * sizeof(*records), *ret_hash);
        }
        bare_block(&records[at], count, slots);
        done += count;
    }
    return (double)(mim_bench_now_ns() - begun) / (double)events;
}

int mim_bench_bare(uint64_t events, uint64_t slots, struct mim_bench_bare *ret_bare, struct mim_error *reterr) {
    uint64_t count = events < RECORDS_MAX ? events : RECORDS_MAX;
    count = count < RECORDS_BLOCK ? RECORDS_BLOCK : count;
    size_t record_bytes = 0;
    size_t slot_bytes = 0;
    struct bare_line *records = bare_lines(count + AHEAD, &record_bytes);
    struct bare_line *state = records == NULL ? NULL : bare_lines(slots, &slot_bytes);
    if (state == NULL) {
        if (records != NULL) {
            (void)munmap(records, record_bytes);
        }
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    struct mim_prng prng;
    mim_prng_init(&prng, 1);
    for (uint64_t i = 0; i < count + AHEAD; i++) {
        records[i].words[0] = mim_prng_below(&prng, slots);
        records[i].words[1] = i;
    }
    uint64_t hash = 0;
    ret_bare->plain_ns = bare_measure(records, count, state, events, NULL);
    ret_bare->hashed_ns = bare_measure(records, count, state, events, &hash);
    __asm__ volatile("" : : "r"(hash), "r"(state->words[0]) : "memory"); /* both are results: neither loop is dropped */
    (void)munmap(state, slot_bytes);
    (void)munmap(records, record_bytes);
    return 0;
}
