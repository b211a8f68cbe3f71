// SPDX-License-Identifier: MIT
// From a position to the frame that holds it: the segment by its name, then a walk over its frame headers. Reads
// no payloads. For cursors, standbys and time travel, once each.
#include <inttypes.h>

#include "journal/reader.h"

/** The walk stopped before the position: beyond the end, or damage in between. */
static int not_reached(struct mim_reader *reader, mim_position_t position, struct mim_error *reterr) {
    struct mim_journal_ending ending;
    int code = mim_reader_ending(reader, &ending, reterr);
    if (code != 0) {
        return code;
    }
    if (ending.kind == MIM_END_DAMAGED) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "%s", ending.text);
    }
    return mim_error_set(reterr, MIM_E_NOT_FOUND, "position %" PRIu64 " is beyond the journal's end (%" PRIu64 ")",
                         position, ending.position);
}

int mim_journal_locate(struct mim_storage storage, const struct mim_segments *segments, mim_position_t position,
                       mim_lsn_t *ret_frame_lsn, uint64_t *ret_previous_chain, struct mim_error *reterr) {
    size_t index = mim_segments_find_position(segments, position);
    if (index == segments->count) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "position %" PRIu64 " lies before the journal's beginning",
                             position);
    }
    const struct mim_segment_header *header = &segments->items[index].header;
    struct mim_reader_options options = {
        .from = header->base_lsn + MIM_SEGMENT_HEADER_SIZE,
        .previous_chain = header->previous_chain,
        .headers_only = true,
    };
    struct mim_reader *reader = NULL;
    int code = mim_reader_open(storage, segments, &options, &reader, reterr);
    if (code != 0) {
        return code;
    }
    struct mim_frame frame;
    while ((code = mim_reader_next(reader, &frame, reterr)) == 0) {
        if (position - frame.header.first_position < frame.header.event_count) {
            *ret_frame_lsn = frame.lsn;
            *ret_previous_chain = frame.header.previous_chain;
            break;
        }
    }
    if (code == MIM_E_NOT_FOUND) {
        code = not_reached(reader, position, reterr);
    }
    (void)mim_reader_free(reader);
    return code;
}
