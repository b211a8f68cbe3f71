// SPDX-License-Identifier: MIT
// One NDJSON line of `load` as a RESP request.
#ifndef MIM_CLI_LOAD_LINE_H
#define MIM_CLI_LOAD_LINE_H

#include "base/bytes.h"
#include "base/error.h"
#include "model/codec.h"

/** Appends DO type/id Command fields options as a RESP array. INVALID with a sentence when the line is not of the form
 *  {"do":"type/id","command":"Name","data":{...},"if":V,"id":K,"corr":C,"cause":C,"by":A}; nothing is appended then. */
MIM_CHECKED int mim_load_line(struct mim_slice line, struct mim_buffer *out, struct mim_error *reterr);

#endif
