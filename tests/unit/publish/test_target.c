// SPDX-License-Identifier: MIT
// Unit tests of the URL of --publish: what it may be, what it may not be, and that no password is ever shown.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "publish/target.h"

static struct mim_publish_target parsed(const char *url) {
    struct mim_publish_target target;
    struct mim_error error = {0};
    if (mim_publish_target_parse(url, &target, &error) != 0) {
        fail_msg("%s: %s", url, error.text);
    }
    return target;
}

static void a_host_has_a_port_and_a_database(void **state) {
    (void)state;
    struct mim_publish_target target = parsed("redis://cache.example:7000/3");
    assert_false(target.is_unix);
    assert_string_equal(target.host, "cache.example");
    assert_int_equal(target.port, 7000);
    assert_int_equal(target.db, 3);
    assert_false(target.has_password);
    assert_string_equal(target.shown, "redis://cache.example:7000/3");
}

static void what_is_left_out_has_defaults(void **state) {
    (void)state;
    struct mim_publish_target target = parsed("redis://127.0.0.1");
    assert_int_equal(target.port, 6379);
    assert_int_equal(target.db, 0);
    target = parsed("redis://127.0.0.1/");
    assert_int_equal(target.db, 0);
    target = parsed("redis://[::1]:7001");
    assert_string_equal(target.host, "::1");
    assert_int_equal(target.port, 7001);
    assert_string_equal(target.shown, "redis://[::1]:7001/0");
}

static void credentials_are_decoded_and_never_shown(void **state) {
    (void)state;
    struct mim_publish_target target = parsed("redis://app:s%40c:r%2Fet@h:1");
    assert_true(target.has_password);
    assert_string_equal(target.user, "app");
    assert_string_equal(target.password, "s@c:r/et");
    assert_string_equal(target.shown, "redis://h:1/0");
    target = parsed("redis://:only@h");
    assert_string_equal(target.user, "");
    assert_string_equal(target.password, "only");
    target = parsed("unix://:pw@/run/redis.sock?db=2");
    assert_string_equal(target.password, "pw");
    assert_string_equal(target.path, "/run/redis.sock");
    assert_int_equal(target.db, 2);
    assert_null(strstr(target.shown, "pw"));
}

static void unix_sockets_have_three_names(void **state) {
    (void)state;
    static const char *const urls[] = {"unix:///run/r.sock", "redis+unix:///run/r.sock", "redis-socket:///run/r.sock"};
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct mim_publish_target target = parsed(urls[i]);
        assert_true(target.is_unix);
        assert_string_equal(target.path, "/run/r.sock");
        assert_int_equal(target.db, 0);
    }
}

static void what_is_malformed_is_refused(void **state) {
    (void)state;
    static const char *const urls[] = {
        "",
        "redis",
        "redis://",
        "http://h",
        "rediss://h",
        "redis://h:0",

        "redis://h:x",
        "redis://h:65536",
        "redis://h/x",
        "redis://h/-1",
        "redis://h/1/2",
        "redis://:1",
        "redis://u@h",
        "redis://u:@h",
        "redis://u:%zz@h",
        "redis://u:%0@h",
        "redis://u:%00@h",
        "redis://[::1",
        "redis://[::1]x",
        "unix://relative",
        "unix:///",
        "unix:///a?db=x",
        "unix:///a?x=1",
        "redis://h/99999999999999999999",
    };
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct mim_publish_target target;
        struct mim_error error = {0};
        assert_int_equal(mim_publish_target_parse(urls[i], &target, &error), MIM_E_USAGE);
        assert_non_null(strstr(error.text, "--publish"));
    }
}

static void what_is_too_long_is_refused(void **state) {
    (void)state;
    struct mim_publish_target target;
    struct mim_error error = {0};
    char url[2048] = "redis://";
    memset(url + 8, 'h', MIM_TARGET_HOST_MAX + 1);
    assert_int_equal(mim_publish_target_parse(url, &target, &error), MIM_E_USAGE);
    url[8 + MIM_TARGET_HOST_MAX] = '\0';
    assert_int_equal(mim_publish_target_parse(url, &target, &error), 0);
    memcpy(url, "unix:///", 8);
    assert_int_equal(mim_publish_target_parse(url, &target, &error), MIM_E_USAGE);
    memset(url, 'p', sizeof(url));
    memcpy(url, "redis://:", 9);
    memcpy(url + 9 + MIM_TARGET_SECRET_MAX + 1, "@h", 3);
    error.text[0] = '\0';
    assert_int_equal(mim_publish_target_parse(url, &target, &error), MIM_E_USAGE);
    assert_null(strstr(error.text, "pppp"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_has_a_port_and_a_database),
        cmocka_unit_test(what_is_left_out_has_defaults),
        cmocka_unit_test(credentials_are_decoded_and_never_shown),
        cmocka_unit_test(unix_sockets_have_three_names),
        cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(what_is_too_long_is_refused),
    };
    return cmocka_run_group_tests_name("publish target", tests, NULL, NULL);
}
