// SPDX-License-Identifier: MIT
// What stands before the listeners: users, and keys of TLS.
#include <errno.h>
#include <sys/random.h>

#include "server/internal.h"

int mim_security_open(struct mim_server *server, struct mim_error *reterr) {
    mim_auth_thread_init(&server->auth_thread, server->runners.wake_fd);
    if (getrandom(&server->address_seed, sizeof(server->address_seed), 0) != (ssize_t)sizeof(server->address_seed)) {
        return mim_error_os(reterr, MIM_E_IO, errno, "no random numbers");
    }
    int rc = mim_acl_load(server->options.aclfile, server->options.requirepass, &server->acl, reterr);
    if (rc == 0 && server->options.tls_port != 0) {
        rc = mim_tls_server_new(&server->options.tls, &server->tls, reterr);
    }
    return rc;
}

void mim_security_close(struct mim_server *server) {
    mim_auth_thread_stop(&server->auth_thread);
    server->tls = mim_tls_free(server->tls);
    server->acl = mim_acl_free(server->acl);
}
