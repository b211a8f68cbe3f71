// SPDX-License-Identifier: MIT
// Inside memimage bench replay: the journal to replay (bench_replay_make.c), the limit to hold against (bench_replay_bare.c).
#ifndef MIM_CLI_BENCH_REPLAY_H
#define MIM_CLI_BENCH_REPLAY_H

#include "base/prng.h"
#include "cli/bench.h"
#include "cli/progress.h"
#include "engine/recovery.h"

/** What is replayed. */
struct mim_bench_journal {
    uint64_t events, accounts;
    bool keys; /* every command carries an idempotency key */
    struct mim_storage storage;
    const struct mim_compiled *compiled;
    struct mim_prng prng;
    struct mim_progress progress;
    mim_lsn_t opened_lsn; /* end of the frames that open the accounts; changes of them follow */
    uint64_t digest;
};

/** Makes it: opens every account, then deposits to and withdraws from random ones. */
MIM_CHECKED int mim_bench_journal_make(struct mim_bench_journal *journal, struct mim_error *reterr);

/** What any replay does at least, in ns per record: reads a stream of 64-byte records and changes the 64-byte slot each
 *  names, fetched ahead, on huge pages; then the same with XXH3 over the records. */
struct mim_bench_bare {
    double plain_ns, hashed_ns;
};
MIM_CHECKED int mim_bench_bare(uint64_t events, uint64_t slots, struct mim_bench_bare *ret_bare,
                               struct mim_error *reterr);

#endif
