// SPDX-License-Identifier: MIT
// Two journals with a common beginning, on simulated disks. Header-only; one includer per executable.
#ifndef MIM_TESTS_REPLICA_SUPPORT_H
#define MIM_TESTS_REPLICA_SUPPORT_H

#include "../journal/journal_support.h"

/** Some frames of random kinds and sizes, rolling now and then. */
static inline void grow(struct builder *b, struct mim_prng *prng, unsigned frames) {
    for (unsigned i = 0; i < frames; i++) {
        if (mim_prng_below(prng, 12) == 0 && b->segment_name != b->position + 1u) { /* one without events has no name */
            build_roll(b, true);
            build_segment(b, true);
        }
        uint64_t kind = mim_prng_below(prng, 10);
        if (kind == 0) {
            (void)build_durable(b, MIM_FRAME_SEAL, 0, 0);
        } else {
            (void)build_durable(b, MIM_FRAME_DATA, 1 + (uint32_t)mim_prng_below(prng, 3), mim_prng_below(prng, 8) * 8u);
        }
    }
}

/** The same frames on both, then each its own way in its own epoch. *ret_common: the last boundary both have. */
static inline void grow_apart(struct builder *a, struct builder *b, uint64_t seed, unsigned common, unsigned apart,
                              mim_lsn_t *ret_common) {
    struct mim_prng one;
    struct mim_prng two;
    mim_prng_init(&one, seed);
    mim_prng_init(&two, seed);
    grow(a, &one, common);
    grow(b, &two, common);
    assert_int_equal(a->lsn, b->lsn);
    assert_int_equal(a->chain, b->chain);
    *ret_common = a->lsn;
    a->epoch += 1;
    b->epoch += 0x10000;
    (void)build_durable(a, MIM_FRAME_EPOCH, 0, 0);
    (void)build_durable(b, MIM_FRAME_EPOCH, 0, 0);
    grow(a, &one, apart);
    grow(b, &one, apart / 2);
    build_done(a);
    build_done(b);
}

#endif
