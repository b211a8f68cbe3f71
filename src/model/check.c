// SPDX-License-Identifier: MIT
// Descriptors checked before anything runs on them: what is wrong is said with aggregate, table and field.
#include "model/check.h"

#include "model/field.h"

static bool name_good(const char *name) {
    if (name == NULL || strlen(name) == 0 || strlen(name) > MIM_NAME_SIZE_MAX) {
        return false;
    }
    for (const char *c = name; *c != '\0'; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        bool digit = *c >= '0' && *c <= '9';
        if (!letter && !((digit || *c == '_') && c != name)) {
            return false;
        }
    }
    return true;
}

static int check_name(const char *where, const char *what, const char *name, struct mim_error *reterr) {
    return name_good(name) ? 0
                           : mim_error_set(reterr, MIM_E_MODEL,
                                           "%s: %s name \"%s\" must be a letter, then letters, "
                                           "digits and '_', at most %u bytes",
                                           where, what, name == NULL ? "(null)" : name, MIM_NAME_SIZE_MAX);
}

uint32_t mim_check_field_size(const struct mim_field *field, bool state) {
    bool list = (field->flags & MIM_LIST) != 0;
    switch (field->type) {
    case MIM_BOOL:
    case MIM_I32:
    case MIM_I64:
    case MIM_U64:
    case MIM_F64:
    case MIM_TIMESTAMP:
        return list ? (uint32_t)(state ? sizeof(struct mim_vec) : sizeof(struct mim_list))
                    : (uint32_t)mim_field_scalar_size(field->type);
    case MIM_STRING:
    case MIM_BYTES:
        return list    ? (uint32_t)(state ? sizeof(struct mim_vec) : sizeof(struct mim_list))
               : state ? (uint32_t)sizeof(struct mim_text)
                       : (uint32_t)sizeof(struct mim_string);
    case MIM_COUNTS:
        return state && !list ? (uint32_t)sizeof(struct mim_map) : 0;
    default:
        return 0;
    }
}

/** A fallback that the field's own type can hold. */
static bool fallback_good(const struct mim_field *field) {
    if (field->fallback == 0) {
        return true;
    }
    if ((field->flags & MIM_LIST) != 0) {
        return false;
    }
    switch (field->type) {
    case MIM_I32:
        return field->fallback >= INT32_MIN && field->fallback <= INT32_MAX;
    case MIM_U64:
        return field->fallback > 0;
    case MIM_I64:
    case MIM_TIMESTAMP:
        return true;
    default:
        return false;
    }
}

/** Flags and fallback mean something where they stand. */
static int check_meaning(const struct mim_check_table *table, const struct mim_field *field, struct mim_error *reterr) {
    uint32_t allowed =
        table->state ? MIM_LIST | MIM_HIDDEN | MIM_LETTERS | MIM_ID : MIM_OPTIONAL | MIM_LIST | MIM_LETTERS | MIM_ID;
    if ((field->flags & ~allowed) != 0) {
        return mim_error_set(reterr, MIM_E_MODEL, "%s: field %s has a flag that means nothing there", table->where,
                             field->name);
    }
    if (!fallback_good(field)) {
        return mim_error_set(reterr, MIM_E_MODEL, "%s: field %s has a fallback that its type cannot hold", table->where,
                             field->name);
    }
    return 0;
}

/** A former name belongs to an event's field, and to no other of the same table. */
static int check_was(const struct mim_check_table *table, const struct mim_field *field, struct mim_error *reterr) {
    if (field->was == NULL) {
        return 0;
    }
    if (strcmp(table->kind, "event") != 0) {
        return mim_error_set(reterr, MIM_E_MODEL, "%s: field %s has a former name, which only events' fields have",
                             table->where, field->name);
    }
    int rc = check_name(table->where, "former field", field->was, reterr);
    for (uint32_t i = 0; rc == 0 && i < table->count; i++) {
        const struct mim_field *other = &table->fields[i];
        bool twice = other != field && other->was != NULL && strcmp(other->was, field->was) == 0;
        if (twice || (other->name != NULL && strcmp(other->name, field->was) == 0)) {
            rc = mim_error_set(reterr, MIM_E_MODEL, "%s: field %s has the former name %s, which field %s has too",
                               table->where, field->name, field->was, other->name == NULL ? "(null)" : other->name);
        }
    }
    return rc;
}

static int check_field(const struct mim_check_table *table, uint32_t n, struct mim_error *reterr) {
    const struct mim_field *field = &table->fields[n];
    int rc = check_name(table->where, "field", field->name, reterr);
    if (rc != 0) {
        return rc;
    }
    uint32_t size = mim_check_field_size(field, table->state);
    if (size == 0) {
        return mim_error_set(reterr, MIM_E_MODEL, "%s: field %s has a type that is not allowed there", table->where,
                             field->name);
    }
    uint32_t align = size >= 8 ? 8 : size;
    if (field->offset % align != 0 || field->offset > table->size || size > table->size - field->offset) {
        return mim_error_set(reterr, MIM_E_MODEL, "%s: field %s at offset %u does not lie aligned within %u bytes",
                             table->where, field->name, field->offset, table->size);
    }
    if (field->min > field->max) {
        return mim_error_set(reterr, MIM_E_MODEL, "%s: field %s has min > max", table->where, field->name);
    }
    rc = check_meaning(table, field, reterr);
    rc = rc != 0 ? rc : check_was(table, field, reterr);
    if (rc != 0) {
        return rc;
    }
    bool text = field->type == MIM_STRING || field->type == MIM_BYTES;
    if (!text && (field->flags & (MIM_LETTERS | MIM_ID)) != 0) {
        return mim_error_set(reterr, MIM_E_MODEL, "%s: field %s is no string, but flagged as letters or id",
                             table->where, field->name);
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct mim_field *other = &table->fields[i];
        uint32_t other_size = mim_check_field_size(other, table->state);
        if (strcmp(other->name, field->name) == 0) {
            return mim_error_set(reterr, MIM_E_MODEL, "%s: field %s stands there twice", table->where, field->name);
        }
        if (field->offset < other->offset + other_size && other->offset < field->offset + size) {
            return mim_error_set(reterr, MIM_E_MODEL, "%s: fields %s and %s overlap", table->where, other->name,
                                 field->name);
        }
    }
    return 0;
}

int mim_check_fields(const struct mim_check_table *table, struct mim_error *reterr) {
    int rc = check_name(table->where, table->kind, table->name, reterr);
    if (rc != 0) {
        return rc;
    }
    if (table->count > MIM_FIELDS_MAX || (table->count > 0 && table->fields == NULL)) {
        return mim_error_set(reterr, MIM_E_MODEL, "%s: more than %u fields, or no table", table->where, MIM_FIELDS_MAX);
    }
    if (table->size > MIM_STRUCT_SIZE_MAX) {
        return mim_error_set(reterr, MIM_E_MODEL, "%s: a struct has at most %u bytes, not %u", table->where,
                             MIM_STRUCT_SIZE_MAX, table->size);
    }
    for (uint32_t i = 0; i < table->count; i++) {
        rc = check_field(table, i, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int mim_check_missing(const char *where, const char *what, bool present, struct mim_error *reterr) {
    return present ? 0 : mim_error_set(reterr, MIM_E_MODEL, "%s: %s is missing", where, what);
}
