// SPDX-License-Identifier: MIT
// One option table for command line, configuration file and --help.
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/writer.h"

static bool parse_unsigned(const char *text, uint64_t *ret_value, const char **ret_end) {
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    *ret_value = strtoull(text, &end, 10);
    *ret_end = end;
    return errno == 0;
}

static bool parse_size(const char *text, uint64_t *ret_value) {
    const char *end;
    if (!parse_unsigned(text, ret_value, &end)) {
        return false;
    }
    unsigned shift = 0;
    switch (tolower((unsigned char)*end)) {
    case 'k':
        shift = 10;
        break;
    case 'm':
        shift = 20;
        break;
    case 'g':
        shift = 30;
        break;
    case 't':
        shift = 40;
        break;
    default:
        return *end == '\0';
    }
    end++;
    end += tolower((unsigned char)*end) == 'b' ? 1 : 0;
    if (*end != '\0' || *ret_value > UINT64_MAX >> shift) {
        return false;
    }
    *ret_value <<= shift;
    return true;
}

static bool parse_durability(const char *text, struct mim_writer_options *writer) {
    const char *end;
    uint64_t ms;
    if (strcmp(text, "fsync") == 0) {
        writer->durability = MIM_DURABILITY_FSYNC;
        return true;
    }
    if (strcmp(text, "none") == 0) {
        writer->durability = MIM_DURABILITY_NONE;
        return true;
    }
    if (strncmp(text, "interval:", 9) != 0 || !parse_unsigned(text + 9, &ms, &end) || *end != '\0' || ms < 1 ||
        ms > 3600000) {
        return false;
    }
    writer->durability = MIM_DURABILITY_INTERVAL;
    writer->interval_ns = ms * 1000000u;
    return true;
}

static bool parse_flag(const char *text, bool *ret_value) {
    bool yes = strcmp(text, "yes") == 0 || strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    bool no = strcmp(text, "no") == 0 || strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
    *ret_value = yes;
    return yes || no;
}

static int option_wrong(const struct mim_option *option, const char *text, struct mim_error *reterr) {
    if (option->type == MIM_OPTION_UNSIGNED && option->max != 0) {
        return mim_error_set(reterr, MIM_E_USAGE, "--%s must be a number from %llu to %llu, not \"%s\"", option->name,
                             (unsigned long long)option->min, (unsigned long long)option->max, text);
    }
    return mim_error_set(reterr, MIM_E_USAGE, "--%s must be %s, not \"%s\"", option->name,
                         option->type == MIM_OPTION_SIZE   ? "a size like 512m or 8g"
                         : option->type == MIM_OPTION_FLAG ? "yes or no"
                         : option->type == MIM_OPTION_PORT ? "a number from 0 to 65535, or none"
                                                           : option->value,
                         text);
}

/** Puts a value's text where the option wants it. */
static int option_set(const struct mim_option *option, const char *text, struct mim_error *reterr) {
    bool good = true;
    uint64_t number = 0;
    const char *end = "";
    switch (option->type) {
    case MIM_OPTION_TEXT:
        *(const char **)option->target = text;
        break;
    case MIM_OPTION_UNSIGNED:
    case MIM_OPTION_SIZE:
        good = option->type == MIM_OPTION_SIZE ? parse_size(text, &number)
                                               : parse_unsigned(text, &number, &end) && *end == '\0';
        good = good && number >= option->min && (option->max == 0 || number <= option->max);
        if (good) {
            *(uint64_t *)option->target = number;
        }
        break;
    case MIM_OPTION_FLAG:
        good = parse_flag(text, option->target);
        break;
    case MIM_OPTION_PORT:
        number = MIM_PORT_NONE;
        good = strcmp(text, "none") == 0 || (parse_unsigned(text, &number, &end) && *end == '\0' && number <= 65535);
        if (good) {
            *(uint64_t *)option->target = number;
        }
        break;
    case MIM_OPTION_DURABILITY:
        good = parse_durability(text, option->target);
        break;
    default:
        break;
    }
    return good ? 0 : option_wrong(option, text, reterr);
}

static const struct mim_option *option_find(const struct mim_options *options, const char *name, size_t size) {
    for (size_t i = 0; i < options->count; i++) {
        if (strlen(options->items[i].name) == size && memcmp(options->items[i].name, name, size) == 0) {
            return &options->items[i];
        }
    }
    return NULL;
}

/** One "--name", "--name=value" or "--name value"; returns how many words it took, or a code. */
static int option_from_words(const struct mim_options *options, char **words, int count, struct mim_error *reterr) {
    const char *name = words[0] + 2;
    const char *equals = strchr(name, '=');
    size_t size = equals == NULL ? strlen(name) : (size_t)(equals - name);
    const struct mim_option *option = option_find(options, name, size);
    if (option == NULL) {
        return mim_error_set(reterr, MIM_E_USAGE, "unknown option --%.*s (see --help)", (int)size, name);
    }
    if (option->type == MIM_OPTION_FLAG && equals == NULL) {
        *(bool *)option->target = true;
        return 1;
    }
    if (equals == NULL && count < 2) {
        return mim_error_set(reterr, MIM_E_USAGE, "--%s wants a value", option->name);
    }
    int rc = option_set(option, equals != NULL ? equals + 1 : words[1], reterr);
    return rc != 0 ? rc : equals != NULL ? 1 : 2;
}

int mim_options_parse(const struct mim_options *options, int argc, char **argv, int *ret_positional,
                      struct mim_error *reterr) {
    int positional = 0;
    bool ended = false;
    for (int i = 1; i < argc;) {
        if (!ended && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            mim_options_help(options);
            return 1;
        }
        if (!ended && strcmp(argv[i], "--") == 0) {
            ended = true;
            i++;
        } else if (!ended && strncmp(argv[i], "--", 2) == 0) {
            int taken = option_from_words(options, &argv[i], argc - i, reterr);
            if (taken < 0) {
                return taken;
            }
            i += taken;
        } else if (!ended && argv[i][0] == '-' && argv[i][1] != '\0') {
            return mim_error_set(reterr, MIM_E_USAGE, "unknown option %s (see --help)", argv[i]);
        } else {
            argv[positional++] = argv[i++];
        }
    }
    *ret_positional = positional;
    return 0;
}

int mim_options_none(char **argv, int positional, struct mim_error *reterr) {
    return positional == 0 ? 0 : mim_error_set(reterr, MIM_E_USAGE, "unexpected argument \"%s\" (see --help)", argv[0]);
}

int mim_options_want(char **argv, int positional, const char *dir, struct mim_error *reterr) {
    int rc = mim_options_none(argv, positional, reterr);
    if (rc != 0 || dir != NULL) {
        return rc;
    }
    return mim_error_set(reterr, MIM_E_USAGE, "--dir DIR is missing (see --help)");
}

#define CONFIG_SIZE_MAX (1u << 20)

/** The text of a configuration file, which options borrow: kept, and reachable, for the life of the process. */
struct kept_text {
    struct kept_text *next;
    char text[];
};
static struct kept_text *kept_texts;

static char *file_read(const char *path, struct mim_error *reterr) {
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        (void)mim_error_os(reterr, MIM_E_USAGE, errno, "configuration file %s", path);
        return NULL;
    }
    static char text[CONFIG_SIZE_MAX];
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    text[size] = '\0';
    bool bad = ferror(file) != 0 || size == sizeof(text) - 1 || strlen(text) != size;
    (void)fclose(file);
    struct kept_text *kept = bad ? NULL : malloc(sizeof(*kept) + size + 1);
    if (kept == NULL) {
        (void)mim_error_set(reterr, MIM_E_USAGE,
                            "configuration file %s cannot be read, or is no text of less than 1 MiB", path);
        return NULL;
    }
    memcpy(kept->text, text, size + 1);
    kept->next = kept_texts;
    kept_texts = kept;
    return kept->text;
}

/** Cuts "name value" or "name = value" out of a line in place. False: nothing on it. */
static bool line_split(char *line, char **ret_name, char **ret_value) {
    while (isspace((unsigned char)*line)) {
        line++;
    }
    if (*line == '\0' || *line == '#') {
        return false;
    }
    *ret_name = line;
    line += strcspn(line, " \t=");
    char *value = line + strspn(line, " \t");
    value += *value == '=' ? 1 : 0;
    value += strspn(value, " \t");
    *line = '\0';
    size_t size;
    if (*value == '"' || *value == '\'') {
        size = strcspn(value + 1, *value == '"' ? "\"" : "'");
        value++;
    } else {
        size = strlen(value);
        char *comment = strstr(value, " #");
        size = comment != NULL ? (size_t)(comment - value) : size;
        while (size > 0 && isspace((unsigned char)value[size - 1])) {
            size--;
        }
    }
    value[size] = '\0';
    *ret_value = value;
    return true;
}

int mim_options_file(const struct mim_options *options, const char *path, struct mim_error *reterr) {
    char *text = file_read(path, reterr);
    if (text == NULL) {
        return MIM_E_USAGE;
    }
    unsigned number = 1;
    char *next = text;
    for (char *line = text; line != NULL; line = next, number++) {
        next = strchr(line, '\n');
        if (next != NULL) {
            *next++ = '\0';
        }
        char *name;
        char *value;
        if (!line_split(line, &name, &value)) {
            continue;
        }
        const struct mim_option *option = option_find(options, name, strlen(name));
        int rc = option == NULL || strcmp(name, "config") == 0
                     ? mim_error_set(reterr, MIM_E_USAGE, "unknown option \"%s\"", name)
                     : option_set(option, value, reterr);
        if (rc != 0) {
            return mim_error_prefix(reterr, "%s:%u", path, number);
        }
    }
    return 0;
}

void mim_options_help(const struct mim_options *options) {
    (void)printf("Usage: %s\n\n%s\n\n", options->usage, options->about);
    for (size_t i = 0; i < options->count; i++) {
        char left[64];
        const struct mim_option *option = &options->items[i];
        (void)snprintf(left, sizeof(left), "--%s%s%s", option->name, option->value == NULL ? "" : " ",
                       option->value == NULL ? "" : option->value);
        (void)printf("  %-34s %s\n", left, option->help);
    }
    (void)printf("  %-34s %s\n", "--help", "this text");
}

int mim_cli_fail(const char *name, const struct mim_error *error) {
    (void)fprintf(stderr, "memimage %s: %s\n", name, error->text);
    return mim_error_exit_status(error->code);
}
