// SPDX-License-Identifier: MIT
// From a directory to a running image, and from there to one that takes commands. Leans on journal/ for what is on
// disk and on apply.c for what it means.
#include "engine/recovery.h"

#include <stdio.h>

#include "base/assert.h"
#include "engine/internal.h"

#define MIM_RECOVERY_PROGRESS_BYTES (8u << 20)

static int recovery_evidence(struct mim_storage storage, const struct mim_recovery_options *options,
                             struct mim_recovery *recovery, mim_lsn_t *ret_evidence, struct mim_error *reterr) {
    *ret_evidence = options->evidence_lsn;
    struct mim_error why = {0};
    int rc = mim_mark_read(storage, &recovery->mark, &why);
    if (rc == MIM_E_IO) {
        *reterr = why;
        return rc;
    }
    if (rc == MIM_E_DAMAGED || rc == MIM_E_FORMAT) {
        (void)snprintf(recovery->warning, sizeof(recovery->warning),
                       "journal/mark is unreadable and gives no evidence: %.160s", why.text);
    }
    recovery->has_mark = rc == 0;
    if (rc == 0 && recovery->mark.durable_lsn > *ret_evidence) {
        *ret_evidence = recovery->mark.durable_lsn;
    }
    return 0;
}

/** The journal on disk and the image must belong to one history. */
static int recovery_history(struct mim_engine *engine, const struct mim_recovery *recovery, struct mim_error *reterr) {
    const struct mim_history *history = &recovery->segments.items[0].header.history;
    struct mim_engine_point point;
    mim_engine_point(engine, &point);
    if (point.lsn == 0) {
        mim_engine_set_history(engine, history);
    } else if (memcmp(&point.history, history, sizeof(*history)) != 0) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "the image and the journal are of different histories");
    }
    if (recovery->has_mark && memcmp(&recovery->mark.history, history, sizeof(*history)) != 0) {
        return mim_error_set(reterr, MIM_E_DAMAGED,
                             "journal/mark is of another history than the segments: a file is in the wrong directory");
    }
    return 0;
}

/** A journal whose beginning was archived needs an image that covers what is not there. */
static int recovery_covered(const struct mim_engine *engine, const struct mim_recovery *recovery,
                            struct mim_error *reterr) {
    struct mim_engine_point point;
    mim_engine_point(engine, &point);
    const struct mim_segment_header *first = &recovery->segments.items[0].header;
    if (first->base_lsn == 0 || point.lsn >= first->base_lsn) {
        return 0;
    }
    return mim_error_set(reterr, MIM_E_DAMAGED,
                         "journal/ begins at position %llu: positions 1 to %llu were archived and no snapshot in use "
                         "covers them: copy the archived segments back into journal/",
                         (unsigned long long)first->first_position, (unsigned long long)(first->first_position - 1));
}

/** Where reading begins: the image's point; behind a segment's header when it stands at a segment's end. */
static struct mim_reader_options recovery_from(const struct mim_engine *engine, const struct mim_recovery *recovery) {
    struct mim_engine_point point;
    mim_engine_point(engine, &point);
    struct mim_reader_options from = {.from = point.lsn, .previous_chain = point.chain};
    for (size_t i = 0; i < recovery->segments.count; i++) {
        if (recovery->segments.items[i].header.base_lsn == point.lsn && point.lsn != 0) {
            from.from = point.lsn + MIM_SEGMENT_HEADER_SIZE;
        }
    }
    return from;
}

static uint64_t recovery_total(const struct mim_recovery *recovery, mim_lsn_t from) {
    const struct mim_segment *last = &recovery->segments.items[recovery->segments.count - 1];
    uint64_t end = last->header.base_lsn + last->file_size;
    return end > from ? end - from : 0;
}

/** Frames come from the reader itself, or ahead of time from whoever reads for this thread. */
struct recovery_frames {
    struct mim_reader *reader;
    const struct mim_frame_source *source; /* NULL: the reader itself */
    void *context;
};

static struct recovery_frames frames_begin(struct mim_reader *reader, const struct mim_frame_source *source,
                                           uint64_t total) {
    struct recovery_frames frames = {.reader = reader};
    if (source != NULL && total >= source->least) {
        frames.context = source->begin(reader);
        frames.source = frames.context == NULL ? NULL : source;
    }
    return frames;
}

static int frames_next(const struct recovery_frames *frames, struct mim_frame *ret_frame, struct mim_error *reterr) {
    return frames->source == NULL ? mim_reader_next(frames->reader, ret_frame, reterr)
                                  : frames->source->next(frames->context, ret_frame, reterr);
}

static void frames_end(const struct recovery_frames *frames) {
    if (frames->source != NULL) {
        frames->source->end(frames->context);
    }
}

/** Applies frames until there are no more. */
static int recovery_apply(struct mim_engine *engine, const struct recovery_frames *frames,
                          const struct mim_recovery_options *options, uint64_t total, struct mim_recovery *recovery,
                          struct mim_error *reterr) {
    uint64_t reported = 0;
    for (;;) {
        struct mim_frame frame;
        int rc = frames_next(frames, &frame, reterr);
        if (rc != 0) {
            return rc == MIM_E_NOT_FOUND ? 0 : rc;
        }
        rc = mim_engine_apply(engine, &frame, reterr);
        if (rc != 0) {
            size_t n = mim_segments_find_lsn(&recovery->segments, frame.lsn);
            char path[MIM_SEGMENT_PATH_SIZE];
            mim_segment_path(recovery->segments.items[n].header.first_position, path);
            return mim_error_prefix(reterr, "segment %s offset %llu position %llu", path,
                                    (unsigned long long)(frame.lsn - recovery->segments.items[n].header.base_lsn),
                                    (unsigned long long)frame.header.first_position);
        }
        rc = options->applied == NULL ? 0 : options->applied(options->applied_context, &frame, reterr);
        if (rc != 0) {
            return rc;
        }
        recovery->bytes += frame.header.size;
        if (options->progress != NULL && recovery->bytes - reported >= MIM_RECOVERY_PROGRESS_BYTES) {
            reported = recovery->bytes;
            options->progress(options->progress_context, reported, total);
        }
    }
}

static int recovery_replay(struct mim_engine *engine, struct mim_reader *reader,
                           const struct mim_recovery_options *options, uint64_t total, struct mim_recovery *recovery,
                           struct mim_error *reterr) {
    struct mim_engine_point before;
    mim_engine_point(engine, &before);
    struct recovery_frames frames = frames_begin(reader, options->source, total);
    int rc = recovery_apply(engine, &frames, options, total, recovery, reterr);
    frames_end(&frames);
    if (rc != 0) {
        return rc;
    }
    struct mim_engine_point after;
    mim_engine_point(engine, &after);
    recovery->events = after.position - before.position;
    return mim_reader_ending(reader, &recovery->ending, reterr);
}

/** As many whole lines of the list as a sentence holds, and how many there are beside them. */
static int recovery_unreadable(const char *missing, struct mim_error *reterr) {
    const int most = 360;
    int size = 0;
    unsigned more = 0;
    for (const char *line = missing; line != NULL;) {
        const char *end = strchr(line, '\n');
        int upto = (int)((end == NULL ? line + strlen(line) : end) - missing);
        if (more == 0 && upto <= most) {
            size = upto;
        } else {
            more++;
        }
        line = end == NULL ? NULL : end + 1;
    }
    char rest[64] = "";
    if (more > 0) {
        (void)snprintf(rest, sizeof(rest), "\nand %u more: memimage check tells them all", more);
    }
    return mim_error_set(reterr, MIM_E_MODEL, "the model cannot read this journal; missing:\n%.*s%s", size, missing,
                         rest);
}

static int recovery_verdict(const struct mim_engine *engine, const struct mim_recovery_options *options,
                            const struct mim_recovery *recovery, struct mim_error *reterr) {
    if (recovery->ending.kind == MIM_END_DAMAGED) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "%s", recovery->ending.text);
    }
    if (recovery->ending.kind == MIM_END_TORN && options->torn_evidence_lsn > recovery->ending.lsn) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "%s; a snapshot shows that it was durable up to LSN %llu",
                             recovery->ending.text, (unsigned long long)options->torn_evidence_lsn);
    }
    const char *missing = mim_engine_missing(engine);
    if (missing != NULL && options->missing != NULL) {
        options->missing(options->missing_context, missing);
    }
    return missing == NULL ? 0 : recovery_unreadable(missing, reterr);
}

static int recovery_read(struct mim_storage storage, struct mim_engine *engine,
                         const struct mim_recovery_options *options, mim_lsn_t evidence, struct mim_recovery *recovery,
                         struct mim_error *reterr) {
    int rc = recovery_history(engine, recovery, reterr);
    rc = rc != 0 ? rc : recovery_covered(engine, recovery, reterr);
    if (rc != 0) {
        return rc;
    }
    struct mim_reader_options from = recovery_from(engine, recovery);
    from.limit = options->limit;
    from.evidence_lsn = evidence;
    from.standby = recovery->has_mark && recovery->mark.standby;
    struct mim_reader *reader = NULL;
    rc = mim_reader_open(storage, &recovery->segments, &from, &reader, reterr);
    if (rc != 0) {
        return rc;
    }
    rc = recovery_replay(engine, reader, options, recovery_total(recovery, from.from), recovery, reterr);
    (void)mim_reader_free(reader);
    return rc != 0 ? rc : recovery_verdict(engine, options, recovery, reterr);
}

int mim_recovery_run(struct mim_storage storage, struct mim_engine *engine, const struct mim_recovery_options *options,
                     struct mim_recovery *ret_recovery, struct mim_error *reterr) {
    static const struct mim_recovery_options defaults;
    options = options == NULL ? &defaults : options;
    *ret_recovery = (struct mim_recovery){0};
    mim_lsn_t evidence;
    mim_position_t unused = 0;
    int rc = mim_segments_load(storage, &ret_recovery->segments, &unused, reterr);
    if (rc == 0) {
        rc = recovery_evidence(storage, options, ret_recovery, &evidence, reterr);
    }
    if (rc == 0 && ret_recovery->segments.count == 0) {
        struct mim_engine_point point;
        mim_engine_point(engine, &point);
        if (evidence > 0 || point.lsn > 0) {
            rc = mim_error_set(reterr, MIM_E_DAMAGED,
                               "journal/ holds no segment, but it was durable up to LSN %llu: the journal is missing",
                               (unsigned long long)(evidence > point.lsn ? evidence : point.lsn));
        }
    } else if (rc == 0) {
        rc = recovery_read(storage, engine, options, evidence, ret_recovery, reterr);
    }
    if (rc != 0) {
        mim_recovery_deinit(ret_recovery);
    }
    return rc;
}

void mim_recovery_deinit(struct mim_recovery *recovery) { mim_segments_deinit(&recovery->segments); }

/* ---------------------------------------------------- ready for commands */

/** Drives the writer until everything appended may be acknowledged. The spare is left to its own thread. */
static int begin_drain(struct mim_writer *writer, struct mim_appender *appender, struct mim_error *reterr) {
    while (!mim_appender_idle(appender)) {
        int rc = mim_writer_step(writer, 0, reterr);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int begin_epoch(struct mim_storage storage, struct mim_writer *writer, struct mim_appender *appender,
                       const struct mim_writer_options *options, int64_t wall_ms, struct mim_error *reterr) {
    int64_t time_ms = mim_appender_time(appender, wall_ms);
    int rc;
    while ((rc = mim_appender_control(appender, MIM_FRAME_EPOCH, time_ms)) == MIM_E_AGAIN) {
        rc = mim_preparer_step(storage, appender->ring, options->segment_size_max, reterr);
        if (rc < 0) {
            return rc;
        }
        rc = mim_writer_step(writer, 0, reterr);
        if (rc < 0) {
            return rc;
        }
    }
    if (rc != 0) {
        return mim_error_set(reterr, rc, "no room in the journal to begin epoch %u: make room on the disk",
                             appender->epoch);
    }
    rc = begin_drain(writer, appender, reterr);
    return rc != 0 ? rc : mim_writer_begun(writer, reterr);
}

int mim_recovery_begin(struct mim_storage storage, struct mim_engine *engine, struct mim_recovery *recovery,
                       struct mim_ring *ring, const struct mim_writer_options *options,
                       const struct mim_history *new_history, int64_t wall_ms, struct mim_writer **ret_writer,
                       struct mim_appender *ret_appender, struct mim_error *reterr) {
    mim_epoch_t epoch = recovery->ending.epoch + 1;
    if (recovery->ending.kind == MIM_END_TORN) {
        int rc = mim_journal_cut(storage, &recovery->segments, &recovery->ending, epoch, reterr);
        if (rc != 0) {
            return mim_error_prefix(reterr, "cutting the torn tail");
        }
    }
    if (recovery->segments.count == 0) {
        mim_engine_set_history(engine, new_history);
    }
    struct mim_engine_point point;
    mim_engine_point(engine, &point);
    struct mim_writer *writer = NULL;
    struct mim_appender_start start;
    int rc = mim_writer_open(storage, ring, options, &recovery->segments, &recovery->ending, &point.history, wall_ms,
                             &writer, &start, reterr);
    if (rc != 0) {
        return rc;
    }
    start.epoch = epoch;
    if (point.time_ms > start.time_ms) {
        start.time_ms = point.time_ms;
    }
    if (options->standby) {
        start.epoch = recovery->ending.epoch;
    }
    mim_appender_init(ret_appender, ring, &start);
    rc = options->standby ? mim_writer_finish(writer, reterr)
                          : begin_epoch(storage, writer, ret_appender, options, wall_ms, reterr);
    if (rc != 0) {
        (void)mim_writer_free(writer);
        return rc;
    }
    *ret_writer = writer;
    return 0;
}
