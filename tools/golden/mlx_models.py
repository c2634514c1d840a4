#!/usr/bin/env python3
"""Logits of quantised models: mica against mlx-lm, both in float32.

    mlx_models.py SYNTH_CHECKPOINT MICA DEMO_DIR

For gpt_oss, qwen3_moe and llama times every mode of MLX (and gpt-oss's published mixture: experts in
mxfp4, the rest affine) makes a small random checkpoint with synth_checkpoint (seed 1), runs 24 ids
through `mica logits --exact` and through mlx-lm with its activations and scales in float32, and
prints the largest difference at the last position. The exit status is the number of cases that
differ by more than 1e-4 of the largest logit. DEMO_DIR gives gpt-oss's config.json and a tokenizer;
its yarn is set to truncate, as mlx-lm always does. Needs mlx, mlx-lm, numpy and safetensors; neither
the build nor the tests use it.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import mlx.core as mx
import numpy as np
from mlx_lm.utils import load_model
from safetensors.numpy import load_file

COMMON = {
    "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 1024, "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "attention_bias": False,
}  # fmt: skip
MODELS = {
    "gpt_oss": None,
    "qwen3_moe": {
        **COMMON, "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"],
        "moe_intermediate_size": 128, "num_experts": 8, "num_experts_per_tok": 2,
        "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [],
        "tie_word_embeddings": False,
    },
    "llama": {
        **COMMON, "model_type": "llama", "architectures": ["LlamaForCausalLM"],
        "tie_word_embeddings": True,
    },
}  # fmt: skip
FORMATS = {
    "mxfp4": {"group_size": 32, "bits": 4, "mode": "mxfp4"},
    "mxfp8": {"group_size": 32, "bits": 8, "mode": "mxfp8"},
    "nvfp4": {"group_size": 16, "bits": 4, "mode": "nvfp4"},
    **{f"affine{b}g{g}": {"group_size": g, "bits": b} for b in (2, 3, 4, 5, 6, 8) for g in (32, 64)},
}
IDS = [(i * 37 + 5) % 1000 for i in range(24)]


def gpt_oss_config(demo):
    config = json.loads((demo / "config.json").read_text())
    config["rope_scaling"]["truncate"] = True
    config.pop("quantization_config")
    return config


def mixture(n_layers):
    """As published conversions of gpt-oss say it: the router has no mode."""
    rules = {"group_size": 32, "bits": 4, "mode": "mxfp4"}
    affine = {"group_size": 64, "bits": 4, "mode": "affine"}
    for i in range(n_layers):
        rules[f"model.layers.{i}.mlp.router"] = {"group_size": 64, "bits": 8}
        for m in "qkvo":
            rules[f"model.layers.{i}.self_attn.{m}_proj"] = affine
    rules["model.embed_tokens"] = rules["lm_head"] = affine
    return rules


def compare(programs, demo, config, quantization, folder):
    """The largest difference, over the largest logit."""
    synth, mica = programs
    made, checkpoint = folder / "config", folder / "checkpoint"
    for f in (made, checkpoint):
        shutil.rmtree(f, ignore_errors=True)
    made.mkdir()
    config = {**config, "quantization": quantization, "quantization_config": quantization}
    (made / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (demo / name).exists():
            shutil.copy(demo / name, made)
    subprocess.run([synth, made, checkpoint], check=True, stdout=subprocess.DEVNULL)
    (folder / "ids.jsonl").write_text(json.dumps(IDS))
    out = folder / "out.safetensors"
    subprocess.run([mica, "logits", checkpoint, folder / "ids.jsonl", out, "--exact"], check=True)
    got = np.asarray(next(iter(load_file(out).values())), np.float32).reshape(-1)
    model, _ = load_model(checkpoint)
    model.set_dtype(mx.float32)
    want = np.array(model(mx.array([IDS]))[0, -1].astype(mx.float32))
    return np.abs(got - want).max() / np.abs(want).max()


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    demo, n_bad = pathlib.Path(sys.argv[3]), 0
    mx.set_default_device(mx.cpu)
    with tempfile.TemporaryDirectory() as folder:
        for family, config in MODELS.items():
            config = config or gpt_oss_config(demo)
            formats = dict(FORMATS)
            if family == "gpt_oss":
                formats["mixture"] = mixture(config["num_hidden_layers"])
            for name, quantization in formats.items():
                d = compare(sys.argv[1:3], demo, config, quantization, pathlib.Path(folder))
                n_bad += not d <= 1e-4
                print(f"{family} {name}: largest difference {d:.2g} of the largest logit", flush=True)
    sys.exit(n_bad)


if __name__ == "__main__":
    main()
