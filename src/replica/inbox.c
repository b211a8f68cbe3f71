// SPDX-License-Identifier: MIT
// Messages out of bytes; see inbox.h.
#include "replica/inbox.h"

#include <stdlib.h>

#include "base/assert.h"

void mim_inbox_deinit(struct mim_inbox *inbox) {
    free(inbox->data);
    *inbox = (struct mim_inbox){0};
}

uint8_t *mim_inbox_room(struct mim_inbox *inbox, size_t size) {
    if (inbox->capacity - inbox->end >= size) {
        return inbox->data + inbox->end;
    }
    if (inbox->begin > 0) {
        memmove(inbox->data, inbox->data + inbox->begin, inbox->end - inbox->begin);
        inbox->end -= inbox->begin;
        inbox->begin = 0;
    }
    size_t capacity = inbox->capacity == 0 ? (size_t)1 << 20 : inbox->capacity;
    while (capacity - inbox->end < size) {
        capacity *= 2;
    }
    if (capacity != inbox->capacity) {
        uint8_t *grown = realloc(inbox->data, capacity);
        if (grown == NULL) {
            return NULL;
        }
        inbox->data = grown;
        inbox->capacity = capacity;
    }
    return inbox->data + inbox->end;
}

void mim_inbox_filled(struct mim_inbox *inbox, size_t size) {
    MIM_ASSERT(size <= inbox->capacity - inbox->end);
    inbox->end += size;
}

void mim_inbox_drop(struct mim_inbox *inbox, size_t size) {
    MIM_ASSERT(size <= inbox->end - inbox->begin);
    inbox->begin += size;
    if (inbox->begin == inbox->end) {
        inbox->begin = 0;
        inbox->end = 0;
    }
}

/** What is being read: bytes and a place in them. */
struct reading {
    const uint8_t *data;
    size_t size;
    size_t at;
};

/** The line at the place, without its end. AGAIN, INVALID. */
static int read_line(struct reading *r, struct mim_slice *ret_line) {
    size_t left = r->size - r->at;
    const uint8_t *end = memchr(r->data + r->at, '\n', left < MIM_INBOX_LINE_MAX ? left : MIM_INBOX_LINE_MAX);
    if (end == NULL) {
        return left < MIM_INBOX_LINE_MAX ? MIM_E_AGAIN : MIM_E_INVALID;
    }
    size_t size = (size_t)(end - (r->data + r->at));
    if (size < 2 || end[-1] != '\r') {
        return MIM_E_INVALID;
    }
    *ret_line = mim_slice_of(r->data + r->at, size - 1);
    r->at += size + 1;
    return 0;
}

/** The number behind a line's first byte. */
static bool line_number(struct mim_slice line, int64_t *ret_value) {
    bool negative = line.size > 1 && line.data[1] == '-';
    size_t at = negative ? 2 : 1;
    uint64_t value = 0;
    if (line.size == at) {
        return false;
    }
    for (; at < line.size; at++) {
        uint8_t digit = (uint8_t)(line.data[at] - '0');
        if (digit > 9 || __builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    if (value > INT64_MAX) {
        return false;
    }
    *ret_value = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

/** The bytes of a bulk string whose head has been read. */
static int read_bulk(struct reading *r, int64_t size, struct mim_slice *ret_text) {
    if (size < 0 || (uint64_t)size > MIM_INBOX_SIZE_MAX) {
        return MIM_E_INVALID;
    }
    if (r->size - r->at < (size_t)size + 2) {
        return MIM_E_AGAIN;
    }
    *ret_text = mim_slice_of(r->data + r->at, (size_t)size);
    r->at += (size_t)size + 2;
    return r->data[r->at - 2] == '\r' && r->data[r->at - 1] == '\n' ? 0 : MIM_E_INVALID;
}

static int read_array(struct reading *r, int64_t count, struct mim_inbox_message *message) {
    if (count < 0 || count > (int64_t)MIM_INBOX_PARTS) {
        return MIM_E_INVALID;
    }
    message->count = (size_t)count;
    for (size_t i = 0; i < message->count; i++) {
        struct mim_slice line;
        int64_t number = 0;
        int rc = read_line(r, &line);
        if (rc != 0) {
            return rc;
        }
        if (!line_number(line, &number)) {
            return MIM_E_INVALID;
        }
        if (line.data[0] == ':') {
            message->parts[i] = mim_slice_of(line.data + 1, line.size - 1);
        } else if (line.data[0] == '$') {
            rc = read_bulk(r, number, &message->parts[i]);
        } else {
            rc = MIM_E_INVALID;
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int read_message(struct reading *r, struct mim_inbox_message *message) {
    struct mim_slice line;
    int rc = read_line(r, &line);
    if (rc != 0) {
        return rc;
    }
    message->text = mim_slice_of(line.data + 1, line.size - 1);
    switch (line.data[0]) {
    case '+':
        message->kind = MIM_INBOX_STATUS;
        return 0;
    case '-':
        message->kind = MIM_INBOX_ERROR;
        return 0;
    default:
        break;
    }
    if (!line_number(line, &message->integer)) {
        return MIM_E_INVALID;
    }
    switch (line.data[0]) {
    case ':':
        message->kind = MIM_INBOX_INTEGER;
        return 0;
    case '$':
        message->kind = MIM_INBOX_BULK;
        return read_bulk(r, message->integer, &message->text);
    case '*':
        message->kind = MIM_INBOX_ARRAY;
        return read_array(r, message->integer, message);
    default:
        return MIM_E_INVALID;
    }
}

int mim_inbox_peek(const struct mim_inbox *inbox, struct mim_inbox_message *ret_message, struct mim_error *reterr) {
    struct reading r = {.data = inbox->data + inbox->begin, .size = inbox->end - inbox->begin};
    struct mim_inbox_message message = {0};
    if (r.size == 0) {
        return MIM_E_AGAIN;
    }
    int rc = read_message(&r, &message);
    if (rc == MIM_E_INVALID) {
        return mim_error_set(reterr, rc, "what comes from there is not the stream of a memimage primary");
    }
    if (rc == 0) {
        message.size = r.at;
        *ret_message = message;
    }
    return rc;
}
