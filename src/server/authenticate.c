// SPDX-License-Identifier: MIT
// Who a connection is: AUTH and HELLO ... AUTH. A wrong answer is late on purpose, and the later the more there were; a
// crypt string is checked on a thread, and meanwhile the command is one that has to be tried again.
#include <stdlib.h>

#include "server/internal.h"

/** The job of a slow check. For a user without such passwords it hashes in vain with somebody else's string, so that
 *  the time does not tell who exists. */
static struct mim_auth_job *job_new(const struct mim_acl *acl, const struct mim_acl_user *user,
                                    struct mim_slice password) {
    struct mim_auth_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return NULL;
    }
    /* no stored password is longer or holds a NUL: what is cut off here is wrong anyway, see job_right */
    job->password_size = password.size;
    size_t size = password.size < MIM_SECRET_PASSWORD_MAX ? password.size : MIM_SECRET_PASSWORD_MAX;
    memcpy(job->password, password.data, size);
    for (uint32_t i = 0; user != NULL && i < user->secret_count; i++) {
        if (user->secrets[i].slow) {
            memcpy(job->texts[job->text_count++], user->secrets[i].text, MIM_SECRET_TEXT_MAX);
        }
    }
    for (uint32_t i = 0; i < acl->user_count && job->text_count == 0; i++) {
        for (uint32_t j = 0; j < acl->users[i].secret_count && job->text_count == 0; j++) {
            if (acl->users[i].secrets[j].slow) {
                memcpy(job->texts[job->text_count++], acl->users[i].secrets[j].text, MIM_SECRET_TEXT_MAX);
            }
        }
    }
    return job;
}

/** The job is done: whether it speaks for this user of today's ACL. */
static bool job_right(struct mim_acl *acl, struct mim_acl_user *user, const struct mim_auth_job *job) {
    if (user == NULL || !user->enabled || job->match < 0 || job->password_size > MIM_SECRET_PASSWORD_MAX ||
        memchr(job->password, '\0', job->password_size) != NULL) {
        return false;
    }
    for (uint32_t i = 0; i < user->secret_count; i++) {
        if (user->secrets[i].slow && strcmp(user->secrets[i].text, job->texts[job->match]) == 0) {
            mim_acl_remember(acl, user, user->secrets[i].text, mim_slice_of(job->password, job->password_size));
            return true;
        }
    }
    return false;
}

static enum mim_verdict_of_call accepted(struct mim_session *session, struct mim_acl_user *user,
                                         struct mim_acl_user **ret_user) {
    session->auth_failures = 0;
    *ret_user = user;
    return MIM_CALL_DONE;
}

/** Begins to wait before it is said. */
static enum mim_verdict_of_call refused_later(struct mim_call *call) {
    struct mim_session *session = call->session;
    call->server->counters.auth_failures++;
    session->auth_failures++;
    session->auth_until_ns = mim_server_now(call->server) + session->auth_failures * MIM_AUTH_DELAY_NS;
    return MIM_CALL_AGAIN;
}

static enum mim_verdict_of_call refused(struct mim_call *call) {
    struct mim_session *session = call->session;
    if (mim_server_now(call->server) < session->auth_until_ns) {
        return MIM_CALL_AGAIN;
    }
    session->auth_until_ns = 0;
    mim_reply_errorf(call->reply, "WRONGPASS", "invalid username-password pair or user is disabled.");
    if (session->auth_failures < MIM_AUTH_FAILURES_MAX) {
        return MIM_CALL_DONE;
    }
    if (mim_security_may_log(session->server)) {
        mim_log(MIM_LOG_WARNING, "auth_failures", "client=%llu addr=%s count=%u goes_on=closed",
                (unsigned long long)session->id, session->address, session->auth_failures);
    }
    return MIM_CALL_CLOSE;
}

/** Whether this address has its share of the queue already, so that it cannot keep others out. */
static bool address_waits(const struct mim_session *session) {
    const struct mim_session *other;
    uint32_t waiting = 0;
    TAILQ_FOREACH(other, &session->server->sessions, all_link) {
        waiting += other->auth_job != NULL && other->address_bucket == session->address_bucket;
    }
    return waiting >= MIM_AUTH_PER_ADDRESS_MAX;
}

static enum mim_verdict_of_call begin(struct mim_call *call, struct mim_acl_user *user, struct mim_slice password,
                                      struct mim_acl_user **ret_user) {
    struct mim_server *server = call->server;
    enum mim_acl_answer answer = mim_acl_password(server->acl, user, password);
    if (answer == MIM_ACL_RIGHT) {
        return accepted(call->session, user, ret_user);
    }
    if (answer == MIM_ACL_WRONG) {
        return refused_later(call);
    }
    struct mim_error error = {0};
    struct mim_auth_job *job = address_waits(call->session) ? NULL : job_new(server->acl, user, password);
    if (job == NULL || mim_auth_thread_submit(&server->auth_thread, job, &error) != 0) {
        free(job);
        server->counters.auth_overloaded++;
        mim_reply_errorf(call->reply, "OVERLOADED", "%s",
                         error.text[0] == '\0' ? "too many clients of this address authenticate: try again"
                                               : error.text);
        return MIM_CALL_DONE;
    }
    call->session->auth_job = job;
    return MIM_CALL_AGAIN;
}

enum mim_verdict_of_call mim_authenticate(struct mim_call *call, struct mim_slice name, struct mim_slice password,
                                          struct mim_acl_user **ret_user) {
    struct mim_server *server = call->server;
    struct mim_session *session = call->session;
    *ret_user = NULL;
    if (session->auth_until_ns != 0) {
        return refused(call);
    }
    struct mim_acl_user *user = mim_acl_find(server->acl, name);
    if (session->auth_job == NULL) {
        return begin(call, user, password, ret_user);
    }
    if (!atomic_load(&session->auth_job->done)) {
        return MIM_CALL_AGAIN;
    }
    bool right = job_right(server->acl, user, session->auth_job);
    session->auth_job = mim_auth_job_free(&server->auth_thread, session->auth_job);
    return right ? accepted(session, user, ret_user) : refused_later(call);
}

enum mim_verdict_of_call mim_cmd_auth(struct mim_call *call) {
    if (call->count > 3) {
        mim_reply_errorf(call->reply, "ERR", "syntax error");
        return MIM_CALL_DONE;
    }
    struct mim_slice name = call->count == 3 ? call->arguments[1] : mim_slice_text("default");
    const struct mim_acl_user *nobody = mim_acl_find(call->server->acl, mim_slice_text("default"));
    if (call->count == 2 && nobody->nopass && nobody->enabled) {
        mim_reply_errorf(call->reply, "ERR",
                         "AUTH <password> called without any password configured for the default user. Are you sure "
                         "your configuration is correct?");
        return MIM_CALL_DONE;
    }
    struct mim_acl_user *user;
    enum mim_verdict_of_call verdict = mim_authenticate(call, name, call->arguments[call->count - 1], &user);
    if (user != NULL) {
        mim_session_set_user(call->session, user);
        mim_reply_simple(call->reply, "OK");
    }
    return verdict;
}

/* ------------------------------------------------------------ sessions' users */

struct mim_acl_user *mim_acl_nobody(const struct mim_server *server) {
    struct mim_acl_user *user = mim_acl_find(server->acl, mim_slice_text("default"));
    return user->enabled && user->nopass ? user : NULL;
}

int mim_acl_reload(struct mim_server *server, struct mim_error *reterr) {
    struct mim_acl *acl;
    int rc = mim_acl_load(server->options.aclfile, server->options.requirepass, &acl, reterr);
    if (rc != 0) {
        return rc;
    }
    struct mim_session *session;
    TAILQ_FOREACH(session, &server->sessions, all_link) {
        if (session->user == NULL) {
            continue;
        }
        struct mim_acl_user *user = mim_acl_find(acl, mim_slice_text(session->user->name));
        session->user = user; /* with the rights of today */
        if (user == NULL || !user->enabled) {
            session->authenticated = false;
            session->user = NULL;
            mim_connection_doom(session);
        }
    }
    (void)mim_acl_free(server->acl);
    server->acl = acl;
    return 0;
}
