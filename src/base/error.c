// SPDX-License-Identifier: MIT
// Error table and messages that are wrapped on the way up. Pure: leans on vsnprintf and strerror_r only.
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int mim_error_set(struct mim_error *reterr, int code, const char *format, ...) {
    if (reterr == NULL) {
        return code;
    }
    char text[sizeof(reterr->text)]; /* the old text may be among the arguments */
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    memcpy(reterr->text, text, strlen(text) + 1);
    reterr->code = code;
    reterr->os_errno = 0;
    return code;
}

int mim_error_os(struct mim_error *reterr, int code, int os_errno, const char *format, ...) {
    if (reterr == NULL) {
        return code;
    }
    va_list arguments;
    va_start(arguments, format);
    reterr->code = code;
    reterr->os_errno = os_errno;
    int used = vsnprintf(reterr->text, sizeof(reterr->text), format, arguments);
    va_end(arguments);
    if (used >= 0 && (size_t)used < sizeof(reterr->text)) {
        char reason[128];
        (void)snprintf(reterr->text + used, sizeof(reterr->text) - (size_t)used, ": %s",
                       strerror_r(os_errno, reason, sizeof(reason)));
    }
    return code;
}

int mim_error_prefix(struct mim_error *reterr, const char *format, ...) {
    if (reterr == NULL) {
        return MIM_E_STATE;
    }
    char inner[sizeof(reterr->text)];
    memcpy(inner, reterr->text, sizeof(inner));
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(reterr->text, sizeof(reterr->text), format, arguments);
    va_end(arguments);
    if (used >= 0 && (size_t)used < sizeof(reterr->text)) {
        size_t room = sizeof(reterr->text) - (size_t)used;
        (void)snprintf(reterr->text + used, room, ": %.*s", (int)(room > 3 ? room - 3 : 0), inner);
    }
    return reterr->code;
}

const char *mim_error_name(int code) {
    switch (code) {
    case MIM_OK:
        return "OK";
#define MIM_ERROR_CASE(name, value, sentence, status) \
    case value:                                       \
        return #name;
        MIM_ERROR_TABLE(MIM_ERROR_CASE)
#undef MIM_ERROR_CASE
    default:
        return "?";
    }
}

const char *mim_error_sentence(int code) {
    switch (code) {
    case MIM_OK:
        return "no error";
#define MIM_ERROR_CASE(name, value, sentence, status) \
    case value:                                       \
        return sentence;
        MIM_ERROR_TABLE(MIM_ERROR_CASE)
#undef MIM_ERROR_CASE
    default:
        return "unknown error";
    }
}

int mim_error_exit_status(int code) {
    switch (code) {
    case MIM_OK:
        return 0;
#define MIM_ERROR_CASE(name, value, sentence, status) \
    case value:                                       \
        return status;
        MIM_ERROR_TABLE(MIM_ERROR_CASE)
#undef MIM_ERROR_CASE
    default:
        return 1;
    }
}
