// SPDX-License-Identifier: MIT
// Replies as they stream in: counted in order whatever way the bytes are cut, errors with their text.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/replies.h"

static char seen[65536];

static void on_reply(void *context, const char *error) {
    (void)context;
    size_t size = strlen(seen);
    (void)snprintf(seen + size, sizeof(seen) - size, "%s;", error == NULL ? "ok" : error);
}

static int setup(void **state) {
    seen[0] = '\0';
    *state = mim_replies_new(on_reply, NULL);
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state) {
    *state = mim_replies_free(*state);
    return 0;
}

static const char stream[] =
    "*2\r\n:1\r\n:17\r\n-REJECTED NO_ACCOUNT there is none\r\n+OK\r\n$-1\r\n$3\r\na\r\n\r\n*0\r\n"
    "*2\r\n$1\r\nx\r\n*1\r\n:3\r\n";
static const char wanted[] = "ok;REJECTED NO_ACCOUNT there is none;ok;ok;ok;ok;ok;";

static void test_every_kind_of_reply_is_told_once(void **state) {
    struct mim_error error = {0};
    assert_int_equal(mim_replies_feed(*state, stream, sizeof(stream) - 1, &error), 0);
    assert_string_equal(seen, wanted);
}

static void test_bytes_may_be_cut_anywhere(void **state) {
    struct mim_error error = {0};
    for (size_t cut = 0; cut < sizeof(stream); cut++) {
        seen[0] = '\0';
        assert_int_equal(mim_replies_feed(*state, stream, cut, &error), 0);
        assert_int_equal(mim_replies_feed(*state, stream + cut, sizeof(stream) - 1 - cut, &error), 0);
        assert_string_equal(seen, wanted);
    }
}

static void test_an_endless_error_is_cut_off(void **state) {
    static char text[6000];
    struct mim_error error = {0};
    memset(text, 'e', sizeof(text));
    text[0] = '-';
    memcpy(text + sizeof(text) - 2, "\r\n", 2);
    assert_int_equal(mim_replies_feed(*state, text, sizeof(text), &error), 0);
    assert_int_equal(strlen(seen), 512);
}

static void test_many_replies_in_one_piece(void **state) {
    struct mim_error error = {0};
    static char many[20000 * 5];
    for (size_t i = 0; i < sizeof(many); i += 5) {
        memcpy(many + i, "+OK\r\n", 5);
    }
    assert_int_equal(mim_replies_feed(*state, many, sizeof(many), &error), 0);
    assert_int_equal(strlen(seen), 20000 * 3);
}

static void test_what_is_no_reply_is_an_error(void **state) {
    struct mim_error error = {0};
    assert_int_equal(mim_replies_feed(*state, "HTTP/1.1 200 OK\r\n", 17, &error), MIM_E_NETWORK);
    assert_non_null(strstr(error.text, "malformed"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_kind_of_reply_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_may_be_cut_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_endless_error_is_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_replies_in_one_piece, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_reply_is_an_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
