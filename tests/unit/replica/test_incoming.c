// SPDX-License-Identifier: MIT
// A standby's first copy: pulled in pieces, resumed after any interruption, installed whole or not at all.
#include "replica_support.h"

#include "replica/incoming.h"

#define FIRST  "journal/00000000000000000001.journal"
#define SECOND "journal/00000000000000000900.journal"

struct source {
    const char *path;
    uint64_t size, allocated;
};
static const struct source files[] = {
    {"snapshots/00000000000000000500.snapshot", 700000, 700000},
    {FIRST, 3u << 18, 3u << 18},
    {SECOND, 300001, 400000},
};
#define FILES (sizeof(files) / sizeof(files[0]))

static uint8_t byte_of(const char *path, uint64_t offset) {
    return (uint8_t)(path[strlen(path) - 12] * 7 + (char)(offset * 13 + (offset >> 8)));
}

static void copy_begin(struct mim_incoming *incoming, struct mim_storage storage, const char *source) {
    struct mim_error error = {0};
    build_ok(mim_incoming_begin(incoming, storage, source, &error), &error);
    for (size_t i = 0; i < FILES; i++) {
        char entry[128];
        (void)snprintf(entry, sizeof(entry), "%s %" PRIu64 " %" PRIu64, files[i].path, files[i].size,
                       files[i].allocated);
        build_ok(mim_incoming_add(incoming, mim_slice_text(entry), &error), &error);
    }
    build_ok(mim_incoming_start(incoming, &error), &error);
}

/** Brings up to `pieces` pieces; true when all is there. */
static bool copy_some(struct mim_incoming *incoming, unsigned pieces, struct mim_error *error, int *ret_rc) {
    static uint8_t piece[MIM_INCOMING_PIECE];
    struct {
        const char *path;
        uint64_t offset;
        uint32_t size;
    } asked[MIM_INCOMING_WINDOW];
    size_t count = 0;
    *ret_rc = 0;
    while (!mim_incoming_complete(incoming) && pieces > 0) {
        while (count < MIM_INCOMING_WINDOW &&
               mim_incoming_ask(incoming, &asked[count].path, &asked[count].offset, &asked[count].size)) {
            count++;
        }
        assert_true(count > 0);
        for (uint32_t i = 0; i < asked[0].size; i++) {
            piece[i] = byte_of(asked[0].path, asked[0].offset + i);
        }
        *ret_rc = mim_incoming_put(incoming, mim_slice_of(piece, asked[0].size), error);
        if (*ret_rc != 0) {
            return false;
        }
        memmove(asked, asked + 1, (count - 1) * sizeof(asked[0]));
        count--;
        pieces--;
    }
    return mim_incoming_complete(incoming);
}

/** Brings what is left, and installs it. */
static void copy_rest(struct mim_incoming *incoming, struct mim_storage storage) {
    struct mim_error error = {0};
    int rc = 0;
    bool installed = false;
    assert_true(copy_some(incoming, 1000, &error, &rc));
    build_ok(mim_incoming_finish(incoming, &error), &error);
    mim_incoming_end(incoming);
    build_ok(mim_incoming_install(storage, &installed, &error), &error);
    assert_true(installed);
}

static void assert_installed(struct mim_storage_sim *sim) {
    for (size_t i = 0; i < FILES; i++) {
        uint64_t size = 0;
        const uint8_t *bytes = mim_storage_sim_bytes(sim, files[i].path, &size);
        assert_non_null(bytes);
        assert_int_equal(size, files[i].allocated);
        for (uint64_t k = 0; k < size; k++) {
            assert_int_equal(bytes[k], k < files[i].size ? byte_of(files[i].path, k) : 0);
        }
    }
}

static void test_names(void **state) {
    (void)state;
    assert_true(mim_incoming_path_valid(mim_slice_text(FIRST)));
    static const char *const bad[] = {"journal/mark",
                                      "/etc/passwd",
                                      "journal/../../../../../x.journal",
                                      "journal/0000000000000000000x.journal",
                                      "journal/00000000000000000001.journals",
                                      "snapshots/00000000000000000001.journal",
                                      ""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(mim_incoming_path_valid(mim_slice_text(bad[i])));
    }
    struct mim_storage_sim *sim = mim_storage_sim_new(1);
    struct mim_incoming incoming;
    struct mim_error error = {0};
    build_ok(mim_incoming_begin(&incoming, mim_storage_sim_storage(sim), "x", &error), &error);
    static const char *const entries[] = {FIRST,          FIRST " 5", FIRST " 5 4",  FIRST " 0 0",
                                          FIRST " 5 5 5", "x 5 5",    FIRST " -1 5", FIRST " 5 99999999999999999"};
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        assert_int_equal(mim_incoming_add(&incoming, mim_slice_text(entries[i]), &error), MIM_E_INVALID);
    }
    mim_incoming_end(&incoming);
    (void)mim_storage_sim_free(sim);
}

static void test_interrupted_after_every_piece(void **state) {
    (void)state;
    for (unsigned pieces = 0; pieces < 9; pieces++) {
        struct mim_storage_sim *sim = mim_storage_sim_new(pieces);
        struct mim_storage storage = mim_storage_sim_storage(sim);
        struct mim_error error = {0};
        int rc = 0;
        bool installed = true;
        struct mim_incoming incoming;
        copy_begin(&incoming, storage, "run-1");
        (void)copy_some(&incoming, pieces, &error, &rc);
        mim_incoming_end(&incoming);
        build_ok(mim_incoming_install(storage, &installed, &error), &error);
        assert_false(installed);
        copy_begin(&incoming, storage, "run-1");
        if (pieces >= 3) {
            assert_true(incoming.bytes_resumed > 0);
        }
        copy_rest(&incoming, storage);
        assert_installed(sim);
        (void)mim_storage_sim_free(sim);
    }
}

static void test_another_source_begins_anew(void **state) {
    (void)state;
    struct mim_storage_sim *sim = mim_storage_sim_new(3);
    struct mim_error error = {0};
    int rc = 0;
    struct mim_incoming incoming;
    copy_begin(&incoming, mim_storage_sim_storage(sim), "run-1");
    (void)copy_some(&incoming, 5, &error, &rc);
    mim_incoming_end(&incoming);
    copy_begin(&incoming, mim_storage_sim_storage(sim), "run-2");
    assert_int_equal(incoming.bytes_resumed, 0);
    mim_incoming_end(&incoming);
    (void)mim_storage_sim_free(sim);
}

/** Wherever a sync fails: what it left in the page cache is not taken for a copy by the next try. */
static void test_a_failed_sync_leaves_no_copy(void **state) {
    (void)state;
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        struct mim_storage_sim *sim = mim_storage_sim_new(nth);
        struct mim_storage storage = mim_storage_sim_storage(sim);
        struct mim_error error = {0};
        int rc = 0;
        struct mim_incoming incoming;
        copy_begin(&incoming, storage, "run-1"); /* the note's sync is not meant */
        mim_storage_sim_fail_nth_of(sim, MIM_SIM_SYNC, nth, MIM_SIM_FAULT_EIO, false);
        (void)copy_some(&incoming, 1000, &error, &rc);
        rc = rc != 0 ? rc : mim_incoming_finish(&incoming, &error);
        failed = rc != 0;
        mim_incoming_end(&incoming);
        mim_storage_sim_clear_faults(sim);
        copy_begin(&incoming, storage, "run-1");
        copy_rest(&incoming, storage);
        mim_storage_sim_crash(sim, (struct mim_sim_crash_odds){.drop_per_mille = 1000});
        assert_installed(sim);
        (void)mim_storage_sim_free(sim);
    }
}

/** The last segment goes on while it is copied: the room behind it is not taken for its bytes when they are there. */
static void test_a_segment_that_has_grown(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1000, 1064};
    struct mim_storage_sim *sim = mim_storage_sim_new(5);
    struct mim_storage storage = mim_storage_sim_storage(sim);
    struct mim_error error = {0};
    bool installed = false;
    for (size_t i = 0; i < 2; i++) {
        char entry[128];
        int rc = 0;
        struct mim_incoming incoming;
        build_ok(mim_incoming_begin(&incoming, storage, "run-1", &error), &error);
        (void)snprintf(entry, sizeof(entry), FIRST " %" PRIu64 " 1064", sizes[i]);
        build_ok(mim_incoming_add(&incoming, mim_slice_text(entry), &error), &error);
        build_ok(mim_incoming_start(&incoming, &error), &error);
        assert_true(copy_some(&incoming, 10, &error, &rc));
        if (i == 1) {
            build_ok(mim_incoming_finish(&incoming, &error), &error);
        }
        mim_incoming_end(&incoming);
    }
    build_ok(mim_incoming_install(storage, &installed, &error), &error);
    uint64_t size = 0;
    const uint8_t *bytes = mim_storage_sim_bytes(sim, FIRST, &size);
    assert_int_equal(size, 1064);
    for (uint64_t k = 0; k < size; k++) {
        assert_int_equal(bytes[k], byte_of(FIRST, k));
    }
    (void)mim_storage_sim_free(sim);
}

static void old_file(struct mim_storage storage, const char *path) {
    struct mim_error error = {0};
    mim_file_t file = 0;
    build_ok(mim_storage_make_dir(storage, "journal", &error), &error);
    build_ok(mim_file_open(storage, path, MIM_OPEN_WRITE | MIM_OPEN_CREATE, &file, &error), &error);
    build_ok(mim_file_pwrite(storage, file, "old", 3, 0, &error), &error);
    build_ok(mim_file_sync(storage, file, &error), &error);
    mim_file_close(storage, file);
    build_ok(mim_storage_sync_dir(storage, "journal", &error), &error);
}

/** Power is cut at the n-th call of the installing; installing again must end the same. */
static bool install_cut_short(uint64_t nth) {
    struct mim_storage_sim *sim = mim_storage_sim_new(nth);
    struct mim_storage storage = mim_storage_sim_storage(sim);
    struct mim_error error = {0};
    int rc = 0;
    bool installed = false;
    struct mim_incoming incoming;
    old_file(storage, FIRST);
    old_file(storage, "journal/mark");
    copy_begin(&incoming, storage, "run-1");
    assert_true(copy_some(&incoming, 1000, &error, &rc));
    build_ok(mim_incoming_finish(&incoming, &error), &error);
    mim_incoming_end(&incoming);
    mim_storage_sim_fail_nth(sim, nth, MIM_SIM_FAULT_CRASH, true);
    bool cut_short = mim_incoming_install(storage, &installed, &error) != 0;
    mim_storage_sim_crash(sim, (struct mim_sim_crash_odds){.drop_per_mille = 500, .entry_drop_per_mille = 500});
    build_ok(mim_incoming_install(storage, &installed, &error), &error);
    uint64_t size = 0;
    assert_installed(sim);
    assert_null(mim_storage_sim_bytes(sim, "journal/mark", &size));
    build_ok(mim_incoming_install(storage, &installed, &error), &error);
    assert_false(installed);
    (void)mim_storage_sim_free(sim);
    return cut_short;
}

static void test_power_cuts_while_installing(void **state) {
    (void)state;
    uint64_t nth = 1;
    while (install_cut_short(nth)) {
        nth++;
    }
    assert_true(nth > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_interrupted_after_every_piece),
        cmocka_unit_test(test_another_source_begins_anew),
        cmocka_unit_test(test_a_failed_sync_leaves_no_copy),
        cmocka_unit_test(test_a_segment_that_has_grown),
        cmocka_unit_test(test_power_cuts_while_installing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
