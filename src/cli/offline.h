// SPDX-License-Identifier: MIT
// A directory's history without its server: the image as it stands after the whole journal, and its events. Reading
// only; the directory of a live server is fine.
#ifndef MIM_CLI_OFFLINE_H
#define MIM_CLI_OFFLINE_H

#include "engine/cloudevent.h"
#include "engine/timetravel.h"

struct mim_offline {
    struct mim_storage storage;
    struct mim_compiled *compiled;
    struct mim_engine *engine;
    struct mim_access *access; /* up to the end of the journal */
    struct mim_cloudevents *events;
};

/** Opens the directory `dir` with the model `model` (a name or a file): the newest snapshot and the journal behind it,
 *  with a progress bar. Close it also after failure. */
MIM_CHECKED int mim_offline_open(const char *dir, const char *model, struct mim_offline *ret_offline,
                                 struct mim_error *reterr);
void mim_offline_close(struct mim_offline *offline);

/** One aggregate given as type/id: what the image knows of its stream. NOT_FOUND with a sentence. */
MIM_CHECKED int mim_offline_tip(const struct mim_offline *offline, const char *address, unsigned *ret_aggregate,
                                mim_stream_t *ret_stream, struct mim_stream_tip *ret_tip, struct mim_error *reterr);

#endif
