// SPDX-License-Identifier: MIT
// Strings in the image: 8 bytes, with up to 7 bytes of text in them, else a block {u32 size, bytes}. Only these
// functions know the packing.
#include "image/image.h"

#include <string.h>

#include "base/assert.h"
#include "image/arena.h"

#define TEXT_INLINE_MAX 7u

/** A longer text. */
struct text_block {
    uint32_t size;
    uint8_t bytes[];
};

static bool text_is_inline(const struct mim_text *text) { return (text->bits & 1u) != 0; }

static bool text_has_block(const struct mim_text *text) { return text->bits != 0 && !text_is_inline(text); }

static struct text_block *text_block_at(const struct mim_arena *arena, const struct mim_text *text) {
    return mim_arena_at(arena, (struct mim_ref){.offset = text->bits});
}

static uint64_t text_block_size(uint64_t text_size) { return sizeof(struct text_block) + text_size; }

struct mim_slice mim_text_slice(const struct mim_arena *arena, const struct mim_text *text) {
    if (text->bits == 0) {
        return (struct mim_slice){0};
    }
    if (text_is_inline(text)) {
        size_t size = (size_t)(text->bits & 0xffu) >> 1;
        MIM_ASSERT(size <= TEXT_INLINE_MAX);
        return mim_slice_of((const uint8_t *)text + 1, size);
    }
    const struct text_block *block = text_block_at(arena, text);
    return mim_slice_of(block->bytes, block->size);
}

void mim_text_prefetch(const struct mim_arena *arena, const struct mim_text *text) {
    if (text_has_block(text)) {
        __builtin_prefetch(text_block_at(arena, text));
    }
}

void mim_text_clear(struct mim_arena *arena, struct mim_text *text) {
    if (text_has_block(text)) {
        uint64_t size = text_block_at(arena, text)->size;
        mim_arena_release(arena, (struct mim_ref){.offset = text->bits}, text_block_size(size));
    }
    text->bits = 0;
}

/** Up to 7 bytes as a word, the first lowest. By overlapping loads: bytes copied one way and read back another would have
 *  to leave the processor's store buffer in between. */
static uint64_t text_word(const uint8_t *data, size_t size) {
    if (size >= 4) {
        return mim_get32(data) | (uint64_t)mim_get32(data + size - 4) << (8 * (size - 4));
    }
    if (size >= 2) {
        return mim_get16(data) | (uint64_t)mim_get16(data + size - 2) << (8 * (size - 2));
    }
    return size == 0 ? 0 : data[0];
}

static uint64_t text_pack_inline(struct mim_slice value) {
    return value.size == 0 ? 0 : text_word(value.data, value.size) << 8 | (uint64_t)value.size << 1 | 1u;
}

/** Writes into the block that is there, of the same class; the value may lie inside it. */
static void text_overwrite(const struct mim_arena *arena, struct mim_text *text, struct mim_slice value) {
    struct text_block *block = text_block_at(arena, text);
    uint32_t before = block->size;
    mim_arena_resize_block(arena, (struct mim_ref){.offset = text->bits},
                           text_block_size(before > value.size ? before : value.size));
    memmove(block->bytes, value.data, value.size);
    block->size = (uint32_t)value.size;
    mim_arena_resize_block(arena, (struct mim_ref){.offset = text->bits}, text_block_size(value.size));
}

/** A text that does not stand inline, or takes the place of one that does not. */
__attribute__((noinline)) static bool text_assign_block(struct mim_arena *arena, struct mim_text *text,
                                                        struct mim_slice value) {
    if (value.size <= TEXT_INLINE_MAX) {
        uint64_t bits = text_pack_inline(value); /* before the old text goes: the value may be part of it */
        mim_text_clear(arena, text);
        text->bits = bits;
        return true;
    }
    if (value.size > UINT32_MAX) {
        return false;
    }
    if (text_has_block(text) && mim_arena_class_size(text_block_size(text_block_at(arena, text)->size)) ==
                                    mim_arena_class_size(text_block_size(value.size))) {
        text_overwrite(arena, text, value);
        return true;
    }
    struct mim_ref ref = mim_arena_alloc(arena, text_block_size(value.size));
    if (mim_ref_is_null(ref)) {
        return false;
    }
    struct text_block *block = mim_arena_at(arena, ref);
    block->size = (uint32_t)value.size;
    memcpy(block->bytes, value.data, value.size);
    mim_text_clear(arena, text);
    text->bits = ref.offset;
    return true;
}

bool mim_text_assign(struct mim_arena *arena, struct mim_text *text, struct mim_slice value) {
    if (MIM_UNLIKELY(value.size > TEXT_INLINE_MAX || text_has_block(text))) {
        return text_assign_block(arena, text, value);
    }
    text->bits = text_pack_inline(value);
    return true;
}
