"""Writes seeds for scripts/campaign.sh: fuzz_seeds.py OUT makes OUT/TARGET/* from what Tests/Fixtures and Assets hold."""
import base64
import json
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "Tests/Fixtures"
SAMPLE = ROOT / "Assets/libero-sample/libero_spatial_no_noops/1.0.0"
LARGEST = 65536


def seeds():
    for case in json.loads((FIXTURES / "data/image-kinds.json").read_text()):
        yield "images", case["name"], base64.b64decode(case["bytes"])
    for case in json.loads((FIXTURES / "data/tfds-features.json").read_text()):
        yield "record", case["name"], base64.b64decode(case["record"])
        yield "features", case["name"], case["features"].encode()
    yield "features", "sample", (SAMPLE / "features.json").read_bytes()
    yield "info", "sample", (SAMPLE / "dataset_info.json").read_bytes()
    for path in sorted(FIXTURES.glob("vla/*/*.json")) + sorted(FIXTURES.glob("configs/*.json")):
        kind = "statistics" if path.name == "dataset_statistics.json" else "config"
        if path.stat().st_size <= LARGEST:
            yield kind, f"{path.parent.name}-{path.name}", path.read_bytes()
    for path in sorted(FIXTURES.glob("vla/*/lora_adapter/adapter_config.json")):
        yield "adapter", path.parents[1].name, path.read_bytes()
    for case in json.loads((FIXTURES / "configs/adapter-cases.json").read_text()):
        yield "adapter", case["name"].replace(" ", "-"), case["config"].encode()
    for path in sorted(FIXTURES.glob("vla/*/*.safetensors")):
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        if len(data) <= LARGEST:
            yield "safetensors", f"{path.parent.name}-{path.name}", data
        elif 8 + length <= LARGEST:
            yield "safetensors", f"{path.parent.name}-{path.name}-header", data[: 8 + length]
    for path in sorted(FIXTURES.glob("tokenizers/**/*.json")):
        if path.stat().st_size <= LARGEST:
            yield "tokenizer", f"{path.parent.name}-{path.name}", path.read_bytes()
    for path in sorted(FIXTURES.glob("lerobot/v21-image/data/*/*.parquet")) + sorted(FIXTURES.glob("lerobot/parquet/*.parquet")):
        yield "parquet", path.stem, path.read_bytes()
    yield "gguf", "empty", b"GGUF" + struct.pack("<IQQ", 3, 0, 0)
    key = b"general.alignment"
    yield "gguf", "one", b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, 32)
    yield "onnx", "empty", b"\x08\x07\x3a\x00"


def main():
    out = pathlib.Path(sys.argv[1])
    for target, name, data in seeds():
        (out / target).mkdir(parents=True, exist_ok=True)
        (out / target / name).write_bytes(data)


if __name__ == "__main__":
    main()
