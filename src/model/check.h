// SPDX-License-Identifier: MIT
// Checks of one descriptor table, and what a field takes.
#ifndef MIM_MODEL_CHECK_H
#define MIM_MODEL_CHECK_H

#include "base/error.h"
#include "memimage/model.h"

/** One struct with its fields, and how to name it in messages. */
struct mim_check_table {
    const char *where; /* "account.Deposited" */
    const char *kind;  /* "event" */
    const char *name;
    const struct mim_field *fields;
    uint32_t count;
    uint32_t size; /* of the struct */
    bool state;    /* it lies in the image */
};

/** Bytes a field takes in its struct; 0: the type is not allowed there. state: it lies in the image. */
uint32_t mim_check_field_size(const struct mim_field *field, bool state);
/** Name, types, offsets, bounds, duplicates, overlaps. MODEL. */
MIM_CHECKED int mim_check_fields(const struct mim_check_table *table, struct mim_error *reterr);
/** MODEL with "where: what is missing" unless present. */
MIM_CHECKED int mim_check_missing(const char *where, const char *what, bool present, struct mim_error *reterr);

#endif
