// SPDX-License-Identifier: MIT
// Who breaks things, and the operator who puts a standby in the place of a primary.
//
// The operator's rule, as the README has it. With --sync-replicas K of N standbys: ask N - K + 1 of them; the one with the
// newest epoch and, in it, the newest position is the heir; let the others follow it first; look again; promote it. The
// former primary needs not be stopped, it acknowledges nothing any more; it counts again as a standby when it has followed
// the new one (until then its epoch may be that of a reign nobody took part in). Without --sync-replicas it is stopped
// first, and what only it had is lost. A primary that is fenced by such a reign is promoted once more.
#include "world.h"

/* ------------------------------------------------------------------------- the operator */

static bool newer(const struct node *a, const struct node *b) {
    if (a->appender.epoch != b->appender.epoch) {
        return a->appender.epoch > b->appender.epoch;
    }
    return node_position(a) > node_position(b);
}

static bool answers(const struct world *w, const struct node *n) {
    return n->up && n->journal && !n->wiped && !n->apart && n->reopen == REOPEN_NOT && w->now_ns >= n->paused_until_ns;
}

/** The standbys that answer; how many, and which is the furthest. */
static unsigned standbys_ask(struct world *w, int *ret_heir) {
    unsigned count = 0;
    *ret_heir = NOBODY;
    for (int i = 0; i < NODES; i++) {
        if (i != w->primary && answers(w, &w->nodes[i])) {
            count++;
            *ret_heir = *ret_heir == NOBODY || newer(&w->nodes[i], &w->nodes[*ret_heir]) ? i : *ret_heir;
        }
    }
    return count;
}

static unsigned answers_needed(const struct world *w) { return w->wanted == 0 ? 1 : STANDBYS - w->wanted + 1; }

static void heir_choose(struct world *w, int heir) {
    struct operator* o = & w->operator;
    tell(w, "the operator chooses node %d", heir);
    o->heir = heir;
    o->state = OPERATOR_ASKED;
    o->at_ns = w->now_ns + below(w, 10 * MS); /* meanwhile things go on */
}

/** Points the others at the heir. */
static void heir_announce(struct world *w) {
    struct operator* o = & w->operator;
    o->state = OPERATOR_ORDERED;
    o->at_ns = w->now_ns + below(w, 10 * MS);
    for (int i = 0; i < NODES; i++) {
        if (i != w->primary && i != o->heir && w->nodes[i].follows != o->heir) {
            o->order[i] = false; /* what it was still to be told is no longer true */
            if (answers(w, &w->nodes[i])) {
                node_follow(w, &w->nodes[i], o->heir);
            }
        }
    }
}

/** As many as are needed have left the former primary, or are the heir. */
static bool all_told(const struct world *w) {
    unsigned count = 0;
    for (int i = 0; i < NODES; i++) {
        bool left = i == w->operator.heir || w->nodes[i].follows == w->operator.heir;
        count += i != w->primary && answers(w, &w->nodes[i]) && left;
    }
    return count >= answers_needed(w);
}

static void primary_stop(struct world *w) {
    struct node *old = &w->nodes[w->primary];
    if (old->up) {
        tell(w, "the operator stops node %d", old->number);
        node_kill(w, old);
    }
    old->follows = w->operator.heir;
}

static void heir_promote(struct world *w) {
    struct operator* o = & w->operator;
    struct node *heir = &w->nodes[o->heir];
    int former = w->primary;
    w->nodes[former].apart = true;
    if (w->wanted == 0) {
        primary_stop(w);
        oracle_unsynced(w, heir);
        oracle_allow_loss(w);
    }
    for (int i = 0; i < NODES; i++) {
        if (i != o->heir && w->nodes[i].follows != o->heir) { /* until then a former primary believes that it reigns */
            o->order[i] = true;
            o->order_ns[i] = w->now_ns + below(w, 300 * MS);
        }
    }
    w->primary = o->heir;
    heir->apart = false;
    o->state = OPERATOR_WATCHES;
    o->at_ns = w->now_ns + 100 * MS + below(w, 200 * MS);
    node_promote(w, heir);
}

/** Looks again whether the one that was chosen is the furthest, now that the others get nothing from elsewhere. */
static void heir_look(struct world *w) {
    struct operator* o = & w->operator;
    int best = NOBODY;
    heir_announce(w); /* to who did not hear it the first time */
    if (!all_told(w) || standbys_ask(w, &best) < answers_needed(w) || !answers(w, &w->nodes[o->heir])) {
        o->at_ns = w->now_ns + 10 * MS;
        return;
    }
    if (best != o->heir && newer(&w->nodes[best], &w->nodes[o->heir])) {
        heir_choose(w, best);
    } else {
        heir_promote(w);
    }
}

static void orders_deliver(struct world *w) {
    struct operator* o = & w->operator;
    for (int i = 0; i < NODES; i++) {
        if (o->order[i] && w->now_ns >= o->order_ns[i]) {
            o->order[i] = false;
            if (i != w->primary) {
                node_follow(w, &w->nodes[i], w->primary);
            }
        }
    }
}

void operator_turn(struct world *w) {
    struct operator* o = & w->operator;
    orders_deliver(w);
    if (w->now_ns < o->at_ns) {
        return;
    }
    if (o->state != OPERATOR_WATCHES) {
        if (o->state == OPERATOR_ASKED) {
            heir_announce(w);
        } else {
            heir_look(w);
        }
        return;
    }
    struct node *primary = &w->nodes[w->primary];
    if (primary->up && primary->reign.fenced && w->now_ns >= primary->paused_until_ns) {
        node_promote(w, primary); /* it met a reign that had come to nothing */
        o->at_ns = w->now_ns + 50 * MS;
        return;
    }
    bool gone = !primary->up && !w->settling;
    bool whim = (w->faults & (1u << FAULT_ORDERS)) != 0 && !w->settling && chance(w, 1, 300);
    int heir = NOBODY;
    if ((gone && chance(w, 1, 10)) || whim) {
        if (standbys_ask(w, &heir) >= answers_needed(w)) {
            w->counters.faults[FAULT_ORDERS] += whim;
            heir_choose(w, heir);
        }
    }
}

/* --------------------------------------------------------------------------- the faults */

static void snapshot_make(struct world *w, struct node *n) {
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
        return;
    }
    int rc = mim_snapshot_write(n->storage, made, restored.found ? &restored.header : NULL, 1, NULL, NULL, &header,
                                &written, &error);
    rc = rc != 0 ? rc : mim_snapshots_prune(n->storage, 2, &error);
    tell(w, "node %d makes a snapshot%s", n->number, rc == 0 ? "" : ", in vain");
    mim_recovery_deinit(&recovery);
    (void)mim_engine_free(made);
}

static void snapshot_rot(struct world *w, struct node *n) {
    struct mim_snapshots snapshots;
    struct mim_error error = {0};
    if (mim_snapshots_load(n->storage, &snapshots, &error) == 0 && snapshots.count > 0) {
        char path[MIM_SNAPSHOT_PATH_SIZE];
        uint64_t size = 0;
        mim_snapshot_path(snapshots.items[0].position, path);
        if (mim_storage_sim_bytes(n->sim, path, &size) != NULL && size > 0) {
            (void)mim_storage_sim_flip_bit(n->sim, path, below(w, size * 8));
            tell(w, "a bit of node %d's snapshot flips", n->number);
        }
        mim_snapshots_deinit(&snapshots);
    }
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

/** A bit of a standby's journal flips while it is down and the others are well. */
static void journal_rot(struct world *w, struct node *n) {
    struct mim_segments segments = {0};
    struct mim_error error = {0};
    mim_position_t unused = 0;
    for (int i = 0; i < NODES; i++) {
        const struct node *other = &w->nodes[i];
        bool well = other->up && other->journal && !other->wiped && (i == w->primary || other->agreed);
        if (i != n->number && !well) {
            return;
        }
    }
    if (n->follows != w->primary || n->wiped ||
        w->operator.state != OPERATOR_WATCHES || w->nodes[w->primary].reign.promoting || !mim_reign_settled(
            &w->nodes[w->primary].reign, &w->nodes[w->primary].appender)) {
        return;
    }
    if (n->up) {
        node_kill(w, n);
    }
    if (mim_segments_load(n->storage, &segments, &unused, &error) == 0 && segments.count > 0) {
        char path[MIM_SEGMENT_PATH_SIZE];
        const struct mim_segment *segment = &segments.items[below(w, segments.count)];
        snapshots_remove(n);
        mim_segment_path(segment->header.first_position, path);
        (void)mim_storage_sim_flip_bit(n->sim, path, below(w, segment->file_size * 8));
        tell(w, "a bit of node %d's journal flips", n->number);
        n->wiped = true;
    }
    mim_segments_deinit(&segments);
}

static void partition(struct world *w) {
    int a = (int)below(w, NODES);
    int b = (a + 1 + (int)below(w, NODES - 1)) % NODES;
    uint64_t until = w->now_ns + 20 * MS + below(w, 400 * MS);
    bool one_way = chance(w, 1, 3);
    w->dark_until_ns[a][b] = until;
    w->dark_until_ns[b][a] = one_way ? w->dark_until_ns[b][a] : until;
    tell(w, "nothing gets from node %d to node %d%s", a, b, one_way ? "" : ", nor back");
}

static void fault_of_node(struct world *w, enum fault fault, struct node *n) {
    static const enum mim_sim_call calls[] = {MIM_SIM_PREAD,    MIM_SIM_PWRITE, MIM_SIM_TRUNCATE, MIM_SIM_RENAME,
                                              MIM_SIM_SYNC_DIR, MIM_SIM_LINK,   MIM_SIM_OPEN};
    switch (fault) {
    case FAULT_CRASH:
        if (n->up) {
            tell(w, "node %d loses its power", n->number);
            node_crash(w, n);
        }
        break;
    case FAULT_KILL:
        if (n->up) {
            tell(w, "node %d is killed", n->number);
            node_kill(w, n);
        }
        break;
    case FAULT_CRASH_AT_CALL:
        mim_storage_sim_fail_nth(n->sim, 1 + below(w, 60), MIM_SIM_FAULT_CRASH, true);
        break;
    case FAULT_EIO:
        mim_storage_sim_fail_nth_of(n->sim, calls[below(w, MIM_COUNT_OF(calls))], 1 + below(w, 10), MIM_SIM_FAULT_EIO,
                                    false);
        break;
    case FAULT_SYNC_EIO:
        mim_storage_sim_fail_nth_of(n->sim, MIM_SIM_SYNC, 1 + below(w, 10), MIM_SIM_FAULT_EIO, false);
        break;
    case FAULT_FULL:
        tell(w, "node %d's disk is nearly full", n->number);
        mim_storage_sim_set_capacity(n->sim, mim_storage_sim_used(n->sim) + below(w, 3 * w->segment_size));
        n->full_until_ns = w->now_ns + below(w, 300 * MS);
        break;
    case FAULT_PAUSE:
        tell(w, "node %d stands still", n->number);
        n->paused_until_ns = w->now_ns + below(w, 300 * MS);
        break;
    case FAULT_CLOCK:
        n->wall_offset_ms = (int64_t)below(w, 7200000) - 3600000;
        break;
    case FAULT_SNAPSHOT:
        if (n->up && n->journal) {
            snapshot_make(w, n);
        }
        break;
    case FAULT_SNAPSHOT_ROT:
        snapshot_rot(w, n);
        break;
    case FAULT_ROT:
        journal_rot(w, n);
        break;
    default:
        break;
    }
}

static void fault_strike(struct world *w, enum fault fault) {
    w->counters.faults[fault]++;
    if (fault == FAULT_PARTITION) {
        partition(w);
    } else if (fault == FAULT_CUT) {
        int connection = (int)below(w, CONNECTIONS);
        if (w->connections[connection].used) {
            tell(w, "the connection of node %d to node %d breaks", w->connections[connection].dialer,
                 w->connections[connection].listener);
            network_cut(w, connection);
        }
    } else {
        fault_of_node(w, fault, &w->nodes[below(w, NODES)]);
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
        fault_strike(w, fault);
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
