// SPDX-License-Identifier: MIT
// Inside the journal part: what the reader, the segment table and the verdict on the tail share.
#ifndef MIM_JOURNAL_RECOVER_H
#define MIM_JOURNAL_RECOVER_H

#include "journal/reader.h"

/** Why the reader could not go on behind the last good frame. */
enum mim_stop {
    MIM_STOP_END = 0, /* end of the journal, or zeros: nothing bad seen yet */
    MIM_STOP_LIMIT,   /* the reader's own limit */
    MIM_STOP_BAD,     /* a bad frame; `reason` says how */
};

/** The place behind the last good frame, with all that is known about it. */
struct mim_tail {
    struct mim_storage storage;
    const struct mim_segments *segments; /* borrowed */
    size_t segment;
    uint64_t offset; /* in the segment's file: where the first bad frame would start */
    mim_lsn_t lsn;
    mim_position_t position;
    uint64_t chain;
    mim_epoch_t epoch;
    int64_t time_ms;
    bool rolled; /* the last good frame is a ROLL frame */
    enum mim_stop stop;
    char reason[160];
    bool foreign_start;     /* reading began here, and the journal before has another chain than was asked for */
    mim_lsn_t evidence_lsn; /* durable up to here, from outside the frames; 0: none */
    bool standby;           /* the frames are a primary's: what they tell of durability is no evidence here */
};

/** The tail rule. Reads the whole rest of the segment. IO, MEMORY. */
MIM_CHECKED int mim_recover_classify(const struct mim_tail *tail, struct mim_journal_ending *ret_ending,
                                     struct mim_error *reterr);

/** True when all bytes are zero; at memory speed. */
bool mim_recover_zero(const uint8_t *bytes, size_t size);

/** Offset behind the last nonzero byte of file[from..to), `from` when there is none. A short file ends there. */
MIM_CHECKED int mim_recover_used(struct mim_storage storage, mim_file_t file, uint64_t from, uint64_t to,
                                 uint64_t *ret_used, struct mim_error *reterr);

#endif
