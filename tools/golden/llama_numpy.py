#!/usr/bin/env python3
"""Models of GGUF files in numpy, float64 throughout: an oracle that shares no code with mica.

    llama_numpy.py MODEL.gguf IDS.jsonl OUT.npz [--round TYPE:bf16|f16,...]

Runs every line of IDS.jsonl (an array of token ids) through the model and writes, for the K-th line
counted from 0, the array logits_K [ids, vocab] in float32. Prints the mean negative log-likelihood
of each line's ids after the first.

Weights are what the file says, exactly. --round Q6_K:f16,... rounds the tensors of these types
first, as a program does that has no exact place for them.

Architectures: llama (SmolLM2 and others without rope scaling) and gemma3. Needs numpy and gguf
(tested: 2.4.6, 0.19.0); neither the build nor the tests use it.
"""
import argparse
import json
import math

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

HEAD_ROWS = 16384  # rows of the head that are unpacked at a time


def round_to_bf16(x):
    """Nearest bfloat16, ties to even, as float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    bits += 0x7FFF + (bits >> 16 & 1)
    return (bits & 0xFFFF0000).astype(np.uint32).view(np.float32)


def rms(x, weight, epsilon):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Model:
    def __init__(self, path, rounded=""):
        """rounded: as in --round."""
        reader = GGUFReader(path)
        self.tensors = {t.name: t for t in reader.tensors}
        self.rounded = dict(item.split(":") for item in rounded.split(",") if item)
        fields = {k: f.contents() for k, f in reader.fields.items() if len(f.data) == 1}
        self.arch = fields["general.architecture"]
        if self.arch not in ("llama", "gemma3"):
            raise SystemExit(f"llama_numpy: architecture {self.arch}, wanted llama or gemma3")
        if any(k.startswith(self.arch + ".rope.scaling") for k in fields):
            raise SystemExit("llama_numpy: rope scaling is not written here")

        def get(name, default=None):
            return fields.get(f"{self.arch}.{name}", default)

        self.layers = get("block_count")
        self.hidden = get("embedding_length")
        self.heads = get("attention.head_count")
        self.kv_heads = get("attention.head_count_kv", self.heads)
        self.head_dim = get("attention.key_length", self.hidden // self.heads)
        self.epsilon = get("attention.layer_norm_rms_epsilon")
        self.base = get("rope.freq_base", 10000.0)
        self.window = get("attention.sliding_window", 0)
        self.gemma = self.arch == "gemma3"
        self.vocab = int(self.tensors["token_embd.weight"].shape[1])

    def values(self, name, rows=slice(None)):
        """A tensor's rows as float64, [rows, columns] or [columns]."""
        tensor = self.tensors[name]
        x = dequantize(tensor.data[rows], tensor.tensor_type)
        to = self.rounded.get(tensor.tensor_type.name)
        if to:
            x = round_to_bf16(x) if to == "bf16" else x.astype(np.float16)
        return x.astype(np.float64)

    def is_local(self, layer):
        """gemma3: five layers with a window, then a global one; not in the metadata."""
        return self.gemma and layer % 6 != 5

    def rotate(self, x, layer):
        """Rotary positions. llama files hold the rows of q and k so that neighbours are pairs."""
        base = 10000.0 if self.is_local(layer) else self.base
        half = self.head_dim // 2
        angle = np.arange(len(x))[:, None, None] * base ** (-np.arange(half) / half)
        cos, sin = np.cos(angle), np.sin(angle)
        if self.gemma:
            a, b = x[..., :half], x[..., half:]
            return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
        a, b = x[..., 0::2], x[..., 1::2]
        return np.stack([a * cos - b * sin, b * cos + a * sin], -1).reshape(x.shape)

    def attention(self, h, layer):
        name, n = f"blk.{layer}.attn_", len(h)
        q = (h @ self.values(name + "q.weight").T).reshape(n, self.heads, self.head_dim)
        k = (h @ self.values(name + "k.weight").T).reshape(n, self.kv_heads, self.head_dim)
        v = (h @ self.values(name + "v.weight").T).reshape(n, self.kv_heads, self.head_dim)
        if name + "q_norm.weight" in self.tensors:
            q = rms(q, self.values(name + "q_norm.weight"), self.epsilon)
            k = rms(k, self.values(name + "k_norm.weight"), self.epsilon)
        q, k = self.rotate(q, layer), self.rotate(k, layer)
        shared = self.heads // self.kv_heads
        k, v = np.repeat(k, shared, 1), np.repeat(v, shared, 1)
        scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(self.head_dim)
        distance = np.arange(n)[:, None] - np.arange(n)
        hidden = distance < 0
        if self.is_local(layer):
            hidden |= distance >= self.window
        scores[:, hidden] = -np.inf
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        out = np.einsum("hqk,khd->qhd", p, v).reshape(n, -1)
        return out @ self.values(name + "output.weight").T

    def feed_forward(self, h, layer):
        name = f"blk.{layer}.ffn_"
        act = gelu if self.gemma else silu
        gate = act(h @ self.values(name + "gate.weight").T)
        up = h @ self.values(name + "up.weight").T
        return (gate * up) @ self.values(name + "down.weight").T

    def last_hidden(self, ids):
        """[ids, hidden] after the final norm."""
        x = self.values("token_embd.weight", np.asarray(ids))
        if self.gemma:
            x = x * np.float64(np.float32(math.sqrt(self.hidden)))
        for layer in range(self.layers):
            def norm(y, which):
                return rms(y, self.values(f"blk.{layer}.{which}.weight"), self.epsilon)

            y = self.attention(norm(x, "attn_norm"), layer)
            x = x + (norm(y, "post_attention_norm") if self.gemma else y)
            y = self.feed_forward(norm(x, "ffn_norm"), layer)
            x = x + (norm(y, "post_ffw_norm") if self.gemma else y)
        return rms(x, self.values("output_norm.weight"), self.epsilon)

    def logits(self, ids):
        """[ids, vocab], float32."""
        x = self.last_hidden(ids)
        head = "output.weight" if "output.weight" in self.tensors else "token_embd.weight"
        out = np.empty((len(ids), self.vocab), np.float32)
        for at in range(0, self.vocab, HEAD_ROWS):
            rows = slice(at, min(at + HEAD_ROWS, self.vocab))
            out[:, rows] = x @ self.values(head, rows).T
        return out


def log_softmax(logits):
    """[.., vocab] in float64."""
    x = np.asarray(logits, np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def mean_nll(logits, ids):
    """Mean negative log-likelihood of ids[1:], given logits after each of the ids."""
    chosen = np.asarray(ids[1:])
    return float(-log_softmax(logits[:-1])[np.arange(len(chosen)), chosen].mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("ids")
    parser.add_argument("out")
    parser.add_argument("--round", default="", help="types whose tensors are rounded")
    options = parser.parse_args()
    model = Model(options.model, options.round)
    arrays = {}
    with open(options.ids) as lines:
        for k, line in enumerate(lines):
            ids = json.loads(line)
            arrays[f"logits_{k}"] = model.logits(ids)
            nll = mean_nll(arrays[f"logits_{k}"], ids) if len(ids) > 1 else float("nan")
            print(f"line {k}: {len(ids)} ids, mean nll {nll:.6f}, perplexity {math.exp(nll):.4f}")
    np.savez(options.out, **arrays)


if __name__ == "__main__":
    main()
