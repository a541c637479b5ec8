"""Makes Tests/Fixtures/data/libero-sample.json: what TensorFlow reads from Assets/libero-sample, and its statistics.

    python scripts/reference/rlds_reference.py

Needs tensorflow-cpu and numpy 1.26, which the reference pipeline pins: float32 means and deviations, and quantiles whose
interpolation numpy 2 changed. Statistics are taken after the LIBERO transform (gripper 1 - clip(g, 0, 1)).
"""
import json
import pathlib

import numpy as np
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "Assets/libero-sample/libero_spatial_no_noops/1.0.0"


def read(record):
    string, number = tf.io.VarLenFeature(tf.string), tf.io.VarLenFeature(tf.float32)
    parsed = tf.io.parse_single_example(record, {
        "steps/action": number, "steps/observation/state": number, "steps/is_last": tf.io.VarLenFeature(tf.int64),
        "steps/language_instruction": string, "steps/observation/image": string,
        "steps/observation/wrist_image": string, "episode_metadata/file_path": string,
    })
    return {key: tf.sparse.to_dense(value).numpy() for key, value in parsed.items()}


def statistics(rows):
    return {
        "mean": rows.mean(0).tolist(), "std": rows.std(0).tolist(), "max": rows.max(0).tolist(),
        "min": rows.min(0).tolist(), "q01": np.quantile(rows, 0.01, axis=0).tolist(),
        "q99": np.quantile(rows, 0.99, axis=0).tolist(),
    }


def main():
    episodes, actions, states = [], [], []
    for record in tf.data.TFRecordDataset(sorted(map(str, FOLDER.glob("*.tfrecord-*")))):
        episode = read(record)
        action = episode["steps/action"].reshape(-1, 7)
        state = episode["steps/observation/state"].reshape(-1, 8)
        wrist = tf.io.decode_image(episode["steps/observation/wrist_image"][-1], expand_animations=False).numpy()
        image = tf.io.decode_image(episode["steps/observation/image"][0], expand_animations=False).numpy()
        episodes.append({
            "source": episode["episode_metadata/file_path"][0].decode(),
            "length": len(episode["steps/is_last"]),
            "instruction": episode["steps/language_instruction"][0].decode(),
            "actionFirst": action[0].tolist(), "actionSum": action.astype(np.float64).sum(0).tolist(),
            "stateLast": state[-1].tolist(), "stateSum": state.astype(np.float64).sum(0).tolist(),
            "imageFirstSum": image.astype(int).sum((0, 1)).tolist(),
            "wristLastSum": wrist.astype(int).sum((0, 1)).tolist(),
            "imageFirstPixel": image[30, 50].tolist(),
        })
        action[:, 6] = 1 - np.clip(action[:, 6], 0, 1)
        actions.append(action)
        states.append(state)
    actions, states = np.concatenate(actions), np.concatenate(states)
    (ROOT / "Tests/Fixtures/data/libero-sample.json").write_text(json.dumps({
        "episodes": episodes, "transitions": len(actions),
        "action": statistics(actions), "proprio": statistics(states),
    }, indent=1) + "\n")


if __name__ == "__main__":
    main()
