// SPDX-License-Identifier: MIT
// The loop. One turn: wait for sockets, serve all that are readable, seal what they appended and wake the journal
// thread, then release and send what is durable. libevent 2.1 has no hook for the end of a turn, so the loop is ours
// around event_base_loop(EVLOOP_ONCE).
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/internal.h"

#define LOOP_SLICE_NS 300000u

#define BUSY_WINDOW_NS       100000000u /* a burst is not a load */
#define BUSY_REQUEST_NS      40000u     /* a request each of these is a quick succession */
#define BUSY_LONE_REQUEST_NS 300000u    /* and of a session that is alone: no other waits for the cores meanwhile */

static void on_wake(evutil_socket_t fd, short what, void *context) {
    (void)what;
    (void)context;
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof(count));
    (void)got; /* what moved is seen at the end of the turn */
}

static void rates_tick(struct mim_server *server) {
    uint64_t passed = server->now_ns - server->rates.at_ns;
    if (server->phase == MIM_PHASE_LOADING || passed < 1000000000u) {
        return;
    }
    struct mim_engine_point point;
    mim_engine_point(server->engine, &point);
    double seconds = (double)passed / 1e9;
    server->rates.requests_per_second =
        (uint64_t)((double)(server->counters.requests - server->rates.requests) / seconds);
    server->rates.events_per_second = (uint64_t)((double)(point.position - server->rates.position) / seconds);
    server->rates.requests = server->counters.requests;
    server->rates.position = point.position;
    server->rates.at_ns = server->now_ns;
}

/** A full disk is told once when it begins and once when it ends. */
static void spare_tick(struct mim_server *server) {
    if (!server->ring_ready) {
        return;
    }
    int state = atomic_load_explicit(&server->ring.spare_state, memory_order_acquire);
    if (state == MIM_SPARE_FULL && server->spare_seen != MIM_SPARE_FULL) {
        mim_log(MIM_LOG_WARNING, "disk_full", "goes_on=queries commands=READONLY once the current segment is full");
        server->spare_seen = state;
    } else if (state == MIM_SPARE_READY && server->spare_seen == MIM_SPARE_FULL) {
        mim_log(MIM_LOG_INFO, "disk_has_room", "commands=accepted");
        server->spare_seen = state;
    }
}

/** How long to spin before sleeping. */
static uint64_t spin_ns(const struct mim_server *server) {
    uint64_t us = server->rest.busy ? server->options.spin_us : 0;
    return (us > server->options.busy_poll_us ? us : server->options.busy_poll_us) * 1000u;
}

/** Looks now and then whether requests come in quick succession. */
static void busy_look(struct mim_server *server) {
    struct mim_rest *rest = &server->rest;
    uint64_t passed = server->now_ns - rest->window_ns;
    if (passed >= BUSY_WINDOW_NS) {
        uint64_t apart_ns = rest->others ? BUSY_REQUEST_NS : BUSY_LONE_REQUEST_NS;
        rest->busy = (server->counters.requests - rest->window_requests) * apart_ns >= passed;
        rest->window_ns = server->now_ns;
        rest->window_requests = server->counters.requests;
        rest->others = false;
        atomic_store_explicit(&server->runners.spin_ns, spin_ns(server), memory_order_relaxed);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct mim_server *server = context;
    (void)mim_server_now(server);
    busy_look(server);
    mim_past_tick(server);
    mim_listeners_tick(server);
    mim_connections_tick(server);
    mim_connections_retry(server);
    rates_tick(server);
    spare_tick(server);
    mim_snapshotter_tick(server);
    mim_replication_tick(server);
    if (server->publisher != NULL && server->phase == MIM_PHASE_SERVING) {
        mim_publisher_tick(server->publisher);
    }
}

static void on_signal(evutil_socket_t number, short what, void *context) {
    (void)what;
    struct mim_server *server = context;
    const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";
    if (server->phase != MIM_PHASE_SERVING) {
        mim_log(MIM_LOG_INFO, "stopped", "reason=%s at_once=yes", name);
        if (server->options.unixsocket != NULL && server->listeners[MIM_LISTENER_UNIX].server != NULL) {
            (void)unlink(server->options.unixsocket);
        }
        _exit(0); /* replaying: nothing is changed on disk; stopping: the second signal. What is durable is durable. */
    }
    mim_loop_stop(server, name);
}

/* --------------------------------------------------------------------- seal */

static void seal_arm(struct mim_server *server, uint64_t delay_ns) {
    struct timeval delay = {.tv_sec = (time_t)(delay_ns / 1000000000u),
                            .tv_usec = (suseconds_t)(delay_ns % 1000000000u / 1000u) + 1};
    (void)event_add(server->seal_event, &delay);
    server->seal_armed = true;
}

/** True when all frames of data are durable and worth a seal frame. */
static bool seal_is_due(const struct mim_server *server) {
    return server->appender.next_lsn != server->seal_lsn && mim_appender_idle(&server->appender) &&
           atomic_load_explicit(&server->ring.synced_lsn, memory_order_acquire) >= server->appender.next_lsn;
}

static int seal_append(struct mim_server *server) {
    int rc = mim_appender_control(&server->appender, MIM_FRAME_SEAL, mim_server_wall_ms(server));
    if (rc == 0) {
        server->counters.seals++;
        server->seal_lsn = server->appender.next_lsn;
        server->last_lsn = server->appender.next_lsn;
        mim_runners_wake_journal(&server->runners);
    }
    return rc;
}

static void on_seal(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct mim_server *server = context;
    server->seal_armed = false;
    if (server->replication.reign.role == MIM_ROLE_STANDBY || server->replication.reign.promoting) {
        return; /* the journal is the primary's */
    }
    if (server->phase != MIM_PHASE_SERVING || server->appender.next_lsn == server->seal_lsn) {
        return;
    }
    uint64_t wanted = (uint64_t)server->options.seal_idle_ms * 1000000u;
    if (server->replication.handover !=
        MIM_HANDOVER_NONE) { /* the heir has the whole journal: nothing is added to it */
        seal_arm(server, wanted);
        return;
    }
    uint64_t idle = mim_server_now(server) - server->last_append_ns;
    if (idle < wanted) {
        seal_arm(server, wanted - idle);
    } else if (server->options.writer.durability != MIM_DURABILITY_NONE) {
        if (!seal_is_due(server) || seal_append(server) != 0) {
            seal_arm(server, wanted > 1000000u ? wanted : 1000000u);
        }
    }
}

/* --------------------------------------------------------------------- turn */

/** Hands what this turn appended to the journal thread. */
static void turn_seal(struct mim_server *server) {
    if (server->appender.open) {
        mim_appender_seal(&server->appender);
    }
    if (server->appender.next_lsn == server->last_lsn) {
        return;
    }
    server->last_lsn = server->appender.next_lsn;
    mim_runners_wake_journal(&server->runners);
    server->last_append_ns = mim_server_now(server);
    if (!server->seal_armed) {
        seal_arm(server, (uint64_t)server->options.seal_idle_ms * 1000000u);
    }
}

static void turn_failed(struct mim_server *server, int code) {
    char quoted[MIM_LOG_QUOTED_SIZE];
    mim_log(MIM_LOG_ERROR, "storage_error", "code=%s text=%s goes_on=no connections=dropped replies=none",
            mim_error_name(code), mim_log_quote(server->runners.error.text, quoted));
    server->phase = MIM_PHASE_FAILED;
    server->exit_status = mim_error_exit_status(MIM_E_IO);
}

/** Stopping: seal, wait for the disk, then for the clients, each with an end. */
static void turn_stop(struct mim_server *server) {
    uint64_t passed = server->now_ns - server->stop_ns;
    if (!server->stop_sealed) {
        if (server->replication.reign.role == MIM_ROLE_STANDBY || server->appender.next_lsn == server->seal_lsn ||
            seal_append(server) != MIM_E_AGAIN) {
            server->stop_sealed = true; /* on a full disk there is no seal, and nothing else is lost by that */
        }
    }
    bool durable = server->stop_sealed && mim_appender_idle(&server->appender);
    if (!durable) {
        if (passed > MIM_STOP_DURABLE_NS) {
            mim_log(MIM_LOG_ERROR, "storage_hangs", "waited_s=%llu goes_on=no",
                    (unsigned long long)(passed / 1000000000u));
            server->phase = MIM_PHASE_FAILED;
            server->exit_status = mim_error_exit_status(MIM_E_IO);
        }
        return;
    }
    bool confirmed = mim_feeds_confirmed_count(server, server->appender.next_lsn) >= server->replication.standby_count;
    if ((mim_connections_drained(server) && confirmed) || passed > MIM_STOP_FLUSH_NS) {
        server->phase = MIM_PHASE_STOPPED;
    }
}

/** All that happens after the sockets of a turn were served. */
static void turn_end(struct mim_server *server) {
    bool gate_moved = false;
    server->counters.turns++;
    server->wall_fresh = false;
    mim_security_turn(server);
    if (server->runners_ready) {
        int failed = atomic_load_explicit(&server->runners.failed, memory_order_acquire);
        if (MIM_UNLIKELY(failed < 0)) {
            turn_failed(server, failed);
            return;
        }
        uint32_t progress = atomic_load_explicit(&server->runners.progress, memory_order_acquire);
        if (progress != server->progress_seen) {
            server->progress_seen = progress;
            if (MIM_UNLIKELY(!TAILQ_EMPTY(&server->stalled))) {
                mim_connections_retry(server);
            }
        }
        mim_replication_turn(server);
        turn_seal(server);
        mim_lsn_t gate = mim_appender_shown(&server->appender);
        gate_moved = gate != server->gate_seen;
        server->gate_seen = gate;
        if (MIM_UNLIKELY(server->snapshotter.phase == MIM_SNAPSHOT_GATED)) {
            mim_snapshotter_gate(server, gate);
        }
    }
    if (!server->runners_ready) {
        mim_replication_turn(server);
    }
    if (server->phase == MIM_PHASE_SERVING) {
        mim_past_turn(server, gate_moved);
    }
    if (gate_moved || !TAILQ_EMPTY(&server->fresh)) {
        (void)mim_server_now(server);
        mim_connections_settle(server, gate_moved);
        mim_connections_bury(server);
    }
    if (server->publisher != NULL && server->phase == MIM_PHASE_SERVING) {
        mim_publishing_turn(server); /* behind the replies: they do not wait for it */
    }
    if (server->phase == MIM_PHASE_STOPPING) {
        (void)mim_server_now(server);
        turn_stop(server);
    }
}

/** True when the loop goes on looking though nothing has come yet. */
static bool spins_on(struct mim_server *server) {
    struct mim_rest *rest = &server->rest;
    uint64_t now = mim_server_now(server);
    uint64_t activity = server->counters.bytes_in + server->progress_seen;
    if (activity != rest->activity) {
        rest->activity = activity;
        rest->since_ns = now;
        busy_look(server);
    }
    return now - rest->since_ns < spin_ns(server);
}

/** True when the next turn may wait for sockets. */
static bool may_wait(struct mim_server *server) {
    if (!TAILQ_EMPTY(&server->fresh) || server->appender.open || mim_past_busy(server) ||
        mim_replication_busy(server) || (server->publisher != NULL && mim_publisher_busy(server->publisher))) {
        return false;
    }
    if (spins_on(server)) {
        server->counters.spins++;
        (void)sched_yield(); /* somebody may wait for this core */
        return false;
    }
    return mim_runners_sleep(&server->runners, server->progress_seen);
}

void mim_loop_run(struct mim_server *server) {
    mim_thread_hasten(LOOP_SLICE_NS);
    while (server->phase < MIM_PHASE_STOPPED) {
        bool wait = may_wait(server);
        (void)event_base_loop(server->base, wait ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK);
        if (wait) {
            mim_runners_awake(&server->runners);
        }
        turn_end(server);
        if (MIM_UNLIKELY(server->replication.reopen != MIM_REOPEN_NONE) && server->phase <= MIM_PHASE_SERVING) {
            mim_server_reopen(server);
        }
    }
}

void mim_loop_poll(struct mim_server *server) {
    (void)event_base_loop(server->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    turn_end(server);
}

void mim_loop_stop(struct mim_server *server, const char *reason) {
    if (server->phase != MIM_PHASE_SERVING) {
        return;
    }
    mim_log(MIM_LOG_INFO, "stopping", "reason=%s clients=%u", reason, server->session_count);
    server->phase = MIM_PHASE_STOPPING;
    server->stop_ns = mim_server_now(server);
    mim_listeners_close(server);
    mim_link_stop(server, NULL);
    mim_connections_stop_reading(server);
}

/* --------------------------------------------------------------- life cycle */

static struct event *event_make(struct mim_server *server, evutil_socket_t fd, short what, event_callback_fn callback,
                                const struct timeval *timeout) {
    struct event *event = event_new(server->base, fd, what, callback, server);
    if (event != NULL && event_add(event, timeout) != 0) {
        event_free(event);
        return NULL;
    }
    return event;
}

int mim_loop_open(struct mim_server *server, struct mim_error *reterr) {
    server->runners.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct event_config *config = event_config_new();
    if (server->runners.wake_fd < 0 || config == NULL) {
        event_config_free(config);
        return mim_error_os(reterr, MIM_E_MEMORY, errno, "starting the loop");
    }
    /* No list of changes for epoll: it would name descriptors that were closed meanwhile, and may be another thread's by then. */
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    server->base = event_base_new_with_config(config);
    event_config_free(config);
    if (server->base == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "starting the loop");
    }
    struct timeval tick = {.tv_usec = MIM_TICK_MS * 1000};
    server->wake_event = event_make(server, server->runners.wake_fd, EV_READ | EV_PERSIST, on_wake, NULL);
    server->tick_event = event_make(server, -1, EV_PERSIST, on_tick, &tick);
    server->term_event = event_make(server, SIGTERM, EV_SIGNAL | EV_PERSIST, on_signal, NULL);
    server->int_event = event_make(server, SIGINT, EV_SIGNAL | EV_PERSIST, on_signal, NULL);
    server->seal_event = event_new(server->base, -1, 0, on_seal, server);
    if (server->wake_event == NULL || server->tick_event == NULL || server->term_event == NULL ||
        server->int_event == NULL || server->seal_event == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "starting the loop");
    }
    return 0;
}

void mim_loop_close(struct mim_server *server) {
    struct event **events[] = {&server->wake_event, &server->tick_event, &server->term_event, &server->int_event,
                               &server->seal_event};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (*events[i] != NULL) {
            event_free(*events[i]);
            *events[i] = NULL;
        }
    }
    if (server->base != NULL) {
        event_base_free(server->base);
        server->base = NULL;
    }
    if (server->runners.wake_fd > 0) {
        (void)close(server->runners.wake_fd);
        server->runners.wake_fd = -1;
    }
}
