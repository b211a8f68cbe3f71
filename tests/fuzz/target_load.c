// SPDX-License-Identifier: MIT
// Lines of `memimage load`: the fast path and jansson agree on what a line is, and what comes out is one request.
// Input: a line.
#include <jansson.h>

#include "cli/load_line.h"
#include "fuzz.h"
#include "server/resp_parse.h"

/* Repeated members and integers beyond i64 within "data" are for the server to refuse: the fast path passes them on. */
#define LENIENT JSON_DECODE_INT_AS_REAL

static bool is_text(const json_t *value, const uint8_t *data, struct mim_resp_span span) {
    return json_is_string(value) && mim_slice_equal(mim_slice_of(json_string_value(value), json_string_length(value)),
                                                    mim_slice_of(data + span.offset, span.size));
}

/** The request is one whole RESP array that says what the line says. */
static void check_request(struct mim_buffer *out, const json_t *root) {
    struct mim_resp_parser parser;
    const struct mim_resp_limits limits = {
        .arguments_max = 64, .argument_size_max = 1 << 20, .request_size_max = 1 << 20, .inline_size_max = 1 << 16};
    mim_resp_init(&parser, &limits);
    FUZZ_REQUIRE(mim_resp_parse(&parser, out->data, out->size) == MIM_RESP_READY);
    FUZZ_REQUIRE(parser.offset == out->size && parser.count >= 3);
    FUZZ_REQUIRE(is_text(json_object_get(root, "do"), out->data, parser.spans[1]));
    FUZZ_REQUIRE(is_text(json_object_get(root, "command"), out->data, parser.spans[2]));
    const json_t *data = json_object_get(root, "data");
    if (data != NULL) {
        FUZZ_REQUIRE(parser.count >= 4);
        struct mim_resp_span span = parser.spans[3];
        json_t *sent = json_loadb((const char *)out->data + span.offset, span.size, LENIENT, NULL);
        FUZZ_REQUIRE(sent != NULL && json_equal(sent, data));
        json_decref(sent);
    }
    mim_resp_deinit(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct mim_slice line = mim_slice_of(fuzz_copy(mim_slice_of(data, size)), size);
    struct mim_buffer out = {0};
    struct mim_error error = {0};
    json_error_t why;
    json_t *root = json_loadb((const char *)line.data, line.size, LENIENT, &why);
    bool fast = mim_load_fast(NULL, line, &out);
    FUZZ_REQUIRE(fast || out.size == 0);
    FUZZ_REQUIRE(!fast || root != NULL);
    if (fast) {
        check_request(&out, root);
        out.size = 0;
    }
    int rc = mim_load_line(NULL, line, &out, &error);
    FUZZ_REQUIRE(rc == 0 || (rc == MIM_E_INVALID && error.text[0] != '\0' && out.size == 0));
    FUZZ_REQUIRE(rc == 0 || !fast);
    if (rc == 0) {
        check_request(&out, root);
    }
    json_decref(root);
    mim_buffer_deinit(&out);
    free((void *)(uintptr_t)line.data);
    return 0;
}
