// SPDX-License-Identifier: MIT
// The bytes of the journal, as a table. All little-endian, 8-byte aligned. Changing anything here needs a new
// format version and a new golden file. docs/JOURNAL.md tells the same as prose.
//
// Segment file `journal/<first position, 20 digits>.journal`: a header page, then frames, then zeros.
// LSN = byte offset over all segments: a segment's base_lsn is the LSN of its header's first byte, and the next
// segment's base_lsn is this one's base_lsn plus its used bytes (header, frames, roll frame). The zero tail of a
// finished segment is cut off and has no LSN.
//
//   segment header (4096 bytes)             | frame header (64 bytes)
//   0   8  magic "MIMSEG01"                 | 0   4  magic "MIMF"
//   8   4  format version (1)               | 4   1  kind (enum mim_frame_kind)
//   12  4  incompatible flags (0)           | 5   1  version (1)
//   16  16 history uuid                     | 6   2  reserved, zero
//   32  8  first position                   | 8   4  size in bytes, header included, multiple of 8
//   40  8  base LSN                         | 12  4  event count
//   48  8  previous chain                   | 16  8  first position (of its first event; the next one if none)
//   56  4  epoch                            | 24  8  durable LSN known when it was written (evidence)
//   60  4  reserved, zero                   | 32  8  base time, Unix ms
//   64  8  base time, Unix ms               | 40  4  epoch
//   72  8  check: XXH3-64 of bytes 0..71    | 44  4  header check: low 32 bits of XXH3-64 of bytes 0..43 seeded
//   80     zeros to 4096, checked           |        with previous chain ^ (LSN * odd constant) ^ history seed
//                                           | 48  8  previous chain
//                                           | 56  8  chain: XXH3-64 of the payload, seeded with the XXH3-64 of
//                                           |        bytes 0..55 seeded with the previous chain
//
// A DATA frame's payload is records, one after the other, the transactions of one group commit:
//
//   record (40 bytes + payload + parts, padded to 8 with zeros)
//   0   4  payload size
//   4   2  type: journal number of the event type, or MIM_RECORD_DEFINE ...
//   6   2  flags (enum mim_record_flag)
//   8   4  stream: dense number of the aggregate within its type
//   12  4  stream version after this event
//   16  8  LSN of the stream's previous event; 0 for the first
//   24  4  offset of this record from its frame's first byte
//   28  4  offset of this record from the first record of its transaction
//   32  2  index among the events of the frame: position = first position + index
//   34  2  time: ms after the frame's base time
//   36  2  journal number of the command that caused it; 0 = not known (on every event of the transaction)
//   38  2  reserved, zero
//   40     payload (model/codec.h), padded to 8
//   then, if any part flag is set, parts: {u32 size of all that follows unpadded, then for each set part flag in
//   bit order {u32 size, bytes}}, padded to 8. Parts of a whole transaction stand on its first record.
//
// SKIP: an event whose version is a multiple of 64 carries for k = 1, 2 ... while 64^k divides it the LSN of the
// stream's version (this - 64^k) (0 when that is version 0): any version is found in O(log n) hops.
#ifndef MIM_JOURNAL_FORMAT_H
#define MIM_JOURNAL_FORMAT_H

#include <stdint.h>

#include "base/limits.h"

#define MIM_SEGMENT_MAGIC  0x31304745534d494dull /* "MIMSEG01" */
#define MIM_SEGMENT_FORMAT 1u
#define MIM_FRAME_MAGIC    0x464d494du /* "MIMF" */
#define MIM_FRAME_VERSION  1u

enum mim_frame_kind {
    MIM_FRAME_DATA = 1,
    MIM_FRAME_EPOCH = 2, /* first frame of a reign; no payload */
    MIM_FRAME_SEAL = 3,  /* written when idle and at a clean stop: evidence that all before it is durable */
    MIM_FRAME_ROLL = 4,  /* last frame of a segment */
    MIM_FRAME_KIND_MAX = 4,
};

enum mim_record_type {
    MIM_RECORD_EVENT_MAX = 0xfeff, /* 1 .. here: event types by journal number */
    MIM_RECORD_DEFINE = 0xff01,    /* a definition: journal/definition.h. No position */
    MIM_RECORD_KEY = 0xff02,       /* an accepted command with a key that emitted nothing: payload {u64 position,
                                      u32 version, u32 0}, part KEY. No position */
    MIM_RECORD_DIGEST = 0xff03,    /* payload {u64 position, u64 digest of the state there}. No position */
    MIM_RECORD_NOTE = 0xff04,      /* an operator's decision, as text for people. No position */
};

enum mim_record_flag {
    MIM_FLAG_TX_FIRST = 1,
    MIM_FLAG_TX_LAST = 2,
    /* 4: reserved. Parts from here on, encoded in bit order: */
    MIM_PART_ID = 8,         /* id of a new aggregate (version 1): bytes */
    MIM_PART_SKIP = 16,      /* skip pointers: u64 each */
    MIM_PART_KEY = 32,       /* idempotency key (first record of the transaction): {u32 version of the command's
                               aggregate after the transaction, key bytes} */
    MIM_PART_CORR = 64,      /* correlation (first record) */
    MIM_PART_CAUSE = 128,    /* causation (first record) */
    MIM_PART_ACTOR = 256,    /* actor (first record) */
    MIM_PART_AUDIENCE = 512, /* entries: {u16 size, bytes} each */
    MIM_PART_COMMAND = 1024, /* the command's fields as JSON (--keep-commands; first record) */
};
#define MIM_PARTS_MASK  0xfff8u
#define MIM_PART_COUNT  8u
#define MIM_SKIP_BASE   64u
#define MIM_SKIP_LEVELS 5u /* 64^5 = 2^30 versions, then linear again in steps of 2^30 */

#endif
