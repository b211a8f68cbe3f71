// SPDX-License-Identifier: MIT
// Words of a protocol as they come: whole numbers, names in any case. Pure.
#ifndef MIM_BASE_WORDS_H
#define MIM_BASE_WORDS_H

#include "base/bytes.h"

/** Digits of a base up to 16, at least one and nothing else, without overflow; otherwise false, *ret_value untouched. */
bool mim_word_number(struct mim_slice word, unsigned base, uint64_t *ret_value);

#define MIM_DIGITS_MAX 20u
/** Writes a number in decimal digits, MIM_DIGITS_MAX at most, and nothing behind them; returns how many. */
size_t mim_digits(uint64_t value, char *ret_text);

/** Equal but for the case of ASCII letters; `upper` is a word in capitals. */
bool mim_word_is(struct mim_slice word, const char *upper);

#endif
