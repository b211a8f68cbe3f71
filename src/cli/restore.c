// SPDX-License-Identifier: MIT
// memimage restore: a copy of a directory's history up to a position or a time, ready to be served.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "snapshot/branch.h"

struct restoring {
    const char *dir;
    const char *to;
    const char *at;
    bool json;
};

/** A position is a number below 10^12; larger numbers are Unix milliseconds; else RFC 3339. */
static int at_parse(const char *at, struct mim_branch_options *branch, struct mim_error *reterr) {
    char *end;
    unsigned long long number = strtoull(at, &end, 10);
    if (*at >= '0' && *at <= '9' && *end == '\0') {
        if (number < 1000000000000ull) {
            branch->position_max = number;
        } else {
            branch->time_ms_max = (int64_t)number;
        }
        return 0;
    }
    if (mim_rfc3339_parse(at, strlen(at), &branch->time_ms_max) != 0) {
        return mim_error_set(
            reterr, MIM_E_USAGE,
            "--at must be a position, a time like 2026-11-20T10:00:00Z or Unix milliseconds, not \"%s\"", at);
    }
    return 0;
}

static int restore_run(const struct restoring *r, struct mim_branched *ret_done, struct mim_error *reterr) {
    struct mim_progress progress;
    mim_progress_begin(&progress, "copying", "B");
    struct mim_branch_options branch = {.position_max = UINT64_MAX,
                                        .time_ms_max = INT64_MAX,
                                        .progress = mim_progress_callback,
                                        .progress_context = &progress};
    struct mim_storage from = {0};
    struct mim_storage to = {0};
    mim_file_t lock = 0;
    int rc = r->at == NULL ? 0 : at_parse(r->at, &branch, reterr);
    rc = rc != 0 ? rc : mim_storage_posix_open(r->dir, false, &from, reterr);
    rc = rc != 0 ? rc : mim_storage_posix_open(r->to, true, &to, reterr);
    rc = rc != 0 ? rc : mim_storage_lock(to, MIM_DIRECTORY_LOCK, &lock, reterr);
    rc = rc != 0 ? rc : mim_branch_copy(from, to, &branch, ret_done, reterr);
    mim_progress_end(&progress);
    if (to.ops != NULL) {
        mim_file_close(to, lock);
        mim_storage_posix_close(&to);
    }
    if (from.ops != NULL) {
        mim_storage_posix_close(&from);
    }
    return rc;
}

int mim_cli_restore(int argc, char **argv) {
    struct restoring r = {0};
    const struct mim_option items[] = {
        {"dir", MIM_OPTION_TEXT, &r.dir, "DIR", "data directory; a live server's is fine", 0, 0},
        {"to", MIM_OPTION_TEXT, &r.to, "DIR2", "directory of the copy: new, or without a journal", 0, 0},
        {"at", MIM_OPTION_TEXT, &r.at, "POSITION|TIME",
         "last event of the copy, by position, RFC 3339 or Unix ms (default: all)", 0, 0},
        {"json", MIM_OPTION_FLAG, &r.json, NULL, "print JSON", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage restore --dir DIR --to DIR2 [--at POSITION|TIME]",
        .about = "Copies the history up to a point into another directory, whole transactions only, and the newest "
                 "snapshot\n"
                 "that fits along. The copy starts as a server of its own: a branch of the same history.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    struct mim_branched done = {0};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    if (rc > 0) {
        return 0;
    }
    rc = rc != 0 ? rc : mim_options_want(argv, positional, r.dir, &error);
    if (rc == 0 && r.to == NULL) {
        rc = mim_error_set(&error, MIM_E_USAGE, "--to DIR2 is missing (see --help)");
    }
    rc = rc != 0 ? rc : restore_run(&r, &done, &error);
    if (rc != 0) {
        return mim_cli_fail("restore", &error);
    }
    char time[MIM_RFC3339_SIZE + 1];
    mim_rfc3339_format(done.time_ms, time);
    if (r.json) {
        (void)printf("{\"position\":%llu,\"time\":\"%s\",\"bytes\":%llu,\"snapshot\":%llu}\n",
                     (unsigned long long)done.position, time, (unsigned long long)done.bytes,
                     (unsigned long long)done.snapshot);
    } else {
        (void)printf("%s holds the history up to position %llu (%s); start it with memimage serve --dir %s\n", r.to,
                     (unsigned long long)done.position, time, r.to);
    }
    return 0;
}
