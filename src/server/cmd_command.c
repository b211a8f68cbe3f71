// SPDX-License-Identifier: MIT
// COMMAND, COMMAND COUNT, LIST, INFO and DOCS: the table as Redis clients want to see it.
#include <string.h>

#include "server/internal.h"

static void lower_text(struct mim_reply *reply, const char *upper) {
    char name[32];
    size_t size = 0;
    for (; upper[size] != '\0' && size < sizeof(name); size++) {
        char c = upper[size];
        name[size] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    mim_reply_bulk(reply, mim_slice_of(name, size));
}

static void reply_flags(struct mim_reply *reply, unsigned flags) {
    static const struct {
        unsigned flag;
        const char *name;
    } names[] = {{MIM_COMMAND_WRITE, "write"}, {MIM_COMMAND_READONLY, "readonly"}, {MIM_COMMAND_FAST, "fast"},
                 {MIM_COMMAND_ADMIN, "admin"}, {MIM_COMMAND_LOADING, "loading"},   {MIM_COMMAND_NO_AUTH, "no_auth"}};
    size_t count = sizeof(names) / sizeof(names[0]);
    size_t set = 0;
    for (size_t i = 0; i < count; i++) {
        set += (flags & names[i].flag) != 0;
    }
    mim_reply_set(reply, set);
    for (size_t i = 0; i < count; i++) {
        if ((flags & names[i].flag) != 0) {
            mim_reply_simple(reply, names[i].name);
        }
    }
}

/** name, arity, flags, first key, last key, step, categories, tips, key specifications, subcommands */
static void reply_entry(struct mim_reply *reply, const struct mim_command *command) {
    bool addressed = strncmp(command->usage, "type/id", 7) == 0;
    mim_reply_array(reply, 10);
    lower_text(reply, command->name);
    mim_reply_integer(reply, command->arity);
    reply_flags(reply, command->flags);
    mim_reply_integer(reply, addressed ? 1 : 0);
    mim_reply_integer(reply, addressed ? 1 : 0);
    mim_reply_integer(reply, addressed ? 1 : 0);
    mim_reply_set(reply, 0);
    mim_reply_array(reply, 0);
    mim_reply_array(reply, 0);
    mim_reply_array(reply, 0);
}

static void reply_docs(struct mim_reply *reply, const struct mim_command *command) {
    lower_text(reply, command->name);
    bool has_usage = command->usage[0] != '\0';
    mim_reply_map(reply, has_usage ? 4 : 3);
    mim_reply_text(reply, "summary");
    mim_reply_text(reply, command->summary);
    mim_reply_text(reply, "since");
    mim_reply_text(reply, "0.1.0");
    mim_reply_text(reply, "group");
    mim_reply_text(reply, command->group);
    if (has_usage) {
        mim_reply_text(reply, "arguments");
        mim_reply_array(reply, 1);
        mim_reply_map(reply, 3);
        mim_reply_text(reply, "name");
        mim_reply_text(reply, command->usage);
        mim_reply_text(reply, "type");
        mim_reply_text(reply, "string");
        mim_reply_text(reply, "display_text");
        mim_reply_text(reply, command->usage);
    }
}

static void command_info(struct mim_call *call) {
    size_t count;
    const struct mim_command *commands = mim_commands(&count);
    bool all = call->count <= 2;
    mim_reply_array(call->reply, all ? count : call->count - 2);
    for (size_t i = 0; all && i < count; i++) {
        reply_entry(call->reply, &commands[i]);
    }
    for (size_t i = 2; i < call->count; i++) {
        const struct mim_command *command = mim_command_find(call->arguments[i]);
        if (command == NULL) {
            mim_reply_null(call->reply);
        } else {
            reply_entry(call->reply, command);
        }
    }
}

static void command_docs(struct mim_call *call) {
    size_t count;
    const struct mim_command *commands = mim_commands(&count);
    if (call->count <= 2) {
        mim_reply_map(call->reply, count);
        for (size_t i = 0; i < count; i++) {
            reply_docs(call->reply, &commands[i]);
        }
        return;
    }
    size_t known = 0;
    for (size_t i = 2; i < call->count; i++) {
        known += mim_command_find(call->arguments[i]) != NULL;
    }
    mim_reply_map(call->reply, known);
    for (size_t i = 2; i < call->count; i++) {
        const struct mim_command *command = mim_command_find(call->arguments[i]);
        if (command != NULL) {
            reply_docs(call->reply, command);
        }
    }
}

enum mim_verdict_of_call mim_cmd_command(struct mim_call *call) {
    size_t count;
    const struct mim_command *commands = mim_commands(&count);
    struct mim_slice sub = call->count > 1 ? call->arguments[1] : mim_slice_text("INFO");
    if (mim_word_is(sub, "COUNT")) {
        mim_reply_integer(call->reply, (int64_t)count);
    } else if (mim_word_is(sub, "INFO")) {
        command_info(call);
    } else if (mim_word_is(sub, "DOCS")) {
        command_docs(call);
    } else if (mim_word_is(sub, "LIST") && call->count == 2) {
        mim_reply_array(call->reply, count);
        for (size_t i = 0; i < count; i++) {
            lower_text(call->reply, commands[i].name);
        }
    } else {
        mim_reply_errorf(call->reply, "ERR", "unknown subcommand '%.*s'. COMMAND COUNT, LIST, INFO, DOCS.",
                         (int)(sub.size < 64 ? sub.size : 64), (const char *)sub.data);
    }
    return MIM_CALL_DONE;
}
