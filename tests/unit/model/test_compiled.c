// SPDX-License-Identifier: MIT
// Models checked at start: a good one compiles, and each way to break it is refused with a sentence that names the place.
#include "support.h"

struct thing {
    struct mim_text name;
    int64_t size;
    bool open;
};

struct made {
    struct mim_string name;
    int64_t size;
};

static void evolve_made(struct mim_evolution *e, void *state, const void *event) {
    (void)e;
    (void)state;
    (void)event;
}

static void upcast_old(struct mim_upcasting *u, const void *old) {
    (void)u;
    (void)old;
}

static int query_all(struct mim_query *q, const struct mim_string *arguments, size_t count) {
    (void)q;
    (void)arguments;
    (void)count;
    return 0;
}

static void project_made(struct mim_evolution *e, void *projection, const void *aggregate, const void *event) {
    (void)e;
    (void)projection;
    (void)aggregate;
    (void)event;
}

/** A model whose every table can be written to. */
struct workbench {
    struct mim_field state_fields[3];
    struct mim_field made_fields[2];
    struct mim_command_type commands[2];
    struct mim_event_type events[2];
    struct mim_retired_event_type retired[2];
    struct mim_query_type queries[2];
    struct mim_aggregate_type aggregates[2];
    struct mim_projection_on on[1];
    struct mim_projection_type projections[2];
    struct mim_model model;
};

static struct workbench *bench_new(void) {
    static struct workbench bench;
    const struct mim_field state_fields[] = {MIM_FIELD(struct thing, name, MIM_STRING),
                                             MIM_FIELD(struct thing, size, MIM_I64),
                                             MIM_FIELD(struct thing, open, MIM_BOOL)};
    const struct mim_field made_fields[] = {MIM_FIELD(struct made, name, MIM_STRING),
                                            MIM_FIELD(struct made, size, MIM_I64, .min = 1, .max = 9)};
    bench = (struct workbench){0};
    memcpy(bench.state_fields, state_fields, sizeof(state_fields));
    memcpy(bench.made_fields, made_fields, sizeof(made_fields));
    for (unsigned i = 0; i < 2; i++) {
        bench.commands[i] = (struct mim_command_type){.name = i == 0 ? "Make" : "Break",
                                                      .size = sizeof(struct made),
                                                      MIM_FIELDS(bench.made_fields),
                                                      .decide = support_decide};
        bench.events[i] = (struct mim_event_type){.name = i == 0 ? "Made" : "Broken",
                                                  .version = 2,
                                                  .size = sizeof(struct made),
                                                  MIM_FIELDS(bench.made_fields),
                                                  .evolve = evolve_made};
        bench.retired[i] = (struct mim_retired_event_type){.name = i == 0 ? "Made" : "Gone",
                                                           .version = 1,
                                                           .size = sizeof(struct made),
                                                           MIM_FIELDS(bench.made_fields),
                                                           .upcast = upcast_old};
        bench.queries[i] = (struct mim_query_type){.name = i == 0 ? "All" : "Some", .query = query_all};
        bench.aggregates[i] = (struct mim_aggregate_type){
            .name = i == 0 ? "thing" : "other", .state_size = sizeof(struct thing), MIM_FIELDS(bench.state_fields)};
    }
    struct mim_aggregate_type *thing = &bench.aggregates[0];
    thing->commands = bench.commands;
    thing->events = bench.events;
    thing->retired = bench.retired;
    thing->queries = bench.queries;
    thing->command_count = thing->event_count = thing->retired_count = thing->query_count = 2;
    bench.on[0] = (struct mim_projection_on){.event = &bench.events[0], .project = project_made};
    bench.projections[0] =
        (struct mim_projection_type){.name = "totals", .state_size = 8, .on = bench.on, .on_count = 1};
    bench.model = (struct mim_model){.abi = MIM_MODEL_ABI,
                                     .version = 1,
                                     .name = "bench",
                                     .aggregates = bench.aggregates,
                                     .aggregate_count = 2,
                                     .projections = bench.projections,
                                     .projection_count = 1};
    return &bench;
}

static struct mim_compiled *compile(const struct workbench *bench) {
    struct mim_compiled *compiled = NULL;
    struct mim_error error = {0};
    int rc = mim_compiled_new(&bench->model, &compiled, &error);
    if (rc != 0) {
        print_error("%s\n", error.text);
    }
    assert_int_equal(rc, 0);
    return compiled;
}

/** Refused as MODEL, and the sentence has both words. */
static void assert_refused(const struct workbench *bench, const char *where, const char *what) {
    struct mim_compiled *compiled = NULL;
    struct mim_error error = {0};
    assert_int_equal(mim_compiled_new(&bench->model, &compiled, &error), MIM_E_MODEL);
    assert_null(compiled);
    support_assert_contains(error.text, where);
    support_assert_contains(error.text, what);
}

static void test_a_good_model_compiles(void **state) {
    (void)state;
    struct mim_compiled *compiled = compile(bench_new());
    assert_int_equal(compiled->event_count, 4);
    assert_int_equal(compiled->command_count, 2);
    assert_int_equal(compiled->slot_size[0], 24 + sizeof(struct thing));
    assert_int_equal(compiled->event_struct_size_max, sizeof(struct made));
    assert_int_equal(compiled->events[0].projection_count, 1);
    assert_ptr_equal(compiled->events[0].projections[0].project, project_made);
    assert_int_equal(compiled->events[1].projection_count, 0);
    for (uint16_t i = 0; i < compiled->event_count; i++) {
        assert_int_equal(compiled->events[i].index, i);
    }
    assert_null(mim_compiled_free(compiled));
    assert_null(mim_compiled_free(NULL));
}

static void test_names_are_found_whole(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    struct mim_compiled *compiled = compile(bench);
    assert_int_equal(mim_compiled_aggregate(compiled, mim_slice_text("thing")), 0);
    assert_int_equal(mim_compiled_aggregate(compiled, mim_slice_text("other")), 1);
    static const char *const bad[] = {"", "thin", "things", "Thing"};
    for (size_t i = 0; i < MIM_COUNT_OF(bad); i++) {
        assert_int_equal(mim_compiled_aggregate(compiled, mim_slice_text(bad[i])), -1);
    }
    assert_int_equal(mim_compiled_aggregate(compiled, (struct mim_slice){0}), -1);
    static uint8_t
        hostile[1u << 20]; /* a client's name: ours, a NUL, and a megabyte that lies behind no name of ours */
    memcpy(hostile, "thing", 6);
    assert_int_equal(mim_compiled_aggregate(compiled, mim_slice_of(hostile, sizeof(hostile))), -1);
    memcpy(hostile, "Make", 5);
    assert_null(mim_compiled_command(compiled, 0, mim_slice_of(hostile, sizeof(hostile))));
    memcpy(hostile, "All", 4);
    assert_null(mim_compiled_query(compiled, 0, mim_slice_of(hostile, sizeof(hostile))));
    memcpy(hostile, "Made", 5);
    assert_null(mim_compiled_event(compiled, 0, mim_slice_of(hostile, sizeof(hostile)), 0));
    assert_ptr_equal(mim_compiled_command(compiled, 0, mim_slice_text("Break"))->type, &bench->commands[1]);
    assert_null(mim_compiled_command(compiled, 0, mim_slice_text("Bre")));
    assert_null(mim_compiled_command(compiled, 1, mim_slice_text("Make")));
    assert_ptr_equal(mim_compiled_query(compiled, 0, mim_slice_text("Some")), &bench->queries[1]);
    assert_null(mim_compiled_query(compiled, 1, mim_slice_text("Some")));
    assert_int_equal(mim_compiled_aggregate_of(compiled, &bench->aggregates[1]), 1);
    assert_int_equal(mim_compiled_projection_of(compiled, &bench->projections[0]), 0);
    assert_int_equal(mim_compiled_projection_of(compiled, NULL), -1);
    (void)mim_compiled_free(compiled);
}

static void test_events_are_found_by_version_and_today_s_is_the_newest(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    struct mim_compiled *compiled = compile(bench);
    struct mim_slice made = mim_slice_text("Made");
    assert_ptr_equal(mim_compiled_event(compiled, 0, made, 2)->type, &bench->events[0]);
    assert_ptr_equal(mim_compiled_event(compiled, 0, made, 1)->retired, &bench->retired[0]);
    assert_null(mim_compiled_event(compiled, 0, made, 1)->type);
    assert_ptr_equal(mim_compiled_event(compiled, 0, made, 0)->type, &bench->events[0]);
    assert_null(mim_compiled_event(compiled, 0, made, 3));
    assert_ptr_equal(mim_compiled_event(compiled, 0, mim_slice_text("Gone"), 0)->retired, &bench->retired[1]);
    assert_string_equal(mim_compiled_event(compiled, 0, made, 2)->full_name, "thing.Made");
    assert_ptr_equal(mim_compiled_event_of(compiled, &bench->events[1])->type, &bench->events[1]);
    assert_null(mim_compiled_event_of(compiled, NULL));
    (void)mim_compiled_free(compiled);
}

static void test_version_0_is_the_newest_of_the_retired_in_any_order(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    bench->retired[0].name = "Gone"; /* Gone 1, then Gone 3 */
    bench->retired[1].version = 3;
    struct mim_compiled *compiled = compile(bench);
    assert_ptr_equal(mim_compiled_event(compiled, 0, mim_slice_text("Gone"), 0)->retired, &bench->retired[1]);
    (void)mim_compiled_free(compiled);
    bench->retired[0].version = 3; /* Gone 3, then Gone 1 */
    bench->retired[1].version = 1;
    compiled = compile(bench);
    assert_ptr_equal(mim_compiled_event(compiled, 0, mim_slice_text("Gone"), 0)->retired, &bench->retired[0]);
    assert_ptr_equal(mim_compiled_event(compiled, 0, mim_slice_text("Gone"), 1)->retired, &bench->retired[1]);
    (void)mim_compiled_free(compiled);
}

static void test_an_event_is_found_by_its_descriptor_alone(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    static struct mim_event_type others[2];
    memcpy(others, bench->events, sizeof(others));
    bench->aggregates[1].events = others;
    bench->aggregates[1].event_count = 2;
    struct mim_compiled *compiled = compile(bench);
    for (unsigned i = 0; i < 2; i++) {
        assert_ptr_equal(mim_compiled_event_of(compiled, &bench->events[i])->type, &bench->events[i]);
        assert_int_equal(mim_compiled_event_of(compiled, &bench->events[i])->aggregate, 0);
        assert_ptr_equal(mim_compiled_event_of(compiled, &others[i])->type, &others[i]);
        assert_int_equal(mim_compiled_event_of(compiled, &others[i])->aggregate, 1);
    }
    assert_null(mim_compiled_event_of(compiled, &others[2])); /* one behind the end */
    struct mim_event_type copy = others[0];
    assert_null(mim_compiled_event_of(compiled, &copy));
    (void)mim_compiled_free(compiled);
}

static void test_what_no_field_describes_is_known(void **state) {
    (void)state;
    struct {
        uint32_t offsets[2];
        uint32_t size;
        uint32_t gap_count;
        struct mim_compiled_gap gaps[3];
    } cases[] = {
        {{0, 16}, 24, 0, {{0}}},                      /* all is described: a string of 16 bytes and an i64 */
        {{8, 0}, 24, 0, {{0}}},                       /* in any order */
        {{0, 24}, 32, 1, {{16, 8}}},                  /* a member between */
        {{8, 32}, 48, 3, {{0, 8}, {24, 8}, {40, 8}}}, /* before, between, behind */
    };
    for (size_t i = 0; i < MIM_COUNT_OF(cases); i++) {
        struct workbench *bench = bench_new();
        bench->made_fields[0].offset = cases[i].offsets[0];
        bench->made_fields[1].offset = cases[i].offsets[1];
        bench->events[0].size = bench->events[1].size = cases[i].size;
        bench->commands[0].size = bench->commands[1].size = cases[i].size;
        bench->retired[0].size = bench->retired[1].size = cases[i].size;
        struct mim_compiled *compiled = compile(bench);
        for (uint32_t n = 0; n < compiled->event_count; n++) {
            assert_int_equal(compiled->events[n].gap_count, cases[i].gap_count);
            for (uint32_t k = 0; k < cases[i].gap_count; k++) {
                assert_int_equal(compiled->events[n].gaps[k].offset, cases[i].gaps[k].offset);
                assert_int_equal(compiled->events[n].gaps[k].size, cases[i].gaps[k].size);
            }
            assert_int_equal(compiled->events[n].borrowing, 1); /* the string */
        }
        (void)mim_compiled_free(compiled);
    }
}

static uint64_t fingerprint(const struct workbench *bench) {
    struct mim_compiled *compiled = compile(bench);
    uint64_t value = compiled->fingerprint;
    (void)mim_compiled_free(compiled);
    return value;
}

static void test_the_fingerprint_is_of_the_layout(void **state) {
    (void)state;
    uint64_t plain = fingerprint(bench_new());
    assert_true(plain == fingerprint(bench_new()));
    struct workbench *bench = bench_new();
    bench->commands[0].doc = "other words";
    bench->made_fields[1].max = 10;
    assert_true(plain == fingerprint(bench));
    bench = bench_new();
    bench->model.version = 2;
    assert_true(plain != fingerprint(bench));
    bench = bench_new();
    bench->model.name = "bank";
    assert_true(plain != fingerprint(bench));
    bench = bench_new();
    bench->state_fields[1].name = "extent";
    assert_true(plain != fingerprint(bench));
    bench = bench_new();
    bench->state_fields[1].type = MIM_U64;
    assert_true(plain != fingerprint(bench));
    bench = bench_new();
    bench->state_fields[1].flags = MIM_HIDDEN;
    assert_true(plain != fingerprint(bench));
    bench = bench_new();
    bench->state_fields[0].offset = 8;
    bench->state_fields[1].offset = 0;
    assert_true(plain != fingerprint(bench));
    bench = bench_new();
    bench->aggregates[0].state_size += 8;
    assert_true(plain != fingerprint(bench));
    bench = bench_new();
    bench->projections[0].state_size = 16;
    assert_true(plain != fingerprint(bench));
    bench = bench_new(); /* what an event that lacks the field means is part of what the image is made of */
    bench->made_fields[1].flags = MIM_OPTIONAL;
    bench->made_fields[1].fallback = 3;
    uint64_t three = fingerprint(bench);
    assert_true(plain != three);
    bench->made_fields[1].fallback = 4;
    assert_true(three != fingerprint(bench));
}

static void test_another_abi_is_refused(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    bench->model.abi = MIM_MODEL_ABI + 1;
    assert_refused(bench, "bench", "version 2");
}

static void test_names_are_checked_everywhere(void **state) {
    (void)state;
    static char too_long[MIM_NAME_SIZE_MAX + 2];
    memset(too_long, 'n', sizeof(too_long) - 1);
    static const char *const bad[] = {NULL, "", "1a", "a b", "a-b", "_a", "h\xc3\xa9", too_long};
    for (size_t i = 0; i < MIM_COUNT_OF(bad); i++) {
        struct workbench *bench = bench_new();
        bench->model.name = bad[i];
        assert_refused(bench, "model", "name");
        bench = bench_new();
        bench->aggregates[1].name = bad[i];
        assert_refused(bench, "aggregate 2", "name");
        bench = bench_new();
        bench->commands[1].name = bad[i];
        assert_refused(bench, "thing command 2", "name");
        bench = bench_new();
        bench->events[0].name = bad[i];
        assert_refused(bench, "thing event 1", "name");
        bench = bench_new();
        bench->retired[0].name = bad[i];
        assert_refused(bench, "thing retired event 1", "name");
        bench = bench_new();
        bench->queries[0].name = bad[i];
        assert_refused(bench, "thing", "query name");
        bench = bench_new();
        bench->state_fields[2].name = bad[i];
        assert_refused(bench, "aggregate 1", "field name");
        bench = bench_new();
        bench->projections[0].name = bad[i];
        assert_refused(bench, "projection", "name");
    }
    struct workbench *bench = bench_new();
    too_long[MIM_NAME_SIZE_MAX] = '\0';
    bench->commands[0].name = too_long; /* the longest that is allowed */
    (void)mim_compiled_free(compile(bench));
    too_long[MIM_NAME_SIZE_MAX] = 'n';
}

static void test_names_stand_once(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    bench->aggregates[1].name = "thing";
    assert_refused(bench, "thing", "twice");
    bench = bench_new();
    bench->commands[1].name = "Make";
    assert_refused(bench, "Make", "twice");
    bench = bench_new();
    bench->events[1].name = "Made";
    assert_refused(bench, "Made", "twice");
    bench = bench_new();
    bench->state_fields[2].name = "size";
    assert_refused(bench, "size", "twice");
    bench = bench_new();
    bench->queries[1].name = "All";
    assert_refused(bench, "All", "twice");
    bench = bench_new();
    bench->projections[1] = bench->projections[0];
    bench->model.projection_count = 2;
    assert_refused(bench, "totals", "twice");
    bench = bench_new();
    bench->retired[1] = bench->retired[0];
    assert_refused(bench, "Made", "twice");
    bench = bench_new();
    bench->retired[1].version = 0;
    assert_refused(bench, "retired event 2", "version");
    bench = bench_new();
    bench->retired[0].version = 2;
    assert_refused(bench, "Made", "retired");
}

static void test_functions_are_there(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    bench->commands[1].decide = NULL;
    assert_refused(bench, "thing command 2", "decide");
    bench = bench_new();
    bench->events[1].evolve = NULL;
    assert_refused(bench, "thing event 2", "evolve");
    bench = bench_new();
    bench->retired[1].upcast = NULL;
    assert_refused(bench, "thing retired event 2", "upcast");
    bench = bench_new();
    bench->queries[1].query = NULL;
    assert_refused(bench, "Some", "query");
    bench = bench_new();
    bench->on[0].project = NULL;
    assert_refused(bench, "totals", "function");
    bench = bench_new();
    bench->events[0].version = 0;
    assert_refused(bench, "thing event 1", "version");
}

static void test_fields_lie_aligned_within_their_struct_and_apart(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    bench->state_fields[1].offset = 12;
    assert_refused(bench, "size", "aligned");
    bench = bench_new();
    bench->state_fields[1].offset = sizeof(struct thing);
    assert_refused(bench, "size", "within");
    bench = bench_new();
    bench->state_fields[1].offset = UINT32_MAX - 7;
    assert_refused(bench, "size", "within");
    bench = bench_new();
    bench->state_fields[2].offset = 8;
    assert_refused(bench, "open", "overlap");
    bench = bench_new();
    bench->made_fields[1].offset = 8; /* a string of a command has 16 bytes */
    assert_refused(bench, "size", "overlap");
    bench = bench_new();
    bench->made_fields[1].min = 10;
    assert_refused(bench, "size", "min > max");
}

static void test_types_and_counts_have_their_limits(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    bench->made_fields[1].type = MIM_COUNTS;
    assert_refused(bench, "size", "type");
    bench = bench_new();
    bench->state_fields[1].type = (enum mim_field_type)77;
    assert_refused(bench, "size", "type");
    bench = bench_new();
    bench->made_fields[1].flags = MIM_LETTERS;
    assert_refused(bench, "size", "letters");
    bench = bench_new();
    bench->model.aggregate_count = 0;
    assert_refused(bench, "bench", "aggregate");
    bench = bench_new();
    bench->model.aggregate_count = MIM_AGGREGATE_TYPES_MAX + 1;
    assert_refused(bench, "bench", "aggregate");
    bench = bench_new();
    bench->model.projection_count = MIM_PROJECTIONS_MAX + 1;
    assert_refused(bench, "bench", "projections");
    bench = bench_new();
    bench->aggregates[0].field_count = MIM_FIELDS_MAX + 1;
    assert_refused(bench, "aggregate 1", "fields");
    bench = bench_new();
    bench->aggregates[0].fields = NULL;
    assert_refused(bench, "aggregate 1", "fields");
    bench = bench_new();
    bench->aggregates[0].state_size = 0;
    bench->aggregates[0].field_count = 0;
    assert_refused(bench, "thing", "bytes");
    bench = bench_new();
    bench->projections[0].state_size = 0;
    assert_refused(bench, "totals", "size");
    bench = bench_new();
    bench->projections[0].flags = 2;
    assert_refused(bench, "totals", "flags");
    bench = bench_new();
    bench->queries[0].arguments_min = 2;
    assert_refused(bench, "All", "arguments");
}

static void test_tables_that_are_counted_are_there(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    bench->aggregates[0].commands = NULL;
    assert_refused(bench, "thing", "commands");
    bench = bench_new();
    bench->aggregates[0].events = NULL;
    assert_refused(bench, "thing", "events");
    bench = bench_new();
    bench->aggregates[0].retired = NULL;
    assert_refused(bench, "thing", "retired");
    bench = bench_new();
    bench->aggregates[0].queries = NULL;
    assert_refused(bench, "thing", "queries");
    bench = bench_new();
    bench->projections[0].on = NULL;
    assert_refused(bench, "totals", "events");
    bench = bench_new();
    bench->model.projections = NULL;
    assert_refused(bench, "model", "projections");
    bench = bench_new();
    bench->model.aggregates = NULL;
    assert_refused(bench, "model", "aggregates");
    bench = bench_new();
    bench->aggregates[0].event_count = UINT32_MAX;
    assert_refused(bench, "thing", "events");
}

static void test_flags_and_fallbacks_mean_something(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    bench->made_fields[1].flags = MIM_HIDDEN;
    assert_refused(bench, "size", "flag");
    bench = bench_new();
    bench->state_fields[1].flags = MIM_OPTIONAL;
    assert_refused(bench, "size", "flag");
    bench = bench_new();
    bench->state_fields[1].flags = 1u << 20;
    assert_refused(bench, "size", "flag");
    bench = bench_new();
    bench->made_fields[1].type = MIM_I32;
    bench->made_fields[1].fallback = 1ll << 40;
    assert_refused(bench, "size", "fallback");
    bench = bench_new();
    bench->made_fields[1].type = MIM_U64;
    bench->made_fields[1].fallback = -1;
    assert_refused(bench, "size", "fallback");
    bench = bench_new();
    bench->made_fields[0].fallback = 1;
    assert_refused(bench, "name", "fallback");
}

static void test_former_names_are_of_events_and_stand_once(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    struct mim_field event_fields[2];
    memcpy(event_fields, bench->made_fields, sizeof(event_fields));
    for (unsigned i = 0; i < 2; i++) {
        bench->events[i].fields = bench->retired[i].fields = event_fields;
    }
    event_fields[1].was = "extent";
    (void)mim_compiled_free(compile(bench));
    event_fields[1].was = "name";
    assert_refused(bench, "thing event 1", "former name name");
    event_fields[1].was = "size";
    assert_refused(bench, "thing event 1", "former name size");
    event_fields[1].was = event_fields[0].was = "extent";
    assert_refused(bench, "thing event 1", "former name extent");
    event_fields[1].was = "no name";
    event_fields[0].was = NULL;
    assert_refused(bench, "thing event 1", "former field name");
    bench = bench_new();
    bench->made_fields[1].was = "extent"; /* of the command, too */
    assert_refused(bench, "thing command 1", "only events");
    bench = bench_new();
    bench->state_fields[1].was = "extent";
    assert_refused(bench, "aggregate 1", "only events");
}

static void test_structs_have_a_largest_size(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    bench->aggregates[0].state_size = bench->commands[1].size = bench->events[1].size = bench->retired[1].size =
        MIM_STRUCT_SIZE_MAX;
    (void)mim_compiled_free(compile(bench));
    bench->aggregates[0].state_size++;
    assert_refused(bench, "aggregate 1", "at most 65536 bytes");
    bench = bench_new();
    bench->commands[1].size = MIM_STRUCT_SIZE_MAX + 1;
    assert_refused(bench, "thing command 2", "at most 65536 bytes");
    bench = bench_new();
    bench->events[1].size = MIM_STRUCT_SIZE_MAX + 1;
    assert_refused(bench, "thing event 2", "at most 65536 bytes");
    bench = bench_new();
    bench->retired[1].size = UINT32_MAX;
    assert_refused(bench, "thing retired event 2", "at most 65536 bytes");
}

static void test_too_many_of_anything_is_refused(void **state) {
    (void)state;
    struct workbench *bench = bench_new();
    bench->aggregates[0].command_count = MIM_CATALOG_MAX + 1;
    assert_refused(bench, "thing", "commands");
    bench = bench_new();
    bench->aggregates[0].retired_count = MIM_CATALOG_MAX;
    assert_refused(bench, "thing", "events");
    bench = bench_new();
    bench->commands[0].field_count = MIM_FIELDS_MAX + 1;
    assert_refused(bench, "thing command 1", "fields");
    bench = bench_new();
    bench->events[0].fields = NULL;
    assert_refused(bench, "thing event 1", "fields");
    bench = bench_new();
    bench->retired[0].field_count = MIM_FIELDS_MAX + 1;
    assert_refused(bench, "thing retired event 1", "fields");
}

static void test_a_projection_listens_to_events_of_the_model(void **state) {
    (void)state;
    static struct mim_event_type stranger;
    struct workbench *bench = bench_new();
    stranger = bench->events[0];
    bench->on[0].event = &stranger;
    assert_refused(bench, "totals", "event");
    bench = bench_new();
    bench->on[0].event = NULL;
    assert_refused(bench, "totals", "event");
}

static void test_a_model_that_is_no_file_or_no_model_is_refused(void **state) {
    (void)state;
    const struct mim_model *model = NULL;
    struct mim_error error = {0};
    assert_int_equal(mim_model_load("no-such-model.so", &model, &error), MIM_E_USAGE);
    support_assert_contains(error.text, "no-such-model.so");
    assert_int_equal(mim_model_load("meson.build", &model, &error), MIM_E_USAGE);
    assert_null(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_model_compiles),
        cmocka_unit_test(test_names_are_found_whole),
        cmocka_unit_test(test_events_are_found_by_version_and_today_s_is_the_newest),
        cmocka_unit_test(test_version_0_is_the_newest_of_the_retired_in_any_order),
        cmocka_unit_test(test_an_event_is_found_by_its_descriptor_alone),
        cmocka_unit_test(test_what_no_field_describes_is_known),
        cmocka_unit_test(test_the_fingerprint_is_of_the_layout),
        cmocka_unit_test(test_another_abi_is_refused),
        cmocka_unit_test(test_names_are_checked_everywhere),
        cmocka_unit_test(test_names_stand_once),
        cmocka_unit_test(test_functions_are_there),
        cmocka_unit_test(test_fields_lie_aligned_within_their_struct_and_apart),
        cmocka_unit_test(test_types_and_counts_have_their_limits),
        cmocka_unit_test(test_tables_that_are_counted_are_there),
        cmocka_unit_test(test_flags_and_fallbacks_mean_something),
        cmocka_unit_test(test_former_names_are_of_events_and_stand_once),
        cmocka_unit_test(test_structs_have_a_largest_size),
        cmocka_unit_test(test_too_many_of_anything_is_refused),
        cmocka_unit_test(test_a_projection_listens_to_events_of_the_model),
        cmocka_unit_test(test_a_model_that_is_no_file_or_no_model_is_refused),
    };
    return cmocka_run_group_tests_name("model/compiled", tests, NULL, NULL);
}
