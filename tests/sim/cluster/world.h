// SPDX-License-Identifier: MIT
// The simulated world: three nodes with their disks, the network between them, clients, an operator, and somebody who
// breaks things; all of it driven by one seed, on one thread, over simulated time. Journal, engine, snapshots and
// replication are the server's own code; here is what stands around them in the server: sockets, threads, the clock.
//
//   story.c     what happened, for who has to understand a failure
//   network.c   connections as streams of bytes: delays, pieces, cuts, black holes
//   node.c      one server: its lives, its turn, its changes of role
//   standbys.c  its side towards the standbys that follow it
//   clients.c   who sends commands with keys and asks for values
//   oracle.c    what must always hold, and the reference model
//   faults.c    crashes, failing disks, partitions, pauses, rot
//   operator.c  who puts a standby in the place of a primary
//   settle.c    the end: everything heals, and all of it has to agree
#ifndef MIM_TESTS_SIM_CLUSTER_WORLD_H
#define MIM_TESTS_SIM_CLUSTER_WORLD_H

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/prng.h"
#include "engine/recovery.h"
#include "models/models.h"
#include "replica/answer.h"
#include "replica/reign.h"
#include "replica/standby.h"
#include "server/resp_parse.h"
#include "snapshot/snapshot.h"
#include "storage/storage_sim.h"

enum {
    NODES = 3,
    STANDBYS = NODES - 1,
    CLIENTS = 4,
    ACCOUNTS = 5,
    OPERATIONS_MAX = 600,
    VERSIONS_MAX = 2 * OPERATIONS_MAX + 16,
    CONNECTIONS = 16,
    HELD_MAX = 512,
    MAIL_MAX = 256,
    NOBODY = -1,
};

#define MS          1000000ull /* nanoseconds */
#define PATIENCE_NS (150 * MS) /* a silent peer is given up, a client asks again */
#define BEAT_NS     (20 * MS)

/* ------------------------------------------------------------------------ network */

struct chunk {
    uint64_t at_ns; /* when it arrives */
    size_t size;
};

/** One direction of a connection. */
struct pipe {
    struct mim_buffer bytes;
    struct chunk *chunks;
    size_t first, count, capacity;
    uint64_t last_ns;
    bool cut; /* nothing comes behind what is on its way */
};

struct connection {
    bool used;
    int dialer, listener; /* nodes */
    struct pipe up, down; /* to the listener, to the dialer */
    bool dialer_left, listener_left;
    uint64_t heard_ns; /* by the listener */
    uint64_t beat_ns;
    struct mim_feed feed; /* the listener's */
    struct mim_buffer input;
    struct mim_resp_parser parser;
};

/* --------------------------------------------------------------------- commands */

/** What a client wants done, for ever the same under its key. */
struct operation {
    enum { DEPOSIT, WITHDRAW, TRANSFER } kind;
    unsigned account, to;
    int64_t amount;
    unsigned tries;
    bool acknowledged;
    bool unsynced;    /* not on stable storage where it counts */
    bool may_be_lost; /* the mode or the operator allowed it */
    bool refused;     /* rejected, and sent once only: must never happen */
    mim_version_t version;
    mim_position_t position;
};

enum mail_kind { MAIL_DO, MAIL_GET, MAIL_DONE, MAIL_REJECTED, MAIL_VALUE, MAIL_REFUSED };

/** A request or an answer on its way. */
struct mail {
    uint64_t at_ns;
    enum mail_kind kind;
    int node;
    unsigned client;
    uint64_t serial;
    unsigned subject; /* operation or account */
};

struct client {
    bool waiting;
    bool asking; /* GET */
    unsigned subject;
    uint64_t serial;
    uint64_t sent_ns;
};

/* ------------------------------------------------------------------------- nodes */

/** An answer that waits for its gate. */
struct held {
    struct mail mail;
    mim_lsn_t gate;
    mim_version_t version;
    mim_position_t position;
    int64_t balance;
};

enum reopen { REOPEN_NOT, REOPEN_INSTALL, REOPEN_REWIND, REOPEN_SET_ASIDE };

struct node {
    int number;
    struct mim_storage_sim *sim;
    struct mim_storage storage;
    unsigned lives, boots;
    int follows; /* as its service is configured; NOBODY: a primary */
    bool up;
    bool journal; /* open: it is more than a standby that waits for its first copy */
    bool apart;   /* a former primary that has not followed the new one yet */
    bool wiped;   /* its disk was lost: no evidence until it has caught up */
    uint64_t down_until_ns, paused_until_ns, full_until_ns;
    int64_t wall_offset_ms;
    struct mim_engine *engine;
    struct mim_ring ring;
    struct mim_writer *writer;
    struct mim_appender appender;
    struct mim_access *access;
    struct mim_reign reign;
    /* as a standby */
    struct mim_standby standby;
    bool talking, agreed, stalled;
    int link; /* connection */
    uint64_t heard_ns, said_ns, retry_ns;
    enum reopen reopen;
    struct mim_boundary point;
    /* towards clients */
    struct held held[HELD_MAX];
    unsigned held_count;
};

/* --------------------------------------------------------------------------- oracle */

struct sight {
    bool seen;
    bool may_be_lost;
    int64_t balance;
};

struct oracle {
    struct operation operations[OPERATIONS_MAX];
    unsigned count;
    struct sight sights[ACCOUNTS][VERSIONS_MAX];
    mim_version_t highest[ACCOUNTS];
    struct {
        mim_epoch_t epoch;
        int node;
    } reigns[256]; /* who acknowledged in which epoch */
    unsigned reign_count;
};

/* ------------------------------------------------------------------------ operator */

enum operator_state { OPERATOR_WATCHES, OPERATOR_ASKED, OPERATOR_ORDERED };

struct operator{
    enum operator_state state;
    int heir;
    uint64_t at_ns;    /* acts not before */
    bool order[NODES]; /* who still has to be told to follow the primary */
    uint64_t order_ns[NODES];
};

enum fault {
    FAULT_CRASH,
    FAULT_KILL,
    FAULT_CRASH_AT_CALL,
    FAULT_EIO,
    FAULT_SYNC_EIO,
    FAULT_FULL,
    FAULT_PARTITION,
    FAULT_CUT,
    FAULT_PAUSE,
    FAULT_CLOCK,
    FAULT_SNAPSHOT,
    FAULT_SNAPSHOT_ROT,
    FAULT_ROT,
    FAULT_ORDERS, /* the operator promotes without need */
    FAULT_KINDS
};

struct counters {
    uint64_t faults[FAULT_KINDS];
    uint64_t steps, commands, acknowledged, repeated, values, refused, promotions, starts, copies, rewinds, lost;
};

struct world {
    uint64_t seed;
    struct mim_prng prng;
    uint64_t now_ns;
    bool trace;
    struct mim_buffer story;
    const struct mim_compiled *compiled;
    /* this seed's */
    enum mim_durability durability;
    unsigned wanted; /* --sync-replicas */
    uint64_t segment_size;
    uint32_t faults; /* a bit per kind that occurs */
    unsigned calm;   /* one fault in so many steps */
    bool settling;
    /* its parts */
    struct node nodes[NODES];
    struct connection connections[CONNECTIONS];
    uint64_t dark_until_ns[NODES][NODES]; /* nothing gets from one to the other */
    struct mail mail[MAIL_MAX];
    unsigned mail_count;
    struct client clients[CLIENTS];
    uint64_t serial;
    int primary; /* as operator and clients know */
    struct operator operator;
    struct oracle oracle;
    struct counters counters;
};

/* story.c */
__attribute__((format(printf, 2, 3))) void tell(struct world *w, const char *format, ...);
/** Prints the story and ends the program. */
__attribute__((noreturn)) void broken(struct world *w, const char *text, const char *file, int line);
#define REQUIRE(world, condition)                            \
    do {                                                     \
        if (!(condition)) {                                  \
            broken((world), #condition, __FILE__, __LINE__); \
        }                                                    \
    } while (0)
static inline bool chance(struct world *w, uint64_t numerator, uint64_t denominator) {
    return mim_prng_chance(&w->prng, numerator, denominator);
}
static inline uint64_t below(struct world *w, uint64_t bound) { return mim_prng_below(&w->prng, bound); }

/* network.c */
int network_dial(struct world *w, int dialer, int listener);
void network_send(struct world *w, struct pipe *pipe, const void *data, size_t size);
/** Appends what has arrived to `out`. False: the other side has left, and all was handed out. */
bool network_receive(struct world *w, int connection, bool at_dialer, struct mim_buffer *out);
/** One side leaves; `quietly`: the other one is not told (a power cut). */
void network_leave(struct world *w, int connection, bool dialer, bool quietly);
/** All connections of a node end. */
void network_forget(struct world *w, int node, bool quietly);
bool network_dark(const struct world *w, int from, int to);
/** The connection breaks for both, somewhere in what is on its way. */
void network_cut(struct world *w, int connection);
void network_close(struct world *w);

/* node.c */
void node_turn(struct world *w, struct node *n);
/** Power cut or kill -9. */
void node_crash(struct world *w, struct node *n);
void node_kill(struct world *w, struct node *n);
void node_follow(struct world *w, struct node *n, int primary);
void node_promote(struct world *w, struct node *n);
/** Position that is durable there. */
mim_position_t node_position(const struct node *n);
struct mim_engine_options node_engine_options(const struct world *w);
struct mim_restore_options node_restore_options(void);

/* standbys.c */
unsigned standbys_streaming(const struct world *w, const struct node *n);
void standbys_serve(struct world *w, struct node *n);
void standbys_feed(struct world *w, struct node *n);
void standbys_confirm(struct world *w, struct node *n);

/* clients.c */
void clients_turn(struct world *w);
/** The node takes what has come for it. */
void clients_serve(struct world *w, struct node *n);
/** Lets answers go whose gate was passed. */
void clients_release(struct world *w, struct node *n);
/** The command of an operation, at a node. */
void operation_execute(struct world *w, struct node *n, unsigned number, struct mim_outcome *ret_outcome);
/** False: the account is not there. */
bool account_read(struct world *w, struct node *n, unsigned account, mim_version_t *ret_version, int64_t *ret_balance,
                  mim_lsn_t *ret_gate);

/* oracle.c: told when a byte leaves a node */
void oracle_done(struct world *w, const struct node *n, const struct held *held);
/** The client has heard that its command was rejected. */
void oracle_rejected(struct world *w, unsigned number);
void oracle_value(struct world *w, const struct node *n, const struct held *held);
/** A node has begun to reign: what was acknowledged is there. */
void oracle_reign(struct world *w, struct node *n);
/** Remembers what was acknowledged and is not on stable storage of this node. */
void oracle_unsynced(struct world *w, const struct node *n);
/** And that may go. */
void oracle_allow_loss(struct world *w);
/** Nodes that stand at the same point of the same history have the same state. */
void oracle_compare(struct world *w);

/* faults.c */
void faults_turn(struct world *w);
void faults_end(struct world *w);

/* operator.c */
void operator_turn(struct world *w);

/* settle.c */
void settle(struct world *w);

#endif
