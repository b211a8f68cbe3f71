// SPDX-License-Identifier: MIT
// Writing the image as a snapshot file: blocks with checksums, zero blocks as holes, then table, then header. Where the
// file system can share blocks between files, the blocks that did not change since the snapshot before are shared with
// it. Elsewhere the copy is streamed: writing out begins as it goes along and never gets far ahead of the device, so
// that neither the dirty pages nor the last sync stand in the way of a journal on the same disk.
#include <stdlib.h>

#include "base/hash.h"
#include "snapshot/snapshot.h"

#define MIM_SNAPSHOT_RUN_SIZE (1u << 18) /* bytes per write */
#define MIM_SNAPSHOT_OUT_SIZE \
    (1u << 18) /* bytes sent to the device at once: a sync of the journal waits for twice that */

struct writing {
    struct mim_storage storage;
    mim_file_t file;
    const uint8_t *image;
    uint64_t image_size;
    uint64_t *table;
    uint64_t *base_table; /* of the snapshot that blocks are shared with; NULL: none */
    uint64_t shared;      /* blocks that the file has from it already */
    uint64_t run_at;      /* image bytes [run_at, run_end) are to be written, and are not yet */
    uint64_t run_end;
    bool run_is_zero; /* the run of blocks at hand is all zeros: a hole, where nothing is shared */
    uint64_t out_at;  /* image offset up to which writing out was begun */
    uint64_t written;
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};

static bool is_zero(const uint8_t *bytes, size_t size) {
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/** Sends what was written up to `at` to the device, and waits for what was sent the time before. */
static void send_out(struct writing *w, uint64_t at) {
    uint64_t before = w->out_at < MIM_SNAPSHOT_OUT_SIZE ? 0 : w->out_at - MIM_SNAPSHOT_OUT_SIZE;
    mim_file_advise(w->storage, w->file, MIM_SNAPSHOT_HEADER_SIZE + w->out_at, at - w->out_at, MIM_ADVICE_WRITE_OUT);
    mim_file_advise(w->storage, w->file, MIM_SNAPSHOT_HEADER_SIZE + before, w->out_at - before, MIM_ADVICE_WAIT_OUT);
    w->out_at = at;
}

/** Writes the blocks that have gathered. */
static int run_write(struct writing *w, struct mim_error *reterr) {
    int rc = 0;
    if (w->run_end > w->run_at) {
        rc = mim_file_pwrite(w->storage, w->file, w->image + w->run_at, (size_t)(w->run_end - w->run_at),
                             MIM_SNAPSHOT_HEADER_SIZE + w->run_at, reterr);
        w->written += w->run_end - w->run_at;
    }
    w->run_at = w->run_end;
    return rc;
}

/** Hashes a block into the table. Must it be written? Not when the file has it already, by sharing or in a hole. Holes are
 *  whole runs: a reader maps each of them apart. */
static bool block_changed(struct writing *w, uint64_t number, uint64_t at, size_t size) {
    if (at % MIM_SNAPSHOT_RUN_SIZE == 0) {
        uint64_t left = w->image_size - at;
        w->run_is_zero = is_zero(w->image + at, left < MIM_SNAPSHOT_RUN_SIZE ? (size_t)left : MIM_SNAPSHOT_RUN_SIZE);
    }
    w->table[number] = mim_hash64(w->image + at, size, number);
    return number < w->shared ? w->table[number] != w->base_table[number] : !w->run_is_zero;
}

static int write_blocks(struct writing *w, struct mim_error *reterr) {
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < w->image_size; at += MIM_SNAPSHOT_BLOCK_SIZE) {
        uint64_t left = w->image_size - at;
        size_t size = left < MIM_SNAPSHOT_BLOCK_SIZE ? (size_t)left : MIM_SNAPSHOT_BLOCK_SIZE;
        if (block_changed(w, at / MIM_SNAPSHOT_BLOCK_SIZE, at, size)) {
            w->run_at = w->run_end == w->run_at ? at : w->run_at;
            w->run_end = at + size;
            rc = w->run_end - w->run_at >= MIM_SNAPSHOT_RUN_SIZE ? run_write(w, reterr) : 0;
        } else {
            rc = run_write(w, reterr);
        }
        if (rc == 0 && at + size - w->out_at >= MIM_SNAPSHOT_OUT_SIZE) {
            rc = run_write(w, reterr);
            send_out(w, at + size);
            if (w->progress != NULL) {
                w->progress(w->context, at + size, w->image_size);
            }
        }
    }
    return rc != 0 ? rc : run_write(w, reterr);
}

/* ---- sharing ---- */

/** Reads the checksums of the snapshot before. False: it cannot be relied on, and all is written. */
static bool base_table_read(struct writing *w, mim_file_t file, const struct mim_snapshot_header *base) {
    struct mim_error why = {0};
    size_t size = (size_t)base->block_count * sizeof(uint64_t);
    size_t got = 0;
    w->base_table = malloc(size);
    return w->base_table != NULL &&
           mim_file_pread(w->storage, file, w->base_table, size, base->table_offset, &got, &why) == 0 && got == size &&
           mim_hash64(w->base_table, size, base->block_count) == base->table_check;
}

/** Lets the new file have the blocks of the snapshot before, as far as whole ones reach in both. Where that cannot be
 *  it has none of them. NO_SPACE and IO are those of any write. */
static int share_blocks(struct writing *w, const struct mim_snapshot_header *base, struct mim_error *reterr) {
    uint64_t smaller = base == NULL ? 0 : base->image_size < w->image_size ? base->image_size : w->image_size;
    uint64_t count = smaller / MIM_SNAPSHOT_BLOCK_SIZE;
    if (count == 0) {
        return 0;
    }
    char path[MIM_SNAPSHOT_PATH_SIZE];
    mim_file_t file = 0;
    mim_snapshot_path(base->position, path);
    int rc = mim_file_open(w->storage, path, MIM_OPEN_READ, &file, reterr);
    if (rc == 0 && base_table_read(w, file, base)) {
        rc = mim_file_share(w->storage, file, w->file, MIM_SNAPSHOT_HEADER_SIZE, count * MIM_SNAPSHOT_BLOCK_SIZE,
                            reterr);
        w->shared = rc == 0 ? count : 0;
    }
    mim_file_close(w->storage, file);
    return rc == MIM_E_STATE || rc == MIM_E_NOT_FOUND ? 0 : rc;
}

/* ---- the file ---- */

static int write_all(struct writing *w, const struct mim_snapshot_header *base, struct mim_snapshot_header *header,
                     struct mim_error *reterr) {
    size_t table_size = (size_t)header->block_count * sizeof(uint64_t);
    int rc = share_blocks(w, base, reterr);
    rc = rc != 0 ? rc : write_blocks(w, reterr);
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

int mim_snapshot_write(struct mim_storage storage, struct mim_engine *engine, const struct mim_snapshot_header *base,
                       int64_t wall_ms, void (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                       struct mim_snapshot_header *ret_header, uint64_t *ret_written, struct mim_error *reterr) {
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
    if (rc == 0) { /* taken away, never truncated for reuse: a cut rename can leave its name on a snapshot */
        rc = mim_storage_remove(storage, temporary, reterr);
        rc = rc == MIM_E_NOT_FOUND ? 0 : rc;
    }
    if (rc == 0) {
        rc = mim_file_open(storage, temporary, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_EXCLUSIVE, &w.file, reterr);
    }
    if (rc == 0) {
        rc = write_all(&w, base, &header, reterr);
        mim_file_close(storage, w.file);
        char path[MIM_SNAPSHOT_PATH_SIZE];
        mim_snapshot_path(header.position, path);
        rc = rc != 0 ? rc : publish(storage, temporary, path, reterr);
        if (rc != 0) {
            (void)mim_storage_remove(storage, temporary, NULL);
        }
    }
    free(w.table);
    free(w.base_table);
    mim_arena_poison_restore(mim_engine_arena(engine));
    if (rc == 0) {
        *ret_header = header;
        *ret_written = w.written;
    }
    return rc;
}

void mim_snapshot_forget(struct mim_storage storage, const struct mim_snapshot_header *header) {
    char path[MIM_SNAPSHOT_PATH_SIZE];
    mim_file_t file = 0;
    mim_snapshot_path(header->position, path);
    if (mim_file_open(storage, path, MIM_OPEN_READ, &file, NULL) == 0) {
        mim_file_advise(storage, file, 0, header->table_offset, MIM_ADVICE_FORGET);
        mim_file_close(storage, file);
    }
}
