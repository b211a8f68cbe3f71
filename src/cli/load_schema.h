// SPDX-License-Identifier: MIT
// What the server's SCHEMA says about the fields of commands: which JSON values may be sent as plain field and value,
// because they mean the same there. Everything else goes as the JSON it is.
#ifndef MIM_CLI_LOAD_SCHEMA_H
#define MIM_CLI_LOAD_SCHEMA_H

#include "base/bytes.h"
#include "base/error.h"

enum mim_load_field {
    MIM_LOAD_OTHER,   /* unknown, or text and JSON differ (bytes, lists, timestamps, floats) */
    MIM_LOAD_STRING,  /* a JSON string */
    MIM_LOAD_INTEGER, /* a JSON integer */
    MIM_LOAD_BOOL,    /* true or false */
};

struct mim_load_schema;
struct mim_load_command;

/** Reads the reply of SCHEMA. INVALID when it is not one; MEMORY. */
MIM_CHECKED int mim_load_schema_new(struct mim_slice json, struct mim_load_schema **ret_schema,
                                    struct mim_error *reterr);
struct mim_load_schema *mim_load_schema_free(struct mim_load_schema *schema);
/** The command of an aggregate "type/id"; NULL when unknown (or no schema). */
const struct mim_load_command *mim_load_schema_command(struct mim_load_schema *schema, struct mim_slice aggregate,
                                                       struct mim_slice command);
enum mim_load_field mim_load_command_field(const struct mim_load_command *command, struct mim_slice name);

#endif
