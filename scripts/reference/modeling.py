"""The policy that craft trains, in PyTorch: the independent implementation that craft's tests are measured against.

Vision towers are timm's VisionTransformer, the decoder is transformers' Qwen2, Qwen3 or Llama, adapters are peft's. Only what
those libraries do not have is written here: the projector, the sequence layout and the bridge-attention policy.

Axis letters: B batch, S image side, N visual tokens (all cameras), P prompt tokens (padded), n prompt tokens of one
sample, Q action queries, T = N + P + Q, D decoder width, H action chunk, A action dimensions.
"""

import json
import math
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.layers import get_act_layer
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM


class LayerScale(nn.Module):
    """timm's LayerScale under the name that released checkpoints use."""

    def __init__(self, dim):
        super().__init__()
        self.scale_factor = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * self.scale_factor


def make_tower(spec, image_size, patch_size):
    """A timm ViT of the given `craft_small.towers` entry."""
    tower = VisionTransformer(
        img_size=image_size,
        patch_size=patch_size,
        num_classes=0,
        global_pool="map" if spec["attn_pool"] else ("token" if spec["class_token"] else "avg"),
        embed_dim=spec["dim"],
        depth=spec["depth"],
        num_heads=spec["heads"],
        mlp_ratio=(spec["mlp"] + 0.5) / spec["dim"],  # timm truncates the product to a whole number
        class_token=spec["class_token"],
        reg_tokens=spec["register_tokens"],
        # Position embeddings are for patches alone and prefix tokens come after them; DINOv2 without registers has one for
        # its class token too.
        no_embed_class=not spec.get("class_position", False),
        init_values=1.0 if spec["layer_scale"] else None,
        norm_layer=partial(nn.LayerNorm, eps=spec["layer_norm_eps"]),
        fc_norm=False,
        act_layer=get_act_layer(spec.get("activation", "gelu")),
    )
    if spec["layer_scale"]:
        for block in tower.blocks:
            block.ls1, block.ls2 = LayerScale(spec["dim"]), LayerScale(spec["dim"])
    return tower


class Projector(nn.Module):
    """fc1, GELU, fc2, GELU, fc3 (or two layers when there is one tower)."""

    def __init__(self, dims):
        super().__init__()
        self.layers = len(dims) - 1
        for index in range(self.layers):
            setattr(self, f"fc{index + 1}", nn.Linear(dims[index], dims[index + 1]))

    def forward(self, x):
        for index in range(self.layers):
            if index:
                x = F.gelu(x)
            x = getattr(self, f"fc{index + 1}")(x)
        return x


def make_decoder(text_config):
    settings = dict(text_config)
    kind = settings.pop("model_type")
    config_class, model_class = {
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
        "qwen3": (Qwen3Config, Qwen3ForCausalLM),
        "llama": (LlamaConfig, LlamaForCausalLM),
    }[kind]
    config = config_class(**settings, attn_implementation="sdpa")
    return model_class(config)


def lift_precision(decoder):
    """Lets a float64 decoder compute in float64: transformers forces float32 in RMSNorm and in the rotary table."""

    def norm(module, x):
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + module.variance_epsilon)
        return module.weight * (x * scale)

    def rotary(module, x, position_ids):
        half = torch.arange(0, module.head_dim, 2, dtype=torch.float64) / module.head_dim
        frequencies = module.theta**-half
        if module.rope_type != "default":  # transformers' own rescaling, which it works out in float32
            frequencies = module.inv_freq.double()
        angles = position_ids[..., None].double() * frequencies
        table = torch.cat((angles, angles), dim=-1)
        return table.cos().to(x.dtype), table.sin().to(x.dtype)

    config = decoder.config
    for module in decoder.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = partial(norm, module)
        if type(module).__name__.endswith("RotaryEmbedding"):
            module.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
            module.theta = config.rope_parameters["rope_theta"]
            module.forward = partial(rotary, module)


class VLM(nn.Module):
    """Towers, projector, decoder and action queries: the part whose features the retention loss looks at."""

    def __init__(self, config):
        super().__init__()
        small = config["craft_small"]
        self.small = small
        self.vision_backbone = nn.ModuleDict(
            {t["prefix"]: make_tower(t, small["image_size"], small["patch_size"]) for t in small["towers"]}
        )
        self.projector = Projector(small["projector_dims"])
        self.language_model = make_decoder(config["text_config"])
        self.action_queries = nn.Embedding(small["num_queries"], config["text_config"]["hidden_size"])

    def forward(self, pixel_values, input_ids, attention_mask):
        """pixel_values [B, 3 * towers * cameras, S, S], input_ids and attention_mask [B, P].

        Returns (hidden states: layers + 1 tensors [B, T, D], projected patches [B, N, D], mask [B, T]).
        """
        patches = self.patches(pixel_values)
        embeddings = self.language_model.get_input_embeddings()(input_ids)
        sequences, masks = [], []
        for sample, n in enumerate(attention_mask.sum(dim=1).tolist()):
            tokens = embeddings[sample]
            sequences.append(
                torch.cat((tokens[:1], patches[sample], tokens[1:n], self.action_queries.weight, tokens[n:]))
            )
            length = n + patches.shape[1] + self.small["num_queries"]
            masks.append((torch.arange(len(sequences[-1])) < length).long())
        mask = torch.stack(masks)
        output = self.language_model.model(
            inputs_embeds=torch.stack(sequences),
            attention_mask=mask,
            position_ids=torch.arange(mask.shape[1])[None].expand_as(mask),
            use_cache=False,
            output_hidden_states=True,
        )
        return output.hidden_states, patches, mask

    def patches(self, pixel_values):
        towers = self.small["towers"]
        images = pixel_values.unflatten(1, (self.small["cameras"], len(towers), 3))
        cameras = []
        for camera in range(self.small["cameras"]):
            features = [
                self.vision_backbone[t["prefix"]].get_intermediate_layers(
                    images[:, camera, index], n={t["output_block"]}, norm=False
                )[0]
                for index, t in enumerate(towers)
            ]
            cameras.append(torch.cat(features, dim=-1))
        return self.projector(torch.cat(cameras, dim=1))


def pro_angles(length, head_dim, like):
    """The Pro policy's angle table [length, head_dim]: column c holds t * 10000^(-2 (c mod d/2) / d)."""
    inverse = 10000.0 ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), inverse)
    return torch.cat((angles, angles), dim=-1).to(like.dtype)


def pro_rotate(x):
    """Rotates dimensions pairwise (2i, 2i+1) by a table that is laid out in halves: not a true rotation, kept so that
    released Pro weights work. x [B, heads, length, head_dim]."""
    angles = pro_angles(x.shape[-2], x.shape[-1], x)
    even, odd = x[..., 0::2], x[..., 1::2]
    partner = torch.stack((-odd, even), dim=-1).flatten(-2)
    return x * angles.cos() + partner * angles.sin()


class BridgeBlock(nn.Module):
    """One bridge-attention block: attends over itself, the query states with proprio, and the gated visual states."""

    def __init__(self, dim, heads, eps, pro):
        super().__init__()
        self.heads, self.pro = heads, pro
        names = (
            ["q_proj", "k_self", "v_self", "k_adapter", "v_adapter", "k_task", "v_task", "o_proj"]
            if pro
            else ["q_proj", "k_proj", "v_proj", "o_proj"]
        )
        for name in names:
            setattr(self, name, nn.Linear(dim, dim))
        self.gating_factor = nn.Parameter(torch.zeros(1))
        self.ffn = nn.Sequential(nn.LayerNorm(dim, eps=eps), nn.Linear(dim, dim), nn.ReLU())
        if pro:
            self.film_gen = nn.Sequential(nn.Linear(dim, 2 * dim))  # in released files, used by nothing

    def forward(self, x, visual, queries, proprio):
        """x [B, H, D], visual [B, N, D], queries [B, Q, D], proprio [B, 1, D] -> [B, H, D]."""
        split = lambda t: t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        rotate = pro_rotate if self.pro else lambda t: t
        context = torch.cat((queries, proprio), dim=1)
        keys, values = [], []
        for source, name in ((x, "self"), (context, "adapter"), (visual, "task")):
            suffix = name if self.pro else "proj"
            keys.append(rotate(split(getattr(self, f"k_{suffix}")(source))))
            values.append(split(getattr(self, f"v_{suffix}")(source)))
        # The gate scales the logits of the visual states, so a closed gate still leaves them zero logits.
        keys[2] = keys[2] * torch.tanh(self.gating_factor)
        q = rotate(split(self.q_proj(x)))
        mixed = F.scaled_dot_product_attention(q, torch.cat(keys, dim=2), torch.cat(values, dim=2))
        return self.ffn(self.o_proj(mixed.transpose(1, 2).flatten(-2)) + x)


class PolicyTrunk(nn.Module):
    def __init__(self, small):
        super().__init__()
        policy, actions = small["policy"], small["action_dim"]
        dim, eps = policy["dim"], policy["layer_norm_eps"]
        self.layer_norm1 = nn.LayerNorm(dim * actions, eps=eps)
        self.fc1 = nn.Linear(dim * actions, dim)
        self.mlp_resnet_blocks = nn.ModuleList(
            BridgeBlock(dim, policy["heads"], eps, policy["pro"]) for _ in range(policy["blocks"])
        )
        self.layer_norm2 = nn.LayerNorm(dim, eps=eps)
        self.fc2 = nn.Linear(dim, actions)


class ActionHead(nn.Module):
    """The policy: block i reads the hidden states i + 1, through windows one position left of what they name (kept
    because released weights were trained that way)."""

    def __init__(self, small):
        super().__init__()
        self.small = small
        self.model = PolicyTrunk(small)

    def forward(self, start, hidden_states, prompt_lengths, visual_tokens, proprio):
        """start [B, H, A * D] (zeros, or noise in training), prompt_lengths [B], proprio [B, 1, D] -> [B, H, A]."""
        trunk, queries = self.model, self.small["num_queries"]
        x = F.relu(trunk.fc1(trunk.layer_norm1(start)))
        begin = visual_tokens + prompt_lengths - 1
        columns = begin[:, None] + torch.arange(queries)
        for block, states in zip(trunk.mlp_resnet_blocks, hidden_states[1:], strict=True):
            window = states.gather(1, columns[..., None].expand(-1, -1, states.shape[-1]))
            x = block(x, states[:, :visual_tokens], window, proprio)
        return trunk.fc2(trunk.layer_norm2(x))


class ProprioProjector(nn.Module):
    def __init__(self, inputs, dim):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(inputs, dim), nn.Linear(dim, dim)

    def forward(self, proprio):
        return self.fc2(F.gelu(self.fc1(proprio)))[:, None]


class VLA(nn.Module):
    """The whole policy. `vlm` may be wrapped by peft."""

    def __init__(self, config):
        super().__init__()
        small = config["craft_small"]
        self.config, self.small = config, small
        self.vlm = VLM(config)
        self.action_head = ActionHead(small)
        self.proprio_projector = ProprioProjector(small["proprio_dim"], small["policy"]["dim"])
        lift_precision(self.vlm.language_model)

    def forward(self, inputs, start=None):
        """Returns a dict: predicted_actions [B, H, A], features [B, 2 D], hidden_states, projected_patches, mask."""
        hidden, patches, mask = self.vlm(inputs["pixel_values"], inputs["input_ids"], inputs["attention_mask"])
        lengths = inputs["attention_mask"].sum(dim=1)
        batch = len(lengths)
        if start is None:
            small = self.small
            start = patches.new_zeros(small["chunk"], small["action_dim"] * small["policy"]["dim"])
        actions = self.action_head(
            start.expand(batch, -1, -1), hidden, lengths, patches.shape[1], self.proprio_projector(inputs["proprio"])
        )
        return {
            "predicted_actions": actions,
            "features": self.features(hidden, lengths, patches.shape[1]),
            "hidden_states": hidden,
            "projected_patches": patches,
            "mask": mask,
        }

    def features(self, hidden, lengths, visual_tokens):
        """[mean of the visual positions in the middle layer ; mean of the query positions in the last one]."""
        raw = hidden[len(hidden) // 2][:, 1 : visual_tokens + 1].mean(dim=1)
        queries = torch.stack(
            [
                states[visual_tokens + n : visual_tokens + n + self.small["num_queries"]].mean(dim=0)
                for states, n in zip(hidden[-1], lengths.tolist(), strict=True)
            ]
        )
        return torch.cat((raw, queries), dim=-1)

    def named_trainable(self):
        """(name as in the checkpoint files, part, parameter) of every parameter that takes a gradient."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                part, _, rest = name.partition(".")
                if part == "vlm":
                    rest = rest.replace(".default.weight", ".weight")  # peft's adapter name
                    if rest.endswith("action_queries.weight"):
                        rest = "action_queries.weight"
                    yield rest, part, parameter
                else:
                    yield name, part, parameter


LORA_TARGETS = [
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"),
    *("qkv", "proj", "fc1", "fc2", "fc3", "q", "kv"),
]


def add_lora(model, rank, alpha):
    """Wraps the VLM with peft's LoRA on the modules that `all-linear` means for this architecture; the base model is
    frozen, the action queries are not."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=LORA_TARGETS, bias="none")
    model.vlm = get_peft_model(model.vlm, config)
    model.vlm.base_model.model.action_queries.weight.requires_grad_(True)
    return config


def load_weights(folder):
    """model.safetensors, or the shards that its index lists."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return load_file(folder / "model.safetensors")
    shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    return {name: tensor for shard in shards for name, tensor in load_file(folder / shard).items()}


def load_folder(folder, dtype=torch.float64):
    """A model with the weights of a folder in the layout of the released checkpoints, adapter included."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    model = VLA(config)
    weights = load_weights(folder)
    report = model.vlm.load_state_dict(weights, strict=False)
    missing = [k for k in report.missing_keys if not k.endswith("lm_head.weight")]
    assert not missing and not report.unexpected_keys, (missing, report.unexpected_keys)
    for part, stem in ((model.action_head, "action_head"), (model.proprio_projector, "proprio_projector")):
        state = load_file(folder / f"{stem}--checkpoint.safetensors")
        part.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
    if (folder / "lora_adapter").is_dir():
        from peft import PeftModel, get_peft_model_state_dict

        # As a user of peft would: rank, alpha and modules are those that adapter_config.json says.
        model.vlm = PeftModel.from_pretrained(model.vlm, folder / "lora_adapter", is_trainable=True)
        model.vlm.base_model.model.action_queries.weight.requires_grad_(True)
        stored = load_file(folder / "lora_adapter/adapter_model.safetensors")
        loaded = get_peft_model_state_dict(model.vlm)
        queries = stored.pop("base_model.model.action_queries.weight", None)
        if queries is not None:
            assert torch.equal(model.vlm.base_model.model.action_queries.weight, queries)
        assert set(loaded) == set(stored), sorted(set(loaded) ^ set(stored))
        assert all(torch.equal(loaded[name], tensor) for name, tensor in stored.items())
    return model.to(dtype)
