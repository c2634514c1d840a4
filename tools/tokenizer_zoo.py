#!/usr/bin/env python3
"""Small tokenizers in the shapes of the published families, trained on text made here.

    tokenizer_zoo.py FOLDER [--size N] [--full-charsmap] [--cases OUT.jsonl] [--only NAME...]

writes FOLDER/<name>.json for each family, and with --cases all of them with what the `tokenizers`
package does on some texts (the format of tokenizer_pipelines.py; --size 360 made the tests' file): the normalizer, pre-tokenizer, decoder, post-processor and
added tokens are spelled as the family's own file spells them, the vocabulary is small (--size).
Unigram tokenizers get a character map made by `sentencepiece`: a short one, or with --full-charsmap
the whole of nmt_nfkc. The seeds are fixed, so that the files can be made again.
"""
import argparse
import base64
import io
import json
import os
import random
import tempfile

from tokenizer_cases import CODE, DIGITS, EMOJI, WORDS
from tokenizer_pipelines import make_case
from tokenizers import Tokenizer, models, trainers
from tokenizers import pre_tokenizers as pre

COMMON = """the of and to a in is it you that he was for on are with as I his they be at one have this from or had by
hot word but what some we can out other were all there when up use your how said an each she which do their time if will
way about many then them write would like so these her long make thing see him two has look more day could go come did
number sound no most people my over know water than call first who may down side been now find any new work part take
get place made live where after back little only round man year came show every good me give our under name very through
just form sentence great think say help low line differ turn cause much mean before move right boy old too same tell does
set three want air well also play small end put home read hand port large spell add even land here must big high such
follow act why ask men change went light kind off need house picture try us again animal point mother world near build
self earth father head stand own page should country found answer school grow study still learn plant cover food sun four
between state keep eye never last let thought city tree cross farm hard start might story saw far sea draw left late run
while press close night real life few north open seem together next white children begin got walk example ease paper
group always music those both mark often letter until mile river car feet care second book carry took science eat room
friend began idea fish mountain stop once base hear horse cut sure watch color face wood main enough plain girl usual
young ready above ever red list though feel talk bird soon body dog family direct pose leave song measure door product
black short numeral class wind question happen complete ship area half rock order fire south problem piece told knew pass
since top whole king space heard best hour better true during hundred five remember step early hold west ground interest
reach fast verb sing listen six table travel less morning ten simple several vowel toward war lay against pattern slow
center love person money serve appear road map rain rule govern pull cold notice voice unit power town fine certain fly
fall lead cry dark machine note wait plan figure star box noun field rest correct able pound done beauty drive stood
contain front teach week final gave green quick develop ocean warm free minute strong special mind behind clear tail
produce fact street inch multiply nothing course stay wheel full force blue object decide surface deep moon island foot
system busy test record boat common gold possible plane stead dry wonder laugh thousand ago ran check game shape equate
miss brought heat snow tire bring yes distant fill east paint language among""".split()
OTHER = """Привет мир как дела сегодня хорошая погода こんにちは世界 今日は良い天気です 你好世界 今天天气很好 我们去学校
안녕하세요 세계 오늘 날씨가 좋습니다 مرحبا بالعالم שלום עולם नमस्ते दुनिया สวัสดีชาวโลก Γειά σου Κόσμε
über straße größer café naïve déjà señor niño coração açaí žluťoučký kůň łódź świat""".split()

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WHITE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PREFIX = r"[^\r\n\p{L}\p{N}]?"
LLAMA3 = CONTRACTIONS + "|" + PREFIX + r"\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + WHITE
QWEN2 = CONTRACTIONS + "|" + PREFIX + r"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + WHITE
TEKKEN = (PREFIX + UPPER + "*" + LOWER + "+|" + PREFIX + UPPER + "+" + LOWER
          + r"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + WHITE)
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|" + WHITE)
CJK = "[一-龥぀-ゟ゠-ヿ]+"


def corpus(rng):
    lines = []
    for _ in range(2500):
        words = [rng.choice(COMMON[: rng.choice([40, 200, len(COMMON)])]) for _ in range(rng.randrange(4, 16))]
        lines.append(" ".join(words).capitalize() + rng.choice([".", "?", "!", ",", ":", ""]))
    for pool, count in ((WORDS, 200), (OTHER, 300), (DIGITS, 60), (EMOJI, 20)):
        lines += [" ".join(rng.choice(pool) for _ in range(8)) for _ in range(count)]
    lines += CODE * 30
    rng.shuffle(lines)
    return lines


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def byte_level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def metaspace(scheme, do_split=True):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": do_split}


def sequence(kind, *steps):
    return {"type": "Sequence", kind: list(steps)}


def replace(pattern, content):
    return {"type": "Replace", "pattern": pattern, "content": content}


def template(data, before, after):
    """before and after: contents of added tokens."""
    ids = {a["content"]: a["id"] for a in data["added_tokens"]}
    place = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    return {"type": "TemplateProcessing",
            "single": [*map(place, before), {"Sequence": {"id": "A", "type_id": 0}}, *map(place, after)],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in (*before, *after)}}


def add_tokens(data, *tokens):
    """tokens: content, or (content, flags)."""
    vocab = data["model"]["vocab"]
    known = vocab if isinstance(vocab, dict) else {t: i for i, (t, _) in enumerate(vocab)}
    free = max(known.values()) + 1
    for token in tokens:
        content, flags = token if isinstance(token, tuple) else (token, {})
        at = known.get(content, free)
        free += at == free
        data["added_tokens"].append({"id": at, "content": content, "single_word": False, "lstrip": False,
                                     "rstrip": False, "normalized": False, "special": True, **flags})
    data["added_tokens"].sort(key=lambda a: a["id"])


class Zoo:
    def __init__(self, size, full_charsmap):
        self.size = size
        self.lines = corpus(random.Random(7))
        self.full_charsmap = full_charsmap

    def train_bytes(self, pattern=None, digits=False):
        t = Tokenizer(models.BPE())
        steps = [pre.Digits(individual_digits=True)] if digits else []
        if pattern:
            from tokenizers import Regex
            steps.append(pre.Split(Regex(pattern), "isolated"))
        t.pre_tokenizer = pre.Sequence(steps + [pre.ByteLevel(add_prefix_space=False, use_regex=not pattern)])
        t.train_from_iterator(self.lines, trainers.BpeTrainer(
            vocab_size=self.size, initial_alphabet=sorted(pre.ByteLevel.alphabet()), show_progress=False))
        data = json.loads(t.to_str())
        data["decoder"] = byte_level()
        return data

    def train_characters(self):
        """sentencepiece's BPE as it is converted: <unk> <s> </s>, bytes, then the rest."""
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre.Metaspace(prepend_scheme="always", split=True)
        t.train_from_iterator(self.lines, trainers.BpeTrainer(
            vocab_size=self.size, limit_alphabet=120, show_progress=False))
        data = json.loads(t.to_str())
        learned = sorted(data["model"]["vocab"], key=data["model"]["vocab"].get)
        tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + learned
        data["model"].update(vocab={t: i for i, t in enumerate(tokens)}, unk_token="<unk>", fuse_unk=True,
                             byte_fallback=True)
        data["added_tokens"] = []
        add_tokens(data, "<unk>", "<s>", "</s>")
        data["pre_tokenizer"] = None
        return data

    def charsmap(self):
        import sentencepiece
        from sentencepiece import sentencepiece_model_pb2
        rules = {"ﬁ": "fi", "ﬂ": "fl", "e\u0301": "é", "a\u0308": "ä", "\u212b": "å", "№": "no", "™": "tm", "½": "1⁄2",
                 "①": "1", "…": "...", "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u3000": " ", "\u2003": " ",
                 "\u200b": " ", "\ufeff": " ", "\x01": "", "\x7f": "", "\u00ad": "", "ｶ\uff9e": "ガ", "ｶ": "カ", "Ǆ": "DŽ",
                 "ﾊ\uff9f": "パ", "Ⅷ": "VIII", "²": "2", "q\u0307\u0323": "q\u0323\u0307"}
        rules.update({chr(0xFF01 + i): chr(0x21 + i) for i in range(94)})
        with tempfile.TemporaryDirectory() as folder:
            options = {"normalization_rule_name": "nmt_nfkc"}
            if not self.full_charsmap:
                options = {"normalization_rule_tsv": f"{folder}/rules.tsv"}
                with open(f"{folder}/rules.tsv", "w", encoding="utf-8") as f:
                    for source, target in rules.items():
                        codes = [" ".join(f"{ord(c):X}" for c in s) for s in (source, target)]
                        f.write("\t".join(codes) + "\n")
            out = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(self.lines[:800]), model_writer=out, vocab_size=1000, minloglevel=2,
                character_coverage=0.99, hard_vocab_limit=False, **options)
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(out.getvalue())
        return {"type": "Precompiled",
                "precompiled_charsmap": base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()}

    def train_unigram(self, before, unknown="<unk>"):
        t = Tokenizer(models.Unigram())
        t.pre_tokenizer = pre.Metaspace()
        t.train_from_iterator(self.lines, trainers.UnigramTrainer(
            vocab_size=self.size, show_progress=False, unk_token=unknown, special_tokens=[unknown]))
        data = json.loads(t.to_str())
        learned = [(p, round(s, 6)) for p, s in data["model"]["vocab"] if p not in before]
        data["model"]["vocab"] = [(p, 0.0) for p in before] + learned
        data["model"]["unk_id"] = before.index(unknown)
        data["added_tokens"] = []
        add_tokens(data, *before)
        data["decoder"] = data["pre_tokenizer"]
        return data

    def train_words(self, trainer, model):
        t = Tokenizer(model)
        t.pre_tokenizer = pre.BertPreTokenizer()
        t.train_from_iterator([line.lower() for line in self.lines], trainer)
        data = json.loads(t.to_str())
        data["added_tokens"] = []
        return data

    # ---- byte level ----

    def llama3(self):
        data = self.train_bytes(LLAMA3)
        add_tokens(data, "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
        data["model"]["ignore_merges"] = True
        data["pre_tokenizer"] = sequence("pretokenizers", split({"Regex": LLAMA3}), byte_level(regex=False))
        data["post_processor"] = sequence("processors", byte_level(), template(data, ["<|begin_of_text|>"], []))
        return data

    def gpt2(self):
        data = self.train_bytes()
        add_tokens(data, ("<|endoftext|>", {"normalized": True}))
        data["pre_tokenizer"], data["post_processor"] = byte_level(), byte_level(prefix=True)
        return data

    def neox(self):
        data = self.train_bytes()
        spaces = [(" " * n, {"normalized": True, "special": False}) for n in range(8, 1, -1)]
        add_tokens(data, "<|endoftext|>", "<|padding|>", *spaces)
        data["normalizer"], data["pre_tokenizer"] = {"type": "NFC"}, byte_level()
        data["post_processor"] = byte_level()
        return data

    def olmo2(self):
        data = self.train_bytes(LLAMA3)
        add_tokens(data, "<|endoftext|>", "<|pad|>", ("|||IP_ADDRESS|||", {"special": False}), "<|im_start|>", "<|im_end|>")
        data["pre_tokenizer"] = sequence("pretokenizers", split({"Regex": LLAMA3}, "Removed", True), byte_level(regex=False))
        return data

    def starcoder(self):
        data = self.train_bytes(digits=True)
        add_tokens(data, "<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<filename>", "<jupyter_start>")
        data["pre_tokenizer"] = sequence("pretokenizers", {"type": "Digits", "individual_digits": True}, byte_level())
        return data

    def smollm(self):
        data = self.starcoder()
        data["added_tokens"] = []
        add_tokens(data, "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", ("<think>", {"special": False}))
        return data

    def qwen2(self):
        data = self.train_bytes(QWEN2)
        add_tokens(data, "<|endoftext|>", "<|im_start|>", "<|im_end|>", ("<tool_call>", {"special": False}),
                   ("</tool_call>", {"special": False}))
        data["normalizer"] = {"type": "NFC"}
        data["pre_tokenizer"] = sequence("pretokenizers", split({"Regex": QWEN2}), byte_level(regex=False))
        data["post_processor"] = byte_level(regex=False)
        return data

    def deepseek(self):
        data = self.train_bytes(DEEPSEEK)
        add_tokens(data, "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", ("<｜User｜>", {"special": False}),
                   ("<｜tool▁call▁begin｜>", {"special": False, "normalized": True}))
        data["normalizer"] = sequence("normalizers")
        data["pre_tokenizer"] = sequence("pretokenizers", split({"Regex": r"\p{N}{1,3}"}), split({"Regex": CJK}),
                                         split({"Regex": DEEPSEEK}), byte_level(regex=False))
        data["post_processor"] = template(data, ["<｜begin▁of▁sentence｜>"], [])
        return data

    def tekken(self):
        data = self.train_bytes(TEKKEN)
        add_tokens(data, "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]")
        data["model"]["ignore_merges"] = True
        data["pre_tokenizer"] = sequence("pretokenizers", split({"Regex": TEKKEN}), byte_level(regex=False))
        data["post_processor"] = template(data, ["<s>"], [])
        return data

    # ---- characters with byte fallback ----

    def llama2(self):
        data = self.train_characters()
        data["normalizer"] = sequence("normalizers", {"type": "Prepend", "prepend": "▁"}, replace({"String": " "}, "▁"))
        data["decoder"] = sequence("decoders", replace({"String": "▁"}, " "), {"type": "ByteFallback"}, {"type": "Fuse"},
                                   {"type": "Strip", "content": " ", "start": 1, "stop": 0})
        data["post_processor"] = template(data, ["<s>"], [])
        return data

    def mistral(self):
        data = self.llama2()
        add_tokens(data, "[INST]", "[/INST]", "[TOOL_CALLS]")
        data["normalizer"], data["pre_tokenizer"] = None, metaspace("first", False)
        return data

    def phi3(self):
        data = self.llama2()
        for a in data["added_tokens"]:
            a["rstrip"] = a["content"] == "</s>"
        add_tokens(data, "<|endoftext|>", *[(t, {"rstrip": True}) for t in (
            "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")])
        data["post_processor"] = None
        return data

    def gemma(self):
        data = self.train_characters()
        add_tokens(data, ("<start_of_turn>", {}), ("\n\n", {"special": False}), ("▁▁", {"special": False}))
        data["normalizer"] = replace({"String": " "}, "▁")
        data["pre_tokenizer"] = split({"String": " "}, "MergedWithPrevious")
        data["decoder"] = sequence("decoders", replace({"String": "▁"}, " "), {"type": "ByteFallback"}, {"type": "Fuse"})
        data["post_processor"] = template(data, ["<s>"], [])
        return data

    # ---- Unigram ----

    def xlm_roberta(self):
        data = self.train_unigram(["<s>", "<pad>", "</s>", "<unk>"])
        add_tokens(data, ("<mask>", {"lstrip": True}))
        data["normalizer"] = self.charsmap()
        data["pre_tokenizer"] = sequence("pretokenizers", {"type": "WhitespaceSplit"}, metaspace("always"))
        data["post_processor"] = template(data, ["<s>"], ["</s>"])
        return data

    def t5(self):
        data = self.train_unigram(["<pad>", "</s>", "<unk>"])
        add_tokens(data, *[f"<extra_id_{i}>" for i in (2, 1, 0)])
        data["normalizer"] = self.charsmap()
        data["pre_tokenizer"] = sequence("pretokenizers", {"type": "WhitespaceSplit"}, {
            "type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True})
        data["decoder"] = {"type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True}
        data["post_processor"] = template(data, [], ["</s>"])
        return data

    def albert(self):
        data = self.train_unigram(["<pad>", "<unk>", "[CLS]", "[SEP]"])
        add_tokens(data, ("[MASK]", {"lstrip": True}))
        data["normalizer"] = sequence(
            "normalizers", replace({"String": "``"}, '"'), replace({"String": "''"}, '"'), {"type": "NFKD"},
            {"type": "StripAccents"}, {"type": "Lowercase"}, self.charsmap(), replace({"Regex": " {2,}"}, " "))
        data["pre_tokenizer"] = metaspace("always")
        data["post_processor"] = template(data, ["[CLS]"], ["[SEP]"])
        return data

    def unigram_bytes(self):
        data = self.train_unigram(["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{b:02X}>" for b in range(256)])
        data["added_tokens"] = data["added_tokens"][:4]
        data["model"]["byte_fallback"] = True
        data["normalizer"] = replace({"String": " "}, "▁")
        data["pre_tokenizer"] = metaspace("first", False)
        data["decoder"] = sequence("decoders", replace({"String": "▁"}, " "), {"type": "ByteFallback"}, {"type": "Fuse"})
        data["post_processor"] = template(data, ["<bos>"], [])
        return data

    def unigram_whole(self):
        """One piece however long, no space in front; Nmt."""
        data = self.train_unigram(["<unk>"])
        data["normalizer"] = sequence("normalizers", {"type": "Nmt"}, {"type": "NFKC"})
        data["pre_tokenizer"] = data["decoder"] = metaspace("never", False)
        return data

    # ---- words ----

    def bert(self):
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        data = self.train_words(trainers.WordPieceTrainer(
            vocab_size=self.size, limit_alphabet=150, special_tokens=special, show_progress=False),
            models.WordPiece(unk_token="[UNK]"))
        add_tokens(data, *special)
        data["normalizer"] = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                              "strip_accents": None, "lowercase": True}
        data["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
        data["post_processor"] = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
        return data

    def bert_cased(self):
        data = self.bert()
        data["normalizer"].update(strip_accents=True, lowercase=False)
        data["model"]["max_input_chars_per_word"] = 12
        data["decoder"]["cleanup"] = False
        data["post_processor"] = {"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2],
                                  "trim_offsets": True, "add_prefix_space": True}
        return data

    def word_level(self):
        data = self.train_words(trainers.WordLevelTrainer(
            vocab_size=self.size, special_tokens=["<unk>"], show_progress=False), models.WordLevel(unk_token="<unk>"))
        add_tokens(data, "<unk>")
        data["normalizer"] = {"type": "Lowercase"}
        data["decoder"] = None
        return data

    def openai_gpt(self):
        t = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
        t.pre_tokenizer = pre.BertPreTokenizer()
        t.train_from_iterator([line.lower() for line in self.lines], trainers.BpeTrainer(
            vocab_size=self.size, limit_alphabet=120, end_of_word_suffix="</w>", special_tokens=["<unk>"],
            show_progress=False))
        data = json.loads(t.to_str())
        data["model"]["unk_token"] = "<unk>"
        data["normalizer"] = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                              "strip_accents": True, "lowercase": True}
        data["decoder"] = {"type": "BPEDecoder", "suffix": "</w>"}
        return data

    def wav2vec2(self):
        letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
        data = json.loads(Tokenizer(models.WordLevel({t: i for i, t in enumerate(letters)}, unk_token="<unk>")).to_str())
        add_tokens(data, "<s>", "</s>", "<unk>")
        data["normalizer"] = replace({"String": " "}, "|")
        data["pre_tokenizer"] = {"type": "FixedLength", "length": 1}
        data["decoder"] = {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True}
        return data


NAMES = [n for n, f in vars(Zoo).items() if callable(f) and not n.startswith(("_", "train", "charsmap"))]


def make_cases(tokenizer, data, count):
    """Short ones; none that decodes to U+FFFD, where a stream may differ from the whole."""
    rng, cases = random.Random(11), []
    while len(cases) < count:
        try:
            case = make_case(rng, tokenizer, data)
        except BaseException:  # the reference panics on some texts
            continue
        if len(case["text"].encode()) <= 120 and "\ufffd" not in "".join(case.get("texts", [])):
            cases.append(case)
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--size", type=int, default=800)
    parser.add_argument("--full-charsmap", action="store_true")
    parser.add_argument("--cases")
    parser.add_argument("--only", nargs="*", default=NAMES)
    args = parser.parse_args()
    zoo = Zoo(args.size, args.full_charsmap)
    os.makedirs(args.folder, exist_ok=True)
    lines = []
    for name in args.only:
        data = getattr(zoo, name)()
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        tokenizer = Tokenizer.from_str(text)
        with open(f"{args.folder}/{name}.json", "w", encoding="utf-8") as f:
            f.write(text + "\n")
        if args.cases:
            lines.append({"tokenizer": text, "cases": make_cases(tokenizer, data, 12)})
        print(name, len(text))
    if args.cases:
        with open(args.cases, "w", encoding="utf-8") as f:
            for line in lines:
                f.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
