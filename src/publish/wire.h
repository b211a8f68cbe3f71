// SPDX-License-Identifier: MIT
// Requests as bytes: what hiredis' formatted commands want, built without an allocation per argument. Header-only, pure.
#ifndef MIM_PUBLISH_WIRE_H
#define MIM_PUBLISH_WIRE_H

#include "base/bytes.h"
#include "base/words.h"
#include "model/codec.h"

static inline void mim_wire_end(uint8_t *at) {
    at[0] = '\r';
    at[1] = '\n';
}

static inline void mim_wire_head(struct mim_buffer *out, char kind, uint64_t value) {
    mim_buffer_reserve(out, MIM_DIGITS_MAX + 3);
    uint8_t *at = out->data + out->size;
    *at = (uint8_t)kind;
    size_t size = 1 + mim_digits(value, (char *)at + 1);
    mim_wire_end(at + size);
    out->size += size + 2;
}

static inline void mim_wire_bulk(struct mim_buffer *out, struct mim_slice value) {
    mim_wire_head(out, '$', value.size);
    mim_buffer_reserve(out, value.size + 2);
    if (value.size > 0) {
        memcpy(out->data + out->size, value.data, value.size);
    }
    mim_wire_end(out->data + out->size + value.size);
    out->size += value.size + 2;
}

static inline void mim_wire_text(struct mim_buffer *out, const char *text) { mim_wire_bulk(out, mim_slice_text(text)); }

static inline void mim_wire_number(struct mim_buffer *out, uint64_t value) {
    char digits[MIM_DIGITS_MAX];
    mim_wire_bulk(out, mim_slice_of(digits, mim_digits(value, digits)));
}

/** "type:id" or "type/id". */
static inline void mim_wire_joined(struct mim_buffer *out, const char *type, char between, struct mim_slice id) {
    struct mim_slice name = mim_slice_text(type);
    mim_wire_head(out, '$', name.size + 1 + id.size);
    mim_buffer_reserve(out, name.size + id.size + 3);
    uint8_t *at = out->data + out->size;
    memcpy(at, name.data, name.size);
    at[name.size] = (uint8_t)between;
    memcpy(at + name.size + 1, id.data, id.size);
    mim_wire_end(at + name.size + 1 + id.size);
    out->size += name.size + id.size + 3;
}

#endif
