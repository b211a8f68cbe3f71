// SPDX-License-Identifier: MIT
// Replay of payloads that are copied, cut short behind their last field without its default, or decoded field by field: in
// every mixture the state is the one that wrote the journal. A wrong version or a wrong type in a record is refused.
#include "replay_support.h"

enum { THINGS = 90, COMMANDS = 6000 };

struct thing {
    int64_t wide;
    int64_t time;
    int64_t optional;
    int64_t notes;
    uint64_t mixed; /* of all that came, in order */
};

struct change {
    int64_t wide;
    int64_t time;
    int64_t optional;
    struct mim_string note;
};

struct narrow {
    bool flag;
    int32_t small;
    int64_t wide;
};

static const struct mim_field thing_fields[] = {
    MIM_FIELD(struct thing, wide, MIM_I64),     MIM_FIELD(struct thing, time, MIM_I64),
    MIM_FIELD(struct thing, optional, MIM_I64), MIM_FIELD(struct thing, notes, MIM_I64),
    MIM_FIELD(struct thing, mixed, MIM_U64),
};

/** Three fields that are copied when they are there, each with a default of its own, and one that never is. */
static const struct mim_field change_fields[] = {
    MIM_FIELD(struct change, wide, MIM_I64, .flags = MIM_OPTIONAL, .fallback = 5),
    MIM_FIELD(struct change, time, MIM_TIMESTAMP, .flags = MIM_OPTIONAL, .fallback = 77),
    MIM_FIELD(struct change, optional, MIM_I64, .flags = MIM_OPTIONAL, .fallback = -9),
    MIM_FIELD(struct change, note, MIM_STRING, .flags = MIM_OPTIONAL),
};

static const struct mim_field narrow_fields[] = {
    MIM_FIELD(struct narrow, flag, MIM_BOOL),
    MIM_FIELD(struct narrow, small, MIM_I32),
    MIM_FIELD(struct narrow, wide, MIM_I64, .flags = MIM_OPTIONAL, .fallback = 3),
};

static void mix(struct thing *thing, uint64_t value) {
    thing->mixed = (thing->mixed ^ value) * 0x9e3779b97f4a7c15u + (thing->mixed >> 7);
}

static void evolve_changed(struct mim_evolution *e, void *state, const void *event) {
    struct thing *thing = state;
    const struct change *change = event;
    thing->wide += change->wide;
    thing->time += change->time;
    thing->optional += change->optional;
    thing->notes += (int64_t)change->note.size;
    mix(thing, (uint64_t)change->wide);
    mix(thing, (uint64_t)change->time);
    mix(thing, (uint64_t)change->optional);
    mix(thing, change->note.size);
    mix(thing, mim_evolution_number(e) + mim_evolution_version(e) + mim_evolution_position(e));
    mix(thing, (uint64_t)mim_evolution_time_ms(e));
}

static void evolve_narrowed(struct mim_evolution *e, void *state, const void *event) {
    const struct narrow *narrow = event;
    (void)e;
    mix(state, (uint64_t)narrow->wide + (uint64_t)(uint32_t)narrow->small + (narrow->flag ? 1u : 0u));
}

static const struct mim_event_type events[] = {
    {.name = "Changed",
     .version = 1,
     .size = sizeof(struct change),
     MIM_FIELDS(change_fields),
     .evolve = evolve_changed},
    {.name = "Narrowed",
     .version = 1,
     .size = sizeof(struct narrow),
     MIM_FIELDS(narrow_fields),
     .evolve = evolve_narrowed},
};

static mim_verdict_t decide_change(struct mim_decision *d, const void *state, const void *command) {
    (void)state;
    *(struct change *)mim_emit(d, &events[0]) = *(const struct change *)command;
    return mim_accept();
}

static mim_verdict_t decide_narrow(struct mim_decision *d, const void *state, const void *command) {
    (void)state;
    *(struct narrow *)mim_emit(d, &events[1]) = *(const struct narrow *)command;
    return mim_accept();
}

static const struct mim_command_type commands[] = {
    {.name = "Change", .size = sizeof(struct change), MIM_FIELDS(change_fields), .decide = decide_change},
    {.name = "Narrow", .size = sizeof(struct narrow), MIM_FIELDS(narrow_fields), .decide = decide_narrow},
};

static const struct mim_aggregate_type aggregates[] = {
    {.name = "thing",
     .state_size = sizeof(struct thing),
     MIM_FIELDS(thing_fields),
     .commands = commands,
     .command_count = 2,
     .events = events,
     .event_count = 2},
};

static const struct mim_model model = {
    .abi = MIM_MODEL_ABI, .version = 1, .name = "payloads", .aggregates = aggregates, .aggregate_count = 1};

struct world {
    struct mim_storage_sim *sim;
    struct mim_storage storage;
    struct mim_compiled *compiled;
    uint64_t digest;
};

/** One command with any set of its optional fields. */
static void command(struct writing *life, struct mim_prng *prng, unsigned n) {
    char id[24], key[24];
    int id_size = snprintf(id, sizeof(id), "thing-%llu", (unsigned long long)mim_prng_below(prng, THINGS));
    int key_size = snprintf(key, sizeof(key), "key-%u", n);
    struct mim_argument change[] = {pair("wide", "12", 2), pair("time", "1234", 4), pair("optional", "-3", 2),
                                    pair("note", "a note", 6)};
    struct mim_argument narrow[] = {pair("flag", "true", 4), pair("small", "-5", 2), pair("wide", "99", 2)};
    struct mim_argument given[4];
    size_t count = 0;
    bool narrows = mim_prng_chance(prng, 1, 5);
    for (unsigned i = 0; i < (narrows ? 3u : 4u); i++) {
        if ((narrows && i < 2) || mim_prng_chance(prng, 1, 2)) {
            given[count++] = narrows ? narrow[i] : change[i];
        }
    }
    struct mim_request request = {
        .type = mim_slice_text("thing"),
        .id = mim_slice_of(id, (size_t)id_size),
        .command = mim_slice_text(narrows ? "Narrow" : "Change"),
        .arguments = given,
        .argument_count = count,
        .key = mim_prng_chance(prng, 1, 9) ? mim_slice_of(key, (size_t)key_size) : (struct mim_slice){0},
        .wall_ms = 1700000000000 + n,
    };
    assert_int_equal(writing_command(life, &request), MIM_OUTCOME_DONE);
    if (mim_prng_chance(prng, 1, 50)) {
        writing_drain(life);
    }
}

static int setup(void **state) {
    struct world *w = calloc(1, sizeof(*w));
    struct mim_error error = {0};
    struct mim_prng prng;
    assert_non_null(w);
    mim_prng_init(&prng, 5);
    w->sim = mim_storage_sim_new(4);
    w->storage = mim_storage_sim_storage(w->sim);
    ok(mim_compiled_new(&model, &w->compiled, &error), &error);
    struct writing *life = writing_begin(w->storage, w->compiled);
    for (unsigned n = 0; n < COMMANDS; n++) {
        command(life, &prng, n);
    }
    w->digest = writing_end(life);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    mim_storage_sim_free(w->sim);
    (void)mim_compiled_free(w->compiled);
    free(w);
    return 0;
}

/** Applies the journal's frames one by one; `change` may alter a frame's bytes first. Returns the last code. */
static int apply_all(struct world *w, void (*change)(uint8_t *frame, uint32_t size), uint64_t *ret_digest) {
    struct mim_engine_options options = {.compiled = w->compiled, .reservation = 256ull << 20};
    struct mim_segments segments = {0};
    struct mim_reader *reader = NULL;
    struct mim_engine *engine = NULL;
    struct mim_error error = {0};
    struct mim_frame frame;
    mim_position_t unused = 0;
    ok(mim_engine_new(&options, &engine, &error), &error);
    ok(mim_segments_load(w->storage, &segments, &unused, &error), &error);
    ok(mim_reader_open(w->storage, &segments, &(struct mim_reader_options){0}, &reader, &error), &error);
    mim_engine_set_history(engine, &segments.items[0].header.history);
    uint8_t *bytes = malloc(MIM_FRAME_SIZE_MAX);
    assert_non_null(bytes);
    int rc = 0;
    while (rc == 0 && mim_reader_next(reader, &frame, &error) == 0) {
        memcpy(bytes, frame.bytes, frame.header.size);
        frame.bytes = bytes;
        if (change != NULL && frame.header.first_position > COMMANDS / 2) {
            change(bytes, frame.header.size);
        }
        rc = mim_engine_apply(engine, &frame, &error);
    }
    *ret_digest = mim_engine_digest(engine);
    free(bytes);
    (void)mim_reader_free(reader);
    mim_segments_deinit(&segments);
    (void)mim_engine_free(engine);
    return rc;
}

static void same_state(void **state) {
    uint64_t digest;
    assert_int_equal(apply_all(*state, NULL, &digest), 0);
    assert_true(digest == ((struct world *)*state)->digest);
}

/** Adds one to a field of the header of the third record, when the frame has one. */
static void third(uint8_t *frame, uint32_t size, uint32_t field) {
    struct mim_walked walked = MIM_WALKED_NONE;
    uint32_t places[3];
    if (mim_record_walk(frame, size, &walked, 3, places) == 3) {
        frame[MIM_PLACE_OFFSET(places[2]) + field]++;
    }
}

static void wrong_version(uint8_t *frame, uint32_t size) { third(frame, size, 12); }
static void wrong_previous(uint8_t *frame, uint32_t size) { third(frame, size, 16); }
static void wrong_index(uint8_t *frame, uint32_t size) { third(frame, size, 32); }
static void wrong_offset(uint8_t *frame, uint32_t size) { third(frame, size, 24); }
static void wrong_stream(uint8_t *frame, uint32_t size) { third(frame, size, 10); }
static void wrong_type(uint8_t *frame, uint32_t size) { third(frame, size, 5); }

static void refused(void **state) {
    void (*const changes[])(uint8_t *, uint32_t) = {wrong_version, wrong_previous, wrong_index,
                                                    wrong_offset,  wrong_stream,   wrong_type};
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        uint64_t digest;
        assert_int_equal(apply_all(*state, changes[i], &digest), MIM_E_DAMAGED);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_state), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
