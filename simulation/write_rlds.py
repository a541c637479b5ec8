"""Writes recorded episodes as an RLDS data set that tensorflow-datasets loads, without TensorFlow.

    python write_rlds.py EPISODE.npz... --out DIR --name libero_spatial_no_noops

Layout of the published libero_*_no_noops sets: one tf.Example per episode, steps flattened into lists. Needs numpy.
"""
import argparse
import hashlib
import json
import os
import pathlib
import zipfile

import numpy as np

import tfrecord
from files import fail, replacing

VERSION = "1.0.0"
SHARD_BYTES = 100_000_000
IMAGES = ("image", "wrist_image")
ARRAYS = {"state": 8, "joint_state": 7, "action": 7}


def save_episode(path, episode):
    """Saves by rename. `image` and `wrist_image` are lists of JPEG files, the arrays [T, width] float32."""
    path = pathlib.Path(path)
    content = {"instruction": episode["instruction"], "source": episode["source"], "size": episode["size"]}
    for name in ARRAYS:
        content[name] = np.asarray(episode[name], np.float32)
    for name in IMAGES:
        content[name] = np.frombuffer(b"".join(episode[name]), np.uint8)
        content[name + "_lengths"] = np.array([len(jpeg) for jpeg in episode[name]], np.int64)
    temporary = path.with_suffix(".partial.npz")
    np.savez(temporary, **content)
    os.replace(temporary, path)


def saved_episodes(folder, beginning=""):
    """Files of `save_episode`, sorted, without those that a killed process was writing."""
    return [path for path in sorted(folder.glob(f"{beginning}*.npz")) if ".partial" not in path.name]


def read_episode(path):
    """What `save_episode` saved. Raises all kinds of errors for a file that is damaged."""
    zipfile.ZipFile(path).close()  # numpy takes a file that is not an archive for a pickle and says how to load that
    with np.load(path) as file:
        episode = {name: file[name] for name in ARRAYS}
        for name in IMAGES:
            ends = np.cumsum(file[name + "_lengths"])
            data = file[name].tobytes()
            episode[name] = [data[start:end] for start, end in zip([0, *ends[:-1]], ends)]
        episode["instruction"], episode["source"] = str(file["instruction"]), str(file["source"])
        episode["size"] = int(file["size"])
    steps = len(episode["action"])
    for name in (*IMAGES, *ARRAYS):
        if len(episode[name]) != steps or steps == 0:
            raise ValueError(f"{name} has {len(episode[name])} steps, action has {steps}")
    for name, width in ARRAYS.items():
        if episode[name].shape != (steps, width):
            raise ValueError(f"{name} has shape {list(episode[name].shape)}, expected {[steps, width]}")
    return episode


def load_episode(path):
    """What `save_episode` saved; ends with a sentence over a file that is damaged."""
    try:
        return read_episode(path)
    except Exception as error:
        fail(f"{path}: not a recorded episode: {error}; delete it and record it again")


def serialised(episode):
    """One episode as a tf.train.Example."""
    steps = len(episode["action"])
    last = [step == steps - 1 for step in range(steps)]
    observation = "steps/observation/"
    return tfrecord.example([
        ("episode_metadata/file_path", tfrecord.bytes_feature([episode["source"].encode()])),
        ("steps/action", tfrecord.float_feature(episode["action"])),
        ("steps/discount", tfrecord.float_feature(np.ones(steps))),
        ("steps/is_first", tfrecord.int_feature(step == 0 for step in range(steps))),
        ("steps/is_last", tfrecord.int_feature(last)),
        ("steps/is_terminal", tfrecord.int_feature(last)),
        ("steps/language_instruction", tfrecord.bytes_feature([episode["instruction"].encode()] * steps)),
        (observation + "image", tfrecord.bytes_feature(episode["image"])),
        (observation + "joint_state", tfrecord.float_feature(episode["joint_state"])),
        (observation + "state", tfrecord.float_feature(episode["state"])),
        (observation + "wrist_image", tfrecord.bytes_feature(episode["wrist_image"])),
        ("steps/reward", tfrecord.float_feature(last)),
    ])


def features(size):
    """features.json for square images of `size` pixels."""
    package = "tensorflow_datasets.core.features."

    def feature(python_class, **content):
        return {"pythonClassName": package + python_class, **content}

    def dictionary(**entries):
        return feature("features_dict.FeaturesDict", featuresDict={"features": entries})

    def tensor(dtype, shape, doc):
        dimensions = {"dimensions": [str(length) for length in shape]} if shape else {}
        kind = "tensor_feature.Tensor" if shape else "scalar.Scalar"
        return feature(kind, tensor={"dtype": dtype, "encoding": "none", "shape": dimensions}, description=doc)

    def text(doc):
        return feature("text_feature.Text", text={}, description=doc)

    def image(doc):
        shape = {"dimensions": [str(size), str(size), "3"]}
        content = {"dtype": "uint8", "encodingFormat": "jpeg", "shape": shape}
        return feature("image_feature.Image", image=content, description=doc)

    steps = dictionary(
        action=tensor("float32", [7], "Robot EEF action."),
        discount=tensor("float32", [], "Discount if provided, default to 1."),
        is_first=tensor("bool", [], "True on first step of the episode."),
        is_last=tensor("bool", [], "True on last step of the episode."),
        is_terminal=tensor("bool", [], "True on last step of the episode if it is a terminal step."),
        language_instruction=text("Language Instruction."),
        observation=dictionary(
            image=image("Main camera RGB observation."),
            joint_state=tensor("float32", [7], "Robot joint angles."),
            state=tensor("float32", [8], "Robot EEF state (6D pose, 2D gripper)."),
            wrist_image=image("Wrist camera RGB observation."),
        ),
        reward=tensor("float32", [], "Reward if provided, 1 on final step for demos."),
    )
    return dictionary(
        episode_metadata=dictionary(file_path=text("Path to the original data file.")),
        steps=feature("dataset_feature.Dataset", sequence={"feature": steps, "length": "-1"}),
    )


def write(paths, out, name):
    """Writes out/name/1.0.0 in place of an earlier one; returns the folder. One episode at a time is in memory."""
    folder = pathlib.Path(out) / name / VERSION
    with replacing(folder, "give another --out") as partial:
        write_files(paths, partial, name)
    return folder


def write_files(paths, folder, name):
    """The shards, dataset_info.json and features.json."""
    # Ordered by a hash, so that a task's episodes are spread over the shards, as tfds spreads them.
    paths = sorted(paths, key=lambda path: hashlib.sha256(pathlib.Path(path).name.encode()).digest())
    total = sum(os.path.getsize(path) for path in paths)
    count = min(len(paths), -(-total // SHARD_BYTES))
    bounds = [len(paths) * shard // count for shard in range(count + 1)]
    sizes, instructions, number_of_bytes = set(), set(), 0

    def payloads(shard):
        nonlocal number_of_bytes
        for path in paths[bounds[shard] : bounds[shard + 1]]:
            episode = load_episode(path)
            sizes.add(episode["size"])
            instructions.add(episode["instruction"])
            payload = serialised(episode)
            number_of_bytes += len(payload)
            yield payload

    for shard in range(count):
        tfrecord.write_records(folder / f"{name}-train.tfrecord-{shard:05d}-of-{count:05d}", payloads(shard))
    if len(sizes) != 1:
        fail(f"the episodes have images of different sizes, {sorted(sizes)}; write those of each size into a folder of their own")
    info = {
        "description": f"{len(paths)} scripted-expert LIBERO episodes of {len(instructions)} instructions. Not human data.",
        "fileFormat": "tfrecord",
        "moduleName": "__main__",
        "name": name,
        "releaseNotes": {VERSION: "scripted expert"},
        "splits": [{
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            "name": "train",
            "numBytes": str(number_of_bytes),
            "shardLengths": [str(end - start) for start, end in zip(bounds, bounds[1:])],
        }],
        "version": VERSION,
    }
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=2))
    (folder / "features.json").write_text(json.dumps(features(sizes.pop()), indent=4, sort_keys=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("episodes", type=pathlib.Path, nargs="+")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    for path in options.episodes:
        if not path.is_file():
            parser.error(f"{path}: there is no such file")
    print(write(options.episodes, options.out, options.name))


if __name__ == "__main__":
    main()
