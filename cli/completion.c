/* Completion scripts. They are whole at the time they are made: no shell asks the program back. */
#include <string.h>
#include "report.h"
#include "text_page.h"

static void print_words(const char *words) {
    for (; *words; words++) cli_output_format("%c", *words == '|' ? ' ' : *words);
}

/* ---- bash ---- */

static void print_bash_name(const cli_option *option, bool begins_group, void *context) {
    (void)begins_group;
    (void)context;
    cli_output_format(" --%s", option->name);
    if (option->letter) cli_output_format(" -%c", option->letter);
}

static void print_bash_choice(const cli_option *option, bool begins_group, void *context) {
    (void)begins_group;
    if (option->kind != CLI_CHOICE) return;
    const cli_command *command = context;
    cli_output_format("        %s:--%s) words=\"", command->name, option->name);
    print_words(option->argument);
    cli_output_format("\" ;;\n");
}

static void print_bash_commands(void) {
    for (size_t i = 0; i < CLI_COMMAND_COUNT_; i++)
        cli_output_format("%s%s", i ? " " : "", cli_command_table[i].name);
}

void cli_completion_print_bash(void) {
    cli_output_format(
        "# bash completion of mica, made by mica completion bash\n"
        "_mica() {\n"
        "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
        "    local command=\"${COMP_WORDS[1]}\" words=\"\"\n"
        "    COMPREPLY=()\n"
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
        "        words=\"");
    print_bash_commands();
    cli_output_format("\"\n    else\n        case \"$command:$before\" in\n");
    for (size_t i = 0; i < CLI_COMMAND_COUNT_; i++)
        cli_options_visit(cli_command_table[i].id, print_bash_choice,
                          (void *)(uintptr_t)&cli_command_table[i]);
    cli_output_format("        completion:*) words=\"bash zsh fish\" ;;\n"
                      "        help:*) words=\"");
    print_bash_commands();
    cli_output_format("\" ;;\n        esac\n    fi\n"
                      "    case \"$word\" in -*) case \"$command\" in\n");
    for (size_t i = 0; i < CLI_COMMAND_COUNT_; i++) {
        cli_output_format("        %s) words=\"", cli_command_table[i].name);
        cli_options_visit(cli_command_table[i].id, print_bash_name, NULL);
        cli_output_format("\" ;;\n");
    }
    cli_output_format("    esac ;; esac\n"
                      "    if [ -n \"$words\" ]; then\n"
                      "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                      "    else\n"
                      "        COMPREPLY=($(compgen -f -- \"$word\"))\n"
                      "        [[ demo == \"$word\"* ]] && COMPREPLY+=(demo)\n"
                      "    fi\n"
                      "}\n"
                      "complete -o filenames -F _mica mica\n");
}

/* ---- zsh ---- */

/* Text inside '...[...]': quotes, brackets and colons are escaped. */
static void print_zsh_text(const char *text) {
    for (; *text; text++) {
        if (*text == '\'')
            cli_output_format("'\\''");
        else
            cli_output_format("%s%c", strchr("[]:\\", *text) ? "\\" : "", *text);
    }
}

static void print_zsh_option(const cli_option *option, bool begins_group, void *context) {
    (void)begins_group;
    (void)context;
    cli_output_format("                '%s--%s%s[", option->kind == CLI_TEXTS ? "*" : "",
                      option->name, option->argument ? "=" : "");
    print_zsh_text(option->help);
    cli_output_format("]");
    if (option->argument) {
        cli_output_format(":%s:", option->kind == CLI_PATH ? "file" : "value");
        if (option->kind == CLI_PATH) cli_output_format("_files");
        if (option->kind == CLI_CHOICE) {
            cli_output_format("(");
            print_words(option->argument);
            cli_output_format(")");
        }
    }
    cli_output_format("' \\\n");
}

void cli_completion_print_zsh(void) {
    cli_output_format("#compdef mica\n# zsh completion of mica, made by mica completion zsh\n"
                      "_mica() {\n    local -a commands\n    commands=(\n");
    for (size_t i = 0; i < CLI_COMMAND_COUNT_; i++)
        cli_output_format("        '%s:%s'\n", cli_command_table[i].name,
                          cli_command_table[i].summary);
    cli_output_format("    )\n    if (( CURRENT == 2 )); then\n"
                      "        _describe command commands\n        return\n    fi\n"
                      "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
                      "    case $command in\n");
    for (size_t i = 0; i < CLI_COMMAND_COUNT_; i++) {
        const cli_command *command = &cli_command_table[i];
        cli_output_format("        %s) _arguments \\\n", command->name);
        cli_options_visit(command->id, print_zsh_option, NULL);
        if (command->id == CLI_HELP) cli_output_format("                '1:command:(");
        if (command->id == CLI_HELP) print_bash_commands();
        if (command->id == CLI_HELP)
            cli_output_format(")' ;;\n");
        else if (command->id == CLI_COMPLETION)
            cli_output_format("                '1:shell:(bash zsh fish)' ;;\n");
        else
            cli_output_format("                '*:argument:_files' ;;\n");
    }
    cli_output_format("    esac\n}\n_mica \"$@\"\n");
}

/* ---- fish ---- */

static void print_fish_text(const char *text) {
    for (; *text; text++)
        cli_output_format("%s%c", *text == '\'' || *text == '\\' ? "\\" : "", *text);
}

static void print_fish_option(const cli_option *option, bool begins_group, void *context) {
    const cli_command *command = context;
    (void)begins_group;
    cli_output_format("complete -c mica -n '__fish_seen_subcommand_from %s' -l %s", command->name,
                      option->name);
    if (option->letter) cli_output_format(" -s %c", option->letter);
    if (option->argument) cli_output_format(option->kind == CLI_PATH ? " -r -F" : " -x");
    if (option->kind == CLI_CHOICE) {
        cli_output_format(" -a '");
        print_words(option->argument);
        cli_output_format("'");
    }
    cli_output_format(" -d '");
    print_fish_text(option->help);
    cli_output_format("'\n");
}

void cli_completion_print_fish(void) {
    cli_output_format("# fish completion of mica, made by mica completion fish\n");
    for (size_t i = 0; i < CLI_COMMAND_COUNT_; i++)
        cli_output_format("complete -c mica -n __fish_use_subcommand -f -a %s -d '%s'\n",
                          cli_command_table[i].name, cli_command_table[i].summary);
    for (size_t i = 0; i < CLI_COMMAND_COUNT_; i++)
        cli_options_visit(cli_command_table[i].id, print_fish_option,
                          (void *)(uintptr_t)&cli_command_table[i]);
    cli_output_format("complete -c mica -n '__fish_seen_subcommand_from completion' -f -a "
                      "'bash zsh fish'\n");
}
