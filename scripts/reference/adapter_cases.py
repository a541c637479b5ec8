"""Makes Tests/Fixtures/configs/adapter-cases.json: adapter_config.json files and whether PEFT's merged weights are those of plain LoRA.

    python scripts/reference/adapter_cases.py

Needs torch and peft. Each adapter is made on a small model, given random values, saved, loaded onto the untouched base again and
merged, all by PEFT. `deviation` is the largest difference of a merged weight to W + alpha / r B A (alpha / sqrt(r) with
use_rslora), relative to the largest weight; null where PEFT cannot do without data or refuses.
"""
import copy
import json
import pathlib
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAIN = {"r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"]}
CASES = {
    "plain": {}, "init false": {"init_lora_weights": False}, "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"}, "pissa": {"init_lora_weights": "pissa"},
    "pissa_niter_4": {"init_lora_weights": "pissa_niter_4"}, "olora": {"init_lora_weights": "olora"},
    "mica": {"init_lora_weights": "mica"}, "eva": {"init_lora_weights": "eva"}, "corda": {"init_lora_weights": "corda"},
    "lora_ga": {"init_lora_weights": "lora_ga"}, "loftq": {"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}},
    "rslora": {"use_rslora": True}, "dora": {"use_dora": True}, "dropout": {"lora_dropout": 0.3},
    "rank pattern": {"rank_pattern": {"v_proj": 3}}, "alpha pattern": {"alpha_pattern": {"v_proj": 1}},
    "bias": {"bias": "all"}, "lora bias": {"lora_bias": True}, "qalora": {"use_qalora": True, "qalora_group_size": 2},
    "regular expression": {"target_modules": r".*\.(q|v)_proj"}, "all-linear": {"target_modules": "all-linear"},
    "exclude": {"exclude_modules": ["o_proj"]}, "layers": {"layers_to_transform": [0], "layers_pattern": "layers"},
    "layer replication": {"layer_replication": [[0, 1], [0, 1]]}, "modules to save": {"modules_to_save": ["o_proj"]},
    "alora": {"alora_invocation_tokens": [1, 2], "task_type": "CAUSAL_LM"},
}


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("q_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(8, 6 if name != "o_proj" else 8))

    def forward(self, x):
        return self.o_proj(x) + nn.functional.pad(self.q_proj(x) * self.v_proj(x), (0, 2))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Attention()])
        self.config = {"model_type": "custom"}

    def prepare_inputs_for_generation(self, *args, **kwargs):
        return {}

    def forward(self, x):
        return self.layers[0](x)


def deviation(base, settings):
    model = get_peft_model(copy.deepcopy(base), LoraConfig(**(PLAIN | settings)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_" in name and "magnitude" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        config = json.loads((pathlib.Path(folder) / "adapter_config.json").read_text())
        stored = load_file(pathlib.Path(folder) / "adapter_model.safetensors")
        merged = PeftModel.from_pretrained(copy.deepcopy(base), folder).merge_and_unload().state_dict()
    scale = config["lora_alpha"] / (config["r"] ** 0.5 if config["use_rslora"] else config["r"])
    worst = 0.0
    for name, weight in base.state_dict().items():
        prefix = "base_model.model." + name.removesuffix(".weight")
        a, b = stored.get(prefix + ".lora_A.weight"), stored.get(prefix + ".lora_B.weight")
        expected = weight + scale * b @ a if a is not None else weight
        worst = max(worst, ((merged[name] - expected).abs().max() / weight.abs().max()).item())
    return config, worst


def main():
    torch.manual_seed(0)
    base = Model()
    cases = []
    for name, settings in CASES.items():
        try:
            config, worst = deviation(base, settings)
        except Exception as error:  # without data, or because such a combination does not exist
            print(f"{name}: {type(error).__name__}: {str(error)[:100]}")
            config, worst = {"peft_type": "LORA"} | PLAIN | settings, None
        cases.append({"name": name, "config": json.dumps(config), "deviation": worst})
        print(name, worst)
    (ROOT / "Tests/Fixtures/configs/adapter-cases.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
