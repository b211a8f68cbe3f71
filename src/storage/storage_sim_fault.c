// SPDX-License-Identifier: MIT
// The simulated disk's life: fault plans, power cuts, damage at rest, copies, inspection.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "storage/storage_sim_internal.h"

void mim_sim_grow(uint8_t **bytes, uint64_t *capacity, uint64_t size) {
    if (size <= *capacity) {
        return;
    }
    uint64_t grown = *capacity == 0 ? 4096 : *capacity;
    while (grown < size) {
        grown *= 2;
    }
    *bytes = realloc(*bytes, grown);
    MIM_ASSERT(*bytes != NULL);
    memset(*bytes + *capacity, 0, grown - *capacity);
    *capacity = grown;
}

struct sim_inode *mim_sim_inode_new(void) {
    struct sim_inode *inode = calloc(1, sizeof(*inode));
    MIM_ASSERT(inode != NULL);
    return inode;
}

void mim_sim_inode_release(struct sim_inode *inode) {
    MIM_ASSERT(inode->links > 0);
    if (--inode->links == 0) {
        free(inode->now);
        free(inode->durable);
        free(inode->dirty);
        free(inode);
    }
}

void mim_sim_path_copy(char ret_path[MIM_SIM_PATH_MAX], const char *path) {
    size_t size = strlen(path) + 1;
    MIM_ASSERT(size <= MIM_SIM_PATH_MAX);
    memcpy(ret_path, path, size);
}

void mim_sim_parent(const char *path, char ret_parent[MIM_SIM_PATH_MAX]) {
    mim_sim_path_copy(ret_parent, path);
    char *slash = strrchr(ret_parent, '/');
    if (slash == NULL) {
        mim_sim_path_copy(ret_parent, ".");
    } else {
        *slash = '\0';
    }
}

bool mim_sim_is_directory(const struct sim_entries *entries, const char *path) {
    const struct sim_entry *entry = mim_sim_find(entries, path);
    return entry != NULL ? entry->inode->directory : strcmp(path, ".") == 0;
}

bool mim_sim_has_parent(const struct sim_entries *entries, const char *path) {
    char parent[MIM_SIM_PATH_MAX];
    mim_sim_parent(path, parent);
    return mim_sim_is_directory(entries, parent);
}

static uint64_t path_hash(const char *path) { return mim_hash64(path, strlen(path), 0); }

struct sim_entry *mim_sim_find(const struct sim_entries *entries, const char *path) {
    uint64_t hash = path_hash(path);
    for (size_t i = 0; i < entries->count; i++) {
        if (entries->items[i].hash == hash && strcmp(entries->items[i].path, path) == 0) {
            return &entries->items[i];
        }
    }
    return NULL;
}

void mim_sim_put(struct sim_entries *entries, const char *path, struct sim_inode *inode) {
    inode->links++;
    struct sim_entry *entry = mim_sim_find(entries, path);
    if (entry != NULL) {
        mim_sim_inode_release(entry->inode);
        entry->inode = inode;
        return;
    }
    if (entries->count == entries->capacity) {
        entries->capacity = entries->capacity == 0 ? 16 : entries->capacity * 2;
        entries->items = realloc(entries->items, entries->capacity * sizeof(*entries->items));
        MIM_ASSERT(entries->items != NULL);
    }
    entry = &entries->items[entries->count++];
    *entry = (struct sim_entry){.hash = path_hash(path), .inode = inode};
    mim_sim_path_copy(entry->path, path);
}

void mim_sim_drop(struct sim_entries *entries, const char *path) {
    struct sim_entry *entry = mim_sim_find(entries, path);
    if (entry != NULL) {
        struct sim_inode *inode = entry->inode;
        *entry = entries->items[--entries->count];
        mim_sim_inode_release(inode);
    }
}

static void entries_clear(struct sim_entries *entries) {
    for (size_t i = 0; i < entries->count; i++) {
        mim_sim_inode_release(entries->items[i].inode);
    }
    entries->count = 0;
}

static void ops_clear(struct mim_storage_sim *sim) {
    for (size_t i = 0; i < sim->op_count; i++) {
        mim_sim_inode_release(sim->ops[i].inode);
    }
    sim->op_count = 0;
}

struct mim_storage_sim *mim_storage_sim_new(uint64_t seed) {
    struct mim_storage_sim *sim = calloc(1, sizeof(*sim));
    MIM_ASSERT(sim != NULL);
    mim_prng_init(&sim->prng, seed);
    sim->capacity = UINT64_MAX;
    return sim;
}

struct mim_storage_sim *mim_storage_sim_free(struct mim_storage_sim *sim) {
    if (sim != NULL) {
        mim_sim_close_all(sim);
        ops_clear(sim);
        entries_clear(&sim->now);
        entries_clear(&sim->durable);
        free(sim->now.items);
        free(sim->durable.items);
        free(sim->ops);
        free(sim->handles);
        free(sim);
    }
    return NULL;
}

void mim_sim_close_all(struct mim_storage_sim *sim) {
    for (size_t i = 0; i < sim->handle_count; i++) {
        if (sim->handles[i] != NULL) {
            mim_sim_inode_release(sim->handles[i]);
            sim->handles[i] = NULL;
        }
    }
    sim->locked = false;
}

/* -------------------------------------------------------------- faults */

static enum mim_sim_fault plan_meet(struct sim_plan *plan) {
    if (plan->active) {
        return plan->fault;
    }
    if (plan->countdown == 0 || --plan->countdown > 0) {
        return MIM_SIM_FAULT_NONE;
    }
    plan->active = plan->forever;
    return plan->fault;
}

enum mim_sim_fault mim_sim_meet(struct mim_storage_sim *sim, enum mim_sim_call call) {
    sim->calls++;
    sim->calls_of[call]++;
    if (sim->crashed) {
        return MIM_SIM_FAULT_CRASH;
    }
    enum mim_sim_fault any = plan_meet(&sim->any);
    enum mim_sim_fault of = plan_meet(&sim->of[call]);
    return any != MIM_SIM_FAULT_NONE ? any : of;
}

int mim_sim_fail(struct mim_storage_sim *sim, enum mim_sim_fault fault, const char *what, const char *path,
                 struct mim_error *reterr) {
    switch (fault) {
    case MIM_SIM_FAULT_ENOSPC:
        return mim_error_set(reterr, MIM_E_NO_SPACE, "%s %s: no space left on device", what, path);
    case MIM_SIM_FAULT_CRASH:
        sim->crashed = true;
        return mim_error_set(reterr, MIM_E_IO, "%s %s: the machine has crashed", what, path);
    default:
        return mim_error_set(reterr, MIM_E_IO, "%s %s: input/output error", what, path);
    }
}

void mim_storage_sim_fail_nth(struct mim_storage_sim *sim, uint64_t nth, enum mim_sim_fault fault, bool forever) {
    sim->any = (struct sim_plan){.countdown = nth, .fault = fault, .forever = forever};
}

void mim_storage_sim_fail_nth_of(struct mim_storage_sim *sim, enum mim_sim_call call, uint64_t nth,
                                 enum mim_sim_fault fault, bool forever) {
    sim->of[call] = (struct sim_plan){.countdown = nth, .fault = fault, .forever = forever};
}

bool mim_storage_sim_crashed(const struct mim_storage_sim *sim) { return sim->crashed; }

void mim_storage_sim_clear_faults(struct mim_storage_sim *sim) {
    sim->any = (struct sim_plan){0};
    memset(sim->of, 0, sizeof(sim->of));
}

uint64_t mim_storage_sim_calls(const struct mim_storage_sim *sim) { return sim->calls; }

uint64_t mim_storage_sim_calls_of(const struct mim_storage_sim *sim, enum mim_sim_call call) {
    return sim->calls_of[call];
}

void mim_storage_sim_set_sharing(struct mim_storage_sim *sim, bool sharing) { sim->no_sharing = !sharing; }

void mim_storage_sim_set_capacity(struct mim_storage_sim *sim, uint64_t bytes) { sim->capacity = bytes; }

uint64_t mim_storage_sim_used(const struct mim_storage_sim *sim) {
    uint64_t used = 0;
    for (size_t i = 0; i < sim->now.count; i++) {
        used += sim->now.items[i].inode->allocated;
    }
    return used;
}

/* -------------------------------------------------------------- crashes */

/** One pending sector of a file in a power cut. Bytes that the pending writes did not change stay as they are: sectors
 *  share durable bytes with new ones in every append, and no disk may lose those. */
static void crash_sector(struct mim_storage_sim *sim, struct sim_inode *inode, uint64_t at, uint64_t size,
                         const struct mim_sim_crash_odds *odds) {
    uint64_t fate = mim_prng_below(&sim->prng, 1000);
    if (fate < odds->drop_per_mille) {
        return;
    }
    fate -= odds->drop_per_mille;
    bool zero = fate < odds->zero_per_mille;
    bool garble = !zero && fate - odds->zero_per_mille < odds->garble_per_mille;
    for (uint64_t i = at; i < at + size; i++) {
        if (inode->durable[i] != inode->now[i]) {
            inode->durable[i] = zero ? 0 : garble ? (uint8_t)mim_prng_next(&sim->prng) : inode->now[i];
        }
    }
}

static void crash_inode(struct mim_storage_sim *sim, struct sim_inode *inode, const struct mim_sim_crash_odds *odds) {
    bool size_kept = !inode->size_pending || !mim_prng_chance(&sim->prng, odds->entry_drop_per_mille, 1000);
    uint64_t size = size_kept ? inode->now_size : inode->durable_size;
    uint64_t end = size < inode->now_size ? size : inode->now_size; /* beyond it, a cut that is undone: old bytes */
    mim_sim_grow(&inode->durable, &inode->durable_capacity, size);
    mim_sim_grow(&inode->now, &inode->now_capacity, size);
    for (uint64_t at = 0; at < end; at += MIM_SIM_SECTOR) {
        uint64_t sector = at / MIM_SIM_SECTOR;
        if (sector < inode->dirty_capacity && inode->dirty[sector] != 0) {
            crash_sector(sim, inode, at, end - at < MIM_SIM_SECTOR ? end - at : MIM_SIM_SECTOR, odds);
        }
    }
    if (size < inode->durable_size) {
        memset(inode->durable + size, 0, inode->durable_size - size);
    }
    inode->durable_size = size;
    if (inode->now_capacity > 0) {
        memset(inode->now, 0, inode->now_capacity);
    }
    if (size > 0) {
        memcpy(inode->now, inode->durable, size);
    }
    inode->now_size = size;
    if (inode->dirty_capacity > 0) {
        memset(inode->dirty, 0, inode->dirty_capacity);
    }
    inode->size_pending = false;
    inode->allocated = inode->allocated > size || end < size ? size : inode->allocated;
}

void mim_sim_op_apply(struct sim_entries *entries, const struct sim_op *op) {
    switch (op->kind) {
    case SIM_OP_LINK:
        mim_sim_put(entries, op->path, op->inode);
        break;
    case SIM_OP_UNLINK:
        mim_sim_drop(entries, op->path);
        break;
    case SIM_OP_RENAME:
        mim_sim_put(entries, op->to, op->inode);
        mim_sim_drop(entries, op->path);
        break;
    }
}

/** What stands in a directory that did not survive is gone with it. */
static void crash_orphans(struct sim_entries *entries) {
    for (size_t i = 0; i < entries->count;) {
        if (mim_sim_has_parent(entries, entries->items[i].path)) {
            i++;
        } else {
            mim_sim_drop(entries, entries->items[i].path);
            i = 0; /* others may have stood in it */
        }
    }
}

void mim_storage_sim_crash(struct mim_storage_sim *sim, struct mim_sim_crash_odds odds) {
    mim_sim_close_all(sim);
    for (size_t i = 0; i < sim->op_count; i++) {
        if (!mim_prng_chance(&sim->prng, odds.entry_drop_per_mille, 1000)) {
            mim_sim_op_apply(&sim->durable, &sim->ops[i]);
        }
    }
    ops_clear(sim);
    crash_orphans(&sim->durable);
    for (size_t i = 0; i < sim->durable.count; i++) {
        struct sim_inode *inode = sim->durable.items[i].inode;
        bool seen = false;
        for (size_t k = 0; k < i; k++) {
            seen = seen || sim->durable.items[k].inode == inode;
        }
        if (!seen) {
            crash_inode(sim, inode, &odds);
        }
    }
    entries_clear(&sim->now);
    for (size_t i = 0; i < sim->durable.count; i++) {
        mim_sim_put(&sim->now, sim->durable.items[i].path, sim->durable.items[i].inode);
    }
    mim_storage_sim_clear_faults(sim);
    sim->crashed = false;
}

void mim_storage_sim_kill(struct mim_storage_sim *sim) {
    mim_sim_close_all(sim);
    mim_storage_sim_clear_faults(sim);
    sim->crashed = false;
}

/* --------------------------------------------------- damage, inspection */

bool mim_storage_sim_flip_bit(struct mim_storage_sim *sim, const char *path, uint64_t bit) {
    struct sim_entry *entry = mim_sim_find(&sim->now, path);
    if (entry == NULL || bit / 8 >= entry->inode->now_size) {
        return false;
    }
    uint8_t mask = (uint8_t)(1u << (bit % 8));
    entry->inode->now[bit / 8] ^= mask;
    if (bit / 8 < entry->inode->durable_size) {
        entry->inode->durable[bit / 8] ^= mask;
    }
    return true;
}

bool mim_storage_sim_truncate(struct mim_storage_sim *sim, const char *path, uint64_t size) {
    struct sim_entry *entry = mim_sim_find(&sim->now, path);
    if (entry == NULL || entry->inode->directory) {
        return false;
    }
    struct sim_inode *inode = entry->inode;
    mim_sim_grow(&inode->now, &inode->now_capacity, size);
    mim_sim_grow(&inode->durable, &inode->durable_capacity, size);
    if (inode->now_size > size) {
        memset(inode->now + size, 0, inode->now_size - size);
    }
    if (inode->durable_size > size) {
        memset(inode->durable + size, 0, inode->durable_size - size);
    }
    inode->now_size = size;
    inode->durable_size = size;
    inode->allocated = inode->allocated > size ? size : inode->allocated;
    return true;
}

const uint8_t *mim_storage_sim_bytes(const struct mim_storage_sim *sim, const char *path, uint64_t *ret_size) {
    static const uint8_t none[1];
    struct sim_entry *entry = mim_sim_find(&sim->now, path);
    if (entry == NULL || entry->inode->directory) {
        return NULL;
    }
    *ret_size = entry->inode->now_size;
    return entry->inode->now == NULL ? none : entry->inode->now;
}

uint64_t mim_storage_sim_hash(const struct mim_storage_sim *sim) {
    uint64_t sum = 0; /* a sum: the order of entries is of no meaning */
    for (size_t i = 0; i < sim->now.count; i++) {
        const struct sim_entry *entry = &sim->now.items[i];
        uint64_t name = mim_hash64(entry->path, strlen(entry->path), entry->inode->directory ? 1 : 0);
        sum += mim_hash64(entry->inode->now, entry->inode->now_size, name);
    }
    return sum;
}

struct mim_storage_sim *mim_storage_sim_clone(const struct mim_storage_sim *sim, uint64_t seed) {
    struct mim_storage_sim *clone = mim_storage_sim_new(seed);
    clone->capacity = sim->capacity;
    for (size_t i = 0; i < sim->now.count; i++) {
        const struct sim_inode *from = sim->now.items[i].inode;
        struct sim_inode *inode = mim_sim_inode_new();
        mim_sim_grow(&inode->now, &inode->now_capacity, from->now_size);
        mim_sim_grow(&inode->durable, &inode->durable_capacity, from->now_size);
        mim_sim_grow(&inode->dirty, &inode->dirty_capacity, from->now_size / MIM_SIM_SECTOR + 1);
        if (from->now_size > 0) {
            memcpy(inode->now, from->now, from->now_size);
            memcpy(inode->durable, from->now, from->now_size);
        }
        inode->now_size = from->now_size;
        inode->durable_size = from->now_size;
        inode->allocated = from->allocated;
        inode->directory = from->directory;
        mim_sim_put(&clone->now, sim->now.items[i].path, inode);
        mim_sim_put(&clone->durable, sim->now.items[i].path, inode);
    }
    return clone;
}
