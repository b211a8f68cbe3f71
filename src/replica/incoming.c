// SPDX-License-Identifier: MIT
// Pulling a primary's files; see incoming.h.
#include "replica/incoming.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/segment.h"
#include "snapshot/snapshot.h"

#define INCOMING_DIR   "incoming"
#define SOURCE_PATH    INCOMING_DIR "/source"
#define COMPLETE_PATH  INCOMING_DIR "/complete"
#define NOTE_NEW_PATH  INCOMING_DIR "/note.new"
#define FULL_PATH_SIZE (MIM_INCOMING_PATH_SIZE + 16u)

static const char *const parts[] = {MIM_JOURNAL_DIR, MIM_SNAPSHOT_DIR};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

static void full_path(const char *path, char ret_path[FULL_PATH_SIZE]) {
    (void)snprintf(ret_path, FULL_PATH_SIZE, INCOMING_DIR "/%s", path);
}

static bool name_valid(struct mim_slice name, const char *prefix, const char *suffix) {
    size_t before = strlen(prefix);
    size_t behind = strlen(suffix);
    if (name.size != before + 20 + behind || memcmp(name.data, prefix, before) != 0 ||
        memcmp(name.data + before + 20, suffix, behind) != 0) {
        return false;
    }
    for (size_t i = before; i < before + 20; i++) {
        if (name.data[i] < '0' || name.data[i] > '9') {
            return false;
        }
    }
    return true;
}

bool mim_incoming_path_valid(struct mim_slice path) {
    return name_valid(path, MIM_JOURNAL_DIR "/", ".journal") || name_valid(path, MIM_SNAPSHOT_DIR "/", ".snapshot");
}

/* ---------------------------------------------------------------- small files and directories */

struct clearing {
    struct mim_storage storage;
    const char *path;
    struct mim_error *reterr;
};

static int clear_entry(void *context, const char *name, bool is_directory) {
    const struct clearing *clearing = context;
    char path[256];
    if (is_directory) {
        return 0;
    }
    (void)snprintf(path, sizeof(path), "%s/%s", clearing->path, name);
    return mim_storage_remove(clearing->storage, path, clearing->reterr);
}

int mim_replica_clear_dir(struct mim_storage storage, const char *path, struct mim_error *reterr) {
    struct clearing clearing = {.storage = storage, .path = path, .reterr = reterr};
    int rc = mim_storage_list(storage, path, clear_entry, &clearing, reterr);
    if (rc == MIM_E_NOT_FOUND) {
        return 0;
    }
    return rc != 0 ? rc : mim_storage_sync_dir(storage, path, reterr);
}

/** Atomically: a crash leaves the old note or the new one. */
static int note_write(struct mim_storage storage, const char *path, const char *text, struct mim_error *reterr) {
    mim_file_t file = 0;
    int rc = mim_file_open(storage, NOTE_NEW_PATH, MIM_OPEN_WRITE | MIM_OPEN_CREATE | MIM_OPEN_TRUNCATE, &file, reterr);
    if (rc != 0) {
        return rc;
    }
    rc = mim_file_pwrite(storage, file, text, strlen(text), 0, reterr);
    rc = rc != 0 ? rc : mim_file_sync(storage, file, reterr);
    mim_file_close(storage, file);
    rc = rc != 0 ? rc : mim_storage_rename(storage, NOTE_NEW_PATH, path, reterr);
    return rc != 0 ? rc : mim_storage_sync_dir(storage, INCOMING_DIR, reterr);
}

/** What a note says; "" when there is none. */
static int note_read(struct mim_storage storage, const char *path, char ret_text[MIM_INCOMING_SOURCE_MAX + 1],
                     struct mim_error *reterr) {
    size_t got = 0;
    mim_file_t file = 0;
    ret_text[0] = '\0';
    int rc = mim_file_open(storage, path, MIM_OPEN_READ, &file, reterr);
    if (rc != 0) {
        return rc == MIM_E_NOT_FOUND ? 0 : rc;
    }
    rc = mim_file_pread(storage, file, ret_text, MIM_INCOMING_SOURCE_MAX, 0, &got, reterr);
    mim_file_close(storage, file);
    ret_text[rc == 0 ? got : 0] = '\0';
    return rc;
}

static int remove_quietly(struct mim_storage storage, const char *path, struct mim_error *reterr) {
    int rc = mim_storage_remove(storage, path, reterr);
    return rc == MIM_E_NOT_FOUND ? 0 : rc;
}

static int dirs_make(struct mim_storage storage, struct mim_error *reterr) {
    int rc = mim_storage_make_dir(storage, INCOMING_DIR, reterr);
    for (size_t i = 0; rc == 0 && i < PARTS; i++) {
        char path[FULL_PATH_SIZE];
        full_path(parts[i], path);
        rc = mim_storage_make_dir(storage, path, reterr);
    }
    return rc != 0 ? rc : mim_storage_sync_dir(storage, ".", reterr);
}

static int dirs_clear(struct mim_storage storage, struct mim_error *reterr) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < PARTS; i++) {
        char path[FULL_PATH_SIZE];
        full_path(parts[i], path);
        rc = mim_replica_clear_dir(storage, path, reterr);
    }
    return rc;
}

/* ----------------------------------------------------------------------------- receiving */

int mim_incoming_begin(struct mim_incoming *incoming, struct mim_storage storage, const char *source,
                       struct mim_error *reterr) {
    *incoming = (struct mim_incoming){.storage = storage};
    int rc = dirs_make(storage, reterr);
    rc = rc != 0 ? rc : remove_quietly(storage, COMPLETE_PATH, reterr);
    char before[MIM_INCOMING_SOURCE_MAX + 1];
    rc = rc != 0 ? rc : note_read(storage, SOURCE_PATH, before, reterr);
    if (rc == 0 && strcmp(before, source) != 0) {
        rc = dirs_clear(storage, reterr);
        rc = rc != 0 ? rc : note_write(storage, SOURCE_PATH, source, reterr);
    }
    return rc;
}

void mim_incoming_end(struct mim_incoming *incoming) {
    if (incoming->file != 0) {
        mim_file_close(incoming->storage, incoming->file);
    }
    free(incoming->files);
    *incoming = (struct mim_incoming){0};
}

int mim_incoming_add(struct mim_incoming *incoming, struct mim_slice entry, struct mim_error *reterr) {
    char text[MIM_INCOMING_PATH_SIZE + 48];
    struct mim_incoming_file file = {0};
    int end = 0;
    if (entry.size < sizeof(text)) {
        memcpy(text, entry.data, entry.size);
        text[entry.size] = '\0';
        if (sscanf(text, "%63s %" SCNu64 " %" SCNu64 "%n", file.path, &file.size, &file.allocated, &end) != 3) {
            end = 0;
        }
    }
    if (end == 0 || (size_t)end != entry.size || !mim_incoming_path_valid(mim_slice_text(file.path)) ||
        file.size == 0 || file.allocated < file.size || file.allocated > (uint64_t)1 << 44) {
        return mim_error_set(reterr, MIM_E_INVALID, "the primary lists a file that is none of ours");
    }
    if (incoming->count == incoming->capacity) {
        size_t capacity = incoming->capacity == 0 ? 16 : incoming->capacity * 2;
        struct mim_incoming_file *grown = realloc(incoming->files, capacity * sizeof(*grown));
        if (grown == NULL || incoming->count >= MIM_INCOMING_FILES_MAX) {
            incoming->files = grown == NULL ? incoming->files : grown;
            return mim_error_set(reterr, MIM_E_MEMORY, "too many files to copy");
        }
        incoming->files = grown;
        incoming->capacity = capacity;
    }
    incoming->files[incoming->count++] = file;
    incoming->bytes_total += file.size;
    return 0;
}

/** Opens the file that pieces go to, and finds what is there of it. */
static int file_open(struct mim_incoming *incoming, struct mim_error *reterr) {
    const struct mim_incoming_file *file = &incoming->files[incoming->put_file];
    char path[FULL_PATH_SIZE];
    uint64_t there = 0;
    full_path(file->path, path);
    int rc = mim_file_open(incoming->storage, path, MIM_OPEN_WRITE | MIM_OPEN_CREATE, &incoming->file, reterr);
    rc = rc != 0 ? rc : mim_file_size(incoming->storage, incoming->file, &there, reterr);
    if (rc == 0 && there > file->size) {
        there = 0; /* not what it was */
        rc = mim_file_truncate(incoming->storage, incoming->file, 0, reterr);
    }
    incoming->put_offset = there;
    return rc;
}

static int file_close(struct mim_incoming *incoming, struct mim_error *reterr) {
    const struct mim_incoming_file *file = &incoming->files[incoming->put_file];
    int rc = mim_file_sync(incoming->storage, incoming->file, reterr);
    mim_file_close(incoming->storage, incoming->file);
    if (rc != 0) { /* reads would show what the disk has not, and a second sync would succeed: nothing to go on from */
        char path[FULL_PATH_SIZE];
        struct mim_error ignored = {0};
        full_path(file->path, path);
        (void)remove_quietly(incoming->storage, path, &ignored);
    }
    incoming->file = 0;
    incoming->put_file++;
    incoming->put_offset = 0;
    return rc;
}

int mim_incoming_start(struct mim_incoming *incoming, struct mim_error *reterr) {
    for (size_t i = 0; i + 1 < incoming->count; i++) {
        if (incoming->files[i].allocated != incoming->files[i].size) {
            return mim_error_set(reterr, MIM_E_INVALID, "the primary lists a file that goes on, and others behind it");
        }
    }
    /* whole files of an earlier try come first; then one that has a beginning; the rest is empty */
    int rc = 0;
    while (rc == 0 && incoming->put_file < incoming->count) {
        rc = file_open(incoming, reterr);
        if (rc != 0 || incoming->put_offset < incoming->files[incoming->put_file].size) {
            break;
        }
        incoming->bytes_resumed += incoming->put_offset;
        rc = file_close(incoming, reterr);
    }
    incoming->bytes_resumed += incoming->put_offset;
    incoming->bytes_done = incoming->bytes_resumed;
    incoming->ask_file = incoming->put_file;
    incoming->ask_offset = incoming->put_offset;
    return rc;
}

bool mim_incoming_ask(struct mim_incoming *incoming, const char **ret_path, uint64_t *ret_offset, uint32_t *ret_size) {
    while (incoming->ask_file < incoming->count && incoming->ask_offset >= incoming->files[incoming->ask_file].size) {
        incoming->ask_file++;
        incoming->ask_offset = 0;
    }
    if (incoming->ask_file >= incoming->count || incoming->asked >= MIM_INCOMING_WINDOW) {
        return false;
    }
    const struct mim_incoming_file *file = &incoming->files[incoming->ask_file];
    uint64_t left = file->size - incoming->ask_offset;
    *ret_path = file->path;
    *ret_offset = incoming->ask_offset;
    *ret_size = left < MIM_INCOMING_PIECE ? (uint32_t)left : MIM_INCOMING_PIECE;
    incoming->ask_offset += *ret_size;
    incoming->asked++;
    return true;
}

int mim_incoming_put(struct mim_incoming *incoming, struct mim_slice piece, struct mim_error *reterr) {
    if (incoming->put_file >= incoming->count || incoming->asked == 0) {
        return mim_error_set(reterr, MIM_E_INVALID, "the primary sends more than was asked for");
    }
    if (incoming->file == 0) {
        int rc = file_open(incoming, reterr);
        if (rc == 0 && incoming->put_offset > 0) { /* a leftover behind an incomplete file */
            rc = mim_file_truncate(incoming->storage, incoming->file, 0, reterr);
            incoming->put_offset = 0;
        }
        if (rc != 0) {
            return rc;
        }
    }
    uint64_t left = incoming->files[incoming->put_file].size - incoming->put_offset;
    if (piece.size != (left < MIM_INCOMING_PIECE ? left : MIM_INCOMING_PIECE)) {
        return mim_error_set(reterr, MIM_E_INVALID, "%s: a piece is not as long as asked for",
                             incoming->files[incoming->put_file].path);
    }
    int rc = mim_file_pwrite(incoming->storage, incoming->file, piece.data, piece.size, incoming->put_offset, reterr);
    if (rc != 0) {
        return rc;
    }
    incoming->asked--;
    incoming->put_offset += piece.size;
    incoming->bytes_done += piece.size;
    return incoming->put_offset < incoming->files[incoming->put_file].size ? 0 : file_close(incoming, reterr);
}

bool mim_incoming_complete(const struct mim_incoming *incoming) { return incoming->put_file >= incoming->count; }

int mim_incoming_finish(struct mim_incoming *incoming, struct mim_error *reterr) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < PARTS; i++) {
        char path[FULL_PATH_SIZE];
        full_path(parts[i], path);
        rc = mim_storage_sync_dir(incoming->storage, path, reterr);
    }
    const struct mim_incoming_file *last = &incoming->files[incoming->count - 1];
    char note[MIM_INCOMING_SOURCE_MAX];
    (void)snprintf(note, sizeof(note), "complete %s %" PRIu64 " %" PRIu64, last->path, last->size, last->allocated);
    return rc != 0 ? rc : note_write(incoming->storage, COMPLETE_PATH, note, reterr);
}

/* ------------------------------------------------------------------------------ installing */

struct moving {
    struct mim_storage storage;
    const char *part;
    struct mim_error *reterr;
};

static int move_entry(void *context, const char *name, bool is_directory) {
    const struct moving *moving = context;
    char from[FULL_PATH_SIZE + 256];
    char to[MIM_INCOMING_PATH_SIZE + 256];
    if (is_directory) {
        return 0;
    }
    (void)snprintf(from, sizeof(from), INCOMING_DIR "/%s/%s", moving->part, name);
    (void)snprintf(to, sizeof(to), "%s/%s", moving->part, name);
    return mim_storage_rename(moving->storage, from, to, moving->reterr);
}

/** Moves what incoming/ has of one directory. */
static int part_move(struct mim_storage storage, const char *part, struct mim_error *reterr) {
    char from[FULL_PATH_SIZE];
    full_path(part, from);
    struct moving moving = {.storage = storage, .part = part, .reterr = reterr};
    int rc = mim_storage_make_dir(storage, part, reterr);
    rc = rc != 0 ? rc : mim_storage_sync_dir(storage, ".", reterr); /* nothing goes into it that could vanish with it */
    rc = rc != 0 ? rc : mim_storage_list(storage, from, move_entry, &moving, reterr);
    return rc != 0 ? rc : mim_storage_sync_dir(storage, part, reterr);
}

/** The last segment goes on behind what was copied, in zeros. Only now: a copy that is gone on with tells by a file's size
 *  what is there of it. */
static int last_extend(struct mim_storage storage, const char *note, struct mim_error *reterr) {
    static const uint8_t zeros[65536];
    struct mim_incoming_file last = {0};
    char path[FULL_PATH_SIZE];
    mim_file_t file = 0;
    if (sscanf(note, "complete %63s %" SCNu64 " %" SCNu64, last.path, &last.size, &last.allocated) != 3 ||
        !mim_incoming_path_valid(mim_slice_text(last.path))) {
        return mim_error_set(reterr, MIM_E_DAMAGED,
                             COMPLETE_PATH " does not say what was copied: remove " INCOMING_DIR);
    }
    if (last.allocated == last.size) {
        return 0;
    }
    full_path(last.path, path);
    int rc = mim_file_open(storage, path, MIM_OPEN_WRITE, &file, reterr);
    for (uint64_t at = last.size; rc == 0 && at < last.allocated; at += sizeof(zeros)) {
        size_t size = last.allocated - at < sizeof(zeros) ? (size_t)(last.allocated - at) : sizeof(zeros);
        rc = mim_file_pwrite(storage, file, zeros, size, at, reterr);
    }
    rc = rc != 0 ? rc : mim_file_sync(storage, file, reterr);
    mim_file_close(storage, file);
    return rc;
}

int mim_incoming_install(struct mim_storage storage, bool *ret_installed, struct mim_error *reterr) {
    *ret_installed = false;
    char note[MIM_INCOMING_SOURCE_MAX + 1];
    int rc = note_read(storage, COMPLETE_PATH, note, reterr);
    bool cleared = strcmp(note, "cleared") == 0; /* then files may have been moved already */
    if (rc != 0 || (!cleared && strncmp(note, "complete ", 9) != 0)) {
        return rc;
    }
    rc = cleared ? 0 : last_extend(storage, note, reterr);
    for (size_t i = 0; rc == 0 && !cleared && i < PARTS; i++) {
        rc = mim_replica_clear_dir(storage, parts[i], reterr);
    }
    rc = rc != 0 || cleared ? rc : note_write(storage, COMPLETE_PATH, "cleared", reterr);
    for (size_t i = 0; rc == 0 && i < PARTS; i++) {
        rc = part_move(storage, parts[i], reterr);
    }
    rc = rc != 0 ? rc : mim_storage_sync_dir(storage, ".", reterr);
    rc = rc != 0 ? rc : mim_replica_clear_dir(storage, INCOMING_DIR, reterr);
    *ret_installed = rc == 0;
    return rc == 0 ? 0 : mim_error_prefix(reterr, "putting the primary's copy in its place");
}
