// SPDX-License-Identifier: MIT
// The engine's end of the journal: builds frames in a ring of bytes, gives every record its LSN, decides when a
// segment ends. Single producer (engine thread); the writer (writer.h) is the single consumer. Pure: no I/O.
//
// Life of a frame: reserve (opens it) -> records encoded in place -> commit -> ... -> seal (handed to the writer).
// LSNs are final when a record is encoded: the appender knows what fits in the segment before it lets one in.
#ifndef MIM_JOURNAL_APPENDER_H
#define MIM_JOURNAL_APPENDER_H

#include <stdatomic.h>

#include "journal/frame.h"

/** What the engine hands to the writer, in order. */
enum mim_handoff_kind {
    MIM_HANDOFF_FRAME = 1,    /* a frame without check, chain, durable LSN: the writer fills these in */
    MIM_HANDOFF_VERBATIM = 2, /* a finished frame of a primary: written as it stands, chain checked */
    MIM_HANDOFF_ROLL = 3,     /* a new segment begins here (header fields from the frame before) */
};

struct mim_handoff {
    uint8_t kind;
    uint64_t ring_offset; /* of the frame's bytes, absolute count of bytes ever put in; index = offset % capacity */
    uint32_t size;
    mim_lsn_t lsn;
    mim_position_t last_position;     /* position of the journal after this frame */
    struct mim_segment_header header; /* ROLL: previous_chain is filled in by the writer */
};

/** State of the spare segment, shared by preparer (NEEDED -> READY | FULL, FULL -> READY), engine (READY ->
 *  CLAIMED) and writer (CLAIMED -> NEEDED). Release on every store, acquire on every load. */
enum mim_spare_state { MIM_SPARE_NEEDED, MIM_SPARE_READY, MIM_SPARE_FULL, MIM_SPARE_CLAIMED };

/** Shared by the engine thread, the journal thread and the preparer thread. One per open journal. */
struct mim_ring {
    uint8_t *bytes;                             /* MIM_RING_SIZE */
    struct mim_handoff *handoffs;               /* MIM_RING_HANDOFFS, a power of two */
    _Alignas(64) _Atomic uint64_t handoff_head; /* engine: release; writer: acquire */
    _Alignas(64) _Atomic uint64_t handoff_tail; /* writer: release; engine: acquire */
    _Atomic uint64_t bytes_tail;                /* writer: release; engine: acquire: bytes before it are free */
    _Alignas(64) _Atomic uint64_t gate_lsn;     /* writer: release; engine: acquire: what may be acknowledged */
    _Atomic uint64_t gate_position;
    _Atomic uint64_t gate_chain; /* writer: release, before handoff_tail: of the last frame taken from the ring */
    _Atomic uint64_t synced_lsn; /* on stable storage (equals gate_lsn in fsync mode) */
    _Atomic uint64_t synced_position;
    _Atomic int failed; /* writer: a MIM_E_ code; final */
    _Alignas(64) _Atomic int spare_state;
    _Atomic uint64_t spare_size;    /* bytes of the READY spare */
    _Atomic uint64_t journal_bytes; /* bytes of all segments: chooses the next segment's size */
    uint64_t segment_size_min;      /* set by mim_writer_open, before the preparer's first step; then constant */
};
#define MIM_RING_HANDOFFS 8192u

/** Allocates the ring. MEMORY. */
MIM_CHECKED int mim_ring_init(struct mim_ring *ring, struct mim_error *reterr);
void mim_ring_deinit(struct mim_ring *ring);

struct mim_appender {
    struct mim_ring *ring; /* borrowed */
    struct mim_history history;
    mim_epoch_t epoch;
    mim_lsn_t next_lsn; /* of the next frame when none is open */
    mim_position_t next_position;
    int64_t last_time_ms; /* greatest time given out */
    mim_position_t segment_first_position;
    mim_lsn_t segment_base_lsn;
    uint64_t segment_size;   /* bytes that fit in the current segment */
    mim_lsn_t confirmed_lsn; /* durable on as many standbys as are asked for; UINT64_MAX: none are */
    uint64_t ring_head;      /* absolute bytes put into the ring */
    /* the open frame */
    bool open;
    uint8_t *frame;      /* its first byte in the ring */
    uint32_t frame_size; /* so far, header included */
    uint32_t frame_events;
    mim_lsn_t frame_lsn;
    mim_position_t frame_first_position;
    int64_t frame_time_ms;
};

/** Where the journal stands when appending begins (from recovery). */
struct mim_appender_start {
    struct mim_history history;
    mim_epoch_t epoch;
    mim_lsn_t lsn;
    mim_position_t position;
    int64_t time_ms;
    mim_position_t segment_first_position;
    mim_lsn_t segment_base_lsn;
    uint64_t segment_size;
};
void mim_appender_init(struct mim_appender *appender, struct mim_ring *ring, const struct mim_appender_start *start);

/** Event time is data: max(last, wall), never falling. */
int64_t mim_appender_time(const struct mim_appender *appender, int64_t wall_ms);

/** Makes room for `size` more bytes of records holding up to `events` events at time `time_ms` in the open frame; seals,
 *  rolls and opens frames as needed. On success *ret_at is where the records go (contiguous, zeroed not guaranteed)
 *  and frame_lsn, frame_size, frame_events, frame_time_ms are those of the frame they go into.
 *  AGAIN: the ring is full or the next segment is not prepared yet: nothing happened, try after the writer has
 *  moved. NO_SPACE: the disk is full. LIMIT: more than MIM_TX_SIZE_MAX. */
int mim_appender_reserve(struct mim_appender *appender, size_t size, uint32_t events, int64_t time_ms,
                         uint8_t **ret_at);
/** Takes the reserved records in: `size` bytes with `events` events. */
void mim_appender_commit(struct mim_appender *appender, size_t size, uint32_t events);
/** Hands the open frame, if any, to the writer. Always possible (reserve kept a handoff free). */
void mim_appender_seal(struct mim_appender *appender);
/** Appends a frame without records (EPOCH with the appender's epoch, SEAL) and hands it over. AGAIN, NO_SPACE. */
int mim_appender_control(struct mim_appender *appender, enum mim_frame_kind kind, int64_t time_ms);
/** Standby: copies a primary's finished frame into the ring as it stands (after the caller checked it), 8-byte aligned,
 *  where it may be applied before it is taken in. AGAIN, NO_SPACE: nothing happened. */
int mim_appender_verbatim_copy(struct mim_appender *appender, const struct mim_frame_header *header,
                               const uint8_t *frame, const uint8_t **ret_copy);
/** Takes the copy in: hands it to the writer; rolls when it is a ROLL frame. */
void mim_appender_verbatim_commit(struct mim_appender *appender, const struct mim_frame_header *header);
/** What may be shown to the outside: everything before it is as durable as the mode says, here and on standbys. */
static inline mim_lsn_t mim_appender_shown(const struct mim_appender *appender) {
    mim_lsn_t gate = atomic_load_explicit(&appender->ring->gate_lsn, memory_order_acquire);
    return appender->confirmed_lsn < gate ? appender->confirmed_lsn : gate;
}

/** True when everything appended is written as the mode says. */
bool mim_appender_idle(const struct mim_appender *appender);

#endif
