// SPDX-License-Identifier: MIT
// The preparer: sizes, states, a disk that is full and gets room again, and what a failed attempt leaves behind.
#include "writer_support.h"

#define MIB   (1ull << 20)
#define SPARE "journal/spare"
#define TMP   "journal/spare.tmp"

struct fixture {
    struct mim_storage_sim *sim;
    struct mim_storage storage;
    struct mim_ring ring; /* its memory is not used */
};

static int setup(void **state) {
    struct fixture *f = drive_alloc(sizeof(*f));
    struct mim_error error = {0};
    f->sim = mim_storage_sim_new(3);
    f->storage = mim_storage_sim_storage(f->sim);
    drive_ok(mim_storage_make_dir(f->storage, MIM_JOURNAL_DIR, &error), &error);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    (void)mim_storage_sim_free(f->sim);
    free(f);
    return 0;
}

static int prepare(struct fixture *f, uint64_t size_max) {
    struct mim_error error = {0};
    return mim_preparer_step(f->storage, &f->ring, size_max, &error);
}

static int spare_state(const struct fixture *f) { return atomic_load(&f->ring.spare_state); }

static uint64_t file_size(const struct fixture *f, const char *path) {
    uint64_t size = UINT64_MAX;
    (void)mim_storage_sim_bytes(f->sim, path, &size);
    return size;
}

static void test_a_spare_is_made_when_needed_and_only_then(void **state) {
    struct fixture *f = *state;
    assert_int_equal(prepare(f, 0), 1);
    assert_int_equal(spare_state(f), MIM_SPARE_READY);
    assert_int_equal(atomic_load(&f->ring.spare_size), MIM_SEGMENT_SIZE_MIN);
    assert_int_equal(file_size(f, SPARE), MIM_SEGMENT_SIZE_MIN);
    assert_int_equal(file_size(f, TMP), UINT64_MAX);
    uint64_t calls = mim_storage_sim_calls(f->sim);
    assert_int_equal(prepare(f, 0), 0);
    atomic_store(&f->ring.spare_state, MIM_SPARE_CLAIMED);
    assert_int_equal(prepare(f, 0), 0);
    assert_int_equal(mim_storage_sim_calls(f->sim), calls);
}

static void test_segments_grow_with_the_journal_within_bounds_in_whole_mebibytes(void **state) {
    struct fixture *f = *state;
    static const struct {
        uint64_t journal, most, size;
    } cases[] = {
        {0, 0, 4 * MIB},
        {4 * MIB, 0, 4 * MIB},
        {5 * MIB - 1, 0, 4 * MIB},
        {9 * MIB + 5, 0, 9 * MIB},
        {1000 * MIB, 0, 64 * MIB},
        {1000 * MIB, 8 * MIB, 8 * MIB},
        {1000 * MIB, 8 * MIB + 100, 8 * MIB},
        {1000 * MIB, 1, 4 * MIB},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        atomic_store(&f->ring.journal_bytes, cases[i].journal);
        atomic_store(&f->ring.spare_state, MIM_SPARE_NEEDED);
        assert_int_equal(prepare(f, cases[i].most), 1);
        assert_int_equal(atomic_load(&f->ring.spare_size), cases[i].size);
        assert_int_equal(file_size(f, SPARE), cases[i].size);
    }
    f->ring.segment_size_min = 8192; /* a test's */
    atomic_store(&f->ring.spare_state, MIM_SPARE_NEEDED);
    assert_int_equal(prepare(f, 8192), 1);
    assert_int_equal(file_size(f, SPARE), 8192);
}

static void test_little_room_makes_a_smaller_spare(void **state) {
    struct fixture *f = *state;
    atomic_store(&f->ring.journal_bytes, 30 * MIB);
    mim_storage_sim_set_capacity(f->sim, 8 * MIB);
    assert_int_equal(prepare(f, 0), 1); /* 30, 15, 7 */
    assert_int_equal(file_size(f, SPARE), 7 * MIB);
    assert_int_equal(atomic_load(&f->ring.spare_size), 7 * MIB);
    atomic_store(&f->ring.spare_state, MIM_SPARE_NEEDED);
    mim_storage_sim_set_capacity(f->sim, 5 * MIB);
    assert_int_equal(prepare(f, 0), 1);
    assert_int_equal(file_size(f, SPARE), 4 * MIB);
}

static void test_a_full_disk_is_told_keeps_nothing_and_is_left_by_itself_when_there_is_room(void **state) {
    struct fixture *f = *state;
    mim_storage_sim_set_capacity(f->sim, 4 * MIB - 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(prepare(f, 0), MIM_E_NO_SPACE);
        assert_int_equal(spare_state(f), MIM_SPARE_FULL);
        assert_int_equal(file_size(f, TMP), UINT64_MAX);
        assert_int_equal(mim_storage_sim_used(f->sim), 0);
    }
    mim_storage_sim_set_capacity(f->sim, 4 * MIB);
    assert_int_equal(prepare(f, 0), 1);
    assert_int_equal(spare_state(f), MIM_SPARE_READY);
}

static void test_the_spare_of_an_earlier_process_is_room_and_its_bytes_are_not_trusted(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    mim_file_t file = 0;
    drive_ok(mim_file_open(f->storage, SPARE, MIM_OPEN_WRITE | MIM_OPEN_CREATE, &file, &error), &error);
    uint8_t garbage[4096];
    memset(garbage, 0x5a, sizeof(garbage));
    for (uint64_t at = 0; at < 4 * MIB; at += sizeof(garbage)) {
        drive_ok(mim_file_pwrite(f->storage, file, garbage, sizeof(garbage), at, &error), &error);
    }
    mim_file_close(f->storage, file);
    mim_storage_sim_set_capacity(f->sim, 4 * MIB);
    assert_int_equal(prepare(f, 0), 1);
    uint64_t size = 0;
    const uint8_t *bytes = mim_storage_sim_bytes(f->sim, SPARE, &size);
    assert_int_equal(size, 4 * MIB);
    for (uint64_t i = 0; i < size; i++) {
        assert_int_equal(bytes[i], 0);
    }
}

static void test_a_temporary_name_that_a_power_cut_left_on_a_segment_does_not_harm_it(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    mim_file_t file = 0;
    drive_ok(mim_storage_sync_dir(f->storage, MIM_JOURNAL_DIR, &error), &error);
    drive_ok(mim_file_open(f->storage, TMP, MIM_OPEN_WRITE | MIM_OPEN_CREATE, &file, &error), &error);
    drive_ok(mim_file_pwrite(f->storage, file, "segment", 7, 0, &error), &error);
    mim_file_close(f->storage, file);
    mim_storage_sim_kill(f->sim);
    assert_int_equal(prepare(f, 0), 1);
    assert_int_equal(file_size(f, TMP), UINT64_MAX); /* taken away, not truncated: EXCLUSIVE would fail else */
    assert_int_equal(mim_storage_sim_calls_of(f->sim, MIM_SIM_REMOVE), 2);
}

static void test_errors_at_every_call_are_returned_and_never_make_a_spare_ready(void **state) {
    struct fixture *f = *state;
    for (uint64_t nth = 1;; nth++) {
        atomic_store(&f->ring.spare_state, MIM_SPARE_NEEDED);
        mim_storage_sim_fail_nth(f->sim, nth, MIM_SIM_FAULT_EIO, false);
        int rc = prepare(f, 0);
        mim_storage_sim_clear_faults(f->sim);
        if (rc == 1) {
            assert_int_equal(nth, 6); /* remove, remove, open, preallocate, rename */
            break;
        }
        assert_int_equal(rc, MIM_E_IO);
        assert_int_equal(spare_state(f), MIM_SPARE_NEEDED);
        assert_int_equal(file_size(f, TMP), UINT64_MAX);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_spare_is_made_when_needed_and_only_then),
        TEST(test_segments_grow_with_the_journal_within_bounds_in_whole_mebibytes),
        TEST(test_little_room_makes_a_smaller_spare),
        TEST(test_a_full_disk_is_told_keeps_nothing_and_is_left_by_itself_when_there_is_room),
        TEST(test_the_spare_of_an_earlier_process_is_room_and_its_bytes_are_not_trusted),
        TEST(test_a_temporary_name_that_a_power_cut_left_on_a_segment_does_not_harm_it),
        TEST(test_errors_at_every_call_are_returned_and_never_make_a_spare_ready),
    };
    return cmocka_run_group_tests_name("preparer", tests, NULL, NULL);
}
