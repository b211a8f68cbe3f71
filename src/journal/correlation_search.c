// SPDX-License-Identifier: MIT
// The search, segment by segment: by the filter's file, else by a filter built on the way. See correlation.h.
#include <stdlib.h>

#include "base/assert.h"
#include "journal/correlation_filter.h"

struct mim_correlations {
    struct mim_storage storage;
    struct mim_access *access;
    enum mim_correlation_writer writer;
    struct mim_filter_build *tail;        /* of the last segment: grows with it; NULL: none */
    struct mim_filter_build *work;        /* of a complete segment; NULL: none */
    struct mim_correlation_search *owner; /* for which `work` is done; NULL: nobody's any more */
    mim_lsn_t kept;                       /* mim_correlations_keep has done with the segments before it */
    struct mim_correlation_stats stats;
};

int mim_correlations_new(struct mim_storage storage, struct mim_access *access, enum mim_correlation_writer writer,
                         struct mim_correlations **ret_index, struct mim_error *reterr) {
    struct mim_correlations *index = calloc(1, sizeof(*index));
    if (index == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    index->storage = storage;
    index->access = access;
    index->writer = writer;
    *ret_index = index;
    return 0;
}

struct mim_correlations *mim_correlations_free(struct mim_correlations *index) {
    if (index != NULL) {
        MIM_ASSERT(index->owner == NULL);
        (void)mim_filter_build_free(index->tail, index->storage);
        (void)mim_filter_build_free(index->work, index->storage);
        free(index);
    }
    return NULL;
}

void mim_correlations_stats(const struct mim_correlations *index, struct mim_correlation_stats *ret_stats) {
    *ret_stats = index->stats;
}

/* --------------------------------------------------------------------- build */

/** Lets `work` be the build of a complete segment. */
static int work_begin(struct mim_correlations *index, const struct mim_segment_header *segment,
                      struct mim_error *reterr) {
    if (index->work != NULL && index->work->base_lsn == segment->base_lsn) {
        return 0;
    }
    index->work = mim_filter_build_free(index->work, index->storage);
    if (index->tail != NULL && index->tail->base_lsn == segment->base_lsn) {
        index->work = index->tail;
        index->tail = NULL;
        return 0;
    }
    return mim_filter_build_new(segment, &index->work, reterr);
}

/** A piece of it. AGAIN: there is more; 0: it answers for the whole segment. */
static int work_step(struct mim_correlations *index, const struct mim_filter_identity *identity,
                     struct mim_error *reterr) {
    int rc = mim_filter_build_read(index->work, index->access, identity->end_lsn, reterr);
    if (rc != MIM_E_NOT_FOUND) {
        return rc == 0 ? MIM_E_AGAIN : rc;
    }
    if (index->writer == MIM_CORRELATION_NONE) {
        return 0;
    }
    struct mim_error ignored; /* the answer does not depend on the file */
    rc = mim_filter_build_write(index->work, index->storage, identity, index->writer, &ignored);
    if (rc == MIM_E_AGAIN) {
        return rc;
    }
    index->stats.filters_built += rc == 0;
    index->stats.filters_failed += rc != 0;
    return 0;
}

/* -------------------------------------------------------------------- search */

void mim_correlation_search_begin(struct mim_correlation_search *search, struct mim_correlations *index,
                                  struct mim_slice correlation) {
    const struct mim_segments *segments = mim_access_segments(index->access);
    *search = (struct mim_correlation_search){.index = index};
    if (segments->count > 0) {
        search->hash = mim_filter_hash(&segments->items[0].header.history, correlation);
    }
}

void mim_correlation_search_end(struct mim_correlation_search *search) {
    if (search->index != NULL && search->index->owner == search) {
        search->index->owner = NULL;
    }
    free(search->blocks);
    *search = (struct mim_correlation_search){0};
}

/** The last segment: what was read of it before is known, the rest is read now. */
static int search_tail(struct mim_correlation_search *search, const struct mim_segment_header *segment,
                       struct mim_error *reterr) {
    struct mim_correlations *index = search->index;
    if (index->tail == NULL || index->tail->base_lsn != segment->base_lsn) {
        index->tail = mim_filter_build_free(index->tail, index->storage);
        int rc = mim_filter_build_new(segment, &index->tail, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    int rc = mim_filter_build_read(index->tail, index->access, mim_access_limit(index->access), reterr);
    if (rc == MIM_E_NOT_FOUND) {
        return mim_filter_build_lookup(index->tail, search, reterr);
    }
    return rc == 0 ? MIM_E_AGAIN : rc;
}

static int search_complete(struct mim_correlation_search *search, size_t segment, struct mim_error *reterr) {
    struct mim_correlations *index = search->index;
    const struct mim_segments *segments = mim_access_segments(index->access);
    struct mim_filter_identity identity;
    mim_filter_identify(segments, segment, &identity);
    if (index->owner != search) {
        int rc = mim_filter_lookup(index->storage, &identity, search, &index->stats, reterr);
        if (rc != MIM_E_NOT_FOUND) {
            return rc;
        }
        search->waiting = index->owner != NULL;
        if (search->waiting) {
            return MIM_E_AGAIN;
        }
        rc = work_begin(index, &segments->items[segment].header, reterr);
        if (rc != 0) {
            return rc;
        }
        index->owner = search;
    }
    int rc = work_step(index, &identity, reterr);
    if (rc == MIM_E_AGAIN) {
        return rc;
    }
    rc = rc != 0 ? rc : mim_filter_build_lookup(index->work, search, reterr);
    index->owner = NULL;
    index->work = mim_filter_build_free(index->work, index->storage);
    return rc;
}

/** Finds the first segment's number. */
static int search_place(struct mim_correlation_search *search, const struct mim_cursor *cursor,
                        const struct mim_segments *segments, struct mim_error *reterr) {
    search->segment = mim_segments_find_position(segments, cursor->position);
    if (search->segment == segments->count) {
        return mim_error_set(reterr, MIM_E_INVALID,
                             "position %llu lies before the journal's first segment: it was archived",
                             (unsigned long long)cursor->position);
    }
    search->placed = true;
    return 0;
}

/** Lets the cursor stay in its block or puts it at the next one; false: none is left. */
static bool cursor_place(struct mim_correlation_search *search, struct mim_cursor *cursor) {
    for (; search->block_next < search->block_count; search->block_next++) {
        const struct mim_correlation_block *block = &search->blocks[search->block_next];
        bool more = search->block_next + 1 < search->block_count;
        if (cursor->lsn >= block->end || (more && block[1].first_position <= cursor->position)) {
            continue; /* behind it already, or all of it comes before what is wanted */
        }
        if (cursor->lsn < block->lsn) {
            cursor->lsn = block->lsn;
            cursor->offset = 0;
            cursor->chain_known = false;
            cursor->position = cursor->position > block->first_position ? cursor->position : block->first_position;
        }
        return true;
    }
    return false;
}

int mim_correlation_search_step(struct mim_correlation_search *search, struct mim_cursor *cursor,
                                struct mim_error *reterr) {
    const struct mim_segments *segments = mim_access_segments(search->index->access);
    search->waiting = false;
    if (segments->count == 0) {
        return MIM_E_NOT_FOUND;
    }
    if (!search->placed) {
        int rc = search_place(search, cursor, segments, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    if (search->ready) {
        if (cursor_place(search, cursor)) {
            return 0;
        }
        if (search->segment + 1 >= segments->count) {
            return MIM_E_NOT_FOUND;
        }
        search->segment++;
        search->ready = false;
    }
    if (segments->items[search->segment].header.base_lsn >= mim_access_limit(search->index->access)) {
        return MIM_E_NOT_FOUND;
    }
    search->block_count = 0;
    search->block_next = 0;
    bool complete = search->segment + 1 < segments->count &&
                    segments->items[search->segment + 1].header.base_lsn <= mim_access_limit(search->index->access);
    int rc = complete ? search_complete(search, search->segment, reterr)
                      : search_tail(search, &segments->items[search->segment].header, reterr);
    search->ready = rc == 0;
    return rc == 0 ? MIM_E_AGAIN : rc;
}

/* ---------------------------------------------------------------------- keep */

int mim_correlations_keep(struct mim_correlations *index, mim_lsn_t from, struct mim_error *reterr) {
    const struct mim_segments *segments = mim_access_segments(index->access);
    index->kept = index->kept > from ? index->kept : from;
    size_t segment = mim_segments_find_lsn(segments, index->kept);
    segment = segment == segments->count ? 0 : segment;
    if (segment + 1 >= segments->count) {
        return 0;
    }
    struct mim_filter_identity identity;
    mim_filter_identify(segments, segment, &identity);
    if (index->work == NULL && mim_filter_exists(index->storage, &identity)) {
        index->kept = identity.end_lsn;
        return 1;
    }
    int rc = work_begin(index, &segments->items[segment].header, reterr);
    rc = rc != 0 ? rc : work_step(index, &identity, reterr);
    if (rc == MIM_E_AGAIN) {
        return 1;
    }
    index->work = mim_filter_build_free(index->work, index->storage);
    index->kept = identity.end_lsn;
    return rc < 0 ? rc : 1;
}
