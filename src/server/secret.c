// SPDX-License-Identifier: MIT
// Hashes of passwords by libcrypt (yescrypt) and OpenSSL (SHA-256, HMAC, constant-time comparison).
#include "server/secret.h"

#include <crypt.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"

struct mim_secret_digest mim_secret_sha256(struct mim_slice password) {
    struct mim_secret_digest digest;
    (void)SHA256(password.data == NULL ? (const uint8_t *)"" : password.data, password.size, digest.bytes);
    return digest;
}

struct mim_secret_digest mim_secret_hmac(const struct mim_secret_digest *key, const struct mim_slice *parts,
                                         size_t count) {
    uint8_t joined[4 * MIM_SECRET_DIGEST_SIZE];
    size_t used = 0;
    MIM_ASSERT(count <= 4);
    for (size_t i = 0; i < count; i++) { /* each part's own digest: sizes need no encoding */
        struct mim_secret_digest part = mim_secret_sha256(parts[i]);
        memcpy(joined + used, part.bytes, sizeof(part.bytes));
        used += sizeof(part.bytes);
    }
    struct mim_secret_digest digest = {{0}};
    unsigned size = sizeof(digest.bytes);
    (void)HMAC(EVP_sha256(), key->bytes, sizeof(key->bytes), joined, used, digest.bytes, &size);
    OPENSSL_cleanse(joined, sizeof(joined));
    return digest;
}

bool mim_secret_equal(const struct mim_secret_digest *a, const struct mim_secret_digest *b) {
    return CRYPTO_memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static int hex_digit(uint8_t c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool mim_secret_parse(struct mim_slice hex, struct mim_secret_digest *ret_digest) {
    if (hex.size != 2 * MIM_SECRET_DIGEST_SIZE) {
        return false;
    }
    for (size_t i = 0; i < MIM_SECRET_DIGEST_SIZE; i++) {
        int high = hex_digit(hex.data[2 * i]);
        int low = hex_digit(hex.data[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret_digest->bytes[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

void mim_secret_hex(const struct mim_secret_digest *digest, char ret_hex[2 * MIM_SECRET_DIGEST_SIZE + 1]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < MIM_SECRET_DIGEST_SIZE; i++) {
        ret_hex[2 * i] = digits[digest->bytes[i] >> 4];
        ret_hex[2 * i + 1] = digits[digest->bytes[i] & 15];
    }
    ret_hex[(size_t)2 * MIM_SECRET_DIGEST_SIZE] = '\0';
}

bool mim_secret_crypt_valid(const char *text) {
    static const char *const strong[] = {"$y$", "$gy$", "$7$", "$2b$", "$2y$", "$2a$", "$6$", "$5$"};
    for (size_t i = 0; i < sizeof(strong) / sizeof(strong[0]); i++) {
        if (strncmp(text, strong[i], strlen(strong[i])) == 0) {
            /* a bare salt would be a password nobody has: there must be a hash behind the last '$' */
            const char *last = strrchr(text, '$');
            return strlen(text) < MIM_SECRET_TEXT_MAX && strlen(last + 1) >= 31 &&
                   crypt_checksalt(text) == CRYPT_SALT_OK;
        }
    }
    return false;
}

bool mim_secret_crypt_check(const char *text, const char *password) {
    struct crypt_data *data = calloc(1, sizeof(*data));
    if (data == NULL) {
        return false;
    }
    const char *made = crypt_r(password, text, data);
    bool same = false;
    if (made != NULL && made[0] != '*') {
        struct mim_secret_digest a = mim_secret_sha256(mim_slice_text(made));
        struct mim_secret_digest b = mim_secret_sha256(mim_slice_text(text));
        same = mim_secret_equal(&a, &b);
    }
    OPENSSL_cleanse(data, sizeof(*data));
    free(data);
    return same;
}

int mim_secret_make(struct mim_slice password, char ret_text[MIM_SECRET_TEXT_MAX], struct mim_error *reterr) {
    if (password.size == 0 || password.size > MIM_SECRET_PASSWORD_MAX ||
        memchr(password.data, '\0', password.size) != NULL) {
        return mim_error_set(reterr, MIM_E_INVALID, "a password has 1 to %u bytes, none of them 0",
                             MIM_SECRET_PASSWORD_MAX);
    }
    struct crypt_data *data = calloc(1, sizeof(*data));
    if (data == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    char text[MIM_SECRET_PASSWORD_MAX + 1];
    memcpy(text, password.data, password.size);
    text[password.size] = '\0';
    char salt[CRYPT_GENSALT_OUTPUT_SIZE];
    const char *made = NULL;
    if (crypt_gensalt_rn("$y$", 0, NULL, 0, salt, sizeof(salt)) != NULL) {
        made = crypt_r(text, salt, data);
    }
    int rc = 0;
    if (made == NULL || made[0] == '*' || strlen(made) >= MIM_SECRET_TEXT_MAX) {
        rc = mim_error_os(reterr, MIM_E_IO, errno, "yescrypt");
    } else {
        memcpy(ret_text, made, strlen(made) + 1);
    }
    OPENSSL_cleanse(text, sizeof(text));
    OPENSSL_cleanse(data, sizeof(*data));
    free(data);
    return rc;
}

int mim_secret_token(char ret_token[MIM_SECRET_TOKEN_SIZE], struct mim_error *reterr) {
    struct mim_secret_digest random;
    if (getrandom(random.bytes, sizeof(random.bytes), 0) != (ssize_t)sizeof(random.bytes)) {
        return mim_error_os(reterr, MIM_E_IO, errno, "no random numbers");
    }
    mim_secret_hex(&random, ret_token);
    return 0;
}

void mim_secret_wipe(void *data, size_t size) { OPENSSL_cleanse(data, size); }
