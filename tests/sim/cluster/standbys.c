// SPDX-License-Identifier: MIT
// A node's side towards the standbys that follow it: their commands are answered, frames sent, confirmations taken in.
#include "world.h"

enum { FRAMES_A_TURN = 8 };

static bool is_standbys(const struct connection *c, const struct node *n) {
    return c->used && c->listener == n->number && !c->listener_left;
}

unsigned standbys_streaming(const struct world *w, const struct node *n) {
    const struct mim_feed *feeds[CONNECTIONS];
    size_t count = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
        if (is_standbys(&w->connections[i], n)) {
            feeds[count++] = &w->connections[i].feed;
        }
    }
    mim_lsn_t acked[MIM_REIGN_STANDBYS_MAX];
    return (unsigned)mim_reign_acks(feeds, count, acked);
}

static int limit_set(struct node *n) {
    struct mim_error ignored = {0};
    return mim_access_set_limit(n->access, atomic_load(&n->ring.gate_lsn), n->appender.segment_base_lsn, &ignored);
}

/** One command of a standby. False: it has to go. */
static bool command_answer(struct world *w, struct node *n, struct connection *c, struct mim_buffer *out) {
    struct mim_slice arguments[1024];
    char run[24];
    for (uint32_t i = 0; i < c->parser.count; i++) {
        arguments[i] = mim_slice_of(c->input.data + c->parser.spans[i].offset, c->parser.spans[i].size);
    }
    if (!n->journal || limit_set(n) != 0) {
        mim_buffer_text(out, "-LOADING there is no journal to follow yet\r\n");
        return true;
    }
    (void)snprintf(run, sizeof(run), "run-%d-%u", n->number, n->lives);
    const struct mim_answering answering = {.storage = n->storage,
                                            .engine = n->engine,
                                            .appender = &n->appender,
                                            .access = n->access,
                                            .follows = n->reign.role == MIM_ROLE_STANDBY,
                                            .run_id = run};
    struct mim_replica_point peer = {0};
    switch (mim_answer(&answering, &c->feed, arguments, c->parser.count, out, &peer)) {
    case MIM_ANSWER_GIVEN:
    case MIM_ANSWER_FOLLOWS:
    case MIM_ANSWER_CONFIRMED:
        return true;
    case MIM_ANSWER_FENCED:
        if (n->reign.role == MIM_ROLE_PRIMARY && !n->reign.fenced) {
            tell(w, "node %d is fenced: node %d is in epoch %u", n->number, c->dialer, peer.epoch);
            n->reign.fenced = true;
        }
        return true;
    case MIM_ANSWER_HOSTILE:
        tell(w, "node %d does not believe node %d", n->number, c->dialer);
        REQUIRE(w, false); /* all are honest here */
        return false;
    }
    return false;
}

/** What a standby has sent. False: it has to go. */
static bool commands_answer(struct world *w, struct node *n, struct connection *c) {
    struct mim_buffer out = {0};
    size_t at = 0;
    bool goes_on = true;
    while (goes_on && at < c->input.size) {
        struct mim_buffer rest = {.data = c->input.data + at, .size = c->input.size - at};
        enum mim_resp_result result = mim_resp_parse(&c->parser, rest.data, rest.size);
        if (result == MIM_RESP_MORE) {
            break;
        }
        REQUIRE(w, result == MIM_RESP_READY);
        size_t size = c->parser.offset;
        struct mim_buffer whole = c->input;
        c->input = rest;
        goes_on = c->parser.count == 0 || command_answer(w, n, c, &out);
        c->input = whole;
        mim_resp_next(&c->parser);
        at += size;
    }
    if (at > 0) {
        memmove(c->input.data, c->input.data + at, c->input.size - at);
        c->input.size -= at;
    }
    network_send(w, &c->down, out.data, out.size);
    mim_buffer_deinit(&out);
    return goes_on;
}

void standbys_serve(struct world *w, struct node *n) {
    for (int i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &w->connections[i];
        if (!is_standbys(c, n)) {
            continue;
        }
        size_t before = c->input.size;
        bool open = network_receive(w, i, false, &c->input);
        c->heard_ns = c->input.size > before ? w->now_ns : c->heard_ns;
        bool goes_on = commands_answer(w, n, c);
        if (!open || !goes_on || w->now_ns - c->heard_ns > PATIENCE_NS) {
            network_leave(w, i, false, false);
        }
    }
}

static void beat(struct world *w, const struct node *n, struct connection *c, struct mim_buffer *out) {
    const uint64_t numbers[] = {atomic_load(&n->ring.gate_lsn), atomic_load(&n->ring.gate_position), n->appender.epoch};
    if (w->now_ns - c->beat_ns > BEAT_NS) {
        c->beat_ns = w->now_ns;
        mim_push_word(out, "beat", numbers, 3);
    }
}

void standbys_feed(struct world *w, struct node *n) {
    for (int i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &w->connections[i];
        if (!is_standbys(c, n) || !c->feed.streaming || limit_set(n) != 0) {
            continue;
        }
        struct mim_buffer out = {0};
        struct mim_error error = {0};
        struct mim_frame frame;
        int rc = 0;
        for (int k = 0; k < FRAMES_A_TURN && rc == 0; k++) {
            rc = mim_feed_next(&c->feed, n->access, &frame, &error);
            if (rc == 0) {
                mim_push_frame(&out, &frame);
            }
        }
        beat(w, n, c, &out);
        network_send(w, &c->down, out.data, out.size);
        mim_buffer_deinit(&out);
        if (rc != 0 && rc != MIM_E_NOT_FOUND && rc != MIM_E_AGAIN) {
            tell(w, "node %d cannot feed node %d: %s", n->number, c->dialer, error.text);
            REQUIRE(w, rc == MIM_E_IO);
            network_leave(w, i, false, false);
        }
    }
}

void standbys_confirm(struct world *w, struct node *n) {
    const struct mim_feed *feeds[CONNECTIONS];
    size_t count = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
        if (is_standbys(&w->connections[i], n)) {
            feeds[count++] = &w->connections[i].feed;
        }
    }
    (void)mim_reign_confirm(&n->reign, &n->appender, feeds, count, w->wanted);
}
