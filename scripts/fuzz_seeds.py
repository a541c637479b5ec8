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
    tensor = struct.pack("<Q", 1) + b"t" + struct.pack("<IQIQ", 1, 4, 0, 0)
    yield "gguf", "tensor", b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor + bytes(64)
    yield "gguf", "counts-beyond-the-file", b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60)
    yield "gguf", "list", b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 4, 1 << 62)
    yield "gguf", "nested-lists", b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50
    yield "onnx", "empty", b"\x08\x07\x3a\x00"
    weight = b"\x08\x02\x10\x01" + b"\x42\x01w" + b"\x4a\x04" + bytes(4)
    yield "onnx", "weight", b"\x3a" + bytes([2 + len(weight)]) + b"\x2a" + bytes([len(weight)]) + weight
    yield "onnx", "negative-size", b"\x3a\x0e\x2a\x0c\x08" + b"\xff" * 9 + b"\x01\x10\x01"
    yield "onnx", "length-beyond-the-file", b"\x3a\xff\xff\xff\xff\x0f"
    yield "onnx", "endless-number", b"\xff" * 12
    for name, text in {
        "template": '{"name":"d","splits":[{"name":"train","shardLengths":["1"],"filepathTemplate":"{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"}]}',
        "other-format": '{"name":"d","fileFormat":"array_record","splits":[{"name":"train","shardLengths":["1"]}]}',
        "no-shards": '{"name":"d","splits":[{"name":"train"}]}', "no-name": '{"splits":[]}', "not-an-object": "[1, 2]", "many": '{"name":"d","splits":['
        + ",".join('{"name":"s%d","shardLengths":["9999999999"]}' % n for n in range(40)) + "]}", "path-in-name": '{"name":"../d","splits":[{"name":"/etc","shardLengths":["1"]}]}',
    }.items():
        yield "info", name, text.encode()


    yield from messages()
    for name, text in {
        "get": "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "health": "GET /health HTTP/1.0\r\n\r\n",
        "head": "HEAD /config HTTP/1.1\r\nHost: a\r\n\r\n",
        "post": "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "chunked": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "upgrade-without-key": "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "no-http": "hello\r\n\r\n",
    }.items():
        yield "http", name, text.encode()
    # What strategies write on the command line, with escapes and instance names; and what their hooks declare.
    for number, text in enumerate([
        "BaselineL1", "BaselineL1,AnchorVariants:type=aq_only:layer=2,CRaFTDual:budget=0.05", "a=CRaFTDual:objective=x,b=CRaFTDual",
        "./libMine.so:text=a\\:b\\,c", "CRaFTDual.budget=0.1", ",", "A::", "A:b", "=A", "A,A", "A\\",
    ]):
        yield "plugins", f"list-{number}", text.encode()
    for number, text in enumerate([
        "gram: f64[b,m,m], weights: f64[b,m] -> weights: f64[b,m], conflict_ratio: f64",
        "loss.{objective}: f64, lambda.{objective}@prev: f64? -> lambda.{objective}: f64", "step: i64 -> ", "",
        "x@prev: f64? -> y: f64", "actions: f32[n,7] -> loss.action: f64, cotangent.actions: f32[n,7]", "a: f64, a: f64 -> b: f64",
        "a: f99 -> b: f64", "a: f64[] -> b", " -> ",
    ]):
        yield "signature", f"hook-{number}", text.encode()


    yield "grid", "paper", (ROOT / "Assets/grids/paper.yaml").read_bytes()
    for name, text in {
        "sweep": "settings: {steps: 2, set: [CRaFTDual.lr=0.1]}\nseeds: [0, 1]\ncombinations:\n  a: BaselineL1\n  b: [BaselineL1, CRaFTDual: {budget: 0.05}]\n"
        "  c: {plugins: BaselineL1, settings: {lr: 1}}\nsweep:\n  batch-size: [4, 8]\n  CRaFTDual.budget: [0.05, 0.1]\n",
        "alias": "a: &a [1, 2]\ncombinations: {x: *a, y: &b BaselineL1}\nseeds: *a\n", "seed-text": "combinations: {a: B}\nseeds: [x]\n",
        "unknown": "combinations: {a: B}\nother: 1\n", "list": "- 1\n", "tab": "a:\n\t- b\n", "not-utf-8": "a: \udcff", "deep": "[" * 900,
        "merge": "combinations: &c {a: B}\n<<: *c\n", "two-documents": "a: 1\n---\nb: 2\n",
    }.items():
        yield "grid", name, text.encode(errors="surrogateescape")
    for name, text in {
        "flags": "steps: 20\nlr: 1e-3\nplugins: [BaselineL1, CRaFTDual: {budget: 0.1}]\naugment: false\nquiet: true\nset: {CRaFTDual: {lr: 1}}\n",
        "quoted": "out: \"true\"\ndata: 'a b'\nlr-scale: {vision: 0.1}\n", "null": "out: ~\nsteps:\n", "block": "data: |\n  a\n  b\n",
        "nested": "plugins: [[a]]\n", "number-key": "1: 2\n", "list": "[a, b]\n", "set-list": "set: [A.b=1]\nplugins: A\n",
    }.items():
        yield "run", name, text.encode()


def pack(value):
    """MessagePack of what seeds need."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return struct.pack(">Bq", 0xD3, value)
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if isinstance(value, str):
        return struct.pack(">BH", 0xDA, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return struct.pack(">BH", 0xDC, len(value)) + b"".join(map(pack, value))
    if isinstance(value, dict):
        return struct.pack(">BH", 0xDE, len(value)) + b"".join(pack(key) + pack(item) for key, item in value.items())
    return b"\xc0"


def array(data, kind, shape, mark=bytes):
    fields = {"__ndarray__": True, "data": data, "dtype": kind, "shape": shape}
    return {mark(key, "ascii") if mark is bytes else key: value for key, value in fields.items()}


def messages():
    image, state = array(bytes(2 * 2 * 3), "|u1", [2, 2, 3]), array(bytes(32), "<f4", [8])
    openpi = {"observation/image": image, "observation/wrist_image": image, "observation/state": state, "prompt": "pick"}
    vla_eval = {
        "type": "observation", "seq": 1,
        "payload": {
            "images": {"agentview": array(bytes(12), "|u1", [2, 2, 3], str), "wrist": array(bytes(12), "|u1", [2, 2, 3], str)},
            "states": [0.0] * 8, "task_description": "pick",
        },
    }
    values = {
        "openpi": openpi, "vla-eval": vla_eval, "encoded-image": openpi | {"observation/image": b"\xff\xd8\xff\xe0"},
        "doubles": openpi | {"observation/state": array(bytes(64), ">f8", [8])}, "halves": openpi | {"observation/state": array(bytes(16), "<f2", [8])},
        "text-missing": {key: value for key, value in openpi.items() if key != "prompt"}, "wrong-shape": openpi | {"observation/image": array(bytes(12), "|u1", [3, 4])},
        "raw-image": openpi | {"observation/image": {"__image__": True, "format": "raw", "data": bytes(12), "dtype": "|u1", "shape": [2, 2, 3]}},
    }
    for name, value in values.items():
        data = pack(value)
        yield "messagepack", name, data
        yield "observation", name, data
        # One frame, masked with zeros, then a close frame.
        yield "websocket", name, b"\x82\xfe" + struct.pack(">H", len(data)) + bytes(4) + data + b"\x88\x80" + bytes(4)
    for name, data in {
        "nested": b"\x91" * 15 + b"\xc0", "nested-too-deep": b"\x91" * 17 + b"\xc0", "long-list": b"\xdd\xff\xff\xff\xff", "extension": b"\xd4\x01\x02",
        "numbers": pack([1, -1, 1.5, True, None]), "trailing": b"\xc0\xc0", "empty": b"", "unsigned": b"\xcf" + b"\xff" * 8, "not-utf-8": b"\xa2\xff\xfe",
    }.items():
        yield "messagepack", name, data
        yield "observation", name, data
    for name, data in {
        "ping": b"\x89\x80" + bytes(4), "text": b"\x81\x82" + bytes(4) + b"hi", "unmasked": b"\x82\x01\xc0", "reserved": b"\xc2\x80" + bytes(4),
        "fragments": b"\x02\x81" + bytes(4) + b"\xc0" + b"\x80\x80" + bytes(4), "continuation": b"\x80\x80" + bytes(4), "too-large": b"\x82\xff" + b"\x7f" + b"\xff" * 7 + bytes(4),
        "close": b"\x88\x82" + bytes(4) + b"\x03\xe8", "long-ping": b"\x89\xfe\x00\x80" + bytes(4) + bytes(128), "unknown": b"\x83\x80" + bytes(4),
    }.items():
        yield "websocket", name, data


def main():
    out = pathlib.Path(sys.argv[1])
    for target, name, data in seeds():
        (out / target).mkdir(parents=True, exist_ok=True)
        (out / target / name).write_bytes(data)


if __name__ == "__main__":
    main()
