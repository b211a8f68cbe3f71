// SPDX-License-Identifier: MIT
// TLS as a transport of connections, by OpenSSL over the non-blocking socket itself. Not libevent's bufferevents: they
// keep an output buffer of their own, and what stands in it can no longer be held back until it is durable, nor counted.
//
// A read hands out whole records and never leaves decrypted bytes inside OpenSSL, where no readiness of the socket would
// tell of them: it takes no record that the caller has no room for (struct mim_transport, read_min). OpenSSL writes with
// write(2): the process has to ignore SIGPIPE.
#ifndef MIM_SERVER_TLS_H
#define MIM_SERVER_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct mim_transport;

#define MIM_TLS_RECORD_SIZE_MAX       16384u /* bytes of one record's text */
#define MIM_TLS_HANDSHAKE_DEADLINE_NS 5000000000ull

enum mim_tls_auth { MIM_TLS_AUTH_YES, MIM_TLS_AUTH_NO, MIM_TLS_AUTH_OPTIONAL };

struct mim_tls_options {
    const char *cert_file; /* PEM: the certificate and its chain; NULL for a client without one */
    const char *key_file;  /* PEM; NULL: in cert_file. Others may not read it. */
    const char *ca_file;   /* PEM: whom to believe; NULL for a client: the system's authorities */
    enum mim_tls_auth auth_clients;
};

struct mim_tls; /* keys and trust of one side; new/free */

/** For accepting. USAGE: a file is missing, wrong or readable by others; the key does not fit; client certificates are
 *  asked for without a ca_file. */
MIM_CHECKED int mim_tls_server_new(const struct mim_tls_options *options, struct mim_tls **ret_tls,
                                   struct mim_error *reterr);
/** For connecting. The peer's certificate is always verified. USAGE as above. */
MIM_CHECKED int mim_tls_client_new(const struct mim_tls_options *options, struct mim_tls **ret_tls,
                                   struct mim_error *reterr);
/** Connections that were made with it go on. */
struct mim_tls *mim_tls_free(struct mim_tls *tls);

/** The accepting side over a connected non-blocking socket. On success the transport owns the socket, and the handshake
 *  happens inside its reads and writes; `ready` tells when it is complete. MEMORY: the socket stays the caller's. */
MIM_CHECKED int mim_tls_accept(struct mim_tls *tls, int fd, struct mim_transport *ret_transport,
                               struct mim_error *reterr);
/** The connecting side likewise. `host`: the name or address that the peer's certificate has to be for. Drive
 *  the handshake by reads (of MIM_TLS_RECORD_SIZE_MAX at least) until `ready`: at EAGAIN wait for the socket to be
 *  writable when wants_write is set (and clear it), else to be readable. Then write. INVALID: no host. */
MIM_CHECKED int mim_tls_client(struct mim_tls *tls, int fd, const char *host, struct mim_transport *ret_transport,
                               struct mim_error *reterr);

/** Why the last read or write failed, for a log. */
void mim_tls_reason(const struct mim_transport *transport, char *ret_text, unsigned size);
/** "TLSv1.3", or "" before the handshake is complete. */
const char *mim_tls_version(const struct mim_transport *transport);

#endif
