// SPDX-License-Identifier: MIT
// The cursor's steps; see cursor.h.
#include "journal/cursor.h"

#include <inttypes.h>

#include "base/assert.h"

#define SKIP_FRAMES_MAX 256u /* headers looked at in one call */

void mim_cursor_init(struct mim_cursor *cursor, mim_position_t position) {
    *cursor = (struct mim_cursor){.position = position == 0 ? 1 : position};
}

static void step_over(struct mim_cursor *cursor, mim_lsn_t lsn, const struct mim_frame_header *header) {
    cursor->lsn = lsn + header->size;
    cursor->chain = header->chain;
    cursor->chain_known = true;
    cursor->offset = 0;
}

/** At a segment's first byte: on to its first frame. */
static void enter_segment(struct mim_cursor *cursor, const struct mim_access *access) {
    const struct mim_segments *segments = mim_access_segments(access);
    size_t index = mim_segments_find_lsn(segments, cursor->lsn);
    if (index < segments->count && segments->items[index].header.base_lsn == cursor->lsn) {
        cursor->lsn += MIM_SEGMENT_HEADER_SIZE;
    }
}

static int check_continuity(const struct mim_cursor *cursor, const struct mim_frame_header *header,
                            struct mim_error *reterr) {
    if (cursor->chain_known && header->previous_chain != cursor->chain) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "frame at LSN %" PRIu64 " does not continue the one before it",
                             cursor->lsn);
    }
    if (cursor->chain_known && header->first_position > cursor->position) {
        return mim_error_set(reterr, MIM_E_DAMAGED,
                             "frame at LSN %" PRIu64 " begins at position %" PRIu64 ", %" PRIu64 " was expected",
                             cursor->lsn, header->first_position, cursor->position);
    }
    return 0;
}

int mim_cursor_frame(struct mim_cursor *cursor, struct mim_access *access, struct mim_frame *ret_frame,
                     struct mim_error *reterr) {
    if (cursor->lsn == 0) {
        if (mim_access_segments(access)->count == 0) {
            return MIM_E_NOT_FOUND;
        }
        int rc = mim_access_near(access, cursor->position, &cursor->lsn, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    for (unsigned i = 0; i < SKIP_FRAMES_MAX; i++) {
        enter_segment(cursor, access);
        if (cursor->lsn >= mim_access_limit(access)) {
            return MIM_E_NOT_FOUND;
        }
        struct mim_frame_header header;
        int rc = mim_access_frame_header(access, cursor->lsn, &header, reterr);
        rc = rc != 0 ? rc : check_continuity(cursor, &header, reterr);
        if (rc != 0) {
            return rc;
        }
        mim_access_met(access, cursor->lsn, header.first_position);
        bool wanted = header.first_position + header.event_count > cursor->position;
        if (wanted || (cursor->every_frame && header.first_position >= cursor->position)) {
            return mim_access_frame(access, cursor->lsn, ret_frame, reterr);
        }
        step_over(cursor, cursor->lsn, &header);
    }
    return MIM_E_AGAIN;
}

void mim_cursor_pass(struct mim_cursor *cursor, const struct mim_frame *frame) {
    MIM_ASSERT(frame->lsn == cursor->lsn);
    mim_position_t next = frame->header.first_position + frame->header.event_count;
    cursor->position = next > cursor->position ? next : cursor->position;
    step_over(cursor, frame->lsn, &frame->header);
}

/** Correlation, causation and actor stand on the transaction's first record. */
static bool event_parts(const struct mim_frame *frame, uint32_t offset, struct mim_journal_event *event) {
    struct mim_record first = event->record;
    if (event->record.tx_offset != 0) {
        if (event->record.tx_offset > offset - MIM_FRAME_HEADER_SIZE) {
            return false;
        }
        uint32_t at = offset - event->record.tx_offset;
        if (mim_record_decode(frame->bytes + at, frame->header.size - at, &first) == 0) {
            return false;
        }
    }
    (void)mim_record_part(&first, MIM_PART_CORR, &event->correlation);
    (void)mim_record_part(&first, MIM_PART_CAUSE, &event->causation);
    (void)mim_record_part(&first, MIM_PART_ACTOR, &event->actor);
    return true;
}

int mim_cursor_event(struct mim_cursor *cursor, const struct mim_frame *frame, struct mim_journal_event *ret_event,
                     struct mim_error *reterr) {
    MIM_ASSERT(frame->lsn == cursor->lsn);
    uint32_t offset = cursor->offset < MIM_FRAME_HEADER_SIZE ? MIM_FRAME_HEADER_SIZE : cursor->offset;
    while (frame->header.kind == MIM_FRAME_DATA && offset < frame->header.size) {
        struct mim_record record;
        size_t size = mim_record_decode(frame->bytes + offset, frame->header.size - offset, &record);
        if (size == 0 || record.frame_offset != offset) {
            return mim_error_set(reterr, MIM_E_DAMAGED, "malformed record at LSN %" PRIu64, frame->lsn + offset);
        }
        if (record.type <= MIM_RECORD_EVENT_MAX && frame->header.first_position + record.index >= cursor->position) {
            *ret_event = (struct mim_journal_event){
                .record = record,
                .lsn = frame->lsn + offset,
                .position = frame->header.first_position + record.index,
                .time_ms = frame->header.base_time_ms + record.time_delta_ms,
                .epoch = frame->header.epoch,
            };
            cursor->offset = offset;
            return event_parts(frame, offset, ret_event)
                       ? 0
                       : mim_error_set(reterr, MIM_E_DAMAGED, "malformed record at LSN %" PRIu64, frame->lsn + offset);
        }
        offset += (uint32_t)size;
    }
    mim_cursor_pass(cursor, frame);
    return MIM_E_NOT_FOUND;
}

void mim_cursor_taken(struct mim_cursor *cursor, const struct mim_journal_event *event) {
    MIM_ASSERT(event->position == cursor->position);
    size_t size = MIM_RECORD_HEADER_SIZE + event->record.payload.size;
    size = (size_t)mim_align8(size);
    if ((event->record.flags & MIM_PARTS_MASK) != 0) {
        size += (size_t)mim_align8((uint64_t)4 + event->record.parts.size);
    }
    cursor->offset += (uint32_t)size;
    cursor->position++;
}
