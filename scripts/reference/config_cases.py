"""Makes Tests/Fixtures/configs/decoder-cases.json: what transformers makes of odd text_configs.

    python scripts/reference/config_cases.py

Needs torch and transformers. For each configuration: the rotary frequencies and the shapes of the attention's weights of a model
built from it, and which layers attend to a window; null where transformers refuses or where it cannot run.
"""
import json
import pathlib

import torch
from transformers import AutoConfig, AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24,
    "vocab_size": 40, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
ABSENT = object()

# name: (model type, changes of BASE)
CASES = {
    "plain": ("llama", {}),
    "theta in rope_parameters": ("llama", {"rope_theta": ABSENT, "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}}),
    "two thetas": ("llama", {"rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}}),
    "two thetas, scaling": ("qwen2", {"rope_scaling": {"rope_theta": 700.0, "rope_type": "default"}}),
    "scaling before parameters": ("llama", {
        "rope_scaling": {"rope_type": "linear", "factor": 4.0}, "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}}),
    "type by the old name": ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}),
    "linear": ("qwen2", {"rope_scaling": {"rope_type": "linear", "factor": 2.5}}),
    "dynamic": ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
    "llama3": ("llama", {"rope_scaling": {"rope_type": "llama3"} | LLAMA3}),
    "llama3 of qwen2": ("qwen2", {"rope_scaling": {"rope_type": "llama3"} | LLAMA3}),
    "llama3, parameters": ("llama", {"rope_theta": ABSENT, "rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0} | LLAMA3}),
    "null scaling": ("llama", {"rope_scaling": None}),
    "no theta": ("qwen2", {"rope_theta": ABSENT}),
    "attention_bias of llama": ("llama", {"attention_bias": True}),
    "attention_bias of qwen2": ("qwen2", {"attention_bias": False}),
    "attention_bias of mistral": ("mistral", {"attention_bias": True}),
    "key heads null": ("llama", {"num_key_value_heads": None}),
    "key heads absent": ("llama", {"num_key_value_heads": ABSENT}),
    "key heads null, qwen2": ("qwen2", {"num_key_value_heads": None}),
    "key heads absent, qwen2": ("qwen2", {"num_key_value_heads": ABSENT, "num_attention_heads": 32, "hidden_size": 64}),
    "key heads absent, mistral": ("mistral", {"num_key_value_heads": ABSENT, "num_attention_heads": 16}),
    "head_dim": ("llama", {"head_dim": 12}),
    "head_dim null": ("mistral", {"head_dim": None}),
    "head_dim of qwen2": ("qwen2", {"head_dim": 12}),
    "window, mistral": ("mistral", {"sliding_window": 8}),
    "window null, mistral": ("mistral", {"sliding_window": None}),
    "window absent, mistral": ("mistral", {}),
    "window not used, qwen2": ("qwen2", {"sliding_window": 8, "use_sliding_window": False}),
    "window beyond the layers": ("qwen2", {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 28}),
    "window of some layers": ("qwen2", {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 1}),
    "layer_types full": ("qwen2", {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 0,
                                   "layer_types": ["full_attention"] * 2}),
    "layer_types sliding": ("qwen2", {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 28,
                                      "layer_types": ["full_attention", "sliding_attention"]}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "head_dim absent, qwen3": ("qwen3", {}),
    "attention_bias of qwen3": ("qwen3", {"head_dim": 16, "attention_bias": True}),
    "key heads absent, qwen3": ("qwen3", {"num_key_value_heads": ABSENT, "num_attention_heads": 32, "hidden_size": 64}),
    "window not used, qwen3": ("qwen3", {"sliding_window": 8, "use_sliding_window": False}),
    "window of some layers, qwen3": ("qwen3", {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 1}),
}


def resolved(kind, text):
    config = AutoConfig.for_model(kind, **text)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    attention = model.model.layers[0].self_attn
    shape = lambda layer: list(layer.weight.shape)
    windows = []
    for layer in model.model.layers:
        window = getattr(layer.self_attn, "sliding_window", None) if kind in ("qwen2", "qwen3") else getattr(config, "sliding_window", None)
        windows.append(window if kind != "llama" else None)
    model(torch.arange(9)[None])
    return {
        "inverseFrequencies": model.model.rotary_emb.inv_freq.double().tolist(), "q": shape(attention.q_proj),
        "k": shape(attention.k_proj), "qBias": attention.q_proj.bias is not None, "oBias": attention.o_proj.bias is not None,
        "windows": windows, "tied": model.lm_head.weight is model.model.embed_tokens.weight,
    }


def main():
    cases = []
    for name, (kind, changes) in CASES.items():
        text = {"model_type": kind} | {k: v for k, v in (BASE | changes).items() if v is not ABSENT}
        try:
            found = resolved(kind, {k: v for k, v in text.items() if k != "model_type"})
        except Exception as error:  # whatever transformers or torch say
            print(f"{name}: {type(error).__name__}: {error}")
            found = None
        cases.append({"name": name, "text_config": text, "resolved": found})
    (ROOT / "Tests/Fixtures/configs/decoder-cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
