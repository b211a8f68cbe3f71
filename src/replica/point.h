// SPDX-License-Identifier: MIT
// Where a journal stands, as primary and standby tell each other: history, epoch, and a frame boundary with its chain.
// Two journals with the same chain at the same LSN have the same history up to there.
#ifndef MIM_REPLICA_POINT_H
#define MIM_REPLICA_POINT_H

#include "journal/frame.h"

#define MIM_REPLICA_PROTOCOL 1u

/** The end of a journal, or any frame boundary in it. */
struct mim_replica_point {
    struct mim_history history;
    bool empty; /* no journal yet: the rest means nothing */
    mim_epoch_t epoch;
    mim_lsn_t lsn;
    uint64_t chain;
    mim_position_t position;
};

#define MIM_HISTORY_TEXT_SIZE 33u

/** 32 hex digits and a NUL. */
void mim_history_text(const struct mim_history *history, char ret_text[MIM_HISTORY_TEXT_SIZE]);
/** False: not 32 hex digits. */
bool mim_history_parse(struct mim_slice text, struct mim_history *ret_history);
static inline bool mim_history_same(const struct mim_history *a, const struct mim_history *b) {
    return memcmp(a->uuid, b->uuid, sizeof(a->uuid)) == 0;
}

/** The epoch of a promotion: the upper half counts promotions, the lower half a primary's restarts, so that a promoted
 *  standby outranks a former primary however often that one was started meanwhile. */
static inline mim_epoch_t mim_epoch_promoted(mim_epoch_t epoch) { return (epoch | 0xffffu) + 1u; }

#endif
