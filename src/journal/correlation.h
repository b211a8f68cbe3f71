// SPDX-License-Identifier: MIT
// Finding all events of one operation: per segment a filter over the correlation ids in it, so that a search reads only
// the blocks of the journal that (almost certainly) hold the id, and the last segment, which is not complete yet.
//
// A filter is a file `index/<first position, 20 digits>.corr`, derived from its segment and disposable: it names the
// segment by history, place and the chains around it; one that is missing, damaged or of another segment is made anew
// by whoever reads the segment next. A segment without correlation ids costs a filter of 96 bytes, and no search
// reads it again. Nothing here is ever needed: without a filter a search reads the segment itself.
#ifndef MIM_JOURNAL_CORRELATION_H
#define MIM_JOURNAL_CORRELATION_H

#include "journal/cursor.h"

#define MIM_CORRELATION_DIR       "index"
#define MIM_CORRELATION_BLOCK     (256u << 10) /* bytes of journal, whole frames, that a filter tells apart */
#define MIM_CORRELATION_PATH_SIZE 64u

/** Who writes filter files: two writers of one directory need different names for what is not complete yet. */
enum mim_correlation_writer {
    MIM_CORRELATION_NONE,   /* reads filters, writes none */
    MIM_CORRELATION_SEARCH, /* a search that met a segment without one */
    MIM_CORRELATION_KEEPER, /* mim_correlations_keep */
};

/** A part of the journal that may hold the id: whole frames. */
struct mim_correlation_block {
    mim_lsn_t lsn; /* of its first frame */
    mim_lsn_t end;
    mim_position_t first_position; /* of its first frame */
};

/** What was done so far. */
struct mim_correlation_stats {
    uint64_t filters_used;   /* segments answered by a filter from its file */
    uint64_t filters_built;  /* segments read and their filter written */
    uint64_t filters_failed; /* filters that could not be written (a full disk): the answers are the same */
    uint64_t reads;          /* of filter files */
    uint64_t bytes;          /* of filter files */
};

struct mim_correlations; /* new/free; one thread at a time; borrows the access until free */

/** MEMORY. */
MIM_CHECKED int mim_correlations_new(struct mim_storage storage, struct mim_access *access,
                                     enum mim_correlation_writer writer, struct mim_correlations **ret_index,
                                     struct mim_error *reterr);
struct mim_correlations *mim_correlations_free(struct mim_correlations *index);
void mim_correlations_stats(const struct mim_correlations *index, struct mim_correlation_stats *ret_stats);

/** One search on its way; `{0}`, then begun. Must be ended before its index is freed. */
struct mim_correlation_search {
    struct mim_correlations *index; /* borrowed */
    uint64_t hash;
    size_t segment;                       /* at hand: its number in the access's table */
    bool placed;                          /* `segment` is known */
    bool ready;                           /* its blocks are known */
    bool waiting;                         /* somebody else builds the filter: call again later */
    struct mim_correlation_block *blocks; /* owned */
    size_t block_count, block_capacity, block_next;
};

/** Begins to look for an id. */
void mim_correlation_search_begin(struct mim_correlation_search *search, struct mim_correlations *index,
                                  struct mim_slice correlation);
void mim_correlation_search_end(struct mim_correlation_search *search);
/** Moves a cursor on to the next frame that may hold the id, where it does not stand in such a block already. 0: read
 *  on from the cursor; AGAIN: a bounded piece of work was done (or search->waiting is set), call again; NOT_FOUND: all
 *  below the limit was seen; INVALID: the cursor's position was archived; DAMAGED, IO, MEMORY. */
MIM_CHECKED int mim_correlation_search_step(struct mim_correlation_search *search, struct mim_cursor *cursor,
                                            struct mim_error *reterr);

/** Makes the missing filters of complete segments that begin at or behind `from`, a bounded piece at each call. The
 *  access must see all of them. 1: did something; 0: all are there, or could not be written (then not tried again);
 *  negative as the access says. */
MIM_CHECKED int mim_correlations_keep(struct mim_correlations *index, mim_lsn_t from, struct mim_error *reterr);

#endif
