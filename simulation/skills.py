"""Skills of the scripted expert, each a generator of actions: pick, place, open_drawer, close_drawer, turn_knob.

Poses come from the simulator's geometry: collision boxes, sites, joint axes and ranges. Metres and radians.
"""
import mujoco
import numpy as np

from grasps import FINGERTIP, GraspPlanner, hand_points, placed
from motion import ANY_ANGLE, CLOSE, OPEN, UP, Motion, leaning
from scene import rotation_z

STANDOFF = 0.10  # of the gripper before it moves in to a handle
GRASP_MARGIN = 0.010  # beside the planned grasp, from where it still holds
SLIP = 0.06  # of an object away from the gripper: it is lost
OVERSHOOT = 0.02  # of a commanded end position beyond a joint's limit, so that the arm keeps pulling


class Skills(Motion):
    """`phase`: approach, descend, grasp, lift, retry, carry, lower, release, retreat; of handles: reach, close, pull, push, turn."""

    def __init__(self, env):
        super().__init__(env)
        scene = self.scene
        base = mujoco.mj_name2id(scene.model, mujoco.mjtObj.mjOBJ_BODY, "robot0_base")
        self.table = min(scene.bounds(name)[0][2] for name in scene.bodies if scene.geoms(name))
        self.planner = GraspPlanner(scene, scene.data.xpos[base][:2].copy(), self.table)
        self.failed_grasps = []

    # MARK: objects

    def take(self, name, destination):
        """Closes the fingers on an object from above. The generator's value is how far it may be lifted, in metres.

        `destination`: xy where it will be put, or None.
        """
        scene = self.scene
        self.phase = "approach"
        shift = None if destination is None else destination - scene.position(name)[:2]
        self.grasp = grasp = self.planner.best(name, self.failed_grasps, shift)
        rotation = grasp.rotation
        relative = scene.rotation(name).T @ (np.array([*grasp.xy, grasp.z]) - scene.position(name))

        def target():
            return scene.position(name) + scene.rotation(name) @ relative

        position, _ = scene.gripper()
        start = target()
        # High and far poses straighten the elbow (joint 4 at its -0.07 limit), and OSC cannot get out again.
        up = 0.09 if start[2] < self.table + 0.15 else 0.05
        above = max(start[2] + up, min(scene.top_between(start, start, name) + 0.02, start[2] + 0.16))
        travel = max(above, scene.top_between(position, start, name) + 0.035)
        if travel > position[2] + 0.02:
            raised = np.array([position[0], position[1], travel])
            yield from self.go_to(raised, rotation, OPEN, tolerance=0.03, angle_tolerance=ANY_ANGLE, limit=25)
        else:
            travel = max(above, min(position[2], travel + 0.04))
        if travel > above + 0.03:
            yield from self.go_to(
                lambda: np.array([*target()[:2], travel]), rotation, OPEN, tolerance=0.03, angle_tolerance=0.4)
        yield from self.go_to(
            lambda: np.array([*target()[:2], above]), rotation, OPEN, tolerance=0.006, angle_tolerance=0.15, limit=80)
        self.phase = "descend"

        def low_enough():
            """A little to the side the grasp holds as well: a policy is to learn to close at this height, not at this point."""
            position, _ = scene.gripper()
            offset = position - target()
            return offset[2] < 0.006 and np.linalg.norm(offset[:2]) < GRASP_MARGIN

        yield from self.go_to(target, rotation, OPEN, tolerance=0, limit=50, speed=0.5, aligned=True, until=low_enough)
        self.phase = "grasp"
        yield from self.grip(rotation)
        return up

    def pick(self, name, destination=None, tries=3):
        """Lifts an object; the generator's value is whether it came up with the hand. `destination` as in `take`."""
        scene = self.scene
        for _ in range(tries):
            up = yield from self.take(name, destination)
            self.phase = "lift"
            rotation, height = self.grasp.rotation, scene.position(name)[2]
            position, _ = scene.gripper()
            yield from self.go_to(
                position + [0, 0, up], rotation, CLOSE, tolerance=0.02, limit=25, angle_tolerance=ANY_ANGLE)
            if scene.position(name)[2] > height + 0.015:
                return True
            self.phase = "retry"
            self.failed_grasps.append(self.grasp)
            yield from self.release(rotation, UP * 0.08, steps=6)
        return False

    def place(self, name, xy, top, extra=0.02, drop=0.006, clear=0.0):
        """Carries the object over `xy()`, lowers it until its bottom is `drop` above `top`, and opens.

        It is let go of where it slips out of the hand; the goal is then tried again.
        """
        scene, rotation = self.scene, self.grasp.rotation
        position, _ = scene.gripper()
        distance = np.linalg.norm(scene.position(name) - position)

        def slipped():
            return np.linalg.norm(scene.position(name) - scene.gripper()[0]) > distance + SLIP

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
            yield from self.go_to(raised, rotation, CLOSE, tolerance=0.02, limit=40, angle_tolerance=ANY_ANGLE)

        def over():  # planned again as obstacles fall behind: high and far poses meet the elbow's limit
            gripper, _ = scene.gripper()
            shift = xy() - scene.position(name)[:2]
            return np.array([*(gripper[:2] + shift), min(height(gripper), highest)])

        def lowered():
            gripper, _ = scene.gripper()
            shift = xy() - scene.position(name)[:2]
            return np.array([*(gripper[:2] + shift), gripper[2] + top + drop - scene.bounds(name)[0][2]])

        yield from self.go_to(over, rotation, CLOSE, tolerance=0.010, limit=100, angle_tolerance=0.3, until=slipped)
        self.phase = "lower"
        yield from self.go_to(
            lambda: lowered() + [0, 0, 0.03], rotation, CLOSE, tolerance=0.015, limit=60, angle_tolerance=ANY_ANGLE,
            until=slipped)
        yield from self.go_to(
            lowered, rotation, CLOSE, tolerance=0.006, limit=25, speed=0.5, angle_tolerance=ANY_ANGLE, until=slipped)
        yield from self.release(rotation, UP * 0.10)

    def release(self, rotation, retreat, steps=8):
        """Opens the fingers and moves by `retreat`."""
        self.phase = "release"
        yield from self.hold(rotation, OPEN, steps)
        self.phase = "retreat"
        position, _ = self.scene.gripper()
        yield from self.go_to(
            position + retreat, rotation, OPEN, tolerance=0.03, limit=25, angle_tolerance=ANY_ANGLE)

    # MARK: fixtures

    def handle_grasp(self, joint):
        """Rotation for a drawer's handle: as steep as the drawers around it allow, the bar between the fingers."""
        scene = self.scene
        own = joint.handle_with_posts()
        others = [geom for geom in scene.obstacles(None) if geom not in own]
        centre = joint.points([joint.handle()]).mean(0)
        candidates = []
        for lean in np.radians(np.arange(0, 95, 5)):
            rotation = leaning(-joint.outward(), lean, fingers_across=False)
            points = placed(hand_points(), centre, rotation)
            below = int((points[:, 2] < self.table).sum())
            candidates.append((scene.inside(points, others) + below + lean, rotation))
        return min(candidates, key=lambda candidate: candidate[0])[1]

    def open_drawer(self, joint, opened):
        """Takes the drawer's handle and pulls until `opened()` holds."""
        self.phase = "approach"
        rotation = self.handle_grasp(joint)
        approach = rotation[:, 2]

        def handle():
            return joint.points([joint.handle()]).mean(0)

        yield from self.travel(handle() - approach * STANDOFF, rotation, OPEN)
        self.phase = "reach"
        yield from self.go_to(handle, rotation, OPEN, tolerance=0.006, limit=40, speed=0.5)
        self.phase = "close"
        yield from self.hold(rotation, CLOSE, 10)
        self.phase = "pull"
        position, _ = self.scene.gripper()
        end = position + joint.outward() * (abs(joint.end - joint.value) + OVERSHOOT)
        yield from self.go_to(end, rotation, CLOSE, limit=60, angle_tolerance=ANY_ANGLE, until=opened)
        yield from self.release(rotation, -approach * STANDOFF)

    def close_drawer(self, joint, closed):
        """Pushes the drawer's handle with closed fingers until `closed()` holds."""
        self.phase = "approach"
        outward = joint.outward()
        # Half-way between down and level: the hand stays clear of the table and of the drawers above.
        rotation = leaning(-outward, np.pi / 4, fingers_across=True)
        handle = self.joint_front(joint)
        contact = handle - rotation[:, 2] * FINGERTIP + outward * FINGERTIP
        yield from self.travel(contact + outward * 0.5 * STANDOFF, rotation, CLOSE)
        self.phase = "push"
        end = contact - outward * (abs(joint.value) + 2 * OVERSHOOT)
        yield from self.go_to(end, rotation, CLOSE, limit=80, speed=0.6, angle_tolerance=ANY_ANGLE, until=closed)
        yield from self.hold(rotation, CLOSE, 2)
        self.phase = "retreat"
        position, _ = self.scene.gripper()
        yield from self.go_to(
            position + outward * STANDOFF, rotation, CLOSE, tolerance=0.03, limit=20, angle_tolerance=ANY_ANGLE)

    def joint_front(self, joint):
        """Middle of the handle's front."""
        points, outward = joint.points([joint.handle()]), joint.outward()
        centre = points.mean(0)
        return centre + outward * ((points @ outward).max() - centre @ outward)

    def turn_knob(self, joint, value, turned):
        """Takes a knob with an upright axis by its ridge and turns it until its joint has `value` or `turned()` holds."""
        self.phase = "approach"
        points = joint.points()
        top = points[:, 2].max()
        ridge = points[points[:, 2] > (top + points[:, 2].min()) / 2]
        yaws = np.linspace(-np.pi / 2, np.pi / 2, 37)
        yaw = min(yaws, key=lambda yaw: (np.ptp(ridge @ (rotation_z(yaw) @ [0, 1.0, 0])) + 0.002 * abs(yaw)))
        rotation = leaning(rotation_z(yaw) @ [0, 1.0, 0], 0.0, fingers_across=False)
        # As deep as the ridge is high, the fingertips above what it stands on.
        target = np.array([*joint.anchor[:2], ridge[:, 2].min() + FINGERTIP + 0.002])
        yield from self.travel(target + UP * STANDOFF, rotation, OPEN)
        self.phase = "reach"
        yield from self.go_to(target, rotation, OPEN, tolerance=0.006, limit=40, speed=0.5)
        self.phase = "close"
        yield from self.hold(rotation, CLOSE, 8)
        self.phase = "turn"
        start = joint.value
        turn = np.sign(joint.axis[2]) * (value - start)
        end = rotation_z(turn) @ rotation
        yield from self.go_to(target, end, CLOSE, limit=40, angle_tolerance=0.05, until=turned)
        _, rotation = self.scene.gripper()
        yield from self.release(rotation, UP * STANDOFF)
