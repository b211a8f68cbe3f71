// SPDX-License-Identifier: MIT
// A trace's events by JOURNAL from a server, or by the same search over a directory; see trace_source.h.
#include "cli/trace_source.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "cli/offline.h"
#include "journal/correlation.h"

#define PAGE 1000u /* events asked for at once */

struct mim_trace_source {
    bool is_offline;
    struct mim_offline offline;
    struct mim_correlations *correlations;
    redisContext *redis;
};

static int redis_failed(const redisContext *redis, struct mim_error *reterr) {
    return mim_error_set(reterr, MIM_E_NETWORK, "%s", redis == NULL ? "out of memory" : redis->errstr);
}

static int redis_connect(struct mim_trace_source *source, const struct mim_trace_options *options,
                         struct mim_error *reterr) {
    source->redis = options->unixsocket != NULL ? redisConnectUnix(options->unixsocket)
                                                : redisConnect(options->host, (int)options->port);
    if (source->redis == NULL || source->redis->err != 0) {
        return redis_failed(source->redis, reterr);
    }
    if (options->password == NULL) {
        return 0;
    }
    redisReply *reply = redisCommand(source->redis, "AUTH %s", options->password);
    int rc = reply == NULL                      ? redis_failed(source->redis, reterr)
             : reply->type == REDIS_REPLY_ERROR ? mim_error_set(reterr, MIM_E_NETWORK, "%s", reply->str)
                                                : 0;
    freeReplyObject(reply);
    return rc;
}

int mim_trace_source_open(const struct mim_trace_options *options, struct mim_trace_source **ret_source,
                          struct mim_error *reterr) {
    struct mim_trace_source *source = calloc(1, sizeof(*source));
    if (source == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    *ret_source = source;
    source->is_offline = options->dir != NULL;
    if (!source->is_offline) {
        return redis_connect(source, options, reterr);
    }
    int rc = mim_offline_open(options->dir, options->model, &source->offline, reterr);
    return rc != 0 ? rc
                   : mim_correlations_new(source->offline.storage, source->offline.access, MIM_CORRELATION_NONE,
                                          &source->correlations, reterr);
}

struct mim_trace_source *mim_trace_source_close(struct mim_trace_source *source) {
    if (source != NULL) {
        if (source->redis != NULL) {
            redisFree(source->redis);
        }
        (void)mim_correlations_free(source->correlations);
        mim_offline_close(&source->offline);
        free(source);
    }
    return NULL;
}

/* -------------------------------------------------------------------- offline */

/** What is looked for: events of a correlation, or one position. */
struct wanted {
    struct mim_slice correlation; /* size 0: the position */
    mim_position_t position;
    mim_trace_each *each;
    void *context;
};

static int offline_give(struct mim_trace_source *source, const struct mim_journal_event *event,
                        const struct wanted *wanted, struct mim_error *reterr) {
    struct mim_buffer json = {0};
    int rc = mim_cloudevents_encode(source->offline.events, event, &json, reterr);
    rc = rc != 0 ? rc : wanted->each(wanted->context, mim_slice_of(json.data, json.size), reterr);
    mim_buffer_deinit(&json);
    return rc;
}

/** The events of a frame. NOT_FOUND: done with all. */
static int offline_frame(struct mim_trace_source *source, struct mim_cursor *cursor, const struct wanted *wanted,
                         struct mim_error *reterr) {
    struct mim_frame frame;
    struct mim_journal_event event;
    int rc = mim_cursor_frame(cursor, source->offline.access, &frame, reterr);
    if (rc != 0) {
        return rc == MIM_E_AGAIN ? 0 : rc;
    }
    while ((rc = mim_cursor_event(cursor, &frame, &event, reterr)) == 0) {
        if (wanted->correlation.size == 0 || mim_slice_equal(event.correlation, wanted->correlation)) {
            rc = offline_give(source, &event, wanted, reterr);
        }
        if (rc != 0 || wanted->correlation.size == 0) {
            return rc != 0 ? rc : MIM_E_NOT_FOUND;
        }
        mim_cursor_taken(cursor, &event);
    }
    return rc == MIM_E_NOT_FOUND ? 0 : rc;
}

static int offline_read(struct mim_trace_source *source, const struct wanted *wanted, struct mim_error *reterr) {
    struct mim_correlation_search search = {0};
    struct mim_cursor cursor;
    int rc = 0;
    mim_cursor_init(&cursor, wanted->position);
    if (wanted->correlation.size > 0) {
        mim_correlation_search_begin(&search, source->correlations, wanted->correlation);
    }
    while (rc == 0) {
        rc = search.index == NULL ? 0 : mim_correlation_search_step(&search, &cursor, reterr);
        rc = rc == MIM_E_AGAIN ? 0 : rc != 0 ? rc : offline_frame(source, &cursor, wanted, reterr);
    }
    mim_correlation_search_end(&search);
    return rc == MIM_E_NOT_FOUND ? 0 : rc;
}

/* --------------------------------------------------------------------- server */

static int redis_events(struct mim_trace_source *source, redisReply *reply, const struct wanted *wanted,
                        uint64_t *ret_count, struct mim_error *reterr) {
    int rc = 0;
    if (reply == NULL) {
        return redis_failed(source->redis, reterr);
    }
    if (reply->type != REDIS_REPLY_ARRAY) {
        rc = mim_error_set(reterr, MIM_E_NETWORK, "JOURNAL: %s",
                           reply->type == REDIS_REPLY_ERROR ? reply->str : "not an array");
    }
    for (size_t i = 0; rc == 0 && i < reply->elements; i++) {
        rc = wanted->each(wanted->context, mim_slice_of(reply->element[i]->str, reply->element[i]->len), reterr);
    }
    *ret_count = reply->elements;
    freeReplyObject(reply);
    return rc;
}

/** The position behind the newest event of a page: pages go on there. */
static uint64_t position_behind(const redisReply *reply) {
    const char *text = reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements == 0
                           ? NULL
                           : strstr(reply->element[reply->elements - 1]->str, "\"position\":");
    return text == NULL ? 1 : strtoull(text + strlen("\"position\":"), NULL, 10) + 1;
}

static int redis_read(struct mim_trace_source *source, const struct wanted *wanted, struct mim_error *reterr) {
    uint64_t from = wanted->position;
    uint64_t count = 0;
    if (wanted->correlation.size == 0) {
        redisReply *reply = redisCommand(source->redis, "JOURNAL FROM %llu COUNT 1", (unsigned long long)from);
        return redis_events(source, reply, wanted, &count, reterr);
    }
    int rc;
    do {
        redisReply *reply = redisCommand(source->redis, "JOURNAL CORR %b FROM %llu COUNT %u", wanted->correlation.data,
                                         wanted->correlation.size, (unsigned long long)from, PAGE);
        from = position_behind(reply);
        rc = redis_events(source, reply, wanted, &count, reterr);
    } while (rc == 0 && count == PAGE);
    return rc;
}

static int source_read(struct mim_trace_source *source, const struct wanted *wanted, struct mim_error *reterr) {
    return source->is_offline ? offline_read(source, wanted, reterr) : redis_read(source, wanted, reterr);
}

int mim_trace_source_correlated(struct mim_trace_source *source, const char *id, mim_trace_each *each, void *context,
                                struct mim_error *reterr) {
    struct wanted wanted = {.correlation = mim_slice_text(id), .position = 1, .each = each, .context = context};
    if (wanted.correlation.size == 0 || wanted.correlation.size > MIM_KEY_SIZE_MAX) {
        return mim_error_set(reterr, MIM_E_USAGE, "a correlation id has 1 to %u bytes", MIM_KEY_SIZE_MAX);
    }
    return source_read(source, &wanted, reterr);
}

int mim_trace_source_at(struct mim_trace_source *source, uint64_t position, mim_trace_each *each, void *context,
                        struct mim_error *reterr) {
    struct wanted wanted = {.position = position, .each = each, .context = context};
    return position == 0 ? 0 : source_read(source, &wanted, reterr);
}
