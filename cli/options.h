/* Commands and their options: two tables, from which parsing, --help, the man page, the completions
 * and docs/cli.md are made. A new option is one row in option_table.c and one field below; a new
 * command is one file cmd_<name>.c and one row in command_table.c. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_LIST_MAX 16
#define CLI_ARGUMENTS_MAX 4

typedef enum cli_command_id {
    CLI_RUN,
    CLI_CHAT,
    CLI_SHOW,
    CLI_TOKENIZE,
    CLI_RENDER,
    CLI_LOGITS,
    CLI_BENCH,
    CLI_PROFILE,
    CLI_EVAL,
    CLI_CONVERT,
    CLI_DOCTOR,
    CLI_VERSION,
    CLI_HELP,
    CLI_COMPLETION,
    CLI_COMMAND_COUNT_,
} cli_command_id;

typedef struct cli_count {
    bool is_set;
    int64_t value;
} cli_count;

typedef struct cli_number {
    bool is_set;
    double value;
} cli_number;

typedef struct cli_counts {
    size_t n;
    int64_t values[CLI_LIST_MAX];
} cli_counts;

typedef struct cli_texts {
    size_t n;
    const char *values[CLI_LIST_MAX];
} cli_texts;

/* What was asked for; NULL, false and is_set == false mean: not given. Texts are borrowed from
 * argv. */
typedef struct cli_options {
    const char *arguments[CLI_ARGUMENTS_MAX]; /* MODEL and so on */
    int n_arguments;
    bool help;

    cli_count max_tokens;
    const char *file;
    const char *system;
    const char *reasoning_effort;
    const char *chat_template;
    bool raw, json, show_reasoning, show_timings, verbose, exact, autotune;
    cli_texts stops;

    cli_number temperature, top_p, min_p;
    cli_number repeat_penalty, presence_penalty, frequency_penalty;
    cli_count top_k, seed;

    cli_count context, threads, memory_bytes;
    const char *cache_folder, *cpu_level, *no_pass, *dump;

    bool tensors;
    bool no_special, decode, jsonl;
    bool add_generation_prompt;
    bool all_positions;
    cli_count greedy;
    cli_counts prompt_tokens, generated_tokens;
    cli_counts depths;
    cli_count repetitions, prompt, depth;
    bool steps, no_ceilings;
    const char *trace, *graph;
    const char *format;
    const char *ppl, *kld, *text, *kld_mode, *score;
    bool ids, no_bos;
    cli_count stride;
    const char *quantize, *dtype, *recipe;
    cli_texts overrides;
    bool man, markdown;
} cli_options;

typedef enum cli_option_kind {
    CLI_FLAG,   /* bool */
    CLI_COUNT,  /* cli_count, min..max */
    CLI_BYTES,  /* cli_count; a number with an optional K, M, G or T (powers of 1024) */
    CLI_NUMBER, /* cli_number, min..max */
    CLI_TEXT,   /* const char * */
    CLI_PATH,   /* const char *, completed as a file name */
    CLI_CHOICE, /* const char *, one of the words in argument ("low|medium|high") */
    CLI_COUNTS, /* cli_counts: "128,512" */
    CLI_TEXTS,  /* cli_texts: may be given more than once */
} cli_option_kind;

/* One option. commands: bits 1 << cli_command_id. group: heading in the help. */
typedef struct cli_option {
    uint32_t commands;
    const char *name; /* without "--" */
    char letter;      /* 0 = none */
    const char *argument;
    cli_option_kind kind;
    size_t offset; /* in cli_options */
    double min, max;
    const char *group;
    const char *help;
} cli_option;

extern const cli_option cli_option_table[];
extern const size_t cli_option_count;

/* One command. run returns the exit code. */
typedef struct cli_command {
    cli_command_id id;
    const char *name;
    const char *arguments; /* "MODEL [PROMPT]" */
    int n_arguments_min, n_arguments_max;
    const char *summary;     /* one line */
    const char *description; /* paragraphs, separated by \n */
    int (*run)(const cli_options *o);
} cli_command;

extern const cli_command cli_command_table[CLI_COMMAND_COUNT_];

static inline bool cli_option_is_for(const cli_option *option, cli_command_id command) {
    return (option->commands >> command & 1u) != 0;
}

/* NULL when there is none of that name. */
const cli_command *cli_command_find(const char *name);
/* The command whose name is nearest to a mistyped one, or NULL when none is near. */
const cli_command *cli_command_nearest(const char *name);

/* Reads what follows the command's name. False: the line on stderr is written already. */
bool cli_options_parse(const cli_command *command, int argc, char **argv, cli_options *out);
