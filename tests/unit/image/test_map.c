// SPDX-License-Identifier: MIT
// Hash maps: small and large forms, removal, keys of any bytes, a full arena at every allocation.
#include "support.h"

static struct mim_string key_of(uint32_t n, char *buffer, size_t size) {
    (void)snprintf(buffer, size, n % 3 == 0 ? "%u" : "a longer key, number %u", n);
    return mim_string_of(buffer);
}

static void test_an_empty_map_is_nothing(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_map map = {0};
    assert_null(mim_map_get_in(&arena, &map, mim_string_of("x")));
    assert_null(mim_map_at_in(&arena, &map, 0, NULL));
    assert_false(mim_map_remove_in(&arena, &map, mim_string_of("x")));
    assert_int_equal(mim_map_count_in(&arena, &map), 0);
    mim_map_clear_in(&arena, &map);
    assert_int_equal(mim_arena_head(&arena)->used, MIM_IMAGE_PAGE);
    mim_arena_close(&arena);
}

static void test_keys_are_any_bytes(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_map map = {0};
    struct mim_string keys[] = {{"", 0}, {"\0", 1}, {"\0\0", 2}, {"1234567", 7}, {"12345678", 8}, {"1234567\0", 8}};
    for (size_t i = 0; i < 6; i++) {
        int64_t *value = mim_map_put_in(&arena, &map, 8, keys[i]);
        assert_int_equal(*value, 0);
        *value = (int64_t)i + 1;
    }
    assert_int_equal(mim_map_count_in(&arena, &map), 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(*(int64_t *)mim_map_get_in(&arena, &map, keys[i]), i + 1);
        struct mim_string key;
        assert_non_null(mim_map_at_in(&arena, &map, i, &key));
        assert_int_equal(key.size, keys[i].size);
        assert_memory_equal(key.data, keys[i].data, key.size);
    }
    struct mim_string absent = {NULL, 0}; /* no key is the empty key */
    assert_int_equal(*(int64_t *)mim_map_put_in(&arena, &map, 8, absent), 1);
    assert_null(mim_map_at_in(&arena, &map, 6, NULL));
    mim_map_clear_in(&arena, &map);
    mim_arena_close(&arena);
}

static void test_small_maps_are_small(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_map map = {0};
    assert_non_null(mim_map_put_in(&arena, &map, 8, mim_string_of("EUR")));
    const struct mim_arena_head *head = mim_arena_head(&arena);
    assert_int_equal(head->used - MIM_IMAGE_PAGE - support_unheld(&arena), 32 + 24);
    for (uint32_t n = 1; n < 32; n++) {
        char buffer[8];
        (void)snprintf(buffer, sizeof(buffer), "%u", n);
        assert_non_null(mim_map_put_in(&arena, &map, 8, mim_string_of(buffer)));
    }
    assert_int_equal(head->used - MIM_IMAGE_PAGE - support_unheld(&arena), 32 + 32 * 24);
    mim_map_clear_in(&arena, &map);
    mim_arena_close(&arena);
}

static void test_values_of_any_size_in_small_and_large_maps(void **state) {
    (void)state;
    const uint32_t sizes[] = {0, 1, 4, 8, 16, 20, 56, 200};
    struct mim_arena arena = support_open(64u << 20);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct mim_map map = {0};
        char buffer[64];
        for (uint32_t n = 0; n < 3000; n++) {
            uint8_t *value = mim_map_put_in(&arena, &map, sizes[s], key_of(n, buffer, sizeof(buffer)));
            assert_non_null(value);
            for (uint32_t i = 0; i < sizes[s]; i++) {
                assert_int_equal(value[i], 0);
            }
            memset(value, (int)(n % 251), sizes[s]);
        }
        for (uint32_t n = 0; n < 3000; n += 2) {
            assert_true(mim_map_remove_in(&arena, &map, key_of(n, buffer, sizeof(buffer))));
        }
        for (uint32_t n = 0; n < 3000; n++) {
            const uint8_t *value = mim_map_get_in(&arena, &map, key_of(n, buffer, sizeof(buffer)));
            assert_int_equal(value != NULL, n % 2);
            for (uint32_t i = 0; value != NULL && i < sizes[s]; i++) {
                assert_int_equal(value[i], n % 251);
            }
        }
        for (uint32_t n = 1; n < 3000; n += 2) {
            assert_true(mim_map_remove_in(&arena, &map, key_of(n, buffer, sizeof(buffer))));
        }
        assert_int_equal(map.ref, 0); /* an emptied map gives everything back */
        assert_true(support_all_released(&arena));
    }
    mim_arena_close(&arena);
}

static void test_a_key_may_be_part_of_a_key_of_the_same_map(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_map map = {0};
    assert_non_null(mim_map_put_in(&arena, &map, 8, mim_string_of("abcdefg")));
    for (uint32_t n = 1; n < 7; n++) {
        struct mim_string key;
        assert_non_null(mim_map_at_in(&arena, &map, 0, &key));
        assert_non_null(mim_map_put_in(&arena, &map, 8, (struct mim_string){key.data + n, 7 - n}));
        assert_non_null(mim_map_get_in(&arena, &map, mim_string_of(&"abcdefg"[n])));
    }
    struct mim_string key;
    assert_non_null(mim_map_at_in(&arena, &map, 0, &key));
    assert_true(mim_map_remove_in(&arena, &map, key));
    assert_null(mim_map_get_in(&arena, &map, mim_string_of("abcdefg")));
    assert_int_equal(mim_map_count_in(&arena, &map), 6);
    mim_arena_close(&arena);
}

/** Fills the arena's remaining pages in steps of 8 bytes, so that an allocation fails in every state of a put. */
static void test_a_full_arena_leaves_the_map_as_it_was(void **state) {
    (void)state;
    for (uint64_t pages = 1; pages < 40; pages++) {
        struct mim_arena arena = support_open(16u << 20);
        support_limit(&arena, pages);
        for (uint64_t taken = 0; taken < 64 * (pages % 7); taken += 8) {
            (void)mim_arena_alloc(&arena, 8);
        }
        uint64_t held = mim_arena_head(&arena)->used - support_unheld(&arena);
        struct mim_map map = {0};
        char buffer[64];
        uint32_t count = 0;
        int64_t *value = NULL;
        while ((value = mim_map_put_in(&arena, &map, 8, key_of(count, buffer, sizeof(buffer)))) != NULL) {
            *value = count++;
        }
        for (int retry = 0; retry < 3; retry++) {
            assert_null(mim_map_put_in(&arena, &map, 8,
                                       mim_string_of("a key that is too much for what is left "
                                                     "in the arena, whatever is on its lists")));
            assert_int_equal(mim_map_count_in(&arena, &map), count);
        }
        for (uint32_t n = 0; n < count; n++) {
            assert_int_equal(*(int64_t *)mim_map_get_in(&arena, &map, key_of(n, buffer, sizeof(buffer))), n);
        }
        assert_null(mim_map_get_in(&arena, &map, key_of(count, buffer, sizeof(buffer))));
        support_limit(&arena, 200);
        for (uint32_t n = count; n < count + 500; n++) {
            assert_non_null(mim_map_put_in(&arena, &map, 8, key_of(n, buffer, sizeof(buffer))));
        }
        for (uint32_t n = 0; n < count + 500; n++) {
            assert_true(mim_map_remove_in(&arena, &map, key_of(n, buffer, sizeof(buffer))));
        }
        assert_int_equal(mim_arena_head(&arena)->used - support_unheld(&arena), held);
        mim_arena_close(&arena);
    }
}

static void test_a_key_whose_index_entry_finds_no_memory_is_given_back(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_map map = {0};
    char buffer[64];
    for (uint32_t n = 0; n < 33; n++) {
        assert_non_null(mim_map_put_in(&arena, &map, 8, key_of(n, buffer, sizeof(buffer))));
    }
    struct mim_ref keys[2000]; /* memory for keys only: no overflow bucket, no chunk */
    for (int i = 0; i < 2000; i++) {
        keys[i] = mim_arena_alloc(&arena, 4 + 30);
    }
    support_limit(&arena, 0);
    while (!mim_ref_is_null(mim_arena_alloc(&arena, 64))) {
    }
    for (int i = 0; i < 2000; i++) {
        mim_arena_release(&arena, keys[i], 4 + 30);
    }
    uint32_t added = 0;
    for (uint32_t n = 0; n < 60; n++) {
        (void)snprintf(buffer, sizeof(buffer), "a key of thirty bytes %08u", n);
        uint64_t unheld = support_unheld(&arena);
        if (mim_map_put_in(&arena, &map, 8, mim_string_of(buffer)) != NULL) {
            added++;
            continue;
        }
        assert_int_equal(support_unheld(&arena), unheld);
        assert_int_equal(mim_map_count_in(&arena, &map), 33 + added);
        assert_null(mim_map_get_in(&arena, &map, mim_string_of(buffer)));
    }
    assert_true(added > 0 && added < 60);
    mim_arena_close(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_map_is_nothing),
        cmocka_unit_test(test_keys_are_any_bytes),
        cmocka_unit_test(test_small_maps_are_small),
        cmocka_unit_test(test_values_of_any_size_in_small_and_large_maps),
        cmocka_unit_test(test_a_key_may_be_part_of_a_key_of_the_same_map),
        cmocka_unit_test(test_a_key_whose_index_entry_finds_no_memory_is_given_back),
        cmocka_unit_test(test_a_full_arena_leaves_the_map_as_it_was),
    };
    return cmocka_run_group_tests_name("image/map", tests, NULL, NULL);
}
