// SPDX-License-Identifier: MIT
// Which snapshots there are, newest first, and which may be removed. Reads headers only.
#include <stdio.h>
#include <stdlib.h>

#include "snapshot/snapshot.h"

/** Parses "<20 digits>.snapshot". */
static bool name_position(const char *name, mim_position_t *ret_position) {
    if (strlen(name) != 20 + sizeof(".snapshot") - 1 || strcmp(name + 20, ".snapshot") != 0) {
        return false;
    }
    mim_position_t position = 0;
    for (unsigned i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return false;
        }
        position = position * 10 + (mim_position_t)(name[i] - '0');
    }
    *ret_position = position;
    return true;
}

static int snapshots_collect(void *context, const char *name, bool is_directory) {
    struct mim_snapshots *snapshots = context;
    mim_position_t position;
    if (is_directory || !name_position(name, &position)) {
        return 0;
    }
    if (snapshots->count == snapshots->capacity) {
        size_t capacity = snapshots->capacity == 0 ? 8 : snapshots->capacity * 2;
        struct mim_snapshot_entry *grown = realloc(snapshots->items, capacity * sizeof(*grown));
        if (grown == NULL) {
            return MIM_E_MEMORY;
        }
        snapshots->items = grown;
        snapshots->capacity = capacity;
    }
    snapshots->items[snapshots->count++] = (struct mim_snapshot_entry){.position = position};
    return 0;
}

static int newest_first(const void *a, const void *b) {
    const struct mim_snapshot_entry *left = a;
    const struct mim_snapshot_entry *right = b;
    return left->position < right->position ? 1 : left->position > right->position ? -1 : 0;
}

static int entry_read(struct mim_storage storage, struct mim_snapshot_entry *entry, struct mim_error *reterr) {
    char path[MIM_SNAPSHOT_PATH_SIZE];
    mim_snapshot_path(entry->position, path);
    mim_file_t file = 0;
    uint8_t page[MIM_SNAPSHOT_HEADER_SIZE];
    size_t size = 0;
    int rc = mim_file_open(storage, path, MIM_OPEN_READ, &file, reterr);
    if (rc == 0) {
        rc = mim_file_pread(storage, file, page, sizeof(page), 0, &size, reterr);
    }
    if (rc == 0) {
        rc = mim_file_size(storage, file, &entry->file_size, reterr);
    }
    mim_file_close(storage, file);
    if (rc == 0 && size < sizeof(page)) {
        rc = mim_error_set(reterr, MIM_E_DAMAGED, "it is shorter than its header");
    }
    if (rc == 0) {
        rc = mim_snapshot_header_decode(page, &entry->header, reterr);
    }
    if (rc == 0 && (entry->file_size < entry->header.table_offset + entry->header.block_count * 8 ||
                    entry->header.position != entry->position)) {
        rc = mim_error_set(reterr, MIM_E_DAMAGED, "it is shorter than it should be, or has another's name");
    }
    return rc;
}

int mim_snapshots_load(struct mim_storage storage, struct mim_snapshots *ret_snapshots, struct mim_error *reterr) {
    struct mim_snapshots snapshots = {0};
    int rc = mim_storage_list(storage, MIM_SNAPSHOT_DIR, snapshots_collect, &snapshots, reterr);
    if (rc != 0 && rc != MIM_E_NOT_FOUND) {
        mim_snapshots_deinit(&snapshots);
        return rc;
    }
    if (snapshots.count > 1) {
        qsort(snapshots.items, snapshots.count, sizeof(*snapshots.items), newest_first);
    }
    for (size_t i = 0; i < snapshots.count; i++) {
        struct mim_error why = {0};
        struct mim_snapshot_entry *entry = &snapshots.items[i];
        entry->usable = entry_read(storage, entry, &why) == 0;
        (void)snprintf(entry->reason, sizeof(entry->reason), "%.199s", why.text);
    }
    *ret_snapshots = snapshots;
    return 0;
}

void mim_snapshots_deinit(struct mim_snapshots *snapshots) {
    free(snapshots->items);
    *snapshots = (struct mim_snapshots){0};
}

int mim_snapshot_discard(struct mim_storage storage, mim_position_t position, struct mim_error *reterr) {
    char path[MIM_SNAPSHOT_PATH_SIZE];
    mim_snapshot_path(position, path);
    int rc = mim_storage_remove(storage, path, reterr);
    return rc != 0 ? rc : mim_storage_sync_dir(storage, MIM_SNAPSHOT_DIR, reterr);
}

int mim_snapshots_prune(struct mim_storage storage, size_t keep, struct mim_error *reterr) {
    struct mim_snapshots snapshots;
    int rc = mim_snapshots_load(storage, &snapshots, reterr);
    if (rc != 0) {
        return rc;
    }
    size_t kept = 0;
    for (size_t i = 0; rc == 0 && i < snapshots.count; i++) {
        if (snapshots.items[i].usable && kept < keep) {
            kept++;
        } else if (kept >= keep) { /* a damaged one is left for its owner to look at until good ones cover it */
            rc = mim_snapshot_discard(storage, snapshots.items[i].position, reterr);
        }
    }
    mim_snapshots_deinit(&snapshots);
    return rc;
}
