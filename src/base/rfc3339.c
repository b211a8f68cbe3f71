// SPDX-License-Identifier: MIT
// Unix milliseconds <-> RFC 3339, pure arithmetic. Civil-day algorithm: Howard Hinnant, "chrono-Compatible Low-Level
// Date Algorithms".
#include "base/clock.h"

#include <stdbool.h>

#include "base/error.h"

static int64_t days_from_civil(int64_t year, unsigned month, unsigned day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

static void civil_from_days(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned mp = (5 * day_of_year + 2) / 153;
    *ret_day = day_of_year - (153 * mp + 2) / 5 + 1;
    *ret_month = mp < 10 ? mp + 3 : mp - 9;
    *ret_year = (int64_t)year_of_era + era * 400 + (*ret_month <= 2);
}

static void digits(char *at, unsigned count, uint64_t value) {
    while (count > 0) {
        at[--count] = (char)('0' + value % 10);
        value /= 10;
    }
}

void mim_rfc3339_format(int64_t unix_ms, char ret_text[MIM_RFC3339_SIZE + 1u]) {
    int64_t days = unix_ms / 86400000;
    int64_t rest = unix_ms % 86400000;
    if (rest < 0) {
        rest += 86400000;
        days--;
    }
    int64_t year;
    unsigned month;
    unsigned day;
    civil_from_days(days, &year, &month, &day);
    year = year < 0 ? 0 : year > 9999 ? 9999 : year; /* four digits is all RFC 3339 has */
    __builtin_memcpy(ret_text, "0000-00-00T00:00:00.000Z", 25);
    digits(ret_text, 4, (uint64_t)year);
    digits(ret_text + 5, 2, month);
    digits(ret_text + 8, 2, day);
    digits(ret_text + 11, 2, (uint64_t)(rest / 3600000));
    digits(ret_text + 14, 2, (uint64_t)(rest / 60000 % 60));
    digits(ret_text + 17, 2, (uint64_t)(rest / 1000 % 60));
    digits(ret_text + 20, 3, (uint64_t)(rest % 1000));
}

struct scanner {
    const char *text;
    uint64_t size;
    uint64_t at;
    bool bad;
};

static unsigned scan_digits(struct scanner *s, unsigned count) {
    unsigned value = 0;
    for (unsigned i = 0; i < count; i++) {
        if (s->at >= s->size || s->text[s->at] < '0' || s->text[s->at] > '9') {
            s->bad = true;
            return 0;
        }
        value = value * 10 + (unsigned)(s->text[s->at++] - '0');
    }
    return value;
}

static char scan_any(struct scanner *s, const char *among) {
    for (const char *c = among; s->at < s->size && *c != '\0'; c++) {
        if (s->text[s->at] == *c) {
            s->at++;
            return *c;
        }
    }
    s->bad = true;
    return '\0';
}

static unsigned days_in_month(unsigned year, unsigned month) {
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/** ".123456": milliseconds, further digits are cut off. */
static int64_t scan_fraction(struct scanner *s) {
    int64_t ms = 0;
    int64_t weight = 100;
    if (s->at >= s->size || s->text[s->at] != '.') {
        return 0;
    }
    s->at++;
    uint64_t first = s->at;
    while (s->at < s->size && s->text[s->at] >= '0' && s->text[s->at] <= '9') {
        ms += weight * (s->text[s->at++] - '0');
        weight /= 10;
    }
    s->bad = s->bad || s->at == first;
    return ms;
}

static int64_t scan_offset_minutes(struct scanner *s) {
    char sign = scan_any(s, "Zz+-");
    if (sign != '+' && sign != '-') {
        return 0;
    }
    unsigned hours = scan_digits(s, 2);
    (void)scan_any(s, ":");
    unsigned minutes = scan_digits(s, 2);
    s->bad = s->bad || hours > 23 || minutes > 59;
    int64_t offset = (int64_t)hours * 60 + minutes;
    return sign == '-' ? -offset : offset;
}

int mim_rfc3339_parse(const char *text, uint64_t size, int64_t *ret_unix_ms) {
    struct scanner s = {.text = text, .size = size};
    unsigned year = scan_digits(&s, 4);
    (void)scan_any(&s, "-");
    unsigned month = scan_digits(&s, 2);
    (void)scan_any(&s, "-");
    unsigned day = scan_digits(&s, 2);
    (void)scan_any(&s, "Tt ");
    unsigned hour = scan_digits(&s, 2);
    (void)scan_any(&s, ":");
    unsigned minute = scan_digits(&s, 2);
    (void)scan_any(&s, ":");
    unsigned second = scan_digits(&s, 2);
    int64_t ms = scan_fraction(&s);
    int64_t offset = scan_offset_minutes(&s);
    if (s.bad || s.at != size || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || second > 60) {
        return MIM_E_INVALID;
    }
    int64_t seconds =
        days_from_civil(year, month, day) * 86400 + (int64_t)hour * 3600 + (int64_t)minute * 60 + second - offset * 60;
    *ret_unix_ms = seconds * 1000 + ms;
    return 0;
}
