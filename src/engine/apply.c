// SPDX-License-Identifier: MIT
// Replay: a verified frame into the image, by the same evolve as live. Records are looked at in batches before they are
// applied, in a loop so short that the processor waits for many cache misses at once: an event then costs its decoding
// and evolving, not a miss.
#include "engine/internal.h"

#define MIM_APPLY_BATCH   16u   /* fewer than the misses a core can have outstanding: looking never waits */
#define MIM_APPLY_BATCHES 2u    /* on the way at once: together they cover the latency of a miss */
#define MIM_APPLY_BYTES   2048u /* of records fetched ahead: they may come from another core's cache */

/** A record looked at; what it touches is being fetched. All that applying it needs at once stands here, so that the
 *  processor, when it has guessed the event's type wrongly, finds out soon. */
struct apply_seen {
    const struct mim_compiled_event *event; /* NULL: its type was not defined, or it is no event */
    struct mim_slot *slot;                  /* NULL: not there (yet) */
    struct mim_slice id;                    /* with slot NULL: the id part; data NULL: none */
    uint32_t id_hash;
    uint32_t offset; /* in the frame */
};

struct apply_batch {
    uint32_t count;
    uint32_t fresh; /* items with an id that was looked up */
    uint32_t keys;
    struct mim_key_places key[MIM_APPLY_BATCH];
    struct apply_seen items[MIM_APPLY_BATCH];
};

/** One pass over a frame's records. */
struct applying {
    struct mim_engine *engine;
    const struct mim_frame *frame;
    const uint8_t *bytes; /* of the frame */
    uint32_t size;
    uint32_t ahead; /* of the next record to look at: its offset, or its number in frame->records */
    uint32_t events;
    bool plain;          /* nothing but evolving is to be done with events: no list of the unreadable, no live digest */
    uint32_t keys_ahead; /* keys looked at and not yet remembered */
    struct mim_slice key; /* of the transaction being applied; data NULL: none */
    mim_version_t key_version;
    struct apply_batch batches[MIM_APPLY_BATCHES];
};

__attribute__((cold)) static int apply_damaged(const struct applying *a, uint32_t offset, const char *what,
                                               struct mim_error *reterr) {
    return mim_error_set(reterr, MIM_E_DAMAGED, "record at LSN %llu (position %llu): %s",
                         (unsigned long long)(a->frame->lsn + offset),
                         (unsigned long long)(a->engine->root->position + 1), what);
}

/* ---------------------------------------------------------- looking ahead */

/** A record of a stream that is not there: a new one, most likely. Fetches the place of its id in the index. */
__attribute__((noinline)) static void look_new(const struct applying *a, struct apply_batch *batch,
                                               struct apply_seen *seen) {
    struct mim_record record;
    seen->slot = NULL;
    seen->id.data = NULL;
    if (mim_record_decode(a->bytes + seen->offset, a->size - seen->offset, &record) != 0 &&
        mim_record_part(&record, MIM_PART_ID, &seen->id)) {
        batch->fresh++;
        seen->id_hash = mim_engine_id_hash(a->engine, seen->id);
        mim_index_prefetch(&a->engine->arena, &a->engine->aggregates[seen->event->aggregate].index, seen->id_hash);
    }
}

/** A record with an idempotency key. */
__attribute__((noinline)) static void look_key(struct applying *a, struct apply_batch *batch, uint32_t offset) {
    struct mim_record record;
    struct mim_slice part;
    if (mim_record_decode(a->bytes + offset, a->size - offset, &record) != 0 &&
        mim_record_part(&record, MIM_PART_KEY, &part) && part.size > 4) {
        struct mim_slice key = mim_slice_of(part.data + 4, part.size - 4);
        batch->key[batch->keys++] = mim_keys_prefetch(a->engine, key, a->keys_ahead++);
    }
}

/** Looks at the records whose offsets stand in `offsets`, and fetches their slots. */
static void look_at(struct applying *a, struct apply_batch *batch, const uint32_t *offsets) {
    const struct mim_engine *engine = a->engine;
    const uint8_t *bytes = a->bytes;
    batch->fresh = 0;
    batch->keys = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        struct apply_seen *seen = &batch->items[i];
        const uint8_t *at = bytes + offsets[i];
        __builtin_prefetch(at + MIM_APPLY_BYTES);
        uint16_t type = mim_get16(at + 4);
        const struct mim_bound_event *bound = &engine->bound[type <= MIM_CATALOG_MAX ? type : 0];
        seen->offset = offsets[i];
        seen->event = bound->event;
        if (MIM_UNLIKELY((mim_get16(at + 6) & MIM_PART_KEY) != 0)) {
            look_key(a, batch, offsets[i]);
        }
        if (MIM_UNLIKELY(bound->event == NULL)) {
            seen->slot = NULL;
            seen->id.data = NULL;
            continue;
        }
        const struct mim_slots *slots = bound->slots;
        uint32_t stream = mim_get32(at + 8);
        if (MIM_UNLIKELY(stream >= slots->count)) {
            look_new(a, batch, seen);
            continue;
        }
        seen->slot = mim_slots_at(&engine->arena, slots, stream);
        __builtin_prefetch(seen->slot, 1);
        if (MIM_UNLIKELY(slots->element_size > 64u)) {
            __builtin_prefetch((const uint8_t *)seen->slot + 64, 1);
        }
    }
}

/** The last look before a batch is applied: buckets of new ids and keys are there by now, and tell where their chains go
 *  on. */
static void look_again(const struct applying *a, const struct apply_batch *batch) {
    for (uint32_t i = 0; batch->fresh > 0 && i < batch->count; i++) {
        const struct apply_seen *seen = &batch->items[i];
        if (seen->slot == NULL && seen->id.data != NULL) {
            mim_index_prefetch_chain(&a->engine->arena, &a->engine->aggregates[seen->event->aggregate].index,
                                     seen->id_hash);
        }
    }
    for (uint32_t i = 0; i < batch->keys; i++) {
        mim_keys_prefetch_chains(a->engine, &batch->key[i]);
    }
}

/** Takes the next records: those that whoever read the frame has checked, or checks them here. */
static void look_ahead(struct applying *a, struct apply_batch *batch) {
    uint32_t walked[MIM_APPLY_BATCH];
    const uint32_t *offsets = walked;
    if (a->frame->records != NULL) {
        uint32_t left = a->frame->record_count - a->ahead;
        batch->count = left < MIM_APPLY_BATCH ? left : MIM_APPLY_BATCH;
        offsets = a->frame->records + a->ahead;
        a->ahead += batch->count;
    } else {
        batch->count = mim_record_walk(a->bytes, a->size, &a->ahead, MIM_APPLY_BATCH, walked);
    }
    look_at(a, batch, offsets);
}

/* --------------------------------------------------------------- applying */

/** The slot of an event whose stream was not there when it was looked for: it has come since, or comes now. NULL:
 *  contradiction or no memory. */
static struct mim_slot *apply_slot(const struct applying *a, unsigned aggregate, const struct apply_seen *seen) {
    struct mim_engine *engine = a->engine;
    const uint8_t *at = a->bytes + seen->offset;
    uint64_t count = engine->aggregates[aggregate].slots.count;
    uint32_t stream = mim_get32(at + 8);
    if (stream < count) {
        return mim_engine_slot(engine, aggregate, stream);
    }
    uint32_t hash = seen->id_hash;
    struct mim_slice id = seen->id;
    if (id.data == NULL) { /* its type was defined after it was looked at */
        struct mim_record record;
        if (mim_record_decode(at, a->size - seen->offset, &record) == 0 ||
            !mim_record_part(&record, MIM_PART_ID, &id)) {
            return NULL;
        }
        hash = mim_engine_id_hash(engine, id);
    }
    if (stream != count || mim_get32(at + 12) != 1 || !mim_id_valid(id)) {
        return NULL;
    }
    mim_stream_t made;
    struct mim_slot *slot = mim_engine_create(engine, aggregate, id, hash, &made);
    engine->out_of_memory |= slot == NULL;
    return slot;
}

static int apply_key_begin(struct applying *a, uint32_t offset, struct mim_error *reterr) {
    struct mim_record record;
    struct mim_slice part;
    a->key.data = NULL;
    if (mim_record_decode(a->bytes + offset, a->size - offset, &record) == 0 ||
        !mim_record_part(&record, MIM_PART_KEY, &part) || part.size < 5 || part.size > 4 + MIM_KEY_SIZE_MAX) {
        return apply_damaged(a, offset, "malformed idempotency key", reterr);
    }
    a->key_version = mim_get32(part.data);
    a->key = mim_slice_of(part.data + 4, part.size - 4);
    return 0;
}

static void apply_key_end(struct applying *a, mim_position_t position) {
    if (a->key.data != NULL) {
        a->engine->out_of_memory |= !mim_keys_remember(a->engine, a->key, a->key_version, position);
        a->keys_ahead -= a->keys_ahead > 0 ? 1 : 0;
        a->key.data = NULL;
    }
}

/** Decodes and evolves: the record follows its stream. */
static int apply_change(struct applying *a, const struct mim_bound_event *bound, struct mim_slot *slot, uint32_t offset,
                        struct mim_error *reterr) {
    struct mim_engine *engine = a->engine;
    const uint8_t *at = a->bytes + offset;
    struct mim_slice payload = mim_slice_of(at + MIM_RECORD_HEADER_SIZE, mim_get32(at));
    struct mim_byte_writer scratch = {.data = engine->scratch, .capacity = MIM_EVENT_SCRATCH_SIZE};
    if (!mim_payload_decode(bound->fields, bound->field_count, payload, engine->event_struct, &scratch)) {
        return apply_damaged(a, offset, "malformed payload", reterr);
    }
    engine->scratch_used = (size_t)mim_align8(scratch.size);
    engine->out_of_memory |= !mim_engine_advance(engine, slot, a->frame->lsn + offset);
    int64_t time_ms = a->frame->header.base_time_ms + mim_get16(at + 34);
    mim_engine_evolve(engine, bound->event, slot, mim_get32(at + 8), engine->root->position, time_ms,
                      engine->event_struct);
    if (MIM_UNLIKELY(engine->observer != NULL)) {
        engine->observer->applied(engine->observer->context, bound->event, mim_get32(at + 8));
    }
    if ((mim_get16(at + 6) & MIM_FLAG_TX_LAST) != 0) {
        engine->root->time_ms = time_ms;
        apply_key_end(a, engine->root->position);
    }
    return 0;
}

/** Applies any event, with every check and what is wrong with it. */
static int apply_event(struct applying *a, const struct apply_seen *seen, struct mim_error *reterr) {
    struct mim_engine *engine = a->engine;
    const uint8_t *at = a->bytes + seen->offset;
    uint16_t type = mim_get16(at + 4);
    uint16_t flags = mim_get16(at + 6);
    const struct mim_bound_event *bound = &engine->bound[type <= MIM_CATALOG_MAX ? type : 0];
    if (!bound->defined || mim_get16(at + 32) != a->events) {
        return apply_damaged(a, seen->offset, bound->defined ? "wrong index" : "undefined event type", reterr);
    }
    a->events++;
    engine->root->position++;
    if (engine->unreadable) {
        return 0; /* the start will be refused with the list of what is missing; go on collecting it */
    }
    if ((flags & MIM_FLAG_TX_FIRST) != 0 && (flags & MIM_PART_KEY) != 0) {
        int rc = apply_key_begin(a, seen->offset, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    struct mim_slot *slot = seen->slot != NULL ? seen->slot : apply_slot(a, bound->event->aggregate, seen);
    if (slot == NULL || mim_get32(at + 12) != slot->version + 1 || mim_get64(at + 16) != slot->last_lsn) {
        return engine->out_of_memory ? mim_error_set(reterr, MIM_E_MEMORY, "no memory for the image")
                                     : apply_damaged(a, seen->offset, "does not follow its stream", reterr);
    }
    if (engine->scan != NULL) {
        mim_engine_scan_before(engine, bound->event->aggregate, mim_get32(at + 8), slot);
    }
    return apply_change(a, bound, slot, seen->offset, reterr);
}

/** True when nothing is out of the ordinary: a known aggregate, the right index, version and previous event, no key and no
 *  skip node to change, a payload that is only copied. Anything else, errors too, is for apply_event. */
static inline bool is_plain(const struct apply_seen *seen, const uint8_t *at, uint32_t index) {
    const struct mim_slot *slot = seen->slot;
    if (MIM_UNLIKELY(slot == NULL)) {
        return false;
    }
    uint32_t version = slot->version + 1u;
    uint32_t size = mim_get32(at);
    bool follows =
        ((mim_get64(at + 16) ^ slot->last_lsn) | (mim_get32(at + 12) ^ version) | (mim_get16(at + 32) ^ index)) == 0;
    return follows && (mim_get16(at + 6) & MIM_PART_KEY) == 0 && version % MIM_SKIP_BASE != 0 &&
           (int32_t)size <= seen->event->in_place && size % 8u == 0;
}

/** Fills in the type's struct: all but the leading fields stand there as missing, always. */
static inline void copy_payload(const struct mim_engine *engine, const struct mim_compiled_event *event,
                                const uint8_t *at, uint8_t *ret_struct) {
    const uint8_t *payload = at + MIM_RECORD_HEADER_SIZE;
    int32_t size = (int32_t)mim_get32(at);
    int32_t i = 0;
    for (; i < size; i += 8) {
        mim_put64(ret_struct + i, mim_get64(payload + i));
        __asm__ volatile(""); /* once or twice round: no call of memcpy, please */
    }
    for (; MIM_UNLIKELY(i < event->in_place); i += 8) {
        mim_put64(ret_struct + i, mim_get64(engine->compiled->blanks + event->blank + i));
        __asm__ volatile("");
    }
}

/** Applies events from `seen` on as long as they are plain; returns the first that is not. A function of its own, and a
 *  small one: what it works with stays in registers. */
__attribute__((noinline)) static const struct apply_seen *apply_plain(struct applying *a, const struct apply_seen *seen,
                                                                      const struct apply_seen *end) {
    struct mim_engine *engine = a->engine;
    struct mim_evolution evolution = {
        .front.image = engine->arena.base, .host = engine->host, .position = engine->root->position};
    mim_position_t before = evolution.position - a->events; /* of the frame's first event */
    int64_t time_ms = engine->root->time_ms;
    for (; seen < end; seen++) {
        const uint8_t *at = a->bytes + seen->offset;
        if (MIM_UNLIKELY(!is_plain(seen, at, (uint32_t)(evolution.position - before)))) {
            break;
        }
        const struct mim_compiled_event *event = seen->event;
        uint8_t *data = engine->event_blanks + event->blank;
        copy_payload(engine, event, at, data);
        seen->slot->version++;
        seen->slot->last_lsn = a->frame->lsn + seen->offset;
        evolution.front.number = mim_get32(at + 8);
        evolution.slot = seen->slot;
        evolution.time_ms = a->frame->header.base_time_ms + mim_get16(at + 34);
        evolution.position++;
        time_ms = (mim_get16(at + 6) & MIM_FLAG_TX_LAST) != 0 ? evolution.time_ms : time_ms;
        mim_engine_evolve_today(engine, &evolution, event, data);
    }
    a->events = (uint32_t)(evolution.position - before);
    engine->root->position = evolution.position;
    engine->root->time_ms = time_ms;
    return seen;
}

/** Records without a position: definitions, keys without events, digests. */
static int apply_special(struct applying *a, uint32_t offset, struct mim_error *reterr) {
    struct mim_record decoded;
    const struct mim_record *record = &decoded;
    if (mim_record_decode(a->bytes + offset, a->size - offset, &decoded) == 0) {
        return apply_damaged(a, offset, "malformed record", reterr);
    }
    switch (record->type) {
    case MIM_RECORD_DEFINE: {
        int rc = mim_catalog_apply(a->engine, record->payload, true, reterr);
        return rc == 0
                   ? 0
                   : mim_error_prefix(reterr, "definition at LSN %llu", (unsigned long long)(a->frame->lsn + offset));
    }
    case MIM_RECORD_KEY: {
        if ((record->flags & MIM_PART_KEY) == 0 || record->payload.size != 16) {
            return apply_damaged(a, offset, "malformed key record", reterr);
        }
        int rc = apply_key_begin(a, offset, reterr);
        if (rc != 0) {
            return rc;
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

static int apply_batch(struct applying *a, const struct apply_batch *batch, struct mim_error *reterr) {
    struct mim_engine *engine = a->engine;
    look_again(a, batch);
    const struct apply_seen *seen = batch->items;
    const struct apply_seen *end = seen + batch->count;
    while (seen < end) {
        if (MIM_LIKELY(!engine->unreadable && engine->scan == NULL && engine->observer == NULL &&
                       a->key.data == NULL)) {
            seen = apply_plain(a, seen, end);
        }
        if (seen < end) {
            bool event = mim_get16(a->bytes + seen->offset + 4) <= MIM_RECORD_EVENT_MAX;
            int rc = event ? apply_event(a, seen, reterr) : apply_special(a, seen->offset, reterr);
            if (rc != 0) {
                return rc;
            }
            seen++;
        }
        if (MIM_UNLIKELY(engine->out_of_memory)) {
            return mim_error_set(reterr, MIM_E_MEMORY, "no memory for the image at position %llu",
                                 (unsigned long long)engine->root->position);
        }
    }
    return 0;
}

static int apply_records(struct applying *a, struct mim_error *reterr) {
    unsigned turn = 0;
    for (unsigned i = 0; i + 1 < MIM_APPLY_BATCHES; i++) {
        look_ahead(a, &a->batches[i]);
    }
    while (a->batches[turn].count > 0) {
        look_ahead(a, &a->batches[(turn + MIM_APPLY_BATCHES - 1) % MIM_APPLY_BATCHES]);
        int rc = apply_batch(a, &a->batches[turn], reterr);
        if (rc != 0) {
            return rc;
        }
        turn = (turn + 1) % MIM_APPLY_BATCHES;
    }
    if (a->frame->records == NULL && a->ahead < a->size) {
        return apply_damaged(a, a->ahead, "malformed record", reterr);
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
        struct applying applying;
        applying.engine = engine; /* member by member: zeroing all of it would cost small frames */
        applying.frame = frame;
        applying.bytes = frame->bytes;
        applying.size = header->size;
        applying.ahead = frame->records != NULL ? 0 : MIM_FRAME_HEADER_SIZE;
        applying.events = 0;
        applying.key.data = NULL;
        applying.keys_ahead = 0;
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
