"""craft's plugins in Python.

``craft.plugins`` lists and loads plugins and asks them for weights; ``craft.torch`` combines the gradients of several losses in
a PyTorch loop; ``craft.runtime`` is the conversation between a step and its plugins, which the other two stand on.
"""

from craft.runtime import CraftError

__all__ = ["CraftError"]
