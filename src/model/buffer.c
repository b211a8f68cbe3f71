// SPDX-License-Identifier: MIT
// A growing output buffer, reused. Out of memory stops the process: a crash is a tested state.
#include <stdlib.h>

#include "base/assert.h"
#include "model/codec.h"

void mim_buffer_grow(struct mim_buffer *buffer, size_t more) {
    size_t capacity = buffer->capacity == 0 ? 256 : buffer->capacity;
    while (capacity - buffer->size < more) {
        MIM_ASSERT(capacity <= SIZE_MAX / 2);
        capacity *= 2;
    }
    uint8_t *grown = realloc(buffer->data, capacity);
    MIM_ASSERT(grown != NULL);
    buffer->data = grown;
    buffer->capacity = capacity;
}

void mim_buffer_deinit(struct mim_buffer *buffer) {
    free(buffer->data);
    *buffer = (struct mim_buffer){0};
}
