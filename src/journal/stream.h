// SPDX-License-Identifier: MIT
// One stream's own events: found and walked through the back references in its records, without an index and without
// reading what lies between. Any version in O(log n) reads; forward in about two reads per event.
#ifndef MIM_JOURNAL_STREAM_H
#define MIM_JOURNAL_STREAM_H

#include "journal/access.h"

/** A stream up to some version of it: what the image knows of it. All of it lies below the access's limit. */
struct mim_stream_tip {
    mim_version_t version;
    mim_lsn_t lsn;                      /* of that version's record */
    mim_lsn_t anchors[MIM_SKIP_LEVELS]; /* newest versions divisible by 64, 64^2 ...; 0: none */
};

enum mim_stream_measure { MIM_BY_VERSION, MIM_BY_POSITION, MIM_BY_TIME };

/** Finds the newest event whose version, position or time (signed, in an uint64_t) is not greater than `value`.
 *  NOT_FOUND: there was none yet. Otherwise as mim_access_event. */
MIM_CHECKED int mim_stream_find(struct mim_access *access, const struct mim_stream_tip *tip,
                                enum mim_stream_measure measure, uint64_t value, struct mim_journal_event *ret_event,
                                struct mim_error *reterr);

/** Walks forward over versions from..to of the tip's stream. */
struct mim_stream_walk {
    struct mim_stream_tip tip;
    mim_version_t next;
    mim_version_t to;
    mim_version_t near_first, near_last; /* versions whose LSNs stand in `near`; last 0: none */
    mim_version_t far_first, far_last;   /* multiples of 64 whose LSNs stand in `far` */
    mim_lsn_t near[MIM_SKIP_BASE];
    mim_lsn_t far[MIM_SKIP_BASE];
};

/** 1 <= from, to <= tip->version. */
void mim_stream_walk_init(struct mim_stream_walk *walk, const struct mim_stream_tip *tip, mim_version_t from,
                          mim_version_t to);
/** The next event, NOT_FOUND behind the last. DAMAGED when the records contradict each other. */
MIM_CHECKED int mim_stream_walk_next(struct mim_stream_walk *walk, struct mim_access *access,
                                     struct mim_journal_event *ret_event, struct mim_error *reterr);

#endif
