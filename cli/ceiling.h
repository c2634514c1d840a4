/* The limits of this machine that measured speeds are held against. Each probe uses as many threads
 * as the engine does and takes less than a second. */
#pragma once
#include "mica/mica.h"

typedef struct cli_ceilings {
    double read;  /* bytes a second from memory of a process */
    double file;  /* bytes a second from the mapped weights, once in the page cache; 0 = unknown */
    double fma;   /* f32 multiply-adds, two operations each, a second */
    double tiles; /* the same of bf16 matrix tiles (AMX); 0 = the processor has none */
} cli_ceilings;

/* Bytes a second that n_threads (0 = one per core) read together from memory that no cache holds:
 * the best of a few rounds. Runs in a child process, so that the peak memory of this one stays
 * its own. Errors: OUT_OF_MEMORY, UNAVAILABLE. */
mica_status cli_ceiling_read(int n_threads, double *out, mica_error *err);

/* The same from the beginning of a file that is mapped as the engine maps weights. *out = 0 when
 * the file is too small to miss the caches. Errors: as above, and those of opening. */
mica_status cli_ceiling_file(const char *path, int n_threads, double *out, mica_error *err);

/* Operations a second at the instruction set of the runtime (machine->level). */
mica_status cli_ceiling_fma(const mica_runtime_info *machine, double *out, mica_error *err);

/* *out = 0 when machine->features names no AMX, or the system does not permit it. */
mica_status cli_ceiling_tiles(const mica_runtime_info *machine, double *out, mica_error *err);

/* All of them; the file is the largest of the model's, path its folder or file. */
mica_status cli_ceilings_measure(const mica_model *model, const char *path,
                                 const mica_runtime_info *machine, cli_ceilings *out,
                                 mica_error *err);

/* Of multiply-adds: the faster of both units. */
static inline double cli_ceilings_flops(const cli_ceilings *c) {
    return c->tiles > c->fma ? c->tiles : c->fma;
}

/* The shortest time that so many bytes and operations can take here. */
static inline double cli_ceilings_seconds(const cli_ceilings *c, double bytes, double flops) {
    double memory = c->read > 0 ? bytes / c->read : 0;
    double arithmetic = cli_ceilings_flops(c) > 0 ? flops / cli_ceilings_flops(c) : 0;
    return memory > arithmetic ? memory : arithmetic;
}
