// SPDX-License-Identifier: MIT
// The model's descriptors as documents that other tools read: JSON Schema (draft 2020-12) of commands, events and states,
// and AsyncAPI 3.0 of what FOLLOW sends. Both hold the same schemas, in $defs and in components/schemas.
#include <stdio.h>

#include "model/compiled.h"
#include "model/field.h"

/** Names in $defs: "account.state", "account.Deposit", "account.Deposited.v1"; the prefix is "#/$defs/" or AsyncAPI's. */
struct document {
    struct mim_json *j;
    const struct mim_compiled *compiled;
    const char *refs;
};

enum place { IN_COMMAND, IN_EVENT, IN_STATE };

#define REF_SIZE 256u

static void text(struct mim_json *j, const char *key, const char *value) {
    if (value != NULL) {
        mim_json_key(j, key);
        mim_json_string(j, mim_string_of(value));
    }
}

static void number(struct mim_json *j, const char *key, int64_t value) {
    mim_json_key(j, key);
    mim_json_i64(j, value);
}

static void object(struct mim_json *j, const char *key) {
    mim_json_key(j, key);
    mim_json_object(j);
}

static void array(struct mim_json *j, const char *key) {
    mim_json_key(j, key);
    mim_json_array(j);
}

/** "key": {"$ref": ...} */
static void member_ref(struct mim_json *j, const char *key, const char *target) {
    object(j, key);
    text(j, "$ref", target);
    mim_json_object_end(j);
}

static const char *event_key(const struct mim_compiled_event *event, char ret_key[REF_SIZE]) {
    (void)snprintf(ret_key, REF_SIZE, "%s.v%u", event->full_name,
                   event->type != NULL ? event->type->version : event->retired->version);
    return ret_key;
}

/* ------------------------------------------------------------------- one field */

static void integer_bounds(struct mim_json *j, const struct mim_field *field, enum place place) {
    bool bounded = place == IN_COMMAND && (field->min != 0 || field->max != 0);
    int64_t least = field->type == MIM_I32 ? INT32_MIN : field->type == MIM_U64 ? 0 : INT64_MIN;
    int64_t most = field->type == MIM_I32 ? INT32_MAX : INT64_MAX;
    if (bounded) {
        least = field->min > least ? field->min : least;
        most = field->max < most ? field->max : most;
    }
    number(j, "minimum", least);
    if (field->type == MIM_U64 && place != IN_COMMAND) { /* as JSON, commands take no more than an i64's */
        mim_json_key(j, "maximum");
        mim_json_u64(j, UINT64_MAX);
    } else {
        number(j, "maximum", most);
    }
}

/** The model bounds bytes of UTF-8, JSON Schema characters of one to four bytes: as much as can be said. */
static void string_bounds(struct mim_json *j, const struct mim_field *field) {
    bool letters = (field->flags & MIM_LETTERS) != 0;
    if (field->min > 0) {
        number(j, "minLength", letters ? field->min : (field->min + 3) / 4);
    }
    if (field->max > 0 && field->max != INT64_MAX) {
        number(j, "maxLength", field->max);
    }
    if (letters) {
        text(j, "pattern", "^[A-Za-z]*$");
    } else if ((field->flags & MIM_ID) != 0) {
        text(j, "pattern", "^[^\\u0000-\\u0020\\u007f]+$");
    }
}

/** The members of the schema of one value. */
static void value_schema(struct mim_json *j, const struct mim_field *field, enum place place) {
    switch (field->type) {
    case MIM_BOOL:
        text(j, "type", "boolean");
        break;
    case MIM_I32:
    case MIM_I64:
    case MIM_U64:
        text(j, "type", "integer");
        integer_bounds(j, field, place);
        break;
    case MIM_F64:
        text(j, "type", "number");
        break;
    case MIM_STRING:
        text(j, "type", "string");
        if (place == IN_COMMAND) {
            string_bounds(j, field);
        }
        break;
    case MIM_BYTES:
        text(j, "type", "string");
        text(j, "contentEncoding", "base64");
        break;
    case MIM_TIMESTAMP:
        if (place == IN_COMMAND) {
            array(j, "type");
            mim_json_string(j, mim_string_of("string"));
            mim_json_string(j, mim_string_of("integer"));
            mim_json_array_end(j);
            text(j, "description", "RFC 3339, or Unix milliseconds");
        } else {
            text(j, "type", "string");
        }
        text(j, "format", "date-time");
        break;
    case MIM_COUNTS:
        text(j, "type", "object");
        object(j, "additionalProperties");
        text(j, "type", "integer");
        mim_json_object_end(j);
        break;
    }
}

static void field_schema(struct mim_json *j, const char *name, const struct mim_field *field, enum place place) {
    bool list = (field->flags & MIM_LIST) != 0;
    object(j, name);
    if (list) {
        text(j, "type", "array");
        object(j, "items");
    }
    value_schema(j, field, place);
    if (list) {
        mim_json_object_end(j);
    }
    bool integer = field->type == MIM_I32 || field->type == MIM_I64 || field->type == MIM_U64;
    if ((field->flags & MIM_OPTIONAL) != 0 && integer && !list) {
        number(j, "default", field->fallback);
    }
    mim_json_object_end(j);
}

/* ------------------------------------------------------------------ one struct */

/** What must be there: all of a state; of commands and events what is not optional, and of events what always had its
 *  name. */
static bool required(const struct mim_field *field, enum place place) {
    return place == IN_STATE || ((field->flags & MIM_OPTIONAL) == 0 && field->was == NULL);
}

static void struct_schema(struct mim_json *j, const struct mim_field *fields, uint32_t count, enum place place) {
    text(j, "type", "object");
    object(j, "properties");
    for (uint32_t i = 0; i < count; i++) {
        if ((fields[i].flags & MIM_HIDDEN) == 0) {
            field_schema(j, fields[i].name, &fields[i], place);
        }
        if (place == IN_EVENT && fields[i].was != NULL) {
            field_schema(j, fields[i].was, &fields[i], place);
        }
    }
    mim_json_object_end(j);
    array(j, "required");
    for (uint32_t i = 0; i < count; i++) {
        if ((fields[i].flags & MIM_HIDDEN) == 0 && required(&fields[i], place)) {
            mim_json_string(j, mim_string_of(fields[i].name));
        }
    }
    mim_json_array_end(j);
    if (place != IN_EVENT) {
        mim_json_key(j, "additionalProperties");
        mim_json_bool(j, false);
    }
}

static void event_schema(struct mim_json *j, const struct mim_compiled_event *event) {
    bool retired = event->type == NULL;
    char key[REF_SIZE];
    object(j, event_key(event, key));
    text(j, "title", event->full_name);
    text(j, "description", retired ? "Of old journals; not written any more." : event->type->doc);
    if (retired) {
        mim_json_key(j, "deprecated");
        mim_json_bool(j, true);
    }
    struct_schema(j, retired ? event->retired->fields : event->type->fields,
                  retired ? event->retired->field_count : event->type->field_count, IN_EVENT);
    mim_json_object_end(j);
}

/** The CloudEvent around an event's data. */
static void envelope_schema(const struct document *d, const struct mim_compiled_event *event) {
    struct mim_json *j = d->j;
    char key[REF_SIZE];
    char target[2 * REF_SIZE];
    (void)snprintf(target, sizeof(target), "%s.cloudevent", event_key(event, key));
    object(j, target);
    array(j, "allOf");
    mim_json_object(j);
    (void)snprintf(target, sizeof(target), "%scloudevent", d->refs);
    text(j, "$ref", target);
    mim_json_object_end(j);
    mim_json_object(j);
    object(j, "properties");
    object(j, "type");
    text(j, "const", event->full_name);
    mim_json_object_end(j);
    object(j, "schemaversion");
    number(j, "const", event->type != NULL ? event->type->version : event->retired->version);
    mim_json_object_end(j);
    (void)snprintf(target, sizeof(target), "%s%s", d->refs, key);
    member_ref(j, "data", target);
    mim_json_object_end(j);
    mim_json_object_end(j);
    mim_json_array_end(j);
    mim_json_object_end(j);
}

/** What all CloudEvents of memimage have. */
static void cloudevent_schema(struct mim_json *j) {
    static const struct {
        const char *name, *type, *format;
        bool required;
    } members[] = {
        {"specversion", "string", NULL, true},
        {"id", "string", NULL, true},
        {"source", "string", "uri-reference", true},
        {"type", "string", NULL, true},
        {"subject", "string", NULL, true},
        {"time", "string", "date-time", true},
        {"datacontenttype", "string", NULL, true},
        {"position", "integer", NULL, true},
        {"streamversion", "integer", NULL, true},
        {"schemaversion", "integer", NULL, true},
        {"correlationid", "string", NULL, false},
        {"causationid", "string", NULL, false},
        {"actor", "string", NULL, false},
        {"data", "object", NULL, true},
    };
    object(j, "cloudevent");
    text(j, "description", "CloudEvents 1.0, structured JSON: id is the position, subject the aggregate.");
    text(j, "type", "object");
    object(j, "properties");
    for (size_t i = 0; i < MIM_COUNT_OF(members); i++) {
        object(j, members[i].name);
        text(j, "type", members[i].type);
        text(j, "format", members[i].format);
        mim_json_object_end(j);
    }
    mim_json_object_end(j);
    array(j, "required");
    for (size_t i = 0; i < MIM_COUNT_OF(members); i++) {
        if (members[i].required) {
            mim_json_string(j, mim_string_of(members[i].name));
        }
    }
    mim_json_array_end(j);
    mim_json_object_end(j);
}

/** All schemas of the model, as members of the object being written. */
static void schemas(const struct document *d) {
    struct mim_json *j = d->j;
    const struct mim_model *model = d->compiled->model;
    char key[REF_SIZE];
    cloudevent_schema(j);
    for (uint32_t i = 0; i < model->aggregate_count; i++) {
        const struct mim_aggregate_type *type = &model->aggregates[i];
        (void)snprintf(key, sizeof(key), "%s.state", type->name);
        object(j, key);
        text(j, "title", type->name);
        struct_schema(j, type->fields, type->field_count, IN_STATE);
        mim_json_object_end(j);
        for (uint32_t k = 0; k < type->command_count; k++) {
            (void)snprintf(key, sizeof(key), "%s.command.%s", type->name, type->commands[k].name);
            object(j, key);
            text(j, "title", type->commands[k].name);
            text(j, "description", type->commands[k].doc);
            struct_schema(j, type->commands[k].fields, type->commands[k].field_count, IN_COMMAND);
            mim_json_object_end(j);
        }
    }
    for (uint32_t i = 0; i < d->compiled->event_count; i++) {
        event_schema(j, &d->compiled->events[i]);
        envelope_schema(d, &d->compiled->events[i]);
    }
}

/* -------------------------------------------------------------------- AsyncAPI */

static void reference_to(struct mim_json *j, const char *key, const char *section, const char *name) {
    char target[2 * REF_SIZE];
    (void)snprintf(target, sizeof(target), "#/%s/%s", section, name);
    member_ref(j, key, target);
}

static void channels(const struct document *d) {
    struct mim_json *j = d->j;
    const struct mim_model *model = d->compiled->model;
    object(j, "channels");
    for (uint32_t i = 0; i < model->aggregate_count; i++) {
        char line[REF_SIZE];
        object(j, model->aggregates[i].name);
        (void)snprintf(line, sizeof(line), "%s/{id}", model->aggregates[i].name);
        text(j, "address", line);
        (void)snprintf(line, sizeof(line), "Events of %s, in order: FOLLOW TYPE %s", model->aggregates[i].name,
                       model->aggregates[i].name);
        text(j, "description", line);
        object(j, "parameters");
        object(j, "id");
        text(j, "description", "The aggregate's id");
        mim_json_object_end(j);
        mim_json_object_end(j);
        object(j, "messages");
        for (uint32_t k = 0; k < d->compiled->event_count; k++) {
            char key[REF_SIZE];
            if (d->compiled->events[k].aggregate == i) {
                (void)event_key(&d->compiled->events[k], key);
                reference_to(j, key, "components/messages", key);
            }
        }
        mim_json_object_end(j);
        mim_json_object_end(j);
    }
    mim_json_object_end(j);
}

static void operations(const struct document *d) {
    struct mim_json *j = d->j;
    const struct mim_model *model = d->compiled->model;
    object(j, "operations");
    for (uint32_t i = 0; i < model->aggregate_count; i++) {
        char key[REF_SIZE];
        (void)snprintf(key, sizeof(key), "%s.events", model->aggregates[i].name);
        object(j, key);
        text(j, "action", "send");
        text(j, "summary", "Every event as it becomes durable, without gap or repeat");
        reference_to(j, "channel", "channels", model->aggregates[i].name);
        mim_json_object_end(j);
    }
    mim_json_object_end(j);
}

static void messages(const struct document *d) {
    struct mim_json *j = d->j;
    object(j, "messages");
    for (uint32_t i = 0; i < d->compiled->event_count; i++) {
        const struct mim_compiled_event *event = &d->compiled->events[i];
        char key[REF_SIZE];
        char envelope[REF_SIZE + 16];
        object(j, event_key(event, key));
        text(j, "name", event->full_name);
        text(j, "title", event->type != NULL ? event->type->name : event->retired->name);
        text(j, "summary", event->type != NULL ? event->type->doc : "Of old journals; not written any more.");
        text(j, "contentType", "application/cloudevents+json");
        (void)snprintf(envelope, sizeof(envelope), "%s.cloudevent", key);
        reference_to(j, "payload", "components/schemas", envelope);
        mim_json_object_end(j);
    }
    mim_json_object_end(j);
}

static void asyncapi(const struct document *d) {
    struct mim_json *j = d->j;
    char version[16];
    (void)snprintf(version, sizeof(version), "%u", d->compiled->model->version);
    mim_json_object(j);
    text(j, "asyncapi", "3.0.0");
    object(j, "info");
    text(j, "title", d->compiled->model->name);
    text(j, "version", version);
    mim_json_object_end(j);
    text(j, "defaultContentType", "application/cloudevents+json");
    channels(d);
    operations(d);
    object(j, "components");
    messages(d);
    object(j, "schemas");
    schemas(d);
    mim_json_object_end(j);
    mim_json_object_end(j);
    mim_json_object_end(j);
}

static void jsonschema(const struct document *d) {
    struct mim_json *j = d->j;
    char id[REF_SIZE];
    (void)snprintf(id, sizeof(id), "urn:memimage:%s:%u", d->compiled->model->name, d->compiled->model->version);
    mim_json_object(j);
    text(j, "$schema", "https://json-schema.org/draft/2020-12/schema");
    text(j, "$id", id);
    text(j, "title", d->compiled->model->name);
    object(j, "$defs");
    schemas(d);
    mim_json_object_end(j);
    mim_json_object_end(j);
}

void mim_schema_document(struct mim_json *j, const struct mim_compiled *compiled, enum mim_schema_format format) {
    struct document document = {.j = j, .compiled = compiled, .refs = "#/$defs/"};
    switch (format) {
    case MIM_SCHEMA_ASYNCAPI:
        document.refs = "#/components/schemas/";
        asyncapi(&document);
        break;
    case MIM_SCHEMA_JSONSCHEMA:
        jsonschema(&document);
        break;
    case MIM_SCHEMA_JSON:
        mim_schema_json(j, compiled, -1);
        break;
    }
}
