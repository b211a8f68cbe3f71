// SPDX-License-Identifier: MIT
// The generator against its authors' sequence, and its bounds: a seed in a bug report must mean the same for ever.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"

static void test_the_sequence_is_that_of_the_authors(void **state) {
    (void)state;
    struct mim_prng prng = {.state = {1, 2, 3, 4}};
    assert_true(mim_prng_next(&prng) == 11520u);
    assert_true(mim_prng_next(&prng) == 0u);
    assert_true(mim_prng_next(&prng) == 1509978240u);
    assert_true(mim_prng_next(&prng) == 1215971899390074240u);
}

static void test_a_seed_is_spread_by_splitmix(void **state) {
    (void)state;
    struct mim_prng prng;
    mim_prng_init(&prng, 0);
    assert_true(prng.state[0] == 0xe220a8397b1dcdafu);
    assert_true(prng.state[1] == 0x6e789e6aa1b965f4u);
    assert_true(prng.state[2] == 0x06c45d188009454fu);
    assert_true(prng.state[3] == 0xf88bb8a8724c81ecu);
}

static void test_one_seed_one_sequence(void **state) {
    (void)state;
    struct mim_prng a;
    struct mim_prng b;
    struct mim_prng c;
    mim_prng_init(&a, UINT64_MAX);
    mim_prng_init(&b, UINT64_MAX);
    mim_prng_init(&c, 0);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t next = mim_prng_next(&a);
        assert_true(next == mim_prng_next(&b));
        same += next == mim_prng_next(&c);
    }
    assert_int_equal(same, 0);
}

static void test_numbers_stay_below_their_bound_and_reach_all_below_it(void **state) {
    (void)state;
    const uint64_t bounds[] = {1, 2, 3, 7, 1000, (UINT64_C(1) << 63) + 1, UINT64_MAX};
    struct mim_prng prng;
    mim_prng_init(&prng, 42);
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        for (int k = 0; k < 1000; k++) {
            assert_true(mim_prng_below(&prng, bounds[i]) < bounds[i]);
        }
    }
    unsigned counts[7] = {0};
    for (int k = 0; k < 70000; k++) {
        counts[mim_prng_below(&prng, 7)]++;
    }
    for (int i = 0; i < 7; i++) {
        assert_in_range(counts[i], 9500, 10500); /* 5 standard deviations of 93 */
    }
}

static void test_chance_keeps_to_its_odds(void **state) {
    (void)state;
    struct mim_prng prng;
    mim_prng_init(&prng, 7);
    unsigned count = 0;
    for (int i = 0; i < 100000; i++) {
        assert_false(mim_prng_chance(&prng, 0, 1000));
        assert_true(mim_prng_chance(&prng, 1000, 1000));
        count += mim_prng_chance(&prng, 250, 1000);
    }
    assert_in_range(count, 24300, 25700);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_sequence_is_that_of_the_authors),
        cmocka_unit_test(test_a_seed_is_spread_by_splitmix),
        cmocka_unit_test(test_one_seed_one_sequence),
        cmocka_unit_test(test_numbers_stay_below_their_bound_and_reach_all_below_it),
        cmocka_unit_test(test_chance_keeps_to_its_odds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
