// SPDX-License-Identifier: MIT
// The standbys at our side: each is a session that turned into a cursor over the journal's files. Frames leave in slices
// at the end of turns, as far as the session's output has room; confirmations come in as commands.
#include <stdlib.h>

#include "server/internal.h"

#define FEED_OUTPUT_MAX  (4u << 20)    /* bytes waiting for one standby */
#define FEED_SLICE_BYTES (1u << 20)    /* of one standby in one turn */
#define BEAT_NS          200000000ull  /* while frames flow */
#define BEAT_IDLE_NS     1000000000ull /* at least so often */
#define SAMPLE_NS        10000000ull

/* ------------------------------------------------------------------- life cycle */

struct mim_standby_feed *mim_feeds_get(struct mim_session *session) {
    struct mim_replication *r = &session->server->replication;
    if (session->standby == NULL) {
        struct mim_standby_feed *feed = calloc(1, sizeof(*feed));
        if (feed != NULL) {
            feed->session = session;
            TAILQ_INSERT_TAIL(&r->feeds, feed, link);
            r->feed_count++;
            session->standby = feed;
        }
    }
    return session->standby;
}

void mim_feeds_forget(struct mim_session *session) {
    struct mim_replication *r = &session->server->replication;
    struct mim_standby_feed *feed = session->standby;
    if (feed == NULL) {
        return;
    }
    if (feed->feed.streaming) {
        feed->feed.streaming = false;
        mim_feeds_counted(session->server, -1);
        mim_log(MIM_LOG_WARNING, "standby_left", "addr=%s confirmed_position=%llu standbys=%u", session->address,
                (unsigned long long)feed->feed.acked_position, r->streaming_count);
    }
    if (r->heir == feed) {
        r->heir = NULL;
    }
    mim_file_close(session->server->storage, feed->feed.file);
    TAILQ_REMOVE(&r->feeds, feed, link);
    r->feed_count--;
    free(feed);
    session->standby = NULL;
}

int mim_feeds_limit(struct mim_server *server, struct mim_error *reterr) {
    struct mim_replication *r = &server->replication;
    if (r->access == NULL) {
        int rc = mim_access_open(server->storage, &r->access, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    return mim_access_set_limit(r->access, atomic_load_explicit(&server->ring.gate_lsn, memory_order_acquire),
                                server->appender.segment_base_lsn, reterr);
}

/* ------------------------------------------------------------------------ output */

static size_t output_waiting(const struct mim_session *session) { return session->reply.out.size - session->sent; }

/** Lets the bytes behind `before` leave: at once, or behind replies that wait. */
static void output_release(struct mim_session *session, size_t before) {
    if (session->reply.out.size == before) {
        return;
    }
    uint64_t end = session->output_base + session->reply.out.size;
    if (session->holdback.count == 0) {
        session->released = end;
    } else if (mim_holdback_add(&session->holdback, end, 0, session->server->now_ns, MIM_COMMAND_NONE) != 0) {
        session->doomed = true;
    }
    mim_connection_touch(session);
}

void mim_feeds_push(struct mim_standby_feed *feed, const char *word, const uint64_t *numbers, size_t count) {
    struct mim_session *session = feed->session;
    size_t before = session->reply.out.size;
    mim_push_word(&session->reply.out, word, numbers, count);
    output_release(session, before);
}

static void beat(struct mim_server *server, struct mim_standby_feed *feed) {
    const uint64_t numbers[] = {
        atomic_load_explicit(&server->ring.gate_lsn, memory_order_acquire),
        atomic_load_explicit(&server->ring.gate_position, memory_order_acquire),
        server->appender.epoch,
    };
    feed->beat_ns = server->now_ns;
    mim_feeds_push(feed, "beat", numbers, 3);
}

static void feed_fail(struct mim_standby_feed *feed, const char *text) {
    struct mim_session *session = feed->session;
    char quoted[MIM_LOG_QUOTED_SIZE];
    mim_log(MIM_LOG_WARNING, "standby_refused", "addr=%s text=%s goes_on=closed", session->address,
            mim_log_quote(text, quoted));
    mim_session_refuse(session, "ERR", text);
    mim_connection_touch(session);
}

/** Sends what is durable and fits. True: there is more. */
static bool feed_serve(struct mim_server *server, struct mim_standby_feed *feed) {
    struct mim_session *session = feed->session;
    size_t sent = 0;
    while (sent < FEED_SLICE_BYTES) {
        if (output_waiting(session) > FEED_OUTPUT_MAX) {
            return false; /* its socket is full: goes on when that has drained */
        }
        struct mim_frame frame;
        struct mim_error error = {0};
        int rc = mim_feed_next(&feed->feed, server->replication.access, &frame, &error);
        if (rc == MIM_E_NOT_FOUND) {
            if (!feed->live) {
                feed->live = true;
                mim_log(MIM_LOG_INFO, "standby_caught_up", "addr=%s position=%llu", session->address,
                        (unsigned long long)feed->feed.sent_position);
            }
            return false;
        }
        if (rc == MIM_E_AGAIN) {
            return true;
        }
        if (rc != 0) {
            feed_fail(feed, error.text);
            return false;
        }
        size_t before = session->reply.out.size;
        mim_push_frame(&session->reply.out, &frame);
        output_release(session, before);
        sent += frame.header.size;
    }
    return true;
}

void mim_feeds_turn(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    struct mim_standby_feed *feed;
    r->more = false;
    if (r->streaming_count == 0) {
        return;
    }
    struct mim_error error = {0};
    int rc = mim_feeds_limit(server, &error);
    TAILQ_FOREACH(feed, &r->feeds, link) {
        if (!feed->feed.streaming || feed->session->closing || feed->session->doomed) {
            continue;
        }
        if (rc != 0) {
            feed_fail(feed, error.text);
            continue;
        }
        mim_lsn_t before = feed->feed.sent_lsn;
        r->more |= feed_serve(server, feed);
        bool due = server->now_ns - feed->beat_ns > BEAT_NS && before != feed->feed.sent_lsn;
        if (due && !feed->session->closing) {
            beat(server, feed);
        }
    }
}

/* -------------------------------------------------------------------------- time */

static void sample_take(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    uint64_t last = r->sample_count == 0 ? 0 : (r->sample_count - 1) % MIM_LAG_SAMPLES;
    mim_lsn_t gate = atomic_load_explicit(&server->ring.gate_lsn, memory_order_acquire);
    if (r->sample_count > 0 && (r->samples[last].lsn == gate || server->now_ns - r->samples[last].at_ns < SAMPLE_NS)) {
        return;
    }
    uint64_t next = r->sample_count++ % MIM_LAG_SAMPLES;
    r->samples[next].lsn = gate;
    r->samples[next].at_ns = server->now_ns;
}

uint64_t mim_feeds_lag_ms(const struct mim_server *server, mim_lsn_t acked_lsn) {
    const struct mim_replication *r = &server->replication;
    uint64_t kept = r->sample_count < MIM_LAG_SAMPLES ? r->sample_count : MIM_LAG_SAMPLES;
    uint64_t oldest = 0;
    for (uint64_t i = 1; i <= kept; i++) { /* newest first, to the oldest that is not confirmed */
        uint64_t at = (r->sample_count - i) % MIM_LAG_SAMPLES;
        if (r->samples[at].lsn <= acked_lsn) {
            break;
        }
        oldest = r->samples[at].at_ns;
    }
    return oldest == 0 || oldest > server->now_ns ? 0 : (server->now_ns - oldest) / 1000000u;
}

void mim_feeds_tick(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    struct mim_standby_feed *feed;
    uint64_t patience = (uint64_t)server->options.replica_timeout_s * 1000000000u;
    if (server->runners_ready) {
        sample_take(server);
    }
    TAILQ_FOREACH(feed, &r->feeds, link) {
        struct mim_session *session = feed->session;
        if (!feed->feed.streaming || session->closing || session->doomed) {
            continue;
        }
        if (server->now_ns - feed->beat_ns > BEAT_IDLE_NS) {
            beat(server, feed);
        }
        if (session->active_ns + patience < server->now_ns) {
            mim_log(MIM_LOG_WARNING, "standby_silent", "addr=%s seconds=%u goes_on=closed", session->address,
                    server->options.replica_timeout_s);
            mim_connection_doom(session);
        }
    }
}

size_t mim_feeds_list(const struct mim_server *server, const struct mim_feed *ret_feeds[MIM_REIGN_STANDBYS_MAX]) {
    const struct mim_standby_feed *feed;
    size_t count = 0;
    TAILQ_FOREACH(feed, &server->replication.feeds, link) {
        if (feed->feed.streaming && count < MIM_REIGN_STANDBYS_MAX) {
            ret_feeds[count++] = &feed->feed;
        }
    }
    return count;
}

void mim_feeds_counted(struct mim_server *server, int by) {
    struct mim_replication *r = &server->replication;
    const struct mim_feed *feeds[MIM_REIGN_STANDBYS_MAX];
    mim_lsn_t acked[MIM_REIGN_STANDBYS_MAX];
    r->streaming_count = (unsigned)((int)r->streaming_count + by);
    r->standby_count = (unsigned)mim_reign_acks(feeds, mim_feeds_list(server, feeds), acked);
    r->acks_moved = true;
}

unsigned mim_feeds_confirmed_count(const struct mim_server *server, mim_lsn_t gate) {
    const struct mim_feed *feeds[MIM_REIGN_STANDBYS_MAX];
    mim_lsn_t acked[MIM_REIGN_STANDBYS_MAX];
    size_t standbys = mim_reign_acks(feeds, mim_feeds_list(server, feeds), acked);
    unsigned count = 0;
    for (size_t i = 0; i < standbys; i++) {
        count += acked[i] >= gate;
    }
    return count;
}
