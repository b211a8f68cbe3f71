// SPDX-License-Identifier: MIT
// What was published, remembered in DIR/publish.state: so that a flushed Redis is told from a first start. One line in one
// sector, overwritten in place about once a second and at a stop, never synced: it may be older than the truth, which
// only makes the check weaker, never wrong. It is no part of the journal and may be deleted.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "publish/internal.h"

#define LINE_SIZE 512u

static uint64_t line_check(const char *line, size_t size) { return mim_hash64(line, size, 0x7075626cu); }

static bool line_parse(const char line[LINE_SIZE], struct mim_publish_memory *ret_memory) {
    struct mim_publish_memory memory = {0};
    uint64_t check;
    int end = 0;
    _Static_assert(MIM_PUBLISH_KEY_MAX == 232, "the width in the format below");
    if (sscanf(line, "memimage-publish 1 %" SCNx64 " %" SCNu64 " %" SCNu64 " %" SCNx64 " %231s%n %" SCNx64,
               &memory.target, &memory.last_id, &memory.upto, &memory.filter, memory.stream, &end, &check) != 6 ||
        check != line_check(line, (size_t)end)) {
        return false;
    }
    *ret_memory = memory;
    return true;
}

int mim_publish_memory_open(struct mim_publisher *p, struct mim_error *reterr) {
    int rc =
        mim_file_open(p->source.storage, MIM_PUBLISH_MEMORY, MIM_OPEN_WRITE | MIM_OPEN_CREATE, &p->memory_file, reterr);
    if (rc != 0) {
        return rc;
    }
    char line[LINE_SIZE + 1] = "";
    size_t size = 0;
    rc = mim_file_pread(p->source.storage, p->memory_file, line, LINE_SIZE, 0, &size, reterr);
    if (rc != 0) {
        return rc;
    }
    if (!line_parse(line, &p->memory) || p->memory.target != p->target_hash) {
        p->memory = (struct mim_publish_memory){.target = 0};
    }
    p->memory_written = p->memory;
    return 0;
}

void mim_publish_memory_take(struct mim_publisher *p) {
    if (p->phase == MIM_PUBLISH_LIVE && p->acknowledged_id != 0) {
        p->memory.target = p->target_hash;
        p->memory.last_id = p->acknowledged_id;
        p->memory.upto = p->acknowledged;
        p->memory.filter = p->filter_hash;
        (void)snprintf(p->memory.stream, sizeof(p->memory.stream), "%s", p->stream);
    }
}

void mim_publish_memory_save(struct mim_publisher *p) {
    mim_publish_memory_take(p);
    if (p->memory_file == 0 || p->memory.target == 0 ||
        (p->memory.last_id == p->memory_written.last_id && p->memory.upto == p->memory_written.upto &&
         strcmp(p->memory.stream, p->memory_written.stream) == 0)) {
        return;
    }
    char line[LINE_SIZE];
    memset(line, ' ', sizeof(line));
    int size =
        snprintf(line, sizeof(line), "memimage-publish 1 %016" PRIx64 " %" PRIu64 " %" PRIu64 " %016" PRIx64 " %s",
                 p->memory.target, p->memory.last_id, p->memory.upto, p->memory.filter, p->memory.stream);
    int more = snprintf(line + size, sizeof(line) - (size_t)size, " %016" PRIx64, line_check(line, (size_t)size));
    line[size + more] = ' ';
    line[sizeof(line) - 1] = '\n';
    struct mim_error error = {0};
    if (mim_file_pwrite(p->source.storage, p->memory_file, line, sizeof(line), 0, &error) == 0) {
        p->memory_written = p->memory;
    }
}

void mim_publish_memory_close(struct mim_publisher *p) {
    if (p->memory_file != 0) {
        mim_file_close(p->source.storage, p->memory_file);
        p->memory_file = 0;
    }
}
