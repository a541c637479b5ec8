"""Privileged view of a LIBERO scene: where bodies, collision boxes and the gripper are. For the scripted expert only."""
import mujoco
import numpy as np


def rotation_z(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def rotation_about(axis, angle):
    """Rotation [3, 3] by `angle` radians about a unit vector (Rodrigues)."""
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def rotation_vector(rotation):
    """Axis times angle of a 3x3 rotation matrix, radians; zero at 180 degrees, where the axis is undefined."""
    angle = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    axis = np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    norm = np.linalg.norm(axis)
    return np.zeros(3) if norm < 1e-9 else axis / norm * angle


class Scene:
    """Objects are named as in the task's BDDL file. Positions in metres, world frame."""

    def __init__(self, env):
        robosuite_env = env.env
        self.model = robosuite_env.sim.model._model
        self.data = robosuite_env.sim.data._data
        self.bodies = dict(robosuite_env.obj_body_id)
        self.gripper_site = robosuite_env.robots[0].eef_site_id
        self.fingers = robosuite_env.robots[0]._ref_gripper_joint_pos_indexes
        owners = {body: name for name, body in self.bodies.items()}
        self.owner = {}
        for geom in range(self.model.ngeom):
            body = self.model.geom_bodyid[geom]
            while body > 0 and body not in owners:
                body = self.model.body_parentid[body]
            self.owner[geom] = owners.get(body) if body > 0 else None
        self.collision = [
            geom for geom in range(self.model.ngeom)
            if self.model.geom_contype[geom] or self.model.geom_conaffinity[geom]
        ]

    def gripper(self):
        """Position [3] and rotation [3, 3] of the grip site."""
        return (
            self.data.site_xpos[self.gripper_site].copy(),
            self.data.site_xmat[self.gripper_site].reshape(3, 3).copy(),
        )

    def opening(self):
        """Between the fingers, in metres."""
        return float(sum(abs(self.data.qpos[index]) for index in self.fingers))

    def site(self, name):
        """Index of a site, -1 if there is none of this name."""
        return mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_SITE, name)

    def position(self, name):
        return self.data.xpos[self.bodies[name]].copy()

    def rotation(self, name):
        return self.data.xmat[self.bodies[name]].reshape(3, 3).copy()

    def corners(self, geom):
        """The 8 corners of a geom's box, [8, 3]."""
        centre, half = self.model.geom_aabb[geom][:3], self.model.geom_aabb[geom][3:]
        local = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half + centre
        return local @ self.data.geom_xmat[geom].reshape(3, 3).T + self.data.geom_xpos[geom]

    def geoms(self, name):
        """The object's collision geoms."""
        return [geom for geom in self.collision if self.owner[geom] == name]

    def points(self, name):
        """Corners [N, 3] of the object's collision boxes."""
        return np.concatenate([self.corners(geom) for geom in self.geoms(name)])

    def bounds(self, name):
        points = self.points(name)
        return points.min(0), points.max(0)

    def obstacles(self, ignored):
        return [geom for geom in self.collision if self.owner[geom] not in (None, ignored)]

    def inside(self, points, geoms, margin=0.004):
        """How many of `points` [N, 3] lie in the collision box of one of `geoms`."""
        inside = np.zeros(len(points), bool)
        for geom in geoms:
            local = (points - self.data.geom_xpos[geom]) @ self.data.geom_xmat[geom].reshape(3, 3)
            centre, half = self.model.geom_aabb[geom][:3], self.model.geom_aabb[geom][3:] + margin
            inside |= np.all(np.abs(local - centre) <= half, axis=1)
        return int(inside.sum())

    def top_between(self, start, end, ignored, radius=0.07):
        """Height of the highest obstacle within `radius` of the straight path from `start` to `end` (xy)."""
        top = 0
        path = start[:2] + np.linspace(0, 1, 15)[:, None] * (end[:2] - start[:2])
        for geom in self.obstacles(ignored):
            corners = self.corners(geom)
            low, high = corners.min(0), corners.max(0)
            distance = np.linalg.norm(np.maximum(0, np.maximum(low[:2] - path, path - high[:2])), axis=1)
            if distance.min() < radius:
                top = max(top, high[2])
        return top
