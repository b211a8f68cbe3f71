// SPDX-License-Identifier: MIT
/**
 * memimage/memimage.h — the engine in your own process: the journal, the image and your model, without sockets and
 * without threads. The same directory can later be served by `memimage serve`, and the other way round.
 *
 * A handle is used from one thread at a time. Every call returns 0 or a negative code (memimage_code_name); the
 * sentence for people is in memimage_error(). Strings that are returned are owned by the handle and valid until the
 * next call on it. After a storage error the handle only answers memimage_get and memimage_query: what was not durable is
 * not known to have happened; close it, open it again and send it again with the same key.
 *
 *     struct memimage *m;
 *     memimage_open(&(struct memimage_options){.dir = "data", .model = &my_model}, &m, error, sizeof(error));
 *     memimage_do(m, &(struct memimage_command){.aggregate = "account/a-1", .command = "Deposit",
 *                                               .data = "{\"amount\":100}", .key = "k-1"}, &answer);
 *     puts(memimage_get(m, "account/a-1"));
 *     memimage_close(m);
 */
#ifndef MEMIMAGE_MEMIMAGE_H
#define MEMIMAGE_MEMIMAGE_H

#include <memimage/model.h>

#ifdef __cplusplus
extern "C" {
#endif

struct memimage;

struct memimage_options {
    const char *dir;               /* made when missing (mode 0700); locked while open */
    const struct mim_model *model; /* static */
    const char *model_name;        /* or the name of a built-in model ("ledger") */
    uint64_t memory_limit;         /* bytes of image; 0: none */
    uint32_t idempotency_window;   /* keys remembered; 0: 1,000,000 */
    bool deferred;                 /* memimage_do returns before it is durable; memimage_flush makes it so */
};

struct memimage_command {
    const char *aggregate; /* "account/a-1" */
    const char *command;   /* "Deposit" */
    const char *data;      /* fields as a JSON object; NULL: {} */
    const char *key;       /* idempotency key; NULL: none; likewise the next three */
    const char *correlation;
    const char *causation;
    const char *actor;
    int64_t expected_version; /* -1: any; 0: must not exist */
};

struct memimage_answer {
    uint64_t version;  /* of the aggregate after the command */
    uint64_t position; /* of the transaction's last event */
};

/** Locks the directory, rebuilds the image from the journal and begins a new epoch. error: a sentence on failure
 *  (may be NULL). Codes: LOCKED, DAMAGED, MODEL, IO, NO_SPACE, MEMORY, USAGE. */
MIM_PUBLIC int memimage_open(const struct memimage_options *options, struct memimage **ret_memimage, char *error,
                             size_t error_size);
/** Makes everything durable, seals the journal, closes. NULL is fine. Returns 0, or IO when the last flush failed. */
MIM_PUBLIC int memimage_close(struct memimage *m);

/** One command. Without `deferred` it is durable when this returns 0. INVALID: malformed, unknown, rejected, conflicting:
 *  nothing happened and memimage_error() begins with ERR, BADARG, CONFLICT or REJECTED as on the wire. NO_SPACE: the
 *  disk is full. IO: final. */
MIM_PUBLIC int memimage_do(struct memimage *m, const struct memimage_command *command,
                           struct memimage_answer *ret_answer);
/** Makes all commands so far durable (one sync). */
MIM_PUBLIC int memimage_flush(struct memimage *m);

/** The state as JSON; NULL when the aggregate does not exist or the name is malformed (memimage_error says which). */
MIM_PUBLIC const char *memimage_get(struct memimage *m, const char *aggregate);
/** A query's JSON; NULL on failure. */
MIM_PUBLIC const char *memimage_query(struct memimage *m, const char *type, const char *name,
                                      const char *const *arguments, size_t count);
/** Position of the last event, and the canonical digest of the state there. */
MIM_PUBLIC uint64_t memimage_position(const struct memimage *m);
MIM_PUBLIC uint64_t memimage_digest(const struct memimage *m);
/** The last failure's sentence ("" when there was none), and a code's name. */
MIM_PUBLIC const char *memimage_error(const struct memimage *m);
MIM_PUBLIC const char *memimage_code_name(int code);

#ifdef __cplusplus
}
#endif

#endif
