// SPDX-License-Identifier: MIT
// The assertion: quiet when it holds, one line and an abort when it does not; in a child, as it ends the process.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/assert.h"
#include "base/prng.h"

enum child { CHILD_HOLDS, CHILD_BREAKS, CHILD_BOUND_ZERO };

/** Runs a child and reads what it says on stderr. */
static int run_child(enum child what, char *ret_text, size_t size) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends[1], STDERR_FILENO);
        struct mim_prng prng;
        mim_prng_init(&prng, 1);
        MIM_ASSERT(what != CHILD_BREAKS);
        if (what == CHILD_BOUND_ZERO) {
            (void)mim_prng_below(&prng, 0);
        }
        _exit(7);
    }
    (void)close(ends[1]);
    size_t used = 0;
    for (ssize_t n = 1; n > 0 && used<size - 1; used += n> 0 ? (size_t)n : 0) {
        n = read(ends[0], ret_text + used, size - 1 - used);
    }
    ret_text[used] = '\0';
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_an_assertion_that_holds_does_nothing(void **state) {
    (void)state;
    char text[512];
    int status = run_child(CHILD_HOLDS, text, sizeof(text));
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    assert_string_equal(text, "");
}

static void test_a_broken_one_says_where_and_aborts(void **state) {
    (void)state;
    char text[512];
    int status = run_child(CHILD_BREAKS, text, sizeof(text));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "test_assert.c:"));
    assert_non_null(strstr(text, "assertion failed: what != CHILD_BREAKS"));
}

static void test_a_random_number_below_zero_is_a_broken_invariant(void **state) {
    (void)state;
    char text[512];
    int status = run_child(CHILD_BOUND_ZERO, text, sizeof(text));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "bound > 0"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_assertion_that_holds_does_nothing),
        cmocka_unit_test(test_a_broken_one_says_where_and_aborts),
        cmocka_unit_test(test_a_random_number_below_zero_is_a_broken_invariant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
