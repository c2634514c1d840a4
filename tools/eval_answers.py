#!/usr/bin/env python3
"""Prints the known answers of cli/eval_math_test.c, computed with NumPy in float64.

    eval_answers.py

The rows are made of fractions that float32 holds exactly, by the same formula as in the test:
row(n, a, b)[i] = ((i * a + b) % 1000) / 64 - 5. Needs Python 3 with numpy (tested: 2.4).
"""
import numpy as np


def row(n, a, b):
    return ((np.arange(n) * a + b) % 1000) / 64 - 5.0


def log_softmax(x):
    x = np.asarray(np.float32(x), dtype=np.float64)
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


def main():
    for n, a, b in [(1, 1, 0), (7, 131, 5), (1000, 7919, 17), (200000, 7919, 17)]:
        log_p = log_softmax(row(n, a, b))
        print(f"nll n={n} a={a} b={b}: id 0 {-log_p[0]:.17g}, id {n - 1} {-log_p[n - 1]:.17g}")
    for n, b in [(7, 600), (1000, 18), (1000, 400), (200000, 30)]:
        log_p, log_q = log_softmax(row(n, 7919, 17)), log_softmax(row(n, 7919, b))
        print(f"divergence n={n} b={b}: {(np.exp(log_p) * (log_p - log_q)).sum():.17g}")
    values = row(1001, 7919, 17) / 3
    print(f"mean {values.mean():.17g}, error {values.std(ddof=1) / np.sqrt(len(values)):.17g}")
    for n in (1, 2, 10, 1001):
        v = row(n, 7919, 17)
        print(f"percentiles n={n}:", ", ".join(
            f"{np.percentile(v, s):.17g}" for s in (0, 50, 90, 99.9, 100)))


main()
