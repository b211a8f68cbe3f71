// SPDX-License-Identifier: MIT
// ACL files and rules into users. See acl.h.
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "server/acl.h"
#include "server/glob.h"

#define NOTHING "-@all"

static bool is(struct mim_slice word, const char *text) { return mim_slice_equal(word, mim_slice_text(text)); }

static struct mim_slice after(struct mim_slice word, size_t count) {
    return mim_slice_of(word.data + count, word.size - count);
}

static int wrong(struct mim_slice rule, const char *why, struct mim_error *reterr) {
    return mim_error_set(reterr, MIM_E_INVALID, "rule '%.*s': %s", (int)(rule.size < 80 ? rule.size : 80),
                         (const char *)rule.data, why);
}

/* --------------------------------------------------------------- passwords */

/** One more element of an array that grows by one. NULL: the limit, or no memory. */
static void *grow(void *array, uint32_t count, uint32_t limit, size_t size) {
    return count >= limit ? NULL : realloc(array, (size_t)(count + 1) * size);
}

static int secret_add(struct mim_acl_user *user, const struct mim_acl_secret *secret, struct mim_slice rule,
                      struct mim_error *reterr) {
    struct mim_acl_secret *grown =
        grow(user->secrets, user->secret_count, MIM_ACL_SECRETS_MAX, sizeof(struct mim_acl_secret));
    if (grown == NULL) {
        return wrong(mim_slice_of(rule.data, 1), "the user has too many passwords", reterr);
    }
    user->secrets = grown;
    user->secrets[user->secret_count++] = *secret;
    user->nopass = false;
    return 0;
}

static int rule_secret(struct mim_acl_user *user, struct mim_slice rule, struct mim_error *reterr) {
    struct mim_acl_secret secret = {0};
    struct mim_slice shown = mim_slice_of(rule.data, 1); /* a password in the wrong place is not told to a log */
    switch (rule.data[0]) {
    case '#':
        if (!mim_secret_parse(after(rule, 1), &secret.digest)) {
            return wrong(shown, "behind # stand the 64 hex digits of a SHA-256", reterr);
        }
        return secret_add(user, &secret, rule, reterr);
    case '$':
        if (rule.size >= sizeof(secret.text)) {
            return wrong(shown, "the crypt string is too long", reterr);
        }
        secret.slow = true;
        memcpy(secret.text, rule.data, rule.size);
        if (!mim_secret_crypt_valid(secret.text)) {
            return wrong(shown, "no crypt string that is strong enough; `memimage acl hash` makes one", reterr);
        }
        return secret_add(user, &secret, rule, reterr);
    default:
        return wrong(shown, "passwords stand here as hashes only; `memimage acl hash` makes one", reterr);
    }
}

/* ---------------------------------------------------------------- patterns */

static int pattern_add(struct mim_acl_user *user, struct mim_slice text, unsigned access, struct mim_slice rule,
                       struct mim_error *reterr) {
    if (is(text, "*")) {
        user->everything |= (uint8_t)access;
        return 0;
    }
    if (text.size == 0 || text.size >= MIM_ACL_PATTERN_MAX || !mim_glob_valid(text)) {
        return wrong(rule, "no pattern: type/id with * ? [a-z] \\x", reterr);
    }
    if (memchr(text.data, '/', text.size) == NULL && memchr(text.data, '*', text.size) == NULL) {
        return wrong(rule, "the pattern can match no type/id: it has no slash", reterr);
    }
    struct mim_acl_pattern *grown =
        grow(user->patterns, user->pattern_count, MIM_ACL_PATTERNS_MAX, sizeof(struct mim_acl_pattern));
    if (grown == NULL) {
        return wrong(rule, "the user has too many patterns", reterr);
    }
    user->patterns = grown;
    struct mim_acl_pattern *pattern = &user->patterns[user->pattern_count++];
    pattern->access = (uint8_t)access;
    pattern->size = (uint16_t)text.size;
    memcpy(pattern->text, text.data, text.size);
    pattern->text[text.size] = '\0';
    return 0;
}

/** ~pattern, %R~pattern, %W~pattern, %RW~pattern. */
static int rule_pattern(struct mim_acl_user *user, struct mim_slice rule, struct mim_error *reterr) {
    if (rule.data[0] == '~') {
        return pattern_add(user, after(rule, 1), MIM_ACL_BOTH, rule, reterr);
    }
    unsigned access = 0;
    size_t at = 1;
    for (; at < rule.size && rule.data[at] != '~'; at++) {
        uint8_t letter = (uint8_t)(rule.data[at] & ~0x20);
        if (letter != 'R' && letter != 'W') {
            return wrong(rule, "between % and ~ stand R, W or RW", reterr);
        }
        access |= letter == 'R' ? MIM_ACL_READ : MIM_ACL_WRITE;
    }
    if (at == rule.size || access == 0) {
        return wrong(rule, "between % and ~ stand R, W or RW", reterr);
    }
    return pattern_add(user, after(rule, at + 1), access, rule, reterr);
}

/* ---------------------------------------------------------------- commands */

static int rules_note(struct mim_acl_user *user, struct mim_slice rule, struct mim_error *reterr) {
    size_t used = strlen(user->rules);
    if (used + rule.size + 2 > sizeof(user->rules)) {
        return wrong(rule, "the user has too many command rules", reterr);
    }
    int written =
        snprintf(user->rules + used, sizeof(user->rules) - used, " %.*s", (int)rule.size, (const char *)rule.data);
    for (int i = 0; i < written; i++) {
        char *letter = &user->rules[used + (size_t)i];
        *letter = *letter >= 'A' && *letter <= 'Z' ? (char)(*letter | 0x20) : *letter;
    }
    return 0;
}

/** The bits that a rule's name stands for: @category, command, command|subcommand. */
static int command_bits(struct mim_slice rule, uint64_t *ret_commands, uint64_t *ret_administration,
                        struct mim_error *reterr) {
    struct mim_slice name = after(rule, 1);
    if (name.size > 0 && name.data[0] == '@') {
        return mim_acl_category(after(name, 1), ret_commands, ret_administration)
                   ? 0
                   : wrong(rule, "there is no such category", reterr);
    }
    const uint8_t *bar = name.size == 0 ? NULL : memchr(name.data, '|', name.size);
    size_t size = bar == NULL ? name.size : (size_t)(bar - name.data);
    const struct mim_command *command = mim_command_find(mim_slice_of(name.data, size));
    if (command == NULL) {
        return wrong(rule, "there is no such command", reterr);
    }
    bool mixed = mim_acl_is_mixed(command);
    uint64_t bit = 1ull << mim_command_index(command);
    *ret_commands = bit;
    *ret_administration = mixed ? bit : 0;
    if (bar != NULL) { /* the subcommands of a mixed one go together: those for everybody, those for administrators */
        if (!mixed) {
            return wrong(rule, "only CLIENT and ACL have subcommands that can be told apart", reterr);
        }
        bool administrative = mim_acl_is_administrative(command, after(name, size + 1));
        *ret_commands = administrative ? 0 : bit;
        *ret_administration = administrative ? bit : 0;
    }
    return 0;
}

static int rule_command(struct mim_acl_user *user, struct mim_slice rule, struct mim_error *reterr) {
    uint64_t commands;
    uint64_t administration;
    int rc = command_bits(rule, &commands, &administration, reterr);
    if (rc != 0) {
        return rc;
    }
    bool give = rule.data[0] == '+';
    user->commands = give ? user->commands | commands : user->commands & ~commands;
    user->administration = give ? user->administration | administration : user->administration & ~administration;
    if (is(after(rule, 1), "@all")) {
        (void)snprintf(user->rules, sizeof(user->rules), "%c@all", rule.data[0]);
        return 0;
    }
    return rules_note(user, rule, reterr);
}

/* ------------------------------------------------------------------- rules */

static void user_reset_patterns(struct mim_acl_user *user) {
    free(user->patterns);
    user->patterns = NULL;
    user->pattern_count = 0;
    user->everything = 0;
}

static void user_reset_secrets(struct mim_acl_user *user) {
    free(user->secrets);
    user->secrets = NULL;
    user->secret_count = 0;
    user->nopass = false;
}

/** A user as it is before its first rule: off, nothing allowed. */
static void user_reset(struct mim_acl_user *user) {
    user_reset_patterns(user);
    user_reset_secrets(user);
    user->enabled = false;
    user->readonly = false;
    user->commands = 0;
    user->administration = 0;
    (void)snprintf(user->rules, sizeof(user->rules), "%s", NOTHING);
}

/** The rules that are one word. False: it is none of them. */
static bool rule_word(struct mim_acl_user *user, struct mim_slice rule) {
    if (is(rule, "on") || is(rule, "off")) {
        user->enabled = is(rule, "on");
    } else if (is(rule, "nopass")) {
        user_reset_secrets(user);
        user->nopass = true;
    } else if (is(rule, "resetpass")) {
        user_reset_secrets(user);
    } else if (is(rule, "readonly") || is(rule, "readwrite")) {
        user->readonly = is(rule, "readonly");
    } else if (is(rule, "allkeys")) {
        user->everything = MIM_ACL_BOTH;
    } else if (is(rule, "resetkeys")) {
        user_reset_patterns(user);
    } else if (is(rule, "reset")) {
        user_reset(user);
    } else {
        return is(rule, "allchannels") || is(rule, "resetchannels") || is(rule, "&*") || is(rule, "sanitize-payload");
    }
    return true;
}

int mim_acl_rule(struct mim_acl_user *user, struct mim_slice rule, struct mim_error *reterr) {
    if (rule_word(user, rule)) {
        return 0;
    }
    if (is(rule, "allcommands")) {
        rule = mim_slice_text("+@all");
    } else if (is(rule, "nocommands")) {
        rule = mim_slice_text("-@all");
    }
    switch (rule.size == 0 ? 0 : rule.data[0]) {
    case '+':
    case '-':
        return rule_command(user, rule, reterr);
    case '~':
    case '%':
        return rule_pattern(user, rule, reterr);
    case '#':
    case '$':
    case '>':
        return rule_secret(user, rule, reterr);
    case '&':
        return wrong(rule, "channels and audiences cannot be restricted", reterr);
    default:
        return wrong(rule, "unknown", reterr);
    }
}

/* -------------------------------------------------------------------- text */

/** The next word of a line; of no size at its end. */
static struct mim_slice word_next(struct mim_slice *rest) {
    size_t begin = 0;
    while (begin < rest->size && (rest->data[begin] == ' ' || rest->data[begin] == '\t' || rest->data[begin] == '\r')) {
        begin++;
    }
    size_t end = begin;
    while (end < rest->size && rest->data[end] != ' ' && rest->data[end] != '\t' && rest->data[end] != '\r') {
        end++;
    }
    struct mim_slice word = mim_slice_of(rest->data + begin, end - begin);
    *rest = after(*rest, end);
    return word;
}

static bool name_valid(struct mim_slice name) {
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] <= ' ' || name.data[i] > '~') {
            return false;
        }
    }
    return name.size > 0 && name.size <= MIM_ACL_NAME_MAX;
}

static struct mim_acl_user *user_of(struct mim_acl *acl, struct mim_slice name) {
    for (uint32_t i = 0; i < acl->user_count; i++) {
        if (is(name, acl->users[i].name)) {
            return &acl->users[i];
        }
    }
    return NULL;
}

static int user_add(struct mim_acl *acl, struct mim_slice name, struct mim_acl_user **ret_user,
                    struct mim_error *reterr) {
    if (!name_valid(name)) {
        return mim_error_set(reterr, MIM_E_INVALID, "a user's name has 1 to %u printable bytes", MIM_ACL_NAME_MAX);
    }
    if (user_of(acl, name) != NULL) {
        return mim_error_set(reterr, MIM_E_INVALID, "user '%.*s' is defined twice", (int)name.size,
                             (const char *)name.data);
    }
    struct mim_acl_user *grown = grow(acl->users, acl->user_count, MIM_ACL_USERS_MAX, sizeof(struct mim_acl_user));
    if (grown == NULL) {
        return mim_error_set(reterr, MIM_E_LIMIT, "more than %u users, or no memory for them", MIM_ACL_USERS_MAX);
    }
    acl->users = grown;
    struct mim_acl_user *user = &acl->users[acl->user_count++];
    *user = (struct mim_acl_user){0};
    memcpy(user->name, name.data, name.size);
    user_reset(user);
    *ret_user = user;
    return 0;
}

static int line_parse(struct mim_acl *acl, struct mim_slice line, struct mim_error *reterr) {
    struct mim_slice word = word_next(&line);
    if (word.size == 0 || word.data[0] == '#') {
        return 0;
    }
    if (!is(word, "user")) {
        return mim_error_set(reterr, MIM_E_INVALID, "a line begins with the word user, or with # when it is a comment");
    }
    struct mim_acl_user *user = NULL;
    int rc = user_add(acl, word_next(&line), &user, reterr);
    while (rc == 0 && (word = word_next(&line)).size > 0) {
        rc = mim_acl_rule(user, word, reterr);
    }
    return rc;
}

static int text_parse(struct mim_acl *acl, const char *name, struct mim_slice text, struct mim_error *reterr) {
    if (text.size > 0 && memchr(text.data, '\0', text.size) != NULL) {
        return mim_error_set(reterr, MIM_E_INVALID, "%s: it is no text", name);
    }
    for (unsigned number = 1; text.size > 0; number++) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end == NULL ? text.size : (size_t)(end - text.data);
        int rc = line_parse(acl, mim_slice_of(text.data, size), reterr);
        if (rc != 0) {
            return mim_error_prefix(reterr, "%s line %u", name, number);
        }
        text = after(text, end == NULL ? size : size + 1);
    }
    return 0;
}

/* --------------------------------------------------------------- user default */

static int default_add(struct mim_acl *acl, bool has_text, const char *requirepass, struct mim_error *reterr) {
    struct mim_acl_user *user = user_of(acl, mim_slice_text("default"));
    if (user != NULL) {
        return requirepass == NULL ? 0
                                   : mim_error_set(reterr, MIM_E_INVALID,
                                                   "requirepass and a line for user default contradict each other");
    }
    int rc = user_add(acl, mim_slice_text("default"), &user, reterr);
    if (rc != 0 || (has_text && requirepass == NULL)) {
        return rc; /* who writes users wants no other way in */
    }
    static const char *const rules[] = {"on", "nopass", "allkeys", "+@all"};
    for (size_t i = 0; rc == 0 && i < sizeof(rules) / sizeof(rules[0]); i++) {
        rc = mim_acl_rule(user, mim_slice_text(rules[i]), reterr);
    }
    if (rc == 0 && requirepass != NULL) {
        struct mim_acl_secret secret = {.digest = mim_secret_sha256(mim_slice_text(requirepass))};
        rc = secret_add(user, &secret, mim_slice_text("#"), reterr);
    }
    return rc;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct mim_acl_user *)a)->name, ((const struct mim_acl_user *)b)->name);
}

int mim_acl_parse(const char *name, const char *text, size_t size, const char *requirepass, struct mim_acl **ret_acl,
                  struct mim_error *reterr) {
    static atomic_uint_fast64_t generations;
    struct mim_acl *acl = calloc(1, sizeof(*acl));
    if (acl == NULL) {
        return mim_error_set(reterr, MIM_E_MEMORY, "out of memory");
    }
    int rc = 0;
    if (getrandom(acl->key.bytes, sizeof(acl->key.bytes), 0) != (ssize_t)sizeof(acl->key.bytes)) {
        rc = mim_error_os(reterr, MIM_E_IO, errno, "no random numbers");
    }
    rc = rc != 0 || text == NULL ? rc : text_parse(acl, name, mim_slice_of(text, size), reterr);
    rc = rc != 0 ? rc : default_add(acl, text != NULL, requirepass, reterr);
    if (rc != 0) {
        (void)mim_acl_free(acl);
        return rc;
    }
    uint64_t commands;
    uint64_t administration;
    (void)mim_acl_category(mim_slice_text("all"), &commands, &administration);
    qsort(acl->users, acl->user_count, sizeof(acl->users[0]), by_name);
    for (uint32_t i = 0; i < acl->user_count; i++) {
        struct mim_acl_user *user = &acl->users[i];
        user->unlimited = user->commands == commands && user->administration == administration && !user->readonly &&
                          user->everything == MIM_ACL_BOTH;
        for (uint32_t j = 0; j < user->secret_count; j++) {
            acl->slow |= user->secrets[j].slow;
        }
    }
    acl->generation = atomic_fetch_add(&generations, 1) + 1;
    *ret_acl = acl;
    return 0;
}

int mim_acl_load(const char *path, const char *requirepass, struct mim_acl **ret_acl, struct mim_error *reterr) {
    if (path == NULL) {
        return mim_acl_parse("", NULL, 0, requirepass, ret_acl, reterr);
    }
    FILE *file = fopen(path, "re");
    struct stat status;
    if (file == NULL || fstat(fileno(file), &status) != 0) {
        int problem = errno;
        if (file != NULL) {
            (void)fclose(file);
        }
        return mim_error_os(reterr, MIM_E_USAGE, problem, "aclfile %s", path);
    }
    char *text = NULL;
    size_t size = 0;
    int rc = 0;
    if (!S_ISREG(status.st_mode) || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        rc = mim_error_set(reterr, MIM_E_USAGE, "aclfile %s: others may write it, or it is no file (chmod 600)", path);
    } else if (status.st_size > (off_t)MIM_ACL_FILE_SIZE_MAX || (text = malloc((size_t)status.st_size + 1)) == NULL) {
        rc = mim_error_set(reterr, MIM_E_USAGE, "aclfile %s: larger than %u bytes", path, MIM_ACL_FILE_SIZE_MAX);
    } else {
        size = fread(text, 1, (size_t)status.st_size, file);
        rc = size == (size_t)status.st_size ? 0 : mim_error_set(reterr, MIM_E_USAGE, "aclfile %s: not readable", path);
    }
    (void)fclose(file);
    if (rc == 0) {
        rc = mim_acl_parse(path, text, size, requirepass, ret_acl, reterr);
        if (rc != 0) {
            (void)mim_error_prefix(reterr, "aclfile");
            reterr->code = rc = MIM_E_USAGE;
        }
    }
    free(text);
    return rc;
}
