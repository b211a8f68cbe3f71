// SPDX-License-Identifier: MIT
// What must always hold, checked when a byte leaves a node and when a node begins to reign:
//   - an acknowledged command stays, with its version and position, unless the mode or the operator allowed its loss;
//   - a command with a key has one answer; one that was rejected for good never happens;
//   - whatever was shown of an account at a version is shown of that version for ever, and the version does not fall;
//   - in one epoch one node acknowledges, where standbys are waited for;
//   - nodes at the same point of the same history have the same state.
#include "engine/internal.h"
#include "world.h"

/** True when the node remembers the command with the answer that was given. */
static bool remembers(const struct node *n, unsigned number, const struct operation *operation) {
    char key[16];
    int size = snprintf(key, sizeof(key), "k-%u", number);
    const struct mim_key_entry *entry = mim_keys_find(n->engine, mim_slice_of(key, (size_t)size));
    return entry != NULL && entry->version == operation->version && entry->position == operation->position;
}

void oracle_unsynced(struct world *w, const struct node *n) {
    mim_position_t synced = atomic_load(&n->ring.synced_position);
    for (unsigned i = 0; i < w->oracle.count; i++) {
        struct operation *operation = &w->oracle.operations[i];
        operation->unsynced = operation->acknowledged && (operation->position > synced || !remembers(n, i, operation));
    }
}

void oracle_allow_loss(struct world *w) {
    struct oracle *o = &w->oracle;
    for (unsigned i = 0; i < o->count; i++) {
        o->operations[i].may_be_lost |= o->operations[i].unsynced;
    }
    for (unsigned a = 0; a < ACCOUNTS; a++) {
        for (unsigned v = 0; v < VERSIONS_MAX; v++) { /* no position is known: whoever reigns next decides */
            o->sights[a][v].may_be_lost = o->sights[a][v].seen;
        }
    }
}

static void epoch_look(struct world *w, const struct node *n) {
    struct oracle *o = &w->oracle;
    for (unsigned i = 0; i < o->reign_count; i++) {
        if (o->reigns[i].epoch == n->appender.epoch) { /* alone, a standby that missed a reign repeats its number */
            REQUIRE(w, o->reigns[i].node == n->number || w->wanted == 0);
            return;
        }
    }
    REQUIRE(w, o->reign_count < MIM_COUNT_OF(o->reigns));
    o->reigns[o->reign_count].epoch = n->appender.epoch;
    o->reigns[o->reign_count++].node = n->number;
}

void oracle_done(struct world *w, const struct node *n, const struct held *held) {
    struct operation *operation = &w->oracle.operations[held->mail.subject];
    tell(w, "node %d acknowledges command %u: version %u, position %llu", n->number, held->mail.subject, held->version,
         (unsigned long long)held->position);
    epoch_look(w, n);
    REQUIRE(w, !operation->refused);
    if (operation->acknowledged) {
        REQUIRE(w, operation->version == held->version && operation->position == held->position);
        return;
    }
    operation->acknowledged = true;
    operation->may_be_lost = false;
    operation->version = held->version;
    operation->position = held->position;
    w->counters.acknowledged++;
}

void oracle_rejected(struct world *w, unsigned number) {
    struct operation *operation = &w->oracle.operations[number];
    operation->refused = operation->tries == 1; /* else an earlier one may still be on its way */
    REQUIRE(w, !operation->refused || !operation->acknowledged);
}

/** A standby's values are as safe as what is acknowledged when each standby's word is asked for before a promotion, and a
 *  power cut takes nothing from the primary that it has sent. */
static bool is_promise(const struct world *w, const struct node *n) {
    return n->reign.role == MIM_ROLE_PRIMARY || (w->wanted == 1 && n->agreed && w->durability == MIM_DURABILITY_FSYNC);
}

void oracle_value(struct world *w, const struct node *n, const struct held *held) {
    struct oracle *o = &w->oracle;
    unsigned account = held->mail.subject;
    REQUIRE(w, held->version < VERSIONS_MAX);
    struct sight *sight = &o->sights[account][held->version];
    w->counters.values++;
    if (!is_promise(w, n)) {
        return;
    }
    tell(w, "node %d shows account %u: version %u, balance %lld", n->number, account, held->version,
         (long long)held->balance);
    REQUIRE(w, !sight->seen || sight->balance == held->balance);
    *sight = (struct sight){.seen = true, .balance = held->balance};
    o->highest[account] = held->version > o->highest[account] ? held->version : o->highest[account];
}

static void operations_look(struct world *w, struct node *n) {
    for (unsigned i = 0; i < w->oracle.count; i++) {
        struct operation *operation = &w->oracle.operations[i];
        if (operation->acknowledged && !remembers(n, i, operation)) {
            tell(w, "command %u was acknowledged at position %llu; node %d reigns from %llu without it", i,
                 (unsigned long long)operation->position, n->number, (unsigned long long)node_position(n));
            REQUIRE(w, operation->may_be_lost);
            operation->acknowledged = false;
            w->counters.lost++;
        }
        operation->may_be_lost = operation->unsynced = false; /* what is here now stays */
    }
}

/** What was seen beyond what the new primary has. */
static void sights_look(struct world *w, struct node *n, unsigned account) {
    struct oracle *o = &w->oracle;
    mim_version_t version = 0;
    mim_lsn_t gate = 0;
    int64_t balance = 0;
    (void)account_read(w, n, account, &version, &balance, &gate);
    for (mim_version_t v = o->highest[account]; v > 0; v--) {
        struct sight *sight = &o->sights[account][v];
        if (sight->may_be_lost) {
            *sight = (struct sight){0};
        } else if (sight->seen && v > version) {
            tell(w, "account %u was seen at version %u, and is at %u", account, v, version);
            REQUIRE(w, v <= version);
        }
    }
    o->highest[account] = o->highest[account] < version ? o->highest[account] : version;
}

void oracle_reign(struct world *w, struct node *n) {
    if (w->wanted > 0 && n->number != w->primary) {
        return; /* a former primary: it acknowledges and shows nothing without the standbys */
    }
    operations_look(w, n);
    for (unsigned a = 0; a < ACCOUNTS; a++) {
        sights_look(w, n, a);
    }
}

/** True for a standby whose image is the fold of its primary's frames; where it stands. */
static bool stands(const struct node *n, struct mim_engine_point *ret_point) {
    if (!n->journal || n->reign.role != MIM_ROLE_STANDBY || !n->agreed) {
        return false;
    }
    mim_engine_point(n->engine, ret_point);
    return true;
}

void oracle_compare(struct world *w) {
    for (int a = 0; a < NODES; a++) {
        for (int b = a + 1; b < NODES; b++) {
            struct mim_engine_point one;
            struct mim_engine_point other;
            if (stands(&w->nodes[a], &one) && stands(&w->nodes[b], &other) && one.lsn == other.lsn &&
                one.chain == other.chain) {
                REQUIRE(w, mim_engine_digest(w->nodes[a].engine) == mim_engine_digest(w->nodes[b].engine));
            }
        }
    }
}
