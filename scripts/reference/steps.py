"""Losses, gradients and training steps of the method, on top of `modeling`."""

from contextlib import contextmanager

import torch

DELTA = 1e-8  # in the projection's denominator


def losses(model, inputs, anchor_features, start=None):
    """(mean absolute error of the action chunk, mean squared drift of the features, the forward's outputs)."""
    output = model(inputs, start)
    action = (output["predicted_actions"] - inputs["actions"]).abs().mean()
    retention = (output["features"] - anchor_features).pow(2).mean()
    return action, retention, output


def gradients(model, loss, retain=False):
    """{checkpoint name: gradient}, of the parameters that the loss reaches."""
    named = list(model.named_trainable())
    found = torch.autograd.grad(loss, [p for _, _, p in named], retain_graph=retain, allow_unused=True)
    return {name: g for (name, _, _), g in zip(named, found, strict=True) if g is not None}


def combine(action, retention, multiplier, project=True):
    """Projection tensor by tensor, then g = g~ + multiplier * g_ret.

    Returns (combined gradients, conflict ratio over tensors with both gradients and a retention gradient that is not
    zero). A tensor that only one objective reaches keeps that gradient.
    """
    combined, conflicts, counted = {}, 0, 0
    for name, g in action.items():
        r = retention.get(name)
        if r is None:
            combined[name] = g
            continue
        dot, square = (g * r).sum(), (r * r).sum()
        counted += int(square > 0)
        conflicts += int(square > 0 and dot < 0)
        if project and dot < 0:
            g = g - dot / (square + DELTA) * r
        combined[name] = g + multiplier * r
    for name, r in retention.items():
        combined.setdefault(name, multiplier * r)
    return combined, conflicts / max(counted, 1)


@contextmanager
def swapped(model, weights):
    """The model with other VLM weights ({checkpoint name: tensor}), which are swapped in and out again."""
    named = {name: p for name, part, p in model.named_trainable() if part == "vlm"}
    unknown = set(weights) - set(named)
    assert not unknown, f"anchor tensors that the model does not have: {sorted(unknown)}"
    with torch.no_grad():
        kept = {name: named[name].clone() for name in weights}
        for name, value in weights.items():
            named[name].copy_(value)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                named[name].copy_(value)


def anchor_features(model, inputs, weights):
    """Features under other VLM weights."""
    with torch.no_grad(), swapped(model, weights):
        return model(inputs)["features"]


# Parameter groups by the start of a name.
GROUPS = {
    "vision": "vision_backbone.",
    "projector": "projector.",
    "decoder": "language_model.",
    "queries": "action_queries.",
    "policy": "action_head.",
    "proprio": "proprio_projector.",
}


def train(
    model, inputs, steps, craft, lr, weight_decay, budget, dual_lr, initial_multiplier, lr_scale=None
):
    """AdamW on one fixed batch, `policy_noise` among it; anchors are the initial weights. Returns one dict per step,
    measured before it.

    With a policy input of zeros all actions of a chunk agree, and where as many targets lie above as below, the gradient
    of the last layer is exactly 0: in float32 that is rounding noise, which AdamW turns into whole steps.

    lr_scale: {group: factor on lr}.
    """
    parameters = [p for _, _, p in model.named_trainable()]
    names = [name for name, _, _ in model.named_trainable()]
    groups = [
        {"params": [p for n, p in zip(names, parameters, strict=True) if n.startswith(start)], "lr": lr * factor}
        for group, start in GROUPS.items()
        for factor in [(lr_scale or {}).get(group, 1.0)]
    ]
    assert sum(len(g["params"]) for g in groups) == len(parameters), "a parameter is in no group"
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=weight_decay)
    with torch.no_grad():
        anchor = model(inputs)["features"]
    multiplier, history = initial_multiplier, []
    for step in range(steps):
        action, retention, _ = losses(model, inputs, anchor, inputs["policy_noise"])
        record = {"step": step + 1, "loss.action": action.item(), "loss.retention": retention.item()}
        if craft:
            g_action, g_retention = gradients(model, action, retain=True), gradients(model, retention)
            combined, ratio = combine(g_action, g_retention, multiplier)
            record |= {"lambda_before": multiplier, "conflict_ratio": ratio}
            multiplier = max(0.0, multiplier + dual_lr * (retention.item() - budget))
            record["lambda_after"] = multiplier
        else:
            combined = gradients(model, action)
        record["gradient_norm"] = sum(g.pow(2).sum() for g in combined.values()).sqrt().item()
        history.append(record)
        for name, parameter in zip(names, parameters, strict=True):
            parameter.grad = combined.get(name)
        optimizer.step()
    return history
