/* Importing the quantised checkpoints of other programs (AWQ, GPTQ, compressed-tensors, ModelOpt,
 * block FP8): their tensors are rewritten to MLX's layout (checkpoint_rewrite.h, docs/formats.md),
 * which is the only one that the loader knows. Which program wrote a checkpoint is told by
 * quantization_config.quant_method (mica_config_quant). */
#pragma once
#include "format/checkpoint.h"
#include "format/config.h"

/* Rewrites the tensor list of c, between open and the first expect, from what config->quant says.
 * Afterwards config->quant_mlx tells how modules are stored (absent when all were dequantised) and
 * config->quant is empty. Plain, HF mxfp4 (gpt-oss) and MLX checkpoints, and their configs, stay as
 * they are. Logs how. Only lists change: a tensor is made when it is asked for.
 * Errors: UNSUPPORTED for a kind of quantisation that has no exact place here (naming what was
 * seen); FORMAT for tensors whose shapes or dtypes contradict the config or each other (naming the
 * tensor, with both shapes); NOT_FOUND for a missing part; OUT_OF_MEMORY. After an error neither c
 * nor config may be used, only closed. Threads: one at a time for c and config. */
mica_status mica_checkpoint_import(mica_checkpoint *c, mica_config *config, mica_error *err);
