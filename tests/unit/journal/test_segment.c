// SPDX-License-Identifier: MIT
// The table of segments as a catalogue of directories: each state that a crash, a person or a bad disk can leave.
#include "journal_support.h"

#define SEGMENT_SIZE 8192u

static const char *const ONE = "journal/00000000000000000001.journal";
static const char *const TWO = "journal/00000000000000000007.journal";
static const char *const THREE = "journal/00000000000000000011.journal";
static const char *const ASIDE = "journal/aside";

struct fixture {
    struct mim_storage_sim *sim;
    struct mim_storage storage;
    struct builder b;
    struct outcome whole; /* what the undamaged journal reads as */
};

/** Positions 1-6, 7-10, 11-14 in three segments. */
static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof(*f));
    f->sim = mim_storage_sim_new(1);
    f->storage = mim_storage_sim_storage(f->sim);
    build_init(&f->b, f->storage, SEGMENT_SIZE);
    (void)build_durable(&f->b, MIM_FRAME_EPOCH, 0, 0);
    (void)build_durable(&f->b, MIM_FRAME_DATA, 3, 20);
    (void)build_durable(&f->b, MIM_FRAME_DATA, 3, 33);
    build_roll(&f->b, true);
    build_segment(&f->b, true);
    (void)build_durable(&f->b, MIM_FRAME_DATA, 4, 8);
    build_roll(&f->b, true);
    build_segment(&f->b, true);
    (void)build_durable(&f->b, MIM_FRAME_DATA, 4, 8);
    (void)build_durable(&f->b, MIM_FRAME_SEAL, 0, 0);
    build_done(&f->b);
    f->whole = outcome_of(f->storage, 0);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    (void)mim_storage_sim_free(f->sim);
    test_free(f);
    return 0;
}

static void rename_file(struct fixture *f, const char *from, const char *to) {
    struct mim_error error = {0};
    build_ok(mim_storage_rename(f->storage, from, to, &error), &error);
}

static void copy_file(struct fixture *f, const char *from, const char *to) {
    struct mim_error error = {0};
    uint64_t size = 0;
    const uint8_t *bytes = mim_storage_sim_bytes(f->sim, from, &size);
    assert_non_null(bytes);
    uint8_t *copy = test_malloc(size);
    memcpy(copy, bytes, size);
    mim_file_t file = 0;
    build_ok(mim_file_open(f->storage, to, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_TRUNCATE, &file, &error),
             &error);
    build_ok(mim_file_pwrite(f->storage, file, copy, size, 0, &error), &error);
    mim_file_close(f->storage, file);
    test_free(copy);
}

static void write_at(struct fixture *f, const char *path, uint64_t offset, const void *data, size_t size) {
    struct mim_error error = {0};
    mim_file_t file = 0;
    build_ok(mim_file_open(f->storage, path, MIM_OPEN_WRITE, &file, &error), &error);
    build_ok(mim_file_pwrite(f->storage, file, data, size, offset, &error), &error);
    mim_file_close(f->storage, file);
}

static void expect_damaged(struct fixture *f, const char *name, const char *word) {
    struct outcome outcome = outcome_of(f->storage, 0);
    if (!outcome_damaged(&outcome) || strstr(outcome_text(&outcome), name) == NULL ||
        strstr(outcome_text(&outcome), word) == NULL) {
        fail_msg("expected damage naming \"%s\" and \"%s\"; got %d: %s", name, word, outcome.code,
                 outcome_text(&outcome));
    }
}

static void expect_whole(struct fixture *f, uint64_t evidence_lsn) {
    struct outcome outcome = outcome_of(f->storage, evidence_lsn);
    assert_int_equal(outcome.code, 0);
    if (outcome.ending.kind != MIM_END_CLEAN) {
        fail_msg("not clean: %s", outcome.ending.text);
    }
    assert_int_equal(outcome.frames, f->whole.frames);
    assert_int_equal(outcome.digest, f->whole.digest);
    assert_int_equal(outcome.ending.lsn, f->b.lsn);
}

static void test_the_directory_is_missing(void **state) {
    (void)state;
    struct mim_storage_sim *sim = mim_storage_sim_new(2);
    struct outcome outcome = outcome_of(mim_storage_sim_storage(sim), 0);
    assert_int_equal(outcome.code, 0);
    assert_int_equal(outcome.segments, 0);
    assert_int_equal(outcome.unused, 0);
    assert_int_equal(outcome.ending.kind, MIM_END_CLEAN);
    assert_int_equal(outcome.ending.lsn, 0);
    (void)mim_storage_sim_free(sim);
}

static void test_the_directory_is_empty_but_a_mark_says_it_was_not(void **state) {
    (void)state;
    struct mim_storage_sim *sim = mim_storage_sim_new(2);
    struct mim_error error = {0};
    build_ok(mim_storage_make_dir(mim_storage_sim_storage(sim), MIM_JOURNAL_DIR, &error), &error);
    struct outcome outcome = outcome_of(mim_storage_sim_storage(sim), 5000);
    assert_true(outcome_damaged(&outcome));
    assert_non_null(strstr(outcome.ending.text, "newest part is missing"));
    (void)mim_storage_sim_free(sim);
}

static void test_all_is_there(void **state) {
    struct fixture *f = *state;
    assert_int_equal(f->whole.code, 0);
    assert_int_equal(f->whole.ending.kind, MIM_END_CLEAN);
    assert_int_equal(f->whole.segments, 3);
    assert_int_equal(f->whole.frames, 8);
    assert_int_equal(f->whole.ending.position, 14);
    assert_int_equal(f->whole.ending.chain, f->b.chain);
    assert_int_equal(f->whole.ending.epoch, 1);
    assert_false(f->whole.ending.rolled);
    expect_whole(f, f->b.lsn);
}

static void test_other_files_in_the_directory_are_left_alone(void **state) {
    struct fixture *f = *state;
    copy_file(f, TWO, "journal/spare");
    copy_file(f, TWO, "journal/00000000000000000007.torn.3");
    copy_file(f, TWO, "journal/torn.new");
    expect_whole(f, 0);
}

static void test_the_middle_segment_is_missing(void **state) {
    struct fixture *f = *state;
    rename_file(f, TWO, ASIDE);
    expect_damaged(f, TWO, "missing");
}

static void test_the_middle_segment_is_missing_and_the_one_before_not_cut_to_size(void **state) {
    (void)state;
    struct fixture f = {.sim = mim_storage_sim_new(1)};
    f.storage = mim_storage_sim_storage(f.sim);
    build_init(&f.b, f.storage, 4u * SEGMENT_SIZE);
    (void)build_durable(&f.b, MIM_FRAME_DATA, 6, 20);
    build_roll(&f.b, false);
    build_segment(&f.b, true);
    (void)build_durable(&f.b, MIM_FRAME_DATA, 4, 8);
    build_roll(&f.b, true);
    build_segment(&f.b, true);
    build_done(&f.b);
    struct outcome outcome = outcome_of(f.storage, 0);
    assert_int_equal(outcome.ending.kind, MIM_END_CLEAN);
    rename_file(&f, TWO, ASIDE);
    expect_damaged(&f, TWO, "missing");
    (void)mim_storage_sim_free(f.sim);
}

static void test_a_segment_stands_under_a_second_name(void **state) {
    struct fixture *f = *state;
    copy_file(f, TWO, "journal/00000000000000000009.journal");
    expect_damaged(f, "00000000000000000009", TWO);
    rename_file(f, "journal/00000000000000000009.journal", "journal/copy of 7.journal");
    expect_damaged(f, "copy of 7.journal", "no segment's name");
}

static void test_two_segments_are_swapped(void **state) {
    struct fixture *f = *state;
    rename_file(f, TWO, ASIDE);
    rename_file(f, THREE, TWO);
    rename_file(f, ASIDE, THREE);
    expect_damaged(f, TWO, "swapped");
}

static void test_a_segment_of_another_history_stands_among_them(void **state) {
    struct fixture *f = *state;
    struct mim_segment_header header = {
        .history = {.uuid = "another-history"},
        .first_position = 7,
        .base_lsn = f->b.lsn,
        .epoch = 1,
    };
    uint8_t page[MIM_SEGMENT_HEADER_SIZE];
    mim_segment_header_encode(&header, page);
    write_at(f, TWO, 0, page, sizeof(page));
    expect_damaged(f, TWO, "another history");
}

static void test_a_segment_of_the_same_history_and_place_with_another_past(void **state) {
    struct fixture *f = *state;
    struct mim_segments segments = {0};
    mim_position_t unused = 0;
    assert_int_equal(mim_segments_load(f->storage, &segments, &unused, NULL), 0);
    struct mim_segment_header header = segments.items[1].header;
    mim_segments_deinit(&segments);
    header.previous_chain ^= 1u;
    uint8_t page[MIM_SEGMENT_HEADER_SIZE];
    mim_segment_header_encode(&header, page);
    write_at(f, TWO, 0, page, sizeof(page));
    expect_damaged(f, TWO, "chain mismatch");
}

static void test_the_newest_segment_is_gone_and_the_mark_knows(void **state) {
    struct fixture *f = *state;
    rename_file(f, THREE, ASIDE);
    struct outcome outcome = outcome_of(f->storage, f->b.lsn);
    assert_true(outcome_damaged(&outcome));
    assert_true(outcome_names_place(&outcome));
    assert_non_null(strstr(outcome.ending.text, "newest part is missing"));
    outcome = outcome_of(f->storage, 0); /* without evidence: ends behind a roll frame, as after a crash there */
    assert_int_equal(outcome.ending.kind, MIM_END_CLEAN);
    assert_true(outcome.ending.rolled);
    assert_int_equal(outcome.ending.position, 10);
}

static void test_a_crash_between_the_roll_frame_and_the_next_segment(void **state) {
    (void)state;
    struct fixture f = {.sim = mim_storage_sim_new(1)};
    f.storage = mim_storage_sim_storage(f.sim);
    build_init(&f.b, f.storage, SEGMENT_SIZE);
    (void)build_durable(&f.b, MIM_FRAME_DATA, 6, 20);
    build_roll(&f.b, false);
    build_done(&f.b);
    struct outcome outcome = outcome_of(f.storage, f.b.lsn);
    assert_int_equal(outcome.code, 0);
    assert_int_equal(outcome.ending.kind, MIM_END_CLEAN);
    assert_true(outcome.ending.rolled);
    assert_int_equal(outcome.ending.lsn, f.b.lsn);
    assert_int_equal(outcome.ending.chain, f.b.chain);
    assert_true(mim_storage_sim_truncate(f.sim, ONE, f.b.lsn));
    outcome = outcome_of(f.storage, f.b.lsn);
    assert_int_equal(outcome.ending.kind, MIM_END_CLEAN);
    assert_true(outcome.ending.rolled);
    (void)mim_storage_sim_free(f.sim);
}

static void test_the_next_segment_was_made_but_never_used(void **state) {
    (void)state;
    for (int cut_zeros = 0; cut_zeros < 2; cut_zeros++) {
        struct fixture f = {.sim = mim_storage_sim_new(1)};
        f.storage = mim_storage_sim_storage(f.sim);
        build_init(&f.b, f.storage, SEGMENT_SIZE);
        (void)build_durable(&f.b, MIM_FRAME_DATA, 6, 20);
        build_roll(&f.b, cut_zeros != 0);
        mim_lsn_t lsn = f.b.lsn;
        build_segment(&f.b, /* written= */ false);
        build_done(&f.b);
        const uint64_t sizes[] = {SEGMENT_SIZE, 4096, 4095, 80, 1, 0};
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            assert_true(mim_storage_sim_truncate(f.sim, TWO, sizes[i]));
            struct outcome outcome = outcome_of(f.storage, lsn);
            assert_int_equal(outcome.code, 0);
            assert_int_equal(outcome.unused, 7);
            assert_int_equal(outcome.segments, 1);
            assert_int_equal(outcome.ending.kind, MIM_END_CLEAN);
            assert_true(outcome.ending.rolled);
        }
        (void)mim_storage_sim_free(f.sim);
    }
}

static void test_the_header_page_of_a_used_segment_is_zero(void **state) {
    struct fixture *f = *state;
    static const uint8_t zeros[MIM_SEGMENT_HEADER_SIZE];
    write_at(f, THREE, 0, zeros, sizeof(zeros));
    expect_damaged(f, THREE, "offset 0");
}

static void test_the_header_page_of_a_middle_segment_is_zero_or_short(void **state) {
    struct fixture *f = *state;
    static const uint8_t zeros[SEGMENT_SIZE];
    write_at(f, TWO, 0, zeros, MIM_SEGMENT_HEADER_SIZE);
    expect_damaged(f, TWO, "offset 0");
    assert_true(mim_storage_sim_truncate(f->sim, TWO, 100));
    expect_damaged(f, TWO, "offset 100");
}

static void test_an_unused_segment_behind_one_without_roll_frame_is_damage(void **state) {
    (void)state;
    struct fixture f = {.sim = mim_storage_sim_new(1)};
    f.storage = mim_storage_sim_storage(f.sim);
    build_init(&f.b, f.storage, SEGMENT_SIZE);
    (void)build_durable(&f.b, MIM_FRAME_DATA, 6, 20);
    build_segment(&f.b, /* written= */ false);
    build_done(&f.b);
    expect_damaged(&f, TWO, "offset 0");
    (void)mim_storage_sim_free(f.sim);
}

static void test_the_first_segment_was_made_but_never_used(void **state) {
    (void)state;
    struct mim_storage_sim *sim = mim_storage_sim_new(1);
    struct builder b = {.storage = mim_storage_sim_storage(sim), .segment_size = SEGMENT_SIZE};
    build_segment(&b, /* written= */ false);
    build_done(&b);
    struct outcome outcome = outcome_of(b.storage, 0);
    assert_int_equal(outcome.code, 0);
    assert_int_equal(outcome.segments, 0);
    assert_int_equal(outcome.unused, 1);
    (void)mim_storage_sim_free(sim);
}

static void test_every_shorter_middle_segment_is_damage(void **state) {
    struct fixture *f = *state;
    uint64_t size = 0;
    assert_non_null(mim_storage_sim_bytes(f->sim, TWO, &size));
    while (size > 0) {
        size--;
        assert_true(mim_storage_sim_truncate(f->sim, TWO, size));
        struct outcome outcome = outcome_of(f->storage, 0);
        assert_true(outcome_damaged(&outcome));
        assert_true(outcome_names_place(&outcome));
        assert_non_null(strstr(outcome_text(&outcome), TWO));
    }
}

static void test_bytes_behind_a_roll_frame_are_damage(void **state) {
    struct fixture *f = *state;
    uint64_t size = 0;
    assert_non_null(mim_storage_sim_bytes(f->sim, ONE, &size));
    assert_true(mim_storage_sim_truncate(f->sim, ONE, SEGMENT_SIZE));
    expect_whole(f, 0); /* zeros are not */
    write_at(f, ONE, SEGMENT_SIZE - 1u, "x", 1);
    expect_damaged(f, ONE, "behind");
}

static void test_lookups_find_the_segment_of_every_lsn_and_position(void **state) {
    struct fixture *f = *state;
    struct mim_segments segments = {0};
    mim_position_t unused = 0;
    assert_int_equal(mim_segments_load(f->storage, &segments, &unused, NULL), 0);
    assert_int_equal(segments.count, 3);
    assert_int_equal(mim_segments_find_lsn(&segments, 0), 0);
    for (size_t i = 0; i < 3; i++) {
        mim_lsn_t base = segments.items[i].header.base_lsn;
        assert_int_equal(mim_segments_find_lsn(&segments, base), i);
        assert_int_equal(mim_segments_find_lsn(&segments, base + segments.items[i].file_size - 1u), i);
    }
    const size_t expected[] = {3, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2};
    for (mim_position_t position = 0; position < 16; position++) {
        assert_int_equal(mim_segments_find_position(&segments, position), expected[position]);
    }
    mim_segments_deinit(&segments);
    assert_int_equal(mim_segments_find_lsn(&segments, 5), 0);
}

static void test_a_mark_comes_back_and_a_changed_one_is_damage(void **state) {
    struct fixture *f = *state;
    struct mim_mark back = {0};
    struct mim_error error = {0};
    assert_int_equal(mim_mark_read(f->storage, &back, &error), MIM_E_NOT_FOUND);
    struct mim_mark mark = {.history = f->b.history, .durable_lsn = 1, .position = 2, .chain = 3, .epoch = 4};
    build_ok(mim_mark_write(f->storage, &mark, true, &error), &error);
    mark.durable_lsn = f->b.lsn;
    build_ok(mim_mark_write(f->storage, &mark, true, &error), &error);
    build_ok(mim_mark_read(f->storage, &back, &error), &error);
    assert_memory_equal(&back, &mark, sizeof(mark));
    for (uint64_t bit = 0; bit < 64u * 8u; bit++) {
        flip_bit(f->storage, "journal/mark", bit);
        assert_int_equal(mim_mark_read(f->storage, &back, &error), MIM_E_DAMAGED);
        flip_bit(f->storage, "journal/mark", bit);
    }
    for (uint64_t size = 0; size < 64; size++) {
        build_ok(mim_mark_write(f->storage, &mark, true, &error), &error);
        assert_true(mim_storage_sim_truncate(f->sim, "journal/mark", size));
        assert_int_equal(mim_mark_read(f->storage, &back, &error), MIM_E_DAMAGED);
    }
}

static void test_a_crash_while_a_mark_is_written_leaves_the_old_or_the_new_one(void **state) {
    struct fixture *f = *state;
    const struct mim_sim_crash_odds odds = {300, 100, 200, 500};
    struct mim_error error = {0};
    struct mim_mark old = {.history = f->b.history, .durable_lsn = 100};
    struct mim_mark new = {.history = f->b.history, .durable_lsn = 200};
    build_ok(mim_mark_write(f->storage, &old, true, &error), &error);
    for (uint64_t nth = 1; nth < 20; nth++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct mim_storage_sim *sim = mim_storage_sim_clone(f->sim, seed);
            struct mim_storage storage = mim_storage_sim_storage(sim);
            mim_storage_sim_fail_nth(sim, nth, MIM_SIM_FAULT_CRASH, true);
            int code = mim_mark_write(storage, &new, true, &error);
            mim_storage_sim_crash(sim, odds);
            struct mim_mark back = {0};
            build_ok(mim_mark_read(storage, &back, &error), &error);
            assert_true(back.durable_lsn == 200 || (back.durable_lsn == 100 && code != 0));
            (void)mim_storage_sim_free(sim);
        }
    }
}

static void test_every_failing_storage_call_is_an_io_error_never_a_shorter_journal(void **state) {
    struct fixture *f = *state;
    uint64_t nth = 1;
    for (;; nth++) {
        mim_storage_sim_fail_nth(f->sim, nth, MIM_SIM_FAULT_EIO, false);
        uint64_t before = mim_storage_sim_calls(f->sim);
        struct outcome outcome = outcome_of(f->storage, 0);
        mim_storage_sim_clear_faults(f->sim);
        if (mim_storage_sim_calls(f->sim) < before + nth) {
            assert_int_equal(outcome.code, 0);
            break;
        }
        assert_int_equal(outcome.code, MIM_E_IO);
    }
    assert_true(nth > 15);
    expect_whole(f, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_directory_is_missing),
        cmocka_unit_test(test_the_directory_is_empty_but_a_mark_says_it_was_not),
        TEST(test_all_is_there),
        TEST(test_other_files_in_the_directory_are_left_alone),
        TEST(test_the_middle_segment_is_missing),
        cmocka_unit_test(test_the_middle_segment_is_missing_and_the_one_before_not_cut_to_size),
        TEST(test_a_segment_stands_under_a_second_name),
        TEST(test_two_segments_are_swapped),
        TEST(test_a_segment_of_another_history_stands_among_them),
        TEST(test_a_segment_of_the_same_history_and_place_with_another_past),
        TEST(test_the_newest_segment_is_gone_and_the_mark_knows),
        cmocka_unit_test(test_a_crash_between_the_roll_frame_and_the_next_segment),
        cmocka_unit_test(test_the_next_segment_was_made_but_never_used),
        TEST(test_the_header_page_of_a_used_segment_is_zero),
        TEST(test_the_header_page_of_a_middle_segment_is_zero_or_short),
        cmocka_unit_test(test_an_unused_segment_behind_one_without_roll_frame_is_damage),
        cmocka_unit_test(test_the_first_segment_was_made_but_never_used),
        TEST(test_every_shorter_middle_segment_is_damage),
        TEST(test_bytes_behind_a_roll_frame_are_damage),
        TEST(test_lookups_find_the_segment_of_every_lsn_and_position),
        TEST(test_a_mark_comes_back_and_a_changed_one_is_damage),
        TEST(test_a_crash_while_a_mark_is_written_leaves_the_old_or_the_new_one),
        TEST(test_every_failing_storage_call_is_an_io_error_never_a_shorter_journal),
    };
    return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
