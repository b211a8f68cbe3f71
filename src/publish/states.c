// SPDX-License-Identifier: MIT
// The read model: the JSON of every changed aggregate under TYPE:ID. A second cursor walks the journal and writes, for
// the newest event of an aggregate, the aggregate as it is in the image; how far that is complete stands in Redis beside
// the stream, written by the same call, so a crash of either side only makes some states be written again.
//
// What may be shown. An event that the cursor hands out is durable. If the aggregate's newest event is that one, so is
// its state. If newer ones are all durable, the cursor meets them later. If the newest is not durable yet, the JSON is
// taken now and kept until its gate has passed, so that an aggregate that changes all the time is shown too; the
// read model does not count as complete beyond the event meanwhile.
#include "publish/internal.h"
#include "publish/wire.h"

#define CLOCK_EVENTS 32u
#define FLOOR_STEP   4096u /* without anything to write, completeness is told in such steps */

void mim_publish_states_reset(struct mim_publisher *p, mim_position_t done) {
    mim_cursor_init(&p->state_cursor, done + 1);
    p->states_sent = done;
    p->states_done = done;
    p->capture_count = 0;
    p->capture_bytes = 0;
}

/** Up to here every aggregate is written, once what is on its way has arrived. */
static mim_position_t complete(const struct mim_publisher *p) {
    mim_position_t position = p->state_cursor.position;
    for (uint32_t i = 0; i < p->capture_count; i++) {
        position = p->captures[i].position < position ? p->captures[i].position : position;
    }
    return position - 1;
}

static bool capture_ready(const struct mim_publisher *p) {
    for (uint32_t i = 0; i < p->capture_count; i++) {
        if (p->captures[i].gate <= p->gate.lsn) {
            return true;
        }
    }
    return false;
}

static bool at_end(const struct mim_publisher *p) { return p->state_cursor.position > p->gate.position; }

static bool cursor_due(const struct mim_publisher *p) {
    return !at_end(p) && p->capture_count < MIM_PUBLISH_CAPTURES && p->capture_bytes < MIM_PUBLISH_CAPTURE_BYTES;
}

bool mim_publish_states_due(const struct mim_publisher *p) {
    if (!p->options.states || !mim_publish_calls_room(&p->state_calls)) {
        return false;
    }
    bool full = p->gate.position - p->state_cursor.position + 1 > MIM_PUBLISH_CALL_EVENTS;
    bool free = p->state_calls.count == 0 && !p->states_paced;
    if (cursor_due(p)) {
        return free || full;
    }
    return free && (capture_ready(p) || (at_end(p) && complete(p) > p->states_sent));
}

static void state_add(struct mim_publisher *p, unsigned aggregate, mim_stream_t stream, mim_version_t version,
                      struct mim_slice json) {
    struct mim_slice id = mim_engine_id(p->source.engine, aggregate, stream);
    mim_wire_joined(&p->keys, mim_engine_compiled(p->source.engine)->model->aggregates[aggregate].name, ':', id);
    mim_wire_number(&p->values, version);
    mim_wire_bulk(&p->values, json);
}

/** Captures whose time has come; the others move up. Returns how many were added. */
static uint32_t captures_take(struct mim_publisher *p) {
    uint32_t kept = 0;
    uint32_t count = p->capture_count;
    for (uint32_t i = 0; i < count; i++) {
        struct mim_publish_capture *capture = &p->captures[i];
        if (capture->gate <= p->gate.lsn) {
            state_add(p, capture->aggregate, capture->stream, capture->version,
                      mim_slice_of(capture->json.data, capture->json.size));
            p->capture_bytes -= capture->json.size;
        } else {
            struct mim_publish_capture moved = *capture;
            *capture = p->captures[kept];
            p->captures[kept++] = moved; /* swapped: each keeps its memory */
        }
    }
    p->capture_count = kept;
    return count - kept;
}

static void capture_add(struct mim_publisher *p, const struct mim_journal_event *event, unsigned aggregate) {
    for (uint32_t i = 0; i < p->capture_count; i++) {
        if (p->captures[i].aggregate == aggregate && p->captures[i].stream == event->record.stream &&
            p->captures[i].version >= event->record.version) {
            return; /* it shows this event too */
        }
    }
    struct mim_publish_capture *capture = &p->captures[p->capture_count++];
    capture->aggregate = aggregate;
    capture->stream = event->record.stream;
    capture->position = event->position;
    capture->json.size = 0;
    mim_engine_state(p->source.engine, p->source.appender, aggregate, event->record.stream, &capture->json,
                     &capture->version, &capture->gate);
    p->capture_bytes += capture->json.size;
}

/** Returns how many states were added: 0 or 1. */
static uint32_t event_look(struct mim_publisher *p, const struct mim_journal_event *event,
                           const struct mim_event_about *about) {
    if ((p->aggregates >> about->aggregate & 1u) == 0) {
        return 0;
    }
    mim_version_t version = about->newest_version;
    if (version == event->record.version) {
        mim_lsn_t gate;
        p->text.size = 0;
        mim_engine_state(p->source.engine, p->source.appender, about->aggregate, event->record.stream, &p->text,
                         &version, &gate);
        state_add(p, about->aggregate, event->record.stream, version, mim_slice_of(p->text.data, p->text.size));
        return 1;
    }
    if (mim_engine_gate(p->source.engine, p->source.appender, about->aggregate, event->record.stream) > p->gate.lsn) {
        capture_add(p, event, about->aggregate);
    }
    return 0;
}

/* ------------------------------------------------------------------- answers */

static void on_states(redisAsyncContext *context, void *answer, void *unused) {
    (void)unused;
    const redisReply *reply = answer;
    struct mim_publisher *p = mim_publish_answered(context, reply);
    if (p == NULL) {
        return;
    }
    struct mim_publish_call call = mim_publish_calls_pop(&p->state_calls);
    if (reply->type == REDIS_REPLY_ERROR) {
        mim_publish_refused(p, reply);
    } else if (reply->type != REDIS_REPLY_INTEGER) {
        mim_publish_fail(p, "an answer that Redis would not give: not a Redis?");
    } else {
        p->states_done = call.upto;
        p->states_done_count += call.events;
        mim_publish_proven(p);
    }
}

/* --------------------------------------------------------------------- calls */

static void call_send(struct mim_publisher *p, uint32_t count) {
    p->out.size = 0;
    mim_wire_head(&p->out, '*', 7u + (uint64_t)count * 3u);
    mim_wire_text(&p->out, "EVALSHA");
    mim_wire_text(&p->out, p->sha_states);
    mim_wire_number(&p->out, 2u + (uint64_t)count);
    mim_wire_text(&p->out, p->about);
    mim_wire_text(&p->out, p->versions);
    mim_buffer_append(&p->out, p->keys.data, p->keys.size);
    mim_wire_text(&p->out, p->history);
    mim_wire_number(&p->out, complete(p));
    mim_buffer_append(&p->out, p->values.data, p->values.size);
    const struct mim_publish_call call = {.events = count, .bytes = p->out.size, .upto = complete(p)};
    mim_publish_calls_push(&p->state_calls, &call);
    p->states_sent = call.upto;
    if (count < MIM_PUBLISH_CALL_EVENTS) {
        mim_publish_pace(p, &p->states_paced);
    }
    mim_publish_send(p, on_states, &p->out);
}

static int frame_take(struct mim_publisher *p, const struct mim_frame *frame, uint64_t deadline_ns, uint32_t *count,
                      struct mim_error *reterr) {
    for (unsigned looked = 1;; looked++) {
        struct mim_journal_event event;
        struct mim_event_about about;
        if (*count >= MIM_PUBLISH_CALL_EVENTS || p->values.size >= MIM_PUBLISH_CALL_BYTES || !cursor_due(p) ||
            (looked % CLOCK_EVENTS == 0 && mim_publish_now(p) >= deadline_ns)) {
            return 0;
        }
        int rc = mim_cursor_event(&p->state_cursor, frame, &event, reterr);
        rc = rc != 0 ? rc : mim_cloudevents_about(p->events, &event, &about, reterr);
        if (rc != 0) {
            return rc;
        }
        *count += event_look(p, &event, &about);
        mim_cursor_taken(&p->state_cursor, &event);
    }
}

static void call_make(struct mim_publisher *p, uint64_t deadline_ns) {
    struct mim_frame frame;
    struct mim_error error = {0};
    p->keys.size = 0;
    p->values.size = 0;
    uint32_t count = captures_take(p);
    int rc = MIM_E_NOT_FOUND;
    while (rc == MIM_E_NOT_FOUND && cursor_due(p) && mim_publish_now(p) < deadline_ns) {
        rc = mim_cursor_frame(&p->state_cursor, p->access, &frame, &error);
        if (rc != 0) {
            break;
        }
        rc = frame_take(p, &frame, deadline_ns, &count, &error);
    }
    mim_position_t done = complete(p);
    if (rc != 0 && rc != MIM_E_NOT_FOUND && rc != MIM_E_AGAIN) {
        mim_publish_unreadable(p, p->state_cursor.position, &error);
    } else if (count > 0 || done >= p->states_sent + FLOOR_STEP || (at_end(p) && done > p->states_sent)) {
        call_send(p, count);
    }
}

void mim_publish_states(struct mim_publisher *p, uint64_t deadline_ns) {
    while (p->phase == MIM_PUBLISH_LIVE && mim_publish_states_due(p)) {
        mim_position_t before = p->state_cursor.position;
        call_make(p, deadline_ns);
        if (p->state_cursor.position == before || mim_publish_now(p) >= deadline_ns) {
            break;
        }
    }
}
