// SPDX-License-Identifier: MIT
// evolve and project: the one way state changes, live and at replay; and what model functions may call meanwhile.
#include "engine/internal.h"
#include "image/containers.h"

bool mim_engine_skip(struct mim_engine *engine, struct mim_slot *slot, mim_lsn_t lsn) {
    if (slot->skip == 0) {
        if (mim_slots_push(&engine->arena, &engine->root->skips) == NULL) {
            return false;
        }
        slot->skip = (uint32_t)engine->root->skips.count;
    }
    struct mim_skip_node *node = mim_slots_at(&engine->arena, &engine->root->skips, slot->skip - 1u);
    uint64_t step = MIM_SKIP_BASE;
    for (unsigned level = 0; level < MIM_SKIP_LEVELS && slot->version % step == 0; level++) {
        node->lsn[level] = lsn;
        step *= MIM_SKIP_BASE;
    }
    return true;
}

/** Zeroes what no field describes: a live event's struct then holds what a replayed one's does. */
static inline void clear_gaps(const struct mim_compiled_event *event, void *data) {
    for (uint32_t i = 0; i < event->gap_count; i++) {
        memset((uint8_t *)data + event->gaps[i].offset, 0, event->gaps[i].size);
    }
}

void mim_engine_evolve(struct mim_engine *engine, const struct mim_compiled_event *event, struct mim_slot *slot,
                       mim_stream_t number, mim_position_t position, int64_t time_ms, void *data) {
    struct mim_evolution evolution = {
        .front = {.image = engine->arena.base, .number = number},
        .host = engine->host,
        .slot = slot,
        .position = position,
        .time_ms = time_ms,
    };
    clear_gaps(event, data);
    if (MIM_LIKELY(event->type != NULL)) {
        mim_engine_evolve_today(engine, &evolution, event, data);
        return;
    }
    struct mim_upcasting *upcasting = engine->upcasting;
    upcasting->engine = engine;
    upcasting->type = &engine->compiled->model->aggregates[event->aggregate];
    upcasting->count = 0;
    event->retired->upcast(upcasting, data);
    for (uint32_t i = 0; i < upcasting->count; i++) {
        clear_gaps(upcasting->events[i].event, upcasting->events[i].data);
        mim_engine_evolve_today(engine, &evolution, upcasting->events[i].event, upcasting->events[i].data);
    }
}

void *mim_upcast_emit(struct mim_upcasting *u, const struct mim_event_type *event) {
    const struct mim_compiled_event *compiled = mim_compiled_event_of(u->engine->compiled, event);
    MIM_ASSERT(compiled != NULL); /* an upcaster names events of its own model, and of the same aggregate type */
    MIM_ASSERT(&u->engine->compiled->model->aggregates[compiled->aggregate] == u->type);
    MIM_ASSERT(u->count < MIM_EVENTS_PER_TX_MAX);
    void *data = mim_engine_scratch(u->engine, event->size);
    MIM_ASSERT(data != NULL);
    u->events[u->count++] = (struct mim_pending_event){.event = compiled, .data = data};
    return data;
}

/* ------------------------------------------------------------------ facts */

uint64_t mim_evolution_position(const struct mim_evolution *e) { return e->position; }
int64_t mim_evolution_time_ms(const struct mim_evolution *e) { return e->time_ms; }
uint32_t mim_evolution_version(const struct mim_evolution *e) { return e->slot->version; }
const struct mim_host *mim_evolution_host(const struct mim_evolution *e) { return &e->host; }

static struct mim_string string_of(struct mim_slice slice) {
    return (struct mim_string){.data = (const char *)slice.data, .size = slice.size};
}

static struct mim_slice slice_of(struct mim_string string) { return mim_slice_of(string.data, string.size); }

struct mim_string mim_evolution_id(const struct mim_evolution *e) {
    return string_of(mim_text_slice(e->host.arena, &e->slot->id));
}

/* ------------------------------------------------- changes of containers */

/** Evolving cannot fail: a container that finds no memory marks the engine, which then stops before acknowledging. */
static void must(struct mim_evolution *e, bool success) {
    if (MIM_UNLIKELY(!success)) {
        e->host.engine->out_of_memory = true;
    }
}

/** Where writes go that found no memory; the engine is stopping, nothing reads it. */
static void *or_scratch(struct mim_evolution *e, void *at, uint32_t size) {
    must(e, at != NULL);
    if (MIM_LIKELY(at != NULL)) {
        return at;
    }
    MIM_ASSERT(size <= MIM_TX_SCRATCH_SIZE);
    return e->host.engine->scratch;
}

void mim_text_set(struct mim_evolution *e, struct mim_text *text, struct mim_string value) {
    must(e, mim_text_assign(e->host.arena, text, slice_of(value)));
}

void *mim_vec_push(struct mim_evolution *e, struct mim_vec *vec, uint32_t element_size) {
    return or_scratch(e, mim_vec_push_in(e->host.arena, vec, element_size), element_size);
}

void *mim_vec_edit(struct mim_evolution *e, struct mim_vec *vec, uint32_t element_size, uint32_t n) {
    return mim_vec_get_in(e->host.arena, vec, element_size, n);
}

void mim_vec_resize(struct mim_evolution *e, struct mim_vec *vec, uint32_t element_size, uint32_t count) {
    must(e, mim_vec_resize_in(e->host.arena, vec, element_size, count));
}

void mim_vec_remove(struct mim_evolution *e, struct mim_vec *vec, uint32_t element_size, uint32_t n) {
    mim_vec_remove_in(e->host.arena, vec, element_size, n);
}

void mim_vec_clear(struct mim_evolution *e, struct mim_vec *vec, uint32_t element_size) {
    mim_vec_clear_in(e->host.arena, vec, element_size);
}

void *mim_map_put(struct mim_evolution *e, struct mim_map *map, uint32_t value_size, struct mim_string key) {
    return or_scratch(e, mim_map_put_in(e->host.arena, map, value_size, key), value_size);
}

bool mim_map_remove(struct mim_evolution *e, struct mim_map *map, struct mim_string key) {
    return mim_map_remove_in(e->host.arena, map, key);
}

void mim_map_clear(struct mim_evolution *e, struct mim_map *map) { mim_map_clear_in(e->host.arena, map); }

void mim_omap_put(struct mim_evolution *e, struct mim_omap *omap, struct mim_omap_key key, uint64_t value) {
    must(e, mim_omap_put_in(e->host.arena, omap, key, value));
}

bool mim_omap_remove(struct mim_evolution *e, struct mim_omap *omap, struct mim_omap_key key) {
    return mim_omap_remove_in(e->host.arena, omap, key);
}

void mim_omap_clear(struct mim_evolution *e, struct mim_omap *omap) { mim_omap_clear_in(e->host.arena, omap); }

/* ------------------------------------------------- reading of containers */

struct mim_string mim_text_get(const struct mim_host *host, const struct mim_text *text) {
    return string_of(mim_text_slice(host->arena, text));
}

const void *mim_vec_at(const struct mim_host *host, const struct mim_vec *vec, uint32_t element_size, uint32_t n) {
    return n < vec->count ? mim_vec_get_in(host->arena, vec, element_size, n) : NULL;
}

const void *mim_vec_items(const struct mim_host *host, const struct mim_vec *vec) {
    return vec->count == 0 ? NULL : host->arena->base + vec->ref;
}

const void *mim_map_find(const struct mim_host *host, const struct mim_map *map, struct mim_string key) {
    return mim_map_get_in(host->arena, map, key);
}

uint64_t mim_map_count(const struct mim_host *host, const struct mim_map *map) {
    return mim_map_count_in(host->arena, map);
}

const void *mim_map_at(const struct mim_host *host, const struct mim_map *map, uint64_t n, struct mim_string *ret_key) {
    return mim_map_at_in(host->arena, map, n, ret_key);
}

bool mim_omap_find(const struct mim_host *host, const struct mim_omap *omap, struct mim_omap_key key,
                   uint64_t *ret_value) {
    return mim_omap_get_in(host->arena, omap, key, ret_value);
}

bool mim_omap_seek(const struct mim_host *host, const struct mim_omap *omap, struct mim_omap_key from, bool descending,
                   struct mim_omap_key *ret_key, uint64_t *ret_value) {
    return mim_omap_seek_in(host->arena, omap, from, descending, ret_key, ret_value);
}
