# SPDX-License-Identifier: GPL-3.0-or-later
"""From photographs to objects: where the object is, where its camera stands, and what the files hold."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from backend.images import srgb_decode
from backend.objects import objects, views
from backend.objects.doubt import Doubt
from backend.objects.encoder import Fit, ImageEncoder, Views
from backend.objects.network import Codes, ObjectConfig
from backend.objects.projection import cropped, pixel_rays, project, projection
from backend.objects.public import cut_out
from backend.objects.refine import refined
from backend.objects.silhouette import is_cut, silhouette
from backend.objects.symmetry import AZIMUTHS, azimuth_of, turned_light
from backend.photograph import Photograph, read_photograph
from backend.protocol import PenumbraError
from backend.rays.scene import RayScene

from .fields import EggField, egg_codes, egg_shape

SIZE = (480, 270)
LIGHT = views.random_light(np.random.default_rng(3)).astype(np.float32)


class Egg(EggField):
    def classified(self, codes: Codes) -> torch.Tensor:
        return torch.tensor([[0.2, 0.0]])


def whole_picture() -> np.ndarray:
    """JOF's projection of an egg to the right of a wide photograph's middle, v and u over its longer side."""
    return cropped(projection(0.7, 0.3, 0.0, 4.0, np.radians(35)), np.array([-0.5, 0.05]), 1.3)


@pytest.fixture(scope="module")
def photograph() -> tuple[Photograph, np.ndarray]:
    """The egg, traced, and its silhouette."""
    shape, longer = egg_shape(), SIZE[0]
    origin, directions = pixel_rays(whole_picture(), longer)
    margin = (longer - SIZE[1]) // 2
    directions = directions[margin : margin + SIZE[1]].reshape(-1, 3)
    hits = RayScene([views.mesh_of(shape)]).intersect(np.broadcast_to(origin, directions.shape), directions)
    seen = hits.mesh >= 0
    picture = np.full((len(directions), 3), 0.15, np.float32)
    normal = views.interpolated(shape.corner_normals, hits.triangle[seen], hits.uv[seen])
    layers = views.Layers(shape.albedos[shape.part_of_face[hits.triangle[seen]]], normal, np.ones(len(normal)))
    picture[seen] = views.shade(layers, LIGHT)
    mask = np.where(seen, 255, 0).astype(np.uint8).reshape(SIZE[::-1])
    return Photograph(picture.reshape(SIZE[1], SIZE[0], 3).clip(0, 1), 500.0), mask


def network_that_sees(photograph: Photograph, mask: np.ndarray) -> SimpleNamespace:
    """A network with the egg for its field, whose encoder finds the true camera of the crop."""
    _, _, middle, half = cut_out(photograph.encoded, mask)
    longer = SIZE[0] / 2
    matrix = cropped(whole_picture(), (middle - np.array(SIZE) / 2) / longer, half / longer)
    encoder = ImageEncoder(ObjectConfig(encoder_width=8, head_width=8))
    config = SimpleNamespace(sees_mask=True, categories=("table", "car"))
    found, light = torch.tensor(matrix).float()[None], torch.tensor(LIGHT).float()[None]
    azimuth = azimuth_of(found)
    numbers = encoder.numbers(found, azimuth)[:, None].expand(-1, AZIMUTHS, -1)
    views_ = Views(torch.eye(AZIMUTHS)[azimuth], numbers, turned_light(light, azimuth))
    fit = Fit(egg_codes(), found, light, (), views_)

    class Network(SimpleNamespace):
        def __call__(self, picture: torch.Tensor) -> Fit:
            assert picture.shape == (1, 4, 128, 128)
            return fit

    return Network(field=Egg(), encoder=encoder, config=config)


def test_the_camera_sees_the_mesh_where_the_photograph_shows_the_object(photograph, tmp_path):
    taken, mask = photograph
    network = network_that_sees(taken, mask)
    network.field.steep = 60.0  # no doubt about where its surface is
    found = objects.find_object(taken, mask, network, side=128)
    np.testing.assert_allclose(found.matrix, whole_picture(), atol=1e-4)
    place, _ = project(found.matrix, found.mesh.vertices.astype(float))
    pixels = place * SIZE[0] / 2 + np.array(SIZE) / 2
    rows, columns = np.nonzero(mask)
    assert np.abs(pixels.min(0) - (columns.min(), rows.min())).max() < 3
    assert np.abs(pixels.max(0) - (columns.max(), rows.max())).max() < 3
    assert found.category == "table"
    assert "none of the kinds" in found.notices[0]  # 55 %

    objects.write(tmp_path, found)
    scene = trimesh.load_scene(tmp_path / "object.glb")
    assert len(scene.geometry) == 2
    colours = sorted(tuple(part.visual.material.baseColorFactor[:3]) for part in scene.geometry.values())
    np.testing.assert_allclose(np.array(colours) / 255, [(0.1, 0.4, 0.8), (0.7, 0.3, 0.1)], atol=0.02)
    assert trimesh.load_mesh(tmp_path / "object.obj").is_watertight
    assert json.loads((tmp_path / "camera.json").read_text())["category"] == "table"
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (128, 7 * 128, 3)


def test_the_camera_s_pose_is_all_of_its_projection():
    axes, place, focal, shift = objects.pose(whole_picture())
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) > 0
    points = np.random.default_rng(0).normal(0, 0.4, (20, 3))
    right, up, back = ((points - place) @ axes.T).T
    seen = np.stack([focal * right / -back - shift[0], -(focal * up / -back - shift[1])], 1)
    np.testing.assert_allclose(2 * seen, project(whole_picture(), points)[0], atol=1e-9)


def test_refinement_moves_what_is_in_doubt_alone(photograph):
    taken, mask = photograph
    network = network_that_sees(taken, mask)
    rgb, alpha, _, _ = cut_out(taken.encoded, mask)
    true = network(torch.zeros(1, 4, 128, 128))
    linear, cover = (torch.from_numpy(x).float()[None] for x in (srgb_decode(rgb / 255), alpha / 255))
    off = true._replace(codes=egg_codes(scale=0.8))
    lengths = [code.shape[1] for code in off.codes]
    network.doubt = Doubt(ObjectConfig(category_code=lengths[0], shape_code=lengths[1], albedo_code=lengths[2]))
    network.doubt.directions[0, lengths[0]] = 0.2  # of the size
    found = refined(network, off, linear, cover, 40)
    assert abs(float(found.codes.shape) - 1) < 0.07
    torch.testing.assert_close(found.matrix, true.matrix)  # of which there is no doubt
    network.doubt.directions.zero_()
    torch.testing.assert_close(refined(network, off, linear, cover, 5).codes.shape, off.codes.shape)


def test_masks_come_from_alpha_files_and_boxes(photograph, tmp_path):
    taken, mask = photograph
    rgb = taken.encoded
    Image.fromarray(np.dstack([rgb, mask])).save(tmp_path / "cut.png")
    Image.fromarray(mask).resize((960, 540)).save(tmp_path / "mask.png")
    Image.fromarray(rgb).save(tmp_path / "plain.png")
    plain = read_photograph(tmp_path / "plain.png")
    rows, columns = np.nonzero(mask)
    box = tuple(
        np.array([columns.min() - 12, rows.min() - 12, columns.max() + 12, rows.max() + 12]) / np.array([*SIZE, *SIZE])
    )
    for found in (
        silhouette(read_photograph(tmp_path / "cut.png"), tmp_path / "cut.png", None, None),
        silhouette(plain, tmp_path / "plain.png", tmp_path / "mask.png", None),
        silhouette(plain, tmp_path / "plain.png", None, box),
    ):
        both = (found >= 128) & (mask >= 128)
        assert both.sum() > 0.95 * ((found >= 128) | (mask >= 128)).sum()
    assert not is_cut(mask)
    assert is_cut(mask[:, : int(columns.mean())])


def test_what_is_no_single_object_is_one_plain_sentence(photograph, tmp_path):
    taken, mask = photograph
    image = tmp_path / "plain.png"
    Image.fromarray(taken.encoded).save(image)
    for name, other in (
        ("nothing", 0 * mask),
        ("speck", np.pad(np.full((5, 5), 255, np.uint8), ((0, SIZE[1] - 5), (0, SIZE[0] - 5)))),
        ("two", np.maximum(mask, np.roll(mask, -240, 1))),
        ("square", np.full((50, 50), 255, np.uint8)),
    ):
        Image.fromarray(other).save(tmp_path / f"{name}.png")
    for name, words in (
        ("nothing", "No object was found"),
        ("speck", "No object was found"),
        ("two", "several objects"),
        ("square", "not the shape of the photograph"),
        ("missing", "cannot be read"),
    ):
        with pytest.raises(PenumbraError, match=words):
            silhouette(taken, image, Path(tmp_path / f"{name}.png"), None)
    with pytest.raises(PenumbraError, match="does not tell where the object is"):
        silhouette(taken, image, None, None)
    with pytest.raises(PenumbraError, match="box is empty"):
        silhouette(taken, image, None, (0.5, 0.5, 0.5, 0.9))
