// SPDX-License-Identifier: MIT
// memimage bench latency --rate: an open loop. Request k is due at begin + k / rate whether or not earlier ones have been
// answered, and its latency runs from when it was due: a server that stalls is charged for all who wait meanwhile, and so
// is a client that comes late. (A closed loop stops asking while it waits: coordinated omission.)
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/prng.h"
#include "cli/bench_open.h"
#include "cli/replies.h"

#define MIM_BENCH_OPEN_EVENTS    64
#define MIM_BENCH_OPEN_DRAIN_NS  10000000000ull
#define MIM_BENCH_OPEN_READ_SIZE 65536u

struct line {
    struct mim_bench_open *open;
    int fd;
    struct mim_replies *replies;
    uint64_t answered; /* request k goes over line k mod lines: the n-th reply is of request n * lines + number */
    uint64_t number;
    struct mim_buffer out;
};

static uint64_t due_ns(const struct mim_bench_open *open, uint64_t k) {
    return open->begun_ns + (uint64_t)((double)k * 1e9 / (double)open->rate);
}

static void on_reply(void *context, const char *error) {
    struct line *line = context;
    struct mim_bench_open *open = line->open;
    uint64_t k = line->answered++ * open->clients + line->number;
    open->answered++;
    if (k >= open->warm_up) {
        uint64_t due = due_ns(open, k);
        mim_bench_samples_add(&open->samples, open->now_ns > due ? open->now_ns - due : 0);
    }
    if (error != NULL) {
        open->errors++;
        (void)snprintf(open->error, sizeof(open->error), "%s", error);
    }
}

static int line_open(struct mim_bench_open *open, struct line *line, int epoll, struct mim_error *reterr) {
    line->replies = mim_replies_new(on_reply, line);
    if (line->replies == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    int rc = mim_bench_connect(open->target, &line->fd, reterr);
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = line};
    return rc != 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, line->fd, &wanted) == 0
               ? rc
               : mim_error_os(reterr, MIM_E_NETWORK, errno, "epoll");
}

/** Sends what is due; what is due on one line goes in one piece. */
static int send_due(struct mim_bench_open *open, struct line *lines, struct mim_prng *prng, struct mim_error *reterr) {
    uint64_t first = open->sent;
    const struct mim_bench_requests *requests = open->requests;
    while (open->sent < open->total && due_ns(open, open->sent) <= open->now_ns) {
        uint64_t n = mim_prng_below(prng, requests->count);
        mim_buffer_append(&lines[open->sent % open->clients].out, requests->bytes.data + requests->offsets[n],
                          requests->offsets[n + 1] - requests->offsets[n]);
        open->sent++;
    }
    uint64_t touched = open->sent - first < open->clients ? open->sent - first : open->clients;
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && i < touched; i++) {
        struct line *line = &lines[(first + i) % open->clients];
        rc = mim_bench_send(line->fd, line->out.data, line->out.size, reterr);
        line->out.size = 0;
    }
    return rc;
}

static int receive(struct line *line, struct mim_error *reterr) {
    static char buffer[MIM_BENCH_OPEN_READ_SIZE];
    ssize_t n = recv(line->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    line->open->now_ns = mim_bench_now_ns();
    return n > 0 ? mim_replies_feed(line->replies, buffer, (size_t)n, reterr)
                 : mim_error_set(reterr, MIM_E_NETWORK, "the server closed the connection");
}

static int open_loop(struct mim_bench_open *open, struct line *lines, int epoll, struct mim_error *reterr) {
    struct mim_prng prng;
    mim_prng_init(&prng, 1);
    open->begun_ns = mim_bench_now_ns() + 1000000;
    uint64_t until = due_ns(open, open->total) + MIM_BENCH_OPEN_DRAIN_NS;
    int rc = 0;
    while (rc == 0 && open->answered < open->total) {
        open->now_ns = mim_bench_now_ns();
        if (open->now_ns > until) {
            return mim_error_set(reterr, MIM_E_STATE, "%llu requests are unanswered ten seconds after the last was due",
                                 (unsigned long long)(open->total - open->answered));
        }
        rc = send_due(open, lines, &prng, reterr);
        uint64_t next = open->sent < open->total ? due_ns(open, open->sent) : until;
        uint64_t now = mim_bench_now_ns();
        uint64_t wait = next > now ? next - now : 0;
        struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};
        struct epoll_event events[MIM_BENCH_OPEN_EVENTS];
        int count = rc != 0 ? 0 : epoll_pwait2(epoll, events, MIM_BENCH_OPEN_EVENTS, &timeout, NULL);
        for (int i = 0; rc == 0 && i < count; i++) {
            rc = receive(events[i].data.ptr, reterr);
        }
    }
    return rc;
}

int mim_bench_open_run(struct mim_bench_open *open, struct mim_error *reterr) {
    open->total = open->rate * open->seconds;
    open->warm_up = open->total / 5;
    if (open->total > MIM_BENCH_SAMPLES_MAX) {
        return mim_error_set(reterr, MIM_E_USAGE, "--rate times --seconds must be at most %u", MIM_BENCH_SAMPLES_MAX);
    }
    int rc = mim_bench_samples_init(&open->samples, open->total, reterr);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct line *lines = calloc(open->clients, sizeof(*lines));
    rc = rc == 0 && (epoll < 0 || lines == NULL) ? mim_error_set(reterr, MIM_E_MEMORY, "out of memory") : rc;
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* a nanosecond: fifty microseconds by default */
    uint64_t opened = 0;
    for (; rc == 0 && opened < open->clients; opened++) {
        lines[opened] = (struct line){.open = open, .fd = -1, .number = opened};
        rc = line_open(open, &lines[opened], epoll, reterr);
    }
    rc = rc != 0 ? rc : open_loop(open, lines, epoll, reterr);
    for (uint64_t i = 0; i < opened; i++) {
        (void)mim_replies_free(lines[i].replies);
        mim_buffer_deinit(&lines[i].out);
        if (lines[i].fd >= 0) {
            (void)close(lines[i].fd);
        }
    }
    free(lines);
    if (epoll >= 0) {
        (void)close(epoll);
    }
    mim_bench_samples_sort(&open->samples);
    return rc != 0 || open->errors == 0 ? rc
                                        : mim_error_set(reterr, MIM_E_STATE, "%llu requests failed, the last with: %s",
                                                        (unsigned long long)open->errors, open->error);
}

void mim_bench_open_print(const struct mim_bench_open *open, bool json) {
    const struct mim_bench_samples *samples = &open->samples;
    if (!json) {
        (void)printf("%llu requests/s from %llu clients, each counted from when it was due\n",
                     (unsigned long long)open->rate, (unsigned long long)open->clients);
        (void)printf("p50 %.1f us, p90 %.1f, p99 %.1f, p99.9 %.1f, p99.99 %.1f, max %.1f\n",
                     mim_bench_samples_us(samples, 0.5), mim_bench_samples_us(samples, 0.9),
                     mim_bench_samples_us(samples, 0.99), mim_bench_samples_us(samples, 0.999),
                     mim_bench_samples_us(samples, 0.9999), mim_bench_samples_us(samples, 1));
        return;
    }
    struct mim_buffer out = {0};
    struct mim_json j = mim_json_to(&out);
    mim_json_object(&j);
    mim_bench_json_text(&j, "bench", "latency, open loop");
    mim_bench_json_number(&j, "requests_per_second", open->rate);
    mim_bench_json_number(&j, "clients", open->clients);
    mim_bench_json_number(&j, "samples", samples->count);
    mim_bench_samples_json(&j, samples);
    mim_json_object_end(&j);
    mim_bench_json_print(&out);
    mim_buffer_deinit(&out);
}
