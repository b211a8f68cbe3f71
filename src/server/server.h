// SPDX-License-Identifier: MIT
// The server: sockets, sessions and replies around one engine, on one libevent loop; a journal thread and a preparer
// thread behind it. This header is what `memimage serve` needs to know.
#ifndef MIM_SERVER_SERVER_H
#define MIM_SERVER_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "journal/writer.h"
#include "model/compiled.h"
#include "publish/publisher.h"
#include "server/tls.h"
#include "snapshot/snapshot.h"

/** Everything `serve` can be told; defaults by mim_server_options_default. Strings are borrowed for the run. */
struct mim_server_options {
    const char *dir;
    const char *bind;       /* "127.0.0.1" */
    uint16_t port;          /* 7411; 0: any free port, printed in the ready line */
    const char *unixsocket; /* NULL: none */
    const struct mim_compiled *compiled;
    const char *model_name; /* as given */
    struct mim_writer_options writer;
    uint32_t idempotency_window;
    uint64_t memory_limit;
    uint64_t reservation;
    bool keep_commands;
    uint32_t clients_max;             /* 10000, and at most nofile - 64 */
    uint64_t query_size_max;          /* bytes of one request: 1 MiB */
    uint32_t follower_timeout_s;      /* 60: a follower that reads nothing for so long is dropped */
    uint64_t output_size_max;         /* bytes waiting for one client: 32 MiB hard; reading pauses far below */
    uint32_t pipeline_max;            /* requests un-replied before reading pauses: 16384 */
    uint32_t idle_timeout_s;          /* 0: none */
    const char *requirepass;          /* NULL: none; then protected mode: non-loopback peers are refused */
    uint32_t clients_per_address_max; /* 5000; 0: no bound but clients_max */
    bool no_plain_port;               /* TLS and unix socket only */
    uint16_t tls_port;                /* 0: none */
    struct mim_tls_options tls;
    bool tls_replication;    /* the link to the primary is TLS: verified by tls.ca_file, with tls.cert_file if given */
    const char *aclfile;     /* NULL: none: user default alone */
    uint32_t seal_idle_ms;   /* 10: idle time after which a seal frame is written */
    uint64_t busy_poll_us;   /* 0: spin this long before every sleep */
    uint64_t spin_us;        /* 200: before a sleep while requests come in quick succession; 0: never */
    enum mim_verify verify;  /* of a snapshot at start: EAGER */
    uint64_t snapshot_every; /* events; 0: never by itself */
    uint64_t snapshot_every_bytes; /* of journal; 0: never */
    uint64_t snapshot_every_s;     /* 0: never */
    uint32_t snapshot_keep;        /* 2 */
    uint32_t snapshot_rate;        /* MiB/s written by a snapshot: 32; 0: no bound */
    const char *archive;           /* directory for segments that no kept snapshot needs; NULL: all stay */
    const char *config_file;       /* for INFO; NULL: none */
    const char *replica_of;        /* "HOST:PORT" of the primary; NULL: this is one */
    const char *primary_user;      /* what a standby authenticates with; NULL: no user, */
    const char *primary_password;  /* NULL: no AUTH */
    uint32_t sync_replicas;        /* standbys that have to confirm before a reply; 0: none */
    uint32_t sync_timeout_ms;      /* then UNKNOWN: 5000 */
    uint32_t replica_timeout_s;    /* silence after which a peer is given up: 5 */
    uint32_t replica_digest_s;     /* digests are compared so often: 60; 0: never */
    bool no_rewind;                /* never set a divergent journal aside: refuse to follow instead */
    bool replica_tail_only;        /* a new standby copies snapshot and tail, not the whole journal */
    struct mim_publish_options publish;
};

void mim_server_options_default(struct mim_server_options *ret_options);

/** Recovers, serves until SIGTERM, SIGINT or SHUTDOWN, stops cleanly. Logs to stderr. Returns the exit status of the
 *  contract: 0 stopped on request, 1 configuration, 3 damaged journal or unreadable by the model, 4 storage error while
 *  running, 5 directory in use. */
int mim_server_run(const struct mim_server_options *options);

#endif
