// SPDX-License-Identifier: MIT
// The option table: command line and configuration file, bounds, and sentences that name what is wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "journal/writer.h"

static struct {
    const char *text;
    uint64_t number;
    uint64_t size;
    bool flag;
    struct mim_writer_options writer;
    const char *config;
} values;

static const struct mim_option items[] = {
    {"text", MIM_OPTION_TEXT, &values.text, "TEXT", "a text", 0, 0},
    {"number", MIM_OPTION_UNSIGNED, &values.number, "N", "a number", 1, 65535},
    {"size", MIM_OPTION_SIZE, &values.size, "SIZE", "a size", 0, 0},
    {"flag", MIM_OPTION_FLAG, &values.flag, NULL, "a flag", 0, 0},
    {"durability", MIM_OPTION_DURABILITY, &values.writer, "fsync|interval:MS|none", "a mode", 0, 0},
    {"config", MIM_OPTION_TEXT, &values.config, "FILE", "a file", 0, 0},
};
static const struct mim_options options = {
    .usage = "test", .about = "A test.", .items = items, .count = sizeof(items) / sizeof(items[0])};

static struct mim_error error;
static int positional;

static int parse(const char *first, const char *second) {
    char words[3][128] = {"test", "", ""};
    char *argv[3] = {words[0], words[1], words[2]};
    memset(&values, 0, sizeof(values));
    error = (struct mim_error){0};
    (void)snprintf(words[1], sizeof(words[1]), "%s", first);
    (void)snprintf(words[2], sizeof(words[2]), "%s", second == NULL ? "" : second);
    return mim_options_parse(&options, second == NULL ? 2 : 3, argv, &positional, &error);
}

static int read_file(const char *content) {
    char path[] = "/tmp/memimage-options-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, content, strlen(content)), strlen(content));
    assert_int_equal(close(file), 0);
    memset(&values, 0, sizeof(values));
    error = (struct mim_error){0};
    int rc = mim_options_file(&options, path, &error);
    (void)unlink(path);
    return rc;
}

static void test_a_value_follows_or_stands_behind_an_equals_sign(void **state) {
    (void)state;
    assert_int_equal(parse("--number", "17"), 0);
    assert_int_equal(values.number, 17);
    assert_int_equal(parse("--number=65535", NULL), 0);
    assert_int_equal(values.number, 65535);
    assert_int_equal(parse("--flag", "word"), 0);
    assert_true(values.flag);
    assert_int_equal(positional, 1);
    assert_int_equal(parse("--", "--number"), 0);
    assert_int_equal(positional, 1);
}

static void test_numbers_out_of_bounds_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"0", "65536", "-1", "+1", " 1", "1x", "", "x", "99999999999999999999", "1.5"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(parse("--number", wrong[i]), MIM_E_USAGE);
        assert_non_null(strstr(error.text, "--number must be a number from 1 to 65535"));
        assert_int_equal(values.number, 0);
    }
}

static void test_sizes_have_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
    } sizes[] = {
        {"0", 0}, {"7", 7}, {"4k", 4096}, {"64m", 64u << 20}, {"2G", (uint64_t)2 << 30}, {"1tb", (uint64_t)1 << 40}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(parse("--size", sizes[i].text), 0);
        assert_int_equal(values.size, sizes[i].size);
    }
    assert_int_equal(parse("--size", "4kk"), MIM_E_USAGE);
    assert_int_equal(parse("--size", "b"), MIM_E_USAGE);
    assert_int_equal(parse("--size", "18446744073709551615k"), MIM_E_USAGE);
}

static void test_durability_is_one_of_three(void **state) {
    (void)state;
    assert_int_equal(parse("--durability", "interval:20"), 0);
    assert_int_equal(values.writer.durability, MIM_DURABILITY_INTERVAL);
    assert_int_equal(values.writer.interval_ns, 20000000);
    assert_int_equal(parse("--durability", "none"), 0);
    assert_int_equal(values.writer.durability, MIM_DURABILITY_NONE);
    static const char *const wrong[] = {"maybe", "interval", "interval:", "interval:x", "interval:0", "interval:1s"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(parse("--durability", wrong[i]), MIM_E_USAGE);
    }
}

static void test_unknown_options_and_missing_values_are_named(void **state) {
    (void)state;
    assert_int_equal(parse("--nope", "1"), MIM_E_USAGE);
    assert_non_null(strstr(error.text, "--nope"));
    assert_int_equal(parse("-x", NULL), MIM_E_USAGE);
    assert_int_equal(parse("--numbe", "1"), MIM_E_USAGE);
    assert_int_equal(parse("--number", NULL), MIM_E_USAGE);
    assert_non_null(strstr(error.text, "--number wants a value"));
    assert_int_equal(parse("--number=", NULL), MIM_E_USAGE);
}

static void test_a_file_has_lines_of_name_and_value(void **state) {
    (void)state;
    assert_int_equal(
        read_file("# comment\n\n  number 5\ntext = \"two words # and a mark\" \nflag yes # why\nsize\t4k\r\n"
                  "durability interval:5"),
        0);
    assert_int_equal(values.number, 5);
    assert_string_equal(values.text, "two words # and a mark");
    assert_true(values.flag);
    assert_int_equal(values.size, 4096);
    assert_int_equal(values.writer.interval_ns, 5000000);
    assert_int_equal(read_file(""), 0);
}

static void test_errors_of_a_file_name_it_and_the_line(void **state) {
    (void)state;
    static const char *const wrong[] = {"\nnope 1\n", "\nnumber x\n", "\nnumber\n", "\nflag maybe\n", "\nconfig x\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(read_file(wrong[i]), MIM_E_USAGE);
        assert_non_null(strstr(error.text, "memimage-options-"));
        assert_non_null(strstr(error.text, ":2: "));
    }
    assert_int_equal(mim_options_file(&options, "/nonexistent.conf", &error), MIM_E_USAGE);
    assert_non_null(strstr(error.text, "/nonexistent.conf"));
}

static void test_a_file_that_is_no_text_is_refused(void **state) {
    (void)state;
    char path[] = "/tmp/memimage-options-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "number 1\0\n", 10), 10);
    assert_int_equal(close(fd), 0);
    error = (struct mim_error){0};
    assert_int_equal(mim_options_file(&options, path, &error), MIM_E_USAGE);
    assert_non_null(strstr(error.text, "no text"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mim_options_file(&options, "/tmp", &error), MIM_E_USAGE);
    assert_non_null(strstr(error.text, "cannot be read"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_follows_or_stands_behind_an_equals_sign),
        cmocka_unit_test(test_numbers_out_of_bounds_are_refused),
        cmocka_unit_test(test_sizes_have_units),
        cmocka_unit_test(test_durability_is_one_of_three),
        cmocka_unit_test(test_unknown_options_and_missing_values_are_named),
        cmocka_unit_test(test_a_file_has_lines_of_name_and_value),
        cmocka_unit_test(test_errors_of_a_file_name_it_and_the_line),
        cmocka_unit_test(test_a_file_that_is_no_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
