// SPDX-License-Identifier: MIT
// One accepted command: room in the journal is taken first, then every event is encoded into the open frame and
// applied to the image. After the room is there nothing can fail.
#include <stdio.h>

#include "engine/internal.h"

#define MIM_AUDIENCE_ENTRIES_MAX 64u
#define MIM_AUDIENCE_SIZE_MAX    4096u

static struct mim_slice event_id(const struct mim_decision *decision, const struct mim_pending_event *event) {
    return event->id.data == NULL ? decision->request->id : mim_slice_of(event->id.data, event->id.size);
}

static size_t part_bound(struct mim_slice part) { return part.size == 0 ? 0 : 8 + part.size; }

static size_t options_bound(const struct mim_request *request) {
    return part_bound(request->key) + part_bound(request->correlation) + part_bound(request->causation) +
           part_bound(request->actor);
}

/** An upper bound of what the transaction takes in the journal: what stands in an event's struct takes no more in its
 *  payload, and `borrowed` is what its fields borrow. */
static size_t transaction_bound(const struct mim_engine *engine, const struct mim_decision *decision, size_t borrowed) {
    size_t size = 8 + part_bound(mim_slice_of(NULL, engine->command_json.size)) + borrowed;
    size += mim_request_has_options(decision->request) ? options_bound(decision->request) : 0;
    for (uint32_t i = 0; i < decision->count; i++) {
        const struct mim_pending_event *event = &decision->events[i];
        const struct mim_event_type *type = event->event->type;
        size += (size_t)mim_align8(MIM_RECORD_HEADER_SIZE + type->size);
        size += 16 + 4 + event_id(decision, event).size + 4 + sizeof(mim_lsn_t) * MIM_SKIP_LEVELS;
        size += type->audience == NULL ? 0 : 4 + MIM_AUDIENCE_SIZE_MAX;
    }
    return size;
}

static int transaction_define(struct mim_engine *engine, struct mim_decision *decision) {
    struct mim_appender *appender = decision->appender;
    int rc = mim_catalog_ensure_command(engine, appender, decision->command, decision->time_ms);
    for (uint32_t i = 0; rc == 0 && i < decision->count; i++) {
        rc = mim_catalog_ensure(engine, appender, decision->events[i].event, decision->time_ms);
    }
    return rc;
}

static void outcome_of_refusal(int rc, struct mim_outcome *outcome) {
    if (rc == MIM_E_AGAIN) {
        outcome->kind = MIM_OUTCOME_AGAIN;
    } else if (rc == MIM_E_NO_SPACE) {
        outcome->kind = MIM_OUTCOME_READONLY;
        (void)snprintf(outcome->text, sizeof(outcome->text),
                       "the disk is full: commands are refused until there is room, queries go on");
    } else {
        outcome->kind = MIM_OUTCOME_ERR;
        (void)snprintf(outcome->text, sizeof(outcome->text), "the command's transaction is too large");
    }
}

/** A KEY part: what the key's repetition will answer, and the key. */
struct key_part {
    uint8_t bytes[4 + MIM_KEY_SIZE_MAX];
};

static struct mim_slice key_part_encode(struct key_part *part, mim_version_t version, struct mim_slice key) {
    mim_put32(part->bytes, version);
    memcpy(part->bytes + 4, key.data, key.size);
    return mim_slice_of(part->bytes, 4 + key.size);
}

/** The command's aggregate's version after the transaction. */
static mim_version_t version_after(const struct mim_decision *decision) {
    mim_version_t version = decision->slot == NULL ? 0 : decision->slot->version;
    for (uint32_t i = 0; i < decision->count; i++) {
        version += decision->events[i].id.data == NULL ? 1 : 0;
    }
    return version;
}

static void parts_of_options(const struct mim_decision *decision, struct key_part *key,
                             struct mim_record_parts *parts) {
    const struct mim_request *request = decision->request;
    if (request->key.data != NULL) {
        parts->flags |= MIM_PART_KEY;
        parts->part[2] = key_part_encode(key, version_after(decision), request->key);
    }
    static const uint16_t flags[] = {MIM_PART_CORR, MIM_PART_CAUSE, MIM_PART_ACTOR};
    const struct mim_slice values[] = {request->correlation, request->causation, request->actor};
    for (unsigned i = 0; i < MIM_COUNT_OF(flags); i++) {
        if (values[i].data != NULL) {
            parts->flags |= flags[i];
            parts->part[3 + i] = values[i];
        }
    }
}

/** The parts that a transaction's first record carries for all of it. */
static inline void parts_of_request(const struct mim_engine *engine, const struct mim_decision *decision,
                                    struct key_part *key, struct mim_record_parts *parts) {
    if (MIM_UNLIKELY(mim_request_has_options(decision->request))) {
        parts_of_options(decision, key, parts);
    }
    if (engine->keep_commands) {
        parts->flags |= MIM_PART_COMMAND;
        parts->part[7] = mim_slice_of(engine->command_json.data, engine->command_json.size);
    }
}

/** SKIP part of the version a slot is about to reach; 0 bytes when it has none. */
static size_t skip_part(const struct mim_engine *engine, const struct mim_slot *slot,
                        mim_lsn_t ret_lsns[MIM_SKIP_LEVELS]) {
    uint64_t version = (uint64_t)slot->version + 1;
    uint64_t step = MIM_SKIP_BASE;
    size_t count = 0;
    const struct mim_skip_node *node =
        slot->skip == 0 ? NULL : mim_slots_at(&engine->arena, &engine->root->skips, slot->skip - 1u);
    while (count < MIM_SKIP_LEVELS && version % step == 0) {
        ret_lsns[count] = node == NULL ? 0 : node->lsn[count];
        count++;
        step *= MIM_SKIP_BASE;
    }
    return count * sizeof(mim_lsn_t);
}

static size_t audience_part(const struct mim_event_type *type, const void *state, const void *data,
                            uint8_t *ret_bytes) {
    struct mim_string entries[MIM_AUDIENCE_ENTRIES_MAX];
    size_t count = type->audience(state, data, entries, MIM_AUDIENCE_ENTRIES_MAX);
    struct mim_byte_writer writer = {.data = ret_bytes, .capacity = MIM_AUDIENCE_SIZE_MAX};
    for (size_t i = 0; i < count && i < MIM_AUDIENCE_ENTRIES_MAX; i++) {
        if (entries[i].size > UINT16_MAX || writer.capacity - writer.size < 2 + entries[i].size) {
            break;
        }
        (void)mim_write16(&writer, (uint16_t)entries[i].size);
        (void)mim_write_bytes(&writer, entries[i].data, entries[i].size);
    }
    return writer.size;
}

/** Where one event goes. */
struct placing {
    uint8_t *at;
    uint32_t tx_offset;
    uint32_t index; /* within the transaction */
};

static struct mim_slot *event_slot(struct mim_engine *engine, struct mim_decision *decision,
                                   const struct mim_pending_event *event, struct mim_slice id, mim_stream_t *ret_stream,
                                   bool *ret_created) {
    bool own = event->id.data == NULL;
    if (own && decision->slot != NULL) {
        *ret_stream = decision->stream;
        return decision->slot;
    }
    uint32_t hash = own ? decision->id_hash : mim_engine_id_hash(engine, id);
    struct mim_slot *slot = mim_engine_find(engine, event->event->aggregate, id, hash, ret_stream);
    if (slot == NULL) {
        slot = mim_engine_create(engine, event->event->aggregate, id, hash, ret_stream);
        MIM_ASSERT(slot != NULL); /* headroom was there */
        *ret_created = true;
    }
    if (own) {
        decision->slot = slot;
        decision->stream = *ret_stream;
    }
    return slot;
}

static size_t transaction_place(struct mim_engine *engine, struct mim_decision *decision,
                                const struct placing *placing) {
    struct mim_appender *appender = decision->appender;
    const struct mim_pending_event *event = &decision->events[placing->index];
    const struct mim_event_type *type = event->event->type;
    struct mim_slice id = event_id(decision, event);
    struct mim_record_parts parts; /* those whose flag is set */
    parts.flags = 0;
    struct key_part key;
    bool created = false;
    mim_stream_t stream;
    struct mim_slot *slot = event_slot(engine, decision, event, id, &stream, &created);
    if (created) {
        parts.flags |= MIM_PART_ID;
        parts.part[0] = id;
    }
    if (MIM_UNLIKELY(engine->scan != NULL) && !created) {
        mim_engine_scan_before(engine, event->event->aggregate, stream, slot);
    }
    mim_lsn_t skips[MIM_SKIP_LEVELS];
    if (MIM_UNLIKELY((slot->version + 1u) % MIM_SKIP_BASE == 0)) {
        parts.flags |= MIM_PART_SKIP;
        parts.part[1] = mim_slice_of(skips, skip_part(engine, slot, skips));
    }
    if (placing->index == 0) {
        parts_of_request(engine, decision, &key, &parts);
    }
    size_t encoded =
        mim_payload_encode(type->fields, type->field_count, event->data, placing->at + MIM_RECORD_HEADER_SIZE);
    uint32_t frame_offset = appender->frame_size + placing->tx_offset;
    struct mim_record record = {
        .type = engine->event_numbers[event->event->index],
        .flags = (uint16_t)((placing->index == 0 ? MIM_FLAG_TX_FIRST : 0) |
                            (placing->index + 1 == decision->count ? MIM_FLAG_TX_LAST : 0)),
        .stream = stream,
        .version = slot->version + 1,
        .previous_lsn = slot->last_lsn,
        .frame_offset = frame_offset,
        .tx_offset = placing->tx_offset,
        .index = (uint16_t)(appender->frame_events + placing->index),
        .time_delta_ms = (uint16_t)(decision->time_ms - appender->frame_time_ms),
        .command = engine->command_numbers[decision->command->index],
    };
    bool advanced = mim_engine_advance(engine, slot, appender->frame_lsn + frame_offset);
    MIM_ASSERT(advanced);
    engine->root->position++;
    mim_engine_evolve(engine, event->event, slot, stream, engine->root->position, decision->time_ms, event->data);
    uint8_t audience[MIM_AUDIENCE_SIZE_MAX];
    if (type->audience != NULL) {
        parts.flags |= MIM_PART_AUDIENCE;
        parts.part[6] = mim_slice_of(audience, audience_part(type, mim_slot_state(slot), event->data, audience));
    }
    return mim_record_finish(placing->at, &record, encoded, &parts);
}

/** An accepted command with a key that emitted nothing: only the key is journaled. */
static int transaction_key_only(struct mim_engine *engine, struct mim_decision *decision,
                                const struct mim_outcome *outcome) {
    struct mim_appender *appender = decision->appender;
    struct mim_record_parts parts = {.flags = MIM_PART_KEY};
    struct key_part key;
    parts.part[2] = key_part_encode(&key, outcome->version, decision->request->key);
    size_t size = mim_record_size(16, &parts);
    uint8_t *at;
    int rc = mim_appender_reserve(appender, size, 0, decision->time_ms, &at);
    if (rc != 0) {
        return rc;
    }
    uint8_t *payload = at + MIM_RECORD_HEADER_SIZE;
    mim_put64(payload, outcome->position);
    mim_put64(payload + 8, outcome->version);
    struct mim_record record = {
        .type = MIM_RECORD_KEY,
        .flags = MIM_FLAG_TX_FIRST | MIM_FLAG_TX_LAST,
        .frame_offset = appender->frame_size,
        .time_delta_ms = (uint16_t)(decision->time_ms - appender->frame_time_ms),
    };
    (void)mim_record_finish(at, &record, 16, &parts);
    mim_appender_commit(appender, size, 0);
    engine->last_gate = appender->frame_lsn + 1;
    bool remembered = mim_keys_remember(engine, decision->request->key, outcome->version, outcome->position);
    MIM_ASSERT(remembered);
    return 0;
}

static void transaction_empty(struct mim_engine *engine, struct mim_decision *decision, struct mim_outcome *outcome) {
    outcome->kind = MIM_OUTCOME_DONE;
    outcome->version = decision->slot == NULL ? 0 : decision->slot->version;
    outcome->position = engine->root->position;
    if (decision->request->key.data != NULL) {
        int rc = transaction_key_only(engine, decision, outcome);
        if (rc != 0) {
            outcome_of_refusal(rc, outcome);
            return;
        }
    }
    engine->stats.commands_done++;
    outcome->gate = mim_engine_gate_all(engine, decision->appender);
}

/** Encodes and applies all events at the reserved place; returns the bytes used. */
static size_t transaction_events(struct mim_engine *engine, struct mim_decision *decision, uint8_t *at) {
    size_t used = 0;
    for (uint32_t i = 0; i < decision->count; i++) {
        struct placing placing = {.at = at + used, .tx_offset = (uint32_t)used, .index = i};
        used += transaction_place(engine, decision, &placing);
    }
    return used;
}

void mim_transaction_run(struct mim_engine *engine, struct mim_decision *decision, struct mim_outcome *ret_outcome) {
    struct mim_appender *appender = decision->appender;
    if (decision->count == 0) {
        transaction_empty(engine, decision, ret_outcome);
        return;
    }
    if (engine->keep_commands) {
        engine->command_json.size = 0;
        struct mim_json json = mim_json_to(&engine->command_json);
        const struct mim_command_type *type = decision->command->type;
        mim_json_struct(&json, type->fields, type->field_count, engine->command_struct);
    }
    uint8_t *at;
    size_t borrowed = 0;
    int rc = mim_transaction_own(engine, decision, &borrowed) ? 0 : MIM_E_LIMIT;
    size_t bound = rc != 0 ? 0 : transaction_bound(engine, decision, borrowed);
    rc = rc != 0 ? rc : transaction_define(engine, decision);
    if (rc == 0) {
        rc = mim_appender_reserve(appender, bound, decision->count, decision->time_ms, &at);
    }
    if (MIM_UNLIKELY(rc != 0)) {
        outcome_of_refusal(rc, ret_outcome);
        return;
    }
    size_t used = transaction_events(engine, decision, at);
    MIM_ASSERT(used <= bound);
    MIM_ASSERT(!engine->out_of_memory);
    mim_appender_commit(appender, used, decision->count);
    engine->root->time_ms = decision->time_ms;
    engine->last_gate = appender->frame_lsn + 1;
    engine->stats.commands_done++;
    ret_outcome->kind = MIM_OUTCOME_DONE;
    ret_outcome->version = decision->slot != NULL ? decision->slot->version : 0;
    ret_outcome->position = engine->root->position;
    ret_outcome->gate = engine->last_gate;
    if (decision->request->key.data != NULL) {
        bool remembered =
            mim_keys_remember(engine, decision->request->key, ret_outcome->version, ret_outcome->position);
        MIM_ASSERT(remembered);
    }
}
