// SPDX-License-Identifier: MIT
// The standby's side of the conversation; see standby.h.
#include "replica/standby.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/words.h"

#define STEP_BYTES_MAX ((size_t)1 << 20) /* one step's share: what it may add to others' latency */

/* ---------------------------------------------------------------------------- saying */

__attribute__((format(printf, 2, 3))) static void say(struct mim_standby *standby, const char *format, ...) {
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    MIM_ASSERT(size > 0 && (size_t)size < sizeof(line));
    mim_buffer_append(&standby->out, line, (size_t)size);
}

static void say_bulk(struct mim_standby *standby, const char *text) {
    char head[32];
    int size = snprintf(head, sizeof(head), "$%zu\r\n", strlen(text));
    mim_buffer_append(&standby->out, head, (size_t)size);
    mim_buffer_text(&standby->out, text);
    mim_buffer_text(&standby->out, "\r\n");
}

/** Where our journal ends. */
static struct mim_replica_point own_point(const struct mim_standby *standby) {
    struct mim_replica_point point = {.empty = standby->setup.appender == NULL};
    if (!point.empty) {
        struct mim_engine_point image;
        mim_engine_point(standby->setup.engine, &image);
        point.history = image.history;
        point.epoch = standby->setup.appender->epoch;
        point.lsn = standby->setup.appender->next_lsn;
        point.chain = image.chain;
        point.position = image.position;
    }
    return point;
}

static void ask_to_follow(struct mim_standby *standby) {
    struct mim_replica_point point = own_point(standby);
    char history[MIM_HISTORY_TEXT_SIZE] = "?";
    if (!point.empty) {
        mim_history_text(&point.history, history);
    }
    const char *identity = standby->setup.identity;
    say(standby, "REPLICATE %u %s %u %" PRIu64 " %016" PRIx64 " %" PRIu64 " %u%s%s\r\n", MIM_REPLICA_PROTOCOL, history,
        point.epoch, point.lsn, point.chain, point.position, standby->setup.port, identity[0] == '\0' ? "" : " ",
        identity);
    standby->state = MIM_STANDBY_ASKING;
}

void mim_standby_begin(struct mim_standby *standby, const struct mim_standby_setup *setup) {
    *standby = (struct mim_standby){.setup = *setup};
    if (setup->password == NULL) {
        ask_to_follow(standby);
        return;
    }
    standby->state = MIM_STANDBY_GREETING;
    say(standby, "*%d\r\n$4\r\nAUTH\r\n", setup->user == NULL ? 2 : 3);
    if (setup->user != NULL) {
        say_bulk(standby, setup->user);
    }
    say_bulk(standby, setup->password);
}

void mim_standby_end(struct mim_standby *standby) {
    mim_inbox_deinit(&standby->inbox);
    mim_buffer_deinit(&standby->out);
    mim_incoming_end(&standby->incoming);
    mim_segments_deinit(&standby->segments);
    mim_divergence_end(&standby->divergence);
}

void mim_standby_confirm(struct mim_standby *standby, mim_lsn_t durable_lsn, mim_position_t durable_position,
                         bool always) {
    if (standby->state == MIM_STANDBY_STREAMING && (always || durable_lsn != standby->acked_lsn)) {
        standby->acked_lsn = durable_lsn;
        say(standby, "REPLACK %" PRIu64 " %" PRIu64 "\r\n", durable_lsn, durable_position);
    }
}

const char *mim_standby_state_name(const struct mim_standby *standby) {
    static const char *const names[] = {"connecting", "connecting", "connected", "sync", "sync", "comparing"};
    return names[standby->state];
}

/* --------------------------------------------------------------------------- the welcome */

static enum mim_standby_verdict refuse(struct mim_error *reterr, const char *text) {
    (void)mim_error_set(reterr, MIM_E_STATE, "%s", text);
    return MIM_STANDBY_CLOSE;
}

static enum mim_standby_verdict failed(int code) {
    return code == MIM_E_DAMAGED || code == MIM_E_MEMORY || code == MIM_E_MODEL ? MIM_STANDBY_BROKEN
                                                                                : MIM_STANDBY_CLOSE;
}

static void ask_probe(struct mim_standby *standby) {
    struct mim_boundary boundaries[MIM_PROBE_MAX];
    size_t count = mim_divergence_ask(&standby->divergence, boundaries);
    say(standby, "*%zu\r\n$9\r\nREPLPROBE\r\n", 1 + 2 * count);
    for (size_t i = 0; i < count; i++) {
        char text[24];
        (void)snprintf(text, sizeof(text), "%" PRIu64, boundaries[i].lsn);
        say_bulk(standby, text);
        (void)snprintf(text, sizeof(text), "%016" PRIx64, boundaries[i].chain);
        say_bulk(standby, text);
    }
}

static enum mim_standby_verdict probe_begin(struct mim_standby *standby, struct mim_error *reterr) {
    if (!standby->setup.rewind) {
        return refuse(reterr, "this journal holds frames that the primary has not, and --no-rewind forbids to set them "
                              "aside: this directory does not follow");
    }
    mim_position_t unused = 0;
    int rc = mim_segments_load(standby->setup.storage, &standby->segments, &unused, reterr);
    rc = rc != 0 ? rc : mim_divergence_begin(&standby->divergence, &standby->segments, reterr);
    if (rc != 0) {
        return failed(rc);
    }
    standby->state = MIM_STANDBY_PROBING;
    ask_probe(standby);
    return MIM_STANDBY_MORE;
}

static enum mim_standby_verdict probe_answered(struct mim_standby *standby, int64_t index, struct mim_error *reterr) {
    if (index < -1 || index >= (int64_t)MIM_PROBE_MAX) {
        return refuse(reterr, "the primary answers what was not asked");
    }
    int rc =
        mim_divergence_answer(&standby->divergence, standby->setup.storage, &standby->segments, (int)index, reterr);
    if (rc != 0) {
        return failed(rc);
    }
    struct mim_boundary none[MIM_PROBE_MAX];
    if (mim_divergence_ask(&standby->divergence, none) > 0) {
        ask_probe(standby);
        return MIM_STANDBY_MORE;
    }
    return mim_divergence_point(&standby->divergence, &standby->point) ? MIM_STANDBY_REWIND : MIM_STANDBY_SET_ASIDE;
}

static enum mim_standby_verdict copy_begin(struct mim_standby *standby) {
    standby->state = MIM_STANDBY_LISTING;
    say(standby, "REPLFILES %s\r\n", standby->setup.tail_only ? "tail" : "all");
    return MIM_STANDBY_MORE;
}

static enum mim_standby_verdict stream_begin(struct mim_standby *standby, struct mim_error *reterr) {
    if (standby->setup.appender == NULL) {
        return refuse(reterr, "the primary sends frames to a standby without a journal");
    }
    standby->state = MIM_STANDBY_STREAMING;
    standby->acked_lsn = 0;
    return MIM_STANDBY_MORE;
}

/** "WORD history epoch" */
static enum mim_standby_verdict welcomed(struct mim_standby *standby, struct mim_slice text, struct mim_error *reterr) {
    char line[128];
    char word[16];
    char history[40];
    unsigned epoch = 0;
    (void)snprintf(line, sizeof(line), "%.*s", (int)(text.size < 127 ? text.size : 127), (const char *)text.data);
    if (sscanf(line, "%15s %39s %u", word, history, &epoch) != 3 ||
        !mim_history_parse(mim_slice_text(history), &standby->primary_history)) {
        return refuse(reterr, "the primary's answer to REPLICATE is none that this version knows");
    }
    standby->primary_epoch = epoch;
    if (strcmp(word, "CONTINUE") == 0) {
        return stream_begin(standby, reterr);
    }
    if (strcmp(word, "FILES") == 0) {
        return copy_begin(standby);
    }
    if (strcmp(word, "PROBE") == 0) {
        return probe_begin(standby, reterr);
    }
    if (strcmp(word, "FOREIGN") == 0) {
        return standby->setup.rewind
                   ? MIM_STANDBY_SET_ASIDE
                   : refuse(reterr, "the primary has another history, and --no-rewind forbids to set ours aside");
    }
    standby->foreign_primary_newer = strcmp(word, "NEWER") == 0;
    return refuse(reterr, standby->foreign_primary_newer
                              ? "the primary's epoch is below ours: it is a former primary and has stopped taking "
                                "commands; make it follow, or start this standby with an empty directory"
                              : "the primary's answer to REPLICATE is none that this version knows");
}

/* ------------------------------------------------------------------------------- copying */

static void ask_pieces(struct mim_standby *standby) {
    const char *path;
    uint64_t offset;
    uint32_t size;
    while (mim_incoming_ask(&standby->incoming, &path, &offset, &size)) {
        say(standby, "REPLREAD %s %" PRIu64 " %u\r\n", path, offset, size);
    }
}

static enum mim_standby_verdict copy_look(struct mim_standby *standby, struct mim_error *reterr) {
    if (!mim_incoming_complete(&standby->incoming)) {
        ask_pieces(standby);
        return MIM_STANDBY_MORE;
    }
    int rc = mim_incoming_finish(&standby->incoming, reterr);
    return rc == 0 ? MIM_STANDBY_INSTALL : failed(rc);
}

static enum mim_standby_verdict list_entry(struct mim_standby *standby, struct mim_slice entry,
                                           struct mim_error *reterr) {
    int rc = mim_incoming_add(&standby->incoming, entry, reterr);
    if (rc == 0 && --standby->list_left == 0) {
        standby->state = MIM_STANDBY_COPYING;
        rc = mim_incoming_start(&standby->incoming, reterr);
        return rc == 0 ? copy_look(standby, reterr) : failed(rc);
    }
    return rc == 0 ? MIM_STANDBY_MORE : failed(rc);
}

/** "source count": then so many entries follow. */
static enum mim_standby_verdict list_begin(struct mim_standby *standby, struct mim_slice text,
                                           struct mim_error *reterr) {
    char line[128];
    char run[64];
    char source[MIM_INCOMING_SOURCE_MAX];
    char history[MIM_HISTORY_TEXT_SIZE];
    size_t count = 0;
    (void)snprintf(line, sizeof(line), "%.*s", (int)(text.size < 127 ? text.size : 127), (const char *)text.data);
    if (sscanf(line, "%63s %zu", run, &count) != 2 || count == 0 || count > MIM_INCOMING_FILES_MAX) {
        return refuse(reterr, "the primary's list of files is none that this version knows");
    }
    mim_history_text(&standby->primary_history, history);
    (void)snprintf(source, sizeof(source), "%.32s %.51s %.40s", history, run, standby->setup.boot);
    standby->list_left = count;
    int rc = mim_incoming_begin(&standby->incoming, standby->setup.storage, source, reterr);
    return rc == 0 ? MIM_STANDBY_MORE : failed(rc);
}

static enum mim_standby_verdict piece_came(struct mim_standby *standby, struct mim_slice piece,
                                           struct mim_error *reterr) {
    int rc = mim_incoming_put(&standby->incoming, piece, reterr);
    return rc == 0 ? copy_look(standby, reterr) : failed(rc);
}

/* ----------------------------------------------------------------------------- streaming */

/** One frame: checked, copied into the ring, applied, taken in. 0; AGAIN, NO_SPACE: nothing happened; others. */
static int frame_take(struct mim_standby *standby, struct mim_slice bytes, size_t *ret_size, struct mim_error *reterr) {
    struct mim_appender *appender = standby->setup.appender;
    struct mim_engine_point point;
    mim_engine_point(standby->setup.engine, &point);
    struct mim_frame frame = {.lsn = appender->next_lsn};
    enum mim_frame_verdict verdict =
        mim_frame_check(bytes.data, bytes.size, &point.history, frame.lsn, true, &frame.header);
    if (verdict != MIM_FRAME_GOOD || frame.header.previous_chain != point.chain ||
        frame.header.first_position != point.position + 1) {
        return mim_error_set(reterr, MIM_E_INVALID, "the frame for LSN %" PRIu64 " does not follow our journal: %s",
                             frame.lsn, mim_frame_verdict_text(verdict));
    }
    int rc = mim_appender_verbatim_copy(appender, &frame.header, bytes.data, &frame.bytes);
    if (rc != 0) {
        return rc;
    }
    rc = mim_engine_apply(standby->setup.engine, &frame, reterr);
    const char *missing = rc == 0 ? mim_engine_missing(standby->setup.engine) : NULL;
    if (missing != NULL) {
        return mim_error_set(reterr, MIM_E_MODEL, "the model cannot read what the primary sends; missing:\n%s",
                             missing);
    }
    if (rc != 0) {
        return rc == MIM_E_MEMORY ? rc : mim_error_set(reterr, MIM_E_DAMAGED, "%s", reterr->text);
    }
    mim_appender_verbatim_commit(appender, &frame.header);
    standby->frames++;
    standby->bytes += frame.header.size;
    *ret_size = frame.header.size;
    return 0;
}

/** Begins the scan that the primary asked for, when the image is exactly there and no other scan runs. */
static void scan_look(struct mim_standby *standby) {
    struct mim_engine_point point;
    struct mim_error ignored = {0};
    mim_engine_point(standby->setup.engine, &point);
    if (standby->scan_position == 0 || standby->scan_begun || point.position < standby->scan_position) {
        return;
    }
    standby->scan_begun = point.position == standby->scan_position && !mim_engine_scanning(standby->setup.engine) &&
                          mim_engine_scan_begin(standby->setup.engine, &ignored) == 0;
    standby->scan_position = 0;
}

/** A batch of frames, "frames lsn bytes". Those that were taken in before a stall are passed over. */
static enum mim_standby_verdict frames_come(struct mim_standby *standby, const struct mim_inbox_message *message,
                                            struct mim_error *reterr) {
    uint64_t lsn = 0;
    struct mim_slice bytes = message->parts[2];
    if (message->count != 3 || !mim_word_number(message->parts[1], 10, &lsn) || bytes.size > MIM_INBOX_SIZE_MAX) {
        return refuse(reterr, "the primary's frames are not as this version knows them");
    }
    mim_lsn_t next = standby->setup.appender->next_lsn;
    if (next < lsn || next > lsn + bytes.size + MIM_SEGMENT_HEADER_SIZE) {
        return refuse(reterr, "the primary sends frames for another place than ours");
    }
    for (size_t at = (size_t)(next - lsn); at < bytes.size;) {
        size_t size = 0;
        int rc = frame_take(standby, mim_slice_of(bytes.data + at, bytes.size - at), &size, reterr);
        if (rc == MIM_E_AGAIN || rc == MIM_E_NO_SPACE) {
            return MIM_STANDBY_STALLED;
        }
        if (rc != 0) {
            return failed(rc);
        }
        at += size;
        scan_look(standby);
    }
    return MIM_STANDBY_MORE;
}

static enum mim_standby_verdict pushed(struct mim_standby *standby, const struct mim_inbox_message *message,
                                       struct mim_error *reterr) {
    const struct mim_slice *parts = message->parts;
    uint64_t numbers[3] = {0};
    if (message->count >= 3 && mim_slice_equal(parts[0], mim_slice_text("frames"))) {
        return frames_come(standby, message, reterr);
    }
    if (message->count >= 2 && mim_word_number(parts[1], 10, &numbers[0])) {
        if (mim_slice_equal(parts[0], mim_slice_text("beat")) && message->count >= 4 &&
            mim_word_number(parts[2], 10, &numbers[1]) && mim_word_number(parts[3], 10, &numbers[2])) {
            standby->primary_lsn = numbers[0];
            standby->primary_position = numbers[1];
            standby->primary_epoch = (mim_epoch_t)numbers[2];
            return MIM_STANDBY_MORE;
        }
        if (mim_slice_equal(parts[0], mim_slice_text("scan"))) {
            standby->scan_position = numbers[0];
            scan_look(standby);
            return MIM_STANDBY_MORE;
        }
        if (mim_slice_equal(parts[0], mim_slice_text("digest")) && message->count >= 3 &&
            mim_word_number(parts[2], 10, &standby->told_digest)) {
            standby->told_position = numbers[0];
            return MIM_STANDBY_MORE;
        }
        struct mim_engine_point point;
        mim_engine_point(standby->setup.engine, &point);
        if (mim_slice_equal(parts[0], mim_slice_text("promote")) && numbers[0] == point.position) {
            return MIM_STANDBY_PROMOTE;
        }
    }
    return MIM_STANDBY_MORE; /* a word of a later version */
}

/* ------------------------------------------------------------------------------ messages */

static enum mim_standby_verdict message_take(struct mim_standby *standby, const struct mim_inbox_message *message,
                                             struct mim_error *reterr) {
    if (message->kind == MIM_INBOX_ERROR) {
        (void)mim_error_set(reterr, MIM_E_STATE, "the primary says: %.*s",
                            (int)(message->text.size < 300 ? message->text.size : 300),
                            (const char *)message->text.data);
        return MIM_STANDBY_CLOSE;
    }
    switch (standby->state) {
    case MIM_STANDBY_GREETING:
        if (message->kind == MIM_INBOX_STATUS) {
            ask_to_follow(standby);
            return MIM_STANDBY_MORE;
        }
        break;
    case MIM_STANDBY_ASKING:
        if (message->kind == MIM_INBOX_STATUS) {
            return welcomed(standby, message->text, reterr);
        }
        break;
    case MIM_STANDBY_STREAMING:
        if (message->kind == MIM_INBOX_ARRAY && message->count > 0) {
            return pushed(standby, message, reterr);
        }
        break;
    case MIM_STANDBY_LISTING:
        if (message->kind == MIM_INBOX_STATUS && standby->list_left == 0) {
            return list_begin(standby, message->text, reterr);
        }
        if (message->kind == MIM_INBOX_BULK && standby->list_left > 0) {
            return list_entry(standby, message->text, reterr);
        }
        break;
    case MIM_STANDBY_COPYING:
        if (message->kind == MIM_INBOX_BULK) {
            return piece_came(standby, message->text, reterr);
        }
        break;
    case MIM_STANDBY_PROBING:
        if (message->kind == MIM_INBOX_INTEGER) {
            return probe_answered(standby, message->integer, reterr);
        }
        break;
    }
    return refuse(reterr, "the primary says something that does not fit here");
}

enum mim_standby_verdict mim_standby_step(struct mim_standby *standby, struct mim_error *reterr) {
    for (size_t done = 0; done < STEP_BYTES_MAX;) {
        struct mim_inbox_message message;
        int rc = mim_inbox_peek(&standby->inbox, &message, reterr);
        if (rc == MIM_E_AGAIN) {
            return MIM_STANDBY_MORE;
        }
        if (rc != 0) {
            return MIM_STANDBY_CLOSE;
        }
        enum mim_standby_verdict verdict = message_take(standby, &message, reterr);
        if (verdict != MIM_STANDBY_STALLED) {
            mim_inbox_drop(&standby->inbox, message.size);
        }
        if (verdict != MIM_STANDBY_MORE) {
            return verdict;
        }
        done += message.size;
    }
    return MIM_STANDBY_BUSY;
}
