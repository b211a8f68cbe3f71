// SPDX-License-Identifier: MIT
// Clients with idempotency keys: each has one question on its way, asks again when nothing is heard, and not always at the
// node that it asked before. A question that was given up may still arrive, and be carried out.
#include "world.h"

/* ---------------------------------------------------------------------------- the mail */

static void mail_send(struct world *w, struct mail mail) {
    if (w->mail_count == MAIL_MAX) {
        return; /* lost, as a connection may be */
    }
    mail.at_ns = w->now_ns + below(w, chance(w, 1, 20) && !w->settling ? 200 * MS : 2 * MS);
    w->mail[w->mail_count++] = mail;
}

static struct mail mail_take(struct world *w, unsigned at) {
    struct mail mail = w->mail[at];
    w->mail[at] = w->mail[--w->mail_count];
    return mail;
}

/* ------------------------------------------------------------------------------- asking */

static unsigned operation_new(struct world *w) {
    struct oracle *o = &w->oracle;
    struct operation *operation = &o->operations[o->count];
    uint64_t kind = below(w, 10);
    *operation = (struct operation){.kind = kind < 5   ? DEPOSIT
                                            : kind < 8 ? TRANSFER
                                                       : WITHDRAW,
                                    .account = (unsigned)below(w, ACCOUNTS),
                                    .amount = 1 + (int64_t)below(w, 1000000)};
    operation->to = (operation->account + 1 + (unsigned)below(w, ACCOUNTS - 1)) % ACCOUNTS;
    return o->count++;
}

static void ask(struct world *w, unsigned number, int node) {
    struct client *client = &w->clients[number];
    client->serial = ++w->serial;
    client->sent_ns = w->now_ns;
    if (!client->asking) {
        w->oracle.operations[client->subject].tries++;
    }
    mail_send(w, (struct mail){.kind = client->asking ? MAIL_GET : MAIL_DO,
                               .node = node,
                               .client = number,
                               .serial = client->serial,
                               .subject = client->subject});
}

static void client_turn(struct world *w, unsigned number) {
    struct client *client = &w->clients[number];
    int node = chance(w, 1, 6) && !w->settling ? (int)below(w, NODES) : w->primary;
    if (client->waiting) {
        if (w->now_ns - client->sent_ns > PATIENCE_NS) {
            client->waiting = !client->asking; /* a value is asked for once */
            if (client->waiting) {
                ask(w, number, node);
            }
        }
        return;
    }
    bool more = !w->settling && w->oracle.count < OPERATIONS_MAX;
    if (w->settling || !chance(w, 1, 3)) {
        return;
    }
    client->asking = !more || chance(w, 1, 4);
    client->subject = client->asking ? (unsigned)below(w, ACCOUNTS) : operation_new(w);
    client->waiting = true;
    ask(w, number, client->asking ? (int)below(w, NODES) : node);
}

static void answer_take(struct world *w, const struct mail *mail) {
    struct client *client = &w->clients[mail->client];
    if (!client->waiting || client->serial != mail->serial) {
        return; /* an answer to what was given up */
    }
    if (mail->kind == MAIL_REFUSED && !client->asking) {
        client->sent_ns = w->now_ns - PATIENCE_NS + below(w, 20 * MS); /* soon again */
        w->counters.refused++;
        return;
    }
    if (mail->kind == MAIL_REJECTED) {
        oracle_rejected(w, mail->subject);
    }
    client->waiting = false;
}

void clients_turn(struct world *w) {
    for (unsigned i = 0; i < w->mail_count;) {
        struct mail *mail = &w->mail[i];
        if (mail->kind >= MAIL_DONE && mail->at_ns <= w->now_ns) {
            struct mail taken = mail_take(w, i);
            answer_take(w, &taken);
        } else {
            i++;
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_turn(w, i);
    }
}

/* ----------------------------------------------------------------------- at the node */

static void account_name(unsigned account, char ret_name[8]) { (void)snprintf(ret_name, 8, "a-%u", account); }

void operation_execute(struct world *w, struct node *n, unsigned number, struct mim_outcome *ret_outcome) {
    static const char *const commands[] = {"Deposit", "Withdraw", "Transfer"};
    const struct operation *operation = &w->oracle.operations[number];
    char id[8];
    char to[8];
    char key[16];
    char json[64];
    account_name(operation->account, id);
    account_name(operation->to, to);
    (void)snprintf(key, sizeof(key), "k-%u", number);
    int size = snprintf(json, sizeof(json), "{\"amount\":%lld", (long long)operation->amount);
    if (operation->kind == TRANSFER) {
        size += snprintf(json + size, sizeof(json) - (size_t)size, ",\"to\":\"%s\"", to);
    }
    (void)snprintf(json + size, sizeof(json) - (size_t)size, "}");
    const struct mim_request request = {.type = mim_slice_text("account"),
                                        .id = mim_slice_text(id),
                                        .command = mim_slice_text(commands[operation->kind]),
                                        .json = mim_slice_text(json),
                                        .key = mim_slice_text(key),
                                        .wall_ms = 1000000 + n->wall_offset_ms + (int64_t)(w->now_ns / MS)};
    mim_engine_execute(n->engine, &n->appender, &request, ret_outcome);
}

/** Accounts are opened by whoever comes first, each by one command with a key of its own. */
static enum mim_outcome_kind accounts_open(struct world *w, struct node *n) {
    struct mim_outcome outcome = {.kind = MIM_OUTCOME_DONE};
    for (unsigned i = 0; i < ACCOUNTS && outcome.kind == MIM_OUTCOME_DONE; i++) {
        char id[8];
        char key[16];
        account_name(i, id);
        (void)snprintf(key, sizeof(key), "open-%u", i);
        const struct mim_request request = {.type = mim_slice_text("account"),
                                            .id = mim_slice_text(id),
                                            .command = mim_slice_text("Open"),
                                            .json = mim_slice_text("{\"owner\":\"o\",\"currency\":\"CZK\"}"),
                                            .key = mim_slice_text(key),
                                            .wall_ms = 1000000 + n->wall_offset_ms + (int64_t)(w->now_ns / MS)};
        mim_engine_execute(n->engine, &n->appender, &request, &outcome);
    }
    REQUIRE(w, outcome.kind == MIM_OUTCOME_DONE || outcome.kind == MIM_OUTCOME_AGAIN ||
                   outcome.kind == MIM_OUTCOME_READONLY);
    return outcome.kind;
}

bool account_read(struct world *w, struct node *n, unsigned account, mim_version_t *ret_version, int64_t *ret_balance,
                  mim_lsn_t *ret_gate) {
    struct mim_buffer out = {0};
    struct mim_error error = {0};
    char id[8];
    account_name(account, id);
    int rc = mim_engine_get(n->engine, &n->appender, mim_slice_text("account"), mim_slice_text(id), &out, ret_version,
                            ret_gate, &error);
    REQUIRE(w, rc == 0 || rc == MIM_E_NOT_FOUND);
    if (rc == 0) {
        mim_buffer_append(&out, "", 1);
        const char *at = strstr((const char *)out.data, "\"balance\":");
        REQUIRE(w, at != NULL);
        *ret_balance = strtoll(at + 10, NULL, 10);
    }
    mim_buffer_deinit(&out);
    return rc == 0;
}

static void hold(struct world *w, struct node *n, struct mail mail, enum mail_kind kind, const struct held *answer) {
    REQUIRE(w, n->held_count < HELD_MAX);
    struct held *held = &n->held[n->held_count++];
    *held = *answer;
    held->mail = mail;
    held->mail.kind = kind;
}

/** True: answered, or its answer is held. False: it has to wait. */
static bool request_do(struct world *w, struct node *n, const struct mail *mail) {
    struct mim_outcome outcome;
    bool open = n->journal && n->reign.role == MIM_ROLE_PRIMARY && !n->reign.fenced && !n->reign.promoting &&
                standbys_streaming(w, n) >= w->wanted;
    outcome.kind = open ? accounts_open(w, n) : MIM_OUTCOME_READONLY;
    if (outcome.kind == MIM_OUTCOME_DONE) {
        operation_execute(w, n, mail->subject, &outcome);
    }
    switch (outcome.kind) {
    case MIM_OUTCOME_DONE:
        w->counters.commands += !outcome.repeated;
        w->counters.repeated += outcome.repeated;
        hold(w, n, *mail, MAIL_DONE,
             &(struct held){.gate = outcome.gate, .version = outcome.version, .position = outcome.position});
        return true;
    case MIM_OUTCOME_REJECTED:
        hold(w, n, *mail, MAIL_REJECTED, &(struct held){.gate = outcome.gate});
        return true;
    case MIM_OUTCOME_AGAIN:
        return false;
    default:
        REQUIRE(w, outcome.kind == MIM_OUTCOME_READONLY);
        hold(w, n, *mail, MAIL_REFUSED, &(struct held){0});
        return true;
    }
}

static bool request_get(struct world *w, struct node *n, const struct mail *mail) {
    struct held answer = {0};
    bool there = n->journal && account_read(w, n, mail->subject, &answer.version, &answer.balance, &answer.gate);
    hold(w, n, *mail, there ? MAIL_VALUE : MAIL_REFUSED, &answer);
    return true;
}

void clients_serve(struct world *w, struct node *n) {
    for (unsigned i = 0; i < w->mail_count && n->held_count < HELD_MAX;) {
        struct mail *mail = &w->mail[i];
        bool here = mail->kind <= MAIL_GET && mail->node == n->number && mail->at_ns <= w->now_ns;
        if (here && (mail->kind == MAIL_DO ? request_do(w, n, mail) : request_get(w, n, mail))) {
            (void)mail_take(w, i);
        } else {
            i++;
        }
    }
    if (!n->journal) {
        n->held_count = 0; /* nothing to be shown: refused */
    }
}

void clients_release(struct world *w, struct node *n) {
    mim_lsn_t shown = mim_appender_shown(&n->appender);
    unsigned kept = 0;
    for (unsigned i = 0; i < n->held_count; i++) {
        struct held *held = &n->held[i];
        if (held->gate > shown) {
            n->held[kept++] = *held;
            continue;
        }
        if (held->mail.kind == MAIL_DONE) {
            oracle_done(w, n, held);
        } else if (held->mail.kind == MAIL_VALUE) {
            oracle_value(w, n, held);
        }
        mail_send(w, held->mail);
    }
    n->held_count = kept;
}
