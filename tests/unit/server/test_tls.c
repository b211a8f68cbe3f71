// SPDX-License-Identifier: MIT
// Both sides of TLS over a socket pair with small buffers: bytes arrive as they were sent whatever moves in between, no
// decrypted byte stays where no readiness tells of it, and a client believes only whom it should.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/prng.h"
#include "server/internal.h"

static char folder[] = "/tmp/memimage-tls-XXXXXX";
static char cert_path[64];
static char other_path[64];

/** A key and a self-signed certificate for localhost and 127.0.0.1 in one file. */
static void certificate_write(const char *path) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    assert_non_null(key);
    assert_non_null(x509);
    (void)X509_set_version(x509, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(x509), 86400);
    (void)X509_set_pubkey(x509, key);
    X509_NAME *name = X509_get_subject_name(x509);
    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    (void)X509_set_issuer_name(x509, name);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    (void)X509_add_ext(x509, names, -1);
    X509_EXTENSION_free(names);
    assert_true(X509_sign(x509, key, EVP_sha256()) > 0);
    (void)umask(0077);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, x509), 1);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(file);
    X509_free(x509);
    EVP_PKEY_free(key);
}

static int group_setup(void **state) {
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(cert_path, sizeof(cert_path), "%s/a.pem", folder);
    (void)snprintf(other_path, sizeof(other_path), "%s/b.pem", folder);
    certificate_write(cert_path);
    certificate_write(other_path);
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    (void)unlink(cert_path);
    (void)unlink(other_path);
    return rmdir(folder);
}

struct pair {
    struct mim_tls *server_tls, *client_tls;
    struct mim_transport server, client;
};

static void pair_open(struct pair *pair, const char *ca_file, const char *host) {
    struct mim_error error = {0};
    int fds[2];
    int small = 4096;
    struct mim_tls_options accepting = {.cert_file = cert_path, .auth_clients = MIM_TLS_AUTH_NO};
    struct mim_tls_options connecting = {.ca_file = ca_file};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    }
    assert_int_equal(mim_tls_server_new(&accepting, &pair->server_tls, &error), 0);
    assert_int_equal(mim_tls_client_new(&connecting, &pair->client_tls, &error), 0);
    assert_int_equal(mim_tls_accept(pair->server_tls, fds[0], &pair->server, &error), 0);
    assert_int_equal(mim_tls_client(pair->client_tls, fds[1], host, &pair->client, &error), 0);
}

static void pair_close(struct pair *pair) {
    pair->client.ops->close(&pair->client);
    pair->server.ops->close(&pair->server);
    (void)mim_tls_free(pair->client_tls);
    (void)mim_tls_free(pair->server_tls);
}

/** Drives both by reads until the client is done: 0, or the errno of its end. */
static int handshake(struct pair *pair) {
    static uint8_t bytes[2 * MIM_TLS_RECORD_SIZE_MAX];
    for (int i = 0; i < 100; i++) {
        ssize_t got = pair->client.ops->read(&pair->client, bytes, sizeof(bytes));
        if (got >= 0 || errno != EAGAIN) {
            return got >= 0 ? ECONNRESET : errno;
        }
        (void)pair->server.ops->read(&pair->server, bytes, sizeof(bytes));
        if (pair->client.ready && pair->server.ready) {
            return 0;
        }
    }
    return ETIMEDOUT;
}

static void test_bytes_arrive_as_they_were_sent(void **state) {
    (void)state;
    enum { TOTAL = 1 << 20 };
    static uint8_t sent[TOTAL];
    static uint8_t got[TOTAL + 2 * MIM_TLS_RECORD_SIZE_MAX];
    struct pair pair = {0};
    struct mim_prng prng;
    pair_open(&pair, cert_path, "localhost");
    assert_string_equal(mim_tls_version(&pair.client), "");
    assert_int_equal(handshake(&pair), 0);
    assert_string_equal(mim_tls_version(&pair.client), "TLSv1.3");
    mim_prng_init(&prng, 7);
    for (size_t i = 0; i < TOTAL; i++) {
        sent[i] = (uint8_t)mim_prng_below(&prng, 256);
    }
    size_t out = 0;
    size_t in = 0;
    size_t offered = 0;
    for (unsigned turns = 0; in < TOTAL; turns++) {
        assert_true(turns < 1000000);
        /* what is offered again has moved, and has grown behind */
        offered = offered > TOTAL - out ? TOTAL - out : offered;
        size_t more = mim_prng_below(&prng, 40000);
        offered = offered + more > TOTAL - out ? TOTAL - out : offered + more;
        uint8_t *moved = malloc(offered + 1);
        assert_non_null(moved);
        memcpy(moved, sent + out, offered);
        ssize_t written = offered == 0 ? 0 : pair.server.ops->write(&pair.server, moved, offered);
        free(moved);
        assert_true(written >= 0 || errno == EAGAIN);
        out += written > 0 ? (size_t)written : 0;
        offered -= written > 0 ? (size_t)written : 0;
        ssize_t arrived = pair.client.ops->read(&pair.client, got + in, MIM_TLS_RECORD_SIZE_MAX + turns % 1000);
        assert_true(arrived > 0 || (arrived < 0 && errno == EAGAIN));
        in += arrived > 0 ? (size_t)arrived : 0;
    }
    assert_memory_equal(sent, got, TOTAL);
    pair_close(&pair);
}

/** With room for one record a read takes one, and the socket tells of the next. */
static void test_no_byte_stays_inside(void **state) {
    (void)state;
    static uint8_t bytes[MIM_TLS_RECORD_SIZE_MAX];
    struct pair pair = {0};
    pair_open(&pair, cert_path, "127.0.0.1");
    assert_int_equal(handshake(&pair), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pair.server.ops->write(&pair.server, "abc", 3), 3);
    }
    uint8_t peeked;
    for (size_t in = 0; in < 9;) {
        assert_true(recv(pair.client.fd, &peeked, 1, MSG_PEEK) == 1); /* readable as long as anything is left */
        ssize_t got = pair.client.ops->read(&pair.client, bytes, sizeof(bytes));
        assert_true(got > 0);
        in += (size_t)got;
    }
    assert_int_equal(pair.client.ops->read(&pair.client, bytes, sizeof(bytes)), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(pair.server.ops->finish(&pair.server), 0);
    assert_int_equal(pair.client.ops->read(&pair.client, bytes, sizeof(bytes)), 0); /* the end, said so */
    assert_int_equal(pair.client.ops->write(&pair.client, "late", 4), 4);           /* one half is closed only */
    assert_int_equal(pair.server.ops->read(&pair.server, bytes, sizeof(bytes)), 4);
    pair_close(&pair);
}

static void test_a_client_believes_only_whom_it_should(void **state) {
    (void)state;
    const struct {
        const char *ca_file, *host;
        bool fine;
    } cases[] = {{cert_path, "localhost", true},  {cert_path, "127.0.0.1", true},   {cert_path, "example.org", false},
                 {cert_path, "127.0.0.2", false}, {other_path, "localhost", false}, {NULL, "localhost", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pair pair = {0};
        char reason[120];
        pair_open(&pair, cases[i].ca_file, cases[i].host);
        int problem = handshake(&pair);
        if (cases[i].fine) {
            assert_int_equal(problem, 0);
        } else {
            assert_int_equal(problem, EPROTO);
            mim_tls_reason(&pair.client, reason, sizeof(reason));
            assert_string_equal(reason, "certificate verify failed");
            assert_int_equal(pair.client.ops->write(&pair.client, "x", 1), -1); /* broken for good */
        }
        pair_close(&pair);
    }
}

static void test_garbage_is_an_error(void **state) {
    (void)state;
    static uint8_t bytes[MIM_TLS_RECORD_SIZE_MAX];
    struct pair pair = {0};
    pair_open(&pair, cert_path, "localhost");
    assert_int_equal(handshake(&pair), 0);
    assert_int_equal(send(pair.client.fd, "no record", 9, 0), 9);
    assert_int_equal(pair.server.ops->read(&pair.server, bytes, sizeof(bytes)), -1);
    assert_int_equal(errno, EPROTO);
    assert_int_equal(pair.server.ops->read(&pair.server, bytes, sizeof(bytes)), -1);
    assert_int_equal(errno, ECONNRESET);
    pair_close(&pair);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_arrive_as_they_were_sent),
        cmocka_unit_test(test_no_byte_stays_inside),
        cmocka_unit_test(test_a_client_believes_only_whom_it_should),
        cmocka_unit_test(test_garbage_is_an_error),
    };
    return cmocka_run_group_tests_name("tls", tests, group_setup, group_teardown);
}
