// SPDX-License-Identifier: MIT
// Hashing on its own thread. See auth_thread.h. A job is the thread's while it is queued or being hashed, and its
// session's once `done` is set; the lock decides who frees it when the session goes first.
#include "server/auth_thread.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"

static void job_destroy(struct mim_auth_job *job) {
    mim_secret_wipe(job, sizeof(*job));
    free(job);
}

void mim_auth_thread_init(struct mim_auth_thread *thread, int wake_fd) {
    TAILQ_INIT(&thread->jobs);
    thread->wake_fd = wake_fd;
}

static void job_run(struct mim_auth_job *job) {
    job->match = -1;
    for (uint32_t i = 0; i < job->text_count && job->match < 0; i++) {
        job->match = mim_secret_crypt_check(job->texts[i], job->password) ? (int)i : -1;
    }
}

static void *thread_main(void *context) {
    struct mim_auth_thread *thread = context;
    struct mim_clock clock = mim_clock_posix();
    (void)pthread_mutex_lock(&thread->lock);
    while (!thread->stopping) {
        struct mim_auth_job *job = TAILQ_FIRST(&thread->jobs);
        if (job == NULL) {
            (void)pthread_cond_wait(&thread->cond, &thread->lock);
            continue;
        }
        TAILQ_REMOVE(&thread->jobs, job, link);
        thread->queued--;
        bool wanted = !job->abandoned;
        (void)pthread_mutex_unlock(&thread->lock);
        uint64_t begun = clock.monotonic_ns(clock.context);
        if (wanted) {
            job_run(job);
            atomic_fetch_add(&thread->total_ns, clock.monotonic_ns(clock.context) - begun);
        }
        (void)pthread_mutex_lock(&thread->lock);
        if (job->abandoned) {
            job_destroy(job);
        } else {
            atomic_store(&job->done, true);
        }
        atomic_fetch_add(&thread->finished, wanted); /* behind `done`: who sees it finds the job */
        uint64_t one = 1;
        ssize_t written = write(thread->wake_fd, &one, sizeof(one));
        (void)written; /* the loop looks again at its next tick anyway */
    }
    (void)pthread_mutex_unlock(&thread->lock);
    return NULL;
}

static int thread_start(struct mim_auth_thread *thread, struct mim_error *reterr) {
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_mutex_init(&thread->lock, NULL);
    (void)pthread_cond_init(&thread->cond, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the engine thread's */
    int problem = pthread_create(&thread->thread, NULL, thread_main, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (problem != 0) {
        (void)pthread_mutex_destroy(&thread->lock);
        (void)pthread_cond_destroy(&thread->cond);
        return mim_error_os(reterr, MIM_E_MEMORY, problem, "no thread for passwords");
    }
    thread->started = true;
    return 0;
}

int mim_auth_thread_submit(struct mim_auth_thread *thread, struct mim_auth_job *job, struct mim_error *reterr) {
    int rc = thread->started ? 0 : thread_start(thread, reterr);
    if (rc != 0) {
        return rc;
    }
    (void)pthread_mutex_lock(&thread->lock);
    if (thread->queued >= MIM_AUTH_QUEUE_MAX) {
        rc = mim_error_set(reterr, MIM_E_LIMIT, "too many clients authenticate: try again");
    } else {
        TAILQ_INSERT_TAIL(&thread->jobs, job, link);
        thread->queued++;
        (void)pthread_cond_signal(&thread->cond);
    }
    (void)pthread_mutex_unlock(&thread->lock);
    return rc;
}

struct mim_auth_job *mim_auth_job_free(struct mim_auth_thread *thread, struct mim_auth_job *job) {
    if (job != NULL) {
        (void)pthread_mutex_lock(&thread->lock);
        bool done = atomic_load(&job->done);
        job->abandoned = true;
        (void)pthread_mutex_unlock(&thread->lock);
        if (done) {
            job_destroy(job);
        }
    }
    return NULL;
}

void mim_auth_thread_stop(struct mim_auth_thread *thread) {
    if (!thread->started) {
        return;
    }
    (void)pthread_mutex_lock(&thread->lock);
    thread->stopping = true;
    (void)pthread_cond_signal(&thread->cond);
    (void)pthread_mutex_unlock(&thread->lock);
    (void)pthread_join(thread->thread, NULL);
    struct mim_auth_job *job;
    while ((job = TAILQ_FIRST(&thread->jobs)) != NULL) {
        TAILQ_REMOVE(&thread->jobs, job, link);
        MIM_ASSERT(job->abandoned); /* all sessions are gone */
        job_destroy(job);
    }
    (void)pthread_mutex_destroy(&thread->lock);
    (void)pthread_cond_destroy(&thread->cond);
    thread->started = false;
}
