// SPDX-License-Identifier: MIT
// XXH3 in one place (xxHash 0.8: stable output). Source: https://github.com/Cyan4973/xxHash, XXH3-64 and -128.
#ifndef MIM_BASE_HASH_H
#define MIM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct mim_hash128 {
    uint64_t low;
    uint64_t high;
};

/** XXH3-64 of bytes under a seed. */
uint64_t mim_hash64(const void *data, size_t size, uint64_t seed);

/** XXH3-128 of bytes under a seed. */
struct mim_hash128 mim_hash128(const void *data, size_t size, uint64_t seed);

#endif
