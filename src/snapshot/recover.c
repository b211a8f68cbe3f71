// SPDX-License-Identifier: MIT
// From a directory to an engine: snapshot plus tail, or the whole journal. Tries snapshots newest first until one belongs
// to this journal.
#include <stdio.h>

#include "snapshot/read_thread.h"
#include "snapshot/snapshot.h"

/** LSN up to which usable snapshots of this history show the journal to have been durable. */
static int snapshots_evidence(struct mim_storage storage, const struct mim_segments *segments, mim_lsn_t *ret_lsn,
                              struct mim_error *reterr) {
    struct mim_snapshots snapshots;
    int rc = mim_snapshots_load(storage, &snapshots, reterr);
    if (rc != 0) {
        return rc;
    }
    *ret_lsn = 0;
    for (size_t i = 0; i < snapshots.count && segments->count > 0; i++) {
        const struct mim_snapshot_entry *entry = &snapshots.items[i];
        if (entry->usable && entry->header.lsn > *ret_lsn &&
            memcmp(&entry->header.history, &segments->items[0].header.history, sizeof(entry->header.history)) == 0) {
            *ret_lsn = entry->header.lsn;
        }
    }
    mim_snapshots_deinit(&snapshots);
    return 0;
}

/** Adds a line, cut where there is no more room. */
static void skipped_add(char *skipped, size_t size, const char *text) {
    size_t used = strlen(skipped);
    size_t more = strlen(text);
    if (used > 0 && more > 0 && used + 1 < size) {
        skipped[used++] = '\n';
    }
    more = more < size - 1 - used ? more : size - 1 - used;
    memcpy(skipped + used, text, more);
    skipped[used + more] = '\0';
}

/** True when the restored image is the fold of this very journal up to its point. */
static int belongs(struct mim_storage storage, const struct mim_segments *segments, const struct mim_engine *engine,
                   struct mim_error *reterr) {
    struct mim_engine_point point;
    mim_engine_point(engine, &point);
    if (segments->count == 0) {
        return mim_error_set(reterr, MIM_E_STATE, "there is no journal");
    }
    if (memcmp(&point.history, &segments->items[0].header.history, sizeof(point.history)) != 0) {
        return mim_error_set(reterr, MIM_E_STATE, "it is of another history");
    }
    return mim_journal_anchor(storage, segments, point.lsn, point.chain, reterr);
}

/** An engine from the newest snapshot that belongs to the journal, else an empty one. */
static int restore_belonging(struct mim_storage storage, const struct mim_segments *segments,
                             const struct mim_engine_options *engine_options,
                             const struct mim_restore_options *restore_options, struct mim_engine **ret_engine,
                             struct mim_restored *restored, struct mim_error *reterr) {
    struct mim_restore_options options = *restore_options;
    char skipped[sizeof(restored->skipped)] = "";
    for (;;) {
        int rc = mim_snapshot_restore(storage, engine_options, &options, ret_engine, restored, reterr);
        if (rc != 0) {
            return rc;
        }
        skipped_add(skipped, sizeof(skipped), restored->skipped);
        struct mim_error why = {0};
        rc = restored->found ? belongs(storage, segments, *ret_engine, &why) : 0;
        if (rc == 0) {
            memcpy(restored->skipped, skipped, sizeof(skipped));
            return 0;
        }
        *ret_engine = mim_engine_free(*ret_engine);
        if (rc != MIM_E_STATE) {
            *reterr = why;
            return rc;
        }
        char line[320];
        (void)snprintf(line, sizeof(line), "snapshot %llu skipped: %.250s",
                       (unsigned long long)restored->header.position, why.text);
        skipped_add(skipped, sizeof(skipped), line);
        if (restored->header.position == 0) {
            options.position_max = 0;
            options.lsn_max = 0;
        } else {
            options.position_max = restored->header.position - 1;
        }
    }
}

/** A start that fails for want of a snapshot says what was wrong with those that are there. */
static void tell_skipped(int rc, const struct mim_restored *restored, struct mim_error *error) {
    if (rc == MIM_E_DAMAGED && !restored->found && restored->skipped[0] != '\0' && error != NULL) {
        size_t used = strlen(error->text);
        (void)snprintf(error->text + used, sizeof(error->text) - used, " (%s)", restored->skipped);
    }
}

int mim_snapshot_recover(struct mim_storage storage, const struct mim_engine_options *engine_options,
                         const struct mim_restore_options *restore_options,
                         const struct mim_recovery_options *recovery_options, struct mim_engine **ret_engine,
                         struct mim_restored *ret_restored, struct mim_recovery *ret_recovery,
                         struct mim_error *reterr) {
    struct mim_segments segments = {0};
    mim_position_t unused = 0;
    int rc = mim_segments_load(storage, &segments, &unused, reterr);
    struct mim_recovery_options options = {0};
    if (recovery_options != NULL) {
        options = *recovery_options;
    }
    if (rc == 0) {
        rc = snapshots_evidence(storage, &segments, &options.torn_evidence_lsn, reterr);
    }
    if (restore_options->threads > 1 && options.source == NULL) {
        options.source = &mim_read_thread;
    }
    struct mim_engine *engine = NULL;
    if (rc == 0) {
        rc = restore_belonging(storage, &segments, engine_options, restore_options, &engine, ret_restored, reterr);
    }
    mim_segments_deinit(&segments);
    if (rc == 0) {
        rc = mim_recovery_run(storage, engine, &options, ret_recovery, reterr);
        tell_skipped(rc, ret_restored, reterr);
    }
    if (rc != 0) {
        (void)mim_engine_free(engine);
        return rc;
    }
    *ret_engine = engine;
    return 0;
}
