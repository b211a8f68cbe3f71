// SPDX-License-Identifier: MIT
// Writing snapshots on the simulated disk: holes, blocks shared with the snapshot before where the disk can, everything
// written where it cannot, and the same bytes in the end. Failures leave what was there.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/image.h"
#include "models/models.h"
#include "snapshot/snapshot.h"
#include "storage/storage_sim.h"

#define BLOCK      MIM_SNAPSHOT_BLOCK_SIZE
#define DATA_SIZE  (6u << 20)
#define FINAL_PATH "snapshots/00000000000000000000.snapshot"

struct fixture {
    struct mim_storage_sim *sim;
    struct mim_storage storage;
    struct mim_compiled *compiled;
    struct mim_engine *engine;
    uint8_t *data; /* in the image */
};

static void ok(int code, const struct mim_error *error) {
    if (code != 0) {
        fail_msg("unexpected error %d: %s", code, error->text);
    }
}

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof(*f));
    struct mim_error error = {0};
    f->sim = mim_storage_sim_new(3);
    f->storage = mim_storage_sim_storage(f->sim);
    ok(mim_compiled_new(&mim_ledger_model, &f->compiled, &error), &error);
    struct mim_engine_options options = {.compiled = f->compiled};
    ok(mim_engine_new(&options, &f->engine, &error), &error);
    struct mim_arena *arena = mim_engine_arena(f->engine);
    struct mim_ref ref = mim_arena_alloc(arena, DATA_SIZE);
    assert_false(mim_ref_is_null(ref));
    f->data = mim_arena_at(arena, ref);
    for (size_t i = 0; i < DATA_SIZE / 2; i++) { /* the second half stays zero */
        f->data[i] = (uint8_t)(i / 7u + i / BLOCK + 1u);
    }
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    (void)mim_engine_free(f->engine);
    (void)mim_compiled_free(f->compiled);
    (void)mim_storage_sim_free(f->sim);
    test_free(f);
    return 0;
}

static int write_snapshot(struct fixture *f, const struct mim_snapshot_header *base,
                          struct mim_snapshot_header *ret_header, uint64_t *ret_written, struct mim_error *error) {
    return mim_snapshot_write(f->storage, f->engine, base, 1, NULL, NULL, ret_header, ret_written, error);
}

/** The file is whole and holds the image as it is. */
static void expect_image(struct fixture *f, const struct mim_snapshot_header *header) {
    struct mim_error error = {0};
    uint64_t size = 0;
    ok(mim_snapshot_verify(f->storage, header, 1, NULL, &error), &error);
    const uint8_t *bytes = mim_storage_sim_bytes(f->sim, FINAL_PATH, &size);
    assert_non_null(bytes);
    struct mim_arena *arena = mim_engine_arena(f->engine);
    mim_arena_poison_lift(arena);
    assert_true(size >= MIM_SNAPSHOT_HEADER_SIZE + header->image_size);
    assert_memory_equal(bytes + MIM_SNAPSHOT_HEADER_SIZE, arena->base, header->image_size);
    mim_arena_poison_restore(arena);
}

static void test_blocks_of_zeros_are_not_written(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    struct mim_snapshot_header header;
    uint64_t written = 0;
    ok(write_snapshot(f, NULL, &header, &written, &error), &error);
    assert_in_range(written, DATA_SIZE / 2, DATA_SIZE / 2 + (2u << 20));
    assert_true(header.image_size > DATA_SIZE);
    expect_image(f, &header);
}

static void test_unchanged_blocks_are_shared_and_the_others_written(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    struct mim_snapshot_header base;
    struct mim_snapshot_header header;
    uint64_t written = 0;
    ok(write_snapshot(f, NULL, &base, &written, &error), &error);
    f->data[5] ^= 1u;
    memset(f->data + 8 * BLOCK, 0, 2u * BLOCK); /* zeros now: the old bytes must not shine through */
    f->data[DATA_SIZE - 1] = 9;
    ok(write_snapshot(f, &base, &header, &written, &error), &error);
    assert_in_range(written, 3, 8u * BLOCK);
    expect_image(f, &header);
    struct mim_snapshot_header again;
    ok(write_snapshot(f, &header, &again, &written, &error), &error);
    assert_in_range(written, 0, BLOCK); /* the last, partial block at most */
    expect_image(f, &again);
}

static void test_a_grown_image_shares_what_both_have(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    struct mim_snapshot_header base;
    struct mim_snapshot_header header;
    uint64_t written = 0;
    ok(write_snapshot(f, NULL, &base, &written, &error), &error);
    struct mim_arena *arena = mim_engine_arena(f->engine);
    struct mim_ref ref = mim_arena_alloc(arena, DATA_SIZE);
    memset(mim_arena_at(arena, ref), 3, BLOCK);
    ok(write_snapshot(f, &base, &header, &written, &error), &error);
    assert_true(header.image_size > base.image_size);
    assert_in_range(written, BLOCK, 40u * BLOCK); /* whole runs where nothing can be shared */
    expect_image(f, &header);                     /* where the old file had its table there is image now */
}

static void test_a_disk_that_cannot_share_gets_all_blocks(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    struct mim_snapshot_header base;
    struct mim_snapshot_header header;
    uint64_t first = 0;
    uint64_t written = 0;
    mim_storage_sim_set_sharing(f->sim, false);
    ok(write_snapshot(f, NULL, &base, &first, &error), &error);
    f->data[5] ^= 1u;
    ok(write_snapshot(f, &base, &header, &written, &error), &error);
    assert_int_equal(written, first);
    expect_image(f, &header);
}

static void test_a_damaged_table_of_the_one_before_is_not_relied_on(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    struct mim_snapshot_header base;
    struct mim_snapshot_header header;
    uint64_t first = 0;
    uint64_t written = 0;
    ok(write_snapshot(f, NULL, &base, &first, &error), &error);
    assert_true(mim_storage_sim_flip_bit(f->sim, FINAL_PATH, (base.table_offset + 16) * 8));
    ok(write_snapshot(f, &base, &header, &written, &error), &error);
    assert_int_equal(written, first);
    expect_image(f, &header);
}

static void test_a_failure_at_any_call_leaves_the_snapshot_before_and_no_temporary_file(void **state) {
    struct fixture *f = *state;
    struct mim_error error = {0};
    struct mim_snapshot_header base;
    struct mim_snapshot_header header;
    uint64_t written = 0;
    uint64_t size = 0;
    ok(write_snapshot(f, NULL, &base, &written, &error), &error);
    static const enum mim_sim_fault faults[] = {MIM_SIM_FAULT_EIO, MIM_SIM_FAULT_ENOSPC};
    for (unsigned kind = 0; kind < 2; kind++) {
        unsigned failures = 0;
        for (uint64_t nth = 1;; nth++) {
            f->data[nth * 100] ^= 1u;
            mim_storage_sim_fail_nth(f->sim, nth, faults[kind], false);
            int rc = write_snapshot(f, &base, &header, &written, &error);
            mim_storage_sim_clear_faults(f->sim);
            if (rc == 0) {
                expect_image(f, &header);
                base = header;
            } else {
                failures++;
                assert_true(rc == MIM_E_IO || rc == MIM_E_NO_SPACE);
                assert_null(mim_storage_sim_bytes(f->sim, "snapshots/new.tmp", &size));
            }
            struct mim_snapshots found;
            ok(mim_snapshots_load(f->storage, &found, &error), &error);
            assert_int_equal(found.count, 1);
            assert_true(found.items[0].usable);
            ok(mim_snapshot_verify(f->storage, &found.items[0].header, 1, NULL, &error), &error);
            base = found.items[0].header; /* a failed directory sync comes after the rename */
            mim_snapshots_deinit(&found);
            if (rc == 0 && nth > 20) {
                break;
            }
            assert_true(nth < 500);
        }
        assert_true(failures > 5);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_blocks_of_zeros_are_not_written),
        TEST(test_unchanged_blocks_are_shared_and_the_others_written),
        TEST(test_a_grown_image_shares_what_both_have),
        TEST(test_a_disk_that_cannot_share_gets_all_blocks),
        TEST(test_a_damaged_table_of_the_one_before_is_not_relied_on),
        TEST(test_a_failure_at_any_call_leaves_the_snapshot_before_and_no_temporary_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
