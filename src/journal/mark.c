// SPDX-License-Identifier: MIT
// journal/mark: the last durable point known at a quiet moment. Evidence against a tail that was lost or cut off.
//
//   0  8 magic "MIMMARK1"   32 8 position      56 8 check: XXH3-64 of bytes 0..55
//   8 16 history uuid       40 8 chain
//   24 8 durable LSN        48 4 epoch, 52 4 flags: 1 = the journal of a standby, other bits zero
#include "base/hash.h"
#include "journal/segment.h"

#define MARK_PATH     MIM_JOURNAL_DIR "/mark"
#define MARK_NEW_PATH MIM_JOURNAL_DIR "/mark.new"
#define MARK_MAGIC    0x314b52414d4d494dull /* "MIMMARK1" */
#define MARK_CHECKED  56u
#define MARK_SIZE     64u
#define MARK_STANDBY  1u

int mim_mark_write(struct mim_storage storage, const struct mim_mark *mark, bool sync_name, struct mim_error *reterr) {
    uint8_t bytes[MARK_SIZE] = {0};
    mim_put64(bytes, MARK_MAGIC);
    memcpy(bytes + 8, mark->history.uuid, sizeof(mark->history.uuid));
    mim_put64(bytes + 24, mark->durable_lsn);
    mim_put64(bytes + 32, mark->position);
    mim_put64(bytes + 40, mark->chain);
    mim_put32(bytes + 48, mark->epoch);
    mim_put32(bytes + 52, mark->standby ? MARK_STANDBY : 0);
    mim_put64(bytes + MARK_CHECKED, mim_hash64(bytes, MARK_CHECKED, 0));

    mim_file_t file = 0;
    int code =
        mim_file_open(storage, MARK_NEW_PATH, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_TRUNCATE, &file, reterr);
    if (code != 0) {
        return code;
    }
    code = mim_file_pwrite(storage, file, bytes, sizeof(bytes), 0, reterr);
    if (code == 0) {
        code = mim_file_sync(storage, file, reterr);
    }
    mim_file_close(storage, file);
    if (code == 0) {
        code = mim_storage_rename(storage, MARK_NEW_PATH, MARK_PATH, reterr);
    }
    if (code == 0 && sync_name) {
        code = mim_storage_sync_dir(storage, MIM_JOURNAL_DIR, reterr);
    }
    return code;
}

int mim_mark_read(struct mim_storage storage, struct mim_mark *ret_mark, struct mim_error *reterr) {
    mim_file_t file = 0;
    int code = mim_file_open(storage, MARK_PATH, MIM_OPEN_READ, &file, reterr);
    if (code != 0) {
        return code;
    }
    uint8_t bytes[MARK_SIZE + 1u]; /* one more: a longer file is none of ours */
    size_t got = 0;
    code = mim_file_pread(storage, file, bytes, sizeof(bytes), 0, &got, reterr);
    mim_file_close(storage, file);
    if (code != 0) {
        return code;
    }
    if (got != MARK_SIZE || mim_get64(bytes) != MARK_MAGIC || (mim_get32(bytes + 52) & ~MARK_STANDBY) != 0 ||
        mim_get64(bytes + MARK_CHECKED) != mim_hash64(bytes, MARK_CHECKED, 0)) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "%s is damaged: no evidence from it", MARK_PATH);
    }
    struct mim_mark mark = {
        .durable_lsn = mim_get64(bytes + 24),
        .position = mim_get64(bytes + 32),
        .chain = mim_get64(bytes + 40),
        .epoch = mim_get32(bytes + 48),
        .standby = mim_get32(bytes + 52) == MARK_STANDBY,
    };
    memcpy(mark.history.uuid, bytes + 8, sizeof(mark.history.uuid));
    *ret_mark = mark;
    return 0;
}
