"""Jointed parts of a LIBERO scene, as the simulator has them: drawers, doors and knobs."""
import mujoco
import numpy as np

SLIDE, HINGE = int(mujoco.mjtJoint.mjJNT_SLIDE), int(mujoco.mjtJoint.mjJNT_HINGE)

class Joint:
    """One slide or hinge joint of a fixture. Values in metres or radians."""

    def __init__(self, scene, name):
        self.scene = scene
        self.index = mujoco.mj_name2id(scene.model, mujoco.mjtObj.mjOBJ_JOINT, name)
        self.body = scene.model.jnt_bodyid[self.index]
        self.geoms = [geom for geom in scene.collision if scene.model.geom_bodyid[geom] == self.body]

    @property
    def value(self):
        return float(self.scene.data.qpos[self.scene.model.jnt_qposadr[self.index]])

    @property
    def axis(self):
        return self.scene.data.xaxis[self.index].copy()

    @property
    def anchor(self):
        return self.scene.data.xanchor[self.index].copy()

    @property
    def end(self):
        """The end of the joint's range that is farther from zero: the fixture fully opened or turned."""
        return float(max(self.scene.model.jnt_range[self.index], key=abs))

    def outward(self):
        """Horizontal unit vector [3] in which a sliding part opens."""
        return self.axis * np.sign(self.end)

    def points(self, geoms=None):
        """Corners [N, 3] of the part's collision boxes."""
        return np.concatenate([self.scene.corners(geom) for geom in (self.geoms if geoms is None else geoms)])

    def handle(self):
        """The bar of a drawer: the collision geom that stands out farthest."""
        outward = self.outward()
        return max(self.geoms, key=lambda geom: (self.scene.corners(geom) @ outward).max())

    def handle_with_posts(self):
        """Geoms of the bar and of what joins it to the front."""
        bar = self.points([self.handle()])
        low, high = bar[:, 2].min() - 0.001, bar[:, 2].max() + 0.001
        heights = {geom: self.scene.corners(geom)[:, 2] for geom in self.geoms}
        return [geom for geom, z in heights.items() if low <= z.min() and z.max() <= high]


class Fixtures:
    """Joints by the names that BDDL goals use: a region of a cabinet, or a fixture."""

    def __init__(self, env, scene):
        self.env, self.scene = env.env, scene

    def joint(self, name):
        """The joint that moves the region or fixture `name`, or None where nothing moves."""
        region = self.env.object_sites_dict.get(name)
        if region is not None:
            names = region.joints or []
        else:
            names = [joint for joint in self.env.get_object(name).joints if self.hinged_or_sliding(joint)]
        return Joint(self.scene, names[0]) if names else None

    def hinged_or_sliding(self, joint):
        index = mujoco.mj_name2id(self.scene.model, mujoco.mjtObj.mjOBJ_JOINT, joint)
        return int(self.scene.model.jnt_type[index]) in (SLIDE, HINGE)

    def fixture(self, name):
        """LIBERO's object for a fixture or for the fixture that a region belongs to."""
        region = self.env.object_sites_dict.get(name)
        return self.env.get_object(name if region is None else region.parent_name)

    def threshold(self, name, state):
        """Joint value at which LIBERO calls `name` open, closed or turned on: `state` is open, close or turnon."""
        bounds = self.fixture(name).object_properties["articulation"][f"default_{state}_ranges"]
        return min(bounds, key=abs)

    def holds(self, goal):
        """Whether the simulator says that a goal of the BDDL file is reached."""
        return bool(self.env._eval_predicate(goal))
