#!/usr/bin/env python3
"""Writes a GGUF file for llama.cpp from a folder with bf16 safetensors: same shapes, same weights.

    gguf_from_hf.py FOLDER OUT.gguf [--type bf16|q8_0|q4_0]

Families llama, qwen3 and gpt_oss (experts in MXFP4 keep their bits). The file has no vocabulary, as
the bench feeds ids. With q8_0 and q4_0 every matrix is quantised alike (embedding and head too), so
that all engines read as many bits for a weight; of gpt_oss the experts stay MXFP4 and the router is
float32. Nothing is held in memory but one tensor. Needs numpy and gguf.
"""
import argparse
import json
import pathlib

import gguf
import numpy as np

BLOCK = gguf.GGMLQuantizationType
TYPES = {"bf16": BLOCK.BF16, "q8_0": BLOCK.Q8_0, "q4_0": BLOCK.Q4_0}
ROWS = 4096  # quantised at once


class Checkpoint:
    """The tensors of a folder's safetensors files, mapped."""

    def __init__(self, folder):
        self.tensors = {}
        for path in sorted(folder.glob("*.safetensors")):
            data = np.memmap(path, np.uint8, "r")
            n = int.from_bytes(bytes(data[:8]), "little")
            for name, t in json.loads(bytes(data[8:8 + n])).items():
                if name != "__metadata__":
                    first, last = t["data_offsets"]
                    self.tensors[name] = (t["dtype"], t["shape"], data[8 + n + first:8 + n + last])

    def bf16(self, name):
        """As u16 [shape]."""
        dtype, shape, data = self.tensors[name]
        if dtype != "BF16":
            raise SystemExit(f"{name}: {dtype}, wanted BF16")
        return data.view(np.uint16).reshape(shape)

    def codes(self, name):
        _, shape, data = self.tensors[name]
        return data.reshape(shape)


def widen(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def interleave_rows(rows, n_heads):
    """Q and K of llama: GGUF turns neighbours, the checkpoint halves; rows [n_heads * d, ...]."""
    d = rows.shape[0] // n_heads
    return rows.reshape(n_heads, 2, d // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def encode(rows, kind):
    """u16 rows of bf16 as blocks of a type, [n_rows, bytes]."""
    if kind == BLOCK.BF16:
        return np.ascontiguousarray(rows)
    parts = [gguf.quants.quantize(widen(rows[i:i + ROWS]), kind)
             for i in range(0, len(rows), ROWS)]
    return np.concatenate(parts)


def pack_mxfp4(codes, scales):
    """Blocks as GGUF has them: the scale, then 16 bytes of element j and element j + 16."""
    low, high = codes & 15, codes >> 4
    elements = np.stack([low, high], -1).reshape(*codes.shape[:-1], 32)
    packed = elements[..., :16] | elements[..., 16:] << 4
    blocks = np.concatenate([scales[..., None], packed], -1)
    return np.ascontiguousarray(blocks.reshape(*blocks.shape[:-2], -1))


class Converter:
    """Plans tensors as (name, shape, type, function that gives the data), then writes them."""

    def __init__(self, folder, kind):
        self.kind = kind  # of the matrices
        self.config = json.loads((folder / "config.json").read_text())
        self.source = Checkpoint(folder)
        self.family = self.config["model_type"]
        self.plan = []

    def add_matrix(self, name, source, change=None):
        def make():
            rows = self.source.bf16(source)
            return encode(change(rows) if change else rows, self.kind)
        self.plan.append((name, self.source.tensors[source][1], self.kind, make))

    def add_vector(self, name, source, select=None):
        """f32, as llama.cpp wants norms and biases."""
        def make():
            bits = self.source.bf16(source)
            return np.ascontiguousarray(widen(bits[select] if select else bits))
        shape = self.source.tensors[source][1]
        if select:
            shape = list(self.source.bf16(source)[select].shape)
        self.plan.append((name, shape, BLOCK.F32, make))

    def add_experts(self, name, source, rows):
        def make():
            codes = self.source.codes(source + "_blocks")[:, rows]
            return pack_mxfp4(codes, self.source.codes(source + "_scales")[:, rows])
        shape = self.source.codes(source + "_blocks")[:, rows].shape
        self.plan.append((name, [shape[0], shape[1], shape[2] * 32], BLOCK.MXFP4, make))

    def add_router(self, name, source):
        """[n_experts, hidden]: f32 in gpt_oss files."""
        self.plan.append((name, self.source.tensors[source][1], BLOCK.F32,
                          lambda: widen(self.source.bf16(source))))

    def add_attention(self, i, prefix, out):
        c = self.config
        for letter, n_heads in (("q", c["num_attention_heads"]), ("k", c["num_key_value_heads"]),
                                ("v", 0)):
            turn = None
            if self.family == "llama" and n_heads:
                def turn(rows, n=n_heads):
                    return interleave_rows(rows, n)
            self.add_matrix(f"{out}.attn_{letter}.weight", f"{prefix}.{letter}_proj.weight", turn)
        self.add_matrix(f"{out}.attn_output.weight", f"{prefix}.o_proj.weight")
        if self.family == "qwen3":
            for letter in "qk":
                self.add_vector(f"{out}.attn_{letter}_norm.weight", f"{prefix}.{letter}_norm.weight")
        if self.family == "gpt_oss":
            for letter in "qkv":
                self.add_vector(f"{out}.attn_{letter}.bias", f"{prefix}.{letter}_proj.bias")
            self.add_vector(f"{out}.attn_output.bias", f"{prefix}.o_proj.bias")
            self.add_vector(f"{out}.attn_sinks.weight", f"{prefix}.sinks")

    def add_mlp(self, prefix, out):
        if self.family != "gpt_oss":
            for part in ("gate", "up", "down"):
                self.add_matrix(f"{out}.ffn_{part}.weight", f"{prefix}.{part}_proj.weight")
            return
        self.add_router(f"{out}.ffn_gate_inp.weight", f"{prefix}.router.weight")
        self.add_vector(f"{out}.ffn_gate_inp.bias", f"{prefix}.router.bias")
        both = f"{prefix}.experts.gate_up_proj"  # rows of gate and up take turns
        down = f"{prefix}.experts.down_proj"
        for part, rows in (("gate", slice(0, None, 2)), ("up", slice(1, None, 2))):
            self.add_experts(f"{out}.ffn_{part}_exps.weight", both, rows)
            self.add_vector(f"{out}.ffn_{part}_exps.bias", both + "_bias", (slice(None), rows))
        self.add_experts(f"{out}.ffn_down_exps.weight", down, slice(None))
        self.add_vector(f"{out}.ffn_down_exps.bias", down + "_bias")

    def add_all(self):
        self.add_matrix("token_embd.weight", "model.embed_tokens.weight")
        self.add_vector("output_norm.weight", "model.norm.weight")
        if "lm_head.weight" in self.source.tensors:
            self.add_matrix("output.weight", "lm_head.weight")
        behind = "post_attention_norm" if self.family == "gpt_oss" else "ffn_norm"
        for i in range(self.config["num_hidden_layers"]):
            layer, out = f"model.layers.{i}", f"blk.{i}"
            self.add_vector(f"{out}.attn_norm.weight", f"{layer}.input_layernorm.weight")
            self.add_vector(f"{out}.{behind}.weight", f"{layer}.post_attention_layernorm.weight")
            self.add_attention(i, f"{layer}.self_attn", out)
            self.add_mlp(f"{layer}.mlp", out)

    def add_facts(self, w):
        c = self.config
        w.add_block_count(c["num_hidden_layers"])
        w.add_context_length(c["max_position_embeddings"])
        w.add_embedding_length(c["hidden_size"])
        w.add_feed_forward_length(c["intermediate_size"])
        w.add_head_count(c["num_attention_heads"])
        w.add_head_count_kv(c["num_key_value_heads"])
        w.add_key_length(c["head_dim"])
        w.add_value_length(c["head_dim"])
        w.add_layer_norm_rms_eps(c["rms_norm_eps"])
        w.add_rope_freq_base(c["rope_theta"])
        w.add_vocab_size(c["vocab_size"])
        w.add_tokenizer_model("no_vocab")
        if self.family == "llama":
            w.add_rope_dimension_count(c["head_dim"])
        if self.family == "gpt_oss":
            scaling = c["rope_scaling"]
            w.add_expert_count(c["num_local_experts"])
            w.add_expert_used_count(c["num_experts_per_tok"])
            w.add_expert_feed_forward_length(c["intermediate_size"])
            w.add_sliding_window(c["sliding_window"])
            w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
            w.add_rope_scaling_factor(scaling["factor"])
            w.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])

    def write(self, path):
        names = {"llama": "llama", "qwen3": "qwen3", "gpt_oss": "gpt-oss"}
        if self.family not in names:
            raise SystemExit(f"family {self.family}: wanted one of {', '.join(names)}")
        w = gguf.GGUFWriter(path, names[self.family])
        self.add_facts(w)
        self.add_all()
        for name, shape, kind, _ in self.plan:
            n_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
            row = shape[-1] // n_block * block_bytes
            rows = int(np.prod(shape[:-1], dtype=np.int64))
            w.add_tensor_info(name, shape, np.dtype(np.float32), rows * row, kind)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_ti_data_to_file()
        for _, _, _, make in self.plan:
            w.write_tensor_data(make().view(np.uint8))
        w.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--type", choices=TYPES, default="bf16")
    o = parser.parse_args()
    temporary = o.out.with_name(o.out.name + ".tmp")
    try:
        Converter(o.folder, TYPES[o.type]).write(temporary)
        temporary.replace(o.out)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
