// SPDX-License-Identifier: MIT
// The ACL without a server: the glob matcher against a plain recursive one, rules into rights, texts that are refused,
// passwords in both forms and their comparison.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "server/acl.h"
#include "server/glob.h"

static enum mim_glob glob(const char *pattern, const char *text) {
    return mim_glob(mim_slice_text(pattern), mim_slice_text(text), MIM_GLOB_STEPS_MAX);
}

static void test_globs(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "a/b", true},
        {"a", "a", true},
        {"a", "b", false},
        {"a", "ab", false},
        {"ab", "a", false},
        {"?", "a", true},
        {"?", "", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"a*", "a", true},
        {"a*c", "abcbc", true},
        {"a*c", "abcb", false},
        {"*a*b*", "xaxbx", true},
        {"*a*b*", "xbxax", false},
        {"[abc]", "b", true},
        {"[abc]", "d", false},
        {"[a-c]x", "bx", true},
        {"[^a-c]", "b", false},
        {"[^a-c]", "d", true},
        {"[]", "a", false},
        {"[a", "[a", true},
        {"[a", "a", false},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"a\\", "a\\", true},
        {"[\\]]", "]", true},
        {"account/a-*", "account/a-1", true},
        {"account/a-*", "account/b-1", false},
        {"account/*", "account/", true},
        {"account/*", "accounts/1", false},
        {"A", "a", false},
        {"**", "x", true},
        {"a**", "a", true},
        {"*?", "", false},
        {"*?", "a", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if ((glob(cases[i].pattern, cases[i].text) == MIM_GLOB_YES) != cases[i].matches) {
            fail_msg("'%s' against '%s'", cases[i].pattern, cases[i].text);
        }
    }
}

/** Stars and question marks by the definition. */
static bool plain(const char *pattern, const char *text) {
    if (*pattern == '*') {
        return plain(pattern + 1, text) || (*text != '\0' && plain(pattern, text + 1));
    }
    if (*pattern == '\0' || *text == '\0') {
        return *pattern == *text;
    }
    return (*pattern == '?' || *pattern == *text) && plain(pattern + 1, text + 1);
}

static void test_random_globs_match_as_defined(void **state) {
    (void)state;
    struct mim_prng prng;
    mim_prng_init(&prng, 11);
    unsigned matched = 0;
    for (int i = 0; i < 200000; i++) {
        char pattern[9] = {0};
        char text[11] = {0};
        uint64_t pattern_size = mim_prng_below(&prng, sizeof(pattern));
        uint64_t text_size = mim_prng_below(&prng, sizeof(text));
        for (uint64_t j = 0; j < pattern_size; j++) {
            pattern[j] = "ab*?*"[mim_prng_below(&prng, 5)];
        }
        for (uint64_t j = 0; j < text_size; j++) {
            text[j] = "ab"[mim_prng_below(&prng, 2)];
        }
        bool wanted = plain(pattern, text);
        matched += wanted;
        if ((glob(pattern, text) == MIM_GLOB_YES) != wanted) {
            fail_msg("'%s' against '%s'", pattern, text);
        }
    }
    assert_in_range(matched, 20000, 180000);
}

static void test_a_glob_gives_up_at_its_budget(void **state) {
    (void)state;
    char text[4001];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    const char *pattern = "*a*a*a*a*a*a*a*a*a*a*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";
    assert_int_equal(glob(pattern, text), MIM_GLOB_GIVEN_UP);
    assert_int_equal(mim_glob(mim_slice_text("*"), mim_slice_text("aaaa"), 3), MIM_GLOB_GIVEN_UP);
    assert_int_equal(mim_glob(mim_slice_text("*"), mim_slice_text(""), 0), MIM_GLOB_YES);
    /* an id of the longest size never comes there with a sensible pattern */
    text[256] = '\0';
    assert_int_equal(glob("account/*a*b", text), MIM_GLOB_NO);
}

static void test_which_globs_are_whole(void **state) {
    (void)state;
    assert_true(mim_glob_valid(mim_slice_text("a/[b-c]*\\*")));
    assert_false(mim_glob_valid(mim_slice_text("a/[b")));
    assert_false(mim_glob_valid(mim_slice_text("a\\")));
    assert_false(mim_glob_valid(mim_slice_text("[\\]")));
}

/* ---------------------------------------------------------------------- rules */

static struct mim_acl *acl_of(const char *text) {
    struct mim_acl *acl = NULL;
    struct mim_error error = {0};
    if (mim_acl_parse("text", text, strlen(text), NULL, &acl, &error) != 0) {
        fail_msg("%s: %s", text, error.text);
    }
    return acl;
}

static const struct mim_acl_user *user_of(const struct mim_acl *acl, const char *name) {
    return mim_acl_find(acl, mim_slice_text(name));
}

static bool may_call(const struct mim_acl_user *user, const char *name, const char *sub) {
    return mim_acl_may_call(user, mim_command_find(mim_slice_text(name)), mim_slice_text(sub));
}

static void test_rules_of_commands(void **state) {
    (void)state;
    struct mim_acl *acl = acl_of("user a on +@all -@admin +snapshot\nuser b on +@read -get\n\n# c\n"
                                 "user c on +@all readonly\r\n\tuser d on +client|list\nuser e on +@all -@all +PING");
    assert_int_equal(acl->user_count, 6);
    assert_true(may_call(user_of(acl, "a"), "SNAPSHOT", ""));
    assert_false(may_call(user_of(acl, "a"), "SHUTDOWN", ""));
    assert_true(may_call(user_of(acl, "a"), "CLIENT", "ID"));
    assert_false(may_call(user_of(acl, "a"), "CLIENT", "kIlL"));
    assert_true(may_call(user_of(acl, "b"), "STATE", ""));
    assert_false(may_call(user_of(acl, "b"), "GET", ""));
    assert_false(may_call(user_of(acl, "b"), "DO", ""));
    assert_true(may_call(user_of(acl, "b"), "AUTH", "")); /* to become somebody else */
    assert_false(may_call(user_of(acl, "c"), "DO", ""));
    assert_true(may_call(user_of(acl, "c"), "GET", ""));
    assert_true(may_call(user_of(acl, "d"), "CLIENT", "LIST"));
    assert_false(may_call(user_of(acl, "d"), "CLIENT", "ID"));
    assert_true(may_call(user_of(acl, "e"), "PING", ""));
    assert_false(may_call(user_of(acl, "e"), "GET", ""));
    assert_false(user_of(acl, "default")->enabled);
    assert_null(user_of(acl, "f"));
    assert_null(user_of(acl, ""));
    (void)mim_acl_free(acl);
}

static void test_rules_of_aggregates(void **state) {
    (void)state;
    struct mim_acl *acl = acl_of("user a on ~account/a-* %R~account/b-* %W~account/c-*\nuser b on %R~* %W~order/*\n"
                                 "user c on ~* resetkeys\nuser d on ~a*\nuser e on %R~x/* %W~x/1");
    static const struct {
        const char *user, *address;
        bool reads, writes, both;
    } cases[] = {
        {"a", "account/a-1", true, true, true},   {"a", "account/b-1", true, false, false},
        {"a", "account/c-1", false, true, false}, {"a", "account/d", false, false, false},
        {"a", "account", false, false, false},    {"b", "account/1", true, false, false},
        {"b", "order/1", true, true, true},       {"c", "account/1", false, false, false},
        {"d", "account/1", true, true, true},     {"e", "x/1", true, true, true},
        {"e", "x/2", true, false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct mim_acl_user *user = user_of(acl, cases[i].user);
        struct mim_slice address = mim_slice_text(cases[i].address);
        assert_int_equal(mim_acl_may_access(user, address, MIM_ACL_READ), cases[i].reads);
        assert_int_equal(mim_acl_may_access(user, address, MIM_ACL_WRITE), cases[i].writes);
        assert_int_equal(mim_acl_may_access(user, address, MIM_ACL_BOTH), cases[i].both);
    }
    assert_false(mim_acl_may_access_type(user_of(acl, "a"), mim_slice_text("account"), MIM_ACL_READ));
    assert_true(mim_acl_may_access_type(user_of(acl, "b"), mim_slice_text("account"), MIM_ACL_READ));
    assert_true(mim_acl_may_access_type(user_of(acl, "b"), mim_slice_text("order"), MIM_ACL_BOTH));
    assert_false(mim_acl_may_access_type(user_of(acl, "b"), mim_slice_text("account"), MIM_ACL_WRITE));
    assert_false(mim_acl_may_access_type(user_of(acl, "d"), mim_slice_text("account"), MIM_ACL_READ));
    (void)mim_acl_free(acl);
}

static void test_texts_that_are_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"users a on",     "user",      "user a b",    "user a on\nuser a off",
                                        "user a +nosuch", "user a +",  "user a ~",    "user a %~x/*",
                                        "user a %X~x/*",  "user a %R", "user a #12",  "user a $y$",
                                        "user a >x",      "user a +@", "user a ~x/[", "user a ~x"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct mim_acl *acl = NULL;
        struct mim_error error = {0};
        if (mim_acl_parse("text", texts[i], strlen(texts[i]), NULL, &acl, &error) == 0) {
            fail_msg("'%s' was taken", texts[i]);
        }
        assert_non_null(strstr(error.text, "text line "));
        assert_null(acl);
    }
    struct mim_acl *acl = NULL;
    struct mim_error error = {0};
    assert_int_not_equal(mim_acl_parse("text", "user a on\0", 10, NULL, &acl, &error), 0);
}

/** Bytes that were changed at random are taken or refused, and nothing else happens (the sanitizers watch). */
static void test_damaged_texts(void **state) {
    (void)state;
    const char *good = "user a on nopass ~account/[a-z]* %R~b/* +@all -@admin +client|list\nuser b off resetpass "
                       "#0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef reset readonly +get\n";
    struct mim_prng prng;
    mim_prng_init(&prng, 5);
    unsigned taken = 0;
    for (int i = 0; i < 20000; i++) {
        char text[512];
        size_t size = strlen(good);
        memcpy(text, good, size);
        for (uint64_t changes = mim_prng_below(&prng, 3); changes > 0; changes--) {
            text[mim_prng_below(&prng, size)] = (char)mim_prng_below(&prng, 256);
        }
        size = mim_prng_below(&prng, 4) == 0 ? mim_prng_below(&prng, size) : size;
        struct mim_acl *acl = NULL;
        struct mim_error error = {0};
        if (mim_acl_parse("text", text, size, NULL, &acl, &error) == 0) {
            taken++;
            (void)mim_acl_free(acl);
        }
    }
    assert_in_range(taken, 1000, 19000);
}

/* ------------------------------------------------------------------ passwords */

static void test_passwords(void **state) {
    (void)state;
    char slow[MIM_SECRET_TEXT_MAX];
    char text[1024];
    struct mim_error error = {0};
    struct mim_secret_digest digest = mim_secret_sha256(mim_slice_text("token"));
    char hex[2 * MIM_SECRET_DIGEST_SIZE + 1];
    mim_secret_hex(&digest, hex);
    assert_int_equal(mim_secret_make(mim_slice_text("word"), slow, &error), 0);
    assert_true(mim_secret_crypt_valid(slow));
    assert_true(mim_secret_crypt_check(slow, "word"));
    assert_false(mim_secret_crypt_check(slow, "Word"));
    assert_false(mim_secret_crypt_check(slow, ""));
    (void)snprintf(text, sizeof(text), "user a on #%s %s\nuser off #%s\nuser n on nopass", hex, slow, hex);
    struct mim_acl *acl = acl_of(text);
    struct mim_acl_user *user = mim_acl_find(acl, mim_slice_text("a"));
    assert_true(acl->slow);
    assert_int_equal(mim_acl_password(acl, user, mim_slice_text("token")), MIM_ACL_RIGHT);
    assert_int_equal(mim_acl_password(acl, user, mim_slice_text("toke")), MIM_ACL_SLOW);
    assert_int_equal(mim_acl_password(acl, user, mim_slice_text("word")), MIM_ACL_SLOW);
    mim_acl_remember(acl, user, slow, mim_slice_text("word"));
    assert_int_equal(mim_acl_password(acl, user, mim_slice_text("word")), MIM_ACL_RIGHT);
    assert_int_equal(mim_acl_password(acl, user, mim_slice_text("word ")), MIM_ACL_SLOW);
    /* who is off, and who does not exist, take as long as a wrong password */
    assert_int_equal(mim_acl_password(acl, user_of(acl, "off"), mim_slice_text("token")), MIM_ACL_SLOW);
    assert_int_equal(mim_acl_password(acl, NULL, mim_slice_text("token")), MIM_ACL_SLOW);
    assert_int_equal(mim_acl_password(acl, user_of(acl, "n"), mim_slice_text("")), MIM_ACL_RIGHT);
    (void)mim_acl_free(acl);
}

static void test_requirepass(void **state) {
    (void)state;
    struct mim_acl *acl = NULL;
    struct mim_error error = {0};
    assert_int_equal(mim_acl_parse("", NULL, 0, "pass", &acl, &error), 0);
    assert_int_equal(mim_acl_password(acl, user_of(acl, "default"), mim_slice_text("pass")), MIM_ACL_RIGHT);
    assert_int_equal(mim_acl_password(acl, user_of(acl, "default"), mim_slice_text("pas")), MIM_ACL_WRONG);
    assert_int_equal(mim_acl_password(acl, user_of(acl, "default"), mim_slice_text("")), MIM_ACL_WRONG);
    assert_int_equal(mim_acl_password(acl, NULL, mim_slice_text("pass")), MIM_ACL_WRONG);
    (void)mim_acl_free(acl);
    assert_int_equal(mim_acl_parse("", NULL, 0, NULL, &acl, &error), 0);
    assert_true(user_of(acl, "default")->nopass);
    (void)mim_acl_free(acl);
    assert_int_not_equal(mim_acl_parse("t", "user default on", 15, "pass", &acl, &error), 0);
}

static void test_digests(void **state) {
    (void)state;
    struct mim_secret_digest a = mim_secret_sha256(mim_slice_text("abc"));
    char hex[2 * MIM_SECRET_DIGEST_SIZE + 1];
    mim_secret_hex(&a, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    struct mim_secret_digest b;
    assert_true(mim_secret_parse(mim_slice_text(hex), &b));
    assert_true(mim_secret_equal(&a, &b));
    for (unsigned i = 0; i < 8 * MIM_SECRET_DIGEST_SIZE; i++) { /* every bit counts */
        b.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_false(mim_secret_equal(&a, &b));
        b.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    assert_false(mim_secret_parse(mim_slice_text("xyz"), &b));
    hex[5] = 'g';
    assert_false(mim_secret_parse(mim_slice_text(hex), &b));
    char token[MIM_SECRET_TOKEN_SIZE];
    char other[MIM_SECRET_TOKEN_SIZE];
    struct mim_error error = {0};
    assert_int_equal(mim_secret_token(token, &error), 0);
    assert_int_equal(mim_secret_token(other, &error), 0);
    assert_int_equal(strlen(token), 64);
    assert_string_not_equal(token, other);
}

static void test_crypt_strings_that_are_too_weak(void **state) {
    (void)state;
    assert_false(mim_secret_crypt_valid(""));
    assert_false(mim_secret_crypt_valid("ab01FAX.bQRSU"));
    assert_false(mim_secret_crypt_valid("$1$abcdefgh$irWbblnpmw.5z7wgBnprh0"));
    assert_false(mim_secret_crypt_valid("$y$j9T$PB0i677eX6o6UeXv64A/D0$"));
    assert_true(mim_secret_crypt_valid("$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnQJu"
                                       "esI68OTLiBFdcbYEdFCoEOfaS35inz1"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_globs),
        cmocka_unit_test(test_random_globs_match_as_defined),
        cmocka_unit_test(test_a_glob_gives_up_at_its_budget),
        cmocka_unit_test(test_which_globs_are_whole),
        cmocka_unit_test(test_rules_of_commands),
        cmocka_unit_test(test_rules_of_aggregates),
        cmocka_unit_test(test_texts_that_are_refused),
        cmocka_unit_test(test_damaged_texts),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_requirepass),
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_crypt_strings_that_are_too_weak),
    };
    return cmocka_run_group_tests_name("acl", tests, NULL, NULL);
}
