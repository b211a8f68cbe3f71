// SPDX-License-Identifier: MIT
// Notes: what an operator decided about the history itself, kept in it. No position, no effect on the image.
#include "engine/internal.h"

int mim_engine_note(struct mim_engine *engine, struct mim_appender *appender, struct mim_slice text, int64_t wall_ms) {
    static const struct mim_record_parts no_parts;
    int64_t time_ms = mim_appender_time(appender, wall_ms);
    size_t size = mim_record_size(text.size, &no_parts);
    uint8_t *at;
    if (text.size > MIM_NOTE_SIZE_MAX) {
        return MIM_E_LIMIT;
    }
    int rc = mim_appender_reserve(appender, size, 0, time_ms, &at);
    if (rc != 0) {
        return rc;
    }
    memcpy(at + MIM_RECORD_HEADER_SIZE, text.data, text.size);
    struct mim_record record = {
        .type = MIM_RECORD_NOTE,
        .flags = MIM_FLAG_TX_FIRST | MIM_FLAG_TX_LAST,
        .frame_offset = appender->frame_size,
        .time_delta_ms = (uint16_t)(time_ms - appender->frame_time_ms),
    };
    (void)mim_record_finish(at, &record, text.size, &no_parts);
    mim_appender_commit(appender, size, 0);
    engine->last_gate = appender->frame_lsn + 1;
    return 0;
}
