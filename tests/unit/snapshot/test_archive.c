// SPDX-License-Identifier: MIT
// Archiving old segments: what moves and what stays, and a crash at every storage call of it, on one disk (by links) and
// on two (by copies). Whenever the machine stops, every byte of the journal stands whole in one place or the other.
#include "../journal/writer_support.h"
#include "base/hash.h"
#include "snapshot/archive.h"

#define SEGMENT_SIZE  16384u
#define FINGERPRINT   77u
#define SEGMENTS_MAX  32u
#define ARCHIVE_OWN   "archive" /* on the journal's own disk */
#define JOURNAL_AT(i) (f->segments[i].path)

struct known_segment {
    char path[MIM_SEGMENT_PATH_SIZE];
    uint64_t hash; /* of its used bytes */
    uint64_t size;
    mim_lsn_t base_lsn;
    uint64_t previous_chain;
};

struct fixture {
    struct drive d;
    struct mim_storage_sim *sim;
    struct mim_storage_sim *other; /* the archive's disk */
    struct known_segment segments[SEGMENTS_MAX];
    size_t count;
    uint64_t serial;
};

/* ------------------------------------------------------------ a journal */

static void put_and_roll(struct fixture *f, unsigned rolls) {
    struct mim_writer_stats stats;
    struct mim_error error = {0};
    do {
        (void)mim_preparer_step(f->d.storage, &f->d.ring, SEGMENT_SIZE, &error);
        assert_int_equal(drive_put(&f->d, 1, 900, ++f->serial), 0);
        mim_appender_seal(&f->d.appender);
        while (mim_writer_step(f->d.writer, 0, &error) > 0) {
        }
        mim_writer_stats(f->d.writer, &stats);
    } while (stats.rolls < rolls);
}

static void learn_segments(struct fixture *f) {
    struct mim_segments segments;
    struct mim_error error = {0};
    mim_position_t unused = 0;
    drive_ok(mim_segments_load(f->d.storage, &segments, &unused, &error), &error);
    assert_in_range(segments.count, 3, SEGMENTS_MAX);
    f->count = segments.count;
    for (size_t i = 0; i < segments.count; i++) {
        struct known_segment *known = &f->segments[i];
        const struct mim_segment *segment = &segments.items[i];
        mim_segment_path(segment->header.first_position, known->path);
        uint64_t size = 0;
        const uint8_t *bytes = mim_storage_sim_bytes(f->sim, known->path, &size);
        assert_non_null(bytes);
        known->size = segment->file_size;
        known->hash = mim_hash64(bytes, (size_t)segment->file_size, 0);
        known->base_lsn = segment->header.base_lsn;
        known->previous_chain = segment->header.previous_chain;
    }
    mim_segments_deinit(&segments);
}

/** A snapshot file of one block of zeros that says it stands where segment `index` begins. */
static void snapshot_at(struct fixture *f, size_t index, uint64_t fingerprint) {
    static const uint8_t block[MIM_SNAPSHOT_BLOCK_SIZE];
    struct mim_error error = {0};
    uint64_t table = mim_hash64(block, sizeof(block), 0);
    struct mim_snapshot_header header = {
        .history = f->d.history,
        .fingerprint = fingerprint,
        .position = strtoull(f->segments[index].path + sizeof(MIM_JOURNAL_DIR), NULL, 10) - 1,
        .lsn = f->segments[index].base_lsn,
        .chain = f->segments[index].previous_chain,
        .image_size = sizeof(block),
        .block_count = 1,
        .table_offset = MIM_SNAPSHOT_HEADER_SIZE + sizeof(block),
        .table_check = mim_hash64(&table, sizeof(table), 1),
    };
    uint8_t page[MIM_SNAPSHOT_HEADER_SIZE];
    char path[MIM_SNAPSHOT_PATH_SIZE];
    mim_file_t file = 0;
    mim_snapshot_header_encode(&header, page);
    mim_snapshot_path(header.position, path);
    drive_ok(mim_storage_make_dir(f->d.storage, MIM_SNAPSHOT_DIR, &error), &error);
    drive_ok(mim_file_open(f->d.storage, path, MIM_OPEN_WRITE | MIM_OPEN_CREATE, &file, &error), &error);
    drive_ok(mim_file_pwrite(f->d.storage, file, page, sizeof(page), 0, &error), &error);
    drive_ok(mim_file_pwrite(f->d.storage, file, block, sizeof(block), sizeof(page), &error), &error);
    drive_ok(mim_file_pwrite(f->d.storage, file, &table, sizeof(table), header.table_offset, &error), &error);
    drive_ok(mim_file_sync(f->d.storage, file, &error), &error);
    mim_file_close(f->d.storage, file);
    drive_ok(mim_storage_sync_dir(f->d.storage, MIM_SNAPSHOT_DIR, &error), &error);
    drive_ok(mim_storage_sync_dir(f->d.storage, ".", &error), &error);
}

static int setup(void **state) {
    struct fixture *f = drive_alloc(sizeof(*f));
    struct mim_error error = {0};
    drive_ok(mim_ring_init(&f->d.ring, &error), &error);
    f->sim = mim_storage_sim_new(5);
    f->other = mim_storage_sim_new(6);
    f->d.storage = mim_storage_sim_storage(f->sim);
    f->d.options = (struct mim_writer_options){.segment_size_min = SEGMENT_SIZE, .segment_size_max = SEGMENT_SIZE};
    f->d.wall_ms = DRIVE_TIME_MS;
    memcpy(f->d.history.uuid, "archive-history!", sizeof(f->d.history.uuid));
    drive_ok(drive_start(&f->d, &error), &error);
    put_and_roll(f, 6);
    drive_ok(mim_writer_finish(f->d.writer, &error), &error);
    f->d.writer = mim_writer_free(f->d.writer);
    learn_segments(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    f->d.writer = mim_writer_free(f->d.writer);
    mim_ring_deinit(&f->d.ring);
    (void)mim_storage_sim_free(f->sim);
    (void)mim_storage_sim_free(f->other);
    free(f);
    return 0;
}

/* ------------------------------------------------------------ checks */

static bool holds(const struct mim_storage_sim *sim, const char *path, const struct known_segment *known) {
    uint64_t size = 0;
    const uint8_t *bytes = mim_storage_sim_bytes(sim, path, &size);
    return bytes != NULL && size >= known->size && mim_hash64(bytes, (size_t)known->size, 0) == known->hash;
}

static bool in_journal(const struct fixture *f, size_t i) { return holds(f->sim, JOURNAL_AT(i), &f->segments[i]); }
static bool in_archive(const struct fixture *f, size_t i) {
    return holds(f->other, JOURNAL_AT(i) + sizeof(MIM_JOURNAL_DIR), &f->segments[i]);
}

static struct mim_archived archive(struct fixture *f) {
    struct mim_error error = {0};
    struct mim_archived archived = {0};
    drive_ok(mim_archive_run(f->d.storage, mim_storage_sim_storage(f->other), FINGERPRINT, &archived, &error), &error);
    return archived;
}

static void test_without_a_snapshot_of_this_model_nothing_moves(void **state) {
    struct fixture *f = *state;
    assert_int_equal(archive(f).segments, 0);
    snapshot_at(f, 3, FINGERPRINT + 1);
    assert_int_equal(archive(f).segments, 0);
    assert_true(in_journal(f, 0));
}

static void test_what_lies_wholly_before_the_oldest_snapshot_moves_and_a_reader_goes_on_from_there(void **state) {
    struct fixture *f = *state;
    snapshot_at(f, 3, FINGERPRINT);
    snapshot_at(f, 5, FINGERPRINT);
    struct mim_archived archived = archive(f);
    assert_int_equal(archived.segments, 3);
    for (size_t i = 0; i < f->count; i++) {
        assert_int_equal(in_archive(f, i), i < 3);
        assert_int_equal(in_journal(f, i), i >= 3);
    }
    assert_int_equal(archive(f).segments, 0); /* there is nothing more to do */
    struct mim_segments segments;
    struct mim_error error = {0};
    mim_position_t unused = 0;
    drive_ok(mim_segments_load(f->d.storage, &segments, &unused, &error), &error);
    assert_int_equal(segments.items[0].header.first_position, archived.first_position);
    drive_ok(
        mim_journal_anchor(f->d.storage, &segments, f->segments[3].base_lsn, f->segments[3].previous_chain, &error),
        &error);
    assert_int_equal(mim_journal_anchor(f->d.storage, &segments, f->segments[2].base_lsn, 0, &error), MIM_E_STATE);
    mim_segments_deinit(&segments);
}

static void test_a_damaged_snapshot_stops_it_before_anything_moves(void **state) {
    struct fixture *f = *state;
    struct mim_archived archived;
    struct mim_error error = {0};
    snapshot_at(f, 3, FINGERPRINT);
    char path[MIM_SNAPSHOT_PATH_SIZE];
    mim_snapshot_path(strtoull(f->segments[3].path + sizeof(MIM_JOURNAL_DIR), NULL, 10) - 1, path);
    assert_true(mim_storage_sim_flip_bit(f->sim, path, (MIM_SNAPSHOT_HEADER_SIZE + 500u) * 8u));
    assert_int_equal(mim_archive_run(f->d.storage, mim_storage_sim_storage(f->other), FINGERPRINT, &archived, &error),
                     MIM_E_DAMAGED);
    for (size_t i = 0; i < f->count; i++) {
        assert_true(in_journal(f, i));
    }
}

static void test_another_file_of_that_name_in_the_archive_is_left_and_nothing_moves(void **state) {
    struct fixture *f = *state;
    struct mim_storage other = mim_storage_sim_storage(f->other);
    struct mim_archived archived;
    struct mim_error error = {0};
    mim_file_t file = 0;
    snapshot_at(f, 3, FINGERPRINT);
    const char *name = JOURNAL_AT(0) + sizeof(MIM_JOURNAL_DIR);
    drive_ok(mim_file_open(other, name, MIM_OPEN_WRITE | MIM_OPEN_CREATE, &file, &error), &error);
    drive_ok(mim_file_pwrite(other, file, "mine", 4, 0, &error), &error);
    mim_file_close(other, file);
    assert_int_equal(mim_archive_run(f->d.storage, other, FINGERPRINT, &archived, &error), MIM_E_EXISTS);
    assert_non_null(strstr(error.text, name));
    assert_true(in_journal(f, 0));
    uint64_t size = 0;
    (void)mim_storage_sim_bytes(f->other, name, &size);
    assert_int_equal(size, 4);
}

static void test_a_segment_copied_back_is_compared_and_moves_again(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    mim_file_t file = 0;
    snapshot_at(f, 3, FINGERPRINT);
    (void)archive(f);
    uint64_t size = 0;
    const uint8_t *bytes = mim_storage_sim_bytes(f->other, JOURNAL_AT(2) + sizeof(MIM_JOURNAL_DIR), &size);
    drive_ok(mim_file_open(f->d.storage, JOURNAL_AT(2), MIM_OPEN_WRITE | MIM_OPEN_CREATE, &file, &error), &error);
    drive_ok(mim_file_pwrite(f->d.storage, file, bytes, (size_t)size, 0, &error), &error);
    mim_file_close(f->d.storage, file);
    assert_true(in_journal(f, 2));
    assert_int_equal(archive(f).segments, 1);
    assert_true(in_archive(f, 2) && !in_journal(f, 2));
}

/* ------------------------------------------------------------ crashes */

/** A run that dies at a call of one of the disks; then both lose power. True: it came through. */
static bool die_at(struct mim_storage_sim *journal, struct mim_storage_sim *archive_disk,
                   struct mim_storage archive_root, struct mim_storage_sim *faulty, uint64_t nth, unsigned drop) {
    struct mim_archived archived;
    struct mim_error error = {0};
    mim_storage_sim_fail_nth(faulty, nth, MIM_SIM_FAULT_CRASH, false);
    int rc = mim_archive_run(mim_storage_sim_storage(journal), archive_root, FINGERPRINT, &archived, &error);
    struct mim_sim_crash_odds odds = {
        .drop_per_mille = drop, .zero_per_mille = (1000 - drop) / 2, .entry_drop_per_mille = drop};
    mim_storage_sim_clear_faults(faulty);
    mim_storage_sim_crash(journal, odds);
    if (archive_disk != journal) {
        mim_storage_sim_crash(archive_disk, odds);
    }
    return rc == 0;
}

static void test_a_power_cut_at_every_call_of_a_copy_loses_no_segment(void **state) {
    struct fixture *f = *state;
    snapshot_at(f, 3, FINGERPRINT);
    for (unsigned which = 0; which < 2; which++) {
        bool through = false;
        for (uint64_t nth = 1; !through; nth++) {
            struct fixture copy = *f;
            copy.sim = mim_storage_sim_clone(f->sim, nth);
            copy.other = mim_storage_sim_new(nth + 1000);
            copy.d.storage = mim_storage_sim_storage(copy.sim);
            through = die_at(copy.sim, copy.other, mim_storage_sim_storage(copy.other),
                             which == 0 ? copy.sim : copy.other, nth,
                             nth % 3 == 0   ? 1000
                             : nth % 3 == 1 ? 500
                                            : 0);
            for (size_t i = 0; i < f->count; i++) {
                assert_true(in_journal(&copy, i) || (i < 3 && in_archive(&copy, i)));
            }
            (void)archive(&copy);
            for (size_t i = 0; i < f->count; i++) {
                assert_true(i < 3 ? in_archive(&copy, i) && !in_journal(&copy, i) : in_journal(&copy, i));
            }
            (void)mim_storage_sim_free(copy.sim);
            (void)mim_storage_sim_free(copy.other);
            assert_true(nth < 1000);
        }
    }
}

/** The archive as a directory of the journal's own disk: its root is that directory. */
static const struct mim_storage_ops *inner_ops;
static struct mim_storage inner_storage;

static const char *inner_path(char into[128], const char *path) {
    (void)snprintf(into, 128, "%s/%s", ARCHIVE_OWN, path);
    return strcmp(path, ".") == 0 ? ARCHIVE_OWN : into;
}

static int inner_open(void *self, const char *path, unsigned flags, mim_file_t *ret_file, struct mim_error *reterr) {
    char into[128];
    return inner_ops->open(self, inner_path(into, path), flags, ret_file, reterr);
}

static int inner_sync_dir(void *self, const char *path, struct mim_error *reterr) {
    char into[128];
    return inner_ops->sync_dir(self, inner_path(into, path), reterr);
}

static int outer_link(void *self, const char *path, struct mim_storage target, const char *to,
                      struct mim_error *reterr) {
    char into[128];
    (void)target;
    return inner_ops->link(self, path, (struct mim_storage){.ops = inner_ops, .self = self}, inner_path(into, to),
                           reterr);
}

static void test_a_power_cut_at_every_call_of_a_move_by_link_loses_no_segment(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    snapshot_at(f, 3, FINGERPRINT);
    drive_ok(mim_storage_make_dir(f->d.storage, ARCHIVE_OWN, &error), &error);
    drive_ok(mim_storage_sync_dir(f->d.storage, ".", &error), &error);
    inner_ops = f->d.storage.ops;
    static struct mim_storage_ops inner, outer;
    inner = *inner_ops;
    inner.open = inner_open;
    inner.sync_dir = inner_sync_dir;
    outer = *inner_ops;
    outer.link = outer_link;
    bool through = false;
    for (uint64_t nth = 1; !through; nth++) {
        struct mim_storage_sim *sim = mim_storage_sim_clone(f->sim, nth);
        struct mim_storage storage = {.ops = &outer, .self = mim_storage_sim_storage(sim).self};
        inner_storage = (struct mim_storage){.ops = &inner, .self = storage.self};
        struct mim_archived archived;
        mim_storage_sim_fail_nth(sim, nth, MIM_SIM_FAULT_CRASH, false);
        through = mim_archive_run(storage, inner_storage, FINGERPRINT, &archived, &error) == 0;
        unsigned drop = nth % 3 == 0 ? 1000 : nth % 3 == 1 ? 500 : 0;
        mim_storage_sim_clear_faults(sim);
        mim_storage_sim_crash(sim, (struct mim_sim_crash_odds){.drop_per_mille = drop, .entry_drop_per_mille = drop});
        for (size_t i = 0; i < f->count; i++) {
            char into[128];
            assert_true(holds(sim, JOURNAL_AT(i), &f->segments[i]) ||
                        holds(sim, inner_path(into, JOURNAL_AT(i) + sizeof(MIM_JOURNAL_DIR)), &f->segments[i]));
        }
        drive_ok(mim_archive_run(storage, inner_storage, FINGERPRINT, &archived, &error), &error);
        assert_false(holds(sim, JOURNAL_AT(2), &f->segments[2]));
        assert_true(holds(sim, JOURNAL_AT(3), &f->segments[3]));
        (void)mim_storage_sim_free(sim);
        assert_true(nth < 1000);
    }
}

/** A disk that syncs no directory is found out: the checks above can fail. */
static int lie_dir(void *self, const char *path, struct mim_error *reterr) {
    (void)self;
    (void)path;
    (void)reterr;
    return 0;
}

static void test_canary_an_archive_whose_directory_is_never_synced_loses_segments(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    struct mim_archived archived;
    snapshot_at(f, 3, FINGERPRINT);
    static struct mim_storage_ops lying;
    struct mim_storage other = mim_storage_sim_storage(f->other);
    lying = *other.ops;
    lying.sync_dir = lie_dir;
    other.ops = &lying;
    drive_ok(mim_archive_run(f->d.storage, other, FINGERPRINT, &archived, &error), &error);
    mim_storage_sim_crash(f->other, (struct mim_sim_crash_odds){.entry_drop_per_mille = 1000});
    assert_false(in_journal(f, 0) || in_archive(f, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_without_a_snapshot_of_this_model_nothing_moves),
        TEST(test_what_lies_wholly_before_the_oldest_snapshot_moves_and_a_reader_goes_on_from_there),
        TEST(test_a_damaged_snapshot_stops_it_before_anything_moves),
        TEST(test_another_file_of_that_name_in_the_archive_is_left_and_nothing_moves),
        TEST(test_a_segment_copied_back_is_compared_and_moves_again),
        TEST(test_a_power_cut_at_every_call_of_a_copy_loses_no_segment),
        TEST(test_a_power_cut_at_every_call_of_a_move_by_link_loses_no_segment),
        TEST(test_canary_an_archive_whose_directory_is_never_synced_loses_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
