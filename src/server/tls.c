// SPDX-License-Identifier: MIT
// TLS by OpenSSL 3 behind struct mim_transport. See tls.h. TLS 1.2 at least, no renegotiation, no compression, no sessions
// to resume: nothing that a client could make grow.
#include "server/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/internal.h"

struct mim_tls {
    SSL_CTX *context;
};

/** state of a transport. */
struct tls_state {
    SSL *ssl;
    bool broken; /* no more calls of OpenSSL, not even SSL_shutdown */
    char reason[120];
};

/* ------------------------------------------------------------------ reading */

static void note_reason(struct tls_state *state, const char *fallback) {
    unsigned long code = ERR_peek_error();
    const char *text = code == 0 ? NULL : ERR_reason_error_string(code);
    (void)snprintf(state->reason, sizeof(state->reason), "%s", text == NULL ? fallback : text);
}

/** What a failed call of OpenSSL means to the connection: 0 at the peer's end, else -1 with errno. */
static ssize_t failed(struct mim_transport *transport, int result) {
    struct tls_state *state = transport->state;
    int problem = errno;
    switch (SSL_get_error(state->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_WANT_WRITE:
        transport->wants_write = true;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        note_reason(state, problem == 0 ? "the peer ended" : strerrordesc_np(problem));
        state->broken = true;
        errno = problem == 0 || problem == EAGAIN ? ECONNRESET : problem;
        return -1;
    default:
        note_reason(state, "the peer ended");
        state->broken = true;
        errno = EPROTO;
        return -1;
    }
}

static void look_ready(struct mim_transport *transport) {
    const struct tls_state *state = transport->state;
    if (!transport->ready && SSL_is_init_finished(state->ssl)) {
        transport->ready = true;
    }
}

static ssize_t tls_read(struct mim_transport *transport, void *data, size_t size) {
    struct tls_state *state = transport->state;
    size_t got = 0;
    if (state->broken) {
        errno = ECONNRESET;
        return -1;
    }
    MIM_ASSERT(size >= MIM_TLS_RECORD_SIZE_MAX);
    while (size - got >= MIM_TLS_RECORD_SIZE_MAX) {
        ERR_clear_error();
        errno = 0;
        int result = SSL_read(state->ssl, (uint8_t *)data + got, (int)(size - got));
        if (result > 0) {
            got += (size_t)result;
            continue;
        }
        ssize_t meaning = failed(transport, result);
        look_ready(transport);
        return got > 0 ? (ssize_t)got : meaning; /* an end is met again by the next read */
    }
    look_ready(transport);
    return (ssize_t)got;
}

/* ------------------------------------------------------------------ writing */

static ssize_t tls_write(struct mim_transport *transport, const void *data, size_t size) {
    struct tls_state *state = transport->state;
    size_t sent = 0;
    if (state->broken) {
        errno = ECONNRESET;
        return -1;
    }
    while (sent < size) {
        /* a record that was begun has to be offered again whole: the output only grows behind what was not sent */
        size_t left = size - sent;
        ERR_clear_error();
        errno = 0;
        int result = SSL_write(state->ssl, (const uint8_t *)data + sent, (int)(left < INT_MAX ? left : INT_MAX));
        if (result <= 0) {
            ssize_t meaning = failed(transport, result);
            look_ready(transport);
            if (meaning == 0) {
                errno = EPIPE;
            } else if (transport->ready && errno == EAGAIN && !transport->wants_write) {
                state->broken = true; /* no renegotiation: it cannot want to read, and nobody waits for that here */
                errno = EPROTO;
            }
            return sent > 0 ? (ssize_t)sent : -1;
        }
        sent += (size_t)result;
    }
    look_ready(transport);
    return (ssize_t)sent;
}

/** Says that nothing more comes, to the peer's TLS and to its socket. */
static int tls_finish(struct mim_transport *transport) {
    struct tls_state *state = transport->state;
    if (!state->broken && SSL_is_init_finished(state->ssl)) {
        ERR_clear_error();
        (void)SSL_shutdown(state->ssl);
    }
    return shutdown(transport->fd, SHUT_WR);
}

static void tls_close(struct mim_transport *transport) {
    struct tls_state *state = transport->state;
    ERR_clear_error();
    if (!state->broken && SSL_is_init_finished(state->ssl) && (SSL_get_shutdown(state->ssl) & SSL_SENT_SHUTDOWN) == 0) {
        (void)SSL_shutdown(state->ssl);
    }
    SSL_free(state->ssl);
    free(state);
    transport->state = NULL;
    (void)close(transport->fd);
    transport->fd = -1;
}

static const struct mim_transport_ops tls_ops = {
    .read = tls_read, .write = tls_write, .finish = tls_finish, .close = tls_close};

void mim_tls_reason(const struct mim_transport *transport, char *ret_text, unsigned size) {
    const struct tls_state *state = transport->state;
    (void)snprintf(ret_text, size, "%s", state->reason[0] == '\0' ? "the peer ended" : state->reason);
}

const char *mim_tls_version(const struct mim_transport *transport) {
    const struct tls_state *state = transport->state;
    return transport->ops == &tls_ops && transport->ready ? SSL_get_version(state->ssl) : "";
}

static int transport_make(struct mim_tls *tls, int fd, bool accepts, struct mim_transport *ret_transport,
                          struct mim_error *reterr) {
    struct tls_state *state = calloc(1, sizeof(*state));
    SSL *ssl = state == NULL ? NULL : SSL_new(tls->context);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        free(state);
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    if (accepts) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
    }
    state->ssl = ssl;
    *ret_transport =
        (struct mim_transport){.ops = &tls_ops, .fd = fd, .state = state, .read_min = MIM_TLS_RECORD_SIZE_MAX};
    return 0;
}

int mim_tls_accept(struct mim_tls *tls, int fd, struct mim_transport *ret_transport, struct mim_error *reterr) {
    return transport_make(tls, fd, true, ret_transport, reterr);
}

int mim_tls_client(struct mim_tls *tls, int fd, const char *host, struct mim_transport *ret_transport,
                   struct mim_error *reterr) {
    uint8_t address[16];
    bool is_address = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    int rc = transport_make(tls, fd, false, ret_transport, reterr);
    if (rc != 0) {
        return rc;
    }
    struct tls_state *state = ret_transport->state;
    bool fine = is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(state->ssl), host) == 1
                           : SSL_set1_host(state->ssl, host) == 1 && SSL_set_tlsext_host_name(state->ssl, host) == 1;
    if (!fine) {
        SSL_free(state->ssl);
        free(state);
        *ret_transport = (struct mim_transport){.fd = -1};
        return mim_error_set(reterr, MIM_E_INVALID, "'%s' is no host for TLS", host);
    }
    return 0;
}

/* -------------------------------------------------------------------- keys */

static int problem(const char *what, const char *file, struct mim_error *reterr) {
    unsigned long code = ERR_peek_last_error();
    const char *why = code == 0 ? NULL : ERR_reason_error_string(code);
    return mim_error_set(reterr, MIM_E_USAGE, "%s %s: %s", what, file, why == NULL ? "unusable" : why);
}

static int load_key(SSL_CTX *context, const struct mim_tls_options *options, struct mim_error *reterr) {
    const char *key = options->key_file == NULL ? options->cert_file : options->key_file;
    struct stat status;
    if (stat(key, &status) != 0) {
        return mim_error_os(reterr, MIM_E_USAGE, errno, "tls-key-file %s", key);
    }
    if ((status.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
        return mim_error_set(reterr, MIM_E_USAGE, "tls-key-file %s: others may read or change it (chmod 600)", key);
    }
    if (SSL_CTX_use_certificate_chain_file(context, options->cert_file) != 1) {
        return problem("tls-cert-file", options->cert_file, reterr);
    }
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(context) != 1) {
        return problem("tls-key-file", key, reterr);
    }
    return 0;
}

static int context_make(const SSL_METHOD *method, const struct mim_tls_options *options, struct mim_tls **ret_tls,
                        struct mim_error *reterr) {
    struct mim_tls *tls = calloc(1, sizeof(*tls));
    ERR_clear_error();
    SSL_CTX *context = tls == NULL ? NULL : SSL_CTX_new(method);
    if (context == NULL) {
        free(tls);
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    tls->context = context;
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                           SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                        SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_num_tickets(context, 0); /* a certificate is looked at with every connection */
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_session_id_context(context, (const unsigned char *)"memimage", 8);
    /* forward secrecy and authenticated encryption only; TLS 1.3 has nothing else */
    int rc = SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1
                 ? 0
                 : mim_error_set(reterr, MIM_E_USAGE, "this OpenSSL has no cipher that is good enough");
    if (rc == 0 && options->cert_file != NULL) {
        rc = load_key(context, options, reterr);
    }
    if (rc == 0 && options->ca_file != NULL && SSL_CTX_load_verify_locations(context, options->ca_file, NULL) != 1) {
        rc = problem("tls-ca-cert-file", options->ca_file, reterr);
    }
    if (rc != 0) {
        (void)mim_tls_free(tls);
        return rc;
    }
    *ret_tls = tls;
    return 0;
}

int mim_tls_server_new(const struct mim_tls_options *options, struct mim_tls **ret_tls, struct mim_error *reterr) {
    bool asks = options->auth_clients != MIM_TLS_AUTH_NO;
    if (options->cert_file == NULL) {
        return mim_error_set(reterr, MIM_E_USAGE, "TLS needs a tls-cert-file (and a tls-key-file)");
    }
    if (asks && options->ca_file == NULL) {
        return mim_error_set(reterr, MIM_E_USAGE,
                             "tls-auth-clients: client certificates need a tls-ca-cert-file; or say no");
    }
    int rc = context_make(TLS_server_method(), options, ret_tls, reterr);
    if (rc != 0) {
        return rc;
    }
    SSL_CTX *context = (*ret_tls)->context;
    if (asks) {
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(options->ca_file);
        if (names != NULL) {
            SSL_CTX_set_client_CA_list(context, names);
        }
        SSL_CTX_set_verify(context,
                           options->auth_clients == MIM_TLS_AUTH_YES ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                                                     : SSL_VERIFY_PEER,
                           NULL);
    }
    return 0;
}

int mim_tls_client_new(const struct mim_tls_options *options, struct mim_tls **ret_tls, struct mim_error *reterr) {
    int rc = context_make(TLS_client_method(), options, ret_tls, reterr);
    if (rc != 0) {
        return rc;
    }
    SSL_CTX_set_verify((*ret_tls)->context, SSL_VERIFY_PEER, NULL);
    if (options->ca_file == NULL && SSL_CTX_set_default_verify_paths((*ret_tls)->context) != 1) {
        *ret_tls = mim_tls_free(*ret_tls);
        return problem("tls-ca-cert-file", "(the system's)", reterr);
    }
    return 0;
}

struct mim_tls *mim_tls_free(struct mim_tls *tls) {
    if (tls != NULL) {
        SSL_CTX_free(tls->context);
        free(tls);
    }
    return NULL;
}
