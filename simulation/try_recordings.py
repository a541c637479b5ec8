"""Whether recordings show enough: trains a small network on the arm's state and the task's number, and drives the arm with it.

    python try_recordings.py --suite libero_spatial --tasks 3,7 --recordings DIR --episodes 10 --first-init 30

No pictures and no craft: minutes instead of hours. A set of recordings from which this network cannot do a task, where the
state suffices for it, will hardly teach a policy to; that it can is not promised. Run with the simulator's Python
(~/.cache/craft/simulation/venv/bin/python).
"""
import argparse
import os
import pathlib

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the products are too small for two

import numpy as np

from files import fail
from suites import SUITES, check_init_states, indices
from write_rlds import load_episode, saved_episodes

CHUNK = 8  # actions, as craft's policies give them
WIDTH = 256
BANDWIDTH = 6  # factor on the first layer's first values, as craft's --proprio-bandwidth
LEARNING_RATE = 1e-3
ADAM = (0.9, 0.999, 1e-8)


def samples(folder, suite, tasks):
    """Inputs [N, 8 + tasks] and action chunks [N, CHUNK * 7] of the recorded episodes of these tasks, float32."""
    inputs, chunks = [], []
    for number, task in enumerate(tasks):
        paths = saved_episodes(folder / ".episodes", f"{suite}_{task:02d}_")
        if not paths:
            fail(f"{folder} has no recorded episode of {suite} task {task} (none in {folder / '.episodes'})")
        print(f"task {task}: {len(paths)} episodes")
        for path in paths:
            episode = load_episode(path)
            state, action = episode["state"], episode["action"]
            for step in range(len(action) - CHUNK + 1):
                inputs.append(np.append(state[step], np.eye(len(tasks))[number]))
                chunks.append(action[step:step + CHUNK].ravel())
    return np.array(inputs, np.float32), np.array(chunks, np.float32)


class Network:
    """Two hidden layers with ReLU; L1 loss. State is scaled so that its 1st and 99th percentile are -1 and 1."""

    def __init__(self, inputs, chunks, random):
        low, high = np.quantile(inputs, [0.01, 0.99], axis=0)
        low[8:], high[8:] = 0, 1
        self.middle, self.half = np.float32((low + high) / 2), np.float32((high - low) / 2 + 1e-6)
        widths = [inputs.shape[1], WIDTH, WIDTH, chunks.shape[1]]
        self.parameters = []
        for ins, outs in zip(widths, widths[1:]):
            bound = ins ** -0.5  # torch.nn.Linear's
            for shape in ((ins, outs), outs):
                self.parameters.append(random.uniform(-bound, bound, shape).astype(np.float32))
        self.parameters[0] *= BANDWIDTH
        self.parameters[1] *= BANDWIDTH
        self.moments = [(np.zeros_like(value), np.zeros_like(value)) for value in self.parameters]

    def layers(self, inputs):
        """The inputs of the three layers and the output."""
        values = [(inputs - self.middle) / self.half]
        for layer in range(3):
            out = values[-1] @ self.parameters[2 * layer] + self.parameters[2 * layer + 1]
            values.append(np.maximum(out, 0) if layer < 2 else out)
        return values

    def __call__(self, inputs):
        return self.layers(inputs)[-1]

    def gradients(self, inputs, chunks):
        values = self.layers(inputs)
        slope = np.sign(values[-1] - chunks) / np.float32(chunks.size)
        gradients = [None] * 6
        for layer in (2, 1, 0):
            gradients[2 * layer] = values[layer].T @ slope
            gradients[2 * layer + 1] = slope.sum(0)
            slope = slope @ self.parameters[2 * layer].T * (values[layer] > 0)
        return gradients

    def step(self, inputs, chunks, number, rate):
        """One step of Adam (Kingma and Ba 2015); `number` counts from 1."""
        first, second, small = ADAM
        for parameter, gradient, (mean, square) in zip(self.parameters, self.gradients(inputs, chunks), self.moments):
            mean += (1 - first) * (gradient - mean)
            square += (1 - second) * (gradient ** 2 - square)
            unbiased = square / (1 - second ** number)
            parameter -= rate * mean / (1 - first ** number) / (np.sqrt(unbiased) + small)

    def train(self, inputs, chunks, steps, batch, random):
        for number in range(1, steps + 1):
            rows = random.integers(0, len(inputs), batch)
            self.step(inputs[rows], chunks[rows], number, LEARNING_RATE * (1 + np.cos(np.pi * number / steps)) / 2)


def drive(network, task, one_hot, init, execute):
    """Returns (success, steps)."""
    from environment import state

    observation, steps = task.reset(init), 0
    while steps < task.step_limit:
        actions = network(np.append(state(observation), one_hot)).reshape(CHUNK, 7)
        for action in actions[:execute]:
            observation, _, done, _ = task.env.step(np.clip(action, -1, 1))
            steps += 1
            if done or steps == task.step_limit:
                return bool(done), steps
    return False, steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=SUITES, required=True)
    parser.add_argument("--tasks", type=indices, required=True)
    parser.add_argument("--recordings", type=pathlib.Path, required=True, help="the folder record.py was given as --out")
    parser.add_argument("--episodes", type=int, default=10, help="init states tried per task")
    parser.add_argument("--first-init", type=int, default=30)
    parser.add_argument("--execute", type=int, default=3, help="actions of a chunk executed before the next one is asked for")
    parser.add_argument("--steps", type=int, default=8000, help="of training")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    check_init_states(parser, options.first_init, options.episodes)
    if not 1 <= options.execute <= CHUNK:
        parser.error(f"--execute is from 1 to {CHUNK}")
    if options.steps < 1 or options.batch_size < 1:
        parser.error("--steps and --batch-size are at least 1")
    if len(set(options.tasks)) != len(options.tasks):
        parser.error("a task is named twice")

    inputs, chunks = samples(options.recordings, options.suite, options.tasks)
    random = np.random.default_rng(options.seed)
    network = Network(inputs, chunks, random)
    network.train(inputs, chunks, options.steps, options.batch_size, random)
    print(f"L1 on the {len(inputs)} samples: {np.abs(network(inputs) - chunks).mean():.3f}", flush=True)

    from environment import Task

    rows = []
    for index, one_hot in zip(options.tasks, np.eye(len(options.tasks))):
        task, successes = Task(options.suite, index), 0
        for init in range(options.first_init, options.first_init + options.episodes):
            success, steps = drive(network, task, one_hot, init, options.execute)
            successes += success
            print(f"task {index} init {init}: {'success' if success else 'failure'}, {steps} steps", flush=True)
        rows.append(f"| {index} | {task.instruction} | {successes}/{options.episodes} |")
        task.close()
    print("| task | instruction | success |\n|---|---|---|\n" + "\n".join(rows))


if __name__ == "__main__":
    main()
