#!/usr/bin/env python3
"""Computes the known answers of `mica doctor` (cli/known_answers.c) in float64 with numpy.

Inputs are v(i, seed) = ((37 i + 11 seed) mod 64 - 32) / 16, exact in bf16. An answer is the sum of
out[i] * v(i, 7) over the elements of the result. Prints one line a check. Needed by no build.
"""
import numpy as np


def v(shape, seed):
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    return (((37 * i + 11 * seed) % 64 - 32) / 16.0).reshape(shape)


def answer(out):
    flat = np.asarray(out, dtype=np.float64).ravel()
    return float(np.sum(flat * v(flat.shape, 7)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def mxfp4(n, k):
    """Codes: byte b of the matrix is (13 b + 5) mod 256, low nibble first; scales 126 + i mod 3."""
    lut = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    lut = np.concatenate([lut, -lut])
    b = (13 * np.arange(n * k // 2) + 5) % 256
    values = np.stack([lut[b & 15], lut[b >> 4]], -1).reshape(n, k // 32, 32)
    scales = np.exp2((126 + np.arange(n * k // 32) % 3) - 127.0).reshape(n, k // 32, 1)
    return (values * scales).reshape(n, k)


def attention(q, k, v_, sinks, window):
    tq, heads, dim = q.shape
    tk, kv_heads, _ = k.shape
    out = np.zeros_like(q)
    for h in range(heads):
        g = h // (heads // kv_heads)
        for i in range(tq):
            j = np.arange(tk)
            last = i + tk - tq
            seen = (j <= last) & (j > last - window)
            s = np.where(seen, k[:, g] @ q[i, h] / np.sqrt(dim), -np.inf)
            w = softmax(np.concatenate([s, [sinks[h]]]))[:-1]
            out[i, h] = w @ v_[:, g]
    return out


def rope(x, positions, inverse):
    angle = positions[:, None] * inverse[None, :]
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = np.split(x, 2, -1)
    return np.concatenate([a * c - b * s, b * c + a * s], -1)


def main():
    x = v((3, 64), 1)
    norm = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * v((64,), 2)
    w = v((32, 64), 3)
    g = v((3, 64), 4) * 4
    gate, up = np.minimum(g[:, 0::2], 7), np.clip(g[:, 1::2], -7, 7)
    glu = gate / (1 + np.exp(-1.702 * gate)) * (up + 1)
    att = attention(v((5, 4, 32), 1), v((70, 2, 32), 2), v((70, 2, 32), 3), v((4,), 5), 33)
    inverse = 1.0 / np.exp2(np.arange(16))
    for name, out in [
        ("rms_norm", norm),
        ("linear f32", x @ w.T + v((32,), 6)),
        ("linear bf16", x @ w.T + v((32,), 6)),
        ("linear mxfp4", x @ mxfp4(32, 64).T),
        ("softmax", softmax(v((3, 64), 1) * 2)),
        ("glu", glu),
        ("rope", rope(v((5, 4, 32), 1), np.arange(5) * 100.0, inverse)),
        ("attention", att),
    ]:
        print(f"{name:14s} {answer(out):.9f}")


main()
