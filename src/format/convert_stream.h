/* Carrying out one unit of a conversion: reading its sources a few rows at a time, turning them on
 * all threads, writing what comes of them. */
#pragma once
#include "base/thread_pool.h"
#include "format/convert_units.h"
#include "format/safetensors_writer.h"

/* Of the elements of one unit, or of many.
 * n            elements whose values were read: 0 when bytes were copied
 * error_squares   sum of the squares of all errors */
typedef struct convert_errors {
    uint64_t n;
    double value_max;
    double error_max;
    double error_squares;
} convert_errors;

/* Takes part in progress: bytes more were written. False: stop. */
typedef struct convert_progress {
    bool (*take)(void *context, uint64_t bytes);
    void *context;
} convert_progress;

/* The outputs of u are declared in the writer, which is open. *errors is that of u alone. Memory:
 * some MiB, and the whole of those sources that are made from others (a recipe).
 * Errors: FORMAT for a value that is not finite where it is quantised, or too large for the new
 * type (naming tensor and place), and for scales that no file may have; IO, OUT_OF_MEMORY,
 * CANCELLED. */
mica_status convert_unit_run(const mica_host *host, mica_checkpoint *c, const convert_unit *u,
                             mica_thread_pool *pool, mica_safetensors_writer *w,
                             const convert_progress *progress, convert_errors *errors,
                             mica_error *err);
/* Adds b to a. */
void convert_errors_add(convert_errors *a, const convert_errors *b);
