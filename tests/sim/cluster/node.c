// SPDX-License-Identifier: MIT
// One server: it starts from its disk, takes its turns, follows or reigns, and dies.
#include "world.h"

enum { TURN_STEPS = 4 }; /* of the standby machine in one turn */

struct mim_engine_options node_engine_options(const struct world *w) {
    return (struct mim_engine_options){.compiled = w->compiled, .reservation = 64ull << 20, .idempotency_window = 4096};
}

struct mim_restore_options node_restore_options(void) {
    return (struct mim_restore_options){
        .verify = MIM_VERIFY_EAGER, .threads = 1, .position_max = UINT64_MAX, .lsn_max = UINT64_MAX};
}

mim_position_t node_position(const struct node *n) {
    return n->journal ? atomic_load_explicit(&n->ring.gate_position, memory_order_acquire) : 0;
}

/* ------------------------------------------------------------------------------ the end */

static void link_end(struct world *w, struct node *n, bool quietly) {
    if (n->talking) {
        mim_standby_end(&n->standby);
        n->talking = false;
    }
    if (n->link != NOBODY) {
        network_leave(w, n->link, true, quietly);
        n->link = NOBODY;
    }
    n->stalled = false;
    n->retry_ns = w->now_ns + below(w, 20 * MS);
}

static void journal_end(struct node *n) {
    n->writer = n->writer == NULL ? NULL : mim_writer_free(n->writer);
    n->access = n->access == NULL ? NULL : mim_access_free(n->access);
    n->engine = mim_engine_free(n->engine);
    n->journal = false;
    n->held_count = 0;
}

/** The process is gone; its disk is as it left it. */
static void process_end(struct world *w, struct node *n, bool quietly) {
    if (n->journal && n->number == w->primary) {
        oracle_unsynced(w, n);
    }
    n->up = false;
    network_forget(w, n->number, quietly);
    n->link = NOBODY;
    link_end(w, n, quietly);
    journal_end(n);
    n->reopen = REOPEN_NOT;
    n->down_until_ns = w->now_ns + below(w, chance(w, 1, 3) ? 300 * MS : 20 * MS);
}

void node_kill(struct world *w, struct node *n) {
    process_end(w, n, false);
    mim_storage_sim_kill(n->sim);
}

void node_crash(struct world *w, struct node *n) {
    process_end(w, n, true);
    if (w->durability != MIM_DURABILITY_FSYNC && n->number == w->primary) {
        tell(w, "what node %d had not synced may be lost", n->number);
        oracle_allow_loss(w);
    }
    mim_storage_sim_crash(n->sim, (struct mim_sim_crash_odds){
                                      .drop_per_mille = (unsigned)below(w, 500),
                                      .zero_per_mille = (unsigned)below(w, 200),
                                      .garble_per_mille = (unsigned)below(w, 200),
                                      .entry_drop_per_mille = (unsigned)below(w, 800),
                                  });
    n->boots++;
}

/** A call to the disk has failed: the machine is gone, or the process ends. */
static void node_failed(struct world *w, struct node *n, const char *what, const struct mim_error *error) {
    bool crashed = mim_storage_sim_crashed(n->sim);
    tell(w, "node %d %s: %s (%s)", n->number, crashed ? "loses its power" : "ends", what, error->text);
    if (crashed) {
        node_crash(w, n);
    } else {
        node_kill(w, n);
    }
}

/* ------------------------------------------------------------------------------- a start */

static int begin(struct world *w, struct node *n, struct mim_recovery *recovery, struct mim_error *error) {
    const struct mim_writer_options options = {.durability = w->durability,
                                               .interval_ns = 5 * MS,
                                               .segment_size_min = w->segment_size,
                                               .segment_size_max = w->segment_size,
                                               .standby = n->reign.role == MIM_ROLE_STANDBY};
    struct mim_history history;
    int rc = 0;
    for (size_t i = 0; i < sizeof(history.uuid); i++) {
        history.uuid[i] = (uint8_t)below(w, 256);
    }
    if (n->ring.bytes == NULL) {
        rc = mim_ring_init(&n->ring, error);
    } else { /* a new process's, in the same memory */
        n->ring = (struct mim_ring){.bytes = n->ring.bytes, .handoffs = n->ring.handoffs};
    }
    rc = rc != 0 ? rc
                 : mim_recovery_begin(n->storage, n->engine, recovery, &n->ring, &options, &history,
                                      1000000 + n->wall_offset_ms + (int64_t)(w->now_ns / MS), &n->writer, &n->appender,
                                      error);
    return rc != 0 ? rc : mim_access_open(n->storage, &n->access, error);
}

/** From the disk to an open journal, or to a standby that waits for a copy. */
static int journal_begin(struct world *w, struct node *n, struct mim_error *error) {
    struct mim_engine_options engine = node_engine_options(w);
    struct mim_restore_options restore = node_restore_options();
    struct mim_restored restored = {0};
    struct mim_recovery recovery = {0};
    bool installed = false;
    int rc = mim_incoming_install(n->storage, &installed, error);
    rc = rc != 0 ? rc
                 : mim_snapshot_recover(n->storage, &engine, &restore, NULL, &n->engine, &restored, &recovery, error);
    if (rc != 0) {
        n->engine = NULL;
        return rc;
    }
    bool waits = n->reign.role == MIM_ROLE_STANDBY && recovery.segments.count == 0;
    rc = waits ? 0 : begin(w, n, &recovery, error);
    mim_recovery_deinit(&recovery);
    n->journal = rc == 0 && !waits;
    if (n->journal) {
        mim_reign_begin(&n->reign, &n->appender, w->wanted);
        tell(w, "node %d stands at position %llu, epoch %u, as a %s%s", n->number, (unsigned long long)node_position(n),
             n->appender.epoch, n->reign.role == MIM_ROLE_PRIMARY ? "primary" : "standby",
             restored.found ? ", from a snapshot" : "");
    }
    return rc;
}

static void disk_new(struct world *w, struct node *n) {
    (void)mim_storage_sim_free(n->sim);
    n->sim = mim_storage_sim_new(mim_prng_next(&w->prng));
    n->storage = mim_storage_sim_storage(n->sim);
}

static void node_start(struct world *w, struct node *n) {
    struct mim_error error = {0};
    n->up = true;
    n->lives++;
    n->agreed = false;
    n->retry_ns = 0;
    n->link = NOBODY;
    n->reign = (struct mim_reign){.role = n->follows == NOBODY ? MIM_ROLE_PRIMARY : MIM_ROLE_STANDBY};
    w->counters.starts++;
    tell(w, "node %d starts", n->number);
    int rc = journal_begin(w, n, &error);
    if (rc == MIM_E_DAMAGED && n->wiped) { /* somebody has broken it on purpose: refused, so it begins anew */
        tell(w, "node %d refuses its journal (%s): it gets a new disk", n->number, error.text);
        process_end(w, n, false);
        disk_new(w, n);
        return;
    }
    if (rc != 0) {
        if (rc != MIM_E_IO && rc != MIM_E_NO_SPACE) {
            tell(w, "node %d: %s: %s", n->number, mim_error_name(rc), error.text);
        }
        REQUIRE(w, rc == MIM_E_IO || rc == MIM_E_NO_SPACE);
        node_failed(w, n, "at its start", &error);
    } else if (n->journal && n->reign.role == MIM_ROLE_PRIMARY) {
        oracle_reign(w, n);
    }
}

/* ---------------------------------------------------------------------- changes of role */

void node_follow(struct world *w, struct node *n, int primary) {
    n->follows = primary;
    if (!n->up) {
        return;
    }
    tell(w, "node %d is told to follow node %d", n->number, primary);
    link_end(w, n, false);
    if (w->wanted > 0) {
        n->held_count = 0; /* answered UNKNOWN */
    }
    mim_reign_follow(&n->reign, n->journal ? &n->appender : NULL);
    n->agreed = false;
}

void node_promote(struct world *w, struct node *n) {
    tell(w, "node %d is promoted at position %llu, epoch %u", n->number, (unsigned long long)node_position(n),
         n->appender.epoch);
    n->follows = NOBODY;
    if (n->reign.role == MIM_ROLE_PRIMARY && !n->reign.fenced) {
        return;
    }
    n->held_count = w->wanted > 0 ? 0 : n->held_count;
    link_end(w, n, false);
    mim_reign_promote(&n->reign, n->journal);
}

static void promotion(struct world *w, struct node *n) {
    int64_t wall_ms = 1000000 + n->wall_offset_ms + (int64_t)(w->now_ns / MS);
    if (n->reign.promoting && mim_reign_promotion(&n->reign, n->engine, &n->appender, w->durability, w->wanted,
                                                  wall_ms) == MIM_PROMOTION_DONE) {
        tell(w, "node %d reigns in epoch %u from position %llu", n->number, n->appender.epoch,
             (unsigned long long)node_position(n));
        w->counters.promotions++;
        oracle_reign(w, n);
    }
}

/* ----------------------------------------------------------------------------- the link */

static void link_begin(struct world *w, struct node *n) {
    struct node *primary = &w->nodes[n->follows];
    if (n->journal && !mim_engine_commands_applied(n->engine, &n->appender)) {
        return;
    }
    if (w->now_ns < n->retry_ns || network_dark(w, n->number, n->follows)) {
        return;
    }
    n->link = primary->up ? network_dial(w, n->number, n->follows) : NOBODY;
    if (n->link == NOBODY) {
        n->retry_ns = w->now_ns + below(w, 30 * MS);
        return;
    }
    struct mim_standby_setup setup = {.storage = n->storage,
                                      .engine = n->engine,
                                      .appender = n->journal ? &n->appender : NULL,
                                      .port = (uint16_t)(1000 + n->number),
                                      .rewind = true};
    (void)snprintf(setup.boot, sizeof(setup.boot), "boot-%d-%u", n->number, n->boots);
    uint8_t random[MIM_IDENTITY_SIZE / 2];
    struct mim_error error = {0};
    for (size_t i = 0; i < sizeof(random); i++) {
        random[i] = (uint8_t)below(w, 256);
    }
    if (mim_identity_load(n->storage, random, setup.identity, &error) != 0) {
        network_leave(w, n->link, true, false);
        n->link = NOBODY;
        return;
    }
    mim_standby_begin(&n->standby, &setup);
    n->talking = true;
    n->heard_ns = n->said_ns = w->now_ns;
}

/** False: the conversation is over. */
static bool link_obey(struct world *w, struct node *n, enum mim_standby_verdict verdict,
                      const struct mim_error *error) {
    switch (verdict) {
    case MIM_STANDBY_MORE:
    case MIM_STANDBY_BUSY:
    case MIM_STANDBY_STALLED:
        return true;
    case MIM_STANDBY_INSTALL:
        tell(w, "node %d has copied node %d", n->number, n->follows);
        w->counters.copies++;
        n->reopen = REOPEN_INSTALL;
        break;
    case MIM_STANDBY_REWIND:
        n->point = n->standby.point;
        n->reopen = REOPEN_REWIND;
        break;
    case MIM_STANDBY_SET_ASIDE:
        n->reopen = REOPEN_SET_ASIDE;
        break;
    case MIM_STANDBY_PROMOTE:
        REQUIRE(w, verdict != MIM_STANDBY_PROMOTE); /* nobody hands over here */
        break;
    case MIM_STANDBY_CLOSE:
        tell(w, "node %d leaves node %d: %s", n->number, n->follows, error->text);
        break;
    case MIM_STANDBY_BROKEN:
        tell(w, "node %d: %s", n->number, error->text);
        REQUIRE(w, mim_storage_sim_crashed(n->sim));
        break;
    }
    link_end(w, n, false);
    return false;
}

static void link_say(struct world *w, struct node *n) {
    const struct mim_ring *ring = &n->ring;
    bool due = w->now_ns - n->said_ns > BEAT_NS;
    if (n->journal) {
        mim_standby_confirm(&n->standby, atomic_load(&ring->synced_lsn), atomic_load(&ring->synced_position), due);
    }
    n->said_ns = due ? w->now_ns : n->said_ns;
    network_send(w, &w->connections[n->link].up, n->standby.out.data, n->standby.out.size);
    n->standby.out.size = 0;
}

static void link_turn(struct world *w, struct node *n) {
    struct mim_error error = {0};
    if (!n->talking) {
        link_begin(w, n);
    }
    if (!n->talking) {
        return;
    }
    struct mim_buffer came = {0};
    bool open = network_receive(w, n->link, true, &came);
    if (came.size > 0) {
        uint8_t *room = mim_inbox_room(&n->standby.inbox, came.size);
        MIM_ASSERT(room != NULL);
        memcpy(room, came.data, came.size);
        mim_inbox_filled(&n->standby.inbox, came.size);
        n->heard_ns = w->now_ns;
    }
    mim_buffer_deinit(&came);
    enum mim_standby_verdict verdict = MIM_STANDBY_BUSY;
    for (int i = 0; i < TURN_STEPS && verdict == MIM_STANDBY_BUSY; i++) {
        verdict = mim_standby_step(&n->standby, &error);
    }
    if (!link_obey(w, n, verdict, &error)) {
        return;
    }
    if (n->standby.state == MIM_STANDBY_STREAMING && !n->agreed) {
        n->agreed = true;
        tell(w, "node %d follows node %d from position %llu", n->number, n->follows,
             (unsigned long long)node_position(n));
    }
    link_say(w, n);
    if (!open || w->now_ns - n->heard_ns > PATIENCE_NS) {
        link_end(w, n, false);
    }
}

/** Between two turns, with the journal closed. */
static void reopen(struct world *w, struct node *n) {
    struct mim_error error = {0};
    char aside[MIM_ASIDE_PATH_SIZE] = "";
    bool installed = false;
    enum reopen what = n->reopen;
    n->lives++; /* its files may be others since */
    n->reopen = REOPEN_NOT;
    network_forget(w, n->number, false);
    int rc = n->journal ? mim_writer_finish(n->writer, &error) : 0;
    journal_end(n);
    if (rc == 0 && what == REOPEN_INSTALL) {
        rc = mim_incoming_install(n->storage, &installed, &error);
    } else if (rc == 0 && what == REOPEN_REWIND) {
        w->counters.rewinds++;
        rc = mim_journal_rewind(n->storage, &n->point, aside, &error);
        tell(w, "node %d goes back to LSN %llu; aside: %s", n->number, (unsigned long long)n->point.lsn, aside);
    } else if (rc == 0) {
        w->counters.rewinds++;
        rc = mim_journal_set_aside(n->storage, aside, &error);
        tell(w, "node %d sets its journal aside: %s", n->number, aside);
    }
    rc = rc != 0 ? rc : journal_begin(w, n, &error);
    if (rc != 0) {
        tell(w, "node %d: %s: %s", n->number, mim_error_name(rc), error.text);
        REQUIRE(w, rc == MIM_E_IO || rc == MIM_E_NO_SPACE);
        node_failed(w, n, "between two turns", &error);
    }
}

/* ------------------------------------------------------------------------------ the turn */

/** What the journal thread and the preparer do meanwhile. False: the node is gone. */
static bool disk_turn(struct world *w, struct node *n) {
    struct mim_error error = {0};
    int rc = 0;
    for (uint64_t i = below(w, 3); i > 0 && rc >= 0; i--) {
        rc = mim_writer_step(n->writer, w->now_ns, &error);
    }
    if (rc >= 0 && chance(w, 1, 2)) {
        rc = mim_preparer_step(n->storage, &n->ring, w->segment_size, &error);
        rc = rc == MIM_E_NO_SPACE ? 0 : rc;
    }
    if (rc < 0) {
        node_failed(w, n, "at its journal", &error);
    }
    return rc >= 0;
}

void node_turn(struct world *w, struct node *n) {
    if (w->now_ns < n->paused_until_ns) {
        return;
    }
    if (!n->up) {
        if (w->now_ns >= n->down_until_ns) {
            node_start(w, n);
        }
        return;
    }
    if (n->reopen != REOPEN_NOT) {
        reopen(w, n);
        return;
    }
    if (n->full_until_ns != 0 && w->now_ns >= n->full_until_ns) {
        mim_storage_sim_set_capacity(n->sim, UINT64_MAX);
        n->full_until_ns = 0;
    }
    standbys_serve(w, n);
    clients_serve(w, n);
    if (n->journal) {
        promotion(w, n);
    }
    if (n->reign.role == MIM_ROLE_STANDBY) {
        link_turn(w, n);
    }
    if (n->journal && n->reopen == REOPEN_NOT) {
        mim_appender_seal(&n->appender);
        if (!disk_turn(w, n)) {
            return;
        }
        standbys_confirm(w, n);
        standbys_feed(w, n);
        clients_release(w, n);
    }
    if (n->up && mim_storage_sim_crashed(n->sim)) {
        tell(w, "node %d loses its power", n->number);
        node_crash(w, n);
    }
}
