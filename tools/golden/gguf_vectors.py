#!/usr/bin/env python3
"""Writes tests/data/gguf/blocks.gguf: random blocks of every GGUF type that mica takes, and beside
them the values that the `gguf` package decodes them to (bit for bit ggml's).

Tensors: <type>.blocks [rows, k] of the type itself, <type>.values [rows, k] F32. The first rows hold
chosen blocks: all-zero ones, the largest and smallest codes, negative and subnormal scales.

    pip install gguf numpy
    python tools/golden/gguf_vectors.py [--seed N] [--out FILE]
"""
import argparse
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize

TYPES = [T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K, T.MXFP4, T.NVFP4]
ROWS, K = 3, 512
# Where f16 numbers stand in a block; they must be finite.
HALVES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}
CHOSEN = [0.0, 1.0, -1.0, 2.0 ** -24, -3 * 2.0 ** -20, 511.5, -0.0078125]


def random_blocks(rng, kind):
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    n = ROWS * K // elements
    blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
    blocks[0, :] = 0
    blocks[1, :] = 255
    for place in HALVES.get(kind, []):
        scales = (rng.standard_normal(n) * 0.1).astype(np.float16)
        scales[:min(n, len(CHOSEN))] = np.array(CHOSEN, np.float16)[:n]
        blocks[:, place:place + 2] = scales.view(np.uint8).reshape(n, 2)
    if kind == T.MXFP4:  # 255 is no scale
        blocks[:, 0] = rng.integers(100, 140, n)
        blocks[:4, 0] = [0, 1, 127, 254]
    if kind == T.NVFP4:  # unsigned E4M3
        blocks[:, :4] &= 0x7F
    return blocks.reshape(ROWS, -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--out", default="tests/data/gguf/blocks.gguf")
    options = parser.parse_args()
    print("seed", options.seed)
    rng = np.random.default_rng(options.seed)
    pathlib.Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(options.out, "blocks")
    for kind in TYPES:
        blocks = random_blocks(rng, kind)
        values = dequantize(blocks, kind).astype(np.float32).reshape(ROWS, K)
        writer.add_tensor(kind.name.lower() + ".blocks", blocks, raw_dtype=kind)
        writer.add_tensor(kind.name.lower() + ".values", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(options.out, pathlib.Path(options.out).stat().st_size, "bytes")


if __name__ == "__main__":
    main()
