/* SplitMix64. */
#include "random_ids.h"
#include <stdlib.h>

int32_t *cli_random_ids(size_t n, int64_t vocab_size) {
    int32_t *ids = calloc(n ? n : 1, sizeof *ids);
    uint64_t state = 0;
    for (size_t i = 0; ids && i < n; i++) {
        uint64_t z = (state += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        ids[i] = (int32_t)((z ^ (z >> 31)) % (uint64_t)vocab_size);
    }
    return ids;
}
