// SPDX-License-Identifier: MIT
// Where two journals parted, and the way back: the point is found exactly, what is cut is saved whole, and a power cut
// at any storage call leaves a journal from which the same end is reached.
#include "replica_support.h"

#include "replica/rewind.h"

#define SEEDS 60u

struct pair {
    struct mim_storage_sim *ours_sim, *theirs_sim;
    struct builder ours, theirs;
    mim_lsn_t common;
};

static void pair_open(struct pair *p, uint64_t seed, unsigned common, unsigned apart) {
    p->ours_sim = mim_storage_sim_new(seed);
    p->theirs_sim = mim_storage_sim_new(seed + 1);
    build_init(&p->ours, mim_storage_sim_storage(p->ours_sim), 1u << 16);
    build_init(&p->theirs, mim_storage_sim_storage(p->theirs_sim), 1u << 16);
    grow_apart(&p->ours, &p->theirs, seed, common, apart, &p->common);
}

static void pair_close(struct pair *p) {
    (void)mim_storage_sim_free(p->ours_sim);
    (void)mim_storage_sim_free(p->theirs_sim);
}

/** The conversation of REPLPROBE, without a wire. Returns the rounds it took. */
static unsigned search(const struct pair *p, bool *ret_found, struct mim_boundary *ret_point) {
    struct mim_error error = {0};
    struct mim_segments segments;
    mim_position_t unused = 0;
    struct mim_access *access = NULL;
    struct mim_divergence divergence;
    build_ok(mim_segments_load(p->ours.storage, &segments, &unused, &error), &error);
    build_ok(mim_access_open(p->theirs.storage, &access, &error), &error);
    build_ok(mim_access_set_limit(access, p->theirs.lsn, 0, &error), &error);
    build_ok(mim_divergence_begin(&divergence, &segments, &error), &error);
    struct mim_boundary asked[MIM_PROBE_MAX];
    size_t count;
    unsigned rounds = 0;
    while ((count = mim_divergence_ask(&divergence, asked)) > 0) {
        int index = -1;
        build_ok(mim_feed_probe(p->theirs.storage, access, asked, count, &index, &error), &error);
        build_ok(mim_divergence_answer(&divergence, p->ours.storage, &segments, index, &error), &error);
        assert_true(++rounds < 20);
    }
    *ret_found = mim_divergence_point(&divergence, ret_point);
    mim_divergence_end(&divergence);
    (void)mim_access_free(access);
    mim_segments_deinit(&segments);
    return rounds;
}

static void test_the_point_is_found(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct pair p;
        struct mim_boundary point = {0};
        bool found = false;
        pair_open(&p, seed, (unsigned)(seed * 7 % 90), (unsigned)(seed * 3 % 40));
        unsigned rounds = search(&p, &found, &point);
        assert_true(found);
        assert_int_equal(point.lsn, p.common);
        assert_true(rounds <= 4);
        pair_close(&p);
    }
}

static void test_many_frames_take_few_rounds(void **state) {
    (void)state;
    struct pair p;
    struct mim_boundary point = {0};
    bool found = false;
    pair_open(&p, 5, 30000, 500);
    assert_true(search(&p, &found, &point) <= 5);
    assert_true(found);
    assert_int_equal(point.lsn, p.common);
    pair_close(&p);
}

static void test_nothing_in_common(void **state) {
    (void)state;
    struct pair p;
    struct mim_boundary point = {0};
    bool found = true;
    pair_open(&p, 9, 20, 20);
    p.theirs_sim = mim_storage_sim_free(p.theirs_sim);
    p.theirs_sim = mim_storage_sim_new(1);
    struct mim_prng prng;
    mim_prng_init(&prng, 1);
    build_init(&p.theirs, mim_storage_sim_storage(p.theirs_sim), 1u << 16);
    p.theirs.history.uuid[0] ^= 1;
    p.theirs.chain ^= 1;
    grow(&p.theirs, &prng, 30);
    build_done(&p.theirs);
    (void)search(&p, &found, &point);
    if (found) { /* the very beginning is common to all journals of a history; this one is of another */
        assert_int_equal(point.lsn, MIM_SEGMENT_HEADER_SIZE);
    }
    pair_close(&p);
}

/** As a standby's next start reads it: the mark counts, frames' evidence as the mark says. */
static struct outcome standby_outcome(struct mim_storage storage) {
    struct outcome outcome = {0};
    struct mim_segments segments = {0};
    struct mim_mark mark = {0};
    struct mim_error ignored = {0};
    bool marked = mim_mark_read(storage, &mark, &ignored) == 0;
    outcome.code = mim_segments_load(storage, &segments, &outcome.unused, &outcome.error);
    if (outcome.code == 0) {
        struct mim_reader_options options = {.evidence_lsn = marked ? mark.durable_lsn : 0,
                                             .standby = marked && mark.standby};
        outcome.segments = segments.count;
        outcome.code = outcome_read(storage, &segments, &options, &outcome);
    }
    mim_segments_deinit(&segments);
    return outcome;
}

/** A view of the storage with another directory as its root would be better; the aside is checked byte by byte. */
static void assert_aside_is_whole(const struct pair *p, const struct mim_storage_sim *before, const char *aside) {
    struct mim_segments segments;
    struct mim_error error = {0};
    mim_position_t unused = 0;
    struct mim_storage_sim *copy = mim_storage_sim_clone(before, 1);
    build_ok(mim_segments_load(mim_storage_sim_storage(copy), &segments, &unused, &error), &error);
    for (size_t i = 0; i < segments.count; i++) {
        char path[MIM_SEGMENT_PATH_SIZE];
        char saved[MIM_SEGMENT_PATH_SIZE + MIM_ASIDE_PATH_SIZE + 2];
        uint64_t size = 0;
        uint64_t saved_size = 0;
        mim_segment_path(segments.items[i].header.first_position, path);
        (void)snprintf(saved, sizeof(saved), "%s/%s", aside, path);
        const uint8_t *bytes = mim_storage_sim_bytes(before, path, &size);
        const uint8_t *theirs = mim_storage_sim_bytes(p->ours_sim, saved, &saved_size);
        assert_non_null(bytes);
        assert_non_null(theirs);
        assert_true(saved_size <= size);
        assert_memory_equal(bytes, theirs, saved_size);
        assert_true(mim_recover_zero(bytes + saved_size, size - saved_size));
    }
    mim_segments_deinit(&segments);
    (void)mim_storage_sim_free(copy);
}

static void test_rewinding(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct pair p;
        struct mim_boundary point = {0};
        bool found = false;
        char aside[MIM_ASIDE_PATH_SIZE];
        struct mim_error error = {0};
        pair_open(&p, seed, (unsigned)(seed * 5 % 70), (unsigned)(1 + seed % 30));
        (void)search(&p, &found, &point);
        assert_true(found);
        struct mim_storage_sim *before = mim_storage_sim_clone(p.ours_sim, 1);
        build_ok(mim_journal_rewind(p.ours.storage, &point, aside, &error), &error);
        struct outcome outcome = standby_outcome(p.ours.storage);
        assert_int_equal(outcome.code, 0);
        assert_int_equal(outcome.ending.kind, MIM_END_CLEAN);
        assert_int_equal(outcome.ending.lsn, point.lsn);
        assert_int_equal(outcome.ending.chain, point.chain);
        assert_aside_is_whole(&p, before, aside);
        (void)mim_storage_sim_free(before);
        pair_close(&p);
    }
}

/** Power is cut at the n-th storage call of a rewind; false: there were fewer. */
static bool rewind_cut_short(uint64_t seed, uint64_t nth) {
    struct pair p;
    struct mim_boundary point = {0};
    bool found = false;
    char aside[MIM_ASIDE_PATH_SIZE];
    struct mim_error error = {0};
    pair_open(&p, seed, 25, 40);
    (void)search(&p, &found, &point);
    mim_storage_sim_fail_nth(p.ours_sim, nth, MIM_SIM_FAULT_CRASH, true);
    bool short_of_it = mim_journal_rewind(p.ours.storage, &point, aside, &error) != 0;
    mim_storage_sim_crash(p.ours_sim, (struct mim_sim_crash_odds){
                                          .drop_per_mille = 400, .zero_per_mille = 100, .entry_drop_per_mille = 400});
    struct outcome outcome = standby_outcome(p.ours.storage);
    assert_int_equal(outcome.code, 0);
    assert_int_not_equal(outcome.ending.kind, MIM_END_DAMAGED);
    assert_true(outcome.ending.lsn >= point.lsn);
    if (outcome.ending.kind == MIM_END_CLEAN) {
        build_ok(mim_journal_rewind(p.ours.storage, &point, aside, &error), &error);
        outcome = standby_outcome(p.ours.storage);
        assert_int_equal(outcome.ending.lsn, point.lsn);
        assert_int_equal(outcome.ending.chain, point.chain);
    }
    pair_close(&p);
    return short_of_it;
}

static void test_power_cuts_while_rewinding(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        uint64_t nth = 1;
        while (rewind_cut_short(seed, nth)) {
            nth++;
        }
        assert_true(nth > 20);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_point_is_found),         cmocka_unit_test(test_many_frames_take_few_rounds),
        cmocka_unit_test(test_nothing_in_common),          cmocka_unit_test(test_rewinding),
        cmocka_unit_test(test_power_cuts_while_rewinding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
