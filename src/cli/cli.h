// SPDX-License-Identifier: MIT
// The subcommands of the memimage binary: each takes its own argv (argv[0] is its name) and returns the exit status.
#ifndef MIM_CLI_CLI_H
#define MIM_CLI_CLI_H

int mim_cli_serve(int argc, char **argv);
int mim_cli_load(int argc, char **argv);
int mim_cli_journal(int argc, char **argv);
int mim_cli_digest(int argc, char **argv);
int mim_cli_history(int argc, char **argv);
int mim_cli_check(int argc, char **argv);
int mim_cli_schema(int argc, char **argv);
int mim_cli_state(int argc, char **argv);
int mim_cli_trace(int argc, char **argv);
int mim_cli_snapshot(int argc, char **argv);
int mim_cli_restore(int argc, char **argv);
int mim_cli_promote(int argc, char **argv);
int mim_cli_switchover(int argc, char **argv);
int mim_cli_acl(int argc, char **argv);
int mim_cli_bench(int argc, char **argv);

#endif
