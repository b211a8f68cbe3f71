// SPDX-License-Identifier: MIT
// A thing with a field of every type: a command makes it, an event tells it, its state shows it.
#include <memimage/model.h>

struct made {
    bool flag;
    int32_t small;
    int64_t wide;
    uint64_t natural;
    double real;
    struct mim_string text;
    struct mim_string bytes;
    int64_t time;
    int64_t optional;
    struct mim_string note;
    struct mim_list numbers;
    struct mim_list tags;
    struct mim_string letters;
    struct mim_string other;
};
static const struct mim_field made_fields[] = {
    MIM_FIELD(struct made, flag, MIM_BOOL),
    MIM_FIELD(struct made, small, MIM_I32),
    MIM_FIELD(struct made, wide, MIM_I64),
    MIM_FIELD(struct made, natural, MIM_U64),
    MIM_FIELD(struct made, real, MIM_F64),
    MIM_FIELD(struct made, text, MIM_STRING, .min = 1, .max = 100),
    MIM_FIELD(struct made, bytes, MIM_BYTES),
    MIM_FIELD(struct made, time, MIM_TIMESTAMP),
    MIM_FIELD(struct made, letters, MIM_STRING, .flags = MIM_LETTERS, .min = 1, .max = 5),
    MIM_FIELD(struct made, other, MIM_STRING, .flags = MIM_ID),
    MIM_FIELD(struct made, optional, MIM_I64, .flags = MIM_OPTIONAL, .fallback = 7),
    MIM_FIELD(struct made, note, MIM_STRING, .flags = MIM_OPTIONAL),
    MIM_FIELD(struct made, numbers, MIM_I64, .flags = MIM_OPTIONAL | MIM_LIST),
    MIM_FIELD(struct made, tags, MIM_STRING, .flags = MIM_OPTIONAL | MIM_LIST),
};

struct thing {
    bool flag;
    int32_t small;
    int64_t wide;
    uint64_t natural;
    double real;
    struct mim_text text;
    struct mim_text bytes;
    int64_t time;
    struct mim_vec numbers;
    struct mim_map counts;
    int64_t hidden;
};
static const struct mim_field thing_fields[] = {
    MIM_FIELD(struct thing, flag, MIM_BOOL),
    MIM_FIELD(struct thing, small, MIM_I32),
    MIM_FIELD(struct thing, wide, MIM_I64),
    MIM_FIELD(struct thing, natural, MIM_U64),
    MIM_FIELD(struct thing, real, MIM_F64),
    MIM_FIELD(struct thing, text, MIM_STRING),
    MIM_FIELD(struct thing, bytes, MIM_BYTES),
    MIM_FIELD(struct thing, time, MIM_TIMESTAMP),
    MIM_FIELD(struct thing, numbers, MIM_I64, .flags = MIM_LIST),
    MIM_FIELD(struct thing, counts, MIM_COUNTS),
    MIM_FIELD(struct thing, hidden, MIM_I64, .flags = MIM_HIDDEN),
};

static void evolve_made(struct mim_evolution *e, void *state, const void *event) {
    struct thing *thing = state;
    const struct made *made = event;
    thing->flag = made->flag;
    thing->small = made->small;
    thing->wide = made->wide;
    thing->natural = made->natural;
    thing->real = made->real;
    mim_text_set(e, &thing->text, made->text);
    mim_text_set(e, &thing->bytes, made->bytes);
    thing->time = made->time;
    for (size_t i = 0; i < made->numbers.count; i++) {
        *(int64_t *)mim_vec_push(e, &thing->numbers, sizeof(int64_t)) = ((const int64_t *)made->numbers.items)[i];
    }
    for (size_t i = 0; i < made->tags.count; i++) {
        ++*(int64_t *)mim_map_put(e, &thing->counts, sizeof(int64_t), ((const struct mim_string *)made->tags.items)[i]);
    }
    thing->hidden++;
}

static const struct mim_event_type events[] = {{.name = "Made",
                                                .version = 1,
                                                .size = sizeof(struct made),
                                                MIM_FIELDS(made_fields),
                                                .evolve = evolve_made,
                                                .doc = "A thing with \"everything\"."}};

static mim_verdict_t decide_make(struct mim_decision *d, const void *state, const void *command) {
    (void)state;
    *(struct made *)mim_emit(d, &events[0]) = *(const struct made *)command;
    return mim_accept();
}

static const struct mim_command_type commands[] = {
    {.name = "Make", .size = sizeof(struct made), MIM_FIELDS(made_fields), .decide = decide_make}};
static const struct mim_aggregate_type thing = {.name = "thing",
                                                .state_size = sizeof(struct thing),
                                                MIM_FIELDS(thing_fields),
                                                MIM_COMMANDS(commands),
                                                MIM_EVENTS(events)};
static const struct mim_model model = {
    .abi = MIM_MODEL_ABI, .version = 1, .name = "types", .aggregates = &thing, .aggregate_count = 1};
MIM_MODEL_EXPORT(model)
