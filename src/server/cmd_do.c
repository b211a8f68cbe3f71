// SPDX-License-Identifier: MIT
// DO type/id Command [field value ...|{json}] [@option value ...]: the one command that changes anything.
#include <string.h>

#include "server/internal.h"

/** What no request need say. Not the whole struct is cleared: for its size compilers take a string instruction, which begins
 *  slowly; address, arguments, time and rights are filled in by mim_cmd_do. */
static void request_begin(struct mim_request *request, const struct mim_call *call) {
    static const struct mim_slice none;
    request->ahead = call->ahead;
    request->command = call->arguments[2];
    request->json = none;
    request->has_expected = false;
    request->expected_version = 0;
    request->key = none;
    request->correlation = none;
    request->causation = none;
    request->actor = none;
}

/** One option into the request. False: the error is written. */
static bool option_take(struct mim_call *call, struct mim_slice name, struct mim_slice value,
                        struct mim_request *request) {
    if (mim_word_is(name, "@IF")) {
        if (request->has_expected) {
            mim_reply_errorf(call->reply, "ERR", "@if is given twice");
            return false;
        }
        request->has_expected = true;
        if (!mim_word_number(value, 10, &request->expected_version)) {
            mim_reply_errorf(call->reply, "BADARG", "@if: must be a version, a whole number from 0");
            return false;
        }
        return true;
    }
    struct mim_slice *slot = mim_word_is(name, "@ID")      ? &request->key
                             : mim_word_is(name, "@CORR")  ? &request->correlation
                             : mim_word_is(name, "@CAUSE") ? &request->causation
                             : mim_word_is(name, "@BY")    ? &request->actor
                                                           : NULL;
    int shown = (int)(name.size < 64 ? name.size : 64);
    if (slot == NULL) {
        mim_reply_errorf(call->reply, "ERR", "unknown option '%.*s': @if, @id, @corr, @cause or @by", shown,
                         (const char *)name.data);
        return false;
    }
    if (slot->data != NULL) {
        mim_reply_errorf(call->reply, "ERR", "%.*s is given twice", shown, (const char *)name.data);
        return false;
    }
    *slot = value;
    return true;
}

/** What follows the command's name: pairs of fields or one JSON object, then pairs of options. */
static bool request_parse(struct mim_call *call, struct mim_request *request) {
    const struct mim_slice *arguments = call->arguments;
    size_t count = call->count;
    size_t at = 3;
    if (at < count && arguments[at].size > 0 && arguments[at].data[0] == '{') {
        request->json = arguments[at++];
    }
    size_t fields = 0;
    for (; at < count; at += 2) {
        struct mim_slice name = arguments[at];
        if (name.size > 0 && name.data[0] == '@') {
            break;
        }
        if (MIM_UNLIKELY(request->json.data != NULL)) {
            mim_reply_errorf(call->reply, "ERR", "fields come as JSON or as field and value, not both");
            return false;
        }
        if (MIM_UNLIKELY(at + 1 == count)) {
            mim_reply_errorf(call->reply, "BADARG", "%.*s: has no value", (int)(name.size < 64 ? name.size : 64),
                             (const char *)name.data);
            return false;
        }
        call->server->fields[fields++] = (struct mim_argument){.name = name, .value = arguments[at + 1]};
    }
    request->arguments = call->server->fields;
    request->argument_count = fields;
    for (; at < count; at += 2) {
        if (MIM_UNLIKELY(at + 1 == count)) {
            mim_reply_errorf(call->reply, "ERR", "option '%.*s' has no value",
                             (int)(arguments[at].size < 64 ? arguments[at].size : 64),
                             (const char *)arguments[at].data);
            return false;
        }
        if (MIM_UNLIKELY(!option_take(call, arguments[at], arguments[at + 1], request))) {
            return false;
        }
    }
    return true;
}

static void reply_refused(struct mim_call *call, const struct mim_outcome *outcome) {
    const char *prefix = "ERR";
    switch (outcome->kind) {
    case MIM_OUTCOME_BADARG:
        prefix = "BADARG";
        break;
    case MIM_OUTCOME_CONFLICT:
        prefix = "CONFLICT";
        break;
    case MIM_OUTCOME_REJECTED:
        prefix = "REJECTED";
        break;
    case MIM_OUTCOME_READONLY:
        prefix = "READONLY";
        break;
    case MIM_OUTCOME_OVERLOADED:
        prefix = "OVERLOADED";
        break;
    case MIM_OUTCOME_DENIED:
        prefix = "NOPERM";
        break;
    case MIM_OUTCOME_DONE:
    case MIM_OUTCOME_AGAIN:
    case MIM_OUTCOME_ERR:
        break;
    }
    mim_reply_error(call->reply, prefix, mim_slice_text(outcome->text));
}

enum mim_verdict_of_call mim_cmd_do(struct mim_call *call) {
    struct mim_server *server = call->server;
    if (MIM_UNLIKELY(server->replication.guarded)) {
        char text[MIM_HOST_SIZE_MAX + 96];
        const char *prefix = mim_replication_refusal(server, text, sizeof(text));
        if (prefix != NULL) {
            mim_reply_errorf(call->reply, prefix, "%s", text);
            return MIM_CALL_DONE;
        }
    }
    struct mim_request request;
    request_begin(&request, call);
    if (MIM_UNLIKELY(!mim_call_address(call, &request.type, &request.id))) {
        return MIM_CALL_DONE;
    }
    if (MIM_UNLIKELY(!request_parse(call, &request))) {
        return MIM_CALL_DONE;
    }
    request.wall_ms = mim_server_wall_ms(server);
    request.writes = mim_permission_writes(call->session);
    struct mim_outcome *outcome = &server->outcome;
    mim_engine_execute(server->engine, &server->appender, &request, outcome);
    if (MIM_LIKELY(outcome->kind == MIM_OUTCOME_DONE)) {
        mim_reply_pair(call->reply, outcome->version, outcome->position);
        call->session->write_gate =
            outcome->gate > call->session->write_gate ? outcome->gate : call->session->write_gate;
    } else if (outcome->kind == MIM_OUTCOME_AGAIN) {
        return MIM_CALL_AGAIN;
    } else {
        reply_refused(call, outcome);
    }
    call->gate = outcome->gate;
    return MIM_CALL_DONE;
}
