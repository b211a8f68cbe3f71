// SPDX-License-Identifier: MIT
// UTF-8, aggregate ids and base64 against plain definitions of them.
#include "fuzz.h"
#include "model/field.h"

/** RFC 3629 to the letter, a code point at a time; returns its size, 0 when malformed. */
static size_t code_point(const uint8_t *at, size_t left, uint32_t *ret_code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = at[0];
    size_t size = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 0;
    if (size == 0 || size > left) {
        return 0;
    }
    uint32_t code = size == 1 ? lead : lead & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (at[i] & 0x3fu);
    }
    *ret_code = code;
    return code < least[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? 0 : size;
}

/** Says whether it is UTF-8 without NUL, and whether it could be an id. */
static bool text_valid(struct mim_slice text, bool *ret_id) {
    *ret_id = text.size >= 1 && text.size <= MIM_ID_SIZE_MAX;
    uint32_t code;
    for (size_t at = 0, step; at < text.size; at += step) {
        step = code_point(text.data + at, text.size - at, &code);
        if (step == 0 || code == 0) {
            return false;
        }
        *ret_id = *ret_id && code > 0x20 && code != 0x7f;
    }
    return true;
}

static void base64(struct mim_slice bytes) {
    size_t text_size = mim_base64_size(bytes.size);
    char *text = malloc(text_size + 1);
    uint8_t *back = malloc(text_size / 4 * 3 + 1);
    size_t back_size = 0;
    FUZZ_REQUIRE(text != NULL && back != NULL);
    mim_base64_encode(bytes, text);
    FUZZ_REQUIRE(mim_base64_decode(mim_slice_of(text, text_size), back, &back_size));
    FUZZ_REQUIRE(mim_slice_equal(mim_slice_of(back, back_size), bytes));
    free(text);
    free(back);
}

/** The input as base64 text: what is accepted means the same as the canonical text of what it gives. */
static void base64_of_anything(struct mim_slice text) {
    uint8_t *bytes = malloc(text.size / 4 * 3 + 1);
    size_t size = 0;
    FUZZ_REQUIRE(bytes != NULL);
    if (mim_base64_decode(text, bytes, &size)) {
        FUZZ_REQUIRE(size <= text.size / 4 * 3 && mim_base64_size(size) == text.size);
        base64(mim_slice_of(bytes, size));
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct mim_slice copy = mim_slice_of(fuzz_copy(mim_slice_of(data, size)), size);
    bool id;
    bool valid = text_valid(copy, &id);
    FUZZ_REQUIRE(mim_utf8_valid(copy) == valid);
    FUZZ_REQUIRE(mim_id_valid(copy) == (valid && id));
    base64(copy);
    base64_of_anything(copy);
    free((void *)(uintptr_t)copy.data);
    return 0;
}
