"""The frameworks people train with, unpatched: the same weights as a plain loop, with accumulation and their own clipping."""

import copy

import pytest
import torch
from conftest import batch, losses, make, names
from torch import nn

import craft.torch as ct
from craft.torch import frameworks

RULE = "PCGrad:scope=tensor:order=ascending,CRaFTDual:budget=0.05:init=0.3:lr=0.1"
STEPS, ACCUMULATION, CLIP, RATE = 3, 2, 0.5, 0.1


def examples() -> list[dict]:
    """One sample after the other: tokens, and targets of both objectives."""
    x, y = batch(size=STEPS * ACCUMULATION * 2)
    return [{"tokens": x[i], "one": y[0][i], "two": y[1][i]} for i in range(len(x))]


def batches() -> list[dict]:
    data = examples()
    return [torch.utils.data.default_collate(data[i : i + 2]) for i in range(0, len(data), 2)]


def of(model, inputs) -> dict[str, torch.Tensor]:
    return losses(model(inputs["tokens"]), [inputs["one"], inputs["two"]])


def parameters(model) -> list[torch.Tensor]:
    return [p.detach().cpu().clone() for p in model.parameters()]


@pytest.fixture(scope="module")
def plain():
    """Parameters and multipliers of a plain loop."""
    model = make()
    combiner = ct.Combiner(model, names(), RULE, every=ACCUMULATION)
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    for i, inputs in enumerate(batches()):
        (combiner.loss(of(model, inputs)) / ACCUMULATION).backward()
        if (i + 1) % ACCUMULATION == 0:
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad()
    assert combiner.step == STEPS
    return parameters(model), combiner.multipliers


def check(plain, model, combiner):
    expected, multipliers = plain
    assert combiner.step == STEPS and combiner.multipliers == pytest.approx(multipliers, rel=1e-9)
    assert max(float((a - b).abs().max()) for a, b in zip(parameters(model), expected, strict=True)) < 1e-7
    start = parameters(make())
    assert max(float((a - b).abs().max()) for a, b in zip(expected, start)) > 1e-3


def test_accelerate(plain):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATION)
    model = make()
    combiner = frameworks.follow_accelerator(ct.Combiner(model, names(), RULE), accelerator)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), RATE))
    for inputs in batches():
        with accelerator.accumulate(model):
            accelerator.backward(combiner.loss(of(model, inputs)))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad()
    check(plain, model, combiner)


class WithLabels(nn.Module):
    """As models of transformers are: with **kwargs and labels, for which a Trainer does not divide the loss."""

    def __init__(self):
        super().__init__()
        self.net = make()

    def forward(self, tokens, labels=None, **kwargs):
        return {"loss": torch.zeros(()), "outputs": self.net(tokens)}


def trainer(folder, model, follow=True):
    transformers = pytest.importorskip("transformers")

    class Trainer(transformers.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, **_):
            outputs = model(inputs["tokens"])["outputs"]
            return self.combiner.loss(losses(outputs, [inputs["labels"], inputs["two"]]))

        def _get_train_sampler(self, *_):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    data = [{"tokens": e["tokens"], "labels": e["one"], "two": e["two"]} for e in examples()]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=2, gradient_accumulation_steps=ACCUMULATION, max_grad_norm=CLIP,
        learning_rate=RATE, lr_scheduler_type="constant", num_train_epochs=1, report_to=[], save_strategy="no", use_cpu=True,
        logging_strategy="no", disable_tqdm=True, remove_unused_columns=False, optim="sgd",
    )
    result = Trainer(model=model, args=arguments, train_dataset=data)
    result.combiner = ct.Combiner(model, names(), RULE)
    if follow:
        frameworks.follow_trainer(result.combiner, result)
    else:
        result.combiner.sync = lambda: result.accelerator.sync_gradients
    return result


def test_hf_trainer(plain, tmp_path):
    model = WithLabels()
    result = trainer(tmp_path, model)
    result.train()
    check(plain, model.net, result.combiner)


def test_hf_trainers_missing_division_is_refused(tmp_path):
    result = trainer(tmp_path, WithLabels(), follow=False)
    with pytest.raises(ct.CraftError, match="loss_is_scaled_for_ga = False"):
        result.train()


def test_lightning(plain, tmp_path):
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = make()
            object.__setattr__(self, "combiner", ct.Combiner(self.net, names(), RULE))
            frameworks.follow_lightning(self.combiner, self)

        def training_step(self, inputs, _):
            return self.combiner.loss(of(self.net, inputs))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), RATE)

    module = Module()
    lightning.Trainer(
        max_epochs=1, accelerator="cpu", accumulate_grad_batches=ACCUMULATION, gradient_clip_val=CLIP, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    ).fit(module, torch.utils.data.DataLoader(examples(), batch_size=2))
    check(plain, module.net, module.combiner)


def test_a_copied_model_needs_a_combiner_of_its_own():
    model = make()
    combiner = ct.Combiner(model, names(), RULE)
    with pytest.raises(ct.CraftError, match="another model"):
        combiner.loss(of(copy.deepcopy(model), batches()[0])).backward()
