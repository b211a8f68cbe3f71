// SPDX-License-Identifier: MIT
// Inside the ledger: its state, and the projection behind Totals and Top.
#ifndef MIM_MODELS_LEDGER_PROJECTION_H
#define MIM_MODELS_LEDGER_PROJECTION_H

#include "memimage/model.h"

/** 40 bytes: with the engine's 24-byte head one cache line. */
struct ledger_account {
    struct mim_text owner;
    struct mim_text currency;
    int64_t balance;
    int64_t overdraft;
    bool open;
};

/** One currency's sums. Transfers move within a currency and are in none of them. */
struct ledger_currency {
    struct mim_text name; /* 3 letters: always inline, so equal names have equal bits */
    int64_t accounts;
    int64_t open;
    int64_t deposited;
    int64_t withdrawn;
};

/** The projection. `bounds` has one i64 per block of accounts: no balance in it has ever been higher. */
struct ledger_totals {
    struct mim_vec currencies; /* struct ledger_currency, in order of appearance */
    struct mim_map numbers;    /* currency -> u32 index into it */
    struct mim_vec bounds;
};

/* Sums that wrap around. decide lets none through that would; but what a forged journal says is evolved as it stands. */
static inline int64_t ledger_plus(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
static inline int64_t ledger_minus(int64_t a, int64_t b) { return (int64_t)((uint64_t)a - (uint64_t)b); }

extern const struct mim_projection_type mim_ledger_projections[];

bool ledger_deposit_overflows(struct mim_decision *d, const struct ledger_account *account, int64_t amount);
bool ledger_withdrawal_overflows(struct mim_decision *d, const struct ledger_account *account, int64_t amount);

void ledger_project_opened(struct mim_evolution *e, struct ledger_totals *totals, const struct ledger_account *account);
void ledger_project_deposited(struct mim_evolution *e, struct ledger_totals *totals,
                              const struct ledger_account *account, int64_t amount);
void ledger_project_withdrawn(struct mim_evolution *e, struct ledger_totals *totals,
                              const struct ledger_account *account, int64_t amount);
/** The balance may have grown by other means. */
void ledger_project_grown(struct mim_evolution *e, struct ledger_totals *totals, const struct ledger_account *account);
void ledger_project_closed(struct mim_evolution *e, struct ledger_totals *totals, const struct ledger_account *account);

uint64_t ledger_totals_digest(const struct mim_query *q, const void *projection);
int ledger_query_totals(struct mim_query *q, const struct mim_string *arguments, size_t count);
int ledger_query_top(struct mim_query *q, const struct mim_aggregate_type *type, const struct mim_string *arguments,
                     size_t count);

#endif
