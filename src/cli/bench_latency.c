// SPDX-License-Identifier: MIT
// memimage bench latency: a lone client. Three things take turns, so that the machine's moods hit all alike: a durable
// command, a PING (the way there and back), and the raw pwrite + fdatasync of the same bytes into a zero-filled file.
// With --rate: an open loop of many clients instead (bench_open.c).
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/bench_open.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/replies.h"

#define MIM_BENCH_RAW_SIZE      (64u << 20)
#define MIM_BENCH_WARM_UP       100u
#define MIM_BENCH_OPEN_ACCOUNTS 10000u

struct lone {
    struct mim_bench_target target;
    uint64_t rounds;
    uint64_t rate, clients, seconds; /* of an open loop; rate 0: a lone client */
    const char *requests_path;       /* NULL: deposits */
    bool json;
    int fd;
    int file;
    uint64_t file_at;
    uint8_t block[4096];
    size_t raw_size; /* bytes of one command's frame */
    char scratch[MIM_BENCH_PATH_SIZE];
    struct mim_replies *replies;
    uint64_t answered;
    char error[160];
    struct mim_bench_requests requests;
    struct mim_bench_samples command, ping, raw;
};

static void on_reply(void *context, const char *error) {
    struct lone *lone = context;
    lone->answered++;
    if (error != NULL) {
        (void)snprintf(lone->error, sizeof(lone->error), "%s", error);
    }
}

/** There and back; returns how long it took. */
static int round_trip(struct lone *lone, const void *request, size_t size, uint64_t *ret_ns, struct mim_error *reterr) {
    uint64_t wanted = lone->answered + 1;
    uint64_t begun = mim_bench_now_ns();
    int rc = mim_bench_send(lone->fd, request, size, reterr);
    while (rc == 0 && lone->answered < wanted) {
        char buffer[1024];
        ssize_t n = recv(lone->fd, buffer, sizeof(buffer), 0);
        rc = n > 0                     ? mim_replies_feed(lone->replies, buffer, (size_t)n, reterr)
             : n < 0 && errno == EINTR ? 0
                                       : mim_error_set(reterr, MIM_E_NETWORK, "the server closed the connection");
    }
    *ret_ns = mim_bench_now_ns() - begun;
    return rc != 0 || lone->error[0] == '\0'
               ? rc
               : mim_error_set(reterr, MIM_E_STATE, "the server answered: %s", lone->error);
}

static int raw_open(struct lone *lone, struct mim_error *reterr) {
    char path[MIM_BENCH_PATH_SIZE + 8];
    int rc = mim_bench_scratch_make(lone->target.dir, lone->scratch, reterr);
    if (rc != 0) {
        return rc;
    }
    (void)snprintf(path, sizeof(path), "%s/raw", lone->scratch);
    lone->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bool good = lone->file >= 0 && posix_fallocate(lone->file, 0, MIM_BENCH_RAW_SIZE) == 0;
    for (uint64_t at = 0; good && at < MIM_BENCH_RAW_SIZE; at += sizeof(lone->block)) {
        good = pwrite(lone->file, lone->block, sizeof(lone->block), (off_t)at) == (ssize_t)sizeof(lone->block);
    }
    good = good && fsync(lone->file) == 0;
    memset(lone->block, 0x5a, sizeof(lone->block));
    return good ? 0 : mim_error_os(reterr, MIM_E_IO, errno, "%s", path);
}

static int raw_write(struct lone *lone, uint64_t *ret_ns, struct mim_error *reterr) {
    if (lone->file_at + lone->raw_size > MIM_BENCH_RAW_SIZE) {
        lone->file_at = 0;
    }
    uint64_t begun = mim_bench_now_ns();
    bool good = pwrite(lone->file, lone->block, lone->raw_size, (off_t)lone->file_at) == (ssize_t)lone->raw_size &&
                fdatasync(lone->file) == 0;
    *ret_ns = mim_bench_now_ns() - begun;
    lone->file_at += lone->raw_size;
    return good ? 0 : mim_error_os(reterr, MIM_E_IO, errno, "the raw write failed");
}

/** One turn of all three. */
static int lone_turn(struct lone *lone, bool counted, struct mim_error *reterr) {
    static const char ping[] = "*1\r\n$4\r\nPING\r\n";
    uint64_t command_ns = 0;
    uint64_t ping_ns = 0;
    uint64_t raw_ns = 0;
    int rc = round_trip(lone, lone->requests.bytes.data, lone->requests.offsets[1], &command_ns, reterr);
    rc = rc != 0 ? rc : raw_write(lone, &raw_ns, reterr);
    rc = rc != 0 ? rc : round_trip(lone, ping, sizeof(ping) - 1, &ping_ns, reterr);
    if (rc == 0 && counted) {
        mim_bench_samples_add(&lone->command, command_ns);
        mim_bench_samples_add(&lone->raw, raw_ns);
        mim_bench_samples_add(&lone->ping, ping_ns);
    }
    return rc;
}

/** Warms up, and learns how many bytes a lone command's frame has. */
static int lone_warm_up(struct lone *lone, struct mim_error *reterr) {
    int rc = 0;
    lone->raw_size = 1;
    bool own = lone->requests_path == NULL; /* any server may be asked those of a file: INFO is not */
    uint64_t frames = own ? mim_bench_info(&lone->target, "frames") : 0;
    uint64_t bytes = own ? mim_bench_info(&lone->target, "frame_bytes") : 0;
    for (uint32_t i = 0; rc == 0 && i < MIM_BENCH_WARM_UP; i++) {
        rc = lone_turn(lone, false, reterr);
    }
    frames = own ? mim_bench_info(&lone->target, "frames") - frames : 0;
    bytes = own ? mim_bench_info(&lone->target, "frame_bytes") - bytes : 0;
    lone->raw_size = frames == 0 ? 128 : (bytes / frames + 7) / 8 * 8;
    lone->raw_size = lone->raw_size > sizeof(lone->block) ? sizeof(lone->block) : lone->raw_size;
    return rc;
}

static int requests_prepare(struct lone *lone, uint32_t accounts, struct mim_error *reterr) {
    if (lone->requests_path != NULL) {
        return mim_bench_requests_read(&lone->requests, lone->requests_path, reterr);
    }
    int rc = mim_bench_accounts_open(&lone->target, accounts, reterr);
    return rc != 0 ? rc : mim_bench_requests_make(&lone->requests, accounts, reterr);
}

static int open_run(struct lone *lone, struct mim_error *reterr) {
    int rc = mim_bench_target_open(&lone->target, reterr);
    rc = rc != 0 ? rc : requests_prepare(lone, MIM_BENCH_OPEN_ACCOUNTS, reterr);
    struct mim_bench_open open = {.target = &lone->target,
                                  .requests = &lone->requests,
                                  .rate = lone->rate,
                                  .clients = lone->clients,
                                  .seconds = lone->seconds};
    rc = rc != 0 ? rc : mim_bench_open_run(&open, reterr);
    if (rc == 0) {
        mim_bench_open_print(&open, lone->json);
    }
    mim_bench_samples_deinit(&open.samples);
    return rc;
}

static int samples_init(struct lone *lone, struct mim_error *reterr) {
    int rc = mim_bench_samples_init(&lone->command, lone->rounds, reterr);
    rc = rc != 0 ? rc : mim_bench_samples_init(&lone->raw, lone->rounds, reterr);
    return rc != 0 ? rc : mim_bench_samples_init(&lone->ping, lone->rounds, reterr);
}

static int lone_run(struct lone *lone, struct mim_error *reterr) {
    int rc = samples_init(lone, reterr);
    rc = rc != 0 ? rc : mim_bench_target_open(&lone->target, reterr);
    rc = rc != 0 ? rc : requests_prepare(lone, 1, reterr);
    rc = rc != 0 ? rc : raw_open(lone, reterr);
    lone->replies = mim_replies_new(on_reply, lone);
    rc = rc == 0 && lone->replies == NULL ? mim_error_set(reterr, MIM_E_MEMORY, "out of memory") : rc;
    rc = rc != 0 ? rc : mim_bench_connect(&lone->target, &lone->fd, reterr);
    rc = rc != 0 ? rc : lone_warm_up(lone, reterr);
    struct mim_progress progress;
    mim_progress_begin(&progress, "latency", "rounds");
    for (uint64_t i = 0; rc == 0 && i < lone->rounds; i++) {
        rc = lone_turn(lone, true, reterr);
        mim_progress_step(&progress, i, lone->rounds);
    }
    mim_progress_end(&progress);
    mim_bench_samples_sort(&lone->command);
    mim_bench_samples_sort(&lone->raw);
    mim_bench_samples_sort(&lone->ping);
    return rc;
}

static void lone_print(const struct lone *lone) {
    const struct {
        const char *name;
        const char *key;
        const struct mim_bench_samples *samples;
    } rows[] = {{"durable command", "command", &lone->command},
                {"raw pwrite + fdatasync", "raw", &lone->raw},
                {"PING", "ping", &lone->ping}};
    double ratio = mim_bench_samples_us(&lone->command, 0.5) / mim_bench_samples_us(&lone->raw, 0.5);
    struct mim_buffer out = {0};
    struct mim_json j = mim_json_to(&out);
    mim_json_object(&j);
    mim_bench_json_text(&j, "bench", "latency");
    mim_bench_json_number(&j, "rounds", lone->rounds);
    mim_bench_json_number(&j, "raw_bytes", lone->raw_size);
    if (!lone->json) {
        (void)printf("%llu rounds, taking turns; raw writes of %zu bytes, a lone command's frame\n",
                     (unsigned long long)lone->rounds, lone->raw_size);
        (void)printf("%-24s %9s %9s %9s %9s\n", "", "p50 us", "p99 us", "p99.9 us", "max us");
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct mim_bench_samples *samples = rows[i].samples;
        if (!lone->json) {
            (void)printf("%-24s %9.1f %9.1f %9.1f %9.1f\n", rows[i].name, mim_bench_samples_us(samples, 0.5),
                         mim_bench_samples_us(samples, 0.99), mim_bench_samples_us(samples, 0.999),
                         mim_bench_samples_us(samples, 1));
        }
        mim_json_key(&j, rows[i].key);
        mim_json_object(&j);
        mim_bench_samples_json(&j, samples);
        mim_json_object_end(&j);
    }
    mim_json_key(&j, "command_over_raw_p50");
    mim_json_f64(&j, ratio);
    mim_json_object_end(&j);
    if (lone->json) {
        mim_bench_json_print(&out);
    } else {
        (void)printf("command / raw at p50: %.2f\n", ratio);
    }
    mim_buffer_deinit(&out);
}

int mim_bench_latency(int argc, char **argv) {
    static struct lone lone = {
        .target = {.durability = "fsync"}, .rounds = 20000, .clients = 50, .seconds = 5, .fd = -1, .file = -1};
    const struct mim_option items[] = {
        {"port", MIM_OPTION_UNSIGNED, &lone.target.port, "N", "of a server that runs (default: starts its own)", 1,
         65535},
        {"unixsocket", MIM_OPTION_TEXT, &lone.target.unixsocket, "PATH", "of a server that runs", 0, 0},
        {"dir", MIM_OPTION_TEXT, &lone.target.dir, "DIR",
         "where the scratch files go: on the disk of the server (default $TMPDIR or /tmp)", 0, 0},
        {"durability", MIM_OPTION_TEXT, &lone.target.durability, "MODE", "of an own server (default fsync)", 0, 0},
        {"busy-poll", MIM_OPTION_UNSIGNED, &lone.target.busy_poll_us, "US", "of an own server (default 0)", 0, 1000000},
        {"rounds", MIM_OPTION_UNSIGNED, &lone.rounds, "N", "turns (default 20000)", 1, MIM_BENCH_SAMPLES_MAX},
        {"rate", MIM_OPTION_UNSIGNED, &lone.rate, "N", "requests a second in an open loop (default: a lone client)", 1,
         10000000},
        {"clients", MIM_OPTION_UNSIGNED, &lone.clients, "N", "connections of the open loop (default 50)", 1, 10000},
        {"seconds", MIM_OPTION_UNSIGNED, &lone.seconds, "N", "of the open loop (default 5)", 1, 3600},
        {"requests", MIM_OPTION_TEXT, &lone.requests_path, "FILE",
         "RESP requests to send instead of deposits, to any server that speaks RESP", 0, 0},
        {"json", MIM_OPTION_FLAG, &lone.json, NULL, "print JSON", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage bench latency [option ...]",
        .about =
            "A lone client's durable command, beside the raw pwrite + fdatasync of the same bytes into a "
            "preallocated,\n"
            "zero-filled file and a PING; the three take turns in one run. With --rate: many clients, each request\n"
            "leaves when it is due, and its latency runs from then.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    if (rc > 0) {
        return 0;
    }
    rc = rc != 0 ? rc : mim_options_none(argv, positional, &error);
    rc = rc != 0 ? rc : lone.rate > 0 ? open_run(&lone, &error) : lone_run(&lone, &error);
    if (rc == 0 && lone.rate == 0) {
        lone_print(&lone);
    }
    mim_bench_target_close(&lone.target);
    if (lone.scratch[0] != '\0') {
        mim_bench_scratch_remove(lone.scratch);
    }
    (void)mim_replies_free(lone.replies);
    mim_bench_requests_deinit(&lone.requests);
    mim_bench_samples_deinit(&lone.command);
    mim_bench_samples_deinit(&lone.raw);
    mim_bench_samples_deinit(&lone.ping);
    return rc == 0 ? 0 : mim_cli_fail("bench latency", &error);
}
