#!/usr/bin/env python3
"""Opens what `mica convert` writes with mlx-lm, and compares logits.

    python3 -m venv V && V/bin/pip install "mlx[cpu]" mlx-lm
    V/bin/python tools/golden/check_mlx_lm.py --mica build/cli/mica MODEL...

For each model folder and each way of storing weights: converts into a scratch folder, opens that
with mlx-lm (float32 activations, on the processor), and compares its logits over some ids with those
of `mica logits --exact --all` on the same folder. With --codes the model is also quantised by
mlx_lm's own function. affine has to be equal bit by bit; of the others both errors are printed, as
their encoders round scales and ties in more than one way.

Differences that are not the converter's: mlx-lm rounds the bounds of yarn (gpt_oss with truncate
false) and rounds gemma's embedding scale to bf16; --tolerance is for the rest. Needs a network only
for pip. Exits 1 when something is off.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import mlx.core as mx
import mlx.nn as nn
import mlx_lm
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model, quantize_model

MODES = ["none", "affine:4:64", "affine:8:64", "affine:2:32", "affine:3:32", "affine:5:32",
         "affine:6:32", "affine:4:32", "affine:4:128", "mxfp4", "mxfp8", "nvfp4"]


def read_safetensors(path):
    return {k: np.array(v) for k, v in mx.load(str(path)).items()}


def mica_logits(mica, folder, ids, scratch):
    lines = scratch / "ids.jsonl"
    out = scratch / "logits.safetensors"
    lines.write_text(json.dumps(ids) + "\n")
    subprocess.run([mica, "logits", "--exact", "--all", folder, lines, out], check=True)
    return read_safetensors(out)["logits.0"]


def look_up(layer, ids):
    """Rows of an embedding in float32: mlx gives bf16 for mxfp4, mxfp8 and nvfp4, which rounds all
    that follows."""
    biases = layer.get("biases")
    return mx.dequantize(layer["weight"][ids], layer["scales"][ids],
                         None if biases is None else biases[ids], group_size=layer.group_size,
                         bits=layer.bits, mode=layer.mode, dtype=mx.float32)


def mlx_logits(folder, ids):
    model, _ = load_model(folder)
    model.set_dtype(mx.float32)
    return np.array(model(mx.array([ids]))[0])


def convert(mica, model, mode, out, extra):
    how = [] if mode == "none" else ["--quantize", mode]
    subprocess.run([mica, "convert", model, out, *how, *extra], check=True,
                   stdout=subprocess.DEVNULL)


def change_config(folder, changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rms_errors(original, ours, theirs, quantization):
    """Of all modules that both store in the same way, against the weights they were made from."""
    squares = {"ours": 0.0, "mlx-lm's": 0.0}
    count = 0
    usual = {k: v for k, v in quantization.items() if not isinstance(v, dict)}
    for name in sorted(k for k in ours if k.endswith(".scales") and k in theirs):
        path = name.removesuffix(".scales")
        if ours[name].shape != theirs[name].shape or path + ".scales" in original:
            continue
        weight = original[path + ".weight"].astype(mx.float32)
        for label, tensors in (("ours", ours), ("mlx-lm's", theirs)):
            values = mx.dequantize(tensors[path + ".weight"], tensors[name],
                                   tensors.get(path + ".biases"),
                                   **quantization.get(path, usual))
            squares[label] += float(mx.sum((values.astype(mx.float32) - weight) ** 2))
        count += weight.size
    return {label: (value / max(count, 1)) ** 0.5 for label, value in squares.items()}


def compare_codes(model_folder, converted, mode):
    """The same model quantised by mlx-lm: (our tensors, notes of what differs, errors of both)."""
    kind, *numbers = mode.split(":")
    bits, group = (int(numbers[0]), int(numbers[1])) if numbers else (None, None)
    model, config = load_model(model_folder)
    original = dict(tree_flatten(model.parameters()))
    model, config = quantize_model(model, config, group, bits, mode=kind)
    theirs = dict(tree_flatten(model.parameters()))
    ours = {}
    for path in sorted(converted.glob("model*.safetensors")):
        ours.update(mx.load(str(path)))
    notes = []
    for name in sorted(theirs.keys() | ours.keys()):
        if name not in theirs or name not in ours:
            notes.append(f"{name}: only in {'ours' if name in ours else 'theirs'}")
            continue
        a, b = ours[name], theirs[name]
        if a.dtype != b.dtype or a.shape != b.shape:
            notes.append(f"{name}: {a.dtype} {a.shape}, theirs {b.dtype} {b.shape}")
        elif not mx.array_equal(a.view(mx.uint8), b.view(mx.uint8)):
            differing = int(mx.sum(a.view(mx.uint8) != b.view(mx.uint8)))
            notes.append(f"{name}: {differing} of {a.nbytes} bytes differ")
    stored = json.loads((converted / "config.json").read_text()).get("quantization", {})
    return len(ours), notes, rms_errors(original, ours, theirs, stored)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--mica", required=True)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--ids", type=int, default=24, help="ids of each comparison")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--tolerance", type=float, default=2e-3,
                        help="largest difference of logits")
    parser.add_argument("--codes", action="store_true", help="compare with mlx-lm's quantiser")
    parser.add_argument("--change-config", type=json.loads, default={},
                        help="JSON object that replaces fields of the converted config.json, for "
                        "both programs: '{\"rope_scaling\": null}' where mlx-lm's yarn differs")
    parser.add_argument("--convert-options", default="", help="further options of mica convert")
    args = parser.parse_args()
    mx.set_default_device(mx.cpu)
    nn.QuantizedEmbedding.__call__ = look_up
    print(f"mlx {mx.__version__}, mlx-lm {mlx_lm.__version__}, seed {args.seed}")
    failed = False
    for model in args.models:
        vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
        ids = [random.Random(args.seed).randrange(vocabulary) for _ in range(args.ids)]
        for mode in args.modes.split(","):
            with tempfile.TemporaryDirectory() as name:
                scratch = pathlib.Path(name)
                out = scratch / "out"
                convert(args.mica, model, mode, out, args.convert_options.split())
                change_config(out, args.change_config)
                ours = mica_logits(args.mica, out, ids, scratch)
                try:
                    theirs = mlx_logits(out, ids)
                except Exception as error:  # mlx-lm's own limits are worth a line each
                    print(f"{model.name:12} {mode:12} mlx-lm: {error!r}")
                    failed = True
                    continue
                error = float(np.abs(ours - theirs).max())
                is_off = not error <= args.tolerance
                agree = float((ours.argmax(-1) == theirs.argmax(-1)).mean())
                line = f"{model.name:12} {mode:12} logits differ by {error:.2e} at most, "
                line += f"same first token {agree:.0%}"
                if args.codes and mode != "none":
                    plain = scratch / "plain"  # mlx-lm does not open all that mica does
                    convert(args.mica, model, "none", plain, [])
                    try:
                        n, notes, errors = compare_codes(plain, out, mode)
                    except ValueError as error:  # of its quantiser: not of what it opens
                        print(f"{line}; mlx-lm quantises no such model: {error}")
                        continue
                    line += f"; {n} tensors, {len(notes)} unlike mlx-lm's; rms error "
                    line += ", ".join(f"{label} {value:.3e}" for label, value in errors.items())
                    if mode.startswith("affine"):  # encoders of the others differ by version
                        line += "".join(f"\n    {note}" for note in notes[:8])
                        is_off |= len(notes) > 0
                print(line + ("   OFF" if is_off else ""), flush=True)
                failed |= is_off
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
