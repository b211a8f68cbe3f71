// SPDX-License-Identifier: MIT
// A model that changed over the years: plain, it is version 1, with its two misspelt names; every define is one change
// that somebody may make to it. tests/golden/parcel-1 was written by the plain one, parcel-2 by that of meson.build.
#include <memimage/model.h>

struct parcel {
    struct mim_text recipient;
    struct mim_text place;
    int64_t weight;
    int64_t metres;
    int64_t tips;
    int32_t priority;
    int32_t moves;
    bool express;
    bool dropped;
    bool delivered;
};
static const struct mim_field parcel_fields[] = {
    MIM_FIELD(struct parcel, recipient, MIM_STRING), MIM_FIELD(struct parcel, place, MIM_STRING),
    MIM_FIELD(struct parcel, weight, MIM_I64),       MIM_FIELD(struct parcel, metres, MIM_I64),
    MIM_FIELD(struct parcel, tips, MIM_I64),         MIM_FIELD(struct parcel, priority, MIM_I32),
    MIM_FIELD(struct parcel, moves, MIM_I32),        MIM_FIELD(struct parcel, express, MIM_BOOL),
    MIM_FIELD(struct parcel, dropped, MIM_BOOL),     MIM_FIELD(struct parcel, delivered, MIM_BOOL),
};

/* ------------------------------------------------------------------------------------- Registered */

struct registered {
    struct mim_string recipient;
    int64_t weight;
    bool express;
    int32_t priority;
};

#define OLD_WEIGHT \
    { .name = "wieght", .type = MIM_I64, .offset = (uint32_t)offsetof(struct registered, weight) }

static const struct mim_field registered_fields[] = {
    MIM_FIELD(struct registered, recipient, MIM_STRING),
#if defined(RENAMED)
    MIM_FIELD(struct registered, weight, MIM_I64, .was = "wieght"),
#elif defined(RENAMED_SILENTLY)
    MIM_FIELD(struct registered, weight, MIM_I64),
#else
    OLD_WEIGHT,
#endif
#if !defined(REMOVED) && !defined(REMOVED_SILENTLY)
    MIM_FIELD(struct registered, express, MIM_BOOL),
#endif
#if defined(ADDED)
    MIM_FIELD(struct registered, priority, MIM_I32, .flags = MIM_OPTIONAL, .fallback = ADDED),
#endif
};

static void evolve_registered(struct mim_evolution *e, void *state, const void *event) {
    struct parcel *parcel = state;
    const struct registered *registered = event;
    mim_text_set(e, &parcel->recipient, registered->recipient);
    parcel->weight = registered->weight;
    parcel->express = registered->express;
    parcel->priority = registered->priority;
}

/* -------------------------------------------------------------------------------------- the others */

struct moved {
    struct mim_string place;
    int64_t metres;
};
struct moved_1 {
    struct mim_string place;
#if defined(WIDENED)
    int64_t km;
#else
    int32_t km;
#endif
};
struct dropped {
    struct mim_string place;
};
struct delivered {
    struct mim_string signed_by;
};
struct delivered_1 {
    struct mim_string signed_by;
    int64_t tip;
};
struct tipped {
    int64_t amount;
};

static const struct mim_field moved_1_fields[] = {
    MIM_FIELD(struct moved_1, place, MIM_STRING),
#if defined(WIDENED)
    MIM_FIELD(struct moved_1, km, MIM_I64),
#else
    MIM_FIELD(struct moved_1, km, MIM_I32),
#endif
};
static const struct mim_field dropped_fields[] = {MIM_FIELD(struct dropped, place, MIM_STRING)};
static const struct mim_field delivered_1_fields[] = {MIM_FIELD(struct delivered_1, signed_by, MIM_STRING),
                                                      MIM_FIELD(struct delivered_1, tip, MIM_I64)};

static void move(struct mim_evolution *e, struct parcel *parcel, struct mim_string place, int64_t metres) {
    mim_text_set(e, &parcel->place, place);
    parcel->metres += metres;
#if defined(PROJECTION) /* and a changed evolve: short ways count no more */
    parcel->moves += metres >= 100000 ? 1 : 0;
#else
    parcel->moves++;
#endif
}

static void evolve_dropped(struct mim_evolution *e, void *state, const void *event) {
    mim_text_set(e, &((struct parcel *)state)->place, ((const struct dropped *)event)->place);
    ((struct parcel *)state)->dropped = true;
}

#if defined(VERSION)
static const struct mim_field moved_fields[] = {MIM_FIELD(struct moved, place, MIM_STRING),
                                                MIM_FIELD(struct moved, metres, MIM_I64)};

static void evolve_moved(struct mim_evolution *e, void *state, const void *event) {
    move(e, state, ((const struct moved *)event)->place, ((const struct moved *)event)->metres);
}
#define MOVED \
    { .name = "Moved", .version = 2, .size = sizeof(struct moved), MIM_FIELDS(moved_fields), .evolve = evolve_moved }
#else
static void evolve_moved_1(struct mim_evolution *e, void *state, const void *event) {
    move(e, state, ((const struct moved_1 *)event)->place, ((const struct moved_1 *)event)->km * 1000);
}
#define MOVED                                                                                      \
    {                                                                                              \
        .name = "Moved", .version = 1, .size = sizeof(struct moved_1), MIM_FIELDS(moved_1_fields), \
        .evolve = evolve_moved_1                                                                   \
    }
#endif

#if defined(SPLIT)
static const struct mim_field delivered_fields[] = {MIM_FIELD(struct delivered, signed_by, MIM_STRING)};
static const struct mim_field tipped_fields[] = {MIM_FIELD(struct tipped, amount, MIM_I64)};

static void evolve_delivered(struct mim_evolution *e, void *state, const void *event) {
    (void)e;
    (void)event;
    ((struct parcel *)state)->delivered = true;
}

static void evolve_tipped(struct mim_evolution *e, void *state, const void *event) {
    (void)e;
    ((struct parcel *)state)->tips += ((const struct tipped *)event)->amount;
}
#else
static void evolve_delivered_1(struct mim_evolution *e, void *state, const void *event) {
    (void)e;
    ((struct parcel *)state)->delivered = true;
    ((struct parcel *)state)->tips += ((const struct delivered_1 *)event)->tip;
}
#endif

enum { REGISTERED, MOVED_ON, DROPPED, DELIVERED, TIPPED };

static const struct mim_event_type events[] = {
    [REGISTERED] = {.name = "Registered",
#if defined(REMOVED)
                    .version = 2,
#else
                    .version = 1,
#endif
                    .size = sizeof(struct registered),
                    MIM_FIELDS(registered_fields),
                    .evolve = evolve_registered},
    [MOVED_ON] = MOVED,
    [DROPPED] =
        {
#if defined(EVENT_NAME)
            .name = "Dropped",
#elif defined(UNKNOWN)
            .name = "Lost",
#else
            .name = "Droped",
#endif
            .version = 1,
            .size = sizeof(struct dropped),
            MIM_FIELDS(dropped_fields),
            .evolve = evolve_dropped},
#if defined(SPLIT)
    [DELIVERED] = {.name = "Delivered",
                   .version = 2,
                   .size = sizeof(struct delivered),
                   MIM_FIELDS(delivered_fields),
                   .evolve = evolve_delivered},
    [TIPPED] = {.name = "Tipped",
                .version = 1,
                .size = sizeof(struct tipped),
                MIM_FIELDS(tipped_fields),
                .evolve = evolve_tipped},
#else
    [DELIVERED] = {.name = "Delivered",
#if defined(UNKNOWN)
                   .version = 3,
#else
                   .version = 1,
#endif
                   .size = sizeof(struct delivered_1),
                   MIM_FIELDS(delivered_1_fields),
                   .evolve = evolve_delivered_1},
#endif
};

/* ------------------------------------------------------------- what old events mean today */

#if defined(REMOVED)
static const struct mim_field registered_1_fields[] = {MIM_FIELD(struct registered, recipient, MIM_STRING), OLD_WEIGHT,
                                                       MIM_FIELD(struct registered, express, MIM_BOOL)};

static void upcast_registered_1(struct mim_upcasting *u, const void *old) {
    const struct registered *was = old;
    struct registered *today = mim_upcast_emit(u, &events[REGISTERED]);
    today->recipient = was->recipient;
    today->weight = was->weight;
}
#endif
#if defined(VERSION)
static void upcast_moved_1(struct mim_upcasting *u, const void *old) {
    const struct moved_1 *was = old;
    *(struct moved *)mim_upcast_emit(u, &events[MOVED_ON]) =
        (struct moved){.place = was->place, .metres = (int64_t)was->km * 1000};
}
#endif
#if defined(EVENT_NAME)
static void upcast_droped(struct mim_upcasting *u, const void *old) {
    *(struct dropped *)mim_upcast_emit(u, &events[DROPPED]) = *(const struct dropped *)old;
}
#endif
#if defined(SPLIT)
static void upcast_delivered_1(struct mim_upcasting *u, const void *old) {
    const struct delivered_1 *was = old;
    ((struct delivered *)mim_upcast_emit(u, &events[DELIVERED]))->signed_by = was->signed_by;
    if (was->tip > 0) {
        ((struct tipped *)mim_upcast_emit(u, &events[TIPPED]))->amount = was->tip;
    }
}
#endif

static const struct mim_retired_event_type retired[] = {
#if defined(REMOVED)
    {"Registered", 1, sizeof(struct registered), 3, registered_1_fields, upcast_registered_1},
#endif
#if defined(VERSION)
    {"Moved", 1, sizeof(struct moved_1), 2, moved_1_fields, upcast_moved_1},
#endif
#if defined(EVENT_NAME)
    {"Droped", 1, sizeof(struct dropped), 1, dropped_fields, upcast_droped},
#endif
#if defined(SPLIT)
    {"Delivered", 1, sizeof(struct delivered_1), 2, delivered_1_fields, upcast_delivered_1},
#endif
};

/* ---------------------------------------------------------------- commands: the same in all versions */

struct move {
    struct mim_string place;
    int64_t km;
};
static const struct mim_field register_fields[] = {
    MIM_FIELD(struct registered, recipient, MIM_STRING), MIM_FIELD(struct registered, weight, MIM_I64),
    MIM_FIELD(struct registered, express, MIM_BOOL, .flags = MIM_OPTIONAL),
    MIM_FIELD(struct registered, priority, MIM_I32, .flags = MIM_OPTIONAL, .fallback = 3)};
static const struct mim_field move_fields[] = {MIM_FIELD(struct move, place, MIM_STRING),
                                               MIM_FIELD(struct move, km, MIM_I64, .min = 1, .max = 40000)};
static const struct mim_field deliver_fields[] = {
    MIM_FIELD(struct delivered_1, signed_by, MIM_STRING),
    MIM_FIELD(struct delivered_1, tip, MIM_I64, .flags = MIM_OPTIONAL, .min = 0, .max = 1000)};

static mim_verdict_t decide_register(struct mim_decision *d, const void *state, const void *command) {
    if (state != NULL) {
        return mim_reject(d, "PARCEL_EXISTS", "the parcel is registered");
    }
    *(struct registered *)mim_emit(d, &events[REGISTERED]) = *(const struct registered *)command;
    return mim_accept();
}

static mim_verdict_t decide_move(struct mim_decision *d, const void *state, const void *command) {
    const struct move *asked = command;
    (void)state;
#if defined(VERSION)
    *(struct moved *)mim_emit(d, &events[MOVED_ON]) = (struct moved){.place = asked->place, .metres = asked->km * 1000};
#elif defined(WIDENED)
    *(struct moved_1 *)mim_emit(d, &events[MOVED_ON]) = (struct moved_1){.place = asked->place, .km = asked->km};
#else
    *(struct moved_1 *)mim_emit(d, &events[MOVED_ON]) =
        (struct moved_1){.place = asked->place, .km = (int32_t)asked->km};
#endif
    return mim_accept();
}

static mim_verdict_t decide_drop(struct mim_decision *d, const void *state, const void *command) {
    (void)state;
    *(struct dropped *)mim_emit(d, &events[DROPPED]) = *(const struct dropped *)command;
    return mim_accept();
}

static mim_verdict_t decide_deliver(struct mim_decision *d, const void *state, const void *command) {
    const struct delivered_1 *asked = command;
    (void)state;
#if defined(SPLIT)
    ((struct delivered *)mim_emit(d, &events[DELIVERED]))->signed_by = asked->signed_by;
    if (asked->tip > 0) {
        ((struct tipped *)mim_emit(d, &events[TIPPED]))->amount = asked->tip;
    }
#else
    *(struct delivered_1 *)mim_emit(d, &events[DELIVERED]) = *asked;
#endif
    return mim_accept();
}

static const struct mim_command_type commands[] = {
    {.name = "Register", .size = sizeof(struct registered), MIM_FIELDS(register_fields), .decide = decide_register},
    {.name = "Move", .size = sizeof(struct move), MIM_FIELDS(move_fields), .decide = decide_move},
    {.name = "Drop", .size = sizeof(struct dropped), MIM_FIELDS(dropped_fields), .decide = decide_drop},
    {.name = "Deliver", .size = sizeof(struct delivered_1), MIM_FIELDS(deliver_fields), .decide = decide_deliver},
};

/* ----------------------------------------------------------------------------- a read model, added later */

#if defined(PROJECTION)
static void project_moved(struct mim_evolution *e, void *projection, const void *aggregate, const void *event) {
    (void)aggregate;
    ++*(int64_t *)mim_map_put(e, projection, sizeof(int64_t), ((const struct moved_1 *)event)->place);
}

static const struct mim_projection_on places_on[] = {{&events[MOVED_ON], project_moved}};
static const struct mim_projection_type projections[] = {
    {.name = "places", .state_size = sizeof(struct mim_map), .on = places_on, .on_count = 1}};

static int query_places(struct mim_query *q, const struct mim_string *arguments, size_t count) {
    const struct mim_map *places = mim_query_projection(q, &projections[0]);
    struct mim_string place;
    const int64_t *visits;
    (void)arguments;
    (void)count;
    mim_json_object(mim_query_json(q));
    for (uint64_t n = 0; (visits = mim_map_at(mim_query_host(q), places, n, &place)) != NULL; n++) {
        mim_json_key_string(mim_query_json(q), place);
        mim_json_i64(mim_query_json(q), *visits);
    }
    mim_json_object_end(mim_query_json(q));
    return 0;
}

static const struct mim_query_type queries[] = {{.name = "Places", .query = query_places}};
#endif

static const struct mim_aggregate_type parcel = {
#if defined(OTHER_TYPE)
    .name = "package",
#else
    .name = "parcel",
#endif
    .state_size = sizeof(struct parcel),
    MIM_FIELDS(parcel_fields),
    MIM_COMMANDS(commands),
    MIM_EVENTS(events),
    MIM_RETIRED(retired),
#if defined(PROJECTION)
    MIM_QUERIES(queries),
#endif
};
static const struct mim_model model = {.abi = MIM_MODEL_ABI,
                                       .version = MODEL_VERSION,
                                       .name = "parcels",
#if defined(PROJECTION)
                                       .projections = projections,
                                       .projection_count = 1,
#endif
                                       .aggregates = &parcel,
                                       .aggregate_count = 1};
MIM_MODEL_EXPORT(model)
