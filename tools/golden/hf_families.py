#!/usr/bin/env python3
"""Tiny random models with reference outputs of Hugging Face transformers.

    hf_families.py OUT_DIR [NAME...]

Writes OUT_DIR/<name>/ for each case below (or only for the named ones): config.json as published
checkpoints have it, config.v5.json as this transformers writes it, model.safetensors (bf16, seeded)
and golden.safetensors (float32, eager attention, CPU); what the tensors are is said in
tests/data/golden/README.md. Needs torch, transformers and safetensors; neither the build nor the
tests use it. A case that fails is reported and the others are still made; the exit status is the
number of failed cases.

Greedy ids come from computing the whole sequence again for each id. Where the rotary table depends
on the length (dynamic, longrope) mica keeps one table for the life of a sequence, that of the last
length that is computed (prompt + new ids - 1): greedy_n is made with that table, logits_pinned_n are
its logits at the prompt's end, and greedy_growing_n are the ids of transformers' own rule.
"""
import copy
import json
import pathlib
import shutil
import sys
import tempfile
import traceback

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

LENGTHS = (1, 17, 200)
N_GREEDY = 24
VOCAB = 320
HIDDEN = 64
SEEDS_MAX = 12
# A float32 program may differ by 1e-4 a logit, so a greedy choice needs more than twice that.
MARGIN_MIN = 1e-3
ERROR_MAX = 4e-5

# ---- configurations, in the form of published checkpoints ----


def config_base(model_type, architecture, **fields):
    config = {
        "architectures": [architecture],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "max_position_embeddings": 1024,
        "model_type": model_type,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.55.0",
        "use_cache": True,
        "vocab_size": VOCAB,
    }
    config.update(fields)
    return config


def phi3(**fields):
    base = {
        "attention_bias": False,
        "embd_pdrop": 0.0,
        "original_max_position_embeddings": 1024,
        "pad_token_id": 0,
        "resid_pdrop": 0.0,
        "sliding_window": 32,
    }
    base.update(fields)
    return config_base("phi3", "Phi3ForCausalLM", **base)


def phi3_long(pairs, **fields):
    short = [1.0 + 0.04 * i for i in range(pairs)]
    long = [1.05 + 0.55 * i * i for i in range(pairs)]
    base = {
        "max_position_embeddings": 512,
        "original_max_position_embeddings": 64,
        "rope_scaling": {
            "long_factor": [round(x, 4) for x in long],
            "short_factor": [round(x, 4) for x in short],
            "type": "longrope",
        },
        "sliding_window": 262144,
    }
    base.update(fields)
    return phi3(**base)


def llama(rope_scaling, **fields):
    base = {
        "attention_bias": False,
        "mlp_bias": False,
        "head_dim": 16,
        "num_hidden_layers": 2,
        "pretraining_tp": 1,
        "rope_scaling": rope_scaling,
        "tie_word_embeddings": True,
    }
    base.update(fields)
    return config_base("llama", "LlamaForCausalLM", **base)


def yarn(**fields):
    return {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, **fields}


def smollm3(**fields):
    base = {
        "attention_bias": False,
        "max_window_layers": 28,
        "mlp_bias": False,
        "no_rope_layer_interval": 4,
        "num_hidden_layers": 4,
        "pad_token_id": 3,
        "pretraining_tp": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 5000000.0,
        "sliding_window": None,
        "use_sliding_window": False,
    }
    base.update(fields)
    config = config_base("smollm3", "SmolLM3ForCausalLM", **base)
    # Published files do not say it; the default of the family is true.
    del config["tie_word_embeddings"]
    return config


CASES = {
    "phi3": phi3(),
    "phi3_longrope": phi3_long(8),
    # The form of Phi-4-mini: 12 of 16 elements of each head turn, tied head.
    "phi3_partial": phi3_long(6, partial_rotary_factor=0.75, tie_word_embeddings=True),
    "olmo2": config_base(
        "olmo2",
        "Olmo2ForCausalLM",
        attention_bias=False,
        rms_norm_eps=1e-06,
        rope_theta=500000,
        pad_token_id=0,
    ),
    "granite": config_base(
        "granite",
        "GraniteForCausalLM",
        attention_bias=False,
        attention_multiplier=0.15,
        embedding_multiplier=1.5,
        logits_scaling=0.5,
        mlp_bias=False,
        pad_token_id=0,
        residual_multiplier=1.25,
        rope_theta=5000000.0,
        tie_word_embeddings=True,
    ),
    "smollm3": smollm3(
        layer_types=["full_attention"] * 4,
        no_rope_layers=[1, 0, 1, 1],
    ),
    # The layers without rotation are the window layers; biases everywhere.
    "smollm3_window": smollm3(
        attention_bias=True,
        mlp_bias=True,
        no_rope_layer_interval=2,
        sliding_window=32,
        use_sliding_window=True,
    ),
    "llama_linear": llama(
        {"rope_type": "linear", "factor": 4.0}, attention_bias=True, mlp_bias=True
    ),
    "llama_dynamic": llama({"type": "dynamic", "factor": 4.0}, max_position_embeddings=64),
    "llama_yarn": llama(yarn(), max_position_embeddings=256),
    "llama_yarn_exact": llama(
        yarn(truncate=False, beta_fast=16.0, beta_slow=2.0, attention_factor=1.3),
        max_position_embeddings=256,
    ),
    "qwen3_moe_window": config_base(
        "qwen3_moe",
        "Qwen3MoeForCausalLM",
        attention_bias=True,
        decoder_sparse_step=1,
        head_dim=32,
        intermediate_size=96,
        max_window_layers=2,
        mlp_only_layers=[1],
        moe_intermediate_size=32,
        norm_topk_prob=False,
        num_experts=6,
        num_experts_per_tok=2,
        output_router_logits=False,
        rms_norm_eps=1e-06,
        rope_theta=1000000.0,
        router_aux_loss_coef=0.001,
        sliding_window=32,
        use_sliding_window=True,
    ),
}

# ---- weights: names and shapes of published checkpoints ----


def linear(out, name, rows, cols, has_bias=False, gain=1.0):
    out[name + ".weight"] = ((rows, cols), "linear", gain / cols**0.5)
    if has_bias:
        out[name + ".bias"] = ((rows,), "bias", 0.3)


def norm(out, name, size):
    out[name + ".weight"] = ((size,), "norm", 0.25)


def attention(out, prefix, c):
    family, hidden, bias = c["model_type"], c["hidden_size"], c.get("attention_bias", False)
    dim = c.get("head_dim") or hidden // c["num_attention_heads"]
    q, kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
    if family == "phi3":
        linear(out, prefix + "qkv_proj", q + 2 * kv, hidden, gain=1.4)
    else:
        linear(out, prefix + "q_proj", q, hidden, bias, 1.4)
        linear(out, prefix + "k_proj", kv, hidden, bias, 1.4)
        linear(out, prefix + "v_proj", kv, hidden, bias)
    linear(out, prefix + "o_proj", hidden, q, bias and family != "phi3")
    if family == "olmo2":
        norm(out, prefix + "q_norm", q)
        norm(out, prefix + "k_norm", kv)
    if family == "qwen3_moe":
        norm(out, prefix + "q_norm", dim)
        norm(out, prefix + "k_norm", dim)


def mlp(out, prefix, c, inter, has_bias):
    hidden = c["hidden_size"]
    if c["model_type"] == "phi3":
        linear(out, prefix + "gate_up_proj", 2 * inter, hidden, gain=1.2)
    else:
        linear(out, prefix + "gate_proj", inter, hidden, has_bias, 1.2)
        linear(out, prefix + "up_proj", inter, hidden, has_bias, 1.2)
    linear(out, prefix + "down_proj", hidden, inter, has_bias)


def feed_forward(out, prefix, c, layer):
    if c["model_type"] != "qwen3_moe" or layer in c["mlp_only_layers"]:
        mlp(out, prefix, c, c["intermediate_size"], c.get("mlp_bias", False))
        return
    linear(out, prefix + "gate", c["num_experts"], c["hidden_size"], gain=1.5)
    for e in range(c["num_experts"]):
        mlp(out, f"{prefix}experts.{e}.", c, c["moe_intermediate_size"], False)


def tensor_plan(c):
    """name -> (shape, kind, spread)"""
    out = {}
    is_tied = c.get("tie_word_embeddings", True)
    hidden, vocab = c["hidden_size"], c["vocab_size"]
    out["model.embed_tokens.weight"] = ((vocab, hidden), "linear", 0.3 if is_tied else 1.0)
    for i in range(c["num_hidden_layers"]):
        prefix = f"model.layers.{i}."
        attention(out, prefix + "self_attn.", c)
        feed_forward(out, prefix + "mlp.", c, i)
        if c["model_type"] != "olmo2":
            norm(out, prefix + "input_layernorm", hidden)
        norm(out, prefix + "post_attention_layernorm", hidden)
        if c["model_type"] == "olmo2":
            norm(out, prefix + "post_feedforward_layernorm", hidden)
    norm(out, "model.norm", hidden)
    if not is_tied:
        linear(out, "lm_head", vocab, hidden, gain=1.6)
    return out


def make_weights(c, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, (shape, kind, spread) in tensor_plan(c).items():
        x = torch.randn(shape, generator=generator) * spread
        if kind == "norm":
            x = x + 1.1
        weights[name] = x.to(torch.bfloat16).contiguous()
    return weights


# ---- running ----


def load_config(folder, file):
    """The configuration of a file, read as a checkpoint's would be."""
    with tempfile.TemporaryDirectory() as place:
        shutil.copy(folder / file, pathlib.Path(place) / "config.json")
        try:
            return AutoConfig.from_pretrained(place)
        except Exception as e:  # some versions check more when they read files
            print(f"  from_pretrained of {file} failed ({e}); trying for_model")
            fields = json.loads((folder / file).read_text())
            return AutoConfig.for_model(fields.pop("model_type"), **fields)


def load_model(folder, file, dtype=torch.float32):
    config = load_config(folder, file)
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        shutil.copy(folder / file, place / "config.json")
        shutil.copy(folder / "model.safetensors", place / "model.safetensors")
        options = {
            "config": config,
            "attn_implementation": "eager",
            "output_loading_info": True,
        }
        try:
            model, info = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, **options)
        except TypeError:
            model, info = AutoModelForCausalLM.from_pretrained(place, torch_dtype=dtype, **options)
    allowed = {"lm_head.weight"} if config.tie_word_embeddings else set()
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        left = {str(x) for x in info.get(kind) or ()} - allowed
        if left:
            raise RuntimeError(f"{kind}: {sorted(left)[:6]}")
    seen = {p.dtype for p in model.parameters()}
    if seen != {dtype}:
        raise RuntimeError(f"parameters are {seen}, wanted {dtype}")
    if getattr(model.config, "_attn_implementation", "eager") != "eager":
        raise RuntimeError("attention is not eager")
    return model.eval()


@torch.no_grad()
def run(model, ids):
    """float32 logits [n, vocab] without a cache."""
    x = torch.tensor([list(map(int, ids))], dtype=torch.long)
    return model(input_ids=x, use_cache=False).logits[0].float()


@torch.no_grad()
def hidden_states(model, ids):
    x = torch.tensor([list(map(int, ids))], dtype=torch.long)
    out = model(input_ids=x, use_cache=False, output_hidden_states=True)
    return torch.stack([h[0].float() for h in out.hidden_states])


def rope_type(model):
    return getattr(model.model.rotary_emb, "rope_type", "default")


def has_length_rule(model):
    kind = rope_type(model)
    return "dynamic" in kind or kind == "longrope"


def pin(model, length):
    """Fixes the rotary table that transformers' formula gives for a length."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rotary = model.model.rotary_emb
    table, scale = ROPE_INIT_FUNCTIONS[rotary.rope_type](
        model.config, torch.device("cpu"), seq_len=length
    )
    rotary.register_buffer("inv_freq", table.clone(), persistent=False)
    rotary.attention_scaling = scale
    rotary.rope_type = "default"
    return model


def greedy(model, ids, first=None):
    """24 ids and the margins of their choices; end-of-text ids are ids like others."""
    ids, new, margins = list(map(int, ids)), [], []
    for _ in range(N_GREEDY):
        top = torch.topk(run(model, ids)[-1], 2)
        margins.append(float(top.values[0] - top.values[1]))
        new.append(int(top.indices[0]))
        ids.append(new[-1])
    return torch.tensor(new, dtype=torch.int32), torch.tensor(margins)


def make_prompt(n, seed):
    generator = torch.Generator().manual_seed(seed * 1000 + n)
    return torch.randint(4, VOCAB, (n,), generator=generator, dtype=torch.int32)


def measure_length(fresh, n, seed, out, info):
    """fresh(): a model whose rotary state no call has touched."""
    ids = make_prompt(n, seed)
    logits = run(fresh(), ids)
    out[f"input_ids_{n}"] = ids
    out[f"logits_{n}"] = logits[-1].clone()
    if n == 17:
        out["logits_all_17"] = logits.clone()
        out["hidden_17"] = hidden_states(fresh(), ids)
    model = fresh()
    if has_length_rule(model):
        growing, _ = greedy(fresh(), ids)
        model = pin(model, n + N_GREEDY - 1)
        out[f"logits_pinned_{n}"] = run(model, ids)[-1].clone()
        out[f"greedy_growing_{n}"] = growing
    chosen, margins = greedy(model, ids)
    out[f"greedy_{n}"] = chosen
    out[f"greedy_margin_{n}"] = margins
    info[str(n)] = {
        "logit_std": round(float(logits[-1].std()), 3),
        "greedy_min_margin": round(float(margins.min()), 5),
        "greedy_distinct": len(set(chosen.tolist())),
    }
    if f"greedy_growing_{n}" in out:
        info[str(n)]["growing_rule_same_ids"] = bool(
            torch.equal(chosen, out[f"greedy_growing_{n}"])
        )


def error_against_f64(folder, out, info):
    worst = 0.0
    for n in LENGTHS:
        try:
            wide = load_model(folder, "config.json", torch.float64)
            error = float((run(wide, out[f"input_ids_{n}"])[-1] - out[f"logits_{n}"]).abs().max())
        except Exception as e:
            print(f"  no float64 run: {e}")
            return None
        info[str(n)]["f32_vs_f64_max"] = error
        worst = max(worst, error)
    return worst


def measure(folder, seed):
    template = load_model(folder, "config.json")
    fresh = lambda: copy.deepcopy(template)
    out, info = {}, {"seed": seed}
    for n in LENGTHS:
        measure_length(fresh, n, seed, out, info)
    margin = min(info[str(n)]["greedy_min_margin"] for n in LENGTHS)
    error = error_against_f64(folder, out, info)
    is_good = margin >= MARGIN_MIN and (error is None or error <= ERROR_MAX)
    print(f"  seed {seed}: smallest margin {margin:.5f}, float32 against float64 {error}")
    return out, info, is_good


def write_v5_config(folder):
    config = load_config(folder, "config.json")
    with tempfile.TemporaryDirectory() as place:
        try:
            config.save_pretrained(place)
            text = (pathlib.Path(place) / "config.json").read_text()
        except Exception as e:
            print(f"  save_pretrained failed ({e}); writing to_dict")
            text = json.dumps(config.to_dict(), indent=2, sort_keys=True, default=str)
    (folder / "config.v5.json").write_text(text.rstrip("\n") + "\n")


def check_v5_config(folder, out):
    model = load_model(folder, "config.v5.json")
    for n in LENGTHS:
        logits = run(copy.deepcopy(model), out[f"input_ids_{n}"])[-1]
        if not float((logits - out[f"logits_{n}"]).abs().max()) <= 1e-6:
            raise RuntimeError(f"config.v5.json gives other logits for {n} ids")
    text = json.loads((folder / "config.v5.json").read_text())
    return "rope_parameters" in text


def make_case(out_dir, name, config):
    folder = out_dir / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    first = 1 + 100 * sorted(CASES).index(name)
    for seed in range(first, first + SEEDS_MAX):
        save_file(make_weights(config, seed), folder / "model.safetensors", {"format": "pt"})
        out, info, is_good = measure(folder, seed)
        if is_good:
            break
    else:
        raise RuntimeError(f"{SEEDS_MAX} seeds, none with clear greedy choices")
    write_v5_config(folder)
    info["config_v5_has_rope_parameters"] = check_v5_config(folder, out)
    info["bytes"] = (folder / "model.safetensors").stat().st_size
    info["tensors"] = len(tensor_plan(config))
    info["transformers"] = transformers.__version__
    info["torch"] = torch.__version__
    save_file({k: v.contiguous() for k, v in out.items()}, folder / "golden.safetensors")
    (folder / "golden_info.json").write_text(json.dumps(info, indent=1) + "\n")
    print(f"{name}: {info['bytes']} bytes; {json.dumps(info)}")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    out_dir = pathlib.Path(sys.argv[1])
    names = sys.argv[2:] or list(CASES)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    print(f"python {sys.version.split()[0]}, torch {torch.__version__}, transformers", end=" ")
    print(transformers.__version__)
    failed = []
    for name in names:
        try:
            make_case(out_dir, name, CASES[name])
        except Exception:
            traceback.print_exc(file=sys.stdout)
            failed.append(name)
        sys.stdout.flush()
    print(f"made {len(names) - len(failed)} of {len(names)}; failed: {failed}")
    sys.exit(len(failed))


if __name__ == "__main__":
    main()
