// SPDX-License-Identifier: MIT
// Codecs from descriptors: command and event structs <-> journal payload, RESP field/value pairs, JSON.
//
// Payload format: the fields in descriptor order, packed without padding, little-endian: bool 1 byte, i32 4,
// i64/u64/f64/timestamp 8, string and bytes u32 size (0xffffffff: absent) + bytes, list u32 count + items. Fields
// at the end that have their fallback value (integers; zero for bool and f64), are absent or are empty optional lists are left out; a
// decoder fills what is missing with fallback/absent. So old events read under an appended descriptor, and an
// absent optional note costs nothing.
#ifndef MIM_MODEL_CODEC_H
#define MIM_MODEL_CODEC_H

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "journal/definition.h"
#include "memimage/model.h"

/** Writes the payload of a struct; returns its size, which is at most the struct's own and that of what it borrows. */
size_t mim_payload_encode(const struct mim_field *fields, uint32_t field_count, const void *object, uint8_t *ret_bytes);
/** Fills a struct (all its fields, zeroed or not) from a payload; strings and lists of strings borrow the payload
 *  or the scratch (lists are laid out there, 8-aligned). False: malformed, or scratch too small. */
bool mim_payload_decode(const struct mim_field *fields, uint32_t field_count, struct mim_slice payload, void *object,
                        struct mim_byte_writer *scratch);

/** One field of a request: RESP gives text, JSON gives typed values behind the same face. */
struct mim_argument {
    struct mim_slice name;
    struct mim_slice value;
};

/** Fills a command struct from field/value pairs: every required field present, none unknown, none twice (unless a list),
 *  right type, within range; strings valid UTF-8 without NUL. Strings borrow the arguments; lists and decoded bytes go to scratch.
 *  INVALID with the sentence for BADARG: "amount: must be an integer >= 1". */
MIM_CHECKED int mim_command_from_arguments(const struct mim_command_type *type, const struct mim_argument *arguments,
                                           size_t count, void *command, struct mim_byte_writer *scratch,
                                           struct mim_error *reterr);
/** The same from a JSON object (jansson at the edge; duplicate keys and trailing bytes rejected, depth bounded). */
MIM_CHECKED int mim_command_from_json(const struct mim_command_type *type, struct mim_slice json, void *command,
                                      struct mim_byte_writer *scratch, struct mim_error *reterr);

/** Valid aggregate id: 1..MIM_ID_SIZE_MAX bytes of UTF-8 without control characters (< 0x20, 0x7f) and spaces. */
bool mim_id_valid(struct mim_slice id);
/** Valid UTF-8 (no surrogates, no overlong forms, no NUL). */
bool mim_utf8_valid(struct mim_slice text);

/** A growing output buffer (heap, reused: reset keeps the memory). Aborts when out of memory (a crash is a tested state). */
struct mim_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
};
void mim_buffer_grow(struct mim_buffer *buffer, size_t more);
/** Makes room for `more` bytes behind the size. */
static inline void mim_buffer_reserve(struct mim_buffer *buffer, size_t more) {
    if (MIM_UNLIKELY(more > buffer->capacity - buffer->size)) {
        mim_buffer_grow(buffer, more);
    }
}
static inline void mim_buffer_append(struct mim_buffer *buffer, const void *data, size_t size) {
    mim_buffer_reserve(buffer, size);
    if (size > 0) {
        memcpy(buffer->data + buffer->size, data, size);
    }
    buffer->size += size;
}
static inline void mim_buffer_byte(struct mim_buffer *buffer, char byte) {
    mim_buffer_reserve(buffer, 1);
    buffer->data[buffer->size++] = (uint8_t)byte;
}
static inline void mim_buffer_text(struct mim_buffer *buffer, const char *text) {
    mim_buffer_append(buffer, text, strlen(text));
}
void mim_buffer_deinit(struct mim_buffer *buffer);

/** A JSON document being written (compact, UTF-8; control characters, quotes and backslashes escaped). */
#define MIM_JSON_DEPTH_MAX 32u
struct mim_json {
    struct mim_buffer *out;
    uint32_t depth;
    uint32_t need_comma; /* bit per depth */
    bool after_key;
};
static inline struct mim_json mim_json_to(struct mim_buffer *out) { return (struct mim_json){.out = out}; }
/** A key that is the name of a field: letters, digits and underscores (checked with its model), nothing to escape. */
void mim_json_name(struct mim_json *j, const char *name);
/** Raw JSON, verbatim, as one value. */
void mim_json_raw(struct mim_json *j, struct mim_slice json);
/** A command or event struct as a JSON object (absent optional fields left out; bytes as base64, timestamps RFC 3339). */
void mim_json_struct(struct mim_json *j, const struct mim_field *fields, uint32_t field_count, const void *object);
/** A payload as a JSON object by its journaled definition alone: no model. False: malformed. */
bool mim_json_payload(struct mim_json *j, const struct mim_definition *definition, struct mim_slice payload);
/** A state struct in the image as a JSON object, all fields but hidden ones. */
struct mim_arena;
void mim_json_image_state(struct mim_json *j, const struct mim_arena *arena, const struct mim_field *fields,
                          uint32_t field_count, const void *state);

/** Canonical, layout-independent hash of a state's shown fields (names and values) continued from `seed`. */
uint64_t mim_state_hash(const struct mim_arena *arena, const struct mim_field *fields, uint32_t field_count,
                        const void *state, uint64_t seed);

/** SCHEMA: JSON of one aggregate type (index) or of the whole model (-1): commands, events with versions and fields,
 *  state, queries. (schema.c) */
struct mim_compiled;
void mim_schema_json(struct mim_json *j, const struct mim_compiled *compiled, int aggregate);
/** The same for other tools: JSON Schema 2020-12 of commands, events (each version) and states; AsyncAPI 3.0 of what
 *  FOLLOW sends, with the same schemas. (schema_document.c) */
enum mim_schema_format { MIM_SCHEMA_JSON, MIM_SCHEMA_JSONSCHEMA, MIM_SCHEMA_ASYNCAPI };
void mim_schema_document(struct mim_json *j, const struct mim_compiled *compiled, enum mim_schema_format format);
/** "i64" of an enum mim_field_type, also of a journaled one; "?" for a number that is none. */
const char *mim_field_type_name(unsigned type);

#endif
