// SPDX-License-Identifier: MIT
// The simulated disk without power cuts: fault plans, counters, capacity, kills, damage at rest, copies, hashes.
#include "storage_support.h"

static int setup(void **state) {
    *state = mim_storage_sim_new(7);
    return 0;
}

static int teardown(void **state) {
    *state = mim_storage_sim_free(*state);
    return 0;
}

static void fill(struct mim_storage s, const char *path, const char *text) {
    mim_file_t file = open_file(s, path, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_TRUNCATE);
    write_text(s, file, text, 0);
    mim_file_close(s, file);
}

static void test_freeing_nothing_is_fine(void **state) {
    (void)state;
    assert_null(mim_storage_sim_free(NULL));
}

static void test_a_simulated_file_has_no_descriptor(void **state) {
    struct mim_storage s = mim_storage_sim_storage(*state);
    mim_file_t file = create_file(s, "a");
    assert_int_equal(mim_storage_posix_fd(file), -1); /* or somebody would map another file */
    mim_file_close(s, file);
}

static void test_calls_are_counted_by_kind_and_together(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = create_file(s, "a");
    write_text(s, file, "x", 0);
    write_text(s, file, "y", 1);
    CHECK(mim_file_sync(s, file, e));
    uint64_t size = 0;
    CHECK(mim_file_size(s, file, &size, e));
    mim_file_close(s, file);
    assert_int_equal(mim_storage_sim_calls_of(sim, MIM_SIM_OPEN), 1);
    assert_int_equal(mim_storage_sim_calls_of(sim, MIM_SIM_PWRITE), 2);
    assert_int_equal(mim_storage_sim_calls_of(sim, MIM_SIM_SYNC), 1);
    assert_int_equal(mim_storage_sim_calls_of(sim, MIM_SIM_PREAD), 0);
    assert_int_equal(mim_storage_sim_calls(sim), 4); /* size and close are no calls that fail */
}

/* One call of each kind, so that a plan can be tried on each. */
static int no_entry(void *context, const char *name, bool is_directory) {
    (void)context;
    (void)name;
    (void)is_directory;
    return 0;
}

static int one_call(struct mim_storage s, mim_file_t file, enum mim_sim_call call, struct mim_error *e) {
    char byte = 'b';
    size_t size = 0;
    mim_file_t opened = 0;
    int code = 0;
    switch (call) {
    case MIM_SIM_OPEN:
        code = mim_file_open(s, "f", MIM_OPEN_READ, &opened, e);
        mim_file_close(s, opened);
        return code;
    case MIM_SIM_PREAD:
        return mim_file_pread(s, file, &byte, 1, 0, &size, e);
    case MIM_SIM_PWRITE:
        return mim_file_pwrite(s, file, &byte, 1, 0, e);
    case MIM_SIM_SYNC:
        return mim_file_sync(s, file, e);
    case MIM_SIM_TRUNCATE:
        return mim_file_truncate(s, file, 5, e);
    case MIM_SIM_PREALLOCATE:
        return mim_file_preallocate(s, file, 10, e);
    case MIM_SIM_RENAME:
        return mim_storage_rename(s, "f", "f", e);
    case MIM_SIM_REMOVE:
        return mim_storage_remove(s, "none", e) == MIM_E_NOT_FOUND ? 0 : MIM_E_IO;
    case MIM_SIM_SYNC_DIR:
        return mim_storage_sync_dir(s, ".", e);
    case MIM_SIM_MAKE_DIR:
        return mim_storage_make_dir(s, "d", e);
    case MIM_SIM_LIST:
        return mim_storage_list(s, ".", no_entry, NULL, e);
    case MIM_SIM_LINK:
        return mim_storage_link(s, "none", s, "linked", e) == MIM_E_NOT_FOUND ? 0 : MIM_E_IO;
    case MIM_SIM_SHARE:
        return mim_file_share(s, file, file, 0, 0, e);
    default:
        fail();
        return 0;
    }
}

static void test_every_kind_of_call_fails_when_its_turn_comes(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = create_file(s, "f");
    for (enum mim_sim_call call = 0; call < MIM_SIM_CALL_COUNT; call++) {
        mim_storage_sim_fail_nth_of(sim, call, 2, MIM_SIM_FAULT_EIO, false);
        for (enum mim_sim_call other = 0; other < MIM_SIM_CALL_COUNT; other++) {
            CHECK(one_call(s, file, other, e)); /* the first of the kind, and all other kinds */
        }
        CHECK_FAILS(one_call(s, file, call, e), MIM_E_IO);
        CHECK(one_call(s, file, call, e));
    }
    mim_file_close(s, file);
}

static void test_a_plan_over_all_kinds_counts_every_call(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = create_file(s, "f");
    mim_storage_sim_fail_nth(sim, 3, MIM_SIM_FAULT_ENOSPC, false);
    CHECK(one_call(s, file, MIM_SIM_PWRITE, e));
    CHECK(one_call(s, file, MIM_SIM_SYNC, e));
    CHECK_FAILS(one_call(s, file, MIM_SIM_PWRITE, e), MIM_E_NO_SPACE);
    CHECK(one_call(s, file, MIM_SIM_PWRITE, e));
    mim_storage_sim_fail_nth(sim, 1, MIM_SIM_FAULT_EIO, true);
    for (int i = 0; i < 5; i++) {
        CHECK_FAILS(one_call(s, file, MIM_SIM_PREAD, e), MIM_E_IO);
        CHECK_FAILS(one_call(s, file, MIM_SIM_SYNC_DIR, e), MIM_E_IO);
    }
    mim_storage_sim_clear_faults(sim);
    CHECK(one_call(s, file, MIM_SIM_PREAD, e));
    mim_file_close(s, file);
}

static void test_failed_calls_change_no_names(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = 77;
    fill(s, "a", "a");
    uint64_t hash = mim_storage_sim_hash(sim);
    mim_storage_sim_fail_nth(sim, 1, MIM_SIM_FAULT_EIO, true);
    CHECK_FAILS(mim_file_open(s, "new", MIM_OPEN_WRITE | MIM_OPEN_CREATE, &file, e), MIM_E_IO);
    CHECK_FAILS(mim_file_open(s, "a", MIM_OPEN_WRITE | MIM_OPEN_TRUNCATE, &file, e), MIM_E_IO);
    CHECK_FAILS(mim_storage_rename(s, "a", "b", e), MIM_E_IO);
    CHECK_FAILS(mim_storage_remove(s, "a", e), MIM_E_IO);
    CHECK_FAILS(mim_storage_make_dir(s, "d", e), MIM_E_IO);
    CHECK_FAILS(mim_storage_lock(s, "lock", &file, e), MIM_E_IO);
    assert_int_equal(file, 77);
    assert_true(hash == mim_storage_sim_hash(sim));
    mim_storage_sim_clear_faults(sim);
    CHECK(mim_storage_lock(s, "lock", &file, e)); /* the failed one holds nothing */
    mim_file_close(s, file);
}

static void test_a_failed_write_leaves_a_beginning_of_its_bytes(void **state) {
    (void)state;
    bool seen[9] = {false};
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct mim_storage_sim *sim = mim_storage_sim_new(seed);
        struct mim_storage s = mim_storage_sim_storage(sim);
        mim_file_t file = create_file(s, "a");
        mim_storage_sim_fail_nth_of(sim, MIM_SIM_PWRITE, 1, MIM_SIM_FAULT_EIO, false);
        CHECK_FAILS(mim_file_pwrite(s, file, "12345678", 8, 0, e), MIM_E_IO);
        uint64_t size = 0;
        const uint8_t *bytes = mim_storage_sim_bytes(sim, "a", &size);
        assert_true(size <= 8);
        assert_memory_equal(bytes, "12345678", size);
        seen[size] = true;
        (void)mim_storage_sim_free(sim);
    }
    for (int i = 0; i <= 8; i++) {
        assert_true(seen[i]);
    }
}

static void test_after_a_crash_call_nothing_works_until_the_power_is_back(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    const struct mim_sim_crash_odds all_kept = {0};
    mim_file_t file = create_file(s, "f");
    mim_file_t lock = 0;
    CHECK(mim_storage_lock(s, "lock", &lock, e));
    mim_storage_sim_fail_nth_of(sim, MIM_SIM_SYNC, 1, MIM_SIM_FAULT_CRASH, false);
    CHECK_FAILS(mim_file_sync(s, file, e), MIM_E_IO);
    uint64_t size = 77;
    for (enum mim_sim_call call = 0; call < MIM_SIM_CALL_COUNT; call++) {
        CHECK_FAILS(one_call(s, file, call, e), MIM_E_IO);
    }
    CHECK_FAILS(mim_file_size(s, file, &size, e), MIM_E_IO);
    CHECK_FAILS(mim_storage_lock(s, "lock", &lock, e), MIM_E_IO);
    mim_storage_sim_clear_faults(sim); /* no cure */
    CHECK_FAILS(mim_file_sync(s, file, e), MIM_E_IO);
    mim_storage_sim_crash(sim, all_kept);
    assert_true(exists(s, "f"));
    CHECK(mim_storage_lock(s, "lock", &lock, e));
    CHECK_FAILS(mim_file_sync(s, file, e), MIM_E_IO); /* a handle from before */
    mim_file_close(s, file);                          /* harmless */
}

static void test_a_full_disk_takes_what_fits_and_no_more(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t a = create_file(s, "a");
    mim_file_t b = create_file(s, "b");
    mim_storage_sim_set_capacity(sim, 100);
    CHECK(mim_file_preallocate(s, a, 60, e));
    CHECK_FAILS(mim_file_preallocate(s, b, 41, e), MIM_E_NO_SPACE);
    assert_int_equal(mim_storage_sim_used(sim), 60);
    char bytes[60];
    memset(bytes, 'x', sizeof(bytes));
    CHECK(mim_file_pwrite(s, b, bytes, 30, 0, e));
    CHECK_FAILS(mim_file_pwrite(s, b, bytes, 30, 30, e), MIM_E_NO_SPACE);
    assert_int_equal(mim_storage_sim_used(sim), 100);
    uint64_t size = 0;
    CHECK(mim_file_size(s, b, &size, e));
    assert_int_equal(size, 40);
    CHECK_FAILS(mim_file_pwrite(s, b, bytes, 1, 50, e), MIM_E_NO_SPACE); /* wholly beyond: nothing written */
    CHECK_FAILS(mim_file_pwrite(s, b, bytes, 1, UINT64_MAX - 2, e), MIM_E_NO_SPACE);
    CHECK(mim_file_size(s, b, &size, e));
    assert_int_equal(size, 40);
    CHECK(mim_file_pwrite(s, a, bytes, 60, 0, e)); /* a reserved place may be overwritten */
    CHECK(mim_file_sync(s, a, e));
    CHECK(mim_storage_remove(s, "b", e));
    assert_int_equal(mim_storage_sim_used(sim), 60);
    CHECK(mim_file_truncate(s, a, 10, e));
    assert_int_equal(mim_storage_sim_used(sim), 10);
    CHECK(mim_file_truncate(s, a, 1000, e)); /* sparse: costs nothing */
    assert_int_equal(mim_storage_sim_used(sim), 10);
    mim_storage_sim_set_capacity(sim, 5); /* below what is used: reads and overwrites go on */
    CHECK(mim_file_pwrite(s, a, bytes, 10, 0, e));
    CHECK_FAILS(mim_file_pwrite(s, a, bytes, 11, 0, e), MIM_E_NO_SPACE);
    mim_file_close(s, a);
    mim_file_close(s, b);
}

static void test_a_killed_process_loses_its_handles_and_locks_but_no_byte(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = create_file(s, "a");
    mim_file_t lock = 0;
    CHECK(mim_storage_lock(s, "lock", &lock, e));
    write_text(s, file, "unsynced", 0);
    mim_storage_sim_fail_nth(sim, 1, MIM_SIM_FAULT_EIO, true);
    mim_storage_sim_kill(sim);
    expect_text(s, "a", "unsynced");
    CHECK_FAILS(mim_file_pwrite(s, file, "x", 1, 0, e), MIM_E_IO);
    CHECK(mim_storage_lock(s, "lock", &lock, e));
    mim_file_close(s, lock);
}

static void test_a_kill_makes_nothing_durable(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    const struct mim_sim_crash_odds all_lost = {1000, 0, 0, 1000};
    fill(s, "a", "unsynced");
    mim_storage_sim_kill(sim);
    mim_storage_sim_crash(sim, all_lost);
    assert_false(exists(s, "a"));
}

static void test_a_flipped_bit_outlasts_everything(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    const struct mim_sim_crash_odds all_lost = {1000, 0, 0, 1000};
    mim_file_t file = create_file(s, "a");
    write_text(s, file, "aaaa", 0);
    CHECK(mim_file_sync(s, file, e));
    CHECK(mim_storage_sync_dir(s, ".", e));
    mim_file_close(s, file);
    uint64_t calls = mim_storage_sim_calls(sim);
    assert_true(mim_storage_sim_flip_bit(sim, "a", 8));
    assert_true(mim_storage_sim_flip_bit(sim, "a", 31));
    assert_false(mim_storage_sim_flip_bit(sim, "a", 32));
    assert_false(mim_storage_sim_flip_bit(sim, "a", UINT64_MAX));
    assert_false(mim_storage_sim_flip_bit(sim, "none", 0));
    assert_int_equal(mim_storage_sim_calls(sim), calls);
    expect_text(s, "a", "a`a\xe1");
    mim_storage_sim_crash(sim, all_lost);
    expect_text(s, "a", "a`a\xe1");
    assert_true(mim_storage_sim_flip_bit(sim, "a", 8));
    assert_true(mim_storage_sim_flip_bit(sim, "a", 31));
    expect_text(s, "a", "aaaa");
}

static void test_a_file_cut_at_rest_is_cut_for_good_and_can_be_used_on(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    const struct mim_sim_crash_odds all_lost = {1000, 0, 0, 1000};
    fill(s, "a", "0123456789");
    CHECK(mim_storage_sync_dir(s, ".", e));
    assert_false(mim_storage_sim_truncate(sim, "none", 0));
    assert_true(mim_storage_sim_truncate(sim, "a", 4));
    assert_int_equal(mim_storage_sim_used(sim), 4);
    mim_storage_sim_crash(sim, all_lost);
    uint64_t size = 0;
    (void)mim_storage_sim_bytes(sim, "a", &size);
    assert_int_equal(size, 4);
    assert_true(mim_storage_sim_truncate(sim, "a", 6u << 20)); /* grown: zeros, and no memory too little later on */
    mim_file_close(s, open_file(s, "a", MIM_OPEN_WRITE | MIM_OPEN_TRUNCATE));
    expect_text(s, "a", "");
    CHECK(mim_storage_make_dir(s, "d", e));
    assert_false(mim_storage_sim_truncate(sim, "d", 0));
}

static void test_bytes_are_seen_by_path(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    uint64_t size = 77;
    assert_null(mim_storage_sim_bytes(sim, "a", &size));
    assert_int_equal(size, 77);
    mim_file_close(s, create_file(s, "a"));
    assert_non_null(mim_storage_sim_bytes(sim, "a", &size));
    assert_int_equal(size, 0);
    fill(s, "a", "text");
    assert_memory_equal(mim_storage_sim_bytes(sim, "a", &size), "text", 4);
    assert_int_equal(size, 4);
    CHECK(mim_storage_make_dir(s, "d", e));
    assert_null(mim_storage_sim_bytes(sim, "d", &size));
}

static void test_the_hash_is_of_names_and_bytes_alone(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    struct mim_storage_sim *twin = mim_storage_sim_new(99);
    struct mim_storage t = mim_storage_sim_storage(twin);
    assert_true(mim_storage_sim_hash(sim) == mim_storage_sim_hash(twin));
    fill(s, "a", "1");
    fill(s, "b", "2");
    uint64_t hash = mim_storage_sim_hash(sim);
    fill(t, "b", "2"); /* in another order, by other ways */
    fill(t, "c", "something else");
    fill(t, "c", "1");
    assert_true(hash != mim_storage_sim_hash(twin));
    CHECK(mim_storage_rename(t, "c", "a", e));
    assert_true(hash == mim_storage_sim_hash(twin));
    CHECK(mim_storage_rename(t, "a", "x", e)); /* contents swapped between names */
    CHECK(mim_storage_rename(t, "b", "a", e));
    CHECK(mim_storage_rename(t, "x", "b", e));
    assert_true(hash != mim_storage_sim_hash(twin));
    assert_true(mim_storage_sim_flip_bit(sim, "a", 0));
    assert_true(hash != mim_storage_sim_hash(sim));
    assert_true(mim_storage_sim_flip_bit(sim, "a", 0));
    mim_file_close(s, create_file(s, "empty"));
    uint64_t with_file = mim_storage_sim_hash(sim);
    assert_true(hash != with_file);
    CHECK(mim_storage_remove(s, "empty", e));
    CHECK(mim_storage_make_dir(s, "empty", e));
    assert_true(hash != mim_storage_sim_hash(sim) && with_file != mim_storage_sim_hash(sim));
    (void)mim_storage_sim_free(twin);
}

static void test_a_copy_is_a_disk_of_its_own_with_all_of_it_durable(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    const struct mim_sim_crash_odds all_lost = {1000, 0, 0, 1000};
    mim_file_t lock = 0;
    CHECK(mim_storage_make_dir(s, "d", e));
    fill(s, "d/a", "first");
    mim_file_close(s, create_file(s, "empty"));
    CHECK(mim_storage_lock(s, "lock", &lock, e));
    mim_storage_sim_set_capacity(sim, 1000);
    mim_storage_sim_fail_nth(sim, 1, MIM_SIM_FAULT_EIO, true);
    struct mim_storage_sim *copy = mim_storage_sim_clone(sim, 8);
    struct mim_storage c = mim_storage_sim_storage(copy);
    assert_true(mim_storage_sim_hash(copy) == mim_storage_sim_hash(sim));
    assert_int_equal(mim_storage_sim_used(copy), mim_storage_sim_used(sim));
    mim_storage_sim_crash(copy, all_lost);
    assert_true(mim_storage_sim_hash(copy) == mim_storage_sim_hash(sim));
    CHECK(mim_storage_lock(c, "lock", &lock, e));
    CHECK_FAILS(mim_file_preallocate(c, lock, 1001, e), MIM_E_NO_SPACE);
    fill(c, "d/a", "other");
    mim_storage_sim_clear_faults(sim);
    expect_text(s, "d/a", "first");
    expect_text(c, "d/a", "other");
    (void)mim_storage_sim_free(copy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_freeing_nothing_is_fine),
        TEST(test_a_simulated_file_has_no_descriptor),
        TEST(test_calls_are_counted_by_kind_and_together),
        TEST(test_every_kind_of_call_fails_when_its_turn_comes),
        TEST(test_a_plan_over_all_kinds_counts_every_call),
        TEST(test_failed_calls_change_no_names),
        TEST(test_a_failed_write_leaves_a_beginning_of_its_bytes),
        TEST(test_after_a_crash_call_nothing_works_until_the_power_is_back),
        TEST(test_a_full_disk_takes_what_fits_and_no_more),
        TEST(test_a_killed_process_loses_its_handles_and_locks_but_no_byte),
        TEST(test_a_kill_makes_nothing_durable),
        TEST(test_a_flipped_bit_outlasts_everything),
        TEST(test_a_file_cut_at_rest_is_cut_for_good_and_can_be_used_on),
        TEST(test_bytes_are_seen_by_path),
        TEST(test_the_hash_is_of_names_and_bytes_alone),
        TEST(test_a_copy_is_a_disk_of_its_own_with_all_of_it_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
