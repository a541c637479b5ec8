"""The policy of a `config.json`, in plain PyTorch, written for speed.

What a careful PyTorch user would write for a CPU: fused qkv in the towers, scaled_dot_product_attention everywhere (the
decoder's with is_causal, which needs no mask because prompts have one length here), no layer computed whose output is
not used. It has the arithmetic of the model that craft trains; `scripts/reference` has the one that tests compare with.

B batch, N visual tokens (all cameras), P prompt tokens, Q action queries, D decoder width, H action chunk.
"""

import re

import torch
import torch.nn.functional as F
from torch import nn


def released_tower(prefix, dim, depth, count, mlp, registers, scaled, pooled):
    return {
        **{"prefix": prefix, "dim": dim, "depth": depth, "heads": count, "mlp": mlp, "class_token": registers > 0},
        **{"register_tokens": registers, "layer_scale": scaled, "attn_pool": pooled, "output_block": depth - 2},
        "layer_norm_eps": 1e-6,
    }


def architecture(config):
    """`craft_small` of a configuration; for VLA-Adapter's released one, which has none, what its code implies: two images
    and the Pro policy."""
    if "craft_small" in config:
        return config["craft_small"]
    known = ["vit_large_patch14_reg4_dinov2", "vit_so400m_patch14_siglip_224"]
    found = [name.split(".")[0] for name in config["timm_model_ids"]]
    if found != known:
        raise SystemExit(f"the towers are {found}; this benchmark knows {known}, or a config.json with craft_small")
    width = config["text_config"]["hidden_size"]
    return {
        **{"image_size": 224, "patch_size": 14, "cameras": 2, "num_queries": 64, "action_dim": 7, "chunk": 8},
        **{"proprio_dim": 8, "projector_dims": [2176, 8704, width, width]},
        "towers": [
            released_tower("featurizer", 1024, 24, 16, 4096, 4, True, False),
            released_tower("fused_featurizer", 1152, 27, 16, 4304, 0, False, True),
        ],
        "policy": {"pro": True, "dim": width, "heads": 8, "blocks": 24, "layer_norm_eps": 1e-5},
    }


class LoRA:
    """Low-rank updates of linear layers and convolutions, made by `add_lora`."""

    enabled = True  # off for anchor features
    scale = 2.0  # alpha is twice the rank

    def forward(self, x):
        y = super().forward(x)
        return y + self.lora_B(self.lora_A(x)) * LoRA.scale if LoRA.enabled else y


class LoRALinear(LoRA, nn.Linear):
    pass


class LoRAConv2d(LoRA, nn.Conv2d):
    pass


def add_lora(backbone, rank):
    """Freezes all but the action queries and gives every linear layer and the patch convolutions an adapter."""
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name == "queries")
    for module in list(backbone.modules()):
        if type(module) is nn.Linear:
            down, up = nn.Linear(module.in_features, rank, bias=False), nn.Linear(rank, module.out_features, bias=False)
            module.__class__ = LoRALinear
        elif type(module) is nn.Conv2d:
            down = nn.Conv2d(3, rank, module.kernel_size, module.stride, bias=False)
            up = nn.Conv2d(rank, module.out_channels, 1, bias=False)
            module.__class__ = LoRAConv2d
        else:
            continue
        nn.init.zeros_(up.weight)
        module.lora_A, module.lora_B = down, up


def heads(x, count):
    """[B, T, D] -> [B, count, T, D / count]."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


class TowerBlock(nn.Module):
    def __init__(self, t):
        super().__init__()
        dim, eps = t["dim"], t["layer_norm_eps"]
        self.heads = t["heads"]
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=eps), nn.LayerNorm(dim, eps=eps)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, t["mlp"]), nn.Linear(t["mlp"], dim)
        if t["layer_scale"]:
            self.scale1, self.scale2 = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))
        self.scaled = t["layer_scale"]

    def forward(self, x):
        q, k, v = (heads(part, self.heads) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        h = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2))
        x = x + (h * self.scale1 if self.scaled else h)
        h = self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x + (h * self.scale2 if self.scaled else h)


class Tower(nn.Module):
    def __init__(self, t, image, patch):
        super().__init__()
        dim = t["dim"]
        self.patch_embed = nn.Conv2d(3, dim, patch, stride=patch)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, (image // patch) ** 2, dim))
        self.prefix = t["register_tokens"] + int(t["class_token"])
        if self.prefix:
            self.prefix_tokens = nn.Parameter(0.02 * torch.randn(1, self.prefix, dim))
        self.blocks = nn.ModuleList(TowerBlock(t) for _ in range(t["output_block"] + 1))

    def forward(self, images):
        x = self.patch_embed(images).flatten(2).transpose(1, 2) + self.pos_embed
        if self.prefix:
            x = torch.cat((self.prefix_tokens.expand(len(x), -1, -1), x), dim=1)
        for block in self.blocks:
            x = block(x)
        return x[:, self.prefix :]


class DecoderBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        dim, self.heads, self.kv_heads = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
        kv, eps, bias = dim // self.heads * self.kv_heads, c["rms_norm_eps"], c["model_type"] == "qwen2"
        self.norm1, self.norm2 = nn.RMSNorm(dim, eps=eps), nn.RMSNorm(dim, eps=eps)
        self.q, self.k, self.v = (nn.Linear(dim, n, bias=bias) for n in (dim, kv, kv))
        self.o = nn.Linear(dim, dim, bias=False)
        self.gate, self.up = (nn.Linear(dim, c["intermediate_size"], bias=False) for _ in range(2))
        self.down = nn.Linear(c["intermediate_size"], dim, bias=False)

    def forward(self, x, rotate):
        y = self.norm1(x)
        q, k, v = rotate(heads(self.q(y), self.heads)), rotate(heads(self.k(y), self.kv_heads)), self.v(y)
        v = heads(v, self.kv_heads)
        if self.kv_heads != self.heads:
            k, v = (t.repeat_interleave(self.heads // self.kv_heads, dim=1) for t in (k, v))
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(-2))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Backbone(nn.Module):
    """Towers, projector, decoder, queries: (images, ids) -> hidden states 0 ... layers, each [B, T, D]."""

    def __init__(self, config, prompt):
        super().__init__()
        small, text = architecture(config), config["text_config"]
        self.cameras, self.tower_count, width = small["cameras"], len(small["towers"]), text["hidden_size"]
        self.towers = nn.ModuleList(Tower(t, small["image_size"], small["patch_size"]) for t in small["towers"])
        dims = small["projector_dims"]
        self.projector = nn.ModuleList(nn.Linear(a, b) for a, b in zip(dims, dims[1:]))
        self.embed = nn.Embedding(text["vocab_size"], width)
        self.queries = nn.Parameter(0.02 * torch.randn(small["num_queries"], width))
        self.layers = nn.ModuleList(DecoderBlock(text) for _ in range(text["num_hidden_layers"]))
        self.norm = nn.RMSNorm(width, eps=text["rms_norm_eps"])
        self.visual = self.cameras * (small["image_size"] // small["patch_size"]) ** 2
        head_dim = width // text["num_attention_heads"]
        frequency = text["rope_theta"] ** (-torch.arange(0, head_dim, 2) / head_dim)
        angles = torch.outer(torch.arange(self.visual + prompt + small["num_queries"]).float(), frequency).repeat(1, 2)
        self.register_buffer("cosine", angles.cos())
        self.register_buffer("sine", angles.sin())

    def rotate(self, x):
        a, b = x.chunk(2, dim=-1)
        return x * self.cosine + torch.cat((-b, a), dim=-1) * self.sine

    def forward(self, pixels, ids):
        batch = len(ids)
        # All cameras of a tower in one call: [B, cameras, towers, 3, S, S] -> [B * cameras, 3, S, S].
        images = pixels.unflatten(1, (self.cameras, self.tower_count, 3))
        x = torch.cat([t(images[:, :, i].flatten(0, 1)) for i, t in enumerate(self.towers)], dim=-1)
        for index, layer in enumerate(self.projector):
            x = layer(F.gelu(x) if index else x)
        text = self.embed(ids)
        queries = self.queries.expand(batch, -1, -1)
        x = torch.cat((text[:, :1], x.view(batch, self.visual, -1), text[:, 1:], queries), dim=1)
        hidden = [x]
        for layer in self.layers:
            x = layer(x, self.rotate)
            hidden.append(x)
        hidden[-1] = self.norm(x)
        return hidden

    def features(self, hidden):
        raw = hidden[len(hidden) // 2][:, 1 : self.visual + 1].mean(dim=1)
        return torch.cat((raw, hidden[-1][:, -len(self.queries) :].mean(dim=1)), dim=-1)


class PolicyBlock(nn.Module):
    def __init__(self, dim, count, eps, pro):
        super().__init__()
        self.heads, self.pro = count, pro
        self.q, self.o = nn.Linear(dim, dim), nn.Linear(dim, dim)
        if pro:
            self.kv_self, self.kv_adapter, self.kv_task = (nn.Linear(dim, 2 * dim) for _ in range(3))
        else:
            self.kv = nn.Linear(dim, 2 * dim)
        self.gate = nn.Parameter(torch.zeros(1))
        self.norm, self.ffn = nn.LayerNorm(dim, eps=eps), nn.Linear(dim, dim)

    def forward(self, x, visual, context, rotate):
        """The gate scales the visual keys."""
        gate = torch.tanh(self.gate)
        if self.pro:
            layers = ((self.kv_self, x), (self.kv_adapter, context), (self.kv_task, visual))
            (k0, v0), (k1, v1), (k2, v2) = (layer(source).chunk(2, dim=-1) for layer, source in layers)
            k = torch.cat([rotate(heads(t, self.heads)) for t in (k0, k1, k2 * gate)], dim=2)
            q, v = rotate(heads(self.q(x), self.heads)), torch.cat((v0, v1, v2), dim=1)
        else:
            # One product gives keys and values of all three sources.
            k1, v1 = self.kv(torch.cat((x, context), dim=1)).chunk(2, dim=-1)
            k2, v2 = self.kv(visual).chunk(2, dim=-1)
            k = heads(torch.cat((k1, k2 * gate), dim=1), self.heads)
            q, v = heads(self.q(x), self.heads), torch.cat((v1, v2), dim=1)
        y = F.scaled_dot_product_attention(q, k, heads(v, self.heads))
        return F.relu(self.ffn(self.norm(self.o(y.transpose(1, 2).flatten(-2)) + x)))


class Policy(nn.Module):
    def __init__(self, small):
        super().__init__()
        policy, actions = small["policy"], small["action_dim"]
        dim, eps = policy["dim"], policy["layer_norm_eps"]
        self.queries, self.start = small["num_queries"], (small["chunk"], actions * dim)
        self.noise = None  # a fixed input instead of fresh noise
        self.proprio1, self.proprio2 = nn.Linear(small["proprio_dim"], dim), nn.Linear(dim, dim)
        self.norm1, self.fc1 = nn.LayerNorm(actions * dim, eps=eps), nn.Linear(actions * dim, dim)
        self.blocks = nn.ModuleList(PolicyBlock(dim, policy["heads"], eps, policy["pro"]) for _ in range(policy["blocks"]))
        self.norm2, self.fc2 = nn.LayerNorm(dim, eps=eps), nn.Linear(dim, actions)
        visual = small["cameras"] * (small["image_size"] // small["patch_size"]) ** 2
        head_dim = dim // policy["heads"]
        frequency = 10000.0 ** (-torch.arange(0, head_dim, 2) / head_dim)
        positions = torch.arange(max(visual, self.queries + 1, small["chunk"]))
        angles = torch.outer(positions.float(), frequency).repeat(1, 2)
        self.register_buffer("cosine", angles.cos())
        self.register_buffer("sine", angles.sin())

    def rotate(self, x):
        """The Pro policy's: pairs of neighbours, by a table laid out in halves; see scripts/reference."""
        partner = torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)
        return x * self.cosine[: x.shape[2]] + partner * self.sine[: x.shape[2]]

    def forward(self, hidden, visual, proprio):
        # Shared by the batch, as in training.
        noise = 0.02 * torch.randn(self.start) if self.noise is None else self.noise
        x = F.relu(self.fc1(self.norm1(noise))).expand(len(proprio), -1, -1)
        token = self.proprio2(F.gelu(self.proprio1(proprio)))[:, None]
        for block, states in zip(self.blocks, hidden[1:], strict=True):
            # Both windows are one position left of what they name; see scripts/reference.
            context = torch.cat((states[:, -self.queries - 1 : -1], token), dim=1)
            x = block(x, states[:, :visual], context, self.rotate)
        return self.fc2(self.norm2(x))


# Names of a checkpoint's tensors, as patterns, and of the parameters above; (k, v) are rows of one parameter.
NAMES = [
    (r"^base_model\.model\.", ""),
    (r"vision_backbone\.fused_featurizer\.", "towers.1."),
    (r"vision_backbone\.featurizer\.", "towers.0."),
    (r"patch_embed\.proj\.", "patch_embed."),
    (r"\.attn\.(qkv|proj)\.", r".\1."),
    (r"\.mlp\.(fc1|fc2)\.", r".\1."),
    (r"\.ls([12])\.scale_factor", r".scale\1"),
    (r"^projector\.fc(\d)\.", lambda m: f"projector.{int(m[1]) - 1}."),
    (r"^language_model\.model\.embed_tokens", "embed"),
    (r"^language_model\.model\.", ""),
    (r"\.self_attn\.([qkvo])_proj\.", r".\1."),
    (r"\.mlp\.(gate|up|down)_proj\.", r".\1."),
    (r"input_layernorm", "norm1"),
    (r"post_attention_layernorm", "norm2"),
    (r"^action_queries\.weight", "queries"),
    (r"^proprio_projector\.fc", "proprio"),
    (r"^action_head\.model\.", ""),
    (r"mlp_resnet_blocks", "blocks"),
    (r"layer_norm([12])", r"norm\1"),
    (r"\.([qo])_proj\.", r".\1."),
    (r"gating_factor", "gate"),
    (r"ffn\.0\.", "norm."),
    (r"ffn\.1\.", "ffn."),
]


def load_checkpoint(backbone, policy, tensors):
    """Fills both modules from tensors under their checkpoint names. Every parameter must be there; tensors on no path to
    the actions (a tower's last block and pooling head, an untied head, an unused layer of the Pro policy) are left out."""
    unused = [r"\.norm\.", r"attn_pool", r"lm_head", r"film_gen"] + [
        rf"towers\.{index}\.blocks\.(?!({'|'.join(map(str, range(len(tower.blocks))))})\.)"
        for index, tower in enumerate(backbone.towers)
    ]
    found = {}
    for name, value in tensors.items():
        if name.startswith("batch."):
            continue
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    join = lambda a, b, dim=0: torch.cat((found.pop(a), found.pop(b)), dim)
    for key in [n for n in found if re.search(r"\.k_(proj|self|adapter|task)\.", n)]:
        target = key.replace(".k_proj.", ".kv.").replace(".k_", ".kv_")
        found[target] = join(key, key.replace(".k_", ".v_"))
    for key in [n for n in found if n.endswith(".cls_token")]:
        registers = key.replace("cls_token", "reg_token")
        target = key.replace("cls_token", "prefix_tokens")
        found[target] = join(key, registers, 1) if registers in found else found.pop(key)
    for module in (backbone, policy):
        for name, parameter in module.named_parameters():
            parameter.data.copy_(found.pop(name).view_as(parameter))
    rest = [name for name in found if not any(re.search(pattern, name) for pattern in unused)]
    if rest:
        raise SystemExit(f"tensors that no parameter takes: {', '.join(sorted(rest)[:5])}")
