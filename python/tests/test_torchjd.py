"""TorchJD's own aggregators make the same update on the same model."""

import pytest
import torch
from conftest import batch, losses, make, names

import craft.torch as ct

aggregation = pytest.importorskip("torchjd.aggregation")
autojac = pytest.importorskip("torchjd.autojac")

# Both with what their papers leave open set to the same.
PAIRS = {
    "UPGrad": ("UPGrad", lambda: aggregation.UPGrad(), 1e-4),
    "PCGrad": ("PCGrad", lambda: aggregation.PCGrad(), 1e-5),  # m = 2: no order to draw
    "MGDA": ("MGDA", lambda: aggregation.MGDA(epsilon=1e-9, max_iters=10000), 1e-3),
    "DualProj": ("DualProj", lambda: aggregation.DualProj(), 1e-4),
    "AlignedMTL": ("AlignedMTL", lambda: aggregation.AlignedMTL(), 1e-4),
    "IMTLG": ("IMTLG", lambda: aggregation.IMTLG(), 1e-4),
    "ConFIG": ("ConFIG", lambda: aggregation.ConFIG(), 1e-4),
    "CAGrad": ("CAGrad:c=0.5", lambda: aggregation.CAGrad(c=0.5), 1e-2),
    "NashMTL": ("NashMTL", lambda: aggregation.NashMTL(n_tasks=2), 1e-2),
}


def aggregate(model, values, aggregator) -> torch.Tensor:
    """The update of all parameters as one vector."""
    parameters = list(model.parameters())
    autojac.backward(list(values.values()), inputs=parameters)
    autojac.jac_to_grad(parameters, aggregator)
    return torch.cat([p.grad.flatten() for p in parameters])


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_update(name):
    rule, aggregator, tolerance = PAIRS[name]
    try:
        aggregator = aggregator()
    except ImportError as error:
        pytest.skip(str(error))
    model, (x, y) = make(), batch()
    try:
        theirs = aggregate(model, losses(model(x), y), aggregator)
    except ImportError as error:
        pytest.skip(str(error))
    model.zero_grad()
    ct.Combiner(model, names(), rule).loss(losses(model(x), y)).backward()
    mine = torch.cat([p.grad.flatten() if p.grad is not None else torch.zeros_like(p).flatten() for p in model.parameters()])
    assert float((mine - theirs).norm() / theirs.norm()) < tolerance


@pytest.mark.parametrize("rule", ["PCGrad:order=ascending", "UPGrad"])
def test_a_plugin_as_an_aggregator(rule):
    from craft.torch.torchjd import plugin_aggregator

    model, (x, y) = make(4), batch(4)
    theirs = aggregate(model, losses(model(x), y), plugin_aggregator(rule))
    model.zero_grad()
    ct.Combiner(model, names(4), rule).loss(losses(model(x), y)).backward()
    mine = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert float((mine - theirs).abs().max() / theirs.abs().max()) < 1e-5
