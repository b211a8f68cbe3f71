// SPDX-License-Identifier: MIT
// memimage bench: picks the benchmark, and holds the figures' common form.
#include "cli/bench.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/cli.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} benches[] = {
    {"commands", mim_bench_commands, "commands per second of many clients, by pipeline"},
    {"latency", mim_bench_latency, "a lone durable command beside the raw write and sync of the same bytes"},
    {"replay", mim_bench_replay, "events per second from the journal into the image"},
    {"restore", mim_bench_restore, "from the start of the process to the first correct reply"},
    {"replica", mim_bench_replica, "a new standby, what it shows when, and how it catches up"},
};

static void usage(FILE *to) {
    (void)fputs(
        "Usage: memimage bench NAME [option ...]\n\nMeasures, and prints figures as text or, with --json, as JSON.\n\n",
        to);
    for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
        (void)fprintf(to, "  %-10s %s\n", benches[i].name, benches[i].help);
    }
    (void)fputs("\nmemimage bench NAME --help tells its options.\n", to);
}

int mim_cli_bench(int argc, char **argv) {
    if (argc < 2) {
        usage(stderr);
        return 1;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return 0;
    }
    for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
        if (strcmp(argv[1], benches[i].name) == 0) {
            return benches[i].run(argc - 1, argv + 1);
        }
    }
    (void)fprintf(stderr, "memimage bench: unknown benchmark \"%s\"; memimage bench --help lists them\n", argv[1]);
    return 1;
}

uint64_t mim_bench_now_ns(void) {
    struct mim_clock clock = mim_clock_posix();
    return clock.monotonic_ns(clock.context);
}

double mim_bench_us(const struct mim_latency *latency, uint32_t permille) {
    return (double)mim_latency_percentile(latency, permille) / 1e3;
}

void mim_bench_json_number(struct mim_json *j, const char *key, uint64_t value) {
    mim_json_key(j, key);
    mim_json_u64(j, value);
}

void mim_bench_json_text(struct mim_json *j, const char *key, const char *text) {
    mim_json_key(j, key);
    mim_json_string(j, mim_string_of(text));
}

void mim_bench_json_latency(struct mim_json *j, const struct mim_latency *latency) {
    static const struct {
        const char *key;
        uint32_t permille;
    } points[] = {{"p50_us", 500}, {"p99_us", 990}, {"p999_us", 999}, {"max_us", 1000}};
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        mim_json_key(j, points[i].key);
        mim_json_f64(j, mim_bench_us(latency, points[i].permille));
    }
}

void mim_bench_json_print(struct mim_buffer *out) {
    mim_buffer_append(out, "\n", 1);
    (void)fwrite(out->data, 1, out->size, stdout);
    out->size = 0;
}
