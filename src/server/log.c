// SPDX-License-Identifier: MIT
// The log; see log.h.
#include "server/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_SIZE_MAX 2048u

void mim_log(enum mim_log_level level, const char *event, const char *format, ...) {
    static const char *const names[] = {"info", "warning", "error"};
    char time[MIM_RFC3339_SIZE + 1u];
    struct mim_clock clock = mim_clock_posix();
    mim_rfc3339_format(clock.wall_ms(clock.context), time);
    char line[LINE_SIZE_MAX];
    int size = snprintf(line, sizeof(line) - 1, "%s %s %s ", time, names[level], event);
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(line + size, sizeof(line) - 1 - (size_t)size, format, arguments);
    va_end(arguments);
    size_t total = (size_t)size + (more > 0 ? (size_t)more : 0);
    if (total > sizeof(line) - 2) {
        total = sizeof(line) - 2;
    }
    while (total > 0 && line[total - 1] == ' ') {
        total--;
    }
    line[total++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, total);
    (void)written; /* a log that cannot be written has nowhere to say so */
}

const char *mim_log_quote(const char *text, char ret_quoted[MIM_LOG_QUOTED_SIZE]) {
    size_t to = 0;
    ret_quoted[to++] = '"';
    for (const char *at = text; *at != '\0' && to + 6 < MIM_LOG_QUOTED_SIZE; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '"' || c == '\\') {
            ret_quoted[to++] = '\\';
            ret_quoted[to++] = (char)c;
        } else if (c == '\n') {
            ret_quoted[to++] = '\\';
            ret_quoted[to++] = 'n';
        } else if (c < 0x20 || c == 0x7f) {
            to += (size_t)snprintf(ret_quoted + to, 5, "\\x%02x", c);
        } else {
            ret_quoted[to++] = (char)c;
        }
    }
    ret_quoted[to++] = '"';
    ret_quoted[to] = '\0';
    return ret_quoted;
}
