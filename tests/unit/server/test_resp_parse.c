// SPDX-License-Identifier: MIT
// The request parser: every split of the input gives the same requests, hostile input is refused, quotes are Redis's.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "server/resp_parse.h"

static const struct mim_resp_limits LIMITS = {
    .arguments_max = 64, .argument_size_max = 1000, .request_size_max = 2000, .inline_size_max = 500};

/** Everything a stream of bytes is understood as: "[a|b]" per request, "!error" at its end. */
struct reading {
    char text[8192];
    size_t size;
    bool broken;
};

static void note(struct reading *reading, const void *data, size_t size) {
    assert_true(reading->size + size < sizeof(reading->text));
    memcpy(reading->text + reading->size, data, size);
    reading->size += size;
    reading->text[reading->size] = '\0';
}

static void note_request(struct reading *reading, const struct mim_resp_parser *parser, const uint8_t *data) {
    note(reading, "[", 1);
    for (uint32_t i = 0; i < parser->count; i++) {
        assert_true((size_t)parser->spans[i].offset + parser->spans[i].size <= parser->offset);
        note(reading, i == 0 ? "" : "|", i == 0 ? 0 : 1);
        note(reading, data + parser->spans[i].offset, parser->spans[i].size);
    }
    note(reading, "]", 1);
}

/** As a session does it: bytes arrive in chunks that end at `ends`, the rest of a request is kept. */
static void read_in_chunks(const char *input, size_t size, const size_t *ends, size_t count, struct reading *ret) {
    struct mim_resp_parser parser;
    mim_resp_init(&parser, &LIMITS);
    *ret = (struct reading){0};
    uint8_t *buffer = malloc(size + 1);
    size_t held = 0;
    size_t from = 0;
    for (size_t i = 0; i < count && !ret->broken; i++) {
        memcpy(buffer + held, input + from, ends[i] - from);
        held += ends[i] - from;
        from = ends[i];
        size_t at = 0;
        for (;;) {
            enum mim_resp_result result = mim_resp_parse(&parser, buffer + at, held - at);
            if (result == MIM_RESP_BROKEN) {
                note(ret, "!", 1);
                note(ret, parser.error, strlen(parser.error));
                ret->broken = true;
                break;
            }
            if (result == MIM_RESP_MORE) {
                break;
            }
            note_request(ret, &parser, buffer + at);
            at += parser.offset;
            mim_resp_next(&parser);
        }
        memmove(buffer, buffer + at, held - at);
        held -= at;
    }
    free(buffer);
    mim_resp_deinit(&parser);
}

static void read_whole(const char *input, size_t size, struct reading *ret) {
    read_in_chunks(input, size, &size, 1, ret);
}

static void expect(const char *input, const char *wanted) {
    struct reading reading;
    read_whole(input, strlen(input), &reading);
    assert_string_equal(reading.text, wanted);
}

static const char MIXED[] = "*5\r\n$2\r\nDO\r\n$9\r\naccount/1\r\n$7\r\nDeposit\r\n$6\r\namount\r\n$1\r\n1\r\n"
                            "PING\r\n"
                            "*0\r\n*-1\r\n\r\n"
                            "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n"
                            "ECHO \"a\\x41 b\\n\" 'it\\'s'   plain\n"
                            "*2\r\n$4\r\nECHO\r\n$7\r\n\r\n$3\r\n*\r\n";
static const char MIXED_WANTED[] = "[DO|account/1|Deposit|amount|1][PING][][][][ECHO|][ECHO|aA b\n|it's|plain]"
                                   "[ECHO|\r\n$3\r\n*]";

static void test_a_pipeline_of_all_kinds_is_understood(void **state) {
    (void)state;
    expect(MIXED, MIXED_WANTED);
}

static void test_every_split_in_two_gives_the_same(void **state) {
    (void)state;
    size_t size = sizeof(MIXED) - 1;
    for (size_t cut = 0; cut <= size; cut++) {
        struct reading reading;
        size_t ends[] = {cut, size};
        read_in_chunks(MIXED, size, ends, 2, &reading);
        assert_string_equal(reading.text, MIXED_WANTED);
    }
}

static void test_every_split_in_three_gives_the_same(void **state) {
    (void)state;
    size_t size = sizeof(MIXED) - 1;
    for (size_t first = 0; first <= size; first++) {
        for (size_t second = first; second <= size; second++) {
            struct reading reading;
            size_t ends[] = {first, second, size};
            read_in_chunks(MIXED, size, ends, 3, &reading);
            assert_string_equal(reading.text, MIXED_WANTED);
        }
    }
}

static void test_byte_by_byte_gives_the_same(void **state) {
    (void)state;
    size_t size = sizeof(MIXED) - 1;
    size_t ends[sizeof(MIXED)];
    for (size_t i = 0; i < size; i++) {
        ends[i] = i + 1;
    }
    struct reading reading;
    read_in_chunks(MIXED, size, ends, size, &reading);
    assert_string_equal(reading.text, MIXED_WANTED);
}

static void test_malformed_input_is_refused(void **state) {
    (void)state;
    expect("*1\r\n$-5\r\n", "!invalid bulk length");
    expect("*1\r\n$-1\r\n", "!invalid bulk length");
    expect("*1\r\n$abc\r\n", "!invalid bulk length");
    expect("*1\r\n$\r\n", "!invalid bulk length");
    expect("*1\r\n$ 4\r\nPING\r\n", "!invalid bulk length");
    expect("*1\r\n$+4\r\nPING\r\n", "!invalid bulk length");
    expect("*1\r\n$1001\r\n", "!invalid bulk length");
    expect("*1\r\n$99999999999\r\n", "!invalid bulk length");
    expect("*1\r\n$18446744073709551617\r\n", "!invalid bulk length");
    expect("*1\r\n$1111111111111111111111", "!invalid bulk length");
    expect("*65\r\n", "!invalid multibulk length");
    expect("*18446744073709551615\r\n", "!invalid multibulk length");
    expect("*99999999999999999999", "!invalid multibulk length");
    expect("*abc\r\n", "!invalid multibulk length");
    expect("*1x\r\n", "!invalid multibulk length");
    expect("*\r\n", "!invalid multibulk length");
    expect("*-\r\n", "!invalid multibulk length");
    expect("*1\r\nPING\r\n", "!expected '$' before an argument");
    expect("*1\r\n:5\r\n", "!expected '$' before an argument");
    expect("*1\r\n*1\r\n$4\r\nPING\r\n", "!expected '$' before an argument");
    expect("*1\r\n$4\r\nPINGxx", "!expected CRLF after an argument");
    expect("ECHO \"unbalanced\r\n", "!unbalanced quotes in request");
    expect("ECHO 'unbalanced\r\n", "!unbalanced quotes in request");
    expect("ECHO \"a\"b\r\n", "!unbalanced quotes in request");
    expect("ECHO 'a'b\r\n", "!unbalanced quotes in request");
}

static void test_good_requests_before_a_bad_one_are_given_out(void **state) {
    (void)state;
    expect("PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n:\r\n", "[PING][PING]!expected '$' before an argument");
}

static void test_the_limits_hold_at_their_edges(void **state) {
    (void)state;
    static char input[8192];
    static char value[1001];
    memset(value, 'x', sizeof(value));
    struct reading reading;
    int size = snprintf(input, sizeof(input), "*1\r\n$1000\r\n%.1000s\r\n", value);
    read_whole(input, (size_t)size, &reading);
    assert_false(reading.broken);
    assert_int_equal(reading.size, 1002);
    size = snprintf(input, sizeof(input), "*2\r\n$1000\r\n%.1000s\r\n$990\r\n", value);
    read_whole(input, (size_t)size, &reading);
    assert_string_equal(reading.text, "!too big request");
    size = snprintf(input, sizeof(input), "%.500s\n", value);
    read_whole(input, (size_t)size, &reading);
    assert_int_equal(reading.size, 502);
    size = snprintf(input, sizeof(input), "%.501s\n", value);
    read_whole(input, (size_t)size, &reading);
    assert_string_equal(reading.text, "!too big inline request");
    size = snprintf(input, sizeof(input), "%.501s", value);
    read_whole(input, (size_t)size, &reading);
    assert_string_equal(reading.text, "!too big inline request");
}

static void test_many_arguments_grow_the_spans_and_too_many_are_refused(void **state) {
    (void)state;
    char input[2048] = "*64\r\n";
    char wanted[512] = "[";
    for (int i = 0; i < 64; i++) {
        strcat(input, "$1\r\na\r\n");
        strcat(wanted, i == 0 ? "a" : "|a");
    }
    strcat(wanted, "]");
    expect(input, wanted);
    char line[256] = "";
    for (int i = 0; i < 65; i++) {
        strcat(line, "a ");
    }
    strcat(line, "\r\n");
    expect(line, "!too many arguments in an inline request");
}

static void test_inline_quotes_are_those_of_redis(void **state) {
    (void)state;
    expect("a  b\tc\r\n", "[a|b|c]");
    expect("  leading and trailing  \n", "[leading|and|trailing]");
    expect("\"\" ''\r\n", "[|]");
    expect("\"a b\" 'c d'\r\n", "[a b|c d]");
    expect("\"q\\\"q\" 'q\"q' \"q'q\"\r\n", "[q\"q|q\"q|q'q]");
    expect("\"\\x41\\x7a\\x4\" \"\\xzz\"\r\n", "[Azx4|xzz]");
    expect("\"\\n\\r\\t\\\\\\q\"\r\n", "[\n\r\t\\q]");
    expect("'\\n' '\\'x'\r\n", "[\\n|'x]");
    expect("a\"b c\"\r\n", "[ab c]");
    expect("DO account/a Deposit '{\"amount\":7}'\r\n", "[DO|account/a|Deposit|{\"amount\":7}]");
}

static void test_random_mutations_never_step_outside(void **state) {
    (void)state;
    struct mim_prng prng;
    mim_prng_init(&prng, 20240117);
    size_t size = sizeof(MIXED) - 1;
    for (int round = 0; round < 20000; round++) {
        char input[sizeof(MIXED)];
        memcpy(input, MIXED, sizeof(MIXED));
        for (uint64_t n = mim_prng_below(&prng, 6) + 1; n > 0; n--) {
            input[mim_prng_below(&prng, size)] = (char)mim_prng_below(&prng, 256);
        }
        size_t ends[3] = {mim_prng_below(&prng, size + 1), 0, size};
        ends[1] = ends[0] + mim_prng_below(&prng, size - ends[0] + 1);
        struct reading whole;
        struct reading split;
        read_whole(input, size, &whole);
        read_in_chunks(input, size, ends, 3, &split);
        assert_int_equal(whole.size, split.size);
        assert_memory_equal(whole.text, split.text, whole.size);
    }
}

/** Whatever the short way understands, the long way understands alike; and it does understand the usual. */
static void test_short_requests_are_understood_alike(void **state) {
    (void)state;
    static const char usual[] =
        "*5\r\n$2\r\nDO\r\n$14\r\naccount/bench1\r\n$7\r\nDeposit\r\n$6\r\namount\r\n$0\r\n\r\n";
    static const char alphabet[] = "*$\r\n0123456789-ab";
    struct mim_prng prng;
    mim_prng_init(&prng, 11);
    unsigned understood = 0;
    for (unsigned round = 0; round < 200000; round++) {
        struct mim_resp_limits limits = LIMITS;
        limits.arguments_max = 1 + (uint32_t)mim_prng_below(&prng, 8);
        limits.argument_size_max = mim_prng_below(&prng, 20);
        limits.request_size_max = mim_prng_below(&prng, 80);
        size_t size = 1 + mim_prng_below(&prng, sizeof(usual) - 1);
        uint8_t *input = malloc(size); /* of its very size: a read beyond it is a sanitizer's report */
        assert_non_null(input);
        memcpy(input, usual, size);
        for (uint64_t changes = mim_prng_below(&prng, 3); changes > 0; changes--) {
            input[mim_prng_below(&prng, size)] = (uint8_t)alphabet[mim_prng_below(&prng, sizeof(alphabet) - 1)];
        }
        struct mim_resp_short request;
        if (mim_resp_parse_short(&limits, input, size, &request)) {
            struct mim_resp_parser parser;
            mim_resp_init(&parser, &limits);
            assert_int_equal(mim_resp_parse(&parser, input, size), MIM_RESP_READY);
            assert_int_equal(parser.offset, request.size);
            assert_int_equal(parser.count, request.count);
            for (uint32_t i = 0; i < request.count; i++) {
                assert_ptr_equal(request.arguments[i].data, input + parser.spans[i].offset);
                assert_int_equal(request.arguments[i].size, parser.spans[i].size);
            }
            mim_resp_deinit(&parser);
            understood++;
        }
        free(input);
    }
    assert_true(understood > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pipeline_of_all_kinds_is_understood),
        cmocka_unit_test(test_every_split_in_two_gives_the_same),
        cmocka_unit_test(test_every_split_in_three_gives_the_same),
        cmocka_unit_test(test_byte_by_byte_gives_the_same),
        cmocka_unit_test(test_malformed_input_is_refused),
        cmocka_unit_test(test_good_requests_before_a_bad_one_are_given_out),
        cmocka_unit_test(test_the_limits_hold_at_their_edges),
        cmocka_unit_test(test_many_arguments_grow_the_spans_and_too_many_are_refused),
        cmocka_unit_test(test_inline_quotes_are_those_of_redis),
        cmocka_unit_test(test_random_mutations_never_step_outside),
        cmocka_unit_test(test_short_requests_are_understood_alike),
    };
    return cmocka_run_group_tests_name("resp_parse", tests, NULL, NULL);
}
