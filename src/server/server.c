// SPDX-License-Identifier: MIT
// The life of a server: lock the directory, listen, replay, begin, serve, stop. One function per step; what was made is
// taken down in the opposite order, however far it got.
#include "server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "server/internal.h"

#define LOCK_PAUSE_NS   10000000
#define LOCK_TRIES      300u /* 3 s */
#define FAILED_STOP_MS  500u /* after a storage error: the exit may not wait for a disk that hangs */
#define CLEAN_STOP_MS   20000u
#define SPIN_US         200u
#define NOFILE_RESERVED 64u /* journal, snapshots, listeners, standbys, the spare one */
#define PROGRESS_LOG_NS 2000000000ull

void mim_server_options_default(struct mim_server_options *ret_options) {
    *ret_options = (struct mim_server_options){
        .dir = "data",
        .bind = "127.0.0.1",
        .port = 7411,
        .writer = {.durability = MIM_DURABILITY_FSYNC},
        .idempotency_window = MIM_IDEMPOTENCY_WINDOW_DEFAULT,
        .clients_max = 10000,
        .clients_per_address_max = 5000,
        .query_size_max = MIM_COMMAND_SIZE_MAX,
        .follower_timeout_s = 60,
        .output_size_max = 32u << 20,
        .pipeline_max = 16384,
        .seal_idle_ms = 10,
        .spin_us = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? SPIN_US : 0, /* one core has others to serve meanwhile */
        .verify = MIM_VERIFY_EAGER,
        .snapshot_keep = 2,
        .snapshot_rate = 32,
        .sync_timeout_ms = 5000,
        .replica_timeout_s = 5,
        .replica_digest_s = 60,
        .publish = {.stream = MIM_PUBLISH_STREAM},
    };
}

/** Raises the soft limit of descriptors as needed, and clients_max down to what there is. */
static void limit_descriptors(struct mim_server *server) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    rlim_t wanted = (rlim_t)server->options.clients_max + NOFILE_RESERVED;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < wanted) {
        rlim_t left = limit.rlim_cur > 2 * NOFILE_RESERVED ? limit.rlim_cur - NOFILE_RESERVED : limit.rlim_cur / 2;
        mim_log(MIM_LOG_WARNING, "descriptors", "limit=%llu clients_max=%llu wanted=%u goes_on=yes",
                (unsigned long long)limit.rlim_cur, (unsigned long long)left, server->options.clients_max);
        server->options.clients_max = (uint32_t)left;
    }
}

/** A live server signs its lock. One that nobody has signed is that of a server about to sign, or what a killed one has
 *  left behind for a moment: a child that it was just starting. */
static int directory_lock(struct mim_server *server, struct mim_error *reterr) {
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    int rc = mim_storage_lock(server->storage, MIM_DIRECTORY_LOCK, &server->lock, reterr);
    for (unsigned tries = 0; rc == MIM_E_LOCKED && tries < LOCK_TRIES; tries++) {
        struct mim_error ignored = {0};
        bool held = true;
        if (mim_storage_locked(server->storage, MIM_DIRECTORY_LOCK, &held, &ignored) != 0 || held) {
            break;
        }
        (void)nanosleep(&pause, NULL);
        rc = mim_storage_lock(server->storage, MIM_DIRECTORY_LOCK, &server->lock, reterr);
    }
    return rc;
}

static int storage_open(struct mim_server *server, struct mim_error *reterr) {
    int rc = mim_storage_posix_open(server->options.dir, true, &server->storage, reterr);
    if (rc != 0) { /* a directory that cannot be is the operator's to mend; a disk that fails is not */
        bool usage = rc == MIM_E_NOT_FOUND || (rc == MIM_E_IO && reterr->os_errno != EIO);
        return usage ? mim_error_set(reterr, MIM_E_USAGE, "%s", reterr->text) : rc;
    }
    server->storage_ready = true;
    return directory_lock(server, reterr);
}

/** Called by the replay now and then: clients are told LOADING meanwhile. */
static void on_progress(void *context, uint64_t done, uint64_t total) {
    struct mim_server *server = context;
    server->recovery_done = done;
    server->recovery_total = total;
    uint64_t now = mim_server_now(server);
    if (now - server->recovery_logged_ns > PROGRESS_LOG_NS) {
        server->recovery_logged_ns = now;
        mim_log(MIM_LOG_INFO, "replaying", "bytes=%llu of=%llu percent=%llu", (unsigned long long)done,
                (unsigned long long)total, (unsigned long long)(total == 0 ? 100 : done * 100 / total));
    }
    mim_loop_poll(server);
}

/** A model that cannot read the journal: the whole list, a line each. */
static void on_missing(void *context, const char *list) {
    (void)context;
    for (const char *line = list; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        char text[MIM_LOG_QUOTED_SIZE / 2];
        char quoted[MIM_LOG_QUOTED_SIZE];
        (void)snprintf(text, sizeof(text), "%.*s", (int)size, line);
        mim_log(MIM_LOG_ERROR, "model_lacks", "what=%s", mim_log_quote(text, quoted));
        line += size + (line[size] == '\n' ? 1 : 0);
    }
}

static int history_make(struct mim_history *ret_history, struct mim_error *reterr) {
    size_t size = sizeof(ret_history->uuid);
    ssize_t got = getrandom(ret_history->uuid, size, 0);
    return got == (ssize_t)size ? 0 : mim_error_os(reterr, MIM_E_IO, errno, "no random numbers");
}

static void report_recovery(const struct mim_server *server, const struct mim_recovery *recovery) {
    char quoted[MIM_LOG_QUOTED_SIZE];
    if (recovery->warning[0] != '\0') {
        mim_log(MIM_LOG_WARNING, "recovery", "text=%s goes_on=yes", mim_log_quote(recovery->warning, quoted));
    }
    if (recovery->segments.count > 0 && recovery->ending.kind == MIM_END_TORN) {
        mim_log(MIM_LOG_WARNING, "torn_tail", "bytes=%llu position=%llu text=%s saved=%s/%s/*.torn.* goes_on=yes",
                (unsigned long long)recovery->ending.torn_size, (unsigned long long)recovery->ending.position,
                mim_log_quote(recovery->ending.text, quoted), server->options.dir, MIM_JOURNAL_DIR);
    }
}

/** Replays and opens the journal: after it, commands may be executed. */
static int journal_open(struct mim_server *server, bool *ret_is_there, struct mim_error *reterr) {
    struct mim_recovery_options options = {.progress = on_progress, .progress_context = server, .missing = on_missing};
    struct mim_recovery recovery = {0};
    server->recovery_logged_ns = mim_server_now(server);
    bool installed = false;
    *ret_is_there = true;
    int rc = mim_incoming_install(server->storage, &installed, reterr); /* a copy whose install was cut short */
    rc = rc != 0 ? rc : mim_snapshotter_recover(server, &options, &recovery, reterr);
    server->options.writer.standby = server->replication.reign.role == MIM_ROLE_STANDBY;
    if (rc == 0 && server->options.writer.standby && recovery.segments.count == 0) {
        *ret_is_there = false; /* it comes from the primary */
        mim_recovery_deinit(&recovery);
        return 0;
    }
    if (rc == 0) {
        report_recovery(server, &recovery);
        rc = mim_ring_init(&server->ring, reterr);
        server->ring_ready = rc == 0;
    }
    struct mim_history history = {0};
    if (rc == 0) {
        rc = history_make(&history, reterr);
    }
    if (rc == 0) {
        rc = mim_recovery_begin(server->storage, server->engine, &recovery, &server->ring, &server->options.writer,
                                &history, server->clock.wall_ms(server->clock.context), &server->writer,
                                &server->appender, reterr);
    }
    server->recovery_events = recovery.events;
    server->recovery_ns = mim_server_now(server) - server->opening_ns;
    mim_recovery_deinit(&recovery);
    return rc;
}

static int runners_open(struct mim_server *server, struct mim_error *reterr) {
    struct mim_runners *runners = &server->runners;
    runners->ring = &server->ring;
    runners->writer = server->writer;
    runners->storage = server->storage;
    runners->clock = server->clock;
    runners->segment_size_max = server->options.writer.segment_size_max;
    atomic_store_explicit(&runners->spin_ns, server->options.busy_poll_us * 1000, memory_order_relaxed);
    server->appender_ready = true;
    server->epoch = server->appender.epoch;
    server->seal_lsn = server->appender.next_lsn;
    server->last_lsn = server->appender.next_lsn;
    server->gate_seen = mim_appender_shown(&server->appender);
    server->spare_seen = MIM_SPARE_NEEDED;
    server->runners_ready = true; /* from here on they are stopped, however many run */
    return mim_runners_start(runners, reterr);
}

static void run_id_make(struct mim_server *server) {
    uint8_t random[20] = {0};
    ssize_t got = getrandom(random, sizeof(random), 0);
    (void)got; /* it only names the run */
    for (size_t i = 0; i < sizeof(random); i++) {
        (void)snprintf(server->run_id + i * 2, 3, "%02x", random[i]);
    }
}

static void server_ready(struct mim_server *server) {
    struct mim_engine_point point;
    mim_engine_point(server->engine, &point);
    server->phase = MIM_PHASE_SERVING;
    server->rates.position = point.position;
    server->rates.at_ns = mim_server_now(server);
    mim_log(MIM_LOG_INFO, "ready",
            "port=%u tls_port=%u bind=%s unixsocket=%s dir=%s model=%s durability=%s position=%llu epoch=%u "
            "events_replayed=%llu "
            "recovery_ms=%.1f pid=%ld version=%s",
            server->port, server->tls_port, server->options.bind,
            server->options.unixsocket == NULL ? "-" : server->options.unixsocket, server->options.dir,
            server->options.compiled->model->name,
            server->options.writer.durability == MIM_DURABILITY_FSYNC      ? "fsync"
            : server->options.writer.durability == MIM_DURABILITY_INTERVAL ? "interval"
                                                                           : "none",
            (unsigned long long)point.position, server->epoch, (unsigned long long)server->recovery_events,
            (double)server->recovery_ns / 1e6, (long)server->pid, MIM_VERSION_TEXT);
    mim_publishing_start(server);
}

/** From what is on disk to an image that may be asked, or a standby that waits for its first copy. */
static int engine_open(struct mim_server *server, struct mim_error *reterr) {
    bool is_there = false;
    server->opening = true;
    int rc = journal_open(server, &is_there, reterr);
    if (rc == 0 && is_there) {
        rc = mim_snapshotter_open(server, reterr);
        rc = rc != 0 ? rc : mim_publishing_open(server, reterr); /* off: a primary starts it when it is ready */
        rc = rc != 0 ? rc : runners_open(server, reterr);
    }
    server->opening = false;
    if (rc == 0) {
        mim_replication_ready(server);
        if (is_there) {
            server_ready(server);
        }
    }
    return rc;
}

static int server_open(struct mim_server *server, struct mim_error *reterr) {
    limit_descriptors(server);
    int rc = mim_replication_init(server, reterr);
    rc = rc != 0 ? rc : mim_publish_options_check(&server->options.publish, reterr);
    rc = rc != 0 ? rc : storage_open(server, reterr);
    if (rc == 0) {
        rc = mim_loop_open(server, reterr);
    }
    if (rc == 0) {
        rc = mim_listeners_open(server, reterr);
    }
    if (rc == 0) {
        rc = mim_replication_open(server, reterr);
    }
    return rc == 0 ? engine_open(server, reterr) : rc;
}

static void storage_failed(struct mim_server *server, const char *text) {
    char quoted[MIM_LOG_QUOTED_SIZE];
    mim_log(MIM_LOG_ERROR, "storage_error", "text=%s goes_on=no", mim_log_quote(text, quoted));
    server->exit_status = mim_error_exit_status(MIM_E_IO);
}

/** Ends the threads and closes the journal. A thread that does not end takes the process with it. */
static void journal_close(struct mim_server *server) {
    bool failed = server->phase == MIM_PHASE_FAILED;
    bool clean = server->phase == MIM_PHASE_LOADING || (server->phase == MIM_PHASE_STOPPED && server->exit_status == 0);
    if (server->runners_ready && mim_runners_stop(&server->runners, failed ? FAILED_STOP_MS : CLEAN_STOP_MS) != 0) {
        mim_log(MIM_LOG_ERROR, "storage_hangs", "goes_on=no");
        _exit(mim_error_exit_status(MIM_E_IO));
    }
    if (server->runners_ready && server->exit_status == 0 &&
        atomic_load_explicit(&server->runners.failed, memory_order_acquire) < 0) {
        storage_failed(server, server->runners.error.text); /* after the loop had looked for the last time */
    }
    if (server->writer != NULL) {
        struct mim_error error = {0};
        if (clean && mim_writer_finish(server->writer, &error) != 0) {
            storage_failed(server, error.text);
        }
        server->writer = mim_writer_free(server->writer);
    }
    if (server->ring_ready) {
        mim_ring_deinit(&server->ring);
        server->ring_ready = false;
    }
    int wake_fd = server->runners.wake_fd;
    memset(&server->runners, 0, sizeof(server->runners));
    server->runners.wake_fd = wake_fd;
    server->runners_ready = false;
    server->appender_ready = false;
    server->progress_seen = 0;
}

/** Everything that stands on the journal, from above to below. */
static void engine_close(struct mim_server *server) {
    mim_past_close(server);
    mim_publishing_stop(server);
    mim_replication_release(server);
    mim_snapshotter_close(server);
    memset(&server->snapshotter, 0, sizeof(server->snapshotter));
    journal_close(server);
    server->engine = mim_engine_free(server->engine);
}

static void log_start_failed(const struct mim_server *server, int code, const struct mim_error *error) {
    char quoted[MIM_LOG_QUOTED_SIZE];
    mim_log(MIM_LOG_ERROR, "start_failed", "code=%s dir=%s text=%s", mim_error_name(code), server->options.dir,
            mim_log_quote(error->text, quoted));
}

void mim_server_reopen(struct mim_server *server) {
    struct mim_error error = {0};
    server->phase = MIM_PHASE_LOADING;
    server->opening_ns = mim_server_now(server);
    mim_connections_bury(server);
    mim_connections_close_bound(server);
    engine_close(server);
    int rc = mim_replication_between(server, &error);
    rc = rc != 0 ? rc : engine_open(server, &error);
    if (rc != 0) {
        log_start_failed(server, rc, &error);
        server->exit_status = mim_error_exit_status(rc);
        server->phase = MIM_PHASE_FAILED;
    } else {
        mim_connections_retry(server);
    }
}

static void server_close(struct mim_server *server) {
    mim_listeners_close(server);
    mim_link_stop(server, NULL);
    mim_connections_close_all(server);
    engine_close(server);
    mim_replication_close(server);
    mim_security_close(server);
    sigset_t stops;
    (void)sigemptyset(&stops);
    (void)sigaddset(&stops, SIGTERM);
    (void)sigaddset(&stops, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &stops, NULL); /* the loop's handlers go: the exit status is decided */
    mim_loop_close(server);
    if (server->storage_ready) {
        mim_file_close(server->storage, server->lock);
        mim_storage_posix_close(&server->storage);
    }
    for (uint32_t i = 0; i < server->input_pool_count; i++) {
        free(server->input_pool[i]);
    }
    mim_buffer_deinit(&server->scratch);
    free(server->read_buffer);
}

static void server_init(struct mim_server *server, const struct mim_server_options *options) {
    server->options = *options;
    server->clock = mim_clock_posix();
    server->started_ns = mim_server_now(server);
    server->opening_ns = server->started_ns;
    server->started_wall_ms = mim_server_wall_ms(server);
    server->pid = getpid();
    server->spare_fd = -1;
    TAILQ_INIT(&server->sessions);
    TAILQ_INIT(&server->fresh);
    TAILQ_INIT(&server->waiting);
    TAILQ_INIT(&server->stalled);
    TAILQ_INIT(&server->doomed);
    if (server->options.query_size_max > MIM_COMMAND_SIZE_CEILING) {
        server->options.query_size_max = MIM_COMMAND_SIZE_CEILING;
    }
    if (server->options.pipeline_max == 0) {
        server->options.pipeline_max = 1;
    }
    run_id_make(server);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigaction(SIGXFSZ, &ignore, NULL);
}

int mim_server_run(const struct mim_server_options *options) {
    struct mim_server *server = aligned_alloc(64, (sizeof(*server) + 63u) & ~(size_t)63u);
    uint8_t *read_buffer = malloc(MIM_READ_SIZE);
    if (server == NULL || read_buffer == NULL) {
        free(server);
        free(read_buffer);
        mim_log(MIM_LOG_ERROR, "start_failed", "text=\"out of memory\"");
        return mim_error_exit_status(MIM_E_MEMORY);
    }
    memset(server, 0, sizeof(*server));
    server->read_buffer = read_buffer;
    server_init(server, options);
    struct mim_error error = {0};
    int rc = server_open(server, &error);
    if (rc != 0) {
        log_start_failed(server, rc, &error);
        server->exit_status = mim_error_exit_status(rc);
        server->phase = MIM_PHASE_FAILED;
    } else {
        mim_loop_run(server);
    }
    server_close(server);
    int status = server->exit_status;
    if (rc == 0 && status == 0) {
        mim_log(MIM_LOG_INFO, "stopped", "status=0");
    }
    free(server);
    return status;
}
