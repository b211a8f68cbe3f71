// SPDX-License-Identifier: MIT
// The journal describes itself: the payload of a DEFINE record names an aggregate type, an event type with its fields,
// or a command, and the number by which records refer to it. Written the first time one is used.
//
//   0   1  kind (enum mim_definition_kind)     8   4  schema version (events; else 0)
//   1   1  field count                         12  2  name size, then the name
//   2   2  number (from 1, per kind)           then per field: u8 type, u8 flags (1: optional, 2: list), u8 name
//   4   2  aggregate type's number (0: none)           size, name, i64 fallback
//   6   2  reserved, zero
#ifndef MIM_JOURNAL_DEFINITION_H
#define MIM_JOURNAL_DEFINITION_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"

enum mim_definition_kind { MIM_DEFINE_AGGREGATE = 1, MIM_DEFINE_EVENT = 2, MIM_DEFINE_COMMAND = 3 };

#define MIM_DEFINITION_FLAGS 3u /* the flags that are journaled: optional, list */

struct mim_definition_field {
    uint8_t type; /* enum mim_field_type of memimage/model.h */
    uint8_t flags;
    int64_t fallback;
    struct mim_slice name;
};

/** Slices borrow the payload it was decoded from (or what the caller put in). */
struct mim_definition {
    uint8_t kind;
    uint16_t number;
    uint16_t aggregate;
    uint32_t version;
    struct mim_slice name;
    uint32_t field_count;
    struct mim_definition_field fields[MIM_FIELDS_MAX];
};

/** Encodes into the writer; false on overflow, or when it is one that decode would refuse. */
bool mim_definition_encode(const struct mim_definition *definition, struct mim_byte_writer *writer);
/** Decodes; DAMAGED when malformed. */
MIM_CHECKED int mim_definition_decode(struct mim_slice payload, struct mim_definition *ret_definition,
                                      struct mim_error *reterr);

#endif
