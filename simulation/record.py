"""Records the scripted expert's successful episodes and writes them as an RLDS data set.

    python record.py --suite libero_spatial --tasks 0,3 --episodes 20 --out DIR

Each finished episode is one file in DIR/.episodes; the same command goes on where an earlier one ended. Episodes that
fail are listed in DIR/.episodes/failed.json and not tried again. The data set is written when all are done, and after
Ctrl-C from what there is: DIR/<suite>_no_noops/1.0.0.
"""
import argparse
import hashlib
import io
import json
import os
import pathlib
import signal
import sys
import time
import typing

import numpy as np

import parent
import pool
import write_rlds

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
INIT_STATES = 50
EXPERT_MODULES = ("record", "environment", "expert", "fixtures", "goals", "grasps", "motion", "scene", "skills")
JPEG_QUALITY = 95  # tf.io.encode_jpeg's default, which wrote the published sets
DONE, INCOMPLETE, FAILED, INTERRUPTED = 0, 1, 2, 130  # exit codes
AFTER_SUCCESS = 12  # steps; training drops an episode's last 7, and what leads to success must not be among them
SIDE_PUSH_CHANCE = 0.15  # of another one, per step of descending
LATEST_CLOSING = 16  # steps
STEADY_PHASES = ("reach", "close", "lower", "release", "pull", "push", "turn")


class Disturbance:
    """What is done to the arm besides the expert's commands; the recorded actions stay the expert's own.

    noise: standard deviation, in units of the action, of Gaussian noise on the executed translation; a third of it where
    the expert needs precision. variety, from 0 to 1: the episode starts up to 8 cm beside and 4 cm above the usual pose,
    a push of 6 steps comes while the arm approaches or carries, one of 5 steps to the side when it begins to go down, more of
    them on the way down to an object, and fingers that take one begin to close up to 16 steps late, the arm being pushed further
    down meanwhile. Without the pushes to the side the arm is over its goal whenever it goes down, and a policy learns to go
    straight down wherever it is. Without the delay nothing shows that open fingers at an object have to close: a policy
    that missed the one moment goes on down.
    """

    def __init__(self, noise, variety, random):
        self.noise, self.random = noise, random
        self.start = random.uniform([-0.08, -0.08, 0.0], [0.08, 0.08, 0.04]) * variety
        direction = random.normal(size=3) * [1, 1, 0.4]
        self.push = direction / np.linalg.norm(direction) * 0.7 * variety
        self.push_starts = int(random.integers(8, 60))
        self.push_ends = self.push_starts + 6
        self.side_push_ends = 0
        self.variety, self.phase = variety, None

    def executed(self, action, step, phase):
        goes_down = phase in ("descend", "lower")
        begins = phase != self.phase
        again = phase == "descend" and step >= self.side_push_ends and self.random.uniform() < SIDE_PUSH_CHANCE
        if goes_down and (begins or again):
            angle, size = self.random.uniform(-np.pi, np.pi), self.random.uniform(0.4, 1.6) * self.variety
            self.side_push = np.array([np.cos(angle), np.sin(angle), 0]) * size
            self.side_push_ends = step + 5
        if phase == "grasp" and begins:
            self.late_until = step + int(self.random.integers(0, LATEST_CLOSING + 1)) * bool(self.variety)
            self.late_push = self.random.uniform(0, 1.5) * self.variety
        self.phase = phase
        action = action.copy()
        if self.noise:
            scale = self.noise / 3 if phase in STEADY_PHASES else self.noise
            action[:3] += self.random.normal(0, scale, 3)
        if self.push_starts <= step < self.push_ends and phase in ("approach", "carry"):
            action[:3] += self.push
        if goes_down and step < self.side_push_ends:
            action[:3] += self.side_push
        if phase == "grasp" and step < self.late_until:
            action[2] -= self.late_push
            action[6] = -1  # open
        return np.clip(action, -1, 1)


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
    from environment import state
    from expert import Expert
    from motion import OPEN

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


def recorder(options):
    """For a worker process: gives the function that records one `Job` and returns (problem, steps, CPU-s).

    It keeps one task's environment. `problem` is None for an episode that succeeded and is saved.
    """
    from environment import Task

    task = task_index = None

    def perform(job):
        nonlocal task, task_index
        started = time.process_time()
        problem, steps = None, 0
        try:
            if job.task != task_index:
                if task is not None:
                    task.close()
                task_index, task = job.task, Task(options.suite, job.task)
            random = np.random.default_rng([options.seed, *job.key])
            success, episode, steps = run_episode(task, job.init, options.noise, options.variety, random)
            if success:
                write_rlds.save_episode(job.path(options), episode)
            else:
                problem = f"the goal was not reached in {steps} steps"
        except Exception as error:
            problem, task_index = f"{type(error).__name__}: {error}", None
        return problem, steps, time.process_time() - started

    return perform


class Job(typing.NamedTuple):
    """One episode: the `take`-th from this init state, counted from 0."""
    task: int
    init: int
    take: int

    @property
    def key(self):
        """The numbers that tell it from others of the recording; a first take has no third one."""
        return (self.task, self.init, self.take) if self.take else (self.task, self.init)

    @property
    def name(self):
        """Its key in failed.json."""
        return "/".join(map(str, self.key))

    def path(self, options):
        numbers = "_".join(f"{number:02d}" for number in self.key)
        return options.out / ".episodes" / f"{options.suite}_{numbers}.npz"

    def __str__(self):
        return f"task {self.task} init {self.init}" + (f" take {self.take}" if self.take else "")


def jobs(options):
    """The episodes wanted. Five init states of each task in turn: a recording that is stopped holds something of every task."""
    groups = range(0, options.episodes, 5)
    return [
        Job(task, options.first_init + init, take)
        for take in range(options.takes) for group in groups for task in options.tasks
        for init in range(group, min(group + 5, options.episodes))
    ]


def expert_version():
    """Changes with the code that decides what is recorded: one folder is to hold episodes of one expert."""
    folder = pathlib.Path(__file__).parent
    code = b"".join((folder / f"{name}.py").read_bytes() for name in EXPERT_MODULES)
    return hashlib.sha256(code).hexdigest()[:12]


def write_json(path, value):
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(temporary, path)


def duration(seconds):
    minutes = int(seconds / 60 + 0.5)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def record(options):
    """Runs what is missing; returns an exit code."""
    folder = options.out / ".episodes"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.partial*"):
        leftover.unlink()
    settings = {
        "suite": options.suite, "noise": options.noise, "variety": options.variety, "seed": options.seed,
        "expert": expert_version(),
    }
    settings_path, failed_path = folder / "settings.json", folder / "failed.json"
    if settings_path.exists() and (earlier := json.loads(settings_path.read_text())) != settings:
        if {**earlier, "expert": settings["expert"]} == settings:
            sys.exit(f"Error: {options.out} was recorded by another version of craft's scripted expert; give another --out")
        sys.exit(f"Error: {options.out} was recorded with {earlier}, now asked for {settings}; give another --out")
    write_json(settings_path, settings)
    failed = json.loads(failed_path.read_text()) if failed_path.exists() else {}

    wanted = jobs(options)
    missing = [job for job in wanted if not job.path(options).exists() and job.name not in failed]
    print(f"{len(wanted)} episodes wanted, {len(wanted) - len(missing)} done before, {len(missing)} to run")
    if not missing:
        return DONE
    started, done, core_seconds, lost = time.monotonic(), 0, 0.0, 0
    outcomes = pool.run(missing, recorder, (options,), options.processes)
    try:
        for job, result, death in outcomes:
            done += 1
            if death:
                lost += 1
                text = f"not recorded: {death}, twice"
            else:
                problem, steps, seconds = result
                core_seconds += seconds
                if problem:
                    failed[job.name] = problem
                    write_json(failed_path, failed)
                text = f"{problem or f'success, {steps} steps'} ({seconds:.0f} CPU-s)"
            left = (time.monotonic() - started) / done * (len(missing) - done)
            print(f"[{done}/{len(missing)}] {job}: {text}; {duration(left)} left", flush=True)
    except KeyboardInterrupt:
        outcomes.close()
        print(f"\nstopped after {done} of {len(missing)} episodes; the same command goes on from here", flush=True)
        return INTERRUPTED
    except pool.WorkersDie as error:
        print(f"Error: {error}; {done} of {len(missing)} episodes were done, and the same command goes on from here",
              file=sys.stderr, flush=True)
        return FAILED
    hours = (time.monotonic() - started) / 3600
    failures = sum(job.name in failed for job in wanted)
    print(f"{core_seconds / done:.1f} CPU-s per episode, {done / hours:.0f} episodes per hour; failed: {failures} of {len(wanted)}")
    if lost:
        print(f"not recorded: {lost}, whose worker processes ended; the same command tries them again", flush=True)
    return INCOMPLETE if lost else DONE


def refuse_unknown_tasks(suite, tasks):
    """Ends with a sentence per task that the expert cannot do, before anything is recorded."""
    from goals import goals_of, refusal

    refused = {index: reason for index in tasks if (reason := refusal(goals_of(suite, index)))}
    if refused:
        lines = [f"{suite} task {index}: {reason}" for index, reason in refused.items()]
        possible = ",".join(str(index) for index in tasks if index not in refused)
        hint = f"; the others of these tasks can be recorded with --tasks {possible}" if possible else ""
        sys.exit("Error: " + "\n       ".join(lines) + hint)


def indices(text):
    return [int(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=SUITES, required=True)
    parser.add_argument("--tasks", type=indices, required=True)
    parser.add_argument("--episodes", type=int, required=True, help="init states tried per task")
    parser.add_argument("--first-init", type=int, default=0)
    parser.add_argument("--takes", type=int, default=1, help="episodes per init state")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--variety", type=float, default=0.0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.first_init < 0 or options.episodes < 1 or options.first_init + options.episodes > INIT_STATES:
        parser.error(f"a task has init states 0 to {INIT_STATES - 1}")
    # SIGTERM as Ctrl-C: what is done stays, workers end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parent.watch()

    refuse_unknown_tasks(options.suite, options.tasks)
    code = record(options)
    # The main process may be stopped while it writes: the data set appears by rename.
    episodes = sorted((options.out / ".episodes").glob("*.npz"))
    if episodes:
        folder = write_rlds.write(episodes, options.out, f"{options.suite}_no_noops")
        print(f"{folder}: {len(episodes)} episodes")
    elif code == DONE:
        sys.exit("Error: no episode succeeded; see .episodes/failed.json")
    sys.exit(code)


if __name__ == "__main__":
    main()
