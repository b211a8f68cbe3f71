// SPDX-License-Identifier: MIT
// NDJSON to RESP by jansson: for the lines that the fast path leaves, and for all errors. Data goes as JSON.
#include "cli/load_line.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/** The request as it grows: arguments behind each other, counted for the array's head. */
struct request {
    struct mim_buffer *out;
    unsigned count;
};

static void put_argument(struct request *request, const char *data, size_t size) {
    char head[24];
    int head_size = snprintf(head, sizeof(head), "$%zu\r\n", size);
    mim_buffer_append(request->out, head, (size_t)head_size);
    mim_buffer_append(request->out, data, size);
    mim_buffer_append(request->out, "\r\n", 2);
    request->count++;
}

static void put_text(struct request *request, const char *text) { put_argument(request, text, strlen(text)); }

/** A string or an integer. */
static void put_scalar(struct request *request, const json_t *value) {
    char text[40];
    if (json_is_string(value)) {
        put_argument(request, json_string_value(value), json_string_length(value));
    } else {
        (void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        put_text(request, text);
    }
}

static int line_wrong(struct mim_error *reterr, const char *what) {
    return mim_error_set(reterr, MIM_E_INVALID, "%s", what);
}

/** The keys that are options of DO. */
static const char *option_of(const char *key) {
    static const char *const options[][2] = {
        {"if", "@if"}, {"id", "@id"}, {"corr", "@corr"}, {"cause", "@cause"}, {"by", "@by"}};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (strcmp(options[i][0], key) == 0) {
            return options[i][1];
        }
    }
    return NULL;
}

static int put_options(struct request *request, json_t *root, struct mim_error *reterr) {
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        const char *option = option_of(key);
        if (option != NULL && (json_is_string(value) || json_is_integer(value))) {
            put_text(request, option);
            put_scalar(request, value);
        } else if (option != NULL && !json_is_null(value)) {
            return mim_error_set(reterr, MIM_E_INVALID, "\"%s\" must be a string or an integer", key);
        } else if (option == NULL && strcmp(key, "do") != 0 && strcmp(key, "command") != 0 &&
                   strcmp(key, "data") != 0) {
            return mim_error_set(reterr, MIM_E_INVALID, "unknown member \"%.60s\"", key);
        }
    }
    return 0;
}

static int put_request(struct request *request, json_t *root, struct mim_error *reterr) {
    json_t *aggregate = json_object_get(root, "do");
    json_t *command = json_object_get(root, "command");
    json_t *data = json_object_get(root, "data");
    if (!json_is_object(root) || !json_is_string(aggregate) || !json_is_string(command)) {
        return line_wrong(reterr, "a line is {\"do\":\"type/id\",\"command\":\"Name\",\"data\":{...}, ...}");
    }
    if (data != NULL && !json_is_object(data)) {
        return line_wrong(reterr, "\"data\" must be an object");
    }
    put_text(request, "DO");
    put_scalar(request, aggregate);
    put_scalar(request, command);
    if (data != NULL) {
        char *text = json_dumps(data, JSON_COMPACT);
        if (text == NULL) {
            return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
        }
        put_text(request, text);
        free(text);
    }
    return put_options(request, root, reterr);
}

int mim_load_line(struct mim_load_schema *schema, struct mim_slice line, struct mim_buffer *out,
                  struct mim_error *reterr) {
    if (mim_load_fast(schema, line, out)) {
        return 0;
    }
    static struct mim_buffer body;
    json_error_t why;
    body.size = 0;
    struct request request = {.out = &body};
    json_t *root = json_loadb((const char *)line.data, line.size, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL) {
        return mim_error_set(reterr, MIM_E_INVALID, "malformed JSON at byte %d: %s", why.position, why.text);
    }
    int rc = put_request(&request, root, reterr);
    json_decref(root);
    if (rc == 0) {
        char head[24];
        int size = snprintf(head, sizeof(head), "*%u\r\n", request.count);
        mim_buffer_append(out, head, (size_t)size);
        mim_buffer_append(out, body.data, body.size);
    }
    return rc;
}
