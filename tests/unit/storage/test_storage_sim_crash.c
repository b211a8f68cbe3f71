// SPDX-License-Identifier: MIT
// Power cuts of the simulated disk: what was synced stays, what was not fares by the odds, a failed sync loses bytes
// behind the reader's back, names come and go whole.
#include "storage_support.h"

#define SECTOR 512u

static const struct mim_sim_crash_odds all_lost = {1000, 0, 0, 1000};
static const struct mim_sim_crash_odds all_kept = {0, 0, 0, 0};
static const struct mim_sim_crash_odds all_zeroed = {0, 1000, 0, 0};
static const struct mim_sim_crash_odds all_garbled = {0, 0, 1000, 0};
static const struct mim_sim_crash_odds mixed = {250, 250, 250, 500};

static int setup(void **state) {
    *state = mim_storage_sim_new(7);
    return 0;
}

static int teardown(void **state) {
    *state = mim_storage_sim_free(*state);
    return 0;
}

/** A file with durable bytes under a durable name. */
static mim_file_t durable_file(struct mim_storage s, const char *path, char fill_with, size_t size) {
    char *bytes = test_malloc(size + (size == 0));
    memset(bytes, fill_with, size + (size == 0));
    mim_file_t file = create_file(s, path);
    CHECK(mim_file_pwrite(s, file, bytes, size, 0, e));
    CHECK(mim_file_sync(s, file, e));
    CHECK(mim_storage_sync_dir(s, ".", e));
    test_free(bytes);
    return file;
}

static void write_fill(struct mim_storage s, mim_file_t file, char fill_with, size_t size, uint64_t offset) {
    char *bytes = test_malloc(size);
    memset(bytes, fill_with, size);
    CHECK(mim_file_pwrite(s, file, bytes, size, offset, e));
    test_free(bytes);
}

/** The file's bytes in [from, to) are all this one. */
static void expect_fill(const struct mim_storage_sim *sim, const char *path, char expected, uint64_t from,
                        uint64_t to) {
    uint64_t size = 0;
    const uint8_t *bytes = mim_storage_sim_bytes(sim, path, &size);
    assert_non_null(bytes);
    assert_true(to <= size);
    for (uint64_t i = from; i < to; i++) {
        if (bytes[i] != (uint8_t)expected) {
            fail_msg("%s: byte %llu is %d, not %d", path, (unsigned long long)i, bytes[i], expected);
        }
    }
}

static uint64_t size_of(const struct mim_storage_sim *sim, const char *path) {
    uint64_t size = 0;
    assert_non_null(mim_storage_sim_bytes(sim, path, &size));
    return size;
}

static void test_synced_bytes_and_names_survive_the_worst_odds(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    const struct mim_sim_crash_odds worst[] = {all_lost, all_zeroed, all_garbled, mixed};
    (void)durable_file(s, "a", 'a', 3000);
    uint64_t hash = mim_storage_sim_hash(sim);
    for (size_t i = 0; i < sizeof(worst) / sizeof(worst[0]); i++) {
        mim_storage_sim_crash(sim, worst[i]);
        assert_true(hash == mim_storage_sim_hash(sim));
    }
}

static void test_kind_odds_keep_everything(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = durable_file(s, "a", 'a', 3000);
    write_fill(s, file, 'b', 2000, 2000);
    CHECK(mim_storage_make_dir(s, "d", e));
    mim_file_close(s, create_file(s, "d/new"));
    CHECK(mim_storage_rename(s, "a", "b", e));
    uint64_t hash = mim_storage_sim_hash(sim);
    mim_storage_sim_crash(sim, all_kept);
    assert_true(hash == mim_storage_sim_hash(sim));
    mim_storage_sim_crash(sim, all_lost); /* what a cut left behind is durable */
    assert_true(hash == mim_storage_sim_hash(sim));
}

static void test_dropped_sectors_hold_their_old_bytes(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = durable_file(s, "a", 'a', 4 * SECTOR);
    write_fill(s, file, 'b', 2 * SECTOR, SECTOR);
    expect_fill(sim, "a", 'b', SECTOR, 3 * SECTOR);
    mim_storage_sim_crash(sim, all_lost);
    expect_fill(sim, "a", 'a', 0, 4 * SECTOR);
}

static void test_zeroed_and_garbled_sectors_touch_written_bytes_only(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = durable_file(s, "a", 'a', 4 * SECTOR);
    write_fill(s, file, 'b', 100, SECTOR + 50);
    mim_storage_sim_crash(sim, all_zeroed);
    expect_fill(sim, "a", 'a', 0, SECTOR + 50);
    expect_fill(sim, "a", 0, SECTOR + 50, SECTOR + 150);
    expect_fill(sim, "a", 'a', SECTOR + 150, 4 * SECTOR);
    file = open_file(s, "a", MIM_OPEN_WRITE);
    write_fill(s, file, 'c', 200, 3 * SECTOR);
    mim_storage_sim_crash(sim, all_garbled);
    expect_fill(sim, "a", 'a', 2 * SECTOR, 3 * SECTOR);
    expect_fill(sim, "a", 'a', 3 * SECTOR + 200, 4 * SECTOR);
    uint64_t size = 0;
    const uint8_t *bytes = mim_storage_sim_bytes(sim, "a", &size);
    unsigned kept = 0;
    for (uint64_t i = 0; i < 200; i++) {
        kept += bytes[3 * SECTOR + i] == 'c';
    }
    assert_true(kept < 20);
}

static void test_each_pending_sector_has_its_own_fate_by_the_odds(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    const unsigned count = 4000;
    const struct mim_sim_crash_odds odds = {100, 200, 300, 0};
    mim_file_t file = durable_file(s, "a", 'a', (size_t)count * SECTOR);
    write_fill(s, file, 'b', (size_t)count * SECTOR, 0);
    mim_storage_sim_crash(sim, odds);
    uint64_t size = 0;
    const uint8_t *bytes = mim_storage_sim_bytes(sim, "a", &size);
    unsigned dropped = 0;
    unsigned zeroed = 0;
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *sector = bytes + (size_t)i * SECTOR;
        bool whole = memcmp(sector, sector + 1, SECTOR - 1) == 0;
        dropped += whole && sector[0] == 'a';
        zeroed += whole && sector[0] == 0;
        kept += whole && sector[0] == 'b';
    }
    assert_in_range(dropped, 300, 500);
    assert_in_range(zeroed, 670, 930);
    assert_in_range(kept, 1450, 1750); /* 400 per mille, the rest */
}

static void test_the_same_seed_crashes_the_same_way(void **state) {
    (void)state;
    uint64_t hashes[3];
    const uint64_t seeds[3] = {5, 5, 6};
    for (int i = 0; i < 3; i++) {
        struct mim_storage_sim *sim = mim_storage_sim_new(seeds[i]);
        struct mim_storage s = mim_storage_sim_storage(sim);
        mim_file_t file = durable_file(s, "a", 'a', 64 * SECTOR);
        write_fill(s, file, 'b', 64 * SECTOR, 0);
        mim_storage_sim_crash(sim, mixed);
        hashes[i] = mim_storage_sim_hash(sim);
        (void)mim_storage_sim_free(sim);
    }
    assert_true(hashes[0] == hashes[1]);
    assert_true(hashes[0] != hashes[2]);
}

/* ----------------------------------------------------------------- sizes */

static void test_growth_that_was_not_synced_may_be_undone(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = durable_file(s, "a", 'a', 700);
    write_fill(s, file, 'b', 1000, 700);
    mim_storage_sim_crash(sim, all_lost);
    assert_int_equal(size_of(sim, "a"), 700);
    expect_fill(sim, "a", 'a', 0, 700);
}

static void test_growth_without_its_bytes_reads_as_zeros(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    const struct mim_sim_crash_odds data_lost = {1000, 0, 0, 0};
    mim_file_t file = durable_file(s, "a", 'a', 700);
    write_fill(s, file, 'b', 1000, 700);
    mim_storage_sim_crash(sim, data_lost);
    assert_int_equal(size_of(sim, "a"), 1700);
    expect_fill(sim, "a", 'a', 0, 700);
    expect_fill(sim, "a", 0, 700, 1700);
}

static void test_a_cut_that_was_not_synced_may_be_undone_with_all_its_bytes(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    const struct mim_sim_crash_odds size_lost = {0, 0, 0, 1000};
    mim_file_t file = durable_file(s, "a", 'a', 3000);
    CHECK(mim_file_truncate(s, file, 700, e));
    mim_storage_sim_crash(sim, size_lost);
    assert_int_equal(size_of(sim, "a"), 3000);
    expect_fill(sim, "a", 'a', 0, 3000);
    mim_file_close(s, open_file(s, "a", MIM_OPEN_WRITE | MIM_OPEN_TRUNCATE));
    assert_int_equal(mim_storage_sim_used(sim), 0);
    mim_storage_sim_crash(sim, size_lost);
    assert_int_equal(size_of(sim, "a"), 3000);
    expect_fill(sim, "a", 'a', 0, 3000);
    assert_int_equal(mim_storage_sim_used(sim), 3000);
}

static void test_a_synced_cut_stays_and_what_grows_over_it_is_zeros(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = durable_file(s, "a", 'a', 6 * SECTOR);
    CHECK(mim_file_truncate(s, file, 100, e));
    CHECK(mim_file_truncate(s, file, 6 * SECTOR, e)); /* never synced in between: old bytes must not come back */
    CHECK(mim_file_sync(s, file, e));
    mim_storage_sim_crash(sim, all_lost);
    expect_fill(sim, "a", 'a', 0, 100);
    expect_fill(sim, "a", 0, 100, 6 * SECTOR);
    file = open_file(s, "a", MIM_OPEN_WRITE);
    CHECK(mim_file_truncate(s, file, 50, e));
    CHECK(mim_file_sync(s, file, e));
    mim_storage_sim_crash(sim, all_lost);
    assert_int_equal(size_of(sim, "a"), 50);
    file = open_file(s, "a", MIM_OPEN_WRITE);
    write_fill(s, file, 'b', 1, 2000); /* over a hole */
    CHECK(mim_file_sync(s, file, e));
    mim_storage_sim_crash(sim, all_lost);
    expect_fill(sim, "a", 'a', 0, 50);
    expect_fill(sim, "a", 0, 50, 2000);
    expect_fill(sim, "a", 'b', 2000, 2001);
}

static void test_preallocation_is_durable_when_it_returns(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = create_file(s, "a");
    CHECK(mim_storage_sync_dir(s, ".", e));
    CHECK(mim_file_preallocate(s, file, 10 * SECTOR, e));
    mim_storage_sim_crash(sim, all_lost);
    assert_int_equal(size_of(sim, "a"), 10 * SECTOR);
    expect_fill(sim, "a", 0, 0, 10 * SECTOR);
    file = open_file(s, "a", MIM_OPEN_WRITE);
    write_fill(s, file, 'b', 100, 0);
    mim_storage_sim_crash(sim, all_lost); /* an overwrite needs no metadata: the size stays */
    assert_int_equal(size_of(sim, "a"), 10 * SECTOR);
    assert_int_equal(mim_storage_sim_used(sim), 10 * SECTOR);
}

/* ----------------------------------------------------------- failed syncs */

static void test_after_a_failed_sync_the_next_one_lies(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = durable_file(s, "a", 'a', 4 * SECTOR);
    write_fill(s, file, 'b', 4 * SECTOR, 0);
    mim_storage_sim_fail_nth_of(sim, MIM_SIM_SYNC, 1, MIM_SIM_FAULT_EIO, false);
    CHECK_FAILS(mim_file_sync(s, file, e), MIM_E_IO);
    CHECK(mim_file_sync(s, file, e));          /* says all is well */
    expect_fill(sim, "a", 'b', 0, 4 * SECTOR); /* and reads agree */
    mim_storage_sim_crash(sim, all_kept);      /* even the kindest cut */
    expect_fill(sim, "a", 'a', 0, 4 * SECTOR); /* shows the loss */
}

static void test_writes_after_a_failed_sync_do_not_bring_the_lost_sectors_back(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = create_file(s, "a");
    CHECK(mim_storage_sync_dir(s, ".", e));
    write_fill(s, file, 'b', 4 * SECTOR, 0);
    mim_storage_sim_fail_nth_of(sim, MIM_SIM_SYNC, 1, MIM_SIM_FAULT_ENOSPC, false);
    CHECK_FAILS(mim_file_sync(s, file, e), MIM_E_NO_SPACE);
    write_fill(s, file, 'c', SECTOR, 4 * SECTOR);
    CHECK(mim_file_sync(s, file, e));
    mim_storage_sim_crash(sim, all_lost);
    assert_int_equal(size_of(sim, "a"), 5 * SECTOR);
    expect_fill(sim, "a", 0, 0, 4 * SECTOR); /* a hole in the middle of acknowledged bytes */
    expect_fill(sim, "a", 'c', 4 * SECTOR, 5 * SECTOR);
}

static void test_growth_under_a_failed_sync_may_be_undone(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = durable_file(s, "a", 'a', 100);
    write_fill(s, file, 'b', 1000, 100);
    mim_storage_sim_fail_nth_of(sim, MIM_SIM_SYNC, 1, MIM_SIM_FAULT_EIO, false);
    CHECK_FAILS(mim_file_sync(s, file, e), MIM_E_IO);
    mim_storage_sim_crash(sim, all_lost);
    assert_int_equal(size_of(sim, "a"), 100);
}

/* ------------------------------------------------------------------ names */

static void test_a_new_name_needs_a_sync_of_its_directory(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = create_file(s, "a");
    write_text(s, file, "text", 0);
    CHECK(mim_file_sync(s, file, e)); /* the bytes, not the name */
    struct mim_storage_sim *first = sim;
    mim_storage_sim_crash(first, all_lost);
    assert_false(exists(s, "a"));
    file = create_file(s, "a");
    write_text(s, file, "text", 0);
    CHECK(mim_file_sync(s, file, e));
    CHECK(mim_storage_sync_dir(s, ".", e));
    mim_storage_sim_crash(sim, all_lost);
    expect_text(s, "a", "text");
}

static void test_a_rename_without_a_directory_sync_may_be_undone_whole(void **state) {
    (void)state;
    unsigned undone = 0;
    unsigned done = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct mim_storage_sim *sim = mim_storage_sim_new(seed);
        struct mim_storage s = mim_storage_sim_storage(sim);
        (void)durable_file(s, "new", 'n', 10);
        (void)durable_file(s, "old", 'o', 10);
        CHECK(mim_storage_rename(s, "new", "old", e));
        mim_storage_sim_crash(sim, mixed);
        if (exists(s, "new")) { /* never one name for both, never none for one */
            expect_fill(sim, "new", 'n', 0, 10);
            expect_fill(sim, "old", 'o', 0, 10);
            undone++;
        } else {
            expect_fill(sim, "old", 'n', 0, 10);
            done++;
        }
        (void)mim_storage_sim_free(sim);
    }
    assert_true(undone > 25 && done > 25);
}

static void test_a_synced_rename_stays(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    (void)durable_file(s, "new", 'n', 10);
    (void)durable_file(s, "old", 'o', 10);
    CHECK(mim_storage_rename(s, "new", "old", e));
    CHECK(mim_storage_sync_dir(s, ".", e));
    mim_storage_sim_crash(sim, all_lost);
    assert_false(exists(s, "new"));
    expect_fill(sim, "old", 'n', 0, 10);
}

static void test_a_rename_does_not_sync_the_bytes_it_names(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    (void)durable_file(s, "old", 'o', 10);
    mim_file_t file = create_file(s, "new");
    write_fill(s, file, 'n', 10, 0);
    CHECK(mim_storage_rename(s, "new", "old", e));
    CHECK(mim_storage_sync_dir(s, ".", e));
    mim_storage_sim_crash(sim, all_lost);
    assert_int_equal(size_of(sim, "old"), 0); /* the classic empty file */
}

static void test_a_removal_without_a_directory_sync_may_be_undone(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    (void)durable_file(s, "a", 'a', 10);
    CHECK(mim_storage_remove(s, "a", e));
    mim_storage_sim_crash(sim, all_lost);
    expect_fill(sim, "a", 'a', 0, 10);
    CHECK(mim_storage_remove(s, "a", e));
    CHECK(mim_storage_sync_dir(s, ".", e));
    mim_storage_sim_crash(sim, all_lost);
    assert_false(exists(s, "a"));
}

static void test_a_directory_sync_is_for_that_directory_alone(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    CHECK(mim_storage_make_dir(s, "d", e));
    CHECK(mim_storage_make_dir(s, "x", e));
    mim_file_close(s, create_file(s, "d/a"));
    mim_file_close(s, create_file(s, "x/a"));
    mim_file_close(s, create_file(s, "b"));
    CHECK(mim_storage_sync_dir(s, "d", e)); /* and its own entry */
    mim_storage_sim_crash(sim, all_lost);
    assert_true(exists(s, "d/a"));
    assert_false(exists(s, "b"));
    CHECK_FAILS(mim_storage_sync_dir(s, "x", e), MIM_E_NOT_FOUND);
}

static void test_a_rename_between_directories_is_durable_with_either(void **state) {
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct mim_storage_sim *sim = mim_storage_sim_new(1);
        struct mim_storage s = mim_storage_sim_storage(sim);
        CHECK(mim_storage_make_dir(s, "d", e));
        (void)durable_file(s, "a", 'a', 10);
        CHECK(mim_storage_rename(s, "a", "d/a", e));
        CHECK(mim_storage_sync_dir(s, side == 0 ? "." : "d", e));
        mim_storage_sim_crash(sim, all_lost);
        assert_false(exists(s, "a"));
        expect_fill(sim, "d/a", 'a', 0, 10);
        (void)mim_storage_sim_free(sim);
    }
}

static void test_nothing_stands_in_a_directory_that_is_gone(void **state) {
    (void)state;
    unsigned orphans = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct mim_storage_sim *sim = mim_storage_sim_new(seed);
        struct mim_storage s = mim_storage_sim_storage(sim);
        CHECK(mim_storage_make_dir(s, "d", e));
        CHECK(mim_storage_make_dir(s, "d/e", e));
        mim_file_close(s, create_file(s, "d/e/a"));
        mim_file_close(s, create_file(s, "d/b"));
        mim_storage_sim_crash(sim, mixed);
        bool d = mim_storage_sync_dir(s, "d", NULL) == 0;
        bool inner = mim_storage_sync_dir(s, "d/e", NULL) == 0;
        assert_true(d || !inner);
        assert_true(inner || !exists(s, "d/e/a"));
        assert_true(d || !exists(s, "d/b"));
        orphans += !d;
        (void)mim_storage_sim_free(sim);
    }
    assert_in_range(orphans, 60, 140);
}

static void test_a_name_used_twice_between_syncs_ends_as_one_of_its_lives(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct mim_storage_sim *sim = mim_storage_sim_new(seed);
        struct mim_storage s = mim_storage_sim_storage(sim);
        (void)durable_file(s, "a", '1', 10);
        CHECK(mim_storage_remove(s, "a", e));
        mim_file_t file = open_file(s, "a", MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_EXCLUSIVE);
        write_fill(s, file, '2', 10, 0);
        CHECK(mim_file_sync(s, file, e));
        mim_storage_sim_crash(sim, mixed);
        if (exists(s, "a")) {
            uint64_t size = 0;
            const uint8_t *bytes = mim_storage_sim_bytes(sim, "a", &size);
            assert_int_equal(size, 10);
            expect_fill(sim, "a", bytes[0] == '1' ? '1' : '2', 0, 10);
        }
        (void)mim_storage_sim_free(sim);
    }
}

static void test_handles_and_locks_end_with_the_power(void **state) {
    struct mim_storage_sim *sim = *state;
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = durable_file(s, "a", 'a', 10);
    mim_file_t lock = 0;
    char byte;
    size_t read_size = 77;
    uint64_t size = 77;
    CHECK(mim_storage_lock(s, "lock", &lock, e));
    mim_storage_sim_crash(sim, all_kept);
    CHECK_FAILS(mim_file_pread(s, file, &byte, 1, 0, &read_size, e), MIM_E_IO);
    CHECK_FAILS(mim_file_pwrite(s, file, "x", 1, 0, e), MIM_E_IO);
    CHECK_FAILS(mim_file_sync(s, file, e), MIM_E_IO);
    CHECK_FAILS(mim_file_size(s, file, &size, e), MIM_E_IO);
    CHECK_FAILS(mim_file_truncate(s, file, 0, e), MIM_E_IO);
    CHECK_FAILS(mim_file_preallocate(s, file, 1, e), MIM_E_IO);
    assert_int_equal(read_size, 77);
    assert_int_equal(size, 77);
    CHECK(mim_storage_lock(s, "lock", &lock, e));
    expect_fill(sim, "a", 'a', 0, 10);
}

/* ------------------------------------------------- the whole against a model */

/** Random writes, cuts and syncs; after each crash every byte must be one that stood there since the last sync, or what
 *  the odds allow: zero or, where it was written, anything. Sizes likewise. */
static void crash_round(uint64_t seed) {
    enum { SIZE_MAX_ROUND = 8 * SECTOR };
    const struct mim_sim_crash_odds odds = {400, 200, 0, 300};
    struct mim_prng prng;
    mim_prng_init(&prng, seed);
    struct mim_storage_sim *sim = mim_storage_sim_new(seed);
    struct mim_storage s = mim_storage_sim_storage(sim);
    mim_file_t file = durable_file(s, "a", 'z', 0);
    static bool possible[SIZE_MAX_ROUND][256]; /* by byte: values it had since the last sync */
    bool sizes[SIZE_MAX_ROUND + 1] = {true};
    uint8_t now[SIZE_MAX_ROUND] = {0};
    uint64_t size = 0;
    memset(possible, 0, sizeof(possible));
    for (unsigned step = 0; step < 40; step++) {
        uint64_t at = mim_prng_below(&prng, SIZE_MAX_ROUND);
        uint64_t count = mim_prng_below(&prng, SIZE_MAX_ROUND - at) + 1;
        char value = (char)('A' + step);
        switch (mim_prng_below(&prng, 6)) {
        case 0:
            CHECK(mim_file_truncate(s, file, at, e));
            memset(now + at, 0, sizeof(now) - at);
            size = at;
            break;
        case 1:
            CHECK(mim_file_sync(s, file, e));
            memset(possible, 0, sizeof(possible));
            memset(sizes, 0, sizeof(sizes));
            break;
        default:
            write_fill(s, file, value, count, at);
            memset(now + at, value, count);
            size = at + count > size ? at + count : size;
        }
        sizes[size] = true;
        for (uint64_t i = 0; i < SIZE_MAX_ROUND; i++) {
            possible[i][now[i]] = true;
        }
    }
    uint64_t seen_size = 0;
    const uint8_t *seen = mim_storage_sim_bytes(sim, "a", &seen_size);
    assert_int_equal(seen_size, size);
    assert_memory_equal(seen, now, size);
    mim_storage_sim_crash(sim, odds);
    seen = mim_storage_sim_bytes(sim, "a", &seen_size);
    assert_true(seen_size <= SIZE_MAX_ROUND && sizes[seen_size]);
    for (uint64_t i = 0; i < seen_size; i++) {
        unsigned count = 0;
        for (unsigned v = 0; v < 256; v++) {
            count += possible[i][v];
        }
        bool zeroed = seen[i] == 0 && count > 1;
        if (!possible[i][seen[i]] && !zeroed) {
            fail_msg("seed %llu: byte %llu holds %d, which never stood there", (unsigned long long)seed,
                     (unsigned long long)i, seen[i]);
        }
    }
    (void)mim_storage_sim_free(sim);
}

static void test_after_random_histories_every_byte_is_one_that_stood_there(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        crash_round(seed);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_synced_bytes_and_names_survive_the_worst_odds),
        TEST(test_kind_odds_keep_everything),
        TEST(test_dropped_sectors_hold_their_old_bytes),
        TEST(test_zeroed_and_garbled_sectors_touch_written_bytes_only),
        TEST(test_each_pending_sector_has_its_own_fate_by_the_odds),
        TEST(test_the_same_seed_crashes_the_same_way),
        TEST(test_growth_that_was_not_synced_may_be_undone),
        TEST(test_growth_without_its_bytes_reads_as_zeros),
        TEST(test_a_cut_that_was_not_synced_may_be_undone_with_all_its_bytes),
        TEST(test_a_synced_cut_stays_and_what_grows_over_it_is_zeros),
        TEST(test_preallocation_is_durable_when_it_returns),
        TEST(test_after_a_failed_sync_the_next_one_lies),
        TEST(test_writes_after_a_failed_sync_do_not_bring_the_lost_sectors_back),
        TEST(test_growth_under_a_failed_sync_may_be_undone),
        TEST(test_a_new_name_needs_a_sync_of_its_directory),
        TEST(test_a_rename_without_a_directory_sync_may_be_undone_whole),
        TEST(test_a_synced_rename_stays),
        TEST(test_a_rename_does_not_sync_the_bytes_it_names),
        TEST(test_a_removal_without_a_directory_sync_may_be_undone),
        TEST(test_a_directory_sync_is_for_that_directory_alone),
        TEST(test_a_rename_between_directories_is_durable_with_either),
        TEST(test_nothing_stands_in_a_directory_that_is_gone),
        TEST(test_a_name_used_twice_between_syncs_ends_as_one_of_its_lives),
        TEST(test_handles_and_locks_end_with_the_power),
        TEST(test_after_random_histories_every_byte_is_one_that_stood_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
