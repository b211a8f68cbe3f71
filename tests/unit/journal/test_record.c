// SPDX-License-Identifier: MIT
// Record codec: round trips over all part sets and sizes, and malformed records at every edge.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "journal/frame.h"

static const struct mim_record RECORD = {
    .type = 12,
    .flags = MIM_FLAG_TX_FIRST | MIM_FLAG_TX_LAST,
    .stream = 3,
    .version = 128,
    .previous_lsn = 0x123456789a,
    .frame_offset = 640,
    .tx_offset = 40,
    .index = 65534,
    .time_delta_ms = 65535,
    .command = 6,
};

static const uint8_t TEXT[300] = {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'};

static size_t encode(uint8_t *bytes, size_t payload_size, const struct mim_record_parts *parts) {
    memset(bytes, 0xee, 4096);
    for (size_t i = 0; i < payload_size; i++) {
        bytes[MIM_RECORD_HEADER_SIZE + i] = (uint8_t)(i + 1u);
    }
    return mim_record_finish(bytes, &RECORD, payload_size, parts);
}

static void test_a_record_without_parts_comes_back_for_every_payload_size(void **state) {
    (void)state;
    uint8_t bytes[4096];
    for (size_t payload_size = 0; payload_size <= 300; payload_size++) {
        size_t size = encode(bytes, payload_size, NULL);
        assert_int_equal(size, mim_record_size(payload_size, NULL));
        assert_int_equal(size % 8u, 0);
        assert_int_equal(bytes[size], 0xee);
        struct mim_record back;
        assert_int_equal(mim_record_decode(bytes, size, &back), size);
        assert_int_equal(back.type, RECORD.type);
        assert_int_equal(back.flags, RECORD.flags);
        assert_int_equal(back.stream, RECORD.stream);
        assert_int_equal(back.version, RECORD.version);
        assert_int_equal(back.previous_lsn, RECORD.previous_lsn);
        assert_int_equal(back.frame_offset, RECORD.frame_offset);
        assert_int_equal(back.tx_offset, RECORD.tx_offset);
        assert_int_equal(back.index, RECORD.index);
        assert_int_equal(back.time_delta_ms, RECORD.time_delta_ms);
        assert_int_equal(back.command, RECORD.command);
        assert_int_equal(back.payload.size, payload_size);
        assert_int_equal(back.parts.size, 0);
    }
}

static void test_every_set_of_parts_comes_back(void **state) {
    (void)state;
    uint8_t bytes[4096];
    for (unsigned set = 0; set < 256; set++) {
        struct mim_record_parts parts = {.flags = (uint16_t)(set << 3)};
        for (unsigned i = 0; i < MIM_PART_COUNT; i++) {
            parts.part[i] = mim_slice_of(TEXT + i, (set * 7u + i * 13u) % 70u);
        }
        size_t size = encode(bytes, set % 11u, &parts);
        assert_int_equal(size, mim_record_size(set % 11u, &parts));
        assert_int_equal(bytes[size], 0xee);
        struct mim_record back;
        assert_int_equal(mim_record_decode(bytes, size, &back), size);
        for (unsigned i = 0; i < MIM_PART_COUNT; i++) {
            struct mim_slice part = {0};
            bool there = mim_record_part(&back, (uint16_t)(8u << i), &part);
            assert_int_equal(there, (set >> i) & 1u);
            assert_true(!there || mim_slice_equal(part, parts.part[i]));
        }
    }
}

static void test_flags_of_parts_come_from_the_parts(void **state) {
    (void)state;
    uint8_t bytes[4096];
    struct mim_record record = RECORD;
    record.flags = MIM_FLAG_TX_FIRST | MIM_PART_KEY; /* a stale part flag is not kept */
    size_t size = mim_record_finish(bytes, &record, 0, NULL);
    struct mim_record back;
    assert_int_equal(mim_record_decode(bytes, size, &back), size);
    assert_int_equal(back.flags, MIM_FLAG_TX_FIRST);
}

static void test_every_shorter_reading_is_malformed(void **state) {
    (void)state;
    uint8_t bytes[4096];
    struct mim_record_parts parts = {.flags = MIM_PART_ID | MIM_PART_KEY};
    parts.part[0] = mim_slice_text("a-1");
    parts.part[2] = mim_slice_text("key-of-a-client");
    size_t size = encode(bytes, 21, &parts);
    for (size_t available = 0; available < size; available++) {
        struct mim_record back = {.type = 77};
        assert_int_equal(mim_record_decode(bytes, available, &back), 0);
        assert_int_equal(back.type, 77);
    }
}

static void test_reserved_bits_and_padding_must_be_zero(void **state) {
    (void)state;
    uint8_t bytes[4096];
    struct mim_record back;
    struct mim_record_parts parts = {.flags = MIM_PART_ID};
    parts.part[0] = mim_slice_text("a");
    const struct {
        size_t at;
        uint8_t value;
    } bad[] = {
        {4, 0},                       /* type 0 (its high byte is zero) */
        {6, 0x0f},                    /* flag 4 */
        {7, 0x08},                    /* flag 2048 */
        {38, 1},    {39, 1}, {45, 1}, /* behind a payload of 5 */
        {47, 0xff}, {57, 1},          /* behind the parts */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        size_t size = encode(bytes, 5, &parts);
        assert_int_equal(mim_record_decode(bytes, size, &back), size);
        bytes[bad[i].at] = bad[i].value;
        assert_int_equal(mim_record_decode(bytes, size, &back), 0);
    }
}

static void test_sizes_that_lie_are_refused(void **state) {
    (void)state;
    uint8_t bytes[4096];
    struct mim_record back;
    struct mim_slice part;
    struct mim_record_parts parts = {.flags = MIM_PART_ID};
    parts.part[0] = mim_slice_text("a-1");
    size_t size = encode(bytes, 8, &parts);
    mim_put32(bytes, 0xffffffffu);
    assert_int_equal(mim_record_decode(bytes, size, &back), 0);
    size = encode(bytes, 8, &parts);
    mim_put32(bytes + 48, 0xfffffff8u);
    assert_int_equal(mim_record_decode(bytes, size, &back), 0);
    size = encode(bytes, 8, &parts);
    mim_put32(bytes + 52, 4); /* the part is larger than all parts */
    assert_int_equal(mim_record_decode(bytes, size, &back), size);
    assert_false(mim_record_part(&back, MIM_PART_ID, &part));
    encode(bytes, 8, &parts);
    mim_put32(bytes + 24, 8); /* frame offset before its own transaction's start */
    assert_int_equal(mim_record_decode(bytes, size, &back), 0);
}

static void test_random_bytes_never_lead_outside(void **state) {
    (void)state;
    struct mim_prng prng;
    mim_prng_init(&prng, 3);
    for (int round = 0; round < 200000; round++) {
        uint8_t *bytes = test_malloc(96); /* exact size: the sanitizer sees a step outside */
        for (size_t i = 0; i < 96; i += 8u) {
            mim_put64(bytes + i, mim_prng_next(&prng));
        }
        mim_put32(bytes, (uint32_t)mim_prng_below(&prng, 64));
        mim_put16(bytes + 6, (uint16_t)(mim_prng_next(&prng) & 0x07fb));
        mim_put32(bytes + 28, 0);
        mim_put16(bytes + 38, 0);
        size_t available = (size_t)mim_prng_below(&prng, 97);
        struct mim_record back;
        size_t size = mim_record_decode(bytes, available, &back);
        assert_true(size <= available);
        for (unsigned i = 0; size > 0 && i < MIM_PART_COUNT; i++) {
            struct mim_slice part;
            if (mim_record_part(&back, (uint16_t)(8u << i), &part)) {
                assert_true(part.data >= bytes && part.data + part.size <= bytes + size);
            }
        }
        struct mim_slice id = size > 0 ? mim_record_id(bytes) : (struct mim_slice){0};
        struct mim_slice part = {0};
        assert_true(size == 0 || mim_record_part(&back, MIM_PART_ID, &part) == (id.data != NULL));
        assert_true(id.data == part.data && id.size == part.size);
        test_free(bytes);
    }
}

/** Records of a frame: payloads of every size up to 40, some with parts, some no events, some with a wrong index. Returns
 *  the frame's size. */
static uint32_t walk_frame(uint8_t *frame) {
    static const uint16_t flags[] = {MIM_PART_KEY, 0, 0, MIM_PART_CORR, 0, 0, MIM_PART_ID, 0, 0, MIM_PART_SKIP, 0};
    uint32_t size = MIM_FRAME_HEADER_SIZE;
    uint16_t events = 0;
    memset(frame, 0, MIM_FRAME_HEADER_SIZE);
    for (unsigned n = 0; n <= 40; n++) {
        struct mim_record record = RECORD;
        struct mim_record_parts parts = {.flags = flags[n % 11u]};
        for (unsigned i = 0; i < MIM_PART_COUNT; i++) {
            parts.part[i] = mim_slice_of(TEXT, n);
        }
        record.type = n % 7u == 3 ? MIM_RECORD_DEFINE : RECORD.type;
        record.index = (uint16_t)(n % 13u == 8 ? events + 1u : events);
        events = (uint16_t)(events + (n % 7u == 3 ? 0 : 1));
        record.flags = (uint16_t)(n % 4u);
        record.frame_offset = size;
        record.tx_offset = n % 2u == 0 ? 0 : size;
        memset(frame + size + MIM_RECORD_HEADER_SIZE, 0xff, n);
        size += (uint32_t)mim_record_finish(frame + size, &record, n, &parts);
    }
    return size;
}

static bool plain(const struct mim_record *record, uint32_t events) {
    return record->type <= MIM_RECORD_EVENT_MAX && record->index == events && record->payload.size % 8u == 0 &&
           (record->flags & (MIM_PART_ID | MIM_PART_SKIP | MIM_PART_KEY)) == 0;
}

/** Where the walk must stop, and the places of the records it goes over: by decoding one by one. */
static uint32_t walk_slowly(const uint8_t *frame, uint32_t size, uint32_t *ret_offset, uint32_t *ret_places) {
    uint32_t count = 0;
    uint32_t at = MIM_FRAME_HEADER_SIZE;
    uint32_t events = 0;
    while (at < size) {
        struct mim_record record;
        size_t step = mim_record_decode(frame + at, size - at, &record);
        if (step == 0 || record.frame_offset != at) {
            break;
        }
        ret_places[count++] = at | (plain(&record, events) ? MIM_PLACE_PLAIN : 0);
        events += record.type <= MIM_RECORD_EVENT_MAX ? 1 : 0;
        at += (uint32_t)step;
    }
    *ret_offset = at;
    return count;
}

static void test_the_walk_goes_as_far_as_records_are_good(void **state) {
    (void)state;
    static uint8_t frame[8192];
    uint32_t places[64], slow_places[64];
    uint32_t slow_at;
    uint32_t size = walk_frame(frame);
    for (uint32_t i = 0; i < size * 8u; i++) { /* every bit turned over, and at last none */
        if (i / 8u >= MIM_FRAME_HEADER_SIZE) {
            frame[i / 8u] ^= (uint8_t)(1u << i % 8u);
        }
        struct mim_walked walked = MIM_WALKED_NONE;
        uint32_t count = mim_record_walk(frame, size, &walked, 64, places);
        assert_int_equal(count, walk_slowly(frame, size, &slow_at, slow_places));
        assert_int_equal(walked.offset, slow_at);
        assert_memory_equal(places, slow_places, count * sizeof(*places));
        if (i / 8u >= MIM_FRAME_HEADER_SIZE) {
            frame[i / 8u] ^= (uint8_t)(1u << i % 8u);
        }
    }
    assert_int_equal(walk_slowly(frame, size, &slow_at, slow_places), 41);
}

static void test_the_walk_goes_on_where_it_stopped(void **state) {
    (void)state;
    static uint8_t frame[8192];
    uint32_t all[64], some[3];
    uint32_t size = walk_frame(frame);
    struct mim_walked walked = MIM_WALKED_NONE;
    assert_int_equal(mim_record_walk(frame, size, &walked, 64, all), 41);
    walked = MIM_WALKED_NONE;
    for (unsigned n = 0; n < 41;) {
        uint32_t count = mim_record_walk(frame, size, &walked, 3, some);
        assert_int_equal(count, n + 3 <= 41 ? 3 : 41 - n);
        assert_memory_equal(some, all + n, count * sizeof(*all));
        n += count;
    }
    assert_int_equal(walked.offset, size);
    assert_int_equal(mim_record_walk(frame, size, &walked, 3, some), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_without_parts_comes_back_for_every_payload_size),
        cmocka_unit_test(test_every_set_of_parts_comes_back),
        cmocka_unit_test(test_flags_of_parts_come_from_the_parts),
        cmocka_unit_test(test_every_shorter_reading_is_malformed),
        cmocka_unit_test(test_reserved_bits_and_padding_must_be_zero),
        cmocka_unit_test(test_sizes_that_lie_are_refused),
        cmocka_unit_test(test_random_bytes_never_lead_outside),
        cmocka_unit_test(test_the_walk_goes_as_far_as_records_are_good),
        cmocka_unit_test(test_the_walk_goes_on_where_it_stopped),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
