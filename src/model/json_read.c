// SPDX-License-Identifier: MIT
// JSON objects to command structs: jansson parses, the descriptors decide. Strings are copied to the scratch.
#include <jansson.h>

#include "base/clock.h"
#include "model/field.h"

static bool string_from_json(const struct mim_field *field, const json_t *json, struct mim_string *ret_string,
                             struct mim_byte_writer *scratch) {
    if (!json_is_string(json)) {
        return false;
    }
    size_t size = json_string_length(json);
    uint8_t *copy = mim_scratch_take(scratch, size + 1);
    if (copy == NULL) {
        return false;
    }
    const char *text = json_string_value(json);
    if (field->type == MIM_BYTES) {
        if (!mim_base64_decode(mim_slice_of(text, size), copy, &size)) {
            return false;
        }
    } else {
        memcpy(copy, text, size);
    }
    *ret_string = (struct mim_string){.data = (const char *)copy, .size = size};
    return true;
}

static bool time_from_json(const json_t *json, int64_t *ret_ms) {
    if (json_is_integer(json)) {
        *ret_ms = json_integer_value(json);
        return true;
    }
    return json_is_string(json) && mim_rfc3339_parse(json_string_value(json), json_string_length(json), ret_ms) == 0;
}

static bool integer_from_json(const json_t *json, int64_t min, int64_t max, int64_t *ret_value) {
    if (!json_is_integer(json) || json_integer_value(json) < min || json_integer_value(json) > max) {
        return false;
    }
    *ret_value = json_integer_value(json);
    return true;
}

static bool value_from_json(const struct mim_field *field, const json_t *json, void *at,
                            struct mim_byte_writer *scratch) {
    int64_t wide;
    switch (field->type) {
    case MIM_BOOL:
        *(bool *)at = json_is_true(json);
        return json_is_boolean(json);
    case MIM_I32:
        if (!integer_from_json(json, INT32_MIN, INT32_MAX, &wide)) {
            return false;
        }
        *(int32_t *)at = (int32_t)wide;
        return true;
    case MIM_I64:
        return integer_from_json(json, INT64_MIN, INT64_MAX, at);
    case MIM_U64: /* JSON integers beyond i64 are refused by the parser; RESP fields have the full range */
        return integer_from_json(json, 0, INT64_MAX, at);
    case MIM_F64:
        *(double *)at = json_number_value(json);
        return json_is_number(json);
    case MIM_TIMESTAMP:
        return time_from_json(json, at);
    default:
        return string_from_json(field, json, at, scratch);
    }
}

static int list_from_json(const struct mim_field *field, const json_t *json, void *at, struct mim_byte_writer *scratch,
                          struct mim_error *reterr) {
    if (!json_is_array(json)) {
        return mim_field_expected(field, reterr);
    }
    bool strings = field->type == MIM_STRING || field->type == MIM_BYTES;
    size_t item = strings ? sizeof(struct mim_string) : mim_field_scalar_size(field->type);
    size_t count = json_array_size(json);
    uint8_t *items = mim_scratch_take(scratch, count * item);
    if (items == NULL) {
        return mim_error_set(reterr, MIM_E_INVALID, "%s: too many items", field->name);
    }
    *(struct mim_list *)at = (struct mim_list){.items = items, .count = count};
    for (size_t i = 0; i < count; i++) {
        if (!value_from_json(field, json_array_get(json, i), items + i * item, scratch)) {
            return mim_field_expected(field, reterr);
        }
        int rc = mim_field_check(field, items + i * item, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int mim_field_list_from_json(const struct mim_field *field, struct mim_slice json, void *at,
                             struct mim_byte_writer *scratch, struct mim_error *reterr) {
    json_error_t why;
    json_t *root = json_loadb((const char *)json.data, json.size, 0, &why);
    if (root == NULL) {
        return mim_field_expected(field, reterr);
    }
    int rc = list_from_json(field, root, at, scratch, reterr);
    json_decref(root);
    return rc;
}

static int field_from_json(const struct mim_field *field, const json_t *json, void *command,
                           struct mim_byte_writer *scratch, struct mim_error *reterr) {
    void *at = mim_field_at(field, command);
    if ((field->flags & MIM_LIST) != 0) {
        return list_from_json(field, json, at, scratch, reterr);
    }
    return value_from_json(field, json, at, scratch) ? mim_field_check(field, at, reterr)
                                                     : mim_field_expected(field, reterr);
}

static int object_read(const struct mim_command_type *type, json_t *root, void *command,
                       struct mim_byte_writer *scratch, struct mim_error *reterr) {
    uint64_t given = 0;
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        uint32_t n = mim_field_find(type->fields, type->field_count, mim_slice_text(key));
        if (n == type->field_count) {
            return mim_error_set(reterr, MIM_E_INVALID, "%.64s: is not a field of %s", key, type->name);
        }
        if (json_is_null(value) && (type->fields[n].flags & MIM_OPTIONAL) != 0) {
            continue; /* null is the JSON way to leave an optional field out */
        }
        int rc = field_from_json(&type->fields[n], value, command, scratch, reterr);
        if (rc != 0) {
            return rc;
        }
        given |= (uint64_t)1 << n;
    }
    return mim_fields_complete(type, given, command, reterr);
}

int mim_command_from_json(const struct mim_command_type *type, struct mim_slice json, void *command,
                          struct mim_byte_writer *scratch, struct mim_error *reterr) {
    json_error_t why;
    memset(command, 0, type->size);
    json_t *root = json_loadb((const char *)json.data, json.size, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL) {
        return mim_error_set(reterr, MIM_E_INVALID, "malformed JSON at byte %d: %s", why.position, why.text);
    }
    int rc = json_is_object(root) ? object_read(type, root, command, scratch, reterr)
                                  : mim_error_set(reterr, MIM_E_INVALID, "the fields must be a JSON object");
    json_decref(root);
    return rc;
}
