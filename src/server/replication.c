// SPDX-License-Identifier: MIT
// Roles and their changes, what standbys have to confirm, the comparison of digests, and the place in the loop where it
// all happens. The link is in link_event.c, the feeds in feeds.c.
#include "server/replication.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/internal.h"

#define SCAN_SLICE    2048u
#define SCAN_PAUSE_US 500

typedef unsigned long long ull;

/* --------------------------------------------------------------------- life cycle */

static bool address_parse(const char *text, char ret_host[MIM_HOST_SIZE_MAX], uint16_t *ret_port) {
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    unsigned long port = colon == NULL ? 0 : strtoul(colon + 1, &end, 10);
    size_t size = colon == NULL ? 0 : (size_t)(colon - text);
    if (size == 0 || size >= MIM_HOST_SIZE_MAX || colon[1] < '0' || colon[1] > '9' || *end != '\0' || port == 0 ||
        port > 65535) {
        return false;
    }
    bool brackets = text[0] == '[' && size > 2 && text[size - 1] == ']';
    (void)snprintf(ret_host, MIM_HOST_SIZE_MAX, "%.*s", (int)(brackets ? size - 2 : size), text + (brackets ? 1 : 0));
    *ret_port = (uint16_t)port;
    return true;
}

int mim_replication_init(struct mim_server *server, struct mim_error *reterr) {
    struct mim_replication *r = &server->replication;
    TAILQ_INIT(&r->feeds);
    r->fd = -1;
    if (server->options.replica_of == NULL) {
        return 0;
    }
    if (!address_parse(server->options.replica_of, r->host, &r->port)) {
        return mim_error_set(reterr, MIM_E_USAGE, "--replica-of must be HOST:PORT, not \"%s\"",
                             server->options.replica_of);
    }
    r->reign.role = MIM_ROLE_STANDBY;
    return 0; /* `guarded` follows when the journal is open */
}

static void on_scan(evutil_socket_t fd, short what, void *context);

int mim_replication_open(struct mim_server *server, struct mim_error *reterr) {
    struct mim_replication *r = &server->replication;
    r->scan_event = event_new(server->base, -1, 0, on_scan, server);
    if (r->scan_event == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory for replication");
    }
    return mim_link_open(server, reterr);
}

void mim_replication_release(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    r->access = mim_access_free(r->access);
    r->scanning = false;
    r->reign.promoting = false;
}

void mim_replication_close(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    mim_link_close(server);
    mim_replication_release(server);
    if (r->scan_event != NULL) {
        event_free(r->scan_event);
        r->scan_event = NULL;
    }
}

void mim_replication_ready(struct mim_server *server) {
    mim_replication_guard(server);
    if (server->runners_ready) {
        mim_reign_begin(&server->replication.reign, &server->appender, server->options.sync_replicas);
    }
    if (server->replication.reign.role == MIM_ROLE_STANDBY) {
        mim_link_start(server);
    }
}

bool mim_replication_waits_for_copy(const struct mim_server *server) {
    return server->phase == MIM_PHASE_LOADING && server->replication.reign.role == MIM_ROLE_STANDBY && !server->opening;
}

/* ------------------------------------------------------------------ changes of role */

/** What waits for standbys will wait for others, if at all: the present ones may confirm it or not. */
static void held_give_up(struct mim_server *server) {
    if (server->runners_ready && server->appender.confirmed_lsn != UINT64_MAX) {
        mim_sessions_give_up(server, true);
    }
}

void mim_replication_follow(struct mim_server *server, const char *host, uint16_t port) {
    struct mim_replication *r = &server->replication;
    mim_link_stop(server, NULL);
    held_give_up(server);
    (void)snprintf(r->host, sizeof(r->host), "%s", host);
    r->port = port;
    mim_reign_follow(&r->reign, server->runners_ready ? &server->appender : NULL);
    r->agreed = false;
    r->backoff_ns = 0;
    r->last_error[0] = '\0';
    r->down_since_ns = mim_server_now(server);
    mim_replication_guard(server);
    mim_publishing_stop(server);
    mim_log(MIM_LOG_INFO, "standby", "primary=%s:%u commands=READONLY", host, port);
    mim_link_start(server);
}

void mim_replication_set_sync(struct mim_server *server, uint32_t wanted) {
    uint32_t before = server->options.sync_replicas;
    char text[MIM_NOTE_SIZE_MAX];
    if (wanted == before) {
        return;
    }
    server->options.sync_replicas = wanted;
    mim_log(wanted < before ? MIM_LOG_ERROR : MIM_LOG_WARNING, "sync_replicas", "before=%u now=%u goes_on=%s", before,
            wanted, wanted == 0 ? "alone" : "yes");
    if (server->runners_ready && server->replication.reign.role == MIM_ROLE_PRIMARY) {
        int size = snprintf(text, sizeof(text), "sync-replicas %u -> %u by CONFIG SET", before, wanted);
        if (mim_engine_note(server->engine, &server->appender, mim_slice_of(text, (size_t)size),
                            mim_server_wall_ms(server)) != 0) {
            mim_log(MIM_LOG_WARNING, "note_not_journaled", "text=\"%s\"",
                    text); /* ring or disk full: logged at least */
        }
        if (before == 0) { /* what was shown stays shown */
            mim_reign_wait_from_now(&server->replication.reign, &server->appender);
        }
        server->replication.acks_moved = true;
    }
    mim_replication_guard(server);
}

void mim_replication_fence(struct mim_server *server, const char *by, mim_epoch_t epoch) {
    struct mim_replication *r = &server->replication;
    if (r->reign.role != MIM_ROLE_PRIMARY || r->reign.fenced) {
        return;
    }
    r->reign.fenced = true;
    mim_replication_guard(server);
    mim_publishing_stop(server);
    (void)snprintf(r->fenced_by, sizeof(r->fenced_by), "%s", by);
    mim_log(MIM_LOG_ERROR, "fenced",
            "by=%s its_epoch=%u our_epoch=%u commands=READONLY next=\"REPLICAOF the newer primary; or, to go on here, "
            "REPLICAOF NO ONE\"",
            by, epoch, server->epoch);
}

static void primary_begun(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    r->promote_ns = mim_server_now(server) - r->promote_begun_ns;
    server->epoch = server->appender.epoch;
    server->seal_lsn = server->appender.next_lsn;
    server->last_lsn = server->appender.next_lsn;
    mim_replication_guard(server);
    mim_log(MIM_LOG_INFO, "promoted", "epoch=%u position=%llu ms=%.3f", server->epoch,
            (ull)atomic_load_explicit(&server->ring.gate_position, memory_order_acquire), (double)r->promote_ns / 1e6);
    mim_publishing_start(server);
    mim_connections_retry(server);
}

static void promote_try(struct mim_server *server) {
    switch (mim_reign_promotion(&server->replication.reign, server->engine, &server->appender,
                                server->options.writer.durability, server->options.sync_replicas,
                                mim_server_wall_ms(server))) {
    case MIM_PROMOTION_WAITS:
        break;
    case MIM_PROMOTION_APPENDED:
        mim_runners_wake_journal(&server->runners);
        break;
    case MIM_PROMOTION_DONE:
        primary_begun(server);
        break;
    }
}

void mim_replication_promote(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    if (r->reign.role == MIM_ROLE_PRIMARY && !r->reign.fenced) {
        return;
    }
    held_give_up(server);
    mim_reign_promote(&r->reign, server->runners_ready);
    r->promote_begun_ns = mim_server_now(server);
    if (!r->handed_over) {
        mim_link_stop(server, NULL);
    }
    if (!server->runners_ready) { /* never followed anything: a history of its own begins */
        r->reopen = MIM_REOPEN_AS_IT_IS;
        return;
    }
    mim_replication_guard(server);
    promote_try(server);
}

void mim_replication_guard(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    r->guarded = r->reign.role == MIM_ROLE_STANDBY || r->reign.fenced || r->reign.promoting ||
                 r->handover != MIM_HANDOVER_NONE || server->options.sync_replicas > 0;
}

const char *mim_replication_refusal(const struct mim_server *server, char *text, size_t size) {
    const struct mim_replication *r = &server->replication;
    if (r->reign.role == MIM_ROLE_STANDBY) {
        (void)snprintf(text, size, "this is a standby of %s:%u: commands go there", r->host, r->port);
        return "READONLY";
    }
    if (r->reign.fenced) {
        (void)snprintf(text, size, "a newer primary of this history exists (%s): commands go there", r->fenced_by);
        return "READONLY";
    }
    if (r->reign.promoting || r->handover != MIM_HANDOVER_NONE) {
        (void)snprintf(text, size,
                       r->reign.promoting ? "this standby is being promoted: try again in a moment"
                                          : "this primary is handing over to a standby: try again in a moment");
        return "READONLY";
    }
    if (r->standby_count < server->options.sync_replicas) {
        (void)snprintf(text, size, "%u of %u standbys are connected: nothing was done", r->standby_count,
                       server->options.sync_replicas);
        return "NOREPLICAS";
    }
    return NULL;
}

/* ------------------------------------------------------------------------ hand-over */

static void handover_failed(struct mim_server *server, const char *why) {
    struct mim_replication *r = &server->replication;
    bool asked = r->handover == MIM_HANDOVER_ASKED;
    (void)snprintf(r->handover_error, sizeof(r->handover_error), "%s", why);
    r->handover = MIM_HANDOVER_NONE;
    r->handover_ticket++;
    if (asked) { /* it may have been promoted: going on here could make two primaries */
        mim_replication_fence(server, "the standby that was asked to take over", 0);
    }
    mim_replication_guard(server);
    mim_log(MIM_LOG_WARNING, "handover_failed", "text=\"%s\" commands=%s", why, asked ? "READONLY" : "accepted");
    mim_connections_retry(server);
}

static void handover_turn(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    if (r->handover == MIM_HANDOVER_NONE) {
        return;
    }
    if (r->heir == NULL || r->heir->session->doomed || r->heir->session->closing) {
        handover_failed(server, "the standby left");
    } else if (server->now_ns > r->handover_deadline_ns) {
        handover_failed(server, r->handover == MIM_HANDOVER_ASKED ? "the standby did not answer in time"
                                                                  : "the standby did not catch up in time");
    } else if (r->handover == MIM_HANDOVER_DRAINING && mim_appender_idle(&server->appender) &&
               r->heir->feed.acked_lsn >= server->appender.next_lsn) {
        uint64_t position = server->appender.next_position - 1;
        r->handover = MIM_HANDOVER_ASKED;
        mim_feeds_push(r->heir, "promote", &position, 1);
    }
}

/* -------------------------------------------------------------------------- digests */

void mim_replication_scan_lost(struct mim_server *server) {
    server->replication.scanning = false;
    server->replication.standby.scan_begun = false;
    server->replication.standby.scan_position = 0;
}

static void scan_arm(struct mim_server *server) {
    struct timeval pause = {.tv_usec = SCAN_PAUSE_US};
    (void)event_add(server->replication.scan_event, &pause);
}

/** A standby whose state is not the primary's has no business answering anybody. */
static void scan_differs(struct mim_server *server, uint64_t position, uint64_t ours, uint64_t theirs) {
    mim_log(MIM_LOG_ERROR, "digest_differs",
            "position=%llu ours=%016llx primary=%016llx goes_on=no cause=\"the model's evolve is not deterministic, or "
            "memory is broken: run memimage digest --from-scratch on both\"",
            (ull)position, (ull)ours, (ull)theirs);
    server->phase = MIM_PHASE_FAILED;
    server->exit_status = mim_error_exit_status(MIM_E_DAMAGED);
}

static void scan_done(struct mim_server *server, mim_position_t position, uint64_t digest) {
    struct mim_replication *r = &server->replication;
    struct mim_standby_feed *feed;
    const uint64_t numbers[] = {position, digest};
    r->scanning = false;
    r->scan_position = position;
    if (r->reign.role == MIM_ROLE_PRIMARY) {
        TAILQ_FOREACH(feed, &r->feeds, link) {
            if (feed->feed.streaming) {
                mim_feeds_push(feed, "digest", numbers, 2);
            }
        }
        return;
    }
    r->own_digest = digest;
    r->own_digest_position = position;
    r->standby.scan_position = 0;
}

static void on_scan(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct mim_server *server = context;
    struct mim_replication *r = &server->replication;
    mim_position_t position;
    uint64_t digest;
    if (!r->scanning || server->engine == NULL) {
        return;
    }
    if (mim_engine_scan_step(server->engine, SCAN_SLICE, &position, &digest)) {
        scan_done(server, position, digest);
    } else {
        scan_arm(server);
    }
}

/** Primary: a scan at the present position, announced before anything that changes it. */
static void scan_begin(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    struct mim_standby_feed *feed;
    struct mim_error error = {0};
    uint64_t every = (uint64_t)server->options.replica_digest_s * 1000000000u;
    if (r->reign.role != MIM_ROLE_PRIMARY || every == 0 || r->streaming_count == 0 || r->scanning ||
        server->snapshotter.scanning || server->now_ns < r->scan_next_ns) {
        return;
    }
    struct mim_engine_point point;
    mim_engine_point(server->engine, &point);
    r->scan_next_ns = server->now_ns + every;
    if (point.position == r->scan_position || mim_engine_scan_begin(server->engine, &error) != 0) {
        return;
    }
    uint64_t position = point.position;
    r->scanning = true;
    TAILQ_FOREACH(feed, &r->feeds, link) {
        if (feed->feed.streaming) {
            mim_feeds_push(feed, "scan", &position, 1);
        }
    }
    scan_arm(server);
}

/** Standby: takes up a scan that the machine began, compares when both digests are known. */
static void scan_look(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    if (!r->talking) {
        return;
    }
    if (r->standby.scan_begun) {
        r->standby.scan_begun = false;
        r->scanning = true;
        scan_arm(server);
    }
    if (r->standby.told_position != 0 && r->standby.told_position == r->own_digest_position) {
        r->digests_compared++;
        if (r->own_digest != r->standby.told_digest) {
            scan_differs(server, r->own_digest_position, r->own_digest, r->standby.told_digest);
        }
        r->standby.told_position = 0;
    }
}

/* ----------------------------------------------------------------------------- turns */

/** Takes in how far standbys have come. */
static void confirm(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    const struct mim_feed *feeds[MIM_REIGN_STANDBYS_MAX];
    size_t count = mim_feeds_list(server, feeds);
    r->acks_moved = false;
    bool settled = mim_reign_settled(&r->reign, &server->appender);
    (void)mim_reign_confirm(&r->reign, &server->appender, feeds, count, server->options.sync_replicas);
    if (!settled && mim_reign_settled(&r->reign, &server->appender)) {
        mim_publishing_start(server);
    }
}

mim_position_t mim_replication_shown(const struct mim_server *server) {
    return mim_reign_shown(&server->replication.reign, &server->appender);
}

void mim_replication_turn(struct mim_server *server) {
    struct mim_replication *r = &server->replication;
    mim_link_turn(server);
    if (!server->runners_ready || server->phase > MIM_PHASE_STOPPING) {
        return;
    }
    if (r->reign.promoting) {
        promote_try(server);
        if (!r->reign.promoting && r->handed_over && r->talking) {
            r->handed_over = false;
            mim_buffer_text(&r->standby.out, "REPLPROMOTED\r\n");
            mim_link_turn(server);
            mim_link_stop(server, NULL);
        }
    }
    if (r->acks_moved) {
        confirm(server);
        mim_connections_retry(server); /* WAIT */
    }
    mim_feeds_turn(server);
    handover_turn(server);
    if (r->reign.role == MIM_ROLE_STANDBY) {
        scan_look(server);
    } else if (r->streaming_count > 0) {
        scan_begin(server);
    }
}

void mim_replication_tick(struct mim_server *server) {
    mim_link_tick(server);
    mim_feeds_tick(server);
    if (server->options.sync_replicas > 0 && server->runners_ready) {
        mim_sessions_give_up(server, false);
    }
}

bool mim_replication_undecided(const struct mim_server *server) {
    return server->replication.reign.role == MIM_ROLE_STANDBY && !server->replication.agreed;
}

bool mim_replication_busy(const struct mim_server *server) {
    const struct mim_replication *r = &server->replication;
    return r->more || (r->talking && r->busy) || r->reopen != MIM_REOPEN_NONE;
}

int mim_replication_between(struct mim_server *server, struct mim_error *reterr) {
    struct mim_replication *r = &server->replication;
    char aside[MIM_ASIDE_PATH_SIZE] = "";
    bool installed = false;
    int rc = 0;
    switch (r->reopen) {
    case MIM_REOPEN_NONE:
    case MIM_REOPEN_AS_IT_IS:
        break;
    case MIM_REOPEN_INSTALL:
        rc = mim_incoming_install(server->storage, &installed, reterr);
        break;
    case MIM_REOPEN_REWIND:
        r->rewinds++;
        rc = mim_journal_rewind(server->storage, &r->point, aside, reterr);
        break;
    case MIM_REOPEN_SET_ASIDE:
        r->rewinds++;
        rc = mim_journal_set_aside(server->storage, aside, reterr);
        break;
    }
    if (aside[0] != '\0') {
        mim_log(MIM_LOG_WARNING, "diverged", "primary=%s:%u saved=%s/%s read_it=\"memimage journal dump --dir %s/%s\"",
                r->host, r->port, server->options.dir, aside, server->options.dir, aside);
    }
    r->reopen = MIM_REOPEN_NONE;
    r->reopened++;
    return rc;
}

/* ------------------------------------------------------------------------------ info */

static void info_standby(struct mim_server *server, struct mim_buffer *out) {
    const struct mim_replication *r = &server->replication;
    ull position = server->ring_ready ? atomic_load_explicit(&server->ring.gate_position, memory_order_acquire) : 0;
    ull lsn = server->ring_ready ? atomic_load_explicit(&server->ring.gate_lsn, memory_order_acquire) : 0;
    bool up = r->talking && r->standby.state == MIM_STANDBY_STREAMING;
    mim_info_line(out, "master_host:%s", r->host);
    mim_info_line(out, "master_port:%u", r->port);
    mim_info_line(out, "master_link_status:%s", up ? "up" : "down");
    mim_info_line(out, "master_link_state:%s", r->talking ? mim_standby_state_name(&r->standby) : "connect");
    mim_info_line(out, "master_last_io_seconds_ago:%lld",
                  up ? (long long)((server->now_ns - r->heard_ns) / 1000000000u) : -1LL);
    mim_info_line(out, "master_sync_in_progress:%d", r->talking && r->standby.state >= MIM_STANDBY_LISTING);
    if (r->talking && r->standby.state == MIM_STANDBY_COPYING) {
        mim_info_line(out, "master_sync_total_bytes:%llu", (ull)r->standby.incoming.bytes_total);
        mim_info_line(out, "master_sync_read_bytes:%llu", (ull)r->standby.incoming.bytes_done);
    }
    if (!up) {
        mim_info_line(out, "master_link_down_since_seconds:%llu",
                      (ull)(r->down_since_ns == 0 ? 0 : (server->now_ns - r->down_since_ns) / 1000000000u));
        mim_info_line(out, "master_last_error:%s", r->last_error[0] == '\0' ? "-" : r->last_error);
    }
    ull theirs = r->talking ? r->standby.primary_position : 0;
    ull their_lsn = r->talking ? r->standby.primary_lsn : 0;
    mim_info_line(out, "slave_read_only:1");
    mim_info_line(out, "slave_repl_offset:%llu", position);
    mim_info_line(out, "primary_position:%llu", theirs);
    mim_info_line(out, "primary_epoch:%u", r->talking ? r->standby.primary_epoch : 0);
    mim_info_line(out, "lag_events:%llu", theirs > position ? theirs - position : 0);
    mim_info_line(out, "lag_bytes:%llu", their_lsn > lsn ? their_lsn - lsn : 0);
    mim_info_line(out, "lag_ms:%llu",
                  (ull)(r->behind_since_ns == 0 ? 0 : (server->now_ns - r->behind_since_ns) / 1000000u));
    mim_info_line(out, "frames_received:%llu", (ull)r->frames);
    mim_info_line(out, "bytes_received:%llu", (ull)r->bytes);
    mim_info_line(out, "connects:%llu", (ull)r->connects);
    mim_info_line(out, "copies:%llu", (ull)r->copies);
    mim_info_line(out, "rewinds:%llu", (ull)r->rewinds);
    mim_info_line(out, "digests_compared:%llu", (ull)r->digests_compared);
}

static void info_feeds(struct mim_server *server, struct mim_buffer *out) {
    const struct mim_replication *r = &server->replication;
    const struct mim_standby_feed *feed;
    unsigned number = 0;
    if (!server->runners_ready) {
        return;
    }
    mim_lsn_t gate = atomic_load_explicit(&server->ring.gate_lsn, memory_order_acquire);
    mim_position_t position = atomic_load_explicit(&server->ring.gate_position, memory_order_acquire);
    TAILQ_FOREACH(feed, &r->feeds, link) {
        char host[72];
        (void)snprintf(host, sizeof(host), "%s", feed->session->address);
        char *colon = strrchr(host, ':');
        if (colon != NULL) {
            *colon = '\0';
        }
        mim_info_line(out,
                      "slave%u:ip=%s,port=%u,state=%s,offset=%llu,lag=%llu,lag_events=%llu,lag_bytes=%llu,lag_ms=%llu",
                      number++, host, feed->feed.port,
                      !feed->feed.streaming ? "wait_bgsave"
                      : feed->live          ? "online"
                                            : "send_bulk",
                      (ull)feed->feed.acked_position, (ull)(mim_feeds_lag_ms(server, feed->feed.acked_lsn) / 1000u),
                      (ull)(position - feed->feed.acked_position),
                      (ull)(gate > feed->feed.acked_lsn ? gate - feed->feed.acked_lsn : 0),
                      (ull)mim_feeds_lag_ms(server, feed->feed.acked_lsn));
    }
}

void mim_replication_info(struct mim_server *server, struct mim_buffer *out) {
    const struct mim_replication *r = &server->replication;
    char history[MIM_HISTORY_TEXT_SIZE] = "";
    ull position = server->ring_ready ? atomic_load_explicit(&server->ring.gate_position, memory_order_acquire) : 0;
    if (server->runners_ready) {
        struct mim_engine_point point;
        mim_engine_point(server->engine, &point);
        mim_history_text(&point.history, history);
    }
    mim_info_line(out, "role:%s", r->reign.role == MIM_ROLE_PRIMARY ? "master" : "slave");
    if (r->reign.role == MIM_ROLE_STANDBY) {
        info_standby(server, out);
    }
    mim_info_line(out, "connected_slaves:%u", r->streaming_count);
    info_feeds(server, out);
    mim_info_line(out, "master_failover_state:%s",
                  r->handover == MIM_HANDOVER_NONE       ? "no-failover"
                  : r->handover == MIM_HANDOVER_DRAINING ? "waiting-for-sync"
                                                         : "failover-in-progress");
    mim_info_line(out, "fenced:%d", r->reign.fenced);
    mim_info_line(out, "sync_replicas:%u", server->options.sync_replicas);
    mim_info_line(out, "last_promotion_us:%llu", (ull)(r->promote_ns / 1000u));
    mim_info_line(out, "master_replid:%s", history);
    mim_info_line(out, "master_repl_offset:%llu", position);
    mim_info_line(out, "epoch:%u", server->appender_ready ? server->appender.epoch : 0);
}
