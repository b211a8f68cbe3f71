// SPDX-License-Identifier: MIT
// What the storage tests share: calls that must succeed, a directory of the machine that goes away again, listings.
#ifndef MIM_TESTS_STORAGE_SUPPORT_H
#define MIM_TESTS_STORAGE_SUPPORT_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/storage.h"
#include "storage/storage_sim.h"

#define CHECK(call)                                                            \
    do {                                                                       \
        struct mim_error check_error = {0};                                    \
        struct mim_error *e = &check_error;                                    \
        if ((call) != 0) {                                                     \
            fail_msg("%s: %d: %s", #call, check_error.code, check_error.text); \
        }                                                                      \
    } while (0)

/** A call that must fail so, with a message and the same code in both places. */
#define CHECK_FAILS(call, expected)                     \
    do {                                                \
        struct mim_error check_error = {0};             \
        struct mim_error *e = &check_error;             \
        assert_int_equal((call), (expected));           \
        assert_int_equal(check_error.code, (expected)); \
        assert_true(check_error.text[0] != '\0');       \
    } while (0)

static inline mim_file_t open_file(struct mim_storage s, const char *path, unsigned flags) {
    mim_file_t file = 0;
    CHECK(mim_file_open(s, path, flags, &file, e));
    assert_true(file > 0);
    return file;
}

static inline mim_file_t create_file(struct mim_storage s, const char *path) {
    return open_file(s, path, MIM_OPEN_WRITE | MIM_OPEN_CREATE);
}

static inline void write_text(struct mim_storage s, mim_file_t file, const char *text, uint64_t offset) {
    CHECK(mim_file_pwrite(s, file, text, strlen(text), offset, e));
}

/** The file at the path holds exactly this text. */
static inline void expect_text(struct mim_storage s, const char *path, const char *text) {
    char bytes[4096];
    size_t size = 0;
    mim_file_t file = open_file(s, path, MIM_OPEN_READ);
    CHECK(mim_file_pread(s, file, bytes, sizeof(bytes), 0, &size, e));
    mim_file_close(s, file);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(bytes, text, size);
}

static inline bool exists(struct mim_storage s, const char *path) {
    mim_file_t file = 0;
    int code = mim_file_open(s, path, MIM_OPEN_READ, &file, NULL);
    mim_file_close(s, file);
    assert_true(code == 0 || code == MIM_E_NOT_FOUND);
    return code == 0;
}

static inline int support_remove(const char *path, const struct stat *status, int type, struct FTW *ftw) {
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void make_directory(char ret_path[64]) {
    (void)snprintf(ret_path, 64, "/tmp/memimage-test-XXXXXX");
    assert_non_null(mkdtemp(ret_path));
}

static inline void remove_directory(const char *path) {
    assert_int_equal(nftw(path, support_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
