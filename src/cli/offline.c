// SPDX-License-Identifier: MIT
// Opening a directory for reading its history; see offline.h.
#include "cli/offline.h"

#include <string.h>

#include "cli/live.h"
#include "cli/model_option.h"
#include "cli/progress.h"
#include "snapshot/snapshot.h"

/** The image after the whole journal, and where that ends. A live server's journal may move while it is read. */
static int offline_recover(struct mim_offline *offline, mim_lsn_t *ret_end, struct mim_error *reterr) {
    struct mim_progress progress;
    mim_progress_begin(&progress, "replaying", "B");
    struct mim_engine_options engine_options = {.compiled = offline->compiled};
    struct mim_restore_options restore = {
        .verify = MIM_VERIFY_EAGER, .threads = 2, .position_max = UINT64_MAX, .lsn_max = UINT64_MAX};
    struct mim_recovery_options recovery_options = {.progress = mim_progress_callback, .progress_context = &progress};
    struct mim_restored restored;
    struct mim_recovery recovery;
    struct mim_live live = {0};
    struct mim_error error;
    int rc;
    do {
        error = (struct mim_error){0};
        rc = mim_snapshot_recover(offline->storage, &engine_options, &restore, &recovery_options, &offline->engine,
                                  &restored, &recovery, &error);
    } while (mim_live_look_again(&live, rc, &error));
    mim_progress_end(&progress);
    if (rc != 0) {
        *reterr = error;
        return rc;
    }
    *ret_end = recovery.ending.lsn;
    mim_recovery_deinit(&recovery);
    return 0;
}

int mim_offline_open(const char *dir, const char *model, struct mim_offline *ret_offline, struct mim_error *reterr) {
    struct mim_offline *offline = ret_offline;
    mim_lsn_t end = 0;
    *offline = (struct mim_offline){0};
    int rc = mim_cli_model(model, &offline->compiled, reterr);
    rc = rc != 0 ? rc : mim_storage_posix_open(dir, false, &offline->storage, reterr);
    rc = rc != 0 ? rc : offline_recover(offline, &end, reterr);
    rc = rc != 0 ? rc : mim_access_open(offline->storage, &offline->access, reterr);
    rc = rc != 0 ? rc : mim_access_set_limit(offline->access, end, 0, reterr);
    return rc != 0 ? rc : mim_cloudevents_new(offline->engine, &offline->events, reterr);
}

void mim_offline_close(struct mim_offline *offline) {
    (void)mim_cloudevents_free(offline->events);
    (void)mim_access_free(offline->access);
    if (offline->engine != NULL) {
        (void)mim_engine_free(offline->engine);
    }
    if (offline->storage.ops != NULL) {
        mim_storage_posix_close(&offline->storage);
    }
    (void)mim_compiled_free(offline->compiled);
    *offline = (struct mim_offline){0};
}

int mim_offline_tip(const struct mim_offline *offline, const char *address, unsigned *ret_aggregate,
                    mim_stream_t *ret_stream, struct mim_stream_tip *ret_tip, struct mim_error *reterr) {
    const char *slash = strchr(address, '/');
    if (slash == NULL) {
        return mim_error_set(reterr, MIM_E_USAGE, "the aggregate must be given as type/id");
    }
    int rc = mim_engine_tip(offline->engine, mim_slice_of(address, (size_t)(slash - address)),
                            mim_slice_text(slash + 1), ret_aggregate, ret_stream, ret_tip, reterr);
    return rc == MIM_E_NOT_FOUND ? mim_error_set(reterr, rc, "%s does not exist", address) : rc;
}
