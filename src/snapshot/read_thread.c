// SPDX-License-Identifier: MIT
// See read_thread.h. One lock, taken twice a chunk: chunks change hands a few thousand times a second, frames never do
// alone. The reader belongs to the thread from begin to end.
#include "snapshot/read_thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define READ_LEAST   (16u << 20) /* bytes of journal: 10 ms of replay, a hundred times what a thread's start costs */
#define CHUNK_ALIGN  64u
#define RECORD_LEAST MIM_RECORD_HEADER_SIZE

/** Frames one behind the other, each {struct mim_frame, its bytes, places of its records}. */
struct chunk {
    uint8_t *data;
    size_t capacity;
    size_t used;
    int rc; /* not 0: reading ended behind these frames */
    struct mim_error error;
};

struct reading {
    struct mim_reader *reader; /* borrowed; the thread's own until it is joined */
    pthread_t thread;
    struct chunk chunks[MIM_READ_CHUNKS];
    size_t cursor; /* of the caller in its chunk */
    bool holds;    /* the caller has a chunk */
    /* under the lock: */
    pthread_mutex_t lock;
    pthread_cond_t filled_more;
    pthread_cond_t taken_more;
    uint64_t filled; /* chunks handed over so far */
    uint64_t taken;  /* chunks given back so far */
    bool thread_waits;
    bool stop;
};

static size_t round_up(size_t size) { return (size + CHUNK_ALIGN - 1u) & ~(size_t)(CHUNK_ALIGN - 1u); }

/** Most bytes a frame takes in a chunk. */
static size_t room_of(const struct mim_frame *frame) {
    return round_up(sizeof(*frame)) + round_up(frame->header.size) +
           round_up((frame->header.size / RECORD_LEAST + 1u) * sizeof(uint32_t));
}

/* -------------------------------------------------------------- the thread */

/** The next chunk to fill; NULL: the caller wants no more. A full ring is left half empty before filling goes on, so that
 *  the caller wakes this thread once in many chunks. */
static struct chunk *chunk_claim(struct reading *r) {
    (void)pthread_mutex_lock(&r->lock);
    while (!r->stop && r->filled - r->taken >= MIM_READ_CHUNKS) {
        r->thread_waits = true;
        (void)pthread_cond_wait(&r->taken_more, &r->lock);
    }
    struct chunk *chunk = r->stop ? NULL : &r->chunks[r->filled % MIM_READ_CHUNKS];
    (void)pthread_mutex_unlock(&r->lock);
    if (chunk != NULL) {
        chunk->used = 0;
        chunk->rc = 0;
    }
    return chunk;
}

static void chunk_hand_over(struct reading *r) {
    (void)pthread_mutex_lock(&r->lock);
    r->filled++;
    (void)pthread_cond_signal(&r->filled_more);
    (void)pthread_mutex_unlock(&r->lock);
}

/** Makes an empty chunk hold `size` bytes. */
static bool chunk_grow(struct chunk *chunk, size_t size) {
    size = size < MIM_READ_CHUNK_SIZE ? MIM_READ_CHUNK_SIZE : size;
    if (size <= chunk->capacity) {
        return true;
    }
    free(chunk->data);
    chunk->data = aligned_alloc(CHUNK_ALIGN, size);
    chunk->capacity = chunk->data == NULL ? 0 : size;
    return chunk->data != NULL;
}

/** Copies a frame in and looks at its records; one with a malformed record goes without: applying says what is wrong. */
static void chunk_put(struct chunk *chunk, const struct mim_frame *frame) {
    uint32_t size = frame->header.size;
    struct mim_frame *copy = (void *)(chunk->data + chunk->used);
    uint8_t *bytes = chunk->data + chunk->used + round_up(sizeof(*copy));
    uint32_t *records = (void *)(bytes + round_up(size));
    memcpy(bytes, frame->bytes, size);
    *copy = *frame;
    copy->bytes = bytes;
    copy->records = NULL;
    if (frame->header.kind == MIM_FRAME_DATA) {
        struct mim_walked walked = MIM_WALKED_NONE;
        copy->record_count = mim_record_walk(bytes, size, &walked, size / RECORD_LEAST + 1u, records);
        copy->records = walked.offset == size ? records : NULL;
    }
    chunk->used += room_of(frame);
}

/** Fills a chunk beginning with *frame, if there is one left over from the last; true while there is more to read. */
static bool chunk_fill(struct reading *r, struct chunk *chunk, struct mim_frame *frame, bool *left_over) {
    for (;;) {
        if (!*left_over) {
            chunk->rc = mim_reader_next(r->reader, frame, &chunk->error);
            if (chunk->rc != 0) {
                return false;
            }
        }
        *left_over = false;
        if (chunk->used == 0 && !chunk_grow(chunk, room_of(frame))) {
            chunk->rc = mim_error_set(&chunk->error, MIM_E_MEMORY, "out of memory reading the journal");
            return false;
        }
        if (room_of(frame) > chunk->capacity - chunk->used) {
            *left_over = true; /* it stays in the reader's window until the next call */
            return true;
        }
        chunk_put(chunk, frame);
    }
}

static void *read_run(void *context) {
    struct reading *r = context;
    struct mim_frame frame;
    bool left_over = false;
    bool more = true;
    while (more) {
        struct chunk *chunk = chunk_claim(r);
        if (chunk == NULL) {
            return NULL;
        }
        more = chunk_fill(r, chunk, &frame, &left_over);
        chunk_hand_over(r);
    }
    return NULL;
}

/* -------------------------------------------------------------- the caller */

static void read_free(struct reading *r) {
    for (unsigned i = 0; i < MIM_READ_CHUNKS; i++) {
        free(r->chunks[i].data);
    }
    (void)pthread_cond_destroy(&r->taken_more);
    (void)pthread_cond_destroy(&r->filled_more);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

static void *read_begin(struct mim_reader *reader) {
    struct reading *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }
    r->reader = reader;
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->filled_more, NULL);
    (void)pthread_cond_init(&r->taken_more, NULL);
    sigset_t all, before; /* signals are the caller's business */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&r->thread, NULL, read_run, r);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        read_free(r);
        return NULL;
    }
    return r;
}

/** Gives the caller's chunk back and waits for the next. */
static void read_turn(struct reading *r) {
    (void)pthread_mutex_lock(&r->lock);
    if (r->holds) {
        r->taken++;
        if (r->thread_waits && r->filled - r->taken <= MIM_READ_CHUNKS / 2) {
            r->thread_waits = false;
            (void)pthread_cond_signal(&r->taken_more);
        }
    }
    while (r->filled == r->taken) {
        (void)pthread_cond_wait(&r->filled_more, &r->lock);
    }
    (void)pthread_mutex_unlock(&r->lock);
    r->holds = true;
    r->cursor = 0;
}

static int read_next(void *context, struct mim_frame *ret_frame, struct mim_error *reterr) {
    struct reading *r = context;
    for (;;) {
        const struct chunk *chunk = &r->chunks[r->taken % MIM_READ_CHUNKS];
        if (r->holds && r->cursor < chunk->used) {
            const struct mim_frame *frame = (const void *)(chunk->data + r->cursor);
            r->cursor += room_of(frame);
            *ret_frame = *frame;
            return 0;
        }
        if (r->holds && chunk->rc != 0) {
            *reterr = chunk->error;
            return chunk->rc;
        }
        read_turn(r);
    }
}

static void read_end(void *context) {
    struct reading *r = context;
    (void)pthread_mutex_lock(&r->lock);
    r->stop = true;
    (void)pthread_cond_signal(&r->taken_more);
    (void)pthread_mutex_unlock(&r->lock);
    (void)pthread_join(r->thread, NULL);
    read_free(r);
}

const struct mim_frame_source mim_read_thread = {
    .least = READ_LEAST,
    .begin = read_begin,
    .next = read_next,
    .end = read_end,
};
