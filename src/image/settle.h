// SPDX-License-Identifier: MIT
// Settling: a restored image is a private file mapping, with small pages that the kernel may evict. In idle time it
// moves, a piece of 2 MiB at a time, onto anonymous huge pages at the same address: pointers and offsets stay.
#ifndef MIM_IMAGE_SETTLE_H
#define MIM_IMAGE_SETTLE_H

#include "image/image.h"

#define MIM_SETTLE_PIECE (2u << 20)

/** Progress of one settling. `{0}` with `end` set to the mapped size starts it. */
struct mim_settling {
    uint64_t cursor; /* bytes settled */
    uint64_t end;    /* bytes mapped from the file */
    void *staging;   /* address space of one aligned piece, kept between steps */
};

/** Moves the next piece; returns true while there is more. A step costs a copy of 2 MiB and two system calls (0.2 to
 *  0.5 ms with the file in the page cache). Where the kernel refuses (no memory) nothing changes and settling
 *  ends early: the mapping goes on serving. Owner's thread only, between commands. */
bool mim_arena_settle(struct mim_arena *arena, struct mim_settling *settling);
/** Gives the staging address space back. */
void mim_arena_settle_end(struct mim_settling *settling);

#endif
