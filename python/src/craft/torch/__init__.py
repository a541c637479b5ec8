"""craft's plugins in a PyTorch training loop of one's own.

    import craft.torch as ct
    combiner = ct.Combiner(model, objectives=["action", "retention"],
                           plugins="CRaFTProjection:scope=layer,CRaFTDual:budget=0.05")
    combiner.loss({"action": l1, "retention": drift}).backward()     # .grad holds the combined gradient
    optimizer.step()                                                 # multipliers move after it
"""

from craft.runtime import CraftError
from craft.torch.combiner import Combiner
from craft.torch.features import features

__all__ = ["Combiner", "CraftError", "features"]
