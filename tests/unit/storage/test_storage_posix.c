// SPDX-License-Identifier: MIT
// The machine's files: modes, descriptors, limits, foreign processes; in a directory of their own. Limits and signals
// are set in children, as they would outlive a test.
#include "storage_support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

struct fixture {
    char path[64];
    struct mim_storage storage;
};

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof(*f));
    make_directory(f->path);
    CHECK(mim_storage_posix_open(f->path, false, &f->storage, e));
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    mim_storage_posix_close(&f->storage);
    remove_directory(f->path);
    test_free(f);
    return 0;
}

static void at(const struct fixture *f, const char *name, char ret_path[128]) {
    (void)snprintf(ret_path, 128, "%s/%s", f->path, name);
}

static unsigned mode_of(const struct fixture *f, const char *name) {
    char path[128];
    struct stat status;
    at(f, name, path);
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 0777u;
}

static void test_files_and_directories_are_for_their_owner_alone(void **state) {
    struct fixture *f = *state;
    struct mim_storage s = f->storage;
    mim_file_t lock = 0;
    mode_t mask = umask(0);
    mim_file_close(s, create_file(s, "a"));
    CHECK(mim_storage_make_dir(s, "d", e));
    CHECK(mim_storage_lock(s, "lock", &lock, e));
    mim_file_close(s, lock);
    char path[128];
    at(f, "root", path);
    struct mim_storage other = {0};
    CHECK(mim_storage_posix_open(path, true, &other, e));
    mim_storage_posix_close(&other);
    (void)umask(mask);
    assert_int_equal(mode_of(f, "a"), 0600);
    assert_int_equal(mode_of(f, "d"), 0700);
    assert_int_equal(mode_of(f, "lock"), 0600);
    assert_int_equal(mode_of(f, "root"), 0700);
}

static void test_descriptors_are_closed_in_other_programs(void **state) {
    struct mim_storage s = ((struct fixture *)*state)->storage;
    mim_file_t lock = 0;
    mim_file_t file = create_file(s, "a");
    CHECK(mim_storage_lock(s, "lock", &lock, e));
    assert_true((fcntl(mim_storage_posix_fd(file), F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(mim_storage_posix_fd(lock), F_GETFD) & FD_CLOEXEC) != 0);
    mim_file_close(s, file);
    mim_file_close(s, lock);
}

static void test_a_handle_tells_its_descriptor_and_others_none(void **state) {
    struct mim_storage s = ((struct fixture *)*state)->storage;
    mim_file_t file = create_file(s, "a");
    struct stat status;
    assert_int_equal(fstat(mim_storage_posix_fd(file), &status), 0);
    assert_int_equal(mim_storage_posix_fd(0), -1);
    assert_int_equal(mim_storage_posix_fd(-5), -1);
    assert_int_equal(mim_storage_posix_fd(INT64_MAX), -1);
    mim_file_close(s, file);
}

static void test_a_root_that_cannot_be_is_refused(void **state) {
    struct fixture *f = *state;
    char path[128];
    struct mim_storage s = {0};
    at(f, "none", path);
    CHECK_FAILS(mim_storage_posix_open(path, false, &s, e), MIM_E_NOT_FOUND);
    at(f, "none/below", path);
    CHECK_FAILS(mim_storage_posix_open(path, true, &s, e), MIM_E_NOT_FOUND);
    mim_file_close(f->storage, create_file(f->storage, "file"));
    at(f, "file", path);
    CHECK_FAILS(mim_storage_posix_open(path, false, &s, e), MIM_E_IO);
    CHECK_FAILS(mim_storage_posix_open(path, true, &s, e), MIM_E_IO);
    assert_null(s.ops);
    CHECK(mim_storage_posix_open(f->path, true, &s, e)); /* it is there: fine */
    mim_storage_posix_close(&s);
    assert_null(s.self);
    mim_storage_posix_close(&s); /* closed already: nothing happens */
}

static void test_the_root_is_followed_when_the_directory_is_renamed(void **state) {
    struct fixture *f = *state;
    char path[128];
    char moved[160];
    struct mim_storage s = {0};
    at(f, "root", path);
    CHECK(mim_storage_posix_open(path, true, &s, e));
    (void)snprintf(moved, sizeof(moved), "%s.moved", path);
    assert_int_equal(rename(path, moved), 0);
    mim_file_close(s, create_file(s, "a"));
    CHECK(mim_storage_sync_dir(s, ".", e));
    mim_storage_posix_close(&s);
    assert_true(exists(f->storage, "root.moved/a"));
}

static void test_preallocated_bytes_are_on_the_disk_not_a_hole(void **state) {
    struct mim_storage s = ((struct fixture *)*state)->storage;
    const uint64_t size = (2u << 20) + 4096u;
    mim_file_t file = create_file(s, "a");
    CHECK(mim_file_preallocate(s, file, size, e));
    struct stat status;
    assert_int_equal(fstat(mim_storage_posix_fd(file), &status), 0);
    assert_true((uint64_t)status.st_blocks * 512u >= size);
    CHECK(mim_file_truncate(s, file, 2 * size, e));
    assert_int_equal(fstat(mim_storage_posix_fd(file), &status), 0);
    assert_int_equal(status.st_size, 2 * size);
    mim_file_close(s, file);
}

static void test_errors_on_an_open_file_name_it_and_its_offset(void **state) {
    struct mim_storage s = ((struct fixture *)*state)->storage;
    struct mim_error error = {0};
    mim_file_close(s, create_file(s, "precious"));
    mim_file_t file = open_file(s, "precious", MIM_OPEN_READ);
    assert_int_equal(mim_file_pwrite(s, file, "x", 1, 1234, &error), MIM_E_IO); /* opened for reading */
    assert_int_equal(error.os_errno, EBADF);
    assert_non_null(strstr(error.text, "precious"));
    assert_non_null(strstr(error.text, "1234"));
    assert_int_equal(mim_file_truncate(s, file, 10, &error), MIM_E_IO);
    assert_non_null(strstr(error.text, "precious"));
    assert_int_equal(mim_file_preallocate(s, file, 10, &error), MIM_E_IO);
    assert_non_null(strstr(error.text, "precious"));
    mim_file_close(s, file);
}

static void test_calls_on_a_closed_descriptor_are_errors_and_leave_results_alone(void **state) {
    struct mim_storage s = ((struct fixture *)*state)->storage;
    const mim_file_t closed = 1000001;
    char byte = 'k';
    size_t read_size = 77;
    uint64_t size = 77;
    CHECK_FAILS(mim_file_pread(s, closed, &byte, 1, 0, &read_size, e), MIM_E_IO);
    CHECK_FAILS(mim_file_pwrite(s, closed, &byte, 1, 0, e), MIM_E_IO);
    CHECK_FAILS(mim_file_sync(s, closed, e), MIM_E_IO);
    CHECK_FAILS(mim_file_size(s, closed, &size, e), MIM_E_IO);
    CHECK_FAILS(mim_file_truncate(s, closed, 0, e), MIM_E_IO);
    CHECK_FAILS(mim_file_preallocate(s, closed, 1, e), MIM_E_IO);
    assert_int_equal(read_size, 77);
    assert_int_equal(size, 77);
}

static void test_an_offset_beyond_the_machine_s_is_an_error(void **state) {
    struct mim_storage s = ((struct fixture *)*state)->storage;
    mim_file_t file = create_file(s, "a");
    assert_true(mim_file_pwrite(s, file, "x", 1, UINT64_MAX - 5, NULL) != 0);
    assert_true(mim_file_truncate(s, file, UINT64_MAX - 5, NULL) != 0);
    assert_true(mim_file_preallocate(s, file, UINT64_MAX - 5, NULL) != 0);
    uint64_t size = 77;
    CHECK(mim_file_size(s, file, &size, e));
    assert_int_equal(size, 0);
    mim_file_close(s, file);
}

/* ------------------------------------------------------- full disks, in children */

/** Runs `body` in a child and returns its exit status; 255 when a signal ended it. */
static int in_child(int (*body)(const struct fixture *f), const struct fixture *f) {
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(body(f));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

#define LIMIT_SIZE 10000u

static bool limit_files(void) {
    const struct rlimit limit = {.rlim_cur = LIMIT_SIZE, .rlim_max = LIMIT_SIZE};
    return signal(SIGXFSZ, SIG_IGN) != SIG_ERR && setrlimit(RLIMIT_FSIZE, &limit) == 0;
}

static int write_over_the_limit(const struct fixture *f) {
    struct mim_storage s = f->storage;
    struct mim_error error = {0};
    static char bytes[2 * LIMIT_SIZE];
    mim_file_t file = 0;
    uint64_t size = 0;
    if (!limit_files() || mim_file_open(s, "a", MIM_OPEN_WRITE | MIM_OPEN_CREATE, &file, &error) != 0) {
        return 1;
    }
    memset(bytes, 'x', sizeof(bytes));
    /* The kernel takes what fits in a short write; the rest is the error. */
    if (mim_file_pwrite(s, file, bytes, sizeof(bytes), 0, &error) != MIM_E_NO_SPACE || error.os_errno != EFBIG) {
        return 2;
    }
    if (strstr(error.text, "10000") == NULL || mim_file_size(s, file, &size, &error) != 0 || size != LIMIT_SIZE) {
        return 3;
    }
    if (mim_file_pwrite(s, file, bytes, 1, LIMIT_SIZE, &error) != MIM_E_NO_SPACE) {
        return 4;
    }
    if (mim_file_pwrite(s, file, bytes, LIMIT_SIZE, 0, &error) != 0 || mim_file_sync(s, file, &error) != 0) {
        return 5; /* within the limit all goes on */
    }
    return 0;
}

static void test_a_file_size_limit_is_no_space_after_what_fits(void **state) {
    assert_int_equal(in_child(write_over_the_limit, *state), 0);
}

static int grow_over_the_limit(const struct fixture *f) {
    struct mim_storage s = f->storage;
    mim_file_t file = 0;
    if (!limit_files() || mim_file_open(s, "a", MIM_OPEN_WRITE | MIM_OPEN_CREATE, &file, NULL) != 0) {
        return 1;
    }
    if (mim_file_preallocate(s, file, LIMIT_SIZE + 1, NULL) != MIM_E_NO_SPACE) {
        return 2;
    }
    if (mim_file_truncate(s, file, LIMIT_SIZE + 1, NULL) != MIM_E_NO_SPACE) {
        return 3;
    }
    return mim_file_preallocate(s, file, LIMIT_SIZE, NULL) == 0 ? 0 : 4;
}

static void test_growth_over_the_limit_is_no_space_too(void **state) {
    assert_int_equal(in_child(grow_over_the_limit, *state), 0);
}

static int run_out_of_descriptors(const struct fixture *f) {
    const struct rlimit limit = {.rlim_cur = 16, .rlim_max = 16};
    struct mim_error error = {0};
    mim_file_t file = 0;
    int code = setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; code == 0 && i < 32; i++) {
        code = mim_file_open(f->storage, "a", MIM_OPEN_WRITE | MIM_OPEN_CREATE, &file, &error);
    }
    if (code != MIM_E_IO || error.os_errno != EMFILE) {
        return 1;
    }
    struct mim_error *none = NULL;
    return mim_storage_list(f->storage, ".", NULL, NULL, none) == MIM_E_IO &&
                   mim_storage_sync_dir(f->storage, ".", none) == MIM_E_IO &&
                   mim_storage_lock(f->storage, "lock", &file, none) == MIM_E_IO
               ? 0
               : 2;
}

static void test_without_descriptors_every_opening_is_an_error(void **state) {
    assert_int_equal(in_child(run_out_of_descriptors, *state), 0);
}

static void test_a_device_that_is_full_is_no_space(void **state) {
    (void)state;
    if (access("/dev/full", W_OK) != 0) {
        skip();
    }
    struct mim_storage s = {0};
    struct mim_error error = {0};
    CHECK(mim_storage_posix_open("/dev", false, &s, e));
    mim_file_t file = open_file(s, "full", MIM_OPEN_WRITE);
    assert_int_equal(mim_file_pwrite(s, file, "x", 1, 0, &error), MIM_E_NO_SPACE);
    assert_int_equal(error.os_errno, ENOSPC);
    assert_non_null(strstr(error.text, "/dev/full"));
    mim_file_close(s, file);
    mim_storage_posix_close(&s);
}

/* --------------------------------------------------------- transfers in pieces */

static void on_alarm(int signal_number) { (void)signal_number; }

/** A pipe would tell, but has no offsets: a large transfer under a storm of signals is the nearest. */
static int transfer_under_signals(const struct fixture *f) {
    struct mim_storage s = f->storage;
    const size_t size = 16u << 20;
    struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART */
    const struct itimerval storm = {.it_interval = {.tv_usec = 200}, .it_value = {.tv_usec = 200}};
    uint8_t *out = malloc(size);
    uint8_t *in = malloc(size);
    mim_file_t file = 0;
    if (out == NULL || in == NULL || sigaction(SIGALRM, &action, NULL) != 0 ||
        setitimer(ITIMER_REAL, &storm, NULL) != 0) {
        return 1;
    }
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(i * 31u >> 3);
    }
    size_t got = 0;
    int code = mim_file_open(s, "a", MIM_OPEN_WRITE | MIM_OPEN_CREATE, &file, NULL);
    code = code != 0 ? code : mim_file_preallocate(s, file, size, NULL);
    code = code != 0 ? code : mim_file_pwrite(s, file, out, size, 3, NULL);
    code = code != 0 ? code : mim_file_pread(s, file, in, size, 3, &got, NULL);
    int same = code == 0 && got == size && memcmp(in, out, size) == 0;
    free(in);
    free(out);
    return same ? 0 : 2;
}

static void test_transfers_are_whole_under_a_storm_of_signals(void **state) {
    assert_int_equal(in_child(transfer_under_signals, *state), 0);
}

/* ------------------------------------------------------------------- the lock */

struct holder {
    pid_t pid;
    int to;
};

/** A child that takes the lock, says so, and holds it until its pipe is closed. */
static struct holder holder_start(const struct fixture *f) {
    int from[2];
    int to[2];
    assert_int_equal(pipe(from), 0);
    assert_int_equal(pipe(to), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(from[0]);
        (void)close(to[1]);
        mim_file_t lock = 0;
        char byte = (char)mim_storage_lock(f->storage, "lock", &lock, NULL);
        if (write(from[1], &byte, 1) != 1) {
            _exit(1);
        }
        _exit(read(to[0], &byte, 1) == 0 ? 0 : 1);
    }
    (void)close(from[1]);
    (void)close(to[0]);
    char byte = 1;
    assert_int_equal(read(from[0], &byte, 1), 1);
    (void)close(from[0]);
    assert_int_equal(byte, 0);
    return (struct holder){.pid = pid, .to = to[1]};
}

static void holder_end(struct holder holder, int signal_number) {
    int status = 0;
    if (signal_number != 0) {
        assert_int_equal(kill(holder.pid, signal_number), 0);
    }
    (void)close(holder.to);
    assert_int_equal(waitpid(holder.pid, &status, 0), holder.pid);
    assert_true(signal_number != 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

static void test_a_lock_of_another_process_is_told_with_its_pid(void **state) {
    struct fixture *f = *state;
    struct holder holder = holder_start(f);
    struct mim_error error = {0};
    mim_file_t lock = 77;
    char expected[160];
    (void)snprintf(expected, sizeof(expected), "the directory %s is in use by process %d", f->path, (int)holder.pid);
    for (int i = 0; i < 3; i++) { /* asking does not disturb the holder */
        assert_int_equal(mim_storage_lock(f->storage, "lock", &lock, &error), MIM_E_LOCKED);
        assert_non_null(strstr(error.text, expected));
    }
    assert_int_equal(lock, 77);
    assert_int_equal(mim_error_exit_status(error.code), 5);
    holder_end(holder, 0);
    CHECK(mim_storage_lock(f->storage, "lock", &lock, e));
    mim_file_close(f->storage, lock);
}

static void test_a_killed_holder_leaves_no_lock(void **state) {
    struct fixture *f = *state;
    holder_end(holder_start(f), SIGKILL);
    mim_file_t lock = 0;
    CHECK(mim_storage_lock(f->storage, "lock", &lock, e));
    mim_file_close(f->storage, lock);
}

static void test_the_lock_file_stays_as_it_is(void **state) {
    struct fixture *f = *state;
    mim_file_t file = create_file(f->storage, "lock");
    write_text(f->storage, file, "someone's notes", 0);
    mim_file_close(f->storage, file);
    holder_end(holder_start(f), 0);
    expect_text(f->storage, "lock", "someone's notes");
}

static void test_locks_of_different_directories_do_not_meet(void **state) {
    struct fixture *f = *state;
    char path[128];
    struct mim_storage other = {0};
    mim_file_t a = 0;
    mim_file_t b = 0;
    at(f, "other", path);
    CHECK(mim_storage_posix_open(path, true, &other, e));
    CHECK(mim_storage_lock(f->storage, "lock", &a, e));
    CHECK(mim_storage_lock(other, "lock", &b, e));
    mim_file_close(f->storage, a);
    mim_file_close(other, b);
    mim_storage_posix_close(&other);
}

static void test_a_second_storage_of_this_process_is_kept_out_as_well(void **state) {
    struct fixture *f = *state;
    struct mim_storage other = {0};
    mim_file_t lock = 0;
    mim_file_t second = 0;
    CHECK(mim_storage_posix_open(f->path, false, &other, e));
    CHECK(mim_storage_lock(f->storage, "lock", &lock, e));
    CHECK_FAILS(mim_storage_lock(other, "lock", &second, e), MIM_E_LOCKED);
    CHECK_FAILS(mim_storage_lock(other, "lock", &second, e), MIM_E_LOCKED); /* the refusal did not loosen it */
    mim_file_close(f->storage, lock);
    mim_storage_posix_close(&other);
}

static void test_a_lock_in_a_missing_directory_is_not_found(void **state) {
    struct mim_storage s = ((struct fixture *)*state)->storage;
    mim_file_t lock = 0;
    CHECK_FAILS(mim_storage_lock(s, "none/lock", &lock, e), MIM_E_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_files_and_directories_are_for_their_owner_alone),
        TEST(test_descriptors_are_closed_in_other_programs),
        TEST(test_a_handle_tells_its_descriptor_and_others_none),
        TEST(test_a_root_that_cannot_be_is_refused),
        TEST(test_the_root_is_followed_when_the_directory_is_renamed),
        TEST(test_preallocated_bytes_are_on_the_disk_not_a_hole),
        TEST(test_errors_on_an_open_file_name_it_and_its_offset),
        TEST(test_calls_on_a_closed_descriptor_are_errors_and_leave_results_alone),
        TEST(test_an_offset_beyond_the_machine_s_is_an_error),
        TEST(test_a_file_size_limit_is_no_space_after_what_fits),
        TEST(test_growth_over_the_limit_is_no_space_too),
        TEST(test_without_descriptors_every_opening_is_an_error),
        TEST(test_a_device_that_is_full_is_no_space),
        TEST(test_transfers_are_whole_under_a_storm_of_signals),
        TEST(test_a_lock_of_another_process_is_told_with_its_pid),
        TEST(test_a_killed_holder_leaves_no_lock),
        TEST(test_the_lock_file_stays_as_it_is),
        TEST(test_locks_of_different_directories_do_not_meet),
        TEST(test_a_second_storage_of_this_process_is_kept_out_as_well),
        TEST(test_a_lock_in_a_missing_directory_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
