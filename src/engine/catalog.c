// SPDX-License-Identifier: MIT
// The journal's numbers for aggregate types, event types and commands: defined the first time one is used, bound to
// the model at replay. What the model cannot read is collected, so that a start is refused with the whole list.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/internal.h"

#define MIM_MISSING_SIZE_MAX 65536u /* the list ends somewhere, however wrong the model is */

/** Adds a line to the list of what is missing; from then on events are not applied. */
__attribute__((format(printf, 2, 3))) static void catalog_missing(struct mim_engine *engine, const char *format, ...) {
    char line[320];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    engine->unreadable = true;
    size_t old = engine->missing == NULL ? 0 : strlen(engine->missing);
    if (size < 0 || old > MIM_MISSING_SIZE_MAX) {
        return;
    }
    char *grown = realloc(engine->missing, old + sizeof(line) + 2);
    if (grown == NULL) {
        return;
    }
    (void)snprintf(grown + old, sizeof(line) + 2, "%s%s", old == 0 ? "" : "\n", line);
    engine->missing = grown;
}

const char *mim_engine_missing(const struct mim_engine *engine) { return engine->missing; }

static bool field_named(const struct mim_field *field, struct mim_slice name) {
    return mim_slice_equal(mim_slice_text(field->name), name) ||
           (field->was != NULL && mim_slice_equal(mim_slice_text(field->was), name));
}

/** The journaled fields must be a prefix of the model's: same types, same or former names, and the same fallbacks.
 *  A fallback is what stored events mean by leaving the field out (a field at its fallback is not stored), so that
 *  another one would change history; it belongs to a new version of the event, or to the command's field. */
static bool catalog_fields_agree(struct mim_engine *engine, const struct mim_definition *definition,
                                 const struct mim_bound_event *bound, const char *full_name) {
    for (uint32_t i = 0; i < definition->field_count; i++) {
        const struct mim_definition_field *journaled = &definition->fields[i];
        if (i >= bound->field_count) {
            catalog_missing(engine, "event %s version %u: field \"%.*s\" of the journal is not in the model", full_name,
                            definition->version, (int)journaled->name.size, (const char *)journaled->name.data);
            return false;
        }
        const struct mim_field *field = &bound->fields[i];
        bool list = (field->flags & MIM_LIST) != 0;
        bool journaled_list = (journaled->flags & MIM_LIST) != 0;
        if (journaled->type != (uint8_t)field->type || journaled_list != list || !field_named(field, journaled->name)) {
            catalog_missing(engine,
                            "event %s version %u: field %u is \"%.*s\", %s%s, in the journal, but \"%s\", %s%s, in "
                            "the model",
                            full_name, definition->version, i + 1, (int)journaled->name.size,
                            (const char *)journaled->name.data, mim_field_type_name(journaled->type),
                            journaled_list ? " list" : "", field->name, mim_field_type_name(field->type),
                            list ? " list" : "");
            return false;
        }
        if (journaled->fallback != field->fallback) {
            catalog_missing(
                engine,
                "event %s version %u: field \"%s\" that was left out means %lld in the journal, the model's "
                "fallback is %lld",
                full_name, definition->version, field->name, (long long)journaled->fallback,
                (long long)field->fallback);
            return false;
        }
    }
    return true;
}

/** New events may be written under a definition that tells them as the model does today, former names apart. */
static bool catalog_is_today(const struct mim_definition *definition, const struct mim_bound_event *bound) {
    bool today = definition->field_count == bound->field_count;
    for (uint32_t i = 0; today && i < definition->field_count; i++) {
        today = mim_slice_equal(mim_slice_text(bound->fields[i].name), definition->fields[i].name);
    }
    return today;
}

/** The name that the journal gives an aggregate type, for messages: the model may not know it. */
static struct mim_slice catalog_aggregate_name(const struct mim_engine *engine, uint16_t number) {
    for (uint64_t i = 0; i < engine->root->catalog.count; i++) {
        const struct mim_catalog_entry *entry = mim_slots_at(&engine->arena, &engine->root->catalog, i);
        struct mim_definition definition;
        if (mim_definition_decode(mim_text_slice(&engine->arena, &entry->payload), &definition, NULL) == 0 &&
            definition.kind == MIM_DEFINE_AGGREGATE && definition.number == number) {
            return definition.name;
        }
    }
    return mim_slice_text("?");
}

static void catalog_bind_event(struct mim_engine *engine, const struct mim_definition *definition) {
    struct mim_bound_event *bound = &engine->bound[definition->number];
    *bound = (struct mim_bound_event){.defined = true};
    int aggregate =
        definition->aggregate <= MIM_AGGREGATE_TYPES_MAX ? engine->aggregate_of_number[definition->aggregate] : -2;
    const struct mim_compiled_event *event = aggregate < 0 ? NULL
                                                           : mim_compiled_event(engine->compiled, (unsigned)aggregate,
                                                                                definition->name, definition->version);
    if (event == NULL) {
        struct mim_slice type = catalog_aggregate_name(engine, definition->aggregate);
        catalog_missing(engine, "event %.*s.%.*s version %u", (int)type.size, (const char *)type.data,
                        (int)definition->name.size, (const char *)definition->name.data, definition->version);
        return;
    }
    bound->fields = event->type != NULL ? event->type->fields : event->retired->fields;
    bound->field_count = event->type != NULL ? event->type->field_count : event->retired->field_count;
    if (!catalog_fields_agree(engine, definition, bound, event->full_name)) {
        return;
    }
    bound->slots = &engine->aggregates[aggregate].slots;
    bound->event = event;
    bound->kind = (uint8_t)(event->ordered ? MIM_KIND_ORDERED : event->index % MIM_KIND_ORDERED);
    bound->data = engine->event_blanks + event->blank;
    bound->missing = engine->compiled->blanks + event->blank;
    bound->copied_below = (uint32_t)(event->in_place + 1);
    bound->copied_end = bound->data + (event->in_place < 0 ? 0 : event->in_place);
    if (event->type != NULL && catalog_is_today(definition, bound)) {
        engine->event_numbers[event->index] = definition->number;
    }
}

static void catalog_bind_aggregate(struct mim_engine *engine, const struct mim_definition *definition) {
    int aggregate = mim_compiled_aggregate(engine->compiled, definition->name);
    engine->aggregate_of_number[definition->number] = aggregate;
    if (aggregate >= 0) {
        engine->aggregate_numbers[aggregate] = definition->number;
    } else {
        catalog_missing(engine, "aggregate type %.*s", (int)definition->name.size, (const char *)definition->name.data);
    }
}

static void catalog_bind_command(struct mim_engine *engine, const struct mim_definition *definition) {
    int aggregate =
        definition->aggregate <= MIM_AGGREGATE_TYPES_MAX ? engine->aggregate_of_number[definition->aggregate] : -2;
    if (aggregate < 0) {
        return;
    }
    const struct mim_compiled_command *command =
        mim_compiled_command(engine->compiled, (unsigned)aggregate, definition->name);
    if (command != NULL) { /* a command that is gone matters to nobody: events are what happened */
        engine->command_numbers[command->index] = definition->number;
    }
}

/** Binds a definition; its number must be the next of its kind. */
static int catalog_bind(struct mim_engine *engine, const struct mim_definition *definition, struct mim_error *reterr) {
    uint16_t *next = definition->kind == MIM_DEFINE_AGGREGATE ? &engine->next_aggregate_number
                     : definition->kind == MIM_DEFINE_EVENT   ? &engine->next_event_number
                                                              : &engine->next_command_number;
    uint32_t most = definition->kind == MIM_DEFINE_AGGREGATE ? MIM_AGGREGATE_TYPES_MAX : MIM_CATALOG_MAX;
    if (definition->number != *next || definition->number > most) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "definition number %u where %u was expected", definition->number,
                             *next);
    }
    (*next)++;
    switch (definition->kind) {
    case MIM_DEFINE_AGGREGATE:
        catalog_bind_aggregate(engine, definition);
        break;
    case MIM_DEFINE_EVENT:
        catalog_bind_event(engine, definition);
        break;
    default:
        catalog_bind_command(engine, definition);
        break;
    }
    return 0;
}

int mim_catalog_apply(struct mim_engine *engine, struct mim_slice payload, bool keep, struct mim_error *reterr) {
    struct mim_definition definition;
    int rc = mim_definition_decode(payload, &definition, reterr);
    if (rc == 0) {
        rc = catalog_bind(engine, &definition, reterr);
    }
    if (rc != 0 || !keep) {
        return rc;
    }
    struct mim_catalog_entry *entry = mim_slots_push(&engine->arena, &engine->root->catalog);
    if (entry == NULL || !mim_text_assign(&engine->arena, &entry->payload, payload)) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory in the image for a definition");
    }
    return 0;
}

int mim_catalog_rebind(struct mim_engine *engine, struct mim_error *reterr) {
    for (uint64_t i = 0; i < engine->root->catalog.count; i++) {
        const struct mim_catalog_entry *entry = mim_slots_at(&engine->arena, &engine->root->catalog, i);
        int rc = mim_catalog_apply(engine, mim_text_slice(&engine->arena, &entry->payload), false, reterr);
        if (rc != 0) {
            return mim_error_prefix(reterr, "catalog entry %llu", (unsigned long long)i);
        }
    }
    return 0;
}

/** Journals a definition in a record of its own and takes it in. */
static int catalog_define(struct mim_engine *engine, struct mim_appender *appender,
                          const struct mim_definition *definition, int64_t time_ms) {
    uint8_t payload[16 + MIM_NAME_SIZE_MAX + MIM_FIELDS_MAX * (MIM_NAME_SIZE_MAX + 16)];
    struct mim_byte_writer writer = {.data = payload, .capacity = sizeof(payload)};
    bool encoded = mim_definition_encode(definition, &writer);
    MIM_ASSERT(encoded);
    static const struct mim_record_parts no_parts;
    size_t size = mim_record_size(writer.size, &no_parts);
    uint8_t *at;
    int rc = mim_appender_reserve(appender, size, 0, time_ms, &at);
    if (rc != 0) {
        return rc;
    }
    memcpy(at + MIM_RECORD_HEADER_SIZE, payload, writer.size);
    struct mim_record record = {
        .type = MIM_RECORD_DEFINE,
        .flags = MIM_FLAG_TX_FIRST | MIM_FLAG_TX_LAST,
        .frame_offset = appender->frame_size,
        .time_delta_ms = (uint16_t)(time_ms - appender->frame_time_ms),
    };
    (void)mim_record_finish(at, &record, writer.size, &no_parts);
    mim_appender_commit(appender, size, 0);
    engine->last_gate = appender->frame_lsn + 1;
    struct mim_error error = {0};
    rc = mim_catalog_apply(engine, mim_slice_of(payload, writer.size), true, &error);
    MIM_ASSERT(rc == 0);
    return 0;
}

static int catalog_ensure_aggregate(struct mim_engine *engine, struct mim_appender *appender, uint16_t aggregate,
                                    int64_t time_ms) {
    if (engine->aggregate_numbers[aggregate] != 0) {
        return 0;
    }
    struct mim_definition definition = {
        .kind = MIM_DEFINE_AGGREGATE,
        .number = engine->next_aggregate_number,
        .name = mim_slice_text(engine->compiled->model->aggregates[aggregate].name),
    };
    return catalog_define(engine, appender, &definition, time_ms);
}

int mim_catalog_ensure(struct mim_engine *engine, struct mim_appender *appender, const struct mim_compiled_event *event,
                       int64_t time_ms) {
    if (MIM_LIKELY(engine->event_numbers[event->index] != 0)) {
        return 0;
    }
    int rc = catalog_ensure_aggregate(engine, appender, event->aggregate, time_ms);
    if (rc != 0) {
        return rc;
    }
    if (engine->next_event_number > MIM_CATALOG_MAX) {
        return MIM_E_LIMIT;
    }
    struct mim_definition definition = {
        .kind = MIM_DEFINE_EVENT,
        .number = engine->next_event_number,
        .aggregate = engine->aggregate_numbers[event->aggregate],
        .version = event->type->version,
        .name = mim_slice_text(event->type->name),
        .field_count = event->type->field_count,
    };
    for (uint32_t i = 0; i < event->type->field_count; i++) {
        const struct mim_field *field = &event->type->fields[i];
        definition.fields[i] = (struct mim_definition_field){
            .type = (uint8_t)field->type,
            .flags = (uint8_t)(field->flags & (MIM_OPTIONAL | MIM_LIST)),
            .fallback = field->fallback,
            .name = mim_slice_text(field->name),
        };
    }
    return catalog_define(engine, appender, &definition, time_ms);
}

int mim_catalog_ensure_command(struct mim_engine *engine, struct mim_appender *appender,
                               const struct mim_compiled_command *command, int64_t time_ms) {
    if (MIM_LIKELY(engine->command_numbers[command->index] != 0)) {
        return 0;
    }
    int rc = catalog_ensure_aggregate(engine, appender, command->aggregate, time_ms);
    if (rc != 0 || engine->next_command_number > MIM_CATALOG_MAX) {
        return rc != 0 ? rc : MIM_E_LIMIT;
    }
    struct mim_definition definition = {
        .kind = MIM_DEFINE_COMMAND,
        .number = engine->next_command_number,
        .aggregate = engine->aggregate_numbers[command->aggregate],
        .name = mim_slice_text(command->type->name),
    };
    return catalog_define(engine, appender, &definition, time_ms);
}
