// SPDX-License-Identifier: MIT
// Held replies: order, gates, coalescing, growth; against a naive model of single replies.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "server/holdback.h"

static void add(struct mim_holdback *holdback, uint64_t end, mim_lsn_t gate, uint64_t received, uint16_t command) {
    assert_int_equal(mim_holdback_add(holdback, end, gate, received, command), 0);
}

static void test_nothing_leaves_an_empty_one(void **state) {
    (void)state;
    struct mim_holdback holdback = {0};
    struct mim_hold_mark mark;
    assert_false(mim_holdback_take(&holdback, UINT64_MAX, &mark));
    mim_holdback_shrink(&holdback);
    mim_holdback_deinit(&holdback);
}

static void test_a_reply_waits_for_its_gate_and_no_longer(void **state) {
    (void)state;
    struct mim_holdback holdback = {0};
    struct mim_hold_mark mark;
    add(&holdback, 10, 100, 1, 0);
    assert_false(mim_holdback_take(&holdback, 99, &mark));
    assert_true(mim_holdback_take(&holdback, 100, &mark));
    assert_int_equal(mark.end, 10);
    assert_int_equal(holdback.requests, 0);
    mim_holdback_deinit(&holdback);
}

static void test_a_reply_without_a_gate_leaves_at_once_but_not_before_its_elders(void **state) {
    (void)state;
    struct mim_holdback holdback = {0};
    struct mim_hold_mark mark;
    add(&holdback, 10, 0, 1, 0);
    assert_true(mim_holdback_take(&holdback, 0, &mark));
    add(&holdback, 20, 100, 1, 0);
    add(&holdback, 30, 0, 2, 0);
    assert_false(mim_holdback_take(&holdback, 99, &mark));
    assert_true(mim_holdback_take(&holdback, 100, &mark));
    assert_int_equal(mark.end, 20);
    assert_true(mim_holdback_take(&holdback, 100, &mark));
    assert_int_equal(mark.end, 30);
    mim_holdback_deinit(&holdback);
}

static void test_a_reply_without_a_gate_is_not_held_by_its_juniors(void **state) {
    (void)state;
    struct mim_holdback holdback = {0};
    struct mim_hold_mark mark;
    add(&holdback, 10, 0, 1, 0);
    add(&holdback, 20, 100, 1, 1);
    assert_true(mim_holdback_take(&holdback, 0, &mark));
    assert_int_equal(mark.end, 10);
    assert_false(mim_holdback_take(&holdback, 0, &mark));
    mim_holdback_deinit(&holdback);
}

static void test_a_pipeline_behind_one_gate_is_one_mark(void **state) {
    (void)state;
    struct mim_holdback holdback = {0};
    struct mim_hold_mark mark;
    for (uint64_t i = 1; i <= 1000; i++) {
        add(&holdback, i, 100, 1, (uint16_t)(i % 6));
    }
    assert_int_equal(holdback.count, 1);
    assert_int_equal(holdback.requests, 1000);
    assert_true(mim_holdback_take(&holdback, 100, &mark));
    assert_int_equal(mark.end, 1000);
    assert_int_equal(mark.requests, 1000);
    assert_int_equal(mark.kind_count, MIM_MARK_KINDS);
    uint32_t counted = 0;
    for (uint32_t i = 0; i < mark.kind_count; i++) {
        counted += mark.kinds[i].count;
    }
    assert_int_equal(counted, 1000);
    mim_holdback_deinit(&holdback);
}

static void test_replies_of_different_batches_keep_their_times(void **state) {
    (void)state;
    struct mim_holdback holdback = {0};
    struct mim_hold_mark mark;
    add(&holdback, 1, 100, 1, 0);
    add(&holdback, 2, 100, 2, 0);
    assert_int_equal(holdback.count, 2);
    assert_true(mim_holdback_take(&holdback, 100, &mark));
    assert_int_equal(mark.received_ns, 1);
    assert_true(mim_holdback_take(&holdback, 100, &mark));
    assert_int_equal(mark.received_ns, 2);
    mim_holdback_deinit(&holdback);
}

static void test_a_count_never_overflows_its_mark(void **state) {
    (void)state;
    struct mim_holdback holdback = {0};
    struct mim_hold_mark mark;
    for (uint64_t i = 1; i <= 200000; i++) {
        add(&holdback, i, 1, 1, 0);
    }
    uint64_t requests = 0;
    uint64_t kinds = 0;
    while (mim_holdback_take(&holdback, 1, &mark)) {
        requests += mark.requests;
        kinds += mark.kinds[0].count;
    }
    assert_int_equal(requests, 200000);
    assert_int_equal(kinds, 200000);
    mim_holdback_deinit(&holdback);
}

static void test_random_replies_leave_as_in_a_naive_model(void **state) {
    (void)state;
    struct mim_prng prng;
    mim_prng_init(&prng, 5);
    static struct { uint64_t end, gate; } model[100000];
    for (int round = 0; round < 50; round++) {
        struct mim_holdback holdback = {0};
        uint64_t first = 0;
        uint64_t last = 0;
        uint64_t written = 0;
        uint64_t released = 0;
        uint64_t next_gate = 1;
        uint64_t gate = 0;
        for (int step = 0; step < 2000; step++) {
            if (mim_prng_chance(&prng, 2, 3)) {
                written += 1 + mim_prng_below(&prng, 30);
                next_gate += mim_prng_chance(&prng, 1, 4);
                uint64_t own = mim_prng_chance(&prng, 1, 3) ? 0 : next_gate;
                model[last].end = written;
                model[last++].gate = own;
                add(&holdback, written, own, (uint64_t)step / 5, (uint16_t)mim_prng_below(&prng, 9));
            } else {
                gate += mim_prng_below(&prng, next_gate + 1 - gate + 1);
            }
            uint64_t wanted = first == 0 ? 0 : model[first - 1].end;
            while (first < last && model[first].gate <= gate) {
                wanted = model[first++].end;
            }
            struct mim_hold_mark mark;
            while (mim_holdback_take(&holdback, gate, &mark)) {
                assert_true(mark.end > released);
                released = mark.end;
            }
            assert_true(released <= wanted); /* never earlier than the model; later only inside one batch */
            assert_int_equal(holdback.requests > 0, released < written);
            assert_true(holdback.requests >= last - first);
            if (gate >= next_gate) {
                assert_int_equal(released, written);
            }
        }
        mim_holdback_deinit(&holdback);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_leaves_an_empty_one),
        cmocka_unit_test(test_a_reply_waits_for_its_gate_and_no_longer),
        cmocka_unit_test(test_a_reply_without_a_gate_leaves_at_once_but_not_before_its_elders),
        cmocka_unit_test(test_a_reply_without_a_gate_is_not_held_by_its_juniors),
        cmocka_unit_test(test_a_pipeline_behind_one_gate_is_one_mark),
        cmocka_unit_test(test_replies_of_different_batches_keep_their_times),
        cmocka_unit_test(test_a_count_never_overflows_its_mark),
        cmocka_unit_test(test_random_replies_leave_as_in_a_naive_model),
    };
    return cmocka_run_group_tests_name("holdback", tests, NULL, NULL);
}
