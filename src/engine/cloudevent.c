// SPDX-License-Identifier: MIT
// CloudEvents from records; see cloudevent.h. Definitions are decoded once each and kept.
#include "engine/cloudevent.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/internal.h"

struct kept_definition {
    uint8_t *payload; /* owned; the definition borrows it */
    struct mim_definition definition;
};

struct mim_cloudevents {
    struct mim_engine *engine;
    struct kept_definition **definitions; /* by journal number of the event type; NULL: not met yet */
    uint64_t catalog_seen;
    struct mim_buffer audience;
    char source[64];
};

int mim_cloudevents_new(struct mim_engine *engine, struct mim_cloudevents **ret_events, struct mim_error *reterr) {
    struct mim_cloudevents *events = calloc(1, sizeof(*events));
    if (events != NULL) {
        events->definitions = calloc(MIM_CATALOG_MAX + 1,
                                     sizeof(*events->definitions)); /* NOLINT(bugprone-sizeof-expression): pointers */
    }
    if (events == NULL || events->definitions == NULL) {
        free(events);
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    events->engine = engine;
    const uint8_t *u = engine->root->history.uuid;
    (void)snprintf(events->source, sizeof(events->source),
                   "/memimage/%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2],
                   u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
    *ret_events = events;
    return 0;
}

struct mim_cloudevents *mim_cloudevents_free(struct mim_cloudevents *events) {
    if (events != NULL) {
        for (unsigned i = 0; i <= MIM_CATALOG_MAX; i++) {
            if (events->definitions[i] != NULL) {
                free(events->definitions[i]->payload);
                free(events->definitions[i]);
            }
        }
        free(events->definitions);
        mim_buffer_deinit(&events->audience);
        free(events);
    }
    return NULL;
}

static int keep_definition(struct mim_cloudevents *events, struct mim_slice payload, struct mim_error *reterr) {
    struct mim_definition definition;
    int rc = mim_definition_decode(payload, &definition, reterr);
    if (rc != 0 || definition.kind != MIM_DEFINE_EVENT || definition.number > MIM_CATALOG_MAX ||
        events->definitions[definition.number] != NULL) {
        return rc;
    }
    struct kept_definition *kept = calloc(1, sizeof(*kept));
    uint8_t *copy = malloc(payload.size);
    if (kept == NULL || copy == NULL) {
        free(kept);
        free(copy);
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    memcpy(copy, payload.data, payload.size);
    kept->payload = copy;
    rc = mim_definition_decode(mim_slice_of(copy, payload.size), &kept->definition, reterr);
    events->definitions[definition.number] = kept;
    return rc;
}

/** Takes in what the catalog has got since. */
static int definitions_refresh(struct mim_cloudevents *events, struct mim_error *reterr) {
    const struct mim_engine *engine = events->engine;
    for (; events->catalog_seen < engine->root->catalog.count; events->catalog_seen++) {
        const struct mim_catalog_entry *entry =
            mim_slots_at(&engine->arena, &engine->root->catalog, events->catalog_seen);
        int rc = keep_definition(events, mim_text_slice(&engine->arena, &entry->payload), reterr);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static void member_text(struct mim_json *j, const char *key, struct mim_slice value) {
    mim_json_key(j, key);
    mim_json_string(j, (struct mim_string){.data = (const char *)value.data, .size = value.size});
}

static void member_number(struct mim_json *j, const char *key, uint64_t value) {
    mim_json_key(j, key);
    mim_json_u64(j, value);
}

size_t mim_event_audience(const struct mim_record *record, struct mim_buffer *out) {
    struct mim_slice part;
    size_t before = out->size;
    if ((record->flags & MIM_PART_AUDIENCE) == 0 || !mim_record_part(record, MIM_PART_AUDIENCE, &part)) {
        return 0;
    }
    struct mim_byte_reader reader = {.data = part.data, .size = part.size};
    while (reader.offset < reader.size) {
        size_t size = mim_read16(&reader);
        const uint8_t *entry = mim_read_bytes(&reader, size);
        if (reader.overflow) {
            break;
        }
        if (out->size > before) {
            mim_buffer_append(out, ",", 1);
        }
        mim_buffer_append(out, entry, size);
    }
    return out->size - before;
}

static void write_context(struct mim_json *j, const struct mim_journal_event *event) {
    char time[MIM_RFC3339_SIZE + 1];
    mim_rfc3339_format(event->time_ms, time);
    member_text(j, "time", mim_slice_text(time));
    member_text(j, "datacontenttype", mim_slice_text("application/json"));
    member_number(j, "position", event->position);
    member_number(j, "streamversion", event->record.version);
    const struct {
        const char *name;
        struct mim_slice value;
    } given[] = {{"correlationid", event->correlation}, {"causationid", event->causation}, {"actor", event->actor}};
    for (unsigned i = 0; i < 3; i++) {
        if (given[i].value.data != NULL) {
            member_text(j, given[i].name, given[i].value);
        }
    }
}

/** An extension attribute of CloudEvents has no lists: the entries stand in one string, with commas between them. */
static void write_audience(struct mim_cloudevents *events, struct mim_json *j, const struct mim_record *record) {
    events->audience.size = 0;
    size_t size = mim_event_audience(record, &events->audience);
    if (size > 0) {
        member_text(j, "audience", mim_slice_of(events->audience.data, size));
    }
}

int mim_cloudevents_about(struct mim_cloudevents *events, const struct mim_journal_event *event,
                          struct mim_event_about *ret_about, struct mim_error *reterr) {
    const struct mim_engine *engine = events->engine;
    const struct mim_record *record = &event->record;
    const struct mim_bound_event *bound = &engine->bound[record->type <= MIM_CATALOG_MAX ? record->type : 0];
    int rc = events->catalog_seen < engine->root->catalog.count ? definitions_refresh(events, reterr) : 0;
    if (rc != 0) {
        return rc;
    }
    if (bound->event == NULL || events->definitions[record->type] == NULL ||
        record->stream >= engine->aggregates[bound->event->aggregate].slots.count) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "the event at position %llu is not known to the image",
                             (unsigned long long)event->position);
    }
    const struct mim_slot *slot = mim_engine_slot(engine, bound->event->aggregate, record->stream);
    *ret_about = (struct mim_event_about){
        .type = bound->event->full_name,
        .aggregate_type = engine->compiled->model->aggregates[bound->event->aggregate].name,
        .aggregate = bound->event->aggregate,
        .id = mim_text_slice(&engine->arena, &slot->id),
        .newest_version = slot->version,
    };
    return 0;
}

int mim_cloudevents_encode(struct mim_cloudevents *events, const struct mim_journal_event *event,
                           struct mim_buffer *out, struct mim_error *reterr) {
    const struct mim_record *record = &event->record;
    struct mim_event_about about;
    int rc = mim_cloudevents_about(events, event, &about, reterr);
    if (rc != 0) {
        return rc;
    }
    const struct mim_definition *definition = &events->definitions[record->type]->definition;
    char number[24];
    char subject[MIM_NAME_SIZE_MAX + 1 + MIM_ID_SIZE_MAX + 1];
    (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)event->position);
    (void)snprintf(subject, sizeof(subject), "%s/%.*s", about.aggregate_type, (int)about.id.size,
                   (const char *)about.id.data);
    size_t before = out->size;
    struct mim_json j = mim_json_to(out);
    mim_json_object(&j);
    member_text(&j, "specversion", mim_slice_text("1.0"));
    member_text(&j, "id", mim_slice_text(number));
    member_text(&j, "source", mim_slice_text(events->source));
    member_text(&j, "type", mim_slice_text(about.type));
    member_text(&j, "subject", mim_slice_text(subject));
    member_number(&j, "schemaversion", definition->version);
    write_context(&j, event);
    write_audience(events, &j, record);
    mim_json_key(&j, "data");
    if (!mim_json_payload(&j, definition, record->payload)) {
        out->size = before;
        return mim_error_set(reterr, MIM_E_DAMAGED, "the event at position %llu has a malformed payload",
                             (unsigned long long)event->position);
    }
    mim_json_object_end(&j);
    return 0;
}
