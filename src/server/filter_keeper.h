// SPDX-License-Identifier: MIT
// The preparer thread's second duty: after a roll it reads the complete segment, which the page cache still holds, and
// writes its correlation filter, so that not even the first search has to read it. In small pieces, never before a
// spare that is needed, never on the engine's thread; what fails is left to the searches.
#ifndef MIM_SERVER_FILTER_KEEPER_H
#define MIM_SERVER_FILTER_KEEPER_H

#include "server/journal_thread.h"

struct mim_correlations;
struct mim_access;

/** `{0}` at first; mim_filter_keeper_close in the end. */
struct mim_filter_keeper {
    struct mim_access *access; /* owned; NULL: no segment was completed yet */
    struct mim_correlations *index;
    uint64_t rolls; /* that were seen */
    mim_lsn_t from;
    bool busy;
};

/** A piece of work; false: there is none. */
bool mim_filter_keeper_step(struct mim_filter_keeper *keeper, struct mim_runners *runners);
void mim_filter_keeper_close(struct mim_filter_keeper *keeper);

#endif
