// SPDX-License-Identifier: MIT
// Starting on any journal: segments, frames, records, the mark. The start goes well or is refused, and changes nothing
// until it has gone well; a second one sees the same; what was replayed can be read again event by event; and
// what a start has cut and begun starts again to the same state.
//
// Input: flags (1: begin an epoch, 2: a mark), number of segments, then per segment: flags (1: put the header right, 2:
// put the frames right, 4: zeros behind), u16 size of its frames, 80 bytes of header, the frames. In a frame that is put
// right, byte 7 other than 0 leaves all of it as it is, byte 6 the position (1) and the records' places (2).
#include "base/hash.h"
#include "engine/cloudevent.h"
#include "engine/timetravel.h"
#include "forge.h"
#include "journal/cursor.h"

#define SEGMENTS_MAX 3u
#define HEAD_SIZE    80u

static void put_frames_right(uint8_t *frames, size_t size, struct building *b) {
    size_t at = 0;
    for (uint32_t step = 1; step != 0 && at < size; at += step) {
        step = put_frame_right(frames + at, size - at, b);
    }
}

static void put_segment(struct mim_storage storage, struct fuzz_input *in, struct building *b) {
    static uint8_t file[MIM_SEGMENT_HEADER_SIZE + 65536 + FORGE_SLACK];
    uint8_t flags = fuzz_u8(in);
    uint16_t size = fuzz_u16(in);
    memset(file, 0, sizeof(file));
    fuzz_bytes(in, file, HEAD_SIZE);
    struct mim_slice frames = fuzz_slice(in, size);
    if (frames.size > 0) {
        memcpy(file + MIM_SEGMENT_HEADER_SIZE, frames.data, frames.size);
    }
    mim_position_t first = (flags & 1) != 0 ? b->position : mim_get64(file + 32);
    if ((flags & 1) != 0) {
        struct mim_segment_header header = {.history = fuzz_history,
                                            .first_position = first,
                                            .base_lsn = b->lsn,
                                            .previous_chain = b->chain,
                                            .epoch = b->epoch,
                                            .base_time_ms = 1000};
        mim_segment_header_encode(&header, file);
        b->lsn += MIM_SEGMENT_HEADER_SIZE;
    }
    if ((flags & 2) != 0) {
        put_frames_right(file + MIM_SEGMENT_HEADER_SIZE, frames.size, b);
    }
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(first, path);
    fuzz_put(storage, path, file, MIM_SEGMENT_HEADER_SIZE + frames.size + ((flags & 4) != 0 ? 4096 : 0));
}

static void put_journal(struct mim_storage storage, struct fuzz_input *in, uint8_t flags) {
    struct mim_error error = {0};
    struct building b = {.position = 1, .epoch = 1, .chain = mim_history_seed(&fuzz_history)};
    FUZZ_REQUIRE(mim_storage_make_dir(storage, "journal", &error) == 0);
    unsigned count = 1 + fuzz_u8(in) % SEGMENTS_MAX;
    for (unsigned i = 0; i < count; i++) {
        put_segment(storage, in, &b);
    }
    if ((flags & 2) != 0) {
        struct mim_mark mark = {.history = fuzz_history,
                                .durable_lsn = fuzz_u16(in),
                                .position = fuzz_u8(in),
                                .chain = b.chain,
                                .epoch = b.epoch};
        FUZZ_REQUIRE(mim_mark_write(storage, &mark, true, &error) == 0);
    }
}

/** What a start led to. */
struct started {
    int rc;
    uint64_t digest;
    struct mim_engine_point point;
    mim_epoch_t epoch;
};

/** The start of a server up to where it would begin to write. The life has an engine when it went well. */
static struct started start(struct fuzz_life *life, struct mim_recovery *recovery) {
    struct mim_engine_options options = fuzz_engine_options();
    struct started started = {0};
    struct mim_error error = {0};
    FUZZ_REQUIRE(mim_engine_new(&options, &life->engine, &error) == 0);
    started.rc = mim_recovery_run(life->storage, life->engine, NULL, recovery, &error);
    if (started.rc != 0) {
        bool refused = started.rc == MIM_E_DAMAGED || started.rc == MIM_E_FORMAT || started.rc == MIM_E_MODEL;
        if (!refused || error.text[0] == '\0') {
            (void)fprintf(stderr, "%s: %s\n", mim_error_name(started.rc), error.text);
        }
        FUZZ_REQUIRE(refused && error.text[0] != '\0');
        life->engine = mim_engine_free(life->engine);
        return started;
    }
    FUZZ_REQUIRE(recovery->ending.kind != MIM_END_DAMAGED);
    started.epoch = recovery->ending.epoch;
    started.digest = mim_engine_digest(life->engine);
    mim_engine_point(life->engine, &started.point);
    return started;
}

/** Folds the stream of an event from its beginning; the last state is the one that GET shows. */
static void check_stream(struct fuzz_life *life, struct mim_access *access, struct mim_slice id) {
    struct mim_error error = {0};
    struct mim_stream_tip tip;
    struct mim_stream_walk walk;
    struct mim_journal_event event;
    struct mim_fold *fold = NULL;
    struct mim_buffer live = {0};
    struct mim_buffer folded = {0};
    unsigned aggregate;
    mim_stream_t stream;
    struct mim_slice type = mim_slice_text("account");
    FUZZ_REQUIRE(mim_engine_tip(life->engine, type, id, &aggregate, &stream, &tip, &error) == 0);
    FUZZ_REQUIRE(mim_fold_new(life->engine, aggregate, stream, &fold, &error) == 0);
    mim_stream_walk_init(&walk, &tip, 1, tip.version);
    int rc = 0;
    while (rc == 0) {
        rc = mim_stream_walk_next(&walk, access, &event, &error);
        rc = rc == 0 ? mim_fold_apply(fold, &event, &error) : rc;
    }
    FUZZ_REQUIRE(rc == MIM_E_NOT_FOUND || rc == MIM_E_DAMAGED);
    if (rc == MIM_E_NOT_FOUND) {
        FUZZ_REQUIRE(mim_fold_version(fold) == tip.version);
        mim_fold_json(fold, &folded);
        FUZZ_REQUIRE(mim_engine_get(life->engine, NULL, type, id, &live, NULL, NULL, &error) == 0);
        FUZZ_REQUIRE(mim_slice_equal(mim_slice_of(live.data, live.size), mim_slice_of(folded.data, folded.size)));
    }
    (void)mim_fold_free(fold);
    mim_buffer_deinit(&live);
    mim_buffer_deinit(&folded);
}

/** Every event by the cursor, as JSON, and each new stream's past. What contradicts itself is DAMAGED, never worse. */
static void read_again(struct fuzz_life *life, mim_lsn_t end) {
    struct mim_error error = {0};
    struct mim_access *access = NULL;
    struct mim_access *past = NULL;
    struct mim_cloudevents *events = NULL;
    struct mim_cursor cursor;
    struct mim_frame frame;
    struct mim_journal_event event;
    struct mim_buffer out = {0};
    mim_position_t expected = 1;
    FUZZ_REQUIRE(mim_access_open(life->storage, &access, &error) == 0);
    FUZZ_REQUIRE(mim_access_open(life->storage, &past, &error) == 0);
    FUZZ_REQUIRE(mim_access_set_limit(access, end, 0, &error) == 0);
    FUZZ_REQUIRE(mim_access_set_limit(past, end, 0, &error) == 0);
    FUZZ_REQUIRE(mim_cloudevents_new(life->engine, &events, &error) == 0);
    mim_cursor_init(&cursor, 1);
    int rc = 0;
    while ((rc = mim_cursor_frame(&cursor, access, &frame, &error)) == 0 || rc == MIM_E_AGAIN) {
        while (rc == 0 && (rc = mim_cursor_event(&cursor, &frame, &event, &error)) == 0) {
            FUZZ_REQUIRE(event.position == expected++);
            out.size = 0;
            struct mim_slice id;
            int encoded = mim_cloudevents_encode(events, &event, &out, &error);
            FUZZ_REQUIRE(encoded == 0 || encoded == MIM_E_DAMAGED);
            if (event.record.version == 1 && mim_record_part(&event.record, MIM_PART_ID, &id)) {
                check_stream(life, past, id);
            }
            mim_cursor_taken(&cursor, &event);
        }
        if (rc != MIM_E_NOT_FOUND && rc != MIM_E_AGAIN) {
            break;
        }
    }
    FUZZ_REQUIRE(rc == MIM_E_NOT_FOUND || rc == MIM_E_DAMAGED);
    mim_buffer_deinit(&out);
    (void)mim_cloudevents_free(events);
    (void)mim_access_free(access);
    (void)mim_access_free(past);
}

/** Begins an epoch, stops with or without grace, and starts again to the same state in the next epoch. */
static void begin_and_start_again(struct fuzz_life *life, struct mim_recovery *recovery, const struct started *before,
                                  bool clean) {
    struct mim_error error = {0};
    int rc = fuzz_begin(life, recovery, &error);
    if (rc != 0) {
        (void)fprintf(stderr, "%s: %s\n", mim_error_name(rc), error.text);
    }
    FUZZ_REQUIRE(rc == 0);
    fuzz_end(life, clean);
    struct mim_recovery next;
    struct started after = start(life, &next);
    FUZZ_REQUIRE(after.rc == 0 && next.ending.kind == MIM_END_CLEAN);
    FUZZ_REQUIRE(after.digest == before->digest && after.point.position == before->point.position);
    FUZZ_REQUIRE(after.epoch == before->epoch + 1);
    mim_recovery_deinit(&next);
    fuzz_end(life, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {.data = data, .size = size};
    uint8_t flags = fuzz_u8(&in);
    struct mim_storage_sim *sim = mim_storage_sim_new(1);
    struct fuzz_life life = {.storage = mim_storage_sim_storage(sim)};
    put_journal(life.storage, &in, flags);
    uint64_t before = mim_storage_sim_hash(sim);
    struct mim_recovery recovery;
    struct started first = start(&life, &recovery);
    FUZZ_REQUIRE(mim_storage_sim_hash(sim) == before);
    if (first.rc == 0) {
        read_again(&life, first.point.lsn);
        mim_recovery_deinit(&recovery);
        fuzz_end(&life, false);
    }
    struct started second = start(&life, &recovery);
    FUZZ_REQUIRE(second.rc == first.rc && second.digest == first.digest);
    FUZZ_REQUIRE(memcmp(&second.point, &first.point, sizeof(second.point)) == 0);
    if (second.rc == 0 && (flags & 1) != 0 && first.epoch < UINT32_MAX) {
        begin_and_start_again(&life, &recovery, &first, (flags & 4) != 0);
    } else if (second.rc == 0) {
        mim_recovery_deinit(&recovery);
        fuzz_end(&life, false);
    }
    (void)mim_storage_sim_free(sim);
    return 0;
}
