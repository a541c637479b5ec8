"""What a recording does to the arm besides the expert's commands."""
import numpy as np

SIDE_PUSH_CHANCE = 0.15  # of another one, per step of descending
LATEST_CLOSING = 16  # steps
STEADY_PHASES = ("reach", "close", "lower", "release", "pull", "push", "turn")


class Disturbance:
    """The disturbance of one episode; the recorded actions stay the expert's own.

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
