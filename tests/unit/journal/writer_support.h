// SPDX-License-Identifier: MIT
// A journal driven by hand on the simulated disk: ring, appender, writer, preparer, recovery, stepped by a test.
// Every event carries a serial number and bytes made from it, so that a reader knows what must stand where.
// Header-only; one includer per executable.
#ifndef MIM_TESTS_WRITER_SUPPORT_H
#define MIM_TESTS_WRITER_SUPPORT_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/prng.h"
#include "journal/writer.h"
#include "storage/storage_sim.h"

#define DRIVE_TIME_MS 1700000000000

struct drive {
    struct mim_storage storage;
    struct mim_writer_options options;
    struct mim_history history;
    struct mim_ring ring; /* mim_ring_init once; drive_ring_reset between lives */
    struct mim_writer *writer;
    struct mim_appender appender;
    uint64_t now_ns;
    int64_t wall_ms;
};

static inline void drive_ok(int code, const struct mim_error *error) {
    if (code != 0) {
        fail_msg("unexpected error %d: %s", code, error->text);
    }
}

/** Zeroed memory for what holds a ring (which stands on cache lines of its own); free. */
static inline void *drive_alloc(size_t size) {
    size = (size + 63u) / 64u * 64u;
    void *memory = aligned_alloc(64, size);
    assert_non_null(memory);
    memset(memory, 0, size);
    return memory;
}

/** A ring as a new process has it; `offset` is where its bytes begin, to wrap around at different places. */
static inline void drive_ring_reset(struct mim_ring *ring, uint64_t offset) {
    uint8_t *bytes = ring->bytes;
    struct mim_handoff *handoffs = ring->handoffs;
    *ring = (struct mim_ring){.bytes = bytes, .handoffs = handoffs};
    atomic_store(&ring->bytes_tail, offset);
}

/** Byte i of an event's payload: the serial itself, then a pattern. */
static inline void drive_fill(uint8_t *payload, size_t size, uint64_t serial) {
    uint64_t word = serial;
    for (size_t i = 0; i < size; i += 8) {
        size_t part = size - i < 8 ? size - i : 8;
        memcpy(payload + i, &word, part);
        word = word * 0x9e3779b97f4a7c15ull + 0x1234567u;
    }
}

static inline bool drive_filled(const uint8_t *payload, size_t size, uint64_t serial) {
    uint64_t word = serial;
    for (size_t i = 0; i < size; i += 8) {
        size_t part = size - i < 8 ? size - i : 8;
        if (memcmp(payload + i, &word, part) != 0) {
            return false;
        }
        word = word * 0x9e3779b97f4a7c15ull + 0x1234567u;
    }
    return true;
}

/** One transaction of `events` events with payloads of `payload_size` bytes, numbered from `serial`. Reserves a little
 *  more than it takes, as the engine does. 0 events: one record without a position (KEY). */
static inline int drive_put(struct drive *d, uint32_t events, size_t payload_size, uint64_t serial) {
    struct mim_appender *a = &d->appender;
    int64_t time_ms = mim_appender_time(a, d->wall_ms);
    uint32_t records = events == 0 ? 1 : events;
    size_t each = mim_record_size(payload_size, NULL);
    uint8_t *at = NULL;
    int rc = mim_appender_reserve(a, each * records + 64u, events, time_ms, &at);
    if (rc != 0) {
        return rc;
    }
    size_t used = 0;
    for (uint32_t i = 0; i < records; i++) {
        struct mim_record record = {
            .type = (uint16_t)(events == 0 ? MIM_RECORD_KEY : 1),
            .flags = (uint16_t)((i == 0 ? MIM_FLAG_TX_FIRST : 0) | (i + 1 == records ? MIM_FLAG_TX_LAST : 0)),
            .version = (mim_version_t)(a->next_position + i),
            .frame_offset = a->frame_size + (uint32_t)used,
            .tx_offset = (uint32_t)used,
            .index = (uint16_t)(events == 0 ? 0 : a->frame_events + i),
            .time_delta_ms = (uint16_t)(time_ms - a->frame_time_ms),
        };
        drive_fill(at + used + MIM_RECORD_HEADER_SIZE, payload_size, serial + i);
        used += mim_record_finish(at + used, &record, payload_size, NULL);
    }
    mim_appender_commit(a, used, events);
    return 0;
}

/** What recovery found. */
struct drive_found {
    struct mim_segments segments; /* mim_segments_deinit */
    struct mim_journal_ending ending;
    uint64_t frames;
    uint64_t digest; /* over bytes and places of all frames */
};

/** Each good frame in order; a nonzero return ends the reading with that value. */
typedef int drive_frame_fn(void *context, const struct mim_frame *frame);

/** Loads and reads the journal with the mark's evidence. The caller deinits found->segments in any case. */
static inline int drive_read(struct drive *d, drive_frame_fn *each, void *context, struct drive_found *found,
                             struct mim_error *error) {
    *found = (struct drive_found){0};
    mim_position_t unused = 0;
    struct mim_mark mark = {0};
    int rc = mim_segments_load(d->storage, &found->segments, &unused, error);
    if (rc == 0) {
        rc = mim_mark_read(d->storage, &mark, error);
        rc = rc == MIM_E_NOT_FOUND ? 0 : rc;
    }
    if (rc != 0 || found->segments.count == 0) {
        return rc != 0 ? rc : mark.durable_lsn > 0 ? mim_error_set(error, MIM_E_DAMAGED, "no segments") : 0;
    }
    struct mim_reader *reader = NULL;
    struct mim_reader_options options = {.evidence_lsn = mark.durable_lsn};
    rc = mim_reader_open(d->storage, &found->segments, &options, &reader, error);
    struct mim_frame frame;
    while (rc == 0 && (rc = mim_reader_next(reader, &frame, error)) == 0) {
        found->frames++;
        found->digest = (found->digest ^ frame.header.chain) * 31u + frame.lsn;
        rc = each == NULL ? 0 : each(context, &frame);
    }
    rc = rc == MIM_E_NOT_FOUND ? mim_reader_ending(reader, &found->ending, error) : rc;
    (void)mim_reader_free(reader);
    return rc;
}

/** Opens the writer behind what was found, and begins the appender with the next epoch. */
static inline int drive_begin(struct drive *d, const struct drive_found *found, struct mim_error *error) {
    struct mim_appender_start start;
    int rc = mim_writer_open(d->storage, &d->ring, &d->options, &found->segments, &found->ending, &d->history,
                             d->wall_ms, &d->writer, &start, error);
    if (rc == 0) {
        start.epoch = found->ending.epoch + 1;
        mim_appender_init(&d->appender, &d->ring, &start);
    }
    return rc;
}

/** Steps writer and preparer until all that was appended is through. */
static inline int drive_drain(struct drive *d, struct mim_error *error) {
    mim_appender_seal(&d->appender);
    int rc = 0;
    while (rc >= 0 && !mim_appender_idle(&d->appender)) {
        rc = mim_writer_step(d->writer, d->now_ns, error);
    }
    return rc < 0 ? rc : 0;
}

/** Read, cut, open, EPOCH frame, mark: a start, as the engine does it. */
static inline int drive_start(struct drive *d, struct mim_error *error) {
    struct drive_found found;
    int rc = drive_read(d, NULL, NULL, &found, error);
    if (rc == 0 && found.ending.kind == MIM_END_DAMAGED) {
        rc = mim_error_set(error, MIM_E_DAMAGED, "%s", found.ending.text);
    }
    if (rc == 0 && found.ending.kind == MIM_END_TORN) {
        rc = mim_journal_cut(d->storage, &found.segments, &found.ending, found.ending.epoch + 1, error);
    }
    rc = rc != 0 ? rc : drive_begin(d, &found, error);
    mim_segments_deinit(&found.segments);
    while (rc == 0 && (rc = mim_appender_control(&d->appender, MIM_FRAME_EPOCH, d->wall_ms)) == MIM_E_AGAIN) {
        rc = mim_preparer_step(d->storage, &d->ring, d->options.segment_size_max, error);
        rc = rc < 0 ? rc : 0;
    }
    rc = rc != 0 ? rc : drive_drain(d, error);
    return rc != 0 ? rc : mim_writer_finish(d->writer, error);
}

/** The process is gone: its memory with it. */
static inline void drive_die(struct drive *d, uint64_t ring_offset) {
    d->writer = mim_writer_free(d->writer);
    drive_ring_reset(&d->ring, ring_offset);
}

#endif
