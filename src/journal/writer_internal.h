// SPDX-License-Identifier: MIT
// Inside the journal part: the writer's state, shared by its stepping (writer.c) and its segments (writer_segment.c).
#ifndef MIM_JOURNAL_WRITER_INTERNAL_H
#define MIM_JOURNAL_WRITER_INTERNAL_H

#include "journal/writer.h"

#define MIM_SPARE_PATH MIM_JOURNAL_DIR "/spare"

/** Written by the writer's thread, read by any: relaxed, each in itself. */
struct mim_writer_counters {
    _Atomic uint64_t frames, bytes, writes, syncs, sync_ns_total, sync_ns_max, rolls;
};

struct mim_writer {
    struct mim_storage storage;
    struct mim_ring *ring;
    struct mim_writer_options options;
    struct mim_history history;
    bool failed;
    bool standby;  /* nothing but a primary's frames since the mark was written */
    bool promoted; /* the first frame of our own is written: the mark has to follow */
    mim_file_t file;
    mim_lsn_t first_lsn; /* of the whole journal */
    mim_lsn_t base_lsn;  /* of the segment being written */
    mim_position_t first_position;
    uint64_t chain; /* of the last frame completed */
    mim_epoch_t epoch;
    uint64_t ring_tail;
    mim_lsn_t written_lsn;
    mim_position_t written_position;
    mim_lsn_t synced_lsn;
    mim_position_t synced_position;
    uint64_t synced_ns; /* when it was last known that nothing unsynced is older */
    struct mim_writer_counters stats;
};

/** Begins the next segment from the spare. The ROLL frame before it is synced. */
MIM_CHECKED int mim_writer_roll(struct mim_writer *writer, struct mim_segment_header *header, struct mim_error *reterr);
/** Takes a name away, if it is there. A temporary file is never truncated for reuse: where directory entries reach the
 *  disk out of order, a power cut between renames can leave its name on a segment. */
MIM_CHECKED int mim_writer_discard(struct mim_storage storage, const char *path, struct mim_error *reterr);
/** Writes the mark for what is synced; a full disk leaves the old one, which is true as well. */
MIM_CHECKED int mim_writer_mark(struct mim_writer *writer, bool sync_name, struct mim_error *reterr);

#endif
