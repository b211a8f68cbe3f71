// SPDX-License-Identifier: MIT
// Replay: a verified frame into the image, by the same evolve as live. Slots of the records ahead are prefetched, so
// that the cost of an event is its decoding and one cache line, not a cache miss.
#include "engine/internal.h"

#define MIM_APPLY_AHEAD 16u /* records prefetched ahead: covers a memory latency at full replay speed */

/** One pass over a frame's records. */
struct applying {
    struct mim_engine *engine;
    const struct mim_frame *frame;
    const uint8_t *bytes; /* of the frame */
    uint32_t size;
    uint32_t ahead; /* offset of the next record to prefetch for */
    uint32_t events;
    struct mim_slice key; /* of the transaction being applied; data NULL: none */
    mim_version_t key_version;
};

__attribute__((cold)) static int apply_damaged(const struct applying *a, uint32_t offset, const char *what,
                                               struct mim_error *reterr) {
    return mim_error_set(reterr, MIM_E_DAMAGED, "record at LSN %llu (position %llu): %s",
                         (unsigned long long)(a->frame->lsn + offset),
                         (unsigned long long)(a->engine->root->position + 1), what);
}

/** Prefetches the slot that the record at `ahead` will touch, and steps over it. */
static inline void apply_prefetch(struct applying *a) {
    if (a->ahead + MIM_RECORD_HEADER_SIZE > a->size) {
        return;
    }
    const uint8_t *at = a->bytes + a->ahead;
    uint32_t payload = mim_get32(at);
    uint16_t type = mim_get16(at + 4);
    uint16_t flags = mim_get16(at + 6);
    uint64_t next = a->ahead + mim_align8((uint64_t)MIM_RECORD_HEADER_SIZE + payload);
    if (MIM_UNLIKELY((flags & MIM_PARTS_MASK) != 0) && next + 4 <= a->size) {
        next += mim_align8((uint64_t)4 + mim_get32(a->bytes + next));
    }
    if (type <= MIM_CATALOG_MAX && a->engine->bound[type].event != NULL) {
        unsigned aggregate = a->engine->bound[type].event->aggregate;
        uint32_t stream = mim_get32(at + 8);
        if (stream < a->engine->aggregates[aggregate].slots.count) {
            __builtin_prefetch(mim_engine_slot(a->engine, aggregate, stream), 1);
        }
    }
    a->ahead = next > a->size ? a->size : (uint32_t)next;
}

/** The slot of an event: an old one, or a new one made from the record's id. NULL: contradiction or no memory. */
static struct mim_slot *apply_slot(struct mim_engine *engine, unsigned aggregate, const struct mim_record *record) {
    uint64_t count = engine->aggregates[aggregate].slots.count;
    if (MIM_LIKELY(record->stream < count)) {
        return mim_engine_slot(engine, aggregate, record->stream);
    }
    struct mim_slice id;
    if (record->stream != count || record->version != 1 || !mim_record_part(record, MIM_PART_ID, &id) ||
        !mim_id_valid(id)) {
        return NULL;
    }
    mim_stream_t made;
    struct mim_slot *slot = mim_engine_create(engine, aggregate, id, mim_engine_id_hash(engine, id), &made);
    engine->out_of_memory |= slot == NULL;
    return slot;
}

static int apply_key_begin(struct applying *a, const struct mim_record *record, uint32_t offset,
                           struct mim_error *reterr) {
    a->key.data = NULL;
    if ((record->flags & MIM_PART_KEY) == 0) {
        return 0;
    }
    struct mim_slice part;
    if (!mim_record_part(record, MIM_PART_KEY, &part) || part.size < 5 || part.size > 4 + MIM_KEY_SIZE_MAX) {
        return apply_damaged(a, offset, "malformed idempotency key", reterr);
    }
    a->key_version = mim_get32(part.data);
    a->key = mim_slice_of(part.data + 4, part.size - 4);
    return 0;
}

static void apply_key_end(struct applying *a, mim_position_t position) {
    if (a->key.data != NULL) {
        a->engine->out_of_memory |= !mim_keys_remember(a->engine, a->key, a->key_version, position);
        a->key.data = NULL;
    }
}

static int apply_event(struct applying *a, const struct mim_record *record, uint32_t offset, struct mim_error *reterr) {
    struct mim_engine *engine = a->engine;
    const struct mim_bound_event *bound = &engine->bound[record->type <= MIM_CATALOG_MAX ? record->type : 0];
    if (MIM_UNLIKELY(!bound->defined || record->index != a->events)) {
        return apply_damaged(a, offset, bound->defined ? "wrong index" : "undefined event type", reterr);
    }
    a->events++;
    engine->root->position++;
    if (MIM_UNLIKELY(engine->unreadable)) {
        return 0; /* the start will be refused with the list of what is missing; go on collecting it */
    }
    if (MIM_UNLIKELY((record->flags & MIM_FLAG_TX_FIRST) != 0 && (record->flags & MIM_PART_KEY) != 0)) {
        int rc = apply_key_begin(a, record, offset, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    struct mim_slot *slot = apply_slot(engine, bound->event->aggregate, record);
    if (MIM_UNLIKELY(slot == NULL || record->version != slot->version + 1 || record->previous_lsn != slot->last_lsn)) {
        return engine->out_of_memory ? mim_error_set(reterr, MIM_E_MEMORY, "no memory for the image")
                                     : apply_damaged(a, offset, "does not follow its stream", reterr);
    }
    if (MIM_UNLIKELY(engine->scan != NULL)) {
        mim_engine_scan_before(engine, bound->event->aggregate, record->stream, slot);
    }
    struct mim_byte_writer scratch = {.data = engine->scratch, .capacity = MIM_EVENT_SCRATCH_SIZE};
    if (MIM_UNLIKELY(
            !mim_payload_decode(bound->fields, bound->field_count, record->payload, engine->event_struct, &scratch))) {
        return apply_damaged(a, offset, "malformed payload", reterr);
    }
    engine->scratch_used = (size_t)mim_align8(scratch.size);
    engine->out_of_memory |= !mim_engine_advance(engine, slot, a->frame->lsn + offset);
    mim_engine_evolve(engine, bound->event, slot, record->stream, engine->root->position,
                      a->frame->header.base_time_ms + record->time_delta_ms, engine->event_struct);
    if (MIM_UNLIKELY(engine->observer != NULL)) {
        engine->observer->applied(engine->observer->context, bound->event, record->stream);
    }
    if ((record->flags & MIM_FLAG_TX_LAST) != 0) {
        engine->root->time_ms = a->frame->header.base_time_ms + record->time_delta_ms;
        apply_key_end(a, engine->root->position);
    }
    return 0;
}

/** Records without a position: definitions, keys without events, digests. */
static int apply_special(struct applying *a, const struct mim_record *record, uint32_t offset,
                         struct mim_error *reterr) {
    switch (record->type) {
    case MIM_RECORD_DEFINE: {
        int rc = mim_catalog_apply(a->engine, record->payload, true, reterr);
        return rc == 0
                   ? 0
                   : mim_error_prefix(reterr, "definition at LSN %llu", (unsigned long long)(a->frame->lsn + offset));
    }
    case MIM_RECORD_KEY: {
        int rc = apply_key_begin(a, record, offset, reterr);
        if (rc != 0 || a->key.data == NULL || record->payload.size != 16) {
            return rc != 0 ? rc : apply_damaged(a, offset, "malformed key record", reterr);
        }
        apply_key_end(a, mim_get64(record->payload.data));
        return 0;
    }
    case MIM_RECORD_DIGEST:
    case MIM_RECORD_NOTE:
        return 0;
    default:
        return apply_damaged(a, offset, "unknown record type", reterr);
    }
}

static int apply_records(struct applying *a, struct mim_error *reterr) {
    for (unsigned i = 0; i < MIM_APPLY_AHEAD; i++) {
        apply_prefetch(a);
    }
    uint32_t offset = MIM_FRAME_HEADER_SIZE;
    while (offset < a->size) {
        apply_prefetch(a);
        struct mim_record record;
        size_t size = mim_record_decode(a->bytes + offset, a->size - offset, &record);
        if (MIM_UNLIKELY(size == 0 || record.frame_offset != offset)) {
            return apply_damaged(a, offset, "malformed record", reterr);
        }
        int rc = MIM_LIKELY(record.type <= MIM_RECORD_EVENT_MAX) ? apply_event(a, &record, offset, reterr)
                                                                 : apply_special(a, &record, offset, reterr);
        if (MIM_UNLIKELY(rc != 0)) {
            return rc;
        }
        if (MIM_UNLIKELY(a->engine->out_of_memory)) {
            return mim_error_set(reterr, MIM_E_MEMORY, "no memory for the image at position %llu",
                                 (unsigned long long)a->engine->root->position);
        }
        offset += (uint32_t)size;
    }
    return 0;
}

int mim_engine_apply(struct mim_engine *engine, const struct mim_frame *frame, struct mim_error *reterr) {
    struct mim_root *root = engine->root;
    const struct mim_frame_header *header = &frame->header;
    if (header->first_position != root->position + 1) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "frame at LSN %llu begins at position %llu, %llu was expected",
                             (unsigned long long)frame->lsn, (unsigned long long)header->first_position,
                             (unsigned long long)(root->position + 1));
    }
    if (header->kind == MIM_FRAME_DATA) {
        struct applying applying = {.engine = engine,
                                    .frame = frame,
                                    .bytes = frame->bytes,
                                    .size = header->size,
                                    .ahead = MIM_FRAME_HEADER_SIZE};
        int rc = apply_records(&applying, reterr);
        if (rc != 0) {
            return rc;
        }
        if (applying.events != header->event_count) {
            return mim_error_set(reterr, MIM_E_DAMAGED, "frame at LSN %llu holds %u events, its header says %u",
                                 (unsigned long long)frame->lsn, applying.events, header->event_count);
        }
    } else if (header->kind == MIM_FRAME_EPOCH) {
        root->epoch = header->epoch;
    }
    if (header->base_time_ms > root->time_ms) {
        root->time_ms = header->base_time_ms;
    }
    root->lsn = frame->lsn + header->size;
    engine->last_gate = frame->lsn + 1; /* a standby shows it when it is durable here */
    root->chain = header->chain;
    return 0;
}
