// SPDX-License-Identifier: MIT
// Unix milliseconds and RFC 3339 texts: against the C library's calendar, at its edges, and with broken texts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/prng.h"

#define YEAR_0_MS        (-62167219200000)
#define YEAR_9999_END_MS 253402300799999

/** Parses from memory of exactly the text's size, so that a sanitizer sees one byte too far. */
static int parse(const char *text, int64_t *ret_ms) {
    size_t size = strlen(text);
    char *exact = test_malloc(size + (size == 0));
    memcpy(exact, text, size);
    int code = mim_rfc3339_parse(exact, size, ret_ms);
    test_free(exact);
    return code;
}

static void expect(const char *text, int64_t expected) {
    int64_t ms = -1;
    if (parse(text, &ms) != 0 || ms != expected) {
        fail_msg("%s: %lld instead of %lld", text, (long long)ms, (long long)expected);
    }
}

static void expect_invalid(const char *text) {
    int64_t ms = 77;
    if (parse(text, &ms) != MIM_E_INVALID || ms != 77) {
        fail_msg("accepted: %s", text);
    }
}

static void test_known_moments_are_written_as_they_are_read(void **state) {
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } moments[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868800000, "2000-03-01T00:00:00.000Z"},
        {-2203891200001, "1900-02-28T23:59:59.999Z"},
        {-2203891200000, "1900-03-01T00:00:00.000Z"},
        {1795169472345, "2026-11-20T10:11:12.345Z"},
        {2147483648000, "2038-01-19T03:14:08.000Z"},
        {YEAR_0_MS, "0000-01-01T00:00:00.000Z"},
        {YEAR_9999_END_MS, "9999-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
        char text[MIM_RFC3339_SIZE + 1u];
        mim_rfc3339_format(moments[i].ms, text);
        assert_string_equal(text, moments[i].text);
        expect(text, moments[i].ms);
    }
}

static void test_every_day_of_four_centuries_agrees_with_the_c_library(void **state) {
    (void)state;
    for (int64_t day = -25567; day < 146097 - 25567; day++) { /* from 1900: the calendar repeats after 400 years */
        time_t seconds = (time_t)(day * 86400 + 86399);
        struct tm tm;
        assert_non_null(gmtime_r(&seconds, &tm));
        char expected[64];
        assert_true(strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.000Z", &tm) > 0);
        char text[MIM_RFC3339_SIZE + 1u];
        mim_rfc3339_format(seconds * 1000, text);
        assert_string_equal(text, expected);
    }
}

static void test_random_moments_survive_writing_and_reading(void **state) {
    (void)state;
    struct mim_prng prng;
    mim_prng_init(&prng, 3339);
    for (int i = 0; i < 100000; i++) {
        int64_t ms = YEAR_0_MS + (int64_t)mim_prng_below(&prng, YEAR_9999_END_MS - YEAR_0_MS + 1);
        char text[MIM_RFC3339_SIZE + 1u];
        mim_rfc3339_format(ms, text);
        int64_t back = 0;
        assert_int_equal(mim_rfc3339_parse(text, strlen(text), &back), 0);
        assert_true(back == ms);
    }
}

static void test_years_that_four_digits_cannot_hold_are_clamped(void **state) {
    (void)state;
    const int64_t moments[] = {INT64_MIN, YEAR_0_MS - 1, YEAR_9999_END_MS + 1, INT64_MAX};
    for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
        char text[MIM_RFC3339_SIZE + 1u];
        mim_rfc3339_format(moments[i], text);
        assert_int_equal(strlen(text), MIM_RFC3339_SIZE - 1u);
        assert_memory_equal(text, moments[i] < 0 ? "0000-" : "9999-", 5);
    }
}

static void test_fractions_offsets_and_small_letters_are_read(void **state) {
    (void)state;
    expect("1970-01-01T00:00:00Z", 0);
    expect("1970-01-01t00:00:00z", 0);
    expect("1970-01-01 00:00:00Z", 0);
    expect("1970-01-01T00:00:00.1Z", 100);
    expect("1970-01-01T00:00:00.12Z", 120);
    expect("1970-01-01T00:00:00.123999999999999999999999Z", 123);
    expect("1970-01-01T00:00:00.0009Z", 0);
    expect("1970-01-01T01:00:00+01:00", 0);
    expect("1969-12-31T23:30:00-00:30", 0);
    expect("1970-01-01T00:00:00+23:59", -86340000);
    expect("1970-01-01T00:00:00-23:59", 86340000);
    expect("1969-12-31T23:59:59.999-00:00", -1);
    expect("2016-12-31T23:59:60Z", 1483228800000); /* a leap second is the next minute's first */
    expect("2024-02-29T12:00:00Z", 1709208000000);
}

static void test_broken_texts_are_refused_and_leave_the_result_alone(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "1970",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00,5Z",
        "1970-01-01T00:00Z",
        "1970-01-01T00:00:00Zx",
        "1970-01-01T00:00:00Z ",
        " 1970-01-01T00:00:00Z",
        "1970-1-01T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:61Z",
        "1970-00-01T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-01-00T00:00:00Z",
        "1970-01-32T00:00:00Z",
        "1970-04-31T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+00:60",
        "1970-01-01T00:00:00+0000",
        "1970-01-01T00:00:00+00",
        "1970-01-01T00:00:00+",
        "+970-01-01T00:00:00Z",
        "-970-01-01T00:00:00Z",
        "19700-01-01T00:00:00Z",
        "1970-01-01_00:00:00Z",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        expect_invalid(texts[i]);
    }
}

static void test_no_beginning_of_a_text_is_one_and_no_foreign_byte_passes(void **state) {
    (void)state;
    static const char whole[] = "2026-11-20T10:11:12.345+01:30";
    int64_t ms = 0;
    for (size_t size = 0; size < sizeof(whole) - 1; size++) {
        char *exact = test_malloc(size + (size == 0));
        memcpy(exact, whole, size);
        assert_int_equal(mim_rfc3339_parse(exact, size, &ms), MIM_E_INVALID);
        test_free(exact);
    }
    for (size_t at = 0; at < sizeof(whole) - 1; at++) {
        static const char foreign[] = {'\0', '/', ';', 'x', (char)0xb0, (char)0xff};
        for (size_t i = 0; i < sizeof(foreign); i++) {
            char text[sizeof(whole)];
            memcpy(text, whole, sizeof(whole));
            text[at] = foreign[i];
            assert_int_equal(mim_rfc3339_parse(text, sizeof(text) - 1, &ms), MIM_E_INVALID);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_moments_are_written_as_they_are_read),
        cmocka_unit_test(test_every_day_of_four_centuries_agrees_with_the_c_library),
        cmocka_unit_test(test_random_moments_survive_writing_and_reading),
        cmocka_unit_test(test_years_that_four_digits_cannot_hold_are_clamped),
        cmocka_unit_test(test_fractions_offsets_and_small_letters_are_read),
        cmocka_unit_test(test_broken_texts_are_refused_and_leave_the_result_alone),
        cmocka_unit_test(test_no_beginning_of_a_text_is_one_and_no_foreign_byte_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
