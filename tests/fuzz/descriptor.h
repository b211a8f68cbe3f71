// SPDX-License-Identifier: MIT
// A descriptor table made from the input: up to 12 fields of any type, each with a cell of its own in the struct.
#ifndef MIM_TESTS_FUZZ_DESCRIPTOR_H
#define MIM_TESTS_FUZZ_DESCRIPTOR_H

#include "fuzz.h"
#include "journal/definition.h"
#include "model/codec.h"

#define FUZZ_FIELDS_MAX 12u
#define FUZZ_CELL       sizeof(struct mim_string)
#define FUZZ_CELLS      (FUZZ_FIELDS_MAX * FUZZ_CELL / sizeof(uint64_t))

struct fuzz_descriptor {
    struct mim_field fields[FUZZ_FIELDS_MAX];
    uint32_t count;
};

/** Two bytes a field: type, flags. */
static inline void fuzz_descriptor(struct fuzz_input *in, bool bounds, struct fuzz_descriptor *ret) {
    static const char *const names[FUZZ_FIELDS_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};
    *ret = (struct fuzz_descriptor){.count = fuzz_u8(in) % (FUZZ_FIELDS_MAX + 1u)};
    for (uint32_t i = 0; i < ret->count; i++) {
        uint8_t type = fuzz_u8(in);
        uint8_t flags = fuzz_u8(in);
        struct mim_field *field = &ret->fields[i];
        *field = (struct mim_field){.name = names[i],
                                    .type = (enum mim_field_type)(MIM_BOOL + type % MIM_TIMESTAMP),
                                    .offset = (uint32_t)(i * FUZZ_CELL),
                                    .flags = flags & (MIM_OPTIONAL | MIM_LIST)};
        bool integer =
            field->type == MIM_I32 || field->type == MIM_I64 || field->type == MIM_U64 || field->type == MIM_TIMESTAMP;
        if (field->type == MIM_STRING && (field->flags & MIM_LIST) == 0) {
            field->flags |= flags & (MIM_LETTERS | MIM_ID);
        }
        if (integer && (field->flags & MIM_LIST) == 0) {
            field->fallback = (field->flags & MIM_OPTIONAL) != 0 ? flags >> 4 & 3 : 0;
            field->max = bounds && (flags & 64) != 0 ? 100 : 0;
        }
    }
}

/** The same as the journal tells it. */
static inline void fuzz_define(const struct fuzz_descriptor *descriptor, struct mim_definition *ret_definition) {
    *ret_definition = (struct mim_definition){.kind = MIM_DEFINE_EVENT,
                                              .number = 1,
                                              .aggregate = 1,
                                              .version = 1,
                                              .name = mim_slice_text("Any"),
                                              .field_count = descriptor->count};
    for (uint32_t i = 0; i < descriptor->count; i++) {
        ret_definition->fields[i] =
            (struct mim_definition_field){.type = (uint8_t)descriptor->fields[i].type,
                                          .flags = (uint8_t)(descriptor->fields[i].flags & MIM_DEFINITION_FLAGS),
                                          .fallback = descriptor->fields[i].fallback,
                                          .name = mim_slice_text(descriptor->fields[i].name)};
    }
}

/** Scratch for lists, as large as a transaction's. */
static inline struct mim_byte_writer fuzz_scratch(unsigned which) {
    static uint64_t words[2][1 << 18];
    return (struct mim_byte_writer){.data = (uint8_t *)words[which], .capacity = sizeof(words[which])};
}

#endif
