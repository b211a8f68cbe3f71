// SPDX-License-Identifier: MIT
// Replies of a server as they stream in: hiredis parses, nothing is allocated per reply; the caller learns of each one
// only whether it is an error, and which.
#ifndef MIM_CLI_REPLIES_H
#define MIM_CLI_REPLIES_H

#include <stddef.h>

#include "base/error.h"

struct mim_replies;

/** Called once per reply, in order; error: NUL-terminated text of an error reply, NULL otherwise. */
typedef void mim_reply_fn(void *context, const char *error);

/** NULL when out of memory. */
struct mim_replies *mim_replies_new(mim_reply_fn *each, void *context);
struct mim_replies *mim_replies_free(struct mim_replies *replies);
/** Takes bytes as they came from the socket. NETWORK: they are no replies. */
MIM_CHECKED int mim_replies_feed(struct mim_replies *replies, const char *data, size_t size, struct mim_error *reterr);

#endif
