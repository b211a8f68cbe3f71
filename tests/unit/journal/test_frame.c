// SPDX-License-Identifier: MIT
// Segment header and frame codec: what is written is read, and no changed bit passes for good.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/prng.h"
#include "journal/frame.h"

static const struct mim_history HISTORY = {.uuid = "history-of-tests"};
static const struct mim_history OTHER = {.uuid = "history-of-other"};

static const struct mim_segment_header SEGMENT = {
    .history = {.uuid = "history-of-tests"},
    .first_position = 42,
    .base_lsn = 65536,
    .previous_chain = 0x1122334455667788,
    .epoch = 7,
    .base_time_ms = 1700000000123,
};

static void test_a_segment_header_comes_back_as_it_went_in(void **state) {
    (void)state;
    uint8_t page[MIM_SEGMENT_HEADER_SIZE];
    struct mim_segment_header back = {0};
    mim_segment_header_encode(&SEGMENT, page);
    assert_int_equal(mim_segment_header_decode(page, &back, NULL), 0);
    assert_memory_equal(&back.history, &SEGMENT.history, sizeof(back.history));
    assert_int_equal(back.first_position, 42);
    assert_int_equal(back.base_lsn, 65536);
    assert_int_equal(back.previous_chain, SEGMENT.previous_chain);
    assert_int_equal(back.epoch, 7);
    assert_int_equal(back.base_time_ms, SEGMENT.base_time_ms);
}

static void test_the_segment_header_has_the_bytes_of_the_table(void **state) {
    (void)state;
    uint8_t page[MIM_SEGMENT_HEADER_SIZE];
    mim_segment_header_encode(&SEGMENT, page);
    assert_memory_equal(page, "MIMSEG01", 8);
    assert_int_equal(mim_get32(page + 8), 1);
    assert_memory_equal(page + 16, HISTORY.uuid, 16);
    assert_int_equal(mim_get64(page + 32), 42);
    assert_int_equal(mim_get64(page + 40), 65536);
    assert_int_equal(mim_get32(page + 56), 7);
    assert_int_equal(mim_get64(page + 72), mim_hash64(page, 72, 0));
}

static void test_every_flipped_bit_of_a_segment_header_is_refused(void **state) {
    (void)state;
    uint8_t page[MIM_SEGMENT_HEADER_SIZE];
    mim_segment_header_encode(&SEGMENT, page);
    for (size_t bit = 0; bit < sizeof(page) * 8u; bit++) {
        struct mim_segment_header back = {.first_position = 99};
        page[bit / 8u] = (uint8_t)(page[bit / 8u] ^ (1u << (bit % 8u)));
        assert_int_equal(mim_segment_header_decode(page, &back, NULL), MIM_E_DAMAGED);
        assert_int_equal(back.first_position, 99);
        page[bit / 8u] = (uint8_t)(page[bit / 8u] ^ (1u << (bit % 8u)));
    }
}

static void test_a_newer_format_or_an_unknown_flag_is_told_from_damage(void **state) {
    (void)state;
    uint8_t page[MIM_SEGMENT_HEADER_SIZE];
    struct mim_segment_header back;
    mim_segment_header_encode(&SEGMENT, page);
    mim_put32(page + 8, 2);
    mim_put64(page + 72, mim_hash64(page, 72, 0));
    assert_int_equal(mim_segment_header_decode(page, &back, NULL), MIM_E_FORMAT);
    mim_put32(page + 8, 1);
    mim_put32(page + 12, 4);
    mim_put64(page + 72, mim_hash64(page, 72, 0));
    assert_int_equal(mim_segment_header_decode(page, &back, NULL), MIM_E_FORMAT);
}

#define FRAME_SIZE 256u
#define FRAME_LSN  4096u

static uint64_t make_frame(uint8_t frame[FRAME_SIZE], uint64_t previous_chain) {
    for (size_t i = MIM_FRAME_HEADER_SIZE; i < FRAME_SIZE; i++) {
        frame[i] = (uint8_t)(i * 7u);
    }
    struct mim_frame_header header = {
        .kind = MIM_FRAME_DATA,
        .size = FRAME_SIZE,
        .event_count = 3,
        .first_position = 5,
        .durable_lsn = 4000,
        .base_time_ms = -12,
        .epoch = 9,
        .previous_chain = previous_chain,
    };
    return mim_frame_finish(&header, &HISTORY, FRAME_LSN, frame);
}

static void test_a_frame_comes_back_as_it_went_in(void **state) {
    (void)state;
    uint8_t frame[FRAME_SIZE];
    uint64_t chain = make_frame(frame, 77);
    struct mim_frame_header back;
    assert_int_equal(mim_frame_check(frame, FRAME_SIZE, &HISTORY, FRAME_LSN, true, &back), MIM_FRAME_GOOD);
    assert_int_equal(back.kind, MIM_FRAME_DATA);
    assert_int_equal(back.size, FRAME_SIZE);
    assert_int_equal(back.event_count, 3);
    assert_int_equal(back.first_position, 5);
    assert_int_equal(back.durable_lsn, 4000);
    assert_int_equal(back.base_time_ms, -12);
    assert_int_equal(back.epoch, 9);
    assert_int_equal(back.previous_chain, 77);
    assert_int_equal(back.chain, chain);
    assert_int_equal(mim_frame_chain(frame, FRAME_SIZE, 77), chain);
}

static void test_the_same_frame_after_another_chain_has_another_chain(void **state) {
    (void)state;
    uint8_t a[FRAME_SIZE];
    uint8_t b[FRAME_SIZE];
    assert_int_not_equal(make_frame(a, 1), make_frame(b, 2));
}

static void test_every_flipped_bit_of_a_frame_is_found(void **state) {
    (void)state;
    uint8_t frame[FRAME_SIZE];
    (void)make_frame(frame, 77);
    for (size_t bit = 0; bit < FRAME_SIZE * 8u; bit++) {
        struct mim_frame_header back;
        frame[bit / 8u] = (uint8_t)(frame[bit / 8u] ^ (1u << (bit % 8u)));
        enum mim_frame_verdict verdict = mim_frame_check(frame, FRAME_SIZE, &HISTORY, FRAME_LSN, true, &back);
        bool in_header = bit / 8u < 56u;
        assert_int_equal(verdict, in_header ? MIM_FRAME_BAD_HEADER : MIM_FRAME_BAD_PAYLOAD);
        frame[bit / 8u] = (uint8_t)(frame[bit / 8u] ^ (1u << (bit % 8u)));
    }
}

static void test_a_frame_is_good_in_its_place_and_history_only(void **state) {
    (void)state;
    uint8_t frame[FRAME_SIZE];
    struct mim_frame_header back;
    (void)make_frame(frame, 77);
    assert_int_equal(mim_frame_check(frame, FRAME_SIZE, &HISTORY, FRAME_LSN + 8, true, &back), MIM_FRAME_BAD_HEADER);
    assert_int_equal(mim_frame_check(frame, FRAME_SIZE, &OTHER, FRAME_LSN, true, &back), MIM_FRAME_BAD_HEADER);
}

static void test_every_shorter_reading_is_short_or_bad_never_good(void **state) {
    (void)state;
    uint8_t frame[FRAME_SIZE];
    struct mim_frame_header back;
    (void)make_frame(frame, 77);
    for (uint64_t available = 1; available < FRAME_SIZE; available++) {
        enum mim_frame_verdict verdict = mim_frame_check(frame, available, &HISTORY, FRAME_LSN, true, &back);
        assert_int_equal(verdict, available < MIM_FRAME_HEADER_SIZE ? MIM_FRAME_BAD_HEADER : MIM_FRAME_SHORT);
    }
    assert_int_equal(mim_frame_check(frame, 0, &HISTORY, FRAME_LSN, true, &back), MIM_FRAME_ZERO);
}

static void test_zeros_are_no_frame(void **state) {
    (void)state;
    uint8_t zeros[64] = {0};
    struct mim_frame_header back;
    for (uint64_t available = 0; available <= sizeof(zeros); available++) {
        assert_int_equal(mim_frame_check(zeros, available, &HISTORY, FRAME_LSN, true, &back), MIM_FRAME_ZERO);
    }
    zeros[8] = 1; /* the first 8 bytes decide */
    assert_int_equal(mim_frame_check(zeros, 64, &HISTORY, FRAME_LSN, true, &back), MIM_FRAME_ZERO);
}

static void test_random_bytes_are_never_a_frame(void **state) {
    (void)state;
    struct mim_prng prng;
    mim_prng_init(&prng, 1);
    for (int round = 0; round < 100000; round++) {
        uint8_t bytes[64];
        for (size_t i = 0; i < sizeof(bytes); i += 8u) {
            mim_put64(bytes + i, mim_prng_next(&prng));
        }
        mim_put32(bytes, MIM_FRAME_MAGIC);
        bytes[4] = (uint8_t)(1 + round % 4);
        bytes[5] = MIM_FRAME_VERSION;
        mim_put16(bytes + 6, 0);
        mim_put32(bytes + 8, 64);
        mim_put32(bytes + 12, 0);
        mim_put64(bytes + 24, 0);
        struct mim_frame_header back;
        assert_int_equal(mim_frame_check(bytes, 64, &HISTORY, FRAME_LSN, true, &back), MIM_FRAME_BAD_HEADER);
    }
}

static void test_every_verdict_has_words(void **state) {
    (void)state;
    for (int verdict = MIM_FRAME_GOOD; verdict <= MIM_FRAME_BAD_PAYLOAD; verdict++) {
        assert_true(strlen(mim_frame_verdict_text((enum mim_frame_verdict)verdict)) > 3);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_segment_header_comes_back_as_it_went_in),
        cmocka_unit_test(test_the_segment_header_has_the_bytes_of_the_table),
        cmocka_unit_test(test_every_flipped_bit_of_a_segment_header_is_refused),
        cmocka_unit_test(test_a_newer_format_or_an_unknown_flag_is_told_from_damage),
        cmocka_unit_test(test_a_frame_comes_back_as_it_went_in),
        cmocka_unit_test(test_the_same_frame_after_another_chain_has_another_chain),
        cmocka_unit_test(test_every_flipped_bit_of_a_frame_is_found),
        cmocka_unit_test(test_a_frame_is_good_in_its_place_and_history_only),
        cmocka_unit_test(test_every_shorter_reading_is_short_or_bad_never_good),
        cmocka_unit_test(test_zeros_are_no_frame),
        cmocka_unit_test(test_random_bytes_are_never_a_frame),
        cmocka_unit_test(test_every_verdict_has_words),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
