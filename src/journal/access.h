// SPDX-License-Identifier: MIT
// Random access to the durable part of a journal: any record by its LSN, any frame, with a small cache of blocks, open
// segments and verified frames. What lies below the limit never changes, so what was read once stays true.
// The table of segments follows a live journal as it rolls. One thread at a time; several may stand on one journal.
#ifndef MIM_JOURNAL_ACCESS_H
#define MIM_JOURNAL_ACCESS_H

#include "journal/reader.h"
#include "journal/segment.h"

struct mim_access; /* open/free; 4 MiB of blocks, and at most MIM_ACCESS_FRAMES of the largest frames */

#define MIM_ACCESS_FRAMES 4u

/** One event where it stands. Slices are valid until the next call with the access (or the frame) it came from. */
struct mim_journal_event {
    struct mim_record record;
    mim_lsn_t lsn;
    mim_position_t position;
    int64_t time_ms;
    mim_epoch_t epoch;
    /* of its transaction; data NULL: not given. Filled in by mim_access_transaction and mim_cursor_event. */
    struct mim_slice correlation;
    struct mim_slice causation;
    struct mim_slice actor;
};

/** What was read from storage so far. */
struct mim_access_stats {
    uint64_t reads;
    uint64_t bytes;
};

/** MEMORY. Nothing may be read before the first mim_access_set_limit. */
MIM_CHECKED int mim_access_open(struct mim_storage storage, struct mim_access **ret_access, struct mim_error *reterr);
struct mim_access *mim_access_free(struct mim_access *access);

/** Allows reading what lies before `limit` (a frame boundary: the gate). `segment_lsn`: base LSN of the newest segment
 *  that was begun (the appender's), so that the directory is read again only after a roll; 0: not known. IO, DAMAGED. */
MIM_CHECKED int mim_access_set_limit(struct mim_access *access, mim_lsn_t limit, mim_lsn_t segment_lsn,
                                     struct mim_error *reterr);
mim_lsn_t mim_access_limit(const struct mim_access *access);
/** Borrowed; changes with mim_access_set_limit. */
const struct mim_segments *mim_access_segments(const struct mim_access *access);
void mim_access_stats(const struct mim_access *access, struct mim_access_stats *ret_stats);

/** The event at an LSN, without its transaction's parts. INVALID beyond the limit or before the first segment (it was
 *  archived); DAMAGED when no event stands there; IO. Cost: no system call when block and header are cached. */
MIM_CHECKED int mim_access_event(struct mim_access *access, mim_lsn_t lsn, struct mim_journal_event *ret_event,
                                 struct mim_error *reterr);
/** The record alone: `position`, `time_ms` and `epoch` stay 0, and its frame's header is not read. Who only follows
 *  references needs no more; the chain of references is checked by versions. Errors as above. */
MIM_CHECKED int mim_access_record(struct mim_access *access, mim_lsn_t lsn, struct mim_journal_event *ret_event,
                                  struct mim_error *reterr);
/** Fills in what the transaction's first record says about the event that was read last. */
MIM_CHECKED int mim_access_transaction(struct mim_access *access, struct mim_journal_event *event,
                                       struct mim_error *reterr);

/** The checked header of the frame at an LSN. */
MIM_CHECKED int mim_access_frame_header(struct mim_access *access, mim_lsn_t lsn, struct mim_frame_header *ret_header,
                                        struct mim_error *reterr);
/** The whole frame at an LSN, verified against its chain; valid until the next call. */
MIM_CHECKED int mim_access_frame(struct mim_access *access, mim_lsn_t lsn, struct mim_frame *ret_frame,
                                 struct mim_error *reterr);

/** A frame boundary at or before the frame that holds `position`: its segment's first, or a nearer one that was met
 *  before. INVALID when the position lies before the first segment. */
MIM_CHECKED int mim_access_near(struct mim_access *access, mim_position_t position, mim_lsn_t *ret_lsn,
                                struct mim_error *reterr);
/** Remembers a frame's place for mim_access_near: one per MiB of journal. */
void mim_access_met(struct mim_access *access, mim_lsn_t lsn, mim_position_t first_position);

#endif
