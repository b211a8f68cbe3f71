// SPDX-License-Identifier: MIT
// Definitions: round trip, limits, and refusal of every cut or changed length.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "journal/definition.h"

static void fill(struct mim_definition *definition, uint32_t fields) {
    *definition = (struct mim_definition){
        .kind = MIM_DEFINE_EVENT,
        .number = 65000,
        .aggregate = 3,
        .version = 2,
        .name = mim_slice_text("Deposited"),
        .field_count = fields,
    };
    for (uint32_t i = 0; i < fields; i++) {
        definition->fields[i] = (struct mim_definition_field){
            .type = (uint8_t)(1u + i % 8u),
            .flags = (uint8_t)(i % 4u),
            .fallback = -(int64_t)i,
            .name = mim_slice_of("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl", 1u + i % 64u),
        };
    }
}

static size_t encode(const struct mim_definition *definition, uint8_t *bytes, size_t capacity) {
    struct mim_byte_writer writer = {.data = bytes, .capacity = capacity};
    return mim_definition_encode(definition, &writer) ? writer.size : 0;
}

static void test_definitions_of_every_field_count_come_back(void **state) {
    (void)state;
    for (uint32_t fields = 0; fields <= MIM_FIELDS_MAX; fields++) {
        struct mim_definition in;
        struct mim_definition out = {0};
        uint8_t bytes[8192];
        fill(&in, fields);
        size_t size = encode(&in, bytes, sizeof(bytes));
        assert_true(size > 0);
        assert_int_equal(mim_definition_decode(mim_slice_of(bytes, size), &out, NULL), 0);
        assert_int_equal(out.kind, in.kind);
        assert_int_equal(out.number, in.number);
        assert_int_equal(out.aggregate, in.aggregate);
        assert_int_equal(out.version, in.version);
        assert_true(mim_slice_equal(out.name, in.name));
        assert_int_equal(out.field_count, fields);
        for (uint32_t i = 0; i < fields; i++) {
            assert_int_equal(out.fields[i].type, in.fields[i].type);
            assert_int_equal(out.fields[i].flags, in.fields[i].flags);
            assert_int_equal(out.fields[i].fallback, in.fields[i].fallback);
            assert_true(mim_slice_equal(out.fields[i].name, in.fields[i].name));
        }
    }
}

static void test_too_little_room_is_refused_at_every_size(void **state) {
    (void)state;
    struct mim_definition in;
    uint8_t bytes[8192];
    fill(&in, 5);
    size_t size = encode(&in, bytes, sizeof(bytes));
    for (size_t capacity = 0; capacity < size; capacity++) {
        assert_int_equal(encode(&in, bytes, capacity), 0);
    }
    assert_int_equal(encode(&in, bytes, size), size);
}

static void test_a_cut_or_lengthened_payload_is_damage(void **state) {
    (void)state;
    struct mim_definition in;
    struct mim_definition out;
    uint8_t bytes[8192] = {0};
    fill(&in, 3);
    size_t size = encode(&in, bytes, sizeof(bytes));
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(mim_definition_decode(mim_slice_of(bytes, cut), &out, NULL), MIM_E_DAMAGED);
    }
    assert_int_equal(mim_definition_decode(mim_slice_of(bytes, size + 1u), &out, NULL), MIM_E_DAMAGED);
}

static void test_every_changed_byte_is_damage_or_another_definition_but_never_a_step_outside(void **state) {
    (void)state;
    struct mim_definition in;
    struct mim_definition out;
    uint8_t bytes[8192];
    fill(&in, 3);
    size_t size = encode(&in, bytes, sizeof(bytes));
    for (size_t at = 0; at < size; at++) {
        uint8_t *copy = test_malloc(size);
        for (unsigned value = 0; value < 256; value++) {
            memcpy(copy, bytes, size);
            copy[at] = (uint8_t)value;
            int code = mim_definition_decode(mim_slice_of(copy, size), &out, NULL);
            assert_true(code == 0 || code == MIM_E_DAMAGED);
        }
        test_free(copy);
    }
}

static void test_what_decode_refuses_is_not_encoded(void **state) {
    (void)state;
    uint8_t bytes[8192];
    struct mim_definition in;
    fill(&in, 1);
    in.number = 0;
    assert_int_equal(encode(&in, bytes, sizeof(bytes)), 0);
    fill(&in, 1);
    in.kind = 4;
    assert_int_equal(encode(&in, bytes, sizeof(bytes)), 0);
    fill(&in, 1);
    in.kind = MIM_DEFINE_COMMAND; /* only events have versions */
    assert_int_equal(encode(&in, bytes, sizeof(bytes)), 0);
    fill(&in, 1);
    in.fields[0].flags = 4;
    assert_int_equal(encode(&in, bytes, sizeof(bytes)), 0);
    fill(&in, 1);
    in.name.size = 0;
    assert_int_equal(encode(&in, bytes, sizeof(bytes)), 0);
    fill(&in, 1);
    in.field_count = MIM_FIELDS_MAX + 1u;
    assert_int_equal(encode(&in, bytes, sizeof(bytes)), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definitions_of_every_field_count_come_back),
        cmocka_unit_test(test_too_little_room_is_refused_at_every_size),
        cmocka_unit_test(test_a_cut_or_lengthened_payload_is_damage),
        cmocka_unit_test(test_every_changed_byte_is_damage_or_another_definition_but_never_a_step_outside),
        cmocka_unit_test(test_what_decode_refuses_is_not_encoded),
    };
    return cmocka_run_group_tests_name("definition", tests, NULL, NULL);
}
