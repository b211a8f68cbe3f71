// SPDX-License-Identifier: MIT
// Point-in-time copies: a directory that holds another one's history up to a position or a time, ready to be served.
// Whole frames are copied as they stand; the frame that holds the point is cut between two transactions and gets a new
// chain, so that the copy is recognisably a branch of the same history from there on. Safe beside a live server:
// only verified frames are read, and the source is never written to.
#ifndef MIM_SNAPSHOT_BRANCH_H
#define MIM_SNAPSHOT_BRANCH_H

#include "engine/recovery.h"
#include "snapshot/snapshot.h"

struct mim_branch_options {
    mim_position_t position_max; /* last event that may be in the copy; UINT64_MAX: all */
    int64_t time_ms_max;         /* latest event time that may be in the copy; INT64_MAX: all */
    mim_progress_fn *progress;
    void *progress_context;
};

struct mim_branched {
    mim_position_t position; /* last event of the copy: at most what was asked, at the end of a transaction */
    int64_t time_ms;
    mim_lsn_t lsn;
    uint64_t bytes;
    bool whole;              /* the point lies at or beyond the end: a plain copy */
    mim_position_t snapshot; /* position of the snapshot copied along; 0: none */
};

/** Copies. The target's journal/ must be empty (EXISTS otherwise). DAMAGED when the source is, before the point; IO,
 *  NO_SPACE. On failure the target is left incomplete and says so by having no journal/mark. */
MIM_CHECKED int mim_branch_copy(struct mim_storage from, struct mim_storage to,
                                const struct mim_branch_options *options, struct mim_branched *ret_branched,
                                struct mim_error *reterr);

#endif
