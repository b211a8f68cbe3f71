// SPDX-License-Identifier: MIT
// The writer's segments: opening the last one or making the first, rolling to the next, the mark.
#include <stdlib.h>

#include "base/assert.h"
#include "journal/evidence.h"
#include "journal/writer_internal.h"

#define MIM_NEW_PATH          MIM_JOURNAL_DIR "/new.tmp"
#define MIM_SEGMENT_EXTENSION (64u << 10) /* bytes added to a last segment that has no room for an EPOCH frame */
#define MIM_SETTLE_BLOCK      ((size_t)1 << 20)

int mim_writer_discard(struct mim_storage storage, const char *path, struct mim_error *reterr) {
    int rc = mim_storage_remove(storage, path, reterr);
    return rc == MIM_E_NOT_FOUND ? 0 : rc;
}

int mim_writer_mark(struct mim_writer *writer, bool sync_name, struct mim_error *reterr) {
    struct mim_mark mark = {
        .history = writer->history,
        .durable_lsn = writer->synced_lsn,
        .position = writer->synced_position,
        .chain = writer->chain,
        .epoch = writer->epoch,
        .standby = writer->standby,
    };
    int rc = mim_mark_write(writer->storage, &mark, sync_name, reterr);
    return rc == MIM_E_NO_SPACE ? 0 : rc;
}

/** Header page into a zero-filled file, synced, then renamed to its name, durably. */
static int segment_name(struct mim_writer *writer, mim_file_t file, const char *from,
                        const struct mim_segment_header *header, struct mim_error *reterr) {
    uint8_t page[MIM_SEGMENT_HEADER_SIZE];
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_header_encode(header, page);
    mim_segment_path(header->first_position, path);
    int rc = mim_file_pwrite(writer->storage, file, page, sizeof(page), 0, reterr);
    rc = rc != 0 ? rc : mim_file_sync(writer->storage, file, reterr);
    rc = rc != 0 ? rc : mim_storage_rename(writer->storage, from, path, reterr);
    rc = rc != 0 ? rc : mim_storage_sync_dir(writer->storage, MIM_JOURNAL_DIR, reterr);
    return rc == 0 ? 0 : mim_error_prefix(reterr, "beginning %s", path);
}

int mim_writer_roll(struct mim_writer *writer, struct mim_segment_header *header, struct mim_error *reterr) {
    MIM_ASSERT(header->base_lsn == writer->written_lsn);
    MIM_ASSERT(writer->synced_lsn == writer->written_lsn);
    header->previous_chain = writer->chain;
    mim_file_t next = 0;
    /* The old segment's zero tail is given back, durably, before the next one is there: no old bytes can come up behind
     * the ROLL frame later, not even those of a torn tail whose erasure the disk only pretended. */
    int rc = mim_file_truncate(writer->storage, writer->file, writer->written_lsn - writer->base_lsn, reterr);
    rc = rc != 0 ? rc : mim_file_sync(writer->storage, writer->file, reterr);
    rc = rc != 0 ? rc : mim_file_open(writer->storage, MIM_SPARE_PATH, MIM_OPEN_WRITE, &next, reterr);
    rc = rc != 0 ? rc : segment_name(writer, next, MIM_SPARE_PATH, header, reterr);
    if (rc != 0) {
        mim_file_close(writer->storage, next);
        return rc;
    }
    mim_file_close(writer->storage, writer->file);
    writer->file = next;
    atomic_store_explicit(&writer->ring->journal_bytes, writer->written_lsn - writer->first_lsn, memory_order_relaxed);
    writer->base_lsn = header->base_lsn;
    writer->first_position = header->first_position;
    writer->epoch = header->epoch;
    atomic_fetch_add_explicit(&writer->stats.rolls, 1, memory_order_relaxed);
    rc = mim_writer_mark(writer, /* sync_name= */ true, reterr);
    atomic_store_explicit(&writer->ring->spare_state, MIM_SPARE_NEEDED, memory_order_release);
    return rc;
}

/** Makes a segment without a spare: the first of a journal, or the one missing after a ROLL frame. A spare left by the
 *  process before is given back first: on a full disk that is the room for this one. */
static int segment_create(struct mim_writer *writer, const struct mim_segment_header *header,
                          struct mim_error *reterr) {
    int rc = mim_storage_make_dir(writer->storage, MIM_JOURNAL_DIR, reterr);
    rc = rc != 0 ? rc : mim_storage_sync_dir(writer->storage, ".", reterr);
    rc = rc != 0 ? rc : mim_writer_discard(writer->storage, MIM_SPARE_PATH, reterr);
    rc = rc != 0 ? rc : mim_writer_discard(writer->storage, MIM_NEW_PATH, reterr);
    rc = rc != 0 ? rc
                 : mim_file_open(writer->storage, MIM_NEW_PATH, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_EXCLUSIVE,
                                 &writer->file, reterr);
    if (rc != 0) {
        return rc;
    }
    rc = mim_file_preallocate(writer->storage, writer->file, writer->ring->segment_size_min, reterr);
    if (rc == MIM_E_NO_SPACE) {
        (void)mim_storage_remove(writer->storage, MIM_NEW_PATH, NULL);
    }
    rc = rc != 0 ? rc : segment_name(writer, writer->file, MIM_NEW_PATH, header, reterr);
    writer->base_lsn = header->base_lsn;
    writer->first_position = header->first_position;
    return rc;
}

/** Writes [from, to) of the segment once more, as it reads, and zeros behind it up to `end`; syncs. After a failed sync
 *  the pages of the process before read well, are clean, and never reached the disk: a mere sync would pass them over. */
static int segment_settle(struct mim_writer *writer, uint64_t from, uint64_t to, uint64_t end,
                          struct mim_error *reterr) {
    uint8_t *block = malloc(MIM_SETTLE_BLOCK);
    if (block == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory to settle the journal's last segment");
    }
    int rc = 0;
    for (uint64_t at = from; rc == 0 && at < end;) {
        uint64_t until = at < to ? to : end;
        size_t size = until - at < MIM_SETTLE_BLOCK ? (size_t)(until - at) : MIM_SETTLE_BLOCK;
        size_t got = size;
        if (at < to) {
            rc = mim_file_pread(writer->storage, writer->file, block, size, at, &got, reterr);
        } else {
            memset(block, 0, size);
        }
        if (rc == 0 && got != size) {
            rc = mim_error_set(reterr, MIM_E_IO, "the last segment is shorter than recovery read it");
        }
        rc = rc != 0 ? rc : mim_file_pwrite(writer->storage, writer->file, block, size, at, reterr);
        at += size;
    }
    free(block);
    return rc != 0 ? rc : mim_file_sync(writer->storage, writer->file, reterr);
}

/** Opens the last segment and makes all of it that was read durable (before `vouched` it is already). With `go_on`, one without room for the frames of
 *  a reign's begin and end gets a little. */
static int segment_reopen(struct mim_writer *writer, const struct mim_segment *last, mim_lsn_t lsn, mim_lsn_t vouched,
                          bool go_on, uint64_t *ret_size, struct mim_error *reterr) {
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(last->header.first_position, path);
    int rc = mim_file_open(writer->storage, path, MIM_OPEN_WRITE, &writer->file, reterr);
    if (rc != 0) {
        return rc;
    }
    writer->base_lsn = last->header.base_lsn;
    writer->first_position = last->header.first_position;
    uint64_t used = lsn - last->header.base_lsn;
    uint64_t end = used;
    *ret_size = last->file_size;
    if (go_on && last->file_size < used + 4u * MIM_FRAME_HEADER_SIZE) {
        *ret_size = used + MIM_SEGMENT_EXTENSION;
        end = *ret_size;
    }
    vouched = vouched < lsn ? vouched : lsn;
    uint64_t from = vouched > last->header.base_lsn ? vouched - last->header.base_lsn : 0;
    rc = segment_settle(writer, from > MIM_SEGMENT_HEADER_SIZE ? from : MIM_SEGMENT_HEADER_SIZE, used, end, reterr);
    rc = rc != 0 ? rc : mim_storage_sync_dir(writer->storage, MIM_JOURNAL_DIR, reterr);
    rc = rc != 0 ? rc : mim_storage_sync_dir(writer->storage, ".", reterr);
    return rc == 0 ? 0 : mim_error_prefix(reterr, "%s", path);
}

static void writer_start(struct mim_writer *writer, const struct mim_journal_ending *ending, mim_lsn_t lsn) {
    writer->epoch = ending->epoch;
    writer->written_lsn = lsn;
    writer->synced_lsn = lsn;
    writer->written_position = ending->position;
    writer->synced_position = ending->position;
    struct mim_ring *ring = writer->ring;
    atomic_store_explicit(&ring->gate_position, ending->position, memory_order_release);
    atomic_store_explicit(&ring->gate_lsn, lsn, memory_order_release);
    atomic_store_explicit(&ring->synced_position, ending->position, memory_order_release);
    atomic_store_explicit(&ring->synced_lsn, lsn, memory_order_release);
}

/** The segment that appending goes on in: reopened or made; its size and the LSN to go on at. */
static int writer_segment(struct mim_writer *writer, const struct mim_segments *segments,
                          const struct mim_journal_ending *ending, int64_t time_ms, uint64_t *ret_size,
                          mim_lsn_t *ret_lsn, struct mim_error *reterr) {
    if (segments->count > 0) {
        const struct mim_segment *last = &segments->items[segments->count - 1];
        *ret_lsn = ending->lsn;
        mim_lsn_t vouched = 0;
        int rc = mim_evidence_ending(writer->storage, segments, ending, &vouched, reterr);
        rc = rc != 0 ? rc : segment_reopen(writer, last, ending->lsn, vouched, !ending->rolled, ret_size, reterr);
        if (rc != 0 || !ending->rolled) {
            return rc;
        }
        mim_file_close(writer->storage, writer->file); /* settled: the next one may point back at it */
        writer->file = 0;
    }
    struct mim_segment_header header = {
        .history = writer->history,
        .first_position = ending->position + 1,
        .base_lsn = segments->count == 0 ? 0 : ending->lsn,
        .previous_chain = writer->chain,
        .epoch = ending->epoch,
        .base_time_ms = segments->count > 0 ? ending->time_ms : time_ms, /* as the ROLL frame: standbys make the same */
    };
    *ret_size = writer->ring->segment_size_min;
    *ret_lsn = header.base_lsn + MIM_SEGMENT_HEADER_SIZE;
    return segment_create(writer, &header, reterr);
}

int mim_writer_open(struct mim_storage storage, struct mim_ring *ring, const struct mim_writer_options *options,
                    const struct mim_segments *segments, const struct mim_journal_ending *ending,
                    const struct mim_history *history, int64_t time_ms, struct mim_writer **ret_writer,
                    struct mim_appender_start *ret_start, struct mim_error *reterr) {
    struct mim_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory for the journal writer");
    }
    writer->storage = storage;
    writer->ring = ring;
    writer->options = *options;
    writer->standby = options->standby;
    writer->history = segments->count > 0 ? segments->items[0].header.history : *history;
    writer->chain = segments->count > 0 ? ending->chain : mim_history_seed(history);
    writer->first_lsn = segments->count > 0 ? segments->items[0].header.base_lsn : 0;
    ring->segment_size_min = options->segment_size_min == 0 ? MIM_SEGMENT_SIZE_MIN : options->segment_size_min;
    MIM_ASSERT(ring->segment_size_min >= 2u * MIM_SEGMENT_HEADER_SIZE);
    uint64_t size = 0;
    mim_lsn_t lsn = 0;
    int rc = writer_segment(writer, segments, ending, time_ms, &size, &lsn, reterr);
    if (rc != 0) {
        (void)mim_writer_free(writer);
        return rc;
    }
    writer_start(writer, ending, lsn);
    atomic_store_explicit(&ring->journal_bytes, lsn - writer->first_lsn, memory_order_relaxed);
    atomic_store_explicit(&ring->spare_state, MIM_SPARE_NEEDED, memory_order_release);
    *ret_start = (struct mim_appender_start){
        .history = writer->history,
        .epoch = ending->epoch,
        .lsn = lsn,
        .position = ending->position,
        .time_ms = ending->time_ms,
        .segment_first_position = writer->first_position,
        .segment_base_lsn = writer->base_lsn,
        .segment_size = size,
    };
    *ret_writer = writer;
    return 0;
}

struct mim_writer *mim_writer_free(struct mim_writer *writer) {
    if (writer != NULL) {
        mim_file_close(writer->storage, writer->file);
        free(writer);
    }
    return NULL;
}
