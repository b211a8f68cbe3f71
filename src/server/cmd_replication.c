// SPDX-License-Identifier: MIT
// Commands of replication: REPLICAOF ROLE WAIT FAILOVER for people; REPLICATE REPLFILES REPLREAD REPLPROBE REPLACK
// REPLPROMOTED for standbys (the conversation is told in replica/standby.h).
#include <stdlib.h>
#include <string.h>

#include "server/internal.h"

#define HANDOVER_MS_DEFAULT 10000u

static bool parse_u64(struct mim_slice text, unsigned base, uint64_t *ret_value) {
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        unsigned low = c | 0x20u;
        unsigned digit = c >= '0' && c <= '9' ? c - (unsigned)'0' : low >= 'a' && low <= 'f' ? low - 'a' + 10u : 99u;
        if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    *ret_value = value;
    return text.size > 0;
}

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
        if (r->role == MIM_ROLE_STANDBY || r->fenced) {
            mim_replication_promote(server);
        }
        if (r->promoting) {
            return MIM_CALL_AGAIN; /* answered when the new epoch is durable */
        }
        mim_reply_simple(call->reply, "OK");
        return MIM_CALL_DONE;
    }
    struct mim_slice host = call->arguments[1];
    if (!parse_u64(call->arguments[2], 10, &port) || port == 0 || port > 65535) {
        return error(call, "Invalid master port");
    }
    if (host.size == 0 || host.size >= MIM_HOST_SIZE_MAX || memchr(host.data, '\0', host.size) != NULL) {
        return error(call, "Invalid master host");
    }
    char name[MIM_HOST_SIZE_MAX];
    (void)snprintf(name, sizeof(name), "%.*s", (int)host.size, (const char *)host.data);
    if (r->role == MIM_ROLE_STANDBY && strcmp(r->host, name) == 0 && r->port == port) {
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
    if (r->role == MIM_ROLE_STANDBY) {
        role_of_standby(call, (int64_t)position);
        return MIM_CALL_DONE;
    }
    mim_reply_array(call->reply, 3);
    mim_reply_text(call->reply, "master");
    mim_reply_integer(call->reply, (int64_t)position);
    mim_reply_array(call->reply, r->streaming_count);
    TAILQ_FOREACH(feed, &r->feeds, link) {
        if (feed->streaming) {
            char host[72];
            char text[MIM_RESP_NUMBER_SIZE_MAX];
            (void)snprintf(host, sizeof(host), "%s", feed->session->address);
            char *colon = strrchr(host, ':');
            if (colon != NULL) {
                *colon = '\0';
            }
            mim_reply_array(call->reply, 3);
            mim_reply_text(call->reply, host);
            mim_reply_bulk(call->reply, mim_slice_of(text, mim_resp_digits(feed->port, text)));
            mim_reply_bulk(call->reply, mim_slice_of(text, mim_resp_digits(feed->feed.acked_position, text)));
        }
    }
    return MIM_CALL_DONE;
}

enum mim_verdict_of_call mim_cmd_wait(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_session *session = call->session;
    uint64_t wanted = 0;
    uint64_t ms = 0;
    if (!parse_u64(call->arguments[1], 10, &wanted)) {
        return error(call, "value is not an integer or out of range");
    }
    if (!parse_u64(call->arguments[2], 10, &ms) || ms > (uint64_t)INT64_MAX / 1000000u) {
        return error(call, "timeout is not an integer or out of range");
    }
    if (server->replication.role == MIM_ROLE_STANDBY) {
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
        bool named = host.data == NULL || (feed->port == port && strlen(address) > host.size &&
                                           memcmp(address, host.data, host.size) == 0 && address[host.size] == ':');
        if (feed->streaming && named && (best == NULL || feed->feed.acked_lsn > best->feed.acked_lsn)) {
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
            parse_u64(call->arguments[i + 2], 10, &port)) {
            host = call->arguments[i + 1];
            i += 2;
        } else if (mim_word_is(call->arguments[i], "TIMEOUT") && i + 1 < call->count &&
                   parse_u64(call->arguments[i + 1], 10, &ms) && ms > 0 && ms < 86400000u) {
            i++;
        } else {
            return error(call, "syntax error: FAILOVER [TO host port] [TIMEOUT ms]");
        }
    }
    if (r->role != MIM_ROLE_PRIMARY || r->fenced || r->promoting) {
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
    mim_log(MIM_LOG_INFO, "handover", "to=%s its_port=%u commands=READONLY", r->heir->session->address, r->heir->port);
    return MIM_CALL_AGAIN;
}

/* --------------------------------------------------------------------- for standbys */

static struct mim_replica_point own_point(struct mim_server *server) {
    struct mim_engine_point point;
    mim_engine_point(server->engine, &point);
    return (struct mim_replica_point){.history = point.history,
                                      .epoch = server->appender.epoch,
                                      .lsn = mim_access_limit(server->replication.access),
                                      .position = point.position};
}

/** REPLICATE protocol history|? epoch lsn chain position port */
static bool point_parse(const struct mim_call *call, struct mim_replica_point *ret_point, uint16_t *ret_port) {
    const struct mim_slice *a = call->arguments;
    uint64_t epoch = 0;
    uint64_t port = 0;
    *ret_point = (struct mim_replica_point){.empty = a[2].size == 1 && a[2].data[0] == '?'};
    if ((!ret_point->empty && !mim_history_parse(a[2], &ret_point->history)) || !parse_u64(a[3], 10, &epoch) ||
        epoch > UINT32_MAX || !parse_u64(a[4], 10, &ret_point->lsn) || !parse_u64(a[5], 16, &ret_point->chain) ||
        !parse_u64(a[6], 10, &ret_point->position) || !parse_u64(a[7], 10, &port) || port > 65535 ||
        ret_point->position > INT64_MAX || ret_point->lsn > INT64_MAX) {
        return false;
    }
    ret_point->epoch = (mim_epoch_t)epoch;
    *ret_port = (uint16_t)port;
    return true;
}

static void stream_begin(struct mim_call *call, struct mim_standby_feed *feed, const struct mim_replica_point *peer) {
    struct mim_replication *r = &call->server->replication;
    mim_feed_begin(&feed->feed, peer);
    feed->streaming = true;
    r->streaming_count++;
    r->acks_moved = true;
    r->more = true;
    mim_log(MIM_LOG_INFO, "standby_follows", "addr=%s its_port=%u position=%llu behind_bytes=%llu standbys=%u",
            call->session->address, feed->port, (unsigned long long)peer->position,
            (unsigned long long)(mim_access_limit(r->access) - peer->lsn), r->streaming_count);
}

enum mim_verdict_of_call mim_cmd_replicate(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_replica_point peer;
    uint64_t protocol = 0;
    uint16_t port = 0;
    if (!parse_u64(call->arguments[1], 10, &protocol) || protocol != MIM_REPLICA_PROTOCOL) {
        return error(call, "this primary speaks replication protocol 1");
    }
    if (!point_parse(call, &peer, &port)) {
        return error(call, "malformed REPLICATE");
    }
    if (call->session->standby != NULL && call->session->standby->streaming) {
        return error(call, "this connection replicates already");
    }
    if (!server->runners_ready) {
        mim_reply_errorf(call->reply, "LOADING", "there is no journal to follow yet");
        return MIM_CALL_DONE;
    }
    struct mim_standby_feed *feed = mim_feeds_get(call->session);
    struct mim_error why = {0};
    enum mim_welcome welcome = MIM_WELCOME_FILES;
    int rc = feed == NULL ? mim_error_set(&why, MIM_E_MEMORY, "out of memory") : mim_feeds_limit(server, &why);
    struct mim_replica_point own = {0};
    if (rc == 0) {
        own = own_point(server);
        rc = mim_feed_welcome(server->storage, server->replication.access, &own, &peer, &welcome, &why);
    }
    if (rc != 0) {
        return error(call, why.text);
    }
    feed->port = port;
    char history[MIM_HISTORY_TEXT_SIZE];
    char text[96];
    mim_history_text(&own.history, history);
    (void)snprintf(text, sizeof(text), "%s %s %u", mim_welcome_word(welcome), history, own.epoch);
    mim_reply_simple(call->reply, text);
    if (welcome == MIM_WELCOME_CONTINUE) {
        stream_begin(call, feed, &peer);
    } else if (welcome == MIM_WELCOME_NEWER) {
        mim_replication_fence(server, call->session->address, peer.epoch);
    }
    return MIM_CALL_DONE;
}

static bool is_standby(struct mim_call *call) {
    if (call->session->standby == NULL) {
        mim_reply_errorf(call->reply, "ERR", "REPLICATE comes first");
        return false;
    }
    return true;
}

/** The newest snapshot, if copying it saves the standby more than it costs: the replay of what stands before it. */
static bool snapshot_choose(struct mim_server *server, bool tail_only, const struct mim_segments *segments,
                            struct mim_snapshot_entry *ret_entry) {
    struct mim_snapshots snapshots;
    struct mim_error ignored = {0};
    if (mim_snapshots_load(server->storage, &snapshots, &ignored) != 0) {
        return false;
    }
    bool found = false;
    for (size_t i = 0; i < snapshots.count && !found; i++) {
        const struct mim_snapshot_entry *entry = &snapshots.items[i];
        mim_lsn_t first = segments->items[0].header.base_lsn;
        if (entry->usable && entry->header.lsn <= mim_access_limit(server->replication.access) &&
            entry->header.lsn >= first) {
            found = tail_only || first > 0 || entry->header.lsn - first > entry->file_size / 2;
            *ret_entry = *entry;
            break;
        }
    }
    mim_snapshots_deinit(&snapshots);
    return found;
}

/** REPLFILES all|tail: "+run count", then "path size allocated" for each. */
enum mim_verdict_of_call mim_cmd_replfiles(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_access *access = server->replication.access;
    struct mim_error why = {0};
    if (!is_standby(call)) {
        return MIM_CALL_DONE;
    }
    if (mim_feeds_limit(server, &why) != 0) {
        return error(call, why.text);
    }
    const struct mim_segments *segments = mim_access_segments(access);
    bool tail_only = mim_word_is(call->arguments[1], "TAIL");
    struct mim_snapshot_entry snapshot;
    bool with_snapshot = snapshot_choose(server, tail_only, segments, &snapshot);
    size_t first = with_snapshot && tail_only ? mim_segments_find_lsn(segments, snapshot.header.lsn) : 0;
    size_t end = segments->count;
    while (end > first + 1 &&
           segments->items[end - 1].header.base_lsn + MIM_SEGMENT_HEADER_SIZE > mim_access_limit(access)) {
        end--; /* begun, and nothing in it is durable yet */
    }
    char text[160];
    (void)snprintf(text, sizeof(text), "%s %zu", server->run_id, end - first + (with_snapshot ? 1 : 0));
    mim_reply_simple(call->reply, text);
    if (with_snapshot) {
        char path[MIM_SNAPSHOT_PATH_SIZE];
        mim_snapshot_path(snapshot.position, path);
        (void)snprintf(text, sizeof(text), "%s %llu %llu", path, (unsigned long long)snapshot.file_size,
                       (unsigned long long)snapshot.file_size);
        mim_reply_text(call->reply, text);
    }
    for (size_t i = first; i < end; i++) {
        const struct mim_segment *segment = &segments->items[i];
        char path[MIM_SEGMENT_PATH_SIZE];
        uint64_t durable = mim_access_limit(access) - segment->header.base_lsn;
        uint64_t size = i + 1 < segments->count && segment->file_size < durable ? segment->file_size : durable;
        mim_segment_path(segment->header.first_position, path);
        (void)snprintf(text, sizeof(text), "%s %llu %llu", path, (unsigned long long)size,
                       (unsigned long long)(segment->file_size > size ? segment->file_size : size));
        mim_reply_text(call->reply, text);
    }
    return MIM_CALL_DONE;
}

/** The file a standby copies stays open from piece to piece: it may lose its name meanwhile. */
static int file_of(struct mim_server *server, struct mim_standby_feed *feed, struct mim_slice path,
                   struct mim_error *reterr) {
    if (feed->file != 0 && mim_slice_equal(path, mim_slice_text(feed->file_path))) {
        return 0;
    }
    if (!mim_incoming_path_valid(path)) {
        return mim_error_set(reterr, MIM_E_INVALID, "no such file");
    }
    mim_file_close(server->storage, feed->file);
    feed->file = 0;
    (void)snprintf(feed->file_path, sizeof(feed->file_path), "%.*s", (int)path.size, (const char *)path.data);
    return mim_file_open(server->storage, feed->file_path, MIM_OPEN_READ, &feed->file, reterr);
}

/** REPLREAD path offset count: the bytes, as they stand. */
enum mim_verdict_of_call mim_cmd_replread(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_error why = {0};
    uint64_t offset = 0;
    uint64_t count = 0;
    if (!is_standby(call)) {
        return MIM_CALL_DONE;
    }
    if (!parse_u64(call->arguments[2], 10, &offset) || !parse_u64(call->arguments[3], 10, &count) || count == 0 ||
        count > MIM_INCOMING_PIECE || offset > INT64_MAX) {
        return error(call, "malformed REPLREAD");
    }
    struct mim_standby_feed *feed = call->session->standby;
    if (file_of(server, feed, call->arguments[1], &why) != 0) {
        return error(call, why.text);
    }
    struct mim_buffer *out = &call->reply->out;
    size_t before = out->size;
    char head[MIM_RESP_NUMBER_SIZE_MAX];
    mim_buffer_append(out, "$", 1);
    mim_buffer_append(out, head, mim_resp_digits(count, head));
    mim_buffer_append(out, "\r\n", 2);
    mim_buffer_reserve(out, (size_t)count + 2);
    size_t got = 0;
    int rc = mim_file_pread(server->storage, feed->file, out->data + out->size, (size_t)count, offset, &got, &why);
    if (rc != 0 || got != count) {
        out->size = before;
        return error(call, rc != 0 ? why.text : "the file is shorter than asked for");
    }
    out->size += got;
    mim_buffer_append(out, "\r\n", 2);
    return MIM_CALL_DONE;
}

/** REPLPROBE lsn chain [lsn chain ...]: index of the first that is ours too, or -1. */
enum mim_verdict_of_call mim_cmd_replprobe(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_boundary boundaries[MIM_PROBE_MAX];
    struct mim_error why = {0};
    size_t count = (call->count - 1) / 2;
    if (!is_standby(call)) {
        return MIM_CALL_DONE;
    }
    if (call->count % 2 == 0 || count == 0 || count > MIM_PROBE_MAX) {
        return error(call, "malformed REPLPROBE");
    }
    for (size_t i = 0; i < count; i++) {
        if (!parse_u64(call->arguments[1 + 2 * i], 10, &boundaries[i].lsn) ||
            !parse_u64(call->arguments[2 + 2 * i], 16, &boundaries[i].chain)) {
            return error(call, "malformed REPLPROBE");
        }
    }
    if (mim_feeds_limit(server, &why) != 0) {
        return error(call, why.text);
    }
    mim_reply_integer(call->reply, mim_feed_probe(server->storage, server->replication.access, boundaries, count));
    return MIM_CALL_DONE;
}

/** REPLACK lsn position: what is durable there. No answer. */
enum mim_verdict_of_call mim_cmd_replack(struct mim_call *call) {
    struct mim_standby_feed *feed = call->session->standby;
    uint64_t lsn = 0;
    uint64_t position = 0;
    if (feed == NULL || !feed->streaming || !parse_u64(call->arguments[1], 10, &lsn) ||
        !parse_u64(call->arguments[2], 10, &position) || !mim_feed_acked(&feed->feed, lsn, position)) {
        mim_log(MIM_LOG_WARNING, "standby_refused", "addr=%s text=\"a confirmation that cannot be\" goes_on=closed",
                call->session->address);
        call->session->doomed = true;
        return MIM_CALL_SILENT;
    }
    call->server->replication.acks_moved = true;
    return MIM_CALL_SILENT;
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
    mim_log(MIM_LOG_INFO, "handed_over", "to=%s:%u", host, r->heir->port);
    mim_replication_follow(server, host, r->heir->port);
    call->session->doomed = true;
    return MIM_CALL_SILENT;
}
