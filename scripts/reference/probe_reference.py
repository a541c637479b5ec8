#!/usr/bin/env python3
"""Probes in PyTorch: a forward pass of the images with questions instead of instructions, without action queries, under
the current and under the initial weights.

    probe_reference.py check DIR...    compute again and compare with each folder's probe.safetensors
    probe_reference.py write DIR...    write it: prompts, losses, and the gradients of both objectives

    probe          1/2 (D(text) + D(visual)), D(f) = mean (f - f~)^2 / Var(f~): text tokens of the last hidden state,
                   visual tokens of the middle one; Var is that of all elements around their mean
    distillation   KL(softmax(z~) || softmax(z)) of the logits after the last prompt token, mean over samples

Initial weights are the folder's anchor.safetensors. Computed in float64, stored as float32.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import stored
from modeling import load_folder
from outputs import load_inputs
from steps import gradients, swapped

# A prompt for each sample, of different lengths.
PROMPTS = [[1, 4, 9, 2, 7], [1, 3, 5]]


def run(model, pixel_values, prompts):
    """(text tokens [sum of n - 1, D], visual tokens [B, N, D], logits [B, V])."""
    vlm = model.vlm.base_model.model if hasattr(model.vlm, "base_model") else model.vlm
    patches = vlm.patches(pixel_values)
    embed = vlm.language_model.get_input_embeddings()
    text, visual, logits = [], [], []
    # One sample at a time: nothing is padded.
    for sample, prompt in enumerate(prompts):
        tokens = embed(torch.tensor(prompt))
        sequence = torch.cat((tokens[:1], patches[sample], tokens[1:]))[None]
        output = vlm.language_model.model(inputs_embeds=sequence, use_cache=False, output_hidden_states=True)
        hidden, n = output.hidden_states, patches.shape[1]
        visual.append(hidden[len(hidden) // 2][0, 1 : n + 1])
        text.append(hidden[-1][0, n + 1 :])
        # The output head as the file has it: craft's adapters leave it alone.
        head = getattr(vlm.language_model.lm_head, "base_layer", vlm.language_model.lm_head)
        logits.append(head(hidden[-1][0, -1]))
    return torch.cat(text), torch.stack(visual), torch.stack(logits)


def drift(features, anchors):
    return (features - anchors).pow(2).mean() / anchors.var(correction=0)


def compute(folder):
    model, pixels = load_folder(folder), load_inputs(folder)["pixel_values"]
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(len(pixels))]
    with torch.no_grad(), swapped(model, load_file(Path(folder) / "anchor.safetensors")):
        text0, visual0, logits0 = run(model, pixels, prompts)
    text, visual, logits = run(model, pixels, prompts)
    halves = drift(text, text0), drift(visual, visual0)
    probe = (halves[0] + halves[1]) / 2
    distillation = F.kl_div(logits.log_softmax(-1), logits0.log_softmax(-1), reduction="batchmean", log_target=True)
    width = max(map(len, prompts))
    result = {
        "prompts": torch.tensor([p + [-1] * (width - len(p)) for p in prompts]),
        "loss.probe": probe[None],
        "loss.text": halves[0][None],
        "loss.visual": halves[1][None],
        "loss.distillation": distillation[None],
    }
    for name, loss in (("probe", probe), ("distillation", distillation)):
        result |= {f"grad.{name}.{k}": g for k, g in gradients(model, loss, retain=name == "probe").items()}
    return {k: v.detach().to(torch.int64 if k == "prompts" else torch.float32).contiguous() for k, v in result.items()}


if __name__ == "__main__":
    stored.main("probe.safetensors", compute, __doc__)
