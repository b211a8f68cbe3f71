// SPDX-License-Identifier: MIT
// Commands from outside: a JSON object, or field and value pairs, against any descriptor. What is accepted keeps its
// meaning through payload and JSON; what is refused is refused with a sentence.
// Input: a byte of kind, a descriptor, then the JSON text, or name and value in turn, each ended by a zero byte.
#include "descriptor.h"

#define PAYLOAD_MAX (1u << 20) /* far more than inputs of some kilobytes make */

static struct fuzz_descriptor descriptor;
static struct mim_buffer text;
static struct mim_buffer again;

/** Beyond i64 an u64 can come from RESP only: the JSON parser has no such integers. */
static bool readable_as_json(const void *object) {
    for (uint32_t i = 0; i < descriptor.count; i++) {
        const uint8_t *at = (const uint8_t *)object + descriptor.fields[i].offset;
        struct mim_list list;
        memcpy(&list, at, sizeof(list));
        bool is_list = (descriptor.fields[i].flags & MIM_LIST) != 0;
        const uint8_t *items = is_list ? list.items : at;
        for (size_t n = 0; descriptor.fields[i].type == MIM_U64 && n < (is_list ? list.count : 1); n++) {
            if (mim_get64(items + n * sizeof(uint64_t)) > INT64_MAX) {
                return false;
            }
        }
    }
    return true;
}

/** An accepted struct as payload and back, as JSON and back. */
static void round_trip(const struct mim_command_type *command, const void *object) {
    static uint8_t payload[PAYLOAD_MAX];
    size_t size = mim_payload_encode(descriptor.fields, descriptor.count, object, payload);
    uint64_t back[FUZZ_CELLS];
    struct mim_byte_writer scratch = fuzz_scratch(1);
    FUZZ_REQUIRE(mim_payload_decode(descriptor.fields, descriptor.count, mim_slice_of(payload, size), back, &scratch));
    text.size = 0;
    again.size = 0;
    struct mim_json j = mim_json_to(&text);
    mim_json_struct(&j, descriptor.fields, descriptor.count, back);
    j = mim_json_to(&again);
    mim_json_struct(&j, descriptor.fields, descriptor.count, object);
    FUZZ_REQUIRE(mim_slice_equal(mim_slice_of(text.data, text.size), mim_slice_of(again.data, again.size)));
    if (!readable_as_json(object)) {
        return;
    }
    uint64_t third[FUZZ_CELLS];
    struct mim_error error = {0};
    scratch = fuzz_scratch(1);
    int rc = mim_command_from_json(command, mim_slice_of(text.data, text.size), third, &scratch, &error);
    if (rc != 0) {
        (void)fprintf(stderr, "%.*s: %s\n", (int)text.size, (const char *)text.data, error.text);
    }
    FUZZ_REQUIRE(rc == 0);
    again.size = 0;
    j = mim_json_to(&again);
    mim_json_struct(&j, descriptor.fields, descriptor.count, third);
    FUZZ_REQUIRE(mim_slice_equal(mim_slice_of(text.data, text.size), mim_slice_of(again.data, again.size)));
}

/** The next bytes up to a zero byte, on the heap; free. */
static struct mim_slice next_word(struct fuzz_input *in) {
    const uint8_t *from = in->data + in->at;
    size_t left = fuzz_left(in);
    const uint8_t *end = left == 0 ? NULL : memchr(from, 0, left);
    struct mim_slice word = fuzz_slice(in, end == NULL ? left : (size_t)(end - from));
    in->at += end != NULL ? 1 : 0;
    return mim_slice_of(fuzz_copy(word), word.size);
}

static int from_arguments(const struct mim_command_type *command, struct fuzz_input *in, void *object,
                          struct mim_byte_writer *scratch, struct mim_error *error, struct mim_argument *ret_arguments,
                          size_t *ret_count) {
    size_t count = 0;
    while (fuzz_left(in) > 0 && count < 32) {
        ret_arguments[count].name = next_word(in);
        ret_arguments[count++].value = next_word(in);
    }
    *ret_count = count;
    return mim_command_from_arguments(command, ret_arguments, count, object, scratch, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {.data = data, .size = size};
    uint8_t kind = fuzz_u8(&in);
    fuzz_descriptor(&in, (kind & 2) != 0, &descriptor);
    const struct mim_command_type command = {.name = "Any",
                                             .size = FUZZ_CELLS * sizeof(uint64_t),
                                             .fields = descriptor.fields,
                                             .field_count = descriptor.count};
    uint64_t object[FUZZ_CELLS];
    struct mim_byte_writer scratch = fuzz_scratch(0);
    struct mim_error error = {0};
    struct mim_argument arguments[32];
    size_t count = 0;
    uint8_t *json = NULL;
    int rc;
    if ((kind & 1) != 0) {
        rc = from_arguments(&command, &in, object, &scratch, &error, arguments, &count);
    } else {
        struct mim_slice rest = fuzz_slice(&in, fuzz_left(&in));
        json = fuzz_copy(rest);
        rc = mim_command_from_json(&command, mim_slice_of(json, rest.size), object, &scratch, &error);
    }
    FUZZ_REQUIRE(rc == 0 || (rc == MIM_E_INVALID && error.text[0] != '\0'));
    if (rc == 0) {
        round_trip(&command, object);
    }
    for (size_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)arguments[i].name.data);
        free((void *)(uintptr_t)arguments[i].value.data);
    }
    free(json);
    return 0;
}
