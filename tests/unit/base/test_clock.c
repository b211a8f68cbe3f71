// SPDX-License-Identifier: MIT
// The machine's clocks: the monotonic one never goes back, the wall clock is Unix milliseconds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_the_monotonic_clock_never_goes_back(void **state) {
    (void)state;
    struct mim_clock clock = mim_clock_posix();
    uint64_t last = clock.monotonic_ns(clock.context);
    for (int i = 0; i < 10000; i++) {
        uint64_t now = clock.monotonic_ns(clock.context);
        assert_true(now >= last);
        last = now;
    }
    assert_true(last > 0);
}

static void test_the_wall_clock_is_unix_milliseconds(void **state) {
    (void)state;
    struct mim_clock clock = mim_clock_posix();
    int64_t before = (int64_t)time(NULL);
    int64_t now = clock.wall_ms(clock.context);
    int64_t after = (int64_t)time(NULL);
    assert_true(now / 1000 >= before - 1 && now / 1000 <= after + 1); /* time() may lag by a tick */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_monotonic_clock_never_goes_back),
        cmocka_unit_test(test_the_wall_clock_is_unix_milliseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
