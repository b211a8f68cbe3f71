// SPDX-License-Identifier: MIT
// Errors on their way up: codes, messages, prefixes, and messages longer than their room.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static void test_a_set_error_returns_its_code(void **state) {
    (void)state;
    struct mim_error error = {.os_errno = 5};
    assert_int_equal(mim_error_set(&error, MIM_E_DAMAGED, "block %d", 7), MIM_E_DAMAGED);
    assert_int_equal(error.code, MIM_E_DAMAGED);
    assert_int_equal(error.os_errno, 0);
    assert_string_equal(error.text, "block 7");
}

static void test_an_operating_system_error_carries_errno_and_its_text(void **state) {
    (void)state;
    struct mim_error error = {0};
    assert_int_equal(mim_error_os(&error, MIM_E_IO, EIO, "read %s", "x"), MIM_E_IO);
    assert_int_equal(error.os_errno, EIO);
    assert_string_equal(error.text, "read x: Input/output error");
}

static void test_prefixes_stack_and_keep_code_and_errno(void **state) {
    (void)state;
    struct mim_error error = {0};
    (void)mim_error_os(&error, MIM_E_NO_SPACE, ENOSPC, "write");
    assert_int_equal(mim_error_prefix(&error, "block %d", 7), MIM_E_NO_SPACE);
    assert_int_equal(mim_error_prefix(&error, "snapshot %s", "42"), MIM_E_NO_SPACE);
    assert_string_equal(error.text, "snapshot 42: block 7: write: No space left on device");
    assert_int_equal(error.os_errno, ENOSPC);
}

static void test_who_wants_no_details_gets_the_code_alone(void **state) {
    (void)state;
    assert_int_equal(mim_error_set(NULL, MIM_E_LIMIT, "%s", "x"), MIM_E_LIMIT);
    assert_int_equal(mim_error_os(NULL, MIM_E_IO, EIO, "%s", "x"), MIM_E_IO);
    assert_true(mim_error_prefix(NULL, "%s", "x") < 0);
}

static void test_too_long_a_message_is_cut_and_ends_with_a_nul(void **state) {
    (void)state;
    struct mim_error error;
    memset(&error, 0xff, sizeof(error));
    char much[2 * sizeof(error.text)];
    memset(much, 'x', sizeof(much) - 1);
    much[sizeof(much) - 1] = '\0';
    (void)mim_error_set(&error, MIM_E_IO, "%s", much);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    (void)mim_error_os(&error, MIM_E_IO, EIO, "%s", much);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    (void)mim_error_prefix(&error, "%s", much);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    for (size_t room = 0; room < 6; room++) { /* the prefix leaves next to no room for the rest */
        (void)mim_error_set(&error, MIM_E_IO, "inner");
        (void)mim_error_prefix(&error, "%.*s", (int)(sizeof(error.text) - 1 - room), much);
        assert_true(strlen(error.text) < sizeof(error.text));
    }
    (void)mim_error_set(&error, MIM_E_IO, "%.*s", (int)(sizeof(error.text) - 1), much);
    (void)mim_error_prefix(&error, "p");
    assert_memory_equal(error.text, "p: xxx", 6);
    assert_true(strlen(error.text) < sizeof(error.text));
}

static void test_every_code_has_a_name_a_sentence_and_an_exit_status(void **state) {
    (void)state;
    assert_string_equal(mim_error_name(0), "OK");
    assert_int_equal(mim_error_exit_status(0), 0);
    for (int code = -1; code >= MIM_E_STATE; code--) {
        assert_string_not_equal(mim_error_name(code), "?");
        assert_string_not_equal(mim_error_sentence(code), "unknown error");
        assert_in_range(mim_error_exit_status(code), 1, 5);
        for (int other = code + 1; other <= 0; other++) {
            assert_string_not_equal(mim_error_name(code), mim_error_name(other));
        }
    }
    assert_string_equal(mim_error_name(-1000), "?");
    assert_string_equal(mim_error_sentence(1), "unknown error");
    assert_int_equal(mim_error_exit_status(-1000), 1);
}

static void test_exit_statuses_are_the_contract_s(void **state) {
    (void)state;
    assert_int_equal(mim_error_exit_status(MIM_E_USAGE), 1);
    assert_int_equal(mim_error_exit_status(MIM_E_DAMAGED), 3);
    assert_int_equal(mim_error_exit_status(MIM_E_MODEL), 3);
    assert_int_equal(mim_error_exit_status(MIM_E_IO), 4);
    assert_int_equal(mim_error_exit_status(MIM_E_NO_SPACE), 4);
    assert_int_equal(mim_error_exit_status(MIM_E_LOCKED), 5);
}

static void test_a_text_may_go_into_its_own_successor(void **state) {
    (void)state;
    struct mim_error error;
    (void)mim_error_set(&error, MIM_E_IO, "the disk is gone");
    assert_int_equal(mim_error_set(&error, MIM_E_USAGE, "%s", error.text), MIM_E_USAGE);
    assert_string_equal(error.text, "the disk is gone");
    (void)mim_error_set(&error, MIM_E_USAGE, "data: %s", error.text);
    assert_string_equal(error.text, "data: the disk is gone");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_set_error_returns_its_code),
        cmocka_unit_test(test_an_operating_system_error_carries_errno_and_its_text),
        cmocka_unit_test(test_prefixes_stack_and_keep_code_and_errno),
        cmocka_unit_test(test_a_text_may_go_into_its_own_successor),
        cmocka_unit_test(test_who_wants_no_details_gets_the_code_alone),
        cmocka_unit_test(test_too_long_a_message_is_cut_and_ends_with_a_nul),
        cmocka_unit_test(test_every_code_has_a_name_a_sentence_and_an_exit_status),
        cmocka_unit_test(test_exit_statuses_are_the_contract_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
