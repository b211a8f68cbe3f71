// SPDX-License-Identifier: MIT
// Ordered maps: order at the ends of the key space, seeking both ways, fill of ascending keys, a full arena.
#include "support.h"

static void test_an_empty_map_has_no_first_and_no_last(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_omap omap = {0};
    struct mim_omap_key key = {0};
    uint64_t value = 0;
    assert_false(mim_omap_get_in(&arena, &omap, key, &value));
    assert_false(mim_omap_remove_in(&arena, &omap, key));
    assert_false(mim_omap_seek_in(&arena, &omap, key, false, &key, &value));
    assert_false(mim_omap_seek_in(&arena, &omap, key, true, &key, &value));
    assert_true(mim_omap_valid_in(&arena, &omap));
    mim_omap_clear_in(&arena, &omap);
    assert_int_equal(mim_arena_head(&arena)->used, MIM_IMAGE_PAGE);
    mim_arena_close(&arena);
}

static void test_order_is_signed_then_unsigned(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_omap omap = {0};
    const struct mim_omap_key keys[] = {{INT64_MIN, 0}, {INT64_MIN, UINT64_MAX}, {-1, 5}, {0, 0},
                                        {0, 1},         {0, 1ull << 63},         {7, 0},  {INT64_MAX, UINT64_MAX}};
    for (size_t i = 8; i-- > 0;) {
        assert_true(mim_omap_put_in(&arena, &omap, keys[i], i));
    }
    struct mim_omap_key key = keys[0];
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++) {
        assert_true(mim_omap_seek_in(&arena, &omap, keys[i], false, &key, &value));
        assert_int_equal(value, i);
        assert_true(mim_omap_seek_in(&arena, &omap, keys[i], true, &key, &value));
        assert_int_equal(value, i);
        assert_true(key.major == keys[i].major && key.minor == keys[i].minor);
    }
    assert_true(mim_omap_seek_in(&arena, &omap, (struct mim_omap_key){0, 2}, false, &key, &value));
    assert_int_equal(value, 5);
    assert_true(mim_omap_seek_in(&arena, &omap, (struct mim_omap_key){0, 2}, true, &key, &value));
    assert_int_equal(value, 4);
    assert_true(mim_omap_put_in(&arena, &omap, keys[3], 33)); /* replaces */
    assert_true(mim_omap_get_in(&arena, &omap, keys[3], &value));
    assert_int_equal(value, 33);
    assert_int_equal(omap.count, 8);
    mim_omap_clear_in(&arena, &omap);
    assert_true(support_all_released(&arena));
    mim_arena_close(&arena);
}

/** Walks the whole map both ways and compares with 0, step, 2 step ... */
static void assert_walk(const struct mim_arena *arena, const struct mim_omap *omap, uint64_t count, int64_t step) {
    struct mim_omap_key at = {INT64_MIN, 0};
    struct mim_omap_key key;
    uint64_t value = 0;
    for (uint64_t n = 0; n < count; n++) {
        assert_true(mim_omap_seek_in(arena, omap, at, false, &key, &value));
        assert_int_equal(key.major, (int64_t)n * step);
        at = (struct mim_omap_key){key.major, key.minor + 1};
    }
    assert_false(mim_omap_seek_in(arena, omap, at, false, &key, &value));
    at = (struct mim_omap_key){INT64_MAX, UINT64_MAX};
    for (uint64_t n = count; n-- > 0;) {
        assert_true(mim_omap_seek_in(arena, omap, at, true, &key, &value));
        assert_int_equal(key.major, (int64_t)n * step);
        at = (struct mim_omap_key){key.major - 1, UINT64_MAX};
    }
    assert_false(mim_omap_seek_in(arena, omap, at, true, &key, &value));
}

static void test_ascending_and_descending_insertion_and_removal(void **state) {
    (void)state;
    enum { ENTRIES = 12000 };
    struct mim_arena arena = support_open(64u << 20);
    for (int how = 0; how < 4; how++) {
        struct mim_omap omap = {0};
        for (int64_t i = 0; i < ENTRIES; i++) {
            int64_t n = (how & 1) != 0 ? ENTRIES - 1 - i : i;
            assert_true(mim_omap_put_in(&arena, &omap, (struct mim_omap_key){n * 3, 0}, (uint64_t)n));
        }
        assert_true(mim_omap_valid_in(&arena, &omap));
        assert_walk(&arena, &omap, ENTRIES, 3);
        uint64_t held = mim_arena_head(&arena)->used - MIM_IMAGE_PAGE - support_unheld(&arena);
        if (how == 0) {
            assert_true(held < ENTRIES * 27); /* ascending keys fill their nodes */
        }
        for (int64_t i = 0; i < ENTRIES; i++) {
            int64_t n = (how & 2) != 0 ? ENTRIES - 1 - i : i;
            assert_false(mim_omap_remove_in(&arena, &omap, (struct mim_omap_key){n * 3 + 1, 0}));
            assert_true(mim_omap_remove_in(&arena, &omap, (struct mim_omap_key){n * 3, 0}));
            assert_true(i % 100 != 0 || mim_omap_valid_in(&arena, &omap));
        }
        assert_true(omap.ref == 0 && omap.count == 0);
        assert_true(support_all_released(&arena));
    }
    mim_arena_close(&arena);
}

static void test_a_full_arena_leaves_the_map_as_it_was(void **state) {
    (void)state;
    for (uint64_t pages = 0; pages < 20; pages++) {
        for (uint64_t taken = 0; taken < 8; taken++) { /* so that the first, second ... node of a put is refused */
            struct mim_arena arena = support_open(16u << 20);
            support_limit(&arena, pages);
            for (uint64_t i = 0; i < taken; i++) {
                (void)mim_arena_alloc(&arena, 512);
            }
            uint64_t held = mim_arena_head(&arena)->used - support_unheld(&arena);
            struct mim_omap omap = {0};
            int64_t count = 0;
            while (mim_omap_put_in(&arena, &omap, (struct mim_omap_key){count * 2, 0}, 1)) {
                count++;
            }
            assert_true(mim_omap_valid_in(&arena, &omap));
            assert_walk(&arena, &omap, (uint64_t)count, 2);
            uint64_t before = support_unheld(&arena);
            for (int64_t n = 0; n < count; n++) {
                uint64_t was = omap.count;
                bool put = mim_omap_put_in(&arena, &omap, (struct mim_omap_key){n * 2 + 1, 0}, 1);
                assert_int_equal(omap.count, was + put);
            }
            assert_true(support_unheld(&arena) <= before);
            assert_true(mim_omap_valid_in(&arena, &omap));
            mim_omap_clear_in(&arena, &omap);
            assert_int_equal(mim_arena_head(&arena)->used - support_unheld(&arena), held);
            mim_arena_close(&arena);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_map_has_no_first_and_no_last),
        cmocka_unit_test(test_order_is_signed_then_unsigned),
        cmocka_unit_test(test_ascending_and_descending_insertion_and_removal),
        cmocka_unit_test(test_a_full_arena_leaves_the_map_as_it_was),
    };
    return cmocka_run_group_tests_name("image/omap", tests, NULL, NULL);
}
