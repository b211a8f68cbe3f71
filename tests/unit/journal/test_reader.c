// SPDX-License-Identifier: MIT
// The reader: every frame in order from anywhere, up to a moving limit, over segments that come while it reads; and
// the ways from a position or an image's point to a frame.
#include "journal_support.h"

#include "base/prng.h"

#define SEGMENT_SIZE 65536u
#define FRAMES_MAX   64u

struct fixture {
    struct mim_storage_sim *sim;
    struct mim_storage storage;
    struct builder b;
    struct mim_segments segments;
    struct mim_frame frames[FRAMES_MAX]; /* as built; bytes unused */
    size_t count;
};

static void reload(struct fixture *f) {
    struct mim_error error = {0};
    mim_position_t unused = 0;
    mim_segments_deinit(&f->segments);
    build_ok(mim_segments_load(f->storage, &f->segments, &unused, &error), &error);
}

/** What the reader says now is what the rest is compared with; the recovery tests prove it against the bytes. */
static void read_all(struct fixture *f) {
    struct mim_error error = {0};
    struct mim_reader_options options = {0};
    struct mim_reader *reader = NULL;
    build_ok(mim_reader_open(f->storage, &f->segments, &options, &reader, &error), &error);
    f->count = 0;
    while (mim_reader_next(reader, &f->frames[f->count], &error) == 0) {
        f->count++;
        assert_true(f->count < FRAMES_MAX);
    }
    (void)mim_reader_free(reader);
}

/** Three segments with positions 1-20, 21-25, 26-30. */
static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof(*f));
    f->sim = mim_storage_sim_new(1);
    f->storage = mim_storage_sim_storage(f->sim);
    build_init(&f->b, f->storage, SEGMENT_SIZE);
    (void)build_durable(&f->b, MIM_FRAME_EPOCH, 0, 0);
    for (uint32_t i = 1; i <= 5; i++) {
        (void)build_durable(&f->b, MIM_FRAME_DATA, 4, 100u * i);
    }
    build_roll(&f->b, true);
    build_segment(&f->b, true);
    f->b.epoch = 2;
    (void)build_durable(&f->b, MIM_FRAME_EPOCH, 0, 0);
    (void)build_durable(&f->b, MIM_FRAME_DATA, 5, 8);
    (void)build_durable(&f->b, MIM_FRAME_DATA, 0, 0);
    build_roll(&f->b, true);
    build_segment(&f->b, true);
    (void)build_durable(&f->b, MIM_FRAME_DATA, 5, 8);
    (void)build_durable(&f->b, MIM_FRAME_SEAL, 0, 0);
    reload(f);
    read_all(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    build_done(&f->b);
    mim_segments_deinit(&f->segments);
    (void)mim_storage_sim_free(f->sim);
    test_free(f);
    return 0;
}

static struct mim_reader *open_at(struct fixture *f, mim_lsn_t from, uint64_t chain, mim_lsn_t limit) {
    struct mim_error error = {0};
    struct mim_reader_options options = {.from = from, .previous_chain = chain, .limit = limit};
    struct mim_reader *reader = NULL;
    build_ok(mim_reader_open(f->storage, &f->segments, &options, &reader, &error), &error);
    return reader;
}

static void expect_rest(struct fixture *f, struct mim_reader *reader, size_t from) {
    struct mim_frame frame;
    struct mim_error error = {0};
    for (size_t i = from; i < f->count; i++) {
        build_ok(mim_reader_next(reader, &frame, &error), &error);
        assert_int_equal(frame.lsn, f->frames[i].lsn);
        assert_int_equal(frame.header.chain, f->frames[i].header.chain);
    }
    assert_int_equal(mim_reader_next(reader, &frame, &error), MIM_E_NOT_FOUND);
    assert_int_equal(mim_reader_next(reader, &frame, &error), MIM_E_NOT_FOUND);
}

static void test_all_frames_come_in_order(void **state) {
    struct fixture *f = *state;
    assert_int_equal(f->count, 13);
    uint64_t chain = mim_history_seed(&f->b.history);
    for (size_t i = 0; i < f->count; i++) {
        assert_int_equal(f->frames[i].header.previous_chain, chain);
        chain = f->frames[i].header.chain;
    }
    assert_int_equal(chain, f->b.chain);
}

static void test_records_of_a_frame_are_its_own_bytes(void **state) {
    struct fixture *f = *state;
    struct mim_reader *reader = open_at(f, 0, 0, 0);
    struct mim_frame frame;
    mim_position_t position = 0;
    while (mim_reader_next(reader, &frame, NULL) == 0) {
        assert_int_equal((uintptr_t)frame.bytes % 8u, 0);
        size_t at = MIM_FRAME_HEADER_SIZE;
        for (uint32_t i = 0; i < frame.header.event_count; i++) {
            struct mim_record record;
            size_t size = mim_record_decode(frame.bytes + at, frame.header.size - at, &record);
            assert_true(size > 0);
            position++;
            assert_int_equal(frame.header.first_position + record.index, position);
            assert_int_equal(record.version, position);
            at += size;
        }
        assert_int_equal(at, frame.header.size);
    }
    assert_int_equal(position, 30);
    (void)mim_reader_free(reader);
}

static void test_reading_begins_at_every_frame_with_its_chain(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < f->count; i++) {
        struct mim_reader *reader = open_at(f, f->frames[i].lsn, f->frames[i].header.previous_chain, 0);
        expect_rest(f, reader, i);
        struct mim_journal_ending ending;
        assert_int_equal(mim_reader_ending(reader, &ending, NULL), 0);
        assert_int_equal(ending.kind, MIM_END_CLEAN);
        assert_int_equal(ending.position, 30);
        (void)mim_reader_free(reader);
    }
}

static void test_a_segments_end_and_the_next_ones_header_are_places_to_begin_too(void **state) {
    struct fixture *f = *state;
    for (size_t s = 0; s < 3; s++) {
        mim_lsn_t base = f->segments.items[s].header.base_lsn;
        uint64_t chain = f->segments.items[s].header.previous_chain;
        size_t first = 0;
        while (f->frames[first].lsn < base) {
            first++;
        }
        struct mim_reader *reader = open_at(f, base, chain, 0);
        expect_rest(f, reader, first);
        (void)mim_reader_free(reader);
    }
}

static void test_places_that_are_none_are_invalid(void **state) {
    struct fixture *f = *state;
    const mim_lsn_t bad[] = {8, 4088, 4100, f->b.base_lsn + SEGMENT_SIZE + 8u};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct mim_reader_options options = {.from = bad[i], .previous_chain = 0};
        struct mim_reader *reader = NULL;
        assert_int_equal(mim_reader_open(f->storage, &f->segments, &options, &reader, NULL), MIM_E_INVALID);
        assert_null(reader);
    }
}

static void test_another_chain_at_the_beginning_is_damage_never_a_torn_tail(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i <= f->count; i++) {
        mim_lsn_t from = i < f->count ? f->frames[i].lsn : f->b.lsn;
        uint64_t chain = i < f->count ? f->frames[i].header.previous_chain : f->b.chain;
        struct mim_reader_options options = {.from = from, .previous_chain = chain ^ 1u};
        struct mim_reader *reader = NULL;
        int code = mim_reader_open(f->storage, &f->segments, &options, &reader, NULL);
        if (code != 0) {
            assert_int_equal(code, MIM_E_DAMAGED);
            continue;
        }
        struct mim_frame frame;
        struct mim_journal_ending ending;
        assert_int_equal(mim_reader_next(reader, &frame, NULL), MIM_E_NOT_FOUND);
        assert_int_equal(mim_reader_ending(reader, &ending, NULL), 0);
        assert_int_equal(ending.kind, MIM_END_DAMAGED);
        (void)mim_reader_free(reader);
    }
}

static void test_the_ending_is_known_when_nothing_was_left_to_read(void **state) {
    struct fixture *f = *state;
    struct mim_reader *reader = open_at(f, 0, 0, 0);
    struct mim_frame frame;
    struct mim_journal_ending whole;
    struct mim_journal_ending ending;
    while (mim_reader_next(reader, &frame, NULL) == 0) {
    }
    assert_int_equal(mim_reader_ending(reader, &whole, NULL), 0);
    (void)mim_reader_free(reader);
    reader = open_at(f, f->b.lsn, f->b.chain, 0);
    assert_int_equal(mim_reader_next(reader, &frame, NULL), MIM_E_NOT_FOUND);
    assert_int_equal(mim_reader_ending(reader, &ending, NULL), 0);
    (void)mim_reader_free(reader);
    assert_int_equal(ending.kind, MIM_END_CLEAN);
    assert_int_equal(ending.lsn, whole.lsn);
    assert_int_equal(ending.position, 30);
    assert_int_equal(ending.chain, whole.chain);
    assert_int_equal(ending.epoch, 2);
    assert_int_equal(ending.time_ms, whole.time_ms);
}

static void test_the_greatest_event_time_counts_the_deltas(void **state) {
    (void)state;
    struct fixture f = {.sim = mim_storage_sim_new(1)};
    f.storage = mim_storage_sim_storage(f.sim);
    build_init(&f.b, f.storage, SEGMENT_SIZE);
    (void)build_durable(&f.b, MIM_FRAME_DATA, 100, 8); /* deltas 0..99, and the next frame is only 10 ms later */
    (void)build_durable(&f.b, MIM_FRAME_SEAL, 0, 0);
    struct outcome outcome = outcome_of(f.storage, 0);
    assert_int_equal(outcome.ending.time_ms, BUILD_TIME_MS + 99);
    build_done(&f.b);
    (void)mim_storage_sim_free(f.sim);
}

static void test_a_limit_is_never_read_beyond_and_may_move(void **state) {
    struct fixture *f = *state;
    struct mim_frame frame;
    struct mim_journal_ending ending;
    struct mim_reader *reader = open_at(f, 0, 0, MIM_SEGMENT_HEADER_SIZE);
    for (size_t i = 0; i < f->count; i++) {
        mim_lsn_t end = f->frames[i].lsn + f->frames[i].header.size;
        assert_int_equal(mim_reader_next(reader, &frame, NULL), MIM_E_NOT_FOUND);
        mim_reader_set_limit(reader, end - 8u); /* within the frame */
        assert_int_equal(mim_reader_next(reader, &frame, NULL), MIM_E_NOT_FOUND);
        assert_int_equal(mim_reader_ending(reader, &ending, NULL), 0);
        assert_int_equal(ending.kind, MIM_END_CLEAN);
        mim_reader_set_limit(reader, end);
        assert_int_equal(mim_reader_next(reader, &frame, NULL), 0);
        assert_int_equal(frame.lsn, f->frames[i].lsn);
    }
    assert_int_equal(mim_reader_next(reader, &frame, NULL), MIM_E_NOT_FOUND);
    (void)mim_reader_free(reader);
}

static void test_bad_bytes_before_the_limit_are_damage(void **state) {
    struct fixture *f = *state;
    struct mim_frame frame;
    struct mim_error error = {0};
    struct mim_journal_ending ending;
    struct mim_reader *reader = open_at(f, 0, 0, f->b.lsn + 64u); /* claims more than there is */
    size_t read = 0;
    int code = 0;
    while ((code = mim_reader_next(reader, &frame, &error)) == 0) {
        read++;
    }
    assert_int_equal(code, MIM_E_DAMAGED);
    assert_int_equal(read, f->count);
    assert_int_equal(mim_reader_ending(reader, &ending, &error), 0);
    assert_int_equal(ending.kind, MIM_END_DAMAGED);
    (void)mim_reader_free(reader);
}

static void test_a_live_journal_is_followed_over_new_frames_and_segments(void **state) {
    (void)state;
    struct fixture f = {.sim = mim_storage_sim_new(1)};
    f.storage = mim_storage_sim_storage(f.sim);
    build_init(&f.b, f.storage, SEGMENT_SIZE);
    reload(&f);
    struct mim_reader *reader = open_at(&f, 0, 0, f.b.lsn);
    struct mim_frame frame;
    struct mim_error error = {0};
    for (uint32_t round = 0; round < 100; round++) {
        mim_lsn_t lsn = f.b.lsn;
        if (round % 10 == 9) {
            build_roll(&f.b, round % 20 == 9);
            mim_reader_set_limit(reader, f.b.lsn);
            build_ok(mim_reader_next(reader, &frame, &error), &error);
            assert_int_equal(frame.header.kind, MIM_FRAME_ROLL);
            assert_int_equal(mim_reader_next(reader, &frame, &error), MIM_E_NOT_FOUND);
            build_segment(&f.b, true);
            struct mim_segment segment = {.file_size = SEGMENT_SIZE};
            segment.header = (struct mim_segment_header){
                .history = f.b.history,
                .first_position = f.b.position + 1u,
                .base_lsn = f.b.base_lsn,
                .previous_chain = f.b.chain,
                .epoch = 1,
                .base_time_ms = f.b.time_ms,
            };
            mim_reader_set_limit(reader, f.b.lsn);
            assert_int_equal(mim_reader_next(reader, &frame, &error), MIM_E_NOT_FOUND);
            assert_int_equal(mim_segments_push(&f.segments, &segment), 0);
            assert_int_equal(mim_reader_next(reader, &frame, &error), MIM_E_NOT_FOUND);
            continue;
        }
        (void)build_durable(&f.b, MIM_FRAME_DATA, 1 + round % 5, round);
        assert_int_equal(mim_reader_next(reader, &frame, &error), MIM_E_NOT_FOUND);
        mim_reader_set_limit(reader, f.b.lsn);
        build_ok(mim_reader_next(reader, &frame, &error), &error);
        assert_int_equal(frame.lsn, lsn);
        assert_int_equal(frame.header.chain, f.b.chain);
        assert_int_equal(mim_reader_next(reader, &frame, &error), MIM_E_NOT_FOUND);
    }
    (void)mim_reader_free(reader);
    mim_segments_deinit(&f.segments);
    build_done(&f.b);
    (void)mim_storage_sim_free(f.sim);
}

static void test_a_reader_without_limit_sees_what_is_written_after_it_reached_the_end(void **state) {
    struct fixture *f = *state;
    struct mim_reader *reader = open_at(f, 0, 0, 0);
    expect_rest(f, reader, 0);
    (void)build_durable(&f->b, MIM_FRAME_DATA, 1, 8);
    struct mim_frame frame;
    assert_int_equal(mim_reader_next(reader, &frame, NULL), 0);
    assert_int_equal(frame.header.chain, f->b.chain);
    (void)mim_reader_free(reader);
}

static void test_seeking_goes_anywhere_and_back(void **state) {
    struct fixture *f = *state;
    struct mim_reader *reader = open_at(f, 0, 0, 0);
    struct mim_frame frame;
    for (size_t round = 0; round < 200; round++) {
        size_t i = (round * 7u) % f->count;
        assert_int_equal(mim_reader_seek(reader, f->frames[i].lsn, NULL), 0);
        assert_int_equal(mim_reader_next(reader, &frame, NULL), 0);
        assert_int_equal(frame.header.chain, f->frames[i].header.chain);
        if (i + 1u < f->count) {
            assert_int_equal(mim_reader_next(reader, &frame, NULL), 0);
            assert_int_equal(frame.header.chain, f->frames[i + 1u].header.chain);
        }
    }
    assert_int_equal(mim_reader_seek(reader, 4100, NULL), MIM_E_INVALID);
    (void)mim_reader_free(reader);
}

static void test_every_position_is_located_and_none_beyond(void **state) {
    struct fixture *f = *state;
    mim_lsn_t lsn = 0;
    uint64_t chain = 0;
    for (mim_position_t position = 1; position <= 30; position++) {
        assert_int_equal(mim_journal_locate(f->storage, &f->segments, position, &lsn, &chain, NULL), 0);
        size_t i = 0;
        while (f->frames[i].lsn != lsn) {
            i++;
            assert_true(i < f->count);
        }
        const struct mim_frame_header *header = &f->frames[i].header;
        assert_true(position >= header->first_position && position < header->first_position + header->event_count);
        assert_int_equal(chain, header->previous_chain);
    }
    assert_int_equal(mim_journal_locate(f->storage, &f->segments, 0, &lsn, &chain, NULL), MIM_E_NOT_FOUND);
    assert_int_equal(mim_journal_locate(f->storage, &f->segments, 31, &lsn, &chain, NULL), MIM_E_NOT_FOUND);
    assert_int_equal(mim_journal_locate(f->storage, &f->segments, UINT64_MAX, &lsn, &chain, NULL), MIM_E_NOT_FOUND);
}

static void test_locating_over_a_bad_frame_is_damage(void **state) {
    struct fixture *f = *state;
    mim_lsn_t lsn = 0;
    uint64_t chain = 0;
    struct mim_error error = {0};
    assert_true(mim_storage_sim_flip_bit(f->sim, "journal/00000000000000000001.journal", (4096u + 64u + 9u) * 8u));
    assert_int_equal(mim_journal_locate(f->storage, &f->segments, 7, &lsn, &chain, &error), MIM_E_DAMAGED);
    assert_non_null(strstr(error.text, "offset 4160"));
}

/** Writes a frame of exactly `size` bytes at the builder's place. */
static void build_large(struct builder *b, uint32_t size) {
    uint8_t *bytes = test_malloc(size);
    struct mim_prng prng;
    mim_prng_init(&prng, size);
    for (uint32_t i = MIM_FRAME_HEADER_SIZE; i < size; i += 8u) {
        mim_put64(bytes + i, mim_prng_next(&prng));
    }
    struct mim_frame_header header = {
        .kind = MIM_FRAME_DATA,
        .size = size,
        .event_count = 1,
        .first_position = b->position + 1u,
        .base_time_ms = b->time_ms,
        .epoch = b->epoch,
        .previous_chain = b->chain,
    };
    struct mim_error error = {0};
    b->chain = mim_frame_finish(&header, &b->history, b->lsn, bytes);
    build_ok(mim_file_pwrite(b->storage, b->file, bytes, size, b->lsn - b->base_lsn, &error), &error);
    b->lsn += size;
    b->position++;
    test_free(bytes);
}

static void test_headers_only_reads_the_same_headers_and_far_fewer_bytes(void **state) {
    (void)state;
    struct fixture f = {.sim = mim_storage_sim_new(1)};
    f.storage = mim_storage_sim_storage(f.sim);
    build_init(&f.b, f.storage, 33u << 20);
    for (int i = 0; i < 32; i++) {
        build_large(&f.b, 1u << 20);
    }
    reload(&f);
    struct mim_reader *reader[2];
    for (int only = 0; only < 2; only++) {
        struct mim_reader_options options = {.headers_only = only != 0};
        assert_int_equal(mim_reader_open(f.storage, &f.segments, &options, &reader[only], NULL), 0);
    }
    struct mim_frame frame[2];
    for (int i = 0; i < 32; i++) {
        assert_int_equal(mim_reader_next(reader[0], &frame[0], NULL), 0);
        assert_int_equal(mim_reader_next(reader[1], &frame[1], NULL), 0);
        assert_int_equal(frame[0].lsn, frame[1].lsn);
        assert_int_equal(frame[0].header.chain, frame[1].header.chain);
        assert_memory_equal(frame[0].bytes, frame[1].bytes, MIM_FRAME_HEADER_SIZE);
    }
    assert_int_equal(mim_reader_next(reader[1], &frame[1], NULL), MIM_E_NOT_FOUND);
    assert_true(mim_reader_consumed(reader[0]) >= (32u << 20));
    assert_true(mim_reader_consumed(reader[1]) < (4u << 20));
    (void)mim_reader_free(reader[0]);
    (void)mim_reader_free(reader[1]);
    mim_segments_deinit(&f.segments);
    build_done(&f.b);
    (void)mim_storage_sim_free(f.sim);
}

static void test_frames_of_every_size_pass_the_window(void **state) {
    (void)state;
    struct fixture f = {.sim = mim_storage_sim_new(1)};
    f.storage = mim_storage_sim_storage(f.sim);
    build_init(&f.b, f.storage, 48u << 20);
    const uint32_t sizes[] = {64,
                              72,
                              MIM_FRAME_SIZE_MAX,
                              64,
                              MIM_FRAME_SIZE_MAX - 8u,
                              (1u << 20),
                              80,
                              (1u << 20) - 8u,
                              (1u << 20) + 8u,
                              MIM_FRAME_SIZE_MAX,
                              1048440,
                              136,
                              MIM_FRAME_SIZE_MAX,
                              MIM_FRAME_SIZE_MAX,
                              64};
    size_t count = sizeof(sizes) / sizeof(sizes[0]);
    for (size_t i = 0; i < count; i++) {
        build_large(&f.b, sizes[i]);
    }
    for (uint32_t i = 0; i < 3000; i++) {
        build_large(&f.b, 64u + 8u * (i % 500u));
    }
    reload(&f);
    struct mim_reader *reader = open_at(&f, 0, 0, 0);
    struct mim_frame frame = {0};
    struct mim_error error = {0};
    for (size_t i = 0; i < count + 3000u; i++) {
        build_ok(mim_reader_next(reader, &frame, &error), &error);
        assert_int_equal(frame.header.size, i < count ? sizes[i] : 64u + 8u * ((i - count) % 500u));
    }
    assert_int_equal(frame.header.chain, f.b.chain);
    assert_int_equal(mim_reader_next(reader, &frame, &error), MIM_E_NOT_FOUND);
    assert_true(mim_reader_consumed(reader) < (50u << 20)); /* nothing is read twice but what is behind the end */
    (void)mim_reader_free(reader);
    mim_segments_deinit(&f.segments);
    build_done(&f.b);
    (void)mim_storage_sim_free(f.sim);
}

static void test_every_failing_call_is_an_io_error_and_reading_goes_on_after_it(void **state) {
    struct fixture *f = *state;
    for (uint64_t nth = 1;; nth++) {
        struct mim_reader *reader = open_at(f, 0, 0, 0);
        struct mim_frame frame;
        struct mim_error error = {0};
        uint64_t before = mim_storage_sim_calls(f->sim);
        mim_storage_sim_fail_nth(f->sim, nth, MIM_SIM_FAULT_EIO, false);
        size_t read = 0;
        int failures = 0;
        int code = 0;
        while (code != MIM_E_NOT_FOUND) {
            code = mim_reader_next(reader, &frame, &error);
            if (code == 0) {
                assert_int_equal(frame.lsn, f->frames[read].lsn);
                read++;
            } else if (code != MIM_E_NOT_FOUND) {
                assert_int_equal(code, MIM_E_IO);
                failures++;
            }
        }
        mim_storage_sim_clear_faults(f->sim);
        assert_int_equal(read, f->count);
        bool done = mim_storage_sim_calls(f->sim) < before + nth;
        assert_int_equal(failures, done ? 0 : 1);
        (void)mim_reader_free(reader);
        if (done) {
            assert_true(nth > 6);
            return;
        }
    }
}

static void test_a_file_that_shrank_or_vanished_under_the_reader_is_an_io_error(void **state) {
    struct fixture *f = *state;
    struct mim_frame frame;
    struct mim_error error = {0};
    struct mim_reader *reader = open_at(f, 0, 0, 0);
    build_ok(mim_storage_remove(f->storage, "journal/00000000000000000021.journal", &error), &error);
    int code = 0;
    while (code == 0) {
        code = mim_reader_next(reader, &frame, &error);
    }
    assert_int_equal(code, MIM_E_IO);
    assert_non_null(strstr(error.text, "vanished"));
    (void)mim_reader_free(reader);
    reader = open_at(f, 0, 0, f->frames[0].lsn + f->frames[0].header.size);
    assert_int_equal(mim_reader_next(reader, &frame, &error), 0);
    assert_true(mim_storage_sim_truncate(f->sim, "journal/00000000000000000001.journal", 5000));
    mim_reader_set_limit(reader, f->b.lsn);
    assert_int_equal(mim_reader_next(reader, &frame, &error), MIM_E_IO);
    assert_non_null(strstr(error.text, "short read"));
    (void)mim_reader_free(reader);
}

static void test_trusting_payloads_reads_over_a_rotten_one(void **state) {
    struct fixture *f = *state;
    struct mim_frame frame;
    assert_true(mim_storage_sim_flip_bit(f->sim, "journal/00000000000000000001.journal", (4096u + 64u + 200u) * 8u));
    for (int trust = 0; trust < 2; trust++) {
        struct mim_reader_options options = {.skip_payload_check = trust != 0};
        struct mim_reader *reader = NULL;
        assert_int_equal(mim_reader_open(f->storage, &f->segments, &options, &reader, NULL), 0);
        size_t read = 0;
        while (mim_reader_next(reader, &frame, NULL) == 0) {
            read++;
        }
        assert_int_equal(read, trust ? f->count : 1);
        (void)mim_reader_free(reader);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_all_frames_come_in_order),
        TEST(test_records_of_a_frame_are_its_own_bytes),
        TEST(test_reading_begins_at_every_frame_with_its_chain),
        TEST(test_a_segments_end_and_the_next_ones_header_are_places_to_begin_too),
        TEST(test_places_that_are_none_are_invalid),
        TEST(test_another_chain_at_the_beginning_is_damage_never_a_torn_tail),
        TEST(test_the_ending_is_known_when_nothing_was_left_to_read),
        cmocka_unit_test(test_the_greatest_event_time_counts_the_deltas),
        TEST(test_a_limit_is_never_read_beyond_and_may_move),
        TEST(test_bad_bytes_before_the_limit_are_damage),
        cmocka_unit_test(test_a_live_journal_is_followed_over_new_frames_and_segments),
        TEST(test_a_reader_without_limit_sees_what_is_written_after_it_reached_the_end),
        TEST(test_seeking_goes_anywhere_and_back),
        TEST(test_every_position_is_located_and_none_beyond),
        TEST(test_locating_over_a_bad_frame_is_damage),
        cmocka_unit_test(test_headers_only_reads_the_same_headers_and_far_fewer_bytes),
        cmocka_unit_test(test_frames_of_every_size_pass_the_window),
        TEST(test_every_failing_call_is_an_io_error_and_reading_goes_on_after_it),
        TEST(test_a_file_that_shrank_or_vanished_under_the_reader_is_an_io_error),
        TEST(test_trusting_payloads_reads_over_a_rotten_one),
    };
    return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
