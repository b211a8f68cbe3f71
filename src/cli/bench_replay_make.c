// SPDX-License-Identifier: MIT
// The journal that bench replay reads: made by engine and writer, as a server would, without sockets.
#include <stdio.h>
#include <sys/random.h>

#include "base/clock.h"
#include "cli/bench_replay.h"

#define MIM_BENCH_SEAL_EVERY 1000u

/** The writing side, while the journal is made. */
struct making {
    struct mim_engine *engine;
    struct mim_ring ring;
    struct mim_writer *writer;
    struct mim_appender appender;
};

static int make_drain(struct mim_bench_journal *journal, struct making *m, struct mim_error *reterr) {
    mim_appender_seal(&m->appender);
    while (!mim_appender_idle(&m->appender)) {
        int rc = mim_writer_step(m->writer, mim_bench_now_ns(), reterr);
        if (rc < 0) {
            return rc;
        }
    }
    int rc = mim_preparer_step(journal->storage, &m->ring, 0, reterr);
    return rc < 0 ? rc : 0;
}

static int make_command(struct mim_bench_journal *journal, struct making *m, const struct mim_request *request,
                        struct mim_error *reterr) {
    struct mim_outcome outcome;
    mim_engine_execute(m->engine, &m->appender, request, &outcome);
    while (outcome.kind == MIM_OUTCOME_AGAIN) {
        int rc = make_drain(journal, m, reterr);
        if (rc != 0) {
            return rc;
        }
        mim_engine_execute(m->engine, &m->appender, request, &outcome);
    }
    return outcome.kind == MIM_OUTCOME_DONE
               ? 0
               : mim_error_set(reterr, MIM_E_STATE, "making the journal: %s", outcome.text);
}

static struct mim_argument pair(const char *name, const char *value) {
    return (struct mim_argument){.name = mim_slice_text(name), .value = mim_slice_text(value)};
}

/** Opens every account, then deposits and withdraws at random ones. */
static int make_events(struct mim_bench_journal *journal, struct making *m, struct mim_error *reterr) {
    struct mim_clock clock = mim_clock_posix();
    struct mim_argument open[] = {pair("owner", "bench"), pair("currency", "CZK"), pair("overdraft", "1000000000000")};
    struct mim_argument move[] = {pair("amount", "100")};
    for (uint64_t i = 0; i < journal->events; i++) {
        char id[24], key[24];
        bool opens = i < journal->accounts;
        uint64_t account = opens ? i : mim_prng_below(&journal->prng, journal->accounts);
        int size = snprintf(id, sizeof(id), "a-%llu", (unsigned long long)account);
        if (i == journal->accounts) {
            int rc = make_drain(journal, m, reterr);
            if (rc != 0) {
                return rc;
            }
            journal->opened_lsn = m->appender.next_lsn;
        }
        struct mim_request request = {
            .type = mim_slice_text("account"),
            .id = mim_slice_of(id, (size_t)size),
            .command = mim_slice_text(opens                                   ? "Open"
                                      : mim_prng_chance(&journal->prng, 1, 2) ? "Deposit"
                                                                              : "Withdraw"),
            .arguments = opens ? open : move,
            .argument_count = opens ? 3 : 1,
            .wall_ms = clock.wall_ms(clock.context),
        };
        if (journal->keys) {
            int key_size = snprintf(key, sizeof(key), "key-%llu", (unsigned long long)i);
            request.key = mim_slice_of(key, (size_t)key_size);
        }
        int rc = make_command(journal, m, &request, reterr);
        if (rc == 0 && i % MIM_BENCH_SEAL_EVERY == 0) {
            rc = make_drain(journal, m, reterr);
            mim_progress_step(&journal->progress, i, journal->events);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return make_drain(journal, m, reterr);
}

int mim_bench_journal_make(struct mim_bench_journal *journal, struct mim_error *reterr) {
    struct making m = {0};
    struct mim_recovery recovery = {0};
    struct mim_history history;
    const struct mim_writer_options writer = {.durability = MIM_DURABILITY_NONE};
    if (getrandom(history.uuid, sizeof(history.uuid), 0) != (ssize_t)sizeof(history.uuid)) {
        return mim_error_set(reterr, MIM_E_IO, "no randomness for a new history");
    }
    int rc = mim_ring_init(&m.ring, reterr);
    if (rc != 0) {
        return rc;
    }
    struct mim_clock clock = mim_clock_posix();
    rc = mim_engine_new(&(struct mim_engine_options){.compiled = journal->compiled}, &m.engine, reterr);
    rc = rc != 0 ? rc : mim_recovery_run(journal->storage, m.engine, NULL, &recovery, reterr);
    if (rc == 0) {
        rc = mim_recovery_begin(journal->storage, m.engine, &recovery, &m.ring, &writer, &history,
                                clock.wall_ms(clock.context), &m.writer, &m.appender, reterr);
        mim_recovery_deinit(&recovery);
    }
    mim_progress_begin(&journal->progress, "making the journal", "events");
    rc = rc != 0 ? rc : make_events(journal, &m, reterr);
    mim_progress_end(&journal->progress);
    if (rc == 0) {
        journal->digest = mim_engine_digest(m.engine);
        rc = mim_writer_finish(m.writer, reterr);
    }
    (void)mim_writer_free(m.writer);
    (void)mim_engine_free(m.engine);
    mim_ring_deinit(&m.ring);
    return rc;
}
