// SPDX-License-Identifier: MIT
// The end of a process whose invariant broke: one line to stderr, then abort.
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

__attribute__((noreturn, cold)) void mim_assert_failed(const char *expression, const char *file, int line) {
    (void)fprintf(stderr, "memimage: %s:%d: assertion failed: %s\n", file, line, expression);
    (void)fflush(stderr);
    abort();
}
