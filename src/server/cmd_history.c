// SPDX-License-Identifier: MIT
// History on the wire: STATE ... AT, EVENTS, JOURNAL, FOLLOW, UNFOLLOW. Here are their arguments only; past.h does it.
#include <stdlib.h>
#include <string.h>

#include "server/past.h"

static enum mim_verdict_of_call answer_error(struct mim_call *call, const char *text) {
    mim_reply_errorf(call->reply, "ERR", "%s", text);
    return MIM_CALL_DONE;
}

static int syntax(struct mim_call *call, struct mim_error *reterr) {
    return mim_error_set(reterr, MIM_E_INVALID, "syntax error: %s %s", call->command->name, call->command->usage);
}

/** What EVENTS, JOURNAL and FOLLOW may be told, and where it goes; NULL: not by this command. */
struct history_options {
    uint64_t *from, *to, *count;
    bool *reverse;
    bool *has_from;
    bool correlation, scope;
    struct mim_event_filter *filter;
};

static int option_scope(struct mim_call *call, const struct history_options *options, struct mim_slice word,
                        struct mim_slice value, struct mim_error *reterr) {
    struct mim_engine *engine = call->server->engine;
    struct mim_slice type;
    struct mim_slice id;
    if (options->filter->one_aggregate) {
        return mim_error_set(reterr, MIM_E_INVALID, "one of STREAM and TYPE, once");
    }
    if (mim_word_is(word, "TYPE")) {
        return mim_event_filter_type(options->filter, engine, value, reterr);
    }
    if (!mim_address_split(value, &type, &id)) {
        return mim_error_set(reterr, MIM_E_INVALID, "the stream must be given as type/id");
    }
    return mim_event_filter_stream(options->filter, engine, type, id, reterr);
}

/** One option with a value. */
static int option_take(struct mim_call *call, const struct history_options *options, struct mim_slice word,
                       struct mim_slice value, struct mim_error *reterr) {
    uint64_t *number = mim_word_is(word, "FROM")    ? options->from
                       : mim_word_is(word, "TO")    ? options->to
                       : mim_word_is(word, "COUNT") ? options->count
                                                    : NULL;
    if (number != NULL) {
        if (options->has_from != NULL) {
            *options->has_from = true; /* FOLLOW takes no other number */
        }
        return mim_word_number(value, 10, number)
                   ? 0
                   : mim_error_set(reterr, MIM_E_INVALID, "%.*s must be a number, 0 or greater", (int)word.size,
                                   (const char *)word.data);
    }
    if (mim_word_is(word, "TYPES")) {
        return mim_event_filter_types(options->filter, call->server->engine, value, reterr);
    }
    if (options->correlation && mim_word_is(word, "CORR")) {
        return mim_event_filter_correlation(options->filter, value, reterr);
    }
    if (options->scope && (mim_word_is(word, "STREAM") || mim_word_is(word, "TYPE"))) {
        return option_scope(call, options, word, value, reterr);
    }
    return syntax(call, reterr);
}

static int options_parse(struct mim_call *call, size_t first, const struct history_options *options,
                         struct mim_error *reterr) {
    for (size_t i = first; i < call->count; i++) {
        if (options->reverse != NULL && mim_word_is(call->arguments[i], "REV")) {
            *options->reverse = true;
            continue;
        }
        if (i + 1 == call->count) {
            return syntax(call, reterr);
        }
        int rc = option_take(call, options, call->arguments[i], call->arguments[i + 1], reterr);
        if (rc != 0) {
            return rc;
        }
        i++;
    }
    return 0;
}

static struct mim_past_job *job_new(struct mim_call *call, enum mim_past_kind kind, struct mim_error *reterr) {
    struct mim_past *past;
    if (mim_past_open(call->server, &past, reterr) != 0) {
        return NULL;
    }
    struct mim_past_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        (void)mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
        return NULL;
    }
    job->kind = kind;
    job->from = 1;
    job->to = UINT64_MAX;
    job->count = UINT64_MAX;
    job->filter.permits = mim_permission_reads(call->session);
    return job;
}

/** Finds the stream as it is now; what is known of it is what the job reads, once it is durable. */
static int job_aim(struct mim_call *call, struct mim_past_job *job, struct mim_error *reterr) {
    struct mim_slice address = call->arguments[1];
    struct mim_slice type;
    struct mim_slice id;
    if (!mim_address_split(address, &type, &id)) {
        return mim_error_set(reterr, MIM_E_INVALID, "the aggregate must be given as type/id");
    }
    int rc = mim_engine_tip(call->server->engine, type, id, &job->aggregate, &job->stream, &job->tip, reterr);
    if (rc != 0) {
        return rc;
    }
    MIM_ASSERT(address.size <= sizeof(job->address)); /* the model knows the type, and the id is valid */
    memcpy(job->address, address.data, address.size);
    job->type = mim_slice_of(job->address, type.size);
    job->id = mim_slice_of(job->address + type.size + 1, id.size);
    job->gate = job->tip.lsn + 1;
    return 0;
}

static enum mim_verdict_of_call job_failed(struct mim_call *call, struct mim_past_job *job,
                                           const struct mim_error *error) {
    (void)mim_past_job_free(job);
    return answer_error(call, error->text);
}

/* --------------------------------------------------------------------- commands */

static int state_arguments(struct mim_call *call, struct mim_past_job *job, struct mim_error *reterr) {
    if (call->count != 5 || !mim_word_is(call->arguments[2], "AT")) {
        return syntax(call, reterr);
    }
    struct mim_slice by = call->arguments[3];
    struct mim_slice value = call->arguments[4];
    bool number = mim_word_number(value, 10, &job->value);
    if (mim_word_is(by, "TIME")) {
        int64_t time_ms = 0;
        job->measure = MIM_BY_TIME;
        if (number && job->value <= INT64_MAX) {
            return 0;
        }
        if (mim_rfc3339_parse((const char *)value.data, value.size, &time_ms) != 0) {
            return mim_error_set(reterr, MIM_E_INVALID, "TIME must be RFC 3339 or Unix milliseconds");
        }
        job->value = (uint64_t)time_ms;
        return 0;
    }
    job->measure = mim_word_is(by, "POSITION") ? MIM_BY_POSITION : MIM_BY_VERSION;
    if (job->measure == MIM_BY_VERSION && !mim_word_is(by, "VERSION")) {
        return syntax(call, reterr);
    }
    return number ? 0
                  : mim_error_set(reterr, MIM_E_INVALID, "%s must be a number, 0 or greater",
                                  job->measure == MIM_BY_VERSION ? "VERSION" : "POSITION");
}

enum mim_verdict_of_call mim_cmd_state_at(struct mim_call *call) {
    enum mim_verdict_of_call verdict;
    if (mim_past_resumed(call, &verdict)) {
        return verdict;
    }
    struct mim_error error = {0};
    struct mim_past_job *job = job_new(call, MIM_PAST_STATE, &error);
    if (job == NULL) {
        return answer_error(call, error.text);
    }
    int rc = state_arguments(call, job, &error);
    rc = rc != 0 ? rc : job_aim(call, job, &error);
    if (rc == MIM_E_NOT_FOUND) {
        (void)mim_past_job_free(job);
        mim_reply_null(call->reply);
        return MIM_CALL_DONE;
    }
    return rc == 0 ? mim_past_start(call, job) : job_failed(call, job, &error);
}

enum mim_verdict_of_call mim_cmd_events(struct mim_call *call) {
    enum mim_verdict_of_call verdict;
    if (mim_past_resumed(call, &verdict)) {
        return verdict;
    }
    struct mim_error error = {0};
    struct mim_past_job *job = job_new(call, MIM_PAST_EVENTS, &error);
    if (job == NULL) {
        return answer_error(call, error.text);
    }
    struct history_options options = {
        .from = &job->from, .to = &job->to, .count = &job->count, .reverse = &job->reverse, .filter = &job->filter};
    int rc = options_parse(call, 2, &options, &error);
    rc = rc != 0 ? rc : job_aim(call, job, &error);
    if (rc == MIM_E_NOT_FOUND) {
        (void)mim_past_job_free(job);
        mim_reply_array(call->reply, 0);
        return MIM_CALL_DONE;
    }
    job->from = job->from == 0 ? 1 : job->from;
    return rc == 0 ? mim_past_start(call, job) : job_failed(call, job, &error);
}

enum mim_verdict_of_call mim_cmd_journal(struct mim_call *call) {
    enum mim_verdict_of_call verdict;
    if (mim_past_resumed(call, &verdict)) {
        return verdict;
    }
    struct mim_server *server = call->server;
    struct mim_error error = {0};
    struct mim_past_job *job = job_new(call, MIM_PAST_JOURNAL, &error);
    if (job == NULL) {
        return answer_error(call, error.text);
    }
    job->count = MIM_JOURNAL_COUNT;
    struct history_options options = {
        .from = &job->from, .count = &job->count, .correlation = true, .filter = &job->filter};
    int rc = options_parse(call, 1, &options, &error);
    if (rc != 0) {
        return job_failed(call, job, &error);
    }
    struct mim_engine_point point;
    mim_engine_point(server->engine, &point);
    job->to = point.position;
    job->gate = mim_engine_gate_all(server->engine, &server->appender);
    return mim_past_start(call, job);
}

enum mim_verdict_of_call mim_cmd_follow(struct mim_call *call) {
    struct mim_server *server = call->server;
    struct mim_error error = {0};
    struct mim_event_filter filter = {.permits = mim_permission_reads(call->session)};
    struct mim_past *past;
    uint64_t from = 0;
    bool has_from = false;
    struct history_options options = {.from = &from, .has_from = &has_from, .scope = true, .filter = &filter};
    int rc = options_parse(call, 1, &options, &error);
    rc = rc != 0 ? rc : mim_past_open(server, &past, &error);
    if (!has_from) {
        struct mim_engine_point point;
        mim_engine_point(server->engine, &point);
        from = point.position + 1;
    }
    rc = rc != 0 ? rc : mim_follow_begin(call->session, from, &filter, &error);
    if (rc != 0) {
        mim_event_filter_deinit(&filter);
        return answer_error(call, error.text);
    }
    mim_reply_simple(call->reply, "OK");
    return MIM_CALL_DONE;
}

enum mim_verdict_of_call mim_cmd_unfollow(struct mim_call *call) {
    mim_follow_end(call->session);
    mim_reply_simple(call->reply, "OK");
    return MIM_CALL_DONE;
}
