"""Makes Assets/libero-sample: a small LIBERO data set cut from a larger RLDS one.

    python scripts/make_libero_sample.py SOURCE [--out Assets/libero-sample] [--size 96] [--tasks 6] [--episodes 2]

SOURCE is a version folder (it holds dataset_info.json). The first EPISODES episodes of each of the first TASKS
instructions, in stored order, are kept; their images are resized (PIL, Lanczos) and encoded again as JPEG; every other
feature is copied byte for byte. Needs Pillow only.
"""
import argparse
import io
import json
import pathlib
import sys

from PIL import Image

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "simulation"))
import tfrecord  # noqa: E402

IMAGES = ("steps/observation/image", "steps/observation/wrist_image")
INSTRUCTION = "steps/language_instruction"


def resized(jpeg: bytes, size: int, quality: int) -> bytes:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def shrink(payload: bytes, size: int, quality: int) -> bytes:
    return tfrecord.example(
        (key, tfrecord.bytes_feature([resized(image, size, quality) for image in tfrecord.bytes_values(feature)]))
        if key in IMAGES
        else (key, feature)
        for key, feature in tfrecord.example_entries(payload)
    )


def chosen_episodes(source: pathlib.Path, tasks: int, episodes: int):
    taken = {}
    for shard in sorted(source.glob("*.tfrecord-*")):
        for payload in tfrecord.read_records(shard):
            instruction = tfrecord.bytes_values(dict(tfrecord.example_entries(payload))[INSTRUCTION])[0]
            if instruction not in taken and len(taken) == tasks:
                continue
            if taken.setdefault(instruction, 0) < episodes:
                taken[instruction] += 1
                yield payload


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("Assets/libero-sample"))
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--quality", type=int, default=92)
    parser.add_argument("--tasks", type=int, default=6)
    parser.add_argument("--episodes", type=int, default=2)
    parser.add_argument("--shards", type=int, default=2)
    options = parser.parse_args()

    info = json.loads((options.source / "dataset_info.json").read_text())
    features = json.loads((options.source / "features.json").read_text())
    name, version = info["name"], info["version"]
    out = options.out / name / version
    out.mkdir(parents=True, exist_ok=True)

    payloads = [
        shrink(payload, options.size, options.quality)
        for payload in chosen_episodes(options.source, options.tasks, options.episodes)
    ]
    per_shard = -(-len(payloads) // options.shards)
    shards = [payloads[start : start + per_shard] for start in range(0, len(payloads), per_shard)]
    for index, shard in enumerate(shards):
        tfrecord.write_records(out / f"{name}-train.tfrecord-{index:05d}-of-{len(shards):05d}", shard)

    split = info["splits"][0]
    split["numBytes"] = str(sum(map(len, payloads)))
    split["shardLengths"] = [str(len(shard)) for shard in shards]
    info["description"] = f"{len(payloads)} scripted-expert LIBERO episodes, images resized to {options.size}x{options.size}."
    (out / "dataset_info.json").write_text(json.dumps(info, indent=2))

    observation = features["featuresDict"]["features"]["steps"]["sequence"]["feature"]
    observation = observation["featuresDict"]["features"]["observation"]["featuresDict"]["features"]
    for key in IMAGES:
        observation[key.rsplit("/", 1)[1]]["image"]["shape"]["dimensions"] = [str(options.size), str(options.size), "3"]
    (out / "features.json").write_text(json.dumps(features, indent=4, sort_keys=True))
    print(f"{out}: {len(payloads)} episodes, {sum(map(len, payloads)) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
