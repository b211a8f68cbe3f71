// SPDX-License-Identifier: MIT
// The snapshot's header page and file names. Pure.
#include <stdio.h>

#include "base/hash.h"
#include "snapshot/snapshot.h"

enum { HEADER_CHECK_OFFSET = 192 };

void mim_snapshot_path(mim_position_t position, char ret_path[MIM_SNAPSHOT_PATH_SIZE]) {
    (void)snprintf(ret_path, MIM_SNAPSHOT_PATH_SIZE, MIM_SNAPSHOT_DIR "/%020llu.snapshot",
                   (unsigned long long)position);
}

void mim_snapshot_header_encode(const struct mim_snapshot_header *header, uint8_t ret_page[MIM_SNAPSHOT_HEADER_SIZE]) {
    memset(ret_page, 0, MIM_SNAPSHOT_HEADER_SIZE);
    mim_put64(ret_page, MIM_SNAPSHOT_MAGIC);
    mim_put32(ret_page + 8, MIM_SNAPSHOT_FORMAT);
    memcpy(ret_page + 16, header->history.uuid, sizeof(header->history.uuid));
    mim_put64(ret_page + 32, header->fingerprint);
    mim_put64(ret_page + 40, header->position);
    mim_put64(ret_page + 48, header->lsn);
    mim_put64(ret_page + 56, header->chain);
    mim_put32(ret_page + 64, header->epoch);
    mim_put32(ret_page + 68, MIM_SNAPSHOT_BLOCK_SIZE);
    mim_put64(ret_page + 72, (uint64_t)header->time_ms);
    mim_put64(ret_page + 80, (uint64_t)header->written_ms);
    mim_put64(ret_page + 88, header->digest);
    mim_put64(ret_page + 96, header->image_size);
    mim_put64(ret_page + 104, header->block_count);
    mim_put64(ret_page + 112, header->table_offset);
    mim_put64(ret_page + 120, header->table_check);
    memcpy(ret_page + 128, header->model, sizeof(header->model));
    mim_put64(ret_page + HEADER_CHECK_OFFSET, mim_hash64(ret_page, HEADER_CHECK_OFFSET, 0));
}

static void header_read(const uint8_t *page, struct mim_snapshot_header *header) {
    *header = (struct mim_snapshot_header){
        .fingerprint = mim_get64(page + 32),
        .position = mim_get64(page + 40),
        .lsn = mim_get64(page + 48),
        .chain = mim_get64(page + 56),
        .epoch = mim_get32(page + 64),
        .time_ms = (int64_t)mim_get64(page + 72),
        .written_ms = (int64_t)mim_get64(page + 80),
        .digest = mim_get64(page + 88),
        .image_size = mim_get64(page + 96),
        .block_count = mim_get64(page + 104),
        .table_offset = mim_get64(page + 112),
        .table_check = mim_get64(page + 120),
    };
    memcpy(header->history.uuid, page + 16, sizeof(header->history.uuid));
    memcpy(header->model, page + 128, sizeof(header->model));
    header->model[sizeof(header->model) - 1] = '\0';
}

/** Sizes must agree with one another before anybody uses them. */
static bool header_sane(const struct mim_snapshot_header *header, uint32_t block_size) {
    uint64_t blocks =
        header->image_size / MIM_SNAPSHOT_BLOCK_SIZE + (header->image_size % MIM_SNAPSHOT_BLOCK_SIZE != 0);
    return block_size == MIM_SNAPSHOT_BLOCK_SIZE && header->image_size >= MIM_IMAGE_PAGE &&
           header->image_size < (uint64_t)1 << 46 && header->block_count == blocks &&
           header->table_offset == MIM_SNAPSHOT_HEADER_SIZE + blocks * MIM_SNAPSHOT_BLOCK_SIZE;
}

int mim_snapshot_header_decode(const uint8_t page[MIM_SNAPSHOT_HEADER_SIZE], struct mim_snapshot_header *ret_header,
                               struct mim_error *reterr) {
    if (mim_get64(page) != MIM_SNAPSHOT_MAGIC) {
        return mim_error_set(reterr, MIM_E_FORMAT, "not a snapshot");
    }
    if (mim_get64(page + HEADER_CHECK_OFFSET) != mim_hash64(page, HEADER_CHECK_OFFSET, 0)) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "its header is damaged");
    }
    if (mim_get32(page + 8) != MIM_SNAPSHOT_FORMAT || mim_get32(page + 12) != 0) {
        return mim_error_set(reterr, MIM_E_FORMAT, "format version %u, flags %x: this program knows version %u",
                             mim_get32(page + 8), mim_get32(page + 12), MIM_SNAPSHOT_FORMAT);
    }
    for (size_t i = HEADER_CHECK_OFFSET + 8; i < MIM_SNAPSHOT_HEADER_SIZE; i++) {
        if (page[i] != 0) {
            return mim_error_set(reterr, MIM_E_DAMAGED, "its header's padding is not zero at offset %zu", i);
        }
    }
    struct mim_snapshot_header header;
    header_read(page, &header);
    if (!header_sane(&header, mim_get32(page + 68))) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "its header's sizes contradict each other");
    }
    *ret_header = header;
    return 0;
}
