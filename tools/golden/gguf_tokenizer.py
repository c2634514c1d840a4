#!/usr/bin/env python3
"""Compares the tokenizer that mica makes of a GGUF file with a published tokenizer.json.

    pip install tokenizers
    mica convert MODEL.gguf FOLDER     # writes the tokenizer.json that mica makes
    python tools/golden/gguf_tokenizer.py FOLDER/tokenizer.json PUBLISHED.json [--seed N] [--count N]

Equal ids on random strings; where both are BPE, also equal vocabularies and merges. Prints what
differs and exits 1.
"""
import argparse
import json
import random
import sys

from tokenizers import Tokenizer

PIECES = ["Hello", "world", " ", "  ", "\n", "\n\n", "\t", "1234", "5", " don't", "'LL", "na\u00efve",
          "e\u0301", "\u65e5\u672c\u8a9e", "\ud55c\uad6d", "\U0001f642\u200d\U0001f467", "<|im_end|>",
          "<table>", "_foo(bar);", "//", "\r\n", "a" * 9, " " * 17, "\u017f", "\u00ab\u00bb", "3.14",
          "</s>", "<unused5>", "\u00a0", "\u2581", "\u200b"]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("made")
    parser.add_argument("published")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--count", type=int, default=10000)
    options = parser.parse_args()
    print("seed", options.seed)
    rng = random.Random(options.seed)
    models = [json.load(open(p, encoding="utf-8"))["model"] for p in (options.made, options.published)]
    pairs = [[tuple(m if isinstance(m, list) else m.split(" ", 1)) for m in model.get("merges", [])]
             for model in models]
    print("vocabularies equal:", models[0]["vocab"] == models[1]["vocab"],
          " merges equal:", pairs[0] == pairs[1])
    made, published = Tokenizer.from_file(options.made), Tokenizer.from_file(options.published)
    wrong = 0
    for _ in range(options.count):
        text = "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 14)))
        got, want = made.encode(text).ids, published.encode(text).ids
        if got != want:
            wrong += 1
            if wrong <= 5:
                print(repr(text), got, want, sep="\n  ")
    print(f"{wrong} of {options.count} strings differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
