// SPDX-License-Identifier: MIT
// Commands from RESP pairs and from JSON: the same rules and sentences behind two faces.
#include "support.h"

static uint64_t words[512];

/** Fills the struct of `field` alone from one text; gives the code and keeps the sentence. */
static int from_text(const struct mim_field *field, const char *data, size_t size, void *object,
                     struct mim_error *error) {
    const struct mim_command_type type = {.name = "One", .size = 16, .fields = field, .field_count = 1};
    const struct mim_argument argument = {.name = mim_slice_text(field->name), .value = mim_slice_of(data, size)};
    struct mim_byte_writer scratch = support_scratch(words, MIM_COUNT_OF(words));
    *error = (struct mim_error){0};
    return mim_command_from_arguments(&type, &argument, 1, object, &scratch, error);
}

static int from_json(const struct mim_command_type *type, const char *json, void *object, struct mim_error *error) {
    struct mim_byte_writer scratch = support_scratch(words, MIM_COUNT_OF(words));
    *error = (struct mim_error){0};
    return mim_command_from_json(type, mim_slice_text(json), object, &scratch, error);
}

#define TEXT(literal) (literal), sizeof(literal) - 1

static void test_an_i64_is_strict_decimal_in_range(void **state) {
    (void)state;
    const struct mim_field field = {.name = "n", .type = MIM_I64};
    struct mim_error error;
    uint64_t room[2];
    static const struct {
        const char *text;
        size_t size;
        int64_t value;
    } good[] = {
        {TEXT("0"), 0},
        {TEXT("-1"), -1},
        {TEXT("10"), 10},
        {TEXT("9223372036854775807"), INT64_MAX},
        {TEXT("-9223372036854775808"), INT64_MIN},
    };
    for (size_t i = 0; i < MIM_COUNT_OF(good); i++) {
        assert_int_equal(from_text(&field, good[i].text, good[i].size, room, &error), 0);
        assert_true((int64_t)room[0] == good[i].value);
    }
    static const struct {
        const char *text;
        size_t size;
    } bad[] = {
        {TEXT("")},
        {TEXT("-")},
        {TEXT("+1")},
        {TEXT("01")},
        {TEXT("-0")},
        {TEXT(" 1")},
        {TEXT("1 ")},
        {TEXT("1.0")},
        {TEXT("1e3")},
        {TEXT("0x10")},
        {TEXT("--1")},
        {TEXT("1\0")},
        {TEXT("9223372036854775808")},
        {TEXT("-9223372036854775809")},
        {TEXT("99999999999999999999999999999999999999999")},
    };
    for (size_t i = 0; i < MIM_COUNT_OF(bad); i++) {
        assert_int_equal(from_text(&field, bad[i].text, bad[i].size, room, &error), MIM_E_INVALID);
    }
}

static void test_i32_u64_and_bool_have_their_own_ranges(void **state) {
    (void)state;
    struct mim_error error;
    uint64_t room[2];
    const struct mim_field small = {.name = "n", .type = MIM_I32};
    assert_int_equal(from_text(&small, TEXT("2147483647"), room, &error), 0);
    assert_int_equal(from_text(&small, TEXT("-2147483648"), room, &error), 0);
    assert_int_equal(from_text(&small, TEXT("2147483648"), room, &error), MIM_E_INVALID);
    const struct mim_field natural = {.name = "n", .type = MIM_U64};
    assert_int_equal(from_text(&natural, TEXT("18446744073709551615"), room, &error), 0);
    assert_true(room[0] == UINT64_MAX);
    assert_int_equal(from_text(&natural, TEXT("18446744073709551616"), room, &error), MIM_E_INVALID);
    assert_int_equal(from_text(&natural, TEXT("-1"), room, &error), MIM_E_INVALID);
    const struct mim_field flag = {.name = "n", .type = MIM_BOOL};
    static const char *const words_of_bool[] = {"false", "true", "0", "1"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(from_text(&flag, words_of_bool[i], strlen(words_of_bool[i]), room, &error), 0);
        assert_int_equal(*(const uint8_t *)room, i % 2);
    }
    assert_int_equal(from_text(&flag, TEXT("yes"), room, &error), MIM_E_INVALID);
    assert_int_equal(from_text(&flag, TEXT(""), room, &error), MIM_E_INVALID);
}

static void test_a_double_is_finite(void **state) {
    (void)state;
    struct mim_error error;
    double real;
    uint64_t room[2];
    const struct mim_field field = {.name = "n", .type = MIM_F64};
    assert_int_equal(from_text(&field, TEXT("-1.5e3"), room, &error), 0);
    memcpy(&real, room, sizeof(real));
    assert_true(real == -1500.0);
    static const char *const bad[] = {"", "nan", "inf", "-inf", "1e400", "1.5x", " 1", "\t1", "0x10"};
    for (size_t i = 0; i < MIM_COUNT_OF(bad); i++) {
        assert_int_equal(from_text(&field, bad[i], strlen(bad[i]), room, &error), MIM_E_INVALID);
    }
}

static void test_a_time_is_rfc_3339_or_unix_milliseconds(void **state) {
    (void)state;
    struct mim_error error;
    uint64_t room[2];
    const struct mim_field field = {.name = "at", .type = MIM_TIMESTAMP};
    assert_int_equal(from_text(&field, TEXT("2001-09-09T01:46:40.123Z"), room, &error), 0);
    assert_true((int64_t)room[0] == 1000000000123);
    assert_int_equal(from_text(&field, TEXT("1000000000123"), room, &error), 0);
    assert_true((int64_t)room[0] == 1000000000123);
    assert_int_equal(from_text(&field, TEXT("yesterday"), room, &error), MIM_E_INVALID);
    /* What RFC 3339 cannot say could not be shown: refused in every form. */
    assert_int_equal(from_text(&field, TEXT("253402300799999"), room, &error), 0);
    assert_int_equal(from_text(&field, TEXT("253402300800000"), room, &error), MIM_E_INVALID);
    assert_int_equal(from_text(&field, TEXT("-62167219200000"), room, &error), 0);
    assert_int_equal(from_text(&field, TEXT("-62167219200001"), room, &error), MIM_E_INVALID);
    assert_int_equal(from_text(&field, TEXT("9999-12-31T23:59:59-00:01"), room, &error), MIM_E_INVALID);
    support_assert_contains(error.text, "at: must be");
    assert_int_equal(from_text(&field, TEXT(""), room, &error), MIM_E_INVALID);
}

static void test_strings_are_utf_8_without_nul_and_within_their_bounds(void **state) {
    (void)state;
    struct mim_error error;
    uint64_t room[2];
    const struct mim_field text = {.name = "t", .type = MIM_STRING};
    assert_int_equal(from_text(&text, TEXT(""), room, &error), 0);
    assert_int_equal(from_text(&text, TEXT("h\xc3\xa9"), room, &error), 0);
    assert_int_equal(from_text(&text, TEXT("a\0b"), room, &error), MIM_E_INVALID);
    assert_int_equal(from_text(&text, TEXT("\xff"), room, &error), MIM_E_INVALID);
    const struct mim_field bytes = {.name = "t", .type = MIM_BYTES};
    assert_int_equal(from_text(&bytes, TEXT("a\0\xff"), room, &error), 0);
    const struct mim_field bounded = {.name = "t", .type = MIM_STRING, .min = 2, .max = 3};
    assert_int_equal(from_text(&bounded, TEXT("a"), room, &error), MIM_E_INVALID);
    assert_int_equal(from_text(&bounded, TEXT("ab"), room, &error), 0);
    assert_int_equal(from_text(&bounded, TEXT("abc"), room, &error), 0);
    assert_int_equal(from_text(&bounded, TEXT("abcd"), room, &error), MIM_E_INVALID);
    const struct mim_field letters = {.name = "t", .type = MIM_STRING, .flags = MIM_LETTERS, .min = 3, .max = 3};
    assert_int_equal(from_text(&letters, TEXT("CZk"), room, &error), 0);
    assert_int_equal(from_text(&letters, TEXT("C1K"), room, &error), MIM_E_INVALID);
    assert_int_equal(from_text(&letters, TEXT("C\xc3\xa9"), room, &error), MIM_E_INVALID);
    const struct mim_field id = {.name = "t", .type = MIM_STRING, .flags = MIM_ID};
    assert_int_equal(from_text(&id, TEXT("a-1"), room, &error), 0);
    assert_int_equal(from_text(&id, TEXT(""), room, &error), MIM_E_INVALID);
    assert_int_equal(from_text(&id, TEXT("a b"), room, &error), MIM_E_INVALID);
}

static void test_bounds_are_inclusive_and_the_sentence_names_them(void **state) {
    (void)state;
    struct mim_error error;
    uint64_t room[2];
    const struct mim_field open = {.name = "amount", .type = MIM_I64, .min = 1, .max = INT64_MAX};
    assert_int_equal(from_text(&open, TEXT("1"), room, &error), 0);
    assert_int_equal(from_text(&open, TEXT("0"), room, &error), MIM_E_INVALID);
    assert_string_equal(error.text, "amount: must be an integer >= 1");
    const struct mim_field closed = {.name = "n", .type = MIM_I32, .min = -5, .max = 5};
    assert_int_equal(from_text(&closed, TEXT("-5"), room, &error), 0);
    assert_int_equal(from_text(&closed, TEXT("5"), room, &error), 0);
    assert_int_equal(from_text(&closed, TEXT("6"), room, &error), MIM_E_INVALID);
    support_assert_contains(error.text, "from -5 to 5");
    const struct mim_field natural = {.name = "n", .type = MIM_U64, .min = 1, .max = 10};
    assert_int_equal(from_text(&natural, TEXT("18446744073709551615"), room, &error), MIM_E_INVALID);
}

/* ---------------------------------------------------------------- whole commands */

#define PAIR(field, text)                                                                                            \
    {                                                                                                                \
        .name = {(const uint8_t *)(field), sizeof(field) - 1}, .value = {(const uint8_t *)(text), sizeof(text) - 1 } \
    }

static int all_from(const struct mim_argument *arguments, size_t count, struct support_all *object,
                    struct mim_error *error) {
    struct mim_byte_writer scratch = support_scratch(words, MIM_COUNT_OF(words));
    *error = (struct mim_error){0};
    return mim_command_from_arguments(&support_command, arguments, count, object, &scratch, error);
}

#define REQUIRED                                                                                       \
    PAIR("flag", "1"), PAIR("small", "2"), PAIR("wide", "3"), PAIR("natural", "4"), PAIR("real", "5"), \
        PAIR("text", "six"), PAIR("bytes", "\0seven"), PAIR("time", "8")

static void test_defaults_fill_what_is_optional(void **state) {
    (void)state;
    struct support_all all;
    struct mim_error error;
    const struct mim_argument pairs[] = {REQUIRED};
    memset(&all, 0xee, sizeof(all));
    assert_int_equal(all_from(pairs, MIM_COUNT_OF(pairs), &all, &error), 0);
    assert_true(all.flag);
    assert_int_equal(all.small, 2);
    assert_int_equal(all.bytes.size, 6);
    assert_int_equal(all.optional, 7);
    assert_null(all.note.data);
    assert_int_equal(all.numbers.count, 0);
    assert_int_equal(all.tags.count, 0);
}

static void test_each_required_field_is_missed(void **state) {
    (void)state;
    struct support_all all;
    struct mim_error error;
    const struct mim_argument pairs[] = {REQUIRED};
    for (size_t left_out = 0; left_out < MIM_COUNT_OF(pairs); left_out++) {
        struct mim_argument some[MIM_COUNT_OF(pairs)];
        size_t count = 0;
        for (size_t i = 0; i < MIM_COUNT_OF(pairs); i++) {
            some[count] = pairs[i];
            count += i != left_out ? 1 : 0;
        }
        assert_int_equal(all_from(some, count, &all, &error), MIM_E_INVALID);
        support_assert_contains(error.text, support_fields[left_out].name);
        support_assert_contains(error.text, "missing");
    }
}

static void test_unknown_and_repeated_fields_are_refused(void **state) {
    (void)state;
    struct support_all all;
    struct mim_error error;
    const struct mim_argument unknown[] = {REQUIRED, PAIR("colour", "red")};
    assert_int_equal(all_from(unknown, MIM_COUNT_OF(unknown), &all, &error), MIM_E_INVALID);
    support_assert_contains(error.text, "colour");
    const struct mim_argument twice[] = {REQUIRED, PAIR("small", "2")};
    assert_int_equal(all_from(twice, MIM_COUNT_OF(twice), &all, &error), MIM_E_INVALID);
    support_assert_contains(error.text, "small: is given twice");
    static const struct mim_argument strange[] = {PAIR("", "1"), PAIR("smal", "1"), PAIR("smalls", "1"),
                                                  PAIR("small\0", "1"), PAIR("Small", "1")};
    for (size_t i = 0; i < MIM_COUNT_OF(strange); i++) {
        assert_int_equal(all_from(&strange[i], 1, &all, &error), MIM_E_INVALID);
    }
}

static void test_a_repeated_list_field_is_one_list(void **state) {
    (void)state;
    struct support_all all;
    struct mim_error error;
    const struct mim_argument pairs[] = {PAIR("tags", "a"), PAIR("numbers", "1"),  REQUIRED,
                                         PAIR("tags", ""),  PAIR("numbers", "-2"), PAIR("tags", "c d")};
    assert_int_equal(all_from(pairs, MIM_COUNT_OF(pairs), &all, &error), 0);
    assert_int_equal(all.numbers.count, 2);
    assert_int_equal(((const int64_t *)all.numbers.items)[1], -2);
    assert_int_equal(all.tags.count, 3);
    const struct mim_string *tags = all.tags.items;
    assert_int_equal(tags[1].size, 0);
    assert_non_null(tags[1].data);
    assert_memory_equal(tags[2].data, "c d", 3);
    const struct mim_argument bad[] = {REQUIRED, PAIR("numbers", "1"), PAIR("numbers", "x")};
    assert_int_equal(all_from(bad, MIM_COUNT_OF(bad), &all, &error), MIM_E_INVALID);
    support_assert_contains(error.text, "numbers: must be a list");
    const struct mim_argument array[] = {REQUIRED, PAIR("numbers", "[1, -2]"), PAIR("tags", "[\"[x\",\"\"]")};
    assert_int_equal(all_from(array, MIM_COUNT_OF(array), &all, &error), 0);
    assert_int_equal(all.numbers.count, 2);
    assert_int_equal(((const int64_t *)all.numbers.items)[1], -2);
    assert_int_equal(all.tags.count, 2);
    assert_memory_equal(((const struct mim_string *)all.tags.items)[0].data, "[x", 2);
    static const struct mim_argument broken[] = {PAIR("numbers", "[1"), PAIR("numbers", "[1]x"), PAIR("tags", "[1]")};
    for (size_t i = 0; i < MIM_COUNT_OF(broken); i++) {
        assert_int_equal(all_from(&broken[i], 1, &all, &error), MIM_E_INVALID);
    }
}

static void test_a_list_that_the_scratch_cannot_hold_is_refused(void **state) {
    (void)state;
    struct support_all all;
    struct mim_error error = {0};
    struct mim_byte_writer scratch = support_scratch(words, 1);
    const struct mim_argument pairs[] = {PAIR("numbers", "1"), PAIR("numbers", "2")};
    assert_int_equal(mim_command_from_arguments(&support_command, pairs, 2, &all, &scratch, &error), MIM_E_INVALID);
}

/* ------------------------------------------------------------------------ JSON */

#define JSON_REQUIRED                                                                                               \
    "\"flag\":true,\"small\":2,\"wide\":-3,\"natural\":4,\"real\":5,\"text\":\"s\\u00e9 \\\"\",\"bytes\":\"AP8=\"," \
    "\"time\":\"1970-01-01T00:00:01Z\""

static void test_a_json_object_fills_every_type(void **state) {
    (void)state;
    struct support_all all;
    struct mim_error error;
    assert_int_equal(from_json(&support_command,
                               " {" JSON_REQUIRED ", \"numbers\" : [1, -2],\"tags\":[\"x\",\"\"],\"note\":null} ", &all,
                               &error),
                     0);
    assert_true(all.flag);
    assert_int_equal(all.wide, -3);
    assert_true(all.real == 5.0);
    assert_memory_equal(all.text.data, "s\xc3\xa9 \"", 5);
    assert_int_equal(all.text.size, 5);
    assert_int_equal(all.bytes.size, 2);
    assert_memory_equal(all.bytes.data, "\0\xff", 2);
    assert_int_equal(all.time, 1000);
    assert_int_equal(all.optional, 7);
    assert_null(all.note.data);
    assert_int_equal(all.numbers.count, 2);
    assert_int_equal(all.tags.count, 2);
}

static void test_json_types_are_strict(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{\"small\":\"2\"}",   "{\"small\":2.0}",        "{\"small\":2e0}",
        "{\"small\":true}",    "{\"small\":null}",       "{\"small\":[2]}",
        "{\"small\":{}}",      "{\"small\":2147483648}", "{\"wide\":9223372036854775808}",
        "{\"natural\":-1}",    "{\"flag\":1}",           "{\"flag\":\"true\"}",
        "{\"text\":5}",        "{\"text\":\"\\u0000\"}", "{\"text\":\"\\ud800\"}",
        "{\"text\":\"\xff\"}", "{\"bytes\":\"A\"}",      "{\"bytes\":\"@@@@\"}",
        "{\"time\":\"12\"}",   "{\"time\":1.5}",         "{\"real\":\"1\"}",
        "{\"real\":1e999}",    "{\"numbers\":1}",        "{\"numbers\":[1,\"2\"]}",
        "{\"numbers\":[[1]]}", "{\"tags\":[null]}",
    };
    for (size_t i = 0; i < MIM_COUNT_OF(bad); i++) {
        struct support_all all;
        struct mim_error error;
        assert_int_equal(from_json(&support_command, bad[i], &all, &error), MIM_E_INVALID);
        assert_true(error.text[0] != '\0');
        assert_null(strstr(error.text, "missing")); /* the value itself was refused, not the rest missed */
    }
}

static void test_malformed_json_is_refused_whole(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[]",
        "1",
        "null",
        "\"a\"",
        "{\"small\":2",
        "{\"small\"}",
        "{\"small\":2,}",
        "{small:2}",
        "{'small':2}",
        "{\"small\":2}x",
        "{\"small\":2}{}",
        "{\"small\":02}",
        "{\"small\":+2}",
        "{\"small\":2}\1",
        "{\"small\":1,\"small\":1}",
        "{\"smal\\u006c\":1,\"small\":1}",
        "{\"colour\":1}",
        "{\"\":1}",
    };
    for (size_t i = 0; i < MIM_COUNT_OF(bad); i++) {
        struct support_all all;
        struct mim_error error;
        assert_int_equal(from_json(&support_command, bad[i], &all, &error), MIM_E_INVALID);
        assert_null(strstr(error.text, "missing"));
    }
    char deep[6000] = "{\"small\":";
    memset(deep + 9, '[', sizeof(deep) - 10);
    struct support_all all;
    struct mim_error error;
    assert_int_equal(from_json(&support_command, deep, &all, &error), MIM_E_INVALID);
}

static void test_parse_i64_keeps_to_its_range(void **state) {
    (void)state;
    int64_t value = 77;
    assert_true(mim_parse_i64(mim_string_of("10000"), 1, 10000, &value));
    assert_int_equal(value, 10000);
    assert_false(mim_parse_i64(mim_string_of("10001"), 1, 10000, &value));
    assert_false(mim_parse_i64(mim_string_of("0"), 1, 10000, &value));
    assert_false(mim_parse_i64(mim_string_of(""), 1, 10000, &value));
    assert_false(mim_parse_i64(mim_string_of(NULL), 1, 10000, &value));
    assert_int_equal(value, 10000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_i64_is_strict_decimal_in_range),
        cmocka_unit_test(test_i32_u64_and_bool_have_their_own_ranges),
        cmocka_unit_test(test_a_double_is_finite),
        cmocka_unit_test(test_a_time_is_rfc_3339_or_unix_milliseconds),
        cmocka_unit_test(test_strings_are_utf_8_without_nul_and_within_their_bounds),
        cmocka_unit_test(test_bounds_are_inclusive_and_the_sentence_names_them),
        cmocka_unit_test(test_defaults_fill_what_is_optional),
        cmocka_unit_test(test_each_required_field_is_missed),
        cmocka_unit_test(test_unknown_and_repeated_fields_are_refused),
        cmocka_unit_test(test_a_repeated_list_field_is_one_list),
        cmocka_unit_test(test_a_list_that_the_scratch_cannot_hold_is_refused),
        cmocka_unit_test(test_a_json_object_fills_every_type),
        cmocka_unit_test(test_json_types_are_strict),
        cmocka_unit_test(test_malformed_json_is_refused_whole),
        cmocka_unit_test(test_parse_i64_keeps_to_its_range),
    };
    return cmocka_run_group_tests_name("model/fields", tests, NULL, NULL);
}
