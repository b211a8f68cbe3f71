// SPDX-License-Identifier: MIT
// The one place that includes xxHash; inlined so that short keys cost no call through the library.
#define XXH_INLINE_ALL
#include "base/hash.h"

#include "base/hash_avx2.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-align"
#pragma GCC diagnostic ignored "-Wundef"
#include <xxhash.h>
#pragma GCC diagnostic pop

uint64_t mim_hash64(const void *data, size_t size, uint64_t seed) {
#ifdef MIM_HASH_AVX2
    if (size > XXH3_MIDSIZE_MAX && __builtin_cpu_supports("avx2")) {
        return mim_hash64_avx2(data, size, seed);
    }
#endif
    return XXH3_64bits_withSeed(data, size, seed);
}

struct mim_hash128 mim_hash128(const void *data, size_t size, uint64_t seed) {
    XXH128_hash_t hash = XXH3_128bits_withSeed(data, size, seed);
    return (struct mim_hash128){.low = hash.low64, .high = hash.high64};
}
