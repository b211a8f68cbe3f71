// SPDX-License-Identifier: MIT
// A simulated disk with files made from the input, and a start of the engine on it as a server makes it.
#ifndef MIM_TESTS_FUZZ_DISK_H
#define MIM_TESTS_FUZZ_DISK_H

#include "engine/recovery.h"
#include "fuzz.h"
#include "models/models.h"
#include "storage/storage_sim.h"

#define FUZZ_RESERVATION (64ull << 20)

static const struct mim_history fuzz_history = {.uuid = "fuzzed history"};

static inline const struct mim_compiled *fuzz_model(void) {
    static struct mim_compiled *compiled;
    struct mim_error error = {0};
    if (compiled == NULL) {
        FUZZ_REQUIRE(mim_compiled_new(&mim_ledger_model, &compiled, &error) == 0);
    }
    return compiled;
}

static inline struct mim_engine_options fuzz_engine_options(void) {
    return (struct mim_engine_options){
        .compiled = fuzz_model(), .reservation = FUZZ_RESERVATION, .idempotency_window = 64};
}

static inline void fuzz_put(struct mim_storage storage, const char *path, const void *data, size_t size) {
    mim_file_t file = 0;
    struct mim_error error = {0};
    int rc = mim_file_open(storage, path, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_TRUNCATE, &file, &error);
    FUZZ_REQUIRE(rc == 0);
    FUZZ_REQUIRE(mim_file_pwrite(storage, file, data, size, 0, &error) == 0);
    FUZZ_REQUIRE(mim_file_sync(storage, file, &error) == 0);
    mim_file_close(storage, file);
}

/** The one ring of the process, as a new process has it. */
static inline struct mim_ring *fuzz_ring(void) {
    static struct mim_ring ring;
    struct mim_error error = {0};
    if (ring.bytes == NULL) {
        FUZZ_REQUIRE(mim_ring_init(&ring, &error) == 0);
    }
    uint8_t *bytes = ring.bytes;
    struct mim_handoff *handoffs = ring.handoffs;
    ring = (struct mim_ring){.bytes = bytes, .handoffs = handoffs};
    return &ring;
}

/** Bytes of a segment from now on; 8192 makes nearly every transaction roll. */
static uint64_t fuzz_segment_size = 65536;

/** One life of an engine that takes commands. */
struct fuzz_life {
    struct mim_storage storage;
    bool standby; /* goes on with a primary's frames */
    struct mim_engine *engine;
    struct mim_ring *ring;
    struct mim_writer *writer;
    struct mim_appender appender;
};

/** Recovery went well: on to an epoch of its own. The recovery is used up. */
static inline int fuzz_begin(struct fuzz_life *life, struct mim_recovery *recovery, struct mim_error *error) {
    const struct mim_writer_options options = {
        .segment_size_min = fuzz_segment_size, .segment_size_max = fuzz_segment_size, .standby = life->standby};
    life->ring = fuzz_ring();
    int rc = mim_recovery_begin(life->storage, life->engine, recovery, life->ring, &options, &fuzz_history, 1000,
                                &life->writer, &life->appender, error);
    mim_recovery_deinit(recovery);
    return rc;
}

/** Everything appended becomes durable. */
static inline void fuzz_drain(struct fuzz_life *life) {
    struct mim_error error = {0};
    mim_appender_seal(&life->appender);
    do {
        int rc = mim_writer_step(life->writer, 0, &error);
        if (rc < 0) {
            (void)fprintf(stderr, "%s: %s\n", mim_error_name(rc), error.text);
        }
        FUZZ_REQUIRE(rc >= 0);
        FUZZ_REQUIRE(mim_preparer_step(life->storage, life->ring, fuzz_segment_size, &error) >= 0);
    } while (!mim_appender_idle(&life->appender));
}

/** The end, with or without a clean stop. */
static inline void fuzz_end(struct fuzz_life *life, bool clean) {
    struct mim_error error = {0};
    if (clean && life->writer != NULL) {
        fuzz_drain(life);
        FUZZ_REQUIRE(mim_writer_finish(life->writer, &error) == 0);
    }
    life->writer = life->writer == NULL ? NULL : mim_writer_free(life->writer);
    life->engine = mim_engine_free(life->engine);
}

#endif
