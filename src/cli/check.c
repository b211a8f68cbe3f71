// SPDX-License-Identifier: MIT
// memimage check: is this a model, does it read that journal, and does it replay it the same each time. The comparing is
// engine/determinism.c's; here: the journal, the snapshots' digests, a replay a second later, and what is told.
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/live.h"
#include "cli/model_option.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "engine/determinism.h"
#include "snapshot/snapshot.h"

#define CHECK_EXIT_DIFFERS 2
#define CHECK_PAUSE_NS     1100000000u /* a clock of whole seconds has moved on */

struct checking {
    const char *model;
    const char *dir;
    uint64_t interval;
    bool json;
    struct mim_compiled *compiled;
    struct mim_compiled *other;
    struct mim_storage storage;
    struct mim_determinism *determinism;
    struct mim_snapshots snapshots;
    struct mim_progress progress;
    struct mim_difference difference; /* what is told in the end */
    struct mim_engine_point end;      /* of the journal, as the first replay found it */
    uint64_t digest;
    uint64_t snapshots_compared;
    bool missing_told;
    bool against_past; /* the difference is not between replays: looking closer tells no more */
};

/* -------------------------------------------------------------- against the past */

/** A snapshot of this history and layout, taken here, tells which state the model made when it was taken. */
static int compare_snapshot(struct checking *c, struct mim_error *reterr) {
    struct mim_engine *engine = mim_determinism_engine(c->determinism);
    struct mim_engine_point point;
    mim_engine_point(engine, &point);
    for (size_t i = 0; i < c->snapshots.count; i++) {
        const struct mim_snapshot_header *header = &c->snapshots.items[i].header;
        if (!c->snapshots.items[i].usable || header->lsn != point.lsn || header->chain != point.chain ||
            header->fingerprint != c->compiled->fingerprint) {
            continue;
        }
        c->snapshots_compared++;
        if (header->digest != mim_engine_digest(engine)) {
            c->against_past = true;
            c->difference = (struct mim_difference){.found = true, .from = 0, .to = point.position};
            (void)snprintf(c->difference.text, sizeof(c->difference.text),
                           "positions 1 to %llu: the snapshot there holds another state; evolve depends on more than "
                           "state and event, or was changed without a new version of the model",
                           (unsigned long long)point.position);
            return mim_error_set(reterr, MIM_E_STATE, "%s", c->difference.text);
        }
    }
    return 0;
}

static int on_applied(void *context, const struct mim_frame *frame, struct mim_error *reterr) {
    struct checking *c = context;
    int rc = mim_determinism_applied(c->determinism, frame, reterr);
    return rc != 0 ? rc : compare_snapshot(c, reterr);
}

static void on_missing(void *context, const char *list) {
    ((struct checking *)context)->missing_told = true;
    (void)fprintf(stderr, "memimage check: the model cannot read this journal; missing:\n%s\n", list);
}

/* ------------------------------------------------------------------------ replays */

/** One replay of three images. STATE: they differ, and c->difference says where. */
static int replay_compared(struct checking *c, mim_position_t fine_from, mim_lsn_t limit, struct mim_error *reterr) {
    struct mim_determinism_options options = {
        .compiled = c->compiled, .other = c->other, .interval = c->interval, .fine_from = fine_from};
    struct mim_recovery_options recovery_options = {.applied = on_applied,
                                                    .applied_context = c,
                                                    .missing = on_missing,
                                                    .missing_context = c,
                                                    .progress = mim_progress_callback,
                                                    .progress_context = &c->progress,
                                                    .limit = limit};
    c->snapshots_compared = 0;
    int rc = mim_determinism_new(&options, &c->determinism, reterr);
    if (rc != 0) {
        return rc;
    }
    struct mim_recovery recovery;
    struct mim_engine *engine = mim_determinism_engine(c->determinism);
    rc = mim_recovery_run(c->storage, engine, &recovery_options, &recovery, reterr);
    if (rc == 0 && recovery.segments.count == 0) {
        rc = mim_error_set(reterr, MIM_E_USAGE, "%s holds no journal", c->dir);
    }
    if (rc == 0) {
        mim_recovery_deinit(&recovery);
        rc = mim_determinism_finish(c->determinism, reterr);
    }
    if (rc == 0) {
        mim_engine_point(engine, &c->end);
        c->digest = mim_engine_digest(engine);
    }
    const struct mim_difference *difference = mim_determinism_difference(c->determinism);
    if (rc == MIM_E_STATE && difference->found) {
        c->difference = *difference;
    }
    c->determinism = mim_determinism_free(c->determinism);
    return rc;
}

/** Once more, alone, when a clock of whole seconds has moved on. */
static int replay_later(struct checking *c, struct mim_error *reterr) {
    double passed = mim_progress_seconds(&c->progress);
    if (passed < CHECK_PAUSE_NS / 1e9) {
        double left = CHECK_PAUSE_NS / 1e9 - passed;
        struct timespec pause = {.tv_sec = (time_t)left, .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};
        (void)nanosleep(&pause, NULL);
    }
    struct mim_engine_options options = {.compiled = c->compiled};
    struct mim_recovery_options recovery_options = {
        .progress = mim_progress_callback, .progress_context = &c->progress, .limit = c->end.lsn};
    struct mim_engine *engine = NULL;
    struct mim_recovery recovery;
    int rc = mim_engine_new(&options, &engine, reterr);
    rc = rc != 0 ? rc : mim_recovery_run(c->storage, engine, &recovery_options, &recovery, reterr);
    if (rc == 0) {
        mim_recovery_deinit(&recovery);
        if (mim_engine_digest(engine) != c->digest) {
            c->difference = (struct mim_difference){.found = true, .from = 0, .to = c->end.position};
            (void)snprintf(c->difference.text, sizeof(c->difference.text),
                           "positions 1 to %llu: a replay a second later makes another state; evolve reads the clock",
                           (unsigned long long)c->end.position);
            rc = mim_error_set(reterr, MIM_E_STATE, "%s", c->difference.text);
        }
    }
    (void)mim_engine_free(engine);
    return rc;
}

/** Replays until the verdict: a difference that is known by its range only is sought once more, event by event. */
static int check_journal(struct checking *c, struct mim_error *reterr) {
    struct mim_live live = {0};
    struct mim_error error;
    int rc;
    do {
        error = (struct mim_error){0};
        rc = replay_compared(c, UINT64_MAX, 0, &error);
    } while (!c->difference.found && mim_live_look_again(&live, rc, &error));
    if (c->difference.found && !c->against_past && c->difference.to > c->difference.from + 1) {
        struct mim_difference range = c->difference;
        struct mim_error unused = {0};
        c->difference = (struct mim_difference){0};
        (void)replay_compared(c, range.from, 0, &unused);
        if (!c->difference.found || c->difference.to - c->difference.from >= range.to - range.from) {
            c->difference = range; /* chance did not strike again, or not in the same place */
        }
    }
    if (rc == 0 && c->end.position > 0) {
        rc = replay_later(c, &error);
    }
    *reterr = error;
    return rc;
}

/* ------------------------------------------------------------------------ telling */

static void tell_model(const struct checking *c) {
    const struct mim_model *model = c->compiled->model;
    uint32_t events = 0;
    uint32_t retired = 0;
    uint32_t queries = 0;
    for (uint32_t i = 0; i < model->aggregate_count; i++) {
        events += model->aggregates[i].event_count;
        retired += model->aggregates[i].retired_count;
        queries += model->aggregates[i].query_count;
    }
    (void)printf("model %s, version %u: %u aggregate types, %u commands, %u events, %u retired, %u queries, %u "
                 "projections; layout %016llx\n",
                 model->name, model->version, model->aggregate_count, c->compiled->command_count, events, retired,
                 queries, model->projection_count, (unsigned long long)c->compiled->fingerprint);
}

static void tell_json(const struct checking *c) {
    struct mim_buffer out = {0};
    struct mim_json j = mim_json_to(&out);
    mim_json_object(&j);
    mim_json_key(&j, "model");
    mim_json_string(&j, mim_string_of(c->compiled->model->name));
    mim_json_key(&j, "deterministic");
    if (c->dir == NULL) {
        mim_json_null(&j);
    } else {
        mim_json_bool(&j, !c->difference.found);
    }
    if (c->difference.found) {
        mim_json_key(&j, "from");
        mim_json_u64(&j, c->difference.from + 1);
        mim_json_key(&j, "to");
        mim_json_u64(&j, c->difference.to);
        mim_json_key(&j, "text");
        mim_json_string(&j, mim_string_of(c->difference.text));
    } else if (c->dir != NULL) {
        mim_json_key(&j, "position");
        mim_json_u64(&j, c->end.position);
        mim_json_key(&j, "snapshots");
        mim_json_u64(&j, c->snapshots_compared);
    }
    mim_json_object_end(&j);
    (void)printf("%.*s\n", (int)out.size, (const char *)out.data);
    mim_buffer_deinit(&out);
}

static void tell(const struct checking *c) {
    if (c->json) {
        tell_json(c);
        return;
    }
    if (!c->difference.found) {
        tell_model(c);
    }
    if (c->dir != NULL && !c->difference.found) {
        (void)printf("%llu events replayed on three images and once more: the same, digest %016llx; %llu snapshots "
                     "agree\n",
                     (unsigned long long)c->end.position, (unsigned long long)c->digest,
                     (unsigned long long)c->snapshots_compared);
    }
}

/** The data directory: the folder of the segments is taken for the directory that it lies in. */
static int directory_open(struct checking *c, struct mim_error *reterr) {
    char path[4096];
    int size = snprintf(path, sizeof(path), "%s/" MIM_JOURNAL_DIR, c->dir);
    bool itself = size > 0 && (size_t)size < sizeof(path) && access(path, F_OK) != 0;
    size = snprintf(path, sizeof(path), "%s/../" MIM_JOURNAL_DIR, c->dir);
    bool within = size > 0 && (size_t)size < sizeof(path) && access(path, F_OK) == 0;
    if (itself && within) {
        path[strlen(path) - sizeof(MIM_JOURNAL_DIR)] = '\0';
        return mim_storage_posix_open(path, false, &c->storage, reterr);
    }
    return mim_storage_posix_open(c->dir, false, &c->storage, reterr);
}

static int check_run(struct checking *c, struct mim_error *reterr) {
    int rc = mim_cli_model(c->model, &c->compiled, reterr);
    if (rc != 0 || c->dir == NULL) {
        return rc;
    }
    rc = mim_cli_model_again(c->model, &c->other, reterr);
    rc = rc != 0 ? rc : directory_open(c, reterr);
    if (rc != 0) {
        return rc;
    }
    mim_progress_begin(&c->progress, "replaying", "B");
    rc = mim_snapshots_load(c->storage, &c->snapshots, reterr);
    rc = rc != 0 ? rc : check_journal(c, reterr);
    mim_progress_end(&c->progress);
    mim_snapshots_deinit(&c->snapshots);
    mim_storage_posix_close(&c->storage);
    return rc;
}

int mim_cli_check(int argc, char **argv) {
    struct checking c = {.interval = 1000};
    const struct mim_option items[] = {
        {"journal", MIM_OPTION_TEXT, &c.dir, "DIR",
         "replay the journal of this data directory; a live server's is fine", 0, 0},
        {"interval", MIM_OPTION_UNSIGNED, &c.interval, "EVENTS",
         "events between comparisons of whole images (default 1000)", 1, 0},
        {"json", MIM_OPTION_FLAG, &c.json, NULL, "print JSON", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage check NAME|FILE.so [--journal DIR]",
        .about =
            "Checks a model's descriptors and, with --journal, that it reads that journal and replays it the same "
            "each\n"
            "time: on three images at different addresses and with different allocations behind them, event by event,\n"
            "against the digests of snapshots, and once more a second later. Reads only; takes three times the memory\n"
            "of the state. Exit status: 0 all is well, 1 no such model or not a good one, 2 a difference, 3 a damaged\n"
            "journal or one that the model cannot read.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    if (rc > 0) {
        return 0;
    }
    if (rc == 0 && positional != 1) {
        rc = mim_error_set(&error, MIM_E_USAGE, "one model is wanted, a name or a file (see --help)");
    }
    c.model = argv[0];
    rc = rc != 0 ? rc : check_run(&c, &error);
    if (rc == 0 || c.difference.found) {
        tell(&c);
    }
    if (c.difference.found) {
        (void)fprintf(stderr, "memimage check: %s\n", c.difference.text);
    }
    (void)mim_compiled_free(c.compiled);
    (void)mim_compiled_free(c.other);
    if (c.difference.found) {
        return CHECK_EXIT_DIFFERS;
    }
    return rc == 0 ? 0 : c.missing_told ? mim_error_exit_status(rc) : mim_cli_fail("check", &error);
}
