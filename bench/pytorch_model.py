"""The policy of a `config.json` with `craft_small`, in plain PyTorch, written for speed.

What a careful PyTorch user would write for a CPU: fused qkv in the towers, scaled_dot_product_attention everywhere (the
decoder's with is_causal, which needs no mask because prompts have one length here), no layer computed whose output is
not used. It has the arithmetic of the model that craft trains; `scripts/reference` has the one that tests compare with.

B batch, N visual tokens (all cameras), P prompt tokens, Q action queries, D decoder width, H action chunk.
"""

import re

import torch
import torch.nn.functional as F
from torch import nn


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
        small, text = config["craft_small"], config["text_config"]
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
    def __init__(self, dim, count, eps):
        super().__init__()
        self.heads = count
        self.q, self.o = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.gate = nn.Parameter(torch.zeros(1))
        self.norm, self.ffn = nn.LayerNorm(dim, eps=eps), nn.Linear(dim, dim)

    def forward(self, x, visual, context):
        """One product gives keys and values of all three sources; the gate scales the visual keys."""
        near = torch.cat((x, context), dim=1)
        k1, v1 = self.kv(near).chunk(2, dim=-1)
        k2, v2 = self.kv(visual).chunk(2, dim=-1)
        k = heads(torch.cat((k1, k2 * torch.tanh(self.gate)), dim=1), self.heads)
        v = heads(torch.cat((v1, v2), dim=1), self.heads)
        y = F.scaled_dot_product_attention(heads(self.q(x), self.heads), k, v)
        return F.relu(self.ffn(self.norm(self.o(y.transpose(1, 2).flatten(-2)) + x)))


class Policy(nn.Module):
    def __init__(self, small):
        super().__init__()
        policy, actions = small["policy"], small["action_dim"]
        if policy["pro"]:
            raise SystemExit("this benchmark has the base policy only; use a config.json with policy.pro = false")
        dim, eps = policy["dim"], policy["layer_norm_eps"]
        self.queries, self.start = small["num_queries"], (small["chunk"], actions * dim)
        self.noise = None  # a fixed input instead of fresh noise
        self.proprio1, self.proprio2 = nn.Linear(small["proprio_dim"], dim), nn.Linear(dim, dim)
        self.norm1, self.fc1 = nn.LayerNorm(actions * dim, eps=eps), nn.Linear(actions * dim, dim)
        self.blocks = nn.ModuleList(PolicyBlock(dim, policy["heads"], eps) for _ in range(policy["blocks"]))
        self.norm2, self.fc2 = nn.LayerNorm(dim, eps=eps), nn.Linear(dim, actions)

    def forward(self, hidden, visual, proprio):
        # Shared by the batch, as in training.
        noise = 0.02 * torch.randn(self.start) if self.noise is None else self.noise
        x = F.relu(self.fc1(self.norm1(noise))).expand(len(proprio), -1, -1)
        token = self.proprio2(F.gelu(self.proprio1(proprio)))[:, None]
        for block, states in zip(self.blocks, hidden[1:], strict=True):
            # Both windows are one position left of what they name; see scripts/reference.
            context = torch.cat((states[:, -self.queries - 1 : -1], token), dim=1)
            x = block(x, states[:, :visual], context)
        return self.fc2(self.norm2(x))


# Names of a checkpoint's tensors, as patterns, and of the parameters above; (k, v) are rows of one parameter.
NAMES = [
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
    """Fills both modules from tensors under their checkpoint names. Every parameter must be there."""
    found = {}
    for name, value in tensors.items():
        if name.startswith("batch."):
            continue
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    for name in [n for n in found if ".k_proj." in n]:
        found[name.replace(".k_proj.", ".kv.")] = torch.cat((found.pop(name), found.pop(name.replace(".k_", ".v_"))))
    for module in (backbone, policy):
        for name, parameter in module.named_parameters():
            parameter.data.copy_(found.pop(name).view_as(parameter))
    if found:
        raise SystemExit(f"tensors that no parameter takes: {', '.join(sorted(found)[:5])}")
