# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparisons with Cycles: what is compared has one light, one exposure, one place, and one meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
pytest.importorskip("torch")

import cv2  # noqa: E402

from backend.images import Passes, read_image  # noqa: E402
from backend.protocol import Frame  # noqa: E402
from backend.rays.camera import look_at, perspective  # noqa: E402
from backend.rays.directions import pixel_directions  # noqa: E402
from backend.rays.rics import trace  # noqa: E402
from backend.rays.scene import RayScene  # noqa: E402
from backend.shading.crop import crop  # noqa: E402
from backend.shading.environments import part_suns  # noqa: E402
from backend.shading.harmonize import shade  # noqa: E402
from backend.shading.moments import Sources  # noqa: E402
from backend.shading.photograph import background  # noqa: E402
from backend.shading.probe import LightProbe, Sun  # noqa: E402
from backend.shading.traced import Light  # noqa: E402
from backend.shading.views import CroppedView, View  # noqa: E402
from backend.shadow.cast import cast_shadow  # noqa: E402
from backend.weights import load_model  # noqa: E402
from scripts import compare_characters, compare_person_light, compare_resolution  # noqa: E402
from scripts.scenes import in_panorama  # noqa: E402
from tests.backend.shading.things import ball  # noqa: E402

SIZE = (96, 72)
BEADS = [(0.5 * np.sin(a), -0.5 * np.cos(a), 0.8 + h) for a, h in ((0.0, 0.3), (0.9, 0.0), (-0.8, 0.1), (0.2, -0.3))]


@pytest.fixture
def pillar(tmp_path: Path) -> Path:
    """A glTF file of a dark pillar with a ball on it, rigged and animated; it leans over in its animation's middle."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.object.armature_add()
    rig = bpy.context.object
    bpy.ops.mesh.primitive_cylinder_add(radius=0.3, depth=1.2, location=(0, 0, 0.6))
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.5, location=(0, 0, 1.5))
    bpy.context.object.data.shade_smooth()
    dark = bpy.data.materials.new("dark")
    dark.use_nodes = True
    shader = dark.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (0.03, 0.03, 0.03, 1)  # hardly any light from it on the ground
    shader.inputs["Specular IOR Level"].default_value = 0
    for part in [o for o in bpy.context.scene.objects if o.type == "MESH"]:
        part.data.materials.append(dark)
        part.parent = rig
        part.modifiers.new("Armature", "ARMATURE").object = rig
        part.vertex_groups.new(name="Bone").add(range(len(part.data.vertices)), 1.0, "REPLACE")
    bone = rig.pose.bones["Bone"]
    bone.rotation_mode = "XYZ"
    for frame, lean in ((1, 0.0), (11, 0.5), (21, 0.0)):
        bone.rotation_euler.x = lean
        bone.keyframe_insert("rotation_euler", frame=frame)
    rig.animation_data.action.name = "Leaning"
    path = tmp_path / "pillar.glb"
    bpy.ops.export_scene.gltf(filepath=str(path))
    return path


@pytest.mark.slow
def test_cycles_and_the_true_light_agree(pillar: Path, tmp_path: Path) -> None:
    """On the plate, in shading and in the shadow's ratio, up to what 62 cells leave out; the light is not symmetric."""
    toward = pixel_directions(512, 1024)
    lamp = np.exp(12 * (toward @ np.array([0.6, 0.48, 0.64]) - 1))[..., None]
    picture = 0.15 + 0.15 * toward[..., :1] + np.float32([4, 3.4, 2.6]) * lamp + np.float32([0, 0.05, 0.3])
    panorama = part_suns("lamp", picture.astype(np.float32))
    exposed = in_panorama.build(pillar, "lean", panorama, SIZE, tmp_path / "pillar.blend")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "pillar.blend"))
    (tmp_path / "job").mkdir()
    view = compare_characters.view_of_open_scene(tmp_path / "job")
    truth = in_panorama.reference(exposed, samples=32)
    light = Light.of(exposed).probe(view.camera.world_from_camera)

    seen = np.minimum(background(exposed.picture, view.camera, size=72), 1)
    plate = read_image(tmp_path / "pillar.png")
    assert np.abs(plate - view.plate).max() < 0.01
    assert np.abs(cv2.resize(plate, (72, 72), interpolation=cv2.INTER_AREA) - seen).mean() < 0.01

    shading = shade(view, light).image(view.passes.alpha > 0)
    shadow = cast_shadow(view.scene, view.camera, light).ratio
    found = compare_characters.measure(view, truth, shading, shadow)
    nothing = compare_characters.measure(view, truth, np.ones_like(shading), np.ones_like(shadow))
    inside = (view.passes.alpha > 0.99) & (truth.alpha > 0.99)
    assert inside.sum() > 500
    assert np.abs(view.passes.alpha - truth.alpha).mean() < 0.02
    assert truth.shading[inside].mean() == pytest.approx(shading[inside].mean(), rel=0.04)
    assert np.quantile(truth.shading[inside] @ [0.2126, 0.7152, 0.0722], 0.99) == pytest.approx(1.5, rel=0.1)
    assert found["shading_mse"] < 0.15 * nothing["shading_mse"]
    assert found["shadow_error"] < 0.4 * nothing["shadow_error"]
    assert truth.shadow.max() <= 1
    assert (truth.shadow[~truth.ground] == 1).all()


@pytest.mark.slow
def test_what_reaches_full_resolution() -> None:
    """From the true 128 pixels, a probe gives back detail that enlarging them cannot, and finds the light."""
    camera = perspective(350, 320, np.radians(30), world_from_camera=look_at((0.5, -4, 1.6), (0, 0, 0.8)))
    camera_from_world = np.linalg.inv(camera.world_from_camera)
    skins = [ball(0.4, (0, 0, 0.8), (1, 1, 1), "ball"), *(ball(0.12, p, (1, 1, 1), "bead") for p in BEADS)]
    scene = RayScene([skin.moved(camera_from_world).mesh for skin in skins])
    surface = trace(scene, camera)
    normal, alpha = np.where(surface.valid[..., None], surface.normal, 0), surface.valid.astype(np.float32)
    nothing = np.zeros_like(normal)
    passes = Passes(nothing + 0.5, normal, alpha, nothing[..., 0], nothing)
    view = View(Frame(1, camera, "", "", {}, ""), camera, scene, passes, nothing + 0.3)
    sun = Sun(np.array([0.48, 0.6, 0.64]), np.array([1.2, 1.1, 0.9]), 0.01)
    light = LightProbe(np.full((62, 3), 0.3, np.float32), np.zeros(3), (sun,))
    truth = shade(view, light).image(surface.valid)
    small = CroppedView.of(view)

    class Oracle:
        def predict(self, plate, albedo, normal, bits, alpha, box) -> np.ndarray:
            return crop(truth, small.box, passes.alpha)

    class Knowing:
        def predict(self, plate, world_from_camera, suns) -> LightProbe:
            return light

    found = compare_resolution.estimates(Oracle(), Knowing(), small, truth, light)  # type: ignore[arg-type]
    error = {k: float(((e.shading - truth)[surface.valid] ** 2).mean()) for k, e in found.items()}
    assert error["the probe with the true light"] == 0
    assert error["ProbeNet"] < 1e-9, "the plate's ground is as bright as the light from below"
    assert error["the probe fitted to ShadingNet's output"] < 0.4 * error["ShadingNet's output enlarged"]
    assert error["ShadingNet's output enlarged"] == error["the true 128 pixels enlarged"]
    assert error["ShadingNet's output enlarged"] < 0.05 * float(truth[surface.valid].var())
    fitted = found["the probe fitted to the true 128 pixels"].light
    assert fitted is not None
    assert fitted.dominant_direction @ light.dominant_direction > np.cos(np.radians(8))


@pytest.mark.slow
def test_the_true_light_shades_another_person_as_they_are_lit(tmp_path):
    rows = compare_person_light.compare(
        load_model("probenet")[0], Sources("test", [], []), 1, [0, 3], seed=0, out=tmp_path
    )
    assert len(rows) == 6  # three methods, with the mesh where the person is and beside them
    errors = {row["method"]: row["shading_mse"] for row in rows if "0 pixels" in row["split"]}
    assert errors["the true light"] < 0.5 * errors["ProbeNet"]
    assert (tmp_path / "people.png").exists()
