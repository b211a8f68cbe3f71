// SPDX-License-Identifier: MIT
// The reply encoder; see resp_write.h.
#include "server/resp_write.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/words.h"

#define ERROR_TEXT_MAX 400u

static inline uint8_t *room(struct mim_reply *reply, size_t size) {
    if (MIM_UNLIKELY(reply->out.capacity - reply->out.size < size)) {
        mim_buffer_reserve(&reply->out, size);
    }
    return reply->out.data + reply->out.size;
}

/** mark, number, CR LF */
static void header(struct mim_reply *reply, char mark, uint64_t value) {
    char *at = (char *)room(reply, MIM_RESP_NUMBER_SIZE_MAX);
    at[0] = mark;
    size_t size = 1 + mim_digits(value, at + 1);
    memcpy(at + size, "\r\n", 2);
    reply->out.size += size + 2;
}

static void append(struct mim_reply *reply, const void *data, size_t size) {
    if (size > 0) {
        memcpy(room(reply, size), data, size);
        reply->out.size += size;
    }
}

void mim_reply_simple(struct mim_reply *reply, const char *text) {
    append(reply, "+", 1);
    append(reply, text, strlen(text));
    append(reply, "\r\n", 2);
}

void mim_reply_error(struct mim_reply *reply, const char *prefix, struct mim_slice text) {
    append(reply, "-", 1);
    append(reply, prefix, strlen(prefix));
    append(reply, " ", 1);
    size_t size = text.size > ERROR_TEXT_MAX ? ERROR_TEXT_MAX : text.size;
    uint8_t *at = room(reply, size + 2);
    for (size_t i = 0; i < size; i++) {
        uint8_t c = text.data[i];
        at[i] = c < 0x20 || c == 0x7f ? ' ' : c;
    }
    memcpy(at + size, "\r\n", 2);
    reply->out.size += size + 2;
}

void mim_reply_errorf(struct mim_reply *reply, const char *prefix, const char *format, ...) {
    char text[ERROR_TEXT_MAX + 1];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    MIM_ASSERT(size >= 0);
    mim_reply_error(reply, prefix, mim_slice_of(text, (size_t)size < sizeof(text) ? (size_t)size : sizeof(text) - 1));
}

void mim_reply_integer(struct mim_reply *reply, int64_t value) {
    if (value >= 0) {
        header(reply, ':', (uint64_t)value);
        return;
    }
    append(reply, ":", 1);
    header(reply, '-', 0 - (uint64_t)value);
}

void mim_reply_bulk(struct mim_reply *reply, struct mim_slice bytes) {
    header(reply, '$', bytes.size);
    append(reply, bytes.data, bytes.size);
    append(reply, "\r\n", 2);
}

void mim_reply_text(struct mim_reply *reply, const char *text) { mim_reply_bulk(reply, mim_slice_text(text)); }

void mim_reply_verbatim(struct mim_reply *reply, struct mim_slice bytes) {
    if (reply->protocol < 3) {
        mim_reply_bulk(reply, bytes);
        return;
    }
    header(reply, '=', bytes.size + 4);
    append(reply, "txt:", 4);
    append(reply, bytes.data, bytes.size);
    append(reply, "\r\n", 2);
}

void mim_reply_null(struct mim_reply *reply) {
    if (reply->protocol < 3) {
        append(reply, "$-1\r\n", 5);
    } else {
        append(reply, "_\r\n", 3);
    }
}

void mim_reply_array(struct mim_reply *reply, size_t count) { header(reply, '*', count); }

void mim_reply_set(struct mim_reply *reply, size_t count) { header(reply, reply->protocol < 3 ? '*' : '~', count); }

void mim_reply_map(struct mim_reply *reply, size_t pairs) {
    if (reply->protocol < 3) {
        header(reply, '*', pairs * 2);
    } else {
        header(reply, '%', pairs);
    }
}

void mim_reply_push(struct mim_reply *reply, size_t count) { header(reply, reply->protocol < 3 ? '*' : '>', count); }

void mim_reply_double(struct mim_reply *reply, double value) {
    char text[40];
    int size = 0;
    if (__builtin_isnan(value)) {
        size = snprintf(text, sizeof(text), "nan");
    } else if (__builtin_isinf(value)) {
        size = snprintf(text, sizeof(text), value > 0 ? "inf" : "-inf");
    } else {
        size = snprintf(text, sizeof(text), "%.17g", value);
    }
    MIM_ASSERT(size > 0 && (size_t)size < sizeof(text));
    if (reply->protocol < 3) {
        mim_reply_bulk(reply, mim_slice_of(text, (size_t)size));
        return;
    }
    append(reply, ",", 1);
    append(reply, text, (size_t)size);
    append(reply, "\r\n", 2);
}

void mim_reply_boolean(struct mim_reply *reply, bool value) {
    if (reply->protocol < 3) {
        header(reply, ':', value ? 1 : 0);
    } else {
        append(reply, value ? "#t\r\n" : "#f\r\n", 4);
    }
}

void mim_reply_pair(struct mim_reply *reply, uint64_t first, uint64_t second) {
    char *at = (char *)room(reply, 4 + 2 * MIM_RESP_NUMBER_SIZE_MAX);
    memcpy(at, "*2\r\n:", 5);
    size_t size = 5 + mim_digits(first, at + 5);
    memcpy(at + size, "\r\n:", 3);
    size += 3;
    size += mim_digits(second, at + size);
    memcpy(at + size, "\r\n", 2);
    reply->out.size += size + 2;
}
