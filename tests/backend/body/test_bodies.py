# SPDX-License-Identifier: GPL-3.0-or-later
"""From photographs to rigged bodies: who is seen, where the bodies are, and what the files hold."""

import json
import math
import struct

import cv2
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation
from skimage import data

from backend.body import bodies, reconstruct
from backend.body.bodynet.heatmaps import heatmaps2d, heatmaps3d
from backend.body.bodynet.network import BUNDLED, BodyNet, Outputs
from backend.body.bodynet.synthesis import Labeller
from backend.body.detect import Person, people, separated
from backend.body.gltf import write_glb
from backend.body.lasor.camera import from_pixels, likeness, perspective, weak_perspective
from backend.body.lasor.estimate import sight
from backend.body.lasor.network import Lasor, LasorConfig
from backend.body.lasor.person import Estimate
from backend.body.lasor.raster import coverage
from backend.body.model import BodyModel
from backend.body.poses import limit_poses
from backend.body.rotations import rotation_matrices, six_from_matrices
from backend.photograph import Photograph, focal_notice, read_photograph, write_upright
from backend.protocol import PenumbraError

TINY = LasorConfig(widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1), hidden=32)


def person(aside: float, size: int = 400) -> Person:
    """A posed body in a picture, `aside` metres from its middle."""
    body = BodyModel.load(coarse=True)
    vertices, joints = body(torch.zeros(1, 10), torch.from_numpy(limit_poses(1, 2)))
    there = torch.tensor([[[aside, 0.1, -6.0]]])
    points, _ = perspective(vertices + there, torch.tensor([700.0]), size)
    keypoints, _ = perspective(body.keypoints(vertices, joints) + there, torch.tensor([700.0]), size)
    mask = coverage(points, body.faces, size)[0].numpy().astype(np.float32)
    return Person(mask, keypoints[0].numpy().astype(float), np.full(17, 0.9))


def test_silhouettes_are_cut_where_they_overlap():
    front, behind = person(0.0), person(0.25)
    behind = Person(0.8 * behind.mask, behind.points, behind.confidence)
    twice = Person(0.7 * front.mask, front.points, front.confidence)
    a, b = separated([front, twice, behind])
    assert np.array_equal(a.mask, front.mask)
    assert (a.confidence == 0.9).all()
    assert ((a.mask > 0.5) & (b.mask > 0.5)).sum() == 0
    hidden = front.mask[tuple(np.floor(behind.points).astype(int).T[::-1])] > 0.5
    assert hidden.any()
    assert not hidden.all()
    assert np.array_equal(b.confidence > 0, ~hidden)


def test_points_behind_a_thing_are_not_believed():
    whole = person(0.0)
    table = np.zeros_like(whole.mask, bool)
    table[int(whole.points[13:15, 1].min()) - 20 :] = True  # from above the knees
    (seen,) = separated([Person(np.where(table, 0, whole.mask), whole.points, whole.confidence)])
    assert (seen.confidence[13:] == 0).all()
    assert (seen.confidence[:11] == 0.9).all()


def test_bodies_stand_where_they_were_seen(tmp_path):
    """An untrained network's body: the file's camera sees it exactly where the overlay draws it."""
    torch.manual_seed(0)
    networks, found = reconstruct.Networks(Lasor(TINY).eval()), [person(-0.6), person(0.4)]
    photograph = Photograph(np.full((400, 400, 3), 0.5, np.float32), 560.0)
    made = reconstruct.bodies_of(found, "all", networks, photograph.focal, refine=False)
    assert list(made.bodies) == [0, 1]
    assert not made.problems
    assert made.bodies[0].place[0] < made.bodies[1].place[0]
    for number, body in made.bodies.items():
        bodies.write(tmp_path / str(number), photograph, body, np.full((8, 8, 3), 0.2))
        mesh = trimesh.load_mesh(tmp_path / str(number) / "body.obj", process=False)
        pixels = mesh.vertices[:, :2] * (1, -1) * 560 / -mesh.vertices[:, 2:] + 200
        columns, rows = np.nonzero(found[number].mask.T)
        assert np.abs(pixels - body.outline).max() < 0.1
        assert abs(pixels[:, 0].mean() - columns.mean()) < 40
        assert abs(pixels[:, 1].mean() - rows.mean()) < 40
        with np.load(tmp_path / str(number) / "params.npz") as params:
            vertices, _ = BodyModel.load()(*(torch.from_numpy(params[k])[None] for k in ("betas", "pose")))
            np.testing.assert_allclose(vertices[0].numpy() + params["trans"], mesh.vertices, atol=2e-4)
    shown = bodies.overlay(photograph, made)
    assert shown.shape == (400, 400, 3)
    assert (shown[0, 0] == 0.5).all()
    with pytest.raises(PenumbraError, match="no person 3"):
        reconstruct.bodies_of(found, "1 3", networks, photograph.focal, refine=False)


def test_refined_bodies_cover_more_of_what_was_seen():
    torch.manual_seed(0)
    networks, found = reconstruct.Networks(Lasor(TINY).eval()), [person(-0.6)]
    faces, whole = BodyModel.load().faces, found[0].mask > 0.5
    shares = []
    for refine in (False, True):
        outline = reconstruct.reconstruct(found, 0, networks, 560.0, refine).outline
        mask = coverage(torch.from_numpy(outline)[None].float(), faces, 400)[0].numpy()
        shares.append((mask & whole).sum() / (mask | whole).sum())
    assert shares[1] > shares[0] + 0.05


class KnowsAll(BodyNet):
    """A BodyNet that says of every proxy what is true of `person(aside)`."""

    def __init__(self, aside: float) -> None:
        super().__init__(BUNDLED)
        self.begin_with(six_from_matrices(rotation_matrices(torch.from_numpy(limit_poses(200, 9)))))
        seen = sight(person(aside).mask, person(aside).points, person(aside).confidence)
        body, pose = BodyModel.load(coarse=True), torch.from_numpy(limit_poses(1, 2))
        vertices, joints = body(torch.zeros(1, 10), pose)
        points = from_pixels(torch.from_numpy(seen.points)[None], 256)
        camera = likeness(body.keypoints(vertices, joints), points)
        truth = Labeller(body, BUNDLED)(torch.zeros(1, 10), rotation_matrices(pose), camera)
        label = torch.nn.functional.one_hot(truth.voxels.long(), 7).movedim(-1, 1).float()
        self.said = Outputs(
            (heatmaps2d(truth.joints, BUNDLED.grid),),
            (9 * torch.nn.functional.one_hot(truth.parts, 15).movedim(-1, 1).float(),),
            (heatmaps3d(truth.joints, BUNDLED.grid).clamp(min=1e-9).log(),),
            (18 * (truth.voxels > 0).float() - 9,),
            (9 * label,),
        )

    def forward(self, image: torch.Tensor) -> Outputs:
        assert image.shape == (1, 18, 128, 128)
        return self.said


def test_bodynet_s_bodies_and_their_voxels_stand_where_they_were_seen(tmp_path):
    found = [person(-0.6)]
    body = reconstruct.reconstruct(found, 0, reconstruct.Networks(bodynet=KnowsAll(-0.6).eval()), 700.0)
    mask = coverage(torch.from_numpy(body.outline)[None].float(), BodyModel.load().faces, 400)[0].numpy()
    whole = found[0].mask > 0.5
    assert (mask & whole).sum() / (mask | whole).sum() > 0.7
    assert body.surface is not None
    assert set(np.unique(body.surface.part)) == set(range(1, 7))
    mesh = trimesh.Trimesh(body.mesh("body").vertices, BodyModel.load().body.faces, process=False)
    away = trimesh.proximity.ProximityQuery(mesh).vertex(body.surface.vertices)[0]
    assert away.mean() < 0.05  # metres; both in camera space
    solid = trimesh.Trimesh(body.surface.vertices, body.surface.faces, process=False)
    assert solid.volume > 0.03  # cubic metres: a body's, outside out
    photograph = Photograph(np.full((400, 400, 3), 0.5, np.float32), 700.0)
    bodies.write(tmp_path, photograph, body, np.full((8, 8, 3), 0.2))
    assert len(trimesh.load_mesh(tmp_path / "surface.obj", process=False).vertices) == len(body.surface.vertices)


def test_the_file_s_skin_gives_the_posed_body(tmp_path):
    model = BodyModel.load()
    betas = np.linspace(-1, 1, 10).astype(np.float32)
    rotations = rotation_matrices(torch.from_numpy(limit_poses(1, 5)))
    place = np.array([0.3, -0.2, -4.0])
    write_glb(tmp_path / "body.glb", model.body, betas, rotations[0].numpy(), place, (640, 480), 700.0, b"picture")
    raw = (tmp_path / "body.glb").read_bytes()
    length = struct.unpack("<I", raw[12:16])[0]
    scene, binary = json.loads(raw[20 : 20 + length]), raw[28 + length :]
    assert len(raw) == struct.unpack("<I", raw[8:12])[0]

    def read(number: int, kind: type) -> np.ndarray:
        accessor = scene["accessors"][number]
        view = scene["bufferViews"][accessor["bufferView"]]
        part = np.frombuffer(binary[view["byteOffset"] :][: view["byteLength"]], kind)
        return part.reshape(accessor["count"], -1)

    world = {25: np.eye(4)}

    def place_nodes(number: int, parent: np.ndarray) -> None:
        node, local = scene["nodes"][number], np.eye(4)
        local[:3, 3] = node.get("translation", (0, 0, 0))
        local[:3, :3] = Rotation.from_quat(node.get("rotation", (0, 0, 0, 1))).as_matrix()
        world[number] = parent @ local
        for child in node.get("children", []):
            place_nodes(child, world[number])

    place_nodes(24, np.eye(4))
    skin, attributes = scene["skins"][0], scene["meshes"][0]["primitives"][0]["attributes"]
    unbind = read(skin["inverseBindMatrices"], np.float32).reshape(-1, 4, 4).transpose(0, 2, 1)
    matrices = np.stack([world[j] @ m for j, m in zip(skin["joints"], unbind, strict=True)])
    joints, weights = read(attributes["JOINTS_0"], np.uint16), read(attributes["WEIGHTS_0"], np.float32)
    points = np.pad(read(attributes["POSITION"], np.float32), ((0, 0), (0, 1)), constant_values=1)
    posed = np.einsum("vk,vkxy,vy->vx", weights, matrices[joints], points)[:, :3]
    expected, _ = model(torch.from_numpy(betas)[None], rotations, torch.from_numpy(place).float()[None])
    # Each triangle's corners are where the body's are, with the body's texture coordinates.
    triangles = read(scene["meshes"][0]["primitives"][0]["indices"], np.uint32).reshape(-1, 3)
    assert np.abs(posed[triangles] - expected[0].numpy()[model.body.faces]).max() < 1e-4
    uv = read(attributes["TEXCOORD_0"], np.float32)[triangles]
    np.testing.assert_allclose(uv[..., 1], 1 - model.body.extra["vt"][model.body.extra["ft"]][..., 1], atol=1e-6)
    stored = scene["bufferViews"][scene["images"][0]["bufferView"]]
    assert binary[stored["byteOffset"] :][: stored["byteLength"]] == b"picture"
    assert scene["cameras"][0]["perspective"]["yfov"] == pytest.approx(2 * np.arctan(240 / 700))


def test_photographs_are_turned_as_the_camera_was_held(tmp_path):
    stored = np.zeros((60, 2000, 3), np.uint8)
    stored[:, :200] = 255  # the left of what is stored; with orientation 6 it is shown turned to the right: on top
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 35
    Image.fromarray(stored).save(tmp_path / "turned.jpg", exif=exif)
    photograph = read_photograph(tmp_path / "turned.jpg")
    assert photograph.size == (38, 1280)
    assert photograph.turns == 3
    assert photograph.picture[:100].mean() > 0.9
    assert photograph.picture[200:].mean() < 0.1
    assert photograph.focal == pytest.approx(35 / 43.27 * 1280, rel=1e-2)  # the 35 mm frame's diagonal is 43.27 mm
    write_upright(tmp_path / "turned.jpg", tmp_path / "upright.png")
    again = read_photograph(tmp_path / "upright.png")
    assert again.turns == 0
    assert np.abs(again.picture - photograph.picture).max() < 0.02
    Image.fromarray(stored).convert("CMYK").save(tmp_path / "print.jpg")
    plain = read_photograph(tmp_path / "print.jpg")
    assert plain.picture[:, :100].mean() > 0.9
    assert plain.focal == pytest.approx(1280 * 50 / 36)


@pytest.mark.parametrize(
    ("facts", "lens"),
    [
        ({0xA405: 28}, 28.0),
        ({0xA405: 28, 0x920A: 4.25}, 28.0),  # what the camera says of 35 mm film goes first
        ({0x920A: 35.0, 0xA20E: 4000 / 2.34, 0xA20F: 3000 / 1.56, 0xA210: 3}, 35 * 43.27 / math.hypot(23.4, 15.6)),
        ({0x920A: 35.0, 0xA20E: 25.4 * 40 / 23.4, 0xA20F: 25.4 * 30 / 15.6}, 35 * 43.27 / math.hypot(23.4, 15.6)),
        ({0x920A: 35.0}, 0.0),  # the sensor is not known
        ({0x920A: 35.0, 0xA20E: 1.0, 0xA20F: 1.0, 0xA210: 2}, 0.0),  # a sensor of a metre
        ({0xA405: 0}, 0.0),
    ],
)
def test_the_focal_length_is_the_photograph_s_own(tmp_path, facts, lens):
    """EXIF's FocalLengthIn35mmFilm, FocalLength, FocalPlaneXResolution, FocalPlaneYResolution and their unit."""
    exif = Image.Exif()
    exif.get_ifd(0x8769).update(facts if facts.get(0xA20E, 0) < 1000 else {**facts, 0xA002: 4000, 0xA003: 3000})
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "taken.jpg", exif=exif)
    photograph = read_photograph(tmp_path / "taken.jpg")
    assert photograph.lens == pytest.approx(lens, rel=1e-3)
    assert photograph.focal == pytest.approx(lens / 43.27 * 50 if lens else 40 * 50 / 36, rel=1e-3)
    assert len(focal_notice(photograph.lens)) == bool(lens)
    given = read_photograph(tmp_path / "taken.jpg", 2.0)
    assert (given.focal, given.lens) == (80.0, 0.0)


def test_several_people_are_found_in_a_photograph():
    pytest.importorskip("mediapipe")
    one = data.astronaut()
    left, right = people(np.concatenate([one, one[:, ::-1]], 1))
    for seen, nose in ((left, 222), (right, 1024 - 222)):
        assert abs(seen.points[0, 0] - nose) < 30
        assert 0.15 < (seen.mask > 0.5).mean() < 0.3
        assert seen.confidence[0] > 0.9
    with pytest.raises(PenumbraError, match="No person"):
        people(cv2.resize(data.brick(), (256, 256))[..., None].repeat(3, 2))


def test_shapes_stay_those_of_people_and_are_seen_where_they_were():
    body = BodyModel.load(coarse=True)
    betas = torch.from_numpy(np.float32([body.body.shape_range()[0], [-9.0, *[0.5] * 9]]))
    camera = torch.tensor([[0.8, 0.1, -0.2]]).expand(2, -1)
    given = Estimate(camera, rotation_matrices(torch.from_numpy(limit_poses(2, 5))), betas)
    found = reconstruct.plausible(given, torch.ones(2, 17))
    torch.testing.assert_close(found.betas[0], betas[0])
    assert -4 < found.betas[1, 0] < -2  # a child
    torch.testing.assert_close(found.betas[1, 1:], betas[1, 1:])
    flat = [weak_perspective(body.keypoints(*body(x.betas, x.rotations)), x.camera) for x in (given, found)]
    torch.testing.assert_close(flat[0][0], flat[1][0], atol=1e-4, rtol=0)
    assert (flat[0][1] - flat[1][1]).norm(dim=1).mean() < 0.1
    assert found.camera[1, 0] < 0.8 * camera[1, 0]
    waist_up = torch.ones(2, 17)
    waist_up[:, 11:] = 0  # hips, knees and ankles
    hardly = reconstruct.plausible(given, waist_up)
    torch.testing.assert_close(hardly.betas[1] - betas[0], 0.5 * (found.betas[1] - betas[0]))
