// SPDX-License-Identifier: MIT
// Frame and record codec: pure functions over bytes (frame.c, record.c).
#ifndef MIM_JOURNAL_FRAME_H
#define MIM_JOURNAL_FRAME_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/types.h"
#include "journal/format.h"

/** Identity of a history: fixed at the first start of a journal; standbys share it. */
struct mim_history {
    uint8_t uuid[16];
};

/** A number of a history: seeds its header checks; a new history's first segment has it as previous chain. */
uint64_t mim_history_seed(const struct mim_history *history);

struct mim_segment_header {
    struct mim_history history;
    mim_position_t first_position;
    mim_lsn_t base_lsn;
    uint64_t previous_chain;
    mim_epoch_t epoch;
    int64_t base_time_ms;
};

void mim_segment_header_encode(const struct mim_segment_header *header, uint8_t ret_page[MIM_SEGMENT_HEADER_SIZE]);
/** DAMAGED (check, padding, magic) or FORMAT (a newer version or an unknown incompatible flag). */
MIM_CHECKED int mim_segment_header_decode(const uint8_t page[MIM_SEGMENT_HEADER_SIZE],
                                          struct mim_segment_header *ret_header, struct mim_error *reterr);

struct mim_frame_header {
    uint8_t kind;
    uint32_t size; /* whole frame */
    uint32_t event_count;
    mim_position_t first_position;
    mim_lsn_t durable_lsn;
    int64_t base_time_ms;
    mim_epoch_t epoch;
    uint64_t previous_chain;
    uint64_t chain;
};

/** Writes the header in front of its payload (frame[64..size) must be filled in) and computes check and chain.
 *  Returns the chain. header->chain is ignored. */
uint64_t mim_frame_finish(const struct mim_frame_header *header, const struct mim_history *history, mim_lsn_t lsn,
                          uint8_t *frame);

/** The chain of a whole frame (header bytes 0..55 and payload) after `previous_chain`; size as in its header. */
uint64_t mim_frame_chain(const uint8_t *frame, uint32_t size, uint64_t previous_chain);

enum mim_frame_verdict {
    MIM_FRAME_GOOD = 0,
    MIM_FRAME_ZERO,       /* no frame: the first 8 bytes are zero */
    MIM_FRAME_BAD_HEADER, /* magic, version, check, reserved bytes or impossible size */
    MIM_FRAME_SHORT,      /* the header is good, but `available` ends before the frame */
    MIM_FRAME_BAD_PAYLOAD /* header good, chain not */
};
const char *mim_frame_verdict_text(enum mim_frame_verdict verdict);

/** Checks the frame at `lsn` against the history and its own previous_chain; the caller compares that with the
 *  chain it knows. ret_header is filled in unless ZERO or BAD_HEADER. With verify_payload false the chain is not
 *  computed. */
enum mim_frame_verdict mim_frame_check(const uint8_t *bytes, uint64_t available, const struct mim_history *history,
                                       mim_lsn_t lsn, bool verify_payload, struct mim_frame_header *ret_header);

/** A record as it stands in a frame; slices borrow the frame. */
struct mim_record {
    uint16_t type;
    uint16_t flags;
    mim_stream_t stream;
    mim_version_t version;
    mim_lsn_t previous_lsn;
    uint32_t frame_offset;
    uint32_t tx_offset;
    uint16_t index;
    uint16_t time_delta_ms;
    uint16_t command;
    struct mim_slice payload;
    struct mim_slice parts; /* after their size word; empty when there are none */
};

/** Decodes the record at bytes[0..available); returns its size in bytes (padded), 0 when it is malformed. */
size_t mim_record_decode(const uint8_t *bytes, size_t available, struct mim_record *ret_record);
/** How far a walk over a frame's records has come. It begins with MIM_WALKED_NONE. */
struct mim_walked {
    uint32_t offset; /* of the next record */
    uint32_t events; /* before it */
};
#define MIM_WALKED_NONE ((struct mim_walked){.offset = MIM_FRAME_HEADER_SIZE})
/** Bit of a place, whose other bits are the record's offset: an event of the right index, with a payload in whole words,
 *  that brings neither an id nor skip pointers nor a key. */
#define MIM_PLACE_PLAIN         1u
#define MIM_PLACE_OFFSET(place) ((place) & ~7u)
/** Walks over the records of a frame of `size` bytes (a multiple of 8, as frames are). Checks each as mim_record_decode
 *  does and that it stands where it says, writes the places of up to `most` of them and returns how many. The walk is then
 *  behind the last of these; fewer than `most` with its offset < size: the record there is malformed. */
uint32_t mim_record_walk(const uint8_t *frame, uint32_t size, struct mim_walked *walked, uint32_t most,
                         uint32_t *ret_places);
/** The part ID of a record that was walked over; data NULL: there is none, or it is malformed. */
struct mim_slice mim_record_id(const uint8_t *bytes);
/** Finds a part; false when absent or malformed. */
bool mim_record_part(const struct mim_record *record, uint16_t part_flag, struct mim_slice *ret_part);

/** What goes into a record; parts with size 0 and a clear flag are left out. */
struct mim_record_parts {
    uint16_t flags;                        /* which parts are there */
    struct mim_slice part[MIM_PART_COUNT]; /* in bit order: ID, SKIP, KEY, CORR, CAUSE, ACTOR, AUDIENCE, COMMAND */
};
/** Size of a record with this payload and these parts. */
size_t mim_record_size(size_t payload_size, const struct mim_record_parts *parts);
/** Writes header and parts around a payload that already stands at bytes + 40 (payload_size bytes); pads with
 *  zeros; returns the record's size. record->payload.data is ignored, record->parts too. */
size_t mim_record_finish(uint8_t *bytes, const struct mim_record *record, size_t payload_size,
                         const struct mim_record_parts *parts);

#endif
