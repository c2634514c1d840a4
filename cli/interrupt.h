/* Ctrl-C: the first one asks for an end, the second one ends the program with code 130. */
#pragma once
#include <stdbool.h>

void cli_interrupt_install(void);
/* Ctrl-C was pressed since the last clear. */
bool cli_interrupt_is_requested(void);
void cli_interrupt_clear(void);
/* While a line is edited, Ctrl-C never ends the program by itself: the terminal is not in its usual
 * mode then. */
void cli_interrupt_set_editing(bool is_editing);
