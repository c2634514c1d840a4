/* How people write a way of storing weights: "affine:4:64" (mode, bits, group), "mxfp4", "mxfp8",
 * "nvfp4", "none". */
#pragma once
#include "base/str.h"
#include "core/dtype.h"

/* Plain data. mode NONE: plain floats. */
typedef struct mica_quant_spec {
    uint8_t mode; /* mica_quant_mode */
    uint8_t bits;
    uint16_t group;
} mica_quant_spec;

/* The whole text must match. affine takes 4 bits and groups of 64 where they are not said; the
 * other modes have only one form, which may be said as well ("mxfp4:4:32").
 * Errors: INVALID, naming what is possible. */
mica_status mica_quant_spec_parse(mica_slice text, mica_quant_spec *out, mica_error *err);
/* "affine:4:64"; "none" for NONE. Returns out. */
const char *mica_quant_spec_format(mica_quant_spec spec, char out[32]);
bool mica_quant_spec_equal(mica_quant_spec a, mica_quant_spec b);
/* What MLX takes where bits and group are not said: affine 4 and 64. All 0 for NONE. */
mica_quant_spec mica_quant_spec_usual(int mode);
/* "affine", as config.json has it; "none" for NONE. */
const char *mica_quant_mode_name(int mode);
/* The type with scales (and biases) of that dtype, which counts for affine only. */
mica_quant mica_quant_spec_type(mica_quant_spec spec, mica_dtype scale_dtype);
