// SPDX-License-Identifier: MIT
// Reading the journal in order: one reader for replay, dump, verify, cursors and standbys. Verifies every frame's
// chain as it goes. Reads by pread in large blocks; a frame is handed out as a borrowed view.
// And the verdict on where it ends: clean, torn or damaged (recover.c; the rule is in FAULTS terms: evidence
// that bytes were durable makes a bad frame damage).
#ifndef MIM_JOURNAL_READER_H
#define MIM_JOURNAL_READER_H

#include "journal/segment.h"

/** A verified frame; `bytes` is borrowed until the next call on the reader. */
struct mim_frame {
    struct mim_frame_header header;
    mim_lsn_t lsn;
    const uint8_t *bytes; /* whole frame */
    /** Places of all its records, as mim_record_walk found them, borrowed like the bytes; NULL: nobody has looked. */
    const uint32_t *records;
    uint32_t record_count;
};

enum mim_journal_end {
    MIM_END_CLEAN,   /* zeros or end of file behind the last good frame, no evidence of more */
    MIM_END_TORN,    /* an incomplete last write that was never acknowledged: may be cut */
    MIM_END_DAMAGED, /* evidence that the bad bytes were durable, or not in the last segment: refuse */
};

/** Where and why reading ended. */
struct mim_journal_ending {
    enum mim_journal_end kind;
    mim_lsn_t lsn;           /* end of the last good frame */
    mim_position_t position; /* of the last good event; the first bad frame starts at position + 1 */
    uint64_t chain;          /* of the last good frame */
    mim_epoch_t epoch;
    int64_t time_ms;    /* greatest event time seen (frame base + deltas: base time of the last frame at least) */
    uint64_t torn_size; /* TORN: bytes from lsn to the last nonzero byte of the segment */
    size_t segment;     /* index of the segment the ending lies in */
    uint64_t offset;    /* of the first bad frame in that segment */
    bool rolled;        /* the last good frame is a ROLL frame and there is no next segment: whoever goes on
                                 writing begins by making one, with base LSN `lsn` and previous chain `chain` */
    char text[448];     /* one sentence for people: what is wrong and which evidence says so */
};

/** Opaque reading state; new/free. Not thread-safe; several readers may read one journal. */
struct mim_reader;

struct mim_reader_options {
    mim_lsn_t from;          /* a frame boundary, or 0: the beginning of the first segment */
    uint64_t previous_chain; /* chain before `from`; checked unless from == 0 */
    mim_lsn_t limit;         /* read only what lies before it (a live journal's durable LSN); 0: no limit */
    mim_lsn_t evidence_lsn;  /* durable LSN known from elsewhere (mark, snapshots, standbys); 0: none */
    bool standby;            /* a standby's journal: its frames are no evidence of durability (mim_mark) */
    bool skip_payload_check; /* trust the payloads (dump of damaged journals; never for replay) */
    bool headers_only;       /* walk over headers: frame.bytes is the 64 bytes of the header, payloads are not read */
};

/** Opens a reader over the segments (borrowed until free; entries may be appended between calls with
 *  mim_reader_set_limit). INVALID when `from` lies in no segment; IO; MEMORY. */
MIM_CHECKED int mim_reader_open(struct mim_storage storage, const struct mim_segments *segments,
                                const struct mim_reader_options *options, struct mim_reader **ret_reader,
                                struct mim_error *reterr);
struct mim_reader *mim_reader_free(struct mim_reader *reader);
/** The next frame, of every kind. NOT_FOUND: no more (then mim_reader_ending says why); IO. DAMAGED: a bad frame
 *  before the limit, that is, in bytes that are durable: never an end. Without a limit a bad frame is NOT_FOUND. */
MIM_CHECKED int mim_reader_next(struct mim_reader *reader, struct mim_frame *ret_frame, struct mim_error *reterr);
/** After NOT_FOUND: classifies what stands behind the last good frame. With a limit it is CLEAN at the limit. */
MIM_CHECKED int mim_reader_ending(struct mim_reader *reader, struct mim_journal_ending *ret_ending,
                                  struct mim_error *reterr);
/** Allows reading on up to a new durable LSN. */
void mim_reader_set_limit(struct mim_reader *reader, mim_lsn_t limit);
/** Moves to a frame boundary (no chain check of the first frame there). */
MIM_CHECKED int mim_reader_seek(struct mim_reader *reader, mim_lsn_t frame_lsn, struct mim_error *reterr);
/** Bytes of journal read so far (for progress). */
uint64_t mim_reader_consumed(const struct mim_reader *reader);

/** Finds the frame that holds a position, by its segment and a walk over frame headers: its LSN and the chain
 *  before it. NOT_FOUND beyond the end. */
MIM_CHECKED int mim_journal_locate(struct mim_storage storage, const struct mim_segments *segments,
                                   mim_position_t position, mim_lsn_t *ret_frame_lsn, uint64_t *ret_previous_chain,
                                   struct mim_error *reterr);

/** Checks that the journal has a frame boundary at `lsn` where the chain is `chain` (an image's point). STATE with a
 *  sentence when it has not; IO. Reads one header where a frame follows, else the headers of one segment. */
MIM_CHECKED int mim_journal_anchor(struct mim_storage storage, const struct mim_segments *segments, mim_lsn_t lsn,
                                   uint64_t chain, struct mim_error *reterr);

/** Cuts a TORN tail: saves it to journal/NNN.torn.E (synced), zeroes it in place, syncs. Idempotent: a crash at
 *  any point leaves a directory that recovers to the same bytes. epoch: the epoch about to begin. */
MIM_CHECKED int mim_journal_cut(struct mim_storage storage, const struct mim_segments *segments,
                                const struct mim_journal_ending *ending, mim_epoch_t epoch, struct mim_error *reterr);

#endif
