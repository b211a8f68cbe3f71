// SPDX-License-Identifier: MIT
// memimage bench.
#include <stdio.h>

#include "cli/cli.h"

int mim_cli_bench(int argc, char **argv) {
    (void)argc;
    (void)argv;
    (void)fprintf(stderr, "memimage bench: not built in\n");
    return 1;
}
