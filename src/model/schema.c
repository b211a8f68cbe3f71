// SPDX-License-Identifier: MIT
// SCHEMA: the model's descriptors as JSON.
#include "model/compiled.h"
#include "model/field.h"

const char *mim_field_type_name(unsigned type) {
    static const char *const names[] = {
        [MIM_BOOL] = "bool",     [MIM_I32] = "i32",       [MIM_I64] = "i64",     [MIM_U64] = "u64",
        [MIM_F64] = "f64",       [MIM_STRING] = "string", [MIM_BYTES] = "bytes", [MIM_TIMESTAMP] = "timestamp",
        [MIM_COUNTS] = "counts",
    };
    return type < MIM_COUNT_OF(names) && names[type] != NULL ? names[type] : "?";
}

static void text_member(struct mim_json *j, const char *key, const char *text) {
    if (text != NULL) {
        mim_json_key(j, key);
        mim_json_string(j, mim_string_of(text));
    }
}

static void field_json(struct mim_json *j, const struct mim_field *field, bool state) {
    mim_json_object(j);
    text_member(j, "name", field->name);
    text_member(j, "type", mim_field_type_name(field->type));
    if ((field->flags & MIM_LIST) != 0) {
        mim_json_key(j, "list");
        mim_json_bool(j, true);
    }
    if (!state && (field->flags & MIM_OPTIONAL) != 0) {
        mim_json_key(j, "optional");
        mim_json_bool(j, true);
        bool integer = field->type == MIM_I32 || field->type == MIM_I64 || field->type == MIM_U64;
        if (integer && (field->flags & MIM_LIST) == 0) {
            mim_json_key(j, "default");
            mim_json_i64(j, field->fallback);
        }
    }
    if (field->min != 0 || field->max != 0) {
        bool text = field->type == MIM_STRING || field->type == MIM_BYTES;
        mim_json_key(j, text ? "minSize" : "min");
        mim_json_i64(j, field->min);
        if (field->max != INT64_MAX) {
            mim_json_key(j, text ? "maxSize" : "max");
            mim_json_i64(j, field->max);
        }
    }
    if ((field->flags & (MIM_LETTERS | MIM_ID)) != 0) {
        text_member(j, "format", (field->flags & MIM_LETTERS) != 0 ? "letters" : "id");
    }
    text_member(j, "was", field->was);
    mim_json_object_end(j);
}

static void fields_json(struct mim_json *j, const char *key, const struct mim_field *fields, uint32_t count,
                        bool state) {
    mim_json_key(j, key);
    mim_json_array(j);
    for (uint32_t i = 0; i < count; i++) {
        if ((fields[i].flags & MIM_HIDDEN) == 0) {
            field_json(j, &fields[i], state);
        }
    }
    mim_json_array_end(j);
}

static void commands_json(struct mim_json *j, const struct mim_aggregate_type *type) {
    mim_json_key(j, "commands");
    mim_json_array(j);
    for (uint32_t i = 0; i < type->command_count; i++) {
        mim_json_object(j);
        text_member(j, "name", type->commands[i].name);
        fields_json(j, "fields", type->commands[i].fields, type->commands[i].field_count, false);
        text_member(j, "doc", type->commands[i].doc);
        mim_json_object_end(j);
    }
    mim_json_array_end(j);
}

static void event_json(struct mim_json *j, const struct mim_compiled_event *event) {
    bool retired = event->type == NULL;
    mim_json_object(j);
    text_member(j, "type", event->full_name);
    mim_json_key(j, "version");
    mim_json_u64(j, retired ? event->retired->version : event->type->version);
    if (retired) {
        mim_json_key(j, "retired");
        mim_json_bool(j, true);
    }
    fields_json(j, "fields", retired ? event->retired->fields : event->type->fields,
                retired ? event->retired->field_count : event->type->field_count, false);
    text_member(j, "doc", retired ? NULL : event->type->doc);
    mim_json_object_end(j);
}

static void aggregate_json(struct mim_json *j, const struct mim_compiled *compiled, unsigned aggregate) {
    const struct mim_aggregate_type *type = &compiled->model->aggregates[aggregate];
    mim_json_object(j);
    text_member(j, "name", type->name);
    fields_json(j, "state", type->fields, type->field_count, true);
    commands_json(j, type);
    mim_json_key(j, "events");
    mim_json_array(j);
    for (uint32_t i = 0; i < compiled->event_count; i++) {
        if (compiled->events[i].aggregate == aggregate) {
            event_json(j, &compiled->events[i]);
        }
    }
    mim_json_array_end(j);
    mim_json_key(j, "queries");
    mim_json_array(j);
    for (uint32_t i = 0; i < type->query_count; i++) {
        mim_json_object(j);
        text_member(j, "name", type->queries[i].name);
        text_member(j, "usage", type->queries[i].usage);
        text_member(j, "doc", type->queries[i].doc);
        mim_json_object_end(j);
    }
    mim_json_array_end(j);
    mim_json_object_end(j);
}

void mim_schema_json(struct mim_json *j, const struct mim_compiled *compiled, int aggregate) {
    if (aggregate >= 0) {
        aggregate_json(j, compiled, (unsigned)aggregate);
        return;
    }
    mim_json_object(j);
    text_member(j, "model", compiled->model->name);
    mim_json_key(j, "version");
    mim_json_u64(j, compiled->model->version);
    mim_json_key(j, "aggregates");
    mim_json_array(j);
    for (uint32_t i = 0; i < compiled->model->aggregate_count; i++) {
        aggregate_json(j, compiled, i);
    }
    mim_json_array_end(j);
    mim_json_object_end(j);
}
