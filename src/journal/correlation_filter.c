// SPDX-License-Identifier: MIT
// A filter's file: its header, its rows, looking an id up. See correlation_filter.h.
#include "journal/correlation_filter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "journal/correlation_format.h"

void mim_filter_identify(const struct mim_segments *segments, size_t segment,
                         struct mim_filter_identity *ret_identity) {
    const struct mim_segment_header *header = &segments->items[segment].header;
    const struct mim_segment_header *next = &segments->items[segment + 1].header;
    *ret_identity = (struct mim_filter_identity){
        .history = header->history,
        .first_position = header->first_position,
        .base_lsn = header->base_lsn,
        .end_lsn = next->base_lsn,
        .previous_chain = header->previous_chain,
        .end_chain = next->previous_chain,
    };
}

uint64_t mim_filter_hash(const struct mim_history *history, struct mim_slice correlation) {
    return mim_hash64(correlation.data, correlation.size, mim_history_seed(history));
}

int mim_filter_found(struct mim_correlation_search *search, const struct mim_correlation_block *block,
                     struct mim_error *reterr) {
    if (search->block_count == search->block_capacity) {
        size_t capacity = search->block_capacity == 0 ? 16 : search->block_capacity * 2;
        struct mim_correlation_block *grown = realloc(search->blocks, capacity * sizeof(*grown));
        if (grown == NULL) {
            return mim_error_set(reterr, MIM_E_MEMORY, "out of memory searching the journal");
        }
        search->blocks = grown;
        search->block_capacity = capacity;
    }
    search->blocks[search->block_count++] = *block;
    return 0;
}

void mim_filter_path(mim_position_t first_position, const char *suffix, char ret_path[MIM_CORRELATION_PATH_SIZE]) {
    (void)snprintf(ret_path, MIM_CORRELATION_PATH_SIZE, MIM_CORRELATION_DIR "/%020" PRIu64 ".corr%s", first_position,
                   suffix);
}

uint64_t mim_filter_header_encode(const struct mim_filter_identity *identity, uint32_t blocks, uint32_t rows,
                                  uint64_t table_check, uint8_t ret_bytes[MIM_FILTER_HEADER_SIZE]) {
    memset(ret_bytes, 0, MIM_FILTER_HEADER_SIZE);
    mim_put64(ret_bytes, MIM_FILTER_MAGIC);
    mim_put32(ret_bytes + 8, MIM_FILTER_FORMAT);
    mim_put32(ret_bytes + 12, blocks);
    memcpy(ret_bytes + 16, identity->history.uuid, sizeof(identity->history.uuid));
    mim_put64(ret_bytes + 32, identity->first_position);
    mim_put64(ret_bytes + 40, identity->base_lsn);
    mim_put64(ret_bytes + 48, identity->end_lsn);
    mim_put64(ret_bytes + 56, identity->previous_chain);
    mim_put64(ret_bytes + 64, identity->end_chain);
    mim_put32(ret_bytes + 72, rows);
    mim_put64(ret_bytes + 80, table_check);
    uint64_t check = mim_hash64(ret_bytes, MIM_FILTER_HEADER_SIZE - 8, 0);
    mim_put64(ret_bytes + 88, check);
    return check;
}

/** Blocks and rows, when the bytes are the header of this segment's filter and the file is as long as it says. */
static bool header_decode(const uint8_t bytes[MIM_FILTER_HEADER_SIZE], uint64_t file_size,
                          const struct mim_filter_identity *identity, uint32_t *ret_blocks, uint32_t *ret_rows) {
    uint8_t wanted[MIM_FILTER_HEADER_SIZE];
    uint32_t blocks = mim_get32(bytes + 12);
    uint32_t rows = mim_get32(bytes + 72);
    uint64_t most = (identity->end_lsn - identity->base_lsn) / MIM_FRAME_HEADER_SIZE; /* frames, and ids in a block */
    (void)mim_filter_header_encode(identity, blocks, rows, mim_get64(bytes + 80), wanted);
    if (memcmp(bytes, wanted, sizeof(wanted)) != 0 || (blocks > 0) != (rows > 0) || blocks > most || rows > most) {
        return false;
    }
    *ret_blocks = blocks;
    *ret_rows = rows;
    return file_size == MIM_FILTER_HEADER_SIZE + (uint64_t)blocks * MIM_FILTER_ENTRY_SIZE +
                            (uint64_t)rows * (blocks == 0 ? 0 : mim_filter_row_size(blocks));
}

/** The file while it is looked at. */
struct looking {
    struct mim_storage storage;
    const struct mim_filter_identity *identity;
    mim_file_t file;
    struct mim_correlation_stats *stats; /* NULL: not counted */
    uint32_t blocks, rows;
    uint64_t table_check, check;
};

static bool read_exactly(const struct looking *l, void *buffer, size_t size, uint64_t offset) {
    size_t got = 0;
    struct mim_error ignored; /* what cannot be read is not there */
    if (mim_file_pread(l->storage, l->file, buffer, size, offset, &got, &ignored) != 0) {
        return false;
    }
    if (l->stats != NULL) {
        l->stats->reads++;
        l->stats->bytes += got;
    }
    return got == size;
}

static bool look_open(struct looking *l) {
    char path[MIM_CORRELATION_PATH_SIZE];
    uint8_t header[MIM_FILTER_HEADER_SIZE];
    uint64_t size = 0;
    struct mim_error ignored;
    mim_filter_path(l->identity->first_position, "", path);
    if (mim_file_open(l->storage, path, MIM_OPEN_READ, &l->file, &ignored) != 0) {
        return false;
    }
    if (mim_file_size(l->storage, l->file, &size, &ignored) == 0 && read_exactly(l, header, sizeof(header), 0) &&
        header_decode(header, size, l->identity, &l->blocks, &l->rows)) {
        l->table_check = mim_get64(header + 80);
        l->check = mim_get64(header + 88);
        return true;
    }
    mim_file_close(l->storage, l->file);
    return false;
}

bool mim_filter_exists(struct mim_storage storage, const struct mim_filter_identity *identity) {
    struct looking l = {.storage = storage, .identity = identity};
    bool there = look_open(&l);
    if (there) {
        mim_file_close(storage, l.file);
    }
    return there;
}

/** The blocks of the row that match, by the table. False: the table is damaged. */
static bool look_matches(const struct looking *l, const uint8_t *row, uint8_t *table,
                         struct mim_correlation_search *search, int *ret_code, struct mim_error *reterr) {
    bool loaded = false;
    for (uint32_t i = 0; *ret_code == 0 && i < l->blocks; i++) {
        if (!mim_filter_group_has(row + (size_t)i * MIM_FILTER_GROUP_SIZE, search->hash)) {
            continue;
        }
        size_t table_size = (size_t)l->blocks * MIM_FILTER_ENTRY_SIZE;
        if (!loaded && (!read_exactly(l, table, table_size, MIM_FILTER_HEADER_SIZE) ||
                        mim_hash64(table, table_size, 0) != l->table_check)) {
            return false;
        }
        loaded = true;
        const uint8_t *entry = table + (size_t)i * MIM_FILTER_ENTRY_SIZE;
        struct mim_correlation_block block = {
            .lsn = mim_get64(entry), .end = mim_get64(entry + 8), .first_position = mim_get64(entry + 16)};
        if (block.lsn < l->identity->base_lsn + MIM_SEGMENT_HEADER_SIZE || block.lsn >= block.end ||
            block.end > l->identity->end_lsn || block.first_position < l->identity->first_position) {
            return false;
        }
        *ret_code = mim_filter_found(search, &block, reterr);
    }
    return true;
}

static int look_up(const struct looking *l, struct mim_correlation_search *search, struct mim_error *reterr) {
    if (l->blocks == 0) {
        return 0;
    }
    size_t size = mim_filter_row_size(l->blocks);
    uint8_t *memory = malloc(size + (size_t)l->blocks * MIM_FILTER_ENTRY_SIZE);
    if (memory == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory searching the journal");
    }
    uint32_t number = mim_filter_row_of(search->hash, l->rows);
    uint64_t offset = MIM_FILTER_HEADER_SIZE + (uint64_t)l->blocks * MIM_FILTER_ENTRY_SIZE + (uint64_t)number * size;
    int rc = 0;
    bool whole = read_exactly(l, memory, size, offset) &&
                 mim_get64(memory + size - 8) == mim_hash64(memory, size - 8, l->check + number) &&
                 look_matches(l, memory, memory + size, search, &rc, reterr);
    free(memory);
    return rc != 0 ? rc : whole ? 0 : MIM_E_NOT_FOUND;
}

int mim_filter_lookup(struct mim_storage storage, const struct mim_filter_identity *identity,
                      struct mim_correlation_search *search, struct mim_correlation_stats *stats,
                      struct mim_error *reterr) {
    struct looking l = {.storage = storage, .identity = identity, .stats = stats};
    if (!look_open(&l)) {
        return MIM_E_NOT_FOUND;
    }
    size_t before = search->block_count;
    int rc = look_up(&l, search, reterr);
    mim_file_close(storage, l.file);
    if (rc != 0) {
        search->block_count = before;
    } else {
        stats->filters_used++;
    }
    return rc;
}
