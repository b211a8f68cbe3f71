// SPDX-License-Identifier: MIT
// Writing the image as a snapshot file: blocks with checksums, zero blocks as holes, then table, then header.
#include <stdlib.h>

#include "base/hash.h"
#include "snapshot/snapshot.h"

#define MIM_SNAPSHOT_RUN_SIZE (1u << 20) /* bytes per write */

struct writing {
    struct mim_storage storage;
    mim_file_t file;
    const uint8_t *image;
    uint64_t image_size;
    uint64_t *table;
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};

static bool block_is_zero(const uint8_t *bytes, size_t size) {
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/** Hashes the blocks of one run into the table; false when the whole run is zeros (a hole). */
static bool run_hash(struct writing *w, uint64_t offset, uint64_t size) {
    bool any = false;
    for (uint64_t at = offset; at < offset + size; at += MIM_SNAPSHOT_BLOCK_SIZE) {
        uint64_t left = w->image_size - at;
        size_t block = left < MIM_SNAPSHOT_BLOCK_SIZE ? (size_t)left : MIM_SNAPSHOT_BLOCK_SIZE;
        uint64_t number = at / MIM_SNAPSHOT_BLOCK_SIZE;
        w->table[number] = mim_hash64(w->image + at, block, number);
        any = any || !block_is_zero(w->image + at, block);
    }
    return any;
}

static int write_blocks(struct writing *w, struct mim_error *reterr) {
    for (uint64_t at = 0; at < w->image_size; at += MIM_SNAPSHOT_RUN_SIZE) {
        uint64_t left = w->image_size - at;
        uint64_t size = left < MIM_SNAPSHOT_RUN_SIZE ? left : MIM_SNAPSHOT_RUN_SIZE;
        if (run_hash(w, at, size)) {
            int rc = mim_file_pwrite(w->storage, w->file, w->image + at, (size_t)size, MIM_SNAPSHOT_HEADER_SIZE + at,
                                     reterr);
            if (rc != 0) {
                return rc;
            }
        }
        if (w->progress != NULL) {
            w->progress(w->context, at + size, w->image_size);
        }
    }
    return 0;
}

static int write_all(struct writing *w, struct mim_snapshot_header *header, struct mim_error *reterr) {
    size_t table_size = (size_t)header->block_count * sizeof(uint64_t);
    int rc = write_blocks(w, reterr);
    if (rc == 0) {
        header->table_check = mim_hash64(w->table, table_size, header->block_count);
        rc = mim_file_pwrite(w->storage, w->file, w->table, table_size, header->table_offset, reterr);
    }
    uint8_t page[MIM_SNAPSHOT_HEADER_SIZE];
    if (rc == 0) {
        mim_snapshot_header_encode(header, page);
        rc = mim_file_pwrite(w->storage, w->file, page, sizeof(page), 0, reterr);
    }
    return rc != 0 ? rc : mim_file_sync(w->storage, w->file, reterr);
}

static void header_of(struct mim_engine *engine, int64_t wall_ms, struct mim_snapshot_header *ret_header) {
    struct mim_engine_point point;
    mim_engine_point(engine, &point);
    const struct mim_compiled *compiled = mim_engine_compiled(engine);
    uint64_t image_size = mim_arena_head(mim_engine_arena(engine))->used;
    uint64_t blocks = image_size / MIM_SNAPSHOT_BLOCK_SIZE + (image_size % MIM_SNAPSHOT_BLOCK_SIZE != 0);
    *ret_header = (struct mim_snapshot_header){
        .history = point.history,
        .fingerprint = compiled->fingerprint,
        .position = point.position,
        .lsn = point.lsn,
        .chain = point.chain,
        .epoch = point.epoch,
        .time_ms = point.time_ms,
        .written_ms = wall_ms,
        .digest = mim_engine_digest(engine),
        .image_size = image_size,
        .block_count = blocks,
        .table_offset = MIM_SNAPSHOT_HEADER_SIZE + blocks * MIM_SNAPSHOT_BLOCK_SIZE,
    };
    strncpy(ret_header->model, compiled->model->name, sizeof(ret_header->model) - 1);
}

/** Puts the finished temporary file under its name, durably. */
static int publish(struct mim_storage storage, const char *temporary, const char *path, struct mim_error *reterr) {
    int rc = mim_storage_rename(storage, temporary, path, reterr);
    return rc != 0 ? rc : mim_storage_sync_dir(storage, MIM_SNAPSHOT_DIR, reterr);
}

int mim_snapshot_write(struct mim_storage storage, struct mim_engine *engine, int64_t wall_ms,
                       void (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                       struct mim_snapshot_header *ret_header, struct mim_error *reterr) {
    static const char temporary[] = MIM_SNAPSHOT_DIR "/new.tmp";
    struct mim_snapshot_header header;
    header_of(engine, wall_ms, &header);
    struct writing w = {
        .storage = storage,
        .image = mim_engine_arena(engine)->base,
        .image_size = header.image_size,
        .table = malloc((size_t)header.block_count * sizeof(uint64_t)),
        .progress = progress,
        .context = context,
    };
    if (w.table == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory for the snapshot's table");
    }
    mim_arena_poison_lift(mim_engine_arena(engine)); /* the image is read as raw bytes from here on */
    int rc = mim_storage_make_dir(storage, MIM_SNAPSHOT_DIR, reterr);
    if (rc == 0) {
        rc = mim_storage_sync_dir(storage, ".", reterr);
    }
    if (rc == 0) {
        rc = mim_file_open(storage, temporary, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_TRUNCATE, &w.file, reterr);
    }
    if (rc == 0) {
        rc = write_all(&w, &header, reterr);
        mim_file_close(storage, w.file);
        char path[MIM_SNAPSHOT_PATH_SIZE];
        mim_snapshot_path(header.position, path);
        rc = rc != 0 ? rc : publish(storage, temporary, path, reterr);
        if (rc != 0) {
            (void)mim_storage_remove(storage, temporary, NULL);
        }
    }
    free(w.table);
    mim_arena_poison_restore(mim_engine_arena(engine));
    if (rc == 0) {
        *ret_header = header;
    }
    return rc;
}
