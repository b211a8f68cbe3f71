// SPDX-License-Identifier: MIT
// Replay with a second thread that reads: the same image, the same errors and the same end as on one, over frames of every
// size. The simulated disk takes one caller at a time: that this holds is part of what the ThreadSanitizer build checks.
#include "models/models.h"
#include "replay_support.h"
#include "snapshot/read_thread.h"

enum { ACCOUNTS = 500, COMMANDS = 40000, NOTE_MAX = 700000 };

struct world {
    struct mim_storage_sim *sim;
    struct mim_storage storage;
    struct mim_compiled *compiled;
    struct mim_prng prng;
    char *note;
    uint64_t digest; /* of the engine that wrote the journal */
    struct mim_engine_point point;
    struct mim_frame_source source; /* the thread, for journals of any size */
};

/** What a replay came to. */
struct result {
    int rc;
    struct mim_error error;
    struct mim_engine_point point;
    struct mim_engine_stats stats;
    uint64_t digest;
    uint64_t events;
    struct mim_journal_ending ending;
};

static void command(struct world *w, struct writing *life, unsigned n) {
    char id[24], key[24], to[24];
    bool opens = n < ACCOUNTS;
    bool transfers = !opens && mim_prng_chance(&w->prng, 1, 4);
    unsigned account = opens ? n : (unsigned)mim_prng_below(&w->prng, ACCOUNTS);
    int id_size = snprintf(id, sizeof(id), "account-%u", account);
    int key_size = snprintf(key, sizeof(key), "key-%u", n);
    int to_size = snprintf(to, sizeof(to), "account-%u", (account + 1) % ACCOUNTS);
    size_t note = mim_prng_chance(&w->prng, 1, 500) ? NOTE_MAX : mim_prng_below(&w->prng, 40) + 1;
    struct mim_argument open[] = {pair("owner", "somebody", 8), pair("currency", n % 3 == 0 ? "EUR" : "CZK", 3),
                                  pair("overdraft", "100000000", 9)};
    struct mim_argument deposit[] = {pair("amount", "7", 1), pair("note", w->note, note)};
    struct mim_argument transfer[] = {pair("to", to, (size_t)to_size), pair("amount", "3", 1)};
    struct mim_request request = {
        .type = mim_slice_text("account"),
        .id = mim_slice_of(id, (size_t)id_size),
        .command = mim_slice_text(opens       ? "Open"
                                  : transfers ? "Transfer"
                                              : "Deposit"),
        .arguments = opens       ? open
                     : transfers ? transfer
                                 : deposit,
        .argument_count = opens                                          ? 3
                          : transfers || mim_prng_chance(&w->prng, 1, 3) ? 2
                                                                         : 1,
        .key = mim_prng_chance(&w->prng, 1, 5) ? mim_slice_of(key, (size_t)key_size) : (struct mim_slice){0},
        .wall_ms = 1700000000000 + n,
    };
    enum mim_outcome_kind kind = writing_command(life, &request);
    assert_true(kind == MIM_OUTCOME_DONE || kind == MIM_OUTCOME_REJECTED);
}

static void write_journal(struct world *w) {
    struct writing *life = writing_begin(w->storage, w->compiled);
    for (unsigned n = 0; n < COMMANDS; n++) {
        command(w, life, n);
        if (mim_prng_chance(&w->prng, 1, n % 5000 < 1000 ? 3 : 300)) { /* frames of few events, and of many */
            writing_drain(life);
        }
    }
    w->digest = writing_end(life);
}

/* ---------------------------------------------------------------- replaying */

static struct result replay(struct world *w, const struct mim_frame_source *source, mim_lsn_t limit) {
    struct result result = {0};
    struct mim_engine_options options = {.compiled = w->compiled, .reservation = 256ull << 20};
    struct mim_recovery_options how = {.source = source, .limit = limit};
    struct mim_recovery recovery;
    struct mim_engine *engine = NULL;
    struct mim_error error = {0};
    ok(mim_engine_new(&options, &engine, &error), &error);
    result.rc = mim_recovery_run(w->storage, engine, &how, &recovery, &result.error);
    if (result.rc == 0) {
        mim_engine_point(engine, &result.point);
        mim_engine_stats(engine, &result.stats);
        result.digest = mim_engine_digest(engine);
        result.events = recovery.events;
        result.ending = recovery.ending;
        mim_recovery_deinit(&recovery);
    }
    (void)mim_engine_free(engine);
    return result;
}

static void expect_same(struct world *w, mim_lsn_t limit) {
    struct result alone = replay(w, NULL, limit);
    struct result helped = replay(w, &w->source, limit);
    assert_int_equal(helped.rc, alone.rc);
    assert_string_equal(helped.error.text, alone.error.text);
    assert_true(helped.digest == alone.digest);
    assert_true(helped.events == alone.events);
    assert_memory_equal(&helped.point, &alone.point, sizeof(alone.point));
    assert_memory_equal(&helped.stats, &alone.stats, sizeof(alone.stats));
    assert_int_equal(helped.ending.kind, alone.ending.kind);
    assert_true(helped.ending.lsn == alone.ending.lsn);
    assert_true(helped.ending.chain == alone.ending.chain);
}

static int setup(void **state) {
    struct world *w = calloc(1, sizeof(*w));
    struct mim_error error = {0};
    assert_non_null(w);
    w->note = malloc(NOTE_MAX);
    assert_non_null(w->note);
    memset(w->note, 'n', NOTE_MAX);
    mim_prng_init(&w->prng, 11);
    w->source = mim_read_thread;
    w->source.least = 0;
    w->sim = mim_storage_sim_new(3);
    w->storage = mim_storage_sim_storage(w->sim);
    ok(mim_compiled_new(&mim_ledger_model, &w->compiled, &error), &error);
    write_journal(w);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    mim_storage_sim_free(w->sim);
    (void)mim_compiled_free(w->compiled);
    free(w->note);
    free(w);
    return 0;
}

/* -------------------------------------------------------------------- tests */

static void same_image(void **state) {
    struct world *w = *state;
    expect_same(w, 0);
    struct result helped = replay(w, &w->source, 0);
    assert_int_equal(helped.rc, 0);
    assert_true(helped.digest == w->digest);
    assert_true(helped.point.position > COMMANDS / 2 && helped.point.lsn > 8u * NOTE_MAX);
    assert_int_equal(helped.stats.aggregates, ACCOUNTS);
    assert_int_equal(helped.ending.kind, MIM_END_CLEAN);
}

/** Frame boundaries of the journal, as a reader finds them. */
static size_t boundaries(struct world *w, mim_lsn_t *ret_lsns, size_t most) {
    struct mim_segments segments = {0};
    struct mim_reader *reader = NULL;
    struct mim_error error = {0};
    struct mim_frame frame;
    mim_position_t unused = 0;
    size_t count = 0;
    ok(mim_segments_load(w->storage, &segments, &unused, &error), &error);
    ok(mim_reader_open(w->storage, &segments, &(struct mim_reader_options){0}, &reader, &error), &error);
    while (count < most && mim_reader_next(reader, &frame, &error) == 0) {
        ret_lsns[count++] = frame.lsn;
    }
    (void)mim_reader_free(reader);
    mim_segments_deinit(&segments);
    return count;
}

static void same_up_to_a_limit(void **state) {
    struct world *w = *state;
    static mim_lsn_t lsns[20000];
    size_t count = boundaries(w, lsns, 20000);
    assert_in_range(count, 1000, 19999);
    const size_t at[] = {1, 2, count / 3, count - 1};
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        expect_same(w, lsns[at[i]]);
        assert_true(replay(w, &w->source, lsns[at[i]]).point.lsn == lsns[at[i]]);
    }
}

/** The caller may go at any time: with nothing read, in the middle, at the end. */
static void ends_early(void **state) {
    struct world *w = *state;
    const unsigned stops[] = {0, 1, 5, 3000};
    for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
        struct mim_segments segments = {0};
        struct mim_reader *reader = NULL;
        struct mim_error error = {0};
        mim_position_t unused = 0, position = 1;
        ok(mim_segments_load(w->storage, &segments, &unused, &error), &error);
        ok(mim_reader_open(w->storage, &segments, &(struct mim_reader_options){0}, &reader, &error), &error);
        void *context = mim_read_thread.begin(reader);
        assert_non_null(context);
        for (unsigned n = 0; n < stops[i]; n++) {
            struct mim_frame frame;
            int rc = mim_read_thread.next(context, &frame, &error);
            if (rc != 0) {
                assert_int_equal(rc, MIM_E_NOT_FOUND);
                assert_int_equal(mim_read_thread.next(context, &frame, &error), MIM_E_NOT_FOUND); /* and stays so */
                break;
            }
            assert_true(frame.header.first_position == position);
            assert_true(frame.header.kind != MIM_FRAME_DATA || frame.record_count >= frame.header.event_count);
            position += frame.header.event_count;
        }
        mim_read_thread.end(context);
        (void)mim_reader_free(reader);
        mim_segments_deinit(&segments);
    }
}

/** Turns a bit of the journal over at `lsn`; again: as it was. */
static void flip(struct world *w, mim_lsn_t lsn) {
    struct mim_segments segments = {0};
    struct mim_error error = {0};
    mim_position_t unused = 0;
    ok(mim_segments_load(w->storage, &segments, &unused, &error), &error);
    size_t n = mim_segments_find_lsn(&segments, lsn);
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(segments.items[n].header.first_position, path);
    uint64_t offset = lsn - segments.items[n].header.base_lsn;
    mim_file_t file = 0;
    uint8_t byte = 0;
    size_t got = 0;
    ok(mim_file_open(w->storage, path, MIM_OPEN_READ | MIM_OPEN_WRITE, &file, &error), &error);
    ok(mim_file_pread(w->storage, file, &byte, 1, offset, &got, &error), &error);
    byte ^= 1u;
    ok(mim_file_pwrite(w->storage, file, &byte, 1, offset, &error), &error);
    mim_file_close(w->storage, file);
    mim_segments_deinit(&segments);
}

static void same_error_on_damage(void **state) {
    struct world *w = *state;
    static mim_lsn_t lsns[20000];
    size_t count = boundaries(w, lsns, 20000);
    const size_t at[] = {1, count / 4, count / 2, count - 2};
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        mim_lsn_t lsn = lsns[at[i]] + MIM_FRAME_HEADER_SIZE - 1; /* the chain */
        flip(w, lsn);
        struct result helped = replay(w, &w->source, 0);
        assert_int_equal(helped.rc, MIM_E_DAMAGED);
        assert_non_null(strstr(helped.error.text, "position"));
        expect_same(w, 0);
        flip(w, lsn);
    }
    expect_same(w, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_image),
        cmocka_unit_test(same_up_to_a_limit),
        cmocka_unit_test(ends_early),
        cmocka_unit_test(same_error_on_damage),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
