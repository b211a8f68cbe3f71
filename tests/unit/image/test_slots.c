// SPDX-License-Identifier: MIT
// Dense arrays: addresses, chunks, growth announced and refused.
#include "support.h"

static void test_elements_are_zeroed_and_never_move(void **state) {
    (void)state;
    struct mim_arena arena = support_open(64u << 20);
    struct mim_slots slots = {.element_size = 24};
    static uint64_t *seen[20000];
    for (uint64_t n = 0; n < 20000; n++) {
        uint64_t *element = mim_slots_push(&arena, &slots);
        assert_non_null(element);
        assert_true(element[0] == 0 && element[1] == 0 && element[2] == 0);
        element[0] = n;
        element[2] = ~n;
        seen[n] = element;
    }
    assert_int_equal(slots.count, 20000);
    for (uint64_t n = 0; n < 20000; n++) {
        assert_ptr_equal(mim_slots_at(&arena, &slots, n), seen[n]);
        assert_true(seen[n][0] == n && seen[n][1] == 0 && seen[n][2] == ~n);
        mim_slots_prefetch(&arena, &slots, n);
    }
    mim_slots_prefetch(&arena, &slots, UINT64_MAX);
    mim_slots_clear(&arena, &slots);
    assert_int_equal(slots.element_size, 24);
    assert_true(support_all_released(&arena));
    mim_arena_close(&arena);
}

static void test_growth_says_what_the_next_push_allocates(void **state) {
    (void)state;
    struct mim_arena arena = support_open(64u << 20);
    struct mim_slots slots = {.element_size = 64};
    for (uint64_t n = 0; n < 10000; n++) {
        uint64_t growth = mim_slots_growth(&slots);
        uint64_t before = mim_arena_head(&arena)->used;
        assert_non_null(mim_slots_push(&arena, &slots));
        assert_int_equal(mim_arena_head(&arena)->used - before, growth);
    }
    struct mim_slots full = {.element_size = 8, .count = 64ull * ((1ull << MIM_SLOTS_CHUNKS) - 1)};
    assert_int_equal(mim_slots_growth(&full), UINT64_MAX);
    assert_null(mim_slots_push(&arena, &full));
    mim_arena_close(&arena);
}

static void test_a_full_arena_leaves_the_array_as_it_was(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_slots slots = {.element_size = 4096};
    support_limit(&arena, 63);
    assert_null(mim_slots_push(&arena, &slots));
    assert_int_equal(slots.count, 0);
    support_limit(&arena, 64);
    for (int n = 0; n < 64; n++) {
        assert_non_null(mim_slots_push(&arena, &slots));
    }
    assert_null(mim_slots_push(&arena, &slots));
    assert_int_equal(slots.count, 64);
    struct mim_slots wide = {.element_size = UINT32_MAX - 7, .count = 1ull << 32};
    assert_null(mim_slots_push(&arena, &wide));
    mim_arena_close(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elements_are_zeroed_and_never_move),
        cmocka_unit_test(test_growth_says_what_the_next_push_allocates),
        cmocka_unit_test(test_a_full_arena_leaves_the_array_as_it_was),
    };
    return cmocka_run_group_tests_name("image/slots", tests, NULL, NULL);
}
