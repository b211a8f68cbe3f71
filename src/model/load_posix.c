// SPDX-License-Identifier: MIT
// A model from a shared object, by dlopen. The object stays loaded for the life of the process.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/compiled.h"

/** Takes the model out of an opened object; `path` is for messages. */
static int model_take(void *object, const char *path, const struct mim_model **ret_model, struct mim_error *reterr) {
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

int mim_model_load(const char *path, const struct mim_model **ret_model, struct mim_error *reterr) {
    char *absolute = realpath(path, NULL); /* a bare name must not be looked up in the library path */
    if (absolute == NULL) {
        return mim_error_set(reterr, MIM_E_USAGE, "model %s: no such file", path);
    }
    void *object = dlopen(absolute, RTLD_NOW | RTLD_LOCAL);
    free(absolute);
    return model_take(object, path, ret_model, reterr);
}

/** A file in memory with the content of another. -1: not possible. */
static int copy_open(const char *path) {
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to = from < 0 ? -1 : memfd_create("model", MFD_CLOEXEC);
    ssize_t got = 0;
    char block[65536];
    while (to >= 0 && (got = read(from, block, sizeof(block))) > 0) {
        if (write(to, block, (size_t)got) != got) {
            got = -1;
            break;
        }
    }
    if (from >= 0) {
        (void)close(from);
    }
    if (to >= 0 && got < 0) {
        (void)close(to);
        to = -1;
    }
    return to;
}

int mim_model_load_again(const char *path, const struct mim_model **ret_model, struct mim_error *reterr) {
    int copy = copy_open(path);
    if (copy < 0) {
        return mim_error_os(reterr, MIM_E_USAGE, errno, "model %s: it cannot be copied to memory", path);
    }
    char name[64];
    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", copy);
    void *object = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    (void)close(copy);
    return model_take(object, path, ret_model, reterr);
}
