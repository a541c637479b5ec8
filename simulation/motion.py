"""Closed-loop motion of the gripper with LIBERO's stock OSC_POSE controller, 7-D delta actions in [-1, 1]."""
import numpy as np

from scene import Scene, rotation_about, rotation_vector, rotation_z

# Grip site's frame with the gripper straight down at zero yaw: the fingers open along world y.
DOWN = np.array([[0, 1.0, 0], [1, 0, 0], [0, 0, -1]])
METRES_PER_UNIT = 0.05  # OSC_POSE output_max
RADIANS_PER_UNIT = 0.5
GAIN = 2.0  # of the commands: with 1, the arm all but stops a centimetre before its target, and a policy learns to wait there
# Metres beside the line above a target, from where on an aligned motion goes down at the slowest share of its speed. It does
# not stop: where the elbow is straight, only lower down can the arm reach farther.
ALIGNED, SLOWEST = 0.03, 0.25
OPEN, CLOSE = -1.0, 1.0
CLOSING = 0.072  # metres between the fingers, of 0.08: they have begun to close
UP = np.array([0, 0, 1.0])
ANY_ANGLE = 9.0


def leaning(forward, lean, fingers_across):
    """Gripper rotation [3, 3] that points down (lean 0) to along `forward` (lean pi/2), a horizontal unit vector.

    The fingers open in the vertical plane of `forward`, or with `fingers_across` horizontally, at a right angle to it. Of
    the two hand poses, half a turn apart, that do this, it takes the one with the smaller yaw.
    """
    yaw = np.arctan2(forward[1], forward[0]) - (0 if fingers_across else np.pi / 2)
    yaw = (yaw + np.pi / 2 - 1e-6) % np.pi - np.pi / 2 + 1e-6
    return rotation_about(np.cross(forward, UP), lean) @ rotation_z(yaw) @ DOWN


def limited(move, limit):
    """`move` shortened so that no component is beyond `limit`, its direction kept."""
    largest = np.max(np.abs(move))
    return move * (limit / largest) if largest > limit else move


class Motion:
    """Generators of actions. `phase` names what is being done, for the recorder."""

    def __init__(self, env):
        self.scene = Scene(env)
        self.phase = "approach"

    def command(self, target, rotation, grip, speed, aligned=False):
        """The action [7] towards a grip site position (metres) and rotation.

        Straight to it; or `aligned`, so that it gets over or under the target before it is there: the farther it is from
        that, the slower it goes up or down. On a straight line down, the last centimetre sideways is a few hundredths of
        the action all the way, less than a policy's error.
        """
        position, current = self.scene.gripper()
        move = GAIN * (target - position) / METRES_PER_UNIT
        if aligned:
            sideways = np.linalg.norm((target - position)[:2])
            downwards = speed * max(SLOWEST, 1 - sideways / ALIGNED)
            move = np.concatenate([limited(move[:2], speed), limited(move[2:], downwards)])
        else:
            move = limited(move, speed)
        turn = np.clip(GAIN * rotation_vector(rotation @ current.T) / RADIANS_PER_UNIT, -0.4, 0.4)
        return np.clip(np.concatenate([move, turn, [grip]]), -1, 1)

    def go_to(
        self, target, rotation, grip, tolerance=0.008, limit=60, speed=1.0, angle_tolerance=0.12, aligned=False,
        until=lambda: False
    ):
        """Ends at `target`, when `until()` holds, when the arm stalls, or after `limit` steps.

        `target` is a point (metres) or a function that gives one, asked again every step; `speed` is in units of the action;
        `aligned` as in `command`.
        """
        aim = target if callable(target) else (lambda: target)
        trail = []
        for _ in range(limit):
            if until():
                return
            goal = aim()
            position, current = self.scene.gripper()
            error = np.linalg.norm(rotation_vector(rotation @ current.T))
            trail.append((position, error))
            if len(trail) > 14:  # stalled: joint limit or contact
                earlier, earlier_error = trail[-14]
                if np.linalg.norm(position - earlier) < 0.002 and abs(error - earlier_error) < 0.02:
                    return
            if np.linalg.norm(goal - position) < tolerance and error < angle_tolerance:
                return
            yield self.command(goal, rotation, grip, speed, aligned)

    def hold(self, rotation, grip, steps):
        position, _ = self.scene.gripper()
        for _ in range(steps):
            yield self.command(position, rotation, grip, 1.0)

    def grip(self, rotation, still=3, limit=25):
        """Closes the fingers here, until they have moved and then not for `still` steps."""
        position, _ = self.scene.gripper()
        opening, unmoved = self.scene.opening(), 0
        for _ in range(limit):
            yield self.command(position, rotation, CLOSE, 1.0)
            before, opening = opening, self.scene.opening()
            unmoved = unmoved + 1 if opening < CLOSING and abs(before - opening) < 0.0005 else 0
            if unmoved == still:
                return

    def travel(self, target, rotation, grip, clearance=0.05):
        """Over everything between here and `target`, turning on the way, then straight down to it."""
        position, _ = self.scene.gripper()
        height = max(target[2], position[2], self.scene.top_between(position, target, None) + clearance)
        if height > position[2] + 0.02:
            raised = np.array([*position[:2], height])
            yield from self.go_to(raised, rotation, grip, tolerance=0.03, angle_tolerance=ANY_ANGLE, limit=25)
        above = np.array([*target[:2], max(target[2], height)])
        yield from self.go_to(above, rotation, grip, tolerance=0.03, angle_tolerance=0.3, limit=80)
        yield from self.go_to(target, rotation, grip, tolerance=0.012, angle_tolerance=0.15, limit=80)
