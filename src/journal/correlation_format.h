// SPDX-License-Identifier: MIT
// Sizes and bits of a filter's file, shared by who writes and who reads it; the table is in correlation_filter.h.
#ifndef MIM_JOURNAL_CORRELATION_FORMAT_H
#define MIM_JOURNAL_CORRELATION_FORMAT_H

#include "journal/correlation_filter.h"

#define MIM_FILTER_MAGIC       0x3152524f434d494dull /* "MIMCORR1" */
#define MIM_FILTER_FORMAT      1u
#define MIM_FILTER_HEADER_SIZE 96u
#define MIM_FILTER_ENTRY_SIZE  24u /* of the table */
#define MIM_FILTER_GROUP_SIZE  32u /* eight words, one bit in each per id */
#define MIM_FILTER_ID_BITS     20u /* per id of the fullest block: about one block in 3,000 matches for nothing */

static inline size_t mim_filter_row_size(uint32_t blocks) { return (size_t)blocks * MIM_FILTER_GROUP_SIZE + 8; }

static inline uint32_t mim_filter_row_of(uint64_t hash, uint32_t rows) {
    return (uint32_t)(((hash >> 32) * rows) >> 32);
}

/** The bit of an id in a word of its group: the salts are those of Parquet's filter. */
static inline uint32_t mim_filter_bit(uint64_t hash, unsigned word) {
    static const uint32_t salts[8] = {0x47b6137bu, 0x44974d91u, 0x8824ad5bu, 0xa2b7289du,
                                      0x705495c7u, 0x2df1424bu, 0x9efc4947u, 0x5c6bfb31u};
    return 1u << (((uint32_t)hash * salts[word]) >> 27);
}

static inline bool mim_filter_group_has(const uint8_t *group, uint64_t hash) {
    for (unsigned word = 0; word < 8; word++) {
        if ((mim_get32(group + word * 4u) & mim_filter_bit(hash, word)) == 0) {
            return false;
        }
    }
    return true;
}

static inline void mim_filter_group_add(uint8_t *group, uint64_t hash) {
    for (unsigned word = 0; word < 8; word++) {
        mim_put32(group + word * 4u, mim_get32(group + word * 4u) | mim_filter_bit(hash, word));
    }
}

void mim_filter_path(mim_position_t first_position, const char *suffix, char ret_path[MIM_CORRELATION_PATH_SIZE]);
/** Returns the header's check. */
uint64_t mim_filter_header_encode(const struct mim_filter_identity *identity, uint32_t blocks, uint32_t rows,
                                  uint64_t table_check, uint8_t ret_bytes[MIM_FILTER_HEADER_SIZE]);

#endif
