// SPDX-License-Identifier: MIT
// Local evidence of durability; see evidence.h.
#include "journal/evidence.h"

#include <stdlib.h>

#define LOOK_SIZE ((uint64_t)64 << 10) /* bytes looked at in one go, backwards */

/** The mark, if it is readable and of this history. No mark is no error: it is no evidence. */
static bool mark_of(struct mim_storage storage, const struct mim_segments *segments, struct mim_mark *ret_mark) {
    struct mim_error why = {0};
    return mim_mark_read(storage, ret_mark, &why) == 0 &&
           memcmp(&ret_mark->history, &segments->items[0].header.history, sizeof(ret_mark->history)) == 0;
}

/** Does a frame's durable LSN speak of this directory? */
static bool speaks(const struct mim_mark *mark, const struct mim_frame_header *frame) {
    return !mark->standby && frame->epoch == mark->epoch;
}

/** The frame that ends at `end` with the ending's chain, if its header lies in block[0..size), which is file offset `at`. */
static bool find_last(const struct mim_segment_header *segment, const struct mim_journal_ending *ending,
                      const uint8_t *block, uint64_t size, uint64_t at, uint64_t end,
                      struct mim_frame_header *ret_frame) {
    for (uint64_t i = size < MIM_FRAME_HEADER_SIZE ? 0 : (size - MIM_FRAME_HEADER_SIZE) / 8u + 1u; i-- > 0;) {
        const uint8_t *bytes = block + i * 8u;
        uint64_t offset = at + i * 8u;
        if (mim_get32(bytes) == MIM_FRAME_MAGIC && offset + mim_get32(bytes + 8) == end &&
            mim_get64(bytes + 56) == ending->chain &&
            mim_frame_check(bytes, end - offset, &segment->history, segment->base_lsn + offset,
                            /* verify_payload= */ false, ret_frame) == MIM_FRAME_GOOD) {
            return true;
        }
    }
    return false;
}

/** Looks for the last frame's header in file[from..end), backwards; blocks overlap, so that none is missed on a seam. */
static int last_frame(struct mim_storage storage, mim_file_t file, const struct mim_segment_header *segment,
                      const struct mim_journal_ending *ending, uint64_t from, uint64_t end, bool *ret_found,
                      struct mim_frame_header *ret_frame, struct mim_error *reterr) {
    *ret_found = false;
    uint8_t *block = malloc(LOOK_SIZE + MIM_FRAME_HEADER_SIZE);
    if (block == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory looking for the journal's last frame");
    }
    int rc = 0;
    for (uint64_t until = end; rc == 0 && !*ret_found && until > from;) {
        uint64_t at = until - from > LOOK_SIZE ? until - LOOK_SIZE : from;
        uint64_t size = (until + MIM_FRAME_HEADER_SIZE < end ? until + MIM_FRAME_HEADER_SIZE : end) - at;
        size_t got = 0;
        rc = mim_file_pread(storage, file, block, (size_t)size, at, &got, reterr);
        *ret_found = rc == 0 && find_last(segment, ending, block, got, at, end, ret_frame);
        until = at;
    }
    free(block);
    return rc;
}

int mim_evidence_ending(struct mim_storage storage, const struct mim_segments *segments,
                        const struct mim_journal_ending *ending, mim_lsn_t *ret_lsn, struct mim_error *reterr) {
    struct mim_mark mark;
    if (segments->count == 0 || !mark_of(storage, segments, &mark)) {
        *ret_lsn = 0;
        return 0;
    }
    const struct mim_segment *last = &segments->items[segments->count - 1];
    mim_lsn_t start = last->header.base_lsn + MIM_SEGMENT_HEADER_SIZE;
    mim_lsn_t from = mark.durable_lsn > start ? mark.durable_lsn : start;
    if (from + MIM_FRAME_SIZE_MAX < ending->lsn) {
        from = ending->lsn - MIM_FRAME_SIZE_MAX;
    }
    bool found = false;
    struct mim_frame_header frame;
    if (!mark.standby && from < ending->lsn) {
        char path[MIM_SEGMENT_PATH_SIZE];
        mim_segment_path(last->header.first_position, path);
        mim_file_t file = 0;
        int rc = mim_file_open(storage, path, MIM_OPEN_READ, &file, reterr);
        rc = rc != 0 ? rc
                     : last_frame(storage, file, &last->header, ending, from - last->header.base_lsn,
                                  ending->lsn - last->header.base_lsn, &found, &frame, reterr);
        mim_file_close(storage, file);
        if (rc != 0) {
            return rc;
        }
    }
    *ret_lsn =
        found && speaks(&mark, &frame) && frame.durable_lsn > mark.durable_lsn ? frame.durable_lsn : mark.durable_lsn;
    return 0;
}

/** Where the walk over a live journal's headers begins: at the mark when it stands in the last segment. */
static struct mim_reader_options walk_from(const struct mim_segment *last, const struct mim_mark *mark) {
    struct mim_reader_options options = {
        .from = last->header.base_lsn + MIM_SEGMENT_HEADER_SIZE,
        .previous_chain = last->header.previous_chain,
        .headers_only = true,
    };
    if (mark != NULL && mark->durable_lsn > options.from) {
        options.from = mark->durable_lsn;
        options.previous_chain = mark->chain;
    }
    return options;
}

int mim_evidence_live(struct mim_storage storage, const struct mim_segments *segments, mim_lsn_t *ret_lsn,
                      mim_lsn_t *ret_written, struct mim_error *reterr) {
    if (segments->count == 0) {
        *ret_lsn = 0;
        *ret_written = 0;
        return 0;
    }
    const struct mim_segment *last = &segments->items[segments->count - 1];
    struct mim_mark mark;
    bool marked = mark_of(storage, segments, &mark);
    mim_lsn_t lsn = marked && mark.durable_lsn > last->header.base_lsn ? mark.durable_lsn : last->header.base_lsn;
    struct mim_reader_options options = walk_from(last, marked ? &mark : NULL);
    struct mim_reader *reader = NULL;
    int rc = mim_reader_open(storage, segments, &options, &reader, reterr);
    struct mim_frame frame;
    mim_lsn_t written = 0;
    while (rc == 0 && (rc = mim_reader_next(reader, &frame, reterr)) == 0) {
        written = frame.header.kind == MIM_FRAME_DATA ? frame.lsn + frame.header.size : written;
        if (marked && speaks(&mark, &frame.header) && frame.header.durable_lsn > lsn) {
            lsn = frame.header.durable_lsn;
        }
    }
    if (reader != NULL) {
        (void)mim_reader_free(reader);
    }
    if (rc == 0 || rc == MIM_E_NOT_FOUND) {
        *ret_lsn = lsn;
        *ret_written = written;
        return 0;
    }
    return rc;
}
