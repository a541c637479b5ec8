"""A plain loop: the gradient that a Combiner leaves in .grad, what is allowed around it and what is refused."""

import contextlib
import copy

import numpy as np
import pytest
import torch
from conftest import batch, gradients, losses, make, names, pcgrad_of_tensors
from torch import nn
from torch.utils.checkpoint import checkpoint

import craft.torch as ct
from craft import plugins


def grads(model) -> list:
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def difference(mine: list, theirs: list) -> float:
    """Largest difference of two lists of gradients, relative to the largest number; both have the same ones."""
    assert [g is None for g in mine] == [g is None for g in theirs]
    pairs = [(a, b) for a, b in zip(mine, theirs) if a is not None]
    return max(float((a - b).abs().max()) for a, b in pairs) / max(float(b.abs().max()) for _, b in pairs)


def combined(model, rule: str, values: dict, scope=lambda name: name) -> list:
    """By hand: float64 Gram matrices block by block, the plugin's weights, the weighted sum."""
    rows = gradients(model, values)
    named = [n for n, p in model.named_parameters() if p.requires_grad]
    blocks = list(dict.fromkeys(map(scope, named)))
    gram = np.zeros((len(blocks), len(rows), len(rows)))
    for j, name in enumerate(named):
        for a, one in enumerate(rows.values()):
            for b, other in enumerate(rows.values()):
                if one[j] is not None and other[j] is not None:
                    gram[blocks.index(scope(name)), a, b] += float((one[j].double() * other[j].double()).sum())
    weights = plugins.load(rule, objectives=list(rows)).weights(gram, [float(l.detach()) for l in values.values()])
    result = []
    for j, name in enumerate(named):
        parts = [float(w) * row[j] for w, row in zip(weights[blocks.index(scope(name))], rows.values()) if row[j] is not None]
        result.append(sum(parts) if parts else None)
    return result


def test_pcgrad_as_the_paper_has_it():
    model, (x, y) = make(), batch()
    by_objective = gradients(model, losses(model(x), y))
    expected = pcgrad_of_tensors(*by_objective.values())
    plain = [a if b is None else b if a is None else a + b for a, b in zip(*by_objective.values())]
    ct.Combiner(model, names(), "PCGrad:scope=tensor").loss(losses(model(x), y)).backward()
    assert difference(grads(model), expected) < 1e-6
    assert difference(expected, plain) > 1e-3, "there has to be a conflict to see"


SCOPES = {
    "tensor": lambda name: name,
    "layer": lambda name: ".".join(name.split(".")[:2]) if name.split(".")[0] in ("layers", "heads") else name.split(".")[0],
    "module": lambda name: name.split(".")[0],
    "global": lambda name: "all",
}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("rule, m", [("PCGrad:order=ascending", 4), ("UPGrad", 3), ("CRaFTProjection", 2)])
def test_blocks(rule, m, scope):
    model, (x, y) = make(m), batch(m)
    rule = f"{rule}:scope={scope}"
    expected = combined(model, rule, losses(model(x), y), SCOPES[scope])
    combiner = ct.Combiner(model, names(m), rule)
    combiner.loss(losses(model(x), y)).backward()
    assert combiner.scope == scope and difference(grads(model), expected) < 1e-6


def test_sum_is_one_backward_pass_of_the_sum():
    model, (x, y) = make(3), batch(3)
    sum(losses(model(x), y).values()).backward()
    expected = grads(model)
    model.zero_grad()
    combiner = ct.Combiner(model, names(3), "Sum")
    loss = combiner.loss(losses(model(x), y))
    loss.backward()
    assert difference(grads(model), expected) < 1e-6
    assert float(loss.detach()) == pytest.approx(sum(float(l.detach()) for l in losses(model(x), y).values()))


def test_multipliers_move_after_the_optimizers_step():
    model, (x, y) = make(), batch()
    combiner = ct.Combiner(model, names(), "CRaFTProjection:scope=layer,CRaFTDual:budget=0.05:init=0.3:lr=0.1")
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    expected = 0.3
    for step in range(3):
        values = losses(model(x), y)
        combiner.loss(values).backward()
        assert combiner.multipliers["retention"] == pytest.approx(expected, rel=1e-12)
        torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0).step()
        assert combiner.step == step, "another optimizer's step is not this one"
        optimizer.step()
        expected += 0.1 * (float(values["retention"].detach()) - 0.05)
        assert combiner.multipliers == {"action": 1.0, "retention": pytest.approx(expected, rel=1e-6)}
        assert combiner.metrics["lambda.retention"] == combiner.multipliers["retention"]
    assert "conflict_ratio" in combiner.metrics and combiner.step == 3


def test_accumulation_is_the_mean():
    model, (x, y) = make(), batch(size=8)
    expected = combined(model, "PCGrad", losses(model(x), y))
    combiner = ct.Combiner(model, names(), "PCGrad:scope=tensor", every=4)
    for at in range(0, 8, 2):
        assert all(p.grad is None for p in model.parameters())
        (combiner.loss(losses(model(x[at : at + 2]), [t[at : at + 2] for t in y])) / 4).backward()
    assert difference(grads(model), expected) < 1e-6


def test_an_objective_may_be_missing():
    model, (x, y) = make(), batch()
    values = losses(model(x), y)
    expected = gradients(model, values)["retention"]
    combiner = ct.Combiner(model, names(), "PCGrad,CRaFTDual:budget=0.05:init=0.5")
    combiner.loss({"retention": losses(model(x), y)["retention"]}).backward()
    assert difference(grads(model), [None if g is None else 0.5 * g for g in expected]) < 1e-6


def test_tied_frozen_and_unreached_parameters():
    model = make()
    model.heads[0].weight = model.embed.weight
    model.heads[1].weight.requires_grad_(False)
    model.spare = nn.Linear(3, 3)
    x, y = batch()
    by_objective = gradients(model, losses(model(x), y))
    ct.Combiner(model, names(), "PCGrad:scope=tensor").loss(losses(model(x), y)).backward()
    trainable = [p for p in model.parameters() if p.requires_grad]
    assert difference([p.grad for p in trainable], pcgrad_of_tensors(*by_objective.values())) < 1e-6
    assert model.spare.weight.grad is None and model.heads[1].weight.grad is None
    assert model.embed.weight.grad is model.heads[0].weight.grad


def test_clipping_and_plugins_that_clip():
    model, (x, y) = make(), batch()
    ct.Combiner(model, names(), "PCGrad,ClipGradNorm:max_norm=0.1").loss(losses(model(x), y)).backward()
    assert float(nn.utils.clip_grad_norm_(model.parameters(), 0.05)) == pytest.approx(0.1, rel=1e-5)
    assert float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm()) == pytest.approx(0.05, rel=1e-4)


def test_a_plugin_that_gives_the_gradient_itself():
    model, (x, y) = make(), batch()
    rows = gradients(model, losses(model(x), y))
    ct.Combiner(model, names(), "GradDrop").loss(losses(model(x), y)).backward()
    kept = 0
    for a, b, p in zip(*rows.values(), model.parameters()):
        a, b = (torch.zeros_like(p) if g is None else g for g in (a, b))
        positive, negative = a.clamp(min=0) + b.clamp(min=0), a.clamp(max=0) + b.clamp(max=0)
        error = torch.minimum((p.grad - positive).abs(), (p.grad - negative).abs())
        assert float(error.max()) < 1e-6
        kept += int(((a * b < 0) & (p.grad.abs() > 0)).sum())
    assert kept > 50


def test_bfloat16_autocast_and_parameters():
    model, (x, y) = make(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        expected = combined(model, "PCGrad", losses(model(x), y))
        ct.Combiner(model, names(), "PCGrad:scope=tensor").loss(losses(model(x), y)).backward()
    assert difference(grads(model), expected) < 1e-6
    model = make().bfloat16()
    ct.Combiner(model, names(), "Sum").loss(losses(model(x), y)).backward()
    assert all(p.grad.dtype == torch.bfloat16 for p in model.parameters())


def test_non_reentrant_checkpointing():
    model, (x, y) = make(), batch()
    expected = combined(model, "PCGrad", losses(model(x), y))
    calls = []
    for layer in model.layers:
        layer.register_forward_hook(lambda *_: calls.append(1))
        layer.forward = lambda x, f=layer.forward: checkpoint(f, x, use_reentrant=False)
    ct.Combiner(model, names(), "PCGrad:scope=tensor").loss(losses(model(x), y)).backward()
    assert difference(grads(model), expected) < 1e-6


def test_reentrant_checkpointing_is_refused():
    model, (x, y) = make(), batch()
    model.layers[0].forward = lambda x, f=model.layers[0].forward: checkpoint(f, x, use_reentrant=True)
    with pytest.raises(ct.CraftError, match="use_reentrant=False"):
        ct.Combiner(model, names(), "PCGrad").loss(losses(model(x), y)).backward()


def test_compiled_models():
    model, (x, y) = make(), batch()
    expected = combined(model, "PCGrad", losses(model(x), y))
    compiled = torch.compile(model, backend="aot_eager")
    combiner = ct.Combiner(compiled, names(), "PCGrad:scope=tensor")
    combiner.loss(losses(compiled(x), y)).backward()
    assert difference(grads(model), [torch.zeros_like(p) if g is None else g for g, p in zip(expected, model.parameters())]) < 1e-6


def test_grad_scaler_and_its_overflow():
    model, (x, y) = make(), batch()
    reference = copy.deepcopy(model)
    rule = "PCGrad,ClipGradNorm:max_norm=0.1"
    ct.Combiner(reference, names(), rule).loss(losses(reference(x), y)).backward()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    combiner = ct.Combiner(model, names(), rule, loss_scale=scaler.get_scale)
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    scaler.scale(combiner.loss(losses(model(x), y))).backward()
    scaler.unscale_(optimizer)
    assert difference(grads(model), grads(reference)) < 1e-5
    scaler.step(optimizer)
    scaler.update()
    assert combiner.step == 1
    before = [p.detach().clone() for p in model.parameters()]
    values = losses(model(x), y)
    scaler.scale(combiner.loss({n: l * 1e38 * 10 for n, l in values.items()})).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**15 and combiner.step == 1
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    scaler.scale(combiner.loss(losses(model(x), y))).backward()
    scaler.step(optimizer)
    assert combiner.step == 2


def test_a_missing_loss_scale_is_refused():
    model, (x, y) = make(), batch()
    scaler = torch.amp.GradScaler("cpu")
    with pytest.raises(ct.CraftError, match="loss_scale=scaler.get_scale"):
        scaler.scale(ct.Combiner(model, names(), "PCGrad").loss(losses(model(x), y))).backward()


def test_zeroed_gradients_and_those_of_the_last_step_are_no_obstacle():
    model, (x, y) = make(), batch()
    combiner = ct.Combiner(model, names(), "PCGrad")
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    for clear in (lambda: None, lambda: optimizer.zero_grad(), lambda: optimizer.zero_grad(set_to_none=False)):
        combiner.loss(losses(model(x), y)).backward()
        first = grads(model)
        optimizer.step()
        clear()
        combiner.loss(losses(model(x), y)).backward()
        assert difference(grads(model), first) == 0
        optimizer.step()


def refused(words):
    return pytest.raises(ct.CraftError, match=words)


def test_wrong_input_gets_a_sentence():
    model, (x, y) = make(), batch()
    combiner = ct.Combiner(model, names(), "PCGrad")
    values = losses(model(x), y)
    with refused("no objective 'other'; there are action, retention"):
        combiner.loss({"other": values["action"]})
    with refused("expected a scalar tensor"):
        combiner.loss({"action": model(x)[0]})
    with refused("is a float"):
        combiner.loss({"action": 1.0})
    with refused("needs no gradient"):
        combiner.loss({"action": values["action"].detach()})
    with refused("no loss is given"):
        combiner.loss({})
    with refused("reaches no trainable parameter"):
        combiner.loss({"action": losses(make(seed=1)(x), y)["action"]}).backward()
    with refused("the loss of 'retention' is nan"):
        combiner.loss({"action": values["action"], "retention": values["retention"] * torch.nan}).backward()
    assert all(p.grad is None for p in model.parameters())
    loss = combiner.loss(losses(model(x), y))
    loss.backward()
    with refused("differentiated already"):
        loss.backward()


def test_gradients_already_there_are_refused():
    model, (x, y) = make(), batch()
    combiner = ct.Combiner(model, names(), "PCGrad")
    losses(model(x), y)["action"].backward()
    with refused("zero_grad"):
        combiner.loss(losses(model(x), y)).backward()
    model.zero_grad()
    combiner.loss(losses(model(x), y)).backward()


def test_parameters_that_come_later_are_refused():
    model, (x, y) = make(), batch()
    combiner = ct.Combiner(model, names(), "PCGrad")
    model.late = nn.Linear(2, 2)
    with refused("late.bias, late.weight came or went"):
        combiner.loss(losses(model(x), y)).backward()
    del model.late
    model.heads[0] = nn.Linear(16, 11)
    with refused("heads.0.weight, heads.0.bias came or went"):
        combiner.loss(losses(model(x), y)).backward()


def test_losses_that_were_not_divided_are_refused():
    model, (x, y) = make(), batch()
    combiner = ct.Combiner(model, names(), "PCGrad", every=2)
    combiner.loss(losses(model(x), y)).backward()
    with refused("none of their losses was divided by 2"):
        combiner.loss(losses(model(x), y)).backward()


@pytest.mark.parametrize(
    "plugin, words",
    [
        ("BaselineL1", "give the objectives action"),
        ("LayerRates", "learning rates of"),
        ("UnbiasedConflict", "one gradient for each objective"),
        ("PCGrd", "did you mean 'PCGrad'"),
    ],
)
def test_plugins_that_cannot_work_here_are_refused_at_once(plugin, words):
    objectives = ["retention"] if plugin == "BaselineL1" else names()
    with refused(words):
        ct.Combiner(make(), objectives, plugin)


def test_deepspeed_is_refused():
    model = make()
    model.embed.weight.ds_id = 0
    with refused("DDP or FSDP2"):
        ct.Combiner(model, names(), "PCGrad")


def test_a_combination_without_an_optimizer_step_is_told():
    model, (x, y) = make(), batch()
    combiner = ct.Combiner(model, names(), "PCGrad")
    combiner.loss(losses(model(x), y)).backward()
    with pytest.warns(UserWarning, match="finish_step"):
        combiner.loss(losses(model(x), y)).backward()
    combiner.finish_step(1e-3)
    assert combiner.step == 1


def test_the_end_of_a_run():
    model, (x, y) = make(), batch()
    combiner = ct.Combiner(model, names(), "PCGrad,EarlyStop:objective=action:loss_ceiling=0:patience=0")
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    assert combiner.stop is None
    combiner.loss(losses(model(x), y)).backward()
    optimizer.step()
    assert "EarlyStop ended the run" in combiner.stop


def test_features_of_any_module():
    model, (x, _) = make(), batch()
    with ct.features(model, "layers.1") as tap:
        with refused("gave nothing yet"):
            tap.value
        model(x)
    assert torch.equal(model.norm(tap.value), model.trunk(x)) and tap.value.requires_grad
    assert not model.layers[1]._forward_hooks
    with refused("no module 'layers.9'"), contextlib.ExitStack() as stack:
        stack.enter_context(ct.features(model, "layers.9"))
