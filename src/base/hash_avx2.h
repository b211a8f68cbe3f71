// SPDX-License-Identifier: MIT
// Inside hash.c: the same hash for processors with AVX2.
#ifndef MIM_BASE_HASH_AVX2_H
#define MIM_BASE_HASH_AVX2_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define MIM_HASH_AVX2 1
/** mim_hash64 where the processor has AVX2. */
uint64_t mim_hash64_avx2(const void *data, size_t size, uint64_t seed);
#endif

#endif
