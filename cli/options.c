/* Parsing of a command's arguments by the option table. */
#include "options.h"
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "report.h"

#define WORD_BYTES_MAX 63

/* ---- nearest words ---- */

static size_t min3(size_t a, size_t b, size_t c) {
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Edits (insert, remove, replace, swap neighbours) from a to b; words longer than WORD_BYTES_MAX
 * are far from everything. */
static size_t edit_distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    size_t rows[3][WORD_BYTES_MAX + 2];
    if (n > WORD_BYTES_MAX || m > WORD_BYTES_MAX) return WORD_BYTES_MAX;
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    memset(rows, 0, sizeof rows);
    for (size_t j = 0; j <= m; j++) above[j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (is_swap && before[j - 2] + 1 < row[j]) row[j] = before[j - 2] + 1;
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[m];
}

/* Near: fewer edits than half of the word. */
static bool is_near(const char *seen, size_t distance) { return distance * 2 <= strlen(seen) + 1; }

const cli_command *cli_command_find(const char *name) {
    for (size_t i = 0; i < CLI_COMMAND_COUNT_; i++)
        if (strcmp(cli_command_table[i].name, name) == 0) return &cli_command_table[i];
    return NULL;
}

const cli_command *cli_command_nearest(const char *name) {
    const cli_command *nearest = NULL;
    size_t least = WORD_BYTES_MAX;
    for (size_t i = 0; i < CLI_COMMAND_COUNT_; i++) {
        size_t distance = edit_distance(name, cli_command_table[i].name);
        if (distance < least) {
            least = distance;
            nearest = &cli_command_table[i];
        }
    }
    return is_near(name, least) ? nearest : NULL;
}

static const cli_option *nearest_option(const cli_command *command, const char *name) {
    const cli_option *nearest = NULL;
    size_t least = WORD_BYTES_MAX;
    for (size_t i = 0; i < cli_option_count; i++) {
        const cli_option *option = &cli_option_table[i];
        if (!cli_option_is_for(option, command->id)) continue;
        size_t distance = edit_distance(name, option->name);
        if (distance < least) {
            least = distance;
            nearest = option;
        }
    }
    return is_near(name, least) ? nearest : NULL;
}

/* ---- values ---- */

typedef struct parser {
    const cli_command *command;
    int argc;
    char **argv;
    int next; /* index of the next word */
    cli_options *out;
} parser;

/* "--name" or "-n", for messages. */
static const char *spelling(const cli_option *option, char out[40]) {
    mica_format(out, 40, "--%s", option->name);
    return out;
}

static bool fail_value(const cli_option *option, const char *value, const char *wanted) {
    char name[40];
    cli_fail_usage("%s: \"%s\", wanted %s", spelling(option, name), value, wanted);
    return false;
}

static bool fail_range(const cli_option *option, const char *value) {
    char wanted[80], low[32], high[32];
    mica_format_double(option->min, low);
    mica_format_double(option->max, high);
    bool is_count = option->kind != CLI_NUMBER;
    if (is_count)
        mica_format(wanted, sizeof wanted, "a whole number from %lld to %lld",
                    (long long)option->min, (long long)option->max);
    else
        mica_format(wanted, sizeof wanted, "a number from %s to %s", low, high);
    return fail_value(option, value, wanted);
}

static bool parse_count(const cli_option *option, mica_slice text, int64_t *out) {
    int64_t v = 0;
    if (!mica_parse_i64(text, &v) || (double)v < option->min || (double)v > option->max)
        return false;
    *out = v;
    return true;
}

static bool set_count(const cli_option *option, const char *value, cli_count *out) {
    if (!parse_count(option, mica_slice_from(value), &out->value)) return fail_range(option, value);
    out->is_set = true;
    return true;
}

static bool set_number(const cli_option *option, const char *value, cli_number *out) {
    double v = 0;
    if (!mica_parse_double(mica_slice_from(value), &v) || v < option->min || v > option->max)
        return fail_range(option, value);
    *out = (cli_number){true, v};
    return true;
}

static bool set_bytes(const cli_option *option, const char *value, cli_count *out) {
    static const char units[] = "KMGT";
    size_t bytes = strlen(value);
    const char *unit = bytes > 0 ? strchr(units, value[bytes - 1]) : NULL;
    double v = 0, scale = 1;
    if (unit) {
        bytes--;
        for (const char *u = units; u <= unit; u++) scale *= 1024;
    }
    bool is_number = mica_parse_double(mica_slice_of(value, bytes), &v);
    if (!is_number || v * scale < option->min || v * scale > option->max)
        return fail_value(option, value, "a number of bytes like 800M or 12.5G");
    *out = (cli_count){true, (int64_t)(v * scale)};
    return true;
}

static bool set_counts(const cli_option *option, const char *value, cli_counts *out) {
    const char *start = value;
    out->n = 0;
    for (;;) {
        const char *comma = strchr(start, ',');
        size_t bytes = comma ? (size_t)(comma - start) : strlen(start);
        if (out->n == CLI_LIST_MAX) return fail_value(option, value, "at most 16 numbers");
        if (!parse_count(option, mica_slice_of(start, bytes), &out->values[out->n]))
            return fail_range(option, value);
        out->n++;
        if (!comma) return true;
        start = comma + 1;
    }
}

static bool add_text(const cli_option *option, const char *value, cli_texts *out) {
    if (out->n == CLI_LIST_MAX) return fail_value(option, value, "at most 16 of them");
    out->values[out->n++] = value;
    return true;
}

static bool set_choice(const cli_option *option, const char *value, const char **out) {
    const char *word = option->argument;
    size_t bytes = strlen(value);
    while (word) {
        const char *bar = strchr(word, '|');
        size_t n = bar ? (size_t)(bar - word) : strlen(word);
        if (n == bytes && memcmp(word, value, n) == 0) {
            *out = value;
            return true;
        }
        word = bar ? bar + 1 : NULL;
    }
    return fail_value(option, value, option->argument);
}

static bool set_value(parser *p, const cli_option *option, const char *value) {
    void *field = (char *)p->out + option->offset;
    char name[40];
    if (option->kind != CLI_FLAG && !mica_utf8_is_valid(value, strlen(value)) &&
        option->kind != CLI_PATH) {
        cli_fail_usage("%s: the value is not UTF-8", spelling(option, name));
        return false;
    }
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)field = true;
        return true;
    case CLI_COUNT:
        return set_count(option, value, field);
    case CLI_BYTES:
        return set_bytes(option, value, field);
    case CLI_NUMBER:
        return set_number(option, value, field);
    case CLI_TEXT:
    case CLI_PATH:
        *(const char **)field = value;
        return true;
    case CLI_CHOICE:
        return set_choice(option, value, field);
    case CLI_COUNTS:
        return set_counts(option, value, field);
    case CLI_TEXTS:
        return add_text(option, value, field);
    }
    return false;
}

/* ---- words ---- */

static const cli_option *find_option(const cli_command *command, mica_slice name, char letter) {
    for (size_t i = 0; i < cli_option_count; i++) {
        const cli_option *option = &cli_option_table[i];
        if (!cli_option_is_for(option, command->id)) continue;
        if (letter ? option->letter == letter : mica_slice_is(name, option->name)) return option;
    }
    return NULL;
}

/* Gives the option its value: what stands after "=" or the letter, or else the next word. */
static bool take_option(parser *p, const cli_option *option, const char *attached) {
    char name[40];
    if (option->kind == CLI_FLAG) {
        if (!attached) return set_value(p, option, "");
        cli_fail_usage("%s takes no value, but \"%s\" is given", spelling(option, name), attached);
        return false;
    }
    if (attached) return set_value(p, option, attached);
    if (p->next >= p->argc) {
        cli_fail_usage("%s needs a value: %s", spelling(option, name), option->argument);
        return false;
    }
    return set_value(p, option, p->argv[p->next++]);
}

static bool fail_unknown(const parser *p, const char *word, const char *name) {
    const cli_option *near = nearest_option(p->command, name);
    if (near)
        cli_fail_usage("%s: unknown option %s (nearest: --%s)", p->command->name, word, near->name);
    else
        cli_fail_usage("%s: unknown option %s (mica help %s lists them)", p->command->name, word,
                       p->command->name);
    return false;
}

static bool take_long(parser *p, const char *word) {
    const char *equals = strchr(word, '=');
    mica_slice name =
        mica_slice_of(word + 2, equals ? (size_t)(equals - word) - 2 : strlen(word) - 2);
    const cli_option *option = find_option(p->command, name, 0);
    if (option) return take_option(p, option, equals ? equals + 1 : NULL);
    char seen[128];
    mica_format(seen, sizeof seen, "--%.*s", (int)(name.bytes < 100 ? name.bytes : 100), name.data);
    return fail_unknown(p, seen, seen + 2);
}

/* "-n 5", "-n5", "-hv". */
static bool take_short(parser *p, const char *word) {
    for (const char *c = word + 1; *c; c++) {
        const cli_option *option = find_option(p->command, mica_slice_of("", 0), *c);
        if (!option) return fail_unknown(p, word, word + 1);
        if (option->kind != CLI_FLAG) return take_option(p, option, c[1] ? c + 1 : NULL);
        if (!take_option(p, option, NULL)) return false;
    }
    return true;
}

static bool take_argument(parser *p, const char *word) {
    if (p->out->n_arguments == p->command->n_arguments_max) {
        cli_fail_usage("%s: unexpected argument \"%s\", wanted %s", p->command->name, word,
                       p->command->arguments[0] ? p->command->arguments : "none");
        return false;
    }
    p->out->arguments[p->out->n_arguments++] = word;
    return true;
}

static bool is_option_word(const char *word) { return word[0] == '-' && word[1] != '\0'; }

bool cli_options_parse(const cli_command *command, int argc, char **argv, cli_options *out) {
    parser p = {.command = command, .argc = argc, .argv = argv, .out = out};
    bool only_arguments = false;
    *out = (cli_options){0};
    while (p.next < argc) {
        const char *word = argv[p.next++];
        bool ok = true;
        if (!only_arguments && strcmp(word, "--") == 0)
            only_arguments = true;
        else if (only_arguments || !is_option_word(word))
            ok = take_argument(&p, word);
        else
            ok = word[1] == '-' ? take_long(&p, word) : take_short(&p, word);
        if (!ok) return false;
    }
    if (out->help || out->n_arguments >= command->n_arguments_min) return true;
    cli_fail_usage("%s: an argument is missing, wanted %s", command->name, command->arguments);
    return false;
}
