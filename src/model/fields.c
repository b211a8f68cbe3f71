// SPDX-License-Identifier: MIT
// RESP field/value pairs to command structs, with the sentences of BADARG. No allocation.
#include "model/field.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"

static const char *type_noun(enum mim_field_type type) {
    switch (type) {
    case MIM_BOOL:
        return "true or false";
    case MIM_I32:
    case MIM_I64:
    case MIM_U64:
        return "an integer";
    case MIM_F64:
        return "a finite number";
    case MIM_TIMESTAMP:
        return "a time (RFC 3339 or Unix milliseconds)";
    case MIM_BYTES:
        return "bytes";
    default:
        return "a string of UTF-8";
    }
}

int mim_field_expected(const struct mim_field *field, struct mim_error *reterr) {
    const char *list = (field->flags & MIM_LIST) != 0 ? "a list, each item " : "";
    bool text = field->type == MIM_STRING || field->type == MIM_BYTES;
    bool bounded = field->min != 0 || field->max != 0;
    if ((field->flags & MIM_LETTERS) != 0 && bounded && field->min == field->max) {
        return mim_error_set(reterr, MIM_E_INVALID, "%s: must be %sa string of %" PRId64 " letters", field->name, list,
                             field->min);
    }
    if ((field->flags & MIM_ID) != 0) {
        return mim_error_set(reterr, MIM_E_INVALID, "%s: must be %san id (1 to %u bytes of UTF-8 without spaces)",
                             field->name, list, MIM_ID_SIZE_MAX);
    }
    if (!bounded) {
        return mim_error_set(reterr, MIM_E_INVALID, "%s: must be %s%s", field->name, list, type_noun(field->type));
    }
    if (field->max == INT64_MAX) {
        return mim_error_set(reterr, MIM_E_INVALID, "%s: must be %s%s >= %" PRId64 "%s", field->name, list,
                             type_noun(field->type), field->min, text ? " bytes" : "");
    }
    return mim_error_set(reterr, MIM_E_INVALID, "%s: must be %s%s from %" PRId64 " to %" PRId64 "%s", field->name, list,
                         type_noun(field->type), field->min, field->max, text ? " bytes" : "");
}

static bool within(const struct mim_field *field, int64_t value) {
    return (field->min == 0 && field->max == 0) || (value >= field->min && value <= field->max);
}

static bool letters(const struct mim_string *text) {
    for (size_t i = 0; i < text->size; i++) {
        char c = text->data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) {
            return false;
        }
    }
    return true;
}

static bool string_good(const struct mim_field *field, const struct mim_string *text) {
    struct mim_slice slice = mim_slice_of(text->data, text->size);
    return within(field, (int64_t)text->size) && (field->type == MIM_BYTES || mim_utf8_valid(slice)) &&
           ((field->flags & MIM_LETTERS) == 0 || letters(text)) &&
           ((field->flags & MIM_ID) == 0 || mim_id_valid(slice));
}

static inline bool value_good(const struct mim_field *field, const void *at) {
    bool good = true;
    switch (field->type) {
    case MIM_I32:
        good = within(field, *(const int32_t *)at);
        break;
    case MIM_I64:
        good = within(field, *(const int64_t *)at);
        break;
    case MIM_TIMESTAMP: /* what RFC 3339 cannot say could not be shown */
        good = within(field, *(const int64_t *)at) && *(const int64_t *)at >= MIM_RFC3339_MIN &&
               *(const int64_t *)at <= MIM_RFC3339_MAX;
        break;
    case MIM_U64: {
        uint64_t value = *(const uint64_t *)at;
        good = value <= INT64_MAX ? within(field, (int64_t)value) : field->max == 0 || field->max == INT64_MAX;
        break;
    }
    case MIM_F64:
        good = isfinite(*(const double *)at) != 0;
        break;
    case MIM_STRING:
    case MIM_BYTES:
        good = string_good(field, at);
        break;
    default:
        break;
    }
    return good;
}

int mim_field_check(const struct mim_field *field, const void *at, struct mim_error *reterr) {
    return value_good(field, at) ? 0 : mim_field_expected(field, reterr);
}

uint32_t mim_field_find(const struct mim_field *fields, uint32_t field_count, struct mim_slice name) {
    for (uint32_t i = 0; i < field_count; i++) {
        if (mim_slice_equal(mim_slice_text(fields[i].name), name)) {
            return i;
        }
    }
    return field_count;
}

int mim_fields_complete(const struct mim_command_type *type, uint64_t given, void *command, struct mim_error *reterr) {
    uint64_t all = type->field_count == 64 ? UINT64_MAX : ((uint64_t)1 << type->field_count) - 1;
    for (uint64_t missing = all & ~given; missing != 0; missing &= missing - 1) {
        const struct mim_field *field = &type->fields[__builtin_ctzll(missing)];
        if ((field->flags & MIM_OPTIONAL) == 0) {
            return mim_error_set(reterr, MIM_E_INVALID, "%s: is missing", field->name);
        }
        mim_field_fill_default(field, mim_field_at(field, command));
    }
    return 0;
}

/* ------------------------------------------------------ text to values */

static inline bool parse_i64(struct mim_string text, int64_t *ret_value) {
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == text.size || text.size - i > 19 || (text.data[i] == '0' && text.size > 1)) {
        return false;
    }
    uint64_t value = 0; /* 19 digits fit */
    for (; i < text.size; i++) {
        unsigned digit = (unsigned)(uint8_t)text.data[i] - '0';
        if (digit > 9) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (value > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *ret_value = (int64_t)(negative ? 0 - value : value);
    return true;
}

bool mim_parse_i64(struct mim_string text, int64_t min, int64_t max, int64_t *ret_value) {
    int64_t value;
    if (!parse_i64(text, &value) || value < min || value > max) {
        return false;
    }
    *ret_value = value;
    return true;
}

static bool parse_u64(struct mim_slice text, uint64_t *ret_value) {
    if (text.size == 0 || text.size > 20 || (text.data[0] == '0' && text.size > 1)) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value)) {
            return false;
        }
    }
    *ret_value = value;
    return true;
}

static bool parse_bool(struct mim_slice text, bool *ret_value) {
    bool yes = mim_slice_equal(text, mim_slice_text("true")) || mim_slice_equal(text, mim_slice_text("1"));
    bool no = mim_slice_equal(text, mim_slice_text("false")) || mim_slice_equal(text, mim_slice_text("0"));
    *ret_value = yes;
    return yes || no;
}

static bool parse_f64(struct mim_slice text, double *ret_value) {
    char copy[64];
    if (text.size == 0 || text.size >= sizeof(copy)) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) { /* strtod would take white space and hexadecimal too */
        if (text.data[i] == 0 || strchr("0123456789+-.eE", text.data[i]) == NULL) {
            return false;
        }
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    char *end;
    errno = 0;
    *ret_value = strtod(copy, &end);
    return end == copy + text.size && isfinite(*ret_value);
}

static inline bool value_from_text(const struct mim_field *field, struct mim_slice text, void *at) {
    struct mim_string string = {.data = (const char *)text.data, .size = text.size};
    int64_t wide;
    switch (field->type) {
    case MIM_BOOL:
        return parse_bool(text, at);
    case MIM_I32:
        if (!mim_parse_i64(string, INT32_MIN, INT32_MAX, &wide)) {
            return false;
        }
        *(int32_t *)at = (int32_t)wide;
        return true;
    case MIM_I64:
        return parse_i64(string, at);
    case MIM_U64:
        return parse_u64(text, at);
    case MIM_F64:
        return parse_f64(text, at);
    case MIM_TIMESTAMP:
        return parse_i64(string, at) || mim_rfc3339_parse(string.data, string.size, at) == 0;
    default:
        *(struct mim_string *)at =
            (struct mim_string){.data = string.data == NULL ? "" : string.data, .size = string.size};
        return true;
    }
}

static size_t item_size(const struct mim_field *field) {
    return field->type == MIM_STRING || field->type == MIM_BYTES ? sizeof(struct mim_string)
                                                                 : mim_field_scalar_size(field->type);
}

/** A list field: given once with a JSON array, or each time it is given one more item, whatever is in it. All items of
 *  one field are collected at its first mention. */
static int list_from_arguments(const struct mim_field *field, const struct mim_argument *arguments, size_t count,
                               size_t first, void *at, struct mim_byte_writer *scratch, struct mim_error *reterr) {
    size_t items = 0;
    for (size_t i = first; i < count; i++) {
        items += mim_slice_equal(arguments[i].name, arguments[first].name) ? 1 : 0;
    }
    struct mim_slice value = arguments[first].value;
    if (items == 1 && value.size > 0 && value.data[0] == '[') {
        return mim_field_list_from_json(field, value, at, scratch, reterr);
    }
    uint8_t *to = mim_scratch_take(scratch, items * item_size(field));
    if (to == NULL) {
        return mim_error_set(reterr, MIM_E_INVALID, "%s: too many items", field->name);
    }
    *(struct mim_list *)at = (struct mim_list){.items = to, .count = items};
    for (size_t i = first; i < count; i++) {
        if (!mim_slice_equal(arguments[i].name, arguments[first].name)) {
            continue;
        }
        if (!value_from_text(field, arguments[i].value, to)) {
            return mim_field_expected(field, reterr);
        }
        int rc = mim_field_check(field, to, reterr);
        if (rc != 0) {
            return rc;
        }
        to += item_size(field);
    }
    return 0;
}

static int field_from_argument(const struct mim_field *field, struct mim_slice value, void *at,
                               struct mim_error *reterr) {
    return value_from_text(field, value, at) && value_good(field, at) ? 0 : mim_field_expected(field, reterr);
}

int mim_command_from_arguments(const struct mim_command_type *type, const struct mim_argument *arguments, size_t count,
                               void *command, struct mim_byte_writer *scratch, struct mim_error *reterr) {
    uint64_t given = 0;
    memset(command, 0, type->size);
    for (size_t i = 0; i < count; i++) {
        uint32_t n = mim_field_find(type->fields, type->field_count, arguments[i].name);
        if (n == type->field_count) {
            return mim_error_set(reterr, MIM_E_INVALID, "%.*s: is not a field of %s",
                                 (int)(arguments[i].name.size > 64 ? 64 : arguments[i].name.size),
                                 (const char *)arguments[i].name.data, type->name);
        }
        const struct mim_field *field = &type->fields[n];
        bool list = (field->flags & MIM_LIST) != 0;
        if ((given >> n & 1u) != 0) {
            if (list) {
                continue; /* collected with its first mention */
            }
            return mim_error_set(reterr, MIM_E_INVALID, "%s: is given twice", field->name);
        }
        void *at = mim_field_at(field, command);
        int rc = list ? list_from_arguments(field, arguments, count, i, at, scratch, reterr)
                      : field_from_argument(field, arguments[i].value, at, reterr);
        if (rc != 0) {
            return rc;
        }
        given |= (uint64_t)1 << n;
    }
    return mim_fields_complete(type, given, command, reterr);
}
