// SPDX-License-Identifier: MIT
// Commands of replication: REPLICAOF ROLE WAIT FAILOVER for people; REPLICATE REPLFILES REPLREAD REPLPROBE REPLACK
// REPLPROMOTED for standbys (the conversation is told in replica/standby.h).
#include <stdlib.h>
#include <string.h>

#include "server/internal.h"

#define HANDOVER_MS_DEFAULT 10000u

static enum mim_verdict_of_call error(struct mim_call *call, const char *text) {
    mim_reply_errorf(call->reply, "ERR", "%s", text);
    return MIM_CALL_DONE;
}

/* ---------------------------------------------------------------------- for people */

enum mim_verdict_of_call mim_cmd_replicaof(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_replication *r = &server->replication;
    uint64_t port = 0;
    if (mim_word_is(call->arguments[1], "NO") && mim_word_is(call->arguments[2], "ONE")) {
        if (r->reign.role == MIM_ROLE_STANDBY || r->reign.fenced) {
            mim_replication_promote(server);
        }
        if (r->reign.promoting) {
            return MIM_CALL_AGAIN; /* answered when the new epoch is durable */
        }
        mim_reply_simple(call->reply, "OK");
        return MIM_CALL_DONE;
    }
    struct mim_slice host = call->arguments[1];
    if (!mim_word_number(call->arguments[2], 10, &port) || port == 0 || port > 65535) {
        return error(call, "Invalid master port");
    }
    if (host.size == 0 || host.size >= MIM_HOST_SIZE_MAX || memchr(host.data, '\0', host.size) != NULL) {
        return error(call, "Invalid master host");
    }
    char name[MIM_HOST_SIZE_MAX];
    (void)snprintf(name, sizeof(name), "%.*s", (int)host.size, (const char *)host.data);
    if (r->reign.role == MIM_ROLE_STANDBY && strcmp(r->host, name) == 0 && r->port == port) {
        mim_reply_simple(call->reply, "OK Already connected to specified master");
        return MIM_CALL_DONE;
    }
    mim_replication_follow(server, name, (uint16_t)port);
    mim_reply_simple(call->reply, "OK");
    return MIM_CALL_DONE;
}

static void role_of_standby(struct mim_call *call, int64_t position) {
    const struct mim_replication *r = &call->server->replication;
    mim_reply_array(call->reply, 5);
    mim_reply_text(call->reply, "slave");
    mim_reply_text(call->reply, r->host);
    mim_reply_integer(call->reply, r->port);
    mim_reply_text(call->reply, r->talking ? mim_standby_state_name(&r->standby) : "connect");
    mim_reply_integer(call->reply, position);
}

enum mim_verdict_of_call mim_cmd_role(struct mim_call *call) {
    struct mim_server *server = call->server;
    const struct mim_replication *r = &server->replication;
    const struct mim_standby_feed *feed;
    uint64_t position =
        server->ring_ready ? atomic_load_explicit(&server->ring.gate_position, memory_order_acquire) : 0;
    if (r->reign.role == MIM_ROLE_STANDBY) {
        role_of_standby(call, (int64_t)position);
        return MIM_CALL_DONE;
    }
    mim_reply_array(call->reply, 3);
    mim_reply_text(call->reply, "master");
    mim_reply_integer(call->reply, (int64_t)position);
    mim_reply_array(call->reply, r->streaming_count);
    TAILQ_FOREACH(feed, &r->feeds, link) {
        if (feed->feed.streaming) {
            char host[72];
            char text[MIM_RESP_NUMBER_SIZE_MAX];
            (void)snprintf(host, sizeof(host), "%s", feed->session->address);
            char *colon = strrchr(host, ':');
            if (colon != NULL) {
                *colon = '\0';
            }
            mim_reply_array(call->reply, 3);
            mim_reply_text(call->reply, host);
            mim_reply_bulk(call->reply, mim_slice_of(text, mim_digits(feed->feed.port, text)));
            mim_reply_bulk(call->reply, mim_slice_of(text, mim_digits(feed->feed.acked_position, text)));
        }
    }
    return MIM_CALL_DONE;
}

enum mim_verdict_of_call mim_cmd_wait(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_session *session = call->session;
    uint64_t wanted = 0;
    uint64_t ms = 0;
    if (!mim_word_number(call->arguments[1], 10, &wanted)) {
        return error(call, "value is not an integer or out of range");
    }
    if (!mim_word_number(call->arguments[2], 10, &ms) || ms > (uint64_t)INT64_MAX / 1000000u) {
        return error(call, "timeout is not an integer or out of range");
    }
    if (server->replication.reign.role == MIM_ROLE_STANDBY) {
        return error(call,
                     "WAIT cannot be used with replica instances. Please also note that writes are refused here.");
    }
    uint64_t now = server->clock.monotonic_ns(server->clock.context);
    if (session->wait_begun_ns == 0) {
        session->wait_begun_ns = now;
    }
    unsigned confirmed = mim_feeds_confirmed_count(server, session->write_gate);
    bool over = ms != 0 && now - session->wait_begun_ns >= ms * 1000000u;
    if (confirmed < wanted && !over) {
        return MIM_CALL_AGAIN;
    }
    session->wait_begun_ns = 0;
    mim_reply_integer(call->reply, confirmed);
    return MIM_CALL_DONE;
}

/** The standby that is to take over: the one that was named, or the one that is furthest. */
static struct mim_standby_feed *heir_choose(struct mim_server *server, struct mim_slice host, uint64_t port) {
    struct mim_standby_feed *feed;
    struct mim_standby_feed *best = NULL;
    TAILQ_FOREACH(feed, &server->replication.feeds, link) {
        const char *address = feed->session->address;
        bool named = host.data == NULL || (feed->feed.port == port && strlen(address) > host.size &&
                                           memcmp(address, host.data, host.size) == 0 && address[host.size] == ':');
        if (feed->feed.streaming && named && (best == NULL || feed->feed.acked_lsn > best->feed.acked_lsn)) {
            best = feed;
        }
    }
    return best;
}

/** FAILOVER [TO host port] [TIMEOUT ms], FAILOVER ABORT. Answers when the standby has taken over. */
enum mim_verdict_of_call mim_cmd_failover(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_replication *r = &server->replication;
    struct mim_slice host = {0};
    uint64_t port = 0;
    uint64_t ms = HANDOVER_MS_DEFAULT;
    if (call->session->handover_ticket != 0) {
        if (call->session->handover_ticket > r->handover_ticket) {
            return MIM_CALL_AGAIN;
        }
        call->session->handover_ticket = 0;
        if (r->handover_error[0] != '\0') {
            return error(call, r->handover_error);
        }
        mim_reply_simple(call->reply, "OK");
        return MIM_CALL_DONE;
    }
    for (size_t i = 1; i < call->count; i++) {
        if (mim_word_is(call->arguments[i], "TO") && i + 2 < call->count &&
            mim_word_number(call->arguments[i + 2], 10, &port)) {
            host = call->arguments[i + 1];
            i += 2;
        } else if (mim_word_is(call->arguments[i], "TIMEOUT") && i + 1 < call->count &&
                   mim_word_number(call->arguments[i + 1], 10, &ms) && ms > 0 && ms < 86400000u) {
            i++;
        } else {
            return error(call, "syntax error: FAILOVER [TO host port] [TIMEOUT ms]");
        }
    }
    if (r->reign.role != MIM_ROLE_PRIMARY || r->reign.fenced || r->reign.promoting) {
        return error(call, "FAILOVER is for a primary that takes commands");
    }
    if (r->handover != MIM_HANDOVER_NONE) {
        return error(call, "a FAILOVER is under way already");
    }
    r->heir = heir_choose(server, host, port);
    if (r->heir == NULL) {
        return error(call, "FAILOVER needs a connected standby");
    }
    r->handover = MIM_HANDOVER_DRAINING;
    mim_replication_guard(server);
    r->handover_error[0] = '\0';
    r->handover_deadline_ns = mim_server_now(server) + ms * 1000000u;
    mim_appender_seal(&server->appender);
    call->session->handover_ticket = r->handover_ticket + 1;
    mim_log(MIM_LOG_INFO, "handover", "to=%s its_port=%u commands=READONLY", r->heir->session->address,
            r->heir->feed.port);
    return MIM_CALL_AGAIN;
}

/* --------------------------------------------------------------------- for standbys */

static void feed_follows(struct mim_call *call, struct mim_standby_feed *feed, const struct mim_replica_point *peer) {
    struct mim_replication *r = &call->server->replication;
    mim_feeds_counted(call->server, 1);
    r->more = true;
    mim_log(MIM_LOG_INFO, "standby_follows", "addr=%s its_port=%u position=%llu behind_bytes=%llu standbys=%u",
            call->session->address, feed->feed.port, (unsigned long long)peer->position,
            (unsigned long long)(mim_access_limit(r->access) - peer->lsn), r->streaming_count);
}

/** REPLICATE, REPLFILES, REPLREAD, REPLPROBE, REPLACK: replica/answer.h knows what to say. */
enum mim_verdict_of_call mim_cmd_standby(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_error why = {0};
    if (!server->runners_ready) {
        mim_reply_errorf(call->reply, "LOADING", "there is no journal to follow yet");
        return MIM_CALL_DONE;
    }
    struct mim_standby_feed *feed = mim_feeds_get(call->session);
    if (feed == NULL) {
        return error(call, "out of memory");
    }
    if (mim_feeds_limit(server, &why) != 0) {
        return error(call, why.text);
    }
    char run[64];
    (void)snprintf(run, sizeof(run), "%s.%u", server->run_id, server->replication.reopened);
    const struct mim_answering answering = {.storage = server->storage,
                                            .engine = server->engine,
                                            .appender = &server->appender,
                                            .access = server->replication.access,
                                            .follows = server->replication.reign.role == MIM_ROLE_STANDBY,
                                            .run_id = run};
    struct mim_replica_point peer = {0};
    switch (mim_answer(&answering, &feed->feed, call->arguments, call->count, &call->reply->out, &peer)) {
    case MIM_ANSWER_GIVEN:
        break;
    case MIM_ANSWER_FOLLOWS:
        feed_follows(call, feed, &peer);
        break;
    case MIM_ANSWER_FENCED:
        mim_replication_fence(server, call->session->address, peer.epoch);
        break;
    case MIM_ANSWER_CONFIRMED:
        server->replication.acks_moved = true;
        return MIM_CALL_SILENT;
    case MIM_ANSWER_HOSTILE:
        mim_log(MIM_LOG_WARNING, "standby_refused", "addr=%s text=\"a confirmation that cannot be\" goes_on=closed",
                call->session->address);
        call->session->doomed = true;
        return MIM_CALL_SILENT;
    }
    return MIM_CALL_DONE;
}

/** REPLPROMOTED: the heir has taken over; we follow it. No answer. */
enum mim_verdict_of_call mim_cmd_replpromoted(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_replication *r = &server->replication;
    if (r->handover != MIM_HANDOVER_ASKED || call->session->standby == NULL || call->session->standby != r->heir) {
        call->session->doomed = true;
        return MIM_CALL_SILENT;
    }
    char host[72];
    (void)snprintf(host, sizeof(host), "%s", call->session->address);
    char *colon = strrchr(host, ':');
    if (colon != NULL) {
        *colon = '\0';
    }
    r->handover = MIM_HANDOVER_NONE;
    r->handover_error[0] = '\0';
    r->handover_ticket++;
    r->handovers++;
    mim_log(MIM_LOG_INFO, "handed_over", "to=%s:%u", host, r->heir->feed.port);
    mim_replication_follow(server, host, r->heir->feed.port);
    call->session->doomed = true;
    return MIM_CALL_SILENT;
}
