// SPDX-License-Identifier: MIT
// JSON as it is written: commas, escapes, the ends of every number, structs, payloads without the model; and the text
// checks behind it: UTF-8, ids, base64.
#include <math.h>

#include "model/field.h"
#include "support.h"

static struct mim_buffer out;

static struct mim_json begin(void) {
    out.size = 0;
    return mim_json_to(&out);
}

static void test_commas_stand_between_members_only(void **state) {
    (void)state;
    struct mim_json j = begin();
    mim_json_object(&j);
    mim_json_key(&j, "a");
    mim_json_array(&j);
    mim_json_i64(&j, 1);
    mim_json_object(&j);
    mim_json_object_end(&j);
    mim_json_i64(&j, -2);
    mim_json_bool(&j, true);
    mim_json_null(&j);
    mim_json_array_end(&j);
    mim_json_key_string(&j, mim_string_of("b\"c"));
    mim_json_raw(&j, mim_slice_text("{\"x\":1}"));
    mim_json_key(&j, "d");
    mim_json_array(&j);
    mim_json_array_end(&j);
    mim_json_object_end(&j);
    assert_string_equal(support_text(&out), "{\"a\":[1,{},-2,true,null],\"b\\\"c\":{\"x\":1},\"d\":[]}");
}

static void test_numbers_to_their_ends(void **state) {
    (void)state;
    struct mim_json j = begin();
    mim_json_array(&j);
    mim_json_i64(&j, INT64_MIN);
    mim_json_i64(&j, INT64_MAX);
    mim_json_i64(&j, 0);
    mim_json_u64(&j, UINT64_MAX);
    for (uint64_t power = 1; power <= 1000000; power *= 10) {
        mim_json_u64(&j, power - 1);
        mim_json_u64(&j, power);
    }
    mim_json_array_end(&j);
    assert_string_equal(support_text(&out),
                        "[-9223372036854775808,9223372036854775807,0,18446744073709551615,0,1,9,10,99,100,999,1000,"
                        "9999,10000,99999,100000,999999,1000000]");
}

static void test_doubles_read_back_the_same_and_infinities_are_null(void **state) {
    (void)state;
    static const double values[] = {0.1, 1.0, -0.0, 1e300, 5e-324, 1.0 / 3, 123456789.123456789};
    for (size_t i = 0; i < MIM_COUNT_OF(values); i++) {
        struct mim_json j = begin();
        mim_json_f64(&j, values[i]);
        double back = strtod(support_text(&out), NULL);
        assert_memory_equal(&back, &values[i], sizeof(back));
    }
    struct mim_json j = begin();
    mim_json_array(&j);
    mim_json_f64(&j, 0.1);
    mim_json_f64(&j, -0.0);
    mim_json_f64(&j, (double)INFINITY);
    mim_json_f64(&j, (double)NAN);
    mim_json_array_end(&j);
    assert_string_equal(support_text(&out), "[0.1,-0.0,null,null]");
}

static void test_every_ascii_character_at_every_place_is_escaped_right(void **state) {
    (void)state;
    for (unsigned c = 0; c < 0x80; c++) {
        for (size_t place = 0; place < 20; place++) {
            char text[20];
            memset(text, 'x', sizeof(text));
            text[place] = (char)c;
            struct mim_json j = begin();
            mim_json_string(&j, (struct mim_string){text, sizeof(text)});
            bool escaped = c < 0x20 || c == '"' || c == '\\';
            size_t extra = out.size - sizeof(text) - 2;
            assert_true(escaped ? extra == 1 || extra == 5 : extra == 0);
            assert_int_equal(out.data[1 + place], escaped ? '\\' : c);
            for (size_t i = 0; i < out.size; i++) {
                assert_true(out.data[i] >= 0x20);
            }
        }
    }
}

static void test_an_empty_and_an_absent_string_are_two_quotes(void **state) {
    (void)state;
    struct mim_json j = begin();
    mim_json_array(&j);
    mim_json_string(&j, mim_string_of(""));
    mim_json_string(&j, (struct mim_string){0});
    mim_json_array_end(&j);
    assert_string_equal(support_text(&out), "[\"\",\"\"]");
}

/* -------------------------------------------------------- structs and payloads */

static const int64_t some_numbers[] = {1, -2};
static const struct mim_string some_tags[] = {{"a", 1}, {"", 0}};
static const struct support_all full = {
    .flag = true,
    .small = -1,
    .wide = 2,
    .natural = UINT64_MAX,
    .real = 0.5,
    .text = {"t\"", 2},
    .bytes = {"\0\xff", 2},
    .time = 1000,
    .optional = 7,
    .note = {"n", 1},
    .numbers = {some_numbers, 2},
    .tags = {some_tags, 2},
};
static const char full_json[] = "{\"flag\":true,\"small\":-1,\"wide\":2,\"natural\":18446744073709551615,\"real\":0.5,"
                                "\"text\":\"t\\\"\",\"bytes\":\"AP8=\",\"time\":\"1970-01-01T00:00:01.000Z\","
                                "\"optional\":7,\"note\":\"n\",\"numbers\":[1,-2],\"tags\":[\"a\",\"\"]}";

static void test_a_struct_is_an_object_without_what_is_absent(void **state) {
    (void)state;
    struct mim_json j = begin();
    mim_json_struct(&j, support_fields, SUPPORT_FIELD_COUNT, &full);
    assert_string_equal(support_text(&out), full_json);
    struct support_all bare = full;
    bare.note = (struct mim_string){0};
    bare.numbers = bare.tags = (struct mim_list){0};
    j = begin();
    mim_json_struct(&j, support_fields, SUPPORT_FIELD_COUNT, &bare);
    assert_null(strstr(support_text(&out), "note"));
    assert_null(strstr(support_text(&out), "numbers"));
}

static void define(struct mim_definition *ret_definition) {
    *ret_definition = (struct mim_definition){.kind = MIM_DEFINE_EVENT,
                                              .number = 1,
                                              .aggregate = 1,
                                              .version = 1,
                                              .name = mim_slice_text("All"),
                                              .field_count = SUPPORT_FIELD_COUNT};
    for (uint32_t i = 0; i < SUPPORT_FIELD_COUNT; i++) {
        ret_definition->fields[i] = (struct mim_definition_field){
            .type = (uint8_t)support_fields[i].type,
            .flags = (uint8_t)(support_fields[i].flags & MIM_DEFINITION_FLAGS),
            .fallback = support_fields[i].fallback,
            .name = mim_slice_text(support_fields[i].name),
        };
    }
}

static void test_a_payload_alone_gives_the_same_json_as_the_struct(void **state) {
    (void)state;
    struct mim_definition definition;
    define(&definition);
    uint8_t bytes[256];
    size_t size = mim_payload_encode(support_fields, SUPPORT_FIELD_COUNT, &full, bytes);
    struct mim_json j = begin();
    assert_true(mim_json_payload(&j, &definition, mim_slice_of(bytes, size)));
    assert_string_equal(support_text(&out), full_json);
    j = begin();
    assert_true(mim_json_payload(&j, &definition, mim_slice_of(NULL, 0)));
    assert_string_equal(support_text(&out), "{\"flag\":false,\"small\":0,\"wide\":0,\"natural\":0,\"real\":0,"
                                            "\"time\":\"1970-01-01T00:00:00.000Z\",\"optional\":7}");
}

static void test_a_malformed_payload_or_an_unknown_type_writes_nothing(void **state) {
    (void)state;
    struct mim_definition definition;
    define(&definition);
    uint8_t bytes[256];
    size_t size = mim_payload_encode(support_fields, SUPPORT_FIELD_COUNT, &full, bytes);
    struct mim_json j = begin();
    assert_false(mim_json_payload(&j, &definition, mim_slice_of(bytes, size - 1)));
    assert_int_equal(out.size, 0);
    static const uint8_t types[] = {0, MIM_COUNTS, MIM_COUNTS + 1, 255};
    for (size_t i = 0; i < sizeof(types); i++) {
        define(&definition);
        definition.fields[0].type = types[i];
        assert_false(mim_json_payload(&j, &definition, mim_slice_of(bytes, size)));
        assert_int_equal(out.size, 0);
    }
}

/* ----------------------------------------------------------- text and base64 */

#define SLICE(literal) mim_slice_of((literal), sizeof(literal) - 1)

static void test_utf_8_is_what_rfc_3629_says(void **state) {
    (void)state;
    static const struct mim_slice good[] = {
        {(const uint8_t *)"", 0},
        {(const uint8_t *)"\x7f", 1},
        {(const uint8_t *)"\xc2\x80\xdf\xbf", 4},
        {(const uint8_t *)"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", 12},
        {(const uint8_t *)"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8},
    };
    for (size_t i = 0; i < MIM_COUNT_OF(good); i++) {
        assert_true(mim_utf8_valid(good[i]));
    }
    assert_false(mim_utf8_valid(SLICE("\0")));
    assert_false(mim_utf8_valid(SLICE("1234567\0")));
    assert_false(mim_utf8_valid(SLICE("\x80")));
    assert_false(mim_utf8_valid(SLICE("\xc1\xbf")));
    assert_false(mim_utf8_valid(SLICE("\xc2")));
    assert_false(mim_utf8_valid(SLICE("\xe0\x9f\xbf")));
    assert_false(mim_utf8_valid(SLICE("\xed\xa0\x80")));
    assert_false(mim_utf8_valid(SLICE("\xe2\x82")));
    assert_false(mim_utf8_valid(SLICE("\xf0\x8f\xbf\xbf")));
    assert_false(mim_utf8_valid(SLICE("\xf4\x90\x80\x80")));
    assert_false(mim_utf8_valid(SLICE("\xf5\x80\x80\x80")));
    assert_false(mim_utf8_valid(SLICE("\xf0\x90\x80")));
    for (size_t place = 0; place < 24; place++) { /* the eight-byte steps miss nothing */
        uint8_t text[24];
        memset(text, 'a', sizeof(text));
        assert_true(mim_utf8_valid(mim_slice_of(text, sizeof(text))));
        text[place] = 0;
        assert_false(mim_utf8_valid(mim_slice_of(text, sizeof(text))));
        text[place] = 0xff;
        assert_false(mim_utf8_valid(mim_slice_of(text, sizeof(text))));
    }
}

static void test_ids_are_1_to_256_bytes_without_spaces_and_controls(void **state) {
    (void)state;
    char longest[MIM_ID_SIZE_MAX + 1];
    memset(longest, 'i', sizeof(longest));
    assert_true(mim_id_valid(mim_slice_of(longest, MIM_ID_SIZE_MAX)));
    assert_false(mim_id_valid(mim_slice_of(longest, MIM_ID_SIZE_MAX + 1)));
    assert_false(mim_id_valid(SLICE("")));
    assert_true(mim_id_valid(SLICE("a/b:c@d\xc3\xa9")));
    assert_false(mim_id_valid(SLICE("a\xc3")));
    for (unsigned c = 0; c < 0x80; c++) {
        char text[19]; /* two words and a rest */
        for (size_t place = 0; place < sizeof(text); place++) {
            memset(text, 'a', sizeof(text));
            text[place] = (char)c;
            assert_int_equal(mim_id_valid(mim_slice_of(text, sizeof(text))), c > 0x20 && c != 0x7f);
        }
    }
}

static void test_base64_goes_there_and_back(void **state) {
    (void)state;
    uint8_t bytes[70];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 37 + 250);
    }
    for (size_t size = 0; size <= sizeof(bytes); size++) {
        char text[100];
        uint8_t back[100];
        size_t back_size = 999;
        mim_base64_encode(mim_slice_of(bytes, size), text);
        assert_true(mim_base64_decode(mim_slice_of(text, mim_base64_size(size)), back, &back_size));
        assert_int_equal(back_size, size);
        assert_memory_equal(back, bytes, size);
    }
    static const char *const bad[] = {"A", "AA", "AAA", "A===", "====", "AA=A", "AAA=AAAA", "AA A", "AAA\n", "AA-_"};
    for (size_t i = 0; i < MIM_COUNT_OF(bad); i++) {
        uint8_t back[16];
        size_t size;
        assert_false(mim_base64_decode(mim_slice_text(bad[i]), back, &size));
    }
}

static int free_buffer(void **state) {
    (void)state;
    mim_buffer_deinit(&out);
    mim_buffer_deinit(&out); /* twice is fine */
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commas_stand_between_members_only),
        cmocka_unit_test(test_numbers_to_their_ends),
        cmocka_unit_test(test_doubles_read_back_the_same_and_infinities_are_null),
        cmocka_unit_test(test_every_ascii_character_at_every_place_is_escaped_right),
        cmocka_unit_test(test_an_empty_and_an_absent_string_are_two_quotes),
        cmocka_unit_test(test_a_struct_is_an_object_without_what_is_absent),
        cmocka_unit_test(test_a_payload_alone_gives_the_same_json_as_the_struct),
        cmocka_unit_test(test_a_malformed_payload_or_an_unknown_type_writes_nothing),
        cmocka_unit_test(test_utf_8_is_what_rfc_3629_says),
        cmocka_unit_test(test_ids_are_1_to_256_bytes_without_spaces_and_controls),
        cmocka_unit_test(test_base64_goes_there_and_back),
    };
    return cmocka_run_group_tests_name("model/json", tests, NULL, free_buffer);
}
