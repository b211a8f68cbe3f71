// SPDX-License-Identifier: MIT
// Building a filter: frames are read one by one, hashes gathered block by block, then the rows filled and written piece
// by piece, so that who does it between other things never does much at once. See correlation_filter.h.
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "journal/correlation_format.h"

#define FILL_HASHES 2048u        /* of one piece */
#define WRITE_BYTES (128u << 10) /* of one piece */

int mim_filter_build_new(const struct mim_segment_header *segment, struct mim_filter_build **ret_build,
                         struct mim_error *reterr) {
    struct mim_filter_build *build = calloc(1, sizeof(*build));
    if (build == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory building a filter");
    }
    build->base_lsn = segment->base_lsn;
    build->lsn = segment->base_lsn + MIM_SEGMENT_HEADER_SIZE;
    build->open =
        (struct mim_correlation_block){.lsn = build->lsn, .end = build->lsn, .first_position = segment->first_position};
    *ret_build = build;
    return 0;
}

struct mim_filter_build *mim_filter_build_free(struct mim_filter_build *build, struct mim_storage storage) {
    if (build != NULL) {
        mim_file_close(storage, build->file);
        free(build->hashes);
        free(build->blocks);
        free(build->rows);
        free(build);
    }
    return NULL;
}

/* ---------------------------------------------------------------------- read */

static int no_memory(struct mim_error *reterr) {
    return mim_error_set(reterr, MIM_E_MEMORY, "out of memory building a filter");
}

static int hash_add(struct mim_filter_build *build, uint64_t hash, struct mim_error *reterr) {
    if (build->hash_count > build->open_first && build->hashes[build->hash_count - 1] == hash) {
        return 0;
    }
    if (build->hash_count == build->hash_capacity) {
        size_t capacity = build->hash_capacity == 0 ? 1024 : build->hash_capacity * 2;
        uint64_t *grown = realloc(build->hashes, capacity * sizeof(*grown));
        if (grown == NULL) {
            return no_memory(reterr);
        }
        build->hashes = grown;
        build->hash_capacity = capacity;
    }
    build->hashes[build->hash_count++] = hash;
    return 0;
}

static int compare_hashes(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/** Sorts the open block's hashes and keeps each once; returns how many. */
static size_t hashes_settle(struct mim_filter_build *build) {
    uint64_t *hashes = build->hashes + build->open_first;
    size_t count = build->hash_count - build->open_first;
    size_t kept = 0;
    if (count > 0) {
        qsort(hashes, count, sizeof(*hashes), compare_hashes);
    }
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || hashes[kept - 1] != hashes[i]) {
            hashes[kept++] = hashes[i];
        }
    }
    build->hash_count = build->open_first + kept;
    return kept;
}

/** Ends the block at hand where the next frame begins. A block without ids leaves nothing behind. */
static int block_close(struct mim_filter_build *build, mim_position_t next_position, struct mim_error *reterr) {
    if (build->hash_count > build->open_first && build->block_count == build->block_capacity) {
        size_t capacity = build->block_capacity == 0 ? 64 : build->block_capacity * 2;
        struct mim_filter_block *grown = realloc(build->blocks, capacity * sizeof(*grown));
        if (grown == NULL) {
            return no_memory(reterr);
        }
        build->blocks = grown;
        build->block_capacity = capacity;
    }
    size_t count = hashes_settle(build);
    if (count > 0) {
        build->open.end = build->lsn;
        build->blocks[build->block_count++] =
            (struct mim_filter_block){.place = build->open, .first = build->open_first, .count = count};
    }
    build->open_first = build->hash_count;
    build->open = (struct mim_correlation_block){.lsn = build->lsn, .end = build->lsn, .first_position = next_position};
    return 0;
}

static int frame_scan(struct mim_filter_build *build, const struct mim_history *history, const struct mim_frame *frame,
                      struct mim_error *reterr) {
    for (uint32_t offset = MIM_FRAME_HEADER_SIZE; offset < frame->header.size;) {
        struct mim_record record;
        struct mim_slice correlation;
        size_t size = mim_record_decode(frame->bytes + offset, frame->header.size - offset, &record);
        if (size == 0) {
            return mim_error_set(reterr, MIM_E_DAMAGED, "malformed record at LSN %llu",
                                 (unsigned long long)(frame->lsn + offset));
        }
        if (mim_record_part(&record, MIM_PART_CORR, &correlation)) {
            int rc = hash_add(build, mim_filter_hash(history, correlation), reterr);
            if (rc != 0) {
                return rc;
            }
        }
        offset += (uint32_t)size;
    }
    return 0;
}

int mim_filter_build_read(struct mim_filter_build *build, struct mim_access *access, mim_lsn_t end,
                          struct mim_error *reterr) {
    if (build->lsn >= end) {
        return MIM_E_NOT_FOUND;
    }
    struct mim_frame frame;
    int rc = mim_access_frame(access, build->lsn, &frame, reterr);
    if (rc != 0) {
        return rc;
    }
    mim_access_met(access, frame.lsn, frame.header.first_position);
    if (build->lsn >= build->open.lsn + MIM_CORRELATION_BLOCK) {
        rc = block_close(build, frame.header.first_position, reterr);
    }
    size_t before = build->hash_count;
    if (rc == 0 && frame.header.kind == MIM_FRAME_DATA) {
        rc = frame_scan(build, &mim_access_segments(access)->items[0].header.history, &frame, reterr);
    }
    if (rc != 0) {
        build->hash_count = before; /* the frame is read again, if at all */
        return rc;
    }
    build->lsn += frame.header.size;
    build->open.end = build->lsn;
    return 0;
}

int mim_filter_build_lookup(const struct mim_filter_build *build, struct mim_correlation_search *search,
                            struct mim_error *reterr) {
    for (size_t i = 0; i < build->block_count; i++) {
        const struct mim_filter_block *block = &build->blocks[i];
        if (bsearch(&search->hash, build->hashes + block->first, block->count, sizeof(uint64_t), compare_hashes) !=
            NULL) {
            int rc = mim_filter_found(search, &block->place, reterr);
            if (rc != 0) {
                return rc;
            }
        }
    }
    for (size_t i = build->open_first; i < build->hash_count; i++) {
        if (build->hashes[i] == search->hash) {
            return mim_filter_found(search, &build->open, reterr);
        }
    }
    return 0;
}

/* --------------------------------------------------------------------- write */

static int rows_begin(struct mim_filter_build *build, struct mim_error *reterr) {
    size_t most = 0;
    for (size_t i = 0; i < build->block_count; i++) {
        most = build->blocks[i].count > most ? build->blocks[i].count : most;
    }
    if (most == 0) {
        return 0;
    }
    build->row_count = (uint32_t)(most * MIM_FILTER_ID_BITS / (MIM_FILTER_GROUP_SIZE * 8u) + 1);
    build->rows = calloc(build->row_count, mim_filter_row_size((uint32_t)build->block_count));
    return build->rows == NULL ? no_memory(reterr) : 0;
}

/** Enters some hashes; true: there are more. */
static bool rows_fill(struct mim_filter_build *build) {
    size_t row_size = mim_filter_row_size((uint32_t)build->block_count);
    for (unsigned done = 0; done < FILL_HASHES && build->block_filled < build->block_count; done++) {
        const struct mim_filter_block *block = &build->blocks[build->block_filled];
        uint64_t hash = build->hashes[block->first + build->hash_filled];
        mim_filter_group_add(build->rows + mim_filter_row_of(hash, build->row_count) * row_size +
                                 build->block_filled * MIM_FILTER_GROUP_SIZE,
                             hash);
        if (++build->hash_filled == block->count) {
            build->hash_filled = 0;
            build->block_filled++;
        }
    }
    return build->block_filled < build->block_count;
}

static int file_begin(struct mim_filter_build *build, struct mim_storage storage,
                      const struct mim_filter_identity *identity, const char *path, struct mim_error *reterr) {
    size_t table_size = build->block_count * MIM_FILTER_ENTRY_SIZE;
    uint8_t *bytes = malloc(MIM_FILTER_HEADER_SIZE + table_size);
    if (bytes == NULL) {
        return no_memory(reterr);
    }
    uint8_t *entry = bytes + MIM_FILTER_HEADER_SIZE;
    for (size_t i = 0; i < build->block_count; i++, entry += MIM_FILTER_ENTRY_SIZE) {
        mim_put64(entry, build->blocks[i].place.lsn);
        mim_put64(entry + 8, build->blocks[i].place.end);
        mim_put64(entry + 16, build->blocks[i].place.first_position);
    }
    build->file_seed = mim_filter_header_encode(identity, (uint32_t)build->block_count, build->row_count,
                                                mim_hash64(bytes + MIM_FILTER_HEADER_SIZE, table_size, 0), bytes);
    int rc = mim_storage_make_dir(storage, MIM_CORRELATION_DIR, reterr);
    rc = rc != 0
             ? rc
             : mim_file_open(storage, path, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_TRUNCATE, &build->file, reterr);
    rc = rc != 0 ? rc : mim_file_pwrite(storage, build->file, bytes, MIM_FILTER_HEADER_SIZE + table_size, 0, reterr);
    free(bytes);
    return rc;
}

/** Writes some rows with their checks. */
static int file_rows(struct mim_filter_build *build, struct mim_storage storage, struct mim_error *reterr) {
    MIM_ASSERT(build->rows != NULL);
    size_t row_size = mim_filter_row_size((uint32_t)build->block_count);
    uint8_t *from = build->rows + build->row_written * row_size;
    uint64_t offset = MIM_FILTER_HEADER_SIZE + build->block_count * MIM_FILTER_ENTRY_SIZE;
    offset += (uint64_t)build->row_written * row_size;
    size_t size = 0;
    while (build->row_written < build->row_count && size < WRITE_BYTES) {
        uint8_t *row = from + size;
        mim_put64(row + row_size - 8, mim_hash64(row, row_size - 8, build->file_seed + build->row_written));
        size += row_size;
        build->row_written++;
    }
    return mim_file_pwrite(storage, build->file, from, size, offset, reterr);
}

static int write_piece(struct mim_filter_build *build, struct mim_storage storage,
                       const struct mim_filter_identity *identity, const char *path, struct mim_error *reterr) {
    if (!build->complete) {
        MIM_ASSERT(build->lsn >= identity->end_lsn);
        int rc = block_close(build, 0, reterr);
        rc = rc != 0 ? rc : rows_begin(build, reterr);
        build->complete = rc == 0;
        return rc != 0 ? rc : MIM_E_AGAIN;
    }
    if (build->rows != NULL && rows_fill(build)) {
        return MIM_E_AGAIN;
    }
    int rc = build->file == 0 ? file_begin(build, storage, identity, path, reterr) : 0;
    if (rc != 0 || build->row_written == build->row_count) {
        return rc;
    }
    rc = file_rows(build, storage, reterr);
    return rc != 0 ? rc : MIM_E_AGAIN;
}

int mim_filter_build_write(struct mim_filter_build *build, struct mim_storage storage,
                           const struct mim_filter_identity *identity, enum mim_correlation_writer writer,
                           struct mim_error *reterr) {
    char path[MIM_CORRELATION_PATH_SIZE];
    char final_path[MIM_CORRELATION_PATH_SIZE];
    MIM_ASSERT(writer != MIM_CORRELATION_NONE);
    mim_filter_path(identity->first_position, writer == MIM_CORRELATION_SEARCH ? ".new" : ".tmp", path);
    mim_filter_path(identity->first_position, "", final_path);
    int rc = write_piece(build, storage, identity, path, reterr);
    if (rc == MIM_E_AGAIN) {
        return rc;
    }
    bool made = build->file != 0;
    mim_file_close(storage, build->file);
    build->file = 0;
    /* Not synced: after a power cut a wrong check only means that the filter is built again. */
    rc = rc != 0 ? rc : mim_storage_rename(storage, path, final_path, reterr);
    if (rc != 0 && made) {
        (void)mim_storage_remove(storage, path, NULL);
    }
    return rc;
}
