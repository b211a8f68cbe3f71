// SPDX-License-Identifier: MIT
// INFO history: who reads the past, how far the followers are, what it cost.
#include "server/past.h"

typedef unsigned long long ull;

/** How many, and the least position any of them stands at. */
static uint64_t followers_count(const struct mim_followers *followers, mim_position_t *least) {
    const struct mim_follower *follower;
    uint64_t count = 0;
    TAILQ_FOREACH(follower, followers, link) {
        *least = follower->cursor.position < *least ? follower->cursor.position : *least;
        count++;
    }
    return count;
}

static void info_filters(struct mim_server *server, const struct mim_past *past, struct mim_buffer *out) {
    struct mim_access_stats access = {0};
    struct mim_correlation_stats filters = {0};
    if (past != NULL) {
        mim_access_stats(past->access, &access);
        mim_correlations_stats(past->correlations, &filters);
    }
    uint64_t kept = atomic_load_explicit(&server->runners.filters_built, memory_order_relaxed);
    uint64_t failed = atomic_load_explicit(&server->runners.filters_failed, memory_order_relaxed);
    mim_info_line(out, "history_reads:%llu", (ull)(access.reads + filters.reads));
    mim_info_line(out, "history_bytes_read:%llu", (ull)(access.bytes + filters.bytes));
    mim_info_line(out, "correlation_filters_used:%llu", (ull)filters.filters_used);
    mim_info_line(out, "correlation_filters_built_by_searches:%llu", (ull)filters.filters_built);
    mim_info_line(out, "correlation_filters_built_after_rolls:%llu", (ull)kept);
    mim_info_line(out, "correlation_filters_failed:%llu", (ull)(filters.filters_failed + failed));
}

void mim_past_info(struct mim_server *server, struct mim_buffer *out) {
    const struct mim_past *past = server->past;
    static const char *const names[MIM_FOLLOWER_STATES] = {"active", "live", "paused"};
    mim_position_t least = UINT64_MAX;
    uint64_t total = 0;
    for (unsigned i = 0; i < MIM_FOLLOWER_STATES; i++) {
        uint64_t count = past == NULL ? 0 : followers_count(&past->followers[i], &least);
        mim_info_line(out, "followers_%s:%llu", names[i], (ull)count);
        total += count;
    }
    mim_position_t gate = 0;
    if (server->runners_ready) {
        gate = mim_replication_shown(server);
    }
    mim_info_line(out, "followers:%llu", (ull)total);
    mim_info_line(out, "follower_lag_events:%llu", (ull)(gate >= least ? gate - least + 1 : 0));
    mim_info_line(out, "follower_events_pushed:%llu", (ull)(past == NULL ? 0 : past->followed));
    mim_info_line(out, "followers_dropped:%llu", (ull)(past == NULL ? 0 : past->dropped));
    uint64_t jobs = 0;
    const struct mim_past_job *job;
    if (past != NULL) {
        TAILQ_FOREACH(job, &past->jobs, link) { jobs++; }
    }
    mim_info_line(out, "history_jobs_running:%llu", (ull)jobs);
    mim_info_line(out, "history_jobs_done:%llu", (ull)(past == NULL ? 0 : past->jobs_done));
    info_filters(server, past, out);
}
