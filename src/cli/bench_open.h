// SPDX-License-Identifier: MIT
// An open loop of requests at a fixed rate: latencies without coordinated omission.
#ifndef MIM_CLI_BENCH_OPEN_H
#define MIM_CLI_BENCH_OPEN_H

#include "cli/bench.h"
#include "cli/bench_samples.h"

struct mim_bench_open {
    const struct mim_bench_target *target;     /* borrowed, open */
    const struct mim_bench_requests *requests; /* borrowed, not empty; chosen at random */
    uint64_t rate, clients, seconds;           /* each at least 1 */
    uint64_t total, warm_up;                   /* requests; the first ones are not counted */
    uint64_t begun_ns, now_ns;
    uint64_t sent, answered, errors;
    char error[160];
    struct mim_bench_samples samples; /* sorted; deinit it, also after failure */
};

/** Runs it with what is given above. USAGE: too many requests; NETWORK; STATE: error replies, or none for ten seconds. */
MIM_CHECKED int mim_bench_open_run(struct mim_bench_open *open, struct mim_error *reterr);
/** Prints its figures, as text or JSON. */
void mim_bench_open_print(const struct mim_bench_open *open, bool json);

#endif
