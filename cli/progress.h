/* A progress bar on stderr, for jobs of more than a second and terminals only. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef struct cli_progress {
    bool is_wanted; /* stderr is a terminal and the job has no other use for it */
    bool is_drawn;
    double start_seconds; /* 0 = not begun */
    double drawn_seconds; /* last time */
    const char *stage;
} cli_progress;

void cli_progress_init(cli_progress *p, bool is_wanted);
/* A mica_progress_callback whose context is a cli_progress. False once Ctrl-C was pressed. */
bool cli_progress_take(void *context, const char *stage, uint64_t done, uint64_t total);
/* Takes the bar off the screen. */
void cli_progress_clear(cli_progress *p);
