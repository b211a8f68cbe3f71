// SPDX-License-Identifier: MIT
// The journal writer: frames from the ring to storage, one pwrite per contiguous run, one sync per step; then the gate
// moves. Any failure is final: nothing is retried, nothing more is acknowledged.
#include <stdlib.h>

#include "base/assert.h"
#include "journal/writer_internal.h"

#define MIM_STEP_BYTES_MAX (4u << 20) /* bounds the time of one step */

/** Contiguous bytes of one segment, not written yet. */
struct run {
    uint64_t ring_offset;
    mim_lsn_t lsn;
    uint64_t size;
};

static int writer_fail(struct mim_writer *writer, int code) {
    writer->failed = true;
    atomic_store_explicit(&writer->ring->failed, code, memory_order_release);
    return code;
}

static void stat_add(_Atomic uint64_t *counter, uint64_t value) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + value, memory_order_relaxed);
}

static int run_write(struct mim_writer *writer, struct run *run, struct mim_error *reterr) {
    if (run->size == 0) {
        return 0;
    }
    const uint8_t *bytes = writer->ring->bytes + run->ring_offset % MIM_RING_SIZE;
    int rc = mim_file_pwrite(writer->storage, writer->file, bytes, run->size, run->lsn - writer->base_lsn, reterr);
    stat_add(&writer->stats.writes, 1);
    stat_add(&writer->stats.bytes, run->size);
    run->size = 0;
    return rc == 0 ? 0
                   : mim_error_prefix(reterr, "journal segment at position %llu",
                                      (unsigned long long)writer->first_position);
}

/** Fills in evidence and chain of a frame of ours; checks the chain of a primary's. */
static int frame_complete(struct mim_writer *writer, const struct mim_handoff *handoff, struct mim_error *reterr) {
    uint8_t *frame = writer->ring->bytes + handoff->ring_offset % MIM_RING_SIZE;
    writer->epoch = mim_get32(frame + 40);
    if (handoff->kind == MIM_HANDOFF_VERBATIM) {
        if (mim_get64(frame + 48) != writer->chain) {
            return mim_error_set(reterr, MIM_E_DAMAGED, "a primary's frame at LSN %llu does not follow this journal",
                                 (unsigned long long)handoff->lsn);
        }
        writer->chain = mim_get64(frame + 56);
        return 0;
    }
    writer->promoted |= writer->standby;
    writer->standby = false;
    struct mim_frame_header header = {
        .kind = frame[4],
        .size = mim_get32(frame + 8),
        .event_count = mim_get32(frame + 12),
        .first_position = mim_get64(frame + 16),
        .durable_lsn = writer->synced_lsn,
        .base_time_ms = (int64_t)mim_get64(frame + 32),
        .epoch = mim_get32(frame + 40),
        .previous_chain = writer->chain,
    };
    writer->chain = mim_frame_finish(&header, &writer->history, handoff->lsn, frame);
    return 0;
}

static uint64_t clock_ns(const struct mim_writer *writer) {
    const struct mim_clock *clock = writer->options.clock;
    return clock == NULL ? 0 : clock->monotonic_ns(clock->context);
}

static int writer_sync(struct mim_writer *writer, uint64_t now_ns, struct mim_error *reterr) {
    if (writer->written_lsn == writer->synced_lsn) {
        return 0;
    }
    uint64_t begun_ns = clock_ns(writer);
    int rc = mim_file_sync(writer->storage, writer->file, reterr);
    uint64_t took_ns = clock_ns(writer) - begun_ns;
    if (rc != 0) {
        return mim_error_prefix(reterr, "journal segment at position %llu", (unsigned long long)writer->first_position);
    }
    writer->synced_lsn = writer->written_lsn;
    writer->synced_position = writer->written_position;
    writer->synced_ns = now_ns;
    stat_add(&writer->stats.syncs, 1);
    stat_add(&writer->stats.sync_ns_total, took_ns);
    if (took_ns > atomic_load_explicit(&writer->stats.sync_ns_max, memory_order_relaxed)) {
        atomic_store_explicit(&writer->stats.sync_ns_max, took_ns, memory_order_relaxed);
    }
    struct mim_ring *ring = writer->ring;
    atomic_store_explicit(&ring->synced_position, writer->synced_position, memory_order_release);
    atomic_store_explicit(&ring->synced_lsn, writer->synced_lsn, memory_order_release);
    return 0;
}

/** Opens the gate up to what is written, and frees the ring up to there. */
static void writer_publish(struct mim_writer *writer, uint64_t handoff_tail) {
    struct mim_ring *ring = writer->ring;
    atomic_store_explicit(&ring->gate_chain, writer->chain, memory_order_release);
    atomic_store_explicit(&ring->gate_position, writer->written_position, memory_order_release);
    atomic_store_explicit(&ring->gate_lsn, writer->written_lsn, memory_order_release);
    atomic_store_explicit(&ring->bytes_tail, writer->ring_tail, memory_order_release);
    atomic_store_explicit(&ring->handoff_tail, handoff_tail, memory_order_release);
}

/** Writes the frames of handoffs [tail, head) up to a bound or a ROLL; returns the new tail in *ret_tail. */
static int step_write(struct mim_writer *writer, uint64_t tail, uint64_t head, uint64_t *ret_tail,
                      struct mim_error *reterr) {
    struct run run = {0};
    uint64_t bytes = 0;
    int rc = 0;
    for (; tail != head && bytes < MIM_STEP_BYTES_MAX; tail++) {
        const struct mim_handoff *handoff = &writer->ring->handoffs[tail % MIM_RING_HANDOFFS];
        if (handoff->kind == MIM_HANDOFF_ROLL || (handoff->kind == MIM_HANDOFF_VERBATIM && !writer->standby)) {
            break;
        }
        rc = frame_complete(writer, handoff, reterr);
        if (rc == 0 && run.size > 0 &&
            (run.ring_offset + run.size != handoff->ring_offset || run.lsn + run.size != handoff->lsn)) {
            rc = run_write(writer, &run, reterr);
        }
        if (rc != 0) {
            return rc;
        }
        if (run.size == 0) {
            run = (struct run){.ring_offset = handoff->ring_offset, .lsn = handoff->lsn};
        }
        run.size += handoff->size;
        bytes += handoff->size;
        writer->ring_tail = handoff->ring_offset + handoff->size;
        writer->written_lsn = handoff->lsn + handoff->size;
        writer->written_position = handoff->last_position;
        stat_add(&writer->stats.frames, 1);
    }
    *ret_tail = tail;
    return run_write(writer, &run, reterr);
}

static bool sync_due(const struct mim_writer *writer, uint64_t now_ns) {
    switch (writer->options.durability) {
    case MIM_DURABILITY_FSYNC:
        return true;
    case MIM_DURABILITY_INTERVAL:
        return now_ns - writer->synced_ns >= writer->options.interval_ns;
    default:
        return false;
    }
}

/** A standby's journal has become a primary's, or the other way: from this mark on frames are evidence of what is
 *  durable here, or are not. */
static int standby_mark(struct mim_writer *writer, uint64_t now_ns, struct mim_error *reterr) {
    int rc = writer_sync(writer, now_ns, reterr);
    return rc != 0 ? rc : mim_writer_mark(writer, /* sync_name= */ true, reterr);
}

int mim_writer_step(struct mim_writer *writer, uint64_t now_ns, struct mim_error *reterr) {
    if (writer->failed) {
        return 0;
    }
    struct mim_ring *ring = writer->ring;
    uint64_t head = atomic_load_explicit(&ring->handoff_head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&ring->handoff_tail, memory_order_relaxed);
    uint64_t done = tail;
    if (writer->written_lsn == writer->synced_lsn) {
        writer->synced_ns = now_ns; /* the interval counts from the first byte that is not synced */
    }
    int rc = 0;
    if (tail != head && ring->handoffs[tail % MIM_RING_HANDOFFS].kind == MIM_HANDOFF_VERBATIM && !writer->standby) {
        writer->standby = true;
        rc = standby_mark(writer, now_ns, reterr);
    }
    rc = rc != 0 ? rc : step_write(writer, tail, head, &done, reterr);
    if (rc == 0 && sync_due(writer, now_ns)) {
        rc = writer_sync(writer, now_ns, reterr);
    }
    if (rc == 0 && writer->promoted) {
        rc = standby_mark(writer, now_ns, reterr);
        writer->promoted = rc != 0;
    }
    if (rc != 0) {
        return writer_fail(writer, rc);
    }
    if (done != tail) {
        writer_publish(writer, done);
    }
    if (done != head && ring->handoffs[done % MIM_RING_HANDOFFS].kind == MIM_HANDOFF_ROLL) {
        rc = writer_sync(writer, now_ns, reterr);
        rc = rc != 0 ? rc : mim_writer_roll(writer, &ring->handoffs[done % MIM_RING_HANDOFFS].header, reterr);
        if (rc != 0) {
            return writer_fail(writer, rc);
        }
        done++;
        atomic_store_explicit(&ring->handoff_tail, done, memory_order_release);
    }
    return (int)(done - tail);
}

uint64_t mim_writer_due_ns(const struct mim_writer *writer) {
    if (writer->failed || writer->options.durability != MIM_DURABILITY_INTERVAL ||
        writer->written_lsn == writer->synced_lsn) {
        return UINT64_MAX;
    }
    return writer->synced_ns + writer->options.interval_ns;
}

static int sync_and_mark(struct mim_writer *writer, bool sync_name, struct mim_error *reterr) {
    if (writer->failed) {
        return mim_error_set(reterr, MIM_E_STATE, "the journal has failed before");
    }
    int rc = writer_sync(writer, writer->synced_ns, reterr);
    rc = rc != 0 ? rc : mim_writer_mark(writer, sync_name, reterr);
    return rc == 0 ? 0 : writer_fail(writer, rc);
}

int mim_writer_begun(struct mim_writer *writer, struct mim_error *reterr) {
    return sync_and_mark(writer, /* sync_name= */ false, reterr);
}

int mim_writer_finish(struct mim_writer *writer, struct mim_error *reterr) {
    return sync_and_mark(writer, /* sync_name= */ true, reterr);
}

void mim_writer_stats(const struct mim_writer *writer, struct mim_writer_stats *ret_stats) {
    *ret_stats = (struct mim_writer_stats){
        .frames = atomic_load_explicit(&writer->stats.frames, memory_order_relaxed),
        .bytes = atomic_load_explicit(&writer->stats.bytes, memory_order_relaxed),
        .writes = atomic_load_explicit(&writer->stats.writes, memory_order_relaxed),
        .syncs = atomic_load_explicit(&writer->stats.syncs, memory_order_relaxed),
        .sync_ns_total = atomic_load_explicit(&writer->stats.sync_ns_total, memory_order_relaxed),
        .sync_ns_max = atomic_load_explicit(&writer->stats.sync_ns_max, memory_order_relaxed),
        .rolls = atomic_load_explicit(&writer->stats.rolls, memory_order_relaxed),
    };
}
