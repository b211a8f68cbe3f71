// SPDX-License-Identifier: MIT
// The simulated disk's calls: what a storage does when all is well, and where faults come in.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "storage/storage_sim_internal.h"

static struct sim_inode *sim_handle(struct mim_storage_sim *sim, mim_file_t file) {
    return file > 0 && (size_t)file <= sim->handle_count ? sim->handles[file - 1] : NULL;
}

static mim_file_t sim_handle_new(struct mim_storage_sim *sim, struct sim_inode *inode) {
    sim->handles = realloc(sim->handles, (sim->handle_count + 1) * sizeof(*sim->handles));
    MIM_ASSERT(sim->handles != NULL);
    sim->handles[sim->handle_count++] = inode;
    inode->links++;
    return (mim_file_t)sim->handle_count;
}

static int sim_stale(struct mim_error *reterr) {
    return mim_error_set(reterr, MIM_E_IO, "the file handle is from before a crash");
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
    (void)snprintf(op.path, sizeof(op.path), "%s", path);
    sim_op_push(sim, &op);
}

/** The directory part of a path; "." at the root. */
static void sim_parent(const char *path, char ret_parent[MIM_SIM_PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        (void)snprintf(ret_parent, MIM_SIM_PATH_MAX, ".");
    } else {
        (void)snprintf(ret_parent, MIM_SIM_PATH_MAX, "%.*s", (int)(slash - path), path);
    }
}

static bool sim_parent_exists(const struct mim_storage_sim *sim, const char *path) {
    char parent[MIM_SIM_PATH_MAX];
    sim_parent(path, parent);
    return strcmp(parent, ".") == 0 || mim_sim_find(&sim->now, parent) != NULL;
}

static int sim_open(void *self, const char *path, unsigned flags, mim_file_t *ret_file, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_OPEN);
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "open", path, reterr);
    }
    struct sim_entry *entry = mim_sim_find(&sim->now, path);
    if (entry == NULL && ((flags & MIM_OPEN_CREATE) == 0 || !sim_parent_exists(sim, path))) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "open %s: no such file", path);
    }
    if (entry != NULL && (flags & MIM_OPEN_CREATE) != 0 && (flags & MIM_OPEN_EXCLUSIVE) != 0) {
        return mim_error_set(reterr, MIM_E_EXISTS, "open %s: file exists", path);
    }
    struct sim_inode *inode = entry != NULL ? entry->inode : mim_sim_inode_new();
    if (entry == NULL) {
        sim_link(sim, path, inode);
    } else if ((flags & MIM_OPEN_TRUNCATE) != 0 && inode->now_size > 0) {
        memset(inode->now, 0, inode->now_size);
        memset(inode->dirty, 1, inode->now_size / MIM_SIM_SECTOR + (inode->now_size % MIM_SIM_SECTOR != 0));
        inode->now_size = 0;
        inode->allocated = 0;
        inode->size_pending = true;
    }
    *ret_file = sim_handle_new(sim, inode);
    return 0;
}

static void sim_close(void *self, mim_file_t file) {
    struct mim_storage_sim *sim = self;
    struct sim_inode *inode = sim_handle(sim, file);
    if (inode != NULL) {
        sim->handles[file - 1] = NULL;
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

/** Puts bytes in, pending. */
static void sim_write(struct sim_inode *inode, const uint8_t *data, uint64_t size, uint64_t offset) {
    uint64_t end = offset + size;
    if (size == 0) {
        return;
    }
    mim_sim_grow(&inode->now, &inode->now_capacity, end);
    mim_sim_grow(&inode->dirty, &inode->dirty_capacity, end / MIM_SIM_SECTOR + 1);
    memcpy(inode->now + offset, data, size);
    memset(inode->dirty + offset / MIM_SIM_SECTOR, 1, (end - 1) / MIM_SIM_SECTOR - offset / MIM_SIM_SECTOR + 1);
    if (end > inode->now_size) {
        inode->now_size = end;
        inode->size_pending = true;
    }
    inode->allocated = end > inode->allocated ? end : inode->allocated;
}

static uint64_t sim_room(const struct mim_storage_sim *sim, const struct sim_inode *inode, uint64_t end) {
    uint64_t more = end > inode->allocated ? end - inode->allocated : 0;
    uint64_t used = mim_storage_sim_used(sim);
    uint64_t left = used < sim->capacity ? sim->capacity - used : 0;
    return more <= left ? UINT64_MAX : left;
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
    if (sim_room(sim, inode, offset + size) != UINT64_MAX) {
        return mim_error_set(reterr, MIM_E_NO_SPACE, "write: no space left on device");
    }
    sim_write(inode, data, size, offset);
    return 0;
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
}

static void sim_make_clean(struct sim_inode *inode) {
    if (inode->dirty_capacity > 0) {
        memset(inode->dirty, 0, inode->dirty_capacity);
    }
    inode->size_pending = false;
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
        }
        return mim_sim_fail(sim, fault, "sync", "", reterr);
    }
    sim_make_durable(inode);
    sim_make_clean(inode);
    return 0;
}

static int sim_size(void *self, mim_file_t file, uint64_t *ret_size, struct mim_error *reterr) {
    struct sim_inode *inode = sim_handle(self, file);
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
    mim_sim_grow(&inode->now, &inode->now_capacity, size);
    mim_sim_grow(&inode->dirty, &inode->dirty_capacity, size / MIM_SIM_SECTOR + 1);
    if (size < inode->now_size) {
        memset(inode->now + size, 0, inode->now_size - size);
        inode->allocated = inode->allocated > size ? size : inode->allocated;
        inode->dirty[size / MIM_SIM_SECTOR] = 1;
    }
    inode->now_size = size;
    inode->size_pending = true;
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
    if (sim_room(sim, inode, size) != UINT64_MAX) {
        return mim_error_set(reterr, MIM_E_NO_SPACE, "preallocate %llu bytes: no space left on device",
                             (unsigned long long)size);
    }
    uint8_t *zeros = calloc(1, size);
    MIM_ASSERT(zeros != NULL);
    sim_write(inode, zeros, size, 0);
    free(zeros);
    sim_make_durable(inode);
    sim_make_clean(inode);
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
    struct sim_inode *inode = entry->inode;
    struct sim_op op = {.kind = SIM_OP_RENAME, .inode = inode};
    (void)snprintf(op.path, sizeof(op.path), "%s", from);
    (void)snprintf(op.to, sizeof(op.to), "%s", to);
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
    struct sim_op op = {.kind = SIM_OP_UNLINK, .inode = entry->inode};
    (void)snprintf(op.path, sizeof(op.path), "%s", path);
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
    if (mim_sim_find(&sim->now, path) == NULL) {
        struct sim_inode *inode = mim_sim_inode_new();
        inode->directory = true;
        sim_link(sim, path, inode);
    }
    return 0;
}

static void sim_op_apply(struct sim_entries *entries, const struct sim_op *op) {
    switch (op->kind) {
    case SIM_OP_LINK:
        mim_sim_put(entries, op->path, op->inode);
        break;
    case SIM_OP_UNLINK:
        mim_sim_drop(entries, op->path);
        break;
    case SIM_OP_RENAME:
        mim_sim_put(entries, op->to, op->inode);
        mim_sim_drop(entries, op->path);
        break;
    }
}

/** Makes the directory's operations durable, in order, and the directory itself; the others stay pending. */
static int sim_sync_dir(void *self, const char *path, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    enum mim_sim_fault fault = mim_sim_meet(sim, MIM_SIM_SYNC_DIR);
    if (fault != MIM_SIM_FAULT_NONE) {
        return mim_sim_fail(sim, fault, "sync directory", path, reterr);
    }
    size_t kept = 0;
    for (size_t i = 0; i < sim->op_count; i++) {
        char parent[MIM_SIM_PATH_MAX];
        sim_parent(sim->ops[i].path, parent);
        if (strcmp(parent, path) == 0 || strcmp(sim->ops[i].path, path) == 0) {
            sim_op_apply(&sim->durable, &sim->ops[i]);
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
    if (strcmp(path, ".") != 0 && mim_sim_find(&sim->now, path) == NULL) {
        return mim_error_set(reterr, MIM_E_NOT_FOUND, "list %s: no such directory", path);
    }
    for (size_t i = 0; i < sim->now.count; i++) {
        const struct sim_entry *entry = &sim->now.items[i];
        char parent[MIM_SIM_PATH_MAX];
        sim_parent(entry->path, parent);
        if (strcmp(parent, path) != 0) {
            continue;
        }
        const char *slash = strrchr(entry->path, '/');
        int rc = each(context, slash == NULL ? entry->path : slash + 1, entry->inode->directory);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int sim_lock(void *self, const char *path, mim_file_t *ret_file, struct mim_error *reterr) {
    struct mim_storage_sim *sim = self;
    if (sim->locked) {
        return mim_error_set(reterr, MIM_E_LOCKED, "the directory is in use");
    }
    int rc = sim_open(self, path, MIM_OPEN_WRITE | MIM_OPEN_CREATE, ret_file, reterr);
    if (rc == 0) {
        sim->locked = true;
        sim->lock = *ret_file;
    }
    return rc;
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
};

struct mim_storage mim_storage_sim_storage(struct mim_storage_sim *sim) {
    return (struct mim_storage){.ops = &storage_sim_ops, .self = sim};
}
