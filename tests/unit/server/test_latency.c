// SPDX-License-Identifier: MIT
// The histogram: percentiles within 6 % of the exact ones, from nothing to the longest durations.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "server/latency.h"

static struct mim_latency latency;

static int setup(void **state) {
    (void)state;
    memset(&latency, 0, sizeof(latency));
    return 0;
}

static void test_an_empty_one_has_no_percentiles(void **state) {
    (void)state;
    assert_int_equal(mim_latency_percentile(&latency, 0), 0);
    assert_int_equal(mim_latency_percentile(&latency, 1000), 0);
}

static void test_one_duration_is_every_percentile(void **state) {
    (void)state;
    const uint64_t durations[] = {0, 1, 15, 16, 17, 1000, 123456789, 1ull << 41, UINT64_MAX};
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        memset(&latency, 0, sizeof(latency));
        mim_latency_add(&latency, durations[i], 1);
        uint64_t got = mim_latency_percentile(&latency, 500);
        assert_true(got <= durations[i]);
        assert_int_equal(got, mim_latency_percentile(&latency, 999));
        if (durations[i] < 1ull << 42) {
            assert_int_equal(got, durations[i]); /* bounded by the maximum */
        }
    }
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void test_percentiles_are_right_within_six_percent(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    static uint64_t values[COUNT];
    struct mim_prng prng;
    mim_prng_init(&prng, 3);
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = mim_prng_below(&prng, 1ull << (4 + mim_prng_below(&prng, 30)));
        mim_latency_add(&latency, values[i], 1);
    }
    qsort(values, COUNT, sizeof(values[0]), by_value);
    const uint32_t permilles[] = {1, 100, 500, 900, 990, 999, 1000};
    for (size_t i = 0; i < sizeof(permilles) / sizeof(permilles[0]); i++) {
        uint64_t exact = values[(uint64_t)COUNT * permilles[i] / 1000 - 1];
        uint64_t got = mim_latency_percentile(&latency, permilles[i]);
        assert_true(got >= exact);
        assert_true(got <= exact + exact / 16 + 1);
    }
    assert_int_equal(latency.max_ns, values[COUNT - 1]);
    assert_int_equal(latency.count, COUNT);
}

static void test_a_batch_counts_as_its_members(void **state) {
    (void)state;
    mim_latency_add(&latency, 100, 990);
    mim_latency_add(&latency, 1000000, 10);
    assert_true(mim_latency_percentile(&latency, 990) < 110);
    assert_true(mim_latency_percentile(&latency, 999) > 900000);
    assert_int_equal(latency.count, 1000);
    assert_int_equal(latency.total_ns, 99000 + 10000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_an_empty_one_has_no_percentiles, setup),
        cmocka_unit_test_setup(test_one_duration_is_every_percentile, setup),
        cmocka_unit_test_setup(test_percentiles_are_right_within_six_percent, setup),
        cmocka_unit_test_setup(test_a_batch_counts_as_its_members, setup),
    };
    return cmocka_run_group_tests_name("latency", tests, NULL, NULL);
}
