// SPDX-License-Identifier: MIT
// Record codec: header of 40 bytes, payload, optional parts (table in format.h). Pure; no memory of its own.
#include "base/assert.h"
#include "journal/frame.h"

#define KNOWN_FLAGS    (MIM_FLAG_TX_FIRST | MIM_FLAG_TX_LAST | 0x07f8u)
#define PART_FIRST_BIT 3u /* MIM_PART_ID */

_Static_assert(MIM_PART_ID == 1u << PART_FIRST_BIT, "parts start at this bit");
_Static_assert(MIM_PART_COMMAND == 1u << (PART_FIRST_BIT + MIM_PART_COUNT - 1u), "and are these many");

/** True when the bytes [from, to) are zero: the last ones of a word of eight. */
static bool padding_zero(const uint8_t *bytes, size_t from, size_t to) {
    return mim_get64(bytes + to - 8) >> 1 >> (63u - 8u * (unsigned)(to - from)) == 0;
}

/** Size of the record and of what stands before its parts' bytes (both 0 when it is malformed). */
struct extent {
    size_t size;
    size_t parts_at; /* 0: no parts */
    uint32_t parts_size;
};

static inline struct extent record_extent(const uint8_t *bytes, size_t available) {
    static const struct extent malformed;
    struct extent extent = {0};
    if (available < MIM_RECORD_HEADER_SIZE) {
        return malformed;
    }
    uint64_t unpadded = MIM_RECORD_HEADER_SIZE + (uint64_t)mim_get32(bytes);
    uint16_t flags = mim_get16(bytes + 6);
    extent.size = mim_align8(unpadded);
    if (extent.size > available || mim_get16(bytes + 4) == 0 || (flags & ~KNOWN_FLAGS) != 0 ||
        mim_get16(bytes + 38) != 0 || mim_get32(bytes + 28) > mim_get32(bytes + 24) ||
        !padding_zero(bytes, unpadded, extent.size)) {
        return malformed;
    }
    if ((flags & MIM_PARTS_MASK) != 0) {
        if (available - extent.size < 8u) {
            return malformed;
        }
        extent.parts_size = mim_get32(bytes + extent.size);
        extent.parts_at = extent.size + 4u;
        unpadded = extent.parts_at + (uint64_t)extent.parts_size;
        extent.size = mim_align8(unpadded);
        if (extent.size > available || !padding_zero(bytes, unpadded, extent.size)) {
            return malformed;
        }
    }
    return extent;
}

size_t mim_record_decode(const uint8_t *bytes, size_t available, struct mim_record *ret_record) {
    struct extent extent = record_extent(bytes, available);
    if (extent.size == 0) {
        return 0;
    }
    *ret_record = (struct mim_record){
        .type = mim_get16(bytes + 4),
        .flags = mim_get16(bytes + 6),
        .stream = mim_get32(bytes + 8),
        .version = mim_get32(bytes + 12),
        .previous_lsn = mim_get64(bytes + 16),
        .frame_offset = mim_get32(bytes + 24),
        .tx_offset = mim_get32(bytes + 28),
        .index = mim_get16(bytes + 32),
        .time_delta_ms = mim_get16(bytes + 34),
        .command = mim_get16(bytes + 36),
        .payload = mim_slice_of(bytes + MIM_RECORD_HEADER_SIZE, mim_get32(bytes)),
    };
    if (extent.parts_at != 0) {
        ret_record->parts = mim_slice_of(bytes + extent.parts_at, extent.parts_size);
    }
    return extent.size;
}

/* What has to be zero in a record's first word (payload size, type, flags) that is walked over at once: the flags of parts
 * and unknown ones, and the size's last bits, so that there is no padding to look at. */
#define UNUSUAL_MASK ((uint64_t)(uint16_t) ~(MIM_FLAG_TX_FIRST | MIM_FLAG_TX_LAST) << 48 | 7u)

/** Walks over events as long as nothing about them is unusual. Nearly every record is such a one: its checks are a few
 *  words compared. A function of its own, that calls none: all it works with stays in registers. */
__attribute__((noinline)) static uint32_t walk_usual(const uint8_t *frame, uint32_t size, struct mim_walked *walked,
                                                     uint32_t most, uint32_t *ret_places) {
    uint32_t at = walked->offset;
    uint32_t events = walked->events;
    uint32_t count = 0;
    for (; count < most && at < size; count++, events++) {
        const uint8_t *bytes = frame + at;
        uint64_t first = mim_get64(bytes);
        uint64_t end = at + MIM_RECORD_HEADER_SIZE + (uint64_t)(uint32_t)first;
        if (MIM_UNLIKELY(end > size || (first & UNUSUAL_MASK) != 0 ||
                         mim_get16(bytes + 4) - 1u >= MIM_RECORD_EVENT_MAX || mim_get32(bytes + 24) != at ||
                         mim_get32(bytes + 28) > at || mim_get16(bytes + 32) != events || mim_get16(bytes + 38) != 0)) {
            break;
        }
        ret_places[count] = at | MIM_PLACE_PLAIN;
        at = (uint32_t)end;
    }
    walked->offset = at;
    walked->events = events;
    return count;
}

/** Walks over any record; returns its place, 0 when it is malformed. */
static uint32_t walk_any(const uint8_t *frame, uint32_t size, struct mim_walked *walked) {
    uint32_t at = walked->offset;
    const uint8_t *bytes = frame + at;
    size_t step = record_extent(bytes, size - at).size;
    if (step == 0 || mim_get32(bytes + 24) != at) {
        return 0;
    }
    bool event = mim_get16(bytes + 4) <= MIM_RECORD_EVENT_MAX;
    bool plain = event && mim_get32(bytes) % 8u == 0 && mim_get16(bytes + 32) == walked->events &&
                 (mim_get16(bytes + 6) & (MIM_PART_ID | MIM_PART_SKIP | MIM_PART_KEY)) == 0;
    walked->offset += (uint32_t)step;
    walked->events += event ? 1 : 0;
    return at | (plain ? MIM_PLACE_PLAIN : 0);
}

uint32_t mim_record_walk(const uint8_t *frame, uint32_t size, struct mim_walked *walked, uint32_t most,
                         uint32_t *ret_places) {
    MIM_ASSERT(size % 8u == 0 && walked->offset % 8u == 0 && walked->offset >= MIM_FRAME_HEADER_SIZE);
    uint32_t count = 0;
    while (count < most && walked->offset < size) {
        bool usual = (mim_get64(frame + walked->offset) & UNUSUAL_MASK) == 0;
        uint32_t more = usual ? walk_usual(frame, size, walked, most - count, ret_places + count) : 0;
        if (more == 0) {
            ret_places[count] = walk_any(frame, size, walked);
            more = ret_places[count] == 0 ? 0 : 1;
        }
        if (more == 0) {
            break;
        }
        count += more;
    }
    return count;
}

struct mim_slice mim_record_id(const uint8_t *bytes) {
    if ((mim_get16(bytes + 6) & MIM_PART_ID) == 0) {
        return (struct mim_slice){0};
    }
    const uint8_t *parts = bytes + mim_align8(MIM_RECORD_HEADER_SIZE + (uint64_t)mim_get32(bytes));
    uint32_t parts_size = mim_get32(parts);
    uint32_t size = parts_size < 4u ? UINT32_MAX : mim_get32(parts + 4);
    return size > parts_size - 4u ? (struct mim_slice){0} : mim_slice_of(parts + 8, size);
}

bool mim_record_part(const struct mim_record *record, uint16_t part_flag, struct mim_slice *ret_part) {
    MIM_ASSERT((part_flag & MIM_PARTS_MASK) != 0 && (part_flag & (part_flag - 1u)) == 0);
    if ((record->flags & part_flag) == 0) {
        return false;
    }
    struct mim_byte_reader reader = {.data = record->parts.data, .size = record->parts.size};
    for (unsigned bit = PART_FIRST_BIT; bit < PART_FIRST_BIT + MIM_PART_COUNT; bit++) {
        if ((record->flags & (1u << bit)) == 0) {
            continue;
        }
        uint32_t size = mim_read32(&reader);
        const uint8_t *data = mim_read_bytes(&reader, size);
        if (data == NULL) {
            return false;
        }
        if (part_flag == 1u << bit) {
            *ret_part = mim_slice_of(data, size);
            return true;
        }
    }
    return false;
}

/** Bytes of the parts after their size word, unpadded. */
static size_t parts_size(const struct mim_record_parts *parts) {
    size_t size = 0;
    for (unsigned i = 0; i < MIM_PART_COUNT; i++) {
        if ((parts->flags & (1u << (PART_FIRST_BIT + i))) != 0) {
            size += 4u + parts->part[i].size;
        }
    }
    return size;
}

size_t mim_record_size(size_t payload_size, const struct mim_record_parts *parts) {
    size_t size = mim_align8(MIM_RECORD_HEADER_SIZE + payload_size);
    if (parts != NULL && (parts->flags & MIM_PARTS_MASK) != 0) {
        size += mim_align8(4u + parts_size(parts));
    }
    return size;
}

/** Writes parts at `at`; returns their padded size. */
static size_t parts_encode(uint8_t *at, const struct mim_record_parts *parts) {
    size_t size = parts_size(parts);
    mim_put32(at, (uint32_t)size);
    size_t offset = 4;
    for (unsigned i = 0; i < MIM_PART_COUNT; i++) {
        if ((parts->flags & (1u << (PART_FIRST_BIT + i))) == 0) {
            continue;
        }
        const struct mim_slice *part = &parts->part[i];
        mim_put32(at + offset, (uint32_t)part->size);
        if (part->size > 0) {
            memcpy(at + offset + 4u, part->data, part->size);
        }
        offset += 4u + part->size;
    }
    size_t padded = mim_align8(offset);
    memset(at + offset, 0, padded - offset);
    return padded;
}

size_t mim_record_finish(uint8_t *bytes, const struct mim_record *record, size_t payload_size,
                         const struct mim_record_parts *parts) {
    uint16_t part_flags = parts == NULL ? 0 : (uint16_t)(parts->flags & MIM_PARTS_MASK);
    uint16_t flags = (uint16_t)((record->flags & ~MIM_PARTS_MASK) | part_flags);
    MIM_ASSERT(record->type != 0 && (flags & ~KNOWN_FLAGS) == 0);
    MIM_ASSERT(payload_size <= MIM_TX_SIZE_MAX && record->tx_offset <= record->frame_offset);
    mim_put32(bytes, (uint32_t)payload_size);
    mim_put16(bytes + 4, record->type);
    mim_put16(bytes + 6, flags);
    mim_put32(bytes + 8, record->stream);
    mim_put32(bytes + 12, record->version);
    mim_put64(bytes + 16, record->previous_lsn);
    mim_put32(bytes + 24, record->frame_offset);
    mim_put32(bytes + 28, record->tx_offset);
    mim_put16(bytes + 32, record->index);
    mim_put16(bytes + 34, record->time_delta_ms);
    mim_put16(bytes + 36, record->command);
    mim_put16(bytes + 38, 0);
    size_t end = MIM_RECORD_HEADER_SIZE + payload_size;
    size_t size = mim_align8(end);
    memset(bytes + end, 0, size - end);
    if (part_flags != 0) {
        size += parts_encode(bytes + size, parts);
    }
    return size;
}
