// SPDX-License-Identifier: MIT
// From nothing to a connection and back. Names are resolved by the C library's own helper threads (getaddrinfo_a), so
// that a slow name server never stops the loop; everything else is hiredis on libevent.
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/adapters/libevent.h>

#include "publish/internal.h"

/* --------------------------------------------------------------- answers */

static bool answer_is_asked(const redisReadTask *task) {
    const struct mim_publisher *p = task->privdata;
    return task->parent != NULL || p->unanswered > 0;
}

/* hiredis asserts that every answer was asked for, and makes room for as many elements as it is told. A peer that is no
 * Redis may say anything: such answers get no object, which hiredis takes as the end of the connection. */
static void *guarded_string(const redisReadTask *task, char *text, size_t size) {
    const struct mim_publisher *p = task->privdata;
    return answer_is_asked(task) ? p->plain.createString(task, text, size) : NULL;
}
static void *guarded_array(const redisReadTask *task, int count) {
    const struct mim_publisher *p = task->privdata;
    return answer_is_asked(task) && count <= MIM_PUBLISH_ELEMENTS_MAX ? p->plain.createArray(task, count) : NULL;
}
static void *guarded_integer(const redisReadTask *task, long long value) {
    const struct mim_publisher *p = task->privdata;
    return answer_is_asked(task) ? p->plain.createInteger(task, value) : NULL;
}
static void *guarded_nil(const redisReadTask *task) {
    const struct mim_publisher *p = task->privdata;
    return answer_is_asked(task) ? p->plain.createNil(task) : NULL;
}

struct mim_publisher *mim_publish_answered(redisAsyncContext *context, const void *reply) {
    struct mim_publisher *p = context->data;
    if (p == NULL || p->context != context || reply == NULL) {
        return NULL;
    }
    p->unanswered--;
    p->answered_ns = mim_publish_now(p);
    return p;
}

void mim_publish_send(struct mim_publisher *p, redisCallbackFn *callback, const struct mim_buffer *request) {
    if (p->unanswered == 0) {
        p->answered_ns = mim_publish_now(p);
    }
    if (redisAsyncFormattedCommand(p->context, callback, NULL, (const char *)request->data, request->size) ==
        REDIS_OK) {
        p->unanswered++;
    }
    /* Otherwise it is closing, and its end is about to be told. */
}

/* ------------------------------------------------------------- its end */

void mim_publish_disconnect(struct mim_publisher *p) {
    redisAsyncContext *context = p->context;
    mim_publish_memory_take(p);
    if (p->lookup != NULL && gai_cancel(p->lookup) != EAI_NOTCANCELED) {
        if (p->lookup->ar_result != NULL) {
            freeaddrinfo(p->lookup->ar_result);
        }
        free(p->lookup);
        p->lookup = NULL;
    }
    p->context = NULL;
    p->unanswered = 0;
    p->calls.count = 0;
    p->state_calls.count = 0;
    if (context != NULL) {
        context->data = NULL; /* its callbacks have nobody to call any more */
        redisAsyncFree(context);
    }
}

static void back_off(struct mim_publisher *p) {
    p->failures++;
    uint32_t wait = p->backoff_ms < MIM_PUBLISH_BACKOFF_MIN_MS ? MIM_PUBLISH_BACKOFF_MIN_MS : p->backoff_ms;
    p->backoff_ms = wait * 2 > MIM_PUBLISH_BACKOFF_MAX_MS ? MIM_PUBLISH_BACKOFF_MAX_MS : wait * 2;
    wait -= (uint32_t)mim_prng_below(&p->prng, wait / 4 + 1); /* jitter: many servers, one Redis */
    mim_publish_phase_set(p, MIM_PUBLISH_BACKING_OFF);
    p->retry_ns = p->phase_ns + (uint64_t)wait * 1000000u;
    (void)snprintf(p->last_error, sizeof(p->last_error), "%s", p->reason);
    if (!p->told_down || strcmp(p->told_reason, p->reason) != 0) {
        mim_publish_tell(p, true, "publish_interrupted", p->reason);
        (void)snprintf(p->told_reason, sizeof(p->told_reason), "%s", p->reason);
        p->told_down = true;
        p->told_live = false;
    }
}

void mim_publish_fail(struct mim_publisher *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(p->reason, sizeof(p->reason), format, arguments);
    va_end(arguments);
    for (char *at = p->reason; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            *at = '?'; /* whoever wrote it: it goes into lines */
        }
    }
    mim_publish_disconnect(p);
    back_off(p);
}

void mim_publish_refused(struct mim_publisher *p, const redisReply *reply) {
    p->refusals++;
    mim_publish_fail(p, "%.*s", (int)(reply->len > 300 ? 300 : reply->len), reply->str);
}

void mim_publish_proven(struct mim_publisher *p) {
    p->backoff_ms = 0;
    p->reason[0] = '\0';
    if (!p->told_live) {
        mim_publish_tell(p, false, "publish_live", NULL);
        p->told_live = true;
        p->told_down = false;
    }
}

/* ------------------------------------------------------- its beginning */

static void on_connected(const redisAsyncContext *context, int status) {
    struct mim_publisher *p = context->data;
    if (p == NULL || p->context != context) {
        return;
    }
    if (status == REDIS_OK) {
        p->connections++;
        mim_publish_phase_set(p, MIM_PUBLISH_RESUMING);
        mim_publish_resume(p);
        return;
    }
    p->context = NULL; /* hiredis frees it when this returns */
    (void)snprintf(p->reason, sizeof(p->reason), "cannot connect: %s", context->c.errstr);
    back_off(p);
}

static void on_disconnected(const redisAsyncContext *context, int status) {
    struct mim_publisher *p = context->data;
    (void)status;
    if (p != NULL && p->context == context) {
        bool unasked = context->err == REDIS_ERR_OOM;
        p->context = NULL; /* hiredis frees it when this returns */
        mim_publish_fail(p, "connection lost: %s",
                         unasked ? "an answer that nobody asked for, or too large a one: not a Redis?"
                                 : context->errstr);
    }
}

static void connect_to(struct mim_publisher *p, const char *address) {
    redisAsyncContext *context =
        p->target.is_unix ? redisAsyncConnectUnix(p->target.path) : redisAsyncConnect(address, p->target.port);
    if (context == NULL) {
        mim_publish_fail(p, "out of memory");
        return;
    }
    if (context->err != 0) {
        (void)snprintf(p->reason, sizeof(p->reason), "cannot connect: %s", context->c.errstr);
        redisAsyncFree(context);
        back_off(p);
        return;
    }
    p->plain = *context->c.reader->fn;
    p->guarded = p->plain;
    p->guarded.createString = guarded_string;
    p->guarded.createArray = guarded_array;
    p->guarded.createInteger = guarded_integer;
    p->guarded.createNil = guarded_nil;
    context->c.reader->fn = &p->guarded;
    context->c.reader->privdata = p;
    context->data = p;
    p->context = context;
    if (redisLibeventAttach(context, p->source.base) != REDIS_OK ||
        redisAsyncSetDisconnectCallback(context, on_disconnected) != REDIS_OK ||
        redisAsyncSetConnectCallback(context, on_connected) != REDIS_OK) {
        mim_publish_fail(p, "out of memory");
    }
}

static void lookup_begin(struct mim_publisher *p) {
    if (p->lookup == NULL) {
        size_t size = strlen(p->target.host) + 1;
        p->lookup = calloc(1, sizeof(*p->lookup) + size); /* with its name: it may outlive the publisher */
        if (p->lookup == NULL) {
            mim_publish_fail(p, "out of memory");
            return;
        }
        p->lookup->ar_name = memcpy(p->lookup + 1, p->target.host, size);
        struct gaicb *lookups[] = {p->lookup};
        if (getaddrinfo_a(GAI_NOWAIT, lookups, 1, NULL) != 0) {
            free(p->lookup);
            p->lookup = NULL;
            mim_publish_fail(p, "cannot resolve %s: no resolver", p->target.host);
        }
    } /* else one is still on its way from before */
}

static void lookup_tick(struct mim_publisher *p) {
    int rc = gai_error(p->lookup);
    if (rc == EAI_INPROGRESS) {
        return;
    }
    char address[INET6_ADDRSTRLEN] = "";
    for (const struct addrinfo *at = rc == 0 ? p->lookup->ar_result : NULL; at != NULL && address[0] == '\0';
         at = at->ai_next) {
        const void *bytes = at->ai_family == AF_INET
                                ? (const void *)&((const struct sockaddr_in *)(const void *)at->ai_addr)->sin_addr
                            : at->ai_family == AF_INET6
                                ? (const void *)&((const struct sockaddr_in6 *)(const void *)at->ai_addr)->sin6_addr
                                : NULL;
        if (bytes != NULL) {
            (void)inet_ntop(at->ai_family, bytes, address, sizeof(address));
        }
    }
    if (rc == 0) {
        freeaddrinfo(p->lookup->ar_result);
    }
    free(p->lookup);
    p->lookup = NULL;
    if (address[0] == '\0') {
        mim_publish_fail(p, "cannot resolve %s: %s", p->target.host, rc == 0 ? "no address" : gai_strerror(rc));
    } else {
        connect_to(p, address);
    }
}

void mim_publish_connect(struct mim_publisher *p) {
    uint8_t address[sizeof(struct in6_addr)];
    mim_publish_phase_set(p, MIM_PUBLISH_CONNECTING);
    if (p->target.is_unix || inet_pton(AF_INET, p->target.host, address) == 1 ||
        inet_pton(AF_INET6, p->target.host, address) == 1) {
        connect_to(p, p->target.host);
    } else {
        lookup_begin(p);
    }
}

void mim_publish_connecting_tick(struct mim_publisher *p, uint64_t now_ns) {
    if (now_ns > p->phase_ns + MIM_PUBLISH_PATIENCE_NS) {
        mim_publish_fail(p, "cannot connect: no answer for %u s", (unsigned)(MIM_PUBLISH_PATIENCE_NS / 1000000000u));
    } else if (p->context == NULL && p->lookup != NULL) {
        lookup_tick(p);
    }
}
