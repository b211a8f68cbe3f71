// SPDX-License-Identifier: MIT
// --model NAME|FILE.so, for every subcommand that needs one.
#ifndef MIM_CLI_MODEL_OPTION_H
#define MIM_CLI_MODEL_OPTION_H

#include "model/compiled.h"

/** A built-in model by name, or a shared object; checked and compiled. USAGE, MODEL. */
MIM_CHECKED int mim_cli_model(const char *name, struct mim_compiled **ret_compiled, struct mim_error *reterr);
/** A second copy of the same object, with its own static memory at other addresses; NULL for a built-in
 *  model, which has none, and (with a line on stderr) where the system does not allow it. MEMORY. */
MIM_CHECKED int mim_cli_model_again(const char *name, struct mim_compiled **ret_compiled, struct mim_error *reterr);

#endif
