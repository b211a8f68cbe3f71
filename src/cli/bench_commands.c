// SPDX-License-Identifier: MIT
// memimage bench commands: many clients on one epoll loop; each sends a batch of `pipeline` deposits, waits for all
// replies and sends the next, as redis-benchmark does. Latency runs from the send of the batch to each reply.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/prng.h"
#include "cli/bench.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/replies.h"

#define MIM_BENCH_READ_SIZE     65536u
#define MIM_BENCH_EVENTS        64
#define MIM_BENCH_PIPELINE_MAX  100000u
#define MIM_BENCH_PIPELINES_MAX 8u

struct benching {
    struct mim_bench_target target;
    uint64_t clients, accounts, seconds;
    const char *pipelines;
    const char *requests_path; /* NULL: deposits */
    bool json;
    struct mim_bench_requests requests;
    struct mim_prng prng;
    struct mim_buffer batch;
};

struct client {
    struct round *round;
    int fd;
    struct mim_replies *replies;
    uint32_t waiting;
    uint64_t sent_ns;
};

/** One run with one pipeline. */
struct round {
    struct benching *benching;
    uint32_t pipeline;
    struct client *clients;
    int epoll;
    uint64_t now_ns, from_ns, to_ns; /* replies count from..to: what comes before warms up */
    struct mim_latency latency;
    uint64_t errors;
    char error[160];
    uint64_t frames, frame_bytes; /* of the journal, in the measured time and the warm-up */
    uint64_t commands;            /* likewise */
};

static void on_reply(void *context, const char *error) {
    struct client *client = context;
    struct round *round = client->round;
    client->waiting -= client->waiting > 0 ? 1 : 0;
    round->commands++;
    if (round->now_ns >= round->from_ns && round->now_ns < round->to_ns) {
        mim_latency_add(&round->latency, round->now_ns - client->sent_ns, 1);
    }
    if (error != NULL) {
        round->errors++;
        (void)snprintf(round->error, sizeof(round->error), "%s", error);
    }
}

static int client_send(struct client *client, struct mim_error *reterr) {
    struct benching *b = client->round->benching;
    b->batch.size = 0;
    for (uint32_t i = 0; i < client->round->pipeline; i++) {
        uint64_t n = mim_prng_below(&b->prng, b->requests.count);
        mim_buffer_append(&b->batch, b->requests.bytes.data + b->requests.offsets[n],
                          b->requests.offsets[n + 1] - b->requests.offsets[n]);
    }
    client->waiting = client->round->pipeline;
    client->sent_ns = mim_bench_now_ns();
    return mim_bench_send(client->fd, b->batch.data, b->batch.size, reterr);
}

static int client_receive(struct client *client, struct mim_error *reterr) {
    static char buffer[MIM_BENCH_READ_SIZE];
    ssize_t n = recv(client->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (n <= 0) {
        return mim_error_set(reterr, MIM_E_NETWORK, "the server closed the connection");
    }
    int rc = mim_replies_feed(client->replies, buffer, (size_t)n, reterr);
    return rc != 0 || client->waiting > 0 || client->round->now_ns >= client->round->to_ns
               ? rc
               : client_send(client, reterr);
}

static int client_open(struct round *round, struct client *client, struct mim_error *reterr) {
    *client = (struct client){.round = round, .fd = -1};
    client->replies = mim_replies_new(on_reply, client);
    if (client->replies == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    int rc = mim_bench_connect(&round->benching->target, &client->fd, reterr);
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = client};
    return rc != 0 || epoll_ctl(round->epoll, EPOLL_CTL_ADD, client->fd, &wanted) == 0
               ? rc
               : mim_error_os(reterr, MIM_E_NETWORK, errno, "epoll");
}

static int round_loop(struct round *round, struct mim_error *reterr) {
    struct benching *b = round->benching;
    uint64_t begun = mim_bench_now_ns();
    round->from_ns = begun + b->seconds * 250000000u; /* the first fifth warms up */
    round->to_ns = round->from_ns + b->seconds * 1000000000u;
    for (uint64_t i = 0; i < b->clients; i++) {
        int rc = client_send(&round->clients[i], reterr);
        if (rc != 0) {
            return rc;
        }
    }
    while (round->now_ns < round->to_ns) {
        struct epoll_event events[MIM_BENCH_EVENTS];
        int count = epoll_wait(round->epoll, events, MIM_BENCH_EVENTS, 1000);
        round->now_ns = mim_bench_now_ns();
        for (int i = 0; i < count; i++) {
            int rc = client_receive(events[i].data.ptr, reterr);
            if (rc != 0) {
                return rc;
            }
        }
    }
    return 0;
}

static int round_run(struct round *round, struct mim_error *reterr) {
    struct benching *b = round->benching;
    round->epoll = epoll_create1(EPOLL_CLOEXEC);
    round->clients = calloc(b->clients, sizeof(*round->clients));
    int rc = round->epoll < 0 || round->clients == NULL ? mim_error_set(reterr, MIM_E_MEMORY, "out of memory") : 0;
    uint64_t opened = 0;
    for (; rc == 0 && opened < b->clients; opened++) {
        rc = client_open(round, &round->clients[opened], reterr);
    }
    bool own = b->requests_path == NULL; /* any server may be asked those of a file: INFO is not */
    uint64_t frames = own ? mim_bench_info(&b->target, "frames") : 0;
    uint64_t bytes = own ? mim_bench_info(&b->target, "frame_bytes") : 0;
    rc = rc != 0 ? rc : round_loop(round, reterr);
    round->frames = own ? mim_bench_info(&b->target, "frames") - frames : 0;
    round->frame_bytes = own ? mim_bench_info(&b->target, "frame_bytes") - bytes : 0;
    for (uint64_t i = 0; i < opened; i++) {
        (void)mim_replies_free(round->clients[i].replies);
        if (round->clients[i].fd >= 0) {
            (void)close(round->clients[i].fd);
        }
    }
    free(round->clients);
    if (round->epoll >= 0) {
        (void)close(round->epoll);
    }
    return rc == 0 && round->errors > 0 ? mim_error_set(reterr, MIM_E_STATE, "%llu commands failed, the last with: %s",
                                                        (unsigned long long)round->errors, round->error)
                                        : rc;
}

static void round_print(const struct round *round, struct mim_json *j) {
    const struct benching *b = round->benching;
    double rate = (double)round->latency.count / (double)b->seconds;
    double per_frame = round->frames == 0 ? 0 : (double)round->commands / (double)round->frames;
    double bytes = round->commands == 0 ? 0 : (double)round->frame_bytes / (double)round->commands;
    if (!b->json) {
        (void)printf("%7llu %8u %12.0f %9.0f %9.0f %9.0f %9.0f %11.1f %9.1f\n", (unsigned long long)b->clients,
                     round->pipeline, rate, mim_bench_us(&round->latency, 500), mim_bench_us(&round->latency, 990),
                     mim_bench_us(&round->latency, 999), mim_bench_us(&round->latency, 1000), per_frame, bytes);
        (void)fflush(stdout);
        return;
    }
    mim_json_object(j);
    mim_bench_json_number(j, "clients", b->clients);
    mim_bench_json_number(j, "pipeline", round->pipeline);
    mim_bench_json_number(j, "commands_per_second", (uint64_t)rate);
    mim_bench_json_latency(j, &round->latency);
    mim_json_key(j, "commands_per_frame");
    mim_json_f64(j, per_frame);
    mim_json_key(j, "journal_bytes_per_command");
    mim_json_f64(j, bytes);
    mim_json_object_end(j);
}

/** "1,16,64" as numbers. */
static int pipelines_parse(const char *text, uint32_t *ret_pipelines, size_t *ret_count, struct mim_error *reterr) {
    size_t count = 0;
    while (*text != '\0' && count < MIM_BENCH_PIPELINES_MAX) {
        char *end;
        unsigned long value = strtoul(text, &end, 10);
        if (end == text || value < 1 || value > MIM_BENCH_PIPELINE_MAX || (*end != ',' && *end != '\0')) {
            break;
        }
        ret_pipelines[count++] = (uint32_t)value;
        text = *end == ',' ? end + 1 : end;
    }
    *ret_count = count;
    return *text == '\0' && count > 0
               ? 0
               : mim_error_set(reterr, MIM_E_USAGE, "--pipeline must be up to 8 numbers from 1 to %u, like 1,16,64",
                               MIM_BENCH_PIPELINE_MAX);
}

static int rounds_run(struct benching *b, struct mim_error *reterr) {
    uint32_t pipelines[MIM_BENCH_PIPELINES_MAX];
    size_t count;
    int rc = pipelines_parse(b->pipelines, pipelines, &count, reterr);
    rc = rc != 0 ? rc : mim_bench_target_open(&b->target, reterr);
    if (rc == 0 && b->requests_path != NULL) {
        rc = mim_bench_requests_read(&b->requests, b->requests_path, reterr);
    } else {
        rc = rc != 0 ? rc : mim_bench_accounts_open(&b->target, (uint32_t)b->accounts, reterr);
        rc = rc != 0 ? rc : mim_bench_requests_make(&b->requests, (uint32_t)b->accounts, reterr);
    }
    if (rc != 0) {
        return rc;
    }
    struct mim_buffer out = {0};
    struct mim_json j = mim_json_to(&out);
    mim_json_object(&j);
    mim_bench_json_text(&j, "bench", "commands");
    mim_bench_json_text(&j, "durability", b->target.pid > 0 ? b->target.durability : "as the server's");
    mim_bench_json_number(&j, "accounts", b->accounts);
    mim_json_key(&j, "rounds");
    mim_json_array(&j);
    if (!b->json) {
        (void)printf("clients pipeline   commands/s    p50 us    p99 us  p99.9 us    max us  cmds/frame bytes/cmd\n");
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        static struct round round;
        round = (struct round){.benching = b, .pipeline = pipelines[i]};
        rc = round_run(&round, reterr);
        if (rc == 0) {
            round_print(&round, &j);
        }
    }
    mim_json_array_end(&j);
    mim_json_object_end(&j);
    if (rc == 0 && b->json) {
        mim_bench_json_print(&out);
    }
    mim_buffer_deinit(&out);
    return rc;
}

int mim_bench_commands(int argc, char **argv) {
    static struct benching b = {
        .target = {.durability = "fsync"}, .clients = 50, .accounts = 10000, .seconds = 3, .pipelines = "1,16,64"};
    const struct mim_option items[] = {
        {"port", MIM_OPTION_UNSIGNED, &b.target.port, "N", "of a server that runs (default: starts its own)", 1, 65535},
        {"unixsocket", MIM_OPTION_TEXT, &b.target.unixsocket, "PATH", "of a server that runs", 0, 0},
        {"dir", MIM_OPTION_TEXT, &b.target.dir, "DIR", "where an own server's scratch goes (default $TMPDIR or /tmp)",
         0, 0},
        {"durability", MIM_OPTION_TEXT, &b.target.durability, "MODE", "of an own server (default fsync)", 0, 0},
        {"busy-poll", MIM_OPTION_UNSIGNED, &b.target.busy_poll_us, "US", "of an own server (default 0)", 0, 1000000},
        {"clients", MIM_OPTION_UNSIGNED, &b.clients, "N", "connections (default 50)", 1, 10000},
        {"pipeline", MIM_OPTION_TEXT, &b.pipelines, "N,...", "commands sent at once, a round each (default 1,16,64)", 0,
         0},
        {"accounts", MIM_OPTION_UNSIGNED, &b.accounts, "N", "accounts, chosen at random (default 10000)", 1, 10000000},
        {"requests", MIM_OPTION_TEXT, &b.requests_path, "FILE",
         "RESP requests to send instead, chosen at random, to any server that speaks RESP", 0, 0},
        {"seconds", MIM_OPTION_UNSIGNED, &b.seconds, "N", "measured time of a round (default 3)", 1, 3600},
        {"json", MIM_OPTION_FLAG, &b.json, NULL, "print JSON", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage bench commands [option ...]",
        .about =
            "Durable commands per second: deposits of many clients on random accounts of the ledger model. Each "
            "client\n"
            "sends a batch of --pipeline commands, waits for all replies and sends the next, as redis-benchmark does.",
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
    mim_prng_init(&b.prng, 1);
    rc = rc != 0 ? rc : rounds_run(&b, &error);
    mim_bench_target_close(&b.target);
    mim_bench_requests_deinit(&b.requests);
    mim_buffer_deinit(&b.batch);
    return rc == 0 ? 0 : mim_cli_fail("bench commands", &error);
}
