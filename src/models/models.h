// SPDX-License-Identifier: MIT
// The built-in models, by name.
#ifndef MIM_MODELS_MODELS_H
#define MIM_MODELS_MODELS_H

#include "memimage/model.h"

extern const struct mim_model mim_ledger_model;

/** A built-in model by name, NULL when unknown. */
const struct mim_model *mim_models_find(const char *name);

#endif
