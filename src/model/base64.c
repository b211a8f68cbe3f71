// SPDX-License-Identifier: MIT
// base64 (RFC 4648, padded) for bytes in JSON. Pure.
#include "model/field.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t mim_base64_size(size_t size) { return (size + 2) / 3 * 4; }

void mim_base64_encode(struct mim_slice bytes, char *ret_text) {
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t bits = (uint32_t)bytes.data[i] << 16;
        bits |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        bits |= left > 2 ? (uint32_t)bytes.data[i + 2] : 0;
        *ret_text++ = alphabet[bits >> 18];
        *ret_text++ = alphabet[bits >> 12 & 63];
        *ret_text++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *ret_text++ = left > 2 ? alphabet[bits & 63] : '=';
    }
}

static int value_of(char c) {
    const char *at = c == '\0' ? NULL : strchr(alphabet, c);
    return at == NULL ? -1 : (int)(at - alphabet);
}

bool mim_base64_decode(struct mim_slice text, uint8_t *ret_bytes, size_t *ret_size) {
    size_t size = 0;
    if (text.size % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < text.size; i += 4) {
        const char *c = (const char *)text.data + i;
        bool last = i + 4 == text.size;
        unsigned pad = last && c[3] == '=' ? (c[2] == '=' ? 2 : 1) : 0;
        int v[4] = {value_of(c[0]), value_of(c[1]), pad > 1 ? 0 : value_of(c[2]), pad > 0 ? 0 : value_of(c[3])};
        if (v[0] < 0 || v[1] < 0 || v[2] < 0 || v[3] < 0) {
            return false;
        }
        uint32_t bits = (uint32_t)v[0] << 18 | (uint32_t)v[1] << 12 | (uint32_t)v[2] << 6 | (uint32_t)v[3];
        ret_bytes[size++] = (uint8_t)(bits >> 16);
        if (pad < 2) {
            ret_bytes[size++] = (uint8_t)(bits >> 8);
        }
        if (pad < 1) {
            ret_bytes[size++] = (uint8_t)bits;
        }
    }
    *ret_size = size;
    return true;
}
