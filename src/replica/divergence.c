// SPDX-License-Identifier: MIT
// Where did two journals part? Boundaries are asked about in rounds of some hundred: first the beginnings of segments,
// then the frames of the segment in which it must be. A journal of any size takes three or four rounds.
#include <stdlib.h>

#include "base/assert.h"
#include "replica/rewind.h"

static int push(struct mim_divergence *d, mim_lsn_t lsn, uint64_t chain, struct mim_error *reterr) {
    if (d->count == d->capacity) {
        size_t capacity = d->capacity == 0 ? 1024 : d->capacity * 2;
        struct mim_boundary *grown = realloc(d->items, capacity * sizeof(*grown));
        if (grown == NULL) {
            return mim_error_set(reterr, MIM_E_MEMORY, "no memory to compare journals");
        }
        d->items = grown;
        d->capacity = capacity;
    }
    d->items[d->count++] = (struct mim_boundary){.lsn = lsn, .chain = chain};
    return 0;
}

int mim_divergence_begin(struct mim_divergence *d, const struct mim_segments *segments, struct mim_error *reterr) {
    *d = (struct mim_divergence){0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < segments->count; i++) {
        const struct mim_segment_header *header = &segments->items[i].header;
        rc = push(d, header->base_lsn + MIM_SEGMENT_HEADER_SIZE, header->previous_chain, reterr);
    }
    d->high = d->count;
    return rc;
}

void mim_divergence_end(struct mim_divergence *d) {
    free(d->items);
    *d = (struct mim_divergence){0};
}

/** How many items are still open: those above the common one, below the one that is not. */
static size_t first_open(const struct mim_divergence *d) { return d->low_common ? d->low + 1 : 0; }

/** The n-th of at most MIM_PROBE_MAX items evenly over the open ones, newest first. */
static size_t sample(const struct mim_divergence *d, size_t n) {
    size_t first = first_open(d);
    size_t open = d->high - first;
    size_t samples = open < MIM_PROBE_MAX ? open : MIM_PROBE_MAX;
    MIM_ASSERT(samples > 0); /* something was asked */
    return d->high - 1 - n * open / samples;
}

size_t mim_divergence_ask(const struct mim_divergence *d, struct mim_boundary ret_boundaries[MIM_PROBE_MAX]) {
    size_t open = d->high - first_open(d);
    size_t samples = open < MIM_PROBE_MAX ? open : MIM_PROBE_MAX;
    for (size_t n = 0; n < samples; n++) {
        ret_boundaries[n] = d->items[sample(d, n)];
    }
    return samples;
}

/** On to the frames of the segment that begins at the newest common beginning. */
static int look_inside(struct mim_divergence *d, struct mim_storage storage, const struct mim_segments *segments,
                       struct mim_error *reterr) {
    const struct mim_segment_header *header = &segments->items[d->low].header;
    struct mim_reader_options options = {
        .from = header->base_lsn + MIM_SEGMENT_HEADER_SIZE,
        .previous_chain = header->previous_chain,
        .limit = d->low + 1 < segments->count ? segments->items[d->low + 1].header.base_lsn : 0,
        .headers_only = true,
    };
    d->inside = true;
    d->count = 0;
    d->low = 0;
    int rc = push(d, options.from, options.previous_chain, reterr); /* known to be common */
    struct mim_reader *reader = NULL;
    rc = rc != 0 ? rc : mim_reader_open(storage, segments, &options, &reader, reterr);
    if (rc != 0) {
        return rc;
    }
    struct mim_frame frame;
    while ((rc = mim_reader_next(reader, &frame, reterr)) == 0) {
        rc = push(d, frame.lsn + frame.header.size, frame.header.chain, reterr);
        if (rc != 0) {
            break;
        }
    }
    (void)mim_reader_free(reader);
    d->high = d->count;
    return rc == MIM_E_NOT_FOUND ? 0 : rc;
}

int mim_divergence_answer(struct mim_divergence *d, struct mim_storage storage, const struct mim_segments *segments,
                          int index, struct mim_error *reterr) {
    struct mim_boundary asked[MIM_PROBE_MAX];
    size_t samples = mim_divergence_ask(d, asked);
    if (index >= (int)samples) {
        return mim_error_set(reterr, MIM_E_INVALID, "the primary answers what was not asked");
    }
    size_t high = d->high;
    if (index != 0) { /* the sample just newer than the common one is not common */
        high = sample(d, index < 0 ? samples - 1 : (size_t)index - 1);
    }
    if (index >= 0) {
        d->low = sample(d, (size_t)index);
        d->low_common = true;
    }
    d->high = high;
    if (!d->inside && d->low_common && d->high - first_open(d) == 0) {
        return look_inside(d, storage, segments, reterr);
    }
    return 0;
}

bool mim_divergence_point(const struct mim_divergence *d, struct mim_boundary *ret_boundary) {
    if (d->low_common) {
        *ret_boundary = d->items[d->low];
    }
    return d->low_common;
}
