// SPDX-License-Identifier: MIT
// What an ACL answers: who is it, is the password right, may this be called, may that be touched. See acl.h.
#include "server/acl.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/glob.h"

_Static_assert(MIM_COMMANDS_MAX <= 64, "a user's commands are bits of one word");

struct mim_acl *mim_acl_free(struct mim_acl *acl) {
    if (acl != NULL) {
        for (uint32_t i = 0; i < acl->user_count; i++) {
            free(acl->users[i].secrets);
            free(acl->users[i].patterns);
        }
        free(acl->users);
        mim_secret_wipe(&acl->key, sizeof(acl->key));
        free(acl);
    }
    return NULL;
}

struct mim_acl_user *mim_acl_find(const struct mim_acl *acl, struct mim_slice name) {
    uint32_t low = 0;
    uint32_t high = acl->user_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct mim_slice other = mim_slice_text(acl->users[middle].name);
        size_t size = name.size < other.size ? name.size : other.size;
        int order = size == 0 ? 0 : memcmp(name.data, other.data, size);
        if (order == 0 && name.size == other.size) {
            return &acl->users[middle];
        }
        if (order < 0 || (order == 0 && name.size < other.size)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- passwords */

/** What is remembered of a right password: worthless without the key, which lives in this process only. */
static struct mim_secret_digest seen_of(const struct mim_acl *acl, const struct mim_acl_user *user, const char *text,
                                        struct mim_slice password) {
    struct mim_slice parts[] = {mim_slice_text(user->name), mim_slice_text(text), password};
    return mim_secret_hmac(&acl->key, parts, sizeof(parts) / sizeof(parts[0]));
}

enum mim_acl_answer mim_acl_password(const struct mim_acl *acl, const struct mim_acl_user *user,
                                     struct mim_slice password) {
    struct mim_secret_digest given = mim_secret_sha256(password);
    bool right = user != NULL && user->nopass;
    for (uint32_t i = 0; user != NULL && i < user->secret_count; i++) {
        const struct mim_acl_secret *secret = &user->secrets[i];
        if (!secret->slow) {
            right |= mim_secret_equal(&given, &secret->digest);
        } else if (secret->seen_set) {
            struct mim_secret_digest seen = seen_of(acl, user, secret->text, password);
            right |= mim_secret_equal(&seen, &secret->seen);
        }
    }
    mim_secret_wipe(&given, sizeof(given));
    if (right && user->enabled) {
        return MIM_ACL_RIGHT;
    }
    return acl->slow ? MIM_ACL_SLOW : MIM_ACL_WRONG;
}

void mim_acl_remember(struct mim_acl *acl, struct mim_acl_user *user, const char *text, struct mim_slice password) {
    for (uint32_t i = 0; i < user->secret_count; i++) {
        struct mim_acl_secret *secret = &user->secrets[i];
        if (secret->slow && strcmp(secret->text, text) == 0) {
            secret->seen = seen_of(acl, user, text, password);
            secret->seen_set = true;
        }
    }
}

/* ------------------------------------------------------------------ rights */

bool mim_acl_may_call(const struct mim_acl_user *user, const struct mim_command *command, struct mim_slice sub) {
    uint64_t bit = 1ull << mim_command_index(command);
    if ((command->flags & MIM_COMMAND_NO_AUTH) != 0) {
        return true;
    }
    bool administrative = mim_acl_is_administrative(command, sub);
    if (user->readonly && ((command->flags & MIM_COMMAND_WRITE) != 0 || administrative ||
                           ((command->flags & MIM_COMMAND_ADMIN) != 0 && !mim_acl_is_mixed(command)))) {
        return false;
    }
    return ((administrative ? user->administration : user->commands) & bit) != 0;
}

bool mim_acl_may_access(const struct mim_acl_user *user, struct mim_slice address, unsigned access) {
    unsigned granted = user->everything;
    for (uint32_t i = 0; i < user->pattern_count && (granted & access) != access; i++) {
        const struct mim_acl_pattern *pattern = &user->patterns[i];
        if ((granted | pattern->access) != granted &&
            mim_glob(mim_slice_of(pattern->text, pattern->size), address, MIM_GLOB_STEPS_MAX) == MIM_GLOB_YES) {
            granted |= pattern->access;
        }
    }
    return (granted & access) == access;
}

bool mim_acl_may_access_type(const struct mim_acl_user *user, struct mim_slice type, unsigned access) {
    unsigned granted = user->everything;
    for (uint32_t i = 0; i < user->pattern_count; i++) {
        const struct mim_acl_pattern *pattern = &user->patterns[i];
        size_t size = pattern->size;
        /* whatever the id: "GLOB/" and stars alone; in "a*" a star may stand for the slash, which is not enough */
        if (size < 2 || pattern->text[size - 1] != '*' || pattern->text[size - 2] != '/') {
            continue;
        }
        if (mim_glob(mim_slice_of(pattern->text, size - 2), type, MIM_GLOB_STEPS_MAX) == MIM_GLOB_YES) {
            granted |= pattern->access;
        }
    }
    return (granted & access) == access;
}

/* ------------------------------------------------------------------- words */

static void say(struct mim_buffer *out, const char *text) { mim_buffer_append(out, text, strlen(text)); }

void mim_acl_describe_patterns(const struct mim_acl_user *user, struct mim_buffer *out) {
    static const char *const heads[] = {"", "%R~", "%W~", "~"};
    const char *space = "";
    if (user->everything != 0) {
        say(out, heads[user->everything & 3]);
        say(out, "*");
        space = " ";
    }
    for (uint32_t i = 0; i < user->pattern_count; i++) {
        say(out, space);
        say(out, heads[user->patterns[i].access & 3]);
        mim_buffer_append(out, user->patterns[i].text, user->patterns[i].size);
        space = " ";
    }
}

void mim_acl_describe(const struct mim_acl_user *user, struct mim_buffer *out) {
    say(out, "user ");
    say(out, user->name);
    say(out, user->enabled ? " on" : " off");
    say(out, user->nopass ? " nopass" : "");
    for (uint32_t i = 0; i < user->secret_count; i++) {
        say(out, " #(hidden)");
    }
    say(out, user->readonly ? " readonly" : "");
    if (user->everything != 0 || user->pattern_count > 0) {
        say(out, " ");
        mim_acl_describe_patterns(user, out);
    } else {
        say(out, " resetkeys");
    }
    say(out, " ");
    say(out, user->rules);
}
