// SPDX-License-Identifier: MIT
// Frames of any content with sizes, positions and checksums as they should be, so that what is behind the checks is met.
// In such a frame byte 7 other than 0 leaves all of it as it is, byte 6 the position (1) and the records' places (2).
#ifndef MIM_TESTS_FUZZ_FORGE_H
#define MIM_TESTS_FUZZ_FORGE_H

#include "disk.h"

#define FORGE_SLACK 4096u /* bytes behind the frames that may be written to */

/** What goes on from frame to frame, and from segment to segment, when they are put right. */
struct building {
    mim_position_t position; /* of the next event */
    mim_lsn_t lsn;
    uint64_t chain;
    mim_epoch_t epoch;
};

static inline void put_records_right(uint8_t *frame, uint32_t size) {
    uint32_t at = MIM_FRAME_HEADER_SIZE;
    uint32_t first = at;
    uint16_t index = 0;
    while (at < size) {
        struct mim_record record;
        mim_put32(frame + at + 24, at);
        first = (mim_get16(frame + at + 6) & MIM_FLAG_TX_FIRST) != 0 ? at : first;
        mim_put32(frame + at + 28, at - first);
        size_t step = mim_record_decode(frame + at, size - at, &record);
        if (step == 0) {
            return;
        }
        mim_put16(frame + at + 32, index);
        index = (uint16_t)(index + (record.type <= MIM_RECORD_EVENT_MAX ? 1 : 0));
        at += (uint32_t)step;
    }
    mim_put32(frame + 12, index);
}

/** One frame with sizes, positions and checksums as they should be; returns its size, 0: left as it is, and the rest. */
static inline uint32_t put_frame_right(uint8_t *frame, size_t left, struct building *b) {
    if (left < MIM_FRAME_HEADER_SIZE || frame[7] != 0 || mim_get32(frame) == 0) {
        return 0;
    }
    uint8_t flags = frame[6];
    uint32_t size = mim_get32(frame + 8) & ~7u;
    size = size < MIM_FRAME_HEADER_SIZE ? MIM_FRAME_HEADER_SIZE : size > left ? (uint32_t)(left & ~(size_t)7) : size;
    uint8_t kind = frame[4] >= MIM_FRAME_DATA && frame[4] <= MIM_FRAME_KIND_MAX ? frame[4] : MIM_FRAME_DATA;
    size = kind == MIM_FRAME_DATA ? size : MIM_FRAME_HEADER_SIZE;
    if ((flags & 2) == 0) {
        put_records_right(frame, size);
    }
    mim_position_t position = mim_get64(frame + 16);
    struct mim_frame_header header = {
        .kind = kind,
        .size = size,
        .event_count = kind == MIM_FRAME_DATA ? mim_get32(frame + 12) % (MIM_FRAME_EVENTS_MAX + 1) : 0,
        .first_position = (flags & 1) == 0 || position == 0 ? b->position : position,
        .durable_lsn = mim_get64(frame + 24) % (b->lsn + 1),
        .base_time_ms = (int64_t)mim_get64(frame + 32),
        .epoch = mim_get32(frame + 40),
        .previous_chain = b->chain,
    };
    b->chain = mim_frame_finish(&header, &fuzz_history, b->lsn, frame);
    b->lsn += size;
    b->position = header.first_position + header.event_count;
    b->epoch = header.epoch;
    return size;
}

#endif
