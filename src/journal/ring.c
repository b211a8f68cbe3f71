// SPDX-License-Identifier: MIT
// The ring between engine and journal writer: its memory.
#include <stdlib.h>

#include "journal/appender.h"

int mim_ring_init(struct mim_ring *ring, struct mim_error *reterr) {
    *ring = (struct mim_ring){0};
    ring->bytes = aligned_alloc(4096, MIM_RING_SIZE);
    ring->handoffs = calloc(MIM_RING_HANDOFFS, sizeof(*ring->handoffs));
    if (ring->bytes == NULL || ring->handoffs == NULL) {
        mim_ring_deinit(ring);
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory for the journal's ring");
    }
    return 0;
}

void mim_ring_deinit(struct mim_ring *ring) {
    free(ring->bytes);
    free(ring->handoffs);
    ring->bytes = NULL;
    ring->handoffs = NULL;
}
