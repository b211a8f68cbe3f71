// SPDX-License-Identifier: MIT
// The hiredis reader with object functions that make no objects.
#include "cli/replies.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

/* The reader moves what is left of its buffer with every kilobyte of replies: little at a time keeps that cheap. */
#define MIM_REPLIES_FEED_SIZE 4096u

struct mim_replies {
    redisReader *reader;
    mim_reply_fn *each;
    void *context;
    char error[512]; /* text of the newest error reply */
};

/** Stands for every reply that is no error, and for those that are; compared by address only. */
static char reply_fine;
static char reply_error;

static void *on_string(const redisReadTask *task, char *text, size_t size) {
    if (task->type != REDIS_REPLY_ERROR) {
        return &reply_fine;
    }
    struct mim_replies *replies = task->privdata;
    size_t kept = size < sizeof(replies->error) ? size : sizeof(replies->error) - 1;
    memcpy(replies->error, text, kept);
    replies->error[kept] = '\0';
    return &reply_error;
}

static void *on_array(const redisReadTask *task, int count) {
    (void)task;
    (void)count;
    return &reply_fine;
}

static void *on_integer(const redisReadTask *task, long long value) {
    (void)task;
    (void)value;
    return &reply_fine;
}

static void *on_nil(const redisReadTask *task) {
    (void)task;
    return &reply_fine;
}

static void on_free(void *object) { (void)object; }

static redisReplyObjectFunctions functions = {
    .createString = on_string,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_nil,
    .freeObject = on_free,
};

struct mim_replies *mim_replies_new(mim_reply_fn *each, void *context) {
    struct mim_replies *replies = calloc(1, sizeof(*replies));
    redisReader *reader = redisReaderCreateWithFunctions(&functions);
    if (replies == NULL || reader == NULL) {
        free(replies);
        if (reader != NULL) {
            redisReaderFree(reader);
        }
        return NULL;
    }
    reader->privdata = replies;
    *replies = (struct mim_replies){.reader = reader, .each = each, .context = context};
    return replies;
}

struct mim_replies *mim_replies_free(struct mim_replies *replies) {
    if (replies != NULL) {
        redisReaderFree(replies->reader);
        free(replies);
    }
    return NULL;
}

int mim_replies_feed(struct mim_replies *replies, const char *data, size_t size, struct mim_error *reterr) {
    while (size > 0) {
        size_t part = size < MIM_REPLIES_FEED_SIZE ? size : MIM_REPLIES_FEED_SIZE;
        void *reply = NULL;
        int rc = redisReaderFeed(replies->reader, data, part);
        while (rc == REDIS_OK && (rc = redisReaderGetReply(replies->reader, &reply)) == REDIS_OK && reply != NULL) {
            replies->each(replies->context, reply == &reply_error ? replies->error : NULL);
        }
        if (rc != REDIS_OK) {
            return mim_error_set(reterr, MIM_E_NETWORK, "the server's replies are malformed: %s",
                                 replies->reader->errstr);
        }
        data += part;
        size -= part;
    }
    return 0;
}
