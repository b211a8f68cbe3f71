// SPDX-License-Identifier: MIT
// Walking a journal without the model: frames, records, and what its own definitions say about them. Serves dump,
// verify and stat.
#ifndef MIM_CLI_JOURNAL_WALK_H
#define MIM_CLI_JOURNAL_WALK_H

#include "journal/definition.h"
#include "journal/reader.h"

struct mim_walk_stream {
    char *id; /* owned; NULL: not seen (its beginning was archived) */
    mim_version_t version;
    mim_lsn_t last_lsn;
};

struct mim_walk_aggregate {
    char name[MIM_NAME_SIZE_MAX + 1];
    struct mim_walk_stream *streams;
    size_t count;
    size_t capacity;
};

struct mim_walk_event_type {
    uint8_t *payload; /* owned copy of the definition's bytes, which `definition` borrows */
    struct mim_definition definition;
    uint64_t events;
    uint64_t bytes;
};

/** Facts of the transaction being read: from its first record. */
struct mim_walk_tx {
    struct mim_slice key, corr, cause, actor, command_fields;
};

struct mim_walk {
    struct mim_segments segments;
    struct mim_reader *reader;
    struct mim_journal_ending ending;
    struct mim_walk_aggregate aggregates[MIM_AGGREGATE_TYPES_MAX + 1];
    struct mim_walk_event_type *types; /* by journal number */
    char (*commands)[MIM_NAME_SIZE_MAX + 1];
    uint64_t frames, frames_of[8], events, transactions, record_bytes, frame_bytes;
    mim_epoch_t first_epoch, last_epoch;
    int64_t first_time_ms, last_time_ms;
};

/** One event, for the caller's eyes; valid during the call. */
struct mim_walk_event {
    const struct mim_frame *frame;
    const struct mim_record *record;
    const struct mim_walk_event_type *type;
    const char *aggregate;
    const char *id;
    const char *command; /* "" when not known */
    const struct mim_walk_tx *tx;
    mim_position_t position;
    int64_t time_ms;
};

/** A nonzero return ends the walk with that value. */
typedef int mim_walk_fn(void *context, const struct mim_walk_event *event);

struct mim_walk_options {
    bool check_streams; /* verify: versions and back references of every stream must chain */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *progress_context;
    /* each operator's note; NULL: passed over. `context` is that of the walk */
    int (*note)(void *context, const struct mim_frame *frame, struct mim_slice text);
};

/** Walks the whole journal; each may be NULL. DAMAGED names segment, offset and position. Deinit also after failure. */
MIM_CHECKED int mim_walk_run(struct mim_walk *walk, struct mim_storage storage, const struct mim_walk_options *options,
                             mim_walk_fn *each, void *context, struct mim_error *reterr);
void mim_walk_deinit(struct mim_walk *walk);

#endif
