// SPDX-License-Identifier: MIT
// Inside the simulated disk: inodes, directory entries, handles; shared by its calls (storage_sim.c) and its faults
// (storage_sim_fault.c).
#ifndef MIM_STORAGE_STORAGE_SIM_INTERNAL_H
#define MIM_STORAGE_STORAGE_SIM_INTERNAL_H

#include "storage/storage_sim.h"

#define MIM_SIM_SECTOR   512u
#define MIM_SIM_PATH_MAX 128u
#define MIM_SIM_HANDLES  ((mim_file_t)1 << 32) /* before the first handle: beyond all that have a POSIX descriptor */

/** A file's bytes: as processes see them, and as a power cut would leave them. */
struct sim_inode {
    uint8_t *now;
    uint64_t now_size;
    uint64_t now_capacity;
    uint8_t *durable;
    uint64_t durable_size;
    uint64_t durable_capacity;
    uint8_t *dirty; /* a byte per sector: pending since the last sync */
    uint64_t dirty_capacity;
    uint64_t allocated; /* bytes that count against the disk's capacity */
    bool directory;
    bool size_pending;
    uint32_t links; /* entries now, durable and pending, and open handles */
};

struct sim_entry {
    char path[MIM_SIM_PATH_MAX];
    uint64_t hash; /* of the path */
    struct sim_inode *inode;
};

struct sim_entries {
    struct sim_entry *items;
    size_t count;
    size_t capacity;
};

enum sim_op_kind { SIM_OP_LINK, SIM_OP_UNLINK, SIM_OP_RENAME };

/** A directory operation that no sync_dir has made durable yet. */
struct sim_op {
    enum sim_op_kind kind;
    char path[MIM_SIM_PATH_MAX];
    char to[MIM_SIM_PATH_MAX];
    struct sim_inode *inode;
};

struct sim_plan {
    uint64_t countdown; /* 0: none */
    enum mim_sim_fault fault;
    bool forever;
    bool active; /* a `forever` fault has begun */
};

struct mim_storage_sim {
    struct mim_prng prng;
    struct sim_entries now;
    struct sim_entries durable;
    struct sim_op *ops;
    size_t op_count;
    size_t op_capacity;
    struct sim_inode **handles; /* by handle - MIM_SIM_HANDLES - 1; NULL: closed */
    size_t handle_count;
    size_t handle_capacity;
    struct sim_plan any;
    struct sim_plan of[MIM_SIM_CALL_COUNT];
    uint64_t calls;
    uint64_t calls_of[MIM_SIM_CALL_COUNT];
    uint64_t capacity;
    bool crashed;
    bool no_sharing;
    bool locked;
    mim_file_t lock;
};

/** Counts a call and says which fault it meets. */
enum mim_sim_fault mim_sim_meet(struct mim_storage_sim *sim, enum mim_sim_call call);
/** Turns a fault into an error. */
int mim_sim_fail(struct mim_storage_sim *sim, enum mim_sim_fault fault, const char *what, const char *path,
                 struct mim_error *reterr);

struct sim_entry *mim_sim_find(const struct sim_entries *entries, const char *path);
void mim_sim_put(struct sim_entries *entries, const char *path, struct sim_inode *inode);
void mim_sim_drop(struct sim_entries *entries, const char *path);
struct sim_inode *mim_sim_inode_new(void);
void mim_sim_inode_release(struct sim_inode *inode);
/** Copies a path; one that does not fit is a broken test. */
void mim_sim_path_copy(char ret_path[MIM_SIM_PATH_MAX], const char *path);
/** The directory part of a path; "." at the root. */
void mim_sim_parent(const char *path, char ret_parent[MIM_SIM_PATH_MAX]);
bool mim_sim_is_directory(const struct sim_entries *entries, const char *path);
bool mim_sim_has_parent(const struct sim_entries *entries, const char *path);
void mim_sim_op_apply(struct sim_entries *entries, const struct sim_op *op);
/** Grows a byte array to hold `size` bytes, new ones zero. */
void mim_sim_grow(uint8_t **bytes, uint64_t *capacity, uint64_t size);
void mim_sim_close_all(struct mim_storage_sim *sim);

#endif
