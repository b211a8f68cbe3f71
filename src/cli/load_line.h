// SPDX-License-Identifier: MIT
// One NDJSON line of `load` as a RESP request. Ordinary lines take a fast path without a document (load_fast.c, yajl);
// jansson has the last word on all others, and words the errors.
#ifndef MIM_CLI_LOAD_LINE_H
#define MIM_CLI_LOAD_LINE_H

#include "base/bytes.h"
#include "base/error.h"
#include "cli/load_schema.h"
#include "model/codec.h"

/** Appends DO type/id Command data options as a RESP array. Data goes as field and value where the schema (NULL: none)
 *  says that this means the same, else as JSON. INVALID with a sentence when the line is not of the form
 *  {"do":"type/id","command":"Name","data":{...},"if":V,"id":K,"corr":C,"cause":C,"by":A}; nothing is appended then. */
MIM_CHECKED int mim_load_line(struct mim_load_schema *schema, struct mim_slice line, struct mim_buffer *out,
                              struct mim_error *reterr);

/** The fast path alone: false when the line is not an ordinary one (escapes, unknown members, anything malformed);
 *  nothing is appended then. Not thread-safe. */
bool mim_load_fast(struct mim_load_schema *schema, struct mim_slice line, struct mim_buffer *out);

#endif
