/* The program mica: finds the command and runs it. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "commands.h"
#include "interrupt.h"
#include "report.h"
#include "sigbus.h"
#include "text_page.h"

/* A model file must never get the number of a closed standard stream. Reads from and writes to the
 * stand-ins fail. */
static bool hold_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) != -1) continue;
        int flags = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
        if (open("/dev/null", flags) != fd) return false;
    }
    return true;
}

static int run_command(const cli_command *command, int argc, char **argv) {
    cli_options options;
    if (!cli_options_parse(command, argc, argv, &options)) return CLI_USAGE;
    if (options.help) {
        cli_help_print_command(command);
        return cli_output_close();
    }
    return command->run(&options);
}

static int fail_unknown(const char *name) {
    const cli_command *near = cli_command_nearest(name);
    const char *kind = name[0] == '-' ? "option" : "command";
    if (near) return cli_fail_usage("unknown %s %s (nearest: %s)", kind, name, near->name);
    return cli_fail_usage("unknown %s %s (mica help lists the commands)", kind, name);
}

int main(int argc, char **argv) {
    if (!hold_standard_streams()) return CLI_FAILED;
    cli_interrupt_install();
    cli_sigbus_install();
    if (argc < 2) return cli_fail_usage("a command is missing (mica help lists them)");
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    if (strcmp(name, "--version") == 0) name = "version";
    const cli_command *command = cli_command_find(name);
    return command ? run_command(command, argc - 2, argv + 2) : fail_unknown(name);
}
