// SPDX-License-Identifier: MIT
// Events as CloudEvents 1.0 (structured JSON), by the definitions in the journal: what was written, as it was written.
// Names and ids come from the image, so the event must have been applied. And which events somebody wants.
#ifndef MIM_ENGINE_CLOUDEVENT_H
#define MIM_ENGINE_CLOUDEVENT_H

#include "engine/engine.h"
#include "journal/access.h"

struct mim_cloudevents; /* new/free; borrows the engine */

MIM_CHECKED int mim_cloudevents_new(struct mim_engine *engine, struct mim_cloudevents **ret_events,
                                    struct mim_error *reterr);
struct mim_cloudevents *mim_cloudevents_free(struct mim_cloudevents *events);
/** Appends the event as one JSON object. DAMAGED when record and image contradict each other (nothing appended). */
MIM_CHECKED int mim_cloudevents_encode(struct mim_cloudevents *events, const struct mim_journal_event *event,
                                       struct mim_buffer *out, struct mim_error *reterr);

/** What an event is about, without its data. Borrowed from the model and the image: valid until the next command. */
struct mim_event_about {
    const char *type;           /* "account.Deposited" */
    const char *aggregate_type; /* "account" */
    unsigned aggregate;         /* its index in the model */
    struct mim_slice id;
    mim_version_t newest_version; /* of the aggregate in the image: this event's, or a later one */
};
/** DAMAGED when record and image contradict each other; MEMORY. */
MIM_CHECKED int mim_cloudevents_about(struct mim_cloudevents *events, const struct mim_journal_event *event,
                                      struct mim_event_about *ret_about, struct mim_error *reterr);
/** Appends the audience that the model gave the event, entries with commas between them; returns its size, 0 for none. */
size_t mim_event_audience(const struct mim_record *record, struct mim_buffer *out);

/** Which events are wanted: all conditions together. `{0}` wants all. */
struct mim_event_filter {
    bool one_aggregate; /* of type `aggregate` only */
    bool one_stream;    /* of that type and `id` only */
    bool has_stream;    /* `stream` is known */
    unsigned aggregate;
    mim_stream_t stream;
    uint8_t id_size_less_1;
    uint8_t id[MIM_ID_SIZE_MAX];
    uint64_t *types;            /* owned: bit per compiled event; NULL: all */
    struct mim_permits permits; /* asked of every event's stream */
    uint16_t correlation_size;
    uint8_t correlation[MIM_KEY_SIZE_MAX]; /* size 0: any */
};

void mim_event_filter_deinit(struct mim_event_filter *filter);
/** INVALID with a sentence: unknown type, malformed id. */
MIM_CHECKED int mim_event_filter_type(struct mim_event_filter *filter, const struct mim_engine *engine,
                                      struct mim_slice type, struct mim_error *reterr);
MIM_CHECKED int mim_event_filter_stream(struct mim_event_filter *filter, const struct mim_engine *engine,
                                        struct mim_slice type, struct mim_slice id, struct mim_error *reterr);
/** Comma-separated names: account.Deposited, or Deposited of any type. INVALID names the unknown one. */
MIM_CHECKED int mim_event_filter_types(struct mim_event_filter *filter, const struct mim_engine *engine,
                                       struct mim_slice names, struct mim_error *reterr);
MIM_CHECKED int mim_event_filter_correlation(struct mim_event_filter *filter, struct mim_slice correlation,
                                             struct mim_error *reterr);
bool mim_event_filter_wants(struct mim_event_filter *filter, const struct mim_engine *engine,
                            const struct mim_journal_event *event);

#endif
