// SPDX-License-Identifier: MIT
// The physical limit of a durable write into a preallocated, zero-filled file, and whether another way would beat pwrite +
// fdatasync: all ways take turns, one write after the other, each in an area of its own. Those of io_uring are there where
// liburing was at build time.
// Usage: raw_fdatasync DIR [SIZE [COUNT]]; SIZE in bytes (default 128, 4096, 65536 and 1048576, each).
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifdef LIMIT_URING
#include <liburing.h>
#endif

#define AREA_SIZE    ((size_t)64 << 20)
#define BLOCK        ((size_t)1 << 20)
#define DIRECT_ALIGN 4096u

struct writing {
    int buffered;
    int direct; /* the same file; -1: its file system has no O_DIRECT */
#ifdef LIMIT_URING
    struct io_uring ring;
#endif
    bool has_ring; /* false: liburing was not there at build time, or the kernel refuses it */
};

static uint64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ------------------------------------------------------------------ ways */

static bool write_then_sync(struct writing *w, void *data, size_t size, off_t at) {
    return pwrite(w->buffered, data, size, at) == (ssize_t)size && fdatasync(w->buffered) == 0;
}

static bool write_durably(int file, void *data, size_t size, off_t at) {
    struct iovec part = {.iov_base = data, .iov_len = size};
    return pwritev2(file, &part, 1, at, RWF_DSYNC) == (ssize_t)size;
}

static bool write_dsync(struct writing *w, void *data, size_t size, off_t at) {
    return write_durably(w->buffered, data, size, at);
}

static bool write_direct(struct writing *w, void *data, size_t size, off_t at) {
    return write_durably(w->direct, data, size, at);
}

#ifdef LIMIT_URING
/** Waits for `count` completions; true when the first is `size` and the others are 0. */
static bool uring_wait(struct writing *w, unsigned count, size_t size) {
    bool good = io_uring_submit_and_wait(&w->ring, count) >= 0;
    for (unsigned i = 0; good && i < count; i++) {
        struct io_uring_cqe *done = NULL;
        good = io_uring_wait_cqe(&w->ring, &done) == 0 && done->res == (i == 0 ? (int)size : 0);
        io_uring_cqe_seen(&w->ring, done);
    }
    return good;
}

static bool uring_then_sync(struct writing *w, void *data, size_t size, off_t at) {
    struct io_uring_sqe *entry = io_uring_get_sqe(&w->ring);
    io_uring_prep_write(entry, w->buffered, data, (unsigned)size, (uint64_t)at);
    entry->flags |= IOSQE_IO_LINK;
    io_uring_prep_fsync(io_uring_get_sqe(&w->ring), w->buffered, IORING_FSYNC_DATASYNC);
    return uring_wait(w, 2, size);
}

static bool uring_direct(struct writing *w, void *data, size_t size, off_t at) {
    struct io_uring_sqe *entry = io_uring_get_sqe(&w->ring);
    io_uring_prep_write(entry, w->direct, data, (unsigned)size, (uint64_t)at);
    entry->rw_flags = RWF_DSYNC;
    return uring_wait(w, 1, size);
}
#endif

static const struct way {
    const char *name;
    bool direct;
    bool ring;
    bool (*write)(struct writing *w, void *data, size_t size, off_t at);
} ways[] = {
    {.name = "pwrite + fdatasync", .write = write_then_sync},
    {.name = "pwritev2 DSYNC", .write = write_dsync},
    {.name = "pwritev2 DSYNC, O_DIRECT", .direct = true, .write = write_direct},
#ifdef LIMIT_URING
    {.name = "io_uring write + fdatasync", .ring = true, .write = uring_then_sync},
    {.name = "io_uring DSYNC, O_DIRECT", .direct = true, .ring = true, .write = uring_direct},
#endif
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

/* ------------------------------------------------------------------ measuring */

static int ascending(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right ? 1 : 0;
}

/** An unlinked file with an area for each way, allocated and written with zeros. */
static bool file_make(const char *dir, struct writing *ret_writing) {
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/raw-fdatasync-XXXXXX", dir);
    int file = mkstemp(path);
    uint8_t *zeros = calloc(1, BLOCK);
    if (file < 0 || zeros == NULL) {
        free(zeros);
        return false;
    }
    ret_writing->buffered = file;
    ret_writing->direct = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
    (void)unlink(path);
    bool good = posix_fallocate(file, 0, (off_t)(WAYS * AREA_SIZE)) == 0;
    for (size_t at = 0; good && at < WAYS * AREA_SIZE; at += BLOCK) {
        good = pwrite(file, zeros, BLOCK, (off_t)at) == (ssize_t)BLOCK;
    }
    free(zeros);
    return good && fsync(file) == 0;
}

static bool way_possible(const struct writing *w, const struct way *way, size_t size) {
    return (!way->direct || (w->direct >= 0 && size % DIRECT_ALIGN == 0)) && (!way->ring || w->has_ring);
}

static void print(const char *name, size_t size, uint64_t *took, size_t count) {
    qsort(took, count, sizeof(*took), ascending);
    uint64_t p50 = took[count / 2];
    uint64_t p99 = took[count * 99 / 100];
    (void)printf("%8zu bytes, %-27s p50 %8.1f us, p99 %8.1f us, max %8.1f us\n", size, name, (double)p50 / 1e3,
                 (double)p99 / 1e3, (double)took[count - 1] / 1e3);
}

static bool measure(struct writing *w, size_t size, size_t count) {
    uint64_t *took = calloc(WAYS * count, sizeof(*took));
    void *data = aligned_alloc(DIRECT_ALIGN, (size + DIRECT_ALIGN - 1) / DIRECT_ALIGN * DIRECT_ALIGN);
    bool good = took != NULL && data != NULL;
    if (good) {
        memset(data, 0x5a, size);
    }
    for (size_t i = 0; good && i < count; i++) {
        for (size_t k = 0; good && k < WAYS; k++) {
            off_t at = (off_t)(k * AREA_SIZE + i % (AREA_SIZE / size) * size);
            uint64_t begun = now_ns();
            good = !way_possible(w, &ways[k], size) || ways[k].write(w, data, size, at);
            took[k * count + i] = now_ns() - begun;
        }
    }
    for (size_t k = 0; good && k < WAYS; k++) {
        if (way_possible(w, &ways[k], size)) {
            print(ways[k].name, size, took + k * count, count);
        }
    }
    free(took);
    free(data);
    return good;
}

int main(int argc, char **argv) {
    static const size_t sizes[] = {128, 4096, 65536, 1048576};
    if (argc < 2) {
        (void)fprintf(stderr, "Usage: raw_fdatasync DIR [SIZE [COUNT]]\n");
        return 1;
    }
    size_t size = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    size_t count = argc > 3 ? strtoul(argv[3], NULL, 10) : 1000;
    struct writing writing = {0};
    if (size > AREA_SIZE || count == 0 || !file_make(argv[1], &writing)) {
        (void)fprintf(stderr, "raw_fdatasync: no file of %zu bytes in %s, or wrong numbers\n", WAYS * AREA_SIZE,
                      argv[1]);
        return 1;
    }
#ifdef LIMIT_URING
    writing.has_ring = io_uring_queue_init(4, &writing.ring, 0) == 0;
#endif
    bool good = true;
    for (size_t i = 0; good && i < (size > 0 ? 1 : sizeof(sizes) / sizeof(sizes[0])); i++) {
        good = measure(&writing, size > 0 ? size : sizes[i], count);
    }
    return good ? 0 : 1;
}
