// SPDX-License-Identifier: MIT
// When damage is looked at again: never twice in the same place, never without end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/live.h"

static int damaged(struct mim_error *error, unsigned position, unsigned evidence) {
    return mim_error_set(error, MIM_E_DAMAGED, "journal/1.journal: offset 4096: position %u: zeros; LSN %u proves it",
                         position, evidence);
}

static void test_success_and_other_errors_are_final(void **state) {
    (void)state;
    struct mim_live live = {0};
    struct mim_error error = {0};
    assert_false(mim_live_look_again(&live, 0, &error));
    assert_false(mim_live_look_again(&live, MIM_E_MODEL, &error));
    assert_false(mim_live_look_again(&live, 1, &error));
}

static void test_damage_in_the_same_place_is_real(void **state) {
    (void)state;
    struct mim_live live = {0};
    struct mim_error error = {0};
    assert_true(mim_live_look_again(&live, damaged(&error, 7, 100), &error));
    assert_false(mim_live_look_again(&live, damaged(&error, 7, 200), &error)); /* other evidence, same place */
}

static void test_damage_that_moves_is_looked_at_again_but_not_for_ever(void **state) {
    (void)state;
    struct mim_live live = {0};
    struct mim_error error = {0};
    unsigned looks = 0;
    while (mim_live_look_again(&live, damaged(&error, looks, 1), &error)) {
        looks++;
        assert_true(looks < 100);
    }
    assert_true(looks >= 10);
}

static void test_errors_without_a_position_are_compared_whole(void **state) {
    (void)state;
    struct mim_live live = {0};
    struct mim_error error = {0};
    assert_true(mim_live_look_again(&live, mim_error_set(&error, MIM_E_IO, "short read: 5"), &error));
    assert_true(mim_live_look_again(&live, mim_error_set(&error, MIM_E_IO, "short read: 56"), &error));
    assert_false(mim_live_look_again(&live, mim_error_set(&error, MIM_E_IO, "short read: 56"), &error));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_success_and_other_errors_are_final),
        cmocka_unit_test(test_damage_in_the_same_place_is_real),
        cmocka_unit_test(test_damage_that_moves_is_looked_at_again_but_not_for_ever),
        cmocka_unit_test(test_errors_without_a_position_are_compared_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
