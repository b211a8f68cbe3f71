// SPDX-License-Identifier: MIT
// Categories of commands: Redis's words where the thing is the same, and the groups of our table.
#include "server/acl.h"

const char *const mim_acl_categories[] = {"all",     "read",   "write",      "admin",       "dangerous",
                                          "fast",    "slow",   "connection", "replication", "aggregates",
                                          "history", "server", NULL};

bool mim_acl_is_mixed(const struct mim_command *command) {
    return command->handler == mim_cmd_client || command->handler == mim_cmd_acl;
}

bool mim_acl_is_administrative(const struct mim_command *command, struct mim_slice sub) {
    static const char *const others[] = {"LIST", "KILL", "USERS", "GETUSER", "LOAD"};
    for (size_t i = 0; mim_acl_is_mixed(command) && i < sizeof(others) / sizeof(others[0]); i++) {
        if (mim_word_is(sub, others[i])) {
            return true;
        }
    }
    return false;
}

static bool is_admin(const struct mim_command *command) {
    return (command->flags & MIM_COMMAND_ADMIN) != 0 && !mim_acl_is_mixed(command);
}

/** Whether a command, but for administrative subcommands, is in a category. */
static bool belongs(const struct mim_command *command, struct mim_slice name) {
    bool fast = (command->flags & MIM_COMMAND_FAST) != 0;
    if (mim_slice_equal(name, mim_slice_text("all"))) {
        return true;
    }
    if (mim_slice_equal(name, mim_slice_text("read"))) {
        return (command->flags & MIM_COMMAND_READONLY) != 0;
    }
    if (mim_slice_equal(name, mim_slice_text("write"))) {
        return (command->flags & MIM_COMMAND_WRITE) != 0;
    }
    if (mim_slice_equal(name, mim_slice_text("admin")) || mim_slice_equal(name, mim_slice_text("dangerous"))) {
        return is_admin(command);
    }
    if (mim_slice_equal(name, mim_slice_text("fast")) || mim_slice_equal(name, mim_slice_text("slow"))) {
        return fast == (name.data[0] == 'f');
    }
    return mim_slice_equal(name, mim_slice_text(command->group));
}

bool mim_acl_category(struct mim_slice name, uint64_t *ret_commands, uint64_t *ret_administration) {
    bool known = false;
    for (size_t i = 0; mim_acl_categories[i] != NULL; i++) {
        known |= mim_slice_equal(name, mim_slice_text(mim_acl_categories[i]));
    }
    bool all = mim_slice_equal(name, mim_slice_text("all"));
    bool admin = mim_slice_equal(name, mim_slice_text("admin")) || mim_slice_equal(name, mim_slice_text("dangerous"));
    size_t count;
    const struct mim_command *commands = mim_commands(&count);
    *ret_commands = 0;
    *ret_administration = 0;
    for (size_t i = 0; i < count; i++) {
        *ret_commands |= (uint64_t)belongs(&commands[i], name) << i;
        *ret_administration |= (uint64_t)((all || admin) && mim_acl_is_mixed(&commands[i])) << i;
    }
    return known;
}
