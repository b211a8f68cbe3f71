// SPDX-License-Identifier: MIT
// Codecs over random descriptors and random structs: what is encoded decodes to the same, a payload shows the same JSON
// with and without the model, JSON reads back as it was written, and random bytes are refused or read, never worse.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "model/codec.h"

#define ROUNDS     20000u
#define FIELDS_MAX 12u
#define ITEMS_MAX  5u
#define TEXT_MAX   20u
#define CELL       sizeof(struct mim_string) /* every field has one in the struct */

static struct mim_prng prng;

struct random_type {
    struct mim_field fields[FIELDS_MAX];
    char names[FIELDS_MAX][16];
    uint32_t count;
};

/** A struct of random values and what they borrow. */
struct random_object {
    uint64_t cells[FIELDS_MAX * CELL / sizeof(uint64_t)];
    uint64_t items[FIELDS_MAX][ITEMS_MAX * CELL / sizeof(uint64_t)];
    char texts[FIELDS_MAX][ITEMS_MAX][TEXT_MAX];
};

static uint64_t below(uint64_t bound) { return mim_prng_below(&prng, bound); }

static size_t item_size(enum mim_field_type type) {
    return type == MIM_BOOL                          ? 1
           : type == MIM_I32                         ? 4
           : type == MIM_STRING || type == MIM_BYTES ? sizeof(struct mim_string)
                                                     : 8;
}

static void random_type(struct random_type *type) {
    type->count = (uint32_t)below(FIELDS_MAX + 1);
    for (uint32_t i = 0; i < type->count; i++) {
        struct mim_field *field = &type->fields[i];
        (void)snprintf(type->names[i], sizeof(type->names[i]), "f%u", i);
        *field = (struct mim_field){.name = type->names[i],
                                    .type = (enum mim_field_type)(MIM_BOOL + below(MIM_TIMESTAMP)),
                                    .offset = (uint32_t)(i * CELL)};
        field->flags = (uint32_t)(below(3) == 0 ? MIM_LIST : 0) | (uint32_t)(below(2) == 0 ? MIM_OPTIONAL : 0);
        bool integer =
            field->type == MIM_I32 || field->type == MIM_I64 || field->type == MIM_U64 || field->type == MIM_TIMESTAMP;
        if (integer && (field->flags & MIM_OPTIONAL) != 0 && (field->flags & MIM_LIST) == 0) {
            field->fallback = (int64_t)below(4);
        }
    }
}

/** Mostly the values at which things happen. */
static uint64_t random_number(enum mim_field_type type) {
    static const uint64_t special[] = {0, 1, 2, 3, UINT64_MAX, INT64_MAX, (uint64_t)INT64_MIN, UINT32_MAX, INT32_MAX};
    uint64_t value = below(2) == 0 ? special[below(MIM_COUNT_OF(special))] : mim_prng_next(&prng);
    if (type == MIM_TIMESTAMP) {
        return value % 253402300800000u; /* what RFC 3339 can say */
    }
    if (type == MIM_U64) {
        return value & INT64_MAX; /* what the JSON parser can read */
    }
    if (type == MIM_F64) {
        double real = (double)(int64_t)value / (double)(1 + below(1000));
        memcpy(&value, &real, sizeof(value));
    }
    return value;
}

static struct mim_string random_text(enum mim_field_type type, char room[TEXT_MAX]) {
    static const char *const pieces[] = {"a", "\"", "\\", "\n", "\x01", "\xc3\xa9", "\xf0\x9f\x98\x80", "/", "\x7f"};
    size_t wanted = below(TEXT_MAX - 4);
    size_t size = 0;
    while (size < wanted) {
        const char *piece = pieces[below(MIM_COUNT_OF(pieces))];
        memcpy(room + size, piece, strlen(piece));
        size += strlen(piece);
    }
    for (size_t i = 0; type == MIM_BYTES && i < size; i++) {
        room[i] = (char)below(256);
    }
    return (struct mim_string){room, size};
}

static void random_item(enum mim_field_type type, void *at, char room[TEXT_MAX]) {
    if (type == MIM_STRING || type == MIM_BYTES) {
        struct mim_string text = random_text(type, room);
        memcpy(at, &text, sizeof(text));
    } else if (type == MIM_BOOL) {
        *(bool *)at = below(2) == 1;
    } else {
        uint64_t number = random_number(type);
        memcpy(at, &number, item_size(type));
    }
}

static void random_object(const struct random_type *type, struct random_object *object) {
    memset(object, 0, sizeof(*object));
    for (uint32_t i = 0; i < type->count; i++) {
        const struct mim_field *field = &type->fields[i];
        uint8_t *at = (uint8_t *)object->cells + field->offset;
        if ((field->flags & MIM_LIST) != 0) {
            struct mim_list list = {.items = object->items[i], .count = below(ITEMS_MAX + 1)};
            for (size_t k = 0; k < list.count; k++) {
                random_item(field->type, (uint8_t *)object->items[i] + k * item_size(field->type), object->texts[i][k]);
            }
            memcpy(at, &list, sizeof(list));
        } else if ((field->flags & MIM_OPTIONAL) != 0 && below(2) == 0) {
            if (field->type != MIM_F64 && field->type != MIM_BOOL) {
                memcpy(at, &field->fallback, item_size(field->type) < 8 ? 4 : 8); /* left out; absent for texts */
            }
        } else {
            random_item(field->type, at, object->texts[i][0]);
        }
    }
}

static void assert_item_equal(enum mim_field_type type, const void *a, const void *b) {
    if (type != MIM_STRING && type != MIM_BYTES) {
        assert_memory_equal(a, b, item_size(type));
        return;
    }
    struct mim_string left;
    struct mim_string right;
    memcpy(&left, a, sizeof(left));
    memcpy(&right, b, sizeof(right));
    assert_int_equal(left.data == NULL, right.data == NULL);
    assert_int_equal(left.size, right.size);
    assert_memory_equal(left.data == NULL ? "" : left.data, right.data == NULL ? "" : right.data, left.size);
}

static void assert_object_equal(const struct random_type *type, const void *a, const void *b) {
    for (uint32_t i = 0; i < type->count; i++) {
        const struct mim_field *field = &type->fields[i];
        const uint8_t *left = (const uint8_t *)a + field->offset;
        const uint8_t *right = (const uint8_t *)b + field->offset;
        if ((field->flags & MIM_LIST) == 0) {
            assert_item_equal(field->type, left, right);
            continue;
        }
        struct mim_list one;
        struct mim_list other;
        memcpy(&one, left, sizeof(one));
        memcpy(&other, right, sizeof(other));
        assert_int_equal(one.count, other.count);
        for (size_t k = 0; k < one.count; k++) {
            assert_item_equal(field->type, (const uint8_t *)one.items + k * item_size(field->type),
                              (const uint8_t *)other.items + k * item_size(field->type));
        }
    }
}

static void define(const struct random_type *type, struct mim_definition *ret_definition) {
    *ret_definition = (struct mim_definition){.kind = MIM_DEFINE_EVENT, .number = 1, .field_count = type->count};
    for (uint32_t i = 0; i < type->count; i++) {
        ret_definition->fields[i] =
            (struct mim_definition_field){.type = (uint8_t)type->fields[i].type,
                                          .flags = (uint8_t)(type->fields[i].flags & MIM_DEFINITION_FLAGS),
                                          .fallback = type->fields[i].fallback,
                                          .name = mim_slice_text(type->fields[i].name)};
    }
}

static struct random_type type;
static struct random_object object;
static uint64_t back[FIELDS_MAX * CELL / sizeof(uint64_t)];
static uint64_t scratch_words[4096];
static struct mim_definition definition;

static struct mim_byte_writer new_scratch(void) {
    return (struct mim_byte_writer){.data = (uint8_t *)scratch_words, .capacity = sizeof(scratch_words)};
}

static void test_what_is_encoded_decodes_to_the_same(void **state) {
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        random_type(&type);
        random_object(&type, &object);
        uint8_t written[2048];
        size_t size = mim_payload_encode(type.fields, type.count, object.cells, written);
        assert_true(size <= sizeof(written));
        uint8_t *bytes = malloc(size + 1); /* its end is seen by a sanitizer */
        memcpy(bytes, written, size);
        struct mim_byte_writer scratch = new_scratch();
        memset(back, 0xa5, sizeof(back));
        assert_true(mim_payload_decode(type.fields, type.count, mim_slice_of(bytes, size), back, &scratch));
        assert_object_equal(&type, object.cells, back);
        assert_int_equal(mim_payload_encode(type.fields, type.count, back, written), size);
        assert_memory_equal(written, bytes, size);
        free(bytes);
    }
}

static void test_a_longer_descriptor_reads_what_a_shorter_one_wrote(void **state) {
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        random_type(&type);
        random_object(&type, &object);
        uint8_t bytes[2048];
        struct random_type older = type;
        older.count = (uint32_t)below(type.count + 1u);
        size_t size = mim_payload_encode(older.fields, older.count, object.cells, bytes);
        struct mim_byte_writer scratch = new_scratch();
        memset(back, 0xa5, sizeof(back));
        assert_true(mim_payload_decode(type.fields, type.count, mim_slice_of(bytes, size), back, &scratch));
        assert_object_equal(&older, object.cells, back);
    }
}

static void test_json_is_the_same_with_and_without_the_model_and_reads_back(void **state) {
    (void)state;
    struct mim_buffer with = {0};
    struct mim_buffer without = {0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        random_type(&type);
        random_object(&type, &object);
        uint8_t bytes[2048];
        size_t size = mim_payload_encode(type.fields, type.count, object.cells, bytes);
        define(&type, &definition);
        with.size = without.size = 0;
        struct mim_json one = mim_json_to(&with);
        struct mim_json other = mim_json_to(&without);
        mim_json_struct(&one, type.fields, type.count, object.cells);
        assert_true(mim_json_payload(&other, &definition, mim_slice_of(bytes, size)));
        assert_int_equal(with.size, without.size);
        assert_memory_equal(with.data, without.data, with.size);
        const struct mim_command_type command = {
            .name = "Any", .size = sizeof(back), .fields = type.fields, .field_count = type.count};
        struct mim_error error = {0};
        struct mim_byte_writer scratch = new_scratch();
        int rc = mim_command_from_json(&command, mim_slice_of(with.data, with.size), back, &scratch, &error);
        if (rc != 0) {
            print_error("%.*s: %s\n", (int)with.size, (const char *)with.data, error.text);
        }
        assert_int_equal(rc, 0);
        assert_object_equal(&type, object.cells, back);
    }
    mim_buffer_deinit(&with);
    mim_buffer_deinit(&without);
}

static void test_flipped_and_random_bytes_are_read_or_refused(void **state) {
    (void)state;
    struct mim_buffer out = {0};
    unsigned refused = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        random_type(&type);
        random_object(&type, &object);
        uint8_t room[2048];
        size_t size = mim_payload_encode(type.fields, type.count, object.cells, room);
        size = below(4) == 0 ? below(64) : size;
        uint8_t *bytes = malloc(size + 1);
        memcpy(bytes, room, size);
        for (uint64_t flips = below(4); size > 0 && flips > 0; flips--) {
            bytes[below(size)] = (uint8_t)below(256);
        }
        struct mim_byte_writer scratch = new_scratch();
        bool good = mim_payload_decode(type.fields, type.count, mim_slice_of(bytes, size), back, &scratch);
        define(&type, &definition);
        out.size = 0;
        struct mim_json j = mim_json_to(&out);
        assert_int_equal(mim_json_payload(&j, &definition, mim_slice_of(bytes, size)), good);
        refused += good ? 0 : 1;
        free(bytes);
    }
    assert_true(refused > ROUNDS / 100 && refused < ROUNDS);
    mim_buffer_deinit(&out);
}

static void test_random_text_is_read_as_json_or_refused_with_a_sentence(void **state) {
    (void)state;
    static const char alphabet[] = "{}[]\",:\\tfn0123456789.-+eEu \nfalsetruenull";
    struct mim_buffer out = {0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        random_type(&type);
        random_object(&type, &object);
        out.size = 0;
        struct mim_json j = mim_json_to(&out);
        mim_json_struct(&j, type.fields, type.count, object.cells);
        char *text = malloc(out.size);
        memcpy(text, out.data, out.size);
        for (uint64_t changes = below(4); changes > 0; changes--) {
            text[below(out.size)] = below(8) == 0 ? (char)below(256) : alphabet[below(sizeof(alphabet) - 1)];
        }
        const struct mim_command_type command = {
            .name = "Any", .size = sizeof(back), .fields = type.fields, .field_count = type.count};
        struct mim_error error = {0};
        struct mim_byte_writer scratch = new_scratch();
        int rc = mim_command_from_json(&command, mim_slice_of(text, out.size), back, &scratch, &error);
        assert_true(rc == 0 || (rc == MIM_E_INVALID && error.text[0] != '\0'));
        free(text);
    }
    mim_buffer_deinit(&out);
}

static int start(void **state) {
    (void)state;
    mim_prng_init(&prng, 20261120);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_encoded_decodes_to_the_same),
        cmocka_unit_test(test_a_longer_descriptor_reads_what_a_shorter_one_wrote),
        cmocka_unit_test(test_json_is_the_same_with_and_without_the_model_and_reads_back),
        cmocka_unit_test(test_flipped_and_random_bytes_are_read_or_refused),
        cmocka_unit_test(test_random_text_is_read_as_json_or_refused_with_a_sentence),
    };
    return cmocka_run_group_tests_name("model/codec", tests, start, NULL);
}
