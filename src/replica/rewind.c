// SPDX-License-Identifier: MIT
// Setting a divergent journal aside and cutting it; see rewind.h.
#include "replica/rewind.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "snapshot/snapshot.h"

#define COPY_SIZE ((size_t)1 << 20)
#define ASIDE_MAX 10000u

struct rewinding {
    struct mim_storage storage;
    struct mim_segments segments;
    struct mim_journal_ending ending;
    char aside[MIM_ASIDE_PATH_SIZE];
};

/** How the journal ends: position and epoch name what is set aside. */
static int rewinding_open(struct rewinding *r, struct mim_error *reterr) {
    mim_position_t unused = 0;
    int rc = mim_segments_load(r->storage, &r->segments, &unused, reterr);
    if (rc != 0 || r->segments.count == 0) {
        return rc;
    }
    const struct mim_segment_header *last = &r->segments.items[r->segments.count - 1].header;
    struct mim_reader_options options = {
        .from = last->base_lsn + MIM_SEGMENT_HEADER_SIZE, .previous_chain = last->previous_chain, .headers_only = true};
    struct mim_reader *reader = NULL;
    rc = mim_reader_open(r->storage, &r->segments, &options, &reader, reterr);
    if (rc != 0) {
        return rc;
    }
    struct mim_frame frame;
    while ((rc = mim_reader_next(reader, &frame, reterr)) == 0) {
    }
    rc = rc == MIM_E_NOT_FOUND ? mim_reader_ending(reader, &r->ending, reterr) : rc;
    (void)mim_reader_free(reader);
    return rc;
}

static int any_entry(void *context, const char *name, bool is_directory) {
    (void)context;
    (void)name;
    (void)is_directory;
    return 0;
}

/** A directory nobody has used: "diverged-<epoch>-<position>", with a number behind it when that is taken. */
static int aside_make(struct rewinding *r, struct mim_error *reterr) {
    for (unsigned n = 1; n < ASIDE_MAX; n++) {
        char suffix[16] = "";
        struct mim_error why = {0};
        if (n > 1) {
            (void)snprintf(suffix, sizeof(suffix), ".%u", n);
        }
        (void)snprintf(r->aside, sizeof(r->aside), "diverged-%u-%" PRIu64 "%s", r->ending.epoch, r->ending.position,
                       suffix);
        int rc = mim_storage_list(r->storage, r->aside, any_entry, NULL, &why);
        if (rc == MIM_E_NOT_FOUND) {
            rc = mim_storage_make_dir(r->storage, r->aside, reterr);
            return rc != 0 ? rc : mim_storage_sync_dir(r->storage, ".", reterr);
        }
        if (rc != 0) {
            *reterr = why;
            return rc;
        }
    }
    return mim_error_set(reterr, MIM_E_STATE, "too many diverged-* directories: remove those that are not needed");
}

static int copy_bytes(struct mim_storage storage, mim_file_t from, mim_file_t to, uint64_t size,
                      struct mim_error *reterr) {
    uint8_t *buffer = malloc(COPY_SIZE);
    if (buffer == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory to copy a segment");
    }
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < size;) {
        size_t wanted = size - at < COPY_SIZE ? (size_t)(size - at) : COPY_SIZE;
        size_t got = 0;
        rc = mim_file_pread(storage, from, buffer, wanted, at, &got, reterr);
        if (rc == 0 && got == 0) {
            break;
        }
        rc = rc != 0 ? rc : mim_file_pwrite(storage, to, buffer, got, at, reterr);
        at += got;
    }
    free(buffer);
    return rc != 0 ? rc : mim_file_sync(storage, to, reterr);
}

static int copy_file(struct mim_storage storage, const char *from, const char *to, uint64_t size,
                     struct mim_error *reterr) {
    mim_file_t in = 0;
    mim_file_t out = 0;
    int rc = mim_file_open(storage, from, MIM_OPEN_READ, &in, reterr);
    rc = rc != 0 ? rc : mim_file_open(storage, to, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_EXCLUSIVE, &out, reterr);
    rc = rc != 0 ? rc : copy_bytes(storage, in, out, size, reterr);
    mim_file_close(storage, in);
    mim_file_close(storage, out);
    return rc;
}

/** The whole journal under the aside name. Segments that stay as they are share their bytes where links are possible. */
static int aside_fill(struct rewinding *r, size_t changed, struct mim_error *reterr) {
    char dir[MIM_ASIDE_PATH_SIZE + 16];
    (void)snprintf(dir, sizeof(dir), "%s/" MIM_JOURNAL_DIR, r->aside);
    int rc = mim_storage_make_dir(r->storage, dir, reterr);
    for (size_t i = 0; rc == 0 && i < r->segments.count; i++) {
        char from[MIM_SEGMENT_PATH_SIZE];
        char to[MIM_ASIDE_PATH_SIZE + MIM_SEGMENT_PATH_SIZE + 2];
        mim_segment_path(r->segments.items[i].header.first_position, from);
        (void)snprintf(to, sizeof(to), "%s/%s", r->aside, from);
        struct mim_error ignored = {0};
        bool last = i + 1 == r->segments.count;
        uint64_t size = last ? r->ending.lsn - r->segments.items[i].header.base_lsn : r->segments.items[i].file_size;
        if (i >= changed || mim_storage_link(r->storage, from, r->storage, to, &ignored) != 0) {
            rc = copy_file(r->storage, from, to, size, reterr);
        }
    }
    rc = rc != 0 ? rc : mim_storage_sync_dir(r->storage, dir, reterr);
    return rc != 0 ? rc : mim_storage_sync_dir(r->storage, r->aside, reterr);
}

/** Position and epoch at a boundary of the segment. */
static int point_facts(const struct rewinding *r, size_t segment, const struct mim_boundary *point,
                       struct mim_mark *mark, struct mim_error *reterr) {
    const struct mim_segment_header *header = &r->segments.items[segment].header;
    struct mim_reader_options options = {.from = header->base_lsn + MIM_SEGMENT_HEADER_SIZE,
                                         .previous_chain = header->previous_chain,
                                         .headers_only = true};
    *mark = (struct mim_mark){.history = header->history,
                              .durable_lsn = point->lsn,
                              .position = header->first_position - 1,
                              .chain = point->chain,
                              .epoch = header->epoch,
                              .standby = true};
    struct mim_reader *reader = NULL;
    int rc = mim_reader_open(r->storage, &r->segments, &options, &reader, reterr);
    struct mim_frame frame = {0};
    while (rc == 0 && frame.lsn + frame.header.size < point->lsn && point->lsn > options.from) {
        rc = mim_reader_next(reader, &frame, reterr);
        if (rc == 0) {
            mark->position = frame.header.first_position + frame.header.event_count - 1;
            mark->epoch = frame.header.epoch;
        }
    }
    (void)mim_reader_free(reader);
    return rc;
}

static int snapshots_cut(struct mim_storage storage, mim_lsn_t lsn, struct mim_error *reterr) {
    struct mim_snapshots snapshots;
    int rc = mim_snapshots_load(storage, &snapshots, reterr);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < snapshots.count; i++) {
        if (snapshots.items[i].usable && snapshots.items[i].header.lsn > lsn) {
            rc = mim_snapshot_discard(storage, snapshots.items[i].position, reterr);
        }
    }
    mim_snapshots_deinit(&snapshots);
    return rc;
}

/** Newest first, so that what is left is a whole journal at any moment; then the segment with the point. */
static int segments_cut(struct rewinding *r, size_t segment, mim_lsn_t lsn, struct mim_error *reterr) {
    char path[MIM_SEGMENT_PATH_SIZE];
    int rc = 0;
    for (size_t i = r->segments.count; rc == 0 && i > segment + 1; i--) {
        mim_segment_path(r->segments.items[i - 1].header.first_position, path);
        rc = mim_storage_remove(r->storage, path, reterr);
        rc = rc != 0 ? rc : mim_storage_sync_dir(r->storage, MIM_JOURNAL_DIR, reterr);
    }
    mim_file_t file = 0;
    mim_segment_path(r->segments.items[segment].header.first_position, path);
    rc = rc != 0 ? rc : mim_file_open(r->storage, path, MIM_OPEN_WRITE, &file, reterr);
    if (rc == 0) {
        rc = mim_file_truncate(r->storage, file, lsn - r->segments.items[segment].header.base_lsn, reterr);
        rc = rc != 0 ? rc : mim_file_sync(r->storage, file, reterr);
        mim_file_close(r->storage, file);
    }
    return rc;
}

int mim_journal_rewind(struct mim_storage storage, const struct mim_boundary *point,
                       char ret_aside[MIM_ASIDE_PATH_SIZE], struct mim_error *reterr) {
    struct rewinding r = {.storage = storage};
    struct mim_mark mark;
    int rc = rewinding_open(&r, reterr);
    size_t segment = rc == 0 ? mim_segments_find_lsn(&r.segments, point->lsn) : 0;
    if (rc == 0 && segment >= r.segments.count) {
        rc = mim_error_set(reterr, MIM_E_STATE, "the common point lies before the journal's beginning");
    }
    rc = rc != 0 ? rc : aside_make(&r, reterr);
    rc = rc != 0 ? rc : aside_fill(&r, segment, reterr);
    rc = rc != 0 ? rc : point_facts(&r, segment, point, &mark, reterr);
    /* from here on what stands behind the point is no evidence any more */
    rc = rc != 0 ? rc : mim_mark_write(storage, &mark, true, reterr);
    rc = rc != 0 ? rc : snapshots_cut(storage, point->lsn, reterr);
    rc = rc != 0 ? rc : segments_cut(&r, segment, point->lsn, reterr);
    mim_segments_deinit(&r.segments);
    (void)snprintf(ret_aside, MIM_ASIDE_PATH_SIZE, "%s", r.aside);
    return rc == 0 ? 0 : mim_error_prefix(reterr, "rewinding the journal");
}

int mim_journal_set_aside(struct mim_storage storage, char ret_aside[MIM_ASIDE_PATH_SIZE], struct mim_error *reterr) {
    static const char *const parts[] = {MIM_SNAPSHOT_DIR, MIM_JOURNAL_DIR};
    struct rewinding r = {.storage = storage};
    ret_aside[0] = '\0';
    int rc = rewinding_open(&r, reterr);
    bool worthless = rc == 0 && r.ending.position == 0;
    rc = rc != 0 || worthless ? rc : aside_make(&r, reterr);
    for (size_t i = 0; rc == 0 && i < sizeof(parts) / sizeof(parts[0]); i++) {
        char to[MIM_ASIDE_PATH_SIZE + 16];
        struct mim_error missing = {0};
        if (mim_storage_list(storage, parts[i], any_entry, NULL, &missing) == MIM_E_NOT_FOUND) {
            continue;
        }
        (void)snprintf(to, sizeof(to), "%s/%s", r.aside, parts[i]);
        rc = worthless ? mim_replica_clear_dir(storage, parts[i], reterr)
                       : mim_storage_rename(storage, parts[i], to, reterr);
    }
    rc = rc != 0 || worthless ? rc : mim_storage_sync_dir(storage, r.aside, reterr);
    rc = rc != 0 ? rc : mim_storage_sync_dir(storage, ".", reterr);
    mim_segments_deinit(&r.segments);
    (void)snprintf(ret_aside, MIM_ASIDE_PATH_SIZE, "%s", worthless ? "" : r.aside);
    return rc == 0 ? 0 : mim_error_prefix(reterr, "setting the journal aside");
}
