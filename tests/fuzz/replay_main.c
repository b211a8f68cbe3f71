// SPDX-License-Identifier: MIT
// The fuzz targets without libFuzzer, for compilers that have none: every file of the corpus as it is, and a number of
// copies of each with a few bytes changed by a seeded generator.
//
// fuzz-NAME [-mutations=N] DIRECTORY-OR-FILE...
#include <dirent.h>
#include <sys/stat.h>

#include "base/prng.h"
#include "fuzz.h"

#define INPUT_MAX ((size_t)1 << 20)

static unsigned mutations = 50;
static unsigned files;
static unsigned runs;

static void run(const uint8_t *data, size_t size) {
    uint8_t *copy = fuzz_copy(mim_slice_of(data, size));
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static void mutate(struct mim_prng *prng, uint8_t *data, size_t *size) {
    uint64_t changes = 1 + mim_prng_below(prng, 4);
    for (uint64_t i = 0; i<changes && * size> 0; i++) {
        size_t at = (size_t)mim_prng_below(prng, *size);
        switch (mim_prng_below(prng, 4)) {
        case 0:
            data[at] ^= (uint8_t)(1u << mim_prng_below(prng, 8));
            break;
        case 1:
            data[at] = (uint8_t)mim_prng_next(prng);
            break;
        case 2:
            data[at] = mim_prng_chance(prng, 1, 2) ? 0xff : 0;
            break;
        default:
            *size = mim_prng_chance(prng, 1, 4) ? at : *size;
            break;
        }
    }
}

static void run_file(const char *path) {
    static uint8_t data[INPUT_MAX];
    static uint8_t changed[INPUT_MAX];
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        (void)fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    size_t size = fread(data, 1, sizeof(data), file);
    (void)fclose(file);
    files++;
    run(data, size);
    struct mim_prng prng;
    mim_prng_init(&prng, size);
    for (unsigned i = 0; i < mutations; i++) {
        size_t changed_size = size;
        memcpy(changed, data, size);
        mutate(&prng, changed, &changed_size);
        run(changed, changed_size);
    }
}

static void run_path(const char *path) {
    struct stat status;
    DIR *directory = stat(path, &status) == 0 && S_ISDIR(status.st_mode) ? opendir(path) : NULL;
    if (directory == NULL) {
        run_file(path);
        return;
    }
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        char below[4096];
        (void)snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.') {
            run_file(below);
        }
    }
    (void)closedir(directory);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-mutations=", 11) == 0) {
            mutations = (unsigned)strtoul(argv[i] + 11, NULL, 10);
        } else if (argv[i][0] != '-') {
            run_path(argv[i]);
        }
    }
    (void)printf("%u inputs, %u executions\n", files, runs);
    return files > 0 ? 0 : 1;
}
