// SPDX-License-Identifier: MIT
// The walk over a journal by its own definitions.
#include "cli/journal_walk.h"

#include <stdlib.h>
#include <string.h>

struct walking {
    struct mim_walk *walk;
    const struct mim_walk_options *options;
    mim_walk_fn *each;
    void *context;
    const struct mim_frame *frame;
    struct mim_walk_tx tx;
    uint32_t index; /* of the next event in the frame */
};

/** "segment X offset O position P: what". */
static int walk_damaged(const struct walking *w, uint32_t offset, const char *what, struct mim_error *reterr) {
    const struct mim_segments *segments = &w->walk->segments;
    size_t n = mim_segments_find_lsn(segments, w->frame->lsn);
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(segments->items[n].header.first_position, path);
    return mim_error_set(reterr, MIM_E_DAMAGED, "segment %s offset %llu position %llu: %s", path,
                         (unsigned long long)(w->frame->lsn - segments->items[n].header.base_lsn + offset),
                         (unsigned long long)(w->frame->header.first_position + w->index), what);
}

static void name_copy(char to[MIM_NAME_SIZE_MAX + 1], struct mim_slice name) {
    size_t size = name.size > MIM_NAME_SIZE_MAX ? MIM_NAME_SIZE_MAX : name.size;
    memcpy(to, name.data, size);
    to[size] = '\0';
}

static int walk_define(struct walking *w, const struct mim_record *record, uint32_t offset, struct mim_error *reterr) {
    struct mim_definition definition;
    struct mim_walk *walk = w->walk;
    int rc = mim_definition_decode(record->payload, &definition, reterr);
    if (rc != 0) {
        return rc;
    }
    bool aggregate = definition.kind == MIM_DEFINE_AGGREGATE;
    if (definition.number == 0 || definition.number > (aggregate ? MIM_AGGREGATE_TYPES_MAX : MIM_CATALOG_MAX) ||
        definition.aggregate > MIM_AGGREGATE_TYPES_MAX) {
        return walk_damaged(w, offset, "a definition's number is out of range", reterr);
    }
    if (aggregate) {
        name_copy(walk->aggregates[definition.number].name, definition.name);
    } else if (definition.kind == MIM_DEFINE_COMMAND) {
        name_copy(walk->commands[definition.number], definition.name);
    } else {
        struct mim_walk_event_type *type = &walk->types[definition.number];
        free(type->payload);
        type->payload = malloc(record->payload.size);
        if (type->payload == NULL) {
            return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
        }
        memcpy(type->payload, record->payload.data, record->payload.size);
        rc = mim_definition_decode(mim_slice_of(type->payload, record->payload.size), &type->definition, reterr);
    }
    return rc;
}

static struct mim_walk_stream *walk_stream(struct mim_walk_aggregate *aggregate, mim_stream_t number) {
    if (number >= aggregate->capacity) {
        size_t capacity = aggregate->capacity == 0 ? 1024 : aggregate->capacity;
        while (capacity <= number) {
            capacity *= 2;
        }
        struct mim_walk_stream *grown = realloc(aggregate->streams, capacity * sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        memset(grown + aggregate->capacity, 0, (capacity - aggregate->capacity) * sizeof(*grown));
        aggregate->streams = grown;
        aggregate->capacity = capacity;
    }
    aggregate->count = number >= aggregate->count ? number + 1u : aggregate->count;
    return &aggregate->streams[number];
}

static void walk_tx_begin(struct walking *w, const struct mim_record *record) {
    w->tx = (struct mim_walk_tx){0};
    struct mim_slice key;
    if (mim_record_part(record, MIM_PART_KEY, &key) && key.size > 4) {
        w->tx.key = mim_slice_of(key.data + 4, key.size - 4);
    }
    (void)mim_record_part(record, MIM_PART_CORR, &w->tx.corr);
    (void)mim_record_part(record, MIM_PART_CAUSE, &w->tx.cause);
    (void)mim_record_part(record, MIM_PART_ACTOR, &w->tx.actor);
    (void)mim_record_part(record, MIM_PART_COMMAND, &w->tx.command_fields);
    w->walk->transactions++;
}

/** Takes the event into its stream; false when it does not follow. */
static bool walk_follow(const struct walking *w, struct mim_walk_stream *stream, const struct mim_record *record,
                        mim_lsn_t lsn) {
    bool follows = record->version == stream->version + 1 && record->previous_lsn == stream->last_lsn;
    struct mim_slice id;
    if (mim_record_part(record, MIM_PART_ID, &id)) {
        free(stream->id);
        stream->id = strndup((const char *)id.data, id.size);
    }
    stream->version = record->version;
    stream->last_lsn = lsn;
    return follows || !w->options->check_streams;
}

static int walk_event(struct walking *w, const struct mim_record *record, uint32_t offset, size_t size,
                      struct mim_error *reterr) {
    struct mim_walk *walk = w->walk;
    struct mim_walk_event_type *type = record->type <= MIM_CATALOG_MAX ? &walk->types[record->type] : NULL;
    if (type == NULL || type->payload == NULL) {
        return walk_damaged(w, offset, "an event of a type that was never defined", reterr);
    }
    struct mim_walk_aggregate *aggregate = &walk->aggregates[type->definition.aggregate];
    struct mim_walk_stream *stream = walk_stream(aggregate, record->stream);
    if (stream == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    if (record->index != w->index || !walk_follow(w, stream, record, w->frame->lsn + offset)) {
        return walk_damaged(w, offset, "an event does not follow its stream or its frame", reterr);
    }
    if ((record->flags & MIM_FLAG_TX_FIRST) != 0) {
        walk_tx_begin(w, record);
    }
    struct mim_walk_event event = {
        .frame = w->frame,
        .record = record,
        .type = type,
        .aggregate = aggregate->name,
        .id = stream->id,
        .command = record->command <= MIM_CATALOG_MAX ? walk->commands[record->command] : "",
        .tx = &w->tx,
        .position = w->frame->header.first_position + w->index,
        .time_ms = w->frame->header.base_time_ms + record->time_delta_ms,
    };
    w->index++;
    walk->events++;
    type->events++;
    type->bytes += size;
    walk->first_time_ms = walk->events == 1 ? event.time_ms : walk->first_time_ms;
    walk->last_time_ms = event.time_ms;
    return w->each == NULL ? 0 : w->each(w->context, &event);
}

static int walk_records(struct walking *w, struct mim_error *reterr) {
    uint32_t offset = MIM_FRAME_HEADER_SIZE;
    w->index = 0;
    while (offset < w->frame->header.size) {
        struct mim_record record;
        size_t size = mim_record_decode(w->frame->bytes + offset, w->frame->header.size - offset, &record);
        if (size == 0 || record.frame_offset != offset) {
            return walk_damaged(w, offset, "a malformed record", reterr);
        }
        int rc = 0;
        if (record.type <= MIM_RECORD_EVENT_MAX) {
            rc = walk_event(w, &record, offset, size, reterr);
        } else if (record.type == MIM_RECORD_DEFINE) {
            rc = walk_define(w, &record, offset, reterr);
        } else if (record.type == MIM_RECORD_NOTE && w->options->note != NULL) {
            rc = w->options->note(w->context, w->frame, record.payload);
        }
        if (rc != 0) {
            return rc;
        }
        w->walk->record_bytes += size;
        offset += (uint32_t)size;
    }
    return w->index == w->frame->header.event_count ? 0 : walk_damaged(w, 0, "a frame's event count is wrong", reterr);
}

static int walk_frame(struct walking *w, struct mim_error *reterr) {
    struct mim_walk *walk = w->walk;
    const struct mim_frame_header *header = &w->frame->header;
    walk->frames++;
    walk->frames_of[header->kind & 7u]++;
    walk->frame_bytes += header->size;
    walk->first_epoch = walk->frames == 1 ? header->epoch : walk->first_epoch;
    walk->last_epoch = header->epoch;
    return header->kind == MIM_FRAME_DATA ? walk_records(w, reterr) : 0;
}

static int walk_all(struct walking *w, struct mim_error *reterr) {
    struct mim_walk *walk = w->walk;
    uint64_t total = 0;
    for (size_t i = 0; i < walk->segments.count; i++) {
        total += walk->segments.items[i].file_size;
    }
    struct mim_frame frame;
    int rc;
    while ((rc = mim_reader_next(walk->reader, &frame, reterr)) == 0) {
        w->frame = &frame;
        rc = walk_frame(w, reterr);
        if (rc != 0) {
            return rc;
        }
        if (w->options->progress != NULL && (walk->frames & 1023u) == 0) {
            w->options->progress(w->options->progress_context, mim_reader_consumed(walk->reader), total);
        }
    }
    return rc == MIM_E_NOT_FOUND ? mim_reader_ending(walk->reader, &walk->ending, reterr) : rc;
}

int mim_walk_run(struct mim_walk *walk, struct mim_storage storage, const struct mim_walk_options *options,
                 mim_walk_fn *each, void *context, struct mim_error *reterr) {
    *walk = (struct mim_walk){0};
    walk->types = calloc(MIM_CATALOG_MAX + 1, sizeof(*walk->types));
    walk->commands = calloc(MIM_CATALOG_MAX + 1, sizeof(*walk->commands));
    if (walk->types == NULL || walk->commands == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    mim_position_t unused = 0;
    int rc = mim_segments_load(storage, &walk->segments, &unused, reterr);
    if (rc == 0 && walk->segments.count == 0) {
        rc = mim_error_set(reterr, MIM_E_NOT_FOUND, "there is no journal in this directory");
    }
    struct mim_mark mark = {0};
    struct mim_error ignored;
    struct mim_reader_options from = {
        .evidence_lsn = rc == 0 && mim_mark_read(storage, &mark, &ignored) == 0 ? mark.durable_lsn : 0};
    from.standby = from.evidence_lsn > 0 && mark.standby;
    rc = rc != 0 ? rc : mim_reader_open(storage, &walk->segments, &from, &walk->reader, reterr);
    struct walking w = {.walk = walk, .options = options, .each = each, .context = context};
    return rc != 0 ? rc : walk_all(&w, reterr);
}

void mim_walk_deinit(struct mim_walk *walk) {
    if (walk->reader != NULL) {
        (void)mim_reader_free(walk->reader);
    }
    mim_segments_deinit(&walk->segments);
    for (unsigned i = 0; i <= MIM_AGGREGATE_TYPES_MAX; i++) {
        for (size_t n = 0; n < walk->aggregates[i].count; n++) {
            free(walk->aggregates[i].streams[n].id);
        }
        free(walk->aggregates[i].streams);
    }
    for (unsigned i = 0; walk->types != NULL && i <= MIM_CATALOG_MAX; i++) {
        free(walk->types[i].payload);
    }
    free(walk->types);
    free(walk->commands);
    *walk = (struct mim_walk){0};
}
