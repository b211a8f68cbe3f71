// SPDX-License-Identifier: MIT
// --model: a built-in model by name, or a shared object by path.
#include "cli/model_option.h"

#include <stdio.h>
#include <string.h>

#include "models/models.h"

static bool is_path(const char *name) {
    size_t size = strlen(name);
    return strchr(name, '/') != NULL || (size > 3 && strcmp(name + size - 3, ".so") == 0);
}

int mim_cli_model(const char *name, struct mim_compiled **ret_compiled, struct mim_error *reterr) {
    const struct mim_model *model = is_path(name) ? NULL : mim_models_find(name);
    if (is_path(name)) {
        int rc = mim_model_load(name, &model, reterr);
        if (rc != 0) {
            return rc;
        }
    } else if (model == NULL) {
        return mim_error_set(reterr, MIM_E_USAGE, "no built-in model \"%s\" (there is \"ledger\"); a file ends in .so",
                             name);
    }
    int rc = mim_compiled_new(model, ret_compiled, reterr);
    if (rc == MIM_E_MODEL) {
        reterr->code = MIM_E_USAGE; /* the model itself is wrong, not its journal */
        rc = MIM_E_USAGE;
    }
    return rc;
}

int mim_cli_model_again(const char *name, struct mim_compiled **ret_compiled, struct mim_error *reterr) {
    const struct mim_model *model = NULL;
    *ret_compiled = NULL;
    if (!is_path(name)) {
        return 0;
    }
    struct mim_error why = {0};
    if (mim_model_load_again(name, &model, &why) != 0) { /* a system that runs nothing from memory: weaker, not wrong */
        (void)fprintf(stderr, "memimage: no second copy of the model: %s\n", why.text);
        return 0;
    }
    return mim_compiled_new(model, ret_compiled, reterr);
}
