// SPDX-License-Identifier: MIT
// memimage bench replay: makes a journal of ledger events through engine and writer, then measures how fast it becomes
// an image again (from the page cache), beside a bare loop that changes as many random 64-byte slots.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/prng.h"
#include "cli/bench.h"
#include "cli/model_option.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "engine/recovery.h"

#define MIM_BENCH_SEAL_EVERY 1000u
#define MIM_BENCH_PREFETCH   16u
#define MIM_BENCH_SLOT_SIZE  64u
#define MIM_BENCH_RUNS_MAX   100u

struct replaying {
    const char *dir;
    uint64_t events, accounts, runs;
    bool json;
    char scratch[MIM_BENCH_PATH_SIZE];
    struct mim_storage storage;
    struct mim_compiled *compiled;
    struct mim_prng prng;
    double replay_ns[MIM_BENCH_RUNS_MAX], bare_ns[MIM_BENCH_RUNS_MAX]; /* per event, of each run */
    uint64_t bytes, position, digest;
    struct mim_progress progress;
};

/** The writing side, while the journal is made. */
struct making {
    struct mim_engine *engine;
    struct mim_ring ring;
    struct mim_writer *writer;
    struct mim_appender appender;
};

static int make_drain(struct replaying *r, struct making *m, struct mim_error *reterr) {
    mim_appender_seal(&m->appender);
    while (!mim_appender_idle(&m->appender)) {
        int rc = mim_writer_step(m->writer, mim_bench_now_ns(), reterr);
        if (rc < 0) {
            return rc;
        }
    }
    int rc = mim_preparer_step(r->storage, &m->ring, 0, reterr);
    return rc < 0 ? rc : 0;
}

static int make_command(struct replaying *r, struct making *m, const struct mim_request *request,
                        struct mim_error *reterr) {
    struct mim_outcome outcome;
    mim_engine_execute(m->engine, &m->appender, request, &outcome);
    while (outcome.kind == MIM_OUTCOME_AGAIN) {
        int rc = make_drain(r, m, reterr);
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
static int make_events(struct replaying *r, struct making *m, struct mim_error *reterr) {
    struct mim_clock clock = mim_clock_posix();
    struct mim_argument open[] = {pair("owner", "bench"), pair("currency", "CZK"), pair("overdraft", "1000000000000")};
    struct mim_argument move[] = {pair("amount", "100")};
    for (uint64_t i = 0; i < r->events; i++) {
        char id[24];
        bool opens = i < r->accounts;
        uint64_t account = opens ? i : mim_prng_below(&r->prng, r->accounts);
        int size = snprintf(id, sizeof(id), "a-%llu", (unsigned long long)account);
        struct mim_request request = {
            .type = mim_slice_text("account"),
            .id = mim_slice_of(id, (size_t)size),
            .command = mim_slice_text(opens                             ? "Open"
                                      : mim_prng_chance(&r->prng, 1, 2) ? "Deposit"
                                                                        : "Withdraw"),
            .arguments = opens ? open : move,
            .argument_count = opens ? 3 : 1,
            .wall_ms = clock.wall_ms(clock.context),
        };
        int rc = make_command(r, m, &request, reterr);
        if (rc == 0 && i % MIM_BENCH_SEAL_EVERY == 0) {
            rc = make_drain(r, m, reterr);
            mim_progress_step(&r->progress, i, r->events);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return make_drain(r, m, reterr);
}

static int make_journal(struct replaying *r, struct mim_error *reterr) {
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
    rc = mim_engine_new(&(struct mim_engine_options){.compiled = r->compiled}, &m.engine, reterr);
    rc = rc != 0 ? rc : mim_recovery_run(r->storage, m.engine, NULL, &recovery, reterr);
    if (rc == 0) {
        rc = mim_recovery_begin(r->storage, m.engine, &recovery, &m.ring, &writer, &history,
                                clock.wall_ms(clock.context), &m.writer, &m.appender, reterr);
        mim_recovery_deinit(&recovery);
    }
    mim_progress_begin(&r->progress, "making the journal", "events");
    rc = rc != 0 ? rc : make_events(r, &m, reterr);
    mim_progress_end(&r->progress);
    if (rc == 0) {
        r->digest = mim_engine_digest(m.engine);
        rc = mim_writer_finish(m.writer, reterr);
    }
    (void)mim_writer_free(m.writer);
    (void)mim_engine_free(m.engine);
    mim_ring_deinit(&m.ring);
    return rc;
}

/** From the directory to the image, as at every start. */
static int replay_once(struct replaying *r, double *ret_ns, struct mim_error *reterr) {
    struct mim_engine *engine = NULL;
    struct mim_recovery recovery = {0};
    uint64_t begun = mim_bench_now_ns();
    int rc = mim_engine_new(&(struct mim_engine_options){.compiled = r->compiled}, &engine, reterr);
    rc = rc != 0 ? rc : mim_recovery_run(r->storage, engine, NULL, &recovery, reterr);
    uint64_t took = mim_bench_now_ns() - begun;
    if (rc == 0) {
        struct mim_engine_point point;
        mim_engine_point(engine, &point);
        r->position = point.position;
        r->bytes = recovery.bytes;
        *ret_ns = (double)took / (double)recovery.events;
        rc = mim_engine_digest(engine) == r->digest
                 ? 0
                 : mim_error_set(reterr, MIM_E_DAMAGED, "the replay gave another digest than the journal's making");
        mim_recovery_deinit(&recovery);
    }
    (void)mim_engine_free(engine);
    return rc;
}

/** The bare loop: reads an index, changes that slot; what any replay does at least. */
static int bare_once(struct replaying *r, double *ret_ns, struct mim_error *reterr) {
    uint64_t count = r->events;
    uint32_t *indices = malloc((count + MIM_BENCH_PREFETCH) * sizeof(*indices));
    size_t size = r->accounts * MIM_BENCH_SLOT_SIZE;
    uint8_t *slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (indices == NULL || slots == MAP_FAILED) {
        free(indices);
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    for (uint64_t i = 0; i < count + MIM_BENCH_PREFETCH; i++) {
        indices[i] = (uint32_t)mim_prng_below(&r->prng, r->accounts);
    }
    uint64_t begun = mim_bench_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        __builtin_prefetch(slots + (size_t)indices[i + MIM_BENCH_PREFETCH] * MIM_BENCH_SLOT_SIZE, 1);
        uint64_t *slot = (uint64_t *)(void *)(slots + (size_t)indices[i] * MIM_BENCH_SLOT_SIZE);
        slot[0]++;
        slot[1] += i;
    }
    *ret_ns = (double)(mim_bench_now_ns() - begun) / (double)count;
    (void)munmap(slots, size);
    free(indices);
    return 0;
}

static int ascending(const void *a, const void *b) {
    double left = *(const double *)a;
    double right = *(const double *)b;
    return left < right ? -1 : left > right ? 1 : 0;
}

static double median(double *values, uint64_t count) {
    qsort(values, count, sizeof(*values), ascending);
    return values[count / 2];
}

static void replay_print(struct replaying *r) {
    double replay_ns = median(r->replay_ns, r->runs);
    double bare_ns = median(r->bare_ns, r->runs);
    double bytes = (double)r->bytes / (double)r->position;
    if (!r->json) {
        (void)printf("%llu events over %llu accounts, %.1f journal bytes per event, median of %llu runs\n",
                     (unsigned long long)r->position, (unsigned long long)r->accounts, bytes,
                     (unsigned long long)r->runs);
        (void)printf("%-34s %12s %10s\n", "", "events/s", "ns/event");
        (void)printf("%-34s %12.0f %10.1f\n", "replay, directory to image", 1e9 / replay_ns, replay_ns);
        (void)printf("%-34s %12.0f %10.1f\n", "bare loop over 64-byte slots", 1e9 / bare_ns, bare_ns);
        (void)printf("replay / bare: %.1f; digest %016llx as when the journal was made\n", replay_ns / bare_ns,
                     (unsigned long long)r->digest);
        return;
    }
    struct mim_buffer out = {0};
    struct mim_json j = mim_json_to(&out);
    mim_json_object(&j);
    mim_bench_json_text(&j, "bench", "replay");
    mim_bench_json_number(&j, "events", r->position);
    mim_bench_json_number(&j, "accounts", r->accounts);
    mim_bench_json_number(&j, "runs", r->runs);
    mim_bench_json_number(&j, "events_per_second", (uint64_t)(1e9 / replay_ns));
    mim_json_key(&j, "ns_per_event");
    mim_json_f64(&j, replay_ns);
    mim_json_key(&j, "bare_ns_per_slot");
    mim_json_f64(&j, bare_ns);
    mim_json_key(&j, "journal_bytes_per_event");
    mim_json_f64(&j, bytes);
    mim_json_object_end(&j);
    mim_bench_json_print(&out);
    mim_buffer_deinit(&out);
}

static int replay_run(struct replaying *r, struct mim_error *reterr) {
    if (r->accounts > r->events) {
        return mim_error_set(reterr, MIM_E_USAGE, "--accounts must not be more than --events: each is opened by one");
    }
    int rc = mim_cli_model("ledger", &r->compiled, reterr);
    rc = rc != 0 ? rc : mim_bench_scratch_make(r->dir, r->scratch, reterr);
    rc = rc != 0 ? rc : mim_storage_posix_open(r->scratch, true, &r->storage, reterr);
    if (rc != 0) {
        return rc;
    }
    rc = make_journal(r, reterr);
    double unused = 0;
    rc = rc != 0 ? rc : replay_once(r, &unused, reterr); /* fills the page cache */
    for (uint64_t i = 0; rc == 0 && i < r->runs; i++) {
        rc = replay_once(r, &r->replay_ns[i], reterr);
        rc = rc != 0 ? rc : bare_once(r, &r->bare_ns[i], reterr);
    }
    mim_storage_posix_close(&r->storage);
    return rc;
}

int mim_bench_replay(int argc, char **argv) {
    static struct replaying r = {.events = 10000000, .accounts = 1000000, .runs = 3};
    const struct mim_option items[] = {
        {"events", MIM_OPTION_UNSIGNED, &r.events, "N", "events of the journal (default 10000000)", 1, 1ull << 32},
        {"accounts", MIM_OPTION_UNSIGNED, &r.accounts, "N", "accounts they fall on (default 1000000)", 1, 1ull << 30},
        {"runs", MIM_OPTION_UNSIGNED, &r.runs, "N", "how often; the median counts (default 3)", 1, MIM_BENCH_RUNS_MAX},
        {"dir", MIM_OPTION_TEXT, &r.dir, "DIR", "where the journal is made (default $TMPDIR or /tmp)", 0, 0},
        {"json", MIM_OPTION_FLAG, &r.json, NULL, "print JSON", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage bench replay [option ...]",
        .about =
            "Makes a journal of ledger events in a scratch directory, without sockets, then measures the replay that\n"
            "every start does, from the page cache, beside a bare loop that changes random 64-byte slots.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    if (rc > 0) {
        return 0;
    }
    rc = rc != 0 ? rc : mim_options_none(argv, positional, &error);
    mim_prng_init(&r.prng, 1);
    rc = rc != 0 ? rc : replay_run(&r, &error);
    if (rc == 0) {
        replay_print(&r);
    }
    if (r.scratch[0] != '\0') {
        mim_bench_scratch_remove(r.scratch);
    }
    (void)mim_compiled_free(r.compiled);
    return rc == 0 ? 0 : mim_cli_fail("bench replay", &error);
}
