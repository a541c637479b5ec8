"""How fast training batches are read, and in how much memory: craft's reader and tf.data/tfds, in turns, on the same files.

    python bench/reader.py FOLDER [--rounds 3] [--seconds 10] [--threads 1,2]

Both decode two JPEG cameras, resize them by Lanczos with antialias to 224, cut chunks of 8 actions and batch 8 samples of
a shuffle over frames. tf.data is set up as OpenVLA's RLDS loader: encoded frames are shuffled in a buffer, then decoded.
Both are bound to as many processors as they have threads. FOLDER is a data set's version folder, or one with a single
data set below. Needs tensorflow-cpu and tensorflow-datasets; `swift build -c release` first.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
CHUNK, BATCH, SIZE = 8, 8, 224


def peak_mebibytes():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def run_tensorflow(folder, seconds, threads, buffer):
    """One measurement in this process; prints JSON."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    import tensorflow_datasets as tfds

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    imported = peak_mebibytes()
    builder = tfds.builder_from_directory(folder)
    cameras = sorted(
        name for name, feature in builder.info.features["steps"].feature["observation"].items()
        if isinstance(feature, tfds.features.Image))
    dataset = builder.as_dataset(
        split="train", shuffle_files=True, decoders={"steps": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(skip_prefetch=True, interleave_cycle_length=threads,
                                    num_parallel_calls_for_interleave_files=threads))
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    options.autotune.ram_budget = 1

    def frames(episode):
        steps = episode["steps"]
        count = tf.shape(steps["action"])[0] - (CHUNK - 1)
        index = tf.range(count)[:, None] + tf.range(CHUNK)[None]
        frame = {camera: steps["observation"][camera][:count] for camera in cameras}
        frame |= {"state": steps["observation"]["state"][:count], "text": steps["language_instruction"][:count],
                  "actions": tf.gather(steps["action"], index)}
        return tf.data.Dataset.from_tensor_slices(frame)

    def decode(frame):
        images = []
        for camera in cameras:
            image = tf.io.decode_image(frame.pop(camera), channels=3, expand_animations=False)
            image.set_shape([None, None, 3])
            image = tf.image.resize(image, (SIZE, SIZE), method="lanczos3", antialias=True)
            images.append(tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8))
        return frame | {"images": tf.stack(images)}

    dataset = dataset.with_options(options).repeat().interleave(frames, cycle_length=1).shuffle(buffer)
    dataset = dataset.map(decode, num_parallel_calls=threads).batch(BATCH, drop_remainder=True).prefetch(2)
    batches = iter(dataset)
    opening = time.perf_counter()
    next(batches)
    start, samples = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        samples += len(next(batches)["images"])
    elapsed = time.perf_counter() - start
    print(json.dumps({"samplesPerSecond": samples / elapsed, "peakMiB": peak_mebibytes(), "importMiB": imported,
                      "openSeconds": start - opening}))


def measure(command, threads):
    cores = sorted(os.sched_getaffinity(0))[:threads]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                            preexec_fn=lambda: os.sched_setaffinity(0, cores)).stdout
    return json.loads(output)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--shuffle-buffer", type=int, default=5000, help="frames, tf.data only")
    parser.add_argument("--tensorflow-threads", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folders = [path.parent for path in sorted(arguments.folder.rglob("dataset_info.json"))]
    if len(folders) != 1:
        parser.error(f"{arguments.folder}: expected one data set, found {len(folders)}")
    folder = str(folders[0])
    if arguments.tensorflow_threads:
        return run_tensorflow(folder, arguments.seconds, arguments.tensorflow_threads, arguments.shuffle_buffer)
    craft = REPOSITORY / ".build/release/craft"
    results = {}
    for _ in range(arguments.rounds):
        for threads in map(int, arguments.threads.split(",")):
            for name, command in [
                ("craft", [craft, "data", "bench", folder, "--batch", str(BATCH), "--image-size", str(SIZE),
                           "--seconds", str(arguments.seconds), "--threads", str(threads)]),
                ("tf.data", [sys.executable, __file__, folder, "--seconds", str(arguments.seconds),
                             "--shuffle-buffer", str(arguments.shuffle_buffer), "--tensorflow-threads", str(threads)]),
            ]:
                result = measure(command, threads)
                results.setdefault((threads, name), []).append(result)
                print(f"{threads} threads  {name:8} {result['samplesPerSecond']:8.1f} samples/s  "
                      f"{result['peakMiB']:7.0f} MiB", flush=True)
    for threads in map(int, arguments.threads.split(",")):
        ours, theirs = results[threads, "craft"], results[threads, "tf.data"]
        speed = [a["samplesPerSecond"] / b["samplesPerSecond"] for a, b in zip(ours, theirs)]
        memory = [b["peakMiB"] / a["peakMiB"] for a, b in zip(ours, theirs)]
        beyond = statistics.median(b["peakMiB"] - b["importMiB"] for b in theirs)
        print(f"{threads} threads: samples/s craft : tf.data = {statistics.median(speed):.2f} "
              f"({min(speed):.2f} to {max(speed):.2f}); peak memory tf.data : craft = {statistics.median(memory):.1f} "
              f"(tf.data beyond its import: {beyond:.0f} MiB)")


if __name__ == "__main__":
    main()
