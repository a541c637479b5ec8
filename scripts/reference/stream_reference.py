#!/usr/bin/env python3
"""Data streams in PyTorch: answers of several tokens, a second batch of demonstrations, and the initial policy's actions.

    stream_reference.py check DIR...    compute again and compare with each folder's stream.safetensors
    stream_reference.py write DIR...    write it: answers, losses, and the gradients of the three objectives

    cotraining       cross-entropy of the answers' tokens, each predicted from the images, the question and the tokens of the
                     answer before it, without action queries; mean over tokens
    cotraining.answer    the same, mean over answers of the mean over an answer's tokens (its loss alone)
    replay           mean absolute error of the actions on the folder's batch with images, states and actions of its samples in
                     the other order
    action_anchor    mean squared difference of the actions from those under the initial weights

Initial weights are the folder's anchor.safetensors; the action head's are the current ones. Computed in float64, stored as
float32.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import stored
from modeling import load_folder
from outputs import load_inputs
from steps import gradients, swapped

# A question and an answer for each sample, of different lengths.
QUESTIONS = [[1, 4, 9, 2, 7], [1, 3, 5]]
ANSWERS = [[6, 8, 2], [11]]


def answer_logits(model, pixel_values, questions, answers):
    """Logits [V] that predict each answer's tokens, sample by sample."""
    vlm = model.vlm.base_model.model if hasattr(model.vlm, "base_model") else model.vlm
    patches = vlm.patches(pixel_values)
    embed = vlm.language_model.get_input_embeddings()
    # The output head as the file has it: craft's adapters leave it alone.
    head = getattr(vlm.language_model.lm_head, "base_layer", vlm.language_model.lm_head)
    rows = []
    # One sample at a time: nothing is padded.
    for sample, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        tokens = embed(torch.tensor(question + answer[:-1]))
        sequence = torch.cat((tokens[:1], patches[sample], tokens[1:]))[None]
        output = vlm.language_model.model(inputs_embeds=sequence, use_cache=False)
        rows.append(head(output.last_hidden_state[0, -len(answer) :]))
    return rows


def padded(rows):
    width = max(map(len, rows))
    return torch.tensor([row + [-1] * (width - len(row)) for row in rows])


def compute(folder):
    model, inputs = load_folder(folder), load_inputs(folder)
    count = len(inputs["pixel_values"])
    questions = [QUESTIONS[i % len(QUESTIONS)] for i in range(count)]
    answers = [ANSWERS[i % len(ANSWERS)] for i in range(count)]

    with torch.no_grad(), swapped(model, load_file(Path(folder) / "anchor.safetensors")):
        initial = model(inputs)["predicted_actions"]

    rows = answer_logits(model, inputs["pixel_values"], questions, answers)
    losses = [F.cross_entropy(z, torch.tensor(a), reduction="none") for z, a in zip(rows, answers, strict=True)]
    cotraining = torch.cat(losses).mean()

    turned = inputs | {name: inputs[name].flip(0) for name in ("pixel_values", "proprio", "actions")}
    errors = model(turned)["predicted_actions"] - turned["actions"]
    replay = errors.abs().mean()

    anchor = (model(inputs)["predicted_actions"] - initial).pow(2).mean()

    result = {
        "questions": padded(questions),
        "answers": padded(answers),
        "text_logits": torch.cat(rows),
        "anchor_actions": initial,
        "loss.cotraining": cotraining[None],
        "loss.cotraining.answer": torch.stack([loss.mean() for loss in losses]).mean()[None],
        "loss.replay": replay[None],
        "loss.action_anchor": anchor[None],
    }
    for name, loss in (("cotraining", cotraining), ("replay", replay), ("action_anchor", anchor)):
        result |= {f"grad.{name}.{k}": g for k, g in gradients(model, loss, retain=True).items()}
    integers = ("questions", "answers")
    return {k: v.detach().to(torch.int64 if k in integers else torch.float32).contiguous() for k, v in result.items()}


if __name__ == "__main__":
    stored.main("stream.safetensors", compute, __doc__)
