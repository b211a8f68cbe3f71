// SPDX-License-Identifier: MIT
// memimage serve: options and configuration file to struct mim_server_options.
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "cli/cli.h"
#include "cli/model_option.h"
#include "cli/options.h"
#include "server/server.h"

/** Values as the option table has them. */
struct serving {
    struct mim_server_options server;
    const char *config;
    const char *verify;
    const char *publish_style;
    const char *publish_on_gap;
    uint64_t snapshot_keep;
    uint64_t snapshot_rate;
    uint64_t sync_replicas, sync_timeout, replica_timeout, replica_digest;
    const char *replica_history;
    const char *tls_auth;
    uint64_t clients_per_address, tls_port;
    uint64_t port, window, clients_max, pipeline_max, idle_timeout, seal_idle;
};

/** Options that a table of pointers can reach; narrowed into place afterwards. */
static void serving_narrow(struct serving *s) {
    s->server.no_plain_port = s->port == MIM_PORT_NONE;
    s->server.port = s->server.no_plain_port ? 0 : (uint16_t)s->port;
    s->server.tls_port = (uint16_t)s->tls_port;
    s->server.clients_per_address_max = (uint32_t)s->clients_per_address;
    s->server.idempotency_window = (uint32_t)s->window;
    s->server.clients_max = (uint32_t)s->clients_max;
    s->server.pipeline_max = (uint32_t)s->pipeline_max;
    s->server.idle_timeout_s = (uint32_t)s->idle_timeout;
    s->server.seal_idle_ms = (uint32_t)s->seal_idle;
    s->server.config_file = s->config;
    s->server.snapshot_keep = (uint32_t)s->snapshot_keep;
    s->server.snapshot_rate = (uint32_t)s->snapshot_rate;
    s->server.sync_replicas = (uint32_t)s->sync_replicas;
    s->server.sync_timeout_ms = (uint32_t)s->sync_timeout;
    s->server.replica_timeout_s = (uint32_t)s->replica_timeout;
    s->server.replica_digest_s = (uint32_t)s->replica_digest;
    s->server.replica_tail_only = strcmp(s->replica_history, "tail") == 0;
}

static void serving_default(struct serving *s) {
    mim_server_options_default(&s->server);
    s->server.dir = "data";
    s->server.model_name = "ledger";
    s->verify = "eager";
    s->publish_style = "thin";
    s->publish_on_gap = "stop";
    s->snapshot_keep = s->server.snapshot_keep;
    s->snapshot_rate = s->server.snapshot_rate;
    s->sync_timeout = s->server.sync_timeout_ms;
    s->replica_timeout = s->server.replica_timeout_s;
    s->replica_digest = s->server.replica_digest_s;
    s->replica_history = "all";
    s->port = s->server.port;
    s->tls_auth = "yes";
    s->clients_per_address = s->server.clients_per_address_max;
    s->window = MIM_IDEMPOTENCY_WINDOW_DEFAULT;
    s->clients_max = s->server.clients_max;
    s->pipeline_max = s->server.pipeline_max;
    s->idle_timeout = s->server.idle_timeout_s;
    s->seal_idle = s->server.seal_idle_ms;
}

/** --config anywhere on the command line is read first, so that the command line overrides it. */
static const char *config_sought(int argc, char **argv) {
    const char *found = NULL;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0) {
            found = argv[i] + 9;
        } else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            found = argv[i + 1];
        }
    }
    return found;
}

static int serving_verify(struct serving *s, struct mim_error *reterr) {
    static const char *const words[] = {
        [MIM_VERIFY_EAGER] = "eager", [MIM_VERIFY_BACKGROUND] = "background", [MIM_VERIFY_OFF] = "off"};
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(words[i], s->verify) == 0) {
            s->server.verify = (enum mim_verify)i;
            return 0;
        }
    }
    return mim_error_set(reterr, MIM_E_USAGE, "--verify must be eager, background or off, not \"%s\"", s->verify);
}

static int serving_history(const struct serving *s, struct mim_error *reterr) {
    bool known = strcmp(s->replica_history, "all") == 0 || strcmp(s->replica_history, "tail") == 0;
    return known ? 0
                 : mim_error_set(reterr, MIM_E_USAGE, "--replica-history must be all or tail, not \"%s\"",
                                 s->replica_history);
}

static int serving_publish(struct serving *s, struct mim_error *reterr) {
    static const char *const policies[] = {
        [MIM_PUBLISH_STOP] = "stop", [MIM_PUBLISH_REFILL] = "refill", [MIM_PUBLISH_NEW_STREAM] = "new-stream"};
    s->server.publish.fat = strcmp(s->publish_style, "fat") == 0;
    if (!s->server.publish.fat && strcmp(s->publish_style, "thin") != 0) {
        return mim_error_set(reterr, MIM_E_USAGE, "--publish-style must be thin or fat, not \"%s\"", s->publish_style);
    }
    for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        if (strcmp(policies[i], s->publish_on_gap) == 0) {
            s->server.publish.on_gap = (enum mim_publish_on_gap)i;
            return 0;
        }
    }
    return mim_error_set(reterr, MIM_E_USAGE, "--publish-on-gap must be stop, refill or new-stream, not \"%s\"",
                         s->publish_on_gap);
}

static int serving_tls(struct serving *s, struct mim_error *reterr) {
    static const char *const words[] = {
        [MIM_TLS_AUTH_YES] = "yes", [MIM_TLS_AUTH_NO] = "no", [MIM_TLS_AUTH_OPTIONAL] = "optional"};
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(words[i], s->tls_auth) == 0) {
            s->server.tls.auth_clients = (enum mim_tls_auth)i;
            return 0;
        }
    }
    return mim_error_set(reterr, MIM_E_USAGE, "--tls-auth-clients must be yes, no or optional, not \"%s\"",
                         s->tls_auth);
}

static int serve_run(struct serving *s, struct mim_error *reterr) {
    struct mim_compiled *compiled = NULL;
    int rc = serving_verify(s, reterr);
    rc = rc != 0 ? rc : serving_history(s, reterr);
    rc = rc != 0 ? rc : serving_publish(s, reterr);
    rc = rc != 0 ? rc : serving_tls(s, reterr);
    rc = rc != 0 ? rc : mim_cli_model(s->server.model_name, &compiled, reterr);
    if (rc != 0) {
        return mim_cli_fail("serve", reterr);
    }
    serving_narrow(s);
    s->server.compiled = compiled;
    int status = mim_server_run(&s->server);
    (void)mim_compiled_free(compiled);
    return status;
}

/** What the table below fills in: one server to a process. */
static struct serving serving;

static const struct mim_option items[] = {
    {"dir", MIM_OPTION_TEXT, &serving.server.dir, "DIR", "data directory, made when missing (default data)", 0, 0},
    {"port", MIM_OPTION_PORT, &serving.port, "N|none", "TCP port (default 7411; 0: any free one)", 0, 0},
    {"bind", MIM_OPTION_TEXT, &serving.server.bind, "ADDRESS", "address to listen on (default 127.0.0.1)", 0, 0},
    {"unixsocket", MIM_OPTION_TEXT, &serving.server.unixsocket, "PATH", "listen on a unix socket too", 0, 0},
    {"model", MIM_OPTION_TEXT, &serving.server.model_name, "NAME|FILE.so", "the model (default ledger)", 0, 0},
    {"durability", MIM_OPTION_DURABILITY, &serving.server.writer, "fsync|interval:MS|none",
     "when a command is acknowledged (default fsync)", 0, 0},
    {"config", MIM_OPTION_TEXT, &serving.config, "FILE", "\"option value\" lines; the command line comes first", 0, 0},
    {"idempotency-window", MIM_OPTION_UNSIGNED, &serving.window, "N", "keys remembered (default 1000000)", 1, 1u << 31},
    {"memory-limit", MIM_OPTION_SIZE, &serving.server.memory_limit, "SIZE", "most bytes of image (default: none)", 0,
     0},
    {"keep-commands", MIM_OPTION_FLAG, &serving.server.keep_commands, NULL, "journal the fields of every command too",
     0, 0},
    {"segment-size-max", MIM_OPTION_SIZE, &serving.server.writer.segment_size_max, "SIZE",
     "largest journal segment (default 64m)", MIM_SEGMENT_SIZE_MIN, (uint64_t)4 << 30},
    {"verify", MIM_OPTION_TEXT, &serving.verify, "eager|background|off",
     "when a snapshot's blocks are checked at start (default eager)", 0, 0},
    {"snapshot-every", MIM_OPTION_UNSIGNED, &serving.server.snapshot_every, "N",
     "make a snapshot after so many events (default 0: never)", 0, 0},
    {"snapshot-every-bytes", MIM_OPTION_SIZE, &serving.server.snapshot_every_bytes, "SIZE",
     "or after so many bytes of journal (default 0: never)", 0, 0},
    {"snapshot-every-seconds", MIM_OPTION_UNSIGNED, &serving.server.snapshot_every_s, "SECONDS",
     "or after so much time with changes (default 0: never)", 0, 1u << 30},
    {"snapshot-rate", MIM_OPTION_UNSIGNED, &serving.snapshot_rate, "MIB",
     "of image that a snapshot writes a second (default 32; 0: no bound)", 0, 1000000},
    {"snapshot-keep", MIM_OPTION_UNSIGNED, &serving.snapshot_keep, "N", "snapshots kept, newest first (default 2)", 1,
     1000000},
    {"archive", MIM_OPTION_TEXT, &serving.server.archive, "DIR2",
     "move the journal's segments that no kept snapshot needs into DIR2 (default: all stay)", 0, 0},
    {"publish", MIM_OPTION_TEXT, &serving.server.publish.url, "URL",
     "publish to redis://[user:pass@]host[:port][/db] or unix:///path (default: not)", 0, 0},
    {"publish-style", MIM_OPTION_TEXT, &serving.publish_style, "thin|fat",
     "entries tell what happened, or carry the whole CloudEvent too (default thin)", 0, 0},
    {"publish-stream", MIM_OPTION_TEXT, &serving.server.publish.stream, "NAME",
     "the stream (default " MIM_PUBLISH_STREAM ")", 0, 0},
    {"publish-maxlen", MIM_OPTION_UNSIGNED, &serving.server.publish.maxlen, "N",
     "keep about so many entries in it (default 0: all)", 0, 0},
    {"publish-on-gap", MIM_OPTION_TEXT, &serving.publish_on_gap, "stop|refill|new-stream",
     "when Redis lost entries or the stream is not ours (default stop)", 0, 0},
    {"publish-types", MIM_OPTION_TEXT, &serving.server.publish.types, "A,B", "only these event types (default: all)", 0,
     0},
    {"publish-aggregates", MIM_OPTION_TEXT, &serving.server.publish.aggregates, "A,B",
     "only events and states of these aggregate types (default: all)", 0, 0},
    {"publish-channels", MIM_OPTION_FLAG, &serving.server.publish.channels, NULL,
     "PUBLISH each event on memimage:TYPE too, fire and forget", 0, 0},
    {"publish-audiences", MIM_OPTION_FLAG, &serving.server.publish.audiences, NULL,
     "PUBLISH each event on memimage:audience:ENTRY for each entry of its audience", 0, 0},
    {"publish-state", MIM_OPTION_FLAG, &serving.server.publish.states, NULL,
     "keep each aggregate's JSON under the key TYPE:ID", 0, 0},
    {"replica-of", MIM_OPTION_TEXT, &serving.server.replica_of, "HOST:PORT", "follow this primary as a hot standby", 0,
     0},
    {"primary-user", MIM_OPTION_TEXT, &serving.server.primary_user, "USER", "a standby's AUTH at the primary", 0, 0},
    {"primary-password", MIM_OPTION_TEXT, &serving.server.primary_password, "PASSWORD", "likewise", 0, 0},
    {"sync-replicas", MIM_OPTION_UNSIGNED, &serving.sync_replicas, "N",
     "standbys that have a command durably before it is acknowledged (default 0)", 0, 64},
    {"sync-timeout", MIM_OPTION_UNSIGNED, &serving.sync_timeout, "MS",
     "wait so long for them, then answer UNKNOWN (default 5000)", 1, 3600000},
    {"replica-timeout", MIM_OPTION_UNSIGNED, &serving.replica_timeout, "SECONDS",
     "give a silent primary or standby up after so long (default 5)", 2, 3600},
    {"replica-digest", MIM_OPTION_UNSIGNED, &serving.replica_digest, "SECONDS",
     "compare digests with standbys so often (default 60; 0: never)", 0, 1u << 30},
    {"replica-history", MIM_OPTION_TEXT, &serving.replica_history, "all|tail",
     "what a new standby copies: the whole journal, or from the snapshot on (default all)", 0, 0},
    {"no-rewind", MIM_OPTION_FLAG, &serving.server.no_rewind, NULL,
     "never set a divergent journal aside: refuse to follow", 0, 0},
    {"clients-max", MIM_OPTION_UNSIGNED, &serving.clients_max, "N", "most connections (default 10000)", 1, 1000000},
    {"query-size-max", MIM_OPTION_SIZE, &serving.server.query_size_max, "SIZE", "most bytes of a request (default 1m)",
     1024, MIM_COMMAND_SIZE_CEILING},
    {"output-size-max", MIM_OPTION_SIZE, &serving.server.output_size_max, "SIZE",
     "most bytes waiting for a client (default 32m)", 65536, (uint64_t)4 << 30},
    {"pipeline-max", MIM_OPTION_UNSIGNED, &serving.pipeline_max, "N",
     "requests un-replied before a client is read no further (default 16384)", 1, 1u << 24},
    {"idle-timeout", MIM_OPTION_UNSIGNED, &serving.idle_timeout, "SECONDS", "close idle connections (default 0: never)",
     0, 1u << 30},
    {"requirepass", MIM_OPTION_TEXT, &serving.server.requirepass, "PASSWORD",
     "clients must AUTH; without one only loopback is served", 0, 0},
    {"tls-port", MIM_OPTION_UNSIGNED, &serving.tls_port, "N", "TCP port for TLS (default 0: none)", 0, 65535},
    {"tls-cert-file", MIM_OPTION_TEXT, &serving.server.tls.cert_file, "FILE", "certificate and chain, PEM", 0, 0},
    {"tls-key-file", MIM_OPTION_TEXT, &serving.server.tls.key_file, "FILE", "its key, PEM (default: in the same file)",
     0, 0},
    {"tls-ca-cert-file", MIM_OPTION_TEXT, &serving.server.tls.ca_file, "FILE",
     "authorities of client certificates, PEM", 0, 0},
    {"tls-auth-clients", MIM_OPTION_TEXT, &serving.tls_auth, "yes|no|optional",
     "whether clients need a certificate (default yes)", 0, 0},
    {"tls-replication", MIM_OPTION_FLAG, &serving.server.tls_replication, NULL,
     "the link of a standby to its primary is TLS, to the primary's TLS port", 0, 0},
    {"clients-per-address", MIM_OPTION_UNSIGNED, &serving.clients_per_address, "N",
     "most connections of one address (default 5000; 0: no bound)", 0, 1000000},
    {"aclfile", MIM_OPTION_TEXT, &serving.server.aclfile, "FILE", "users and what each may do; see the README", 0, 0},
    {"seal-idle", MIM_OPTION_UNSIGNED, &serving.seal_idle, "MS",
     "idle time before a seal frame is written (default 10)", 1, 3600000},
    {"busy-poll", MIM_OPTION_UNSIGNED, &serving.server.busy_poll_us, "US",
     "spin this long before every sleep, for latency (default 0)", 0, 1000000},
    {"spin", MIM_OPTION_UNSIGNED, &serving.server.spin_us, "US",
     "the same while requests come in quick succession (default 200, on a single core 0)", 0, 1000000},
};

static const struct mim_options options = {
    .usage = "memimage serve [option ...]",
    .about = "Runs the server in the foreground until SIGTERM, SIGINT or SHUTDOWN.\n"
             "Exit status: 0 stopped on request, 1 usage or configuration, 3 damaged journal or a model that cannot\n"
             "read it, 4 a storage error while running, 5 the directory is in use.",
    .items = items,
    .count = sizeof(items) / sizeof(items[0]),
};

int mim_cli_serve(int argc, char **argv) {
    serving_default(&serving);
    struct mim_error error = {0};
    int positional = 0;
    const char *config = config_sought(argc, argv);
    int rc = config == NULL ? 0 : mim_options_file(&options, config, &error);
    rc = rc != 0 ? rc : mim_options_parse(&options, argc, argv, &positional, &error);
    rc = rc != 0 ? rc : mim_options_none(argv, positional, &error);
    if (rc != 0) {
        return rc > 0 ? 0 : mim_cli_fail("serve", &error);
    }
    return serve_run(&serving, &error);
}
