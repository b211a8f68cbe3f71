// SPDX-License-Identifier: MIT
// A tiny builder of journals over the frame codec alone: what a writer would leave on a (simulated) disk, frame by
// frame, so that tests can name every byte. Header-only; one includer per executable.
#ifndef MIM_TESTS_JOURNAL_SUPPORT_H
#define MIM_TESTS_JOURNAL_SUPPORT_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "journal/recover.h"
#include "storage/storage_sim.h"

#define BUILD_TIME_MS           1700000000000
#define BUILD_FRAME_PAYLOAD_MAX 512u

struct builder {
    struct mim_storage storage;
    struct mim_history history;
    mim_position_t position; /* of the last event */
    mim_lsn_t lsn;           /* of the next frame */
    uint64_t chain;
    mim_lsn_t durable_lsn; /* evidence that goes into the next frame */
    mim_epoch_t epoch;
    int64_t time_ms;
    mim_position_t segment_name;
    mim_lsn_t base_lsn;
    uint64_t segment_size;
    mim_file_t file;
};

static inline void build_ok(int code, const struct mim_error *error) {
    if (code != 0) {
        fail_msg("unexpected error %d: %s", code, error->text);
    }
}

/** Creates the segment that begins at the builder's LSN and position; `written` false leaves its page as zeros. */
static inline void build_segment(struct builder *b, bool written) {
    struct mim_error error = {0};
    char path[MIM_SEGMENT_PATH_SIZE];
    b->segment_name = b->position + 1u;
    b->base_lsn = b->lsn;
    mim_segment_path(b->segment_name, path);
    mim_file_close(b->storage, b->file);
    build_ok(mim_storage_make_dir(b->storage, MIM_JOURNAL_DIR, &error), &error);
    build_ok(mim_file_open(b->storage, path, MIM_OPEN_WRITE | MIM_OPEN_CREATE, &b->file, &error), &error);
    build_ok(mim_file_preallocate(b->storage, b->file, b->segment_size, &error), &error);
    struct mim_segment_header header = {
        .history = b->history,
        .first_position = b->position + 1u,
        .base_lsn = b->base_lsn,
        .previous_chain = b->chain,
        .epoch = b->epoch,
        .base_time_ms = b->time_ms,
    };
    uint8_t page[MIM_SEGMENT_HEADER_SIZE];
    mim_segment_header_encode(&header, page);
    if (written) {
        build_ok(mim_file_pwrite(b->storage, b->file, page, sizeof(page), 0, &error), &error);
    }
    build_ok(mim_file_sync(b->storage, b->file, &error), &error);
    build_ok(mim_storage_sync_dir(b->storage, MIM_JOURNAL_DIR, &error), &error);
    b->lsn += MIM_SEGMENT_HEADER_SIZE;
}

static inline void build_init(struct builder *b, struct mim_storage storage, uint64_t segment_size) {
    *b = (struct builder){.storage = storage, .epoch = 1, .time_ms = BUILD_TIME_MS, .segment_size = segment_size};
    memcpy(b->history.uuid, "builder-history!", sizeof(b->history.uuid));
    b->chain = mim_history_seed(&b->history);
    build_segment(b, true);
    b->durable_lsn = b->lsn;
}

/** Appends a frame of `events` events with payloads of `payload_size` bytes each. Returns its LSN. */
static inline mim_lsn_t build_frame(struct builder *b, enum mim_frame_kind kind, uint32_t events, size_t payload_size) {
    struct mim_error error = {0};
    uint8_t frame[16384] = {0};
    size_t size = MIM_FRAME_HEADER_SIZE;
    for (uint32_t i = 0; i < events; i++) {
        struct mim_record record = {
            .type = 1,
            .flags = MIM_FLAG_TX_FIRST | MIM_FLAG_TX_LAST,
            .version = (mim_version_t)(b->position + i + 1u),
            .frame_offset = (uint32_t)size,
            .index = (uint16_t)i,
            .time_delta_ms = (uint16_t)i,
        };
        assert_true(size + mim_record_size(payload_size, NULL) <= sizeof(frame));
        memset(frame + size + MIM_RECORD_HEADER_SIZE, (int)(0x40u + (b->position + i) % 50u), payload_size);
        size += mim_record_finish(frame + size, &record, payload_size, NULL);
    }
    struct mim_frame_header header = {
        .kind = (uint8_t)kind,
        .size = (uint32_t)size,
        .event_count = events,
        .first_position = b->position + 1u,
        .durable_lsn = b->durable_lsn,
        .base_time_ms = b->time_ms,
        .epoch = b->epoch,
        .previous_chain = b->chain,
    };
    mim_lsn_t lsn = b->lsn;
    b->chain = mim_frame_finish(&header, &b->history, lsn, frame);
    build_ok(mim_file_pwrite(b->storage, b->file, frame, size, lsn - b->base_lsn, &error), &error);
    build_ok(mim_file_sync(b->storage, b->file, &error), &error);
    b->lsn += size;
    b->position += events;
    b->time_ms += 10;
    return lsn;
}

/** A frame after everything so far became durable: what a server at rest writes. */
static inline mim_lsn_t build_durable(struct builder *b, enum mim_frame_kind kind, uint32_t events,
                                      size_t payload_size) {
    b->durable_lsn = b->lsn;
    return build_frame(b, kind, events, payload_size);
}

/** Ends the segment with a ROLL frame and cuts its zero tail off. */
static inline void build_roll(struct builder *b, bool cut_zeros) {
    struct mim_error error = {0};
    (void)build_durable(b, MIM_FRAME_ROLL, 0, 0);
    if (cut_zeros) {
        build_ok(mim_file_truncate(b->storage, b->file, b->lsn - b->base_lsn, &error), &error);
        build_ok(mim_file_sync(b->storage, b->file, &error), &error);
    }
}

static inline void build_done(struct builder *b) {
    mim_file_close(b->storage, b->file);
    b->file = 0;
}

/** What loading and reading a journal from its beginning comes to. */
struct outcome {
    int code; /* of load, open or read; 0 when there is an ending */
    struct mim_error error;
    struct mim_journal_ending ending;
    mim_position_t unused;
    size_t segments;
    uint64_t frames;
    uint64_t digest; /* over chain and LSN of all frames */
};

static inline int outcome_read(struct mim_storage storage, const struct mim_segments *segments,
                               const struct mim_reader_options *options, struct outcome *ret_outcome) {
    struct mim_reader *reader = NULL;
    int code = mim_reader_open(storage, segments, options, &reader, &ret_outcome->error);
    struct mim_frame frame;
    while (code == 0) {
        code = mim_reader_next(reader, &frame, &ret_outcome->error);
        if (code == 0) {
            ret_outcome->frames++;
            ret_outcome->digest = (ret_outcome->digest ^ frame.header.chain) * 31u + frame.lsn;
        }
    }
    if (code == MIM_E_NOT_FOUND) {
        code = mim_reader_ending(reader, &ret_outcome->ending, &ret_outcome->error);
    }
    (void)mim_reader_free(reader);
    return code;
}

static inline struct outcome outcome_of(struct mim_storage storage, mim_lsn_t evidence_lsn) {
    struct outcome outcome = {0};
    struct mim_segments segments = {0};
    outcome.code = mim_segments_load(storage, &segments, &outcome.unused, &outcome.error);
    if (outcome.code == 0) {
        struct mim_reader_options options = {.evidence_lsn = evidence_lsn};
        outcome.segments = segments.count;
        outcome.code = outcome_read(storage, &segments, &options, &outcome);
    }
    mim_segments_deinit(&segments);
    return outcome;
}

/** Refused, in either way: by the table of segments or by the verdict on the end. */
static inline bool outcome_damaged(const struct outcome *outcome) {
    return outcome->code == MIM_E_DAMAGED || (outcome->code == 0 && outcome->ending.kind == MIM_END_DAMAGED);
}

static inline const char *outcome_text(const struct outcome *outcome) {
    return outcome->code != 0 ? outcome->error.text : outcome->ending.text;
}

/** The text names a segment file, an offset and a position. */
static inline bool outcome_names_place(const struct outcome *outcome) {
    const char *text = outcome_text(outcome);
    return strstr(text, ".journal") != NULL && strstr(text, "offset ") != NULL && strstr(text, "position ") != NULL;
}

/** Flips one bit in place through the storage (on any storage, not only the simulated disk). */
static inline void flip_bit(struct mim_storage storage, const char *path, uint64_t bit) {
    struct mim_error error = {0};
    mim_file_t file = 0;
    uint8_t byte = 0;
    size_t got = 0;
    build_ok(mim_file_open(storage, path, MIM_OPEN_WRITE, &file, &error), &error);
    build_ok(mim_file_pread(storage, file, &byte, 1, bit / 8u, &got, &error), &error);
    assert_int_equal(got, 1);
    byte = (uint8_t)(byte ^ (1u << (bit % 8u)));
    build_ok(mim_file_pwrite(storage, file, &byte, 1, bit / 8u, &error), &error);
    mim_file_close(storage, file);
}

#endif
