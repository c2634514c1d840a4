/* The fused ops over experts as pass `fuse` builds them: their inputs, by place. The ops themselves
 * are in ops/experts_glu and ops/experts_sum. */
#pragma once

/* Where linear_experts has its inputs; the first three are linear's. */
enum {
    MICA_LINEAR_EXPERTS_X,
    MICA_LINEAR_EXPERTS_WEIGHT,
    MICA_LINEAR_EXPERTS_BIAS,
    MICA_LINEAR_EXPERTS_IDS,
    MICA_LINEAR_EXPERTS_LIST,
    MICA_LINEAR_EXPERTS_INPUTS,
};

/* experts_glu. With SCORES, IDS and LIST are 0. */
enum {
    MICA_EXPERTS_GLU_X,
    MICA_EXPERTS_GLU_WEIGHT, /* gates and ups; or gates */
    MICA_EXPERTS_GLU_BIAS,
    MICA_EXPERTS_GLU_IDS,
    MICA_EXPERTS_GLU_LIST,
    MICA_EXPERTS_GLU_UP_WEIGHT,
    MICA_EXPERTS_GLU_UP_BIAS,
    MICA_EXPERTS_GLU_SCORES,
    MICA_EXPERTS_GLU_NORM,
    MICA_EXPERTS_GLU_INPUTS,
};

/* experts_sum. With SCORES, IDS and SHARES are 0. */
enum {
    MICA_EXPERTS_SUM_X,
    MICA_EXPERTS_SUM_WEIGHT,
    MICA_EXPERTS_SUM_BIAS,
    MICA_EXPERTS_SUM_IDS,
    MICA_EXPERTS_SUM_SHARES,
    MICA_EXPERTS_SUM_SCORES,
    MICA_EXPERTS_SUM_RESIDUAL,
    MICA_EXPERTS_SUM_INPUTS,
};

/* What becomes of the scores of the chosen experts: parameter "shares" of experts_sum. */
typedef enum mica_expert_shares {
    MICA_EXPERT_SHARES_PLAIN,   /* they are the shares */
    MICA_EXPERT_SHARES_SOFTMAX, /* over the chosen */
    MICA_EXPERT_SHARES_SUM,     /* divided by their sum */
    MICA_EXPERT_SHARES_COUNT_,
} mica_expert_shares;
