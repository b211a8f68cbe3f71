// SPDX-License-Identifier: MIT
// A primary, two standbys and their clients under everything that can go wrong, one story for each seed (world.h). A seed
// tells the same story every time; one that fails prints it.
//
//   test-cluster [--seed FIRST] [--seeds COUNT] [--trace]
#include "world.h"

enum { STEPS = 2500 };

static void world_begin(struct world *w) {
    static const uint64_t segment_sizes[] = {8192, 8192, 16384, 65536};
    mim_prng_init(&w->prng, w->seed);
    w->durability = chance(w, 1, 5) ? MIM_DURABILITY_INTERVAL : MIM_DURABILITY_FSYNC;
    w->wanted = (unsigned)below(w, NODES);
    w->segment_size = segment_sizes[below(w, MIM_COUNT_OF(segment_sizes))];
    w->faults = (uint32_t)mim_prng_next(&w->prng);
    w->faults |= (uint32_t)mim_prng_next(&w->prng); /* most of them */
    w->faults = chance(w, 1, 20) ? 0 : w->faults;
    w->calm = 10 + (unsigned)below(w, 100);
    w->now_ns = MS;
    for (int i = 0; i < NODES; i++) {
        w->nodes[i].number = i;
        w->nodes[i].sim = mim_storage_sim_new(mim_prng_next(&w->prng));
        w->nodes[i].storage = mim_storage_sim_storage(w->nodes[i].sim);
        w->nodes[i].follows = i == 0 ? NOBODY : 0;
        w->nodes[i].link = NOBODY;
    }
    tell(w, "durability %s, %u standbys are waited for, segments of %llu bytes, faults %x",
         w->durability == MIM_DURABILITY_FSYNC ? "fsync" : "interval", w->wanted, (unsigned long long)w->segment_size,
         w->faults);
}

static void world_end(struct world *w) {
    for (int i = 0; i < NODES; i++) {
        node_kill(w, &w->nodes[i]);
    }
    network_close(w);
    for (int i = 0; i < NODES; i++) {
        (void)mim_storage_sim_free(w->nodes[i].sim);
        mim_ring_deinit(&w->nodes[i].ring);
    }
    mim_buffer_deinit(&w->story);
}

static void step(struct world *w) {
    w->now_ns += below(w, 2 * MS);
    w->counters.steps++;
    faults_turn(w);
    operator_turn(w);
    clients_turn(w);
    int first = (int)below(w, NODES);
    for (int i = 0; i < NODES; i++) {
        if (!chance(w, 1, 5)) {
            node_turn(w, &w->nodes[(first + i) % NODES]);
        }
    }
    if (chance(w, 1, 50)) {
        oracle_compare(w);
    }
}

/** One story, from its seed; what was counted is added up. Returns the story's hash. */
static uint64_t tell_seed(struct world *w, uint64_t seed) {
    struct counters counters = w->counters;
    const struct mim_compiled *compiled = w->compiled;
    bool trace = w->trace;
    *w = (struct world){.seed = seed, .compiled = compiled, .trace = trace, .counters = counters};
    world_begin(w);
    for (unsigned i = 0; i < STEPS; i++) {
        step(w);
    }
    settle(w);
    uint64_t hash = mim_hash64(w->story.data, w->story.size, 0);
    world_end(w);
    return hash;
}

static void report(const struct world *w, uint64_t seeds) {
    static const char *const names[FAULT_KINDS] = {"power cuts",
                                                   "kills",
                                                   "power cuts at a call",
                                                   "EIO",
                                                   "failed syncs",
                                                   "full disks",
                                                   "partitions",
                                                   "cut connections",
                                                   "pauses",
                                                   "clock jumps",
                                                   "snapshots",
                                                   "rotten snapshots",
                                                   "rotten journals",
                                                   "promotions without need"};
    const struct counters *c = &w->counters;
    (void)printf(
        "# %llu seeds, %llu steps, %llu starts; %llu commands, %llu acknowledged, %llu repeated, %llu refused, "
        "%llu values shown\n",
        (unsigned long long)seeds, (unsigned long long)c->steps, (unsigned long long)c->starts,
        (unsigned long long)c->commands, (unsigned long long)c->acknowledged, (unsigned long long)c->repeated,
        (unsigned long long)c->refused, (unsigned long long)c->values);
    (void)printf(
        "# %llu promotions, %llu copies, %llu rewinds; %llu acknowledged commands lost where that was allowed\n",
        (unsigned long long)c->promotions, (unsigned long long)c->copies, (unsigned long long)c->rewinds,
        (unsigned long long)c->lost);
    (void)printf("# faults:");
    for (int i = 0; i < FAULT_KINDS; i++) {
        (void)printf("%s %llu %s", i == 0 ? "" : ",", (unsigned long long)c->faults[i], names[i]);
    }
    (void)printf("\n");
}

int main(int argc, char **argv) {
    static struct world world;
    uint64_t first = 1;
    uint64_t seeds = 300;
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--trace") == 0) {
            world.trace = true;
        } else if (value && strcmp(argv[i], "--seed") == 0) {
            first = strtoull(argv[++i], NULL, 10);
        } else if (value && strcmp(argv[i], "--seeds") == 0) {
            seeds = strtoull(argv[++i], NULL, 10);
        } else {
            (void)fprintf(stderr, "usage: test-cluster [--seed FIRST] [--seeds COUNT] [--trace]\n");
            return 1;
        }
    }
    struct mim_compiled *compiled = NULL;
    struct mim_error error = {0};
    (void)printf("1..1\n");
    if (mim_compiled_new(&mim_ledger_model, &compiled, &error) != 0) {
        (void)printf("not ok 1 - %s\n", error.text);
        return 1;
    }
    world.compiled = compiled;
    uint64_t once = tell_seed(&world, first);
    if (!world.trace && tell_seed(&world, first) != once) {
        (void)printf("not ok 1 - seed %llu does not tell the same story twice\n", (unsigned long long)first);
        return 1;
    }
    for (uint64_t seed = first + 1; seed < first + seeds; seed++) {
        (void)tell_seed(&world, seed);
    }
    (void)mim_compiled_free(compiled);
    report(&world, seeds);
    (void)printf("ok 1 - every story ends well: acknowledged is there, once, in order, the same on all nodes\n");
    return 0;
}
