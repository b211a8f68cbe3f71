// SPDX-License-Identifier: MIT
// Filters of the segments that this process completed; see filter_keeper.h.
#include "server/filter_keeper.h"

#include "journal/correlation.h"

#define WORK_NS     1000000u
#define REST_FACTOR 4u /* rests for so many times as long as it worked */

void mim_filter_keeper_close(struct mim_filter_keeper *keeper) {
    keeper->index = mim_correlations_free(keeper->index);
    keeper->access = mim_access_free(keeper->access);
    keeper->busy = false;
}

/** After a roll: sees the new segments. */
static int keeper_look(struct mim_filter_keeper *keeper, struct mim_runners *runners, struct mim_error *reterr) {
    int rc = keeper->access != NULL ? 0 : mim_access_open(runners->storage, &keeper->access, reterr);
    if (rc == 0 && keeper->index == NULL) {
        rc = mim_correlations_new(runners->storage, keeper->access, MIM_CORRELATION_KEEPER, &keeper->index, reterr);
    }
    mim_lsn_t limit = atomic_load_explicit(&runners->ring->synced_lsn, memory_order_acquire);
    rc = rc != 0 ? rc : mim_access_set_limit(keeper->access, limit, 0, reterr);
    if (rc == 0 && keeper->from == 0) { /* the newest complete one: others may be cold, a search builds them */
        const struct mim_segments *segments = mim_access_segments(keeper->access);
        keeper->from = segments->count < 2 ? 0 : segments->items[segments->count - 2].header.base_lsn;
    }
    return rc;
}

/** A piece of work; false: there is none. */
static bool keeper_step(struct mim_filter_keeper *keeper, struct mim_runners *runners) {
    struct mim_error ignored; /* filters are never needed: a search does it, or the next roll tries again */
    int rc = 0;
    if (!keeper->busy) {
        struct mim_writer_stats writer;
        mim_writer_stats(runners->writer, &writer);
        if (writer.rolls == keeper->rolls) {
            return false;
        }
        keeper->rolls = writer.rolls;
        rc = keeper_look(keeper, runners, &ignored);
    }
    rc = rc != 0 ? rc : mim_correlations_keep(keeper->index, keeper->from, &ignored);
    keeper->busy = rc == 1;
    if (rc < 0) {
        mim_filter_keeper_close(keeper);
        (void)atomic_fetch_add_explicit(&runners->filters_failed, 1, memory_order_relaxed);
        return false;
    }
    struct mim_correlation_stats stats;
    mim_correlations_stats(keeper->index, &stats);
    atomic_store_explicit(&runners->filters_built, stats.filters_built, memory_order_relaxed);
    return keeper->busy;
}

uint64_t mim_filter_keeper_run(struct mim_filter_keeper *keeper, struct mim_runners *runners) {
    uint64_t begun = runners->clock.monotonic_ns(runners->clock.context);
    uint64_t worked = 0;
    while (worked < WORK_NS) {
        if (!keeper_step(keeper, runners)) {
            return UINT64_MAX;
        }
        worked = runners->clock.monotonic_ns(runners->clock.context) - begun;
    }
    return worked * REST_FACTOR;
}
