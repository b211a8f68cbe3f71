// SPDX-License-Identifier: MIT
// What the server's files share: the server, a session, one call. Included by src/server/*.c only. Everything in here
// belongs to the engine thread; what other threads touch is in journal_thread.h.
#ifndef MIM_SERVER_INTERNAL_H
#define MIM_SERVER_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/version.h"
#include "engine/engine.h"
#include "engine/recovery.h"
#include "server/acl.h"
#include "server/auth_thread.h"
#include "server/commands.h"
#include "server/holdback.h"
#include "server/journal_thread.h"
#include "server/latency.h"
#include "server/log.h"
#include "server/replication.h"
#include "server/resp_parse.h"
#include "server/resp_write.h"
#include "server/server.h"
#include "server/snapshot_event.h"
#include "server/tls.h"
#include "server/transport.h"

#define MIM_VERSION_TEXT       MIM_VERSION
#define MIM_REDIS_VERSION_TEXT "7.0.0" /* the dialect clients may rely on */

/* Bounds that are no options; those that are stand in server.h. */
#define MIM_ARGUMENTS_MAX            1024u          /* of one request */
#define MIM_INLINE_SIZE_MAX          (64u << 10)    /* as Redis */
#define MIM_READ_SIZE                (64u << 10)    /* bytes of one read: what a connection gets per turn */
#define MIM_INPUT_SIZE_MIN           (16u << 10)    /* a connection's own input, only while a request is incomplete */
#define MIM_INPUT_POOL_MAX           256u           /* such buffers kept for reuse */
#define MIM_INPUT_TOTAL_MAX          (256ull << 20) /* bytes of incomplete requests of all connections */
#define MIM_OUTPUT_SOFT              (1u << 20)     /* bytes waiting for one client: reading pauses */
#define MIM_OUTPUT_KEPT              (64u << 10)    /* capacity an empty output keeps */
#define MIM_NOAUTH_ARGUMENTS_MAX     16u            /* before AUTH, where a password is set */
#define MIM_NOAUTH_ARGUMENT_SIZE_MAX (16u << 10)
#define MIM_NOAUTH_REQUEST_SIZE_MAX  (64u << 10)
#define MIM_NOAUTH_DEADLINE_NS       10000000000ull
#define MIM_AUTH_FAILURES_MAX        8u             /* then the connection is closed */
#define MIM_AUTH_DELAY_NS            50000000ull    /* before a wrong password is answered, times the failures so far */
#define MIM_PARTIAL_DEADLINE_NS      60000000000ull /* an incomplete request that gets no byte for so long */
#define MIM_LINGER_NS                2000000000ull  /* time for a client to read its last reply */
#define MIM_STOP_FLUSH_NS            3000000000ull  /* the same at the server's stop */
#define MIM_STOP_DURABLE_NS          20000000000ull /* time for the disk at the server's stop */
#define MIM_TICK_MS                  100u
#define MIM_CLIENT_NAME_MAX          64u

struct mim_server;
struct mim_session;
/* Listening sockets, and numbers of connections by address (hashed: two may share one). */
enum { MIM_LISTENER_TCP, MIM_LISTENER_UNIX, MIM_LISTENER_TLS, MIM_LISTENERS };
#define MIM_ADDRESS_BUCKETS 16384u

struct mim_past;         /* past.h */
struct mim_past_session; /* past.h */

/* ------------------------------------------------------------------- session */

enum mim_stall {
    MIM_STALL_NONE,
    MIM_STALL_JOURNAL, /* the ring is full: retried when the journal has moved */
    MIM_STALL_OUTPUT,  /* too much is waiting for this client: retried when it has drained */
};

enum mim_queue { MIM_QUEUE_NONE, MIM_QUEUE_FRESH, MIM_QUEUE_WAITING };

/** Incomplete requests of one connection. Most of the time there are none, and no memory. */
struct mim_input {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

#define MIM_SESSION_MAGIC 0x4d53534eu

struct mim_session {
    uint32_t magic;
    bool authenticated;
    bool request_ready; /* parsed, not executed yet */
    bool admitted;      /* and begun: it was permitted then, and comes to its end */
    bool reading;       /* read_event is added */
    bool writing;       /* write_event is added: the socket is full */
    bool closing;       /* nothing more is read; closed when all output is out */
    bool lingering;     /* output is out and the write side shut; waits for the peer's end */
    bool doomed;        /* freed at the end of this turn */
    bool silent;        /* CLIENT REPLY OFF */
    bool skip_next;     /* CLIENT REPLY SKIP */
    bool skip_this;
    bool is_unix;
    bool is_tls;
    uint8_t stall; /* enum mim_stall */
    uint8_t queue; /* enum mim_queue */
    uint32_t auth_failures;
    struct mim_server *server;
    struct mim_transport transport;
    struct mim_resp_parser parser;
    struct mim_input input;
    struct mim_reply reply;
    uint64_t output_base; /* bytes that left the output before its first byte */
    uint64_t released;    /* bytes that may leave, counted like output_base */
    size_t sent;          /* bytes of the output that have left */
    struct mim_holdback holdback;
    uint64_t received_ns; /* of the batch being read */
    uint64_t active_ns;
    uint64_t created_ns;
    uint64_t deadline_ns; /* closing: when patience ends; 0: none */
    uint64_t id;
    uint64_t requests;
    uint64_t snapshot_ticket;         /* SNAPSHOT waits for this one; 0: none */
    uint64_t handover_ticket;         /* FAILOVER likewise */
    uint64_t wait_begun_ns;           /* WAIT, and STATE ... MIN POSITION; 0: not waiting */
    mim_lsn_t write_gate;             /* of its newest command: what WAIT waits for */
    struct mim_standby_feed *standby; /* owned; NULL: not a standby's */
    uint16_t last_command;
    char name[MIM_CLIENT_NAME_MAX];
    char library[MIM_CLIENT_NAME_MAX];
    char library_version[MIM_CLIENT_NAME_MAX];
    char address[72];
    struct mim_past_session *past; /* owned; NULL: reads no history */
    struct mim_acl_user *user;     /* who it is; NULL: not authenticated. Belongs to the ACL */
    struct mim_auth_job *auth_job; /* owned; a password being hashed */
    uint32_t address_bucket;       /* 1 + its place in address_counts; 0: none */
    uint64_t auth_until_ns;        /* a wrong password is not answered before; 0: none */
    struct event read_event;
    struct event write_event;
    TAILQ_ENTRY(mim_session) all_link;
    TAILQ_ENTRY(mim_session) queue_link; /* fresh or waiting */
    TAILQ_ENTRY(mim_session) stall_link; /* STALL_JOURNAL */
    TAILQ_ENTRY(mim_session) doom_link;
};
TAILQ_HEAD(mim_sessions, mim_session);

/* -------------------------------------------------------------------- server */

enum mim_phase { MIM_PHASE_LOADING, MIM_PHASE_SERVING, MIM_PHASE_STOPPING, MIM_PHASE_STOPPED, MIM_PHASE_FAILED };

struct mim_command_stats {
    uint64_t rejected;          /* refused before the handler: arity, NOAUTH, LOADING */
    uint64_t failed;            /* answered by an error */
    struct mim_latency latency; /* from read to release, durability included */
};

/** Counters of INFO. */
struct mim_server_counters {
    uint64_t connections, connections_refused, connections_evicted;
    uint64_t requests, bytes_in, bytes_out;
    uint64_t protocol_errors, cross_protocol, auth_failures, protected_refused;
    uint64_t log_suppressed;
    uint64_t acl_denied_command, acl_denied_key, auth_overloaded;
    uint64_t tls_connections, tls_failures, limit_handshake, limit_address;
    uint64_t limit_query, limit_output, limit_input_total, limit_idle, limit_partial, limit_fds, limit_noauth;
    uint64_t stalls_journal, stalls_output;
    uint64_t turns, seals;
    uint64_t unknown; /* held replies that were given up */
    uint64_t spins;   /* looks of the loop that found nothing, instead of a sleep */
};

/** How the loop and the journal thread wait. A core with nothing to do halts, and to wake it takes long, above all in a
 *  virtual machine: while requests come in quick succession, both spin for a while before they sleep. */
struct mim_rest {
    uint64_t activity;        /* changes with every byte that comes in and with every step of the runners */
    uint64_t since_ns;        /* nothing to do since then */
    uint64_t window_ns;       /* requests are counted since then */
    uint64_t window_requests; /* as many there were then */
    uint64_t session;         /* id of the last to have sent some */
    bool others;              /* it was not alone in this window */
    bool busy;                /* they came in quick succession in the window before */
};

struct mim_listener {
    struct mim_server *server;
    int fd;
    bool is_unix;
    bool is_tls;
    bool paused;
    struct event *event;
};

/** One call: what a handler gets. */
struct mim_call {
    struct mim_server *server;
    struct mim_session *session;
    struct mim_reply *reply;
    const struct mim_command *command;
    const struct mim_slice *arguments; /* [0] is the command's name */
    size_t count;
    uint16_t index;                /* the command's; MIM_COMMAND_NONE: unknown */
    const struct mim_ahead *ahead; /* what was looked up of an address in arguments[1], or NULL */
    mim_lsn_t gate;                /* handler: what has to be durable before the reply leaves; 0 when nothing */
};

struct mim_server {
    struct mim_server_options options;
    struct mim_clock clock;
    enum mim_phase phase;
    int exit_status;
    uint16_t port;     /* bound; 0: none */
    uint16_t tls_port; /* likewise */
    pid_t pid;
    uint64_t started_ns;
    int64_t started_wall_ms;
    char run_id[41];

    /* engine and journal */
    struct mim_storage storage;
    mim_file_t lock;
    struct mim_engine *engine;
    struct mim_ring ring;
    struct mim_writer *writer;
    struct mim_appender appender;
    struct mim_runners runners;
    bool ring_ready, appender_ready, runners_ready, storage_ready;
    mim_epoch_t epoch;
    mim_lsn_t seal_lsn; /* the journal's end behind its last frame that is no DATA frame */
    mim_lsn_t last_lsn; /* the journal's end at the last turn */
    uint64_t last_append_ns;
    uint64_t recovery_ns, recovery_events, recovery_done, recovery_total, recovery_logged_ns;

    struct mim_snapshotter snapshotter;
    struct mim_replication replication;
    bool opening;        /* the journal is being replayed */
    uint64_t opening_ns; /* since then */

    struct mim_acl *acl;
    struct mim_tls *tls;      /* NULL: no TLS */
    struct mim_tls *link_tls; /* to the primary; NULL: plain */
    struct mim_auth_thread auth_thread;
    uint64_t auth_seen;             /* jobs of it that were done at the last turn */
    uint64_t log_second, log_lines; /* about clients, in this second */

    /* loop */
    struct event_base *base;
    struct event *wake_event, *tick_event, *seal_event, *term_event, *int_event;
    bool seal_armed;
    struct mim_rest rest;
    uint32_t progress_seen;
    mim_lsn_t gate_seen;
    uint64_t now_ns; /* read once per turn, at its end, and at each read */
    int64_t wall_ms; /* read once per turn */
    bool wall_fresh;
    uint64_t stop_ns; /* when stopping began */
    bool stop_sealed;
    int spare_seen; /* enum mim_spare_state, for the log */

    /* connections */
    struct mim_listener listeners[MIM_LISTENERS];
    uint32_t address_counts[MIM_ADDRESS_BUCKETS];
    uint64_t address_seed;
    int spare_fd;
    struct mim_sessions sessions, fresh, waiting, stalled, doomed;
    uint32_t session_count;
    uint64_t session_next_id;
    uint64_t input_bytes;
    uint8_t *input_pool[MIM_INPUT_POOL_MAX];
    uint32_t input_pool_count;
    uint8_t *read_buffer; /* MIM_READ_SIZE, shared: bytes are parsed where they arrive */

    /* calls */
    struct mim_slice arguments[MIM_ARGUMENTS_MAX];
    struct mim_argument fields[MIM_ARGUMENTS_MAX / 2];
    struct mim_string strings[MIM_ARGUMENTS_MAX];
    struct mim_buffer scratch; /* JSON before it becomes a bulk string; INFO */
    struct mim_outcome outcome;
    struct mim_past *past;           /* NULL until somebody reads history */
    struct mim_publisher *publisher; /* NULL: --publish was not given */
    struct mim_server_counters counters;
    struct mim_command_stats stats[MIM_COMMANDS_MAX];
    struct {
        uint64_t at_ns, requests, position, requests_per_second, events_per_second;
    } rates;
};

/* session.c: bytes in, replies out; no sockets */
struct mim_session *mim_session_new(struct mim_server *server, struct mim_transport transport);
struct mim_session *mim_session_free(struct mim_session *session);
/** Executes the requests of data[0..size) until they end or the session stalls; returns the bytes done with. */
size_t mim_session_consume(struct mim_session *session, uint8_t *data, size_t size);
/** Keeps an incomplete rest. False: a limit is reached and the session is closing. */
bool mim_session_keep(struct mim_session *session, const uint8_t *data, size_t size);
/** Room behind the own input for `size` bytes; NULL as above. */
uint8_t *mim_session_room(struct mim_session *session, size_t size);
/** Drops the first bytes of the own input, gives its memory back when it is empty. */
void mim_session_drop(struct mim_session *session, size_t size);
/** Moves `released` up to the gate, counts latencies. */
void mim_session_release(struct mim_session *session, mim_lsn_t gate, uint64_t now_ns);
/** The bytes that may be sent now. */
struct mim_slice mim_session_pending(const struct mim_session *session);
void mim_session_sent(struct mim_session *session, size_t size);
/** True when no byte and no held reply is left. */
bool mim_session_drained(const struct mim_session *session);
/** An error to a client that is then closed; with an empty prefix it is closed without a word. */
void mim_session_refuse(struct mim_session *session, const char *prefix, const char *text);
void mim_session_set_limits(struct mim_session *session);
/** NULL: nobody yet; what may be sent before AUTH is bounded more tightly. */
void mim_session_set_user(struct mim_session *session, struct mim_acl_user *user);

/* give_up.c */
/** Answers UNKNOWN where standbys have not confirmed in time; `all`: wherever they have not confirmed. */
void mim_sessions_give_up(struct mim_server *server, bool all);

/* server.c */
/** Between two turns: closes the journal, lets replication change what is on disk, opens it again. */
void mim_server_reopen(struct mim_server *server);

/* connection_event.c: sockets of sessions */
/** Takes the transport over, whatever happens; `bucket` as in the session, counted already. */
void mim_connection_open(struct mim_server *server, struct mim_transport transport, const struct mim_listener *listener,
                         const char *address, uint32_t bucket);
void mim_connection_touch(struct mim_session *session); /* it has new output: settled at the end of the turn */
void mim_connection_doom(struct mim_session *session);
void mim_connection_stall(struct mim_session *session, enum mim_stall reason);
/** End of a turn: release, send, resume, close. */
void mim_connections_settle(struct mim_server *server, bool gate_moved);
void mim_connections_retry(struct mim_server *server);
void mim_connections_bury(struct mim_server *server);
void mim_connections_stop_reading(struct mim_server *server);
bool mim_connections_drained(const struct mim_server *server);
void mim_connections_tick(struct mim_server *server);
void mim_connections_close_all(struct mim_server *server);
/** The journal is about to be closed: closes those that stand on it (history, standbys, held replies), keeps the rest. */
void mim_connections_close_bound(struct mim_server *server);

/* authenticate.c */
/** User and password of AUTH or HELLO. The user, or NULL with the verdict: AGAIN, or the error is written. */
enum mim_verdict_of_call mim_authenticate(struct mim_call *call, struct mim_slice name, struct mim_slice password,
                                          struct mim_acl_user **ret_user);
/** The user of connections that have not said who they are; NULL: they have to. */
struct mim_acl_user *mim_acl_nobody(const struct mim_server *server);
/** Reads the ACL file again. Sessions of users that are gone or off are closed; the others have their new rights. */
MIM_CHECKED int mim_acl_reload(struct mim_server *server, struct mim_error *reterr);

/* permission.c */
/** Whether the call's user may do it, before its handler. False: NOPERM is written. */
bool mim_permission_check(struct mim_call *call);
/** Type and id that arguments[1] names. False: it names none, and the error is written. */
bool mim_call_address(struct mim_call *call, struct mim_slice *ret_type, struct mim_slice *ret_id);
/** For filters of events and for commands: which streams the session's user, as he is then, may read or write. */
struct mim_permits mim_permission_reads(struct mim_session *session);
struct mim_permits mim_permission_writes(struct mim_session *session);

/* security.c */
/** ACL and TLS, before the listeners. USAGE. */
MIM_CHECKED int mim_security_open(struct mim_server *server, struct mim_error *reterr);
void mim_security_close(struct mim_server *server);
/** Lets clients go on whose passwords are hashed. */
void mim_security_turn(struct mim_server *server);
/** Whether one more line about what a client did may be logged: a log is something that clients could make grow. */
bool mim_security_may_log(struct mim_server *server);

/* listener_event.c */
MIM_CHECKED int mim_listeners_open(struct mim_server *server, struct mim_error *reterr);
void mim_listeners_close(struct mim_server *server);
void mim_listeners_tick(struct mim_server *server);

/* loop_event.c */
MIM_CHECKED int mim_loop_open(struct mim_server *server, struct mim_error *reterr);
void mim_loop_close(struct mim_server *server);
void mim_loop_run(struct mim_server *server);
/** While replaying: serves what may be served, without waiting. */
void mim_loop_poll(struct mim_server *server);
void mim_loop_stop(struct mim_server *server, const char *reason);

/* info.c */
void mim_info_write(struct mim_server *server, const struct mim_slice *sections, size_t count, struct mim_buffer *out);
/** "id=1 addr=... name=..." and a newline, for CLIENT LIST. */
void mim_info_client(const struct mim_session *session, struct mim_buffer *out);
__attribute__((format(printf, 2, 3))) void mim_info_line(struct mim_buffer *out, const char *format, ...);

/* past.c, follow.c: history is read in slices at the end of turns */
void mim_past_turn(struct mim_server *server, bool gate_moved);
void mim_past_tick(struct mim_server *server);
bool mim_past_busy(const struct mim_server *server);
void mim_past_close(struct mim_server *server);
void mim_past_forget(struct mim_session *session);
/** INFO's section: followers, jobs, what was read for them. */
void mim_past_info(struct mim_server *server, struct mim_buffer *out);
void mim_past_sent(struct mim_session *session); /* its client took bytes */
void mim_follow_end(struct mim_session *session);

/* publishing.c: what is durable goes to Redis, in slices at the end of turns */
/** Makes the publisher, off; nothing without --publish. USAGE, MEMORY, IO. */
MIM_CHECKED int mim_publishing_open(struct mim_server *server, struct mim_error *reterr);
/** A primary begins to publish: when it is ready, or promoted (then it is made here if need be; what fails is logged). */
void mim_publishing_start(struct mim_server *server);
/** A standby does not publish: call it before the engine is replaced. Also at the end. */
void mim_publishing_stop(struct mim_server *server);
void mim_publishing_turn(struct mim_server *server);
void mim_publishing_info(struct mim_server *server, struct mim_buffer *out);

static inline struct mim_session *mim_session_of(void *context) {
    struct mim_session *session = context;
    MIM_ASSERT(session->magic == MIM_SESSION_MAGIC);
    return session;
}

static inline uint64_t mim_server_now(struct mim_server *server) {
    server->now_ns = server->clock.monotonic_ns(server->clock.context);
    return server->now_ns;
}

static inline int64_t mim_server_wall_ms(struct mim_server *server) {
    if (!server->wall_fresh) {
        server->wall_ms = server->clock.wall_ms(server->clock.context);
        server->wall_fresh = true;
    }
    return server->wall_ms;
}

#endif
