// SPDX-License-Identifier: MIT
// The flagship model: accounts with a balance in one currency, transfers between them, totals and a ranking. Uses
// memimage/model.h alone, as any outside model does. An account's slot is one cache line.
#include <string.h>

#include "models/ledger_projection.h"
#include "models/models.h"

/* ------------------------------------------------------------ structs */

struct account_open {
    struct mim_string owner;
    struct mim_string currency;
    int64_t overdraft;
};

struct account_amount {
    int64_t amount;
    struct mim_string note;
};

struct account_transfer {
    struct mim_string to;
    int64_t amount;
};

struct account_nothing {
    uint64_t reserved;
};

struct account_received {
    struct mim_string from;
    int64_t amount;
};

static const struct mim_field state_fields[] = {
    MIM_FIELD(struct ledger_account, owner, MIM_STRING), MIM_FIELD(struct ledger_account, currency, MIM_STRING),
    MIM_FIELD(struct ledger_account, balance, MIM_I64),  MIM_FIELD(struct ledger_account, overdraft, MIM_I64),
    MIM_FIELD(struct ledger_account, open, MIM_BOOL),
};

static const struct mim_field open_fields[] = {
    MIM_FIELD(struct account_open, owner, MIM_STRING),
    MIM_FIELD(struct account_open, currency, MIM_STRING, .min = 3, .max = 3, .flags = MIM_LETTERS),
    MIM_FIELD(struct account_open, overdraft, MIM_I64, .max = INT64_MAX, .flags = MIM_OPTIONAL),
};

static const struct mim_field amount_fields[] = {
    MIM_FIELD(struct account_amount, amount, MIM_I64, .min = 1, .max = INT64_MAX),
    MIM_FIELD(struct account_amount, note, MIM_STRING, .flags = MIM_OPTIONAL),
};

static const struct mim_field transfer_fields[] = {
    MIM_FIELD(struct account_transfer, to, MIM_STRING, .flags = MIM_ID),
    MIM_FIELD(struct account_transfer, amount, MIM_I64, .min = 1, .max = INT64_MAX),
};

static const struct mim_field received_fields[] = {
    MIM_FIELD(struct account_received, from, MIM_STRING, .flags = MIM_ID),
    MIM_FIELD(struct account_received, amount, MIM_I64, .min = 1, .max = INT64_MAX),
};

/* ------------------------------------------------------------- evolve */

static void evolve_opened(struct mim_evolution *e, void *state, const void *event) {
    struct ledger_account *account = state;
    const struct account_open *opened = event;
    mim_text_set(e, &account->owner, opened->owner);
    mim_text_set(e, &account->currency, opened->currency);
    account->overdraft = opened->overdraft;
    account->open = true;
}

static void account_add(struct ledger_account *account, int64_t amount) {
    account->balance = ledger_plus(account->balance, amount);
}

static void evolve_deposited(struct mim_evolution *e, void *state, const void *event) {
    (void)e;
    account_add(state, ((const struct account_amount *)event)->amount);
}

static void evolve_withdrawn(struct mim_evolution *e, void *state, const void *event) {
    (void)e;
    account_add(state, ledger_minus(0, ((const struct account_amount *)event)->amount));
}

static void evolve_sent(struct mim_evolution *e, void *state, const void *event) {
    (void)e;
    account_add(state, ledger_minus(0, ((const struct account_transfer *)event)->amount));
}

static void evolve_received(struct mim_evolution *e, void *state, const void *event) {
    (void)e;
    account_add(state, ((const struct account_received *)event)->amount);
}

static void evolve_closed(struct mim_evolution *e, void *state, const void *event) {
    (void)e;
    (void)event;
    ((struct ledger_account *)state)->open = false;
}

enum { OPENED, DEPOSITED, WITHDRAWN, SENT, RECEIVED, CLOSED };

static const struct mim_event_type events[] = {
    [OPENED] = {.name = "Opened",
                .version = 1,
                .size = sizeof(struct account_open),
                MIM_FIELDS(open_fields),
                .evolve = evolve_opened,
                .doc = "The account exists from now on."},
    [DEPOSITED] = {.name = "Deposited",
                   .version = 1,
                   .size = sizeof(struct account_amount),
                   MIM_FIELDS(amount_fields),
                   .evolve = evolve_deposited,
                   .doc = "Money came in from outside."},
    [WITHDRAWN] = {.name = "Withdrawn",
                   .version = 1,
                   .size = sizeof(struct account_amount),
                   MIM_FIELDS(amount_fields),
                   .evolve = evolve_withdrawn,
                   .doc = "Money went outside."},
    [SENT] = {.name = "TransferSent",
              .version = 1,
              .size = sizeof(struct account_transfer),
              MIM_FIELDS(transfer_fields),
              .evolve = evolve_sent,
              .doc = "Money went to another account."},
    [RECEIVED] = {.name = "TransferReceived",
                  .version = 1,
                  .size = sizeof(struct account_received),
                  MIM_FIELDS(received_fields),
                  .evolve = evolve_received,
                  .doc = "Money came from another account."},
    [CLOSED] = {.name = "Closed",
                .version = 1,
                .size = sizeof(struct account_nothing),
                .evolve = evolve_closed,
                .doc = "The account takes no commands any more."},
};

/* ------------------------------------------------------------- decide */

static mim_verdict_t reject_no_account(struct mim_decision *d, struct mim_string id) {
    return mim_reject(d, "NO_ACCOUNT", "account/%.*s does not exist", (int)id.size, id.data);
}

static mim_verdict_t reject_closed(struct mim_decision *d, struct mim_string id) {
    return mim_reject(d, "ACCOUNT_CLOSED", "account/%.*s is closed", (int)id.size, id.data);
}

static mim_verdict_t reject_overflow(struct mim_decision *d) {
    return mim_reject(d, "OVERFLOW", "the amount is more than a 64-bit sum can hold");
}

/** The two rejections that every command but Open begins with. */
static mim_verdict_t refuse_unusable(struct mim_decision *d, const struct ledger_account *account) {
    if (account == NULL) {
        return reject_no_account(d, mim_decision_id(d));
    }
    return account->open ? mim_accept() : reject_closed(d, mim_decision_id(d));
}

/** True when the balance would fall below minus the overdraft. */
static bool insufficient(const struct ledger_account *account, int64_t amount) {
    int64_t after;
    return __builtin_sub_overflow(account->balance, amount, &after) || after < ledger_minus(0, account->overdraft);
}

static mim_verdict_t reject_insufficient(struct mim_decision *d, const struct ledger_account *account) {
    return mim_reject(d, "INSUFFICIENT_FUNDS", "the balance is %lld and the overdraft %lld",
                      (long long)account->balance, (long long)account->overdraft);
}

static mim_verdict_t decide_open(struct mim_decision *d, const void *state, const void *command) {
    const struct account_open *open = command;
    if (state != NULL) {
        struct mim_string id = mim_decision_id(d);
        return mim_reject(d, "ACCOUNT_EXISTS", "account/%.*s exists already", (int)id.size, id.data);
    }
    *(struct account_open *)mim_emit(d, &events[OPENED]) = *open;
    return mim_accept();
}

static mim_verdict_t decide_deposit(struct mim_decision *d, const void *state, const void *command) {
    const struct ledger_account *account = state;
    const struct account_amount *deposit = command;
    mim_verdict_t refused = refuse_unusable(d, account);
    if (refused != 0) {
        return refused;
    }
    int64_t after;
    if (__builtin_add_overflow(account->balance, deposit->amount, &after) ||
        ledger_deposit_overflows(d, account, deposit->amount)) {
        return reject_overflow(d);
    }
    *(struct account_amount *)mim_emit(d, &events[DEPOSITED]) = *deposit;
    return mim_accept();
}

static mim_verdict_t decide_withdraw(struct mim_decision *d, const void *state, const void *command) {
    const struct ledger_account *account = state;
    const struct account_amount *withdraw = command;
    mim_verdict_t refused = refuse_unusable(d, account);
    if (refused != 0) {
        return refused;
    }
    if (insufficient(account, withdraw->amount) || ledger_withdrawal_overflows(d, account, withdraw->amount)) {
        return reject_insufficient(d, account);
    }
    *(struct account_amount *)mim_emit(d, &events[WITHDRAWN]) = *withdraw;
    return mim_accept();
}

static bool strings_equal(struct mim_string a, struct mim_string b) {
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/** The checks of Transfer in the order of the contract: code by code, this account before the other. */
static mim_verdict_t refuse_transfer(struct mim_decision *d, const struct ledger_account *account,
                                     const struct ledger_account *other, const struct account_transfer *transfer) {
    if (account == NULL) {
        return reject_no_account(d, mim_decision_id(d));
    }
    if (other == NULL) {
        return reject_no_account(d, transfer->to);
    }
    if (!account->open) {
        return reject_closed(d, mim_decision_id(d));
    }
    if (!other->open) {
        return reject_closed(d, transfer->to);
    }
    if (strings_equal(transfer->to, mim_decision_id(d))) {
        return mim_reject(d, "SAME_ACCOUNT", "an account cannot transfer to itself");
    }
    const struct mim_host *host = mim_decision_host(d);
    struct mim_string own = mim_text_get(host, &account->currency);
    struct mim_string others = mim_text_get(host, &other->currency);
    if (!strings_equal(own, others)) {
        return mim_reject(d, "CURRENCY_MISMATCH", "one account is in %.*s, the other in %.*s", (int)own.size, own.data,
                          (int)others.size, others.data);
    }
    if (insufficient(account, transfer->amount)) {
        return reject_insufficient(d, account);
    }
    int64_t after;
    return __builtin_add_overflow(other->balance, transfer->amount, &after) ? reject_overflow(d) : mim_accept();
}

static const struct mim_aggregate_type aggregates[];

static mim_verdict_t decide_transfer(struct mim_decision *d, const void *state, const void *command) {
    const struct account_transfer *transfer = command;
    const struct ledger_account *other = mim_read(d, &aggregates[0], transfer->to);
    mim_verdict_t refused = refuse_transfer(d, state, other, transfer);
    if (refused != 0) {
        return refused;
    }
    *(struct account_transfer *)mim_emit(d, &events[SENT]) = *transfer;
    struct account_received *received = mim_emit_to(d, &aggregates[0], transfer->to, &events[RECEIVED]);
    *received = (struct account_received){.from = mim_decision_id(d), .amount = transfer->amount};
    return mim_accept();
}

static mim_verdict_t decide_close(struct mim_decision *d, const void *state, const void *command) {
    const struct ledger_account *account = state;
    (void)command;
    mim_verdict_t refused = refuse_unusable(d, account);
    if (refused != 0) {
        return refused;
    }
    if (account->balance != 0) {
        return mim_reject(d, "BALANCE_NOT_ZERO", "the balance is %lld", (long long)account->balance);
    }
    (void)mim_emit(d, &events[CLOSED]);
    return mim_accept();
}

static const struct mim_command_type commands[] = {
    {.name = "Open",
     .size = sizeof(struct account_open),
     MIM_FIELDS(open_fields),
     .decide = decide_open,
     .doc = "Opens an account in a currency of three letters, with an overdraft if wanted."},
    {.name = "Deposit",
     .size = sizeof(struct account_amount),
     MIM_FIELDS(amount_fields),
     .decide = decide_deposit,
     .doc = "Adds minor units to the balance."},
    {.name = "Withdraw",
     .size = sizeof(struct account_amount),
     MIM_FIELDS(amount_fields),
     .decide = decide_withdraw,
     .doc = "Takes minor units from the balance, down to minus the overdraft."},
    {.name = "Transfer",
     .size = sizeof(struct account_transfer),
     MIM_FIELDS(transfer_fields),
     .decide = decide_transfer,
     .doc = "Moves minor units to another account of the same currency: one transaction."},
    {.name = "Close",
     .size = sizeof(struct account_nothing),
     .decide = decide_close,
     .doc = "Closes an account whose balance is zero, for good."},
};

/* ------------------------------------------------- the model as a whole */

static void project_opened(struct mim_evolution *e, void *projection, const void *aggregate, const void *event) {
    (void)event;
    ledger_project_opened(e, projection, aggregate);
}

static void project_deposited(struct mim_evolution *e, void *projection, const void *aggregate, const void *event) {
    ledger_project_deposited(e, projection, aggregate, ((const struct account_amount *)event)->amount);
}

static void project_withdrawn(struct mim_evolution *e, void *projection, const void *aggregate, const void *event) {
    ledger_project_withdrawn(e, projection, aggregate, ((const struct account_amount *)event)->amount);
}

static void project_received(struct mim_evolution *e, void *projection, const void *aggregate, const void *event) {
    (void)event;
    ledger_project_grown(e, projection, aggregate);
}

static void project_closed(struct mim_evolution *e, void *projection, const void *aggregate, const void *event) {
    (void)event;
    ledger_project_closed(e, projection, aggregate);
}

static const struct mim_projection_on totals_on[] = {
    {.event = &events[OPENED], .project = project_opened},
    {.event = &events[DEPOSITED], .project = project_deposited},
    {.event = &events[WITHDRAWN], .project = project_withdrawn},
    {.event = &events[RECEIVED], .project = project_received},
    {.event = &events[CLOSED], .project = project_closed},
};

const struct mim_projection_type mim_ledger_projections[] = {
    {.name = "totals",
     .state_size = sizeof(struct ledger_totals),
     .on = totals_on,
     .on_count = MIM_COUNT_OF(totals_on),
     .flags = MIM_COMMUTES, /* sums, and the highest balance ever */
     .digest = ledger_totals_digest},
};

static int query_top(struct mim_query *q, const struct mim_string *arguments, size_t count) {
    return ledger_query_top(q, &aggregates[0], arguments, count);
}

static const struct mim_query_type queries[] = {
    {.name = "Totals",
     .query = ledger_query_totals,
     .doc = "Per currency: accounts, open, balance, deposited, withdrawn; balance = deposited - withdrawn."},
    {.name = "Top",
     .usage = "CURRENCY n",
     .arguments_min = 2,
     .arguments_max = 2,
     .query = query_top,
     .doc = "The n accounts of a currency with the highest balances, highest first."},
};

static const struct mim_aggregate_type aggregates[] = {
    {.name = "account",
     .state_size = sizeof(struct ledger_account),
     MIM_FIELDS(state_fields),
     .commands = commands,
     .command_count = MIM_COUNT_OF(commands),
     .events = events,
     .event_count = MIM_COUNT_OF(events),
     .queries = queries,
     .query_count = MIM_COUNT_OF(queries)},
};

const struct mim_model mim_ledger_model = {
    .abi = MIM_MODEL_ABI,
    .version = 1,
    .name = "ledger",
    .aggregates = aggregates,
    .aggregate_count = MIM_COUNT_OF(aggregates),
    .projections = mim_ledger_projections,
    .projection_count = 1,
};
