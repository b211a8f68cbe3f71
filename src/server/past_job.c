// SPDX-License-Identifier: MIT
// One read of the past, step by step: find, fold, walk, scan. See past.h.
#include "server/past.h"

#define STEPS_PER_LOOK 16u /* events between two looks at the clock */

static int job_append(struct mim_server *server, struct mim_past_job *job, const struct mim_journal_event *event) {
    struct mim_past *past = server->past;
    past->json.size = 0;
    int rc = mim_cloudevents_encode(past->events, event, &past->json, &job->error);
    if (rc != 0) {
        return rc;
    }
    mim_reply_bulk(&job->reply, mim_slice_of(past->json.data, past->json.size));
    job->elements++;
    if (job->reply.out.size > server->options.output_size_max / 2) {
        return mim_error_set(&job->error, MIM_E_LIMIT,
                             "the answer is larger than %llu bytes: read it in pieces with FROM and COUNT",
                             (unsigned long long)server->options.output_size_max / 2);
    }
    return 0;
}

/* --------------------------------------------------------------------- state */

static int state_start(struct mim_server *server, struct mim_past_job *job) {
    if (job->measure == MIM_BY_VERSION && (job->value == 0 || job->value > job->tip.version)) {
        return MIM_E_NOT_FOUND;
    }
    struct mim_access *access = server->past->access;
    struct mim_journal_event event;
    int rc = mim_stream_find(access, &job->tip, job->measure, job->value, &event, &job->error);
    if (rc != 0) {
        return rc;
    }
    job->version = event.record.version;
    struct mim_stream_tip now;
    rc = mim_engine_tip(server->engine, job->type, job->id, &job->aggregate, &job->stream, &now, &job->error);
    if (rc == 0 && now.lsn == event.lsn) { /* it is the present: no need to fold */
        job->done = true;
        return mim_engine_get(server->engine, NULL, job->type, job->id, &job->reply.out, NULL, NULL, &job->error);
    }
    rc = rc != 0 ? rc : mim_fold_new(server->engine, job->aggregate, job->stream, &job->fold, &job->error);
    if (rc == 0) {
        mim_stream_walk_init(&job->walk, &job->tip, 1, job->version);
    }
    return rc;
}

static int state_step(struct mim_server *server, struct mim_past_job *job) {
    struct mim_journal_event event;
    int rc = mim_stream_walk_next(&job->walk, server->past->access, &event, &job->error);
    if (rc == MIM_E_NOT_FOUND) {
        mim_fold_json(job->fold, &job->reply.out);
        job->done = true;
        return 0;
    }
    return rc != 0 ? rc : mim_fold_apply(job->fold, &event, &job->error);
}

/* -------------------------------------------------------------------- events */

static int events_start(struct mim_server *server, struct mim_past_job *job) {
    uint64_t to = job->to < job->tip.version ? job->to : job->tip.version;
    if (job->from > to || job->count == 0) {
        job->done = true;
        return 0;
    }
    if (!job->reverse) {
        mim_stream_walk_init(&job->walk, &job->tip, (mim_version_t)job->from, (mim_version_t)to);
        return 0;
    }
    struct mim_journal_event event;
    int rc = mim_stream_find(server->past->access, &job->tip, MIM_BY_VERSION, to, &event, &job->error);
    job->back_lsn = rc == 0 ? event.lsn : 0;
    return rc;
}

static int events_step(struct mim_server *server, struct mim_past_job *job) {
    struct mim_past *past = server->past;
    struct mim_journal_event event;
    int rc = job->reverse ? mim_access_event(past->access, job->back_lsn, &event, &job->error)
                          : mim_stream_walk_next(&job->walk, past->access, &event, &job->error);
    if (rc == MIM_E_NOT_FOUND) {
        job->done = true;
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    bool last = job->reverse && event.record.version <= job->from;
    job->back_lsn = event.record.previous_lsn;
    if (mim_event_filter_wants(&job->filter, server->engine, &event)) {
        rc = mim_access_transaction(past->access, &event, &job->error);
        rc = rc != 0 ? rc : job_append(server, job, &event);
    }
    job->done = last || job->elements >= job->count;
    return rc;
}

/* ------------------------------------------------------------------- journal */

/** A run of events of one frame. */
static int journal_step(struct mim_server *server, struct mim_past_job *job) {
    if (job->elements >= job->count || job->cursor.position > job->to) {
        job->done = true;
        return 0;
    }
    if (job->search.index != NULL) {
        int rc = mim_correlation_search_step(&job->search, &job->cursor, &job->error);
        if (rc != 0) {
            job->done = rc == MIM_E_NOT_FOUND;
            return rc == MIM_E_NOT_FOUND || rc == MIM_E_AGAIN ? 0 : rc;
        }
    }
    struct mim_frame frame;
    int rc = mim_cursor_frame(&job->cursor, server->past->access, &frame, &job->error);
    for (unsigned i = 0; rc == 0 && i < MIM_PAST_VISIT_EVENTS; i++) {
        struct mim_journal_event event;
        rc = mim_cursor_event(&job->cursor, &frame, &event, &job->error);
        if (rc == MIM_E_NOT_FOUND) {
            return 0; /* on to the next frame */
        }
        if (rc == 0 && (event.position > job->to || job->elements >= job->count)) {
            job->done = true;
            return 0;
        }
        if (rc == 0 && mim_event_filter_wants(&job->filter, server->engine, &event)) {
            rc = job_append(server, job, &event);
        }
        if (rc == 0) {
            mim_cursor_taken(&job->cursor, &event);
        }
    }
    job->done = rc == MIM_E_NOT_FOUND;
    return rc == MIM_E_NOT_FOUND || rc == MIM_E_AGAIN ? 0 : rc;
}

/* ----------------------------------------------------------------------- run */

static int job_start(struct mim_server *server, struct mim_past_job *job) {
    switch (job->kind) {
    case MIM_PAST_STATE:
        return state_start(server, job);
    case MIM_PAST_EVENTS:
        return events_start(server, job);
    default:
        mim_cursor_init(&job->cursor, job->from);
        if (job->filter.correlation_size > 0) {
            mim_correlation_search_begin(&job->search, server->past->correlations,
                                         mim_slice_of(job->filter.correlation, job->filter.correlation_size));
        }
        return 0;
    }
}

static int job_step(struct mim_server *server, struct mim_past_job *job) {
    switch (job->kind) {
    case MIM_PAST_STATE:
        return state_step(server, job);
    case MIM_PAST_EVENTS:
        return events_step(server, job);
    default:
        return journal_step(server, job);
    }
}

void mim_past_job_run(struct mim_server *server, struct mim_past_job *job, uint64_t deadline_ns) {
    int rc = 0;
    if (!job->done && !job->started) {
        job->started = true;
        rc = job_start(server, job);
    }
    unsigned look = job->kind == MIM_PAST_JOURNAL ? 1 : STEPS_PER_LOOK;
    for (unsigned steps = 1; rc == 0 && !job->done; steps++) {
        rc = job_step(server, job);
        if (job->search.waiting) {
            break;
        }
        if (steps % look == 0 && server->clock.monotonic_ns(server->clock.context) >= deadline_ns) {
            break;
        }
    }
    if (rc == MIM_E_NOT_FOUND) {
        job->missing = true;
        job->done = true;
    } else if (rc != 0) {
        job->code = rc;
        job->done = true;
    }
}
