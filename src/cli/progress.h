// SPDX-License-Identifier: MIT
// A progress bar with rate and time left, on a terminal only.
#ifndef MIM_CLI_PROGRESS_H
#define MIM_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct mim_progress {
    const char *label;
    const char *unit; /* "B" shows binary multiples */
    bool shown;       /* stderr is a terminal and not --json */
    uint64_t began_ns;
    uint64_t drawn_ns;
    bool drawn;
};

void mim_progress_begin(struct mim_progress *progress, const char *label, const char *unit);
/** Cheap when nothing is due: draws at most ten times a second. total 0: not known. */
void mim_progress_step(struct mim_progress *progress, uint64_t done, uint64_t total);
/** Wipes the bar. */
void mim_progress_end(struct mim_progress *progress);
/** The same as a mim_progress_fn; context is the struct. */
void mim_progress_callback(void *context, uint64_t done, uint64_t total);
/** Seconds since begin. */
double mim_progress_seconds(const struct mim_progress *progress);

#endif
