// SPDX-License-Identifier: MIT
// A journal that left the common history goes back to it: what only it has is set aside first, in a directory of its own
// that is a whole memimage directory again (journal dump, digest and restore read it), then the journal is cut.
#ifndef MIM_REPLICA_REWIND_H
#define MIM_REPLICA_REWIND_H

#include "journal/reader.h"
#include "replica/feed.h"
#include "replica/incoming.h"

#define MIM_ASIDE_PATH_SIZE 64u

/** Boundaries of a journal in rounds: each narrows the stretch in which it left the other one. */
struct mim_divergence {
    struct mim_boundary *items; /* all boundaries in the stretch that is looked at, oldest first */
    size_t count, capacity;
    size_t low, high; /* items[low] is common (when low_common), items[high] is not; count: the end */
    bool low_common;
    bool inside; /* false: items are segments' beginnings; true: frames of one segment */
};

/** Starts with the beginnings of all segments. MEMORY. */
MIM_CHECKED int mim_divergence_begin(struct mim_divergence *divergence, const struct mim_segments *segments,
                                     struct mim_error *reterr);
void mim_divergence_end(struct mim_divergence *divergence);
/** The next boundaries to ask about, newest first; at most MIM_PROBE_MAX. 0: the answer is known. */
size_t mim_divergence_ask(const struct mim_divergence *divergence, struct mim_boundary ret_boundaries[MIM_PROBE_MAX]);
/** Takes the index of the newest common one of those (-1: none). After the segments come the frames of one of them.
 *  IO, DAMAGED, MEMORY. */
MIM_CHECKED int mim_divergence_answer(struct mim_divergence *divergence, struct mim_storage storage,
                                      const struct mim_segments *segments, int index, struct mim_error *reterr);
/** The newest common boundary; false: the journals have nothing in common. */
bool mim_divergence_point(const struct mim_divergence *divergence, struct mim_boundary *ret_boundary);

/** Sets the whole journal aside under DIVERGED-<epoch>-<position> (links where the storage can, copies otherwise),
 *  durably, then cuts the journal behind `point` and removes snapshots beyond it. The journal must be closed. A crash
 *  anywhere leaves a journal that starts, at worst the old one. IO, NO_SPACE, DAMAGED. */
MIM_CHECKED int mim_journal_rewind(struct mim_storage storage, const struct mim_boundary *point,
                                   char ret_aside[MIM_ASIDE_PATH_SIZE], struct mim_error *reterr);
/** Sets journal/ and snapshots/ aside as a whole: another history. Without any event in it, it is removed. */
MIM_CHECKED int mim_journal_set_aside(struct mim_storage storage, char ret_aside[MIM_ASIDE_PATH_SIZE],
                                      struct mim_error *reterr);

#endif
