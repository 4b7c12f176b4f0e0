# SPDX-License-Identifier: GPL-3.0-or-later
"""Motions: two BVH skeletons that share nothing but the pose, and the built-in ones; sides, up, knees and ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.body.builtin_motions import BUILTIN, builtin
from backend.body.motion import INDEX, REST_JOINTS, SOLE, Motion, forward_kinematics, mirror, resample
from backend.body.retarget import load_motion
from backend.protocol import PenumbraError

# A skeleton like CMU's: y up, faces +z, T-pose with splayed legs, tenths of a metre. Joint: (parent, offset).
CMU_LIKE = {
    "root": (None, (0, 0, 0)),
    "lfemur": ("root", (0.8, -1, 0)), "ltibia": ("lfemur", (1.4, -3.8, 0)), "lfoot": ("ltibia", (1.4, -3.9, 0)),
    "ltoes": ("lfoot", (0, -0.3, 1.3)),
    "rfemur": ("root", (-0.8, -1, 0)), "rtibia": ("rfemur", (-1.4, -3.8, 0)), "rfoot": ("rtibia", (-1.4, -3.9, 0)),
    "rtoes": ("rfoot", (0, -0.3, 1.3)),
    "lowerback": ("root", (0, 1, 0)), "thorax": ("lowerback", (0, 2, 0)), "head": ("thorax", (0, 2.5, 0)),
    "lclavicle": ("thorax", (0, 1, 0)), "lhumerus": ("lclavicle", (1.8, 0, 0)), "lradius": ("lhumerus", (2.8, 0, 0)),
    "lhand": ("lradius", (2.5, 0, 0)),
    "rclavicle": ("thorax", (0, 1, 0)), "rhumerus": ("rclavicle", (-1.8, 0, 0)), "rradius": ("rhumerus", (-2.8, 0, 0)),
    "rhand": ("rradius", (-2.5, 0, 0)),
}  # fmt: skip
# Another: z up, faces -y, arms that hang, straight legs, centimetres, other names.
HANGING = {
    "Hips": (None, (0, 0, 0)),
    "LeftHip": ("Hips", (9, 0, -9)), "LeftKnee": ("LeftHip", (0, 0, -40)), "LeftAnkle": ("LeftKnee", (0, 0, -41)),
    "LeftToe": ("LeftAnkle", (0, -13, -4)),
    "RightHip": ("Hips", (-9, 0, -9)), "RightKnee": ("RightHip", (0, 0, -40)), "RightAnkle": ("RightKnee", (0, 0, -41)),
    "RightToe": ("RightAnkle", (0, -13, -4)),
    "Chest": ("Hips", (0, 0, 30)), "Head": ("Chest", (0, 0, 25)),
    "LeftCollar": ("Chest", (0, 0, 10)), "LeftShoulder": ("LeftCollar", (18, 0, 0)),
    "LeftElbow": ("LeftShoulder", (0, 0, -28)), "LeftWrist": ("LeftElbow", (0, 0, -25)),
    "RightCollar": ("Chest", (0, 0, 10)), "RightShoulder": ("RightCollar", (-18, 0, 0)),
    "RightElbow": ("RightShoulder", (0, 0, -28)), "RightWrist": ("RightElbow", (0, 0, -25)),
}  # fmt: skip


def write_bvh(path: Path, skeleton: dict, height: tuple, turns: list[dict[str, tuple]]) -> Path:
    """A BVH whose frames turn the named joints by (Z, X, Y) degrees."""

    def block(name: str) -> str:
        children = [child for child, (parent, _) in skeleton.items() if parent == name]
        root = skeleton[name][0] is None
        channels = "6 Xposition Yposition Zposition " if root else "3 "
        lines = [f"{'ROOT' if root else 'JOINT'} {name}", "{", f"OFFSET {' '.join(map(str, skeleton[name][1]))}"]
        lines += [f"CHANNELS {channels}Zrotation Xrotation Yrotation", *(block(c) for c in children)]
        lines += [] if children else ["End Site", "{", "OFFSET 0 0 1", "}"]
        return "\n".join([*lines, "}"])

    order: list[str] = []

    def visit(name: str) -> None:
        order.append(name)
        for child, (parent, _) in skeleton.items():
            if parent == name:
                visit(child)

    root = next(iter(skeleton))
    visit(root)
    rows = [" ".join(map(str, [*height, *(v for j in order for v in turn.get(j, (0, 0, 0)))])) for turn in turns]
    text = f"HIERARCHY\n{block(root)}\nMOTION\nFrames: {len(rows)}\nFrame Time: 0.0333333\n" + "\n".join(rows)
    path.write_text(text, "utf-8")
    return path


@pytest.fixture(params=["cmu", "hanging"])
def joints(request: pytest.FixtureRequest, tmp_path: Path) -> np.ndarray:
    """Joint positions of two frames: the left arm straight up; the right knee lifted and bent."""
    if request.param == "cmu":
        arm_up, arm_down = {"lhumerus": (90, 0, 0)}, {"lhumerus": (-90, 0, 0), "rhumerus": (90, 0, 0)}
        knee = {"rfemur": (0, -80, 0), "rtibia": (0, 80, 0)}
        path = write_bvh(tmp_path / "a.bvh", CMU_LIKE, (0, 9, 0), [arm_up, {**arm_down, **knee}])
    else:
        arm_up = {"LeftShoulder": (0, 0, -180)}
        knee = {"RightHip": (0, -80, 0), "RightKnee": (0, 80, 0)}
        path = write_bvh(tmp_path / "b.bvh", HANGING, (0, 0, 90), [arm_up, knee])
    motion = load_motion(path)
    return forward_kinematics(motion.pose, motion.trans)


def test_the_left_arm_goes_up_on_the_left(joints: np.ndarray) -> None:
    up = joints[0]
    assert up[INDEX["left_wrist"], 1] > up[INDEX["head"], 1] + 0.2
    assert up[INDEX["right_wrist"], 1] < up[INDEX["left_wrist"], 1] - 0.3
    assert abs(up[INDEX["left_wrist"], 0] - up[INDEX["left_shoulder"], 0]) < 0.06
    assert up[INDEX["left_shoulder"], 0] > 0.1 > -0.1 > up[INDEX["right_shoulder"], 0]


def test_the_knee_bends_backward_and_the_body_stands_upright(joints: np.ndarray) -> None:
    bent = joints[1]
    hip, knee, ankle = (bent[INDEX[f"right_{part}"]] for part in ("hip", "knee", "ankle"))
    assert knee[2] - hip[2] > 0.3  # lifted to the front
    assert ankle[1] < knee[1] - 0.25  # the shin hangs from it
    assert bent[INDEX["left_foot"], 2] > bent[INDEX["left_ankle"], 2] + 0.08  # toes ahead
    assert bent[INDEX["head"], 1] > bent[INDEX["pelvis"], 1] + 0.4
    assert bent[INDEX["left_foot"], 1] == pytest.approx(SOLE, abs=0.02)


def test_skeletons_with_other_rest_poses_agree(tmp_path: Path) -> None:
    """The same pose by other numbers: a T-pose from either rest pose has all joints where the T-pose has them."""
    cmu = load_motion(
        write_bvh(tmp_path / "a.bvh", CMU_LIKE, (0, 9, 0), [{"lfemur": (-20, 0, 0), "rfemur": (20, 0, 0)}])
    )
    arms = {"LeftShoulder": (0, 0, -90), "RightShoulder": (0, 0, 90)}
    hanging = load_motion(write_bvh(tmp_path / "b.bvh", HANGING, (0, 0, 90), [arms]))
    limbs = [INDEX[f"{s}_{p}"] for s in ("left", "right") for p in ("knee", "ankle", "foot", "elbow", "wrist")]
    for motion in (cmu, hanging):
        placed = forward_kinematics(motion.pose, motion.trans)[0]
        assert np.abs((placed - placed[0])[limbs] - (REST_JOINTS - REST_JOINTS[0])[limbs]).max() < 0.05


@pytest.mark.parametrize("name", BUILTIN)
def test_built_in_motions_are_human(name: str) -> None:
    motion = builtin(name, seed=3)
    joints = forward_kinematics(motion.pose, motion.trans)
    assert (joints[:, INDEX["head"], 1] > joints[:, INDEX["pelvis"], 1] + 0.3).all()
    assert np.abs(joints[:, [INDEX["left_foot"], INDEX["right_foot"]], 1].min(1) - SOLE).max() < 0.08
    hips = joints[:, INDEX["left_hip"]] - joints[:, INDEX["right_hip"]]
    front = np.cross(hips, [0, 1, 0])  # left × up
    for side in ("left", "right"):
        hip, knee, ankle = (joints[:, INDEX[f"{side}_{part}"]] for part in ("hip", "knee", "ankle"))
        bulge = knee - (hip + ankle) / 2
        assert (np.einsum("fc,fc->f", bulge, front) > -0.01).all(), f"the {side} knee bends to the front"
    assert np.abs(np.diff(joints, axis=0)).max() < 0.25, "joints jump"


def test_a_walk_goes_forward() -> None:
    motion = builtin("walk", seed=0)
    step = motion.trans[30] - motion.trans[0]
    assert 0.4 < np.linalg.norm(step[[0, 2]]) < 2.5
    assert step[2] > 0.3


def test_mirroring_reflects_every_joint() -> None:
    motion = builtin("wave", seed=1)
    joints = forward_kinematics(motion.pose, motion.trans)
    reflected = forward_kinematics(mirror(motion).pose, mirror(motion).trans)
    for side, other in (("left", "right"), ("right", "left")):
        expected = joints[:, INDEX[f"{other}_wrist"]] * [-1, 1, 1]
        assert np.abs(reflected[:, INDEX[f"{side}_wrist"]] - expected).max() < 1e-4


def test_resampling_keeps_the_poses_in_time() -> None:
    fast = Motion("fast", *(getattr(builtin("dance", seed=2), k) for k in ("pose", "trans")), 120.0)
    slow = resample(fast, 30.0)
    assert len(slow) == (len(fast) - 1) // 4 + 1
    before, after = (forward_kinematics(m.pose, m.trans) for m in (fast, slow))
    assert np.abs(after - before[::4]).max() < 1e-4


def test_what_is_no_motion_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.bvh").write_text("HIERARCHY nonsense")
    with pytest.raises(PenumbraError, match=r"no\.bvh"):
        load_motion(tmp_path / "no.bvh")
    strange = {
        name.replace("femur", "stick"): (p and p.replace("femur", "stick"), o) for name, (p, o) in CMU_LIKE.items()
    }
    with pytest.raises(PenumbraError, match="left hip"):
        load_motion(write_bvh(tmp_path / "strange.bvh", strange, (0, 9, 0), [{}]))
