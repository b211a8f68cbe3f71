// SPDX-License-Identifier: MIT
// Blocks of 4 KiB, direct-mapped by LSN; see access.h. A hop along back references reads one block; who reads on beside
// what was read last, forwards or backwards, gets 64 KiB at once. A block that reaches to the limit is filled up later
// from where it ended.
#include "journal/access.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"

#define BLOCK_SHIFT 12u
#define BLOCK_SIZE  (1u << BLOCK_SHIFT)
#define BLOCK_COUNT 1024u
#define RUN_BLOCKS  16u         /* read at once by who reads on */
#define DIRECT_SIZE (16u << 10) /* more bytes than these are not read through blocks */
#define FILE_COUNT  8u
#define SIGHT_SHIFT 20u /* one remembered frame per MiB */
#define NAME_DIGITS 20u
#define NAME_SUFFIX ".journal"

struct block {
    mim_lsn_t lsn; /* of its first byte */
    uint32_t size; /* bytes that are there; 0: empty */
};

struct open_file {
    mim_file_t file; /* 0: none */
    mim_lsn_t base_lsn;
    uint64_t used; /* counts up: the smallest goes first */
};

struct sight {
    mim_lsn_t lsn; /* 0: none */
    mim_position_t position;
};

struct whole_frame {
    uint8_t *bytes; /* owned */
    size_t capacity;
    mim_lsn_t lsn; /* 0: none */
    struct mim_frame_header header;
};

struct record_copy {
    uint8_t *bytes; /* owned */
    size_t capacity;
};

struct mim_access {
    struct mim_storage storage;
    struct mim_segments segments;
    mim_lsn_t limit;
    mim_lsn_t covered; /* the table knows every segment that holds a byte before it */
    struct block blocks[BLOCK_COUNT];
    uint8_t *memory;              /* BLOCK_COUNT * BLOCK_SIZE */
    mim_lsn_t run_first, run_end; /* what was read into blocks last */
    struct open_file files[FILE_COUNT];
    uint64_t file_clock;
    struct record_copy event_copy, first_copy;
    mim_lsn_t header_lsn; /* of `header`; 0: none */
    struct mim_frame_header header;
    struct whole_frame frames[MIM_ACCESS_FRAMES];
    uint32_t next_frame;
    struct sight *sights;
    size_t sight_count;
    struct mim_access_stats stats;
};

int mim_access_open(struct mim_storage storage, struct mim_access **ret_access, struct mim_error *reterr) {
    struct mim_access *access = calloc(1, sizeof(*access));
    if (access != NULL) {
        access->memory = malloc((size_t)BLOCK_COUNT * BLOCK_SIZE);
    }
    if (access == NULL || access->memory == NULL) {
        free(access);
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory opening the journal for reading");
    }
    access->storage = storage;
    *ret_access = access;
    return 0;
}

struct mim_access *mim_access_free(struct mim_access *access) {
    if (access != NULL) {
        for (unsigned i = 0; i < FILE_COUNT; i++) {
            mim_file_close(access->storage, access->files[i].file);
        }
        for (unsigned i = 0; i < MIM_ACCESS_FRAMES; i++) {
            free(access->frames[i].bytes);
        }
        mim_segments_deinit(&access->segments);
        free(access->event_copy.bytes);
        free(access->first_copy.bytes);
        free(access->sights);
        free(access->memory);
        free(access);
    }
    return NULL;
}

mim_lsn_t mim_access_limit(const struct mim_access *access) { return access->limit; }

const struct mim_segments *mim_access_segments(const struct mim_access *access) { return &access->segments; }

void mim_access_stats(const struct mim_access *access, struct mim_access_stats *ret_stats) {
    *ret_stats = access->stats;
}

/* ------------------------------------------------------------------ segments */

struct newer {
    mim_position_t after; /* first positions greater than it are wanted */
    bool any;             /* wanted are all */
    mim_position_t *items;
    size_t count;
    size_t capacity;
};

static int collect_newer(void *context, const char *name, bool is_directory) {
    struct newer *newer = context;
    mim_position_t position = 0;
    if (is_directory || strlen(name) != NAME_DIGITS + strlen(NAME_SUFFIX) ||
        strcmp(name + NAME_DIGITS, NAME_SUFFIX) != 0) {
        return 0;
    }
    for (unsigned i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return 0;
        }
        position = position * 10u + (mim_position_t)(name[i] - '0');
    }
    if (!newer->any && position <= newer->after) {
        return 0;
    }
    if (newer->count == newer->capacity) {
        size_t capacity = newer->capacity == 0 ? 64 : newer->capacity * 2;
        mim_position_t *grown = realloc(newer->items, capacity * sizeof(*grown));
        if (grown == NULL) {
            return MIM_E_MEMORY;
        }
        newer->items = grown;
        newer->capacity = capacity;
    }
    newer->items[newer->count++] = position;
    return 0;
}

static int compare_positions(const void *a, const void *b) {
    mim_position_t left = *(const mim_position_t *)a;
    mim_position_t right = *(const mim_position_t *)b;
    return (left > right) - (left < right);
}

/** Bytes of a segment's file as it is now; UINT64_MAX when that cannot be told. */
static uint64_t size_now(const struct mim_access *access, const struct mim_segment *segment) {
    char path[MIM_SEGMENT_PATH_SIZE];
    uint64_t size = 0;
    mim_file_t file = 0;
    struct mim_error ignored = {0};
    mim_segment_path(segment->header.first_position, path);
    int rc = mim_file_open(access->storage, path, MIM_OPEN_READ, &file, &ignored);
    rc = rc != 0 ? rc : mim_file_size(access->storage, file, &size, &ignored);
    mim_file_close(access->storage, file);
    return rc == 0 ? size : UINT64_MAX;
}

/** Reads one header and appends the segment. The one before the `first` of a look at the directory may have grown since it
 *  was known. A last one without a header yet is left for the next time. */
static int segment_add(struct mim_access *access, mim_position_t name, bool first, bool last,
                       struct mim_error *reterr) {
    char path[MIM_SEGMENT_PATH_SIZE];
    uint8_t page[MIM_SEGMENT_HEADER_SIZE] = {0};
    mim_file_t file = 0;
    size_t got = 0;
    struct mim_segment segment = {0};
    mim_segment_path(name, path);
    int rc = mim_file_open(access->storage, path, MIM_OPEN_READ, &file, reterr);
    if (rc != 0) {
        return rc == MIM_E_NOT_FOUND && !last ? 0 : rc; /* archived since it was listed */
    }
    rc = mim_file_pread(access->storage, file, page, sizeof(page), 0, &got, reterr);
    rc = rc != 0 ? rc : mim_file_size(access->storage, file, &segment.file_size, reterr);
    mim_file_close(access->storage, file);
    if (rc != 0) {
        return rc;
    }
    if (last && mim_get64(page) == 0) {
        return 0;
    }
    rc = mim_segment_header_decode(page, &segment.header, reterr);
    if (rc != 0) {
        return mim_error_prefix(reterr, "%s", path);
    }
    if (access->segments.count > 0) {
        struct mim_segment *before = &access->segments.items[access->segments.count - 1];
        uint64_t whole = segment.header.base_lsn - before->header.base_lsn;
        uint64_t size = first ? size_now(access, before) : before->file_size;
        before->file_size = size < whole ? size : whole; /* less: what stood between was begun and archived meanwhile */
    }
    return mim_segments_push(&access->segments, &segment) == 0
               ? 0
               : mim_error_set(reterr, MIM_E_MEMORY, "out of memory for the table of segments");
}

/** Takes segments into the table that were begun since. */
static int segments_refresh(struct mim_access *access, struct mim_error *reterr) {
    struct newer newer = {.any = access->segments.count == 0};
    if (!newer.any) {
        newer.after = access->segments.items[access->segments.count - 1].header.first_position;
    }
    int rc = mim_storage_list(access->storage, MIM_JOURNAL_DIR, collect_newer, &newer, reterr);
    if (rc == 0 && newer.count > 1) {
        qsort(newer.items, newer.count, sizeof(newer.items[0]), compare_positions);
    }
    for (size_t i = 0; rc == 0 && i < newer.count; i++) {
        rc = segment_add(access, newer.items[i], i == 0, i + 1 == newer.count, reterr);
    }
    free(newer.items);
    return rc;
}

int mim_access_set_limit(struct mim_access *access, mim_lsn_t limit, mim_lsn_t segment_lsn, struct mim_error *reterr) {
    if (limit <= access->covered) {
        access->limit = limit > access->limit ? limit : access->limit;
        return 0;
    }
    const struct mim_segments *known = &access->segments;
    bool rolled = segment_lsn == 0 || known->count == 0 || known->items[known->count - 1].header.base_lsn < segment_lsn;
    int rc = rolled ? segments_refresh(access, reterr) : 0;
    if (rc != 0) {
        return rc;
    }
    access->covered = limit;
    access->limit = limit;
    return 0;
}

/* --------------------------------------------------------------------- bytes */

static int beyond(mim_lsn_t lsn, const char *what, struct mim_error *reterr) {
    return mim_error_set(reterr, MIM_E_INVALID, "LSN %" PRIu64 " %s", lsn, what);
}

static int file_of(struct mim_access *access, const struct mim_segment *segment, mim_file_t *ret_file,
                   struct mim_error *reterr) {
    struct open_file *oldest = &access->files[0];
    for (unsigned i = 0; i < FILE_COUNT; i++) {
        struct open_file *open = &access->files[i];
        if (open->file != 0 && open->base_lsn == segment->header.base_lsn) {
            open->used = ++access->file_clock;
            *ret_file = open->file;
            return 0;
        }
        oldest = open->used < oldest->used ? open : oldest;
    }
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_file_t file = 0;
    mim_segment_path(segment->header.first_position, path);
    int rc = mim_file_open(access->storage, path, MIM_OPEN_READ, &file, reterr);
    if (rc == MIM_E_NOT_FOUND) {
        return mim_error_set(reterr, MIM_E_INVALID, "%s was archived: copy it back to read it", path);
    }
    if (rc != 0) {
        return rc;
    }
    mim_file_close(access->storage, oldest->file);
    *oldest = (struct open_file){.file = file, .base_lsn = segment->header.base_lsn, .used = ++access->file_clock};
    *ret_file = file;
    return 0;
}

/** The segment that holds an LSN and where its readable bytes end. */
static int segment_of(const struct mim_access *access, mim_lsn_t lsn, const struct mim_segment **ret_segment,
                      mim_lsn_t *ret_end, struct mim_error *reterr) {
    if (lsn >= access->limit) {
        return beyond(lsn, "lies beyond what is durable", reterr);
    }
    size_t index = mim_segments_find_lsn(&access->segments, lsn);
    if (index == access->segments.count) {
        return beyond(lsn, "lies before the journal's first segment: it was archived; copy it back and start again",
                      reterr);
    }
    const struct mim_segment *segment = &access->segments.items[index];
    mim_lsn_t end = access->limit;
    if (index + 1 < access->segments.count && segment->header.base_lsn + segment->file_size < end) {
        end = segment->header.base_lsn + segment->file_size;
    }
    if (lsn >= end) {
        return beyond(lsn, "lies in a segment that was archived; copy it back and start again", reterr);
    }
    *ret_segment = segment;
    *ret_end = end;
    return 0;
}

static int read_at(struct mim_access *access, const struct mim_segment *segment, mim_lsn_t lsn, void *buffer,
                   size_t size, struct mim_error *reterr) {
    mim_file_t file = 0;
    size_t got = 0;
    int rc = file_of(access, segment, &file, reterr);
    rc = rc != 0 ? rc
                 : mim_file_pread(access->storage, file, buffer, size, lsn - segment->header.base_lsn, &got, reterr);
    if (rc != 0) {
        return rc;
    }
    access->stats.reads++;
    access->stats.bytes += got;
    return got == size ? 0 : mim_error_set(reterr, MIM_E_IO, "short read of the journal at LSN %" PRIu64, lsn + got);
}

static bool block_is_there(const struct mim_access *access, mim_lsn_t start) {
    const struct block *block = &access->blocks[(start >> BLOCK_SHIFT) & (BLOCK_COUNT - 1u)];
    return block->lsn == start && block->size == BLOCK_SIZE;
}

/** How many blocks before and behind the one at `start` are read with it: those that lie side by side in memory, up to
 *  one that is there. */
static void run_around(const struct mim_access *access, const struct mim_segment *segment, mim_lsn_t start,
                       mim_lsn_t end, uint32_t *ret_before, uint32_t *ret_behind) {
    uint32_t slot = (uint32_t)((start >> BLOCK_SHIFT) & (BLOCK_COUNT - 1u));
    uint32_t n = 0;
    *ret_before = *ret_behind = 0;
    if (start + BLOCK_SIZE == access->run_first) {
        mim_lsn_t at = start;
        while (n < RUN_BLOCKS - 1u && n < slot && at > segment->header.base_lsn &&
               !block_is_there(access, at - BLOCK_SIZE)) {
            at -= BLOCK_SIZE;
            n++;
        }
        *ret_before = n;
    } else if (start <= access->run_end && access->run_end < start + BLOCK_SIZE) {
        mim_lsn_t at = start + BLOCK_SIZE;
        while (n < RUN_BLOCKS - 1u && slot + n + 1u < BLOCK_COUNT && at < end && !block_is_there(access, at)) {
            at += BLOCK_SIZE;
            n++;
        }
        *ret_behind = n;
    }
}

/** Reads the block at `start`, of which some bytes may be there, and those beside it. */
static int blocks_read(struct mim_access *access, const struct mim_segment *segment, mim_lsn_t start, mim_lsn_t end,
                       struct mim_error *reterr) {
    uint32_t slot = (uint32_t)((start >> BLOCK_SHIFT) & (BLOCK_COUNT - 1u));
    uint32_t before = 0;
    uint32_t behind = 0;
    run_around(access, segment, start, end, &before, &behind);
    struct block *first = &access->blocks[slot - before];
    mim_lsn_t from = start - (mim_lsn_t)before * BLOCK_SIZE;
    mim_lsn_t until = start + (mim_lsn_t)(behind + 1u) * BLOCK_SIZE;
    until = until < end ? until : end;
    uint32_t there = before == 0 ? first->size : 0; /* of the first block */
    for (uint32_t i = 0; i <= before + behind; i++) {
        first[i].size = 0; /* whatever happens, they are overwritten */
    }
    int rc = read_at(access, segment, from + there, access->memory + (size_t)(slot - before) * BLOCK_SIZE + there,
                     (size_t)(until - from) - there, reterr);
    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i <= before + behind; i++) {
        mim_lsn_t lsn = from + (mim_lsn_t)i * BLOCK_SIZE;
        first[i] = (struct block){.lsn = lsn, .size = until - lsn < BLOCK_SIZE ? (uint32_t)(until - lsn) : BLOCK_SIZE};
    }
    access->run_first = from;
    access->run_end = until;
    return 0;
}

/** What stands at an LSN, as far as its block goes: borrowed until the next call. */
static int peek(struct mim_access *access, mim_lsn_t lsn, const uint8_t **ret_bytes, size_t *ret_size,
                struct mim_error *reterr) {
    struct block *hit = NULL;
    const struct mim_segment *segment = NULL;
    mim_lsn_t end = 0;
    int rc = segment_of(access, lsn, &segment, &end, reterr);
    if (rc != 0) {
        return rc;
    }
    MIM_ASSERT(segment != NULL);
    mim_lsn_t start = segment->header.base_lsn + ((lsn - segment->header.base_lsn) & ~(uint64_t)(BLOCK_SIZE - 1u));
    unsigned slot = (unsigned)((start >> BLOCK_SHIFT) & (BLOCK_COUNT - 1u));
    hit = &access->blocks[slot];
    uint8_t *memory = access->memory + (size_t)slot * BLOCK_SIZE;
    uint32_t size = end - start < BLOCK_SIZE ? (uint32_t)(end - start) : BLOCK_SIZE;
    if (hit->size == 0 || hit->lsn != start) {
        *hit = (struct block){.lsn = start};
    }
    if (hit->size < size) {
        rc = blocks_read(access, segment, start, end, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    *ret_bytes = memory + (lsn - start);
    *ret_size = (size_t)(start + hit->size - lsn);
    return 0;
}

/** Copies bytes out of one segment. */
static int copy_bytes(struct mim_access *access, mim_lsn_t lsn, size_t size, uint8_t *buffer,
                      struct mim_error *reterr) {
    const struct mim_segment *segment = NULL;
    mim_lsn_t end = 0;
    int rc = segment_of(access, lsn, &segment, &end, reterr);
    if (rc != 0) {
        return rc;
    }
    MIM_ASSERT(segment != NULL);
    if (size > end - lsn) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "what begins at LSN %" PRIu64 " ends beyond its segment", lsn);
    }
    if (size > DIRECT_SIZE) {
        return read_at(access, segment, lsn, buffer, size, reterr);
    }
    while (size > 0) {
        const uint8_t *bytes = NULL;
        size_t available = 0;
        rc = peek(access, lsn, &bytes, &available, reterr);
        if (rc != 0) {
            return rc;
        }
        available = available < size ? available : size;
        memcpy(buffer, bytes, available);
        buffer += available;
        lsn += available;
        size -= available;
    }
    return 0;
}

/* ------------------------------------------------------------------- records */

static int copy_grow(uint8_t **bytes, size_t *capacity, size_t size, struct mim_error *reterr) {
    if (size <= *capacity) {
        return 0;
    }
    size_t wanted = *capacity == 0 ? 4096 : *capacity;
    while (wanted < size) {
        wanted *= 2;
    }
    uint8_t *grown = realloc(*bytes, wanted);
    if (grown == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory reading the journal");
    }
    *bytes = grown;
    *capacity = wanted;
    return 0;
}

/** The size of the record at an LSN, of which only the beginning is at hand. */
static int record_size(struct mim_access *access, mim_lsn_t lsn, uint64_t *ret_size, struct mim_error *reterr) {
    uint8_t head[MIM_RECORD_HEADER_SIZE];
    int rc = copy_bytes(access, lsn, sizeof(head), head, reterr);
    if (rc != 0) {
        return rc;
    }
    uint64_t size = mim_align8((uint64_t)MIM_RECORD_HEADER_SIZE + mim_get32(head));
    if ((mim_get16(head + 6) & MIM_PARTS_MASK) != 0) {
        uint8_t word[4];
        rc = copy_bytes(access, lsn + size, sizeof(word), word, reterr);
        if (rc != 0) {
            return rc;
        }
        size += mim_align8((uint64_t)4 + mim_get32(word));
    }
    *ret_size = size;
    return size <= MIM_FRAME_SIZE_MAX ? 0
                                      : mim_error_set(reterr, MIM_E_DAMAGED, "malformed record at LSN %" PRIu64, lsn);
}

/** Copies the record at an LSN and decodes the copy. */
static int record_read(struct mim_access *access, mim_lsn_t lsn, struct record_copy *copy,
                       struct mim_record *ret_record, struct mim_error *reterr) {
    const uint8_t *bytes = NULL;
    size_t available = 0;
    int rc = peek(access, lsn, &bytes, &available, reterr);
    if (rc != 0) {
        return rc;
    }
    uint64_t size = available < MIM_RECORD_HEADER_SIZE ? 0 : mim_record_decode(bytes, available, ret_record);
    bool whole = size != 0;
    if (!whole) {
        rc = record_size(access, lsn, &size, reterr);
    }
    rc = rc != 0 ? rc : copy_grow(&copy->bytes, &copy->capacity, size, reterr);
    if (rc != 0) {
        return rc;
    }
    if (whole) {
        memcpy(copy->bytes, bytes, size);
    } else {
        rc = copy_bytes(access, lsn, size, copy->bytes, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    return mim_record_decode(copy->bytes, size, ret_record) == size
               ? 0
               : mim_error_set(reterr, MIM_E_DAMAGED, "malformed record at LSN %" PRIu64, lsn);
}

int mim_access_frame_header(struct mim_access *access, mim_lsn_t lsn, struct mim_frame_header *ret_header,
                            struct mim_error *reterr) {
    if (access->header_lsn == lsn && lsn != 0) {
        *ret_header = access->header;
        return 0;
    }
    uint8_t bytes[MIM_FRAME_HEADER_SIZE];
    int rc = copy_bytes(access, lsn, sizeof(bytes), bytes, reterr);
    if (rc != 0) {
        return rc;
    }
    enum mim_frame_verdict verdict =
        mim_frame_check(bytes, sizeof(bytes), &access->segments.items[0].header.history, lsn, false, &access->header);
    if (verdict != MIM_FRAME_GOOD && verdict != MIM_FRAME_SHORT) {
        access->header_lsn = 0;
        return mim_error_set(reterr, MIM_E_DAMAGED, "frame at LSN %" PRIu64 ": %s", lsn,
                             mim_frame_verdict_text(verdict));
    }
    access->header_lsn = lsn;
    *ret_header = access->header;
    return 0;
}

int mim_access_record(struct mim_access *access, mim_lsn_t lsn, struct mim_journal_event *ret_event,
                      struct mim_error *reterr) {
    struct mim_record record = {0};
    int rc = record_read(access, lsn, &access->event_copy, &record, reterr);
    if (rc != 0) {
        return rc;
    }
    if (record.type > MIM_RECORD_EVENT_MAX || record.frame_offset > lsn || record.tx_offset > record.frame_offset) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "no event at LSN %" PRIu64, lsn);
    }
    *ret_event = (struct mim_journal_event){.record = record, .lsn = lsn};
    return 0;
}

int mim_access_event(struct mim_access *access, mim_lsn_t lsn, struct mim_journal_event *ret_event,
                     struct mim_error *reterr) {
    struct mim_journal_event event = {0};
    struct mim_frame_header header = {0};
    int rc = mim_access_record(access, lsn, &event, reterr);
    rc = rc != 0 ? rc : mim_access_frame_header(access, lsn - event.record.frame_offset, &header, reterr);
    if (rc != 0) {
        return rc;
    }
    event.position = header.first_position + event.record.index;
    event.time_ms = header.base_time_ms + event.record.time_delta_ms;
    event.epoch = header.epoch;
    *ret_event = event;
    return 0;
}

int mim_access_transaction(struct mim_access *access, struct mim_journal_event *event, struct mim_error *reterr) {
    struct mim_record first = event->record;
    if (event->record.tx_offset != 0) {
        int rc = record_read(access, event->lsn - event->record.tx_offset, &access->first_copy, &first, reterr);
        if (rc != 0) {
            return rc;
        }
    }
    (void)mim_record_part(&first, MIM_PART_CORR, &event->correlation);
    (void)mim_record_part(&first, MIM_PART_CAUSE, &event->causation);
    (void)mim_record_part(&first, MIM_PART_ACTOR, &event->actor);
    return 0;
}

/* -------------------------------------------------------------------- frames */

int mim_access_frame(struct mim_access *access, mim_lsn_t lsn, struct mim_frame *ret_frame, struct mim_error *reterr) {
    struct whole_frame *frame = NULL;
    for (unsigned i = 0; i < MIM_ACCESS_FRAMES; i++) {
        if (access->frames[i].lsn == lsn && lsn != 0) {
            frame = &access->frames[i];
            *ret_frame = (struct mim_frame){.header = frame->header, .lsn = lsn, .bytes = frame->bytes};
            return 0;
        }
    }
    struct mim_frame_header header = {0};
    int rc = mim_access_frame_header(access, lsn, &header, reterr);
    if (rc != 0) {
        return rc;
    }
    frame = &access->frames[access->next_frame];
    access->next_frame = (access->next_frame + 1) % MIM_ACCESS_FRAMES;
    frame->lsn = 0;
    rc = copy_grow(&frame->bytes, &frame->capacity, header.size, reterr);
    rc = rc != 0 ? rc : copy_bytes(access, lsn, header.size, frame->bytes, reterr);
    if (rc != 0) {
        return rc;
    }
    enum mim_frame_verdict verdict = mim_frame_check(
        frame->bytes, header.size, &access->segments.items[0].header.history, lsn, true, &frame->header);
    if (verdict != MIM_FRAME_GOOD) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "frame at LSN %" PRIu64 ": %s", lsn,
                             mim_frame_verdict_text(verdict));
    }
    frame->lsn = lsn;
    *ret_frame = (struct mim_frame){.header = frame->header, .lsn = lsn, .bytes = frame->bytes};
    return 0;
}

void mim_access_met(struct mim_access *access, mim_lsn_t lsn, mim_position_t first_position) {
    size_t index = (size_t)(lsn >> SIGHT_SHIFT);
    if (index >= access->sight_count) {
        size_t count = access->sight_count == 0 ? 64 : access->sight_count;
        while (count <= index) {
            count *= 2;
        }
        struct sight *grown = realloc(access->sights, count * sizeof(*grown));
        if (grown == NULL) {
            return; /* it is only a shortcut */
        }
        memset(grown + access->sight_count, 0, (count - access->sight_count) * sizeof(*grown));
        access->sights = grown;
        access->sight_count = count;
    }
    if (access->sights[index].lsn == 0) {
        access->sights[index] = (struct sight){.lsn = lsn, .position = first_position};
    }
}

int mim_access_near(struct mim_access *access, mim_position_t position, mim_lsn_t *ret_lsn, struct mim_error *reterr) {
    size_t index = mim_segments_find_position(&access->segments, position);
    if (index == access->segments.count) {
        return mim_error_set(reterr, MIM_E_INVALID,
                             "position %" PRIu64
                             " lies before the journal's first segment: it was archived; copy it back and start again",
                             position);
    }
    mim_lsn_t base = access->segments.items[index].header.base_lsn;
    mim_lsn_t end = index + 1 < access->segments.count ? access->segments.items[index + 1].header.base_lsn : UINT64_MAX;
    mim_lsn_t best = base + MIM_SEGMENT_HEADER_SIZE;
    for (size_t i = (size_t)(base >> SIGHT_SHIFT); i < access->sight_count; i++) {
        const struct sight *sight = &access->sights[i];
        if (sight->lsn >= end || (sight->lsn != 0 && sight->position > position)) {
            break;
        }
        best = sight->lsn > best ? sight->lsn : best;
    }
    *ret_lsn = best;
    return 0;
}
