// SPDX-License-Identifier: MIT
// Journal payloads: their exact bytes, what is left out at the end, and that no bytes are too strange to be refused.
#include "support.h"

struct small {
    int64_t amount;
    struct mim_string note;
    int32_t level;
};

static const struct mim_field small_fields[] = {
    MIM_FIELD(struct small, amount, MIM_I64),
    MIM_FIELD(struct small, note, MIM_STRING, .flags = MIM_OPTIONAL),
    MIM_FIELD(struct small, level, MIM_I32, .flags = MIM_OPTIONAL, .fallback = -3),
};

static size_t encode(const struct small *object, uint8_t bytes[64]) {
    size_t size = mim_payload_encode(small_fields, 3, object, bytes);
    assert_true(size <= sizeof(*object) + object->note.size);
    return size;
}

static bool decode(const void *bytes, size_t size, struct small *ret_object) {
    uint64_t words[8];
    struct mim_byte_writer scratch = support_scratch(words, 8);
    memset(ret_object, 0x5a, sizeof(*ret_object));
    return mim_payload_decode(small_fields, 3, mim_slice_of(bytes, size), ret_object, &scratch);
}

static void test_fields_are_packed_little_endian_in_order(void **state) {
    (void)state;
    uint8_t bytes[64];
    const struct small object = {.amount = 0x0102030405060708, .note = mim_string_of("hi"), .level = 9};
    static const uint8_t wanted[] = {8, 7, 6, 5, 4, 3, 2, 1, 2, 0, 0, 0, 'h', 'i', 9, 0, 0, 0};
    assert_int_equal(encode(&object, bytes), sizeof(wanted));
    assert_memory_equal(bytes, wanted, sizeof(wanted));
}

static void test_an_absent_note_and_a_fallback_at_the_end_cost_nothing(void **state) {
    (void)state;
    uint8_t bytes[64];
    assert_int_equal(encode(&(struct small){.amount = 5, .level = -3}, bytes), 8);
    assert_int_equal(encode(&(struct small){.level = -3}, bytes), 0);
    /* an absent note before something that counts is marked as absent */
    static const uint8_t wanted[] = {0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    assert_int_equal(encode(&(struct small){.level = 0}, bytes), sizeof(wanted));
    assert_memory_equal(bytes, wanted, sizeof(wanted));
}

static void test_what_is_missing_reads_as_fallback_and_absent(void **state) {
    (void)state;
    struct small object;
    assert_true(decode(NULL, 0, &object));
    assert_int_equal(object.amount, 0);
    assert_null(object.note.data);
    assert_int_equal(object.level, -3);
    assert_true(decode("\1\0\0\0\0\0\0\0", 8, &object));
    assert_int_equal(object.amount, 1);
    assert_null(object.note.data);
    assert_int_equal(object.level, -3);
}

static void test_an_empty_string_is_not_an_absent_one(void **state) {
    (void)state;
    uint8_t bytes[64];
    struct small object;
    size_t size = encode(&(struct small){.amount = 1, .note = mim_string_of(""), .level = -3}, bytes);
    assert_int_equal(size, 12);
    assert_true(decode(bytes, size, &object));
    assert_non_null(object.note.data);
    assert_int_equal(object.note.size, 0);
}

static void test_every_cut_within_a_field_is_refused(void **state) {
    (void)state;
    uint8_t bytes[64];
    size_t size = encode(&(struct small){.amount = 1, .note = mim_string_of("note"), .level = 4}, bytes);
    assert_int_equal(size, 20);
    for (size_t cut = 0; cut <= size; cut++) {
        struct small object;
        uint8_t *copy = malloc(cut + 1); /* its end is where the address sanitizer looks */
        memcpy(copy, bytes, cut);
        bool whole = cut == 0 || cut == 8 || cut == 16 || cut == 20;
        assert_int_equal(decode(copy, cut, &object), whole);
        free(copy);
    }
}

static void test_bytes_behind_the_last_field_are_refused(void **state) {
    (void)state;
    uint8_t bytes[64] = {0};
    struct small object;
    size_t size = encode(&(struct small){.amount = 1, .note = mim_string_of("n"), .level = 4}, bytes);
    assert_true(decode(bytes, size, &object));
    assert_false(decode(bytes, size + 1, &object));
}

static void test_a_string_larger_than_the_payload_is_refused(void **state) {
    (void)state;
    struct small object;
    static const uint8_t sizes[][4] = {{1, 0, 0, 0}, {0, 0, 0, 0x80}, {0xfe, 0xff, 0xff, 0xff}};
    for (size_t i = 0; i < MIM_COUNT_OF(sizes); i++) {
        uint8_t bytes[12] = {0};
        memcpy(bytes + 8, sizes[i], 4);
        assert_false(decode(bytes, sizeof(bytes), &object));
    }
}

static void test_a_bool_is_0_or_1(void **state) {
    (void)state;
    static const struct mim_field fields[] = {{.name = "flag", .type = MIM_BOOL}};
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t bytes[1] = {(uint8_t)byte};
        bool flag = false;
        assert_int_equal(mim_payload_decode(fields, 1, mim_slice_of(bytes, 1), &flag, NULL), byte <= 1);
    }
}

static void test_a_list_of_bools_holds_bools(void **state) {
    (void)state;
    static const struct mim_field fields[] = {{.name = "flags", .type = MIM_BOOL, .flags = MIM_LIST}};
    uint64_t words[2];
    struct mim_list list;
    struct mim_byte_writer scratch = support_scratch(words, 2);
    assert_true(mim_payload_decode(fields, 1, mim_slice_of("\2\0\0\0\0\1", 6), &list, &scratch));
    assert_int_equal(list.count, 2);
    scratch = support_scratch(words, 2);
    assert_false(mim_payload_decode(fields, 1, mim_slice_of("\2\0\0\0\0\2", 6), &list, &scratch));
}

static void test_a_negative_zero_is_kept(void **state) {
    (void)state;
    static const struct mim_field fields[] = {{.name = "real", .type = MIM_F64}};
    double real = 0;
    uint8_t bytes[8];
    assert_int_equal(mim_payload_encode(fields, 1, &real, bytes), 0);
    real = -0.0;
    assert_int_equal(mim_payload_encode(fields, 1, &real, bytes), 8);
}

/* ---------------------------------------------------------------------- lists */

struct listed {
    struct mim_list numbers;
    struct mim_list tags;
};

static const struct mim_field listed_fields[] = {
    MIM_FIELD(struct listed, numbers, MIM_I32, .flags = MIM_LIST),
    MIM_FIELD(struct listed, tags, MIM_STRING, .flags = MIM_LIST),
};

static void test_lists_are_laid_out_aligned_in_the_scratch(void **state) {
    (void)state;
    static const int32_t numbers[] = {1, -2, 3};
    static const struct mim_string tags[] = {{"a", 1}, {"", 0}, {"long tag", 8}};
    const struct listed object = {.numbers = {numbers, 3}, .tags = {tags, 3}};
    uint8_t bytes[64];
    size_t size = mim_payload_encode(listed_fields, 2, &object, bytes);
    assert_int_equal(size, 4 + 3 * 4 + 4 + 3 * 4 + 9);
    uint64_t words[16];
    struct listed back;
    for (size_t room = 0; room <= 16; room++) {
        struct mim_byte_writer scratch = support_scratch(words, room);
        bool enough = room * 8 >= 16 + 3 * sizeof(struct mim_string); /* 12 bytes of numbers, aligned */
        assert_int_equal(mim_payload_decode(listed_fields, 2, mim_slice_of(bytes, size), &back, &scratch), enough);
    }
    assert_int_equal(back.numbers.count, 3);
    assert_memory_equal(back.numbers.items, numbers, sizeof(numbers));
    const struct mim_string *read = back.tags.items;
    assert_int_equal((uintptr_t)read % 8, 0);
    for (size_t i = 0; i < 3; i++) {
        assert_true(mim_slice_equal(support_slice(read[i]), support_slice(tags[i])));
    }
}

static void test_a_list_that_claims_too_many_items_takes_no_memory(void **state) {
    (void)state;
    uint64_t words[4];
    struct mim_byte_writer scratch = support_scratch(words, 4);
    struct listed object;
    static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4};
    assert_false(mim_payload_decode(listed_fields, 2, mim_slice_of(bytes, sizeof(bytes)), &object, &scratch));
    assert_int_equal(scratch.size, 0);
    scratch = support_scratch(words, 4);
    static const uint8_t three[] = {3, 0, 0, 0, 1, 2, 3, 4}; /* the scratch could hold them, the payload does not */
    assert_false(mim_payload_decode(listed_fields, 2, mim_slice_of(three, sizeof(three)), &object, &scratch));
    assert_int_equal(scratch.size, 0);
    scratch = support_scratch(words, 4);
    static const uint8_t strings[] = {0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0};
    assert_false(mim_payload_decode(listed_fields, 2, mim_slice_of(strings, sizeof(strings)), &object, &scratch));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_are_packed_little_endian_in_order),
        cmocka_unit_test(test_an_absent_note_and_a_fallback_at_the_end_cost_nothing),
        cmocka_unit_test(test_what_is_missing_reads_as_fallback_and_absent),
        cmocka_unit_test(test_an_empty_string_is_not_an_absent_one),
        cmocka_unit_test(test_every_cut_within_a_field_is_refused),
        cmocka_unit_test(test_bytes_behind_the_last_field_are_refused),
        cmocka_unit_test(test_a_string_larger_than_the_payload_is_refused),
        cmocka_unit_test(test_a_bool_is_0_or_1),
        cmocka_unit_test(test_a_list_of_bools_holds_bools),
        cmocka_unit_test(test_a_negative_zero_is_kept),
        cmocka_unit_test(test_lists_are_laid_out_aligned_in_the_scratch),
        cmocka_unit_test(test_a_list_that_claims_too_many_items_takes_no_memory),
    };
    return cmocka_run_group_tests_name("model/payload", tests, NULL, NULL);
}
