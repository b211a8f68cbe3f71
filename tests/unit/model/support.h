// SPDX-License-Identifier: MIT
// What the tests of src/model share: a struct with a field of every type and its descriptors, JSON as text, a small model
// that every check passes and that a test breaks in one place.
#ifndef TESTS_UNIT_MODEL_SUPPORT_H
#define TESTS_UNIT_MODEL_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/codec.h"
#include "model/compiled.h"

/** Every type a command or event may have, required first, then optional, then lists. */
struct support_all {
    bool flag;
    int32_t small;
    int64_t wide;
    uint64_t natural;
    double real;
    struct mim_string text;
    struct mim_string bytes;
    int64_t time;
    int64_t optional;
    struct mim_string note;
    struct mim_list numbers;
    struct mim_list tags;
};

static const struct mim_field support_fields[] = {
    MIM_FIELD(struct support_all, flag, MIM_BOOL),
    MIM_FIELD(struct support_all, small, MIM_I32),
    MIM_FIELD(struct support_all, wide, MIM_I64),
    MIM_FIELD(struct support_all, natural, MIM_U64),
    MIM_FIELD(struct support_all, real, MIM_F64),
    MIM_FIELD(struct support_all, text, MIM_STRING),
    MIM_FIELD(struct support_all, bytes, MIM_BYTES),
    MIM_FIELD(struct support_all, time, MIM_TIMESTAMP),
    MIM_FIELD(struct support_all, optional, MIM_I64, .flags = MIM_OPTIONAL, .fallback = 7),
    MIM_FIELD(struct support_all, note, MIM_STRING, .flags = MIM_OPTIONAL),
    MIM_FIELD(struct support_all, numbers, MIM_I64, .flags = MIM_OPTIONAL | MIM_LIST),
    MIM_FIELD(struct support_all, tags, MIM_STRING, .flags = MIM_OPTIONAL | MIM_LIST),
};
#define SUPPORT_FIELD_COUNT ((uint32_t)MIM_COUNT_OF(support_fields))

static inline mim_verdict_t support_decide(struct mim_decision *d, const void *state, const void *command) {
    (void)d;
    (void)state;
    (void)command;
    return mim_accept();
}

static const struct mim_command_type support_command = {
    .name = "All", .size = sizeof(struct support_all), MIM_FIELDS(support_fields), .decide = support_decide};

/** 8-aligned scratch in the test's own frame or file. */
static inline struct mim_byte_writer support_scratch(uint64_t *words, size_t count) {
    return (struct mim_byte_writer){.data = (uint8_t *)words, .capacity = count * sizeof(*words)};
}

static inline struct mim_slice support_slice(struct mim_string string) {
    return mim_slice_of(string.data, string.size);
}

/** What was written so far, as a string. */
static inline const char *support_text(struct mim_buffer *buffer) {
    mim_buffer_append(buffer, "", 1);
    buffer->size--;
    return (const char *)buffer->data;
}

static inline void support_assert_contains(const char *text, const char *part) {
    if (strstr(text, part) == NULL) {
        print_error("\"%s\" does not contain \"%s\"\n", text, part);
        fail();
    }
}

#endif
