// SPDX-License-Identifier: MIT
// Time comes in through here. Event time is data (wall clock, stamped once by the primary); timeouts use the
// monotonic clock only.
#ifndef MIM_BASE_CLOCK_H
#define MIM_BASE_CLOCK_H

#include <stdint.h>

struct mim_clock {
    uint64_t (*monotonic_ns)(void *context);
    int64_t (*wall_ms)(void *context); /* Unix milliseconds */
    void *context;
};

/** The machine's clocks (clock_posix.c). */
struct mim_clock mim_clock_posix(void);

/* Unix milliseconds <-> RFC 3339 (pure, proleptic Gregorian, UTC). */

/** Writes "2026-11-20T10:11:12.345Z" and a NUL into the caller's buffer. */
#define MIM_RFC3339_SIZE 25u
#define MIM_RFC3339_MIN  (-62167219200000) /* 0000-01-01T00:00:00.000Z: what lies outside is shown as year 0 or 9999 */
#define MIM_RFC3339_MAX  253402300799999   /* 9999-12-31T23:59:59.999Z */
void mim_rfc3339_format(int64_t unix_ms, char ret_text[MIM_RFC3339_SIZE + 1u]);

/** Parses RFC 3339 (with fraction and offset) into Unix ms; returns 0, or MIM_E_INVALID. */
int mim_rfc3339_parse(const char *text, uint64_t size, int64_t *ret_unix_ms);

#endif
