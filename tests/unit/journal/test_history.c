// SPDX-License-Identifier: MIT
// Random access, the cursor and the walk of a stream: over several segments, up to a limit that moves while they read,
// against the LSNs as they were written. Over damaged bytes and failing storage.
#include "journal_support.h"

#include "journal/cursor.h"
#include "journal/stream.h"

#define SEGMENT_SIZE (256u << 10)
#define EVENTS_MAX   20000u
#define BIG          7u /* the stream that gets most events */

struct fixture {
    struct mim_storage_sim *sim;
    struct mim_storage storage;
    struct builder b;
    struct mim_access *access;
    mim_lsn_t lsns[EVENTS_MAX]; /* of the big stream's versions */
    mim_position_t positions[EVENTS_MAX];
    int64_t times[EVENTS_MAX];
    mim_version_t versions; /* of the big stream */
    mim_lsn_t other_lsn;    /* newest event of the other stream */
    mim_version_t other_version;
};

static size_t skips_of(const struct fixture *f, mim_version_t version, mim_lsn_t skips[MIM_SKIP_LEVELS]) {
    size_t count = 0;
    for (uint64_t step = MIM_SKIP_BASE; count < MIM_SKIP_LEVELS && version % step == 0; step *= MIM_SKIP_BASE) {
        skips[count++] = version == step ? 0 : f->lsns[version - step];
    }
    return count * sizeof(mim_lsn_t);
}

/** A frame of `count` events in transactions of two: the big stream's, then now and then the other's. */
static void add_frame(struct fixture *f, uint32_t count) {
    struct builder *b = &f->b;
    struct mim_error error = {0};
    uint8_t frame[16384] = {0};
    size_t size = MIM_FRAME_HEADER_SIZE;
    size_t first = size;
    for (uint32_t i = 0; i < count; i++) {
        bool big = (b->position + i) % 5u != 0;
        mim_lsn_t skips[MIM_SKIP_LEVELS];
        struct mim_record_parts parts = {0};
        first = i % 2u == 0 ? size : first;
        struct mim_record record = {
            .type = 1,
            .flags = (uint16_t)(i % 2u == 0 ? MIM_FLAG_TX_FIRST : MIM_FLAG_TX_LAST),
            .stream = big ? BIG : 1,
            .version = big ? f->versions + 1 : f->other_version + 1,
            .previous_lsn = !big               ? f->other_lsn
                            : f->versions == 0 ? 0
                                               : f->lsns[f->versions],
            .frame_offset = (uint32_t)size,
            .tx_offset = (uint32_t)(size - first),
            .index = (uint16_t)i,
            .time_delta_ms = (uint16_t)(i / 4u),
        };
        if (big && record.version % MIM_SKIP_BASE == 0) {
            parts.flags |= MIM_PART_SKIP;
            parts.part[1] = mim_slice_of(skips, skips_of(f, record.version, skips));
        }
        if (i % 2u == 0) {
            parts.flags |= MIM_PART_CORR;
            parts.part[3] = mim_slice_text("corr");
        }
        memset(frame + size + MIM_RECORD_HEADER_SIZE, 'p', 16);
        if (big) {
            f->versions++;
            f->lsns[f->versions] = b->lsn + size;
            f->positions[f->versions] = b->position + i + 1u;
            f->times[f->versions] = b->time_ms + record.time_delta_ms;
        } else {
            f->other_version++;
            f->other_lsn = b->lsn + size;
        }
        size += mim_record_finish(frame + size, &record, 16, &parts);
        assert_true(size + 256u < sizeof(frame));
    }
    struct mim_frame_header header = {.kind = MIM_FRAME_DATA,
                                      .size = (uint32_t)size,
                                      .event_count = count,
                                      .first_position = b->position + 1u,
                                      .durable_lsn = b->durable_lsn,
                                      .base_time_ms = b->time_ms,
                                      .epoch = 1,
                                      .previous_chain = b->chain};
    b->chain = mim_frame_finish(&header, &b->history, b->lsn, frame);
    build_ok(mim_file_pwrite(b->storage, b->file, frame, size, b->lsn - b->base_lsn, &error), &error);
    b->lsn += size;
    b->position += count;
    b->time_ms += 50;
}

static void add_events(struct fixture *f, uint32_t wanted) {
    for (uint32_t n = 1; wanted > 0; n = n % 60u + 1u) {
        uint32_t count = n < wanted ? n : wanted;
        if (f->b.lsn - f->b.base_lsn > SEGMENT_SIZE - 20000u) {
            build_roll(&f->b, true);
            build_segment(&f->b, true);
        }
        add_frame(f, count);
        wanted -= count;
    }
}

static void see_all(struct fixture *f) {
    struct mim_error error = {0};
    build_ok(mim_access_set_limit(f->access, f->b.lsn, f->b.base_lsn, &error), &error);
}

static struct mim_stream_tip tip_of(const struct fixture *f) {
    struct mim_stream_tip tip = {.version = f->versions, .lsn = f->lsns[f->versions]};
    uint64_t step = MIM_SKIP_BASE;
    for (unsigned i = 0; i < MIM_SKIP_LEVELS; i++, step *= MIM_SKIP_BASE) {
        tip.anchors[i] = f->versions < step ? 0 : f->lsns[f->versions / step * step];
    }
    return tip;
}

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof(*f));
    struct mim_error error = {0};
    f->sim = mim_storage_sim_new(1);
    f->storage = mim_storage_sim_storage(f->sim);
    build_init(&f->b, f->storage, SEGMENT_SIZE);
    add_events(f, 12000);
    build_ok(mim_access_open(f->storage, &f->access, &error), &error);
    see_all(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    (void)mim_access_free(f->access);
    build_done(&f->b);
    (void)mim_storage_sim_free(f->sim);
    test_free(f);
    return 0;
}

static void test_every_version_is_found_by_version_position_and_time(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    struct mim_stream_tip tip = tip_of(f);
    assert_true(f->versions > 2u * 64u * 64u);
    assert_true(mim_access_segments(f->access)->count > 1);
    for (mim_version_t v = 1; v <= f->versions; v += v % 64u == 0 || v > 4100 ? 7 : 1) {
        struct mim_journal_event event;
        build_ok(mim_stream_find(f->access, &tip, MIM_BY_VERSION, v, &event, &error), &error);
        assert_int_equal(event.lsn, f->lsns[v]);
        assert_int_equal(event.position, f->positions[v]);
        assert_int_equal(event.time_ms, f->times[v]);
        build_ok(mim_stream_find(f->access, &tip, MIM_BY_POSITION, f->positions[v], &event, &error), &error);
        assert_int_equal(event.record.version, v);
        build_ok(mim_stream_find(f->access, &tip, MIM_BY_TIME, (uint64_t)f->times[v], &event, &error), &error);
        assert_true(event.record.version >= v && event.time_ms == f->times[v]);
        assert_true(event.record.version == f->versions || f->times[event.record.version + 1] > f->times[v]);
    }
    struct mim_journal_event event;
    assert_int_equal(mim_stream_find(f->access, &tip, MIM_BY_VERSION, 0, &event, &error), MIM_E_NOT_FOUND);
    assert_int_equal(mim_stream_find(f->access, &tip, MIM_BY_POSITION, f->positions[1] - 1, &event, &error),
                     MIM_E_NOT_FOUND);
    assert_int_equal(mim_stream_find(f->access, &tip, MIM_BY_TIME, (uint64_t)-5, &event, &error), MIM_E_NOT_FOUND);
}

static void test_a_walk_gives_exactly_the_versions_asked_for(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    struct mim_stream_tip tip = tip_of(f);
    const mim_version_t ranges[][2] = {{1, 1},           {1, 63},
                                       {1, 64},          {1, 65},
                                       {64, 64},         {63, 66},
                                       {4090, 4100},     {4096, 4096},
                                       {1, f->versions}, {4097, f->versions},
                                       {100, 8192},      {f->versions, f->versions}};
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        struct mim_stream_walk walk;
        struct mim_journal_event event;
        mim_stream_walk_init(&walk, &tip, ranges[i][0], ranges[i][1]);
        for (mim_version_t v = ranges[i][0]; v <= ranges[i][1]; v++) {
            build_ok(mim_stream_walk_next(&walk, f->access, &event, &error), &error);
            assert_int_equal(event.lsn, f->lsns[v]);
        }
        assert_int_equal(mim_stream_walk_next(&walk, f->access, &event, &error), MIM_E_NOT_FOUND);
    }
}

/** Reads on until nothing is left; returns the last position. */
static mim_position_t drain(struct fixture *f, struct mim_cursor *cursor) {
    struct mim_error error = {0};
    struct mim_frame frame;
    int rc;
    while ((rc = mim_cursor_frame(cursor, f->access, &frame, &error)) == 0 || rc == MIM_E_AGAIN) {
        struct mim_journal_event event;
        while (rc == 0 && mim_cursor_event(cursor, &frame, &event, &error) == 0) {
            assert_int_equal(event.position, cursor->position);
            assert_int_equal(event.correlation.size, 4);
            mim_cursor_taken(cursor, &event);
        }
    }
    assert_int_equal(rc, MIM_E_NOT_FOUND);
    return cursor->position - 1;
}

static void test_a_cursor_from_any_position_never_misses_or_repeats(void **state) {
    struct fixture *f = *state;
    for (mim_position_t from = 1; from <= f->b.position + 1; from += from < 70 ? 1 : 997) {
        struct mim_cursor cursor;
        mim_cursor_init(&cursor, from);
        assert_int_equal(drain(f, &cursor), f->b.position);
    }
    struct mim_cursor live;
    mim_cursor_init(&live, f->b.position + 3); /* not written yet */
    (void)drain(f, &live);
    assert_int_equal(live.position, f->b.position + 3);
    for (unsigned i = 0; i < 40; i++) {
        add_events(f, 150);
        see_all(f);
        assert_int_equal(drain(f, &live), f->b.position);
    }
}

static void test_nothing_beyond_the_limit_is_read(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    mim_lsn_t before = f->b.lsn;
    add_events(f, 10);
    struct mim_journal_event event;
    assert_int_equal(mim_access_event(f->access, f->lsns[f->versions], &event, &error), MIM_E_INVALID);
    struct mim_cursor cursor;
    mim_cursor_init(&cursor, 1);
    assert_int_equal(drain(f, &cursor), f->b.position - 10);
    assert_int_equal(mim_access_limit(f->access), before);
    see_all(f);
    build_ok(mim_access_event(f->access, f->lsns[f->versions], &event, &error), &error);
    assert_int_equal(drain(f, &cursor), f->b.position);
}

/** Segments may be begun, and archived, between two looks at the directory: what stood in them is told to be archived. */
static void test_a_segment_archived_before_it_was_known(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    struct mim_journal_event event;
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_version_t first = f->versions + 1;
    build_ok(mim_access_event(f->access, f->lsns[f->versions], &event, &error), &error);
    mim_lsn_t known = f->b.base_lsn;
    while (f->b.base_lsn == known) {
        add_events(f, 1);
    }
    mim_segment_path(f->b.position, path);
    mim_lsn_t begin = f->b.base_lsn;
    while (f->b.base_lsn == begin) {
        add_events(f, 1);
    }
    build_ok(mim_storage_remove(f->storage, path, &error), &error);
    see_all(f);
    unsigned archived = 0;
    for (mim_version_t version = first; version <= f->versions; version++) {
        bool gone = f->lsns[version] > begin && f->lsns[version] < f->b.base_lsn;
        assert_int_equal(mim_access_event(f->access, f->lsns[version], &event, &error), gone ? MIM_E_INVALID : 0);
        assert_true(!gone || strstr(error.text, "archived") != NULL);
        archived += gone;
    }
    assert_true(archived > 0);
}

static void test_an_lsn_that_is_no_event_is_damage_and_bad_bytes_too(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    struct mim_journal_event event;
    assert_int_equal(mim_access_event(f->access, f->lsns[5] + 8, &event, &error), MIM_E_DAMAGED);
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(1, path);
    flip_bit(f->storage, path, (f->lsns[1000] + MIM_RECORD_HEADER_SIZE + 2) * 8u);
    struct mim_access *fresh = NULL;
    build_ok(mim_access_open(f->storage, &fresh, &error), &error);
    build_ok(mim_access_set_limit(fresh, f->b.lsn, 0, &error), &error);
    struct mim_cursor cursor;
    struct mim_frame frame;
    mim_cursor_init(&cursor, f->positions[1000]);
    int rc;
    while ((rc = mim_cursor_frame(&cursor, fresh, &frame, &error)) == MIM_E_AGAIN) {
    }
    assert_int_equal(rc, MIM_E_DAMAGED);
    (void)mim_access_free(fresh);
}

static void test_a_failing_read_is_an_error_and_the_next_one_is_whole(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    struct mim_access *fresh = NULL;
    build_ok(mim_access_open(f->storage, &fresh, &error), &error);
    build_ok(mim_access_set_limit(fresh, f->b.lsn, 0, &error), &error);
    struct mim_journal_event event;
    mim_storage_sim_fail_nth(f->sim, 1, MIM_SIM_FAULT_EIO, false);
    assert_int_equal(mim_access_event(fresh, f->lsns[9000], &event, &error), MIM_E_IO);
    mim_storage_sim_fail_nth(f->sim, 2, MIM_SIM_FAULT_EIO, false);
    assert_int_equal(mim_access_event(fresh, f->lsns[9000], &event, &error), MIM_E_IO);
    mim_storage_sim_clear_faults(f->sim);
    build_ok(mim_access_event(fresh, f->lsns[9000], &event, &error), &error);
    assert_int_equal(event.record.version, 9000);
    build_ok(mim_access_transaction(fresh, &event, &error), &error);
    assert_int_equal(event.correlation.size, 4);
    (void)mim_access_free(fresh);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_every_version_is_found_by_version_position_and_time),
        TEST(test_a_walk_gives_exactly_the_versions_asked_for),
        TEST(test_a_cursor_from_any_position_never_misses_or_repeats),
        TEST(test_nothing_beyond_the_limit_is_read),
        TEST(test_a_segment_archived_before_it_was_known),
        TEST(test_an_lsn_that_is_no_event_is_damage_and_bad_bytes_too),
        TEST(test_a_failing_read_is_an_error_and_the_next_one_is_whole),
    };
    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
