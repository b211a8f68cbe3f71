// SPDX-License-Identifier: MIT
// From a snapshot file to an engine: mapped privately where there is a POSIX file, read where there is none.
#include <stdio.h>

#include "snapshot/snapshot.h"

static int image_read(struct mim_storage storage, mim_file_t file, const struct mim_snapshot_header *header,
                      uint64_t reservation, struct mim_arena *ret_arena, struct mim_error *reterr) {
    int rc = mim_arena_open(ret_arena, reservation, reterr);
    if (rc != 0) {
        return rc;
    }
    size_t got = 0;
    struct mim_error why = {0};
    mim_arena_poison_lift(ret_arena);
    rc = header->image_size > ret_arena->capacity
             ? mim_error_set(reterr, MIM_E_MEMORY, "the image is larger than the address space reserved for it")
             : mim_file_pread(storage, file, ret_arena->base, (size_t)header->image_size, MIM_SNAPSHOT_HEADER_SIZE,
                              &got, reterr);
    if (rc == 0 && got != header->image_size) {
        rc = mim_error_set(reterr, MIM_E_DAMAGED, "the file ends early");
    }
    int adopted = mim_arena_adopt(ret_arena, rc == 0 ? header->image_size : 0, &why);
    if (rc == 0 && adopted != 0) {
        *reterr = why;
        rc = adopted;
    }
    if (rc != 0) {
        mim_arena_close(ret_arena);
    }
    return rc;
}

static int image_open(struct mim_storage storage, const struct mim_snapshot_header *header, uint64_t reservation,
                      struct mim_arena *ret_arena, struct mim_error *reterr) {
    char path[MIM_SNAPSHOT_PATH_SIZE];
    mim_snapshot_path(header->position, path);
    mim_file_t file = 0;
    int rc = mim_file_open(storage, path, MIM_OPEN_READ, &file, reterr);
    if (rc != 0) {
        return rc;
    }
    int fd = mim_storage_posix_fd(file);
    rc = fd >= 0 ? mim_arena_map(ret_arena, fd, MIM_SNAPSHOT_HEADER_SIZE, header->image_size, reservation, reterr)
                 : image_read(storage, file, header, reservation, ret_arena, reterr);
    mim_file_close(storage, file);
    return rc;
}

static int restore_one(struct mim_storage storage, const struct mim_snapshot_header *header,
                       const struct mim_engine_options *engine_options, const struct mim_restore_options *options,
                       struct mim_engine **ret_engine, struct mim_error *reterr) {
    if (header->fingerprint != engine_options->compiled->fingerprint) {
        return mim_error_set(reterr, MIM_E_MODEL, "it was made by another model layout (%s)", header->model);
    }
    if (options->verify == MIM_VERIFY_EAGER) {
        int rc = mim_snapshot_verify(storage, header, options->threads, NULL, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    struct mim_arena arena = {0};
    int rc = image_open(storage, header, engine_options->reservation, &arena, reterr);
    if (rc != 0) {
        return rc;
    }
    return mim_engine_restore(engine_options, &arena, ret_engine, reterr);
}

static void restored_skip(struct mim_restored *restored, mim_position_t position, const char *why) {
    size_t used = strlen(restored->skipped);
    (void)snprintf(restored->skipped + used, sizeof(restored->skipped) - used, "%ssnapshot %llu skipped: %s",
                   used == 0 ? "" : "\n", (unsigned long long)position, why);
}

/** True when the error concerns this snapshot alone, so that an older one may do. */
static bool skippable(int rc) {
    return rc == MIM_E_DAMAGED || rc == MIM_E_FORMAT || rc == MIM_E_MODEL || rc == MIM_E_NOT_FOUND || rc == MIM_E_IO;
}

int mim_snapshot_restore(struct mim_storage storage, const struct mim_engine_options *engine_options,
                         const struct mim_restore_options *options, struct mim_engine **ret_engine,
                         struct mim_restored *ret_restored, struct mim_error *reterr) {
    *ret_restored = (struct mim_restored){0};
    struct mim_snapshots snapshots;
    int rc = mim_snapshots_load(storage, &snapshots, reterr);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < snapshots.count && !ret_restored->found; i++) {
        const struct mim_snapshot_entry *entry = &snapshots.items[i];
        if (!entry->usable) {
            restored_skip(ret_restored, entry->position, entry->reason);
        } else if (entry->position > options->position_max) {
            continue;
        } else if (entry->header.lsn > options->lsn_max) {
            restored_skip(ret_restored, entry->position, "it is ahead of the journal");
        } else {
            struct mim_error why = {0};
            int one = restore_one(storage, &entry->header, engine_options, options, ret_engine, &why);
            if (one == 0) {
                ret_restored->found = true;
                ret_restored->header = entry->header;
            } else if (skippable(one)) {
                restored_skip(ret_restored, entry->position, why.text);
            } else {
                *reterr = why;
                rc = one;
            }
        }
    }
    mim_snapshots_deinit(&snapshots);
    return rc != 0 || ret_restored->found ? rc : mim_engine_new(engine_options, ret_engine, reterr);
}
