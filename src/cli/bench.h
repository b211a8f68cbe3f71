// SPDX-License-Identifier: MIT
// What the benchmarks share: a server to measure (one that runs, or one of their own in a scratch directory), time, and
// figures as text and JSON.
#ifndef MIM_CLI_BENCH_H
#define MIM_CLI_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "model/codec.h"
#include "server/latency.h"

int mim_bench_commands(int argc, char **argv);
int mim_bench_latency(int argc, char **argv);
int mim_bench_replay(int argc, char **argv);
int mim_bench_restore(int argc, char **argv);
int mim_bench_replica(int argc, char **argv);

uint64_t mim_bench_now_ns(void);

/* ------------------------------------------------- scratch directory (bench_target.c) */

#define MIM_BENCH_PATH_SIZE 256u

/** Makes a directory of its own inside `parent` (NULL: $TMPDIR, or /tmp). Warns on stderr when it is in memory only,
 *  where a sync costs nothing. */
MIM_CHECKED int mim_bench_scratch_make(const char *parent, char ret_path[MIM_BENCH_PATH_SIZE],
                                       struct mim_error *reterr);
/** Removes it with all that is in it. */
void mim_bench_scratch_remove(const char *path);

/* ------------------------------------------------- the server to measure (bench_target.c) */

struct mim_bench_target {
    const char *unixsocket; /* given: a server that runs; wins over the port */
    const char *dir;        /* where the scratch directory of an own server goes; NULL: see above */
    const char *durability; /* of an own server */
    uint64_t port;          /* 0: start an own server */
    uint64_t busy_poll_us;  /* of an own server */
    const char *replica_of; /* an own server follows this; NULL: it is a primary */
    const char *verify;     /* of an own server; NULL: as by default */
    pid_t pid;              /* of the own server, 0: none */
    char scratch[MIM_BENCH_PATH_SIZE];
};

/** Starts an own server unless one is given, and waits until it is ready. Close also after failure. */
MIM_CHECKED int mim_bench_target_open(struct mim_bench_target *target, struct mim_error *reterr);
void mim_bench_target_close(struct mim_bench_target *target);
/** The own server again, on the same directory, after mim_bench_target_kill. Returns as soon as it is started. */
MIM_CHECKED int mim_bench_target_again(struct mim_bench_target *target, struct mim_error *reterr);
/** kill -9, and waits for its end. */
void mim_bench_target_kill(struct mim_bench_target *target);
/** Waits for the ready line of an own server that was started again. */
MIM_CHECKED int mim_bench_target_ready(struct mim_bench_target *target, struct mim_error *reterr);
/** One command given as words; its integer, or the first integer of its array, or 0. STATE with an error reply. */
MIM_CHECKED int mim_bench_ask(const struct mim_bench_target *target, const char *words, uint64_t *ret_number,
                              struct mim_error *reterr);
/** A connected socket. NETWORK. */
MIM_CHECKED int mim_bench_connect(const struct mim_bench_target *target, int *ret_fd, struct mim_error *reterr);
/** A number of INFO, 0 when it is not there. */
uint64_t mim_bench_info(const struct mim_bench_target *target, const char *name);

/** Requests as bytes, one behind the other: request n is bytes[offsets[n]..offsets[n + 1]). */
struct mim_bench_requests {
    struct mim_buffer bytes;
    uint32_t *offsets;
    uint32_t count;
};
/** `count` times "DO account/bench-N Deposit amount 1". MEMORY. */
MIM_CHECKED int mim_bench_requests_make(struct mim_bench_requests *requests, uint32_t count, struct mim_error *reterr);
/** The requests of a file, in RESP (bench_requests.c). IO, MEMORY, USAGE; deinit it also after failure. */
MIM_CHECKED int mim_bench_requests_read(struct mim_bench_requests *requests, const char *path,
                                        struct mim_error *reterr);
void mim_bench_requests_deinit(struct mim_bench_requests *requests);
/** Opens those accounts, where they are not open yet. */
MIM_CHECKED int mim_bench_accounts_open(const struct mim_bench_target *target, uint32_t count,
                                        struct mim_error *reterr);
/** Sends them all, a thousand at a time, and reads their replies. STATE with the newest error reply. */
MIM_CHECKED int mim_bench_pour(int fd, const struct mim_bench_requests *requests, struct mim_error *reterr);
/** Sends all of it, waiting as long as it takes. */
MIM_CHECKED int mim_bench_send(int fd, const void *data, size_t size, struct mim_error *reterr);

/* ------------------------------------------------- figures */

/** p50, p99, p99.9 and the greatest, in microseconds, as members of the open JSON object. */
void mim_bench_json_latency(struct mim_json *j, const struct mim_latency *latency);
void mim_bench_json_number(struct mim_json *j, const char *key, uint64_t value);
void mim_bench_json_text(struct mim_json *j, const char *key, const char *text);
/** Microseconds at a permille. */
double mim_bench_us(const struct mim_latency *latency, uint32_t permille);
/** Prints the document and a newline, and empties the buffer. */
void mim_bench_json_print(struct mim_buffer *out);

#endif
