"""Records the scripted expert's successful episodes and writes them as an RLDS data set.

    python record.py --suite libero_spatial --tasks 0,3 --episodes 20 --out DIR

Each finished episode is one file in DIR/.episodes; the same command goes on where an earlier one ended. Episodes that
fail are listed in DIR/.episodes/failed.json and not tried again. The data set is written when all are done, and after
Ctrl-C from what there is: DIR/<suite>_no_noops/1.0.0.
"""
import argparse
import io
import json
import multiprocessing
import os
import pathlib
import queue
import signal
import sys
import time

import numpy as np

import parent
import write_rlds

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
INIT_STATES = 50
JPEG_QUALITY = 95  # tf.io.encode_jpeg's default, which wrote the published sets
STEADY_PHASES = ("descend", "close", "lower", "release", "pull", "push", "turn")


class Disturbance:
    """What is done to the arm besides the expert's commands; the recorded actions stay the expert's own.

    noise: standard deviation, in units of the action, of Gaussian noise on the executed translation; a third of it where
    the expert needs precision. variety, from 0 to 1: the episode starts up to 8 cm beside and 4 cm above the usual pose,
    and a push of 6 steps comes while the arm approaches or carries.
    """

    def __init__(self, noise, variety, random):
        self.noise, self.random = noise, random
        self.start = random.uniform([-0.08, -0.08, 0.0], [0.08, 0.08, 0.04]) * variety
        direction = random.normal(size=3) * [1, 1, 0.4]
        self.push = direction / np.linalg.norm(direction) * 0.7 * variety
        self.push_starts = int(random.integers(8, 60))
        self.push_ends = self.push_starts + 6

    def executed(self, action, step, phase):
        action = action.copy()
        if self.noise:
            scale = self.noise / 3 if phase in STEADY_PHASES else self.noise
            action[:3] += self.random.normal(0, scale, 3)
        if self.push_starts <= step < self.push_ends and phase in ("approach", "carry"):
            action[:3] += self.push
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
    # The steps after success let the gripper open and leave; the simulator's check must still hold then.
    while steps < task.step_limit and after_success < 4:
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


def work(jobs, results, options):
    """A worker process: keeps one task's environment and runs the episodes it is given."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from environment import Task

    task = task_index = None
    while (job := jobs.get()) is not None:
        index, init = job
        started = time.process_time()
        problem, steps = None, 0
        try:
            if index != task_index:
                if task is not None:
                    task.close()
                task_index, task = index, Task(options.suite, index)
            random = np.random.default_rng([options.seed, index, init])
            success, episode, steps = run_episode(task, init, options.noise, options.variety, random)
            if success:
                write_rlds.save_episode(episode_path(options, index, init), episode)
            else:
                problem = f"the goal was not reached in {steps} steps"
        except Exception as error:
            problem, task_index = f"{type(error).__name__}: {error}", None
        results.put((index, init, problem, steps, time.process_time() - started))
    # Without the interpreter's clean-up, where EGL's destructors print tracebacks about a display already gone.
    results.close()
    results.join_thread()
    os._exit(0)


def episode_path(options, index, init):
    return options.out / ".episodes" / f"{options.suite}_{index:02d}_{init:02d}.npz"


def write_json(path, value):
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(temporary, path)


def duration(seconds):
    minutes = int(seconds / 60 + 0.5)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def record(options):
    """Runs what is missing. Returns False when it was interrupted."""
    folder = options.out / ".episodes"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.partial*"):
        leftover.unlink()
    settings = {"suite": options.suite, "noise": options.noise, "variety": options.variety, "seed": options.seed}
    settings_path, failed_path = folder / "settings.json", folder / "failed.json"
    if settings_path.exists() and (earlier := json.loads(settings_path.read_text())) != settings:
        sys.exit(f"Error: {options.out} was recorded with {earlier}, now asked for {settings}; give another --out")
    write_json(settings_path, settings)
    failed = json.loads(failed_path.read_text()) if failed_path.exists() else {}

    inits = range(options.first_init, options.first_init + options.episodes)
    # Five init states of each task in turn: a recording that is stopped holds something of every task.
    wanted = sorted(
        ((index, init) for index in options.tasks for init in inits),
        key=lambda job: ((job[1] - options.first_init) // 5, options.tasks.index(job[0]), job[1]))
    missing = [
        (index, init) for index, init in wanted
        if not episode_path(options, index, init).exists() and f"{index}/{init}" not in failed
    ]
    print(f"{len(wanted)} episodes wanted, {len(wanted) - len(missing)} done before, {len(missing)} to run")
    if not missing:
        return True
    context = multiprocessing.get_context("spawn")
    jobs, results = context.Queue(), context.Queue()
    count = min(options.processes, len(missing))
    for job in missing + [None] * count:
        jobs.put(job)
    workers = [context.Process(target=work, args=(jobs, results, options), daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    started, done, core_seconds = time.monotonic(), 0, 0.0
    try:
        while done < len(missing):
            try:
                index, init, problem, steps, seconds = results.get(timeout=2)
            except queue.Empty:
                if not any(worker.is_alive() for worker in workers):
                    sys.exit(f"Error: all worker processes ended (exit code {workers[0].exitcode}); {done} episodes were done")
                continue
            done, core_seconds = done + 1, core_seconds + seconds
            if problem:
                failed[f"{index}/{init}"] = problem
                write_json(failed_path, failed)
            left = (time.monotonic() - started) / done * (len(missing) - done)
            print(
                f"[{done}/{len(missing)}] task {index} init {init}: {problem or f'success, {steps} steps'}"
                f" ({seconds:.0f} CPU-s); {duration(left)} left", flush=True)
    except KeyboardInterrupt:
        for worker in workers:
            worker.terminate()
        print(f"\nstopped after {done} of {len(missing)} episodes; the same command goes on from here", flush=True)
        return False
    for worker in workers:
        worker.join()
    hours = (time.monotonic() - started) / 3600
    failures = sum(f"{index}/{init}" in failed for index, init in wanted)
    print(f"{core_seconds / done:.1f} CPU-s per episode, {done / hours:.0f} episodes per hour; failed: {failures} of {len(wanted)}")
    return True


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
    finished = record(options)
    # The main process may be stopped while it writes: the data set appears by rename.
    episodes = sorted((options.out / ".episodes").glob("*.npz"))
    if episodes:
        folder = write_rlds.write(episodes, options.out, f"{options.suite}_no_noops")
        print(f"{folder}: {len(episodes)} episodes")
    elif finished:
        sys.exit("Error: no episode succeeded; see .episodes/failed.json")
    sys.exit(0 if finished else 130)


if __name__ == "__main__":
    main()
