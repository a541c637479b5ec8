"""Converts a LeRobot v3 data set (parquet, with videos or embedded images) to RLDS as craft and tfds read it.

    python scripts/convert_lerobot.py SOURCE OUT --name my_data_no_noops \\
        --camera image=observation.images.image --camera wrist_image=observation.images.image2

SOURCE is a folder with meta/info.json (codebase_version v3.x); OUT/NAME/1.0.0/ is written: TFRecord shards,
dataset_info.json, features.json. Then `craft data verify OUT` and `craft train --data OUT`.

Needs pyarrow, numpy, pillow; av for videos; google-crc32c makes the checksums fast. One episode is in memory at a time.

What must fit: `action` with 7 values (6 end-effector deltas and the gripper, -1 open, +1 closed) and `observation.state`
with 8 (position 3, axis-angle 3, finger joints 2), as in LIBERO. --action-columns and --state-columns choose and order
values where a data set has more; --gripper zero-one-open is for grippers stored as 1 open, 0 closed, --gripper
zero-one-closed for 0 open, 1 closed. Images are stored as they are seen, JPEG quality 95; --rotate turns them by 180
degrees, as LIBERO's RLDS sets are.

Checked by hand with --self-test, which writes a small v3 folder of each kind (videos, embedded images), converts it and
compares every number, text and picture with what was written. Data sets that lerobot 0.4.4 itself wrote, with videos (AV1)
and with embedded images, were compared in the same way.
"""
import argparse
import contextlib
import io
import json
import math
import os
import pathlib
import re
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "simulation"))
import tfrecord  # noqa: E402
from files import fail, read_object, replacing  # noqa: E402

FORMAT = "expected a LeRobot v3 data set"


@contextlib.contextmanager
def reading(where):
    """Ends with a sentence that says where, when what is read there is damaged: every library raises errors of its own."""
    try:
        yield
    except Exception as error:
        fail(f"{where}: cannot be read: {type(error).__name__}: {error}")


def entry(values, key, where):
    """values[key]; ends with a sentence when there is none."""
    if key not in values:
        fail(f"{where}: has no '{key}'; it has: {', '.join(sorted(values))}")
    return values[key]


def parquet_files(folder):
    return sorted(folder.glob("chunk-*/file-*.parquet"))


class Source:
    """Reads a LeRobot v3 folder episode by episode."""

    def __init__(self, folder):
        self.folder = folder
        self.info_path = path = folder / "meta/info.json"
        self.info = read_object(path, "the description of a LeRobot v3 data set", "give such a data set's folder")
        version = str(self.info.get("codebase_version", ""))
        if not version.startswith("v3"):
            fail(f"{path}: codebase_version is '{version}'; {FORMAT}. Older ones are converted by LeRobot's own "
                 "`lerobot.datasets.v30.convert_dataset_v21_to_v30`")
        self.features = entry(self.info, "features", path)
        if not isinstance(self.features, dict):
            fail(f"{path}: 'features' is not an object; {FORMAT}")
        self.fps = entry(self.info, "fps", path)
        if not isinstance(self.fps, (int, float)) or not self.fps > 0:
            fail(f"{path}: fps is {self.fps!r}; expected a number above 0")
        self.read_meta()

    def read_meta(self):
        """The tasks' texts and the table of episodes."""
        import pyarrow.parquet as parquet

        self.parquet = parquet
        path = self.folder / "meta/tasks.parquet"
        with reading(path):
            tasks = parquet.read_table(path).to_pydict()
        indices = entry(tasks, "task_index", path)
        # The texts are the table's pandas index, whose column has one of several names.
        texts = next((column for name, column in tasks.items() if name != "task_index"), [])
        if len(texts) != len(indices) or not all(isinstance(text, str) for text in texts):
            fail(f"{path}: expected texts beside 'task_index', found the columns: {', '.join(tasks)}")
        self.tasks = dict(zip(indices, texts))
        self.episodes = {}
        for file in parquet_files(self.folder / "meta/episodes"):
            with reading(file):
                rows = parquet.read_table(file).to_pylist()
            for row in rows:
                self.episodes[entry(row, "episode_index", file)] = row
                entry(row, "length", file)
        if not self.episodes:
            fail(f"{self.folder}/meta/episodes: holds no episodes; {FORMAT}")

    def feature(self, key):
        """What info.json says of a column or camera: at least its dtype and its shape."""
        feature = entry(self.features, key, self.info_path)
        shape = feature.get("shape") if isinstance(feature, dict) and "dtype" in feature else None
        if not isinstance(shape, list) or not all(isinstance(length, int) and length > 0 for length in shape):
            fail(f"{self.info_path}: '{key}' is {json.dumps(feature)}; expected its dtype and its shape")
        return feature

    def __iter__(self):
        """Yields (episode's row, {column: list of values}) in the order of the data files."""
        left = dict(self.episodes)

        def listed(index):
            if index not in left:
                fail(f"{file}: episode {index} is not listed in meta/episodes, or is there twice")
            return left.pop(index)

        for file in parquet_files(self.folder / "data"):
            rows, current = {}, None
            with reading(file):
                for batch in self.parquet.ParquetFile(file).iter_batches(batch_size=64):
                    columns = batch.to_pydict()
                    for position, index in enumerate(entry(columns, "episode_index", file)):
                        if index != current and current is not None:
                            yield listed(current), rows
                            rows = {}
                        current = index
                        for name, values in columns.items():
                            rows.setdefault(name, []).append(values[position])
                if current is not None:
                    yield listed(current), rows

    def images(self, key, row, columns):
        """The episode's frames of one camera as PIL images."""
        from PIL import Image

        where = f"{self.folder}: episode {row['episode_index']}"
        if self.feature(key)["dtype"] == "image":
            for step, value in enumerate(entry(columns, key, where)):
                with reading(f"{where}: picture {step} of '{key}'"):
                    image = Image.open(io.BytesIO(self.stored(value))).convert("RGB")
                yield image
            return
        import av

        with reading(f"{where}: the video of '{key}'"):
            path = self.folder / entry(self.info, "video_path", self.info_path).format(video_key=key, **{
                name: entry(row, f"videos/{key}/{name}", f"{where}: meta/episodes") for name in ("chunk_index", "file_index")})
            start, count = entry(row, f"videos/{key}/from_timestamp", f"{where}: meta/episodes"), row["length"]
        with reading(f"{where}: {path}"), av.open(str(path)) as container:
            stream = container.streams.video[0]
            container.seek(max(0, int(start / stream.time_base) - 1), stream=stream)
            found = 0
            for frame in container.decode(stream):
                if frame.time < start - 0.5 / self.fps:
                    continue
                if found == count:
                    return
                found += 1
                yield frame.to_image()
        if found < count:
            fail(f"{path}: has {found} frames from {start} s on, episode {row['episode_index']} needs {count}")

    def stored(self, value):
        """The file in an image column, which holds it or its path."""
        if value and value.get("bytes"):
            return value["bytes"]
        if value and value.get("path"):
            return (self.folder / value["path"]).read_bytes()
        raise ValueError("there is none")


def jpeg(image, rotate):
    from PIL import Image

    stream = io.BytesIO()
    if rotate:
        image = image.transpose(Image.Transpose.ROTATE_180)
    image.save(stream, "JPEG", quality=95)
    return stream.getvalue()


def check_width(found, chosen, width, key, where):
    """`found`: values of the column `key`, of which `chosen` are taken."""
    if chosen and max(chosen) >= found:
        fail(f"{where}: '{key}' has {found} values, column {max(chosen)} is asked for")
    if (len(chosen) if chosen else found) != width:
        fail(f"{where}: '{key}' has {len(chosen) if chosen else found} values, expected {width}; choose them with "
             f"--{'action' if width == 7 else 'state'}-columns")


def numbers(columns, key, chosen, width, where):
    import numpy as np

    with reading(f"{where}: '{key}'"):
        values = np.asarray(entry(columns, key, where), np.float32)
        values = values.reshape(len(values), -1)
    check_width(values.shape[1], chosen, width, key, where)
    if chosen:
        values = values[:, chosen]
    if not np.isfinite(values).all():
        fail(f"{where}: '{key}' holds values that are not finite")
    return values


def check_features(source, options):
    """Ends with a sentence when the data set does not have what the options name, before anything is written."""
    for key, chosen, width in (
            (options.action, options.action_columns, 7), (options.state, options.state_columns, 8)):
        check_width(math.prod(source.feature(key)["shape"]), chosen, width, key, source.info_path)
    for _, key in options.camera:
        feature = source.feature(key)
        if feature["dtype"] not in ("image", "video"):
            fail(f"{source.info_path}: '{key}' is of dtype {feature['dtype']!r}; a camera's is image or video")
        if len(feature["shape"]) != 3 or image_shape(feature)[2] != 3:
            fail(f"{source.info_path}: '{key}' has shape {feature['shape']}; expected height, width and 3 colours")


def convert_episode(source, row, columns, options):
    where = f"{source.folder}: episode {row['episode_index']}"
    count = row["length"]
    if len(columns["episode_index"]) != count:
        fail(f"{where}: the data files hold {len(columns['episode_index'])} steps, meta/episodes says {count}")
    action = numbers(columns, options.action, options.action_columns, 7, where)
    state = numbers(columns, options.state, options.state_columns, 8, where)
    if options.gripper == "zero-one-open":
        action[:, 6] = 1 - 2 * action[:, 6]
    elif options.gripper == "zero-one-closed":
        action[:, 6] = 2 * action[:, 6] - 1
    indices = set(entry(columns, "task_index", where))
    if unknown := indices - source.tasks.keys():
        fail(f"{where}: meta/tasks.parquet has no task_index {unknown.pop()}")
    texts = {source.tasks[index] for index in indices}
    if len(texts) != 1:
        fail(f"{where}: has {len(texts)} tasks; an RLDS episode has one instruction")
    last = [step == count - 1 for step in range(count)]
    entries = [
        ("episode_metadata/file_path", tfrecord.bytes_feature([f"episode_{row['episode_index']:06d}".encode()])),
        ("steps/action", tfrecord.float_feature(action)),
        ("steps/discount", tfrecord.float_feature([1] * count)),
        ("steps/is_first", tfrecord.int_feature([step == 0 for step in range(count)])),
        ("steps/is_last", tfrecord.int_feature(last)),
        ("steps/is_terminal", tfrecord.int_feature(last)),
        ("steps/language_instruction", tfrecord.bytes_feature([texts.pop().encode()] * count)),
        ("steps/observation/state", tfrecord.float_feature(state)),
        ("steps/reward", tfrecord.float_feature(last)),
    ]
    for name, key in options.camera:
        height, width, _ = image_shape(source.feature(key))
        frames = []
        for image in source.images(key, row, columns):
            if (image.height, image.width) != (height, width):
                fail(f"{where}: a picture of '{key}' is {image.height} high and {image.width} wide, "
                     f"meta/info.json says {height} and {width}")
            frames.append(jpeg(image, options.rotate))
        entries.append((f"steps/observation/{name}", tfrecord.bytes_feature(frames)))
    return tfrecord.example(sorted(entries))


def image_shape(feature):
    """[height, width, 3], whichever order the names give."""
    shape = list(feature["shape"])
    return shape[1:] + shape[:1] if shape[0] == 3 and shape[2] != 3 else shape


def features_json(source, cameras):
    def tensor(dtype, *shape):
        return {"pythonClassName": "tensorflow_datasets.core.features.tensor_feature.Tensor",
                "tensor": {"shape": {"dimensions": [str(n) for n in shape]} if shape else {}, "dtype": dtype,
                           "encoding": "none"}}

    def scalar(dtype):
        return tensor(dtype) | {"pythonClassName": "tensorflow_datasets.core.features.scalar.Scalar"}

    def group(features):
        return {"pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
                "featuresDict": {"features": features}}

    text = {"pythonClassName": "tensorflow_datasets.core.features.text_feature.Text", "text": {}}
    images = {
        name: {"pythonClassName": "tensorflow_datasets.core.features.image_feature.Image",
               "image": {"shape": {"dimensions": [str(n) for n in image_shape(source.features[key])]},
                         "dtype": "uint8", "encodingFormat": "jpeg"}}
        for name, key in cameras}
    steps = group({
        "action": tensor("float32", 7), "discount": scalar("float32"), "is_first": scalar("bool"),
        "is_last": scalar("bool"), "is_terminal": scalar("bool"), "language_instruction": text,
        "observation": group(images | {"state": tensor("float32", 8)}), "reward": scalar("float32")})
    return group({
        "episode_metadata": group({"file_path": text}),
        "steps": {"pythonClassName": "tensorflow_datasets.core.features.dataset_feature.Dataset",
                  "sequence": {"feature": steps, "length": "-1"}}})


def convert(options):
    source = Source(options.source)
    check_features(source, options)
    out = options.out / options.name / "1.0.0"
    if os.path.exists(out):
        fail(f"{out}: exists already; remove it or choose another --name")
    with replacing(out, "give another OUT") as folder:
        shards, size = write(source, folder, options)
    print(f"{out}: {len(source.episodes)} episodes, {shards} shards, {size} bytes")
    return out


def write(source, folder, options):
    """The shards, features.json and dataset_info.json. Returns the number of shards and of their examples' bytes."""
    total = len(source.episodes)
    shards = min(options.shards or (total + 49) // 50, total)
    lengths = [total * (i + 1) // shards - total * i // shards for i in range(shards)]
    episodes, size, done = iter(source), 0, 0

    def records(count):
        nonlocal size, done
        for _ in range(count):
            try:
                row, columns = next(episodes)
            except StopIteration:
                fail(f"{options.source}/data: holds {done} episodes, meta/episodes lists {total}")
            payload = convert_episode(source, row, columns, options)
            size, done = size + len(payload), done + 1
            print(f"episode {done} of {total}", end="\r" if done < total else "\n", file=sys.stderr, flush=True)
            yield payload

    for index, count in enumerate(lengths):
        tfrecord.write_records(
            folder / f"{options.name}-train.tfrecord-{index:05d}-of-{shards:05d}", records(count))
    for _ in episodes:  # ends with a sentence over an episode that is not listed
        pass
    (folder / "features.json").write_text(json.dumps(features_json(source, options.camera), indent=4) + "\n")
    (folder / "dataset_info.json").write_text(json.dumps({
        "fileFormat": "tfrecord", "moduleName": "convert_lerobot", "name": options.name, "releaseNotes": {},
        "splits": [{"filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}", "name": "train",
                    "numBytes": str(size), "shardLengths": [str(n) for n in lengths]}],
        "version": "1.0.0"}, indent=2) + "\n")
    return shards, size


def self_test():
    """Writes small v3 folders, converts them, compares."""
    import tempfile

    import av
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as parquet
    from PIL import Image

    keys = ["observation.images.image", "observation.images.image2"]
    lengths, fps, side, texts = [5, 9, 7], 10, 64, ["open the drawer", "push the plate"]
    random = np.random.default_rng(0)
    index = [(episode, step) for episode, length in enumerate(lengths) for step in range(length)]
    action = random.uniform(-1, 1, (len(index), 7)).astype(np.float32)
    state = random.normal(size=(len(index), 8)).astype(np.float32)

    def picture(camera, episode, step):
        """Smooth, and told apart from every other by its level."""
        ramp = np.linspace(0, 40, side)[None, :, None] + np.zeros((side, 1, 3))
        return np.uint8(ramp + 10 + 8 * step + 30 * episode + 60 * camera)

    for kind in ("video", "image"):
        with tempfile.TemporaryDirectory() as temporary:
            root = pathlib.Path(temporary) / "source"
            for folder in ("meta/episodes/chunk-000", "data/chunk-000"):
                (root / folder).mkdir(parents=True)
            features = {"action": {"dtype": "float32", "shape": [7]}, "observation.state": {"dtype": "float32", "shape": [8]}}
            features |= {key: {"dtype": kind, "shape": [side, side, 3], "names": ["height", "width", "channels"]} for key in keys}
            (root / "meta/info.json").write_text(json.dumps({
                "codebase_version": "v3.0", "fps": fps, "total_episodes": len(lengths), "total_frames": len(index),
                "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
                "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
                "features": features}))
            parquet.write_table(pa.table({"task_index": [0, 1], "__index_level_0__": texts}), root / "meta/tasks.parquet")
            starts = np.concatenate([[0], np.cumsum(lengths)])
            rows = {"episode_index": list(range(len(lengths))), "length": lengths,
                    "tasks": [[texts[e % 2]] for e in range(len(lengths))], "data/chunk_index": [0] * 3,
                    "data/file_index": [0, 0, 1]}
            columns = {"episode_index": [e for e, _ in index], "task_index": [e % 2 for e, _ in index],
                       "frame_index": [s for _, s in index], "timestamp": [s / fps for _, s in index],
                       "action": action.tolist(), "observation.state": state.tolist()}
            for camera, key in enumerate(keys):
                if kind == "image":
                    def png(episode, step):
                        stream = io.BytesIO()
                        Image.fromarray(picture(camera, episode, step)).save(stream, "PNG")
                        return {"bytes": stream.getvalue(), "path": None}
                    columns[key] = [png(e, s) for e, s in index]
                    continue
                path = root / f"videos/{key}/chunk-000/file-000.mp4"
                path.parent.mkdir(parents=True)
                with av.open(str(path), "w") as container:
                    stream = container.add_stream("mpeg4", rate=fps)
                    stream.width = stream.height = side
                    stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
                    for e, s in index:
                        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(camera, e, s), format="rgb24")))
                    container.mux(stream.encode())
                rows |= {f"videos/{key}/chunk_index": [0] * 3, f"videos/{key}/file_index": [0] * 3,
                         f"videos/{key}/from_timestamp": [starts[e] / fps for e in range(3)],
                         f"videos/{key}/to_timestamp": [starts[e + 1] / fps for e in range(3)]}
            parquet.write_table(pa.table(rows), root / "meta/episodes/chunk-000/file-000.parquet")
            table = pa.table(columns)
            parquet.write_table(table.slice(0, 14), root / "data/chunk-000/file-000.parquet")
            parquet.write_table(table.slice(14), root / "data/chunk-000/file-001.parquet")

            options = parse([str(root), temporary, "--name", "converted", "--shards", "2",
                             "--camera", f"image={keys[0]}", "--camera", f"wrist_image={keys[1]}"])
            folder = convert(options)
            found = 0
            payloads = [p for file in sorted(folder.glob("*.tfrecord-*")) for p in tfrecord.read_records(file)]
            for episode, payload in enumerate(payloads):
                entries = dict(tfrecord.example_entries(payload))
                span = slice(starts[episode], starts[episode + 1])
                for key, values in (("steps/action", action), ("steps/observation/state", state)):
                    assert entries[key] == tfrecord.float_feature(values[span]), key
                assert tfrecord.bytes_values(entries["steps/language_instruction"]) == \
                    [texts[episode % 2].encode()] * lengths[episode]
                for camera, name in enumerate(("image", "wrist_image")):
                    frames = tfrecord.bytes_values(entries[f"steps/observation/{name}"])
                    assert len(frames) == lengths[episode]
                    for step, frame in enumerate(frames):
                        pixels = np.asarray(Image.open(io.BytesIO(frame)), float)
                        error = np.abs(pixels - picture(camera, episode, step)).mean()
                        # One step apart is a level of 8.
                        assert error < 3, f"{kind} {name} episode {episode} step {step}: {error}"
                        found += 1
            assert found == 2 * len(index) and len(payloads) == 3
            print(f"{kind}: {len(payloads)} episodes and {found} pictures are what was written")


def parse(arguments=None):
    def camera(text):
        name, _, key = text.partition("=")
        if not name or not key or "/" in name:
            raise argparse.ArgumentTypeError(f"'{text}' is not NAME=FEATURE")
        if name == "state":
            raise argparse.ArgumentTypeError(f"'{text}': the data set's own 'state' has that name; choose another")
        return name, key

    def indices(text):
        items = text.split(",")
        if not all(re.fullmatch("[0-9]+", item) for item in items):
            raise argparse.ArgumentTypeError(f"'{text}': expected numbers from 0, separated by commas")
        return [int(item) for item in items]

    def folder_name(text):
        if not re.fullmatch(r"\w[\w.-]*", text):
            raise argparse.ArgumentTypeError(f"'{text}' is not a folder name: letters, digits, _, - and .")
        return text

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--name", type=folder_name, required=True)
    parser.add_argument("--camera", type=camera, action="append", required=True, metavar="NAME=FEATURE")
    parser.add_argument("--action", default="action")
    parser.add_argument("--state", default="observation.state")
    parser.add_argument("--action-columns", type=indices, metavar="I,I,...")
    parser.add_argument("--state-columns", type=indices, metavar="I,I,...")
    parser.add_argument("--gripper", choices=["libero", "zero-one-open", "zero-one-closed"], default="libero")
    parser.add_argument("--rotate", action="store_true")
    parser.add_argument("--shards", type=int)
    options = parser.parse_args(arguments)
    if options.shards is not None and options.shards < 1:
        parser.error(f"--shards is {options.shards}; expected at least 1")
    names = [name for name, _ in options.camera]
    if len(set(names)) != len(names):
        parser.error(f"--camera: two have the same name: {', '.join(names)}")
    return options


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["--self-test"]:
            self_test()
        else:
            convert(parse())
    except ImportError as error:
        fail(f"{error}; install the packages with: pip install pyarrow numpy pillow av")
