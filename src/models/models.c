// SPDX-License-Identifier: MIT
// The built-in models, by name.
#include "models/models.h"

#include <string.h>

const struct mim_model *mim_models_find(const char *name) {
    static const struct mim_model *const models[] = {&mim_ledger_model};
    for (size_t i = 0; i < MIM_COUNT_OF(models); i++) {
        if (strcmp(models[i]->name, name) == 0) {
            return models[i];
        }
    }
    return NULL;
}
