// SPDX-License-Identifier: MIT
// One field of one struct: for the codecs, and for the engine where it looks into an event's struct.
#ifndef MIM_MODEL_FIELD_H
#define MIM_MODEL_FIELD_H

#include "base/assert.h"
#include "base/limits.h"
#include "model/codec.h"

static inline void *mim_field_at(const struct mim_field *field, void *object) {
    return (uint8_t *)object + field->offset;
}
static inline const void *mim_field_at_const(const struct mim_field *field, const void *object) {
    return (const uint8_t *)object + field->offset;
}

/** Bytes of a fixed-size value, in structs and payloads alike. */
static inline size_t mim_field_scalar_size(enum mim_field_type type) {
    return type == MIM_BOOL ? 1 : type == MIM_I32 ? 4 : 8;
}

/** What a missing field reads as. */
void mim_field_fill_default(const struct mim_field *field, void *at);

/** 8-aligned memory from a scratch writer, NULL when there is too little. */
static inline void *mim_scratch_take(struct mim_byte_writer *scratch, size_t size) {
    size_t at = (size_t)mim_align8(scratch->size);
    if (scratch->overflow || at > scratch->capacity || size > scratch->capacity - at) {
        scratch->overflow = true;
        return NULL;
    }
    scratch->size = at + size;
    return scratch->data + at;
}

/** Checks a filled-in value against min, max and flags; INVALID with the sentence. */
MIM_CHECKED int mim_field_check(const struct mim_field *field, const void *at, struct mim_error *reterr);
/** Every required field was given (bit per field), the others get their defaults. */
MIM_CHECKED int mim_fields_complete(const struct mim_command_type *type, uint64_t given, void *command,
                                    struct mim_error *reterr);
/** Index of a field by name; field_count when unknown. */
uint32_t mim_field_find(const struct mim_field *fields, uint32_t field_count, struct mim_slice name);
/** Says what a field expects: "must be an integer >= 1". */
int mim_field_expected(const struct mim_field *field, struct mim_error *reterr);

/** A list field from the text of a JSON array. (json_read.c) */
MIM_CHECKED int mim_field_list_from_json(const struct mim_field *field, struct mim_slice json, void *at,
                                         struct mim_byte_writer *scratch, struct mim_error *reterr);

/** RFC 3339 string; base64 string. (json_write.c) */
void mim_json_time(struct mim_json *j, int64_t unix_ms);
void mim_json_bytes(struct mim_json *j, struct mim_slice bytes);

/* base64 (RFC 4648, padded) */
size_t mim_base64_size(size_t size);
void mim_base64_encode(struct mim_slice bytes, char *ret_text);
/** False when malformed. ret_bytes holds at least size / 4 * 3. */
bool mim_base64_decode(struct mim_slice text, uint8_t *ret_bytes, size_t *ret_size);

#endif
