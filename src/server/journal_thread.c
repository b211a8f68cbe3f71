// SPDX-License-Identifier: MIT
// The journal thread and the preparer thread; see journal_thread.h.
#include "server/filter_keeper.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

#define PREPARER_PAUSE_NS 100000000u /* between attempts on a full disk */
#define JOURNAL_SLICE_NS  100000u

/** What sched_setattr(2) takes, of which the C library has no declaration yet. */
struct scheduling {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime; /* SCHED_OTHER: the slice in ns, 100,000 at least */
    uint64_t deadline;
    uint64_t period;
};
#define SCHEDULING_RESET_ON_FORK 1u

void mim_thread_hasten(uint64_t slice_ns) {
    struct scheduling wanted = {
        .size = sizeof(wanted),
        .policy = SCHED_OTHER,
        .flags = SCHEDULING_RESET_ON_FORK,
        .nice = getpriority(PRIO_PROCESS, 0), /* the calling thread's */
        .runtime = slice_ns,
    };
    if (sched_getscheduler(0) == SCHED_OTHER) { /* otherwise the operator has chosen */
        (void)syscall(SYS_sched_setattr, 0, &wanted, 0);
    }
}

static inline void cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns) {
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                               .tv_nsec = (long)(timeout_ns % 1000000000u)};
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout_ns == UINT64_MAX ? NULL : &timeout, NULL, 0);
}

/* A word is changed by exchanges only. They have one order: either the waker's comes later and sees the sleeper's 1, or
 * the sleeper's comes later and, acquiring, sees all that the waker had stored before. */

/** Wakes the sleeper behind a word, if it sleeps. */
static void sleeper_wake(_Atomic uint32_t *word) {
    if (atomic_exchange_explicit(word, 0, memory_order_acq_rel) != 0) {
        (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void sleeper_announce(_Atomic uint32_t *word) { (void)atomic_exchange_explicit(word, 1, memory_order_acq_rel); }

static void sleeper_up(_Atomic uint32_t *word) { (void)atomic_exchange_explicit(word, 0, memory_order_acq_rel); }

void mim_runners_wake_journal(struct mim_runners *runners) { sleeper_wake(&runners->journal_asleep); }

static void loop_notify(struct mim_runners *runners) {
    (void)atomic_fetch_add_explicit(&runners->progress, 1, memory_order_release);
    if (atomic_exchange_explicit(&runners->loop_asleep, 0, memory_order_acq_rel) != 0) {
        uint64_t one = 1;
        ssize_t written = write(runners->wake_fd, &one, sizeof(one));
        (void)written; /* the counter can only be full when a wake-up is pending */
    }
}

bool mim_runners_sleep(struct mim_runners *runners, uint32_t seen) {
    sleeper_announce(&runners->loop_asleep);
    if (atomic_load_explicit(&runners->progress, memory_order_acquire) == seen) {
        return true;
    }
    sleeper_up(&runners->loop_asleep);
    return false;
}

void mim_runners_awake(struct mim_runners *runners) { sleeper_up(&runners->loop_asleep); }

static void runner_failed(struct mim_runners *runners, int code, const struct mim_error *error) {
    int none = 0;
    /* the first failure wins: 1 claims `error`, the code published behind it is negative */
    if (atomic_compare_exchange_strong(&runners->failed, &none, 1)) {
        runners->error = *error;
        atomic_store_explicit(&runners->failed, code, memory_order_release);
    }
    loop_notify(runners);
}

static bool ring_is_empty(const struct mim_ring *ring) {
    return atomic_load_explicit(&ring->handoff_head, memory_order_acquire) ==
           atomic_load_explicit(&ring->handoff_tail, memory_order_relaxed);
}

/** Waits until the ring holds something, a sync is due, or the end. */
static void journal_rest(struct mim_runners *runners) {
    uint64_t now = runners->clock.monotonic_ns(runners->clock.context);
    uint64_t until = now + atomic_load_explicit(&runners->spin_ns, memory_order_relaxed);
    while (now < until) {
        if (!ring_is_empty(runners->ring)) {
            return;
        }
        cpu_relax();
        (void)sched_yield(); /* somebody may wait for this core */
        now = runners->clock.monotonic_ns(runners->clock.context);
    }
    uint64_t due = mim_writer_due_ns(runners->writer);
    if (due <= now) {
        return;
    }
    sleeper_announce(&runners->journal_asleep);
    if (ring_is_empty(runners->ring) && !atomic_load_explicit(&runners->stopping, memory_order_relaxed) &&
        atomic_load_explicit(&runners->failed, memory_order_relaxed) == 0) {
        futex_wait(&runners->journal_asleep, 1, due == UINT64_MAX ? UINT64_MAX : due - now);
    }
    sleeper_up(&runners->journal_asleep);
}

static void step_measure(struct mim_runners *runners, uint64_t begun_ns) {
    uint64_t took = runners->clock.monotonic_ns(runners->clock.context) - begun_ns;
    (void)atomic_fetch_add_explicit(&runners->steps, 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&runners->step_ns_total, took, memory_order_relaxed);
    if (took > atomic_load_explicit(&runners->step_ns_max, memory_order_relaxed)) {
        atomic_store_explicit(&runners->step_ns_max, took, memory_order_relaxed);
    }
}

static void preparer_look(struct mim_runners *runners) {
    if (atomic_load_explicit(&runners->ring->spare_state, memory_order_acquire) == MIM_SPARE_NEEDED) {
        sleeper_wake(&runners->preparer_asleep);
    }
}

static void *journal_run(void *context) {
    struct mim_runners *runners = context;
    struct mim_error error = {0};
    mim_thread_hasten(JOURNAL_SLICE_NS);
    for (;;) {
        uint64_t now = runners->clock.monotonic_ns(runners->clock.context);
        int handled = mim_writer_step(runners->writer, now, &error);
        if (handled < 0) {
            runner_failed(runners, handled, &error);
        }
        if (atomic_load_explicit(&runners->failed, memory_order_acquire) != 0) {
            return NULL;
        }
        preparer_look(runners);
        if (handled > 0) {
            loop_notify(runners);
            step_measure(runners, now);
        } else if (ring_is_empty(runners->ring)) {
            if (atomic_load_explicit(&runners->stopping, memory_order_acquire)) {
                return NULL;
            }
            journal_rest(runners);
        }
    }
}

static void preparer_rest(struct mim_runners *runners, uint64_t timeout_ns) {
    sleeper_announce(&runners->preparer_asleep);
    bool needed = atomic_load_explicit(&runners->ring->spare_state, memory_order_acquire) == MIM_SPARE_NEEDED;
    if (!needed && !atomic_load_explicit(&runners->stopping, memory_order_relaxed)) {
        futex_wait(&runners->preparer_asleep, 1, timeout_ns);
    }
    sleeper_up(&runners->preparer_asleep);
}

static void *preparer_run(void *context) {
    struct mim_runners *runners = context;
    struct mim_filter_keeper keeper = {0};
    while (!atomic_load_explicit(&runners->stopping, memory_order_acquire)) {
        struct mim_error error = {0};
        int before = atomic_load_explicit(&runners->ring->spare_state, memory_order_acquire);
        int rc = mim_preparer_step(runners->storage, runners->ring, runners->segment_size_max, &error);
        if (rc < 0 && rc != MIM_E_NO_SPACE) {
            runner_failed(runners, rc, &error);
            break;
        }
        if (rc > 0 || before != atomic_load_explicit(&runners->ring->spare_state, memory_order_acquire)) {
            loop_notify(runners);
        }
        if (rc > 0) {
            continue;
        }
        uint64_t pause = mim_filter_keeper_run(&keeper, runners);
        preparer_rest(runners, pause < PREPARER_PAUSE_NS || rc != MIM_E_NO_SPACE ? pause : PREPARER_PAUSE_NS);
    }
    mim_filter_keeper_close(&keeper);
    return NULL;
}

int mim_runners_start(struct mim_runners *runners, struct mim_error *reterr) {
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    MIM_ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0); /* signals belong to the loop's thread */
    int rc = pthread_create(&runners->journal, NULL, journal_run, runners);
    runners->journal_started = rc == 0;
    if (rc == 0) {
        (void)pthread_setname_np(runners->journal, "mim-journal");
        rc = pthread_create(&runners->preparer, NULL, preparer_run, runners);
        runners->preparer_started = rc == 0;
    }
    if (rc == 0) {
        (void)pthread_setname_np(runners->preparer, "mim-preparer");
    }
    MIM_ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return rc == 0 ? 0 : mim_error_os(reterr, MIM_E_MEMORY, rc, "starting the journal's threads");
}

int mim_runners_stop(struct mim_runners *runners, uint64_t timeout_ms) {
    atomic_store_explicit(&runners->stopping, true, memory_order_release);
    sleeper_wake(&runners->journal_asleep);
    sleeper_wake(&runners->preparer_asleep);
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until); /* pthread_timedjoin_np knows this clock only */
    until.tv_sec += (time_t)(timeout_ms / 1000u);
    until.tv_nsec += (long)(timeout_ms % 1000u) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    if (runners->journal_started && pthread_timedjoin_np(runners->journal, NULL, &until) != 0) {
        return MIM_E_STATE;
    }
    runners->journal_started = false;
    if (runners->preparer_started && pthread_timedjoin_np(runners->preparer, NULL, &until) != 0) {
        return MIM_E_STATE;
    }
    runners->preparer_started = false;
    return 0;
}
