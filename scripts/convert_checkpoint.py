#!/usr/bin/env python3
"""convert_checkpoint.py SOURCE OUT [--vision FILE... | --back]: PyTorch checkpoints of VLAs to the safetensors that craft
reads, and back.

SOURCE is one of
  a Prismatic checkpoint     checkpoints/*.pt of a pretrained VLM, whose "model" has the groups projector, llm_backbone and
                             sometimes vision_backbone. Writes OUT/model.safetensors under the released names. The
                             trainer saves what it trained: when the towers are not in the file, --vision gives them.
                             That is timm's own file of each tower, DINOv2 first (model.safetensors of
                             timm/vit_large_patch14_reg4_dinov2.lvd142m and timm/vit_so400m_patch14_siglip_224.webli on the Hugging Face
                             Hub), or one file whose names begin with featurizer. and fused_featurizer..
                             Put the model's config.json beside the result.
  a fine-tuned folder        action_head--*checkpoint.pt and proprio_projector--*checkpoint.pt of VLA-Adapter. Writes each
                             as .safetensors into OUT, and copies the folder's other files that craft reads.

--back takes a folder that craft wrote to what VLA-Adapter's code loads: action head and proprioception projector as
action_head--*checkpoint.pt and proprio_projector--*checkpoint.pt, the other files as they are.

Tensors keep their values and types. Needs torch and safetensors. Files are read with weights_only=True: a checkpoint that
needs more than tensors is refused, because unpickling it would run whatever code it holds.
"""

import argparse
import shutil
import sys
from pathlib import Path

try:
    import torch
    from safetensors.torch import load_file, save_file
except ModuleNotFoundError as missing:
    if not {"-h", "--help"} & set(sys.argv):
        sys.exit(f"this script needs torch and safetensors, and {missing.name} is not there: pip install torch safetensors")

# In order: the first prefix that fits is replaced.
PRISMATIC_NAMES = [
    ("projector.projector.0.", "projector.fc1."),
    ("projector.projector.2.", "projector.fc2."),
    ("projector.projector.4.", "projector.fc3."),
    ("llm_backbone.llm.", "language_model."),
    ("vision_backbone.dino_featurizer.", "vision_backbone.featurizer."),
    ("vision_backbone.siglip_featurizer.", "vision_backbone.fused_featurizer."),
    ("vision_backbone.featurizer.", "vision_backbone.featurizer."),
    ("vision_backbone.fused_featurizer.", "vision_backbone.fused_featurizer."),
]
COPIED = (".json", ".txt", ".model", ".safetensors")


def load(path):
    path = Path(path)
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds; all of them mean that the file is not a plain state dict
        sys.exit(f"{path}: not a PyTorch file of tensors alone: {error}")


def released_name(name):
    """The name of a tensor in released checkpoints, or None for one that has no place there."""
    if name.endswith(".gamma"):  # timm's LayerScale
        name = name.removesuffix(".gamma") + ".scale_factor"
    for old, new in PRISMATIC_NAMES:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return None


def flatten(model):
    """{"group": {"name": tensor}} to {"group.name": tensor}."""
    return {f"{group}.{name}": tensor for group, state in model.items() for name, tensor in state.items()}


def towers(files):
    """The tensors of one file with both towers, or of timm's own file of each, under their names in the backbone."""
    prefixes = ["vision_backbone.featurizer.", "vision_backbone.fused_featurizer."]
    if len(files) > len(prefixes):
        sys.exit(f"--vision takes one file of both towers, or one of each: at most {len(prefixes)}, found {len(files)}")
    tensors = {}
    for path, prefix in zip(files, prefixes):
        state = load(path)
        state = state.get("model", state) if isinstance(state.get("model"), dict) else state
        names = {name: name.removeprefix("vision_backbone.") for name in state}
        if any(name.split(".")[0].endswith("featurizer") for name in names.values()):
            tensors |= {f"vision_backbone.{new}": state[old] for old, new in names.items()}
        elif "patch_embed.proj.weight" in state:
            # A classifier's head is not part of a tower.
            tensors |= {prefix + old: state[old] for old in state if not old.startswith(("head.", "fc_norm."))}
        else:
            sys.exit(
                f"{path}: neither timm's file of a vision transformer (no patch_embed.proj.weight in it) nor one with "
                "featurizer. in front of its names")
    return tensors


def convert_prismatic(model, out, vision):
    for group in ("projector", "llm_backbone"):
        if group not in model:
            sys.exit(f'the checkpoint\'s "model" has no group {group}; it has: {", ".join(model)}')
    tensors, left_out = {}, []
    source = flatten(model)
    if vision:
        source |= towers(vision)
    for name, tensor in source.items():
        new = released_name(name)
        if new is None:
            left_out.append(name)
        else:
            tensors[new] = tensor
    embeddings = tensors.get("language_model.model.embed_tokens.weight")
    head = tensors.get("language_model.lm_head.weight")
    if embeddings is not None and head is not None and torch.equal(embeddings, head):
        del tensors["language_model.lm_head.weight"]  # tied
    if not any(name.startswith("vision_backbone.") for name in tensors):
        sys.exit(
            "the checkpoint has no vision towers: its training left them as timm has them. Give timm's files with --vision, "
            "DINOv2's first. For dinosiglip-vit-so-224px:\n"
            "  hf download timm/vit_large_patch14_reg4_dinov2.lvd142m model.safetensors --local-dir dino\n"
            "  hf download timm/vit_so400m_patch14_siglip_224.webli model.safetensors --local-dir siglip\n"
            "  convert_checkpoint.py SOURCE OUT --vision dino/model.safetensors siglip/model.safetensors")
    if left_out:
        print(f"note: {len(left_out)} tensors have no place in the released layout, the first being {left_out[0]}")
    write(tensors, out / "model.safetensors")


def convert_folder(folder, out):
    found = sorted(p for p in folder.glob("*checkpoint*.pt"))
    if not found:
        sys.exit(f"{folder}: no *checkpoint*.pt in it")
    for path in found:
        state = load(path)
        write({name.removeprefix("module."): tensor for name, tensor in state.items()}, out / f"{path.stem}.safetensors")
    for path in folder.iterdir():
        if path.suffix in COPIED and not (out / path.name).exists():
            shutil.copy(path, out / path.name)
    if (folder / "lora_adapter").is_dir() and not (out / "lora_adapter").exists():
        shutil.copytree(folder / "lora_adapter", out / "lora_adapter")


def convert_back(folder, out):
    heads = [p for name in ("action_head", "proprio_projector") for p in sorted(folder.glob(f"{name}*checkpoint.safetensors"))]
    if not heads:
        sys.exit(f"{folder}: no action_head--*checkpoint.safetensors in it; expected a fine-tuned folder that craft wrote")
    for path in heads:
        state = load_file(path)
        torch.save(state, out / f"{path.stem}.pt")
        print(f"{out / path.stem}.pt: {len(state)} tensors")
    for path in folder.iterdir():
        if path not in heads and not (out / path.name).exists():
            (shutil.copytree if path.is_dir() else shutil.copy)(path, out / path.name)


def write(tensors, path):
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            sys.exit(f"{name} is a {type(tensor).__name__}, not a tensor; is this an optimizer's state?")
    # Clones: safetensors refuses tensors that share memory.
    save_file({n: t.detach().clone().contiguous() for n, t in tensors.items()}, path, metadata={"format": "pt"})
    print(f"{path}: {len(tensors)} tensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--vision", type=Path, metavar="FILE", nargs="+", help="towers that the checkpoint lacks")
    parser.add_argument("--back", action="store_true", help="from craft's folder to VLA-Adapter's")
    arguments = parser.parse_args()
    if arguments.back and not arguments.source.is_dir():
        sys.exit(f"{arguments.source}: not a folder; --back takes one that craft wrote")
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.back:
        return convert_back(arguments.source, arguments.out)
    if arguments.source.is_dir():
        return convert_folder(arguments.source, arguments.out)
    checkpoint = load(arguments.source)
    if not isinstance(checkpoint.get("model"), dict):
        sys.exit(f'{arguments.source}: no "model" in it; expected a Prismatic checkpoint, or a fine-tuned folder')
    convert_prismatic(checkpoint["model"], arguments.out, arguments.vision)


if __name__ == "__main__":
    main()
