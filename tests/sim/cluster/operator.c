// SPDX-License-Identifier: MIT
// The operator, who puts a standby in the place of a primary that is gone (or not: orders are given without need too).
//
// The rule, as the README has it. With --sync-replicas K of N standbys: ask N - K + 1 of them; the one with the
// newest epoch and, in it, the newest position is the heir; let the others follow it first; look again; promote it. The
// former primary needs not be stopped, it acknowledges nothing any more; it counts again as a standby when it has followed
// the new one (until then its epoch may be that of a reign nobody took part in). Without --sync-replicas it is stopped
// first, and what only it had is lost. A primary that is fenced by such a reign is promoted once more.
#include "world.h"

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
