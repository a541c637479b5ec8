"""Writes small data sets with LeRobot's own writer and what LeRobot's own reader gives of them.

    python make_lerobot.py OUT          with lerobot 0.3.3: OUT/v21-video, OUT/v21-image; with 0.4.4: OUT/v3-video, OUT/v3-image

Each has three episodes of 3, 4 and 5 steps, two tasks, two cameras of 64x64 pixels, 6 action and 6 state numbers. Beside each
lie NAME.json (every step's numbers and text, and LeRobot's statistics) and NAME.png: what its reader gives of the pictures,
every fourth pixel; a row a step, a column a camera. OUT/parquet has one table in each of the forms that pyarrow writes, OUT/seek.mp4 is a
video without a data set, of 25 frames, with every fifth row of what PyAV makes of them.
"""
import json
import pathlib
import shutil
import sys

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from importlib.metadata import version
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from PIL import Image

FPS = 10
LENGTHS = [3, 4, 5]
TASKS = ["push the red block", "open the drawer", "push the red block"]
CAMERAS = ["observation.images.top", "observation.images.wrist"]
JOINTS = ["pan", "lift", "elbow", "flex", "roll", "gripper"]


def picture(camera, episode, step):
    """A moving disc on a slope of colours: no two alike."""
    y, x = np.mgrid[0:64, 0:64]
    pixels = np.stack([3 * x + 10 * episode, 3 * y + 12 * step, 2 * (63 - x) + 60 * camera], -1)
    disc = (x - 16 - 8 * step) ** 2 + (y - 20 - 10 * episode) ** 2 < 90
    pixels[disc] = [250, 40, 120 + 60 * camera]
    return np.clip(pixels, 0, 255).astype(np.uint8)


def features(kind):
    image = {"dtype": kind, "shape": (64, 64, 3), "names": ["height", "width", "channels"]}
    numbers = {"dtype": "float32", "shape": (6,), "names": JOINTS}
    return {"action": numbers, "observation.state": numbers} | {camera: image for camera in CAMERAS}


def write(root, kind):
    data = LeRobotDataset.create(
        repo_id=f"craft/{root.name}", fps=FPS, features=features(kind), root=root, robot_type="so101",
        use_videos=kind == "video")
    draw = np.random.default_rng(7)
    for episode, (length, task) in enumerate(zip(LENGTHS, TASKS)):
        for step in range(length):
            frame = {"action": draw.normal(size=6).astype(np.float32),
                     "observation.state": draw.normal(size=6).astype(np.float32)}
            frame |= {camera: picture(c, episode, step) for c, camera in enumerate(CAMERAS)}
            if version("lerobot").startswith("0.3"):
                data.add_frame(frame, task)
            else:
                data.add_frame(frame | {"task": task})
        data.save_episode()
    if hasattr(data, "finalize"):
        data.finalize()


def reference(root):
    data = LeRobotDataset(f"craft/{root.name}", root=root, video_backend="pyav")
    steps, rows = [], []
    for index in range(len(data)):
        item = data[index]
        steps.append({
            "episode": int(item["episode_index"]), "step": int(item["frame_index"]), "task": item["task"],
            "action": [float(v) for v in item["action"]], "state": [float(v) for v in item["observation.state"]]})
        pictures = [np.rint(item[camera].numpy() * 255).astype(np.uint8).transpose(1, 2, 0) for camera in CAMERAS]
        rows.append(np.concatenate([pixels[::4, ::4] for pixels in pictures], 1))
    stats = {name: {key: np.asarray(data.meta.stats[name][key]).tolist() for key in ("min", "max", "mean", "std")}
             for name in ("action", "observation.state")}
    text = json.dumps({"steps": steps, "stats": stats, "episodes": LENGTHS})
    root.with_suffix(".json").write_text(text)
    Image.fromarray(np.concatenate(rows)).save(root.with_suffix(".png"), optimize=True)


def write_video(path):
    """Frames whose rows do not fill vectors, shown in another order than they are decoded in, and what PyAV makes of them."""
    rows = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=20, options={"x265-params": "keyint=10:min-keyint=10:bframes=3:open-gop=1"})
        stream.width, stream.height, stream.pix_fmt = 66, 50, "yuv420p"
        for step in range(25):
            y, x = np.mgrid[0:50, 0:66]
            pixels = np.stack([3 * x, 4 * y, np.full_like(x, 10 * step)], -1)
            pixels[(x - 2 * step) ** 2 + (y - 25) ** 2 < 80] = [240, 20, 20]
            frame = av.VideoFrame.from_ndarray(np.clip(pixels, 0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        rows = [frame.to_rgb().to_ndarray()[::5] for frame in container.decode(video=0)]
    Image.fromarray(np.concatenate(rows)).save(path.with_suffix(".png"), optimize=True)


def write_tables(out):
    """One table in each of the forms that pyarrow writes."""
    out.mkdir(exist_ok=True)
    rows = 60
    table = pa.table({
        "f32": pa.array(np.arange(rows, dtype=np.float32) / 7), "f64": pa.array([i * i / 3 for i in range(rows)]),
        "i32": pa.array([i % 5 - 2 for i in range(rows)], pa.int32()), "i64": pa.array([-(i << 33) for i in range(rows)]),
        "bool": pa.array([i % 3 == 0 for i in range(rows)]),
        "list": pa.array([[i + j / 4 for j in range(3)] for i in range(rows)], pa.list_(pa.float32())),
        "fixed": pa.array([[i, -i] for i in range(rows)], pa.list_(pa.float64(), 2)),
        "text": pa.array([f"t\u00e4sk {i % 4}" for i in range(rows)]),
        "picture": pa.array([{"bytes": None if i == 17 else bytes([i % 256]) * (i % 11), "path": f"p{i}"} for i in range(rows)],
                            pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "ragged": pa.array([[0.5] * (i % 3) for i in range(rows)], pa.list_(pa.float32())),
        "gaps": pa.array([None if i == 5 else float(i) for i in range(rows)], pa.float32())})
    for codec in ("none", "snappy", "gzip", "zstd"):
        for version in ("1.0", "2.0"):
            for kind in (True, False) if codec == "snappy" else (version == "1.0",):
                parquet.write_table(
                    table, out / f"{codec}-v{version[0]}-{'dictionary' if kind else 'plain'}.parquet", compression=codec,
                    data_page_version=version, use_dictionary=kind, row_group_size=40, data_page_size=64)
    parquet.write_table(table.select(["f32"]), out / "unread-split.parquet", use_dictionary=False,
                        column_encoding={"f32": "BYTE_STREAM_SPLIT"})
    parquet.write_table(table.select(["f32"]), out / "unread-brotli.parquet", compression="brotli")


def main():
    out = pathlib.Path(sys.argv[1])
    prefix = "v21" if version("lerobot").startswith("0.3") else "v3"
    for kind in ("video", "image"):
        root = out / f"{prefix}-{kind}"
        shutil.rmtree(root, ignore_errors=True)
        write(root, kind)
        shutil.rmtree(root / "images", ignore_errors=True)
        reference(root)
    if prefix == "v3":
        write_tables(out / "parquet")
        write_video(out / "seek.mp4")


main()
