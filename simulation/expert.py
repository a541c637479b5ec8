"""Scripted pick-and-place expert for LIBERO, driving the stock OSC_POSE controller with 7-D delta actions.

It reads the simulator's state (scene.py), so it needs no image. Goals it knows: an object on or in another object or a
region of one. Opening drawers and turning knobs are not among them: `Expert` raises `UnknownSkill` there.
"""
import mujoco
import numpy as np

from scene import Scene, rotation_vector, rotation_z

# Grip site's frame with the gripper straight down at zero yaw: the fingers open along world y.
DOWN = np.array([[0, 1.0, 0], [1, 0, 0], [0, 0, -1]])
METRES_PER_UNIT = 0.05  # OSC_POSE output_max
RADIANS_PER_UNIT = 0.5
OPEN, CLOSE = -1.0, 1.0


class UnknownSkill(Exception):
    """The task's goal is none that the expert can reach."""


class Expert:
    """One episode. `act()` gives actions in [-1, 1]; `done` is set when the script has nothing more to do.

    `phase` names what is being done: approach, descend, close, lift, retry, carry, lower, release, retreat.
    """

    def __init__(self, env):
        self.scene = Scene(env)
        self.goal = env.env.parsed_problem["goal_state"]
        self.done = False
        self.phase = "approach"
        self.failed_grasps = []
        model = self.scene.model
        base = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, "robot0_base")
        self.base = self.scene.data.xpos[base][:2].copy()
        self.table = min(self.scene.bounds(name)[0][2] for name in self.scene.bodies)
        self.check()
        self.actions = self.script()

    def act(self):
        try:
            return next(self.actions)
        except StopIteration:
            self.done = True
            return np.array([0, 0, 0, 0, 0, 0, OPEN])

    # MARK: motion

    def command(self, target, rotation, grip, speed):
        position, current = self.scene.gripper()
        move = (target - position) / METRES_PER_UNIT
        largest = np.max(np.abs(move))
        if largest > speed:  # keeps the direction when saturating
            move = move * (speed / largest)
        turn = np.clip(rotation_vector(rotation @ current.T) / RADIANS_PER_UNIT, -0.4, 0.4)
        return np.clip(np.concatenate([move, turn, [grip]]), -1, 1)

    def go_to(self, target, rotation, grip, tolerance=0.008, limit=60, speed=1.0, angle_tolerance=0.12):
        """`target` is a point or a function that gives one, asked again every step."""
        aim = target if callable(target) else (lambda: target)
        trail = []
        for _ in range(limit):
            goal = aim()
            position, current = self.scene.gripper()
            trail.append(position)
            if len(trail) > 14 and np.linalg.norm(trail[-1] - trail[-14]) < 0.002:
                return  # stalled: joint limit or contact
            turned = np.linalg.norm(rotation_vector(rotation @ current.T)) < angle_tolerance
            if np.linalg.norm(goal - position) < tolerance and turned:
                return
            yield self.command(goal, rotation, grip, speed)

    def hold(self, rotation, grip, steps):
        position, _ = self.scene.gripper()
        for _ in range(steps):
            yield self.command(position, rotation, grip, 1.0)

    # MARK: grasps

    def plan_grasp(self, name):
        """The cheapest grasp: its rotation, and its point relative to the object."""
        candidates = self.grasps_across(name) or self.grasps_by_the_rim(name)
        for failed_xy, failed_yaw in self.failed_grasps:
            candidates = [
                (cost + 2.0 * (np.linalg.norm(xy - failed_xy) < 0.02 and abs(yaw - failed_yaw) < 0.2), xy, yaw, z)
                for cost, xy, yaw, z in candidates
            ]
        _, xy, yaw, z = min(candidates, key=lambda candidate: candidate[0])
        relative = self.scene.rotation(name).T @ (np.array([*xy, z]) - self.scene.position(name))
        return {"xy": xy, "yaw": yaw, "rotation": rotation_z(yaw) @ DOWN, "relative": relative}

    def grasps_across(self, name):
        """Across the whole object, where it fits into the 8 cm aperture."""
        low, high = self.scene.bounds(name)
        points = self.scene.points(name)
        centre = (low + high) / 2
        height = high[2] - low[2]
        z = max(centre[2] if height < 0.06 else max(centre[2], high[2] - 0.035), low[2] + 0.011)
        candidates = []
        for yaw in np.linspace(-np.pi / 2, np.pi / 2, 25):
            across = rotation_z(yaw) @ np.array([0, 1.0, 0])
            along = rotation_z(yaw) @ np.array([1.0, 0, 0])
            width = np.ptp(points @ across)
            if width > 0.066:
                continue
            middle = ((points @ across).max() + (points @ across).min()) / 2
            for shift in (0.0, 0.018, -0.018):
                if abs(shift) > max(0.0, np.ptp(points @ along) / 2 - 0.012):
                    continue
                xy = centre[:2] + across[:2] * (middle - centre[:2] @ across[:2]) + along[:2] * shift
                cost = abs(yaw) * 0.4 + width * 10 + abs(shift) * 10 + self.blocked(xy, z, yaw, name) * 0.1
                candidates.append((cost, xy, yaw, z))
        return candidates

    def grasps_by_the_rim(self, name):
        """By the rim, for open containers too wide to straddle."""
        low, high = self.scene.bounds(name)
        centre = (low + high) / 2
        radius = (high[:2] - low[:2]).mean() / 2
        z = high[2] - (0.018 if high[2] - low[2] > 0.03 else 0.010)
        candidates = []
        for angle in np.linspace(-np.pi, np.pi, 24, endpoint=False):
            yaw = angle % np.pi - np.pi / 2
            xy = centre[:2] + np.array([np.cos(angle), np.sin(angle)]) * (radius - 0.004)
            cost = abs(yaw) + self.blocked(xy, z, yaw, name) * 0.1
            if z > self.table + 0.15:  # high: away from a straight elbow
                cost += 8.0 * max(0.0, np.linalg.norm(xy - self.base) - 0.6)
            candidates.append((cost, xy, yaw, z))
        return candidates

    def blocked(self, xy, z, yaw, name, half=0.04):
        """How much of the open fingers, hand and wrist at the grasp pose would be inside other objects."""

        def grid(xs, ys, zs):
            return np.array([[x, y, height] for x in xs for y in ys for height in zs])

        opening = np.array([half, half + 0.008, half + 0.016])
        fingers = [grid(opening * side, (-0.011, 0, 0.011), (-0.011, 0.0, 0.012, 0.03)) for side in (-1, 1)]
        hand = grid(np.linspace(-0.108, 0.108, 28), (-0.034, -0.02, 0, 0.02, 0.034), (0.032, 0.045, 0.06, 0.08, 0.1))
        wrist = grid(np.linspace(-0.06, 0.06, 9), np.linspace(-0.06, 0.06, 9), (0.12, 0.15, 0.18, 0.21))
        local = np.concatenate([*fingers, hand, wrist])
        across = rotation_z(yaw) @ np.array([0, 1.0, 0])
        along = rotation_z(yaw) @ np.array([1.0, 0, 0])
        points = np.array([*xy, z]) + local[:, :1] * across + local[:, 1:2] * along + local[:, 2:] * [0, 0, 1.0]
        return self.scene.inside_obstacles(points, name)

    # MARK: skills

    def pick(self, name, tries=3):
        scene = self.scene
        for _ in range(tries):
            self.phase = "approach"
            self.grasp = grasp = self.plan_grasp(name)
            rotation = grasp["rotation"]

            def target():
                return scene.position(name) + scene.rotation(name) @ grasp["relative"]

            position, _ = scene.gripper()
            start = target()
            # High and far poses straighten the elbow (joint 4 at its -0.07 limit), and OSC cannot get out again.
            up = 0.09 if start[2] < self.table + 0.15 else 0.05
            above = max(start[2] + up, min(scene.top_between(start, start, name) + 0.02, start[2] + 0.16))
            travel = max(above, scene.top_between(position, start, name) + 0.035)
            if travel > position[2] + 0.02:
                raised = np.array([position[0], position[1], travel])
                yield from self.go_to(raised, rotation, OPEN, tolerance=0.03, angle_tolerance=9, limit=25)
            else:
                travel = max(above, min(position[2], travel + 0.04))
            if travel > above + 0.03:
                yield from self.go_to(
                    lambda: np.array([*target()[:2], travel]), rotation, OPEN, tolerance=0.03, angle_tolerance=0.4)
            yield from self.go_to(
                lambda: np.array([*target()[:2], above]), rotation, OPEN, tolerance=0.012, angle_tolerance=0.15,
                limit=80)
            self.phase = "descend"
            yield from self.go_to(target, rotation, OPEN, tolerance=0.006, limit=40, speed=0.5)
            self.phase = "close"
            yield from self.hold(rotation, CLOSE, 10)
            self.phase = "lift"
            height = scene.position(name)[2]
            position, _ = scene.gripper()
            yield from self.go_to(
                position + [0, 0, up], rotation, CLOSE, tolerance=0.02, limit=25, angle_tolerance=9)
            if scene.position(name)[2] > height + 0.015:
                return
            self.phase = "retry"
            self.failed_grasps.append((grasp["xy"], grasp["yaw"]))
            yield from self.hold(rotation, OPEN, 6)
            position, _ = scene.gripper()
            yield from self.go_to(
                position + [0, 0, 0.08], rotation, OPEN, tolerance=0.03, limit=25, angle_tolerance=9)

    def place(self, name, xy, top, extra=0.02, drop=0.006, clear=0.0):
        """Carries the object over `xy()`, lowers it until its bottom is `drop` above `top`, and opens."""
        scene, rotation = self.scene, self.grasp["rotation"]
        position, _ = scene.gripper()
        hang = position[2] - scene.bounds(name)[0][2]

        def height(gripper):
            """Clears what lies on the way, for the object and for the hand (216 mm wide, 3 cm up)."""
            goal = np.array([*xy(), 0])
            free = max(scene.top_between(scene.position(name), goal, name), top, clear) + hang + extra
            return max(free, scene.top_between(gripper, goal, name, 0.13))

        highest = height(position)
        self.phase = "carry"
        if position[2] < highest - 0.02:
            raised = np.array([position[0], position[1], highest])
            yield from self.go_to(raised, rotation, CLOSE, tolerance=0.02, limit=40, angle_tolerance=9)

        def over():  # planned again as obstacles fall behind: high and far poses meet the elbow's limit
            gripper, _ = scene.gripper()
            shift = xy() - scene.position(name)[:2]
            return np.array([*(gripper[:2] + shift), min(height(gripper), highest)])

        def lowered():
            gripper, _ = scene.gripper()
            shift = xy() - scene.position(name)[:2]
            return np.array([*(gripper[:2] + shift), gripper[2] + top + drop - scene.bounds(name)[0][2]])

        yield from self.go_to(over, rotation, CLOSE, tolerance=0.010, limit=100, angle_tolerance=0.3)
        self.phase = "lower"
        yield from self.go_to(
            lambda: lowered() + [0, 0, 0.03], rotation, CLOSE, tolerance=0.015, limit=60, angle_tolerance=9)
        yield from self.go_to(lowered, rotation, CLOSE, tolerance=0.006, limit=25, speed=0.5, angle_tolerance=9)
        self.phase = "release"
        yield from self.hold(rotation, OPEN, 8)
        self.phase = "retreat"
        position, _ = scene.gripper()
        yield from self.go_to(
            position + [0, 0, 0.10], rotation, OPEN, tolerance=0.03, limit=20, angle_tolerance=9)

    # MARK: goals

    def site(self, name):
        return mujoco.mj_name2id(self.scene.model, mujoco.mjtObj.mjOBJ_SITE, name)

    def check(self):
        for goal in self.goal:
            if goal[0] not in ("on", "in") or (goal[2] not in self.scene.bodies and self.site(goal[2]) < 0):
                raise UnknownSkill(f"the expert has no skill for the goal {' '.join(goal)}")

    def script(self):
        scene = self.scene
        for _, item, place in self.goal:
            yield from self.pick(item)
            if place in scene.bodies:
                low, high = scene.bounds(place)
                top = high[2] if high[2] - low[2] > 0.03 else scene.position(place)[2] + 0.004
                yield from self.place(item, lambda: scene.position(place)[:2], top, drop=0.008)
                continue
            site = self.site(place)

            def centre():
                return scene.data.site_xpos[site][:2].copy()

            if "contain_region" in place:
                container = next(name for name in scene.bodies if place.startswith(name))
                low, high = scene.bounds(container)
                position, _ = scene.gripper()
                hang = position[2] - scene.bounds(item)[0][2]  # keeps the hand above the container's rim
                top = max(low[2] + 0.01, high[2] - 0.015 - hang)
                yield from self.place(item, centre, top, extra=0.03, clear=high[2])
            else:
                yield from self.place(item, centre, scene.data.site_xpos[site][2], drop=0.01)
