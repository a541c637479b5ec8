"""Where and how to take hold of an object with the gripper pointing down. Metres, world frame."""
import dataclasses

import numpy as np

from motion import DOWN
from scene import rotation_z

WIDEST = 0.066  # of the 8 cm that the fingers open
HALF_OPENING = 0.04
FINGERTIP = 0.0125  # beyond the grip site
# Of the grip site, below a deep object's rim and inside it: amid the grasps that hold, not at their edge, as
# `try_expert.py --upwards --outwards` shows.
RIM_DEPTH, RIM_INWARDS = 0.025, 0.010
FLOOR = 0.006  # left under the fingertips
# Weighs the hand's points that other things come near against radians of yaw: it decides where the yaw is the same.
CROWDED, NEAR = 0.0005, 0.06


@dataclasses.dataclass
class Grasp:
    cost: float
    xy: np.ndarray
    yaw: float
    z: float

    @property
    def rotation(self):
        return rotation_z(self.yaw) @ DOWN


def grid(xs, ys, zs):
    return np.array([[x, y, z] for x in xs for y in ys for z in zs])


def finger_points():
    """Points of the open fingers [N, 3] in the hand's frame: the opening's axis, across it, and backwards."""
    opening = HALF_OPENING + np.array([0, 0.008, 0.016])
    return np.concatenate([grid(opening * side, (-0.011, 0, 0.011), (-0.011, 0.0, 0.012, 0.03)) for side in (-1, 1)])


def hand_points():
    """Points of open fingers, hand and wrist, in the same frame."""
    hand = grid(np.linspace(-0.108, 0.108, 28), (-0.034, -0.02, 0, 0.02, 0.034), (0.032, 0.045, 0.06, 0.08, 0.1))
    wrist = grid(np.linspace(-0.06, 0.06, 9), np.linspace(-0.06, 0.06, 9), (0.12, 0.15, 0.18, 0.21))
    return np.concatenate([finger_points(), hand, wrist])


def placed(points, position, rotation):
    """Points of the hand's frame in the world's, for a grip site at `position` with `rotation`."""
    return position + points @ (rotation * [1, 1, -1]).T


def hand_at(xy, z, yaw):
    """Points [N, 3] of open fingers, hand and wrist, pointing down, with the grip site there."""
    return placed(hand_points(), np.array([*xy, z]), rotation_z(yaw) @ DOWN)


class GraspPlanner:
    def __init__(self, scene, base, table):
        """`base`: xy of the robot's base; `table`: height on which things stand."""
        self.scene, self.base, self.table = scene, base, table

    def best(self, name, failed, shift=None):
        """The cheapest grasp of an object that is none of the `failed` ones. `shift`: xy by which it will be carried."""
        candidates = self.across(name)
        if not candidates:
            candidates = self.on_a_part(name) if self.covered(name) else self.by_the_rim(name, shift)
        for candidate in candidates:
            for grasp in failed:
                near = np.linalg.norm(candidate.xy - grasp.xy) < 0.02 and abs(candidate.yaw - grasp.yaw) < 0.2
                candidate.cost += 2.0 * near
        return min(candidates, key=lambda candidate: candidate.cost)

    def blocked(self, xy, z, yaw, name):
        """How much of the open fingers, hand and wrist at a grasp pose would be inside other objects, there or above it."""
        points, obstacles = hand_at(xy, z, yaw), self.scene.obstacles(name)
        boxes = {geom: self.scene.corners(geom) for geom in obstacles}
        overhanging = [
            geom for geom, box in boxes.items()
            if box[:, 2].min() > z and np.all(box.min(0)[:2] < xy + 0.12) and np.all(box.max(0)[:2] > xy - 0.12)
        ]
        heights = (0.05, 0.10) if overhanging else ()
        return max(
            self.scene.inside(points, obstacles),
            *(self.scene.inside(points + [0, 0, height], overhanging) for height in heights), 0)

    def crowded(self, xy, z, yaw, name):
        """How many points of the open fingers, hand and wrist would have other objects near them.

        Whether a grasp is just blocked is decided by millimetres that no camera sees. Demonstrations that take now one,
        now the opposite side of a bowl for such a reason draw a policy trained by L1 to the middle.
        """
        return self.scene.inside(hand_at(xy, z, yaw), self.scene.obstacles(name), margin=NEAR)

    def across(self, name):
        """Across the whole object, where it fits between the fingers."""
        low, high = self.scene.bounds(name)
        height = high[2] - low[2]
        middle = (low[2] + high[2]) / 2
        z = max(middle if height < 0.06 else max(middle, high[2] - 0.035), low[2] + 0.011)
        return self.straddling(name, self.scene.points(name), z)

    def straddling(self, name, points, z):
        """Grasps at height z across `points` [N, 3] of an object, at yaws where these fit between the fingers."""
        centre = (points.min(0) + points.max(0)) / 2
        grasps = []
        for yaw in np.linspace(-np.pi / 2, np.pi / 2, 25):
            across = rotation_z(yaw) @ np.array([0, 1.0, 0])
            along = rotation_z(yaw) @ np.array([1.0, 0, 0])
            width = np.ptp(points @ across)
            if width > WIDEST:
                continue
            middle = ((points @ across).max() + (points @ across).min()) / 2
            for shift in (0.0, 0.018, -0.018):
                if abs(shift) > max(0.0, np.ptp(points @ along) / 2 - 0.012):
                    continue
                xy = centre[:2] + across[:2] * (middle - centre[:2] @ across[:2]) + along[:2] * shift
                cost = abs(yaw) * 0.4 + width * 10 + abs(shift) * 10 + self.blocked(xy, z, yaw, name) * 0.1
                grasps.append(Grasp(cost, xy, yaw, z))
        return grasps

    def covered(self, name):
        """Whether a tall object is closed above its middle, so that it has no rim."""
        low, high = self.scene.bounds(name)
        centre, height = (low + high) / 2, high[2] - low[2]
        boxes = [self.scene.corners(geom) for geom in self.scene.geoms(name)]
        return height > 0.06 and any(
            np.all(box.min(0)[:2] < centre[:2]) and np.all(centre[:2] < box.max(0)[:2])
            and box[:, 2].max() > low[2] + 0.7 * height for box in boxes)

    def on_a_part(self, name):
        """On one collision box of the object that stands free of the others, such as a knob or a handle."""
        geoms = self.scene.geoms(name)
        centre = self.scene.position(name)[:2]
        grasps = []
        for geom in geoms:
            box = self.scene.corners(geom)
            low, high = box.min(0), box.max(0)
            z = high[2] - (0.005 if high[2] - low[2] < 0.04 else 0.02)
            others = [other for other in geoms if other != geom]
            for grasp in self.straddling(name, box, z):
                fingers = placed(finger_points(), np.array([*grasp.xy, z]), grasp.rotation)
                # Off its centre of mass an object tilts in the hand.
                grasp.cost += self.scene.inside(fingers, others, margin=0.0) + 20 * np.linalg.norm(grasp.xy - centre)
                grasps.append(grasp)
        return grasps

    def by_the_rim(self, name, shift):
        """By the rim, for open containers too wide to straddle."""
        for turns in ((0.0,), (0.5, -0.5, 0.9, -0.9)):
            grasps = self.across_the_rim(name, turns, shift)
            if min(blocked for blocked, _ in grasps) == 0:
                break
        return [grasp for _, grasp in grasps]

    def across_the_rim(self, name, turns, shift):
        """Grasps all around the rim with what they are blocked by; `turns`: yaw (radians) away from straight across it."""
        low, high = self.scene.bounds(name)
        points = self.scene.points(name)
        rim = points[points[:, 2] > high[2] - 0.008]  # without a handle lower down
        centre = (rim.min(0) + rim.max(0)) / 2
        radius = np.ptp(rim, axis=0)[:2].mean() / 2
        deep = high[2] - low[2] > 0.03
        z = max(high[2] - RIM_DEPTH, low[2] + FINGERTIP + FLOOR) if deep else high[2] - 0.010
        inwards = RIM_INWARDS if deep else 0.004
        grasps = []
        for angle in np.linspace(-np.pi, np.pi, 24, endpoint=False):
            for turn in turns:
                yaw = angle % np.pi - np.pi / 2 + turn
                xy = centre[:2] + np.array([np.cos(angle), np.sin(angle)]) * (radius - inwards)
                blocked = self.blocked(xy, z, yaw, name)
                cost = abs(yaw) + abs(turn) + blocked * 0.03 + self.crowded(xy, z, yaw, name) * CROWDED
                # Away from a straight elbow, here and where the object is put down.
                for place in (xy,) if shift is None else (xy, xy + shift):
                    cost += 8.0 * max(0.0, np.linalg.norm(place - self.base) - 0.6)
                grasps.append((blocked, Grasp(cost, xy, yaw, z)))
        return grasps
