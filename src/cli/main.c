// SPDX-License-Identifier: MIT
// The memimage binary: picks the subcommand.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/version.h"
#include "cli/cli.h"

struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct subcommand subcommands[] = {
    {"serve", mim_cli_serve, "run the server"},
    {"load", mim_cli_load, "send commands from an NDJSON file to a server, pipelined"},
    {"snapshot", mim_cli_snapshot, "make a snapshot from the journal"},
    {"restore", mim_cli_restore, "copy a directory's history up to a position or a time"},
    {"journal", mim_cli_journal, "dump, verify or measure a journal"},
    {"digest", mim_cli_digest, "rebuild the state offline and print its digest"},
    {"history", mim_cli_history, "list the versions of one aggregate: when, who, what changed"},
    {"promote", mim_cli_promote, "make a standby the primary"},
    {"switchover", mim_cli_switchover, "hand a primary's role to a standby, without loss"},
    {"schema", mim_cli_schema, "print the model as JSON Schema or AsyncAPI"},
    {"check", mim_cli_check, "check a model: its descriptors, and that it replays a journal the same each time"},
    {"state", mim_cli_state, "one aggregate's state now, or at a version, position or time"},
    {"trace", mim_cli_trace, "the causal tree of one operation, with times"},
    {"acl", mim_cli_acl, "make hashes of passwords, check an ACL file"},
    {"bench", mim_cli_bench, "measure commands, latency, replay"},
};

static void usage(FILE *to) {
    (void)fputs("Usage: memimage SUBCOMMAND [option ...]\n\n"
                "An in-memory, event-sourced Memory Image server.\n\n",
                to);
    for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
        (void)fprintf(to, "  %-10s %s\n", subcommands[i].name, subcommands[i].help);
    }
    (void)fputs("\nmemimage SUBCOMMAND --help tells its options; memimage --version the version.\n", to);
}

int main(int argc, char **argv) {
    (void)signal(SIGPIPE, SIG_IGN); /* a closed connection is an error of write */
    (void)signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of write */
    (void)umask(077);
    if (argc < 2) {
        usage(stderr);
        return 1;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("memimage %s\n", MIM_VERSION);
        return 0;
    }
    for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
        if (strcmp(argv[1], subcommands[i].name) == 0) {
            return subcommands[i].run(argc - 1, argv + 1);
        }
    }
    (void)fprintf(stderr, "memimage: unknown subcommand \"%s\"; memimage --help lists them\n", argv[1]);
    return 1;
}
