// SPDX-License-Identifier: MIT
// Connections as the kernel gives them: streams of bytes in order, that come in pieces, late, or end anywhere.
#include "world.h"

bool network_dark(const struct world *w, int from, int to) { return w->now_ns < w->dark_until_ns[from][to]; }

static void pipe_clear(struct pipe *pipe) {
    mim_buffer_deinit(&pipe->bytes);
    free(pipe->chunks);
    *pipe = (struct pipe){0};
}

int network_dial(struct world *w, int dialer, int listener) {
    for (int i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &w->connections[i];
        if (!c->used) {
            *c = (struct connection){.used = true, .dialer = dialer, .listener = listener, .heard_ns = w->now_ns};
            mim_resp_init(&c->parser, &(struct mim_resp_limits){.arguments_max = 1024,
                                                                .argument_size_max = 1u << 20,
                                                                .request_size_max = 1u << 20,
                                                                .inline_size_max = 64u << 10});
            return i;
        }
    }
    return NOBODY;
}

static void pipe_add(struct pipe *pipe, size_t size, uint64_t at_ns) {
    if (pipe->first == pipe->count) {
        pipe->first = pipe->count = 0;
    }
    if (pipe->count == pipe->capacity) {
        pipe->capacity = pipe->capacity == 0 ? 16 : pipe->capacity * 2;
        pipe->chunks = realloc(pipe->chunks, pipe->capacity * sizeof(*pipe->chunks));
        MIM_ASSERT(pipe->chunks != NULL);
    }
    pipe->last_ns = at_ns > pipe->last_ns ? at_ns : pipe->last_ns;
    pipe->chunks[pipe->count++] = (struct chunk){.at_ns = pipe->last_ns, .size = size};
}

void network_send(struct world *w, struct pipe *pipe, const void *data, size_t size) {
    if (pipe->cut || size == 0) {
        return;
    }
    mim_buffer_append(&pipe->bytes, data, size);
    uint64_t at_ns = w->now_ns + below(w, chance(w, 1, 20) ? 40 * MS : 2 * MS);
    while (size > 0) {
        size_t piece = chance(w, 1, 3) ? 1 + (size_t)below(w, size) : size;
        pipe_add(pipe, piece, at_ns);
        at_ns += below(w, MS);
        size -= piece;
    }
}

bool network_receive(struct world *w, int connection, bool at_dialer, struct mim_buffer *out) {
    struct connection *c = &w->connections[connection];
    struct pipe *pipe = at_dialer ? &c->down : &c->up;
    size_t size = 0;
    if (network_dark(w, at_dialer ? c->listener : c->dialer, at_dialer ? c->dialer : c->listener)) {
        return true;
    }
    while (pipe->first < pipe->count && pipe->chunks[pipe->first].at_ns <= w->now_ns) {
        size += pipe->chunks[pipe->first++].size;
    }
    if (size > 0) {
        mim_buffer_append(out, pipe->bytes.data, size);
        memmove(pipe->bytes.data, pipe->bytes.data + size, pipe->bytes.size - size);
        pipe->bytes.size -= size;
    }
    return !pipe->cut || pipe->first < pipe->count;
}

void network_leave(struct world *w, int connection, bool dialer, bool quietly) {
    struct connection *c = &w->connections[connection];
    struct node *listener = &w->nodes[c->listener];
    if (dialer) {
        c->dialer_left = true;
        c->up.cut = c->up.cut || !quietly;
    } else {
        c->listener_left = true;
        c->down.cut = c->down.cut || !quietly;
        if (listener->up) {
            mim_file_close(listener->storage, c->feed.file);
        }
        c->feed = (struct mim_feed){0};
    }
    if (c->dialer_left && c->listener_left) {
        pipe_clear(&c->up);
        pipe_clear(&c->down);
        mim_buffer_deinit(&c->input);
        mim_resp_deinit(&c->parser);
        *c = (struct connection){0};
    }
}

void network_forget(struct world *w, int node, bool quietly) {
    for (int i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &w->connections[i];
        if (c->used && c->dialer == node && !c->dialer_left) {
            network_leave(w, i, true, quietly);
        }
        if (c->used && c->listener == node && !c->listener_left) {
            network_leave(w, i, false, quietly);
        }
    }
}

static void pipe_cut(struct world *w, struct pipe *pipe) {
    size_t keep = (size_t)below(w, pipe->bytes.size + 1);
    pipe->cut = true;
    size_t left = keep;
    size_t count = pipe->first;
    for (size_t i = pipe->first; i < pipe->count && left > 0; i++) {
        pipe->chunks[i].size = pipe->chunks[i].size < left ? pipe->chunks[i].size : left;
        left -= pipe->chunks[i].size;
        count = i + 1;
    }
    pipe->count = count;
    pipe->bytes.size = keep;
}

void network_cut(struct world *w, int connection) {
    struct connection *c = &w->connections[connection];
    pipe_cut(w, &c->up);
    pipe_cut(w, &c->down);
}

void network_close(struct world *w) {
    for (int node = 0; node < NODES; node++) {
        network_forget(w, node, true);
    }
}
