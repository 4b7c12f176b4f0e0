# SPDX-License-Identifier: GPL-3.0-or-later
"""Colour, row order and coverage survive the files; Blender's passes come back as what the scene holds."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest

from backend import images
from backend.protocol import Camera, PenumbraError
from backend.rays.camera import primary_rays


def picture(channels: int) -> np.ndarray:
    """Asymmetric in rows, columns and channels, so that any flip or swap shows."""
    y, x, c = np.meshgrid(np.linspace(0, 1, 12), np.linspace(0, 1, 17), np.arange(channels), indexing="ij")
    return ((0.7 * y + 0.2 * x**2 + 0.04 * c) / 1.1).astype(np.float32)


def test_srgb_known_values_and_round_trip() -> None:
    # IEC 61966-2-1: the linear piece ends at 0.04045; middle grey 0.5 is 0.21404.
    np.testing.assert_allclose(images.srgb_decode([0, 0.04045, 0.5, 1]), [0, 0.0031308, 0.2140411, 1], atol=2e-7)
    values = np.linspace(-0.1, 4, 1000)
    np.testing.assert_allclose(images.srgb_encode(images.srgb_decode(values)), values, atol=1e-6)


@pytest.mark.parametrize(("name", "dtype"), [("a.png", np.uint8), ("a.png", np.uint16), ("a.tif", np.uint16)])
def test_integer_images_decode_to_linear(tmp_path: Path, name: str, dtype: type) -> None:
    rgb = picture(3)
    top = np.iinfo(dtype).max
    stored = np.round(rgb * top).astype(dtype)
    cv2.imwrite(str(tmp_path / name), stored[..., ::-1])
    expected = images.srgb_decode(stored.astype(np.float64) / top)
    np.testing.assert_allclose(images.read_image(tmp_path / name, "sRGB"), expected, atol=1e-6)
    np.testing.assert_allclose(images.read_image(tmp_path / name, "Non-Color"), stored / np.float32(top), atol=1e-6)


def test_grey_alpha_and_jpeg(tmp_path: Path) -> None:
    rgba = np.round(picture(4) * 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "alpha.png"), cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
    over_black = images.srgb_decode(rgba[..., :3] / 255) * (rgba[..., 3:] / 255)
    np.testing.assert_allclose(images.read_image(tmp_path / "alpha.png"), over_black, atol=1e-6)

    cv2.imwrite(str(tmp_path / "grey.png"), rgba[..., 1])
    grey = images.read_image(tmp_path / "grey.png")
    np.testing.assert_allclose(grey, images.srgb_decode(rgba[..., 1:2] / 255).repeat(3, axis=-1), atol=1e-6)

    cv2.imwrite(str(tmp_path / "a.jpg"), rgba[..., 2::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    error = images.read_image(tmp_path / "a.jpg") - images.srgb_decode(rgba[..., :3] / 255)
    assert np.abs(error).max() < 0.05


def test_floating_point_images_stay_linear(tmp_path: Path) -> None:
    rgb = picture(3) * 20
    cv2.imwrite(str(tmp_path / "a.hdr"), rgb[..., ::-1])
    np.testing.assert_allclose(images.read_image(tmp_path / "a.hdr"), rgb, rtol=0.02, atol=0.08)  # shared exponent
    images.write_exr(tmp_path / "a.exr", rgb, half=False)
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.exr"), rgb)


def test_what_is_no_number_is_read_as_black(tmp_path: Path) -> None:
    rgb = np.full((12, 12, 3), 0.5, np.float32)
    rgb[1, 1], rgb[2, 2], rgb[3, 3] = np.nan, np.inf, -np.inf
    images.write_exr(tmp_path / "broken.exr", {name: rgb[..., k] for k, name in enumerate("RGB")}, half=False)
    found = images.read_image(tmp_path / "broken.exr")
    assert (found[1, 1], found[3, 3], found[0, 0]) == (pytest.approx(0), pytest.approx(0), pytest.approx(0.5))
    assert np.isfinite(found).all()


def test_exr_round_trip(tmp_path: Path) -> None:
    rgba = picture(4)
    images.write_exr(tmp_path / "half.exr", rgba)
    channels = images.read_exr(tmp_path / "half.exr")
    np.testing.assert_allclose(np.stack([channels[c] for c in "RGBA"], axis=-1), rgba, rtol=1e-3)
    images.write_exr(tmp_path / "named.exr", {"shadow.R": rgba[..., 0], "Y": np.full((12, 17), 1e6)})
    named = images.read_exr(tmp_path / "named.exr")
    assert named["Y"].max() == images.HALF_MAX  # not infinite
    np.testing.assert_allclose(named["shadow.R"], rgba[..., 0], rtol=1e-3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["half.exr", "named.exr"]  # no temporary files stay


def test_exr_data_window_lies_in_the_display_window(tmp_path: Path) -> None:
    window = (np.array([3, 2], np.int32), np.array([12, 11], np.int32))
    display = (np.array([0, 0], np.int32), np.array([15, 19], np.int32))
    inside = np.arange(100, dtype=np.float32).reshape(10, 10)
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "dataWindow": window,
        "displayWindow": display,
    }
    OpenEXR.File(header, {"Y": inside}).write(str(tmp_path / "a.exr"))
    read = images.read_exr(tmp_path / "a.exr")["Y"]
    assert read.shape == (20, 16)
    np.testing.assert_array_equal(read[2:12, 3:13], inside)
    assert read.sum() == inside.sum()


def test_png_is_display_encoded(tmp_path: Path) -> None:
    rgba = picture(4)
    images.write_png(tmp_path / "a.png", rgba)
    stored = cv2.cvtColor(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA) / 255
    np.testing.assert_allclose(stored[..., :3], images.srgb_encode(rgba[..., :3]), atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(stored[..., 3], rgba[..., 3], atol=0.5 / 255 + 1e-6)


def test_bad_images_say_what_to_do(tmp_path: Path) -> None:
    def refused(path: Path, **options: str) -> PenumbraError:
        with pytest.raises(PenumbraError) as caught:
            images.read_image(path, **options)
        assert caught.value.message.endswith(".")
        assert caught.value.remedy.endswith(".")
        return caught.value

    assert "not found" in str(refused(tmp_path / "absent.png"))
    for name in ("text.png", "text.exr", "text.hdr"):
        (tmp_path / name).write_text("no picture")
        assert "not a readable" in str(refused(tmp_path / name))
    whole = tmp_path / "whole.exr"
    images.write_exr(whole, np.random.default_rng(0).random((64, 64, 3)))
    (tmp_path / "cut.exr").write_bytes(whole.read_bytes()[:2000])
    assert "not a readable" in str(refused(tmp_path / "cut.exr"))

    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((7, 40, 3), np.uint8))
    assert "only 40×7" in str(refused(tmp_path / "tiny.png"))
    cv2.imwrite(str(tmp_path / "huge.png"), np.zeros((8, 33000), np.uint8))
    assert "too large" in str(refused(tmp_path / "huge.png"))
    assert "colour space" in str(refused(whole, colorspace="AgX Log"))

    with pytest.raises(PenumbraError, match=r"could not be written.*space"):
        images.write_exr(tmp_path / "absent" / "a.exr", np.zeros((8, 8)))
    with pytest.raises(PenumbraError, match=r"could not be written.*space"):
        images.write_png(tmp_path / "absent" / "a.png", np.zeros((8, 8)))


def sphere_passes(scene, path: Path, material: dict[str, object]) -> tuple[images.Passes, Camera]:
    """Cycles' passes of a unit sphere at the origin, from a turned and tilted camera."""
    import bpy
    from mathutils import Vector

    bpy.ops.mesh.primitive_uv_sphere_add(segments=96, ring_count=48)
    sphere = bpy.context.object
    sphere.data.shade_smooth()
    bsdf_material = bpy.data.materials.new("surface")
    bsdf_material.use_nodes = True
    bsdf = next(n for n in bsdf_material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    for name, value in material.items():
        bsdf.inputs[name].default_value = value
    sphere.data.materials.append(bsdf_material)
    holder = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(holder)
    scene.camera = holder
    holder.location = (3, -3.5, 2)
    holder.rotation_euler = (-Vector(holder.location)).to_track_quat("-Z", "Y").to_euler()
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 16
    scene.render.resolution_x, scene.render.resolution_y = 80, 60
    scene.render.film_transparent = True
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_normal = layer.use_pass_diffuse_color = layer.use_pass_glossy_color = True
    layer.use_pass_emit = True
    scene.render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
    scene.render.image_settings.color_depth = "32"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    names = {"combined": "Combined", "diffuse_color": "DiffCol", "glossy_color": "GlossCol", "emission": "Emit"}
    names = {k: f"{layer.name}.{v}" for k, v in {**names, "normal": "Normal", "depth": "Depth"}.items()}
    projection = holder.calc_matrix_camera(bpy.context.evaluated_depsgraph_get(), x=80, y=60)
    camera = Camera(np.array(projection), np.array(holder.matrix_world), 80, 60)
    return images.read_passes(path, names, camera), camera


def test_passes_of_cycles_are_what_the_scene_holds(empty_scene, tmp_path: Path) -> None:
    passes, camera = sphere_passes(
        empty_scene, tmp_path / "passes.exr", {"Base Color": (0.5, 0.2, 0.1, 1), "Specular IOR Level": 0.0}
    )
    rows, columns = np.nonzero(passes.alpha > 0.02)
    origins, directions = primary_rays(camera, np.stack([columns, rows], axis=-1) + 0.5)
    centre = np.linalg.inv(camera.world_from_camera)[:3, 3]
    along = np.einsum("nc,nc->n", centre - origins, directions)
    squared = 1 - np.sum((centre - origins) ** 2, axis=-1) + along**2
    inside = squared > 0.05  # away from the silhouette
    points = origins + (along - np.sqrt(np.maximum(squared, 0)))[:, None] * directions
    normal = passes.normal[rows, columns]

    np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, atol=1e-5)
    cosine = np.einsum("nc,nc->n", normal, points - centre)
    assert cosine[inside].min() > math.cos(math.radians(4))
    assert np.abs(passes.depth[rows, columns] + points[:, 2])[inside].max() < 0.2
    # Coverage is divided out: the albedo does not darken where the sphere covers a tenth of a pixel.
    assert passes.alpha[rows, columns].min() < 0.2
    np.testing.assert_allclose(passes.albedo[rows, columns], [[0.5, 0.2, 0.1]] * len(rows), atol=0.01)
    assert not passes.albedo[passes.alpha == 0].any()
    assert not passes.normal[passes.alpha == 0].any()
    assert np.isinf(passes.depth[0, 0])


@pytest.mark.parametrize("metallic", [0.0, 0.5, 1.0])
def test_metals_have_an_albedo(empty_scene, tmp_path: Path, metallic: float) -> None:
    material = {"Base Color": (0.5, 0.2, 0.1, 1), "Metallic": metallic, "Emission Strength": 0.5}
    passes, _ = sphere_passes(empty_scene, tmp_path / "passes.exr", material)
    covered = passes.alpha > 0.02
    error = np.abs(passes.albedo[covered] - [0.5, 0.2, 0.1]).max(axis=-1)
    assert np.median(error) < 0.04
    assert np.quantile(error, 0.95) < 0.12  # towards the silhouette, reflections take from the diffuse colour
    np.testing.assert_allclose(passes.emission[covered], 0.5, rtol=0.05)


def test_passes_must_fit_the_camera(empty_scene, tmp_path: Path) -> None:
    images.write_exr(tmp_path / "a.exr", {"L.Combined.A": np.ones((10, 10))})
    camera = Camera(np.eye(4), np.eye(4), 20, 10)
    with pytest.raises(PenumbraError, match="size"):
        images.read_passes(tmp_path / "a.exr", {"combined": "L.Combined"}, camera)
    camera = Camera(np.eye(4), np.eye(4), 10, 10)
    with pytest.raises(PenumbraError, match="normal pass"):
        images.read_passes(tmp_path / "a.exr", {"combined": "L.Combined"}, camera)
