/* mica help, and mica completion: texts made from the tables. */
#include <string.h>
#include "commands.h"
#include "report.h"
#include "text_page.h"

static int fail_unknown(const char *name) {
    const cli_command *near = cli_command_nearest(name);
    if (near) return cli_fail_usage("unknown command %s (nearest: %s)", name, near->name);
    return cli_fail_usage("unknown command %s (mica help lists them)", name);
}

int cmd_help(const cli_options *o) {
    const cli_command *command = o->n_arguments > 0 ? cli_command_find(o->arguments[0]) : NULL;
    if (o->n_arguments > 0 && !command) return fail_unknown(o->arguments[0]);
    if (o->man)
        cli_man_print();
    else if (o->markdown)
        cli_markdown_print();
    else if (command)
        cli_help_print_command(command);
    else
        cli_help_print_overview();
    return cli_output_close();
}

int cmd_completion(const cli_options *o) {
    const char *shell = o->arguments[0];
    if (strcmp(shell, "bash") == 0)
        cli_completion_print_bash();
    else if (strcmp(shell, "zsh") == 0)
        cli_completion_print_zsh();
    else if (strcmp(shell, "fish") == 0)
        cli_completion_print_fish();
    else
        return cli_fail_usage("completion: \"%s\", wanted bash, zsh or fish", shell);
    return cli_output_close();
}
