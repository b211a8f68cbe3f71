// SPDX-License-Identifier: MIT
// Options of subcommands: one table serves the command line, the configuration file and --help.
#ifndef MIM_CLI_OPTIONS_H
#define MIM_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define MIM_PORT_NONE 65536u

enum mim_option_type {
    MIM_OPTION_TEXT = 1,   /* const char ** */
    MIM_OPTION_UNSIGNED,   /* uint64_t *, within min..max */
    MIM_OPTION_SIZE,       /* uint64_t *, with k, m, g (binary) */
    MIM_OPTION_FLAG,       /* bool *, no value on the command line; yes/no in a file */
    MIM_OPTION_DURABILITY, /* struct mim_writer_options * */
    MIM_OPTION_PORT,       /* uint64_t *, 0 to 65535, or none: MIM_PORT_NONE */
    MIM_OPTION_HELP,
};

struct mim_option {
    const char *name; /* without the dashes */
    enum mim_option_type type;
    void *target;      /* values borrow argv or the configuration text */
    const char *value; /* how --help names the value; NULL: none */
    const char *help;
    uint64_t min;
    uint64_t max; /* 0: no bound */
};

struct mim_options {
    const char *usage; /* "memimage serve [option ...]" */
    const char *about; /* one paragraph */
    const struct mim_option *items;
    size_t count;
};

/** Parses argv[1..]; positional arguments are moved to the front of argv and counted. 0; USAGE with a sentence;
 *  1 when --help was asked and printed. */
MIM_CHECKED int mim_options_parse(const struct mim_options *options, int argc, char **argv, int *ret_positional,
                                  struct mim_error *reterr);
/** No positional arguments. USAGE names the first. */
MIM_CHECKED int mim_options_none(char **argv, int positional, struct mim_error *reterr);
/** No positional arguments, and a --dir: what most subcommands want. USAGE. */
MIM_CHECKED int mim_options_want(char **argv, int positional, const char *dir, struct mim_error *reterr);
/** Reads "name value" lines ('#' comments, quotes). Applied before the command line, which so comes first. The text
 *  is kept for the life of the process. USAGE with file and line. */
MIM_CHECKED int mim_options_file(const struct mim_options *options, const char *path, struct mim_error *reterr);
void mim_options_help(const struct mim_options *options);

/** Prints "memimage NAME: message" to stderr; returns the exit status of the code. */
int mim_cli_fail(const char *name, const struct mim_error *error);

#endif
