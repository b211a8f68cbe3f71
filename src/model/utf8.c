// SPDX-License-Identifier: MIT
// UTF-8 and ids: what text may enter the journal. ASCII runs are checked eight bytes at a time.
#include "base/limits.h"
#include "model/codec.h"

/** Size of the well-formed sequence at p (RFC 3629), 0 when there is none. */
static size_t sequence_size(const uint8_t *p, size_t left) {
    uint8_t c = p[0];
    if (c < 0x80) {
        return c != 0 ? 1 : 0;
    }
    size_t size = c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (size == 0 || size > left) {
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (c == 0xe0 && p[1] < 0xa0) || (c == 0xf0 && p[1] < 0x90);
    bool surrogate = c == 0xed && p[1] > 0x9f;
    bool beyond = c == 0xf4 && p[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : size;
}

bool mim_utf8_valid(struct mim_slice text) {
    size_t i = 0;
    while (i < text.size) {
        if (text.size - i >= 8) {
            uint64_t word = mim_get64(text.data + i);
            bool ascii = (word & 0x8080808080808080u) == 0;
            bool no_nul = ((word - 0x0101010101010101u) & ~word & 0x8080808080808080u) == 0;
            if (ascii && no_nul) {
                i += 8;
                continue;
            }
        }
        size_t size = sequence_size(text.data + i, text.size - i);
        if (size == 0) {
            return false;
        }
        i += size;
    }
    return true;
}

/** Eight bytes that need no closer look: neither control characters nor spaces, and ASCII. */
static bool eight_usual(const uint8_t *at) {
    uint64_t bytes = mim_get64(at);
    return (mim_bytes_below(bytes, 0x21) | mim_bytes_equal(bytes, 0x7f) | (bytes & MIM_EACH_BYTE(0x80))) == 0;
}

/** The same of at least eight bytes; the last eight may overlap those before. */
static bool all_usual(struct mim_slice id) {
    for (size_t i = 0; i + 8 < id.size; i += 8) {
        if (!eight_usual(id.data + i)) {
            return false;
        }
    }
    return eight_usual(id.data + id.size - 8);
}

bool mim_id_valid(struct mim_slice id) {
    if (id.size == 0 || id.size > MIM_ID_SIZE_MAX) {
        return false;
    }
    if (MIM_LIKELY(id.size >= 8 && all_usual(id))) {
        return true;
    }
    bool ascii = true;
    for (size_t i = 0; i < id.size; i++) {
        uint8_t c = id.data[i];
        if (c <= 0x20 || c == 0x7f) {
            return false;
        }
        ascii = ascii && c < 0x80;
    }
    return ascii || mim_utf8_valid(id);
}
