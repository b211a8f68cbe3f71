// SPDX-License-Identifier: MIT
// What carries the bytes of a connection, a client's or that to a primary: a plain socket (connection_event.c) or TLS (tls.h).
#ifndef MIM_SERVER_TRANSPORT_H
#define MIM_SERVER_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/** Bytes in and out of a connection. As read(2) and write(2) on a non-blocking socket: -1 with errno. */
struct mim_transport {
    const struct mim_transport_ops *ops;
    int fd;
    void *state;      /* of an encrypted transport */
    size_t read_min;  /* a read has room for so many bytes at least */
    bool ready;       /* no handshake, or it is complete */
    bool wants_write; /* a read said EAGAIN because it has something to write first; cleared by who waits for that */
};
struct mim_transport_ops {
    ssize_t (*read)(struct mim_transport *transport, void *data, size_t size);
    ssize_t (*write)(struct mim_transport *transport, const void *data, size_t size);
    int (*finish)(struct mim_transport *transport); /* nothing more is written; as shutdown(2) */
    void (*close)(struct mim_transport *transport);
};

extern const struct mim_transport_ops mim_transport_plain;
/** A connected, non-blocking socket as it is; the transport owns it. */
struct mim_transport mim_transport_of(int fd);

#endif
