"""Records the scripted expert's successful episodes and writes them as an RLDS data set.

    python record.py --suite libero_spatial --tasks 0,3 --episodes 20 --out DIR

Each finished episode is one file in DIR/.episodes; the same command goes on where an earlier one ended. Episodes that
fail are listed in DIR/.episodes/failed.json and not tried again. The data set is written when all are done, and after
Ctrl-C from what there is: DIR/<suite>_no_noops/1.0.0.
"""
import argparse
import hashlib
import pathlib
import signal
import sys
import time
import typing

import numpy as np

import parent
import pool
import write_rlds
from files import fail, hold, make_folder, read_object, write_json
from suites import SUITES, check_init_states, indices

EXPERT_MODULES = (
    "disturbance", "environment", "episode", "expert", "fixtures", "goals", "grasps", "motion", "scene", "skills",
)
DONE, INCOMPLETE, FAILED, INTERRUPTED = 0, 1, 2, 130  # exit codes


def recorder(options):
    """For a worker process: gives the function that records one `Job` and returns (problem, steps, CPU-s).

    It keeps one task's environment. `problem` is None for an episode that succeeded and is saved. One that cannot be saved
    gives the error instead: it is not the episode that failed.
    """
    from environment import Task
    from episode import run_episode

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
                try:
                    write_rlds.save_episode(job.path(options), episode)
                except OSError as error:
                    return error
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


def duration(seconds):
    minutes = int(seconds / 60 + 0.5)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def check_settings(options):
    """Ends with a sentence when the folder's episodes were recorded with other settings; writes them down."""
    path = options.out / ".episodes/settings.json"
    settings = {
        "suite": options.suite, "noise": options.noise, "variety": options.variety, "seed": options.seed,
        "expert": expert_version(),
    }
    if path.exists():
        earlier = read_object(
            path, "a recording's settings", "delete it if it was recorded with these options, or give another --out")
        if earlier != settings:
            if {**earlier, "expert": settings["expert"]} == settings:
                fail(f"{options.out} was recorded by another version of craft's scripted expert; give another --out")
            fail(f"{options.out} was recorded with {earlier}, now asked for {settings}; give another --out")
    write_json(path, settings)


def record(options):
    """Runs what is missing; returns an exit code."""
    folder = options.out / ".episodes"
    make_folder(folder, "give another --out")
    for leftover in folder.glob("*.partial*"):
        leftover.unlink()
    check_settings(options)
    failed_path, failed = folder / "failed.json", {}
    if failed_path.exists():
        failed = read_object(failed_path, "the episodes that failed", "delete it, and they are tried again")

    wanted = jobs(options)
    missing = [job for job in wanted if not job.path(options).exists() and job.name not in failed]
    print(f"{len(wanted)} episodes wanted, {len(wanted) - len(missing)} done before, {len(missing)} to run")
    if not missing:
        return DONE
    started, done, core_seconds, lost = time.monotonic(), 0, 0.0, 0
    outcomes = pool.run(missing, recorder, (options,), options.processes)
    try:
        for job, result, death in outcomes:
            if isinstance(result, OSError):
                outcomes.close()
                fail(f"{job.path(options)}: cannot be written: {result.strerror}; {done} of {len(missing)} episodes were "
                     "done, and the same command goes on from here")
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
        fail("\n       ".join(lines) + hint)


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
    check_init_states(parser, options.first_init, options.episodes)
    # SIGTERM as Ctrl-C: what is done stays, workers end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parent.watch()

    refuse_unknown_tasks(options.suite, options.tasks)
    make_folder(options.out, "give another --out")
    lock = hold(options.out / "recording", "give another --out")  # until the process ends
    code = record(options)
    # The main process may be stopped while it writes: the data set appears by rename.
    episodes = write_rlds.saved_episodes(options.out / ".episodes")
    if episodes:
        folder = write_rlds.write(episodes, options.out, f"{options.suite}_no_noops")
        print(f"{folder}: {len(episodes)} episodes")
    elif code == DONE:
        sys.exit("Error: no episode succeeded; see .episodes/failed.json")
    sys.exit(code)


if __name__ == "__main__":
    main()
