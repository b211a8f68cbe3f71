// SPDX-License-Identifier: MIT
// The writer, step by step on the simulated disk: opening, group commit, the three modes, rolls, failures, counters.
#include "writer_support.h"

#include "base/hash.h"
#include "journal/evidence.h"

#define SEGMENT_SIZE 16384u
#define ONE          "journal/00000000000000000001.journal"

struct fixture {
    struct drive d;
    struct mim_storage_sim *sim;
    uint64_t serial;
};

static int setup(void **state) {
    struct fixture *f = drive_alloc(sizeof(*f));
    struct mim_error error = {0};
    drive_ok(mim_ring_init(&f->d.ring, &error), &error);
    f->sim = mim_storage_sim_new(5);
    f->d.storage = mim_storage_sim_storage(f->sim);
    f->d.options = (struct mim_writer_options){
        .interval_ns = 1000, .segment_size_min = SEGMENT_SIZE, .segment_size_max = SEGMENT_SIZE};
    f->d.wall_ms = DRIVE_TIME_MS;
    memcpy(f->d.history.uuid, "writer-history-1", sizeof(f->d.history.uuid));
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    f->d.writer = mim_writer_free(f->d.writer);
    mim_ring_deinit(&f->d.ring);
    (void)mim_storage_sim_free(f->sim);
    free(f);
    return 0;
}

static void start(struct fixture *f) {
    struct mim_error error = {0};
    drive_ok(drive_start(&f->d, &error), &error);
}

static void kill_and_start(struct fixture *f) {
    drive_die(&f->d, 0);
    mim_storage_sim_kill(f->sim);
    start(f);
}

static void power_cut(struct fixture *f) {
    drive_die(&f->d, 0);
    mim_storage_sim_crash(f->sim, (struct mim_sim_crash_odds){.drop_per_mille = 1000, .entry_drop_per_mille = 1000});
}

/** One event in a frame of its own. */
static void put_one(struct fixture *f, size_t size) {
    assert_int_equal(drive_put(&f->d, 1, size, ++f->serial), 0);
    mim_appender_seal(&f->d.appender);
}

static int step(struct fixture *f) {
    struct mim_error error = {0};
    return mim_writer_step(f->d.writer, f->d.now_ns, &error);
}

static uint64_t gate(const struct fixture *f) { return atomic_load(&f->d.ring.gate_position); }
static uint64_t synced(const struct fixture *f) { return atomic_load(&f->d.ring.synced_position); }
static uint64_t syncs(const struct fixture *f) { return mim_storage_sim_calls_of(f->sim, MIM_SIM_SYNC); }
static uint64_t writes(const struct fixture *f) { return mim_storage_sim_calls_of(f->sim, MIM_SIM_PWRITE); }

/** What a fresh reading finds; the journal must be whole. */
static struct mim_journal_ending ending_of(struct fixture *f, size_t *ret_segments) {
    struct drive_found found;
    struct mim_error error = {0};
    drive_ok(drive_read(&f->d, NULL, NULL, &found, &error), &error);
    if (ret_segments != NULL) {
        *ret_segments = found.segments.count;
    }
    mim_segments_deinit(&found.segments);
    return found.ending;
}

/** Fills segments until the writer has rolled `times` times. */
static void roll(struct fixture *f, unsigned times) {
    struct mim_writer_stats stats;
    do {
        struct mim_error error = {0};
        (void)mim_preparer_step(f->d.storage, &f->d.ring, SEGMENT_SIZE, &error);
        put_one(f, 900);
        while (step(f) > 0) {
        }
        mim_writer_stats(f->d.writer, &stats);
    } while (stats.rolls < times);
}

/* ------------------------------------------------------------ opening */

static void test_the_first_start_makes_a_segment_that_outlasts_a_power_cut(void **state) {
    struct fixture *f = *state;
    start(f);
    assert_int_equal(gate(f), 0);
    power_cut(f);
    size_t segments = 0;
    struct mim_journal_ending ending = ending_of(f, &segments);
    assert_int_equal(segments, 1);
    assert_int_equal(ending.kind, MIM_END_CLEAN);
    assert_int_equal(ending.epoch, 1);
    assert_int_equal(ending.lsn, MIM_SEGMENT_HEADER_SIZE + MIM_FRAME_HEADER_SIZE);
    uint64_t size = 0;
    assert_non_null(mim_storage_sim_bytes(f->sim, ONE, &size));
    assert_int_equal(size, SEGMENT_SIZE);
    assert_null(mim_storage_sim_bytes(f->sim, "journal/new.tmp", &size));
}

static void test_without_a_smallest_size_the_first_segment_is_of_the_usual_one(void **state) {
    struct fixture *f = *state;
    f->d.options.segment_size_min = 0;
    start(f);
    uint64_t size = 0;
    assert_non_null(mim_storage_sim_bytes(f->sim, ONE, &size));
    assert_int_equal(size, MIM_SEGMENT_SIZE_MIN);
    assert_int_equal(f->d.appender.segment_size, MIM_SEGMENT_SIZE_MIN);
}

static void test_each_start_goes_on_where_the_last_one_ended_in_a_new_epoch(void **state) {
    struct fixture *f = *state;
    start(f);
    for (unsigned life = 1; life <= 5; life++) {
        put_one(f, 50);
        assert_int_equal(step(f), 1);
        assert_int_equal(f->d.appender.next_position, life + 1);
        kill_and_start(f);
        assert_int_equal(gate(f), life);
        assert_int_equal(f->d.appender.epoch, life + 1);
    }
    struct mim_mark mark;
    struct mim_error error = {0};
    drive_ok(mim_mark_read(f->d.storage, &mark, &error), &error);
    assert_int_equal(mark.epoch, 6); /* that of the EPOCH frame, not of the life before */
    assert_int_equal(mark.durable_lsn, f->d.appender.next_lsn);
    assert_int_equal(mark.position, 5);
}

static void test_a_segment_without_room_for_an_epoch_frame_is_extended_by_real_zeros(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    start(f);
    put_one(f, 300);
    assert_int_equal(step(f), 1);
    uint64_t used = f->d.appender.next_lsn;
    drive_die(&f->d, 0);
    mim_storage_sim_kill(f->sim);
    for (uint64_t room = 0; room <= 320; room += 64) {
        assert_true(mim_storage_sim_truncate(f->sim, ONE, used + room));
        struct drive_found found;
        drive_ok(drive_read(&f->d, NULL, NULL, &found, &error), &error);
        drive_ok(drive_begin(&f->d, &found, &error), &error);
        mim_segments_deinit(&found.segments);
        uint64_t size = 0;
        (void)mim_storage_sim_bytes(f->sim, ONE, &size);
        assert_int_equal(size, room < 256 ? used + 65536 : used + room);
        assert_int_equal(f->d.appender.segment_size, size);
        power_cut(f);
        assert_int_equal(ending_of(f, NULL).lsn, used);
        (void)mim_storage_sim_bytes(f->sim, ONE, &size);
        assert_int_equal(size, room < 256 ? used + 65536 : used + room);
    }
    assert_true(mim_storage_sim_truncate(f->sim, ONE, used)); /* no room on the disk either: nothing has happened */
    mim_storage_sim_set_capacity(f->sim, mim_storage_sim_used(f->sim));
    assert_int_equal(drive_start(&f->d, &error), MIM_E_NO_SPACE);
    mim_storage_sim_set_capacity(f->sim, UINT64_MAX);
    assert_int_equal(ending_of(f, NULL).lsn, used);
    start(f);
}

static void test_a_journal_that_ends_with_a_roll_frame_gets_its_next_segment(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    start(f);
    roll(f, 1);
    mim_lsn_t base = f->d.appender.segment_base_lsn;
    mim_position_t first = f->d.appender.segment_first_position;
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(first, path);
    drive_die(&f->d, 0);
    mim_storage_sim_kill(f->sim);
    drive_ok(mim_storage_remove(f->d.storage, path, &error), &error);
    drive_ok(mim_storage_remove(f->d.storage, "journal/mark", &error), &error);
    struct mim_journal_ending ending = ending_of(f, NULL);
    assert_true(ending.rolled);
    assert_int_equal(ending.lsn, base);
    start(f);
    assert_int_equal(f->d.appender.segment_base_lsn, base);
    assert_int_equal(f->d.appender.segment_first_position, first);
    put_one(f, 10);
    assert_int_equal(step(f), 1);
    power_cut(f);
    size_t segments = 0;
    assert_int_equal(ending_of(f, &segments).position, first);
    assert_int_equal(segments, 2);
}

static void test_a_segment_that_was_named_but_never_written_is_replaced(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    start(f);
    roll(f, 1);
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(f->d.appender.segment_first_position, path);
    drive_die(&f->d, 0);
    mim_storage_sim_kill(f->sim);
    drive_ok(mim_storage_remove(f->d.storage, "journal/mark", &error), &error);
    assert_true(mim_storage_sim_truncate(f->sim, path, 0));
    assert_true(mim_storage_sim_truncate(f->sim, path, SEGMENT_SIZE)); /* zeros */
    start(f);
    put_one(f, 10);
    assert_int_equal(step(f), 1);
    power_cut(f);
    size_t segments = 0;
    assert_int_equal(ending_of(f, &segments).epoch, 2);
    assert_int_equal(segments, 2);
}

static void test_on_a_full_disk_the_old_spare_is_the_room_for_the_segment_that_is_missing(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    start(f);
    roll(f, 1);
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(f->d.appender.segment_first_position, path);
    drive_die(&f->d, 0);
    mim_storage_sim_kill(f->sim);
    drive_ok(mim_storage_rename(f->d.storage, path, "journal/spare", &error), &error);
    drive_ok(mim_storage_remove(f->d.storage, "journal/mark", &error), &error);
    mim_storage_sim_set_capacity(f->sim, mim_storage_sim_used(f->sim));
    start(f);
    put_one(f, 10);
    assert_int_equal(step(f), 1);
}

/* ------------------------------------------------------------ group commit and modes */

static void test_a_step_writes_all_frames_at_once_and_syncs_once(void **state) {
    struct fixture *f = *state;
    start(f);
    for (unsigned i = 0; i < 20; i++) {
        put_one(f, 100);
    }
    uint64_t before_writes = writes(f);
    uint64_t before_syncs = syncs(f);
    assert_int_equal(gate(f), 0);
    assert_int_equal(step(f), 20);
    assert_int_equal(writes(f) - before_writes, 1);
    assert_int_equal(syncs(f) - before_syncs, 1);
    assert_int_equal(gate(f), 20);
    assert_int_equal(synced(f), 20);
    assert_int_equal(step(f), 0);
    assert_int_equal(syncs(f) - before_syncs, 1);
    power_cut(f);
    assert_int_equal(ending_of(f, NULL).position, 20);
}

static void test_a_gap_at_the_rings_end_takes_a_second_write(void **state) {
    struct fixture *f = *state;
    f->d.options.segment_size_min = 64u << 20;
    start(f);
    unsigned frames = 0;
    for (; f->d.appender.ring_head < MIM_RING_SIZE - (4u << 20); frames++) { /* the writer is far behind: no way back */
        put_one(f, 1u << 20);
    }
    while (gate(f) + 12 < frames) {
        assert_true(step(f) > 0);
    }
    for (; f->d.appender.ring_head < MIM_RING_SIZE + 1000; frames++) {
        put_one(f, 1u << 20);
    }
    uint64_t before = writes(f);
    unsigned steps = 0;
    while (step(f) > 0) {
        steps++;
    }
    assert_int_equal(writes(f) - before, steps + 1); /* one each, and the seam */
    assert_int_equal(gate(f), frames);
    power_cut(f);
    assert_int_equal(ending_of(f, NULL).position, frames);
}

static void test_a_frame_knows_what_was_durable_when_it_was_written(void **state) {
    struct fixture *f = *state;
    start(f);
    mim_lsn_t first = f->d.appender.next_lsn;
    put_one(f, 8);
    assert_int_equal(step(f), 1);
    mim_lsn_t second = f->d.appender.next_lsn;
    put_one(f, 8);
    put_one(f, 8);
    mim_lsn_t third = second + (f->d.appender.next_lsn - second) / 2;
    assert_int_equal(step(f), 2);
    uint64_t size = 0;
    const uint8_t *bytes = mim_storage_sim_bytes(f->sim, ONE, &size);
    assert_int_equal(mim_get64(bytes + first + 24), first);
    assert_int_equal(mim_get64(bytes + second + 24), second);
    assert_int_equal(mim_get64(bytes + third + 24), second); /* written in the same step as the one before */
}

static void test_interval_mode_opens_the_gate_at_once_and_syncs_in_time(void **state) {
    struct fixture *f = *state;
    f->d.options.durability = MIM_DURABILITY_INTERVAL;
    start(f);
    f->d.now_ns = 50000;
    assert_int_equal(step(f), 0);
    uint64_t before = syncs(f);
    assert_true(mim_writer_due_ns(f->d.writer) == UINT64_MAX);
    put_one(f, 8);
    assert_int_equal(step(f), 1);
    assert_int_equal(gate(f), 1);
    assert_int_equal(synced(f), 0);
    assert_int_equal(mim_writer_due_ns(f->d.writer), 51000); /* counted from the first unsynced byte, not the last */
    f->d.now_ns = 50999;
    put_one(f, 8);
    assert_int_equal(step(f), 1);
    assert_int_equal(syncs(f), before);
    assert_int_equal(mim_writer_due_ns(f->d.writer), 51000);
    f->d.now_ns = 51000;
    assert_int_equal(step(f), 0);
    assert_int_equal(syncs(f), before + 1);
    assert_int_equal(synced(f), 2);
    assert_true(mim_writer_due_ns(f->d.writer) == UINT64_MAX);
    put_one(f, 8);
    assert_int_equal(step(f), 1);
    power_cut(f);
    assert_int_equal(ending_of(f, NULL).position, 2);
}

static void test_none_mode_syncs_at_rolls_and_at_the_end_only_and_loses_nothing_to_a_kill(void **state) {
    struct fixture *f = *state;
    f->d.options.durability = MIM_DURABILITY_NONE;
    start(f);
    uint64_t before = syncs(f);
    for (unsigned i = 0; i < 10; i++) {
        put_one(f, 8);
        f->d.now_ns += 1000000000;
        assert_int_equal(step(f), 1);
    }
    assert_int_equal(syncs(f), before);
    assert_int_equal(gate(f), 10);
    assert_int_equal(synced(f), 0);
    kill_and_start(f);
    assert_int_equal(gate(f), 10);
    assert_int_equal(synced(f), 10); /* a start makes sure of all that it has read */
    put_one(f, 8);
    assert_int_equal(step(f), 1);
    struct mim_error error = {0};
    drive_ok(mim_writer_finish(f->d.writer, &error), &error);
    assert_int_equal(synced(f), 11);
    power_cut(f);
    assert_int_equal(ending_of(f, NULL).position, 11);
}

static void test_a_step_takes_a_bounded_bite(void **state) {
    struct fixture *f = *state;
    f->d.options.segment_size_min = 64u << 20;
    start(f);
    for (unsigned i = 0; i < 16; i++) {
        put_one(f, 1u << 20);
    }
    int first = step(f);
    assert_in_range(first, 4, 5);
    assert_int_equal(gate(f), first);
    while (step(f) > 0) {
    }
    assert_int_equal(gate(f), 16);
}

/* ------------------------------------------------------------ rolls */

static void test_a_roll_leaves_a_short_old_segment_a_mark_and_the_wish_for_a_spare(void **state) {
    struct fixture *f = *state;
    start(f);
    roll(f, 1);
    mim_lsn_t base = f->d.appender.segment_base_lsn;
    assert_int_equal(atomic_load(&f->d.ring.spare_state), MIM_SPARE_NEEDED);
    assert_int_equal(atomic_load(&f->d.ring.journal_bytes), base);
    uint64_t size = 0;
    assert_non_null(mim_storage_sim_bytes(f->sim, ONE, &size));
    assert_int_equal(size, base);
    assert_null(mim_storage_sim_bytes(f->sim, "journal/spare", &size));
    struct mim_mark mark;
    struct mim_error error = {0};
    drive_ok(mim_mark_read(f->d.storage, &mark, &error), &error);
    assert_int_equal(mark.durable_lsn, base);
    assert_int_equal(mark.position, f->d.appender.segment_first_position - 1);
    power_cut(f); /* the shorter size is durable */
    assert_non_null(mim_storage_sim_bytes(f->sim, ONE, &size));
    assert_int_equal(size, base);
}

static void test_the_journals_size_is_counted_once_over_restarts_and_rolls(void **state) {
    struct fixture *f = *state;
    start(f);
    roll(f, 2);
    kill_and_start(f);
    roll(f, 2);
    assert_int_equal(atomic_load(&f->d.ring.journal_bytes), f->d.appender.segment_base_lsn);
    size_t segments = 0;
    (void)ending_of(f, &segments);
    assert_int_equal(segments, 5);
}

static void test_a_full_disk_does_not_stop_a_roll_onto_a_prepared_spare(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    start(f);
    assert_int_equal(mim_preparer_step(f->d.storage, &f->d.ring, SEGMENT_SIZE, &error), 1);
    mim_storage_sim_fail_nth_of(f->sim, MIM_SIM_OPEN, 2, MIM_SIM_FAULT_ENOSPC, true); /* the spare's is the first */
    int rc;
    while ((rc = drive_put(&f->d, 1, 900, ++f->serial)) == 0) {
        mim_appender_seal(&f->d.appender);
        assert_true(step(f) > 0);
    }
    assert_int_equal(rc, MIM_E_AGAIN); /* one segment further */
    assert_true(f->d.appender.segment_base_lsn > 0);
    assert_int_equal(atomic_load(&f->d.ring.failed), 0);
    struct mim_mark mark;
    mim_storage_sim_clear_faults(f->sim);
    drive_ok(mim_mark_read(f->d.storage, &mark, &error), &error);
    assert_true(mark.durable_lsn < f->d.appender.segment_base_lsn); /* the old one: weaker, and true */
    drive_ok(mim_writer_finish(f->d.writer, &error), &error);
    power_cut(f);
    assert_int_equal(ending_of(f, NULL).position, f->serial - 1);
}

/* ------------------------------------------------------------ failures */

static void test_a_failure_is_told_once_and_is_final(void **state) {
    static const enum mim_sim_call calls[] = {MIM_SIM_PWRITE, MIM_SIM_SYNC};
    static const enum mim_sim_fault faults[] = {MIM_SIM_FAULT_EIO, MIM_SIM_FAULT_ENOSPC};
    struct fixture *f = *state;
    start(f);
    for (unsigned i = 0; i < 4; i++) {
        struct mim_error error = {0};
        uint64_t before = gate(f);
        put_one(f, 8);
        assert_int_equal(step(f), 1);
        put_one(f, 8);
        mim_storage_sim_fail_nth_of(f->sim, calls[i % 2], 1, faults[i / 2], false); /* once: a retry would succeed */
        int code = mim_writer_step(f->d.writer, 0, &error);
        assert_int_equal(code, i / 2 == 0 ? MIM_E_IO : MIM_E_NO_SPACE);
        assert_int_equal(error.code, code);
        assert_non_null(strstr(error.text, "journal segment at position 1"));
        assert_int_equal(atomic_load(&f->d.ring.failed), code);
        uint64_t quiet = mim_storage_sim_calls(f->sim);
        assert_int_equal(mim_writer_step(f->d.writer, 0, &error), 0);
        assert_int_equal(mim_writer_finish(f->d.writer, &error), MIM_E_STATE);
        assert_int_equal(mim_storage_sim_calls(f->sim), quiet);
        assert_int_equal(gate(f), before + 1);
        assert_int_equal(synced(f), before + 1);
        drive_die(&f->d, 0);
        mim_storage_sim_crash(f->sim, (struct mim_sim_crash_odds){.drop_per_mille = 1000});
        start(f);
        assert_int_equal(gate(f), before + 1);
    }
}

static void test_what_a_failed_sync_left_in_memory_only_is_written_again_by_the_next_start(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    start(f);
    put_one(f, 700);
    put_one(f, 700);
    mim_storage_sim_fail_nth_of(f->sim, MIM_SIM_SYNC, 1, MIM_SIM_FAULT_EIO, false);
    assert_int_equal(mim_writer_step(f->d.writer, 0, &error), MIM_E_IO);
    kill_and_start(f); /* reads both: they are in the page cache, clean, and not on the disk */
    assert_int_equal(gate(f), 2);
    put_one(f, 8);
    assert_int_equal(step(f), 1);
    power_cut(f);
    struct mim_journal_ending ending = ending_of(f, NULL);
    assert_int_equal(ending.kind, MIM_END_CLEAN);
    assert_int_equal(ending.position, 3);
}

static void test_after_a_clean_stop_a_start_rewrites_nothing(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    start(f);
    for (unsigned i = 0; i < 10; i++) {
        put_one(f, 200);
    }
    drive_ok(drive_drain(&f->d, &error), &error);
    drive_ok(mim_writer_finish(f->d.writer, &error), &error);
    drive_die(&f->d, 0);
    mim_storage_sim_kill(f->sim);
    struct drive_found found;
    drive_ok(drive_read(&f->d, NULL, NULL, &found, &error), &error);
    uint64_t before = writes(f);
    drive_ok(drive_begin(&f->d, &found, &error), &error);
    assert_int_equal(writes(f), before);
    mim_segments_deinit(&found.segments);
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

/** Bytes written through a storage that counts them. */
static uint64_t counted_bytes;
static const struct mim_storage_ops *counted_ops;

static int counting_pwrite(void *self, mim_file_t file, const void *data, size_t size, uint64_t offset,
                           struct mim_error *reterr) {
    counted_bytes += size;
    return counted_ops->pwrite(self, file, data, size, offset, reterr);
}

/** Kills, and opens again; the bytes that the opening wrote. */
static uint64_t reopening_writes(struct fixture *f) {
    static struct mim_storage_ops counting;
    struct mim_error error = {0};
    struct drive_found found;
    drive_die(&f->d, 0);
    mim_storage_sim_kill(f->sim);
    struct mim_storage honest = f->d.storage;
    drive_ok(drive_read(&f->d, NULL, NULL, &found, &error), &error);
    counted_ops = honest.ops;
    counting = *honest.ops;
    counting.pwrite = counting_pwrite;
    counted_bytes = 0;
    f->d.storage.ops = &counting;
    drive_ok(drive_begin(&f->d, &found, &error), &error);
    f->d.storage = honest;
    mim_segments_deinit(&found.segments);
    return counted_bytes;
}

static void test_after_a_kill_only_what_no_later_frame_vouches_for_is_written_again(void **state) {
    struct fixture *f = *state;
    f->d.options.segment_size_min = f->d.options.segment_size_max = MIM_SEGMENT_SIZE_MIN;
    start(f);
    for (unsigned i = 0; i < 300; i++) {
        put_one(f, 9000);
        assert_int_equal(step(f), 1);
    }
    uint64_t size = f->d.appender.next_lsn;
    assert_true(size > 300u * 9000u);
    uint64_t written = reopening_writes(f); /* the last group commit: the frame before it was synced then */
    assert_in_range(written, 9000, 2u * 9200u);
}

static void test_a_large_last_frame_is_found_and_the_frame_before_it_is_left_alone(void **state) {
    struct fixture *f = *state;
    f->d.options.segment_size_min = f->d.options.segment_size_max = MIM_SEGMENT_SIZE_MIN;
    start(f);
    put_one(f, 500000);
    assert_int_equal(step(f), 1);
    put_one(f, 65536u - 2u * MIM_FRAME_HEADER_SIZE - MIM_RECORD_HEADER_SIZE); /* its header stands on a seam */
    assert_int_equal(step(f), 1);
    put_one(f, 900000);
    assert_int_equal(step(f), 1);
    assert_in_range(reopening_writes(f), 900000, 900000 + 200);
}

static void test_a_primarys_frames_vouch_for_nothing_on_this_disk(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    start(f);
    mim_lsn_t from = f->d.appender.next_lsn;
    uint8_t frame[MIM_FRAME_HEADER_SIZE];
    uint64_t chain = ending_of(f, NULL).chain;
    for (unsigned i = 0; i < 4; i++) {
        struct mim_frame_header header = {.kind = MIM_FRAME_SEAL,
                                          .size = sizeof(frame),
                                          .first_position = 1,
                                          .durable_lsn = f->d.appender.next_lsn, /* on the primary's disk */
                                          .base_time_ms = DRIVE_TIME_MS,
                                          .epoch = 9,
                                          .previous_chain = chain};
        chain = mim_frame_finish(&header, &f->d.appender.history, f->d.appender.next_lsn, frame);
        assert_int_equal(verbatim(&f->d.appender, &header, frame), 0);
    }
    /* the first sync is the mark's: it says that a primary's frames come */
    mim_storage_sim_fail_nth_of(f->sim, MIM_SIM_SYNC, 2, MIM_SIM_FAULT_EIO, false);
    assert_int_equal(mim_writer_step(f->d.writer, 0, &error), MIM_E_IO);
    mim_lsn_t end = f->d.appender.next_lsn;
    assert_int_equal(reopening_writes(f), end - from);
    drive_ok(mim_writer_finish(f->d.writer, &error), &error); /* a standby's mark, in the primary's epoch */
    struct mim_mark mark;
    drive_ok(mim_mark_read(f->d.storage, &mark, &error), &error);
    assert_int_equal(mark.durable_lsn, end);
}

static void test_a_standbys_mark_says_that_its_frames_were_received(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    start(f);
    uint8_t frame[MIM_FRAME_HEADER_SIZE];
    struct mim_frame_header header = {.kind = MIM_FRAME_SEAL,
                                      .size = sizeof(frame),
                                      .first_position = 1,
                                      .base_time_ms = DRIVE_TIME_MS,
                                      .epoch = 9,
                                      .previous_chain = ending_of(f, NULL).chain};
    (void)mim_frame_finish(&header, &f->d.appender.history, f->d.appender.next_lsn, frame);
    assert_int_equal(verbatim(&f->d.appender, &header, frame), 0);
    assert_int_equal(step(f), 1);
    drive_ok(mim_writer_finish(f->d.writer, &error), &error);
    struct mim_mark mark;
    drive_ok(mim_mark_read(f->d.storage, &mark, &error), &error);
    assert_true(mark.standby);
    put_one(f, 8); /* promoted: its own frames again */
    assert_int_equal(step(f), 1);
    drive_ok(mim_writer_finish(f->d.writer, &error), &error);
    drive_ok(mim_mark_read(f->d.storage, &mark, &error), &error);
    assert_false(mark.standby);
}

static mim_lsn_t live_evidence(struct fixture *f) {
    struct mim_error error = {0};
    struct mim_segments segments;
    mim_position_t unused = 0;
    mim_lsn_t lsn = 0;
    mim_lsn_t written = 0;
    drive_ok(mim_segments_load(f->d.storage, &segments, &unused, &error), &error);
    drive_ok(mim_evidence_live(f->d.storage, &segments, &lsn, &written, &error), &error);
    assert_true(written <= f->d.appender.next_lsn);
    mim_segments_deinit(&segments);
    return lsn;
}

static void test_a_live_journal_is_known_to_be_durable_up_to_what_its_newest_frame_says(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    assert_int_equal(live_evidence(f), 0); /* no journal */
    start(f);
    assert_int_equal(live_evidence(f), f->d.appender.next_lsn); /* the mark */
    mim_lsn_t before = f->d.appender.next_lsn;
    put_one(f, 700);
    assert_int_equal(step(f), 1);
    assert_int_equal(live_evidence(f), before); /* synced, but nothing on disk says so yet */
    before = f->d.appender.next_lsn;
    put_one(f, 700);
    mim_storage_sim_fail_nth_of(f->sim, MIM_SIM_SYNC, 1, MIM_SIM_FAULT_EIO, false);
    assert_int_equal(mim_writer_step(f->d.writer, 0, &error), MIM_E_IO);
    assert_int_equal(live_evidence(f), before); /* the second is readable, and never reached the disk */
    kill_and_start(f);
    roll(f, 2);
    assert_in_range(live_evidence(f), f->d.appender.segment_base_lsn, f->d.appender.next_lsn);
}

static void test_a_primarys_frame_that_does_not_follow_is_refused(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    start(f);
    struct mim_appender *a = &f->d.appender;
    uint8_t frame[MIM_FRAME_HEADER_SIZE];
    struct mim_journal_ending ending = ending_of(f, NULL);
    struct mim_frame_header header = {.kind = MIM_FRAME_SEAL,
                                      .size = sizeof(frame),
                                      .first_position = 1,
                                      .base_time_ms = DRIVE_TIME_MS,
                                      .epoch = 9,
                                      .previous_chain = ending.chain};
    uint64_t chain = mim_frame_finish(&header, &a->history, a->next_lsn, frame);
    assert_int_equal(verbatim(a, &header, frame), 0);
    assert_int_equal(step(f), 1);
    ending = ending_of(f, NULL);
    assert_int_equal(ending.chain, chain); /* as it stood */
    assert_int_equal(ending.epoch, 9);
    header.previous_chain = chain + 1;
    (void)mim_frame_finish(&header, &a->history, a->next_lsn, frame);
    assert_int_equal(verbatim(a, &header, frame), 0);
    uint64_t before = writes(f);
    assert_int_equal(mim_writer_step(f->d.writer, 0, &error), MIM_E_DAMAGED);
    assert_int_equal(writes(f), before);
    assert_int_equal(atomic_load(&f->d.ring.failed), MIM_E_DAMAGED);
}

static void test_opening_fails_at_every_storage_call_without_harm(void **state) {
    struct fixture *f = *state;
    bool failed = true;
    start(f);
    roll(f, 1);
    mim_lsn_t floor = f->d.appender.next_lsn;
    drive_die(&f->d, 0);
    mim_storage_sim_kill(f->sim);
    for (uint64_t nth = 1; failed; nth++) {
        struct mim_error error = {0};
        mim_storage_sim_fail_nth(f->sim, nth, MIM_SIM_FAULT_EIO, false);
        int rc = drive_start(&f->d, &error);
        failed = rc != 0;
        mim_storage_sim_clear_faults(f->sim);
        drive_die(&f->d, 0);
        mim_storage_sim_kill(f->sim);
        assert_true(ending_of(f, NULL).lsn >= floor);
        assert_true(nth < 200);
    }
}

/* ------------------------------------------------------------ counters */

static uint64_t tick(void *context) { return *(uint64_t *)context += 7; }

static void test_counters_count_and_time_syncs_by_the_clock_given(void **state) {
    struct fixture *f = *state;
    uint64_t time_ns = 0;
    struct mim_clock clock = {.monotonic_ns = tick, .context = &time_ns};
    start(f);
    struct mim_writer_stats stats;
    mim_writer_stats(f->d.writer, &stats);
    assert_int_equal(stats.sync_ns_total, 0);
    drive_die(&f->d, 0);
    mim_storage_sim_kill(f->sim);
    f->d.options.clock = &clock;
    start(f);
    put_one(f, 8);
    put_one(f, 8);
    assert_int_equal(step(f), 2);
    mim_writer_stats(f->d.writer, &stats);
    assert_int_equal(stats.frames, 3);
    assert_int_equal(stats.writes, 2);
    assert_int_equal(stats.syncs, 2);
    assert_int_equal(stats.bytes, 64 + 2 * (64 + 48));
    assert_int_equal(stats.sync_ns_total, 14);
    assert_int_equal(stats.sync_ns_max, 7);
    assert_int_equal(stats.rolls, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_the_first_start_makes_a_segment_that_outlasts_a_power_cut),
        TEST(test_without_a_smallest_size_the_first_segment_is_of_the_usual_one),
        TEST(test_each_start_goes_on_where_the_last_one_ended_in_a_new_epoch),
        TEST(test_a_segment_without_room_for_an_epoch_frame_is_extended_by_real_zeros),
        TEST(test_a_journal_that_ends_with_a_roll_frame_gets_its_next_segment),
        TEST(test_a_segment_that_was_named_but_never_written_is_replaced),
        TEST(test_on_a_full_disk_the_old_spare_is_the_room_for_the_segment_that_is_missing),
        TEST(test_a_step_writes_all_frames_at_once_and_syncs_once),
        TEST(test_a_gap_at_the_rings_end_takes_a_second_write),
        TEST(test_a_frame_knows_what_was_durable_when_it_was_written),
        TEST(test_interval_mode_opens_the_gate_at_once_and_syncs_in_time),
        TEST(test_none_mode_syncs_at_rolls_and_at_the_end_only_and_loses_nothing_to_a_kill),
        TEST(test_a_step_takes_a_bounded_bite),
        TEST(test_a_roll_leaves_a_short_old_segment_a_mark_and_the_wish_for_a_spare),
        TEST(test_the_journals_size_is_counted_once_over_restarts_and_rolls),
        TEST(test_a_full_disk_does_not_stop_a_roll_onto_a_prepared_spare),
        TEST(test_a_failure_is_told_once_and_is_final),
        TEST(test_what_a_failed_sync_left_in_memory_only_is_written_again_by_the_next_start),
        TEST(test_after_a_clean_stop_a_start_rewrites_nothing),
        TEST(test_after_a_kill_only_what_no_later_frame_vouches_for_is_written_again),
        TEST(test_a_large_last_frame_is_found_and_the_frame_before_it_is_left_alone),
        TEST(test_a_primarys_frames_vouch_for_nothing_on_this_disk),
        TEST(test_a_standbys_mark_says_that_its_frames_were_received),
        TEST(test_a_live_journal_is_known_to_be_durable_up_to_what_its_newest_frame_says),
        TEST(test_a_primarys_frame_that_does_not_follow_is_refused),
        TEST(test_opening_fails_at_every_storage_call_without_harm),
        TEST(test_counters_count_and_time_syncs_by_the_clock_given),
    };
    return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
