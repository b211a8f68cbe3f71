// SPDX-License-Identifier: MIT
// One command against state: the checks in the contract's order, the model's decide, and what decide may call.
#include <stdarg.h>
#include <stdio.h>

#include "engine/internal.h"

__attribute__((format(printf, 3, 4))) static void outcome_set(struct mim_outcome *outcome, enum mim_outcome_kind kind,
                                                              const char *format, ...) {
    outcome->kind = kind;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(outcome->text, sizeof(outcome->text), format, arguments);
    va_end(arguments);
}

#define SLICE_ARGS(slice) (int)((slice).size > 100 ? 100 : (slice).size), (const char *)(slice).data

/* ------------------------------------------------- what decide may call */

mim_verdict_t mim_reject(struct mim_decision *d, const char *code, const char *format, ...) {
    int used = snprintf(d->rejection, sizeof(d->rejection), "%s ", code);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(d->rejection + used, sizeof(d->rejection) - (size_t)used, format, arguments);
    va_end(arguments);
    return 1;
}

static void *emit(struct mim_decision *d, const struct mim_compiled_event *compiled, struct mim_string id) {
    MIM_ASSERT(compiled != NULL); /* a model emits its own event types only */
    struct mim_engine *engine = d->host.engine;
    void *data = mim_engine_scratch(engine, compiled->type->size);
    if (d->count == MIM_EVENTS_PER_TX_MAX || data == NULL) {
        d->too_much = true;
        memset(engine->event_struct, 0, engine->compiled->event_struct_size_max);
        return engine->event_struct;
    }
    d->events[d->count++] = (struct mim_pending_event){.event = compiled, .id = id, .data = data};
    return data;
}

void *mim_emit(struct mim_decision *d, const struct mim_event_type *event) {
    const struct mim_compiled_event *compiled =
        mim_compiled_event_in(d->host.engine->compiled, d->command->aggregate, event);
    MIM_ASSERT(compiled != NULL); /* its state is of that type */
    return emit(d, compiled, (struct mim_string){0});
}

void *mim_emit_to(struct mim_decision *d, const struct mim_aggregate_type *type, struct mim_string id,
                  const struct mim_event_type *event) {
    const struct mim_compiled_event *compiled = mim_compiled_event_of(d->host.engine->compiled, event);
    MIM_ASSERT(compiled != NULL && &d->host.engine->compiled->model->aggregates[compiled->aggregate] == type);
    if (!mim_id_valid(mim_slice_of(id.data, id.size))) {
        (void)mim_reject(d, "BAD_ID", "an event was emitted to an id that is not valid");
        d->too_much = true;
    }
    struct mim_slice own = d->request->id;
    bool same = compiled->aggregate == d->command->aggregate && mim_slice_equal(mim_slice_of(id.data, id.size), own);
    if (!same) { /* a model makes ids in local buffers */
        char *copy = mim_engine_scratch(d->host.engine, id.size);
        d->too_much |= copy == NULL;
        if (copy != NULL && id.size > 0) {
            memcpy(copy, id.data, id.size);
            id.data = copy;
        }
    }
    return emit(d, compiled, same ? (struct mim_string){0} : id);
}

void *mim_decision_alloc(struct mim_decision *d, size_t size) {
    return size > MIM_TX_SCRATCH_SIZE ? NULL : mim_engine_scratch(d->host.engine, size);
}

static void saw(struct mim_decision *d, mim_lsn_t gate) {
    if (gate > d->read_gate) {
        d->read_gate = gate;
    }
}

const void *mim_read(struct mim_decision *d, const struct mim_aggregate_type *type, struct mim_string id) {
    struct mim_engine *engine = d->host.engine;
    int aggregate = mim_compiled_aggregate_of(engine->compiled, type);
    MIM_ASSERT(aggregate >= 0);
    struct mim_slice key = mim_slice_of(id.data, id.size);
    struct mim_slot *slot = mim_engine_find(engine, (unsigned)aggregate, key, mim_engine_id_hash(engine, key), NULL);
    if (slot == NULL) {
        return NULL;
    }
    saw(d, mim_engine_gate_of(d->appender, slot->last_lsn));
    return mim_slot_state(slot);
}

const void *mim_read_projection(struct mim_decision *d, const struct mim_projection_type *projection) {
    struct mim_engine *engine = d->host.engine;
    int index = mim_compiled_projection_of(engine->compiled, projection);
    MIM_ASSERT(index >= 0);
    saw(d, mim_engine_gate_all(engine, d->appender));
    return mim_arena_at(&engine->arena, engine->root->projections[index]);
}

struct mim_string mim_decision_id(const struct mim_decision *d) {
    return (struct mim_string){.data = (const char *)d->request->id.data, .size = d->request->id.size};
}
uint32_t mim_decision_version(const struct mim_decision *d) { return d->slot == NULL ? 0 : d->slot->version; }
int64_t mim_decision_time_ms(const struct mim_decision *d) { return d->time_ms; }
uint64_t mim_decision_position(const struct mim_decision *d) { return d->host.engine->root->position + 1; }
struct mim_string mim_decision_actor(const struct mim_decision *d) {
    return (struct mim_string){.data = (const char *)d->request->actor.data, .size = d->request->actor.size};
}
const struct mim_host *mim_decision_host(const struct mim_decision *d) { return &d->host; }

/* ------------------------------------------------------------ the checks */

static bool request_options_good(const struct mim_request *request, struct mim_outcome *outcome) {
    const struct mim_slice options[] = {request->key, request->correlation, request->causation, request->actor};
    static const char *const names[] = {"@id", "@corr", "@cause", "@by"};
    for (unsigned i = 0; i < MIM_COUNT_OF(names); i++) {
        if (options[i].data != NULL &&
            (options[i].size == 0 || options[i].size > MIM_KEY_SIZE_MAX || !mim_utf8_valid(options[i]))) {
            outcome_set(outcome, MIM_OUTCOME_ERR, "%s must be 1 to %u bytes of UTF-8", names[i], MIM_KEY_SIZE_MAX);
            return false;
        }
    }
    return true;
}

/** Type, id, command and options: what makes the request a request at all. Finds the aggregate if it was looked up. */
static bool request_resolve(struct mim_engine *engine, const struct mim_request *request, struct mim_decision *decision,
                            struct mim_outcome *outcome) {
    bool found = request->ahead != NULL && mim_engine_ahead_found(engine, request->ahead);
    int aggregate = found ? request->ahead->aggregate : mim_compiled_aggregate(engine->compiled, request->type);
    if (aggregate < 0) {
        outcome_set(outcome, MIM_OUTCOME_ERR, "unknown aggregate type '%.*s'", SLICE_ARGS(request->type));
        return false;
    }
    decision->stream = found ? request->ahead->stream : 0;
    decision->slot = found ? mim_engine_slot(engine, (unsigned)aggregate, decision->stream) : NULL;
    if (!found && !mim_id_valid(request->id)) {
        outcome_set(outcome, MIM_OUTCOME_ERR,
                    "invalid id: 1 to %u bytes of UTF-8 without spaces and control characters", MIM_ID_SIZE_MAX);
        return false;
    }
    decision->command = mim_compiled_command(engine->compiled, (unsigned)aggregate, request->command);
    if (decision->command == NULL) {
        outcome_set(outcome, MIM_OUTCOME_ERR, "unknown command '%.*s' on type '%.*s'", SLICE_ARGS(request->command),
                    SLICE_ARGS(request->type));
        return false;
    }
    return MIM_LIKELY(!mim_request_has_options(request)) || request_options_good(request, outcome);
}

/** True when the key was seen: the outcome is the first one's. */
static bool request_repeated(struct mim_engine *engine, const struct mim_appender *appender,
                             const struct mim_request *request, struct mim_outcome *outcome) {
    if (request->key.data == NULL) {
        return false;
    }
    const struct mim_key_entry *entry = mim_keys_find(engine, request->key);
    if (entry == NULL) {
        return false;
    }
    outcome->kind = MIM_OUTCOME_DONE;
    outcome->repeated = true;
    outcome->version = entry->version;
    outcome->position = entry->position;
    outcome->gate = mim_engine_gate_all(engine, appender);
    engine->stats.commands_repeated++;
    return true;
}

static bool request_fields(struct mim_engine *engine, const struct mim_request *request,
                           const struct mim_decision *decision, struct mim_outcome *outcome) {
    struct mim_byte_writer scratch = {
        .data = engine->scratch, .capacity = MIM_EVENT_SCRATCH_SIZE, .size = 0, .overflow = false};
    struct mim_error error;
    int rc =
        request->json.data != NULL
            ? mim_command_from_json(decision->command->type, request->json, engine->command_struct, &scratch, &error)
            : mim_command_from_arguments(decision->command->type, request->arguments, request->argument_count,
                                         engine->command_struct, &scratch, &error);
    if (MIM_UNLIKELY(rc != 0)) {
        engine->stats.commands_badarg++;
        outcome_set(outcome, MIM_OUTCOME_BADARG, "%.300s", error.text);
        return false;
    }
    engine->scratch_used = (size_t)mim_align8(scratch.size);
    return true;
}

static bool request_expected(struct mim_engine *engine, const struct mim_appender *appender,
                             const struct mim_request *request, const struct mim_decision *decision,
                             struct mim_outcome *outcome) {
    if (MIM_LIKELY(!request->has_expected)) {
        return true;
    }
    mim_version_t version = decision->slot == NULL ? 0 : decision->slot->version;
    if (request->expected_version == version) {
        return true;
    }
    outcome_set(outcome, MIM_OUTCOME_CONFLICT, "expected version %llu, %.*s/%.*s is at %u",
                (unsigned long long)request->expected_version, SLICE_ARGS(request->type), SLICE_ARGS(request->id),
                version);
    outcome->gate = decision->slot == NULL ? 0 : mim_engine_gate_of(appender, decision->slot->last_lsn);
    engine->stats.commands_conflicted++;
    return false;
}

static void decision_begin(struct mim_engine *engine, struct mim_appender *appender, const struct mim_request *request,
                           struct mim_decision *decision) {
    decision->host = engine->host;
    decision->appender = appender;
    decision->request = request;
    if (decision->slot == NULL) {
        decision->id_hash = mim_engine_id_hash(engine, request->id);
        decision->slot =
            mim_engine_find(engine, decision->command->aggregate, request->id, decision->id_hash, &decision->stream);
    }
    decision->time_ms = mim_appender_time(appender, request->wall_ms);
    decision->read_gate = 0;
    decision->too_much = false;
    decision->count = 0;
    decision->rejection[0] = '\0';
}

/** Whether the sender may write every stream that the model has chosen. */
static bool decision_permitted(const struct mim_engine *engine, const struct mim_decision *decision) {
    const struct mim_permits *writes = &decision->request->writes;
    for (uint32_t i = 0; writes->permits != NULL && i < decision->count; i++) {
        const struct mim_pending_event *event = &decision->events[i];
        const char *type = engine->compiled->model->aggregates[event->event->aggregate].name;
        struct mim_slice id =
            event->id.data == NULL ? decision->request->id : mim_slice_of(event->id.data, event->id.size);
        if (!writes->permits(writes->context, mim_slice_text(type), id)) {
            return false;
        }
    }
    return true;
}

void mim_engine_execute(struct mim_engine *engine, struct mim_appender *appender, const struct mim_request *request,
                        struct mim_outcome *ret_outcome) {
    struct mim_decision *decision = engine->decision;
    ret_outcome->repeated = false;
    ret_outcome->gate = 0;
    if (!request_resolve(engine, request, decision, ret_outcome) ||
        request_repeated(engine, appender, request, ret_outcome) ||
        !request_fields(engine, request, decision, ret_outcome)) {
        return;
    }
    decision_begin(engine, appender, request, decision);
    if (!request_expected(engine, appender, request, decision, ret_outcome)) {
        return;
    }
    if (MIM_UNLIKELY(!mim_engine_has_headroom(engine))) {
        outcome_set(ret_outcome, MIM_OUTCOME_OVERLOADED, "the memory limit of the image is reached; queries go on");
        return;
    }
    const void *state = decision->slot == NULL ? NULL : mim_slot_state(decision->slot);
    int verdict = decision->command->type->decide(decision, state, engine->command_struct);
    if (verdict != 0) {
        if (decision->slot != NULL) {
            saw(decision, mim_engine_gate_of(appender, decision->slot->last_lsn));
        }
        outcome_set(ret_outcome, MIM_OUTCOME_REJECTED, "%s", decision->rejection);
        ret_outcome->gate = decision->read_gate;
        engine->stats.commands_rejected++;
        return;
    }
    if (MIM_UNLIKELY(decision->too_much)) {
        outcome_set(ret_outcome, MIM_OUTCOME_ERR, "the command's transaction is too large");
        return;
    }
    if (MIM_UNLIKELY(!decision_permitted(engine, decision))) {
        outcome_set(ret_outcome, MIM_OUTCOME_DENIED, "the command would write to an aggregate that this user may not");
        return;
    }
    mim_transaction_run(engine, decision, ret_outcome);
}
