// SPDX-License-Identifier: MIT
// Frames, records and definitions: any bytes are a good frame or are not; no changed bit of a good frame goes unseen;
// what a good frame holds is walked within its bounds, and written again as it was read.
// Input: a byte of kind (1: put the checksums right), 4 bytes of which bit to change, then the frame.
#include "fuzz.h"
#include "journal/definition.h"
#include "journal/frame.h"

static const struct mim_history history = {.uuid = "fuzzed history"};
#define FRAME_LSN 4096u

/** A frame around whatever stands behind its header. */
static void put_right(uint8_t *frame, size_t size) {
    struct mim_frame_header header = {
        .kind = (uint8_t)(1 + frame[4] % MIM_FRAME_KIND_MAX),
        .size = (uint32_t)(size & ~(size_t)7),
        .event_count = mim_get32(frame + 12) % (MIM_FRAME_EVENTS_MAX + 1),
        .first_position = 1 + mim_get64(frame + 16) % UINT32_MAX,
        .durable_lsn = mim_get64(frame + 24) % (FRAME_LSN + 1),
        .base_time_ms = (int64_t)mim_get64(frame + 32),
        .epoch = mim_get32(frame + 40),
        .previous_chain = mim_get64(frame + 48),
    };
    if (header.kind != MIM_FRAME_DATA) {
        header.size = MIM_FRAME_HEADER_SIZE;
        header.event_count = 0;
    }
    (void)mim_frame_finish(&header, &history, FRAME_LSN, frame);
}

static void check_definition(struct mim_slice payload) {
    static struct mim_definition definition;
    struct mim_error error = {0};
    int rc = mim_definition_decode(payload, &definition, &error);
    FUZZ_REQUIRE(rc == 0 || rc == MIM_E_DAMAGED);
    if (rc == 0) {
        uint8_t *again = malloc(payload.size);
        FUZZ_REQUIRE(again != NULL);
        struct mim_byte_writer writer = {.data = again, .capacity = payload.size};
        FUZZ_REQUIRE(mim_definition_encode(&definition, &writer));
        FUZZ_REQUIRE(mim_slice_equal(mim_slice_of(again, writer.size), payload));
        free(again);
    }
}

/** Parts in bit order; false where one is malformed. */
static bool collect_parts(const struct mim_record *record, struct mim_record_parts *ret_parts) {
    *ret_parts = (struct mim_record_parts){.flags = record->flags & MIM_PARTS_MASK};
    size_t sum = 0;
    bool all = true;
    for (unsigned i = 0; i < MIM_PART_COUNT; i++) {
        uint16_t flag = (uint16_t)(MIM_PART_ID << i);
        bool found = mim_record_part(record, flag, &ret_parts->part[i]);
        FUZZ_REQUIRE(!found || (record->flags & flag) != 0);
        FUZZ_REQUIRE(!found ||
                     (ret_parts->part[i].data >= record->parts.data &&
                      ret_parts->part[i].data + ret_parts->part[i].size <= record->parts.data + record->parts.size));
        all = all && found == ((record->flags & flag) != 0);
        sum += found ? 4 + ret_parts->part[i].size : 0;
    }
    return all && sum == record->parts.size;
}

static void check_record(const uint8_t *bytes, size_t size, const struct mim_record *record) {
    struct mim_record_parts parts;
    if (record->type == MIM_RECORD_DEFINE) {
        check_definition(record->payload);
    }
    if (!collect_parts(record, &parts) || record->payload.size > MIM_TX_SIZE_MAX) {
        return;
    }
    FUZZ_REQUIRE(mim_record_size(record->payload.size, &parts) == size);
    uint8_t *again = malloc(size);
    FUZZ_REQUIRE(again != NULL);
    memset(again, 0xa5, size);
    memcpy(again + MIM_RECORD_HEADER_SIZE, record->payload.data, record->payload.size);
    FUZZ_REQUIRE(mim_record_finish(again, record, record->payload.size, &parts) == size);
    FUZZ_REQUIRE(memcmp(again, bytes, size) == 0);
    free(again);
}

static void walk(const uint8_t *frame, uint32_t size) {
    for (size_t at = MIM_FRAME_HEADER_SIZE; at < size;) {
        struct mim_record record;
        size_t step = mim_record_decode(frame + at, size - at, &record);
        FUZZ_REQUIRE(step <= size - at && step % 8 == 0);
        if (step == 0) {
            return;
        }
        check_record(frame + at, step, &record);
        at += step;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {.data = data, .size = size};
    uint8_t kind = fuzz_u8(&in);
    uint32_t bit = fuzz_u32(&in);
    struct mim_slice rest = fuzz_slice(&in, fuzz_left(&in));
    uint8_t *frame = fuzz_copy(rest);
    struct mim_frame_header header;
    if ((kind & 1) != 0 && rest.size >= MIM_FRAME_HEADER_SIZE && rest.size <= MIM_FRAME_SIZE_MAX) {
        put_right(frame, rest.size);
    }
    enum mim_frame_verdict verdict = mim_frame_check(frame, rest.size, &history, FRAME_LSN, true, &header);
    FUZZ_REQUIRE(mim_frame_verdict_text(verdict)[0] != '?');
    if (verdict == MIM_FRAME_GOOD) {
        FUZZ_REQUIRE(header.size >= MIM_FRAME_HEADER_SIZE && header.size <= rest.size);
        walk(frame, header.size);
        bit %= header.size * 8;
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct mim_frame_header changed;
        FUZZ_REQUIRE(mim_frame_check(frame, rest.size, &history, FRAME_LSN, true, &changed) != MIM_FRAME_GOOD);
    } else if (rest.size > 0) {
        struct mim_record record;
        size_t step = mim_record_decode(frame, rest.size, &record);
        FUZZ_REQUIRE(step <= rest.size);
        if (step != 0) {
            check_record(frame, step, &record);
        }
        check_definition(mim_slice_of(frame, rest.size));
    }
    free(frame);
    return 0;
}
