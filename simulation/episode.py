"""Plays one episode with the scripted expert and keeps what the data set needs of it."""
import io

import numpy as np

from disturbance import Disturbance
from environment import state
from expert import Expert
from motion import OPEN

JPEG_QUALITY = 95  # tf.io.encode_jpeg's default, which wrote the published sets
AFTER_SUCCESS = 12  # steps; training drops an episode's last 7, and what leads to success must not be among them


def is_no_op(action, previous_gripper):
    """The published sets' filter: hardly any motion, and the gripper command of the last kept step."""
    return np.linalg.norm(action[:6]) < 1e-4 and (previous_gripper is None or previous_gripper == action[6])


def jpeg(picture):
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=JPEG_QUALITY, subsampling=2)
    return out.getvalue()


def run_episode(task, init, noise, variety, random):
    """Returns (success, episode for write_rlds.save_episode, executed steps)."""
    observation = task.reset(init)
    disturbance = Disturbance(noise, variety, random)
    if variety:
        expert = Expert(task.env)
        position, rotation = expert.scene.gripper()
        for action in expert.go_to(position + disturbance.start, rotation, OPEN, limit=25):
            observation, *_ = task.env.step(action)
    expert = Expert(task.env)
    episode = {name: [] for name in ("image", "wrist_image", "state", "joint_state", "action")}
    gripper, steps, after_success = None, 0, 0
    # After success the gripper opens and leaves; the simulator's check must still hold then.
    while steps < task.step_limit and after_success < AFTER_SUCCESS:
        action = expert.act().astype(np.float32)
        if expert.done:
            break
        if not is_no_op(action, gripper):
            gripper = action[6]
            image, wrist_image = task.images()
            episode["image"].append(jpeg(image))
            episode["wrist_image"].append(jpeg(wrist_image))
            episode["state"].append(state(observation))
            episode["joint_state"].append(np.asarray(observation["robot0_joint_pos"], np.float32))
            episode["action"].append(action)
        observation, _, done, _ = task.env.step(disturbance.executed(action, steps, expert.phase))
        steps += 1
        after_success += bool(done)
    episode.update(instruction=task.instruction, source=f"{task.name}_init_{init}", size=task.image("agentview").shape[0])
    return bool(task.env.check_success()), episode, steps
