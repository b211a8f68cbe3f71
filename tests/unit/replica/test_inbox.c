// SPDX-License-Identifier: MIT
// Messages out of bytes: whole ones at any cut, nonsense refused before it is waited for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replica/inbox.h"

static void put(struct mim_inbox *inbox, const char *text, size_t size) {
    uint8_t *at = mim_inbox_room(inbox, size);
    assert_non_null(at);
    memcpy(at, text, size);
    mim_inbox_filled(inbox, size);
}

static int peek(struct mim_inbox *inbox, struct mim_inbox_message *ret_message) {
    struct mim_error error = {0};
    return mim_inbox_peek(inbox, ret_message, &error);
}

static const char stream[] =
    "+OK fine\r\n-ERR no\r\n:42\r\n$5\r\nab\r\nc\r\n*3\r\n$6\r\nframes\r\n:77\r\n$0\r\n\r\n*0\r\n";

/** Reads the whole stream above, asserting each message. */
static void expect_stream(struct mim_inbox *inbox, unsigned *at) {
    struct mim_inbox_message m;
    while (peek(inbox, &m) == 0) {
        switch ((*at)++) {
        case 0:
            assert_int_equal(m.kind, MIM_INBOX_STATUS);
            assert_true(mim_slice_equal(m.text, mim_slice_text("OK fine")));
            break;
        case 1:
            assert_int_equal(m.kind, MIM_INBOX_ERROR);
            assert_true(mim_slice_equal(m.text, mim_slice_text("ERR no")));
            break;
        case 2:
            assert_int_equal(m.kind, MIM_INBOX_INTEGER);
            assert_int_equal(m.integer, 42);
            break;
        case 3:
            assert_int_equal(m.kind, MIM_INBOX_BULK);
            assert_true(mim_slice_equal(m.text, mim_slice_text("ab\r\nc")));
            break;
        case 4:
            assert_int_equal(m.kind, MIM_INBOX_ARRAY);
            assert_int_equal(m.count, 3);
            assert_true(mim_slice_equal(m.parts[0], mim_slice_text("frames")));
            assert_true(mim_slice_equal(m.parts[1], mim_slice_text("77")));
            assert_int_equal(m.parts[2].size, 0);
            break;
        default:
            assert_int_equal(m.count, 0);
        }
        mim_inbox_drop(inbox, m.size);
    }
}

static void test_every_cut(void **state) {
    (void)state;
    for (size_t step = 1; step < sizeof(stream); step++) {
        struct mim_inbox inbox = {0};
        unsigned at = 0;
        for (size_t i = 0; i < sizeof(stream) - 1; i += step) {
            put(&inbox, stream + i, i + step < sizeof(stream) ? step : sizeof(stream) - 1 - i);
            expect_stream(&inbox, &at);
        }
        assert_int_equal(at, 6);
        mim_inbox_deinit(&inbox);
    }
}

static void test_nonsense_is_refused(void **state) {
    (void)state;
    static const char *const broken[] = {
        "hello\r\n",        "*9\r\n",
        "*-1\r\n",          "$-1\r\n",
        "$99999999999\r\n", ":\r\n",
        ":1x\r\n",          "*1\r\n+OK\r\n",
        "$1\r\nabc\r\n",    "+OK\n",
        "*1\r\n$-5\r\n",    ":99999999999999999999\r\n",
        "*2\r\n*1\r\n:1",   "*1\r\n$5000000000\r\n",
    };
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct mim_inbox inbox = {0};
        struct mim_inbox_message m;
        put(&inbox, broken[i], strlen(broken[i]));
        assert_int_equal(peek(&inbox, &m), MIM_E_INVALID);
        mim_inbox_deinit(&inbox);
    }
}

static void test_an_endless_line_is_refused(void **state) {
    (void)state;
    struct mim_inbox inbox = {0};
    struct mim_inbox_message m;
    put(&inbox, "+", 1);
    for (unsigned i = 1; i < MIM_INBOX_LINE_MAX; i++) {
        assert_int_equal(peek(&inbox, &m), MIM_E_AGAIN);
        put(&inbox, "x", 1);
    }
    assert_int_equal(peek(&inbox, &m), MIM_E_INVALID);
    mim_inbox_deinit(&inbox);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_nonsense_is_refused),
        cmocka_unit_test(test_an_endless_line_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
