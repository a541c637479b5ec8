#!/usr/bin/env python3
"""check_outputs.py RUN: reads a run's outputs with the real tensorboard and safetensors packages.

Prints one JSON object: {"scalars": {tag: [[step, value], ...]}, "tensors": {file below RUN: {name: {dtype, shape, sum}}}}.
Values that are not finite are printed as null.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from safetensors import deserialize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}


def finite(value):
    return value if math.isfinite(value) else None


def scalars(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [[e.step, finite(e.value)] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def tensor(entry):
    if entry["dtype"] == "BF16":
        values = (np.frombuffer(entry["data"], "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(entry["data"], TYPES[entry["dtype"]])
    total = finite(float(values.astype(np.float64).sum()))
    return {"dtype": entry["dtype"], "shape": list(entry["shape"]), "sum": total}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run = Path(sys.argv[1])
    files = sorted(run.rglob("*.safetensors"))
    tensors = {
        str(file.relative_to(run)): {name: tensor(entry) for name, entry in deserialize(file.read_bytes())}
        for file in files
    }
    folder = run / "tensorboard"
    print(json.dumps({"scalars": scalars(folder) if folder.is_dir() else {}, "tensors": tensors}))


if __name__ == "__main__":
    main()
