// SPDX-License-Identifier: MIT
// Requests of a file, so that one load generator drives every server that speaks RESP: its own cost is the same for all.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"

/** The number behind a '*' or '$' at `at`, and the place behind its line; 0 when there is none. */
static size_t header(const struct mim_buffer *bytes, size_t at, char kind, unsigned long *ret_number) {
    const uint8_t *end = at < bytes->size ? memchr(bytes->data + at, '\n', bytes->size - at) : NULL;
    if (end == NULL || bytes->data[at] != (uint8_t)kind) {
        return 0;
    }
    char *behind;
    *ret_number = strtoul((const char *)bytes->data + at + 1, &behind, 10);
    return *behind == '\r' ? (size_t)(end - bytes->data) + 1 : 0;
}

/** The place behind the request at `at`; 0 when it is none. */
static size_t request_end(const struct mim_buffer *bytes, size_t at) {
    unsigned long count = 0;
    at = header(bytes, at, '*', &count);
    for (unsigned long i = 0; at > 0 && i < count; i++) {
        unsigned long size = 0;
        at = header(bytes, at, '$', &size);
        at = at > 0 && size <= bytes->size && at + size + 2 <= bytes->size ? at + size + 2 : 0;
    }
    return at;
}

static int file_read(const char *path, struct mim_buffer *out, struct mim_error *reterr) {
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        return mim_error_os(reterr, MIM_E_IO, errno, "%s", path);
    }
    static char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof(block), file)) > 0) {
        mim_buffer_append(out, block, n);
    }
    bool bad = ferror(file) != 0;
    (void)fclose(file);
    mim_buffer_append(out, "", 1); /* ends what strtoul reads */
    if (bad || out->size > UINT32_MAX) {
        return mim_error_set(reterr, MIM_E_IO, "%s: cannot be read, or is 4 GiB or more", path);
    }
    out->size--;
    return 0;
}

int mim_bench_requests_read(struct mim_bench_requests *requests, const char *path, struct mim_error *reterr) {
    *requests = (struct mim_bench_requests){0};
    int rc = file_read(path, &requests->bytes, reterr);
    if (rc != 0) {
        return rc;
    }
    size_t capacity = requests->bytes.size / 4 + 2; /* "*0\r\n" is the shortest */
    requests->offsets = calloc(capacity, sizeof(*requests->offsets));
    if (requests->offsets == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    size_t at = 0;
    while (at < requests->bytes.size) {
        at = request_end(&requests->bytes, at);
        if (at == 0) {
            return mim_error_set(reterr, MIM_E_USAGE, "%s: request %u is no RESP array of bulk strings", path,
                                 requests->count + 1);
        }
        requests->offsets[++requests->count] = (uint32_t)at;
    }
    return requests->count > 0 ? 0 : mim_error_set(reterr, MIM_E_USAGE, "%s: no requests in it", path);
}
