// SPDX-License-Identifier: MIT
// A small model for tests, as a shared object: notes that name who may read them. Its event has an audience.
#include "memimage/model.h"

struct note {
    struct mim_text text;
    int64_t edits;
};
static const struct mim_field note_fields[] = {
    MIM_FIELD(struct note, text, MIM_STRING),
    MIM_FIELD(struct note, edits, MIM_I64),
};

struct written {
    struct mim_string text;
    struct mim_list readers;
};
static const struct mim_field written_fields[] = {
    MIM_FIELD(struct written, text, MIM_STRING, .max = 1000000),
    MIM_FIELD(struct written, readers, MIM_STRING, .flags = MIM_LIST | MIM_OPTIONAL, .max = 100),
};

static void evolve_written(struct mim_evolution *e, void *state, const void *event) {
    struct note *note = state;
    mim_text_set(e, &note->text, ((const struct written *)event)->text);
    note->edits++;
}

static size_t audience_of_written(const void *state, const void *event, struct mim_string *ret_entries,
                                  size_t capacity) {
    (void)state;
    const struct mim_list *readers = &((const struct written *)event)->readers;
    for (size_t i = 0; i < readers->count && i < capacity; i++) {
        ret_entries[i] = ((const struct mim_string *)readers->items)[i];
    }
    return readers->count;
}

static const struct mim_event_type events[] = {
    {.name = "Written",
     .version = 1,
     .size = sizeof(struct written),
     MIM_FIELDS(written_fields),
     .evolve = evolve_written,
     .audience = audience_of_written,
     .doc = "the note has this text from here on"},
};

static mim_verdict_t decide_write(struct mim_decision *d, const void *state, const void *command) {
    (void)state;
    *(struct written *)mim_emit(d, &events[0]) = *(const struct written *)command;
    return mim_accept();
}

static const struct mim_command_type commands[] = {
    {.name = "Write",
     .size = sizeof(struct written),
     MIM_FIELDS(written_fields),
     .decide = decide_write,
     .doc = "writes a note, for these readers"},
};

static const struct mim_aggregate_type aggregates[] = {
    {.name = "note",
     .state_size = sizeof(struct note),
     MIM_FIELDS(note_fields),
     .commands = commands,
     .command_count = MIM_COUNT_OF(commands),
     .events = events,
     .event_count = MIM_COUNT_OF(events)},
};

static const struct mim_model model = {
    .abi = MIM_MODEL_ABI,
    .version = 1,
    .name = "notes",
    .aggregates = aggregates,
    .aggregate_count = MIM_COUNT_OF(aggregates),
};

MIM_MODEL_EXPORT(model)
