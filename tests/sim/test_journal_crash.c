// SPDX-License-Identifier: MIT
// The journal under crashes: one seed gives workload, schedule of writer and preparer, faults, and how the machine
// dies. After every death recovery must find what was promised and nothing else. Two ways through: thousands of random
// seeds, and sweeps over every storage call of one life. Canaries with disks that lie prove that the checker sees.
//
// Replay: test-journal-crash --seed S --seeds 1
#include <string.h>

#include "../unit/journal/writer_support.h"
#include "base/hash.h"

#define EVENTS_MAX 20000u
#define FRAMES_MAX 20000u
#define SWEEP_SEED 77u

/** A frame as it was handed to the writer. */
struct known {
    mim_lsn_t lsn;
    uint32_t size;
    uint32_t events;
    mim_position_t first_position;
    mim_epoch_t epoch;
    uint64_t payload; /* hash of what stands behind the header */
    uint64_t whole;   /* hash of the whole frame, once the writer has finished it; 0: not known */
};

enum death { DEATH_ANY, DEATH_KILL, DEATH_POWER };

/** What a run is to meet, beside its seed. */
struct plan {
    uint64_t seed;
    uint64_t nth; /* of the first life: fails this storage call (0: as the seed says) ... */
    int call;     /* ... of this kind, MIM_SIM_CALL_COUNT: of any */
    enum mim_sim_fault fault;
    enum death death;    /* of the first life */
    uint64_t nested_nth; /* the recovery after it fails at this call */
    bool lie_sync;       /* canaries: the disk syncs nothing ... */
    bool lie_dir;        /* ... or no directory */
};

struct world {
    struct drive d;
    struct plan plan;
    struct mim_prng prng;
    struct mim_storage_sim *sim;
    struct mim_storage honest;
    struct mim_storage_ops lying; /* the ops in use */
    /* what was appended */
    struct known *frames;
    size_t frame_count;
    size_t stepped;    /* frames that the writer took */
    uint64_t *serials; /* by position - 1 */
    uint64_t next_serial;
    uint64_t handoffs_seen;
    /* what must be found */
    mim_lsn_t floor;       /* after a process crash */
    mim_lsn_t floor_power; /* after a power cut */
    uint64_t unsynced_ns;  /* INTERVAL: when the oldest unsynced write was made; UINT64_MAX: none */
    bool planned_met;
    unsigned lives;
    uint64_t calls_first_life;
    char wrong[640]; /* the first broken promise */
};

static unsigned total_torn, total_rolled, total_rolls, total_deaths, total_failed_steps, total_full;

static bool complain(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool complain(struct world *w, const char *format, ...) {
    if (w->wrong[0] == 0) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(w->wrong, sizeof(w->wrong), format, args);
        va_end(args);
    }
    return false;
}

/* ------------------------------------------------------------ the model */

/** Takes the frames handed over since the last time into the record of what was appended. */
static void note_handoffs(struct world *w) {
    struct mim_ring *ring = &w->d.ring;
    for (uint64_t head = atomic_load(&ring->handoff_head); w->handoffs_seen != head; w->handoffs_seen++) {
        const struct mim_handoff *handoff = &ring->handoffs[w->handoffs_seen % MIM_RING_HANDOFFS];
        if (handoff->kind == MIM_HANDOFF_ROLL) {
            total_rolls++;
            continue;
        }
        const uint8_t *frame = ring->bytes + handoff->ring_offset % MIM_RING_SIZE;
        assert_true(w->frame_count < FRAMES_MAX);
        w->frames[w->frame_count++] = (struct known){
            .lsn = handoff->lsn,
            .size = handoff->size,
            .events = mim_get32(frame + 12),
            .first_position = mim_get64(frame + 16),
            .epoch = mim_get32(frame + 40),
            .payload = mim_hash64(frame + MIM_FRAME_HEADER_SIZE, handoff->size - MIM_FRAME_HEADER_SIZE, handoff->lsn),
        };
    }
}

/** The records of a frame are those that were put in, byte for byte. */
static bool check_records(struct world *w, const struct mim_frame *frame) {
    uint32_t index = 0;
    for (size_t at = MIM_FRAME_HEADER_SIZE; at < frame->header.size;) {
        struct mim_record record;
        size_t size = mim_record_decode(frame->bytes + at, frame->header.size - at, &record);
        if (size == 0 || record.frame_offset != at) {
            return complain(w, "LSN %" PRIu64 ": no record at %zu", frame->lsn, at);
        }
        if (record.type == 1) {
            mim_position_t position = frame->header.first_position + index;
            if (record.index != index ||
                !drive_filled(record.payload.data, record.payload.size, w->serials[position - 1])) {
                return complain(w, "position %" PRIu64 ": not the event that was appended", position);
            }
            index++;
        }
        at += size;
    }
    return index == frame->header.event_count ||
           complain(w, "LSN %" PRIu64 ": %u events, not %u", frame->lsn, index, frame->header.event_count);
}

struct reading {
    struct world *w;
    size_t frames;
};

/** Each frame read is the next one that was appended. */
static int check_frame(void *context, const struct mim_frame *frame) {
    struct reading *reading = context;
    struct world *w = reading->w;
    const struct known *known = &w->frames[reading->frames];
    if (reading->frames >= w->frame_count) {
        (void)complain(w, "LSN %" PRIu64 ": a frame that nobody appended", frame->lsn);
        return MIM_E_STATE;
    }
    reading->frames++;
    uint32_t size = frame->header.size;
    if (frame->lsn != known->lsn || size != known->size || frame->header.event_count != known->events ||
        frame->header.first_position != known->first_position || frame->header.epoch != known->epoch ||
        mim_hash64(frame->bytes + MIM_FRAME_HEADER_SIZE, size - MIM_FRAME_HEADER_SIZE, frame->lsn) != known->payload) {
        (void)complain(w, "LSN %" PRIu64 ": another frame than was appended there", frame->lsn);
        return MIM_E_STATE;
    }
    if (known->whole != 0 && mim_hash64(frame->bytes, size, 0) != known->whole) {
        (void)complain(w, "LSN %" PRIu64 ": not the bytes that the writer wrote", frame->lsn);
        return MIM_E_STATE;
    }
    return check_records(w, frame) ? 0 : MIM_E_STATE;
}

/* ------------------------------------------------------------ dying */

/** The process dies, alone or with the machine. */
static void die(struct world *w, enum death death) {
    struct mim_ring *ring = &w->d.ring;
    if (w->d.writer != NULL) { /* what this life has promised */
        mim_lsn_t gate = atomic_load(&ring->gate_lsn);
        mim_lsn_t synced = atomic_load(&ring->synced_lsn);
        bool fsync = w->d.options.durability == MIM_DURABILITY_FSYNC;
        w->floor = gate > w->floor ? gate : w->floor;
        w->floor_power = fsync && gate > w->floor_power ? gate : w->floor_power;
        w->floor_power = synced > w->floor_power ? synced : w->floor_power;
    }
    total_deaths++;
    drive_die(&w->d, mim_prng_below(&w->prng, 2 * MIM_RING_SIZE / 8) * 8);
    w->handoffs_seen = 0;
    if (death == DEATH_ANY) {
        death = mim_prng_chance(&w->prng, 1, 2) ? DEATH_KILL : DEATH_POWER;
    }
    if (death == DEATH_KILL) {
        mim_storage_sim_kill(w->sim);
        return;
    }
    static const struct mim_sim_crash_odds odds[] = {
        {1000, 0, 0, 1000}, {0, 0, 0, 0},       {500, 0, 0, 500},     {250, 250, 250, 500},
        {0, 1000, 0, 0},    {0, 0, 1000, 1000}, {100, 100, 100, 100}, {900, 50, 0, 0},
    };
    mim_storage_sim_crash(w->sim, odds[mim_prng_below(&w->prng, sizeof(odds) / sizeof(odds[0]))]);
    w->floor = w->floor_power;
}

/* ------------------------------------------------------------ recovery */

/** One reading of the journal against what is known. MIM_E_STATE: a promise is broken (w->wrong). */
static int read_and_check(struct world *w, struct drive_found *found, size_t *ret_frames, struct mim_error *error) {
    struct reading reading = {.w = w};
    int rc = drive_read(&w->d, check_frame, &reading, found, error);
    if (w->wrong[0] != 0) {
        return MIM_E_STATE;
    }
    if (rc == MIM_E_IO) {
        return rc; /* the machine dies while it recovers */
    }
    if (rc != 0 || found->ending.kind == MIM_END_DAMAGED) {
        (void)complain(w, "refused: %s", rc != 0 ? error->text : found->ending.text);
        return MIM_E_STATE;
    }
    if (found->ending.lsn < w->floor) {
        (void)complain(w, "ends at LSN %" PRIu64 ", but %" PRIu64 " was promised", found->ending.lsn, w->floor);
        return MIM_E_STATE;
    }
    *ret_frames = reading.frames;
    return 0;
}

/** Reads, cuts, reads again: the second time there is nothing to do. */
static int recover_twice(struct world *w, struct drive_found *found, size_t *ret_frames, struct mim_error *error) {
    int rc = read_and_check(w, found, ret_frames, error);
    if (rc == 0 && found->ending.kind == MIM_END_TORN) {
        total_torn++;
        rc = mim_journal_cut(w->d.storage, &found->segments, &found->ending, found->ending.epoch + 1, error);
    }
    if (rc != 0) {
        return rc;
    }
    total_rolled += found->ending.rolled ? 1u : 0u;
    struct mim_journal_ending first = found->ending;
    uint64_t digest = found->digest;
    uint64_t bytes = mim_storage_sim_hash(w->sim);
    mim_segments_deinit(&found->segments);
    rc = read_and_check(w, found, ret_frames, error);
    if (rc == 0 && (found->ending.kind != MIM_END_CLEAN || found->ending.lsn != first.lsn || found->digest != digest ||
                    found->ending.chain != first.chain || mim_storage_sim_hash(w->sim) != bytes)) {
        (void)complain(w, "the second recovery differs: LSN %" PRIu64 ", then %" PRIu64, first.lsn, found->ending.lsn);
        rc = MIM_E_STATE;
    }
    return rc;
}

static bool check_gate(struct world *w);

/** From a dead disk to an open journal. IO: died again on the way; STATE: w->wrong. */
static int recover(struct world *w, struct mim_error *error) {
    struct drive_found found;
    size_t frames = 0;
    int rc = recover_twice(w, &found, &frames, error);
    rc = rc != 0 ? rc : drive_begin(&w->d, &found, error);
    mim_segments_deinit(&found.segments);
    if (rc != 0) {
        return rc;
    }
    w->frame_count = frames; /* what was not found is gone for good, and what was found stays */
    w->stepped = frames;
    w->floor = w->floor_power = atomic_load(&w->d.ring.gate_lsn);
    while ((rc = mim_appender_control(&w->d.appender, MIM_FRAME_EPOCH, w->d.wall_ms)) == MIM_E_AGAIN) {
        rc = mim_preparer_step(w->d.storage, &w->d.ring, w->d.options.segment_size_max, error);
        if (rc < 0) {
            return rc;
        }
    }
    note_handoffs(w);
    rc = rc != 0 ? rc : drive_drain(&w->d, error);
    rc = rc != 0 ? rc : mim_writer_begun(w->d.writer, error);
    w->stepped = rc == 0 ? w->frame_count : w->stepped;
    w->unsynced_ns = UINT64_MAX;
    return rc == 0 && !check_gate(w) ? MIM_E_STATE : rc;
}

/** Recovers, dying on the way now and then. */
static bool recover_at_last(struct world *w) {
    for (unsigned attempt = 0;; attempt++) {
        struct mim_error error = {0};
        if (w->plan.nested_nth != 0 && w->lives == 1 && attempt == 0) {
            mim_storage_sim_fail_nth(w->sim, w->plan.nested_nth, w->plan.fault, false);
        } else if (w->plan.nth == 0 && attempt < 3 && mim_prng_chance(&w->prng, 1, 3)) {
            mim_storage_sim_fail_nth(w->sim, 1 + mim_prng_below(&w->prng, 80),
                                     mim_prng_chance(&w->prng, 1, 3) ? MIM_SIM_FAULT_EIO : MIM_SIM_FAULT_CRASH, false);
        }
        int rc = recover(w, &error);
        mim_storage_sim_clear_faults(w->sim);
        if (rc == 0) {
            return true;
        }
        if (rc == MIM_E_STATE) {
            return false;
        }
        if (rc != MIM_E_IO && rc != MIM_E_NO_SPACE) {
            return complain(w, "recovery: code %d: %s", rc, error.text);
        }
        if (attempt > 4) {
            return complain(w, "recovery fails without a fault: %s", error.text);
        }
        die(w, DEATH_ANY);
    }
}

/* ------------------------------------------------------------ a life */

/** Gate and synced point stand on frame ends that the writer has reached, and keep their mode's promise. */
static bool check_gate(struct world *w) {
    const struct mim_ring *ring = &w->d.ring;
    mim_lsn_t gate = atomic_load(&ring->gate_lsn);
    mim_lsn_t synced = atomic_load(&ring->synced_lsn);
    mim_position_t position = atomic_load(&ring->gate_position);
    if (w->stepped > 0) {
        const struct known *last = &w->frames[w->stepped - 1];
        if (gate != last->lsn + last->size || position != last->first_position + last->events - 1) {
            return complain(w, "gate at LSN %" PRIu64 ", position %" PRIu64 "; the last frame ends at %" PRIu64, gate,
                            position, last->lsn + last->size);
        }
    }
    if (synced > gate || (w->d.options.durability == MIM_DURABILITY_FSYNC && synced != gate)) {
        return complain(w, "gate at LSN %" PRIu64 ", synced up to %" PRIu64, gate, synced);
    }
    w->unsynced_ns = synced == gate ? UINT64_MAX : w->unsynced_ns == UINT64_MAX ? w->d.now_ns : w->unsynced_ns;
    if (w->d.options.durability == MIM_DURABILITY_INTERVAL && w->unsynced_ns != UINT64_MAX &&
        w->d.now_ns - w->unsynced_ns >= w->d.options.interval_ns) {
        return complain(w, "unsynced for longer than the interval");
    }
    return true;
}

/** A failed writer is dead: it has said so, its gate stands, and it never touches the storage again. */
static bool check_failed(struct world *w, int code, mim_lsn_t gate_before) {
    struct mim_error error = {0};
    struct mim_ring *ring = &w->d.ring;
    total_failed_steps++;
    uint64_t calls = mim_storage_sim_calls(w->sim);
    mim_lsn_t gate = atomic_load(&ring->gate_lsn);
    if (atomic_load(&ring->failed) != code) {
        return complain(w, "a step failed with %d and ring->failed is %d", code, atomic_load(&ring->failed));
    }
    if (mim_writer_step(w->d.writer, w->d.now_ns, &error) != 0 || mim_writer_finish(w->d.writer, &error) == 0 ||
        mim_storage_sim_calls(w->sim) != calls || atomic_load(&ring->gate_lsn) != gate ||
        mim_writer_due_ns(w->d.writer) != UINT64_MAX) {
        return complain(w, "the writer goes on after it failed");
    }
    return gate >= gate_before || complain(w, "the gate fell");
}

/** One step of the writer. False: the process is to die (or w->wrong). */
static bool step(struct world *w) {
    struct mim_ring *ring = &w->d.ring;
    struct mim_error error = {0};
    note_handoffs(w);
    uint64_t tail = atomic_load(&ring->handoff_tail);
    mim_lsn_t gate = atomic_load(&ring->gate_lsn);
    int rc = mim_writer_step(w->d.writer, w->d.now_ns, &error);
    uint64_t done = atomic_load(&ring->handoff_tail);
    for (; tail != done; tail++) {
        const struct mim_handoff *handoff = &ring->handoffs[tail % MIM_RING_HANDOFFS];
        if (handoff->kind != MIM_HANDOFF_ROLL) {
            const uint8_t *frame = ring->bytes + handoff->ring_offset % MIM_RING_SIZE;
            w->frames[w->stepped++].whole = mim_hash64(frame, handoff->size, 0);
        }
    }
    if (rc < 0) {
        if (error.code != rc || error.text[0] == 0) {
            return complain(w, "a step failed with %d and says nothing", rc);
        }
        (void)check_failed(w, rc, gate);
        return false;
    }
    return check_gate(w);
}

/** One step of the preparer. A full disk is no failure. */
static bool prepare(struct world *w) {
    struct mim_error error = {0};
    int rc = mim_preparer_step(w->d.storage, &w->d.ring, w->d.options.segment_size_max, &error);
    if (rc == MIM_E_NO_SPACE) {
        total_full++;
        return atomic_load(&w->d.ring.spare_state) == MIM_SPARE_FULL || complain(w, "full, and does not say so");
    }
    return rc >= 0 || (rc != MIM_E_IO && complain(w, "preparer: code %d: %s", rc, error.text));
}

static size_t random_size(struct world *w) {
    switch (mim_prng_below(&w->prng, 20)) {
    case 0:
        return 4000 + mim_prng_below(&w->prng, 20000);
    case 1:
    case 2:
    case 3:
        return 500 + mim_prng_below(&w->prng, 2000);
    default:
        return mim_prng_below(&w->prng, 120);
    }
}

/** Appends a transaction; runs writer and preparer while there is no room. False: dead. */
static bool put(struct world *w) {
    uint32_t events = mim_prng_chance(&w->prng, 1, 8) ? 0 : 1 + (uint32_t)mim_prng_below(&w->prng, 4);
    size_t size = random_size(w);
    for (unsigned tries = 0; tries < 1000; tries++) {
        mim_position_t position = w->d.appender.next_position;
        int rc = drive_put(&w->d, events, size, w->next_serial);
        note_handoffs(w);
        if (rc == 0) {
            for (uint32_t i = 0; i < events; i++) {
                assert_true(position + i <= EVENTS_MAX);
                w->serials[position + i - 1] = w->next_serial + i;
            }
            w->next_serial += events + 1u;
            return true;
        }
        if (rc == MIM_E_NO_SPACE) {
            mim_storage_sim_set_capacity(w->sim, UINT64_MAX);
        } else if (rc != MIM_E_AGAIN) {
            return complain(w, "append: code %d", rc);
        }
        if (!(mim_prng_chance(&w->prng, 1, 2) ? step(w) : prepare(w))) {
            return false;
        }
    }
    return complain(w, "no room ever comes");
}

static bool act(struct world *w) {
    w->d.wall_ms += (int64_t)mim_prng_below(&w->prng, 50) - 10;
    uint64_t choice = mim_prng_below(&w->prng, 100);
    if (choice < 55) {
        return put(w);
    }
    if (choice < 65) {
        mim_appender_seal(&w->d.appender);
    } else if (choice < 70) {
        (void)mim_appender_control(&w->d.appender, MIM_FRAME_SEAL, mim_appender_time(&w->d.appender, w->d.wall_ms));
    } else if (choice < 90) {
        w->d.now_ns += mim_prng_below(&w->prng, 1500000);
        return step(w);
    } else if (choice < 98) {
        return prepare(w);
    } else if (choice == 98) {
        w->d.wall_ms += 70000;
    } else {
        mim_storage_sim_set_capacity(w->sim, mim_storage_sim_used(w->sim) + mim_prng_below(&w->prng, 40000));
    }
    note_handoffs(w);
    return true;
}

/** SIGTERM: all out, a SEAL frame, the mark. */
static bool stop_clean(struct world *w) {
    struct mim_error error = {0};
    mim_storage_sim_set_capacity(w->sim, UINT64_MAX);
    int rc;
    while ((rc = mim_appender_control(&w->d.appender, MIM_FRAME_SEAL, w->d.appender.last_time_ms)) == MIM_E_AGAIN) {
        note_handoffs(w);
        if (!step(w) || !prepare(w)) {
            return false;
        }
    }
    if (rc == MIM_E_NO_SPACE) {
        return true;
    }
    while (!mim_appender_idle(&w->d.appender)) {
        if (!step(w)) {
            return false;
        }
    }
    return mim_writer_finish(w->d.writer, &error) == 0;
}

static void arm(struct world *w) {
    if (w->plan.nth != 0) {
        if (w->lives == 0 && w->plan.call == MIM_SIM_CALL_COUNT) {
            mim_storage_sim_fail_nth(w->sim, w->plan.nth, w->plan.fault, false);
        } else if (w->lives == 0) {
            mim_storage_sim_fail_nth_of(w->sim, (enum mim_sim_call)w->plan.call, w->plan.nth, w->plan.fault, false);
        }
        return;
    }
    uint64_t nth = 1 + mim_prng_below(&w->prng, 150);
    switch (mim_prng_below(&w->prng, 6)) {
    case 0:
    case 1:
        mim_storage_sim_fail_nth(w->sim, nth, MIM_SIM_FAULT_CRASH, false);
        break;
    case 2:
        mim_storage_sim_fail_nth_of(w->sim, MIM_SIM_SYNC, 1 + nth / 4, MIM_SIM_FAULT_EIO, false);
        break;
    case 3:
        mim_storage_sim_fail_nth(w->sim, nth, MIM_SIM_FAULT_EIO, false);
        break;
    case 4:
        mim_storage_sim_fail_nth(w->sim, nth, MIM_SIM_FAULT_ENOSPC, false);
        break;
    default:
        break;
    }
}

/** Works until it dies, or has had enough. */
static void live(struct world *w) {
    unsigned acts = w->plan.nth != 0 ? 60u : 1u + (unsigned)mim_prng_below(&w->prng, 120);
    arm(w);
    uint64_t calls = mim_storage_sim_calls(w->sim);
    bool alive = true;
    for (unsigned i = 0; alive && i < acts; i++) {
        alive = act(w);
    }
    if (alive && mim_prng_chance(&w->prng, 1, 4)) {
        alive = stop_clean(w);
    }
    if (w->lives == 0) {
        w->calls_first_life = mim_storage_sim_calls(w->sim) - calls;
        w->planned_met = !alive;
    }
    note_handoffs(w);
    mim_storage_sim_set_capacity(w->sim, UINT64_MAX);
}

/* ------------------------------------------------------------ runs */

static int lie(void *self, mim_file_t file, struct mim_error *reterr) {
    (void)self;
    (void)file;
    (void)reterr;
    return 0;
}

static int lie_dir(void *self, const char *path, struct mim_error *reterr) {
    (void)self;
    (void)path;
    (void)reterr;
    return 0;
}

static void world_init(struct world *w, const struct plan *plan) {
    struct mim_ring ring = w->d.ring;
    struct known *frames = w->frames;
    uint64_t *serials = w->serials;
    *w = (struct world){.d = {.ring = ring, .wall_ms = DRIVE_TIME_MS, .now_ns = 1000000000}, .plan = *plan};
    w->frames = frames;
    w->serials = serials;
    w->next_serial = plan->seed << 32;
    w->unsynced_ns = UINT64_MAX;
    mim_prng_init(&w->prng, plan->seed);
    drive_ring_reset(&w->d.ring, mim_prng_below(&w->prng, MIM_RING_SIZE / 8) * 8);
    w->sim = mim_storage_sim_new(plan->seed);
    w->honest = mim_storage_sim_storage(w->sim);
    w->lying = *w->honest.ops;
    if (plan->lie_sync) {
        w->lying.sync = lie;
    }
    if (plan->lie_dir) {
        w->lying.sync_dir = lie_dir;
    }
    w->d.storage = (struct mim_storage){.ops = &w->lying, .self = w->honest.self};
    memcpy(w->d.history.uuid, "journal-in-crash", sizeof(w->d.history.uuid));
    static const uint64_t sizes[] = {8192, 12288, 16384, 65536};
    w->d.options = (struct mim_writer_options){
        .durability = (enum mim_durability)mim_prng_below(&w->prng, 3),
        .interval_ns = 2000000,
        .segment_size_min = sizes[mim_prng_below(&w->prng, 4)],
    };
    w->d.options.segment_size_max = w->d.options.segment_size_min; /* small ones: rolls matter here */
}

/** A whole run; false with w->wrong when a promise was broken. */
static bool run(struct world *w, const struct plan *plan) {
    world_init(w, plan);
    unsigned lives = plan->nth != 0 ? 2 : 1 + (unsigned)mim_prng_below(&w->prng, 4);
    bool good = recover_at_last(w);
    for (; good && w->lives < lives; w->lives++) {
        live(w);
        good = w->wrong[0] == 0;
        die(w, w->lives == 0 ? plan->death : DEATH_ANY);
        if (good) {
            w->lives++;
            good = recover_at_last(w);
            w->lives--;
        }
    }
    w->d.writer = mim_writer_free(w->d.writer);
    w->sim = mim_storage_sim_free(w->sim);
    return good && w->wrong[0] == 0;
}

static uint64_t option_seed = 1;
static uint64_t option_seeds = 5000;

static int setup(void **state) {
    struct world *w = drive_alloc(sizeof(*w));
    struct mim_error error = {0};
    drive_ok(mim_ring_init(&w->d.ring, &error), &error);
    w->frames = test_calloc(FRAMES_MAX, sizeof(*w->frames));
    w->serials = test_calloc(EVENTS_MAX + 8, sizeof(*w->serials));
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    mim_ring_deinit(&w->d.ring);
    test_free(w->frames);
    test_free(w->serials);
    free(w);
    return 0;
}

static void test_random_lives_and_deaths_keep_every_promise(void **state) {
    struct world *w = *state;
    for (uint64_t seed = option_seed; seed < option_seed + option_seeds; seed++) {
        struct plan plan = {.seed = seed};
        if (!run(w, &plan)) {
            fail_msg("seed %" PRIu64 " (replay: test-journal-crash --seed %" PRIu64 " --seeds 1): %s", seed, seed,
                     w->wrong);
        }
    }
    if (option_seeds >= 1000) { /* the sweep went where it was meant to go */
        assert_true(total_torn > 50);
        assert_true(total_rolled > 5);
        assert_true(total_rolls > 1000);
        assert_true(total_failed_steps > 50);
        assert_true(total_full > 20);
    }
    print_message("# %u deaths, %u torn tails, %u rolls, %u of them unfinished, %u failed steps, %u times full\n",
                  total_deaths, total_torn, total_rolls, total_rolled, total_failed_steps, total_full);
}

/** Fails the n-th call of a kind of the first life, for every n that there is. */
static void sweep(struct world *w, struct plan plan) {
    for (uint64_t seed = SWEEP_SEED; seed < SWEEP_SEED + 6; seed++) {
        plan.seed = seed;
        plan.nth = 1u << 30;
        assert_true(run(w, &plan)); /* without a fault */
        for (uint64_t nth = 1, most = w->calls_first_life; nth <= most; nth++) {
            plan.nth = nth;
            if (!run(w, &plan)) {
                fail_msg("seed %" PRIu64 ", fault %d at call %" PRIu64 " of kind %d, death %d: %s", seed, plan.fault,
                         nth, plan.call, plan.death, w->wrong);
            }
        }
    }
}

static void test_a_failing_sync_at_every_place_then_a_restart_then_a_power_cut(void **state) {
    sweep(*state, (struct plan){.call = MIM_SIM_SYNC, .fault = MIM_SIM_FAULT_EIO, .death = DEATH_KILL});
    sweep(*state, (struct plan){.call = MIM_SIM_SYNC, .fault = MIM_SIM_FAULT_EIO, .death = DEATH_POWER});
}

static void test_an_error_at_every_storage_call(void **state) {
    sweep(*state, (struct plan){.call = MIM_SIM_CALL_COUNT, .fault = MIM_SIM_FAULT_EIO, .death = DEATH_ANY});
    sweep(*state, (struct plan){.call = MIM_SIM_CALL_COUNT, .fault = MIM_SIM_FAULT_ENOSPC, .death = DEATH_ANY});
}

static void test_a_crash_at_every_storage_call(void **state) {
    sweep(*state, (struct plan){.call = MIM_SIM_CALL_COUNT, .fault = MIM_SIM_FAULT_CRASH, .death = DEATH_KILL});
    sweep(*state, (struct plan){.call = MIM_SIM_CALL_COUNT, .fault = MIM_SIM_FAULT_CRASH, .death = DEATH_POWER});
}

static void test_a_crash_at_every_call_of_the_recovery_after_a_crash(void **state) {
    struct world *w = *state;
    for (uint64_t nth = 3; nth < 60; nth += 7) {
        for (uint64_t nested = 1; nested < 70; nested++) {
            struct plan plan = {.seed = SWEEP_SEED + nth % 3,
                                .nth = nth,
                                .call = MIM_SIM_CALL_COUNT,
                                .fault = MIM_SIM_FAULT_CRASH,
                                .death = DEATH_POWER,
                                .nested_nth = nested};
            if (!run(w, &plan)) {
                fail_msg("seed %" PRIu64 ", crash at call %" PRIu64 ", then at call %" PRIu64 " of recovery: %s",
                         plan.seed, nth, nested, w->wrong);
            }
        }
    }
}

/** A checker that finds nothing here finds nothing anywhere. */
static void test_canary_a_disk_that_does_not_sync_is_found_out(void **state) {
    struct world *w = *state;
    unsigned found = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct plan plan = {.seed = seed, .lie_sync = true};
        found += run(w, &plan) ? 0u : 1u;
    }
    assert_true(found > 5);
    found = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct plan plan = {.seed = seed, .lie_dir = true};
        found += run(w, &plan) ? 0u : 1u;
    }
    assert_true(found > 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    bool replay = false;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t *option = strcmp(argv[i], "--seeds") == 0  ? &option_seeds
                           : strcmp(argv[i], "--seed") == 0 ? &option_seed
                                                            : NULL;
        if (option == NULL) {
            (void)fprintf(stderr, "usage: %s [--seed FIRST] [--seeds COUNT]\n", argv[0]);
            return 2;
        }
        *option = strtoull(argv[i + 1], NULL, 10);
        replay = replay || option == &option_seed;
    }
    const struct CMUnitTest tests[] = {
        TEST(test_random_lives_and_deaths_keep_every_promise),
        TEST(test_a_failing_sync_at_every_place_then_a_restart_then_a_power_cut),
        TEST(test_an_error_at_every_storage_call),
        TEST(test_a_crash_at_every_storage_call),
        TEST(test_a_crash_at_every_call_of_the_recovery_after_a_crash),
        TEST(test_canary_a_disk_that_does_not_sync_is_found_out),
    };
    if (replay) {
        const struct CMUnitTest one[] = {tests[0]};
        return cmocka_run_group_tests_name("journal-crash", one, NULL, NULL);
    }
    return cmocka_run_group_tests_name("journal-crash", tests, NULL, NULL);
}
