// SPDX-License-Identifier: MIT
// memimage history: the versions of one aggregate as a list: when, who, which event, what changed. Offline, reading only.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/live.h"
#include "cli/model_option.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "engine/cloudevent.h"
#include "engine/timetravel.h"
#include "snapshot/snapshot.h"

struct telling {
    const char *dir;
    const char *model;
    uint64_t from;
    uint64_t to;
    bool json;
    struct mim_engine *engine;
    struct mim_access *access;
    struct mim_cloudevents *events;
    struct mim_fold *fold;
    json_t *state;  /* after the version before */
    json_t *source; /* of the event: a CloudEvent */
};

static json_t *state_now(const struct telling *t) {
    struct mim_buffer text = {0};
    mim_fold_json(t->fold, &text);
    json_t *state = json_loadb((const char *)text.data, text.size, JSON_DECODE_ANY, NULL);
    mim_buffer_deinit(&text);
    return state;
}

static void print_value(const json_t *value) {
    char *text = value == NULL ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    (void)fputs(text == NULL ? "-" : text, stdout);
    free(text);
}

/** One line per member that differs. */
static void print_changes(const json_t *before, json_t *after) {
    const char *key;
    json_t *value;
    json_object_foreach(after, key, value) {
        json_t *old = json_object_get(before, key);
        if (old == NULL || !json_equal(old, value)) {
            (void)printf("          %s: ", key);
            print_value(old);
            (void)fputs(" -> ", stdout);
            print_value(value);
            (void)fputc('\n', stdout);
        }
    }
}

static void print_json(const struct telling *t, const json_t *after) {
    json_t *line = json_pack("{s:O, s:O?, s:O}", "event", t->source, "before", t->state, "after", after);
    if (line != NULL) {
        (void)json_dumpf(line, stdout, JSON_COMPACT);
        (void)fputc('\n', stdout);
        json_decref(line);
    }
}

static const char *member(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

static void print_text(const struct telling *t, const struct mim_journal_event *event, json_t *after) {
    const char *actor = member(t->source, "actor");
    const char *correlation = member(t->source, "correlationid");
    (void)printf("%7u  %s  %s  position %llu%s%s%s%s\n", event->record.version, member(t->source, "time"),
                 member(t->source, "type"), (unsigned long long)event->position, actor[0] == '\0' ? "" : "  by ", actor,
                 correlation[0] == '\0' ? "" : "  corr ", correlation);
    print_changes(t->state, after);
}

static int tell_event(struct telling *t, struct mim_journal_event *event, struct mim_error *reterr) {
    int rc = mim_fold_apply(t->fold, event, reterr);
    if (rc != 0 || event->record.version + 1 < t->from) {
        return rc; /* folded, not shown */
    }
    json_t *after = state_now(t);
    if (event->record.version >= t->from) {
        struct mim_buffer text = {0};
        rc = mim_access_transaction(t->access, event, reterr);
        rc = rc != 0 ? rc : mim_cloudevents_encode(t->events, event, &text, reterr);
        t->source = rc != 0 ? NULL : json_loadb((const char *)text.data, text.size, 0, NULL);
        if (t->source != NULL && t->json) {
            print_json(t, after);
        } else if (t->source != NULL) {
            print_text(t, event, after);
        }
        json_decref(t->source);
        mim_buffer_deinit(&text);
    }
    json_decref(t->state);
    t->state = after;
    return rc;
}

static int tell_stream(struct telling *t, const char *address, struct mim_error *reterr) {
    const char *slash = strchr(address, '/');
    if (slash == NULL) {
        return mim_error_set(reterr, MIM_E_USAGE, "the aggregate must be given as type/id");
    }
    struct mim_stream_tip tip = {0};
    unsigned aggregate = 0;
    mim_stream_t stream = 0;
    int rc = mim_engine_tip(t->engine, mim_slice_of(address, (size_t)(slash - address)), mim_slice_text(slash + 1),
                            &aggregate, &stream, &tip, reterr);
    if (rc == MIM_E_NOT_FOUND) {
        return mim_error_set(reterr, rc, "%s does not exist", address);
    }
    rc = rc != 0 ? rc : mim_fold_new(t->engine, aggregate, stream, &t->fold, reterr);
    if (rc != 0) {
        return rc;
    }
    struct mim_stream_walk walk;
    struct mim_journal_event event = {0};
    mim_version_t to = t->to < tip.version ? (mim_version_t)t->to : tip.version;
    mim_stream_walk_init(&walk, &tip, 1, to);
    while (rc == 0 && (rc = mim_stream_walk_next(&walk, t->access, &event, reterr)) == 0) {
        rc = tell_event(t, &event, reterr);
    }
    return rc == MIM_E_NOT_FOUND ? 0 : rc;
}

static int history_run(struct telling *t, struct mim_storage storage, const struct mim_compiled *compiled,
                       const char *address, struct mim_error *reterr) {
    struct mim_progress progress;
    mim_progress_begin(&progress, "replaying", "B");
    struct mim_engine_options engine_options = {.compiled = compiled};
    struct mim_restore_options restore = {
        .verify = MIM_VERIFY_EAGER, .threads = mim_snapshot_cores(), .position_max = UINT64_MAX, .lsn_max = UINT64_MAX};
    struct mim_recovery_options recovery_options = {.progress = mim_progress_callback, .progress_context = &progress};
    struct mim_restored restored;
    struct mim_recovery recovery;
    struct mim_live live = {0};
    struct mim_error error;
    int rc;
    do {
        error = (struct mim_error){0};
        rc = mim_snapshot_recover(storage, &engine_options, &restore, &recovery_options, &t->engine, &restored,
                                  &recovery, &error);
    } while (mim_live_look_again(&live, rc, &error));
    mim_progress_end(&progress);
    if (rc != 0) {
        *reterr = error;
        return rc;
    }
    rc = mim_access_open(storage, &t->access, reterr);
    rc = rc != 0 ? rc : mim_access_set_limit(t->access, recovery.ending.lsn, 0, reterr);
    rc = rc != 0 ? rc : mim_cloudevents_new(t->engine, &t->events, reterr);
    rc = rc != 0 ? rc : tell_stream(t, address, reterr);
    (void)mim_fold_free(t->fold);
    json_decref(t->state);
    (void)mim_cloudevents_free(t->events);
    (void)mim_access_free(t->access);
    mim_recovery_deinit(&recovery);
    (void)mim_engine_free(t->engine);
    return rc;
}

int mim_cli_history(int argc, char **argv) {
    struct telling t = {.model = "ledger", .from = 1, .to = UINT64_MAX};
    const struct mim_option items[] = {
        {"dir", MIM_OPTION_TEXT, &t.dir, "DIR", "data directory; a live server's is fine", 0, 0},
        {"model", MIM_OPTION_TEXT, &t.model, "NAME|FILE.so", "the model (default ledger)", 0, 0},
        {"from", MIM_OPTION_UNSIGNED, &t.from, "VERSION", "first version shown (default 1)", 1, 0},
        {"to", MIM_OPTION_UNSIGNED, &t.to, "VERSION", "last version shown (default: the newest)", 1, 0},
        {"json", MIM_OPTION_FLAG, &t.json, NULL, "one line of JSON per version: event, before, after", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage history type/id --dir DIR",
        .about =
            "Prints every version of one aggregate: when, which event, by whom, and what it changed. Offline, reading\n"
            "only: finds the aggregate by the newest snapshot and its tail, then reads its own events.",
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
        rc = mim_error_set(&error, MIM_E_USAGE, "one aggregate is wanted as type/id (see --help)");
    }
    rc = rc != 0 ? rc : mim_options_want(argv, 0, t.dir, &error);
    struct mim_compiled *compiled = NULL;
    struct mim_storage storage = {0};
    rc = rc != 0 ? rc : mim_cli_model(t.model, &compiled, &error);
    rc = rc != 0 ? rc : mim_storage_posix_open(t.dir, false, &storage, &error);
    if (rc == 0) {
        rc = history_run(&t, storage, compiled, argv[0], &error);
        mim_storage_posix_close(&storage);
    }
    (void)mim_compiled_free(compiled);
    return rc == 0 ? 0 : mim_cli_fail("history", &error);
}
