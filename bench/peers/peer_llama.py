#!/usr/bin/env python3
"""One measurement of llama.cpp, as one JSON line: speed of a prompt and of generation.

    peer_llama.py MODEL.gguf [--prompt N] [--generate N] [--depth N] [--threads N] [--no-repack]

Uses the C interface of llama-cpp-python as llama-bench does: random ids, a float16 cache, no
sampling, one warm-up before the clock. With --no-repack the weights stay as they lie in the file
(mapped): the only way for models that fill more than half of the memory.
"""
import argparse
import ctypes
import json
import random
import resource
import sys
import time

import llama_cpp


def quiet(level, text, context):
    del level, text, context


class Engine:
    """A model and a context of llama.cpp."""

    def __init__(self, path, n_context, threads, repack):
        self.log = llama_cpp.llama_log_callback(quiet)
        llama_cpp.llama_log_set(self.log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers = 0
        options.use_extra_bufts = repack
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), options)
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp cannot open it")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = n_context
        settings.n_batch = settings.n_ubatch = 512
        settings.n_threads = settings.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        if not self.context:
            raise SystemExit(f"{path}: llama.cpp makes no context of {n_context} tokens")
        self.batch = llama_cpp.llama_batch_init(512, 0, 1)
        vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)

    def clear(self):
        memory = llama_cpp.llama_get_memory(self.context)
        llama_cpp.llama_memory_clear(memory, True)

    def decode(self, n, position):
        """Computes n random ids; logits are wanted for the last."""
        b = self.batch
        b.n_tokens = n
        for i in range(n):
            b.token[i] = random.randrange(self.n_vocab)
            b.pos[i] = position + i
            b.n_seq_id[i] = 1
            b.seq_id[i][0] = 0
            b.logits[i] = i == n - 1
        if llama_cpp.llama_decode(self.context, b) != 0:
            raise SystemExit("llama_decode failed")

    def prompt(self, n, position=0):
        for first in range(0, n, 512):
            self.decode(min(512, n - first), position + first)

    def generate(self, n, position):
        for i in range(n):
            self.decode(1, position + i)

    def seconds(self, work, *arguments):
        start = time.perf_counter()
        work(*arguments)
        llama_cpp.llama_synchronize(self.context)
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--depth", type=int, default=1, help="tokens before the first generated one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-repack", action="store_true")
    o = parser.parse_args()
    random.seed(1)
    start = time.perf_counter()
    engine = Engine(o.model, max(o.prompt, o.depth + o.generate) + 8, o.threads, not o.no_repack)
    result = {"load_seconds": time.perf_counter() - start, "version": llama_cpp.__version__}
    if o.prompt:
        engine.prompt(min(o.prompt, 32))  # warm-up
        engine.clear()
        result["prompt_tok_s"] = o.prompt / engine.seconds(engine.prompt, o.prompt)
    if o.generate:
        engine.clear()
        engine.prompt(o.depth)
        engine.generate(4, o.depth)  # warm-up
        engine.clear()
        engine.prompt(o.depth)
        seconds = engine.seconds(engine.generate, o.generate, o.depth)
        result["generate_tok_s"] = o.generate / seconds
    result["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
