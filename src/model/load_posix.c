// SPDX-License-Identifier: MIT
// A model from a shared object, by dlopen. The object stays loaded for the life of the process.
#include <dlfcn.h>
#include <stdlib.h>

#include "model/compiled.h"

int mim_model_load(const char *path, const struct mim_model **ret_model, struct mim_error *reterr) {
    char *absolute = realpath(path, NULL); /* a bare name must not be looked up in the library path */
    void *object = absolute == NULL ? NULL : dlopen(absolute, RTLD_NOW | RTLD_LOCAL);
    if (absolute == NULL) {
        return mim_error_set(reterr, MIM_E_USAGE, "model %s: no such file", path);
    }
    free(absolute);
    if (object == NULL) {
        return mim_error_set(reterr, MIM_E_USAGE, "model %s: %s", path, dlerror());
    }
    union {
        void *symbol;
        const struct mim_model *(*entry)(void);
    } found = {.symbol = dlsym(object, "mim_model_entry")};
    if (found.symbol == NULL) {
        return mim_error_set(reterr, MIM_E_USAGE, "model %s: it has no MIM_MODEL_EXPORT(...)", path);
    }
    const struct mim_model *model = found.entry();
    if (model == NULL || model->abi != MIM_MODEL_ABI) {
        return mim_error_set(reterr, MIM_E_USAGE, "model %s: built for interface version %u, this program has %u", path,
                             model == NULL ? 0 : model->abi, MIM_MODEL_ABI);
    }
    *ret_model = model;
    return 0;
}
