// SPDX-License-Identifier: MIT
// Torn or damaged: the tail rule at every byte and every bit of small journals, and the cut at every storage call.
#include "journal_support.h"

#include "base/prng.h"

#define SEGMENT_SIZE 8192u

static const char *const ONE = "journal/00000000000000000001.journal";
static const char *const THREE = "journal/00000000000000000011.journal";

struct fixture {
    struct mim_storage_sim *sim;
    struct mim_storage storage;
    struct builder b;
    mim_lsn_t last_lsn; /* of the last frame that is there */
    struct outcome whole;
};

/** Three segments; the third ends with a sealed frame and one that was never acknowledged. */
static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof(*f));
    f->sim = mim_storage_sim_new(1);
    f->storage = mim_storage_sim_storage(f->sim);
    build_init(&f->b, f->storage, SEGMENT_SIZE);
    (void)build_durable(&f->b, MIM_FRAME_EPOCH, 0, 0);
    (void)build_durable(&f->b, MIM_FRAME_DATA, 6, 5);
    build_roll(&f->b, true);
    build_segment(&f->b, true);
    (void)build_durable(&f->b, MIM_FRAME_DATA, 4, 8);
    build_roll(&f->b, true);
    build_segment(&f->b, true);
    (void)build_durable(&f->b, MIM_FRAME_DATA, 2, 8);
    (void)build_durable(&f->b, MIM_FRAME_SEAL, 0, 0);
    f->last_lsn = build_durable(&f->b, MIM_FRAME_DATA, 2, 8);
    f->whole = outcome_of(f->storage, 0);
    assert_int_equal(f->whole.ending.kind, MIM_END_CLEAN);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    build_done(&f->b);
    (void)mim_storage_sim_free(f->sim);
    test_free(f);
    return 0;
}

static void write_last(struct fixture *f, mim_lsn_t lsn, const void *data, size_t size) {
    struct mim_error error = {0};
    build_ok(mim_file_pwrite(f->storage, f->b.file, data, size, lsn - f->b.base_lsn, &error), &error);
    build_ok(mim_file_sync(f->storage, f->b.file, &error), &error);
}

/** The bytes of the third segment from an LSN on; test_free. */
static uint8_t *copy_last(struct fixture *f, mim_lsn_t lsn, size_t size) {
    uint64_t file_size = 0;
    const uint8_t *bytes = mim_storage_sim_bytes(f->sim, THREE, &file_size);
    assert_true(lsn - f->b.base_lsn + size <= file_size);
    uint8_t *copy = test_malloc(size);
    memcpy(copy, bytes + (lsn - f->b.base_lsn), size);
    return copy;
}

static void expect(struct fixture *f, mim_lsn_t evidence_lsn, enum mim_journal_end kind, mim_lsn_t lsn) {
    struct outcome outcome = outcome_of(f->storage, evidence_lsn);
    if (outcome.code != 0 || outcome.ending.kind != kind || outcome.ending.lsn != lsn ||
        (kind != MIM_END_CLEAN && !outcome_names_place(&outcome))) {
        fail_msg("expected ending %d at %" PRIu64 "; got code %d, ending %d at %" PRIu64 ": %s", (int)kind, lsn,
                 outcome.code, (int)outcome.ending.kind, outcome.ending.lsn, outcome_text(&outcome));
    }
}

static void test_the_last_frame_cut_at_every_byte_is_torn_or_missing_and_damage_with_evidence(void **state) {
    struct fixture *f = *state;
    for (mim_lsn_t end = f->b.lsn - 1u; end > f->last_lsn; end--) {
        assert_true(mim_storage_sim_truncate(f->sim, THREE, end - f->b.base_lsn));
        expect(f, 0, MIM_END_TORN, f->last_lsn);
        expect(f, f->last_lsn, MIM_END_TORN, f->last_lsn);
        expect(f, f->b.lsn, MIM_END_DAMAGED, f->last_lsn);
    }
    assert_true(mim_storage_sim_truncate(f->sim, THREE, f->last_lsn - f->b.base_lsn));
    expect(f, f->last_lsn, MIM_END_CLEAN, f->last_lsn);
    expect(f, f->b.lsn, MIM_END_DAMAGED, f->last_lsn);
}

static void test_the_last_frame_zeroed_from_every_byte_on(void **state) {
    struct fixture *f = *state;
    static const uint8_t zeros[1024];
    for (mim_lsn_t from = f->b.lsn - 1u; from > f->last_lsn; from--) {
        write_last(f, from, zeros, f->b.lsn - from);
        struct outcome outcome = outcome_of(f->storage, 0);
        assert_int_equal(outcome.code, 0);
        if (outcome.ending.kind == MIM_END_CLEAN) { /* what was zeroed was zero: the padding */
            assert_int_equal(outcome.digest, f->whole.digest);
        } else {
            expect(f, 0, MIM_END_TORN, f->last_lsn);
            expect(f, f->b.lsn, MIM_END_DAMAGED, f->last_lsn);
        }
    }
    write_last(f, f->last_lsn, zeros, f->b.lsn - f->last_lsn);
    expect(f, f->last_lsn, MIM_END_CLEAN, f->last_lsn);
    expect(f, f->b.lsn, MIM_END_DAMAGED, f->last_lsn);
}

static void test_the_last_frame_garbled_from_every_byte_on(void **state) {
    struct fixture *f = *state;
    struct mim_prng prng;
    mim_prng_init(&prng, 7);
    size_t size = f->b.lsn - f->last_lsn;
    uint8_t *good = copy_last(f, f->last_lsn, size);
    uint8_t *bad = test_malloc(size);
    for (size_t from = 0; from < size; from++) {
        memcpy(bad, good, size);
        for (size_t i = from; i < size; i++) {
            bad[i] = (uint8_t)(bad[i] ^ (1u + mim_prng_below(&prng, 255)));
        }
        write_last(f, f->last_lsn, bad, size);
        expect(f, 0, MIM_END_TORN, f->last_lsn);
        expect(f, f->b.lsn, MIM_END_DAMAGED, f->last_lsn);
    }
    test_free(good);
    test_free(bad);
}

/** Identical, or refused with its place, or torn within what nobody was told of. */
static void check_flip(struct fixture *f, const char *path, uint64_t bit, mim_lsn_t evidence_lsn) {
    assert_true(mim_storage_sim_flip_bit(f->sim, path, bit));
    struct outcome outcome = outcome_of(f->storage, evidence_lsn);
    assert_true(mim_storage_sim_flip_bit(f->sim, path, bit));
    mim_lsn_t acknowledged = evidence_lsn > f->last_lsn ? evidence_lsn : f->last_lsn - MIM_FRAME_HEADER_SIZE;
    bool refused =
        outcome_damaged(&outcome) && outcome_names_place(&outcome) && strstr(outcome_text(&outcome), path) != NULL;
    bool same = outcome.code == 0 && outcome.ending.kind == MIM_END_CLEAN && outcome.digest == f->whole.digest &&
                outcome.frames == f->whole.frames;
    bool torn = outcome.code == 0 && outcome.ending.kind == MIM_END_TORN && outcome.ending.lsn >= acknowledged &&
                strcmp(path, THREE) == 0;
    if (!refused && !same && !torn) {
        fail_msg("bit %" PRIu64 " of %s: code %d, ending %d at %" PRIu64 ": %s", bit, path, outcome.code,
                 (int)outcome.ending.kind, outcome.ending.lsn, outcome_text(&outcome));
    }
}

static void test_every_flipped_bit_of_a_small_journal(void **state) {
    struct fixture *f = *state;
    const char *const paths[] = {ONE, "journal/00000000000000000007.journal", THREE};
    for (size_t i = 0; i < 3; i++) {
        uint64_t size = 0;
        assert_non_null(mim_storage_sim_bytes(f->sim, paths[i], &size));
        for (uint64_t bit = 0; bit < size * 8u; bit++) {
            check_flip(f, paths[i], bit, 0);
            /* zeros of header pages and of the tail: one bit in 61 is enough for the second pass */
            if (bit % 61u == 0 || (bit >= MIM_SEGMENT_HEADER_SIZE * 8u && bit < f->b.lsn * 8u)) {
                check_flip(f, paths[i], bit, f->b.lsn);
            }
        }
    }
}

static void test_a_bad_frame_before_one_that_knows_it_was_durable_is_damage(void **state) {
    struct fixture *f = *state;
    mim_lsn_t later = build_durable(&f->b, MIM_FRAME_SEAL, 0, 0);
    assert_true(mim_storage_sim_flip_bit(f->sim, THREE, (f->last_lsn - f->b.base_lsn + 70u) * 8u));
    expect(f, 0, MIM_END_DAMAGED, f->last_lsn);
    char number[32];
    (void)snprintf(number, sizeof(number), "LSN %" PRIu64, later);
    struct outcome outcome = outcome_of(f->storage, 0);
    assert_non_null(strstr(outcome.ending.text, number)); /* names its witness */
}

static void test_a_bad_frame_before_one_that_knows_nothing_is_a_reordered_write(void **state) {
    struct fixture *f = *state;
    f->b.durable_lsn = f->last_lsn;
    (void)build_frame(&f->b, MIM_FRAME_DATA, 1, 8);
    (void)build_frame(&f->b, MIM_FRAME_DATA, 1, 8);
    static const uint8_t zeros[4096];
    write_last(f, f->last_lsn, zeros, 64); /* its header never arrived */
    expect(f, 0, MIM_END_TORN, f->last_lsn);
    struct outcome outcome = outcome_of(f->storage, 0);
    assert_int_equal(outcome.ending.torn_size, f->b.lsn - f->last_lsn);
    expect(f, f->b.lsn, MIM_END_DAMAGED, f->last_lsn);
}

static void test_a_whole_lost_frame_before_a_later_one(void **state) {
    struct fixture *f = *state;
    static const uint8_t zeros[4096];
    f->b.durable_lsn = f->last_lsn;
    mim_lsn_t later = build_frame(&f->b, MIM_FRAME_DATA, 1, 8);
    write_last(f, f->last_lsn, zeros, later - f->last_lsn);
    expect(f, 0, MIM_END_TORN, f->last_lsn);
    mim_lsn_t proof = build_durable(&f->b, MIM_FRAME_SEAL, 0, 0);
    assert_true(proof > later);
    expect(f, 0, MIM_END_DAMAGED, f->last_lsn);
}

static void test_a_witness_is_found_wherever_it_stands(void **state) {
    (void)state;
    /* around the seam of two scan blocks, one MiB behind the place where the scan begins */
    for (uint64_t shift = 0; shift <= 160; shift += 8) {
        struct fixture f = {.sim = mim_storage_sim_new(1)};
        f.storage = mim_storage_sim_storage(f.sim);
        build_init(&f.b, f.storage, 3u << 20);
        mim_lsn_t lost = f.b.lsn;
        f.b.lsn += (1u << 20) + 8u - 128u + shift; /* a frame of that size that never arrived */
        (void)build_durable(&f.b, MIM_FRAME_SEAL, 0, 0);
        expect(&f, 0, MIM_END_DAMAGED, lost);
        build_done(&f.b);
        (void)mim_storage_sim_free(f.sim);
    }
}

static void test_a_frame_with_another_past_is_bad_though_whole(void **state) {
    struct fixture *f = *state;
    struct builder other = f->b;
    other.chain ^= 1u;
    (void)build_frame(&other, MIM_FRAME_DATA, 1, 8);
    expect(f, 0, MIM_END_TORN, f->b.lsn);
    struct outcome outcome = outcome_of(f->storage, 0);
    assert_non_null(strstr(outcome.ending.text, "chain mismatch"));
    expect(f, other.lsn, MIM_END_DAMAGED, f->b.lsn);
}

static void test_frames_of_a_longer_past_behind_the_end_are_no_witness_at_another_place(void **state) {
    struct fixture *f = *state;
    size_t size = f->b.lsn - f->last_lsn;
    uint8_t *frame = copy_last(f, f->last_lsn, size);
    write_last(f, f->b.lsn + 8u, frame, size); /* a good frame, but of another LSN */
    expect(f, 0, MIM_END_TORN, f->b.lsn);
    test_free(frame);
}

static void test_a_segment_that_ends_without_roll_frame_before_another_is_damage(void **state) {
    (void)state;
    struct fixture f = {.sim = mim_storage_sim_new(1)};
    f.storage = mim_storage_sim_storage(f.sim);
    build_init(&f.b, f.storage, SEGMENT_SIZE);
    (void)build_durable(&f.b, MIM_FRAME_DATA, 6, 5);
    mim_lsn_t end = f.b.lsn;
    build_segment(&f.b, true);
    build_done(&f.b);
    expect(&f, 0, MIM_END_DAMAGED, end);
    struct outcome outcome = outcome_of(f.storage, 0);
    assert_non_null(strstr(outcome.ending.text, "without a roll frame"));
    (void)mim_storage_sim_free(f.sim);
}

static void test_an_impossible_length_is_not_believed(void **state) {
    struct fixture *f = *state;
    uint8_t header[64];
    uint8_t *good = copy_last(f, f->last_lsn, 64);
    const uint32_t sizes[] = {0, 8, 56, 63, 65, 0xffffffffu, 0xfffffff8u, MIM_FRAME_SIZE_MAX + 8u};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memcpy(header, good, 64);
        mim_put32(header + 8, sizes[i]);
        write_last(f, f->last_lsn, header, 64);
        expect(f, 0, MIM_END_TORN, f->last_lsn);
        expect(f, f->b.lsn, MIM_END_DAMAGED, f->last_lsn);
    }
    test_free(good);
}

/* ---------------------------------------------------------------------- the cut */

/** Recovers as a server would: load, read, cut with epoch 2. Returns the code of the first that failed. */
static int recover(struct mim_storage storage, struct outcome *ret_outcome) {
    struct mim_segments segments = {0};
    *ret_outcome = (struct outcome){0};
    int code = mim_segments_load(storage, &segments, &ret_outcome->unused, &ret_outcome->error);
    if (code == 0) {
        struct mim_reader_options options = {0};
        code = outcome_read(storage, &segments, &options, ret_outcome);
    }
    if (code == 0) {
        code = mim_journal_cut(storage, &segments, &ret_outcome->ending, 2, &ret_outcome->error);
    }
    mim_segments_deinit(&segments);
    return code;
}

static bool file_begins_with(struct mim_storage_sim *sim, const char *path, const uint8_t *bytes, size_t size) {
    uint64_t file_size = 0;
    const uint8_t *file = mim_storage_sim_bytes(sim, path, &file_size);
    return file != NULL && file_size == size && memcmp(file, bytes, size) == 0;
}

/** A torn tail over several sectors: a bad frame and good ones that nobody knew of behind it. */
static size_t make_torn(struct fixture *f) {
    f->b.durable_lsn = f->last_lsn;
    (void)build_frame(&f->b, MIM_FRAME_DATA, 4, 200);
    (void)build_frame(&f->b, MIM_FRAME_DATA, 4, 200);
    assert_true(mim_storage_sim_flip_bit(f->sim, THREE, (f->last_lsn - f->b.base_lsn + 90u) * 8u));
    return f->b.lsn - f->last_lsn;
}

static void test_a_cut_saves_the_tail_and_leaves_a_clean_end(void **state) {
    struct fixture *f = *state;
    size_t size = make_torn(f);
    uint8_t *tail = copy_last(f, f->last_lsn, size);
    struct outcome outcome;
    assert_int_equal(recover(f->storage, &outcome), 0);
    assert_int_equal(outcome.ending.kind, MIM_END_TORN);
    assert_int_equal(outcome.ending.torn_size, size);
    assert_true(file_begins_with(f->sim, "journal/00000000000000000011.torn.2", tail, size));
    expect(f, f->last_lsn, MIM_END_CLEAN, f->last_lsn);
    test_free(tail);
}

static void test_a_finished_cut_outlasts_a_power_cut(void **state) {
    struct fixture *f = *state;
    const struct mim_sim_crash_odds everything_lost = {1000, 0, 0, 1000};
    size_t size = make_torn(f);
    uint8_t *tail = copy_last(f, f->last_lsn, size);
    struct outcome outcome;
    assert_int_equal(recover(f->storage, &outcome), 0);
    mim_storage_sim_crash(f->sim, everything_lost);
    f->b.file = 0;
    expect(f, f->last_lsn, MIM_END_CLEAN, f->last_lsn);
    assert_true(file_begins_with(f->sim, "journal/00000000000000000011.torn.2", tail, size));
    test_free(tail);
}

static void test_a_tail_that_is_saved_and_half_erased_is_not_saved_again(void **state) {
    struct fixture *f = *state;
    static const uint8_t zeros[4096];
    size_t size = make_torn(f);
    uint8_t *tail = copy_last(f, f->last_lsn, size);
    struct outcome outcome;
    uint64_t ignored = 0;
    assert_int_equal(recover(f->storage, &outcome), 0);
    for (size_t erased = 0; erased < size; erased += 512u) {
        write_last(f, f->last_lsn, tail, size);
        write_last(f, f->last_lsn, zeros, erased);
        assert_int_equal(recover(f->storage, &outcome), 0);
        assert_int_equal(outcome.ending.kind, MIM_END_TORN);
        assert_null(mim_storage_sim_bytes(f->sim, "journal/00000000000000000011.torn.2.2", &ignored));
    }
    assert_true(file_begins_with(f->sim, "journal/00000000000000000011.torn.2", tail, size));
    test_free(tail);
}

static void test_what_is_clean_is_not_cut_and_what_is_damaged_neither(void **state) {
    struct fixture *f = *state;
    struct mim_segments segments = {0};
    mim_position_t unused = 0;
    struct mim_error error = {0};
    assert_int_equal(mim_segments_load(f->storage, &segments, &unused, &error), 0);
    struct mim_journal_ending ending = f->whole.ending;
    uint64_t before = mim_storage_sim_calls(f->sim);
    assert_int_equal(mim_journal_cut(f->storage, &segments, &ending, 2, &error), 0);
    ending.kind = MIM_END_DAMAGED;
    assert_int_equal(mim_journal_cut(f->storage, &segments, &ending, 2, &error), MIM_E_STATE);
    ending.kind = MIM_END_TORN;
    ending.torn_size = 8;
    ending.segment = 0;
    assert_int_equal(mim_journal_cut(f->storage, &segments, &ending, 2, &error), MIM_E_STATE);
    assert_int_equal(mim_storage_sim_calls(f->sim), before);
    mim_segments_deinit(&segments);
}

static void test_a_second_tail_in_the_same_epoch_is_saved_beside_the_first(void **state) {
    struct fixture *f = *state;
    size_t size = make_torn(f);
    uint8_t *tail = copy_last(f, f->last_lsn, size);
    struct outcome outcome;
    assert_int_equal(recover(f->storage, &outcome), 0);
    write_last(f, f->last_lsn, "a torn epoch frame", 18);
    assert_int_equal(recover(f->storage, &outcome), 0);
    assert_int_equal(outcome.ending.kind, MIM_END_TORN);
    assert_true(file_begins_with(f->sim, "journal/00000000000000000011.torn.2", tail, size));
    assert_true(
        file_begins_with(f->sim, "journal/00000000000000000011.torn.2.2", (const uint8_t *)"a torn epoch frame", 18));
    expect(f, 0, MIM_END_CLEAN, f->last_lsn);
    test_free(tail);
}

static bool some_file_holds(struct mim_storage_sim *sim, const uint8_t *tail, size_t size) {
    bool held = file_begins_with(sim, "journal/00000000000000000011.torn.2", tail, size);
    for (unsigned number = 2; !held && number < 5; number++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "journal/00000000000000000011.torn.2.%u", number);
        held = file_begins_with(sim, path, tail, size);
    }
    return held;
}

/** One crash (or error) at the n-th call of the recovery, then recovery again. False when no call was left to fail. */
static bool crash_and_recover(struct fixture *f, uint64_t nth, uint64_t seed, bool crash, const uint8_t *tail,
                              size_t size) {
    const struct mim_sim_crash_odds odds = {(unsigned)(seed % 4u) * 250u, 150, seed % 2u == 0 ? 0 : 100, 500};
    struct mim_storage_sim *sim = mim_storage_sim_clone(f->sim, seed);
    struct mim_storage storage = mim_storage_sim_storage(sim);
    struct outcome outcome;
    mim_storage_sim_fail_nth(sim, nth, crash ? MIM_SIM_FAULT_CRASH : MIM_SIM_FAULT_EIO, crash);
    bool failed = recover(storage, &outcome) != 0;
    mim_storage_sim_clear_faults(sim);
    if (crash) {
        mim_storage_sim_crash(sim, odds);
    }
    int code = recover(storage, &outcome);
    if (code != 0) {
        fail_msg("recovery after a fault at call %" PRIu64 ", seed %" PRIu64 ": %s", nth, seed, outcome.error.text);
    }
    assert_int_equal(outcome.ending.lsn, f->last_lsn);
    outcome = outcome_of(storage, f->last_lsn);
    assert_int_equal(outcome.code, 0);
    assert_int_equal(outcome.ending.kind, MIM_END_CLEAN);
    assert_int_equal(outcome.ending.lsn, f->last_lsn);
    uint64_t file_size = 0;
    const uint8_t *bytes = mim_storage_sim_bytes(sim, THREE, &file_size);
    assert_true(mim_recover_zero(bytes + (f->last_lsn - f->b.base_lsn), file_size - (f->last_lsn - f->b.base_lsn)));
    if (!some_file_holds(sim, tail, size)) {
        fail_msg("fault at call %" PRIu64 ", seed %" PRIu64 ": the torn tail is saved nowhere", nth, seed);
    }
    (void)mim_storage_sim_free(sim);
    return failed;
}

static void test_a_crash_or_error_at_every_storage_call_of_a_cut_recovers_to_the_same_bytes(void **state) {
    struct fixture *f = *state;
    size_t size = make_torn(f);
    uint8_t *tail = copy_last(f, f->last_lsn, size);
    bool failed = true;
    uint64_t nth = 1;
    for (; failed; nth++) {
        failed = crash_and_recover(f, nth, 0, false, tail, size);
        for (uint64_t seed = 0; seed < 24; seed++) {
            failed = crash_and_recover(f, nth, seed, true, tail, size) || failed;
        }
    }
    assert_true(nth > 25);
    test_free(tail);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_the_last_frame_cut_at_every_byte_is_torn_or_missing_and_damage_with_evidence),
        TEST(test_the_last_frame_zeroed_from_every_byte_on),
        TEST(test_the_last_frame_garbled_from_every_byte_on),
        TEST(test_every_flipped_bit_of_a_small_journal),
        TEST(test_a_bad_frame_before_one_that_knows_it_was_durable_is_damage),
        TEST(test_a_bad_frame_before_one_that_knows_nothing_is_a_reordered_write),
        TEST(test_a_whole_lost_frame_before_a_later_one),
        cmocka_unit_test(test_a_witness_is_found_wherever_it_stands),
        TEST(test_a_frame_with_another_past_is_bad_though_whole),
        TEST(test_frames_of_a_longer_past_behind_the_end_are_no_witness_at_another_place),
        cmocka_unit_test(test_a_segment_that_ends_without_roll_frame_before_another_is_damage),
        TEST(test_an_impossible_length_is_not_believed),
        TEST(test_a_cut_saves_the_tail_and_leaves_a_clean_end),
        TEST(test_a_finished_cut_outlasts_a_power_cut),
        TEST(test_a_tail_that_is_saved_and_half_erased_is_not_saved_again),
        TEST(test_what_is_clean_is_not_cut_and_what_is_damaged_neither),
        TEST(test_a_second_tail_in_the_same_epoch_is_saved_beside_the_first),
        TEST(test_a_crash_or_error_at_every_storage_call_of_a_cut_recovers_to_the_same_bytes),
    };
    return cmocka_run_group_tests_name("recover", tests, NULL, NULL);
}
