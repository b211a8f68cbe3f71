// SPDX-License-Identifier: MIT
// Linear hashing: the bucket of a hash is given by its low bits, one bucket is split per insertion, nothing ever
// pauses. A bucket is one cache line. Chains are packed: every bucket but the last is full.
#include "image/image.h"

#include <string.h>

#include "base/assert.h"

#define BUCKET_ENTRIES    7u
#define BUCKET_COUNT_MASK 7ull     /* low bits of the tail: entries in this bucket */
#define BUCKET_NEXT_MASK  (~63ull) /* the rest: overflow bucket, 64-aligned, 0 for none */

/* Entries per bucket before a split. Measured at 8 to 16 million entries, overflow buckets counted: 4.5 costs 15.9
 * bytes an entry and 0.06 cache misses beyond the first per hit, 6 costs 13.7 and 0.13, with 7 % more time. */
#define INDEX_LOAD 6u

struct index_entry {
    uint32_t hash;
    uint32_t number;
};

struct index_bucket {
    struct index_entry entries[BUCKET_ENTRIES];
    uint64_t tail;
};

_Static_assert(sizeof(struct index_bucket) == 64, "a bucket is a cache line");
_Static_assert(sizeof(struct mim_index) == 256, "part of the format");

static uint32_t bucket_count(const struct index_bucket *bucket) { return (uint32_t)(bucket->tail & BUCKET_COUNT_MASK); }

static struct index_bucket *bucket_next(const struct mim_arena *arena, const struct index_bucket *bucket) {
    struct mim_ref ref = {.offset = bucket->tail & BUCKET_NEXT_MASK};
    return mim_ref_is_null(ref) ? NULL : mim_arena_at(arena, ref);
}

static uint64_t bucket_ref(const struct mim_arena *arena, const struct index_bucket *bucket) {
    return (uint64_t)((const uint8_t *)bucket - arena->base);
}

/** The power of two that the present round of splits began with. */
static uint64_t index_round(const struct mim_index *index) {
    return 1ull << (63u - (unsigned)__builtin_clzll(index->buckets));
}

/** The first bucket of a hash's chain; there is at least one bucket. */
static struct index_bucket *index_home(const struct mim_arena *arena, const struct mim_index *index, uint32_t hash) {
    uint64_t round = index_round(index);
    uint64_t n = hash & (2 * round - 1);
    if (n >= index->buckets) {
        n -= round;
    }
    return mim_slots_at(arena, &index->table, n);
}

const void *mim_index_prefetch(const struct mim_arena *arena, const struct mim_index *index, uint32_t hash) {
    if (index->buckets == 0) {
        return NULL;
    }
    const struct index_bucket *home = index_home(arena, index, hash);
    __builtin_prefetch(home);
    return home;
}

void mim_index_prefetch_chain(const struct mim_arena *arena, const void *bucket) {
    const struct index_bucket *next = bucket == NULL ? NULL : bucket_next(arena, bucket);
    if (next != NULL) {
        __builtin_prefetch(next, 1);
    }
}

bool mim_index_find(const struct mim_arena *arena, const struct mim_index *index, uint32_t hash,
                    mim_index_match_fn *match, const void *context, uint32_t *ret_number) {
    if (index->buckets == 0) {
        return false;
    }
    const struct index_bucket *bucket = index_home(arena, index, hash);
    do {
        uint32_t count = bucket_count(bucket);
        for (uint32_t i = 0; i < count; i++) {
            if (bucket->entries[i].hash == hash && (match == NULL || match(context, bucket->entries[i].number))) {
                *ret_number = bucket->entries[i].number;
                return true;
            }
        }
        bucket = bucket_next(arena, bucket);
    } while (bucket != NULL);
    return false;
}

static void index_give_overflow(const struct mim_arena *arena, struct mim_index *index, struct index_bucket *bucket) {
    *bucket = (struct index_bucket){.tail = index->free_overflow.offset};
    index->free_overflow.offset = bucket_ref(arena, bucket);
}

/** An empty overflow bucket, from the pool or the arena; NULL when the arena is full. */
static struct index_bucket *index_take_overflow(struct mim_arena *arena, struct mim_index *index) {
    struct mim_ref ref = index->free_overflow;
    if (mim_ref_is_null(ref)) {
        ref = mim_arena_alloc(arena, sizeof(struct index_bucket));
        return mim_ref_is_null(ref) ? NULL : mim_arena_at(arena, ref);
    }
    struct index_bucket *bucket = mim_arena_at(arena, ref);
    index->free_overflow.offset = bucket->tail;
    bucket->tail = 0;
    return bucket;
}

/** Appends to a chain whose last bucket is `last`; returns the last bucket then, NULL when the arena is full. */
static struct index_bucket *index_append(struct mim_arena *arena, struct mim_index *index, struct index_bucket *last,
                                         struct index_entry entry) {
    if (bucket_count(last) == BUCKET_ENTRIES) {
        struct index_bucket *added = index_take_overflow(arena, index);
        if (added == NULL) {
            return NULL;
        }
        last->tail |= bucket_ref(arena, added);
        last = added;
    }
    last->entries[bucket_count(last)] = entry;
    last->tail++;
    return last;
}

/** Divides a bucket's entries by a bit of their hashes. It is one or the other at random: no branch depends on it. */
static void bucket_divide(const struct index_bucket *bucket, uint64_t bit, struct index_bucket *lower,
                          struct index_bucket *upper) {
    uint32_t count = bucket_count(bucket);
    uint32_t lows = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct index_entry entry = bucket->entries[i];
        lower->entries[lows] = entry;
        upper->entries[i - lows] = entry;
        lows += (entry.hash & bit) == 0;
    }
    lower->tail = lows;
    upper->tail = count - lows;
    for (uint32_t i = lows; i < BUCKET_ENTRIES; i++) { /* a free entry is zero: the image depends on nothing else */
        lower->entries[i] = (struct index_entry){0};
    }
    for (uint32_t i = count - lows; i < BUCKET_ENTRIES; i++) {
        upper->entries[i] = (struct index_entry){0};
    }
}

/** Splits the next bucket of the round. Needs no memory but the new bucket: the overflow buckets of the old chain
 *  are given to the pool as they are read, and two chains never need more than that. Apart from
 *  insertion, most of which split nothing. */
__attribute__((noinline)) static bool index_split(struct mim_arena *arena, struct mim_index *index) {
    struct index_bucket *upper = mim_slots_push(arena, &index->table);
    if (upper == NULL) {
        return false;
    }
    uint64_t round = index_round(index);
    struct index_bucket *lower = mim_slots_at(arena, &index->table, index->buckets - round);
    index->buckets++;
    const struct index_bucket *then = mim_slots_at(arena, &index->table, index->buckets - index_round(index));
    __builtin_prefetch(arena->base +
                       (then->tail & BUCKET_NEXT_MASK)); /* what the next split looks at; any address will do */

    struct index_bucket copy = *lower;
    bucket_divide(&copy, round, lower, upper);
    struct index_bucket *overflow = bucket_next(arena, &copy);
    while (overflow != NULL) {
        copy = *overflow;
        index_give_overflow(arena, index, overflow);
        for (uint32_t i = 0; i < bucket_count(&copy); i++) {
            bool up = (copy.entries[i].hash & round) != 0;
            struct index_bucket *last = index_append(arena, index, up ? upper : lower, copy.entries[i]);
            MIM_ASSERT(last != NULL);
            *(up ? &upper : &lower) = last;
        }
        overflow = bucket_next(arena, &copy);
    }
    return true;
}

bool mim_index_insert(struct mim_arena *arena, struct mim_index *index, uint32_t hash, uint32_t number) {
    if (index->buckets == 0) {
        index->table.element_size = sizeof(struct index_bucket);
        if (mim_slots_push(arena, &index->table) == NULL) {
            return false;
        }
        index->buckets = 1;
    } else if (index->count + 1 > index->buckets * INDEX_LOAD) {
        (void)index_split(arena, index); /* without memory: later, the chains are longer until then */
    }
    struct index_bucket *last = index_home(arena, index, hash);
    for (struct index_bucket *next = bucket_next(arena, last); next != NULL; next = bucket_next(arena, last)) {
        last = next;
    }
    if (index_append(arena, index, last, (struct index_entry){.hash = hash, .number = number}) == NULL) {
        return false;
    }
    index->count++;
    return true;
}

/** Where {hash, number} stands; NULL when absent. */
static struct index_entry *index_locate(struct index_bucket *bucket, const struct mim_arena *arena, uint32_t hash,
                                        uint32_t number) {
    for (; bucket != NULL; bucket = bucket_next(arena, bucket)) {
        for (uint32_t i = 0; i < bucket_count(bucket); i++) {
            if (bucket->entries[i].hash == hash && bucket->entries[i].number == number) {
                return &bucket->entries[i];
            }
        }
    }
    return NULL;
}

bool mim_index_remove(struct mim_arena *arena, struct mim_index *index, uint32_t hash, uint32_t number) {
    if (index->buckets == 0) {
        return false;
    }
    struct index_bucket *last = index_home(arena, index, hash);
    struct index_entry *entry = index_locate(last, arena, hash, number);
    if (entry == NULL) {
        return false;
    }
    struct index_bucket *before = NULL;
    for (struct index_bucket *next = bucket_next(arena, last); next != NULL; next = bucket_next(arena, last)) {
        before = last;
        last = next;
    }
    MIM_ASSERT(bucket_count(last) > 0 && index->count > 0);
    last->tail--;
    struct index_entry *moved = &last->entries[bucket_count(last)];
    *entry = *moved;
    *moved = (struct index_entry){0};
    if (bucket_count(last) == 0 && before != NULL) {
        before->tail &= BUCKET_COUNT_MASK;
        index_give_overflow(arena, index, last);
    }
    index->count--;
    return true;
}

bool mim_index_renumber(struct mim_arena *arena, struct mim_index *index, uint32_t hash, uint32_t from, uint32_t to) {
    if (index->buckets == 0) {
        return false;
    }
    struct index_entry *entry = index_locate(index_home(arena, index, hash), arena, hash, from);
    if (entry == NULL) {
        return false;
    }
    entry->number = to;
    return true;
}

static void index_release_chain(struct mim_arena *arena, uint64_t offset) {
    while (offset != 0) {
        struct mim_ref ref = {.offset = offset};
        const struct index_bucket *bucket = mim_arena_at(arena, ref);
        offset = bucket->tail & BUCKET_NEXT_MASK;
        mim_arena_release(arena, ref, sizeof(struct index_bucket));
    }
}

void mim_index_clear(struct mim_arena *arena, struct mim_index *index) {
    for (uint64_t n = 0; n < index->buckets; n++) {
        const struct index_bucket *bucket = mim_slots_at(arena, &index->table, n);
        index_release_chain(arena, bucket->tail & BUCKET_NEXT_MASK);
    }
    index_release_chain(arena, index->free_overflow.offset);
    mim_slots_clear(arena, &index->table);
    *index = (struct mim_index){0};
}
