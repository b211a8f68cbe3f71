// SPDX-License-Identifier: MIT
// The primary's side of one standby: may it go on from where it stands, which frames come next, what has it confirmed.
// Frames come from the journal's files, so a slow standby costs a cursor and no memory. No sockets: the server carries
// the bytes. A standby feeds its own standbys by the same code.
#ifndef MIM_REPLICA_FEED_H
#define MIM_REPLICA_FEED_H

#include "journal/cursor.h"
#include "replica/identity.h"
#include "replica/incoming.h"
#include "replica/point.h"

/** What a standby that names its point is told. */
enum mim_welcome {
    MIM_WELCOME_CONTINUE, /* its journal is a beginning of ours: frames follow */
    MIM_WELCOME_FILES,    /* it has nothing, or ours begins behind its end: it needs snapshot and segments */
    MIM_WELCOME_PROBE,    /* same history, but it has frames that we have not: find the last common boundary */
    MIM_WELCOME_FOREIGN,  /* another history */
    MIM_WELCOME_NEWER,    /* its epoch is above ours: we are the former primary */
};
const char *mim_welcome_word(enum mim_welcome welcome);

/** Compares the standby's end with our journal up to the access's limit. `own`: our end. IO, DAMAGED, MEMORY. */
MIM_CHECKED int mim_feed_welcome(struct mim_storage storage, const struct mim_access *access,
                                 const struct mim_replica_point *own, const struct mim_replica_point *peer,
                                 enum mim_welcome *ret_welcome, struct mim_error *reterr);

/** A frame boundary, for the search for the last common one. */
struct mim_boundary {
    mim_lsn_t lsn;
    uint64_t chain;
};

/** Index of the first of `boundaries` that is in our journal too; -1: none. Newest come first. IO, MEMORY. */
MIM_CHECKED int mim_feed_probe(struct mim_storage storage, const struct mim_access *access,
                               const struct mim_boundary *boundaries, size_t count, int *ret_index,
                               struct mim_error *reterr);

/** `{0}` before the standby's first word. */
struct mim_feed {
    bool welcomed;                         /* REPLICATE was answered: what is asked next is */
    bool streaming;                        /* after CONTINUE */
    uint16_t port;                         /* where the standby listens */
    char identity[MIM_IDENTITY_TEXT_SIZE]; /* whose directory it is; "": not told */
    mim_file_t file;                       /* being copied; the owner closes it */
    char file_path[MIM_INCOMING_PATH_SIZE];
    struct mim_cursor cursor;
    mim_lsn_t sent_lsn; /* end of the last frame handed out */
    mim_position_t sent_position;
    mim_lsn_t acked_lsn; /* durable there */
    mim_position_t acked_position;
};

#define MIM_PROBE_MAX 400u /* boundaries asked about at once */

/** Begins to stream, behind the standby's point. */
void mim_feed_begin(struct mim_feed *feed, const struct mim_replica_point *peer);
/** The next durable frame of every kind, verified; borrowed until the next call with the access. NOT_FOUND: all is
 *  sent. AGAIN, INVALID (archived), DAMAGED, IO as mim_cursor_frame. A ROLL frame comes when its next segment exists. */
MIM_CHECKED int mim_feed_next(struct mim_feed *feed, struct mim_access *access, struct mim_frame *ret_frame,
                              struct mim_error *reterr);
/** Takes a confirmation in. False: it claims what was never sent; the standby is not to be trusted. */
bool mim_feed_acked(struct mim_feed *feed, mim_lsn_t lsn, mim_position_t position);

/** The LSN that at least `wanted` of `count` standbys have confirmed; 0 when there are fewer. Sorts `acked`. */
mim_lsn_t mim_feeds_confirmed(mim_lsn_t *acked, size_t count, size_t wanted);

#endif
