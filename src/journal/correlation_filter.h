// SPDX-License-Identifier: MIT
// One segment's filter: built from its frames, written, looked up. Inside of correlation.h.
//
// All blocks of a segment have filters of the same size, stored across: row r holds word group r (32 bytes, a split-block
// Bloom filter's unit) of every block. An id touches one group only, so a look-up reads the header and one row.
//
//   0   8  magic "MIMCORR1"            | 64 8 chain at the segment's end (the next one's previous chain)
//   8   4  format version (1)          | 72 4 rows
//   12  4  blocks                      | 76 4 reserved, zero
//   16  16 history uuid                | 80 8 check of the table: XXH3-64
//   32  8  first position              | 88 8 check: XXH3-64 of bytes 0..87
//   40  8  base LSN                    | 96   table: per block {u64 LSN, u64 end LSN, u64 first position}
//   48  8  end LSN                     |      rows: per block 32 bytes, then XXH3-64 of them, seeded with the header's
//   56  8  previous chain              |      check + the row's number
#ifndef MIM_JOURNAL_CORRELATION_FILTER_H
#define MIM_JOURNAL_CORRELATION_FILTER_H

#include "journal/correlation.h"

/** Which bytes of which history a filter speaks of. */
struct mim_filter_identity {
    struct mim_history history;
    mim_position_t first_position;
    mim_lsn_t base_lsn;
    mim_lsn_t end_lsn;
    uint64_t previous_chain;
    uint64_t end_chain;
};

/** Of a complete segment: number `segment` of the table, which is not the last. */
void mim_filter_identify(const struct mim_segments *segments, size_t segment, struct mim_filter_identity *ret_identity);

uint64_t mim_filter_hash(const struct mim_history *history, struct mim_slice correlation);

/** Adds a block to what was found. MEMORY. */
MIM_CHECKED int mim_filter_found(struct mim_correlation_search *search, const struct mim_correlation_block *block,
                                 struct mim_error *reterr);

/** Looks an id up in the filter's file: blocks that may hold it are added to the search. NOT_FOUND: there is no file,
 *  or none that is whole and speaks of this segment; MEMORY. */
MIM_CHECKED int mim_filter_lookup(struct mim_storage storage, const struct mim_filter_identity *identity,
                                  struct mim_correlation_search *search, struct mim_correlation_stats *stats,
                                  struct mim_error *reterr);
/** Is there a whole header of this segment's filter? */
bool mim_filter_exists(struct mim_storage storage, const struct mim_filter_identity *identity);

struct mim_filter_block {
    struct mim_correlation_block place;
    size_t first, count; /* of its hashes: sorted, each once */
};

/** A filter while it is made. It answers for what it has read from the beginning. */
struct mim_filter_build {
    mim_lsn_t base_lsn;                /* of the segment */
    mim_lsn_t lsn;                     /* of the next frame to be read */
    struct mim_correlation_block open; /* the block at hand */
    size_t open_first;                 /* of its hashes, not sorted yet */
    uint64_t *hashes;                  /* owned */
    size_t hash_count, hash_capacity;
    struct mim_filter_block *blocks; /* owned: those that hold ids */
    size_t block_count, block_capacity;
    bool complete; /* all blocks are closed */
    /* the file */
    uint8_t *rows; /* owned; NULL: not begun */
    uint32_t row_count;
    size_t block_filled, hash_filled; /* next block and hash to be entered in the rows */
    uint32_t row_written;
    mim_file_t file;
    uint64_t file_seed; /* of the rows' checks */
};

/** Begins with a segment. MEMORY. */
MIM_CHECKED int mim_filter_build_new(const struct mim_segment_header *segment, struct mim_filter_build **ret_build,
                                     struct mim_error *reterr);
struct mim_filter_build *mim_filter_build_free(struct mim_filter_build *build, struct mim_storage storage);
/** Reads the next frame. NOT_FOUND: `end` (a frame boundary below the access's limit) is reached; as mim_access_frame;
 *  MEMORY. */
MIM_CHECKED int mim_filter_build_read(struct mim_filter_build *build, struct mim_access *access, mim_lsn_t end,
                                      struct mim_error *reterr);
/** After the segment's end was reached: a piece of the file's making. AGAIN: there is more; 0: the file is there;
 *  others: it could not be written, and is not there. */
MIM_CHECKED int mim_filter_build_write(struct mim_filter_build *build, struct mim_storage storage,
                                       const struct mim_filter_identity *identity, enum mim_correlation_writer writer,
                                       struct mim_error *reterr);
/** Adds the blocks that hold the id, of all that was read, to the search. MEMORY. */
MIM_CHECKED int mim_filter_build_lookup(const struct mim_filter_build *build, struct mim_correlation_search *search,
                                        struct mim_error *reterr);

#endif
