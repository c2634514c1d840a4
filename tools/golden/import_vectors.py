#!/usr/bin/env python3
"""Small checkpoints in the layouts of AWQ, GPTQ, compressed-tensors, ModelOpt and block FP8, with the
matrices that they stand for: the oracle of src/format/import_test.c. Needs numpy.

    import_vectors.py [FOLDER=tests/data/import] [--seed N]

Every case is a folder: config.json, model.safetensors, and expected.safetensors, which holds
<path>.weight of each packed module in f32. The packing is done here element by element, from the
formulas of the formats; nothing is shared with the C code. What is rounded is said at the case:
    plain    (q - z) * s in f32, which is exact for 16-bit scales
    f16      the same rounded to f16 (modules whose groups MLX cannot express)
    nvfp4    f32(E2M1 * E4M3) * factor, the product rounded to f32; factor = f32(1 / global) where
             the file holds a divisor
    fp8      f32(E4M3 * factor) rounded to bf16
"""
import argparse
import json
import pathlib
import struct

import numpy as np

AWQ_NIBBLES = [0, 4, 1, 5, 2, 6, 3, 7]
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
PATH = "model.layers.0.mlp.up_proj"
SECOND = "model.layers.0.mlp.down_proj"
BASE = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
        "vocab_size": 32}
SIZES = {"F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I64": 8, "U8": 1, "F8_E4M3": 1, "F8_E8M0": 1}


def write_safetensors(path, tensors):
    """tensors: name -> (dtype, shape, bytes)"""
    header, data = {}, b""
    for name, (dtype, shape, raw) in sorted(tensors.items()):
        assert len(raw) == SIZES[dtype] * int(np.prod(shape, dtype=np.int64)), name
        header[name] = {"dtype": dtype, "shape": list(shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def tensor(dtype, array):
    kinds = {"F32": "<f4", "F16": "<f2", "I32": "<u4", "I64": "<i8", "U8": "u1", "F8_E4M3": "u1",
             "F8_E8M0": "u1", "BF16": "<u2"}
    array = np.ascontiguousarray(array)
    return (dtype, array.shape, array.astype(kinds[dtype]).tobytes())


def bf16_bits(x):
    """Round to nearest, ties to even; finite values."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def bf16_value(bits):
    return (np.asarray(bits, np.uint32) << 16).view(np.float32)


def e4m3_value(code):
    code = int(code)
    sign = -1.0 if code & 0x80 else 1.0
    exponent, mantissa = code >> 3 & 15, code & 7
    if exponent == 0:
        return np.float32(sign * mantissa * 2.0 ** -9)
    return np.float32(sign * (8 + mantissa) * 2.0 ** (exponent - 10))


def pack_stream(codes, bits):
    """Rows of unsigned codes to rows of words: element i at bit i * bits, LSB first."""
    rows, columns = codes.shape
    words = np.zeros((rows, -(-columns * bits // 32)), np.uint64)
    for r in range(rows):
        number = 0
        for i in range(columns):
            number |= int(codes[r, i]) << (i * bits)
        for w in range(words.shape[1]):
            words[r, w] = number >> (32 * w) & 0xFFFFFFFF
    return words


def pack_columns_awq(codes):
    """[rows, n] to [rows, n / 8]: column 8c + i in nibble P[i]."""
    rows, n = codes.shape
    words = np.zeros((rows, n // 8), np.uint64)
    for c in range(n // 8):
        for i in range(8):
            words[:, c] |= codes[:, 8 * c + i].astype(np.uint64) << np.uint64(4 * AWQ_NIBBLES[i])
    return words


def pack_columns_gptq(codes):
    rows, n = codes.shape
    words = np.zeros((rows, n // 8), np.uint64)
    for c in range(n // 8):
        for i in range(8):
            words[:, c] |= codes[:, 8 * c + i].astype(np.uint64) << np.uint64(4 * i)
    return words


def pack_rows_gptq(codes):
    """[k, n] to [k / 8, n]: row 8r + i in nibble i."""
    k, n = codes.shape
    words = np.zeros((k // 8, n), np.uint64)
    for r in range(k // 8):
        for i in range(8):
            words[r] |= codes[8 * r + i].astype(np.uint64) << np.uint64(4 * i)
    return words


class Maker:
    def __init__(self, folder, seed):
        self.folder, self.random = folder, np.random.default_rng(seed)

    def scales(self, dtype, shape):
        """Values and what is stored. Some are negative, subnormal or zero."""
        v = (self.random.standard_normal(shape) * 0.02).astype(np.float32)
        flat = v.reshape(-1)
        flat[0], flat[-1] = 0.0, 6e-8
        if flat.size > 4:
            flat[1], flat[2] = 3.25e-6, -511.0
        if dtype == "BF16":
            bits = bf16_bits(v)
            return bf16_value(bits), tensor("BF16", bits)
        v = v.astype(np.float16)
        return v.astype(np.float32), tensor("F16", v)

    def codes(self, shape, bits):
        codes = self.random.integers(0, 1 << bits, shape)
        codes.reshape(-1)[:2] = [0, (1 << bits) - 1]
        return codes

    def write(self, name, quant, tensors, expected):
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        config = dict(BASE, quantization_config=quant)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        tensors = dict(tensors)
        tensors["model.norm.weight"] = tensor("F32", self.random.standard_normal(8))
        tensors[PATH + ".bias"] = tensor("F16", self.random.standard_normal(16))
        write_safetensors(folder / "model.safetensors", tensors)
        write_safetensors(folder / "expected.safetensors",
                          {p + ".weight": tensor("F32", w) for p, w in expected.items()})

    # ---- AWQ and GPTQ ----

    def columns(self, k, n, group, awq, low=0, high=15, middle=False, stored=0, order=None):
        """Tensors of one module and its matrix [n, k]. stored: added to the zero points that are
        written; order: g_idx."""
        g = k if group == -1 else group
        groups = -(-k // g)
        q, z = self.codes((k, n), 4), self.random.integers(low, high + 1, (groups, n))
        if middle:
            z[:] = 8
        s, s_tensor = self.scales("F16", (groups, n))
        g_idx = np.arange(k) // g if order is None else order
        w = ((q - z[g_idx]).astype(np.float32) * s[g_idx]).T
        pack = pack_columns_awq if awq else pack_columns_gptq
        parts = {"qweight": tensor("I32", pack_columns_awq(q) if awq else pack_rows_gptq(q)),
                 "qzeros": tensor("I32", pack((z + stored) & 15)), "scales": s_tensor}
        if not awq:
            parts["g_idx"] = tensor("I32", g_idx)
        return parts, w

    def awq(self, name, k, n, group, zero_point=True, rounded=False):
        parts, w = self.columns(k, n, group, True, middle=not zero_point)
        if rounded:
            w = w.astype(np.float16).astype(np.float32)
        if not zero_point:
            del parts["qzeros"]
        quant = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": zero_point,
                 "version": "gemm", "modules_to_not_convert": None}
        self.write(name, quant, {f"{PATH}.{s}": t for s, t in parts.items()}, {PATH: w})

    def gptq(self, name, k, n, group, sym, v2=False, shuffled=False, second=None, rounded=False):
        order = None
        if shuffled:
            order = self.random.permutation(np.arange(k) // (k if group == -1 else group))
        parts, w = self.columns(k, n, group, False, low=0 if v2 else 1, middle=sym,
                                stored=0 if v2 else -1, order=order)
        if rounded or shuffled:
            w = w.astype(np.float16).astype(np.float32)
        quant = {"quant_method": "gptq", "bits": 4, "group_size": group, "sym": sym,
                 "desc_act": shuffled, "checkpoint_format": "gptq_v2" if v2 else "gptq",
                 "damp_percent": 0.01, "true_sequential": True}
        tensors = {f"{PATH}.{s}": t for s, t in parts.items()}
        expected = {PATH: w}
        if second:
            parts, expected[SECOND] = self.columns(second, n, group, False, middle=sym, stored=-1)
            tensors.update({f"{SECOND}.{s}": t for s, t in parts.items()})
        self.write(name, quant, tensors, expected)

    # ---- compressed-tensors ----

    def packed(self, name, k, n, bits, group, symmetric, dtype, rounded=False):
        g = k if group is None else group
        groups = k // g
        q = self.codes((n, k), bits)
        z = self.random.integers(0, 1 << bits, (n, groups))
        if symmetric:
            z[:] = 1 << (bits - 1)
        s, s_tensor = self.scales(dtype, (n, groups))
        index = np.arange(k) // g
        w = (q - z[:, index]).astype(np.float32) * s[:, index]
        weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "group_size": group,
                   "strategy": "group" if group else "channel", "dynamic": False, "actorder": None,
                   "block_structure": None, "observer": "minmax", "observer_kwargs": {}}
        quant = {"quant_method": "compressed-tensors", "format": "pack-quantized",
                 "quantization_status": "compressed", "ignore": ["lm_head", "re:.*gate$"],
                 "kv_cache_scheme": None, "version": "0.9.0",
                 "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights,
                                               "input_activations": None,
                                               "output_activations": None}}}
        tensors = {PATH + ".weight_packed": tensor("I32", pack_stream(q, bits)),
                   PATH + ".weight_scale": s_tensor,
                   PATH + ".weight_shape": tensor("I64", np.array([n, k]))}
        if not symmetric:
            tensors[PATH + ".weight_zero_point"] = tensor("I32", pack_stream(z.T, bits).T)
        if rounded:
            w = w.astype(np.float16).astype(np.float32)
        self.write(name, quant, tensors, {PATH: w})

    def fp4(self, k, n, group):
        codes = self.codes((n, k), 4)
        packed = (codes[:, 0::2] | codes[:, 1::2] << 4).astype(np.uint8)
        return codes, packed, np.arange(k) // group

    def nvfp4(self, name, k, n, is_modelopt):
        codes, packed, index = self.fp4(k, n, 16)
        scales = self.random.integers(0, 127, (n, k // 16))
        scales.reshape(-1)[:3] = [0, 1, 126]
        values = np.vectorize(e4m3_value)(scales).astype(np.float32)
        number = np.float32(self.random.uniform(0.0001, 0.003))
        factor = number if is_modelopt else np.float32(1) / np.float32(1 / number)
        w = E2M1[codes] * values[:, index] * factor
        if is_modelopt:
            quant = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"],
                     "producer": {"name": "modelopt", "version": "0.29.0"},
                     "kv_cache_scheme": {"dynamic": False, "num_bits": 8, "type": "float"},
                     "config_groups": {"group_0": {
                         "targets": ["Linear"],
                         "input_activations": {"dynamic": False, "num_bits": 4, "type": "float",
                                               "group_size": 16},
                         "weights": {"dynamic": False, "num_bits": 4, "type": "float",
                                     "group_size": 16}}}}
            tensors = {PATH + ".weight": tensor("U8", packed),
                       PATH + ".weight_scale_2": tensor("F32", number),
                       PATH + ".input_scale": tensor("F32", np.float32(0.5)),
                       "model.layers.0.self_attn.k_proj.k_scale": tensor("F32", np.float32(1))}
        else:
            weights = {"num_bits": 4, "type": "float", "symmetric": True, "group_size": 16,
                       "strategy": "tensor_group", "dynamic": False, "actorder": None}
            quant = {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized",
                     "ignore": [], "quantization_status": "compressed",
                     "config_groups": {"group_0": {
                         "targets": ["Linear"], "weights": weights, "output_activations": None,
                         "input_activations": {"num_bits": 4, "dynamic": "local"}}}}
            tensors = {PATH + ".weight_packed": tensor("U8", packed),
                       PATH + ".weight_global_scale": tensor("F32", np.array([1 / number])),
                       PATH + ".input_global_scale": tensor("F32", np.array([2.0]))}
        tensors[PATH + ".weight_scale"] = tensor("F8_E4M3", scales)
        self.write(name, quant, tensors, {PATH: w})

    def mxfp4(self, name, k, n):
        codes, packed, index = self.fp4(k, n, 32)
        scales = self.random.integers(100, 140, (n, k // 32))
        scales.reshape(-1)[:3] = [0, 1, 250]
        values = np.ldexp(np.float32(1), scales - 127).astype(np.float32)
        weights = {"num_bits": 4, "type": "float", "symmetric": True, "group_size": 32,
                   "strategy": "group", "dynamic": False, "scale_dtype": "torch.uint8"}
        group = {"targets": ["Linear"], "weights": weights, "format": "mxfp4-pack-quantized",
                 "input_activations": None, "output_activations": None}
        quant = {"quant_method": "compressed-tensors", "format": "mixed-precision", "ignore": [],
                 "config_groups": {"group_0": group, "group_1": dict(group, targets=["re:x.*"])}}
        self.write(name, quant, {PATH + ".weight_packed": tensor("U8", packed),
                                 PATH + ".weight_scale": tensor("U8", scales)},
                   {PATH: E2M1[codes] * values[:, index]})

    # ---- block FP8 ----

    def fp8(self, name, k, n, rows, columns, dtype):
        codes = self.random.integers(0, 127, (n, k)) + 128 * self.random.integers(0, 2, (n, k))
        codes.reshape(-1)[:5] = [0, 0x80, 0x7E, 0xFE, 1]
        values = np.vectorize(e4m3_value)(codes).astype(np.float32)
        factors = (self.random.standard_normal((-(-n // rows), -(-k // columns))) * 0.01)
        factors = factors.astype(np.float32)
        stored = tensor("F32", factors)
        if dtype == "BF16":
            bits = bf16_bits(factors)
            factors, stored = bf16_value(bits), tensor("BF16", bits)
        spread = factors[np.arange(n) // rows][:, np.arange(k) // columns]
        quant = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                 "weight_block_size": [rows, columns]}
        self.write(name, quant, {PATH + ".weight": tensor("F8_E4M3", codes),
                                 PATH + ".weight_scale_inv": stored},
                   {PATH: bf16_value(bf16_bits(values * spread))})


def main():
    parser = argparse.ArgumentParser()
    default = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "import"
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=default)
    parser.add_argument("--seed", type=int, default=20260401)
    options = parser.parse_args()
    print("seed", options.seed)
    m = Maker(options.folder, options.seed)
    m.awq("awq_g32", 64, 16, 32)
    m.awq("awq_g128", 256, 8, 128)
    m.awq("awq_row", 192, 8, -1)
    m.awq("awq_symmetric", 64, 16, 64, zero_point=False)
    m.awq("awq_g16", 64, 16, 16, zero_point=False, rounded=True)
    m.gptq("gptq_symmetric", 128, 8, 64, True, second=96)
    m.gptq("gptq_v1", 128, 16, 32, False)
    m.gptq("gptq_v2", 128, 24, 128, False, v2=True)
    m.gptq("gptq_short_group", 192, 16, 128, True)
    m.gptq("gptq_row", 128, 8, -1, False)
    m.gptq("gptq_shuffled", 128, 16, 32, False, shuffled=True)
    m.gptq("gptq_g16", 64, 16, 16, True, rounded=True)
    m.packed("compressed_4_symmetric", 256, 8, 4, 128, True, "BF16")
    m.packed("compressed_4_zeros", 128, 12, 4, 32, False, "F16")
    m.packed("compressed_8_channel", 64, 16, 8, None, True, "F16")
    m.packed("compressed_8_zeros", 64, 10, 8, 32, False, "F16")
    m.packed("compressed_3_zeros", 64, 20, 3, 64, False, "F16")
    m.packed("compressed_4_odd_row", 60, 8, 4, 60, True, "F16", rounded=True)
    m.nvfp4("compressed_nvfp4", 64, 16, False)
    m.mxfp4("compressed_mxfp4", 64, 16)
    m.nvfp4("modelopt_nvfp4", 48, 16, True)
    m.fp8("fp8_blocks", 80, 24, 16, 32, "F32")
    m.fp8("fp8_blocks_bf16", 32, 16, 16, 16, "BF16")


main()
