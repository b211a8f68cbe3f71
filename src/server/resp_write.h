// SPDX-License-Identifier: MIT
// Replies as bytes: the encoder for RESP2 and RESP3. Pure: appends to a growing buffer. What RESP2 lacks is written as
// the nearest thing it has, as Redis does: a map as a flat array, a push as an array, null as $-1, a double as a bulk
// string, a boolean as 0 or 1.
#ifndef MIM_SERVER_RESP_WRITE_H
#define MIM_SERVER_RESP_WRITE_H

#include <stdbool.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "model/codec.h"

/** Where replies go, and in which protocol (2 or 3). */
struct mim_reply {
    struct mim_buffer out;
    uint8_t protocol;
};

#define MIM_RESP_NUMBER_SIZE_MAX 24u

void mim_reply_simple(struct mim_reply *reply, const char *text);
/** "-PREFIX text": control characters become spaces, so that a reply stays one line. */
void mim_reply_error(struct mim_reply *reply, const char *prefix, struct mim_slice text);
/** printf into an error; text beyond 400 bytes is cut. */
__attribute__((format(printf, 3, 4))) void mim_reply_errorf(struct mim_reply *reply, const char *prefix,
                                                            const char *format, ...);
void mim_reply_integer(struct mim_reply *reply, int64_t value);
void mim_reply_bulk(struct mim_reply *reply, struct mim_slice bytes);
void mim_reply_text(struct mim_reply *reply, const char *text); /* a bulk string */
/** Text for people (INFO): a verbatim string in RESP3. */
void mim_reply_verbatim(struct mim_reply *reply, struct mim_slice bytes);
void mim_reply_null(struct mim_reply *reply);
void mim_reply_array(struct mim_reply *reply, size_t count);
void mim_reply_set(struct mim_reply *reply, size_t count);
void mim_reply_map(struct mim_reply *reply, size_t pairs);
void mim_reply_push(struct mim_reply *reply, size_t count);
void mim_reply_double(struct mim_reply *reply, double value);
void mim_reply_boolean(struct mim_reply *reply, bool value);

/** The reply of DO: *2 :first :second. The hot one, in one piece. */
void mim_reply_pair(struct mim_reply *reply, uint64_t first, uint64_t second);

#endif
