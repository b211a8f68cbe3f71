// SPDX-License-Identifier: MIT
// A primary and a standby that says anything: every command of the conversation with any words. Whatever is asked, what is
// answered and pushed is a sequence of messages that a standby can read, and nothing is believed to be confirmed that was
// never sent.
//
// Input: a byte (1: we are a standby ourselves), then lines of words. Words of one letter behind an @ stand for what is true
// here: history, epoch, lsn, chain, position, segment.
#include <inttypes.h>

#include "history.h"
#include "replica/answer.h"
#include "replica/inbox.h"

#define WORDS_MAX  64u
#define LINES_MAX  100u
#define FRAMES_MAX 20u

struct stage {
    struct fuzz_life life;
    struct mim_access *access;
    struct mim_feed feed;
    struct mim_inbox inbox; /* the standby's */
    char truths[6][64];
};

static void truths_find(struct stage *stage) {
    struct mim_engine_point point;
    struct mim_segments segments;
    struct mim_error error = {0};
    mim_position_t unused = 0;
    mim_engine_point(stage->life.engine, &point);
    FUZZ_REQUIRE(mim_segments_load(stage->life.storage, &segments, &unused, &error) == 0);
    mim_history_text(&point.history, stage->truths[0]);
    (void)snprintf(stage->truths[1], 64, "%u", stage->life.appender.epoch);
    (void)snprintf(stage->truths[2], 64, "%" PRIu64, stage->life.appender.next_lsn);
    (void)snprintf(stage->truths[3], 64, "%016" PRIx64, atomic_load(&stage->life.ring->gate_chain));
    (void)snprintf(stage->truths[4], 64, "%" PRIu64, stage->life.appender.next_position - 1);
    mim_segment_path(segments.items[segments.count - 1].header.first_position, stage->truths[5]);
    mim_segments_deinit(&segments);
}

static struct mim_slice word_of(const struct stage *stage, const uint8_t *data, size_t size) {
    static const char letters[] = "helcps";
    const char *found = size == 2 && data[0] == '@' ? memchr(letters, data[1], sizeof(letters) - 1) : NULL;
    return found == NULL ? mim_slice_of(data, size) : mim_slice_text(stage->truths[found - letters]);
}

/** What was said is what a standby reads, to the last byte. */
static void read_all(struct stage *stage, const struct mim_buffer *out) {
    struct mim_inbox_message message;
    struct mim_error error = {0};
    uint8_t *room = mim_inbox_room(&stage->inbox, out->size + 1);
    FUZZ_REQUIRE(room != NULL);
    if (out->size > 0) {
        memcpy(room, out->data, out->size);
    }
    mim_inbox_filled(&stage->inbox, out->size);
    int rc;
    while ((rc = mim_inbox_peek(&stage->inbox, &message, &error)) == 0) {
        mim_inbox_drop(&stage->inbox, message.size);
    }
    FUZZ_REQUIRE(rc == MIM_E_AGAIN && stage->inbox.begin == stage->inbox.end);
}

static void push_frames(struct stage *stage, struct mim_buffer *out) {
    struct mim_frame frame;
    struct mim_error error = {0};
    int rc = 0;
    for (unsigned i = 0; stage->feed.streaming && i < FRAMES_MAX && rc == 0; i++) {
        rc = mim_feed_next(&stage->feed, stage->access, &frame, &error);
        if (rc == 0) {
            mim_push_frame(out, &frame);
        }
    }
    FUZZ_REQUIRE(rc == 0 || rc == MIM_E_NOT_FOUND || rc == MIM_E_AGAIN || error.text[0] != '\0');
}

/** False: the connection is to be closed. */
static bool line_take(struct stage *stage, const uint8_t *line, size_t size, bool follows) {
    struct mim_slice words[WORDS_MAX];
    size_t count = 0;
    for (size_t at = 0; at < size && count < WORDS_MAX;) {
        const uint8_t *space = memchr(line + at, ' ', size - at);
        size_t end = space == NULL ? size : (size_t)(space - line);
        words[count++] = word_of(stage, line + at, end - at);
        at = end + 1;
    }
    if (count == 0) {
        return true;
    }
    const struct mim_answering answering = {.storage = stage->life.storage,
                                            .engine = stage->life.engine,
                                            .appender = &stage->life.appender,
                                            .access = stage->access,
                                            .follows = follows,
                                            .run_id = "run"};
    struct mim_buffer out = {0};
    struct mim_replica_point peer;
    enum mim_answer answer = mim_answer(&answering, &stage->feed, words, count, &out, &peer);
    bool silent = answer == MIM_ANSWER_CONFIRMED || answer == MIM_ANSWER_HOSTILE;
    FUZZ_REQUIRE(silent == (out.size == 0));
    FUZZ_REQUIRE(answer != MIM_ANSWER_FOLLOWS || stage->feed.streaming);
    FUZZ_REQUIRE(stage->feed.acked_lsn <= stage->feed.sent_lsn + MIM_SEGMENT_HEADER_SIZE);
    push_frames(stage, &out);
    read_all(stage, &out);
    mim_buffer_deinit(&out);
    return answer != MIM_ANSWER_HOSTILE;
}

static void stage_open(struct stage *stage) {
    struct mim_error error = {0};
    fuzz_live(&stage->life, 4, true);
    fuzz_life_start(&stage->life);
    fuzz_drain(&stage->life);
    FUZZ_REQUIRE(mim_access_open(stage->life.storage, &stage->access, &error) == 0);
    FUZZ_REQUIRE(mim_access_set_limit(stage->access, atomic_load(&stage->life.ring->gate_lsn),
                                      stage->life.appender.segment_base_lsn, &error) == 0);
    truths_find(stage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {.data = data, .size = size};
    struct mim_storage_sim *sim = mim_storage_sim_new(1);
    struct stage stage = {.life.storage = mim_storage_sim_storage(sim)};
    stage_open(&stage);
    bool follows = (fuzz_u8(&in) & 1) != 0;
    bool open = true;
    for (unsigned i = 0; open && i < LINES_MAX && fuzz_left(&in) > 0; i++) {
        const uint8_t *line = in.data + in.at;
        const uint8_t *end = memchr(line, '\n', fuzz_left(&in));
        size_t length = end == NULL ? fuzz_left(&in) : (size_t)(end - line);
        open = line_take(&stage, line, length, follows);
        in.at += length + (end != NULL);
    }
    mim_file_close(stage.life.storage, stage.feed.file);
    mim_inbox_deinit(&stage.inbox);
    (void)mim_access_free(stage.access);
    fuzz_end(&stage.life, true);
    (void)mim_storage_sim_free(sim);
    return 0;
}
