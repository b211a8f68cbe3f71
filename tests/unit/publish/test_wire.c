// SPDX-License-Identifier: MIT
// Unit tests of how publication encodes: numbers, bulk strings, one event's arguments, the scripts' shape.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "publish/internal.h"
#include "publish/wire.h"

static void is_text(const struct mim_buffer *buffer, const char *wanted) {
    assert_int_equal(buffer->size, strlen(wanted));
    assert_memory_equal(buffer->data, wanted, buffer->size);
}

static void numbers_have_all_their_digits(void **state) {
    (void)state;
    struct mim_buffer out = {0};
    mim_wire_number(&out, 0);
    mim_wire_number(&out, 10);
    mim_wire_number(&out, UINT64_MAX);
    is_text(&out, "$1\r\n0\r\n$2\r\n10\r\n$20\r\n18446744073709551615\r\n");
    mim_buffer_deinit(&out);
}

static void bulk_strings_may_be_empty_or_binary(void **state) {
    (void)state;
    struct mim_buffer out = {0};
    mim_wire_head(&out, '*', 12);
    mim_wire_bulk(&out, mim_slice_of(NULL, 0));
    mim_wire_bulk(&out, mim_slice_of("\r\n", 2));
    mim_wire_joined(&out, "account", ':', mim_slice_text("a-1"));
    is_text(&out, "*12\r\n$0\r\n\r\n$2\r\n\r\n\r\n$11\r\naccount:a-1\r\n");
    mim_buffer_deinit(&out);
}

/** An event as the journal has it, with an audience of two. */
static struct mim_journal_event event_with_audience(uint8_t part[16]) {
    struct mim_byte_writer writer = {.data = part, .capacity = 16};
    (void)mim_write32(&writer, 8);
    (void)mim_write16(&writer, 3);
    (void)mim_write_bytes(&writer, "a:1", 3);
    (void)mim_write16(&writer, 1);
    (void)mim_write_bytes(&writer, "b", 1);
    return (struct mim_journal_event){
        .position = 42,
        .record = {.flags = MIM_PART_AUDIENCE, .version = 7, .parts = mim_slice_of(part, writer.size)},
    };
}

static const struct mim_event_about about = {
    .type = "note.Written", .aggregate_type = "note", .id = {(const uint8_t *)"x\"y", 3}};

static void a_thin_entry_is_five_arguments(void **state) {
    (void)state;
    struct mim_publisher p = {0};
    uint8_t part[16];
    struct mim_journal_event event = event_with_audience(part);
    struct mim_error error = {0};
    assert_int_equal(mim_publish_stride(&p.options), 5);
    assert_int_equal(mim_publish_entry(&p, &event, &about, &error), 0);
    is_text(&p.body, "$2\r\n42\r\n$12\r\nnote.Written\r\n$8\r\nnote/x\"y\r\n$1\r\n7\r\n$5\r\na:1,b\r\n");
    p.body.size = 0;
    event.record.flags = 0;
    assert_int_equal(mim_publish_entry(&p, &event, &about, &error), 0);
    is_text(&p.body, "$2\r\n42\r\n$12\r\nnote.Written\r\n$8\r\nnote/x\"y\r\n$1\r\n7\r\n$0\r\n\r\n");
    mim_buffer_deinit(&p.body);
    mim_buffer_deinit(&p.audience);
}

static void a_thin_message_is_json(void **state) {
    (void)state;
    struct mim_publisher p = {.options = {.audiences = true}};
    uint8_t part[16];
    struct mim_journal_event event = event_with_audience(part);
    struct mim_error error = {0};
    assert_int_equal(mim_publish_stride(&p.options), 6);
    assert_int_equal(mim_publish_entry(&p, &event, &about, &error), 0);
    is_text(&p.text,
            "{\"id\":\"42\",\"type\":\"note.Written\",\"subject\":\"note/x\\\"y\",\"position\":42,\"version\":7,"
            "\"audience\":\"a:1,b\"}");
    mim_buffer_deinit(&p.body);
    mim_buffer_deinit(&p.text);
    mim_buffer_deinit(&p.audience);
}

static void a_malformed_audience_ends_where_it_breaks(void **state) {
    (void)state;
    uint8_t part[16];
    struct mim_journal_event event = event_with_audience(part);
    part[9] = 200; /* the second entry claims more than there is */
    struct mim_buffer out = {0};
    assert_int_equal(mim_event_audience(&event.record, &out), 3);
    is_text(&out, "a:1");
    mim_buffer_deinit(&out);
}

static bool script_has(const struct mim_publish_options *options, const char *text) {
    struct mim_buffer out = {0};
    mim_publish_script_entries(options, &out);
    mim_buffer_append(&out, "", 1);
    bool has = strstr((const char *)out.data, text) != NULL;
    mim_buffer_deinit(&out);
    return has;
}

static void the_script_does_what_the_options_say_and_no_more(void **state) {
    (void)state;
    assert_true(script_has(&(struct mim_publish_options){0}, "for i=4,#args,5"));
    assert_false(script_has(&(struct mim_publish_options){0}, "'event'"));
    assert_false(script_has(&(struct mim_publish_options){0}, "PUBLISH"));
    assert_true(script_has(&(struct mim_publish_options){.fat = true}, "for i=4,#args,6"));
    assert_true(script_has(&(struct mim_publish_options){.fat = true}, "'event',j"));
    assert_true(script_has(&(struct mim_publish_options){.channels = true}, "'memimage:'.."));
    assert_true(script_has(&(struct mim_publish_options){.audiences = true}, "'memimage:audience:'.."));
    assert_false(script_has(&(struct mim_publish_options){.audiences = true}, "'event'"));
}

static void calls_on_their_way_are_bounded(void **state) {
    (void)state;
    struct mim_publish_calls calls = {.count = 0};
    for (uint32_t i = 0; i < 3 * MIM_PUBLISH_CALLS_MAX; i++) {
        while (mim_publish_calls_room(&calls)) {
            mim_publish_calls_push(&calls, &(struct mim_publish_call){.bytes = 10, .upto = i});
        }
        assert_int_equal(calls.count, MIM_PUBLISH_CALLS_MAX);
        assert_int_equal(mim_publish_calls_bytes(&calls), 10 * MIM_PUBLISH_CALLS_MAX);
        (void)mim_publish_calls_pop(&calls);
        assert_true(mim_publish_calls_room(&calls));
    }
    calls = (struct mim_publish_calls){.count = 0};
    mim_publish_calls_push(&calls, &(struct mim_publish_call){.bytes = MIM_PUBLISH_BYTES_MAX});
    assert_false(mim_publish_calls_room(&calls));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_all_their_digits),
        cmocka_unit_test(bulk_strings_may_be_empty_or_binary),
        cmocka_unit_test(a_thin_entry_is_five_arguments),
        cmocka_unit_test(a_thin_message_is_json),
        cmocka_unit_test(a_malformed_audience_ends_where_it_breaks),
        cmocka_unit_test(the_script_does_what_the_options_say_and_no_more),
        cmocka_unit_test(calls_on_their_way_are_bounded),
    };
    return cmocka_run_group_tests_name("publish wire", tests, NULL, NULL);
}
