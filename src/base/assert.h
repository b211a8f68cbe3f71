// SPDX-License-Identifier: MIT
// Always-on assertions: a broken invariant stops the process before it can acknowledge anything. A crash is a
// tested state; a wrong answer is not. Under cmocka the failure is redirected so that firing is itself tested.
#ifndef MIM_BASE_ASSERT_H
#define MIM_BASE_ASSERT_H

#ifdef MIM_UNIT_TEST
extern void mock_assert(const int result, const char *const expression, const char *const file, const int line);
#define MIM_ASSERT(expression) mock_assert((expression) ? 1 : 0, #expression, __FILE__, __LINE__)
#else
/** Prints "file:line: assertion failed: expression" to stderr and aborts. */
__attribute__((noreturn, cold)) void mim_assert_failed(const char *expression, const char *file, int line);
#define MIM_ASSERT(expression) \
    (__builtin_expect(!!(expression), 1) ? (void)0 : mim_assert_failed(#expression, __FILE__, __LINE__))
#endif

/** An assertion too dear for production: on in tests, simulation and fuzzing (meson -Dverify=true). */
#ifdef MIM_VERIFY
#define MIM_VERIFY_THAT(expression) MIM_ASSERT(expression)
#else
#define MIM_VERIFY_THAT(expression) ((void)0)
#endif

#define MIM_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define MIM_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#endif
