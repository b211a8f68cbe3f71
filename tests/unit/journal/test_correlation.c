// SPDX-License-Identifier: MIT
// Finding an operation's events by the filters of segments: against what was written, while segments are completed,
// with filters that are missing, damaged, cut short, of another journal, or cannot be written.
#include "journal_support.h"

#include "base/prng.h"
#include "journal/correlation.h"

#define SEGMENT_SIZE (1u << 20)
#define EVENTS_MAX   100000u
#define IDS          3000u /* id 0: none given */

struct fixture {
    struct mim_storage_sim *sim;
    struct mim_storage storage;
    struct builder b;
    struct mim_prng prng;
    struct mim_access *access;
    struct mim_correlations *index;
    uint32_t ids[EVENTS_MAX + 1]; /* of each position */
    char paths[64][MIM_CORRELATION_PATH_SIZE];
    unsigned path_count;
};

static struct mim_slice id_text(uint32_t id, char text[32]) {
    return mim_slice_of(text, (size_t)snprintf(text, 32, "operation-%u", id));
}

/** A frame of transactions of one to three events, most with an id out of a window that moves on. */
static void add_frame(struct fixture *f, bool with_ids) {
    struct builder *b = &f->b;
    struct mim_error error = {0};
    uint8_t frame[16384] = {0};
    size_t size = MIM_FRAME_HEADER_SIZE;
    uint32_t count = 0;
    for (uint32_t tx = 0; tx < 30; tx++) {
        uint32_t window = (uint32_t)((b->position + count) / 40u);
        uint32_t id = with_ids && mim_prng_below(&f->prng, 4) != 0
                          ? 1 + (window + (uint32_t)mim_prng_below(&f->prng, 300)) % (IDS - 1)
                          : 0;
        uint32_t events = 1 + (uint32_t)mim_prng_below(&f->prng, 3);
        size_t first = size;
        for (uint32_t i = 0; i < events; i++, count++) {
            char text[32];
            struct mim_record_parts parts = {0};
            struct mim_record record = {
                .type = 1,
                .flags = (uint16_t)((i == 0 ? MIM_FLAG_TX_FIRST : 0) | (i + 1 == events ? MIM_FLAG_TX_LAST : 0)),
                .version = 1,
                .frame_offset = (uint32_t)size,
                .tx_offset = (uint32_t)(size - first),
                .index = (uint16_t)count,
            };
            if (i == 0 && id != 0) {
                parts.flags = MIM_PART_CORR;
                parts.part[3] = id_text(id, text);
            }
            f->ids[b->position + count + 1] = id;
            memset(frame + size + MIM_RECORD_HEADER_SIZE, 'p', 8);
            size += mim_record_finish(frame + size, &record, 8, &parts);
        }
        assert_true(size + 512u < sizeof(frame));
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
}

static void roll(struct fixture *f) {
    (void)snprintf(f->paths[f->path_count++], MIM_CORRELATION_PATH_SIZE, "index/%020" PRIu64 ".corr",
                   f->b.segment_name);
    build_roll(&f->b, true);
    build_segment(&f->b, true);
}

/** `segments` complete ones and a part of one more. */
static void fill(struct fixture *f, unsigned segments, bool with_ids) {
    for (unsigned i = 0; i <= segments; i++) {
        uint64_t until = i < segments ? SEGMENT_SIZE - 20000u : SEGMENT_SIZE / 3u;
        while (f->b.lsn - f->b.base_lsn < until) {
            add_frame(f, with_ids);
        }
        if (i < segments) {
            roll(f);
        }
    }
    assert_true(f->b.position < EVENTS_MAX);
}

static void see_all(struct fixture *f) {
    struct mim_error error = {0};
    build_ok(mim_access_set_limit(f->access, f->b.lsn, f->b.base_lsn, &error), &error);
}

static void reopen(struct fixture *f, enum mim_correlation_writer writer) {
    struct mim_error error = {0};
    f->index = mim_correlations_free(f->index);
    f->access = mim_access_free(f->access);
    build_ok(mim_access_open(f->storage, &f->access, &error), &error);
    see_all(f);
    build_ok(mim_correlations_new(f->storage, f->access, writer, &f->index, &error), &error);
}

static struct fixture *fixture_new(uint64_t seed) {
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->sim = mim_storage_sim_new(seed);
    f->storage = mim_storage_sim_storage(f->sim);
    mim_prng_init(&f->prng, seed);
    build_init(&f->b, f->storage, SEGMENT_SIZE);
    return f;
}

static void fixture_free(struct fixture *f) {
    f->index = mim_correlations_free(f->index);
    f->access = mim_access_free(f->access);
    build_done(&f->b);
    (void)mim_storage_sim_free(f->sim);
    free(f);
}

/** Searches from a position and compares with what was written; returns how many were found. */
static unsigned search(struct fixture *f, uint32_t id, mim_position_t from) {
    id = id == 0 ? IDS + 1 : id; /* an event without one was chosen: look for one that nobody gave */
    char text[32];
    struct mim_error error = {0};
    struct mim_slice wanted = id_text(id, text);
    struct mim_cursor cursor;
    struct mim_correlation_search s;
    mim_position_t next = from;
    unsigned found = 0;
    mim_cursor_init(&cursor, from);
    mim_correlation_search_begin(&s, f->index, wanted);
    for (;;) {
        struct mim_frame frame;
        struct mim_journal_event event;
        int rc = mim_correlation_search_step(&s, &cursor, &error);
        if (rc == MIM_E_NOT_FOUND) {
            break;
        }
        assert_false(s.waiting);
        rc = rc != 0 ? rc : mim_cursor_frame(&cursor, f->access, &frame, &error);
        if (rc == MIM_E_AGAIN) {
            continue;
        }
        if (rc == MIM_E_NOT_FOUND) {
            break;
        }
        build_ok(rc, &error);
        while ((rc = mim_cursor_event(&cursor, &frame, &event, &error)) == 0) {
            if (mim_slice_equal(event.correlation, wanted)) {
                for (; next < event.position; next++) {
                    assert_int_not_equal(f->ids[next], id); /* nothing was passed over */
                }
                assert_int_equal(f->ids[event.position], id);
                next = event.position + 1;
                found++;
            }
            mim_cursor_taken(&cursor, &event);
        }
        assert_int_equal(rc, MIM_E_NOT_FOUND);
    }
    mim_correlation_search_end(&s);
    for (; next <= f->b.position; next++) {
        assert_int_not_equal(f->ids[next], id);
    }
    return found;
}

static struct mim_correlation_stats stats_of(const struct fixture *f) {
    struct mim_correlation_stats stats;
    mim_correlations_stats(f->index, &stats);
    return stats;
}

static uint64_t bytes_read(const struct fixture *f) {
    struct mim_access_stats stats;
    mim_access_stats(f->access, &stats);
    return stats.bytes + stats_of(f).bytes;
}

static void test_finds_all(void **state) {
    (void)state;
    struct fixture *f = fixture_new(1);
    fill(f, 3, true);
    reopen(f, MIM_CORRELATION_SEARCH);
    unsigned found = 0;
    for (uint32_t id = 1; id < IDS; id += 37) {
        found += search(f, id, 1);
        found += search(f, id, 1 + mim_prng_below(&f->prng, f->b.position + 10));
    }
    assert_true(found > 100);
    assert_int_equal(stats_of(f).filters_built, 3);
    assert_true(stats_of(f).filters_used > 300);
    /* the last segment grows, then is completed, and a new one begins: the index follows */
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 20; i++) {
            add_frame(f, true);
        }
        see_all(f);
        (void)search(f, f->ids[f->b.position], 1);
        (void)search(f, 1 + (uint32_t)mim_prng_below(&f->prng, IDS - 1), 1);
        if (round == 1) {
            roll(f);
        }
    }
    assert_int_equal(stats_of(f).filters_built, 4);
    fixture_free(f);
}

static void test_reads_little(void **state) {
    (void)state;
    struct fixture *f = fixture_new(2);
    fill(f, 3, true);
    reopen(f, MIM_CORRELATION_KEEPER);
    struct mim_error error = {0};
    while (mim_correlations_keep(f->index, 0, &error) == 1) {
    }
    assert_int_equal(stats_of(f).filters_built, 3);
    assert_int_equal(mim_correlations_keep(f->index, 0, &error), 0);
    reopen(f, MIM_CORRELATION_NONE);
    assert_int_equal(search(f, IDS + 7, 1), 0); /* also reads the last segment */
    uint64_t before = bytes_read(f);
    assert_int_equal(search(f, IDS + 8, 1), 0);
    assert_true(bytes_read(f) - before < 3u * 4096u);
    assert_int_equal(stats_of(f).filters_used, 6);
    assert_int_equal(stats_of(f).filters_built, 0);
    fixture_free(f);
}

static void test_without_ids(void **state) {
    (void)state;
    struct fixture *f = fixture_new(3);
    fill(f, 2, false);
    reopen(f, MIM_CORRELATION_SEARCH);
    assert_int_equal(search(f, 5, 1), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct mim_error error = {0};
        mim_file_t file = 0;
        uint64_t size = 0;
        build_ok(mim_file_open(f->storage, f->paths[i], MIM_OPEN_READ, &file, &error), &error);
        build_ok(mim_file_size(f->storage, file, &size, &error), &error);
        assert_int_equal(size, 96);
        mim_file_close(f->storage, file);
    }
    fixture_free(f);
}

/** Truncates or flips a filter; every answer stays right and the filter is made anew when it was seen to be bad. */
static void test_damaged(void **state) {
    (void)state;
    struct fixture *f = fixture_new(4);
    struct mim_error error = {0};
    fill(f, 2, true);
    reopen(f, MIM_CORRELATION_SEARCH);
    assert_true(search(f, 900, 1) + search(f, 901, 1) > 0);
    mim_file_t file = 0;
    uint64_t size = 0;
    build_ok(mim_file_open(f->storage, f->paths[0], MIM_OPEN_WRITE, &file, &error), &error);
    build_ok(mim_file_size(f->storage, file, &size, &error), &error);
    for (unsigned round = 0; round < 300; round++) {
        uint64_t bit =
            round < 96 * 8 && round % 2 == 0 ? mim_prng_below(&f->prng, 96 * 8) : mim_prng_below(&f->prng, size * 8);
        flip_bit(f->storage, f->paths[0], bit);
        reopen(f, MIM_CORRELATION_SEARCH);
        (void)search(f, 1 + (uint32_t)mim_prng_below(&f->prng, IDS - 1), 1);
        if (stats_of(f).filters_built == 0) { /* not met by this search: it is still there */
            flip_bit(f->storage, f->paths[0], bit);
        }
        if (bit < 96 * 8) {
            assert_int_equal(stats_of(f).filters_built, 1);
        }
    }
    mim_file_close(f->storage, file);
    build_ok(mim_file_open(f->storage, f->paths[0], MIM_OPEN_WRITE, &file, &error), &error);
    build_ok(mim_file_truncate(f->storage, file, size - 1, &error), &error);
    mim_file_close(f->storage, file);
    reopen(f, MIM_CORRELATION_SEARCH);
    (void)search(f, 900, 1);
    assert_int_equal(stats_of(f).filters_built, 1);
    build_ok(mim_storage_remove(f->storage, f->paths[1], &error), &error);
    reopen(f, MIM_CORRELATION_SEARCH);
    (void)search(f, 900, 1);
    assert_int_equal(stats_of(f).filters_built, 1);
    fixture_free(f);
}

/** The filter of one segment under another one's name. */
static void test_foreign(void **state) {
    (void)state;
    struct fixture *f = fixture_new(5);
    struct mim_error error = {0};
    fill(f, 2, true);
    reopen(f, MIM_CORRELATION_SEARCH);
    (void)search(f, 900, 1);
    build_ok(mim_storage_rename(f->storage, f->paths[0], f->paths[1], &error), &error);
    reopen(f, MIM_CORRELATION_SEARCH);
    for (uint32_t id = 1; id < IDS; id += 101) {
        (void)search(f, id, 1);
    }
    assert_int_equal(stats_of(f).filters_built, 2);
    fixture_free(f);
}

/** Two searches meet a segment without a filter: one builds, the other waits, and goes on when the first is gone. */
static void test_two_at_once(void **state) {
    (void)state;
    struct fixture *f = fixture_new(6);
    struct mim_error error = {0};
    fill(f, 2, true);
    reopen(f, MIM_CORRELATION_SEARCH);
    struct mim_correlation_search a;
    struct mim_correlation_search b;
    struct mim_cursor at_a;
    struct mim_cursor at_b;
    char text[32];
    mim_cursor_init(&at_a, 1);
    mim_cursor_init(&at_b, 1);
    mim_correlation_search_begin(&a, f->index, id_text(IDS + 1, text));
    mim_correlation_search_begin(&b, f->index, id_text(IDS + 2, text));
    assert_int_equal(mim_correlation_search_step(&a, &at_a, &error), MIM_E_AGAIN);
    assert_int_equal(mim_correlation_search_step(&b, &at_b, &error), MIM_E_AGAIN);
    assert_false(a.waiting);
    assert_true(b.waiting);
    mim_correlation_search_end(&a); /* its client left */
    int rc;
    while ((rc = mim_correlation_search_step(&b, &at_b, &error)) == MIM_E_AGAIN || rc == 0) {
        assert_false(b.waiting);
    }
    assert_int_equal(rc, MIM_E_NOT_FOUND);
    mim_correlation_search_end(&b);
    fixture_free(f);
}

/** Filters cannot be written: answers are the same. */
static void test_unwritable(void **state) {
    (void)state;
    struct fixture *f = fixture_new(7);
    fill(f, 2, true);
    reopen(f, MIM_CORRELATION_SEARCH);
    mim_storage_sim_fail_nth_of(f->sim, MIM_SIM_PWRITE, 2, MIM_SIM_FAULT_ENOSPC, true);
    unsigned found = 0;
    for (uint32_t id = 1; id < 10; id++) {
        found += search(f, f->ids[1 + mim_prng_below(&f->prng, f->b.position)], 1);
    }
    assert_true(found > 0);
    assert_int_equal(stats_of(f).filters_built, 0);
    assert_true(stats_of(f).filters_failed > 0);
    fixture_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_all),  cmocka_unit_test(test_reads_little), cmocka_unit_test(test_without_ids),
        cmocka_unit_test(test_damaged),    cmocka_unit_test(test_foreign),      cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_unwritable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
