// SPDX-License-Identifier: MIT
// Operating errors: one code table, one message that grows a prefix on its way up. Lower layers fill in file,
// offset and position; upper layers prepend ("restore: snapshot 42: block 7: ..."). No logging here.
#ifndef MIM_BASE_ERROR_H
#define MIM_BASE_ERROR_H

#include <stddef.h>

#define MIM_CHECKED __attribute__((warn_unused_result))

/* name, value, sentence, exit status of `serve` when it ends the process */
#define MIM_ERROR_TABLE(X)                                \
    X(USAGE, -1, "wrong usage or configuration", 1)       \
    X(MEMORY, -2, "out of memory", 4)                     \
    X(IO, -3, "storage error", 4)                         \
    X(NO_SPACE, -4, "no space left", 4)                   \
    X(NOT_FOUND, -5, "not found", 1)                      \
    X(DAMAGED, -6, "damaged data", 3)                     \
    X(FORMAT, -7, "unknown or unsupported format", 3)     \
    X(MODEL, -8, "the model cannot read this journal", 3) \
    X(LOCKED, -9, "the directory is in use", 5)           \
    X(LIMIT, -10, "a limit is exceeded", 1)               \
    X(INVALID, -11, "invalid input", 1)                   \
    X(AGAIN, -12, "not now: try again", 1)                \
    X(NETWORK, -13, "network error", 1)                   \
    X(EXISTS, -14, "already exists", 1)                   \
    X(STATE, -15, "not possible in this state", 1)

enum mim_code {
    MIM_OK = 0,
#define MIM_ERROR_ENUM(name, value, sentence, status) MIM_E_##name = value,
    MIM_ERROR_TABLE(MIM_ERROR_ENUM)
#undef MIM_ERROR_ENUM
};

/** An error on its way up. Caller's memory; `{0}` is "no error". */
struct mim_error {
    int code;       /* enum mim_code */
    int os_errno;   /* errno of the failing call, 0 when there is none */
    char text[496]; /* NUL-terminated sentence without a final stop */
};

/** Sets code and message; returns code, so that `return mim_error_set(...)` reads well. reterr may be NULL; its
 *  present text may be an argument. */
__attribute__((format(printf, 3, 4))) int mim_error_set(struct mim_error *reterr, int code, const char *format, ...);

/** The same with ": " and strerror(os_errno) appended. */
__attribute__((format(printf, 4, 5))) int mim_error_os(struct mim_error *reterr, int code, int os_errno,
                                                       const char *format, ...);

/** Prepends "prefix: " to the message, keeps and returns the code. */
__attribute__((format(printf, 2, 3))) int mim_error_prefix(struct mim_error *reterr, const char *format, ...);

/** Name ("DAMAGED"), sentence and exit status of a code. */
const char *mim_error_name(int code);
const char *mim_error_sentence(int code);
int mim_error_exit_status(int code);

#endif
