// SPDX-License-Identifier: MIT
// Writing JSON: compact, in document order, into a growing buffer. Hot for GET, so digits and escapes are done by hand.
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/words.h"
#include "model/field.h"

/** Comma or nothing before the next value or key. */
static void separate(struct mim_json *j) {
    if (j->after_key) {
        j->after_key = false;
        return;
    }
    uint32_t bit = 1u << (j->depth % 32u);
    if ((j->need_comma & bit) != 0) {
        mim_buffer_byte(j->out, ',');
    }
    j->need_comma |= bit;
}

static void nest(struct mim_json *j, char opening) {
    separate(j);
    MIM_ASSERT(j->depth + 1 < MIM_JSON_DEPTH_MAX);
    j->depth++;
    j->need_comma &= ~(1u << j->depth);
    mim_buffer_byte(j->out, opening);
}

static void unnest(struct mim_json *j, char closing) {
    MIM_ASSERT(j->depth > 0 && !j->after_key);
    j->depth--;
    mim_buffer_byte(j->out, closing);
}

void mim_json_object(struct mim_json *j) { nest(j, '{'); }
void mim_json_object_end(struct mim_json *j) { unnest(j, '}'); }
void mim_json_array(struct mim_json *j) { nest(j, '['); }
void mim_json_array_end(struct mim_json *j) { unnest(j, ']'); }

static bool plain(uint8_t c) { return c >= 0x20 && c != '"' && c != '\\'; }

/** Not zero when one of eight bytes is not plain. */
static uint64_t escapes_among(uint64_t bytes) {
    return mim_bytes_below(bytes, 0x20) | mim_bytes_equal(bytes, '"') | mim_bytes_equal(bytes, '\\');
}

/** How many bytes go as they are. */
static size_t plain_run(const uint8_t *bytes, size_t size) {
    size_t i = 0;
    while (size - i >= 8 && escapes_among(mim_get64(bytes + i)) == 0) {
        i += 8;
    }
    while (i < size && plain(bytes[i])) {
        i++;
    }
    return i;
}

static void escape(struct mim_buffer *out, uint8_t c) {
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    switch (c) {
    case '"':
    case '\\':
        text[1] = (char)c;
        mim_buffer_append(out, text, 2);
        return;
    case '\n':
        mim_buffer_append(out, "\\n", 2);
        return;
    case '\t':
        mim_buffer_append(out, "\\t", 2);
        return;
    case '\r':
        mim_buffer_append(out, "\\r", 2);
        return;
    default:
        mim_buffer_append(out, text, sizeof(text));
    }
}

static void put_string(struct mim_buffer *out, const char *data, size_t size) {
    const uint8_t *bytes = (const uint8_t *)data;
    mim_buffer_reserve(out, size + 3); /* with the colon of a key */
    mim_buffer_byte(out, '"');
    for (size_t from = 0; from < size; from++) { /* an absent string has no bytes to point at */
        size_t run = plain_run(bytes + from, size - from);
        mim_buffer_append(out, bytes + from, run);
        from += run;
        if (from < size) {
            escape(out, bytes[from]);
        }
    }
    mim_buffer_byte(out, '"');
}

void mim_json_key_string(struct mim_json *j, struct mim_string key) {
    separate(j);
    put_string(j->out, key.data, key.size);
    mim_buffer_byte(j->out, ':');
    j->after_key = true;
}

void mim_json_name(struct mim_json *j, const char *name) {
    struct mim_string text = mim_string_of(name);
    separate(j);
    mim_buffer_reserve(j->out, text.size + 3);
    uint8_t *at = j->out->data + j->out->size;
    at[0] = '"';
    memcpy(at + 1, text.data, text.size);
    at[text.size + 1] = '"';
    at[text.size + 2] = ':';
    j->out->size += text.size + 3;
    j->after_key = true;
}

void mim_json_key(struct mim_json *j, const char *key) { mim_json_key_string(j, mim_string_of(key)); }

void mim_json_u64(struct mim_json *j, uint64_t value) {
    separate(j);
    mim_buffer_reserve(j->out, MIM_DIGITS_MAX);
    j->out->size += mim_digits(value, (char *)j->out->data + j->out->size);
}

void mim_json_i64(struct mim_json *j, int64_t value) {
    if (value >= 0) {
        mim_json_u64(j, (uint64_t)value);
        return;
    }
    separate(j);
    mim_buffer_byte(j->out, '-');
    j->after_key = true; /* no comma between sign and digits */
    mim_json_u64(j, 0u - (uint64_t)value);
}

void mim_json_f64(struct mim_json *j, double value) {
    char text[40];
    if (!isfinite(value)) {
        mim_json_null(j); /* JSON has no infinities */
        return;
    }
    if (value == 0 && signbit(value)) { /* "-0" would be read as an integer, which has no sign there */
        separate(j);
        mim_buffer_text(j->out, "-0.0");
        return;
    }
    int size = snprintf(text, sizeof(text), "%.17g", value);
    for (int precision = 1; precision < 17; precision++) { /* the shortest that reads back the same */
        char shorter[40];
        int n = snprintf(shorter, sizeof(shorter), "%.*g", precision, value);
        double back = 0;
        if (sscanf(shorter, "%lf", &back) == 1 &&
            mim_get64((const uint8_t *)&back) == mim_get64((const uint8_t *)&value)) {
            memcpy(text, shorter, (size_t)n);
            size = n;
            break;
        }
    }
    separate(j);
    mim_buffer_append(j->out, text, (size_t)size);
}

void mim_json_bool(struct mim_json *j, bool value) {
    separate(j);
    mim_buffer_text(j->out, value ? "true" : "false");
}

void mim_json_null(struct mim_json *j) {
    separate(j);
    mim_buffer_text(j->out, "null");
}

void mim_json_string(struct mim_json *j, struct mim_string value) {
    separate(j);
    put_string(j->out, value.data, value.size);
}

void mim_json_raw(struct mim_json *j, struct mim_slice json) {
    separate(j);
    mim_buffer_append(j->out, json.data, json.size);
}

/* ------------------------------------------------- structs and payloads */

void mim_json_time(struct mim_json *j, int64_t unix_ms) {
    char text[MIM_RFC3339_SIZE + 1];
    mim_rfc3339_format(unix_ms, text);
    mim_json_string(j, mim_string_of(text));
}

void mim_json_bytes(struct mim_json *j, struct mim_slice bytes) {
    separate(j);
    size_t size = mim_base64_size(bytes.size);
    mim_buffer_byte(j->out, '"');
    mim_buffer_reserve(j->out, size);
    mim_base64_encode(bytes, (char *)j->out->data + j->out->size);
    j->out->size += size;
    mim_buffer_byte(j->out, '"');
}

static void value_write(struct mim_json *j, enum mim_field_type type, const void *at) {
    switch (type) {
    case MIM_BOOL:
        mim_json_bool(j, *(const bool *)at);
        break;
    case MIM_I32:
        mim_json_i64(j, *(const int32_t *)at);
        break;
    case MIM_I64:
        mim_json_i64(j, *(const int64_t *)at);
        break;
    case MIM_U64:
        mim_json_u64(j, *(const uint64_t *)at);
        break;
    case MIM_F64:
        mim_json_f64(j, *(const double *)at);
        break;
    case MIM_TIMESTAMP:
        mim_json_time(j, *(const int64_t *)at);
        break;
    case MIM_BYTES: {
        const struct mim_string *bytes = at;
        mim_json_bytes(j, mim_slice_of(bytes->data, bytes->size));
        break;
    }
    default:
        mim_json_string(j, *(const struct mim_string *)at);
        break;
    }
}

static void list_write(struct mim_json *j, enum mim_field_type type, const struct mim_list *list) {
    size_t size = type == MIM_STRING || type == MIM_BYTES ? sizeof(struct mim_string) : mim_field_scalar_size(type);
    mim_json_array(j);
    for (size_t i = 0; i < list->count; i++) {
        value_write(j, type, (const uint8_t *)list->items + i * size);
    }
    mim_json_array_end(j);
}

/** Optional strings that are absent and optional lists that are empty are left out. */
static bool left_out(const struct mim_field *field, const void *at) {
    if ((field->flags & MIM_LIST) != 0) {
        return (field->flags & MIM_OPTIONAL) != 0 && ((const struct mim_list *)at)->count == 0;
    }
    return (field->type == MIM_STRING || field->type == MIM_BYTES) && ((const struct mim_string *)at)->data == NULL;
}

void mim_json_struct(struct mim_json *j, const struct mim_field *fields, uint32_t field_count, const void *object) {
    mim_json_object(j);
    for (uint32_t i = 0; i < field_count; i++) {
        const void *at = mim_field_at_const(&fields[i], object);
        if (left_out(&fields[i], at)) {
            continue;
        }
        mim_json_name(j, fields[i].name);
        if ((fields[i].flags & MIM_LIST) != 0) {
            list_write(j, fields[i].type, at);
        } else {
            value_write(j, fields[i].type, at);
        }
    }
    mim_json_object_end(j);
}

/** One field as a payload has it; room for any type. */
union payload_value {
    uint64_t scalar;
    struct mim_string string;
    struct mim_list list;
};

bool mim_json_payload(struct mim_json *j, const struct mim_definition *definition, struct mim_slice payload) {
    static _Thread_local struct mim_field fields[MIM_FIELDS_MAX];
    static _Thread_local union payload_value values[MIM_FIELDS_MAX];
    static _Thread_local char names[MIM_FIELDS_MAX][MIM_NAME_SIZE_MAX + 1];
    static _Thread_local uint64_t lists[MIM_EVENT_SCRATCH_SIZE / 8];
    for (uint32_t i = 0; i < definition->field_count; i++) {
        const struct mim_definition_field *from = &definition->fields[i];
        if (from->type < MIM_BOOL || from->type > MIM_TIMESTAMP) {
            return false;
        }
        size_t size = from->name.size > MIM_NAME_SIZE_MAX ? MIM_NAME_SIZE_MAX : from->name.size;
        memcpy(names[i], from->name.data, size);
        names[i][size] = '\0';
        fields[i] = (struct mim_field){
            .name = names[i],
            .type = (enum mim_field_type)from->type,
            .offset = (uint32_t)(i * sizeof(union payload_value)),
            .flags = from->flags,
            .fallback = from->fallback,
        };
    }
    struct mim_byte_writer scratch = {.data = (uint8_t *)lists, .capacity = sizeof(lists)};
    if (!mim_payload_decode(fields, definition->field_count, payload, values, &scratch)) {
        return false;
    }
    mim_json_struct(j, fields, definition->field_count, values);
    return true;
}
