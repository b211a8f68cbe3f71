// SPDX-License-Identifier: MIT
// The index: a million entries without a pause, equal hashes, frugality, a full arena.
#include "support.h"

#include "base/hash.h"

static uint32_t hash_of(uint64_t n) { return (uint32_t)mim_hash64(&n, sizeof(n), 0); }

static bool match_number(const void *context, uint32_t number) { return *(const uint32_t *)context == number; }

static bool has(const struct mim_arena *arena, const struct mim_index *index, uint32_t hash, uint32_t number) {
    uint32_t found = ~number;
    mim_index_prefetch_chain(arena, mim_index_prefetch(arena, index, hash));
    return mim_index_find(arena, index, hash, match_number, &number, &found) && found == number;
}

static void test_an_empty_index_has_nothing(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_index index = {0};
    assert_false(has(&arena, &index, 1, 0));
    assert_false(mim_index_remove(&arena, &index, 1, 0));
    assert_false(mim_index_renumber(&arena, &index, 1, 0, 1));
    mim_index_clear(&arena, &index);
    assert_true(mim_index_insert(&arena, &index, 0, 0)); /* all zeros is an entry like any other */
    assert_true(has(&arena, &index, 0, 0));
    assert_false(has(&arena, &index, 0, 1));
    assert_true(mim_index_remove(&arena, &index, 0, 0));
    assert_false(has(&arena, &index, 0, 0));
    mim_index_clear(&arena, &index);
    assert_true(support_all_released(&arena));
    mim_arena_close(&arena);
}

static void test_a_million_entries_split_one_bucket_at_a_time(void **state) {
    (void)state;
    enum { ENTRIES = 1000000 };
    struct mim_arena arena = support_open(256u << 20);
    struct mim_index index = {0};
    for (uint32_t n = 0; n < ENTRIES; n++) {
        uint64_t before = index.buckets;
        assert_true(mim_index_insert(&arena, &index, hash_of(n), n));
        assert_true(index.buckets - before <= 1);
    }
    assert_int_equal(index.count, ENTRIES);
    assert_int_equal(index.table.count, index.buckets);
    for (uint32_t n = 0; n < ENTRIES; n++) {
        assert_true(has(&arena, &index, hash_of(n), n));
    }
    for (uint32_t n = 0; n < ENTRIES; n += 2) {
        assert_true(mim_index_remove(&arena, &index, hash_of(n), n));
        assert_true(mim_index_renumber(&arena, &index, hash_of(n + 1), n + 1, n));
    }
    assert_int_equal(index.count, ENTRIES / 2);
    for (uint32_t n = 0; n < ENTRIES; n += 2) {
        assert_true(has(&arena, &index, hash_of(n + 1), n));
        assert_false(has(&arena, &index, hash_of(n), n));
    }
    mim_index_clear(&arena, &index);
    assert_true(support_all_released(&arena));
    mim_arena_close(&arena);
}

static void test_an_entry_costs_fourteen_bytes(void **state) {
    (void)state;
    struct mim_arena arena = support_open(256u << 20);
    struct mim_index index = {0};
    double worst = 0;
    double sum = 0;
    int samples = 0;
    for (uint32_t n = 0; n < 1u << 19; n++) {
        assert_true(mim_index_insert(&arena, &index, hash_of(n), n));
        if (n >= 1u << 17 && n % 4096 == 0) {
            uint64_t chunks = 0; /* allocated chunks are half untouched: count buckets, not chunks */
            for (unsigned k = 0; k < MIM_SLOTS_CHUNKS; k++) {
                chunks += mim_ref_is_null(index.table.chunks[k]) ? 0 : (64ull * 64) << k;
            }
            const struct mim_arena_head *head = mim_arena_head(&arena);
            uint64_t overflow = head->used - MIM_IMAGE_PAGE - support_unheld(&arena) - chunks;
            double each = (double)(index.buckets * 64 + overflow) / (double)index.count;
            worst = each > worst ? each : worst;
            sum += each;
            samples++;
        }
    }
    print_message("# %.2f bytes per entry on average, %.2f at worst\n", sum / samples, worst);
    assert_true(worst <= 14.2);
    assert_true(sum / samples <= 14.0);
    mim_arena_close(&arena);
}

static void test_equal_hashes_are_told_apart_and_can_be_removed_in_any_order(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_index index = {0};
    for (uint32_t n = 0; n < 1000; n++) {
        assert_true(mim_index_insert(&arena, &index, 0xabcdef01u, n));
    }
    for (uint32_t n = 0; n < 1000; n++) {
        assert_true(has(&arena, &index, 0xabcdef01u, n));
    }
    for (uint32_t step = 0; step < 1000; step++) {
        uint32_t n = step * 7 % 1000;
        assert_true(mim_index_remove(&arena, &index, 0xabcdef01u, n));
        assert_false(mim_index_remove(&arena, &index, 0xabcdef01u, n));
    }
    assert_int_equal(index.count, 0);
    uint64_t unheld = support_unheld(&arena);
    for (uint32_t n = 0; n < 1000; n++) { /* overflow buckets come from the pool again */
        assert_true(mim_index_insert(&arena, &index, 0xabcdef01u, n));
    }
    assert_int_equal(support_unheld(&arena), unheld);
    mim_index_clear(&arena, &index);
    assert_true(support_all_released(&arena));
    mim_arena_close(&arena);
}

static void test_a_full_arena_refuses_an_entry_and_loses_none(void **state) {
    (void)state;
    for (uint64_t pages = 0; pages < 24; pages++) {
        struct mim_arena arena = support_open(16u << 20);
        struct mim_index index = {0};
        support_limit(&arena, pages);
        uint32_t count = 0;
        while (mim_index_insert(&arena, &index, hash_of(count), count)) {
            count++;
        }
        assert_int_equal(index.count, count);
        assert_true(pages == 0 ? count == 0 : count >= 7);
        for (uint32_t n = 0; n <= count; n++) {
            assert_int_equal(has(&arena, &index, hash_of(n), n), n < count);
        }
        support_limit(&arena, 1000); /* and goes on when there is room again */
        for (uint32_t n = count; n < count + 10000; n++) {
            uint64_t before = index.buckets;
            assert_true(mim_index_insert(&arena, &index, hash_of(n), n));
            assert_true(index.buckets - before <= 1);
        }
        for (uint32_t n = 0; n < count + 10000; n++) {
            assert_true(has(&arena, &index, hash_of(n), n));
        }
        assert_true(index.buckets * 6 >= index.count);
        mim_index_clear(&arena, &index);
        assert_true(support_all_released(&arena));
        mim_arena_close(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_index_has_nothing),
        cmocka_unit_test(test_a_million_entries_split_one_bucket_at_a_time),
        cmocka_unit_test(test_an_entry_costs_fourteen_bytes),
        cmocka_unit_test(test_equal_hashes_are_told_apart_and_can_be_removed_in_any_order),
        cmocka_unit_test(test_a_full_arena_refuses_an_entry_and_loses_none),
    };
    return cmocka_run_group_tests_name("image/index", tests, NULL, NULL);
}
