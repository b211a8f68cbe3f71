// SPDX-License-Identifier: MIT
// Vectors: growth, order kept by removal, zeroed elements, indexes beyond the end, a full arena.
#include "support.h"

static void test_elements_of_any_size_keep_their_order(void **state) {
    (void)state;
    struct mim_arena arena = support_open(64u << 20);
    const uint32_t sizes[] = {1, 2, 4, 8, 12, 24, 48, 100, 1000};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct mim_vec vec = {0};
        for (uint32_t n = 0; n < 1000; n++) {
            uint8_t *element = mim_vec_push_in(&arena, &vec, sizes[s]);
            assert_non_null(element);
            for (uint32_t i = 0; i < sizes[s]; i++) {
                assert_int_equal(element[i], 0);
            }
            memset(element, (int)(n % 251), sizes[s]);
        }
        mim_vec_remove_in(&arena, &vec, sizes[s], 0);
        mim_vec_remove_in(&arena, &vec, sizes[s], 499);
        mim_vec_remove_in(&arena, &vec, sizes[s], 997);
        mim_vec_remove_in(&arena, &vec, sizes[s], 997); /* beyond the end: nothing */
        assert_int_equal(vec.count, 997);
        for (uint32_t n = 0; n < 997; n++) {
            const uint8_t *element = mim_vec_get_in(&arena, &vec, sizes[s], n);
            assert_int_equal(element[sizes[s] - 1], (n < 499 ? n + 1 : n + 2) % 251);
        }
        assert_null(mim_vec_get_in(&arena, &vec, sizes[s], 997));
        assert_null(mim_vec_get_in(&arena, &vec, sizes[s], UINT64_MAX));
        const uint8_t *again = mim_vec_push_in(&arena, &vec, sizes[s]);
        assert_int_equal(again[0], 0);
        mim_vec_clear_in(&arena, &vec, sizes[s]);
        assert_true(vec.ref == 0 && vec.count == 0 && vec.capacity == 0);
        assert_true(support_all_released(&arena));
    }
    mim_arena_close(&arena);
}

static void test_resizing_shows_zeros_only(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_vec vec = {0};
    assert_true(mim_vec_resize_in(&arena, &vec, 4, 100));
    for (uint32_t n = 0; n < 100; n++) {
        uint32_t *element = mim_vec_get_in(&arena, &vec, 4, n);
        assert_int_equal(*element, 0);
        *element = ~0u;
    }
    assert_true(mim_vec_resize_in(&arena, &vec, 4, 10));
    assert_true(mim_vec_resize_in(&arena, &vec, 4, 200));
    for (uint32_t n = 0; n < 200; n++) {
        assert_int_equal(*(uint32_t *)mim_vec_get_in(&arena, &vec, 4, n), n < 10 ? ~0u : 0);
    }
    assert_true(mim_vec_resize_in(&arena, &vec, 4, 0));
    assert_true(support_all_released(&arena));
    mim_vec_clear_in(&arena, &vec, 4);
    mim_arena_close(&arena);
}

static void test_a_full_arena_leaves_the_vector_as_it_was(void **state) {
    (void)state;
    for (uint64_t pages = 0; pages < 20; pages++) {
        struct mim_arena arena = support_open(16u << 20);
        support_limit(&arena, pages);
        struct mim_vec vec = {0};
        uint32_t count = 0;
        uint64_t *element = NULL;
        while ((element = mim_vec_push_in(&arena, &vec, 8)) != NULL) {
            *element = count++;
        }
        assert_int_equal(vec.count, count);
        assert_false(mim_vec_resize_in(&arena, &vec, 8, 1u << 20));
        assert_false(mim_vec_resize_in(&arena, &vec, 8, UINT64_MAX));
        assert_false(mim_vec_resize_in(&arena, &vec, UINT32_MAX, UINT32_MAX));
        for (uint32_t n = 0; n < count; n++) {
            assert_int_equal(*(uint64_t *)mim_vec_get_in(&arena, &vec, 8, n), n);
        }
        mim_vec_clear_in(&arena, &vec, 8);
        assert_true(support_all_released(&arena));
        mim_arena_close(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elements_of_any_size_keep_their_order),
        cmocka_unit_test(test_resizing_shows_zeros_only),
        cmocka_unit_test(test_a_full_arena_leaves_the_vector_as_it_was),
    };
    return cmocka_run_group_tests_name("image/vec", tests, NULL, NULL);
}
