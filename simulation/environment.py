"""The simulator as the official evaluation sets it up, with pictures rendered only when they are asked for."""
import os

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("PYOPENGL_PLATFORM", os.environ["MUJOCO_GL"])

import numpy as np
from libero.libero import benchmark, get_libero_path
from libero.libero.envs.env_wrapper import ControlEnv
from robosuite.utils import transform_utils

IMAGE_SIZE = 256
SETTLE_STEPS = 10
# Longest episode of each suite in the official evaluation, settle steps not counted.
STEP_LIMITS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520}
NO_OP = np.array([0, 0, 0, 0, 0, 0, -1.0])


class Task:
    """One task of a suite and its environment."""

    def __init__(self, suite, index):
        tasks = benchmark.get_benchmark_dict()[suite]()
        task = tasks.get_task(index)
        self.name, self.instruction = task.name, task.language
        self.step_limit = STEP_LIMITS[suite]
        self.init_states = tasks.get_task_init_states(index)
        bddl = os.path.join(get_libero_path("bddl_files"), task.problem_folder, task.bddl_file)
        # use_camera_obs=False: step() renders nothing; image() does, when a picture is wanted.
        self.env = ControlEnv(bddl_file_name=bddl, has_offscreen_renderer=True, use_camera_obs=False)

    def reset(self, init):
        """The evaluators' reset. Gives the first observation after settling."""
        # Fixtures are placed by reset() and are not part of the init state, so the seed comes first.
        self.env.seed(0)
        self.env.reset()
        self.env.set_init_state(self.init_states[init])
        for _ in range(SETTLE_STEPS):
            observation, *_ = self.env.step(NO_OP)
        return observation

    def image(self, camera):
        """uint8 [256, 256, 3], turned by 180 degrees as in the published data sets."""
        picture = self.env.env.sim.render(width=IMAGE_SIZE, height=IMAGE_SIZE, camera_name=camera)
        return np.ascontiguousarray(picture[::-1, ::-1])

    def images(self):
        """The main and the wrist camera's picture."""
        return self.image("agentview"), self.image("robot0_eye_in_hand")

    def close(self):
        self.env.close()


def state(observation):
    """float32 [8]: end-effector position, its rotation as axis times angle, the two fingers' joints."""
    turn = transform_utils.quat2axisangle(observation["robot0_eef_quat"].copy())
    return np.concatenate([observation["robot0_eef_pos"], turn, observation["robot0_gripper_qpos"]]).astype(np.float32)
