#!/usr/bin/env python3
"""Makes test cases for tokenizers with the `tokenizers` package as the reference.

    tokenizer_cases.py TOKENIZER.json OUT.jsonl [--count N] [--seed S]
        N generated strings, one JSON object a line:
        {"text", "ids", "plain" (only where it differs), "text_back", "text_visible"}
        ids           special tokens in the text count
        plain         they are ordinary text (encode_special_tokens)
        text_back     decoded with special tokens (only where it differs from text)
        text_visible  decoded without them (only where it differs from text_back)
    tokenizer_cases.py TOKENIZER.json --driver PROGRAM [--count N] [--seed S]
        compares N strings with a program that speaks the protocol of compare() and prints every
        difference (exit status 1 if there is one).

The seed is printed. Neither the build nor the tests need this script.
"""
import argparse
import json
import random
import struct
import subprocess
import sys
import time
import unicodedata

WORDS = ("the and Hello World HELLO hello's don't we'll I'VE they'RE it's 's 'S 't x'd X'LL 'ſ "
         "café naïve Straße ΑΒΓ αβγ Привет мир שלום مرحبا नमस्ते 你好 世界 こんにちは カタカナ 안녕 ไทย Ǆ ǅ ǆ ª º "
         "ʰello dᵃy AᵃB camelCase PascalCase HTTPServer iPhone ThisIsATest ABCdefGHI").split(" ")
MARKS = ["\u0301", "\u0308", "\u0327", "\u0302\u0323", "\u20dd", "\u093f", "\u0903", "\u200d", "\ufe0f"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n", "\n ", "\r", "\u00a0", "\u2003", "\u3000",
          "\u2028", "\u0085", "\x0b", "\x0c", "\u1680", "\u200b", "\u180e", "\u202f"]
DIGITS = ["1", "12", "123", "1234", "1234567", "3.14", "1,000,000", "٣٤٥", "½", "Ⅷ", "²³", "①", "1e-5"]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧", "🇩🇪", "❤️", "\U0001f9d1\u200d\U0001f4bb", "⚡", "©", "™"]
PUNCT = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + ["...", "--", "->", "//", "/*", "*/", "://", "“", "”",
         "’", "—", "…", "¿", "«", "、", "。", "/\n", "!\n", "?\r\n", "¶", "€", "+=", "\n/", "/ /"]
CODE = ["def f(x):\n    return x+1\n", "int main(void) {\n\tprintf(\"%d\\n\", 3);\n}\n", "<div class=\"a\">",
        "for i in range(10):\n        pass", "#include <stdio.h>\n", "x = {'a': [1, 2]}\r\n\r\n",
        "SELECT * FROM t WHERE a='b';", "https://example.com/a?b=c&d=%20", "\\frac{a}{b}", "λx. x"]
CONTROL = ["\x00", "\x01", "\x1b", "\x7f", "\u0080", "\ufeff", "\ufffd", "\ufffe", "\ue000", "\U000f0000",
           "\U0010ffff"]
NORMAL = ["ﬁ", "Å", "A\u030a", "\u1100\u1161\u11a8", "각", "\u0344", "ẛ̣", "\u0958", "Ω", "q\u0307\u0323",
          "\u0fb2\u0f71\u0f80", "\u212b", "\ufa0e", "\uf900", "\u0374", "İ", "ı", "ß", "\u0390"]


def random_character(rng):
    """Assigned in an old Unicode version, so that engines with different tables agree."""
    while True:
        top = rng.choice([0x80, 0x250, 0x800, 0x3000, 0xFFFF, 0x1FFFF, 0x10FFFF])
        c = chr(rng.randrange(1, top + 1))
        if unicodedata.category(c) == "Cs":
            continue
        if unicodedata.ucd_3_2_0.category(c) == "Cn":
            continue
        return c


def make_text(rng, added):
    pools = [WORDS, WORDS, WORDS, SPACES, SPACES, DIGITS, EMOJI, PUNCT, PUNCT, CODE, MARKS, CONTROL, NORMAL]
    kind = rng.random()
    n = rng.choice([1, 2, 3, 5, 8, 13, 30])
    if kind < 0.1:  # a run of one thing
        unit = rng.choice(rng.choice(pools))
        return unit * rng.choice([2, 3, 5, 17, 40, 100]) + rng.choice(["", "x", " ", "\n"])
    if kind < 0.2:
        return "".join(random_character(rng) for _ in range(n))
    if kind < 0.3:
        return "".join(rng.choice(" \n\r\ta1.'sS/") for _ in range(n))
    if kind < 0.35:
        return "".join(rng.choice(SPACES) for _ in range(n)) + rng.choice(["", "a", "1", "."])
    parts = []
    for _ in range(n):
        x = rng.random()
        if x < 0.12 and added:
            token = rng.choice(added)
            parts.append(token if rng.random() < 0.8 else token[: rng.randrange(len(token) + 1)])
        elif x < 0.2:
            parts.append(random_character(rng))
        else:
            parts.append(rng.choice(rng.choice(pools)))
        if rng.random() < 0.4:
            parts.append(" ")
    return "".join(parts)


def load(path):
    import tokenizers
    raw = json.load(open(path, encoding="utf-8"))
    added = [a["content"] for a in raw.get("added_tokens", [])]
    rng = random.Random(1)
    if len(added) > 60:
        special = [a["content"] for a in raw["added_tokens"] if a["special"]]
        added = special + rng.sample(added, 40)
    return tokenizers.Tokenizer.from_file(path), added


def encode(tokenizer, text, plain=False, add=False):
    tokenizer.encode_special_tokens = plain
    return tokenizer.encode(text, add_special_tokens=add).ids


def write_cases(tokenizer, added, args, rng):
    with open(args.out, "w", encoding="utf-8") as out:
        seen = set()
        while len(seen) < args.count:
            text = make_text(rng, added)
            if text in seen or len(text) > 300:
                continue
            seen.add(text)
            case = {"text": text, "ids": encode(tokenizer, text)}
            plain = encode(tokenizer, text, plain=True)
            if plain != case["ids"]:
                case["plain"] = plain
            back = tokenizer.decode(case["ids"], skip_special_tokens=False)
            if back != text:
                case["text_back"] = back
            visible = tokenizer.decode(case["ids"], skip_special_tokens=True)
            if visible != back:
                case["text_visible"] = visible
            out.write(json.dumps(case, ensure_ascii=True, separators=(",", ":")) + "\n")


def compare(tokenizer, added, args, rng):
    """Request: u32 flags (1 plain, 2 add), u32 bytes, text. Answer: u32 count, ids, then for keep
    in (no, yes): u32 bytes, decoded text, u32 bytes, streamed text."""
    p = subprocess.Popen([args.driver, args.tokenizer], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(n):
        data = p.stdout.read(n)
        if len(data) != n:
            raise SystemExit("the program died")
        return data

    bad = 0
    for i in range(args.count):
        text = make_text(rng, added)
        flags = rng.choice([0, 0, 0, 1, 2])
        data = text.encode()
        p.stdin.write(struct.pack("<II", flags, len(data)) + data)
        p.stdin.flush()
        (count,) = struct.unpack("<I", read(4))
        if count == 0xFFFFFFFF:
            (n,) = struct.unpack("<I", read(4))
            print("error", repr(text), read(n))
            bad += 1
            continue
        ids = list(struct.unpack(f"<{count}I", read(4 * count)))
        texts = []
        for _ in range(4):
            (n,) = struct.unpack("<I", read(4))
            texts.append(read(n).decode())
        want = encode(tokenizer, text, plain=bool(flags & 1), add=bool(flags & 2))
        if ids != want:
            bad += 1
            if bad < args.show:
                print("ids", flags, ascii(text), "\n  got ", [tokenizer.id_to_token(i) for i in ids][:40],
                      "\n  want", [tokenizer.id_to_token(i) for i in want][:40])
            continue
        for k in (0, 1):
            want_text = tokenizer.decode(want, skip_special_tokens=k == 0)
            if texts[2 * k] != want_text:
                bad += 1
                if bad < args.show:
                    print("decode", k, ascii(text), "\n  got ", ascii(texts[2 * k]), "\n  want", ascii(want_text))
            if texts[2 * k + 1] != texts[2 * k]:
                bad += 1
                if bad < args.show:
                    print("stream", k, ascii(text), "\n  got ", ascii(texts[2 * k + 1]), "\n  want", ascii(texts[2 * k]))
    p.stdin.close()
    print(f"{args.count} strings, {bad} differences")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--driver")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--show", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print("seed", args.seed)
    rng = random.Random(args.seed)
    tokenizer, added = load(args.tokenizer)
    if args.driver:
        sys.exit(compare(tokenizer, added, args, rng))
    write_cases(tokenizer, added, args, rng)


if __name__ == "__main__":
    main()
