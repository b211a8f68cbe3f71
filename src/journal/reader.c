// SPDX-License-Identifier: MIT
// The one reader of the journal. A window of the current segment's file stands in memory; frames are views into it.
// It is filled by reads of a block (1 MiB) or of what one frame needs; only the part of a frame that is already
// there moves when the window does. An unreadable byte is an I/O error, never an end.
#include "journal/reader.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "journal/recover.h"

#define WINDOW_ALIGNMENT    64u
#define READ_SIZE           ((uint64_t)1 << 18) /* one read while frames are wanted whole */
#define READ_SIZE_HEADERS   ((uint64_t)1 << 16) /* one read while only headers are */
#define WINDOW_CAPACITY_MIN ((uint64_t)1 << 16)
#define WINDOW_CAPACITY_MAX (MIM_FRAME_SIZE_MAX + READ_SIZE + 2u * WINDOW_ALIGNMENT)

struct mim_reader {
    struct mim_storage storage;
    const struct mim_segments *segments; /* borrowed */
    struct mim_reader_options options;
    uint8_t *window; /* owned; grows to what reads need, WINDOW_CAPACITY_MAX at most */
    uint64_t window_capacity;
    uint64_t window_offset; /* file offset of window[0] */
    uint64_t window_size;
    size_t segment;
    mim_file_t file;    /* of `segment`; 0: not open */
    uint64_t file_size; /* when it was opened */
    uint64_t offset;    /* of the next frame in the file */
    mim_position_t position;
    uint64_t chain;
    mim_epoch_t epoch;
    int64_t time_ms;
    mim_lsn_t events_lsn; /* of the last DATA frame: its records know the greatest time */
    uint32_t events_size;
    bool started; /* at a segment's start, or a frame was read: position and epoch are known */
    bool chain_known;
    bool rolled; /* the frame before `offset` is a ROLL frame */
    enum mim_stop stop;
    char reason[160];
    uint64_t consumed;
};

static const struct mim_segment_header *segment_header(const struct mim_reader *reader) {
    return &reader->segments->items[reader->segment].header;
}

static mim_lsn_t reader_lsn(const struct mim_reader *reader) {
    return reader->segments->count == 0 ? 0 : segment_header(reader)->base_lsn + reader->offset;
}

/** Enters a segment at a frame boundary (an offset in its file). */
static void enter(struct mim_reader *reader, size_t segment, uint64_t offset) {
    if (segment != reader->segment) {
        mim_file_close(reader->storage, reader->file);
        reader->file = 0;
    }
    reader->segment = segment;
    reader->offset = offset;
    reader->window_offset = offset;
    reader->window_size = 0;
    reader->rolled = false;
    const struct mim_segment_header *header = segment_header(reader);
    reader->started = offset == MIM_SEGMENT_HEADER_SIZE;
    if (reader->started) {
        reader->position = header->first_position - 1u;
        reader->time_ms = header->base_time_ms > reader->time_ms ? header->base_time_ms : reader->time_ms;
        reader->epoch = header->epoch;
    }
}

/** Places the reader at `lsn`; with the chain that stands before it, when that is known. */
static int place(struct mim_reader *reader, mim_lsn_t lsn, bool chain_known, uint64_t chain, struct mim_error *reterr) {
    size_t index = mim_segments_find_lsn(reader->segments, lsn);
    if (index == reader->segments->count) {
        return mim_error_set(reterr, MIM_E_INVALID, "LSN %" PRIu64 " lies before the journal's first segment", lsn);
    }
    const struct mim_segment *segment = &reader->segments->items[index];
    uint64_t offset = lsn - segment->header.base_lsn;
    if (lsn % 8u != 0 || offset > segment->file_size || (offset > 0 && offset < MIM_SEGMENT_HEADER_SIZE)) {
        return mim_error_set(reterr, MIM_E_INVALID, "LSN %" PRIu64 " is no frame boundary of the journal", lsn);
    }
    bool at_start = offset <= MIM_SEGMENT_HEADER_SIZE;
    if (at_start && chain_known && chain != segment->header.previous_chain) {
        char path[MIM_SEGMENT_PATH_SIZE];
        mim_segment_path(segment->header.first_position, path);
        return mim_error_set(reterr, MIM_E_DAMAGED,
                             "%s: offset 0: position %" PRIu64 ": the chain before it is not the one asked for", path,
                             segment->header.first_position);
    }
    enter(reader, index, at_start ? MIM_SEGMENT_HEADER_SIZE : offset);
    reader->chain_known = chain_known || at_start;
    reader->chain = at_start ? segment->header.previous_chain : chain;
    return 0;
}

int mim_reader_open(struct mim_storage storage, const struct mim_segments *segments,
                    const struct mim_reader_options *options, struct mim_reader **ret_reader,
                    struct mim_error *reterr) {
    struct mim_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory opening the journal for reading");
    }
    reader->storage = storage;
    reader->segments = segments;
    reader->options = *options;
    reader->time_ms = INT64_MIN;
    int code = 0;
    if (segments->count > 0) {
        mim_lsn_t from = options->from == 0 ? segments->items[0].header.base_lsn : options->from;
        code = place(reader, from, options->from != 0, options->previous_chain, reterr);
    } else if (options->from != 0) {
        code =
            mim_error_set(reterr, MIM_E_INVALID, "LSN %" PRIu64 " is not in the journal: it is empty", options->from);
    }
    if (code != 0) {
        (void)mim_reader_free(reader);
        return code;
    }
    *ret_reader = reader;
    return 0;
}

struct mim_reader *mim_reader_free(struct mim_reader *reader) {
    if (reader != NULL) {
        mim_file_close(reader->storage, reader->file);
        free(reader->window);
        free(reader);
    }
    return NULL;
}

void mim_reader_set_limit(struct mim_reader *reader, mim_lsn_t limit) { reader->options.limit = limit; }

uint64_t mim_reader_consumed(const struct mim_reader *reader) { return reader->consumed; }

int mim_reader_seek(struct mim_reader *reader, mim_lsn_t frame_lsn, struct mim_error *reterr) {
    int code = place(reader, frame_lsn, /* chain_known= */ false, 0, reterr);
    if (code == 0) {
        reader->time_ms = reader->started ? segment_header(reader)->base_time_ms : INT64_MIN;
        reader->events_lsn = 0;
        reader->stop = MIM_STOP_END;
    }
    return code;
}

/* ---------------------------------------------------------------- the window */

static int open_segment(struct mim_reader *reader, struct mim_error *reterr) {
    if (reader->file != 0) {
        return 0;
    }
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(segment_header(reader)->first_position, path);
    mim_file_t file = 0;
    int code = mim_file_open(reader->storage, path, MIM_OPEN_READ, &file, reterr);
    if (code != 0) {
        /* the table names it: that it is gone is no end of the journal */
        return code == MIM_E_NOT_FOUND ? mim_error_set(reterr, MIM_E_IO, "%s has vanished", path) : code;
    }
    uint64_t size = 0;
    code = mim_file_size(reader->storage, file, &size, reterr);
    if (code != 0) {
        mim_file_close(reader->storage, file);
        return code;
    }
    reader->file = file;
    reader->file_size = size;
    return 0;
}

/** Bytes of the current segment that may be read: up to the next segment, the limit, the end of the file. */
static uint64_t readable_end(const struct mim_reader *reader) {
    const struct mim_segment_header *header = segment_header(reader);
    uint64_t end = reader->file_size;
    if (reader->segment + 1u < reader->segments->count) {
        uint64_t used = reader->segments->items[reader->segment + 1u].header.base_lsn - header->base_lsn;
        end = used < end ? used : end;
    }
    if (reader->options.limit != 0) {
        uint64_t limit = reader->options.limit > header->base_lsn ? reader->options.limit - header->base_lsn : 0;
        end = limit < end ? limit : end;
    }
    return end;
}

/** Makes room for `size` bytes in the window and keeps the `kept` bytes at `from`, moved to its beginning. */
static int make_room(struct mim_reader *reader, uint64_t from, uint64_t kept, uint64_t size, struct mim_error *reterr) {
    MIM_ASSERT(size <= WINDOW_CAPACITY_MAX && kept <= size);
    if (size <= reader->window_capacity) {
        memmove(reader->window, reader->window + from, kept);
        return 0;
    }
    size = size < WINDOW_CAPACITY_MIN ? WINDOW_CAPACITY_MIN : size;
    uint64_t capacity = (size + WINDOW_ALIGNMENT - 1u) & ~(uint64_t)(WINDOW_ALIGNMENT - 1u);
    uint8_t *window = aligned_alloc(WINDOW_ALIGNMENT, capacity);
    if (window == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory reading the journal");
    }
    if (kept > 0) {
        memcpy(window, reader->window + from, kept);
    }
    free(reader->window);
    reader->window = window;
    reader->window_capacity = capacity;
    return 0;
}

/** Makes window bytes [offset, offset + size) of the file present; the caller made sure that the file has them. */
static int fill(struct mim_reader *reader, uint64_t size, uint64_t end, struct mim_error *reterr) {
    uint64_t at = reader->offset;
    MIM_ASSERT(at >= reader->window_offset && size <= MIM_FRAME_SIZE_MAX && at + size <= end);
    if (at + size <= reader->window_offset + reader->window_size) {
        return 0;
    }
    uint64_t base = at & ~(uint64_t)(WINDOW_ALIGNMENT - 1u);
    uint64_t kept = 0;
    if (base < reader->window_offset) {
        base = reader->window_offset; /* what lies before was never read and is not wanted */
    }
    if (base < reader->window_offset + reader->window_size) {
        kept = reader->window_offset + reader->window_size - base;
    }
    uint64_t block = reader->options.headers_only ? READ_SIZE_HEADERS : READ_SIZE;
    uint64_t needed = at + size - (base + kept);
    uint64_t wanted = needed > block ? needed : block;
    wanted = wanted < end - (base + kept) ? wanted : end - (base + kept);
    MIM_ASSERT(wanted >= needed);
    int code = make_room(reader, base - reader->window_offset, kept, kept + wanted, reterr);
    if (code != 0) {
        return code;
    }
    reader->window_offset = base;
    reader->window_size = kept;
    size_t got = 0;
    code = mim_file_pread(reader->storage, reader->file, reader->window + kept, wanted, base + kept, &got, reterr);
    if (code == 0 && got < wanted) {
        char path[MIM_SEGMENT_PATH_SIZE];
        mim_segment_path(segment_header(reader)->first_position, path);
        code = mim_error_set(reterr, MIM_E_IO, "%s: offset %" PRIu64 ": short read: %zu bytes instead of %" PRIu64,
                             path, base + kept, got, wanted);
    }
    if (code != 0) {
        return code;
    }
    reader->window_size = kept + got;
    reader->consumed += got;
    return 0;
}

/* -------------------------------------------------------------------- frames */

/** Remembers why there is no next frame. */
__attribute__((format(printf, 4, 5))) static int stop(struct mim_reader *reader, enum mim_stop why,
                                                      struct mim_error *reterr, const char *format, ...) {
    reader->stop = why;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reader->reason, sizeof(reader->reason), format, arguments);
    va_end(arguments);
    reader->window_offset = reader->offset; /* what may change until the next try is read again */
    reader->window_size = 0;
    if (why == MIM_STOP_LIMIT || reader->options.limit == 0 || reader_lsn(reader) >= reader->options.limit) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "no more frames");
    }
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(segment_header(reader)->first_position, path);
    return mim_error_set(reterr, MIM_E_DAMAGED,
                         "%s: offset %" PRIu64 ": position %" PRIu64 ": %s, but it was durable up to LSN %" PRIu64,
                         path, reader->offset, reader->position + 1u, reader->reason, reader->options.limit);
}

/** After a ROLL frame: on to the next segment, when there is one. */
static int roll_on(struct mim_reader *reader, struct mim_error *reterr) {
    if (reader->segment + 1u >= reader->segments->count) {
        if (reader->options.limit != 0) {
            return stop(reader, MIM_STOP_LIMIT, reterr, "no next segment yet");
        }
        reader->reason[0] = 0;
        reader->stop = MIM_STOP_END;
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "no more frames");
    }
    const struct mim_segment_header *next = &reader->segments->items[reader->segment + 1u].header;
    char missing[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(reader->position + 1u, missing);
    if (next->base_lsn != reader_lsn(reader) || next->first_position != reader->position + 1u) {
        return stop(reader, MIM_STOP_BAD, reterr, "%s should follow at LSN %" PRIu64 " and is missing", missing,
                    reader_lsn(reader));
    }
    if (next->previous_chain != reader->chain) {
        return stop(reader, MIM_STOP_BAD, reterr, "%s does not continue this segment: chain mismatch", missing);
    }
    mim_epoch_t epoch = reader->epoch;
    enter(reader, reader->segment + 1u, MIM_SEGMENT_HEADER_SIZE);
    reader->epoch = epoch > reader->epoch ? epoch : reader->epoch;
    return 0;
}

/** What a frame that is good in itself must have in common with the one before it. */
static const char *continuity(const struct mim_reader *reader, const struct mim_frame_header *header) {
    if (reader->chain_known && header->previous_chain != reader->chain) {
        return "the frame does not continue the one before it: chain mismatch";
    }
    if (reader->started && header->first_position != reader->position + 1u) {
        return "the frame's first position does not follow the one before it";
    }
    if (header->kind == MIM_FRAME_ROLL && header->first_position == segment_header(reader)->first_position) {
        return "the frame ends a segment without an event: the next one would have its name";
    }
    return NULL;
}

/** Takes a verified frame in and steps behind it. */
static void advance(struct mim_reader *reader, const struct mim_frame_header *header) {
    if (header->kind == MIM_FRAME_DATA) {
        reader->events_lsn = reader_lsn(reader);
        reader->events_size = header->size;
    }
    reader->position = header->first_position + header->event_count - 1u;
    reader->chain = header->chain;
    reader->chain_known = true;
    reader->epoch = header->epoch;
    reader->time_ms = header->base_time_ms > reader->time_ms ? header->base_time_ms : reader->time_ms;
    reader->started = true;
    reader->rolled = header->kind == MIM_FRAME_ROLL;
    reader->offset += header->size;
    if (reader->offset > reader->window_offset + reader->window_size) {
        reader->window_offset = reader->offset; /* headers only: the payload was never read */
        reader->window_size = 0;
    }
}

/** No room for a whole header before `end`: the limit, or the end of the file with or without rest. */
static int stop_short(struct mim_reader *reader, uint64_t available, struct mim_error *reterr) {
    mim_lsn_t limit = reader->options.limit;
    if (limit != 0 && reader_lsn(reader) + available >= limit) {
        return stop(reader, MIM_STOP_LIMIT, reterr, "the limit");
    }
    if (reader->segment + 1u < reader->segments->count) {
        return stop(reader, MIM_STOP_BAD, reterr, "the segment ends without a roll frame");
    }
    return stop(reader, MIM_STOP_END, reterr, "the file ends within a frame header");
}

static int next_frame(struct mim_reader *reader, struct mim_frame *ret_frame, struct mim_error *reterr) {
    if (reader->segments->count == 0) {
        reader->stop = MIM_STOP_END;
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "no more frames");
    }
    int code = 0;
    if (reader->rolled && (code = roll_on(reader, reterr)) != 0) {
        return code;
    }
    if ((code = open_segment(reader, reterr)) != 0) {
        return code;
    }
    uint64_t end = readable_end(reader);
    uint64_t available = end > reader->offset ? end - reader->offset : 0;
    if (available < MIM_FRAME_HEADER_SIZE) {
        return stop_short(reader, available, reterr);
    }
    if ((code = fill(reader, MIM_FRAME_HEADER_SIZE, end, reterr)) != 0) {
        return code;
    }
    const uint8_t *bytes = reader->window + (reader->offset - reader->window_offset);
    struct mim_frame_header header;
    enum mim_frame_verdict verdict =
        mim_frame_check(bytes, available, &segment_header(reader)->history, reader_lsn(reader),
                        /* verify_payload= */ false, &header);
    if (verdict != MIM_FRAME_GOOD) {
        bool cut_by_limit = verdict == MIM_FRAME_SHORT && reader->options.limit != 0 &&
                            reader_lsn(reader) + available >= reader->options.limit;
        enum mim_stop why = cut_by_limit ? MIM_STOP_LIMIT : verdict == MIM_FRAME_ZERO ? MIM_STOP_END : MIM_STOP_BAD;
        return stop(reader, why, reterr, "%s", mim_frame_verdict_text(verdict));
    }
    if (!reader->options.headers_only) {
        if ((code = fill(reader, header.size, end, reterr)) != 0) {
            return code;
        }
        bytes = reader->window + (reader->offset - reader->window_offset);
        if (!reader->options.skip_payload_check &&
            mim_frame_chain(bytes, header.size, header.previous_chain) != header.chain) {
            return stop(reader, MIM_STOP_BAD, reterr, "%s", mim_frame_verdict_text(MIM_FRAME_BAD_PAYLOAD));
        }
    }
    const char *broken = continuity(reader, &header);
    if (broken != NULL) {
        return stop(reader, MIM_STOP_BAD, reterr, "%s", broken);
    }
    *ret_frame = (struct mim_frame){.header = header, .lsn = reader_lsn(reader), .bytes = bytes};
    advance(reader, &header);
    return 0;
}

int mim_reader_next(struct mim_reader *reader, struct mim_frame *ret_frame, struct mim_error *reterr) {
    bool seen_before = reader->window_size > 0;
    int code = next_frame(reader, ret_frame, reterr);
    bool ended = code == MIM_E_NOT_FOUND || code == MIM_E_DAMAGED;
    if (ended && seen_before && reader->stop != MIM_STOP_LIMIT) {
        code = next_frame(reader, ret_frame, reterr); /* a live journal may have grown since these bytes were read */
    }
    return code;
}

/* -------------------------------------------------------------------- ending */

/** Greatest event time of the last DATA frame: its records count from the frame's base time. */
static int last_event_time(struct mim_reader *reader, struct mim_error *reterr) {
    size_t index = mim_segments_find_lsn(reader->segments, reader->events_lsn);
    const struct mim_segment_header *segment = &reader->segments->items[index].header;
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(segment->first_position, path);
    uint8_t *frame = malloc(reader->events_size);
    if (frame == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory reading the last frame");
    }
    mim_file_t file = 0;
    size_t got = 0;
    int code = mim_file_open(reader->storage, path, MIM_OPEN_READ, &file, reterr);
    if (code == 0) {
        code = mim_file_pread(reader->storage, file, frame, reader->events_size, reader->events_lsn - segment->base_lsn,
                              &got, reterr);
        mim_file_close(reader->storage, file);
    }
    if (code == 0 && got == reader->events_size) {
        int64_t base_time_ms = (int64_t)mim_get64(frame + 32);
        struct mim_record record;
        size_t size = 0;
        for (size_t at = MIM_FRAME_HEADER_SIZE; at < got; at += size) {
            size = mim_record_decode(frame + at, got - at, &record);
            if (size == 0) {
                break;
            }
            int64_t time_ms = base_time_ms + record.time_delta_ms;
            reader->time_ms = time_ms > reader->time_ms ? time_ms : reader->time_ms;
        }
    }
    free(frame);
    return code;
}

/** Nothing was read since the reader was placed in the middle of a segment: what stands before it tells position,
 *  epoch and time. Walks over the segment's headers. */
static int look_back(struct mim_reader *reader, struct mim_tail *tail, struct mim_error *reterr) {
    struct mim_segments before = {.items = (struct mim_segment *)segment_header(reader), .count = 1, .capacity = 1};
    struct mim_reader_options options = {.limit = reader_lsn(reader), .headers_only = true};
    struct mim_reader *walker = NULL;
    int code = mim_reader_open(reader->storage, &before, &options, &walker, reterr);
    if (code != 0) {
        return code;
    }
    struct mim_frame frame;
    do {
        code = mim_reader_next(walker, &frame, reterr);
    } while (code == 0);
    if (code == MIM_E_NOT_FOUND) {
        code = 0;
        if (reader_lsn(walker) != tail->lsn) {
            code =
                mim_error_set(reterr, MIM_E_INVALID, "LSN %" PRIu64 " is no frame boundary of the journal", tail->lsn);
        }
    }
    if (code == 0) {
        reader->position = walker->position;
        reader->epoch = walker->epoch;
        reader->time_ms = walker->time_ms;
        reader->events_lsn = walker->events_lsn;
        reader->events_size = walker->events_size;
        if (!reader->chain_known) {
            reader->chain = walker->chain;
            reader->chain_known = true;
        }
        if (walker->chain != reader->chain) {
            tail->foreign_start = true;
            (void)snprintf(tail->reason, sizeof(tail->reason), "the chain before it is not the one asked for");
        }
        reader->rolled = walker->rolled;
        reader->started = true;
    }
    (void)mim_reader_free(walker);
    return code;
}

int mim_reader_ending(struct mim_reader *reader, struct mim_journal_ending *ret_ending, struct mim_error *reterr) {
    struct mim_tail tail = {
        .storage = reader->storage,
        .segments = reader->segments,
        .segment = reader->segment,
        .offset = reader->offset,
        .lsn = reader_lsn(reader),
        .stop = reader->stop,
        .evidence_lsn = reader->options.evidence_lsn,
        .standby = reader->options.standby,
    };
    memcpy(tail.reason, reader->reason, sizeof(tail.reason));
    if (reader->options.limit > tail.evidence_lsn && reader->stop != MIM_STOP_LIMIT) {
        tail.evidence_lsn = reader->options.limit;
    }
    int code = 0;
    if (reader->segments->count > 0 && !reader->started) {
        code = look_back(reader, &tail, reterr);
    }
    if (code == 0 && reader->events_lsn != 0) {
        code = last_event_time(reader, reterr);
    }
    if (code != 0) {
        return code;
    }
    tail.position = reader->position;
    tail.chain = reader->chain;
    tail.epoch = reader->epoch;
    tail.time_ms = reader->time_ms == INT64_MIN ? 0 : reader->time_ms;
    tail.rolled = reader->rolled;
    code = mim_recover_classify(&tail, ret_ending, reterr);
    struct mim_frame frame;
    struct mim_error ignored;
    if (code == 0 && ret_ending->kind != MIM_END_CLEAN && next_frame(reader, &frame, &ignored) == 0) {
        /* What looked bad is a good frame by now: the journal is being written, and this was its end a moment ago. */
        ret_ending->kind = MIM_END_CLEAN;
        ret_ending->torn_size = 0;
        (void)snprintf(ret_ending->text, sizeof(ret_ending->text), "the journal is being written");
    }
    return code;
}
