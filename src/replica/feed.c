// SPDX-License-Identifier: MIT
// The primary's side; see feed.h.
#include "replica/feed.h"

#include "base/assert.h"

const char *mim_welcome_word(enum mim_welcome welcome) {
    static const char *const words[] = {"CONTINUE", "FILES", "PROBE", "FOREIGN", "NEWER"};
    return words[welcome];
}

/** Whether our journal has this frame boundary below the limit. A disk that does not answer is no "no": IO, MEMORY. */
static int has_boundary(struct mim_storage storage, const struct mim_access *access,
                        const struct mim_boundary *boundary, bool *ret_has, struct mim_error *reterr) {
    *ret_has = false;
    if (boundary->lsn > mim_access_limit(access)) {
        return 0;
    }
    struct mim_error why = {0};
    int rc = mim_journal_anchor(storage, mim_access_segments(access), boundary->lsn, boundary->chain, &why);
    *ret_has = rc == 0;
    if (rc == MIM_E_IO || rc == MIM_E_MEMORY) {
        *reterr = why;
        return rc;
    }
    return 0;
}

int mim_feed_welcome(struct mim_storage storage, const struct mim_access *access, const struct mim_replica_point *own,
                     const struct mim_replica_point *peer, enum mim_welcome *ret_welcome, struct mim_error *reterr) {
    const struct mim_segments *segments = mim_access_segments(access);
    if (segments->count == 0) {
        return mim_error_set(reterr, MIM_E_STATE, "there is no journal to follow yet");
    }
    if (peer->empty) {
        *ret_welcome = MIM_WELCOME_FILES;
        return 0;
    }
    if (!mim_history_same(&own->history, &peer->history)) {
        *ret_welcome = MIM_WELCOME_FOREIGN;
        return 0;
    }
    if (peer->epoch > own->epoch) {
        *ret_welcome = MIM_WELCOME_NEWER;
        return 0;
    }
    bool has = false;
    const struct mim_boundary end = {.lsn = peer->lsn, .chain = peer->chain};
    int rc = has_boundary(storage, access, &end, &has, reterr);
    bool too_old = peer->lsn < segments->items[0].header.base_lsn + MIM_SEGMENT_HEADER_SIZE;
    *ret_welcome = has ? MIM_WELCOME_CONTINUE : too_old ? MIM_WELCOME_FILES : MIM_WELCOME_PROBE;
    return rc;
}

int mim_feed_probe(struct mim_storage storage, const struct mim_access *access, const struct mim_boundary *boundaries,
                   size_t count, int *ret_index, struct mim_error *reterr) {
    *ret_index = -1;
    for (size_t i = 0; i < count && *ret_index < 0; i++) {
        bool has = false;
        int rc = has_boundary(storage, access, &boundaries[i], &has, reterr);
        if (rc != 0) {
            return rc;
        }
        *ret_index = has ? (int)i : -1;
    }
    return 0;
}

void mim_feed_begin(struct mim_feed *feed, const struct mim_replica_point *peer) {
    feed->streaming = true;
    feed->cursor = (struct mim_cursor){.lsn = peer->lsn,
                                       .position = peer->position + 1,
                                       .chain = peer->chain,
                                       .chain_known = true,
                                       .every_frame = true};
    feed->sent_lsn = feed->acked_lsn = peer->lsn;
    feed->sent_position = feed->acked_position = peer->position;
}

/** The segment behind a ROLL frame exists: then a standby that has both is where we are. */
static bool segment_follows(const struct mim_access *access, mim_lsn_t base_lsn) {
    const struct mim_segments *segments = mim_access_segments(access);
    return segments->count > 0 && segments->items[segments->count - 1].header.base_lsn >= base_lsn;
}

int mim_feed_next(struct mim_feed *feed, struct mim_access *access, struct mim_frame *ret_frame,
                  struct mim_error *reterr) {
    int rc = mim_cursor_frame(&feed->cursor, access, ret_frame, reterr);
    if (rc != 0) {
        return rc;
    }
    mim_lsn_t end = ret_frame->lsn + ret_frame->header.size;
    if (ret_frame->header.kind == MIM_FRAME_ROLL && !segment_follows(access, end)) {
        return MIM_E_NOT_FOUND;
    }
    mim_cursor_pass(&feed->cursor, ret_frame);
    feed->sent_lsn = end;
    feed->sent_position = ret_frame->header.first_position + ret_frame->header.event_count - 1;
    return 0;
}

bool mim_feed_acked(struct mim_feed *feed, mim_lsn_t lsn, mim_position_t position) {
    if (lsn > feed->sent_lsn + MIM_SEGMENT_HEADER_SIZE || position > feed->sent_position) {
        return false;
    }
    if (lsn > feed->acked_lsn) {
        feed->acked_lsn = lsn;
        feed->acked_position = position;
    }
    return true;
}

mim_lsn_t mim_feeds_confirmed(mim_lsn_t *acked, size_t count, size_t wanted) {
    MIM_ASSERT(wanted > 0);
    if (count < wanted) {
        return 0;
    }
    for (size_t i = 0; i < wanted; i++) { /* the greatest ones to the front: there are few */
        for (size_t k = i + 1; k < count; k++) {
            if (acked[k] > acked[i]) {
                mim_lsn_t greater = acked[k];
                acked[k] = acked[i];
                acked[i] = greater;
            }
        }
    }
    return acked[wanted - 1];
}
