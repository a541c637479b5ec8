"""What frameworks know and a Combiner has to: which backward pass ends a step, and by what the loss is scaled.

Each function takes the framework's object and returns the Combiner; the framework's code stays as it is. They divide losses by
the accumulation steps themselves, clip after backward, and step the optimizer: all of that works on what is in ``.grad``.
"""

from craft.runtime import CraftError
from craft.torch.combiner import Combiner

__all__ = ["follow_accelerator", "follow_lightning", "follow_trainer"]


def _follow(combiner: Combiner, accelerator) -> None:
    if str(getattr(accelerator, "distributed_type", "")).endswith("DEEPSPEED"):
        raise CraftError("DeepSpeed hands out no gradients before its own step: run Accelerate with DDP or FSDP2 instead")
    combiner.sync = lambda: accelerator.sync_gradients
    scaler = getattr(accelerator, "scaler", None)
    if scaler is not None:
        combiner.loss_scale = scaler.get_scale


def follow_accelerator(combiner: Combiner, accelerator) -> Combiner:
    """Accelerate: inside of ``accelerator.accumulate(model)`` call ``accelerator.backward(combiner.loss({...}))``."""
    _follow(combiner, accelerator)
    return combiner


def follow_trainer(combiner: Combiner, trainer) -> Combiner:
    """HF Trainer: return ``combiner.loss({...})`` from compute_loss. Call this before ``trainer.train()``.

    A Trainer whose model takes loss arguments leaves the division by the accumulation steps to the model's loss, which a loss
    of one's own does not do: the division is switched on again.
    """
    accelerator = getattr(trainer, "accelerator", None)
    if accelerator is None:
        raise CraftError(f"expected a transformers.Trainer, found a {type(trainer).__name__}")
    _follow(combiner, accelerator)
    for name in ("loss_is_scaled_for_ga", "model_accepts_loss_kwargs"):
        if hasattr(trainer, name):
            setattr(trainer, name, False)
    return combiner


def follow_lightning(combiner: Combiner, module) -> Combiner:
    """Lightning, with automatic optimisation: return ``combiner.loss({...})`` from training_step."""
    if not module.automatic_optimization:
        raise CraftError("with manual optimization write (combiner.loss({...}) / n).backward() as in a plain loop, with every=n")

    def ends_a_step() -> bool:
        trainer = module.trainer
        loop = trainer.fit_loop
        return not loop._should_accumulate()  # Lightning says it nowhere else

    combiner.sync = ends_a_step
    return combiner
