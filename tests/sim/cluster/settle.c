// SPDX-License-Identifier: MIT
// The end of a story: without faults everybody finishes; then all nodes have to agree with each other, with what was
// answered, with the reference model, and with what their journals say from the beginning.
#include "world.h"

enum { STEPS_MAX = 40000 };

static bool is_whole(const struct world *w) {
    const struct node *primary = &w->nodes[w->primary];
    if (w->operator.state != OPERATOR_WATCHES || !primary->journal || !mim_appender_idle(&primary->appender) ||
        !mim_reign_settled(&primary->reign, &primary->appender)) {
        return false;
    }
    for (int i = 0; i < NODES; i++) {
        const struct node *n = &w->nodes[i];
        if (!n->journal || n->appender.next_lsn != primary->appender.next_lsn || !mim_appender_idle(&n->appender) ||
            (i != w->primary && !n->agreed)) {
            return false;
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (w->clients[i].waiting) {
            return false;
        }
    }
    return true;
}

static void wait_whole(struct world *w) {
    for (int i = 0; i < STEPS_MAX && !is_whole(w); i++) {
        w->now_ns += below(w, MS);
        clients_turn(w);
        operator_turn(w);
        faults_turn(w);
        for (int n = 0; n < NODES; n++) {
            node_turn(w, &w->nodes[n]);
        }
    }
    if (!is_whole(w)) {
        for (int i = 0; i < NODES; i++) {
            const struct node *n = &w->nodes[i];
            tell(w, "node %d: up %d, journal %d, role %d, fenced %d, follows %d, agreed %d, LSN %llu, epoch %u", i,
                 n->up, n->journal, n->reign.role, n->reign.fenced, n->follows, n->agreed,
                 (unsigned long long)(n->journal ? n->appender.next_lsn : 0), n->journal ? n->appender.epoch : 0);
        }
    }
    REQUIRE(w, is_whole(w));
}

/** Sends everything once more, past the network: what was acknowledged has its answer, the rest happens now or not. */
static void resend(struct world *w, struct node *primary, int64_t balances[ACCOUNTS]) {
    for (unsigned i = 0; i < w->oracle.count; i++) {
        struct operation *operation = &w->oracle.operations[i];
        struct mim_outcome outcome;
        if (operation->refused) {
            continue;
        }
        operation_execute(w, primary, i, &outcome);
        for (int tries = 0; outcome.kind == MIM_OUTCOME_AGAIN && tries < STEPS_MAX; tries++) {
            mim_appender_seal(&primary->appender);
            w->now_ns += MS;
            node_turn(w, primary);
            operation_execute(w, primary, i, &outcome);
        }
        REQUIRE(w, outcome.kind == MIM_OUTCOME_DONE || outcome.kind == MIM_OUTCOME_REJECTED);
        if (operation->acknowledged) {
            tell(w, "command %u again: version %u, position %llu", i, outcome.version,
                 (unsigned long long)outcome.position);
            REQUIRE(w, outcome.kind == MIM_OUTCOME_DONE && outcome.repeated && outcome.version == operation->version &&
                           outcome.position == operation->position);
        }
        if (outcome.kind == MIM_OUTCOME_DONE) {
            int64_t sign = operation->kind == DEPOSIT ? 1 : -1;
            balances[operation->account] += sign * operation->amount;
            balances[operation->to] += operation->kind == TRANSFER ? operation->amount : 0;
        }
    }
}

/** Each command had one effect: the accounts are what a sum over the commands makes of them. */
static void balances_check(struct world *w, struct node *n, const int64_t balances[ACCOUNTS]) {
    for (unsigned a = 0; a < ACCOUNTS; a++) {
        mim_version_t version = 0;
        mim_lsn_t gate = 0;
        int64_t balance = 0;
        if (w->oracle.count > 0 && account_read(w, n, a, &version, &balance, &gate)) {
            if (balance != balances[a]) {
                tell(w, "account %u on node %d: %lld, and should be %lld", a, n->number, (long long)balance,
                     (long long)balances[a]);
            }
            REQUIRE(w, balance == balances[a] && version >= w->oracle.highest[a]);
            const struct sight *sight = &w->oracle.sights[a][version];
            REQUIRE(w, version >= VERSIONS_MAX || !sight->seen || sight->balance == balance);
        } else {
            REQUIRE(w, balances[a] == 0);
        }
    }
}

static void journals_check(struct world *w, struct node *a, struct node *b) {
    struct mim_segments one = {0};
    struct mim_segments other = {0};
    struct mim_error error = {0};
    mim_position_t unused = 0;
    REQUIRE(w, mim_segments_load(a->storage, &one, &unused, &error) == 0);
    REQUIRE(w, mim_segments_load(b->storage, &other, &unused, &error) == 0);
    REQUIRE(w, one.count == other.count);
    for (size_t i = 0; i < one.count; i++) {
        char path[MIM_SEGMENT_PATH_SIZE];
        uint64_t size = 0;
        uint64_t size_other = 0;
        mim_segment_path(one.items[i].header.first_position, path);
        uint64_t end = i + 1 < one.count ? one.items[i + 1].header.base_lsn : a->appender.next_lsn;
        const uint8_t *bytes = mim_storage_sim_bytes(a->sim, path, &size);
        const uint8_t *bytes_other = mim_storage_sim_bytes(b->sim, path, &size_other);
        uint64_t used = end - one.items[i].header.base_lsn;
        REQUIRE(w, bytes != NULL && bytes_other != NULL && used <= size && used <= size_other);
        for (uint64_t at = 0; memcmp(bytes, bytes_other, used) != 0 && at < used; at++) {
            if (bytes[at] != bytes_other[at]) {
                tell(w, "%s differs at %llu of %llu on nodes %d and %d", path, (unsigned long long)at,
                     (unsigned long long)used, a->number, b->number);
                REQUIRE(w, bytes[at] == bytes_other[at]);
            }
        }
    }
    mim_segments_deinit(&one);
    mim_segments_deinit(&other);
}

/** The true test: state from the journal alone, and from a snapshot and its tail, without a byte changed. */
static void scratch_check(struct world *w, struct node *n, uint64_t digest) {
    struct mim_engine_options options = node_engine_options(w);
    struct mim_restore_options restore = node_restore_options();
    struct mim_error error = {0};
    for (int with_snapshot = 0; with_snapshot < 2; with_snapshot++) {
        struct mim_engine *engine = NULL;
        struct mim_recovery recovery = {0};
        struct mim_restored restored = {0};
        uint64_t bytes = mim_storage_sim_hash(n->sim);
        int rc = with_snapshot
                     ? mim_snapshot_recover(n->storage, &options, &restore, NULL, &engine, &restored, &recovery, &error)
                     : mim_engine_new(&options, &engine, &error);
        rc = rc != 0 || with_snapshot ? rc : mim_recovery_run(n->storage, engine, NULL, &recovery, &error);
        if (rc != 0) {
            tell(w, "node %d: %s", n->number, error.text);
        }
        REQUIRE(w, rc == 0);
        REQUIRE(w, mim_engine_digest(engine) == digest);
        REQUIRE(w, mim_storage_sim_hash(n->sim) == bytes);
        mim_recovery_deinit(&recovery);
        (void)mim_engine_free(engine);
    }
}

void settle(struct world *w) {
    int64_t balances[ACCOUNTS] = {0};
    faults_end(w);
    wait_whole(w);
    struct node *primary = &w->nodes[w->primary];
    resend(w, primary, balances);
    wait_whole(w);
    uint64_t digest = mim_engine_digest(primary->engine);
    for (int i = 0; i < NODES; i++) {
        struct node *n = &w->nodes[i];
        REQUIRE(w, mim_engine_digest(n->engine) == digest);
        balances_check(w, n, balances);
        journals_check(w, primary, n);
        scratch_check(w, n, digest);
    }
}
