// SPDX-License-Identifier: MIT
// The table of commands: found in any case, whole words only, and every entry is fit to be shown.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <string.h>

#include "server/commands.h"

/* The handlers are not under test: the table needs their addresses. */
#define HANDLER(name)                                      \
    enum mim_verdict_of_call name(struct mim_call *call) { \
        (void)call;                                        \
        return MIM_CALL_DONE;                              \
    }
HANDLER(mim_cmd_do)
HANDLER(mim_cmd_get)
HANDLER(mim_cmd_state)
HANDLER(mim_cmd_events)
HANDLER(mim_cmd_journal)
HANDLER(mim_cmd_follow)
HANDLER(mim_cmd_unfollow)
HANDLER(mim_cmd_query)
HANDLER(mim_cmd_schema)
HANDLER(mim_cmd_digest)
HANDLER(mim_cmd_ping)
HANDLER(mim_cmd_echo)
HANDLER(mim_cmd_hello)
HANDLER(mim_cmd_auth)
HANDLER(mim_cmd_select)
HANDLER(mim_cmd_quit)
HANDLER(mim_cmd_reset)
HANDLER(mim_cmd_acl)
HANDLER(mim_cmd_client)
HANDLER(mim_cmd_command)
HANDLER(mim_cmd_config)
HANDLER(mim_cmd_info)
HANDLER(mim_cmd_time)
HANDLER(mim_cmd_shutdown)
HANDLER(mim_cmd_lastsave)
HANDLER(mim_cmd_snapshot)
HANDLER(mim_cmd_role)
HANDLER(mim_cmd_dbsize)
HANDLER(mim_cmd_replicaof)
HANDLER(mim_cmd_wait)
HANDLER(mim_cmd_failover)
HANDLER(mim_cmd_standby)
HANDLER(mim_cmd_replpromoted)

static void test_commands_are_found_in_any_case(void **state) {
    (void)state;
    size_t count;
    const struct mim_command *commands = mim_commands(&count);
    for (size_t i = 0; i < count; i++) {
        char lower[32];
        size_t size = strlen(commands[i].name);
        for (size_t k = 0; k <= size; k++) {
            lower[k] = (char)tolower((unsigned char)commands[i].name[k]);
        }
        assert_ptr_equal(mim_command_find(mim_slice_text(commands[i].name)), &commands[i]);
        assert_ptr_equal(mim_command_find(mim_slice_text(lower)), &commands[i]);
        assert_int_equal(mim_command_index(&commands[i]), i);
        assert_null(mim_command_find(mim_slice_of(lower, size - 1)));
        lower[size] = 'x';
        assert_null(mim_command_find(mim_slice_of(lower, size + 1)));
    }
}

static void test_what_is_no_command_is_not_found(void **state) {
    (void)state;
    assert_null(mim_command_find(mim_slice_of("", 0)));
    assert_null(mim_command_find(mim_slice_of("DO\0", 3)));
    assert_null(mim_command_find(mim_slice_text("D")));
    assert_null(mim_command_find(mim_slice_text("d/")));
    assert_null(mim_command_find(mim_slice_text("$O")));
}

static void test_every_entry_is_whole(void **state) {
    (void)state;
    size_t count;
    const struct mim_command *commands = mim_commands(&count);
    assert_true(count >= 20);
    for (size_t i = 0; i < count; i++) {
        assert_non_null(commands[i].handler);
        assert_true(commands[i].arity != 0);
        assert_true(strlen(commands[i].summary) > 10);
        assert_true(strlen(commands[i].group) > 3);
        bool writes = (commands[i].flags & MIM_COMMAND_WRITE) != 0;
        assert_false(writes && (commands[i].flags & (MIM_COMMAND_READONLY | MIM_COMMAND_LOADING)) != 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_are_found_in_any_case),
        cmocka_unit_test(test_what_is_no_command_is_not_found),
        cmocka_unit_test(test_every_entry_is_whole),
    };
    return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
