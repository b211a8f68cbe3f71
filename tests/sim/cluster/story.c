// SPDX-License-Identifier: MIT
// What happened, kept as text and printed when something is wrong (or all along, with --trace).
#include <stdarg.h>

#include "world.h"

void tell(struct world *w, const char *format, ...) {
    char line[512];
    va_list arguments;
    int size = snprintf(line, sizeof(line), "# %9.3f ms  ", (double)w->now_ns / 1e6);
    va_start(arguments, format);
    int more = vsnprintf(line + size, sizeof(line) - (size_t)size, format, arguments);
    va_end(arguments);
    size = more < 0 ? size : size + more;
    size = size < (int)sizeof(line) - 1 ? size : (int)sizeof(line) - 2;
    line[size++] = '\n';
    if (w->trace) {
        (void)fwrite(line, 1, (size_t)size, stdout);
    } else {
        mim_buffer_append(&w->story, line, (size_t)size);
    }
}

void broken(struct world *w, const char *text, const char *file, int line) {
    const char *name = strrchr(file, '/');
    (void)fwrite(w->story.data, 1, w->story.size, stdout);
    (void)printf("not ok 1 - seed %llu, after %.3f ms: %s (%s:%d)\n", (unsigned long long)w->seed,
                 (double)w->now_ns / 1e6, text, name == NULL ? file : name + 1, line);
    (void)printf("# replay: test-cluster --seed %llu --seeds 1 --trace\n", (unsigned long long)w->seed);
    (void)fflush(stdout);
    _Exit(1);
}
