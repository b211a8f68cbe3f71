// SPDX-License-Identifier: MIT
// Does an image that says "I am the fold up to this LSN, with this chain" belong to this journal? One frame header
// tells, where there is a frame behind that point; else a walk over the headers of the segment before it.
#include <inttypes.h>

#include "journal/reader.h"

/** The chain that stands in the header at the point, if a good frame follows it. */
static int anchor_ahead(struct mim_storage storage, const struct mim_segments *segments, mim_lsn_t from, uint64_t chain,
                        struct mim_error *reterr) {
    struct mim_reader_options options = {.from = from, .previous_chain = chain, .headers_only = true};
    struct mim_reader *reader = NULL;
    int rc = mim_reader_open(storage, segments, &options, &reader, reterr);
    if (rc == 0) {
        struct mim_frame frame;
        rc = mim_reader_next(reader, &frame, reterr);
        (void)mim_reader_free(reader);
    }
    return rc;
}

/** Walks the segment's frames up to the point: the last one must end there with that chain. */
static int anchor_behind(struct mim_storage storage, const struct mim_segments *segments, size_t index, mim_lsn_t lsn,
                         uint64_t chain, struct mim_error *reterr) {
    const struct mim_segment_header *header = &segments->items[index].header;
    struct mim_reader_options options = {
        .from = header->base_lsn + MIM_SEGMENT_HEADER_SIZE,
        .previous_chain = header->previous_chain,
        .limit = lsn,
        .headers_only = true,
    };
    struct mim_reader *reader = NULL;
    int rc = mim_reader_open(storage, segments, &options, &reader, reterr);
    if (rc != 0) {
        return rc;
    }
    mim_lsn_t end = options.from;
    uint64_t last = header->previous_chain;
    struct mim_frame frame;
    while ((rc = mim_reader_next(reader, &frame, reterr)) == 0) {
        end = frame.lsn + frame.header.size;
        last = frame.header.chain;
    }
    (void)mim_reader_free(reader);
    if (rc != MIM_E_NOT_FOUND &&
        rc != MIM_E_DAMAGED) { /* fewer frames than the limit allows: not a matter of damage here */
        return rc;
    }
    return end == lsn && last == chain
               ? 0
               : mim_error_set(reterr, MIM_E_STATE, "the journal does not reach LSN %" PRIu64 " with its chain", lsn);
}

int mim_journal_anchor(struct mim_storage storage, const struct mim_segments *segments, mim_lsn_t lsn, uint64_t chain,
                       struct mim_error *reterr) {
    size_t index = mim_segments_find_lsn(segments, lsn);
    if (index >= segments->count) {
        return mim_error_set(reterr, MIM_E_STATE, "LSN %" PRIu64 " lies before the journal's beginning", lsn);
    }
    const struct mim_segment *segment = &segments->items[index];
    if (segment->header.base_lsn == lsn && lsn > 0) {
        return segment->header.previous_chain == chain
                   ? 0
                   : mim_error_set(reterr, MIM_E_STATE, "the journal has another chain at LSN %" PRIu64, lsn);
    }
    if (lsn > segment->header.base_lsn + segment->file_size) {
        return mim_error_set(reterr, MIM_E_STATE, "the journal ends before LSN %" PRIu64, lsn);
    }
    if (lsn < segment->header.base_lsn + segment->file_size &&
        anchor_ahead(storage, segments, lsn, chain, reterr) == 0) {
        return 0;
    }
    return anchor_behind(storage, segments, index, lsn, chain, reterr);
}
