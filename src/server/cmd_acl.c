// SPDX-License-Identifier: MIT
// ACL WHOAMI LIST USERS CAT GETUSER LOAD HELP. Users are made in the ACL file alone.
#include <stdlib.h>

#include "server/internal.h"

static void acl_list(struct mim_call *call) {
    struct mim_server *server = call->server;
    mim_reply_array(call->reply, server->acl->user_count);
    for (uint32_t i = 0; i < server->acl->user_count; i++) {
        server->scratch.size = 0;
        mim_acl_describe(&server->acl->users[i], &server->scratch);
        mim_reply_bulk(call->reply, mim_slice_of(server->scratch.data, server->scratch.size));
    }
}

static void acl_users(struct mim_call *call) {
    mim_reply_array(call->reply, call->server->acl->user_count);
    for (uint32_t i = 0; i < call->server->acl->user_count; i++) {
        mim_reply_text(call->reply, call->server->acl->users[i].name);
    }
}

static void acl_getuser(struct mim_call *call) {
    struct mim_server *server = call->server;
    const struct mim_acl_user *user = mim_acl_find(server->acl, call->arguments[2]);
    if (user == NULL) {
        mim_reply_null(call->reply);
        return;
    }
    struct mim_reply *reply = call->reply;
    mim_reply_map(reply, 6);
    mim_reply_text(reply, "flags");
    mim_reply_set(reply, (size_t)1 + user->nopass + user->readonly);
    mim_reply_text(reply, user->enabled ? "on" : "off");
    if (user->nopass) {
        mim_reply_text(reply, "nopass");
    }
    if (user->readonly) {
        mim_reply_text(reply, "readonly");
    }
    mim_reply_text(reply, "passwords");
    mim_reply_array(reply, user->secret_count);
    for (uint32_t i = 0; i < user->secret_count; i++) {
        mim_reply_text(reply, "(hidden)");
    }
    mim_reply_text(reply, "commands");
    mim_reply_text(reply, user->rules);
    mim_reply_text(reply, "keys");
    server->scratch.size = 0;
    mim_acl_describe_patterns(user, &server->scratch);
    mim_reply_bulk(reply, mim_slice_of(server->scratch.data, server->scratch.size));
    mim_reply_text(reply, "channels");
    mim_reply_text(reply, "&*");
    mim_reply_text(reply, "selectors");
    mim_reply_array(reply, 0);
}

static void reply_lower(struct mim_reply *reply, const char *upper, const char *behind) {
    char name[48];
    int size = snprintf(name, sizeof(name), "%s%s", upper, behind);
    for (int i = 0; i < size && i < (int)sizeof(name) - 1; i++) {
        name[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] | 0x20) : name[i];
    }
    mim_reply_text(reply, name);
}

/** The commands of a category; "client|..." where only the administrative subcommands are in it. */
static void acl_category(struct mim_call *call, struct mim_slice category) {
    uint64_t commands;
    uint64_t administration;
    if (!mim_acl_category(category, &commands, &administration)) {
        mim_reply_errorf(call->reply, "ERR", "Unknown category '%.*s'", (int)(category.size < 64 ? category.size : 64),
                         (const char *)category.data);
        return;
    }
    size_t count;
    const struct mim_command *table = mim_commands(&count);
    mim_reply_array(call->reply, (size_t)__builtin_popcountll(commands | administration));
    for (size_t i = 0; i < count; i++) {
        if ((commands >> i & 1u) != 0) {
            reply_lower(call->reply, table[i].name, "");
        } else if ((administration >> i & 1u) != 0) {
            reply_lower(call->reply, table[i].name, table[i].handler == mim_cmd_client ? "|kill" : "|list");
        }
    }
}

static void acl_cat(struct mim_call *call) {
    if (call->count == 3) {
        acl_category(call, call->arguments[2]);
        return;
    }
    size_t count = 0;
    while (mim_acl_categories[count] != NULL) {
        count++;
    }
    mim_reply_array(call->reply, count);
    for (size_t i = 0; i < count; i++) {
        mim_reply_text(call->reply, mim_acl_categories[i]);
    }
}

static enum mim_verdict_of_call acl_load(struct mim_call *call) {
    struct mim_error error = {0};
    if (call->server->options.aclfile == NULL) {
        mim_reply_errorf(call->reply, "ERR",
                         "This memimage instance is not configured to use an ACL file. You may want to specify users "
                         "by the option --aclfile");
        return MIM_CALL_DONE;
    }
    if (mim_acl_reload(call->server, &error) != 0) {
        char quoted[MIM_LOG_QUOTED_SIZE];
        mim_log(MIM_LOG_WARNING, "acl_load", "text=%s goes_on=\"with the users as they were\"",
                mim_log_quote(error.text, quoted));
        mim_reply_errorf(call->reply, "ERR", "%s. WARNING: no change to the users", error.text);
        return MIM_CALL_DONE;
    }
    mim_log(MIM_LOG_INFO, "acl_load", "users=%u client=%llu", call->server->acl->user_count,
            (unsigned long long)call->session->id);
    mim_reply_simple(call->reply, "OK");
    return call->session->doomed ? MIM_CALL_CLOSE : MIM_CALL_DONE;
}

static void acl_help(struct mim_call *call) {
    static const char *const lines[] = {
        "ACL <subcommand> [<arg> ...]. Subcommands are:",
        "WHOAMI, CAT [category], USERS, LIST, GETUSER name, LOAD.",
        "Users are made in the file of --aclfile; LOAD reads it again. `memimage acl hash` makes its passwords.",
    };
    mim_reply_array(call->reply, sizeof(lines) / sizeof(lines[0]));
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        mim_reply_simple(call->reply, lines[i]);
    }
}

enum mim_verdict_of_call mim_cmd_acl(struct mim_call *call) {
    struct mim_slice sub = call->arguments[1];
    if (mim_word_is(sub, "WHOAMI") && call->count == 2) {
        mim_reply_text(call->reply, call->session->user->name);
    } else if (mim_word_is(sub, "LIST") && call->count == 2) {
        acl_list(call);
    } else if (mim_word_is(sub, "USERS") && call->count == 2) {
        acl_users(call);
    } else if (mim_word_is(sub, "GETUSER") && call->count == 3) {
        acl_getuser(call);
    } else if (mim_word_is(sub, "CAT") && call->count <= 3) {
        acl_cat(call);
    } else if (mim_word_is(sub, "LOAD") && call->count == 2) {
        return acl_load(call);
    } else if (mim_word_is(sub, "HELP") && call->count == 2) {
        acl_help(call);
    } else if (mim_word_is(sub, "SETUSER") || mim_word_is(sub, "DELUSER") || mim_word_is(sub, "SAVE")) {
        mim_reply_errorf(call->reply, "ERR", "users are made in the ACL file: edit it, then ACL LOAD");
    } else {
        mim_reply_errorf(call->reply, "ERR",
                         "unknown subcommand or wrong number of arguments for '%.*s'. Try ACL HELP.",
                         (int)(sub.size < 64 ? sub.size : 64), (const char *)sub.data);
    }
    return MIM_CALL_DONE;
}
