/* The bar: "weights  [#########           ]  47 %". */
#include "progress.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/thread_pool.h"
#include "interrupt.h"

#define DELAY_SECONDS 1.0
#define PERIOD_SECONDS 0.1
#define BAR_CELLS 40

void cli_progress_init(cli_progress *p, bool is_wanted) {
    *p = (cli_progress){.is_wanted = is_wanted && isatty(STDERR_FILENO)};
}

static void draw(cli_progress *p, const char *stage, uint64_t done, uint64_t total) {
    char bar[BAR_CELLS + 1];
    double share = total > 0 ? (double)done / (double)total : 0;
    if (share > 1) share = 1;
    size_t full = (size_t)(share * BAR_CELLS);
    memset(bar, ' ', BAR_CELLS);
    memset(bar, '#', full);
    bar[BAR_CELLS] = '\0';
    fprintf(stderr, "\r%-10s [%s] %3d %%", stage, bar, (int)(share * 100));
    fflush(stderr);
    p->is_drawn = true;
}

bool cli_progress_take(void *context, const char *stage, uint64_t done, uint64_t total) {
    cli_progress *p = context;
    if (cli_interrupt_is_requested()) return false;
    if (!p->is_wanted) return true;
    double now = mica_clock_seconds();
    if (p->start_seconds == 0) p->start_seconds = now;
    bool is_due = now - p->start_seconds > DELAY_SECONDS &&
                  (now - p->drawn_seconds > PERIOD_SECONDS || done == total);
    if (is_due) {
        p->drawn_seconds = now;
        draw(p, stage, done, total);
    }
    return true;
}

void cli_progress_clear(cli_progress *p) {
    if (p->is_drawn) fprintf(stderr, "\r%*s\r", BAR_CELLS + 24, "");
    p->is_drawn = false;
    p->start_seconds = 0;
}
