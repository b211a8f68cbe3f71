// SPDX-License-Identifier: MIT
// Reading a directory whose server is at work: it may write between two reads of ours, and what is half read then looks
// damaged. Real damage stays where it is; the writer moves on. So whoever meets damage looks again.
#ifndef MIM_CLI_LIVE_H
#define MIM_CLI_LIVE_H

#include <stdbool.h>

#include "base/error.h"

/** What was seen so far; `{0}` at first. */
struct mim_live {
    struct mim_error seen;
    unsigned looks;
};

/** True when `code` with its message may be the work of a live writer: read once more from the beginning. False for
 *  success, for errors of other kinds, for damage in the same place as before, and in the end. */
bool mim_live_look_again(struct mim_live *live, int code, const struct mim_error *error);

#endif
