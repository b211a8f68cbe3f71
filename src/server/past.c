// SPDX-License-Identifier: MIT
// Jobs: begun by a command, run in slices at the end of turns, answered when the command is tried again. See past.h.
#include "server/past.h"

#include <stdlib.h>

int mim_past_open(struct mim_server *server, struct mim_past **ret_past, struct mim_error *reterr) {
    if (server->past != NULL) {
        *ret_past = server->past;
        return 0;
    }
    struct mim_past *past = calloc(1, sizeof(*past));
    if (past == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    TAILQ_INIT(&past->jobs);
    for (unsigned i = 0; i < MIM_FOLLOWER_STATES; i++) {
        TAILQ_INIT(&past->followers[i]);
    }
    int rc = mim_access_open(server->storage, &past->access, reterr);
    rc = rc != 0 ? rc : mim_cloudevents_new(server->engine, &past->events, reterr);
    rc = rc != 0
             ? rc
             : mim_correlations_new(server->storage, past->access, MIM_CORRELATION_SEARCH, &past->correlations, reterr);
    if (rc != 0) {
        (void)mim_cloudevents_free(past->events);
        (void)mim_access_free(past->access);
        free(past);
        return rc;
    }
    server->past = past;
    *ret_past = past;
    return 0;
}

/** After all sessions are gone. */
void mim_past_close(struct mim_server *server) {
    struct mim_past *past = server->past;
    if (past == NULL) {
        return;
    }
    MIM_ASSERT(TAILQ_EMPTY(&past->jobs));
    for (unsigned i = 0; i < MIM_PAST_ENCODED; i++) {
        mim_buffer_deinit(&past->encoded[i].bytes);
    }
    mim_buffer_deinit(&past->json);
    (void)mim_correlations_free(past->correlations);
    (void)mim_cloudevents_free(past->events);
    (void)mim_access_free(past->access);
    free(past);
    server->past = NULL;
}

static mim_lsn_t gate_now(const struct mim_server *server) { return mim_appender_shown(&server->appender); }

int mim_past_limit(struct mim_server *server, struct mim_error *reterr) {
    return mim_access_set_limit(server->past->access, gate_now(server), server->appender.segment_base_lsn, reterr);
}

/* ----------------------------------------------------------------------- jobs */

struct mim_past_job *mim_past_job_free(struct mim_past_job *job) {
    if (job != NULL) {
        (void)mim_fold_free(job->fold);
        mim_correlation_search_end(&job->search);
        mim_event_filter_deinit(&job->filter);
        mim_buffer_deinit(&job->reply.out);
        free(job);
    }
    return NULL;
}

static void job_drop(struct mim_session *session) {
    struct mim_past_job *job = session->past->job;
    if (job != NULL && job->linked) {
        TAILQ_REMOVE(&session->server->past->jobs, job, link);
    }
    session->past->job = mim_past_job_free(job);
}

static void job_answer(const struct mim_past_job *job, struct mim_reply *reply) {
    if (job->code != 0) {
        mim_reply_errorf(reply, "ERR", "%s", job->error.text);
    } else if (job->kind == MIM_PAST_STATE && job->missing) {
        mim_reply_null(reply);
    } else if (job->kind == MIM_PAST_STATE) {
        mim_reply_array(reply, 2);
        mim_reply_integer(reply, job->version);
        mim_reply_bulk(reply, mim_slice_of(job->reply.out.data, job->reply.out.size));
    } else {
        mim_reply_array(reply, job->elements);
        mim_buffer_append(&reply->out, job->reply.out.data, job->reply.out.size);
    }
}

static bool job_may_run(const struct mim_server *server, const struct mim_past_job *job) {
    return gate_now(server) >= job->gate;
}

static void job_slice(struct mim_server *server, struct mim_past_job *job, uint64_t deadline_ns) {
    int rc = mim_past_limit(server, &job->error);
    if (rc != 0) {
        job->code = rc;
        job->done = true;
        return;
    }
    mim_past_job_run(server, job, deadline_ns);
}

enum mim_verdict_of_call mim_past_start(struct mim_call *call, struct mim_past_job *job) {
    struct mim_server *server = call->server;
    struct mim_session *session = call->session;
    if (session->past == NULL) {
        session->past = calloc(1, sizeof(*session->past));
        if (session->past == NULL) {
            (void)mim_past_job_free(job);
            mim_reply_errorf(call->reply, "OVERLOADED", "out of memory");
            return MIM_CALL_DONE;
        }
    }
    job->session = session;
    session->past->job = job;
    if (job_may_run(server, job)) {
        job_slice(server, job, server->clock.monotonic_ns(server->clock.context) + MIM_PAST_SLICE_NS);
    }
    if (!job->done) {
        job->linked = true;
        TAILQ_INSERT_TAIL(&server->past->jobs, job, link);
        return MIM_CALL_AGAIN;
    }
    job_answer(job, call->reply);
    job_drop(session);
    server->past->jobs_done++;
    return MIM_CALL_DONE;
}

bool mim_past_resumed(struct mim_call *call, enum mim_verdict_of_call *ret_verdict) {
    struct mim_session *session = call->session;
    if (session->past == NULL || session->past->job == NULL) {
        return false;
    }
    *ret_verdict = MIM_CALL_AGAIN;
    if (session->past->job->done) {
        job_answer(session->past->job, call->reply);
        job_drop(session);
        call->server->past->jobs_done++;
        *ret_verdict = MIM_CALL_DONE;
    }
    return true;
}

void mim_past_forget(struct mim_session *session) {
    if (session->past != NULL) {
        job_drop(session);
        mim_follow_end(session);
        free(session->past);
        session->past = NULL;
    }
}

/* ---------------------------------------------------------------------- turns */

/** Runs jobs, one after the other, for half of the slice. True: one was completed. */
static bool jobs_turn(struct mim_server *server, uint64_t deadline_ns) {
    struct mim_past *past = server->past;
    struct mim_past_job *last = TAILQ_LAST(&past->jobs, mim_past_jobs);
    struct mim_past_job *job;
    bool completed = false;
    while ((job = TAILQ_FIRST(&past->jobs)) != NULL) {
        TAILQ_REMOVE(&past->jobs, job, link);
        if (job_may_run(server, job)) {
            job_slice(server, job, deadline_ns);
        }
        job->linked = !job->done;
        completed |= job->done;
        if (job->linked) {
            TAILQ_INSERT_TAIL(&past->jobs, job, link);
        }
        if (job == last || server->clock.monotonic_ns(server->clock.context) >= deadline_ns) {
            break;
        }
    }
    return completed;
}

void mim_past_turn(struct mim_server *server, bool gate_moved) {
    struct mim_past *past = server->past;
    if (past == NULL) {
        return;
    }
    uint64_t now = server->clock.monotonic_ns(server->clock.context);
    if (!TAILQ_EMPTY(&past->jobs) && jobs_turn(server, now + MIM_PAST_SLICE_NS / 2)) {
        mim_connections_retry(server);
    }
    if (!mim_replication_undecided(server)) {
        mim_follow_turn(server, gate_moved, now + MIM_PAST_SLICE_NS);
    }
}

bool mim_past_busy(const struct mim_server *server) {
    const struct mim_past *past = server->past;
    if (past == NULL || server->phase != MIM_PHASE_SERVING) {
        return false;
    }
    const struct mim_past_job *job;
    TAILQ_FOREACH(job, &past->jobs, link) {
        if (job_may_run(server, job)) {
            return true;
        }
    }
    return !TAILQ_EMPTY(&past->followers[MIM_FOLLOWER_ACTIVE]) && !mim_replication_undecided(server);
}

void mim_past_tick(struct mim_server *server) {
    if (server->past != NULL) {
        mim_follow_tick(server);
    }
}
