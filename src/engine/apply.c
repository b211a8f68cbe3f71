// SPDX-License-Identifier: MIT
// Replay: a verified frame into the image, by the same evolve as live. Records are looked at in batches before they are
// applied, in a loop so short that the processor waits for many cache misses at once: an event then costs its decoding
// and evolving, not a miss. Where the order among aggregates has no meaning, a batch is applied type by type: it then costs
// no wrong guess of what comes next either.
#include "engine/internal.h"

#define MIM_APPLY_BATCH   32u   /* about the misses a core can have outstanding: looking hardly waits */
#define MIM_APPLY_BATCHES 2u    /* on the way at once: together they cover the latency of a miss */
#define MIM_APPLY_BYTES   2048u /* of records fetched ahead: they may come from another core's cache */
_Static_assert(MIM_APPLY_BATCH <= 32, "a set of items is a word");

/** A record looked at; what it touches is being fetched. */
struct apply_seen {
    const struct mim_bound_event *bound; /* NULL: for apply_event, or no event */
    struct mim_slot *slot;               /* NULL: not there (yet) */
    const uint8_t *at;                   /* the record */
};

/** A record whose stream was not there when it was looked at. */
struct apply_fresh {
    struct mim_slice id; /* its part ID; data NULL: none */
    const void *bucket;  /* where the id is going to stand, in its index */
    uint32_t hash;
};

struct apply_batch {
    uint32_t count;
    uint32_t fresh_count; /* of items with an id that was looked up */
    uint32_t keys;
    uint32_t alike[MIM_KINDS]; /* the plain events of each kind: a bit per item */
    struct apply_seen items[MIM_APPLY_BATCH];
    struct apply_fresh fresh[MIM_APPLY_BATCH]; /* of items with slot NULL */
    struct mim_key_places key[MIM_APPLY_BATCH];
};

/** One pass over a frame's records. */
struct applying {
    struct mim_engine *engine;
    const struct mim_frame *frame;
    const uint8_t *bytes; /* of the frame */
    uint32_t size;
    uint32_t events;
    struct mim_walked ahead; /* without places */
    uint32_t places_ahead;   /* with them: the next to look at */
    uint32_t keys_ahead;     /* keys looked at and not yet remembered */
    struct mim_slice key;    /* of the transaction being applied; data NULL: none */
    mim_version_t key_version;
    struct apply_batch batches[MIM_APPLY_BATCHES];
};

static inline uint32_t apply_offset(const struct applying *a, const uint8_t *at) { return (uint32_t)(at - a->bytes); }

__attribute__((cold)) static int apply_damaged(const struct applying *a, const uint8_t *at, const char *what,
                                               struct mim_error *reterr) {
    return mim_error_set(reterr, MIM_E_DAMAGED, "record at LSN %llu (position %llu): %s",
                         (unsigned long long)(a->frame->lsn + apply_offset(a, at)),
                         (unsigned long long)(a->engine->root->position + 1), what);
}

/* ---------------------------------------------------------- looking ahead */

static inline void look_at_slot(struct apply_seen *seen, const struct mim_engine *engine, const struct mim_slots *slots,
                                uint32_t stream) {
    seen->slot = mim_slots_at(&engine->arena, slots, stream);
    __builtin_prefetch(seen->slot, 1);
    if (MIM_UNLIKELY(slots->element_size > 64u)) {
        __builtin_prefetch((const uint8_t *)seen->slot + 64, 1);
    }
}

static void look_at_key(struct applying *a, struct apply_batch *batch, const uint8_t *at) {
    struct mim_record record;
    struct mim_slice part;
    if (mim_record_decode(at, a->size - apply_offset(a, at), &record) != 0 &&
        mim_record_part(&record, MIM_PART_KEY, &part) && part.size > 4) {
        struct mim_slice key = mim_slice_of(part.data + 4, part.size - 4);
        batch->key[batch->keys++] = mim_keys_prefetch(a->engine, key, a->keys_ahead++);
    }
}

/** Any record that is not plain. One of a stream that is not there begins it, most likely: fetches the place of its id in
 *  the index. */
__attribute__((noinline)) static void look_at_other(struct applying *a, struct apply_batch *batch, uint32_t n) {
    const struct mim_engine *engine = a->engine;
    struct apply_seen *seen = &batch->items[n];
    struct apply_fresh *fresh = &batch->fresh[n];
    const uint8_t *at = seen->at;
    uint16_t type = mim_get16(at + 4);
    const struct mim_bound_event *bound = &engine->bound[type <= MIM_CATALOG_MAX ? type : 0];
    seen->bound = NULL;
    seen->slot = NULL;
    fresh->id.data = NULL;
    if (MIM_UNLIKELY((mim_get16(at + 6) & MIM_PART_KEY) != 0)) {
        look_at_key(a, batch, at);
    }
    if (bound->event == NULL) {
        return;
    }
    uint32_t stream = mim_get32(at + 8);
    if (stream < bound->slots->count) {
        look_at_slot(seen, engine, bound->slots, stream);
        return;
    }
    fresh->id = mim_record_id(at);
    if (fresh->id.data != NULL) {
        batch->fresh_count++;
        fresh->hash = mim_engine_id_hash(engine, fresh->id);
        const struct mim_index *index = &engine->aggregates[bound->event->aggregate].index;
        fresh->bucket = mim_index_prefetch(&engine->arena, index, fresh->hash);
    }
}

/** Looks at the records of `places`, and fetches their slots. A plain event of a known type and stream, whose payload is
 *  only copied, needs nothing but to follow its stream: that is left to apply_plain. */
static void look_at(struct applying *a, struct apply_batch *batch, const uint32_t *places) {
    const struct mim_engine *engine = a->engine;
    const struct mim_bound_event *events = engine->bound;
    const uint8_t *bytes = a->bytes;
    uint32_t count = batch->count;
    batch->fresh_count = 0;
    batch->keys = 0;
    memset(batch->alike, 0, sizeof(batch->alike));
    for (uint32_t i = 0; i < count; i++) {
        struct apply_seen *seen = &batch->items[i];
        const uint8_t *at = bytes + MIM_PLACE_OFFSET(places[i]);
        __builtin_prefetch(at + MIM_APPLY_BYTES);
        seen->at = at;
        uint16_t type = mim_get16(at + 4);
        const struct mim_bound_event *bound = &events[type <= MIM_CATALOG_MAX ? type : 0];
        uint32_t stream = mim_get32(at + 8);
        if (MIM_UNLIKELY((places[i] & MIM_PLACE_PLAIN) == 0 || mim_get32(at) >= bound->copied_below ||
                         stream >= bound->slots->count)) {
            look_at_other(a, batch, i);
            continue;
        }
        seen->bound = bound;
        batch->alike[bound->kind] |= 1u << i;
        look_at_slot(seen, engine, bound->slots, stream);
    }
}

/** The last look before a batch is applied: buckets of new ids and keys are there by now, and tell where their chains go
 *  on. */
static void look_again(const struct applying *a, const struct apply_batch *batch) {
    for (uint32_t i = 0; batch->fresh_count > 0 && i < batch->count; i++) {
        const struct apply_seen *seen = &batch->items[i];
        if (seen->slot == NULL && batch->fresh[i].id.data != NULL) {
            mim_index_prefetch_chain(&a->engine->arena, batch->fresh[i].bucket);
        }
    }
    for (uint32_t i = 0; i < batch->keys; i++) {
        mim_keys_prefetch_chains(a->engine, &batch->key[i]);
    }
}

/** Takes the next records: those that whoever read the frame has checked, or checks them here. */
static void look_ahead(struct applying *a, struct apply_batch *batch) {
    uint32_t walked[MIM_APPLY_BATCH];
    const uint32_t *places = walked;
    if (a->frame->records != NULL) {
        uint32_t left = a->frame->record_count - a->places_ahead;
        batch->count = left < MIM_APPLY_BATCH ? left : MIM_APPLY_BATCH;
        places = a->frame->records + a->places_ahead;
        a->places_ahead += batch->count;
    } else {
        batch->count = mim_record_walk(a->bytes, a->size, &a->ahead, MIM_APPLY_BATCH, walked);
    }
    look_at(a, batch, places);
}

/* --------------------------------------------------------------- applying */

/** The slot of an event whose stream was not there when it was looked for: it has come since, or comes now. NULL:
 *  contradiction or no memory. */
static struct mim_slot *apply_slot(const struct applying *a, unsigned aggregate, const uint8_t *at,
                                   const struct apply_fresh *fresh) {
    struct mim_engine *engine = a->engine;
    uint64_t count = engine->aggregates[aggregate].slots.count;
    uint32_t stream = mim_get32(at + 8);
    if (stream < count) {
        return mim_engine_slot(engine, aggregate, stream);
    }
    struct mim_slice id = fresh->id;
    uint32_t hash = fresh->hash;
    if (id.data == NULL) { /* its type was defined after it was looked at */
        id = mim_record_id(at);
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

static int apply_key_begin(struct applying *a, const uint8_t *at, struct mim_error *reterr) {
    struct mim_record record;
    struct mim_slice part;
    a->key.data = NULL;
    if (mim_record_decode(at, a->size - apply_offset(a, at), &record) == 0 ||
        !mim_record_part(&record, MIM_PART_KEY, &part) || part.size < 5 || part.size > 4 + MIM_KEY_SIZE_MAX) {
        return apply_damaged(a, at, "malformed idempotency key", reterr);
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
static int apply_change(struct applying *a, const struct mim_bound_event *bound, struct mim_slot *slot,
                        const uint8_t *at, struct mim_error *reterr) {
    struct mim_engine *engine = a->engine;
    struct mim_slice payload = mim_slice_of(at + MIM_RECORD_HEADER_SIZE, mim_get32(at));
    struct mim_byte_writer scratch = {.data = engine->scratch, .capacity = MIM_EVENT_SCRATCH_SIZE};
    if (!mim_payload_decode(bound->fields, bound->field_count, payload, engine->event_struct, &scratch)) {
        return apply_damaged(a, at, "malformed payload", reterr);
    }
    engine->scratch_used = (size_t)mim_align8(scratch.size);
    engine->out_of_memory |= !mim_engine_advance(engine, slot, a->frame->lsn + apply_offset(a, at));
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
static int apply_event(struct applying *a, const struct apply_seen *seen, const struct apply_fresh *fresh,
                       struct mim_error *reterr) {
    struct mim_engine *engine = a->engine;
    const uint8_t *at = seen->at;
    uint16_t type = mim_get16(at + 4);
    uint16_t flags = mim_get16(at + 6);
    const struct mim_bound_event *bound = &engine->bound[type <= MIM_CATALOG_MAX ? type : 0];
    if (!bound->defined || mim_get16(at + 32) != a->events) {
        return apply_damaged(a, at, bound->defined ? "wrong index" : "undefined event type", reterr);
    }
    a->events++;
    engine->root->position++;
    if (engine->unreadable) {
        return 0; /* the start will be refused with the list of what is missing; go on collecting it */
    }
    if ((flags & MIM_FLAG_TX_FIRST) != 0 && (flags & MIM_PART_KEY) != 0) {
        int rc = apply_key_begin(a, at, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    struct mim_slot *slot = seen->slot != NULL ? seen->slot : apply_slot(a, bound->event->aggregate, at, fresh);
    if (slot == NULL || mim_get32(at + 12) != slot->version + 1 || mim_get64(at + 16) != slot->last_lsn) {
        return engine->out_of_memory ? mim_error_set(reterr, MIM_E_MEMORY, "no memory for the image")
                                     : apply_damaged(a, at, "does not follow its stream", reterr);
    }
    if (engine->scan != NULL) {
        mim_engine_scan_before(engine, bound->event->aggregate, mim_get32(at + 8), slot);
    }
    return apply_change(a, bound, slot, at, reterr);
}

/** Fills in the type's struct: all but the leading fields stand there as missing, always. */
static inline void copy_payload(const struct mim_bound_event *bound, const uint8_t *at) {
    const uint8_t *from = at + MIM_RECORD_HEADER_SIZE;
    const uint8_t *end = from + mim_get32(at);
    uint8_t *to = bound->data;
    for (; from < end; from += 8, to += 8) {
        mim_put64(to, mim_get64(from));
        __asm__ volatile("" : "+r"(from), "+r"(to)); /* once or twice round: no call of memcpy, please */
    }
    for (; MIM_UNLIKELY(to < bound->copied_end); to += 8) {
        mim_put64(to, mim_get64(bound->missing + (to - bound->data)));
        __asm__ volatile("" : "+r"(to));
    }
}

/** Applies the plain events that `items` has at the bits of `set`, one after the other, up to the first that does not
 *  follow its stream or has a skip node to change: that one is for apply_event. Returns it and what is behind it. A function
 *  of its own, and a small one: what it works with stays in registers. */
__attribute__((noinline)) static uint32_t apply_plain(const struct applying *a, const struct apply_seen *items,
                                                      uint32_t set) {
    struct mim_engine *engine = a->engine;
    struct mim_evolution evolution = {.front.image = engine->arena.base, .host = engine->host};
    mim_position_t first_position = a->frame->header.first_position;
    int64_t base_time_ms = a->frame->header.base_time_ms;
    uint64_t lsn_of_address = a->frame->lsn - (uintptr_t)a->bytes;
    for (; set != 0; set &= set - 1) {
        const struct apply_seen *seen = &items[__builtin_ctz(set)];
        const uint8_t *at = seen->at;
        struct mim_slot *slot = seen->slot;
        uint32_t version = slot->version + 1u;
        bool follows = ((mim_get64(at + 16) ^ slot->last_lsn) | (mim_get32(at + 12) ^ version)) == 0;
        if (MIM_UNLIKELY(!follows || version % MIM_SKIP_BASE == 0)) {
            return set;
        }
        slot->version = version;
        slot->last_lsn = lsn_of_address + (uintptr_t)at;
        evolution.front.number = mim_get32(at + 8);
        evolution.slot = slot;
        evolution.position = first_position + mim_get16(at + 32);
        evolution.time_ms = base_time_ms + mim_get16(at + 34);
        copy_payload(seen->bound, at);
        mim_engine_evolve_today(engine, &evolution, seen->bound->event, seen->bound->data);
    }
    return 0;
}

/** Applies plain events whose order among streams is of no meaning, type by type: a processor that has to guess the next
 *  event's type guesses wrongly too often. Returns those that may follow their stream when others have been applied. */
static uint32_t apply_by_type(const struct applying *a, const struct apply_batch *batch, uint32_t set) {
    uint32_t left = 0;
    for (unsigned i = 0; i < MIM_KINDS; i++) {
        uint32_t alike = batch->alike[i] & set;
        left |= alike == 0 ? 0 : apply_plain(a, batch->items, alike);
    }
    return left;
}

/** Applies the plain events that stand in items[first..end), and counts them. */
static int apply_stretch(struct applying *a, const struct apply_batch *batch, uint32_t first, uint32_t end,
                         struct mim_error *reterr) {
    struct mim_root *root = a->engine->root;
    const struct apply_seen *items = batch->items;
    mim_position_t position = root->position;
    uint32_t events = a->events;
    uint32_t set = (uint32_t)((1ull << end) - (1ull << first));
    set = batch->alike[MIM_KIND_ORDERED] != 0 ? set : apply_by_type(a, batch, set);
    while ((set = apply_plain(a, items, set)) != 0) {
        uint32_t n = (uint32_t)__builtin_ctz(set);
        a->events = events + (n - first);
        root->position = position + (n - first);
        int rc = apply_event(a, &items[n], NULL, reterr);
        if (rc != 0) {
            return rc;
        }
        set &= set - 1;
    }
    a->events = events + (end - first);
    root->position = position + (end - first);
    for (uint32_t n = end; n-- > first;) { /* the newest transaction's end tells the time */
        if ((mim_get16(items[n].at + 6) & MIM_FLAG_TX_LAST) != 0) {
            root->time_ms = a->frame->header.base_time_ms + mim_get16(items[n].at + 34);
            break;
        }
    }
    return 0;
}

/** Records without a position: definitions, keys without events, digests. */
static int apply_special(struct applying *a, const uint8_t *at, struct mim_error *reterr) {
    struct mim_record decoded;
    const struct mim_record *record = &decoded;
    if (mim_record_decode(at, a->size - apply_offset(a, at), &decoded) == 0) {
        return apply_damaged(a, at, "malformed record", reterr);
    }
    switch (record->type) {
    case MIM_RECORD_DEFINE: {
        int rc = mim_catalog_apply(a->engine, record->payload, true, reterr);
        return rc == 0 ? 0
                       : mim_error_prefix(reterr, "definition at LSN %llu",
                                          (unsigned long long)(a->frame->lsn + apply_offset(a, at)));
    }
    case MIM_RECORD_KEY: {
        if ((record->flags & MIM_PART_KEY) == 0 || record->payload.size != 16) {
            return apply_damaged(a, at, "malformed key record", reterr);
        }
        int rc = apply_key_begin(a, at, reterr);
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
        return apply_damaged(a, at, "unknown record type", reterr);
    }
}

/** Where the plain events that begin at items[n] end; n: none, or there is more to do with events than to apply them. */
static uint32_t stretch_end(const struct applying *a, const struct apply_batch *batch, uint32_t n) {
    const struct mim_engine *engine = a->engine;
    if (engine->unreadable || engine->scan != NULL || engine->observer != NULL || a->key.data != NULL) {
        return n;
    }
    while (n < batch->count && batch->items[n].bound != NULL) {
        n++;
    }
    return n;
}

static int apply_batch(struct applying *a, const struct apply_batch *batch, struct mim_error *reterr) {
    look_again(a, batch);
    for (uint32_t n = 0; n < batch->count;) {
        const struct apply_seen *seen = &batch->items[n];
        uint32_t end = seen->bound != NULL ? stretch_end(a, batch, n) : n;
        int rc;
        if (end > n) {
            rc = apply_stretch(a, batch, n, end, reterr);
            n = end;
        } else {
            bool event = mim_get16(seen->at + 4) <= MIM_RECORD_EVENT_MAX;
            rc = event ? apply_event(a, seen, &batch->fresh[n], reterr) : apply_special(a, seen->at, reterr);
            n++;
        }
        if (rc != 0) {
            return rc;
        }
        if (MIM_UNLIKELY(a->engine->out_of_memory)) {
            return mim_error_set(reterr, MIM_E_MEMORY, "no memory for the image at position %llu",
                                 (unsigned long long)a->engine->root->position);
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
    if (a->frame->records == NULL && a->ahead.offset < a->size) {
        return apply_damaged(a, a->bytes + a->ahead.offset, "malformed record", reterr);
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
        applying.ahead = MIM_WALKED_NONE;
        applying.places_ahead = 0;
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
