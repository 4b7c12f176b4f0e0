# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written of objects is what training reads."""

import argparse
import json

import numpy as np
import pytest
import torch

from backend.objects import views
from backend.objects.dataset import ObjectData, picture_batch, point_batch
from backend.objects.projection import project
from backend.objects.samples import FIRST_SEED
from backend.objects.shapes import make_shape
from backend.objects.voxels import NEAR, inside, piece_grid, pieces_of
from backend.protocol import PenumbraError
from backend.rays.scene import RayScene
from scripts.object_dataset import make_objects

NUMBERS = {"table": 0, "car": 1}


def test_shards_hold_the_shapes_that_their_names_make(known):
    data = ObjectData([known])
    assert list(zip(data.category, data.seed, strict=True)) == [("table", 0), ("car", 0), ("table", 1), ("car", 1)]
    assert ObjectData([known], ("car",)).seed == [0, 1]
    shape = make_shape("car", 1)
    np.testing.assert_array_equal(data.grid(3), piece_grid(shape))
    _, labels, albedos = pieces_of(shape)
    np.testing.assert_array_equal(data.labels(3)[: len(labels)], labels)
    np.testing.assert_allclose(data.albedo(3)[: len(labels)], albedos, atol=1e-6)


def test_pictures_are_of_the_shape_under_the_projection_and_light_that_come_with_them(known):
    data = ObjectData([known])
    batch = picture_batch(data, [(1, 1), (2, 0)], NUMBERS)
    assert batch.label.tolist() == [1, 0]
    for k, (row, view) in enumerate([(1, 1), (2, 0)]):
        shape = make_shape(data.category[row], data.seed[row])
        place, depth = project(batch.matrix[k].double().numpy(), shape.vertices)
        assert np.abs(place).max() == pytest.approx(1 / views.MARGIN, abs=0.01)  # the crop's rule
        assert depth.min() > 0
        layers = views.see(shape, RayScene([views.mesh_of(shape)]), data.matrix(row, view).astype(np.float64))
        np.testing.assert_allclose(batch.mask[k], layers.alpha, atol=0.51 / 255)
        solid = layers.alpha == 1
        true = views.shade(layers, data.light(row, view))
        error = np.abs(batch.linear[k].numpy() - np.clip(true, 0, 1))[solid]
        assert np.median(error) < 0.02  # a JPEG's
    alpha = batch.mask
    torch.testing.assert_close(batch.picture[:, 3], alpha)
    assert (batch.picture[:, :3] * (alpha == 0)[:, None]).abs().max() == 0  # the background is cut away


@pytest.mark.parametrize("side", [16, 64])
def test_points_say_what_is_inside_and_its_colour(known, side):
    data = ObjectData([known])
    batch = point_batch(data, np.array([0, 3]), side, 3000, NUMBERS, np.random.default_rng(0))
    assert batch.points.shape == (2, 3000, 3)
    assert (batch.coloured | (batch.occupied == 0)).all()
    for k, row in enumerate((0, 3)):
        shape = make_shape(data.category[row], data.seed[row])
        full = np.any([inside(p.solid, 64) for p in shape.parts], axis=0)
        step = 64 // side
        coarse = full.reshape(side, step, side, step, side, step).max((1, 3, 5))
        index = ((batch.points[k].numpy() + 1) * side / 2).astype(int)
        np.testing.assert_array_equal(batch.occupied[k], coarse[tuple(index.T)])
        palette = np.unique(np.round(shape.albedos, 4), axis=0)
        for colour in np.unique(np.round(batch.colour[k][batch.coloured[k]].numpy(), 4), axis=0):
            assert np.abs(palette - colour).max(1).min() < 2e-4


def test_the_real_split_tells_nothing_but_silhouettes(photographs):
    with np.load(photographs / "shard_00000.npz", allow_pickle=False) as shard:
        assert set(shard.files) == {"category", "seed", "picture", "picture_size", "mask", "mask_size"}
    data = ObjectData([photographs])
    assert not data.has_shapes
    assert data.seed == [FIRST_SEED["real"]] * 2
    batch = picture_batch(data, [(0, 0), (1, 0)], NUMBERS, np.random.default_rng(0))
    assert batch.matrix is None
    assert batch.light is None
    assert (batch.mask.mean((1, 2)) > 0.05).all()
    assert batch.linear[batch.mask > 0.9].std() > 0.02


def test_folders_grow_and_refuse_what_is_not_theirs(known, tmp_path):
    options = {"categories": ["table"], "shard": 2, "hdri": [], "workers": 1, "split": "train", "views": 1}
    make_objects(argparse.Namespace(shapes=1, out=tmp_path, **options))
    first = ObjectData([tmp_path]).matrix(0, 0)
    make_objects(argparse.Namespace(shapes=2, out=tmp_path, **options))
    grown = ObjectData([tmp_path])
    assert grown.seed == [0, 1]
    np.testing.assert_array_equal(grown.matrix(0, 0), first)
    assert json.loads((tmp_path / "card.json").read_text())["shapes"] == 2
    with pytest.raises(PenumbraError, match="another way"):
        make_objects(argparse.Namespace(shapes=2, out=tmp_path, **{**options, "views": 2}))
    with pytest.raises(PenumbraError, match="no shards"):
        ObjectData([tmp_path / "nowhere"])
    assert NEAR > 16
