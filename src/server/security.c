// SPDX-License-Identifier: MIT
// What stands before the listeners: users, and keys of TLS.
#include "server/internal.h"

int mim_security_open(struct mim_server *server, struct mim_error *reterr) {
    mim_auth_thread_init(&server->auth_thread, server->runners.wake_fd);
    return mim_acl_load(server->options.aclfile, server->options.requirepass, &server->acl, reterr);
}

void mim_security_close(struct mim_server *server) {
    mim_auth_thread_stop(&server->auth_thread);
    server->acl = mim_acl_free(server->acl);
}
