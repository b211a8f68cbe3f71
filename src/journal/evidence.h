// SPDX-License-Identifier: MIT
// What a directory itself knows about how far its journal is on stable storage. Two local witnesses: the mark, written
// after a sync; and the durable LSN in a frame's header, which the process that built the frame knew to be synced: the
// claim stays true even where the frame itself was never synced. A frame speaks only for the directory whose writer
// finished it. A primary's frame, kept by a standby as it came, tells of the primary's disk: frames count only in the
// epoch that the mark names, and only when the writer of the mark had finished its frames itself.
#ifndef MIM_JOURNAL_EVIDENCE_H
#define MIM_JOURNAL_EVIDENCE_H

#include "journal/reader.h"

/** For whoever goes on behind `ending` (CLEAN, or TORN and cut): every byte of the journal before *ret_lsn was synced
 *  in this directory, or lies in a segment before the last. Reads the last frame's header, looked for from the end: a
 *  frame's size at most. 0: nothing is known. IO, MEMORY. */
MIM_CHECKED int mim_evidence_ending(struct mim_storage storage, const struct mim_segments *segments,
                                    const struct mim_journal_ending *ending, mim_lsn_t *ret_lsn,
                                    struct mim_error *reterr);

/** The same for a journal that another process is writing: the end of a frame, found by walking over the frame headers
 *  behind the mark. At least the last segment's first byte (a segment begins when those before it are synced). 0: there
 *  is no journal yet. ret_written: end of the last frame with records that was met, durable or not; a server that has
 *  nothing else to do says soon that it is. IO, MEMORY. */
MIM_CHECKED int mim_evidence_live(struct mim_storage storage, const struct mim_segments *segments, mim_lsn_t *ret_lsn,
                                  mim_lsn_t *ret_written, struct mim_error *reterr);

#endif
