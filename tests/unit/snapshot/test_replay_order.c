// SPDX-License-Identifier: MIT
// Replay of events of several types that are applied type by type, where no projection minds: an aggregate's own events come
// in their order all the same, and so do all of them where a projection minds. What is damaged is told as it always is.
#include "replay_support.h"

enum { THINGS = 40, COMMANDS = 9000 };

struct thing {
    uint64_t mixed; /* of all that came, in order */
};

struct change {
    int64_t amount;
};

/** Of all events: their sum, and a mixture that knows their order. */
struct sums {
    uint64_t sum;
    uint64_t mixed;
};

static const struct mim_field thing_fields[] = {MIM_FIELD(struct thing, mixed, MIM_U64)};
static const struct mim_field change_fields[] = {MIM_FIELD(struct change, amount, MIM_I64)};

static uint64_t mix(uint64_t sum, uint64_t value) { return (sum ^ value) * 0x9e3779b97f4a7c15u + (sum >> 7); }

static void evolve(struct mim_evolution *e, struct thing *thing, const struct change *change, uint64_t type) {
    thing->mixed = mix(thing->mixed, (uint64_t)change->amount * 4u + type);
    thing->mixed = mix(thing->mixed, mim_evolution_number(e) + mim_evolution_version(e));
    thing->mixed = mix(thing->mixed, mim_evolution_position(e) + (uint64_t)mim_evolution_time_ms(e));
}

static void evolve_added(struct mim_evolution *e, void *state, const void *event) { evolve(e, state, event, 1); }
static void evolve_taken(struct mim_evolution *e, void *state, const void *event) { evolve(e, state, event, 2); }
static void evolve_noted(struct mim_evolution *e, void *state, const void *event) { evolve(e, state, event, 3); }

static const struct mim_event_type events[] = {
    {.name = "Added", .version = 1, .size = sizeof(struct change), MIM_FIELDS(change_fields), .evolve = evolve_added},
    {.name = "Taken", .version = 1, .size = sizeof(struct change), MIM_FIELDS(change_fields), .evolve = evolve_taken},
    {.name = "Noted", .version = 1, .size = sizeof(struct change), MIM_FIELDS(change_fields), .evolve = evolve_noted},
};

static mim_verdict_t emit(struct mim_decision *d, const struct mim_event_type *type, const void *command) {
    *(struct change *)mim_emit(d, type) = *(const struct change *)command;
    return mim_accept();
}

static mim_verdict_t decide_add(struct mim_decision *d, const void *state, const void *command) {
    (void)state;
    return emit(d, &events[0], command);
}

static mim_verdict_t decide_take(struct mim_decision *d, const void *state, const void *command) {
    (void)state;
    return emit(d, &events[1], command);
}

static mim_verdict_t decide_note(struct mim_decision *d, const void *state, const void *command) {
    (void)state;
    return emit(d, &events[2], command);
}

static const struct mim_command_type commands[] = {
    {.name = "Add", .size = sizeof(struct change), MIM_FIELDS(change_fields), .decide = decide_add},
    {.name = "Take", .size = sizeof(struct change), MIM_FIELDS(change_fields), .decide = decide_take},
    {.name = "Note", .size = sizeof(struct change), MIM_FIELDS(change_fields), .decide = decide_note},
};

static const struct mim_aggregate_type aggregates[] = {{.name = "thing",
                                                        .state_size = sizeof(struct thing),
                                                        MIM_FIELDS(thing_fields),
                                                        .commands = commands,
                                                        .command_count = 3,
                                                        .events = events,
                                                        .event_count = 3}};

static void project(struct mim_evolution *e, void *projection, const void *aggregate, const void *event) {
    struct sums *sums = projection;
    const struct thing *thing = aggregate;
    (void)event;
    sums->sum += thing->mixed * mim_evolution_position(e);
    sums->mixed = mix(sums->mixed, thing->mixed);
}

static uint64_t digest_sum(const struct mim_query *q, const void *projection) {
    (void)q;
    return ((const struct sums *)projection)->sum;
}

static uint64_t digest_mixed(const struct mim_query *q, const void *projection) {
    (void)q;
    return ((const struct sums *)projection)->mixed;
}

static const struct mim_projection_on on_all[] = {{.event = &events[0], .project = project},
                                                  {.event = &events[1], .project = project},
                                                  {.event = &events[2], .project = project}};

/** What is replayed, and whether that is right. */
enum { UNHEARD, COMMUTING, ORDERED, HALF_ORDERED, LYING, KINDS };

static const struct mim_projection_type projections[KINDS] = {
    [COMMUTING] = {.name = "sums",
                   .state_size = sizeof(struct sums),
                   .on = on_all,
                   .on_count = 3,
                   .flags = MIM_COMMUTES,
                   .digest = digest_sum},
    [ORDERED] =
        {.name = "sums", .state_size = sizeof(struct sums), .on = on_all, .on_count = 3, .digest = digest_mixed},
    [HALF_ORDERED] =
        {.name = "sums", .state_size = sizeof(struct sums), .on = on_all, .on_count = 2, .digest = digest_mixed},
    [LYING] = {.name = "sums",
               .state_size = sizeof(struct sums),
               .on = on_all,
               .on_count = 3,
               .flags = MIM_COMMUTES,
               .digest = digest_mixed},
};

/** A journal and the model it was written by. */
struct world {
    struct mim_model model;
    struct mim_compiled *compiled;
    struct mim_storage_sim *sim;
    struct mim_storage storage;
    uint64_t digest;
};

static void world_make(struct world *w, unsigned kind) {
    struct mim_error error = {0};
    struct mim_prng prng;
    w->model = (struct mim_model){.abi = MIM_MODEL_ABI,
                                  .version = 1,
                                  .name = "order",
                                  .aggregates = aggregates,
                                  .aggregate_count = 1,
                                  .projections = &projections[kind],
                                  .projection_count = kind == UNHEARD ? 0 : 1};
    mim_prng_init(&prng, 7);
    w->sim = mim_storage_sim_new(4);
    w->storage = mim_storage_sim_storage(w->sim);
    ok(mim_compiled_new(&w->model, &w->compiled, &error), &error);
    struct writing *life = writing_begin(w->storage, w->compiled);
    for (unsigned n = 0; n < COMMANDS; n++) {
        static const char *const names[] = {"Add", "Take", "Note"};
        char id[24], amount[24], key[24];
        int id_size = snprintf(id, sizeof(id), "thing-%llu", (unsigned long long)mim_prng_below(&prng, THINGS));
        int size = snprintf(amount, sizeof(amount), "%llu", (unsigned long long)mim_prng_below(&prng, 1000));
        int key_size = snprintf(key, sizeof(key), "key-%u", n);
        struct mim_argument given[] = {pair("amount", amount, (size_t)size)};
        struct mim_request request = {
            .type = mim_slice_text("thing"),
            .id = mim_slice_of(id, (size_t)id_size),
            .command = mim_slice_text(names[mim_prng_below(&prng, 3)]),
            .arguments = given,
            .argument_count = 1,
            .key = mim_prng_chance(&prng, 1, 99) ? mim_slice_of(key, (size_t)key_size) : (struct mim_slice){0},
            .wall_ms = 1700000000000 + n,
        };
        assert_int_equal(writing_command(life, &request), MIM_OUTCOME_DONE);
        if (mim_prng_chance(&prng, 1, 300)) {
            writing_drain(life);
        }
    }
    w->digest = writing_end(life);
}

static void world_free(struct world *w) {
    mim_storage_sim_free(w->sim);
    (void)mim_compiled_free(w->compiled);
}

/** Applies the journal frame by frame; from the middle on, `field` of the header of every frame's 40th record is one more,
 *  when it is not 0. Returns the last code, with position and digest reached. */
static int apply_all(const struct world *w, uint32_t field, struct mim_engine_point *ret_point, uint64_t *ret_digest,
                     struct mim_error *reterr) {
    struct mim_engine_options options = {.compiled = w->compiled, .reservation = 256ull << 20};
    struct mim_segments segments = {0};
    struct mim_reader *reader = NULL;
    struct mim_engine *engine = NULL;
    struct mim_frame frame;
    mim_position_t unused = 0;
    ok(mim_engine_new(&options, &engine, reterr), reterr);
    ok(mim_segments_load(w->storage, &segments, &unused, reterr), reterr);
    ok(mim_reader_open(w->storage, &segments, &(struct mim_reader_options){0}, &reader, reterr), reterr);
    mim_engine_set_history(engine, &segments.items[0].header.history);
    uint8_t *bytes = malloc(MIM_FRAME_SIZE_MAX);
    assert_non_null(bytes);
    int rc = 0;
    while (rc == 0 && mim_reader_next(reader, &frame, reterr) == 0) {
        struct mim_walked walked = MIM_WALKED_NONE;
        uint32_t places[40];
        memcpy(bytes, frame.bytes, frame.header.size);
        frame.bytes = bytes;
        if (field != 0 && frame.header.first_position > COMMANDS / 2 &&
            mim_record_walk(bytes, frame.header.size, &walked, 40, places) == 40) {
            bytes[MIM_PLACE_OFFSET(places[39]) + field]++;
        }
        rc = mim_engine_apply(engine, &frame, reterr);
    }
    mim_engine_point(engine, ret_point);
    *ret_digest = mim_engine_digest(engine);
    free(bytes);
    (void)mim_reader_free(reader);
    mim_segments_deinit(&segments);
    (void)mim_engine_free(engine);
    return rc;
}

static void the_state_is_the_one_that_wrote_the_journal(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct world w;
        struct mim_engine_point point;
        struct mim_error error;
        uint64_t digest;
        world_make(&w, kind);
        assert_int_equal(apply_all(&w, 0, &point, &digest, &error), 0);
        assert_int_equal(point.position, COMMANDS);
        assert_int_equal(point.time_ms, 1700000000000 + COMMANDS - 1);
        assert_true((digest == w.digest) == (kind != LYING)); /* who lies about the order is found out */
        world_free(&w);
    }
}

static void damage_is_told_alike(void **state) {
    (void)state;
    static const uint32_t fields[] = {8, 12, 16, 32};
    struct world ordered, commuting;
    world_make(&ordered, ORDERED);
    world_make(&commuting, COMMUTING);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        struct mim_engine_point points[2];
        struct mim_error errors[2];
        uint64_t unused;
        assert_int_equal(apply_all(&ordered, fields[i], &points[0], &unused, &errors[0]), MIM_E_DAMAGED);
        assert_int_equal(apply_all(&commuting, fields[i], &points[1], &unused, &errors[1]), MIM_E_DAMAGED);
        assert_string_equal(errors[0].text, errors[1].text);
        assert_int_equal(points[0].position, points[1].position);
    }
    world_free(&ordered);
    world_free(&commuting);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_state_is_the_one_that_wrote_the_journal),
                                       cmocka_unit_test(damage_is_told_alike)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
