// SPDX-License-Identifier: MIT
// Words of a protocol; see words.h.
#include "base/words.h"

bool mim_word_number(struct mim_slice word, unsigned base, uint64_t *ret_value) {
    uint64_t value = 0;
    for (size_t i = 0; i < word.size; i++) {
        uint8_t c = word.data[i];
        unsigned low = c | 0x20u;
        unsigned digit = c >= '0' && c <= '9' ? c - (unsigned)'0' : low >= 'a' && low <= 'f' ? low - 'a' + 10u : 99u;
        if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    if (word.size > 0) {
        *ret_value = value;
    }
    return word.size > 0;
}

bool mim_word_is(struct mim_slice word, const char *upper) {
    for (size_t i = 0; i < word.size; i++) {
        uint8_t c = word.data[i];
        if (c >= 'a' && c <= 'z') {
            c = (uint8_t)(c - 0x20);
        }
        if (upper[i] == '\0' || c != (uint8_t)upper[i]) {
            return false;
        }
    }
    return upper[word.size] == '\0';
}
