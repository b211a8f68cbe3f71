// SPDX-License-Identifier: MIT
// The thread that hashes passwords: crypt(3) takes tens of milliseconds and megabytes on purpose, which the engine thread
// has not. One thread and a short queue: whoever floods AUTH waits for himself, and the server goes on.
#ifndef MIM_SERVER_AUTH_THREAD_H
#define MIM_SERVER_AUTH_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "server/acl.h"

#define MIM_AUTH_QUEUE_MAX       256u
#define MIM_AUTH_PER_ADDRESS_MAX 32u /* of them of one address */

/** One password against one user's crypt strings. */
struct mim_auth_job {
    TAILQ_ENTRY(mim_auth_job) link;
    char password[MIM_SECRET_PASSWORD_MAX + 1];
    size_t password_size;
    char texts[MIM_ACL_SECRETS_MAX][MIM_SECRET_TEXT_MAX];
    uint32_t text_count;
    int match;        /* index of the text that is right, or -1; valid once done */
    bool abandoned;   /* under the lock: nobody waits for it any more */
    atomic_bool done; /* set by the thread last */
};
TAILQ_HEAD(mim_auth_jobs, mim_auth_job);

struct mim_auth_thread {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct mim_auth_jobs jobs;
    uint32_t queued;
    bool started, stopping;
    int wake_fd; /* an eventfd, borrowed: written after each job */
    atomic_uint_fast64_t finished, total_ns;
};

/** `{0}` and this before the first job; no thread yet. */
void mim_auth_thread_init(struct mim_auth_thread *thread, int wake_fd);
/** Takes the job over. LIMIT: the queue is full (the job stays the caller's). MEMORY: no thread. */
MIM_CHECKED int mim_auth_thread_submit(struct mim_auth_thread *thread, struct mim_auth_job *job,
                                       struct mim_error *reterr);
/** The caller has no more interest; frees the job, now or when the thread is done with it. NULL is fine. */
struct mim_auth_job *mim_auth_job_free(struct mim_auth_thread *thread, struct mim_auth_job *job);
/** Ends the thread after the job it is at, and drops the rest. */
void mim_auth_thread_stop(struct mim_auth_thread *thread);

#endif
