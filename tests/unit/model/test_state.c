// SPDX-License-Identifier: MIT
// States in the image: what GET shows, and a hash that sees values alone, wherever and in whatever order they lie.
#include "image/containers.h"
#include "support.h"

struct cart {
    struct mim_text name;
    struct mim_text blob;
    int64_t total;
    int64_t since;
    int64_t cache;
    struct mim_vec lines;
    struct mim_vec tags;
    struct mim_map counts;
    int32_t level;
    bool open;
};

static const struct mim_field cart_fields[] = {
    MIM_FIELD(struct cart, name, MIM_STRING),
    MIM_FIELD(struct cart, blob, MIM_BYTES),
    MIM_FIELD(struct cart, total, MIM_I64),
    MIM_FIELD(struct cart, since, MIM_TIMESTAMP),
    MIM_FIELD(struct cart, cache, MIM_I64, .flags = MIM_HIDDEN),
    MIM_FIELD(struct cart, lines, MIM_I32, .flags = MIM_LIST),
    MIM_FIELD(struct cart, tags, MIM_STRING, .flags = MIM_LIST),
    MIM_FIELD(struct cart, counts, MIM_COUNTS),
    MIM_FIELD(struct cart, level, MIM_I32),
    MIM_FIELD(struct cart, open, MIM_BOOL),
};
#define CART_FIELDS cart_fields, (uint32_t)MIM_COUNT_OF(cart_fields)

static struct mim_arena open_arena(void) {
    struct mim_arena arena = {0};
    struct mim_error error = {0};
    assert_int_equal(mim_arena_open(&arena, 16u << 20, &error), 0);
    return arena;
}

static void count(struct mim_arena *arena, struct cart *cart, const char *key, int64_t value) {
    int64_t *at = mim_map_put_in(arena, &cart->counts, sizeof(int64_t), mim_string_of(key));
    assert_non_null(at);
    *at = value;
}

static void fill(struct mim_arena *arena, struct cart *cart) {
    assert_true(mim_text_assign(arena, &cart->name, mim_slice_text("a name \"longer\" than seven bytes")));
    assert_true(mim_text_assign(arena, &cart->blob, mim_slice_of("\0\1", 2)));
    cart->total = -5;
    cart->since = 1000;
    cart->level = 3;
    cart->open = true;
    for (int32_t i = 1; i <= 3; i++) {
        *(int32_t *)mim_vec_push_in(arena, &cart->lines, sizeof(int32_t)) = -i;
    }
    assert_true(
        mim_text_assign(arena, mim_vec_push_in(arena, &cart->tags, sizeof(struct mim_text)), mim_slice_text("red")));
    assert_non_null(mim_vec_push_in(arena, &cart->tags, sizeof(struct mim_text)));
}

static void test_a_state_of_zeros_is_shown_whole(void **state) {
    (void)state;
    struct mim_arena arena = open_arena();
    struct mim_buffer out = {0};
    struct mim_json j = mim_json_to(&out);
    const struct cart cart = {0};
    mim_json_image_state(&j, &arena, CART_FIELDS, &cart);
    assert_string_equal(support_text(&out),
                        "{\"name\":\"\",\"blob\":\"\",\"total\":0,\"since\":\"1970-01-01T00:00:00.000Z\",\"lines\":[],"
                        "\"tags\":[],\"counts\":{},\"level\":0,\"open\":false}");
    mim_buffer_deinit(&out);
    mim_arena_close(&arena);
}

static void test_every_type_of_a_state_is_shown_and_hidden_fields_are_not(void **state) {
    (void)state;
    struct mim_arena arena = open_arena();
    struct mim_buffer out = {0};
    struct mim_json j = mim_json_to(&out);
    struct cart cart = {.cache = 99};
    fill(&arena, &cart);
    count(&arena, &cart, "k\n", INT64_MIN);
    mim_json_image_state(&j, &arena, CART_FIELDS, &cart);
    assert_string_equal(support_text(&out), "{\"name\":\"a name \\\"longer\\\" than seven bytes\",\"blob\":\"AAE=\","
                                            "\"total\":-5,\"since\":\"1970-01-01T00:00:01.000Z\",\"lines\":[-1,-2,-3],"
                                            "\"tags\":[\"red\",\"\"],\"counts\":{\"k\\n\":-9223372036854775808},"
                                            "\"level\":3,\"open\":true}");
    mim_buffer_deinit(&out);
    mim_arena_close(&arena);
}

static void test_the_hash_sees_values_not_places(void **state) {
    (void)state;
    struct mim_arena one = open_arena();
    struct mim_arena other = open_arena();
    (void)mim_arena_alloc(&other, 4096); /* everything lies elsewhere */
    struct cart a = {.cache = 1};
    struct cart b = {.cache = 2};
    fill(&one, &a);
    fill(&other, &b);
    char key[16];
    for (int i = 0; i < 300; i++) {
        (void)snprintf(key, sizeof(key), "key-%d", i);
        count(&one, &a, key, i);
        (void)snprintf(key, sizeof(key), "key-%d", 299 - i);
        count(&other, &b, key, 299 - i);
    }
    uint64_t hash = mim_state_hash(&one, CART_FIELDS, &a, 1);
    assert_true(hash == mim_state_hash(&other, CART_FIELDS, &b, 1));
    assert_true(hash != mim_state_hash(&one, CART_FIELDS, &a, 2));
    count(&other, &b, "key-7", 8);
    assert_true(hash != mim_state_hash(&other, CART_FIELDS, &b, 1));
    count(&other, &b, "key-7", 7);
    assert_true(hash == mim_state_hash(&other, CART_FIELDS, &b, 1));
    assert_true(mim_map_remove_in(&other, &b.counts, mim_string_of("key-7")));
    assert_true(hash != mim_state_hash(&other, CART_FIELDS, &b, 1));
    mim_arena_close(&one);
    mim_arena_close(&other);
}

static void test_the_hash_is_free_of_offsets_and_changes_with_every_shown_field(void **state) {
    (void)state;
    struct moved {
        int64_t padding;
        struct mim_text name;
        bool open;
        int64_t total;
    };
    static const struct mim_field narrow[] = {MIM_FIELD(struct cart, name, MIM_STRING),
                                              MIM_FIELD(struct cart, total, MIM_I64),
                                              MIM_FIELD(struct cart, open, MIM_BOOL)};
    static const struct mim_field moved_fields[] = {MIM_FIELD(struct moved, name, MIM_STRING),
                                                    MIM_FIELD(struct moved, total, MIM_I64),
                                                    MIM_FIELD(struct moved, open, MIM_BOOL)};
    struct mim_arena arena = open_arena();
    struct cart cart = {.total = 12, .open = true};
    struct moved moved = {.padding = 55, .total = 12, .open = true};
    assert_true(mim_text_assign(&arena, &cart.name, mim_slice_text("n")));
    assert_true(mim_text_assign(&arena, &moved.name, mim_slice_text("n")));
    uint64_t hash = mim_state_hash(&arena, narrow, 3, &cart, 0);
    assert_true(hash == mim_state_hash(&arena, moved_fields, 3, &moved, 0));
    moved.total = 13;
    assert_true(hash != mim_state_hash(&arena, moved_fields, 3, &moved, 0));
    moved.total = 12;
    moved.open = false;
    assert_true(hash != mim_state_hash(&arena, moved_fields, 3, &moved, 0));
    moved.open = true;
    mim_text_clear(&arena, &moved.name);
    assert_true(hash != mim_state_hash(&arena, moved_fields, 3, &moved, 0));
    mim_arena_close(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_state_of_zeros_is_shown_whole),
        cmocka_unit_test(test_every_type_of_a_state_is_shown_and_hidden_fields_are_not),
        cmocka_unit_test(test_the_hash_sees_values_not_places),
        cmocka_unit_test(test_the_hash_is_free_of_offsets_and_changes_with_every_shown_field),
    };
    return cmocka_run_group_tests_name("model/state", tests, NULL, NULL);
}
