#!/usr/bin/env python3
"""Speed of mica's tokenizers beside the `tokenizers` package, both on one core.

    tokenizer_bench.py PROGRAM TOKENIZER.json... [--english FILE] [--code FILE] [--bytes N]

PROGRAM is the built bench/tokenizer_bench. Without files the texts are made of what every Python
brings along: English from the texts of `help()` and the docstrings of its library, code from its
sources. Prints medians of 5 and the ratio (above 1: mica is faster).
"""
import argparse
import ast
import glob
import os
import subprocess
import sysconfig
import tempfile
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


def sources():
    for path in sorted(glob.glob(sysconfig.get_paths()["stdlib"] + "/*.py")):
        with open(path, encoding="utf-8", errors="replace") as f:
            yield f.read()


def english(size):
    import pydoc_data.topics
    parts = [pydoc_data.topics.topics[k] for k in sorted(pydoc_data.topics.topics)]
    for text in sources():
        if sum(map(len, parts)) > size:
            break
        parts += [ast.get_docstring(n) or "" for n in ast.walk(ast.parse(text))
                  if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.Module))]
    return "\n".join(parts)


def code(size):
    parts = []
    for text in sources():
        parts.append(text)
        if sum(map(len, parts)) > size:
            break
    return "\n".join(parts)


def median(times):
    return sorted(times)[len(times) // 2]


def measure(action, runs):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = action()
        times.append(time.perf_counter() - start)
    return median(times), result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("tokenizers", nargs="+")
    parser.add_argument("--english")
    parser.add_argument("--code")
    parser.add_argument("--bytes", type=int, default=1 << 20)
    args = parser.parse_args()
    import tokenizers
    print("tokenizers", tokenizers.__version__, "-", os.cpu_count(), "cores, one used")
    texts = {}
    for name, path, make in (("english", args.english, english), ("code", args.code, code)):
        text = open(path, encoding="utf-8").read() if path else make(args.bytes)
        texts[name] = text.encode()[: args.bytes].decode(errors="ignore")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            with open(f"{folder}/{name}", "w", encoding="utf-8", newline="") as f:
                f.write(text)
        for path in args.tokenizers:
            out = subprocess.run([args.program, path] + [f"{folder}/{n}" for n in texts], check=True,
                                 capture_output=True, text=True).stdout.split("\n")
            load, tokenizer = measure(lambda: tokenizers.Tokenizer.from_file(path), 3)
            mine = float(out[0].split()[1])
            print(f"{path}\n  load     mica {mine * 1e3:8.1f} ms  reference {load * 1e3:8.1f} ms  ratio {load / mine:6.2f}")
            for line in out[1:]:
                if not line:
                    continue
                kind, file, _, n_tokens, seconds = line.split()
                text = texts[os.path.basename(file)]
                ids = tokenizer.encode(text, add_special_tokens=False).ids
                if kind == "encode":
                    reference, ids = measure(lambda: tokenizer.encode(text, add_special_tokens=False).ids, 5)
                else:
                    reference, _ = measure(lambda: tokenizer.decode(ids, skip_special_tokens=False), 5)
                same = "" if len(ids) == int(n_tokens) else "  NOT EQUAL"
                print(f"  {kind} {os.path.basename(file):8} mica {float(seconds) * 1e3:8.1f} ms  reference "
                      f"{reference * 1e3:8.1f} ms  ratio {reference / float(seconds):6.2f}{same}")


if __name__ == "__main__":
    main()
