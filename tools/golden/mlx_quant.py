#!/usr/bin/env python3
"""Quantised tensors made and decoded by MLX: what the decoder and the encoder are tested against.

    mlx_quant.py OUT.safetensors [--rows N] [--columns K] [--seed S]

Every mode x bits x group of MLX (affine with f32 and with one type of 16-bit scales). For each,
`<mode>.<bits>.<group>.<scales>.weight`, `.scales`, and where there are any `.biases` or
`.global_scale` (nvfp4: the factor, G / 2688) are what mx.quantize gives for the tensor `input`,
rounded to the type of the scales; `.values` is mx.dequantize in float32. For 16-bit scales that is
with scales and biases widened to float32 first: MLX's CPU rounds product and sum each to the type of
the scales, as `.native` shows (one case a type). `codes.*` are decoded from chosen codes and scales:
every code at the edges of the scales.

The default size gives tests/data/quant/mlx.safetensors; larger ones are read by
`mlx_quant_test FILE`. Needs mlx (pip install "mlx[cpu]") and numpy; neither the build nor the tests
use it.
"""
import argparse

import mlx.core as mx
import numpy as np

BITS = (2, 3, 4, 5, 6, 8)
GROUPS = (32, 64, 128)
TYPES = {"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16}


def make_input(rows, columns, seed):
    """Normal values; the first rows hold groups that are zero, constant, of one sign, tiny, huge."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((rows, columns)).astype(np.float32)
    w[0, 0:32] = 0.0
    w[0, 32:64] = -0.0
    w[0, 64:96] = 0.375
    w[0, 96:128] = -np.abs(w[0, 96:128]) - 1.0  # all negative
    w[0, 128:160] = np.abs(w[0, 128:160]) + 1.0
    w[0, 160:192] *= 1e-6
    w[0, 192:224] *= 1e4
    w[0, 224:256] *= 0.01
    w[0, 230] = 100.0  # an outlier
    w[1, 0:32] = np.arange(32) - 15.5
    w[1, 32:64] = -7.0
    w[1, 64:96] = np.where(np.arange(32) % 2, 1.0, -1.0)
    return mx.array(w)


def put(out, name, w, scales, values, biases=None, factor=None):
    out[f"{name}.weight"] = w
    out[f"{name}.scales"] = scales
    out[f"{name}.values"] = values
    if biases is not None:
        out[f"{name}.biases"] = biases
    if factor is not None:
        out[f"{name}.global_scale"] = factor


def add_affine(out, w):
    for i, bits in enumerate(BITS):
        for j, group in enumerate(GROUPS):
            for scales in ("F32", ("F16", "BF16")[(i + j) % 2]):
                q, s, b = mx.quantize(w.astype(TYPES[scales]), group, bits)
                wide = (s.astype(mx.float32), b.astype(mx.float32))
                name = f"affine.{bits}.{group}.{scales}"
                put(out, name, q, s, mx.dequantize(q, *wide, group, bits), b)
                if scales != "F32" and (bits, group) in ((4, 32), (4, 64)):
                    native = mx.dequantize(q, s, b, group, bits)
                    out[f"{name}.native"] = native


def add_blocks(out, w):
    for mode, bits, group in (("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)):
        q, s = mx.quantize(w, group, bits, mode=mode)
        values = mx.dequantize(q, s, None, group, bits, mode=mode, dtype=mx.float32)
        put(out, f"{mode}.{bits}.{group}.U8", q, s, values)
    scale = mx.max(mx.abs(w))
    q, s = mx.quantize(w, 16, 4, mode="nvfp4", global_scale=scale)
    values = mx.dequantize(q, s, None, 16, 4, mode="nvfp4", global_scale=scale, dtype=mx.float32)
    factor = (scale / mx.array(2688.0)).reshape(1)
    put(out, "nvfp4_scaled.4.16.U8", q, s, values, factor=factor)


def add_codes(out):
    """All 16 codes twice, or all 256 but the NaN codes, under scales at the edges."""
    nibbles = np.array([(2 * i % 16) | (2 * i + 1) % 16 << 4 for i in range(16)], np.uint8)
    e8m0 = np.array([0, 1, 2, 100, 126, 127, 128, 200, 253, 254], np.uint8)
    w = np.tile(nibbles, (len(e8m0), 1)).view(np.uint32)
    add_decoded(out, "mxfp4", 4, 32, w, e8m0.reshape(-1, 1))
    e4m3 = np.array([c for c in range(256) if c & 0x7F != 0x7F], np.uint8)
    rows = np.tile(nibbles[:8], (len(e4m3), 1)).view(np.uint32)
    add_decoded(out, "nvfp4", 4, 16, rows, e4m3.reshape(-1, 1))
    codes = np.concatenate([e4m3, e4m3[:2]])
    scales = np.array([0, 1, 120, 127, 140, 246], np.uint8)  # 448 * 2^119 still is finite
    w = np.tile(codes, (len(scales), 1)).view(np.uint32)
    add_decoded(out, "mxfp8", 8, 32, w, np.repeat(scales.reshape(-1, 1), 8, axis=1))


def add_decoded(out, mode, bits, group, w, scales):
    q, s = mx.array(w), mx.array(np.ascontiguousarray(scales))
    values = mx.dequantize(q, s, None, group, bits, mode=mode, dtype=mx.float32)
    put(out, f"codes.{mode}.{bits}.{group}.U8", q, s, values)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("out")
    p.add_argument("--rows", type=int, default=2)
    p.add_argument("--columns", type=int, default=256)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    mx.set_default_device(mx.cpu)
    w = make_input(a.rows, a.columns, a.seed)
    out = {"input": w}
    add_affine(out, w)
    add_blocks(out, w)
    add_codes(out)
    made_by = {"mlx": mx.__version__, "seed": str(a.seed), "shape": f"{a.rows} x {a.columns}"}
    mx.save_safetensors(a.out, out, made_by)
    print(f"{a.out}: {len(out)} tensors, mlx {mx.__version__}, seed {a.seed}")


if __name__ == "__main__":
    main()
