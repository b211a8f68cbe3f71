// SPDX-License-Identifier: MIT
// Durations kept one by one; see bench_samples.h.
#include "cli/bench_samples.h"

#include <stdlib.h>

int mim_bench_samples_init(struct mim_bench_samples *samples, uint64_t capacity, struct mim_error *reterr) {
    *samples = (struct mim_bench_samples){.capacity = capacity};
    samples->ns = calloc(capacity > 0 ? capacity : 1, sizeof(*samples->ns));
    return samples->ns != NULL ? 0 : mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
}

void mim_bench_samples_deinit(struct mim_bench_samples *samples) {
    free(samples->ns);
    *samples = (struct mim_bench_samples){0};
}

void mim_bench_samples_add(struct mim_bench_samples *samples, uint64_t ns) {
    if (samples->count < samples->capacity) {
        samples->ns[samples->count++] = ns;
    }
}

static int ascending(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right ? 1 : 0;
}

void mim_bench_samples_sort(struct mim_bench_samples *samples) {
    qsort(samples->ns, samples->count, sizeof(*samples->ns), ascending);
}

double mim_bench_samples_us(const struct mim_bench_samples *samples, double share) {
    if (samples->count == 0) {
        return 0;
    }
    uint64_t at = (uint64_t)(share * (double)samples->count);
    return (double)samples->ns[at < samples->count ? at : samples->count - 1] / 1e3;
}

void mim_bench_samples_json(struct mim_json *j, const struct mim_bench_samples *samples) {
    static const struct {
        const char *key;
        double share;
    } points[] = {{"p50_us", 0.5},    {"p90_us", 0.9},      {"p99_us", 0.99},
                  {"p999_us", 0.999}, {"p9999_us", 0.9999}, {"max_us", 1}};
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        mim_json_key(j, points[i].key);
        mim_json_f64(j, mim_bench_samples_us(samples, points[i].share));
    }
}
