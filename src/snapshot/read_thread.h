// SPDX-License-Identifier: MIT
// Frames read ahead: a second thread reads the journal, checks chains and records and hands the frames over in chunks,
// while the caller's thread does nothing but apply. Pays from some megabytes of journal on and with a second core.
#ifndef MIM_SNAPSHOT_READ_THREAD_H
#define MIM_SNAPSHOT_READ_THREAD_H

#include "engine/recovery.h"

/** For struct mim_recovery_options. Memory: MIM_READ_CHUNKS chunks of MIM_READ_CHUNK_SIZE, or of the largest frames. */
extern const struct mim_frame_source mim_read_thread;

#define MIM_READ_CHUNKS     8u
#define MIM_READ_CHUNK_SIZE (256u << 10)

#endif
