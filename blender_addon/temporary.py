# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the scene to render from, which leaves the artist's scene and file as they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import bpy
import numpy as np

from ..backend.protocol import CHARACTER, RECEIVER, PenumbraError
from . import compat

_RENDERERS_IMAGES = ("Render Result", "Viewer Node")


@contextlib.contextmanager
def scene_copy(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    roles: dict[bpy.types.Object, str],
    *,
    suns: bool = False,
) -> Iterator[tuple[bpy.types.Scene, dict[bpy.types.Object, str]]]:
    """A scene that shows the character alone, everything else cut out of it, without world and lights but for Suns
    where they are asked for.

    roles: as `character.roles` gives them. The yielded roles name the objects of the copy: receivers are duplicated,
    as a shadow catcher cannot be a holdout at once, and all other objects are the artist's own.
    """
    with removing() as temporary, _animated_values_kept(view_layer):
        copy = scene.copy()
        temporary.append(copy)
        copied = _link_objects(copy, view_layer, roles, temporary, suns)
        _leave_out_what_is_not_asked(copy)
        yield copy, copied


@contextlib.contextmanager
def empty_scene() -> Iterator[bpy.types.Scene]:
    """A new scene, for the compositor alone."""
    with removing() as temporary:
        scene = bpy.data.scenes.new("Penumbra")
        temporary.append(scene)
        leave_out_stamps(scene)
        tree = compat.create_compositor_tree(scene)
        if compat.V5:
            temporary.append(tree)
        yield scene


def leave_out_stamps(scene: bpy.types.Scene) -> None:
    """Dates and times would make files differ that are the same."""
    for name in dir(scene.render):
        if name.startswith("use_stamp_"):
            setattr(scene.render, name, False)


def replace_camera(scene: bpy.types.Scene, camera: bpy.types.Object) -> list[bpy.types.ID]:
    """Look through a copy of `camera` without depth of field; returns what was added to the file."""
    copy = camera.copy()
    copy.data = camera.data.copy()
    copy.data.dof.use_dof = False
    scene.collection.objects.link(copy)
    scene.camera = copy
    return [copy, copy.data]


def use_cycles(scene: bpy.types.Scene, samples: int, passes: Mapping[str, tuple[str, str]]) -> None:
    """Render by Cycles into multilayer EXR with these `compat.PASSES`, the same on all machines and in each Blender."""
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device = "CPU"  # starts at once, where a graphics card compiles first
    cycles.shading_system = False
    cycles.samples = samples
    cycles.use_adaptive_sampling = False  # judges by radiance, and of the export there is none
    cycles.use_denoising = False
    cycles.time_limit = 0.0
    cycles.pixel_filter_type = "BLACKMAN_HARRIS"
    cycles.filter_width = 1.5
    cycles.film_transparent_glass = False
    scene.render.dither_intensity = 0.0
    for switch, _ in passes.values():
        setattr(scene.view_layers[0], switch, True)
    compat.set_exr(scene.render.image_settings, "32", multilayer=True)


def render(scene: bpy.types.Scene, frame: int, path: str = "") -> None:
    """Render one frame of a temporary scene, into `path` where it is given. Raises PenumbraError."""
    scene.frame_current = frame
    scene.render.filepath = path
    try:
        with _painting_kept(), bpy.context.temp_override(scene=scene):
            bpy.ops.render.render(write_still=bool(path))
    except RuntimeError as problem:
        raise PenumbraError(
            f"Blender could not render frame {frame}: {str(problem).strip().splitlines()[0]}",
            "Check that the folder for temporary files can be written and the disk is not full.",
        ) from problem


@contextlib.contextmanager
def removing() -> Iterator[list[bpy.types.ID]]:
    """What the block adds to the list leaves the file with it, as do the images that Blender renders into."""
    present = {name for name in _RENDERERS_IMAGES if name in bpy.data.images}
    temporary: list[bpy.types.ID] = []
    try:
        yield temporary
    finally:
        images = [bpy.data.images[n] for n in _RENDERERS_IMAGES if n in bpy.data.images and n not in present]
        bpy.data.batch_remove([*temporary, *images])


@contextlib.contextmanager
def _painting_kept() -> Iterator[None]:
    """Renders of 4.5 and 5.0 in the background reload images, and lose painting that is not saved: put it back."""
    painted = {image: pixels_of(image) for image in bpy.data.images if image.is_dirty and image.size[0] > 0}
    try:
        yield
    finally:
        for image, pixels in painted.items():
            if not image.is_dirty:
                image.pixels.foreach_set(pixels)
                image.update()


def pixels_of(image: bpy.types.Image) -> np.ndarray:
    """All values of an image as Blender holds them, flat, the bottom row first."""
    pixels = np.empty(image.size[0] * image.size[1] * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels


def _link_objects(
    copy: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    roles: dict[bpy.types.Object, str],
    temporary: list[bpy.types.ID],
    suns: bool,
) -> dict[bpy.types.Object, str]:
    """Put the objects into two collections of the copy, the second a holdout; returns the roles there."""
    for child in list(copy.collection.children):
        copy.collection.children.unlink(child)
    for item in list(copy.collection.objects):
        copy.collection.objects.unlink(item)
    shown, cut = (bpy.data.collections.new(name) for name in ("Penumbra Character", "Penumbra Others"))
    temporary += [shown, cut]
    copy.collection.children.link(shown)
    copy.collection.children.link(cut)
    copied = {}
    for item, role in roles.items():
        if suns and item.type == "LIGHT" and item.data.type == "SUN":
            cut.objects.link(item)
        if item.type in {"LIGHT", "LIGHT_PROBE", "CAMERA", "SPEAKER"}:
            continue
        linked = item
        if role == RECEIVER:
            linked = item.copy()
            linked.is_shadow_catcher = False
            temporary.append(linked)
        (shown if role == CHARACTER else cut).objects.link(linked)
        copied[linked] = role
    layer = copy.view_layers.new("Penumbra")
    layer.material_override = view_layer.material_override
    for other in [other for other in copy.view_layers if other != layer]:
        copy.view_layers.remove(other)
    layer.layer_collection.children[cut.name].holdout = True
    return copied


def _leave_out_what_is_not_asked(copy: bpy.types.Scene) -> None:
    copy.world = None
    copy.timeline_markers.clear()  # they would switch the camera
    copy.render.use_compositing = False
    copy.render.use_sequencer = False
    copy.render.use_freestyle = False
    copy.render.use_multiview = False
    copy.render.use_motion_blur = False
    copy.render.use_stamp = False
    copy.render.use_persistent_data = False
    copy.render.use_file_extension = False
    copy.render.film_transparent = True


@contextlib.contextmanager
def _animated_values_kept(view_layer: bpy.types.ViewLayer) -> Iterator[None]:
    """Blender writes the values of a rendered frame into the file's animated properties: put them back.

    A pose that the artist changed but did not key survives this as well.
    """
    kept = [(*place, _get(*place)) for place in _animated_places()]
    try:
        yield
    finally:
        for owner, key, index, value in kept:
            if _get(owner, key, index) != value:
                _set(owner, key, index, value)
        view_layer.update()


def _animated_places() -> Iterator[tuple[Any, str, int]]:
    """Every property that a curve or driver of the file writes: its owner, its name (or [key]) and the array index."""
    blocks = [block for name in dir(bpy.data) for block in _blocks(name)]
    for block in {id(b): b for b in blocks}.values():
        for owner in (block, getattr(block, "shape_keys", None), getattr(block, "node_tree", None)):
            animation = getattr(owner, "animation_data", None)
            if animation is None or getattr(owner, "library", None) is not None:
                continue
            for curve in compat.fcurves(animation):
                path = curve.data_path
                cut = path.rindex("[") if path.endswith("]") else max(path.rfind("."), 0)
                key = path[cut:] if path.endswith("]") else path[cut:].lstrip(".")
                try:
                    place = (owner.path_resolve(path[:cut]) if cut else owner, key, curve.array_index)
                    _get(*place)
                except (ValueError, KeyError, IndexError, AttributeError, TypeError):
                    continue  # the curve animates nothing that exists
                yield place


def _blocks(name: str) -> list[bpy.types.ID]:
    collection = getattr(bpy.data, name)
    return list(collection) if isinstance(collection, bpy.types.bpy_prop_collection) and name != "all_ids" else []


def _get(owner: Any, key: str, index: int) -> Any:
    value = owner[key[2:-2]] if key.startswith("[") else getattr(owner, key)
    return value[index] if hasattr(value, "__len__") and not isinstance(value, str) else value


def _set(owner: Any, key: str, index: int, value: Any) -> None:
    holder = owner[key[2:-2]] if key.startswith("[") else getattr(owner, key)
    if hasattr(holder, "__len__") and not isinstance(holder, str):
        holder[index] = value
    elif key.startswith("["):
        owner[key[2:-2]] = value
    else:
        setattr(owner, key, value)
