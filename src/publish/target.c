// SPDX-License-Identifier: MIT
// The URL of --publish; see target.h.
#include "publish/target.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

#define USAGE "--publish: redis://[user:password@]host[:port][/db] or unix:///path/of.sock"

static int hex_digit(uint8_t c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/** Percent-decoded into a NUL-terminated text; false: too long, malformed, or a NUL within. */
static bool decode(struct mim_slice text, char *ret_text, size_t capacity) {
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        int c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.size ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.size ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = high * 16 + low;
            i += 2;
        }
        if (c == 0 || size + 1 >= capacity) {
            return false;
        }
        ret_text[size++] = (char)c;
    }
    ret_text[size] = '\0';
    return true;
}

static bool number(struct mim_slice text, uint32_t max, uint32_t *ret_value) {
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || value > max) {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_value = (uint32_t)value;
    return text.size > 0 && value <= max;
}

static bool take_prefix(struct mim_slice *text, const char *prefix) {
    size_t size = strlen(prefix);
    if (text->size < size || memcmp(text->data, prefix, size) != 0) {
        return false;
    }
    *text = mim_slice_of(text->data + size, text->size - size);
    return true;
}

/** Splits at the first `c`: what stands before it, and the rest behind it stays in *text. */
static bool take_until(struct mim_slice *text, char c, struct mim_slice *ret_before) {
    const uint8_t *at = text->size == 0 ? NULL : memchr(text->data, c, text->size);
    if (at == NULL) {
        return false;
    }
    *ret_before = mim_slice_of(text->data, (size_t)(at - text->data));
    *text = mim_slice_of(at + 1, text->size - ret_before->size - 1);
    return true;
}

/** "user:password@" in front of host or path, if it is there. The last '@' before the first '/' ends it. */
static bool take_credentials(struct mim_slice *text, struct mim_publish_target *target) {
    size_t end = 0;
    while (end < text->size && text->data[end] != '/') {
        end++;
    }
    while (end > 0 && text->data[end - 1] != '@') {
        end--;
    }
    if (end == 0) {
        return true;
    }
    struct mim_slice given = mim_slice_of(text->data, end - 1);
    *text = mim_slice_of(text->data + end, text->size - end);
    struct mim_slice user = {0};
    if (!take_until(&given, ':', &user)) {
        return false;
    }
    target->has_password = true;
    return decode(user, target->user, sizeof(target->user)) && given.size > 0 &&
           decode(given, target->password, sizeof(target->password));
}

static bool parse_unix(struct mim_slice rest, struct mim_publish_target *target) {
    struct mim_slice path = rest;
    if (take_until(&rest, '?', &path) &&
        (!take_prefix(&rest, "db=") || !number(rest, MIM_TARGET_DB_MAX, &target->db))) {
        return false;
    }
    target->is_unix = true;
    return path.size > 1 && path.data[0] == '/' && decode(path, target->path, sizeof(target->path));
}

static bool parse_tcp(struct mim_slice rest, struct mim_publish_target *target) {
    struct mim_slice place = rest;
    struct mim_slice host;
    if (take_until(&rest, '/', &place) && rest.size > 0 && !number(rest, MIM_TARGET_DB_MAX, &target->db)) {
        return false;
    }
    if (take_prefix(&place, "[")) {
        if (!take_until(&place, ']', &host) || (place.size > 0 && !take_prefix(&place, ":"))) {
            return false;
        }
    } else if (!take_until(&place, ':', &host)) {
        host = place;
        place.size = 0;
    }
    uint32_t port = 6379;
    if (place.size > 0 && (!number(place, 65535, &port) || port == 0)) {
        return false;
    }
    target->port = (uint16_t)port;
    return host.size > 0 && decode(host, target->host, sizeof(target->host));
}

int mim_publish_target_parse(const char *url, struct mim_publish_target *ret_target, struct mim_error *reterr) {
    struct mim_slice rest = mim_slice_text(url);
    *ret_target = (struct mim_publish_target){.port = 0};
    if (take_prefix(&rest, "rediss://")) {
        return mim_error_set(reterr, MIM_E_USAGE, "--publish: no TLS: put a tunnel before it, or a unix socket");
    }
    bool is_tcp = take_prefix(&rest, "redis://");
    bool is_unix = !is_tcp && (take_prefix(&rest, "unix://") || take_prefix(&rest, "redis+unix://") ||
                               take_prefix(&rest, "redis-socket://"));
    if ((!is_tcp && !is_unix) || !take_credentials(&rest, ret_target) ||
        !(is_tcp ? parse_tcp(rest, ret_target) : parse_unix(rest, ret_target))) {
        return mim_error_set(reterr, MIM_E_USAGE, "%s", USAGE);
    }
    bool is_six = strchr(ret_target->host, ':') != NULL;
    if (is_unix) {
        (void)snprintf(ret_target->shown, sizeof(ret_target->shown), "unix://%s?db=%u", ret_target->path,
                       ret_target->db);
    } else {
        (void)snprintf(ret_target->shown, sizeof(ret_target->shown), "redis://%s%s%s:%u/%u", is_six ? "[" : "",
                       ret_target->host, is_six ? "]" : "", ret_target->port, ret_target->db);
    }
    return 0;
}
