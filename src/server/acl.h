// SPDX-License-Identifier: MIT
// Access control lists: users, their passwords, what they may command and which aggregates they may touch. An ACL is made
// whole from a text and never changed: ACL LOAD makes another one. Pure, but for mim_acl_load, which reads a file.
//
// A line of the file is Redis's: user NAME RULE ...; see the README for the rules.
#ifndef MIM_SERVER_ACL_H
#define MIM_SERVER_ACL_H

#include "base/error.h"
#include "model/codec.h"
#include "server/commands.h"
#include "server/secret.h"

#define MIM_ACL_NAME_MAX      64u /* bytes of a user's name */
#define MIM_ACL_USERS_MAX     1024u
#define MIM_ACL_SECRETS_MAX   8u  /* of one user */
#define MIM_ACL_PATTERNS_MAX  64u /* of one user */
#define MIM_ACL_PATTERN_MAX   384u
#define MIM_ACL_RULES_MAX     512u /* bytes of a user's command rules as ACL LIST shows them */
#define MIM_ACL_FILE_SIZE_MAX (1u << 20)

enum mim_acl_access { MIM_ACL_READ = 1, MIM_ACL_WRITE = 2, MIM_ACL_BOTH = 3 };

struct mim_acl_secret {
    bool slow;                       /* a crypt string; else a SHA-256 */
    bool seen_set;                   /* `seen` is filled in */
    struct mim_secret_digest digest; /* of the fast form */
    char text[MIM_SECRET_TEXT_MAX];  /* of the slow form */
    struct mim_secret_digest seen;   /* keyed digest of the password that was right last: no second hashing */
};

struct mim_acl_pattern {
    uint8_t access; /* enum mim_acl_access */
    uint16_t size;
    char text[MIM_ACL_PATTERN_MAX];
};

struct mim_acl_user {
    char name[MIM_ACL_NAME_MAX + 1];
    bool enabled;
    bool nopass;                    /* any password, and for `default` none */
    bool unlimited;                 /* all commands, all aggregates: nothing more is asked */
    bool readonly;                  /* no command that changes anything, whatever the other rules say */
    uint8_t everything;             /* access to all aggregates */
    uint64_t commands;              /* bit per command of the table */
    uint64_t administration;        /* bit per command whose administrative subcommands are allowed (CLIENT, ACL) */
    struct mim_acl_secret *secrets; /* owned, likewise the next two */
    uint32_t secret_count;
    struct mim_acl_pattern *patterns;
    uint32_t pattern_count;
    char rules[MIM_ACL_RULES_MAX]; /* of commands, in words */
};

struct mim_acl {
    uint64_t generation;        /* differs from that of every other ACL of the process */
    struct mim_acl_user *users; /* sorted by name */
    uint32_t user_count;
    bool slow;                    /* some password is a crypt string */
    struct mim_secret_digest key; /* random: of `seen` */
};

/** Makes the ACL of a text. `requirepass` (NULL: none) is the password of user default. Without a line for it, default
 *  is: with a password, on with all rights; without a file (`text` NULL), on without password; else off. `name` is what
 *  errors call the text. INVALID with line and reason, LIMIT, MEMORY, IO (no randomness). */
MIM_CHECKED int mim_acl_parse(const char *name, const char *text, size_t size, const char *requirepass,
                              struct mim_acl **ret_acl, struct mim_error *reterr);
/** The same of a file; `path` NULL: none. USAGE: it cannot be read, others may write it, or as above. */
MIM_CHECKED int mim_acl_load(const char *path, const char *requirepass, struct mim_acl **ret_acl,
                             struct mim_error *reterr);
struct mim_acl *mim_acl_free(struct mim_acl *acl);

/** NULL: there is none. */
struct mim_acl_user *mim_acl_find(const struct mim_acl *acl, struct mim_slice name);

/** Applies one rule to a user. INVALID with a sentence. */
MIM_CHECKED int mim_acl_rule(struct mim_acl_user *user, struct mim_slice rule, struct mim_error *reterr);

enum mim_acl_answer { MIM_ACL_WRONG, MIM_ACL_RIGHT, MIM_ACL_SLOW };
/** Checks a password as far as that takes no time: RIGHT, WRONG, or SLOW: one of `secrets` that are slow has to be
 *  checked. `user` NULL (unknown): WRONG, or SLOW where other users' passwords are slow: the caller hashes in vain, so
 *  that the time tells nothing. */
enum mim_acl_answer mim_acl_password(const struct mim_acl *acl, const struct mim_acl_user *user,
                                     struct mim_slice password);
/** A slow check was right: the next one with this password is not slow. */
void mim_acl_remember(struct mim_acl *acl, struct mim_acl_user *user, const char *text, struct mim_slice password);

/** Whether the command may be called at all; `sub`: its first argument, of no size when there is none. */
bool mim_acl_may_call(const struct mim_acl_user *user, const struct mim_command *command, struct mim_slice sub);
/** Whether "type/id" may be accessed so (bits of mim_acl_access, all of them by one pattern each). */
bool mim_acl_may_access(const struct mim_acl_user *user, struct mim_slice address, unsigned access);
/** Whether every aggregate of a type may be. */
bool mim_acl_may_access_type(const struct mim_acl_user *user, struct mim_slice type, unsigned access);
static inline bool mim_acl_may_access_all(const struct mim_acl_user *user, unsigned access) {
    return (user->everything & access) == access;
}

/** The user as a line of the file, without its passwords' hashes: "#(hidden)". */
void mim_acl_describe(const struct mim_acl_user *user, struct mim_buffer *out);
void mim_acl_describe_patterns(const struct mim_acl_user *user, struct mim_buffer *out);

/* acl_category.c */
/** Names of the categories, ended by NULL. */
extern const char *const mim_acl_categories[];
/** Bits of the commands in a category, and of those whose administrative subcommands are. False: unknown. */
bool mim_acl_category(struct mim_slice name, uint64_t *ret_commands, uint64_t *ret_administration);
/** CLIENT and ACL: some subcommands are for everybody, others for administrators. */
bool mim_acl_is_mixed(const struct mim_command *command);
/** Whether that subcommand of a mixed command is an administrator's. */
bool mim_acl_is_administrative(const struct mim_command *command, struct mim_slice sub);

#endif
