// SPDX-License-Identifier: MIT
// A client as anybody would write it, with hiredis alone: commands one by one, a pipeline, an error, nil. Exit status 0
// when every answer is right. Run by test_clients.py.
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPELINE 500

/** Ends the program with a line unless the condition holds. */
static void expect(int condition, const char *what) {
    if (!condition) {
        (void)fprintf(stderr, "hiredis client: %s\n", what);
        exit(1);
    }
}

static void expect_pair(redisContext *context, const char *command, long long version) {
    redisReply *reply = redisCommand(context, command);
    expect(reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2, command);
    expect(reply->element[0]->integer == version, "the version after a command");
    freeReplyObject(reply);
}

static void expect_text(redisContext *context, const char *command, int type, const char *wanted) {
    redisReply *reply = redisCommand(context, command);
    expect(reply != NULL && reply->type == type, command);
    expect(wanted == NULL || strstr(reply->str, wanted) != NULL, wanted);
    freeReplyObject(reply);
}

static void pipeline(redisContext *context) {
    for (int i = 0; i < PIPELINE; i++) {
        expect(redisAppendCommand(context, "DO account/h Deposit amount %d @id h-%d", 2, i) == REDIS_OK, "append");
    }
    for (int i = 0; i < PIPELINE; i++) {
        redisReply *reply = NULL;
        expect(redisGetReply(context, (void **)&reply) == REDIS_OK, "a reply of the pipeline");
        expect(reply->type == REDIS_REPLY_ARRAY && reply->element[0]->integer == i + 2, "the pipeline's order");
        freeReplyObject(reply);
    }
}

int main(int argc, char **argv) {
    expect(argc == 2, "usage: hiredis-client PORT");
    redisContext *context = redisConnect("127.0.0.1", atoi(argv[1]));
    expect(context != NULL && context->err == 0, "no connection");
    expect_text(context, "PING", REDIS_REPLY_STATUS, "PONG");
    expect_text(context, "GET account/h", REDIS_REPLY_NIL, NULL);
    expect_pair(context, "DO account/h Open owner Hi currency EUR", 1);
    pipeline(context);
    expect_pair(context, "DO account/h Deposit amount 2 @id h-0", 2);
    expect_text(context, "GET account/h", REDIS_REPLY_STRING, "\"balance\":1000,");
    expect_text(context, "DO account/h Withdraw amount 5000", REDIS_REPLY_ERROR, "REJECTED INSUFFICIENT_FUNDS");
    expect_text(context, "NONSENSE", REDIS_REPLY_ERROR, "ERR unknown command");
    redisFree(context);
    (void)puts("every answer was right");
    return 0;
}
