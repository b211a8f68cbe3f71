// SPDX-License-Identifier: MIT
// The primary's side: who may go on, which frames come, what counts as confirmed.
#include "replica_support.h"

#include "replica/feed.h"

struct fixture {
    struct mim_storage_sim *sim;
    struct builder b;
    struct mim_access *access;
    struct mim_replica_point own;
};

static void fixture_open(struct fixture *f, uint64_t seed, unsigned frames) {
    struct mim_prng prng;
    struct mim_error error = {0};
    mim_prng_init(&prng, seed);
    f->sim = mim_storage_sim_new(seed);
    build_init(&f->b, mim_storage_sim_storage(f->sim), 1u << 20);
    grow(&f->b, &prng, frames);
    build_done(&f->b);
    build_ok(mim_access_open(f->b.storage, &f->access, &error), &error);
    build_ok(mim_access_set_limit(f->access, f->b.lsn, 0, &error), &error);
    f->own = (struct mim_replica_point){.history = f->b.history, .epoch = f->b.epoch, .lsn = f->b.lsn};
}

static void fixture_close(struct fixture *f) {
    (void)mim_access_free(f->access);
    (void)mim_storage_sim_free(f->sim);
}

static enum mim_welcome welcome(struct fixture *f, const struct mim_replica_point *peer) {
    enum mim_welcome answer = MIM_WELCOME_NEWER;
    struct mim_error error = {0};
    build_ok(mim_feed_welcome(f->b.storage, f->access, &f->own, peer, &answer, &error), &error);
    return answer;
}

static void test_welcomes(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 7, 60);
    struct mim_replica_point peer = f.own;
    peer.chain = f.b.chain;
    peer.position = f.b.position;
    assert_int_equal(welcome(&f, &peer), MIM_WELCOME_CONTINUE);
    peer.chain ^= 1;
    assert_int_equal(welcome(&f, &peer), MIM_WELCOME_PROBE);
    peer.chain ^= 1;
    peer.lsn += 64;
    assert_int_equal(welcome(&f, &peer), MIM_WELCOME_PROBE);
    peer.epoch++;
    assert_int_equal(welcome(&f, &peer), MIM_WELCOME_NEWER);
    peer.history.uuid[3] ^= 1;
    assert_int_equal(welcome(&f, &peer), MIM_WELCOME_FOREIGN);
    peer.empty = true;
    assert_int_equal(welcome(&f, &peer), MIM_WELCOME_FILES);
    fixture_close(&f);
}

/** A primary that cannot read its journal for the moment knows nothing of what a standby has: no call may turn into "that is
 *  not in ours", which would make the standby set its journal aside. */
static void test_a_failed_read_is_no_divergence(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 7, 60);
    struct mim_replica_point peer = f.own;
    peer.chain = f.b.chain;
    peer.position = f.b.position;
    struct mim_boundary boundary = {.lsn = peer.lsn, .chain = peer.chain};
    static const enum mim_sim_call calls[] = {MIM_SIM_OPEN, MIM_SIM_PREAD};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        enum mim_welcome answer = MIM_WELCOME_NEWER;
        struct mim_error error = {0};
        int index = -1;
        mim_storage_sim_fail_nth_of(f.sim, calls[i], 1, MIM_SIM_FAULT_EIO, true);
        assert_int_equal(mim_feed_welcome(f.b.storage, f.access, &f.own, &peer, &answer, &error), MIM_E_IO);
        assert_int_equal(mim_feed_probe(f.b.storage, f.access, &boundary, 1, &index, &error), MIM_E_IO);
        mim_storage_sim_clear_faults(f.sim);
        assert_int_equal(mim_feed_probe(f.b.storage, f.access, &boundary, 1, &index, &error), 0);
        assert_int_equal(index, 0);
    }
    fixture_close(&f);
}

/** From every boundary: the frames that follow, each once, in order, with the chain. */
static void test_frames_from_every_boundary(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 11, 40);
    struct mim_feed all;
    struct mim_error error = {0};
    struct mim_replica_point start = {.lsn = MIM_SEGMENT_HEADER_SIZE, .chain = mim_history_seed(&f.b.history)};
    mim_feed_begin(&all, &start);
    struct mim_frame frame;
    unsigned frames = 0;
    int rc;
    while ((rc = mim_feed_next(&all, f.access, &frame, &error)) == 0) {
        frames++;
        struct mim_feed from;
        struct mim_replica_point point = {
            .lsn = frame.lsn + frame.header.size, .chain = frame.header.chain, .position = all.sent_position};
        uint64_t chain = frame.header.chain;
        mim_feed_begin(&from, &point);
        struct mim_frame next;
        unsigned rest = 0;
        while ((rc = mim_feed_next(&from, f.access, &next, &error)) == 0) {
            assert_int_equal(next.header.previous_chain, chain);
            chain = next.header.chain;
            rest++;
        }
        assert_int_equal(rc, MIM_E_NOT_FOUND);
        assert_int_equal(chain, f.b.chain);
        assert_int_equal(from.sent_lsn, rest > 0 ? f.b.lsn : point.lsn);
    }
    assert_int_equal(rc, MIM_E_NOT_FOUND);
    assert_true(frames >= 40);
    assert_int_equal(all.sent_position, f.b.position);
    fixture_close(&f);
}

static void test_confirmations(void **state) {
    (void)state;
    struct mim_feed feed = {.sent_lsn = 1000, .sent_position = 9, .acked_lsn = 500, .acked_position = 4};
    assert_true(mim_feed_acked(&feed, 700, 6));
    assert_int_equal(feed.acked_lsn, 700);
    assert_true(mim_feed_acked(&feed, 600, 5)); /* an old one changes nothing */
    assert_int_equal(feed.acked_position, 6);
    assert_false(mim_feed_acked(&feed, 1000 + MIM_SEGMENT_HEADER_SIZE + 1, 9));
    assert_false(mim_feed_acked(&feed, 1000, 10));
    mim_lsn_t acked[] = {5, 9, 7, 9, 1};
    assert_int_equal(mim_feeds_confirmed(acked, 5, 1), 9);
    assert_int_equal(mim_feeds_confirmed(acked, 5, 3), 7);
    assert_int_equal(mim_feeds_confirmed(acked, 5, 5), 1);
    assert_int_equal(mim_feeds_confirmed(acked, 5, 6), 0);
    assert_int_equal(mim_feeds_confirmed(acked, 0, 1), 0);
}

static void test_a_promotion_outranks_restarts(void **state) {
    (void)state;
    assert_true(mim_epoch_promoted(1) > 1 + 60000);
    assert_true(mim_epoch_promoted(mim_epoch_promoted(3)) > mim_epoch_promoted(3 + 1000));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_welcomes),
        cmocka_unit_test(test_a_failed_read_is_no_divergence),
        cmocka_unit_test(test_frames_from_every_boundary),
        cmocka_unit_test(test_confirmations),
        cmocka_unit_test(test_a_promotion_outranks_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
