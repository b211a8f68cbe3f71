// SPDX-License-Identifier: MIT
// Segment header and frame codec: the only place that knows their bytes (table in format.h). Pure; leans on XXH3.
#include "journal/frame.h"

#include "base/assert.h"
#include "base/hash.h"

#define SEGMENT_CHECKED 72u                   /* bytes under the segment header's check */
#define FRAME_CHECKED   44u                   /* bytes under the frame header's check */
#define FRAME_CHAINED   56u                   /* header bytes under the chain */
#define LSN_FACTOR      0x9e3779b97f4a7c15ull /* odd: spreads LSNs over all bits of the seed */

uint64_t mim_history_seed(const struct mim_history *history) {
    return mim_hash64(history->uuid, sizeof(history->uuid), 0);
}

void mim_segment_header_encode(const struct mim_segment_header *header, uint8_t ret_page[MIM_SEGMENT_HEADER_SIZE]) {
    MIM_ASSERT(header->first_position > 0);
    memset(ret_page, 0, MIM_SEGMENT_HEADER_SIZE);
    mim_put64(ret_page, MIM_SEGMENT_MAGIC);
    mim_put32(ret_page + 8, MIM_SEGMENT_FORMAT);
    memcpy(ret_page + 16, header->history.uuid, sizeof(header->history.uuid));
    mim_put64(ret_page + 32, header->first_position);
    mim_put64(ret_page + 40, header->base_lsn);
    mim_put64(ret_page + 48, header->previous_chain);
    mim_put32(ret_page + 56, header->epoch);
    mim_put64(ret_page + 64, (uint64_t)header->base_time_ms);
    mim_put64(ret_page + SEGMENT_CHECKED, mim_hash64(ret_page, SEGMENT_CHECKED, 0));
}

int mim_segment_header_decode(const uint8_t page[MIM_SEGMENT_HEADER_SIZE], struct mim_segment_header *ret_header,
                              struct mim_error *reterr) {
    if (mim_get64(page) != MIM_SEGMENT_MAGIC) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "segment header: wrong magic");
    }
    if (mim_get64(page + SEGMENT_CHECKED) != mim_hash64(page, SEGMENT_CHECKED, 0)) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "segment header: wrong check");
    }
    if (mim_get32(page + 8) != MIM_SEGMENT_FORMAT) {
        return mim_error_set(reterr, MIM_E_FORMAT, "segment header: format version %u, known is %u",
                             mim_get32(page + 8), MIM_SEGMENT_FORMAT);
    }
    if (mim_get32(page + 12) != 0) {
        return mim_error_set(reterr, MIM_E_FORMAT, "segment header: unknown incompatible flags 0x%x",
                             mim_get32(page + 12));
    }
    uint8_t rest = page[60] | page[61] | page[62] | page[63];
    for (size_t i = SEGMENT_CHECKED + 8u; i < MIM_SEGMENT_HEADER_SIZE; i++) {
        rest |= page[i];
    }
    if (rest != 0) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "segment header: reserved bytes are not zero");
    }
    struct mim_segment_header header = {
        .first_position = mim_get64(page + 32),
        .base_lsn = mim_get64(page + 40),
        .previous_chain = mim_get64(page + 48),
        .epoch = mim_get32(page + 56),
        .base_time_ms = (int64_t)mim_get64(page + 64),
    };
    memcpy(header.history.uuid, page + 16, sizeof(header.history.uuid));
    if (header.first_position == 0 || header.base_lsn % 8u != 0) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "segment header: impossible position or LSN");
    }
    *ret_header = header;
    return 0;
}

static uint32_t header_check(const uint8_t *frame, const struct mim_history *history, mim_lsn_t lsn,
                             uint64_t previous_chain) {
    uint64_t seed = previous_chain ^ (lsn * LSN_FACTOR) ^ mim_history_seed(history);
    return (uint32_t)mim_hash64(frame, FRAME_CHECKED, seed);
}

uint64_t mim_frame_chain(const uint8_t *frame, uint32_t size, uint64_t previous_chain) {
    uint64_t seed = mim_hash64(frame, FRAME_CHAINED, previous_chain);
    return mim_hash64(frame + MIM_FRAME_HEADER_SIZE, size - MIM_FRAME_HEADER_SIZE, seed);
}

/** What no writer of this format ever writes. */
static bool header_possible(const struct mim_frame_header *header, mim_lsn_t lsn) {
    if (header->kind < MIM_FRAME_DATA || header->kind > MIM_FRAME_KIND_MAX || header->size < MIM_FRAME_HEADER_SIZE ||
        header->size > MIM_FRAME_SIZE_MAX || header->size % 8u != 0) {
        return false;
    }
    if (header->kind != MIM_FRAME_DATA && (header->size != MIM_FRAME_HEADER_SIZE || header->event_count != 0)) {
        return false;
    }
    return header->event_count <= MIM_FRAME_EVENTS_MAX && header->first_position > 0 && header->durable_lsn <= lsn;
}

uint64_t mim_frame_finish(const struct mim_frame_header *header, const struct mim_history *history, mim_lsn_t lsn,
                          uint8_t *frame) {
    MIM_ASSERT(header_possible(header, lsn));
    MIM_ASSERT(lsn % 8u == 0);
    mim_put32(frame, MIM_FRAME_MAGIC);
    frame[4] = header->kind;
    frame[5] = MIM_FRAME_VERSION;
    mim_put16(frame + 6, 0);
    mim_put32(frame + 8, header->size);
    mim_put32(frame + 12, header->event_count);
    mim_put64(frame + 16, header->first_position);
    mim_put64(frame + 24, header->durable_lsn);
    mim_put64(frame + 32, (uint64_t)header->base_time_ms);
    mim_put32(frame + 40, header->epoch);
    mim_put32(frame + FRAME_CHECKED, header_check(frame, history, lsn, header->previous_chain));
    mim_put64(frame + 48, header->previous_chain);
    uint64_t chain = mim_frame_chain(frame, header->size, header->previous_chain);
    mim_put64(frame + 56, chain);
    return chain;
}

const char *mim_frame_verdict_text(enum mim_frame_verdict verdict) {
    switch (verdict) {
    case MIM_FRAME_GOOD:
        return "good";
    case MIM_FRAME_ZERO:
        return "zeros where a frame should be";
    case MIM_FRAME_BAD_HEADER:
        return "bad frame header";
    case MIM_FRAME_SHORT:
        return "frame cut short";
    case MIM_FRAME_BAD_PAYLOAD:
        return "frame does not match its checksum";
    }
    return "?";
}

static bool first_bytes_zero(const uint8_t *bytes, uint64_t available) {
    uint8_t any = 0;
    for (uint64_t i = 0; i < available && i < 8u; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

enum mim_frame_verdict mim_frame_check(const uint8_t *bytes, uint64_t available, const struct mim_history *history,
                                       mim_lsn_t lsn, bool verify_payload, struct mim_frame_header *ret_header) {
    if (first_bytes_zero(bytes, available)) {
        return MIM_FRAME_ZERO;
    }
    if (available < MIM_FRAME_HEADER_SIZE || mim_get32(bytes) != MIM_FRAME_MAGIC || bytes[5] != MIM_FRAME_VERSION ||
        mim_get16(bytes + 6) != 0) {
        return MIM_FRAME_BAD_HEADER;
    }
    struct mim_frame_header header = {
        .kind = bytes[4],
        .size = mim_get32(bytes + 8),
        .event_count = mim_get32(bytes + 12),
        .first_position = mim_get64(bytes + 16),
        .durable_lsn = mim_get64(bytes + 24),
        .base_time_ms = (int64_t)mim_get64(bytes + 32),
        .epoch = mim_get32(bytes + 40),
        .previous_chain = mim_get64(bytes + 48),
        .chain = mim_get64(bytes + 56),
    };
    if (!header_possible(&header, lsn) ||
        mim_get32(bytes + FRAME_CHECKED) != header_check(bytes, history, lsn, header.previous_chain)) {
        return MIM_FRAME_BAD_HEADER;
    }
    *ret_header = header;
    if (header.size > available) {
        return MIM_FRAME_SHORT;
    }
    if (verify_payload && mim_frame_chain(bytes, header.size, header.previous_chain) != header.chain) {
        return MIM_FRAME_BAD_PAYLOAD;
    }
    return MIM_FRAME_GOOD;
}
