// SPDX-License-Identifier: MIT
// Bytes: slices that borrow, a reader and a writer with sticky overflow, little-endian access. Header-only, pure.
#ifndef MIM_BASE_BYTES_H
#define MIM_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** Borrowed bytes: valid as long as their owner says. */
struct mim_slice {
    const uint8_t *data;
    size_t size;
};

static inline struct mim_slice mim_slice_of(const void *data, size_t size) {
    return (struct mim_slice){.data = data, .size = size};
}

static inline struct mim_slice mim_slice_text(const char *text) {
    return (struct mim_slice){.data = (const uint8_t *)text, .size = strlen(text)};
}

static inline uint16_t mim_get16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}
static inline uint32_t mim_get32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}
static inline uint64_t mim_get64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/** Names and ids are short: up to 16 bytes are compared without a call, in two words that may overlap. */
static inline bool mim_slice_equal(struct mim_slice a, struct mim_slice b) {
    size_t size = a.size;
    if (size != b.size) {
        return false;
    }
    if (size > 16) {
        return memcmp(a.data, b.data, size) == 0;
    }
    if (size >= 8) {
        return ((mim_get64(a.data) ^ mim_get64(b.data)) |
                (mim_get64(a.data + size - 8) ^ mim_get64(b.data + size - 8))) == 0;
    }
    if (size >= 4) {
        return ((mim_get32(a.data) ^ mim_get32(b.data)) |
                (mim_get32(a.data + size - 4) ^ mim_get32(b.data + size - 4))) == 0;
    }
    for (size_t i = 0; i < size; i++) {
        if (a.data[i] != b.data[i]) {
            return false;
        }
    }
    return true;
}

/** Eight bytes looked at in one word; both are zero exactly when no byte is so. Source: "Bit Twiddling Hacks",
 *  S. E. Anderson. */
#define MIM_EACH_BYTE(c) (0x0101010101010101ull * (uint8_t)(c))
/** limit: at most 0x80. */
static inline uint64_t mim_bytes_below(uint64_t bytes, uint8_t limit) {
    return (bytes - MIM_EACH_BYTE(limit)) & ~bytes & MIM_EACH_BYTE(0x80);
}
static inline uint64_t mim_bytes_equal(uint64_t bytes, uint8_t value) {
    return mim_bytes_below(bytes ^ MIM_EACH_BYTE(value), 1);
}

static inline void mim_put16(uint8_t *p, uint16_t v) { memcpy(p, &v, sizeof(v)); }
static inline void mim_put32(uint8_t *p, uint32_t v) { memcpy(p, &v, sizeof(v)); }
static inline void mim_put64(uint8_t *p, uint64_t v) { memcpy(p, &v, sizeof(v)); }

static inline uint64_t mim_align8(uint64_t n) { return (n + 7u) & ~(uint64_t)7u; }

/** Writes into the caller's memory; too little room sets `overflow` and writes nothing more. */
struct mim_byte_writer {
    uint8_t *data;
    size_t capacity;
    size_t size;
    bool overflow;
};

static inline bool mim_write_bytes(struct mim_byte_writer *w, const void *data, size_t size) {
    if (w->overflow || size > w->capacity - w->size) {
        w->overflow = true;
        return false;
    }
    if (size > 0) {
        memcpy(w->data + w->size, data, size);
    }
    w->size += size;
    return true;
}

static inline bool mim_write8(struct mim_byte_writer *w, uint8_t v) { return mim_write_bytes(w, &v, sizeof(v)); }
static inline bool mim_write16(struct mim_byte_writer *w, uint16_t v) { return mim_write_bytes(w, &v, sizeof(v)); }
static inline bool mim_write32(struct mim_byte_writer *w, uint32_t v) { return mim_write_bytes(w, &v, sizeof(v)); }
static inline bool mim_write64(struct mim_byte_writer *w, uint64_t v) { return mim_write_bytes(w, &v, sizeof(v)); }

/** Reads borrowed bytes; reading past the end sets `overflow` and yields zeros from then on. */
struct mim_byte_reader {
    const uint8_t *data;
    size_t size;
    size_t offset;
    bool overflow;
};

static inline const uint8_t *mim_read_bytes(struct mim_byte_reader *r, size_t size) {
    if (r->overflow || size > r->size - r->offset) {
        r->overflow = true;
        return NULL;
    }
    const uint8_t *at = r->data + r->offset;
    r->offset += size;
    return at;
}

static inline uint8_t mim_read8(struct mim_byte_reader *r) {
    const uint8_t *at = mim_read_bytes(r, 1);
    return at == NULL ? 0 : *at;
}
static inline uint16_t mim_read16(struct mim_byte_reader *r) {
    const uint8_t *at = mim_read_bytes(r, 2);
    return at == NULL ? 0 : mim_get16(at);
}
static inline uint32_t mim_read32(struct mim_byte_reader *r) {
    const uint8_t *at = mim_read_bytes(r, 4);
    return at == NULL ? 0 : mim_get32(at);
}
static inline uint64_t mim_read64(struct mim_byte_reader *r) {
    const uint8_t *at = mim_read_bytes(r, 8);
    return at == NULL ? 0 : mim_get64(at);
}

#endif
