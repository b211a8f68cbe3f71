// SPDX-License-Identifier: MIT
// The limits of moving bytes: memory read, written and copied by one core, and the disk written in order with one sync at
// the end, and read again without the page cache. Usage: bandwidth DIR [MEGABYTES] (default 512).
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BLOCK  ((size_t)1 << 20)
#define ROUNDS 5

static double now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void print(const char *name, size_t bytes, double seconds) {
    (void)printf("%s: %.2f GiB/s\n", name, (double)bytes / seconds / (double)(1u << 30));
}

/** The best of some rounds: what disturbs only makes it slower. */
static int memory(size_t size) {
    uint64_t *from = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    uint64_t *to = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (from == MAP_FAILED || to == MAP_FAILED) {
        return -1;
    }
    double best[3] = {1e9, 1e9, 1e9};
    volatile uint64_t kept = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double at = now();
        memset(from, round + 1, size);
        double wrote = now();
        uint64_t sums[4] = {0};
        for (size_t i = 0; i + 4 <= size / sizeof(*from); i += 4) {
            sums[0] += from[i];
            sums[1] += from[i + 1];
            sums[2] += from[i + 2];
            sums[3] += from[i + 3];
        }
        kept = kept + sums[0] + sums[1] + sums[2] + sums[3];
        double read = now();
        memcpy(to, from, size);
        double copied = now();
        kept = kept + to[(size_t)round];
        double took[3] = {wrote - at, read - wrote, copied - read};
        for (int i = 0; i < 3; i++) {
            best[i] = took[i] < best[i] ? took[i] : best[i];
        }
    }
    print("memory write", size, best[0]);
    print("memory read", size, best[1]);
    print("memory copy", size, best[2]);
    (void)munmap(from, size);
    (void)munmap(to, size);
    return 0;
}

static int disk(const char *dir, size_t size) {
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/bandwidth-XXXXXX", dir);
    int file = mkstemp(path);
    uint8_t *block = malloc(BLOCK);
    if (file < 0 || block == NULL) {
        free(block);
        return -1;
    }
    (void)unlink(path);
    memset(block, 0x5a, BLOCK);
    bool good = posix_fallocate(file, 0, (off_t)size) == 0;
    double begun = now();
    for (size_t at = 0; good && at < size; at += BLOCK) {
        good = pwrite(file, block, BLOCK, (off_t)at) == (ssize_t)BLOCK;
    }
    good = good && fdatasync(file) == 0;
    double wrote = now();
    good = good && posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0;
    double dropped = now();
    for (size_t at = 0; good && at < size; at += BLOCK) {
        good = pread(file, block, BLOCK, (off_t)at) == (ssize_t)BLOCK;
    }
    double cold = now();
    for (size_t at = 0; good && at < size; at += BLOCK) {
        good = pread(file, block, BLOCK, (off_t)at) == (ssize_t)BLOCK;
    }
    double warm = now();
    if (good) {
        print("disk write and sync", size, wrote - begun);
        print("disk read, cold", size, cold - dropped);
        print("disk read, page cache", size, warm - cold);
    }
    free(block);
    (void)close(file);
    return good ? 0 : -1;
}

int main(int argc, char **argv) {
    size_t megabytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 512;
    if (argc < 2 || megabytes == 0 || megabytes > 65536) {
        (void)fprintf(stderr, "Usage: bandwidth DIR [MEGABYTES]\n");
        return 1;
    }
    int rc = memory(megabytes << 20);
    rc = rc == 0 ? disk(argv[1], megabytes << 20) : rc;
    if (rc != 0) {
        (void)fprintf(stderr, "bandwidth: no memory or no file of %zu MB in %s\n", megabytes, argv[1]);
    }
    return rc == 0 ? 0 : 1;
}
