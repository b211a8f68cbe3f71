// SPDX-License-Identifier: MIT
// The physical limit of a durable write: pwrite + fdatasync into a preallocated, zero-filled file, one after the other.
// Usage: raw_fdatasync DIR [SIZE [COUNT]]; SIZE in bytes (default 128, 4096, 65536 and 1048576, each).
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILE_SIZE ((size_t)256 << 20)
#define BLOCK     ((size_t)1 << 20)

static uint64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right ? 1 : 0;
}

/** An unlinked file of FILE_SIZE bytes, allocated and written with zeros; -1 on failure. */
static int file_make(const char *dir) {
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/raw-fdatasync-XXXXXX", dir);
    int file = mkstemp(path);
    uint8_t *zeros = calloc(1, BLOCK);
    if (file < 0 || zeros == NULL) {
        free(zeros);
        return -1;
    }
    (void)unlink(path);
    int rc = posix_fallocate(file, 0, (off_t)FILE_SIZE);
    for (size_t at = 0; rc == 0 && at < FILE_SIZE; at += BLOCK) {
        rc = pwrite(file, zeros, BLOCK, (off_t)at) == (ssize_t)BLOCK ? 0 : -1;
    }
    free(zeros);
    return rc == 0 && fsync(file) == 0 ? file : -1;
}

static int measure(int file, size_t size, size_t count) {
    uint64_t *took = calloc(count, sizeof(*took));
    uint8_t *data = malloc(size);
    if (took == NULL || data == NULL) {
        free(took);
        free(data);
        return -1;
    }
    memset(data, 0x5a, size);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        at = at + size > FILE_SIZE ? 0 : at;
        uint64_t begun = now_ns();
        if (pwrite(file, data, size, (off_t)at) != (ssize_t)size || fdatasync(file) != 0) {
            count = i;
        } else {
            took[i] = now_ns() - begun;
        }
        at += size;
    }
    if (count > 0) {
        qsort(took, count, sizeof(*took), ascending);
        (void)printf("%8zu bytes: p50 %8.1f us, p99 %8.1f us, max %8.1f us\n", size, (double)took[count / 2] / 1e3,
                     (double)took[count * 99 / 100] / 1e3, (double)took[count - 1] / 1e3);
    }
    free(took);
    free(data);
    return count > 0 ? 0 : -1;
}

int main(int argc, char **argv) {
    static const size_t sizes[] = {128, 4096, 65536, 1048576};
    if (argc < 2) {
        (void)fprintf(stderr, "Usage: raw_fdatasync DIR [SIZE [COUNT]]\n");
        return 1;
    }
    size_t size = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    size_t count = argc > 3 ? strtoul(argv[3], NULL, 10) : 2000;
    int file = file_make(argv[1]);
    if (file < 0 || size > FILE_SIZE || count == 0) {
        (void)fprintf(stderr, "raw_fdatasync: no file of %zu bytes in %s, or wrong numbers\n", FILE_SIZE, argv[1]);
        return 1;
    }
    int rc = 0;
    if (size > 0) {
        rc = measure(file, size, count);
    } else {
        for (size_t i = 0; rc == 0 && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            rc = measure(file, sizes[i], count);
        }
    }
    return rc == 0 ? 0 : 1;
}
