// SPDX-License-Identifier: MIT
// Events of the journal into calls, and the answers to them. A call is one Lua call with up to 256 events; several are on
// their way at once. One that is not full waits until none is, and for two milliseconds behind the last: so calls grow with
// the load, and a Redis on the same cores is not woken for every few events.
#include <stdio.h>

#include "publish/internal.h"
#include "publish/wire.h"

#define CLOCK_EVENTS 32u /* events between two looks at the clock */

unsigned mim_publish_stride(const struct mim_publish_options *options) {
    return options->fat || options->channels || options->audiences ? 6 : 5;
}

bool mim_publish_entries_due(const struct mim_publisher *p) {
    if (p->cursor.position > p->gate.position || !mim_publish_calls_room(&p->calls)) {
        return false;
    }
    return (p->calls.count == 0 && !p->entries_paced) ||
           p->gate.position - p->cursor.position >= MIM_PUBLISH_CALL_EVENTS;
}

/** What a thin PUBLISH carries: the entry's fields as a JSON object. */
static void thin_json(struct mim_publisher *p, const struct mim_journal_event *event,
                      const struct mim_event_about *about, struct mim_slice audience) {
    char text[MIM_NAME_SIZE_MAX + MIM_ID_SIZE_MAX + 2];
    struct mim_json j = mim_json_to(&p->text);
    mim_json_object(&j);
    mim_json_key(&j, "id");
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)event->position);
    mim_json_string(&j, mim_string_of(text));
    mim_json_key(&j, "type");
    mim_json_string(&j, mim_string_of(about->type));
    mim_json_key(&j, "subject");
    (void)snprintf(text, sizeof(text), "%s/%.*s", about->aggregate_type, (int)about->id.size,
                   (const char *)about->id.data);
    mim_json_string(&j, mim_string_of(text));
    mim_json_key(&j, "position");
    mim_json_u64(&j, event->position);
    mim_json_key(&j, "version");
    mim_json_u64(&j, event->record.version);
    if (audience.size > 0) {
        mim_json_key(&j, "audience");
        mim_json_string(&j, (struct mim_string){.data = (const char *)audience.data, .size = audience.size});
    }
    mim_json_object_end(&j);
}

int mim_publish_entry(struct mim_publisher *p, const struct mim_journal_event *event,
                      const struct mim_event_about *about, struct mim_error *reterr) {
    p->text.size = 0;
    p->audience.size = 0;
    size_t size = mim_event_audience(&event->record, &p->audience);
    struct mim_slice audience = mim_slice_of(p->audience.data, size);
    mim_wire_number(&p->body, event->position);
    mim_wire_text(&p->body, about->type);
    mim_wire_joined(&p->body, about->aggregate_type, '/', about->id);
    mim_wire_number(&p->body, event->record.version);
    mim_wire_bulk(&p->body, audience);
    if (mim_publish_stride(&p->options) == 5) {
        return 0;
    }
    int rc = 0;
    if (p->options.fat) {
        rc = mim_cloudevents_encode(p->events, event, &p->text, reterr);
    } else {
        thin_json(p, event, about, audience);
    }
    mim_wire_bulk(&p->body, mim_slice_of(p->text.data, p->text.size));
    return rc;
}

/* ------------------------------------------------------------------- answers */

static void on_entries(redisAsyncContext *context, void *answer, void *unused) {
    (void)unused;
    const redisReply *reply = answer;
    struct mim_publisher *p = mim_publish_answered(context, reply);
    if (p == NULL) {
        return;
    }
    struct mim_publish_call call = mim_publish_calls_pop(&p->calls);
    if (reply->type == REDIS_REPLY_ERROR) {
        mim_publish_refused(p, reply);
    } else if (reply->type != REDIS_REPLY_INTEGER) {
        mim_publish_fail(p, "an answer that Redis would not give: not a Redis?");
    } else {
        /* what was looked at since and not wanted counts when nothing else is on its way */
        p->acknowledged = p->calls.count == 0 ? p->cursor.position - 1 : call.upto;
        p->acknowledged_id = call.last_id;
        p->events_done += call.events;
        mim_publish_proven(p);
    }
}

/* --------------------------------------------------------------------- calls */

static void call_send(struct mim_publisher *p, uint32_t events, mim_position_t last_id) {
    char last[32];
    (void)snprintf(last, sizeof(last), "%llu-0", (unsigned long long)p->last_id);
    p->out.size = 0;
    mim_wire_head(&p->out, '*', 8u + (uint64_t)events * mim_publish_stride(&p->options));
    mim_wire_text(&p->out, "EVALSHA");
    mim_wire_text(&p->out, p->sha_entries);
    mim_wire_text(&p->out, "2");
    mim_wire_text(&p->out, p->stream);
    mim_wire_text(&p->out, p->about);
    mim_wire_text(&p->out, p->history);
    mim_wire_text(&p->out, last);
    mim_wire_number(&p->out, p->options.maxlen);
    mim_buffer_append(&p->out, p->body.data, p->body.size);
    const struct mim_publish_call call = {
        .events = events, .bytes = p->out.size, .last_id = last_id, .upto = p->cursor.position - 1};
    mim_publish_calls_push(&p->calls, &call);
    p->last_id = last_id;
    if (events < MIM_PUBLISH_CALL_EVENTS) {
        mim_publish_pace(p, &p->entries_paced);
    }
    mim_publish_send(p, on_entries, &p->out);
}

static bool wanted(struct mim_publisher *p, const struct mim_journal_event *event,
                   const struct mim_event_about *about) {
    return (p->aggregates >> about->aggregate & 1u) != 0 &&
           (p->filter.types == NULL || mim_event_filter_wants(&p->filter, p->source.engine, event));
}

/** Takes events of one frame into the body. 0: the call is full, or the slice is over; NOT_FOUND: the frame is. */
static int frame_take(struct mim_publisher *p, const struct mim_frame *frame, uint64_t deadline_ns, uint32_t *events,
                      mim_position_t *last_id, struct mim_error *reterr) {
    for (unsigned looked = 1;; looked++) {
        struct mim_journal_event event;
        struct mim_event_about about;
        if (*events >= MIM_PUBLISH_CALL_EVENTS || p->body.size >= MIM_PUBLISH_CALL_BYTES ||
            (looked % CLOCK_EVENTS == 0 && mim_publish_now(p) >= deadline_ns)) {
            return 0;
        }
        int rc = mim_cursor_event(&p->cursor, frame, &event, reterr);
        rc = rc != 0 ? rc : mim_cloudevents_about(p->events, &event, &about, reterr);
        if (rc == 0 && wanted(p, &event, &about)) {
            rc = mim_publish_entry(p, &event, &about, reterr);
            *last_id = event.position;
            ++*events;
        }
        if (rc != 0) {
            return rc;
        }
        mim_cursor_taken(&p->cursor, &event);
    }
}

/** One call, as full as the journal and the slice allow. */
static void call_make(struct mim_publisher *p, uint64_t deadline_ns) {
    struct mim_frame frame;
    struct mim_error error = {0};
    uint32_t events = 0;
    mim_position_t last_id = p->last_id;
    int rc = MIM_E_NOT_FOUND;
    p->body.size = 0;
    while (rc == MIM_E_NOT_FOUND && p->cursor.position <= p->gate.position && mim_publish_now(p) < deadline_ns) {
        rc = mim_cursor_frame(&p->cursor, p->access, &frame, &error);
        if (rc != 0) {
            break; /* at the end, or AGAIN: another slice */
        }
        rc = frame_take(p, &frame, deadline_ns, &events, &last_id, &error);
    }
    if (rc != 0 && rc != MIM_E_NOT_FOUND && rc != MIM_E_AGAIN) {
        mim_publish_unreadable(p, p->cursor.position, &error);
    } else if (events > 0) {
        call_send(p, events, last_id);
    } else if (p->calls.count == 0) {
        p->acknowledged = p->cursor.position - 1; /* nothing there was wanted */
    }
}

void mim_publish_entries(struct mim_publisher *p, uint64_t deadline_ns) {
    while (p->phase == MIM_PUBLISH_LIVE && mim_publish_entries_due(p)) {
        mim_position_t before = p->cursor.position;
        call_make(p, deadline_ns + MIM_PUBLISH_SLICE_NS); /* what was begun is better filled */
        if (p->cursor.position == before || mim_publish_now(p) >= deadline_ns) {
            break;
        }
    }
}
