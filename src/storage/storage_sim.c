// SPDX-License-Identifier: MIT
// The simulated disk's calls: what a storage does when all is well, and where faults come in.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "storage/storage_sim_internal.h"

static struct sim_inode *sim_handle(struct mim_storage_sim *sim, mim_file_t file) {
    return file > MIM_SIM_HANDLES && (size_t)(file - MIM_SIM_HANDLES) <= sim->handle_count
               ? sim->handles[file - MIM_SIM_HANDLES - 1]
               : NULL;
}

/** A handle that never was: numbers are not used again, so that a closed one is always noticed. */
static mim_file_t sim_handle_new(struct mim_storage_sim *sim, struct sim_inode *inode) {
    if (sim->handle_count == sim->handle_capacity) {
        sim->handle_capacity = sim->handle_capacity == 0 ? 16 : sim->handle_capacity * 2;
        sim->handles = realloc(sim->handles, sim->handle_capacity * sizeof(struct sim_inode *));
        MIM_ASSERT(sim->handles != NULL);
    }
    sim->handles[sim->handle_count++] = inode;
    inode->links++;
    return MIM_SIM_HANDLES + (mim_file_t)sim->handle_count;
}

static int sim_stale(struct mim_error *reterr) {
    return mim_error_set(reterr, MIM_E_IO, "the file handle is closed, or from before a crash");
}

static void sim_op_push(struct mim_storage_sim *sim, const struct sim_op *op) {
    if (sim->op_count == sim->op_capacity) {
        sim->op_capacity = sim->op_capacity == 0 ? 16 : sim->op_capacity * 2;
        sim->ops = realloc(sim->ops, sim->op_capacity * sizeof(*sim->ops));
        MIM_ASSERT(sim->ops != NULL);
    }
    sim->ops[sim->op_count++] = *op;
    op->inode->links++;
}

static void sim_link(struct mim_storage_sim *sim, const char *path, struct sim_inode *inode) {
    mim_sim_put(&sim->now, path, inode);
    struct sim_op op = {.kind = SIM_OP_LINK, .inode = inode};
    mim_sim_path_copy(op.path, path);
    sim_op_push(sim, &op);
}

/** Marks every sector that holds a byte of [from, to) as pending. */
static void sim_mark(struct sim_inode *inode, uint64_t from, uint64_t to) {
    if (from < to) {
        uint64_t first = from / MIM_SIM_SECTOR;
        uint64_t last = (to - 1) / MIM_SIM_SECTOR;
        mim_sim_grow(&inode->dirty, &inode->dirty_capacity, last + 1);
        memset(inode->dirty + first, 1, last - first + 1);
    }
}

/** Sets the size, pending. What is cut off is zeros when the file grows over it again. */
static void sim_resize(struct sim_inode *inode, uint64_t size) {
    mim_sim_grow(&inode->now, &inode->now_capacity, size);
    if (size < inode->now_size) {
        memset(inode->now + size, 0, inode->now_size - size);
        sim_mark(inode, size, inode->now_size);
        inode->allocated = inode->allocated > size ? size : inode->allocated;
    }
    inode->now_size = size;
    inode->size_pending = true;
}

static int sim_open(void *self, const char *path, unsigned flags, mim_file_t *ret_file, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_OPEN);
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "open", path, reterr);
    }
    struct sim_entry *entry = mim_sim_find(&sim->now, path);
    if (entry == NULL && ((flags & MIM_OPEN_CREATE) == 0 || !mim_sim_has_parent(&sim->now, path))) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "open %s: no such file", path);
    }
    if (entry != NULL && (flags & MIM_OPEN_CREATE) != 0 && (flags & MIM_OPEN_EXCLUSIVE) != 0) {
        return mim_error_set(reterr, MIM_E_EXISTS, "open %s: file exists", path);
    }
    if (entry != NULL && entry->inode->directory) {
        return mim_error_set(reterr, MIM_E_IO, "open %s: is a directory", path);
    }
    struct sim_inode *inode = entry != NULL ? entry->inode : mim_sim_inode_new();
    if (entry == NULL) {
        sim_link(sim, path, inode);
    } else if ((flags & MIM_OPEN_TRUNCATE) != 0 && inode->now_size > 0) {
        sim_resize(inode, 0);
    }
    *ret_file = sim_handle_new(sim, inode);
    return 0;
}

static void sim_close(void *self, mim_file_t file) {
    struct mim_storage_sim *sim = self;
    struct sim_inode *inode = sim_handle(sim, file);
    if (inode != NULL) {
        sim->handles[file - MIM_SIM_HANDLES - 1] = NULL;
        mim_sim_inode_release(inode);
        if (sim->locked && file == sim->lock) {
            sim->locked = false;
        }
    }
}

static int sim_pread(void *self, mim_file_t file, void *buffer, size_t size, uint64_t offset, size_t *ret_size,
                     struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_PREAD);
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "read", "", reterr);
    }
    struct sim_inode *inode = sim_handle(sim, file);
    if (inode == NULL) {
        return sim_stale(reterr);
    }
    uint64_t left = offset < inode->now_size ? inode->now_size - offset : 0;
    size_t take = left < size ? (size_t)left : size;
    if (take > 0) {
        memcpy(buffer, inode->now + offset, take);
    }
    *ret_size = take;
    return 0;
}

/** Puts bytes in, pending. `end` is checked by the caller: room is there. */
static void sim_write(struct sim_inode *inode, const uint8_t *data, uint64_t size, uint64_t offset) {
    uint64_t end = offset + size;
    if (size == 0) {
        return;
    }
    mim_sim_grow(&inode->now, &inode->now_capacity, end);
    memcpy(inode->now + offset, data, size);
    sim_mark(inode, offset, end);
    if (end > inode->now_size) {
        inode->now_size = end;
        inode->size_pending = true;
    }
    inode->allocated = end > inode->allocated ? end : inode->allocated;
}

/** The end up to which the file can grow before the disk is full. */
static uint64_t sim_room(const struct mim_storage_sim *sim, const struct sim_inode *inode) {
    uint64_t used = mim_storage_sim_used(sim);
    uint64_t left = used < sim->capacity ? sim->capacity - used : 0;
    return left < UINT64_MAX - inode->allocated ? inode->allocated + left : UINT64_MAX;
}

static int sim_pwrite(void *self, mim_file_t file, const void *data, size_t size, uint64_t offset,
                      struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_PWRITE);
    struct sim_inode *inode = sim_handle(sim, file);
    if (inode == NULL) {
        return sim_stale(reterr);
    }
    if (fault != MIM_SIM_FAULT_NONE) { /* part of the bytes may have gone out */
        if (!sim->crashed) {
            sim_write(inode, data, mim_prng_below(&sim->prng, size + 1), offset);
        }
        return mim_sim_fail(sim, fault, "write", "", reterr);
    }
    uint64_t room = sim_room(sim, inode);
    if (offset > room || size > room - offset) { /* as a disk does: what fits is written */
        sim_write(inode, data, offset < room ? room - offset : 0, offset);
        return mim_error_set(reterr, MIM_E_NO_SPACE, "write: no space left on device");
    }
    sim_write(inode, data, size, offset);
    return 0;
}

static void sim_make_clean(struct sim_inode *inode) {
    if (inode->dirty_capacity > 0) {
        memset(inode->dirty, 0, inode->dirty_capacity);
    }
}

/** Everything of the file is durable now. */
static void sim_make_durable(struct sim_inode *inode) {
    mim_sim_grow(&inode->durable, &inode->durable_capacity, inode->now_size);
    for (uint64_t sector = 0; sector * MIM_SIM_SECTOR < inode->now_size; sector++) {
        if (sector < inode->dirty_capacity && inode->dirty[sector] != 0) {
            uint64_t at = sector * MIM_SIM_SECTOR;
            uint64_t size = inode->now_size - at < MIM_SIM_SECTOR ? inode->now_size - at : MIM_SIM_SECTOR;
            memcpy(inode->durable + at, inode->now + at, size);
        }
    }
    if (inode->durable_size > inode->now_size) {
        memset(inode->durable + inode->now_size, 0, inode->durable_size - inode->now_size);
    }
    inode->durable_size = inode->now_size;
    inode->size_pending = false;
    sim_make_clean(inode);
}

static int sim_sync(void *self, mim_file_t file, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_SYNC);
    struct sim_inode *inode = sim_handle(sim, file);
    if (inode == NULL) {
        return sim_stale(reterr);
    }
    if (fault != MIM_SIM_FAULT_NONE) {
        if (!sim->crashed) {
            sim_make_clean(inode); /* the pages are marked clean all the same: the next sync will lie */
            /* The size stays pending: it is metadata, and goes out with a later sync or crash. */
        }
        return mim_sim_fail(sim, fault, "sync", "", reterr);
    }
    sim_make_durable(inode);
    return 0;
}

static int sim_size(void *self, mim_file_t file, uint64_t *ret_size, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    struct sim_inode *inode = sim_handle(sim, file);
    if (sim->crashed) {
        return mim_sim_fail(sim, MIM_SIM_FAULT_CRASH, "size", "", reterr);
    }
    if (inode == NULL) {
        return sim_stale(reterr);
    }
    *ret_size = inode->now_size;
    return 0;
}

static int sim_truncate(void *self, mim_file_t file, uint64_t size, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_TRUNCATE);
    struct sim_inode *inode = sim_handle(sim, file);
    if (inode == NULL) {
        return sim_stale(reterr);
    }
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "truncate", "", reterr);
    }
    sim_resize(inode, size);
    return 0;
}

static int sim_preallocate(void *self, mim_file_t file, uint64_t size, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_PREALLOCATE);
    struct sim_inode *inode = sim_handle(sim, file);
    if (inode == NULL) {
        return sim_stale(reterr);
    }
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "preallocate", "", reterr);
    }
    if (size > sim_room(sim, inode)) {
        return mim_error_set(reterr, MIM_E_NO_SPACE, "preallocate %llu bytes: no space left on device",
                             (unsigned long long)size);
    }
    uint64_t old_size = inode->now_size;
    sim_resize(inode, old_size > size ? old_size : size);
    memset(inode->now, 0, size);
    sim_mark(inode, 0, size);
    inode->allocated = size > inode->allocated ? size : inode->allocated;
    sim_make_durable(inode);
    return 0;
}

static int sim_rename(void *self, const char *from, const char *to, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_RENAME);
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "rename", from, reterr);
    }
    struct sim_entry *entry = mim_sim_find(&sim->now, from);
    if (entry == NULL) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "rename %s: no such file", from);
    }
    const struct sim_entry *over = mim_sim_find(&sim->now, to);
    if (!mim_sim_has_parent(&sim->now, to)) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "rename %s to %s: no such directory", from, to);
    }
    if (entry->inode->directory || (over != NULL && over->inode->directory)) {
        return mim_error_set(reterr, MIM_E_IO, "rename %s to %s: this disk renames files only", from, to);
    }
    struct sim_inode *inode = entry->inode;
    if (over != NULL && over->inode == inode) {
        return 0;
    }
    struct sim_op op = {.kind = SIM_OP_RENAME, .inode = inode};
    mim_sim_path_copy(op.path, from);
    mim_sim_path_copy(op.to, to);
    sim_op_push(sim, &op);
    mim_sim_put(&sim->now, to, inode);
    mim_sim_drop(&sim->now, from);
    return 0;
}

static int sim_remove(void *self, const char *path, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_REMOVE);
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "remove", path, reterr);
    }
    struct sim_entry *entry = mim_sim_find(&sim->now, path);
    if (entry == NULL) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "remove %s: no such file", path);
    }
    if (entry->inode->directory) {
        return mim_error_set(reterr, MIM_E_IO, "remove %s: is a directory", path);
    }
    struct sim_op op = {.kind = SIM_OP_UNLINK, .inode = entry->inode};
    mim_sim_path_copy(op.path, path);
    sim_op_push(sim, &op);
    mim_sim_drop(&sim->now, path);
    return 0;
}

static int sim_make_dir(void *self, const char *path, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_MAKE_DIR);
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "make directory", path, reterr);
    }
    if (!mim_sim_has_parent(&sim->now, path)) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "make directory %s: no such directory", path);
    }
    if (strcmp(path, ".") != 0 && mim_sim_find(&sim->now, path) == NULL) {
        struct sim_inode *inode = mim_sim_inode_new();
        inode->directory = true;
        sim_link(sim, path, inode);
    }
    return 0;
}

/** An operation that a sync of this directory makes durable: one on an entry of it, or its own creation. */
static bool sim_op_belongs(const struct sim_op *op, const char *path) {
    char parent[MIM_SIM_PATH_MAX];
    mim_sim_parent(op->path, parent);
    if (strcmp(parent, path) == 0 || strcmp(op->path, path) == 0) {
        return true;
    }
    mim_sim_parent(op->to, parent);
    return op->kind == SIM_OP_RENAME && strcmp(parent, path) == 0;
}

/** Makes the directory's operations durable, in order, and the directory itself; the others stay pending. */
static int sim_sync_dir(void *self, const char *path, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_SYNC_DIR);
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "sync directory", path, reterr);
    }
    if (!mim_sim_is_directory(&sim->now, path)) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "sync directory %s: no such directory", path);
    }
    size_t kept = 0;
    for (size_t i = 0; i < sim->op_count; i++) {
        if (sim_op_belongs(&sim->ops[i], path)) {
            mim_sim_op_apply(&sim->durable, &sim->ops[i]);
            mim_sim_inode_release(sim->ops[i].inode);
        } else {
            sim->ops[kept++] = sim->ops[i];
        }
    }
    sim->op_count = kept;
    return 0;
}

static int sim_list(void *self, const char *path, mim_list_fn *each, void *context, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_LIST);
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "list", path, reterr);
    }
    if (!mim_sim_is_directory(&sim->now, path)) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "list %s: no such directory", path);
    }
    size_t count = sim->now.count; /* the callee may remove and rename what it is told */
    struct sim_entry *entries = malloc((count + 1) * sizeof(*entries));
    MIM_ASSERT(entries != NULL);
    if (count > 0) {
        memcpy(entries, sim->now.items, count * sizeof(*entries));
    }
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        char parent[MIM_SIM_PATH_MAX];
        mim_sim_parent(entries[i].path, parent);
        if (strcmp(parent, path) == 0 && mim_sim_find(&sim->now, entries[i].path) != NULL) {
            const char *slash = strrchr(entries[i].path, '/');
            rc = each(context, slash == NULL ? entries[i].path : slash + 1, entries[i].inode->directory);
        }
    }
    free(entries);
    return rc;
}

static int sim_lock(void *self, const char *path, mim_file_t *ret_file, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    if (sim->locked && !sim->crashed) {
        return mim_error_set(reterr, MIM_E_LOCKED, "the directory is in use (%s)", path);
    }
    int rc = sim_open(self, path, MIM_OPEN_WRITE | MIM_OPEN_CREATE, ret_file, reterr);
    if (rc == 0) {
        sim->locked = true;
        sim->lock = *ret_file;
    }
    return rc;
}

static int sim_locked(void *self, const char *path, bool *ret_locked, struct mim_error *reterr) {
    const struct mim_storage_sim *sim = self;
    (void)path;
    if (sim->crashed) {
        return sim_stale(reterr);
    }
    *ret_locked = sim->locked;
    return 0;
}

static int sim_share(void *self, mim_file_t from, mim_file_t to, uint64_t offset, uint64_t size,
                     struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_SHARE);
    const struct sim_inode *source = sim_handle(sim, from);
    struct sim_inode *inode = sim_handle(sim, to);
    if (source == NULL || inode == NULL) {
        return sim_stale(reterr);
    }
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "share", "", reterr);
    }
    if (sim->no_sharing) {
        return mim_error_set(reterr, MIM_E_STATE, "share: not on this disk");
    }
    MIM_ASSERT(offset % 4096u == 0 && size % 4096u == 0 && offset + size <= source->now_size);
    if (inode->now_size < offset + size) {
        sim_resize(inode, offset + size);
    }
    memcpy(inode->now + offset, source->now + offset, size);
    sim_mark(inode, offset, offset + size);
    return 0;
}

static int sim_link_out(void *self, const char *path, struct mim_storage target, const char *to,
                        struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    if (target.self != self) {
        return mim_error_set(reterr, MIM_E_STATE, "link %s: the target is another disk", path);
    }
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_LINK);
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "link", path, reterr);
    }
    struct sim_entry *entry = mim_sim_find(&sim->now, path);
    if (entry == NULL || !mim_sim_has_parent(&sim->now, to)) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "link %s: no such file", path);
    }
    if (mim_sim_find(&sim->now, to) != NULL) {
        return mim_error_set(reterr, MIM_E_EXISTS, "link %s to %s: file exists", path, to);
    }
    sim_link(sim, to, entry->inode);
    return 0;
}

static void sim_advise(void *self, mim_file_t file, uint64_t offset, uint64_t size, enum mim_advice advice) {
    (void)self;
    (void)file;
    (void)offset;
    (void)size;
    (void)advice;
}

static const struct mim_storage_ops storage_sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pwrite = sim_pwrite,
    .sync = sim_sync,
    .size = sim_size,
    .truncate = sim_truncate,
    .preallocate = sim_preallocate,
    .rename = sim_rename,
    .remove = sim_remove,
    .make_dir = sim_make_dir,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .lock = sim_lock,
    .locked = sim_locked,
    .share = sim_share,
    .link = sim_link_out,
    .advise = sim_advise,
};

struct mim_storage mim_storage_sim_storage(struct mim_storage_sim *sim) {
    return (struct mim_storage){.ops = &storage_sim_ops, .self = sim};
}
