// SPDX-License-Identifier: MIT
// History ids as text.
#include "replica/point.h"

#include <stdio.h>

void mim_history_text(const struct mim_history *history, char ret_text[MIM_HISTORY_TEXT_SIZE]) {
    for (size_t i = 0; i < sizeof(history->uuid); i++) {
        (void)snprintf(ret_text + i * 2, 3, "%02x", history->uuid[i]);
    }
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool mim_history_parse(struct mim_slice text, struct mim_history *ret_history) {
    if (text.size != 2 * sizeof(ret_history->uuid)) {
        return false;
    }
    for (size_t i = 0; i < sizeof(ret_history->uuid); i++) {
        int high = hex_digit(text.data[2 * i]);
        int low = hex_digit(text.data[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret_history->uuid[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}
