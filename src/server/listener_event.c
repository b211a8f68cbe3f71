// SPDX-License-Identifier: MIT
// Listening sockets: TCP and unix. Who may come in (clients_max, protected mode), and what happens when descriptors run
// out: a spare one is given up to accept and close, so that the loop never spins and no client hangs.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/hash.h"
#include "server/internal.h"

#define BACKLOG          1024
#define ACCEPTS_PER_TURN 128

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
    struct sockaddr_storage storage;
};

static bool is_loopback(const union address *peer) {
    if (peer->any.sa_family == AF_INET) {
        return (ntohl(peer->v4.sin_addr.s_addr) >> 24) == 127;
    }
    if (peer->any.sa_family == AF_INET6) {
        const struct in6_addr *in = &peer->v6.sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(in) || (IN6_IS_ADDR_V4MAPPED(in) && in->s6_addr[12] == 127);
    }
    return peer->any.sa_family == AF_UNIX;
}

static void address_text(const struct mim_server *server, const union address *peer, bool is_unix, char *text,
                         size_t size) {
    char host[INET6_ADDRSTRLEN] = "?";
    if (is_unix) {
        (void)snprintf(text, size, "%s:0", server->options.unixsocket);
    } else if (peer->any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &peer->v6.sin6_addr, host, sizeof(host));
        (void)snprintf(text, size, "[%s]:%u", host, ntohs(peer->v6.sin6_port));
    } else {
        (void)inet_ntop(AF_INET, &peer->v4.sin_addr, host, sizeof(host));
        (void)snprintf(text, size, "%s:%u", host, ntohs(peer->v4.sin_port));
    }
}

/** Over TLS without a word: there is no handshake yet to say it in. */
static void say_and_close(const struct mim_listener *listener, int fd, const char *text) {
    if (!listener->is_tls) {
        (void)send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    (void)close(fd);
}

/** Where connections of this peer are counted: by its address, of IPv6 by the network that one host is given. */
static uint32_t bucket_of(const struct mim_server *server, const union address *peer) {
    uint8_t bytes[16] = {0};
    if (peer->any.sa_family == AF_INET) {
        memcpy(bytes, &peer->v4.sin_addr, sizeof(peer->v4.sin_addr));
    } else if (IN6_IS_ADDR_V4MAPPED(&peer->v6.sin6_addr)) {
        memcpy(bytes, peer->v6.sin6_addr.s6_addr + 12, 4);
    } else {
        memcpy(bytes, peer->v6.sin6_addr.s6_addr, 8);
    }
    return (uint32_t)(mim_hash64(bytes, sizeof(bytes), server->address_seed) % MIM_ADDRESS_BUCKETS) + 1;
}

static void connect_client(struct mim_listener *listener, int fd, const union address *peer, uint32_t bucket) {
    struct mim_server *server = listener->server;
    struct mim_transport transport = mim_transport_of(fd);
    struct mim_error error = {0};
    if (listener->is_tls && mim_tls_accept(server->tls, fd, &transport, &error) != 0) {
        server->counters.connections_refused++;
        (void)close(fd);
        return;
    }
    char text[72];
    address_text(server, peer, listener->is_unix, text, sizeof(text));
    server->address_counts[bucket == 0 ? 0 : bucket - 1] += bucket != 0;
    mim_connection_open(server, transport, listener, text, bucket);
}

static void admit(struct mim_listener *listener, int fd, const union address *peer) {
    struct mim_server *server = listener->server;
    if (server->session_count >= server->options.clients_max) {
        server->counters.connections_refused++;
        say_and_close(listener, fd, "-ERR max number of clients reached\r\n");
        return;
    }
    if (!listener->is_unix && mim_acl_nobody(server) != NULL && !is_loopback(peer)) {
        server->counters.protected_refused++;
        say_and_close(listener, fd, "-NOPERM protected mode: no password is set, so only this machine may connect\r\n");
        return;
    }
    uint32_t bucket = listener->is_unix ? 0 : bucket_of(server, peer);
    uint32_t most = server->options.clients_per_address_max;
    if (bucket != 0 && most != 0 && server->address_counts[bucket - 1] >= most) {
        server->counters.limit_address++;
        say_and_close(listener, fd, "-ERR max number of clients of this address reached\r\n");
        return;
    }
    connect_client(listener, fd, peer, bucket);
}

static void listener_pause(struct mim_listener *listener) {
    (void)event_del(listener->event);
    listener->paused = true;
}

/** Out of descriptors: takes the waiting connection with the spare one and closes it. */
static void accept_and_close(struct mim_listener *listener) {
    struct mim_server *server = listener->server;
    server->counters.limit_fds++;
    if (server->spare_fd >= 0) {
        (void)close(server->spare_fd);
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            say_and_close(listener, fd, "-ERR max number of clients reached\r\n");
        }
        server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    if (server->spare_fd < 0) {
        listener_pause(listener); /* until the next tick */
    }
}

static void on_acceptable(evutil_socket_t fd, short what, void *context) {
    (void)what;
    struct mim_listener *listener = context;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        union address peer = {0};
        socklen_t size = sizeof(peer);
        int client = accept4(fd, &peer.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0) {
            if (listener->is_unix) {
                peer.any.sa_family = AF_UNIX;
            }
            admit(listener, client, &peer);
        } else if (errno == EMFILE || errno == ENFILE) {
            accept_and_close(listener);
            return;
        } else if (errno == ENOBUFS || errno == ENOMEM) {
            listener_pause(listener);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

void mim_listeners_tick(struct mim_server *server) {
    if (server->spare_fd < 0) {
        server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    for (size_t i = 0; i < MIM_LISTENERS; i++) {
        struct mim_listener *listener = &server->listeners[i];
        if (listener->paused && listener->event != NULL) {
            listener->paused = false;
            (void)event_add(listener->event, NULL);
        }
    }
}

static int listener_add(struct mim_server *server, int index, int fd, struct mim_error *reterr) {
    struct mim_listener *listener = &server->listeners[index];
    *listener = (struct mim_listener){
        .server = server, .fd = fd, .is_unix = index == MIM_LISTENER_UNIX, .is_tls = index == MIM_LISTENER_TLS};
    listener->event = event_new(server->base, fd, EV_READ | EV_PERSIST, on_acceptable, listener);
    if (listener->event == NULL || event_add(listener->event, NULL) != 0) {
        return mim_error_set(reterr, MIM_E_MEMORY, "no memory for a listener");
    }
    return 0;
}

/* --------------------------------------------------------------------- TCP */

static int tcp_bind(const struct addrinfo *info, int *ret_fd) {
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno;
    }
    int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int problem = errno;
        (void)close(fd);
        return problem;
    }
    *ret_fd = fd;
    return 0;
}

static int tcp_open(struct mim_server *server, int index, uint16_t wanted, uint16_t *ret_port,
                    struct mim_error *reterr) {
    const char *host = server->options.bind;
    bool any = host == NULL || host[0] == '\0' || strcmp(host, "*") == 0;
    char port[8];
    (void)snprintf(port, sizeof(port), "%u", wanted);
    struct addrinfo hints = {
        .ai_family = any ? AF_INET : AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(any ? NULL : host, port, &hints, &found);
    if (rc != 0) {
        return mim_error_set(reterr, MIM_E_USAGE, "bind address '%s': %s", host, gai_strerror(rc));
    }
    int fd = -1;
    rc = tcp_bind(found, &fd);
    freeaddrinfo(found);
    if (rc != 0) {
        return mim_error_os(reterr, MIM_E_USAGE, rc, "cannot listen on %s port %s", any ? "*" : host, port);
    }
    union address bound = {0};
    socklen_t size = sizeof(bound);
    if (getsockname(fd, &bound.any, &size) == 0) {
        *ret_port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    }
    return listener_add(server, index, fd, reterr);
}

/* -------------------------------------------------------------------- unix */

/** Removes a socket nobody listens on any more. True when the path is free now. */
static bool unix_clear(const union address *address) {
    struct stat status;
    if (lstat(address->local.sun_path, &status) != 0) {
        return errno == ENOENT;
    }
    if (!S_ISSOCK(status.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return false;
    }
    bool stale = connect(fd, &address->any, sizeof(address->local)) != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return stale && unlink(address->local.sun_path) == 0;
}

static int unix_open(struct mim_server *server, struct mim_error *reterr) {
    const char *path = server->options.unixsocket;
    union address address = {0};
    address.local.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(address.local.sun_path)) {
        return mim_error_set(reterr, MIM_E_USAGE, "unix socket '%s': the path is longer than %zu bytes", path,
                             sizeof(address.local.sun_path) - 1);
    }
    memcpy(address.local.sun_path, path, strlen(path));
    if (!unix_clear(&address)) {
        return mim_error_set(reterr, MIM_E_USAGE, "unix socket '%s': another server listens there, or it is no socket",
                             path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return mim_error_os(reterr, MIM_E_USAGE, errno, "unix socket '%s'", path);
    }
    mode_t before = umask(0077);
    bool fine = bind(fd, &address.any, sizeof(address.local)) == 0 && listen(fd, BACKLOG) == 0;
    int problem = errno;
    (void)umask(before);
    if (!fine) {
        (void)close(fd);
        return mim_error_os(reterr, MIM_E_USAGE, problem, "cannot listen on unix socket '%s'", path);
    }
    return listener_add(server, MIM_LISTENER_UNIX, fd, reterr);
}

int mim_listeners_open(struct mim_server *server, struct mim_error *reterr) {
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int rc = mim_security_open(server, reterr);
    const struct mim_server_options *options = &server->options;
    if (rc == 0 && options->no_plain_port && options->tls_port == 0 && options->unixsocket == NULL) {
        rc = mim_error_set(reterr, MIM_E_USAGE, "no port, no tls-port and no unixsocket: nobody could connect");
    }
    if (rc == 0 && !options->no_plain_port) {
        rc = tcp_open(server, MIM_LISTENER_TCP, options->port, &server->port, reterr);
    }
    if (rc == 0 && options->tls_port != 0) {
        rc = tcp_open(server, MIM_LISTENER_TLS, options->tls_port, &server->tls_port, reterr);
    }
    if (rc == 0 && options->unixsocket != NULL) {
        rc = unix_open(server, reterr);
    }
    return rc;
}

void mim_listeners_close(struct mim_server *server) {
    for (size_t i = 0; i < MIM_LISTENERS; i++) {
        struct mim_listener *listener = &server->listeners[i];
        if (listener->server == NULL) {
            continue;
        }
        if (listener->event != NULL) {
            event_free(listener->event);
        }
        (void)close(listener->fd);
        if (listener->is_unix) {
            (void)unlink(server->options.unixsocket);
        }
        *listener = (struct mim_listener){0};
    }
    if (server->spare_fd >= 0) {
        (void)close(server->spare_fd);
        server->spare_fd = -1;
    }
}
