// SPDX-License-Identifier: MIT
// The past of one aggregate: its own events folded by the model's evolve into a scratch image, away from all live
// state and without projections. Exact: the same evolve over the same events, with their positions and times.
#ifndef MIM_ENGINE_TIMETRAVEL_H
#define MIM_ENGINE_TIMETRAVEL_H

#include "engine/engine.h"
#include "journal/stream.h"

/** What the live image knows of a stream at this moment. NOT_FOUND (no message): it does not exist; INVALID: unknown
 *  type or malformed id. */
MIM_CHECKED int mim_engine_tip(const struct mim_engine *engine, struct mim_slice type, struct mim_slice id,
                               unsigned *ret_aggregate, mim_stream_t *ret_stream, struct mim_stream_tip *ret_tip,
                               struct mim_error *reterr);

struct mim_fold; /* new/free; one aggregate's state on its way */

/** An empty state of one aggregate. MEMORY, or what the catalog says. Cost: a small image of its own. */
MIM_CHECKED int mim_fold_new(const struct mim_engine *engine, unsigned aggregate, mim_stream_t stream,
                             struct mim_fold **ret_fold, struct mim_error *reterr);
struct mim_fold *mim_fold_free(struct mim_fold *fold);
/** Applies the stream's next event. DAMAGED when it is not the next or is malformed; MEMORY. */
MIM_CHECKED int mim_fold_apply(struct mim_fold *fold, const struct mim_journal_event *event, struct mim_error *reterr);
mim_version_t mim_fold_version(const struct mim_fold *fold);
/** Appends the state as JSON, as GET shows it. */
void mim_fold_json(const struct mim_fold *fold, struct mim_buffer *out);

#endif
