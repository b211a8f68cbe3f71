// SPDX-License-Identifier: MIT
// Reservations and mapped images: fallback under RLIMIT_AS, every way a file may not be an image, private changes.
#include "support.h"

#include "image/settle.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#endif

static int image_file(void) {
    char path[] = "/tmp/mim-test-image-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    return fd;
}

/** Writes an image into a file at an offset; returns its size. */
static uint64_t image_write(const struct mim_arena *arena, int fd, uint64_t offset) {
    uint64_t used = mim_arena_head(arena)->used;
    mim_arena_poison_lift(arena);
    assert_int_equal(pwrite(fd, arena->base, used, (off_t)offset), (ssize_t)used);
    mim_arena_poison_restore(arena);
    return used;
}

static void test_an_open_arena_is_an_empty_image_at_a_huge_page(void **state) {
    (void)state;
    struct mim_arena arena = support_open(0);
    assert_int_equal((uintptr_t)arena.base % (2u << 20), 0);
    assert_true(arena.capacity >= MIM_IMAGE_RESERVATION_MIN);
    assert_int_equal(arena.limit, arena.capacity);
    const struct mim_arena_head *head = mim_arena_head(&arena);
    assert_int_equal(head->magic, MIM_ARENA_MAGIC);
    assert_int_equal(head->used, MIM_IMAGE_PAGE);
    mim_arena_close(&arena);
    assert_null(arena.base);
    mim_arena_close(&arena);
}

static void test_odd_reservations_are_rounded(void **state) {
    (void)state;
    struct mim_arena arena = support_open(1);
    assert_int_equal(arena.capacity, MIM_IMAGE_RESERVATION_MIN);
    mim_arena_close(&arena);
    arena = support_open((64u << 20) + 1);
    assert_int_equal(arena.capacity, 66u << 20);
    mim_arena_close(&arena);
    arena = support_open(UINT64_MAX); /* beyond any address space: less is taken */
    assert_true(arena.capacity <= 1ull << 46);
    mim_arena_close(&arena);
}

#ifndef TEST_ASAN
static void test_a_limit_of_address_space_gives_a_smaller_arena(void **state) {
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    struct rlimit lower = {.rlim_cur = 1ull << 30, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &lower), 0);
    struct mim_arena arena = {0};
    struct mim_error error = {0};
    int r = mim_arena_open(&arena, 0, &error);
    void *rest = malloc(64u << 20); /* room for the rest of the process was left */
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(r, 0);
    assert_non_null(rest);
    free(rest);
    assert_true(arena.capacity >= 256u << 20 && arena.capacity < 1u << 30);
    assert_false(mim_ref_is_null(mim_arena_alloc(&arena, 128u << 20)));
    mim_arena_close(&arena);
}

static void test_too_little_address_space_is_a_memory_error(void **state) {
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    struct rlimit lower = {.rlim_cur = 1u << 20, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &lower), 0);
    struct mim_arena arena = {0};
    struct mim_error error = {0};
    int r = mim_arena_open(&arena, 0, &error);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(r, MIM_E_MEMORY);
    assert_null(arena.base);
    assert_non_null(strstr(error.text, "address space"));
}
#endif

static void test_a_mapped_image_is_the_image_and_changes_stay_private(void **state) {
    (void)state;
    struct mim_arena arena = support_open(64u << 20);
    struct mim_map map = {0};
    for (int i = 0; i < 5000; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "key number %d", i);
        *(int64_t *)mim_map_put_in(&arena, &map, 8, mim_string_of(key)) = i;
    }
    int fd = image_file();
    uint64_t size = image_write(&arena, fd, 8192);
    for (int round = 0; round < 2; round++) { /* what the first one changes, the second does not see */
        struct mim_arena mapped = {0};
        struct mim_error error = {0};
        assert_int_equal(mim_arena_map(&mapped, fd, 8192, size, 64u << 20, &error), 0);
        assert_true(support_same(&arena, &mapped));
        struct mim_arena twin = support_copy(&arena);
        struct mim_map maps[2] = {map, map};
        for (int i = 0; i < 5000; i += 3) {
            char key[32];
            (void)snprintf(key, sizeof(key), "key number %d", i);
            assert_true(mim_map_remove_in(&mapped, &maps[0], mim_string_of(key)));
            assert_true(mim_map_remove_in(&twin, &maps[1], mim_string_of(key)));
            (void)snprintf(key, sizeof(key), "another key, number %d", i);
            assert_non_null(mim_map_put_in(&mapped, &maps[0], 8, mim_string_of(key)));
            assert_non_null(mim_map_put_in(&twin, &maps[1], 8, mim_string_of(key)));
        }
        assert_true(support_same(&twin, &mapped));
        mim_arena_close(&twin);
        mim_arena_close(&mapped);
    }
    assert_int_equal(close(fd), 0);
    mim_arena_close(&arena);
}

/** Blocks that a file has, in 512 bytes. */
static uint64_t file_blocks(int fd) {
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    return (uint64_t)status.st_blocks;
}

static void test_holes_of_the_file_are_fresh_memory_and_settling_leaves_them_so(void **state) {
    (void)state;
    struct mim_arena arena = support_open(64u << 20);
    struct mim_ref ref = mim_arena_alloc(&arena, 24u << 20);
    uint8_t *data = mim_arena_at(&arena, ref);
    memset(data, 5, 1000);
    memset(data + (20u << 20), 6, 4u << 20);
    int fd = image_file();
    uint64_t size = mim_arena_head(&arena)->used;
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    mim_arena_poison_lift(&arena);
    uint64_t front = ref.offset + 4096;
    uint64_t back = ref.offset + (20u << 20);
    assert_int_equal(pwrite(fd, arena.base, front, 0), front);
    assert_int_equal(pwrite(fd, arena.base + back, size - back, (off_t)back), size - back);
    mim_arena_poison_restore(&arena);
    uint64_t blocks = file_blocks(fd);
    struct mim_arena mapped = {0};
    struct mim_error error = {0};
    assert_int_equal(mim_arena_map(&mapped, fd, 0, size, 64u << 20, &error), 0);
    assert_true(support_same(&arena, &mapped)); /* reads all of it */
    assert_int_equal(file_blocks(fd), blocks);  /* no fault made a page in the file */
    uint8_t *hole = (uint8_t *)mim_arena_at(&mapped, ref) + (10u << 20);
    hole[0] = data[10u << 20] = 7;
    struct mim_settling settling = {.end = size};
    while (mim_arena_settle(&mapped, &settling)) {
    }
    mim_arena_settle_end(&settling);
    assert_true(settling.cursor >= size);
    assert_true(support_same(&arena, &mapped));
    memset(hole + 100, 8, 100);
    memset(data + (10u << 20) + 100, 8, 100);
    assert_true(support_same(&arena, &mapped));
    mim_arena_close(&mapped);
    assert_int_equal(close(fd), 0);
    mim_arena_close(&arena);
}

static void test_what_is_no_image_is_refused(void **state) {
    (void)state;
    struct mim_arena arena = support_open(16u << 20);
    (void)mim_arena_alloc(&arena, 100);
    int fd = image_file();
    uint64_t size = image_write(&arena, fd, 0);
    struct mim_arena mapped = {0};
    struct mim_error error = {0};
    assert_int_equal(mim_arena_map(&mapped, -1, 0, size, 0, &error), MIM_E_IO);
    assert_int_equal(mim_arena_map(&mapped, fd, 0, size + 4096, 0, &error), MIM_E_FORMAT);
    assert_int_equal(mim_arena_map(&mapped, fd, 4096, size, 0, &error), MIM_E_FORMAT);
    assert_int_equal(mim_arena_map(&mapped, fd, 4096, size - 4096, 0, &error), MIM_E_FORMAT); /* no head there */
    assert_int_equal(mim_arena_map(&mapped, fd, 0, size - 4096, 0, &error), MIM_E_FORMAT);
    assert_int_equal(mim_arena_map(&mapped, fd, 100, size - 4096, 0, &error), MIM_E_FORMAT);
    assert_int_equal(mim_arena_map(&mapped, fd, 0, 0, 0, &error), MIM_E_FORMAT);
    assert_int_equal(mim_arena_map(&mapped, fd, 0, UINT64_MAX & ~4095ull, 0, &error), MIM_E_FORMAT);
    assert_int_equal(mim_arena_map(&mapped, fd, UINT64_MAX & ~4095ull, 4096, 0, &error), MIM_E_FORMAT);
    assert_null(mapped.base);
    const struct {
        uint64_t offset, value;
    } damages[] = {
        {offsetof(struct mim_arena_head, magic), 1},
        {offsetof(struct mim_arena_head, format), 2},
        {offsetof(struct mim_arena_head, format), 1ull << 32 | 1},
        {offsetof(struct mim_arena_head, used), size + 4096},
        {offsetof(struct mim_arena_head, used), 5000},
        {offsetof(struct mim_arena_head, used), 0},
        {offsetof(struct mim_arena_head, freed), size + 1},
        {offsetof(struct mim_arena_head, bump), size + 8},
        {offsetof(struct mim_arena_head, bump), 8},
        {offsetof(struct mim_arena_head, bump_end), size + 8},
        {offsetof(struct mim_arena_head, free_lists[159]), size},
        {offsetof(struct mim_arena_head, free_lists[3]), 4097},
    };
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        (void)image_write(&arena, fd, 0);
        assert_int_equal(pwrite(fd, &damages[i].value, 8, (off_t)damages[i].offset), 8);
        assert_int_equal(mim_arena_map(&mapped, fd, 0, size, 0, &error), MIM_E_FORMAT);
        assert_true(error.text[0] != '\0');
    }
    (void)image_write(&arena, fd, 0);
    assert_int_equal(mim_arena_map(&mapped, fd, 0, size, 0, &error), 0);
    assert_true(mapped.capacity > size);
    mim_arena_close(&mapped);
    assert_int_equal(close(fd), 0);
    mim_arena_close(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_open_arena_is_an_empty_image_at_a_huge_page),
        cmocka_unit_test(test_odd_reservations_are_rounded),
#ifndef TEST_ASAN /* the sanitizer's own reservations are beyond any limit */
        cmocka_unit_test(test_a_limit_of_address_space_gives_a_smaller_arena),
        cmocka_unit_test(test_too_little_address_space_is_a_memory_error),
#endif
        cmocka_unit_test(test_a_mapped_image_is_the_image_and_changes_stay_private),
        cmocka_unit_test(test_holes_of_the_file_are_fresh_memory_and_settling_leaves_them_so),
        cmocka_unit_test(test_what_is_no_image_is_refused),
    };
    return cmocka_run_group_tests_name("image/arena-posix", tests, NULL, NULL);
}
