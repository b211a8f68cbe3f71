// SPDX-License-Identifier: MIT
// Commands about one connection: PING ECHO HELLO SELECT QUIT RESET. As Redis defines them.
#include <string.h>

#include "server/internal.h"

enum mim_verdict_of_call mim_cmd_ping(struct mim_call *call) {
    if (call->count > 2) {
        mim_reply_errorf(call->reply, "ERR", "wrong number of arguments for 'ping' command");
    } else if (call->count == 2) {
        mim_reply_bulk(call->reply, call->arguments[1]);
    } else {
        mim_reply_simple(call->reply, "PONG");
    }
    return MIM_CALL_DONE;
}

enum mim_verdict_of_call mim_cmd_echo(struct mim_call *call) {
    mim_reply_bulk(call->reply, call->arguments[1]);
    return MIM_CALL_DONE;
}

enum mim_verdict_of_call mim_cmd_select(struct mim_call *call) {
    if (call->arguments[1].size == 1 && call->arguments[1].data[0] == '0') {
        mim_reply_simple(call->reply, "OK");
    } else {
        mim_reply_errorf(call->reply, "ERR", "DB index is out of range");
    }
    return MIM_CALL_DONE;
}

enum mim_verdict_of_call mim_cmd_quit(struct mim_call *call) {
    mim_reply_simple(call->reply, "OK");
    return MIM_CALL_CLOSE;
}

enum mim_verdict_of_call mim_cmd_reset(struct mim_call *call) {
    struct mim_session *session = call->session;
    mim_follow_end(session);
    session->reply.protocol = 2;
    session->silent = false;
    session->skip_next = false;
    session->skip_this = false;
    session->name[0] = '\0';
    mim_session_set_user(session, mim_acl_nobody(call->server));
    mim_reply_simple(call->reply, "RESET");
    return MIM_CALL_DONE;
}

/** A client's name: printable, without spaces. False: the error is written. */
static bool name_take(struct mim_call *call, struct mim_slice name, char ret_name[MIM_CLIENT_NAME_MAX]) {
    bool fine = name.size < MIM_CLIENT_NAME_MAX;
    for (size_t i = 0; fine && i < name.size; i++) {
        fine = name.data[i] > ' ' && name.data[i] <= '~';
    }
    if (!fine) {
        mim_reply_errorf(
            call->reply, "ERR",
            "Client names cannot contain spaces, newlines or special characters, and have at most %u bytes.",
            MIM_CLIENT_NAME_MAX - 1);
        return false;
    }
    memcpy(ret_name, name.data, name.size);
    ret_name[name.size] = '\0';
    return true;
}

static void hello_reply(struct mim_call *call) {
    struct mim_reply *reply = call->reply;
    mim_reply_map(reply, 8);
    mim_reply_text(reply, "server");
    mim_reply_text(reply, "redis");
    mim_reply_text(reply, "version");
    mim_reply_text(reply, MIM_REDIS_VERSION_TEXT);
    mim_reply_text(reply, "memimage_version");
    mim_reply_text(reply, MIM_VERSION_TEXT);
    mim_reply_text(reply, "proto");
    mim_reply_integer(reply, reply->protocol);
    mim_reply_text(reply, "id");
    mim_reply_integer(reply, (int64_t)call->session->id);
    mim_reply_text(reply, "mode");
    mim_reply_text(reply, "standalone");
    mim_reply_text(reply, "role");
    mim_reply_text(reply, "master");
    mim_reply_text(reply, "modules");
    mim_reply_array(reply, 0);
}

enum mim_verdict_of_call mim_cmd_hello(struct mim_call *call) {
    struct mim_session *session = call->session;
    uint8_t protocol = session->reply.protocol;
    struct mim_acl_user *user = session->user;
    char name[MIM_CLIENT_NAME_MAX];
    (void)snprintf(name, sizeof(name), "%s", session->name);
    if (call->count >= 2) {
        struct mim_slice version = call->arguments[1];
        if (version.size != 1 || (version.data[0] != '2' && version.data[0] != '3')) {
            mim_reply_errorf(call->reply, "NOPROTO", "unsupported protocol version");
            return MIM_CALL_DONE;
        }
        protocol = (uint8_t)(version.data[0] - '0');
    }
    for (size_t i = 2; i < call->count;) {
        if (mim_word_is(call->arguments[i], "AUTH") && i + 2 < call->count) {
            enum mim_verdict_of_call verdict =
                mim_authenticate(call, call->arguments[i + 1], call->arguments[i + 2], &user);
            if (user == NULL) {
                return verdict;
            }
            i += 3;
        } else if (mim_word_is(call->arguments[i], "SETNAME") && i + 1 < call->count) {
            if (!name_take(call, call->arguments[i + 1], name)) {
                return MIM_CALL_DONE;
            }
            i += 2;
        } else {
            mim_reply_errorf(call->reply, "ERR", "syntax error in HELLO");
            return MIM_CALL_DONE;
        }
    }
    if (user == NULL) {
        mim_reply_errorf(call->reply, "NOAUTH",
                         "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
                         "<user> <pass> option can be used to authenticate the client");
        return MIM_CALL_DONE;
    }
    mim_session_set_user(session, user);
    session->reply.protocol = protocol;
    memcpy(session->name, name, sizeof(name));
    hello_reply(call);
    return MIM_CALL_DONE;
}

/* ------------------------------------------------------------------- CLIENT */

static void client_setinfo(struct mim_call *call) {
    if (call->count != 4) {
        mim_reply_errorf(call->reply, "ERR", "wrong number of arguments for 'client|setinfo' command");
        return;
    }
    char text[MIM_CLIENT_NAME_MAX];
    if (!name_take(call, call->arguments[3], text)) {
        return;
    }
    if (mim_word_is(call->arguments[2], "LIB-NAME")) {
        memcpy(call->session->library, text, sizeof(text));
    } else if (mim_word_is(call->arguments[2], "LIB-VER")) {
        memcpy(call->session->library_version, text, sizeof(text));
    } else {
        mim_reply_errorf(call->reply, "ERR", "Unrecognized option in CLIENT SETINFO");
        return;
    }
    mim_reply_simple(call->reply, "OK");
}

static bool kill_matches(const struct mim_session *session, struct mim_slice what, struct mim_slice value) {
    if (mim_word_is(what, "ID")) {
        char id[24];
        return mim_slice_equal(value, mim_slice_of(id, mim_digits(session->id, id)));
    }
    return mim_slice_equal(value, mim_slice_text(session->address));
}

/** CLIENT KILL addr, or with one filter: ID id, ADDR addr. */
static enum mim_verdict_of_call client_kill(struct mim_call *call) {
    bool plain = call->count == 3;
    bool filter =
        call->count == 4 && (mim_word_is(call->arguments[2], "ID") || mim_word_is(call->arguments[2], "ADDR"));
    if (!plain && !filter) {
        mim_reply_errorf(call->reply, "ERR", "syntax error: CLIENT KILL addr, ID id or ADDR addr");
        return MIM_CALL_DONE;
    }
    struct mim_slice what = plain ? mim_slice_text("ADDR") : call->arguments[2];
    int64_t killed = 0;
    bool self = false;
    struct mim_session *session;
    TAILQ_FOREACH(session, &call->server->sessions, all_link) {
        if (kill_matches(session, what, call->arguments[call->count - 1])) {
            killed++;
            if (session == call->session) {
                self = true;
            } else {
                mim_connection_doom(session);
            }
        }
    }
    if (filter) {
        mim_reply_integer(call->reply, killed);
    } else if (killed > 0) {
        mim_reply_simple(call->reply, "OK");
    } else {
        mim_reply_errorf(call->reply, "ERR", "No such client");
    }
    return self ? MIM_CALL_CLOSE : MIM_CALL_DONE;
}

static enum mim_verdict_of_call client_reply(struct mim_call *call) {
    struct mim_session *session = call->session;
    struct mim_slice mode = call->count == 3 ? call->arguments[2] : mim_slice_text("");
    if (mim_word_is(mode, "ON")) {
        session->silent = false;
        mim_reply_simple(call->reply, "OK");
        return MIM_CALL_DONE;
    }
    if (mim_word_is(mode, "OFF")) {
        session->silent = true;
        return MIM_CALL_SILENT;
    }
    if (mim_word_is(mode, "SKIP")) {
        session->skip_next = !session->silent;
        return MIM_CALL_SILENT;
    }
    mim_reply_errorf(call->reply, "ERR", "syntax error: CLIENT REPLY ON|OFF|SKIP");
    return MIM_CALL_DONE;
}

static void client_list(struct mim_call *call, bool all) {
    struct mim_server *server = call->server;
    server->scratch.size = 0;
    struct mim_session *session;
    TAILQ_FOREACH(session, &server->sessions, all_link) {
        if (all || session == call->session) {
            mim_info_client(session, &server->scratch);
        }
    }
    mim_reply_verbatim(call->reply, mim_slice_of(server->scratch.data, server->scratch.size));
}

static void client_help(struct mim_call *call) {
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> ...]. Subcommands are:",
        "GETNAME, ID, INFO, LIST, SETNAME name, SETINFO LIB-NAME|LIB-VER value,",
        "KILL addr, KILL ID id, KILL ADDR addr, REPLY ON|OFF|SKIP, NO-EVICT ON|OFF, NO-TOUCH ON|OFF",
    };
    mim_reply_array(call->reply, sizeof(lines) / sizeof(lines[0]));
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        mim_reply_simple(call->reply, lines[i]);
    }
}

enum mim_verdict_of_call mim_cmd_client(struct mim_call *call) {
    struct mim_session *session = call->session;
    struct mim_slice sub = call->arguments[1];
    if (mim_word_is(sub, "ID")) {
        mim_reply_integer(call->reply, (int64_t)session->id);
    } else if (mim_word_is(sub, "GETNAME")) {
        if (session->name[0] == '\0') {
            mim_reply_null(call->reply);
        } else {
            mim_reply_text(call->reply, session->name);
        }
    } else if (mim_word_is(sub, "SETNAME") && call->count == 3) {
        if (name_take(call, call->arguments[2], session->name)) {
            mim_reply_simple(call->reply, "OK");
        }
    } else if (mim_word_is(sub, "SETINFO")) {
        client_setinfo(call);
    } else if (mim_word_is(sub, "LIST") || mim_word_is(sub, "INFO")) {
        client_list(call, mim_word_is(sub, "LIST"));
    } else if (mim_word_is(sub, "KILL")) {
        return client_kill(call);
    } else if (mim_word_is(sub, "REPLY")) {
        return client_reply(call);
    } else if ((mim_word_is(sub, "NO-EVICT") || mim_word_is(sub, "NO-TOUCH")) && call->count == 3) {
        mim_reply_simple(call->reply, "OK"); /* nobody is evicted, nothing is touched */
    } else if (mim_word_is(sub, "HELP")) {
        client_help(call);
    } else {
        mim_reply_errorf(call->reply, "ERR",
                         "unknown subcommand or wrong number of arguments for '%.*s'. Try CLIENT HELP.",
                         (int)(sub.size < 64 ? sub.size : 64), (const char *)sub.data);
    }
    return MIM_CALL_DONE;
}
