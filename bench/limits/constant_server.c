// SPDX-License-Identifier: MIT
// The limit of the way there and back: a libevent server that parses RESP requests as far as their ends and answers
// each with a constant, nothing behind it. Usage: constant_server PORT; measured by `memimage bench commands --port`.
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const char reply[] = "*2\r\n:1\r\n:1\r\n";

/** A number up to a line end; moves *at behind it. -1: not all there yet, -2: malformed. */
static long number(const uint8_t *data, size_t size, size_t *at) {
    long value = 0;
    for (size_t i = *at; i < size; i++) {
        if (data[i] == '\r') {
            *at = i + 2;
            return i + 1 < size ? value : -1;
        }
        if (data[i] < '0' || data[i] > '9' || value > 1000000) {
            return -2;
        }
        value = value * 10 + (data[i] - '0');
    }
    return -1;
}

/** Size of the request that begins the data; 0: not all there yet, -1: malformed. */
static long request_size(const uint8_t *data, size_t size) {
    size_t at = 1;
    if (size == 0) {
        return 0;
    }
    long count = data[0] == '*' ? number(data, size, &at) : -2;
    for (long i = 0; i < count; i++) {
        if (at >= size) {
            return 0;
        }
        bool bulk = data[at++] == '$';
        long bytes = bulk ? number(data, size, &at) : -2;
        if (bytes < 0) {
            return bytes == -1 ? 0 : -1;
        }
        at += (size_t)bytes + 2;
    }
    return count == -1 || (count >= 0 && at > size) ? 0 : count < 0 ? -1 : (long)at;
}

static void on_read(struct bufferevent *connection, void *context) {
    (void)context;
    struct evbuffer *input = bufferevent_get_input(connection);
    struct evbuffer *output = bufferevent_get_output(connection);
    size_t size = evbuffer_get_length(input);
    const uint8_t *data = evbuffer_pullup(input, -1);
    size_t at = 0;
    long taken;
    while ((taken = request_size(data + at, size - at)) > 0) {
        at += (size_t)taken;
        (void)evbuffer_add(output, reply, sizeof(reply) - 1);
    }
    (void)evbuffer_drain(input, at);
    if (taken < 0) {
        bufferevent_free(connection);
    }
}

static void on_event(struct bufferevent *connection, short events, void *context) {
    (void)context;
    if ((events & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0) {
        bufferevent_free(connection);
    }
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int size,
                      void *context) {
    (void)address;
    (void)size;
    (void)context;
    int yes = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    struct bufferevent *connection =
        bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
    if (connection == NULL) {
        (void)evutil_closesocket(fd);
        return;
    }
    bufferevent_setcb(connection, on_read, NULL, on_event, NULL);
    (void)bufferevent_set_max_single_read(connection, 65536);
    (void)bufferevent_set_max_single_write(connection, 65536);
    (void)bufferevent_enable(connection, EV_READ | EV_WRITE);
}

int main(int argc, char **argv) {
    unsigned long port = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    if (port == 0 || port > 65535) {
        (void)fprintf(stderr, "Usage: constant_server PORT\n");
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    struct event_base *base = event_base_new();
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct evconnlistener *listener =
        base == NULL ? NULL
                     : evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, -1,
                                               (struct sockaddr *)&address, (int)sizeof(address));
    if (listener == NULL) {
        (void)fprintf(stderr, "constant_server: cannot listen on port %lu\n", port);
        return 1;
    }
    return event_base_dispatch(base) == 0 ? 0 : 1;
}
