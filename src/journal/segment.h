// SPDX-License-Identifier: MIT
// Segments on storage: names, the table of all of them, the mark, the spare that is prepared ahead.
// journal/NNN.journal  segments          journal/spare      the next segment, zero-filled and synced
// journal/mark         last known durable LSN, written at start, roll and clean stop: evidence against lost tails
// journal/NNN.torn.E   tails cut off at the start of epoch E
#ifndef MIM_JOURNAL_SEGMENT_H
#define MIM_JOURNAL_SEGMENT_H

#include "journal/frame.h"
#include "storage/storage.h"

#define MIM_JOURNAL_DIR       "journal"
#define MIM_SEGMENT_PATH_SIZE 64u

struct mim_segment {
    struct mim_segment_header header;
    uint64_t file_size; /* used bytes for all but the last; preallocated size for the last */
};

/** All segments in order. Owned by the caller; mim_segments_deinit. */
struct mim_segments {
    struct mim_segment *items;
    size_t count;
    size_t capacity;
};

void mim_segment_path(mim_position_t first_position, char ret_path[MIM_SEGMENT_PATH_SIZE]);

/** Lists journal/, reads and checks every header and that the chain of headers is whole: same history, base LSN =
 *  previous base + previous size, strictly growing first positions, epochs not falling. An empty or missing
 *  directory gives count 0. A last segment whose header page is all zeros or missing bytes was never used: it is
 *  reported in ret_unused (first position) and left out.
 *  DAMAGED names the missing, foreign or duplicated segment; IO; FORMAT. */
MIM_CHECKED int mim_segments_load(struct mim_storage storage, struct mim_segments *ret_segments,
                                  mim_position_t *ret_unused, struct mim_error *reterr);
void mim_segments_deinit(struct mim_segments *segments);
/** Appends a copy. MEMORY. */
MIM_CHECKED int mim_segments_push(struct mim_segments *segments, const struct mim_segment *segment);
/** Index of the segment that holds an LSN / a position; count when beyond the first segment's start. */
size_t mim_segments_find_lsn(const struct mim_segments *segments, mim_lsn_t lsn);
size_t mim_segments_find_position(const struct mim_segments *segments, mim_position_t position);

/** The mark: the last durable point that was known at a quiet moment. */
struct mim_mark {
    struct mim_history history;
    mim_lsn_t durable_lsn; /* all bytes before it were durable */
    mim_position_t position;
    uint64_t chain; /* of the last frame before durable_lsn */
    mim_epoch_t epoch;
    bool
        standby; /* what stands behind durable_lsn came from a primary: its frames tell what was durable there, not here */
};
/** Writes journal/mark atomically (temporary, sync, rename, and with sync_name: directory sync; without it the mark before
 *  may come back after a power cut). */
MIM_CHECKED int mim_mark_write(struct mim_storage storage, const struct mim_mark *mark, bool sync_name,
                               struct mim_error *reterr);
/** NOT_FOUND when there is none; DAMAGED when unreadable (the caller treats that as no evidence and says so). */
MIM_CHECKED int mim_mark_read(struct mim_storage storage, struct mim_mark *ret_mark, struct mim_error *reterr);

#endif
