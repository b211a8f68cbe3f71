// SPDX-License-Identifier: MIT
// The built-in models as descriptors: found by name, sound, one cache line per account, and the schema that clients read.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "model/codec.h"
#include "model/compiled.h"
#include "models/models.h"

static struct mim_compiled *compiled;

static int compile(void **state) {
    (void)state;
    struct mim_error error = {0};
    int rc = mim_compiled_new(&mim_ledger_model, &compiled, &error);
    if (rc != 0) {
        print_error("%s\n", error.text);
    }
    return rc;
}

static int discard(void **state) {
    (void)state;
    compiled = mim_compiled_free(compiled);
    return 0;
}

static void test_models_are_found_by_their_whole_name(void **state) {
    (void)state;
    assert_ptr_equal(mim_models_find("ledger"), &mim_ledger_model);
    assert_null(mim_models_find("ledge"));
    assert_null(mim_models_find("ledgers"));
    assert_null(mim_models_find(""));
}

static void test_an_account_is_one_cache_line(void **state) {
    (void)state;
    assert_int_equal(compiled->slot_size[0], 64);
}

static void test_a_deposit_without_a_note_takes_8_bytes_of_payload(void **state) {
    (void)state;
    const struct mim_compiled_event *event = mim_compiled_event(compiled, 0, mim_slice_text("Deposited"), 0);
    assert_non_null(event);
    union {
        struct {
            int64_t amount;
            struct mim_string note;
        } fields;
        uint64_t room[8];
    } deposited = {.room = {0}};
    deposited.fields.amount = 1;
    assert_true(event->type->size <= sizeof(deposited));
    uint8_t bytes[sizeof(deposited)];
    assert_int_equal(mim_payload_encode(event->type->fields, event->type->field_count, &deposited, bytes), 8);
}

static json_t *schema(int aggregate) {
    struct mim_buffer out = {0};
    struct mim_json j = mim_json_to(&out);
    mim_schema_json(&j, compiled, aggregate);
    json_error_t why;
    json_t *root = json_loadb((const char *)out.data, out.size, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL) {
        print_error("%s in %.*s\n", why.text, (int)out.size, (const char *)out.data);
    }
    assert_non_null(root);
    mim_buffer_deinit(&out);
    return root;
}

/** The member of an array whose `key` is `value`. */
static const json_t *member(const json_t *array, const char *key, const char *value) {
    size_t i;
    json_t *entry;
    json_array_foreach(array, i, entry) {
        const char *own = json_string_value(json_object_get(entry, key));
        if (own != NULL && strcmp(own, value) == 0) {
            return entry;
        }
    }
    print_error("no %s\n", value);
    fail();
    return NULL;
}

static void test_the_schema_of_the_whole_holds_that_of_the_type(void **state) {
    (void)state;
    json_t *whole = schema(-1);
    json_t *account = schema(0);
    assert_string_equal(json_string_value(json_object_get(whole, "model")), "ledger");
    assert_int_equal(json_integer_value(json_object_get(whole, "version")), 1);
    assert_true(json_equal(json_array_get(json_object_get(whole, "aggregates"), 0), account));
    json_decref(whole);
    json_decref(account);
}

static void assert_names(const json_t *array, const char *key, const char *wanted) {
    char names[400] = "";
    size_t i;
    json_t *entry;
    json_array_foreach(array, i, entry) {
        size_t used = strlen(names);
        (void)snprintf(names + used, sizeof(names) - used, "%s ", json_string_value(json_object_get(entry, key)));
    }
    assert_string_equal(names, wanted);
}

static void test_the_schema_says_what_the_contract_says(void **state) {
    (void)state;
    json_t *account = schema(0);
    const json_t *commands = json_object_get(account, "commands");
    const json_t *events = json_object_get(account, "events");
    assert_string_equal(json_string_value(json_object_get(account, "name")), "account");
    assert_names(json_object_get(account, "state"), "name", "owner currency balance overdraft open ");
    assert_names(commands, "name", "Open Deposit Withdraw Transfer Close ");
    assert_names(events, "type",
                 "account.Opened account.Deposited account.Withdrawn account.TransferSent account.TransferReceived "
                 "account.Closed ");
    assert_names(json_object_get(account, "queries"), "name", "Totals Top ");
    assert_names(json_object_get(member(commands, "name", "Open"), "fields"), "name", "owner currency overdraft ");
    assert_names(json_object_get(member(commands, "name", "Transfer"), "fields"), "name", "to amount ");
    assert_names(json_object_get(member(commands, "name", "Close"), "fields"), "name", "");
    assert_names(json_object_get(member(events, "type", "account.TransferReceived"), "fields"), "name", "from amount ");
    const json_t *open = json_object_get(member(commands, "name", "Open"), "fields");
    const json_t *overdraft = member(open, "name", "overdraft");
    assert_true(json_is_true(json_object_get(overdraft, "optional")));
    assert_int_equal(json_integer_value(json_object_get(overdraft, "default")), 0);
    assert_int_equal(json_integer_value(json_object_get(overdraft, "min")), 0);
    assert_string_equal(json_string_value(json_object_get(member(open, "name", "currency"), "format")), "letters");
    const json_t *deposit = json_object_get(member(commands, "name", "Deposit"), "fields");
    assert_int_equal(json_integer_value(json_object_get(member(deposit, "name", "amount"), "min")), 1);
    size_t i;
    json_t *event;
    json_array_foreach(events, i, event) { assert_int_equal(json_integer_value(json_object_get(event, "version")), 1); }
    json_decref(account);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models_are_found_by_their_whole_name),
        cmocka_unit_test(test_an_account_is_one_cache_line),
        cmocka_unit_test(test_a_deposit_without_a_note_takes_8_bytes_of_payload),
        cmocka_unit_test(test_the_schema_of_the_whole_holds_that_of_the_type),
        cmocka_unit_test(test_the_schema_says_what_the_contract_says),
    };
    return cmocka_run_group_tests_name("models/descriptors", tests, compile, discard);
}
