#!/usr/bin/env python3
"""One measurement of MLX on the CPU, as one JSON line: speed of a prompt and of generation.

    peer_mlx.py FOLDER [--prompt N] [--generate N] [--depth N] [--threads N] [--seconds S]

Runs mlx-lm's own generation (generate_step, greedy) on random ids: no tokenizer is needed. The
prompt's time ends with the first id. --threads sets the number that BLAS and OpenMP may start; MLX's
own kernels for quantised weights run on one. Where the warm-up shows that a test would take longer
than --seconds, it is halved until it does not; the result says how many tokens it had.
"""
import argparse
import json
import os
import pathlib
import random
import resource
import sys
import time


def run(model, generate_step, mx, n_vocab, n_prompt, n_generate):
    """Seconds until the first id, and from it to the last."""
    ids = mx.array([random.randrange(n_vocab) for _ in range(n_prompt)])
    mx.eval(ids)
    start = time.perf_counter()
    first = last = start
    for i, _ in enumerate(generate_step(ids, model, max_tokens=n_generate + 1)):
        last = time.perf_counter()
        if i == 0:
            first = last
    return first - start, last - first


def shorten(n, seconds_each, limit):
    """n, halved until n tokens fit into the limit, but not below 4."""
    while n > 4 and n * seconds_each > limit:
        n //= 2
    return n


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--depth", type=int, default=1, help="tokens before the first generated one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20, help="limit of one test")
    o = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # read when the libraries start
        os.environ[name] = str(o.threads)
    import mlx.core as mx
    import mlx_lm
    from mlx_lm.generate import generate_step
    from mlx_lm.utils import load_model

    mx.set_default_device(mx.cpu)
    random.seed(1)
    start = time.perf_counter()
    model, config = load_model(o.model)
    n_vocab = config["vocab_size"]
    result = {"load_seconds": time.perf_counter() - start, "version": mlx_lm.__version__,
              "mlx_version": mx.__version__}
    prompt, generate = run(model, generate_step, mx, n_vocab, 4, 1)  # warm-up
    if o.prompt:
        n = shorten(o.prompt, prompt / 4, o.seconds)
        seconds, _ = run(model, generate_step, mx, n_vocab, n, 0)
        result.update(prompt_tokens=n, prompt_tok_s=n / seconds)
    if o.generate:
        n = shorten(o.generate, generate, o.seconds)
        _, seconds = run(model, generate_step, mx, n_vocab, max(o.depth, 1), n)
        result.update(generate_tokens=n, generate_tok_s=n / seconds)
    result["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
