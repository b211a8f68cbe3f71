// SPDX-License-Identifier: MIT
// The life of a publisher: made, started, given slices, stopped. See publisher.h.
#include "publish/publisher.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "publish/internal.h"

static bool name_valid(const char *name) {
    size_t size = strlen(name);
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f) {
            return false;
        }
    }
    return size > 0 && size <= MIM_PUBLISH_STREAM_MAX;
}

int mim_publish_options_check(const struct mim_publish_options *options, struct mim_error *reterr) {
    struct mim_publish_target target;
    if (options->url == NULL) {
        return 0;
    }
    if (!name_valid(options->stream)) {
        return mim_error_set(reterr, MIM_E_USAGE, "--publish-stream: 1 to %u bytes without spaces",
                             MIM_PUBLISH_STREAM_MAX);
    }
    return mim_publish_target_parse(options->url, &target, reterr);
}

/** Comma-separated names of aggregate types into bits. */
static int aggregates_parse(const struct mim_compiled *compiled, const char *names, uint64_t *ret_bits,
                            struct mim_error *reterr) {
    uint64_t bits = 0;
    for (const char *at = names;; at++) {
        size_t size = strcspn(at, ",");
        int aggregate = mim_compiled_aggregate(compiled, mim_slice_of(at, size));
        if (aggregate < 0) {
            return mim_error_set(reterr, MIM_E_USAGE, "--publish-aggregates: unknown aggregate type '%.*s'",
                                 (int)(size > 100 ? 100 : size), at);
        }
        bits |= 1ull << aggregate;
        at += size;
        if (*at == '\0') {
            break;
        }
    }
    *ret_bits = bits;
    return 0;
}

static uint64_t text_hash(const char *text, uint64_t seed) {
    return text == NULL ? seed : mim_hash64(text, strlen(text), seed);
}

static int publisher_init(struct mim_publisher *p, struct mim_error *reterr) {
    struct mim_engine *engine = p->source.engine;
    int rc = mim_publish_target_parse(p->options.url, &p->target, reterr);
    p->aggregates = UINT64_MAX;
    if (rc == 0 && p->options.aggregates != NULL) {
        rc = aggregates_parse(mim_engine_compiled(engine), p->options.aggregates, &p->aggregates, reterr);
    }
    if (rc == 0 && p->options.types != NULL &&
        mim_event_filter_types(&p->filter, engine, mim_slice_text(p->options.types), reterr) != 0) {
        rc = mim_error_prefix(reterr, "--publish-types");
        rc = rc == MIM_E_INVALID ? MIM_E_USAGE : rc;
    }
    p->filtered = p->options.types != NULL || p->options.aggregates != NULL;
    rc = rc != 0 ? rc : mim_access_open(p->source.storage, &p->access, reterr);
    rc = rc != 0 ? rc : mim_cloudevents_new(engine, &p->events, reterr);
    if (rc != 0) {
        return rc;
    }
    struct mim_engine_point point;
    mim_engine_point(engine, &point);
    for (size_t i = 0; i < sizeof(point.history.uuid); i++) {
        (void)snprintf(p->history + i * 2, 3, "%02x", point.history.uuid[i]);
    }
    (void)snprintf(p->stream, sizeof(p->stream), "%s", p->options.stream);
    p->target_hash = text_hash(p->target.shown, text_hash(p->options.stream, 1)) | 1u;
    p->filter_hash = text_hash(p->options.types, text_hash(p->options.aggregates, 1));
    mim_prng_init(&p->prng, mim_publish_now(p));
    return mim_publish_memory_open(p, reterr);
}

static void on_pace(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct mim_publisher *p = context;
    p->entries_paced = false; /* the turn that ends now goes on */
    p->states_paced = false;
}

int mim_publisher_new(const struct mim_publish_options *options, const struct mim_publish_source *source,
                      struct mim_publisher **ret_publisher, struct mim_error *reterr) {
    struct mim_publisher *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    p->options = *options;
    p->source = *source;
    p->pace_event = evtimer_new(source->base, on_pace, p);
    int rc = p->pace_event == NULL ? mim_error_set(reterr, MIM_E_MEMORY, "out of memory") : publisher_init(p, reterr);
    if (rc != 0) {
        (void)mim_publisher_free(p);
        return rc;
    }
    *ret_publisher = p;
    return 0;
}

struct mim_publisher *mim_publisher_free(struct mim_publisher *p) {
    if (p == NULL) {
        return NULL;
    }
    mim_publisher_stop(p);
    mim_publish_memory_close(p);
    if (p->pace_event != NULL) {
        event_free(p->pace_event);
    }
    mim_event_filter_deinit(&p->filter);
    struct mim_buffer *buffers[] = {&p->body, &p->out, &p->text, &p->audience, &p->keys, &p->values};
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
        mim_buffer_deinit(buffers[i]);
    }
    for (size_t i = 0; i < MIM_PUBLISH_CAPTURES; i++) {
        mim_buffer_deinit(&p->captures[i].json);
    }
    (void)mim_cloudevents_free(p->events);
    (void)mim_access_free(p->access);
    free(p);
    return NULL;
}

void mim_publish_pace(struct mim_publisher *p, bool *paced) {
    const struct timeval interval = {.tv_usec = MIM_PUBLISH_PACE_US};
    if (evtimer_pending(p->pace_event, NULL) != 0 || evtimer_add(p->pace_event, &interval) == 0) {
        *paced = true;
    }
}

void mim_publish_tell(struct mim_publisher *p, bool warning, const char *event, const char *reason) {
    const struct mim_publish_news news = {
        .warning = warning,
        .event = event,
        .target = p->target.shown,
        .stream = p->stream,
        .reason = reason,
        .position = p->acknowledged,
    };
    p->source.news(p->source.context, &news);
}

void mim_publish_halt(struct mim_publisher *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(p->reason, sizeof(p->reason), format, arguments);
    va_end(arguments);
    (void)snprintf(p->last_error, sizeof(p->last_error), "%s", p->reason);
    mim_publish_memory_save(p);
    mim_publish_disconnect(p);
    mim_publish_phase_set(p, MIM_PUBLISH_STOPPED);
    mim_publish_tell(p, true, "publish_stopped", p->reason);
}

void mim_publish_unreadable(struct mim_publisher *p, mim_position_t position, const struct mim_error *error) {
    bool passes = error->os_errno == EMFILE || error->os_errno == ENFILE || error->os_errno == ENOMEM ||
                  error->code == MIM_E_MEMORY;
    (passes ? mim_publish_fail : mim_publish_halt)(p, "the journal cannot be read at position %llu: %s",
                                                   (unsigned long long)position, error->text);
}

void mim_publisher_start(struct mim_publisher *p) {
    if (p->phase == MIM_PUBLISH_OFF || p->phase == MIM_PUBLISH_STOPPED) {
        p->backoff_ms = 0;
        p->told_live = false;
        p->told_down = false;
        mim_publish_phase_set(p, MIM_PUBLISH_BACKING_OFF); /* connects at the next tick: by then the gate is known */
        p->retry_ns = 0;
    }
}

void mim_publisher_stop(struct mim_publisher *p) {
    if (p->phase != MIM_PUBLISH_OFF) {
        mim_publish_memory_save(p);
        mim_publish_disconnect(p);
        mim_publish_phase_set(p, MIM_PUBLISH_OFF);
    }
}

/* --------------------------------------------------------------------- slices */

void mim_publisher_turn(struct mim_publisher *p, const struct mim_publish_gate *gate) {
    p->gate = *gate;
    if (p->phase == MIM_PUBLISH_RESUMING && p->step == MIM_STEP_SEEK) {
        mim_publish_seek(p);
    }
    if (p->phase != MIM_PUBLISH_LIVE) {
        return;
    }
    bool states = mim_publish_states_due(p);
    if (!states && !mim_publish_entries_due(p)) {
        return;
    }
    struct mim_error error = {0};
    if (mim_access_set_limit(p->access, gate->lsn, gate->segment_lsn, &error) != 0) {
        mim_publish_unreadable(p, p->cursor.position, &error);
        return;
    }
    uint64_t now = mim_publish_now(p);
    if (states) { /* first, so that who reads an entry mostly finds its state */
        mim_publish_states(p, now + MIM_PUBLISH_SLICE_NS / 2);
    }
    mim_publish_entries(p, now + MIM_PUBLISH_SLICE_NS);
}

bool mim_publisher_busy(const struct mim_publisher *p) {
    return (p->phase == MIM_PUBLISH_RESUMING && p->step == MIM_STEP_SEEK) ||
           (p->phase == MIM_PUBLISH_LIVE && (mim_publish_entries_due(p) || mim_publish_states_due(p)));
}

void mim_publisher_tick(struct mim_publisher *p) {
    uint64_t now = mim_publish_now(p);
    if (p->phase == MIM_PUBLISH_BACKING_OFF && now >= p->retry_ns) {
        mim_publish_connect(p);
    } else if (p->phase == MIM_PUBLISH_CONNECTING) {
        mim_publish_connecting_tick(p, now);
    } else if (p->unanswered > 0 && now > p->answered_ns + MIM_PUBLISH_PATIENCE_NS) {
        mim_publish_fail(p, "no answer for %u s", (unsigned)(MIM_PUBLISH_PATIENCE_NS / 1000000000u));
    } else if (p->context != NULL && p->context->c.reader->len > MIM_PUBLISH_ANSWER_MAX) {
        mim_publish_fail(p, "an answer of more than %u bytes: not a Redis?", MIM_PUBLISH_ANSWER_MAX);
    } else if (p->phase == MIM_PUBLISH_LIVE && p->calls.count + p->state_calls.count == 0 &&
               now > p->phase_ns + MIM_PUBLISH_SETTLED_NS) {
        mim_publish_proven(p);
    }
    if (now > p->memory_ns + MIM_PUBLISH_MEMORY_NS) {
        p->memory_ns = now;
        mim_publish_memory_save(p);
    }
}

/* ----------------------------------------------------------------------- INFO */

void mim_publisher_info(const struct mim_publisher *p, struct mim_publish_info *ret_info) {
    static const char *const names[] = {"off", "connecting", "resuming", "live", "backing_off", "stopped"};
    uint64_t now = mim_publish_now(p);
    *ret_info = (struct mim_publish_info){
        .state = names[p->phase],
        .reason = p->reason,
        .last_error = p->last_error,
        .target = p->target.shown,
        .stream = p->stream,
        .position = p->acknowledged,
        .last_id = p->acknowledged_id,
        .lag = p->gate.position > p->acknowledged ? p->gate.position - p->acknowledged : 0,
        .states = p->states_done,
        .events = p->events_done,
        .states_written = p->states_done_count,
        .connections = p->connections,
        .failures = p->failures,
        .refusals = p->refusals,
        .gaps = p->gaps,
        .unanswered = p->calls.count + p->state_calls.count,
        .unanswered_bytes = mim_publish_calls_bytes(&p->calls) + mim_publish_calls_bytes(&p->state_calls),
        .retry_ms = p->phase == MIM_PUBLISH_BACKING_OFF && p->retry_ns > now ? (p->retry_ns - now) / 1000000u : 0,
    };
}
