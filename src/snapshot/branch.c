// SPDX-License-Identifier: MIT
// The point-in-time copy: frames from a reader to new segment files, the last one cut between transactions.
#include "snapshot/branch.h"

#include <stdio.h>
#include <stdlib.h>

struct branching {
    struct mim_storage from;
    struct mim_storage to;
    const struct mim_branch_options *options;
    struct mim_segments segments;
    size_t segment; /* being written; SIZE_MAX: none yet */
    mim_file_t file;
    uint64_t chain;
    mim_epoch_t epoch;
    struct mim_branched done;
};

static int refuse_entry(void *context, const char *name, bool is_directory) {
    (void)context;
    (void)name;
    (void)is_directory;
    return MIM_E_EXISTS;
}

/** The target must be empty: a copy never mixes with what is there. */
static int branch_target(struct branching *b, struct mim_error *reterr) {
    int rc = mim_storage_make_dir(b->to, MIM_JOURNAL_DIR, reterr);
    if (rc == 0) {
        rc = mim_storage_list(b->to, MIM_JOURNAL_DIR, refuse_entry, NULL, reterr);
    }
    if (rc == MIM_E_EXISTS) {
        return mim_error_set(reterr, rc, "the target already holds a journal: choose an empty directory");
    }
    return rc;
}

static int branch_close_segment(struct branching *b, struct mim_error *reterr) {
    if (b->file == 0) {
        return 0;
    }
    int rc = mim_file_sync(b->to, b->file, reterr);
    mim_file_close(b->to, b->file);
    b->file = 0;
    return rc;
}

static int branch_open_segment(struct branching *b, size_t index, struct mim_error *reterr) {
    int rc = branch_close_segment(b, reterr);
    if (rc != 0) {
        return rc;
    }
    const struct mim_segment_header *header = &b->segments.items[index].header;
    char path[MIM_SEGMENT_PATH_SIZE];
    uint8_t page[MIM_SEGMENT_HEADER_SIZE];
    mim_segment_path(header->first_position, path);
    mim_segment_header_encode(header, page);
    rc = mim_file_open(b->to, path, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_EXCLUSIVE, &b->file, reterr);
    if (rc == 0) {
        rc = mim_file_pwrite(b->to, b->file, page, sizeof(page), 0, reterr);
        b->segment = index;
    }
    return rc;
}

/** Puts one finished frame at its place. */
static int branch_put(struct branching *b, mim_lsn_t lsn, const uint8_t *frame, const struct mim_frame_header *header,
                      struct mim_error *reterr) {
    size_t index = mim_segments_find_lsn(&b->segments, lsn);
    if (b->segment != index || b->file == 0) {
        int rc = branch_open_segment(b, index, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    uint64_t offset = lsn - b->segments.items[index].header.base_lsn;
    int rc = mim_file_pwrite(b->to, b->file, frame, header->size, offset, reterr);
    if (rc == 0) {
        b->done.position = header->first_position + header->event_count - 1;
        b->done.lsn = lsn + header->size;
        b->done.bytes += header->size;
        b->done.time_ms = header->base_time_ms > b->done.time_ms ? header->base_time_ms : b->done.time_ms;
        b->epoch = header->epoch;
    }
    return rc;
}

/** How much of a frame may go into the copy. */
struct cut {
    uint32_t size; /* bytes up to the end of the last whole transaction inside the bounds */
    uint32_t events;
    bool whole;
};

static struct cut frame_cut(const struct branching *b, const struct mim_frame *frame) {
    struct cut cut = {.size = MIM_FRAME_HEADER_SIZE};
    uint32_t events = 0;
    uint32_t offset = MIM_FRAME_HEADER_SIZE;
    while (offset < frame->header.size) {
        struct mim_record record;
        size_t size = mim_record_decode(frame->bytes + offset, frame->header.size - offset, &record);
        bool event = size != 0 && record.type <= MIM_RECORD_EVENT_MAX;
        mim_position_t position = frame->header.first_position + events;
        int64_t time_ms = frame->header.base_time_ms + record.time_delta_ms;
        if (size == 0 || (event && (position > b->options->position_max || time_ms > b->options->time_ms_max))) {
            return cut;
        }
        offset += (uint32_t)size;
        events += event ? 1 : 0;
        if ((record.flags & MIM_FLAG_TX_LAST) != 0) {
            cut = (struct cut){.size = offset, .events = events};
        }
    }
    cut.whole = true;
    return cut;
}

/** Writes the part of a frame that lies inside the bounds as a frame of its own. */
static int branch_put_part(struct branching *b, const struct mim_frame *frame, struct cut cut,
                           struct mim_error *reterr) {
    if (cut.events == 0) {
        return 0;
    }
    uint8_t *bytes = malloc(cut.size);
    if (bytes == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory for a frame");
    }
    memcpy(bytes, frame->bytes, cut.size);
    struct mim_frame_header header = frame->header;
    header.size = cut.size;
    header.event_count = cut.events;
    b->chain = mim_frame_finish(&header, &b->segments.items[0].header.history, frame->lsn, bytes);
    int rc = branch_put(b, frame->lsn, bytes, &header, reterr);
    free(bytes);
    return rc;
}

static int branch_frames(struct branching *b, struct mim_reader *reader, struct mim_error *reterr) {
    const struct mim_segment *last = &b->segments.items[b->segments.count - 1];
    uint64_t total = last->header.base_lsn + last->file_size;
    uint64_t reported = 0;
    struct mim_frame frame;
    int rc;
    while ((rc = mim_reader_next(reader, &frame, reterr)) == 0) {
        bool data = frame.header.kind == MIM_FRAME_DATA;
        struct cut cut = data ? frame_cut(b, &frame) : (struct cut){.whole = true};
        if (!cut.whole || (!data && frame.header.base_time_ms > b->options->time_ms_max)) {
            return data ? branch_put_part(b, &frame, cut, reterr) : 0;
        }
        rc = branch_put(b, frame.lsn, frame.bytes, &frame.header, reterr);
        if (rc != 0) {
            return rc;
        }
        b->chain = frame.header.chain;
        if (b->options->progress != NULL && b->done.bytes - reported > (8u << 20)) {
            reported = b->done.bytes;
            b->options->progress(b->options->progress_context, b->done.bytes, total);
        }
    }
    if (rc != MIM_E_NOT_FOUND) {
        return rc;
    }
    struct mim_journal_ending ending;
    rc = mim_reader_ending(reader, &ending, reterr);
    b->done.whole = true;
    return rc == 0 && ending.kind == MIM_END_DAMAGED ? mim_error_set(reterr, MIM_E_DAMAGED, "%s", ending.text) : rc;
}

static int file_copy(struct branching *b, const char *path, const char *temporary, struct mim_error *reterr) {
    mim_file_t in = 0;
    mim_file_t out = 0;
    uint8_t *buffer = malloc(1u << 20);
    int rc = buffer == NULL ? mim_error_set(reterr, MIM_E_MEMORY, "no memory to copy a file")
                            : mim_file_open(b->from, path, MIM_OPEN_READ, &in, reterr);
    if (rc == 0) {
        rc = mim_file_open(b->to, temporary, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_TRUNCATE, &out, reterr);
    }
    for (uint64_t at = 0; rc == 0;) {
        size_t got = 0;
        rc = mim_file_pread(b->from, in, buffer, 1u << 20, at, &got, reterr);
        if (rc != 0 || got == 0) {
            break;
        }
        rc = mim_file_pwrite(b->to, out, buffer, got, at, reterr);
        at += got;
    }
    if (rc == 0) {
        rc = mim_file_sync(b->to, out, reterr);
    }
    mim_file_close(b->from, in);
    mim_file_close(b->to, out);
    free(buffer);
    return rc != 0 ? rc : mim_storage_rename(b->to, temporary, path, reterr);
}

/** Takes the newest snapshot that the copy's journal covers along: the copy starts as fast as the source. */
static int branch_snapshot(struct branching *b, struct mim_error *reterr) {
    struct mim_snapshots snapshots;
    int rc = mim_snapshots_load(b->from, &snapshots, reterr);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < snapshots.count; i++) {
        const struct mim_snapshot_entry *entry = &snapshots.items[i];
        if (!entry->usable || entry->header.lsn > b->done.lsn || entry->position > b->done.position) {
            continue;
        }
        char path[MIM_SNAPSHOT_PATH_SIZE];
        mim_snapshot_path(entry->position, path);
        rc = mim_storage_make_dir(b->to, MIM_SNAPSHOT_DIR, reterr);
        rc = rc != 0 ? rc : file_copy(b, path, MIM_SNAPSHOT_DIR "/new.tmp", reterr);
        rc = rc != 0 ? rc : mim_storage_sync_dir(b->to, MIM_SNAPSHOT_DIR, reterr);
        b->done.snapshot = rc == 0 ? entry->position : 0;
        break;
    }
    mim_snapshots_deinit(&snapshots);
    return rc;
}

/** A source whose beginning was archived: the copy can only start from a snapshot. One must fit, and be whole. */
static int branch_covered(struct branching *b, struct mim_error *reterr) {
    const struct mim_segment_header *first = &b->segments.items[0].header;
    struct mim_snapshots snapshots;
    if (first->base_lsn == 0) {
        return 0;
    }
    int rc = mim_snapshots_load(b->from, &snapshots, reterr);
    if (rc != 0) {
        return rc;
    }
    rc = MIM_E_NOT_FOUND;
    for (size_t i = 0; rc == MIM_E_NOT_FOUND && i < snapshots.count; i++) {
        const struct mim_snapshot_entry *entry = &snapshots.items[i];
        if (entry->usable && entry->header.lsn >= first->base_lsn && entry->position <= b->options->position_max &&
            entry->header.time_ms <= b->options->time_ms_max) {
            rc = mim_snapshot_verify(b->from, &entry->header, 1, NULL, reterr);
        }
    }
    mim_snapshots_deinit(&snapshots);
    return rc != MIM_E_NOT_FOUND
               ? rc
               : mim_error_set(reterr, MIM_E_INVALID,
                               "the journal begins at position %llu: what lies before was archived, and no snapshot "
                               "leads from there to the point asked for: copy the archived segments back into journal/",
                               (unsigned long long)first->first_position);
}

static int branch_finish(struct branching *b, struct mim_error *reterr) {
    int rc = branch_close_segment(b, reterr);
    rc = rc != 0 ? rc : mim_storage_sync_dir(b->to, MIM_JOURNAL_DIR, reterr);
    rc = rc != 0 ? rc : branch_snapshot(b, reterr);
    struct mim_mark mark = {
        .history = b->segments.items[0].header.history,
        .durable_lsn = b->done.lsn,
        .position = b->done.position,
        .chain = b->chain,
        .epoch = b->epoch,
    };
    rc = rc != 0 ? rc : mim_mark_write(b->to, &mark, true, reterr);
    return rc != 0 ? rc : mim_storage_sync_dir(b->to, ".", reterr);
}

int mim_branch_copy(struct mim_storage from, struct mim_storage to, const struct mim_branch_options *options,
                    struct mim_branched *ret_branched, struct mim_error *reterr) {
    struct branching b = {.from = from, .to = to, .options = options, .segment = SIZE_MAX};
    mim_position_t unused = 0;
    int rc = branch_target(&b, reterr);
    if (rc == 0) {
        rc = mim_segments_load(from, &b.segments, &unused, reterr);
    }
    if (rc == 0 && b.segments.count == 0) {
        rc = mim_error_set(reterr, MIM_E_NOT_FOUND, "the source holds no journal");
    }
    rc = rc != 0 ? rc : branch_covered(&b, reterr);
    static const struct mim_reader_options from_the_start;
    struct mim_reader *reader = NULL;
    if (rc == 0) {
        rc = mim_reader_open(from, &b.segments, &from_the_start, &reader, reterr);
    }
    if (rc == 0) {
        rc = branch_open_segment(&b, 0, reterr);
    }
    if (rc == 0) {
        rc = branch_frames(&b, reader, reterr);
    }
    if (reader != NULL) {
        (void)mim_reader_free(reader);
    }
    if (rc == 0) {
        rc = branch_finish(&b, reterr);
    }
    mim_file_close(to, b.file);
    mim_segments_deinit(&b.segments);
    if (rc == 0) {
        *ret_branched = b.done;
    }
    return rc;
}
