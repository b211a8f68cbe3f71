// SPDX-License-Identifier: MIT
// Folding a stream's events into a scratch engine of the same model; see timetravel.h.
#include "engine/timetravel.h"

#include <stdlib.h>

#include "engine/internal.h"

struct mim_fold {
    struct mim_compiled compiled; /* the model's, but no event has projections */
    struct mim_compiled_event *events;
    struct mim_engine *engine; /* scratch */
    struct mim_slot *slot;
    unsigned aggregate;
    mim_stream_t stream; /* its number in the live image: evolve may ask for it */
};

int mim_engine_tip(const struct mim_engine *engine, struct mim_slice type, struct mim_slice id, unsigned *ret_aggregate,
                   mim_stream_t *ret_stream, struct mim_stream_tip *ret_tip, struct mim_error *reterr) {
    int aggregate = mim_compiled_aggregate(engine->compiled, type);
    if (aggregate < 0) {
        return mim_error_set(reterr, MIM_E_INVALID, "unknown aggregate type '%.*s'",
                             (int)(type.size > 100 ? 100 : type.size), (const char *)type.data);
    }
    if (!mim_id_valid(id)) {
        return mim_error_set(reterr, MIM_E_INVALID,
                             "invalid id: 1 to %u bytes of UTF-8 without spaces and control characters",
                             MIM_ID_SIZE_MAX);
    }
    mim_stream_t stream = 0;
    const struct mim_slot *slot =
        mim_engine_find(engine, (unsigned)aggregate, id, mim_engine_id_hash(engine, id), &stream);
    if (slot == NULL) {
        return MIM_E_NOT_FOUND;
    }
    *ret_aggregate = (unsigned)aggregate;
    *ret_stream = stream;
    *ret_tip = (struct mim_stream_tip){.version = slot->version, .lsn = slot->last_lsn};
    if (slot->skip != 0) {
        const struct mim_skip_node *node = mim_slots_at(&engine->arena, &engine->root->skips, slot->skip - 1u);
        memcpy(ret_tip->anchors, node->lsn, sizeof(ret_tip->anchors));
    }
    return 0;
}

static int fold_bind(struct mim_fold *fold, const struct mim_engine *live, struct mim_error *reterr) {
    for (uint64_t i = 0; i < live->root->catalog.count; i++) {
        const struct mim_catalog_entry *entry = mim_slots_at(&live->arena, &live->root->catalog, i);
        int rc = mim_catalog_apply(fold->engine, mim_text_slice(&live->arena, &entry->payload), false, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int fold_slot(struct mim_fold *fold, const struct mim_engine *live, struct mim_error *reterr) {
    const struct mim_slot *original = mim_engine_slot(live, fold->aggregate, fold->stream);
    struct mim_slice id = mim_text_slice(&live->arena, &original->id);
    mim_stream_t number;
    fold->slot = mim_engine_create(fold->engine, fold->aggregate, id, mim_engine_id_hash(fold->engine, id), &number);
    return fold->slot != NULL ? 0 : mim_error_set(reterr, MIM_E_MEMORY, "no memory for a past state");
}

int mim_fold_new(const struct mim_engine *engine, unsigned aggregate, mim_stream_t stream, struct mim_fold **ret_fold,
                 struct mim_error *reterr) {
    const struct mim_compiled *compiled = engine->compiled;
    struct mim_fold *fold = calloc(1, sizeof(*fold));
    struct mim_compiled_event *events = calloc(compiled->event_count + 1, sizeof(*events));
    if (fold == NULL || events == NULL) {
        free(fold);
        free(events);
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    memcpy(events, compiled->events, compiled->event_count * sizeof(*events));
    for (uint32_t i = 0; i < compiled->event_count; i++) {
        events[i].projection_count = 0;
    }
    fold->events = events;
    fold->compiled = *compiled;
    fold->compiled.events = events;
    fold->aggregate = aggregate;
    fold->stream = stream;
    struct mim_engine_options options = {.compiled = &fold->compiled, .idempotency_window = 1};
    int rc = mim_engine_new(&options, &fold->engine, reterr);
    rc = rc != 0 ? rc : fold_bind(fold, engine, reterr);
    rc = rc != 0 ? rc : fold_slot(fold, engine, reterr);
    if (rc != 0) {
        (void)mim_fold_free(fold);
        return rc;
    }
    *ret_fold = fold;
    return 0;
}

struct mim_fold *mim_fold_free(struct mim_fold *fold) {
    if (fold != NULL) {
        (void)mim_engine_free(fold->engine);
        free(fold->events);
        free(fold);
    }
    return NULL;
}

int mim_fold_apply(struct mim_fold *fold, const struct mim_journal_event *event, struct mim_error *reterr) {
    struct mim_engine *engine = fold->engine;
    const struct mim_record *record = &event->record;
    const struct mim_bound_event *bound = &engine->bound[record->type <= MIM_CATALOG_MAX ? record->type : 0];
    if (bound->event == NULL || bound->event->aggregate != fold->aggregate || record->stream != fold->stream ||
        record->version != fold->slot->version + 1) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "the event at position %llu does not follow its stream",
                             (unsigned long long)event->position);
    }
    struct mim_byte_writer scratch = {.data = engine->scratch, .capacity = MIM_EVENT_SCRATCH_SIZE};
    if (!mim_payload_decode(bound->fields, bound->field_count, record->payload, engine->event_struct, &scratch)) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "the event at position %llu has a malformed payload",
                             (unsigned long long)event->position);
    }
    engine->scratch_used = (size_t)mim_align8(scratch.size);
    fold->slot->version = record->version;
    fold->slot->last_lsn = event->lsn;
    mim_engine_evolve(engine, bound->event, fold->slot, fold->stream, event->position, event->time_ms,
                      engine->event_struct);
    return engine->out_of_memory ? mim_error_set(reterr, MIM_E_MEMORY, "no memory for a past state") : 0;
}

mim_version_t mim_fold_version(const struct mim_fold *fold) { return fold->slot->version; }

void mim_fold_json(const struct mim_fold *fold, struct mim_buffer *out) {
    const struct mim_aggregate_type *type = &fold->compiled.model->aggregates[fold->aggregate];
    struct mim_json json = mim_json_to(out);
    mim_json_image_state(&json, &fold->engine->arena, type->fields, type->field_count, mim_slot_state(fold->slot));
}
