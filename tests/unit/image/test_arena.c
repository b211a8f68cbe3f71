// SPDX-License-Identifier: MIT
// The allocator: classes, alignment, reuse, the limit, determinism, and that fresh memory stays untouched.
#include "support.h"

#include <sys/mman.h>

#include "base/prng.h"
#include "image/arena.h"

static void test_class_sizes_are_tight_and_ordered(void **state) {
    (void)state;
    assert_int_equal(mim_arena_class_size(0), 8);
    assert_int_equal(mim_arena_class_size(1), 8);
    assert_int_equal(mim_arena_class_size(8), 8);
    assert_int_equal(mim_arena_class_size(9), 16);
    assert_int_equal(mim_arena_class_size(128), 128);
    assert_int_equal(mim_arena_class_size(129), 160);
    assert_int_equal(mim_arena_class_size(512), 512);
    assert_int_equal(mim_arena_class_size(513), 640);
    assert_int_equal(mim_arena_class_size(4095), 4096);
    assert_int_equal(mim_arena_class_size(4097), 8192);
    assert_int_equal(mim_arena_class_size(8193), 12288);
    assert_int_equal(mim_arena_class_size(1ull << 43), 1ull << 43);
    assert_int_equal(mim_arena_class_size((1ull << 43) + 1), UINT64_MAX);
    uint64_t before = 0;
    for (uint64_t size = 1; size < 300000; size++) {
        uint64_t block = mim_arena_class_size(size);
        assert_true(block >= size && block >= before);
        assert_true(size < 4096 ? block - size < 8 + size / 4 : block - size < 4096 + size / 4);
        assert_int_equal(mim_arena_class_size(block), block);
        assert_true(block < 4096 || block % 4096 == 0);
        before = block;
    }
}

static void test_blocks_are_zeroed_aligned_and_apart(void **state) {
    (void)state;
    struct mim_arena arena = support_open(64u << 20);
    struct mim_prng prng;
    mim_prng_init(&prng, 7);
    enum { BLOCKS = 2000 };
    static struct {
        struct mim_ref ref;
        uint64_t size;
        uint8_t mark;
    } held[BLOCKS];
    memset(held, 0, sizeof(held));
    for (int step = 0; step < 40000; step++) {
        uint64_t n = mim_prng_below(&prng, BLOCKS);
        if (held[n].size != 0) {
            const uint8_t *bytes = mim_arena_at(&arena, held[n].ref);
            for (uint64_t i = 0; i < held[n].size; i++) {
                assert_int_equal(bytes[i], held[n].mark);
            }
            mim_arena_release(&arena, held[n].ref, held[n].size);
            held[n].size = 0;
            continue;
        }
        uint64_t size = 1 + mim_prng_below(&prng, 1ull << mim_prng_below(&prng, 14));
        uint64_t block = mim_arena_class_size(size);
        struct mim_ref ref = mim_arena_alloc(&arena, size);
        assert_false(mim_ref_is_null(ref));
        assert_int_equal(ref.offset % (block >= 4096 ? 4096 : block % 64 == 0 ? 64 : 8), 0);
        uint8_t *bytes = mim_arena_at(&arena, ref);
        for (uint64_t i = 0; i < size; i++) {
            assert_int_equal(bytes[i], 0);
        }
        held[n].ref = ref;
        held[n].size = size;
        held[n].mark = (uint8_t)(1 + mim_prng_below(&prng, 255));
        memset(bytes, held[n].mark, size);
    }
    for (int n = 0; n < BLOCKS; n++) {
        if (held[n].size != 0) {
            mim_arena_release(&arena, held[n].ref, held[n].size);
        }
    }
    assert_true(support_all_released(&arena));
    mim_arena_close(&arena);
}

static void test_the_same_calls_give_the_same_bytes_at_any_address(void **state) {
    (void)state;
    struct mim_arena a = support_open(64u << 20);
    struct mim_arena b = support_open(64u << 20);
    assert_ptr_not_equal(a.base, b.base);
    struct mim_ref refs[512] = {{0}};
    uint64_t sizes[512] = {0};
    struct mim_prng prng;
    mim_prng_init(&prng, 11);
    for (int step = 0; step < 10000; step++) {
        uint64_t n = mim_prng_below(&prng, 512);
        if (sizes[n] != 0) {
            mim_arena_release(&a, refs[n], sizes[n]);
            mim_arena_release(&b, refs[n], sizes[n]);
            sizes[n] = 0;
        } else {
            sizes[n] = 1 + mim_prng_below(&prng, 9000);
            refs[n] = mim_arena_alloc(&a, sizes[n]);
            assert_int_equal(mim_arena_alloc(&b, sizes[n]).offset, refs[n].offset);
        }
        if (step == 5000) { /* goes on as a copy elsewhere */
            struct mim_arena c = support_copy(&b);
            mim_arena_close(&b);
            b = c;
        }
    }
    assert_true(support_same(&a, &b));
    mim_arena_close(&a);
    mim_arena_close(&b);
}

static void test_the_limit_is_kept_and_all_of_it_can_be_used(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    support_limit(&arena, 3);
    assert_int_equal(mim_arena_available(&arena), 3 * MIM_IMAGE_PAGE);
    uint64_t blocks = 0;
    while (!mim_ref_is_null(mim_arena_alloc(&arena, 64))) {
        blocks++;
    }
    assert_int_equal(blocks, 3 * MIM_IMAGE_PAGE / 64);
    assert_int_equal(mim_arena_available(&arena), 0);
    assert_true(mim_ref_is_null(mim_arena_alloc(&arena, 4096)));
    assert_true(mim_ref_is_null(mim_arena_alloc(&arena, 8)));
    arena.limit = 0; /* lowered below what is used */
    assert_int_equal(mim_arena_available(&arena), 0);
    assert_true(mim_ref_is_null(mim_arena_alloc(&arena, 8)));
    mim_arena_close(&arena);
}

static void test_sizes_beyond_all_memory_are_refused_without_overflow(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    const uint64_t sizes[] = {UINT64_MAX, UINT64_MAX - 7, 1ull << 63, (1ull << 43) + 1, 1ull << 43, 16u << 20};
    uint64_t used = mim_arena_head(&arena)->used;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_true(mim_ref_is_null(mim_arena_alloc(&arena, sizes[i])));
    }
    assert_int_equal(mim_arena_head(&arena)->used, used);
    assert_false(mim_ref_is_null(mim_arena_alloc(&arena, 14u << 20)));
    mim_arena_close(&arena);
}

static void test_null_is_never_given_and_may_be_released(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    assert_true(mim_arena_alloc(&arena, 8).offset >= MIM_IMAGE_PAGE);
    mim_arena_release(&arena, (struct mim_ref){0}, 100);
    assert_int_equal(mim_arena_head(&arena)->freed, 0);
    mim_arena_close(&arena);
}

static void test_gaps_of_alignment_and_abandoned_runs_are_not_lost(void **state) {
    (void)state;
    struct mim_arena arena = support_open(64u << 20);
    struct mim_ref small = mim_arena_alloc(&arena, 8);
    struct mim_ref lined = mim_arena_alloc(&arena, 64);
    assert_int_equal(lined.offset, small.offset + 64);
    assert_int_equal(mim_arena_alloc(&arena, 56).offset, small.offset + 8);
    struct mim_ref large = mim_arena_alloc(&arena, 3u << 20); /* begins at a huge page, the gap is on the lists */
    assert_int_equal(large.offset % (2u << 20), large.offset < (2u << 20) ? large.offset : 0);
    uint64_t used = mim_arena_head(&arena)->used;
    uint64_t held = 8 + 64 + 56 + (3u << 20) + MIM_IMAGE_PAGE;
    assert_int_equal(used - held, support_unheld(&arena));
    for (int i = 0; i < 3000; i++) { /* leaves runs behind */
        assert_false(mim_ref_is_null(mim_arena_alloc(&arena, 1000)));
        assert_false(mim_ref_is_null(mim_arena_alloc(&arena, 5000)));
        held += 1024 + 8192;
    }
    assert_int_equal(mim_arena_head(&arena)->used - held, support_unheld(&arena));
    mim_arena_close(&arena);
}

static void test_large_blocks_begin_at_huge_pages_where_that_is_cheap(void **state) {
    (void)state;
    struct mim_arena arena = support_open(256u << 20);
    (void)mim_arena_alloc(&arena, 8);
    for (int i = 0; i < 4; i++) {
        struct mim_ref ref = mim_arena_alloc(&arena, 8u << 20);
        assert_int_equal(ref.offset % (2u << 20), 0);
    }
    assert_true(support_unheld(&arena) < 2u << 20);
    mim_arena_close(&arena);
}

static void test_near_the_limit_a_large_block_goes_where_it_fits(void **state) {
    (void)state;
    struct mim_arena arena = support_open(64u << 20);
    (void)mim_arena_alloc(&arena, (2u << 20) - 128 * MIM_IMAGE_PAGE);
    support_limit(&arena, (3u << 20) / MIM_IMAGE_PAGE); /* without the gap before the next huge page */
    assert_false(mim_ref_is_null(mim_arena_alloc(&arena, 3u << 20)));
    assert_int_equal(mim_arena_head(&arena)->used, arena.limit);
    mim_arena_close(&arena);
}

static void test_pages_of_a_large_block_stay_untouched(void **state) {
    (void)state;
    struct mim_arena arena = support_open(256u << 20);
    struct mim_ref ref = mim_arena_alloc(&arena, 128u << 20);
    uint8_t *bytes = mim_arena_at(&arena, ref);
    unsigned char resident[32768];
    assert_int_equal(mincore(bytes, 128u << 20, resident), 0);
    unsigned touched = 0;
    for (size_t i = 0; i < sizeof(resident); i++) {
        touched += resident[i] & 1u;
    }
    assert_true(touched <= 1);
    mim_arena_close(&arena);
}

#ifdef MIM_ASAN
static void test_a_sanitizer_build_knows_what_is_not_allocated(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_ref ref = mim_arena_alloc(&arena, 20);
    const uint8_t *bytes = mim_arena_at(&arena, ref);
    assert_false(mim_is_poisoned(bytes + 19));
    assert_true(mim_is_poisoned(bytes + 20));
    assert_true(mim_is_poisoned(bytes + 24)); /* the rest of the run */
    assert_true(mim_is_poisoned(arena.base + mim_arena_head(&arena)->used));
    struct mim_ref large = mim_arena_alloc(&arena, 5000);
    assert_true(mim_is_poisoned((const uint8_t *)mim_arena_at(&arena, large) + 5000));
    mim_arena_release(&arena, ref, 20);
    assert_true(mim_is_poisoned(bytes));
    mim_arena_poison_lift(&arena);
    assert_false(mim_is_poisoned(bytes));
    mim_arena_poison_restore(&arena);
    assert_true(mim_is_poisoned(bytes) && mim_is_poisoned(bytes + 23) && mim_is_poisoned(bytes + 24));
    assert_false(mim_is_poisoned(mim_arena_at(&arena, large)));
    mim_arena_close(&arena);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_class_sizes_are_tight_and_ordered),
        cmocka_unit_test(test_blocks_are_zeroed_aligned_and_apart),
        cmocka_unit_test(test_the_same_calls_give_the_same_bytes_at_any_address),
        cmocka_unit_test(test_the_limit_is_kept_and_all_of_it_can_be_used),
        cmocka_unit_test(test_sizes_beyond_all_memory_are_refused_without_overflow),
        cmocka_unit_test(test_null_is_never_given_and_may_be_released),
        cmocka_unit_test(test_gaps_of_alignment_and_abandoned_runs_are_not_lost),
        cmocka_unit_test(test_large_blocks_begin_at_huge_pages_where_that_is_cheap),
        cmocka_unit_test(test_near_the_limit_a_large_block_goes_where_it_fits),
        cmocka_unit_test(test_pages_of_a_large_block_stay_untouched),
#ifdef MIM_ASAN
        cmocka_unit_test(test_a_sanitizer_build_knows_what_is_not_allocated),
#endif
    };
    return cmocka_run_group_tests_name("image/arena", tests, NULL, NULL);
}
