// SPDX-License-Identifier: MIT
// The machine's file system behind the storage interface: *at calls on one root descriptor. SIGXFSZ must be ignored by
// the program (main does), so that a file size limit is an error (EFBIG) and not a signal.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "storage/storage.h"

/* Zeros are written beside a journal that syncs. A kernel without preemption gives a core back when a call returns, and a
 * disk does one flush behind the other: so no call is long, and no flush has much to do. */
#define MIM_ZERO_RUN_SIZE  (64u << 10)
#define MIM_ZERO_SYNC_SIZE (1u << 20)

#define MIM_RESERVE_COUNT \
    4u /* what a journal thread and the preparer of segments open at the same time, and one more */

#define MIM_RESERVE_LEAST 64 /* descriptors a process may have; with fewer, clients need them all */

struct storage_posix {
    int root;
    _Atomic int reserve[MIM_RESERVE_COUNT]; /* descriptors that give way when there are no others; -1: given */
    unsigned reserve_count;                 /* used of it: none where all of them are few */
    char path[512];
};

static int file_fd(mim_file_t file) { return (int)(file - 1); }

int mim_storage_posix_fd(mim_file_t file) { return file > 0 && file <= INT32_MAX ? file_fd(file) : -1; }

/** Codes of calls that take a path. */
static int code_of(int os_errno) {
    switch (os_errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return MIM_E_NO_SPACE;
    case ENOENT:
        return MIM_E_NOT_FOUND;
    case EEXIST:
        return MIM_E_EXISTS;
    case ENOMEM:
        return MIM_E_MEMORY;
    default:
        return MIM_E_IO;
    }
}

/** Codes of calls on an open file: full, or broken. */
static int write_code_of(int os_errno) { return code_of(os_errno) == MIM_E_NO_SPACE ? MIM_E_NO_SPACE : MIM_E_IO; }

/** The path behind a descriptor, for messages: asked of the kernel on failure only, so that no handle keeps a name. */
#define MIM_FD_NAME_SIZE 256u
static const char *fd_name(int fd, char ret_name[MIM_FD_NAME_SIZE]) {
    char link[32];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, ret_name, MIM_FD_NAME_SIZE - 1);
    if (size <= 0) {
        return "file";
    }
    ret_name[size] = '\0';
    return ret_name;
}

/** A failed call on an open file: "what path: reason". */
static int fd_failed(struct mim_error *reterr, int code, int os_errno, const char *what, int fd) {
    char name[MIM_FD_NAME_SIZE];
    return mim_error_os(reterr, code, os_errno, "%s %s", what, fd_name(fd, name));
}

/** The same for a transfer. */
static int fd_failed_at(struct mim_error *reterr, int code, int os_errno, const char *what, int fd, uint64_t offset) {
    char name[MIM_FD_NAME_SIZE];
    return mim_error_os(reterr, code, os_errno, "%s %s at offset %llu", what, fd_name(fd, name),
                        (unsigned long long)offset);
}

/* ------------------------------------------------------------------------ descriptors */

/** Opens for the sake of what is written: a commit does not fail because readers and clients have all the descriptors. */
static int open_reserved(struct storage_posix *storage, const char *path, int os_flags) {
    int fd = openat(storage->root, path, os_flags, 0600);
    for (unsigned i = 0; fd < 0 && (errno == EMFILE || errno == ENFILE) && i < storage->reserve_count; i++) {
        int reserved = atomic_exchange(&storage->reserve[i], -1);
        if (reserved >= 0) {
            (void)close(reserved);
            fd = openat(storage->root, path, os_flags, 0600);
        }
    }
    return fd;
}

/** Takes back what was given, as far as there is any now. */
static void reserve_fill(struct storage_posix *storage) {
    for (unsigned i = 0; i < storage->reserve_count; i++) {
        if (atomic_load_explicit(&storage->reserve[i], memory_order_relaxed) >= 0) {
            continue;
        }
        int fd = fcntl(storage->root, F_DUPFD_CLOEXEC, 0);
        int given = -1;
        if (fd >= 0 && !atomic_compare_exchange_strong(&storage->reserve[i], &given, fd)) {
            (void)close(fd);
        }
    }
}

static void close_and_fill(struct storage_posix *storage, int fd) {
    (void)close(fd);
    reserve_fill(storage);
}

/* ------------------------------------------------------------------------------- files */

static int posix_open(void *self, const char *path, unsigned flags, mim_file_t *ret_file, struct mim_error *reterr) {
    struct storage_posix *storage = self;
    int os_flags = O_CLOEXEC | ((flags & MIM_OPEN_WRITE) != 0 ? O_RDWR : O_RDONLY);
    os_flags |= (flags & MIM_OPEN_CREATE) != 0 ? O_CREAT : 0;
    os_flags |= (flags & MIM_OPEN_EXCLUSIVE) != 0 ? O_EXCL : 0;
    os_flags |= (flags & MIM_OPEN_TRUNCATE) != 0 ? O_TRUNC : 0;
    int fd = (flags & MIM_OPEN_WRITE) != 0 ? open_reserved(storage, path, os_flags)
                                           : openat(storage->root, path, os_flags, 0600);
    if (fd < 0) {
        return mim_error_os(reterr, code_of(errno), errno, "open %s/%s", storage->path, path);
    }
    *ret_file = fd + 1;
    return 0;
}

static void posix_close(void *self, mim_file_t file) { close_and_fill(self, file_fd(file)); }

static int posix_pread(void *self, mim_file_t file, void *buffer, size_t size, uint64_t offset, size_t *ret_size,
                       struct mim_error *reterr) {
    (void)self;
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(file_fd(file), (uint8_t *)buffer + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return fd_failed_at(reterr, MIM_E_IO, errno, "read", file_fd(file), offset + done);
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    *ret_size = done;
    return 0;
}

static int posix_pwrite(void *self, mim_file_t file, const void *data, size_t size, uint64_t offset,
                        struct mim_error *reterr) {
    (void)self;
    size_t done = 0;
    while (done < size) {
        ssize_t n = pwrite(file_fd(file), (const uint8_t *)data + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) { /* a write of nothing without an error would loop for ever */
            int failed = n < 0 ? errno : EIO;
            return fd_failed_at(reterr, write_code_of(failed), failed, "write", file_fd(file), offset + done);
        }
        done += (size_t)n;
    }
    return 0;
}

static int posix_sync(void *self, mim_file_t file, struct mim_error *reterr) {
    (void)self;
    if (fdatasync(file_fd(file)) != 0) { /* not retried, not even on EINTR: a failed sync is final */
        return fd_failed(reterr, write_code_of(errno), errno, "sync", file_fd(file));
    }
    return 0;
}

static int posix_size(void *self, mim_file_t file, uint64_t *ret_size, struct mim_error *reterr) {
    (void)self;
    struct stat status;
    if (fstat(file_fd(file), &status) != 0) {
        return fd_failed(reterr, MIM_E_IO, errno, "stat", file_fd(file));
    }
    *ret_size = (uint64_t)status.st_size;
    return 0;
}

static int posix_truncate(void *self, mim_file_t file, uint64_t size, struct mim_error *reterr) {
    (void)self;
    int rc;
    do {
        rc = ftruncate(file_fd(file), (off_t)size);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        return fd_failed_at(reterr, write_code_of(errno), errno, "truncate", file_fd(file), size);
    }
    return 0;
}

static int posix_preallocate(void *self, mim_file_t file, uint64_t size, struct mim_error *reterr) {
    /* fallocate says at once whether the room is there; the zeros make the extents written, which spares later
     * syncs a metadata update (a third of their time). Some file systems have no fallocate: the zeros do. */
    int failed = 0;
    do {
        failed = size > 0 && fallocate(file_fd(file), 0, 0, (off_t)size) != 0 ? errno : 0;
    } while (failed == EINTR);
    if (failed != 0 && failed != EOPNOTSUPP && failed != ENOSYS) {
        return fd_failed_at(reterr, write_code_of(failed), failed, "allocate", file_fd(file), size);
    }
    uint8_t *zeros = calloc(1, MIM_ZERO_RUN_SIZE);
    if (zeros == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory to preallocate");
    }
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < size; at += MIM_ZERO_RUN_SIZE) {
        uint64_t left = size - at;
        size_t run = left < MIM_ZERO_RUN_SIZE ? (size_t)left : MIM_ZERO_RUN_SIZE;
        rc = posix_pwrite(self, file, zeros, run, at, reterr);
        if (rc == 0 && (at + run) % MIM_ZERO_SYNC_SIZE == 0 && run < left) { /* the last one is below */
            rc = posix_sync(self, file, reterr);
        }
    }
    free(zeros);
    return rc != 0 ? rc : posix_sync(self, file, reterr);
}

static int posix_rename(void *self, const char *from, const char *to, struct mim_error *reterr) {
    const struct storage_posix *storage = self;
    if (renameat(storage->root, from, storage->root, to) != 0) {
        return mim_error_os(reterr, code_of(errno), errno, "rename %s/%s to %s", storage->path, from, to);
    }
    return 0;
}

static int posix_remove(void *self, const char *path, struct mim_error *reterr) {
    const struct storage_posix *storage = self;
    if (unlinkat(storage->root, path, 0) != 0) {
        return mim_error_os(reterr, code_of(errno), errno, "remove %s/%s", storage->path, path);
    }
    return 0;
}

static int posix_make_dir(void *self, const char *path, struct mim_error *reterr) {
    const struct storage_posix *storage = self;
    if (mkdirat(storage->root, path, 0700) != 0 && errno != EEXIST) {
        return mim_error_os(reterr, code_of(errno), errno, "make directory %s/%s", storage->path, path);
    }
    return 0;
}

static int posix_sync_dir(void *self, const char *path, struct mim_error *reterr) {
    struct storage_posix *storage = self;
    int fd = open_reserved(storage, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return mim_error_os(reterr, code_of(errno), errno, "open directory %s/%s", storage->path, path);
    }
    int failed = fsync(fd) != 0 ? errno : 0;
    close_and_fill(storage, fd);
    return failed == 0 ? 0 : mim_error_os(reterr, MIM_E_IO, failed, "sync directory %s/%s", storage->path, path);
}

static bool entry_is_directory(int directory, const struct dirent *entry) {
    if (entry->d_type != DT_UNKNOWN) {
        return entry->d_type == DT_DIR;
    }
    struct stat status;
    return fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
}

static int posix_list(void *self, const char *path, mim_list_fn *each, void *context, struct mim_error *reterr) {
    const struct storage_posix *storage = self;
    int fd = openat(storage->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        int failed = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return mim_error_os(reterr, code_of(failed), failed, "list %s/%s", storage->path, path);
    }
    int rc = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            if (errno != 0) {
                rc = mim_error_os(reterr, MIM_E_IO, errno, "list %s/%s", storage->path, path);
            }
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        rc = each(context, entry->d_name, entry_is_directory(fd, entry));
        if (rc != 0) {
            break;
        }
    }
    (void)closedir(directory);
    return rc;
}

/** A record lock beside the flock, only so that others can ask who holds it: the file itself stays as it is. It is no
 *  guard: a process that closes any descriptor of the file loses it, the flock stays. */
static void lock_sign(int fd) {
    struct flock signature = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    (void)fcntl(fd, F_SETLK, &signature);
}

/** The pid that signed the lock; 0 when nobody did. */
static long lock_holder(int fd) {
    struct flock asked = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_GETLK, &asked) == 0 && asked.l_type != F_UNLCK ? (long)asked.l_pid : 0;
}

static int posix_lock(void *self, const char *path, mim_file_t *ret_file, struct mim_error *reterr) {
    const struct storage_posix *storage = self;
    int fd = openat(storage->root, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return mim_error_os(reterr, code_of(errno), errno, "open %s/%s", storage->path, path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int failed = errno;
        long holder = lock_holder(fd);
        (void)close(fd);
        if (failed != EWOULDBLOCK) {
            return mim_error_os(reterr, MIM_E_IO, failed, "lock %s/%s", storage->path, path);
        }
        if (holder == 0) { /* this process itself, or a holder that has not signed (yet) */
            return mim_error_set(reterr, MIM_E_LOCKED, "the directory %s is in use (%s)", storage->path, path);
        }
        return mim_error_set(
            reterr, MIM_E_LOCKED,
            "the directory %s is in use by process %ld (%s): stop it first, or choose another directory", storage->path,
            holder, path);
    }
    lock_sign(fd);
    *ret_file = fd + 1;
    return 0;
}

static int posix_locked(void *self, const char *path, bool *ret_locked, struct mim_error *reterr) {
    const struct storage_posix *storage = self;
    int fd = openat(storage->root, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT) {
        return mim_error_os(reterr, code_of(errno), errno, "open %s/%s", storage->path, path);
    }
    struct flock asked = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    *ret_locked = fd >= 0 && fcntl(fd, F_GETLK, &asked) == 0 && asked.l_type != F_UNLCK; /* the holder's signature */
    if (fd >= 0) {
        (void)close(fd);
    }
    return 0;
}

/** Errors that say "not here", not "broken". */
static bool is_unsupported(int os_errno) {
    return os_errno == EOPNOTSUPP || os_errno == ENOSYS || os_errno == ENOTTY || os_errno == EXDEV ||
           os_errno == EINVAL || os_errno == EPERM || os_errno == EMLINK;
}

static int posix_share(void *self, mim_file_t from, mim_file_t to, uint64_t offset, uint64_t size,
                       struct mim_error *reterr) {
    (void)self;
    struct file_clone_range range = {
        .src_fd = file_fd(from), .src_offset = offset, .src_length = size, .dest_offset = offset};
    int rc;
    do {
        rc = ioctl(file_fd(to), FICLONERANGE, &range);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0) {
        return 0;
    }
    int code = is_unsupported(errno) ? MIM_E_STATE : write_code_of(errno);
    return fd_failed_at(reterr, code, errno, "share blocks with", file_fd(to), offset);
}

static const struct mim_storage_ops storage_posix_ops;

static int posix_link(void *self, const char *path, struct mim_storage target, const char *to,
                      struct mim_error *reterr) {
    const struct storage_posix *storage = self;
    if (target.ops != &storage_posix_ops) {
        return mim_error_set(reterr, MIM_E_STATE, "link %s/%s: the target is of another kind", storage->path, path);
    }
    const struct storage_posix *other = target.self;
    if (linkat(storage->root, path, other->root, to, 0) == 0) {
        return 0;
    }
    int code = is_unsupported(errno) ? MIM_E_STATE : code_of(errno);
    return mim_error_os(reterr, code, errno, "link %s/%s to %s/%s", storage->path, path, other->path, to);
}

static void posix_advise(void *self, mim_file_t file, uint64_t offset, uint64_t size, enum mim_advice advice) {
    (void)self;
    int fd = file_fd(file);
    if (advice == MIM_ADVICE_FORGET) {
        (void)posix_fadvise(fd, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
    } else {
        unsigned how = advice == MIM_ADVICE_WAIT_OUT ? SYNC_FILE_RANGE_WAIT_BEFORE : SYNC_FILE_RANGE_WRITE;
        (void)sync_file_range(fd, (off_t)offset, (off_t)size, how); /* a hint: the sync at the end finds the errors */
    }
}

static const struct mim_storage_ops storage_posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .pread = posix_pread,
    .pwrite = posix_pwrite,
    .sync = posix_sync,
    .size = posix_size,
    .truncate = posix_truncate,
    .preallocate = posix_preallocate,
    .rename = posix_rename,
    .remove = posix_remove,
    .make_dir = posix_make_dir,
    .sync_dir = posix_sync_dir,
    .list = posix_list,
    .lock = posix_lock,
    .locked = posix_locked,
    .share = posix_share,
    .link = posix_link,
    .advise = posix_advise,
};

static int stop_listing(void *context, const char *name, bool is_directory) {
    (void)context;
    (void)name;
    (void)is_directory;
    return MIM_E_EXISTS;
}

static bool is_empty(struct storage_posix *storage) {
    struct mim_error ignored = {0};
    return posix_list(storage, ".", stop_listing, NULL, &ignored) == 0;
}

int mim_storage_posix_open(const char *root, bool create, struct mim_storage *ret_storage, struct mim_error *reterr) {
    if (create && mkdir(root, 0700) != 0 && errno != EEXIST) {
        return mim_error_os(reterr, code_of(errno), errno, "make directory %s", root);
    }
    struct storage_posix *storage = calloc(1, sizeof(*storage));
    if (storage == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    storage->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (storage->root < 0) {
        int failed = errno;
        free(storage);
        return mim_error_os(reterr, code_of(failed), failed, "open directory %s", root);
    }
    (void)snprintf(storage->path, sizeof(storage->path), "%s", root);
    if (create && is_empty(storage)) { /* its own name must be durable before anything in it is relied upon */
        int parent = openat(storage->root, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int failed = parent >= 0 && fsync(parent) != 0 ? errno : 0;
        if (parent >= 0) {
            (void)close(parent);
        }
        if (failed != 0 && failed != EINVAL && failed != EROFS) {
            (void)close(storage->root);
            free(storage);
            return mim_error_os(reterr, MIM_E_IO, failed, "sync the directory above %s", root);
        }
    }
    storage->reserve_count = sysconf(_SC_OPEN_MAX) < MIM_RESERVE_LEAST ? 0 : MIM_RESERVE_COUNT;
    for (unsigned i = 0; i < storage->reserve_count; i++) {
        storage->reserve[i] = -1;
    }
    reserve_fill(storage);
    *ret_storage = (struct mim_storage){.ops = &storage_posix_ops, .self = storage};
    return 0;
}

void mim_storage_posix_close(struct mim_storage *storage) {
    struct storage_posix *self = storage->self;
    if (self != NULL) {
        for (unsigned i = 0; i < self->reserve_count; i++) {
            if (self->reserve[i] >= 0) {
                (void)close(self->reserve[i]);
            }
        }
        (void)close(self->root);
        free(self);
    }
    *storage = (struct mim_storage){0};
}
