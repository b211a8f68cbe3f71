// SPDX-License-Identifier: MIT
// The preparer thread's second duty: after a roll it reads the complete segment, which the page cache still holds, and
// writes its correlation filter, so that not even the first search has to read it. In small pieces, never before a
// spare that is needed, never on the engine's thread, a fifth of the time at most; what fails is left to the searches.
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

/** Works for about a millisecond. Returns how long to rest, in ns: UINT64_MAX when nothing is left to be done. */
uint64_t mim_filter_keeper_run(struct mim_filter_keeper *keeper, struct mim_runners *runners);
void mim_filter_keeper_close(struct mim_filter_keeper *keeper);

#endif
