// SPDX-License-Identifier: MIT
// The name of a directory, kept in its file `standby-id`: 32 hex digits and a line's end. By it a primary knows a standby
// again whose former connection it still believes in, and counts it once.
#ifndef MIM_REPLICA_IDENTITY_H
#define MIM_REPLICA_IDENTITY_H

#include "storage/storage.h"

#define MIM_IDENTITY_PATH      "standby-id"
#define MIM_IDENTITY_SIZE      32u
#define MIM_IDENTITY_TEXT_SIZE (MIM_IDENTITY_SIZE + 1)

/** True for what may stand in the file. */
bool mim_identity_valid(const char *text, size_t size);
/** Reads the name; where there is none (or no valid one) it is made of `random`, and durable when this returns. IO,
 *  NO_SPACE. */
MIM_CHECKED int mim_identity_load(struct mim_storage storage, const uint8_t random[MIM_IDENTITY_SIZE / 2],
                                  char ret_text[MIM_IDENTITY_TEXT_SIZE], struct mim_error *reterr);

#endif
