// SPDX-License-Identifier: MIT
// Checking a snapshot's blocks at memory speed: the file is read by as many threads as are given, each a stripe of runs.
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"
#include "snapshot/snapshot.h"

#define MIM_VERIFY_RUN_SIZE    (1u << 20)
#define MIM_VERIFY_THREADS_MAX 16u

unsigned mim_snapshot_cores(void) {
    cpu_set_t cores;
    int count = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : 1;
    return count > (int)MIM_VERIFY_THREADS_MAX ? MIM_VERIFY_THREADS_MAX : (unsigned)count;
}

struct verifying {
    struct mim_storage storage;
    mim_file_t file;
    const struct mim_snapshot_header *header;
    const uint64_t *table;
    const _Atomic int *stop;
    _Atomic uint64_t next_run; /* shared by the stripes: relaxed, each run is taken once */
    _Atomic int result;        /* first failure; release on store, acquire by the joiner (and join itself) */
    struct mim_error error;    /* of the thread that set `result` */
};

static void verify_fail(struct verifying *v, const struct mim_error *error) {
    int none = 0;
    if (atomic_compare_exchange_strong_explicit(&v->result, &none, error->code, memory_order_acq_rel,
                                                memory_order_relaxed)) {
        v->error = *error;
    }
}

static int verify_run(struct verifying *v, uint64_t at, uint8_t *buffer, struct mim_error *reterr) {
    uint64_t left = v->header->image_size - at;
    size_t want = left < MIM_VERIFY_RUN_SIZE ? (size_t)left : MIM_VERIFY_RUN_SIZE;
    size_t got = 0;
    int rc = mim_file_pread(v->storage, v->file, buffer, want, MIM_SNAPSHOT_HEADER_SIZE + at, &got, reterr);
    if (rc != 0) {
        return rc;
    }
    if (got != want) {
        return mim_error_set(reterr, MIM_E_DAMAGED, "the file ends early at offset %llu",
                             (unsigned long long)(at + got));
    }
    for (size_t within = 0; within < want; within += MIM_SNAPSHOT_BLOCK_SIZE) {
        size_t size = want - within < MIM_SNAPSHOT_BLOCK_SIZE ? want - within : MIM_SNAPSHOT_BLOCK_SIZE;
        uint64_t number = (at + within) / MIM_SNAPSHOT_BLOCK_SIZE;
        if (mim_hash64(buffer + within, size, number) != v->table[number]) {
            return mim_error_set(reterr, MIM_E_DAMAGED, "block %llu (file offset %llu) is damaged",
                                 (unsigned long long)number,
                                 (unsigned long long)(MIM_SNAPSHOT_HEADER_SIZE + at + within));
        }
    }
    return 0;
}

static void *verify_stripe(void *context) {
    struct verifying *v = context;
    struct mim_error error = {0};
    uint8_t *buffer = malloc(MIM_VERIFY_RUN_SIZE);
    if (buffer == NULL) {
        (void)mim_error_set(&error, MIM_E_MEMORY, "no memory to verify a snapshot");
        verify_fail(v, &error);
        return NULL;
    }
    while (atomic_load_explicit(&v->result, memory_order_relaxed) == 0) {
        uint64_t at = atomic_fetch_add_explicit(&v->next_run, 1, memory_order_relaxed) * MIM_VERIFY_RUN_SIZE;
        if (at >= v->header->image_size) {
            break;
        }
        int rc = v->stop != NULL && atomic_load_explicit(v->stop, memory_order_relaxed) != 0
                     ? mim_error_set(&error, MIM_E_AGAIN, "stopped")
                     : verify_run(v, at, buffer, &error);
        if (rc != 0) {
            verify_fail(v, &error);
        }
    }
    free(buffer);
    return NULL;
}

static int verify_table(struct verifying *v, uint64_t *table, struct mim_error *reterr) {
    size_t want = (size_t)v->header->block_count * sizeof(uint64_t);
    size_t got = 0;
    int rc = mim_file_pread(v->storage, v->file, table, want, v->header->table_offset, &got, reterr);
    if (rc == 0 && (got != want || mim_hash64(table, want, v->header->block_count) != v->header->table_check)) {
        rc = mim_error_set(reterr, MIM_E_DAMAGED, "its table of checksums is damaged");
    }
    return rc;
}

static void verify_blocks(struct verifying *v, unsigned threads) {
    pthread_t helpers[MIM_VERIFY_THREADS_MAX];
    unsigned started = 0;
    while (started + 1 < threads && started < MIM_VERIFY_THREADS_MAX &&
           pthread_create(&helpers[started], NULL, verify_stripe, v) == 0) {
        started++;
    }
    (void)verify_stripe(v); /* this thread takes its share, and all of it where no other could be started */
    for (unsigned i = 0; i < started; i++) {
        (void)pthread_join(helpers[i], NULL);
    }
}

int mim_snapshot_verify(struct mim_storage storage, const struct mim_snapshot_header *header, unsigned threads,
                        const _Atomic int *stop, struct mim_error *reterr) {
    char path[MIM_SNAPSHOT_PATH_SIZE];
    mim_snapshot_path(header->position, path);
    struct verifying v = {.storage = storage, .header = header, .stop = stop};
    uint64_t *table = malloc((size_t)header->block_count * sizeof(uint64_t));
    if (table == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory to verify a snapshot");
    }
    int rc = mim_file_open(storage, path, MIM_OPEN_READ, &v.file, reterr);
    if (rc == 0) {
        rc = verify_table(&v, table, reterr);
    }
    if (rc == 0) {
        v.table = table;
        verify_blocks(&v, threads);
        rc = atomic_load_explicit(&v.result, memory_order_acquire);
        if (rc != 0) {
            *reterr = v.error;
        }
    }
    mim_file_close(storage, v.file);
    free(table);
    return rc == 0 ? 0 : mim_error_prefix(reterr, "%s", path);
}
