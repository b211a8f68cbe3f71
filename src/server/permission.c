// SPDX-License-Identifier: MIT
// What a session's user may do: asked before every handler, by the readers of history for every event, and by the engine
// for every stream that a command writes.
#include <string.h>

#include "server/internal.h"

static bool refuse_command(struct mim_call *call) {
    char name[24];
    size_t size = 0;
    for (; call->command->name[size] != '\0' && size + 1 < sizeof(name); size++) {
        name[size] = (char)(call->command->name[size] | 0x20);
    }
    name[size] = '\0';
    call->server->counters.acl_denied_command++;
    mim_reply_errorf(call->reply, "NOPERM", "this user has no permissions to run the '%s' command", name);
    return false;
}

static bool refuse_keys(struct mim_call *call) {
    call->server->counters.acl_denied_key++;
    mim_reply_errorf(call->reply, "NOPERM", "this user has no permissions to access one of the keys used as arguments");
    return false;
}

/** The stream that FOLLOW names, of no size when it names none: then its events are filtered. */
static struct mim_slice followed(const struct mim_call *call) {
    for (size_t i = 1; i + 1 < call->count; i += 2) {
        if (mim_word_is(call->arguments[i], "STREAM")) {
            return call->arguments[i + 1];
        }
    }
    return mim_slice_of(NULL, 0);
}

/** Commands of which nothing is said here see or change whole aggregates if they are of these groups: they are for
 *  users who may access everything. */
static bool is_about_everything(const struct mim_command *command) {
    bool replication = strcmp(command->group, "replication") == 0 && (command->flags & MIM_COMMAND_ADMIN) != 0;
    return replication || strcmp(command->group, "aggregates") == 0 || strcmp(command->group, "history") == 0;
}

static bool may_touch(const struct mim_call *call, const struct mim_acl_user *user) {
    const struct mim_command *command = call->command;
    mim_command_fn *handler = command->handler;
    if (handler == mim_cmd_journal || handler == mim_cmd_unfollow) {
        return true;
    }
    struct mim_slice first = call->count > 1 ? call->arguments[1] : mim_slice_of(NULL, 0);
    if (handler == mim_cmd_follow) {
        first = followed(call);
        return first.size == 0 || mim_acl_may_access(user, first, MIM_ACL_READ);
    }
    if (handler == mim_cmd_do) {
        return mim_acl_may_access(user, first, MIM_ACL_WRITE);
    }
    if (handler == mim_cmd_get || handler == mim_cmd_state || handler == mim_cmd_events) {
        return mim_acl_may_access(user, first, MIM_ACL_READ);
    }
    if (handler == mim_cmd_query) {
        return mim_acl_may_access_type(user, first, MIM_ACL_READ);
    }
    return !is_about_everything(command) || mim_acl_may_access_all(user, MIM_ACL_READ);
}

bool mim_permission_check(struct mim_call *call) {
    const struct mim_acl_user *user = call->session->user;
    if (MIM_LIKELY(user != NULL && user->unlimited) || (call->command->flags & MIM_COMMAND_NO_AUTH) != 0) {
        return true;
    }
    struct mim_slice sub = call->count > 1 ? call->arguments[1] : mim_slice_of(NULL, 0);
    if (!mim_acl_may_call(user, call->command, sub)) {
        return refuse_command(call);
    }
    if (mim_acl_may_access_all(user, MIM_ACL_BOTH)) {
        return true;
    }
    return may_touch(call, user) ? true : refuse_keys(call);
}

/** "type/id" of a stream, against the session's user as he is now. */
static bool permits(const struct mim_session *session, struct mim_slice type, struct mim_slice id, unsigned access) {
    char address[MIM_NAME_SIZE_MAX + MIM_ID_SIZE_MAX + 2];
    if (session->user == NULL || type.size + 1 + id.size > sizeof(address)) {
        return false;
    }
    memcpy(address, type.data, type.size);
    address[type.size] = '/';
    memcpy(address + type.size + 1, id.data, id.size);
    return mim_acl_may_access(session->user, mim_slice_of(address, type.size + 1 + id.size), access);
}

static bool permits_reading(void *context, struct mim_slice type, struct mim_slice id) {
    const struct mim_session *session = context;
    return session->user != NULL &&
           (mim_acl_may_access_all(session->user, MIM_ACL_READ) || permits(session, type, id, MIM_ACL_READ));
}

static bool permits_writing(void *context, struct mim_slice type, struct mim_slice id) {
    struct mim_session *session = context;
    bool fine = permits(session, type, id, MIM_ACL_WRITE);
    session->server->counters.acl_denied_key += !fine;
    return fine;
}

struct mim_permits mim_permission_reads(struct mim_session *session) {
    return (struct mim_permits){.permits = permits_reading, .context = session};
}

struct mim_permits mim_permission_writes(struct mim_session *session) {
    if (mim_acl_may_access_all(session->user, MIM_ACL_WRITE)) {
        return (struct mim_permits){0};
    }
    return (struct mim_permits){.permits = permits_writing, .context = session};
}
