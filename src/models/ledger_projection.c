// SPDX-License-Identifier: MIT
// Totals per currency, kept by every event; and Top, answered from a bound per block of accounts, so that ranking costs
// an event at most one comparison in a small array.
#include "models/ledger_projection.h"

#include <stdlib.h>
#include <string.h>

#define LEDGER_BLOCK   256u /* accounts per bound */
#define LEDGER_SCAN    8u   /* currencies looked through before the map is asked */
#define LEDGER_TOP_MAX 10000

/** Looks through the first currencies, among which it nearly always is; UINT32_MAX when it is not. */
static inline uint32_t currency_scan(const struct ledger_currency *items, uint32_t count, const struct mim_text *name) {
    for (uint32_t i = 0; i < count && i < LEDGER_SCAN; i++) {
        if (items[i].name.bits == name->bits) {
            return i;
        }
    }
    return UINT32_MAX;
}

/** Index of a currency; UINT32_MAX when it is not there. */
static uint32_t currency_find(const struct mim_host *host, const struct ledger_totals *totals,
                              const struct mim_text *name) {
    uint32_t count = totals->currencies.count;
    uint32_t n = currency_scan(mim_vec_items(host, &totals->currencies), count, name);
    const uint32_t *number =
        n != UINT32_MAX || count <= LEDGER_SCAN ? NULL : mim_map_find(host, &totals->numbers, mim_text_get(host, name));
    return number == NULL ? n : *number;
}

/** A currency beyond the first, or one that is new. */
static struct ledger_currency *currency_make(struct mim_evolution *e, struct ledger_totals *totals,
                                             const struct mim_text *name) {
    const struct mim_host *host = mim_evolution_host(e);
    uint32_t n = currency_find(host, totals, name);
    if (n != UINT32_MAX) {
        return mim_vec_edit(e, &totals->currencies, sizeof(struct ledger_currency), n);
    }
    struct mim_string text = mim_text_get(host, name);
    uint32_t *number = mim_map_put(e, &totals->numbers, sizeof(uint32_t), text);
    *number = totals->currencies.count;
    struct ledger_currency *currency = mim_vec_push(e, &totals->currencies, sizeof(struct ledger_currency));
    mim_text_set(e, &currency->name, text);
    return currency;
}

/** One among the first currencies: no call, no change of the vector. NULL: it is not there. */
static inline struct ledger_currency *currency_near(struct mim_evolution *e, struct ledger_totals *totals,
                                                    const struct mim_text *name) {
    struct ledger_currency *items = mim_vec_edit_items(e, &totals->currencies);
    uint32_t n = currency_scan(items, totals->currencies.count, name);
    return n != UINT32_MAX ? &items[n] : NULL;
}

static struct ledger_currency *currency_edit(struct mim_evolution *e, struct ledger_totals *totals,
                                             const struct mim_text *name) {
    struct ledger_currency *currency = currency_near(e, totals, name);
    return currency != NULL ? currency : currency_make(e, totals, name);
}

static const struct ledger_currency *currency_of(struct mim_decision *d, const struct ledger_account *account) {
    const struct ledger_totals *totals = mim_read_projection(d, &mim_ledger_projections[0]);
    const struct mim_host *host = mim_decision_host(d);
    const struct ledger_currency *items = mim_vec_items(host, &totals->currencies);
    return &items[currency_find(host, totals, &account->currency)];
}

bool ledger_deposit_overflows(struct mim_decision *d, const struct ledger_account *account, int64_t amount) {
    int64_t after;
    return __builtin_add_overflow(currency_of(d, account)->deposited, amount, &after);
}

bool ledger_withdrawal_overflows(struct mim_decision *d, const struct ledger_account *account, int64_t amount) {
    int64_t after;
    return __builtin_add_overflow(currency_of(d, account)->withdrawn, amount, &after);
}

/* ------------------------------------------------------------- project */

static void bound_raise(struct mim_evolution *e, struct ledger_totals *totals, int64_t balance) {
    uint32_t block = mim_evolution_number(e) / LEDGER_BLOCK;
    if (block >= totals->bounds.count) {
        mim_vec_resize(e, &totals->bounds, sizeof(int64_t), block + 1);
    }
    int64_t *bounds = mim_vec_edit_items(e, &totals->bounds);
    if (balance > bounds[block]) {
        bounds[block] = balance;
    }
}

void ledger_project_opened(struct mim_evolution *e, struct ledger_totals *totals,
                           const struct ledger_account *account) {
    struct ledger_currency *currency = currency_edit(e, totals, &account->currency);
    currency->accounts++;
    currency->open++;
    bound_raise(e, totals, 0);
}

/** A currency that is new or far, or an account whose block has no bound yet. */
__attribute__((noinline)) static void deposited_slowly(struct mim_evolution *e, struct ledger_totals *totals,
                                                       const struct ledger_account *account, int64_t amount) {
    struct ledger_currency *currency = currency_edit(e, totals, &account->currency);
    currency->deposited = ledger_plus(currency->deposited, amount);
    bound_raise(e, totals, account->balance);
}

/** What nearly every event does, without a call; so does the next. */
void ledger_project_deposited(struct mim_evolution *e, struct ledger_totals *totals,
                              const struct ledger_account *account, int64_t amount) {
    struct ledger_currency *currency = currency_near(e, totals, &account->currency);
    uint32_t block = mim_evolution_number(e) / LEDGER_BLOCK;
    if (currency == NULL || block >= totals->bounds.count) {
        deposited_slowly(e, totals, account, amount);
        return;
    }
    currency->deposited = ledger_plus(currency->deposited, amount);
    int64_t *bound = (int64_t *)mim_vec_edit_items(e, &totals->bounds) + block;
    if (account->balance > *bound) {
        *bound = account->balance;
    }
}

__attribute__((noinline)) static void withdrawn_slowly(struct mim_evolution *e, struct ledger_totals *totals,
                                                       const struct ledger_account *account, int64_t amount) {
    struct ledger_currency *currency = currency_edit(e, totals, &account->currency);
    currency->withdrawn = ledger_plus(currency->withdrawn, amount);
}

void ledger_project_withdrawn(struct mim_evolution *e, struct ledger_totals *totals,
                              const struct ledger_account *account, int64_t amount) {
    struct ledger_currency *currency = currency_near(e, totals, &account->currency);
    if (currency == NULL) {
        withdrawn_slowly(e, totals, account, amount);
        return;
    }
    currency->withdrawn = ledger_plus(currency->withdrawn, amount);
}

void ledger_project_grown(struct mim_evolution *e, struct ledger_totals *totals, const struct ledger_account *account) {
    bound_raise(e, totals, account->balance);
}

void ledger_project_closed(struct mim_evolution *e, struct ledger_totals *totals,
                           const struct ledger_account *account) {
    currency_edit(e, totals, &account->currency)->open--;
}

/* -------------------------------------------------------------- queries */

static uint64_t mix(uint64_t h) {
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}

/** A sum over the currencies: the order of their appearance is of no meaning. */
uint64_t ledger_totals_digest(const struct mim_query *q, const void *projection) {
    const struct ledger_totals *totals = projection;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < totals->currencies.count; i++) {
        const struct ledger_currency *c =
            mim_vec_at(mim_query_host(q), &totals->currencies, sizeof(struct ledger_currency), i);
        uint64_t h = mix(c->name.bits);
        const int64_t numbers[] = {c->accounts, c->open, c->deposited, c->withdrawn};
        for (size_t k = 0; k < MIM_COUNT_OF(numbers); k++) {
            h = mix(h + (uint64_t)numbers[k]);
        }
        sum += h;
    }
    return sum;
}

int ledger_query_totals(struct mim_query *q, const struct mim_string *arguments, size_t count) {
    (void)arguments;
    (void)count;
    const struct ledger_totals *totals = mim_query_projection(q, &mim_ledger_projections[0]);
    struct mim_json *j = mim_query_json(q);
    mim_json_object(j);
    for (uint32_t i = 0; i < totals->currencies.count; i++) {
        const struct ledger_currency *c =
            mim_vec_at(mim_query_host(q), &totals->currencies, sizeof(struct ledger_currency), i);
        mim_json_key_string(j, mim_text_get(mim_query_host(q), &c->name));
        mim_json_object(j);
        mim_json_key(j, "accounts");
        mim_json_i64(j, c->accounts);
        mim_json_key(j, "open");
        mim_json_i64(j, c->open);
        mim_json_key(j, "balance");
        mim_json_i64(j, ledger_minus(c->deposited, c->withdrawn));
        mim_json_key(j, "deposited");
        mim_json_i64(j, c->deposited);
        mim_json_key(j, "withdrawn");
        mim_json_i64(j, c->withdrawn);
        mim_json_object_end(j);
    }
    mim_json_object_end(j);
    return 0;
}

struct ranked {
    struct mim_string id;
    int64_t balance;
};

/** Higher balances first, equal ones by id. */
static int rank_order(const void *a, const void *b) {
    const struct ranked *left = a;
    const struct ranked *right = b;
    if (left->balance != right->balance) {
        return left->balance > right->balance ? -1 : 1;
    }
    size_t common = left->id.size < right->id.size ? left->id.size : right->id.size;
    int order = memcmp(left->id.data, right->id.data, common);
    return order != 0 ? order : left->id.size < right->id.size ? -1 : left->id.size > right->id.size;
}

/** The n best so far, worst at the root of a heap. */
struct ranking {
    struct ranked *items;
    size_t count;
    size_t most;
};

static void rank_swap(struct ranked *a, struct ranked *b) {
    struct ranked t = *a;
    *a = *b;
    *b = t;
}

static void rank_sink(struct ranking *r, size_t at) {
    for (;;) {
        size_t worst = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < r->count; child++) {
            worst = rank_order(&r->items[child], &r->items[worst]) > 0 ? child : worst;
        }
        if (worst == at) {
            return;
        }
        rank_swap(&r->items[at], &r->items[worst]);
        at = worst;
    }
}

static void rank_offer(struct ranking *r, const struct ranked *candidate) {
    if (r->count == r->most) {
        if (rank_order(candidate, &r->items[0]) < 0) {
            r->items[0] = *candidate;
            rank_sink(r, 0);
        }
        return;
    }
    size_t at = r->count++;
    r->items[at] = *candidate;
    while (at > 0 && rank_order(&r->items[at], &r->items[(at - 1) / 2]) > 0) {
        rank_swap(&r->items[at], &r->items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static void rank_block(struct mim_query *q, const struct mim_aggregate_type *type, uint64_t block,
                       struct mim_string currency, struct ranking *ranking) {
    const struct mim_host *host = mim_query_host(q);
    for (uint64_t n = block * LEDGER_BLOCK; n < (block + 1) * LEDGER_BLOCK; n++) {
        struct ranked candidate;
        const struct ledger_account *account = mim_query_at(q, type, n, &candidate.id, NULL);
        if (account == NULL) {
            return;
        }
        struct mim_string own = mim_text_get(host, &account->currency);
        if (own.size == currency.size && memcmp(own.data, currency.data, own.size) == 0) {
            candidate.balance = account->balance;
            rank_offer(ranking, &candidate);
        }
    }
}

struct bounded_block {
    int64_t bound;
    uint64_t block;
};

static int bound_order(const void *a, const void *b) {
    const struct bounded_block *left = a;
    const struct bounded_block *right = b;
    return left->bound > right->bound ? -1 : left->bound < right->bound;
}

/** Visits blocks by falling bound until none can hold a better account. */
static bool rank_all(struct mim_query *q, const struct mim_aggregate_type *type, struct mim_string currency,
                     struct ranking *ranking) {
    const struct ledger_totals *totals = mim_query_projection(q, &mim_ledger_projections[0]);
    uint32_t count = totals->bounds.count;
    struct bounded_block *blocks = malloc((count + 1u) * sizeof(*blocks));
    if (blocks == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const int64_t *bound = mim_vec_at(mim_query_host(q), &totals->bounds, sizeof(int64_t), i);
        blocks[i] = (struct bounded_block){.bound = *bound, .block = i};
    }
    qsort(blocks, count, sizeof(*blocks), bound_order);
    for (uint32_t i = 0; i < count; i++) {
        if (ranking->count == ranking->most && blocks[i].bound < ranking->items[0].balance) {
            break;
        }
        rank_block(q, type, blocks[i].block, currency, ranking);
    }
    free(blocks);
    return true;
}

int ledger_query_top(struct mim_query *q, const struct mim_aggregate_type *type, const struct mim_string *arguments,
                     size_t count) {
    int64_t most;
    (void)count;
    if (!mim_parse_i64(arguments[1], 1, LEDGER_TOP_MAX, &most)) {
        return mim_query_fail(q, "n: must be an integer from 1 to %d", LEDGER_TOP_MAX);
    }
    struct ranking ranking = {.items = malloc((size_t)most * sizeof(*ranking.items)), .most = (size_t)most};
    if (ranking.items == NULL || !rank_all(q, type, arguments[0], &ranking)) {
        free(ranking.items);
        return mim_query_fail(q, "no memory for the ranking");
    }
    qsort(ranking.items, ranking.count, sizeof(*ranking.items), rank_order);
    struct mim_json *j = mim_query_json(q);
    mim_json_array(j);
    for (size_t i = 0; i < ranking.count; i++) {
        mim_json_object(j);
        mim_json_key(j, "id");
        mim_json_string(j, ranking.items[i].id);
        mim_json_key(j, "balance");
        mim_json_i64(j, ranking.items[i].balance);
        mim_json_object_end(j);
    }
    mim_json_array_end(j);
    free(ranking.items);
    return 0;
}
