// SPDX-License-Identifier: MIT
// memimage bench restore: how long from the start of the process to the first correct reply, from a snapshot plus its
// tail in each way of checking it, and from the journal alone. The server is killed before each start.
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/bench.h"
#include "cli/options.h"
#include "cli/progress.h"

#define MIM_BENCH_TAIL_MAX 65536u

struct restoring {
    struct mim_bench_target target;
    uint64_t accounts, tail, rounds;
    bool json;
    uint64_t position, image_bytes, journal_bytes;
};

/** "eager", "background", "off": a snapshot checked so; NULL: none. */
static const char *const ways[] = {"background", "eager", "off", NULL};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

static const char *way_name(size_t i) { return ways[i] == NULL ? "journal" : ways[i]; }

static int fill(struct restoring *r, struct mim_error *reterr) {
    struct mim_bench_requests requests = {0};
    uint64_t ignored;
    int fd = -1;
    int rc = mim_bench_target_open(&r->target, reterr);
    rc = rc != 0 ? rc : mim_bench_accounts_open(&r->target, (uint32_t)r->accounts, reterr);
    rc = rc != 0 ? rc : mim_bench_ask(&r->target, "SNAPSHOT", &ignored, reterr);
    rc = rc != 0 ? rc : mim_bench_requests_make(&requests, (uint32_t)r->tail, reterr);
    rc = rc != 0 ? rc : mim_bench_connect(&r->target, &fd, reterr);
    rc = rc != 0 || r->tail == 0 ? rc : mim_bench_pour(fd, &requests, reterr);
    rc = rc != 0 ? rc : mim_bench_ask(&r->target, "DIGEST", &r->position, reterr);
    r->image_bytes = mim_bench_info(&r->target, "image_used_bytes");
    r->journal_bytes = mim_bench_info(&r->target, "lsn");
    mim_bench_requests_deinit(&requests);
    return rc;
}

/** Asks until the answer is there; `true` when it is the right one. */
static bool first_reply(const struct restoring *r, uint64_t until_ns) {
    char path[MIM_BENCH_PATH_SIZE + 8];
    struct timespec pause = {.tv_nsec = 200000};
    redisContext *redis = NULL;
    bool right = false;
    bool answered = false;
    (void)snprintf(path, sizeof(path), "%s/socket", r->target.scratch);
    while (!answered && mim_bench_now_ns() < until_ns) {
        if (redis == NULL) {
            redis = redisConnectUnix(path);
        }
        redisReply *reply = redis == NULL || redis->err != 0 ? NULL : redisCommand(redis, "STATE account/bench-0");
        if (reply == NULL) {
            redisFree(redis);
            redis = NULL;
        } else if (reply->type == REDIS_REPLY_ARRAY) {
            answered = true;
            right = reply->elements == 2 && reply->element[0]->integer == (r->tail > 0 ? 2 : 1);
        }
        if (reply != NULL) {
            freeReplyObject(reply);
        }
        if (!answered) {
            (void)nanosleep(&pause, NULL);
        }
    }
    redisFree(redis);
    return right;
}

static int one_start(struct restoring *r, const char *way, uint64_t *ret_ns, struct mim_error *reterr) {
    char there[MIM_BENCH_PATH_SIZE + 24];
    char away[MIM_BENCH_PATH_SIZE + 24];
    char socket_path[MIM_BENCH_PATH_SIZE + 8];
    (void)snprintf(there, sizeof(there), "%s/data/snapshots", r->target.scratch);
    (void)snprintf(away, sizeof(away), "%s/away", r->target.scratch);
    (void)snprintf(socket_path, sizeof(socket_path), "%s/socket", r->target.scratch);
    mim_bench_target_kill(&r->target);
    (void)remove(socket_path);
    if (way == NULL && rename(there, away) != 0) {
        return mim_error_set(reterr, MIM_E_IO, "moving the snapshots away");
    }
    r->target.verify = way;
    uint64_t begun = mim_bench_now_ns();
    int rc = mim_bench_target_again(&r->target, reterr);
    if (rc == 0 && !first_reply(r, begun + 600000000000ull)) {
        rc = mim_error_set(reterr, MIM_E_STATE, "the server did not give the right answer after its start");
    }
    *ret_ns = mim_bench_now_ns() - begun;
    rc = rc != 0 ? rc : mim_bench_target_ready(&r->target, reterr);
    if (way == NULL) {
        mim_bench_target_kill(&r->target);
        (void)remove(there);
        if (rename(away, there) != 0 && rc == 0) {
            rc = mim_error_set(reterr, MIM_E_IO, "moving the snapshots back");
        }
    }
    return rc;
}

static int compare_ns(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static int restore_run(struct restoring *r, double ret_ms[WAYS], struct mim_error *reterr) {
    uint64_t *times = calloc(WAYS * r->rounds, sizeof(*times));
    if (times == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    int rc = fill(r, reterr);
    struct mim_progress progress;
    mim_progress_begin(&progress, "restore", "starts");
    for (uint64_t n = 0; rc == 0 && n < r->rounds; n++) {
        for (size_t i = 0; rc == 0 && i < WAYS; i++) {
            rc = one_start(r, ways[i], &times[i * r->rounds + n], reterr);
            mim_progress_step(&progress, n * WAYS + i, r->rounds * WAYS);
        }
    }
    mim_progress_end(&progress);
    for (size_t i = 0; i < WAYS; i++) {
        qsort(times + i * r->rounds, r->rounds, sizeof(*times), compare_ns);
        ret_ms[i] = (double)times[i * r->rounds + r->rounds / 2] / 1e6;
    }
    free(times);
    return rc;
}

static void restore_print(const struct restoring *r, const double ms[WAYS]) {
    struct mim_buffer out = {0};
    struct mim_json j = mim_json_to(&out);
    mim_json_object(&j);
    mim_bench_json_text(&j, "bench", "restore");
    mim_bench_json_number(&j, "accounts", r->accounts);
    mim_bench_json_number(&j, "events", r->position);
    mim_bench_json_number(&j, "tail_events", r->tail);
    mim_bench_json_number(&j, "image_bytes", r->image_bytes);
    mim_bench_json_number(&j, "journal_bytes", r->journal_bytes);
    if (!r->json) {
        (void)printf("%llu accounts, %.1f MiB of image, %.1f MiB of journal, %llu events behind the snapshot\n",
                     (unsigned long long)r->accounts, (double)r->image_bytes / 1048576.0,
                     (double)r->journal_bytes / 1048576.0, (unsigned long long)r->tail);
        (void)printf("from exec to the first correct reply, median of %llu starts after kill -9:\n",
                     (unsigned long long)r->rounds);
    }
    for (size_t i = 0; i < WAYS; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "%s_ms", way_name(i));
        mim_json_key(&j, key);
        mim_json_f64(&j, ms[i]);
        if (!r->json) {
            (void)printf("  %-12s %9.1f ms\n", way_name(i), ms[i]);
        }
    }
    mim_json_object_end(&j);
    if (r->json) {
        mim_bench_json_print(&out);
    }
    mim_buffer_deinit(&out);
}

int mim_bench_restore(int argc, char **argv) {
    static struct restoring r = {.target = {.durability = "fsync"}, .accounts = 1000000, .tail = 10000, .rounds = 5};
    const struct mim_option items[] = {
        {"dir", MIM_OPTION_TEXT, &r.target.dir, "DIR", "where the scratch directory goes (default $TMPDIR or /tmp)", 0,
         0},
        {"accounts", MIM_OPTION_UNSIGNED, &r.accounts, "N", "how large the state is (default 1000000)", 1, 200000000},
        {"tail", MIM_OPTION_UNSIGNED, &r.tail, "N", "events behind the snapshot (default 10000)", 0, 1u << 24},
        {"rounds", MIM_OPTION_UNSIGNED, &r.rounds, "N", "starts of each kind (default 5)", 1, 1000},
        {"json", MIM_OPTION_FLAG, &r.json, NULL, "print JSON", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage bench restore [option ...]",
        .about = "Makes a state, a snapshot of it and a tail behind that; kills the server; then starts it from the "
                 "snapshot\n"
                 "(checked in the background, eagerly, not at all) and from the journal alone.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    double ms[WAYS];
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    if (rc > 0) {
        return 0;
    }
    rc = rc != 0 ? rc : mim_options_none(argv, positional, &error);
    if (rc == 0 && r.tail > r.accounts) {
        r.tail = r.accounts;
    }
    rc = rc != 0 ? rc : restore_run(&r, ms, &error);
    if (rc == 0) {
        restore_print(&r, ms);
    }
    mim_bench_target_close(&r.target);
    return rc == 0 ? 0 : mim_cli_fail("bench restore", &error);
}
