// SPDX-License-Identifier: MIT
// What a primary says, cut into messages: the part of RESP2 that it uses. A message is a status, an error, an integer, a
// bulk string, or an array of at most MIM_INBOX_PARTS of these. Slices point into the inbox: nothing is copied twice.
// Bounded: a message that would not fit is an error before its bytes are waited for.
#ifndef MIM_REPLICA_INBOX_H
#define MIM_REPLICA_INBOX_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"

#define MIM_INBOX_PARTS    8u
#define MIM_INBOX_SIZE_MAX (MIM_FRAME_SIZE_MAX + (1u << 20)) /* the largest frame and what stands around it */
#define MIM_INBOX_LINE_MAX 1024u

enum mim_inbox_kind { MIM_INBOX_STATUS = 1, MIM_INBOX_ERROR, MIM_INBOX_INTEGER, MIM_INBOX_BULK, MIM_INBOX_ARRAY };

struct mim_inbox_message {
    enum mim_inbox_kind kind;
    struct mim_slice text; /* of STATUS, ERROR, BULK */
    int64_t integer;
    size_t count;                            /* of ARRAY */
    struct mim_slice parts[MIM_INBOX_PARTS]; /* bulk strings, or integers as digits */
    size_t size;                             /* bytes it takes in the inbox */
};

/** `{0}` is an empty one. */
struct mim_inbox {
    uint8_t *data;
    size_t begin, end, capacity;
};

void mim_inbox_deinit(struct mim_inbox *inbox);
/** Room for at least `size` more bytes; NULL when out of memory. */
uint8_t *mim_inbox_room(struct mim_inbox *inbox, size_t size);
/** Takes in what was put there. */
void mim_inbox_filled(struct mim_inbox *inbox, size_t size);
/** The first message, borrowed until the next call but `drop`. AGAIN: not whole yet; INVALID: not what a primary says. */
MIM_CHECKED int mim_inbox_peek(const struct mim_inbox *inbox, struct mim_inbox_message *ret_message,
                               struct mim_error *reterr);
/** Done with a message of this size. */
void mim_inbox_drop(struct mim_inbox *inbox, size_t size);

#endif
