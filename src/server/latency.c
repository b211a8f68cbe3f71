// SPDX-License-Identifier: MIT
// The histogram of durations; see latency.h.
#include "server/latency.h"

#include "base/assert.h"

#define SUB (1u << MIM_LATENCY_SUB_BITS)

static uint32_t bucket_of(uint64_t duration_ns) {
    if (duration_ns < SUB) {
        return (uint32_t)duration_ns;
    }
    uint32_t log = 63u - (uint32_t)__builtin_clzll(duration_ns);
    uint32_t octave = log - MIM_LATENCY_SUB_BITS;
    uint32_t within = (uint32_t)(duration_ns >> octave) & (SUB - 1u);
    uint32_t bucket = ((octave + 1u) << MIM_LATENCY_SUB_BITS) + within;
    return bucket < MIM_LATENCY_BUCKETS ? bucket : MIM_LATENCY_BUCKETS - 1u;
}

/** The largest duration that falls into a bucket. */
static uint64_t bucket_end(uint32_t bucket) {
    if (bucket < SUB) {
        return bucket;
    }
    uint32_t octave = (bucket >> MIM_LATENCY_SUB_BITS) - 1u;
    uint64_t within = bucket & (SUB - 1u);
    return ((SUB + within + 1u) << octave) - 1u;
}

void mim_latency_add(struct mim_latency *latency, uint64_t duration_ns, uint64_t count) {
    latency->buckets[bucket_of(duration_ns)] += count;
    latency->count += count;
    latency->total_ns += duration_ns * count;
    if (duration_ns > latency->max_ns) {
        latency->max_ns = duration_ns;
    }
}

uint64_t mim_latency_percentile(const struct mim_latency *latency, uint32_t permille) {
    MIM_ASSERT(permille <= 1000);
    if (latency->count == 0) {
        return 0;
    }
    uint64_t wanted = (latency->count * permille + 999) / 1000;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < MIM_LATENCY_BUCKETS; i++) {
        seen += latency->buckets[i];
        if (seen >= wanted && seen > 0) {
            uint64_t end = bucket_end(i);
            return end < latency->max_ns ? end : latency->max_ns;
        }
    }
    return latency->max_ns;
}
