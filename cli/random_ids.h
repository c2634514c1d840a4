/* Token ids for measuring speed: no tokenizer is needed, and the lengths are exact. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* n ids below vocab_size, the same on every machine. NULL: no memory. The caller frees them. */
int32_t *cli_random_ids(size_t n, int64_t vocab_size);
