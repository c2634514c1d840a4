/* Help for terminals, and what the other forms share. */
#include <string.h>
#include "base/str.h"
#include "report.h"
#include "text_page.h"

#define COLUMNS 80
#define HELP_COLUMN 30

const char *const cli_environment[][2] = {
    {"MICA_DEMO", "folder of the model that the name demo stands for"},
    {"HF_HUB_CACHE", "the Hugging Face cache; then HUGGINGFACE_HUB_CACHE, HF_HOME/hub, "
                     "XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub"},
    {"XDG_CACHE_HOME", "the user's cache folder, for --autotune; then ~/.cache"},
    {"NO_COLOR", "when set and not empty: no colours"},
    {NULL, NULL},
};

void cli_option_heading(const cli_option *option, char *out, size_t capacity) {
    char letter[8] = "    ";
    if (option->letter) mica_format(letter, sizeof letter, "-%c, ", option->letter);
    mica_format(out, capacity, "%s--%s%s%s", letter, option->name, option->argument ? " " : "",
                option->argument ? option->argument : "");
}

static bool is_first_of_group(cli_command_id command, size_t index) {
    for (size_t i = 0; i < index; i++)
        if (cli_option_is_for(&cli_option_table[i], command) &&
            strcmp(cli_option_table[i].group, cli_option_table[index].group) == 0)
            return false;
    return true;
}

void cli_options_visit(cli_command_id command,
                       void (*visit)(const cli_option *option, bool begins_group, void *context),
                       void *context) {
    for (size_t i = 0; i < cli_option_count; i++) {
        const cli_option *first = &cli_option_table[i];
        if (!cli_option_is_for(first, command) || !is_first_of_group(command, i)) continue;
        for (size_t j = i; j < cli_option_count; j++) {
            const cli_option *option = &cli_option_table[j];
            if (cli_option_is_for(option, command) && strcmp(option->group, first->group) == 0)
                visit(option, j == i, context);
        }
    }
}

/* Breaks a text into lines of COLUMNS; `column` is where the first word goes. Ends the line. */
static void print_wrapped(const char *text, size_t indent, size_t column) {
    while (*text) {
        size_t word = strcspn(text, " \n");
        bool is_first = column == indent;
        if (!is_first && column + 1 + word > COLUMNS) {
            cli_output_format("\n%*s", (int)indent, "");
            column = indent;
            is_first = true;
        }
        cli_output_format("%s%.*s", is_first ? "" : " ", (int)word, text);
        column += word + !is_first;
        text += word;
        if (*text == '\n') {
            cli_output_format("\n\n%*s", (int)indent, "");
            column = indent;
        }
        if (*text) text++;
    }
    cli_output_format("\n");
}

static void print_option(const cli_option *option, bool begins_group, void *context) {
    char heading[128];
    (void)context;
    if (begins_group) cli_output_format("\n%s:\n", option->group);
    cli_option_heading(option, heading, sizeof heading);
    size_t used = strlen(heading) + 2;
    cli_output_format("  %s", heading);
    if (used + 2 > HELP_COLUMN)
        cli_output_format("\n%*s", HELP_COLUMN, "");
    else
        cli_output_format("%*s", HELP_COLUMN - (int)used, "");
    print_wrapped(option->help, HELP_COLUMN, HELP_COLUMN);
}

void cli_help_print_command(const cli_command *command) {
    cli_output_format("mica %s: %s\n\nUsage: mica %s [OPTIONS]%s%s\n\n", command->name,
                      command->summary, command->name, command->arguments[0] ? " " : "",
                      command->arguments);
    print_wrapped(command->description, 0, 0);
    cli_options_visit(command->id, print_option, NULL);
}

void cli_help_print_overview(void) {
    cli_output_format("mica %s: runs large language models from Hugging Face checkpoints\n\n"
                      "Usage: mica COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n",
                      mica_version());
    for (size_t i = 0; i < CLI_COMMAND_COUNT_; i++)
        cli_output_format("  %-12s%s\n", cli_command_table[i].name, cli_command_table[i].summary);
    cli_output_format("\nEnvironment:\n");
    for (size_t i = 0; cli_environment[i][0]; i++) {
        cli_output_format("  %-14s", cli_environment[i][0]);
        print_wrapped(cli_environment[i][1], 16, 16);
    }
    cli_output_format("\nmica help COMMAND, or mica COMMAND --help, explains one. To begin with:\n"
                      "  mica run demo \"Count from 3 to 9.\"\n"
                      "\nExit codes: 0 done, 1 the job failed, 2 wrong usage.\n");
}
