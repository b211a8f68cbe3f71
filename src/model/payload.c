// SPDX-License-Identifier: MIT
// Structs to journal payloads and back: packed little-endian fields in descriptor order, defaults at the end left out.
// The format stands in codec.h. Decoding trusts nothing and allocates nothing.
#include "model/field.h"

#define MIM_ABSENT UINT32_MAX

/** True when the field has the value that a decoder would fill in for a missing one. */
static bool field_is_default(const struct mim_field *field, const void *at) {
    if ((field->flags & MIM_LIST) != 0) {
        return ((const struct mim_list *)at)->count == 0;
    }
    switch (field->type) {
    case MIM_BOOL:
        return !*(const bool *)at;
    case MIM_I32:
        return *(const int32_t *)at == (int32_t)field->fallback;
    case MIM_I64:
    case MIM_TIMESTAMP:
        return *(const int64_t *)at == field->fallback;
    case MIM_U64:
        return *(const uint64_t *)at == (uint64_t)field->fallback;
    case MIM_F64:
        return mim_get64(at) == 0;
    default:
        return ((const struct mim_string *)at)->data == NULL;
    }
}

/** Fields that are stored: up to the last one without its default. */
static uint32_t stored_count(const struct mim_field *fields, uint32_t count, const void *object) {
    while (count > 0 && field_is_default(&fields[count - 1], mim_field_at_const(&fields[count - 1], object))) {
        count--;
    }
    return count;
}

static uint8_t *put_string(uint8_t *to, const struct mim_string *string) {
    if (string->data == NULL) {
        mim_put32(to, MIM_ABSENT);
        return to + 4;
    }
    mim_put32(to, (uint32_t)string->size);
    memcpy(to + 4, string->data, string->size);
    return to + 4 + string->size;
}

static uint8_t *put_list(uint8_t *to, const struct mim_field *field, const struct mim_list *list) {
    mim_put32(to, (uint32_t)list->count);
    to += 4;
    if (field->type != MIM_STRING && field->type != MIM_BYTES) {
        size_t size = list->count * mim_field_scalar_size(field->type);
        if (size > 0) {
            memcpy(to, list->items, size);
        }
        return to + size;
    }
    const struct mim_string *items = list->items;
    for (size_t i = 0; i < list->count; i++) {
        to = put_string(to, &items[i]);
    }
    return to;
}

size_t mim_payload_encode(const struct mim_field *fields, uint32_t field_count, const void *object,
                          uint8_t *ret_bytes) {
    uint8_t *to = ret_bytes;
    uint32_t stored = stored_count(fields, field_count, object);
    for (uint32_t i = 0; i < stored; i++) {
        const void *at = mim_field_at_const(&fields[i], object);
        if ((fields[i].flags & MIM_LIST) != 0) {
            to = put_list(to, &fields[i], at);
        } else if (fields[i].type == MIM_STRING || fields[i].type == MIM_BYTES) {
            to = put_string(to, at);
        } else {
            size_t size = mim_field_scalar_size(fields[i].type);
            memcpy(to, at, size);
            to += size;
        }
    }
    return (size_t)(to - ret_bytes);
}

void mim_field_fill_default(const struct mim_field *field, void *at) {
    if ((field->flags & MIM_LIST) != 0) {
        *(struct mim_list *)at = (struct mim_list){0};
        return;
    }
    switch (field->type) {
    case MIM_BOOL:
        *(bool *)at = false;
        break;
    case MIM_I32:
        *(int32_t *)at = (int32_t)field->fallback;
        break;
    case MIM_I64:
    case MIM_TIMESTAMP:
    case MIM_U64:
        *(int64_t *)at = field->fallback;
        break;
    case MIM_F64:
        *(double *)at = 0;
        break;
    default:
        *(struct mim_string *)at = (struct mim_string){0};
        break;
    }
}

static bool get_string(struct mim_byte_reader *reader, struct mim_string *ret_string) {
    uint32_t size = mim_read32(reader);
    if (size == MIM_ABSENT) {
        *ret_string = (struct mim_string){0};
        return !reader->overflow;
    }
    const uint8_t *data = mim_read_bytes(reader, size);
    *ret_string = (struct mim_string){.data = (const char *)data, .size = size};
    return data != NULL;
}

static bool get_list(struct mim_byte_reader *reader, const struct mim_field *field, struct mim_list *ret_list,
                     struct mim_byte_writer *scratch) {
    uint32_t count = mim_read32(reader);
    bool strings = field->type == MIM_STRING || field->type == MIM_BYTES;
    size_t least = strings ? 4 : mim_field_scalar_size(field->type);
    if (reader->overflow || count > (reader->size - reader->offset) / least) {
        return false;
    }
    size_t item = strings ? sizeof(struct mim_string) : least;
    void *items = mim_scratch_take(scratch, count * item);
    if (items == NULL) {
        return false;
    }
    *ret_list = (struct mim_list){.items = items, .count = count};
    if (!strings) {
        const uint8_t *data = mim_read_bytes(reader, count * item);
        if (data == NULL) {
            return false;
        }
        for (uint32_t i = 0; field->type == MIM_BOOL && i < count; i++) {
            if (data[i] > 1) {
                return false; /* no bool has such a value */
            }
        }
        if (count > 0) {
            memcpy(items, data, count * item);
        }
        return true;
    }
    struct mim_string *string = items;
    for (uint32_t i = 0; i < count; i++) {
        if (!get_string(reader, &string[i])) {
            return false;
        }
    }
    return true;
}

/** A field that is no list, at `at` of `left` bytes; returns what it takes, 0 when it is malformed. */
static inline size_t get_scalar(const uint8_t *data, size_t left, enum mim_field_type type, void *at) {
    switch (type) {
    case MIM_BOOL:
        if (*data > 1) {
            return 0;
        }
        *(bool *)at = *data != 0;
        return 1;
    case MIM_I32:
        if (left < 4) {
            return 0;
        }
        memcpy(at, data, 4);
        return 4;
    case MIM_STRING:
    case MIM_BYTES: {
        uint32_t size = left < 4 ? 0 : mim_get32(data);
        if (left < 4 || (size > left - 4 && size != MIM_ABSENT)) {
            return 0;
        }
        bool absent = size == MIM_ABSENT;
        *(struct mim_string *)at =
            absent ? (struct mim_string){0} : (struct mim_string){.data = (const char *)data + 4, .size = size};
        return absent ? 4 : 4 + (size_t)size;
    }
    default:
        if (left < 8) {
            return 0;
        }
        memcpy(at, data, 8);
        return 8;
    }
}

/** As get_scalar. */
__attribute__((noinline)) static size_t get_list_field(const uint8_t *data, size_t left, const struct mim_field *field,
                                                       void *at, struct mim_byte_writer *scratch) {
    struct mim_byte_reader reader = {.data = data, .size = left};
    return get_list(&reader, field, at, scratch) ? reader.offset : 0;
}

bool mim_payload_decode(const struct mim_field *fields, uint32_t field_count, struct mim_slice payload, void *object,
                        struct mim_byte_writer *scratch) {
    const uint8_t *data = payload.data;
    size_t left = payload.size;
    for (uint32_t i = 0; i < field_count; i++) {
        const struct mim_field *field = &fields[i];
        void *at = mim_field_at(field, object);
        if (left == 0) {
            mim_field_fill_default(field, at);
            continue;
        }
        size_t size = MIM_LIKELY((field->flags & MIM_LIST) == 0) ? get_scalar(data, left, field->type, at)
                                                                 : get_list_field(data, left, field, at, scratch);
        if (size == 0) {
            return false;
        }
        data += size;
        left -= size;
    }
    return left == 0;
}
