// SPDX-License-Identifier: MIT
// Payloads as they stand in a journal, against any descriptor: the model and the journal's own definition agree on what
// is well-formed, and on what it says; what was read is written the same.
// Input: a descriptor, then the payload.
#include "descriptor.h"

static struct fuzz_descriptor descriptor;
static struct mim_definition definition;
static struct mim_buffer with;
static struct mim_buffer without;

static struct mim_slice shown(struct mim_buffer *out, const void *object) {
    out->size = 0;
    struct mim_json j = mim_json_to(out);
    mim_json_struct(&j, descriptor.fields, descriptor.count, object);
    return mim_slice_of(out->data, out->size);
}

/** Written again and read again it says the same, and what is written is never longer. */
static void write_again(const void *object, size_t payload_size) {
    uint8_t *payload = malloc(payload_size + 1);
    FUZZ_REQUIRE(payload != NULL);
    size_t size = mim_payload_encode(descriptor.fields, descriptor.count, object, payload);
    FUZZ_REQUIRE(size <= payload_size);
    uint64_t back[FUZZ_CELLS];
    struct mim_byte_writer scratch = fuzz_scratch(1);
    FUZZ_REQUIRE(mim_payload_decode(descriptor.fields, descriptor.count, mim_slice_of(payload, size), back, &scratch));
    FUZZ_REQUIRE(mim_slice_equal(shown(&with, object), shown(&without, back)));
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input in = {.data = data, .size = size};
    fuzz_descriptor(&in, false, &descriptor);
    struct mim_slice rest = fuzz_slice(&in, fuzz_left(&in));
    uint8_t *bytes = fuzz_copy(rest);
    struct mim_slice payload = mim_slice_of(bytes, rest.size);
    uint64_t object[FUZZ_CELLS];
    struct mim_byte_writer scratch = fuzz_scratch(0);
    bool good = mim_payload_decode(descriptor.fields, descriptor.count, payload, object, &scratch);
    fuzz_define(&descriptor, &definition);
    without.size = 0;
    struct mim_json j = mim_json_to(&without);
    FUZZ_REQUIRE(mim_json_payload(&j, &definition, payload) == good || scratch.overflow);
    if (good) {
        FUZZ_REQUIRE(mim_slice_equal(mim_slice_of(without.data, without.size), shown(&with, object)));
        write_again(object, payload.size);
    }
    free(bytes);
    return 0;
}
