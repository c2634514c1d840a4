/* Small computations whose results are known: the self-test of mica doctor. */
#pragma once
#include "mica/mica.h"

/* A check: builds its array in g. The answer is the sum of out[i] * weight(i) over its elements. */
typedef struct cli_known_answer {
    const char *name;
    mica_array (*build)(mica_graph *g);
    double answer;    /* computed in float64 by tools/known_answers.py */
    double tolerance; /* float32 sums of that many products, with room for other orders */
} cli_known_answer;

extern const cli_known_answer cli_known_answers[];
extern const size_t cli_known_answer_count;

/* Computes one on a runtime. *seen: the answer found; NaN when the result holds one. */
mica_status cli_known_answer_run(const cli_known_answer *k, mica_runtime *runtime, double *seen,
                                 mica_error *err);
