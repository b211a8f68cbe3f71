// SPDX-License-Identifier: MIT
// The name of a directory; see identity.h.
#include "replica/identity.h"

#include <stdio.h>
#include <string.h>

#define NEW_PATH MIM_IDENTITY_PATH ".tmp"

bool mim_identity_valid(const char *text, size_t size) {
    if (size != MIM_IDENTITY_SIZE) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if ((text[i] < '0' || text[i] > '9') && (text[i] < 'a' || text[i] > 'f')) {
            return false;
        }
    }
    return true;
}

/** NOT_FOUND: there is none, or none that is whole. */
static int identity_read(struct mim_storage storage, char ret_text[MIM_IDENTITY_TEXT_SIZE], struct mim_error *reterr) {
    mim_file_t file = 0;
    size_t got = 0;
    int rc = mim_file_open(storage, MIM_IDENTITY_PATH, MIM_OPEN_READ, &file, reterr);
    if (rc != 0) {
        return rc;
    }
    rc = mim_file_pread(storage, file, ret_text, MIM_IDENTITY_SIZE, 0, &got, reterr);
    mim_file_close(storage, file);
    ret_text[rc == 0 ? got : 0] = '\0';
    return rc != 0 || mim_identity_valid(ret_text, got) ? rc : MIM_E_NOT_FOUND;
}

/** Atomically, and durable: a name that a primary has heard has to be the same after a power cut. */
static int identity_write(struct mim_storage storage, const char *text, struct mim_error *reterr) {
    mim_file_t file = 0;
    int rc = mim_file_open(storage, NEW_PATH, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_TRUNCATE, &file, reterr);
    if (rc != 0) {
        return rc;
    }
    rc = mim_file_pwrite(storage, file, text, MIM_IDENTITY_SIZE, 0, reterr);
    rc = rc != 0 ? rc : mim_file_pwrite(storage, file, "\n", 1, MIM_IDENTITY_SIZE, reterr);
    rc = rc != 0 ? rc : mim_file_sync(storage, file, reterr);
    mim_file_close(storage, file);
    rc = rc != 0 ? rc : mim_storage_rename(storage, NEW_PATH, MIM_IDENTITY_PATH, reterr);
    return rc != 0 ? rc : mim_storage_sync_dir(storage, ".", reterr);
}

int mim_identity_load(struct mim_storage storage, const uint8_t random[MIM_IDENTITY_SIZE / 2],
                      char ret_text[MIM_IDENTITY_TEXT_SIZE], struct mim_error *reterr) {
    int rc = identity_read(storage, ret_text, reterr);
    if (rc == 0) { /* it may have been written by a process that was killed before it was durable */
        return mim_storage_sync_dir(storage, ".", reterr);
    }
    if (rc != MIM_E_NOT_FOUND) {
        return rc;
    }
    for (size_t i = 0; i < MIM_IDENTITY_SIZE / 2; i++) {
        (void)snprintf(ret_text + 2 * i, 3, "%02x", random[i]);
    }
    return identity_write(storage, ret_text, reterr);
}
