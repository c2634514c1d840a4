#!/usr/bin/env python3
"""gpt-oss in numpy, float64 throughout: an oracle that shares no code with mica.

    gpt_oss_numpy.py MODEL_DIR TEXT_FILE [CHUNK]

Encodes the text (package `tokenizers`), runs ids [512 * CHUNK, 512 * (CHUNK + 1)) through the
checkpoint and prints their mean negative log-likelihood, with the softmax summed exactly and summed
in float32 from left to right (as the figure in models/demo was). Needs numpy and tokenizers; neither the
build nor the tests use it.
"""
import json
import math
import pathlib
import struct
import sys

import numpy as np
from tokenizers import Tokenizer

LUT = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
LUT = np.concatenate([LUT, -LUT])


def load_shard(path):
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + n]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = data[8 + n + begin : 8 + n + end]
        if entry["dtype"] == "BF16":
            words = np.frombuffer(raw, np.uint16).astype(np.uint32) << 16
            values = words.view(np.float32).astype(np.float64)
        else:
            values = np.frombuffer(raw, np.uint8)
        tensors[name] = values.reshape(entry["shape"])
    return tensors


class Model:
    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = {}
        for shard in sorted(folder.glob("model*.safetensors")):
            self.weights.update(load_shard(shard))

    def experts(self, prefix):
        blocks, scales = self.weights[prefix + "_blocks"], self.weights[prefix + "_scales"]
        values = np.stack([LUT[blocks & 15], LUT[blocks >> 4]], -1)
        values = values.reshape(blocks.shape[:-1] + (32,)) * (2.0 ** (scales.astype(float) - 127))[..., None]
        return values.reshape(values.shape[0], values.shape[1], -1)

    def inverse_frequencies(self):
        c, rope = self.config, self.config["rope_scaling"]
        dim, base, factor = c["head_dim"], c["rope_theta"], rope["factor"]
        original = rope["original_max_position_embeddings"]

        def pair(turns):
            return dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

        low, high = max(pair(rope["beta_fast"]), 0), min(pair(rope["beta_slow"]), dim - 1)
        i = np.arange(dim // 2)
        plain = base ** (-2 * i / dim)
        ramp = np.clip((i - low) / (high - low), 0, 1)
        return plain * (1 - ramp) + plain / factor * ramp, 0.1 * math.log(factor) + 1

    def rms(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.config["rms_norm_eps"]) * self.weights[name]

    def rotate(self, x):
        inverse, scale = self.inverse_frequencies()
        angle = np.arange(len(x))[:, None, None] * inverse
        cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
        half = x.shape[-1] // 2
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def attention(self, h, layer):
        c, w, t = self.config, self.weights, len(h)
        p = f"model.layers.{layer}.self_attn."
        heads, kv, dim = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]

        def project(name, x):
            return x @ w[p + name + ".weight"].T + w[p + name + ".bias"]

        q = self.rotate(project("q_proj", h).reshape(t, heads, dim))
        k = self.rotate(project("k_proj", h).reshape(t, kv, dim))
        v = project("v_proj", h).reshape(t, kv, dim)
        i, j = np.arange(t)[:, None], np.arange(t)[None]
        seen = j <= i
        if c["layer_types"][layer] == "sliding_attention":
            seen &= j > i - c["sliding_window"]
        out = np.zeros((t, heads, dim))
        for head in range(heads):
            group = head // (heads // kv)
            scores = np.where(seen, q[:, head] @ k[:, group].T / math.sqrt(dim), -np.inf)
            sink = w[p + "sinks"][head]
            top = np.maximum(scores.max(1), sink)
            e = np.exp(scores - top[:, None])
            out[:, head] = (e / (e.sum(1) + np.exp(sink - top))[:, None]) @ v[:, group]
        return project("o_proj", out.reshape(t, -1))

    def mixture(self, h, layer):
        c, w = self.config, self.weights
        p = f"model.layers.{layer}.mlp."
        scores = h @ w[p + "router.weight"].T + w[p + "router.bias"]
        top = np.argsort(-scores, axis=1, kind="stable")[:, : c["num_experts_per_tok"]]
        share = np.exp(np.take_along_axis(scores, top, 1))
        share /= share.sum(1, keepdims=True)
        up, down = self.experts(p + "experts.gate_up_proj"), self.experts(p + "experts.down_proj")
        out = np.zeros_like(h)
        for expert in range(c["num_local_experts"]):
            for slot in range(top.shape[1]):
                rows = np.where(top[:, slot] == expert)[0]
                y = h[rows] @ up[expert].T + w[p + "experts.gate_up_proj_bias"][expert]
                limit = c["swiglu_limit"]
                gate, linear = np.minimum(y[:, ::2], limit), np.clip(y[:, 1::2], -limit, limit)
                a = gate / (1 + np.exp(-1.702 * gate)) * (linear + 1)
                y = a @ down[expert].T + w[p + "experts.down_proj_bias"][expert]
                out[rows] += share[rows, slot][:, None] * y
        return out

    def logits(self, ids):
        x = self.weights["model.embed_tokens.weight"][ids]
        for layer in range(self.config["num_hidden_layers"]):
            p = f"model.layers.{layer}."
            x = x + self.attention(self.rms(x, p + "input_layernorm.weight"), layer)
            x = x + self.mixture(self.rms(x, p + "post_attention_layernorm.weight"), layer)
        return self.rms(x, "model.norm.weight") @ self.weights["lm_head.weight"].T


def main():
    folder = pathlib.Path(sys.argv[1])
    text = pathlib.Path(sys.argv[2]).read_bytes().decode()
    start = 512 * int(sys.argv[3] if len(sys.argv) > 3 else 0)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = np.array(tokenizer.encode(text, add_special_tokens=False).ids[start : start + 512])
    logits = Model(folder).logits(ids)
    rows, next_ids = np.arange(len(ids) - 1), ids[1:]
    shifted = logits - logits.max(1, keepdims=True)
    exact = shifted[rows, next_ids] - np.log(np.exp(shifted).sum(1))[:-1]
    total = np.zeros(len(ids), np.float32)
    single = shifted.astype(np.float32)
    for column in range(logits.shape[1]):
        total += np.exp(single[:, column])
    rounded = single[rows, next_ids] - np.log(total)[:-1]
    print(f"mean NLL {-exact.mean():.10f}, with a float32 running sum {-rounded.mean():.10f}")


if __name__ == "__main__":
    main()
