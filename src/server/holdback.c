// SPDX-License-Identifier: MIT
// The FIFO of held replies; see holdback.h.
#include "server/holdback.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define MARKS_FIRST 8u
#define MARKS_KEPT  64u

void mim_holdback_deinit(struct mim_holdback *holdback) {
    free(holdback->marks);
    *holdback = (struct mim_holdback){0};
}

void mim_holdback_shrink(struct mim_holdback *holdback) {
    if (MIM_UNLIKELY(holdback->count == 0 && holdback->capacity > MARKS_KEPT)) {
        mim_holdback_deinit(holdback);
    }
}

static int grow(struct mim_holdback *holdback) {
    uint32_t capacity = holdback->capacity == 0 ? MARKS_FIRST : holdback->capacity * 2;
    struct mim_hold_mark *marks = malloc(capacity * sizeof(*marks));
    if (marks == NULL) {
        return MIM_E_MEMORY;
    }
    for (uint32_t i = 0; i < holdback->count; i++) {
        marks[i] = holdback->marks[(holdback->first + i) & (holdback->capacity - 1)];
    }
    free(holdback->marks);
    holdback->marks = marks;
    holdback->capacity = capacity;
    holdback->first = 0;
    return 0;
}

static inline void count_kind(struct mim_hold_mark *mark, uint16_t command) {
    mark->requests++;
    for (uint32_t i = 0; i < mark->kind_count; i++) {
        if (mark->kinds[i].command == command) {
            mark->kinds[i].count++;
            return;
        }
    }
    if (mark->kind_count < MIM_MARK_KINDS) {
        mark->kinds[mark->kind_count++] = (struct mim_mark_kind){.command = command, .count = 1};
    } else {
        mark->kinds[MIM_MARK_KINDS - 1].count++;
    }
}

int mim_holdback_add(struct mim_holdback *holdback, uint64_t end, mim_lsn_t gate, uint64_t received_ns,
                     uint16_t command) {
    if (MIM_LIKELY(holdback->count > 0)) {
        struct mim_hold_mark *last =
            &holdback->marks[(holdback->first + holdback->count - 1) & (holdback->capacity - 1)];
        MIM_ASSERT(end >= last->end);
        if (gate <= last->gate && last->received_ns == received_ns && last->requests < UINT16_MAX) {
            last->end = end;
            count_kind(last, command);
            holdback->requests++;
            return 0;
        }
    }
    if (MIM_UNLIKELY(holdback->count == holdback->capacity)) {
        int rc = grow(holdback);
        if (rc != 0) {
            return rc;
        }
    }
    struct mim_hold_mark *mark = &holdback->marks[(holdback->first + holdback->count) & (holdback->capacity - 1)];
    *mark = (struct mim_hold_mark){.end = end, .gate = gate, .received_ns = received_ns};
    count_kind(mark, command);
    holdback->count++;
    holdback->requests++;
    return 0;
}

bool mim_holdback_take(struct mim_holdback *holdback, mim_lsn_t gate, struct mim_hold_mark *ret_mark) {
    if (holdback->count == 0 || holdback->marks[holdback->first].gate > gate) {
        return false;
    }
    *ret_mark = holdback->marks[holdback->first];
    holdback->first = (holdback->first + 1) & (holdback->capacity - 1);
    holdback->count--;
    MIM_ASSERT(holdback->requests >= ret_mark->requests);
    holdback->requests -= ret_mark->requests;
    return true;
}

const struct mim_hold_mark *mim_holdback_first(const struct mim_holdback *holdback) {
    return holdback->count == 0 ? NULL : &holdback->marks[holdback->first];
}

void mim_holdback_first_replaced(struct mim_holdback *holdback, uint64_t end) {
    uint64_t moved = end - holdback->marks[holdback->first].end; /* wraps when it became shorter: sums come out right */
    for (uint32_t i = 0; i < holdback->count; i++) {
        holdback->marks[(holdback->first + i) & (holdback->capacity - 1)].end += moved;
    }
}
