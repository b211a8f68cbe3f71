// SPDX-License-Identifier: MIT
// The configuration file and the command line: one table of options, any text. A file is read and set, or refused with a
// sentence; the same values on the command line give the same result.
#include <sys/mman.h>
#include <unistd.h>

#include "cli/options.h"
#include "fuzz.h"
#include "journal/writer.h"

struct values {
    const char *text;
    uint64_t number;
    uint64_t size;
    bool flag;
    struct mim_writer_options writer;
};

static struct values values;

static const struct mim_option items[] = {
    {.name = "dir", .type = MIM_OPTION_TEXT, .target = &values.text, .value = "DIR", .help = ""},
    {.name = "port", .type = MIM_OPTION_UNSIGNED, .target = &values.number, .value = "N", .help = "", .max = 65535},
    {.name = "memory-limit", .type = MIM_OPTION_SIZE, .target = &values.size, .value = "SIZE", .help = "", .min = 4},
    {.name = "keep-commands", .type = MIM_OPTION_FLAG, .target = &values.flag, .help = ""},
    {.name = "durability", .type = MIM_OPTION_DURABILITY, .target = &values.writer, .value = "MODE", .help = ""},
};
static const struct mim_options options = {
    .usage = "fuzz", .about = "", .items = items, .count = sizeof(items) / sizeof(items[0])};

static void check_values(void) {
    FUZZ_REQUIRE(values.number <= 65535);
    FUZZ_REQUIRE(values.size == 0 || values.size >= 4);
    FUZZ_REQUIRE(values.text == NULL || strlen(values.text) <= 1u << 20);
}

static void as_file(struct mim_slice text) {
    int fd = memfd_create("config", MFD_CLOEXEC);
    FUZZ_REQUIRE(fd >= 0 && write(fd, text.data, text.size) == (ssize_t)text.size);
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct mim_error error = {0};
    values = (struct values){0};
    int rc = mim_options_file(&options, path, &error);
    FUZZ_REQUIRE(rc == 0 || (rc == MIM_E_USAGE && error.text[0] != '\0'));
    check_values();
    (void)close(fd);
}

/** The same text, a word per line. */
static void as_words(struct mim_slice text) {
    enum { WORDS_MAX = 32 };
    char *words[WORDS_MAX + 2] = {(char[]){"fuzz"}};
    int count = 1;
    char *copy = malloc(text.size + 1);
    FUZZ_REQUIRE(copy != NULL);
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    for (char *word = strtok(copy, "\n"); word != NULL && count < WORDS_MAX; word = strtok(NULL, "\n")) {
        if (strcmp(word, "--help") != 0 && strcmp(word, "-h") != 0) { /* prints, nothing else */
            words[count++] = word;
        }
    }
    int positional = 0;
    struct mim_error error = {0};
    values = (struct values){0};
    int rc = mim_options_parse(&options, count, words, &positional, &error);
    FUZZ_REQUIRE(rc == 0 || (rc == MIM_E_USAGE && error.text[0] != '\0'));
    FUZZ_REQUIRE(rc != 0 || (positional >= 0 && positional < count));
    check_values();
    values = (struct values){0};
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* The text of a file is kept for the life of the process: not too many of them in one. */
    static unsigned files;
    struct fuzz_input in = {.data = data, .size = size};
    bool file = (fuzz_u8(&in) & 1) != 0;
    struct mim_slice text = fuzz_slice(&in, fuzz_left(&in));
    if (file && files++ < 1000000) {
        as_file(text);
    } else {
        as_words(text);
    }
    return 0;
}
