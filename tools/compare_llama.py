#!/usr/bin/env python3
"""Compares mica with llama.cpp on one GGUF file: log-probabilities, likelihood, greedy ids, speed.

    compare_llama.py MODEL.gguf --mica PROGRAM [--oracle] [--f32 FOLDER] [--greedy N]
    compare_llama.py MODEL.gguf --mica PROGRAM --speed
    compare_llama.py MODEL.gguf --f32 FOLDER --write OUT.json

The texts are tests/data/download/text.txt and the prompts below. Each text is encoded by llama.cpp;
that mica gives the same ids is checked. Then the log-probabilities of the whole vocabulary after
every id are compared, pair by pair:

    llama       llama.cpp on the file as it is: it rounds activations to 8 bits before each product
                with quantised weights, and takes gelu from a table of half floats
    llama f32   (--f32) llama.cpp on a copy of the file in FOLDER with all weights unpacked to
                float32: activations are not rounded; what is left is its gelu and the order of sums
    numpy       (--oracle) golden/llama_numpy.py: the same weights in float64
    exact, fast mica

llama.cpp runs with a float32 cache, without flash attention. For each pair: the largest and the
mean absolute difference of log-probabilities, the mean and the largest KL divergence, how often the most
likely id is the same, and the mean negative log-likelihood of both.

--speed measures reading a prompt of 512 ids and generating 128, both engines in turn, medians of
--repetitions with the fastest and slowest, on --threads threads, and float16 cache for llama.cpp.

--write makes the expected values of tests/download_test.c: ids, greedy ids and likelihoods that
llama.cpp gives, with float32 weights and with the file as it is, and the version of it.

Needs Python 3 with numpy, gguf and llama-cpp-python (tested: 0.3.36, built with clang; gcc 12
miscompiles its AMX set-up). Neither the build nor the tests use this script.
"""
import argparse
import ctypes
import hashlib
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import llama_cpp
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "golden"))
from llama_numpy import Model, log_softmax, mean_nll  # noqa: E402

TEXT = ROOT / "tests" / "data" / "download" / "text.txt"
# What the models are asked; the base model continues, the other one answers in its chat format.
CHAT = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face" \
       "<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = {
    "llama": [CHAT.format("What is the capital of France?"), CHAT.format("Count from 1 to 10."),
              CHAT.format("Name the days of the week."), "The capital of France is"],
    "gemma3": ["The capital of France is the city of", "Water boils at 100 degrees",
               "Q: What is the capital of France?\nA: Paris\nQ: What is the capital of Italy?\nA:",
               "English: Good morning.\nFrench:"],
}


class Llama:
    """llama.cpp by its C interface: logits after every id, and timings without copies."""

    def __init__(self, path, ctx=2048, threads=2, f32_cache=True):
        # It says a lot on standard error; keep what is needed when something fails.
        self.silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.silence, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        self.vocab_handle = llama_cpp.llama_model_get_vocab(self.model)
        self.vocab = llama_cpp.llama_vocab_n_tokens(self.vocab_handle)
        c = llama_cpp.llama_context_default_params()
        c.n_ctx = c.n_batch = ctx
        c.n_ubatch = 512
        c.n_threads = c.n_threads_batch = threads
        if f32_cache:
            c.type_k = c.type_v = llama_cpp.GGML_TYPE_F32
            c.flash_attn_type = 0  # disabled
        self.context = llama_cpp.llama_init_from_model(self.model, c)
        self.batch = llama_cpp.llama_batch_init(ctx, 0, 1)

    def encode(self, text):
        raw = text.encode()
        room = len(raw) + 8
        out = (llama_cpp.llama_token * room)()
        n = llama_cpp.llama_tokenize(self.vocab_handle, raw, len(raw), out, room, True, True)
        return list(out[:n])

    def clear(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def decode(self, ids, first, all_logits=False):
        """Runs ids from position `first` on."""
        b = self.batch
        b.n_tokens = len(ids)
        for i, token in enumerate(ids):
            b.token[i], b.pos[i] = token, first + i
            b.n_seq_id[i], b.seq_id[i][0] = 1, 0
            b.logits[i] = all_logits or i + 1 == len(ids)
        if llama_cpp.llama_decode(self.context, b) != 0:
            raise SystemExit("llama_decode failed")

    def row(self, i=-1):
        pointer = llama_cpp.llama_get_logits_ith(self.context, i)
        return np.ctypeslib.as_array(pointer, (self.vocab,)).copy()

    def logits(self, ids):
        self.clear()
        self.decode(ids, 0, all_logits=True)
        return np.stack([self.row(i) for i in range(len(ids))])

    def greedy(self, ids, n):
        """n most likely ids, end ids ignored, and the smallest lead of a first over a second."""
        self.clear()
        self.decode(ids, 0)
        out, margin = [], float("inf")
        for i in range(n):
            row = self.row()
            second, first = np.partition(row, -2)[-2:]
            margin = min(margin, float(first - second))
            out.append(int(row.argmax()))
            self.decode([out[-1]], len(ids) + i)
        return out, margin

    def time(self, ids, n):
        """Seconds for the prompt, and for n ids after it."""
        self.clear()
        begin = time.perf_counter()
        self.decode(ids, 0)
        llama_cpp.llama_synchronize(self.context)
        middle = time.perf_counter()
        for i in range(n):
            self.decode([ids[i % len(ids)]], len(ids) + i)
            llama_cpp.llama_synchronize(self.context)
        return middle - begin, time.perf_counter() - middle


class Mica:
    def __init__(self, program, model, threads, exact):
        self.program, self.model = program, str(model)
        self.flags = ["--threads", str(threads)] + (["--exact"] if exact else [])

    def run(self, *arguments):
        return subprocess.run([self.program, *arguments], check=True, text=True,
                              stdout=subprocess.PIPE).stdout

    def encode(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
            f.write(json.dumps(text) + "\n")
            f.flush()
            return json.loads(self.run("tokenize", "--jsonl", "--file", f.name, self.model))

    def tensors(self, ids, *options):
        """What `mica logits` writes for one line of ids."""
        with tempfile.TemporaryDirectory() as folder:
            line, out = os.path.join(folder, "ids.jsonl"), os.path.join(folder, "out.safetensors")
            pathlib.Path(line).write_text(json.dumps(ids) + "\n")
            self.run("logits", *self.flags, *options, self.model, line, out)
            data = pathlib.Path(out).read_bytes()
        n = int.from_bytes(data[:8], "little")
        found = {}
        for name, entry in json.loads(data[8 : 8 + n]).items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            dtype = {"F32": np.float32, "I32": np.int32}[entry["dtype"]]
            values = np.frombuffer(data[8 + n + begin : 8 + n + end], dtype)
            found[name] = values.reshape(entry["shape"])
        return found

    def logits(self, ids):
        return self.tensors(ids, "--all")["logits.0"]

    def greedy(self, ids, n):
        return self.tensors(ids, "--greedy", str(n))["greedy.0"].tolist(), None

    def time(self, prompt, n):
        """Seconds for a prompt of `prompt` ids, and for n ids after it."""
        text = self.run("bench", *self.flags, "-p", str(prompt), "-n", str(n), "-r", "1",
                        "-o", "json", self.model)
        speeds = {r["test"]: r["median_tok_s"] for r in json.loads(text)["results"]}
        return prompt / speeds["pp"], n / speeds["tg"]


def unpack(source, target):
    """A copy of a GGUF file with every tensor in float32."""
    reader = GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    writer = GGUFWriter(target, arch)
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        if field.types[0] == GGUFValueType.ARRAY:
            writer.add_array(key, field.contents())
        else:
            writer.add_key_value(key, field.contents(), field.types[0])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, dequantize(tensor.data, tensor.tensor_type),
                          raw_dtype=GGMLQuantizationType.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def compare(a, b):
    """Of two [ids, vocab] arrays of logits, a the reference; row by row to bound the memory."""
    largest = total = kl_sum = kl_most = same = 0.0
    for x, y in zip(a, b):
        p, q = log_softmax(x), log_softmax(y)
        difference = np.abs(p - q)
        largest, total = max(largest, difference.max()), total + difference.mean()
        kl = float((np.exp(p) * (p - q)).sum())
        kl_sum, kl_most = kl_sum + kl, max(kl_most, kl)
        same += x.argmax() == y.argmax()
    n = len(a)
    return largest, total / n, kl_sum / n, kl_most, same / n


def print_comparison(engines, texts, first):
    """engines: name -> object with logits(ids); all pairs with one of the names in first."""
    names = list(engines)
    for title, ids in texts.items():
        print(f"\n{title}: {len(ids)} ids")
        rows = {name: engine.logits(ids) for name, engine in engines.items()}
        nll = {name: mean_nll(x, ids) for name, x in rows.items()}
        for name in names:
            print(f"  {name:10} mean nll {nll[name]:.6f}  perplexity {np.exp(nll[name]):.4f}")
        print("  pair                     max |dlogp|  mean |dlogp|  mean KL   max KL    same top")
        for a, b in itertools.combinations(names, 2):
            if a in first or b in first:
                d = compare(rows[a], rows[b])
                print(f"  {a + ' : ' + b:24} {d[0]:<12.5f} {d[1]:<13.6f} {d[2]:<9.2e} {d[3]:<9.2e} "
                      f"{d[4]:.4f}")


def print_encoding(mica, llama, texts):
    """Ids of mica beside those of llama.cpp, which puts BOS in front where the model wants it."""
    for text in texts:
        seen, wanted = mica.encode(text), llama.encode(text)
        at = next((i for i in range(2) if seen == wanted[i:]), None)
        result = "differ" if at is None else "equal" if at == 0 else "equal after BOS"
        print(f"ids of {text[:30]!r}: {result}")


def print_greedy(engines, texts, n):
    print(f"\ngreedy, {n} ids")
    for title, ids in texts.items():
        wanted = None
        for name, engine in engines.items():
            if not hasattr(engine, "greedy"):
                continue
            out, margin = engine.greedy(ids, n)
            if wanted is None:
                wanted = out
                print(f"  {title}: smallest lead of {name} {margin:.4f}")
            else:
                same = next((i for i in range(n) if out[i] != wanted[i]), n)
                print(f"    {name}: {'equal' if same == n else f'differs from id {same} on'}")


def print_speed(path, program, threads, repetitions):
    llama = Llama(path, ctx=1024, threads=threads, f32_cache=False)
    ids = (llama.encode(TEXT.read_text()) * 4)[:512]
    mica = Mica(program, path, threads, exact=False)
    seconds = {"llama.cpp": [], "mica": []}
    llama.time(ids, 8)
    for _ in range(repetitions):
        seconds["llama.cpp"].append(llama.time(ids, 128))
        seconds["mica"].append(mica.time(512, 128))
    print(f"tokens/s on {threads} threads, median (slowest - fastest) of {repetitions}")
    for name, pairs in seconds.items():
        text = []
        for which, tokens in enumerate((512, 128)):
            speeds = [tokens / pair[which] for pair in pairs]
            text.append(f"{('pp 512', 'tg 128')[which]} {statistics.median(speeds):.1f} "
                        f"({min(speeds):.1f} - {max(speeds):.1f})")
        print(f"  {name:10} {'   '.join(text)}")


def write_expected(path, prompts, texts, engines, n, out):
    """Of the copy in float32, and of the file as it is. Leads show where a tie is near."""
    as_is, unpacked = engines["llama"], engines["llama f32"]
    found = []
    for text in prompts:
        ids = as_is.encode(text)
        greedy, lead = unpacked.greedy(ids, n)
        greedy_as_is, lead_as_is = as_is.greedy(ids, n)
        found.append({"text": text, "ids": ids, "greedy": greedy, "smallest_lead": round(lead, 4),
                      "greedy_as_is": greedy_as_is, "smallest_lead_as_is": round(lead_as_is, 4)})
    ids = texts["text.txt"]
    expected = {
        "file": pathlib.Path(path).name,
        "sha256": hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest(),
        "made_by": f"llama-cpp-python {llama_cpp.__version__}, float32 cache, no flash attention; "
                   "tools/compare_llama.py --write",
        "prompts": found,
        "text_ids": ids,
        "text_mean_nll": round(mean_nll(unpacked.logits(ids), ids), 6),
        "text_mean_nll_as_is": round(mean_nll(as_is.logits(ids), ids), 6),
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in expected.items()]
    pathlib.Path(out).write_text("{" + ",\n ".join(lines).replace("}, {", "},\n  {") + "}\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--mica", metavar="PROGRAM")
    parser.add_argument("--mica-model", help="what mica loads in place of MODEL")
    parser.add_argument("--oracle", action="store_true")
    parser.add_argument("--round", default="", help="for --oracle; as in golden/llama_numpy.py")
    parser.add_argument("--f32", metavar="FOLDER")
    parser.add_argument("--greedy", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--write", metavar="OUT.json")
    options = parser.parse_args()
    if options.speed:
        print_speed(options.model, options.mica, options.threads, options.repetitions)
        return
    llama = Llama(options.model, threads=options.threads)
    prompts = PROMPTS[GGUFReader(options.model).fields["general.architecture"].contents()]
    texts = {"text.txt": llama.encode(TEXT.read_text())}
    texts.update({json.dumps(p[-40:]): llama.encode(p) for p in prompts})
    engines = {"llama": llama}
    if options.f32:
        copy = pathlib.Path(options.f32) / (pathlib.Path(options.model).stem + ".f32.gguf")
        if not copy.exists():
            unpack(options.model, copy)
        engines["llama f32"] = Llama(copy, threads=options.threads)
    if options.write:
        write_expected(options.model, prompts, texts, engines, options.greedy, options.write)
        return
    if options.oracle:
        engines["numpy"] = Model(options.model, options.round)
    if options.mica:
        model = options.mica_model or options.model
        engines["exact"] = Mica(options.mica, model, options.threads, exact=True)
        engines["fast"] = Mica(options.mica, model, options.threads, exact=False)
        if not options.mica_model:
            print_encoding(engines["exact"], llama, [TEXT.read_text(), *prompts])
    first = [name for name in ("llama", "llama f32", "numpy") if name in engines]
    print_comparison(engines, texts, first)
    print_greedy(engines, texts, options.greedy)


if __name__ == "__main__":
    main()
