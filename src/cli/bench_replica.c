// SPDX-License-Identifier: MIT
// memimage bench replica: a primary and a standby on this machine. How long a new standby takes; how long after a
// command was sent the standby shows its event, at given rates (measured from the intended time of sending, so a stall
// is not left out); how fast a standby that stood still catches up, and what that costs the primary's memory.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/replies.h"

#define MIM_BENCH_RATES 3u

struct pairing {
    struct mim_bench_target primary, standby;
    uint64_t accounts, seconds;
    bool json;
    /* results */
    double copy_seconds, catch_up_seconds;
    uint64_t copied_bytes, caught_up, memory_before, memory_after, highest;
    struct {
        uint64_t rate, sent;
        struct mim_latency delay;
    } shown[MIM_BENCH_RATES];
};

/** One stream of commands to the primary and the stream of its events from the standby. */
struct watching {
    int send_fd, follow_fd;
    struct mim_replies *answers, *events;
    struct mim_bench_requests requests;
    uint64_t *due_ns; /* intended time of sending, by number of the command */
    uint64_t capacity, sent, answered, seen;
    struct mim_latency *delay;
    uint64_t now_ns;
    char error[160];
};

static void on_answer(void *context, const char *error) {
    struct watching *w = context;
    w->answered++;
    if (error != NULL) {
        (void)snprintf(w->error, sizeof(w->error), "%s", error);
    }
}

/** The first is the answer to FOLLOW. */
static void on_event(void *context, const char *error) {
    struct watching *w = context;
    if (error != NULL) {
        (void)snprintf(w->error, sizeof(w->error), "%s", error);
    } else if (w->seen > 0 && w->seen <= w->sent) {
        uint64_t due = w->due_ns[w->seen - 1];
        mim_latency_add(w->delay, w->now_ns > due ? w->now_ns - due : 0, 1);
    }
    w->seen++;
}

static int take(int fd, struct mim_replies *replies, struct mim_error *reterr) {
    char buffer[65536];
    ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (n > 0) {
        return mim_replies_feed(replies, buffer, (size_t)n, reterr);
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR)
               ? 0
               : mim_error_set(reterr, MIM_E_NETWORK, "a server closed the connection");
}

static int watching_open(struct watching *w, const struct pairing *p, uint64_t capacity, struct mim_error *reterr) {
    static const char follow[] = "FOLLOW\r\n";
    *w = (struct watching){.send_fd = -1, .follow_fd = -1, .capacity = capacity};
    w->due_ns = calloc(capacity, sizeof(*w->due_ns));
    w->answers = mim_replies_new(on_answer, w);
    w->events = mim_replies_new(on_event, w);
    if (w->due_ns == NULL || w->answers == NULL || w->events == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    int rc = mim_bench_connect(&p->primary, &w->send_fd, reterr);
    rc = rc != 0 ? rc : mim_bench_connect(&p->standby, &w->follow_fd, reterr);
    rc = rc != 0 ? rc : mim_bench_requests_make(&w->requests, 1000, reterr);
    rc = rc != 0 ? rc : mim_bench_send(w->follow_fd, follow, sizeof(follow) - 1, reterr);
    while (rc == 0 && w->seen == 0) { /* FOLLOW stands before the first command */
        struct pollfd wait = {.fd = w->follow_fd, .events = POLLIN};
        (void)poll(&wait, 1, 1000);
        rc = take(w->follow_fd, w->events, reterr);
    }
    return rc;
}

static void watching_close(struct watching *w) {
    (void)mim_replies_free(w->answers);
    (void)mim_replies_free(w->events);
    mim_bench_requests_deinit(&w->requests);
    free(w->due_ns);
    if (w->send_fd >= 0) {
        (void)close(w->send_fd);
    }
    if (w->follow_fd >= 0) {
        (void)close(w->follow_fd);
    }
}

/** Sends what is due; `gap_ns` 0: as many as may be on their way. */
static int send_due(struct watching *w, uint64_t gap_ns, uint64_t begun_ns, uint64_t until_ns,
                    struct mim_error *reterr) {
    uint64_t most = gap_ns == 0 ? w->answered + 512 : (w->now_ns - begun_ns) / gap_ns + 1;
    if (w->now_ns >= until_ns || most > w->capacity) {
        most = w->now_ns >= until_ns ? w->sent : w->capacity;
    }
    while (w->sent < most) {
        uint64_t first = w->sent % w->requests.count;
        uint64_t count = most - w->sent < w->requests.count - first ? most - w->sent : w->requests.count - first;
        for (uint64_t i = 0; i < count; i++) {
            w->due_ns[w->sent + i] = gap_ns == 0 ? w->now_ns : begun_ns + (w->sent + i) * gap_ns;
        }
        const uint32_t *offsets = w->requests.offsets;
        int rc = mim_bench_send(w->send_fd, w->requests.bytes.data + offsets[first],
                                offsets[first + count] - offsets[first], reterr);
        if (rc != 0) {
            return rc;
        }
        w->sent += count;
    }
    return 0;
}

/** Commands at a rate (0: the highest) for some seconds; the delay of each event on the standby. */
static int show(struct pairing *p, size_t n, struct mim_error *reterr) {
    struct watching w;
    uint64_t rate = p->shown[n].rate;
    int rc = watching_open(&w, p, rate == 0 ? p->seconds * 3000000 : p->seconds * rate + 1, reterr);
    w.delay = &p->shown[n].delay;
    uint64_t begun = mim_bench_now_ns();
    uint64_t until = begun + p->seconds * 1000000000u;
    uint64_t patience = until + 60000000000ull;
    while (rc == 0 && w.error[0] == '\0') {
        w.now_ns = mim_bench_now_ns();
        rc = send_due(&w, rate == 0 ? 0 : 1000000000u / rate, begun, until, reterr);
        struct pollfd wait[] = {{.fd = w.send_fd, .events = POLLIN}, {.fd = w.follow_fd, .events = POLLIN}};
        struct timespec pause = {.tv_nsec = rate == 0 ? 1000000 : 50000};
        (void)ppoll(wait, 2, &pause, NULL);
        w.now_ns = mim_bench_now_ns();
        rc = rc == 0 && (wait[0].revents & (POLLIN | POLLHUP)) != 0 ? take(w.send_fd, w.answers, reterr) : rc;
        rc = rc == 0 && (wait[1].revents & (POLLIN | POLLHUP)) != 0 ? take(w.follow_fd, w.events, reterr) : rc;
        if (w.now_ns >= until && w.answered >= w.sent && w.seen > w.sent) {
            break;
        }
        if (w.now_ns > patience) {
            rc = mim_error_set(reterr, MIM_E_STATE, "the standby showed %llu of %llu events",
                               (unsigned long long)(w.seen - 1), (unsigned long long)w.sent);
        }
    }
    rc = rc == 0 && w.error[0] != '\0' ? mim_error_set(reterr, MIM_E_STATE, "%s", w.error) : rc;
    p->shown[n].sent = w.sent;
    watching_close(&w);
    return rc;
}

/** Waits until the standby is where the primary is; seconds it took. */
static int catch_up(struct pairing *p, double *ret_seconds, struct mim_error *reterr) {
    uint64_t begun = mim_bench_now_ns();
    uint64_t wanted = mim_bench_info(&p->primary, "gate_position");
    while (mim_bench_info(&p->standby, "gate_position") < wanted) {
        struct timespec pause = {.tv_nsec = 2000000};
        (void)nanosleep(&pause, NULL);
        if (mim_bench_now_ns() - begun > 600000000000ull) {
            return mim_error_set(reterr, MIM_E_STATE, "the standby does not catch up");
        }
    }
    *ret_seconds = (double)(mim_bench_now_ns() - begun) / 1e9;
    return 0;
}

/** A new standby, from its start to the primary's position. */
static int copy(struct pairing *p, struct mim_error *reterr) {
    static char address[32];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%llu", (unsigned long long)p->primary.port);
    p->standby.replica_of = address;
    p->copied_bytes = mim_bench_info(&p->primary, "lsn");
    uint64_t begun = mim_bench_now_ns();
    int rc = mim_bench_target_open(&p->standby, reterr);
    rc = rc != 0 ? rc : catch_up(p, &p->copy_seconds, reterr);
    p->copy_seconds = (double)(mim_bench_now_ns() - begun) / 1e9;
    return rc;
}

/** The standby stands still while the primary gets all it can take, then goes on. */
static int stand_still(struct pairing *p, struct mim_error *reterr) {
    int fd = -1;
    struct mim_bench_requests requests = {0};
    uint64_t position = mim_bench_info(&p->standby, "gate_position");
    int rc = mim_bench_requests_make(&requests, 20000, reterr);
    rc = rc != 0 ? rc : mim_bench_connect(&p->primary, &fd, reterr);
    rc = rc != 0 ? rc : mim_bench_pour(fd, &requests, reterr); /* rings and buffers are warm */
    p->memory_before = mim_bench_info(&p->primary, "used_memory_rss");
    (void)kill(p->standby.pid, SIGSTOP);
    uint64_t until = mim_bench_now_ns() + p->seconds * 1000000000u;
    while (rc == 0 && mim_bench_now_ns() < until) {
        rc = mim_bench_pour(fd, &requests, reterr);
    }
    p->memory_after = mim_bench_info(&p->primary, "used_memory_rss");
    (void)kill(p->standby.pid, SIGCONT);
    rc = rc != 0 ? rc : catch_up(p, &p->catch_up_seconds, reterr);
    p->caught_up = mim_bench_info(&p->standby, "gate_position") - position;
    mim_bench_requests_deinit(&requests);
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

static int replica_run(struct pairing *p, struct mim_error *reterr) {
    int rc = mim_bench_target_open(&p->primary, reterr);
    rc = rc != 0 ? rc : mim_bench_accounts_open(&p->primary, (uint32_t)p->accounts, reterr);
    rc = rc != 0 ? rc : copy(p, reterr);
    struct mim_progress progress;
    mim_progress_begin(&progress, "replica", "rates");
    for (size_t n = 0; rc == 0 && n < MIM_BENCH_RATES; n++) {
        rc = show(p, n, reterr);
        mim_progress_step(&progress, n, MIM_BENCH_RATES);
    }
    mim_progress_end(&progress);
    return rc != 0 ? rc : stand_still(p, reterr);
}

static void replica_print(const struct pairing *p) {
    struct mim_buffer out = {0};
    struct mim_json j = mim_json_to(&out);
    double rate = p->catch_up_seconds > 0 ? (double)p->caught_up / p->catch_up_seconds : 0;
    mim_json_object(&j);
    mim_bench_json_text(&j, "bench", "replica");
    mim_bench_json_number(&j, "accounts", p->accounts);
    mim_bench_json_number(&j, "copied_bytes", p->copied_bytes);
    mim_json_key(&j, "copy_seconds");
    mim_json_f64(&j, p->copy_seconds);
    mim_json_key(&j, "shown");
    mim_json_array(&j);
    if (!p->json) {
        (void)printf("a new standby: %.3f s for %.1f MiB of journal (%llu accounts)\n", p->copy_seconds,
                     (double)p->copied_bytes / 1048576.0, (unsigned long long)p->accounts);
        (void)printf("%-36s %9s %9s %9s %9s\n", "from sending to the standby's event", "p50 us", "p99 us", "p99.9 us",
                     "max us");
    }
    for (size_t n = 0; n < MIM_BENCH_RATES; n++) {
        const struct mim_latency *delay = &p->shown[n].delay;
        uint64_t per_second = p->shown[n].sent / p->seconds;
        mim_json_object(&j);
        mim_bench_json_number(&j, "rate", per_second);
        mim_bench_json_latency(&j, delay);
        mim_json_object_end(&j);
        if (!p->json) {
            char name[64];
            (void)snprintf(name, sizeof(name), "  at %llu/s%s", (unsigned long long)per_second,
                           p->shown[n].rate == 0 ? " (512 on their way)" : "");
            (void)printf("%-36s %9.0f %9.0f %9.0f %9.0f\n", name, mim_bench_us(delay, 500), mim_bench_us(delay, 990),
                         mim_bench_us(delay, 999), mim_bench_us(delay, 1000));
        }
    }
    mim_json_array_end(&j);
    mim_bench_json_number(&j, "stopped_seconds", p->seconds);
    mim_bench_json_number(&j, "caught_up_events", p->caught_up);
    mim_json_key(&j, "catch_up_events_per_second");
    mim_json_f64(&j, rate);
    mim_bench_json_number(&j, "primary_memory_before", p->memory_before);
    mim_bench_json_number(&j, "primary_memory_after", p->memory_after);
    mim_json_object_end(&j);
    if (p->json) {
        mim_bench_json_print(&out);
    } else {
        (void)printf("stopped for %llu s under full load: %llu events caught up in %.3f s (%.2f M/s); the primary's "
                     "memory %.1f -> %.1f MiB\n",
                     (unsigned long long)p->seconds, (unsigned long long)p->caught_up, p->catch_up_seconds, rate / 1e6,
                     (double)p->memory_before / 1048576.0, (double)p->memory_after / 1048576.0);
    }
    mim_buffer_deinit(&out);
}

int mim_bench_replica(int argc, char **argv) {
    static struct pairing p = {.primary = {.durability = "fsync"},
                               .standby = {.durability = "fsync"},
                               .accounts = 200000,
                               .seconds = 5,
                               .shown = {{.rate = 1000}, {.rate = 50000}, {.rate = 0}}};
    const struct mim_option items[] = {
        {"dir", MIM_OPTION_TEXT, &p.primary.dir, "DIR", "where the scratch files go (default $TMPDIR or /tmp)", 0, 0},
        {"accounts", MIM_OPTION_UNSIGNED, &p.accounts, "N", "how large the state is (default 200000)", 20000,
         200000000},
        {"seconds", MIM_OPTION_UNSIGNED, &p.seconds, "N", "for each rate, and standing still (default 5)", 1, 3600},
        {"json", MIM_OPTION_FLAG, &p.json, NULL, "print JSON", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage bench replica [option ...]",
        .about = "A primary and a standby: the time a new standby takes, the delay with which it shows events at "
                 "1,000/s, at\n"
                 "50,000/s and at the highest rate, and how it catches up after standing still.",
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
    p.standby.dir = p.primary.dir;
    rc = rc != 0 ? rc : replica_run(&p, &error);
    if (rc == 0) {
        replica_print(&p);
    }
    mim_bench_target_close(&p.standby);
    mim_bench_target_close(&p.primary);
    return rc == 0 ? 0 : mim_cli_fail("bench replica", &error);
}
