// SPDX-License-Identifier: MIT
// The engine under crashes: the ledger on the simulated disk, driven by one seed. Commands carry idempotency keys; an
// outside record says which were acknowledged and with which answer. The machine dies at random storage calls, with torn,
// dropped and garbled sectors, or the process alone is killed. After every death: what was acknowledged is there with the
// same answer; what was not is sent again; at the end every key has had exactly one effect, transfers are whole, and the
// state is the same from scratch.
//
// Replay: test-engine-crash --seed S --seeds 1
#include <stdio.h>
#include <stdlib.h>

#include "engine/recovery.h"
#include "models/models.h"
#include "storage/storage_sim.h"

enum { ACCOUNTS = 6, OPERATIONS_MAX = 400, LIVES = 6 };

struct operation {
    unsigned from;
    unsigned to; /* equal to from: a deposit */
    int64_t amount;
    bool acknowledged;
    bool executed; /* in this life: waits for its gate */
    mim_lsn_t gate;
    mim_version_t version;
    mim_position_t position;
};

struct world {
    uint64_t seed;
    struct mim_prng prng;
    struct mim_storage_sim *sim;
    struct mim_storage storage;
    const struct mim_compiled *compiled;
    enum mim_durability durability;
    struct operation operations[OPERATIONS_MAX];
    unsigned count;
    /* one life */
    struct mim_engine *engine;
    struct mim_ring ring;
    struct mim_writer *writer;
    struct mim_appender appender;
    struct mim_error error;
    uint64_t now_ns;
    uint64_t crashes, kills, repeats, acknowledged;
};

#define REQUIRE(world, condition) require((world), (condition), #condition, __LINE__)

static void require(const struct world *w, bool condition, const char *text, int line) {
    if (!condition) {
        (void)printf("not ok 1 - seed %llu: line %d: %s (%s)\n", (unsigned long long)w->seed, line, text,
                     w->error.text);
        (void)printf("# replay: test-engine-crash --seed %llu --seeds 1\n", (unsigned long long)w->seed);
        exit(1);
    }
}

static void life_end(struct world *w) {
    if (w->writer != NULL) {
        w->writer = mim_writer_free(w->writer);
    }
    w->engine = mim_engine_free(w->engine);
    mim_ring_deinit(&w->ring);
}

/** Recovers and begins an epoch; false when a fault struck. */
static bool life_begin(struct world *w) {
    struct mim_engine_options engine = {.compiled = w->compiled, .reservation = 256ull << 20};
    struct mim_recovery recovery;
    struct mim_writer_options writer = {.durability = w->durability, .interval_ns = 1000};
    static const struct mim_history history = {.uuid = {1, 2, 3, 4, 5, 6, 7, 8}};
    REQUIRE(w, mim_engine_new(&engine, &w->engine, &w->error) == 0);
    REQUIRE(w, mim_ring_init(&w->ring, &w->error) == 0);
    int rc = mim_recovery_run(w->storage, w->engine, NULL, &recovery, &w->error);
    REQUIRE(w, rc == 0 || rc == MIM_E_IO || rc == MIM_E_NO_SPACE);
    if (rc == 0) {
        rc = mim_recovery_begin(w->storage, w->engine, &recovery, &w->ring, &writer, &history, 1000, &w->writer,
                                &w->appender, &w->error);
        mim_recovery_deinit(&recovery);
    }
    if (rc != 0) {
        life_end(w);
    }
    return rc == 0;
}

/** Steps writer and preparer; false when a fault struck. Operations whose gate has passed are acknowledged. */
static bool step(struct world *w) {
    w->now_ns += 700;
    if (mim_writer_step(w->writer, w->now_ns, &w->error) < 0) {
        return false;
    }
    int rc = mim_prng_chance(&w->prng, 1, 3) ? mim_preparer_step(w->storage, &w->ring, 0, &w->error) : 0;
    if (rc < 0 && rc != MIM_E_NO_SPACE) {
        return false;
    }
    mim_lsn_t gate =
        w->durability == MIM_DURABILITY_FSYNC ? atomic_load(&w->ring.gate_lsn) : atomic_load(&w->ring.synced_lsn);
    for (unsigned i = 0; i < w->count; i++) {
        struct operation *operation = &w->operations[i];
        if (operation->executed && !operation->acknowledged && gate >= operation->gate) {
            operation->acknowledged = true;
            w->acknowledged++;
        }
    }
    return true;
}

static void execute(struct world *w, const struct mim_request *request, struct mim_outcome *outcome, bool *ret_alive) {
    *ret_alive = true;
    mim_engine_execute(w->engine, &w->appender, request, outcome);
    while (*ret_alive && outcome->kind == MIM_OUTCOME_AGAIN) {
        mim_appender_seal(&w->appender);
        *ret_alive = step(w);
        if (*ret_alive) {
            mim_engine_execute(w->engine, &w->appender, request, outcome);
        }
    }
}

/** Sends an operation, new or again; false when a fault struck. */
static bool send_operation(struct world *w, unsigned n) {
    struct operation *operation = &w->operations[n];
    char id[16];
    char key[24];
    char json[64];
    (void)snprintf(id, sizeof(id), "a-%u", operation->from);
    (void)snprintf(key, sizeof(key), "k-%u", n);
    bool deposit = operation->from == operation->to;
    if (deposit) {
        (void)snprintf(json, sizeof(json), "{\"amount\":%lld}", (long long)operation->amount);
    } else {
        (void)snprintf(json, sizeof(json), "{\"to\":\"a-%u\",\"amount\":%lld}", operation->to,
                       (long long)operation->amount);
    }
    struct mim_request request = {.type = mim_slice_text("account"),
                                  .id = mim_slice_text(id),
                                  .command = mim_slice_text(deposit ? "Deposit" : "Transfer"),
                                  .json = mim_slice_text(json),
                                  .key = mim_slice_text(key),
                                  .wall_ms = (int64_t)(1000 + w->now_ns / 1000)};
    struct mim_outcome outcome;
    bool alive;
    execute(w, &request, &outcome, &alive);
    if (!alive) {
        return false;
    }
    REQUIRE(w, outcome.kind == MIM_OUTCOME_DONE);
    if (operation->acknowledged) { /* the same answer, and no second effect */
        REQUIRE(w,
                outcome.repeated && outcome.version == operation->version && outcome.position == operation->position);
        w->repeats++;
        return true;
    }
    operation->executed = true;
    operation->gate = outcome.repeated ? 0 : outcome.gate;
    operation->version = outcome.version;
    operation->position = outcome.position;
    return true;
}

static bool open_accounts(struct world *w) {
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        char id[16];
        char key[16];
        (void)snprintf(id, sizeof(id), "a-%u", i);
        (void)snprintf(key, sizeof(key), "open-%u", i);
        struct mim_request request = {
            .type = mim_slice_text("account"),
            .id = mim_slice_text(id),
            .command = mim_slice_text("Open"),
            .json = mim_slice_text("{\"owner\":\"o\",\"currency\":\"CZK\",\"overdraft\":1000000000}"),
            .key = mim_slice_text(key),
            .wall_ms = 1000};
        struct mim_outcome outcome;
        bool alive;
        execute(w, &request, &outcome, &alive);
        if (!alive) {
            return false;
        }
        REQUIRE(w, outcome.kind == MIM_OUTCOME_DONE);
    }
    return true;
}

/** Everything that is known is sent again; then `more` new operations. False when a fault struck. */
static bool life_work(struct world *w, unsigned more) {
    if (!open_accounts(w)) {
        return false;
    }
    for (unsigned i = 0; i < w->count; i++) {
        if ((!w->operations[i].acknowledged || mim_prng_chance(&w->prng, 1, 4)) && !send_operation(w, i)) {
            return false;
        }
    }
    for (unsigned i = 0; i < more && w->count < OPERATIONS_MAX; i++) {
        struct operation *operation = &w->operations[w->count];
        *operation = (struct operation){.from = (unsigned)mim_prng_below(&w->prng, ACCOUNTS),
                                        .amount = 1 + (int64_t)mim_prng_below(&w->prng, 1000)};
        operation->to = (unsigned)mim_prng_below(&w->prng, ACCOUNTS);
        if (!send_operation(w, w->count++)) {
            return false;
        }
        if (mim_prng_chance(&w->prng, 1, 3)) {
            mim_appender_seal(&w->appender);
        }
        if (mim_prng_chance(&w->prng, 1, 2) && !step(w)) {
            return false;
        }
    }
    return true;
}

static void die(struct world *w) {
    life_end(w);
    for (unsigned i = 0; i < w->count; i++) {
        w->operations[i].executed = false;
    }
    if (mim_prng_chance(&w->prng, 1, 4)) {
        w->kills++;
        mim_storage_sim_kill(w->sim);
        return;
    }
    w->crashes++;
    mim_storage_sim_crash(w->sim, (struct mim_sim_crash_odds){
                                      .drop_per_mille = (unsigned)mim_prng_below(&w->prng, 500),
                                      .zero_per_mille = (unsigned)mim_prng_below(&w->prng, 200),
                                      .garble_per_mille = (unsigned)mim_prng_below(&w->prng, 200),
                                      .entry_drop_per_mille = (unsigned)mim_prng_below(&w->prng, 800),
                                  });
}

/** Balances as the operations say, each once. */
static void check_balances(struct world *w) {
    int64_t balances[ACCOUNTS] = {0};
    for (unsigned i = 0; i < w->count; i++) {
        const struct operation *operation = &w->operations[i];
        balances[operation->to] += operation->amount;
        balances[operation->from] -= operation->from == operation->to ? 0 : operation->amount;
    }
    struct mim_buffer out = {0};
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        char id[16];
        char wanted[48];
        (void)snprintf(id, sizeof(id), "a-%u", i);
        (void)snprintf(wanted, sizeof(wanted), "\"balance\":%lld,", (long long)balances[i]);
        out.size = 0;
        REQUIRE(w, mim_engine_get(w->engine, NULL, mim_slice_text("account"), mim_slice_text(id), &out, NULL, NULL,
                                  &w->error) == 0);
        mim_buffer_append(&out, "", 1);
        REQUIRE(w, strstr((const char *)out.data, wanted) != NULL);
    }
    mim_buffer_deinit(&out);
}

/** The last life, without faults: everything sent again, then the state against the record, and from scratch. */
static void settle(struct world *w) {
    mim_storage_sim_clear_faults(w->sim);
    REQUIRE(w, life_begin(w));
    REQUIRE(w, life_work(w, 0));
    mim_appender_seal(&w->appender);
    while (!mim_appender_idle(&w->appender)) {
        REQUIRE(w, step(w));
    }
    REQUIRE(w, mim_writer_finish(w->writer, &w->error) == 0);
    check_balances(w);
    uint64_t digest = mim_engine_digest(w->engine);
    life_end(w);
    mim_storage_sim_kill(w->sim);
    uint64_t bytes = mim_storage_sim_hash(w->sim);
    struct mim_engine_options options = {.compiled = w->compiled, .reservation = 256ull << 20};
    struct mim_recovery recovery;
    REQUIRE(w, mim_engine_new(&options, &w->engine, &w->error) == 0);
    REQUIRE(w, mim_recovery_run(w->storage, w->engine, NULL, &recovery, &w->error) == 0);
    REQUIRE(w, mim_engine_digest(w->engine) == digest);
    REQUIRE(w, mim_storage_sim_hash(w->sim) == bytes); /* recovery reads only */
    mim_recovery_deinit(&recovery);
    w->engine = mim_engine_free(w->engine);
}

static void run_seed(struct world *w, uint64_t seed, const struct mim_compiled *compiled) {
    w->seed = seed;
    w->compiled = compiled;
    w->count = 0;
    mim_prng_init(&w->prng, seed);
    w->durability = seed % 3 == 2 ? MIM_DURABILITY_INTERVAL : MIM_DURABILITY_FSYNC;
    w->sim = mim_storage_sim_new(seed);
    w->storage = mim_storage_sim_storage(w->sim);
    for (unsigned life = 0; life < LIVES; life++) {
        mim_storage_sim_fail_nth(w->sim, 1 + mim_prng_below(&w->prng, 60), MIM_SIM_FAULT_CRASH, true);
        if (life_begin(w)) {
            (void)life_work(w, 60);
        }
        die(w);
    }
    settle(w);
    w->sim = mim_storage_sim_free(w->sim);
}

int main(int argc, char **argv) {
    uint64_t first = 1;
    uint64_t seeds = 600;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);
        first = strcmp(argv[i], "--seed") == 0 ? value : first;
        seeds = strcmp(argv[i], "--seeds") == 0 ? value : seeds;
    }
    static struct world world;
    struct mim_compiled *compiled = NULL;
    (void)printf("1..1\n");
    REQUIRE(&world, mim_compiled_new(&mim_ledger_model, &compiled, &world.error) == 0);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        run_seed(&world, seed, compiled);
    }
    (void)mim_compiled_free(compiled);
    (void)printf("# %llu seeds: %llu power cuts, %llu kills, %llu operations acknowledged, %llu repeated\n",
                 (unsigned long long)seeds, (unsigned long long)world.crashes, (unsigned long long)world.kills,
                 (unsigned long long)world.acknowledged, (unsigned long long)world.repeats);
    (void)printf("ok 1 - nothing acknowledged is lost, nothing happens twice, transfers are whole, over all seeds\n");
    return 0;
}
