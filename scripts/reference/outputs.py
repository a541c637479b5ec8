"""Everything that a case folder's expected.safetensors holds, computed in float64 from its weights and inputs."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from modeling import load_folder
from steps import anchor_features, combine, gradients, losses

MULTIPLIER = 0.3


def load_inputs(folder, dtype=torch.float64):
    inputs = load_file(Path(folder) / "inputs.safetensors")
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs.items()}


def unnormalise(actions, statistics):
    """Back to the robot's units: masked dimensions span [q01, q99], the gripper is kept."""
    low, high = (torch.tensor(statistics[k], dtype=torch.float64) for k in ("q01", "q99"))
    scaled = 0.5 * (actions + 1) * (high - low + 1e-8) + low
    return torch.where(torch.tensor(statistics["mask"]), scaled, actions)


def compute(folder, dtype=torch.float64, margins=None):
    """{name: tensor}. A dict passed as `margins` receives how far the case stays away from what is not smooth."""
    folder = Path(folder)
    model = load_folder(folder, dtype)
    inputs = load_inputs(folder, dtype)
    anchor = anchor_features(model, inputs, load_file(folder / "anchor.safetensors"))

    relu_inputs = []
    hooks = [
        block.ffn[1].register_forward_hook(lambda _m, _i, y: relu_inputs.append(y.abs().min().item()))
        for block in model.action_head.model.mlp_resnet_blocks
    ]
    hooks.append(model.action_head.model.fc1.register_forward_hook(lambda _m, _i, y: relu_inputs.append(y.abs().min().item())))
    action, retention, output = losses(model, inputs, anchor)
    for hook in hooks:
        hook.remove()

    g_action = gradients(model, action, retain=True)
    g_retention = gradients(model, retention)
    combined, ratio = combine(g_action, g_retention, MULTIPLIER)

    mask = output["mask"]
    result = {
        "hidden_mask": mask.to(dtype),
        "projected_patches": output["projected_patches"],
        "predicted_actions": output["predicted_actions"],
        "features": output["features"],
        "features.anchor": anchor,
        "loss.action": action[None],
        "loss.retention": retention[None],
        "conflict_ratio": torch.tensor([ratio], dtype=dtype),
    }
    for index, states in enumerate(output["hidden_states"]):
        result[f"hidden_states.{index}"] = states * mask[..., None]
    for kind, group in (("action", g_action), ("retention", g_retention), ("combined", combined)):
        for name, gradient in group.items():
            result[f"grad.{kind}.{name}"] = gradient

    statistics = next(iter(json.loads((folder / "dataset_statistics.json").read_text()).values()))["action"]
    with torch.no_grad():
        noisy_loss, _, noisy = losses(model, inputs, anchor, inputs["policy_noise"])
        result["extra.predicted_actions_noise"] = noisy["predicted_actions"]
        result["extra.loss_action_noise"] = noisy_loss[None]
        result["extra.unnormalised_actions"] = unnormalise(output["predicted_actions"].double(), statistics)

    if margins is not None:
        cosines = [
            (torch.dot(g.flatten(), r.flatten()) / (g.norm() * r.norm())).abs().item()
            for name, r in g_retention.items()
            if (g := g_action.get(name)) is not None and g.norm() > 0 and r.norm() > 0
        ]
        margins |= {
            "min_abs_relu_input": min(relu_inputs),
            "min_abs_action_error": (output["predicted_actions"] - inputs["actions"]).abs().min().item(),
            "min_abs_cos": min(cosines),
            "with_both_gradients": len(cosines),
        }
    return {name: value.detach().contiguous() for name, value in result.items()}
