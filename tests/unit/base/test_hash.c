// SPDX-License-Identifier: MIT
// XXH3 against its published values: journals and snapshots of every release depend on them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "base/hash.h"

static void test_nothing_hashes_to_the_published_values(void **state) {
    (void)state;
    assert_true(mim_hash64(NULL, 0, 0) == 0x2d06800538d394c2u);
    assert_true(mim_hash64("", 0, 0) == 0x2d06800538d394c2u);
    struct mim_hash128 hash = mim_hash128("", 0, 0);
    assert_true(hash.low == 0x6001c324468d497fu);
    assert_true(hash.high == 0x99aa06d3014798d8u);
}

static void test_every_byte_and_the_seed_count(void **state) {
    (void)state;
    uint8_t bytes[1000];
    memset(bytes, 0xa5, sizeof(bytes));
    uint64_t hash = mim_hash64(bytes, sizeof(bytes), 1);
    struct mim_hash128 wide = mim_hash128(bytes, sizeof(bytes), 1);
    assert_true(hash != mim_hash64(bytes, sizeof(bytes), 2));
    assert_true(hash != mim_hash64(bytes, sizeof(bytes) - 1, 1));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] ^= 1;
        assert_true(hash != mim_hash64(bytes, sizeof(bytes), 1));
        struct mim_hash128 other = mim_hash128(bytes, sizeof(bytes), 1);
        assert_true(wide.low != other.low && wide.high != other.high);
        bytes[i] ^= 1;
    }
    assert_true(hash == mim_hash64(bytes, sizeof(bytes), 1));
}

/** Whatever instructions the processor has: the numbers of the library, which chooses the plain ones. */
static void test_every_length_hashes_as_in_the_library(void **state) {
    (void)state;
    static uint8_t bytes[70000];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 131u + (i >> 8));
    }
    for (size_t size = 0; size < 3000; size++) {
        assert_true(mim_hash64(bytes + size % 64, size, size % 7) ==
                    XXH3_64bits_withSeed(bytes + size % 64, size, size % 7));
    }
    assert_true(mim_hash64(bytes, sizeof(bytes), 0) == XXH3_64bits(bytes, sizeof(bytes)));
    assert_true(mim_hash64(bytes, sizeof(bytes), 9) == XXH3_64bits_withSeed(bytes, sizeof(bytes), 9));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_hashes_to_the_published_values),
        cmocka_unit_test(test_every_byte_and_the_seed_count),
        cmocka_unit_test(test_every_length_hashes_as_in_the_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
