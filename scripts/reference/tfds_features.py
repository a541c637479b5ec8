"""Makes Tests/Fixtures/data/tfds-features.json: records as tfds writes them under many descriptions, and what tfds reads back.

    python scripts/reference/tfds_features.py

Needs tensorflow-cpu, tensorflow-datasets and numpy. Each case is one episode of five steps in the names of LIBERO: `features` is
features.json, `record` the serialised example (base64), the rest what tfds.features deserialises: actions and states cast to
float32, an instruction a step, and the sum of each camera's first image per channel as tf.io.decode_image(channels=3) has it.
"""
import base64
import json
import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from google.protobuf import json_format

ROOT = pathlib.Path(__file__).resolve().parents[2]
F = tfds.features
STEPS = 5


def old_form(node):
    """features.json of today in the form of tfds before 4.6: {"type", "content"}."""
    kind = node["pythonClassName"]
    if "featuresDict" in node:
        content = {key: old_form(child) for key, child in node["featuresDict"]["features"].items()}
    elif "sequence" in node:
        content = {"feature": old_form(node["sequence"]["feature"]), "length": None}
    else:
        content = dict(next(value for key, value in node.items() if key != "pythonClassName"))
        if "shape" in content:
            content["shape"] = [int(n) if int(n) >= 0 else None for n in content["shape"].get("dimensions", [])]
        if "encodingFormat" in content:
            content["encoding_format"] = content.pop("encodingFormat")
    return {"type": kind, "content": content}


def half_old_form(node):
    """The form in between: the protobuf as a text."""
    kind = node["pythonClassName"]
    if "featuresDict" in node:
        return {"type": kind, "content": {key: half_old_form(c) for key, c in node["featuresDict"]["features"].items()}}
    if "sequence" in node:
        return {"type": kind, "content": {"feature": half_old_form(node["sequence"]["feature"]), "length": None}}
    (name, content), = ((key, value) for key, value in node.items() if key != "pythonClassName")
    protos = {"tensor": "TensorFeature", "image": "ImageFeature", "text": "TextFeature"}
    return {"type": kind, "content": json.dumps(content), "proto_cls": f"tensorflow_datasets.{protos[name]}"}


def cases():
    random = np.random.default_rng(3)

    def images(shape, dtype=np.uint8, top=256):
        return [random.integers(0, top, shape).astype(dtype) for _ in range(STEPS)]

    def plain():
        description = {
            "action": F.Tensor(shape=(7,), dtype=np.float32), "is_last": F.Scalar(dtype=np.bool_),
            "language_instruction": F.Text(),
            "observation": {
                "state": F.Tensor(shape=(8,), dtype=np.float32),
                "image": F.Image(shape=(16, 16, 3), encoding_format="jpeg"),
                "wrist_image": F.Image(shape=(16, 16, 3), encoding_format="png"),
            },
        }
        values = {
            "action": [random.normal(size=7).astype(np.float32) for _ in range(STEPS)],
            "is_last": [step == STEPS - 1 for step in range(STEPS)],
            "language_instruction": ["open the drawer."] * STEPS,
            "observation": {
                "state": [random.normal(size=8).astype(np.float32) for _ in range(STEPS)],
                "image": images((16, 16, 3)), "wrist_image": images((16, 16, 3)),
            },
        }
        return description, values

    def varied(change, metadata=(None, None), form=None):
        description, values = plain()
        change(description, values)
        return description, values, metadata, form

    def nothing(d, v):
        pass

    def set_(key, feature, values):
        def change(d, v):
            *path, last = key.split("/")
            for part in path:
                d, v = d[part], v[part]
            d[last] = feature
            if values is not None:
                v[last] = values
        return change

    def numbers(shape, dtype):
        return [(10 * random.normal(size=shape)).astype(dtype) for _ in range(STEPS)]

    yield "plain", *varied(nothing)
    yield "old-form", *varied(nothing, form=old_form)
    yield "half-old-form", *varied(nothing, form=half_old_form)
    depth = F.Image(shape=(16, 16, 1), dtype=np.uint16, encoding_format="png")
    yield "depth", *varied(set_("observation/depth", depth, images((16, 16, 1), np.uint16, 65536)))
    floats = F.Image(shape=(16, 16, 1), dtype=np.float32, encoding_format="png")
    yield "float-depth", *varied(set_("observation/depth", floats, [random.random((16, 16, 1)).astype(np.float32) for _ in range(STEPS)]))
    yield "no-encoding", *varied(set_("observation/image", F.Image(shape=(16, 16, 3)), None))
    yield "any-size", *varied(set_("observation/image", F.Image(shape=(None, None, 3), encoding_format="png"), images((9, 21, 3))))
    yield "default-image", *varied(set_("observation/image", F.Image(), images((9, 21, 3))))
    yield "rgba", *varied(set_("observation/image", F.Image(shape=(16, 16, 4), encoding_format="png"), images((16, 16, 4))))
    yield "grey", *varied(set_("observation/image", F.Image(shape=(16, 16, 1), encoding_format="png"), images((16, 16, 1))))
    for dtype in (np.float64, np.float16, np.int32, np.int64, np.uint8):
        name = np.dtype(dtype).name
        low = np.abs if np.dtype(dtype).kind == "u" else (lambda x: x)
        yield f"action-{name}", *varied(set_("action", F.Tensor(shape=(7,), dtype=dtype), [low(n) for n in numbers(7, dtype)]))
    yield "state-float64", *varied(set_("observation/state", F.Tensor(shape=(8,), dtype=np.float64), numbers(8, np.float64)))
    yield "action-row", *varied(set_("action", F.Tensor(shape=(1, 7), dtype=np.float32), numbers((1, 7), np.float32)))
    yield "aloha", *varied(lambda d, v: (
        set_("action", F.Tensor(shape=(14,), dtype=np.float32), numbers(14, np.float32))(d, v),
        set_("observation/state", F.Tensor(shape=(14,), dtype=np.float32), numbers(14, np.float32))(d, v)))
    yield "text-tensor", *varied(set_("language_instruction", F.Tensor(shape=(), dtype=np.str_), None))
    yield "text-changes", *varied(set_("language_instruction", F.Text(), ["a", "a", "b", "b", ""]))
    ragged = F.Sequence(F.Tensor(shape=(), dtype=np.float32))
    yield "ragged", *varied(
        set_("observation/touch", ragged, [np.arange(n, dtype=np.float32) for n in (0, 2, 1, 0, 3)]),
        metadata=({"ids": F.Sequence(np.int32)}, {"ids": [1, 2, 3]}))
    yield "ragged-text", *varied(set_("words", F.Sequence(F.Text()), [["a", "bc"], [], ["d"], ["e"], []]))
    yield "mask", *varied(set_("observation/mask", F.Tensor(shape=(16, 16), dtype=np.bool_), [m > 127 for m in images((16, 16))]))
    yield "label", *varied(set_("task", F.ClassLabel(num_classes=4), [1] * STEPS))
    yield "box", *varied(set_("box", F.BBoxFeature(), [F.BBox(0.1, 0.2, 0.3, 0.4)] * STEPS))
    packed = F.Tensor(shape=(4,), dtype=np.float32, encoding="zlib")
    yield "packed", *varied(set_("observation/lidar", packed, numbers(4, np.float32)))
    # What sets of other laboratories have beside what training uses.
    deep = {"left": {"pose": F.Tensor(shape=(4, 4), dtype=np.float64), "names": F.Sequence(F.Text())}, "on": F.Scalar(dtype=np.bool_)}
    poses = [{"left": {"pose": np.eye(4), "names": ["a"] * n}, "on": n > 1} for n in range(STEPS)]
    yield "deep", *varied(set_("observation/arm", deep, poses))
    lengths = F.Tensor(shape=(None, 2), dtype=np.float32, encoding="zlib")
    yield "any-length", *varied(set_("touch", lengths, [np.ones((n, 2), np.float32) for n in range(STEPS)]))
    sequences = F.Sequence({"box": F.BBoxFeature(), "label": F.Text()})
    yield "sequence-of-dictionaries", *varied(set_("objects", sequences, [[{"box": F.BBox(0, 0, 1, 1), "label": "a"}] * n for n in range(STEPS)]))
    yield "nested-ragged", *varied(set_("paths", F.Sequence(F.Sequence(np.int64)), [[[1, 2], []][:n] for n in (0, 1, 2, 1, 0)]))
    yield "action-bfloat16", *varied(set_("action", F.Tensor(shape=(7,), dtype=tf.bfloat16), [n.astype(tf.bfloat16.as_numpy_dtype) for n in numbers(7, np.float32)]))
    yield "state-int8", *varied(set_("observation/state", F.Tensor(shape=(8,), dtype=np.int8), numbers(8, np.int8)))
    yield "action-uint64", *varied(set_("action", F.Tensor(shape=(7,), dtype=np.uint64), [np.abs(n) for n in numbers(7, np.int64)]))
    yield "embedding", *varied(set_("language_embedding", F.Tensor(shape=(512,), dtype=np.float32), numbers(512, np.float32)))
    yield "text-not-ascii", *varied(set_("language_instruction", F.Text(), ["Öffne die Schublade – 抽屉 🙂"] * STEPS))
    yield "label-video", *varied(set_("observation/goal", F.Sequence(F.Image(shape=(4, 4, 3), encoding_format="png")), [[np.zeros((4, 4, 3), np.uint8)] * n for n in (1, 2, 0, 1, 3)]))


def main():
    stored = []
    for name, description, values, (extra, extra_values), form in cases():
        features = F.FeaturesDict({
            "steps": F.Dataset(description), "episode_metadata": {"file_path": F.Text()} | (extra or {})})
        steps = [{key: (value[i] if not isinstance(value, dict) else {k: w[i] for k, w in value.items()})
                  for key, value in values.items()} for i in range(STEPS)]
        try:
            record = features.serialize_example(
                {"steps": steps, "episode_metadata": {"file_path": "x.hdf5"} | (extra_values or {})})
        except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
            print(f"{name}: tfds does not write it: {error}")
            continue
        read = features.deserialize_example(record, decoders={"steps": {"observation": {
            key: tfds.decode.SkipDecoding() for key, f in description["observation"].items() if isinstance(f, F.Image)}}})
        read = list(read["steps"])
        sums = {}
        for key, feature in description["observation"].items():
            if isinstance(feature, F.Image) and feature.np_dtype != np.float32 and key != "depth":
                image = tf.io.decode_image(read[0]["observation"][key], channels=3, expand_animations=False).numpy()
                sums[key] = image.astype(int).sum((0, 1)).tolist()
        text = json_format.MessageToDict(features.to_proto())
        stored.append({
            "name": name, "features": json.dumps(form(text) if form else text), "record": base64.b64encode(record).decode(),
            "actions": np.concatenate([np.ravel(s["action"].numpy()) for s in read]).astype(np.float32).tolist(),
            "states": np.concatenate([s["observation"]["state"].numpy() for s in read]).astype(np.float32).tolist(),
            "instructions": [s["language_instruction"].numpy().decode() for s in read], "imageSums": sums,
        })
    (ROOT / "Tests/Fixtures/data/tfds-features.json").write_text("[\n" + ",\n".join(map(json.dumps, stored)) + "\n]\n")
    print(len(stored), "cases:", ", ".join(case["name"] for case in stored))


if __name__ == "__main__":
    main()
