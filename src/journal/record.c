// SPDX-License-Identifier: MIT
// Record codec: header of 40 bytes, payload, optional parts (table in format.h). Pure; no memory of its own.
#include "base/assert.h"
#include "journal/frame.h"

#define KNOWN_FLAGS    (MIM_FLAG_TX_FIRST | MIM_FLAG_TX_LAST | 0x07f8u)
#define PART_FIRST_BIT 3u /* MIM_PART_ID */

_Static_assert(MIM_PART_ID == 1u << PART_FIRST_BIT, "parts start at this bit");
_Static_assert(MIM_PART_COMMAND == 1u << (PART_FIRST_BIT + MIM_PART_COUNT - 1u), "and are these many");

static bool padding_zero(const uint8_t *bytes, size_t from, size_t to) {
    uint8_t any = 0;
    for (size_t i = from; i < to; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

size_t mim_record_decode(const uint8_t *bytes, size_t available, struct mim_record *ret_record) {
    if (available < MIM_RECORD_HEADER_SIZE) {
        return 0;
    }
    uint32_t payload_size = mim_get32(bytes);
    struct mim_record record = {
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
        .payload = mim_slice_of(bytes + MIM_RECORD_HEADER_SIZE, payload_size),
    };
    if (payload_size > available - MIM_RECORD_HEADER_SIZE || record.type == 0 || (record.flags & ~KNOWN_FLAGS) != 0 ||
        mim_get16(bytes + 38) != 0 || record.tx_offset > record.frame_offset) {
        return 0;
    }
    size_t size = mim_align8(MIM_RECORD_HEADER_SIZE + (uint64_t)payload_size);
    if (size > available || !padding_zero(bytes, MIM_RECORD_HEADER_SIZE + (size_t)payload_size, size)) {
        return 0;
    }
    if ((record.flags & MIM_PARTS_MASK) != 0) {
        if (available - size < 8u) {
            return 0;
        }
        uint32_t parts_size = mim_get32(bytes + size);
        size_t parts_at = size + 4u;
        if (parts_size > available - parts_at) {
            return 0;
        }
        record.parts = mim_slice_of(bytes + parts_at, parts_size);
        size = mim_align8((uint64_t)parts_at + parts_size);
        if (size > available || !padding_zero(bytes, parts_at + parts_size, size)) {
            return 0;
        }
    }
    *ret_record = record;
    return size;
}

/** Size of a well-formed record without parts at offset `at` of its frame; 0: it has parts, or something is wrong. Nearly
 *  every record is one: its checks are a few words put together. */
static inline uint64_t plain_size(const uint8_t *bytes, uint64_t available, uint32_t at) {
    uint64_t first = mim_get64(bytes); /* payload size, type, flags */
    uint64_t unpadded = (uint64_t)MIM_RECORD_HEADER_SIZE + (uint32_t)first;
    uint64_t size = mim_align8(unpadded);
    if (MIM_UNLIKELY(size > available)) {
        return 0;
    }
    uint64_t other_flags = first >> 50;
    uint64_t reserved = mim_get64(bytes + 32) >> 48;
    uint64_t padding = mim_get64(bytes + size - 8) >> 1 >> (63u - 8u * (unsigned)(size - unpadded));
    bool plain = (other_flags | reserved | padding | (mim_get32(bytes + 24) ^ at)) == 0 &&
                 (first & 0xffff00000000u) != 0 && mim_get32(bytes + 28) <= at;
    return MIM_LIKELY(plain) ? size : 0;
}
_Static_assert((MIM_FLAG_TX_FIRST | MIM_FLAG_TX_LAST) == 3, "the flags of a plain record are the two lowest bits");

/** Size of any record at offset `at`, 0 when it is malformed; kept out of the walk, whose registers it would take. */
__attribute__((noinline)) static uint64_t any_size(const uint8_t *bytes, uint64_t available, uint32_t at) {
    struct mim_record record;
    size_t size = mim_record_decode(bytes, available, &record);
    return size != 0 && record.frame_offset == at ? size : 0;
}

uint32_t mim_record_walk(const uint8_t *frame, uint32_t size, uint32_t *offset, uint32_t most, uint32_t *ret_offsets) {
    uint32_t at = *offset;
    uint32_t count = 0;
    MIM_ASSERT(size % 8u == 0 && at % 8u == 0);
    while (count < most && at < size) {
        uint64_t step = plain_size(frame + at, size - at, at);
        if (MIM_UNLIKELY(step == 0)) {
            step = any_size(frame + at, size - at, at);
            if (step == 0) {
                break;
            }
        }
        ret_offsets[count++] = at;
        at += (uint32_t)step;
    }
    *offset = at;
    return count;
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
