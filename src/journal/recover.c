// SPDX-License-Identifier: MIT
// The verdict on the journal's end: clean, torn or damaged. A pure function of the bytes behind the last good frame
// and of evidence that bytes were durable: durable LSNs in later frames, a later segment, the mark, snapshots,
// standbys. The length in a bad header is never believed: the whole rest of the segment is looked at.
#include "journal/recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

#define BLOCK_SIZE ((size_t)1 << 20)

bool mim_recover_zero(const uint8_t *bytes, size_t size) {
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1u) == 0);
}

/** Reads up to a block at `offset`; a block shorter than asked for by size is the end of the file. */
static int read_block(struct mim_storage storage, mim_file_t file, uint8_t *block, uint64_t offset, uint64_t to,
                      size_t *ret_size, struct mim_error *reterr) {
    size_t wanted = to - offset < BLOCK_SIZE ? (size_t)(to - offset) : BLOCK_SIZE;
    return mim_file_pread(storage, file, block, wanted, offset, ret_size, reterr);
}

int mim_recover_used(struct mim_storage storage, mim_file_t file, uint64_t from, uint64_t to, uint64_t *ret_used,
                     struct mim_error *reterr) {
    if (from >= to) {
        *ret_used = from;
        return 0;
    }
    uint8_t *block = malloc(to - from < BLOCK_SIZE ? (size_t)(to - from) : BLOCK_SIZE);
    if (block == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory reading the journal's tail");
    }
    uint64_t used = from;
    size_t got = 0;
    int code = 0;
    for (uint64_t offset = from; offset < to; offset += got) {
        code = read_block(storage, file, block, offset, to, &got, reterr);
        if (code != 0 || got == 0) {
            break;
        }
        if (!mim_recover_zero(block, got)) {
            size_t last = got;
            while (block[last - 1u] == 0) {
                last--;
            }
            used = offset + last;
        }
    }
    free(block);
    if (code == 0) {
        *ret_used = used;
    }
    return code;
}

/** What a frame behind the bad one says. */
struct witness {
    mim_lsn_t lsn; /* of the frame with the greatest durable LSN; 0: no valid frame found */
    mim_lsn_t durable_lsn;
};

/** Looks for valid frame headers in block[0..size), which stands at file offset `offset` of a file of `file_size`. */
static void scan_block(const struct mim_tail *tail, const uint8_t *block, size_t size, uint64_t offset,
                       uint64_t file_size, struct witness *witness) {
    const struct mim_segment_header *segment = &tail->segments->items[tail->segment].header;
    for (size_t i = 0; i + MIM_FRAME_HEADER_SIZE <= size; i += 8u) {
        if (mim_get32(block + i) != MIM_FRAME_MAGIC) {
            continue;
        }
        struct mim_frame_header header;
        mim_lsn_t lsn = segment->base_lsn + offset + i;
        enum mim_frame_verdict verdict = mim_frame_check(block + i, file_size - offset - i, &segment->history, lsn,
                                                         /* verify_payload= */ false, &header);
        if ((verdict == MIM_FRAME_GOOD || verdict == MIM_FRAME_SHORT) &&
            (witness->lsn == 0 || header.durable_lsn > witness->durable_lsn)) {
            *witness = (struct witness){.lsn = lsn, .durable_lsn = header.durable_lsn};
        }
    }
}

/** The best witness in file[from..to). Blocks overlap by a header, so that none is missed on a seam. */
static int scan(const struct mim_tail *tail, mim_file_t file, uint64_t from, uint64_t to, struct witness *ret_witness,
                struct mim_error *reterr) {
    if (from + MIM_FRAME_HEADER_SIZE > to) {
        *ret_witness = (struct witness){0};
        return 0;
    }
    uint8_t *block = malloc(to - from < BLOCK_SIZE ? (size_t)(to - from) : BLOCK_SIZE);
    if (block == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory reading the journal's tail");
    }
    struct witness witness = {0};
    int code = 0;
    uint64_t offset = from;
    while (offset + MIM_FRAME_HEADER_SIZE <= to) {
        size_t got = 0;
        code = read_block(tail->storage, file, block, offset, to, &got, reterr);
        if (code != 0 || got < MIM_FRAME_HEADER_SIZE) {
            break;
        }
        if (!mim_recover_zero(block, got)) {
            scan_block(tail, block, got, offset, to, &witness);
        }
        offset += (got - MIM_FRAME_HEADER_SIZE + 8u) & ~(size_t)7u;
    }
    free(block);
    if (code == 0) {
        *ret_witness = witness;
    }
    return code;
}

/** Damage, with the place and what proves it. */
static void damaged(const struct mim_tail *tail, struct mim_journal_ending *ending, const char *evidence) {
    char path[MIM_SEGMENT_PATH_SIZE] = MIM_JOURNAL_DIR;
    if (tail->segments->count > 0) {
        mim_segment_path(tail->segments->items[tail->segment].header.first_position, path);
    }
    const char *reason = tail->reason[0] != 0 ? tail->reason : "zeros where a frame should be";
    ending->kind = MIM_END_DAMAGED;
    (void)snprintf(ending->text, sizeof(ending->text), "%s: offset %" PRIu64 ": position %" PRIu64 ": %s; %s", path,
                   tail->offset, tail->position + 1u, reason, evidence);
}

static void clean_or_missing(const struct mim_tail *tail, struct mim_journal_ending *ending) {
    if (tail->evidence_lsn > tail->lsn) {
        char evidence[128];
        (void)snprintf(evidence, sizeof(evidence),
                       "journal ends at LSN %" PRIu64 " but was durable up to %" PRIu64 ": the newest part is missing",
                       tail->lsn, tail->evidence_lsn);
        damaged(tail, ending, evidence);
        return;
    }
    ending->kind = MIM_END_CLEAN;
    (void)snprintf(ending->text, sizeof(ending->text), "clean end at position %" PRIu64 ", LSN %" PRIu64,
                   tail->position, tail->lsn);
}

/** Bytes stand behind the last good frame of the last segment: torn or damaged. */
static int torn_or_damaged(const struct mim_tail *tail, mim_file_t file, uint64_t used, uint64_t file_size,
                           struct mim_journal_ending *ending, struct mim_error *reterr) {
    struct witness witness = {0};
    int code = scan(tail, file, tail->offset + 8u, file_size, &witness, reterr);
    if (code != 0) {
        return code;
    }
    char evidence[128];
    if (!tail->standby && witness.lsn != 0 && witness.durable_lsn > tail->lsn) {
        (void)snprintf(evidence, sizeof(evidence),
                       "the frame at LSN %" PRIu64 " proves that it was durable up to LSN %" PRIu64, witness.lsn,
                       witness.durable_lsn);
        damaged(tail, ending, evidence);
        return 0;
    }
    if (tail->evidence_lsn > tail->lsn) {
        (void)snprintf(evidence, sizeof(evidence), "it was durable up to LSN %" PRIu64 " (mark, snapshot or standby)",
                       tail->evidence_lsn);
        damaged(tail, ending, evidence);
        return 0;
    }
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(tail->segments->items[tail->segment].header.first_position, path);
    ending->kind = MIM_END_TORN;
    ending->torn_size = used - tail->offset;
    (void)snprintf(ending->text, sizeof(ending->text),
                   "%s: offset %" PRIu64 ": position %" PRIu64 ": %s; an incomplete last write of %" PRIu64
                   " bytes, never acknowledged",
                   path, tail->offset, tail->position + 1u,
                   tail->reason[0] != 0 ? tail->reason : "zeros where a frame should be", ending->torn_size);
    return 0;
}

/** The last segment: looks at everything behind the last good frame. */
static int classify_last(const struct mim_tail *tail, struct mim_journal_ending *ending, struct mim_error *reterr) {
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(tail->segments->items[tail->segment].header.first_position, path);
    mim_file_t file = 0;
    int code = mim_file_open(tail->storage, path, MIM_OPEN_READ, &file, reterr);
    if (code != 0) {
        return code;
    }
    uint64_t size = 0;
    uint64_t used = 0;
    code = mim_file_size(tail->storage, file, &size, reterr);
    if (code == 0) {
        code = mim_recover_used(tail->storage, file, tail->offset, size, &used, reterr);
    }
    if (code == 0 && used > tail->offset) {
        code = torn_or_damaged(tail, file, used, size, ending, reterr);
    } else if (code == 0) {
        clean_or_missing(tail, ending);
    }
    mim_file_close(tail->storage, file);
    return code;
}

int mim_recover_classify(const struct mim_tail *tail, struct mim_journal_ending *ret_ending, struct mim_error *reterr) {
    struct mim_journal_ending ending = {
        .kind = MIM_END_CLEAN,
        .lsn = tail->lsn,
        .position = tail->position,
        .chain = tail->chain,
        .epoch = tail->epoch,
        .time_ms = tail->time_ms,
        .segment = tail->segment,
        .offset = tail->offset,
        .rolled = tail->rolled,
    };
    int code = 0;
    if (tail->foreign_start) {
        damaged(tail, &ending, "this is another history than that of the snapshot or standby that led here");
    } else if (tail->stop == MIM_STOP_LIMIT) {
        (void)snprintf(ending.text, sizeof(ending.text), "limit reached at position %" PRIu64 ", LSN %" PRIu64,
                       tail->position, tail->lsn);
    } else if (tail->segments->count == 0) {
        clean_or_missing(tail, &ending);
    } else if (tail->segment + 1u < tail->segments->count) {
        damaged(tail, &ending, "a later segment proves that it was durable");
    } else {
        MIM_ASSERT(tail->offset >= MIM_SEGMENT_HEADER_SIZE);
        code = classify_last(tail, &ending, reterr);
    }
    if (code == 0) {
        *ret_ending = ending;
    }
    return code;
}
