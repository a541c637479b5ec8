"""Scaled-down policies with random weights: the configurations, and how a case folder is written."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from modeling import VLA, add_lora
from outputs import compute
from steps import train

IMAGENET_BF16 = ([0.484375, 0.455078125, 0.40625], [0.228515625, 0.2236328125, 0.224609375])
NORMALISATION = {"dinov2-reg4": IMAGENET_BF16, "siglip": ([0.5] * 3, [0.5] * 3)}


def dinov2(dim, heads, mlp, prefix="featurizer"):
    return {
        **{"kind": "dinov2-reg4", "prefix": prefix, "dim": dim, "depth": 3, "heads": heads, "mlp": mlp},
        **{"class_token": True, "register_tokens": 4, "layer_scale": True, "attn_pool": False},
        **{"output_block": 1, "layer_norm_eps": 1e-6},
    }


def siglip(dim, heads, mlp, prefix):
    return {
        **{"kind": "siglip", "prefix": prefix, "dim": dim, "depth": 3, "heads": heads, "mlp": mlp},
        **{"class_token": False, "register_tokens": 0, "layer_scale": False, "attn_pool": True},
        **{"output_block": 1, "layer_norm_eps": 1e-6},
    }


QWEN2 = {
    **{"model_type": "qwen2", "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": True},
    **{"bos_token_id": 36, "eos_token_id": 36, "use_sliding_window": False},
}
# Normalises the heads of q and k, whose width is not the model's over their number.
QWEN3 = {
    **{"model_type": "qwen3", "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": True, "head_dim": 8},
    **{"bos_token_id": 36, "eos_token_id": 36, "use_sliding_window": False, "attention_bias": False},
}
LLAMA = {
    **{"model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False},
    **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 36, "attention_bias": False, "mlp_bias": False},
}


def config(
    towers, projector, cameras, layers, queries, width, heads, kv_heads, mlp, policy_heads, pro, image=8, text=QWEN2
):
    return {
        "model_type": "openvla",
        "architectures": ["OpenVLAForActionPrediction"],
        "image_sizes": [image] * len(towers),
        "image_resize_strategy": "resize-naive",
        "use_fused_vision_backbone": len(towers) > 1,
        "llm_max_length": 2048,
        "torch_dtype": "float32",
        "norm_stats": {},
        "text_config": {
            **text,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "intermediate_size": mlp,
            "hidden_act": "silu",
            "max_position_embeddings": 256,
            "initializer_range": 0.02,
            "attention_dropout": 0.0,
            "vocab_size": 37,
        },
        "craft_small": {
            "version": 1,
            "image_size": image,
            "patch_size": 4,
            "cameras": cameras,
            "towers": towers,
            "projector_dims": projector,
            "num_queries": queries,
            "action_dim": 7,
            "chunk": 8,
            "proprio_dim": 8,
            "policy": {
                "pro": pro,
                "dim": width,
                "heads": policy_heads,
                "blocks": layers,
                "layer_norm_eps": 1e-5,
            },
        },
    }


TWO_TOWERS = [dinov2(10, 2, 14), siglip(9, 3, 11, "fused_featurizer")]

TWO_TOWERS_BASE = config(TWO_TOWERS, [19, 21, 12, 12], 2, 3, 5, 12, 2, 1, 20, 3, False)
TWO_TOWERS_PRO = config(TWO_TOWERS, [19, 21, 12, 12], 1, 2, 4, 12, 3, 1, 20, 2, True)
ONE_TOWER_LLAMA = config(
    [siglip(9, 3, 11, "featurizer")], [9, 12, 12], 3, 2, 5, 12, 3, 3, 20, 2, False, text=LLAMA
)

# Llama 3's stretched positions, CLIP's activation, and images whose last pixels fill no patch.
LLAMA3 = LLAMA | {
    "rope_theta": 500.0,
    "rope_scaling": {
        **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        **{"original_max_position_embeddings": 32},
    },
}
ONE_TOWER_LLAMA3 = config(
    [siglip(9, 3, 11, "featurizer") | {"activation": "quick_gelu"}],
    *([9, 12, 12], 2, 2, 5, 12, 2, 1, 20, 2, False),
    image=11,
    text=LLAMA3,
)

# name: (configuration, LoRA rank or None, prefix "module." in the head's files or not)
VARIANTS = {
    "two-towers-qwen2-base": (TWO_TOWERS_BASE, None, True),
    "two-towers-qwen2-base-lora": (TWO_TOWERS_BASE, 2, True),
    "two-towers-qwen2-pro": (TWO_TOWERS_PRO, None, False),
    "two-towers-qwen2-pro-lora": (TWO_TOWERS_PRO, 3, False),
    "one-tower-llama-base": (ONE_TOWER_LLAMA, None, True),
    "one-tower-llama-base-lora": (ONE_TOWER_LLAMA, 2, False),
    "one-tower-llama3-quickgelu": (ONE_TOWER_LLAMA3, None, False),
    "one-tower-qwen2-base": (
        config([siglip(9, 3, 11, "featurizer")], [9, 12, 12], 1, 2, 3, 12, 2, 2, 18, 2, False, image=12),
        None,
        False,
    ),
    "one-tower-qwen3-base": (
        config([siglip(9, 3, 11, "featurizer")], [9, 12, 12], 2, 2, 5, 12, 3, 1, 18, 2, False, text=QWEN3),
        None,
        True,
    ),
    "one-tower-qwen2-pro": (
        config([dinov2(10, 2, 14)], [10, 12, 12], 3, 2, 6, 12, 2, 1, 20, 3, True),
        None,
        False,
    ),
}


def randomise(model, generator):
    """Values of ordinary size for every parameter, in the order of their names."""
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        last = name.rsplit(".", 1)[-1]
        if last == "gating_factor":
            value = 0.5 * noise
        elif "norm" in name and last == "weight" or ".ffn.0.weight" in name or last == "scale_factor":
            value = 1 + 0.2 * noise
        elif last == "bias":
            value = 0.2 * noise
        elif last in ("cls_token", "reg_token", "pos_embed", "latent") or "embed_tokens" in name or "queries" in name:
            value = 0.7 * noise
        else:
            value = noise * parameter[0].numel() ** -0.5
        with torch.no_grad():
            parameter.copy_(value.float())


def random_statistics(rng):
    def block(size, gripper):
        samples = rng.normal(size=(200, size)) * rng.uniform(0.1, 0.5, size) + rng.uniform(-0.5, 0.5, size)
        if gripper:
            samples[:, -1] = rng.integers(0, 2, 200)
        else:
            samples[:, 3] = 0.25  # a dimension that never moves: normalises to 0
        # Stored as float32 values, so that a reader in float32 starts from the same numbers.
        as_list = lambda a: [float(np.float32(x)) for x in a]
        return {
            **{"mean": as_list(samples.mean(0)), "std": as_list(samples.std(0))},
            **{"max": as_list(samples.max(0)), "min": as_list(samples.min(0))},
            **{"q01": as_list(np.quantile(samples, 0.01, 0)), "q99": as_list(np.quantile(samples, 0.99, 0))},
        }

    action = block(7, True) | {"mask": [True] * 6 + [False]}
    return {
        "libero_reference": {
            "action": action,
            "proprio": block(8, False),
            "num_transitions": 200,
            "num_trajectories": 4,
        }
    }


def normalise(raw, statistics):
    """clip(2 (x - q01) / (q99 - q01 + 1e-8) - 1, -1, 1) where the mask allows; 0 where minimum = maximum."""
    low, high = np.array(statistics["q01"]), np.array(statistics["q99"])
    scaled = np.clip(2 * (raw - low) / (high - low + 1e-8) - 1, -1, 1)
    scaled = np.where(np.array(statistics.get("mask", [True] * raw.shape[-1])), scaled, raw)
    return np.where(np.array(statistics["min"]) == np.array(statistics["max"]), 0, scaled)


def random_inputs(configuration, statistics, rng):
    """A batch of two with prompts of different lengths."""
    small, stats = configuration["craft_small"], statistics["libero_reference"]
    side, prompt = small["image_size"], 7
    images = rng.integers(0, 256, (2, small["cameras"], side, side, 3), dtype=np.uint8)
    channels = []
    for camera in range(small["cameras"]):
        for tower in small["towers"]:
            mean, deviation = map(np.array, NORMALISATION[tower["kind"]])
            channels.append(((images[:, camera] / 255 - mean) / deviation).transpose(0, 3, 1, 2))
    raw_actions = rng.normal(size=(2, 8, 7)) * 0.4
    raw_actions[..., -1] = rng.integers(0, 2, (2, 8))
    raw_proprio = rng.normal(size=(2, 8)) * 0.4
    mask = np.ones((2, prompt), dtype=np.int64)
    mask[1, prompt - 2 :] = 0
    vocabulary = configuration["text_config"]["vocab_size"]
    ids = np.where(mask == 1, rng.integers(0, vocabulary - 1, (2, prompt)), vocabulary - 1)
    single = lambda a: torch.from_numpy(np.ascontiguousarray(a)).float()
    return {
        "pixel_values": single(np.concatenate(channels, axis=1)),
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "proprio": single(normalise(raw_proprio.astype(np.float32), stats["proprio"])),
        "actions": single(normalise(raw_actions.astype(np.float32), stats["action"])),
        "policy_noise": single(rng.normal(size=(8, 7 * small["policy"]["dim"])) * 0.02),
        "image_uint8": torch.from_numpy(images),
        "raw_proprio": single(raw_proprio),
        "raw_actions": single(raw_actions),
    }


def write_case(name, folder, seed):
    """Writes the folder of a variant and returns how far it stays away from what is not smooth (see `compute`)."""
    configuration, rank, prefixed = VARIANTS[name]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)

    model = VLA(configuration).double()
    randomise(model, generator)
    singles = lambda state: {k: v.detach().float().contiguous() for k, v in sorted(state.items())}
    # A head that is tied to the embedding is not stored.
    tied = configuration["text_config"]["tie_word_embeddings"]
    weights = {k: v for k, v in model.vlm.state_dict().items() if not (tied and k.endswith("lm_head.weight"))}
    save_file(singles(weights), folder / "model.safetensors", metadata={"format": "pt"})
    prefix = "module." if prefixed else ""
    for part in ("action_head", "proprio_projector"):
        state = {prefix + k: v for k, v in getattr(model, part).state_dict().items()}
        save_file(singles(state), folder / f"{part}--checkpoint.safetensors")
    (folder / "config.json").write_text(json.dumps(configuration, indent=2) + "\n")

    if rank:
        from peft import get_peft_model_state_dict

        adapter = add_lora(model, rank, 2 * rank)
        adapters = {n: p for n, p in sorted(model.vlm.named_parameters()) if "lora_" in n}
        with torch.no_grad():
            for parameter in adapters.values():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_((0.2 * noise).float())
        (folder / "lora_adapter").mkdir(exist_ok=True)
        adapter.save_pretrained(folder / "lora_adapter")
        save_file(
            singles(get_peft_model_state_dict(model.vlm)),
            folder / "lora_adapter/adapter_model.safetensors",
            metadata={"format": "pt"},
        )

    statistics = random_statistics(rng)
    (folder / "dataset_statistics.json").write_text(json.dumps(statistics, indent=2) + "\n")
    save_file(random_inputs(configuration, statistics, rng), folder / "inputs.safetensors")
    write_anchor(model, folder, generator)

    margins = {}
    expected = compute(folder, margins=margins)
    save_file({k: v.float().contiguous() for k, v in expected.items()}, folder / "expected.safetensors")
    single = compute(folder, dtype=torch.float32)
    errors = {
        name: ((single[name].double() - value).abs().max() / value.abs().max().clamp_min(1e-12)).item()
        for name, value in expected.items()
    }
    meta = {
        **{"variant": name, "seed": seed, "computed_in": "float64, stored float32", "lambda_": 0.3},
        **{"torch": torch.__version__, "margins": margins},
        "worst_error_of_the_libraries_in_float32": max(errors.values()),
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
    return margins


def write_anchor(model, folder, generator):
    """The trainable VLM tensors that a gradient reaches, perturbed."""
    with torch.no_grad():
        named = {name: p for name, part, p in model.named_trainable() if part == "vlm"}
    unreached = lambda n: any(s in n for s in ("attn_pool", "lm_head", "featurizer.norm.", "blocks.2."))
    anchor = {}
    for name, parameter in sorted(named.items()):
        if not unreached(name):
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            anchor[name] = (parameter.detach() + 0.1 * parameter.detach().std().nan_to_num(0.1) * noise).float()
    save_file(anchor, folder / "anchor.safetensors")


def write_trajectory(folder, steps=10):
    """trajectory.json: the losses of `steps` AdamW steps on the folder's batch, with and without CRaFT, and with other
    learning rates for some parameter groups."""
    from modeling import load_folder
    from outputs import load_inputs

    settings = {
        **{"steps": steps, "lr": 2e-3, "weight_decay": 0.01, "budget": 1e-3},
        **{"dual_lr": 5.0, "initial_multiplier": 0.2},
    }
    runs = {
        name: train(load_folder(folder), load_inputs(folder), craft=craft, **settings)
        for name, craft in (("baseline", False), ("craft", True))
    }
    lr_scale = {"vision": 0.1, "decoder": 0.3, "policy": 2.0}
    runs["groups"] = train(load_folder(folder), load_inputs(folder), craft=False, lr_scale=lr_scale, **settings)
    document = {
        "about": "torch.optim.AdamW, betas (0.9, 0.999), eps 1e-8, on inputs.safetensors, policy_noise included, float64; "
        "anchors are the initial weights; losses are measured before the step, projection is per tensor",
        "settings": settings,
        "lr_scale": lr_scale,
        "runs": runs,
    }
    (Path(folder) / "trajectory.json").write_text(json.dumps(document, indent=1) + "\n")
