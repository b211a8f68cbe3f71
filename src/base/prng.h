// SPDX-License-Identifier: MIT
// Seeded pseudo-random numbers without floats (xoshiro256**, Blackman and Vigna, public domain) for tests,
// simulation and jitter. Not for secrets.
#ifndef MIM_BASE_PRNG_H
#define MIM_BASE_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct mim_prng {
    uint64_t state[4];
};

/** Starts a sequence that depends on the seed alone. */
void mim_prng_init(struct mim_prng *prng, uint64_t seed);

/** The next 64 random bits. */
uint64_t mim_prng_next(struct mim_prng *prng);

/** Uniform in [0, bound), bound > 0. */
uint64_t mim_prng_below(struct mim_prng *prng, uint64_t bound);

/** True in `numerator` of `denominator` cases. */
bool mim_prng_chance(struct mim_prng *prng, uint64_t numerator, uint64_t denominator);

#endif
