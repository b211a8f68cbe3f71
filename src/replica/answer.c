// SPDX-License-Identifier: MIT
// The answers to a standby; see answer.h.
#include "replica/answer.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/words.h"
#include "replica/incoming.h"
#include "snapshot/snapshot.h"

struct answer {
    const struct mim_answering *on;
    struct mim_feed *feed;
    const struct mim_slice *arguments;
    size_t count;
    struct mim_buffer *out;
    struct mim_replica_point peer;
};

/* ---------------------------------------------------------------------------- saying */

__attribute__((format(printf, 2, 3))) static void say(struct mim_buffer *out, const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    MIM_ASSERT(size > 0 && (size_t)size < sizeof(line));
    mim_buffer_append(out, line, (size_t)size);
    mim_buffer_text(out, "\r\n");
}

static enum mim_answer refuse(struct answer *a, const char *text) {
    size_t size = strcspn(text, "\r\n"); /* one line */
    say(a->out, "-ERR %.*s", (int)(size < 400 ? size : 400), text);
    return MIM_ANSWER_GIVEN;
}

static void say_entry(struct answer *a, const char *path, uint64_t size, uint64_t allocated) {
    char text[160];
    (void)snprintf(text, sizeof(text), "%s %" PRIu64 " %" PRIu64, path, size, allocated);
    say(a->out, "$%zu", strlen(text));
    say(a->out, "%s", text);
}

/* ------------------------------------------------------------------------- REPLICATE */

static bool peer_parse(struct answer *a) {
    const struct mim_slice *arguments = a->arguments;
    struct mim_replica_point *peer = &a->peer;
    uint64_t epoch = 0;
    uint64_t port = 0;
    *peer = (struct mim_replica_point){.empty = arguments[2].size == 1 && arguments[2].data[0] == '?'};
    if ((!peer->empty && !mim_history_parse(arguments[2], &peer->history)) ||
        !mim_word_number(arguments[3], 10, &epoch) || epoch > UINT32_MAX ||
        !mim_word_number(arguments[4], 10, &peer->lsn) || !mim_word_number(arguments[5], 16, &peer->chain) ||
        !mim_word_number(arguments[6], 10, &peer->position) || !mim_word_number(arguments[7], 10, &port) ||
        port > 65535 || peer->position > INT64_MAX || peer->lsn > INT64_MAX) {
        return false;
    }
    peer->epoch = (mim_epoch_t)epoch;
    a->feed->port = (uint16_t)port;
    a->feed->identity[0] = '\0';
    if (a->count == 9 && mim_identity_valid((const char *)arguments[8].data, arguments[8].size)) {
        (void)snprintf(a->feed->identity, sizeof(a->feed->identity), "%.*s", (int)arguments[8].size,
                       (const char *)arguments[8].data);
    }
    return a->count == 8 || a->feed->identity[0] != '\0';
}

static struct mim_replica_point own_point(const struct answer *a) {
    struct mim_engine_point point;
    mim_engine_point(a->on->engine, &point);
    return (struct mim_replica_point){.history = point.history,
                                      .epoch = a->on->appender->epoch,
                                      .lsn = mim_access_limit(a->on->access),
                                      .position = point.position};
}

/** We follow the same primary and have not come as far: not the peer's journal has left ours, ours is short. */
static bool are_behind(const struct answer *a, const struct mim_replica_point *own) {
    return a->on->follows && !a->peer.empty && mim_history_same(&own->history, &a->peer.history) &&
           own->epoch == a->peer.epoch && own->lsn < a->peer.lsn;
}

static enum mim_answer answer_replicate(struct answer *a) {
    uint64_t protocol = 0;
    if (!mim_word_number(a->arguments[1], 10, &protocol) || protocol != MIM_REPLICA_PROTOCOL) {
        return refuse(a, "this primary speaks replication protocol 1");
    }
    if (a->feed->streaming) {
        return refuse(a, "this connection replicates already");
    }
    if (!peer_parse(a)) {
        return refuse(a, "malformed REPLICATE");
    }
    struct mim_error why = {0};
    enum mim_welcome welcome = MIM_WELCOME_FILES;
    struct mim_replica_point own = own_point(a);
    if (are_behind(a, &own)) {
        return refuse(a, "this standby has not come as far as you have: nothing to follow yet");
    }
    if (mim_feed_welcome(a->on->storage, a->on->access, &own, &a->peer, &welcome, &why) != 0) {
        return refuse(a, why.text);
    }
    char history[MIM_HISTORY_TEXT_SIZE];
    mim_history_text(&own.history, history);
    say(a->out, "+%s %s %u", mim_welcome_word(welcome), history, own.epoch);
    a->feed->welcomed = true;
    if (welcome == MIM_WELCOME_CONTINUE) {
        mim_feed_begin(a->feed, &a->peer);
        return MIM_ANSWER_FOLLOWS;
    }
    return welcome == MIM_WELCOME_NEWER ? MIM_ANSWER_FENCED : MIM_ANSWER_GIVEN;
}

/* ----------------------------------------------------------------------------- files */

/** The newest snapshot, if copying it saves the standby more than it costs: the replay of what stands before it. */
static bool snapshot_choose(const struct answer *a, bool tail_only, struct mim_snapshot_entry *ret_entry) {
    const struct mim_segments *segments = mim_access_segments(a->on->access);
    struct mim_snapshots snapshots;
    struct mim_error ignored = {0};
    if (mim_snapshots_load(a->on->storage, &snapshots, &ignored) != 0) {
        return false;
    }
    bool found = false;
    for (size_t i = 0; i < snapshots.count && !found; i++) {
        const struct mim_snapshot_entry *entry = &snapshots.items[i];
        mim_lsn_t first = segments->items[0].header.base_lsn;
        if (entry->usable && entry->header.lsn <= mim_access_limit(a->on->access) && entry->header.lsn >= first) {
            found = tail_only || first > 0 || entry->header.lsn - first > entry->file_size / 2;
            *ret_entry = *entry;
            break;
        }
    }
    mim_snapshots_deinit(&snapshots);
    return found;
}

static enum mim_answer answer_files(struct answer *a) {
    const struct mim_segments *segments = mim_access_segments(a->on->access);
    mim_lsn_t limit = mim_access_limit(a->on->access);
    bool tail_only = mim_word_is(a->arguments[1], "TAIL");
    struct mim_snapshot_entry snapshot;
    bool with_snapshot = snapshot_choose(a, tail_only, &snapshot);
    size_t first = with_snapshot && tail_only ? mim_segments_find_lsn(segments, snapshot.header.lsn) : 0;
    size_t end = segments->count;
    while (end > first + 1 && segments->items[end - 1].header.base_lsn + MIM_SEGMENT_HEADER_SIZE > limit) {
        end--; /* begun, and nothing in it is durable yet */
    }
    say(a->out, "+%s %zu", a->on->run_id, end - first + (with_snapshot ? 1 : 0));
    if (with_snapshot) {
        char path[MIM_SNAPSHOT_PATH_SIZE];
        mim_snapshot_path(snapshot.position, path);
        say_entry(a, path, snapshot.file_size, snapshot.file_size);
    }
    for (size_t i = first; i < end; i++) {
        const struct mim_segment *segment = &segments->items[i];
        char path[MIM_SEGMENT_PATH_SIZE];
        uint64_t durable = limit - segment->header.base_lsn;
        uint64_t size = i + 1 < segments->count && segment->file_size < durable ? segment->file_size : durable;
        mim_segment_path(segment->header.first_position, path);
        say_entry(a, path, size, segment->file_size > size ? segment->file_size : size);
    }
    return MIM_ANSWER_GIVEN;
}

/** The file a standby copies stays open from piece to piece: it may lose its name meanwhile. */
static int file_of(const struct answer *a, struct mim_slice path, struct mim_error *reterr) {
    struct mim_feed *feed = a->feed;
    if (feed->file != 0 && mim_slice_equal(path, mim_slice_text(feed->file_path))) {
        return 0;
    }
    if (!mim_incoming_path_valid(path)) {
        return mim_error_set(reterr, MIM_E_INVALID, "no such file");
    }
    mim_file_close(a->on->storage, feed->file);
    feed->file = 0;
    (void)snprintf(feed->file_path, sizeof(feed->file_path), "%.*s", (int)path.size, (const char *)path.data);
    return mim_file_open(a->on->storage, feed->file_path, MIM_OPEN_READ, &feed->file, reterr);
}

static enum mim_answer answer_read(struct answer *a) {
    struct mim_error why = {0};
    uint64_t offset = 0;
    uint64_t size = 0;
    if (!mim_word_number(a->arguments[2], 10, &offset) || !mim_word_number(a->arguments[3], 10, &size) || size == 0 ||
        size > MIM_INCOMING_PIECE || offset > INT64_MAX) {
        return refuse(a, "malformed REPLREAD");
    }
    if (file_of(a, a->arguments[1], &why) != 0) {
        return refuse(a, why.text);
    }
    size_t before = a->out->size;
    size_t got = 0;
    say(a->out, "$%" PRIu64, size);
    mim_buffer_reserve(a->out, (size_t)size + 2);
    int rc =
        mim_file_pread(a->on->storage, a->feed->file, a->out->data + a->out->size, (size_t)size, offset, &got, &why);
    if (rc != 0 || got != size) {
        a->out->size = before;
        return refuse(a, rc != 0 ? why.text : "the file is shorter than asked for");
    }
    a->out->size += got;
    mim_buffer_text(a->out, "\r\n");
    return MIM_ANSWER_GIVEN;
}

/* ------------------------------------------------------------ comparing, confirming */

static enum mim_answer answer_probe(struct answer *a) {
    struct mim_boundary boundaries[MIM_PROBE_MAX];
    size_t count = (a->count - 1) / 2;
    if (a->count % 2 == 0 || count == 0 || count > MIM_PROBE_MAX) {
        return refuse(a, "malformed REPLPROBE");
    }
    for (size_t i = 0; i < count; i++) {
        if (!mim_word_number(a->arguments[1 + 2 * i], 10, &boundaries[i].lsn) ||
            !mim_word_number(a->arguments[2 + 2 * i], 16, &boundaries[i].chain)) {
            return refuse(a, "malformed REPLPROBE");
        }
    }
    struct mim_error why = {0};
    int index = -1;
    if (mim_feed_probe(a->on->storage, a->on->access, boundaries, count, &index, &why) != 0) {
        return refuse(a, why.text);
    }
    say(a->out, ":%d", index);
    return MIM_ANSWER_GIVEN;
}

static enum mim_answer answer_confirmed(struct answer *a) {
    uint64_t lsn = 0;
    uint64_t position = 0;
    bool possible = a->feed->streaming && mim_word_number(a->arguments[1], 10, &lsn) &&
                    mim_word_number(a->arguments[2], 10, &position) && mim_feed_acked(a->feed, lsn, position);
    return possible ? MIM_ANSWER_CONFIRMED : MIM_ANSWER_HOSTILE;
}

/* -------------------------------------------------------------------------- which one */

enum mim_answer mim_answer(const struct mim_answering *answering, struct mim_feed *feed,
                           const struct mim_slice *arguments, size_t count, struct mim_buffer *out,
                           struct mim_replica_point *ret_peer) {
    static const struct {
        const char *name;
        size_t least;
        enum mim_answer (*answer)(struct answer *a);
    } words[] = {
        {"REPLFILES", 2, answer_files},
        {"REPLREAD", 4, answer_read},
        {"REPLPROBE", 3, answer_probe},
        {"REPLACK", 3, answer_confirmed},
    };
    struct answer a = {.on = answering, .feed = feed, .arguments = arguments, .count = count, .out = out};
    if (mim_word_is(arguments[0], "REPLICATE") && count >= 8) {
        enum mim_answer answer = answer_replicate(&a);
        if (ret_peer != NULL) {
            *ret_peer = a.peer;
        }
        return answer;
    }
    for (size_t i = 0; i < MIM_COUNT_OF(words); i++) {
        if (mim_word_is(arguments[0], words[i].name) && count >= words[i].least) {
            bool silent = words[i].answer == answer_confirmed;
            return feed->welcomed || silent ? words[i].answer(&a) : refuse(&a, "REPLICATE comes first");
        }
    }
    return refuse(&a, "no standby says this");
}

/* --------------------------------------------------------------------------- unasked */

void mim_push_frame(struct mim_buffer *out, const struct mim_frame *frame) {
    say(out, "*3\r\n$6\r\nframes\r\n:%" PRIu64 "\r\n$%u", frame->lsn, frame->header.size);
    mim_buffer_append(out, frame->bytes, frame->header.size);
    mim_buffer_text(out, "\r\n");
}

void mim_push_word(struct mim_buffer *out, const char *word, const uint64_t *numbers, size_t count) {
    say(out, "*%zu\r\n$%zu\r\n%s", count + 1, strlen(word), word);
    for (size_t i = 0; i < count; i++) {
        char digits[24];
        int size = snprintf(digits, sizeof(digits), "%" PRIu64, numbers[i]);
        say(out, "$%d\r\n%s", size, digits);
    }
}
