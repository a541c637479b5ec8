#!/usr/bin/env python3
"""Time of a training step in PyTorch on the CPU: full fine-tuning of the policy in a config.json, random inputs.

    pytorch_step.py --config Assets/small-vlm/config.json --batch 8 --prompt 24 --threads 2 --rounds 5 --steps 10

Modes:
    baseline      action loss, one backward, fused AdamW
    craft         CRaFT by a careful hand: initial weights swapped in by pointer, one forward, two backwards through it,
                  dot products and updates in place, fused AdamW
    craft-naive   CRaFT as the public loop does it: weights copied out and in, gradients cloned, projection with
                  temporaries, default AdamW
    latency       the policy's answer to one observation, nothing recorded

--work FILE takes weights and batch from what `craft bench --save FILE` wrote, so that losses can be compared (towers
without class and register tokens). --compile runs each block through torch.compile, --bf16 the passes under bfloat16
autocast, with float32 weights and optimizer.

Prints JSON lines: first {"ready": ...}, then one per round and mode with the milliseconds of each step. With --wait each
round starts when a line arrives on the standard input, so that another program can take turns with this one; the end of
the input ends it.
"""

import argparse
import json
import resource
import statistics
import sys
import time

import torch
from safetensors.torch import load_file

from pytorch_model import Backbone, Policy, load_checkpoint

DELTA, BUDGET, DUAL_LR, LR = 1e-8, 0.1, 0.01, 2e-4


class Trainer:
    """A model of its own, its optimizer and one random batch."""

    def __init__(self, config, batch, prompt, fused, anchored, work=None, compiled=False, bf16=False):
        small, text = config["craft_small"], config["text_config"]
        torch.manual_seed(0)
        self.backbone, self.policy = Backbone(config, prompt), Policy(small)
        self.cast = lambda: torch.autocast("cpu", torch.bfloat16, enabled=bf16)
        if work:
            load_checkpoint(self.backbone, self.policy, work)
            self.policy.noise = work["batch.policy_input"]
        self.vlm = list(self.backbone.parameters())
        self.all = self.vlm + list(self.policy.parameters())
        self.initial = [p.detach().clone() for p in self.vlm] if anchored else None
        self.optimizer = torch.optim.AdamW(self.all, lr=LR, weight_decay=0.01, fused=True if fused else None)
        self.multiplier = 0.0
        side, channels = small["image_size"], 3 * small["cameras"] * len(small["towers"])
        self.pixels = torch.randn(batch, channels, side, side)
        self.ids = torch.randint(0, text["vocab_size"], (batch, prompt))
        self.proprio = torch.randn(batch, small["proprio_dim"])
        self.actions = torch.rand(batch, small["chunk"], small["action_dim"]) * 2 - 1
        if work:
            self.pixels, self.ids = work["batch.pixels"], work["batch.ids"]
            self.proprio, self.actions = work["batch.proprio"], work["batch.actions"]
        if compiled:
            # Two backward passes through one forward pass need its buffers twice.
            torch._functorch.config.donated_buffer = False
            towers = [block for tower in self.backbone.towers for block in tower.blocks]
            for block in [*towers, *self.backbone.layers, *self.policy.blocks]:
                block.compile()

    def action_loss(self, hidden):
        predicted = self.policy(hidden, self.backbone.visual, self.proprio)
        return (predicted - self.actions).abs().mean()

    def dual_step(self, retention):
        self.multiplier = max(0.0, self.multiplier + DUAL_LR * (retention - BUDGET))

    def baseline(self):
        self.optimizer.zero_grad(set_to_none=True)
        with self.cast():
            loss = self.action_loss(self.backbone(self.pixels, self.ids))
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def craft(self):
        live = [p.data for p in self.vlm]
        for p, value in zip(self.vlm, self.initial):
            p.data = value
        with torch.no_grad(), self.cast():
            anchor = self.backbone.features(self.backbone(self.pixels, self.ids))
        for p, value in zip(self.vlm, live):
            p.data = value

        with self.cast():
            hidden = self.backbone(self.pixels, self.ids)
            action = self.action_loss(hidden)
            retention = (self.backbone.features(hidden) - anchor).float().pow(2).mean()
        gradients = torch.autograd.grad(action, self.all, retain_graph=True)
        drift = torch.autograd.grad(retention, self.vlm, allow_unused=True)
        for g, r in zip(gradients, drift):
            if r is None:
                continue
            g, r = g.view(-1), r.view(-1)
            dot = torch.dot(g, r).item()
            scale = self.multiplier
            if dot < 0:
                scale -= dot / (torch.dot(r, r).item() + DELTA)
            g.add_(r, alpha=scale)
        for p, g in zip(self.all, gradients):
            p.grad = g
        self.optimizer.step()
        self.dual_step(retention.item())
        return action.item()

    def craft_naive(self):
        live = [p.detach().clone() for p in self.vlm]
        with torch.no_grad(), self.cast():
            for p, value in zip(self.vlm, self.initial):
                p.copy_(value)
            anchor = self.backbone.features(self.backbone(self.pixels, self.ids)).detach()
            for p, value in zip(self.vlm, live):
                p.copy_(value)

        self.optimizer.zero_grad()
        with self.cast():
            hidden = self.backbone(self.pixels, self.ids)
            action = self.action_loss(hidden)
            retention = torch.nn.functional.mse_loss(self.backbone.features(hidden).float(), anchor.float())
        action.backward(retain_graph=True)
        gradients = [p.grad.clone() for p in self.all]
        self.optimizer.zero_grad()
        retention.backward()
        for p, g in zip(self.all, gradients):
            r = p.grad
            if r is None:
                p.grad = g
                continue
            dot = (g * r).sum()
            if dot < 0:
                g = g - dot / ((r * r).sum() + DELTA) * r
            p.grad = g + self.multiplier * r
        self.optimizer.step()
        self.dual_step(retention.item())
        return action.item()


    def latency(self):
        with torch.inference_mode(), self.cast():
            hidden = self.backbone(self.pixels[:1], self.ids[:1])
            return self.policy(hidden, self.backbone.visual, self.proprio[:1]).sum().item()


MODES = {"baseline": (Trainer.baseline, True), "craft": (Trainer.craft, True), "craft-naive": (Trainer.craft_naive, False),
         "latency": (Trainer.latency, True)}


def report(**values):
    print(json.dumps(values), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="config.json with craft_small")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=24, help="prompt tokens")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps of each mode in a round")
    parser.add_argument("--warmup", type=int, default=3, help="steps of each mode before the first round")
    parser.add_argument("--modes", default="baseline,craft,craft-naive")
    parser.add_argument("--work", help="safetensors file with weights and batch, from craft bench --save")
    parser.add_argument("--compile", action="store_true", help="torch.compile each block")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: of the process, all threads")
    parser.add_argument("--wait", action="store_true", help="wait for a line on the standard input before each round")
    arguments = parser.parse_args()
    modes = arguments.modes.split(",")
    if unknown := sorted(set(modes) - set(MODES)):
        parser.error(f"unknown mode {', '.join(unknown)}; there are {', '.join(MODES)}")

    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    torch.set_num_threads(arguments.threads)
    with open(arguments.config) as file:
        config = json.load(file)
    work = load_file(arguments.work) if arguments.work else None
    if work:
        arguments.batch, arguments.prompt = work["batch.ids"].shape
    trainers = {
        mode: Trainer(config, arguments.batch, arguments.prompt, fused=MODES[mode][1],
                      anchored=mode.startswith("craft"), work=work, compiled=arguments.compile, bf16=arguments.bf16)
        for mode in modes
    }
    losses = {
        mode: [MODES[mode][0](trainer) for _ in range(arguments.warmup)] for mode, trainer in trainers.items()
    }
    first = next(iter(trainers.values()))
    report(
        ready=True,
        torch=torch.__version__,
        threads=arguments.threads,
        batch=arguments.batch,
        tokens=first.backbone.cosine.shape[0],
        parameters=sum(p.numel() for p in first.all),
        losses=losses,
    )
    for number in range(arguments.rounds):
        if arguments.wait and not sys.stdin.readline():
            break
        for mode, trainer in trainers.items():
            times = []
            for _ in range(arguments.steps):
                start = clock()
                loss = MODES[mode][0](trainer)
                times.append((clock() - start) * 1e3)
            report(
                round=number + 1,
                mode=mode,
                median_ms=round(statistics.median(times), 3),
                ms=[round(t, 3) for t in times],
                loss=loss,
            )
    report(peak_rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1))


if __name__ == "__main__":
    main()
