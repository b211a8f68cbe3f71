// SPDX-License-Identifier: MIT
// memimage snapshot: newest snapshot + tail -> next snapshot, by the replay path, in a process of its own at low
// priority. Offline or beside a live server, which starts it too.
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/model_option.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "snapshot/snapshot.h"

struct snapshotting {
    const char *dir;
    const char *model;
    uint64_t keep;
    uint64_t limit_lsn; /* of a live server: end of a durable frame; 0: the journal's end */
    bool json;
};

/** Below everything else on the machine: CPU nice 19, I/O idle class. */
static void be_humble(void) {
    (void)setpriority(PRIO_PROCESS, 0, 19);
    (void)syscall(SYS_ioprio_set, 1 /* process */, 0, 3 << 13 /* idle */);
}

static int snapshot_make(const struct snapshotting *s, struct mim_storage storage, const struct mim_compiled *compiled,
                         struct mim_error *reterr) {
    struct mim_progress progress;
    mim_progress_begin(&progress, "replaying", "B");
    struct mim_engine_options engine_options = {.compiled = compiled};
    struct mim_restore_options restore = {
        .verify = MIM_VERIFY_EAGER,
        .threads = s->limit_lsn != 0 ? 1 : mim_snapshot_cores(), /* a server at work needs the others */
        .position_max = UINT64_MAX,
        .lsn_max = s->limit_lsn == 0 ? UINT64_MAX : s->limit_lsn};
    struct mim_recovery_options recovery_options = {
        .progress = mim_progress_callback, .progress_context = &progress, .limit = s->limit_lsn};
    struct mim_engine *engine = NULL;
    struct mim_restored restored;
    struct mim_recovery recovery;
    int rc = mim_snapshot_recover(storage, &engine_options, &restore, &recovery_options, &engine, &restored, &recovery,
                                  reterr);
    if (rc != 0) {
        return rc;
    }
    if (restored.skipped[0] != '\0') {
        (void)fprintf(stderr, "%s\n", restored.skipped);
    }
    struct mim_clock clock = mim_clock_posix();
    struct mim_snapshot_header header = {0};
    struct mim_engine_point point;
    mim_engine_point(engine, &point);
    progress.label = "writing";
    if (point.lsn == 0) {
        rc = mim_error_set(reterr, MIM_E_NOT_FOUND, "there is no journal to make a snapshot of");
    } else {
        rc = mim_snapshot_write(storage, engine, clock.wall_ms(clock.context), mim_progress_callback, &progress,
                                &header, reterr);
    }
    rc = rc != 0 ? rc : mim_snapshots_prune(storage, s->keep, reterr);
    mim_progress_end(&progress);
    if (rc == 0 && s->json) {
        (void)printf(
            "{\"position\":%llu,\"lsn\":%llu,\"digest\":\"%016llx\",\"bytes\":%llu,\"from\":%llu,\"events\":%llu,"
            "\"seconds\":%.3f}\n",
            (unsigned long long)header.position, (unsigned long long)header.lsn, (unsigned long long)header.digest,
            (unsigned long long)header.image_size, (unsigned long long)(restored.found ? restored.header.position : 0),
            (unsigned long long)recovery.events, mim_progress_seconds(&progress));
    } else if (rc == 0) {
        (void)printf("snapshot at position %llu: %llu bytes of image, digest %016llx, %.3f s\n",
                     (unsigned long long)header.position, (unsigned long long)header.image_size,
                     (unsigned long long)header.digest, mim_progress_seconds(&progress));
    }
    mim_recovery_deinit(&recovery);
    (void)mim_engine_free(engine);
    return rc;
}

int mim_cli_snapshot(int argc, char **argv) {
    struct snapshotting s = {.model = "ledger", .keep = 2};
    const struct mim_option items[] = {
        {"dir", MIM_OPTION_TEXT, &s.dir, "DIR", "data directory; a live server's is fine", 0, 0},
        {"model", MIM_OPTION_TEXT, &s.model, "NAME|FILE.so", "the model (default ledger)", 0, 0},
        {"keep", MIM_OPTION_UNSIGNED, &s.keep, "N", "snapshots to keep, newest first (default 2)", 1, 1000000},
        {"limit-lsn", MIM_OPTION_UNSIGNED, &s.limit_lsn, "LSN",
         "stop at this end of a durable frame (a server says it; default: the journal's end)", 0, 0},
        {"json", MIM_OPTION_FLAG, &s.json, NULL, "print JSON", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage snapshot --dir DIR",
        .about =
            "Makes a snapshot from the newest one and the journal behind it, at low priority. It reads only what is\n"
            "durable, and every snapshot taken is a proof that recovery works.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    rc = rc != 0 ? rc : mim_options_want(argv, positional, s.dir, &error);
    if (rc > 0) {
        return 0;
    }
    struct mim_compiled *compiled = NULL;
    struct mim_storage storage = {0};
    mim_file_t lock = 0;
    rc = rc != 0 ? rc : mim_cli_model(s.model, &compiled, &error);
    rc = rc != 0 ? rc : mim_storage_posix_open(s.dir, false, &storage, &error);
    if (rc == 0) {
        be_humble();
        rc = mim_storage_lock(storage, "snapshot.lock", &lock, &error); /* one snapshot at a time */
        rc = rc != 0 ? rc : snapshot_make(&s, storage, compiled, &error);
        mim_file_close(storage, lock);
        mim_storage_posix_close(&storage);
    }
    (void)mim_compiled_free(compiled);
    return rc == 0 ? 0 : mim_cli_fail("snapshot", &error);
}
