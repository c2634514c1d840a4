/* Packing: where in one stretch of memory blocks lie that are alive for a while each. Used by pass
 * place, once for each of its regions. */
#pragma once
#include "plan/draft.h"

/* Alive from time `begin` to time `end`, both included. */
typedef struct mica_block {
    uint64_t bytes;  /* a multiple of MICA_PLAN_ALIGNMENT */
    uint64_t offset; /* the result */
    uint32_t begin;
    uint32_t end;
} mica_block;

typedef struct mica_packing {
    mica_block *blocks; /* by begin, ascending */
    size_t n;
    uint32_t n_times;     /* all times are below it */
    uint64_t peak_bytes;  /* the result: the end of the last block */
    uint64_t floor_bytes; /* what is alive at once at the worst time: no packing needs less */
} mica_packing;

/* Sets the offsets so that no two blocks that are alive at one time overlap. The result depends on
 * the blocks alone. Working memory is the draft's scratch. Errors: LIMIT, OUT_OF_MEMORY. */
mica_status mica_pack(mica_draft *d, mica_packing *p, mica_error *err);
