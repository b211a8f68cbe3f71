// SPDX-License-Identifier: MIT
// Replication of a live server: the link of a standby to its primary, the feeds of a primary to its standbys, and the
// changes of role. Protocol and files are in src/replica; here are sockets, time and what clients see of it.
#ifndef MIM_SERVER_REPLICATION_H
#define MIM_SERVER_REPLICATION_H

#include <event2/event.h>
#include <sys/queue.h>

#include "replica/answer.h"
#include "replica/reign.h"
#include "replica/standby.h"
#include "server/transport.h"

struct mim_server;
struct mim_session;
struct mim_call;
struct mim_buffer;
struct mim_reply;

#define MIM_HOST_SIZE_MAX 256u
#define MIM_LAG_SAMPLES   1024u

/** One standby at our side. Belongs to its session. */
struct mim_standby_feed {
    struct mim_session *session;
    struct mim_feed feed;
    bool live; /* has been at the end of what is durable */
    uint64_t beat_ns;
    TAILQ_ENTRY(mim_standby_feed) link;
};
TAILQ_HEAD(mim_standby_feeds, mim_standby_feed);

enum mim_link_state { MIM_LINK_OFF, MIM_LINK_WAITING, MIM_LINK_RESOLVING, MIM_LINK_CONNECTING, MIM_LINK_UP };
enum mim_reopen { MIM_REOPEN_NONE, MIM_REOPEN_INSTALL, MIM_REOPEN_REWIND, MIM_REOPEN_SET_ASIDE, MIM_REOPEN_AS_IT_IS };
enum mim_handover { MIM_HANDOVER_NONE, MIM_HANDOVER_DRAINING, MIM_HANDOVER_ASKED };

struct mim_replication {
    struct mim_reign reign;
    bool guarded; /* commands have to ask mim_replication_refusal first: all but a primary without --sync-replicas */
    char fenced_by[MIM_HOST_SIZE_MAX + 16];

    /* the link of a standby */
    char host[MIM_HOST_SIZE_MAX];
    uint16_t port;
    char identity[MIM_IDENTITY_TEXT_SIZE]; /* of our directory; read at the first connection */
    enum mim_link_state state;
    int fd;
    struct mim_transport transport; /* over fd, once it is connected */
    bool talking;                   /* `standby` is in use */
    bool agreed;                    /* this journal was a beginning of the primary\'s since it became a standby\'s */
    bool busy;                      /* the machine has more in its inbox */
    bool stalled;                   /* the journal has no room: tried again when it has moved */
    bool deaf;                      /* the socket is left alone until the machine has worked its inbox off */
    bool wants_write;
    struct mim_standby standby;
    size_t sent; /* bytes of standby.out that have left */
    struct event *read_event, *write_event, *retry_event;
    struct evdns_base *resolver;
    uint64_t heard_ns, said_ns, backoff_ns, down_since_ns, behind_since_ns;
    char last_error[256];
    uint64_t connects, copies, rewinds, frames, bytes;

    /* what the loop does between two turns, with the journal closed */
    unsigned reopened; /* times: its files may be others since */
    enum mim_reopen reopen;
    struct mim_boundary point;

    /* promotion */
    bool handed_over;                      /* promoted at the primary's own wish: it is told when it is done */
    uint64_t promote_begun_ns, promote_ns; /* how long the last one took */

    /* the feeds of a primary (or of a standby with standbys) */
    struct mim_access *access;
    struct mim_standby_feeds feeds;
    unsigned feed_count, streaming_count;
    unsigned standby_count; /* streaming ones, each directory once */
    bool acks_moved;
    bool more; /* a feed has frames to send and room for them */
    struct {
        mim_lsn_t lsn;
        uint64_t at_ns;
    } samples[MIM_LAG_SAMPLES]; /* where the journal was when: lag in milliseconds */
    uint64_t sample_count;

    /* switch-over */
    enum mim_handover handover;
    struct mim_standby_feed *heir;
    uint64_t handover_deadline_ns;
    char handover_error[160];
    uint64_t handovers, handover_ticket;

    /* comparing digests with standbys */
    bool scanning;
    mim_position_t scan_position;
    uint64_t scan_next_ns, digests_compared;
    uint64_t own_digest; /* a standby's, of */
    mim_position_t own_digest_position;
    struct event *scan_event;
};

/** Reads the options: role and address. INVALID: --replica-of is not HOST:PORT. */
MIM_CHECKED int mim_replication_init(struct mim_server *server, struct mim_error *reterr);
/** After the loop was opened. */
MIM_CHECKED int mim_replication_open(struct mim_server *server, struct mim_error *reterr);
void mim_replication_close(struct mim_server *server);
/** Between two turns, journal closed: installs, rewinds or sets aside. */
MIM_CHECKED int mim_replication_between(struct mim_server *server, struct mim_error *reterr);
/** The journal is about to be closed: nothing may hold on to it. */
void mim_replication_release(struct mim_server *server);
/** The journal is open (again). */
void mim_replication_ready(struct mim_server *server);

/** True while a standby has no journal yet: it answers PING and questions about itself. */
/** Works `guarded` out anew, after anything it depends on has changed. */
void mim_replication_guard(struct mim_server *server);
bool mim_replication_waits_for_copy(const struct mim_server *server);
/** NULL: commands may be decided; else the prefix of the refusal, and its sentence. */
const char *mim_replication_refusal(const struct mim_server *server, char *text, size_t size);

/** The newest position that may be shown to the outside. */
mim_position_t mim_replication_shown(const struct mim_server *server);
void mim_replication_turn(struct mim_server *server);
void mim_replication_tick(struct mim_server *server);
bool mim_replication_busy(const struct mim_server *server);
/** A standby that has not met its primary yet: the end of its journal may be set aside, and is told to no follower. */
bool mim_replication_undecided(const struct mim_server *server);
void mim_replication_info(struct mim_server *server, struct mim_buffer *out);

/* changes of role */
void mim_replication_follow(struct mim_server *server, const char *host, uint16_t port);
void mim_replication_promote(struct mim_server *server);
/** How many standbys have to confirm, from now on: journaled, and loud. */
void mim_replication_set_sync(struct mim_server *server, uint32_t wanted);
void mim_replication_fence(struct mim_server *server, const char *by, mim_epoch_t epoch);
/** Another user takes the engine's scan. */
void mim_replication_scan_lost(struct mim_server *server);

/* link_event.c */
void mim_link_start(struct mim_server *server);
void mim_link_stop(struct mim_server *server, const char *why);
void mim_link_turn(struct mim_server *server);
void mim_link_tick(struct mim_server *server);
MIM_CHECKED int mim_link_open(struct mim_server *server, struct mim_error *reterr);
void mim_link_close(struct mim_server *server);

/* feeds.c */
/** The session's feed, made at first use; NULL: out of memory. */
struct mim_standby_feed *mim_feeds_get(struct mim_session *session);
void mim_feeds_forget(struct mim_session *session);
void mim_feeds_turn(struct mim_server *server);
void mim_feeds_tick(struct mim_server *server);
/** Standbys that have confirmed everything before `gate`. */
/** The streaming ones; at most MIM_REIGN_STANDBYS_MAX. */
size_t mim_feeds_list(const struct mim_server *server, const struct mim_feed *ret_feeds[MIM_REIGN_STANDBYS_MAX]);
/** The number of streaming ones has changed by `by`. */
void mim_feeds_counted(struct mim_server *server, int by);
unsigned mim_feeds_confirmed_count(const struct mim_server *server, mim_lsn_t gate);
/** Lets the feeds see what is durable now. */
MIM_CHECKED int mim_feeds_limit(struct mim_server *server, struct mim_error *reterr);
uint64_t mim_feeds_lag_ms(const struct mim_server *server, mim_lsn_t acked_lsn);
/** Pushes an array of words and numbers to one streaming standby. */
void mim_feeds_push(struct mim_standby_feed *feed, const char *word, const uint64_t *numbers, size_t count);

#endif
