// SPDX-License-Identifier: MIT
// The rules of storage.h, held to by the machine's files and by the simulated disk alike: each test runs on both.
#include "storage_support.h"

#include <sys/wait.h>

struct fixture {
    char path[64];
    struct mim_storage storage;
    struct mim_storage_sim *sim; /* NULL: the machine */
};

static int setup_posix(void **state) {
    struct fixture *f = test_calloc(1, sizeof(*f));
    make_directory(f->path);
    CHECK(mim_storage_posix_open(f->path, false, &f->storage, e));
    *state = f;
    return 0;
}

static int setup_sim(void **state) {
    struct fixture *f = test_calloc(1, sizeof(*f));
    f->sim = mim_storage_sim_new(1);
    f->storage = mim_storage_sim_storage(f->sim);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    if (f->sim == NULL) {
        mim_storage_posix_close(&f->storage);
        remove_directory(f->path);
    }
    f->sim = mim_storage_sim_free(f->sim);
    test_free(f);
    return 0;
}

static struct mim_storage storage_of(void **state) { return ((struct fixture *)*state)->storage; }

static void test_what_is_written_is_read_back(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = create_file(s, "a");
    write_text(s, file, "hello world", 0);
    write_text(s, file, "W", 6);
    mim_file_close(s, file);
    expect_text(s, "a", "hello World");
}

static void test_a_missing_file_is_not_found_and_the_result_untouched(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = 77;
    CHECK_FAILS(mim_file_open(s, "none", MIM_OPEN_READ, &file, e), MIM_E_NOT_FOUND);
    CHECK_FAILS(mim_file_open(s, "none", MIM_OPEN_WRITE, &file, e), MIM_E_NOT_FOUND);
    CHECK_FAILS(mim_file_open(s, "no/such", MIM_OPEN_WRITE | MIM_OPEN_CREATE, &file, e), MIM_E_NOT_FOUND);
    assert_int_equal(mim_file_open(s, "none", MIM_OPEN_READ, &file, NULL), MIM_E_NOT_FOUND);
    assert_int_equal(file, 77);
}

static void test_the_message_of_a_failure_names_the_file(void **state) {
    struct mim_storage s = storage_of(state);
    struct mim_error error = {0};
    mim_file_t file = 0;
    assert_int_equal(mim_file_open(s, "none", MIM_OPEN_READ, &file, &error), MIM_E_NOT_FOUND);
    assert_non_null(strstr(error.text, "none"));
    assert_int_equal(mim_storage_rename(s, "old", "new", &error), MIM_E_NOT_FOUND);
    assert_non_null(strstr(error.text, "old"));
}

static void test_exclusive_creation_refuses_an_existing_file(void **state) {
    struct mim_storage s = storage_of(state);
    const unsigned flags = MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_EXCLUSIVE;
    mim_file_t file = open_file(s, "a", flags);
    write_text(s, file, "kept", 0);
    mim_file_t second = 77;
    CHECK_FAILS(mim_file_open(s, "a", flags, &second, e), MIM_E_EXISTS);
    assert_int_equal(second, 77);
    mim_file_close(s, file);
    expect_text(s, "a", "kept");
}

static void test_creation_keeps_and_truncation_empties_an_existing_file(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = create_file(s, "a");
    write_text(s, file, "first", 0);
    mim_file_close(s, file);
    mim_file_close(s, create_file(s, "a"));
    expect_text(s, "a", "first");
    mim_file_close(s, open_file(s, "a", MIM_OPEN_WRITE | MIM_OPEN_TRUNCATE));
    expect_text(s, "a", "");
    mim_file_close(s, open_file(s, "a", MIM_OPEN_WRITE | MIM_OPEN_TRUNCATE)); /* empty already */
    expect_text(s, "a", "");
}

static void test_reads_are_short_at_the_end_and_empty_beyond(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = create_file(s, "a");
    char bytes[16];
    size_t size = 77;
    CHECK(mim_file_pread(s, file, bytes, sizeof(bytes), 0, &size, e));
    assert_int_equal(size, 0);
    write_text(s, file, "0123456789", 0);
    CHECK(mim_file_pread(s, file, bytes, sizeof(bytes), 7, &size, e));
    assert_int_equal(size, 3);
    assert_memory_equal(bytes, "789", 3);
    CHECK(mim_file_pread(s, file, bytes, sizeof(bytes), 10, &size, e));
    assert_int_equal(size, 0);
    CHECK(mim_file_pread(s, file, bytes, sizeof(bytes), UINT64_C(1) << 40, &size, e));
    assert_int_equal(size, 0);
    CHECK(mim_file_pread(s, file, bytes, 0, 0, &size, e));
    assert_int_equal(size, 0);
    mim_file_close(s, file);
}

static void test_a_hole_reads_as_zeros(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = create_file(s, "a");
    write_text(s, file, "x", 10000);
    uint64_t size = 0;
    CHECK(mim_file_size(s, file, &size, e));
    assert_int_equal(size, 10001);
    char bytes[10001];
    size_t read_size = 0;
    CHECK(mim_file_pread(s, file, bytes, sizeof(bytes), 0, &read_size, e));
    assert_int_equal(read_size, 10001);
    for (size_t i = 0; i < 10000; i++) {
        assert_int_equal(bytes[i], 0);
    }
    assert_int_equal(bytes[10000], 'x');
    mim_file_close(s, file);
}

static void test_what_was_cut_off_never_comes_back(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = create_file(s, "a");
    char bytes[3000];
    memset(bytes, 'x', sizeof(bytes));
    CHECK(mim_file_pwrite(s, file, bytes, sizeof(bytes), 0, e));
    CHECK(mim_file_sync(s, file, e));
    CHECK(mim_file_truncate(s, file, 100, e));
    CHECK(mim_file_truncate(s, file, sizeof(bytes), e));
    size_t size = 0;
    CHECK(mim_file_pread(s, file, bytes, sizeof(bytes), 0, &size, e));
    assert_int_equal(size, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        assert_int_equal(bytes[i], i < 100 ? 'x' : 0);
    }
    mim_file_close(s, file);
}

static void test_a_write_of_nothing_changes_nothing(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = create_file(s, "a");
    CHECK(mim_file_pwrite(s, file, NULL, 0, 500, e));
    CHECK(mim_file_sync(s, file, e));
    uint64_t size = 77;
    CHECK(mim_file_size(s, file, &size, e));
    assert_int_equal(size, 0);
    mim_file_close(s, file);
}

static void test_preallocation_gives_zeros_of_any_size(void **state) {
    struct mim_storage s = storage_of(state);
    static const uint64_t sizes[] = {0, 1, 4096, (1u << 20) - 1, 1u << 20, (3u << 20) + 5};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        mim_file_t file = open_file(s, "a", MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_TRUNCATE);
        write_text(s, file, "x", 0);
        CHECK(mim_file_preallocate(s, file, sizes[i], e));
        uint64_t size = 0;
        CHECK(mim_file_size(s, file, &size, e));
        assert_int_equal(size, sizes[i] == 0 ? 1 : sizes[i]);
        char bytes[5] = {1, 1, 1, 1, 1};
        size_t take = sizes[i] < sizeof(bytes) ? (size_t)sizes[i] : sizeof(bytes);
        size_t got = 77;
        CHECK(mim_file_pread(s, file, bytes, take, sizes[i] - take, &got, e));
        assert_int_equal(got, take);
        for (size_t k = 0; k < take; k++) {
            assert_int_equal(bytes[k], 0);
        }
        mim_file_close(s, file);
    }
}

static void test_preallocation_never_shortens_a_file(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = create_file(s, "a");
    write_text(s, file, "0123456789", 0);
    CHECK(mim_file_preallocate(s, file, 4, e));
    char bytes[10];
    size_t size = 0;
    CHECK(mim_file_pread(s, file, bytes, sizeof(bytes), 0, &size, e));
    assert_int_equal(size, 10);
    assert_memory_equal(bytes, "\0\0\0\000456789", 10);
    mim_file_close(s, file);
}

static void test_rename_replaces_and_open_handles_follow_the_file(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = create_file(s, "new");
    write_text(s, file, "new", 0);
    mim_file_t old = create_file(s, "old");
    write_text(s, old, "old", 0);
    CHECK(mim_storage_rename(s, "new", "old", e));
    assert_false(exists(s, "new"));
    expect_text(s, "old", "new");
    write_text(s, file, "er", 3);
    expect_text(s, "old", "newer");
    char bytes[8];
    size_t size = 0;
    CHECK(mim_file_pread(s, old, bytes, sizeof(bytes), 0, &size, e)); /* the replaced one lives on in its handle */
    assert_int_equal(size, 3);
    assert_memory_equal(bytes, "old", 3);
    mim_file_close(s, file);
    mim_file_close(s, old);
}

static void test_rename_to_the_same_name_changes_nothing(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = create_file(s, "a");
    write_text(s, file, "kept", 0);
    mim_file_close(s, file);
    CHECK(mim_storage_rename(s, "a", "a", e));
    expect_text(s, "a", "kept");
}

static void test_rename_and_remove_of_what_is_not_there_are_not_found(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_close(s, create_file(s, "a"));
    CHECK_FAILS(mim_storage_rename(s, "none", "b", e), MIM_E_NOT_FOUND);
    CHECK_FAILS(mim_storage_rename(s, "a", "none/b", e), MIM_E_NOT_FOUND);
    CHECK_FAILS(mim_storage_remove(s, "none", e), MIM_E_NOT_FOUND);
    CHECK_FAILS(mim_storage_sync_dir(s, "none", e), MIM_E_NOT_FOUND);
    CHECK_FAILS(mim_storage_make_dir(s, "none/d", e), MIM_E_NOT_FOUND);
    assert_true(exists(s, "a"));
}

static void test_a_removed_file_is_gone_but_for_its_handles(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = create_file(s, "a");
    write_text(s, file, "text", 0);
    CHECK(mim_storage_remove(s, "a", e));
    assert_false(exists(s, "a"));
    char bytes[4];
    size_t size = 0;
    CHECK(mim_file_pread(s, file, bytes, sizeof(bytes), 0, &size, e));
    assert_memory_equal(bytes, "text", 4);
    mim_file_close(s, file);
    mim_file_close(s, open_file(s, "a", MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_EXCLUSIVE));
    expect_text(s, "a", "");
}

static void test_directories_are_made_once_and_hold_files(void **state) {
    struct mim_storage s = storage_of(state);
    CHECK(mim_storage_make_dir(s, "d", e));
    CHECK(mim_storage_make_dir(s, "d", e));
    CHECK(mim_storage_make_dir(s, "d/e", e));
    mim_file_t file = create_file(s, "d/e/f");
    write_text(s, file, "deep", 0);
    mim_file_close(s, file);
    CHECK(mim_storage_sync_dir(s, "d/e", e));
    CHECK(mim_storage_sync_dir(s, "d", e));
    CHECK(mim_storage_sync_dir(s, ".", e));
    CHECK(mim_storage_rename(s, "d/e/f", "d/g", e));
    expect_text(s, "d/g", "deep");
}

static void test_directories_are_no_files(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = 77;
    CHECK(mim_storage_make_dir(s, "d", e));
    CHECK_FAILS(mim_file_open(s, "d", MIM_OPEN_WRITE, &file, e), MIM_E_IO);
    CHECK_FAILS(mim_storage_remove(s, "d", e), MIM_E_IO);
    mim_file_close(s, create_file(s, "a"));
    CHECK_FAILS(mim_storage_rename(s, "a", "d", e), MIM_E_IO);
    assert_int_equal(file, 77);
}

struct listing {
    unsigned count;
    unsigned files;
    unsigned directories;
    int stop_with;
};

static int on_entry(void *context, const char *name, bool is_directory) {
    struct listing *listing = context;
    assert_true(strcmp(name, "d") == 0 ? is_directory
                                       : !is_directory && (strcmp(name, "a") == 0 || strcmp(name, "b") == 0));
    listing->count++;
    listing->files += !is_directory;
    listing->directories += is_directory;
    return listing->stop_with;
}

static void test_a_listing_names_the_direct_entries_once(void **state) {
    struct mim_storage s = storage_of(state);
    struct listing listing = {0};
    CHECK(mim_storage_list(s, ".", on_entry, &listing, e));
    assert_int_equal(listing.count, 0);
    mim_file_close(s, create_file(s, "a"));
    mim_file_close(s, create_file(s, "b"));
    CHECK(mim_storage_make_dir(s, "d", e));
    mim_file_close(s, create_file(s, "d/a"));
    CHECK(mim_storage_list(s, ".", on_entry, &listing, e));
    assert_int_equal(listing.files, 2);
    assert_int_equal(listing.directories, 1);
    listing = (struct listing){0};
    CHECK(mim_storage_list(s, "d", on_entry, &listing, e));
    assert_int_equal(listing.count, 1);
    CHECK_FAILS(mim_storage_list(s, "none", on_entry, &listing, e), MIM_E_NOT_FOUND);
    assert_int_equal(listing.count, 1);
}

static void test_a_listing_ends_when_its_reader_says_so(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_close(s, create_file(s, "a"));
    mim_file_close(s, create_file(s, "b"));
    struct listing listing = {.stop_with = 42};
    assert_int_equal(mim_storage_list(s, ".", on_entry, &listing, NULL), 42);
    assert_int_equal(listing.count, 1);
}

static void test_one_lock_at_a_time(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t lock = 0;
    mim_file_t second = 77;
    CHECK(mim_storage_lock(s, "lock", &lock, e));
    CHECK_FAILS(mim_storage_lock(s, "lock", &second, e), MIM_E_LOCKED);
    assert_int_equal(second, 77);
    mim_file_close(s, lock);
    CHECK(mim_storage_lock(s, "lock", &second, e));
    mim_file_close(s, second);
}

static void test_others_may_ask_whether_it_is_locked(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t lock = 0;
    bool locked = true;
    CHECK(mim_storage_locked(s, "lock", &locked, e)); /* there is no such file yet */
    assert_false(locked);
    CHECK(mim_storage_lock(s, "lock", &lock, e));
    pid_t child = fork();
    if (child == 0) {
        _exit(mim_storage_locked(s, "lock", &locked, NULL) == 0 && locked ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    mim_file_close(s, lock);
    CHECK(mim_storage_locked(s, "lock", &locked, e));
    assert_false(locked);
}

static void test_a_link_is_a_second_name_for_the_same_bytes(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_t file = create_file(s, "a");
    write_text(s, file, "one", 0);
    CHECK(mim_storage_make_dir(s, "d", e));
    CHECK(mim_storage_link(s, "a", s, "d/b", e));
    CHECK(mim_storage_remove(s, "a", e));
    expect_text(s, "d/b", "one");
    mim_file_close(s, file);
    mim_file_close(s, create_file(s, "c"));
    CHECK_FAILS(mim_storage_link(s, "c", s, "d/b", e), MIM_E_EXISTS);
    CHECK_FAILS(mim_storage_link(s, "none", s, "d/e", e), MIM_E_NOT_FOUND);
    struct mim_storage_sim *sim = mim_storage_sim_new(9);
    CHECK_FAILS(mim_storage_link(s, "c", mim_storage_sim_storage(sim), "c", e), MIM_E_STATE);
    (void)mim_storage_sim_free(sim);
}

/** Where blocks cannot be shared nothing happens; where they can, each file goes its own way afterwards. */
static void test_shared_blocks_are_copies(void **state) {
    struct mim_storage s = storage_of(state);
    uint8_t block[8192];
    uint8_t seen[8192];
    size_t size = 0;
    memset(block, 7, sizeof(block));
    mim_file_t from = create_file(s, "from");
    mim_file_t to = create_file(s, "to");
    CHECK(mim_file_pwrite(s, from, block, sizeof(block), 0, e));
    int code = mim_file_share(s, from, to, 4096, 4096, NULL);
    assert_true(code == 0 || code == MIM_E_STATE);
    CHECK(mim_file_pwrite(s, from, "x", 1, 5000, e));
    CHECK(mim_file_pread(s, to, seen, sizeof(seen), 0, &size, e));
    assert_int_equal(size, code == 0 ? 8192 : 0);
    if (code == 0) {
        assert_int_equal(seen[4095], 0);
        assert_memory_equal(seen + 4096, block, 4096);
    }
    mim_file_advise(s, to, 0, 8192, MIM_ADVICE_WRITE_OUT);
    mim_file_advise(s, to, 0, 8192, MIM_ADVICE_WAIT_OUT);
    mim_file_advise(s, to, 0, 8192, MIM_ADVICE_FORGET);
    mim_file_close(s, from);
    mim_file_close(s, to);
}

static void test_a_handle_of_nothing_may_be_closed(void **state) {
    struct mim_storage s = storage_of(state);
    mim_file_close(s, 0);
}

#define BOTH(name) \
    {"machine: " #name, name, setup_posix, teardown, NULL}, { "simulated: " #name, name, setup_sim, teardown, NULL }

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(test_what_is_written_is_read_back),
        BOTH(test_a_missing_file_is_not_found_and_the_result_untouched),
        BOTH(test_the_message_of_a_failure_names_the_file),
        BOTH(test_exclusive_creation_refuses_an_existing_file),
        BOTH(test_creation_keeps_and_truncation_empties_an_existing_file),
        BOTH(test_reads_are_short_at_the_end_and_empty_beyond),
        BOTH(test_a_hole_reads_as_zeros),
        BOTH(test_what_was_cut_off_never_comes_back),
        BOTH(test_a_write_of_nothing_changes_nothing),
        BOTH(test_preallocation_gives_zeros_of_any_size),
        BOTH(test_preallocation_never_shortens_a_file),
        BOTH(test_rename_replaces_and_open_handles_follow_the_file),
        BOTH(test_rename_to_the_same_name_changes_nothing),
        BOTH(test_rename_and_remove_of_what_is_not_there_are_not_found),
        BOTH(test_a_removed_file_is_gone_but_for_its_handles),
        BOTH(test_directories_are_made_once_and_hold_files),
        BOTH(test_directories_are_no_files),
        BOTH(test_a_listing_names_the_direct_entries_once),
        BOTH(test_a_listing_ends_when_its_reader_says_so),
        BOTH(test_one_lock_at_a_time),
        BOTH(test_others_may_ask_whether_it_is_locked),
        BOTH(test_a_link_is_a_second_name_for_the_same_bytes),
        BOTH(test_shared_blocks_are_copies),
        BOTH(test_a_handle_of_nothing_may_be_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
