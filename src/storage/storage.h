// SPDX-License-Identifier: MIT
// The storage interface: all file access of journal and snapshots goes through it. Two implementations:
// storage_posix.c (the machine) and storage_sim.c (a seeded disk that tears, loses, flips, fails and fills up).
//
// Rules. Paths are relative to the storage's root directory. Every call returns 0 or a MIM_E_ code and fills in
// the file's name and errno; results are untouched on failure. pwrite and pread loop over short transfers and
// EINTR themselves: they transfer all or fail. A short read at the end of the file is success with less.
// After a failed sync the file is poisoned for the caller: never retry (the page cache may have dropped the
// dirty pages and the next sync would lie). Thread safety: different files may be used from different threads;
// one file from one thread at a time, except concurrent pread.
#ifndef MIM_STORAGE_STORAGE_H
#define MIM_STORAGE_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/** Held by whoever writes in a directory, for as long as it lives. */
#define MIM_DIRECTORY_LOCK "lock"

/** An open file of some storage; 0 is never a valid handle. */
typedef int64_t mim_file_t;

enum mim_open_flags {
    MIM_OPEN_READ = 1,      /* fails with NOT_FOUND when it does not exist */
    MIM_OPEN_WRITE = 2,     /* read and write */
    MIM_OPEN_CREATE = 4,    /* create when missing (with WRITE) */
    MIM_OPEN_EXCLUSIVE = 8, /* with CREATE: fails with EXISTS when it is there */
    MIM_OPEN_TRUNCATE = 16,
};

/** Called once per directory entry (never "." or ".."); a nonzero return ends the listing with that value. */
typedef int mim_list_fn(void *context, const char *name, bool is_directory);

enum mim_advice {
    MIM_ADVICE_WRITE_OUT, /* begin to write the range to the device now */
    MIM_ADVICE_WAIT_OUT,  /* wait until what of the range is being written is (no promise of durability) */
    MIM_ADVICE_FORGET,    /* what of the range is clean will not be needed soon */
};

struct mim_storage_ops;
struct mim_storage {
    const struct mim_storage_ops *ops;
    void *self;
};

struct mim_storage_ops {
    int (*open)(void *self, const char *path, unsigned flags, mim_file_t *ret_file, struct mim_error *reterr);
    void (*close)(void *self, mim_file_t file);
    int (*pread)(void *self, mim_file_t file, void *buffer, size_t size, uint64_t offset, size_t *ret_size,
                 struct mim_error *reterr);
    /* NO_SPACE for ENOSPC, EDQUOT and EFBIG; IO otherwise. Part of the bytes may have been written on failure. */
    int (*pwrite)(void *self, mim_file_t file, const void *data, size_t size, uint64_t offset,
                  struct mim_error *reterr);
    /* fdatasync: data and the size needed to read it back are on stable storage. */
    int (*sync)(void *self, mim_file_t file, struct mim_error *reterr);
    int (*size)(void *self, mim_file_t file, uint64_t *ret_size, struct mim_error *reterr);
    /* Sets the size; a grown part reads as zeros (sparse). */
    int (*truncate)(void *self, mim_file_t file, uint64_t size, struct mim_error *reterr);
    /* Allocates and zero-fills [0, size), so that later overwrites need no metadata. NO_SPACE leaves the file to be removed. */
    int (*preallocate)(void *self, mim_file_t file, uint64_t size, struct mim_error *reterr);
    int (*rename)(void *self, const char *from, const char *to, struct mim_error *reterr); /* replaces `to` */
    int (*remove)(void *self, const char *path, struct mim_error *reterr);
    int (*make_dir)(void *self, const char *path, struct mim_error *reterr); /* 0 when it exists already */
    int (*sync_dir)(void *self, const char *path, struct mim_error *reterr); /* makes creations and renames durable */
    int (*list)(void *self, const char *path, mim_list_fn *each, void *context, struct mim_error *reterr);
    /* Exclusive lock of the whole root, held until close/unlock or process end; LOCKED when another holds it. */
    int (*lock)(void *self, const char *path, mim_file_t *ret_file, struct mim_error *reterr);
    /* Does another process hold that lock? Takes nothing: nobody who locks meanwhile is disturbed. */
    int (*locked)(void *self, const char *path, bool *ret_locked, struct mim_error *reterr);
    /* Makes to[offset, offset + size) the bytes that `from` has there by sharing its blocks; whole blocks of 4096 bytes.
     * STATE: this file system cannot, nothing happened. */
    int (*share)(void *self, mim_file_t from, mim_file_t to, uint64_t offset, uint64_t size, struct mim_error *reterr);
    /* A second name, in `target`'s root, for the same file. EXISTS; STATE: not between these two (another file system,
     * another implementation), nothing happened. */
    int (*link)(void *self, const char *path, struct mim_storage target, const char *to, struct mim_error *reterr);
    /* A hint for the page cache; never fails, promises nothing. */
    void (*advise)(void *self, mim_file_t file, uint64_t offset, uint64_t size, enum mim_advice advice);
};

/** Opens (and with `create` makes, mode 0700) a directory as a storage root. Close with mim_storage_posix_close. It holds
 *  some descriptors that give way to files opened for writing and to sync_dir when the process has no others left. */
MIM_CHECKED int mim_storage_posix_open(const char *root, bool create, struct mim_storage *ret_storage,
                                       struct mim_error *reterr);
void mim_storage_posix_close(struct mim_storage *storage);

/** The POSIX descriptor behind a handle (for mmap and sendfile in *_posix and *_event files), -1 for others. */
int mim_storage_posix_fd(mim_file_t file);

/* Thin calls, so that users read well. */
static inline int mim_file_open(struct mim_storage s, const char *path, unsigned flags, mim_file_t *ret_file,
                                struct mim_error *reterr) {
    return s.ops->open(s.self, path, flags, ret_file, reterr);
}
static inline void mim_file_close(struct mim_storage s, mim_file_t file) {
    if (file != 0) {
        s.ops->close(s.self, file);
    }
}
static inline int mim_file_pread(struct mim_storage s, mim_file_t file, void *buffer, size_t size, uint64_t offset,
                                 size_t *ret_size, struct mim_error *reterr) {
    return s.ops->pread(s.self, file, buffer, size, offset, ret_size, reterr);
}
static inline int mim_file_pwrite(struct mim_storage s, mim_file_t file, const void *data, size_t size, uint64_t offset,
                                  struct mim_error *reterr) {
    return s.ops->pwrite(s.self, file, data, size, offset, reterr);
}
static inline int mim_file_sync(struct mim_storage s, mim_file_t file, struct mim_error *reterr) {
    return s.ops->sync(s.self, file, reterr);
}
static inline int mim_file_size(struct mim_storage s, mim_file_t file, uint64_t *ret_size, struct mim_error *reterr) {
    return s.ops->size(s.self, file, ret_size, reterr);
}
static inline int mim_file_truncate(struct mim_storage s, mim_file_t file, uint64_t size, struct mim_error *reterr) {
    return s.ops->truncate(s.self, file, size, reterr);
}
static inline int mim_file_preallocate(struct mim_storage s, mim_file_t file, uint64_t size, struct mim_error *reterr) {
    return s.ops->preallocate(s.self, file, size, reterr);
}
static inline int mim_storage_rename(struct mim_storage s, const char *from, const char *to, struct mim_error *reterr) {
    return s.ops->rename(s.self, from, to, reterr);
}
static inline int mim_storage_remove(struct mim_storage s, const char *path, struct mim_error *reterr) {
    return s.ops->remove(s.self, path, reterr);
}
static inline int mim_storage_make_dir(struct mim_storage s, const char *path, struct mim_error *reterr) {
    return s.ops->make_dir(s.self, path, reterr);
}
static inline int mim_storage_sync_dir(struct mim_storage s, const char *path, struct mim_error *reterr) {
    return s.ops->sync_dir(s.self, path, reterr);
}
static inline int mim_storage_list(struct mim_storage s, const char *path, mim_list_fn *each, void *context,
                                   struct mim_error *reterr) {
    return s.ops->list(s.self, path, each, context, reterr);
}
static inline int mim_storage_lock(struct mim_storage s, const char *path, mim_file_t *ret_file,
                                   struct mim_error *reterr) {
    return s.ops->lock(s.self, path, ret_file, reterr);
}
static inline int mim_storage_locked(struct mim_storage s, const char *path, bool *ret_locked,
                                     struct mim_error *reterr) {
    return s.ops->locked(s.self, path, ret_locked, reterr);
}
static inline int mim_file_share(struct mim_storage s, mim_file_t from, mim_file_t to, uint64_t offset, uint64_t size,
                                 struct mim_error *reterr) {
    return s.ops->share(s.self, from, to, offset, size, reterr);
}
static inline int mim_storage_link(struct mim_storage s, const char *path, struct mim_storage target, const char *to,
                                   struct mim_error *reterr) {
    return s.ops->link(s.self, path, target, to, reterr);
}
static inline void mim_file_advise(struct mim_storage s, mim_file_t file, uint64_t offset, uint64_t size,
                                   enum mim_advice advice) {
    s.ops->advise(s.self, file, offset, size, advice);
}

#endif
