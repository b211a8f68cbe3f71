// SPDX-License-Identifier: MIT
// What stands before the listeners: users, and keys of TLS.
#include <errno.h>
#include <sys/random.h>

#include "server/internal.h"

#define LOG_LINES_PER_SECOND 20u

int mim_security_open(struct mim_server *server, struct mim_error *reterr) {
    mim_auth_thread_init(&server->auth_thread, server->runners.wake_fd);
    if (getrandom(&server->address_seed, sizeof(server->address_seed), 0) != (ssize_t)sizeof(server->address_seed)) {
        return mim_error_os(reterr, MIM_E_IO, errno, "no random numbers");
    }
    int rc = mim_acl_load(server->options.aclfile, server->options.requirepass, &server->acl, reterr);
    if (rc == 0 && server->options.tls_port != 0) {
        rc = mim_tls_server_new(&server->options.tls, &server->tls, reterr);
    }
    if (rc == 0 && server->options.tls_replication) {
        rc = mim_tls_client_new(&server->options.tls, &server->link_tls, reterr);
    }
    return rc;
}

void mim_security_close(struct mim_server *server) {
    mim_auth_thread_stop(&server->auth_thread);
    server->tls = mim_tls_free(server->tls);
    server->link_tls = mim_tls_free(server->link_tls);
    server->acl = mim_acl_free(server->acl);
}

void mim_security_turn(struct mim_server *server) {
    uint64_t finished = atomic_load_explicit(&server->auth_thread.finished, memory_order_acquire);
    if (MIM_UNLIKELY(finished != server->auth_seen)) {
        server->auth_seen = finished;
        mim_connections_retry(server);
    }
}

bool mim_security_may_log(struct mim_server *server) {
    uint64_t second = server->now_ns / 1000000000u;
    if (second != server->log_second) {
        server->log_second = second;
        server->log_lines = 0;
    }
    bool may = server->log_lines++ < LOG_LINES_PER_SECOND;
    server->counters.log_suppressed += !may;
    return may;
}
