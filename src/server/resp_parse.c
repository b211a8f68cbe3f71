// SPDX-License-Identifier: MIT
// The request parser; see resp_parse.h. As Redis's, but strict: lengths are plain digits, an argument must be followed
// by CR LF.
#include "server/resp_parse.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

enum parse_state { PARSE_START = 0, PARSE_BULK_HEADER, PARSE_BULK, PARSE_INLINE, PARSE_READY };

void mim_resp_init(struct mim_resp_parser *parser, const struct mim_resp_limits *limits) {
    MIM_ASSERT(limits->request_size_max < UINT32_MAX && limits->inline_size_max < UINT32_MAX);
    *parser = (struct mim_resp_parser){.limits = *limits, .capacity = MIM_RESP_SPANS_INLINE};
    parser->spans = parser->inline_spans;
}

static void spans_release(struct mim_resp_parser *parser) {
    if (parser->spans != parser->inline_spans) {
        free(parser->spans);
    }
    parser->spans = parser->inline_spans;
    parser->capacity = MIM_RESP_SPANS_INLINE;
}

void mim_resp_deinit(struct mim_resp_parser *parser) {
    spans_release(parser);
    parser->count = 0;
}

void mim_resp_next(struct mim_resp_parser *parser) {
    if (MIM_UNLIKELY(parser->spans != parser->inline_spans)) {
        spans_release(parser);
    }
    parser->offset = 0;
    parser->scanned = 0;
    parser->count = 0;
    parser->state = PARSE_START;
}

static enum mim_resp_result broken(struct mim_resp_parser *parser, const char *error) {
    parser->error = error;
    return MIM_RESP_BROKEN;
}

/** Doubles the room for spans; false when there is no memory. */
static bool spans_grow(struct mim_resp_parser *parser) {
    uint32_t capacity = parser->capacity * 2;
    bool own = parser->spans != parser->inline_spans;
    struct mim_resp_span *spans = realloc(own ? parser->spans : NULL, capacity * sizeof(*spans));
    if (spans == NULL) {
        return false;
    }
    if (!own) {
        memcpy(spans, parser->inline_spans, sizeof(parser->inline_spans));
    }
    parser->spans = spans;
    parser->capacity = capacity;
    return true;
}

static bool span_add(struct mim_resp_parser *parser, size_t offset, size_t size) {
    if (MIM_UNLIKELY(parser->count == parser->capacity) && !spans_grow(parser)) {
        return false;
    }
    parser->spans[parser->count++] = (struct mim_resp_span){.offset = (uint32_t)offset, .size = (uint32_t)size};
    return true;
}

/** Reads "<sign>digits CR LF" at data[0..size). Returns the bytes used, 0: more is needed, -1: malformed. */
static inline int number_read(const uint8_t *data, size_t size, int64_t *ret_value) {
    size_t at = 0;
    bool negative = size > 0 && data[0] == '-';
    at += negative;
    size_t first = at;
    uint64_t value = 0;
    while (at < size && (uint8_t)(data[at] - '0') < 10u) {
        if (MIM_UNLIKELY(at - first >= 18)) {
            return -1;
        }
        value = value * 10 + (uint64_t)(data[at] - '0');
        at++;
    }
    if (MIM_UNLIKELY(at + 2 > size)) {
        bool fine = at == size || (data[at] == '\r' && at > first);
        return fine ? 0 : -1;
    }
    if (MIM_UNLIKELY(at == first || data[at] != '\r' || data[at + 1] != '\n')) {
        return -1;
    }
    *ret_value = negative ? -(int64_t)value : (int64_t)value;
    return (int)at + 2;
}

/** The header "*N": how many arguments come. READY stands for an empty request. */
static enum mim_resp_result parse_start(struct mim_resp_parser *parser, const uint8_t *data, size_t size) {
    int64_t count;
    int used = number_read(data + 1, size - 1, &count);
    if (used == 0) {
        return MIM_RESP_MORE;
    }
    if (used < 0 || count > (int64_t)parser->limits.arguments_max) {
        return broken(parser, "invalid multibulk length");
    }
    parser->offset = 1 + (size_t)used;
    if (count <= 0) {
        parser->state = PARSE_READY;
        return MIM_RESP_READY;
    }
    parser->remaining = (uint32_t)count;
    parser->state = PARSE_BULK_HEADER;
    return MIM_RESP_MORE;
}

#define CRLF 0x0a0du /* as mim_get16 reads it */

static inline unsigned digit_of(uint8_t c) { return (unsigned)c - '0'; }

/** "<mark>digits CR LF" with one or two digits, of which at least six bytes are there. NULL: it is something else. */
static inline const uint8_t *short_number(const uint8_t *at, char mark, size_t *ret_value) {
    size_t value = digit_of(at[1]);
    bool good = at[0] == (uint8_t)mark && value <= 9;
    if (mim_get16(at + 2) == CRLF) {
        *ret_value = value;
        return good ? at + 4 : NULL;
    }
    *ret_value = value * 10 + digit_of(at[2]);
    return good && digit_of(at[2]) <= 9 && mim_get16(at + 3) == CRLF ? at + 5 : NULL;
}

bool mim_resp_parse_short(const struct mim_resp_limits *limits, const uint8_t *data, size_t size,
                          struct mim_resp_short *ret_request) {
    const uint8_t *end = data + (size < limits->request_size_max ? size : limits->request_size_max);
    size_t count = 0;
    const uint8_t *at = end - data < 6 ? NULL : short_number(data, '*', &count);
    if (at == NULL || count == 0 || count > MIM_RESP_SHORT_ARGUMENTS || count > limits->arguments_max) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        size_t bulk = 0;
        const uint8_t *from = end - at < 6 ? NULL : short_number(at, '$', &bulk);
        if (from == NULL || bulk > limits->argument_size_max || (size_t)(end - from) < bulk + 2 ||
            mim_get16(from + bulk) != CRLF) {
            return false;
        }
        ret_request->arguments[i] = mim_slice_of(from, bulk);
        at = from + bulk + 2;
    }
    ret_request->count = (uint32_t)count;
    ret_request->size = (uint32_t)(at - data);
    return true;
}

/** All that is there of an array's arguments. */
static enum mim_resp_result parse_bulks(struct mim_resp_parser *parser, const uint8_t *data, size_t size) {
    while (parser->remaining > 0) {
        size_t at = parser->offset;
        if (parser->state == PARSE_BULK_HEADER) {
            if (at >= size) {
                return MIM_RESP_MORE;
            }
            if (MIM_UNLIKELY(data[at] != '$')) {
                return broken(parser, "expected '$' before an argument");
            }
            int64_t bulk;
            int used = number_read(data + at + 1, size - at - 1, &bulk);
            if (used == 0) {
                return MIM_RESP_MORE;
            }
            if (MIM_UNLIKELY(used < 0 || bulk < 0 || (uint64_t)bulk > parser->limits.argument_size_max)) {
                return broken(parser, "invalid bulk length");
            }
            at += 1 + (size_t)used;
            if (MIM_UNLIKELY(at + (uint64_t)bulk + 2 > parser->limits.request_size_max)) {
                return broken(parser, "too big request");
            }
            parser->offset = at;
            parser->bulk_size = (uint64_t)bulk;
            parser->state = PARSE_BULK;
        }
        size_t bulk_size = (size_t)parser->bulk_size;
        if (size - at < bulk_size + 2) {
            return MIM_RESP_MORE;
        }
        if (MIM_UNLIKELY(data[at + bulk_size] != '\r' || data[at + bulk_size + 1] != '\n')) {
            return broken(parser, "expected CRLF after an argument");
        }
        if (MIM_UNLIKELY(!span_add(parser, at, bulk_size))) {
            return broken(parser, "out of memory");
        }
        parser->offset = at + bulk_size + 2;
        parser->state = PARSE_BULK_HEADER;
        parser->remaining--;
    }
    parser->state = PARSE_READY;
    return MIM_RESP_READY;
}

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    uint8_t lower = c | 0x20u;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/** The byte an escape inside double quotes stands for; *at is behind the backslash and moves over it. */
static uint8_t unescape(const uint8_t *line, size_t size, size_t *at) {
    uint8_t c = line[*at];
    if (c == 'x' && *at + 2 < size) {
        int high = hex_digit(line[*at + 1]);
        int low = hex_digit(line[*at + 2]);
        if (high >= 0 && low >= 0) {
            *at += 3;
            return (uint8_t)(high * 16 + low);
        }
    }
    *at += 1;
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/** One argument from line[*at], unquoted in place at line[start..]. Returns its size, -1 for unbalanced quotes. */
static int64_t inline_argument(uint8_t *line, size_t size, size_t start, size_t *at) {
    size_t to = start;
    uint8_t quote = 0;
    while (*at < size) {
        uint8_t c = line[*at];
        if (quote == 0) {
            if (is_space(c)) {
                break;
            }
            *at += 1;
            if (c == '"' || c == '\'') {
                quote = c;
            } else {
                line[to++] = c;
            }
        } else if (c == quote) {
            *at += 1;
            quote = 0;
            if (*at < size && !is_space(line[*at])) {
                return -1;
            }
        } else if (c == '\\' && quote == '"' && *at + 1 < size) {
            *at += 1;
            line[to++] = unescape(line, size, at);
        } else if (c == '\\' && quote == '\'' && *at + 1 < size && line[*at + 1] == '\'') {
            *at += 2;
            line[to++] = '\'';
        } else {
            *at += 1;
            line[to++] = c;
        }
    }
    return quote == 0 ? (int64_t)(to - start) : -1;
}

static enum mim_resp_result parse_inline(struct mim_resp_parser *parser, uint8_t *data, size_t size) {
    uint8_t *newline = memchr(data + parser->scanned, '\n', size - parser->scanned);
    size_t line_size = newline == NULL ? size : (size_t)(newline - data);
    if (line_size > parser->limits.inline_size_max) {
        return broken(parser, "too big inline request");
    }
    if (newline == NULL) {
        parser->scanned = size;
        return MIM_RESP_MORE;
    }
    parser->offset = line_size + 1;
    if (line_size > 0 && data[line_size - 1] == '\r') {
        line_size--;
    }
    size_t at = 0;
    for (;;) {
        while (at < line_size && is_space(data[at])) {
            at++;
        }
        if (at == line_size) {
            break;
        }
        if (parser->count == parser->limits.arguments_max) {
            return broken(parser, "too many arguments in an inline request");
        }
        size_t start = at;
        int64_t argument_size = inline_argument(data, line_size, start, &at);
        if (argument_size < 0) {
            return broken(parser, "unbalanced quotes in request");
        }
        if (!span_add(parser, start, (size_t)argument_size)) {
            return broken(parser, "out of memory");
        }
    }
    parser->state = PARSE_READY;
    return MIM_RESP_READY;
}

enum mim_resp_result mim_resp_parse(struct mim_resp_parser *parser, uint8_t *data, size_t size) {
    MIM_ASSERT(parser->state != PARSE_READY);
    MIM_ASSERT(parser->offset <= size);
    if (parser->state == PARSE_START) {
        if (size == 0) {
            return MIM_RESP_MORE;
        }
        if (data[0] == '*') {
            enum mim_resp_result result = parse_start(parser, data, size);
            if (result != MIM_RESP_MORE || parser->state == PARSE_START) {
                return result;
            }
        } else {
            parser->state = PARSE_INLINE;
        }
    }
    return parser->state == PARSE_INLINE ? parse_inline(parser, data, size) : parse_bulks(parser, data, size);
}
