// SPDX-License-Identifier: MIT
// A shopping cart: items added and removed, checked out, and a projection of what is in all carts. Build and serve it:
//   cc -shared -fPIC $(pkg-config --cflags memimage) -o cart.so cart.c && memimage serve --model ./cart.so
#include <memimage/model.h>

#define MOST 1000 /* pieces of one item in one cart */

struct cart {             /* the state: plain memory in the image, zeros at first */
    struct mim_map items; /* item -> pieces, int64_t */
    bool checked_out;
};
static const struct mim_field cart_fields[] = {
    MIM_FIELD(struct cart, items, MIM_COUNTS),
    MIM_FIELD(struct cart, checked_out, MIM_BOOL),
};

struct line { /* what Add and Remove ask for, and what ItemAdded and ItemRemoved tell */
    struct mim_string item;
    int64_t count;
};
static const struct mim_field line_fields[] = {
    MIM_FIELD(struct line, item, MIM_STRING, .min = 1, .max = 100),
    MIM_FIELD(struct line, count, MIM_I64, .flags = MIM_OPTIONAL, .fallback = 1, .min = 1, .max = MOST),
};

/* evolve: state x event -> state. It cannot fail, and knows nothing but its arguments. */

static void change(struct mim_evolution *e, struct mim_map *counts, struct mim_string item, int64_t by) {
    int64_t *count = mim_map_put(e, counts, sizeof(*count), item);
    *count += by;
    if (*count == 0) {
        mim_map_remove(e, counts, item);
    }
}

static void evolve_added(struct mim_evolution *e, void *state, const void *event) {
    const struct line *line = event;
    change(e, &((struct cart *)state)->items, line->item, line->count);
}

static void evolve_removed(struct mim_evolution *e, void *state, const void *event) {
    const struct line *line = event;
    change(e, &((struct cart *)state)->items, line->item, -line->count);
}

static void evolve_checked_out(struct mim_evolution *e, void *state, const void *event) {
    (void)e, (void)event;
    ((struct cart *)state)->checked_out = true;
}

enum { ADDED, REMOVED, CHECKED_OUT };
static const struct mim_event_type events[] = {
    {"ItemAdded", 1, sizeof(struct line), MIM_COUNT_OF(line_fields), line_fields, .evolve = evolve_added},
    {"ItemRemoved", 1, sizeof(struct line), MIM_COUNT_OF(line_fields), line_fields, .evolve = evolve_removed},
    {"CheckedOut", 1, .evolve = evolve_checked_out},
};

/* decide: command x state -> events, or a rejection. state is NULL while there is no such cart. */

static int64_t pieces_of(struct mim_decision *d, const struct cart *cart, struct mim_string item) {
    const int64_t *count = cart == NULL ? NULL : mim_map_find(mim_decision_host(d), &cart->items, item);
    return count == NULL ? 0 : *count;
}

static mim_verdict_t decide_add(struct mim_decision *d, const void *state, const void *command) {
    const struct cart *cart = state;
    const struct line *line = command;
    if (cart != NULL && cart->checked_out) {
        return mim_reject(d, "CHECKED_OUT", "the cart is an order already");
    }
    if (pieces_of(d, cart, line->item) + line->count > MOST) {
        return mim_reject(d, "TOO_MANY", "a cart holds at most %d pieces of an item", MOST);
    }
    *(struct line *)mim_emit(d, &events[ADDED]) = *line;
    return mim_accept();
}

static mim_verdict_t decide_remove(struct mim_decision *d, const void *state, const void *command) {
    const struct cart *cart = state;
    const struct line *line = command;
    if (cart != NULL && cart->checked_out) {
        return mim_reject(d, "CHECKED_OUT", "the cart is an order already");
    }
    if (pieces_of(d, cart, line->item) < line->count) {
        return mim_reject(d, "NOT_IN_CART", "it holds %lld pieces", (long long)pieces_of(d, cart, line->item));
    }
    *(struct line *)mim_emit(d, &events[REMOVED]) = *line;
    return mim_accept();
}

static mim_verdict_t decide_check_out(struct mim_decision *d, const void *state, const void *command) {
    const struct cart *cart = state;
    (void)command;
    if (cart == NULL || mim_map_count(mim_decision_host(d), &cart->items) == 0) {
        return mim_reject(d, "EMPTY", "there is nothing in the cart");
    }
    if (cart->checked_out) {
        return mim_reject(d, "CHECKED_OUT", "the cart is an order already");
    }
    mim_emit(d, &events[CHECKED_OUT]);
    return mim_accept();
}

static const struct mim_command_type commands[] = {
    {"Add", sizeof(struct line), MIM_COUNT_OF(line_fields), line_fields, decide_add, "Puts pieces in."},
    {"Remove", sizeof(struct line), MIM_COUNT_OF(line_fields), line_fields, decide_remove, "Takes pieces out."},
    {"CheckOut", .decide = decide_check_out, .doc = "Makes the cart an order."},
};

/* The projection: what is in all carts that are not checked out, kept by the same events; one map is its state. */

static void project_added(struct mim_evolution *e, void *projection, const void *cart, const void *event) {
    (void)cart;
    change(e, projection, ((const struct line *)event)->item, ((const struct line *)event)->count);
}

static void project_removed(struct mim_evolution *e, void *projection, const void *cart, const void *event) {
    (void)cart;
    change(e, projection, ((const struct line *)event)->item, -((const struct line *)event)->count);
}

static void project_checked_out(struct mim_evolution *e, void *projection, const void *cart, const void *event) {
    struct mim_string item;
    const int64_t *count;
    (void)event;
    for (uint64_t n = 0; (count = mim_map_at(mim_evolution_host(e), cart, n, &item)) != NULL; n++) {
        change(e, projection, item, -*count); /* the map is a cart's first member */
    }
}

static const struct mim_projection_on in_carts_on[] = {
    {&events[ADDED], project_added}, {&events[REMOVED], project_removed}, {&events[CHECKED_OUT], project_checked_out}};
static const struct mim_projection_type projections[] = {
    {.name = "in_carts", .state_size = sizeof(struct mim_map), .on = in_carts_on, .on_count = 3}};

static int query_in_carts(struct mim_query *q, const struct mim_string *arguments, size_t argument_count) {
    const struct mim_map *in_carts = mim_query_projection(q, &projections[0]);
    struct mim_string item;
    const int64_t *count;
    (void)arguments, (void)argument_count;
    mim_json_object(mim_query_json(q));
    for (uint64_t n = 0; (count = mim_map_at(mim_query_host(q), in_carts, n, &item)) != NULL; n++) {
        mim_json_key_string(mim_query_json(q), item);
        mim_json_i64(mim_query_json(q), *count);
    }
    mim_json_object_end(mim_query_json(q));
    return 0;
}

static const struct mim_query_type queries[] = {
    {"InCarts", .query = query_in_carts, .doc = "Pieces of each item in all carts that are not checked out."}};

static const struct mim_aggregate_type cart = {
    .name = "cart",
    .state_size = sizeof(struct cart),
    MIM_FIELDS(cart_fields),
    MIM_COMMANDS(commands),
    MIM_EVENTS(events),
    MIM_QUERIES(queries),
};
static const struct mim_model model = {MIM_MODEL_ABI, 1, "cart", &cart, projections, 1, 1};
MIM_MODEL_EXPORT(model)
