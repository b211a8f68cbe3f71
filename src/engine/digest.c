// SPDX-License-Identifier: MIT
// The canonical digest: a sum over aggregates, so that neither order nor layout matters, finished with the position.
// And the same taken at one position while commands go on: a scan in slices, with every aggregate that is about to
// change counted first, as it was.
#include <stdlib.h>

#include "base/hash.h"
#include "engine/internal.h"

static uint64_t type_seed(const struct mim_engine *engine, unsigned aggregate) {
    const char *name = engine->compiled->model->aggregates[aggregate].name;
    return mim_hash64(name, strlen(name), 0);
}

/** One aggregate's share. */
static uint64_t slot_digest(const struct mim_engine *engine, unsigned aggregate, uint64_t seed, struct mim_slot *slot) {
    const struct mim_aggregate_type *type = &engine->compiled->model->aggregates[aggregate];
    struct mim_slice id = mim_text_slice(&engine->arena, &slot->id);
    uint64_t own = mim_hash64(id.data, id.size, seed + slot->version);
    return mim_state_hash(&engine->arena, type->fields, type->field_count, mim_slot_state(slot), own);
}

uint64_t mim_engine_slot_digest(const struct mim_engine *engine, unsigned aggregate, struct mim_slot *slot) {
    return slot_digest(engine, aggregate, type_seed(engine, aggregate), slot);
}

static uint64_t digest_finish(uint64_t sum, mim_position_t position) {
    uint64_t last[2] = {sum, position};
    return mim_hash64(last, sizeof(last), 0);
}

uint64_t mim_engine_digest(const struct mim_engine *engine) {
    uint64_t sum = mim_engine_digest_projections(engine);
    for (uint32_t i = 0; i < engine->root->aggregate_count; i++) {
        uint64_t seed = type_seed(engine, i);
        for (uint64_t n = 0; n < engine->aggregates[i].slots.count; n++) {
            sum += slot_digest(engine, i, seed, mim_engine_slot(engine, i, n));
        }
    }
    return digest_finish(sum, engine->root->position);
}

/* --------------------------------------------------------- the live scan */

/** A digest being taken at `position`. What the cursor has passed and what `counted` marks is in the sum. */
struct mim_digest_scan {
    mim_position_t position;
    uint64_t sum;
    uint32_t aggregate; /* cursor */
    uint64_t number;
    uint64_t counts[MIM_AGGREGATE_TYPES_MAX];  /* aggregates there were at `position` */
    uint8_t *counted[MIM_AGGREGATE_TYPES_MAX]; /* a bit per aggregate */
};

int mim_engine_scan_begin(struct mim_engine *engine, struct mim_error *reterr) {
    mim_engine_scan_end(engine);
    struct mim_digest_scan *scan = calloc(1, sizeof(*scan));
    if (scan == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory for a digest");
    }
    engine->scan = scan;
    scan->position = engine->root->position;
    scan->sum = mim_engine_digest_projections(engine);
    for (uint32_t i = 0; i < engine->root->aggregate_count; i++) {
        scan->counts[i] = engine->aggregates[i].slots.count;
        scan->counted[i] = calloc((size_t)(scan->counts[i] / 8 + 1), 1);
        if (scan->counted[i] == NULL) {
            mim_engine_scan_end(engine);
            return mim_error_set(reterr, MIM_E_MEMORY, "no memory for a digest");
        }
    }
    return 0;
}

void mim_engine_scan_end(struct mim_engine *engine) {
    struct mim_digest_scan *scan = engine->scan;
    if (scan == NULL) {
        return;
    }
    for (uint32_t i = 0; i < MIM_AGGREGATE_TYPES_MAX; i++) {
        free(scan->counted[i]);
    }
    free(scan);
    engine->scan = NULL;
}

void mim_engine_scan_before(struct mim_engine *engine, unsigned aggregate, uint64_t number, struct mim_slot *slot) {
    struct mim_digest_scan *scan = engine->scan;
    bool passed = aggregate < scan->aggregate || (aggregate == scan->aggregate && number < scan->number);
    if (passed || number >= scan->counts[aggregate]) {
        return;
    }
    uint8_t *byte = &scan->counted[aggregate][number / 8];
    uint8_t bit = (uint8_t)(1u << (number % 8));
    if ((*byte & bit) == 0) {
        *byte |= bit;
        scan->sum += slot_digest(engine, aggregate, type_seed(engine, aggregate), slot);
    }
}

bool mim_engine_scan_step(struct mim_engine *engine, uint64_t most, mim_position_t *ret_position,
                          uint64_t *ret_digest) {
    struct mim_digest_scan *scan = engine->scan;
    MIM_ASSERT(scan != NULL);
    uint64_t done = 0;
    while (scan->aggregate < engine->root->aggregate_count && done < most) {
        uint32_t i = scan->aggregate;
        uint64_t seed = type_seed(engine, i);
        for (; scan->number < scan->counts[i] && done < most; scan->number++, done++) {
            if ((scan->counted[i][scan->number / 8] & (1u << (scan->number % 8))) == 0) {
                scan->sum += slot_digest(engine, i, seed, mim_engine_slot(engine, i, scan->number));
            }
        }
        if (scan->number == scan->counts[i]) {
            scan->aggregate++;
            scan->number = 0;
        }
    }
    if (scan->aggregate < engine->root->aggregate_count) {
        return false;
    }
    *ret_position = scan->position;
    *ret_digest = digest_finish(scan->sum, scan->position);
    mim_engine_scan_end(engine);
    return true;
}

bool mim_engine_scanning(const struct mim_engine *engine) { return engine->scan != NULL; }
