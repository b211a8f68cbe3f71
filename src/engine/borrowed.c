// SPDX-License-Identifier: MIT
// decide fills its events with what it read from the image. They are encoded and applied one after the other, and applying
// one may change or free what the next one borrows: so that is copied first. What was given by the command, by
// mim_decision_alloc or by static memory stays where it is.
#include "engine/internal.h"
#include "model/field.h"

static bool in_image(const struct mim_engine *engine, const void *data) {
    return (uintptr_t)data - (uintptr_t)engine->arena.base < engine->arena.capacity;
}

/** Copies `size` bytes that lie in the image to the scratch; false when there is no room. */
static bool own(struct mim_engine *engine, const void **data, size_t size) {
    if (MIM_LIKELY(!in_image(engine, *data))) {
        return true;
    }
    void *copy = mim_engine_scratch(engine, size);
    if (copy != NULL) {
        memcpy(copy, *data, size);
        *data = copy;
    }
    return copy != NULL;
}

static bool own_string(struct mim_engine *engine, struct mim_string *string) {
    const void *data = string->data;
    bool owned = own(engine, &data, string->size);
    string->data = data;
    return owned;
}

/** The items of a list of strings are the model's, perhaps static: changed in a copy only. */
static bool own_strings(struct mim_engine *engine, struct mim_list *list) {
    const struct mim_string *items = list->items;
    size_t first = 0;
    while (first < list->count && !in_image(engine, items[first].data)) {
        first++;
    }
    if (first == list->count) {
        return true;
    }
    struct mim_string *copy =
        list->count > MIM_TX_SCRATCH_SIZE ? NULL : mim_engine_scratch(engine, list->count * sizeof(*copy));
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, items, list->count * sizeof(*copy));
    list->items = copy;
    bool owned = true;
    for (size_t i = first; i < list->count && owned; i++) {
        owned = own_string(engine, &copy[i]);
    }
    return owned;
}

/** Bytes that the items of a list take where a replay decodes them. */
static size_t list_room(const struct mim_field *field, const struct mim_list *list) {
    bool strings = field->type == MIM_STRING || field->type == MIM_BYTES;
    size_t item = strings ? sizeof(struct mim_string) : mim_field_scalar_size(field->type);
    return list->count > MIM_EVENT_SCRATCH_SIZE ? SIZE_MAX / 2 : (size_t)mim_align8(list->count * item);
}

static bool own_list(struct mim_engine *engine, const struct mim_field *field, struct mim_list *list) {
    return field->type == MIM_STRING || field->type == MIM_BYTES ? own_strings(engine, list)
                                                                 : own(engine, &list->items, list_room(field, list));
}

/** Bytes that the items of a list take in a payload. */
static size_t list_bytes(const struct mim_field *field, const struct mim_list *list) {
    const struct mim_string *items = list->items;
    size_t size = 0;
    if (field->type != MIM_STRING && field->type != MIM_BYTES) {
        return list->count * mim_field_scalar_size(field->type);
    }
    for (size_t i = 0; i < list->count; i++) {
        size += 4 + (items[i].data == NULL ? 0 : items[i].size);
    }
    return size;
}

static bool own_event(struct mim_engine *engine, const struct mim_pending_event *event, size_t *borrowed) {
    size_t room = 0;
    for (uint64_t fields = event->event->borrowing; fields != 0; fields &= fields - 1) {
        const struct mim_field *field = &event->event->type->fields[__builtin_ctzll(fields)];
        void *at = mim_field_at(field, event->data);
        if ((field->flags & MIM_LIST) == 0) {
            struct mim_string *string = at;
            if (string->data == NULL) {
                continue;
            }
            *borrowed += string->size;
            if (!own_string(engine, string)) {
                return false;
            }
            continue;
        }
        room += list_room(field, at);
        if (room > MIM_EVENT_SCRATCH_SIZE || !own_list(engine, field, at)) {
            return false; /* what cannot be decoded must not be journaled */
        }
        *borrowed += list_bytes(field, at);
    }
    return true;
}

bool mim_transaction_own(struct mim_engine *engine, struct mim_decision *decision, size_t *ret_borrowed) {
    *ret_borrowed = 0;
    for (uint32_t i = 0; i < decision->count; i++) {
        if (decision->events[i].event->borrowing != 0 && !own_event(engine, &decision->events[i], ret_borrowed)) {
            return false;
        }
    }
    return true;
}
