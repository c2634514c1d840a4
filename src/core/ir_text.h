/* IR text beyond graph.h: printing with a note behind every line. Format (one node a line):
 *
 *     # comment
 *     %1 = input "x" : f32[4, 320] live=tokens @2+0
 *     %2 = weight "norm.weight" : bf16[320]
 *     %3 = data {value=1.5} : f32[]
 *     %4 = rms_norm(%1, %2) {eps=1e-05} : f32[4, 320] live=tokens @0+4096 kernel=rms_norm_avx2
 *     output %4
 *
 * Numbers count up from 1. A null input is `_`. Parameters that are zero are left out. Quantised
 * types: `mxfp4[32, 2880]`, `affine4g64[8, 64] scales=bf16`, and `decodes=f32` where decoded values
 * are not bf16. `@binding+offset` is the place, `kernel=` the variant, once they are known. */
#pragma once
#include "core/graph.h"

/* Appends what should follow the node's line, beginning with " #". */
typedef void (*mica_graph_note)(void *context, mica_ref ref, mica_str *out);

/* mica_graph_print with notes; note may be NULL. */
void mica_graph_print_noted(const mica_graph *g, const mica_ref *outputs, size_t n_outputs,
                            mica_graph_note note, void *context, mica_str *out);
