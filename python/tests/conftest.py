"""A small transformer with one head for each objective, and its losses."""

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)


class Layer(nn.Module):
    def __init__(self, width: int, dropout: float = 0.0):
        super().__init__()
        self.norm1, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, 2, d // 2).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))


class Net(nn.Module):
    def __init__(self, m: int = 2, width: int = 16, layers: int = 2, vocabulary: int = 11, dropout: float = 0.0):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Layer(width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(nn.Linear(width, vocabulary) for _ in range(m))

    def trunk(self, x):
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def forward(self, x):
        x = self.trunk(x)
        return [head(x) for head in self.heads]


def make(m: int = 2, seed: int = 0, **settings) -> Net:
    torch.manual_seed(seed)
    return Net(m, **settings)


def batch(m: int = 2, size: int = 4, seed: int = 0, vocabulary: int = 11):
    """Tokens [size, 5] and, for each objective, targets of the same shape."""
    generator = torch.Generator().manual_seed(1000 + seed)
    draw = lambda: torch.randint(vocabulary, (size, 5), generator=generator)  # noqa: E731
    return draw(), [draw() for _ in range(m)]


def names(m: int = 2) -> list[str]:
    return ["action", "retention", "o2", "o3", "o4", "o5", "o6", "o7"][:m]


def losses(outputs, targets) -> dict[str, torch.Tensor]:
    return {
        name: (1 + i) * F.cross_entropy(o.flatten(0, 1), t.flatten())
        for i, (name, o, t) in enumerate(zip(names(len(outputs)), outputs, targets))
    }


def gradients(model, values: dict[str, torch.Tensor]) -> dict[str, list]:
    """By objective: the gradient of each trainable parameter, or None."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return {n: list(torch.autograd.grad(l, parameters, retain_graph=True, allow_unused=True)) for n, l in values.items()}


def pcgrad_of_tensors(one: list, other: list) -> list:
    """The sum of two objectives' gradients after PCGrad, tensor by tensor, written down as the paper has it."""
    result = []
    for a, b in zip(one, other):
        if a is None or b is None:
            result.append(a if b is None else b)
            continue
        dot = (a.double() * b.double()).sum()
        if dot < 0:
            a, b = a - dot / (b.double() ** 2).sum() * b, b - dot / (a.double() ** 2).sum() * a
        result.append((a + b).float())
    return result
