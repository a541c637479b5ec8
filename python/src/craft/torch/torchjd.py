"""craft's plugins for TorchJD: a weighting, and the aggregator around it.

    from craft.torch.torchjd import plugin_aggregator
    mtl_backward(losses, features=h); jac_to_grad(encoder.parameters(), plugin_aggregator("NashMTL"))
"""

import torch
from torchjd.aggregation import GramianWeightedAggregator, Weighting

from craft import plugins

__all__ = ["PluginWeighting", "plugin_aggregator"]


class PluginWeighting(Weighting):
    """Weights that a plugin, or a list of them, gives for a Gram matrix. What plugins carry goes on from call to call."""

    def __init__(self, rule: str):
        super().__init__()
        self.plugin = plugins.load(rule)

    def forward(self, gramian: torch.Tensor, /) -> torch.Tensor:
        """[m] for [m, m]; in float64 on the way, and not differentiable."""
        weights = self.plugin.weights(gramian.detach().double().cpu().numpy())
        return torch.from_numpy(weights).to(gramian)


def plugin_aggregator(rule: str) -> GramianWeightedAggregator:
    """An aggregator of TorchJD that combines the rows of a Jacobian by a plugin."""
    return GramianWeightedAggregator(PluginWeighting(rule))
