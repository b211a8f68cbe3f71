// SPDX-License-Identifier: MIT
// The ledger to the letter of its contract: what each command is rejected with and in which order, the ends of money,
// Totals and Top; and random commands against a naive ledger of a few arrays. Runs on the embedded engine.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>
#include <unistd.h>

#include <memimage/memimage.h>

#include "base/prng.h"

#define MAX "9223372036854775807"

struct ledger {
    struct memimage *m;
    char dir[64];
};

static void ledger_open(struct ledger *ledger) {
    char error[300] = "";
    const struct memimage_options options = {.dir = ledger->dir, .model_name = "ledger", .deferred = true};
    int rc = memimage_open(&options, &ledger->m, error, sizeof(error));
    if (rc != 0) {
        print_error("%s\n", error);
    }
    assert_int_equal(rc, 0);
}

static int start(void **state) {
    static struct ledger ledger;
    (void)snprintf(ledger.dir, sizeof(ledger.dir), "/tmp/memimage-ledger-XXXXXX");
    assert_non_null(mkdtemp(ledger.dir));
    ledger_open(&ledger);
    *state = &ledger;
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static int stop(void **state) {
    struct ledger *ledger = *state;
    (void)memimage_close(ledger->m);
    return nftw(ledger->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/** Sends a command; gives "" when it was done, else the error's text. */
static const char *send(struct ledger *ledger, const char *id, const char *command, const char *data) {
    char aggregate[300];
    struct memimage_answer answer;
    (void)snprintf(aggregate, sizeof(aggregate), "account/%s", id);
    const struct memimage_command c = {
        .aggregate = aggregate, .command = command, .data = data, .expected_version = -1};
    return memimage_do(ledger->m, &c, &answer) == 0 ? "" : memimage_error(ledger->m);
}

static void done(struct ledger *ledger, const char *id, const char *command, const char *data) {
    const char *error = send(ledger, id, command, data);
    assert_string_equal(error, "");
}

static void refused(struct ledger *ledger, const char *id, const char *command, const char *data, const char *begin) {
    const char *error = send(ledger, id, command, data);
    if (strncmp(error, begin, strlen(begin)) != 0) {
        print_error("%s %s %s: \"%s\" does not begin with \"%s\"\n", id, command, data, error, begin);
        fail();
    }
    if (strncmp(begin, "REJECTED", 8) == 0) {
        assert_true(strlen(error) > strlen(begin) + 5); /* a sentence follows the code */
    }
}

static void shows(struct ledger *ledger, const char *id, const char *json) {
    char aggregate[300];
    (void)snprintf(aggregate, sizeof(aggregate), "account/%s", id);
    assert_string_equal(memimage_get(ledger->m, aggregate), json);
}

static void answers(struct ledger *ledger, const char *query, const char *one, const char *two, const char *json) {
    const char *const arguments[] = {one, two};
    const char *answer = memimage_query(ledger->m, "account", query, arguments, one == NULL ? 0 : 2);
    if (answer == NULL) {
        print_error("%s\n", memimage_error(ledger->m));
    }
    assert_non_null(answer);
    assert_string_equal(answer, json);
}

#define CZK "{\"owner\":\"o\",\"currency\":\"CZK\"}"

static void test_an_account_s_life(void **state) {
    struct ledger *l = *state;
    done(l, "a", "Open", "{\"owner\":\"Ann \\\"A\\\"\",\"currency\":\"CZK\",\"overdraft\":50}");
    shows(l, "a", "{\"owner\":\"Ann \\\"A\\\"\",\"currency\":\"CZK\",\"balance\":0,\"overdraft\":50,\"open\":true}");
    done(l, "a", "Deposit", "{\"amount\":100,\"note\":\"salary\"}");
    done(l, "a", "Withdraw", "{\"amount\":150}");
    shows(l, "a", "{\"owner\":\"Ann \\\"A\\\"\",\"currency\":\"CZK\",\"balance\":-50,\"overdraft\":50,\"open\":true}");
    refused(l, "a", "Withdraw", "{\"amount\":1}", "REJECTED INSUFFICIENT_FUNDS ");
    refused(l, "a", "Close", NULL, "REJECTED BALANCE_NOT_ZERO ");
    done(l, "a", "Deposit", "{\"amount\":50}");
    done(l, "a", "Close", NULL);
    shows(l, "a", "{\"owner\":\"Ann \\\"A\\\"\",\"currency\":\"CZK\",\"balance\":0,\"overdraft\":50,\"open\":false}");
    refused(l, "a", "Open", CZK, "REJECTED ACCOUNT_EXISTS ");
}

static void test_rejections_come_code_by_code_this_account_before_the_other(void **state) {
    struct ledger *l = *state;
    done(l, "a", "Open", CZK);
    done(l, "b", "Open", CZK);
    done(l, "eur", "Open", "{\"owner\":\"o\",\"currency\":\"EUR\"}");
    done(l, "shut", "Open", "{\"owner\":\"o\",\"currency\":\"EUR\"}");
    done(l, "shut", "Close", "{}");
    static const char *const commands[] = {"Deposit", "Withdraw", "Close", "Transfer"};
    static const char *const data[] = {"{\"amount\":1}", "{\"amount\":1}", "{}", "{\"to\":\"a\",\"amount\":1}"};
    for (int i = 0; i < 4; i++) {
        refused(l, "none", commands[i], data[i], "REJECTED NO_ACCOUNT ");
        refused(l, "shut", commands[i], data[i], "REJECTED ACCOUNT_CLOSED ");
    }
    refused(l, "none", "Transfer", "{\"to\":\"none\",\"amount\":1}", "REJECTED NO_ACCOUNT ");
    refused(l, "shut", "Transfer", "{\"to\":\"none\",\"amount\":1}", "REJECTED NO_ACCOUNT ");
    refused(l, "shut", "Transfer", "{\"to\":\"shut\",\"amount\":1}", "REJECTED ACCOUNT_CLOSED ");
    refused(l, "a", "Transfer", "{\"to\":\"none\",\"amount\":1}", "REJECTED NO_ACCOUNT account/none ");
    refused(l, "a", "Transfer", "{\"to\":\"shut\",\"amount\":1}", "REJECTED ACCOUNT_CLOSED account/shut ");
    refused(l, "a", "Transfer", "{\"to\":\"a\",\"amount\":1}", "REJECTED SAME_ACCOUNT ");
    refused(l, "a", "Transfer", "{\"to\":\"eur\",\"amount\":1}", "REJECTED CURRENCY_MISMATCH ");
    refused(l, "a", "Transfer", "{\"to\":\"b\",\"amount\":1}", "REJECTED INSUFFICIENT_FUNDS ");
    refused(l, "none", "Deposit", "{\"amount\":0}", "BADARG "); /* fields before rejections */
}

static void test_fields_have_their_ranges(void **state) {
    struct ledger *l = *state;
    static const char *const bad_opens[] = {
        "{}",
        "{\"owner\":\"o\"}",
        "{\"currency\":\"CZK\"}",
        "{\"owner\":\"o\",\"currency\":\"CZ\"}",
        "{\"owner\":\"o\",\"currency\":\"CZKK\"}",
        "{\"owner\":\"o\",\"currency\":\"C1K\"}",
        "{\"owner\":\"o\",\"currency\":\"CZK\",\"overdraft\":-1}",
        "{\"owner\":1,\"currency\":\"CZK\"}",
    };
    for (size_t i = 0; i < sizeof(bad_opens) / sizeof(bad_opens[0]); i++) {
        refused(l, "a", "Open", bad_opens[i], "BADARG ");
    }
    assert_null(memimage_get(l->m, "account/a"));
    done(l, "a", "Open", "{\"owner\":\"\",\"currency\":\"czk\",\"overdraft\":" MAX "}");
    refused(l, "a", "Deposit", "{\"amount\":0}", "BADARG amount: must be an integer >= 1");
    refused(l, "a", "Withdraw", "{\"amount\":-1}", "BADARG amount");
    refused(l, "a", "Transfer", "{\"to\":\"\",\"amount\":1}", "BADARG to");
    refused(l, "a", "Transfer", "{\"to\":\"a b\",\"amount\":1}", "BADARG to");
    refused(l, "a", "Close", "{\"reason\":1}", "BADARG reason");
}

static void test_money_never_overflows(void **state) {
    struct ledger *l = *state;
    done(l, "full", "Open", CZK);
    done(l, "full", "Deposit", "{\"amount\":" MAX "}");
    refused(l, "full", "Deposit", "{\"amount\":1}", "REJECTED OVERFLOW ");
    done(l, "poor", "Open", "{\"owner\":\"o\",\"currency\":\"CZK\",\"overdraft\":" MAX "}");
    refused(l, "poor", "Transfer", "{\"to\":\"full\",\"amount\":1}", "REJECTED OVERFLOW ");
    done(l, "poor", "Withdraw", "{\"amount\":" MAX "}");
    shows(l, "poor", "{\"owner\":\"o\",\"currency\":\"CZK\",\"balance\":-" MAX ",\"overdraft\":" MAX ",\"open\":true}");
    refused(l, "poor", "Withdraw", "{\"amount\":1}", "REJECTED INSUFFICIENT_FUNDS ");
    refused(l, "poor", "Withdraw", "{\"amount\":" MAX "}", "REJECTED INSUFFICIENT_FUNDS ");
    answers(l, "Totals", NULL, NULL,
            "{\"CZK\":{\"accounts\":2,\"open\":2,\"balance\":0,\"deposited\":" MAX ",\"withdrawn\":" MAX "}}");
    done(l, "full", "Transfer", "{\"to\":\"poor\",\"amount\":" MAX "}");
    shows(l, "poor", "{\"owner\":\"o\",\"currency\":\"CZK\",\"balance\":0,\"overdraft\":" MAX ",\"open\":true}");
}

static void test_a_transfer_is_one_transaction_of_two_events(void **state) {
    struct ledger *l = *state;
    done(l, "a", "Open", CZK);
    done(l, "b", "Open", CZK);
    done(l, "a", "Deposit", "{\"amount\":10}");
    uint64_t before = memimage_position(l->m);
    done(l, "a", "Transfer", "{\"to\":\"b\",\"amount\":4}");
    assert_int_equal(memimage_position(l->m), before + 2);
    answers(l, "Top", "CZK", "9", "[{\"id\":\"a\",\"balance\":6},{\"id\":\"b\",\"balance\":4}]");
    refused(l, "a", "Transfer", "{\"to\":\"b\",\"amount\":7}", "REJECTED INSUFFICIENT_FUNDS ");
    assert_int_equal(memimage_position(l->m), before + 2);
    answers(l, "Totals", NULL, NULL,
            "{\"CZK\":{\"accounts\":2,\"open\":2,\"balance\":10,\"deposited\":10,\"withdrawn\":0}}");
}

static void test_top_ranks_by_balance_then_id_over_many_blocks(void **state) {
    struct ledger *l = *state;
    answers(l, "Totals", NULL, NULL, "{}");
    answers(l, "Top", "CZK", "1", "[]");
    char id[16];
    char data[64];
    for (unsigned i = 0; i < 1100; i++) { /* five blocks of 256 */
        (void)snprintf(id, sizeof(id), "n%04u", i);
        done(l, id, "Open", i % 11 == 0 ? "{\"owner\":\"o\",\"currency\":\"EUR\"}" : CZK);
        (void)snprintf(data, sizeof(data), "{\"amount\":%u}", 1 + i * 7919u % 1000u);
        done(l, id, "Deposit", data);
    }
    done(l, "n1000", "Deposit", "{\"amount\":5000}");
    done(l, "n0001", "Deposit", "{\"amount\":9000}"); /* a high bound left behind */
    done(l, "n0001", "Withdraw", "{\"amount\":9000}");
    done(l, "twin-b", "Open", CZK);
    done(l, "twin-a", "Open", CZK);
    done(l, "twin-b", "Deposit", "{\"amount\":4000}");
    done(l, "twin-a", "Deposit", "{\"amount\":4000}");
    done(l, "low", "Open", "{\"owner\":\"o\",\"currency\":\"USD\",\"overdraft\":9}");
    done(l, "low", "Withdraw", "{\"amount\":9}");
    answers(l, "Top", "CZK", "3",
            "[{\"id\":\"n1000\",\"balance\":5001},{\"id\":\"twin-a\",\"balance\":4000},"
            "{\"id\":\"twin-b\",\"balance\":4000}]");
    answers(l, "Top", "CZK", "2", "[{\"id\":\"n1000\",\"balance\":5001},{\"id\":\"twin-a\",\"balance\":4000}]");
    answers(l, "Top", "USD", "10000", "[{\"id\":\"low\",\"balance\":-9}]");
    done(l, "a-tie", "Open", CZK); /* in a later block, with a bound equal to the best there is */
    done(l, "a-tie", "Deposit", "{\"amount\":5001}");
    answers(l, "Top", "CZK", "1", "[{\"id\":\"a-tie\",\"balance\":5001}]");
    answers(l, "Top", "XXX", "5", "[]");
    answers(l, "Top", "", "5", "[]");
}

static void test_top_checks_its_arguments(void **state) {
    struct ledger *l = *state;
    static const char *const bad[] = {"0", "-1", "10001", "x", "", "1.0", " 1", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *const arguments[] = {"CZK", bad[i]};
        assert_null(memimage_query(l->m, "account", "Top", arguments, 2));
        assert_true(strlen(memimage_error(l->m)) > 0);
    }
    const char *const one[] = {"CZK"};
    assert_null(memimage_query(l->m, "account", "Top", one, 1));
    assert_null(memimage_query(l->m, "account", "Totals", one, 1));
}

/* ------------------------------------------------ against a naive reference */

#define ACCOUNTS   40
#define CURRENCIES 20 /* more than the projection scans before it asks its map */

struct naive {
    bool exists, open;
    int currency;
    int64_t balance, overdraft;
};

struct naive_totals {
    int64_t accounts, open, deposited, withdrawn;
};

static struct naive naive[ACCOUNTS];
static struct naive_totals naive_totals[CURRENCIES];

static const char *naive_usable(const struct naive *account) {
    return !account->exists ? "NO_ACCOUNT" : !account->open ? "ACCOUNT_CLOSED" : "";
}

static const char *naive_transfer(struct naive *from, struct naive *to, int64_t amount) {
    if (!from->exists || !to->exists) {
        return "NO_ACCOUNT";
    }
    if (!from->open || !to->open) {
        return "ACCOUNT_CLOSED";
    }
    if (from == to) {
        return "SAME_ACCOUNT";
    }
    if (from->currency != to->currency) {
        return "CURRENCY_MISMATCH";
    }
    if (from->balance - amount < -from->overdraft) {
        return "INSUFFICIENT_FUNDS";
    }
    from->balance -= amount;
    to->balance += amount;
    return "";
}

static const char *naive_do(unsigned what, struct naive *account, struct naive *other, int64_t amount) {
    struct naive_totals *totals = &naive_totals[account->currency];
    const char *unusable = naive_usable(account);
    if (what == 3) {
        return naive_transfer(account, other, amount);
    }
    if (unusable[0] != '\0') {
        return unusable;
    }
    if (what == 1) {
        account->balance += amount;
        totals->deposited += amount;
    } else if (what == 2) {
        if (account->balance - amount < -account->overdraft) {
            return "INSUFFICIENT_FUNDS";
        }
        account->balance -= amount;
        totals->withdrawn += amount;
    } else {
        if (account->balance != 0) {
            return "BALANCE_NOT_ZERO";
        }
        account->open = false;
        totals->open--;
    }
    return "";
}

static void compare(struct ledger *l) {
    char text[160];
    for (int i = 0; i < ACCOUNTS; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "r%d", i);
        if (naive[i].exists) {
            (void)snprintf(text, sizeof(text),
                           "{\"owner\":\"o%d\",\"currency\":\"A%cA\",\"balance\":%lld,\"overdraft\":%lld,\"open\":%s}",
                           i, 'A' + naive[i].currency, (long long)naive[i].balance, (long long)naive[i].overdraft,
                           naive[i].open ? "true" : "false");
            shows(l, id, text);
        }
    }
    const char *totals = memimage_query(l->m, "account", "Totals", NULL, 0);
    assert_non_null(totals);
    for (int i = 0; i < CURRENCIES; i++) {
        const struct naive_totals *t = &naive_totals[i];
        (void)snprintf(
            text, sizeof(text),
            "\"A%cA\":{\"accounts\":%lld,\"open\":%lld,\"balance\":%lld,\"deposited\":%lld,\"withdrawn\":%lld}",
            'A' + i, (long long)t->accounts, (long long)t->open, (long long)(t->deposited - t->withdrawn),
            (long long)t->deposited, (long long)t->withdrawn);
        assert_int_equal(strstr(totals, text) != NULL, t->accounts > 0);
    }
}

static void test_random_commands_give_what_a_naive_ledger_gives(void **state) {
    struct ledger *l = *state;
    struct mim_prng prng;
    mim_prng_init(&prng, 4242);
    memset(naive, 0, sizeof(naive));
    memset(naive_totals, 0, sizeof(naive_totals));
    static const char *const commands[] = {"Open", "Deposit", "Withdraw", "Transfer", "Close"};
    for (unsigned round = 0; round < 20000; round++) {
        size_t n = mim_prng_below(&prng, ACCOUNTS);
        size_t m = mim_prng_below(&prng, ACCOUNTS);
        unsigned what = mim_prng_below(&prng, 30) == 0 ? 4 : (unsigned)mim_prng_below(&prng, 4);
        int64_t amount = 1 + (int64_t)mim_prng_below(&prng, 30);
        struct naive *account = &naive[n];
        const char *wanted;
        char id[16];
        char data[100];
        (void)snprintf(id, sizeof(id), "r%zu", n);
        (void)snprintf(data, sizeof(data), "{\"amount\":%lld}", (long long)amount);
        if (what == 0) {
            wanted = account->exists ? "ACCOUNT_EXISTS" : "";
            if (!account->exists) {
                int currency = mim_prng_below(&prng, 2) == 0 ? 0 : (int)mim_prng_below(&prng, CURRENCIES);
                *account = (struct naive){.exists = true, .open = true, .currency = currency, .overdraft = amount};
                naive_totals[currency].accounts++;
                naive_totals[currency].open++;
            }
            (void)snprintf(data, sizeof(data), "{\"owner\":\"o%zu\",\"currency\":\"A%cA\",\"overdraft\":%lld}", n,
                           'A' + account->currency, (long long)amount);
        } else {
            wanted = naive_do(what, account, &naive[m], amount);
            if (what == 3) {
                (void)snprintf(data, sizeof(data), "{\"to\":\"r%zu\",\"amount\":%lld}", m, (long long)amount);
            } else if (what == 4) {
                (void)snprintf(data, sizeof(data), "{}");
            }
        }
        if (wanted[0] == '\0') {
            done(l, id, commands[what], data);
        } else {
            char begin[40];
            (void)snprintf(begin, sizeof(begin), "REJECTED %s ", wanted);
            refused(l, id, commands[what], data, begin);
        }
        if (round % 2000 == 1999) {
            compare(l);
        }
    }
    uint64_t digest = memimage_digest(l->m);
    assert_int_equal(memimage_close(l->m), 0);
    ledger_open(l); /* from the journal alone */
    compare(l);
    assert_true(memimage_digest(l->m) == digest);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_account_s_life, start, stop),
        cmocka_unit_test_setup_teardown(test_rejections_come_code_by_code_this_account_before_the_other, start, stop),
        cmocka_unit_test_setup_teardown(test_fields_have_their_ranges, start, stop),
        cmocka_unit_test_setup_teardown(test_money_never_overflows, start, stop),
        cmocka_unit_test_setup_teardown(test_a_transfer_is_one_transaction_of_two_events, start, stop),
        cmocka_unit_test_setup_teardown(test_top_ranks_by_balance_then_id_over_many_blocks, start, stop),
        cmocka_unit_test_setup_teardown(test_top_checks_its_arguments, start, stop),
        cmocka_unit_test_setup_teardown(test_random_commands_give_what_a_naive_ledger_gives, start, stop),
    };
    return cmocka_run_group_tests_name("models/ledger", tests, NULL, NULL);
}
