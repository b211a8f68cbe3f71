// SPDX-License-Identifier: MIT
// memimage state: one aggregate's state, now or at a version, position or time. The offline twin of STATE ... AT.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/offline.h"
#include "cli/options.h"

struct asking {
    const char *dir;
    const char *model;
    bool json;
    enum mim_stream_measure measure;
    uint64_t value;
};

/** "AT VERSION 3" as three words behind the aggregate; none: the present. */
static int parse_when(struct asking *asking, int count, char **words, struct mim_error *reterr) {
    asking->measure = MIM_BY_VERSION;
    asking->value = UINT32_MAX;
    if (count == 0) {
        return 0;
    }
    if (count != 3 || strcasecmp(words[0], "at") != 0) {
        return mim_error_set(reterr, MIM_E_USAGE, "wanted: type/id [AT VERSION n|POSITION p|TIME t] (see --help)");
    }
    char *end = NULL;
    bool number = words[2][0] >= '0' && words[2][0] <= '9';
    asking->value = number ? strtoull(words[2], &end, 10) : 0;
    number = number && *end == '\0';
    if (strcasecmp(words[1], "time") == 0) {
        int64_t time_ms = 0;
        asking->measure = MIM_BY_TIME;
        if (number && asking->value <= INT64_MAX) {
            return 0;
        }
        if (mim_rfc3339_parse(words[2], strlen(words[2]), &time_ms) != 0) {
            return mim_error_set(reterr, MIM_E_USAGE, "TIME must be RFC 3339 or Unix milliseconds");
        }
        asking->value = (uint64_t)time_ms;
        return 0;
    }
    asking->measure = strcasecmp(words[1], "position") == 0 ? MIM_BY_POSITION : MIM_BY_VERSION;
    if ((asking->measure == MIM_BY_VERSION && strcasecmp(words[1], "version") != 0) || !number) {
        return mim_error_set(reterr, MIM_E_USAGE, "wanted: AT VERSION n, AT POSITION p or AT TIME t");
    }
    return 0;
}

static int state_print(const struct asking *asking, const struct mim_fold *fold, struct mim_error *reterr) {
    struct mim_buffer text = {0};
    mim_fold_json(fold, &text);
    json_t *state = json_loadb((const char *)text.data, text.size, JSON_DECODE_ANY, NULL);
    mim_buffer_deinit(&text);
    if (state == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    if (asking->json) {
        (void)printf("{\"version\":%u,\"state\":", mim_fold_version(fold));
        (void)json_dumpf(state, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
        (void)printf("}\n");
    } else {
        (void)printf("version %u\n", mim_fold_version(fold));
        (void)json_dumpf(state, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
        (void)fputc('\n', stdout);
    }
    json_decref(state);
    return 0;
}

/** Finds the version that is meant, then folds the stream's events up to it. */
static int state_tell(const struct asking *asking, const struct mim_offline *offline, const char *address,
                      struct mim_error *reterr) {
    struct mim_stream_tip tip = {0};
    struct mim_journal_event event = {0};
    struct mim_fold *fold = NULL;
    unsigned aggregate = 0;
    mim_stream_t stream = 0;
    int rc = mim_offline_tip(offline, address, &aggregate, &stream, &tip, reterr);
    if (rc != 0) {
        return rc;
    }
    uint64_t value = asking->value;
    if (asking->measure == MIM_BY_VERSION && value > tip.version && value != UINT32_MAX) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "%s is at version %u", address, tip.version);
    }
    rc = mim_stream_find(offline->access, &tip, asking->measure, value, &event, reterr);
    if (rc == MIM_E_NOT_FOUND) {
        return mim_error_set(reterr, rc, "%s did not exist then", address);
    }
    rc = rc != 0 ? rc : mim_fold_new(offline->engine, aggregate, stream, &fold, reterr);
    struct mim_stream_walk walk;
    if (rc == 0) {
        mim_stream_walk_init(&walk, &tip, 1, event.record.version);
    }
    while (rc == 0 && (rc = mim_stream_walk_next(&walk, offline->access, &event, reterr)) == 0) {
        rc = mim_fold_apply(fold, &event, reterr);
    }
    rc = rc == MIM_E_NOT_FOUND ? state_print(asking, fold, reterr) : rc;
    (void)mim_fold_free(fold);
    return rc;
}

int mim_cli_state(int argc, char **argv) {
    struct asking asking = {.model = "ledger"};
    const struct mim_option items[] = {
        {"dir", MIM_OPTION_TEXT, &asking.dir, "DIR", "data directory; a live server's is fine", 0, 0},
        {"model", MIM_OPTION_TEXT, &asking.model, "NAME|FILE.so", "the model (default ledger)", 0, 0},
        {"json", MIM_OPTION_FLAG, &asking.json, NULL, "one line of JSON: version, state", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage state type/id [AT VERSION n|POSITION p|TIME t] --dir DIR",
        .about = "Prints one aggregate's version and state, now or then; t: RFC 3339 or Unix milliseconds. Offline,\n"
                 "reading only: finds the aggregate by the newest snapshot and its tail, then reads its own events.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    struct mim_offline offline = {0};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    if (rc > 0) {
        return 0;
    }
    if (rc == 0 && positional == 0) {
        rc = mim_error_set(&error, MIM_E_USAGE, "one aggregate is wanted as type/id (see --help)");
    }
    rc = rc != 0 ? rc : parse_when(&asking, positional - 1, argv + 1, &error);
    rc = rc != 0 ? rc : mim_options_want(argv, 0, asking.dir, &error);
    if (rc == 0) {
        rc = mim_offline_open(asking.dir, asking.model, &offline, &error);
        rc = rc != 0 ? rc : state_tell(&asking, &offline, argv[0], &error);
        mim_offline_close(&offline);
    }
    return rc == 0 ? 0 : mim_cli_fail("state", &error);
}
