// SPDX-License-Identifier: MIT
// The fast path of load: yajl calls back while it scans the line, and the slices it names are sent as they stand. It
// takes a sixth of the time of building a document. Whatever is out of the ordinary is left to load_line.c.
#include "cli/load_line.h"

#ifdef MIM_HAVE_YAJL
#include <yajl/yajl_parse.h>

#include "base/limits.h"

#define MIM_LOAD_NUMBER_SIZE   300u /* digits that no real overflows with */
#define MIM_LOAD_ARGUMENT_HEAD 32u  /* "$", digits and line ends around an argument */

enum member { DO, COMMAND, DATA, IF, ID, CORR, CAUSE, BY, MEMBERS };

static const char *const member_names[MEMBERS] = {"do", "command", "data", "if", "id", "corr", "cause", "by"};
static const char *const member_options[MEMBERS] = {NULL, NULL, NULL, "@if", "@id", "@corr", "@cause", "@by"};

struct field {
    struct mim_slice name;
    struct mim_slice value;
    enum mim_load_field kind;
};

/** A line being scanned; slices borrow it. */
struct scan {
    yajl_handle handle;
    const uint8_t *line;
    unsigned depth;
    enum member member; /* the key before the value that comes next; MEMBERS: none */
    struct mim_slice values[MEMBERS];
    size_t data_from;
    size_t end; /* behind the object's last brace; 0: not there yet */
    bool plain; /* data is flat, of strings, integers and truth values */
    size_t field_count;
    struct field fields[MIM_FIELDS_MAX];
};

/** Takes a scalar in; the value of a member or of a field of data. False ends the scan. */
static int scan_value(struct scan *scan, struct mim_slice value, enum mim_load_field kind) {
    if (scan->depth == 1) {
        bool wanted = scan->member == IF ? kind == MIM_LOAD_INTEGER : kind == MIM_LOAD_STRING;
        if (scan->member == DATA || !wanted) {
            return 0;
        }
        scan->values[scan->member] = value;
        return 1;
    }
    if (scan->depth == 2) {
        scan->fields[scan->field_count].value = value;
        scan->fields[scan->field_count].kind = kind;
        scan->field_count++;
        scan->plain = scan->plain && kind != MIM_LOAD_OTHER;
    }
    return scan->depth > 0;
}

static int on_null(void *context) { return scan_value(context, mim_slice_of(NULL, 0), MIM_LOAD_OTHER); }

static int on_bool(void *context, int value) {
    return scan_value(context, mim_slice_text(value ? "true" : "false"), MIM_LOAD_BOOL);
}

/** A number that may be beyond all that a real can be is left to load_line.c, which refuses it. */
static int on_number(void *context, const char *text, size_t size) {
    if (size > MIM_LOAD_NUMBER_SIZE || memchr(text, 'e', size) != NULL || memchr(text, 'E', size) != NULL) {
        return 0;
    }
    bool integer = memchr(text, '.', size) == NULL && !(size == 2 && text[0] == '-' && text[1] == '0');
    return scan_value(context, mim_slice_of(text, size), integer ? MIM_LOAD_INTEGER : MIM_LOAD_OTHER);
}

/** The scanner takes overlong forms for UTF-8: load_line.c refuses them. */
static int on_string(void *context, const unsigned char *text, size_t size) {
    struct mim_slice value = mim_slice_of(text, size);
    return mim_utf8_valid(value) && scan_value(context, value, MIM_LOAD_STRING);
}

static int on_key(void *context, const unsigned char *text, size_t size) {
    struct scan *scan = context;
    struct mim_slice name = mim_slice_of(text, size);
    if (!mim_utf8_valid(name)) {
        return 0;
    }
    if (scan->depth == 1) {
        unsigned member = 0;
        while (member < MEMBERS && !mim_slice_equal(name, mim_slice_text(member_names[member]))) {
            member++;
        }
        scan->member = (enum member)member;
        return member < MEMBERS && scan->values[member].data == NULL; /* known, and not there yet */
    }
    if (scan->depth == 2) {
        scan->fields[scan->field_count].name = name;
        return scan->field_count + 1 < MIM_FIELDS_MAX;
    }
    return 1;
}

static int on_object(void *context) {
    struct scan *scan = context;
    scan->plain = scan->plain && scan->depth < 2;
    if (scan->depth == 1) {
        scan->data_from = yajl_get_bytes_consumed(scan->handle) - 1;
    }
    return scan->depth++ != 1 || scan->member == DATA;
}

static int on_object_end(void *context) {
    struct scan *scan = context;
    size_t end = yajl_get_bytes_consumed(scan->handle);
    scan->depth--;
    if (scan->depth == 1) {
        scan->values[DATA] = mim_slice_of(scan->line + scan->data_from, end - scan->data_from);
    } else if (scan->depth == 0) {
        scan->end = end;
        return 0; /* what follows is looked at by the caller */
    }
    return 1;
}

static int on_array(void *context) {
    struct scan *scan = context;
    scan->plain = false;
    return scan->depth++ >= 2; /* inside data only */
}

static int on_array_end(void *context) {
    ((struct scan *)context)->depth--;
    return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_bool,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_object_end,
    .yajl_start_array = on_array,
    .yajl_end_array = on_array_end,
};

static bool scan_run(struct scan *scan, struct mim_slice line) {
    scan->handle = yajl_alloc(&callbacks, NULL, scan);
    if (scan->handle == NULL) {
        return false;
    }
    yajl_status status = yajl_parse(scan->handle, line.data, line.size);
    yajl_free(scan->handle);
    bool whole = status == yajl_status_client_canceled && scan->end > 0;
    for (size_t i = scan->end; whole && i < line.size; i++) {
        whole = line.data[i] == ' ' || line.data[i] == '\t' || line.data[i] == '\r';
    }
    return whole && scan->values[DO].data != NULL && scan->values[COMMAND].data != NULL;
}

/** True when every field has the kind of value that the schema wants. */
static bool scan_as_fields(const struct scan *scan, struct mim_load_schema *schema) {
    const struct mim_load_command *command =
        scan->plain ? mim_load_schema_command(schema, scan->values[DO], scan->values[COMMAND]) : NULL;
    for (size_t i = 0; command != NULL && i < scan->field_count; i++) {
        if (mim_load_command_field(command, scan->fields[i].name) != scan->fields[i].kind) {
            return false;
        }
    }
    return command != NULL;
}

static uint8_t *put_number(uint8_t *at, char mark, size_t value) {
    uint8_t digits[20];
    unsigned count = 0;
    do {
        digits[count++] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    *at++ = (uint8_t)mark;
    while (count > 0) {
        *at++ = digits[--count];
    }
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static uint8_t *put(uint8_t *at, struct mim_slice argument) {
    at = put_number(at, '$', argument.size);
    memcpy(at, argument.data, argument.size);
    at += argument.size;
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

/** Writes the request; its room: every argument is a part of the line, or short. */
static void scan_put(const struct scan *scan, bool as_fields, size_t line_size, struct mim_buffer *out) {
    bool as_json = !as_fields && scan->values[DATA].data != NULL;
    size_t fields = as_fields ? scan->field_count : 0;
    size_t count = 3 + 2 * fields + (as_json ? 1 : 0);
    for (unsigned i = IF; i < MEMBERS; i++) {
        count += scan->values[i].data != NULL ? 2 : 0;
    }
    mim_buffer_reserve(out, line_size + (count + 1) * (size_t)MIM_LOAD_ARGUMENT_HEAD);
    uint8_t *at = put_number(out->data + out->size, '*', count);
    at = put(at, mim_slice_text("DO"));
    at = put(at, scan->values[DO]);
    at = put(at, scan->values[COMMAND]);
    for (size_t i = 0; i < fields; i++) {
        at = put(at, scan->fields[i].name);
        at = put(at, scan->fields[i].value);
    }
    if (as_json) {
        at = put(at, scan->values[DATA]);
    }
    for (unsigned i = IF; i < MEMBERS; i++) {
        if (scan->values[i].data != NULL) {
            at = put(at, mim_slice_text(member_options[i]));
            at = put(at, scan->values[i]);
        }
    }
    out->size = (size_t)(at - out->data);
}

/** Backslashes (an escaped string is not a slice of the line), and control characters that yajl takes for white space
 *  though JSON does not. */
static bool unusual(struct mim_slice line) {
    uint8_t any = 0;
    for (size_t i = 0; i < line.size; i++) {
        any |= (uint8_t)((line.data[i] == '\\') | (line.data[i] == '\f') | (line.data[i] == '\v'));
    }
    return any != 0;
}

bool mim_load_fast(struct mim_load_schema *schema, struct mim_slice line, struct mim_buffer *out) {
    if (unusual(line)) {
        return false;
    }
    static struct scan scan;
    memset(scan.values, 0, sizeof(scan.values));
    scan.line = line.data;
    scan.depth = 0;
    scan.end = 0;
    scan.member = MEMBERS;
    scan.plain = true;
    scan.field_count = 0;
    if (!scan_run(&scan, line)) {
        return false;
    }
    bool as_fields = scan.values[DATA].data == NULL || scan_as_fields(&scan, schema);
    scan_put(&scan, as_fields, line.size, out);
    return true;
}
#else
bool mim_load_fast(struct mim_load_schema *schema, struct mim_slice line, struct mim_buffer *out) {
    (void)schema;
    (void)line;
    (void)out;
    return false;
}
#endif
