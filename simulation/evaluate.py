"""Evaluates a policy server by the official LIBERO protocol and prints success rates.

    python evaluate.py --suite libero_spatial --tasks 0,8 --trials 20 --address ws://127.0.0.1:8000 --out results.json

Trial k of a task starts from its init state FIRST_INIT + k. The file is written after every episode, and the same
command goes on where an earlier one ended. Pictures are rendered once per action chunk.
"""
import argparse
import hashlib
import math
import os
import pathlib
import signal
import sys
import time

import parent
import pool
from files import fail, hold, make_folder, read_object, write_json
from suites import SUITES, check_init_states, indices

STEP_SECONDS = 0.05
UNASKED = object()  # stands for what only the server knows
SIMULATOR = ("environment", "episode", "evaluate", "suites")  # the modules that decide what an episode is
EPISODE = {"task", "instruction", "init", "success"}  # what every episode in the results has


def wilson(successes, trials, z=1.959964):
    """The 95 % interval of a rate (Wilson 1927)."""
    rate, spread = successes / trials, z * z / trials
    centre = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(rate * (1 - rate) / trials + spread / trials / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def run_episode(task, init, policy, execute, frames):
    """Returns (success, steps). `execute`: actions of a chunk that are executed; None for all."""
    import numpy as np

    from environment import state

    observation, steps = task.reset(init), 0
    while steps < task.step_limit:
        image, wrist_image = task.images()
        if frames is not None:
            frames.append(np.concatenate([image, wrist_image], axis=1))
        for action in policy.actions(image, wrist_image, state(observation), task.instruction)[:execute]:
            observation, _, done, _ = task.env.step(np.clip(action, -1, 1))
            steps += 1
            if done:
                if frames is not None:
                    frames.append(np.concatenate(task.images(), axis=1))
                return True, steps
            if steps == task.step_limit:
                break
    return False, steps


def save_video(path, frames, steps):
    """An animated GIF of main and wrist camera, one picture per action chunk, played at the robot's speed."""
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    milliseconds = int(1000 * STEP_SECONDS * steps / len(pictures))
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)


def summary(episodes):
    """Success per task and overall, from the list of episodes."""
    tasks = []
    for index in sorted({episode["task"] for episode in episodes}):
        own = [episode for episode in episodes if episode["task"] == index]
        successes = sum(episode["success"] for episode in own)
        tasks.append({
            "task": index, "instruction": own[0]["instruction"], "successes": successes, "trials": len(own),
            "rate": successes / len(own), "wilson_95": wilson(successes, len(own)),
        })
    successes = sum(task["successes"] for task in tasks)
    return {
        "successes": successes, "trials": len(episodes), "rate": successes / len(episodes),
        "wilson_95": wilson(successes, len(episodes)), "tasks": tasks,
    }


def simulator_version():
    """Changes with what decides how an episode goes: results of two are not to be mixed."""
    folder = pathlib.Path(__file__).parent
    files = [folder / f"{name}.py" for name in SIMULATOR] + [folder / "requirements.txt"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files if file.exists())).hexdigest()[:12]


def served_identity(options):
    """What tells the policy from others: the server's word, else --identity; None when neither says."""
    from openpi import PolicyClient

    return PolicyClient(options.address, options.limit).identity or options.identity


def earlier_episodes(path, settings):
    """The episodes of the results file, which is to be one with these settings; none when there is no file."""
    if not os.path.exists(path):
        return []
    expected, remedy = "results of an earlier evaluation", "give another --out"
    earlier = read_object(path, expected, remedy)
    episodes = earlier.get("episodes")
    if not isinstance(episodes, list) or not all(isinstance(e, dict) and EPISODE <= e.keys() for e in episodes):
        fail(f"{path}: expected {expected}, found no list of 'episodes' with {', '.join(sorted(EPISODE))}; {remedy}")
    for name, value in settings.items():
        if value is not UNASKED and earlier.get(name) != value:
            fail(f"{path} is of {name} {earlier.get(name)!r}, not {value!r}; {remedy}")
    if episodes and settings["identity"] is None:
        fail(
            f"{path} has episodes of a policy at {settings['policy']}, and the server does not say whether it serves the same: "
            f"{remedy}, or name the policy with --identity")
    return episodes


def report(result):
    for row in [*result["tasks"], {**result, "instruction": "all tasks", "task": ""}]:
        low, high = row["wilson_95"]
        print(
            f"{row['task']!s:>3} {row['successes']:3d}/{row['trials']:<3d} {100 * row['rate']:5.1f} % "
            f"[{100 * low:.1f}, {100 * high:.1f}]  {row['instruction']}")
    print(f"Overall success rate: {result['rate']:.4f} ({100 * result['rate']:.1f}%)", flush=True)


class PolicyFailed(Exception):
    """The server is at fault, not the policy: no episode is counted."""


def is_physics(error):
    """Whether MuJoCo gave up on a state: numbers that grew beyond bounds."""
    return "mujoco" in type(error).__name__.lower() or any(
        text in str(error) for text in ("QACC", "QPOS", "QVEL", "Nan, Inf or huge value"))


def evaluator(options):
    """For a worker process: gives the function from (task, init state) to the episode's entry in the results.

    An entry with "fatal" is not a result: the server does not answer as it should, or the simulator fails for reasons of its own.
    """
    from environment import Task
    from openpi import PolicyClient, PolicyError

    policy = task = current = None

    def attempt(index, init, frames):
        nonlocal policy, task, current
        if policy is None:
            policy = PolicyClient(options.address, options.limit)
            found = policy.identity or options.identity
            if found != options.known_identity:
                raise PolicyError(f"{options.address} serves another policy now ({found}, at first {options.known_identity})")
        if current != index:
            if task is not None:
                task.close()
            current = None
            task, current = Task(options.suite, index), index
        return run_episode(task, init, policy, options.execute, frames)

    def perform(job):
        nonlocal policy, task, current
        index, init = job
        frames = [] if options.video else None
        begun, problem = time.monotonic(), None
        for retries in (1, 0):
            try:
                success, steps = attempt(index, init, frames)
                break
            except PolicyError as error:
                policy = None
                return {"fatal": str(error)}
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                # The official evaluation counts a simulation that the policy's actions broke as a failure.
                if current == index and is_physics(error):
                    success, steps = False, 0
                    break
                if not retries:
                    return {"fatal": f"{options.suite} task {index} init {init}: the simulator failed twice: {problem}"}
                # A renderer without memory, for instance: nothing that the policy did. Once more, from the start.
                problem, task, current = None, None, None
                if frames:
                    frames.clear()
        seconds = time.monotonic() - begun
        if frames:
            name = f"{options.suite}_{index:02d}_{init:02d}_{'success' if success else 'failure'}.gif"
            try:
                save_video(options.video / name, frames, max(1, steps))
            except Exception as error:  # the episode counts without it
                print(f"{options.video / name}: the video cannot be written: {error}", file=sys.stderr, flush=True)
        return {
            "task": index, "instruction": task.instruction, "init": init, "success": success, "steps": steps,
            "seconds": round(seconds, 1), **({"error": problem} if problem else {}),
        }

    return perform


def evaluate(options, episodes, settings):
    """Runs what is missing and adds it to `episodes` and to the file."""
    wanted = [(index, options.first_init + trial) for index in options.tasks for trial in range(options.trials)]
    finished = {(episode["task"], episode["init"]) for episode in episodes}
    missing = [job for job in wanted if job not in finished]
    print(f"{len(wanted)} episodes wanted, {len(wanted) - len(missing)} done before", flush=True)
    started = time.monotonic()
    for count, (job, episode, death) in enumerate(pool.run(missing, evaluator, (options,), options.processes), 1):
        if death or "fatal" in episode:
            raise PolicyFailed(f"task {job[0]} init {job[1]}: {death}, twice" if death else episode["fatal"])
        episodes.append(episode)
        episodes.sort(key=lambda episode: (episode["task"], episode["init"]))
        write_json(options.out, {**settings, "overall": summary(episodes), "episodes": episodes})
        so_far = summary(episodes)
        left = (time.monotonic() - started) / count * (len(missing) - count) / 60
        print(
            f"[{count}/{len(missing)}] task {job[0]} init {job[1]}:"
            f" {episode.get('error') or ('success' if episode['success'] else 'failure')},"
            f" {episode['steps']} steps, {episode['seconds']:.0f} s; so far {so_far['successes']}/{so_far['trials']};"
            f" {left:.0f} min left", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=SUITES, required=True)
    parser.add_argument("--tasks", type=indices, required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--first-init", type=int, default=0)
    parser.add_argument("--address", required=True)
    parser.add_argument("--processes", type=int, default=1, help="episodes at a time")
    parser.add_argument("--policy", default="", help="name of the policy, kept in the file")
    parser.add_argument("--identity", help="tells the policy from others, where the server does not")
    parser.add_argument("--limit", type=float, default=120, help="seconds that an answer of the server may take")
    parser.add_argument("--execute", type=int, help="actions executed of each chunk; default all")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--video", type=pathlib.Path)
    options = parser.parse_args()
    check_init_states(parser, options.first_init, options.trials)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parent.watch()

    make_folder(options.out.parent, "give another --out")
    if options.video:
        make_folder(options.video, "give another --video")
    lock = hold(options.out, "give another --out")  # until the process ends
    settings = {
        "suite": options.suite, "policy": options.policy or options.address, "execute": options.execute,
        "simulator": simulator_version(),
    }
    # What needs no server is found before one is asked.
    earlier_episodes(options.out, {**settings, "identity": UNASKED})
    try:
        options.known_identity = settings["identity"] = served_identity(options)
    except Exception as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    episodes = earlier_episodes(options.out, settings)
    code = 0
    try:
        evaluate(options, episodes, settings)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", flush=True)
        code = 130
    except Exception as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        code = 2
    wanted = range(options.first_init, options.first_init + options.trials)
    if counted := [e for e in episodes if e["task"] in options.tasks and e["init"] in wanted]:
        report(summary(counted))
    sys.stdout.flush()
    os._exit(code)  # EGL's destructors print tracebacks at an ordinary exit


if __name__ == "__main__":
    main()
