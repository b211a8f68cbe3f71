// SPDX-License-Identifier: MIT
// Snapshots: the image itself as a file, made from the journal, restored by mapping. A snapshot is disposable: it can
// always be rebuilt, so anything doubtful about one means it is skipped (with a sentence saying why), never trusted.
//
// File `snapshots/<position, 20 digits>.snapshot`, little-endian:
//
//   header (4096 bytes)                          | then, at 4096: the image, image_size bytes, in blocks of 64 KiB;
//   0   8  magic "MIMSNP01"                      |   blocks of zeros are holes
//   8   4  format version (1)                    | then, at table_offset: one XXH3-64 per block, seeded with the
//   12  4  incompatible flags (0)                |   block's number, so that blocks cannot change places
//   16  16 history uuid                          |
//   32  8  model layout fingerprint              | 88  8  digest of the state at `position`
//   40  8  position                              | 96  8  image size
//   48  8  LSN (end of the last frame applied)   | 104 8  block count
//   56  8  chain at that LSN                     | 112 8  table offset
//   64  4  epoch                                 | 120 8  table check: XXH3-64 of the table
//   68  4  block size (65536)                    | 128 64 model name, zero-padded
//   72  8  event time at `position`, Unix ms     | 192 8  check: XXH3-64 of bytes 0..191
//   80  8  wall time of writing, Unix ms         | 200    zeros to 4096, checked
//
// Written beside (`.tmp`), synced, renamed, directory synced: never half visible.
#ifndef MIM_SNAPSHOT_SNAPSHOT_H
#define MIM_SNAPSHOT_SNAPSHOT_H

#include "engine/recovery.h"
#include "storage/storage.h"

#define MIM_SNAPSHOT_DIR         "snapshots"
#define MIM_SNAPSHOT_MAGIC       0x3130504e534d494dull /* "MIMSNP01" */
#define MIM_SNAPSHOT_FORMAT      1u
#define MIM_SNAPSHOT_HEADER_SIZE 4096u
#define MIM_SNAPSHOT_BLOCK_SIZE  65536u
#define MIM_SNAPSHOT_PATH_SIZE   64u

struct mim_snapshot_header {
    struct mim_history history;
    uint64_t fingerprint;
    mim_position_t position;
    mim_lsn_t lsn;
    uint64_t chain;
    mim_epoch_t epoch;
    int64_t time_ms;
    int64_t written_ms;
    uint64_t digest;
    uint64_t image_size;
    uint64_t block_count;
    uint64_t table_offset;
    uint64_t table_check;
    char model[64];
};

void mim_snapshot_header_encode(const struct mim_snapshot_header *header, uint8_t ret_page[MIM_SNAPSHOT_HEADER_SIZE]);
/** DAMAGED or FORMAT. */
MIM_CHECKED int mim_snapshot_header_decode(const uint8_t page[MIM_SNAPSHOT_HEADER_SIZE],
                                           struct mim_snapshot_header *ret_header, struct mim_error *reterr);
void mim_snapshot_path(mim_position_t position, char ret_path[MIM_SNAPSHOT_PATH_SIZE]);

/* ---- write.c ---- */

/** Writes the engine's image at its present point, atomically. Blocks go out in runs of up to 1 MiB, paced by the device;
 *  zero blocks become holes. `base` (NULL: none) is the verified snapshot that the engine was restored from: where the
 *  file system can, unchanged blocks are shared with it and only the others are written. ret_written: bytes of image
 *  that were. On failure the temporary file is removed and older snapshots are untouched. NO_SPACE, IO, MEMORY. */
MIM_CHECKED int mim_snapshot_write(struct mim_storage storage, struct mim_engine *engine,
                                   const struct mim_snapshot_header *base, int64_t wall_ms,
                                   void (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                                   struct mim_snapshot_header *ret_header, uint64_t *ret_written,
                                   struct mim_error *reterr);
/** Gives the page cache of a snapshot back that a newer one has replaced. Nobody may map it any more. */
void mim_snapshot_forget(struct mim_storage storage, const struct mim_snapshot_header *header);

/* ---- catalog.c: which there are, newest first ---- */

struct mim_snapshot_entry {
    struct mim_snapshot_header header;
    uint64_t file_size;
    bool usable;             /* header and size are right; blocks not looked at */
    char reason[200];        /* why it is not */
    mim_position_t position; /* by its name */
};
struct mim_snapshots {
    struct mim_snapshot_entry *items;
    size_t count;
    size_t capacity;
};
/** Lists snapshots/ and reads every header. An empty or missing directory gives count 0. IO, MEMORY. */
MIM_CHECKED int mim_snapshots_load(struct mim_storage storage, struct mim_snapshots *ret_snapshots,
                                   struct mim_error *reterr);
void mim_snapshots_deinit(struct mim_snapshots *snapshots);
/** Removes all but the newest `keep` usable ones, and leftover temporary files. */
MIM_CHECKED int mim_snapshots_prune(struct mim_storage storage, size_t keep, struct mim_error *reterr);
/** Removes one (a server found its digest to differ). */
MIM_CHECKED int mim_snapshot_discard(struct mim_storage storage, mim_position_t position, struct mim_error *reterr);

/* ---- verify.c, restore.c ---- */

/** Checks every block against the table, on `threads` threads. DAMAGED names the block and its offset.
 *  `stop` (may be NULL) ends it early with AGAIN when it becomes true. */
MIM_CHECKED int mim_snapshot_verify(struct mim_storage storage, const struct mim_snapshot_header *header,
                                    unsigned threads, const _Atomic int *stop, struct mim_error *reterr);

/** Cores this process may run on: a fitting number of threads. */
unsigned mim_snapshot_cores(void);

enum mim_verify { MIM_VERIFY_EAGER, MIM_VERIFY_BACKGROUND, MIM_VERIFY_OFF };

struct mim_restore_options {
    enum mim_verify verify;
    unsigned threads;            /* for EAGER; mim_snapshot_recover reads a long tail ahead on a second one */
    mim_position_t position_max; /* only snapshots at or before it; UINT64_MAX: any */
    mim_lsn_t lsn_max;           /* end of the journal as far as known; UINT64_MAX: any */
};

/** What happened, for the log. */
struct mim_restored {
    bool found; /* false: no usable snapshot, the engine is empty: replay the whole journal */
    struct mim_snapshot_header header;
    char skipped[1024]; /* one line per snapshot that was passed over, and why; "" for none */
};

/** Makes an engine from the newest usable snapshot, or an empty one. Without POSIX files underneath the image is read
 *  instead of mapped. MEMORY, IO; a bad snapshot is never an error, only a line in `skipped`. */
MIM_CHECKED int mim_snapshot_restore(struct mim_storage storage, const struct mim_engine_options *engine_options,
                                     const struct mim_restore_options *options, struct mim_engine **ret_engine,
                                     struct mim_restored *ret_restored, struct mim_error *reterr);

/* ---- recover.c ---- */

/** The whole way from a directory to an engine at the journal's end: newest snapshot that belongs to this journal, then
 *  its tail; else the whole journal. Read-only. ret_restored says which and what was passed over. Errors as
 *  mim_recovery_run; with position_max only what lies at or before that position is used as a snapshot. */
MIM_CHECKED int mim_snapshot_recover(struct mim_storage storage, const struct mim_engine_options *engine_options,
                                     const struct mim_restore_options *restore_options,
                                     const struct mim_recovery_options *recovery_options,
                                     struct mim_engine **ret_engine, struct mim_restored *ret_restored,
                                     struct mim_recovery *ret_recovery, struct mim_error *reterr);

#endif
