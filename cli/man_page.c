/* The man page (troff with the man macros) and the Markdown reference. */
#include <string.h>
#include "base/str.h"
#include "report.h"
#include "text_page.h"

/* Troff text: backslashes and hyphens are escaped, a control character at the start of a line is
 * guarded, \n begins a paragraph. */
static void print_troff(const char *text) {
    bool is_start = true;
    for (; *text; text++) {
        if (*text == '\n') {
            cli_output_format("\n.PP\n");
            is_start = true;
            continue;
        }
        if (is_start && (*text == '.' || *text == '\'')) cli_output_format("\\&");
        if (*text == '\\')
            cli_output_format("\\e");
        else if (*text == '-')
            cli_output_format("\\-");
        else
            cli_output(text, 1);
        is_start = false;
    }
}

static void print_troff_option(const cli_option *option, bool begins_group, void *context) {
    (void)begins_group;
    (void)context;
    cli_output_format(".TP\n\\fB");
    if (option->letter) cli_output_format("\\-%c\\fR, \\fB", option->letter);
    print_troff("--");
    print_troff(option->name);
    cli_output_format("\\fR");
    if (option->argument) {
        cli_output_format(" \\fI");
        print_troff(option->argument);
        cli_output_format("\\fR");
    }
    cli_output_format("\n");
    print_troff(option->help);
    cli_output_format("\n");
}

static void print_troff_command(const cli_command *command) {
    cli_output_format(".SS mica %s [\\fIOPTIONS\\fR] %s\n", command->name, command->arguments);
    print_troff(command->description);
    cli_output_format("\n");
    cli_options_visit(command->id, print_troff_option, NULL);
}

void cli_man_print(void) {
    cli_output_format(".TH MICA 1 \"\" \"mica %s\" \"User Commands\"\n", mica_version());
    cli_output_format(".SH NAME\nmica \\- run large language models from Hugging Face checkpoints\n"
                      ".SH SYNOPSIS\n\\fBmica\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR] "
                      "[\\fIARGUMENTS\\fR]\n.SH COMMANDS\n");
    for (size_t i = 0; i < CLI_COMMAND_COUNT_; i++) print_troff_command(&cli_command_table[i]);
    cli_output_format(".SH ENVIRONMENT\n");
    for (size_t i = 0; cli_environment[i][0]; i++) {
        cli_output_format(".TP\n\\fB%s\\fR\n", cli_environment[i][0]);
        print_troff(cli_environment[i][1]);
        cli_output_format("\n");
    }
    cli_output_format(".SH EXIT STATUS\n0: done. 1: the job failed. 2: the command line is wrong. "
                      "130: ended by Ctrl\\-C. Errors are one line on standard error.\n"
                      ".SH EXAMPLES\n.nf\n"
                      "mica run demo \"Count from 3 to 9.\"\n"
                      "mica run \\-\\-raw \\-\\-temp 0 \\-n 32 demo \"In the beginning\"\n"
                      "mica show \\-\\-json demo\n.fi\n");
}

/* ---- Markdown ---- */

static void print_markdown_option(const cli_option *option, bool begins_group, void *context) {
    char heading[128];
    (void)context;
    if (begins_group) cli_output_format("\n| %s | |\n| --- | --- |\n", option->group);
    cli_option_heading(option, heading, sizeof heading);
    const char *start = heading + strspn(heading, " ");
    cli_output_format("| `");
    for (; *start; start++) cli_output_format("%s%c", *start == '|' ? "\\" : "", *start);
    cli_output_format("` | %s |\n", option->help);
}

static void print_paragraphs(const char *text) {
    for (; *text; text++) cli_output_format("%s%c", *text == '\n' ? "\n" : "", *text);
    cli_output_format("\n");
}

void cli_markdown_print(void) {
    cli_output_format("# Commands\n\nMade by `mica help --markdown` from the tables that the "
                      "program parses its arguments with.\n\n"
                      "Exit codes: 0 done, 1 the job failed, 2 wrong usage, 130 ended by Ctrl-C. "
                      "Errors are one line on standard error; results go to standard output.\n\n"
                      "| Environment | |\n| --- | --- |\n");
    for (size_t i = 0; cli_environment[i][0]; i++)
        cli_output_format("| `%s` | %s |\n", cli_environment[i][0], cli_environment[i][1]);
    for (size_t i = 0; i < CLI_COMMAND_COUNT_; i++) {
        const cli_command *command = &cli_command_table[i];
        cli_output_format("\n## mica %s\n\n`mica %s [OPTIONS]%s%s`: %s\n\n", command->name,
                          command->name, command->arguments[0] ? " " : "", command->arguments,
                          command->summary);
        print_paragraphs(command->description);
        cli_options_visit(command->id, print_markdown_option, NULL);
    }
}
