// SPDX-License-Identifier: MIT
// Moving old segments into an archive directory; see archive.h. Each step leaves the bytes under at least one name that
// is on stable storage: link or copy, sync, directory sync, and only then is the old name taken away.
#include "snapshot/archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define COPY_SIZE ((size_t)1 << 20)

struct archiving {
    struct mim_storage storage;
    struct mim_storage archive;
    uint8_t *buffer; /* twice COPY_SIZE */
};

/* ------------------------------------------------------------ how far */

/** The oldest snapshot that this journal and this model could start from; NULL: none. */
static const struct mim_snapshot_entry *oldest_kept(struct mim_storage storage, const struct mim_segments *segments,
                                                    const struct mim_snapshots *snapshots, uint64_t fingerprint) {
    const struct mim_snapshot_entry *oldest = NULL;
    for (size_t i = 0; i < snapshots->count; i++) { /* newest first */
        const struct mim_snapshot_entry *entry = &snapshots->items[i];
        struct mim_error why = {0};
        if (entry->usable && entry->header.fingerprint == fingerprint &&
            memcmp(&entry->header.history, &segments->items[0].header.history, sizeof(entry->header.history)) == 0 &&
            mim_journal_anchor(storage, segments, entry->header.lsn, entry->header.chain, &why) == 0) {
            oldest = entry;
        }
    }
    return oldest;
}

/** LSN before which the journal is not needed: that of a snapshot proven good. 0: all of it is. */
static int boundary(struct mim_storage storage, const struct mim_segments *segments, uint64_t fingerprint,
                    mim_lsn_t *ret_lsn, struct mim_error *reterr) {
    struct mim_snapshots snapshots;
    int rc = mim_snapshots_load(storage, &snapshots, reterr);
    if (rc != 0) {
        return rc;
    }
    *ret_lsn = 0;
    const struct mim_snapshot_entry *oldest = oldest_kept(storage, segments, &snapshots, fingerprint);
    bool wanted = oldest != NULL && segments->count > 1 && segments->items[1].header.base_lsn <= oldest->header.lsn;
    if (wanted) {
        rc = mim_storage_sync_dir(storage, MIM_SNAPSHOT_DIR, reterr);
        rc = rc != 0 ? rc : mim_snapshot_verify(storage, &oldest->header, 1, NULL, reterr);
        rc = rc == 0 ? 0
                     : mim_error_prefix(reterr, "nothing is archived: snapshot %" PRIu64, (uint64_t)oldest->position);
        *ret_lsn = oldest->header.lsn;
    }
    mim_snapshots_deinit(&snapshots);
    return rc;
}

/* ------------------------------------------------------------ one segment */

/** Copies a file under a temporary name, synced. Such a name is taken away first, never truncated for reuse. */
static int copy_beside(struct archiving *a, const char *path, const char *temporary, struct mim_error *reterr) {
    mim_file_t in = 0;
    mim_file_t out = 0;
    int rc = mim_storage_remove(a->archive, temporary, reterr);
    rc = rc == MIM_E_NOT_FOUND ? 0 : rc;
    rc = rc != 0 ? rc : mim_file_open(a->storage, path, MIM_OPEN_READ, &in, reterr);
    rc = rc != 0 ? rc
                 : mim_file_open(a->archive, temporary, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_EXCLUSIVE, &out,
                                 reterr);
    size_t got = 1;
    for (uint64_t at = 0; rc == 0 && got > 0; at += got) {
        rc = mim_file_pread(a->storage, in, a->buffer, COPY_SIZE, at, &got, reterr);
        rc = rc != 0 ? rc : mim_file_pwrite(a->archive, out, a->buffer, got, at, reterr);
    }
    rc = rc != 0 ? rc : mim_file_sync(a->archive, out, reterr);
    mim_file_close(a->storage, in);
    mim_file_close(a->archive, out);
    return rc;
}

/** EXISTS unless both files hold the same bytes. Syncs the archived one: nobody knows how it came there. */
static int compare(struct archiving *a, const char *path, const char *name, struct mim_error *reterr) {
    mim_file_t left = 0;
    mim_file_t right = 0;
    int rc = mim_file_open(a->storage, path, MIM_OPEN_READ, &left, reterr);
    rc = rc != 0 ? rc : mim_file_open(a->archive, name, MIM_OPEN_WRITE, &right, reterr);
    size_t size = 1;
    for (uint64_t at = 0; rc == 0 && size > 0; at += size) {
        size_t other = 0;
        rc = mim_file_pread(a->storage, left, a->buffer, COPY_SIZE, at, &size, reterr);
        rc = rc != 0 ? rc : mim_file_pread(a->archive, right, a->buffer + COPY_SIZE, COPY_SIZE, at, &other, reterr);
        if (rc == 0 && (size != other || memcmp(a->buffer, a->buffer + COPY_SIZE, size) != 0)) {
            rc = mim_error_set(reterr, MIM_E_EXISTS,
                               "the archive holds another file named %s: choose another archive directory", name);
        }
    }
    rc = rc != 0 ? rc : mim_file_sync(a->archive, right, reterr);
    mim_file_close(a->storage, left);
    mim_file_close(a->archive, right);
    return rc;
}

static int exists(struct mim_storage storage, const char *name, bool *ret_exists, struct mim_error *reterr) {
    mim_file_t file = 0;
    int rc = mim_file_open(storage, name, MIM_OPEN_READ, &file, reterr);
    mim_file_close(storage, file);
    *ret_exists = rc == 0;
    return rc == MIM_E_NOT_FOUND ? 0 : rc;
}

/** Gives the segment its name in the archive. A link shares the bytes, which the roll has synced. */
static int give_name(struct archiving *a, const char *path, const char *name, struct mim_error *reterr) {
    bool there = false;
    int rc = exists(a->archive, name, &there, reterr);
    if (rc != 0 || there) {
        return rc != 0 ? rc : compare(a, path, name, reterr);
    }
    rc = mim_storage_link(a->storage, path, a->archive, name, reterr);
    if (rc != MIM_E_STATE) {
        return rc;
    }
    char temporary[MIM_SEGMENT_PATH_SIZE];
    (void)snprintf(temporary, sizeof(temporary), "%.48s.tmp", name);
    rc = copy_beside(a, path, temporary, reterr);
    return rc != 0 ? rc : mim_storage_rename(a->archive, temporary, name, reterr);
}

static int move(struct archiving *a, const struct mim_segment *segment, struct mim_error *reterr) {
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(segment->header.first_position, path);
    const char *name = path + sizeof(MIM_JOURNAL_DIR);
    int rc = give_name(a, path, name, reterr);
    rc = rc != 0 ? rc : mim_storage_sync_dir(a->archive, ".", reterr);
    rc = rc != 0 ? rc : mim_storage_remove(a->storage, path, reterr);
    rc = rc != 0 ? rc : mim_storage_sync_dir(a->storage, MIM_JOURNAL_DIR, reterr);
    return rc == 0 ? 0 : mim_error_prefix(reterr, "archiving %s", path);
}

int mim_archive_run(struct mim_storage storage, struct mim_storage archive, uint64_t fingerprint,
                    struct mim_archived *ret_archived, struct mim_error *reterr) {
    struct archiving a = {.storage = storage, .archive = archive, .buffer = malloc(2 * COPY_SIZE)};
    struct mim_archived archived = {0};
    struct mim_segments segments = {0};
    mim_position_t unused = 0;
    mim_lsn_t lsn = 0;
    int rc = a.buffer == NULL ? mim_error_set(reterr, MIM_E_MEMORY, "no memory to archive segments")
                              : mim_segments_load(storage, &segments, &unused, reterr);
    rc = rc != 0 || segments.count == 0 ? rc : boundary(storage, &segments, fingerprint, &lsn, reterr);
    for (size_t i = 0; rc == 0 && i + 1 < segments.count && segments.items[i + 1].header.base_lsn <= lsn; i++) {
        rc = move(&a, &segments.items[i], reterr);
        archived.segments += rc == 0;
        archived.bytes += rc == 0 ? segments.items[i].file_size : 0;
    }
    if (rc == 0 && segments.count > 0) {
        archived.first_position = segments.items[archived.segments].header.first_position;
    }
    mim_segments_deinit(&segments);
    free(a.buffer);
    if (rc == 0) {
        *ret_archived = archived;
    }
    return rc;
}
