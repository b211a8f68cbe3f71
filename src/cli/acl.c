// SPDX-License-Identifier: MIT
// memimage acl: makes the hashes of passwords and tokens that an ACL file holds, and checks such a file.
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "server/acl.h"

/** A line of stdin, without echo where it is a terminal. INVALID: there is none. */
static int line_read(const char *prompt, char *ret_line, int size, struct mim_error *reterr) {
    struct termios before;
    bool terminal = isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &before) == 0;
    if (terminal) {
        struct termios silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
        (void)fputs(prompt, stderr);
    }
    bool got = fgets(ret_line, size, stdin) != NULL;
    if (terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        (void)fputc('\n', stderr);
    }
    size_t length = got ? strlen(ret_line) : 0;
    if (length > 0 && ret_line[length - 1] == '\n') {
        ret_line[--length] = '\0';
    } else if (got && !feof(stdin)) {
        return mim_error_set(reterr, MIM_E_INVALID, "a password has 1 to %u bytes", MIM_SECRET_PASSWORD_MAX);
    }
    return length > 0 ? 0 : mim_error_set(reterr, MIM_E_INVALID, "no password on the standard input");
}

static int acl_hash(struct mim_error *reterr) {
    char password[MIM_SECRET_PASSWORD_MAX + 2];
    char again[MIM_SECRET_PASSWORD_MAX + 2];
    char text[MIM_SECRET_TEXT_MAX];
    int rc = line_read("Password: ", password, sizeof(password), reterr);
    if (rc == 0 && isatty(STDIN_FILENO) == 1) {
        rc = line_read("Again: ", again, sizeof(again), reterr);
        if (rc == 0 && strcmp(password, again) != 0) {
            rc = mim_error_set(reterr, MIM_E_INVALID, "the two are not the same");
        }
        mim_secret_wipe(again, sizeof(again));
    }
    rc = rc != 0 ? rc : mim_secret_make(mim_slice_text(password), text, reterr);
    mim_secret_wipe(password, sizeof(password));
    if (rc == 0) {
        (void)puts(text);
    }
    return rc;
}

static int acl_token(struct mim_error *reterr) {
    char token[MIM_SECRET_TOKEN_SIZE];
    char hex[MIM_SECRET_TOKEN_SIZE];
    int rc = mim_secret_token(token, reterr);
    if (rc == 0) {
        struct mim_secret_digest digest = mim_secret_sha256(mim_slice_text(token));
        mim_secret_hex(&digest, hex);
        (void)printf("token %s\nrule  #%s\n", token, hex);
    }
    mim_secret_wipe(token, sizeof(token));
    return rc;
}

static int acl_check(const char *path, struct mim_error *reterr) {
    struct mim_acl *acl = NULL;
    int rc = mim_acl_load(path, NULL, &acl, reterr);
    if (rc == 0) {
        struct mim_buffer out = {0};
        for (uint32_t i = 0; i < acl->user_count; i++) {
            out.size = 0;
            mim_acl_describe(&acl->users[i], &out);
            (void)printf("%.*s\n", (int)out.size, (const char *)out.data);
        }
        mim_buffer_deinit(&out);
    }
    (void)mim_acl_free(acl);
    return rc;
}

int mim_cli_acl(int argc, char **argv) {
    const struct mim_options options = {
        .usage = "memimage acl hash|token|check FILE",
        .about = "hash   reads a password from the standard input, without echo, and prints the rule for an ACL file\n"
                 "token  makes a random token of 256 bits for a program, and prints it and its rule\n"
                 "check  reads an ACL file as serve --aclfile does, and prints its users",
    };
    struct mim_error error = {0};
    int positional = 0;
    int rc = mim_options_parse(&options, argc, argv, &positional, &error);
    if (rc > 0) {
        return 0;
    }
    const char *word = positional > 0 ? argv[0] : "";
    if (rc == 0 && positional == 1 && strcmp(word, "hash") == 0) {
        rc = acl_hash(&error);
    } else if (rc == 0 && positional == 1 && strcmp(word, "token") == 0) {
        rc = acl_token(&error);
    } else if (rc == 0 && positional == 2 && strcmp(word, "check") == 0) {
        rc = acl_check(argv[1], &error);
    } else if (rc == 0) {
        rc = mim_error_set(&error, MIM_E_USAGE, "hash, token, or check and a file; memimage acl --help");
    }
    return rc == 0 ? 0 : mim_cli_fail("acl", &error);
}
