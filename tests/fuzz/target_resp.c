// SPDX-License-Identifier: MIT
// The request parser: whatever arrives, in whatever pieces, is understood the same way, within its limits.
// Input: a byte of limits, a byte of how it is cut, then the bytes of a connection.
#include "base/hash.h"
#include "fuzz.h"
#include "server/resp_parse.h"

/** What a connection was understood as. */
struct reading {
    uint64_t hash; /* of all requests and of the error, in order */
    unsigned requests;
    bool broken;
};

static void note_request(struct reading *reading, const struct mim_resp_parser *parser, const uint8_t *data) {
    reading->hash = mim_hash64(&parser->count, sizeof(parser->count), reading->hash);
    for (uint32_t i = 0; i < parser->count; i++) {
        struct mim_resp_span span = parser->spans[i];
        FUZZ_REQUIRE((size_t)span.offset + span.size <= parser->offset);
        FUZZ_REQUIRE(span.size <= (data[0] == '*' ? parser->limits.argument_size_max : parser->limits.inline_size_max));
        reading->hash = mim_hash64(data + span.offset, span.size, reading->hash + 1);
    }
    reading->requests++;
}

/** All complete requests at data[0..held); returns how many bytes they took. */
static size_t read_requests(struct mim_resp_parser *parser, uint8_t *data, size_t held, struct reading *reading) {
    size_t at = 0;
    for (;;) {
        enum mim_resp_result result = mim_resp_parse(parser, data + at, held - at);
        FUZZ_REQUIRE(parser->offset <= held - at);
        FUZZ_REQUIRE(parser->capacity <= 2 * parser->limits.arguments_max + MIM_RESP_SPANS_INLINE);
        if (result == MIM_RESP_BROKEN) {
            FUZZ_REQUIRE(parser->error != NULL && parser->error[0] != '\0');
            reading->broken = true;
            return held;
        }
        if (result == MIM_RESP_MORE) {
            FUZZ_REQUIRE(held - at <= parser->limits.request_size_max + 64);
            return at;
        }
        FUZZ_REQUIRE(parser->offset > 0);
        FUZZ_REQUIRE(parser->count <= parser->limits.arguments_max);
        note_request(reading, parser, data + at);
        at += parser->offset;
        mim_resp_next(parser);
    }
}

/** Bytes arrive in pieces of `piece` (0: all at once, 255: of changing size); the unread rest moves each time. */
static struct reading read_connection(struct mim_slice bytes, const struct mim_resp_limits *limits, unsigned piece) {
    struct mim_resp_parser parser;
    struct reading reading = {0};
    mim_resp_init(&parser, limits);
    uint8_t *held = malloc(1);
    size_t held_size = 0;
    size_t from = 0;
    FUZZ_REQUIRE(held != NULL);
    while (from < bytes.size && !reading.broken) {
        size_t more = piece == 0 ? bytes.size : piece == 255 ? 1 + from % 7 : piece;
        more = more < bytes.size - from ? more : bytes.size - from;
        uint8_t *grown = malloc(held_size + more);
        FUZZ_REQUIRE(grown != NULL);
        memcpy(grown, held, held_size);
        memcpy(grown + held_size, bytes.data + from, more);
        free(held);
        held = grown;
        held_size += more;
        from += more;
        size_t taken = read_requests(&parser, held, held_size, &reading);
        held_size -= taken;
        memmove(held, held + taken, held_size);
    }
    free(held);
    mim_resp_deinit(&parser);
    return reading;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {.data = data, .size = size};
    uint8_t kind = fuzz_u8(&in);
    uint8_t piece = fuzz_u8(&in);
    struct mim_resp_limits limits = {
        .arguments_max = 1024, .argument_size_max = 1 << 20, .request_size_max = 1 << 20, .inline_size_max = 1 << 16};
    if ((kind & 1) != 0) {
        limits = (struct mim_resp_limits){
            .arguments_max = 1 + kind / 16, .argument_size_max = 20, .request_size_max = 100, .inline_size_max = 40};
    }
    struct mim_slice bytes = fuzz_slice(&in, fuzz_left(&in));
    struct reading whole = read_connection(bytes, &limits, 0);
    struct reading pieces = read_connection(bytes, &limits, piece == 0 ? 1 : piece);
    FUZZ_REQUIRE(whole.requests == pieces.requests);
    FUZZ_REQUIRE(whole.hash == pieces.hash);
    FUZZ_REQUIRE(whole.broken == pieces.broken);
    return 0;
}
