// SPDX-License-Identifier: MIT
// A cursor: handed every durable event, or every durable frame, in order from any position, never a gap, never a
// repeat. It holds a place and no memory: bytes come through a shared mim_access, so thousands may stand on one.
#ifndef MIM_JOURNAL_CURSOR_H
#define MIM_JOURNAL_CURSOR_H

#include "journal/access.h"

struct mim_cursor {
    mim_lsn_t lsn;           /* of the frame it stands at; 0: not placed yet */
    mim_position_t position; /* of the next event */
    uint64_t chain;          /* of the frame before, when chain_known */
    uint32_t offset;         /* of the next record in the frame */
    bool chain_known;
    bool every_frame; /* frames without events too (standbys) */
};

/** Before the event at `position` (1: the beginning). */
void mim_cursor_init(struct mim_cursor *cursor, mim_position_t position);

/** The frame with the next event. NOT_FOUND: everything below the access's limit was handed out; AGAIN: frames were
 *  skipped for a while, call again; INVALID: archived; DAMAGED, IO, MEMORY. The cursor stays at the frame. */
MIM_CHECKED int mim_cursor_frame(struct mim_cursor *cursor, struct mim_access *access, struct mim_frame *ret_frame,
                                 struct mim_error *reterr);
/** The next event in that frame, its transaction's parts included. NOT_FOUND: none left, the cursor has gone on to the
 *  next frame. The event borrows the frame. */
MIM_CHECKED int mim_cursor_event(struct mim_cursor *cursor, const struct mim_frame *frame,
                                 struct mim_journal_event *ret_event, struct mim_error *reterr);
/** Goes on behind the event that was just handed out. */
void mim_cursor_taken(struct mim_cursor *cursor, const struct mim_journal_event *event);
/** Goes on behind the frame. */
void mim_cursor_pass(struct mim_cursor *cursor, const struct mim_frame *frame);

#endif
