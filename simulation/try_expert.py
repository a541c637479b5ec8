"""Success rates of the scripted expert, without recording and without rendering.

    python try_expert.py --suite libero_goal --tasks 0,7 --episodes 2

One line per episode (success, steps, CPU-seconds), then a table per task. Run with the simulator's Python
(~/.cache/craft/simulation/venv/bin/python). How far off a policy's grasp may be shows `--outwards` and `--upwards`: a
demonstrated grasp that fails with a few millimetres of them is one at the edge of those that hold.
"""
import argparse
import dataclasses
import time

import numpy as np

from suites import SUITES, check_init_states, indices


def move_grasps(expert, outwards, upwards):
    """Moves every planned grasp by metres, away from the object's position and up."""
    planned = expert.planner.best

    def best(name, failed, shift=None):
        grasp = planned(name, failed, shift)
        away = grasp.xy - expert.scene.position(name)[:2]
        length = np.linalg.norm(away)
        sideways = outwards * away / length if length > 0 else np.zeros(2)
        return dataclasses.replace(grasp, xy=grasp.xy + sideways, z=grasp.z + upwards)

    expert.planner.best = best


def run(task, init, options):
    """Returns (success, steps); stops as a recorded episode does."""
    from episode import AFTER_SUCCESS
    from expert import Expert

    task.reset(init)
    expert = Expert(task.env)
    move_grasps(expert, options.outwards / 1000, options.upwards / 1000)
    steps, after_success, phase = 0, 0, None
    while steps < task.step_limit and after_success < AFTER_SUCCESS:
        action = expert.act()
        if expert.done:
            break
        if options.verbose and expert.phase != phase:
            phase = expert.phase
            print(f"    {steps:3d} {phase}, gripper at {expert.scene.gripper()[0].round(3)}", flush=True)
        _, _, done, _ = task.env.step(action)
        steps += 1
        after_success += bool(done)
    return bool(task.env.check_success()), steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=SUITES, required=True)
    parser.add_argument("--tasks", type=indices, default=list(range(10)))
    parser.add_argument("--episodes", type=int, default=1, help="init states tried per task")
    parser.add_argument("--first-init", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print the phases of each episode")
    parser.add_argument("--outwards", type=float, default=0, help="millimetres by which grasps are moved away from the object's middle")
    parser.add_argument("--upwards", type=float, default=0, help="millimetres by which grasps are moved up")
    options = parser.parse_args()
    check_init_states(parser, options.first_init, options.episodes)
    from environment import Task
    from expert import UnknownSkill

    rows = []
    for index in options.tasks:
        task = Task(options.suite, index)
        results = []
        for init in range(options.first_init, options.first_init + options.episodes):
            started = time.process_time()
            try:
                success, steps = run(task, init, options)
            except UnknownSkill as problem:
                print(f"task {index}: refused: {problem}", flush=True)
                break
            seconds = time.process_time() - started
            results.append((success, steps))
            print(f"task {index} init {init}: {'success' if success else 'failure'}, {steps} steps, {seconds:.1f} CPU-s", flush=True)
        steps = [steps for success, steps in results if success]
        spread = f"{min(steps)}-{max(steps)}" if steps else "-"
        rows.append(f"| {index} | {task.instruction} | {len(steps)}/{len(results)} | {spread} |")
        task.close()
    print("| task | instruction | success | steps |\n|---|---|---|---|\n" + "\n".join(rows))


if __name__ == "__main__":
    main()
