// SPDX-License-Identifier: MIT
// Dice that are rolled, and every way in which evolve can break its rules: one define each, and each strikes only at the
// event whose value is UNLUCKY, so that a check can be held to name that very event.
#include <memimage/model.h>
#include <stdlib.h>
#include <time.h>

#define UNLUCKY 13

struct dice {
    struct mim_text name;
    struct mim_vec rolls;
    int64_t total;
    int64_t noise;
    int64_t hidden;
};
static const struct mim_field dice_fields[] = {
    MIM_FIELD(struct dice, name, MIM_STRING),
    MIM_FIELD(struct dice, rolls, MIM_I64, .flags = MIM_LIST),
    MIM_FIELD(struct dice, total, MIM_I64),
    MIM_FIELD(struct dice, noise, MIM_I64),
    MIM_FIELD(struct dice, hidden, MIM_I64, .flags = MIM_HIDDEN),
};

struct roll {
    int64_t value;
};
static const struct mim_field roll_fields[] = {MIM_FIELD(struct roll, value, MIM_I64, .min = 1, .max = 1000)};

/** What no rule allows. */
static int64_t noise(struct dice *dice) {
    (void)dice;
#if defined(FAULT_RAND)
    return 1 + rand() % 1000000;
#elif defined(FAULT_COUNTER)
    static int64_t calls;
    return ++calls;
#elif defined(FAULT_POINTER) || defined(FAULT_HIDDEN)
    return (int64_t)(uintptr_t)dice;
#elif defined(FAULT_CONSTANT)
    return (int64_t)(uintptr_t)&dice_fields[0];
#elif defined(FAULT_UNINITIALISED)
    volatile int64_t garbage[32]; /* nobody writes to it */
    return garbage[7] | 1;
#elif defined(FAULT_HEAP)
    int64_t *volatile garbage = malloc(4000);
    int64_t value = garbage[100] | 1;
    free((void *)garbage);
    return value;
#elif defined(FAULT_SECONDS)
    return (int64_t)time(NULL);
#elif defined(FAULT_OFFSET)
    return (int64_t)dice->rolls.ref;
#elif defined(FAULT_CHANGED)
    return 7;
#else
    return 0;
#endif
}

static void evolve_rolled(struct mim_evolution *e, void *state, const void *event) {
    struct dice *dice = state;
    int64_t value = ((const struct roll *)event)->value;
    mim_text_set(e, &dice->name, mim_string_of("the dice of a game that is long enough"));
    *(int64_t *)mim_vec_push(e, &dice->rolls, sizeof(int64_t)) = value;
    dice->total += value;
#if defined(FAULT_HIDDEN)
    dice->hidden = value == UNLUCKY ? noise(dice) : dice->hidden;
#else
    dice->noise = value == UNLUCKY ? noise(dice) : dice->noise;
#endif
}

static const struct mim_event_type events[] = {
    {.name = "Rolled", .version = 1, .size = sizeof(struct roll), MIM_FIELDS(roll_fields), .evolve = evolve_rolled}};

static mim_verdict_t decide_roll(struct mim_decision *d, const void *state, const void *command) {
    (void)state;
    *(struct roll *)mim_emit(d, &events[0]) = *(const struct roll *)command;
    return mim_accept();
}

/** A projection without a digest: only the bytes of the image tell. */
static void project_rolled(struct mim_evolution *e, void *projection, const void *aggregate, const void *event) {
    (void)aggregate;
    int64_t value = ((const struct roll *)event)->value;
    int64_t *seen = mim_map_put(e, projection, sizeof(int64_t), mim_string_of("all"));
#if defined(FAULT_PROJECTION)
    *seen += value == UNLUCKY ? rand() : value;
#else
    *seen += value;
#endif
}

static const struct mim_projection_on sums_on[] = {{&events[0], project_rolled}};
static const struct mim_projection_type projections[] = {
    {.name = "sums", .state_size = sizeof(struct mim_map), .on = sums_on, .on_count = 1}};

static const struct mim_command_type commands[] = {
    {.name = "Roll", .size = sizeof(struct roll), MIM_FIELDS(roll_fields), .decide = decide_roll}};
static const struct mim_aggregate_type dice = {.name = "dice",
                                               .state_size = sizeof(struct dice),
                                               MIM_FIELDS(dice_fields),
                                               MIM_COMMANDS(commands),
                                               MIM_EVENTS(events)};
static const struct mim_model model = {.abi = MIM_MODEL_ABI,
                                       .version = 1,
                                       .name = "dice",
                                       .aggregates = &dice,
                                       .aggregate_count = 1,
                                       .projections = projections,
                                       .projection_count = 1};
MIM_MODEL_EXPORT(model)
