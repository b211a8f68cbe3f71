// SPDX-License-Identifier: MIT
// memimage bench replay: how fast a journal becomes an image again, from the page cache, on one core and with a second
// thread that reads and checks, beside the loop that any replay contains. All in one run, interleaved.
#include "cli/bench_replay.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/model_option.h"
#include "cli/options.h"
#include "snapshot/read_thread.h"
#include "snapshot/snapshot.h"

#define MIM_BENCH_RUNS_MAX 100u

/** What is measured, in ns per event of each run. */
enum figure { ONE, ONE_CHANGES, TWO, TWO_CHANGES, BARE, BARE_HASHED, FIGURES };

static const struct {
    const char *label;
    const char *key;
} figure_names[FIGURES] = {
    [ONE] = {"replay, one core", "one_core"},
    [ONE_CHANGES] = {"  its changes of accounts alone", "one_core_changes"},
    [TWO] = {"replay, a second thread reads", "two_threads"},
    [TWO_CHANGES] = {"  its changes of accounts alone", "two_threads_changes"},
    [BARE] = {"bare loop over 64-byte slots", "bare"},
    [BARE_HASHED] = {"the same, with XXH3 over records", "bare_xxh3"},
};

struct replaying {
    const char *dir;
    uint64_t runs;
    bool json;
    char scratch[MIM_BENCH_PATH_SIZE];
    struct mim_bench_journal journal;
    double ns[FIGURES][MIM_BENCH_RUNS_MAX];
    double median[FIGURES];
    uint64_t bytes, position;
};

/** Replays on, up to `limit`; adds up what it took. */
static int replay_part(struct replaying *r, struct mim_engine *engine, const struct mim_frame_source *source,
                       mim_lsn_t limit, uint64_t *ret_events, uint64_t *ret_ns, struct mim_error *reterr) {
    const struct mim_recovery_options options = {.source = source, .limit = limit};
    struct mim_recovery recovery = {0};
    uint64_t begun = mim_bench_now_ns();
    int rc = mim_recovery_run(r->journal.storage, engine, &options, &recovery, reterr);
    *ret_ns = mim_bench_now_ns() - begun;
    if (rc == 0) {
        *ret_events = recovery.events;
        r->bytes += recovery.bytes;
        mim_recovery_deinit(&recovery);
    }
    return rc;
}

/** From the directory to the image, as at every start, in two parts: accounts are opened, and then changed. */
static int replay_once(struct replaying *r, const struct mim_frame_source *source, double *ret_ns,
                       double *ret_changes_ns, struct mim_error *reterr) {
    struct mim_engine *engine = NULL;
    uint64_t opened = 0, changed = 0, opening_ns = 0, changing_ns = 0;
    r->bytes = 0;
    uint64_t begun = mim_bench_now_ns();
    int rc = mim_engine_new(&(struct mim_engine_options){.compiled = r->journal.compiled}, &engine, reterr);
    uint64_t starting_ns = mim_bench_now_ns() - begun;
    rc = rc != 0 ? rc : replay_part(r, engine, source, r->journal.opened_lsn, &opened, &opening_ns, reterr);
    rc = rc != 0 ? rc : replay_part(r, engine, source, 0, &changed, &changing_ns, reterr);
    if (rc == 0) {
        r->position = opened + changed;
        *ret_ns = (double)(starting_ns + opening_ns + changing_ns) / (double)r->position;
        *ret_changes_ns = (double)changing_ns / (double)changed;
        rc = mim_engine_digest(engine) == r->journal.digest
                 ? 0
                 : mim_error_set(reterr, MIM_E_DAMAGED, "the replay gave another digest than the journal's making");
    }
    (void)mim_engine_free(engine);
    return rc;
}

static int ascending(const void *a, const void *b) {
    double left = *(const double *)a;
    double right = *(const double *)b;
    return left < right ? -1 : left > right ? 1 : 0;
}

/** Ratios of speed, each by its name in JSON and in text. */
static const struct {
    const char *key;
    const char *text;
    enum figure of;
    enum figure to;
} ratios[] = {
    {"one_core_of_limit", "one core / bare loop with XXH3", ONE, BARE_HASHED},
    {"one_core_changes_of_limit", "  its changes / bare loop with XXH3", ONE_CHANGES, BARE_HASHED},
    {"one_core_of_bare", "one core / bare loop", ONE, BARE},
    {"two_threads_of_one_core", "second thread / one core", TWO, ONE},
    {"two_threads_changes_of_one_core", "  its changes / one core's", TWO_CHANGES, ONE_CHANGES},
};
#define RATIOS (sizeof(ratios) / sizeof(ratios[0]))

static double ratio(const struct replaying *r, size_t n) { return r->median[ratios[n].to] / r->median[ratios[n].of]; }

static void print_text(const struct replaying *r) {
    (void)printf("%llu events over %llu accounts, %.1f journal bytes per event, median of %llu runs, %u cores\n",
                 (unsigned long long)r->position, (unsigned long long)r->journal.accounts,
                 (double)r->bytes / (double)r->position, (unsigned long long)r->runs, mim_snapshot_cores());
    (void)printf("%-36s %12s %10s %10s\n", "", "events/s", "ns/event", "best ns");
    for (size_t i = 0; i < FIGURES; i++) {
        (void)printf("%-36s %12.0f %10.1f %10.1f\n", figure_names[i].label, 1e9 / r->median[i], r->median[i],
                     r->ns[i][0]);
    }
    for (size_t i = 0; i < RATIOS; i++) {
        (void)printf("%-36s %12.2f\n", ratios[i].text, ratio(r, i));
    }
    (void)printf("digest %016llx as when the journal was made\n", (unsigned long long)r->journal.digest);
}

static void print_json(const struct replaying *r) {
    struct mim_buffer out = {0};
    struct mim_json j = mim_json_to(&out);
    mim_json_object(&j);
    mim_bench_json_text(&j, "bench", "replay");
    mim_bench_json_number(&j, "events", r->position);
    mim_bench_json_number(&j, "accounts", r->journal.accounts);
    mim_bench_json_number(&j, "runs", r->runs);
    mim_bench_json_number(&j, "cores", mim_snapshot_cores());
    mim_bench_json_number(&j, "events_per_second", (uint64_t)(1e9 / r->median[ONE]));
    mim_json_key(&j, "journal_bytes_per_event");
    mim_json_f64(&j, (double)r->bytes / (double)r->position);
    for (size_t i = 0; i < FIGURES; i++) {
        mim_json_key(&j, figure_names[i].key);
        mim_json_object(&j);
        mim_json_key(&j, "ns_per_event");
        mim_json_f64(&j, r->median[i]);
        mim_json_key(&j, "best_ns_per_event");
        mim_json_f64(&j, r->ns[i][0]);
        mim_json_object_end(&j);
    }
    for (size_t i = 0; i < RATIOS; i++) {
        mim_json_key(&j, ratios[i].key);
        mim_json_f64(&j, ratio(r, i));
    }
    mim_json_object_end(&j);
    mim_bench_json_print(&out);
    mim_buffer_deinit(&out);
}

static int replay_measure(struct replaying *r, struct mim_error *reterr) {
    double unused = 0;
    int rc = replay_once(r, NULL, &unused, &unused, reterr); /* fills the page cache */
    for (uint64_t i = 0; rc == 0 && i < r->runs; i++) {
        struct mim_bench_bare bare;
        rc = replay_once(r, NULL, &r->ns[ONE][i], &r->ns[ONE_CHANGES][i], reterr);
        rc = rc != 0 ? rc : replay_once(r, &mim_read_thread, &r->ns[TWO][i], &r->ns[TWO_CHANGES][i], reterr);
        rc = rc != 0 ? rc : mim_bench_bare(r->journal.events, r->journal.accounts, &bare, reterr);
        if (rc == 0) {
            r->ns[BARE][i] = bare.plain_ns;
            r->ns[BARE_HASHED][i] = bare.hashed_ns;
        }
    }
    for (size_t i = 0; rc == 0 && i < FIGURES; i++) {
        qsort(r->ns[i], r->runs, sizeof(r->ns[i][0]), ascending);
        r->median[i] = r->ns[i][r->runs / 2];
    }
    return rc;
}

static int replay_run(struct replaying *r, struct mim_error *reterr) {
    if (r->journal.accounts >= r->journal.events) {
        return mim_error_set(reterr, MIM_E_USAGE,
                             "--accounts must be less than --events: each is opened by one, and then changed");
    }
    struct mim_compiled *compiled = NULL;
    int rc = mim_cli_model("ledger", &compiled, reterr);
    rc = rc != 0 ? rc : mim_bench_scratch_make(r->dir, r->scratch, reterr);
    rc = rc != 0 ? rc : mim_storage_posix_open(r->scratch, true, &r->journal.storage, reterr);
    if (rc == 0) {
        r->journal.compiled = compiled;
        rc = mim_bench_journal_make(&r->journal, reterr);
        rc = rc != 0 ? rc : replay_measure(r, reterr);
        mim_storage_posix_close(&r->journal.storage);
    }
    (void)mim_compiled_free(compiled);
    return rc;
}

int mim_bench_replay(int argc, char **argv) {
    static struct replaying r = {.journal = {.events = 10000000, .accounts = 1000000}, .runs = 3};
    const struct mim_option items[] = {
        {"events", MIM_OPTION_UNSIGNED, &r.journal.events, "N", "events of the journal (default 10000000)", 2,
         1ull << 32},
        {"accounts", MIM_OPTION_UNSIGNED, &r.journal.accounts, "N", "accounts they fall on (default 1000000)", 1,
         1ull << 30},
        {"keys", MIM_OPTION_FLAG, &r.journal.keys, NULL, "every command carries an idempotency key", 0, 0},
        {"runs", MIM_OPTION_UNSIGNED, &r.runs, "N", "how often; the median counts (default 3)", 1, MIM_BENCH_RUNS_MAX},
        {"dir", MIM_OPTION_TEXT, &r.dir, "DIR", "where the journal is made (default $TMPDIR or /tmp)", 0, 0},
        {"json", MIM_OPTION_FLAG, &r.json, NULL, "print JSON", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage bench replay [option ...]",
        .about =
            "Makes a journal of ledger events in a scratch directory, without sockets, then measures the replay that\n"
            "every start does, from the page cache: on one core, and with a second thread that reads and checks. "
            "Beside\n"
            "it, in the same run, a bare loop that changes random 64-byte slots, and the same with XXH3 over its "
            "records.",
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
    mim_prng_init(&r.journal.prng, 1);
    rc = rc != 0 ? rc : replay_run(&r, &error);
    if (rc == 0 && r.json) {
        print_json(&r);
    } else if (rc == 0) {
        print_text(&r);
    }
    if (r.scratch[0] != '\0') {
        mim_bench_scratch_remove(r.scratch);
    }
    return rc == 0 ? 0 : mim_cli_fail("bench replay", &error);
}
