// SPDX-License-Identifier: MIT
// The embedding API: one engine, one journal, stepped by the caller's own thread. Leans on engine/ and storage_posix.
#include <memimage/memimage.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "engine/recovery.h"
#include "models/models.h"

struct memimage {
    struct mim_storage storage;
    mim_file_t lock;
    struct mim_compiled *compiled;
    struct mim_engine *engine;
    struct mim_ring ring;
    struct mim_writer *writer;
    struct mim_appender appender;
    struct mim_clock clock;
    struct mim_buffer out;
    struct mim_error error;
    bool deferred;
    bool failed;
};

/** "type/id" at the first slash; false when there is none. */
static bool name_split(const char *name, struct mim_slice *ret_type, struct mim_slice *ret_id) {
    const char *slash = name == NULL ? NULL : strchr(name, '/');
    if (slash == NULL) {
        return false;
    }
    *ret_type = mim_slice_of(name, (size_t)(slash - name));
    *ret_id = mim_slice_text(slash + 1);
    return true;
}

static struct mim_slice optional(const char *text) {
    return text == NULL ? mim_slice_of(NULL, 0) : mim_slice_text(text);
}

/** Writes and syncs until all that was appended is durable; prepares the next segment when one is needed. */
static int drain(struct memimage *m) {
    while (!mim_appender_idle(&m->appender)) {
        int rc = mim_writer_step(m->writer, m->clock.monotonic_ns(m->clock.context), &m->error);
        if (rc < 0) {
            m->failed = true;
            return rc;
        }
    }
    int rc = mim_preparer_step(m->storage, &m->ring, 0, &m->error);
    return rc < 0 && rc != MIM_E_NO_SPACE ? rc : 0;
}

static int open_engine(struct memimage *m, const struct memimage_options *options) {
    const struct mim_model *model = options->model;
    if (model == NULL && options->model_name != NULL) {
        model = mim_models_find(options->model_name);
    }
    if (model == NULL) {
        return mim_error_set(&m->error, MIM_E_USAGE, "no such model");
    }
    int rc = mim_compiled_new(model, &m->compiled, &m->error);
    if (rc != 0) {
        return rc;
    }
    struct mim_engine_options engine = {
        .compiled = m->compiled,
        .idempotency_window = options->idempotency_window,
        .memory_limit = options->memory_limit,
    };
    return mim_engine_new(&engine, &m->engine, &m->error);
}

static int open_journal(struct memimage *m) {
    struct mim_recovery recovery;
    int rc = mim_recovery_run(m->storage, m->engine, NULL, &recovery, &m->error);
    if (rc != 0) {
        return rc;
    }
    struct mim_history history;
    if (getrandom(history.uuid, sizeof(history.uuid), 0) != (ssize_t)sizeof(history.uuid)) {
        rc = mim_error_set(&m->error, MIM_E_IO, "no randomness for a new history");
    }
    static const struct mim_writer_options writer = {.durability = MIM_DURABILITY_FSYNC};
    if (rc == 0) {
        rc = mim_recovery_begin(m->storage, m->engine, &recovery, &m->ring, &writer, &history,
                                m->clock.wall_ms(m->clock.context), &m->writer, &m->appender, &m->error);
    }
    mim_recovery_deinit(&recovery);
    return rc;
}

static struct memimage *memimage_free(struct memimage *m) {
    if (m->writer != NULL) {
        (void)mim_writer_free(m->writer);
    }
    mim_ring_deinit(&m->ring);
    (void)mim_engine_free(m->engine);
    if (m->compiled != NULL) {
        (void)mim_compiled_free(m->compiled);
    }
    if (m->storage.ops != NULL) {
        mim_file_close(m->storage, m->lock);
        mim_storage_posix_close(&m->storage);
    }
    mim_buffer_deinit(&m->out);
    free(m);
    return NULL;
}

int memimage_open(const struct memimage_options *options, struct memimage **ret_memimage, char *error,
                  size_t error_size) {
    struct memimage *m =
        aligned_alloc(_Alignof(struct memimage), sizeof(*m)); /* the ring in it has its own cache lines */
    if (m == NULL) {
        return MIM_E_MEMORY;
    }
    memset(m, 0, sizeof(*m));
    m->clock = mim_clock_posix();
    m->deferred = options->deferred;
    int rc = mim_storage_posix_open(options->dir, true, &m->storage, &m->error);
    if (rc == 0) {
        rc = mim_storage_lock(m->storage, MIM_DIRECTORY_LOCK, &m->lock, &m->error);
    }
    if (rc == 0) {
        rc = mim_ring_init(&m->ring, &m->error);
    }
    if (rc == 0) {
        rc = open_engine(m, options);
    }
    if (rc == 0) {
        rc = open_journal(m);
    }
    if (rc != 0) {
        if (error != NULL && error_size > 0) {
            (void)snprintf(error, error_size, "%s", m->error.text);
        }
        (void)memimage_free(m);
        return rc;
    }
    *ret_memimage = m;
    return 0;
}

int memimage_close(struct memimage *m) {
    if (m == NULL) {
        return 0;
    }
    int rc = m->failed ? MIM_E_IO : memimage_flush(m);
    if (rc == 0) {
        rc = mim_appender_control(&m->appender, MIM_FRAME_SEAL, m->appender.last_time_ms);
        rc = rc == 0 ? drain(m) : 0; /* no room for a seal: all is durable all the same */
    }
    if (rc == 0) {
        rc = mim_writer_finish(m->writer, &m->error);
    }
    (void)memimage_free(m);
    return rc;
}

int memimage_flush(struct memimage *m) {
    if (m->failed) {
        return MIM_E_IO;
    }
    mim_appender_seal(&m->appender);
    return drain(m);
}

static int outcome_code(struct memimage *m, const struct mim_outcome *outcome) {
    static const char *const prefixes[] = {
        [MIM_OUTCOME_ERR] = "ERR",           [MIM_OUTCOME_BADARG] = "BADARG",
        [MIM_OUTCOME_CONFLICT] = "CONFLICT", [MIM_OUTCOME_REJECTED] = "REJECTED",
        [MIM_OUTCOME_READONLY] = "READONLY", [MIM_OUTCOME_OVERLOADED] = "OVERLOADED",
    };
    int code = outcome->kind == MIM_OUTCOME_READONLY     ? MIM_E_NO_SPACE
               : outcome->kind == MIM_OUTCOME_OVERLOADED ? MIM_E_MEMORY
                                                         : MIM_E_INVALID;
    return mim_error_set(&m->error, code, "%s %s", prefixes[outcome->kind], outcome->text);
}

int memimage_do(struct memimage *m, const struct memimage_command *command, struct memimage_answer *ret_answer) {
    struct mim_request request = {
        .command = optional(command->command),
        .json = mim_slice_text(command->data == NULL ? "{}" : command->data),
        .has_expected = command->expected_version >= 0,
        .expected_version = command->expected_version >= 0 ? (uint64_t)command->expected_version : 0,
        .key = optional(command->key),
        .correlation = optional(command->correlation),
        .causation = optional(command->causation),
        .actor = optional(command->actor),
        .wall_ms = m->clock.wall_ms(m->clock.context),
    };
    m->error.text[0] = '\0';
    if (m->failed) {
        return mim_error_set(&m->error, MIM_E_IO, "the journal failed: close and open again");
    }
    if (!name_split(command->aggregate, &request.type, &request.id)) {
        return mim_error_set(&m->error, MIM_E_INVALID, "ERR the aggregate is named type/id");
    }
    struct mim_outcome outcome;
    mim_engine_execute(m->engine, &m->appender, &request, &outcome);
    while (outcome.kind == MIM_OUTCOME_AGAIN) { /* ring full or next segment not prepared: both move here */
        int rc = memimage_flush(m);
        if (rc != 0) {
            return rc;
        }
        mim_engine_execute(m->engine, &m->appender, &request, &outcome);
    }
    if (outcome.kind != MIM_OUTCOME_DONE) {
        return outcome_code(m, &outcome);
    }
    int rc = m->deferred ? 0 : memimage_flush(m);
    if (rc == 0) {
        *ret_answer = (struct memimage_answer){.version = outcome.version, .position = outcome.position};
    }
    return rc;
}

static const char *out_text(struct memimage *m) {
    mim_buffer_append(&m->out, "", 1);
    return (const char *)m->out.data;
}

const char *memimage_get(struct memimage *m, const char *aggregate) {
    struct mim_slice type;
    struct mim_slice id;
    m->out.size = 0;
    m->error.text[0] = '\0';
    if (!name_split(aggregate, &type, &id)) {
        (void)mim_error_set(&m->error, MIM_E_INVALID, "ERR the aggregate is named type/id");
        return NULL;
    }
    int rc = mim_engine_get(m->engine, NULL, type, id, &m->out, NULL, NULL, &m->error);
    return rc == 0 ? out_text(m) : NULL;
}

const char *memimage_query(struct memimage *m, const char *type, const char *name, const char *const *arguments,
                           size_t count) {
    struct mim_string strings[16];
    m->out.size = 0;
    m->error.text[0] = '\0';
    if (count > MIM_COUNT_OF(strings)) {
        (void)mim_error_set(&m->error, MIM_E_INVALID, "BADARG at most 16 arguments");
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        strings[i] = mim_string_of(arguments[i]);
    }
    int rc = mim_engine_query(m->engine, NULL, mim_slice_text(type), mim_slice_text(name), strings, count, &m->out,
                              NULL, &m->error);
    return rc == 0 ? out_text(m) : NULL;
}

uint64_t memimage_position(const struct memimage *m) {
    struct mim_engine_point point;
    mim_engine_point(m->engine, &point);
    return point.position;
}

uint64_t memimage_digest(const struct memimage *m) { return mim_engine_digest(m->engine); }

const char *memimage_error(const struct memimage *m) { return m->error.text; }

const char *memimage_code_name(int code) { return mim_error_name(code); }
