// SPDX-License-Identifier: MIT
// Connections: the sockets of sessions on the loop. One recv per readiness, at most one send per turn of the loop.
// Sessions are freed at the end of a turn only, never inside a callback.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/internal.h"

/* ----------------------------------------------------------------- transport */

static ssize_t plain_read(struct mim_transport *transport, void *data, size_t size) {
    return recv(transport->fd, data, size, 0);
}

static ssize_t plain_write(struct mim_transport *transport, const void *data, size_t size) {
    return send(transport->fd, data, size, MSG_NOSIGNAL);
}

static void plain_close(struct mim_transport *transport) {
    (void)close(transport->fd);
    transport->fd = -1;
}

static int plain_finish(struct mim_transport *transport) { return shutdown(transport->fd, SHUT_WR); }

const struct mim_transport_ops mim_transport_plain = {
    .read = plain_read, .write = plain_write, .finish = plain_finish, .close = plain_close};

struct mim_transport mim_transport_of(int fd) {
    return (struct mim_transport){
        .ops = &mim_transport_plain, .fd = fd, .read_min = MIM_INPUT_SIZE_MIN / 2, .ready = true};
}

/* -------------------------------------------------------------------- queues */

static void queue_leave(struct mim_session *session) {
    struct mim_server *server = session->server;
    if (session->queue == MIM_QUEUE_FRESH) {
        TAILQ_REMOVE(&server->fresh, session, queue_link);
    } else if (session->queue == MIM_QUEUE_WAITING) {
        TAILQ_REMOVE(&server->waiting, session, queue_link);
    }
    session->queue = MIM_QUEUE_NONE;
}

void mim_connection_touch(struct mim_session *session) {
    if (session->queue != MIM_QUEUE_FRESH) {
        queue_leave(session);
        TAILQ_INSERT_TAIL(&session->server->fresh, session, queue_link);
        session->queue = MIM_QUEUE_FRESH;
    }
}

static void reading_stop(struct mim_session *session) {
    if (session->reading) {
        (void)event_del(&session->read_event);
        session->reading = false;
    }
}

static void reading_start(struct mim_session *session) {
    if (!session->reading && !session->doomed) {
        (void)event_add(&session->read_event, NULL);
        session->reading = true;
    }
}

static void stall_leave(struct mim_session *session) {
    if (session->stall == MIM_STALL_JOURNAL) {
        TAILQ_REMOVE(&session->server->stalled, session, stall_link);
    }
    session->stall = MIM_STALL_NONE;
}

void mim_connection_stall(struct mim_session *session, enum mim_stall reason) {
    struct mim_server *server = session->server;
    MIM_ASSERT(session->stall == MIM_STALL_NONE);
    session->stall = (uint8_t)reason;
    reading_stop(session);
    if (reason == MIM_STALL_JOURNAL) {
        TAILQ_INSERT_TAIL(&server->stalled, session, stall_link);
        server->counters.stalls_journal++;
    } else {
        server->counters.stalls_output++;
        mim_connection_touch(session);
    }
}

void mim_connection_doom(struct mim_session *session) {
    session->doomed = true;
    mim_connection_touch(session);
}

static void connection_free(struct mim_session *session) {
    struct mim_server *server = session->server;
    queue_leave(session);
    stall_leave(session);
    reading_stop(session);
    if (session->writing) {
        (void)event_del(&session->write_event);
    }
    session->transport.ops->close(&session->transport);
    if (session->address_bucket != 0) {
        MIM_ASSERT(server->address_counts[session->address_bucket - 1] > 0);
        server->address_counts[session->address_bucket - 1]--;
    }
    TAILQ_REMOVE(&server->sessions, session, all_link);
    server->session_count--;
    mim_session_free(session);
}

/* ---------------------------------------------------------------------- input */

/** Executes what is there and keeps the rest. `own`: data is the session's own input. */
static void feed(struct mim_session *session, uint8_t *data, size_t size, bool own) {
    struct mim_rest *rest = &session->server->rest;
    rest->others = rest->others || rest->session != session->id;
    rest->session = session->id;
    size_t done = mim_session_consume(session, data, size);
    if (session->closing || session->doomed) {
        mim_session_drop(session, session->input.size);
    } else if (own) {
        mim_session_drop(session, done);
    } else if (MIM_UNLIKELY(done < size)) {
        (void)mim_session_keep(session, data + done, size - done);
    }
    if (session->closing) {
        reading_stop(session);
    }
    mim_connection_touch(session);
}

/** The peer has ended or the connection is broken. Answers on their way to a half-closed peer still leave. */
static void input_ended(struct mim_session *session, bool broken) {
    if (broken || session->lingering) {
        mim_connection_doom(session);
        return;
    }
    reading_stop(session);
    session->closing = true;
    mim_connection_touch(session);
}

/** A read has to write first, and the socket is full: goes on when it is not. */
static void wait_for_room(struct mim_session *session) {
    if (session->transport.wants_write && !session->writing) {
        reading_stop(session);
        (void)event_add(&session->write_event, NULL);
        session->writing = true;
    }
}

/** The connection is broken: what TLS has to say about it, before the handshake was complete. */
static void note_failure(struct mim_session *session) {
    if (session->is_tls && !session->transport.ready) {
        char reason[120];
        char quoted[MIM_LOG_QUOTED_SIZE];
        mim_tls_reason(&session->transport, reason, sizeof(reason));
        session->server->counters.tls_failures++;
        if (mim_security_may_log(session->server)) {
            mim_log(MIM_LOG_WARNING, "tls_failed", "client=%llu addr=%s text=%s goes_on=closed",
                    (unsigned long long)session->id, session->address, mim_log_quote(reason, quoted));
        }
    }
}

/** Closing, output out: what still comes in is thrown away until the peer ends too. */
static void linger(struct mim_session *session) {
    ssize_t got = session->transport.ops->read(&session->transport, session->server->read_buffer, MIM_READ_SIZE);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        mim_connection_doom(session);
    } else {
        wait_for_room(session);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct mim_session *session = mim_session_of(context);
    struct mim_server *server = session->server;
    if (MIM_UNLIKELY(session->lingering)) {
        linger(session);
        return;
    }
    bool own = session->input.size > 0;
    uint8_t *at = server->read_buffer;
    size_t room = MIM_READ_SIZE;
    if (own) {
        at = mim_session_room(session, session->transport.read_min);
        if (at == NULL) {
            reading_stop(session);
            mim_connection_touch(session);
            return;
        }
        room = session->input.capacity - session->input.size;
    }
    ssize_t got = session->transport.ops->read(&session->transport, at, room);
    if (MIM_UNLIKELY(got <= 0)) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            note_failure(session);
            input_ended(session, got < 0 || !session->transport.ready);
        } else {
            wait_for_room(session);
        }
        return;
    }
    server->counters.bytes_in += (uint64_t)got;
    session->received_ns = mim_server_now(server);
    session->active_ns = session->received_ns;
    if (own) {
        session->input.size += (size_t)got;
        feed(session, session->input.data, session->input.size, true);
    } else {
        feed(session, at, (size_t)got, false);
    }
}

/* --------------------------------------------------------------------- output */

static void on_writable(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct mim_session *session = mim_session_of(context);
    session->writing = false; /* not persistent: added again when the socket is full again */
    if (MIM_UNLIKELY(session->transport.wants_write)) {
        session->transport.wants_write = false;
        if (session->lingering || (session->stall == MIM_STALL_NONE && !session->closing)) {
            reading_start(session);
        }
    }
    mim_connection_touch(session);
}

/** One send of what was released. */
static void flush(struct mim_session *session) {
    struct mim_slice pending = mim_session_pending(session);
    if (pending.size == 0 || session->writing) {
        return;
    }
    ssize_t sent = session->transport.ops->write(&session->transport, pending.data, pending.size);
    if (MIM_UNLIKELY(sent < 0)) {
        if (errno != EAGAIN && errno != EINTR) {
            session->doomed = true;
            return;
        }
        sent = 0;
    }
    session->server->counters.bytes_out += (uint64_t)sent;
    mim_session_sent(session, (size_t)sent);
    if (MIM_UNLIKELY((size_t)sent < pending.size)) {
        (void)event_add(&session->write_event, NULL);
        session->writing = true;
    }
}

/** Goes on with requests that were read already, then with reading. */
static void resume(struct mim_session *session) {
    stall_leave(session);
    if (session->closing || session->doomed || session->server->phase > MIM_PHASE_SERVING) {
        return;
    }
    if (session->input.size > 0) {
        feed(session, session->input.data, session->input.size, true);
    }
    if (session->stall == MIM_STALL_NONE && !session->closing) {
        reading_start(session);
    }
}

/** The output is out and nothing more will come: says so, and waits for the peer to end too. */
static void finish(struct mim_session *session) {
    if (session->lingering || !mim_session_drained(session)) {
        return;
    }
    session->lingering = true;
    session->deadline_ns = session->server->now_ns + MIM_LINGER_NS;
    if (session->transport.ops->finish(&session->transport) != 0) {
        session->doomed = true;
        return;
    }
    reading_start(session);
}

static bool output_has_room(const struct mim_session *session) {
    return session->reply.out.size - session->sent <= MIM_OUTPUT_SOFT / 2 &&
           session->holdback.requests <= session->server->options.pipeline_max / 2;
}

/** One session at the end of a turn. */
static void settle(struct mim_session *session, mim_lsn_t gate) {
    struct mim_server *server = session->server;
    queue_leave(session);
    if (!session->doomed) {
        mim_session_release(session, gate, server->now_ns);
        flush(session);
    }
    if (MIM_UNLIKELY(session->reply.out.size - session->sent > server->options.output_size_max)) {
        server->counters.limit_output++;
        if (mim_security_may_log(server)) {
            mim_log(MIM_LOG_WARNING, "output_limit", "client=%llu addr=%s bytes=%zu goes_on=closed",
                    (unsigned long long)session->id, session->address, session->reply.out.size - session->sent);
        }
        session->doomed = true;
    }
    if (MIM_UNLIKELY(session->stall == MIM_STALL_OUTPUT) && !session->doomed && output_has_room(session)) {
        resume(session);
    }
    if (MIM_UNLIKELY(session->closing) && !session->doomed) {
        if (session->deadline_ns == 0) {
            session->deadline_ns = server->now_ns + 5 * MIM_LINGER_NS;
        }
        finish(session);
    }
    if (MIM_UNLIKELY(session->doomed)) {
        queue_leave(session);
        TAILQ_INSERT_TAIL(&server->doomed, session, doom_link);
    } else if (session->holdback.count > 0 && session->queue == MIM_QUEUE_NONE) {
        TAILQ_INSERT_TAIL(&server->waiting, session, queue_link);
        session->queue = MIM_QUEUE_WAITING;
    }
}

void mim_connections_settle(struct mim_server *server, bool gate_moved) {
    mim_lsn_t gate = server->appender_ready ? mim_appender_shown(&server->appender) : 0;
    if (gate_moved) {
        TAILQ_CONCAT(&server->fresh, &server->waiting, queue_link);
        struct mim_session *session;
        TAILQ_FOREACH(session, &server->fresh, queue_link) { session->queue = MIM_QUEUE_FRESH; }
    }
    /* what a settled session adds to `fresh` (a resumed one does) is for the next turn */
    struct mim_sessions batch = TAILQ_HEAD_INITIALIZER(batch);
    TAILQ_CONCAT(&batch, &server->fresh, queue_link);
    struct mim_session *session;
    while ((session = TAILQ_FIRST(&batch)) != NULL) {
        TAILQ_REMOVE(&batch, session, queue_link);
        session->queue = MIM_QUEUE_NONE;
        settle(session, gate);
    }
}

void mim_connections_retry(struct mim_server *server) {
    /* those that stall again go to the end, behind `last` */
    struct mim_session *last = TAILQ_LAST(&server->stalled, mim_sessions);
    struct mim_session *session;
    while ((session = TAILQ_FIRST(&server->stalled)) != NULL) {
        resume(session);
        if (session == last) {
            break;
        }
    }
}

void mim_connections_bury(struct mim_server *server) {
    struct mim_session *session;
    while ((session = TAILQ_FIRST(&server->doomed)) != NULL) {
        TAILQ_REMOVE(&server->doomed, session, doom_link);
        connection_free(session);
    }
}

/* ------------------------------------------------------------------ life cycle */

void mim_connection_open(struct mim_server *server, struct mim_transport transport, const struct mim_listener *listener,
                         const char *address, uint32_t bucket) {
    int fd = transport.fd;
    struct mim_session *session = mim_session_new(server, transport);
    if (session == NULL) {
        server->counters.connections_refused++;
        server->address_counts[bucket == 0 ? 0 : bucket - 1] -= bucket != 0;
        transport.ops->close(&transport);
        return;
    }
    if (!listener->is_unix) {
        int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    }
    session->is_unix = listener->is_unix;
    session->is_tls = listener->is_tls;
    session->address_bucket = bucket;
    server->counters.tls_connections += listener->is_tls;
    session->last_command = MIM_COMMAND_NONE;
    (void)snprintf(session->address, sizeof(session->address), "%s", address);
    (void)event_assign(&session->read_event, server->base, fd, EV_READ | EV_PERSIST, on_readable, session);
    (void)event_assign(&session->write_event, server->base, fd, EV_WRITE, on_writable, session);
    TAILQ_INSERT_TAIL(&server->sessions, session, all_link);
    server->session_count++;
    server->counters.connections++;
    reading_start(session);
}

void mim_connections_stop_reading(struct mim_server *server) {
    struct mim_session *session;
    TAILQ_FOREACH(session, &server->sessions, all_link) {
        if (session->standby != NULL && session->standby->feed.streaming) {
            continue; /* standbys get what is left, and confirm it */
        }
        stall_leave(session);
        if (!session->lingering) {
            reading_stop(session);
            session->closing = true;
            mim_connection_touch(session);
        }
    }
}

bool mim_connections_drained(const struct mim_server *server) {
    struct mim_session *session;
    TAILQ_FOREACH(session, &server->sessions, all_link) {
        if (!mim_session_drained(session) && session->standby == NULL) {
            return false;
        }
    }
    return true;
}

/** Why a session's time is up, NULL when it is not. */
static uint64_t *session_overdue(struct mim_session *session, uint64_t now) {
    struct mim_server *server = session->server;
    uint64_t idle = now > session->active_ns ? now - session->active_ns : 0;
    if (session->deadline_ns != 0) {
        return now > session->deadline_ns ? &server->counters.connections_evicted : NULL;
    }
    if (!session->transport.ready && now > session->created_ns + MIM_TLS_HANDSHAKE_DEADLINE_NS) {
        return &server->counters.limit_handshake;
    }
    if (!session->authenticated && now > session->created_ns + MIM_NOAUTH_DEADLINE_NS) {
        return &server->counters.limit_noauth;
    }
    if (session->stall == MIM_STALL_NONE && session->input.size > 0 && idle > MIM_PARTIAL_DEADLINE_NS) {
        return &server->counters.limit_partial;
    }
    uint64_t timeout = (uint64_t)server->options.idle_timeout_s * 1000000000u;
    if (timeout != 0 && idle > timeout && mim_session_drained(session)) {
        return &server->counters.limit_idle;
    }
    return NULL;
}

void mim_connections_tick(struct mim_server *server) {
    struct mim_session *session;
    TAILQ_FOREACH(session, &server->sessions, all_link) {
        uint64_t *counter = session_overdue(session, server->now_ns);
        if (counter != NULL) {
            *counter += 1;
            mim_connection_doom(session);
        }
    }
}

void mim_connections_close_bound(struct mim_server *server) {
    struct mim_session *next;
    for (struct mim_session *session = TAILQ_FIRST(&server->sessions); session != NULL; session = next) {
        next = TAILQ_NEXT(session, all_link);
        session->write_gate = 0;
        if (session->past != NULL || session->standby != NULL || session->holdback.count > 0) {
            connection_free(session);
        }
    }
}

void mim_connections_close_all(struct mim_server *server) {
    struct mim_session *session;
    while ((session = TAILQ_FIRST(&server->sessions)) != NULL) {
        connection_free(session);
    }
    TAILQ_INIT(&server->doomed);
}
