// SPDX-License-Identifier: MIT
// A histogram of durations in logarithmic buckets: 16 per doubling, so a percentile is right within 6 %. Pure; adding
// costs a count of leading zeros and an addition.
#ifndef MIM_SERVER_LATENCY_H
#define MIM_SERVER_LATENCY_H

#include <stdint.h>

#define MIM_LATENCY_SUB_BITS 4u
#define MIM_LATENCY_OCTAVES  38u /* up to 2^42 ns, more than an hour; longer ones count there */
#define MIM_LATENCY_BUCKETS  ((MIM_LATENCY_OCTAVES + 1u) << MIM_LATENCY_SUB_BITS)

struct mim_latency {
    uint64_t count;
    uint64_t total_ns;
    uint64_t max_ns;
    uint64_t buckets[MIM_LATENCY_BUCKETS];
};

/** Adds `count` durations of the same length. */
void mim_latency_add(struct mim_latency *latency, uint64_t duration_ns, uint64_t count);

/** The duration that `permille` of 1000 durations do not exceed (upper edge of its bucket, at most the maximum);
 *  0 when there are none. */
uint64_t mim_latency_percentile(const struct mim_latency *latency, uint32_t permille);

#endif
