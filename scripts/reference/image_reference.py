"""Makes Tests/Fixtures/data/images: what TensorFlow makes of a few small images.

    python scripts/reference/image_reference.py

Needs tensorflow-cpu and pillow. Inputs: one stored frame of Assets/libero-sample, and noise (every hue, sharp edges).
All outputs are lossless PNG files; cases.json lists them with their parameters.
"""
import io
import json
import pathlib
import sys

import numpy as np
import tensorflow as tf
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "simulation"))
import tfrecord  # noqa: E402

OUT = ROOT / "Tests/Fixtures/data/images"
SHARD = "libero_spatial_no_noops-train.tfrecord-00000-of-00002"
SIDE = 0.9**0.5


def save(name, pixels):
    Image.fromarray(np.asarray(pixels)).save(OUT / name, optimize=True)
    return name


def resize(image, size):
    image = tf.image.resize(image, (size, size), method="lanczos3", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def crop(image, y, x):
    box = [[y, x, y + SIDE, x + SIDE]]
    return tf.image.crop_and_resize(image[None], box, [0], image.shape[:2])[0]


def augment(image, case):
    image = tf.image.convert_image_dtype(image, tf.float32)
    for operation in (
        lambda i: crop(i, case["cropY"], case["cropX"]),
        lambda i: tf.image.adjust_brightness(i, case["brightness"]),
        lambda i: tf.image.adjust_contrast(i, case["contrast"]),
        lambda i: tf.image.adjust_saturation(i, case["saturation"]),
        lambda i: tf.image.adjust_hue(i, case["hue"]),
    ):
        image = tf.clip_by_value(operation(image), 0, 1)
    return tf.image.convert_image_dtype(image, tf.uint8, saturate=True)


def evaluation_view(image, size):
    """The LIBERO evaluator: rotate by 180 degrees, JPEG round trip, resize, centre crop."""
    image = tf.io.decode_jpeg(tf.io.encode_jpeg(image[::-1, ::-1]))
    image = tf.image.convert_image_dtype(resize(image, size), tf.float32)
    offset = (1 - SIDE) / 2
    image = tf.clip_by_value(crop(image, offset, offset), 0, 1)
    return tf.image.convert_image_dtype(image, tf.uint8, saturate=True)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    shard = ROOT / "Assets/libero-sample/libero_spatial_no_noops/1.0.0" / SHARD
    entries = dict(tfrecord.example_entries(next(tfrecord.read_records(shard))))
    jpeg = tfrecord.bytes_values(entries["steps/observation/image"])[0]
    (OUT / "frame.jpg").write_bytes(jpeg)
    frame = tf.io.decode_image(jpeg, expand_animations=False).numpy()
    noise = np.random.default_rng(7).integers(0, 256, (53, 37, 3), dtype=np.uint8)
    inputs = {save("frame.png", frame): frame, save("noise.png", noise): noise}
    cases = {"decode": [{"input": "frame.jpg", "expected": "frame.png"}], "resize": [], "augment": [], "evaluation": []}

    for name, image in inputs.items():
        for size in (16, 40, 64, 110):
            expected = save(f"resize-{name[:-4]}-{size}.png", resize(image, size))
            cases["resize"].append({"input": name, "size": size, "expected": expected})
        for index, u in enumerate((0.0, 0.3, 0.62, 0.999)):
            case = {
                "cropX": u * (1 - SIDE), "cropY": (1 - u) * (1 - SIDE) if index % 2 else u * (1 - SIDE),
                "brightness": -0.2 + 0.4 * u, "contrast": 1.2 - 0.4 * u, "saturation": 0.8 + 0.4 * u, "hue": -0.05 + 0.1 * u,
            }
            expected = save(f"augment-{name[:-4]}-{index}.png", augment(image, case))
            cases["augment"].append({"input": name, "expected": expected, **case})
    expected = save("evaluation.png", evaluation_view(frame, 64))
    cases["evaluation"].append({"input": "frame.png", "size": 64, "expected": expected})
    (OUT / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
