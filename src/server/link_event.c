// SPDX-License-Identifier: MIT
// A standby's link: one connection to the primary, kept up with back-off, its bytes carried to and from the standby
// machine (replica/standby.h), and that machine's verdicts carried out.
#include <arpa/inet.h>
#include <errno.h>
#include <event2/dns.h>
#include <event2/util.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/internal.h"

#define LINK_READ_SIZE   ((size_t)1 << 18)
#define LINK_INBOX_PAUSE (8u << 20) /* unread bytes beyond which the socket is left alone */
#define BACKOFF_FIRST_NS 50000000ull
#define BACKOFF_MOST_NS  1000000000ull
#define CONFIRM_NS       1000000000ull

static void link_retry(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    r->backoff_ns = r->backoff_ns == 0 ? BACKOFF_FIRST_NS : r->backoff_ns * 2;
    r->backoff_ns = r->backoff_ns > BACKOFF_MOST_NS ? BACKOFF_MOST_NS : r->backoff_ns;
    uint64_t jitter = (server->now_ns / 1000u) % (r->backoff_ns / 4000u + 1) * 1000u;
    uint64_t delay = r->backoff_ns - jitter;
    struct timeval pause = {.tv_sec = (time_t)(delay / 1000000000u),
                            .tv_usec = (suseconds_t)(delay % 1000000000u / 1000u)};
    r->state = MIM_LINK_WAITING;
    (void)event_add(r->retry_event, &pause);
}

void mim_link_stop(struct mim_server *server, const char *why) {
    struct mim_replication *r = &server->replication;
    if (r->talking) {
        mim_standby_end(&r->standby);
        r->talking = false;
    }
    if (r->fd >= 0) {
        (void)event_del(r->read_event);
        (void)event_del(r->write_event);
        if (r->transport.ops != NULL) {
            r->transport.ops->close(&r->transport);
        } else {
            (void)close(r->fd);
        }
        r->transport = (struct mim_transport){.fd = -1};
        r->fd = -1;
    }
    if (r->retry_event != NULL) {
        (void)event_del(r->retry_event);
    }
    if (r->state == MIM_LINK_UP || r->down_since_ns == 0) {
        r->down_since_ns = mim_server_now(server);
    }
    if (why != NULL) {
        if (strcmp(why, r->last_error) != 0) { /* told once, not at every try */
            char quoted[MIM_LOG_QUOTED_SIZE];
            mim_log(MIM_LOG_WARNING, "primary_lost", "primary=%s:%u text=%s goes_on=reconnecting", r->host, r->port,
                    mim_log_quote(why, quoted));
        }
        (void)snprintf(r->last_error, sizeof(r->last_error), "%s", why);
    }
    r->stalled = false;
    r->busy = false;
    r->deaf = false;
    r->wants_write = false;
    r->sent = 0;
    r->state = MIM_LINK_OFF;
}

static void link_lost(struct mim_server *server, const char *why) {
    mim_link_stop(server, why);
    link_retry(server);
}

/** The connection is no more: why, as far as TLS or the moment can tell. */
static void link_broken(struct mim_server *server, bool ended) {
    struct mim_replication *r = &server->replication;
    char text[200];
    char reason[120] = "";
    if (server->link_tls != NULL && !r->transport.ready) {
        mim_tls_reason(&r->transport, reason, sizeof(reason));
        (void)snprintf(text, sizeof(text), "no TLS with the primary: %s", reason);
    } else if (server->link_tls == NULL && r->standby.state <= MIM_STANDBY_ASKING) {
        (void)snprintf(text, sizeof(text),
                       "the primary closed the connection without an answer (a TLS port wants "
                       "--tls-replication)");
    } else {
        (void)snprintf(text, sizeof(text), "%s",
                       ended ? "the primary closed the connection" : "the connection is broken");
    }
    link_lost(server, text);
}

/* ------------------------------------------------------------------------- bytes */

static void link_send(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    struct mim_buffer *out = &r->standby.out;
    while (r->talking && r->transport.ready && r->sent < out->size && !r->wants_write) {
        ssize_t sent = r->transport.ops->write(&r->transport, out->data + r->sent, out->size - r->sent);
        if (sent >= 0) {
            r->sent += (size_t)sent;
        } else if (errno == EAGAIN) {
            r->wants_write = true;
            (void)event_add(r->write_event, NULL);
        } else if (errno != EINTR) {
            link_broken(server, false);
            return;
        }
    }
    if (r->talking && r->sent == out->size) {
        r->sent = 0;
        out->size = 0;
    }
}

static void reopen(struct mim_server *server, enum mim_reopen what) {
    struct mim_replication *r = &server->replication;
    r->reopen = what;
    mim_link_stop(server, NULL);
    r->backoff_ns = 0;
}

/** Carries a verdict out. False: the conversation is over. */
static bool link_obey(struct mim_server *server, enum mim_standby_verdict verdict, const struct mim_error *error) {
    struct mim_replication *r = &server->replication;
    char quoted[MIM_LOG_QUOTED_SIZE];
    r->stalled = verdict == MIM_STANDBY_STALLED;
    r->busy = verdict == MIM_STANDBY_BUSY;
    switch (verdict) {
    case MIM_STANDBY_MORE:
    case MIM_STANDBY_BUSY:
    case MIM_STANDBY_STALLED:
        return true;
    case MIM_STANDBY_INSTALL:
        r->copies++;
        mim_log(MIM_LOG_INFO, "copied", "primary=%s:%u bytes=%llu resumed=%llu", r->host, r->port,
                (unsigned long long)r->standby.incoming.bytes_total,
                (unsigned long long)r->standby.incoming.bytes_resumed);
        reopen(server, MIM_REOPEN_INSTALL);
        return false;
    case MIM_STANDBY_REWIND:
        r->point = r->standby.point;
        reopen(server, MIM_REOPEN_REWIND);
        return false;
    case MIM_STANDBY_SET_ASIDE:
        reopen(server, MIM_REOPEN_SET_ASIDE);
        return false;
    case MIM_STANDBY_PROMOTE:
        r->handed_over = true;
        mim_replication_promote(server);
        return true;
    case MIM_STANDBY_CLOSE:
        link_lost(server, error->text);
        return false;
    case MIM_STANDBY_BROKEN:
        mim_log(MIM_LOG_ERROR, "standby_broken", "text=%s goes_on=no", mim_log_quote(error->text, quoted));
        mim_link_stop(server, error->text);
        server->phase = MIM_PHASE_FAILED;
        server->exit_status = mim_error_exit_status(MIM_E_DAMAGED);
        return false;
    }
    return false;
}

/** Says once that the primary is there. */
static void link_welcomed(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    if (r->standby.state == MIM_STANDBY_STREAMING && !r->agreed) {
        r->agreed = true;
        server->gate_seen = 0; /* followers that were held back go on in this turn */
    }
    if (r->standby.state == MIM_STANDBY_STREAMING && r->down_since_ns != 0) {
        mim_log(MIM_LOG_INFO, "following", "primary=%s:%u position=%llu epoch=%u", r->host, r->port,
                (unsigned long long)atomic_load_explicit(&server->ring.gate_position, memory_order_acquire),
                r->standby.primary_epoch);
        r->down_since_ns = 0;
        r->backoff_ns = 0;
        r->last_error[0] = '\0';
        r->behind_since_ns = 0;
    }
}

static bool inbox_is_full(const struct mim_replication *r) {
    return r->standby.inbox.end - r->standby.inbox.begin > LINK_INBOX_PAUSE;
}

static void link_step(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    struct mim_error error = {0};
    if (!r->talking || r->reopen != MIM_REOPEN_NONE || r->reign.role != MIM_ROLE_STANDBY) {
        return; /* an heir takes nothing more: frames that come after its own first one would have no place */
    }
    enum mim_standby_verdict verdict = mim_standby_step(&r->standby, &error);
    r->frames += r->standby.frames;
    r->bytes += r->standby.bytes;
    r->standby.frames = 0;
    r->standby.bytes = 0;
    if (link_obey(server, verdict, &error)) {
        link_welcomed(server);
        link_send(server);
    }
    if (r->talking && r->deaf && !inbox_is_full(r)) {
        r->deaf = false;
        (void)event_add(r->read_event, NULL);
    }
}

/** Nothing to read; or TLS has something to write before it can go on. */
static void link_waits(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    if (r->transport.wants_write) {
        (void)event_add(r->write_event, NULL);
    } else {
        link_send(server); /* the handshake may be complete */
    }
}

static void link_read(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    if (!r->talking) {
        return;
    }
    if ((r->stalled || r->busy) && inbox_is_full(r)) { /* the socket waits; level-triggered, it would spin */
        r->deaf = true;
        (void)event_del(r->read_event);
        return;
    }
    uint8_t *at = mim_inbox_room(&r->standby.inbox, LINK_READ_SIZE);
    if (at == NULL) {
        link_lost(server, "out of memory");
        return;
    }
    ssize_t got = r->transport.ops->read(&r->transport, at, LINK_READ_SIZE);
    if (got > 0) {
        r->heard_ns = mim_server_now(server);
        server->counters.bytes_in += (uint64_t)got;
        mim_inbox_filled(&r->standby.inbox, (size_t)got);
        link_step(server);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        link_broken(server, got == 0);
    } else {
        link_waits(server);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    link_read(context);
}

/** Where others would reach us as their primary: by TLS where we ourselves use it. */
static uint16_t own_port(const struct mim_server *server) {
    bool by_tls = server->tls_port != 0 && (server->link_tls != NULL || server->port == 0);
    return by_tls ? server->tls_port : server->port;
}

/** The directory's name, made at the first connection of its life. */
static int identity_read(struct mim_server *server, struct mim_error *reterr) {
    struct mim_replication *r = &server->replication;
    uint8_t random[MIM_IDENTITY_SIZE / 2];
    if (r->identity[0] != '\0') {
        return 0;
    }
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return mim_error_os(reterr, MIM_E_IO, errno, "no random numbers");
    }
    int rc = mim_identity_load(server->storage, random, r->identity, reterr);
    if (rc != 0) {
        r->identity[0] = '\0';
    }
    return rc;
}

static void link_talk(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    struct mim_error error = {0};
    r->transport = mim_transport_of(r->fd);
    if (server->link_tls != NULL && mim_tls_client(server->link_tls, r->fd, r->host, &r->transport, &error) != 0) {
        link_lost(server, error.text);
        return;
    }
    if (identity_read(server, &error) != 0) {
        link_lost(server, error.text);
        return;
    }
    struct mim_standby_setup setup = {
        .storage = server->storage,
        .engine = server->engine,
        .appender = server->runners_ready ? &server->appender : NULL,
        .user = server->options.primary_user,
        .password = server->options.primary_password,
        .port = own_port(server),
        .rewind = !server->options.no_rewind,
        .tail_only = server->options.replica_tail_only,
    };
    memcpy(setup.identity, r->identity, sizeof(setup.identity));
    FILE *boot = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (boot != NULL) {
        if (fscanf(boot, "%63s", setup.boot) != 1) {
            setup.boot[0] = '\0';
        }
        (void)fclose(boot);
    }
    mim_standby_begin(&r->standby, &setup);
    r->talking = true;
    r->state = MIM_LINK_UP;
    r->heard_ns = mim_server_now(server);
    r->connects++;
    (void)event_add(r->read_event, NULL);
    if (r->transport.ready) {
        link_send(server);
    } else {
        link_read(server); /* begins the handshake */
    }
}

static void on_writable(evutil_socket_t fd, short what, void *context) {
    (void)what;
    struct mim_server *server = context;
    struct mim_replication *r = &server->replication;
    if (r->state == MIM_LINK_CONNECTING) {
        int failed = 0;
        socklen_t size = sizeof(failed);
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size);
        if (failed != 0) {
            char text[128];
            char reason[64];
            (void)snprintf(text, sizeof(text), "no connection: %s", strerror_r(failed, reason, sizeof(reason)));
            link_lost(server, text);
        } else {
            link_talk(server);
        }
        return;
    }
    r->wants_write = false;
    if (r->transport.wants_write) {
        r->transport.wants_write = false;
        link_read(server);
    }
    link_send(server);
}

/* ------------------------------------------------------------------------ connecting */

static void link_connect(struct mim_server *server, const struct sockaddr *address, socklen_t size) {
    struct mim_replication *r = &server->replication;
    int one = 1;
    r->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->fd < 0) {
        link_lost(server, "no socket");
        return;
    }
    (void)setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(r->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    (void)event_assign(r->read_event, server->base, r->fd, EV_READ | EV_PERSIST, on_readable, server);
    (void)event_assign(r->write_event, server->base, r->fd, EV_WRITE, on_writable, server);
    r->state = MIM_LINK_CONNECTING;
    r->heard_ns = mim_server_now(server);
    if (connect(r->fd, address, size) != 0 && errno != EINPROGRESS) {
        char text[128];
        char reason[64];
        (void)snprintf(text, sizeof(text), "no connection: %s", strerror_r(errno, reason, sizeof(reason)));
        link_lost(server, text);
        return;
    }
    (void)event_add(r->write_event, NULL);
}

static void on_resolved(int result, struct evutil_addrinfo *found, void *context) {
    struct mim_server *server = context;
    struct mim_replication *r = &server->replication;
    if (r->state != MIM_LINK_RESOLVING) { /* given up meanwhile */
        if (found != NULL) {
            evutil_freeaddrinfo(found);
        }
        return;
    }
    if (result != 0 || found == NULL) {
        char text[128];
        (void)snprintf(text, sizeof(text), "no address: %s", evutil_gai_strerror(result));
        link_lost(server, text);
        return;
    }
    link_connect(server, found->ai_addr, (socklen_t)found->ai_addrlen);
    evutil_freeaddrinfo(found);
}

static void link_resolve(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    char port[8];
    struct evutil_addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = EVUTIL_AI_ADDRCONFIG};
    if (r->resolver == NULL) {
        r->resolver =
            evdns_base_new(server->base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    }
    if (r->resolver == NULL) {
        link_lost(server, "no resolver");
        return;
    }
    (void)snprintf(port, sizeof(port), "%u", r->port);
    r->state = MIM_LINK_RESOLVING;
    (void)evdns_getaddrinfo(r->resolver, r->host, port, &hints, on_resolved, server); /* may answer at once */
}

void mim_link_start(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    struct sockaddr_storage storage = {0};
    int size = sizeof(storage);
    char text[MIM_HOST_SIZE_MAX + 10];
    (void)snprintf(text, sizeof(text), strchr(r->host, ':') != NULL ? "[%s]:%u" : "%s:%u", r->host, r->port);
    if (r->state == MIM_LINK_UP || r->reopen != MIM_REOPEN_NONE) {
        return;
    }
    if (server->runners_ready && !mim_engine_commands_applied(server->engine, &server->appender)) {
        link_lost(server, NULL); /* what was ours is still being written */
        return;
    }
    const char *shown = strcmp(r->host, "localhost") == 0 ? "127.0.0.1" : NULL;
    if (shown != NULL) {
        (void)snprintf(text, sizeof(text), "%s:%u", shown, r->port);
    }
    if (evutil_parse_sockaddr_port(text, (struct sockaddr *)&storage, &size) == 0) {
        link_connect(server, (struct sockaddr *)&storage, (socklen_t)size);
    } else {
        link_resolve(server);
    }
}

static void on_retry(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct mim_server *server = context;
    if (server->replication.reign.role == MIM_ROLE_STANDBY && server->phase <= MIM_PHASE_SERVING) {
        mim_link_start(server);
    }
}

/* ----------------------------------------------------------------------- turns */

/** Confirms what is on stable storage here; with durability `none`, which never says so, what is written. */
static void confirm(struct mim_server *server, bool always) {
    const struct mim_ring *ring = &server->ring;
    bool written = server->options.writer.durability == MIM_DURABILITY_NONE;
    mim_lsn_t lsn = atomic_load_explicit(written ? &ring->gate_lsn : &ring->synced_lsn, memory_order_acquire);
    mim_position_t position =
        atomic_load_explicit(written ? &ring->gate_position : &ring->synced_position, memory_order_acquire);
    mim_standby_confirm(&server->replication.standby, lsn, position, always);
}

/** How far behind the primary's last word we are, since when. */
static void lag_look(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    mim_lsn_t durable = atomic_load_explicit(&server->ring.gate_lsn, memory_order_acquire);
    if (durable >= r->standby.primary_lsn) {
        r->behind_since_ns = 0;
    } else if (r->behind_since_ns == 0) {
        r->behind_since_ns = server->now_ns;
    }
}

void mim_link_turn(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    if (!r->talking) {
        return;
    }
    if (r->stalled || r->busy) {
        link_step(server);
    }
    if (r->talking && server->runners_ready) {
        if (r->reign.role == MIM_ROLE_STANDBY) { /* an heir has confirmed all there was: what follows is its own */
            confirm(server, false);
        }
        link_send(server);
        lag_look(server);
    }
}

void mim_link_tick(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    if (r->reign.role != MIM_ROLE_STANDBY) {
        return;
    }
    uint64_t patience = (uint64_t)server->options.replica_timeout_s * 1000000000u;
    if (r->state >= MIM_LINK_RESOLVING && server->now_ns > r->heard_ns + patience) {
        link_lost(server, r->state == MIM_LINK_UP ? "the primary is silent" : "the primary does not answer");
        return;
    }
    if (r->talking && server->runners_ready && server->now_ns - r->said_ns > CONFIRM_NS) {
        r->said_ns = server->now_ns;
        confirm(server, true);
        link_send(server);
    }
    if (r->talking && r->stalled) {
        link_step(server);
    }
}

int mim_link_open(struct mim_server *server, struct mim_error *reterr) {
    struct mim_replication *r = &server->replication;
    r->fd = -1;
    r->read_event = event_new(server->base, -1, 0, on_readable, server);
    r->write_event = event_new(server->base, -1, 0, on_writable, server);
    r->retry_event = event_new(server->base, -1, 0, on_retry, server);
    if (r->read_event == NULL || r->write_event == NULL || r->retry_event == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory for the link's events");
    }
    return 0;
}

void mim_link_close(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    if (r->read_event == NULL) {
        return;
    }
    mim_link_stop(server, NULL);
    if (r->resolver != NULL) {
        evdns_base_free(r->resolver, 0);
        r->resolver = NULL;
    }
    event_free(r->read_event);
    event_free(r->write_event);
    event_free(r->retry_event);
    r->read_event = NULL;
}
