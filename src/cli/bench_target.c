// SPDX-License-Identifier: MIT
// The server that a benchmark measures: a given one, or one of its own, started from this very binary on a scratch
// directory and stopped by its process id.
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/replies.h"

#define MIM_BENCH_READY_NS   30000000000ull
#define MIM_BENCH_ARGUMENTS  16u
#define MIM_BENCH_OPEN_BATCH 1000u

int mim_bench_scratch_make(const char *parent, char ret_path[MIM_BENCH_PATH_SIZE], struct mim_error *reterr) {
    const char *temporary = getenv("TMPDIR");
    parent = parent != NULL ? parent : temporary != NULL ? temporary : "/tmp";
    char path[MIM_BENCH_PATH_SIZE];
    int size = snprintf(path, sizeof(path), "%s/memimage-bench-XXXXXX", parent);
    if (size < 0 || (size_t)size + 16 >= sizeof(path)) {
        return mim_error_set(reterr, MIM_E_USAGE, "the path of the scratch directory is too long");
    }
    if (mkdtemp(path) == NULL) {
        return mim_error_os(reterr, MIM_E_IO, errno, "making a scratch directory in %s", parent);
    }
    struct statfs fs;
    if (statfs(path, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)) {
        (void)fprintf(stderr, "memimage bench: %s is in memory only: a sync costs nothing there (see --dir)\n", parent);
    }
    memcpy(ret_path, path, sizeof(path));
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int flag, struct FTW *walk) {
    (void)status;
    (void)flag;
    (void)walk;
    return remove(path);
}

void mim_bench_scratch_remove(const char *path) { (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

/** In the child: becomes the server. */
static void target_exec(const struct mim_bench_target *target, const char *log) {
    char data[MIM_BENCH_PATH_SIZE + 8];
    char busy_poll[24];
    (void)snprintf(data, sizeof(data), "%s/data", target->scratch);
    (void)snprintf(busy_poll, sizeof(busy_poll), "%llu", (unsigned long long)target->busy_poll_us);
    int file = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* never left behind */
    if (file < 0 || dup2(file, STDERR_FILENO) < 0 || dup2(file, STDOUT_FILENO) < 0) {
        _exit(127);
    }
    char socket_path[MIM_BENCH_PATH_SIZE + 8];
    (void)snprintf(socket_path, sizeof(socket_path), "%s/socket", target->scratch);
    const char *const words[] = {"memimage",
                                 "serve",
                                 "--dir",
                                 data,
                                 "--port",
                                 "0",
                                 "--durability",
                                 target->durability,
                                 "--busy-poll",
                                 busy_poll,
                                 "--unixsocket",
                                 socket_path,
                                 "--verify",
                                 target->verify == NULL ? "eager" : target->verify,
                                 target->replica_of == NULL ? NULL : "--replica-of",
                                 target->replica_of,
                                 NULL};
    union {
        const char *const *constant;
        char *const *plain;
    } arguments = {.constant = words};
    (void)execv("/proc/self/exe", arguments.plain);
    _exit(127);
}

/** The port from the log's ready line; 0: not there yet. The rest of the log is left in `text`. */
static unsigned ready_port(const char *log, char *text, size_t capacity) {
    int file = open(log, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, text, capacity - 1);
    if (file >= 0) {
        (void)close(file);
    }
    text[size > 0 ? size : 0] = '\0';
    const char *ready = strstr(text, "ready");
    const char *port = ready == NULL ? NULL : strstr(ready, "port=");
    return port == NULL || strchr(port, '\n') == NULL ? 0 : (unsigned)strtoul(port + 5, NULL, 10);
}

static int target_wait(struct mim_bench_target *target, const char *log, struct mim_error *reterr) {
    char text[4096];
    uint64_t until = mim_bench_now_ns() + MIM_BENCH_READY_NS;
    while ((target->port = ready_port(log, text, sizeof(text))) == 0) {
        int status;
        bool gone = waitpid(target->pid, &status, WNOHANG) == target->pid;
        if (gone || mim_bench_now_ns() > until) {
            target->pid = gone ? 0 : target->pid;
            return mim_error_set(reterr, MIM_E_STATE, "the server did not start: %.300s", text);
        }
        struct timespec pause = {.tv_nsec = 2000000};
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

int mim_bench_target_open(struct mim_bench_target *target, struct mim_error *reterr) {
    target->pid = 0;
    target->scratch[0] = '\0';
    if (target->port != 0 || target->unixsocket != NULL) {
        return 0;
    }
    int rc = mim_bench_scratch_make(target->dir, target->scratch, reterr);
    if (rc != 0) {
        return rc;
    }
    rc = mim_bench_target_again(target, reterr);
    return rc != 0 ? rc : mim_bench_target_ready(target, reterr);
}

int mim_bench_target_again(struct mim_bench_target *target, struct mim_error *reterr) {
    char log[MIM_BENCH_PATH_SIZE + 8];
    (void)snprintf(log, sizeof(log), "%s/log", target->scratch);
    (void)unlink(log);
    pid_t pid = fork();
    if (pid < 0) {
        return mim_error_os(reterr, MIM_E_MEMORY, errno, "starting a server");
    }
    if (pid == 0) {
        target_exec(target, log);
    }
    target->pid = pid;
    return 0;
}

int mim_bench_target_ready(struct mim_bench_target *target, struct mim_error *reterr) {
    char log[MIM_BENCH_PATH_SIZE + 8];
    (void)snprintf(log, sizeof(log), "%s/log", target->scratch);
    return target_wait(target, log, reterr);
}

void mim_bench_target_kill(struct mim_bench_target *target) {
    int status;
    if (target->pid > 0) {
        (void)kill(target->pid, SIGKILL);
        (void)waitpid(target->pid, &status, 0);
        target->pid = 0;
    }
}

void mim_bench_target_close(struct mim_bench_target *target) {
    if (target->pid > 0) {
        int status;
        (void)kill(target->pid, SIGTERM);
        (void)waitpid(target->pid, &status, 0);
        target->pid = 0;
    }
    if (target->scratch[0] != '\0') {
        mim_bench_scratch_remove(target->scratch);
        target->scratch[0] = '\0';
    }
}

static redisContext *target_redis(const struct mim_bench_target *target) {
    return target->unixsocket != NULL ? redisConnectUnix(target->unixsocket)
                                      : redisConnect("127.0.0.1", (int)target->port);
}

int mim_bench_connect(const struct mim_bench_target *target, int *ret_fd, struct mim_error *reterr) {
    redisContext *redis = target_redis(target);
    if (redis == NULL || redis->err != 0) {
        int rc = mim_error_set(reterr, MIM_E_NETWORK, "no server at %s port %llu: %s",
                               target->unixsocket != NULL ? target->unixsocket : "127.0.0.1",
                               (unsigned long long)target->port, redis == NULL ? "out of memory" : redis->errstr);
        if (redis != NULL) {
            redisFree(redis);
        }
        return rc;
    }
    int fd = redisFreeKeepFd(redis);
    int yes = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)); /* a unix socket has none, and needs none */
    *ret_fd = fd;
    return 0;
}

int mim_bench_ask(const struct mim_bench_target *target, const char *words, uint64_t *ret_number,
                  struct mim_error *reterr) {
    redisContext *redis = target_redis(target);
    redisReply *reply = NULL;
    int rc = 0;
    *ret_number = 0;
    if (redis != NULL && redis->err == 0) {
        reply = redisCommand(redis, words);
    }
    if (reply == NULL) {
        rc = mim_error_set(reterr, MIM_E_NETWORK, "%s: %s", words, redis == NULL ? "out of memory" : redis->errstr);
    } else if (reply->type == REDIS_REPLY_ERROR) {
        rc = mim_error_set(reterr, MIM_E_STATE, "%s: %s", words, reply->str);
    } else {
        const redisReply *first = reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 ? reply->element[0] : reply;
        *ret_number = first->type == REDIS_REPLY_INTEGER ? (uint64_t)first->integer : 0;
    }
    freeReplyObject(reply);
    if (redis != NULL) {
        redisFree(redis);
    }
    return rc;
}

uint64_t mim_bench_info(const struct mim_bench_target *target, const char *name) {
    uint64_t value = 0;
    redisContext *redis = target_redis(target);
    redisReply *reply = redis == NULL || redis->err != 0 ? NULL : redisCommand(redis, "INFO");
    if (reply != NULL && reply->type == REDIS_REPLY_STRING) {
        char line[64];
        (void)snprintf(line, sizeof(line), "\n%s:", name);
        const char *found = strstr(reply->str, line);
        value = found == NULL ? 0 : strtoull(found + strlen(line), NULL, 10);
    }
    freeReplyObject(reply);
    if (redis != NULL) {
        redisFree(redis);
    }
    return value;
}

/* ------------------------------------------------------------------- requests */

static void put_request(struct mim_buffer *out, const char *const *words, size_t count) {
    char head[32];
    (void)snprintf(head, sizeof(head), "*%zu\r\n", count);
    mim_buffer_text(out, head);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(head, sizeof(head), "$%zu\r\n", strlen(words[i]));
        mim_buffer_text(out, head);
        mim_buffer_text(out, words[i]);
        mim_buffer_text(out, "\r\n");
    }
}

int mim_bench_requests_make(struct mim_bench_requests *requests, uint32_t count, struct mim_error *reterr) {
    *requests = (struct mim_bench_requests){.count = count};
    requests->offsets = calloc((size_t)count + 1, sizeof(*requests->offsets));
    if (requests->offsets == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; i < count; i++) {
        char account[40];
        (void)snprintf(account, sizeof(account), "account/bench-%u", i);
        put_request(&requests->bytes, (const char *const[]){"DO", account, "Deposit", "amount", "1"}, 5);
        requests->offsets[i + 1] = (uint32_t)requests->bytes.size;
    }
    return 0;
}

void mim_bench_requests_deinit(struct mim_bench_requests *requests) {
    mim_buffer_deinit(&requests->bytes);
    free(requests->offsets);
    *requests = (struct mim_bench_requests){0};
}

int mim_bench_send(int fd, const void *data, size_t size, struct mim_error *reterr) {
    const char *from = data;
    while (size > 0) {
        ssize_t n = send(fd, from, size, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return mim_error_os(reterr, MIM_E_NETWORK, errno, "the connection broke");
        }
        from += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

struct opening {
    uint32_t replies;
    char error[160];
};

static void on_opened(void *context, const char *error) {
    struct opening *opening = context;
    opening->replies++;
    if (error != NULL && strncmp(error, "REJECTED ACCOUNT_EXISTS", 23) != 0) {
        (void)snprintf(opening->error, sizeof(opening->error), "%s", error);
    }
}

/** One batch of Open, and its replies. */
static int open_batch(int fd, uint32_t first, uint32_t count, struct mim_buffer *out, struct mim_error *reterr) {
    struct opening opening = {0};
    out->size = 0;
    for (uint32_t i = 0; i < count; i++) {
        char account[40];
        (void)snprintf(account, sizeof(account), "account/bench-%u", first + i);
        put_request(out, (const char *const[]){"DO", account, "Open", "owner", "bench", "currency", "CZK"}, 7);
    }
    int rc = mim_bench_send(fd, out->data, out->size, reterr);
    struct mim_replies *replies = mim_replies_new(on_opened, &opening);
    rc = rc == 0 && replies == NULL ? mim_error_set(reterr, MIM_E_MEMORY, "out of memory") : rc;
    while (rc == 0 && opening.replies < count) {
        char buffer[16384];
        ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
        rc = n > 0                     ? mim_replies_feed(replies, buffer, (size_t)n, reterr)
             : n < 0 && errno == EINTR ? 0
                                       : mim_error_set(reterr, MIM_E_NETWORK, "the server closed the connection");
    }
    (void)mim_replies_free(replies);
    return rc != 0 || opening.error[0] == '\0'
               ? rc
               : mim_error_set(reterr, MIM_E_STATE, "opening accounts: %s", opening.error);
}

int mim_bench_accounts_open(const struct mim_bench_target *target, uint32_t count, struct mim_error *reterr) {
    int fd = -1;
    int rc = mim_bench_connect(target, &fd, reterr);
    struct mim_buffer out = {0};
    for (uint32_t first = 0; rc == 0 && first < count; first += MIM_BENCH_OPEN_BATCH) {
        uint32_t left = count - first;
        rc = open_batch(fd, first, left < MIM_BENCH_OPEN_BATCH ? left : MIM_BENCH_OPEN_BATCH, &out, reterr);
    }
    mim_buffer_deinit(&out);
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

struct pouring {
    uint64_t replies;
    char error[160];
};

static void on_poured(void *context, const char *error) {
    struct pouring *pouring = context;
    pouring->replies++;
    if (error != NULL) {
        (void)snprintf(pouring->error, sizeof(pouring->error), "%s", error);
    }
}

int mim_bench_pour(int fd, const struct mim_bench_requests *requests, struct mim_error *reterr) {
    struct pouring pouring = {0};
    struct mim_replies *replies = mim_replies_new(on_poured, &pouring);
    int rc = replies == NULL ? mim_error_set(reterr, MIM_E_MEMORY, "out of memory") : 0;
    for (uint32_t first = 0; rc == 0 && first < requests->count; first += MIM_BENCH_OPEN_BATCH) {
        uint32_t end = requests->count - first < MIM_BENCH_OPEN_BATCH ? requests->count : first + MIM_BENCH_OPEN_BATCH;
        const uint32_t *offsets = requests->offsets;
        rc = mim_bench_send(fd, requests->bytes.data + offsets[first], offsets[end] - offsets[first], reterr);
        while (rc == 0 && pouring.replies < end) {
            char buffer[16384];
            ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
            rc = n > 0                     ? mim_replies_feed(replies, buffer, (size_t)n, reterr)
                 : n < 0 && errno == EINTR ? 0
                                           : mim_error_set(reterr, MIM_E_NETWORK, "the server closed the connection");
        }
    }
    (void)mim_replies_free(replies);
    return rc != 0 || pouring.error[0] == '\0' ? rc : mim_error_set(reterr, MIM_E_STATE, "%s", pouring.error);
}
