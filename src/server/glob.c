// SPDX-License-Identifier: MIT
// The glob matcher: one place to go back to, that of the last star, so neither recursion nor exponential time.
#include "server/glob.h"

/** The size of the element at `at`, whether it accepts `byte`. An unclosed bracket is a plain '['. */
static size_t element(struct mim_slice pattern, size_t at, uint8_t byte, bool *ret_accepts) {
    const uint8_t *p = pattern.data;
    if (p[at] == '\\' && at + 1 < pattern.size) {
        *ret_accepts = p[at + 1] == byte;
        return 2;
    }
    if (p[at] != '[') {
        *ret_accepts = p[at] == '?' || p[at] == byte;
        return 1;
    }
    size_t i = at + 1;
    bool negated = i < pattern.size && p[i] == '^';
    bool found = false;
    for (i += negated; i < pattern.size && p[i] != ']'; i++) {
        if (p[i] == '\\' && i + 1 < pattern.size) {
            i++;
            found |= p[i] == byte;
        } else if (i + 2 < pattern.size && p[i + 1] == '-' && p[i + 2] != ']') {
            found |= byte >= p[i] && byte <= p[i + 2];
            i += 2;
        } else {
            found |= p[i] == byte;
        }
    }
    if (i == pattern.size) {
        *ret_accepts = byte == '[';
        return 1;
    }
    *ret_accepts = found != negated;
    return i + 1 - at;
}

bool mim_glob_valid(struct mim_slice pattern) {
    for (size_t i = 0; i < pattern.size; i++) {
        if (pattern.data[i] == '\\') {
            i++;
            if (i == pattern.size) {
                return false;
            }
        } else if (pattern.data[i] == '[') {
            bool unused;
            size_t size = element(pattern, i, 0, &unused);
            if (size == 1) {
                return false;
            }
            i += size - 1;
        }
    }
    return true;
}

enum mim_glob mim_glob(struct mim_slice pattern, struct mim_slice text, uint32_t steps) {
    size_t p = 0;
    size_t t = 0;
    size_t star = SIZE_MAX; /* behind the last star */
    size_t resume = 0;      /* the text that its next attempt begins with */
    while (t < text.size) {
        if (steps-- == 0) {
            return MIM_GLOB_GIVEN_UP;
        }
        bool accepts = false;
        size_t size = 1;
        if (p < pattern.size && pattern.data[p] == '*') {
            star = ++p;
            resume = t;
            continue;
        }
        if (p < pattern.size) {
            size = element(pattern, p, text.data[t], &accepts);
        }
        if (accepts) {
            p += size;
            t++;
        } else if (star != SIZE_MAX) {
            p = star;
            t = ++resume;
        } else {
            return MIM_GLOB_NO;
        }
    }
    while (p < pattern.size && pattern.data[p] == '*') {
        p++;
    }
    return p == pattern.size ? MIM_GLOB_YES : MIM_GLOB_NO;
}
