// SPDX-License-Identifier: MIT
// Frames in the ring, LSNs, segment ends. Pure; single producer.
#include "journal/appender.h"

#include "base/assert.h"

#define MIM_CONTROL_RESERVE 4096u /* bytes at a segment's end that only EPOCH and SEAL frames may use */
#define MIM_HANDOFF_RESERVE 4u    /* handoffs kept free, so that seal and roll always find one */

void mim_appender_init(struct mim_appender *appender, struct mim_ring *ring, const struct mim_appender_start *start) {
    *appender = (struct mim_appender){
        .ring = ring,
        .history = start->history,
        .epoch = start->epoch,
        .next_lsn = start->lsn,
        .next_position = start->position + 1,
        .last_time_ms = start->time_ms,
        .segment_first_position = start->segment_first_position,
        .segment_base_lsn = start->segment_base_lsn,
        .segment_size = start->segment_size,
        .confirmed_lsn = UINT64_MAX,
        .ring_head = atomic_load_explicit(&ring->bytes_tail, memory_order_acquire),
    };
}

int64_t mim_appender_time(const struct mim_appender *appender, int64_t wall_ms) {
    return wall_ms > appender->last_time_ms ? wall_ms : appender->last_time_ms;
}

/** Handoffs that may still be pushed. */
static uint64_t handoffs_free(const struct mim_ring *ring) {
    uint64_t head = atomic_load_explicit(&ring->handoff_head, memory_order_relaxed);
    return MIM_RING_HANDOFFS - (head - atomic_load_explicit(&ring->handoff_tail, memory_order_acquire));
}

static void handoff_push(struct mim_ring *ring, const struct mim_handoff *handoff) {
    uint64_t head = atomic_load_explicit(&ring->handoff_head, memory_order_relaxed);
    MIM_ASSERT(handoffs_free(ring) > 0);
    ring->handoffs[head % MIM_RING_HANDOFFS] = *handoff;
    atomic_store_explicit(&ring->handoff_head, head + 1, memory_order_release);
}

/** True when the head goes back to the ring's beginning before its end: the writer keeps up, and bytes that are used again
 *  and again stay in the caches, where all of the ring would not, nor in memory if it can be helped. What is free at the
 *  beginning holds the largest frame, whatever was skipped. */
static bool ring_turns(uint64_t head, uint64_t tail) {
    uint64_t within = head % MIM_RING_SIZE;
    return within >= MIM_RING_USUAL && head - tail <= within / 4;
}

/** Room for `size` contiguous bytes at the head, skipping the ring's end when it is too short. False: full. */
static bool ring_room(struct mim_appender *appender, uint64_t size) {
    uint64_t head = appender->ring_head;
    uint64_t tail = atomic_load_explicit(&appender->ring->bytes_tail, memory_order_acquire);
    uint64_t to_end = MIM_RING_SIZE - head % MIM_RING_SIZE;
    if (to_end < size || ring_turns(head, tail)) {
        head += to_end;
    }
    if (head + size - tail > MIM_RING_SIZE) {
        return false;
    }
    appender->ring_head = head;
    return true;
}

static uint64_t segment_left(const struct mim_appender *appender, mim_lsn_t lsn) {
    uint64_t used = lsn - appender->segment_base_lsn;
    return used >= appender->segment_size ? 0 : appender->segment_size - used;
}

/** No event yet: another segment would have the same name, so this one grows instead. */
static bool segment_unnamed(const struct mim_appender *appender) {
    return appender->segment_first_position == appender->next_position;
}

static void frame_write_header(const struct mim_frame_header *header, uint8_t *frame) {
    memset(frame, 0, MIM_FRAME_HEADER_SIZE);
    mim_put32(frame, MIM_FRAME_MAGIC);
    frame[4] = header->kind;
    frame[5] = MIM_FRAME_VERSION;
    mim_put32(frame + 8, header->size);
    mim_put32(frame + 12, header->event_count);
    mim_put64(frame + 16, header->first_position);
    mim_put64(frame + 32, (uint64_t)header->base_time_ms);
    mim_put32(frame + 40, header->epoch);
}

/** Hands over the frame that stands at the ring's head. */
static void frame_hand_over(struct mim_appender *appender, uint8_t kind, mim_lsn_t lsn, uint32_t size) {
    handoff_push(appender->ring, &(struct mim_handoff){
                                     .kind = kind,
                                     .ring_offset = appender->ring_head,
                                     .size = size,
                                     .lsn = lsn,
                                     .last_position = appender->next_position - 1,
                                 });
    appender->ring_head += size;
    appender->next_lsn = lsn + size;
}

/** A frame without records. The caller made sure of room in ring, handoffs and segment. */
static void frame_control(struct mim_appender *appender, enum mim_frame_kind kind, int64_t time_ms) {
    bool room = ring_room(appender, MIM_FRAME_HEADER_SIZE);
    MIM_ASSERT(room);
    struct mim_frame_header header = {
        .kind = (uint8_t)kind,
        .size = MIM_FRAME_HEADER_SIZE,
        .first_position = appender->next_position,
        .base_time_ms = time_ms,
        .epoch = appender->epoch,
    };
    frame_write_header(&header, appender->ring->bytes + appender->ring_head % MIM_RING_SIZE);
    frame_hand_over(appender, MIM_HANDOFF_FRAME, appender->next_lsn, MIM_FRAME_HEADER_SIZE);
}

void mim_appender_seal(struct mim_appender *appender) {
    if (!appender->open) {
        return;
    }
    appender->open = false;
    if (appender->frame_size == MIM_FRAME_HEADER_SIZE) {
        return; /* nothing was committed into it */
    }
    struct mim_frame_header header = {
        .kind = MIM_FRAME_DATA,
        .size = appender->frame_size,
        .event_count = appender->frame_events,
        .first_position = appender->frame_first_position,
        .base_time_ms = appender->frame_time_ms,
        .epoch = appender->epoch,
    };
    frame_write_header(&header, appender->frame);
    frame_hand_over(appender, MIM_HANDOFF_FRAME, appender->frame_lsn, appender->frame_size);
}

/** The new segment's beginning, for appender and writer. */
static void segment_begin(struct mim_appender *appender, int64_t time_ms, uint64_t size) {
    appender->segment_base_lsn = appender->next_lsn;
    appender->segment_first_position = appender->next_position;
    appender->segment_size = size;
    handoff_push(appender->ring, &(struct mim_handoff){
                                     .kind = MIM_HANDOFF_ROLL,
                                     .ring_offset = appender->ring_head,
                                     .lsn = appender->next_lsn,
                                     .last_position = appender->next_position - 1,
                                     .header = {.history = appender->history,
                                                .first_position = appender->next_position,
                                                .base_lsn = appender->next_lsn,
                                                .epoch = appender->epoch,
                                                .base_time_ms = time_ms},
                                 });
    appender->next_lsn += MIM_SEGMENT_HEADER_SIZE;
}

/** Claims the spare. 0, AGAIN (being prepared) or NO_SPACE (the disk is full). */
static int spare_claim(struct mim_ring *ring, uint64_t *ret_size) {
    int state = atomic_load_explicit(&ring->spare_state, memory_order_acquire);
    if (state != MIM_SPARE_READY) {
        return state == MIM_SPARE_FULL ? MIM_E_NO_SPACE : MIM_E_AGAIN;
    }
    *ret_size = atomic_load_explicit(&ring->spare_size, memory_order_relaxed);
    atomic_store_explicit(&ring->spare_state, MIM_SPARE_CLAIMED, memory_order_release);
    return 0;
}

/* The journal thread has read these lines of the ring the last time round, so that another core has them: they are asked
 * for some records before they are written, as stores that wait would hold up all behind them. */
#define WRITE_AHEAD 1024u

/** Ends the segment: ROLL frame, next segment. 0, AGAIN, NO_SPACE. No frame may be open. */
static int segment_roll(struct mim_appender *appender, int64_t time_ms) {
    if (handoffs_free(appender->ring) < MIM_HANDOFF_RESERVE || !ring_room(appender, MIM_FRAME_HEADER_SIZE)) {
        return MIM_E_AGAIN;
    }
    uint64_t size;
    int rc = spare_claim(appender->ring, &size);
    if (rc != 0) {
        return rc;
    }
    frame_control(appender, MIM_FRAME_ROLL, time_ms);
    segment_begin(appender, time_ms, size);
    return 0;
}

/** True when records of this size and time fit into the open frame as it stands. */
static bool frame_fits(const struct mim_appender *appender, size_t size, uint32_t events, int64_t time_ms) {
    return appender->frame_size + size <= MIM_FRAME_SIZE_SOFT + MIM_FRAME_HEADER_SIZE &&
           appender->frame_events + events <= MIM_FRAME_EVENTS_MAX && time_ms - appender->frame_time_ms <= UINT16_MAX &&
           time_ms >= appender->frame_time_ms;
}

/** True when a frame of this size may stand at `lsn` and still leave room for the segment's end. */
static bool segment_fits(const struct mim_appender *appender, mim_lsn_t lsn, uint64_t frame_size) {
    return frame_size + MIM_CONTROL_RESERVE + MIM_FRAME_HEADER_SIZE <= segment_left(appender, lsn) ||
           segment_unnamed(appender);
}

static int frame_open(struct mim_appender *appender, size_t size, int64_t time_ms) {
    uint64_t whole = MIM_FRAME_HEADER_SIZE + size;
    if (!segment_fits(appender, appender->next_lsn, whole)) {
        int rc = segment_roll(appender, time_ms);
        if (rc != 0) {
            return rc;
        }
    }
    if (handoffs_free(appender->ring) < MIM_HANDOFF_RESERVE ||
        !ring_room(appender, whole > MIM_FRAME_SIZE_SOFT ? whole + MIM_FRAME_SIZE_SOFT : 2ull * MIM_FRAME_SIZE_SOFT)) {
        return MIM_E_AGAIN;
    }
    appender->open = true;
    appender->frame = appender->ring->bytes + appender->ring_head % MIM_RING_SIZE;
    appender->frame_size = MIM_FRAME_HEADER_SIZE;
    appender->frame_events = 0;
    appender->frame_lsn = appender->next_lsn;
    appender->frame_first_position = appender->next_position;
    appender->frame_time_ms = time_ms;
    return 0;
}

int mim_appender_reserve(struct mim_appender *appender, size_t size, uint32_t events, int64_t time_ms,
                         uint8_t **ret_at) {
    if (size > MIM_TX_SIZE_MAX || events > MIM_FRAME_EVENTS_MAX) {
        return MIM_E_LIMIT;
    }
    if (appender->open && (!frame_fits(appender, size, events, time_ms) ||
                           !segment_fits(appender, appender->frame_lsn, appender->frame_size + size))) {
        mim_appender_seal(appender);
    }
    if (!appender->open) {
        int rc = frame_open(appender, size, time_ms);
        if (rc != 0) {
            return rc;
        }
    }
    *ret_at = appender->frame + appender->frame_size;
    __builtin_prefetch(*ret_at + WRITE_AHEAD, 1);
    appender->last_time_ms = time_ms > appender->last_time_ms ? time_ms : appender->last_time_ms;
    return 0;
}

void mim_appender_commit(struct mim_appender *appender, size_t size, uint32_t events) {
    MIM_ASSERT(appender->open && size % 8 == 0);
    appender->frame_size += (uint32_t)size;
    appender->frame_events += events;
    appender->next_position += events;
}

int mim_appender_control(struct mim_appender *appender, enum mim_frame_kind kind, int64_t time_ms) {
    MIM_ASSERT(kind == MIM_FRAME_EPOCH || kind == MIM_FRAME_SEAL);
    mim_appender_seal(appender);
    if (segment_left(appender, appender->next_lsn) < 2 * MIM_FRAME_HEADER_SIZE && !segment_unnamed(appender)) {
        int rc = segment_roll(appender, time_ms);
        if (rc != 0) {
            return rc;
        }
    }
    if (handoffs_free(appender->ring) < MIM_HANDOFF_RESERVE || !ring_room(appender, MIM_FRAME_HEADER_SIZE)) {
        return MIM_E_AGAIN;
    }
    appender->last_time_ms = time_ms > appender->last_time_ms ? time_ms : appender->last_time_ms;
    frame_control(appender, kind, time_ms);
    return 0;
}

int mim_appender_verbatim_copy(struct mim_appender *appender, const struct mim_frame_header *header,
                               const uint8_t *frame, const uint8_t **ret_copy) {
    MIM_ASSERT(!appender->open && header->first_position == appender->next_position);
    if (header->kind == MIM_FRAME_ROLL) {
        int state = atomic_load_explicit(&appender->ring->spare_state, memory_order_acquire);
        if (state != MIM_SPARE_READY) {
            return state == MIM_SPARE_FULL ? MIM_E_NO_SPACE : MIM_E_AGAIN;
        }
    }
    if (handoffs_free(appender->ring) < MIM_HANDOFF_RESERVE || !ring_room(appender, header->size)) {
        return MIM_E_AGAIN;
    }
    uint8_t *copy = appender->ring->bytes + appender->ring_head % MIM_RING_SIZE;
    memcpy(copy, frame, header->size);
    *ret_copy = copy;
    return 0;
}

void mim_appender_verbatim_commit(struct mim_appender *appender, const struct mim_frame_header *header) {
    uint64_t size = 0;
    bool roll = header->kind == MIM_FRAME_ROLL;
    int rc = roll ? spare_claim(appender->ring, &size) : 0;
    MIM_ASSERT(rc == 0); /* the copy made sure; nobody else claims it */
    appender->next_position += header->event_count;
    appender->epoch = header->epoch;
    appender->last_time_ms = mim_appender_time(appender, header->base_time_ms);
    frame_hand_over(appender, MIM_HANDOFF_VERBATIM, appender->next_lsn, header->size);
    if (roll) {
        segment_begin(appender, header->base_time_ms, size);
    }
}

bool mim_appender_idle(const struct mim_appender *appender) {
    const struct mim_ring *ring = appender->ring;
    return !appender->open && atomic_load_explicit(&ring->handoff_head, memory_order_relaxed) ==
                                  atomic_load_explicit(&ring->handoff_tail, memory_order_acquire);
}
