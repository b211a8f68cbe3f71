// SPDX-License-Identifier: MIT
// What the budget counts: fixed work through sessions, engine, ring, journal writer and replay, in one thread, on the
// simulated disk, without sockets and with a clock that only counts. tests/budget/run.py runs it under callgrind, which
// collects inside the functions named budget_count_* and writes its counters down at each budget_mark_*.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/models.h"
#include "server/internal.h"
#include "storage/storage_sim.h"
#if __has_include("server/acl.h")
#include "server/acl.h" /* a server with users asks who a new session is */
#define WITH_ACL 1
#endif

enum { CLIENTS = 50, ACCOUNTS = 1000, PIPELINE_MAX = 64, REQUEST_SIZE = 128 };

struct world {
    struct mim_server *server;
    struct mim_storage_sim *sim;
    struct mim_session *sessions[CLIENTS];
    uint8_t requests[CLIENTS][PIPELINE_MAX * REQUEST_SIZE];
    size_t sizes[CLIENTS];
    uint64_t now_ns;
    uint64_t next; /* which account */
};

enum work { OPEN, DEPOSIT, GET, STATE };

static uint64_t clock_count(void *context) {
    uint64_t *now_ns = context;
    *now_ns += 1000;
    return *now_ns;
}

static int64_t clock_wall(void *context) {
    (void)context;
    return 1000000;
}

static void require(bool good, const char *what, const struct mim_error *error) {
    if (!good) {
        (void)fprintf(stderr, "budget: %s: %s\n", what, error == NULL ? "" : error->text);
        exit(1);
    }
}

static void server_make(struct world *w) {
    struct mim_error error = {0};
    struct mim_server *server = aligned_alloc(64, (sizeof(*server) + 63u) / 64u * 64u);
    require(server != NULL, "no memory", NULL);
    memset(server, 0, sizeof(*server));
    mim_server_options_default(&server->options);
    struct mim_compiled *compiled = NULL;
    require(mim_compiled_new(mim_models_find("ledger"), &compiled, &error) == 0, "model", &error);
    server->options.compiled = compiled;
    server->clock = (struct mim_clock){.context = &w->now_ns, .monotonic_ns = clock_count, .wall_ms = clock_wall};
    server->storage = mim_storage_sim_storage(w->sim);
    server->phase = MIM_PHASE_SERVING;
    TAILQ_INIT(&server->sessions);
    TAILQ_INIT(&server->fresh);
    TAILQ_INIT(&server->waiting);
    TAILQ_INIT(&server->stalled);
    TAILQ_INIT(&server->doomed);
#ifdef WITH_ACL
    require(mim_acl_load(NULL, NULL, &server->acl, &error) == 0, "acl", &error);
#endif
    static const struct mim_history history = {.uuid = {1, 2, 3}};
    struct mim_engine_options engine = {.compiled = server->options.compiled, .reservation = 256ull << 20};
    struct mim_recovery recovery;
    require(mim_engine_new(&engine, &server->engine, &error) == 0, "engine", &error);
    require(mim_ring_init(&server->ring, &error) == 0, "ring", &error);
    require(mim_recovery_run(server->storage, server->engine, NULL, &recovery, &error) == 0, "recovery", &error);
    require(mim_recovery_begin(server->storage, server->engine, &recovery, &server->ring, &server->options.writer,
                               &history, 1000, &server->writer, &server->appender, &error) == 0,
            "begin", &error);
    mim_recovery_deinit(&recovery);
    w->server = server;
    for (unsigned i = 0; i < CLIENTS; i++) {
        w->sessions[i] = mim_session_new(server, (struct mim_transport){.fd = -1});
        require(w->sessions[i] != NULL, "session", NULL);
    }
}

static size_t word(char *at, const char *text) { return (size_t)sprintf(at, "$%zu\r\n%s\r\n", strlen(text), text); }

static size_t request_make(char *at, enum work work, uint64_t account) {
    static const char *const words[][6] = {
        {"DO", "Open", "owner", "bench", "currency", "CZK"}, {"DO", "Deposit", "amount", "1"}, {"GET"}, {"STATE"}};
    static const unsigned counts[] = {6, 4, 1, 1};
    char name[32];
    (void)snprintf(name, sizeof(name), "account/bench-%u", (unsigned)account);
    size_t size = (size_t)sprintf(at, "*%u\r\n", counts[work] + 1);
    for (unsigned i = 0; i < counts[work]; i++) {
        size += word(at + size, words[work][i]);
        size += i == 0 ? word(at + size, name) : 0;
    }
    return size;
}

/** A batch of requests for every client; accounts in an order without a pattern that a cache would know. */
static void requests_make(struct world *w, enum work work, unsigned pipeline) {
    for (unsigned i = 0; i < CLIENTS; i++) {
        w->sizes[i] = 0;
        for (unsigned n = 0; n < pipeline; n++) {
            uint64_t account = work == OPEN ? w->next % ACCOUNTS : w->next * 617 % ACCOUNTS;
            w->next++;
            w->sizes[i] += request_make((char *)w->requests[i] + w->sizes[i], work, account);
        }
    }
}

/* --------------------------------------------------- counted: the engine's thread */

static void commands_execute(struct world *w) {
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct mim_session *session = w->sessions[i];
        session->received_ns = mim_server_now(w->server);
        size_t done = mim_session_consume(session, w->requests[i], w->sizes[i]);
        require(done == w->sizes[i] && session->stall == MIM_STALL_NONE, "a request was not executed", NULL);
    }
    mim_appender_seal(&w->server->appender);
}

static void replies_release(struct world *w) {
    mim_lsn_t gate = atomic_load_explicit(&w->server->ring.gate_lsn, memory_order_acquire);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct mim_session *session = w->sessions[i];
        mim_session_release(session, gate, w->now_ns);
        struct mim_slice pending = mim_session_pending(session);
        require(pending.size > 0 && pending.data[0] != '-', "no reply, or an error", NULL);
        mim_session_sent(session, pending.size);
        require(mim_session_drained(session), "a reply is held", NULL);
    }
}

/* Functions of their own, that callgrind can name; a call each, as the compiler would merge equal ones. */
#define COUNTED __attribute__((noinline, noipa))

COUNTED static void budget_count_execute(struct world *w) { commands_execute(w); }
COUNTED static void budget_count_release(struct world *w) { replies_release(w); }

/* ---------------------------------------------------- counted: the journal's thread */

COUNTED static int budget_count_writer(struct world *w) {
    struct mim_error error = {0};
    int handled = mim_writer_step(w->server->writer, w->now_ns, &error);
    require(handled >= 0, "writer", &error);
    return handled;
}

static void journal_write(struct world *w, bool counted) {
    struct mim_error error = {0};
    int rc = 0;
    while (!mim_appender_idle(&w->server->appender)) {
        rc = counted ? budget_count_writer(w) : mim_writer_step(w->server->writer, w->now_ns, &error);
        require(rc >= 0, "writer", &error);
    }
    while ((rc = mim_preparer_step(w->server->storage, &w->server->ring, 0, &error)) > 0) {
    }
    require(rc == 0, "preparer", &error);
}

/* ------------------------------------------------------------------ counted: replay */

COUNTED static uint64_t budget_count_replay(struct world *w, struct mim_engine *engine) {
    struct mim_recovery recovery;
    struct mim_error error = {0};
    require(mim_recovery_run(w->server->storage, engine, NULL, &recovery, &error) == 0, "replay", &error);
    uint64_t events = recovery.events;
    mim_recovery_deinit(&recovery);
    return events;
}

/* -------------------------------------------------------------------------- phases */

COUNTED static void budget_mark(const char *name, uint64_t count) {
    (void)printf("%s %llu\n", name, (unsigned long long)count);
    (void)fflush(stdout);
}

static void round_run(struct world *w, enum work work, unsigned pipeline, bool commands, bool writer) {
    requests_make(w, work, pipeline);
    if (commands) {
        budget_count_execute(w);
    } else {
        commands_execute(w);
    }
    journal_write(w, writer);
    if (commands) {
        budget_count_release(w);
    } else {
        replies_release(w);
    }
}

static void phase_run(struct world *w, const char *name, enum work work, unsigned pipeline, bool writer) {
    enum { ROUNDS = 20 };
    round_run(w, work, pipeline, false, false); /* outputs have their memory after it */
    for (unsigned i = 0; i < ROUNDS; i++) {
        round_run(w, work, pipeline, !writer, writer);
    }
    budget_mark(name, writer ? ROUNDS : (uint64_t)ROUNDS * CLIENTS * pipeline);
}

int main(void) {
    static struct world w;
    w.sim = mim_storage_sim_new(1);
    server_make(&w);
    for (unsigned i = 0; i < ACCOUNTS / CLIENTS; i++) {
        round_run(&w, OPEN, 1, false, false);
    }
    phase_run(&w, "deposit_pipeline_1", DEPOSIT, 1, false);
    phase_run(&w, "deposit_pipeline_16", DEPOSIT, 16, false);
    phase_run(&w, "get_pipeline_16", GET, 16, false);
    phase_run(&w, "state_pipeline_16", STATE, 16, false);
    phase_run(&w, "journal_frame_of_50", DEPOSIT, 1, true);
    phase_run(&w, "journal_frame_of_3200", DEPOSIT, 64, true);
    struct mim_engine_options options = {.compiled = w.server->options.compiled, .reservation = 256ull << 20};
    struct mim_engine *engine = NULL;
    struct mim_error error = {0};
    require(mim_engine_new(&options, &engine, &error) == 0, "engine", &error);
    uint64_t events = budget_count_replay(&w, engine);
    require(mim_engine_digest(engine) == mim_engine_digest(w.server->engine), "replay gave another state", NULL);
    budget_mark("replay_event", events);
    return 0;
}
