// SPDX-License-Identifier: MIT
// Makes the next segment ahead of its use: zero-filled and synced, so that later syncs have no metadata to write and
// a full disk is noticed before a command is admitted.
#include "journal/writer.h"

#define MIM_SPARE_PATH      MIM_JOURNAL_DIR "/spare"
#define MIM_SPARE_TEMPORARY MIM_JOURNAL_DIR "/spare.tmp"
#define MIM_SPARE_GRAIN     (1u << 20)

/** Segments grow with the journal, so that a small one stays small: as large as all there is, within bounds. */
static uint64_t spare_size(const struct mim_ring *ring, uint64_t segment_size_max) {
    uint64_t most = segment_size_max == 0 ? MIM_SEGMENT_SIZE_MAX : segment_size_max;
    uint64_t size = atomic_load_explicit(&ring->journal_bytes, memory_order_relaxed);
    size = size > most ? most : size;
    size = size < MIM_SEGMENT_SIZE_MIN ? MIM_SEGMENT_SIZE_MIN : size;
    return size / MIM_SPARE_GRAIN * MIM_SPARE_GRAIN;
}

static int spare_make(struct mim_storage storage, uint64_t size, struct mim_error *reterr) {
    mim_file_t file = 0;
    int rc = mim_file_open(storage, MIM_SPARE_TEMPORARY, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_TRUNCATE, &file,
                           reterr);
    if (rc != 0) {
        return rc;
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
    int rc;
    while ((rc = spare_make(storage, size, reterr)) == MIM_E_NO_SPACE && size > MIM_SEGMENT_SIZE_MIN) {
        size = size / 2 < MIM_SEGMENT_SIZE_MIN ? MIM_SEGMENT_SIZE_MIN : size / 2;
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
