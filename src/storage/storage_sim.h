// SPDX-License-Identifier: MIT
// The simulated disk: a whole storage in memory, driven by one seed. Keeps for every file the durable bytes and
// the pending writes in 512-byte sectors, for every directory the durable and the pending entries. No threads.
// After a failed sync the pages are clean and the durable bytes do not have them: reads show what was written, the
// next sync succeeds, a crash loses it. preallocate is durable when it returns; sync_dir of a new directory makes its
// own entry durable too, as the usual file systems do. It renames and removes files only, not directories.
#ifndef MIM_STORAGE_STORAGE_SIM_H
#define MIM_STORAGE_STORAGE_SIM_H

#include "base/prng.h"
#include "storage/storage.h"

struct mim_storage_sim; /* opaque; mim_storage_sim_new / _free */

enum mim_sim_call { /* for fault plans and counters */
                    MIM_SIM_OPEN,
                    MIM_SIM_PREAD,
                    MIM_SIM_PWRITE,
                    MIM_SIM_SYNC,
                    MIM_SIM_TRUNCATE,
                    MIM_SIM_PREALLOCATE,
                    MIM_SIM_RENAME,
                    MIM_SIM_REMOVE,
                    MIM_SIM_SYNC_DIR,
                    MIM_SIM_MAKE_DIR,
                    MIM_SIM_LIST,
                    MIM_SIM_LINK,
                    MIM_SIM_SHARE,
                    MIM_SIM_CALL_COUNT,
};

enum mim_sim_fault {
    MIM_SIM_FAULT_NONE,
    MIM_SIM_FAULT_EIO,
    MIM_SIM_FAULT_ENOSPC,
    MIM_SIM_FAULT_CRASH, /* this and every later call fails with IO until mim_storage_sim_crash() */
};

/** How pending sectors fare in a crash, in 1/1000 each; the rest is kept. */
struct mim_sim_crash_odds {
    unsigned drop_per_mille;
    unsigned zero_per_mille;
    unsigned garble_per_mille;
    unsigned entry_drop_per_mille; /* pending directory operations (create, rename, remove, size) */
};

struct mim_storage_sim *mim_storage_sim_new(uint64_t seed);
struct mim_storage_sim *mim_storage_sim_free(struct mim_storage_sim *sim);

/** The storage over this disk. Valid as long as the disk. */
struct mim_storage mim_storage_sim_storage(struct mim_storage_sim *sim);

/** The n-th call from now (1 = the next, counted over all kinds, or of one kind) fails so; `forever`: and all after it. */
void mim_storage_sim_fail_nth(struct mim_storage_sim *sim, uint64_t nth, enum mim_sim_fault fault, bool forever);
void mim_storage_sim_fail_nth_of(struct mim_storage_sim *sim, enum mim_sim_call call, uint64_t nth,
                                 enum mim_sim_fault fault, bool forever);
void mim_storage_sim_clear_faults(struct mim_storage_sim *sim);

/** Calls made so far, all kinds or one. */
uint64_t mim_storage_sim_calls(const struct mim_storage_sim *sim);
uint64_t mim_storage_sim_calls_of(const struct mim_storage_sim *sim, enum mim_sim_call call);

/** Whether blocks can be shared between files (default: yes). */
void mim_storage_sim_set_sharing(struct mim_storage_sim *sim, bool sharing);

/** Bytes the disk can hold; writes beyond fail with NO_SPACE. Default: without limit. */
void mim_storage_sim_set_capacity(struct mim_storage_sim *sim, uint64_t bytes);
uint64_t mim_storage_sim_used(const struct mim_storage_sim *sim);

/** Power cut: handles become invalid, locks are gone, fault plans end, pending sectors and directory operations fare by
 *  the odds, each for itself. In a sector only bytes that a pending write changed fare so: its durable ones stay. */
void mim_storage_sim_crash(struct mim_storage_sim *sim, struct mim_sim_crash_odds odds);

/** True after a planned CRASH has struck, until mim_storage_sim_crash(). */
bool mim_storage_sim_crashed(const struct mim_storage_sim *sim);

/** Process crash (kill -9): handles and locks are gone, everything written stays. */
void mim_storage_sim_kill(struct mim_storage_sim *sim);

/** At-rest damage and inspection, by path, without counting as a call. */
bool mim_storage_sim_flip_bit(struct mim_storage_sim *sim, const char *path, uint64_t bit);
bool mim_storage_sim_truncate(struct mim_storage_sim *sim, const char *path, uint64_t size);
/** Borrowed view of a file's current bytes until the next call; NULL when it does not exist. */
const uint8_t *mim_storage_sim_bytes(const struct mim_storage_sim *sim, const char *path, uint64_t *ret_size);
/** XXH3 over all names and bytes: two disks with the same hash hold the same. */
uint64_t mim_storage_sim_hash(const struct mim_storage_sim *sim);
/** A copy of the whole disk as processes see it, all of it durable (no handles, no faults, nothing pending). */
struct mim_storage_sim *mim_storage_sim_clone(const struct mim_storage_sim *sim, uint64_t seed);

#endif
