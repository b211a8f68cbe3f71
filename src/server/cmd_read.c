// SPDX-License-Identifier: MIT
// Reading: GET, STATE, QUERY, SCHEMA, DIGEST. What they show leaves when it is durable: the engine says the gate.
#include <string.h>

#include "server/internal.h"

/** The JSON of the named aggregate into server->scratch. True: it exists. Otherwise the answer is written. */
static bool state_fetch(struct mim_call *call, mim_version_t *ret_version) {
    struct mim_server *server = call->server;
    struct mim_slice type;
    struct mim_slice id;
    server->scratch.size = 0;
    if (call->ahead != NULL && mim_engine_ahead_found(server->engine, call->ahead)) {
        mim_engine_state(server->engine, &server->appender, (unsigned)call->ahead->aggregate, call->ahead->stream,
                         &server->scratch, ret_version, &call->gate);
        return true;
    }
    if (!mim_call_address(call, &type, &id)) {
        return false;
    }
    struct mim_error error = {0};
    int rc =
        mim_engine_get(server->engine, &server->appender, type, id, &server->scratch, ret_version, &call->gate, &error);
    if (rc == MIM_E_NOT_FOUND) {
        mim_reply_null(call->reply);
    } else if (rc != 0) {
        mim_reply_errorf(call->reply, "ERR", "%s", error.text);
    }
    return rc == 0;
}

static struct mim_slice scratch_slice(const struct mim_server *server) {
    return mim_slice_of(server->scratch.data, server->scratch.size);
}

enum mim_verdict_of_call mim_cmd_get(struct mim_call *call) {
    mim_version_t version;
    if (state_fetch(call, &version)) {
        mim_reply_bulk(call->reply, scratch_slice(call->server));
    }
    return MIM_CALL_DONE;
}

#define MIN_POSITION_WAIT_NS 1000000000ull

/** STATE ... MIN POSITION p [TIMEOUT ms]: has the image come that far? False: the verdict says what to do. */
static bool position_reached(struct mim_call *call, enum mim_verdict_of_call *ret_verdict) {
    struct mim_server *server = call->server;
    struct mim_session *session = call->session;
    struct mim_engine_point point;
    const struct mim_slice *a = call->arguments;
    int64_t position = 0;
    int64_t ms = (int64_t)(MIN_POSITION_WAIT_NS / 1000000u);
    bool good =
        (call->count == 5 ||
         (call->count == 7 && mim_word_is(a[5], "TIMEOUT") &&
          mim_parse_i64((struct mim_string){.data = (const char *)a[6].data, .size = a[6].size}, 0, 3600000, &ms))) &&
        mim_word_is(a[3], "POSITION") &&
        mim_parse_i64((struct mim_string){.data = (const char *)a[4].data, .size = a[4].size}, 0, INT64_MAX, &position);
    if (!good) {
        mim_reply_errorf(call->reply, "ERR", "syntax error: STATE type/id MIN POSITION p [TIMEOUT ms]");
        return false;
    }
    mim_engine_point(server->engine, &point);
    uint64_t now = server->clock.monotonic_ns(server->clock.context);
    if (session->wait_begun_ns == 0) {
        session->wait_begun_ns = now;
    }
    if (point.position < (uint64_t)position && now - session->wait_begun_ns < (uint64_t)ms * 1000000u) {
        *ret_verdict = MIM_CALL_AGAIN;
        return false;
    }
    session->wait_begun_ns = 0;
    if (point.position < (uint64_t)position) {
        mim_reply_errorf(call->reply, "UNKNOWN", "position %lld is not here after %lld ms: this server is at %llu",
                         (long long)position, (long long)ms, (unsigned long long)point.position);
    }
    return point.position >= (uint64_t)position;
}

enum mim_verdict_of_call mim_cmd_state(struct mim_call *call) {
    if (call->count > 2 && !mim_word_is(call->arguments[2], "MIN")) {
        return mim_cmd_state_at(call);
    }
    if (call->count > 2) {
        enum mim_verdict_of_call verdict = MIM_CALL_DONE;
        if (!position_reached(call, &verdict)) {
            return verdict;
        }
    }
    mim_version_t version;
    if (state_fetch(call, &version)) {
        mim_reply_array(call->reply, 2);
        mim_reply_integer(call->reply, version);
        mim_reply_bulk(call->reply, scratch_slice(call->server));
    }
    return MIM_CALL_DONE;
}

enum mim_verdict_of_call mim_cmd_query(struct mim_call *call) {
    struct mim_server *server = call->server;
    size_t count = call->count - 3;
    for (size_t i = 0; i < count; i++) {
        struct mim_slice argument = call->arguments[3 + i];
        server->strings[i] = (struct mim_string){.data = (const char *)argument.data, .size = argument.size};
    }
    struct mim_error error = {0};
    server->scratch.size = 0;
    int rc = mim_engine_query(server->engine, &server->appender, call->arguments[1], call->arguments[2],
                              server->strings, count, &server->scratch, &call->gate, &error);
    if (rc == 0) {
        mim_reply_bulk(call->reply, scratch_slice(server));
    } else {
        mim_reply_errorf(call->reply, rc == MIM_E_NOT_FOUND ? "NOTFOUND" : "BADARG", "%s", error.text);
    }
    return MIM_CALL_DONE;
}

enum mim_verdict_of_call mim_cmd_schema(struct mim_call *call) {
    struct mim_server *server = call->server;
    int aggregate = -1;
    if (call->count > 2) {
        mim_reply_errorf(call->reply, "ERR", "syntax error: SCHEMA [type]");
        return MIM_CALL_DONE;
    }
    if (call->count == 2) {
        aggregate = mim_compiled_aggregate(server->options.compiled, call->arguments[1]);
        if (aggregate < 0) {
            struct mim_slice name = call->arguments[1];
            mim_reply_errorf(call->reply, "NOTFOUND", "unknown aggregate type '%.*s'",
                             (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
            return MIM_CALL_DONE;
        }
    }
    server->scratch.size = 0;
    struct mim_json json = mim_json_to(&server->scratch);
    mim_schema_json(&json, server->options.compiled, aggregate);
    mim_reply_bulk(call->reply, scratch_slice(server));
    return MIM_CALL_DONE;
}

enum mim_verdict_of_call mim_cmd_digest(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_engine_point point;
    mim_engine_point(server->engine, &point);
    char text[17];
    (void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)mim_engine_digest(server->engine));
    call->gate = mim_engine_gate_all(server->engine, &server->appender);
    mim_reply_array(call->reply, 2);
    mim_reply_integer(call->reply, (int64_t)point.position);
    mim_reply_text(call->reply, text);
    return MIM_CALL_DONE;
}
