// SPDX-License-Identifier: MIT
// A model that fills its events with what it read from the image: strings that an event before it in the same transaction
// overwrites, numbers straight out of a vector, and members that no field describes.
#include <memimage/model.h>

struct note {
    struct mim_text name;
    struct mim_text before;
    struct mim_text archived;
    struct mim_vec sizes;
    struct mim_vec old_sizes;
    int64_t undescribed;
};
static const struct mim_field note_fields[] = {
    MIM_FIELD(struct note, name, MIM_STRING),
    MIM_FIELD(struct note, before, MIM_STRING),
    MIM_FIELD(struct note, archived, MIM_STRING),
    MIM_FIELD(struct note, sizes, MIM_I64, .flags = MIM_LIST),
    MIM_FIELD(struct note, old_sizes, MIM_I64, .flags = MIM_LIST),
    MIM_FIELD(struct note, undescribed, MIM_I64),
};

struct renamed {
    struct mim_string to;
    struct mim_string from;
    int64_t undescribed; /* a member that its table forgot */
    int64_t size;
};
static const struct mim_field renamed_fields[] = {
    MIM_FIELD(struct renamed, to, MIM_STRING),
    MIM_FIELD(struct renamed, from, MIM_STRING, .flags = MIM_OPTIONAL),
    MIM_FIELD(struct renamed, size, MIM_I64),
};

struct archived {
    struct mim_string name;
    struct mim_list sizes;
    struct mim_list names;
};
static const struct mim_field archived_fields[] = {
    MIM_FIELD(struct archived, name, MIM_STRING, .flags = MIM_OPTIONAL),
    MIM_FIELD(struct archived, sizes, MIM_I64, .flags = MIM_OPTIONAL | MIM_LIST),
    MIM_FIELD(struct archived, names, MIM_STRING, .flags = MIM_OPTIONAL | MIM_LIST),
};

static void evolve_renamed(struct mim_evolution *e, void *state, const void *event) {
    struct note *note = state;
    const struct renamed *renamed = event;
    mim_text_set(e, &note->name, renamed->to);
    mim_text_set(e, &note->before, renamed->from);
    mim_vec_clear(e, &note->sizes, sizeof(int64_t));
    for (int64_t i = 0; i < 3; i++) {
        *(int64_t *)mim_vec_push(e, &note->sizes, sizeof(int64_t)) = renamed->size + i;
    }
    note->undescribed = renamed->undescribed;
}

static void evolve_archived(struct mim_evolution *e, void *state, const void *event) {
    struct note *note = state;
    const struct archived *archived = event;
    mim_text_set(e, &note->archived, archived->name);
    mim_vec_clear(e, &note->old_sizes, sizeof(int64_t));
    for (size_t i = 0; i < archived->sizes.count; i++) {
        *(int64_t *)mim_vec_push(e, &note->old_sizes, sizeof(int64_t)) = ((const int64_t *)archived->sizes.items)[i];
    }
}

enum { RENAMED, ARCHIVED };
static const struct mim_event_type events[] = {
    [RENAMED] = {.name = "Renamed",
                 .version = 1,
                 .size = sizeof(struct renamed),
                 MIM_FIELDS(renamed_fields),
                 .evolve = evolve_renamed},
    [ARCHIVED] = {.name = "Archived",
                  .version = 1,
                  .size = sizeof(struct archived),
                  MIM_FIELDS(archived_fields),
                  .evolve = evolve_archived},
};

struct rename {
    struct mim_string to;
    int64_t size;
};
static const struct mim_field rename_fields[] = {MIM_FIELD(struct rename, to, MIM_STRING),
                                                 MIM_FIELD(struct rename, size, MIM_I64)};

static mim_verdict_t decide_rename(struct mim_decision *d, const void *state, const void *command) {
    const struct note *note = state;
    const struct rename *rename = command;
    const struct mim_host *host = mim_decision_host(d);
    struct renamed *renamed = mim_emit(d, &events[RENAMED]);
    renamed->to = rename->to;
    renamed->size = rename->size;
    renamed->undescribed = 77;
    if (note == NULL) {
        return mim_accept();
    }
    renamed->from = mim_text_get(host, &note->name);
    struct archived *archived = mim_emit(d, &events[ARCHIVED]);
    archived->name = mim_text_get(host, &note->name);
    archived->sizes = (struct mim_list){mim_vec_at(host, &note->sizes, sizeof(int64_t), 0), note->sizes.count};
    struct mim_string *names = mim_decision_alloc(d, 2 * sizeof(*names));
    names[0] = mim_text_get(host, &note->name);
    names[1] = mim_text_get(host, &note->before);
    archived->names = (struct mim_list){names, 2};
    return mim_accept();
}

static const struct mim_aggregate_type note;

/** Tells other notes, whose ids are made in a buffer that is gone when decide returns. */
static mim_verdict_t decide_spread(struct mim_decision *d, const void *state, const void *command) {
    (void)state;
    (void)command;
    for (int i = 0; i < 3; i++) {
        char id[] = "copy-0";
        id[5] = (char)('0' + i);
        struct renamed *renamed = mim_emit_to(d, &note, mim_string_of(id), &events[RENAMED]);
        char *text = mim_decision_alloc(d, 16);
        for (size_t k = 0; k < 16; k++) {
            text[k] = (char)('a' + i);
        }
        renamed->to = (struct mim_string){text, 16};
        id[0] = '?';
    }
    return mim_decision_alloc(d, SIZE_MAX) == NULL ? mim_accept()
                                                   : mim_reject(d, "BOUNDLESS", "there is an end to memory");
}

struct fill {
    int64_t count;
    bool texts;
};
static const struct mim_field fill_fields[] = {MIM_FIELD(struct fill, count, MIM_I64, .min = 0, .max = 1 << 20),
                                               MIM_FIELD(struct fill, texts, MIM_BOOL)};

/** A list as long as asked, of numbers or of empty texts. */
static mim_verdict_t decide_fill(struct mim_decision *d, const void *state, const void *command) {
    const struct fill *fill = command;
    size_t count = (size_t)fill->count;
    (void)state;
    struct archived *archived = mim_emit(d, &events[ARCHIVED]);
    struct mim_list list = {mim_decision_alloc(d, count * (fill->texts ? sizeof(struct mim_string) : sizeof(int64_t))),
                            count};
    if (list.items == NULL) {
        return mim_reject(d, "TOO_LONG", "there is no memory for such a list");
    }
    for (size_t i = 0; fill->texts && i < count; i++) {
        ((struct mim_string *)(uintptr_t)list.items)[i] = mim_string_of("");
    }
    *(fill->texts ? &archived->names : &archived->sizes) = list;
    return mim_accept();
}

static const struct mim_command_type commands[] = {
    {.name = "Rename", .size = sizeof(struct rename), MIM_FIELDS(rename_fields), .decide = decide_rename},
    {.name = "Spread", .decide = decide_spread},
    {.name = "Fill", .size = sizeof(struct fill), MIM_FIELDS(fill_fields), .decide = decide_fill},
};

static const struct mim_aggregate_type note = {.name = "note",
                                               .state_size = sizeof(struct note),
                                               MIM_FIELDS(note_fields),
                                               MIM_COMMANDS(commands),
                                               MIM_EVENTS(events)};
static const struct mim_model model = {
    .abi = MIM_MODEL_ABI, .version = 1, .name = "borrow", .aggregates = &note, .aggregate_count = 1};
MIM_MODEL_EXPORT(model)
