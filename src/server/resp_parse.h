// SPDX-License-Identifier: MIT
// Requests as Redis clients send them: arrays of bulk strings, and inline commands with quotes. Pure and incremental:
// the parser keeps numbers only, never bytes, and goes on where it stopped when more bytes are there.
//
// Rules. `data` is always the first byte of the current request, wherever the buffer stands today; bytes that were
// shown once stay the same (an inline line is unquoted in place when it is complete). Nothing is allocated by a
// declared size: spans grow with the arguments that have arrived, up to limits.arguments_max.
#ifndef MIM_SERVER_RESP_PARSE_H
#define MIM_SERVER_RESP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/** Bounds of one request. Sizes below 4 GiB. */
struct mim_resp_limits {
    uint32_t arguments_max;
    uint64_t argument_size_max; /* bytes of one argument */
    uint64_t request_size_max;  /* bytes of all of it, as sent */
    uint64_t inline_size_max;   /* bytes of an inline command's line */
};

/** An argument, as an offset from the request's first byte. */
struct mim_resp_span {
    uint32_t offset;
    uint32_t size;
};

#define MIM_RESP_SPANS_INLINE 24u /* no allocation up to here */

enum mim_resp_result {
    MIM_RESP_MORE,   /* the request is not complete */
    MIM_RESP_READY,  /* spans[0..count) are its arguments, `offset` its size; count 0: an empty one, to be skipped */
    MIM_RESP_BROKEN, /* `error` says how; the connection cannot be used any longer */
};

struct mim_resp_parser {
    struct mim_resp_limits limits;
    size_t offset;      /* bytes of the request understood */
    size_t scanned;     /* inline: bytes searched for the end of line */
    uint64_t bulk_size; /* of the argument whose header was read */
    uint32_t remaining; /* arguments still to come */
    uint32_t count;
    uint32_t capacity;
    uint8_t state;
    const char *error;           /* static text without the prefix "Protocol error: " */
    struct mim_resp_span *spans; /* own memory or `inline_spans` */
    struct mim_resp_span inline_spans[MIM_RESP_SPANS_INLINE];
};

void mim_resp_init(struct mim_resp_parser *parser, const struct mim_resp_limits *limits);
void mim_resp_deinit(struct mim_resp_parser *parser);

/** Goes on with the request at data[0..size). Cost: one pass over headers, arguments are jumped over. */
enum mim_resp_result mim_resp_parse(struct mim_resp_parser *parser, uint8_t *data, size_t size);

/** A request that is there whole, with few and short arguments: understood in one pass, without the parser's state. */
#define MIM_RESP_SHORT_ARGUMENTS 16u
struct mim_resp_short {
    uint32_t size;                                        /* bytes of the request */
    uint32_t count;                                       /* 1 to MIM_RESP_SHORT_ARGUMENTS */
    struct mim_slice arguments[MIM_RESP_SHORT_ARGUMENTS]; /* borrowed from the request */
};

/** False: the request at data[0..size) is not of that kind (or broken): it is for mim_resp_parse. */
bool mim_resp_parse_short(const struct mim_resp_limits *limits, const uint8_t *data, size_t size,
                          struct mim_resp_short *ret_request);

/** After READY: forgets the request; the next one begins `offset` bytes further. */
void mim_resp_next(struct mim_resp_parser *parser);

#endif
