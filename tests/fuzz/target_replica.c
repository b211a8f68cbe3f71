// SPDX-License-Identifier: MIT
// A standby and a primary that says anything, signed frames included. Every verdict is one of those the server knows, with a
// sentence where there has to be one; and whatever was said, the standby's own journal starts again, to the state that it
// had confirmed or more, and what it set aside or copied is there.
//
// Input: flags (1: no rewinding, 2: with a password, 4: tail only, 8: killed before), then steps: a byte that
// says what the primary says, and its numbers. What a step can be stands in `say`.
#include <inttypes.h>
#include <stdarg.h>

#include "forge.h"
#include "history.h"
#include "replica/standby.h"

#define STEPS_MAX 200u

/** The standby, its disk, and what the primary would have to send next. */
struct stage {
    struct fuzz_life life;
    struct mim_standby standby;
    struct building next;
    enum mim_standby_verdict verdict;
};

static void hear(struct stage *stage, const void *data, size_t size) {
    uint8_t *room = mim_inbox_room(&stage->standby.inbox, size + 1);
    FUZZ_REQUIRE(room != NULL);
    if (size > 0) {
        memcpy(room, data, size);
    }
    mim_inbox_filled(&stage->standby.inbox, size);
}

__attribute__((format(printf, 2, 3))) static void hear_text(struct stage *stage, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    FUZZ_REQUIRE(size >= 0 && (size_t)size < sizeof(text));
    hear(stage, text, (size_t)size);
}

static void hear_bulk(struct stage *stage, struct mim_slice bytes) {
    hear_text(stage, "$%zu\r\n", bytes.size);
    hear(stage, bytes.data, bytes.size);
    hear_text(stage, "\r\n");
}

/** A push with frames: `right` ones follow the standby's journal and are signed. */
static void say_frames(struct stage *stage, struct fuzz_input *in, bool right) {
    uint64_t lsn = right ? stage->next.lsn : fuzz_u16(in);
    struct mim_slice bytes = fuzz_slice(in, fuzz_u16(in));
    uint8_t *frames = calloc(1, bytes.size + FORGE_SLACK);
    size_t at = 0;
    FUZZ_REQUIRE(frames != NULL);
    if (bytes.size > 0) {
        memcpy(frames, bytes.data, bytes.size);
    }
    for (uint32_t step = right ? 1 : 0; step != 0 && at < bytes.size; at += step) {
        step = put_frame_right(frames + at, bytes.size - at, &stage->next);
    }
    hear_text(stage, "*3\r\n$6\r\nframes\r\n:%" PRIu64 "\r\n", lsn);
    hear_bulk(stage, mim_slice_of(frames, bytes.size));
    free(frames);
}

static void say_welcome(struct stage *stage, struct fuzz_input *in) {
    static const char *const words[] = {"CONTINUE", "FILES", "PROBE", "FOREIGN", "NEWER", "LATER"};
    char history[MIM_HISTORY_TEXT_SIZE];
    uint8_t which = fuzz_u8(in);
    mim_history_text(&fuzz_history, history);
    history[0] = (which & 0x80) != 0 ? 'x' : history[0];
    hear_text(stage, "+%s %s %u\r\n", words[(which & 0x7fu) % MIM_COUNT_OF(words)], history, fuzz_u16(in));
}

static void say_push(struct stage *stage, struct fuzz_input *in) {
    static const char *const words[] = {"beat", "scan", "digest", "promote", "frames", "later"};
    uint8_t which = fuzz_u8(in);
    struct mim_engine_point point;
    mim_engine_point(stage->life.engine, &point);
    uint64_t first = (which & 0x80) != 0 ? point.position : fuzz_u16(in);
    hear_text(stage, "*4\r\n$%zu\r\n%s\r\n:%" PRIu64 "\r\n:%u\r\n:%u\r\n",
              strlen(words[(which & 0x7fu) % MIM_COUNT_OF(words)]), words[(which & 0x7fu) % MIM_COUNT_OF(words)], first,
              fuzz_u8(in), fuzz_u8(in));
}

/** An entry of the list of files, or a piece of one. */
static void say_file(struct stage *stage, struct fuzz_input *in, bool piece) {
    char text[96];
    unsigned kind = fuzz_u8(in);
    uint64_t size = fuzz_u16(in);
    if (piece) {
        uint8_t *bytes = calloc(1, size + 1);
        FUZZ_REQUIRE(bytes != NULL);
        memset(bytes, (int)kind, size);
        hear_bulk(stage, mim_slice_of(bytes, size));
        free(bytes);
        return;
    }
    (void)snprintf(text, sizeof(text), "%s/%020u.%s %" PRIu64 " %" PRIu64, (kind & 1) != 0 ? "snapshots" : "journal",
                   kind >> 2, (kind & 1) != 0 ? "snapshot" : "journal", size, size + ((kind & 2) != 0 ? 4096 : 0));
    hear_bulk(stage, mim_slice_text(text));
}

static void say(struct stage *stage, struct fuzz_input *in) {
    switch (fuzz_u8(in) % 11) {
    case 0:
        say_welcome(stage, in);
        break;
    case 1:
        say_frames(stage, in, true);
        break;
    case 2:
        say_frames(stage, in, false);
        break;
    case 3:
        say_push(stage, in);
        break;
    case 4:
        hear_text(stage, "+run-%u %u\r\n", fuzz_u8(in) % 3, fuzz_u8(in));
        break;
    case 5:
        say_file(stage, in, false);
        break;
    case 6:
        say_file(stage, in, true);
        break;
    case 7:
        hear_text(stage, ":%d\r\n", (int8_t)fuzz_u8(in));
        break;
    case 8:
        hear_text(stage, "-ERR %u\r\n", fuzz_u8(in));
        break;
    case 9:
        hear_text(stage, "+OK\r\n");
        break;
    default: {
        struct mim_slice raw = fuzz_slice(in, fuzz_u8(in));
        hear(stage, raw.data, raw.size);
        break;
    }
    }
}

/** Works on what was said, until more is wanted or the conversation is over. */
static void listen(struct stage *stage) {
    struct mim_error error = {0};
    do {
        stage->verdict = mim_standby_step(&stage->standby, &error);
        if (stage->verdict == MIM_STANDBY_STALLED) {
            fuzz_drain(&stage->life);
        }
        if (stage->standby.scan_begun) {
            mim_engine_scan_end(stage->life.engine);
            stage->standby.scan_begun = false;
        }
    } while (stage->verdict == MIM_STANDBY_BUSY || stage->verdict == MIM_STANDBY_STALLED);
    if ((stage->verdict == MIM_STANDBY_CLOSE || stage->verdict == MIM_STANDBY_BROKEN) && error.text[0] == '\0') {
        (void)fprintf(stderr, "verdict %d, state %d without a word\n", stage->verdict, stage->standby.state);
    }
    if (stage->verdict == MIM_STANDBY_CLOSE || stage->verdict == MIM_STANDBY_BROKEN) {
        FUZZ_REQUIRE(error.text[0] != '\0');
    }
    struct mim_standby *standby = &stage->standby;
    mim_standby_confirm(standby, stage->life.appender.next_lsn, 0, false);
    FUZZ_REQUIRE(mim_standby_state_name(standby) != NULL);
    standby->out.size = 0; /* all of it has left */
}

/** What the server does with the journal closed. */
static void carry_out(struct stage *stage) {
    char aside[MIM_ASIDE_PATH_SIZE];
    struct mim_error error = {0};
    bool installed = false;
    int rc = 0;
    switch (stage->verdict) {
    case MIM_STANDBY_REWIND:
        rc = mim_journal_rewind(stage->life.storage, &stage->standby.point, aside, &error);
        break;
    case MIM_STANDBY_SET_ASIDE: /* the simulated disk renames no directories: for the tests on a real one */
        break;
    case MIM_STANDBY_INSTALL:
        rc = mim_incoming_install(stage->life.storage, &installed, &error);
        FUZZ_REQUIRE(rc != 0 || installed);
        break;
    default:
        break;
    }
    if (rc != 0) {
        (void)fprintf(stderr, "verdict %d: %s: %s\n", stage->verdict, mim_error_name(rc), error.text);
    }
    FUZZ_REQUIRE(rc == 0);
}

/** The next start of this directory. A copy is any bytes: it may be refused, with a sentence. */
static void start_again(struct stage *stage, mim_position_t position, uint64_t digest) {
    struct mim_engine_options options = fuzz_engine_options();
    struct mim_recovery recovery;
    struct mim_error error = {0};
    struct fuzz_life *life = &stage->life;
    FUZZ_REQUIRE(mim_engine_new(&options, &life->engine, &error) == 0);
    int rc = mim_recovery_run(life->storage, life->engine, NULL, &recovery, &error);
    if (rc != 0) {
        (void)fprintf(stderr, "%s: %s\n", mim_error_name(rc), error.text);
    }
    FUZZ_REQUIRE(rc == 0 || stage->verdict == MIM_STANDBY_INSTALL);
    FUZZ_REQUIRE(rc == 0 || error.text[0] != '\0');
    if (rc == 0) {
        struct mim_engine_point point;
        mim_engine_point(life->engine, &point);
        bool whole = stage->verdict != MIM_STANDBY_REWIND && stage->verdict != MIM_STANDBY_INSTALL;
        FUZZ_REQUIRE(!whole || point.position == position);
        FUZZ_REQUIRE(!whole || stage->verdict == MIM_STANDBY_BROKEN || mim_engine_digest(life->engine) == digest);
        mim_recovery_deinit(&recovery);
    }
    life->engine = mim_engine_free(life->engine);
}

static void stage_open(struct stage *stage, uint8_t flags) {
    fuzz_live(&stage->life, 4, (flags & 8) == 0);
    stage->life.standby = true;
    fuzz_life_start(&stage->life);
    fuzz_drain(&stage->life);
    struct mim_engine_point point;
    mim_engine_point(stage->life.engine, &point);
    stage->next = (struct building){.position = point.position + 1,
                                    .lsn = stage->life.appender.next_lsn,
                                    .chain = point.chain,
                                    .epoch = stage->life.appender.epoch};
    const struct mim_standby_setup setup = {.storage = stage->life.storage,
                                            .engine = stage->life.engine,
                                            .appender = &stage->life.appender,
                                            .user = (flags & 2) != 0 ? "u" : NULL,
                                            .password = (flags & 2) != 0 ? "p" : NULL,
                                            .port = 1,
                                            .rewind = (flags & 1) == 0,
                                            .tail_only = (flags & 4) != 0};
    mim_standby_begin(&stage->standby, &setup);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {.data = data, .size = size};
    struct mim_storage_sim *sim = mim_storage_sim_new(1);
    struct stage stage = {.life.storage = mim_storage_sim_storage(sim)};
    stage_open(&stage, fuzz_u8(&in));
    for (unsigned i = 0; i < STEPS_MAX && fuzz_left(&in) > 0 && stage.verdict == MIM_STANDBY_MORE; i++) {
        say(&stage, &in);
        listen(&stage);
    }
    fuzz_drain(&stage.life);
    struct mim_engine_point point;
    mim_engine_point(stage.life.engine, &point);
    mim_position_t position = stage.life.appender.next_position - 1;
    uint64_t digest = mim_engine_digest(stage.life.engine);
    fuzz_end(&stage.life, false);
    carry_out(&stage);
    mim_standby_end(&stage.standby);
    start_again(&stage, position, digest);
    (void)mim_storage_sim_free(sim);
    return 0;
}
