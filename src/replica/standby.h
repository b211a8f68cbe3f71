// SPDX-License-Identifier: MIT
// The standby's side: says where it stands, takes frames and puts them into its own journal and image, confirms what is
// durable here; or copies the primary's files, or finds out where the histories parted. A machine over bytes: the server
// carries them and does what a verdict asks for. Frames go journal first, image next; what they change is shown when
// they are durable here (the gates of the engine), as on a primary.
//
// The conversation, in RESP: the standby sends commands, the primary answers, and after +CONTINUE pushes arrays.
//
//   -> AUTH [user] password                                   <- +OK
//   -> REPLICATE protocol history|? epoch lsn chain position port [identity]
//   <- +CONTINUE history epoch    <- +FILES ...   <- +PROBE ...   <- +FOREIGN ...   <- +NEWER ...   <- -ERR ...
//   after CONTINUE:  <- frames lsn bytes    <- beat lsn position epoch    <- scan position    <- digest position hex
//                    <- promote position    -> REPLACK lsn position (no answer)
//   after FILES:     -> REPLFILES all|tail  <- array size of the list, then so many bulk strings "path size allocated"
//                    -> REPLREAD path offset count            <- bulk
//   after PROBE:     -> REPLPROBE lsn chain [lsn chain ...]   <- index of the newest common one, or -1
#ifndef MIM_REPLICA_STANDBY_H
#define MIM_REPLICA_STANDBY_H

#include "engine/engine.h"
#include "replica/inbox.h"
#include "replica/incoming.h"
#include "replica/rewind.h"

enum mim_standby_state {
    MIM_STANDBY_GREETING,  /* AUTH is on its way */
    MIM_STANDBY_ASKING,    /* REPLICATE is on its way */
    MIM_STANDBY_STREAMING, /* frames come */
    MIM_STANDBY_LISTING,   /* which files there are */
    MIM_STANDBY_COPYING,   /* files come */
    MIM_STANDBY_PROBING,   /* where the histories parted */
};

/** What the server has to do. */
enum mim_standby_verdict {
    MIM_STANDBY_MORE,      /* nothing: bring bytes when they come */
    MIM_STANDBY_BUSY,      /* call again soon: there is more in the inbox */
    MIM_STANDBY_STALLED,   /* the journal has no room this moment (or the disk is full): call again when it moved */
    MIM_STANDBY_INSTALL,   /* a whole copy lies in incoming/: close the journal, install, open again */
    MIM_STANDBY_REWIND,    /* close the journal, rewind it to `point`, open again */
    MIM_STANDBY_SET_ASIDE, /* close the journal, set it aside, open again without one */
    MIM_STANDBY_PROMOTE,   /* the primary hands over */
    MIM_STANDBY_CLOSE,     /* close the connection; the error says why; try again later */
    MIM_STANDBY_BROKEN,    /* the image can not be trusted any more: stop serving. The error says why */
};

/** What a standby stands on; borrowed. */
struct mim_standby_setup {
    struct mim_storage storage;
    struct mim_engine *engine;
    struct mim_appender *appender;         /* NULL: no journal yet */
    const char *user, *password;           /* NULL: no AUTH */
    uint16_t port;                         /* where we listen */
    char identity[MIM_IDENTITY_TEXT_SIZE]; /* of our directory; "": none */
    bool rewind;                           /* may go back to the common history (what only we have is set aside) */
    bool tail_only;                        /* copy the segments from the snapshot on, not the whole journal */
    char boot[64]; /* names this boot of the machine: files survive a process, not a power cut */
};

struct mim_standby {
    struct mim_standby_setup setup;
    enum mim_standby_state state;
    struct mim_inbox inbox;
    struct mim_buffer out; /* to be sent; the server takes from its front */
    struct mim_incoming incoming;
    size_t list_left;             /* entries of the file list still to come */
    struct mim_segments segments; /* while probing */
    struct mim_divergence divergence;
    struct mim_boundary point; /* REWIND */
    /* the primary, as it last said */
    struct mim_history primary_history;
    mim_epoch_t primary_epoch;
    mim_lsn_t primary_lsn;
    mim_position_t primary_position;
    bool foreign_primary_newer; /* it holds us for the newer one: it stops taking commands */
    /* confirmations */
    mim_lsn_t acked_lsn;
    /* comparing digests */
    mim_position_t scan_position; /* begin a scan when the image is exactly here; 0: none asked for */
    bool scan_begun;              /* the server took it: cleared there */
    mim_position_t told_position;
    uint64_t told_digest;
    uint64_t frames, bytes; /* taken in */
};

/** A new conversation: puts AUTH or REPLICATE into `out`. */
void mim_standby_begin(struct mim_standby *standby, const struct mim_standby_setup *setup);
void mim_standby_end(struct mim_standby *standby);
/** Works on what is in the inbox, a bounded share of it. reterr is filled in for CLOSE and BROKEN. */
enum mim_standby_verdict mim_standby_step(struct mim_standby *standby, struct mim_error *reterr);
/** Puts a confirmation into `out` when `durable` is news, or `always` (heartbeat). Streaming only. */
void mim_standby_confirm(struct mim_standby *standby, mim_lsn_t durable_lsn, mim_position_t durable_position,
                         bool always);
const char *mim_standby_state_name(const struct mim_standby *standby);

#endif
