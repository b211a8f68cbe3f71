// SPDX-License-Identifier: MIT
// The engine's life and what stands in the image: root, aggregate slots, the id index. Leans on image/ and model/.
#include <stdlib.h>

#include "base/hash.h"
#include "engine/internal.h"

static int engine_allocate(struct mim_engine *engine, struct mim_error *reterr) {
    const struct mim_compiled *compiled = engine->compiled;
    engine->bound = calloc(MIM_CATALOG_MAX + 1, sizeof(*engine->bound));
    engine->aggregate_numbers = calloc(MIM_AGGREGATE_TYPES_MAX, sizeof(*engine->aggregate_numbers));
    engine->event_numbers = calloc(compiled->event_count + 1, sizeof(*engine->event_numbers));
    engine->command_numbers = calloc(compiled->command_count + 1, sizeof(*engine->command_numbers));
    engine->command_struct = calloc(1, compiled->command_struct_size_max + 8u);
    engine->event_struct = calloc(1, compiled->event_struct_size_max + 8u);
    engine->event_blanks = calloc(1, compiled->blanks_size + 8u);
    engine->scratch = malloc(MIM_TX_SCRATCH_SIZE);
    engine->decision = calloc(1, sizeof(*engine->decision));
    engine->upcasting = calloc(1, sizeof(*engine->upcasting));
    if (engine->bound == NULL || engine->aggregate_numbers == NULL || engine->event_numbers == NULL ||
        engine->command_numbers == NULL || engine->command_struct == NULL || engine->event_struct == NULL ||
        engine->event_blanks == NULL || engine->scratch == NULL || engine->decision == NULL ||
        engine->upcasting == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "engine: no memory for its tables");
    }
    memcpy(engine->event_blanks, compiled->blanks, compiled->blanks_size);
    engine->next_aggregate_number = 1;
    engine->next_event_number = 1;
    engine->next_command_number = 1;
    for (unsigned i = 0; i <= MIM_AGGREGATE_TYPES_MAX; i++) {
        engine->aggregate_of_number[i] = -2;
    }
    return 0;
}

static struct mim_engine *engine_create(const struct mim_engine_options *options, struct mim_error *reterr) {
    struct mim_engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL) {
        (void)mim_error_set(reterr, MIM_E_MEMORY, "engine: out of memory");
        return NULL;
    }
    engine->compiled = options->compiled;
    engine->keep_commands = options->keep_commands;
    engine->host.engine = engine;
    engine->host.arena = &engine->arena;
    if (engine_allocate(engine, reterr) != 0) {
        return mim_engine_free(engine);
    }
    return engine;
}

static void engine_limit(struct mim_engine *engine, uint64_t memory_limit) {
    if (memory_limit != 0 && memory_limit < engine->arena.limit) {
        engine->arena.limit = memory_limit;
    }
}

/** Fills in a fresh root; false when the arena is too small. */
static bool root_create(struct mim_engine *engine, uint32_t key_window) {
    const struct mim_compiled *compiled = engine->compiled;
    const struct mim_model *model = compiled->model;
    struct mim_ref ref = mim_arena_alloc(&engine->arena, sizeof(struct mim_root));
    struct mim_ref aggregates =
        mim_arena_alloc(&engine->arena, sizeof(struct mim_aggregate_root) * (model->aggregate_count + 1u));
    if (mim_ref_is_null(ref) || mim_ref_is_null(aggregates)) {
        return false;
    }
    mim_arena_head(&engine->arena)->root = ref;
    engine->root = mim_arena_at(&engine->arena, ref);
    engine->aggregates = mim_arena_at(&engine->arena, aggregates);
    struct mim_root *root = engine->root;
    root->magic = MIM_ROOT_MAGIC;
    root->fingerprint = compiled->fingerprint;
    root->aggregate_count = model->aggregate_count;
    root->projection_count = model->projection_count;
    root->key_window = key_window;
    root->aggregates = aggregates;
    root->keys.element_size = sizeof(struct mim_key_entry);
    root->skips.element_size = sizeof(struct mim_skip_node);
    root->catalog.element_size = sizeof(struct mim_catalog_entry);
    for (uint32_t i = 0; i < model->aggregate_count; i++) {
        engine->aggregates[i].slots.element_size = compiled->slot_size[i];
    }
    for (uint32_t i = 0; i < model->projection_count; i++) {
        root->projections[i] = mim_arena_alloc(&engine->arena, model->projections[i].state_size);
        if (mim_ref_is_null(root->projections[i])) {
            return false;
        }
    }
    return true;
}

int mim_engine_new(const struct mim_engine_options *options, struct mim_engine **ret_engine, struct mim_error *reterr) {
    struct mim_engine *engine = engine_create(options, reterr);
    if (engine == NULL) {
        return MIM_E_MEMORY;
    }
    int rc = mim_arena_open(&engine->arena, options->reservation, reterr);
    if (rc != 0) {
        (void)mim_engine_free(engine);
        return rc;
    }
    engine_limit(engine, options->memory_limit);
    uint32_t window = options->idempotency_window != 0 ? options->idempotency_window : MIM_IDEMPOTENCY_WINDOW_DEFAULT;
    if (!root_create(engine, window)) {
        (void)mim_engine_free(engine);
        return mim_error_set(reterr, MIM_E_MEMORY, "the memory limit is too small for an empty image");
    }
    *ret_engine = engine;
    return 0;
}

static int root_check(struct mim_engine *engine, struct mim_error *reterr) {
    struct mim_ref ref = mim_arena_head(&engine->arena)->root;
    if (mim_ref_is_null(ref) || ref.offset + sizeof(struct mim_root) > mim_arena_head(&engine->arena)->used) {
        return mim_error_set(reterr, MIM_E_FORMAT, "the image has no root");
    }
    struct mim_root *root = mim_arena_at(&engine->arena, ref);
    if (root->magic != MIM_ROOT_MAGIC) {
        return mim_error_set(reterr, MIM_E_FORMAT, "the image's root is of another format");
    }
    if (root->fingerprint != engine->compiled->fingerprint) {
        return mim_error_set(reterr, MIM_E_MODEL,
                             "the image was made by another model layout (%016llx, this model has %016llx)",
                             (unsigned long long)root->fingerprint, (unsigned long long)engine->compiled->fingerprint);
    }
    engine->root = root;
    engine->aggregates = mim_arena_at(&engine->arena, root->aggregates);
    return 0;
}

int mim_engine_restore(const struct mim_engine_options *options, struct mim_arena *arena,
                       struct mim_engine **ret_engine, struct mim_error *reterr) {
    struct mim_engine *engine = engine_create(options, reterr);
    if (engine == NULL) {
        mim_arena_close(arena);
        return MIM_E_MEMORY;
    }
    engine->arena = *arena;
    *arena = (struct mim_arena){0};
    engine_limit(engine, options->memory_limit);
    int rc = root_check(engine, reterr);
    if (rc == 0) {
        rc = mim_catalog_rebind(engine, reterr);
    }
    if (rc == 0 && options->idempotency_window != 0 && options->idempotency_window != engine->root->key_window) {
        rc = mim_keys_resize(engine, options->idempotency_window, reterr);
    }
    if (rc != 0) {
        (void)mim_engine_free(engine);
        return rc;
    }
    engine->last_gate = engine->root->lsn; /* standbys may not have what is in it */
    *ret_engine = engine;
    return 0;
}

struct mim_engine *mim_engine_free(struct mim_engine *engine) {
    if (engine == NULL) {
        return NULL;
    }
    mim_engine_scan_end(engine);
    if (engine->arena.base != NULL) {
        mim_arena_close(&engine->arena);
    }
    mim_buffer_deinit(&engine->command_json);
    free(engine->bound);
    free(engine->aggregate_numbers);
    free(engine->event_numbers);
    free(engine->command_numbers);
    free(engine->command_struct);
    free(engine->event_struct);
    free(engine->event_blanks);
    free(engine->scratch);
    free(engine->decision);
    free(engine->upcasting);
    free(engine->missing);
    free(engine);
    return NULL;
}

void mim_engine_point(const struct mim_engine *engine, struct mim_engine_point *ret_point) {
    const struct mim_root *root = engine->root;
    *ret_point = (struct mim_engine_point){
        .history = root->history,
        .position = root->position,
        .lsn = root->lsn,
        .chain = root->chain,
        .epoch = root->epoch,
        .time_ms = root->time_ms,
    };
}

bool mim_engine_commands_applied(struct mim_engine *engine, const struct mim_appender *appender) {
    struct mim_root *root = engine->root;
    if (!mim_appender_idle(appender)) {
        return false;
    }
    uint64_t chain = atomic_load_explicit(&appender->ring->gate_chain, memory_order_acquire);
    if (chain != 0 &&
        chain != root->chain) { /* else: nothing since the start, or a primary's frames, which were applied */
        root->lsn = appender->next_lsn;
        root->chain = chain;
        root->epoch = appender->epoch;
        root->time_ms = appender->last_time_ms > root->time_ms ? appender->last_time_ms : root->time_ms;
    }
    return true;
}

void mim_engine_set_history(struct mim_engine *engine, const struct mim_history *history) {
    MIM_ASSERT(engine->root->position == 0);
    engine->root->history = *history;
    engine->root->chain = mim_history_seed(history); /* what the first frame has before it */
}

const struct mim_compiled *mim_engine_compiled(const struct mim_engine *engine) { return engine->compiled; }

struct mim_arena *mim_engine_arena(struct mim_engine *engine) {
    return &engine->arena;
}

uint32_t mim_engine_id_hash(const struct mim_engine *engine, struct mim_slice id) {
    return (uint32_t)mim_hash64(id.data, id.size, mim_engine_seed(engine));
}

struct id_match {
    const struct mim_engine *engine;
    unsigned aggregate;
    struct mim_slice id;
};

static bool id_matches(const void *context, uint32_t number) {
    const struct id_match *match = context;
    struct mim_slot *slot = mim_engine_slot(match->engine, match->aggregate, number);
    return mim_slice_equal(mim_text_slice(&match->engine->arena, &slot->id), match->id);
}

struct mim_slot *mim_engine_find(const struct mim_engine *engine, unsigned aggregate, struct mim_slice id,
                                 uint32_t id_hash, mim_stream_t *ret_stream) {
    struct id_match match = {.engine = engine, .aggregate = aggregate, .id = id};
    uint32_t number;
    if (!mim_index_find(&engine->arena, &engine->aggregates[aggregate].index, id_hash, id_matches, &match, &number)) {
        return NULL;
    }
    if (ret_stream != NULL) {
        *ret_stream = number;
    }
    return mim_engine_slot(engine, aggregate, number);
}

void mim_engine_ahead_index(const struct mim_engine *engine, struct mim_slice address, struct mim_ahead *ret_ahead) {
    ret_ahead->aggregate = -1;
    ret_ahead->id.data = NULL;
    if (!mim_address_split(address, &ret_ahead->type, &ret_ahead->id)) {
        return;
    }
    ret_ahead->aggregate = mim_compiled_aggregate(engine->compiled, ret_ahead->type);
    if (ret_ahead->aggregate >= 0) {
        ret_ahead->id_hash = mim_engine_id_hash(engine, ret_ahead->id);
        (void)mim_index_prefetch(&engine->arena, &engine->aggregates[ret_ahead->aggregate].index, ret_ahead->id_hash);
    }
}

void mim_engine_ahead_slot(const struct mim_engine *engine, struct mim_ahead *ahead) {
    const struct mim_aggregate_root *root = &engine->aggregates[ahead->aggregate < 0 ? 0 : ahead->aggregate];
    if (ahead->aggregate >= 0 &&
        !mim_index_find(&engine->arena, &root->index, ahead->id_hash, NULL, NULL, &ahead->stream)) {
        ahead->aggregate = -1; /* not there yet */
    }
    if (ahead->aggregate >= 0) {
        __builtin_prefetch(mim_engine_slot(engine, (unsigned)ahead->aggregate, ahead->stream), 1);
    }
}

void mim_engine_ahead_id(const struct mim_engine *engine, const struct mim_ahead *ahead) {
    if (ahead->aggregate >= 0) {
        mim_text_prefetch(&engine->arena, &mim_engine_slot(engine, (unsigned)ahead->aggregate, ahead->stream)->id);
    }
}

bool mim_engine_ahead_found(const struct mim_engine *engine, const struct mim_ahead *ahead) {
    if (ahead->aggregate < 0) {
        return false;
    }
    struct mim_slot *slot = mim_engine_slot(engine, (unsigned)ahead->aggregate, ahead->stream);
    return mim_slice_equal(mim_text_slice(&engine->arena, &slot->id), ahead->id);
}

struct mim_slot *mim_engine_create(struct mim_engine *engine, unsigned aggregate, struct mim_slice id, uint32_t id_hash,
                                   mim_stream_t *ret_stream) {
    struct mim_aggregate_root *root = &engine->aggregates[aggregate];
    uint64_t number = root->slots.count;
    if (number > UINT32_MAX) {
        return NULL;
    }
    struct mim_slot *slot = mim_slots_push(&engine->arena, &root->slots);
    if (slot == NULL || !mim_text_assign(&engine->arena, &slot->id, id) ||
        !mim_index_insert(&engine->arena, &root->index, id_hash, (uint32_t)number)) {
        return NULL;
    }
    *ret_stream = (mim_stream_t)number;
    return slot;
}

/** Bytes the next chunk of an array takes when one of the next pushes needs it. */
static uint64_t slots_need(const struct mim_slots *slots) {
    uint64_t biased = slots->count + MIM_EVENTS_PER_TX_MAX + MIM_SLOTS_FIRST;
    unsigned chunk = 57u - (unsigned)__builtin_clzll(biased);
    return mim_ref_is_null(slots->chunks[chunk])
               ? ((uint64_t)MIM_SLOTS_FIRST << chunk) * slots->element_size + (4u << 20)
               : 0;
}

bool mim_engine_has_headroom(const struct mim_engine *engine) {
    uint64_t available = mim_arena_available(&engine->arena);
    if (MIM_LIKELY(available > mim_arena_head(&engine->arena)->used + MIM_IMAGE_HEADROOM)) {
        return true; /* no array's next chunk is larger than all that is used already */
    }
    const struct mim_root *root = engine->root;
    uint64_t need = engine->arena.limit / 8 < MIM_IMAGE_HEADROOM ? engine->arena.limit / 8 : MIM_IMAGE_HEADROOM;
    need += slots_need(&root->keys) + slots_need(&root->key_index.table) + slots_need(&root->skips);
    for (uint32_t i = 0; i < root->aggregate_count; i++) {
        need += slots_need(&engine->aggregates[i].slots) + slots_need(&engine->aggregates[i].index.table);
    }
    return available > need;
}

mim_lsn_t mim_engine_gate_of(const struct mim_appender *appender, mim_lsn_t record_lsn) {
    if (appender == NULL || record_lsn == 0 || record_lsn < mim_appender_shown(appender)) {
        return 0;
    }
    return appender->open && record_lsn >= appender->frame_lsn ? appender->frame_lsn + 1 : record_lsn + 1;
}

mim_lsn_t mim_engine_gate_all(const struct mim_engine *engine, const struct mim_appender *appender) {
    if (appender == NULL || engine->last_gate <= mim_appender_shown(appender)) {
        return 0;
    }
    return engine->last_gate;
}

void *mim_engine_scratch(struct mim_engine *engine, size_t size) {
    size_t aligned = (size_t)mim_align8(size);
    if (aligned > MIM_TX_SCRATCH_SIZE - engine->scratch_used) {
        return NULL;
    }
    void *at = engine->scratch + engine->scratch_used;
    engine->scratch_used += aligned;
    memset(at, 0, aligned);
    return at;
}

void mim_engine_stats(const struct mim_engine *engine, struct mim_engine_stats *ret_stats) {
    *ret_stats = engine->stats;
    ret_stats->aggregates = 0;
    for (uint32_t i = 0; i < engine->root->aggregate_count; i++) {
        ret_stats->aggregates_of[i] = engine->aggregates[i].slots.count;
        ret_stats->aggregates += engine->aggregates[i].slots.count;
    }
    const struct mim_arena_head *head = mim_arena_head(&engine->arena);
    ret_stats->image_used = head->used;
    ret_stats->image_free_lists = head->freed;
    ret_stats->image_capacity = engine->arena.limit;
    ret_stats->keys = engine->root->keys.count;
    ret_stats->key_window = engine->root->key_window;
    ret_stats->events = engine->root->position;
}
