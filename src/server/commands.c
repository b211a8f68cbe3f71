// SPDX-License-Identifier: MIT
// The table of commands; see commands.h. The frequent ones stand first.
#include "server/commands.h"

#include "base/assert.h"

#define W MIM_COMMAND_WRITE
#define R MIM_COMMAND_READONLY
#define F MIM_COMMAND_FAST
#define A MIM_COMMAND_ADMIN
#define L MIM_COMMAND_LOADING
#define N MIM_COMMAND_NO_AUTH
#define S MIM_COMMAND_SYNCING

static const struct mim_command commands[] = {
    {"DO", -3, W | F, mim_cmd_do, "aggregates",
     "type/id Command [field value ...|{json}] [@if VERSION] [@id KEY] [@corr ID] [@cause ID] [@by ACTOR]",
     "Decides a command; answers the aggregate's version and the last event's position when they are durable."},
    {"GET", 2, R | F, mim_cmd_get, "aggregates", "type/id", "The state of an aggregate as JSON, or nil."},
    {"STATE", -2, R | F, mim_cmd_state, "aggregates", "type/id [AT VERSION n|AT POSITION p|AT TIME t|MIN POSITION p]",
     "Version and state of an aggregate, now or in the past, or nil; with MIN as soon as position p is there."},
    {"EVENTS", -2, R, mim_cmd_events, "history", "type/id [FROM version] [TO version] [COUNT n] [TYPES type,...] [REV]",
     "The events of one aggregate as CloudEvents."},
    {"JOURNAL", -1, R, mim_cmd_journal, "history", "[FROM position] [COUNT n] [TYPES type,...] [CORR id]",
     "Events of all streams in their order as CloudEvents; 1000 of them without COUNT."},
    {"FOLLOW", -1, R, mim_cmd_follow, "history", "[FROM position] [STREAM type/id|TYPE type] [TYPES type,...]",
     "Pushes every event from a position on, or from now on, as it is durable, until UNFOLLOW."},
    {"UNFOLLOW", 1, F, mim_cmd_unfollow, "history", "", "Ends FOLLOW."},
    {"QUERY", -3, R, mim_cmd_query, "aggregates", "type Name [argument ...]", "Answers a query of the model as JSON."},
    {"PING", -1, F | S, mim_cmd_ping, "connection", "[message]", "Answers PONG, or the message."},
    {"SCHEMA", -1, R | L, mim_cmd_schema, "server", "[type]", "Commands, events, state and queries as JSON."},
    {"DIGEST", 1, R, mim_cmd_digest, "server", "", "Position and digest of all state, when it is durable."},
    {"ECHO", 2, F | L, mim_cmd_echo, "connection", "message", "Answers the message."},
    {"HELLO", -1, F | L | N, mim_cmd_hello, "connection", "[protover [AUTH username password] [SETNAME name]]",
     "Chooses the protocol, 2 or 3, and tells about the server."},
    {"AUTH", -2, F | L | N, mim_cmd_auth, "connection", "[username] password", "Authenticates the connection."},
    {"ACL", -2, A | L, mim_cmd_acl, "connection", "subcommand [argument ...]",
     "WHOAMI, CAT, USERS, LIST, GETUSER, LOAD, HELP."},
    {"SELECT", 2, F | L, mim_cmd_select, "connection", "index", "There is one database: 0."},
    {"QUIT", -1, F | L | N, mim_cmd_quit, "connection", "", "Closes the connection."},
    {"RESET", 1, F | L | N, mim_cmd_reset, "connection", "", "Makes the connection as new."},
    {"CLIENT", -2, A | L, mim_cmd_client, "connection", "subcommand [argument ...]",
     "ID, INFO, LIST, GETNAME, SETNAME, SETINFO, KILL, REPLY, NO-EVICT, NO-TOUCH, HELP."},
    {"COMMAND", -1, L, mim_cmd_command, "server", "[COUNT|LIST|INFO|DOCS [name ...]]", "Tells about the commands."},
    {"CONFIG", -2, A | L, mim_cmd_config, "server", "GET pattern ...|SET name value ...|RESETSTAT",
     "Reads options, sets those that may change at run time, resets the statistics."},
    {"INFO", -1, L, mim_cmd_info, "server", "[section ...]", "Facts and figures about the server."},
    {"TIME", 1, F | L, mim_cmd_time, "server", "", "Unix seconds and microseconds."},
    {"ROLE", 1, F | L, mim_cmd_role, "replication", "", "The role in replication."},
    {"REPLICAOF", 3, A | S, mim_cmd_replicaof, "replication", "host port|NO ONE",
     "Makes this a standby of another server; or, with NO ONE, a primary, in a new epoch."},
    {"SLAVEOF", 3, A | S, mim_cmd_replicaof, "replication", "host port|NO ONE", "REPLICAOF by its old name."},
    {"WAIT", 3, F, mim_cmd_wait, "replication", "numreplicas timeout",
     "Waits until so many standbys have this connection's commands durably, or so many ms have passed; answers how "
     "many."},
    {"FAILOVER", -1, A, mim_cmd_failover, "replication", "[TO host port] [TIMEOUT ms]",
     "Hands over to a standby without loss; answers when it has taken over."},
    {"REPLICATE", -8, A, mim_cmd_standby, "replication", "protocol history epoch lsn chain position port [identity]",
     "A standby says where it stands; frames follow."},
    {"REPLFILES", 2, A, mim_cmd_standby, "replication", "all|tail", "Which files a new standby copies."},
    {"REPLREAD", 4, A, mim_cmd_standby, "replication", "path offset count", "A piece of such a file."},
    {"REPLPROBE", -3, A, mim_cmd_standby, "replication", "lsn chain [lsn chain ...]",
     "Which is the newest common boundary."},
    {"REPLACK", 3, A | F, mim_cmd_standby, "replication", "lsn position", "A standby confirms what is durable there."},
    {"REPLPROMOTED", 1, A, mim_cmd_replpromoted, "replication", "", "The standby of a FAILOVER has taken over."},
    {"SNAPSHOT", 1, A, mim_cmd_snapshot, "server", "", "Makes a snapshot; answers its position when it is complete."},
    {"LASTSAVE", 1, F | L, mim_cmd_lastsave, "server", "", "Unix seconds of the last snapshot, or of the start."},
    {"DBSIZE", 1, R | F, mim_cmd_dbsize, "server", "", "How many aggregates there are."},
    {"SHUTDOWN", -1, A | L, mim_cmd_shutdown, "server", "[SAVE|NOSAVE|NOW|FORCE]",
     "Stops the server: nothing that was accepted is lost."},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))
_Static_assert(COMMAND_COUNT < MIM_COMMAND_NONE, "room in the statistics");

#undef W
#undef R
#undef F
#undef A
#undef L
#undef N
#undef S

const struct mim_command *mim_commands(size_t *ret_count) {
    *ret_count = COMMAND_COUNT;
    return commands;
}

uint16_t mim_command_index(const struct mim_command *command) {
    MIM_ASSERT(command >= commands && command < commands + COMMAND_COUNT);
    return (uint16_t)(command - commands);
}

const struct mim_command *mim_command_find(struct mim_slice name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (mim_word_is(name, commands[i].name)) {
            return &commands[i];
        }
    }
    return NULL;
}
