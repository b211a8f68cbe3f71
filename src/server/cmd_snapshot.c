// SPDX-License-Identifier: MIT
// SNAPSHOT and LASTSAVE.
#include "server/internal.h"

enum mim_verdict_of_call mim_cmd_lastsave(struct mim_call *call) {
    int64_t last = call->server->snapshotter.last_wall_ms;
    mim_reply_integer(call->reply, (last != 0 ? last : call->server->started_wall_ms) / 1000);
    return MIM_CALL_DONE;
}

/** Begins a snapshot for this session, or waits for its turn. */
static enum mim_verdict_of_call snapshot_begin(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_snapshotter *s = &server->snapshotter;
    if (s->phase != MIM_SNAPSHOT_IDLE) {
        return MIM_CALL_AGAIN;
    }
    struct mim_engine_point point;
    mim_engine_point(server->engine, &point);
    if (s->last_wall_ms != 0 && s->last_position == point.position) {
        mim_reply_integer(call->reply, (int64_t)point.position); /* the newest one is of this very position */
        return MIM_CALL_DONE;
    }
    struct mim_error error = {0};
    if (mim_snapshotter_begin(server, &error) != 0) {
        mim_reply_errorf(call->reply, "ERR", "%s", error.text);
        return MIM_CALL_DONE;
    }
    call->session->snapshot_ticket = s->ticket;
    return MIM_CALL_AGAIN;
}

enum mim_verdict_of_call mim_cmd_snapshot(struct mim_call *call) {
    struct mim_snapshotter *s = &call->server->snapshotter;
    if (call->server->phase != MIM_PHASE_SERVING) {
        mim_reply_errorf(call->reply, "ERR", "the server is stopping");
        return MIM_CALL_DONE;
    }
    if (call->session->snapshot_ticket == 0) {
        return snapshot_begin(call);
    }
    if (s->finished < call->session->snapshot_ticket) {
        return MIM_CALL_AGAIN;
    }
    call->session->snapshot_ticket = 0;
    if (s->last_error[0] != '\0') {
        mim_reply_errorf(call->reply, "ERR", "no snapshot: %s", s->last_error);
    } else {
        mim_reply_integer(call->reply, (int64_t)s->last_position);
    }
    return MIM_CALL_DONE;
}
