// SPDX-License-Identifier: MIT
// The idempotency window: the last N accepted keys with their answers, in the image, so that it survives restarts and
// travels with snapshots. A key is represented by 128 bits of XXH3 seeded with the history's random uuid.
#include <stdlib.h>

#include "base/hash.h"
#include "engine/internal.h"

static struct mim_key_entry *key_entry(const struct mim_engine *engine, uint64_t n) {
    return mim_slots_at(&engine->arena, &engine->root->keys, n);
}

struct key_match {
    const struct mim_engine *engine;
    struct mim_hash128 hash;
};

static bool key_matches(const void *context, uint32_t number) {
    const struct key_match *match = context;
    const struct mim_key_entry *entry = key_entry(match->engine, number);
    return entry->hash.low == match->hash.low && entry->hash.high == match->hash.high;
}

const struct mim_key_entry *mim_keys_find(const struct mim_engine *engine, struct mim_slice key) {
    struct key_match match = {.engine = engine, .hash = mim_hash128(key.data, key.size, mim_engine_seed(engine))};
    uint32_t number;
    if (!mim_index_find(&engine->arena, &engine->root->key_index, (uint32_t)match.hash.low, key_matches, &match,
                        &number)) {
        return NULL;
    }
    return key_entry(engine, number);
}

struct mim_key_places mim_keys_prefetch(const struct mim_engine *engine, struct mim_slice key, uint32_t before) {
    const struct mim_root *root = engine->root;
    struct mim_hash128 hash = mim_hash128(key.data, key.size, mim_engine_seed(engine));
    struct mim_key_places places = {
        .comes = mim_index_prefetch(&engine->arena, &root->key_index, (uint32_t)hash.low),
    };
    uint64_t number = (root->key_next + before) % root->key_window;
    if (number < root->keys.count) {
        uint32_t oldest = (uint32_t)key_entry(engine, number)->hash.low;
        places.goes = mim_index_prefetch(&engine->arena, &root->key_index, oldest);
    }
    return places;
}

void mim_keys_prefetch_chains(const struct mim_engine *engine, const struct mim_key_places *places) {
    mim_index_prefetch_chain(&engine->arena, places->comes);
    mim_index_prefetch_chain(&engine->arena, places->goes);
}

bool mim_keys_remember(struct mim_engine *engine, struct mim_slice key, mim_version_t version,
                       mim_position_t position) {
    struct mim_root *root = engine->root;
    struct mim_hash128 hash = mim_hash128(key.data, key.size, mim_engine_seed(engine));
    uint64_t number = root->key_next;
    struct mim_key_entry *entry;
    if (number < root->keys.count) { /* the window is full: the oldest goes */
        entry = key_entry(engine, number);
        bool removed = mim_index_remove(&engine->arena, &root->key_index, (uint32_t)entry->hash.low, (uint32_t)number);
        MIM_ASSERT(removed);
    } else {
        entry = mim_slots_push(&engine->arena, &root->keys);
        if (entry == NULL) {
            return false;
        }
    }
    *entry =
        (struct mim_key_entry){.hash = {.low = hash.low, .high = hash.high}, .position = position, .version = version};
    root->key_next = number + 1 == root->key_window ? 0 : number + 1;
    return mim_index_insert(&engine->arena, &root->key_index, (uint32_t)hash.low, (uint32_t)number);
}

/** Copies the newest `kept` entries, oldest first. */
static void keys_copy(const struct mim_engine *engine, uint64_t kept, struct mim_key_entry *ret_entries) {
    const struct mim_root *root = engine->root;
    uint64_t oldest = root->key_next < root->keys.count ? root->key_next : 0; /* full, or not yet */
    for (uint64_t i = 0; i < kept; i++) {
        ret_entries[i] = *key_entry(engine, (oldest + root->keys.count - kept + i) % root->keys.count);
    }
}

int mim_keys_resize(struct mim_engine *engine, uint32_t window, struct mim_error *reterr) {
    struct mim_root *root = engine->root;
    uint64_t kept = root->keys.count < window ? root->keys.count : window;
    struct mim_key_entry *entries = malloc((size_t)(kept + 1) * sizeof(*entries));
    bool done = entries != NULL;
    if (done) {
        keys_copy(engine, kept, entries);
        mim_slots_clear(&engine->arena, &root->keys);
        mim_index_clear(&engine->arena, &root->key_index);
    }
    for (uint64_t i = 0; done && i < kept; i++) {
        struct mim_key_entry *entry = mim_slots_push(&engine->arena, &root->keys);
        done = entry != NULL &&
               mim_index_insert(&engine->arena, &root->key_index, (uint32_t)entries[i].hash.low, (uint32_t)i);
        if (done) {
            *entry = entries[i];
        }
    }
    free(entries);
    root->key_window = window;
    root->key_next = kept == window ? 0 : kept;
    return done ? 0 : mim_error_set(reterr, MIM_E_MEMORY, "no memory for a window of %u idempotency keys", window);
}
