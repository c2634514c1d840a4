/* The environment of the program: the only place that reads it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* The Hugging Face cache folder, or NULL. option: --cache-dir, which goes first. */
const char *cli_environment_cache(const char *option, char *out, size_t capacity);
/* The file of measured kernels (--autotune) in the user's cache folder, or NULL. */
const char *cli_environment_kernels(char *out, size_t capacity);
/* The folder of the demo model, or NULL. */
const char *cli_environment_demo(char *out, size_t capacity);
/* Escape sequences may be written to stdout: a terminal, and NO_COLOR is not set. */
bool cli_environment_has_colour(void);
