// SPDX-License-Identifier: MIT
// A small history of the ledger with a bit of everything: several lives, a rolled segment, keys, rejections, options.
#ifndef MIM_TESTS_FUZZ_HISTORY_H
#define MIM_TESTS_FUZZ_HISTORY_H

#include "disk.h"

struct fuzz_command {
    const char *id;
    const char *command;
    const char *json;
    const char *key; /* NULL: none */
};

static const struct fuzz_command fuzz_commands[] = {
    {"a", "Open", "{\"owner\":\"Alice\",\"currency\":\"CZK\",\"overdraft\":100}", "k1"},
    {"b", "Open", "{\"owner\":\"a longer name than fits inline\",\"currency\":\"EUR\"}", NULL},
    {"c/3", "Open", "{\"owner\":\"\",\"currency\":\"CZK\"}", "k2"},
    {"a", "Deposit", "{\"amount\":5000,\"note\":\"first\"}", "k3"},
    {"a", "Deposit", "{\"amount\":5000,\"note\":\"first\"}", "k3"},
    {"a", "Transfer", "{\"to\":\"c/3\",\"amount\":70}", "k4"},
    {"a", "Withdraw", "{\"amount\":3}", NULL},
    {"b", "Close", "{}", "k5"},
    {"b", "Deposit", "{\"amount\":1}", NULL},
};

static inline void fuzz_execute(struct fuzz_life *life, const struct mim_request *request, struct mim_outcome *ret) {
    mim_engine_execute(life->engine, &life->appender, request, ret);
    while (ret->kind == MIM_OUTCOME_AGAIN) {
        fuzz_drain(life);
        mim_engine_execute(life->engine, &life->appender, request, ret);
    }
}

static inline void fuzz_life_start(struct fuzz_life *life) {
    struct mim_engine_options options = fuzz_engine_options();
    struct mim_recovery recovery;
    struct mim_error error = {0};
    FUZZ_REQUIRE(mim_engine_new(&options, &life->engine, &error) == 0);
    FUZZ_REQUIRE(mim_recovery_run(life->storage, life->engine, NULL, &recovery, &error) == 0);
    FUZZ_REQUIRE(fuzz_begin(life, &recovery, &error) == 0);
}

/** One life: every command once, then `deposits` more in frames of 4. Ends cleanly or not. */
static inline void fuzz_live(struct fuzz_life *life, unsigned deposits, bool clean) {
    struct mim_outcome outcome;
    fuzz_life_start(life);
    for (size_t i = 0; i < MIM_COUNT_OF(fuzz_commands) + deposits; i++) {
        static const struct fuzz_command more = {"a", "Deposit", "{\"amount\":1}", NULL};
        const struct fuzz_command *c = i < MIM_COUNT_OF(fuzz_commands) ? &fuzz_commands[i] : &more;
        struct mim_request request = {.type = mim_slice_text("account"),
                                      .id = mim_slice_text(c->id),
                                      .command = mim_slice_text(c->command),
                                      .json = mim_slice_text(c->json),
                                      .correlation = i == 3 ? mim_slice_text("corr") : (struct mim_slice){0},
                                      .causation = i == 3 ? mim_slice_text("cause") : (struct mim_slice){0},
                                      .actor = i == 3 ? mim_slice_text("actor") : (struct mim_slice){0},
                                      .wall_ms = 1700000000000 + (int64_t)i};
        if (c->key != NULL) {
            request.key = mim_slice_text(c->key);
        }
        fuzz_execute(life, &request, &outcome);
        if (i % 4 == 3) {
            fuzz_drain(life);
        }
    }
    fuzz_drain(life);
    fuzz_end(life, clean);
}

#endif
