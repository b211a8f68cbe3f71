// SPDX-License-Identifier: MIT
// One journal on three images: see determinism.h. Leans on the observer of apply.c, which tells every applied event.
#include "engine/determinism.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/prng.h"
#include "engine/internal.h"
#include "model/check.h"

enum { PLAIN, MOVED, WORN, IMAGES };

#define WORN_BLOCKS      4096u
#define WORN_BLOCK_MAX   16384u
#define STACK_BYTES      16384u
#define FINE_BYTES_MAX   (16ull << 30) /* hashed in all while whole images are compared after every event */
#define INTERVAL_DEFAULT 1000u

/** What an image shows after one event. */
struct sight {
    uint64_t shown;       /* digest of the aggregate */
    uint64_t bytes;       /* of its state and of the projections that listened, as they lie there */
    uint64_t projections; /* fine: their digest */
    uint64_t whole;       /* fine, but not of the worn one: bytes of the whole image */
};

struct image {
    struct mim_determinism *d;
    struct mim_engine *engine;
    struct mim_observer observer;
    struct sight *sights; /* of the frame being applied */
    uint32_t count;
    uint64_t hashed; /* bytes of whole images, so far */
    uint8_t pattern;
};

/** Which event it was, as the plain image saw it. */
struct seen {
    const struct mim_compiled_event *event;
    mim_stream_t stream;
};

struct mim_determinism {
    struct mim_determinism_options options;
    struct image images[IMAGES];
    struct seen *seen;
    mim_position_t frame_first;
    mim_position_t whole_at; /* whole images were equal here */
    struct mim_difference difference;
};

/* ------------------------------------------------------------- disturbances */

/** Leaves a pattern where the next function's locals will lie. */
__attribute__((noinline)) static void scramble_stack(uint8_t pattern) {
    uint8_t garbage[STACK_BYTES];
    memset(garbage, pattern, sizeof(garbage));
    __asm__ volatile("" : : "r"(garbage) : "memory"); /* it is not dead */
}

/** Fills what malloc gives out from now on. */
static void scramble_heap(uint8_t pattern) { (void)mallopt(M_PERTURB, pattern); }

/** Allocates, dirties and gives back blocks of all sizes in a random order. */
static int wear(struct mim_arena *arena, struct mim_error *reterr) {
    struct block {
        struct mim_ref ref;
        uint64_t size;
    } *blocks = calloc(WORN_BLOCKS, sizeof(*blocks));
    if (blocks == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory for a check");
    }
    struct mim_prng prng;
    mim_prng_init(&prng, 1);
    for (uint32_t i = 0; i < WORN_BLOCKS; i++) {
        blocks[i].size = 1 + mim_prng_below(&prng, 1ull << (3 + mim_prng_below(&prng, 12)));
        blocks[i].ref = mim_arena_alloc(arena, blocks[i].size);
        if (!mim_ref_is_null(blocks[i].ref)) {
            memset(mim_arena_at(arena, blocks[i].ref), 0xdb, blocks[i].size);
        }
    }
    for (uint32_t left = WORN_BLOCKS; left > 0; left--) {
        uint32_t n = (uint32_t)mim_prng_below(&prng, left);
        mim_arena_release(arena, blocks[n].ref, blocks[n].size);
        blocks[n] = blocks[left - 1];
    }
    free(blocks);
    return 0;
}

/* ------------------------------------------------------------------ looking */

static uint64_t bytes_whole(const struct mim_engine *engine) {
    mim_arena_poison_lift(&engine->arena);
    uint64_t hash = mim_hash64(engine->arena.base, mim_arena_head(&engine->arena)->used, 0);
    mim_arena_poison_restore(&engine->arena);
    return hash;
}

static uint64_t bytes_of(const struct mim_engine *engine, const struct mim_compiled_event *event, const void *state) {
    const struct mim_model *model = engine->compiled->model;
    uint64_t hash = mim_hash64(state, model->aggregates[event->aggregate].state_size, 0);
    for (uint32_t i = 0; i < event->projection_count; i++) {
        unsigned n = event->projections[i].projection;
        hash = mim_hash64(mim_arena_at(&engine->arena, engine->root->projections[n]), model->projections[n].state_size,
                          hash);
    }
    return hash;
}

/** Called after every event: notes what is to be seen, and disturbs the stack for the next one. */
static void on_applied(void *context, const struct mim_compiled_event *event, mim_stream_t stream) {
    struct image *image = context;
    struct mim_determinism *d = image->d;
    const struct mim_engine *engine = image->engine;
    struct mim_slot *slot = mim_engine_slot(engine, event->aggregate, stream);
    struct sight *sight = &image->sights[image->count];
    bool worn = image == &d->images[WORN];
    *sight = (struct sight){.shown = mim_engine_slot_digest(engine, event->aggregate, slot)};
    sight->bytes = worn ? 0 : bytes_of(engine, event, mim_slot_state(slot));
    if (engine->root->position > d->options.fine_from && image->hashed < FINE_BYTES_MAX) {
        sight->projections = mim_engine_digest_projections(engine);
        sight->whole = worn ? 0 : bytes_whole(engine);
        image->hashed += mim_arena_head(&engine->arena)->used;
    }
    if (image == &d->images[PLAIN]) {
        d->seen[image->count] = (struct seen){.event = event, .stream = stream};
    }
    image->count++;
    scramble_stack(image->pattern);
}

/* ---------------------------------------------------------------- reporting */

static void difference_at(struct mim_determinism *d, mim_position_t from, mim_position_t to) {
    d->difference.found = true;
    d->difference.from = from;
    d->difference.to = to;
}

static int differ(const struct mim_determinism *d, struct mim_error *reterr) {
    return mim_error_set(reterr, MIM_E_STATE, "%s", d->difference.text);
}

/** The state of one aggregate as JSON, cut to what a sentence holds. */
static const char *state_text(const struct mim_engine *engine, const struct seen *seen, char ret_text[160]) {
    const struct mim_aggregate_type *type = &engine->compiled->model->aggregates[seen->event->aggregate];
    struct mim_buffer out = {0};
    struct mim_json j = mim_json_to(&out);
    mim_json_image_state(&j, &engine->arena, type->fields, type->field_count,
                         mim_slot_state(mim_engine_slot(engine, seen->event->aggregate, seen->stream)));
    (void)snprintf(ret_text, 160, "%.*s%s", (int)(out.size > 150 ? 150 : out.size), (const char *)out.data,
                   out.size > 150 ? "..." : "");
    mim_buffer_deinit(&out);
    return ret_text;
}

/** What lies at a byte of a state: a field's name, or that there is none. */
static void name_byte(const struct mim_aggregate_type *type, uint64_t offset, char *ret_text, size_t size) {
    const struct mim_field *nearest = NULL;
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct mim_field *field = &type->fields[i];
        if (field->offset <= offset && offset - field->offset < mim_check_field_size(field, true)) {
            nearest = field;
        }
    }
    if (nearest != NULL) {
        (void)snprintf(ret_text, size, "field \"%s\"", nearest->name);
    } else {
        (void)snprintf(ret_text, size, "byte %llu, which no field describes", (unsigned long long)offset);
    }
}

/** First byte in which two states differ; the size when they are equal. */
static uint64_t first_byte(const void *a, const void *b, uint64_t size) {
    uint64_t at = 0;
    while (at < size && ((const uint8_t *)a)[at] == ((const uint8_t *)b)[at]) {
        at++;
    }
    return at;
}

static int report_event(struct mim_determinism *d, uint32_t n, unsigned other, struct mim_error *reterr) {
    const struct seen *seen = &d->seen[n];
    const struct sight *plain = &d->images[PLAIN].sights[n];
    const struct sight *second = &d->images[other].sights[n];
    struct mim_engine *a = d->images[PLAIN].engine;
    struct mim_engine *b = d->images[other].engine;
    const struct mim_aggregate_type *type = &a->compiled->model->aggregates[seen->event->aggregate];
    struct mim_slot *slot = mim_engine_slot(a, seen->event->aggregate, seen->stream);
    struct mim_slice id = mim_text_slice(&a->arena, &slot->id);
    mim_position_t position = d->frame_first + n;
    char how[420];
    char first[160];
    char then[160];
    if (plain->shown != second->shown) {
        (void)snprintf(how, sizeof(how), "one replay makes %s, another %s", state_text(a, seen, first),
                       state_text(b, seen, then));
    } else if (plain->bytes != second->bytes) {
        const void *others = mim_slot_state(mim_engine_slot(b, seen->event->aggregate, seen->stream));
        uint64_t at = first_byte(mim_slot_state(slot), others, type->state_size);
        if (at < type->state_size) {
            name_byte(type, at, first, sizeof(first));
        }
        (void)snprintf(how, sizeof(how),
                       "what it shows is equal, but its memory differs%s%s: an address, or "
                       "uninitialised memory",
                       at < type->state_size ? " at " : "", at < type->state_size ? first : "");
    } else {
        (void)snprintf(how, sizeof(how), "a projection or the memory of a container differs");
    }
    difference_at(d, position - 1, position);
    (void)snprintf(d->difference.text, sizeof(d->difference.text), "position %llu, event %s of %s/%.*s: %s",
                   (unsigned long long)position, seen->event->full_name, type->name, (int)(id.size > 60 ? 60 : id.size),
                   (const char *)id.data, how);
    return differ(d, reterr);
}

/** Says what lies at a byte of the image. */
static void name_place(const struct mim_engine *engine, uint64_t offset, char *ret_text, size_t size) {
    const struct mim_model *model = engine->compiled->model;
    for (uint32_t i = 0; i < model->projection_count; i++) {
        uint64_t at = engine->root->projections[i].offset;
        if (offset >= at && offset - at < model->projections[i].state_size) {
            (void)snprintf(ret_text, size, "projection \"%s\", byte %llu of its state", model->projections[i].name,
                           (unsigned long long)(offset - at));
            return;
        }
    }
    for (uint32_t i = 0; i < model->aggregate_count; i++) {
        const struct mim_slots *slots = &engine->aggregates[i].slots;
        for (uint64_t n = 0; n < slots->count; n++) {
            struct mim_slot *slot = mim_slots_at(&engine->arena, slots, n);
            uint64_t at = (uint64_t)((uint8_t *)slot - engine->arena.base);
            if (offset >= at && offset - at < slots->element_size) {
                struct mim_slice id = mim_text_slice(&engine->arena, &slot->id);
                (void)snprintf(ret_text, size, "the state of %s/%.*s", model->aggregates[i].name,
                               (int)(id.size > 60 ? 60 : id.size), (const char *)id.data);
                return;
            }
        }
    }
    (void)snprintf(ret_text, size, "the memory of a container");
}

/** Compares everything there is; the images stand at the same position. */
static int compare_whole(struct mim_determinism *d, struct mim_error *reterr) {
    const struct mim_engine *plain = d->images[PLAIN].engine;
    mim_position_t position = plain->root->position;
    uint64_t digests[IMAGES];
    for (unsigned i = 0; i < IMAGES; i++) {
        digests[i] = mim_engine_digest(d->images[i].engine);
    }
    char where[256] = "";
    bool equal = digests[PLAIN] == digests[MOVED] && digests[PLAIN] == digests[WORN];
    if (!equal) {
        (void)snprintf(where, sizeof(where), "the digests of two replays differ (%016llx, %016llx)",
                       (unsigned long long)digests[PLAIN],
                       (unsigned long long)digests[digests[PLAIN] != digests[MOVED] ? MOVED : WORN]);
    } else {
        const struct mim_engine *moved = d->images[MOVED].engine;
        uint64_t used = mim_arena_head(&plain->arena)->used;
        mim_arena_poison_lift(&plain->arena);
        mim_arena_poison_lift(&moved->arena);
        equal = used == mim_arena_head(&moved->arena)->used && memcmp(plain->arena.base, moved->arena.base, used) == 0;
        uint64_t at = equal ? 0 : first_byte(plain->arena.base, moved->arena.base, used);
        mim_arena_poison_restore(&plain->arena);
        mim_arena_poison_restore(&moved->arena);
        if (!equal) {
            char place[160];
            name_place(plain, at, place, sizeof(place));
            (void)snprintf(where, sizeof(where), "what two replays show is equal, but their memory differs in %s",
                           place);
        }
    }
    if (equal) {
        d->whole_at = position;
        return 0;
    }
    difference_at(d, d->whole_at, position);
    (void)snprintf(d->difference.text, sizeof(d->difference.text), "positions %llu to %llu: %s",
                   (unsigned long long)d->whole_at + 1, (unsigned long long)position, where);
    return differ(d, reterr);
}

/* ------------------------------------------------------------------- running */

static int image_open(struct mim_determinism *d, unsigned n, struct mim_error *reterr) {
    static const uint8_t patterns[IMAGES] = {0x5a, 0xc3, 0x96};
    struct image *image = &d->images[n];
    struct mim_engine_options options = {
        .compiled = n == WORN && d->options.other != NULL ? d->options.other : d->options.compiled,
        .reservation = MIM_IMAGE_RESERVATION_DEFAULT >> n,
    };
    image->d = d;
    image->pattern = patterns[n];
    image->observer = (struct mim_observer){.applied = on_applied, .context = image};
    image->sights = calloc(MIM_FRAME_EVENTS_MAX + 1u, sizeof(*image->sights));
    if (image->sights == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory for a check");
    }
    int rc = mim_engine_new(&options, &image->engine, reterr);
    if (rc == 0) {
        mim_engine_observe(image->engine, &image->observer);
        rc = n == WORN ? wear(&image->engine->arena, reterr) : 0;
    }
    return rc;
}

int mim_determinism_new(const struct mim_determinism_options *options, struct mim_determinism **ret_determinism,
                        struct mim_error *reterr) {
    struct mim_determinism *d = calloc(1, sizeof(*d));
    int rc = d == NULL ? MIM_E_MEMORY : 0;
    if (d != NULL) {
        d->options = *options;
        d->options.interval = options->interval == 0 ? INTERVAL_DEFAULT : options->interval;
        d->frame_first = 1;
        d->seen = calloc(MIM_FRAME_EVENTS_MAX + 1u, sizeof(*d->seen));
        rc = d->seen == NULL ? MIM_E_MEMORY : 0;
    }
    if (rc != 0) {
        (void)mim_error_set(reterr, rc, "no memory for a check");
    }
    for (unsigned i = 0; i < IMAGES && rc == 0; i++) {
        rc = image_open(d, i, reterr);
    }
    if (rc != 0) {
        (void)mim_determinism_free(d);
        return rc;
    }
    scramble_heap(d->images[PLAIN].pattern);
    *ret_determinism = d;
    return 0;
}

struct mim_determinism *mim_determinism_free(struct mim_determinism *d) {
    if (d != NULL) {
        for (unsigned i = 0; i < IMAGES; i++) {
            (void)mim_engine_free(d->images[i].engine);
            free(d->images[i].sights);
        }
        free(d->seen);
        free(d);
        scramble_heap(0);
    }
    return NULL;
}

struct mim_engine *mim_determinism_engine(struct mim_determinism *d) {
    return d->images[PLAIN].engine;
}

const struct mim_difference *mim_determinism_difference(const struct mim_determinism *d) { return &d->difference; }

/** Compares the events of the frame that all images have applied now. */
static int compare_events(struct mim_determinism *d, struct mim_error *reterr) {
    const struct sight *plain = d->images[PLAIN].sights;
    const struct sight *moved = d->images[MOVED].sights;
    const struct sight *worn = d->images[WORN].sights;
    for (uint32_t n = 0; n < d->images[PLAIN].count; n++) {
        if (plain[n].shown != moved[n].shown || plain[n].bytes != moved[n].bytes) {
            return report_event(d, n, MOVED, reterr);
        }
        if (plain[n].projections != moved[n].projections || plain[n].whole != moved[n].whole) {
            return report_event(d, n, MOVED, reterr);
        }
        bool spent = d->images[WORN].hashed >= FINE_BYTES_MAX;
        if (plain[n].shown != worn[n].shown || (!spent && plain[n].projections != worn[n].projections)) {
            return report_event(d, n, WORN, reterr);
        }
    }
    return 0;
}

/** Whole images are compared when that costs no more than the events since. */
static bool whole_is_due(const struct mim_determinism *d) {
    const struct mim_engine *engine = d->images[PLAIN].engine;
    uint64_t cost = mim_arena_head(&engine->arena)->used / 512;
    uint64_t since = engine->root->position - d->whole_at;
    return since >= d->options.interval && since >= cost;
}

int mim_determinism_applied(struct mim_determinism *d, const struct mim_frame *frame, struct mim_error *reterr) {
    struct mim_engine *plain = d->images[PLAIN].engine;
    if (mim_engine_missing(plain) != NULL) {
        return 0;
    }
    for (unsigned i = MOVED; i < IMAGES; i++) {
        struct mim_engine *engine = d->images[i].engine;
        if (engine->root->lsn == 0) {
            mim_engine_set_history(engine, &plain->root->history);
        }
        scramble_heap(d->images[i].pattern);
        scramble_stack(d->images[i].pattern);
        int rc = mim_engine_apply(engine, frame, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    int rc = compare_events(d, reterr);
    if (rc == 0 && whole_is_due(d)) {
        rc = compare_whole(d, reterr);
    }
    d->frame_first = plain->root->position + 1;
    for (unsigned i = 0; i < IMAGES; i++) {
        d->images[i].count = 0;
    }
    scramble_heap(d->images[PLAIN].pattern);
    scramble_stack(d->images[PLAIN].pattern);
    return rc;
}

int mim_determinism_finish(struct mim_determinism *d, struct mim_error *reterr) {
    return mim_engine_missing(d->images[PLAIN].engine) != NULL ? 0 : compare_whole(d, reterr);
}
