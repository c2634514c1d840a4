/* Help in its forms: on the terminal, as a man page, as Markdown; and the completion scripts. All
 * are made from the command and option tables. */
#pragma once
#include <stdio.h>
#include "options.h"

void cli_help_print_overview(void);
void cli_help_print_command(const cli_command *command);
void cli_man_print(void);
void cli_markdown_print(void);

/* Each writes one script to stdout. */
void cli_completion_print_bash(void);
void cli_completion_print_zsh(void);
void cli_completion_print_fish(void);

/* "-n, --max-tokens N" into out. */
void cli_option_heading(const cli_option *option, char *out, size_t capacity);
/* Calls visit for the options of a command, group by group, in the order of the table. */
void cli_options_visit(cli_command_id command,
                       void (*visit)(const cli_option *option, bool begins_group, void *context),
                       void *context);
/* The environment variables that the program reads, pairs {name, meaning}; ends with NULL. */
extern const char *const cli_environment[][2];
