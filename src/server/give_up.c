// SPDX-License-Identifier: MIT
// --sync-replicas: what was journaled here and not confirmed by standbys in time is answered UNKNOWN, with the position
// to look for. The held replies stand encoded in the session's output; they are replaced where they stand.
#include <string.h>

#include "server/internal.h"

/** Size of the line at data[0..size), its end included; 0: there is none. */
static size_t line_size(const uint8_t *data, size_t size) {
    const uint8_t *end = memchr(data, '\n', size);
    return end == NULL ? 0 : (size_t)(end - data) + 1;
}

static uint64_t line_number(const uint8_t *data, size_t size) {
    uint64_t value = 0;
    for (size_t i = 1; i < size && data[i] >= '0' && data[i] <= '9'; i++) {
        value = value * 10 + (uint64_t)(data[i] - '0');
    }
    return value;
}

/** Size of the reply at data[0..size): our own encoding, so it is whole. Iterative: arrays only add to what is left. */
static size_t reply_size(const uint8_t *data, size_t size) {
    size_t at = 0;
    for (uint64_t left = 1; left > 0; left--) {
        size_t line = line_size(data + at, size - at);
        MIM_ASSERT(line > 0);
        uint64_t number = line_number(data + at, line);
        bool absent = data[at + 1] == '-';
        switch (data[at]) {
        case '$':
        case '=':
            at += line + (absent ? 0 : (size_t)number + 2);
            break;
        case '*':
        case '~':
        case '>':
            left += absent ? 0 : number;
            at += line;
            break;
        case '%':
            left += number * 2;
            at += line;
            break;
        default:
            at += line;
            break;
        }
        MIM_ASSERT(at <= size);
    }
    return at;
}

/** DO's answer is *2 of two integers: the second is the position. */
static bool reply_position(const uint8_t *data, size_t size, uint64_t *ret_position) {
    if (size < 10 || memcmp(data, "*2\r\n:", 5) != 0) {
        return false;
    }
    size_t first = line_size(data + 4, size - 4);
    if (data[4 + first] != ':') {
        return false;
    }
    *ret_position = line_number(data + 4 + first, size - 4 - first);
    return true;
}

/** The replies of data[0..size) as they are answered instead. */
static void replies_replace(struct mim_server *server, const uint8_t *data, size_t size, struct mim_buffer *out) {
    struct mim_reply reply = {.out = *out, .protocol = 2};
    for (size_t at = 0; at < size;) {
        size_t one = reply_size(data + at, size - at);
        uint64_t position = 0;
        if (reply_position(data + at, one, &position)) {
            mim_reply_errorf(&reply, "UNKNOWN",
                             "position %llu: not confirmed by %u standbys in time; send it again with the "
                             "same @id",
                             (unsigned long long)position, server->options.sync_replicas);
        } else if (data[at] == '+' || data[at] == '-') {
            mim_buffer_append(&reply.out, data + at, one);
        } else {
            mim_reply_errorf(&reply, "UNKNOWN", "what it would show is not confirmed by %u standbys yet",
                             server->options.sync_replicas);
        }
        at += one;
    }
    *out = reply.out;
}

/** Replaces the replies of the first mark and lets them go. */
static void mark_give_up(struct mim_session *session, uint64_t mark_end) {
    struct mim_server *server = session->server;
    struct mim_buffer *out = &session->reply.out;
    size_t begin = (size_t)(session->released - session->output_base);
    size_t end = (size_t)(mark_end - session->output_base);
    struct mim_buffer *text = &server->scratch;
    text->size = 0;
    replies_replace(server, out->data + begin, end - begin, text);
    size_t rest = out->size - end;
    mim_buffer_reserve(out, text->size);
    memmove(out->data + begin + text->size, out->data + end, rest);
    memcpy(out->data + begin, text->data, text->size);
    out->size = begin + text->size + rest;
    mim_holdback_first_replaced(&session->holdback, session->output_base + begin + text->size);
    server->counters.unknown++;
    mim_connection_touch(session);
}

void mim_sessions_give_up(struct mim_server *server, bool all) {
    uint64_t patience = all ? 0 : (uint64_t)server->options.sync_timeout_ms * 1000000u;
    mim_lsn_t gate = all ? UINT64_MAX : atomic_load_explicit(&server->ring.gate_lsn, memory_order_acquire);
    struct mim_session *session;
    TAILQ_FOREACH(session, &server->sessions, all_link) {
        if (session->doomed || session->standby != NULL) {
            continue;
        }
        const struct mim_hold_mark *mark;
        while ((mark = mim_holdback_first(&session->holdback)) != NULL && mark->gate <= gate &&
               mark->gate > mim_appender_shown(&server->appender) &&
               (all || server->now_ns > mark->received_ns + patience)) {
            mark_give_up(session, mark->end);
            struct mim_hold_mark done;
            bool taken = mim_holdback_take(&session->holdback, gate, &done);
            MIM_ASSERT(taken);
            session->released = done.end;
        }
    }
}
