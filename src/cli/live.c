// SPDX-License-Identifier: MIT
// When to look again at a journal that seems damaged: see live.h.
#include "cli/live.h"

#include <string.h>

#define MIM_LIVE_LOOKS_MAX 20u

/** Messages name segment, offset and position first, the evidence behind them: equal up to there is the same place. */
static bool same_place(const char *a, const char *b) {
    const char *position = strstr(a, "position ");
    const char *end = position == NULL ? NULL : strchr(position, ':');
    size_t size = end == NULL ? strlen(a) + 1 : (size_t)(end - a);
    return strncmp(a, b, size) == 0;
}

bool mim_live_look_again(struct mim_live *live, int code, const struct mim_error *error) {
    if (code != MIM_E_DAMAGED && code != MIM_E_IO) {
        return false;
    }
    if (live->looks >= MIM_LIVE_LOOKS_MAX || (live->looks > 0 && same_place(live->seen.text, error->text))) {
        return false;
    }
    live->seen = *error;
    live->looks++;
    return true;
}
