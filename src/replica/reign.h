// SPDX-License-Identifier: MIT
// Who takes commands, and what may be shown of them: the roles of a node and their changes, and how far standbys have
// confirmed the journal of a primary. No sockets, no time: the server carries out what follows from it.
//
// With N standbys to be waited for, everything that leaves a primary waits for the appender's confirmed_lsn. It begins at
// 0 with every reign: what a journal holds after a restart or a promotion may be on this disk only, so it is neither
// shown nor acknowledged (to who sends a command again) before N standbys have it.
#ifndef MIM_REPLICA_REIGN_H
#define MIM_REPLICA_REIGN_H

#include "engine/engine.h"
#include "journal/writer.h"
#include "replica/feed.h"

#define MIM_REIGN_STANDBYS_MAX 64u /* that are looked at */

enum mim_role { MIM_ROLE_PRIMARY, MIM_ROLE_STANDBY };

/** `{0}`: a primary that has not begun. */
struct mim_reign {
    enum mim_role role;
    bool fenced;                       /* a newer primary of this history exists: no commands */
    bool promoting;                    /* the EPOCH frame is not durable yet: no commands */
    mim_lsn_t promote_gate;            /* its end; 0: there was no room for it yet */
    mim_lsn_t begun_lsn;               /* what is older was there before this reign */
    mim_position_t confirmed_position; /* at the appender's confirmed_lsn */
};

/** A primary's journal is open, or its promotion is durable: `wanted` standbys have to confirm what is in it (0: none).
 *  For a standby: nothing has to be confirmed. */
void mim_reign_begin(struct mim_reign *reign, struct mim_appender *appender, unsigned wanted);
/** In the middle of a reign standbys begin to be waited for: what was shown stays shown. */
void mim_reign_wait_from_now(struct mim_reign *reign, struct mim_appender *appender);
/** Takes in what the streaming ones of `feeds` have confirmed. True: more may be shown than before. */
bool mim_reign_confirm(struct mim_reign *reign, struct mim_appender *appender, const struct mim_feed *const *feeds,
                       size_t count, unsigned wanted);
/** What each standby that streams has confirmed; returns how many there are. One that has come back while its former
 *  connection is still believed in counts once. */
size_t mim_reign_acks(const struct mim_feed *const *feeds, size_t count, mim_lsn_t ret_acked[MIM_REIGN_STANDBYS_MAX]);
/** Becomes a standby. Replies that still waited for standbys have to be answered UNKNOWN before this. `appender` may be
 *  NULL (no journal is open). */
void mim_reign_follow(struct mim_reign *reign, struct mim_appender *appender);
/** A standby or a fenced primary begins to be a primary. Replies that still wait: as for mim_reign_follow. */
void mim_reign_promote(struct mim_reign *reign, bool journal_is_open);

enum mim_promotion {
    MIM_PROMOTION_WAITS,    /* for room in the journal, or for the disk: call again when it has moved */
    MIM_PROMOTION_APPENDED, /* the EPOCH frame is on its way: wake the writer */
    MIM_PROMOTION_DONE,     /* commands are taken */
};
/** Goes on with a promotion. */
enum mim_promotion mim_reign_promotion(struct mim_reign *reign, const struct mim_engine *engine,
                                       struct mim_appender *appender, enum mim_durability durability, unsigned wanted,
                                       int64_t wall_ms);

/** True when all that was there before this reign may be shown: whoever remembers more (Redis) is ahead of the journal. */
bool mim_reign_settled(const struct mim_reign *reign, const struct mim_appender *appender);
/** The newest position that may be shown. */
mim_position_t mim_reign_shown(const struct mim_reign *reign, const struct mim_appender *appender);

#endif
