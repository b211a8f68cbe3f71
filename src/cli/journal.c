// SPDX-License-Identifier: MIT
// memimage journal dump|verify|stat: any journal, without the model.
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/journal_walk.h"
#include "cli/live.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "model/codec.h"

/** How a dump ends the walk. */
enum { DUMP_END = 1, DUMP_FAILED = 2 };

struct journaling {
    const char *dir;
    uint64_t from;
    uint64_t to;
    bool json;
    struct mim_buffer out;
};

static void member(struct mim_json *j, const char *key, struct mim_slice value) {
    if (value.size > 0) {
        mim_json_key(j, key);
        mim_json_string(j, (struct mim_string){.data = (const char *)value.data, .size = value.size});
    }
}

static void member_number(struct mim_json *j, const char *key, uint64_t value) {
    mim_json_key(j, key);
    mim_json_u64(j, value);
}

static void event_name(const struct mim_walk_event *event, char *name, size_t size) {
    (void)snprintf(name, size, "%s.%.*s", event->aggregate, (int)event->type->definition.name.size,
                   (const char *)event->type->definition.name.data);
}

static void event_subject(const struct mim_walk_event *event, char *subject, size_t size) {
    if (event->id != NULL) {
        (void)snprintf(subject, size, "%s/%s", event->aggregate, event->id);
    } else { /* its first event was archived */
        (void)snprintf(subject, size, "%s/#%u", event->aggregate, event->record->stream);
    }
}

static int dump_event(void *context, const struct mim_walk_event *event) {
    struct journaling *journaling = context;
    if (event->position < journaling->from || event->position > journaling->to) {
        return event->position > journaling->to ? DUMP_END : 0;
    }
    char name[2 * MIM_NAME_SIZE_MAX + 2];
    char subject[MIM_NAME_SIZE_MAX + MIM_ID_SIZE_MAX + 2];
    char time[MIM_RFC3339_SIZE + 1];
    event_name(event, name, sizeof(name));
    event_subject(event, subject, sizeof(subject));
    mim_rfc3339_format(event->time_ms, time);
    journaling->out.size = 0;
    struct mim_json j = mim_json_to(&journaling->out);
    mim_json_object(&j);
    member_number(&j, "position", event->position);
    member(&j, "subject", mim_slice_text(subject));
    member_number(&j, "streamversion", event->record->version);
    member(&j, "type", mim_slice_text(name));
    member_number(&j, "schemaversion", event->type->definition.version);
    member(&j, "time", mim_slice_text(time));
    member_number(&j, "epoch", event->frame->header.epoch);
    member(&j, "command", mim_slice_text(event->command));
    member(&j, "key", event->tx->key);
    member(&j, "correlationid", event->tx->corr);
    member(&j, "causationid", event->tx->cause);
    member(&j, "actor", event->tx->actor);
    mim_json_key(&j, "data");
    if (!mim_json_payload(&j, &event->type->definition, event->record->payload)) {
        mim_json_null(&j);
    }
    if (event->tx->command_fields.size > 0) {
        mim_json_key(&j, "commanddata");
        mim_json_raw(&j, event->tx->command_fields);
    }
    mim_json_object_end(&j);
    mim_buffer_append(&journaling->out, "\n", 1);
    journaling->from = event->position + 1; /* another look goes on from here */
    return fwrite(journaling->out.data, 1, journaling->out.size, stdout) == journaling->out.size ? 0 : DUMP_FAILED;
}

/** A line without a position: what an operator decided there. */
static int dump_note(void *context, const struct mim_frame *frame, struct mim_slice text) {
    struct journaling *journaling = context;
    char time[MIM_RFC3339_SIZE + 1];
    if (frame->header.first_position < journaling->from || frame->header.first_position > journaling->to) {
        return 0;
    }
    mim_rfc3339_format(frame->header.base_time_ms, time);
    journaling->out.size = 0;
    struct mim_json j = mim_json_to(&journaling->out);
    mim_json_object(&j);
    member(&j, "note", text);
    member(&j, "time", mim_slice_text(time));
    member_number(&j, "epoch", frame->header.epoch);
    mim_json_object_end(&j);
    mim_buffer_append(&journaling->out, "\n", 1);
    return fwrite(journaling->out.data, 1, journaling->out.size, stdout) == journaling->out.size ? 0 : DUMP_FAILED;
}

static int verify_ending(const struct mim_walk *walk, struct mim_error *reterr) {
    return walk->ending.kind == MIM_END_DAMAGED ? mim_error_set(reterr, MIM_E_DAMAGED, "%s", walk->ending.text) : 0;
}

static void verify_print(const struct journaling *journaling, const struct mim_walk *walk) {
    bool torn = walk->ending.kind == MIM_END_TORN;
    if (journaling->json) {
        (void)printf(
            "{\"good\":true,\"events\":%llu,\"position\":%llu,\"frames\":%llu,\"segments\":%zu,\"torn\":%llu}\n",
            (unsigned long long)walk->events, (unsigned long long)walk->ending.position,
            (unsigned long long)walk->frames, walk->segments.count,
            (unsigned long long)(torn ? walk->ending.torn_size : 0));
        return;
    }
    (void)printf("good: %llu events up to position %llu in %llu frames of %zu segments\n",
                 (unsigned long long)walk->events, (unsigned long long)walk->ending.position,
                 (unsigned long long)walk->frames, walk->segments.count);
    if (torn) {
        (void)printf("behind them a torn tail of %llu bytes, never acknowledged (or a live server's newest frame)\n",
                     (unsigned long long)walk->ending.torn_size);
    }
}

static void stat_json(const struct mim_walk *walk, struct mim_buffer *out) {
    struct mim_json j = mim_json_to(out);
    mim_json_object(&j);
    member_number(&j, "segments", walk->segments.count);
    member_number(&j, "frames", walk->frames);
    member_number(&j, "transactions", walk->transactions);
    member_number(&j, "events", walk->events);
    member_number(&j, "position", walk->ending.position);
    member_number(&j, "bytes", walk->frame_bytes);
    mim_json_key(&j, "bytes_per_event");
    mim_json_f64(&j, walk->events == 0 ? 0 : (double)walk->frame_bytes / (double)walk->events);
    member_number(&j, "first_epoch", walk->first_epoch);
    member_number(&j, "last_epoch", walk->last_epoch);
    member_number(&j, "first_time_ms", (uint64_t)walk->first_time_ms);
    member_number(&j, "last_time_ms", (uint64_t)walk->last_time_ms);
    mim_json_key(&j, "aggregates");
    mim_json_object(&j);
    for (unsigned i = 1; i <= MIM_AGGREGATE_TYPES_MAX && walk->aggregates[i].name[0] != '\0'; i++) {
        member_number(&j, walk->aggregates[i].name, walk->aggregates[i].count);
    }
    mim_json_object_end(&j);
    mim_json_key(&j, "types");
    mim_json_array(&j);
    for (unsigned i = 1; i <= MIM_CATALOG_MAX && walk->types[i].payload != NULL; i++) {
        const struct mim_definition *definition = &walk->types[i].definition;
        mim_json_object(&j);
        member(&j, "aggregate", mim_slice_text(walk->aggregates[definition->aggregate].name));
        member(&j, "name", definition->name);
        member_number(&j, "version", definition->version);
        member_number(&j, "events", walk->types[i].events);
        member_number(&j, "bytes", walk->types[i].bytes);
        mim_json_object_end(&j);
    }
    mim_json_array_end(&j);
    mim_json_object_end(&j);
    mim_buffer_append(out, "\n", 1);
}

static void stat_print(const struct mim_walk *walk) {
    char first[MIM_RFC3339_SIZE + 1];
    char last[MIM_RFC3339_SIZE + 1];
    mim_rfc3339_format(walk->first_time_ms, first);
    mim_rfc3339_format(walk->last_time_ms, last);
    (void)printf("segments      %zu\n", walk->segments.count);
    (void)printf(
        "frames        %llu (%llu data, %llu epoch, %llu seal, %llu roll)\n", (unsigned long long)walk->frames,
        (unsigned long long)walk->frames_of[MIM_FRAME_DATA], (unsigned long long)walk->frames_of[MIM_FRAME_EPOCH],
        (unsigned long long)walk->frames_of[MIM_FRAME_SEAL], (unsigned long long)walk->frames_of[MIM_FRAME_ROLL]);
    (void)printf("transactions  %llu\n", (unsigned long long)walk->transactions);
    (void)printf("events        %llu, position %llu\n", (unsigned long long)walk->events,
                 (unsigned long long)walk->ending.position);
    (void)printf("bytes         %llu (%.1f per event, all overhead included)\n", (unsigned long long)walk->frame_bytes,
                 walk->events == 0 ? 0 : (double)walk->frame_bytes / (double)walk->events);
    (void)printf("epochs        %u to %u\n", walk->first_epoch, walk->last_epoch);
    if (walk->events > 0) {
        (void)printf("time          %s to %s\n", first, last);
    }
    for (unsigned i = 1; i <= MIM_AGGREGATE_TYPES_MAX && walk->aggregates[i].name[0] != '\0'; i++) {
        (void)printf("%-13s %zu aggregates\n", walk->aggregates[i].name, walk->aggregates[i].count);
    }
    for (unsigned i = 1; i <= MIM_CATALOG_MAX && walk->types[i].payload != NULL; i++) {
        const struct mim_definition *definition = &walk->types[i].definition;
        (void)printf("  %s.%.*s v%u: %llu events, %llu bytes\n", walk->aggregates[definition->aggregate].name,
                     (int)definition->name.size, (const char *)definition->name.data, definition->version,
                     (unsigned long long)walk->types[i].events, (unsigned long long)walk->types[i].bytes);
    }
}

/** Walks, and again where a live server wrote meanwhile. The walk is the caller's to deinit. */
static int journal_walk(struct journaling *journaling, struct mim_storage storage, struct mim_walk *walk,
                        const struct mim_walk_options *options, mim_walk_fn *each, struct mim_error *reterr) {
    struct mim_live live = {0};
    struct mim_error error = {0};
    int rc;
    do {
        mim_walk_deinit(walk);
        rc = mim_walk_run(walk, storage, options, each, journaling, &error);
        rc = rc != 0 ? rc : verify_ending(walk, &error);
    } while (mim_live_look_again(&live, rc, &error));
    if (rc < 0) {
        *reterr = error;
    }
    return rc == DUMP_END      ? 0
           : rc == DUMP_FAILED ? mim_error_set(reterr, MIM_E_IO, "writing to standard output failed")
                               : rc;
}

static int journal_run(struct journaling *journaling, const char *verb, struct mim_error *reterr) {
    bool dump = strcmp(verb, "dump") == 0;
    bool verify = strcmp(verb, "verify") == 0;
    if (!dump && !verify && strcmp(verb, "stat") != 0) {
        return mim_error_set(reterr, MIM_E_USAGE, "unknown verb \"%s\": dump, verify or stat", verb);
    }
    struct mim_storage storage = {0};
    int rc = mim_storage_posix_open(journaling->dir, false, &storage, reterr);
    if (rc != 0) {
        return rc;
    }
    struct mim_progress progress;
    mim_progress_begin(&progress, "reading", "B");
    struct mim_walk_options options = {.note = dump ? dump_note : NULL,
                                       .check_streams = verify,
                                       .progress = dump ? NULL : mim_progress_callback,
                                       .progress_context = &progress};
    static struct mim_walk walk;
    rc = journal_walk(journaling, storage, &walk, &options, dump ? dump_event : NULL, reterr);
    mim_progress_end(&progress);
    if (rc == 0 && verify) {
        verify_print(journaling, &walk);
    } else if (rc == 0 && !dump && journaling->json) {
        stat_json(&walk, &journaling->out);
        (void)fwrite(journaling->out.data, 1, journaling->out.size, stdout);
    } else if (rc == 0 && !dump) {
        stat_print(&walk);
    }
    mim_walk_deinit(&walk);
    mim_buffer_deinit(&journaling->out);
    mim_storage_posix_close(&storage);
    return rc;
}

int mim_cli_journal(int argc, char **argv) {
    struct journaling journaling = {.from = 1, .to = UINT64_MAX};
    const struct mim_option items[] = {
        {"dir", MIM_OPTION_TEXT, &journaling.dir, "DIR", "data directory; a live server's is fine", 0, 0},
        {"from", MIM_OPTION_UNSIGNED, &journaling.from, "POSITION", "dump: first event (default 1)", 0, 0},
        {"to", MIM_OPTION_UNSIGNED, &journaling.to, "POSITION", "dump: last event (default: the end)", 0, 0},
        {"json", MIM_OPTION_FLAG, &journaling.json, NULL, "verify, stat: print JSON (dump always does)", 0, 0},
    };
    const struct mim_options options = {
        .usage = "memimage journal dump|verify|stat --dir DIR",
        .about = "dump prints every event as a line of JSON; verify checks every frame, record and stream and exits "
                 "with 3,\n"
                 "naming segment, offset and position, at the first bad one; stat shows sizes and counts. Without the "
                 "model.",
        .items = items,
        .count = sizeof(items) / sizeof(items[0]),
    };
    struct mim_error error = {0};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    if (rc > 0) {
        return 0;
    }
    if (rc == 0 && positional != 1) {
        rc = mim_error_set(&error, MIM_E_USAGE, "one of dump, verify, stat is wanted (see --help)");
    }
    rc = rc != 0 ? rc : mim_options_want(argv, 0, journaling.dir, &error);
    rc = rc != 0 ? rc : journal_run(&journaling, argv[0], &error);
    return rc == 0 ? 0 : mim_cli_fail("journal", &error);
}
