/* What the machine can read from memory, measured. */
#pragma once
#include "mica/status.h"

/* Bytes a second that n_threads read together (0 = all cores), sequentially, from a buffer that is
 * larger than the caches: the best of several rounds, in about a second. Runs in a process of its
 * own, so that the buffer does not count as memory of this one; call it before there are threads.
 */
mica_status cli_bandwidth_measure(int n_threads, double *out, mica_error *err);
