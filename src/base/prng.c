// SPDX-License-Identifier: MIT
// xoshiro256** seeded by splitmix64 (Blackman and Vigna, public domain).
#include "base/prng.h"

#include "base/assert.h"

static uint64_t rotate_left(uint64_t value, unsigned bits) { return (value << bits) | (value >> (64u - bits)); }

void mim_prng_init(struct mim_prng *prng, uint64_t seed) {
    for (unsigned i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        prng->state[i] = z ^ (z >> 31);
    }
}

uint64_t mim_prng_next(struct mim_prng *prng) {
    uint64_t *s = prng->state;
    uint64_t result = rotate_left(s[1] * 5u, 7) * 9u;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t mim_prng_below(struct mim_prng *prng, uint64_t bound) {
    MIM_ASSERT(bound > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound; /* reject the uneven rest */
    uint64_t value = mim_prng_next(prng);
    while (value >= limit) {
        value = mim_prng_next(prng);
    }
    return value % bound;
}

bool mim_prng_chance(struct mim_prng *prng, uint64_t numerator, uint64_t denominator) {
    return mim_prng_below(prng, denominator) < numerator;
}
