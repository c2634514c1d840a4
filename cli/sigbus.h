/* A model file that shrinks while it is mapped would kill the program by SIGBUS. Instead the lost
 * pages read as zeros, and the running load or request fails. */
#pragma once
#include <stdbool.h>
#include "mica/status.h"

void cli_sigbus_install(void);
/* Whether a page was lost since the start. */
bool cli_sigbus_happened(void);
/* IO with a message when a page was lost, else OK. */
mica_status cli_sigbus_check(mica_error *err);
