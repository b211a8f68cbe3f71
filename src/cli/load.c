// SPDX-License-Identifier: MIT
// memimage load: NDJSON commands to a server, pipelined both ways: the next lines are parsed while replies are on their
// way. hiredis makes the connection and reads the replies.
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/load_line.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/replies.h"

#define MIM_LOAD_READ_SIZE (256u << 10)
#define MIM_LOAD_SEND_SIZE (64u << 10) /* bytes gathered before a send */
#define MIM_LOAD_SHOWN_MAX 10u         /* errors printed in full */

struct loading {
    const char *host, *unixsocket, *password;
    uint64_t port, pipeline;
    bool json, stop_on_error;
    /* input */
    int file;
    uint64_t file_size, consumed;
    char *text;
    size_t text_size, text_capacity, text_at;
    bool ended;
    uint64_t line;
    /* connection */
    redisContext *redis;
    struct mim_replies *reader;
    struct mim_load_schema *schema;
    struct mim_buffer out;
    size_t sent;
    uint64_t *lines; /* line number of each request on its way, a ring of `pipeline` */
    uint64_t requests, replies, done, failed;
    uint64_t answered; /* line of the newest reply */
};

static void load_report(struct loading *l, uint64_t line, const char *what, const char *text) {
    l->failed++;
    if (l->failed <= MIM_LOAD_SHOWN_MAX) {
        (void)fprintf(stderr, "memimage load: line %llu: %s%s\n", (unsigned long long)line, what, text);
    } else if (l->failed == MIM_LOAD_SHOWN_MAX + 1) {
        (void)fprintf(stderr, "memimage load: more lines failed; they are only counted\n");
    }
}

/** Finds the next line in the buffer, reading on as needed. False at the end. -1: read error. */
static int line_next(struct loading *l, struct mim_slice *ret_line, struct mim_error *reterr) {
    for (;;) {
        char *from = l->text + l->text_at;
        size_t left = l->text_size - l->text_at;
        char *newline = left == 0 ? NULL : memchr(from, '\n', left);
        if (newline != NULL || (l->ended && left > 0)) {
            size_t size = newline != NULL ? (size_t)(newline - from) : left;
            l->text_at += size + (newline != NULL ? 1 : 0);
            l->line++;
            *ret_line = mim_slice_of(from, size);
            return 1;
        }
        if (l->ended) {
            return 0;
        }
        if (left > 0) {
            memmove(l->text, from, left);
        }
        l->text_at = 0;
        l->text_size = left;
        if (l->text_capacity - left < MIM_LOAD_READ_SIZE) {
            l->text_capacity = l->text_capacity * 2 + MIM_LOAD_READ_SIZE;
            char *grown = l->text_capacity > (64u << 20) ? NULL : realloc(l->text, l->text_capacity);
            if (grown == NULL) {
                return mim_error_set(reterr, MIM_E_LIMIT, "line %llu is longer than 32 MiB",
                                     (unsigned long long)l->line + 1);
            }
            l->text = grown;
        }
        ssize_t n = read(l->file, l->text + left, MIM_LOAD_READ_SIZE);
        if (n < 0 && errno != EINTR) {
            return mim_error_os(reterr, MIM_E_IO, errno, "reading the input");
        }
        l->ended = n == 0;
        l->text_size += n > 0 ? (size_t)n : 0;
        l->consumed += n > 0 ? (uint64_t)n : 0;
    }
}

static bool blank(struct mim_slice line) {
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r') {
            return false;
        }
    }
    return true;
}

/** Parses lines into the output until there is enough to send or the pipeline is full. 0 or a code. */
static int load_fill(struct loading *l, bool *ret_more, struct mim_error *reterr) {
    while (l->out.size - l->sent < MIM_LOAD_SEND_SIZE && l->requests - l->replies < l->pipeline) {
        struct mim_slice line;
        int rc = l->stop_on_error && l->failed > 0 ? 0 : line_next(l, &line, reterr);
        if (rc <= 0) {
            *ret_more = false;
            return rc;
        }
        if (blank(line)) {
            continue;
        }
        struct mim_error why = {0};
        if (mim_load_line(l->schema, line, &l->out, &why) != 0) {
            load_report(l, l->line, "", why.text);
            continue;
        }
        l->lines[l->requests % l->pipeline] = l->line;
        l->requests++;
    }
    return 0;
}

static int load_send(struct loading *l, struct mim_error *reterr) {
    while (l->sent < l->out.size) {
        ssize_t n = send(l->redis->fd, l->out.data + l->sent, l->out.size - l->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            return 0;
        }
        if (n < 0) {
            return mim_error_os(reterr, MIM_E_NETWORK, errno, "the connection broke");
        }
        l->sent += (size_t)n;
    }
    l->out.size = 0;
    l->sent = 0;
    return 0;
}

/** One reply, in the order of the requests. */
static void load_reply(void *context, const char *error) {
    struct loading *l = context;
    if (l->replies == l->requests) {
        return; /* not asked for */
    }
    l->answered = l->lines[l->replies % l->pipeline];
    if (error != NULL) {
        load_report(l, l->answered, "", error);
    } else {
        l->done++;
    }
    l->replies++;
}

static int load_receive(struct loading *l, struct mim_error *reterr) {
    static char buffer[MIM_LOAD_READ_SIZE];
    ssize_t n = recv(l->redis->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (n == 0) {
        return mim_error_set(reterr, MIM_E_NETWORK, "the server closed the connection");
    }
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? 0
                                                 : mim_error_os(reterr, MIM_E_NETWORK, errno, "the connection broke");
    }
    return mim_replies_feed(l->reader, buffer, (size_t)n, reterr);
}

static int load_run(struct loading *l, struct mim_progress *progress, struct mim_error *reterr) {
    bool more = true;
    while (more || l->out.size > l->sent || l->replies < l->requests) {
        int rc = more ? load_fill(l, &more, reterr) : 0;
        rc = rc != 0 ? rc : load_send(l, reterr);
        if (rc != 0) {
            return rc;
        }
        bool full = l->requests - l->replies == l->pipeline || !more;
        struct pollfd ready = {.fd = l->redis->fd, .events = POLLIN};
        if (l->out.size > l->sent) {
            ready.events |= POLLOUT;
        }
        bool wait = full || l->out.size > l->sent;
        if (l->replies < l->requests && poll(&ready, 1, wait ? -1 : 0) > 0 && (ready.revents & ~POLLOUT) != 0) {
            rc = load_receive(l, reterr);
            if (rc != 0) {
                return rc;
            }
        }
        mim_progress_step(progress, l->file_size > 0 ? l->consumed : l->replies, l->file_size);
    }
    return 0;
}

static int load_connect(struct loading *l, struct mim_error *reterr) {
    l->redis = l->unixsocket != NULL ? redisConnectUnix(l->unixsocket) : redisConnect(l->host, (int)l->port);
    if (l->redis == NULL || l->redis->err != 0) {
        return mim_error_set(reterr, MIM_E_NETWORK, "no server at %s:%llu: %s",
                             l->unixsocket != NULL ? l->unixsocket : l->host, (unsigned long long)l->port,
                             l->redis == NULL ? "out of memory" : l->redis->errstr);
    }
    redisReply *reply = l->password != NULL ? redisCommand(l->redis, "AUTH %s", l->password) : NULL;
    if (l->password == NULL || (reply != NULL && reply->type != REDIS_REPLY_ERROR)) {
        freeReplyObject(reply);
        reply = redisCommand(l->redis, "SCHEMA");
    }
    if (reply == NULL || reply->type != REDIS_REPLY_STRING) {
        (void)mim_error_set(reterr, MIM_E_NETWORK, "the server answered: %s",
                            reply != NULL && reply->type == REDIS_REPLY_ERROR ? reply->str
                            : l->redis->err != 0                              ? l->redis->errstr
                                                                              : "no schema");
        freeReplyObject(reply);
        return MIM_E_NETWORK;
    }
    int rc = mim_load_schema_new(mim_slice_of(reply->str, reply->len), &l->schema, reterr);
    freeReplyObject(reply);
    return rc;
}

static int load_open(struct loading *l, const char *path, struct mim_error *reterr) {
    l->file = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (l->file < 0 || fstat(l->file, &status) != 0) {
        return mim_error_os(reterr, MIM_E_NOT_FOUND, errno, "%s", path);
    }
    l->file_size = S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
    l->lines = calloc(l->pipeline, sizeof(*l->lines));
    l->reader = mim_replies_new(load_reply, l);
    return l->lines == NULL || l->reader == NULL ? mim_error_set(reterr, MIM_E_MEMORY, "out of memory") : 0;
}

static void load_summary(const struct loading *l, double seconds) {
    double rate = seconds > 0 ? (double)l->done / seconds : 0;
    if (l->json) {
        (void)printf("{\"done\":%llu,\"failed\":%llu,\"lines\":%llu,\"seconds\":%.3f,\"per_second\":%.0f}\n",
                     (unsigned long long)l->done, (unsigned long long)l->failed, (unsigned long long)l->line, seconds,
                     rate);
    } else {
        (void)printf("%llu commands done, %llu failed, %.3f s, %.0f commands/s\n", (unsigned long long)l->done,
                     (unsigned long long)l->failed, seconds, rate);
    }
}

static int load_all(struct loading *l, const char *path, struct mim_error *reterr) {
    int rc = load_open(l, path, reterr);
    rc = rc != 0 ? rc : load_connect(l, reterr);
    if (rc != 0) {
        return rc;
    }
    struct mim_progress progress;
    mim_progress_begin(&progress, "loading", l->file_size > 0 ? "B" : "commands");
    rc = load_run(l, &progress, reterr);
    mim_progress_end(&progress);
    load_summary(l, mim_progress_seconds(&progress));
    if (rc != 0) {
        rc = mim_error_prefix(
            reterr,
            "answered up to line %llu; what follows may or may not have happened: load the file again, "
            "which is safe for lines with an \"id\"",
            (unsigned long long)l->answered);
    }
    return rc;
}

int mim_cli_load(int argc, char **argv) {
    struct loading l = {.host = "127.0.0.1", .port = 7411, .pipeline = 4096};
    const struct mim_option items[] = {
        {"host", MIM_OPTION_TEXT, &l.host, "ADDRESS", "server (default 127.0.0.1)", 0, 0},
        {"port", MIM_OPTION_UNSIGNED, &l.port, "N", "port (default 7411)", 1, 65535},
        {"unixsocket", MIM_OPTION_TEXT, &l.unixsocket, "PATH", "unix socket instead", 0, 0},
        {"password", MIM_OPTION_TEXT, &l.password, "PASSWORD", "AUTH first", 0, 0},
        {"pipeline", MIM_OPTION_UNSIGNED, &l.pipeline, "N", "commands on their way at once (default 4096)", 1,
         1u << 20},
        {"stop-on-error", MIM_OPTION_FLAG, &l.stop_on_error, NULL,
         "send nothing more once a line failed (what is on its way still happens)", 0, 0},
        {"json", MIM_OPTION_FLAG, &l.json, NULL, "print the summary as JSON", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage load FILE|- [option ...]",
        .about = "Sends the commands of an NDJSON file to a server. A line:\n"
                 "  "
                 "{\"do\":\"account/"
                 "a-1\",\"command\":\"Deposit\",\"data\":{\"amount\":100},\"if\":4,\"id\":\"k1\",\"corr\":\"c1\"}\n"
                 "Lines that fail are reported and counted, the others go on; exit status 1 when any failed. A file "
                 "whose lines\n"
                 "have an \"id\" can be loaded again at any time: what happened before happens only once.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    if (rc > 0) {
        return 0;
    }
    if (rc == 0 && positional != 1) {
        rc = mim_error_set(&error, MIM_E_USAGE, "one FILE, or - for standard input, is wanted (see --help)");
    }
    rc = rc != 0 ? rc : load_all(&l, argv[0], &error);
    if (l.redis != NULL) {
        redisFree(l.redis);
    }
    (void)mim_replies_free(l.reader);
    (void)mim_load_schema_free(l.schema);
    mim_buffer_deinit(&l.out);
    free(l.text);
    free(l.lines);
    if (rc != 0) {
        return mim_cli_fail("load", &error);
    }
    return l.failed == 0 ? 0 : 1;
}
