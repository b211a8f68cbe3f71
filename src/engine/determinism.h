// SPDX-License-Identifier: MIT
// Is evolve a function of state and event alone? The same frames are applied to three images and compared:
//
//   plain   the image a server has
//   moved   the same history of allocations at another address: byte for byte equal, or something depends on addresses,
//           on uninitialised memory, on chance or on what a function remembers in static memory
//   worn    another address, another reservation, free lists full of used blocks, and (given a second copy of the
//           model's object) other addresses of code and constants: equal in what it shows
//
// Before each event the stack, and before each frame freshly allocated heap, is filled with another pattern for each image.
// After each event its aggregate's state is compared, after each interval the whole images. For checks only: it takes
// three times the memory and about four times the time of a replay.
#ifndef MIM_ENGINE_DETERMINISM_H
#define MIM_ENGINE_DETERMINISM_H

#include "engine/engine.h"

struct mim_determinism_options {
    const struct mim_compiled *compiled;
    const struct mim_compiled *other; /* the same model from a second copy of its object; NULL: compiled */
    uint64_t interval;                /* events between comparisons of whole images, at least */
    mim_position_t fine_from; /* from this position on whole images are compared after every event, while that is
                                 affordable; UINT64_MAX: never */
};

/** Where images began to differ: they are equal after `from`, different after `to`. The event is `to` itself when
 *  to == from + 1. */
struct mim_difference {
    bool found;
    mim_position_t from;
    mim_position_t to;
    char text[640]; /* one sentence: which event or memory, and how they differ */
};

struct mim_determinism;

/** MEMORY. Compiled models are borrowed. */
MIM_CHECKED int mim_determinism_new(const struct mim_determinism_options *options,
                                    struct mim_determinism **ret_determinism, struct mim_error *reterr);
struct mim_determinism *mim_determinism_free(struct mim_determinism *d);

/** The plain image, empty: whoever reads the journal applies its frames to it, and calls `applied` after each. */
struct mim_engine *mim_determinism_engine(struct mim_determinism *d);
/** Applies the frame to the other images and compares. STATE when they differ (see mim_determinism_difference); else
 *  as mim_engine_apply. Does nothing for a journal that the model cannot read. */
MIM_CHECKED int mim_determinism_applied(struct mim_determinism *d, const struct mim_frame *frame,
                                        struct mim_error *reterr);
/** The last comparison of the whole images. STATE when they differ. */
MIM_CHECKED int mim_determinism_finish(struct mim_determinism *d, struct mim_error *reterr);
const struct mim_difference *mim_determinism_difference(const struct mim_determinism *d);

#endif
