// SPDX-License-Identifier: MIT
// The commands: one table with name, arity, flags, handler and words for people. It is what the arity check, COMMAND,
// COMMAND DOCS and the statistics of INFO are made of.
#ifndef MIM_SERVER_COMMANDS_H
#define MIM_SERVER_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/types.h"
#include "base/words.h"

struct mim_call;

/** What a handler did. It either answers in full or leaves the output as it was. */
enum mim_verdict_of_call {
    MIM_CALL_DONE,
    MIM_CALL_AGAIN,  /* nothing happened, nothing was written: call it again when the journal has moved */
    MIM_CALL_CLOSE,  /* answered; close when the answer is out */
    MIM_CALL_SILENT, /* done, and there is no answer */
};

typedef enum mim_verdict_of_call mim_command_fn(struct mim_call *call);

enum mim_command_flag {
    MIM_COMMAND_WRITE = 1,
    MIM_COMMAND_READONLY = 2,
    MIM_COMMAND_FAST = 4,
    MIM_COMMAND_ADMIN = 8,
    MIM_COMMAND_LOADING = 16, /* served while the journal is being replayed */
    MIM_COMMAND_NO_AUTH = 32, /* served before AUTH */
    MIM_COMMAND_SYNCING = 64, /* served while a standby waits for its first copy */
};

struct mim_command {
    const char *name; /* upper case */
    int8_t arity;     /* as Redis: with the name; negative: at least */
    uint8_t flags;
    mim_command_fn *handler;
    const char *group;
    const char *usage; /* arguments, for people */
    const char *summary;
};

#define MIM_COMMANDS_MAX 48u
#define MIM_COMMAND_NONE (MIM_COMMANDS_MAX - 1u) /* counted there: what is no command of the table */

/** The table, ended by its count. */
const struct mim_command *mim_commands(size_t *ret_count);

/** Finds by name in any case; NULL when unknown. DO is found by one comparison. */
const struct mim_command *mim_command_find(struct mim_slice name);

/** Index in the table. */
uint16_t mim_command_index(const struct mim_command *command);

mim_command_fn mim_cmd_do, mim_cmd_get, mim_cmd_state, mim_cmd_query, mim_cmd_schema, mim_cmd_digest;
mim_command_fn mim_cmd_state_at, mim_cmd_events, mim_cmd_journal, mim_cmd_follow, mim_cmd_unfollow;
mim_command_fn mim_cmd_ping, mim_cmd_echo, mim_cmd_hello, mim_cmd_auth, mim_cmd_select, mim_cmd_quit, mim_cmd_reset;
mim_command_fn mim_cmd_acl, mim_cmd_client, mim_cmd_command, mim_cmd_config, mim_cmd_info, mim_cmd_time,
    mim_cmd_shutdown;
mim_command_fn mim_cmd_snapshot, mim_cmd_lastsave, mim_cmd_role, mim_cmd_dbsize;
mim_command_fn mim_cmd_replicaof, mim_cmd_wait, mim_cmd_failover;
mim_command_fn mim_cmd_standby, mim_cmd_replpromoted;

#endif
