// SPDX-License-Identifier: MIT
// Snapshots of a live server: a child process makes them from the journal; this side decides when, takes the digest of
// the same position meanwhile, and compares. The command path does not fork, pause or copy.
// And what follows a restore from one: checking in the background, and moving onto anonymous memory.
#ifndef MIM_SERVER_SNAPSHOT_EVENT_H
#define MIM_SERVER_SNAPSHOT_EVENT_H

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "image/settle.h"
#include "snapshot/snapshot.h"

struct mim_server;
struct mim_buffer;

enum mim_snapshot_phase {
    MIM_SNAPSHOT_IDLE,
    MIM_SNAPSHOT_GATED,    /* waits until its position is durable */
    MIM_SNAPSHOT_RUNNING,  /* the child works */
    MIM_SNAPSHOT_COMPARED, /* the child is done, the digest is not: the scan goes on */
    MIM_SNAPSHOT_ARCHIVING /* a child moves what no snapshot needs; the snapshot itself has been told of */
};

struct mim_snapshotter {
    enum mim_snapshot_phase phase;
    uint64_t ticket;   /* of the newest begun; waiters compare with `finished` */
    uint64_t finished; /* ticket of the newest ended, well or not */
    mim_position_t position;
    mim_lsn_t lsn; /* where the child stops reading */
    mim_lsn_t gate;
    bool scanning;
    uint64_t work_turn; /* the server's turn of the last slice */
    bool work_busy;     /* there were others since the one before */
    uint64_t digest;    /* ours, when the scan is over */
    uint64_t begun_ns;
    pid_t child;
    int output_fd; /* its standard output: JSON, then the end */
    char output[1024];
    size_t output_size;
    struct event *output_event;
    struct event *work_event; /* slices of scanning and settling */
    /* results */
    mim_position_t last_position;
    mim_lsn_t last_lsn;
    int64_t last_wall_ms; /* 0: none in this directory */
    uint64_t last_ns, last_bytes;
    double last_seconds;
    char last_error[256]; /* "" after a success */
    uint64_t taken, failed, discarded;
    uint64_t archived_segments, archived_bytes, archive_failed; /* by this process */
    uint64_t retry_ns;                                          /* after a failure not before */
    uint64_t backoff_ns;
    /* after a restore */
    struct mim_restored restored;
    struct mim_settling settling;
    bool settle_pending;
    uint64_t settle_longest_ns;
    bool verifying;
    pthread_t verifier;
    _Atomic int verify_stop;       /* engine thread: 1; verifier: relaxed */
    _Atomic int verify_result;     /* verifier: release; engine: acquire. 1: running, 0: good, else a code */
    struct mim_error verify_error; /* verifier writes before its release of verify_result */
    struct mim_server *server;
};

/** Restores from the newest snapshot and replays; fills in server->engine and recovery. */
MIM_CHECKED int mim_snapshotter_recover(struct mim_server *server, const struct mim_recovery_options *options,
                                        struct mim_recovery *ret_recovery, struct mim_error *reterr);
MIM_CHECKED int mim_snapshotter_open(struct mim_server *server, struct mim_error *reterr);
void mim_snapshotter_close(struct mim_server *server);
/** Ten times a second: starts what is due, looks at the verifier. */
void mim_snapshotter_tick(struct mim_server *server);
/** End of a turn in which the gate moved: the child may start. */
void mim_snapshotter_gate(struct mim_server *server, mim_lsn_t gate);
/** Begins a snapshot of the present position. STATE with a sentence when one is under way. */
MIM_CHECKED int mim_snapshotter_begin(struct mim_server *server, struct mim_error *reterr);
void mim_snapshotter_info(struct mim_server *server, struct mim_buffer *out);

#endif
