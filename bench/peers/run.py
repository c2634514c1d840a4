#!/usr/bin/env python3
"""Runs mica, llama.cpp and MLX beside each other on the same models and prints the ratios.

    run.py --mica BUILD/cli/mica --synth BUILD/tools/synth_checkpoint --work FOLDER [options]

Each round runs every engine once on a model, in turn, so that what else the machine does falls on
all of them; the table has the medians of the rounds. An engine is a fresh process each time, with a
warm-up before its clock. Work: reading a prompt of 512 random ids (pp) and generating 128 more
(tg), on --threads threads. Models (made once, in --work):

    smollm2-135m   real weights when --smollm2 names a folder with them, else random ones
    qwen3-0.6b     random weights at the true shape
    gpt-oss-20b    the same (--gpt-oss names a folder that is there already); only when asked for

each in bf16 (gpt-oss: bf16 with MXFP4 experts), 8 bit and 4 bit (gpt-oss: 8 bit beside the experts):
affine with groups of 64 for mica and MLX, q8_0 and q4_0 for llama.cpp, every matrix alike.

The peers are Python packages (requirements.txt) and may live in environments of their own: --llama
and --mlx name the interpreters. One that is not there is left out, and said so. Results go to
FOLDER/results.json (or --out) and, as a table, to standard output; chart.py draws them. Needs
nothing but Python 3 itself.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ENGINES = ("mica", "llama.cpp", "mlx")
# Model: what it is called in the table, and the folder of its configuration.
MODELS = {"smollm2-135m": "SmolLM2-135M", "qwen3-0.6b": "Qwen3-0.6B shape",
          "gpt-oss-20b": "gpt-oss-20b shape"}
FORMATS = {"bf16": (None, "bf16"), "8bit": ("affine:8:64", "q8_0"), "4bit": ("affine:4:64", "q4_0")}


def note(text):
    print(f"run.py: {text}", file=sys.stderr, flush=True)


def run(command, timeout):
    """Standard output of a command, or None with a line that says why."""
    try:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                              timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        note(f"{command[0]}: more than {timeout} s, left out")
        return None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        note(f"{' '.join(str(c) for c in command)}: {lines[-1] if lines else done.returncode}")
        return None
    return done.stdout


class Bench:
    """The engines that are here and the models made for them."""

    def __init__(self, o):
        self.o = o
        self.work = o.work
        self.engines = ["mica"]
        if self.has_package(o.llama, "llama_cpp, gguf, numpy"):
            self.engines.append("llama.cpp")
        else:
            note(f"llama.cpp is left out: {o.llama} has no llama_cpp, gguf and numpy")
        if self.has_package(o.mlx, "mlx.core, mlx_lm"):
            self.engines.append("mlx")
        else:
            note(f"MLX is left out: {o.mlx} has no mlx and mlx_lm")
        self.engines = [e for e in self.engines if e in o.engines]

    @staticmethod
    def has_package(python, names):
        if not shutil.which(python):
            return False
        return subprocess.run([python, "-c", f"import {names}"], capture_output=True,
                              check=False).returncode == 0

    # ---- models ----

    def checkpoint(self, model):
        """The folder with bf16 weights that everything is made from."""
        given = {"smollm2-135m": self.o.smollm2, "gpt-oss-20b": self.o.gpt_oss}.get(model)
        if given and model == "gpt-oss-20b":
            return given
        folder = self.work / model / "bf16"
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        if given:
            made = run([self.o.mica, "convert", given, folder, "--dtype", "bf16"], 3600)
        else:
            made = run([self.o.synth, HERE / "shapes" / model, folder], 3600)
        if made is None:
            raise SystemExit(f"{model}: no weights")
        return folder

    def prepare(self, model, kind, engine):
        """The path that an engine opens, made when it is not there yet; None: it cannot be made."""
        source = self.checkpoint(model)
        mode, gguf_type = FORMATS[kind]
        if engine == "llama.cpp":
            path = self.work / model / f"{gguf_type}.gguf"
            command = [self.o.llama, HERE / "gguf_from_hf.py", source, path, "--type", gguf_type]
        elif mode:
            path = self.work / model / kind
            command = [self.o.mica, "convert", source, path, "-q", mode]
        elif engine == "mlx" and model == "gpt-oss-20b":
            path = self.work / model / "mlx-bf16"
            command = [self.o.mica, "convert", source, path]
        else:
            return source
        if not path.exists():
            note(f"making {path}")
            path.parent.mkdir(parents=True, exist_ok=True)
            if run(command, 3600) is None:
                return None
        return path

    # ---- measuring ----

    def sizes(self, model):
        if model == "gpt-oss-20b":
            return self.o.prompt, min(self.o.generate, 32)
        return self.o.prompt, self.o.generate

    def measure(self, engine, path, model):
        """One run of an engine, or None: {"pp": tok/s, "tg": tok/s, ...}."""
        prompt, generate = self.sizes(model)
        o = self.o
        if engine == "mica":
            text = run([o.mica, "bench", path, "-o", "json", "-p", prompt, "-n", generate, "-r", 1,
                        "--threads", o.threads, "--no-ceilings"], o.timeout)
            if text is None:
                return None
            facts = json.loads(text)
            speed = {r["test"]: r["median_tok_s"] for r in facts["results"]}
            return {**speed, "memory": facts["peak_memory_bytes"], "load": facts["start_seconds"]}
        if engine == "llama.cpp":
            command = [o.llama, HERE / "peer_llama.py"]
            if model == "gpt-oss-20b":
                command.append("--no-repack")
        else:
            command = [o.mlx, HERE / "peer_mlx.py", "--seconds", o.mlx_seconds]
        text = run(command + [path, "--prompt", prompt, "--generate", generate, "--threads",
                              o.threads], o.timeout)
        if text is None:
            return None
        facts = json.loads(text.strip().splitlines()[-1])
        short = {k: facts[k] for k in ("prompt_tokens", "generate_tokens") if k in facts}
        return {"pp": facts["prompt_tok_s"], "tg": facts["generate_tok_s"],
                "memory": facts["peak_memory_bytes"], "load": facts["load_seconds"],
                "version": facts["version"], **short}

    def run_cell(self, model, kind):
        """All engines on one model in one format, in turn for each round."""
        paths = {e: self.prepare(model, kind, e) for e in self.engines}
        rounds = {e: [] for e in self.engines if paths[e]}
        for i in range(self.o.rounds):
            for engine in list(rounds):
                if engine == "mlx" and i >= self.o.mlx_rounds:
                    continue
                note(f"{model} {kind} round {i + 1}: {engine}")
                result = self.measure(engine, paths[engine], model)
                if result is None:
                    del rounds[engine]
                else:
                    rounds[engine].append(result)
        return {e: summary(r) for e, r in rounds.items() if r}


def summary(rounds):
    out = {}
    for test in ("pp", "tg"):
        values = sorted(r[test] for r in rounds)
        out[test] = {"median": statistics.median(values), "min": values[0], "max": values[-1]}
    out["memory"] = max(r["memory"] for r in rounds)
    out["load"] = statistics.median(r["load"] for r in rounds)
    for key in ("version", "prompt_tokens", "generate_tokens"):
        if key in rounds[0]:
            out[key] = rounds[0][key]
    return out


def machine(o):
    """What mica's bench says of the machine, ceilings included."""
    demo = HERE.parent.parent / "models" / "demo"
    text = run([o.mica, "bench", demo, "-o", "json", "-p", 32, "-n", 8, "-r", 1, "--threads",
                o.threads], 300)
    facts = json.loads(text) if text else {}
    keys = ("device", "level", "features", "threads", "read_bytes_per_second", "fma_flops",
            "tile_flops")
    return {**{k: facts.get(k) for k in keys}, "system": platform.system(),
            "processor": platform.machine(), "date": datetime.date.today().isoformat()}


def print_table(results, out=sys.stdout):
    m = results["machine"]
    print(f"{m['device']} ({m['level']}), {results['threads']} threads; reads "
          f"{(m['read_bytes_per_second'] or 0) / 1e9:.1f} GB/s, "
          f"{(m['fma_flops'] or 0) / 1e9:.0f} GFLOP/s; medians of {results['rounds']} rounds, "
          f"{m['date']}\n", file=out)
    print("| model | format | work | mica | llama.cpp | MLX | to llama.cpp | to MLX |\n"
          "| --- | --- | --- | --- | --- | --- | --- | --- |", file=out)
    for cell in results["cells"]:
        for test in ("tg", "pp"):
            speeds = [cell["engines"].get(e, {}).get(test, {}).get("median") for e in ENGINES]
            ratios = [speeds[0] / s if speeds[0] and s else None for s in speeds[1:]]
            work = f"{'decode' if test == 'tg' else 'prefill'} {cell[test]}"
            print(f"| {MODELS[cell['model']]} | {cell['format']} | {work} | "
                  + " | ".join(f"{s:.1f}" if s else "" for s in speeds) + " | "
                  + " | ".join(f"{r:.2f}x" if r else "" for r in ratios) + " |", file=out)


def read_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mica", required=True, type=pathlib.Path, help="the program")
    parser.add_argument("--synth", type=pathlib.Path, help="tools/synth_checkpoint of the build")
    parser.add_argument("--work", required=True, type=pathlib.Path, help="folder for the models")
    parser.add_argument("--llama", default=sys.executable, help="Python with llama-cpp-python")
    parser.add_argument("--mlx", default=sys.executable, help="Python with mlx and mlx-lm")
    parser.add_argument("--smollm2", type=pathlib.Path, help="folder with SmolLM2-135M")
    parser.add_argument("--gpt-oss", type=pathlib.Path, help="folder with gpt-oss-20b")
    parser.add_argument("--models", default="smollm2-135m,qwen3-0.6b")
    parser.add_argument("--formats", default="bf16,8bit,4bit")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mlx-rounds", type=int, default=2, help="MLX is slow on the CPU")
    parser.add_argument("--mlx-seconds", type=float, default=10, help="limit of a test of MLX")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--timeout", type=float, default=600, help="seconds of one run")
    parser.add_argument("--prepare-only", action="store_true", help="make the models, no more")
    parser.add_argument("--keep", action="store_true",
                        help="keep the cells that the results have of other models and formats")
    parser.add_argument("--out", type=pathlib.Path, help="default WORK/results.json")
    o = parser.parse_args()
    for name, known in (("models", MODELS), ("formats", FORMATS), ("engines", ENGINES)):
        chosen = getattr(o, name).split(",")
        for c in chosen:
            if c not in known:
                parser.error(f"--{name}: {c}: wanted some of {', '.join(known)}")
        setattr(o, name, chosen)
    if not o.synth and ("qwen3-0.6b" in o.models or not o.smollm2):
        o.synth = o.mica.resolve().parent.parent / "tools" / "synth_checkpoint"
    return o


def main():
    o = read_arguments()
    bench = Bench(o)
    cells = [(m, f) for m in o.models for f in o.formats
             if not (m == "gpt-oss-20b" and f == "4bit")]
    for model, kind in cells:
        for engine in bench.engines:
            bench.prepare(model, kind, engine)
    if o.prepare_only:
        return
    results = {"machine": machine(o), "threads": o.threads, "rounds": o.rounds, "cells": []}
    out = o.out or o.work / "results.json"
    if o.keep and out.is_file():
        results["cells"] = [c for c in json.loads(out.read_text())["cells"]
                            if (c["model"], c["format"]) not in cells]
    for model, kind in cells:
        prompt, generate = bench.sizes(model)
        results["cells"].append({"model": model, "format": kind, "pp": prompt, "tg": generate,
                                 "rounds": o.rounds, "engines": bench.run_cell(model, kind)})
        out.write_text(json.dumps(results, indent=1) + "\n")  # what there is, if it is cut short
    print_table(results)


if __name__ == "__main__":
    main()
