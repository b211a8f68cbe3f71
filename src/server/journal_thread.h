// SPDX-License-Identifier: MIT
// The two runner threads behind the engine: one drives mim_writer_step, one mim_preparer_step. They own no state of the
// engine; what they share with it is the ring and the words below.
//
// Sleeping without lost wake-ups: who goes to sleep exchanges its word for 1, then looks once more; who hands something
// over stores that, then exchanges the word for 0 and wakes if it was 1. Whichever exchange is later sees the other side.
// A thread that is awake is never signalled, so a busy server makes no system call for it.
#ifndef MIM_SERVER_JOURNAL_THREAD_H
#define MIM_SERVER_JOURNAL_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/clock.h"
#include "journal/writer.h"

struct mim_runners {
    struct mim_ring *ring; /* borrowed, with the next two, until stop */
    struct mim_writer *writer;
    struct mim_storage storage;
    struct mim_clock clock;
    uint64_t segment_size_max;
    _Atomic uint64_t spin_ns; /* the journal thread looks at the ring for this long before it sleeps */
    int wake_fd;              /* eventfd: written when the loop sleeps and something moved */
    bool journal_started, preparer_started;
    pthread_t journal, preparer;
    _Alignas(64) _Atomic uint32_t journal_asleep; /* futex; journal: 1 before sleeping; engine: 0 and wake */
    _Atomic uint32_t preparer_asleep;             /* futex; the same with the journal thread and the engine */
    _Alignas(64) _Atomic uint32_t loop_asleep;    /* loop: 1 before polling; runners: 0 and write wake_fd */
    _Atomic uint32_t progress;                    /* runners: +1 after every step that did something */
    _Atomic bool stopping;
    _Atomic uint64_t steps, step_ns_total,
        step_ns_max;                                /* steps that wrote and synced; journal: relaxed; INFO: relaxed */
    _Atomic uint64_t filters_built, filters_failed; /* by the preparer: filter_keeper.h */
    _Atomic int failed;                             /* negative: a MIM_E_ code, stored after `error`; final */
    struct mim_error error;                         /* read it after `failed` */
};

/** Starts both threads. The caller has filled in the first six members and wake_fd, the rest is zero. MEMORY. */
MIM_CHECKED int mim_runners_start(struct mim_runners *runners, struct mim_error *reterr);

/** Lets the journal thread finish what the ring holds, ends both threads. Returns 0, or STATE when a thread did not
 *  end within `timeout_ms` (a disk that hangs): then nothing of it may be freed. */
MIM_CHECKED int mim_runners_stop(struct mim_runners *runners, uint64_t timeout_ms);

/** Asks the scheduler to give the calling thread short slices: one that does little at a time then comes soon when it
 *  wakes, also where others use all the cores. Linux 6.12 and later know that of ordinary threads; otherwise nothing
 *  happens. Threads and processes it makes have the usual slices. */
void mim_thread_hasten(uint64_t slice_ns);

/** Engine thread, after frames were sealed: wakes the journal thread if it sleeps. */
void mim_runners_wake_journal(struct mim_runners *runners);

/** Loop: true when it may sleep: nothing has moved since `seen`. Then it must poll, and call mim_runners_awake after. */
bool mim_runners_sleep(struct mim_runners *runners, uint32_t seen);
void mim_runners_awake(struct mim_runners *runners);

#endif
