// SPDX-License-Identifier: MIT
// What every fuzz target stands on: bytes taken from the input one after the other, copies of exactly their size (so that
// a sanitizer sees every byte read too many), and a check that stops the run.
// A target is one file with LLVMFuzzerTestOneInput; it returns 0 and leaves nothing behind.
#ifndef MIM_TESTS_FUZZ_H
#define MIM_TESTS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Stops with a sentence: libFuzzer keeps the input. */
#define FUZZ_REQUIRE(condition)                                                                  \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            (void)fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                             \
        }                                                                                        \
    } while (0)

/** The input; reading past its end gives zeros. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
    size_t at;
};

static inline size_t fuzz_left(const struct fuzz_input *in) { return in->size - in->at; }

/** Fills `into`, with zeros where the input has ended. */
static inline void fuzz_bytes(struct fuzz_input *in, void *into, size_t size) {
    size_t have = fuzz_left(in) < size ? fuzz_left(in) : size;
    memset(into, 0, size);
    if (have > 0) {
        memcpy(into, in->data + in->at, have);
    }
    in->at += have;
}

static inline uint8_t fuzz_u8(struct fuzz_input *in) {
    uint8_t value;
    fuzz_bytes(in, &value, sizeof(value));
    return value;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in) {
    uint16_t value;
    fuzz_bytes(in, &value, sizeof(value));
    return value;
}

static inline uint32_t fuzz_u32(struct fuzz_input *in) {
    uint32_t value;
    fuzz_bytes(in, &value, sizeof(value));
    return value;
}

static inline uint64_t fuzz_u64(struct fuzz_input *in) {
    uint64_t value;
    fuzz_bytes(in, &value, sizeof(value));
    return value;
}

/** The next bytes where they stand, fewer at the end. */
static inline struct mim_slice fuzz_slice(struct fuzz_input *in, size_t size) {
    size = fuzz_left(in) < size ? fuzz_left(in) : size;
    struct mim_slice slice = mim_slice_of(in->data + in->at, size);
    in->at += size;
    return slice;
}

/** A copy on the heap without a byte to spare; free. Never NULL. */
static inline uint8_t *fuzz_copy(struct mim_slice bytes) {
    uint8_t *copy = calloc(1, bytes.size == 0 ? 1 : bytes.size);
    FUZZ_REQUIRE(copy != NULL);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return copy;
}

#endif
