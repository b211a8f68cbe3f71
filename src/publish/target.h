// SPDX-License-Identifier: MIT
// Where to publish: the URL of --publish. Pure.
//
//   redis://[[user]:password@]host[:port][/db]      host: a name, an IPv4 address, or an IPv6 address in brackets
//   unix://[[user]:password@]/path[?db=N]           (also redis+unix://, redis-socket://)
//
// User and password may be percent-encoded.
#ifndef MIM_PUBLISH_TARGET_H
#define MIM_PUBLISH_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define MIM_TARGET_HOST_MAX   253u
#define MIM_TARGET_PATH_MAX   107u /* of a unix socket */
#define MIM_TARGET_SECRET_MAX 511u
#define MIM_TARGET_DB_MAX     1048575u

struct mim_publish_target {
    bool is_unix;
    char host[MIM_TARGET_HOST_MAX + 1];
    char path[MIM_TARGET_PATH_MAX + 1];
    uint16_t port;
    uint32_t db;
    bool has_password;
    char user[MIM_TARGET_SECRET_MAX + 1]; /* "": the default user */
    char password[MIM_TARGET_SECRET_MAX + 1];
    char shown[MIM_TARGET_HOST_MAX + 48]; /* the URL for people and logs: without user and password */
};

/** USAGE with a sentence that does not repeat the password. */
MIM_CHECKED int mim_publish_target_parse(const char *url, struct mim_publish_target *ret_target,
                                         struct mim_error *reterr);

#endif
