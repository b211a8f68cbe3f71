// SPDX-License-Identifier: MIT
// From a directory to a running image: read the segments, apply every frame, say how the journal ends. Read-only by
// itself; the caller of a server then cuts a torn tail and opens the writer (mim_recovery_begin).
#ifndef MIM_ENGINE_RECOVERY_H
#define MIM_ENGINE_RECOVERY_H

#include "engine/engine.h"
#include "journal/writer.h"

/** Called now and then with bytes read and bytes in all. */
typedef void mim_progress_fn(void *context, uint64_t done, uint64_t total);

/** Called when the model cannot read the journal, with the whole list of what is missing, one per line. */
typedef void mim_missing_fn(void *context, const char *list);

/** Called after each frame is applied; what is not 0 ends the replay with that error. */
typedef int mim_applied_fn(void *context, const struct mim_frame *frame, struct mim_error *reterr);

/** A way of reading frames other than on the caller's thread: the engine has no threads of its own. */
struct mim_frame_source {
    uint64_t least; /* bytes of journal from which on it pays */
    /** Takes the reader over until end; returns what next and end are called with. NULL: it cannot be had now, frames are
     *  read on the caller's thread instead. */
    void *(*begin)(struct mim_reader *reader);
    /** As mim_reader_next: the same frames, the same errors; the frame is borrowed until the next call. */
    int (*next)(void *context, struct mim_frame *ret_frame, struct mim_error *reterr);
    /** Gives the reader back, at any time. It stands behind the last frame handed out once next has told of the end. */
    void (*end)(void *context);
};

struct mim_recovery_options {
    mim_applied_fn *applied; /* NULL: nobody looks */
    void *applied_context;
    mim_missing_fn *missing; /* NULL: the error's sentence tells as much of the list as it holds */
    void *missing_context;
    mim_progress_fn *progress; /* NULL: none */
    void *progress_context;
    mim_lsn_t evidence_lsn;      /* durable LSN known from standbys, beside the mark's */
    mim_lsn_t torn_evidence_lsn; /* durable LSN known from snapshots: makes a torn tail before it damage, but a clean
                                    end before it is only a snapshot that is ahead (and was not used) */
    mim_lsn_t limit;             /* read only what lies before it; 0: all */
    const struct mim_frame_source *source; /* NULL: frames are read on the caller's thread */
};

struct mim_recovery {
    struct mim_segments segments;
    struct mim_journal_ending ending;
    bool has_mark;
    struct mim_mark mark;
    char warning[256]; /* something to log though all is well (an unreadable mark, an unused segment); "" for none */
    uint64_t events;   /* applied */
    uint64_t bytes;    /* of the frames applied */
};

/** Reads the journal from the image's point (engine's lsn and chain) to its end and applies it. Nothing on disk is
 *  changed. An empty or missing journal is fine: segments.count is 0. DAMAGED with segment, offset and position of the
 *  first bad frame; MODEL with the list of what is missing; IO; MEMORY (never skips events). */
MIM_CHECKED int mim_recovery_run(struct mim_storage storage, struct mim_engine *engine,
                                 const struct mim_recovery_options *options, struct mim_recovery *ret_recovery,
                                 struct mim_error *reterr);
void mim_recovery_deinit(struct mim_recovery *recovery);

/** Makes the directory ready for commands: cuts a torn tail (saved beside), opens the writer (history: used only when
 *  there is none yet), initialises the appender with the next epoch, appends the EPOCH frame, drives writer and preparer
 *  until it is durable, writes the mark. After it commands may be executed. ret_writer is owned by the caller.
 *  With options->standby no epoch begins: the journal goes on with a primary's frames. It must not be empty then. */
MIM_CHECKED int mim_recovery_begin(struct mim_storage storage, struct mim_engine *engine, struct mim_recovery *recovery,
                                   struct mim_ring *ring, const struct mim_writer_options *options,
                                   const struct mim_history *new_history, int64_t wall_ms,
                                   struct mim_writer **ret_writer, struct mim_appender *ret_appender,
                                   struct mim_error *reterr);

#endif
