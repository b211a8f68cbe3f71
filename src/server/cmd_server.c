// SPDX-License-Identifier: MIT
// Commands about the server: CONFIG INFO TIME DBSIZE SHUTDOWN.
#include <string.h>
#include <strings.h>

#include "server/internal.h"

enum mim_verdict_of_call mim_cmd_info(struct mim_call *call) {
    struct mim_buffer *out = &call->server->scratch;
    out->size = 0;
    mim_info_write(call->server, call->arguments + 1, call->count - 1, out);
    mim_reply_verbatim(call->reply, mim_slice_of(out->data, out->size));
    return MIM_CALL_DONE;
}

enum mim_verdict_of_call mim_cmd_time(struct mim_call *call) {
    int64_t now = call->server->clock.wall_ms(call->server->clock.context);
    char text[24];
    mim_reply_array(call->reply, 2);
    mim_reply_bulk(call->reply, mim_slice_of(text, mim_digits((uint64_t)(now / 1000), text)));
    mim_reply_bulk(call->reply, mim_slice_of(text, mim_digits((uint64_t)(now % 1000) * 1000, text)));
    return MIM_CALL_DONE;
}

enum mim_verdict_of_call mim_cmd_dbsize(struct mim_call *call) {
    struct mim_engine_stats stats;
    mim_engine_stats(call->server->engine, &stats);
    call->gate = mim_engine_gate_all(call->server->engine, &call->server->appender);
    mim_reply_integer(call->reply, (int64_t)stats.aggregates);
    return MIM_CALL_DONE;
}

enum mim_verdict_of_call mim_cmd_shutdown(struct mim_call *call) {
    for (size_t i = 1; i < call->count; i++) {
        struct mim_slice word = call->arguments[i];
        if (!mim_word_is(word, "SAVE") && !mim_word_is(word, "NOSAVE") && !mim_word_is(word, "NOW") &&
            !mim_word_is(word, "FORCE")) {
            mim_reply_errorf(call->reply, "ERR", "syntax error: SHUTDOWN [SAVE|NOSAVE|NOW|FORCE]");
            return MIM_CALL_DONE;
        }
    }
    if (call->server->phase == MIM_PHASE_LOADING) {
        mim_reply_errorf(call->reply, "LOADING", "memimage is replaying its journal: send it a SIGTERM");
        return MIM_CALL_DONE;
    }
    mim_loop_stop(call->server, "SHUTDOWN");
    return MIM_CALL_SILENT;
}

/* ------------------------------------------------------------------- CONFIG */

/** Glob with * and ?, without case; iterative: no recursion on input. */
static bool glob_matches(struct mim_slice pattern, const char *name) {
    size_t size = strlen(name);
    size_t p = 0;
    size_t n = 0;
    size_t star = SIZE_MAX;
    size_t resume = 0;
    while (n < size) {
        if (p < pattern.size && pattern.data[p] == '*') {
            star = p++;
            resume = n;
        } else if (p < pattern.size && (pattern.data[p] == '?' || (pattern.data[p] | 0x20) == (name[n] | 0x20))) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.data[p] == '*') {
        p++;
    }
    return p == pattern.size;
}

#define CONFIG_VALUE_SIZE 128u

static void number_text(uint64_t value, char ret_text[CONFIG_VALUE_SIZE]) {
    ret_text[mim_digits(value, ret_text)] = '\0';
}

static void text_text(const char *value, char ret_text[CONFIG_VALUE_SIZE]) {
    (void)snprintf(ret_text, CONFIG_VALUE_SIZE, "%s", value == NULL ? "" : value);
}

static void durability_text(const struct mim_writer_options *writer, char ret_text[CONFIG_VALUE_SIZE]) {
    if (writer->durability == MIM_DURABILITY_INTERVAL) {
        (void)snprintf(ret_text, CONFIG_VALUE_SIZE, "interval:%llu",
                       (unsigned long long)(writer->interval_ns / 1000000u));
    } else {
        text_text(writer->durability == MIM_DURABILITY_FSYNC ? "fsync" : "none", ret_text);
    }
}

/** The options one can read; those marked may be set. */
static const struct config_name {
    const char *name;
    bool settable;
    uint64_t max;
} config_names[] = {
    {"appendonly", false, 0},
    {"bind", false, 0},
    {"busy-poll-us", true, 1000000},
    {"databases", false, 0},
    {"dir", false, 0},
    {"durability", false, 0},
    {"follower-timeout", true, 1000000},
    {"idempotency-window", false, 0},
    {"maxclients", true, 1000000},
    {"maxmemory", false, 0},
    {"model", false, 0},
    {"pipeline-max", true, 1000000},
    {"port", false, 0},
    {"proto-max-bulk-len", false, 0},
    {"save", false, 0},
    {"seal-idle-ms", true, 60000},
    {"spin-us", true, 1000000},
    {"sync-replicas", true, 64},
    {"timeout", true, 100000000},
    {"unixsocket", false, 0},
};
#define CONFIG_COUNT (sizeof(config_names) / sizeof(config_names[0]))

static void config_value(const struct mim_server *server, const char *name, char ret_text[CONFIG_VALUE_SIZE]) {
    const struct mim_server_options *o = &server->options;
    ret_text[0] = '\0';
    if (strcmp(name, "appendonly") == 0) {
        text_text("yes", ret_text);
    } else if (strcmp(name, "bind") == 0) {
        text_text(o->bind, ret_text);
    } else if (strcmp(name, "busy-poll-us") == 0) {
        number_text(o->busy_poll_us, ret_text);
    } else if (strcmp(name, "databases") == 0) {
        number_text(1, ret_text);
    } else if (strcmp(name, "dir") == 0) {
        text_text(o->dir, ret_text);
    } else if (strcmp(name, "durability") == 0) {
        durability_text(&o->writer, ret_text);
    } else if (strcmp(name, "follower-timeout") == 0) {
        number_text(o->follower_timeout_s, ret_text);
    } else if (strcmp(name, "idempotency-window") == 0) {
        number_text(o->idempotency_window, ret_text);
    } else if (strcmp(name, "maxclients") == 0) {
        number_text(o->clients_max, ret_text);
    } else if (strcmp(name, "maxmemory") == 0) {
        number_text(o->memory_limit, ret_text);
    } else if (strcmp(name, "model") == 0) {
        text_text(o->model_name, ret_text);
    } else if (strcmp(name, "pipeline-max") == 0) {
        number_text(o->pipeline_max, ret_text);
    } else if (strcmp(name, "port") == 0) {
        number_text(server->port, ret_text);
    } else if (strcmp(name, "proto-max-bulk-len") == 0) {
        number_text(o->query_size_max, ret_text);
    } else if (strcmp(name, "seal-idle-ms") == 0) {
        number_text(o->seal_idle_ms, ret_text);
    } else if (strcmp(name, "spin-us") == 0) {
        number_text(o->spin_us, ret_text);
    } else if (strcmp(name, "sync-replicas") == 0) {
        number_text(o->sync_replicas, ret_text);
    } else if (strcmp(name, "timeout") == 0) {
        number_text(o->idle_timeout_s, ret_text);
    } else if (strcmp(name, "unixsocket") == 0) {
        text_text(o->unixsocket, ret_text);
    }
}

static bool config_wanted(const struct mim_call *call, const char *name) {
    for (size_t i = 2; i < call->count; i++) {
        if (glob_matches(call->arguments[i], name)) {
            return true;
        }
    }
    return false;
}

static void config_get(struct mim_call *call) {
    size_t found = 0;
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        found += config_wanted(call, config_names[i].name);
    }
    mim_reply_map(call->reply, found);
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        if (config_wanted(call, config_names[i].name)) {
            char value[CONFIG_VALUE_SIZE];
            config_value(call->server, config_names[i].name, value);
            mim_reply_text(call->reply, config_names[i].name);
            mim_reply_text(call->reply, value);
        }
    }
}

static const struct config_name *config_find(struct mim_slice name) {
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        size_t size = strlen(config_names[i].name);
        if (size == name.size && strncasecmp(config_names[i].name, (const char *)name.data, size) == 0) {
            return &config_names[i];
        }
    }
    return NULL;
}

static void config_apply(struct mim_server *server, const char *name, uint64_t value) {
    struct mim_server_options *o = &server->options;
    if (strcmp(name, "busy-poll-us") == 0) {
        o->busy_poll_us = value; /* the journal thread is told within a window */
    } else if (strcmp(name, "spin-us") == 0) {
        o->spin_us = value;
    } else if (strcmp(name, "follower-timeout") == 0) {
        o->follower_timeout_s = value == 0 ? 1 : (uint32_t)value;
    } else if (strcmp(name, "maxclients") == 0) {
        o->clients_max = (uint32_t)value;
    } else if (strcmp(name, "pipeline-max") == 0) {
        o->pipeline_max = value == 0 ? 1 : (uint32_t)value;
    } else if (strcmp(name, "seal-idle-ms") == 0) {
        o->seal_idle_ms = (uint32_t)value;
    } else if (strcmp(name, "sync-replicas") == 0) {
        mim_replication_set_sync(server, (uint32_t)value);
    } else if (strcmp(name, "timeout") == 0) {
        o->idle_timeout_s = (uint32_t)value;
    }
}

/** All pairs are checked before the first is set. */
static void config_set(struct mim_call *call) {
    if (call->count < 4 || call->count % 2 != 0) {
        mim_reply_errorf(call->reply, "ERR", "wrong number of arguments for 'config|set' command");
        return;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 2; i < call->count; i += 2) {
            const struct config_name *option = config_find(call->arguments[i]);
            struct mim_slice text = call->arguments[i + 1];
            int64_t value = 0;
            if (option == NULL || !option->settable) {
                mim_reply_errorf(call->reply, "ERR", "CONFIG SET failed: '%.*s' is %s",
                                 (int)(call->arguments[i].size < 64 ? call->arguments[i].size : 64),
                                 (const char *)call->arguments[i].data,
                                 option == NULL ? "unknown" : "set at the start only");
                return;
            }
            if (!mim_parse_i64((struct mim_string){.data = (const char *)text.data, .size = text.size}, 0,
                               (int64_t)option->max, &value)) {
                mim_reply_errorf(call->reply, "ERR", "CONFIG SET failed: %s must be a whole number from 0 to %llu",
                                 option->name, (unsigned long long)option->max);
                return;
            }
            if (pass == 1) {
                config_apply(call->server, option->name, (uint64_t)value);
            }
        }
    }
    mim_reply_simple(call->reply, "OK");
}

enum mim_verdict_of_call mim_cmd_config(struct mim_call *call) {
    struct mim_slice sub = call->arguments[1];
    if (mim_word_is(sub, "GET") && call->count >= 3) {
        config_get(call);
    } else if (mim_word_is(sub, "SET")) {
        config_set(call);
    } else if (mim_word_is(sub, "RESETSTAT")) {
        memset(call->server->stats, 0, sizeof(call->server->stats));
        mim_reply_simple(call->reply, "OK");
    } else {
        mim_reply_errorf(call->reply, "ERR",
                         "unknown subcommand or wrong number of arguments for '%.*s'. CONFIG GET, SET, RESETSTAT.",
                         (int)(sub.size < 64 ? sub.size : 64), (const char *)sub.data);
    }
    return MIM_CALL_DONE;
}
