// SPDX-License-Identifier: MIT
// memimage snapshot: newest snapshot + tail -> next snapshot, by the replay path, in a process of its own at low
// priority. Offline or beside a live server, which starts it too.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/live.h"
#include "cli/model_option.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "journal/evidence.h"
#include "snapshot/archive.h"

#define LOCK_PAUSE_NS     20000000
#define LOCK_TRIES        1500u         /* 30 s */
#define LONG_WORK_SIZE    (64ull << 20) /* bytes read or written */
#define RATE_UNSAID       UINT64_MAX
#define RATE_OF_ITSELF    32u          /* MiB/s beside a server, */
#define RATE_FREE_SIZE    (8ull << 20) /* behind so many bytes: a small snapshot is to end soon */
#define CATCH_UP_NS       20000000u
#define EVIDENCE_PAUSE_NS 5000000
#define EVIDENCE_TRIES    100u /* half a second: then the server syncs later, or never */

struct snapshotting {
    const char *dir;
    const char *model;
    uint64_t keep;
    uint64_t limit_lsn; /* of a live server: end of a durable frame; 0: found out */
    const char *archive;
    bool archive_only;
    uint64_t parent; /* pid of the server that started this; 0: by hand */
    uint64_t rate;   /* MiB/s of image written; 0: as fast as it goes; RATE_UNSAID */
    uint64_t window; /* of idempotency keys; 0: of the newest snapshot */
    bool json;
};

/** What is shown of the work, and whether it has turned out to be long. */
struct watching {
    struct mim_progress progress;
    const struct snapshotting *snapshotting;
    bool last;
    struct mim_clock clock;
    uint64_t rate;       /* bytes written per second; 0: no bound */
    uint64_t writing_ns; /* since when */
};

/** A replayed state and where it came from. */
struct made {
    struct mim_engine *engine;
    struct mim_restored restored;
    struct mim_recovery recovery;
};

static void made_deinit(struct made *made) {
    mim_recovery_deinit(&made->recovery);
    made->engine = mim_engine_free(made->engine);
}

/** A server's snapshot ends with the server: the next one must find the lock free, and the journal to itself. */
static int follow_parent(uint64_t parent, struct mim_error *reterr) {
    if (parent != 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || (uint64_t)getppid() != parent)) {
        return mim_error_set(reterr, MIM_E_STATE, "the server that asked for this is gone");
    }
    return 0;
}

/** One snapshot at a time. What a killed server has left behind may take a moment to die. */
static int snapshot_lock(const struct snapshotting *s, struct mim_storage storage, mim_file_t *ret_lock,
                         struct mim_error *reterr) {
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    int rc = mim_storage_lock(storage, "snapshot.lock", ret_lock, reterr);
    for (unsigned tries = 0; rc == MIM_E_LOCKED && s->parent != 0 && tries < LOCK_TRIES; tries++) {
        (void)nanosleep(&pause, NULL);
        rc = mim_storage_lock(storage, "snapshot.lock", ret_lock, reterr);
    }
    return rc;
}

/** Below everything else on the machine: CPU nice 19, I/O idle class. Where the kernel shares the processor by sessions,
 *  a server's snapshot is one of its own: its work must not count as the server's, which would wait for its session's
 *  turn. */
static void be_humble(const struct snapshotting *s) {
    (void)setpriority(PRIO_PROCESS, 0, 19);
    (void)syscall(SYS_ioprio_set, 1 /* process */, 0, 3 << 13 /* idle */);
    if (s->parent != 0) {
        (void)setsid();
    }
}

/** The session is the last of all too, once the work is known to be long: a small snapshot is to end soon even on a
 *  crowded machine. Without such a thing in the kernel nothing happens. */
static void be_last(const struct snapshotting *s) {
    int fd = s->parent == 0 ? -1 : open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t written = write(fd, "19", 2);
        (void)written; /* a wish */
        (void)close(fd);
    }
}

/** Is there much to read before anything else is known? */
static bool is_long(struct mim_storage storage) {
    struct mim_snapshots snapshots = {0};
    struct mim_error ignored = {0};
    bool found = mim_snapshots_load(storage, &snapshots, &ignored) == 0 && snapshots.count > 0 &&
                 snapshots.items[0].file_size > LONG_WORK_SIZE;
    mim_snapshots_deinit(&snapshots);
    return found;
}

/** Progress of a work that has become long. */
static void on_progress(void *context, uint64_t done, uint64_t total) {
    struct watching *watching = context;
    if (!watching->last && done > LONG_WORK_SIZE) {
        watching->last = true;
        be_last(watching->snapshotting);
    }
    mim_progress_callback(&watching->progress, done, total);
}

/** Keeps writing at its rate: a journal on the same disk syncs between two pieces, never behind many of them. */
static void on_written(void *context, uint64_t done, uint64_t total) {
    struct watching *watching = context;
    on_progress(context, done, total);
    if (watching->rate == 0) {
        return;
    }
    uint64_t counted = done < RATE_FREE_SIZE ? 0 : done - RATE_FREE_SIZE;
    uint64_t due_ns = (uint64_t)((double)counted / (double)watching->rate * 1e9);
    uint64_t passed_ns = watching->clock.monotonic_ns(watching->clock.context) - watching->writing_ns;
    if (passed_ns > due_ns + CATCH_UP_NS) { /* held up: what was missed is not made up for at once */
        watching->writing_ns += passed_ns - due_ns - CATCH_UP_NS;
    }
    if (passed_ns < due_ns) {
        uint64_t left_ns = due_ns - passed_ns;
        const struct timespec pause = {.tv_sec = (time_t)(left_ns / 1000000000u),
                                       .tv_nsec = (long)(left_ns % 1000000000u)};
        (void)nanosleep(&pause, NULL);
    }
}

/** Unless told otherwise a rate is kept where a server works on the directory. */
static int writing_begin(struct watching *watching, struct mim_storage storage, struct mim_error *reterr) {
    uint64_t rate = watching->snapshotting->rate;
    bool live = false;
    int rc = rate != RATE_UNSAID ? 0 : mim_storage_locked(storage, MIM_DIRECTORY_LOCK, &live, reterr);
    rate = rate != RATE_UNSAID ? rate : live ? RATE_OF_ITSELF : 0;
    watching->rate = rate << 20;
    watching->writing_ns = watching->clock.monotonic_ns(watching->clock.context);
    watching->progress.label = "writing";
    return rc;
}

/** What the journal of a live server says about its end. */
static int evidence_read(struct mim_storage storage, mim_lsn_t *ret_durable, mim_lsn_t *ret_written,
                         struct mim_error *reterr) {
    int rc;
    struct mim_segments segments = {0};
    struct mim_live look = {0};
    struct mim_error error;
    mim_position_t unused = 0;
    do {
        error = (struct mim_error){0};
        rc = mim_segments_load(storage, &segments, &unused, &error);
    } while (mim_live_look_again(&look, rc, &error));
    if (rc != 0) {
        *reterr = error;
        return rc;
    }
    rc = mim_evidence_live(storage, &segments, ret_durable, ret_written, reterr);
    mim_segments_deinit(&segments);
    return rc;
}

/** Where reading ends: beside a live server at what is durable, else (0) at the journal's end. The newest events may be
 *  durable with nothing on disk that says so yet: a server at rest writes a SEAL frame within milliseconds. */
static int limit_find(struct mim_storage storage, mim_lsn_t *ret_limit, struct mim_error *reterr) {
    const struct timespec pause = {.tv_nsec = EVIDENCE_PAUSE_NS};
    bool live = false;
    *ret_limit = 0;
    int rc = mim_storage_locked(storage, MIM_DIRECTORY_LOCK, &live, reterr);
    if (rc != 0 || !live) {
        return rc;
    }
    mim_lsn_t durable = 0;
    mim_lsn_t wanted = 0;
    rc = evidence_read(storage, &durable, &wanted, reterr);
    for (unsigned tries = 0; rc == 0 && durable < wanted && tries < EVIDENCE_TRIES; tries++) {
        mim_lsn_t written = 0;
        (void)nanosleep(&pause, NULL);
        rc = evidence_read(storage, &durable, &written, reterr);
    }
    *ret_limit = durable == 0 ? 1 : durable; /* nothing durable yet: nothing is read */
    return rc;
}

static int snapshot_replay(struct mim_storage storage, const struct mim_compiled *compiled, mim_lsn_t limit,
                           struct watching *watching, struct made *ret_made, struct mim_error *reterr) {
    struct mim_engine_options engine_options = {.compiled = compiled,
                                                .idempotency_window = (uint32_t)watching->snapshotting->window};
    struct mim_restore_options restore = {
        .verify = MIM_VERIFY_EAGER,
        .threads = limit != 0 ? 1 : mim_snapshot_cores(), /* a server at work needs the others */
        .position_max = UINT64_MAX,
        .lsn_max = limit == 0 ? UINT64_MAX : limit};
    struct mim_recovery_options recovery_options = {
        .progress = on_progress, .progress_context = watching, .limit = limit};
    return mim_snapshot_recover(storage, &engine_options, &restore, &recovery_options, &ret_made->engine,
                                &ret_made->restored, &ret_made->recovery, reterr);
}

/** The replayed state. A server that began to write while the journal was read to its end may have added what is not
 *  durable: then all is read once more, with a limit. */
static int snapshot_recover(const struct snapshotting *s, struct mim_storage storage,
                            const struct mim_compiled *compiled, struct watching *watching, struct made *made,
                            struct mim_error *reterr) {
    mim_lsn_t limit = s->limit_lsn;
    int rc = limit != 0 ? 0 : limit_find(storage, &limit, reterr);
    rc = rc != 0 ? rc : snapshot_replay(storage, compiled, limit, watching, made, reterr);
    if (limit != 0 || (rc != 0 && rc != MIM_E_DAMAGED)) {
        return rc;
    }
    struct mim_error why = {0};
    int live = limit_find(storage, &limit, &why);
    if (live == 0 && limit == 0) {
        return rc;
    }
    if (rc == 0) {
        made_deinit(made);
    }
    *reterr = why;
    return live != 0 ? live : snapshot_replay(storage, compiled, limit, watching, made, reterr);
}

static int snapshot_make(const struct snapshotting *s, struct mim_storage storage, const struct mim_compiled *compiled,
                         struct mim_error *reterr) {
    struct watching watching = {.snapshotting = s, .last = is_long(storage), .clock = mim_clock_posix()};
    if (watching.last) {
        be_last(s);
    }
    mim_progress_begin(&watching.progress, "replaying", "B");
    struct made made = {0};
    int rc = snapshot_recover(s, storage, compiled, &watching, &made, reterr);
    if (rc != 0) {
        mim_progress_end(&watching.progress);
        return rc;
    }
    if (made.restored.skipped[0] != '\0') {
        (void)fprintf(stderr, "%s\n", made.restored.skipped);
    }
    struct mim_snapshot_header header = {0};
    uint64_t written = 0;
    struct mim_engine_point point;
    mim_engine_point(made.engine, &point);
    if (point.lsn == 0) {
        rc = mim_error_set(reterr, MIM_E_NOT_FOUND, "there is no journal to make a snapshot of");
    } else {
        rc = writing_begin(&watching, storage, reterr);
        rc = rc != 0 ? rc
                     : mim_snapshot_write(storage, made.engine, made.restored.found ? &made.restored.header : NULL,
                                          watching.clock.wall_ms(watching.clock.context), on_written, &watching,
                                          &header, &written, reterr);
    }
    rc = rc != 0 ? rc : mim_snapshots_prune(storage, s->keep, reterr);
    mim_progress_end(&watching.progress);
    if (rc == 0 && s->json) {
        (void)printf(
            "{\"position\":%llu,\"lsn\":%llu,\"digest\":\"%016llx\",\"bytes\":%llu,\"from\":%llu,\"events\":%llu,"
            "\"written\":%llu,\"seconds\":%.3f}\n",
            (unsigned long long)header.position, (unsigned long long)header.lsn, (unsigned long long)header.digest,
            (unsigned long long)header.image_size,
            (unsigned long long)(made.restored.found ? made.restored.header.position : 0),
            (unsigned long long)made.recovery.events, (unsigned long long)written,
            mim_progress_seconds(&watching.progress));
    } else if (rc == 0) {
        (void)printf("snapshot at position %llu: %llu bytes of image, %llu written, digest %016llx, %.3f s\n",
                     (unsigned long long)header.position, (unsigned long long)header.image_size,
                     (unsigned long long)written, (unsigned long long)header.digest,
                     mim_progress_seconds(&watching.progress));
    }
    made_deinit(&made);
    if (rc == 0 && made.restored.found && made.restored.header.position != header.position) {
        mim_snapshot_forget(storage, &made.restored.header);
    }
    return rc;
}

/** Moves what no snapshot needs into the archive. */
static int snapshot_archive(const struct snapshotting *s, struct mim_storage storage,
                            const struct mim_compiled *compiled, struct mim_error *reterr) {
    struct mim_storage archive = {0};
    struct mim_archived archived = {0};
    int rc = mim_storage_posix_open(s->archive, true, &archive, reterr);
    if (rc != 0) {
        return rc;
    }
    rc = mim_archive_run(storage, archive, compiled->fingerprint, &archived, reterr);
    mim_storage_posix_close(&archive);
    if (rc == 0 && s->archive_only && s->json) {
        (void)printf("{\"segments\":%u,\"bytes\":%llu,\"first_position\":%llu}\n", archived.segments,
                     (unsigned long long)archived.bytes, (unsigned long long)archived.first_position);
    } else if (rc == 0 && !s->json) {
        (void)printf("archived %u segments, %llu bytes; the journal begins at position %llu\n", archived.segments,
                     (unsigned long long)archived.bytes, (unsigned long long)archived.first_position);
    }
    return rc;
}

int mim_cli_snapshot(int argc, char **argv) {
    struct snapshotting s = {.model = "ledger", .keep = 2, .rate = RATE_UNSAID};
    const struct mim_option items[] = {
        {"dir", MIM_OPTION_TEXT, &s.dir, "DIR", "data directory; a live server's is fine", 0, 0},
        {"model", MIM_OPTION_TEXT, &s.model, "NAME|FILE.so", "the model (default ledger)", 0, 0},
        {"keep", MIM_OPTION_UNSIGNED, &s.keep, "N", "snapshots to keep, newest first (default 2)", 1, 1000000},
        {"archive", MIM_OPTION_TEXT, &s.archive, "DIR2",
         "then move the journal's segments that no snapshot needs into DIR2", 0, 0},
        {"archive-only", MIM_OPTION_FLAG, &s.archive_only, NULL, "with --archive: make no snapshot first", 0, 0},
        {"limit-lsn", MIM_OPTION_UNSIGNED, &s.limit_lsn, "LSN",
         "stop at this end of a durable frame (default: the last one that is known to be durable)", 0, 0},
        {"parent", MIM_OPTION_UNSIGNED, &s.parent, "PID", "end when this process does, which started it (a server's)",
         1, UINT32_MAX},
        {"rate", MIM_OPTION_UNSIGNED, &s.rate, "MIB",
         "of image written a second; 0: no bound (default: 32 beside a server, else 0)", 0, 1000000},
        {"keys", MIM_OPTION_UNSIGNED, &s.window, "N",
         "idempotency keys remembered, the newest (default: as the newest snapshot, else 1000000)", 1, 1u << 31},
        {"json", MIM_OPTION_FLAG, &s.json, NULL, "print JSON", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage snapshot --dir DIR [--archive DIR2]",
        .about =
            "Makes a snapshot from the newest one and the journal behind it, at low priority. It reads only what is\n"
            "durable, and every snapshot taken is a proof that recovery works.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    rc = rc != 0 ? rc : mim_options_want(argv, positional, s.dir, &error);
    if (rc > 0) {
        return 0;
    }
    if (rc == 0 && s.archive_only && s.archive == NULL) {
        rc = mim_error_set(&error, MIM_E_USAGE, "--archive-only wants --archive DIR2");
    }
    struct mim_compiled *compiled = NULL;
    struct mim_storage storage = {0};
    mim_file_t lock = 0;
    rc = rc != 0 ? rc : mim_cli_model(s.model, &compiled, &error);
    rc = rc != 0 ? rc : mim_storage_posix_open(s.dir, false, &storage, &error);
    if (rc == 0) {
        be_humble(&s);
        rc = follow_parent(s.parent, &error);
        rc = rc != 0 ? rc : snapshot_lock(&s, storage, &lock, &error);
        rc = rc != 0 || s.archive_only ? rc : snapshot_make(&s, storage, compiled, &error);
        rc = rc != 0 || s.archive == NULL ? rc : snapshot_archive(&s, storage, compiled, &error);
        mim_file_close(storage, lock);
        mim_storage_posix_close(&storage);
    }
    (void)mim_compiled_free(compiled);
    return rc == 0 ? 0 : mim_cli_fail("snapshot", &error);
}
