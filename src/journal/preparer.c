// SPDX-License-Identifier: MIT
// Makes the next segment ahead of its use: zero-filled and synced, so that later syncs have no metadata to write and
// a full disk is noticed before a command is admitted.
#include <errno.h>

#include "journal/writer_internal.h"

#define MIM_SPARE_TEMPORARY MIM_JOURNAL_DIR "/spare.tmp"
#define MIM_SPARE_GRAIN     (1u << 20)

static uint64_t size_min(const struct mim_ring *ring) {
    return ring->segment_size_min == 0 ? MIM_SEGMENT_SIZE_MIN : ring->segment_size_min;
}

/** Segments grow with the journal, so that a small one stays small: as large as all there is, within bounds. */
static uint64_t spare_size(const struct mim_ring *ring, uint64_t segment_size_max) {
    uint64_t most = segment_size_max == 0 ? MIM_SEGMENT_SIZE_MAX : segment_size_max;
    uint64_t size = atomic_load_explicit(&ring->journal_bytes, memory_order_relaxed);
    size = (size > most ? most : size) / MIM_SPARE_GRAIN * MIM_SPARE_GRAIN;
    return size < size_min(ring) ? size_min(ring) : size;
}

/** The next size to try on a full disk. */
static uint64_t size_half(const struct mim_ring *ring, uint64_t size) {
    size = size / 2 / MIM_SPARE_GRAIN * MIM_SPARE_GRAIN;
    return size < size_min(ring) ? size_min(ring) : size;
}

/** No descriptor is free: as passing as a full disk, and no reason to stop. */
static bool descriptors_are_out(const struct mim_error *error) {
    return error->os_errno == EMFILE || error->os_errno == ENFILE;
}

static int spare_make(struct mim_storage storage, uint64_t size, struct mim_error *reterr) {
    mim_file_t file = 0;
    struct mim_error why = {0};
    int rc =
        mim_file_open(storage, MIM_SPARE_TEMPORARY, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_EXCLUSIVE, &file, &why);
    if (rc != 0) {
        return mim_error_set(reterr, descriptors_are_out(&why) ? MIM_E_NO_SPACE : rc, "%s", why.text);
    }
    rc = mim_file_preallocate(storage, file, size, reterr);
    mim_file_close(storage, file);
    if (rc == 0) {
        rc = mim_storage_rename(storage, MIM_SPARE_TEMPORARY, MIM_SPARE_PATH, reterr);
    }
    if (rc != 0) {
        (void)mim_storage_remove(storage, MIM_SPARE_TEMPORARY, NULL);
    }
    return rc;
}

int mim_preparer_step(struct mim_storage storage, struct mim_ring *ring, uint64_t segment_size_max,
                      struct mim_error *reterr) {
    int state = atomic_load_explicit(&ring->spare_state, memory_order_acquire);
    if (state != MIM_SPARE_NEEDED && state != MIM_SPARE_FULL) {
        return 0;
    }
    uint64_t size = spare_size(ring, segment_size_max);
    int rc = mim_writer_discard(storage, MIM_SPARE_PATH, reterr); /* of unknown content, and its room is wanted */
    rc = rc != 0 ? rc : mim_writer_discard(storage, MIM_SPARE_TEMPORARY, reterr);
    rc = rc != 0 ? rc : spare_make(storage, size, reterr);
    while (rc == MIM_E_NO_SPACE && size > size_min(ring)) {
        size = size_half(ring, size);
        rc = spare_make(storage, size, reterr);
    }
    if (rc == 0) {
        atomic_store_explicit(&ring->spare_size, size, memory_order_relaxed);
        atomic_store_explicit(&ring->spare_state, MIM_SPARE_READY, memory_order_release);
        return 1;
    }
    if (rc == MIM_E_NO_SPACE) {
        atomic_store_explicit(&ring->spare_state, MIM_SPARE_FULL, memory_order_release);
    }
    return rc;
}
