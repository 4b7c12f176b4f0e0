# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of public data sets, on tiny made-up copies with their layouts."""

import argparse
import json

import cv2
import numpy as np
import pytest
import scipy.io

from backend.objects import public
from backend.objects.dataset import ObjectData, picture_batch
from backend.objects.projection import projection, viewpoint
from backend.protocol import PenumbraError
from scripts.object_dataset import make_photographs


def write_binvox(path, grid):
    """x, z, y order, runs of at most 255."""
    path.parent.mkdir(parents=True)
    flat, runs = grid.transpose(0, 2, 1).ravel().astype(np.uint8), []
    for value in flat:
        if runs and runs[-1][0] == value and runs[-1][1] < 255:
            runs[-1][1] += 1
        else:
            runs.append([int(value), 1])
    header = f"#binvox 1\ndim {' '.join(map(str, grid.shape))}\ntranslate 0 0 0\nscale 1\ndata\n"
    path.write_bytes(header.encode() + np.array(runs, np.uint8).tobytes())


def test_shapenet_is_split_as_3d_r2n2_does_and_faces_forward(tmp_path):
    grid = np.zeros((8, 8, 8), bool)
    grid[6, 1, 2] = True  # right, low, and toward ShapeNet's front, -z
    for model in "edcba":
        rendering = tmp_path / "ShapeNetRendering" / "03001627" / model / "rendering"
        rendering.mkdir(parents=True)
        for view in range(2):
            cv2.imwrite(str(rendering / f"{view:02}.png"), np.full((137, 137, 4), 200, np.uint8))
        write_binvox(tmp_path / "ShapeNetVox32" / "03001627" / model / "model.binvox", grid)
    train, test = (list(public.shapenet(tmp_path, split)) for split in ("train", "test"))
    assert [e.name for e in test] == ["03001627/e/00", "03001627/e/01"]
    assert len(train) == 8
    assert {e.category for e in train} == {"chair"}
    found = np.argwhere(public.read_binvox(test[0].model))
    assert found.tolist() == [[1, 1, 5]]  # turned about the vertical: the front is at +z, right is left
    with pytest.raises(PenumbraError, match="not a voxel file"):
        public.read_binvox(test[0].picture)
    with pytest.raises(PenumbraError, match="no folder"):
        list(public.shapenet(tmp_path / "elsewhere", "train"))


def test_pascal3d_gives_whole_objects_with_their_viewpoint(tmp_path):
    def thing(kind, occluded=0, azimuth=30.0):
        view = {"azimuth": azimuth, "elevation": 10.0, "distance": 3.0}
        flags = {"occluded": occluded, "truncated": 0, "difficult": 0}
        return {"class": kind, "bbox": [3.0, 4.0, 60.0, 50.0], "viewpoint": view, "cad_index": 7, **flags}

    part = "car_imagenet"
    for folder in (f"Annotations/{part}", "Image_sets", f"Masks/{part}"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "Image_sets" / f"{part}_train.txt").write_text("n1\nn2\n")
    several = np.array([thing("car", azimuth=350.0), thing("bus"), thing("car", occluded=1)], object)
    scipy.io.savemat(tmp_path / "Annotations" / part / "n1.mat", {"record": {"objects": several}})
    scipy.io.savemat(tmp_path / "Annotations" / part / "n2.mat", {"record": {"objects": thing("car", azimuth=90.0)}})
    (tmp_path / "Masks" / part / "n2.png").touch()
    first, second = public.pascal3d(tmp_path, "train")
    assert (first.category, first.box, first.mask) == ("car", (3, 4, 60, 50), None)
    assert np.degrees([first.azimuth, first.elevation]) == pytest.approx([-10, 10])
    assert second.mask.name == "n2.png"
    assert second.picture == tmp_path / "Images" / part / "n2.JPEG"
    assert second.model == tmp_path / "CAD" / "car" / "07.off"
    assert list(public.pascal3d(tmp_path, "val")) == []
    # Pascal3D+'s camera at azimuth 90° stands on its own +x, and so does ours.
    eye = viewpoint(projection(second.azimuth, second.elevation, 0, 3, 0.5))
    assert np.degrees(eye) == pytest.approx([90, 10])


def test_pix3d_leaves_out_what_is_cut_or_hidden(tmp_path):
    whole = {"category": "sofa", "img": "img/sofa/1.png", "mask": "mask/sofa/1.png", "bbox": [1, 2, 30, 40]}
    whole |= {"model": "model/sofa/a/model.obj", "truncated": False, "occluded": False, "slightly_occluded": False}
    others = [{**whole, "truncated": True}, {**whole, "category": "bed"}, {**whole, "slightly_occluded": True}]
    (tmp_path / "pix3d.json").write_text(json.dumps([*others, whole]))
    (only,) = public.pix3d(tmp_path)
    assert (only.category, only.picture, only.mask) == ("couch", tmp_path / whole["img"], tmp_path / whole["mask"])
    with pytest.raises(PenumbraError, match=r"no pix3d\.json"):
        list(public.pix3d(tmp_path / "model"))


def test_pictures_are_cropped_around_their_silhouette(tmp_path):
    picture, mask = np.zeros((200, 300, 3), np.uint8), np.zeros((200, 300), np.uint8)
    mask[40:140, 150:200] = 255  # 100 high, 50 wide, its middle at (175, 90)
    picture[40:140, 150:200] = (10, 20, 250)  # red, in OpenCV's order
    picture[40:50, 150:200] = (250, 20, 10)  # a blue top
    for name, image in (("p.png", picture), ("m.png", mask)):
        cv2.imwrite(str(tmp_path / name), image)
    rgb, silhouette = public.crop(public.Example("x", "lamp", tmp_path / "p.png", tmp_path / "m.png"))
    assert rgb.shape == (128, 128, 3)
    rows, columns = np.nonzero(silhouette > 127)
    assert (rows.min() + rows.max() + 1) / 2 == pytest.approx(64, abs=0.6)
    assert (columns.min() + columns.max() + 1) / 2 == pytest.approx(64, abs=0.6)
    assert np.ptp(rows) + 1 == pytest.approx(128 / 1.1, abs=1.1)
    assert np.abs(rgb[80, 64].astype(int) - (250, 20, 10)).max() < 4
    assert np.abs(rgb[9, 64].astype(int) - (10, 20, 250)).max() < 40
    with_alpha = np.dstack([picture, mask])
    cv2.imwrite(str(tmp_path / "a.png"), with_alpha)
    np.testing.assert_array_equal(public.crop(public.Example("x", "lamp", tmp_path / "a.png"))[1], silhouette)
    with pytest.raises(PenumbraError, match="no silhouette"):
        public.crop(public.Example("x", "lamp", tmp_path / "p.png"))


def test_photographs_become_shards_that_stage_three_reads(tmp_path):
    mask = np.zeros((90, 120), np.uint8)
    cv2.rectangle(mask, (30, 20), (80, 70), 255, -1)
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "p.png"), np.dstack([mask // 2] * 3))
    cv2.imwrite(str(tmp_path / "a" / "m.png"), mask)
    cv2.imwrite(str(tmp_path / "a" / "empty.png"), mask * 0)
    flags = {"truncated": False, "occluded": False, "slightly_occluded": False, "bbox": [0, 0, 1, 1], "model": "m.obj"}
    entries = [{"category": "chair", "img": "a/p.png", "mask": f"a/{m}.png", **flags} for m in ("empty", "m")]
    (tmp_path / "pix3d.json").write_text(json.dumps(entries))
    out = tmp_path / "shards"
    make_photographs(argparse.Namespace(set="pix3d", root=tmp_path, out=out))
    data = ObjectData([out])
    assert (data.category, data.seed, data.pictures.tolist(), data.has_shapes) == (["chair"], [1], [[0, 0]], False)
    assert json.loads((out / "card.json").read_text())["left_out"] == 1
    batch = picture_batch(data, [(0, 0)], {"chair": 0})
    assert batch.mask.mean() == pytest.approx((1 / 1.1) ** 2, abs=0.02)
