// SPDX-License-Identifier: MIT
// Writes the journals that the seeds of the journal target are cut from: make-journal DIRECTORY. Run by seeds.py.
#include "history.h"

static void write_history(const char *root, const char *name, unsigned lives, unsigned deposits, bool clean) {
    char path[512];
    struct mim_error error = {0};
    struct fuzz_life life = {0};
    (void)snprintf(path, sizeof(path), "%s/%s", root, name);
    FUZZ_REQUIRE(mim_storage_posix_open(path, true, &life.storage, &error) == 0);
    for (unsigned i = 0; i < lives; i++) {
        fuzz_live(&life, deposits, clean || i + 1 < lives);
    }
    mim_storage_posix_close(&life.storage);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        (void)fprintf(stderr, "Usage: make-journal DIRECTORY\n");
        return 1;
    }
    write_history(argv[1], "one", 1, 0, true);
    write_history(argv[1], "killed", 1, 0, false);
    write_history(argv[1], "lives", 3, 4, true);
    write_history(argv[1], "long", 1, 130, true);
    fuzz_segment_size = 8192;
    write_history(argv[1], "rolled", 1, 0, true);
    return 0;
}
