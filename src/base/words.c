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

static const char DIGIT_PAIRS[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                  "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                  "8081828384858687888990919293949596979899";

/** How many digits a number has. Source: "Bit Twiddling Hacks", S. E. Anderson: 1233 / 4096 is about log10(2). */
static size_t digit_count(uint64_t value) {
    static const uint64_t powers[] = {1ull,
                                      10ull,
                                      100ull,
                                      1000ull,
                                      10000ull,
                                      100000ull,
                                      1000000ull,
                                      10000000ull,
                                      100000000ull,
                                      1000000000ull,
                                      10000000000ull,
                                      100000000000ull,
                                      1000000000000ull,
                                      10000000000000ull,
                                      100000000000000ull,
                                      1000000000000000ull,
                                      10000000000000000ull,
                                      100000000000000000ull,
                                      1000000000000000000ull,
                                      10000000000000000000ull};
    unsigned bits = 64u - (unsigned)__builtin_clzll(value | 1u);
    unsigned least = bits * 1233u >> 12;
    return least + ((value | 1u) >= powers[least] ? 1u : 0u);
}

size_t mim_digits(uint64_t value, char *ret_text) {
    size_t size = digit_count(value); /* written where they stand in the end: bytes just written are copied slowly */
    char *at = ret_text + size;
    for (; value >= 100; value /= 100) {
        at -= 2;
        memcpy(at, DIGIT_PAIRS + value % 100 * 2, 2);
    }
    if (value >= 10) {
        memcpy(ret_text, DIGIT_PAIRS + value * 2, 2);
    } else {
        *ret_text = (char)('0' + value);
    }
    return size;
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
