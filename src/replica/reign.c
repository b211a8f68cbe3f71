// SPDX-License-Identifier: MIT
// Roles and confirmations; see reign.h.
#include "replica/reign.h"

#include "base/assert.h"

static mim_lsn_t gate_lsn(const struct mim_appender *appender) {
    return atomic_load_explicit(&appender->ring->gate_lsn, memory_order_acquire);
}

static mim_position_t gate_position(const struct mim_appender *appender) {
    return atomic_load_explicit(&appender->ring->gate_position, memory_order_acquire);
}

void mim_reign_begin(struct mim_reign *reign, struct mim_appender *appender, unsigned wanted) {
    reign->promoting = false;
    reign->begun_lsn = gate_lsn(appender);
    reign->confirmed_position = 0;
    appender->confirmed_lsn = wanted > 0 && reign->role == MIM_ROLE_PRIMARY ? 0 : UINT64_MAX;
}

void mim_reign_wait_from_now(struct mim_reign *reign, struct mim_appender *appender) {
    reign->confirmed_position = gate_position(appender);
    appender->confirmed_lsn = gate_lsn(appender);
}

/** True when one of the feeds before it is of the same directory: a connection that has ended without a word. */
static bool known_before(const struct mim_feed *const *feeds, size_t at) {
    for (size_t i = 0; i < at; i++) {
        if (feeds[i]->streaming && feeds[at]->identity[0] != '\0' &&
            strcmp(feeds[i]->identity, feeds[at]->identity) == 0) {
            return true;
        }
    }
    return false;
}

/** What the standby of a feed has confirmed, by whichever of its connections. */
static mim_lsn_t acked_there(const struct mim_feed *const *feeds, size_t count, size_t at) {
    mim_lsn_t acked = feeds[at]->acked_lsn;
    for (size_t i = at + 1; i < count && feeds[at]->identity[0] != '\0'; i++) {
        bool same = feeds[i]->streaming && strcmp(feeds[i]->identity, feeds[at]->identity) == 0;
        acked = same && feeds[i]->acked_lsn > acked ? feeds[i]->acked_lsn : acked;
    }
    return acked;
}

size_t mim_reign_acks(const struct mim_feed *const *feeds, size_t count, mim_lsn_t ret_acked[MIM_REIGN_STANDBYS_MAX]) {
    size_t standbys = 0;
    for (size_t i = 0; i < count && standbys < MIM_REIGN_STANDBYS_MAX; i++) {
        if (feeds[i]->streaming && !known_before(feeds, i)) {
            ret_acked[standbys++] = acked_there(feeds, count, i);
        }
    }
    return standbys;
}

bool mim_reign_confirm(struct mim_reign *reign, struct mim_appender *appender, const struct mim_feed *const *feeds,
                       size_t count, unsigned wanted) {
    mim_lsn_t acked[MIM_REIGN_STANDBYS_MAX];
    if (reign->role != MIM_ROLE_PRIMARY || appender->confirmed_lsn == UINT64_MAX) {
        return false;
    }
    size_t standbys = mim_reign_acks(feeds, count, acked);
    mim_lsn_t confirmed = wanted == 0 ? UINT64_MAX : mim_feeds_confirmed(acked, standbys, wanted);
    if (confirmed <= appender->confirmed_lsn) {
        return false;
    }
    appender->confirmed_lsn = confirmed;
    for (size_t i = 0; i < count; i++) {
        if (feeds[i]->streaming && feeds[i]->acked_lsn == confirmed) {
            reign->confirmed_position = feeds[i]->acked_position;
        }
    }
    return true;
}

void mim_reign_follow(struct mim_reign *reign, struct mim_appender *appender) {
    reign->role = MIM_ROLE_STANDBY;
    reign->fenced = false;
    reign->promoting = false;
    if (appender != NULL) {
        mim_appender_seal(appender);
        appender->confirmed_lsn = UINT64_MAX;
    }
}

void mim_reign_promote(struct mim_reign *reign, bool journal_is_open) {
    reign->role = MIM_ROLE_PRIMARY;
    reign->fenced = false;
    reign->promote_gate = 0;
    reign->promoting = journal_is_open;
}

/** Appends the EPOCH frame. False: there is no room for it yet, as the writer is busy with what came from the primary. */
static bool epoch_append(struct mim_reign *reign, const struct mim_engine *engine, struct mim_appender *appender,
                         int64_t wall_ms) {
    struct mim_engine_point point;
    mim_engine_point(engine, &point);
    mim_epoch_t before = appender->epoch;
    appender->epoch = mim_epoch_promoted(before);
    appender->last_time_ms = point.time_ms > appender->last_time_ms ? point.time_ms : appender->last_time_ms;
    if (mim_appender_control(appender, MIM_FRAME_EPOCH, mim_appender_time(appender, wall_ms)) != 0) {
        appender->epoch = before;
        return false;
    }
    reign->promote_gate = appender->next_lsn;
    return true;
}

enum mim_promotion mim_reign_promotion(struct mim_reign *reign, const struct mim_engine *engine,
                                       struct mim_appender *appender, enum mim_durability durability, unsigned wanted,
                                       int64_t wall_ms) {
    MIM_ASSERT(reign->promoting);
    if (reign->promote_gate == 0) {
        return epoch_append(reign, engine, appender, wall_ms) ? MIM_PROMOTION_APPENDED : MIM_PROMOTION_WAITS;
    }
    const _Atomic uint64_t *gate =
        durability == MIM_DURABILITY_FSYNC ? &appender->ring->synced_lsn : &appender->ring->gate_lsn;
    if (atomic_load_explicit(gate, memory_order_acquire) < reign->promote_gate) {
        return MIM_PROMOTION_WAITS;
    }
    mim_reign_begin(reign, appender, wanted);
    return MIM_PROMOTION_DONE;
}

bool mim_reign_settled(const struct mim_reign *reign, const struct mim_appender *appender) {
    return reign->role == MIM_ROLE_PRIMARY && !reign->fenced && !reign->promoting &&
           appender->confirmed_lsn >= reign->begun_lsn;
}

mim_position_t mim_reign_shown(const struct mim_reign *reign, const struct mim_appender *appender) {
    mim_position_t gate = gate_position(appender);
    bool waits = appender->confirmed_lsn != UINT64_MAX;
    return waits && reign->confirmed_position < gate ? reign->confirmed_position : gate;
}
