// SPDX-License-Identifier: MIT
// Starting from a snapshot that was tampered with: it is skipped or it is right. Whatever bytes of the file are changed,
// the state is that of the journal; with header and table of checksums put right afterwards (somebody who knows the
// format) it still is, or the start is refused. The image's own bytes under right checksums are trusted, as the process's
// memory is: README, "What is trusted". So those are changed only where the checksums stay wrong.
//
// Input: flags (1: put the checksums right, 2: cut the file, 4: the journal loses its end), u32 of the cut, then patches of
// u32 offset, u8 size, bytes.
#include "base/hash.h"
#include "history.h"
#include "snapshot/snapshot.h"

static struct mim_storage_sim *whole; /* a disk with journal and snapshot, made once */
static uint8_t *snapshot_bytes;
static uint64_t snapshot_size;
static char snapshot_path[MIM_SNAPSHOT_PATH_SIZE];
static uint64_t digest;

static void make_whole(void) {
    struct mim_error error = {0};
    struct mim_snapshot_header header;
    struct fuzz_life life = {0};
    whole = mim_storage_sim_new(1);
    life.storage = mim_storage_sim_storage(whole);
    fuzz_live(&life, 3, true);
    fuzz_life_start(&life);
    fuzz_end(&life, true);
    struct mim_engine_options options = fuzz_engine_options();
    struct mim_recovery recovery;
    uint64_t written;
    FUZZ_REQUIRE(mim_engine_new(&options, &life.engine, &error) == 0);
    FUZZ_REQUIRE(mim_recovery_run(life.storage, life.engine, NULL, &recovery, &error) == 0);
    mim_recovery_deinit(&recovery);
    FUZZ_REQUIRE(mim_storage_make_dir(life.storage, MIM_SNAPSHOT_DIR, &error) == 0);
    FUZZ_REQUIRE(mim_snapshot_write(life.storage, life.engine, NULL, 1000, NULL, NULL, &header, &written, &error) == 0);
    mim_snapshot_path(header.position, snapshot_path);
    fuzz_end(&life, false);
    fuzz_live(&life, 2, true); /* a tail behind it */
    FUZZ_REQUIRE(mim_engine_new(&options, &life.engine, &error) == 0);
    FUZZ_REQUIRE(mim_recovery_run(life.storage, life.engine, NULL, &recovery, &error) == 0);
    mim_recovery_deinit(&recovery);
    digest = mim_engine_digest(life.engine);
    fuzz_end(&life, false);
    const uint8_t *bytes = mim_storage_sim_bytes(whole, snapshot_path, &snapshot_size);
    snapshot_bytes = fuzz_copy(mim_slice_of(bytes, snapshot_size));
}

/** The table over the blocks that are there, and the header's check, as the header's own numbers want them. */
static void put_right(uint8_t *file, uint64_t size) {
    uint64_t image = mim_get64(file + 96);
    uint64_t blocks = mim_get64(file + 104);
    uint64_t table = mim_get64(file + 112);
    if (blocks <= size / 8 && table <= size - blocks * 8 && table >= MIM_SNAPSHOT_HEADER_SIZE &&
        image <= table - MIM_SNAPSHOT_HEADER_SIZE) {
        for (uint64_t i = 0; i < blocks && i * MIM_SNAPSHOT_BLOCK_SIZE < image; i++) {
            uint64_t at = i * MIM_SNAPSHOT_BLOCK_SIZE;
            uint64_t block = image - at < MIM_SNAPSHOT_BLOCK_SIZE ? image - at : MIM_SNAPSHOT_BLOCK_SIZE;
            mim_put64(file + table + i * 8, mim_hash64(file + MIM_SNAPSHOT_HEADER_SIZE + at, (size_t)block, i));
        }
        mim_put64(file + 120, mim_hash64(file + table, (size_t)blocks * 8, blocks));
    }
    mim_put64(file + 192, mim_hash64(file, 192, 0));
}

/** Changes a copy of the file; the image itself only where its checksum then is wrong. */
static void tamper(struct fuzz_input *in, uint8_t flags, uint32_t cut) {
    uint64_t size = snapshot_size;
    uint8_t *file = fuzz_copy(mim_slice_of(snapshot_bytes, size));
    uint64_t image_end = MIM_SNAPSHOT_HEADER_SIZE + mim_get64(file + 96);
    while (fuzz_left(in) > 0) {
        uint64_t offset = fuzz_u32(in) % size;
        struct mim_slice patch = fuzz_slice(in, fuzz_u8(in));
        bool image = offset + patch.size > MIM_SNAPSHOT_HEADER_SIZE && offset < image_end;
        if (offset + patch.size <= size && patch.size > 0 && !(image && (flags & 1) != 0)) {
            memcpy(file + offset, patch.data, patch.size);
        }
    }
    if ((flags & 2) != 0) {
        size = cut % (size + 1);
    }
    if ((flags & 1) != 0 && size >= MIM_SNAPSHOT_HEADER_SIZE) {
        put_right(file, size);
    }
    struct mim_storage_sim *sim = mim_storage_sim_clone(whole, 1);
    struct mim_storage storage = mim_storage_sim_storage(sim);
    fuzz_put(storage, snapshot_path, file, size);
    struct mim_engine_options options = fuzz_engine_options();
    struct mim_restore_options restore = {
        .verify = MIM_VERIFY_EAGER, .threads = 1, .position_max = UINT64_MAX, .lsn_max = UINT64_MAX};
    struct mim_engine *engine = NULL;
    struct mim_restored restored;
    struct mim_recovery recovery;
    struct mim_error error = {0};
    int rc = mim_snapshot_recover(storage, &options, &restore, NULL, &engine, &restored, &recovery, &error);
    if ((flags & 1) == 0) {
        FUZZ_REQUIRE(rc == 0);
        /* Between the image's end and the table nothing stands and nothing is read. */
        uint64_t table = mim_get64(snapshot_bytes + 112);
        bool untouched = size == snapshot_size && memcmp(file, snapshot_bytes, image_end) == 0 &&
                         memcmp(file + table, snapshot_bytes + table, size - table) == 0;
        FUZZ_REQUIRE(restored.found == untouched);
    }
    FUZZ_REQUIRE(rc == 0 || rc == MIM_E_DAMAGED || rc == MIM_E_MEMORY);
    if (rc == 0) {
        FUZZ_REQUIRE(mim_engine_digest(engine) == digest);
        FUZZ_REQUIRE(restored.found || restored.skipped[0] != '\0');
        mim_recovery_deinit(&recovery);
        (void)mim_engine_free(engine);
    }
    (void)mim_storage_sim_free(sim);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (whole == NULL) {
        make_whole();
    }
    struct fuzz_input in = {.data = data, .size = size};
    uint8_t flags = fuzz_u8(&in);
    uint32_t cut = fuzz_u32(&in);
    tamper(&in, flags, cut);
    return 0;
}
