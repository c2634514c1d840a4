/* From the tensors of Hugging Face checkpoints to the names and shapes of MLX's, by rewriting the
 * list (checkpoint_rewrite.h); what has MLX's form already stays. docs/formats.md has the table.
 *     gpt_oss     experts' gate and up rows come apart, blocks become words; float experts
 *                 [e, k, n] are turned to [e, n, k]
 *     qwen3_moe   the matrices of all experts become one tensor, mlp.switch_mlp
 *     all         tensors that are never read go: precomputed rotations, the head of tied models */
#pragma once
#include "format/checkpoint.h"
#include "format/config.h"

/* Between mica_checkpoint_import and the first expect. config says which family.
 * Errors: UNSUPPORTED for a family without a row; NOT_FOUND and FORMAT for experts that are missing
 * or do not go together (naming the tensor, with both shapes); OUT_OF_MEMORY. */
mica_status mica_mlx_layout_apply(mica_checkpoint *c, const mica_config *config, mica_error *err);
