// SPDX-License-Identifier: MIT
// Slices, and readers and writers at the edges of their memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

static void test_slices_are_equal_by_content_and_empty_ones_always(void **state) {
    (void)state;
    uint8_t a[] = {1, 2, 3};
    uint8_t b[] = {1, 2, 3};
    assert_true(mim_slice_equal(mim_slice_of(a, 3), mim_slice_of(b, 3)));
    assert_false(mim_slice_equal(mim_slice_of(a, 3), mim_slice_of(b, 2)));
    b[2] = 4;
    assert_false(mim_slice_equal(mim_slice_of(a, 3), mim_slice_of(b, 3)));
    assert_true(mim_slice_equal(mim_slice_of(NULL, 0), mim_slice_of(b, 0)));
    assert_int_equal(mim_slice_text("abc").size, 3);
    assert_int_equal(mim_slice_text("").size, 0);
}

static void test_integers_are_little_endian_at_any_alignment(void **state) {
    (void)state;
    uint8_t bytes[16] = {0};
    mim_put64(bytes + 1, 0x0807060504030201u);
    for (uint8_t i = 1; i <= 8; i++) {
        assert_int_equal(bytes[i], i);
    }
    assert_int_equal(mim_get16(bytes + 3), 0x0403);
    assert_int_equal(mim_get32(bytes + 3), 0x06050403);
    assert_true(mim_get64(bytes + 1) == 0x0807060504030201u);
}

static void test_alignment_rounds_up_to_eight(void **state) {
    (void)state;
    assert_true(mim_align8(0) == 0);
    assert_true(mim_align8(1) == 8);
    assert_true(mim_align8(8) == 8);
    assert_true(mim_align8(9) == 16);
}

static void test_what_is_written_is_read_back(void **state) {
    (void)state;
    uint8_t bytes[18];
    struct mim_byte_writer w = {.data = bytes, .capacity = sizeof(bytes)};
    assert_true(mim_write8(&w, 0xfe));
    assert_true(mim_write16(&w, 0xfedc));
    assert_true(mim_write32(&w, 0xfedcba98u));
    assert_true(mim_write64(&w, UINT64_MAX - 1));
    assert_true(mim_write_bytes(&w, "end", 3));
    assert_true(mim_write_bytes(&w, NULL, 0));
    assert_int_equal(w.size, w.capacity);
    assert_false(w.overflow);
    struct mim_byte_reader r = {.data = bytes, .size = sizeof(bytes)};
    assert_int_equal(mim_read8(&r), 0xfe);
    assert_int_equal(mim_read16(&r), 0xfedc);
    assert_true(mim_read32(&r) == 0xfedcba98u);
    assert_true(mim_read64(&r) == UINT64_MAX - 1);
    assert_memory_equal(mim_read_bytes(&r, 3), "end", 3);
    assert_int_equal(r.offset, r.size);
    assert_false(r.overflow);
}

static void test_a_writer_that_overflowed_writes_nothing_more(void **state) {
    (void)state;
    uint8_t bytes[4] = {9, 9, 9, 9};
    struct mim_byte_writer w = {.data = bytes, .capacity = 3};
    assert_true(mim_write16(&w, 0));
    assert_false(mim_write16(&w, 0));
    assert_true(w.overflow);
    assert_false(mim_write8(&w, 0)); /* there is room, but the flag is sticky */
    assert_int_equal(w.size, 2);
    assert_int_equal(bytes[2], 9);
    assert_int_equal(bytes[3], 9);
}

static void test_a_size_near_the_maximum_does_not_wrap_around(void **state) {
    (void)state;
    uint8_t bytes[4] = {0};
    volatile size_t huge = SIZE_MAX; /* so that the compiler does not warn of what must not happen */
    struct mim_byte_writer w = {.data = bytes, .capacity = sizeof(bytes)};
    assert_true(mim_write8(&w, 1));
    assert_false(mim_write_bytes(&w, bytes, huge));
    struct mim_byte_reader r = {.data = bytes, .size = sizeof(bytes)};
    (void)mim_read8(&r);
    assert_null(mim_read_bytes(&r, huge));
    assert_true(r.overflow);
}

static void test_a_reader_past_the_end_yields_zeros_for_ever(void **state) {
    (void)state;
    const uint8_t bytes[3] = {0xff, 0xff, 0xff};
    struct mim_byte_reader r = {.data = bytes, .size = sizeof(bytes)};
    assert_int_equal(mim_read32(&r), 0);
    assert_true(r.overflow);
    assert_int_equal(mim_read8(&r), 0);
    assert_int_equal(mim_read16(&r), 0);
    assert_true(mim_read64(&r) == 0);
    assert_null(mim_read_bytes(&r, 0));
    assert_int_equal(r.offset, 0);
}

static void test_eight_bytes_in_a_word_are_told_apart_as_one_by_one(void **state) {
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        for (unsigned place = 0; place < 8; place++) {
            for (unsigned beside = 0; beside < 256; beside += 5) {
                uint8_t bytes[8];
                memset(bytes, (int)beside, sizeof(bytes));
                bytes[place] = (uint8_t)c;
                uint64_t word = mim_get64(bytes);
                assert_int_equal(mim_bytes_below(word, 0x21) != 0, c < 0x21 || beside < 0x21);
                assert_int_equal(mim_bytes_equal(word, 0x7d) != 0, c == 0x7d || beside == 0x7d);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices_are_equal_by_content_and_empty_ones_always),
        cmocka_unit_test(test_integers_are_little_endian_at_any_alignment),
        cmocka_unit_test(test_eight_bytes_in_a_word_are_told_apart_as_one_by_one),
        cmocka_unit_test(test_alignment_rounds_up_to_eight),
        cmocka_unit_test(test_what_is_written_is_read_back),
        cmocka_unit_test(test_a_writer_that_overflowed_writes_nothing_more),
        cmocka_unit_test(test_a_size_near_the_maximum_does_not_wrap_around),
        cmocka_unit_test(test_a_reader_past_the_end_yields_zeros_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
