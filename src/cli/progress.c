// SPDX-License-Identifier: MIT
// The progress bar: one line on stderr, redrawn in place.
#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define MIM_PROGRESS_NS    100000000u
#define MIM_PROGRESS_WIDTH 24u

static uint64_t now_ns(void) {
    struct mim_clock clock = mim_clock_posix();
    return clock.monotonic_ns(clock.context);
}

void mim_progress_begin(struct mim_progress *progress, const char *label, const char *unit) {
    *progress =
        (struct mim_progress){.label = label, .unit = unit, .shown = isatty(STDERR_FILENO) != 0, .began_ns = now_ns()};
}

double mim_progress_seconds(const struct mim_progress *progress) {
    return (double)(now_ns() - progress->began_ns) / 1e9;
}

/** "1.5 M" and so on. */
static void amount(double value, const char *unit, char *text, size_t size) {
    static const char *const decimal[] = {"", " k", " M", " G", " T"};
    static const char *const binary[] = {" B", " KiB", " MiB", " GiB", " TiB"};
    bool bytes = unit[0] == 'B' && unit[1] == '\0';
    unsigned step = 0;
    double base = bytes ? 1024 : 1000;
    while (value >= base && step < 4) {
        value /= base;
        step++;
    }
    (void)snprintf(text, size, "%.*f%s%s%s", step == 0 ? 0 : 1, value, bytes ? binary[step] : decimal[step],
                   bytes ? "" : " ", bytes ? "" : unit);
}

static void draw(const struct mim_progress *progress, uint64_t done, uint64_t total, double seconds) {
    char bar[MIM_PROGRESS_WIDTH + 1];
    char rate[48];
    char left[32] = "";
    double share = total == 0 ? 0 : (double)done / (double)total;
    share = share > 1 ? 1 : share;
    for (unsigned i = 0; i < MIM_PROGRESS_WIDTH; i++) {
        bar[i] = (double)i < share * MIM_PROGRESS_WIDTH ? '#' : '.';
    }
    bar[MIM_PROGRESS_WIDTH] = '\0';
    amount(seconds > 0 ? (double)done / seconds : 0, progress->unit, rate, sizeof(rate));
    if (total > 0 && done > 0) {
        (void)snprintf(left, sizeof(left), ", %.0f s left", seconds * (1 - share) / (share > 0 ? share : 1));
    }
    if (total > 0) {
        (void)fprintf(stderr, "\r%s [%s] %3.0f%% %s/s%s\033[K", progress->label, bar, share * 100, rate, left);
    } else {
        (void)fprintf(stderr, "\r%s %s/s\033[K", progress->label, rate);
    }
    (void)fflush(stderr);
}

void mim_progress_step(struct mim_progress *progress, uint64_t done, uint64_t total) {
    if (!progress->shown) {
        return;
    }
    uint64_t now = now_ns();
    if (now - progress->drawn_ns >= MIM_PROGRESS_NS) {
        progress->drawn_ns = now;
        progress->drawn = true;
        draw(progress, done, total, (double)(now - progress->began_ns) / 1e9);
    }
}

void mim_progress_callback(void *context, uint64_t done, uint64_t total) { mim_progress_step(context, done, total); }

void mim_progress_end(struct mim_progress *progress) {
    if (progress->drawn) {
        (void)fprintf(stderr, "\r\033[K");
        (void)fflush(stderr);
        progress->drawn = false;
    }
}
