// SPDX-License-Identifier: MIT
// The journal's far end: takes frames from the ring, finishes them (evidence, chain), writes, syncs, moves the gate.
// Both are step functions: a runner thread calls them in production, the simulator and tests call them by hand.
#ifndef MIM_JOURNAL_WRITER_H
#define MIM_JOURNAL_WRITER_H

#include "base/clock.h"
#include "journal/appender.h"
#include "journal/reader.h"
#include "journal/segment.h"

enum mim_durability { MIM_DURABILITY_FSYNC, MIM_DURABILITY_INTERVAL, MIM_DURABILITY_NONE };

struct mim_writer_options {
    enum mim_durability durability;
    uint64_t interval_ns;      /* INTERVAL: at most this long between syncs while there is something to sync */
    uint64_t segment_size_max; /* 0: MIM_SEGMENT_SIZE_MAX */
    uint64_t segment_size_min; /* 0: MIM_SEGMENT_SIZE_MIN; smaller ones are for tests that roll often. At least 8 KiB */
    bool standby; /* frames come from a primary: the mark says so, until this journal writes a frame of its own */
    const struct mim_clock *clock; /* borrowed: times the syncs for the counters; NULL: those times stay 0 */
};

struct mim_writer; /* new/free; one thread at a time */

/** Opens the last segment for appending after `ending` (CLEAN, or TORN and already cut); with no segments at all,
 *  creates the first one (directory, header, sync) for `history`. Fills in what the appender needs.
 *  Whatever recovery has read is on stable storage afterwards: what no local evidence (evidence.h) vouches for is
 *  written once more before it is synced (the process before may have died of a failed sync, which leaves pages clean
 *  and not durable), and directories are synced. Cost after a kill: what was under way, a few group commits (in modes
 *  that sync later: what they had not synced, one segment at most); after a clean stop: a sync.
 *  start->epoch is left as the last one seen: the caller begins the next. IO, NO_SPACE, MEMORY. */
MIM_CHECKED int mim_writer_open(struct mim_storage storage, struct mim_ring *ring,
                                const struct mim_writer_options *options, const struct mim_segments *segments,
                                const struct mim_journal_ending *ending, const struct mim_history *history,
                                int64_t time_ms, struct mim_writer **ret_writer, struct mim_appender_start *ret_start,
                                struct mim_error *reterr);
struct mim_writer *mim_writer_free(struct mim_writer *writer);

/** Takes what the ring has (bounded), writes and syncs it, moves gate and tails. Returns the number of frames
 *  handled (0: nothing to do), or a MIM_E_ code once: from then on the writer does nothing (a failed write or
 *  sync is final; ring->failed is set). now_ns: monotonic. Cost: one pwrite per contiguous run, one sync. */
int mim_writer_step(struct mim_writer *writer, uint64_t now_ns, struct mim_error *reterr);
/** INTERVAL: monotonic time at which a step is due though the ring is empty; UINT64_MAX: none. */
uint64_t mim_writer_due_ns(const struct mim_writer *writer);
/** Syncs whatever is written, and writes the mark. For a start, which is not to wait longer than it must: until the next
 *  sync of the directory the mark before it may come back, which is true as well. IO. */
MIM_CHECKED int mim_writer_begun(struct mim_writer *writer, struct mim_error *reterr);
/** Syncs whatever is written, and writes the mark (left as it was when the disk is full: it is evidence only). For a clean stop, after the seal frame went through. */
MIM_CHECKED int mim_writer_finish(struct mim_writer *writer, struct mim_error *reterr);

/** The preparer: makes journal/spare when it is NEEDED, zero-filled and synced; on a full disk tries smaller sizes
 *  down to the minimum, then sets FULL and is to be stepped again after a pause. Returns 1 when it did something,
 *  0 when nothing is to do, NO_SPACE when full; other codes are final. Any thread, one at a time. */
int mim_preparer_step(struct mim_storage storage, struct mim_ring *ring, uint64_t segment_size_max,
                      struct mim_error *reterr);

/** Counters for INFO; read from any thread, each value consistent in itself. */
struct mim_writer_stats {
    uint64_t frames, bytes, writes, syncs, sync_ns_total, sync_ns_max, rolls;
};
void mim_writer_stats(const struct mim_writer *writer, struct mim_writer_stats *ret_stats);

#endif
