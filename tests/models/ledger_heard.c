// SPDX-License-Identifier: MIT
// The ledger with an audience, as a shared object: `bank` and whoever hears of balances like the one that the event leaves
// behind. A follower that knows the balances can check every entry.
#include "models/ledger_projection.h"

static size_t audience_by_balance(const void *state, const void *event, struct mim_string *ret_entries,
                                  size_t capacity) {
    (void)event;
    bool odd = ((const struct ledger_account *)state)->balance % 2 != 0;
    const struct mim_string entries[] = {{.data = "bank", .size = 4},
                                         {.data = odd ? "odd" : "even", .size = odd ? 3 : 4}};
    for (size_t i = 0; i < MIM_COUNT_OF(entries) && i < capacity; i++) {
        ret_entries[i] = entries[i];
    }
    return MIM_COUNT_OF(entries);
}

#define evolve audience = audience_by_balance, .evolve /* each event type of the ledger names its evolve once */
#include "models/ledger.c"
#undef evolve

MIM_MODEL_EXPORT(mim_ledger_model)
