/* The CPU backend: host memory, a thread pool, and a run that walks the steps on every worker. Its
 * result for a plan is what every other device is compared with. */
#pragma once
#include "core/backend.h"

extern const mica_backend mica_backend_cpu;
