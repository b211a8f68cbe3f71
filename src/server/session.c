// SPDX-License-Identifier: MIT
// A session: bytes of requests in, calls, replies held until they may leave. No sockets: connection_event.c brings the
// bytes and takes the replies.
#include <stdlib.h>
#include <string.h>

#include "server/internal.h"

void mim_session_set_limits(struct mim_session *session) {
    const struct mim_server_options *options = &session->server->options;
    struct mim_resp_limits limits = {
        .arguments_max = MIM_ARGUMENTS_MAX,
        .argument_size_max = options->query_size_max,
        .request_size_max = options->query_size_max + MIM_INLINE_SIZE_MAX,
        .inline_size_max = MIM_INLINE_SIZE_MAX,
    };
    if (!session->authenticated) {
        limits.arguments_max = MIM_NOAUTH_ARGUMENTS_MAX;
        limits.argument_size_max = MIM_NOAUTH_ARGUMENT_SIZE_MAX;
        limits.request_size_max = MIM_NOAUTH_REQUEST_SIZE_MAX;
    }
    session->parser.limits = limits;
}

void mim_session_set_user(struct mim_session *session, struct mim_acl_user *user) {
    session->authenticated = user != NULL;
    session->user = user;
    mim_session_set_limits(session);
}

struct mim_session *mim_session_new(struct mim_server *server, struct mim_transport transport) {
    struct mim_session *session = calloc(1, sizeof(*session));
    if (session == NULL) {
        return NULL;
    }
    session->magic = MIM_SESSION_MAGIC;
    session->server = server;
    session->transport = transport;
    session->reply.protocol = 2;
    session->id = ++server->session_next_id;
    session->created_ns = mim_server_now(server);
    session->active_ns = session->created_ns;
    struct mim_resp_limits none = {0};
    mim_resp_init(&session->parser, &none);
    mim_session_set_user(session, mim_acl_nobody(server));
    return session;
}

static void input_release(struct mim_session *session) {
    struct mim_server *server = session->server;
    struct mim_input *input = &session->input;
    if (input->data == NULL) {
        return;
    }
    MIM_ASSERT(server->input_bytes >= input->capacity);
    server->input_bytes -= input->capacity;
    if (input->capacity == MIM_INPUT_SIZE_MIN && server->input_pool_count < MIM_INPUT_POOL_MAX) {
        server->input_pool[server->input_pool_count++] = input->data;
    } else {
        free(input->data);
    }
    *input = (struct mim_input){0};
}

struct mim_session *mim_session_free(struct mim_session *session) {
    if (session != NULL) {
        MIM_ASSERT(session->magic == MIM_SESSION_MAGIC);
        mim_past_forget(session);
        mim_feeds_forget(session);
        session->auth_job = mim_auth_job_free(&session->server->auth_thread, session->auth_job);
        input_release(session);
        mim_resp_deinit(&session->parser);
        mim_holdback_deinit(&session->holdback);
        mim_buffer_deinit(&session->reply.out);
        session->magic = 0;
        free(session);
    }
    return NULL;
}

/* ------------------------------------------------------------------- input */

void mim_session_refuse(struct mim_session *session, const char *prefix, const char *text) {
    if (prefix[0] != '\0') {
        mim_reply_errorf(&session->reply, prefix, "%s", text);
        uint64_t end = session->output_base + session->reply.out.size;
        if (mim_holdback_add(&session->holdback, end, 0, session->received_ns, MIM_COMMAND_NONE) != 0) {
            session->doomed = true;
        }
    }
    session->closing = true;
}

/** Grows the own input to hold `size` bytes. */
static bool input_grow(struct mim_session *session, size_t size) {
    struct mim_server *server = session->server;
    struct mim_input *input = &session->input;
    if (input->data == NULL && size <= MIM_INPUT_SIZE_MIN && server->input_pool_count > 0) {
        input->data = server->input_pool[--server->input_pool_count];
        input->capacity = MIM_INPUT_SIZE_MIN;
        server->input_bytes += MIM_INPUT_SIZE_MIN;
        return true;
    }
    size_t capacity = input->capacity == 0 ? MIM_INPUT_SIZE_MIN : input->capacity;
    while (capacity < size) {
        capacity *= 2;
    }
    size_t more = capacity - input->capacity;
    if (server->input_bytes + more > MIM_INPUT_TOTAL_MAX) {
        server->counters.limit_input_total++;
        mim_session_refuse(session, "OVERLOADED", "the memory for incomplete requests is used up");
        return false;
    }
    uint8_t *data = realloc(input->data, capacity);
    if (data == NULL) {
        mim_session_refuse(session, "OVERLOADED", "out of memory");
        return false;
    }
    server->input_bytes += more;
    input->data = data;
    input->capacity = capacity;
    return true;
}

uint8_t *mim_session_room(struct mim_session *session, size_t size) {
    struct mim_input *input = &session->input;
    if (input->capacity - input->size < size && !input_grow(session, input->size + size)) {
        return NULL;
    }
    return input->data + input->size;
}

bool mim_session_keep(struct mim_session *session, const uint8_t *data, size_t size) {
    uint8_t *at = mim_session_room(session, size);
    if (at == NULL) {
        return false;
    }
    memcpy(at, data, size);
    session->input.size += size;
    return true;
}

void mim_session_drop(struct mim_session *session, size_t size) {
    struct mim_input *input = &session->input;
    MIM_ASSERT(size <= input->size);
    input->size -= size;
    if (input->size == 0) {
        input_release(session);
    } else if (size > 0) {
        memmove(input->data, input->data + size, input->size);
    }
}

/* ------------------------------------------------------------------- calls */

static bool is_http(struct mim_slice name) {
    static const char *const words[] = {"POST",  "PUT",     "HEAD",  "OPTIONS", "PATCH",
                                        "TRACE", "CONNECT", "HOST:", "DELETE"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (mim_word_is(name, words[i])) {
            return true;
        }
    }
    return false;
}

static void reply_unknown(struct mim_call *call) {
    char beginning[160];
    size_t size = 0;
    beginning[0] = '\0';
    for (size_t i = 1; i < call->count && size < 120; i++) {
        struct mim_slice argument = call->arguments[i];
        int shown = (int)(argument.size < 100 ? argument.size : 100);
        int written =
            snprintf(beginning + size, sizeof(beginning) - size, "'%.*s' ", shown, (const char *)argument.data);
        size += written > 0 ? (size_t)written : 0;
    }
    struct mim_slice name = call->arguments[0];
    mim_reply_errorf(call->reply, "ERR", "unknown command '%.*s', with args beginning with: %s",
                     (int)(name.size < 100 ? name.size : 100), (const char *)name.data, beginning);
}

bool mim_call_address(struct mim_call *call, struct mim_slice *ret_type, struct mim_slice *ret_id) {
    if (MIM_LIKELY(call->ahead != NULL && call->ahead->id.data != NULL)) {
        *ret_type = call->ahead->type;
        *ret_id = call->ahead->id;
        return true;
    }
    bool good = mim_address_split(call->arguments[1], ret_type, ret_id);
    if (MIM_UNLIKELY(!good)) {
        mim_reply_errorf(call->reply, "ERR", "the aggregate must be given as type/id");
    }
    return good;
}

/** What is checked before any handler. True: go on. Otherwise the error is written. */
static bool call_admitted(struct mim_call *call) {
    const struct mim_command *command = call->command;
    struct mim_session *session = call->session;
    int count = (int)call->count;
    if (MIM_UNLIKELY(!session->authenticated && (command->flags & MIM_COMMAND_NO_AUTH) == 0)) {
        mim_reply_errorf(call->reply, "NOAUTH", "Authentication required.");
        return false;
    }
    if (MIM_UNLIKELY(!session->admitted && !mim_permission_check(call))) {
        return false;
    }
    if (MIM_UNLIKELY(command->arity >= 0 ? count != command->arity : count < -command->arity)) {
        char name[24];
        size_t size = 0;
        for (; command->name[size] != '\0'; size++) {
            name[size] = (char)(command->name[size] | 0x20);
        }
        name[size] = '\0';
        mim_reply_errorf(call->reply, "ERR", "wrong number of arguments for '%s' command", name);
        return false;
    }
    if (MIM_UNLIKELY(call->server->phase == MIM_PHASE_LOADING && (command->flags & MIM_COMMAND_LOADING) == 0)) {
        bool copies = mim_replication_waits_for_copy(call->server);
        if (!copies || (command->flags & MIM_COMMAND_SYNCING) == 0) {
            mim_reply_errorf(call->reply, "LOADING",
                             copies ? "memimage waits for its primary's data" : "memimage is replaying its journal");
            return false;
        }
    }
    return true;
}

static enum mim_verdict_of_call call_run(struct mim_call *call) {
    struct mim_server *server = call->server;
    size_t before = call->reply->out.size;
    call->command = mim_command_find(call->arguments[0]);
    if (MIM_UNLIKELY(call->command == NULL)) {
        if (is_http(call->arguments[0])) {
            server->counters.cross_protocol++;
            if (mim_security_may_log(server)) {
                mim_log(MIM_LOG_WARNING, "cross_protocol", "client=%llu addr=%s goes_on=closed",
                        (unsigned long long)call->session->id, call->session->address);
            }
            call->session->doomed = true;
            return MIM_CALL_SILENT;
        }
        if (!call->session->authenticated) {
            mim_reply_errorf(call->reply, "NOAUTH", "Authentication required.");
        } else {
            reply_unknown(call);
        }
        return MIM_CALL_DONE;
    }
    call->index = mim_command_index(call->command);
    struct mim_command_stats *stats = &server->stats[call->index];
    if (MIM_UNLIKELY(!call_admitted(call))) {
        stats->rejected++;
        return MIM_CALL_DONE;
    }
    call->session->last_command = call->index;
    enum mim_verdict_of_call verdict = call->command->handler(call);
    if (verdict == MIM_CALL_AGAIN || verdict == MIM_CALL_SILENT) {
        MIM_ASSERT(call->reply->out.size == before);
    } else if (call->reply->out.data[before] == '-') {
        stats->failed++;
    }
    return verdict;
}

/** Executes a parsed request. False: not now, the session has stalled. */
static bool dispatch(struct mim_session *session, const struct mim_slice *arguments, uint32_t count,
                     const struct mim_ahead *ahead) {
    struct mim_server *server = session->server;
    struct mim_call call = {.server = server,
                            .session = session,
                            .reply = &session->reply,
                            .arguments = arguments,
                            .count = count,
                            .index = MIM_COMMAND_NONE,
                            .ahead = ahead};
    size_t before = session->reply.out.size;
    enum mim_verdict_of_call verdict = call_run(&call);
    session->admitted = verdict == MIM_CALL_AGAIN;
    if (MIM_UNLIKELY(verdict == MIM_CALL_AGAIN)) {
        mim_connection_stall(session, MIM_STALL_JOURNAL);
        return false;
    }
    session->requests++;
    server->counters.requests++;
    if (MIM_UNLIKELY(session->silent || session->skip_this)) {
        session->reply.out.size = before; /* CLIENT REPLY: done, and not said */
    }
    session->skip_this = session->skip_next;
    session->skip_next = false;
    if (MIM_UNLIKELY(verdict == MIM_CALL_CLOSE)) {
        session->closing = true;
    }
    if (MIM_LIKELY(session->reply.out.size != before)) {
        uint64_t end = session->output_base + session->reply.out.size;
        if (MIM_UNLIKELY(mim_holdback_add(&session->holdback, end, call.gate, session->received_ns, call.index) != 0)) {
            session->doomed = true;
        }
    }
    return true;
}

/** The same of the parser's request, which begins at `data`. */
static bool dispatch_parsed(struct mim_session *session, const uint8_t *data) {
    const struct mim_resp_parser *parser = &session->parser;
    struct mim_slice *arguments = session->server->arguments;
    MIM_ASSERT(parser->count <= MIM_ARGUMENTS_MAX);
    for (uint32_t i = 0; i < parser->count; i++) {
        arguments[i] = mim_slice_of(data + parser->spans[i].offset, parser->spans[i].size);
    }
    return dispatch(session, arguments, parser->count, NULL);
}

static bool output_is_full(const struct mim_session *session) {
    return session->reply.out.size - session->sent > MIM_OUTPUT_SOFT ||
           session->holdback.requests >= session->server->options.pipeline_max;
}

/** After a request: false when the next one has to wait, or there will be none. */
static bool goes_on(struct mim_session *session) {
    if (MIM_UNLIKELY(output_is_full(session))) {
        mim_connection_stall(session, MIM_STALL_OUTPUT);
    }
    return session->stall == MIM_STALL_NONE && !session->closing && !session->doomed;
}

#define AHEAD_MAX 16u

/** Fetches what the requests will touch: a miss of one is waited for together with those of the others. */
static void look_ahead(struct mim_server *server, const struct mim_resp_short *requests, uint32_t count,
                       struct mim_ahead ahead[AHEAD_MAX]) {
    for (uint32_t i = 0; i < count; i++) {
        mim_engine_ahead_index(server->engine, requests[i].count < 2 ? (struct mim_slice){0} : requests[i].arguments[1],
                               &ahead[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        mim_engine_ahead_slot(server->engine, &ahead[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        mim_engine_ahead_id(server->engine, &ahead[i]);
    }
}

/** Executes short requests that are there whole, some at a time; returns the bytes done with. What is left is for the
 *  parser, or the session has stalled or ends. */
static size_t consume_short(struct mim_session *session, const uint8_t *data, size_t size) {
    struct mim_resp_short requests[AHEAD_MAX];
    struct mim_ahead ahead[AHEAD_MAX];
    size_t at = 0;
    uint32_t count = AHEAD_MAX;
    while (count == AHEAD_MAX) {
        size_t parsed = at;
        for (count = 0; count < AHEAD_MAX &&
                        mim_resp_parse_short(&session->parser.limits, data + parsed, size - parsed, &requests[count]);
             count++) {
            parsed += requests[count].size;
        }
        bool looks = count > 1 && session->server->phase == MIM_PHASE_SERVING;
        if (looks) {
            look_ahead(session->server, requests, count, ahead);
        }
        for (uint32_t i = 0; i < count; i++) {
            if (MIM_UNLIKELY(!dispatch(session, requests[i].arguments, requests[i].count, looks ? &ahead[i] : NULL))) {
                return at;
            }
            at += requests[i].size;
            if (MIM_UNLIKELY(!goes_on(session))) {
                return at;
            }
        }
    }
    return at;
}

size_t mim_session_consume(struct mim_session *session, uint8_t *data, size_t size) {
    size_t at = 0;
    MIM_ASSERT(session->stall == MIM_STALL_NONE);
    while (!session->closing && !session->doomed) {
        if (session->parser.offset == 0 && !session->request_ready) {
            at += consume_short(session, data + at, size - at);
            if (session->stall != MIM_STALL_NONE || session->closing || session->doomed) {
                break;
            }
        }
        if (!session->request_ready) {
            enum mim_resp_result result = mim_resp_parse(&session->parser, data + at, size - at);
            if (result == MIM_RESP_MORE) {
                break;
            }
            if (MIM_UNLIKELY(result == MIM_RESP_BROKEN)) {
                char text[96];
                (void)snprintf(text, sizeof(text), "Protocol error: %s", session->parser.error);
                session->server->counters.protocol_errors++;
                mim_session_refuse(session, "ERR", text);
                break;
            }
            session->request_ready = session->parser.count > 0;
        }
        if (MIM_LIKELY(session->request_ready) && MIM_UNLIKELY(!dispatch_parsed(session, data + at))) {
            break;
        }
        session->request_ready = false;
        at += session->parser.offset;
        mim_resp_next(&session->parser);
        if (MIM_UNLIKELY(!goes_on(session))) {
            break;
        }
    }
    return at;
}

/* ------------------------------------------------------------------ output */

void mim_session_release(struct mim_session *session, mim_lsn_t gate, uint64_t now_ns) {
    struct mim_server *server = session->server;
    struct mim_hold_mark mark;
    while (mim_holdback_take(&session->holdback, gate, &mark)) {
        MIM_ASSERT(mark.end >= session->released);
        session->released = mark.end;
        uint64_t duration = now_ns > mark.received_ns ? now_ns - mark.received_ns : 0;
        for (uint32_t i = 0; i < mark.kind_count; i++) {
            mim_latency_add(&server->stats[mark.kinds[i].command].latency, duration, mark.kinds[i].count);
        }
    }
    mim_holdback_shrink(&session->holdback);
}

struct mim_slice mim_session_pending(const struct mim_session *session) {
    uint64_t left = session->output_base + session->sent;
    MIM_ASSERT(session->released >= left);
    return mim_slice_of(session->reply.out.data + session->sent, (size_t)(session->released - left));
}

void mim_session_sent(struct mim_session *session, size_t size) {
    struct mim_buffer *out = &session->reply.out;
    session->sent += size;
    MIM_ASSERT(session->sent <= out->size);
    if (session->sent == out->size) {
        session->output_base += out->size;
        session->sent = 0;
        out->size = 0;
        if (MIM_UNLIKELY(out->capacity > MIM_OUTPUT_KEPT)) {
            mim_buffer_deinit(out);
        }
    } else if (session->sent > MIM_OUTPUT_KEPT && session->sent > out->size / 2) {
        memmove(out->data, out->data + session->sent, out->size - session->sent);
        out->size -= session->sent;
        session->output_base += session->sent;
        session->sent = 0;
    }
    if (MIM_UNLIKELY(session->past != NULL)) {
        mim_past_sent(session);
    }
}

bool mim_session_drained(const struct mim_session *session) {
    return session->sent == session->reply.out.size && session->holdback.count == 0;
}
