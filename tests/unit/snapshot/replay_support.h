// SPDX-License-Identifier: MIT
// What the tests of replay share: an engine that writes a journal on the simulated disk, command by command.
#ifndef MIM_TESTS_REPLAY_SUPPORT_H
#define MIM_TESTS_REPLAY_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/prng.h"
#include "engine/recovery.h"
#include "storage/storage_sim.h"

struct writing {
    struct mim_storage storage;
    struct mim_engine *engine;
    struct mim_ring ring;
    struct mim_writer *writer;
    struct mim_appender appender;
};

static inline void ok(int rc, const struct mim_error *error) {
    if (rc < 0) {
        fail_msg("error %d: %s", rc, error->text);
    }
}

static inline struct mim_argument pair(const char *name, const char *value, size_t size) {
    return (struct mim_argument){.name = mim_slice_text(name), .value = mim_slice_of(value, size)};
}

/** Begins a journal. */
static inline struct writing *writing_begin(struct mim_storage storage, const struct mim_compiled *compiled) {
    struct writing *life = aligned_alloc(64, (sizeof(*life) + 63) / 64 * 64);
    assert_non_null(life);
    memset(life, 0, sizeof(*life));
    life->storage = storage;
    struct mim_engine_options engine = {.compiled = compiled, .reservation = 256ull << 20};
    struct mim_writer_options writer = {.durability = MIM_DURABILITY_FSYNC};
    static const struct mim_history history = {.uuid = {9, 8, 7}};
    struct mim_recovery recovery;
    struct mim_error error = {0};
    ok(mim_engine_new(&engine, &life->engine, &error), &error);
    ok(mim_ring_init(&life->ring, &error), &error);
    ok(mim_recovery_run(storage, life->engine, NULL, &recovery, &error), &error);
    ok(mim_recovery_begin(storage, life->engine, &recovery, &life->ring, &writer, &history, 1000, &life->writer,
                          &life->appender, &error),
       &error);
    mim_recovery_deinit(&recovery);
    return life;
}

/** Seals the frame and writes all there is. */
static inline void writing_drain(struct writing *life) {
    struct mim_error error = {0};
    mim_appender_seal(&life->appender);
    while (!mim_appender_idle(&life->appender)) {
        ok(mim_writer_step(life->writer, 0, &error), &error);
        ok(mim_preparer_step(life->storage, &life->ring, 0, &error), &error);
    }
    ok(mim_preparer_step(life->storage, &life->ring, 0, &error), &error);
}

static inline enum mim_outcome_kind writing_command(struct writing *life, const struct mim_request *request) {
    struct mim_outcome outcome;
    mim_engine_execute(life->engine, &life->appender, request, &outcome);
    while (outcome.kind == MIM_OUTCOME_AGAIN) {
        writing_drain(life);
        mim_engine_execute(life->engine, &life->appender, request, &outcome);
    }
    return outcome.kind;
}

/** Ends it; returns the digest of the state that wrote it. */
static inline uint64_t writing_end(struct writing *life) {
    struct mim_error error = {0};
    writing_drain(life);
    ok(mim_writer_finish(life->writer, &error), &error);
    uint64_t digest = mim_engine_digest(life->engine);
    (void)mim_writer_free(life->writer);
    (void)mim_engine_free(life->engine);
    mim_ring_deinit(&life->ring);
    free(life);
    return digest;
}

#endif
