// SPDX-License-Identifier: MIT
// The table of segments: names, loading it from a directory with proof that the chain of files is whole, lookups.
// What is wrong inside the frames is the reader's to say; here only what headers, sizes and names can tell.
#include "journal/segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "journal/recover.h"

#define NAME_DIGITS      20u
#define NAME_SUFFIX      ".journal"
#define NAME_SUFFIX_SIZE (sizeof(NAME_SUFFIX) - 1u)

void mim_segment_path(mim_position_t first_position, char ret_path[MIM_SEGMENT_PATH_SIZE]) {
    (void)snprintf(ret_path, MIM_SEGMENT_PATH_SIZE, MIM_JOURNAL_DIR "/%020" PRIu64 NAME_SUFFIX, first_position);
}

void mim_segments_deinit(struct mim_segments *segments) {
    free(segments->items);
    *segments = (struct mim_segments){0};
}

int mim_segments_push(struct mim_segments *segments, const struct mim_segment *segment) {
    if (segments->count == segments->capacity) {
        size_t capacity = segments->capacity == 0 ? 16u : segments->capacity * 2u;
        struct mim_segment *items = realloc(segments->items, capacity * sizeof(*items));
        if (items == NULL) {
            return MIM_E_MEMORY;
        }
        segments->items = items;
        segments->capacity = capacity;
    }
    segments->items[segments->count++] = *segment;
    return 0;
}

size_t mim_segments_find_lsn(const struct mim_segments *segments, mim_lsn_t lsn) {
    size_t low = 0;
    size_t high = segments->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2u;
        if (segments->items[middle].header.base_lsn <= lsn) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low == 0 ? segments->count : low - 1u;
}

size_t mim_segments_find_position(const struct mim_segments *segments, mim_position_t position) {
    size_t low = 0;
    size_t high = segments->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2u;
        if (segments->items[middle].header.first_position <= position) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low == 0 ? segments->count : low - 1u;
}

/* ------------------------------------------------------------------ loading */

struct names {
    mim_position_t *items; /* owned */
    size_t count;
    size_t capacity;
    char strange[128]; /* a name that ends as a segment's but is none */
    bool no_memory;
};

/** The position in a segment's name; 0 when it is no segment's name. */
static mim_position_t name_position(const char *name, size_t size) {
    if (size != NAME_DIGITS + NAME_SUFFIX_SIZE) {
        return 0;
    }
    uint64_t position = 0;
    for (size_t i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9' || __builtin_mul_overflow(position, (uint64_t)10, &position) ||
            __builtin_add_overflow(position, (uint64_t)(name[i] - '0'), &position)) {
            return 0;
        }
    }
    return position;
}

static int collect_name(void *context, const char *name, bool is_directory) {
    struct names *names = context;
    size_t size = strlen(name);
    if (is_directory || size < NAME_SUFFIX_SIZE || strcmp(name + size - NAME_SUFFIX_SIZE, NAME_SUFFIX) != 0) {
        return 0;
    }
    mim_position_t position = name_position(name, size);
    if (position == 0) {
        (void)snprintf(names->strange, sizeof(names->strange), "%s", name);
        return 0;
    }
    if (names->count == names->capacity) {
        size_t capacity = names->capacity == 0 ? 64u : names->capacity * 2u;
        mim_position_t *items = realloc(names->items, capacity * sizeof(*items));
        if (items == NULL) {
            names->no_memory = true;
            return 1;
        }
        names->items = items;
        names->capacity = capacity;
    }
    names->items[names->count++] = position;
    return 0;
}

static int compare_positions(const void *a, const void *b) {
    mim_position_t left = *(const mim_position_t *)a;
    mim_position_t right = *(const mim_position_t *)b;
    return (left > right) - (left < right);
}

/** Names in order; a missing directory has none. The caller frees names->items in any case. */
static int list_names(struct mim_storage storage, struct names *names, struct mim_error *reterr) {
    int code = mim_storage_list(storage, MIM_JOURNAL_DIR, collect_name, names, reterr);
    if (names->no_memory) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory listing the segments");
    }
    if (code == MIM_E_NOT_FOUND) {
        return 0;
    }
    if (code != 0) {
        return code;
    }
    if (names->strange[0] != 0) {
        return mim_error_set(reterr, MIM_E_DAMAGED, MIM_JOURNAL_DIR "/%s is no segment's name (a copy?): move it away",
                             names->strange);
    }
    if (names->count > 1) {
        qsort(names->items, names->count, sizeof(names->items[0]), compare_positions);
    }
    return 0;
}

/** One segment file while the table is being built. */
struct loading {
    struct mim_storage storage;
    struct mim_segments *segments;
    mim_position_t name; /* first position by its name */
    bool last;
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_file_t file;
    uint64_t size;
    bool unused; /* out: last, and never used */
};

/** Is `frame_end` (an offset in this file) the end of a ROLL frame of this segment? */
static int roll_before(struct mim_storage storage, mim_file_t file, const struct mim_segment_header *header,
                       uint64_t frame_end, bool *ret_roll, struct mim_frame_header *ret_frame,
                       struct mim_error *reterr) {
    *ret_roll = false;
    if (frame_end < MIM_SEGMENT_HEADER_SIZE + MIM_FRAME_HEADER_SIZE || frame_end % 8u != 0) {
        return 0;
    }
    uint8_t bytes[MIM_FRAME_HEADER_SIZE];
    size_t got = 0;
    uint64_t offset = frame_end - MIM_FRAME_HEADER_SIZE;
    int code = mim_file_pread(storage, file, bytes, sizeof(bytes), offset, &got, reterr);
    if (code != 0) {
        return code;
    }
    struct mim_frame_header frame;
    if (mim_frame_check(bytes, got, &header->history, header->base_lsn + offset,
                        /* verify_payload= */ true, &frame) == MIM_FRAME_GOOD &&
        frame.kind == MIM_FRAME_ROLL) {
        *ret_roll = true;
        *ret_frame = frame;
    }
    return 0;
}

/** Did the segment before this one end with a ROLL frame (or is there none before)? Then a next one was to come. */
static int expected_next(struct loading *loading, bool *ret_expected, struct mim_error *reterr) {
    *ret_expected = loading->segments->count == 0;
    if (*ret_expected) {
        return 0;
    }
    const struct mim_segment *before = &loading->segments->items[loading->segments->count - 1u];
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(before->header.first_position, path);
    mim_file_t file = 0;
    int code = mim_file_open(loading->storage, path, MIM_OPEN_READ, &file, reterr);
    if (code != 0) {
        return code;
    }
    uint64_t used = 0;
    struct mim_frame_header roll;
    bool is_roll = false;
    code = mim_recover_used(loading->storage, file, 0, before->file_size, &used, reterr);
    if (code == 0) {
        code = roll_before(loading->storage, file, &before->header, mim_align8(used), &is_roll, &roll, reterr);
    }
    mim_file_close(loading->storage, file);
    if (code == 0) {
        *ret_expected = is_roll && roll.first_position == loading->name;
    }
    return code;
}

/** Reads and checks one header by itself: bytes, and that it stands under its own name. */
static int load_header(struct loading *loading, struct mim_segment_header *ret_header, struct mim_error *reterr) {
    uint8_t page[MIM_SEGMENT_HEADER_SIZE];
    size_t got = 0;
    int code = mim_file_pread(loading->storage, loading->file, page, sizeof(page), 0, &got, reterr);
    if (code != 0) {
        return code;
    }
    if (got < sizeof(page) && loading->size >= sizeof(page)) {
        return mim_error_set(reterr, MIM_E_IO, "%s: offset 0: short read of the segment header", loading->path);
    }
    if (loading->last && (got < sizeof(page) || mim_recover_zero(page, sizeof(page)))) {
        uint64_t used = 0;
        bool expected = false;
        code = mim_recover_used(loading->storage, loading->file, 0, loading->size, &used, reterr);
        if (code == 0) {
            code = expected_next(loading, &expected, reterr);
        }
        if (code != 0) {
            return code;
        }
        if (expected && (used == 0 || got < sizeof(page))) {
            loading->unused = true;
            return 0;
        }
    }
    if (got < sizeof(page)) {
        return mim_error_set(reterr, MIM_E_DAMAGED,
                             "%s: offset %zu: position %" PRIu64 ": the file ends within the segment header",
                             loading->path, got, loading->name);
    }
    struct mim_error inner = {0};
    code = mim_segment_header_decode(page, ret_header, &inner);
    if (code != 0) {
        return mim_error_set(reterr, code, "%s: offset 0: position %" PRIu64 ": %s", loading->path, loading->name,
                             inner.text);
    }
    if (ret_header->first_position != loading->name) {
        char real[MIM_SEGMENT_PATH_SIZE];
        mim_segment_path(ret_header->first_position, real);
        return mim_error_set(reterr, MIM_E_DAMAGED,
                             "%s: offset 0: position %" PRIu64
                             ": holds the header of %s: the file was copied, swapped or renamed",
                             loading->path, loading->name, real);
    }
    return 0;
}

/** Says what is missing between `before` (whose file is too small) and the segment at hand. */
static int report_gap(const struct loading *loading, mim_file_t before_file, const struct mim_segment *before,
                      const struct mim_segment_header *next, struct mim_error *reterr) {
    char before_path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(before->header.first_position, before_path);
    bool is_roll = false;
    struct mim_frame_header roll;
    int code = roll_before(loading->storage, before_file, &before->header, before->file_size, &is_roll, &roll, reterr);
    if (code != 0) {
        return code;
    }
    mim_lsn_t end = before->header.base_lsn + before->file_size;
    if (is_roll) {
        char missing[MIM_SEGMENT_PATH_SIZE];
        mim_segment_path(roll.first_position, missing);
        return mim_error_set(reterr, MIM_E_DAMAGED,
                             "%s is missing: offset 0: position %" PRIu64 ": %s ends at LSN %" PRIu64
                             ", %s begins at LSN %" PRIu64,
                             missing, roll.first_position, before_path, end, loading->path, next->base_lsn);
    }
    return mim_error_set(reterr, MIM_E_DAMAGED,
                         "%s: offset %" PRIu64 ": a position from %" PRIu64 " to %" PRIu64
                         ": the file ends at LSN %" PRIu64 ", but %s begins at LSN %" PRIu64
                         ": it was cut short, or a segment between them is missing",
                         before_path, before->file_size, before->header.first_position, next->first_position - 1u, end,
                         loading->path, next->base_lsn);
}

/** The seam between two segments; on success `before`->file_size becomes its used bytes. */
static int check_seam(struct loading *loading, mim_file_t before_file, struct mim_segment *before,
                      const struct mim_segment_header *next, struct mim_error *reterr) {
    char before_path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(before->header.first_position, before_path);
    if (memcmp(&before->header.history, &next->history, sizeof(next->history)) != 0) {
        return mim_error_set(reterr, MIM_E_DAMAGED,
                             "%s: offset 0: position %" PRIu64 ": belongs to another history than %s (foreign uuid)",
                             loading->path, next->first_position, before_path);
    }
    if (next->base_lsn <= before->header.base_lsn || next->epoch < before->header.epoch) {
        return mim_error_set(reterr, MIM_E_DAMAGED,
                             "%s: offset 0: position %" PRIu64 ": LSN or epoch is lower than that of %s", loading->path,
                             next->first_position, before_path);
    }
    uint64_t used = next->base_lsn - before->header.base_lsn;
    if (before->file_size < used) {
        return report_gap(loading, before_file, before, next, reterr);
    }
    bool is_roll = false;
    struct mim_frame_header roll;
    int code = roll_before(loading->storage, before_file, &before->header, used, &is_roll, &roll, reterr);
    if (code != 0) {
        return code;
    }
    if (is_roll && (roll.chain != next->previous_chain || roll.first_position != next->first_position)) {
        return mim_error_set(reterr, MIM_E_DAMAGED,
                             "%s: offset 0: position %" PRIu64 ": does not continue %s (chain mismatch)", loading->path,
                             next->first_position, before_path);
    }
    uint64_t behind = 0;
    code = mim_recover_used(loading->storage, before_file, used, before->file_size, &behind, reterr);
    if (code == 0 && behind > used && is_roll) {
        code =
            mim_error_set(reterr, MIM_E_DAMAGED,
                          "%s: offset %" PRIu64 ": position %" PRIu64 ": bytes stand behind the segment's last frame",
                          before_path, used, next->first_position);
    }
    if (code == 0) {
        before->file_size = used;
    }
    return code;
}

static int join(struct loading *loading, const struct mim_segment_header *header, struct mim_error *reterr) {
    if (loading->segments->count == 0) {
        return 0;
    }
    struct mim_segment *before = &loading->segments->items[loading->segments->count - 1u];
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(before->header.first_position, path);
    mim_file_t file = 0;
    int code = mim_file_open(loading->storage, path, MIM_OPEN_READ, &file, reterr);
    if (code != 0) {
        return code;
    }
    code = check_seam(loading, file, before, header, reterr);
    mim_file_close(loading->storage, file);
    return code;
}

static int load_one(struct loading *loading, struct mim_error *reterr) {
    mim_segment_path(loading->name, loading->path);
    int code = mim_file_open(loading->storage, loading->path, MIM_OPEN_READ, &loading->file, reterr);
    if (code != 0) {
        return code;
    }
    struct mim_segment segment = {0};
    code = mim_file_size(loading->storage, loading->file, &loading->size, reterr);
    if (code == 0) {
        code = load_header(loading, &segment.header, reterr);
    }
    mim_file_close(loading->storage, loading->file);
    if (code != 0 || loading->unused) {
        return code;
    }
    segment.file_size = loading->size;
    code = join(loading, &segment.header, reterr);
    if (code == 0 && mim_segments_push(loading->segments, &segment) != 0) {
        code = mim_error_set(reterr, MIM_E_MEMORY, "out of memory for the table of segments");
    }
    return code;
}

int mim_segments_load(struct mim_storage storage, struct mim_segments *ret_segments, mim_position_t *ret_unused,
                      struct mim_error *reterr) {
    struct names names = {0};
    struct mim_segments segments = {0};
    mim_position_t unused = 0;
    int code = list_names(storage, &names, reterr);
    for (size_t i = 0; code == 0 && i < names.count; i++) {
        struct loading loading = {
            .storage = storage,
            .segments = &segments,
            .name = names.items[i],
            .last = i + 1u == names.count,
        };
        code = load_one(&loading, reterr);
        if (loading.unused) {
            unused = loading.name;
        }
    }
    free(names.items);
    if (code != 0) {
        mim_segments_deinit(&segments);
        return code;
    }
    *ret_segments = segments;
    *ret_unused = unused;
    return 0;
}
