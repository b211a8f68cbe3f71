// SPDX-License-Identifier: MIT
// The machine's clocks behind the clock interface.
#include "base/clock.h"

#include <stddef.h>
#include <time.h>

static uint64_t clock_monotonic_ns(void *context) {
    (void)context;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int64_t clock_wall_ms(void *context) {
    (void)context;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct mim_clock mim_clock_posix(void) {
    return (struct mim_clock){.monotonic_ns = clock_monotonic_ns, .wall_ms = clock_wall_ms, .context = NULL};
}
