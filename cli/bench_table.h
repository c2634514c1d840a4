/* The results of mica bench beside the ceilings, as a table, JSON or CSV. */
#pragma once
#include <jansson.h>
#include "bench_tests.h"

/* format: "md" or "csv". Rows are written as they come. */
void cli_bench_print_head(const cli_bench *b, const char *format);
void cli_bench_print_row(const cli_bench *b, const cli_bench_test *t, const char *format);
void cli_bench_print_foot(const cli_bench *b, const char *format);

/* NULL: no memory. */
json_t *cli_bench_row_json(const cli_bench *b, const cli_bench_test *t);
/* Borrows rows. Errors: OUT_OF_MEMORY. */
mica_status cli_bench_print_json(const cli_bench *b, json_t *rows, mica_error *err);
