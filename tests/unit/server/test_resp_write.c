// SPDX-License-Identifier: MIT
// The reply encoder: the bytes of every type in RESP2 and RESP3, the extremes of numbers, errors that stay one line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "server/resp_write.h"

static struct mim_reply reply;

static void begin(uint8_t protocol) {
    reply.out.size = 0;
    reply.protocol = protocol;
}

static void expect(const char *wanted) {
    assert_int_equal(reply.out.size, strlen(wanted));
    assert_memory_equal(reply.out.data, wanted, reply.out.size);
    reply.out.size = 0;
}

static int forget(void **state) {
    (void)state;
    mim_buffer_deinit(&reply.out);
    return 0;
}

static void test_types_that_both_protocols_share(void **state) {
    (void)state;
    for (uint8_t protocol = 2; protocol <= 3; protocol++) {
        begin(protocol);
        mim_reply_simple(&reply, "OK");
        expect("+OK\r\n");
        mim_reply_bulk(&reply, mim_slice_of("a\0b", 3));
        assert_memory_equal(reply.out.data, "$3\r\na\0b\r\n", 9);
        reply.out.size = 0;
        mim_reply_bulk(&reply, mim_slice_of(NULL, 0));
        expect("$0\r\n\r\n");
        mim_reply_text(&reply, "text");
        expect("$4\r\ntext\r\n");
        mim_reply_array(&reply, 0);
        expect("*0\r\n");
        mim_reply_array(&reply, 123);
        expect("*123\r\n");
    }
}

static void test_what_resp2_lacks_is_written_as_the_nearest_thing(void **state) {
    (void)state;
    begin(2);
    mim_reply_null(&reply);
    expect("$-1\r\n");
    mim_reply_map(&reply, 3);
    expect("*6\r\n");
    mim_reply_set(&reply, 3);
    expect("*3\r\n");
    mim_reply_push(&reply, 2);
    expect("*2\r\n");
    mim_reply_boolean(&reply, true);
    expect(":1\r\n");
    mim_reply_boolean(&reply, false);
    expect(":0\r\n");
    mim_reply_double(&reply, 1.5);
    expect("$3\r\n1.5\r\n");
    mim_reply_verbatim(&reply, mim_slice_text("x"));
    expect("$1\r\nx\r\n");
}

static void test_the_types_of_resp3(void **state) {
    (void)state;
    begin(3);
    mim_reply_null(&reply);
    expect("_\r\n");
    mim_reply_map(&reply, 3);
    expect("%3\r\n");
    mim_reply_set(&reply, 3);
    expect("~3\r\n");
    mim_reply_push(&reply, 2);
    expect(">2\r\n");
    mim_reply_boolean(&reply, true);
    expect("#t\r\n");
    mim_reply_boolean(&reply, false);
    expect("#f\r\n");
    mim_reply_double(&reply, 1.5);
    expect(",1.5\r\n");
    mim_reply_double(&reply, INFINITY);
    expect(",inf\r\n");
    mim_reply_double(&reply, -INFINITY);
    expect(",-inf\r\n");
    mim_reply_double(&reply, NAN);
    expect(",nan\r\n");
    mim_reply_verbatim(&reply, mim_slice_text("x"));
    expect("=5\r\ntxt:x\r\n");
}

static void test_integers_of_every_length_and_the_extremes(void **state) {
    (void)state;
    begin(2);
    int64_t value = 0;
    for (int digits = 0; digits < 19; digits++) {
        char wanted[32];
        (void)snprintf(wanted, sizeof(wanted), ":%lld\r\n", (long long)value);
        mim_reply_integer(&reply, value);
        expect(wanted);
        (void)snprintf(wanted, sizeof(wanted), ":%lld\r\n", -(long long)value);
        mim_reply_integer(&reply, -value);
        expect(wanted);
        value = value * 10 + digits % 9 + 1;
    }
    mim_reply_integer(&reply, INT64_MAX);
    expect(":9223372036854775807\r\n");
    mim_reply_integer(&reply, INT64_MIN);
    expect(":-9223372036854775808\r\n");
}

static void test_the_reply_of_do(void **state) {
    (void)state;
    begin(2);
    mim_reply_pair(&reply, 0, 0);
    expect("*2\r\n:0\r\n:0\r\n");
    mim_reply_pair(&reply, UINT64_MAX, UINT64_MAX);
    expect("*2\r\n:18446744073709551615\r\n:18446744073709551615\r\n");
    mim_reply_pair(&reply, 7, 100);
    expect("*2\r\n:7\r\n:100\r\n");
}

static void test_an_error_stays_one_line_and_is_bounded(void **state) {
    (void)state;
    begin(2);
    mim_reply_error(&reply, "ERR", mim_slice_of("a\r\n+OK\r\n\0\x7f", 10));
    assert_memory_equal(reply.out.data, "-ERR a  +OK    \r\n", 16);
    reply.out.size = 0;
    char text[2000];
    memset(text, 'x', sizeof(text));
    mim_reply_error(&reply, "BADARG", mim_slice_of(text, sizeof(text)));
    assert_int_equal(reply.out.size, 8 + 400 + 2);
    reply.out.size = 0;
    mim_reply_errorf(&reply, "ERR", "%.*s", 2000, text);
    assert_int_equal(reply.out.size, 5 + 400 + 2);
    reply.out.size = 0;
    mim_reply_errorf(&reply, "CONFLICT", "expected version %d", 4);
    expect("-CONFLICT expected version 4\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_that_both_protocols_share),
        cmocka_unit_test(test_what_resp2_lacks_is_written_as_the_nearest_thing),
        cmocka_unit_test(test_the_types_of_resp3),
        cmocka_unit_test(test_integers_of_every_length_and_the_extremes),
        cmocka_unit_test(test_the_reply_of_do),
        cmocka_unit_test(test_an_error_stays_one_line_and_is_bounded),
    };
    return cmocka_run_group_tests_name("resp_write", tests, NULL, forget);
}
