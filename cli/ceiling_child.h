/* A probe in a child process: what it maps and allocates goes with it. */
#pragma once
#include "mica/status.h"

/* measure gives a rate above 0, or 0 when it could not; it runs in the child. The parent's threads
 * are not there in it. Errors: OUT_OF_MEMORY (`what` could not be measured). */
mica_status cli_ceiling_in_child(double (*measure)(const void *context), const void *context,
                                 const char *what, double *out, mica_error *err);

/* Bytes a second, the best of a few rounds: n_threads sum words[bytes], 64-byte aligned. Where
 * will_fill is true they are written first, each thread its part. 0 = failed. */
double cli_ceiling_sum(void *words, size_t bytes, int n_threads, bool will_fill);
