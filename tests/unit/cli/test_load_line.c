// SPDX-License-Identifier: MIT
// NDJSON lines of load as RESP: what goes as fields, what as JSON, and what is refused, on the fast path and the other.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/load_line.h"

static const char schema_json[] =
    "{\"model\":\"m\",\"version\":1,\"aggregates\":[{\"name\":\"account\",\"commands\":["
    "{\"name\":\"Open\",\"fields\":[{\"name\":\"owner\",\"type\":\"string\"},{\"name\":\"limit\",\"type\":\"i64\"},"
    "{\"name\":\"vip\",\"type\":\"bool\"},{\"name\":\"photo\",\"type\":\"bytes\"},"
    "{\"name\":\"tags\",\"type\":\"string\",\"list\":true}]},{\"name\":\"Close\",\"fields\":[]}]},"
    "{\"name\":\"acc\",\"commands\":[{\"name\":\"Open\",\"fields\":[]}]}]}";

static struct mim_load_schema *schema;
static struct mim_buffer out;

static int setup(void **state) {
    (void)state;
    struct mim_error error = {0};
    return mim_load_schema_new(mim_slice_text(schema_json), &schema, &error);
}

static int teardown(void **state) {
    (void)state;
    schema = mim_load_schema_free(schema);
    mim_buffer_deinit(&out);
    return 0;
}

/** The arguments of the one request in `out`, separated by '|'. */
static const char *arguments(void) {
    static char text[4096];
    size_t size = 0;
    mim_buffer_append(&out, "", 1);
    char *at = (char *)out.data;
    assert_int_equal(*at, '*');
    long count = strtol(at + 1, &at, 10);
    for (long i = 0; i < count; i++) {
        assert_memory_equal(at, "\r\n$", 3);
        long length = strtol(at + 3, &at, 10);
        assert_memory_equal(at, "\r\n", 2);
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%.*s", i == 0 ? "" : "|", (int)length, at + 2);
        at += 2 + length;
    }
    assert_string_equal(at, "\r\n");
    out.size = 0;
    return text;
}

static const char *line_arguments(struct mim_load_schema *with, const char *line) {
    struct mim_error error = {0};
    out.size = 0;
    assert_int_equal(mim_load_line(with, mim_slice_text(line), &out, &error), 0);
    return arguments();
}

/** Refused, with nothing appended; the sentence holds `part`. */
static void refused(const char *line, const char *part) {
    struct mim_error error = {0};
    mim_buffer_append(&out, "kept", 4);
    size_t size = out.size;
    assert_int_equal(mim_load_line(schema, mim_slice_text(line), &out, &error), MIM_E_INVALID);
    assert_int_equal(out.size, size);
    if (strstr(error.text, part) == NULL) {
        fail_msg("\"%s\" does not hold \"%s\"", error.text, part);
    }
    assert_false(mim_load_fast(schema, mim_slice_text(line), &out));
    assert_int_equal(out.size, size);
    out.size = 0;
}

static void test_scalars_the_schema_knows_go_as_fields(void **state) {
    (void)state;
    if (!mim_load_fast(schema, mim_slice_text("{\"do\":\"account/a\",\"command\":\"Close\"}"), &out)) {
        skip(); /* built without the library of the fast path */
    }
    assert_string_equal(arguments(), "DO|account/a|Close");
    assert_string_equal(line_arguments(schema, "{\"do\":\"account/a\",\"command\":\"Open\",\"data\":{\"owner\":\"Ann\","
                                               "\"limit\":-5,\"vip\":true}}"),
                        "DO|account/a|Open|owner|Ann|limit|-5|vip|true");
    assert_string_equal(line_arguments(schema, " { \"data\" : { } , \"command\":\"Open\",\"do\":\"account/a\" } \t\r"),
                        "DO|account/a|Open");
}

static void test_what_text_cannot_say_goes_as_json(void **state) {
    (void)state;
    static const char *const data[] = {
        "{\"photo\":\"aGk=\"}", "{\"tags\":[\"a\",\"b\"]}", "{\"limit\":\"5\"}", "{\"owner\":5}",
        "{\"limit\":1.0}",      "{\"limit\":null}",         "{\"nope\":1}",      "{\"owner\":{\"x\":[{}]}}",
        "{\"@if\":\"5\"}",      "{\"vip\":\"true\"}",       "{\"\":\"\"}",
    };
    for (size_t i = 0; i < sizeof(data) / sizeof(data[0]); i++) {
        char line[256];
        char wanted[256];
        (void)snprintf(line, sizeof(line), "{\"do\":\"account/a\",\"command\":\"Open\",\"data\":%s,\"id\":\"k\"}",
                       data[i]);
        (void)snprintf(wanted, sizeof(wanted), "DO|account/a|Open|%s|@id|k", data[i]);
        assert_string_equal(line_arguments(schema, line), wanted);
        assert_string_equal(line_arguments(NULL, line), wanted);
    }
}

static void test_without_a_schema_data_goes_as_json(void **state) {
    (void)state;
    const char *line = "{\"do\":\"account/a\",\"command\":\"Open\",\"data\":{\"owner\":\"Ann\"}}";
    assert_string_equal(line_arguments(NULL, line), "DO|account/a|Open|{\"owner\":\"Ann\"}");
}

static void test_an_unknown_command_or_type_goes_as_json(void **state) {
    (void)state;
    assert_string_equal(
        line_arguments(schema, "{\"do\":\"account/a\",\"command\":\"Nope\",\"data\":{\"owner\":\"A\"}}"),
        "DO|account/a|Nope|{\"owner\":\"A\"}");
    assert_string_equal(line_arguments(schema, "{\"do\":\"acc/a\",\"command\":\"Open\",\"data\":{\"owner\":\"A\"}}"),
                        "DO|acc/a|Open|{\"owner\":\"A\"}");
    assert_string_equal(line_arguments(schema, "{\"do\":\"accoun\",\"command\":\"Open\",\"data\":{\"owner\":\"A\"}}"),
                        "DO|accoun|Open|{\"owner\":\"A\"}");
}

static void test_options_follow_the_data(void **state) {
    (void)state;
    assert_string_equal(line_arguments(schema, "{\"by\":\"me\",\"id\":\"k1\",\"if\":4,\"do\":\"account/a\",\"command\":"
                                               "\"Open\",\"cause\":\"c\",\"corr\":\"r\",\"data\":{\"limit\":1}}"),
                        "DO|account/a|Open|limit|1|@if|4|@id|k1|@corr|r|@cause|c|@by|me");
}

static void test_escapes_are_decoded(void **state) {
    (void)state;
    assert_string_equal(line_arguments(schema, "{\"do\":\"account/\\u010d\",\"command\":\"Open\",\"id\":\"a\\\"b\"}"),
                        "DO|account/\xc4\x8d|Open|@id|a\"b");
    assert_string_equal(
        line_arguments(schema, "{\"do\":\"account/a\",\"command\":\"Open\",\"data\":{\"owner\":\"x\\ny\"}}"),
        "DO|account/a|Open|{\"owner\":\"x\\ny\"}");
}

static void test_malformed_lines_are_refused(void **state) {
    (void)state;
    static const char *const lines[] = {
        "",
        "x",
        "{",
        "}",
        "[]",
        "1",
        "null",
        "{\"do\":\"account/a\"",
        "{\"do\":\"account/a\",\"command\":\"Open\"} x",
        "{\"do\":\"account/a\",\"command\":\"Open\"}{}",
        "{\"do\":\"account/a\",\"command\":\"Open\",}",
        "{\"do\":\"account/a\",\"command\":\"Open\"",
        "{\"do\":\"account/\xff\",\"command\":\"Open\"}",
        "{\"do\":\"account/\\ud800\",\"command\":\"Open\"}",
        "{\"do\":\"account/\\u0000\",\"command\":\"Open\"}",
        "{\"do\":\"account/a\",\"command\":\"Open\"} tru",
        "{'do':1}",
        "{\"do\"\f:\"account/a\",\"command\":\"Open\"}",
        "{\"do\":\v\"account/a\",\"command\":\"Open\"}",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        refused(lines[i], "");
    }
    refused("{\"do\":\"a", "malformed JSON at byte");
}

static void test_lines_of_another_form_are_refused(void **state) {
    (void)state;
    refused("{\"command\":\"Open\"}", "a line is");
    refused("{\"do\":\"account/a\"}", "a line is");
    refused("{\"do\":5,\"command\":\"Open\"}", "a line is");
    refused("{\"do\":\"account/a\",\"command\":\"Open\",\"data\":[]}", "\"data\" must be an object");
    refused("{\"do\":\"account/a\",\"command\":\"Open\",\"data\":5}", "\"data\" must be an object");
    refused("{\"do\":\"account/a\",\"command\":\"Open\",\"id\":{}}", "\"id\" must be");
    refused("{\"do\":\"account/a\",\"command\":\"Open\",\"iff\":1}", "unknown member \"iff\"");
    refused("{\"do\":\"account/a\",\"do\":\"account/b\",\"command\":\"Open\"}", "duplicate");
}

static void test_as_many_fields_as_there_may_be_and_more(void **state) {
    (void)state;
    char line[8192];
    size_t size = (size_t)snprintf(line, sizeof(line), "{\"do\":\"account/a\",\"command\":\"Open\",\"data\":{");
    for (unsigned i = 0; i < 200; i++) {
        size += (size_t)snprintf(line + size, sizeof(line) - size, "%s\"f%u\":%u", i == 0 ? "" : ",", i, i);
    }
    (void)snprintf(line + size, sizeof(line) - size, "}}");
    const char *got = line_arguments(schema, line);
    assert_non_null(strstr(got, "{\"f0\":0,"));
    assert_non_null(strstr(got, "\"f199\":199}"));
}

static void test_a_schema_of_another_form_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"", "[]", "{}", "{\"aggregates\":5}", "nope"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct mim_load_schema *made = NULL;
        struct mim_error error = {0};
        assert_int_equal(mim_load_schema_new(mim_slice_text(texts[i]), &made, &error), MIM_E_INVALID);
        assert_null(made);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars_the_schema_knows_go_as_fields),
        cmocka_unit_test(test_what_text_cannot_say_goes_as_json),
        cmocka_unit_test(test_without_a_schema_data_goes_as_json),
        cmocka_unit_test(test_an_unknown_command_or_type_goes_as_json),
        cmocka_unit_test(test_options_follow_the_data),
        cmocka_unit_test(test_escapes_are_decoded),
        cmocka_unit_test(test_malformed_lines_are_refused),
        cmocka_unit_test(test_lines_of_another_form_are_refused),
        cmocka_unit_test(test_as_many_fields_as_there_may_be_and_more),
        cmocka_unit_test(test_a_schema_of_another_form_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
