// SPDX-License-Identifier: MIT
// Who breaks things: nodes, disks, connections, clocks.
#include "world.h"

/* Each says whether it has struck. */

static bool snapshot_make(struct world *w, struct node *n) {
    struct mim_engine_options engine = node_engine_options(w);
    struct mim_restore_options restore = node_restore_options();
    struct mim_recovery_options options = {.limit = atomic_load(&n->ring.synced_lsn)};
    restore.lsn_max = options.limit;
    struct mim_engine *made = NULL;
    struct mim_restored restored = {0};
    struct mim_recovery recovery = {0};
    struct mim_snapshot_header header;
    struct mim_error error = {0};
    uint64_t written = 0;
    if (mim_snapshot_recover(n->storage, &engine, &restore, &options, &made, &restored, &recovery, &error) != 0) {
        REQUIRE(w, error.code == MIM_E_IO || error.code == MIM_E_NO_SPACE);
        return false;
    }
    int rc = mim_snapshot_write(n->storage, made, restored.found ? &restored.header : NULL, 1, NULL, NULL, &header,
                                &written, &error);
    rc = rc != 0 ? rc : mim_snapshots_prune(n->storage, 2, &error);
    tell(w, "node %d makes a snapshot%s", n->number, rc == 0 ? "" : ", in vain");
    mim_recovery_deinit(&recovery);
    (void)mim_engine_free(made);
    return rc == 0;
}

static bool snapshot_rot(struct world *w, struct node *n) {
    bool struck = false;
    struct mim_snapshots snapshots;
    struct mim_error error = {0};
    if (mim_snapshots_load(n->storage, &snapshots, &error) == 0 && snapshots.count > 0) {
        char path[MIM_SNAPSHOT_PATH_SIZE];
        uint64_t size = 0;
        mim_snapshot_path(snapshots.items[0].position, path);
        if (mim_storage_sim_bytes(n->sim, path, &size) != NULL && size > 0) {
            (void)mim_storage_sim_flip_bit(n->sim, path, below(w, size * 8));
            tell(w, "a bit of node %d's snapshot flips", n->number);
            struck = true;
        }
        mim_snapshots_deinit(&snapshots);
    }
    return struck;
}

/** Without snapshots a start reads the whole journal. */
static void snapshots_remove(struct node *n) {
    struct mim_snapshots snapshots;
    struct mim_error ignored = {0};
    if (mim_snapshots_load(n->storage, &snapshots, &ignored) == 0) {
        for (size_t i = 0; i < snapshots.count; i++) {
            int rc = mim_snapshot_discard(n->storage, snapshots.items[i].position, &ignored);
            (void)rc;
        }
        mim_snapshots_deinit(&snapshots);
    }
}

/** Everybody else is well, and has what it would be the only one to have. */
static bool can_be_spared(const struct world *w, const struct node *n) {
    const struct node *primary = &w->nodes[w->primary];
    if (n->follows != w->primary || n->wiped || w->operator.state != OPERATOR_WATCHES) {
        return false;
    }
    for (int i = 0; i < NODES; i++) {
        const struct node *other = &w->nodes[i];
        bool well = other->up && other->journal && !other->wiped && (i == w->primary || other->agreed);
        if (i != n->number && !well) {
            return false;
        }
    }
    return !primary->reign.promoting && mim_reign_settled(&primary->reign, &primary->appender);
}

/** A bit of a standby's journal flips while it is down. */
static bool journal_rot(struct world *w, struct node *n) {
    struct mim_segments segments = {0};
    struct mim_error error = {0};
    mim_position_t unused = 0;
    if (!can_be_spared(w, n)) {
        return false;
    }
    if (n->up) {
        node_kill(w, n);
    }
    if (mim_segments_load(n->storage, &segments, &unused, &error) == 0 && segments.count > 0) {
        char path[MIM_SEGMENT_PATH_SIZE];
        const struct mim_segment *segment = &segments.items[below(w, segments.count)];
        snapshots_remove(n);
        mim_segment_path(segment->header.first_position, path);
        n->wiped = mim_storage_sim_flip_bit(n->sim, path, below(w, segment->file_size * 8));
        tell(w, "a bit of node %d's journal flips", n->number);
    }
    mim_segments_deinit(&segments);
    return n->wiped;
}

static bool partition(struct world *w) {
    int a = (int)below(w, NODES);
    int b = (a + 1 + (int)below(w, NODES - 1)) % NODES;
    uint64_t until = w->now_ns + 20 * MS + below(w, 400 * MS);
    bool one_way = chance(w, 1, 3);
    w->dark_until_ns[a][b] = until;
    w->dark_until_ns[b][a] = one_way ? w->dark_until_ns[b][a] : until;
    tell(w, "nothing gets from node %d to node %d%s", a, b, one_way ? "" : ", nor back");
    return true;
}

static bool fault_of_process(struct world *w, enum fault fault, struct node *n) {
    switch (fault) {
    case FAULT_CRASH:
    case FAULT_KILL:
        if (n->up) {
            tell(w, "node %d %s", n->number, fault == FAULT_CRASH ? "loses its power" : "is killed");
            (fault == FAULT_CRASH ? node_crash : node_kill)(w, n);
            return true;
        }
        return false;
    case FAULT_PAUSE:
        tell(w, "node %d stands still", n->number);
        n->paused_until_ns = w->now_ns + below(w, 300 * MS);
        return true;
    default:
        n->wall_offset_ms = (int64_t)below(w, 7200000) - 3600000;
        return true;
    }
}

static bool fault_of_disk(struct world *w, enum fault fault, struct node *n) {
    static const enum mim_sim_call calls[] = {MIM_SIM_PREAD,    MIM_SIM_PWRITE, MIM_SIM_TRUNCATE, MIM_SIM_RENAME,
                                              MIM_SIM_SYNC_DIR, MIM_SIM_LINK,   MIM_SIM_OPEN};
    switch (fault) {
    case FAULT_CRASH_AT_CALL:
        mim_storage_sim_fail_nth(n->sim, 1 + below(w, 60), MIM_SIM_FAULT_CRASH, true);
        return true;
    case FAULT_EIO:
        mim_storage_sim_fail_nth_of(n->sim, calls[below(w, MIM_COUNT_OF(calls))], 1 + below(w, 10), MIM_SIM_FAULT_EIO,
                                    false);
        return true;
    case FAULT_SYNC_EIO:
        mim_storage_sim_fail_nth_of(n->sim, MIM_SIM_SYNC, 1 + below(w, 10), MIM_SIM_FAULT_EIO, false);
        return true;
    case FAULT_FULL:
        tell(w, "node %d's disk is nearly full", n->number);
        mim_storage_sim_set_capacity(n->sim, mim_storage_sim_used(n->sim) + below(w, 3 * w->segment_size));
        n->full_until_ns = w->now_ns + below(w, 300 * MS);
        return true;
    case FAULT_SNAPSHOT:
        return n->up && n->journal && snapshot_make(w, n);
    case FAULT_SNAPSHOT_ROT:
        return snapshot_rot(w, n);
    default:
        return journal_rot(w, n);
    }
}

static bool connection_cut(struct world *w) {
    int from = (int)below(w, CONNECTIONS);
    for (int i = 0; i < CONNECTIONS; i++) {
        int connection = (from + i) % CONNECTIONS;
        const struct connection *c = &w->connections[connection];
        if (c->used) {
            tell(w, "the connection of node %d to node %d breaks", c->dialer, c->listener);
            network_cut(w, connection);
            return true;
        }
    }
    return false;
}

static bool fault_strike(struct world *w, enum fault fault) {
    struct node *n = &w->nodes[below(w, NODES)];
    switch (fault) {
    case FAULT_PARTITION:
        return partition(w);
    case FAULT_CUT:
        return connection_cut(w);
    case FAULT_CRASH:
    case FAULT_KILL:
    case FAULT_PAUSE:
    case FAULT_CLOCK:
        return fault_of_process(w, fault, n);
    default:
        return fault_of_disk(w, fault, n);
    }
}

/** A former primary that follows, and a standby that has all of the primary's journal again, are evidence again. */
static void evidence_look(struct world *w) {
    const struct node *primary = &w->nodes[w->primary];
    for (int i = 0; i < NODES; i++) {
        struct node *n = &w->nodes[i];
        n->apart = n->apart && (i == w->primary || !n->agreed || n->follows != w->primary);
        if (n->wiped && n->up && n->agreed && primary->up && primary->journal && n->follows == w->primary &&
            !primary->reign.promoting && primary->reign.role == MIM_ROLE_PRIMARY &&
            atomic_load(&n->ring.synced_lsn) >= atomic_load(&primary->ring.gate_lsn)) {
            n->wiped = false;
        }
    }
}

void faults_turn(struct world *w) {
    evidence_look(w);
    if (w->settling || !chance(w, 1, w->calm)) {
        return;
    }
    enum fault fault = (enum fault)below(w, FAULT_ORDERS);
    if ((w->faults & (1u << fault)) != 0) {
        w->counters.faults[fault] += fault_strike(w, fault);
    }
}

void faults_end(struct world *w) {
    tell(w, "everything heals");
    w->settling = true;
    memset(w->dark_until_ns, 0, sizeof(w->dark_until_ns));
    for (int i = 0; i < NODES; i++) {
        struct node *n = &w->nodes[i];
        mim_storage_sim_clear_faults(n->sim);
        mim_storage_sim_set_capacity(n->sim, UINT64_MAX);
        n->full_until_ns = n->paused_until_ns = 0;
        n->down_until_ns = w->now_ns;
    }
}
