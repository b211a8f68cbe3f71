// SPDX-License-Identifier: MIT
// Cutting a torn tail: saved beside the journal first (synced under its final name), then zeroed in place. A crash
// between any two calls leaves a directory whose next recovery does the rest and ends with the same bytes.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "journal/reader.h"
#include "journal/recover.h"

#define TORN_NEW_PATH  MIM_JOURNAL_DIR "/torn.new"
#define TORN_PATH_SIZE 96u
#define TORN_FILES_MAX 1000u /* per segment and epoch */
#define ZEROS_SIZE     ((size_t)1 << 16)

struct cut {
    struct mim_storage storage;
    mim_position_t name; /* of the segment */
    mim_epoch_t epoch;
    const uint8_t *tail;
    size_t size;
};

/** "NNN.torn.E", and ".2", ".3" ... behind it when an epoch needed more than one try. */
static void torn_path(const struct cut *cut, unsigned number, char ret_path[TORN_PATH_SIZE]) {
    char suffix[16] = "";
    if (number > 1) {
        (void)snprintf(suffix, sizeof(suffix), ".%u", number);
    }
    (void)snprintf(ret_path, TORN_PATH_SIZE, MIM_JOURNAL_DIR "/%020" PRIu64 ".torn.%u%s", cut->name, cut->epoch,
                   suffix);
}

/** Does the saved file hold this tail already? A tail that an interrupted cut has zeroed in part counts as held. */
static int held_by(const struct cut *cut, mim_file_t file, bool *ret_held, struct mim_error *reterr) {
    uint64_t size = 0;
    int code = mim_file_size(cut->storage, file, &size, reterr);
    if (code != 0) {
        return code;
    }
    *ret_held = false;
    if (size < cut->size) {
        return 0;
    }
    uint8_t *saved = malloc(cut->size);
    if (saved == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory comparing torn tails");
    }
    size_t got = 0;
    code = mim_file_pread(cut->storage, file, saved, cut->size, 0, &got, reterr);
    bool held = got == cut->size;
    for (size_t i = 0; held && i < cut->size; i++) {
        held = cut->tail[i] == saved[i] || cut->tail[i] == 0;
    }
    free(saved);
    if (code == 0) {
        *ret_held = held;
    }
    return code;
}

/** A free name for the tail; *ret_held when a file has it already. */
static int choose_path(const struct cut *cut, char ret_path[TORN_PATH_SIZE], bool *ret_held, struct mim_error *reterr) {
    *ret_held = false;
    for (unsigned number = 1; number <= TORN_FILES_MAX; number++) {
        torn_path(cut, number, ret_path);
        mim_file_t file = 0;
        int code = mim_file_open(cut->storage, ret_path, MIM_OPEN_READ, &file, reterr);
        if (code == MIM_E_NOT_FOUND) {
            return 0;
        }
        if (code == 0) {
            code = held_by(cut, file, ret_held, reterr);
            mim_file_close(cut->storage, file);
        }
        if (code != 0 || *ret_held) {
            return code;
        }
    }
    return mim_error_set(reterr, MIM_E_STATE, "%s: too many saved tails", ret_path);
}

static int save(const struct cut *cut, struct mim_error *reterr) {
    char path[TORN_PATH_SIZE];
    bool held = false;
    int code = choose_path(cut, path, &held, reterr);
    if (code == 0 && !held) {
        mim_file_t file = 0;
        code = mim_file_open(cut->storage, TORN_NEW_PATH, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_TRUNCATE, &file,
                             reterr);
        if (code != 0) {
            return code;
        }
        code = mim_file_pwrite(cut->storage, file, cut->tail, cut->size, 0, reterr);
        if (code == 0) {
            code = mim_file_sync(cut->storage, file, reterr);
        }
        mim_file_close(cut->storage, file);
        if (code == 0) {
            code = mim_storage_rename(cut->storage, TORN_NEW_PATH, path, reterr);
        }
    }
    /* also when it is held: the crash may have come between its rename and this sync */
    return code == 0 ? mim_storage_sync_dir(cut->storage, MIM_JOURNAL_DIR, reterr) : code;
}

/** Zeroes file[offset..offset + size) and syncs it. */
static int erase(struct mim_storage storage, mim_file_t file, uint64_t offset, uint64_t size,
                 struct mim_error *reterr) {
    uint8_t *zeros = calloc(1, ZEROS_SIZE);
    if (zeros == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory cutting a torn tail");
    }
    int code = 0;
    for (uint64_t done = 0; code == 0 && done < size; done += ZEROS_SIZE) {
        size_t part = size - done < ZEROS_SIZE ? (size_t)(size - done) : ZEROS_SIZE;
        code = mim_file_pwrite(storage, file, zeros, part, offset + done, reterr);
    }
    free(zeros);
    return code == 0 ? mim_file_sync(storage, file, reterr) : code;
}

/** Reads the tail, saves it, erases it. */
static int cut_file(struct cut *cut, mim_file_t file, const char *path, const struct mim_journal_ending *ending,
                    struct mim_error *reterr) {
    uint8_t *tail = malloc(ending->torn_size);
    if (tail == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory for a torn tail of %" PRIu64 " bytes",
                             ending->torn_size);
    }
    size_t got = 0;
    int code = mim_file_pread(cut->storage, file, tail, ending->torn_size, ending->offset, &got, reterr);
    if (code == 0 && got != ending->torn_size) {
        code = mim_error_set(reterr, MIM_E_IO, "%s: offset %" PRIu64 ": short read of the torn tail", path,
                             ending->offset);
    }
    if (code == 0 && !mim_recover_zero(tail, got)) {
        cut->tail = tail;
        cut->size = got;
        code = save(cut, reterr);
    }
    free(tail);
    return code == 0 ? erase(cut->storage, file, ending->offset, ending->torn_size, reterr) : code;
}

int mim_journal_cut(struct mim_storage storage, const struct mim_segments *segments,
                    const struct mim_journal_ending *ending, mim_epoch_t epoch, struct mim_error *reterr) {
    if (ending->kind == MIM_END_CLEAN) {
        return 0;
    }
    if (ending->kind != MIM_END_TORN || ending->segment + 1u != segments->count || ending->torn_size == 0) {
        return mim_error_set(reterr, MIM_E_STATE, "only a torn tail may be cut: %s", ending->text);
    }
    struct cut cut = {
        .storage = storage,
        .name = segments->items[ending->segment].header.first_position,
        .epoch = epoch,
    };
    char path[MIM_SEGMENT_PATH_SIZE];
    mim_segment_path(cut.name, path);
    mim_file_t file = 0;
    int code = mim_file_open(storage, path, MIM_OPEN_WRITE, &file, reterr);
    if (code != 0) {
        return code;
    }
    code = cut_file(&cut, file, path, ending, reterr);
    mim_file_close(storage, file);
    return code;
}
