// SPDX-License-Identifier: MIT
// Followers: each is a cursor over the journal's files. Active ones have something to read, live ones stand at the end
// of what is durable, paused ones wait for their clients to read. An event is encoded once for all of them.
#include <stdio.h>
#include <stdlib.h>

#include "server/past.h"

static struct mim_follower *follower_of(const struct mim_session *session) {
    return session->past == NULL ? NULL : session->past->follower;
}

static void follower_move(struct mim_follower *follower, enum mim_follower_state state) {
    struct mim_past *past = follower->session->server->past;
    TAILQ_REMOVE(&past->followers[follower->state], follower, link);
    follower->state = state;
    TAILQ_INSERT_TAIL(&past->followers[state], follower, link);
}

int mim_follow_begin(struct mim_session *session, mim_position_t position, const struct mim_event_filter *filter,
                     struct mim_error *reterr) {
    struct mim_follower *follower = calloc(1, sizeof(*follower));
    if (follower != NULL && session->past == NULL) {
        session->past = calloc(1, sizeof(*session->past));
    }
    if (follower == NULL || session->past == NULL) {
        free(follower);
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    mim_follow_end(session);
    follower->session = session;
    follower->filter = *filter;
    follower->state = MIM_FOLLOWER_ACTIVE;
    mim_cursor_init(&follower->cursor, position);
    session->past->follower = follower;
    TAILQ_INSERT_TAIL(&session->server->past->followers[MIM_FOLLOWER_ACTIVE], follower, link);
    return 0;
}

void mim_follow_end(struct mim_session *session) {
    struct mim_follower *follower = follower_of(session);
    if (follower != NULL) {
        TAILQ_REMOVE(&session->server->past->followers[follower->state], follower, link);
        mim_event_filter_deinit(&follower->filter);
        free(follower);
        session->past->follower = NULL;
    }
}

/* --------------------------------------------------------------------- output */

static size_t output_waiting(const struct mim_session *session) { return session->reply.out.size - session->sent; }

static size_t output_soft(const struct mim_session *session) {
    uint64_t half = session->server->options.output_size_max / 2;
    return half < MIM_OUTPUT_SOFT ? (size_t)half : MIM_OUTPUT_SOFT;
}

void mim_past_sent(struct mim_session *session) {
    struct mim_follower *follower = follower_of(session);
    if (follower != NULL && follower->state == MIM_FOLLOWER_PAUSED) {
        follower->progress_ns = session->server->now_ns;
        if (output_waiting(session) <= output_soft(session) / 2) {
            follower_move(follower, MIM_FOLLOWER_ACTIVE);
        }
    }
}

/** The shared bytes of an event; NULL with the error. */
static const struct mim_encoded *encoded_get(struct mim_past *past, const struct mim_journal_event *event,
                                             struct mim_error *reterr) {
    struct mim_encoded *encoded = &past->encoded[event->position & (MIM_PAST_ENCODED - 1u)];
    if (encoded->position == event->position) {
        return encoded;
    }
    past->json.size = 0;
    if (mim_cloudevents_encode(past->events, event, &past->json, reterr) != 0) {
        return NULL;
    }
    if (encoded->bytes.capacity > MIM_PAST_ENCODED_KEPT) {
        mim_buffer_deinit(&encoded->bytes);
    }
    struct mim_reply reply = {.out = encoded->bytes, .protocol = 2};
    reply.out.size = 0;
    mim_reply_text(&reply, "event");
    mim_reply_bulk(&reply, mim_slice_of(past->json.data, past->json.size));
    encoded->bytes = reply.out;
    encoded->position = event->position;
    return encoded;
}

/** Lets the bytes behind `before` leave: at once, or behind the replies that wait for durability. */
static void output_release(struct mim_session *session, size_t before) {
    struct mim_server *server = session->server;
    size_t size = session->reply.out.size - before;
    if (size == 0) {
        return;
    }
    uint64_t end = session->output_base + session->reply.out.size;
    if (session->holdback.count == 0) {
        session->released = end;
    } else if (mim_holdback_add(&session->holdback, end, 0, server->now_ns, MIM_COMMAND_NONE) != 0) {
        session->doomed = true;
    }
    mim_connection_touch(session);
}

/* ---------------------------------------------------------------------- turns */

/** Pushes up to a visit's share of events. 0: more may be there; NOT_FOUND: at the end; LIMIT: the client has to read
 *  first; others: it is over. */
static int follower_visit(struct mim_follower *follower, struct mim_error *reterr) {
    struct mim_session *session = follower->session;
    struct mim_past *past = session->server->past;
    struct mim_frame frame;
    unsigned left = MIM_PAST_VISIT_EVENTS;
    int rc = 0;
    while (rc == 0 && left > 0) {
        rc = mim_cursor_frame(&follower->cursor, past->access, &frame, reterr);
        while (rc == 0 && left > 0) {
            struct mim_journal_event event;
            if (output_waiting(session) > output_soft(session)) {
                return MIM_E_LIMIT;
            }
            rc = mim_cursor_event(&follower->cursor, &frame, &event, reterr);
            if (rc != 0) {
                break;
            }
            if (mim_event_filter_wants(&follower->filter, session->server->engine, &event)) {
                const struct mim_encoded *encoded = encoded_get(past, &event, reterr);
                if (encoded == NULL) {
                    return reterr->code;
                }
                mim_reply_push(&session->reply, 2);
                mim_buffer_append(&session->reply.out, encoded->bytes.data, encoded->bytes.size);
                past->followed++;
            }
            mim_cursor_taken(&follower->cursor, &event);
            left--;
        }
        if (rc == MIM_E_NOT_FOUND && follower->cursor.lsn < mim_access_limit(past->access)) {
            rc = 0; /* the frame is over, not the journal */
            left = left > 8 ? left - 8 : 0;
        }
    }
    return rc == MIM_E_AGAIN ? 0 : rc;
}

/** Ends a follower with an error its client can read. */
static void follower_fail(struct mim_follower *follower, const char *prefix, const char *text) {
    struct mim_session *session = follower->session;
    char quoted[MIM_LOG_QUOTED_SIZE];
    if (mim_security_may_log(session->server)) {
        mim_log(MIM_LOG_WARNING, "follower_dropped", "client=%llu addr=%s position=%llu text=%s goes_on=closed",
                (unsigned long long)session->id, session->address, (unsigned long long)follower->cursor.position,
                mim_log_quote(text, quoted));
    }
    session->server->past->dropped++;
    mim_follow_end(session);
    mim_session_refuse(session, prefix, text);
    mim_connection_touch(session);
}

static void follower_serve(struct mim_follower *follower) {
    struct mim_session *session = follower->session;
    if (session->closing || session->doomed) {
        mim_follow_end(session);
        return;
    }
    struct mim_error error = {0};
    size_t before = session->reply.out.size;
    int rc = follower_visit(follower, &error);
    output_release(session, before);
    if (rc == MIM_E_NOT_FOUND) {
        follower_move(follower, MIM_FOLLOWER_LIVE);
    } else if (rc == MIM_E_LIMIT) {
        follower->progress_ns = session->server->now_ns;
        follower_move(follower, MIM_FOLLOWER_PAUSED);
    } else if (rc != 0) {
        follower_fail(follower, "ERR", error.text);
    } else {
        follower_move(follower, MIM_FOLLOWER_ACTIVE); /* behind the others */
    }
}

void mim_follow_turn(struct mim_server *server, bool gate_moved, uint64_t deadline_ns) {
    struct mim_past *past = server->past;
    struct mim_follower *follower;
    if (gate_moved) {
        TAILQ_FOREACH(follower, &past->followers[MIM_FOLLOWER_LIVE], link) { follower->state = MIM_FOLLOWER_ACTIVE; }
        TAILQ_CONCAT(&past->followers[MIM_FOLLOWER_ACTIVE], &past->followers[MIM_FOLLOWER_LIVE], link);
    }
    if (TAILQ_EMPTY(&past->followers[MIM_FOLLOWER_ACTIVE])) {
        return;
    }
    struct mim_error error = {0};
    int rc = mim_past_limit(server, &error);
    while ((follower = TAILQ_FIRST(&past->followers[MIM_FOLLOWER_ACTIVE])) != NULL) {
        if (rc != 0) {
            follower_fail(follower, "ERR", error.text);
        } else {
            follower_serve(follower);
        }
        if (server->clock.monotonic_ns(server->clock.context) >= deadline_ns) {
            break;
        }
    }
}

/** Followers are not idle; those whose clients have not read for long are dropped. */
void mim_follow_tick(struct mim_server *server) {
    struct mim_past *past = server->past;
    struct mim_follower *follower;
    TAILQ_FOREACH(follower, &past->followers[MIM_FOLLOWER_LIVE], link) {
        follower->session->active_ns = server->now_ns;
    }
    struct mim_follower *next;
    for (follower = TAILQ_FIRST(&past->followers[MIM_FOLLOWER_PAUSED]); follower != NULL; follower = next) {
        next = TAILQ_NEXT(follower, link);
        if (server->now_ns > follower->progress_ns + server->options.follower_timeout_s * 1000000000ull) {
            char text[128];
            (void)snprintf(text, sizeof(text), "the follower read nothing for %u s: FOLLOW again FROM where it stopped",
                           server->options.follower_timeout_s);
            follower_fail(follower, "OVERLOADED", text);
        }
    }
}
