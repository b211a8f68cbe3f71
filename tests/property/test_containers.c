// SPDX-License-Identifier: MIT
// Random operations on text, vector, map, ordered map and index against naive models, in two images at once: answers
// and bytes must be the same in both, also after one was copied to another address, and with memory running out at
// any allocation. A failure prints the seed it needs.
#include "../unit/image/support.h"

#include "base/hash.h"
#include "base/prng.h"

enum { TEXTS = 24, TEXT_MAX = 300, VEC_MAX = 700, KEYS = 900, STEPS = 60000, RELOCATE_EVERY = 9973 };

/** The containers in one image. */
struct world {
    struct mim_arena arena;
    struct mim_text texts[TEXTS];
    struct mim_vec vec;
    struct mim_map map;
    struct mim_omap omap;
    struct mim_index index;
};

/** What they should hold. */
struct naive {
    char texts[TEXTS][TEXT_MAX];
    size_t text_sizes[TEXTS];
    int64_t vec[VEC_MAX];
    uint32_t vec_count;
    bool in_map[KEYS];
    int64_t map[KEYS];
    uint64_t map_count;
    bool in_omap[KEYS];
    uint64_t omap[KEYS];
    uint64_t omap_count;
    bool in_index[KEYS];
    uint64_t index_count;
};

/** One operation: the same for both images. */
struct operation {
    uint64_t kind;
    uint32_t key;
    uint32_t other;
    int64_t value;
    char bytes[TEXT_MAX];
    size_t size;
};

static struct mim_string key_text(uint32_t n, char *buffer, size_t size) {
    (void)snprintf(buffer, size, n % 4 == 0 ? "account/with-a-longer-id-%u" : "k%u", n);
    return mim_string_of(buffer);
}

/** Keys 0, 1, 2 ... in ascending order. */
static struct mim_omap_key key_ordered(uint32_t n) {
    return (struct mim_omap_key){.major = (int64_t)(n / 8) - KEYS / 16, .minor = (uint64_t)(n % 8) << 61};
}

static uint32_t key_hash(uint32_t n) {
    uint32_t few = n / 3 * 3; /* three keys with one hash */
    return (uint32_t)mim_hash64(&few, sizeof(few), 0);
}

static bool match_number(const void *context, uint32_t number) { return *(const uint32_t *)context == number; }

static struct operation operation_draw(struct mim_prng *prng, bool shrinking) {
    struct operation o = {
        .kind = mim_prng_below(prng, 16),
        .key = (uint32_t)mim_prng_below(prng, KEYS),
        .other = (uint32_t)mim_prng_below(prng, KEYS),
        .value = (int64_t)mim_prng_next(prng),
        .size = mim_prng_below(prng, mim_prng_chance(prng, 1, 2) ? 9 : TEXT_MAX),
    };
    for (size_t i = 0; i < o.size; i++) {
        o.bytes[i] = (char)mim_prng_next(prng);
    }
    if (shrinking && (o.kind == 2 || o.kind == 5 || o.kind == 8 || o.kind == 11) && mim_prng_chance(prng, 1, 2)) {
        o.kind++; /* the removal that follows in the list */
    }
    return o;
}

/** Does an operation; returns 1 done, 0 nothing to do, -1 out of memory. */
static int world_apply(struct world *w, const struct operation *o, uint32_t vec_count) {
    char buffer[64];
    int64_t *place = NULL;
    switch (o->kind) {
    case 0:
        return mim_text_assign(&w->arena, &w->texts[o->key % TEXTS], mim_slice_of(o->bytes, o->size)) ? 1 : -1;
    case 1:
        mim_text_clear(&w->arena, &w->texts[o->key % TEXTS]);
        return 1;
    case 2:
    case 4:
        if (vec_count == VEC_MAX || (place = mim_vec_push_in(&w->arena, &w->vec, 8)) == NULL) {
            return vec_count == VEC_MAX ? 0 : -1;
        }
        assert_int_equal(*place, 0);
        *place = o->value;
        return 1;
    case 3:
        mim_vec_remove_in(&w->arena, &w->vec, 8, o->key % VEC_MAX);
        return 1;
    case 5:
    case 7:
        place = mim_map_put_in(&w->arena, &w->map, 8, key_text(o->key, buffer, sizeof(buffer)));
        if (place != NULL) {
            *place = o->value;
        }
        return place != NULL ? 1 : -1;
    case 6:
        return mim_map_remove_in(&w->arena, &w->map, key_text(o->key, buffer, sizeof(buffer)));
    case 8:
    case 10:
        return mim_omap_put_in(&w->arena, &w->omap, key_ordered(o->key), (uint64_t)o->value) ? 1 : -1;
    case 9:
        return mim_omap_remove_in(&w->arena, &w->omap, key_ordered(o->key));
    case 11:
    case 13:
        if (mim_index_find(&w->arena, &w->index, key_hash(o->key), match_number, &o->key, &(uint32_t){0})) {
            return 0;
        }
        return mim_index_insert(&w->arena, &w->index, key_hash(o->key), o->key) ? 1 : -1;
    case 12:
        return mim_index_remove(&w->arena, &w->index, key_hash(o->key), o->key);
    case 14:
        return vec_count % 97 == 0 && mim_vec_resize_in(&w->arena, &w->vec, 8, vec_count / 2);
    default: /* rarely, everything of one kind goes */
        if (o->value % 4096 == 0) {
            mim_map_clear_in(&w->arena, &w->map);
            mim_omap_clear_in(&w->arena, &w->omap);
            mim_index_clear(&w->arena, &w->index);
            return 1;
        }
        return 0;
    }
}

static int naive_clear_keys(struct naive *m) {
    memset(m->in_map, 0, sizeof(m->in_map));
    memset(m->in_omap, 0, sizeof(m->in_omap));
    memset(m->in_index, 0, sizeof(m->in_index));
    m->map_count = m->omap_count = m->index_count = 0;
    return 1;
}

/** Does the same to the model; returns what the images must have answered, memory aside. */
static int naive_apply(struct naive *m, const struct operation *o) {
    uint32_t text = o->key % TEXTS;
    uint32_t at = o->key % VEC_MAX;
    bool was = false;
    switch (o->kind) {
    case 0:
        memcpy(m->texts[text], o->bytes, o->size);
        m->text_sizes[text] = o->size;
        return 1;
    case 1:
        m->text_sizes[text] = 0;
        return 1;
    case 2:
    case 4:
        if (m->vec_count == VEC_MAX) {
            return 0;
        }
        m->vec[m->vec_count++] = o->value;
        return 1;
    case 3:
        if (at < m->vec_count) {
            m->vec_count--;
            memmove(&m->vec[at], &m->vec[at + 1], (m->vec_count - at) * sizeof(m->vec[0]));
        }
        return 1;
    case 5:
    case 7:
        m->map_count += !m->in_map[o->key];
        m->in_map[o->key] = true;
        m->map[o->key] = o->value;
        return 1;
    case 6:
        was = m->in_map[o->key];
        m->in_map[o->key] = false;
        m->map_count -= was;
        return was;
    case 8:
    case 10:
        m->omap_count += !m->in_omap[o->key];
        m->in_omap[o->key] = true;
        m->omap[o->key] = (uint64_t)o->value;
        return 1;
    case 9:
        was = m->in_omap[o->key];
        m->in_omap[o->key] = false;
        m->omap_count -= was;
        return was;
    case 11:
    case 13:
        was = m->in_index[o->key];
        m->in_index[o->key] = true;
        m->index_count += !was;
        return !was;
    case 12:
        was = m->in_index[o->key];
        m->in_index[o->key] = false;
        m->index_count -= was;
        return was;
    case 14:
        if (m->vec_count % 97 != 0) {
            return 0;
        }
        m->vec_count /= 2;
        return 1;
    default:
        return o->value % 4096 == 0 ? naive_clear_keys(m) : 0;
    }
}

/** Seeks from a key both ways. */
static void check_seek(const struct world *w, const struct naive *m, uint32_t from) {
    for (int descending = 0; descending < 2; descending++) {
        struct mim_omap_key key = {0};
        uint64_t value = 0;
        bool found = mim_omap_seek_in(&w->arena, &w->omap, key_ordered(from), descending != 0, &key, &value);
        int64_t n = from;
        while (n >= 0 && n < KEYS && !m->in_omap[n]) {
            n += descending != 0 ? -1 : 1;
        }
        assert_int_equal(found, n >= 0 && n < KEYS);
        if (found) {
            struct mim_omap_key expected = key_ordered((uint32_t)n);
            assert_true(key.major == expected.major && key.minor == expected.minor);
            assert_int_equal(value, m->omap[n]);
        }
    }
}

/** Everything about one key. */
static void check_key(const struct world *w, const struct naive *m, uint32_t n) {
    char buffer[64];
    const int64_t *value = mim_map_get_in(&w->arena, &w->map, key_text(n, buffer, sizeof(buffer)));
    assert_int_equal(value != NULL, m->in_map[n]);
    assert_true(value == NULL || *value == m->map[n]);
    uint64_t word = 0;
    assert_int_equal(mim_omap_get_in(&w->arena, &w->omap, key_ordered(n), &word), m->in_omap[n]);
    assert_true(!m->in_omap[n] || word == m->omap[n]);
    uint32_t number = 0;
    assert_int_equal(mim_index_find(&w->arena, &w->index, key_hash(n), match_number, &n, &number), m->in_index[n]);
    check_seek(w, m, n);
}

static void check_all(const struct world *w, const struct naive *m) {
    for (uint32_t n = 0; n < KEYS; n++) {
        check_key(w, m, n);
    }
    for (uint32_t n = 0; n < TEXTS; n++) {
        assert_true(
            mim_slice_equal(mim_text_slice(&w->arena, &w->texts[n]), mim_slice_of(m->texts[n], m->text_sizes[n])));
    }
    assert_int_equal(w->vec.count, m->vec_count);
    for (uint32_t n = 0; n < m->vec_count; n++) {
        assert_int_equal(*(int64_t *)mim_vec_get_in(&w->arena, &w->vec, 8, n), m->vec[n]);
    }
    assert_int_equal(mim_map_count_in(&w->arena, &w->map), m->map_count);
    uint64_t walked = 0;
    while (mim_map_at_in(&w->arena, &w->map, walked, NULL) != NULL) {
        walked++;
    }
    assert_int_equal(walked, m->map_count);
    assert_int_equal(w->omap.count, m->omap_count);
    assert_true(mim_omap_valid_in(&w->arena, &w->omap));
    assert_int_equal(w->index.count, m->index_count);
}

static void world_clear(struct world *w) {
    for (uint32_t n = 0; n < TEXTS; n++) {
        mim_text_clear(&w->arena, &w->texts[n]);
    }
    mim_vec_clear_in(&w->arena, &w->vec, 8);
    mim_map_clear_in(&w->arena, &w->map);
    mim_omap_clear_in(&w->arena, &w->omap);
    mim_index_clear(&w->arena, &w->index);
}

static bool world_same_roots(const struct world *a, const struct world *b) {
    return memcmp(a->texts, b->texts, sizeof(a->texts)) == 0 && memcmp(&a->vec, &b->vec, sizeof(a->vec)) == 0 &&
           memcmp(&a->map, &b->map, sizeof(a->map)) == 0 && memcmp(&a->omap, &b->omap, sizeof(a->omap)) == 0 &&
           memcmp(&a->index, &b->index, sizeof(a->index)) == 0;
}

/** Runs a seed. With `pages`, the images may grow by so many pages only, and by some more now and then. */
static void run_seed(uint64_t seed, uint64_t pages) {
    static struct naive model;
    static struct world worlds[2];
    print_message("# seed %llu, %llu pages\n", (unsigned long long)seed, (unsigned long long)pages);
    memset(&model, 0, sizeof(model));
    memset(worlds, 0, sizeof(worlds));
    struct mim_prng prng;
    mim_prng_init(&prng, seed);
    uint64_t refused = 0;
    for (int i = 0; i < 2; i++) {
        worlds[i].arena = support_open(32u << 20);
        if (pages > 0) {
            support_limit(&worlds[i].arena, pages);
        }
    }
    for (int step = 1; step <= STEPS; step++) {
        struct operation o = operation_draw(&prng, step / 7000 % 2 == 1);
        int r[2];
        for (int i = 0; i < 2; i++) {
            r[i] = world_apply(&worlds[i], &o, model.vec_count);
        }
        assert_int_equal(r[0], r[1]);
        assert_true(r[0] >= 0 || pages > 0);
        refused += r[0] < 0;
        if (r[0] >= 0) {
            assert_int_equal(naive_apply(&model, &o), r[0]);
        }
        check_key(&worlds[0], &model, o.key);
        check_key(&worlds[1], &model, o.other);
        if (pages > 0 && refused % 500 == 499 && r[0] < 0) {
            support_limit(&worlds[0].arena, 1);
            support_limit(&worlds[1].arena, 1);
        }
        if (step % RELOCATE_EVERY == 0) {
            struct mim_arena moved = support_copy(&worlds[1].arena);
            mim_arena_close(&worlds[1].arena);
            worlds[1].arena = moved;
            check_all(&worlds[0], &model);
            check_all(&worlds[1], &model);
        }
    }
    assert_true(world_same_roots(&worlds[0], &worlds[1]));
    assert_true(support_same(&worlds[0].arena, &worlds[1].arena));
    assert_true(pages == 0 || refused > 0);
    for (int i = 0; i < 2; i++) {
        world_clear(&worlds[i]);
        assert_true(support_all_released(&worlds[i].arena));
        mim_arena_close(&worlds[i].arena);
    }
}

static void test_containers_behave_as_naive_models_in_any_order_of_operations(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        run_seed(seed, 0);
    }
}

static void test_containers_stay_whole_when_memory_runs_out_at_any_allocation(void **state) {
    (void)state;
    for (uint64_t seed = 101; seed <= 106; seed++) {
        run_seed(seed, seed % 6 * 3 + 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_containers_behave_as_naive_models_in_any_order_of_operations),
        cmocka_unit_test(test_containers_stay_whole_when_memory_runs_out_at_any_allocation),
    };
    return cmocka_run_group_tests_name("image/containers", tests, NULL, NULL);
}
