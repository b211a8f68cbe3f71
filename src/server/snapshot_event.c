// SPDX-License-Identifier: MIT
// The server's side of snapshots: when, the child, the comparison. See snapshot_event.h.
#include "server/snapshot_event.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/internal.h"

#define SCAN_STEP        64u    /* aggregates hashed between looks at the clock */
#define SCAN_IDLE_NS     400000 /* of a slice when nobody asked for anything since the last one */
#define SCAN_BUSY_NS     50000  /* and when somebody did: the next command waits no longer than that */
#define WORK_PAUSE_US    500    /* between slices: commands come first */
#define WORK_BUSY_US     1000   /* and more so while there are some: a twentieth of the time is theirs at most */
#define VERIFY_NICE      10     /* commands come first */
#define BACKOFF_FIRST_NS 10000000000ull
#define BACKOFF_MOST_NS  600000000000ull

static void work_arm(struct mim_snapshotter *s) {
    struct timeval pause = {.tv_usec = s->work_busy ? WORK_BUSY_US : WORK_PAUSE_US};
    if (s->scanning || s->settle_pending) {
        (void)event_add(s->work_event, &pause);
    }
}

/* --------------------------------------------------------------- the end */

static void finish(struct mim_server *server, const char *error) {
    struct mim_snapshotter *s = &server->snapshotter;
    mim_engine_scan_end(server->engine);
    s->scanning = false;
    s->phase = MIM_SNAPSHOT_IDLE;
    s->finished = s->ticket;
    (void)snprintf(s->last_error, sizeof(s->last_error), "%s", error);
    if (error[0] == '\0') {
        s->taken++;
        s->backoff_ns = 0;
        s->retry_ns = 0;
    } else {
        s->failed++;
        s->backoff_ns = s->backoff_ns == 0 ? BACKOFF_FIRST_NS : s->backoff_ns * 2;
        s->backoff_ns = s->backoff_ns > BACKOFF_MOST_NS ? BACKOFF_MOST_NS : s->backoff_ns;
        s->retry_ns = mim_server_now(server) + s->backoff_ns;
        char quoted[MIM_LOG_QUOTED_SIZE];
        mim_log(MIM_LOG_WARNING, "snapshot_failed", "position=%llu text=%s goes_on=yes retry_s=%llu",
                (unsigned long long)s->position, mim_log_quote(error, quoted),
                (unsigned long long)(s->backoff_ns / 1000000000u));
    }
    mim_connections_retry(server);
}

static void archive_begin(struct mim_server *server);

/** The child's digest against ours of the same position. */
static void compare(struct mim_server *server) {
    struct mim_snapshotter *s = &server->snapshotter;
    unsigned long long position = 0;
    unsigned long long lsn = 0;
    unsigned long long digest = 0;
    unsigned long long bytes = 0;
    if (sscanf(s->output, "{\"position\":%llu,\"lsn\":%llu,\"digest\":\"%llx\",\"bytes\":%llu", &position, &lsn,
               &digest, &bytes) != 4) {
        finish(server, "the snapshot process ended without a result");
        return;
    }
    if (position != s->position || digest != s->digest) {
        struct mim_error error = {0};
        s->discarded++;
        mim_log(MIM_LOG_ERROR, "digest_differs",
                "position=%llu live=%016llx replayed=%016llx snapshot=discarded cause=\"the model's evolve is not "
                "deterministic, or memory is broken: run memimage digest --from-scratch\" goes_on=yes",
                (unsigned long long)s->position, (unsigned long long)s->digest, digest);
        if (mim_snapshot_discard(server->storage, position, &error) != 0) {
            mim_log(MIM_LOG_ERROR, "snapshot_not_removed", "position=%llu", position);
        }
        finish(server, "the digest of the replayed state differs from the live one: discarded");
        return;
    }
    s->last_position = s->position;
    s->last_lsn = lsn;
    s->last_bytes = bytes;
    s->last_wall_ms = mim_server_wall_ms(server);
    s->last_ns = mim_server_now(server);
    s->last_seconds = (double)(s->last_ns - s->begun_ns) / 1e9;
    mim_log(MIM_LOG_INFO, "snapshot", "position=%llu bytes=%llu digest=%016llx seconds=%.3f", position, bytes, digest,
            s->last_seconds);
    finish(server, "");
    archive_begin(server);
}

/** The archiving child is done; whatever it moved, the journal and its snapshots are in order. */
static void archive_ended(struct mim_server *server, int status) {
    struct mim_snapshotter *s = &server->snapshotter;
    unsigned segments = 0;
    unsigned long long bytes = 0;
    unsigned long long first = 0;
    s->phase = MIM_SNAPSHOT_IDLE;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 ||
        sscanf(s->output, "{\"segments\":%u,\"bytes\":%llu,\"first_position\":%llu}", &segments, &bytes, &first) != 3) {
        s->archive_failed++;
        mim_log(MIM_LOG_WARNING, "archive_failed", "dir=%s text=\"the words of the process are above\" goes_on=yes",
                server->options.archive);
    } else if (segments > 0) {
        s->archived_segments += segments;
        s->archived_bytes += bytes;
        mim_log(MIM_LOG_INFO, "archived", "dir=%s segments=%u bytes=%llu journal_begins_at=%llu",
                server->options.archive, segments, bytes, first);
    }
    mim_connections_retry(server);
}

static void child_ended(struct mim_server *server) {
    struct mim_snapshotter *s = &server->snapshotter;
    int status = 0;
    (void)event_del(s->output_event);
    (void)close(s->output_fd);
    s->output_fd = -1;
    while (waitpid(s->child, &status, 0) < 0 && errno == EINTR) {
    }
    s->child = 0;
    s->output[s->output_size] = '\0';
    if (s->phase == MIM_SNAPSHOT_ARCHIVING) {
        archive_ended(server, status);
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char text[128];
        (void)snprintf(text, sizeof(text), "the snapshot process ended with %s %d; its words are above",
                       WIFEXITED(status) ? "status" : "signal",
                       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        finish(server, text);
    } else if (s->scanning) {
        s->phase = MIM_SNAPSHOT_COMPARED;
    } else {
        compare(server);
    }
}

static void on_output(evutil_socket_t fd, short what, void *context) {
    (void)what;
    struct mim_server *server = context;
    struct mim_snapshotter *s = &server->snapshotter;
    size_t room = sizeof(s->output) - 1 - s->output_size;
    char waste[256];
    ssize_t got = read(fd, room > 0 ? s->output + s->output_size : waste, room > 0 ? room : sizeof(waste));
    if (got > 0) {
        s->output_size += room > 0 ? (size_t)got : 0;
    } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
        child_ended(server);
    }
}

/* ------------------------------------------------------------- the child */

/** Starts `memimage snapshot` by posix_spawn (vfork inside: its cost does not grow with our memory). */
static int child_spawn(struct mim_server *server, const char *const words[], struct mim_error *reterr) {
    struct mim_snapshotter *s = &server->snapshotter;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return mim_error_os(reterr, MIM_E_IO, errno, "pipe");
    }
    union {
        const char *const *constant;
        char *const *plain;
    } arguments = {.constant = words};
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    int failed = posix_spawn(&s->child, "/proc/self/exe", &actions, NULL, arguments.plain, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    if (failed != 0) {
        (void)close(ends[0]);
        return mim_error_os(reterr, MIM_E_IO, failed, "starting the snapshot process");
    }
    s->output_fd = ends[0];
    s->output_size = 0;
    (void)event_assign(s->output_event, server->base, ends[0], EV_READ | EV_PERSIST, on_output, server);
    (void)event_add(s->output_event, NULL);
    return 0;
}

static int snapshot_spawn(struct mim_server *server, struct mim_error *reterr) {
    struct mim_snapshotter *s = &server->snapshotter;
    char limit[24];
    char keep[24];
    char rate[24];
    char window[24];
    char parent[24];
    (void)snprintf(limit, sizeof(limit), "%llu", (unsigned long long)s->lsn);
    (void)snprintf(keep, sizeof(keep), "%u", server->options.snapshot_keep);
    (void)snprintf(rate, sizeof(rate), "%u", server->options.snapshot_rate);
    (void)snprintf(window, sizeof(window), "%u", server->options.idempotency_window);
    (void)snprintf(parent, sizeof(parent), "%ld", (long)server->pid);
    const char *const words[] = {"memimage",    "snapshot",
                                 "--dir",       server->options.dir,
                                 "--model",     server->options.model_name,
                                 "--limit-lsn", limit,
                                 "--keep",      keep,
                                 "--rate",      rate,
                                 "--keys",      window,
                                 "--parent",    parent,
                                 "--json",      NULL};
    int rc = child_spawn(server, words, reterr);
    s->phase = rc == 0 ? MIM_SNAPSHOT_RUNNING : s->phase;
    return rc;
}

/** A snapshot is good and compared: what no kept one needs may go. In a process of its own, as the snapshot. */
static void archive_begin(struct mim_server *server) {
    if (server->options.archive == NULL || server->phase != MIM_PHASE_SERVING ||
        server->snapshotter.phase != MIM_SNAPSHOT_IDLE) {
        return; /* somebody who waited has begun the next snapshot: after that one */
    }
    char parent[24];
    (void)snprintf(parent, sizeof(parent), "%ld", (long)server->pid);
    const char *const words[] = {"memimage",  "snapshot",
                                 "--dir",     server->options.dir,
                                 "--model",   server->options.model_name,
                                 "--archive", server->options.archive,
                                 "--parent",  parent,
                                 "--json",    "--archive-only",
                                 NULL};
    struct mim_error error = {0};
    if (child_spawn(server, words, &error) == 0) {
        server->snapshotter.phase = MIM_SNAPSHOT_ARCHIVING;
        return;
    }
    char quoted[MIM_LOG_QUOTED_SIZE];
    server->snapshotter.archive_failed++;
    mim_log(MIM_LOG_WARNING, "archive_failed", "dir=%s text=%s goes_on=yes", server->options.archive,
            mim_log_quote(error.text, quoted));
}

void mim_snapshotter_gate(struct mim_server *server, mim_lsn_t gate) {
    struct mim_snapshotter *s = &server->snapshotter;
    if (s->phase != MIM_SNAPSHOT_GATED || gate < s->gate ||
        atomic_load_explicit(&server->ring.synced_lsn, memory_order_acquire) < s->gate) {
        return;
    }
    struct mim_error error = {0};
    if (snapshot_spawn(server, &error) != 0) {
        finish(server, error.text);
    }
}

int mim_snapshotter_begin(struct mim_server *server, struct mim_error *reterr) {
    struct mim_snapshotter *s = &server->snapshotter;
    if (s->phase != MIM_SNAPSHOT_IDLE) {
        return mim_error_set(reterr, MIM_E_STATE, "a snapshot is being made already");
    }
    mim_appender_seal(&server->appender);
    mim_replication_scan_lost(server);
    int rc = mim_engine_scan_begin(server->engine, reterr);
    if (rc != 0) {
        return rc;
    }
    struct mim_engine_point point;
    mim_engine_point(server->engine, &point);
    s->position = point.position;
    s->lsn = server->appender.next_lsn;
    s->gate = mim_engine_gate_all(server->engine, &server->appender);
    s->ticket++;
    s->scanning = true;
    s->begun_ns = mim_server_now(server);
    s->phase = MIM_SNAPSHOT_GATED;
    work_arm(s);
    mim_snapshotter_gate(server, atomic_load_explicit(&server->ring.gate_lsn, memory_order_acquire));
    return 0;
}

/* ------------------------------------------------- slices of idle time */

static void settle_step(struct mim_server *server) {
    struct mim_snapshotter *s = &server->snapshotter;
    uint64_t before = mim_server_now(server);
    s->settle_pending = mim_arena_settle(mim_engine_arena(server->engine), &s->settling);
    uint64_t took = mim_server_now(server) - before;
    s->settle_longest_ns = took > s->settle_longest_ns ? took : s->settle_longest_ns;
    if (!s->settle_pending) {
        mim_arena_settle_end(&s->settling);
        mim_log(MIM_LOG_INFO, "settled", "bytes=%llu longest_us=%llu", (unsigned long long)s->settling.end,
                (unsigned long long)(s->settle_longest_ns / 1000u));
    }
}

/** A slice of the scan; true when it is over. */
static bool scan_slice(struct mim_server *server) {
    struct mim_snapshotter *s = &server->snapshotter;
    uint64_t until = mim_server_now(server) + (s->work_busy ? SCAN_BUSY_NS : SCAN_IDLE_NS);
    mim_position_t position;
    bool over;
    do {
        over = mim_engine_scan_step(server->engine, SCAN_STEP, &position, &s->digest);
    } while (!over && mim_server_now(server) < until);
    return over;
}

static void on_work(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct mim_server *server = context;
    struct mim_snapshotter *s = &server->snapshotter;
    s->work_busy = server->counters.turns > s->work_turn + 1;
    s->work_turn = server->counters.turns;
    if (s->scanning) {
        s->scanning = !scan_slice(server);
        if (!s->scanning && s->phase == MIM_SNAPSHOT_COMPARED) {
            compare(server);
        }
    } else if (s->settle_pending && !s->verifying) {
        settle_step(server);
    }
    work_arm(s);
}

/* -------------------------------------------------------------- schedule */

static bool is_due(struct mim_server *server) {
    const struct mim_snapshotter *s = &server->snapshotter;
    const struct mim_server_options *o = &server->options;
    struct mim_engine_point point;
    mim_engine_point(server->engine, &point);
    uint64_t events = point.position - s->last_position;
    uint64_t bytes = server->appender.next_lsn - s->last_lsn;
    uint64_t passed = server->now_ns - (s->last_ns == 0 ? server->started_ns : s->last_ns);
    if (events == 0 || server->now_ns < s->retry_ns) {
        return false;
    }
    return (o->snapshot_every > 0 && events >= o->snapshot_every) ||
           (o->snapshot_every_bytes > 0 && bytes >= o->snapshot_every_bytes) ||
           (o->snapshot_every_s > 0 && passed >= o->snapshot_every_s * 1000000000ull);
}

/** The background check is over: good, or the image in use is not to be trusted. */
static void verify_look(struct mim_server *server) {
    struct mim_snapshotter *s = &server->snapshotter;
    int result = atomic_load_explicit(&s->verify_result, memory_order_acquire);
    if (!s->verifying || result == 1) {
        return;
    }
    (void)pthread_join(s->verifier, NULL);
    s->verifying = false;
    if (result != 0) {
        char quoted[MIM_LOG_QUOTED_SIZE];
        mim_log(MIM_LOG_ERROR, "snapshot_damaged",
                "text=%s goes_on=no next=\"start again with --verify eager: an older snapshot or the journal is used\"",
                mim_log_quote(s->verify_error.text, quoted));
        server->phase = MIM_PHASE_FAILED;
        server->exit_status = mim_error_exit_status(MIM_E_DAMAGED);
        return;
    }
    mim_log(MIM_LOG_INFO, "snapshot_verified", "position=%llu", (unsigned long long)s->restored.header.position);
    work_arm(s);
}

void mim_snapshotter_tick(struct mim_server *server) {
    struct mim_snapshotter *s = &server->snapshotter;
    verify_look(server);
    if (server->phase == MIM_PHASE_SERVING && s->phase == MIM_SNAPSHOT_IDLE && is_due(server)) {
        struct mim_error error = {0};
        if (mim_snapshotter_begin(server, &error) != 0) {
            finish(server, error.text);
        }
    }
}

/* ------------------------------------------------------------ life cycle */

static void *verify_run(void *context) {
    struct mim_snapshotter *s = context;
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), VERIFY_NICE); /* this thread alone */
    int rc = mim_snapshot_verify(s->server->storage, &s->restored.header, 1, &s->verify_stop, &s->verify_error);
    atomic_store_explicit(&s->verify_result, rc, memory_order_release);
    return NULL;
}

int mim_snapshotter_recover(struct mim_server *server, const struct mim_recovery_options *options,
                            struct mim_recovery *ret_recovery, struct mim_error *reterr) {
    struct mim_snapshotter *s = &server->snapshotter;
    struct mim_engine_options engine = {
        .compiled = server->options.compiled,
        .idempotency_window = server->options.idempotency_window,
        .memory_limit = server->options.memory_limit,
        .reservation = server->options.reservation,
        .keep_commands = server->options.keep_commands,
    };
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct mim_restore_options restore = {
        .verify = server->options.verify,
        .threads = cores < 1    ? 1
                   : cores > 16 ? 16
                                : (unsigned)cores,
        .position_max = UINT64_MAX,
        .lsn_max = UINT64_MAX,
    };
    int rc = mim_snapshot_recover(server->storage, &engine, &restore, options, &server->engine, &s->restored,
                                  ret_recovery, reterr);
    if (rc == 0 && s->restored.skipped[0] != '\0') {
        char quoted[MIM_LOG_QUOTED_SIZE];
        mim_log(MIM_LOG_WARNING, "snapshots_skipped", "text=%s goes_on=yes",
                mim_log_quote(s->restored.skipped, quoted));
    }
    return rc;
}

int mim_snapshotter_open(struct mim_server *server, struct mim_error *reterr) {
    struct mim_snapshotter *s = &server->snapshotter;
    s->server = server;
    s->output_fd = -1;
    s->output_event = event_new(server->base, -1, 0, on_output, server);
    s->work_event = event_new(server->base, -1, 0, on_work, server);
    if (s->output_event == NULL || s->work_event == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory for snapshot events");
    }
    if (!s->restored.found) {
        return 0;
    }
    s->last_position = s->restored.header.position;
    s->last_lsn = s->restored.header.lsn;
    s->last_wall_ms = s->restored.header.written_ms;
    s->settling = (struct mim_settling){.end = s->restored.header.image_size};
    s->settle_pending = true;
    if (server->options.verify == MIM_VERIFY_BACKGROUND) {
        atomic_store_explicit(&s->verify_result, 1, memory_order_relaxed);
        int failed = pthread_create(&s->verifier, NULL, verify_run, s);
        if (failed != 0) {
            return mim_error_os(reterr, MIM_E_MEMORY, failed, "starting the snapshot's verifier");
        }
        s->verifying = true;
    }
    work_arm(s);
    return 0;
}

void mim_snapshotter_close(struct mim_server *server) {
    struct mim_snapshotter *s = &server->snapshotter;
    if (s->verifying) {
        atomic_store_explicit(&s->verify_stop, 1, memory_order_relaxed);
        (void)pthread_join(s->verifier, NULL);
        s->verifying = false;
    }
    if (s->child > 0) { /* what it had written is a temporary file, which the next one replaces */
        (void)kill(s->child, SIGKILL);
        (void)waitpid(s->child, NULL, 0);
        (void)close(s->output_fd);
    }
    if (s->output_event != NULL) {
        event_free(s->output_event);
    }
    if (s->work_event != NULL) {
        event_free(s->work_event);
    }
    mim_arena_settle_end(&s->settling);
}

void mim_snapshotter_info(struct mim_server *server, struct mim_buffer *out) {
    static const char *const phases[] = {"idle", "waits_for_disk", "running", "comparing", "archiving"};
    const struct mim_snapshotter *s = &server->snapshotter;
    mim_info_line(out, "snapshot_state:%s", phases[s->phase]);
    if (s->phase != MIM_SNAPSHOT_IDLE) {
        mim_info_line(out, "snapshot_current_position:%llu", (unsigned long long)s->position);
        mim_info_line(out, "snapshot_current_seconds:%.1f", (double)(server->now_ns - s->begun_ns) / 1e9);
    }
    mim_info_line(out, "snapshot_last_position:%llu", (unsigned long long)s->last_position);
    mim_info_line(out, "snapshot_last_time:%lld", (long long)(s->last_wall_ms / 1000));
    mim_info_line(out, "snapshot_last_bytes:%llu", (unsigned long long)s->last_bytes);
    mim_info_line(out, "snapshot_last_seconds:%.3f", s->last_seconds);
    mim_info_line(out, "snapshot_last_error:%s", s->last_error[0] == '\0' ? "-" : s->last_error);
    mim_info_line(out, "snapshots_taken:%llu", (unsigned long long)s->taken);
    mim_info_line(out, "snapshots_failed:%llu", (unsigned long long)s->failed);
    mim_info_line(out, "snapshots_discarded:%llu", (unsigned long long)s->discarded);
    mim_info_line(out, "archived_segments:%llu", (unsigned long long)s->archived_segments);
    mim_info_line(out, "archived_bytes:%llu", (unsigned long long)s->archived_bytes);
    mim_info_line(out, "archive_failed:%llu", (unsigned long long)s->archive_failed);
    mim_info_line(out, "restored_position:%llu",
                  (unsigned long long)(s->restored.found ? s->restored.header.position : 0));
    mim_info_line(out, "restored_verifying:%d", s->verifying ? 1 : 0);
    mim_info_line(
        out, "settling_bytes_left:%llu",
        (unsigned long long)(s->settling.end > s->settling.cursor ? s->settling.end - s->settling.cursor : 0));
    mim_info_line(out, "settling_longest_us:%llu", (unsigned long long)(s->settle_longest_ns / 1000u));
}
