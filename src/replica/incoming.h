// SPDX-License-Identifier: MIT
// A new standby's first copy: snapshot and segments of the primary, pulled piece by piece into incoming/, then put in
// the place of whatever journal was there. Resumable: pieces are appended in order, so a file's size tells what is
// there, as long as the source is the same run of the same primary. Nothing is believed yet: recovery checks every
// frame and block before a byte of it is served.
//
//   incoming/source       which primary, which run: anything else begins anew
//   incoming/journal/...  incoming/snapshots/...
//   incoming/complete     all is there and durable: install, also after a crash; says how the last file goes on
#ifndef MIM_REPLICA_INCOMING_H
#define MIM_REPLICA_INCOMING_H

#include "base/bytes.h"
#include "storage/storage.h"

#define MIM_INCOMING_PATH_SIZE  64u
#define MIM_INCOMING_PIECE      (256u << 10) /* bytes asked for at once */
#define MIM_INCOMING_WINDOW     16u          /* pieces asked for and not there yet */
#define MIM_INCOMING_FILES_MAX  100000u
#define MIM_INCOMING_SOURCE_MAX 128u

struct mim_incoming_file {
    char path[MIM_INCOMING_PATH_SIZE]; /* "journal/NNN.journal" or "snapshots/NNN.snapshot" */
    uint64_t size;                     /* bytes to copy */
    uint64_t allocated;                /* a last segment goes on behind them: zero-filled up to here */
};

struct mim_incoming {
    struct mim_storage storage;
    struct mim_incoming_file *files;
    size_t count, capacity;
    size_t ask_file; /* the next piece to ask for */
    uint64_t ask_offset;
    size_t put_file; /* where the next piece goes */
    uint64_t put_offset;
    mim_file_t file;
    unsigned asked; /* pieces on their way */
    uint64_t bytes_total, bytes_done, bytes_resumed;
};

/** True for the two kinds of names that may be copied. */
bool mim_incoming_path_valid(struct mim_slice path);

/** Prepares incoming/; what another source left there is thrown away. IO, NO_SPACE. */
MIM_CHECKED int mim_incoming_begin(struct mim_incoming *incoming, struct mim_storage storage, const char *source,
                                   struct mim_error *reterr);
/** Closes and frees; the files stay for the next try. */
void mim_incoming_end(struct mim_incoming *incoming);
/** Takes "path size allocated" in. INVALID for anything else. */
MIM_CHECKED int mim_incoming_add(struct mim_incoming *incoming, struct mim_slice entry, struct mim_error *reterr);
/** Looks at what is there already. To be called once, after the last add. */
MIM_CHECKED int mim_incoming_start(struct mim_incoming *incoming, struct mim_error *reterr);
/** The next piece to ask for; false: the window is full, or all is asked for. */
bool mim_incoming_ask(struct mim_incoming *incoming, const char **ret_path, uint64_t *ret_offset, uint32_t *ret_size);
/** A piece has come, in the order of asking. INVALID when it is not of the size asked for; IO, NO_SPACE. */
MIM_CHECKED int mim_incoming_put(struct mim_incoming *incoming, struct mim_slice piece, struct mim_error *reterr);
bool mim_incoming_complete(const struct mim_incoming *incoming);
/** Makes all of it durable and says so in incoming/complete. */
MIM_CHECKED int mim_incoming_finish(struct mim_incoming *incoming, struct mim_error *reterr);

/** Puts a complete copy in the place of journal/ and snapshots/; *ret_installed false: there was none. To be called
 *  with the journal closed; a crash anywhere inside is mended by calling it again. */
MIM_CHECKED int mim_incoming_install(struct mim_storage storage, bool *ret_installed, struct mim_error *reterr);

/** Removes the files of a directory (no directories in it); a missing one is fine. */
MIM_CHECKED int mim_replica_clear_dir(struct mim_storage storage, const char *path, struct mim_error *reterr);

#endif
