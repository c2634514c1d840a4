/* The handler only sets a flag, or leaves. */
#include "interrupt.h"
#include <signal.h>
#include <stddef.h>
#include <unistd.h>
#include "report.h"

static volatile sig_atomic_t is_requested;
static volatile sig_atomic_t is_editing;

static void take_signal(int number) {
    (void)number;
    if (is_requested && !is_editing) _exit(CLI_INTERRUPTED);
    is_requested = 1;
}

void cli_interrupt_install(void) {
    struct sigaction action = {.sa_handler = take_signal};
    sigemptyset(&action.sa_mask);
    /* Without SA_RESTART: a read from the terminal returns. */
    sigaction(SIGINT, &action, NULL);
    /* A reader that is gone ends the program quietly, also under parents that ignore SIGPIPE. */
    signal(SIGPIPE, SIG_DFL);
}

bool cli_interrupt_is_requested(void) { return is_requested != 0; }

void cli_interrupt_clear(void) { is_requested = 0; }

void cli_interrupt_set_editing(bool on) { is_editing = on; }
