#!/usr/bin/env python3
"""Makes test cases for tokenizers with the `tokenizers` package as the reference.

    tokenizer_cases.py TOKENIZER.json OUT.jsonl [--count N] [--seed S]
        N generated strings, one JSON object a line:
        {"text", "ids", "plain" (only where it differs), "text_back", "text_visible"}
        ids           special tokens in the text count
        plain         they are ordinary text (encode_special_tokens)
        text_back     decoded with special tokens (only where it differs from text)
        text_visible  decoded without them (only where it differs from text_back)
    tokenizer_cases.py TOKENIZER.json... --driver PROGRAM [--count N] [--seed S]
        compares N strings for each tokenizer with PROGRAM (the built tools/tokenizer_driver) and
        prints the first differences and a table (exit status 1 if there is a difference).

A string on which the reference fails is left out. The seed is printed. Neither the build nor the
tests need this script; tokenizer_zoo.py makes tokenizers to run it on.
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
JAMO = ["\u1112\u1161\u11ab", "\u1100\u1161", "\u11a8", "ㄱ", "ㅏ", "한", "글", "ﾡ", "\ud55c\u11ab", "\u1100\u1100\u1161"]
CJK = ["漢字", "汉字", "日本語", "、", "。", "「", "」", "ー", "㐀", "𠀀", "豈", "ｶﾞ", "ﾊﾟ", "ﾎﾞ", "㌔", "㍻", "１２３", "ｈｅｌｌｏ", "ｆｕｌｌ"]
ODD = ["<0x41>", "<0xE4><0xBD>", "<0xGG>", "<0x0>", "\\xff\\xfe", "%C3%28", "\ufffd\ufffd", "▁", "▁▁", "▁the", " ▁", "##ing", "##",
       "[UNK]", "[CLS]", "<unk>", "<pad>", "<s>", "</s>", "<|endoftext|>", "<|im_start|>user\n", "</w>", "Ġ", "Ċ", "ĠĠ",
       "&#x27;", "\\u0041", "``", "''", "do not", " 's", " ?", " n't", "I'm", "|", "\u2581\u2581x"]
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


def near_miss(rng, token):
    """Mostly the token itself, else something that is almost it."""
    kind, at = rng.random(), rng.randrange(len(token) + 1)
    if kind < 0.7:
        return token
    if kind < 0.8:
        return token[:at]
    if kind < 0.85:
        return token[:at] + rng.choice([" ", "x", "\u0301", "\n", ">"]) + token[at:]
    if kind < 0.9:
        return token[:at] + token
    if kind < 0.95:
        return token.upper() if token.islower() else token.lower()
    return token + rng.choice(["\u0301", ">", " ", token])


def make_text(rng, added):
    pools = [WORDS, WORDS, WORDS, SPACES, SPACES, DIGITS, EMOJI, PUNCT, PUNCT, CODE, MARKS, CONTROL, NORMAL, JAMO, CJK, ODD]
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
            parts.append(near_miss(rng, rng.choice(added)))
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


class Driver:
    """Request: u32 flags (1 plain, 2 add), u32 bytes, text. Answer: u32 count, ids, then for keep in
    (no, yes): u32 bytes, decoded text, u32 bytes, streamed text."""

    def __init__(self, program, path):
        self.process = subprocess.Popen([program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, n):
        data = self.process.stdout.read(n)
        if len(data) != n:
            raise SystemExit("the program died")
        return data

    def number(self):
        return struct.unpack("=I", self.read(4))[0]

    def ask(self, text, flags):
        data = text.encode()
        self.process.stdin.write(struct.pack("=II", flags, len(data)) + data)
        self.process.stdin.flush()
        count = self.number()
        if count == 0xFFFFFFFF:
            return self.read(self.number()).decode(), None
        ids = list(struct.unpack(f"={count}I", self.read(4 * count)))
        return ids, [self.read(self.number()).decode() for _ in range(4)]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def differences(tokenizer, driver, text, flags):
    """None where the reference fails; else a list of lines."""
    ids, texts = driver.ask(text, flags)
    try:
        want = encode(tokenizer, text, plain=bool(flags & 1), add=bool(flags & 2))
        want_texts = [tokenizer.decode(want, skip_special_tokens=k == 0) for k in (0, 1)]
    except BaseException as e:  # the reference panics on some texts
        if isinstance(e, KeyboardInterrupt):
            raise
        return None
    if texts is None:
        return [f"error: {ids}"]
    if ids != want:
        return [f"ids {flags}\n  got  {[tokenizer.id_to_token(i) for i in ids][:40]}"
                f"\n  want {[tokenizer.id_to_token(i) for i in want][:40]}"]
    found = []
    for k in (0, 1):
        if texts[2 * k] != want_texts[k]:
            found.append(f"decode {k}\n  got  {ascii(texts[2 * k])}\n  want {ascii(want_texts[k])}")
        # A stream cannot take back the good characters of a byte run that goes bad later.
        if texts[2 * k + 1] != texts[2 * k] and "\ufffd" not in texts[2 * k]:
            found.append(f"stream {k}\n  got  {ascii(texts[2 * k + 1])}\n  want {ascii(texts[2 * k])}")
    return found


def compare(path, args, rng):
    tokenizer, added = load(path)
    driver = Driver(args.driver, path)
    bad = tried = failed = 0
    while tried < args.count:
        text = make_text(rng, added)
        found = differences(tokenizer, driver, text, rng.choice([0, 0, 0, 1, 2]))
        if found is None:
            failed += 1
            continue
        tried += 1
        bad += bool(found)
        if found and bad <= args.show:
            print(path, ascii(text), *found, sep="\n  ")
    driver.close()
    return tried, failed, bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="tokenizers; without --driver one, and the output")
    parser.add_argument("--driver")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--show", type=int, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print("seed", args.seed)
    rng = random.Random(args.seed)
    if not args.driver:
        if len(args.files) != 2:
            parser.error("expected TOKENIZER.json OUT.jsonl")
        tokenizer, added = load(args.files[0])
        args.out = args.files[1]
        write_cases(tokenizer, added, args, rng)
        return
    rows = [(path, *compare(path, args, rng)) for path in args.files]
    for path, tried, failed, bad in rows:
        name = path.rsplit("/", 1)[-1].removesuffix(".json")
        print(f"{name:20} {tried:7} strings {bad:5} differences" + (f" (reference failed on {failed})" if failed else ""))
    sys.exit(any(bad for *_, bad in rows))


if __name__ == "__main__":
    main()
