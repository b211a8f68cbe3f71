// SPDX-License-Identifier: MIT
// memimage digest: the true test, offline. Rebuilds the state and prints position and digest.
#include <stdio.h>

#include "cli/cli.h"
#include "cli/live.h"
#include "cli/model_option.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "snapshot/snapshot.h"

struct digesting {
    const char *dir;
    const char *model;
    bool from_scratch;
    bool json;
};

static int digest_rebuild(const struct digesting *d, struct mim_storage storage, const struct mim_compiled *compiled,
                          struct mim_error *reterr) {
    struct mim_progress progress;
    mim_progress_begin(&progress, "replaying", "B");
    struct mim_engine_options engine_options = {.compiled = compiled};
    struct mim_restore_options restore = {.verify = MIM_VERIFY_EAGER,
                                          .threads = mim_snapshot_cores(),
                                          .position_max = d->from_scratch ? 0 : UINT64_MAX,
                                          .lsn_max = UINT64_MAX};
    struct mim_recovery_options recovery_options = {.progress = mim_progress_callback, .progress_context = &progress};
    struct mim_engine *engine = NULL;
    struct mim_restored restored;
    struct mim_recovery recovery;
    struct mim_live live = {0};
    struct mim_error error;
    int rc;
    do {
        error = (struct mim_error){0};
        rc = mim_snapshot_recover(storage, &engine_options, &restore, &recovery_options, &engine, &restored, &recovery,
                                  &error);
    } while (mim_live_look_again(&live, rc, &error));
    mim_progress_end(&progress);
    if (rc != 0) {
        *reterr = error;
        return rc;
    }
    struct mim_engine_point point;
    mim_engine_point(engine, &point);
    unsigned long long digest = (unsigned long long)mim_engine_digest(engine);
    if (restored.skipped[0] != '\0' && !d->from_scratch) {
        (void)fprintf(stderr, "%s\n", restored.skipped);
    }
    if (d->json) {
        (void)printf("{\"position\":%llu,\"digest\":\"%016llx\",\"snapshot\":%llu,\"events\":%llu,\"seconds\":%.3f}\n",
                     (unsigned long long)point.position, digest,
                     (unsigned long long)(restored.found ? restored.header.position : 0),
                     (unsigned long long)recovery.events, mim_progress_seconds(&progress));
    } else {
        (void)printf("%llu %016llx\n", (unsigned long long)point.position, digest);
    }
    mim_recovery_deinit(&recovery);
    (void)mim_engine_free(engine);
    return 0;
}

int mim_cli_digest(int argc, char **argv) {
    struct digesting d = {.model = "ledger"};
    const struct mim_option items[] = {
        {"dir", MIM_OPTION_TEXT, &d.dir, "DIR", "data directory; a live server's is fine", 0, 0},
        {"model", MIM_OPTION_TEXT, &d.model, "NAME|FILE.so", "the model (default ledger)", 0, 0},
        {"from-scratch", MIM_OPTION_FLAG, &d.from_scratch, NULL, "from the whole journal, without snapshots", 0, 0},
        {"json", MIM_OPTION_FLAG, &d.json, NULL, "print JSON", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage digest --dir DIR [--from-scratch]",
        .about =
            "Rebuilds the state offline, reading only, and prints its position and digest. The digest is that of the\n"
            "server's DIGEST at the same position: state can be destroyed and recreated from the journal.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    rc = rc != 0 ? rc : mim_options_want(argv, positional, d.dir, &error);
    if (rc > 0) {
        return 0;
    }
    struct mim_compiled *compiled = NULL;
    struct mim_storage storage = {0};
    rc = rc != 0 ? rc : mim_cli_model(d.model, &compiled, &error);
    rc = rc != 0 ? rc : mim_storage_posix_open(d.dir, false, &storage, &error);
    if (rc == 0) {
        rc = digest_rebuild(&d, storage, compiled, &error);
        mim_storage_posix_close(&storage);
    }
    (void)mim_compiled_free(compiled);
    return rc == 0 ? 0 : mim_cli_fail("digest", &error);
}
