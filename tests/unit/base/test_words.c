// SPDX-License-Identifier: MIT
// Words of a protocol: which are numbers, which are equal but for their case.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/words.h"

static void test_numbers(void **state) {
    (void)state;
    uint64_t value = 7;
    static const char *const bad[] = {
        "", "-1", "+1", "1 ", " 1", "0x1", "1a", "18446744073709551616", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(mim_word_number(mim_slice_text(bad[i]), 10, &value));
        assert_int_equal(value, 7);
    }
    assert_true(mim_word_number(mim_slice_text("18446744073709551615"), 10, &value));
    assert_true(value == UINT64_MAX);
    assert_true(mim_word_number(mim_slice_text("00fFA9"), 16, &value));
    assert_int_equal(value, 0xffa9);
    assert_false(mim_word_number(mim_slice_text("10000000000000000"), 16, &value));
    assert_false(mim_word_number(mim_slice_text("g"), 16, &value));
}

static void digits_agree(uint64_t value) {
    char wanted[32];
    char text[MIM_DIGITS_MAX + 1];
    int size = snprintf(wanted, sizeof(wanted), "%llu", (unsigned long long)value);
    memset(text, '#', sizeof(text));
    assert_int_equal(mim_digits(value, text), size);
    assert_memory_equal(text, wanted, (size_t)size);
    assert_int_equal(text[size], '#');
}

static void test_digits(void **state) {
    (void)state;
    uint64_t power = 1;
    for (unsigned i = 0; i < 20; i++, power *= 10) {
        digits_agree(power - 1);
        digits_agree(power);
        digits_agree(power + 1);
    }
    for (unsigned bit = 0; bit < 64; bit++) {
        digits_agree((1ull << bit) - 1);
        digits_agree(1ull << bit);
    }
    digits_agree(UINT64_MAX);
    for (uint64_t value = 0; value < 100000; value += 7) {
        digits_agree(value);
    }
}

static void test_cases(void **state) {
    (void)state;
    static const struct {
        const char *word, *upper;
        bool equal;
    } pairs[] = {{"tAiL", "TAIL", true},
                 {"tai", "TAIL", false},
                 {"tails", "TAIL", false},
                 {"t@il", "TAIL", false},
                 {"", "", true}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        assert_int_equal(mim_word_is(mim_slice_text(pairs[i].word), pairs[i].upper), pairs[i].equal);
    }
    assert_false(mim_word_is(mim_slice_of("TAIL\0", 5), pairs[0].upper));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
