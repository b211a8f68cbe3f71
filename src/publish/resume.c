// SPDX-License-Identifier: MIT
// What happens on every new connection before the first entry: who we are, which stream is in use, whether it is ours and
// whole, where it ends; then to go on behind its last entry, or the policy for gaps. One question at a time.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "publish/internal.h"
#include "publish/wire.h"

static void step_enter(struct mim_publisher *p, enum mim_publish_step step);

/* --------------------------------------------------------------- questions */

static void on_answer(redisAsyncContext *context, void *answer, void *unused);

/** Asks with arguments that are NUL-terminated texts; ends with NULL. */
static void ask(struct mim_publisher *p, ...) {
    const char *words[16];
    unsigned count = 0;
    va_list arguments;
    va_start(arguments, p);
    for (const char *word = va_arg(arguments, const char *); word != NULL; word = va_arg(arguments, const char *)) {
        MIM_ASSERT(count < sizeof(words) / sizeof(words[0]));
        words[count++] = word;
    }
    va_end(arguments);
    p->out.size = 0;
    mim_wire_head(&p->out, '*', count);
    for (unsigned i = 0; i < count; i++) {
        mim_wire_text(&p->out, words[i]);
    }
    mim_publish_send(p, on_answer, &p->out);
}

static void ask_load(struct mim_publisher *p, bool states) {
    p->text.size = 0;
    if (states) {
        mim_publish_script_states(&p->text);
    } else {
        mim_publish_script_entries(&p->options, &p->text);
    }
    mim_buffer_append(&p->text, "", 1);
    ask(p, "SCRIPT", "LOAD", (const char *)p->text.data, NULL);
}

static void ask_select(struct mim_publisher *p) {
    char db[16];
    (void)snprintf(db, sizeof(db), "%u", p->target.db);
    ask(p, "SELECT", db, NULL);
}

static void ask_take(struct mim_publisher *p) {
    char base[24];
    (void)snprintf(base, sizeof(base), "%llu", (unsigned long long)p->next_base);
    if (p->forget_states) {
        ask(p, "HSET", p->about, "history", p->history, "stream", p->stream, "base", base, "states", "0", NULL);
    } else {
        ask(p, "HSET", p->about, "history", p->history, "stream", p->stream, "base", base, NULL);
    }
}

static void name_numbered(char ret_name[MIM_PUBLISH_KEY_MAX], const char *base, uint32_t number, const char *behind) {
    if (number < 2) {
        (void)snprintf(ret_name, MIM_PUBLISH_KEY_MAX, "%.200s%s", base, behind);
    } else {
        (void)snprintf(ret_name, MIM_PUBLISH_KEY_MAX, "%.200s:%u%s", base, number, behind);
    }
}

/** Where we write down what is ours: beside the stream, or beside a numbered one when the first belongs to another. */
static void root_set(struct mim_publisher *p, uint32_t number) {
    p->root = number;
    name_numbered(p->about, p->options.stream, number, ":about");
    name_numbered(p->versions, p->options.stream, number, ":versions");
}

static void ask_free_name(struct mim_publisher *p) {
    name_numbered(p->stream, p->options.stream, p->stream_number, "");
    ask(p, "EXISTS", p->stream, NULL);
}

/* ------------------------------------------------------------------- verdict */

static void go_live(struct mim_publisher *p, mim_position_t from, mim_position_t last_id, mim_position_t states) {
    const struct mim_publish_memory *memory = &p->memory;
    if (last_id != 0 && memory->last_id == last_id && memory->upto >= from && memory->upto <= p->gate.position &&
        memory->filter == p->filter_hash && strcmp(memory->stream, p->stream) == 0) {
        from = memory->upto + 1; /* what lies between was looked at and not wanted */
    }
    mim_cursor_init(&p->cursor, from);
    p->last_id = last_id;
    p->acknowledged_id = last_id;
    p->acknowledged = from - 1;
    mim_publish_states_reset(p, states > p->gate.position ? 0 : states);
    mim_publish_phase_set(p, MIM_PUBLISH_LIVE);
}

/** A stream that is not what it was, or not ours: the operator's choice. `trusted`: what is there up to found.last_id is
 *  ours and whole, and only its end is missing. */
__attribute__((format(printf, 3, 4))) static void gap(struct mim_publisher *p, bool trusted, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    p->gaps++;
    p->next_base = trusted ? p->found.last_id : 0;
    p->forget_states = !trusted || !p->found.owned;
    switch (p->options.on_gap) {
    case MIM_PUBLISH_STOP:
        mim_publish_halt(p, "%s; --publish-on-gap refill or new-stream would go on", text);
        return;
    case MIM_PUBLISH_REFILL:
        mim_publish_tell(p, true, "publish_refill", text);
        if (trusted && p->found.exists) {
            p->memory.upto = 0;
            go_live(p, p->found.last_id + 1, p->found.last_id, p->found.states);
        } else {
            step_enter(p, MIM_STEP_FORGET);
        }
        return;
    case MIM_PUBLISH_NEW_STREAM:
        mim_publish_tell(p, true, "publish_new_stream", text);
        p->stream_number = 2;
        const char *number = strrchr(p->stream, ':');
        if (strcmp(p->stream, p->options.stream) != 0 && number != NULL) {
            p->stream_number = (uint32_t)strtoul(number + 1, NULL, 10) + 1;
        }
        step_enter(p, MIM_STEP_FREE_NAME);
        return;
    }
}

/** The stream's newest entry that we know of; 0: none. */
static mim_position_t remembered(const struct mim_publisher *p) {
    return p->memory.target == p->target_hash && strcmp(p->memory.stream, p->stream) == 0 ? p->memory.last_id : 0;
}

static void judge(struct mim_publisher *p) {
    struct mim_publish_found *found = &p->found;
    unsigned long long last = found->last_id;
    unsigned long long known = remembered(p);
    bool empty = !found->exists || (found->last_id == 0 && !found->foreign_id);
    if (found->owned && !found->ours) {
        gap(p, false, "%s belongs to another history", p->stream);
    } else if (!found->owned && !empty) {
        gap(p, false, "%s was not written by memimage", p->stream);
    } else if (found->foreign_id) {
        gap(p, false, "the last id of %s is no position", p->stream);
    } else if (last > p->gate.position) {
        gap(p, false, "%s ends at position %llu, the journal at %llu", p->stream, last,
            (unsigned long long)p->gate.position);
    } else if (!found->owned && known > 0) {
        gap(p, true, "%s is gone, it had ended at position %llu", p->stream, known);
    } else if (!found->owned) {
        step_enter(p, MIM_STEP_TAKE); /* the first time */
    } else if (empty && known > found->base) {
        found->last_id = found->base;
        gap(p, true, "%s is empty, it had ended at position %llu", p->stream, known);
    } else if (empty) {
        go_live(p, found->base + 1, 0, found->states);
    } else if (last < known) {
        gap(p, true, "%s ends at position %llu, it had ended at %llu", p->stream, last, known);
    } else if (!p->filtered && found->counted && found->entries_added != last - found->base) {
        gap(p, false, "%s ends at position %llu and begins behind %llu, but got %llu entries", p->stream, last,
            (unsigned long long)found->base, (unsigned long long)found->entries_added);
    } else if (found->newest) {
        mim_cursor_init(&p->cursor, last);
        step_enter(p, MIM_STEP_SEEK);
    } else {
        go_live(p, last + 1, last, found->states);
    }
}

/** Compares the newest entry with the journal's event of that position. */
static void compare(struct mim_publisher *p, const struct mim_journal_event *event) {
    struct mim_event_about about;
    struct mim_error error = {0};
    if (mim_cloudevents_about(p->events, event, &about, &error) != 0) {
        mim_publish_halt(p, "%s", error.text);
        return;
    }
    char subject[sizeof(p->found.newest_subject)];
    char version[24];
    (void)snprintf(subject, sizeof(subject), "%s/%.*s", about.aggregate_type, (int)about.id.size,
                   (const char *)about.id.data);
    (void)snprintf(version, sizeof(version), "%u", event->record.version);
    if (strcmp(about.type, p->found.newest_type) != 0 || strcmp(subject, p->found.newest_subject) != 0 ||
        strcmp(version, p->found.newest_version) != 0) {
        gap(p, false, "position %llu is %s of %s in %s, and %s of %s in the journal",
            (unsigned long long)event->position, p->found.newest_type, p->found.newest_subject, p->stream, about.type,
            subject);
        return;
    }
    go_live(p, event->position + 1, event->position, p->found.states);
}

void mim_publish_seek(struct mim_publisher *p) {
    struct mim_frame frame;
    struct mim_journal_event event;
    struct mim_error error = {0};
    int rc = mim_access_set_limit(p->access, p->gate.lsn, p->gate.segment_lsn, &error);
    rc = rc != 0 ? rc : mim_cursor_frame(&p->cursor, p->access, &frame, &error);
    rc = rc != 0 ? rc : mim_cursor_event(&p->cursor, &frame, &event, &error);
    if (rc == 0) {
        compare(p, &event);
    } else if (rc == MIM_E_INVALID) { /* archived: it cannot be compared any more */
        go_live(p, p->found.last_id + 1, p->found.last_id, p->found.states);
    } else if (rc == MIM_E_NOT_FOUND) {
        mim_publish_halt(p, "the journal does not hold its own position");
    } else if (rc != MIM_E_AGAIN) {
        mim_publish_unreadable(p, p->cursor.position, &error);
    }
}

/* ------------------------------------------------------------------- answers */

static const redisReply *element(const redisReply *reply, size_t n) {
    return reply->type == REDIS_REPLY_ARRAY && n < reply->elements ? reply->element[n] : NULL;
}

static bool is_text(const redisReply *reply) {
    return reply != NULL && (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS);
}

static void copy_text(const redisReply *reply, char *ret_text, size_t capacity) {
    ret_text[0] = '\0';
    if (is_text(reply) && reply->len < capacity) {
        memcpy(ret_text, reply->str, reply->len);
        ret_text[reply->len] = '\0';
    }
}

static uint64_t as_number(const redisReply *reply) {
    return reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0 ? (uint64_t)reply->integer
           : is_text(reply)                                                          ? strtoull(reply->str, NULL, 10)
                                                                                     : 0;
}

/** HMGET about history stream base states. */
static bool take_about(struct mim_publisher *p, const redisReply *reply) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4) {
        return false;
    }
    char text[MIM_PUBLISH_KEY_MAX];
    p->found = (struct mim_publish_found){.owned = is_text(element(reply, 0))};
    copy_text(element(reply, 0), text, sizeof(text));
    p->found.ours = p->found.owned && strcmp(text, p->history) == 0;
    copy_text(element(reply, 1), text, sizeof(text));
    name_numbered(p->stream, p->options.stream, p->root, "");
    if (p->found.ours && text[0] != '\0') {
        (void)snprintf(p->stream, sizeof(p->stream), "%s", text);
    } else if (p->memory.target == p->target_hash && p->memory.stream[0] != '\0') {
        (void)snprintf(p->stream, sizeof(p->stream), "%s", p->memory.stream);
    }
    p->found.base = as_number(element(reply, 2));
    p->found.states = as_number(element(reply, 3));
    return true;
}

/** XINFO STREAM: names and values. */
static bool take_stream(struct mim_publisher *p, const redisReply *reply) {
    if (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "no such key") != NULL) {
        return true;
    }
    if (reply->type != REDIS_REPLY_ARRAY) {
        return false;
    }
    bool known = false;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        char name[32];
        copy_text(reply->element[i], name, sizeof(name));
        const redisReply *value = reply->element[i + 1];
        if (strcmp(name, "entries-added") == 0) {
            p->found.counted = true;
            p->found.entries_added = as_number(value);
        } else if (strcmp(name, "last-generated-id") == 0 && is_text(value)) {
            char *end;
            p->found.last_id = strtoull(value->str, &end, 10);
            p->found.foreign_id = strcmp(end, "-0") != 0;
            known = true;
        }
    }
    p->found.exists = true;
    return known;
}

/** XREVRANGE + - COUNT 1: [[id, [name, value ...]]]. */
static bool take_newest(struct mim_publisher *p, const redisReply *reply) {
    if (reply->type != REDIS_REPLY_ARRAY) {
        return false;
    }
    const redisReply *entry = element(reply, 0);
    if (entry == NULL) {
        return true;
    }
    const redisReply *fields = element(entry, 1);
    if (!is_text(element(entry, 0)) || fields == NULL || fields->type != REDIS_REPLY_ARRAY) {
        return false;
    }
    p->found.newest = strtoull(entry->element[0]->str, NULL, 10) == p->found.last_id;
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        char name[32];
        copy_text(fields->element[i], name, sizeof(name));
        const redisReply *value = fields->element[i + 1];
        if (strcmp(name, "type") == 0) {
            copy_text(value, p->found.newest_type, sizeof(p->found.newest_type));
        } else if (strcmp(name, "subject") == 0) {
            copy_text(value, p->found.newest_subject, sizeof(p->found.newest_subject));
        } else if (strcmp(name, "version") == 0) {
            copy_text(value, p->found.newest_version, sizeof(p->found.newest_version));
        }
    }
    return true;
}

/* --------------------------------------------------------------------- steps */

static void step_enter(struct mim_publisher *p, enum mim_publish_step step) {
    p->step = step;
    switch (step) {
    case MIM_STEP_AUTH:
        if (p->target.user[0] != '\0') {
            ask(p, "AUTH", p->target.user, p->target.password, NULL);
        } else {
            ask(p, "AUTH", p->target.password, NULL);
        }
        return;
    case MIM_STEP_SELECT:
        ask_select(p);
        return;
    case MIM_STEP_LOAD_ENTRIES:
    case MIM_STEP_LOAD_STATES:
        ask_load(p, step == MIM_STEP_LOAD_STATES);
        return;
    case MIM_STEP_ABOUT:
        ask(p, "HMGET", p->about, "history", "stream", "base", "states", NULL);
        return;
    case MIM_STEP_STREAM:
        ask(p, "XINFO", "STREAM", p->stream, NULL);
        return;
    case MIM_STEP_NEWEST:
        ask(p, "XREVRANGE", p->stream, "+", "-", "COUNT", "1", NULL);
        return;
    case MIM_STEP_SEEK:
        return; /* in slices: mim_publish_seek */
    case MIM_STEP_FREE_NAME:
        ask_free_name(p);
        return;
    case MIM_STEP_FORGET:
        if (p->forget_states) {
            ask(p, "DEL", p->stream, p->about, p->versions, NULL);
        } else {
            ask(p, "DEL", p->stream, NULL);
        }
        return;
    case MIM_STEP_TAKE:
        ask_take(p);
        return;
    }
}

/** The answer to a question; false: no Redis would answer so. */
static bool step_take(struct mim_publisher *p, const redisReply *reply) {
    bool ok = true;
    switch (p->step) {
    case MIM_STEP_AUTH:
        step_enter(p, MIM_STEP_SELECT);
        return reply->type == REDIS_REPLY_STATUS;
    case MIM_STEP_SELECT:
        step_enter(p, MIM_STEP_LOAD_ENTRIES);
        return reply->type == REDIS_REPLY_STATUS;
    case MIM_STEP_LOAD_ENTRIES:
        copy_text(reply, p->sha_entries, sizeof(p->sha_entries));
        step_enter(p, p->options.states ? MIM_STEP_LOAD_STATES : MIM_STEP_ABOUT);
        return strlen(p->sha_entries) == MIM_PUBLISH_SHA;
    case MIM_STEP_LOAD_STATES:
        copy_text(reply, p->sha_states, sizeof(p->sha_states));
        step_enter(p, MIM_STEP_ABOUT);
        return strlen(p->sha_states) == MIM_PUBLISH_SHA;
    case MIM_STEP_ABOUT:
        ok = take_about(p, reply);
        if (ok && p->found.owned && !p->found.ours && p->options.on_gap == MIM_PUBLISH_NEW_STREAM) {
            mim_publish_tell(p, true, "publish_new_stream", "the stream belongs to another history");
            root_set(p, p->root + 1);
            step_enter(p, MIM_STEP_ABOUT);
        } else {
            step_enter(p, MIM_STEP_STREAM);
        }
        return ok;
    case MIM_STEP_STREAM:
        ok = take_stream(p, reply);
        if (ok && p->found.exists) {
            step_enter(p, MIM_STEP_NEWEST);
        } else if (ok) {
            judge(p);
        }
        return ok;
    case MIM_STEP_NEWEST:
        ok = take_newest(p, reply);
        if (ok) {
            judge(p);
        }
        return ok;
    case MIM_STEP_SEEK:
        return false;
    case MIM_STEP_FREE_NAME:
        if (reply->type == REDIS_REPLY_INTEGER && reply->integer != 0) {
            p->stream_number++;
            ask_free_name(p);
        } else {
            step_enter(p, MIM_STEP_TAKE);
        }
        return reply->type == REDIS_REPLY_INTEGER;
    case MIM_STEP_FORGET:
        step_enter(p, MIM_STEP_TAKE);
        return reply->type == REDIS_REPLY_INTEGER;
    case MIM_STEP_TAKE:
        p->memory.last_id = 0; /* a new stream, a new beginning */
        p->memory.upto = 0;
        go_live(p, p->next_base + 1, 0, p->forget_states ? 0 : p->found.states);
        return reply->type == REDIS_REPLY_INTEGER;
    }
    return false;
}

static void on_answer(redisAsyncContext *context, void *answer, void *unused) {
    (void)unused;
    const redisReply *reply = answer;
    struct mim_publisher *p = mim_publish_answered(context, reply);
    if (p == NULL) {
        return;
    }
    bool absent =
        p->step == MIM_STEP_STREAM && reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "no such key") != NULL;
    if (reply->type == REDIS_REPLY_ERROR && !absent) {
        mim_publish_refused(p, reply);
    } else if (!step_take(p, reply) && p->context == context) {
        mim_publish_fail(p, "an answer that Redis would not give: not a Redis?");
    }
}

void mim_publish_resume(struct mim_publisher *p) {
    p->next_base = 0;
    p->forget_states = false;
    root_set(p, 1);
    step_enter(p, p->target.has_password ? MIM_STEP_AUTH : MIM_STEP_SELECT);
}
