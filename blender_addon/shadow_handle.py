# SPDX-License-Identifier: GPL-3.0-or-later
"""A handle in the 3D View at the tip of a character's shadow: dragging it turns Light from Plate's Sun."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import bpy
import numpy as np
from bpy_extras import view3d_utils
from mathutils import Matrix, Vector

from ..backend.protocol import PenumbraError
from ..backend.shadow.recast import KeptShadow
from . import passes, scene_light
from .camera import camera_at
from .translations import label

MOST = 4  # handles in a scene
LOWEST = np.radians(2.0)  # of the Sun over the horizon; the tip of a longer shadow is not shown
_FAR = 100.0  # heights of the character; the ground ends there, for a mouse above the horizon
_SIZE = 0.14  # of the handle, in Blender's unit for handles
_RING = np.linspace(0, 2 * np.pi, 25)


def caster(scene: bpy.types.Scene, character: str) -> tuple[Vector, float] | None:
    """The top of what casts the shadow of a result's current frame, in the world, and the z of the ground under it.

    None where the result does not keep what casts its shadow, or there is no camera.
    """
    try:
        number = passes.shown_frame(scene, character)
        path = passes.result_folder(character) / f"cast_{number:04d}.npz"
        from_camera = camera_at(scene, None, number).matrix_world.normalized()
        extent = _extent(path, path.stat().st_mtime_ns, tuple(from_camera[2]))
    except (PenumbraError, OSError, ValueError, KeyError):
        return None
    if extent is None:
        return None
    return from_camera @ Vector(extent[0]), extent[1]


@lru_cache(maxsize=8)  # the view asks whenever it is drawn
def _extent(path: Path, stamp: int, up: tuple[float, ...]) -> tuple[tuple[float, ...], float] | None:
    """The highest point, camera space, and the world's z of the receiver next to the lowest. up: gives world z."""
    kept = KeptShadow.read(path)
    if not len(kept.points) or not all(len(vertices) for vertices, _ in kept.occluders):
        return None
    vertices = np.concatenate([vertices for vertices, _ in kept.occluders]).astype(float)
    heights = vertices @ up[:3] + up[3]
    foot = vertices[heights.argmin()]
    ground = kept.points[np.square(kept.points - foot).sum(1).argmin()] @ np.array(up[:3]) + up[3]
    return tuple(vertices[heights.argmax()]), float(ground)


def tip(sun: bpy.types.Object, top: Vector, ground: float) -> Vector | None:
    """Where a Sun casts the shadow of a point on the ground; None where it stands too low."""
    toward = sun.matrix_world.to_3x3().col[2].normalized()
    if toward.z < np.sin(LOWEST) or top.z <= ground:
        return None
    return top - toward * ((top.z - ground) / toward.z)


def move_tip(sun: bpy.types.Object, top: Vector, ground: float, to: Vector) -> None:
    """Turn a Sun so that it casts a point's shadow to a place on the ground."""
    toward = top - Vector((to.x, to.y, ground))
    across = Vector((toward.x, toward.y, 0))
    toward.z = max(toward.z, across.length * np.tan(LOWEST))
    scene_light.turn(sun, toward)


def ground_under(origin: Vector, direction: Vector, ground: float, far: float) -> Vector:
    """Where a ray meets the ground, at most `far` away across; for a ray that does not, that far along it."""
    across = Vector((direction.x, direction.y, 0))
    meets = direction.z * (ground - origin.z) > 0
    reach = (ground - origin.z) / direction.z * across.length if meets else far
    place = origin + (across.normalized() * min(reach, far) if across.length > 1e-9 else across)
    return Vector((place.x, place.y, ground))


class PENUMBRA_GT_shadow_tip(bpy.types.Gizmo):  # noqa: N801
    """A ring with a dot. sun, character: their names, as undo may put other datablocks in their place."""

    bl_idname = "PENUMBRA_GT_shadow_tip"
    __slots__ = ("character", "shape", "start", "sun")

    def setup(self) -> None:
        if not hasattr(self, "shape"):
            self.sun, self.character, self.start = "", "", None
            self.shape = self.new_custom_shape("TRIS", _ring(0.75, 1.0) + _ring(0.0, 0.3))

    def draw(self, context: bpy.types.Context) -> None:
        self.draw_custom_shape(self.shape)

    def draw_select(self, context: bpy.types.Context, select_id: int) -> None:
        self.draw_custom_shape(self.shape, select_id=select_id)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.start = context.scene.objects[self.sun].matrix_world.to_3x3().col[2].copy()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event, tweak: set[str]) -> set[str]:
        sun, cast = context.scene.objects.get(self.sun), caster(context.scene, self.character)
        if sun is None or cast is None:
            return {"CANCELLED"}
        at = (event.mouse_region_x, event.mouse_region_y)
        origin = view3d_utils.region_2d_to_origin_3d(context.region, context.region_data, at)
        direction = view3d_utils.region_2d_to_vector_3d(context.region, context.region_data, at)
        top, ground = cast
        move_tip(sun, top, ground, ground_under(origin, direction, ground, _FAR * (top.z - ground)))
        height = np.degrees(np.arcsin(np.clip(sun.rotation_euler.to_matrix().col[2].z, -1, 1)))
        context.area.header_text_set(label("The Sun stands {0}° high").format(round(height)))
        return {"RUNNING_MODAL"}

    def exit(self, context: bpy.types.Context, cancel: bool) -> None:
        context.area.header_text_set(None)
        sun = context.scene.objects.get(self.sun)
        if cancel and sun is not None and self.start is not None:
            scene_light.turn(sun, self.start)
        elif sun is not None:
            bpy.ops.ed.undo_push(message="Move Shadow")


class PENUMBRA_GGT_shadow_tip(bpy.types.GizmoGroup):  # noqa: N801
    """The handles of all suns that Light from Plate has given the scene."""

    bl_idname = "PENUMBRA_GGT_shadow_tip"
    bl_label = "Shadow Tip"
    bl_space_type = "VIEW_3D"
    bl_region_type = "WINDOW"
    bl_options = {"3D", "PERSISTENT"}  # noqa: RUF012

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return any(scene_light.OWNER in light for light in bpy.data.lights)

    def setup(self, context: bpy.types.Context) -> None:
        for _ in range(MOST):
            gizmo = self.gizmos.new(PENUMBRA_GT_shadow_tip.bl_idname)
            gizmo.color, gizmo.alpha = (1.0, 0.75, 0.2), 0.9
            gizmo.color_highlight, gizmo.alpha_highlight = (1.0, 0.95, 0.7), 1.0
            gizmo.scale_basis = _SIZE
            gizmo.hide = True

    def draw_prepare(self, context: bpy.types.Context) -> None:
        facing = context.region_data.view_matrix.to_3x3().transposed().to_4x4()
        shown = [
            (character, sun.name, place)
            for character in passes.result_nodes(context.scene)
            for sun in scene_light.suns_of(context.scene, character)
            if sun.visible_get() and (cast := caster(context.scene, character)) and (place := tip(sun, *cast))
        ]
        for gizmo, what in zip(self.gizmos, (shown + [None] * MOST)[:MOST], strict=True):
            gizmo.hide = what is None
            if what is not None:
                gizmo.character, gizmo.sun, place = what
                gizmo.matrix_basis = Matrix.Translation(place) @ facing


def _ring(inner: float, outer: float) -> list[tuple[float, float, float]]:
    """Triangles of a flat ring."""
    inside, outside = ([(r * np.cos(a), r * np.sin(a), 0.0) for a in _RING] for r in (inner, outer))
    return [
        corner
        for i in range(len(_RING) - 1)
        for corner in (inside[i], outside[i], outside[i + 1], inside[i], outside[i + 1], inside[i + 1])
    ]


_CLASSES = (PENUMBRA_GT_shadow_tip, PENUMBRA_GGT_shadow_tip)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
