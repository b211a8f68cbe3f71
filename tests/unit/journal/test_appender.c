// SPDX-License-Identifier: MIT
// The appender alone, without storage: ring, handoffs, frame and segment ends. The test plays the writer.
#include "writer_support.h"

#include "base/hash.h"

#define SEGMENT_SIZE (1ull << 20)
#define RESERVE      (4096u + MIM_FRAME_HEADER_SIZE) /* control reserve and ROLL frame */

struct fixture {
    struct drive d; /* ring and appender only */
    uint64_t taken; /* handoffs consumed */
};

static struct mim_appender_start start_at(uint64_t segment_size) {
    return (struct mim_appender_start){
        .epoch = 3,
        .lsn = MIM_SEGMENT_HEADER_SIZE,
        .time_ms = DRIVE_TIME_MS,
        .segment_first_position = 1,
        .segment_size = segment_size,
    };
}

static int setup(void **state) {
    struct fixture *f = drive_alloc(sizeof(*f));
    struct mim_error error = {0};
    drive_ok(mim_ring_init(&f->d.ring, &error), &error);
    struct mim_appender_start start = start_at(SEGMENT_SIZE);
    mim_appender_init(&f->d.appender, &f->d.ring, &start);
    f->d.wall_ms = DRIVE_TIME_MS;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    mim_ring_deinit(&f->d.ring);
    free(f);
    return 0;
}

static void begin(struct fixture *f, uint64_t segment_size, uint64_t ring_offset) {
    drive_ring_reset(&f->d.ring, ring_offset);
    struct mim_appender_start start = start_at(segment_size);
    mim_appender_init(&f->d.appender, &f->d.ring, &start);
    f->taken = 0;
}

static uint64_t waiting(const struct fixture *f) { return atomic_load(&f->d.ring.handoff_head) - f->taken; }

/** The next handoff, left in the ring; its frame's bytes. */
static const struct mim_handoff *take(struct fixture *f, const uint8_t **ret_frame) {
    assert_true(waiting(f) > 0);
    const struct mim_handoff *handoff = &f->d.ring.handoffs[f->taken++ % MIM_RING_HANDOFFS];
    *ret_frame = f->d.ring.bytes + handoff->ring_offset % MIM_RING_SIZE;
    return handoff;
}

/** As the writer does: all handoffs seen so far are done with. */
static void release(struct fixture *f) {
    struct mim_ring *ring = &f->d.ring;
    for (uint64_t i = atomic_load(&ring->handoff_tail); i < f->taken; i++) {
        const struct mim_handoff *handoff = &ring->handoffs[i % MIM_RING_HANDOFFS];
        if (handoff->kind != MIM_HANDOFF_ROLL) {
            atomic_store(&ring->bytes_tail, handoff->ring_offset + handoff->size);
        }
    }
    atomic_store(&ring->handoff_tail, f->taken);
}

static void spare_ready(struct fixture *f, uint64_t size) {
    atomic_store(&f->d.ring.spare_size, size);
    atomic_store(&f->d.ring.spare_state, MIM_SPARE_READY);
}

static void test_a_sealed_frame_tells_its_size_events_positions_and_time(void **state) {
    struct fixture *f = *state;
    assert_int_equal(drive_put(&f->d, 2, 10, 1), 0);
    f->d.wall_ms += 7;
    assert_int_equal(drive_put(&f->d, 1, 0, 3), 0);
    assert_int_equal(waiting(f), 0);
    assert_false(mim_appender_idle(&f->d.appender));
    mim_appender_seal(&f->d.appender);
    assert_int_equal(waiting(f), 1);
    const uint8_t *frame;
    const struct mim_handoff *handoff = take(f, &frame);
    uint32_t size = MIM_FRAME_HEADER_SIZE + 2 * 56 + 40;
    assert_int_equal(handoff->kind, MIM_HANDOFF_FRAME);
    assert_int_equal(handoff->lsn, MIM_SEGMENT_HEADER_SIZE);
    assert_int_equal(handoff->size, size);
    assert_int_equal(handoff->last_position, 3);
    assert_int_equal(mim_get32(frame + 8), size);
    assert_int_equal(mim_get32(frame + 12), 3);
    assert_int_equal(mim_get64(frame + 16), 1);
    assert_int_equal(mim_get64(frame + 32), DRIVE_TIME_MS);
    assert_int_equal(mim_get32(frame + 40), 3);
    struct mim_record record;
    assert_int_equal(mim_record_decode(frame + 64 + 112, 40, &record), 40);
    assert_int_equal(record.time_delta_ms, 7);
    assert_int_equal(record.index, 2);
    assert_false(mim_appender_idle(&f->d.appender));
    release(f);
    assert_true(mim_appender_idle(&f->d.appender));
    assert_int_equal(f->d.appender.next_lsn, MIM_SEGMENT_HEADER_SIZE + size);
}

static void test_a_frame_into_which_nothing_was_committed_is_not_handed_over(void **state) {
    struct fixture *f = *state;
    uint8_t *at;
    assert_int_equal(mim_appender_reserve(&f->d.appender, 1000, 1, DRIVE_TIME_MS, &at), 0);
    mim_appender_seal(&f->d.appender);
    mim_appender_seal(&f->d.appender);
    assert_int_equal(waiting(f), 0);
    assert_true(mim_appender_idle(&f->d.appender));
    assert_int_equal(f->d.appender.next_lsn, MIM_SEGMENT_HEADER_SIZE);
    assert_int_equal(mim_appender_reserve(&f->d.appender, 1000, 1, DRIVE_TIME_MS, &at), 0);
    assert_int_equal(f->d.appender.frame_lsn, MIM_SEGMENT_HEADER_SIZE);
}

static void test_event_time_never_falls_and_a_delta_beyond_16_bits_seals_the_frame(void **state) {
    struct fixture *f = *state;
    assert_int_equal(drive_put(&f->d, 1, 8, 1), 0);
    f->d.wall_ms = DRIVE_TIME_MS - 1000;
    assert_int_equal(mim_appender_time(&f->d.appender, f->d.wall_ms), DRIVE_TIME_MS);
    f->d.wall_ms = DRIVE_TIME_MS + UINT16_MAX;
    assert_int_equal(drive_put(&f->d, 1, 8, 2), 0);
    assert_int_equal(waiting(f), 0);
    f->d.wall_ms = DRIVE_TIME_MS + UINT16_MAX + 1;
    assert_int_equal(drive_put(&f->d, 1, 8, 3), 0);
    assert_int_equal(waiting(f), 1);
    assert_int_equal(f->d.appender.frame_time_ms, DRIVE_TIME_MS + UINT16_MAX + 1);
}

static void test_a_frame_is_sealed_at_its_soft_size_and_at_its_greatest_event_count(void **state) {
    struct fixture *f = *state;
    begin(f, 64ull << 20, 0);
    uint64_t put = 0;
    while (waiting(f) == 0) {
        assert_int_equal(drive_put(&f->d, 1, 1000, ++put), 0);
    }
    const uint8_t *frame;
    const struct mim_handoff *handoff = take(f, &frame);
    assert_true(handoff->size <= MIM_FRAME_SIZE_SOFT + MIM_FRAME_HEADER_SIZE);
    assert_true(handoff->size > MIM_FRAME_SIZE_SOFT - 2048);
    assert_int_equal(mim_get32(frame + 12), put - 1);
    mim_appender_seal(&f->d.appender);
    /* a record of no bytes is not possible, so the count is reached by committing events without any */
    uint8_t *at;
    assert_int_equal(mim_appender_reserve(&f->d.appender, 8, MIM_FRAME_EVENTS_MAX, DRIVE_TIME_MS, &at), 0);
    mim_appender_commit(&f->d.appender, 8, MIM_FRAME_EVENTS_MAX);
    uint64_t before = waiting(f);
    assert_int_equal(mim_appender_reserve(&f->d.appender, 8, 0, DRIVE_TIME_MS, &at), 0);
    assert_int_equal(waiting(f), before);
    assert_int_equal(mim_appender_reserve(&f->d.appender, 8, 1, DRIVE_TIME_MS, &at), 0);
    assert_int_equal(waiting(f), before + 1);
}

static void test_a_transaction_beyond_the_limit_is_refused_and_one_at_the_limit_taken(void **state) {
    struct fixture *f = *state;
    begin(f, 64ull << 20, 0);
    uint8_t *at;
    struct mim_appender before = f->d.appender;
    assert_int_equal(mim_appender_reserve(&f->d.appender, MIM_TX_SIZE_MAX + 8u, 1, DRIVE_TIME_MS, &at), MIM_E_LIMIT);
    assert_int_equal(mim_appender_reserve(&f->d.appender, 64, MIM_FRAME_EVENTS_MAX + 1u, DRIVE_TIME_MS, &at),
                     MIM_E_LIMIT);
    assert_memory_equal(&before, &f->d.appender, sizeof(before));
    assert_int_equal(drive_put(&f->d, 1, 8, 1), 0);
    assert_int_equal(mim_appender_reserve(&f->d.appender, MIM_TX_SIZE_MAX, 1, DRIVE_TIME_MS, &at), 0);
    memset(at, 1, MIM_TX_SIZE_MAX);
    mim_appender_commit(&f->d.appender, MIM_TX_SIZE_MAX, 1);
    mim_appender_seal(&f->d.appender);
    assert_int_equal(waiting(f), 2); /* the small one before it was sealed alone */
    const uint8_t *frame;
    (void)take(f, &frame);
    assert_int_equal(take(f, &frame)->size, MIM_FRAME_HEADER_SIZE + MIM_TX_SIZE_MAX);
}

static void test_data_leaves_room_for_the_end_of_the_segment_and_control_frames_use_it(void **state) {
    struct fixture *f = *state;
    struct mim_appender *a = &f->d.appender;
    begin(f, 16384, 0);
    assert_int_equal(drive_put(&f->d, 1, 8, 1), 0);
    mim_appender_seal(a);
    uint8_t *at;
    size_t left = (size_t)(16384 - a->next_lsn) - RESERVE - MIM_FRAME_HEADER_SIZE;
    assert_int_equal(mim_appender_reserve(a, left + 8, 1, DRIVE_TIME_MS, &at), MIM_E_AGAIN); /* spare NEEDED */
    assert_int_equal(mim_appender_reserve(a, left, 1, DRIVE_TIME_MS, &at), 0);
    memset(at, 1, left);
    mim_appender_commit(a, left, 1);
    mim_appender_seal(a);
    assert_int_equal(a->next_lsn, 16384 - RESERVE);
    assert_int_equal(drive_put(&f->d, 1, 8, 2), MIM_E_AGAIN);
    for (unsigned i = 0; i < 4096 / MIM_FRAME_HEADER_SIZE; i++) {
        assert_int_equal(mim_appender_control(a, MIM_FRAME_SEAL, DRIVE_TIME_MS), 0);
    }
    assert_int_equal(a->next_lsn, 16384 - MIM_FRAME_HEADER_SIZE);
    assert_int_equal(mim_appender_control(a, MIM_FRAME_SEAL, DRIVE_TIME_MS), MIM_E_AGAIN);
    spare_ready(f, 8192);
    assert_int_equal(mim_appender_control(a, MIM_FRAME_SEAL, DRIVE_TIME_MS), 0);
    assert_int_equal(a->segment_base_lsn, 16384);
    assert_int_equal(a->next_lsn, 16384 + MIM_SEGMENT_HEADER_SIZE + MIM_FRAME_HEADER_SIZE);
}

static void test_a_roll_claims_the_spare_and_hands_over_the_new_segments_header(void **state) {
    struct fixture *f = *state;
    struct mim_appender *a = &f->d.appender;
    begin(f, 16384, 0);
    uint64_t serial = 0;
    int rc;
    while ((rc = drive_put(&f->d, 1, 500, serial + 1)) == 0) {
        serial++;
    }
    assert_int_equal(rc, MIM_E_AGAIN);
    atomic_store(&f->d.ring.spare_state, MIM_SPARE_FULL);
    assert_int_equal(drive_put(&f->d, 1, 500, serial + 1), MIM_E_NO_SPACE);
    assert_int_equal(a->next_position, serial + 1);
    spare_ready(f, 32768);
    assert_int_equal(drive_put(&f->d, 1, 500, serial + 1), 0);
    assert_int_equal(atomic_load(&f->d.ring.spare_state), MIM_SPARE_CLAIMED);
    const uint8_t *frame;
    const struct mim_handoff *data = take(f, &frame);
    assert_int_equal(frame[4], MIM_FRAME_DATA);
    const struct mim_handoff *roll_frame = take(f, &frame);
    assert_int_equal(frame[4], MIM_FRAME_ROLL);
    assert_int_equal(mim_get64(frame + 16), serial + 1);
    assert_int_equal(roll_frame->lsn, data->lsn + data->size);
    const struct mim_handoff *roll = take(f, &frame);
    assert_int_equal(roll->kind, MIM_HANDOFF_ROLL);
    assert_int_equal(roll->lsn, roll_frame->lsn + roll_frame->size);
    assert_int_equal(roll->header.base_lsn, roll->lsn);
    assert_int_equal(roll->header.first_position, serial + 1);
    assert_int_equal(roll->header.epoch, 3);
    assert_int_equal(a->frame_lsn, roll->lsn + MIM_SEGMENT_HEADER_SIZE);
    assert_int_equal(a->segment_size, 32768);
    assert_int_equal(a->segment_first_position, serial + 1);
}

static void test_a_segment_without_an_event_grows_instead_of_rolling(void **state) {
    struct fixture *f = *state;
    struct mim_appender *a = &f->d.appender;
    begin(f, 8192, 0);
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(drive_put(&f->d, 0, 100, i), 0); /* records without a position */
        assert_int_equal(mim_appender_control(a, MIM_FRAME_SEAL, DRIVE_TIME_MS), 0);
    }
    assert_true(a->next_lsn > 8192);
    assert_int_equal(a->segment_base_lsn, 0);
    assert_int_equal(drive_put(&f->d, 1, 3000, 1), 0);
    assert_int_equal(drive_put(&f->d, 1, 8, 2), MIM_E_AGAIN); /* it has a name of its own now */
    spare_ready(f, 8192);
    assert_int_equal(drive_put(&f->d, 1, 100000, 2), 0); /* larger than the new segment, which has no event either */
    assert_int_equal(a->segment_first_position, 2);
}

static void test_frames_stay_whole_at_the_rings_end_and_the_gap_comes_free(void **state) {
    struct fixture *f = *state;
    for (uint64_t before_end = 0; before_end <= 256; before_end += 8) {
        begin(f, UINT64_MAX / 2, 5ull * MIM_RING_SIZE - before_end);
        assert_int_equal(drive_put(&f->d, 1, 100, 1), 0);
        assert_int_equal(mim_appender_control(&f->d.appender, MIM_FRAME_SEAL, DRIVE_TIME_MS), 0);
        const uint8_t *frame;
        const struct mim_handoff *first = take(f, &frame);
        assert_int_equal(first->ring_offset % MIM_RING_SIZE, 0); /* no room for the largest open frame before */
        assert_true(first->ring_offset >= 5ull * MIM_RING_SIZE - before_end);
        (void)take(f, &frame);
        release(f);
        assert_int_equal(atomic_load(&f->d.ring.bytes_tail), f->d.appender.ring_head);
        assert_int_equal(drive_put(&f->d, 1, 100, 1), 0);
    }
}

static void test_the_ring_fills_up_says_so_and_goes_on_where_it_stopped(void **state) {
    struct fixture *f = *state;
    struct mim_prng prng;
    mim_prng_init(&prng, 11);
    begin(f, UINT64_MAX / 2, 0);
    uint64_t serial = 1;
    uint64_t checked = 1;
    unsigned full = 0;
    while (f->d.appender.ring_head < 5ull * MIM_RING_SIZE) {
        size_t size = mim_prng_chance(&prng, 1, 20) ? 1 + mim_prng_below(&prng, MIM_TX_SIZE_MAX - 200) : 20000;
        int rc = drive_put(&f->d, 1, size, serial);
        serial += rc == 0 ? 1u : 0u;
        if (rc == 0 && !mim_prng_chance(&prng, 1, 10)) {
            continue;
        }
        full += rc == MIM_E_AGAIN ? 1u : 0u;
        assert_true(rc == 0 || rc == MIM_E_AGAIN);
        mim_appender_seal(&f->d.appender);
        uint64_t some = rc == 0 ? mim_prng_below(&prng, 2) : 1 + mim_prng_below(&prng, waiting(f));
        while (some-- > 0 && waiting(f) > 0) { /* every byte is what was put in, though the ring went round */
            const uint8_t *frame;
            const struct mim_handoff *handoff = take(f, &frame);
            struct mim_record record;
            assert_true(handoff->ring_offset % MIM_RING_SIZE + handoff->size <= MIM_RING_SIZE);
            for (size_t at = MIM_FRAME_HEADER_SIZE; at < handoff->size;) {
                size_t one = mim_record_decode(frame + at, handoff->size - at, &record);
                assert_true(one > 0);
                assert_true(drive_filled(record.payload.data, record.payload.size, checked));
                checked++;
                at += one;
            }
        }
        release(f);
    }
    assert_true(full > 5);
}

static void test_while_the_writer_keeps_up_the_rings_beginning_is_used_again(void **state) {
    struct fixture *f = *state;
    for (unsigned behind = 0; behind < 40; behind += 13) { /* frames on their way to the disk */
        begin(f, UINT64_MAX / 2, 0);
        for (uint64_t serial = 1; f->d.appender.ring_head < 5ull * MIM_RING_SIZE; serial++) {
            assert_int_equal(drive_put(&f->d, 1, 20000, serial), 0);
            mim_appender_seal(&f->d.appender);
            assert_true(f->d.appender.ring_head % MIM_RING_SIZE < MIM_RING_USUAL + 30000);
            while (waiting(f) > behind) {
                const uint8_t *frame;
                (void)take(f, &frame);
                release(f);
            }
        }
    }
}

static void test_a_ring_that_went_back_still_takes_the_largest_transaction(void **state) {
    struct fixture *f = *state;
    for (uint64_t at = MIM_RING_USUAL; at < MIM_RING_SIZE; at += 1000000) {
        begin(f, UINT64_MAX / 2, at / 8 * 8);
        assert_int_equal(mim_appender_control(&f->d.appender, MIM_FRAME_SEAL, DRIVE_TIME_MS), 0); /* it is back now */
        assert_true(f->d.appender.ring_head >= MIM_RING_SIZE);
        assert_int_equal(drive_put(&f->d, 1, MIM_TX_SIZE_MAX - 200, 1), 0);
    }
}

static void test_the_handoffs_run_out_and_one_for_the_open_frame_is_always_left(void **state) {
    struct fixture *f = *state;
    begin(f, UINT64_MAX / 2, 0);
    int rc;
    uint64_t sealed = 0;
    while ((rc = drive_put(&f->d, 1, 8, sealed + 1)) == 0) {
        mim_appender_seal(&f->d.appender);
        sealed++;
    }
    assert_int_equal(rc, MIM_E_AGAIN);
    assert_true(sealed > MIM_RING_HANDOFFS - 8 && sealed < MIM_RING_HANDOFFS);
    assert_int_equal(mim_appender_control(&f->d.appender, MIM_FRAME_SEAL, DRIVE_TIME_MS), MIM_E_AGAIN);
    const uint8_t *frame;
    (void)take(f, &frame);
    release(f);
    assert_int_equal(drive_put(&f->d, 1, 8, 1), 0);
    mim_appender_seal(&f->d.appender);
}

/** Copies and takes in at once. */
static int verbatim(struct mim_appender *a, const struct mim_frame_header *header, const uint8_t *frame) {
    const uint8_t *copy = NULL;
    int rc = mim_appender_verbatim_copy(a, header, frame, &copy);
    if (rc == 0) {
        assert_memory_equal(copy, frame, header->size);
        mim_appender_verbatim_commit(a, header);
    }
    return rc;
}

static void test_a_primarys_frames_are_taken_verbatim_and_its_rolls_followed(void **state) {
    struct fixture *f = *state;
    struct mim_appender *a = &f->d.appender;
    uint8_t frame[MIM_FRAME_HEADER_SIZE + 48] = {0};
    memset(frame + MIM_FRAME_HEADER_SIZE, 7, 48);
    struct mim_frame_header header = {.kind = MIM_FRAME_DATA,
                                      .size = sizeof(frame),
                                      .event_count = 2,
                                      .first_position = 1,
                                      .base_time_ms = DRIVE_TIME_MS + 9,
                                      .epoch = 8};
    (void)mim_frame_finish(&header, &a->history, a->next_lsn, frame);
    assert_int_equal(verbatim(a, &header, frame), 0);
    assert_int_equal(a->epoch, 8);
    assert_int_equal(a->next_position, 3);
    assert_int_equal(mim_appender_time(a, 0), DRIVE_TIME_MS + 9);
    const uint8_t *bytes;
    assert_int_equal(take(f, &bytes)->kind, MIM_HANDOFF_VERBATIM);
    assert_memory_equal(bytes, frame, sizeof(frame));
    header = (struct mim_frame_header){.kind = MIM_FRAME_ROLL,
                                       .size = MIM_FRAME_HEADER_SIZE,
                                       .first_position = 3,
                                       .base_time_ms = DRIVE_TIME_MS + 10,
                                       .epoch = 8};
    (void)mim_frame_finish(&header, &a->history, a->next_lsn, frame);
    assert_int_equal(verbatim(a, &header, frame), MIM_E_AGAIN);
    assert_int_equal(waiting(f), 0);
    spare_ready(f, 8192);
    assert_int_equal(verbatim(a, &header, frame), 0);
    assert_int_equal(take(f, &bytes)->kind, MIM_HANDOFF_VERBATIM);
    const struct mim_handoff *roll = take(f, &bytes);
    assert_int_equal(roll->kind, MIM_HANDOFF_ROLL);
    assert_int_equal(roll->header.first_position, 3);
    assert_int_equal(roll->header.epoch, 8);
    assert_int_equal(a->next_lsn, roll->lsn + MIM_SEGMENT_HEADER_SIZE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_sealed_frame_tells_its_size_events_positions_and_time),
        TEST(test_a_frame_into_which_nothing_was_committed_is_not_handed_over),
        TEST(test_event_time_never_falls_and_a_delta_beyond_16_bits_seals_the_frame),
        TEST(test_a_frame_is_sealed_at_its_soft_size_and_at_its_greatest_event_count),
        TEST(test_a_transaction_beyond_the_limit_is_refused_and_one_at_the_limit_taken),
        TEST(test_data_leaves_room_for_the_end_of_the_segment_and_control_frames_use_it),
        TEST(test_a_roll_claims_the_spare_and_hands_over_the_new_segments_header),
        TEST(test_a_segment_without_an_event_grows_instead_of_rolling),
        TEST(test_frames_stay_whole_at_the_rings_end_and_the_gap_comes_free),
        TEST(test_the_ring_fills_up_says_so_and_goes_on_where_it_stopped),
        TEST(test_while_the_writer_keeps_up_the_rings_beginning_is_used_again),
        TEST(test_a_ring_that_went_back_still_takes_the_largest_transaction),
        TEST(test_the_handoffs_run_out_and_one_for_the_open_frame_is_always_left),
        TEST(test_a_primarys_frames_are_taken_verbatim_and_its_rolls_followed),
    };
    return cmocka_run_group_tests_name("appender", tests, NULL, NULL);
}
