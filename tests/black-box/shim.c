// SPDX-License-Identifier: MIT
// Preloaded into the server by tests: makes the calls that reach the disk fail, fall short, lie, or end the process, at the
// Nth of them. What is not named works as ever.
//
//   FAULT=CALL:KIND:N[+]    CALL: sync (fdatasync, fsync), write (pwrite), read (pread), rename, open, room (fallocate), any
//                           of these; memory (malloc, calloc, realloc)
//                           KIND: eio, enospc, eintr, null, short (one byte is transferred), skip (success without doing it),
//                                 kill (SIGKILL instead of the call), after (the call, then SIGKILL),
//                                 hang (the call, when the file FAULT_RELEASE exists)
//                           N: the Nth call of that kind; with + all from there on
//   FAULT_REPORT=FILE       gets a line when the fault has struck
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

enum kind { NONE, FAIL, SHORT, SKIP, KILL, AFTER, HANG };

struct fault {
    char call[16];
    enum kind kind;
    int error;
    unsigned long nth;
    bool forever;
};

static struct fault fault;
static atomic_ulong calls;

static void *real(const char *name) {
    void *symbol = dlsym(RTLD_NEXT, name);
    if (symbol == NULL) {
        abort();
    }
    return symbol;
}

__attribute__((constructor)) static void read_plan(void) {
    static const struct {
        const char *name;
        enum kind kind;
        int error;
    } kinds[] = {{"eio", FAIL, EIO},     {"enospc", FAIL, ENOSPC}, {"eintr", FAIL, EINTR},
                 {"null", FAIL, ENOMEM}, {"short", SHORT, 0},      {"skip", SKIP, 0},
                 {"kill", KILL, 0},      {"after", AFTER, 0},      {"hang", HANG, 0}};
    const char *plan = getenv("FAULT");
    char kind[16];
    char plus = 0;
    if (plan == NULL || sscanf(plan, "%15[^:]:%15[^:]:%lu%c", fault.call, kind, &fault.nth, &plus) < 3) {
        return;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, kind) == 0) {
            fault.kind = kinds[i].kind;
            fault.error = kinds[i].error;
        }
    }
    fault.forever = plus == '+';
}

static void report(const char *call) {
    const char *path = getenv("FAULT_REPORT");
    int (*real_open)(const char *, int, ...) = (int (*)(const char *, int, ...))real("open64");
    int fd = path == NULL ? -1 : real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)!write(fd, call, strlen(call));
        (void)!write(fd, "\n", 1);
        (void)close(fd);
    }
}

/** What befalls this call. KILL does not come back. */
static enum kind meet(const char *call) {
    if (fault.kind == NONE || (strcmp(fault.call, call) != 0 && (strcmp(fault.call, "any") != 0 || call[0] == 'm'))) {
        return NONE;
    }
    unsigned long n = atomic_fetch_add(&calls, 1) + 1;
    if (n != fault.nth && !(fault.forever && n > fault.nth)) {
        return NONE;
    }
    report(call);
    if (fault.kind == KILL) {
        (void)kill(getpid(), SIGKILL);
    }
    const char *release = getenv("FAULT_RELEASE");
    while (fault.kind == HANG && release != NULL && access(release, F_OK) != 0) {
        (void)usleep(2000);
    }
    errno = fault.error;
    return fault.kind;
}

/** The end after a call that was made. */
static void left(enum kind kind) {
    if (kind == AFTER) {
        (void)kill(getpid(), SIGKILL);
    }
}

#define SIMPLE(name, call, parameters, arguments)                                  \
    EXPORTED int name parameters {                                                 \
        enum kind kind = meet(call);                                               \
        if (kind == FAIL) {                                                        \
            return -1;                                                             \
        }                                                                          \
        int result = kind == SKIP ? 0 : ((int(*) parameters)real(#name))arguments; \
        left(kind);                                                                \
        return result;                                                             \
    }

SIMPLE(fdatasync, "sync", (int fd), (fd))
SIMPLE(fsync, "sync", (int fd), (fd))
SIMPLE(renameat, "rename", (int from_fd, const char *from, int to_fd, const char *to), (from_fd, from, to_fd, to))
SIMPLE(fallocate64, "room", (int fd, int mode, off_t offset, off_t size), (fd, mode, offset, size))

/** Of the many calls that fill a segment with zeros, all alike, one in a megabyte counts. */
static bool counts(const uint8_t *data, size_t size, off_t offset) {
    return offset % (1 << 20) == 0 || size < 4096 || data[0] != 0 || memcmp(data, data + 1, size - 1) != 0;
}

EXPORTED ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) {
    enum kind kind = counts(data, size, offset) ? meet("write") : NONE;
    if (kind == FAIL) {
        return -1;
    }
    /* Megabytes one by one would take minutes. */
    size_t part = kind != SHORT ? size : size > 65536 ? size / 2 + 1 : 1;
    ssize_t result = kind == SKIP
                         ? (ssize_t)size
                         : ((ssize_t(*)(int, const void *, size_t, off_t))real("pwrite64"))(fd, data, part, offset);
    left(kind);
    return result;
}

EXPORTED ssize_t pread64(int fd, void *data, size_t size, off_t offset) {
    enum kind kind = meet("read");
    if (kind == FAIL) {
        return -1;
    }
    size_t part = kind != SHORT ? size : size > 65536 ? size / 2 + 1 : size > 1 ? size - 1 : size;
    ssize_t result = ((ssize_t(*)(int, void *, size_t, off_t))real("pread64"))(fd, data, part, offset);
    left(kind);
    return result;
}

EXPORTED int openat64(int directory, const char *path, int flags, ...) {
    enum kind kind = meet("open");
    if (kind == FAIL) {
        return -1;
    }
    int result = ((int (*)(int, const char *, int, ...))real("openat64"))(directory, path, flags, 0600);
    left(kind);
    return result;
}

/* glibc's own names: dlsym itself allocates. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

EXPORTED void *malloc(size_t size) { return meet("memory") == FAIL ? NULL : __libc_malloc(size); }
EXPORTED void *calloc(size_t count, size_t size) { return meet("memory") == FAIL ? NULL : __libc_calloc(count, size); }
EXPORTED void *realloc(void *block, size_t size) { return meet("memory") == FAIL ? NULL : __libc_realloc(block, size); }
