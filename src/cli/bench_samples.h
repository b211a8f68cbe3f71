// SPDX-License-Identifier: MIT
// Durations kept one by one, so that percentiles are exact where a histogram's buckets (6 % wide) would blur a ratio.
#ifndef MIM_CLI_BENCH_SAMPLES_H
#define MIM_CLI_BENCH_SAMPLES_H

#include <stdint.h>

#include "base/error.h"
#include "model/codec.h"

#define MIM_BENCH_SAMPLES_MAX 50000000u

struct mim_bench_samples {
    uint64_t *ns; /* owned */
    uint64_t count, capacity;
};

/** Room for `capacity` of them. MEMORY. */
MIM_CHECKED int mim_bench_samples_init(struct mim_bench_samples *samples, uint64_t capacity, struct mim_error *reterr);
void mim_bench_samples_deinit(struct mim_bench_samples *samples);
/** What does not fit is not kept. */
void mim_bench_samples_add(struct mim_bench_samples *samples, uint64_t ns);
/** Sorts: call it once, when all are there. */
void mim_bench_samples_sort(struct mim_bench_samples *samples);
/** Microseconds that a share (0..1) of the sorted durations does not exceed; 0 when there are none. */
double mim_bench_samples_us(const struct mim_bench_samples *samples, double share);
/** p50 to p99.99 and the greatest, in microseconds, as members of the open JSON object. */
void mim_bench_samples_json(struct mim_json *j, const struct mim_bench_samples *samples);

#endif
