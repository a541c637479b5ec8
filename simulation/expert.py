"""Scripted expert for LIBERO: reads the goals of a task's BDDL file and reaches them with skills.py.

It reads the simulator's state (scene.py), so it needs no image. `Expert` raises `UnknownSkill` for goals it cannot reach.
"""
import numpy as np

from fixtures import Fixtures
from goals import in_order, refusal
from motion import OPEN
from skills import Skills

ROUNDS = 2  # how often unreached goals are tried


class UnknownSkill(Exception):
    """The task's goal is none that the expert can reach."""


class Expert(Skills):
    """One episode. `act()` gives actions in [-1, 1]; `done` is set when the script has nothing more to do."""

    def __init__(self, env):
        goals = env.env.parsed_problem["goal_state"]
        if reason := refusal(goals):
            raise UnknownSkill(reason)
        super().__init__(env)
        self.goals = in_order(goals)
        self.fixtures = Fixtures(env, self.scene)
        self.done = False
        self.actions = self.script()

    def act(self):
        try:
            return next(self.actions)
        except StopIteration:
            self.done = True
            return np.array([0, 0, 0, 0, 0, 0, OPEN])

    def script(self):
        for _ in range(ROUNDS):
            for goal in self.goals:
                if not self.fixtures.holds(goal):
                    yield from self.reach(goal)

    def reach(self, goal):
        predicate, subject = goal[0], goal[1]
        if predicate in ("on", "in"):
            yield from self.put(subject, goal[2])
        elif predicate == "open":
            yield from self.open(subject)
        elif predicate == "close":
            yield from self.close_drawer(self.fixtures.joint(subject), lambda: self.fixtures.holds(goal))
        elif predicate == "turnon":
            joint = self.fixtures.joint(subject)
            threshold = self.fixtures.threshold(subject, "turnon")
            yield from self.turn_knob(joint, threshold + 0.2 * (joint.end - threshold), lambda: False)

    def open(self, region):
        joint = self.fixtures.joint(region)
        # A little beyond the threshold: drawers spring back when the fingers let go.
        enough = (self.fixtures.threshold(region, "open") + joint.end) / 2
        yield from self.open_drawer(joint, lambda: abs(joint.value) > abs(enough))

    def put(self, item, place):
        scene = self.scene
        if place in scene.bodies:
            if not (yield from self.pick(item, scene.position(place)[:2])):
                return
            low, high = scene.bounds(place)
            top = high[2] if high[2] - low[2] > 0.03 else scene.position(place)[2] + 0.004
            yield from self.place(item, lambda: scene.position(place)[:2], top, drop=0.008)
            return
        joint = self.fixtures.joint(place)
        if joint is not None and not self.fixtures.holds(["open", place]):
            yield from self.open(place)
        if not (yield from self.pick(item)):
            return
        site = scene.site(place)
        middle = self.share_of_region(item, place)

        def centre():
            return scene.data.site_xpos[site][:2] + middle

        if joint is not None:
            yield from self.place_inside(item, centre, joint.points())
        elif "contain_region" in place:
            container = next(name for name in scene.bodies if place.startswith(name))
            yield from self.place_inside(item, centre, scene.points(container))
        else:
            yield from self.place(item, centre, scene.data.site_xpos[site][2], drop=0.01)

    def place_inside(self, item, xy, container):
        """Lowers the item into a container, given by its points [N, 3], no deeper than keeps the hand above its rim."""
        low, high = container[:, 2].min(), container[:, 2].max()
        position, _ = self.scene.gripper()
        hang = position[2] - self.scene.bounds(item)[0][2]
        top = max(low + 0.01, high - 0.015 - hang)
        yield from self.place(item, xy, top, extra=0.03, clear=high)

    def share_of_region(self, item, place):
        """Offset [2] from the region's middle: items of one region stand side by side, in the direction they are thin."""
        items = [goal[1] for goal in self.goals if goal[0] == "on" and goal[2] == place]
        if len(items) < 2:
            return np.zeros(2)
        low, high = self.scene.bounds(item)
        axis = int(np.argmin((high - low)[:2]))
        offset = np.zeros(2)
        offset[axis] = (items.index(item) - (len(items) - 1) / 2) * ((high - low)[axis] + 0.01)
        return offset
