// SPDX-License-Identifier: MIT
// memimage promote and memimage switchover: a standby becomes the primary, with or without the old one's help.
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "cli/cli.h"
#include "cli/options.h"

struct failing_over {
    const char *host;
    uint64_t port;
    const char *user, *password;
    const char *to;
    uint64_t timeout_ms;
};

/** Sends one command; 0 when the answer is a status. */
static int ask(redisContext *context, int count, const char **words, struct mim_error *reterr) {
    redisReply *reply = redisCommandArgv(context, count, words, NULL);
    if (reply == NULL) {
        return mim_error_set(reterr, MIM_E_NETWORK, "%s", context->errstr);
    }
    int rc = reply->type == REDIS_REPLY_STATUS
                 ? 0
                 : mim_error_set(reterr, MIM_E_STATE, "%s",
                                 reply->type == REDIS_REPLY_ERROR ? reply->str : "the server's answer is no status");
    freeReplyObject(reply);
    return rc;
}

static int server_connect(const struct failing_over *f, redisContext **ret_context, struct mim_error *reterr) {
    uint64_t patience = f->timeout_ms + 5000;
    struct timeval timeout = {.tv_sec = (time_t)(patience / 1000), .tv_usec = (suseconds_t)(patience % 1000 * 1000)};
    redisContext *context = redisConnectWithTimeout(f->host, (int)f->port, timeout);
    if (context == NULL || context->err != 0 || redisSetTimeout(context, timeout) != REDIS_OK) {
        int rc = mim_error_set(reterr, MIM_E_NETWORK, "no connection to %s:%llu: %s", f->host,
                               (unsigned long long)f->port, context == NULL ? "out of memory" : context->errstr);
        redisFree(context);
        return rc;
    }
    *ret_context = context;
    if (f->password == NULL) {
        return 0;
    }
    const char *with_user[] = {"AUTH", f->user, f->password};
    const char *without[] = {"AUTH", f->password};
    return f->user != NULL ? ask(context, 3, with_user, reterr) : ask(context, 2, without, reterr);
}

/** FAILOVER with its options as words. */
static int switch_over(const struct failing_over *f, redisContext *context, struct mim_error *reterr) {
    const char *words[8] = {"FAILOVER"};
    int count = 1;
    char host[256];
    char timeout[24];
    if (f->to != NULL) {
        const char *colon = strrchr(f->to, ':');
        if (colon == NULL || (size_t)(colon - f->to) >= sizeof(host)) {
            return mim_error_set(reterr, MIM_E_USAGE, "--to must be HOST:PORT, not \"%s\"", f->to);
        }
        (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - f->to), f->to);
        words[count++] = "TO";
        words[count++] = host;
        words[count++] = colon + 1;
    }
    (void)snprintf(timeout, sizeof(timeout), "%llu", (unsigned long long)f->timeout_ms);
    words[count++] = "TIMEOUT";
    words[count++] = timeout;
    return ask(context, count, words, reterr);
}

static int run(const char *name, const struct mim_options *options, struct failing_over *f, int argc, char **argv) {
    struct mim_error error = {0};
    int positional = 0;
    int rc = mim_options_parse(options, argc, argv, &positional, &error);
    rc = rc != 0 ? rc : mim_options_none(argv, positional, &error);
    if (rc != 0) {
        return rc > 0 ? 0 : mim_cli_fail(name, &error);
    }
    bool promote = strcmp(name, "promote") == 0;
    const char *no_one[] = {"REPLICAOF", "NO", "ONE"};
    redisContext *context = NULL;
    rc = server_connect(f, &context, &error);
    if (rc == 0) {
        rc = promote ? ask(context, 3, no_one, &error) : switch_over(f, context, &error);
    }
    redisFree(context);
    if (rc != 0) {
        return mim_cli_fail(name, &error);
    }
    (void)printf("%s\n", promote ? "promoted: it takes commands now, in a new epoch"
                                 : "handed over: the standby takes commands, and the former primary follows it");
    return 0;
}

int mim_cli_promote(int argc, char **argv) {
    struct failing_over f = {.host = "127.0.0.1", .port = 7411, .timeout_ms = 10000};
    const struct mim_option items[] = {
        {"host", MIM_OPTION_TEXT, &f.host, "HOST", "the standby (default 127.0.0.1)", 0, 0},
        {"port", MIM_OPTION_UNSIGNED, &f.port, "N", "its port (default 7411)", 1, 65535},
        {"user", MIM_OPTION_TEXT, &f.user, "USER", "authenticate as", 0, 0},
        {"password", MIM_OPTION_TEXT, &f.password, "PASSWORD", "and with", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage promote [--host HOST] [--port N]",
        .about = "Makes a standby the primary: it opens a new epoch and takes commands. For when the primary is gone; "
                 "what it\n"
                 "had not sent is set aside when it comes back (without loss: --sync-replicas, or switchover).",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    return run("promote", &options, &f, argc, argv);
}

int mim_cli_switchover(int argc, char **argv) {
    struct failing_over f = {.host = "127.0.0.1", .port = 7411, .timeout_ms = 10000};
    const struct mim_option items[] = {
        {"host", MIM_OPTION_TEXT, &f.host, "HOST", "the primary (default 127.0.0.1)", 0, 0},
        {"port", MIM_OPTION_UNSIGNED, &f.port, "N", "its port (default 7411)", 1, 65535},
        {"to", MIM_OPTION_TEXT, &f.to, "HOST:PORT", "the standby to hand over to (default: the furthest)", 0, 0},
        {"timeout", MIM_OPTION_UNSIGNED, &f.timeout_ms, "MS", "give up after so long (default 10000)", 1, 86399999},
        {"user", MIM_OPTION_TEXT, &f.user, "USER", "authenticate as", 0, 0},
        {"password", MIM_OPTION_TEXT, &f.password, "PASSWORD", "and with", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage switchover [--host HOST] [--port N] [--to HOST:PORT]",
        .about = "Hands a running primary's role to a standby without loss: commands are refused for a moment, the "
                 "standby gets\n"
                 "the rest, is promoted, and the former primary follows it.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    return run("switchover", &options, &f, argc, argv);
}
