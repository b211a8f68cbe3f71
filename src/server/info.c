// SPDX-License-Identifier: MIT
// INFO: sections in the words of Redis where the thing is the same, in ours where it is not.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/internal.h"

typedef unsigned long long ull;

void mim_info_line(struct mim_buffer *out, const char *format, ...) {
    mim_buffer_reserve(out, 1024);
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf((char *)out->data + out->size, 1022, format, arguments);
    va_end(arguments);
    out->size += size < 0 ? 0 : (size_t)size < 1021 ? (size_t)size : 1021;
    mim_buffer_append(out, "\r\n", 2);
}
#define line mim_info_line

void mim_info_client(const struct mim_session *session, struct mim_buffer *out) {
    const struct mim_server *server = session->server;
    size_t count;
    const struct mim_command *commands = mim_commands(&count);
    const char *command = session->last_command < count ? commands[session->last_command].name : "NULL";
    mim_buffer_reserve(out, 1024);
    int size = snprintf(
        (char *)out->data + out->size, 1024,
        "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=%s db=0 qbuf=%zu obl=%zu omem=%zu held=%u "
        "cmd=%s user=%s resp=%u lib-name=%s lib-ver=%s tot-cmds=%llu\n",
        (ull)session->id, session->address, session->is_unix ? "unix" : server->options.bind, session->transport.fd,
        session->name, (ull)((server->now_ns - session->created_ns) / 1000000000u),
        (ull)((server->now_ns - session->active_ns) / 1000000000u), session->is_unix ? "U" : "N", session->input.size,
        session->reply.out.size - session->sent, session->reply.out.capacity, session->holdback.requests, command,
        session->user == NULL ? "(none)" : session->user->name, session->reply.protocol, session->library,
        session->library_version, (ull)session->requests);
    out->size += size < 0 ? 0 : (size_t)size < 1023 ? (size_t)size : 1023;
}

static uint64_t resident_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    ull total = 0;
    ull resident = 0;
    int found = fscanf(file, "%llu %llu", &total, &resident);
    (void)fclose(file);
    return found == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static void section_server(struct mim_server *server, struct mim_buffer *out) {
    static const char *const phases[] = {"loading", "serving", "stopping", "stopped", "failed"};
    uint64_t uptime = (server->now_ns - server->started_ns) / 1000000000u;
    line(out, "redis_version:%s", MIM_REDIS_VERSION_TEXT);
    line(out, "memimage_version:%s", MIM_VERSION_TEXT);
    line(out, "redis_mode:standalone");
    line(out, "os:Linux");
    line(out, "arch_bits:64");
    line(out, "multiplexing_api:libevent %s %s", event_get_version(), event_base_get_method(server->base));
    line(out, "process_id:%ld", (long)server->pid);
    line(out, "run_id:%s", server->run_id);
    line(out, "tcp_port:%u", server->port);
    line(out, "tls_port:%u", server->tls_port);
    line(out, "uptime_in_seconds:%llu", (ull)uptime);
    line(out, "uptime_in_days:%llu", (ull)(uptime / 86400));
    line(out, "phase:%s", phases[server->phase]);
    line(out, "role:%s", server->replication.reign.role == MIM_ROLE_PRIMARY ? "master" : "slave");
    line(out, "dir:%s", server->options.dir);
    line(out, "config_file:%s", server->options.config_file == NULL ? "" : server->options.config_file);
    line(out, "recovery_ms:%llu", (ull)(server->recovery_ns / 1000000u));
    line(out, "recovery_events:%llu", (ull)server->recovery_events);
    line(out, "loading:%d", server->phase == MIM_PHASE_LOADING);
    if (server->phase == MIM_PHASE_LOADING) {
        line(out, "loading_total_bytes:%llu", (ull)server->recovery_total);
        line(out, "loading_loaded_bytes:%llu", (ull)server->recovery_done);
    }
}

static void section_clients(struct mim_server *server, struct mim_buffer *out) {
    uint64_t held = 0;
    uint64_t output = 0;
    uint64_t stalled = 0;
    struct mim_session *session;
    TAILQ_FOREACH(session, &server->sessions, all_link) {
        held += session->holdback.requests;
        output += session->reply.out.size - session->sent;
        stalled += session->stall != MIM_STALL_NONE;
    }
    const struct mim_server_counters *c = &server->counters;
    line(out, "connected_clients:%u", server->session_count);
    line(out, "maxclients:%u", server->options.clients_max);
    line(out, "stalled_clients:%llu", (ull)stalled);
    line(out, "held_replies:%llu", (ull)held);
    line(out, "client_input_bytes:%llu", (ull)server->input_bytes);
    line(out, "client_output_bytes:%llu", (ull)output);
    line(out, "total_connections_received:%llu", (ull)c->connections);
    line(out, "rejected_connections:%llu", (ull)c->connections_refused);
    line(out, "protected_mode_refused:%llu", (ull)c->protected_refused);
    line(out, "evicted_clients:%llu", (ull)c->connections_evicted);
    line(out, "auth_failures:%llu", (ull)c->auth_failures);
    line(out, "acl_users:%u", server->acl->user_count);
    line(out, "acl_denied_commands:%llu", (ull)c->acl_denied_command);
    line(out, "acl_denied_keys:%llu", (ull)c->acl_denied_key);
    line(out, "log_lines_suppressed:%llu", (ull)c->log_suppressed);
    line(out, "auth_overloaded:%llu", (ull)c->auth_overloaded);
    line(out, "auth_hashes:%llu", (ull)atomic_load(&server->auth_thread.finished));
    line(out, "auth_hash_ms_total:%llu", (ull)atomic_load(&server->auth_thread.total_ns) / 1000000u);
    line(out, "protocol_errors:%llu", (ull)c->protocol_errors);
    line(out, "cross_protocol_closed:%llu", (ull)c->cross_protocol);
    line(out, "tls_connections_received:%llu", (ull)c->tls_connections);
    line(out, "tls_failures:%llu", (ull)c->tls_failures);
    line(out, "limit_handshake_closed:%llu", (ull)c->limit_handshake);
    line(out, "limit_address_refused:%llu", (ull)c->limit_address);
    line(out, "limit_output_closed:%llu", (ull)c->limit_output);
    line(out, "limit_input_total_refused:%llu", (ull)c->limit_input_total);
    line(out, "limit_idle_closed:%llu", (ull)c->limit_idle);
    line(out, "limit_partial_closed:%llu", (ull)c->limit_partial);
    line(out, "limit_noauth_closed:%llu", (ull)c->limit_noauth);
    line(out, "limit_descriptors:%llu", (ull)c->limit_fds);
}

static void section_memory(struct mim_server *server, struct mim_buffer *out) {
    struct mim_engine_stats stats = {0};
    if (server->engine != NULL) {
        mim_engine_stats(server->engine, &stats);
    }
    struct rusage usage = {0};
    (void)getrusage(RUSAGE_SELF, &usage);
    line(out, "used_memory:%llu", (ull)(stats.image_used + server->input_bytes + MIM_RING_SIZE));
    line(out, "used_memory_rss:%llu", (ull)resident_bytes());
    line(out, "used_memory_peak:%llu", (ull)usage.ru_maxrss * 1024);
    line(out, "maxmemory:%llu", (ull)server->options.memory_limit);
    line(out, "maxmemory_policy:noeviction");
    line(out, "image_used_bytes:%llu", (ull)stats.image_used);
    line(out, "image_free_bytes:%llu", (ull)stats.image_free_lists);
    line(out, "image_capacity_bytes:%llu", (ull)stats.image_capacity);
    line(out, "ring_bytes:%u", MIM_RING_SIZE);
}

static const char *durability_name(enum mim_durability durability) {
    return durability == MIM_DURABILITY_FSYNC ? "fsync" : durability == MIM_DURABILITY_INTERVAL ? "interval" : "none";
}

static void section_journal(struct mim_server *server, struct mim_buffer *out) {
    static const char *const spares[] = {"needed", "ready", "disk_full", "claimed"};
    line(out, "durability:%s", durability_name(server->options.writer.durability));
    line(out, "durability_interval_ms:%llu", (ull)(server->options.writer.interval_ns / 1000000u));
    if (!server->runners_ready) {
        return;
    }
    struct mim_engine_point point;
    mim_engine_point(server->engine, &point);
    struct mim_writer_stats stats;
    mim_writer_stats(server->writer, &stats);
    struct mim_ring *ring = &server->ring;
    int spare = atomic_load_explicit(&ring->spare_state, memory_order_acquire);
    char history[33];
    for (size_t i = 0; i < sizeof(point.history.uuid); i++) {
        (void)snprintf(history + i * 2, 3, "%02x", point.history.uuid[i]);
    }
    line(out, "history:%s", history);
    line(out, "epoch:%u", server->appender.epoch);
    line(out, "position:%llu", (ull)point.position);
    line(out, "durable_position:%llu", (ull)atomic_load_explicit(&ring->synced_position, memory_order_acquire));
    line(out, "gate_position:%llu", (ull)atomic_load_explicit(&ring->gate_position, memory_order_acquire));
    line(out, "lsn:%llu", (ull)server->appender.next_lsn);
    line(out, "durable_lsn:%llu", (ull)atomic_load_explicit(&ring->synced_lsn, memory_order_acquire));
    line(out, "gate_lsn:%llu", (ull)atomic_load_explicit(&ring->gate_lsn, memory_order_acquire));
    line(out, "journal_bytes:%llu", (ull)atomic_load_explicit(&ring->journal_bytes, memory_order_acquire));
    line(out, "frames:%llu", (ull)stats.frames);
    line(out, "frame_bytes:%llu", (ull)stats.bytes);
    line(out, "writes:%llu", (ull)stats.writes);
    line(out, "syncs:%llu", (ull)stats.syncs);
    uint64_t steps = atomic_load_explicit(&server->runners.steps, memory_order_relaxed);
    uint64_t total = atomic_load_explicit(&server->runners.step_ns_total, memory_order_relaxed);
    uint64_t max = atomic_load_explicit(&server->runners.step_ns_max, memory_order_relaxed);
    line(out, "sync_mean_us:%.1f", steps == 0 ? 0.0 : (double)total / (double)steps / 1e3);
    line(out, "sync_max_us:%.1f", (double)max / 1e3);
    line(out, "loop_spins:%llu", (ull)server->counters.spins);
    line(out, "segment_rolls:%llu", (ull)stats.rolls);
    line(out, "seal_frames:%llu", (ull)server->counters.seals);
    line(out, "spare_segment:%s", spare >= 0 && spare <= MIM_SPARE_CLAIMED ? spares[spare] : "?");
    line(out, "ring_used_bytes:%llu",
         (ull)(server->appender.ring_head - atomic_load_explicit(&ring->bytes_tail, memory_order_acquire)));
}

static void section_stats(struct mim_server *server, struct mim_buffer *out) {
    const struct mim_server_counters *c = &server->counters;
    struct mim_engine_stats stats = {0};
    if (server->engine != NULL) {
        mim_engine_stats(server->engine, &stats);
    }
    line(out, "total_commands_processed:%llu", (ull)c->requests);
    line(out, "instantaneous_ops_per_sec:%llu", (ull)server->rates.requests_per_second);
    line(out, "instantaneous_events_per_sec:%llu", (ull)server->rates.events_per_second);
    line(out, "total_net_input_bytes:%llu", (ull)c->bytes_in);
    line(out, "total_net_output_bytes:%llu", (ull)c->bytes_out);
    line(out, "commands_done:%llu", (ull)stats.commands_done);
    line(out, "commands_repeated:%llu", (ull)stats.commands_repeated);
    line(out, "commands_rejected:%llu", (ull)stats.commands_rejected);
    line(out, "commands_conflicted:%llu", (ull)stats.commands_conflicted);
    line(out, "commands_badarg:%llu", (ull)stats.commands_badarg);
    line(out, "events:%llu", (ull)stats.events);
    line(out, "idempotency_keys:%llu", (ull)stats.keys);
    line(out, "idempotency_window:%llu", (ull)stats.key_window);
    line(out, "unknown_replies:%llu", (ull)c->unknown);
    line(out, "stalls_journal:%llu", (ull)c->stalls_journal);
    line(out, "stalls_output:%llu", (ull)c->stalls_output);
    line(out, "loop_turns:%llu", (ull)c->turns);
}

static void lower_name(const char *upper, char ret_name[32]) {
    size_t i = 0;
    for (; upper[i] != '\0' && i < 31; i++) {
        ret_name[i] = (char)(upper[i] | 0x20);
    }
    ret_name[i] = '\0';
}

static void section_commandstats(struct mim_server *server, struct mim_buffer *out) {
    size_t count;
    const struct mim_command *commands = mim_commands(&count);
    for (size_t i = 0; i < count; i++) {
        const struct mim_command_stats *stats = &server->stats[i];
        if (stats->latency.count + stats->rejected == 0) {
            continue;
        }
        char name[32];
        lower_name(commands[i].name, name);
        double usec = (double)stats->latency.total_ns / 1e3;
        double calls = stats->latency.count == 0 ? 1.0 : (double)stats->latency.count;
        line(out, "cmdstat_%s:calls=%llu,usec=%.0f,usec_per_call=%.2f,rejected_calls=%llu,failed_calls=%llu", name,
             (ull)stats->latency.count, usec, usec / calls, (ull)stats->rejected, (ull)stats->failed);
    }
}

static void section_latencystats(struct mim_server *server, struct mim_buffer *out) {
    size_t count;
    const struct mim_command *commands = mim_commands(&count);
    for (size_t i = 0; i < count; i++) {
        const struct mim_latency *latency = &server->stats[i].latency;
        if (latency->count == 0) {
            continue;
        }
        char name[32];
        lower_name(commands[i].name, name);
        line(out, "latency_percentiles_usec_%s:p50=%.3f,p99=%.3f,p99.9=%.3f,max=%.3f", name,
             (double)mim_latency_percentile(latency, 500) / 1e3, (double)mim_latency_percentile(latency, 990) / 1e3,
             (double)mim_latency_percentile(latency, 999) / 1e3, (double)latency->max_ns / 1e3);
    }
}

static void section_image(struct mim_server *server, struct mim_buffer *out) {
    if (server->engine == NULL) {
        return;
    }
    struct mim_engine_stats stats;
    mim_engine_stats(server->engine, &stats);
    line(out, "aggregates:%llu", (ull)stats.aggregates);
    const struct mim_model *model = server->options.compiled->model;
    for (uint32_t i = 0; i < model->aggregate_count; i++) {
        line(out, "aggregates_%s:%llu", model->aggregates[i].name, (ull)stats.aggregates_of[i]);
    }
    line(out, "image_used_bytes:%llu", (ull)stats.image_used);
    line(out, "bytes_per_aggregate:%llu", stats.aggregates == 0 ? 0 : (ull)(stats.image_used / stats.aggregates));
}

static void section_snapshot(struct mim_server *server, struct mim_buffer *out) { mim_snapshotter_info(server, out); }

static void section_replication(struct mim_server *server, struct mim_buffer *out) {
    mim_replication_info(server, out);
}
static void section_history(struct mim_server *server, struct mim_buffer *out) { mim_past_info(server, out); }

static void section_model(struct mim_server *server, struct mim_buffer *out) {
    const struct mim_compiled *compiled = server->options.compiled;
    line(out, "model:%s", compiled->model->name);
    line(out, "model_version:%u", compiled->model->version);
    line(out, "model_given_as:%s", server->options.model_name == NULL ? "" : server->options.model_name);
    line(out, "layout_fingerprint:%016llx", (ull)compiled->fingerprint);
    line(out, "aggregate_types:%u", compiled->model->aggregate_count);
    line(out, "command_types:%u", compiled->command_count);
    line(out, "event_types:%u", compiled->event_count);
    line(out, "projections:%u", compiled->model->projection_count);
}

static void section_keyspace(struct mim_server *server, struct mim_buffer *out) {
    struct mim_engine_stats stats = {0};
    if (server->engine != NULL) {
        mim_engine_stats(server->engine, &stats);
    }
    if (stats.aggregates > 0) {
        line(out, "db0:keys=%llu,expires=0,avg_ttl=0", (ull)stats.aggregates);
    }
}

static const struct section {
    const char *name;
    const char *title;
    void (*write)(struct mim_server *server, struct mim_buffer *out);
} sections[] = {
    {"SERVER", "Server", section_server},
    {"CLIENTS", "Clients", section_clients},
    {"MEMORY", "Memory", section_memory},
    {"JOURNAL", "Journal", section_journal},
    {"STATS", "Stats", section_stats},
    {"COMMANDSTATS", "Commandstats", section_commandstats},
    {"LATENCYSTATS", "Latencystats", section_latencystats},
    {"IMAGE", "Image", section_image},
    {"SNAPSHOT", "Snapshot", section_snapshot},
    {"REPLICATION", "Replication", section_replication},
    {"HISTORY", "History", section_history},
    {"PUBLISH", "Publish", mim_publishing_info},
    {"MODEL", "Model", section_model},
    {"KEYSPACE", "Keyspace", section_keyspace},
};

static bool is_wanted(const char *name, const struct mim_slice *wanted, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (mim_word_is(wanted[i], name) || mim_word_is(wanted[i], "ALL") || mim_word_is(wanted[i], "DEFAULT") ||
            mim_word_is(wanted[i], "EVERYTHING")) {
            return true;
        }
    }
    return count == 0;
}

void mim_info_write(struct mim_server *server, const struct mim_slice *wanted, size_t count, struct mim_buffer *out) {
    (void)mim_server_now(server);
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (is_wanted(sections[i].name, wanted, count)) {
            if (out->size > 0) {
                mim_buffer_append(out, "\r\n", 2);
            }
            line(out, "# %s", sections[i].title);
            sections[i].write(server, out);
        }
    }
}
