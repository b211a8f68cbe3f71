// SPDX-License-Identifier: MIT
// Retention: segments that no kept snapshot needs move into an archive directory. Nothing is ever deleted: a segment
// leaves journal/ when its bytes are on stable storage under its name in the archive, and not before. Oldest first, so
// that what stays is the journal from some position on, whenever the machine stops.
#ifndef MIM_SNAPSHOT_ARCHIVE_H
#define MIM_SNAPSHOT_ARCHIVE_H

#include "snapshot/snapshot.h"

/** What was moved. */
struct mim_archived {
    uint32_t segments;
    uint64_t bytes;
    mim_position_t first_position; /* that journal/ begins with now; 0: no journal */
};

/** Moves every segment that lies wholly before the oldest kept snapshot into the root of `archive`. That snapshot must be
 *  of this journal and of the model layout `fingerprint`, its directory is synced and all its blocks are checked first
 *  (on one thread): DAMAGED, and nothing is moved, when they are not right. Without such a snapshot nothing is moved.
 *  On one file system a segment gets its second name by a link; else it is copied, synced and renamed. A segment that
 *  the archive holds already is compared byte by byte: EXISTS when it differs. The caller makes sure that it runs once
 *  at a time; a live server in the directory is no hindrance. IO, NO_SPACE, MEMORY. Idempotent: after a crash at any
 *  point the next run finishes. */
MIM_CHECKED int mim_archive_run(struct mim_storage storage, struct mim_storage archive, uint64_t fingerprint,
                                struct mim_archived *ret_archived, struct mim_error *reterr);

#endif
