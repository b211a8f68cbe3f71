// SPDX-License-Identifier: MIT
// SCHEMA's JSON as a small table of commands and fields; a scan of it finds a command, since models have few.
#include "cli/load_schema.h"

#include <jansson.h>
#include <stdlib.h>

struct load_field {
    struct mim_slice name;
    enum mim_load_field kind;
};

struct mim_load_command {
    struct mim_slice type;
    struct mim_slice name;
    struct load_field *fields;
    size_t field_count;
};

struct mim_load_schema {
    json_t *root; /* owns the names */
    struct mim_load_command *commands;
    size_t count;
    size_t capacity;
};

static struct mim_slice text_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? mim_slice_of(json_string_value(value), json_string_length(value))
                                 : mim_slice_of(NULL, 0);
}

static enum mim_load_field kind_of(const json_t *field) {
    static const struct {
        const char *type;
        enum mim_load_field kind;
    } kinds[] = {
        {"string", MIM_LOAD_STRING}, {"i32", MIM_LOAD_INTEGER}, {"i64", MIM_LOAD_INTEGER},
        {"u64", MIM_LOAD_INTEGER},   {"bool", MIM_LOAD_BOOL},
    };
    struct mim_slice type = text_of(field, "type");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (mim_slice_equal(type, mim_slice_text(kinds[i].type))) {
            return json_is_true(json_object_get(field, "list")) ? MIM_LOAD_OTHER : kinds[i].kind;
        }
    }
    return MIM_LOAD_OTHER;
}

static int command_add(struct mim_load_schema *schema, struct mim_slice type, const json_t *json) {
    const json_t *fields = json_object_get(json, "fields");
    if (schema->count == schema->capacity) {
        size_t capacity = schema->capacity == 0 ? 16 : 2 * schema->capacity;
        struct mim_load_command *grown = realloc(schema->commands, capacity * sizeof(*grown));
        if (grown == NULL) {
            return MIM_E_MEMORY;
        }
        schema->commands = grown;
        schema->capacity = capacity;
    }
    struct mim_load_command *command = &schema->commands[schema->count];
    *command = (struct mim_load_command){.type = type, .name = text_of(json, "name")};
    command->fields = calloc(json_array_size(fields) + 1, sizeof(*command->fields));
    if (command->fields == NULL) {
        return MIM_E_MEMORY;
    }
    schema->count++;
    for (; command->field_count < json_array_size(fields); command->field_count++) {
        const json_t *field = json_array_get(fields, command->field_count);
        command->fields[command->field_count] =
            (struct load_field){.name = text_of(field, "name"), .kind = kind_of(field)};
    }
    return 0;
}

static int schema_fill(struct mim_load_schema *schema) {
    size_t n;
    const json_t *aggregate;
    json_array_foreach(json_object_get(schema->root, "aggregates"), n, aggregate) {
        size_t k;
        const json_t *command;
        json_array_foreach(json_object_get(aggregate, "commands"), k, command) {
            int rc = command_add(schema, text_of(aggregate, "name"), command);
            if (rc != 0) {
                return rc;
            }
        }
    }
    return 0;
}

int mim_load_schema_new(struct mim_slice json, struct mim_load_schema **ret_schema, struct mim_error *reterr) {
    struct mim_load_schema *schema = calloc(1, sizeof(*schema));
    if (schema == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    json_error_t why;
    schema->root = json_loadb((const char *)json.data, json.size, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_array(json_object_get(schema->root, "aggregates"))) {
        (void)mim_load_schema_free(schema);
        return mim_error_set(reterr, MIM_E_INVALID, "the server's SCHEMA is of an unknown form");
    }
    int rc = schema_fill(schema);
    if (rc != 0) {
        (void)mim_load_schema_free(schema);
        return mim_error_set(reterr, rc, "out of memory");
    }
    *ret_schema = schema;
    return 0;
}

struct mim_load_schema *mim_load_schema_free(struct mim_load_schema *schema) {
    if (schema != NULL) {
        for (size_t i = 0; i < schema->count; i++) {
            free(schema->commands[i].fields);
        }
        free(schema->commands);
        json_decref(schema->root);
        free(schema);
    }
    return NULL;
}

static bool command_is(const struct mim_load_command *command, struct mim_slice aggregate, struct mim_slice name) {
    size_t size = command->type.size;
    return mim_slice_equal(command->name, name) && size > 0 && aggregate.size > size && aggregate.data[size] == '/' &&
           memcmp(aggregate.data, command->type.data, size) == 0;
}

const struct mim_load_command *mim_load_schema_command(struct mim_load_schema *schema, struct mim_slice aggregate,
                                                       struct mim_slice command) {
    for (size_t i = 0; schema != NULL && i < schema->count; i++) {
        if (command_is(&schema->commands[i], aggregate, command)) {
            return &schema->commands[i];
        }
    }
    return NULL;
}

enum mim_load_field mim_load_command_field(const struct mim_load_command *command, struct mim_slice name) {
    for (size_t i = 0; i < command->field_count; i++) {
        if (mim_slice_equal(command->fields[i].name, name)) {
            return command->fields[i].kind;
        }
    }
    return MIM_LOAD_OTHER;
}
