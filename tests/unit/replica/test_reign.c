// SPDX-License-Identifier: MIT
// Who counts as a standby, and what a primary may show; the name by which a directory is known again.
#include "replica_support.h"

#include "replica/identity.h"
#include "replica/reign.h"

#define ONE "00112233445566778899aabbccddeeff"
#define TWO "ffeeddccbbaa99887766554433221100"

static struct mim_feed feed_of(const char *identity, mim_lsn_t acked, bool streaming) {
    struct mim_feed feed = {.welcomed = true, .streaming = streaming, .acked_lsn = acked, .acked_position = acked / 10};
    (void)snprintf(feed.identity, sizeof(feed.identity), "%s", identity);
    return feed;
}

static void test_a_directory_counts_once(void **state) {
    (void)state;
    const struct mim_feed feeds[] = {feed_of(ONE, 500, true),   feed_of(TWO, 300, true), feed_of(ONE, 900, true),
                                     feed_of(TWO, 9000, false), feed_of("", 100, true),  feed_of("", 200, true)};
    const struct mim_feed *list[6];
    mim_lsn_t acked[MIM_REIGN_STANDBYS_MAX];
    for (size_t i = 0; i < 6; i++) {
        list[i] = &feeds[i];
    }
    assert_int_equal(mim_reign_acks(list, 0, acked), 0);
    assert_int_equal(mim_reign_acks(list, 6, acked), 4); /* who tells no name is counted by connections */
    assert_int_equal(acked[0], 900);
    assert_int_equal(acked[1], 300);
    assert_int_equal(acked[2], 100);
    assert_int_equal(acked[3], 200);
    assert_int_equal(mim_reign_acks(list, 1, acked), 1);
    assert_int_equal(acked[0], 500);
}

static void test_a_reign_begins_with_nothing_confirmed(void **state) {
    (void)state;
    struct mim_ring ring = {0};
    struct mim_error error = {0};
    struct mim_appender appender;
    struct mim_reign reign = {0};
    const struct mim_appender_start start = {.lsn = 4160, .position = 7, .segment_size = 1u << 20};
    build_ok(mim_ring_init(&ring, &error), &error);
    mim_appender_init(&appender, &ring, &start);
    atomic_store(&ring.gate_lsn, 4160);
    atomic_store(&ring.gate_position, 7);
    mim_reign_begin(&reign, &appender, 0);
    assert_true(mim_reign_settled(&reign, &appender));
    assert_int_equal(mim_appender_shown(&appender), 4160);
    assert_int_equal(mim_reign_shown(&reign, &appender), 7);
    mim_reign_begin(&reign, &appender, 2);
    assert_false(mim_reign_settled(&reign, &appender));
    assert_int_equal(mim_appender_shown(&appender), 0);
    assert_int_equal(mim_reign_shown(&reign, &appender), 0);
    struct mim_feed one = feed_of(ONE, 4160, true);
    struct mim_feed again = feed_of(ONE, 4160, true);
    struct mim_feed two = feed_of(TWO, 4096, true);
    const struct mim_feed *list[] = {&one, &again, &two};
    assert_false(mim_reign_confirm(&reign, &appender, list, 2, 2));
    assert_true(mim_reign_confirm(&reign, &appender, list, 3, 2));
    assert_int_equal(mim_appender_shown(&appender), 4096);
    assert_false(mim_reign_settled(&reign, &appender));
    two.acked_lsn = 4160;
    two.acked_position = 7;
    assert_true(mim_reign_confirm(&reign, &appender, list, 3, 2));
    assert_true(mim_reign_settled(&reign, &appender));
    assert_int_equal(mim_reign_shown(&reign, &appender), 7);
    mim_reign_wait_from_now(&reign, &appender);
    assert_int_equal(mim_appender_shown(&appender), 4160);
    reign.fenced = true;
    assert_false(mim_reign_settled(&reign, &appender));
    mim_ring_deinit(&ring);
}

static void test_a_name_is_made_once(void **state) {
    (void)state;
    static const uint8_t random[] = {0,    0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                     0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    static const uint8_t other[MIM_IDENTITY_SIZE / 2] = {1};
    assert_false(mim_identity_valid("x", 1));
    assert_false(mim_identity_valid("00112233445566778899AABBCCDDEEFF", 32));
    bool told = false;
    for (uint64_t nth = 1; !told; nth++) { /* a power cut at every call: a name that was told stays */
        struct mim_storage_sim *sim = mim_storage_sim_new(nth);
        struct mim_storage storage = mim_storage_sim_storage(sim);
        struct mim_error error = {0};
        char name[MIM_IDENTITY_TEXT_SIZE];
        char after[MIM_IDENTITY_TEXT_SIZE];
        mim_storage_sim_fail_nth(sim, nth, MIM_SIM_FAULT_CRASH, true);
        told = mim_identity_load(storage, random, name, &error) == 0;
        mim_storage_sim_crash(sim, (struct mim_sim_crash_odds){.drop_per_mille = 500, .entry_drop_per_mille = 500});
        build_ok(mim_identity_load(storage, other, after, &error), &error);
        assert_true(mim_identity_valid(after, strlen(after)));
        if (told) {
            assert_string_equal(name, ONE);
            assert_string_equal(after, ONE);
            assert_true(mim_storage_sim_truncate(sim, MIM_IDENTITY_PATH, 5));
            build_ok(mim_identity_load(storage, other, after, &error), &error);
            assert_string_not_equal(after, ONE);
        }
        (void)mim_storage_sim_free(sim);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_directory_counts_once),
        cmocka_unit_test(test_a_reign_begins_with_nothing_confirmed),
        cmocka_unit_test(test_a_name_is_made_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
