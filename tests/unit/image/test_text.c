// SPDX-License-Identifier: MIT
// Texts: inline and in blocks, replaced by parts of themselves, refused without change.
#include "support.h"

static void assert_text(const struct mim_arena *arena, const struct mim_text *text, const char *bytes, size_t size) {
    struct mim_slice slice = mim_text_slice(arena, text);
    assert_int_equal(slice.size, size);
    assert_true(size == 0 || memcmp(slice.data, bytes, size) == 0);
}

static void test_every_size_to_every_size(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    char bytes[200];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char)(i + 1);
    }
    for (size_t from = 0; from < sizeof(bytes); from++) {
        for (size_t to = 0; to < sizeof(bytes); to++) {
            struct mim_text text = {0};
            assert_true(mim_text_assign(&arena, &text, mim_slice_of(bytes, from)));
            assert_text(&arena, &text, bytes, from);
            assert_true(mim_text_assign(&arena, &text, mim_slice_of(bytes, to)));
            assert_text(&arena, &text, bytes, to);
            assert_int_equal(text.bits == 0, to == 0);
            mim_text_clear(&arena, &text);
            assert_int_equal(text.bits, 0);
        }
    }
    assert_true(support_all_released(&arena));
    mim_arena_close(&arena);
}

static void test_seven_bytes_cost_no_memory(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    support_limit(&arena, 0);
    struct mim_text text = {0};
    assert_true(mim_text_assign(&arena, &text,
                                mim_slice_of("\0\xff"
                                             "abc\0z",
                                             7)));
    assert_text(&arena, &text,
                "\0\xff"
                "abc\0z",
                7);
    assert_false(mim_text_assign(&arena, &text, mim_slice_text("12345678")));
    assert_text(&arena, &text,
                "\0\xff"
                "abc\0z",
                7);
    mim_arena_close(&arena);
}

static void test_a_text_may_become_a_part_of_itself(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    const char *bytes = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t size = strlen(bytes);
    for (size_t begin = 0; begin <= size; begin++) {
        for (size_t end = begin; end <= size; end++) {
            struct mim_text text = {0};
            assert_true(mim_text_assign(&arena, &text, mim_slice_of(bytes, size)));
            struct mim_slice own = mim_text_slice(&arena, &text);
            assert_true(mim_text_assign(&arena, &text, mim_slice_of(own.data + begin, end - begin)));
            assert_text(&arena, &text, bytes + begin, end - begin);
            mim_text_clear(&arena, &text);
        }
    }
    struct mim_text text = {0};
    assert_true(mim_text_assign(&arena, &text, mim_slice_text("inline")));
    assert_true(mim_text_assign(&arena, &text, mim_slice_of(mim_text_slice(&arena, &text).data + 2, 4)));
    assert_text(&arena, &text, "line", 4);
    mim_arena_close(&arena);
}

static void test_a_full_arena_leaves_the_text_unchanged(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    struct mim_text text = {0};
    assert_true(mim_text_assign(&arena, &text, mim_slice_text("a text of some length")));
    while (!mim_ref_is_null(mim_arena_alloc(&arena, 64))) {
        arena.limit = 0;
    }
    assert_true(mim_text_assign(&arena, &text, mim_slice_text("a text of SOME length")));
    assert_false(mim_text_assign(&arena, &text,
                                 mim_slice_text("a text that is much longer than the one before, "
                                                "so that it needs another block than the one")));
    assert_text(&arena, &text, "a text of SOME length", 21);
    if (sizeof(size_t) > 4) {
        assert_false(mim_text_assign(&arena, &text, mim_slice_of("", (size_t)1 << 33)));
    }
    mim_arena_close(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size_to_every_size),
        cmocka_unit_test(test_seven_bytes_cost_no_memory),
        cmocka_unit_test(test_a_text_may_become_a_part_of_itself),
        cmocka_unit_test(test_a_full_arena_leaves_the_text_unchanged),
    };
    return cmocka_run_group_tests_name("image/text", tests, NULL, NULL);
}
