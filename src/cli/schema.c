// SPDX-License-Identifier: MIT
// memimage schema: the model's commands, events and states as a document for other tools.
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/model_option.h"
#include "cli/options.h"
#include "model/codec.h"

static int format_parse(const char *word, enum mim_schema_format *ret_format, struct mim_error *reterr) {
    static const char *const words[] = {
        [MIM_SCHEMA_JSON] = "json", [MIM_SCHEMA_JSONSCHEMA] = "jsonschema", [MIM_SCHEMA_ASYNCAPI] = "asyncapi"};
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(words[i], word) == 0) {
            *ret_format = (enum mim_schema_format)i;
            return 0;
        }
    }
    return mim_error_set(reterr, MIM_E_USAGE, "--format must be json, jsonschema or asyncapi, not \"%s\"", word);
}

static void line_begin(struct mim_buffer *out, unsigned depth) {
    mim_buffer_append(out, "\n", 1);
    for (unsigned i = 0; i < depth; i++) {
        mim_buffer_append(out, "  ", 2);
    }
}

/** Compact JSON, broken into lines for people. A parser would lose the largest 64-bit bounds on the way. */
static void indent(const struct mim_buffer *compact, struct mim_buffer *out) {
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < compact->size; i++) {
        char c = (char)compact->data[i];
        if (quoted) {
            mim_buffer_append(out, &c, 1);
            if (c == '\\') {
                mim_buffer_append(out, &compact->data[++i], 1);
            }
            quoted = c != '"';
            continue;
        }
        char next = i + 1 < compact->size ? (char)compact->data[i + 1] : '\0';
        bool empty = (c == '{' && next == '}') || (c == '[' && next == ']');
        quoted = c == '"';
        if ((c == '}' || c == ']') && depth > 0 && (char)compact->data[i - 1] != '{' &&
            (char)compact->data[i - 1] != '[') {
            line_begin(out, --depth);
        }
        mim_buffer_append(out, &c, 1);
        if ((c == '{' || c == '[') && !empty) {
            line_begin(out, ++depth);
        } else if (c == ',') {
            line_begin(out, depth);
        } else if (c == ':') {
            mim_buffer_append(out, " ", 1);
        }
    }
    mim_buffer_append(out, "\n", 1);
}

static int schema_print(const struct mim_compiled *compiled, enum mim_schema_format format, struct mim_error *reterr) {
    struct mim_buffer compact = {0};
    struct mim_buffer lines = {0};
    struct mim_json j = mim_json_to(&compact);
    mim_schema_document(&j, compiled, format);
    indent(&compact, &lines);
    bool written = fwrite(lines.data, 1, lines.size, stdout) == lines.size && fflush(stdout) == 0;
    mim_buffer_deinit(&compact);
    mim_buffer_deinit(&lines);
    return written ? 0 : mim_error_set(reterr, MIM_E_IO, "cannot write the document");
}

int mim_cli_schema(int argc, char **argv) {
    const char *model = "ledger";
    const char *word = "json";
    const struct mim_option items[] = {
        {"model", MIM_OPTION_TEXT, &model, "NAME|FILE.so", "the model (default ledger)", 0, 0},
        {"format", MIM_OPTION_TEXT, &word, "json|jsonschema|asyncapi", "what to print (default json)", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage schema [--model NAME|FILE.so] [--format json|jsonschema|asyncapi]",
        .about =
            "Prints what a model's commands, events and states look like: as SCHEMA tells it (json), as JSON Schema\n"
            "2020-12 (jsonschema), or as an AsyncAPI 3.0 document of what FOLLOW sends (asyncapi).",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    rc = rc != 0 ? rc : mim_options_none(argv, positional, &error);
    if (rc > 0) {
        return 0;
    }
    enum mim_schema_format format = MIM_SCHEMA_JSON;
    struct mim_compiled *compiled = NULL;
    rc = rc != 0 ? rc : format_parse(word, &format, &error);
    rc = rc != 0 ? rc : mim_cli_model(model, &compiled, &error);
    rc = rc != 0 ? rc : schema_print(compiled, format, &error);
    (void)mim_compiled_free(compiled);
    return rc == 0 ? 0 : mim_cli_fail("schema", &error);
}
