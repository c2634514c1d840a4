/* A backend that plans and counts but computes nothing: memory is real, results are undefined.
 * For tests of everything around the kernels, and to see what a plan would do. */
#pragma once
#include "core/backend.h"

extern const mica_backend mica_backend_null;
