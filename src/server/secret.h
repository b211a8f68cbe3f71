// SPDX-License-Identifier: MIT
// Passwords: how they are kept and compared. Two forms: "#" and the SHA-256 in 64 hex digits, for long random tokens, and
// a crypt(3) string ("$y$..."), for what people choose. Pure, but for mim_secret_make and mim_secret_token (randomness).
#ifndef MIM_SERVER_SECRET_H
#define MIM_SERVER_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

#define MIM_SECRET_DIGEST_SIZE  32u
#define MIM_SECRET_TEXT_MAX     384u /* of a crypt string, with its NUL */
#define MIM_SECRET_PASSWORD_MAX 511u /* what crypt(3) takes */
#define MIM_SECRET_TOKEN_SIZE   65u  /* of a made token and its NUL */

struct mim_secret_digest {
    uint8_t bytes[MIM_SECRET_DIGEST_SIZE];
};

/** SHA-256. */
struct mim_secret_digest mim_secret_sha256(struct mim_slice password);
/** HMAC-SHA-256 of up to four slices. */
struct mim_secret_digest mim_secret_hmac(const struct mim_secret_digest *key, const struct mim_slice *parts,
                                         size_t count);
/** In a time that does not depend on the bytes. */
bool mim_secret_equal(const struct mim_secret_digest *a, const struct mim_secret_digest *b);
/** 64 hex digits. False: it is something else. */
bool mim_secret_parse(struct mim_slice hex, struct mim_secret_digest *ret_digest);
void mim_secret_hex(const struct mim_secret_digest *digest, char ret_hex[2 * MIM_SECRET_DIGEST_SIZE + 1]);

/** True when crypt(3) knows this form and takes its parameters; weak and ancient forms (DES, MD5) are refused. */
bool mim_secret_crypt_valid(const char *text);
/** Whether the password is the one of a crypt string. Takes milliseconds, on purpose, and megabytes. `password` ends
 *  with a NUL. */
bool mim_secret_crypt_check(const char *text, const char *password);

/** A yescrypt string of a password. IO: no randomness; INVALID: empty, too long, or with a NUL. */
MIM_CHECKED int mim_secret_make(struct mim_slice password, char ret_text[MIM_SECRET_TEXT_MAX],
                                struct mim_error *reterr);
/** 256 random bits in hex. IO. */
MIM_CHECKED int mim_secret_token(char ret_token[MIM_SECRET_TOKEN_SIZE], struct mim_error *reterr);
/** Overwrites; not optimised away. */
void mim_secret_wipe(void *data, size_t size);

#endif
