// SPDX-License-Identifier: MIT
// Replies that wait for durability: a FIFO of marks {end of output, gate, when the batch came, what it was}. Replies
// leave in order: one without a gate of its own leaves behind those that stand before it. Pure.
//
// Marks coalesce: replies of one batch behind one gate are one mark, so a pipeline over one frame costs one mark.
#ifndef MIM_SERVER_HOLDBACK_H
#define MIM_SERVER_HOLDBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/types.h"

#define MIM_MARK_KINDS 4u /* different commands one mark counts; more are counted with the last one */

struct mim_mark_kind {
    uint16_t command; /* index in the table of commands */
    uint16_t count;
};

struct mim_hold_mark {
    uint64_t end;         /* offset in the connection's output, counted from its beginning */
    mim_lsn_t gate;       /* may leave when the journal's gate is here; 0: at once */
    uint64_t received_ns; /* when its batch was read */
    uint32_t requests;
    uint32_t kind_count;
    struct mim_mark_kind kinds[MIM_MARK_KINDS];
};

/** `{0}` is an empty one. A ring that doubles; its owner bounds the requests in it. */
struct mim_holdback {
    struct mim_hold_mark *marks;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t first;
    uint32_t count;
    uint32_t requests; /* replies in it */
};

void mim_holdback_deinit(struct mim_holdback *holdback);

/** Adds a reply that ends at `end`. MEMORY (nothing added then). */
MIM_CHECKED int mim_holdback_add(struct mim_holdback *holdback, uint64_t end, mim_lsn_t gate, uint64_t received_ns,
                                 uint16_t command);

/** Takes the first mark out when the gate lets it pass; false when there is none or it has to wait. */
bool mim_holdback_take(struct mim_holdback *holdback, mim_lsn_t gate, struct mim_hold_mark *ret_mark);

/** The first mark, NULL when there is none. */
const struct mim_hold_mark *mim_holdback_first(const struct mim_holdback *holdback);
/** The bytes of the first mark were replaced: it ends at `end` now, and what follows has moved with it. */
void mim_holdback_first_replaced(struct mim_holdback *holdback, uint64_t end);

/** Gives the memory back when it is empty and large. */
void mim_holdback_shrink(struct mim_holdback *holdback);

#endif
